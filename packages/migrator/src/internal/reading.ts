/** Reading what a database knows. */
import { openStore, StoreError } from "@mallard/duckdb-store"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { begunRuns } from "./begun.ts"

/** Opens the database to read, for as long as `use` takes. */
export const reading = <A, E, R>(database: string, use: Effect.Effect<A, E, R>) =>
  Effect.scoped(
    Effect.flatMap(openStore({ path: database, readonly: true }), (client) =>
      Effect.provideService(use, DuckDbClient, client)
    )
  )

/** The same, or what is known without a database where a run was cut short before it had made one. */
export const readingIfThere = <A, E, R>(database: string, use: Effect.Effect<A, E, R>, none: A) =>
  Effect.catchIf(
    reading(database, use),
    (error) => error instanceof StoreError && error.reason === "missing" && begunRuns(database).length > 0,
    () => Effect.succeed(none)
  )
