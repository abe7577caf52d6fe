/**
 * An Effect `SqlClient` for DuckDB.
 *
 * It never loses data silently: an aborted transaction cannot be committed, a failed nested transaction takes the outer
 * one with it, a stream cannot be cut short by another statement, rows waiting in an appender end with their
 * transaction, and what DuckDB would alter or cut is refused. Values come back exactly unless told otherwise.
 */
import { type DuckDBAppender, type DuckDBConnection, type DuckDBDataChunk, type DuckDBType } from "@duckdb/node-api"
import { Config, Context, Effect, Exit, identity, Layer, Option, Pool, type Scope, Stream } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient, type SqlConnection, type SqlError, Statement } from "effect/sql"
import { DuckDbOpenError, DuckDbRefusal, refusalError, toSqlError } from "./DuckDbError.ts"
import {
  begin,
  commit,
  discardAppender,
  endLease,
  endStray,
  finishAppender,
  Lease,
  type LeasedAppender,
  openSession,
  refuse,
  rollback
} from "./internal/connection.ts"
import { openInstance } from "./internal/instances.ts"
import { TypedValue } from "./internal/parameters.ts"
import { type ResultMode } from "./internal/results.ts"

const TypeId = "~@mallard/sql-duckdb/DuckDbClient" as const

export type { ResultMode, TypedValue }

/** How to open a database, and how to speak to it. */
export interface DuckDbClientConfig {
  /** An absolute path, or `:memory:` for a database of its own that is gone with the client. */
  readonly filename: string
  /** Opens an existing file for reading only; other processes may read it meanwhile. */
  readonly readonly?: boolean | undefined
  /** Limit of DuckDB's own memory, such as `1GB`. DuckDB's default is 80 % of the machine's. */
  readonly memoryLimit?: string | undefined
  readonly threads?: number | undefined
  /** Folder for what does not fit into memory. DuckDB's default is `<filename>.tmp`. */
  readonly tempDirectory?: string | undefined
  /** Limit of the temporary folder, such as `10GB`. */
  readonly maxTempDirectorySize?: string | undefined
  /** Further settings of DuckDB at opening. Those that this client sets itself are refused. */
  readonly options?: Readonly<Record<string, string>> | undefined
  /**
   * Name of the database inside DuckDB, instead of the file's own. A file whose name is that of one of its schemas needs
   * it: DuckDB refuses `x.table` when both a database and a schema are called `x`.
   */
  readonly alias?: string | undefined
  /** Shares the database with no other client of this process: whichever opens it second is refused as `already-open`. */
  readonly exclusive?: boolean | undefined
  /** Number of connections; a stream, a reservation or a transaction keeps one to itself. At least 1; 4 by default. */
  readonly poolSize?: number | undefined
  /**
   * How values come back. `exact`, the default, loses nothing: 64 bit integers and wider as `bigint`, DECIMAL, DATE,
   * TIME and UUID as text, TIMESTAMP as ISO text (with `Z` if it has a zone), BLOB as bytes, MAP as `{ key, value }[]`.
   * `js` prefers JavaScript's types (DECIMAL as `number`, TIMESTAMP as `Date`), `json` what JSON can hold, and `native`
   * gives the classes of the DuckDB client.
   */
  readonly results?: ResultMode | undefined
  readonly spanAttributes?: Readonly<Record<string, unknown>> | undefined
  readonly transformResultNames?: ((name: string) => string) | undefined
  readonly transformQueryNames?: ((name: string) => string) | undefined
  /** Whether names inside nested values are transformed too. True by default. */
  readonly transformJson?: boolean | undefined
}

/** Where an appender writes, beyond the table's name. */
export interface AppenderOptions {
  readonly schema?: string | undefined
  readonly catalog?: string | undefined
}

/** Rows on their way into one table, inside one transaction. */
export interface DuckDbAppender {
  /** The native appender, for `append` and for its column types. Its own `closeSync` is not for callers. */
  readonly native: DuckDBAppender
  /**
   * Runs synchronous calls on the native appender: rows, or chunks filled by hand. If `f` throws, the appender is
   * closed, its waiting rows are dropped and the transaction can no longer be committed.
   */
  readonly append: <A>(f: (native: DuckDBAppender) => A) => Effect.Effect<A, SqlError.SqlError>
  readonly appendChunk: (chunk: DuckDBDataChunk) => Effect.Effect<void, SqlError.SqlError>
  /** Writes the waiting rows into the transaction, so that its queries see them and broken constraints show. */
  readonly flush: Effect.Effect<void, SqlError.SqlError>
}

/** A connection kept for one caller. */
export interface DuckDbSession {
  /** The native connection. Promises that it gives are safe under interruption only inside `use`. */
  readonly native: DuckDBConnection
  /** Runs one asynchronous operation alone on the connection; interrupting the fiber interrupts it and waits for it. */
  readonly use: <A>(f: (native: DuckDBConnection) => Promise<A>) => Effect.Effect<A, SqlError.SqlError>
}

/** Effect's `SqlClient` with what DuckDB has beyond it. */
export interface DuckDbSqlClient extends SqlClient.SqlClient {
  readonly [TypeId]: typeof TypeId
  readonly config: DuckDbClientConfig

  /** A parameter with a stated type; the same as the function `typed`. */
  readonly typed: (value: unknown, type: DuckDBType) => TypedValue

  /**
   * An appender on the connection of the current transaction; without one it is refused.
   *
   * Closing the scope with success writes the waiting rows; otherwise they are dropped and the transaction cannot be
   * committed. If the transaction ends first, its commit writes them and its rollback drops them. A failure to write
   * them fails the commit.
   */
  readonly appender: (
    table: string,
    options?: AppenderOptions
  ) => Effect.Effect<DuckDbAppender, SqlError.SqlError, Scope.Scope>

  /** Keeps the connection of the current transaction, or one of the pool, for the duration of an effect. */
  readonly withConnection: <A, E, R>(
    f: (session: DuckDbSession) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | SqlError.SqlError, R>

  /** The chunks of a whole result as DuckDB made them: for one that fits into memory, with fewer calls than a stream. */
  readonly chunks: (
    sql: string,
    parameters?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<DuckDBDataChunk>, SqlError.SqlError>

  /**
   * The chunks of a result as DuckDB made them, one by one, on a connection of their own, or on that of the current
   * transaction, which then refuses other statements until the stream has ended.
   */
  readonly streamChunks: (
    sql: string,
    parameters?: ReadonlyArray<unknown>
  ) => Stream.Stream<DuckDBDataChunk, SqlError.SqlError>

  /** Moves everything committed from the write-ahead log into the database file. Fails while others write. */
  readonly checkpoint: Effect.Effect<void, SqlError.SqlError>
}

/** The DuckDB client of the context. */
export class DuckDbClient extends Context.Service<DuckDbClient, DuckDbSqlClient>()("@mallard/sql-duckdb/DuckDbClient") {
  /**
   * Opens the database and makes its client; closing the scope closes every connection, then the database, which leaves
   * no write-ahead log behind.
   *
   * A file can be open once per process: a second client with equal opening options joins the first one's instance, any
   * other is refused as `already-open`. Worker threads count as the same process.
   */
  static make(
    config: DuckDbClientConfig
  ): Effect.Effect<DuckDbSqlClient, DuckDbOpenError, Scope.Scope | Reactivity.Reactivity> {
    return makeClient(config)
  }

  /** A layer of both `DuckDbClient` and Effect's `SqlClient`. */
  static layer(config: DuckDbClientConfig): Layer.Layer<DuckDbClient | SqlClient.SqlClient, DuckDbOpenError> {
    return Layer.effectContext(Effect.map(makeClient(config), contextOf)).pipe(Layer.provide(Reactivity.layer))
  }

  /** The same from a `Config`, such as one that reads the file's path from the environment. */
  static layerConfig(
    config: Config.Wrap<DuckDbClientConfig>
  ): Layer.Layer<DuckDbClient | SqlClient.SqlClient, Config.ConfigError | DuckDbOpenError> {
    return Layer.effectContext(
      Effect.flatMap(Config.unwrap(config), (found) => Effect.map(makeClient(found), contextOf))
    ).pipe(Layer.provide(Reactivity.layer))
  }
}

/** A parameter with a stated type: for empty lists, lists of mixed numbers, DECIMAL, UUID and the like. */
export const typed = (value: unknown, type: DuckDBType): TypedValue => new TypedValue(value, type)

/** DuckDB's dialect: positional `?`, double quotes, and `updateValues` as a list of values with named columns. */
export const makeCompiler = (transform?: (name: string) => string): Statement.Compiler =>
  Statement.makeCompiler({
    // The closest of Effect's dialects: with it the helpers and the migrator emit SQL that DuckDB takes.
    dialect: "sqlite",
    placeholder: () => "?",
    onIdentifier:
      transform === undefined ? escape : (name, withoutTransform) => escape(withoutTransform ? name : transform(name)),
    onRecordUpdate: (placeholders, alias, columns, values, returning) => [
      `(VALUES ${placeholders}) AS ${alias}${columns}${returning === undefined ? "" : ` RETURNING ${returning[0]}`}`,
      returning === undefined ? values.flat() : [...values.flat(), ...returning[1]]
    ],
    onCustom: () => ["", []]
  })

const defaultPoolSize = 4

const makeClient = (
  config: DuckDbClientConfig
): Effect.Effect<DuckDbSqlClient, DuckDbOpenError, Scope.Scope | Reactivity.Reactivity> =>
  Effect.gen(function* () {
    const { filename, poolSize = defaultPoolSize } = config
    if (!Number.isInteger(poolSize) || poolSize < 1) {
      return yield* new DuckDbOpenError({ reason: "bad-option", path: filename, option: "poolSize" })
    }
    const instance = yield* openInstance(config)
    const pool = yield* Pool.make({ acquire: openSession(instance), size: poolSize })
    const mode = config.results ?? "exact"
    const spanAttributes: ReadonlyArray<readonly [string, unknown]> = [
      ...Object.entries(config.spanAttributes ?? {}),
      ["db.system.name", "duckdb"]
    ]

    const giveBack = (lease: Lease): Effect.Effect<void> =>
      Effect.andThen(endLease(lease), () => (lease.session.broken ? Pool.invalidate(pool, lease.session) : Effect.void))
    const acquire = (isTransaction: boolean): Effect.Effect<Lease, SqlError.SqlError, Scope.Scope> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(restore(Pool.get(pool)), (session) => {
          const lease = new Lease(session, mode, isTransaction)
          return Effect.as(
            Effect.addFinalizer(() => giveBack(lease)),
            lease
          )
        })
      )
    const acquirer = acquire(false)
    const borrow = <A, E, R>(f: (lease: Lease) => Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError.SqlError, R> =>
      Pool.use(pool, (session) => {
        const lease = new Lease(session, mode, false)
        return Effect.ensuring(Effect.tap(f(lease), checkEnded(lease)), giveBack(lease))
      })

    // Without a function for rows, `withoutTransforms` would leave the names of queries transformed too.
    const transformRows =
      config.transformResultNames !== undefined
        ? Statement.defaultTransforms(config.transformResultNames, config.transformJson ?? true).array
        : config.transformQueryNames === undefined
          ? undefined
          : <A extends object>(rows: ReadonlyArray<A>) => rows

    const client = yield* SqlClient.make({
      driver: "duckdb",
      acquirer,
      borrower: borrow,
      compiler: makeCompiler(config.transformQueryNames),
      spanAttributes,
      ...(transformRows === undefined ? {} : { transformRows })
    })

    const withTransaction = SqlClient.makeWithTransaction<SqlClient.TransactionConnection, SqlConnection.Connection>({
      transactionService: client.transactionService,
      spanAttributes,
      acquireConnection: (restore) => Effect.map(restore(acquire(true)), identity<SqlConnection.Connection>),
      begin: (connection, statement) => Effect.flatMap(leaseOf(connection), (lease) => begin(lease, statement)),
      // DuckDB has no savepoints: a nested transaction is part of the outer one.
      savepoint: () => Effect.void,
      rollbackSavepoint: (connection) =>
        Effect.map(leaseOf(connection), (lease) => {
          lease.doom ??= refusalError(new DuckDbRefusal({ reason: "transaction-doomed" }), "commit")
        }),
      commit: (connection) => Effect.flatMap(leaseOf(connection), commit),
      onCommitFailure: (connection) => Effect.asVoid(Effect.flatMap(leaseOf(connection), rollback)),
      rollback: (connection) => Effect.asVoid(Effect.flatMap(leaseOf(connection), rollback))
    })

    const currentTransaction: Effect.Effect<Option.Option<Lease>> = Effect.flatMap(
      Effect.serviceOption(client.transactionService),
      Option.match({
        onNone: () => Effect.succeedNone,
        onSome: ([connection]) => Effect.asSome(leaseOf(connection))
      })
    )

    const withLease = <A, E, R>(
      f: (lease: Lease) => Effect.Effect<A, E, R>
    ): Effect.Effect<A, E | SqlError.SqlError, R> =>
      Effect.flatMap(currentTransaction, Option.match({ onNone: () => borrow(f), onSome: f }))

    return Object.assign(client, {
      [TypeId]: TypeId,
      config,
      typed,
      withTransaction,
      appender: (table: string, options?: AppenderOptions) =>
        Effect.flatMap(
          currentTransaction,
          Option.match({
            onNone: () => refuse("no-transaction", "appender"),
            onSome: (lease) => openAppender(lease, table, options)
          })
        ),
      withConnection: <A, E, R>(f: (session: DuckDbSession) => Effect.Effect<A, E, R>) =>
        withLease((lease) => f({ native: lease.session.native, use: (g) => lease.use("withConnection", g) })),
      chunks: (sql: string, parameters: ReadonlyArray<unknown> = []) =>
        withLease((lease) => lease.chunks(sql, parameters)),
      streamChunks: (sql: string, parameters: ReadonlyArray<unknown> = []) =>
        Stream.unwrap(
          Effect.flatMap(currentTransaction, Option.match({ onNone: () => acquirer, onSome: Effect.succeed })).pipe(
            Effect.map((lease) => lease.streamChunks(sql, parameters))
          )
        ),
      checkpoint: Effect.asVoid(withLease((lease) => lease.use("checkpoint", (native) => native.run("CHECKPOINT"))))
    })
  })

/** What comes after a statement that begins a transaction would not be part of it. */
const checkEnded = (lease: Lease): Effect.Effect<void, SqlError.SqlError> =>
  Effect.flatMap(endStray(lease), (wasOpen) => (wasOpen ? refuse("transaction-statement", "execute") : Effect.void))

const escape = Statement.defaultEscape('"')

const contextOf = (client: DuckDbSqlClient): Context.Context<DuckDbClient | SqlClient.SqlClient> =>
  Context.make(DuckDbClient, client).pipe(Context.add(SqlClient.SqlClient, client))

const leaseOf = (connection: SqlConnection.Connection): Effect.Effect<Lease> =>
  connection instanceof Lease
    ? Effect.succeed(connection)
    : Effect.die(new Error("The transaction's connection was made by another client"))

const openAppender = (
  lease: Lease,
  table: string,
  options: AppenderOptions | undefined
): Effect.Effect<DuckDbAppender, SqlError.SqlError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      lease.use("appender", async (connection): Promise<LeasedAppender> => {
        const native = await connection.createAppender(table, options?.schema, options?.catalog)
        const leased: LeasedAppender = { native, isOpen: true }
        lease.appenders.add(leased)
        return leased
      }),
      (leased, exit) =>
        Effect.sync(() => {
          if (Exit.isFailure(exit) || lease.hasEnded) {
            // Rows that it wrote already are in the transaction, those still waiting are not.
            if (leased.isOpen) {
              lease.doom ??= refusalError(new DuckDbRefusal({ reason: "appender-failed" }), "append")
            }
            return discardAppender(lease, leased)
          }
          try {
            finishAppender(lease, leased)
          } catch (cause) {
            lease.doom ??= toSqlError(cause, "append")
          }
        })
    ),
    (leased) => {
      const append = <A>(f: (native: DuckDBAppender) => A) =>
        lease.use("append", async () => {
          if (!leased.isOpen) throw new Error("Failed to append: the appender is closed")
          try {
            return f(leased.native)
          } catch (cause) {
            // Half a row may be waiting, and the next value would land in the wrong column.
            discardAppender(lease, leased)
            lease.doom ??= toSqlError(cause, "append")
            throw cause
          }
        })
      return {
        native: leased.native,
        append,
        appendChunk: (chunk) => append((native) => native.appendDataChunk(chunk)),
        flush: append((native) => native.flushSync())
      }
    }
  )
