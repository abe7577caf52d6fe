/** A JSON text as a document to save, read by the rules of legacy files: what a migration makes of it. */
import { hash } from "node:crypto"
import { parse } from "node:path"
import type { Recogniser, SaveRequest } from "@mallard/duckdb-store"
import { cohortMeta, type DocumentResult } from "@mallard/entity-serializers"
import {
  type EncodingProblem,
  guessOf,
  type RootHint,
  rootHintOf,
  secondRules,
  toUtf8,
  variantOf
} from "@mallard/legacy-json"
import { Result } from "effect"

/**
 * The bytes of a file called `name` as a document of its own, or where they are no text. As for a migration, the name says
 * whether they are NDJSON. Their text has to fit into one string.
 */
export const legacyDocument = (bytes: Uint8Array, name: string): Result.Result<SaveRequest, EncodingProblem> =>
  Result.map(toUtf8(bytes), (text) => {
    const document = Buffer.from(text.bytes.buffer, text.bytes.byteOffset, text.bytes.length).toString("utf8")
    return {
      document,
      recogniser: recogniserOf(rootHintOf(name, text.bytes)),
      fallbackName: parse(name).name,
      path: name,
      source: { bytes: bytes.length, sha256: hash("sha256", bytes, "hex"), encoding: text.encoding }
    }
  })

const recogniserOf = (hint: RootHint): Recogniser => {
  const { rules, variant } = guessOf(hint)
  let second: ReturnType<typeof secondRules>
  return {
    rules,
    again: (result) => (second = secondRules(result, hint.stem)),
    facts: ({ captures, collections, rootKeys }: DocumentResult) => {
      const isWhole = second?.tag === "entity"
      const meta = cohortMeta(isWhole ? new Map() : captures)
      const known = second === undefined && rootKeys === undefined && collections.length > 0 ? variant : undefined
      const areDocuments = rules.tag === "documents" && rootKeys === undefined
      return {
        ...meta,
        format: known ?? (areDocuments ? "lines" : variantOf(rootKeys, collections, captures, isWhole))
      }
    }
  }
}
