/**
 * The only real deletion: deleted cohorts with their history, and the entities that no other cohort has. What stays is
 * copied to a new file, which is verified and then takes the place of the old one, so that nothing of what was removed is
 * left in it. Until that moment the old file is untouched.
 */

import { JSON_KIND, kinds } from "@mallard/schema"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Clock, Effect } from "effect"
import { randomUUID } from "node:crypto"
import { resolve } from "node:path"
import { InvalidRequest } from "./CohortErrors.ts"
import { bytesOf, removeDatabase, replaceDatabase, stampOf, temporaryPath } from "./internal/files.ts"
import { query } from "./internal/query.ts"
import { digestText, insertSql, type LedgerValue, record, rowDigest } from "./Ledger.ts"
import { openStore, type StoreConfig } from "./Store.ts"
import { StoreError, toStoreError } from "./StoreError.ts"
import {
  type DigestedTableName,
  digestedTableNames,
  idColumns,
  quoteName,
  storedKinds,
  tableColumns,
  tableNames
} from "./Tables.ts"
import { verifyDatabase } from "./Verify.ts"
import { views } from "./Views.ts"

/** A deleted cohort that a purge removes. */
export interface PurgedCohort {
  readonly cohortId: string
  readonly name: string
  readonly revisions: number
  /** When it was deleted, in UTC. */
  readonly deletedAt: string
}

/** What a purge removes. */
export interface PurgePlan {
  readonly cohorts: ReadonlyArray<PurgedCohort>
  readonly revisions: number
  readonly documents: number
  /** Entities by kind that no remaining revision has. */
  readonly entities: Readonly<Record<string, number>>
}

/** What a purge has removed. */
export interface PurgeReport extends PurgePlan {
  readonly bytesBefore: number
  readonly bytesAfter: number
}

export interface PurgeOptions {
  /** Names or ids of deleted cohorts; without it all of them. */
  readonly cohorts?: ReadonlyArray<string> | undefined
}

/** What a purge would remove. Reads only. */
export const planPurge = Effect.fnUntraced(function* (sql: DuckDbSqlClient, wanted?: ReadonlyArray<string>) {
  const found = yield* query<{
    readonly cohort_id: string
    readonly name: string
    readonly revisions: number
    readonly saved_at: string
  }>(sql, purgeStatements.deleted)
  const cohorts = found
    .filter(({ cohort_id, name }) => wanted === undefined || wanted.includes(name) || wanted.includes(cohort_id))
    .map((row): PurgedCohort => ({
      cohortId: row.cohort_id,
      name: row.name,
      revisions: row.revisions,
      deletedAt: row.saved_at
    }))
  const revisions = cohorts.reduce((sum, cohort) => sum + cohort.revisions, 0)
  if (cohorts.length === 0) return { cohorts, revisions, documents: 0, entities: {} } satisfies PurgePlan
  const without = exclusion(cohorts)
  const [documents] = yield* query<{ readonly count: bigint }>(
    sql,
    `SELECT count(*) AS count FROM mallard.parts WHERE content_id NOT IN (${keptContents("mallard", without)})`
  )
  const counts = yield* query<{ readonly kind: number; readonly kept: bigint }>(
    sql,
    `WITH ${keptEntities("mallard", without)} SELECT kind, count(*) AS kept FROM kept GROUP BY kind`
  )
  const kept = new Map(counts.map((row) => [row.kind, Number(row.kept)]))
  const entities: Record<string, number> = {}
  for (const { code, kind, table } of storedKinds) {
    const [row] = yield* query<{ readonly count: bigint }>(
      sql,
      `SELECT count(*) AS count FROM mallard.${quoteName(table)}`
    )
    const gone = Number(row?.count ?? 0) - (kept.get(code) ?? 0)
    if (gone > 0) entities[kind] = gone
  }
  return { cohorts, revisions, documents: Number(documents?.count ?? 0), entities } satisfies PurgePlan
})

/**
 * Removes deleted cohorts for good. The database must not be open: neither in this process nor in another. A database
 * that does not verify, or that holds tables or views of its owner, is left as it is.
 */
export const purge = Effect.fn("purge")(function* (config: StoreConfig, options: PurgeOptions = {}) {
  const path = resolve(config.path)
  const attempt = <A>(act: () => A) => Effect.try({ try: act, catch: (cause) => toStoreError(path, cause) })
  // Opening it for writing brings it up to date and cleans up after a writer that was killed.
  const plan = yield* Effect.scoped(
    Effect.flatMap(openStore({ ...config, path }), (sql) => planPurge(sql, options.cohorts))
  ).pipe(Effect.catchTag("SqlError", (cause) => Effect.fail(toStoreError(path, cause))))
  const bytesBefore = yield* attempt(() => bytesOf(path))
  if (plan.cohorts.length === 0) return { ...plan, bytesBefore, bytesAfter: bytesBefore } satisfies PurgeReport
  const building = temporaryPath(`${path}.purged`)
  const rebuild = Effect.gen(function* () {
    yield* attempt(() => removeDatabase(building))
    const stamp = yield* attempt(() => stampOf(path))
    yield* Effect.scoped(
      Effect.gen(function* () {
        const sql = yield* openStore({ ...config, path: building })
        yield* copyKept(sql, path, exclusion(plan.cohorts)).pipe(
          Effect.catchTag("SqlError", (cause) => Effect.fail(toStoreError(path, cause)))
        )
      })
    )
    const bytesAfter = yield* attempt(() => bytesOf(building))
    if ((yield* attempt(() => stampOf(path))) !== stamp) return yield* new StoreError({ reason: "locked", path })
    yield* attempt(() => replaceDatabase(building, path))
    return { ...plan, bytesBefore, bytesAfter } satisfies PurgeReport
  })
  return yield* Effect.ensuring(rebuild, Effect.ignore(attempt(() => removeDatabase(building))))
})

/** The statements of this module that do not depend on the plan. */
export const purgeStatements = {
  deleted: `SELECT cohort_id, name, seq AS revisions, saved_at FROM (
  SELECT * FROM mallard.recorded_revisions QUALIFY row_number() OVER (PARTITION BY cohort_id ORDER BY seq DESC) = 1
) WHERE change = 'deleted' ORDER BY name, cohort_id`,
  foreign: `SELECT (SELECT count(*) FROM duckdb_tables() WHERE database_name = 'former' AND schema_name || '.' || table_name NOT IN (SELECT unnest(CAST(CAST(? AS JSON) AS VARCHAR[]))))
  + (SELECT count(*) FROM duckdb_views() WHERE database_name = 'former' AND NOT internal AND schema_name || '.' || view_name NOT IN (SELECT unnest(CAST(CAST(? AS JSON) AS VARCHAR[])))) AS count`
} as const

/** The ids of the cohorts to leave out, as a list for SQL. They are UUIDs. */
const exclusion = (cohorts: ReadonlyArray<PurgedCohort>): string =>
  cohorts.map(({ cohortId }) => `CAST('${cohortId}' AS UUID)`).join(", ")

const keptContents = (schema: string, without: string): string =>
  `SELECT content_id FROM ${schema}.revisions WHERE cohort_id NOT IN (${without})`

/** Members of remaining contents, and all that lies inside them. */
const keptEntities = (schema: string, without: string): string => `RECURSIVE kept AS (
  SELECT kind, entity_id FROM ${schema}.cohort_members WHERE content_id IN (${keptContents(schema, without)})
  UNION
  SELECT l.child_kind, l.child_entity_id FROM kept k JOIN ${schema}.links l ON l.parent_kind = k.kind AND l.parent_entity_id = k.entity_id
)`

/** Copies what stays from the database at `path` into the new one that `sql` has open, with ids dense from 1 again. */
const copyKept = Effect.fnUntraced(function* (sql: DuckDbSqlClient, path: string, without: string) {
  yield* query(sql, `ATTACH '${path.replaceAll("'", "''")}' AS former (READ_ONLY)`)
  const [foreign] = yield* query<{ readonly count: bigint }>(sql, purgeStatements.foreign, [
    JSON.stringify(tableNames.map((name) => `mallard.${name}`)),
    JSON.stringify(views.map(({ name, schema }) => `${schema}.${name}`))
  ])
  if (Number(foreign?.count ?? 0) > 0) return yield* new InvalidRequest({ reason: "own-tables" })
  const now = BigInt(yield* Clock.currentTimeMillis) * 1000n
  yield* sql.withTransaction(
    Effect.gen(function* () {
      for (const statement of mappingSql(without)) yield* query(sql, statement)
      for (const kind of storedKinds) yield* query(sql, entitiesSql(kind.table, kind.code))
      for (const statement of copiesSql) yield* query(sql, statement)
      for (const table of renumbered) yield* copyDigested(sql, table)
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
  yield* query(sql, "DETACH former")
  yield* sql.checkpoint
  const { findingCount } = yield* verifyDatabase(sql)
  if (findingCount > 0) return yield* new StoreError({ reason: "damaged", path })
})

const mappingSql = (without: string): ReadonlyArray<string> => [
  `CREATE TEMP TABLE kept_revisions AS SELECT revision_id AS old_id, row_number() OVER (ORDER BY revision_id) AS new_id
FROM former.mallard.revisions WHERE cohort_id NOT IN (${without})`,
  `CREATE TEMP TABLE kept_contents AS SELECT r.content_id AS old_id, min(k.new_id) AS new_id
FROM former.mallard.revisions r JOIN kept_revisions k ON k.old_id = r.revision_id GROUP BY r.content_id`,
  `CREATE TEMP TABLE kept_entities AS WITH ${keptEntities("former.mallard", without)}
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

const entitiesSql = (table: string, code: number): string => {
  const columns = tableColumns(table).map(({ name }) => {
    if (name === "entity_id") return "k.new_id"
    return name === "shape_id" && code !== JSON_KIND.code ? "coalesce(s.new_id, 0)" : `e.${quoteName(name)}`
  })
  const shapes = code === JSON_KIND.code ? "" : " LEFT JOIN kept_shapes s ON s.old_id = e.shape_id"
  return `INSERT INTO mallard.${quoteName(table)} SELECT ${columns.join(", ")}
FROM former.mallard.${quoteName(table)} e JOIN kept_entities k ON k.kind = ${code} AND k.old_id = e.entity_id${shapes} ORDER BY k.new_id`
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
ORDER BY c.new_id, m.part, m.collection, m.ordinal`,
  ...same.map((table) => `INSERT INTO mallard.${table} SELECT * FROM former.mallard.${table}`)
]

/** From where the rows of a table with new ids come, and which columns change. */
const sources: Readonly<
  Record<(typeof renumbered)[number], { readonly from: string; readonly changed: Readonly<Record<string, string>> }>
> = {
  entity_shapes: {
    from: "former.mallard.entity_shapes t JOIN kept_shapes k ON k.old_id = t.shape_id ORDER BY k.new_id",
    changed: { shape_id: "k.new_id" }
  },
  revisions: {
    from: `former.mallard.revisions t JOIN kept_revisions k ON k.old_id = t.revision_id
LEFT JOIN kept_revisions p ON p.old_id = t.predecessor JOIN kept_contents c ON c.old_id = t.content_id ORDER BY k.new_id`,
    changed: { revision_id: "k.new_id", predecessor: "p.new_id", content_id: "c.new_id" }
  },
  parts: {
    from: "former.mallard.parts t JOIN kept_contents c ON c.old_id = t.content_id ORDER BY c.new_id, t.part",
    changed: { content_id: "c.new_id" }
  },
  collections: {
    from: "former.mallard.collections t JOIN kept_contents c ON c.old_id = t.content_id ORDER BY c.new_id, t.part, t.collection",
    changed: { content_id: "c.new_id" }
  },
  migration_items: {
    from: `former.mallard.migration_items t LEFT JOIN kept_revisions k ON k.old_id = t.revision_id
WHERE t.revision_id IS NULL OR k.new_id IS NOT NULL ORDER BY t.run_id, t.item`,
    changed: { revision_id: "k.new_id" }
  }
}

const rowsAtOnce = 10_000

const copyDigested = Effect.fnUntraced(function* (sql: DuckDbSqlClient, table: (typeof renumbered)[number]) {
  const columns = tableColumns(table).filter(({ name }) => name !== "row_digest")
  const { changed, from } = sources[table]
  const cells = columns.map(({ name, type }) => {
    const value = changed[name] ?? `t.${quoteName(name)}`
    // Texts travel as bytes: the client drops a leading byte order mark.
    return `${type === "VARCHAR" ? `encode(${value})` : value} AS ${quoteName(name)}`
  })
  for (let offset = 0; ; offset += rowsAtOnce) {
    const rows = yield* query<Readonly<Record<string, LedgerValue | Uint8Array>>>(
      sql,
      `SELECT ${cells.join(", ")} FROM ${from} LIMIT ${rowsAtOnce} OFFSET ${offset}`
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

const plainValue = (value: LedgerValue | Uint8Array): LedgerValue =>
  value instanceof Uint8Array ? Buffer.from(value).toString("utf8") : value
