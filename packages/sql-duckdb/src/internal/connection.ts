/**
 * One DuckDB connection and the leases through which statements reach it.
 *
 * A `Session` is a connection of the pool: it runs one operation at a time, and an interrupted operation is waited for.
 * A `Lease` lends it to one statement, stream, reservation or transaction, and refuses what would lose data silently.
 */
import {
  type DuckDBAppender,
  type DuckDBConnection,
  type DuckDBDataChunk,
  type DuckDBInstance,
  type DuckDBMaterializedResult,
  type DuckDBPreparedStatement,
  type DuckDBResult,
  ResultReturnType,
  StatementType
} from "@duckdb/node-api"
import { Cause, Effect, Exit, type Scope, Semaphore, Stream } from "effect"
import { type SqlConnection, type SqlError } from "effect/sql"
import { DuckDbRefusal, refusalError, type RefusalReason, toSqlError } from "../DuckDbError.ts"
import { isBlankSql } from "../SqlText.ts"
import { aliasOf, quoted } from "./instances.ts"
import { bind, checkSql } from "./parameters.ts"
import { type ResultMode, rowReader, type RowReader } from "./results.ts"

/** A connection of the pool. */
export interface Session {
  readonly native: DuckDBConnection
  readonly semaphore: Semaphore.Semaphore
  readonly prepared: Map<string, DuckDBPreparedStatement>
  /** A transaction begun by a statement instead of `withTransaction`, to be rolled back when the lease ends. */
  strayTransaction: boolean
  /** Nothing can be said about its state any more; the pool must drop it. */
  broken: boolean
}

/** Connects, and closes the connection with the scope. */
export const openSession = (instance: DuckDBInstance): Effect.Effect<Session, SqlError.SqlError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async (): Promise<Session> => {
        const native = await instance.connect()
        const alias = aliasOf(instance)
        if (alias !== undefined) await native.run(`USE ${quoted(alias)}`)
        return {
          native,
          semaphore: Semaphore.makeUnsafe(1),
          prepared: new Map(),
          strayTransaction: false,
          broken: false
        }
      },
      catch: (cause) => toSqlError(cause, "connect")
    }),
    (session) =>
      Effect.sync(() => {
        session.prepared.clear()
        session.native.closeSync()
      })
  )

/**
 * Runs one operation on the native connection, alone, and waits for its end when the fiber is interrupted. A value that
 * nobody can receive any more, because the operation succeeded in spite of the interruption, goes to `abandon`.
 */
const runNative = <A>(
  session: Session,
  operation: string,
  f: (native: DuckDBConnection) => Promise<A>,
  abandon?: (value: A) => Promise<void>
): Effect.Effect<A, SqlError.SqlError> =>
  Effect.tapError(session.semaphore.withPermit(interruptible(session.native, operation, f, abandon)), (error) =>
    Effect.sync(() => {
      if (error.reason._tag === "ConnectionError") session.broken = true
    })
  )

const interruptEvery = 20

const interruptible = <A>(
  native: DuckDBConnection,
  operation: string,
  f: (native: DuckDBConnection) => Promise<A>,
  abandon: ((value: A) => Promise<void>) | undefined
): Effect.Effect<A, SqlError.SqlError> =>
  Effect.callback<A, SqlError.SqlError>((resume) => {
    let isInterrupted = false
    const running = invoke(f, native).then(
      (value) => (isInterrupted ? abandon?.(value) : resume(Effect.succeed(value))),
      (cause: unknown) => resume(Effect.fail(toSqlError(cause, operation)))
    )
    // Asked again and again, because DuckDB forgets an interrupt that comes before the statement has started.
    return Effect.promise(() => {
      isInterrupted = true
      native.interrupt()
      const timer = setInterval(() => native.interrupt(), interruptEvery)
      return running.finally(() => clearInterval(timer))
    })
  })

const invoke = async <A>(f: (native: DuckDBConnection) => Promise<A>, native: DuckDBConnection): Promise<A> => f(native)

const maxPrepared = 64
const maxPreparedSql = 4096

/**
 * Only plain inserts are kept prepared. DuckDB 1.5.6 plans a statement from the statistics of its first run: one that
 * found that nothing can match a filter goes on finding nothing after rows have come that do.
 */
const isReusable = (type: StatementType, sql: string): boolean =>
  type === StatementType.INSERT && !/\bselect\b/i.test(sql)

/** The statement ready to run, after any that precede it in the same text; `reuse` keeps it for the next time. */
const prepare = async (lease: Lease, sql: string, reuse: boolean): Promise<DuckDBPreparedStatement> => {
  const { session } = lease
  const known = session.prepared.get(sql)
  if (known !== undefined) {
    session.prepared.delete(sql)
    session.prepared.set(sql, known)
    return known
  }
  const single = await prepareSingle(lease, sql)
  if (single !== undefined) return kept(session, single, sql, reuse)
  const extracted = await session.native.extractStatements(sql)
  for (let index = 0; index < extracted.count - 1; index++) {
    const earlier = await extracted.prepare(index)
    try {
      noteTransaction(lease, earlier, sql)
      await earlier.run()
    } finally {
      earlier.destroySync()
    }
  }
  const statement = await extracted.prepare(extracted.count - 1)
  noteOrDestroy(lease, statement, sql)
  return extracted.count === 1 ? kept(session, statement, sql, reuse) : statement
}

/**
 * The statement of a text that has but one, in one call instead of two. Undefined where that cannot be had: there may be
 * several, as what PIVOT makes of one, or it is wrong, which is told where statements are taken apart.
 */
const prepareSingle = async (lease: Lease, sql: string): Promise<DuckDBPreparedStatement | undefined> => {
  if (sql.includes(";")) return undefined
  const statement = await lease.session.native.prepare(sql).catch(() => undefined)
  if (statement !== undefined) noteOrDestroy(lease, statement, sql)
  return statement
}

const noteOrDestroy = (lease: Lease, statement: DuckDBPreparedStatement, sql: string): void => {
  try {
    noteTransaction(lease, statement, sql)
  } catch (refusal) {
    statement.destroySync()
    throw refusal
  }
}

/** The statement, kept for the next time if that was asked for and may be. */
const kept = (
  session: Session,
  statement: DuckDBPreparedStatement,
  sql: string,
  reuse: boolean
): DuckDBPreparedStatement => {
  if (reuse && sql.length <= maxPreparedSql && isReusable(statement.statementType, sql)) {
    session.prepared.set(sql, statement)
    if (session.prepared.size > maxPrepared) {
      for (const [oldest, evicted] of session.prepared) {
        session.prepared.delete(oldest)
        evicted.destroySync()
        break
      }
    }
  }
  return statement
}

/** One statement without parameters which for sure neither begins nor ends a transaction: it need not be prepared. */
const isPlain = (sql: string, parameters: ReadonlyArray<unknown>): boolean =>
  parameters.length === 0 && /^\s*(?:select|with|from|create)\b/i.test(sql) && !sql.includes(";")

/** What is committed by a statement could no longer be rolled back by `withTransaction`, and the rest would be stored alone. */
const noteTransaction = (lease: Lease, statement: DuckDBPreparedStatement, sql: string): void => {
  if (statement.statementType !== StatementType.TRANSACTION) return
  if (lease.isTransaction) throw new DuckDbRefusal({ reason: "transaction-statement" })
  lease.session.strayTransaction = !/^\s*(?:commit|rollback|abort|end)\s*(?:transaction|work)?\s*;?\s*$/i.test(sql)
}

const withPrepared = async <A>(
  lease: Lease,
  sql: string,
  parameters: ReadonlyArray<unknown>,
  reuse: boolean,
  f: (statement: DuckDBPreparedStatement) => Promise<A>
): Promise<A> => {
  checkSql(sql)
  if (isBlankSql(sql)) throw new DuckDbRefusal({ reason: "no-statement" })
  const statement = await prepare(lease, sql, reuse)
  try {
    // A reused statement would otherwise run with the values of its last use where this one gives too few.
    statement.clearBindings()
    bind(statement, parameters)
    return await f(statement)
  } finally {
    if (lease.session.prepared.get(sql) !== statement) statement.destroySync()
  }
}

/** An appender of a lease, finished by its scope, or by the end of the transaction if that comes first. */
export interface LeasedAppender {
  readonly native: DuckDBAppender
  isOpen: boolean
}

type TransformRows = (<A extends object>(row: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined

/** A session lent to one borrower. */
export class Lease implements SqlConnection.Connection {
  readonly session: Session
  readonly mode: ResultMode
  readonly isTransaction: boolean
  readonly appenders = new Set<LeasedAppender>()
  openStreams = 0
  hasEnded = false
  /** Why the transaction cannot be committed. */
  doom: SqlError.SqlError | undefined

  constructor(session: Session, mode: ResultMode, isTransaction: boolean) {
    this.session = session
    this.mode = mode
    this.isTransaction = isTransaction
  }

  /** Runs `f` on the native connection unless that would cut an open stream. */
  use<A>(
    operation: string,
    f: (native: DuckDBConnection) => Promise<A>,
    abandon?: (value: A) => Promise<void>
  ): Effect.Effect<A, SqlError.SqlError> {
    return runNative(
      this.session,
      operation,
      (native) => {
        this.checkUsable()
        return f(native)
      },
      abandon
    )
  }

  checkUsable(): void {
    if (this.hasEnded) throw new DuckDbRefusal({ reason: "transaction-ended" })
    if (this.openStreams > 0) throw new DuckDbRefusal({ reason: "stream-open" })
  }

  execute(sql: string, parameters: ReadonlyArray<unknown>, transformRows: TransformRows) {
    return this.rows("execute", sql, parameters, true, transformRows)
  }

  executeUnprepared(sql: string, parameters: ReadonlyArray<unknown>, transformRows: TransformRows) {
    return this.rows("executeUnprepared", sql, parameters, false, transformRows)
  }

  executeRaw(
    sql: string,
    parameters: ReadonlyArray<unknown>
  ): Effect.Effect<DuckDBMaterializedResult, SqlError.SqlError> {
    return this.use("executeRaw", () => withPrepared(this, sql, parameters, false, (statement) => statement.run()))
  }

  executeValues(sql: string, parameters: ReadonlyArray<unknown>) {
    return this.values("executeValues", sql, parameters, true)
  }

  executeValuesUnprepared(sql: string, parameters: ReadonlyArray<unknown>) {
    return this.values("executeValuesUnprepared", sql, parameters, false)
  }

  executeStream(sql: string, parameters: ReadonlyArray<unknown>, transformRows: TransformRows) {
    return this.streamWith(sql, parameters, (result) => {
      const reader = rowReader(result, this.mode)
      return (chunk) => {
        const rows = reader.rows(chunk)
        return transformRows === undefined ? rows : transformRows(rows)
      }
    })
  }

  /** All chunks of a result. */
  chunks(
    sql: string,
    parameters: ReadonlyArray<unknown>
  ): Effect.Effect<ReadonlyArray<DuckDBDataChunk>, SqlError.SqlError> {
    return this.whole("chunks", sql, parameters, false, (result) => readChunks(result, (chunk) => [chunk]))
  }

  /** The chunks of a result, fetched one by one. */
  streamChunks(sql: string, parameters: ReadonlyArray<unknown>): Stream.Stream<DuckDBDataChunk, SqlError.SqlError> {
    return this.streamWith(sql, parameters, () => (chunk) => [chunk])
  }

  private rows(
    operation: string,
    sql: string,
    parameters: ReadonlyArray<unknown>,
    reuse: boolean,
    transformRows: TransformRows
  ): Effect.Effect<ReadonlyArray<Record<string, unknown>>, SqlError.SqlError> {
    return Effect.map(
      this.collect(operation, sql, parameters, reuse, (reader, chunk) => reader.rows(chunk)),
      (rows) => (transformRows === undefined ? rows : transformRows(rows))
    )
  }

  private values(operation: string, sql: string, parameters: ReadonlyArray<unknown>, reuse: boolean) {
    return this.collect(operation, sql, parameters, reuse, (reader, chunk) => reader.values(chunk))
  }

  private collect<Row>(
    operation: string,
    sql: string,
    parameters: ReadonlyArray<unknown>,
    reuse: boolean,
    read: (reader: RowReader, chunk: DuckDBDataChunk) => ReadonlyArray<Row>
  ): Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError> {
    return this.whole(operation, sql, parameters, reuse, (result) => {
      const reader = rowReader(result, this.mode)
      return readChunks(result, (chunk) => read(reader, chunk))
    })
  }

  /** Runs a statement and reads its whole result; nothing is read of one that answers with a count. */
  private whole<A>(
    operation: string,
    sql: string,
    parameters: ReadonlyArray<unknown>,
    reuse: boolean,
    read: (result: DuckDBMaterializedResult) => ReadonlyArray<A>
  ): Effect.Effect<ReadonlyArray<A>, SqlError.SqlError> {
    const readResult = (result: DuckDBMaterializedResult): ReadonlyArray<A> =>
      result.returnType === ResultReturnType.QUERY_RESULT ? read(result) : []
    return this.use(operation, async (native) => {
      if (!isPlain(sql, parameters)) {
        return withPrepared(this, sql, parameters, reuse, async (statement) => readResult(await statement.run()))
      }
      checkSql(sql)
      return readResult(await native.run(sql))
    })
  }

  private streamWith<Row>(
    sql: string,
    parameters: ReadonlyArray<unknown>,
    makeRead: (result: DuckDBResult) => (chunk: DuckDBDataChunk) => ReadonlyArray<Row>
  ): Stream.Stream<Row, SqlError.SqlError> {
    const open = Effect.acquireRelease(
      Effect.map(
        this.use(
          "executeStream",
          async () => {
            const result = await withPrepared(this, sql, parameters, false, (statement) => statement.stream())
            this.openStreams++
            return result
          },
          async (result) => {
            this.openStreams--
            await drain(result, this.session.native)
          }
        ),
        (result) => ({ result, hasEnded: false })
      ),
      (state, exit) =>
        Effect.andThen(
          state.hasEnded ? Effect.void : this.endStream(state.result, exit),
          Effect.sync(() => {
            this.openStreams--
          })
        ),
      { interruptible: true }
    )
    const reading = <A>(f: () => A) => Effect.try({ try: f, catch: (cause) => toSqlError(cause, "executeStream") })
    return Stream.unwrap(
      Effect.gen({ self: this }, function* () {
        const state = yield* open
        const { result } = state
        if (result.returnType !== ResultReturnType.QUERY_RESULT) return Stream.empty
        const read = yield* reading(() => makeRead(result))
        const pull = Effect.flatMap(
          runNative(this.session, "executeStream", () => result.fetchChunk()).pipe(
            Effect.tapError(() =>
              Effect.sync(() => {
                state.hasEnded = true
              })
            )
          ),
          (chunk): Effect.Effect<[Row, ...Array<Row>], Cause.Done | SqlError.SqlError> => {
            if (chunk === null || chunk.rowCount === 0) {
              state.hasEnded = true
              return Cause.done()
            }
            return Effect.flatMap(
              reading(() => read(chunk)),
              ([first, ...rest]) =>
                first === undefined ? Effect.die(new Error("an empty chunk")) : Effect.succeed([first, ...rest])
            )
          }
        )
        return Stream.fromPull(Effect.succeed(pull))
      })
    )
  }

  // An unfinished result keeps the file locked until it is collected as garbage, so it is read to its end. Interrupting
  // shortens that, but would abort a transaction, which may yet be committed unless its fiber is interrupted itself.
  private endStream(result: DuckDBResult, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    const mayInterrupt = !this.isTransaction || (Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))
    return Effect.ignore(
      runNative(this.session, "executeStream", (native) => drain(result, mayInterrupt ? native : undefined))
    )
  }
}

/** Reads a result that is there as a whole, which takes none of the calls that wait for another thread. */
const readChunks = <A>(
  result: DuckDBMaterializedResult,
  read: (chunk: DuckDBDataChunk) => ReadonlyArray<A>
): ReadonlyArray<A> => Array.from({ length: result.chunkCount }, (_, index) => read(result.getChunk(index))).flat()

/** Reads a result to its end, interrupting `native` on the way if it is given. */
const drain = async (result: DuckDBResult, native: DuckDBConnection | undefined): Promise<void> => {
  for (;;) {
    native?.interrupt()
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) return
  }
}

/** Fails with a refusal. */
export const refuse = (reason: RefusalReason, operation: string): Effect.Effect<never, SqlError.SqlError> =>
  Effect.fail(refusalError(new DuckDbRefusal({ reason }), operation))

/** Begins the transaction of `lease`. */
export const begin = (lease: Lease, statement: string | undefined): Effect.Effect<void, SqlError.SqlError> =>
  lease.use("begin", async (native) => {
    await native.run(statement ?? "BEGIN TRANSACTION")
  })

/** Commits, after making sure that there is something left to commit: DuckDB reports success for an aborted one. */
export const commit = (lease: Lease): Effect.Effect<void, SqlError.SqlError> =>
  Effect.suspend(() => {
    if (lease.doom !== undefined) return Effect.fail(lease.doom)
    return lease.use("commit", async (native) => {
      for (const appender of lease.appenders) finishAppender(lease, appender)
      await native.run("SELECT 1")
      await native.run("COMMIT")
    })
  })

/**
 * Rolls back what `lease` did, rows waiting in its appenders included, and tells whether there was a transaction. Never
 * fails: a broken session is marked so.
 */
export const rollback = (lease: Lease): Effect.Effect<boolean> =>
  runNative(lease.session, "rollback", async (native) => {
    for (const appender of lease.appenders) discardAppender(lease, appender)
    await native.run("ROLLBACK")
    return true
  }).pipe(
    Effect.catch((error) =>
      Effect.sync(() => {
        if (!isNoTransaction(error)) lease.session.broken = true
        return false
      })
    )
  )

const isNoTransaction = (error: SqlError.SqlError): boolean =>
  error.reason.cause instanceof Error && /no transaction is active/i.test(error.reason.cause.message)

/** Writes the waiting rows and closes the appender. Throws what DuckDB throws, after the waiting rows were dropped. */
export const finishAppender = (lease: Lease, appender: LeasedAppender): void => {
  if (!appender.isOpen) return
  try {
    lease.checkUsable()
    appender.native.flushSync()
  } catch (cause) {
    discardAppender(lease, appender)
    throw cause
  }
  appender.isOpen = false
  lease.appenders.delete(appender)
  appender.native.closeSync()
}

/** Drops the waiting rows and closes the appender: one left open would write them later, outside the transaction. */
export const discardAppender = (lease: Lease, appender: LeasedAppender): void => {
  if (!appender.isOpen) return
  appender.isOpen = false
  lease.appenders.delete(appender)
  try {
    appender.native.clear()
    appender.native.closeSync()
  } catch {
    lease.session.broken = true
  }
}

/** Rolls back a transaction that statements have left open, and tells whether there is one. */
export const endStray = (lease: Lease): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    if (!lease.session.strayTransaction) return Effect.succeed(false)
    lease.session.strayTransaction = false
    return rollback(lease)
  })

/** Ends the lease of a session that goes back to the pool. */
export const endLease = (lease: Lease): Effect.Effect<void> =>
  Effect.suspend(() => {
    lease.hasEnded = true
    return Effect.asVoid(endStray(lease))
  })
