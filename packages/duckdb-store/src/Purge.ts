/**
 * The only real deletion: deleted cohorts with their history, and the entities that no other cohort has. What stays is
 * copied to a new file, which is verified and then takes the place of the old one, so that nothing of what was removed is
 * left in it. Until that moment the old file is untouched.
 */

import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { resolve } from "node:path"
import { reach } from "./Failpoints.ts"
import { copyKept, keptContents, keptEntities, ownTablesSql } from "./internal/copying.ts"
import { bytesOf, removeDatabase, replaceDatabase, stampOf, temporaryPath } from "./internal/files.ts"
import { query } from "./internal/query.ts"
import { openStore, type StoreConfig } from "./Store.ts"
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
  const condition = keeping(cohorts)
  const [documents] = yield* query<{ readonly count: bigint }>(
    sql,
    `SELECT count(*) AS count FROM mallard.parts WHERE content_id NOT IN (${keptContents("mallard", condition)})`
  )
  const counts = yield* query<{ readonly kind: number; readonly kept: bigint }>(
    sql,
    `WITH ${keptEntities("mallard", condition)} SELECT kind, count(*) AS kept FROM kept GROUP BY kind`
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
  yield* reach("purge/planned")
  const building = temporaryPath(`${path}.purged`)
  const rebuild = Effect.gen(function* () {
    yield* attempt(() => removeDatabase(building))
    const stamp = yield* attempt(() => stampOf(path))
    yield* Effect.scoped(
      Effect.gen(function* () {
        const sql = yield* openStore({ ...config, path: building })
        yield* copyKept(sql, path, { revisions: keeping(plan.cohorts) }).pipe(
          Effect.catchTag("SqlError", (cause) => Effect.fail(toStoreError(path, cause)))
        )
      })
    )
    const bytesAfter = yield* attempt(() => bytesOf(building))
    if ((yield* attempt(() => stampOf(path))) !== stamp) return yield* new StoreError({ reason: "locked", path })
    yield* reach("purge/copied")
    yield* attempt(() => replaceDatabase(building, path))
    yield* reach("purge/replaced")
    return { ...plan, bytesBefore, bytesAfter } satisfies PurgeReport
  })
  return yield* Effect.ensuring(rebuild, Effect.ignore(attempt(() => removeDatabase(building))))
})

/** The statements of this module that do not depend on the plan. */
export const purgeStatements = {
  deleted: `SELECT cohort_id, name, seq AS revisions, saved_at FROM (
  SELECT * FROM mallard.recorded_revisions QUALIFY row_number() OVER (PARTITION BY cohort_id ORDER BY seq DESC) = 1
) WHERE change = 'deleted' ORDER BY name, cohort_id`,
  foreign: ownTablesSql
} as const

/** The condition on revisions to keep. Ids are UUIDs. */
const keeping = (cohorts: ReadonlyArray<PurgedCohort>): string =>
  `cohort_id NOT IN (${cohorts.map(({ cohortId }) => `CAST('${cohortId}' AS UUID)`).join(", ")})`
