import { makeRenderer, openStore, partText, queryRows, tableNames } from "@mallard/duckdb-store"
import { tempDirectory, writeFiles } from "@mallard/testkit"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { defaultLimits, migrate, type ItemReport, type MigrateOptions, type RunReport } from "@mallard/migrator"

/** Files by path relative to a folder. */
export type Files = Readonly<Record<string, string | Uint8Array>>

/** A folder for one test: `source` holds its files, `database` does not exist yet. */
export const folderOf = Effect.fnUntraced(function* (files: Files) {
  const folder = yield* tempDirectory
  const source = join(folder, "source")
  yield* Effect.promise(() => writeFiles(source, files))
  return { folder, source, database: join(folder, "db", "test.duckdb") }
})

/** Runs a migration with the defaults of the command line. */
export const run = (database: string, paths: ReadonlyArray<string>, options: Partial<MigrateOptions> = {}) =>
  migrate({ paths, database, onConflict: "fail", dryRun: false, program: "test", ...defaultLimits, ...options })

/** The bytes of a database with the tables and nothing in them. */
const makeEmptyDatabase = Effect.scoped(
  Effect.gen(function* () {
    const path = join(yield* tempDirectory, "empty.duckdb")
    yield* Effect.scoped(openStore({ path, program: "test" }))
    return readFileSync(path)
  })
)

let madeDatabase: Promise<Buffer> | undefined

/** Puts an empty database in its place: making the tables takes longer than most of what tests do with them. */
export const beginEmpty = (database: string) =>
  Effect.promise(async () => {
    const bytes = await (madeDatabase ??= Effect.runPromise(makeEmptyDatabase))
    mkdirSync(dirname(database), { recursive: true, mode: 0o700 })
    writeFileSync(database, bytes, { mode: 0o600 })
  })

/** Migrates files into a database of their own, whose tables are there. */
export const migrated = Effect.fnUntraced(function* (files: Files, options: Partial<MigrateOptions> = {}) {
  const { database, folder, source } = yield* folderOf(files)
  if (options.dryRun !== true) yield* beginEmpty(database)
  const report = yield* run(database, [source], options)
  return { database, folder, source, report }
})

export type Row = Readonly<Record<string, unknown>>

/** Rows of a query on a database that nobody else has open. */
export const query = (database: string, sql: string) =>
  Effect.scoped(Effect.flatMap(openStore({ path: database, readonly: true }), (client) => client.unsafe<Row>(sql)))

/** The rows of all tables, by table. */
export const contents = (database: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openStore({ path: database, readonly: true })
      const tables = new Map<string, ReadonlyArray<string>>()
      for (const table of tableNames) {
        const rows = yield* queryRows(client, `SELECT t::VARCHAR AS text FROM mallard."${table}" t ORDER BY text`)
        tables.set(
          table,
          rows.map(([text]) => String(text))
        )
      }
      return tables
    })
  )

/** How many rows each table that has any holds, by table. */
export const rowCounts = (database: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openStore({ path: database, readonly: true })
      const counts = tableNames.map((table) => `(SELECT count(*) FROM mallard."${table}")`)
      const [row = []] = yield* queryRows(client, `SELECT ${counts.join(", ")}`)
      const named = tableNames.map((table, at) => [table, Number(row[at])] as const)
      return Object.fromEntries(named.filter(([, count]) => count > 0))
    })
  )

export const ledgerTables: ReadonlyArray<string> = [
  "commits",
  "migration_runs",
  "migration_items",
  "data_integrity_checks",
  "schema_migrations",
  "kinds"
]

/** The compact texts of all current documents, by cohort name and path of the part. */
export const exported = (database: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openStore({ path: database, readonly: true })
      // What DuckDB renders and what the other renderer does: a verification of few rows asks the latter alone.
      const renderer = yield* makeRenderer(client, { leastRows: 1 })
      const texts = new Map<string, string>()
      const parts = yield* queryRows(
        client,
        "SELECT h.name, p.path, p.content_id, p.part FROM mallard.heads h JOIN mallard.parts p ON p.content_id = h.content_id ORDER BY h.name, p.part"
      )
      for (const [name, path, contentId, part] of parts) {
        const text = yield* partText(client, renderer, Number(contentId), Number(part))
        texts.set(`${String(name)}/${String(path)}`, text.toString("utf8"))
      }
      return texts
    })
  )

/** Every entity of current cohorts as `path kind pointer`, sorted. */
export const entities = (database: string) =>
  Effect.map(query(database, "SELECT source_path, kind, pointer FROM cohort_entities"), (rows) =>
    rows.map((row) => `${String(row["source_path"])} ${String(row["kind"])} ${String(row["pointer"])}`).sort()
  )

/** What a cohort is, apart from ids and clock times: comparable between databases. */
export const cohorts = (database: string) =>
  query(database, "SELECT name, seq, digest, entities::VARCHAR AS entities FROM cohorts ORDER BY name")

export const itemOf = (report: RunReport, name: string): ItemReport => {
  const item = report.items.find(({ path }) => path.endsWith(`/${name}`))
  if (item === undefined) throw new Error(`No item ${name}`)
  return item
}

/** The outcome of each item by the last step of its path. */
export const outcomes = (report: RunReport): Readonly<Record<string, string>> =>
  Object.fromEntries(report.items.map(({ path, outcome }) => [path.split("/").at(-1) ?? path, outcome]))

/** `code` at `pointer` of each remark, or `code` alone. */
export const remarksOf = (item: ItemReport): ReadonlyArray<string> =>
  item.remarks.map(({ code, pointer }) => (pointer === null ? code : `${code} ${pointer}`))

export const sha256 = (bytes: string | Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

export const hasLog = (database: string): boolean => existsSync(`${database}.wal`)
