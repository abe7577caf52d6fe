/** Removing deleted cohorts for good, as a run of the ledger. */
import { purge } from "@mallard/duckdb-store"
import { Effect } from "effect"
import { withEnvironment } from "./internal/environment.ts"
import { totalsOf } from "./Report.ts"

export interface PurgeRequest {
  /** Absolute path of the database, which must not be open. */
  readonly database: string
  readonly program: string
  /** Names or ids of deleted cohorts; without it all of them. */
  readonly cohorts?: ReadonlyArray<string> | undefined
}

/**
 * Removes deleted cohorts with their history, and the entities that no other cohort has: the only deletion, which cannot be
 * undone. The ledger keeps who asked for it and when, how much went, the ids of the cohorts, and how many items the reports of
 * earlier runs list no more.
 *
 * Fails with a `StoreError` when the database cannot be opened or does not verify, and with `InvalidRequest` when it holds
 * tables or views that would be lost; then it is as it was.
 */
export const purgeCohorts = Effect.fn("purgeCohorts")(({ cohorts, database, program }: PurgeRequest) =>
  purge(
    { path: database, program },
    { cohorts, asked: withEnvironment({ command: "purge" }), totals: JSON.stringify(totalsOf(0, [])) }
  )
)
