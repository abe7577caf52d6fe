import { DuckDbClient, type DuckDbClientConfig } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** A folder that is gone with the scope. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "sql-duckdb-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** Runs an effect with a client of its own, closed at the end. */
export const withClient = <A, E, R>(
  config: DuckDbClientConfig,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, unknown, Exclude<R, DuckDbClient | SqlClient.SqlClient>> =>
  Effect.provide(effect, DuckDbClient.layer(config), { local: true })

/** The same on a database in memory. */
export const inMemory = <A, E, R>(effect: Effect.Effect<A, E, R>, config?: Partial<DuckDbClientConfig>) =>
  withClient({ filename: ":memory:", ...config }, effect)

export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs the text of a TypeScript module in a process of its own, with this package as its folder. */
export const runChild = (source: string, wrapper: ReadonlyArray<string> = []) =>
  Effect.callback<Finished>((resume) => {
    const [command = process.execPath, ...rest] = [
      ...wrapper,
      process.execPath,
      "--input-type=module-typescript",
      "-e",
      source
    ]
    execFile(command, rest, { cwd: join(import.meta.dirname, "..") }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : 1
      resume(Effect.succeed({ code, stdout, stderr }))
    })
  })
