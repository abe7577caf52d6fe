/**
 * The tables of the schema `mallard`, declared once: statements that create them, lists of columns, the order of row
 * digests and the types of rows all come from here. NOT NULL is the only constraint.
 */

import { createTableSql, type EntityKind, JSON_KIND, kinds } from "@mallard/schema"
import { quoteName } from "./Quoting.ts"

/** The SQL types of the fixed tables. */
export type FixedType = "BIGINT" | "INTEGER" | "UTINYINT" | "BOOLEAN" | "UUID" | "TIMESTAMP" | "VARCHAR"

/** The tables that are the same whatever kinds exist: column names to types, `!` for NOT NULL, in column order. */
export const fixedTables = {
  entity_shapes: {
    shape_id: "INTEGER!",
    kind: "UTINYINT!",
    template: "VARCHAR!",
    filled: "VARCHAR!",
    row_digest: "VARCHAR!"
  },
  links: {
    parent_kind: "UTINYINT!",
    parent_entity_id: "BIGINT!",
    collection: "INTEGER!",
    ordinal: "INTEGER!",
    pointer: "VARCHAR!",
    child_kind: "UTINYINT!",
    child_entity_id: "BIGINT!"
  },
  revisions: {
    revision_id: "BIGINT!",
    cohort_id: "UUID!",
    seq: "INTEGER!",
    predecessor: "BIGINT",
    run_id: "UUID",
    change: "VARCHAR!",
    name: "VARCHAR!",
    description: "VARCHAR",
    tags: "VARCHAR!",
    product: "VARCHAR",
    legacy_id: "VARCHAR",
    created_at: "TIMESTAMP",
    updated_at: "TIMESTAMP",
    saved_at: "TIMESTAMP!",
    digest: "VARCHAR!",
    content_id: "BIGINT!",
    row_digest: "VARCHAR!"
  },
  parts: {
    content_id: "BIGINT!",
    part: "INTEGER!",
    path: "VARCHAR!",
    format: "VARCHAR!",
    bytes: "BIGINT!",
    source_sha256: "VARCHAR!",
    digest: "VARCHAR!",
    encoding: "VARCHAR!",
    row_digest: "VARCHAR!"
  },
  part_texts: { content_id: "BIGINT!", part: "INTEGER!", piece: "INTEGER!", text: "VARCHAR!" },
  collections: {
    content_id: "BIGINT!",
    part: "INTEGER!",
    collection: "INTEGER!",
    pointer: "VARCHAR!",
    list: "BOOLEAN!",
    row_digest: "VARCHAR!"
  },
  cohort_members: {
    content_id: "BIGINT!",
    part: "INTEGER!",
    collection: "INTEGER!",
    ordinal: "BIGINT!",
    kind: "UTINYINT!",
    entity_id: "BIGINT!"
  },
  commits: {
    commit_id: "BIGINT!",
    attempt: "UUID!",
    run_id: "UUID",
    committed_at: "TIMESTAMP!",
    table_name: "VARCHAR!",
    first_id: "BIGINT!",
    row_count: "BIGINT!",
    row_digest: "VARCHAR!"
  },
  migration_runs: {
    run_id: "UUID!",
    event: "VARCHAR!",
    at: "TIMESTAMP!",
    outcome: "VARCHAR",
    options: "VARCHAR",
    totals: "VARCHAR",
    program: "VARCHAR!",
    row_digest: "VARCHAR!"
  },
  migration_items: {
    run_id: "UUID!",
    item: "INTEGER!",
    path: "VARCHAR!",
    outcome: "VARCHAR!",
    format: "VARCHAR",
    bytes: "BIGINT",
    source_sha256: "VARCHAR",
    revision_id: "BIGINT",
    cohort_id: "UUID",
    digest: "VARCHAR",
    entities: "VARCHAR!",
    remarks: "VARCHAR!",
    row_digest: "VARCHAR!"
  },
  data_integrity_checks: {
    check_id: "BIGINT!",
    run_id: "UUID",
    at: "TIMESTAMP!",
    checked: "BIGINT!",
    matched: "BIGINT!",
    mismatched: "BIGINT!",
    row_digest: "VARCHAR!"
  },
  migration_backups: {
    backup_id: "UUID!",
    run_id: "UUID",
    at: "TIMESTAMP!",
    path: "VARCHAR!",
    files: "BIGINT!",
    bytes: "BIGINT!",
    manifest_sha256: "VARCHAR!",
    row_digest: "VARCHAR!"
  },
  schema_migrations: {
    version: "INTEGER!",
    name: "VARCHAR!",
    applied_at: "TIMESTAMP!",
    program: "VARCHAR!",
    row_digest: "VARCHAR!"
  },
  kinds: { code: "UTINYINT!", kind: "VARCHAR!", table_name: "VARCHAR!" }
} as const satisfies Readonly<Record<string, Readonly<Record<string, FixedType | `${FixedType}!`>>>>

/** The names of the fixed tables. */
export type FixedTableName = keyof typeof fixedTables

/** One column of a table. */
export interface TableColumn {
  readonly name: string
  readonly type: string
  readonly nullable: boolean
}

/** What a program gives for, or reads from, a column of a fixed table. */
export type FixedCell<Type extends string> = Type extends `${infer Plain}!` ? PlainCell<Plain> : PlainCell<Type> | null

type PlainCell<Type extends string> = Type extends "BIGINT"
  ? number | bigint
  : Type extends "INTEGER" | "UTINYINT"
    ? number
    : Type extends "BOOLEAN"
      ? boolean
      : Type extends "TIMESTAMP"
        ? Timestamp
        : string

/** A point in time: a `Date`, microseconds since 1970, or text `YYYY-MM-DD HH:MM:SS[.ffffff]` (or with a `T`). */
export type Timestamp = Date | bigint | string

/** A row of a fixed table. */
export type FixedRow<Name extends FixedTableName> = {
  readonly [Column in keyof (typeof fixedTables)[Name]]: FixedCell<(typeof fixedTables)[Name][Column] & string>
}

/** The fixed tables that carry a digest of each row. */
export type DigestedTableName = {
  readonly [Name in FixedTableName]: (typeof fixedTables)[Name] extends { readonly row_digest: string } ? Name : never
}[FixedTableName]

const isFixed = (name: string): name is FixedTableName => Object.hasOwn(fixedTables, name)

const isDigested = (name: FixedTableName): name is DigestedTableName => "row_digest" in fixedTables[name]

/** The names of the fixed tables, in the order in which they are created. */
export const fixedTableNames: ReadonlyArray<FixedTableName> = Object.keys(fixedTables).filter(isFixed)

/** The names of the tables whose rows carry a digest. */
export const digestedTableNames: ReadonlyArray<DigestedTableName> = fixedTableNames.filter(isDigested)

/** Every kind that has a table, the internal kind `json` first. */
export const storedKinds: ReadonlyArray<EntityKind | typeof JSON_KIND> = [JSON_KIND, ...kinds]

/** The tables with dense ids of their own, and the column that holds them. */
export const idColumns: ReadonlyMap<string, string> = new Map([
  ...storedKinds.map((kind) => [kind.table, "entity_id"] as const),
  ["entity_shapes", "shape_id"] as const,
  ["revisions", "revision_id"] as const
])

/** The names of all tables, unqualified. */
export const tableNames: ReadonlyArray<string> = [...storedKinds.map(({ table }) => table), ...fixedTableNames]

const fixedColumns = (name: FixedTableName): ReadonlyArray<TableColumn> =>
  Object.entries<string>(fixedTables[name]).map(([column, type]) => ({
    name: column,
    type: type.replace("!", ""),
    nullable: !type.endsWith("!")
  }))

const required = (name: string, type: string): TableColumn => ({ name, type, nullable: false })

const kindColumns = (kind: EntityKind | typeof JSON_KIND): ReadonlyArray<TableColumn> => [
  required("entity_id", "BIGINT"),
  required("digest", "UUID"),
  ...("columns" in kind
    ? [
        required("shape_id", "INTEGER"),
        ...kind.columns.map(({ name, type }) => ({ name, type, nullable: true })),
        { name: "extra", type: "VARCHAR", nullable: true }
      ]
    : [required("extra", "VARCHAR")])
]

const columnsByTable: ReadonlyMap<string, ReadonlyArray<TableColumn>> = new Map([
  ...storedKinds.map((kind) => [kind.table, kindColumns(kind)] as const),
  ...fixedTableNames.map((name) => [name, fixedColumns(name)] as const)
])

/** The columns of a table of `mallard`, in order; the name is unqualified. Throws for a table that does not exist. */
export const tableColumns = (name: string): ReadonlyArray<TableColumn> => {
  const columns = columnsByTable.get(name)
  if (columns === undefined) throw new RangeError(`No such table: ${name}`)
  return columns
}

/** The statements that create the schema and all its tables. */
export const createTablesSql: ReadonlyArray<string> = [
  "CREATE SCHEMA mallard",
  ...storedKinds.map(createTableSql),
  ...fixedTableNames.map(
    (name) =>
      `CREATE TABLE mallard.${name} (\n  ${fixedColumns(name)
        .map((column) => `${quoteName(column.name)} ${column.type}${column.nullable ? "" : " NOT NULL"}`)
        .join(",\n  ")}\n)`
  )
]
