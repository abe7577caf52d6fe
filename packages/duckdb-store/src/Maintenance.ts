/**
 * The only module that deletes: rows that no commit recorded, left behind by a writer that was killed. They do not exist
 * for any reader, and deleting them lets their ids be given out again.
 */

import { kinds } from "@mallard/schema"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { checkpoint } from "./Checkpoint.ts"
import { query } from "./internal/query.ts"
import { nextIds } from "./Ledger.ts"
import { idColumns } from "./Tables.ts"

/** Rows of one table that lie outside every recorded range, by a condition on the id that comes next. */
interface Unrecorded {
  readonly table: string
  readonly where: string
  /** The table whose next id is the condition's parameter. */
  readonly ids: string
}

const unrecorded: ReadonlyArray<Unrecorded> = [
  ...[...idColumns].map(([table, column]) => ({ table, where: `${column} >= CAST(? AS BIGINT)`, ids: table })),
  ...["parts", "part_texts", "collections", "cohort_members"].map((table) => ({
    table,
    where: "content_id >= CAST(? AS BIGINT)",
    ids: "revisions"
  })),
  ...kinds
    .filter(({ children }) => children.length > 0)
    .map(({ code, table }) => ({
      table: "links",
      where: `parent_kind = ${code} AND parent_entity_id >= CAST(? AS BIGINT)`,
      ids: table
    }))
]

const countSql = unrecorded
  .map(({ table, where }, index) => `SELECT ${index} AS number, count(*) AS count FROM mallard.${table} WHERE ${where}`)
  .join(" UNION ALL ")

const deleteSql = ({ table, where }: Unrecorded): string => `DELETE FROM mallard.${table} WHERE ${where}`

/** The statements of this module. */
export const maintenanceStatements: ReadonlyArray<string> = [countSql, ...unrecorded.map(deleteSql)]

const countUnrecorded = Effect.fnUntraced(function* () {
  const sql = yield* DuckDbClient
  const next = yield* nextIds
  const limit = ({ ids }: Unrecorded) => String(next.get(ids) ?? 1)
  const counts = yield* query<{ readonly number: number; readonly count: bigint }>(sql, countSql, unrecorded.map(limit))
  const found = new Map<string, number>()
  const affected = counts.flatMap(({ number, count }) => {
    const rows = unrecorded[number]
    if (rows === undefined || count === 0n) return []
    found.set(rows.table, (found.get(rows.table) ?? 0) + Number(count))
    return [{ rows, limit: limit(rows) }]
  })
  return { found, affected }
})

/** How many rows lie outside recorded ranges, by table. Reads only. */
export const unrecordedRows = Effect.map(
  Effect.suspend(() => countUnrecorded()),
  ({ found }): ReadonlyMap<string, number> => found
)

/**
 * Deletes the rows outside recorded ranges and answers how many there were, by table. When there are none, which is told
 * from the statistics of the tables, nothing is written.
 */
export const deleteUnrecordedRows = Effect.fn("Maintenance.deleteUnrecordedRows")(function* () {
  const sql = yield* DuckDbClient
  const { affected, found } = yield* countUnrecorded()
  if (affected.length > 0) {
    yield* sql.withTransaction(
      Effect.forEach(affected, ({ limit, rows }) => query(sql, deleteSql(rows), [limit]), { discard: true })
    )
    yield* checkpoint(sql)
  }
  return found
})
