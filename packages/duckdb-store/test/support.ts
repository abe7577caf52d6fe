import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { idColumns, openStore, type StoreConfig, tableColumns } from "../src/index.ts"

/** A folder that is gone with the scope. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "duckdb-store-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** Runs an effect on an opened store that is closed at the end. */
export const withStore = <A, E, R>(config: StoreConfig, effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(openStore(config), (sql) => Effect.provideService(effect, DuckDbClient, sql)))

/** The bytes of a database with the tables and nothing in them. */
const makeEmptyStore = Effect.scoped(
  Effect.gen(function* () {
    const path = join(yield* temporaryFolder, "store.duckdb")
    yield* Effect.scoped(openStore({ path }))
    return readFileSync(path)
  })
)

let madeStore: Promise<Buffer> | undefined

/** Puts an empty store in its place: making the tables takes longer than most of what tests do with them. */
export const beginEmpty = (path: string) =>
  Effect.promise(async () =>
    writeFileSync(path, await (madeStore ??= Effect.runPromise(makeEmptyStore)), { mode: 0o600 })
  )

/** Runs an effect on an empty store in a folder of its own. */
export const inNewStore = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const path = join(yield* temporaryFolder, "store.duckdb")
    yield* beginEmpty(path)
    return yield* withStore({ path }, effect)
  })

/** Rows of a query as arrays of values. */
export const valuesOf = (query: string) => Effect.flatMap(DuckDbClient, (sql) => sql.unsafe(query).valuesUnprepared)

export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a module text in a process of its own, with this package as its folder. */
export const runChild = (source: string) =>
  Effect.callback<Finished>((resume) => {
    execFile(
      process.execPath,
      ["--input-type=module-typescript", "-e", source],
      { cwd: join(import.meta.dirname, "..") },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : 1
        resume(Effect.succeed({ code, stdout, stderr }))
      }
    )
  })

type Literal = string | number | boolean | null

const literal = (value: Literal): string =>
  typeof value === "string" ? `'${value.replaceAll("'", "''")}'` : String(value)

const fallback = (type: string): string =>
  type === "UUID"
    ? "'00000000-0000-0000-0000-000000000000'"
    : type === "TIMESTAMP"
      ? "'2026-01-01'"
      : type === "VARCHAR"
        ? "''"
        : type === "BOOLEAN"
          ? "false"
          : "0"

/** Writes rows by plain SQL; required columns without a value get an empty one, the others NULL. */
export const insert = (table: string, ...rows: ReadonlyArray<Readonly<Record<string, Literal>>>) =>
  Effect.gen(function* () {
    const sql = yield* DuckDbClient
    if (rows.length === 0) return
    const columns = tableColumns(table)
    for (const row of rows) {
      for (const name of Object.keys(row)) if (!columns.some((column) => column.name === name)) throw new Error(name)
    }
    const texts = rows.map(
      (row) =>
        `(${columns
          .map(({ name, type, nullable }) => {
            const value = row[name]
            return value === undefined ? (nullable ? "NULL" : fallback(type)) : literal(value)
          })
          .join(", ")})`
    )
    yield* sql.unsafe(`INSERT INTO mallard.${table} VALUES ${texts.join(", ")}`)
  })

/** The id of a made-up cohort. */
export const cohortId = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`

/** Makes the ranges of ids that the ledger records end where the tables end now. */
export const recordAll = Effect.gen(function* () {
  const sql = yield* DuckDbClient
  yield* sql.unsafe("DELETE FROM mallard.commits")
  for (const [table, column] of idColumns) {
    yield* sql.unsafe(`INSERT INTO mallard.commits
      SELECT 1, uuid(), NULL, TIMESTAMP '2026-01-01', '${table}', 1, max(${column}), '' FROM mallard.${table}
      HAVING count(*) > 0`)
  }
})
