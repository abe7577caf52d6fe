/** A JSON file as a document to save, read by the rules of legacy files: what a migration makes of it. */
import { hash } from "node:crypto"
import { readFileSync } from "node:fs"
import { basename } from "node:path"
import { InvalidRequest, type Recogniser, type SaveRequest } from "@mallard/duckdb-store"
import { type DocumentResult } from "@mallard/entity-serializers"
import { guessOf, metaOf, secondRules, toUtf8, variantOf } from "@mallard/legacy-json"
import { Effect, Result } from "effect"

const STDIN = 0

/** Reads a file, or standard input for `-`. */
export const readDocument = (path: string, shown: string): Effect.Effect<SaveRequest, InvalidRequest> =>
  Effect.gen(function* () {
    const raw = yield* Effect.try({
      try: () => readFileSync(path === "-" ? STDIN : path),
      catch: (cause) => new InvalidRequest({ reason: "not-read", cause })
    })
    const text = toUtf8(raw)
    if (Result.isFailure(text)) return yield* new InvalidRequest({ reason: "not-read", detail: text.failure.code })
    const { bytes, encoding } = text.success
    const document = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8")
    const name = path === "-" ? "stdin.json" : basename(shown)
    const stem = name.replace(/\.[^.]*$/, "")
    return {
      document,
      recogniser: recogniserOf(document, stem),
      ...(path === "-" ? {} : { fallbackName: stem }),
      path: name,
      source: { bytes: raw.length, sha256: hash("sha256", raw, "hex"), encoding }
    }
  })

const recogniserOf = (text: string, stem: string): Recogniser => {
  const isArray = text.trimStart().startsWith("[")
  const { rules, variant } = guessOf({ stem, lines: false, isArray, keys: firstKeys(text), said: () => undefined })
  let second: ReturnType<typeof secondRules>
  return {
    rules,
    again: (result) => (second = secondRules(result, stem)),
    facts: ({ captures, collections, rootKeys }: DocumentResult) => {
      const isWhole = second?.tag === "entity"
      const meta = metaOf(isWhole ? new Map() : captures)
      const known = second === undefined && rootKeys === undefined && collections.length > 0 ? variant : undefined
      return { ...meta, format: known ?? variantOf(rootKeys, collections, captures, isWhole) }
    }
  }
}

/** Keys of the first object of a root array: they tell what its elements are. */
const firstKeys = (text: string): ReadonlyArray<string> => {
  if (!text.trimStart().startsWith("[")) return []
  try {
    const list: unknown = JSON.parse(text)
    const first: unknown = Array.isArray(list) ? list.find((one) => typeof one === "object" && one !== null) : undefined
    return typeof first === "object" && first !== null ? Object.keys(first) : []
  } catch {
    // Python's NaN, or no JSON at all, which the reader will tell.
    return []
  }
}
