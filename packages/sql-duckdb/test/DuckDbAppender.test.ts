import { assert, describe, it } from "@effect/vitest"
import { type DuckDBAppender, DuckDBDataChunk, INTEGER, VARCHAR } from "@duckdb/node-api"
import { DuckDbClient, refusalOf } from "@mallard/sql-duckdb"
import { Deferred, Effect, Fiber, Scope, Exit, Stream } from "effect"
import { inMemory } from "./support.ts"

const row = (a: number, b: string) => (native: DuckDBAppender) => {
  native.appendInteger(a)
  native.appendVarchar(b)
  native.endRow()
}

const create = Effect.gen(function* () {
  const sql = yield* DuckDbClient
  yield* sql`CREATE TABLE t (a INTEGER PRIMARY KEY, b VARCHAR)`
  return sql
})

describe("the appender", () => {
  it.effect("rows and chunks are written when its scope closes inside the transaction", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* create
        yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* Effect.scoped(
              Effect.gen(function* () {
                const appender = yield* sql.appender("t", { schema: "main" })
                yield* appender.append(row(1, "one"))
                const chunk = DuckDBDataChunk.create([INTEGER, VARCHAR])
                chunk.setColumns([
                  [2, 3],
                  ["two", "three"]
                ])
                yield* appender.appendChunk(chunk)
                assert.deepStrictEqual(yield* sql`SELECT count(*)::INTEGER AS n FROM t`, [{ n: 0 }])
                yield* appender.flush
                assert.deepStrictEqual(yield* sql`SELECT count(*)::INTEGER AS n FROM t`, [{ n: 3 }])
                yield* appender.append(row(4, "four"))
              })
            )
            assert.deepStrictEqual(yield* sql`SELECT count(*)::INTEGER AS n FROM t`, [{ n: 4 }])
          })
        )
        assert.deepStrictEqual(yield* sql`SELECT b FROM t ORDER BY a`.values, [["one"], ["two"], ["three"], ["four"]])
      })
    )
  )

  it.effect("rows of a failed transaction never appear, flushed or waiting, whatever the order of the scopes", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* create
        const outer = yield* Scope.make()
        yield* Effect.flip(
          sql.withTransaction(
            Effect.gen(function* () {
              const inside = yield* sql.appender("t").pipe(Scope.provide(outer))
              yield* inside.append(row(1, "flushed"))
              yield* inside.flush
              yield* inside.append(row(2, "waiting"))
              return yield* Effect.fail("no")
            })
          )
        )
        yield* Effect.flip(
          Effect.scoped(
            sql.withTransaction(
              Effect.gen(function* () {
                const appender = yield* sql.appender("t")
                yield* appender.append(row(3, "waiting"))
                return yield* Effect.fail("no")
              })
            )
          )
        )
        yield* Scope.close(outer, Exit.void)
        globalThis.gc?.()
        assert.deepStrictEqual(yield* sql`SELECT * FROM t`, [])
        yield* sql.withTransaction(sql`INSERT INTO t VALUES (9, 'nine')`)
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 9 }])
      }),
      { poolSize: 1 }
    )
  )

  it.effect("the commit writes the rows of an appender whose scope is longer than the transaction", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* create
        yield* Effect.scoped(
          Effect.gen(function* () {
            const appender = yield* sql.withTransaction(
              Effect.gen(function* () {
                const appender = yield* sql.appender("t")
                yield* appender.append(row(1, "one"))
                return appender
              })
            )
            assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 1 }])
            const error = yield* Effect.flip(appender.append(row(2, "late")))
            assert.strictEqual(refusalOf(error)?.reason, "transaction-ended")
          })
        )
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 1 }])
      })
    )
  )

  it.effect("a broken constraint shows at flush, or else fails the commit", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* create
        yield* sql`INSERT INTO t VALUES (1, 'secret')`
        const duplicate = Effect.gen(function* () {
          const appender = yield* sql.appender("t")
          yield* appender.append(row(2, "two"))
          yield* appender.append(row(1, "secret"))
          return appender
        })
        const atFlush = yield* Effect.flip(
          sql.withTransaction(Effect.scoped(Effect.flatMap(duplicate, (appender) => appender.flush)))
        )
        const atClose = yield* Effect.flip(sql.withTransaction(Effect.scoped(duplicate)))
        const atCommit = yield* Effect.flip(Effect.scoped(sql.withTransaction(duplicate)))
        for (const error of [atFlush, atClose, atCommit]) {
          assert.strictEqual(error.reason._tag, "UniqueViolation")
          assert.notInclude(error.message, "id")
        }
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 1 }])
      }),
      { poolSize: 1 }
    )
  )

  it.effect("half a row can never mix with the next one: the transaction is lost even if the error is swallowed", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* create
        const error = yield* Effect.flip(
          sql.withTransaction(
            Effect.scoped(
              Effect.gen(function* () {
                const appender = yield* sql.appender("t")
                const half = appender.append((native) => {
                  native.appendInteger(1)
                  throw new Error("stopped")
                })
                yield* Effect.ignore(half)
                assert.strictEqual((yield* Effect.flip(appender.append(row(2, "two"))))._tag, "SqlError")
                return undefined
              })
            )
          )
        )
        assert.strictEqual(error?.reason.operation, "append")
        assert.deepStrictEqual(yield* sql`SELECT * FROM t`, [])
      })
    )
  )

  it.effect("an appender that failed takes the transaction with it, even if the failure is caught", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* create
        const error = yield* Effect.flip(
          sql.withTransaction(
            Effect.ignore(
              Effect.scoped(
                Effect.gen(function* () {
                  const appender = yield* sql.appender("t")
                  yield* appender.append(row(1, "one"))
                  yield* appender.flush
                  yield* appender.append(row(2, "two"))
                  return yield* Effect.fail("no")
                })
              )
            )
          )
        )
        assert.strictEqual(refusalOf(error)?.reason, "appender-failed")
        assert.deepStrictEqual(yield* sql`SELECT * FROM t`, [])
      })
    )
  )

  it.effect("an interrupted transaction drops the waiting rows", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* create
        const hasAppended = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(
          sql.withTransaction(
            Effect.scoped(
              Effect.gen(function* () {
                const appender = yield* sql.appender("t")
                yield* appender.append(row(1, "one"))
                yield* Deferred.succeed(hasAppended, undefined)
                return yield* Effect.never
              })
            )
          )
        )
        yield* Deferred.await(hasAppended)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* sql`SELECT * FROM t`, [])
      }),
      { poolSize: 1 }
    )
  )

  it.effect("it is refused outside a transaction and while a stream is open", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* create
        const outside = yield* Effect.flip(Effect.scoped(sql.appender("t")))
        assert.strictEqual(refusalOf(outside)?.reason, "no-transaction")
        yield* sql.withTransaction(
          Effect.scoped(
            Effect.gen(function* () {
              const appender = yield* sql.appender("t")
              yield* Stream.runForEachArray(sql`SELECT range AS a FROM range(5000)`.stream, () =>
                Effect.gen(function* () {
                  const error = yield* Effect.flip(appender.flush)
                  assert.strictEqual(refusalOf(error)?.reason, "stream-open")
                })
              )
              yield* appender.append(row(1, "one"))
            })
          )
        )
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 1 }])
      })
    )
  )

  it.effect("what is wrong with a row is told without its values", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* create
        const values = "DuckDB: a row has more or fewer values than the table has columns"
        const conversion = "DuckDB: a value cannot be converted to the type it is needed in"
        const cases: ReadonlyArray<readonly [write: (native: DuckDBAppender) => void, message: string]> = [
          [(native) => native.appendInteger(1), values],
          [(native) => native.endRow(), values],
          [
            (native) => {
              row(1, "one")(native)
              native.appendInteger(1)
              native.appendVarchar("x")
              native.appendVarchar("y")
            },
            values
          ],
          [(native) => native.appendVarchar("private"), conversion]
        ]
        for (const [write, message] of cases) {
          const error = yield* Effect.flip(
            sql.withTransaction(Effect.scoped(Effect.flatMap(sql.appender("t"), (appender) => appender.append(write))))
          )
          assert.strictEqual(error.message, message)
        }
      })
    )
  )

  it.effect("a table that does not exist is a typed error that leaves the transaction usable", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* create
        yield* sql.withTransaction(
          Effect.gen(function* () {
            const error = yield* Effect.flip(Effect.scoped(sql.appender("nowhere")))
            assert.strictEqual(error.reason._tag, "SqlSyntaxError")
            yield* sql`INSERT INTO t VALUES (1, 'one')`
          })
        )
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 1 }])
      })
    )
  )
})

describe("withConnection", () => {
  it.effect("inside a transaction it is the transaction's connection", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* create
        yield* Effect.flip(
          sql.withTransaction(
            Effect.gen(function* () {
              yield* sql.withConnection((session) =>
                session.use((native) => native.run("INSERT INTO t VALUES (1, 'one')"))
              )
              assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 1 }])
              return yield* Effect.fail("no")
            })
          )
        )
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [])
      })
    )
  )
})
