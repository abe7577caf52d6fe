/** A database opened for reading, with the cohorts in it. */
import { existsSync } from "node:fs"
import { CohortStore, openStore, type StoreConfig, StoreError } from "@mallard/duckdb-store"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { withDatabase } from "./Database.ts"
import type { CommandFailed } from "./Failure.ts"
import type { Session } from "./Session.ts"
import { jobsOf, memoryOf } from "./Size.ts"

export interface Opened {
  readonly path: string
  readonly client: DuckDbSqlClient
  readonly cohorts: CohortStore["Service"]
}

/** How much of the machine reading takes, as `--jobs` and `--memory` say. */
interface ReadingBounds {
  readonly jobs?: number | undefined
  readonly memory?: string | undefined
}

/** Runs `use` on the chosen database, opened for reading; it is closed afterwards. */
export const withCohorts = <A, E>(
  session: Session,
  db: string | undefined,
  use: (opened: Opened) => Effect.Effect<A, E>,
  { jobs, memory }: ReadingBounds = {}
): Effect.Effect<A, E | StoreError | CommandFailed> =>
  Effect.gen(function* () {
    const threads = yield* jobsOf(jobs)
    const memoryLimit = (yield* memoryOf(memory))?.text
    return yield* withDatabase<A, E | StoreError, never>(session, db, (path) =>
      openedAt({ path, readonly: true, threads, memoryLimit }, use)
    )
  })

/** Runs `use` on the chosen database, opened for writing; a missing one is made only for what is to be saved. */
export const withChanges = <A, E>(
  session: Session,
  db: string | undefined,
  missing: "create" | "refuse",
  use: (opened: Opened) => Effect.Effect<A, E>
): Effect.Effect<A, E | StoreError | CommandFailed> =>
  withDatabase<A, E | StoreError, never>(session, db, (path) =>
    missing === "refuse" && !existsSync(path)
      ? Effect.fail(new StoreError({ reason: "missing", path }))
      : openedAt({ path, program: session.program }, use)
  )

const openedAt = <A, E>(
  config: StoreConfig,
  use: (opened: Opened) => Effect.Effect<A, E>
): Effect.Effect<A, E | StoreError> =>
  Effect.scoped(
    Effect.flatMap(openStore(config), (client) =>
      CohortStore.use((cohorts) => use({ path: config.path, client, cohorts })).pipe(
        Effect.provide(CohortStore.layerNoDeps),
        Effect.provideService(DuckDbClient, client)
      )
    )
  )
