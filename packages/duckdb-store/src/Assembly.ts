/**
 * Puts stored documents together again: the literal pieces of a part and, between them, the texts of its collections'
 * entities in order. Works through any number of documents in windows of bounded size.
 */
import { hash } from "node:crypto"
import { kindByCode } from "@mallard/schema"
import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import type { SqlError } from "effect/sql"
import { blobBytes, queryRows, quoted, type Renderer } from "./Rendering.ts"

/** One element of a collection: the bytes `start` to `end` of `bytes` are its compact text. */
export interface Element {
  readonly ordinal: number
  readonly kind: number
  readonly id: number
  /** Stored digest: 32 hex digits of the first 128 bits. */
  readonly digest: string
  /** Whether the text hashes to the stored digest. */
  readonly matches: boolean
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
}

/** A part of a content as the store has it. */
export interface StoredPart {
  readonly contentId: number
  readonly part: number
  readonly path: string
  readonly digest: string
}

/** Members that are fetched at once. */
const WINDOW_MEMBERS = 50_000
/** Elements whose texts come in one value. */
const BLOCK = 512

const LABEL = 1
const NEWLINE = 10
const SPACE = 32

/** The key under which a window holds a collection's elements. */
const key = (contentId: number, part: number, collection: number): string => `${contentId}/${part}/${collection}`

type Window = Map<string, Array<Element>>

/** Fetches the elements of all members that a condition on `m` selects, in order. */
const fetchWindow = Effect.fnUntraced(function* (client: DuckDbSqlClient, renderer: Renderer, where: string) {
  const window: Window = new Map()
  const rerender: Array<{ readonly list: Array<Element>; readonly at: number }> = []
  const kinds = yield* queryRows(client, `SELECT DISTINCT kind FROM mallard.cohort_members m WHERE ${where}`)
  for (const [code] of kinds) {
    const kind = Number(code)
    const declared = kindByCode(kind)
    if (kind !== 0 && declared === undefined) continue
    const ids = `SELECT m.entity_id FROM mallard.cohort_members m WHERE m.kind = ${kind} AND ${where}`
    const { text, join } = kind === 0 ? { text: "e.extra", join: () => "" } : renderer.expression(kind)
    const table = declared === undefined ? "json_values" : declared.table
    const rows = yield* queryRows(
      client,
      `SELECT content_id, part, collection, ordinal // ${BLOCK} AS block, count(*),
         encode(string_agg(ordinal::VARCHAR || ' ' || entity_id::VARCHAR || ' ' || coalesce(digest, '') || ' ' || coalesce(text, ''), chr(10) ORDER BY ordinal))
       FROM (SELECT m.content_id, m.part, m.collection, m.ordinal, m.entity_id, e.digest::VARCHAR AS digest, ${text} AS text
             FROM mallard.cohort_members m LEFT JOIN mallard.${quoted(table)} e ON e.entity_id = m.entity_id${join(ids)}
             WHERE m.kind = ${kind} AND ${where})
       GROUP BY content_id, part, collection, block ORDER BY content_id, part, collection, block`
    )
    for (const [contentId, part, collection, , count, blob] of rows) {
      const at = key(Number(contentId), Number(part), Number(collection))
      let list = window.get(at)
      if (list === undefined) window.set(at, (list = []))
      readBlock(blobBytes(blob), kind, Number(count), list, rerender)
    }
  }
  yield* rerenderElements(renderer, rerender)
  for (const list of window.values()) {
    for (let i = 1; i < list.length; i++) {
      if (list[i]!.ordinal > list[i - 1]!.ordinal) continue
      list.sort((a, b) => a.ordinal - b.ordinal)
      break
    }
  }
  return window
})

const readBlock = (
  bytes: Buffer,
  kind: number,
  count: number,
  list: Array<Element>,
  rerender: Array<{ readonly list: Array<Element>; readonly at: number }>
): void => {
  const text = bytes.includes("\\u00") ? Buffer.from(lowerEscapes(bytes.toString("utf8"))) : bytes
  let p = 0
  for (let i = 0; i < count; i++) {
    let ordinal = 0
    while (text[p] !== SPACE) ordinal = ordinal * 10 + text[p++]! - 48
    p++
    let id = 0
    while (text[p] !== SPACE) id = id * 10 + text[p++]! - 48
    // The digest as a UUID, 36 characters, missing when the entity itself is.
    const hasDigest = text[p + 1] !== SPACE
    const digest = hasDigest ? text.toString("latin1", p + 1, p + 37).replaceAll("-", "") : ""
    const start = p + (hasDigest ? 38 : 2)
    const newline = i === count - 1 ? text.length : text.indexOf(NEWLINE, start)
    const matches = hash("sha256", text.subarray(start, newline), "hex").startsWith(digest) && hasDigest
    list.push({ ordinal, kind, id, digest, matches, bytes: text, start, end: newline })
    if (!matches) rerender.push({ list, at: list.length - 1 })
    p = newline + 1
  }
}

/** DuckDB writes control characters with upper-case digits, the compact text with lower-case ones. */
export const lowerEscapes = (text: string): string =>
  text.replace(/\\(?:u00([01][0-9A-F])|.)/gs, (match, digits: string | undefined) => (digits === undefined ? match : `\\u00${digits.toLowerCase()}`))

const rerenderElements = Effect.fnUntraced(function* (
  renderer: Renderer,
  wanted: ReadonlyArray<{ readonly list: Array<Element>; readonly at: number }>
) {
  const byKind = new Map<number, Set<number>>()
  for (const { list, at } of wanted) {
    const { kind, id } = list[at]!
    byKind.set(kind, (byKind.get(kind) ?? new Set()).add(id))
  }
  for (const [kind, ids] of byKind) {
    const texts = yield* renderer.texts(kind, [...ids])
    for (const { list, at } of wanted) {
      const element = list[at]!
      const text = element.kind === kind ? texts.get(element.id) : undefined
      if (text === undefined) continue
      const bytes = Buffer.from(text)
      const matches = element.digest !== "" && hash("sha256", bytes, "hex").startsWith(element.digest)
      list[at] = { ...element, matches, bytes, start: 0, end: bytes.length }
    }
  }
})

/** What a visitor of documents is told. All calls for one part come in order. */
export interface PartVisitor {
  readonly start: (part: StoredPart) => void
  /** Compact text of the document. */
  readonly text: (bytes: Buffer, start: number, end: number) => void
  readonly element: (element: Element) => void
  /** A collection lacks elements, or has some twice, or in no order. */
  readonly gap: (collection: number) => void
  readonly end: () => void
}

/** Visits the documents of all contents that a condition on `p` (parts) selects, by content and part. */
export const visitParts = Effect.fnUntraced(function* (client: DuckDbSqlClient, renderer: Renderer, where: string, visitor: PartVisitor) {
  const counts = yield* queryRows(
    client,
    `SELECT p.content_id, p.part, p.path, p.digest, coalesce(m.members, 0)
     FROM mallard.parts p LEFT JOIN (SELECT content_id, part, count(*) AS members FROM mallard.cohort_members GROUP BY content_id, part) m
       ON m.content_id = p.content_id AND m.part = p.part
     WHERE ${where} ORDER BY p.content_id, p.part`
  )
  const parts = counts.map(([contentId, part, path, digest, members]) => ({
    contentId: Number(contentId),
    part: Number(part),
    path: String(path),
    digest: String(digest),
    members: Number(members)
  }))
  for (let from = 0; from < parts.length; ) {
    let to = from
    let members = 0
    // Windows take whole parts; one that is larger than a window comes alone and is fetched piece by piece.
    do members += parts[to++]!.members
    while (to < parts.length && to - from < 1000 && members + parts[to]!.members <= WINDOW_MEMBERS)
    const chosen = parts.slice(from, to)
    const first = chosen[0]!
    const last = chosen.at(-1)!
    const range = (alias: string): string =>
      `(${alias}.content_id > ${first.contentId} OR ${alias}.part >= ${first.part}) AND (${alias}.content_id < ${last.contentId} OR ${alias}.part <= ${last.part})`
    const bounds = (alias: string): string =>
      first.contentId === last.contentId && first.part === last.part
        ? `${alias}.content_id = ${first.contentId} AND ${alias}.part = ${first.part}`
        : `${alias}.content_id BETWEEN ${first.contentId} AND ${last.contentId} AND ${range(alias)}`
    const large = chosen.length === 1 && members > WINDOW_MEMBERS
    const window = large ? undefined : yield* fetchWindow(client, renderer, bounds("m"))
    for (const part of chosen) yield* visitPart(client, renderer, part, window, visitor)
    from = to
  }
})

const visitPart = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  renderer: Renderer,
  part: StoredPart,
  window: Window | undefined,
  visitor: PartVisitor
) {
  visitor.start(part)
  const where = `content_id = ${part.contentId} AND part = ${part.part}`
  const pieces = yield* queryRows(client, `SELECT encode(text) FROM mallard.part_texts WHERE ${where} ORDER BY piece`)
  let collection = 0
  let label: Array<Buffer> | undefined
  for (const [piece] of pieces) {
    const bytes = blobBytes(piece)
    let p = 0
    for (;;) {
      const mark = bytes.indexOf(LABEL, p)
      const end = mark < 0 ? bytes.length : mark
      if (label === undefined) visitor.text(bytes, p, end)
      else label.push(bytes.subarray(p, end))
      if (mark < 0) break
      p = mark + 1
      if (label === undefined) {
        label = []
        continue
      }
      const name = Buffer.concat(label).toString("utf8")
      label = undefined
      yield* visitCollection(client, renderer, part, collection++, name === "list", window, visitor)
    }
  }
  visitor.end()
})

const OPEN = Buffer.from("[")
const CLOSE = Buffer.from("]")
const COMMA = Buffer.from(",")

const visitCollection = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  renderer: Renderer,
  part: StoredPart,
  collection: number,
  list: boolean,
  window: Window | undefined,
  visitor: PartVisitor
) {
  const where = `content_id = ${part.contentId} AND part = ${part.part} AND collection = ${collection}`
  const highest = yield* window === undefined
    ? queryRows(client, `SELECT max(ordinal) FROM mallard.cohort_members WHERE ${where}`)
    : Effect.succeed([[undefined]])
  const most = Number(highest[0]?.[0] ?? -1)
  let expected = 0
  const visit = (elements: ReadonlyArray<Element>): void => {
    for (const element of elements) {
      if (element.ordinal !== expected) visitor.gap(collection)
      if (expected > 0) visitor.text(COMMA, 0, 1)
      visitor.element(element)
      visitor.text(element.bytes, element.start, element.end)
      expected++
    }
  }
  if (list) visitor.text(OPEN, 0, 1)
  if (window !== undefined) visit(window.get(key(part.contentId, part.part, collection)) ?? [])
  else {
    for (let from = 0; from <= most; from += WINDOW_MEMBERS) {
      const slice = yield* fetchWindow(
        client,
        renderer,
        `m.content_id = ${part.contentId} AND m.part = ${part.part} AND m.collection = ${collection} AND m.ordinal BETWEEN ${from} AND ${from + WINDOW_MEMBERS - 1}`
      )
      visit(slice.get(key(part.contentId, part.part, collection)) ?? [])
    }
  }
  if (list) visitor.text(CLOSE, 0, 1)
  else if (expected !== 1) visitor.gap(collection)
})

/** The compact text of one part as a whole: for documents that fit in memory. */
export const partText: (
  client: DuckDbSqlClient,
  renderer: Renderer,
  contentId: number,
  part: number
) => Effect.Effect<Buffer, SqlError.SqlError> = Effect.fnUntraced(function* (client, renderer, contentId, part) {
  const chunks: Array<Buffer> = []
  yield* visitParts(client, renderer, `p.content_id = ${contentId} AND p.part = ${part}`, {
    start: () => {},
    text: (bytes, start, end) => {
      if (end > start) chunks.push(bytes.subarray(start, end))
    },
    element: () => {},
    gap: () => {},
    end: () => {}
  })
  return Buffer.concat(chunks)
})
