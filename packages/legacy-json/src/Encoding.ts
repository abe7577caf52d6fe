/**
 * Text of unknown encoding as UTF-8. UTF-8 passes as it is, without its byte order mark; UTF-16 with a byte order mark is
 * transcoded; everything else is refused with the offset of the first byte that is wrong. Nothing is ever replaced.
 */

import { isUtf8 } from "node:buffer"
import { Result } from "effect"

/** How the bytes were encoded. */
export type SourceEncoding = "utf-8" | "utf-8-bom" | "utf-16le" | "utf-16be"

/** The bytes are no text. `offset` is where the first ill-formed sequence begins, counted from the first byte given. */
export interface EncodingProblem {
  readonly code: "invalid-utf8" | "invalid-utf16"
  readonly offset: number
}

/** Valid UTF-8 without byte order mark. */
export interface Utf8Text {
  readonly bytes: Uint8Array
  readonly encoding: SourceEncoding
}

/**
 * What a file is that begins with these bytes, and what to do about it, where that is none of the encodings that are read;
 * undefined for all else. Eight bytes are enough.
 */
export const unreadFormOf = (head: Uint8Array): string | undefined => {
  const found = signatures.find(({ bytes }) => bytes.every((byte, at) => head[at] === byte))
  if (found !== undefined) return found.form
  // JSON begins with a character of ASCII, so that the bytes of zero tell how wide characters are, and in which order.
  const zeros = Array.from(head.subarray(0, 4), (byte) => (byte === 0 ? "0" : byte < 0x80 ? "a" : "x")).join("")
  if (zeros === "000a" || zeros === "a000") return unreadEncoding("UTF-32")
  return /^(?:0a|a0)/.test(zeros) ? unreadEncoding("UTF-16 without a byte order mark") : undefined
}

/** The bytes as UTF-8: a view on them, except for UTF-16, which is copied. */
export const toUtf8 = (bytes: Uint8Array): Result.Result<Utf8Text, EncodingProblem> => {
  const { encoding, markLength } = encodingOf(bytes)
  const text = bytes.subarray(markLength)
  if (encoding === "utf-8" || encoding === "utf-8-bom") {
    return isUtf8(text)
      ? Result.succeed({ bytes: text, encoding })
      : Result.fail({ code: "invalid-utf8", offset: markLength + validLength(text) })
  }
  const stream = new Utf8Stream()
  const pieces: Array<Uint8Array> = []
  for (let at = 0; at < bytes.length; at += sliceBytes) {
    const piece = stream.update(bytes.subarray(at, at + sliceBytes))
    if (Result.isFailure(piece)) {
      return Result.fail(piece.failure)
    }
    pieces.push(piece.success)
  }
  return Result.map(stream.end(), (rest) => ({ bytes: Buffer.concat([...pieces, rest]), encoding }))
}

/** `toUtf8` for text that comes in chunks, cut anywhere. What it returns is valid until the next call. */
export class Utf8Stream {
  #encoding: SourceEncoding | undefined
  #head: Uint8Array = nothing
  #checker = new Utf8Checker()
  #transcoder: Utf16Transcoder | undefined

  /** Known once three bytes or the end have come. */
  get encoding(): SourceEncoding | undefined {
    return this.#encoding
  }

  /** The chunk as UTF-8. After a failure the stream is of no further use. */
  update(chunk: Uint8Array): Result.Result<Uint8Array, EncodingProblem> {
    if (this.#encoding !== undefined) {
      return this.#convert(chunk)
    }
    const start = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk])
    if (start.length < longestMark) {
      this.#head = Buffer.from(start)
      return Result.succeed(nothing)
    }
    return this.#begin(start)
  }

  /** What is left after the last chunk; fails if the text ends within a character. */
  end(): Result.Result<Uint8Array, EncodingProblem> {
    const rest = this.#encoding === undefined ? this.#begin(this.#head) : Result.succeed(nothing)
    if (Result.isFailure(rest)) {
      return rest
    }
    const problem = this.#transcoder === undefined ? this.#checker.end() : this.#transcoder.end()
    return problem === undefined ? rest : Result.fail(problem)
  }

  #begin(start: Uint8Array): Result.Result<Uint8Array, EncodingProblem> {
    const { encoding, markLength } = encodingOf(start)
    this.#encoding = encoding
    this.#head = nothing
    if (encoding === "utf-16le" || encoding === "utf-16be") {
      this.#transcoder = new Utf16Transcoder(encoding, markLength)
    } else {
      this.#checker = new Utf8Checker(markLength)
    }
    return this.#convert(start.subarray(markLength))
  }

  #convert(chunk: Uint8Array): Result.Result<Uint8Array, EncodingProblem> {
    if (this.#transcoder !== undefined) {
      return this.#transcoder.update(chunk)
    }
    const problem = this.#checker.update(chunk)
    return problem === undefined ? Result.succeed(chunk) : Result.fail(problem)
  }
}

/** Checks that chunks, cut anywhere, are together valid UTF-8. */
export class Utf8Checker {
  /** Offset of the first byte that is not yet known to be right. */
  #offset: number
  /** The beginning of a character whose rest is in the next chunk. */
  #begun: Uint8Array = nothing

  /** Offsets are counted from `offset`. */
  constructor(offset = 0) {
    this.#offset = offset
  }

  /** The first problem, which may lie in the end of an earlier chunk. After it the checker is of no further use. */
  update(chunk: Uint8Array): EncodingProblem | undefined {
    let rest = chunk
    if (this.#begun.length > 0) {
      const missing = sequenceLength(this.#begun[0] ?? 0) - this.#begun.length
      const character = Buffer.concat([this.#begun, chunk.subarray(0, missing)])
      rest = chunk.subarray(missing)
      if (chunk.length < missing) {
        this.#begun = character
        return undefined
      }
      if (!isUtf8(character)) {
        return this.#problem(0)
      }
      this.#offset += character.length
      this.#begun = nothing
    }
    const whole = rest.length - begunLength(rest)
    const text = rest.subarray(0, whole)
    if (!isUtf8(text)) {
      return this.#problem(validLength(text))
    }
    this.#offset += whole
    if (whole < rest.length) {
      this.#begun = Buffer.from(rest.subarray(whole))
    }
    return undefined
  }

  /** The problem of a text that ends within a character. */
  end(): EncodingProblem | undefined {
    return this.#begun.length === 0 ? undefined : this.#problem(0)
  }

  #problem(after: number): EncodingProblem {
    return { code: "invalid-utf8", offset: this.#offset + after }
  }
}

class Utf16Transcoder {
  readonly #encoding: SourceEncoding
  #offset: number
  /** An odd byte, the first half of a surrogate pair, or both. */
  #begun: Uint8Array = nothing

  constructor(encoding: SourceEncoding, offset: number) {
    this.#encoding = encoding
    this.#offset = offset
  }

  update(chunk: Uint8Array): Result.Result<Uint8Array, EncodingProblem> {
    // A copy, as swapping happens in place.
    const bytes = Buffer.concat([this.#begun, chunk])
    const units = bytes.subarray(0, bytes.length - (bytes.length % 2))
    const inOrder = this.#encoding === "utf-16be" ? Buffer.from(units).swap16() : units
    const text = inOrder.toString("utf16le")
    const last = text.charCodeAt(text.length - 1)
    const whole = last >= 0xd800 && last <= 0xdbff ? text.slice(0, -1) : text
    this.#begun = bytes.subarray(whole.length * 2)
    if (!whole.isWellFormed()) {
      return Result.fail({ code: "invalid-utf16", offset: this.#offset + 2 * whole.search(loneSurrogate) })
    }
    this.#offset += whole.length * 2
    return Result.succeed(Buffer.from(whole))
  }

  end(): EncodingProblem | undefined {
    return this.#begun.length === 0 ? undefined : { code: "invalid-utf16", offset: this.#offset }
  }
}

const unreadEncoding = (encoding: string): string => `it looks like ${encoding}; save the file as UTF-8 and try again`

const compressed = (format: string): string => `it is compressed with ${format}; unpack it and migrate what is in it`

/** How files begin that are compressed, or in UTF-32 with a byte order mark. */
const signatures: ReadonlyArray<{ readonly bytes: ReadonlyArray<number>; readonly form: string }> = [
  { bytes: [0x1f, 0x8b], form: compressed("gzip") },
  { bytes: [0x50, 0x4b, 0x03, 0x04], form: compressed("zip") },
  { bytes: [0x50, 0x4b, 0x05, 0x06], form: compressed("zip") },
  { bytes: [0x28, 0xb5, 0x2f, 0xfd], form: compressed("zstd") },
  { bytes: [0x42, 0x5a, 0x68], form: compressed("bzip2") },
  { bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], form: compressed("xz") },
  { bytes: [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], form: compressed("7z") },
  { bytes: [0xff, 0xfe, 0x00, 0x00], form: unreadEncoding("UTF-32") },
  { bytes: [0x00, 0x00, 0xfe, 0xff], form: unreadEncoding("UTF-32") }
]

const nothing: Uint8Array = new Uint8Array(0)
const sliceBytes = 1 << 20
const longestMark = 3
const loneSurrogate = /\p{Surrogate}/u

const encodingOf = (bytes: Uint8Array): { readonly encoding: SourceEncoding; readonly markLength: number } =>
  bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
    ? { encoding: "utf-8-bom", markLength: 3 }
    : bytes[0] === 0xff && bytes[1] === 0xfe
      ? { encoding: "utf-16le", markLength: 2 }
      : bytes[0] === 0xfe && bytes[1] === 0xff
        ? { encoding: "utf-16be", markLength: 2 }
        : { encoding: "utf-8", markLength: 0 }

/** The length of the character that a byte begins; 1 for a byte that begins none. */
const sequenceLength = (byte: number): number =>
  byte < 0xc2 || byte > 0xf4 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4

/** How many bytes at the end begin a character that goes on in the next chunk. */
const begunLength = (bytes: Uint8Array): number => {
  for (let length = 1; length <= Math.min(3, bytes.length); length++) {
    const byte = bytes[bytes.length - length] ?? 0
    if (byte < 0x80 || byte > 0xbf) {
      return sequenceLength(byte) > length ? length : 0
    }
  }
  return 0
}

/** The number of bytes before the first ill-formed sequence (Unicode 16, table 3-7). */
const validLength = (bytes: Uint8Array): number => {
  let at = 0
  while (at < bytes.length) {
    const lead = bytes[at] ?? 0
    if (lead < 0x80) {
      at++
      continue
    }
    const length = sequenceLength(lead)
    const second = bytes[at + 1] ?? 0
    const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
    const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
    if (length === 1 || second < lowest || second > highest) {
      return at
    }
    for (let index = 2; index < length; index++) {
      const byte = bytes[at + index] ?? 0
      if (byte < 0x80 || byte > 0xbf) {
        return at
      }
    }
    at += length
  }
  return at
}
