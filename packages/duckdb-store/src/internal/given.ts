/** JSON that a program gives to be stored, looked at once: its text, its bytes and their hash. */

import {
  type DocumentResult,
  JsonProblem,
  positionAt,
  RawJson,
  toJsonText,
  UnsupportedValue
} from "@mallard/entity-serializers"
import { Effect } from "effect"
import { hash } from "node:crypto"
import { type BatchWriter } from "../BatchWriter.ts"
import { InvalidRequest } from "../CohortErrors.ts"
import { type Recogniser } from "../Recognise.ts"
import { shownPointer } from "../ShownPointer.ts"
import type { Json } from "../Writing.ts"

/** JSON text that has been looked at once. */
export interface Prepared {
  /** The compact text; of NDJSON the text as it is. */
  readonly text: string
  readonly bytes: number
  readonly sha256: string
}

/** NDJSON, which is no JSON text, is left as it is: reading it tells what is wrong with it. */
export const prepareDocument = (
  document: Json,
  recogniser: Recogniser | undefined
): Effect.Effect<Prepared, InvalidRequest> => {
  const tag = recogniser?.rules.tag
  if ((tag !== "documents" && tag !== "lines") || typeof document !== "string" || !document.isWellFormed())
    return prepare(document)
  return Effect.sync(() => ({
    text: document,
    bytes: Buffer.byteLength(document),
    sha256: hash("sha256", document, "hex")
  }))
}

/** JSON text or a value as compact text. */
export const prepare = (json: Json): Effect.Effect<Prepared, InvalidRequest> =>
  Effect.try({
    try: () => {
      const text = toJsonText(typeof json === "string" ? new RawJson(json) : json)
      // Halves of surrogate pairs have no UTF-8: then the compact text is the source.
      const source = typeof json === "string" && json.isWellFormed() ? json : text
      return { text, bytes: Buffer.byteLength(source), sha256: hash("sha256", source, "hex") }
    },
    catch: (cause) => requestProblem(cause, typeof json === "string" ? json : undefined)
  })

/** Reads a document into the batch of a writer, by the second rules where the first do not fit. */
export const readDocument = (
  writer: BatchWriter,
  document: Prepared,
  recogniser: Recogniser
): Effect.Effect<DocumentResult, InvalidRequest> =>
  Effect.try({
    try: () => {
      const mark = writer.mark()
      const bytes = Buffer.from(document.text)
      const result = writer.documents.readBytes(bytes, recogniser.rules)
      const again = recogniser.again?.(result)
      if (again === undefined) return result
      writer.rollback(mark)
      return writer.documents.readBytes(bytes, again)
    },
    catch: (cause) => requestProblem(cause, document.text)
  })

/** `text` is what was read, where that is one text. */
const requestProblem = (cause: unknown, text: string | undefined): InvalidRequest => {
  if (cause instanceof UnsupportedValue) {
    const { cause: inner } = cause
    return cause.code === "raw-json" && inner instanceof JsonProblem
      ? jsonProblem(inner, text, shownPointer(cause.pointer))
      : new InvalidRequest({
          reason: "unsupported-value",
          pointer: shownPointer(cause.pointer),
          detail: cause.message,
          cause
        })
  }
  if (cause instanceof JsonProblem) return jsonProblem(cause, text)
  throw cause
}

const jsonProblem = (cause: JsonProblem, text: string | undefined, pointer = ""): InvalidRequest => {
  const { message, offset } = cause
  const place = text === undefined ? undefined : positionAt(Buffer.from(text), offset)
  const line = place === undefined ? "" : `line ${place.line}, column ${place.column}, `
  return new InvalidRequest({
    reason: "bad-json",
    ...(pointer === "" ? {} : { pointer }),
    detail: `${message}, ${line}byte ${offset}`,
    cause
  })
}
