/**
 * Commits of a few rows: events of runs, checks, backups, and revisions that use content which is stored already. Unlike
 * `BatchWriter` it loads nothing first, so a commit costs some milliseconds however large the database is.
 */

import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { reach } from "./Failpoints.ts"
import { type LedgerValues, nextIds, now, record } from "./Ledger.ts"

/** Rows of one commit, by table. */
export interface LedgerRows {
  /** Their ids must be those that come next, in order. */
  readonly revisions?: ReadonlyArray<LedgerValues<"revisions">>
  readonly migration_runs?: ReadonlyArray<LedgerValues<"migration_runs">>
  readonly migration_items?: ReadonlyArray<LedgerValues<"migration_items">>
  readonly data_integrity_checks?: ReadonlyArray<LedgerValues<"data_integrity_checks">>
  readonly migration_backups?: ReadonlyArray<LedgerValues<"migration_backups">>
}

/** Writes the rows and the ledger of their commit, within the current transaction if there is one, else in their own. */
export const commitRows = Effect.fn("LedgerWriter.commitRows")(function* (runId: string | undefined, rows: LedgerRows) {
  const sql = yield* DuckDbClient
  const next = yield* nextIds
  const counts = [
    ["revisions", rows.revisions?.length ?? 0],
    ["migration_runs", rows.migration_runs?.length ?? 0],
    ["migration_items", rows.migration_items?.length ?? 0],
    ["data_integrity_checks", rows.data_integrity_checks?.length ?? 0],
    ["migration_backups", rows.migration_backups?.length ?? 0]
  ] as const
  const lines = counts
    .filter(([, count]) => count > 0)
    .map(([table, count]) => ({ table: table as string, first: table === "revisions" ? next.get(table)! : 0, count }))
  if (lines.length === 0) return
  const commitId = next.get("commits")!
  // The line of `commits` itself comes last: a commit without it never happened.
  lines.push({ table: "commits", first: commitId, count: lines.length + 1 })
  const attempt = randomUUID()
  const at = yield* now
  const write = Effect.gen(function* () {
    yield* record("revisions", rows.revisions ?? [])
    yield* record("migration_runs", rows.migration_runs ?? [])
    yield* record("migration_items", rows.migration_items ?? [])
    yield* record("data_integrity_checks", rows.data_integrity_checks ?? [])
    yield* record("migration_backups", rows.migration_backups ?? [])
    yield* record(
      "commits",
      lines.map(({ table, first, count }) => ({
        commit_id: commitId,
        attempt,
        run_id: runId ?? null,
        committed_at: at,
        table_name: table,
        first_id: first,
        row_count: count
      }))
    )
    yield* reach("ledger/written")
  })
  yield* sql.withTransaction(write)
})
