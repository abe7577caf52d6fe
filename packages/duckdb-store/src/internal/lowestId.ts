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

/** Bytes of texts that are fetched at once. DuckDB takes many times as much for them. */
const BYTES_AT_ONCE = 8 << 20
/** What follows small rows may be large, so a step grows no faster. */
const GROWTH = 4

/** How many ids to go through at once, at most `most`: as many as their texts allow, by those before. */
export class Steps {
  /** Ids of the next step. */
  ids: number
  private readonly most: number

  /** `rowBytes`: how long a text may be on average, for the first step. */
  constructor(most: number, rowBytes: number) {
    this.most = most
    this.ids = this.fitting(BYTES_AT_ONCE / Math.max(rowBytes, 1))
  }

  /** Takes note of how long the texts of the step were. */
  took(bytes: number): void {
    this.ids = this.fitting(Math.min((this.ids * BYTES_AT_ONCE) / Math.max(bytes, 1), this.ids * GROWTH))
  }

  private fitting(ids: number): number {
    return Math.max(1, Math.min(Math.floor(ids), this.most))
  }
}
