/** A JSON file as a document to save, read by the rules of legacy files: what a migration makes of it. */
import { readFileSync } from "node:fs"
import { basename } from "node:path"
import { InvalidRequest, type RequestReason, type SaveRequest } from "@mallard/duckdb-store"
import { systemCode } from "@mallard/duckdb-store/Disk"
import { legacyDocument } from "@mallard/migrator"
import { Effect, Result } from "effect"

const STDIN = 0

const reasons: Readonly<Record<string, RequestReason>> = { ENOENT: "no-file", ENOTDIR: "no-file", EISDIR: "folder" }

/** Reads a file, or standard input for `-`; `shown` is how the user named it. */
export const readDocument = (path: string, shown: string): Effect.Effect<SaveRequest, InvalidRequest> =>
  Effect.gen(function* () {
    const raw = yield* Effect.try({
      try: () => readFileSync(path === "-" ? STDIN : path),
      catch: (cause) =>
        new InvalidRequest({ reason: reasons[systemCode(cause) ?? ""] ?? "not-read", path: shown, cause })
    })
    const document = legacyDocument(raw, path === "-" ? "stdin.json" : basename(shown))
    if (Result.isFailure(document))
      return yield* new InvalidRequest({ reason: "not-read", path: shown, detail: document.failure.code })
    return path === "-" ? { ...document.success, fallbackName: undefined } : document.success
  })
