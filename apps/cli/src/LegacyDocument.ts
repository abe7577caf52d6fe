/** A JSON file as a document to save, read by the rules of legacy files: what a migration makes of it. */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs"
import { basename } from "node:path"
import { InvalidRequest, MAX_DOCUMENT_BYTES, type RequestReason, type SaveRequest } from "@mallard/duckdb-store"
import { systemCode } from "@mallard/duckdb-store/Disk"
import { jsonProblemOf } from "@mallard/entity-serializers"
import { unreadFormOf } from "@mallard/legacy-json"
import { legacyDocument } from "@mallard/migrator"
import { Effect, Result } from "effect"

const STDIN = 0
/** Bytes that are asked of a pipe at once. */
const PIECE = 1 << 16

const reasons: Readonly<Record<string, RequestReason>> = { ENOENT: "no-file", ENOTDIR: "no-file", EISDIR: "folder" }

/** Reads a file, or standard input for `-`; `shown` is how the user named it. */
export const readDocument = (path: string, shown: string): Effect.Effect<SaveRequest, InvalidRequest> =>
  Effect.gen(function* () {
    const raw = yield* Effect.try({
      try: () => bytesOf(path),
      catch: (cause) =>
        new InvalidRequest({ reason: reasons[systemCode(cause) ?? ""] ?? "not-read", path: shown, cause })
    })
    if (raw === undefined) return yield* new InvalidRequest({ reason: "too-large", path: shown })
    const form = unreadFormOf(raw)
    if (form !== undefined) return yield* new InvalidRequest({ reason: "not-read", path: shown, detail: form })
    const document = legacyDocument(raw, path === "-" ? nameOfInput(raw) : basename(shown))
    if (Result.isFailure(document))
      return yield* new InvalidRequest({ reason: "not-read", path: shown, detail: document.failure.code })
    return path === "-" ? { ...document.success, fallbackName: undefined } : document.success
  })

/** Of standard input there is no name to say what it is: NDJSON, where its first line is JSON and others follow. */
const nameOfInput = (bytes: Buffer): string => {
  const end = bytes.indexOf(LINE_FEED)
  const isOneLine = end < 0 || bytes.subarray(end).every((byte) => byte <= SPACE)
  return isOneLine || jsonProblemOf(bytes.subarray(0, end)) !== undefined ? "stdin.json" : "stdin.ndjson"
}

const LINE_FEED = 0x0a
const SPACE = 0x20

/** Undefined for more bytes than a document may have; no more than these are read. */
const bytesOf = (path: string): Buffer | undefined => {
  const file = path === "-" ? STDIN : openSync(path, "r")
  try {
    const stat = fstatSync(file)
    if (!stat.isFile()) return bytesOfPipe(file)
    return stat.size > MAX_DOCUMENT_BYTES ? undefined : readFileSync(file)
  } finally {
    if (file !== STDIN) closeSync(file)
  }
}

/** How much will come of a pipe nobody knows before. */
const bytesOfPipe = (pipe: number): Buffer | undefined => {
  const piece = Buffer.allocUnsafe(PIECE)
  const pieces: Array<Buffer> = []
  for (let total = 0; total <= MAX_DOCUMENT_BYTES;) {
    const count = readSync(pipe, piece)
    if (count === 0) return Buffer.concat(pieces)
    pieces.push(Buffer.from(piece.subarray(0, count)))
    total += count
  }
  return undefined
}
