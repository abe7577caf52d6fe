/**
 * The only real deletion: deleted cohorts with their history, and the entities that no other cohort has. What stays is
 * copied to a new file, which is verified and then takes the place of the old one, so that nothing of what was removed is
 * left in it but ids and paths of sources in what runs recorded; the removal is recorded as a run too. Until that moment
 * the old file is untouched, and locked: nobody commits into what is about to go.
 */

import { DuckDbClient, type DuckDbSqlClient, toOpenError } from "@mallard/sql-duckdb"
import { Effect, Scope } from "effect"
import type { SqlError } from "effect/sql"
import { randomUUID } from "node:crypto"
import { checkpoint } from "./Checkpoint.ts"
import { reach } from "./Failpoints.ts"
import { attachFormer, copyKept, detachFormer, keptContents, keptEntities, ownTablesSql } from "./internal/copying.ts"
import { bytesOf, hasLog, ownPath, removeDatabase, replaceDatabase, temporaryPath } from "./internal/files.ts"
import { query } from "./internal/query.ts"
import { now } from "./Ledger.ts"
import { commitRows } from "./LedgerWriter.ts"
import { whileLocked } from "./LockWait.ts"
import { defaultProgram, openStore, type StoreConfig } from "./Store.ts"
import { StoreError, toStoreError } from "./StoreError.ts"
import { storedKinds } from "./Tables.ts"
import { quoteName } from "./Quoting.ts"

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
  /** JSON for the ledger: who asked for it and how, and the sums of a run. */
  readonly asked?: Effect.Effect<string, SqlError.SqlError, DuckDbClient> | undefined
  readonly totals?: string | undefined
}

/** What a purge would remove from the database whose tables lie in `schema`. Reads only. */
export const planPurge = Effect.fnUntraced(function* (
  sql: DuckDbSqlClient,
  wanted?: ReadonlyArray<string>,
  schema: "mallard" | "former.mallard" = "mallard"
) {
  const found = yield* query<{
    readonly cohort_id: string
    readonly name: string
    readonly revisions: number
    readonly saved_at: string
  }>(sql, deletedSql(schema))
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
  const condition = keeping(cohorts)
  const [documents] = yield* query<{ readonly count: bigint }>(
    sql,
    `SELECT count(*) AS count FROM ${schema}.parts WHERE content_id NOT IN (${keptContents(schema, condition)})`
  )
  const counts = yield* query<{ readonly kind: number; readonly kept: bigint }>(
    sql,
    `WITH ${keptEntities(schema, condition)} SELECT kind, count(*) AS kept FROM kept GROUP BY kind`
  )
  const kept = new Map(counts.map((row) => [row.kind, Number(row.kept)]))
  const entities: Record<string, number> = {}
  for (const { code, kind, table } of storedKinds) {
    const [row] = yield* query<{ readonly count: bigint }>(
      sql,
      `SELECT count(*) AS count FROM ${schema}.${quoteName(table)}`
    )
    const gone = Number(row?.count ?? 0) - (kept.get(code) ?? 0)
    if (gone > 0) entities[kind] = gone
  }
  return { cohorts, revisions, documents: Number(documents?.count ?? 0), entities } satisfies PurgePlan
})

/**
 * Removes deleted cohorts for good. The database must not be open: neither in this process nor in another, and no other can
 * open it until this is done. A database that does not verify, or that holds tables or views of its owner, is left as it is.
 */
export const purge = Effect.fn("purge")(function* (config: StoreConfig, options: PurgeOptions = {}) {
  const path = ownPath(config.path)
  const attempt = <A>(act: () => A) => Effect.try({ try: act, catch: (cause) => toStoreError(path, cause) })
  // Opening it for writing brings it up to date and cleans up after a writer that was killed.
  const planned = yield* Effect.scoped(
    Effect.flatMap(openStore({ ...config, path }), (sql) => planPurge(sql, options.cohorts))
  ).pipe(Effect.catchTag("SqlError", (cause) => Effect.fail(toStoreError(path, cause))))
  const bytes = yield* attempt(() => bytesOf(path))
  if (planned.cohorts.length === 0) return { ...planned, bytesBefore: bytes, bytesAfter: bytes } satisfies PurgeReport
  yield* reach("purge/planned")
  const building = temporaryPath(`${path}.purged`)
  const rebuild = Effect.gen(function* () {
    yield* attempt(() => removeDatabase(building))
    const last = yield* Effect.scope
    const replace = Effect.acquireRelease(
      attempt(() => replaceDatabase(building, path)),
      (letGo) => Effect.sync(letGo)
    ).pipe(Scope.provide(last))
    const report = yield* Effect.scoped(
      Effect.gen(function* () {
        const sql = yield* openStore({ ...config, path: building, expectedBytes: bytes })
        yield* hold(sql, path)
        // What was deleted may have been restored meanwhile.
        const plan = yield* planPurge(sql, options.cohorts, "former.mallard")
        const bytesBefore = yield* attempt(() => bytesOf(path))
        if (plan.cohorts.length === 0) return { ...plan, bytesBefore, bytesAfter: bytesBefore } satisfies PurgeReport
        const began = yield* now
        yield* copyKept(sql, path, { revisions: keeping(plan.cohorts), forgetsNames: true })
        const recorded = recordPurge(plan, began, config.program ?? defaultProgram, options)
        yield* Effect.provideService(recorded, DuckDbClient, sql)
        const bytesAfter = yield* attempt(() => bytesOf(building))
        yield* reach("purge/copied")
        if (renamesOpenFiles) {
          yield* replace
          // In this order: whoever waits finds the new file, and that is locked until all is done.
          yield* detachFormer(sql)
        }
        return { ...plan, bytesBefore, bytesAfter } satisfies PurgeReport
      })
    ).pipe(Effect.catchTag("SqlError", (cause) => Effect.fail(toStoreError(path, cause))))
    if (report.cohorts.length === 0) return report
    if (!renamesOpenFiles) yield* replace
    yield* reach("purge/replaced")
    return report
  })
  return yield* Effect.ensuring(Effect.scoped(rebuild), Effect.ignore(attempt(() => removeDatabase(building))))
})

/**
 * The ledger says who removed how much and when. Of the cohorts it keeps the ids alone, and of the runs that stored them how
 * many of their items went with them: what those had counted is told apart from what is lost.
 */
const recordPurge = Effect.fnUntraced(function* (
  { cohorts, documents, entities, revisions }: PurgePlan,
  began: Date,
  program: string,
  { asked = Effect.succeed('{"command":"purge"}'), totals }: Pick<PurgeOptions, "asked" | "totals">
) {
  const sql = yield* DuckDbClient
  const run_id = randomUUID()
  const gone = yield* query<{ readonly run_id: string; readonly items: bigint }>(sql, goneItemsSql)
  const items = Object.fromEntries(gone.map((row) => [row.run_id, Number(row.items)]))
  const purged = { cohorts: cohorts.map(({ cohortId }) => cohortId), revisions, documents, entities, items }
  const started = { run_id, event: "started", at: began, outcome: null, options: yield* asked, totals: null, program }
  const finished = { outcome: "done", options: JSON.stringify({ purged }), totals: totals ?? null }
  yield* commitRows(run_id, {
    migration_runs: [started, { ...started, ...finished, event: "finished", at: yield* now }]
  })
  yield* checkpoint(sql)
})

const goneItemsSql = `SELECT run_id, count(*) AS items FROM (
  SELECT run_id, item FROM former.mallard.migration_items EXCEPT SELECT run_id, item FROM mallard.migration_items
) GROUP BY run_id ORDER BY run_id`

const deletedSql = (schema: string): string => `SELECT cohort_id, name, seq AS revisions, saved_at FROM (
  SELECT * FROM ${schema}.recorded_revisions QUALIFY row_number() OVER (PARTITION BY cohort_id ORDER BY seq DESC) = 1
) WHERE change = 'deleted' ORDER BY name, cohort_id`

/** The statements of this module that do not depend on the plan. */
export const purgeStatements = {
  deleted: deletedSql("mallard"),
  goneItems: goneItemsSql,
  foreign: ownTablesSql
} as const

/** Windows does not; there the old file is free for the moment before the rename. */
const renamesOpenFiles = process.platform !== "win32"

/** Keeps the database at `path` from everyone else, as long as `sql` is open. */
const hold = (sql: DuckDbSqlClient, path: string) =>
  whileLocked(
    attachFormer(sql, path, "alone").pipe(
      Effect.mapError((cause) => toStoreError(path, toOpenError(cause.reason.cause, path), hasLog(path)))
    )
  ).pipe(
    // Someone wrote to it since it was cleaned up, and was killed.
    Effect.andThen(() => (hasLog(path) ? Effect.fail(new StoreError({ reason: "locked", path })) : Effect.void))
  )

/** The condition on revisions to keep. Ids are UUIDs. */
const keeping = (cohorts: ReadonlyArray<PurgedCohort>): string =>
  `cohort_id NOT IN (${cohorts.map(({ cohortId }) => `CAST('${cohortId}' AS UUID)`).join(", ")})`
