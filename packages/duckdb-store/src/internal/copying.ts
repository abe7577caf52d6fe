/** Copies a part of a database into a new one, with ids dense from 1 again, and verifies the copy. */

import { JSON_KIND, kinds } from "@mallard/schema"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Clock, Effect, Option, Schema } from "effect"
import { randomUUID } from "node:crypto"
import { checkpoint, commitInto } from "../Checkpoint.ts"
import { InvalidRequest } from "../CohortErrors.ts"
import { digestText, insertSql, type LedgerValue, record, rowDigest } from "../Ledger.ts"
import { readSavepoint } from "../Runs.ts"
import { StoreError } from "../StoreError.ts"
import {
  type DigestedTableName,
  digestedTableNames,
  idColumns,
  storedKinds,
  type TableColumn,
  tableColumns,
  tableNames
} from "../Tables.ts"
import { verifyDatabase } from "../Verify.ts"
import { views } from "../Views.ts"
import { query } from "./query.ts"
import { quoteName, quoteText } from "../Quoting.ts"

/** What to keep. */
export interface Kept {
  /** Condition on the columns of `revisions`. */
  readonly revisions: string
  /** Condition on `t`, a row with a digest. All rows that belong to what is kept, if not given. */
  readonly rows?: string | undefined
  /** Whether parts of the tables of entities cannot be read. */
  readonly isDamaged?: boolean | undefined
  /** Whether what runs recorded of cohorts that are not kept shows their ids in the place of their names. */
  readonly forgetsNames?: boolean | undefined
  /** Whether tables and views of the owner are left behind; without it they are a reason to refuse. */
  readonly leavesOwnTables?: boolean | undefined
}

/** Counts tables and views of the attached database that are not in the two lists. */
export const ownTablesSql = `SELECT (SELECT count(*) FROM duckdb_tables() WHERE database_name = 'former' AND schema_name || '.' || table_name NOT IN (SELECT unnest(CAST(CAST(? AS JSON) AS VARCHAR[]))))
  + (SELECT count(*) FROM duckdb_views() WHERE database_name = 'former' AND NOT internal AND schema_name || '.' || view_name NOT IN (SELECT unnest(CAST(CAST(? AS JSON) AS VARCHAR[])))) AS count`

/** The contents of the revisions that a condition selects. */
export const keptContents = (schema: string, condition: string): string =>
  `SELECT content_id FROM ${schema}.revisions WHERE ${condition}`

/** Members of remaining contents, and all that lies inside them. */
export const keptEntities = (schema: string, condition: string): string => `RECURSIVE kept AS (
  SELECT kind, entity_id FROM ${schema}.cohort_members WHERE content_id IN (${keptContents(schema, condition)})
  UNION
  SELECT l.child_kind, l.child_entity_id FROM kept k JOIN ${schema}.links l ON l.parent_kind = k.kind AND l.parent_entity_id = k.entity_id
)`

/** Opens the database to copy from beside the one that `sql` has open: to read it only, or so that nobody else can open it. */
export const attachFormer = Effect.fnUntraced(function* (sql: DuckDbSqlClient, path: string, hold: "shared" | "alone") {
  yield* query(sql, `ATTACH ${quoteText(path)} AS former${hold === "shared" ? " (READ_ONLY)" : ""}`)
})

/** Lets go of the database that was copied from. */
export const detachFormer = (sql: DuckDbSqlClient) => Effect.asVoid(query(sql, "DETACH former"))

/**
 * Copies what stays from the attached database, that at `path`, into the new one that `sql` has open, with ids dense from 1
 * again.
 */
export const copyKept = Effect.fnUntraced(function* (sql: DuckDbSqlClient, path: string, kept: Kept) {
  const [foreign] = yield* query<{ readonly count: bigint }>(sql, ownTablesSql, [
    JSON.stringify(tableNames.map((name) => `mallard.${name}`)),
    JSON.stringify(views.map(({ name, schema }) => `${schema}.${name}`))
  ])
  if (Number(foreign?.count ?? 0) > 0 && kept.leavesOwnTables !== true)
    return yield* new InvalidRequest({ reason: "own-tables" })
  const now = BigInt(yield* Clock.currentTimeMillis) * 1000n
  // However much it is: the new file is checkpointed at once.
  yield* commitInto(sql, "file")
  yield* sql.withTransaction(
    Effect.gen(function* () {
      for (const statement of mappingSql(kept.revisions)) yield* query(sql, statement)
      for (const kind of storedKinds) {
        for (const range of yield* idRanges(sql, kind.code, kept.isDamaged === true)) {
          yield* query(sql, entitiesSql(kind.table, kind.code, range))
        }
      }
      for (const statement of copiesSql) yield* query(sql, statement)
      yield* rewriteRuns(sql, kept.forgetsNames === true)
      for (const table of same) {
        const from = table === "migration_runs" ? rewrittenRunsSql : `SELECT t.* FROM former.mallard.${table} t`
        // Runs are in the order of their rows: which commits they made is not copied.
        yield* query(sql, `INSERT INTO mallard.${table} ${from} WHERE ${rowsOf(kept)} ORDER BY t.rowid`)
      }
      for (const table of renumbered) yield* copyDigested(sql, table, rowsOf(kept))
      const counts: Array<{ readonly table: string; readonly count: number }> = []
      for (const table of tableNames) {
        if (["commits", "kinds", "schema_migrations"].includes(table)) continue
        const [row] = yield* query<{ readonly count: bigint }>(
          sql,
          `SELECT count(*) AS count FROM mallard.${quoteName(table)}`
        )
        if (Number(row?.count ?? 0) > 0) counts.push({ table, count: Number(row?.count) })
      }
      const attempt = randomUUID()
      yield* record(
        "commits",
        [...counts, { table: "commits", count: counts.length + 1 }].map(({ count, table }) => ({
          commit_id: 1,
          attempt,
          run_id: null,
          committed_at: now,
          table_name: table,
          first_id: table === "commits" || idColumns.has(table) ? 1 : 0,
          row_count: count
        }))
      )
    }).pipe(Effect.provideService(DuckDbClient, sql))
  )
  yield* checkpoint(sql)
  const { findingCount } = yield* verifyDatabase(sql)
  if (findingCount > 0) return yield* new StoreError({ reason: "damaged", path })
})

/** The condition on rows with a digest. */
const rowsOf = (kept: Kept): string => kept.rows ?? "true"

/**
 * Ranges of ids that cover the kept entities of a kind: one, or, where parts of the table cannot be read, those between
 * what is left out, so that nothing else has to be read.
 */
const idRanges = Effect.fnUntraced(function* (sql: DuckDbSqlClient, code: number, isDamaged: boolean) {
  const kept = `SELECT old_id, old_id - new_id AS island FROM kept_entities WHERE kind = ${code}`
  const rows = yield* query<{ readonly first: bigint | null; readonly last: bigint | null }>(
    sql,
    `SELECT min(old_id) AS first, max(old_id) AS last FROM (${kept})${isDamaged ? " GROUP BY island ORDER BY first" : ""}`
  )
  return rows.flatMap(({ first, last }): ReadonlyArray<IdRange> =>
    first === null || last === null ? [] : [{ first: Number(first), last: Number(last) }]
  )
})

interface IdRange {
  readonly first: number
  readonly last: number
}

const mappingSql = (condition: string): ReadonlyArray<string> => [
  `CREATE TEMP TABLE kept_revisions AS SELECT revision_id AS old_id, row_number() OVER (ORDER BY revision_id) AS new_id,
  CAST(row_number() OVER of_cohort AS INTEGER) AS seq, lag(revision_id) OVER of_cohort AS predecessor
FROM former.mallard.revisions WHERE ${condition} WINDOW of_cohort AS (PARTITION BY cohort_id ORDER BY seq, revision_id)`,
  `CREATE TEMP TABLE kept_contents AS SELECT r.content_id AS old_id, min(k.new_id) AS new_id
FROM former.mallard.revisions r JOIN kept_revisions k ON k.old_id = r.revision_id GROUP BY r.content_id`,
  `CREATE TEMP TABLE kept_entities AS WITH ${keptEntities("former.mallard", condition)}
SELECT kind, entity_id AS old_id, row_number() OVER (PARTITION BY kind ORDER BY entity_id) AS new_id FROM kept`,
  `CREATE TEMP TABLE kept_shapes AS SELECT shape_id AS old_id, CAST(row_number() OVER (ORDER BY shape_id) AS INTEGER) AS new_id FROM (
  ${kinds
    .map(
      ({ code, table }) =>
        `SELECT DISTINCT e.shape_id FROM former.mallard.${quoteName(table)} e JOIN kept_entities k ON k.kind = ${code} AND k.old_id = e.entity_id WHERE e.shape_id > 0`
    )
    .join("\n  UNION ALL ")}
)`
]

const entitiesSql = (table: string, code: number, { first, last }: IdRange): string => {
  const columns = tableColumns(table).map(({ name }) => {
    if (name === "entity_id") return "k.new_id"
    return name === "shape_id" && code !== JSON_KIND.code ? "coalesce(s.new_id, 0)" : `e.${quoteName(name)}`
  })
  const shapes = code === JSON_KIND.code ? "" : " LEFT JOIN kept_shapes s ON s.old_id = e.shape_id"
  return `INSERT INTO mallard.${quoteName(table)} SELECT ${columns.join(", ")}
FROM former.mallard.${quoteName(table)} e JOIN kept_entities k ON k.kind = ${code} AND k.old_id = e.entity_id${shapes}
WHERE e.entity_id BETWEEN ${first} AND ${last} ORDER BY k.new_id`
}

/** Tables whose rows carry a digest of ids that change. */
const renumbered = [
  "entity_shapes",
  "revisions",
  "parts",
  "collections",
  "migration_items"
] as const satisfies ReadonlyArray<DigestedTableName>

const notCopied: ReadonlySet<string> = new Set(["commits", "schema_migrations", ...renumbered])

/** Digested tables that are copied as they are. */
const same = digestedTableNames.filter((table) => !notCopied.has(table))

const copiesSql: ReadonlyArray<string> = [
  `INSERT INTO mallard.links SELECT l.parent_kind, p.new_id, l.collection, l.ordinal, l.pointer, l.child_kind, c.new_id
FROM former.mallard.links l
JOIN kept_entities p ON p.kind = l.parent_kind AND p.old_id = l.parent_entity_id
JOIN kept_entities c ON c.kind = l.child_kind AND c.old_id = l.child_entity_id
ORDER BY l.parent_kind, p.new_id, l.collection, l.ordinal`,
  `INSERT INTO mallard.part_texts SELECT k.new_id, t.part, t.piece, t.text
FROM former.mallard.part_texts t JOIN kept_contents k ON k.old_id = t.content_id ORDER BY k.new_id, t.part, t.piece`,
  `INSERT INTO mallard.cohort_members SELECT c.new_id, m.part, m.collection, m.ordinal, m.kind, e.new_id
FROM former.mallard.cohort_members m
JOIN kept_contents c ON c.old_id = m.content_id
JOIN kept_entities e ON e.kind = m.kind AND e.old_id = m.entity_id
ORDER BY c.new_id, m.part, m.collection, m.ordinal`
]

/** From where the rows of a table with new ids come, and which columns change. */
const sources: Readonly<
  Record<
    (typeof renumbered)[number],
    { readonly from: string; readonly order: string; readonly changed: Readonly<Record<string, string>> }
  >
> = {
  entity_shapes: {
    from: "former.mallard.entity_shapes t JOIN kept_shapes k ON k.old_id = t.shape_id",
    order: "k.new_id",
    changed: { shape_id: "k.new_id" }
  },
  revisions: {
    from: `former.mallard.revisions t JOIN kept_revisions k ON k.old_id = t.revision_id
LEFT JOIN kept_revisions p ON p.old_id = k.predecessor JOIN kept_contents c ON c.old_id = t.content_id`,
    order: "k.new_id",
    changed: { revision_id: "k.new_id", seq: "k.seq", predecessor: "p.new_id", content_id: "c.new_id" }
  },
  parts: {
    from: "former.mallard.parts t JOIN kept_contents c ON c.old_id = t.content_id",
    order: "c.new_id, t.part",
    changed: { content_id: "c.new_id" }
  },
  collections: {
    from: "former.mallard.collections t JOIN kept_contents c ON c.old_id = t.content_id",
    order: "c.new_id, t.part, t.collection",
    changed: { content_id: "c.new_id" }
  },
  migration_items: {
    from: `(SELECT *, rowid AS position FROM former.mallard.migration_items WHERE revision_id IS NULL OR revision_id IN (SELECT old_id FROM kept_revisions)) t
LEFT JOIN kept_revisions k ON k.old_id = t.revision_id`,
    // An item may have several rows, and pages of rows need one order.
    order: "t.run_id, t.item, t.position",
    changed: { revision_id: "k.new_id" }
  }
}

const rowsAtOnce = 10_000

const copyDigested = Effect.fnUntraced(function* (
  sql: DuckDbSqlClient,
  table: (typeof renumbered)[number],
  condition: string
) {
  const columns = tableColumns(table).filter(({ name }) => name !== "row_digest")
  const { changed, from, order } = sources[table]
  const cells = columns.map((column) => cellSql(column, changed[column.name]))
  for (let offset = 0; ; offset += rowsAtOnce) {
    const rows = yield* query<Readonly<Record<string, LedgerValue | Uint8Array>>>(
      sql,
      `SELECT ${cells.join(", ")} FROM ${from} WHERE ${condition} ORDER BY ${order} LIMIT ${rowsAtOnce} OFFSET ${offset}`
    )
    for (let first = 0; first < rows.length; first += rowsPerInsert) {
      const chunk = rows.slice(first, first + rowsPerInsert)
      yield* query(
        sql,
        insertSql(table, chunk.length),
        chunk.flatMap((row) => {
          const texts = columns.map(({ name, type }) => digestText(type, plainValue(row[name] ?? null)))
          return [...texts, rowDigest(texts)]
        })
      )
    }
    if (rows.length < rowsAtOnce) return
  }
})

const rowsPerInsert = 64

const rewrittenRunsSql = `SELECT t.* REPLACE (coalesce(w.options, t.options) AS options, coalesce(w.row_digest, t.row_digest) AS row_digest)
FROM former.mallard.migration_runs t LEFT JOIN rewritten_runs w ON w.old_digest = t.row_digest`

/** What an undoing run recorded of cohorts. */
const StoredUndoing = Schema.fromJsonString(
  Schema.StructWithRest(
    Schema.Struct({
      undone: Schema.Array(
        Schema.StructWithRest(Schema.Struct({ cohort_id: Schema.String, cohort: Schema.String }), [
          Schema.Record(Schema.String, Schema.Json)
        ])
      )
    }),
    [Schema.Record(Schema.String, Schema.Json)]
  )
)
const readUndoing = Schema.decodeUnknownOption(StoredUndoing)

/**
 * Puts aside how the rows of runs are to read that tell the number of a revision, which is another one now, or, if names are
 * forgotten, that name cohorts which are not kept.
 */
const rewriteRuns = Effect.fnUntraced(function* (sql: DuckDbSqlClient, forgetsNames: boolean) {
  yield* query(sql, "CREATE TEMP TABLE rewritten_runs (old_digest VARCHAR, options VARCHAR, row_digest VARCHAR)")
  const cohorts = yield* query<{ readonly id: string }>(
    sql,
    "SELECT DISTINCT CAST(cohort_id AS VARCHAR) AS id FROM former.mallard.revisions WHERE revision_id IN (SELECT old_id FROM kept_revisions)"
  )
  const kept = new Set(cohorts.map(({ id }) => id))
  const found = yield* query<{ readonly old_digest: string }>(
    sql,
    `SELECT DISTINCT row_digest AS old_digest FROM former.mallard.migration_runs
WHERE contains(options, '"savepoint":')${forgetsNames ? ` OR contains(options, '"undone":[')` : ""}`
  )
  const columns = tableColumns("migration_runs").filter(({ name }) => name !== "row_digest")
  const cells = columns.map((column) => cellSql(column))
  const rewritten = Effect.fnUntraced(function* (text: string | null | undefined) {
    const savepoint = Option.getOrUndefined(readSavepoint(text))
    if (savepoint !== undefined) {
      // The last revision before it may be gone: then it is the last one of those that are kept.
      const [last] = yield* query<{ readonly id: bigint }>(
        sql,
        "SELECT coalesce(max(new_id), 0) AS id FROM kept_revisions WHERE old_id <= CAST(? AS BIGINT)",
        [String(savepoint.revision)]
      )
      const revision = Number(last?.id ?? 0n)
      const [lost] = yield* query<{ readonly count: bigint }>(sql, lostToSavepointSql, [String(savepoint.revision)])
      const count = Number(lost?.count ?? 0n)
      const removed = count === 0 ? {} : { removed: (savepoint.removed ?? 0) + count }
      return count === 0 && revision === savepoint.revision
        ? undefined
        : JSON.stringify({ ...savepoint, revision, ...removed })
    }
    const undoing = forgetsNames ? Option.getOrUndefined(readUndoing(text)) : undefined
    if (undoing === undefined) return undefined
    const undone = undoing.undone.map((one) => (kept.has(one.cohort_id) ? one : { ...one, cohort: one.cohort_id }))
    return JSON.stringify({ ...undoing, undone })
  })
  // One at a time: what a run recorded may be large.
  for (const { old_digest } of found) {
    const [row] = yield* query<Readonly<Record<string, LedgerValue | Uint8Array>>>(
      sql,
      `SELECT ${cells.join(", ")} FROM former.mallard.migration_runs t WHERE t.row_digest = ?`,
      [old_digest]
    )
    if (row === undefined) continue
    const texts = columns.map(({ name, type }) => digestText(type, plainValue(row[name] ?? null)))
    const at = columns.findIndex(({ name }) => name === "options")
    const options = yield* rewritten(texts[at])
    // A row that changed since it was written stays as it is, for the copy to be refused.
    if (options === undefined || rowDigest(texts) !== old_digest) continue
    yield* query(sql, "INSERT INTO rewritten_runs VALUES (?, ?, ?)", [
      old_digest,
      options,
      rowDigest(texts.with(at, options))
    ])
  }
})

/** How many cohorts there were when a revision was the last one, that the copy cannot give back as they were then. */
const lostToSavepointSql = `SELECT count(*) AS count FROM (
  SELECT * FROM former.mallard.recorded_revisions WHERE revision_id <= CAST(? AS BIGINT)
  QUALIFY row_number() OVER (PARTITION BY cohort_id ORDER BY seq DESC) = 1
) WHERE change <> 'deleted' AND revision_id NOT IN (SELECT old_id FROM kept_revisions)`

/** Texts travel as bytes: nothing depends on how the client decodes them. */
const cellSql = ({ name, type }: TableColumn, value = `t.${quoteName(name)}`): string =>
  `${type === "VARCHAR" ? `encode(${value})` : value} AS ${quoteName(name)}`

const plainValue = (value: LedgerValue | Uint8Array): LedgerValue =>
  value instanceof Uint8Array ? Buffer.from(value).toString("utf8") : value
