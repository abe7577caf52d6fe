import { type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { type EntityIndex } from "@mallard/entity-serializers"
import duckdb from "@duckdb/node-bindings"
import { Effect, Stream } from "effect"
import { quoteName } from "../Quoting.ts"

/** Puts the digests of the entities that are stored into the indexes of their kinds, copied from DuckDB's memory chunk by chunk. */
export const loadDigests = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  kinds: ReadonlyArray<{ readonly code: number; readonly table: string }>,
  indexes: ReadonlyArray<EntityIndex>
) {
  for (const { code } of kinds) indexes[code]!.beginLoading(indexes[code]!.nextId)
  const tables = kinds.map(
    ({ code, table }) => `SELECT ${code}::UTINYINT AS kind, digest, entity_id FROM mallard.${quoteName(table)}`
  )
  yield* client.streamChunks(tables.join(" UNION ALL ")).pipe(
    Stream.runForEach((chunk) =>
      Effect.sync(() => {
        const rows = chunk.rowCount
        const data = (column: number, bytes: number): Uint8Array =>
          duckdb.vector_get_data(duckdb.data_chunk_get_vector(chunk.chunk, column), rows * bytes)
        const codes = data(0, 1)
        const digests = data(1, 16)
        const numbers = data(2, 8)
        // A chunk may hold the end of one table and the beginning of the next.
        for (let from = 0, end = 0; from < rows; from = end) {
          while (end < rows && codes[end] === codes[from]) end++
          const words = new Int32Array(digests.buffer, digests.byteOffset + from * 16, (end - from) * 4)
          const ids = new Uint32Array(numbers.buffer, numbers.byteOffset + from * 8, (end - from) * 2)
          indexes[codes[from]!]!.addStored(words, ids, end - from)
        }
      })
    )
  )
  for (const { code } of kinds) indexes[code]!.endLoading()
})
