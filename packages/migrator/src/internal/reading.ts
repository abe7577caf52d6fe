/** Reading what a database knows, and what is said when it fails. */
import { openStore, StoreError } from "@mallard/duckdb-store"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { SqlError } from "effect/sql"
import { MigrationFailed } from "../MigrateOptions.ts"
import { begunRuns } from "./begun.ts"

/** Opens the database to read, for as long as `use` takes. That it cannot be read is a `MigrationFailed`. */
export const reading = <A, E, R>(database: string, use: Effect.Effect<A, E, R>) =>
  Effect.scoped(
    Effect.flatMap(openStore({ path: database, readonly: true }), (client) =>
      Effect.provideService(use, DuckDbClient, client)
    )
  ).pipe(failing(database, "reading"))

/** The same, or what is known without a database where a run was cut short before it had made one. */
export const readingIfThere = <A, E, R>(database: string, use: Effect.Effect<A, E, R>, none: A) =>
  Effect.catchIf(
    reading(database, use),
    (error) => error instanceof StoreError && error.reason === "missing" && begunRuns(database).length > 0,
    () => Effect.succeed(none)
  )

/**
 * What the database does wrong is a `MigrationFailed` to whoever calls this package: no `SqlError` leaves it, for that says
 * neither which database it is nor what to do, and may quote what is stored.
 */
export const failing =
  (database: string, during: "reading" | "writing") =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.catchIf(effect, isSqlError<E>, (cause) =>
      Effect.fail(new MigrationFailed({ database, cause, ...(during === "reading" ? { while: during } : {}) }))
    )

const isSqlError = <E>(error: E): error is Extract<E, SqlError.SqlError> => error instanceof SqlError.SqlError
