/**
 * A second opinion on the digest of a document: a state machine over bytes that drops white space, rewrites escapes and
 * hashes the rest. It shares no code with the tokenizer and trusts the grammar, which the import has checked; of text that
 * is no JSON it gives some digest.
 */

import { createHash, type Hash } from "node:crypto"
import { Effect, type Result, type Scope } from "effect"
import { type FileIdentity, openFile } from "./ChangeWatch.ts"
import { type EncodingProblem, type SourceEncoding, Utf8Stream } from "./Encoding.ts"
import { SourceError } from "./SourceError.ts"
import type { OpenText, SourceFile } from "./Sources.ts"

/**
 * The SHA-256 of the compact text of a document that comes in chunks of UTF-8, cut anywhere. Compact text: no white space;
 * strings as `JSON.stringify` writes them; everything else byte for byte. Of several documents (NDJSON): their compact
 * texts, joined by line feeds.
 */
export class CompactDigest {
  readonly #hash: Hash = createHash("sha256")
  readonly #out = Buffer.allocUnsafe(sliceBytes + slack)
  #result: Uint8Array | undefined
  #state: State = OUTSIDE
  /** The value of the digits of a `\u` escape so far, and how many are to come. */
  #unit = 0
  #digitsLeft = 0
  /** The first half of a surrogate pair whose other half may follow, or 0. */
  #high = 0
  /** Containers open, and whether a document has ended. */
  #depth = 0
  #hasEnded = false

  /** Takes the next chunk, without keeping it. */
  update(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; at += sliceBytes) {
      this.#hash.update(this.#out.subarray(0, this.#compact(chunk.subarray(at, at + sliceBytes))))
    }
  }

  /** The digest in lower-case hex. Ends the document: nothing can be added after it. */
  digest(): string {
    return Buffer.from(this.digestBytes()).toString("hex")
  }

  /** The digest in its 32 bytes. Ends the document as well. */
  digestBytes(): Uint8Array {
    this.#result ??= this.#hash.digest()
    return this.#result
  }

  /** Writes the compact text of the slice to `#out` and returns its length. */
  #compact(slice: Uint8Array): number {
    const out = this.#out
    const end = slice.length
    let at = 0
    let length = 0
    while (at < end) {
      if (this.#state === OUTSIDE) {
        while (at < end) {
          const byte = slice[at++]!
          if (byte > SPACE) {
            if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
              if (this.#depth++ === 0 && this.#hasEnded) out[length++] = LINE_FEED
            } else if ((byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) && --this.#depth === 0) this.#hasEnded = true
            out[length++] = byte
            if (byte === QUOTE) {
              this.#state = INSIDE
              break
            }
          } else if (byte !== SPACE && byte !== LINE_FEED && byte !== TAB && byte !== CARRIAGE_RETURN) {
            out[length++] = byte
          }
        }
      } else if (this.#state === INSIDE) {
        while (at < end) {
          const byte = slice[at++]!
          if (byte === BACKSLASH) {
            this.#state = ESCAPE
            break
          }
          out[length++] = byte
          if (byte === QUOTE) {
            this.#state = OUTSIDE
            break
          }
        }
      } else {
        length = this.#escaped(slice[at++]!, length)
      }
    }
    return length
  }

  /** One byte of an escape, or after the escape of half a surrogate pair. Returns the new length of `#out`. */
  #escaped(byte: number, length: number): number {
    switch (this.#state) {
      case ESCAPE: {
        if (byte === LETTER_U) {
          this.#state = DIGITS
          this.#unit = 0
          this.#digitsLeft = 4
          return length
        }
        this.#state = INSIDE
        return this.#write(byte === SLASH ? "/" : `\\${String.fromCodePoint(byte)}`, this.#writeHigh(length))
      }
      case DIGITS: {
        this.#unit = this.#unit * 16 + digitValue(byte)
        this.#digitsLeft--
        return this.#digitsLeft > 0 ? length : this.#writeUnit(length)
      }
      default: {
        if (byte === BACKSLASH) {
          this.#state = ESCAPE
          return length
        }
        const written = this.#writeHigh(length)
        this.#out[written] = byte
        this.#state = byte === QUOTE ? OUTSIDE : INSIDE
        return written + 1
      }
    }
  }

  #writeUnit(length: number): number {
    const unit = this.#unit
    this.#state = INSIDE
    if (unit >= 0xdc00 && unit <= 0xdfff) {
      if (this.#high === 0) {
        return this.#write(unicodeEscape(unit), length)
      }
      const pair = String.fromCharCode(this.#high, unit)
      this.#high = 0
      return this.#write(pair, length)
    }
    const written = this.#writeHigh(length)
    if (unit >= 0xd800 && unit <= 0xdbff) {
      this.#high = unit
      this.#state = AFTER_HIGH
      return written
    }
    return this.#write(
      shortEscapes.get(unit) ?? (unit < SPACE ? unicodeEscape(unit) : String.fromCharCode(unit)),
      written
    )
  }

  /** Writes the half of a surrogate pair that turned out to have no other half. */
  #writeHigh(length: number): number {
    if (this.#high === 0) {
      return length
    }
    const escape = unicodeEscape(this.#high)
    this.#high = 0
    return this.#write(escape, length)
  }

  #write(text: string, length: number): number {
    return length + this.#out.write(text, length)
  }
}

/** The digests of a file from one reading of it. */
export interface FileDigest {
  /** SHA-256 of its bytes as they are, in lower-case hex. */
  readonly sourceSha256: string
  /** SHA-256 of the compact text, in lower-case hex. */
  readonly digest: string
  readonly bytes: number
  readonly encoding: SourceEncoding
}

/**
 * Digests a file of any size in constant memory. Fails with `changed` if it was written to meanwhile or is not the version
 * `expected`, with `invalid-utf8` or `invalid-utf16` and the offset if it is no text.
 */
export const digestOfFile = Effect.fn("digestOfFile")((path: string, expected?: FileIdentity) =>
  digestOf(path, openFile(path, expected))
)

/** The digests of what a source's file gives, which is not always the file of its path. */
export const digestOfSource = Effect.fn("digestOfSource")((file: SourceFile) =>
  digestOf(file.path, file.open ?? openFile(file.path))
)

const digestOf = Effect.fnUntraced(
  function* (path: string, open: Effect.Effect<OpenText, SourceError, Scope.Scope>) {
    const file = yield* open
    const buffer = Buffer.allocUnsafeSlow(Math.min(readBytes, file.bytes + 1))
    const raw = createHash("sha256")
    const compact = new CompactDigest()
    const text = new Utf8Stream()
    let bytes = 0
    while (true) {
      const count = yield* file.read(buffer)
      const chunk = buffer.subarray(0, count)
      bytes += count
      raw.update(chunk)
      compact.update(yield* textOf(path, text.update(chunk)))
      if (count < buffer.length) {
        break
      }
      // Reading is synchronous; a signal should not wait for the end of a large file.
      yield* Effect.yieldNow
    }
    compact.update(yield* textOf(path, text.end()))
    yield* file.checkUnchanged
    const digest: FileDigest = {
      sourceSha256: raw.digest("hex"),
      digest: compact.digest(),
      bytes,
      encoding: text.encoding ?? "utf-8"
    }
    return digest
  },
  (effect) => Effect.scoped(effect)
)

const textOf = (
  path: string,
  text: Result.Result<Uint8Array, EncodingProblem>
): Effect.Effect<Uint8Array, SourceError> =>
  Effect.fromResult(text).pipe(Effect.mapError(({ code, offset }) => new SourceError({ reason: code, path, offset })))

const readBytes = 1 << 20
const sliceBytes = 1 << 16
/** The only text longer than what it is made of: the first bytes of a slice that end an escape begun in the one before. */
const slack = 64

type State = typeof OUTSIDE | typeof INSIDE | typeof ESCAPE | typeof DIGITS | typeof AFTER_HIGH
const OUTSIDE = 0
const INSIDE = 1
const ESCAPE = 2
const DIGITS = 3
const AFTER_HIGH = 4

const TAB = 0x09
const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const SPACE = 0x20
const QUOTE = 0x22
const SLASH = 0x2f
const BACKSLASH = 0x5c
const LETTER_U = 0x75
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d

const shortEscapes: ReadonlyMap<number, string> = new Map([
  [0x08, "\\b"],
  [TAB, "\\t"],
  [LINE_FEED, "\\n"],
  [0x0c, "\\f"],
  [CARRIAGE_RETURN, "\\r"],
  [QUOTE, '\\"'],
  [BACKSLASH, "\\\\"]
])

const unicodeEscape = (unit: number): string => `\\u${unit.toString(16).padStart(4, "0")}`

/** Digits, upper-case and lower-case letters differ in bits that make this one expression right for all three. */
const digitValue = (byte: number): number => (byte & 0x0f) + (byte > 0x39 ? 9 : 0)
