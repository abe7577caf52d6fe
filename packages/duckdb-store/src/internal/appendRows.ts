import type { DuckDBAppender } from "@duckdb/node-api"
import type { LedgerValue } from "../Ledger.ts"
import { tableColumns } from "../Tables.ts"
import type { Row } from "./WaitingDocuments.ts"

/** Appends rows of a table of `mallard`; gives how many they were. */
export const appendRows = (native: DuckDBAppender, table: string, rows: Iterable<Row>): number => {
  const columns = tableColumns(table)
  let count = 0
  for (const row of rows) {
    for (const { name, type } of columns) appendValue(native, type, row[name] ?? null)
    native.endRow()
    count++
  }
  return count
}

const appendValue = (native: DuckDBAppender, type: string, value: LedgerValue): void => {
  if (value === null) native.appendNull()
  else if (type === "VARCHAR") native.appendVarchar(String(value))
  else if (type === "BOOLEAN") native.appendBoolean(value === true)
  else if (type === "INTEGER") native.appendInteger(Number(value))
  else if (type === "UTINYINT") native.appendUTinyInt(Number(value))
  else if (type === "BIGINT") native.appendBigInt(BigInt(value as number | bigint))
  // UUIDs and timestamps stand in rows as text, whose form `ledgerRow` has made sure of; DuckDB casts them.
  else native.appendVarchar(String(value))
}
