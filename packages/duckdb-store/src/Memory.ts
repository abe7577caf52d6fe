/** How a process divides its memory: what the program itself must hold is taken from DuckDB's share. */

import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Context, Effect } from "effect"

const MB = 1_000_000

/** DuckDB's share where the program holds little: leaves room for it below the bound that the documentation states. */
const SHARE = 500 * MB

/** With less, DuckDB spends its time on reading back what it had to put aside. */
const LEAST = 250 * MB

/** What DuckDB may be given: with less it opens no database or cannot write the tables of a small run. */
export const memoryBounds = { least: 24 * MB, most: 2 ** 40 } as const

/** What DuckDB may take while the program holds `held` bytes of digests, as DuckDB writes it. */
export const limitBeside = (held: number): string => `${Math.floor(Math.max(LEAST, SHARE - held) / MB)}MB`

/**
 * Sets DuckDB's limit. If it cannot put so much aside now, it keeps to the limit before: this is no reason to give up what is
 * being written. Runs beside a transaction, which such an error would end.
 */
export const limitMemory = (sql: DuckDbSqlClient, limit: string): Effect.Effect<void> =>
  sql.unsafe(`SET memory_limit = '${limit}'`).raw.pipe(
    Effect.updateContext((context: Context.Context<never>) => Context.omit(sql.transactionService)(context)),
    Effect.ignore
  )
