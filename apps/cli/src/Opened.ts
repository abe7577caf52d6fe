/** A database opened for reading, with the cohorts in it. */
import { CohortStore, openStore, type StoreError } from "@mallard/duckdb-store"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { withDatabase } from "./Database.ts"
import { CommandFailed, exitCode } from "./Failure.ts"
import type { Session } from "./Session.ts"
import { printable } from "./Text.ts"

export interface Opened {
  readonly path: string
  readonly client: DuckDbSqlClient
  readonly cohorts: CohortStore["Service"]
}

/** Runs `use` on the chosen database; it is closed afterwards. */
export const withCohorts = <A, E>(
  session: Session,
  db: string | undefined,
  use: (opened: Opened) => Effect.Effect<A, E>
): Effect.Effect<A, E | StoreError | CommandFailed> =>
  withDatabase<A, E | StoreError, never>(session, db, (path) =>
    Effect.scoped(
      Effect.flatMap(openStore({ path, readonly: true }), (client) =>
        CohortStore.use((cohorts) => use({ path, client, cohorts })).pipe(
          Effect.provide(CohortStore.layerNoDeps),
          Effect.provideService(DuckDbClient, client)
        )
      )
    )
  )

/** No cohort has the name; says which ones are spelt much alike. */
export const noSuchCohort = (session: Session, wanted: string, suggestions: ReadonlyArray<string>): CommandFailed =>
  new CommandFailed({
    code: exitCode.failed,
    what: `There is no cohort "${printable(wanted)}".`,
    next:
      suggestions.length === 0
        ? [`${session.invocation} list shows what there is.`]
        : ["Did you mean this?", ...suggestions.map((name) => `  ${printable(name)}`)]
  })
