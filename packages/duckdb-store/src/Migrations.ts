/**
 * The versions of the tables and the steps between them. Each step is one transaction, with its row in
 * `schema_migrations`, and a CHECKPOINT; a database whose tables do not match its rows is refused, never repaired by guessing.
 */

import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { type SqlError } from "effect/sql"
import { checkpoint } from "./Checkpoint.ts"
import { reach } from "./Failpoints.ts"
import { query } from "./internal/query.ts"
import { insertSql, now, record } from "./Ledger.ts"
import { createTablesSql, storedKinds, tableColumns, tableNames } from "./Tables.ts"
import { createViewsSql } from "./Views.ts"

/** One step from a version of the tables to the next. */
export interface Migration {
  /** Dense from 1. */
  readonly version: number
  readonly name: string
  /** Run in order, in one transaction. */
  readonly statements: ReadonlyArray<string>
}

const kindRows = [...storedKinds]
  .sort((left, right) => left.code - right.code)
  .map(({ code, kind, table }) => `(${code}, '${kind}', '${table}')`)

/** All steps, in order. */
export const migrations: ReadonlyArray<Migration> = [
  {
    version: 1,
    name: "tables and views",
    get statements() {
      return [
        ...createTablesSql,
        `INSERT INTO mallard.kinds (code, kind, table_name) VALUES ${kindRows.join(", ")}`,
        ...createViewsSql()
      ]
    }
  }
]

/** What a database is, seen from here. */
export type SchemaState =
  /** It holds nothing at all. */
  | { readonly _tag: "Empty" }
  /** It holds tables or views, and none of ours. */
  | { readonly _tag: "Foreign" }
  /** Tables or columns of ours are missing or differ. */
  | { readonly _tag: "Partial" }
  | { readonly _tag: "Ours"; readonly version: number }
  /** A later program has migrated it. */
  | { readonly _tag: "Newer"; readonly version: number }

const relationsSql =
  "SELECT schema_name, table_name AS name, sql FROM duckdb_tables() WHERE NOT internal AND database_name = current_database()" +
  " UNION ALL " +
  "SELECT schema_name, view_name, NULL FROM duckdb_views() WHERE NOT internal AND database_name = current_database()"

const columnsSql =
  "SELECT table_name, column_name, data_type, is_nullable FROM duckdb_columns()" +
  " WHERE NOT internal AND database_name = current_database() AND schema_name = 'mallard'" +
  " ORDER BY table_name, column_index"

const versionSql = "SELECT max(version) AS version FROM mallard.schema_migrations"

/** The statements of this module. */
export const migrationStatements = (): ReadonlyArray<string> => [
  ...migrations.flatMap(({ statements }) => statements),
  relationsSql,
  columnsSql,
  versionSql,
  insertSql("schema_migrations", 1)
]

/** Looks at the database without changing it. */
export const inspectSchema: Effect.Effect<SchemaState, SqlError.SqlError, DuckDbClient> = Effect.gen(function* () {
  const sql = yield* DuckDbClient
  const relations = yield* query<RelationRow>(sql, relationsSql)
  if (relations.length === 0) return { _tag: "Empty" } as const
  const ours = new Set(relations.filter((row) => row.schema_name === "mallard").map(({ name }) => name))
  if (ours.size === 0) return { _tag: "Foreign" } as const
  if (!ours.has("schema_migrations")) return { _tag: "Partial" } as const
  const [row] = yield* query<{ readonly version: number | null }>(sql, versionSql)
  const version = row?.version ?? 0
  if (version > migrations.length) return { _tag: "Newer", version } as const
  if (version < 1) return { _tag: "Partial" } as const
  // Lists of columns are slow to come, because DuckDB binds every view for them.
  const isWhole = isAsCreated(relations) || hasAllColumns(yield* query<ColumnRow>(sql, columnsSql))
  return isWhole ? ({ _tag: "Ours", version } as const) : ({ _tag: "Partial" } as const)
})

/**
 * Runs the steps after `version` (0 for an empty database); `program` names who did it. A failing step leaves the
 * database as it was before that step.
 */
export const migrate = Effect.fn("Migrations.migrate")(function* (
  version: number,
  program: string,
  steps: ReadonlyArray<Migration> = migrations
) {
  const sql = yield* DuckDbClient
  const missing = steps.filter((step) => step.version > version)
  for (const step of missing) {
    const applied = { version: step.version, name: step.name, applied_at: yield* now, program }
    yield* sql.withTransaction(
      Effect.gen(function* () {
        yield* Effect.forEach(step.statements, (statement) => query(sql, statement), { discard: true })
        // In the same transaction: tables that no row tells of would be refused.
        yield* record("schema_migrations", [applied])
        yield* reach("tables/changed")
      })
    )
    yield* reach("tables/committed")
    yield* checkpoint(sql)
  }
  return missing.map((step) => step.version)
})

interface RelationRow {
  readonly schema_name: string
  readonly name: string
  /** The statement that creates it, as DuckDB words it; none of views. */
  readonly sql: string | null
}

/** Whether DuckDB words the tables as this version does; one that words them otherwise is asked for their columns. */
const isAsCreated = (relations: ReadonlyArray<RelationRow>): boolean => {
  const found = new Set(relations.map(({ sql }) => wordingOf(sql ?? "")))
  return createTablesSql
    .filter((statement) => statement.startsWith("CREATE TABLE"))
    .every((statement) => found.has(wordingOf(statement)))
}

/** A statement without what DuckDB lays out in its own way: quotes, white space next to punctuation, the end. */
const wordingOf = (statement: string): string =>
  statement
    .replaceAll(/[";]/g, "")
    .replaceAll(/\s*([(),])\s*/g, "$1")
    .trim()

interface ColumnRow {
  readonly table_name: string
  readonly column_name: string
  readonly data_type: string
  readonly is_nullable: boolean
}

const hasAllColumns = (rows: ReadonlyArray<ColumnRow>): boolean => {
  const found = new Map<string, Array<string>>()
  for (const row of rows) {
    const columns = found.get(row.table_name) ?? []
    columns.push(`${row.column_name} ${row.data_type} ${row.is_nullable}`)
    found.set(row.table_name, columns)
  }
  return tableNames.every((table) => {
    const expected = tableColumns(table).map(({ name, type, nullable }) => `${name} ${type} ${nullable}`)
    return found.get(table)?.join("\n") === expected.join("\n")
  })
}
