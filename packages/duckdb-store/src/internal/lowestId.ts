/** Going through ids in steps. */
import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { queryRows } from "../Rendering.ts"

/** The lowest id that a condition leaves: ids that were tampered with may lie far apart. */
export const nextId = Effect.fnUntraced(function* (client: DuckDbSqlClient, id: string, from: string) {
  const [row] = yield* queryRows(client, `SELECT min(${id}) FROM ${from}`)
  const lowest = row?.[0] ?? undefined
  return lowest === undefined ? undefined : Number(lowest)
})
