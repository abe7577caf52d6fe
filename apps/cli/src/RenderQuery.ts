/** Results of queries as JSON and CSV for programs and as text for people. */
import type { QueryPage, QueryTable, QueryValue } from "@mallard/duckdb-store"
import { table } from "./RenderCohorts.ts"
import type { Paint } from "./Terminal.ts"
import { printable } from "./Text.ts"

/** What `mallard query --json` prints. */
export const pageJson = ({ columns, nextCursor, rowCount, rows, truncated }: QueryPage) => ({
  columns,
  rows,
  row_count: rowCount,
  truncated,
  next_cursor: nextCursor ?? null
})

/** The views with fields named as everywhere in the program's JSON. */
export const tablesJson = (tables: ReadonlyArray<QueryTable>) =>
  tables.map(({ columns, comment, hasCohorts, name }) => ({ name, comment, has_cohorts: hasCohorts, columns }))

/** A page for people: long values are cut. */
export const renderPage = (page: QueryPage, paint: Paint): string => {
  const numbers = page.columns.flatMap(({ type }, index) => (numeric.test(type) ? [index] : []))
  const rows = page.rows.map((row) => row.map((value) => (value === null ? "NULL" : shortened(textOf(value)))))
  const head = page.columns.map(({ name }) => shortened(name))
  return lines(table(head, rows, new Set(numbers), paint))
}

/** A page as CSV of RFC 4180. NULL is an empty field, an empty text a quoted one. */
export const renderCsv = (page: QueryPage): string =>
  [page.columns.map(({ name }) => name), ...page.rows]
    .map((row) => `${row.map((value) => (value === null ? "" : csvField(textOf(value)))).join(",")}\r\n`)
    .join("")

/** The views with their columns. */
export const renderTables = (tables: ReadonlyArray<QueryTable>, paint: Paint): string =>
  lines(
    tables.flatMap(({ columns, comment, name }) => [
      `${paint("bold", name)}  ${paint("dim", comment)}`,
      ...columns.map((column) => {
        const start = `  ${column.name} ${column.type}`
        return column.comment === undefined ? start : `${start}  ${paint("dim", column.comment)}`
      })
    ])
  )

const numeric = /^(?:U?(?:TINY|SMALL|BIG|HUGE)?INT|U?INTEGER|BIGNUM|FLOAT|DOUBLE|DECIMAL\(.*)$/

const textOf = (value: QueryValue): string => (typeof value === "string" ? value : JSON.stringify(value))

const MAX_CELL = 60

const shortened = (text: string): string => {
  const characters = [...printable(text)]
  return characters.length > MAX_CELL ? `${characters.slice(0, MAX_CELL - 1).join("")}…` : characters.join("")
}

const csvField = (text: string): string => (/^$|["\r\n,]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)

const lines = (texts: ReadonlyArray<string>): string => texts.map((text) => `${text}\n`).join("")
