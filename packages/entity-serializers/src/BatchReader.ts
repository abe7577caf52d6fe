/**
 * Reads waiting rows back: the values of a batch as the renderer takes them. Used where rows are rendered without a
 * database in between, and to compare rows.
 */
import { AUX, type Cells } from "./Cells.ts"
import type { ColumnCodec, ColumnValue } from "./Codec.ts"
import type { EntityBatch, EntityRows } from "./EntityBatch.ts"
import { compiledByCode } from "./internal/PathTree.ts"

/** The text of a TEXT cell; null when it is NULL. */
export const cellText = (cells: Cells, row: number, heap: Uint8Array, aux: Uint8Array): string | null => {
  if (cells.valid[row] === 0) return null
  const at = cells.low[row]!
  const bytes = at >= AUX ? aux : heap
  const start = at >= AUX ? at - AUX : at
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, cells.high[row]!).toString("utf8")
}

/** A cell's value in the form that `renderValue` takes. */
export const cellValue = (codec: ColumnCodec, cells: Cells, row: number, heap: Uint8Array, aux: Uint8Array): ColumnValue => {
  if (cells.valid[row] === 0) return null
  switch (codec.layout) {
    case "TEXT":
      return cellText(cells, row, heap, aux)
    case "I32":
      return cells.low[row]!
    case "I64":
      return cells.bigint(row)
    case "F64":
      return cells.doubles[row]!
    case "BOOL":
      return cells.low[row] === 1
  }
}

/** The digest of a row as 32 lower-case hex digits: the first 128 bits of the SHA-256 of its text. */
export const rowDigest = (rows: EntityRows, row: number): string => {
  const word = (at: number): string => (rows.digests[row * 4 + at]! >>> 0).toString(16).padStart(8, "0")
  return ((rows.digests[row * 4 + 3]! ^ 0x80000000) >>> 0).toString(16).padStart(8, "0") + word(2) + word(1) + word(0)
}

/** All columns of a row by name, in declaration order. */
export const rowValues = (batch: EntityBatch, code: number, row: number, heap: Uint8Array): ReadonlyMap<string, ColumnValue> => {
  const rows = batch.rows[code]!
  const codecs = compiledByCode[code]?.codecs ?? []
  return new Map(codecs.map((codec, index) => [codec.name, cellValue(codec, rows.columns[index]!, row, heap, batch.aux.bytes)]))
}
