/** A JSON file as a document to save, read by the rules of legacy files: what a migration makes of it. */
import { readFileSync } from "node:fs"
import { basename } from "node:path"
import { InvalidRequest, type SaveRequest } from "@mallard/duckdb-store"
import { legacyDocument } from "@mallard/migrator"
import { Effect, Result } from "effect"

const STDIN = 0

const isMissing = (cause: unknown): boolean => cause instanceof Error && "code" in cause && cause.code === "ENOENT"

/** Reads a file, or standard input for `-`. */
export const readDocument = (path: string, shown: string): Effect.Effect<SaveRequest, InvalidRequest> =>
  Effect.gen(function* () {
    const raw = yield* Effect.try({
      try: () => readFileSync(path === "-" ? STDIN : path),
      catch: (cause) => new InvalidRequest({ reason: isMissing(cause) ? "no-file" : "not-read", cause })
    })
    const document = legacyDocument(raw, path === "-" ? "stdin.json" : basename(shown))
    if (Result.isFailure(document))
      return yield* new InvalidRequest({ reason: "not-read", detail: document.failure.code })
    return path === "-" ? { ...document.success, fallbackName: undefined } : document.success
  })
