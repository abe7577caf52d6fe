/** Values on their way out of DuckDB: the converters behind the client's `results` option. */
import {
  arrayFromArrayValue,
  arrayFromListValue,
  bigintFromBigIntValue,
  booleanFromValue,
  bytesFromBlobValue,
  bytesFromGeometryValue,
  createDuckDBValueConverter,
  DuckDBBlobValue,
  DuckDBBlobVector,
  type DuckDBDataChunk,
  type DuckDBResult,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBTypeId,
  type DuckDBValue,
  fromVariantValue,
  JSDuckDBValueConverter,
  JsonDuckDBValueConverter,
  nullConverter,
  numberFromValue,
  objectArrayFromMapValue,
  objectFromIntervalValue,
  objectFromStructValue,
  objectFromUnionValue,
  stringFromValue,
  unsupportedConverter
} from "@duckdb/node-api"
import duckdb from "@duckdb/node-bindings"
import { DuckDbRefusal } from "../DuckDbError.ts"
import { dateText, losesFields } from "../NativeValues.ts"

/** How the values of a result are represented. */
export type ResultMode = "exact" | "js" | "json" | "native"

/** The column names and types of one result, read once, and the conversion of its chunks. */
export interface RowReader {
  readonly rows: (chunk: DuckDBDataChunk) => Array<Record<string, unknown>>
  readonly values: (chunk: DuckDBDataChunk) => Array<Array<unknown>>
}

/** Makes the reader of one result. Throws `DuckDbRefusal`. */
export const rowReader = (result: DuckDBResult, mode: ResultMode): RowReader => {
  if (losesFields(result)) throw new DuckDbRefusal({ reason: "unnamed-fields" })
  const readColumn = readers[mode]
  const names = result.deduplicatedColumnNames()
  const texts = names.map((_, index) => result.columnTypeId(index) === DuckDBTypeId.VARCHAR)
  const columnsOf = (chunk: DuckDBDataChunk) =>
    names.map((_, index) => {
      const values = readColumn(chunk, index)
      if (texts[index]) restoreByteOrderMarks(chunk, index, values)
      return values
    })
  return {
    rows: (chunk) => {
      const columns = columnsOf(chunk)
      return Array.from({ length: chunk.rowCount }, (_, row) => {
        const object: Record<string, unknown> = {}
        for (let column = 0; column < names.length; column++) {
          setProperty(object, names[column] ?? "", columns[column]?.[row] ?? null)
        }
        return object
      })
    },
    values: (chunk) => {
      const columns = columnsOf(chunk)
      return Array.from({ length: chunk.rowCount }, (_, row) => columns.map((column) => column[row] ?? null))
    }
  }
}

/** The values of a column of a chunk in the client's native forms, texts whole. */
export const nativeColumn = (chunk: DuckDBDataChunk, column: number): Array<unknown> => {
  const vector = chunk.getColumnVector(column)
  if (vector instanceof DuckDBBlobVector) return blobsOf(vector)
  const values: Array<unknown> = vector.toArray()
  if (vector.type.typeId === DuckDBTypeId.VARCHAR) restoreByteOrderMarks(chunk, column, values)
  return values
}

/** Longer values are copies already; shorter ones lie in the vector's own memory. */
const INLINE_BYTES = 12

const blobsOf = (vector: DuckDBBlobVector): Array<DuckDBBlobValue | null> =>
  Array.from({ length: vector.itemCount }, (_, row) => {
    const bytes = vector.getItemBytes(row)
    if (bytes === null) return null
    return new DuckDBBlobValue(bytes.length <= INLINE_BYTES ? bytes.slice() : bytes)
  })

// Plain assignment to `__proto__` would change the prototype instead of adding a column.
const setProperty = (object: Record<string, unknown>, name: string, value: unknown): void => {
  if (name === "__proto__") {
    Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
  } else {
    object[name] = value
  }
}

// The Node client decodes text with a TextDecoder that swallows a leading U+FEFF. DuckDB keeps each string as a 16 byte
// record of length (4 bytes) and the first bytes of the text, so a lost mark is seen without reading the text again.
const restoreByteOrderMarks = (chunk: DuckDBDataChunk, column: number, values: Array<unknown>): void => {
  const count = values.length
  if (count === 0) return
  const data = duckdb.vector_get_data(duckdb.data_chunk_get_vector(chunk.chunk, column), count * 16)
  for (let row = 0, offset = 4; row < count; row++, offset += 16) {
    if (data[offset] !== 0xef || data[offset + 1] !== 0xbb || data[offset + 2] !== 0xbf) continue
    const value = values[row]
    const length = new DataView(data.buffer, data.byteOffset + offset - 4, 4).getUint32(0, true)
    if (typeof value === "string" && length >= 3) values[row] = `\uFEFF${value}`
  }
}

const isoText = (value: DuckDBValue): string => {
  const text = String(value)
  return /^\d{4,}-\d\d-\d\d \d/.test(text) ? text.replace(" ", "T") : text
}

const isoTextUtc = (value: DuckDBValue): string => {
  if (!(value instanceof DuckDBTimestampTZValue)) return String(value)
  const text = isoText(new DuckDBTimestampValue(value.micros))
  return text.includes("T") ? `${text}Z` : text
}

const exact = createDuckDBValueConverter<unknown>({
  [DuckDBTypeId.INVALID]: unsupportedConverter,
  [DuckDBTypeId.BOOLEAN]: booleanFromValue,
  [DuckDBTypeId.TINYINT]: numberFromValue,
  [DuckDBTypeId.SMALLINT]: numberFromValue,
  [DuckDBTypeId.INTEGER]: numberFromValue,
  [DuckDBTypeId.BIGINT]: bigintFromBigIntValue,
  [DuckDBTypeId.UTINYINT]: numberFromValue,
  [DuckDBTypeId.USMALLINT]: numberFromValue,
  [DuckDBTypeId.UINTEGER]: numberFromValue,
  [DuckDBTypeId.UBIGINT]: bigintFromBigIntValue,
  [DuckDBTypeId.FLOAT]: numberFromValue,
  [DuckDBTypeId.DOUBLE]: numberFromValue,
  [DuckDBTypeId.TIMESTAMP]: isoText,
  [DuckDBTypeId.DATE]: dateText,
  [DuckDBTypeId.TIME]: stringFromValue,
  [DuckDBTypeId.INTERVAL]: objectFromIntervalValue,
  [DuckDBTypeId.HUGEINT]: bigintFromBigIntValue,
  [DuckDBTypeId.UHUGEINT]: bigintFromBigIntValue,
  [DuckDBTypeId.VARCHAR]: stringFromValue,
  [DuckDBTypeId.BLOB]: bytesFromBlobValue,
  [DuckDBTypeId.DECIMAL]: stringFromValue,
  [DuckDBTypeId.TIMESTAMP_S]: isoText,
  [DuckDBTypeId.TIMESTAMP_MS]: isoText,
  [DuckDBTypeId.TIMESTAMP_NS]: isoText,
  [DuckDBTypeId.ENUM]: stringFromValue,
  [DuckDBTypeId.LIST]: arrayFromListValue,
  [DuckDBTypeId.STRUCT]: objectFromStructValue,
  [DuckDBTypeId.MAP]: objectArrayFromMapValue,
  [DuckDBTypeId.ARRAY]: arrayFromArrayValue,
  [DuckDBTypeId.UUID]: stringFromValue,
  [DuckDBTypeId.UNION]: objectFromUnionValue,
  [DuckDBTypeId.BIT]: stringFromValue,
  [DuckDBTypeId.TIME_TZ]: stringFromValue,
  [DuckDBTypeId.TIMESTAMP_TZ]: isoTextUtc,
  [DuckDBTypeId.ANY]: unsupportedConverter,
  [DuckDBTypeId.BIGNUM]: bigintFromBigIntValue,
  [DuckDBTypeId.SQLNULL]: nullConverter,
  [DuckDBTypeId.STRING_LITERAL]: unsupportedConverter,
  [DuckDBTypeId.INTEGER_LITERAL]: unsupportedConverter,
  [DuckDBTypeId.TIME_NS]: stringFromValue,
  [DuckDBTypeId.GEOMETRY]: bytesFromGeometryValue,
  [DuckDBTypeId.VARIANT]: fromVariantValue
})

const json: typeof JsonDuckDBValueConverter = (value, type, converter) =>
  type.typeId === DuckDBTypeId.DATE && value !== null
    ? dateText(value)
    : JsonDuckDBValueConverter(value, type, converter)

type ReadColumn = (chunk: DuckDBDataChunk, column: number) => Array<unknown>

const readers: Record<ResultMode, ReadColumn> = {
  exact: (chunk, column) => chunk.convertColumnValues(column, exact),
  js: (chunk, column) => chunk.convertColumnValues(column, JSDuckDBValueConverter),
  json: (chunk, column) => chunk.convertColumnValues(column, json),
  native: (chunk, column) => chunk.getColumnValues(column)
}
