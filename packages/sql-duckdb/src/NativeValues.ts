/** Where the Node client of DuckDB would lose or alter values of a result, for those who read them from it themselves. */
import {
  DuckDBArrayType,
  DuckDBDateValue,
  DuckDBListType,
  DuckDBMapType,
  type DuckDBResult,
  DuckDBStructType,
  type DuckDBType,
  DuckDBTypeId,
  DuckDBUnionType,
  type DuckDBValue
} from "@duckdb/node-api"

/** A DATE as DuckDB writes it. The Node client writes an infinite one as a day beyond the last that DuckDB knows. */
export const dateText = (value: DuckDBValue): string =>
  value instanceof DuckDBDateValue && !value.isFinite ? (value.days > 0 ? "infinity" : "-infinity") : String(value)

/**
 * Whether the Node client would lose fields of a STRUCT of the result: it keeps them by name, so of those without one, as
 * `row(1, 2)` has, the last alone, and none that is called `__proto__`.
 */
export const losesFields = (result: DuckDBResult): boolean => {
  for (let index = 0; index < result.columnCount; index++) {
    if (nestedTypes.has(result.columnTypeId(index)) && isLossy(result.columnType(index))) return true
  }
  return false
}

// The type of a column is asked for only where it can matter: that takes a call for each of its parts.
const nestedTypes = new Set([
  DuckDBTypeId.LIST,
  DuckDBTypeId.ARRAY,
  DuckDBTypeId.STRUCT,
  DuckDBTypeId.MAP,
  DuckDBTypeId.UNION
])

const isLossy = (type: DuckDBType): boolean => {
  if (type instanceof DuckDBStructType) {
    const names = new Set(type.entryNames)
    return names.has("__proto__") || names.size < type.entryNames.length || type.entryTypes.some(isLossy)
  }
  if (type instanceof DuckDBUnionType) return type.memberTypes.some(isLossy)
  if (type instanceof DuckDBMapType) return isLossy(type.keyType) || isLossy(type.valueType)
  return (type instanceof DuckDBListType || type instanceof DuckDBArrayType) && isLossy(type.valueType)
}
