import {
  BIGINT,
  BOOLEAN,
  DATE,
  DECIMAL,
  DOUBLE,
  type DuckDBType,
  INTEGER,
  TIMESTAMP,
  UUID,
  VARCHAR
} from "@duckdb/node-api"
import { JSON_KIND, kindByCode, type SqlType } from "@mallard/schema"

/** The table of the entities of a kind, and the types of its columns. */
export const entityColumns = (code: number): { readonly table: string; readonly types: ReadonlyArray<DuckDBType> } => {
  const kind = kindByCode(code)
  if (kind === undefined) return { table: JSON_KIND.table, types: [BIGINT, UUID, VARCHAR] }
  const types = kind.columns.map(({ type }) => columnType(type))
  return { table: kind.table, types: [BIGINT, UUID, INTEGER, ...types, VARCHAR] }
}

const columnType = (type: SqlType): DuckDBType => {
  switch (type) {
    case "VARCHAR":
    case "JSON":
      return VARCHAR
    case "DATE":
      return DATE
    case "TIMESTAMP":
      return TIMESTAMP
    case "INTEGER":
      return INTEGER
    case "BIGINT":
      return BIGINT
    case "DOUBLE":
      return DOUBLE
    case "BOOLEAN":
      return BOOLEAN
    default: {
      const [precision, scale] = (type.match(/\d+/g) ?? []).map(Number)
      return DECIMAL(precision ?? 18, scale ?? 0)
    }
  }
}
