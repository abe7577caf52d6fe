/**
 * The database as the tools use it: opened for one call, read-only unless the call writes, and closed right after, so that
 * the command line and other servers can use the same file. Waits while another process has it; never for long.
 */
import {
  CohortStore,
  LockWait,
  openStore,
  queryDatabase,
  type QueryError,
  type QueryOptions,
  type QueryPage,
  type StoreConfig,
  type StoreError
} from "@mallard/duckdb-store"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Clock, Effect, Random, Semaphore } from "effect"
import type { Call } from "./ToolServer.ts"

/** Which database, and how patiently. */
export interface CohortsConfig {
  readonly path: string
  /** Used in its place when that one turns out to be somebody else's. */
  readonly instead?: string | undefined
  /** Name and version of the program, as the database records them. */
  readonly program: string
  /** Milliseconds to wait for another process to close the database; 20,000 if not given. */
  readonly patience?: number | undefined
}

/** Called while the database is open elsewhere, with the process that has it if that is known. */
export type Waiting = (holder: number | undefined) => Effect.Effect<void>

/** Tells whoever made a call that it waits. */
export const waiting =
  (call: Call): Waiting =>
  (holder) =>
    call.progress(`Waiting: the database is open in ${holder === undefined ? "another process" : `process ${holder}`}`)

type Use<A, E> = (cohorts: CohortStore["Service"], client: DuckDbSqlClient) => Effect.Effect<A, E>

/** The database, for one call at a time. */
export interface Cohorts {
  readonly read: <A, E>(waiting: Waiting, use: Use<A, E>) => Effect.Effect<A, E | StoreError>
  /** Creates the database when it is missing. */
  readonly write: <A, E>(waiting: Waiting, use: Use<A, E>) => Effect.Effect<A, E | StoreError>
  readonly query: (
    waiting: Waiting,
    options: Omit<QueryOptions, "path">
  ) => Effect.Effect<QueryPage, QueryError | StoreError>
}

const PATIENCE_MS = 20_000
const FIRST_WAIT_MS = 20
const LONGEST_WAIT_MS = 400
const READERS = 8
/** Each runs in a process of its own. */
const QUERIES = 2

/** Waiting is done here, where a client can be told of it. */
const openAtOnce = (config: StoreConfig) => Effect.provideService(openStore(config), LockWait, { milliseconds: 0 })

export const makeCohorts = Effect.fnUntraced(function* (config: CohortsConfig) {
  // A file has one instance per process, open in one way: many calls that read, or one that writes, in order of arrival.
  const door = yield* Semaphore.make(1)
  const seats = yield* Semaphore.make(READERS)
  const queries = yield* Semaphore.make(QUERIES)
  let path = config.path
  const patience = config.patience ?? PATIENCE_MS

  const patiently = Effect.fnUntraced(function* <A, E>(
    waiting: Waiting,
    started: number,
    attempt: (path: string) => Effect.Effect<A, E | StoreError>
  ) {
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(LONGEST_WAIT_MS, wait * 1.5)) {
      const problem = yield* attempt(path).pipe(
        Effect.map((value) => ({ value })),
        Effect.catch((error) => (isStoreError(error) ? Effect.succeed({ error }) : Effect.fail(error)))
      )
      if ("value" in problem) return problem.value
      const { error } = problem
      if (error.reason === "foreign" && config.instead !== undefined && path !== config.instead) {
        path = config.instead
        continue
      }
      const now = yield* Clock.currentTimeMillis
      if (error.reason !== "locked" || now - started >= patience) return yield* Effect.fail(error)
      yield* waiting(error.holder)
      yield* Effect.sleep(wait * (yield* Random.nextBetween(0.5, 1.5)))
    }
  })

  /** Patience begins here, so that many calls in line do not wait one after the other for what is locked. */
  const seated = <A, E>(
    seatsTaken: number,
    waiting: Waiting,
    attempt: (path: string) => Effect.Effect<A, E | StoreError>
  ): Effect.Effect<A, E | StoreError> =>
    Effect.flatMap(Clock.currentTimeMillis, (started) =>
      Effect.scoped(
        Effect.andThen(door.withPermits(1)(seats.takeScoped(seatsTaken)), patiently<A, E>(waiting, started, attempt))
      )
    )

  const open = <A, E>(readonly: boolean, waiting: Waiting, use: Use<A, E>): Effect.Effect<A, E | StoreError> =>
    seated<A, E>(readonly ? 1 : READERS, waiting, (file) =>
      Effect.scoped(
        Effect.flatMap(openAtOnce({ path: file, readonly, program: config.program }), (client) =>
          CohortStore.use((cohorts) => use(cohorts, client)).pipe(
            Effect.provide(CohortStore.layerNoDeps),
            Effect.provideService(DuckDbClient, client)
          )
        )
      )
    )

  return {
    read: (waiting, use) => open(true, waiting, use),
    write: (waiting, use) => open(false, waiting, use),
    query: (waiting, options) =>
      queries.withPermits(1)(seated(1, waiting, (file) => queryDatabase({ ...options, path: file })))
  } satisfies Cohorts
})

const isStoreError = (error: unknown): error is StoreError =>
  error instanceof Error && "_tag" in error && error._tag === "StoreError"
