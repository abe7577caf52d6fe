import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient, refusalOf } from "@mallard/sql-duckdb"
import { Deferred, Effect, Exit, Fiber, Ref, Schedule, Stream } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { TestClock } from "effect/testing"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { inMemory, runChild, temporaryFolder, withClient } from "./support.ts"

const refusal = (error: SqlError.SqlError) => refusalOf(error)?.reason

const endless = "SELECT sum(hash(a.range, b.range)) AS s FROM range(10000000) a, range(1000000) b"

describe("statements", () => {
  it.effect("the helpers compile to SQL that DuckDB takes", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE "odd ""name" (id INTEGER, "select" VARCHAR)`
        const table = sql('odd "name')
        assert.deepStrictEqual(
          yield* sql`INSERT INTO ${table} ${sql
            .insert([
              { id: 1, select: "a" },
              { id: 2, select: "b" },
              { id: 3, select: "c" }
            ])
            .returning("id")}`,
          [{ id: 1 }, { id: 2 }, { id: 3 }]
        )
        yield* sql`UPDATE ${table} SET ${sql.update({ id: 1, select: "A" }, ["id"])} WHERE id = 1`
        yield* sql`UPDATE ${table} SET "select" = data."select" FROM ${sql.updateValues(
          [
            { id: 2, select: "B" },
            { id: 3, select: "C" }
          ],
          "data"
        )} WHERE ${table}.id = data.id`
        assert.deepStrictEqual(
          yield* sql`SELECT * FROM ${table} WHERE ${sql.and([sql.in("id", [1, 2, 3]), sql`"select" <> ${"C"}`])} ORDER BY id`,
          [
            { id: 1, select: "A" },
            { id: 2, select: "B" }
          ]
        )
        assert.deepStrictEqual(yield* sql`SELECT id FROM ${table} WHERE id IN ${sql.in([])}`, [])
        assert.deepStrictEqual(yield* sql`SELECT id, "select" FROM ${table} WHERE id = 3`.values, [[3, "C"]])
        assert.strictEqual(sql.driver, "duckdb")
        const other = () => "another"
        const dialect = sql.onDialect({
          sqlite: () => "sqlite",
          pg: other,
          mysql: other,
          mssql: other,
          clickhouse: other
        })
        assert.strictEqual(dialect, "sqlite")
      })
    )
  )

  it.effect("a statement without a result set gives no rows, and its count in the raw result", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        assert.deepStrictEqual(yield* sql`CREATE TABLE t (a INTEGER)`, [])
        assert.deepStrictEqual(yield* sql`INSERT INTO t VALUES (1), (2)`, [])
        const update = sql`UPDATE t SET a = a + 1`
        assert.deepStrictEqual(yield* update, [])
        assert.deepStrictEqual(yield* update.unprepared, [])
        assert.deepStrictEqual(yield* update.values, [])
        assert.deepStrictEqual(yield* update.valuesUnprepared, [])
        assert.deepStrictEqual(yield* Stream.runCollect(update.stream), [])
        const returning = sql`UPDATE t SET a = a + 1 RETURNING a`
        assert.deepStrictEqual(yield* returning, [{ a: 7 }, { a: 8 }])
        assert.deepStrictEqual(yield* returning.valuesUnprepared, [[8], [9]])
        const raw = yield* sql`DELETE FROM t`.raw
        assert.strictEqual(typeof raw === "object" && raw !== null && "rowsChanged" in raw && raw.rowsChanged, 2)
      })
    )
  )

  it.effect("several statements in one text run in order and the last one answers", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        assert.deepStrictEqual(yield* sql.unsafe("SELECT 1 AS a; SELECT ? AS b", [2]), [{ b: 2 }])
      })
    )
  )

  it.effect("a statement of which DuckDB makes several answers too, with parameters and without", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE sales AS SELECT * FROM (VALUES ('a', 1), ('b', 2), ('a', 4)) AS v(who, amount)`
        const wide = { a: 5n, b: 2n }
        assert.deepStrictEqual(yield* sql.unsafe("PIVOT sales ON who USING sum(amount)::BIGINT"), [wide])
        assert.deepStrictEqual(yield* sql.unsafe("FROM (PIVOT sales ON who USING sum(amount)::BIGINT)"), [wide])
        const more = sql.unsafe("FROM (PIVOT sales ON who USING sum(amount)::BIGINT) SELECT a + ? AS more", [2])
        assert.deepStrictEqual(yield* more, [{ more: 7n }])
      })
    )
  )

  it.effect("of several statements in one text those before a failing one stay, unless in a transaction", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (a INTEGER)`
        const several = (a: number) =>
          sql.unsafe(`INSERT INTO t VALUES (${a}); SELECT 'x'::INTEGER; INSERT INTO t VALUES (100)`)
        yield* Effect.flip(several(1))
        yield* Effect.flip(sql.withTransaction(several(2)))
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 1 }])
      })
    )
  )

  it.effect("a reused statement sees changed types, columns and parameters", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const select = sql`SELECT * FROM t`
        yield* sql`CREATE TABLE t (a INTEGER)`
        yield* sql`INSERT INTO t VALUES (1)`
        assert.deepStrictEqual(yield* select, [{ a: 1 }])
        yield* sql`ALTER TABLE t ADD COLUMN b VARCHAR DEFAULT 'x'`
        assert.deepStrictEqual(yield* select, [{ a: 1, b: "x" }])
        for (const value of [1, "text", null, 2.5, true]) {
          assert.deepStrictEqual(yield* sql`SELECT ${value} AS v`, [{ v: value }])
        }
        assert.strictEqual((yield* Effect.flip(sql.unsafe("SELECT ? AS v"))).reason._tag, "SqlSyntaxError")
      }),
      { poolSize: 1 }
    )
  )

  it.effect("a statement that found nothing finds the rows that come later", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t AS SELECT 1 AS a`
        const select = sql`SELECT a FROM t WHERE a > ${5}`
        assert.deepStrictEqual(yield* select, [])
        yield* sql`INSERT INTO t VALUES (10)`
        assert.deepStrictEqual(yield* select, [{ a: 10 }])
      }),
      { poolSize: 1 }
    )
  )

  it.effect("more different statements than are kept prepared still work", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE kept (i INTEGER, round INTEGER)`
        for (let round = 0; round < 2; round++) {
          for (let index = 0; index < 100; index++) {
            yield* sql.unsafe(`INSERT INTO kept VALUES (${index}, ?)`, [round])
          }
        }
        assert.deepStrictEqual(yield* sql`SELECT count(*)::INTEGER AS n, count(DISTINCT i)::INTEGER AS d FROM kept`, [
          { n: 200, d: 100 }
        ])
      }),
      { poolSize: 1 }
    )
  )

  it.effect("an insert that is used again is prepared once", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (a INTEGER)`
        let prepared = 0
        yield* sql.withConnection(({ native }) =>
          Effect.sync(() => {
            const prepare = native.prepare.bind(native)
            native.prepare = (text) => {
              prepared++
              return prepare(text)
            }
          })
        )
        for (let a = 0; a < 10; a++) yield* sql`INSERT INTO t VALUES (${a})`
        assert.strictEqual(prepared, 1)
        for (let a = 10; a < 15; a++) yield* sql`INSERT INTO t VALUES (${a})`.unprepared
        assert.deepStrictEqual(yield* sql`SELECT count(*) AS n, sum(a)::INTEGER AS s FROM t`, [{ n: 15n, s: 105 }])
      }),
      { poolSize: 1 }
    )
  )

  it.effect("names are transformed on the way in and out, unless asked not to", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE ${sql("myTable")} (${sql("someColumn")} INTEGER)`
        yield* sql`INSERT INTO my_table ${sql.insert({ someColumn: 1 })}`
        assert.deepStrictEqual(yield* sql`SELECT some_column FROM my_table`, [{ someColumn: 1 }])
        assert.deepStrictEqual(yield* sql.withoutTransforms()`SELECT some_column FROM my_table`, [{ some_column: 1 }])
      }),
      {
        transformQueryNames: (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
        transformResultNames: (name) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
      }
    )
  )

  it.effect("names are transformed in every helper, inside of values and in streams, and each way alone", () => {
    const toSnake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    const toCamel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
    const create = Effect.gen(function* () {
      const sql = yield* DuckDbClient
      yield* sql.unsafe("CREATE TABLE t (row_id INTEGER, wing_span INTEGER, more_info STRUCT(seen_by VARCHAR))")
      yield* sql.unsafe("INSERT INTO t VALUES (1, 90, {'seen_by': 'ada_l'}), (2, 80, NULL)")
      return sql
    })
    return Effect.gen(function* () {
      yield* inMemory(
        Effect.gen(function* () {
          const sql = yield* create
          const returned = yield* sql`INSERT INTO t ${sql.insert({ rowId: 3, wingSpan: 70 }).returning("*")}`
          assert.deepStrictEqual(returned, [{ rowId: 3, wingSpan: 70, moreInfo: null }])
          yield* sql`UPDATE t SET ${sql.update({ rowId: 3, wingSpan: 71 }, ["rowId"])} WHERE ${sql("rowId")} = 3`
          yield* sql`UPDATE t SET wing_span = d.wing_span FROM ${sql.updateValues([{ rowId: 2, wingSpan: 81 }], "d")}
            WHERE t.row_id = d.row_id`
          const found = sql`SELECT * FROM t WHERE ${sql.in("rowId", [1, 2, 3])} ORDER BY ${sql("rowId")}`
          const expected = [
            { rowId: 1, wingSpan: 90, moreInfo: { seenBy: "ada_l" } },
            { rowId: 2, wingSpan: 81, moreInfo: null },
            { rowId: 3, wingSpan: 71, moreInfo: null }
          ]
          assert.deepStrictEqual(yield* found, expected)
          assert.deepStrictEqual(yield* Stream.runCollect(found.stream), expected)
          assert.deepStrictEqual(yield* found.values, [
            [1, 90, { seen_by: "ada_l" }],
            [2, 81, null],
            [3, 71, null]
          ])
        }),
        { transformQueryNames: toSnake, transformResultNames: toCamel }
      )
      const first = Effect.flatMap(create, (sql) => sql`SELECT * FROM t WHERE row_id = 1`)
      assert.deepStrictEqual(yield* inMemory(first, { transformResultNames: toCamel, transformJson: false }), [
        { rowId: 1, wingSpan: 90, moreInfo: { seen_by: "ada_l" } }
      ])
      const plain = Effect.flatMap(create, (sql) =>
        Effect.all([
          sql`SELECT ${sql("wingSpan")} FROM t WHERE row_id = 1`,
          Effect.map(
            Effect.flip(sql.withoutTransforms()`SELECT ${sql("wingSpan")} FROM t`),
            ({ reason }) => reason._tag
          )
        ])
      )
      assert.deepStrictEqual(yield* inMemory(plain, { transformQueryNames: toSnake }), [
        [{ wing_span: 90 }],
        "SqlSyntaxError"
      ])
    })
  })

  it.effect("SQL text that DuckDB would cut or alter is refused", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        assert.strictEqual(refusal(yield* Effect.flip(sql.unsafe("SELECT 1 AS a\0, 2 AS b"))), "nul-in-sql")
        assert.strictEqual(refusal(yield* Effect.flip(sql.unsafe("SELECT '\ud800' AS a"))), "lone-surrogate")
        for (const text of ["  ", ";", "-- nothing", "/* nothing */ ;"]) {
          assert.strictEqual(refusal(yield* Effect.flip(sql.unsafe(text))), "no-statement")
        }
      })
    )
  )

  it.effect("a text that leaves a transaction open is refused, and nothing of it is stored; a whole one is", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (a INTEGER)`
        for (const text of ["BEGIN", "START TRANSACTION", "BEGIN; INSERT INTO t VALUES (1)"]) {
          const error = yield* Effect.flip(sql.unsafe(text))
          assert.strictEqual(refusalOf(error)?.reason, "transaction-statement", text)
        }
        yield* sql.unsafe("BEGIN; INSERT INTO t VALUES (2); COMMIT")
        yield* sql.withTransaction(sql`INSERT INTO t VALUES (3)`)
        assert.deepStrictEqual(yield* sql`SELECT a FROM t ORDER BY a`, [{ a: 2 }, { a: 3 }])
      }),
      { poolSize: 1 }
    )
  )

  it.effect("a BEGIN outside withTransaction never leaks to the next user of the connection", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (a INTEGER)`
        yield* Effect.scoped(
          Effect.gen(function* () {
            const connection = yield* sql.reserve
            yield* connection.executeUnprepared("BEGIN", [], undefined)
            yield* connection.executeUnprepared("INSERT INTO t VALUES (1)", [], undefined)
          })
        )
        yield* sql.withTransaction(sql`INSERT INTO t VALUES (2)`)
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 2 }])
      }),
      { poolSize: 1 }
    )
  )
})

describe("transactions", () => {
  it.effect("commit keeps, failure rolls back, and afterCommit runs only after a commit", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const seen = yield* Ref.make<ReadonlyArray<string>>([])
        const note = (text: string) => sql.afterCommit(Ref.update(seen, (texts) => [...texts, text]))
        yield* sql`CREATE TABLE t (a INTEGER)`
        yield* sql.withTransaction(Effect.andThen(sql`INSERT INTO t VALUES (1)`, note("first")))
        const exit = yield* Effect.exit(
          sql.withTransaction(
            Effect.andThen(Effect.andThen(sql`INSERT INTO t VALUES (2)`, note("second")), Effect.fail("no"))
          )
        )
        assert.deepStrictEqual(exit, Exit.fail("no"))
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 1 }])
        assert.deepStrictEqual(yield* Ref.get(seen), ["first"])
      })
    )
  )

  it.effect("a transaction whose error was swallowed cannot commit", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (a INTEGER PRIMARY KEY)`
        const error = yield* Effect.flip(
          sql.withTransaction(
            Effect.gen(function* () {
              yield* sql`INSERT INTO t VALUES (1)`
              yield* Effect.ignore(sql`INSERT INTO t VALUES (1)`)
            })
          )
        )
        assert.include(error.message, "aborted")
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [])
        yield* sql.withTransaction(sql`INSERT INTO t VALUES (7)`)
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 7 }])
      }),
      { poolSize: 1 }
    )
  )

  const aborting: ReadonlyArray<readonly [what: string, statement: string]> = [
    ["a constraint", "INSERT INTO t VALUES (7, 0)"],
    ["a conversion", "SELECT 'seven'::INTEGER"],
    ["a range", "SELECT 300::TINYINT"],
    ["a conflict with another transaction", "UPDATE t SET b = 2 WHERE a = 8"]
  ]
  for (const [what, statement] of aborting) {
    it.effect(`what failed at ${what} loses its transaction, even if swallowed`, () =>
      inMemory(
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          yield* sql`CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER)`
          yield* sql`INSERT INTO t VALUES (7, 0), (8, 0)`
          const mayWrite = yield* Deferred.make<void>()
          const another = yield* Effect.forkChild(
            Effect.andThen(Deferred.await(mayWrite), sql`UPDATE t SET b = 1 WHERE a = 8`)
          )
          const error = yield* Effect.flip(
            sql.withTransaction(
              Effect.gen(function* () {
                yield* sql`INSERT INTO t VALUES (1, 0)`
                yield* Deferred.succeed(mayWrite, undefined)
                yield* Fiber.join(another)
                assert.isTrue(Exit.isFailure(yield* Effect.exit(sql.unsafe(statement))))
              })
            )
          )
          assert.include(error.message, "aborted")
          assert.deepStrictEqual(yield* sql`SELECT * FROM t ORDER BY a`, [
            { a: 7, b: 0 },
            { a: 8, b: 1 }
          ])
        })
      )
    )
  }

  const endings = ["COMMIT", "ROLLBACK", "BEGIN", "ABORT", "END", "SELECT 1; COMMIT", "START TRANSACTION"]
  it.effect("statements that begin or end a transaction are refused inside one, which stays whole", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (a INTEGER)`
        const attempts = Effect.gen(function* () {
          yield* sql`INSERT INTO t VALUES (1)`
          for (const text of endings) {
            assert.strictEqual(refusal(yield* Effect.flip(sql.unsafe(text))), "transaction-statement", text)
            assert.strictEqual(
              refusal(yield* Effect.flip(Stream.runDrain(sql.unsafe(text).stream))),
              "transaction-statement",
              text
            )
          }
          yield* sql`INSERT INTO t VALUES (2)`
        })
        yield* Effect.flip(sql.withTransaction(Effect.andThen(attempts, Effect.fail("no"))))
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [])
        yield* sql.withTransaction(attempts)
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 1 }, { a: 2 }])
      }),
      { poolSize: 1 }
    )
  )

  it.effect("a nested transaction joins the outer one, and its failure dooms both", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (a INTEGER)`
        yield* sql.withTransaction(
          Effect.andThen(sql`INSERT INTO t VALUES (1)`, sql.withTransaction(sql`INSERT INTO t VALUES (2)`))
        )
        const error = yield* Effect.flip(
          sql.withTransaction(
            Effect.gen(function* () {
              yield* sql`INSERT INTO t VALUES (3)`
              yield* Effect.ignore(
                sql.withTransaction(Effect.andThen(sql`INSERT INTO t VALUES (4)`, Effect.fail("no")))
              )
              yield* sql`INSERT INTO t VALUES (5)`
            })
          )
        )
        assert.strictEqual(refusal(error), "transaction-doomed")
        assert.deepStrictEqual(yield* sql`SELECT a FROM t ORDER BY a`, [{ a: 1 }, { a: 2 }])
      })
    )
  )

  const failures: ReadonlyArray<
    readonly [how: string, nest: (effect: Effect.Effect<unknown, unknown>) => Effect.Effect<unknown, unknown>]
  > = [
    ["fails", (insert) => Effect.andThen(insert, Effect.fail("no"))],
    ["dies", (insert) => Effect.andThen(insert, Effect.die("no"))],
    ["is interrupted", (insert) => Effect.andThen(insert, Effect.interrupt)],
    ["waits until it is interrupted", (insert) => Effect.andThen(insert, Effect.never)]
  ]
  for (const [how, nest] of failures) {
    it.effect(`a transaction is lost when one nested in it, at any depth, ${how}`, () =>
      TestClock.withLive(
        inMemory(
          Effect.gen(function* () {
            const sql = yield* DuckDbClient
            yield* sql`CREATE TABLE t (a INTEGER)`
            const failing = sql.withTransaction(sql.withTransaction(nest(sql`INSERT INTO t VALUES (1)`)))
            const error = yield* Effect.flip(
              sql.withTransaction(
                Effect.andThen(Effect.exit(Effect.timeoutOption(failing, 50)), sql`INSERT INTO t VALUES (2)`)
              )
            )
            assert.strictEqual(refusal(error), "transaction-doomed")
            assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [])
            yield* sql.withTransaction(sql`INSERT INTO t VALUES (3)`)
            assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 3 }])
          }),
          { poolSize: 1 }
        )
      )
    )
  }

  it.effect("a statement that DuckDB did not understand leaves the transaction as it was", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (a INTEGER)`
        yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* sql`INSERT INTO t VALUES (1)`
            for (const text of [
              "SELEC 1",
              "SELECT b FROM t",
              "SELECT * FROM nowhere",
              "SAVEPOINT s",
              "BEGIN IMMEDIATE"
            ]) {
              assert.strictEqual((yield* Effect.flip(sql.unsafe(text))).reason._tag, "SqlSyntaxError", text)
            }
            yield* sql`INSERT INTO t VALUES (2)`
          })
        )
        assert.deepStrictEqual(yield* sql`SELECT a FROM t ORDER BY a`, [{ a: 1 }, { a: 2 }])
      })
    )
  )

  it.effect("a statement that was given up takes its transaction with it", () =>
    TestClock.withLive(
      inMemory(
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          yield* sql`CREATE TABLE t (a INTEGER)`
          const error = yield* Effect.flip(
            sql.withTransaction(
              Effect.gen(function* () {
                yield* sql`INSERT INTO t VALUES (1)`
                yield* Effect.timeoutOption(sql.unsafe(endless), 30)
              })
            )
          )
          assert.include(error.message, "aborted")
          assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [])
        }),
        { poolSize: 1 }
      )
    )
  )

  it.effect("it begins with the statement asked for", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (a INTEGER)`
        const error = yield* sql
          .withTransaction(sql`INSERT INTO t VALUES (1)`)
          .pipe(Effect.provideService(SqlClient.BeginTransaction, "BEGIN TRANSACTION READ ONLY"), Effect.flip)
        assert.match(error.message, /^DuckDB: /)
        yield* sql.withTransaction(sql`INSERT INTO t VALUES (2)`)
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 2 }])
      }),
      { poolSize: 1 }
    )
  )

  it.effect("transactions of two clients have nothing to do with each other", () =>
    inMemory(
      Effect.gen(function* () {
        const one = yield* DuckDbClient
        yield* one`CREATE TABLE t (a INTEGER)`
        const use = Effect.gen(function* () {
          const two = yield* DuckDbClient
          yield* two`CREATE TABLE t (a INTEGER)`
          yield* Effect.flip(
            one.withTransaction(
              Effect.gen(function* () {
                yield* one`INSERT INTO t VALUES (1)`
                yield* two.withTransaction(two`INSERT INTO t VALUES (2)`)
                return yield* Effect.fail("no")
              })
            )
          )
          assert.deepStrictEqual(yield* two`SELECT a FROM t`, [{ a: 2 }])
        })
        yield* inMemory(use)
        assert.deepStrictEqual(yield* one`SELECT a FROM t`, [])
      })
    )
  )

  it.effect("two transactions that change the same row conflict, and the loser succeeds when retried", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (a INTEGER)`
        yield* sql`INSERT INTO t VALUES (0)`
        const hasRead = yield* Deferred.make<void>()
        const hasWritten = yield* Deferred.make<void>()
        const reasons: Array<string> = []
        const loser = sql
          .withTransaction(
            Effect.gen(function* () {
              yield* sql`SELECT a FROM t`
              yield* Deferred.succeed(hasRead, undefined)
              yield* Deferred.await(hasWritten)
              yield* sql`UPDATE t SET a = a + 1`
            })
          )
          .pipe(
            Effect.tapError((error) => Effect.sync(() => reasons.push(`${error.reason._tag} ${error.isRetryable}`))),
            Effect.retry({ while: (error) => error.isRetryable, schedule: Schedule.recurs(3) })
          )
        const fiber = yield* Effect.forkChild(loser)
        yield* Deferred.await(hasRead)
        yield* sql.withTransaction(sql`UPDATE t SET a = a + 10`)
        yield* Deferred.succeed(hasWritten, undefined)
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(reasons, ["SerializationError true"])
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 11 }])
      })
    )
  )

  it.effect("statements of several fibers in one transaction run one after the other", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (a INTEGER)`
        yield* sql.withTransaction(
          Effect.forEach(
            Array.from({ length: 50 }, (_, index) => index),
            (index) => sql`INSERT INTO t VALUES (${index})`,
            { concurrency: 10 }
          )
        )
        assert.deepStrictEqual(yield* sql`SELECT count(*) AS n, sum(a)::INTEGER AS s FROM t`, [{ n: 50n, s: 1225 }])
      })
    )
  )

  it.effect("a fiber that outlives its transaction cannot use the connection any more", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const isOver = yield* Deferred.make<void>()
        const fiber = yield* sql.withTransaction(
          Effect.forkDetach(Effect.flip(Effect.andThen(Deferred.await(isOver), sql`SELECT 1 AS a`)))
        )
        yield* Deferred.succeed(isOver, undefined)
        assert.strictEqual(refusal(yield* Fiber.join(fiber)), "transaction-ended")
      })
    )
  )
})

describe("streams", () => {
  const count = 50_000

  it.effect("a stream is whole although other statements run meanwhile", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql.unsafe(`CREATE TABLE t AS SELECT range AS a FROM range(${count})`)
        let next = 0n
        yield* Stream.runForEachArray(sql<{ a: bigint }>`SELECT a FROM t ORDER BY a`.stream, (rows) =>
          Effect.gen(function* () {
            for (const { a } of rows) assert.strictEqual(a, next++)
            yield* sql`SELECT 1 AS one`
          })
        )
        assert.strictEqual(next, BigInt(count))
      })
    )
  )

  it.effect("inside a transaction a stream is whole, and another statement meanwhile is refused", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* sql.unsafe(`CREATE TABLE t AS SELECT range AS a FROM range(${count})`)
            let rows = 0
            const refused = new Set<string | undefined>()
            yield* Stream.runForEachArray(sql`SELECT a FROM t`.stream, (chunk) =>
              Effect.gen(function* () {
                rows += chunk.length
                refused.add(refusal(yield* Effect.flip(sql`SELECT 1 AS one`)))
              })
            )
            assert.strictEqual(rows, count)
            assert.deepStrictEqual([...refused], ["stream-open"])
            assert.deepStrictEqual(yield* sql`SELECT count(*) AS n FROM t`, [{ n: BigInt(count) }])
          })
        )
        assert.deepStrictEqual(yield* sql`SELECT count(*) AS n FROM t`, [{ n: BigInt(count) }])
      })
    )
  )

  it.effect("a stream left early frees its connection, the transaction and the file", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "a.duckdb")
      yield* withClient(
        { filename, poolSize: 1 },
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          yield* sql.unsafe(`CREATE TABLE t AS SELECT range AS a FROM range(${count})`)
          const first = Stream.runCollect(Stream.take(sql`SELECT a FROM t ORDER BY a`.stream, 2))
          assert.deepStrictEqual(yield* first, [{ a: 0n }, { a: 1n }])
          yield* sql.withTransaction(
            Effect.gen(function* () {
              yield* sql`INSERT INTO t VALUES (-1)`
              assert.deepStrictEqual(yield* first, [{ a: -1n }, { a: 0n }])
              yield* Effect.flip(Stream.runForEach(sql`SELECT a FROM t`.stream, () => Effect.fail("stop")))
              yield* sql`INSERT INTO t VALUES (-2)`
            })
          )
          assert.deepStrictEqual(yield* first, [{ a: -2n }, { a: -1n }])
          yield* Effect.flip(Stream.runForEach(sql.streamChunks("SELECT a FROM t"), () => Effect.fail("stop")))
        })
      )
      assert.isFalse(existsSync(`${filename}.wal`))
      const other = yield* runChild(
        `import { DuckDBInstance } from "@duckdb/node-api"; await DuckDBInstance.create(${JSON.stringify(filename)})`
      )
      assert.strictEqual(other.code, 0, other.stderr)
    })
  )

  it.effect("a stream is pulled chunk by chunk, so the first rows of an endless one come at once", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const rows = sql<{ a: bigint }>`SELECT range AS a FROM range(1000000000000000)`.stream
        const first = Stream.runCollect(Stream.map(Stream.take(rows, 3), ({ a }) => a))
        assert.deepStrictEqual(yield* first, [0n, 1n, 2n])
        assert.deepStrictEqual(yield* first, [0n, 1n, 2n])
      }),
      { poolSize: 1, memoryLimit: "100MB" }
    )
  )

  it.effect("an error in the middle of a stream fails it and leaves the connection usable", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const stream = sql.unsafe(
          `SELECT CASE WHEN range < 90000 THEN 1 ELSE error('private value') END AS a FROM range(100000)`
        ).stream
        const error = yield* Effect.flip(Stream.runDrain(stream))
        assert.notInclude(error.message, "private")
        assert.deepStrictEqual(yield* sql`SELECT 1 AS a`, [{ a: 1 }])
      }),
      { poolSize: 1 }
    )
  )

  it.effect("streamChunks gives native chunks with bound parameters", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const sizes = yield* Stream.runCollect(
          Stream.map(sql.streamChunks("SELECT range AS a FROM range(?)", [5000]), (chunk) => chunk.rowCount)
        )
        assert.strictEqual(
          sizes.reduce((sum, size) => sum + size, 0),
          5000
        )
        assert.isAbove(sizes.length, 1)
      })
    )
  )

  it.effect(
    "chunks gives all of them at once, inside a transaction what that sees, and none of a statement without rows",
    () =>
      inMemory(
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          const rowsOf = (text: string, parameters?: ReadonlyArray<unknown>) =>
            Effect.map(sql.chunks(text, parameters), (chunks) =>
              chunks.reduce((sum, { rowCount }) => sum + rowCount, 0)
            )
          assert.strictEqual(yield* rowsOf("SELECT range AS a FROM range(5000)"), 5000)
          assert.strictEqual(yield* rowsOf("SELECT range AS a FROM range(?)", [5000]), 5000)
          assert.strictEqual(yield* rowsOf("SELECT 1 AS a WHERE false"), 0)
          assert.deepStrictEqual(yield* sql.chunks("CREATE TABLE t (a INTEGER)"), [])
          const inside = yield* sql.withTransaction(
            Effect.andThen(sql`INSERT INTO t VALUES (1), (2)`, rowsOf("SELECT a FROM t"))
          )
          assert.strictEqual(inside, 2)
          const [chunk] = yield* sql.chunks("SELECT a FROM t ORDER BY a")
          assert.deepStrictEqual(chunk?.getColumnValues(0), [1, 2])
          const error = yield* Effect.flip(sql.chunks("SELECT error('private value') FROM range(3)"))
          assert.notInclude(error.message, "private")
        }),
        { poolSize: 1 }
      )
  )
})

describe("interruption", () => {
  it.effect("an interrupted statement is stopped before its connection serves the next one", () =>
    TestClock.withLive(
      inMemory(
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          for (const delay of [0, 1, 100]) {
            const fiber = yield* Effect.forkChild(sql.unsafe(endless))
            yield* Effect.sleep(delay)
            yield* Fiber.interrupt(fiber)
            assert.deepStrictEqual(yield* sql`SELECT 1 AS a`, [{ a: 1 }])
          }
        }),
        { poolSize: 1 }
      )
    )
  )

  it.effect("an interrupted transaction is rolled back", () =>
    TestClock.withLive(
      inMemory(
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          yield* sql`CREATE TABLE t (a INTEGER)`
          const hasBegun = yield* Deferred.make<void>()
          const fiber = yield* Effect.forkChild(
            sql.withTransaction(
              Effect.gen(function* () {
                yield* sql`INSERT INTO t VALUES (1)`
                yield* Deferred.succeed(hasBegun, undefined)
                yield* sql.unsafe(endless)
              })
            )
          )
          yield* Deferred.await(hasBegun)
          yield* Effect.sleep(20)
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [])
          yield* sql.withTransaction(sql`INSERT INTO t VALUES (2)`)
          assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 2 }])
        }),
        { poolSize: 1 }
      )
    )
  )

  it.effect("an interrupted stream gives its connection back", () =>
    TestClock.withLive(
      inMemory(
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          for (const query of ["SELECT range AS a FROM range(1000000000)", endless]) {
            const fiber = yield* Effect.forkChild(Stream.runDrain(sql.unsafe(query).stream))
            yield* Effect.sleep(30)
            yield* Fiber.interrupt(fiber)
            assert.deepStrictEqual(yield* sql`SELECT 1 AS a`, [{ a: 1 }])
          }
        }),
        { poolSize: 1 }
      )
    )
  )

  it.effect("an operation on the native connection is waited for when interrupted", () =>
    TestClock.withLive(
      inMemory(
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          let isRunning = true
          const fiber = yield* Effect.forkChild(
            sql.withConnection((session) =>
              session.use((native) =>
                native.run(endless).finally(() => {
                  isRunning = false
                })
              )
            )
          )
          yield* Effect.sleep(30)
          assert.isTrue(isRunning)
          yield* Fiber.interrupt(fiber)
          assert.isFalse(isRunning)
          assert.deepStrictEqual(yield* sql`SELECT 1 AS a`, [{ a: 1 }])
        }),
        { poolSize: 1 }
      )
    )
  )
})

describe("the pool", () => {
  it.effect("as many statements run at once as there are connections", () =>
    TestClock.withLive(
      inMemory(
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          const long = yield* Effect.forEach([1, 2], () => Effect.forkChild(sql.unsafe(endless)))
          yield* Effect.sleep(30)
          assert.deepStrictEqual(yield* sql`SELECT 1 AS a`, [{ a: 1 }])
          for (const fiber of long) {
            assert.isUndefined(fiber.pollUnsafe())
            yield* Fiber.interrupt(fiber)
          }
          const all = yield* Effect.forEach([1, 2, 3], (n) => sql.withTransaction(sql`SELECT ${n} AS n`), {
            concurrency: 3
          })
          assert.lengthOf(all, 3)
        }),
        { poolSize: 3 }
      )
    )
  )

  it.effect("there are four connections unless told otherwise", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const [four, fifth] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
        const held = yield* Ref.make(0)
        const hold = sql.withTransaction(
          Effect.gen(function* () {
            if ((yield* Ref.updateAndGet(held, (count) => count + 1)) === 4) yield* Deferred.succeed(four, undefined)
            yield* Deferred.await(fifth)
          })
        )
        const holders = yield* Effect.forEach([1, 2, 3, 4, 5], () => Effect.forkChild(hold))
        yield* Deferred.await(four)
        for (let turn = 0; turn < 100; turn++) yield* Effect.yieldNow
        assert.strictEqual(yield* Ref.get(held), 4)
        yield* Deferred.succeed(fifth, undefined)
        yield* Effect.forEach(holders, Fiber.join)
        assert.strictEqual(yield* Ref.get(held), 5)
      })
    )
  )

  it.effect("each transaction has a connection of its own, and nobody else sees its rows before the commit", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (a INTEGER)`
        const counting = Effect.map(sql<{ n: number }>`SELECT count(*)::INTEGER AS n FROM t`, ([row]) => row?.n)
        const barrier = yield* Deferred.make<void>()
        const seen = yield* Ref.make(0)
        const counts = yield* Effect.forEach(
          [1, 2, 3],
          (n) =>
            sql.withTransaction(
              Effect.gen(function* () {
                yield* sql`INSERT INTO t SELECT range FROM range(${n})`
                if ((yield* Ref.updateAndGet(seen, (count) => count + 1)) === 3) {
                  yield* Deferred.succeed(barrier, undefined)
                }
                yield* Deferred.await(barrier)
                return yield* counting
              })
            ),
          { concurrency: 3 }
        )
        assert.deepStrictEqual(counts, [1, 2, 3])
        assert.strictEqual(yield* counting, 6)
      }),
      { poolSize: 3 }
    )
  )

  it.effect("a connection that is lost is replaced by a new one", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (a INTEGER)`
        const lose = sql.withConnection((session) => Effect.sync(() => session.native.closeSync()))
        yield* lose
        assert.strictEqual((yield* Effect.flip(sql`SELECT 1 AS a`)).reason._tag, "ConnectionError")
        assert.deepStrictEqual(yield* sql`SELECT 1 AS a`, [{ a: 1 }])
        const error = yield* Effect.flip(sql.withTransaction(Effect.andThen(sql`INSERT INTO t VALUES (1)`, lose)))
        assert.strictEqual(error.reason._tag, "ConnectionError")
        yield* sql.withTransaction(sql`INSERT INTO t VALUES (2)`)
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 2 }])
      }),
      { poolSize: 1 }
    )
  )

  it.effect("who waits for a connection can be interrupted, and the pool serves on", () =>
    TestClock.withLive(
      inMemory(
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          const release = yield* Deferred.make<void>()
          const holders = yield* Effect.forEach([1, 2], () =>
            Effect.forkChild(sql.withTransaction(Effect.andThen(sql`SELECT 1 AS a`, Deferred.await(release))))
          )
          yield* Effect.sleep(20)
          const waiting = yield* Effect.forkChild(sql`SELECT 2 AS a`)
          const interrupted = yield* Effect.forkChild(sql.withTransaction(sql`SELECT 3 AS a`))
          yield* Effect.sleep(20)
          assert.isUndefined(waiting.pollUnsafe())
          yield* Fiber.interrupt(interrupted)
          yield* Deferred.succeed(release, undefined)
          yield* Effect.forEach(holders, Fiber.join)
          assert.deepStrictEqual(yield* Fiber.join(waiting), [{ a: 2 }])
          const all = yield* Effect.forEach([1, 2, 3, 4, 5, 6], (n) => sql`SELECT ${n} AS n`, { concurrency: 6 })
          assert.deepStrictEqual(
            all.flat(),
            [1, 2, 3, 4, 5, 6].map((n) => ({ n }))
          )
        }),
        { poolSize: 2 }
      )
    )
  )
})
