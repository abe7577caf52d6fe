/** Moving what is committed from the write-ahead log into the file of the database. */

import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import type { SqlError } from "effect/sql"
import { reach } from "./Failpoints.ts"

/**
 * A commit that would make the write-ahead log larger than this goes straight into the file instead, which spares writing
 * everything twice. DuckDB's default of 16 MB does so for every small commit, which rewrites the same row groups over and
 * over and leaves the file larger.
 */
const CHECKPOINT_THRESHOLD = "128MB"

/** Opening options of whoever writes. */
export const checkpointOptions = {
  checkpoint_threshold: CHECKPOINT_THRESHOLD,
  // Whatever goes into the file at once needs no log, however little DuckDB takes it for.
  auto_checkpoint_skip_wal_threshold: "0"
}

/**
 * Where what is committed next goes: straight into the file, or into the log as long as that stays below the threshold.
 * DuckDB's own estimate takes a table that gains a row group (122,880 rows) for a few hundred bytes, as if these were in the
 * file already; with optimistic writes off they are not, and the largest commits of all would be written twice.
 */
export const commitInto = (sql: DuckDbSqlClient, place: "file" | "log"): Effect.Effect<void, SqlError.SqlError> =>
  Effect.asVoid(sql.unsafe(`SET checkpoint_threshold = '${place === "file" ? "0B" : CHECKPOINT_THRESHOLD}'`).raw)

/** Leaves no write-ahead log, unless another connection still reads what was before. */
export const checkpoint = (sql: DuckDbSqlClient): Effect.Effect<void, SqlError.SqlError> =>
  Effect.andThen(
    reach("checkpoint/begun"),
    Effect.tap(sql.checkpoint, () => reach("checkpoint/done"))
  )
