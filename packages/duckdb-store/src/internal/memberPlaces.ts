/** Where members stand in their documents. */
import { memberPointer } from "@mallard/entity-serializers"
import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { queryRows } from "../Rendering.ts"

export interface MemberPlace {
  readonly content: number
  readonly part: number
  /** JSON pointer from the root of the part's document. */
  readonly pointer: string
}

/** The places of members in the order of their documents; the query gives their content_id, part, collection and ordinal. */
export const memberPlaces = (client: DuckDbSqlClient, members: string) =>
  queryRows(
    client,
    `SELECT content_id, part, ordinal, pointer, list FROM (${members})
     JOIN mallard.collections USING (content_id, part, collection) ORDER BY content_id, part, collection, ordinal`
  ).pipe(
    Effect.map((rows) =>
      rows.map(([content, part, ordinal, pointer, list]): MemberPlace => {
        const collection = { pointer: String(pointer), list: list === true }
        return { content: Number(content), part: Number(part), pointer: memberPointer(collection, Number(ordinal)) }
      })
    )
  )
