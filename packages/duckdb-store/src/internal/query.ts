/** Running one statement. */

import { type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { type Effect } from "effect"
import { type SqlError } from "effect/sql"

/**
 * The rows of a statement that is prepared anew each time: DuckDB 1.5 plans a statement by what the tables held when it
 * was prepared, and one that found a filter to match nothing then gives no rows for ever.
 */
export const query = <Row extends object>(
  sql: DuckDbSqlClient,
  statement: string,
  parameters: ReadonlyArray<unknown> = []
): Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError> => sql.unsafe<Row>(statement, parameters).unprepared
