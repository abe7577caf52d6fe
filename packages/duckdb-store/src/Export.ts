/**
 * Cohorts as files: their documents as they were, the same without private keys, the form that HealthSim's Python tools
 * read, and tables per kind. What a form cannot hold is told in remarks; nothing is dropped in silence.
 */

import { mayHoldLines, pointerToken, prettyText } from "@mallard/entity-serializers"
import { kinds } from "@mallard/schema"
import { depthOf, duplicateKeyAt, isObject, membersOf, withoutPrivateKeys } from "./internal/jsonScan.ts"
import { type StoredMember } from "./internal/content.ts"
export type { StoredMember } from "./internal/content.ts"
import { timestampText } from "./Ledger.ts"
import { quoteName, quoteText } from "./Quoting.ts"

/**
 * `documents`: every document as it was stored. `sharing`: the same without keys that start with `_`, at any depth. `v1`:
 * HealthSim's cohort file. `ndjson`: a file per kind, a line for each entity of a document with those inside it. `csv`,
 * `parquet`: a file per kind with the columns of its view, a row for each entity, those inside others included.
 */
export type ExportFormat = "documents" | "sharing" | "v1" | "ndjson" | "csv" | "parquet"

/** The formats, in the order of help. */
export const exportFormats: ReadonlyArray<ExportFormat> = ["documents", "sharing", "v1", "ndjson", "csv", "parquet"]

export interface ExportOptions {
  /** `documents` if not given. */
  readonly format?: ExportFormat | undefined
  /** Without white space; else indented as Python does. For `documents` and `sharing`. */
  readonly compact?: boolean | undefined
  /** Escapes everything outside ASCII; HealthSim's cohort file always does. */
  readonly ascii?: boolean | undefined
}

/** Something that the form cannot hold, or that Python's tools will not keep. */
export interface ExportRemark {
  readonly code:
    | "outside-entities"
    | "not-an-object"
    | "duplicate-id"
    | "id-not-text"
    | "duplicate-key"
    | "too-deep"
    | "lone-surrogate"
  readonly path: string
  readonly pointer: string
  readonly message: string
}

/** What each remark means. */
export const exportRemarks: Readonly<Record<ExportRemark["code"], string>> = {
  "outside-entities": "left out: a cohort file holds name, description, tags, time and entities only",
  "not-an-object": "left out: in a cohort file every entity is an object",
  "duplicate-id": "in the file, but HealthSim keeps only the last entity of a type with this id",
  "id-not-text": "in the file, but HealthSim may fail on an id that is no text",
  "duplicate-key": "in the file, but Python keeps only the last value of a key",
  "too-deep": "in the file, but Python does not read what is nested deeper than about 1000 levels",
  "lone-surrogate": "in the file, but HealthSim's database refuses halves of surrogate pairs"
}

/** A file of an export, in memory. */
export interface ExportedText {
  /** Name within the cohort, or of the table. */
  readonly path: string
  readonly text: string
}

/**
 * A file as `documents` and `sharing` give it. Nothing follows the document, as in the compact text and in what Python's
 * `json.dump` writes; where it is NDJSON, each document stays on its line, and unless the compact text is wanted the last
 * line ends too, as tools for lines expect.
 */
export const documentText = (path: string, text: string, options: ExportOptions): string => {
  if (!mayHoldLines(path) && !text.includes("\n")) return oneDocumentText(text, options)
  const lines = text.split("\n").map((line) => oneDocumentText(line, { ...options, compact: true }))
  return `${lines.join("\n")}${options.compact === true ? "" : "\n"}`
}

/** Compact text escapes a surrogate only if it is half of no pair; a backslash that is escaped itself begins no escape. */
const LONE_SURROGATE = /(?<!\\)(?:\\\\)*\\ud[89a-f]/

const oneDocumentText = (text: string, options: ExportOptions): string => {
  const kept = options.format === "sharing" ? withoutPrivateKeys(text) : text
  if (options.compact === true && options.ascii !== true) return kept
  return prettyText(kept, {
    ascii: options.ascii ?? false,
    ...(options.compact === true ? {} : { indent: 2 })
  }).toString("utf8")
}

/** What a cohort file says of its cohort. */
export interface V1Head {
  readonly name: string
  readonly description: string | undefined
  readonly tags: ReadonlyArray<string>
  /** Microseconds since 1970-01-01. */
  readonly createdAt: bigint
}

const PYTHON_DEPTH = 900
const MOST_REMARKS = 1000

const tables: ReadonlyMap<string, string> = new Map(kinds.map(({ kind, table }) => [kind, table]))

/**
 * HealthSim's cohort file: `{name, description, tags, created_at, entities}`, laid out as its own export does. Entities of
 * known kinds stand below the plural name of their kind, others below the key that they had; types without entities are
 * left out, as there. Values are spelt as in the source.
 */
export const v1Text = (
  head: V1Head,
  members: ReadonlyArray<StoredMember>,
  documents: ReadonlyArray<{ readonly path: string; readonly text: string }>
): { readonly text: string; readonly remarks: ReadonlyArray<ExportRemark> } => {
  const remarks: Array<ExportRemark> = []
  const remark = (code: ExportRemark["code"], path: string, pointer: string): void => {
    if (remarks.length < MOST_REMARKS) remarks.push({ code, path, pointer, message: exportRemarks[code] })
  }
  const keyOf = ({ kind, type }: StoredMember): string => tables.get(kind) ?? type
  const lists = new Map<string, Array<{ readonly text: string; readonly isWrapper: boolean }>>()
  for (const member of members) {
    const { text } = member
    if (!isObject(text)) continue
    const list = lists.get(keyOf(member))
    const entity = { text, isWrapper: isWrapper(text) }
    if (list === undefined) lists.set(keyOf(member), [entity])
    else list.push(entity)
  }
  const unwrapped = new Set(
    [...lists].flatMap(([key, list]) => (list.every((entity) => entity.isWrapper) ? [key] : []))
  )
  const ids = new Set<string>()
  for (const member of members) {
    const { path, pointer, text } = member
    if (!isObject(text)) {
      remark("not-an-object", path, pointer)
      continue
    }
    const key = keyOf(member)
    const id = readerId(key, unwrapped.has(key) ? (valueAt(text, "data") ?? text) : text)
    if (id?.startsWith('"') === true) {
      const place = `${JSON.stringify(key)} ${String(JSON.parse(id))}`
      if (ids.has(place)) remark("duplicate-id", path, pointer)
      ids.add(place)
    } else if (id !== undefined) remark("id-not-text", path, pointer)
    const twice = duplicateKeyAt(text)
    if (twice !== undefined) remark("duplicate-key", path, `${pointer}${twice}`)
    if (depthOf(text) > PYTHON_DEPTH) remark("too-deep", path, pointer)
    if (LONE_SURROGATE.test(text)) remark("lone-surrogate", path, pointer)
  }
  const isPlace = placesOf(members)
  for (const { path, text } of documents) {
    const lines = text.split("\n")
    for (const [number, line] of lines.entries()) {
      if (!isObject(line)) continue
      const above = lines.length === 1 ? "" : `/${number}`
      for (const { key } of membersOf(line)) {
        const pointer = above + pointerToken(key)
        if (!V1_KEYS.has(key) && !isPlace(path, pointer)) remark("outside-entities", path, pointer)
      }
    }
  }
  const entities = [...lists].map(([key, list]) => {
    // HealthSim takes every element of a list for wrapped when the first one is, so those that are not come first.
    const texts = [...list.filter((one) => !one.isWrapper), ...list.filter((one) => one.isWrapper)]
    return `${JSON.stringify(key)}:[${texts.map((one) => one.text).join(",")}]`
  })
  const compact =
    `{"name":${JSON.stringify(head.name)},"description":${JSON.stringify(head.description ?? null)},` +
    `"tags":${JSON.stringify(head.tags)},"created_at":"${timestampText(head.createdAt).replace(" ", "T")}",` +
    `"entities":{${entities.join(",")}}}`
  return { text: prettyText(compact, { indent: 2, ascii: true }).toString("utf8"), remarks }
}

/** Types whose entities HealthSim's reader looks for by a column of their own before `id`. */
const readerIdKeys: ReadonlyMap<string, string> = new Map([
  ["encounters", "encounter_id"],
  ["claims", "claim_id"],
  ["prescriptions", "prescription_id"],
  ["subjects", "subject_id"]
])

/** The text of the value that HealthSim's reader takes for an entity's id; without one it makes up an id. */
const readerId = (type: string, text: string): string | undefined =>
  [readerIdKeys.get(type) ?? "id", "id", `${type}_id`]
    .map((key) => valueAt(text, key))
    .find((value) => value !== undefined && !isFalsy(value))

/** What Python takes for false, as text. */
const isFalsy = (text: string): boolean => /^(?:null|false|""|\[\]|\{\}|-?[0.]+(?:[eE][-+]?\d+)?)$/.test(text)

/** The text of the last value of a key. */
const valueAt = (text: string, key: string): string | undefined => {
  const found = isObject(text) ? membersOf(text).findLast((member) => member.key === key) : undefined
  return found && text.slice(found.start, found.end)
}

/** Tells whether entities stand at or below a pointer of a file, or it is inside one. */
const placesOf = (members: ReadonlyArray<StoredMember>): ((path: string, pointer: string) => boolean) => {
  const whole = new Set<string>()
  const above = new Set<string>()
  for (const { path, pointer } of members) {
    whole.add(`${path}\0${pointer}`)
    for (let end = pointer.length; end > 0; end = pointer.lastIndexOf("/", end - 1))
      above.add(`${path}\0${pointer.slice(0, end)}`)
  }
  return (path, pointer) => {
    if (above.has(`${path}\0${pointer}`)) return true
    for (let end = pointer.lastIndexOf("/"); end >= 0; end = pointer.lastIndexOf("/", end - 1)) {
      if (whole.has(`${path}\0${pointer.slice(0, end)}`)) return true
      if (end === 0) break
    }
    return false
  }
}

const V1_KEYS = new Set(["name", "description", "tags", "created_at", "entities"])

const isWrapper = (text: string): boolean => {
  const keys = new Set(membersOf(text).map(({ key }) => key))
  return keys.has("data") && keys.has("provenance")
}

/** A file per kind with a line for each entity of a document. */
export const ndjsonTexts = (members: ReadonlyArray<StoredMember>): ReadonlyArray<ExportedText> => {
  const lines = new Map<string, Array<string>>()
  for (const { kind, text } of members) {
    const table = tables.get(kind) ?? "json_values"
    const list = lines.get(table) ?? []
    lines.set(table, list)
    list.push(text)
  }
  return [...lines].map(([table, texts]) => ({ path: `${table}.ndjson`, text: `${texts.join("\n")}\n` }))
}

/** The statement that writes the rows of one kind and cohort to a file. */
export const copySql = (table: string, cohortId: string, format: "csv" | "parquet", path: string): string =>
  `COPY (SELECT * FROM main.${quoteName(table)} WHERE cohort_id = CAST('${cohortId}' AS UUID) ORDER BY entity_id, source_path, pointer) ` +
  `TO ${quoteText(path)} ${format === "csv" ? "(FORMAT csv, HEADER)" : "(FORMAT parquet, COMPRESSION zstd)"}`
