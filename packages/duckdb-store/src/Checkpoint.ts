/** Moving what is committed from the write-ahead log into the file of the database. */

import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import type { SqlError } from "effect/sql"
import { reach } from "./Failpoints.ts"

/** Leaves no write-ahead log, unless another connection still reads what was before. */
export const checkpoint = (sql: DuckDbSqlClient): Effect.Effect<void, SqlError.SqlError> =>
  Effect.andThen(
    reach("checkpoint/begun"),
    Effect.tap(sql.checkpoint, () => reach("checkpoint/done"))
  )
