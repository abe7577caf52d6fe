/**
 * Reads one file of a source into a batch, in one pass: bytes, their hash, their encoding, the document and what it says
 * about its cohort. Files up to `WHOLE_FILE_BYTES` are read to their end before anything of them may be written; larger
 * ones pass through a window, and the caller writes as they go.
 */
import {
  type CohortMeta,
  cohortMeta,
  type DocumentReader,
  type DocumentResult,
  type DocumentRows,
  type DocumentRules,
  JsonProblem,
  type JsonProblemCode,
  mayHoldLines,
  type Pause,
  stringMember,
  type ValueRemark
} from "@mallard/entity-serializers"
import { Effect, Fiber, Result, Schema, type Scope } from "effect"
import { createHash, hash, subtle } from "node:crypto"
import { parse } from "node:path"
import { openFile } from "./ChangeWatch.ts"
import { type SourceEncoding, toUtf8, unreadFormOf, Utf8Stream } from "./Encoding.ts"
import { outlineLimit, outlineOf } from "./internal/Outline.ts"
import { type NotCohort, notCohortOf } from "./NotCohorts.ts"
import {
  type Guess,
  guessOf,
  guessOfLarge,
  type RootHint,
  secondRules,
  type Variant,
  variantOf
} from "./Recognition.ts"
import type { ReadThreads, ThreadLost } from "./ReadThreads.ts"
import { printablePath, SourceError } from "./SourceError.ts"
import type { OpenText, SourceFile } from "./Sources.ts"

/** Files up to this size are read whole. */
export const WHOLE_FILE_BYTES = 64 << 20
/** Bytes of a larger file that are read at once. */
export const WINDOW_BYTES = 4 << 20

const NOT_TEXT =
  "bytes that are not text; save the file as UTF-8 and try again (where older programs wrote it, it may be Latin-1 or Windows-1252)"

/** A place in a file. */
export interface Place {
  /** JSON pointer from the document's root; undefined where the text itself is broken. */
  readonly pointer: string | undefined
  readonly line: number | undefined
  readonly column: number | undefined
}

/** A file whose bytes are no document that can be kept. */
export class SourceRejected extends Schema.TaggedError<SourceRejected>()("SourceRejected", {
  code: Schema.String,
  path: Schema.String,
  /** Byte offset in the file, of its UTF-8 form. */
  offset: Schema.Finite,
  line: Schema.Finite,
  column: Schema.Finite,
  reason: Schema.String
}) {
  override get message(): string {
    return `${printablePath(this.path)}: ${this.reason} (line ${this.line}, column ${this.column}, byte ${this.offset})`
  }
}

/** A value remark with its line and column. */
export interface LocatedRemark extends ValueRemark {
  readonly line: number | undefined
  readonly column: number | undefined
}

/** A file that has been read, with those rows of it that the caller has not taken during the reading. */
export interface PartRead extends DocumentRows {
  readonly file: SourceFile
  readonly variant: Variant
  readonly encoding: SourceEncoding
  readonly sourceSha256: string
  /** SHA-256 of the compact text, lower-case hex. */
  readonly digest: string
  /** Entities by kind code. */
  readonly counts: ReadonlyArray<number>
  readonly meta: CohortMeta
  readonly rootKeys: ReadonlyArray<string> | undefined
  /** What the document is, if it is plainly no cohort. */
  readonly notCohort: NotCohort | undefined
  readonly remarks: ReadonlyArray<LocatedRemark>
  readonly remarkCount: number
}

export interface ReadOptions<E> {
  readonly maxEntityBytes: number
  readonly maxDepth: number
  /** Files up to this size are read whole; `WHOLE_FILE_BYTES` if not given. */
  readonly wholeFileBytes?: number
  /** Bytes of a larger file that are read at once; `WINDOW_BYTES` if not given. */
  readonly windowBytes?: number
  /** The files that will be read after this one, the nearest first: their bytes are fetched meanwhile. */
  readonly next?: ReadonlyArray<SourceFile> | undefined
  /** Threads that read them instead, and large files; given either always or never. */
  readonly threads?: ReadThreads | undefined
  /**
   * Asked once the hash of a file read whole is known; true ends the reading there, because its content is stored
   * already.
   */
  readonly isKnown?: (sourceSha256: string) => boolean
  /** Run before anything of a file goes into the batch. */
  readonly prepare?: Effect.Effect<void, E> | undefined
  /** Takes back what a first reading put into the batch, before a second one. */
  readonly takeBack: Effect.Effect<void>
  /** Called while a large file is read; may empty the batch. */
  readonly onWindow: Effect.Effect<void, E>
  /** Called while a file is read whole; may fail, but not empty the batch. */
  readonly whileWhole?: Effect.Effect<void, E>
  /** Bytes read since the last call. */
  readonly onBytes?: (bytes: number) => void
}

/** The bytes of a file read whole, with room for one byte more behind them. */
interface Fetched {
  readonly buffer: Buffer
  readonly count: number
  /** Of the bytes, lower-case hex. */
  readonly sha256: string
}

/** A file that is fetched ahead, and the buffer that nothing else may use until it is done with. */
interface Ahead {
  readonly fetching: Fiber.Fiber<Fetched, SourceError>
  readonly room: Room
}

/** Smaller files are read sooner than another thread is asked to do it; larger ones would need too much memory. */
const AHEAD_BYTES = { least: 128 << 10, most: 16 << 20 }

/** Buffers that are used again from file to file; as many more as are fetched `ahead` at a time. */
export class ReadBuffers {
  private readonly most: number
  private current: Room = new Room(1 << 20)
  private readonly free: Array<Room> = []
  private readonly ahead = new Map<SourceFile, Ahead>()

  constructor(ahead = 1) {
    this.most = ahead
  }

  /** The bytes of a file, at hand or read now. They stay until the next call. */
  fetch(file: SourceFile): Effect.Effect<Fetched, SourceError> {
    return Effect.suspend(() => {
      const ahead = this.ahead.get(file)
      if (ahead === undefined) return fetchWhole(file, this.current, false)
      this.ahead.delete(file)
      this.free.push(this.current)
      this.current = ahead.room
      return Fiber.join(ahead.fetching)
    })
  }

  /** Begins to fetch the files that will be read next, while the one fetched before is being looked at. */
  fetchAhead(files: ReadonlyArray<SourceFile>): Effect.Effect<void> {
    const wanted = files.filter(isFetchedAhead).slice(0, this.most)
    // What is read again or left out is no longer waited for; its buffer goes with it.
    for (const file of this.ahead.keys()) if (!wanted.includes(file)) this.ahead.delete(file)
    return Effect.forEach(
      wanted.filter((file) => !this.ahead.has(file)),
      (file) => {
        const room = this.free.pop() ?? new Room(0)
        // Nobody's child: it outlives the transaction in which the file before is read.
        return Effect.map(Effect.forkDetach(fetchWhole(file, room, true), { startImmediately: true }), (fetching) => {
          this.ahead.set(file, { fetching, room })
        })
      },
      { discard: true }
    )
  }
}

/** What is read instead of a file comes from a database, which is not asked for two things at once. */
const isFetchedAhead = ({ bytes, open }: SourceFile): boolean =>
  open === undefined && bytes >= AHEAD_BYTES.least && bytes <= AHEAD_BYTES.most

/** A buffer that grows with what it has to hold. */
class Room {
  private buffer: Buffer

  constructor(bytes: number) {
    this.buffer = Buffer.alloc(bytes)
  }

  /** At least so many bytes; for files much alike it need not grow again. */
  of(bytes: number, file: SourceFile): Buffer {
    if (this.buffer.length < bytes) {
      this.buffer = Buffer.allocUnsafeSlow(Math.max(bytes, Math.min(this.buffer.length * 2, file.bytes * 2 + 2)))
    }
    return this.buffer
  }
}

/** Reads a file as one version; `changed` if it is written to meanwhile. */
const fetchWhole = (file: SourceFile, room: Room, meanwhile: boolean): Effect.Effect<Fetched, SourceError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const open = yield* openSource(file)
      const buffer = room.of(open.bytes + 2, file)
      // One byte more than there should be, so that a file that grows is noticed.
      const into = buffer.subarray(0, open.bytes + 1)
      const count = yield* meanwhile ? open.readMeanwhile(into) : open.read(into)
      if (count !== open.bytes) return yield* new SourceError({ reason: "changed", path: file.path })
      yield* open.checkUnchanged
      const bytes = buffer.subarray(0, count)
      const sha256 = meanwhile
        ? Buffer.from(yield* Effect.promise(() => subtle.digest("SHA-256", bytes))).toString("hex")
        : hash("sha256", bytes, "hex")
      return { buffer, count, sha256 }
    })
  )

/** Reads a file. Returns undefined when its content is known already. */
export const readPart = <E>(
  file: SourceFile,
  documents: DocumentReader,
  buffers: ReadBuffers,
  options: ReadOptions<E>
): Effect.Effect<PartRead | undefined, SourceError | SourceRejected | ThreadLost | E> =>
  Effect.suspend(() => {
    documents.entities.maxEntityBytes = options.maxEntityBytes
    documents.entities.tokenizer.maxDepth = options.maxDepth
    return Effect.scoped<PartRead | undefined, SourceError | SourceRejected | ThreadLost | E, Scope.Scope>(
      file.bytes <= (options.wholeFileBytes ?? WHOLE_FILE_BYTES)
        ? readWhole(file, documents, buffers, options)
        : readLarge(file, documents, options)
    )
  })

const readWhole = Effect.fnUntraced(function* <E>(
  file: SourceFile,
  documents: DocumentReader,
  buffers: ReadBuffers,
  options: ReadOptions<E>
) {
  const { isKnown, next = [], onBytes, prepare = Effect.void, takeBack } = options
  const threads = options.threads?.readAhead === true ? options.threads : undefined
  if (threads !== undefined) {
    const ahead = yield* threads.take(file, next, documents, prepare, takeBack)
    if (ahead !== undefined) {
      onBytes?.(file.bytes)
      const isStored = isKnown?.(ahead.sourceSha256) === true
      if (ahead.outcome === "read") {
        if (!isStored) return ahead.part
        yield* takeBack
      }
      if (isStored) return undefined
    }
  }
  const { buffer, count, sha256: sourceSha256 } = yield* buffers.fetch(file)
  if (threads === undefined) yield* buffers.fetchAhead(next)
  onBytes?.(count)
  const raw = buffer.subarray(0, count)
  if (isKnown?.(sourceSha256) === true) return undefined
  yield* prepare
  const text = toUtf8(raw)
  if (Result.isFailure(text)) {
    return yield* rejected(file, raw, { code: text.failure.code, reason: NOT_TEXT }, raw, text.failure.offset)
  }
  const { bytes, encoding } = text.success
  const { name: stem } = parse(file.name)
  let guess = guessOf(rootHintOf(file.name, bytes))
  const tokenizer = documents.entities.tokenizer
  for (let attempt = 0; ; attempt++) {
    // The tokenizer wants a zero byte behind the text; of the file's own buffer there is one to spare.
    if (bytes.buffer === buffer.buffer) {
      tokenizer.input = buffer
      tokenizer.p = bytes.byteOffset - buffer.byteOffset
      tokenizer.end = tokenizer.p + bytes.length
      buffer[tokenizer.end] = 0
    } else {
      const window = Buffer.alloc(bytes.length + 1)
      window.set(bytes)
      tokenizer.input = window
      tokenizer.p = 0
      tokenizer.end = bytes.length
    }
    // Offsets count from the first byte of the text.
    tokenizer.base = -tokenizer.p
    tokenizer.last = true
    const result = yield* drive(documents, guess.rules, options.whileWhole ?? Effect.void, Effect.void)
    if (result instanceof JsonProblem) {
      const reason = result.code === "unexpected-end" && isBlank(bytes) ? "the file is empty" : result.message
      return yield* rejected(file, raw, { code: result.code, reason }, bytes, result.offset, markLength(encoding))
    }
    const second = attempt === 0 ? secondRules(result, stem) : undefined
    if (second === undefined) {
      return partOf(file, documents, guess, result, encoding, sourceSha256, locate(bytes, result.remarks))
    }
    yield* takeBack
    guess = { rules: second, variant: result.rootKeys?.includes("resourceType") === true ? "V15" : undefined }
  }
})

const isSpace = (byte: number | undefined): boolean => byte === 32 || byte === 10 || byte === 13 || byte === 9

const isBlank = (bytes: Uint8Array): boolean => bytes.every(isSpace)

/** What the name of a file and its first bytes, as UTF-8, show of the root. */
export const rootHintOf = (name: string, bytes: Uint8Array): RootHint => {
  const lines = mayHoldLines(name)
  return {
    stem: parse(name).name,
    lines,
    isArray: rootByteOf(bytes) === OPEN_ARRAY,
    keys: rowKeysOf(bytes, lines),
    said: (key) => stringMember(bytes.subarray(0, outlineLimit), key)
  }
}

/** Reads the keys of the first object of a root array, or of the first line, from the first bytes. */
const rowKeysOf = (bytes: Uint8Array, lines: boolean): ReadonlyArray<string> => {
  if (rootByteOf(bytes) !== OPEN_ARRAY && !lines) return []
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, outlineLimit)).toString("utf8")
  const at = head.indexOf("{")
  return at < 0 ? [] : [...outlineOf(head.slice(at), true).members.keys()]
}

const OPEN_ARRAY = 91

const rootByteOf = (bytes: Uint8Array): number | undefined => {
  let p = 0
  while (isSpace(bytes[p])) p++
  return bytes[p]
}

/** Opens a source's file, or what it says to read instead. */
const openSource = (file: SourceFile): Effect.Effect<OpenText, SourceError, Scope.Scope> =>
  file.open ?? openFile(file.path, file.identity)

const readLarge = Effect.fnUntraced(function* <E>(
  file: SourceFile,
  documents: DocumentReader,
  options: ReadOptions<E>
) {
  yield* options.prepare ?? Effect.void
  const part = yield* options.threads?.readLarge(file, documents, options) ?? Effect.undefined
  if (part !== undefined) return part
  const open = yield* openSource(file)
  const raw = createHash("sha256")
  const text = new Utf8Stream()
  const chunk = Buffer.allocUnsafeSlow(options.windowBytes ?? WINDOW_BYTES)
  const tokenizer = documents.entities.tokenizer
  let window: Uint8Array = new Uint8Array(2 * chunk.length + 1)
  let length = 0
  let ended = false
  let head: Uint8Array | undefined

  /** Moves what is left to the front of the window and fills it up. */
  const refill = Effect.fnUntraced(function* () {
    const consumed = tokenizer.p
    window.copyWithin(0, consumed, length)
    length -= consumed
    tokenizer.base += consumed
    tokenizer.p = 0
    const count = yield* open.read(chunk)
    const bytes = chunk.subarray(0, count)
    head ??= Buffer.from(bytes.subarray(0, HEAD_BYTES))
    raw.update(bytes)
    options.onBytes?.(count)
    const piece = text.update(bytes)
    const rest = count < chunk.length ? text.end() : undefined
    for (const part of rest === undefined ? [piece] : [piece, rest]) {
      if (Result.isFailure(part)) {
        const { code, offset } = part.failure
        yield* refuseUnread(file, head)
        return yield* new SourceRejected({
          code,
          path: file.path,
          offset,
          reason: NOT_TEXT,
          ...(yield* positionInFile(file, offset, false))
        })
      }
      if (length + part.success.length + 1 > window.length) {
        const larger = new Uint8Array((length + part.success.length + 1) * 2)
        larger.set(window.subarray(0, length))
        window = larger
      }
      window.set(part.success, length)
      length += part.success.length
    }
    ended = count < chunk.length
    window[length] = 0
    tokenizer.input = window
    tokenizer.end = length
    tokenizer.last = ended
  })

  tokenizer.p = 0
  tokenizer.base = 0
  yield* refill()
  const guess = guessOfLarge(rootHintOf(file.name, window.subarray(0, length)))
  const result = yield* drive(documents, guess.rules, options.onWindow, refill())
  if (result instanceof JsonProblem) {
    yield* refuseUnread(file, head)
    const position = yield* positionInFile(file, result.offset, true)
    const offset = result.offset + markLength(text.encoding)
    return yield* new SourceRejected({
      code: result.code,
      path: file.path,
      offset,
      reason: result.message,
      ...position
    })
  }
  yield* open.checkUnchanged
  return partOf(
    file,
    documents,
    guess,
    result,
    text.encoding ?? "utf-8",
    raw.digest("hex"),
    result.remarks.map((remark) => ({ ...remark, line: undefined, column: undefined }))
  )
})

/** Runs a reading to its end, letting others run in between; gives the problem of a document that is none. */
const drive = <E, E2>(
  documents: DocumentReader,
  rules: DocumentRules,
  onWindow: Effect.Effect<void, E>,
  refill: Effect.Effect<void, E2>
): Effect.Effect<DocumentResult | JsonProblem, E | E2> =>
  Effect.gen(function* () {
    const reading = documents.read(rules)
    for (;;) {
      const step = advance(reading)
      if (step instanceof JsonProblem) return step
      if (step.done === true) return step.value
      if (step.value === "input") yield* refill
      else yield* onWindow
      yield* Effect.yieldNow
    }
  })

/** Anything that a reading throws but a problem of its input is a bug. */
const advance = (reading: Generator<Pause, DocumentResult>): IteratorResult<Pause, DocumentResult> | JsonProblem => {
  try {
    return reading.next()
  } catch (problem) {
    if (problem instanceof JsonProblem) return problem
    throw problem
  }
}

const partOf = (
  file: SourceFile,
  documents: DocumentReader,
  { rules, variant }: Guess,
  result: DocumentResult,
  encoding: SourceEncoding,
  sourceSha256: string,
  remarks: ReadonlyArray<LocatedRemark>
): PartRead => {
  return {
    ...documents.takeRows(),
    file,
    variant:
      file.variant ??
      (result.rootKeys === undefined && result.collections.length > 0 ? variant : undefined) ??
      (rules.tag === "documents" && result.rootKeys === undefined
        ? "lines"
        : variantOf(result.rootKeys, result.collections, result.captures, rules.tag === "entity")),
    encoding,
    sourceSha256,
    digest: result.digest,
    counts: result.counts,
    meta: cohortMeta(rules.tag === "entity" ? new Map() : result.captures),
    rootKeys: result.rootKeys,
    notCohort:
      result.rootKeys === undefined || result.collections.length > 0
        ? undefined
        : notCohortOf(result.rootKeys, parse(file.name).name),
    remarks,
    remarkCount: result.remarkCount
  }
}

/** The first bytes of a file, which tell what it is. */
const HEAD_BYTES = 8

/** Fails where a file that is no document turns out to be something else altogether. */
const refuseUnread = (file: SourceFile, head: Uint8Array = new Uint8Array()): Effect.Effect<void, SourceRejected> => {
  const reason = unreadFormOf(head)
  return reason === undefined
    ? Effect.void
    : Effect.fail(
        new SourceRejected({ code: "unsupported-encoding", path: file.path, offset: 0, line: 1, column: 1, reason })
      )
}

/** `offset` counts from the start of `bytes`, before which the file has `skipped` bytes more. */
const rejected = (
  file: SourceFile,
  raw: Uint8Array,
  problem: { readonly code: JsonProblemCode | "invalid-utf16"; readonly reason: string },
  bytes: Uint8Array,
  offset: number,
  skipped = 0
) => {
  const [located] = locate(bytes, [{ offset }])
  return Effect.andThen(
    refuseUnread(file, raw),
    Effect.fail(
      new SourceRejected({
        code: problem.code,
        path: file.path,
        offset: offset + skipped,
        line: located?.line ?? 1,
        column: located?.column ?? 1,
        reason: problem.reason
      })
    )
  )
}

/** Adds lines and columns to things with byte offsets, in one pass over the bytes. */
const locate = <A extends { readonly offset: number }>(
  bytes: Uint8Array,
  things: ReadonlyArray<A>
): ReadonlyArray<A & { line: number; column: number }> => {
  if (things.length === 0) return []
  const order = things.map((thing, index) => ({ thing, index })).sort((a, b) => a.thing.offset - b.thing.offset)
  const located: Array<A & { line: number; column: number }> = []
  let line = 1
  let newline = bytes.indexOf(10)
  let column = 1
  let at = 0
  for (const { thing, index } of order) {
    while (newline >= 0 && newline < thing.offset) {
      line++
      column = 1
      at = newline + 1
      newline = bytes.indexOf(10, at)
    }
    // From the place before on the same line: all of a file may be one line.
    for (; at < thing.offset && at < bytes.length; at++) if ((bytes[at]! & 0xc0) !== 0x80) column++
    located[index] = { ...thing, line, column }
  }
  return located
}

/** Bytes of the mark before the text that still count in its UTF-8 form. */
const markLength = (encoding: SourceEncoding | undefined): number => (encoding === "utf-8-bom" ? 3 : 0)

/** Line and column of an offset in a file too large to be held: in its text as UTF-8, or in its raw bytes. */
const positionInFile = Effect.fnUntraced(function* (file: SourceFile, offset: number, inText: boolean) {
  const open = yield* file.open ?? openFile(file.path)
  const chunk = Buffer.allocUnsafeSlow(WINDOW_BYTES)
  const text = new Utf8Stream()
  let line = 1
  let column = 1
  for (let seen = 0; seen < offset;) {
    const count = yield* open.read(chunk)
    if (count === 0) break
    const raw = chunk.subarray(0, count)
    const piece = inText ? text.update(raw) : Result.succeed(raw)
    if (Result.isFailure(piece)) break
    const bytes = piece.success
    for (let i = 0; i < bytes.length && seen < offset; i++, seen++) {
      if (bytes[i] === 10) {
        line++
        column = 1
      } else if ((bytes[i]! & 0xc0) !== 0x80) column++
    }
  }
  return { line, column }
}, Effect.scoped)
