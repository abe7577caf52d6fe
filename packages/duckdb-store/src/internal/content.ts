/** What revisions are made of: heads with exact texts, stored parts, and members with their texts. */

import { memberPointer, MemberRows } from "@mallard/entity-serializers"
import { JSON_KIND, kindByCode } from "@mallard/schema"
import { LIST, VARCHAR } from "@duckdb/node-api"
import { type DuckDbSqlClient, typed } from "@mallard/sql-duckdb"
import { Effect, Schema } from "effect"
import { hash } from "node:crypto"
import { type NewPart } from "../BatchWriter.ts"
import { type NewRevision } from "../Revision.ts"
import { quoteName } from "../Quoting.ts"
import { makeRenderer } from "../Rendering.ts"
import { type StoredCollection } from "../Recognise.ts"

/** The latest revision of a cohort, or any other, with all that a next one takes over. */
export interface RevisionState extends Omit<NewRevision, "change" | "contentId" | "predecessor"> {
  readonly revisionId: number
  readonly change: string
  readonly contentId: number
}

/** The columns that `stateOf` takes. Texts travel as bytes: nothing depends on how the client decodes them. */
export const STATE = `revision_id, cohort_id::VARCHAR, seq, change, encode(name), encode(description), encode(tags),
  encode(product), encode(legacy_id), epoch_us(created_at), epoch_us(updated_at), epoch_us(saved_at), digest, content_id`

/** The latest revision of each cohort, deleted ones included. */
export const LATEST =
  "(SELECT * FROM mallard.recorded_revisions QUALIFY row_number() OVER (PARTITION BY cohort_id ORDER BY seq DESC) = 1)"

/** The statements of this module. */
export const contentStatements = {
  named: `SELECT ${STATE} FROM ${LATEST} WHERE name = ? ORDER BY change = 'deleted', revision_id DESC LIMIT 1`,
  found: `SELECT ${STATE} FROM ${LATEST} WHERE name = ? OR cohort_id = TRY_CAST(? AS UUID)
ORDER BY change = 'deleted', name = ? DESC, revision_id DESC LIMIT 1`,
  names: "SELECT name FROM mallard.heads",
  counts: "SELECT content_id, kind, sum(entities) FROM mallard.content_counts",
  stamp: "SELECT (SELECT max(commit_id) FROM mallard.commits), (SELECT max(revision_id) FROM mallard.revisions)",
  countAfter: "SELECT count(*) FROM mallard.revisions WHERE revision_id > CAST(? AS BIGINT)",
  revisionsAfter: `SELECT ${STATE} FROM mallard.recorded_revisions WHERE revision_id > CAST(? AS BIGINT)
ORDER BY revision_id`,
  revisions: `SELECT ${STATE} FROM mallard.recorded_revisions WHERE cohort_id = CAST(? AS UUID) ORDER BY seq`,
  contentParts: `SELECT part, encode(path), format, bytes, source_sha256, digest, encoding
FROM mallard.parts WHERE content_id = CAST(? AS BIGINT) ORDER BY part`,
  pieces: `SELECT part, encode(text) FROM mallard.part_texts WHERE content_id = CAST(? AS BIGINT) ORDER BY part, piece`,
  collections: `SELECT c.part, c.collection, encode(c.pointer), c.list, coalesce(m.kind, 0)
FROM mallard.collections c LEFT JOIN (
  SELECT part, collection, max(kind) AS kind FROM mallard.cohort_members WHERE content_id = CAST(? AS BIGINT)
  GROUP BY part, collection
) m ON m.part = c.part AND m.collection = c.collection
WHERE c.content_id = CAST(? AS BIGINT) ORDER BY c.part, c.collection`,
  members: `SELECT part, collection, ordinal, kind, entity_id FROM mallard.cohort_members
WHERE content_id = CAST(? AS BIGINT) ORDER BY part, collection, ordinal`,
  memberKinds: "SELECT DISTINCT kind FROM mallard.cohort_members WHERE content_id = CAST(? AS BIGINT) ORDER BY kind",
  memberPage: `SELECT m.part, m.collection, m.ordinal, m.kind, m.entity_id, encode(c.pointer), c.list, encode(p.path)
FROM mallard.cohort_members m
JOIN mallard.collections c ON c.content_id = m.content_id AND c.part = m.part AND c.collection = m.collection
JOIN mallard.parts p ON p.content_id = m.content_id AND p.part = m.part
WHERE m.content_id = CAST(? AS BIGINT) AND (CAST(? AS UTINYINT) IS NULL OR m.kind = CAST(? AS UTINYINT))
  AND (m.part, m.collection, m.ordinal) > (CAST(? AS INTEGER), CAST(? AS INTEGER), CAST(? AS BIGINT))
ORDER BY m.part, m.collection, m.ordinal LIMIT CAST(? AS BIGINT)`
} as const

/** Rows as arrays of values of the client. */
const rows = (sql: DuckDbSqlClient, statement: string, parameters: ReadonlyArray<string | null>) =>
  sql.unsafe(statement, parameters).valuesUnprepared

const text = (value: unknown): string | undefined =>
  value instanceof Uint8Array ? Buffer.from(value).toString("utf8") : undefined

const micros = (value: unknown): bigint | undefined => (typeof value === "bigint" ? value : undefined)

const readTags = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Array(Schema.String)))

/** A row of the columns that every statement about revisions gives. */
export const stateOf = (row: ReadonlyArray<unknown>): RevisionState => ({
  revisionId: Number(row[0]),
  cohortId: String(row[1]),
  seq: Number(row[2]),
  change: String(row[3]),
  name: text(row[4]) ?? "",
  description: text(row[5]),
  tags: readTags(text(row[6]) ?? "[]"),
  product: text(row[7]),
  legacyId: text(row[8]),
  createdAt: micros(row[9]),
  updatedAt: micros(row[10]),
  savedAt: micros(row[11]) ?? 0n,
  digest: String(row[12]),
  contentId: Number(row[13])
})

/** Which heads to give; conditions are combined by "and". */
export interface HeadFilter {
  readonly tag?: string | undefined
  readonly search?: string | undefined
  readonly product?: string | undefined
  /** Only revisions with lower ids. */
  readonly before?: number | undefined
  readonly limit?: number | undefined
}

/** The statement for a filter: it holds only the conditions that are wanted, for each makes it slower. */
const liveHeadsSql = (filter: HeadFilter): string =>
  [
    `SELECT ${STATE} FROM ${LATEST} WHERE change <> 'deleted'`,
    ...(filter.tag === undefined
      ? []
      : [`list_contains(from_json(TRY_CAST(tags AS JSON), '["VARCHAR"]'), CAST(? AS VARCHAR))`]),
    ...(filter.search === undefined
      ? []
      : [
          `(contains(lower(name), lower(CAST(? AS VARCHAR))) OR contains(lower(coalesce(description, '')), lower(CAST(? AS VARCHAR))))`
        ]),
    ...(filter.product === undefined ? [] : ["product = CAST(? AS VARCHAR)"]),
    ...(filter.before === undefined ? [] : ["revision_id < CAST(? AS BIGINT)"])
  ].join("\n  AND ") + `\nORDER BY revision_id DESC${filter.limit === undefined ? "" : " LIMIT CAST(? AS BIGINT)"}`

/** Heads that are not deleted, the latest saved first. */
export const liveHeads = (sql: DuckDbSqlClient, filter: HeadFilter) => {
  const { before, limit, product, search, tag } = filter
  const parameters = [tag, search, search, product, before?.toString(), limit?.toString()]
  return Effect.map(
    rows(
      sql,
      liveHeadsSql(filter),
      parameters.filter((value) => value !== undefined)
    ),
    (found) => found.map(stateOf)
  )
}

/** Contents whose counts are asked for one by one rather than all at once. */
const MOST_SINGLE = 1000

/** How many entities of each kind contents hold, those inside others included. */
export const countsOfContents = Effect.fnUntraced(function* (sql: DuckDbSqlClient, contentIds: ReadonlyArray<number>) {
  const counts = new Map<number, Record<string, number>>()
  if (contentIds.length === 0) return counts
  const where = contentIds.length > MOST_SINGLE ? "" : ` WHERE content_id IN (${contentIds.join(", ")})`
  for (const [content, code, count] of yield* rows(sql, `${contentStatements.counts}${where}${COUNTS_END}`, [])) {
    const kind = kindByCode(Number(code))?.kind ?? JSON_KIND.kind
    const of = counts.get(Number(content)) ?? {}
    counts.set(Number(content), of)
    of[kind] = Number(count)
  }
  return counts
})

const COUNTS_END = " GROUP BY content_id, kind ORDER BY content_id, kind"

/** All revisions of a cohort, oldest first. */
export const revisionsOf = (sql: DuckDbSqlClient, cohortId: string) =>
  Effect.map(rows(sql, contentStatements.revisions, [cohortId]), (found) => found.map(stateOf))

/** The places of a content where entities stand, by part. */
const collectionsOf = Effect.fnUntraced(function* (sql: DuckDbSqlClient, contentId: number) {
  const byPart = new Map<number, Array<StoredCollection>>()
  const id = String(contentId)
  for (const [part, , pointer, list, kind] of yield* rows(sql, contentStatements.collections, [id, id])) {
    const of = byPart.get(Number(part)) ?? []
    byPart.set(Number(part), of)
    of.push({ pointer: text(pointer) ?? "", list: list === true, kind: Number(kind) })
  }
  return byPart
})

/** A part that is stored: a writer can take it as it is. */
export interface StoredPart extends NewPart {
  readonly collections: ReadonlyArray<StoredCollection>
}

/** The parts of a stored content, in order: none of their entities is read. */
export const storedParts = Effect.fnUntraced(function* (sql: DuckDbSqlClient, contentId: number) {
  const id = String(contentId)
  const pieces = new Map<number, Array<string>>()
  for (const [part, piece] of yield* rows(sql, contentStatements.pieces, [id])) {
    const of = pieces.get(Number(part)) ?? []
    pieces.set(Number(part), of)
    of.push(text(piece) ?? "")
  }
  const collections = yield* collectionsOf(sql, contentId)
  const members = new Map<number, MemberRows>()
  for (const [part, collection, ordinal, kind, entityId] of yield* rows(sql, contentStatements.members, [id])) {
    const of = members.get(Number(part)) ?? new MemberRows()
    members.set(Number(part), of)
    of.push(Number(collection), Number(ordinal), Number(kind), Number(entityId))
  }
  return (yield* partHeads(sql, contentId)).map(({ part, ...head }): StoredPart => ({
    ...head,
    pieces: pieces.get(part) ?? [],
    collections: collections.get(part) ?? [],
    members: members.get(part) ?? new MemberRows()
  }))
})

/** The parts of a content without what they hold, in order. */
const partHeads = (sql: DuckDbSqlClient, contentId: number) =>
  Effect.map(rows(sql, contentStatements.contentParts, [String(contentId)]), (found) =>
    found.map(([part, path, format, bytes, sha256, digest, encoding]) => ({
      part: Number(part),
      path: text(path) ?? "",
      format: String(format),
      bytes: Number(bytes),
      sourceSha256: String(sha256),
      digest: String(digest),
      encoding: String(encoding)
    }))
  )

/** A member of a content, with its compact text. */
export interface StoredMember {
  readonly part: number
  readonly collection: number
  readonly ordinal: number
  readonly path: string
  /** JSON pointer in the file `path`. */
  readonly pointer: string
  /** The key below which it is given back: see `typeKeyOf`. */
  readonly type: string
  /** `json` for what is no entity of a known kind. */
  readonly kind: string
  readonly entityId: number
  readonly text: string
}

/** Where a page of members ends. */
export interface MemberPlace {
  readonly part: number
  readonly collection: number
  readonly ordinal: number
}

const START: MemberPlace = { part: 0, collection: 0, ordinal: -1 }
const ALL = 2 ** 53

/** Members of a content in the order of its documents, of one kind if given, after a place, at most so many. */
export const membersOfContent = Effect.fnUntraced(function* (
  sql: DuckDbSqlClient,
  contentId: number,
  options: {
    readonly kind?: number | undefined
    readonly after?: MemberPlace | undefined
    readonly limit?: number | undefined
  } = {}
) {
  const after = options.after ?? START
  const kind = options.kind === undefined ? null : String(options.kind)
  const found = yield* rows(sql, contentStatements.memberPage, [
    String(contentId),
    kind,
    kind,
    String(after.part),
    String(after.collection),
    String(after.ordinal),
    String(options.limit ?? ALL)
  ])
  const wanted = new Map<number, Set<number>>()
  for (const [, , , code, id] of found) {
    const ids = wanted.get(Number(code)) ?? new Set()
    wanted.set(Number(code), ids.add(Number(id)))
  }
  const texts = new Map<number, ReadonlyMap<number, string>>()
  if (wanted.size > 0) {
    const renderer = yield* makeRenderer(sql)
    for (const [code, ids] of wanted) texts.set(code, yield* renderer.texts(code, [...ids]))
  }
  return found.map(([part, collection, ordinal, code, id, place, list, path]): StoredMember => {
    const pointer = text(place) ?? ""
    return {
      part: Number(part),
      collection: Number(collection),
      ordinal: Number(ordinal),
      path: text(path) ?? "",
      pointer: memberPointer({ pointer, list: list === true }, Number(ordinal)),
      type: typeKeyOf(pointer, Number(code)),
      kind: kindByCode(Number(code))?.kind ?? JSON_KIND.kind,
      entityId: Number(id),
      text: texts.get(Number(code))?.get(Number(id)) ?? "null"
    }
  })
})

/** Which of some compact texts members of a content have, by the key below which they are given: found by their digests. */
export const membersAmong = Effect.fnUntraced(function* (
  sql: DuckDbSqlClient,
  contentId: number,
  texts: Iterable<string>
) {
  const byDigest = new Map(Array.from(texts, (one) => [hash("sha256", one).slice(0, DIGEST_DIGITS), one]))
  const found = new Map<string, Set<string>>()
  const id = String(contentId)
  const digests = typed([...byDigest.keys()], LIST(VARCHAR))
  for (const [code] of yield* rows(sql, contentStatements.memberKinds, [id])) {
    const table = (kindByCode(Number(code)) ?? JSON_KIND).table
    const statement = `SELECT DISTINCT encode(c.pointer), replace(e.digest::VARCHAR, '-', '')
FROM mallard.cohort_members m
JOIN mallard.collections c ON c.content_id = m.content_id AND c.part = m.part AND c.collection = m.collection
JOIN mallard.${quoteName(table)} e ON e.entity_id = m.entity_id
WHERE m.content_id = CAST(? AS BIGINT) AND m.kind = ${Number(code)}
  AND replace(e.digest::VARCHAR, '-', '') IN (SELECT unnest(?))`
    for (const [pointer, digest] of yield* sql.unsafe(statement, [id, digests]).valuesUnprepared) {
      const one = byDigest.get(String(digest))
      const type = typeKeyOf(text(pointer) ?? "", Number(code))
      if (one !== undefined) found.set(type, (found.get(type) ?? new Set()).add(one))
    }
  }
  return found
})

/** As many of the digest of a text as entities are named by. */
const DIGEST_DIGITS = 32

/** The key as written for what stands below `entities`, or is of no known kind; else the name of the kind's table. */
const typeKeyOf = (collection: string, code: number): string => {
  const tokens = collection.split("/").slice(1)
  const key = tokens.at(-1)?.replaceAll("~1", "/").replaceAll("~0", "~")
  const table = kindByCode(code)?.table
  if (table !== undefined && !(tokens.length === 2 && tokens[0] === "entities")) return table
  return key ?? table ?? JSON_KIND.table
}
