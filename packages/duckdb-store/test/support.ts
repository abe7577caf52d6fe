import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openStore, type StoreConfig } from "../src/index.ts"

/** A folder that is gone with the scope. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "duckdb-store-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** Runs an effect on an opened store that is closed at the end. */
export const withStore = <A, E, R>(config: StoreConfig, effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(openStore(config), (sql) => Effect.provideService(effect, DuckDbClient, sql)))

/** Runs an effect on a new store in a folder of its own. */
export const inNewStore = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(temporaryFolder, (folder) => withStore({ path: join(folder, "store.duckdb") }, effect))

/** Rows of a query as arrays of values. */
export const valuesOf = (query: string) => Effect.flatMap(DuckDbClient, (sql) => sql.unsafe(query).values)

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
