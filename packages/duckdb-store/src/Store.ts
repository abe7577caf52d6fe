/**
 * Opening a database of ours. A new one is built aside and gets its name only when it is whole; an existing one is
 * looked at before anything is changed, and refused if it is not ours.
 */

import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient } from "effect/sql"
import { availableParallelism } from "node:os"
import { basename, dirname } from "node:path"
import {
  createFolderOf,
  fileNumber,
  hasLog,
  hasName,
  logPath,
  makePrivate,
  nameDatabase,
  ownPath,
  removeDatabase,
  temporaryPath
} from "./internal/files.ts"
import { checkpoint, checkpointOptions } from "./Checkpoint.ts"
import { reach } from "./Failpoints.ts"
import { namesBeside, removeLeftovers, removeSpill } from "./Leftovers.ts"
import { whileLocked } from "./LockWait.ts"
import { deleteUnrecordedRows } from "./Maintenance.ts"
import { limitBeside } from "./Memory.ts"
import { inspectSchema, migrate, type Migration, migrations } from "./Migrations.ts"
import { queryRows } from "./Rendering.ts"
import { StoreError, type StoreReason, toStoreError } from "./StoreError.ts"

/** Which database, and how to open it. */
export interface StoreConfig {
  /** Of a file: `:memory:` is refused, because a store is written, verified and opened again by its file. */
  readonly path: string
  /** Opens an existing database for reading only. Without it, a missing one is created. */
  readonly readonly?: boolean | undefined
  /** Limit of DuckDB's own memory, such as `1GB`; if not given, its share in `Memory.ts`. What does not fit goes to `temp`. */
  readonly memoryLimit?: string | undefined
  /** Threads of DuckDB; half as many as there are cores if not given. */
  readonly threads?: number | undefined
  /** Folder for what does not fit into memory. */
  readonly temp?: string | undefined
  /** Name and version of the program, for the rows about migrations of the tables. */
  readonly program?: string | undefined
  /** Bytes that a database which is made here takes in at once, as far as known: see `blockBytes`. */
  readonly expectedBytes?: number | undefined
}

/**
 * Opens the database until the scope closes. For writing: creates a missing one and the folders above it, migrates an
 * older one, and deletes rows that no commit recorded. When the scope of a writer closes, no write-ahead log is left.
 * One that another process has open is waited for as `LockWait` says.
 */
export const openStore = (
  config: StoreConfig,
  steps: ReadonlyArray<Migration> = migrations
): Effect.Effect<DuckDbSqlClient, StoreError, Scope.Scope> => whileLocked(openNow(config, steps))

/** The version of DuckDB that has the database open, as `v1.5.6`. */
export const engineVersion = (client: DuckDbSqlClient) =>
  Effect.map(queryRows(client, "SELECT version()"), ([row]) => String(row?.[0] ?? ""))

const openNow = (
  config: StoreConfig,
  steps: ReadonlyArray<Migration>
): Effect.Effect<DuckDbSqlClient, StoreError, Scope.Scope> =>
  Effect.gen(function* () {
    const path = ownPath(config.path)
    // DuckDB's name for a database without a file: here it would be that of a file in the working folder.
    if (config.path === ":memory:") return yield* new StoreError({ reason: "bad-path", path: config.path })
    if (!(yield* attempt(path, () => hasName(path)))) yield* create({ ...config, path }, steps)
    const log = hasLog(path)
    const sql = yield* openNamed({ ...config, path })
    yield* prepare(sql, { ...config, path }, steps).pipe(
      Effect.provideService(DuckDbClient, sql),
      Effect.mapError((cause) => toStoreError(path, cause, log))
    )
    return sql
  })

/** A layer of `DuckDbClient`, and of Effect's `SqlClient`, on a database opened by `openStore`. */
export const storeLayer = (config: StoreConfig): Layer.Layer<DuckDbClient | SqlClient.SqlClient, StoreError> =>
  Layer.effectContext(
    Effect.map(openStore(config), (sql) => Context.make(DuckDbClient, sql).pipe(Context.add(SqlClient.SqlClient, sql)))
  )

/** What the ledger names as the program where the configuration names none. */
export const defaultProgram = "mallard"

/** DuckDB names a database after its file, and `mallard.patients` must not be ambiguous in `mallard.duckdb`. */
const needsAlias = (path: string): boolean =>
  basename(path)
    .toLowerCase()
    .split(".")
    .some((part) => part === "mallard" || part === "main" || part === "temp" || part === "system")

/**
 * DuckDB's threads wait for each other by spinning, and the program itself needs a core: half of them is quicker than all.
 * Statements that can run at the same time do so instead.
 */
const THREADS = Math.max(1, Math.floor(availableParallelism() / 2))

/**
 * Bytes of each block of a database that is made to take in so much at once; an existing one keeps its own. Small tables
 * leave most of a block empty: with DuckDB's 256 KiB, twenty short documents take 11 MB, with 64 KiB 4, in the same time.
 * What has more than some 30 MB takes a tenth more time in small blocks, because it is compressed in smaller pieces.
 */
export const blockBytes = (expectedBytes = 0): number => (expectedBytes > 32 << 20 ? 256 << 10 : 64 << 10)

const attempt = <A>(path: string, f: () => A): Effect.Effect<A, StoreError> =>
  Effect.try({ try: f, catch: (cause) => toStoreError(path, cause) })

const openFile = (config: StoreConfig): Effect.Effect<DuckDbSqlClient, StoreError, Scope.Scope> =>
  Effect.suspend(() => {
    const log = hasLog(config.path)
    return DuckDbClient.make({
      filename: config.path,
      readonly: config.readonly,
      memoryLimit: config.memoryLimit ?? limitBeside(0),
      threads: config.threads ?? THREADS,
      tempDirectory: config.temp,
      alias: needsAlias(config.path) ? "cohorts" : undefined,
      // Ids belong to one writer at a time: two stores on one instance would give the same ones to different rows.
      exclusive: config.readonly !== true,
      options:
        config.readonly === true
          ? {}
          : { ...checkpointOptions, default_block_size: String(blockBytes(config.expectedBytes)) }
    }).pipe(
      Effect.provide(Reactivity.layer),
      Effect.mapError((cause) => toStoreError(config.path, cause, log))
    )
  })

/**
 * Opens the file that has this name. What a purge replaces between the moments at which DuckDB opens it and locks it would
 * have no name any more, and what is committed into it would be lost.
 */
const openNamed = Effect.fnUntraced(function* (config: StoreConfig) {
  const { path } = config
  const scope = yield* Scope.fork(yield* Effect.scope)
  const found = yield* attempt(path, () => fileNumber(path))
  const sql = yield* Scope.provide(openFile(config), scope)
  yield* reach("database/opened")
  if (found === (yield* attempt(path, () => fileNumber(path)))) return sql
  yield* Scope.close(scope, Exit.void)
  return yield* new StoreError({ reason: "locked", path })
})

/** Builds a new database aside. If another process is quicker, its database stands. */
const create = Effect.fnUntraced(function* (config: StoreConfig, steps: ReadonlyArray<Migration>) {
  const { path } = config
  if (config.readonly === true) return yield* new StoreError({ reason: "missing", path })
  // DuckDB would replay it into the new database.
  if (hasLog(path)) return yield* new StoreError({ reason: "wal", path, cause: new Error(`${logPath(path)} exists`) })
  const building = temporaryPath(path)
  // Its name is one for the whole process.
  if (beingBuilt.has(building)) return yield* new StoreError({ reason: "locked", path, holder: process.pid })
  yield* Effect.acquireUseRelease(
    Effect.sync(() => beingBuilt.add(building)),
    () => build(config, building, steps),
    () => Effect.sync(() => beingBuilt.delete(building))
  )
})

/** Databases that this process is building. */
const beingBuilt = new Set<string>()

const build = Effect.fnUntraced(function* (config: StoreConfig, building: string, steps: ReadonlyArray<Migration>) {
  const { path } = config
  yield* Effect.mapError(
    attempt(path, () => {
      createFolderOf(path)
      removeDatabase(building)
    }),
    inMaking
  )
  yield* Effect.ensuring(
    Effect.andThen(
      Effect.scoped(
        Effect.gen(function* () {
          const sql = yield* openFile({ ...config, path: building })
          // Before anything is in it; a program that uses this package need not have an umask for private files.
          yield* attempt(path, () => makePrivate(building))
          yield* Effect.provideService(migrate(0, config.program ?? defaultProgram, steps), DuckDbClient, sql)
        })
      ),
      reach("database/built").pipe(
        Effect.andThen(attempt(path, () => nameDatabase(building, path))),
        Effect.andThen(reach("database/named"))
      )
    ),
    Effect.ignore(attempt(path, () => removeDatabase(building)))
  ).pipe(
    Effect.mapError((cause) =>
      inMaking(toStoreError(path, cause instanceof StoreError ? (cause.cause ?? cause) : cause))
    )
  )
})

/** What is being made can be neither missing nor damaged: the disk is at fault. */
const inMaking = (error: StoreError): StoreError =>
  error.reason === "missing" || error.reason === "damaged"
    ? new StoreError({ reason: "io", path: error.path, cause: error.cause })
    : error

const prepare = Effect.fnUntraced(function* (
  sql: DuckDbSqlClient,
  config: StoreConfig,
  steps: ReadonlyArray<Migration>
) {
  const state = yield* inspectSchema
  const refuse = (reason: StoreReason) => new StoreError({ reason, path: config.path })
  const isReader = config.readonly === true
  switch (state._tag) {
    case "Foreign":
      return yield* refuse("foreign")
    case "Partial":
      return yield* refuse("damaged")
    case "Newer":
      return yield* refuse("newer")
    case "Empty":
      if (isReader) return yield* refuse("missing")
      yield* migrate(0, config.program ?? defaultProgram, steps)
      break
    case "Ours":
      if (!isReader) yield* migrate(state.version, config.program ?? defaultProgram, steps)
  }
  if (isReader) return
  removeLeftovers(dirname(config.path), namesBeside(config.path))
  removeSpill(config.path)
  yield* deleteUnrecordedRows()
  if (hasLog(config.path)) yield* checkpoint(sql)
})
