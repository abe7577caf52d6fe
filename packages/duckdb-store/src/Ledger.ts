/**
 * Rows of the append-only tables: their digests, how they are completed, written and checked, and the ids that come
 * next.
 */

import { DuckDbClient } from "@mallard/sql-duckdb"
import { Clock, Effect, Stream } from "effect"
import { type SqlError } from "effect/sql"
import { hash } from "node:crypto"
import { query } from "./internal/query.ts"
import {
  type DigestedTableName,
  digestedTableNames,
  type FixedRow,
  fixedTableNames,
  idColumns,
  type TableColumn,
  tableColumns,
  type Timestamp
} from "./Tables.ts"
import { quoteName } from "./Quoting.ts"

/** A value of a row as a program holds it. */
export type LedgerValue = string | number | bigint | boolean | Date | null

/** A row of a table by column name, without its digest. */
export type LedgerValues<Name extends DigestedTableName> = Omit<FixedRow<Name>, "row_digest">

/**
 * The lower-case hex SHA-256 of the JSON array of the values as texts: numbers in decimal digits, booleans as `true` and
 * `false`, NULL as `null`. Texts count as they are; `digestText` gives the texts of times and UUIDs.
 */
export const rowDigest = (values: ReadonlyArray<Exclude<LedgerValue, Date>>): string =>
  hash("sha256", JSON.stringify(values.map((value) => (value === null ? null : String(value)))))

/** The text `YYYY-MM-DD HH:MM:SS.ffffff` of a point in time. Throws for text of another form. */
export const timestampText = (time: Timestamp): string => {
  if (typeof time === "string") {
    const [, date, clock, fraction = ""] = timestampPattern.exec(time) ?? []
    if (date === undefined || clock === undefined) throw new RangeError("Not the text of a timestamp")
    return `${date} ${clock}.${fraction.padEnd(6, "0")}`
  }
  const micros = typeof time === "bigint" ? time : BigInt(time.getTime()) * 1000n
  const fraction = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n
  const iso = new Date(Number((micros - fraction) / 1000n)).toISOString()
  return `${iso.slice(0, -5).replace("T", " ")}.${String(fraction).padStart(6, "0")}`
}

/** The text of a value of a column of this type, as it counts for the row's digest: UUIDs are in lower case. */
export const digestText = (type: string, value: LedgerValue): string | null => {
  if (value === null) return null
  if (value instanceof Date) return timestampText(value)
  if (type === "TIMESTAMP" && (typeof value === "bigint" || typeof value === "string")) return timestampText(value)
  return type === "UUID" ? String(value).toLowerCase() : String(value)
}

/**
 * The whole row of a table: every column in order, times and UUIDs as the texts that count for the digest, the digest
 * last. Throws when a value is missing.
 */
export const ledgerRow = <Name extends DigestedTableName>(
  table: Name,
  values: LedgerValues<Name>
): Readonly<Record<string, LedgerValue>> => {
  const given: Readonly<Record<string, LedgerValue>> = values
  const row: Record<string, LedgerValue> = {}
  const columns = digestedColumns(table)
  for (const { name, type, nullable } of columns) {
    const value = given[name] ?? null
    if (value === null && !nullable) throw new TypeError(`Column ${name} of ${table} needs a value`)
    row[name] = type === "UUID" || type === "TIMESTAMP" ? digestText(type, value) : value
  }
  row["row_digest"] = digestOf(columns, row)
  return row
}

/** The statement that writes `count` rows of a table, with a parameter, as text, for every cell. */
export const insertSql = (table: string, count: number): string => {
  const columns = tableColumns(table)
  const row = `(${columns.map(({ type }) => `CAST(? AS ${type})`).join(", ")})`
  const names = columns.map(({ name }) => quoteName(name)).join(", ")
  return `INSERT INTO mallard.${table} (${names}) VALUES ${Array.from({ length: count }, () => row).join(", ")}`
}

const rowsPerInsert = 64

/** Completes rows and writes them, in order, within the current transaction if there is one. For dozens, not millions. */
export const record = Effect.fn("Ledger.record")(function* <Name extends DigestedTableName>(
  table: Name,
  rows: ReadonlyArray<LedgerValues<Name>>
) {
  const sql = yield* DuckDbClient
  const columns = tableColumns(table)
  for (let from = 0; from < rows.length; from += rowsPerInsert) {
    const chunk = rows.slice(from, from + rowsPerInsert).map((row) => ledgerRow(table, row))
    const cells = chunk.flatMap((row) => columns.map(({ name, type }) => digestText(type, row[name] ?? null)))
    yield* query(sql, insertSql(table, chunk.length), cells)
  }
})

/** The point in time that rows written now carry. */
export const now: Effect.Effect<Date> = Effect.map(Clock.currentTimeMillis, (millis) => new Date(millis))

/** A row whose digest is not that of its values. */
export interface RowMismatch {
  readonly table: DigestedTableName
  /** The number of the row in stored order, from 0. */
  readonly row: number
  /** The values of the table's first two columns, which name the row. */
  readonly key: ReadonlyArray<string | null>
  readonly expected: string
  readonly found: string
}

/** How many rows a table has, and those whose digest is not that of their values. Reads the whole table. */
export const checkRowDigests = Effect.fn("Ledger.checkRowDigests")(function* (table: DigestedTableName) {
  const sql = yield* DuckDbClient
  const digested = digestedColumns(table)
  const mismatches: Array<RowMismatch> = []
  let rows = 0
  yield* sql.unsafe<Readonly<Record<string, LedgerValue>>>(selectRowsSql(table)).stream.pipe(
    Stream.runForEachArray((chunk) =>
      Effect.sync(() => {
        for (const row of chunk) {
          const expected = digestOf(digested, row)
          const found = String(row["row_digest"])
          if (found !== expected) {
            const key = digested.slice(0, 2).map(({ name, type }) => digestText(type, row[name] ?? null))
            mismatches.push({ table, row: rows, key, expected, found })
          }
          rows++
        }
      })
    )
  )
  return { rows, mismatches }
})

/** The statement that reads all rows of a table, with all columns in order. */
export const selectRowsSql = (table: string): string =>
  `SELECT ${tableColumns(table)
    .map(({ name }) => quoteName(name))
    .join(", ")} FROM mallard.${table}`

const recordedIdsSql =
  "SELECT table_name, max(first_id + row_count) AS next_id FROM mallard.commits WHERE first_id > 0 GROUP BY table_name"

const lastNumbersSql =
  "SELECT (SELECT coalesce(max(commit_id), 0) FROM mallard.commits) AS commit_id," +
  " (SELECT coalesce(max(check_id), 0) FROM mallard.data_integrity_checks) AS check_id"

/**
 * The id that the next row gets, by table, for every table with dense ids: those of the kinds, `entity_shapes`,
 * `revisions`, `commits` and `data_integrity_checks`. For all but the last two it is what the ledger recorded that
 * counts, not what the tables hold.
 */
export const nextIds: Effect.Effect<ReadonlyMap<string, number>, SqlError.SqlError, DuckDbClient> = Effect.gen(
  function* () {
    const sql = yield* DuckDbClient
    const recorded = yield* query<{ readonly table_name: string; readonly next_id: bigint }>(sql, recordedIdsSql)
    const [last] = yield* query<{ readonly commit_id: bigint; readonly check_id: bigint }>(sql, lastNumbersSql)
    const found = new Map(recorded.map((row) => [row.table_name, Number(row.next_id)]))
    return new Map<string, number>([
      ...[...idColumns.keys()].map((table) => [table, found.get(table) ?? 1] as const),
      ["commits", Number(last?.commit_id ?? 0n) + 1],
      ["data_integrity_checks", Number(last?.check_id ?? 0n) + 1]
    ])
  }
)

/** The statements of this module. */
export const ledgerStatements: ReadonlyArray<string> = [
  recordedIdsSql,
  lastNumbersSql,
  ...fixedTableNames.map((table) => insertSql(table, 1)),
  ...digestedTableNames.map(selectRowsSql)
]

const timestampPattern = /^(\d{4,}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?$/

const columnsByTable = new Map(
  digestedTableNames.map((table) => [table, tableColumns(table).filter(({ name }) => name !== "row_digest")])
)

/** The columns of a table that its digest covers. */
const digestedColumns = (table: DigestedTableName): ReadonlyArray<TableColumn> => columnsByTable.get(table)!

const digestOf = (columns: ReadonlyArray<TableColumn>, row: Readonly<Record<string, LedgerValue>>): string =>
  rowDigest(columns.map(({ name, type }) => digestText(type, row[name] ?? null)))
