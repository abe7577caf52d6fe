/** A JSON text as a document to save, read by the rules of legacy files: what a migration makes of it. */
import { hash } from "node:crypto"
import type { Recogniser, SaveRequest } from "@mallard/duckdb-store"
import { cohortMeta, type DocumentResult } from "@mallard/entity-serializers"
import { type EncodingProblem, guessOf, secondRules, toUtf8, variantOf } from "@mallard/legacy-json"
import { parseJson } from "@mallard/schema"
import { Result } from "effect"

/** The bytes of a file called `name` as a document of its own, or where they are no text. */
export const legacyDocument = (bytes: Uint8Array, name: string): Result.Result<SaveRequest, EncodingProblem> =>
  Result.map(toUtf8(bytes), (text) => {
    const document = Buffer.from(text.bytes.buffer, text.bytes.byteOffset, text.bytes.length).toString("utf8")
    const stem = name.replace(/\.[^.]*$/, "")
    return {
      document,
      recogniser: recogniserOf(document, stem),
      fallbackName: stem,
      path: name,
      source: { bytes: bytes.length, sha256: hash("sha256", bytes, "hex"), encoding: text.encoding }
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
      const meta = cohortMeta(isWhole ? new Map() : captures)
      const known = second === undefined && rootKeys === undefined && collections.length > 0 ? variant : undefined
      return { ...meta, format: known ?? variantOf(rootKeys, collections, captures, isWhole) }
    }
  }
}

/** Keys of the first object of a root array: they tell what its elements are. */
const firstKeys = (text: string): ReadonlyArray<string> => {
  if (!text.trimStart().startsWith("[")) return []
  try {
    const list = parseJson(text)
    const first: unknown = Array.isArray(list) ? list.find((one) => typeof one === "object" && one !== null) : undefined
    return typeof first === "object" && first !== null ? Object.keys(first) : []
  } catch {
    // Python's NaN, or no JSON at all, which the reader will tell.
    return []
  }
}
