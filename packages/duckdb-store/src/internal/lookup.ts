/** Finding cohorts by what people call them. */

import { type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { type SqlError } from "effect/sql"
import { CohortNotFound } from "../CohortErrors.ts"
import { nearestNames } from "../Naming.ts"
import { type RevisionState } from "./content.ts"
import { type Heads } from "./heads.ts"

/** How cohorts are looked up by name, else by id: live ones, and any at all. */
export interface Lookup {
  readonly live: (nameOrId: string) => Effect.Effect<RevisionState, CohortNotFound | SqlError.SqlError>
  readonly any: (nameOrId: string) => Effect.Effect<RevisionState, CohortNotFound | SqlError.SqlError>
  /** Fails, and suggests the names that are most like the wanted one. */
  readonly notFound: (wanted: string) => Effect.Effect<never, CohortNotFound | SqlError.SqlError>
}

/** An open database and how its cohorts are found: what all that reads or changes them starts from. */
export interface OpenCohorts {
  readonly sql: DuckDbSqlClient
  readonly heads: Heads
  readonly lookup: Lookup
}

export const makeLookup = (heads: Heads): Lookup => {
  const notFound: Lookup["notFound"] = Effect.fnUntraced(function* (wanted) {
    return yield* new CohortNotFound({ wanted, suggestions: nearestNames(wanted, yield* heads.names) })
  })
  return {
    live: Effect.fnUntraced(function* (nameOrId) {
      const head = yield* heads.found(nameOrId)
      if (head?.change === "deleted")
        return yield* new CohortNotFound({ wanted: nameOrId, suggestions: [], isDeleted: true })
      return head === undefined ? yield* notFound(nameOrId) : head
    }),
    any: Effect.fnUntraced(function* (nameOrId) {
      const head = yield* heads.found(nameOrId)
      return head === undefined ? yield* notFound(nameOrId) : head
    }),
    notFound
  }
}
