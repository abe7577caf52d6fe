/** Reading what a database knows. */
import { openStore } from "@mallard/duckdb-store"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"

/** Opens the database to read, for as long as `use` takes. */
export const reading = <A, E, R>(database: string, use: Effect.Effect<A, E, R>) =>
  Effect.scoped(
    Effect.flatMap(openStore({ path: database, readonly: true }), (client) =>
      Effect.provideService(use, DuckDbClient, client)
    )
  )

/** The latest revision of each cohort, deleted ones included. */
export const HEADS =
  "(SELECT * FROM mallard.revisions QUALIFY row_number() OVER (PARTITION BY cohort_id ORDER BY seq DESC) = 1)"
