import { DuckDBInstance } from "@duckdb/node-api"
import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient, toOpenError, toSqlError } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { type SqlError } from "effect/sql"
import { join } from "node:path"
import { inMemory, temporaryFolder } from "./support.ts"

const setup = `
  CREATE TABLE parent (id INTEGER PRIMARY KEY, name VARCHAR UNIQUE, age INTEGER NOT NULL CHECK (age < 200));
  CREATE TABLE child (parent INTEGER REFERENCES parent (id));
  INSERT INTO parent VALUES (1, 'Secret Name', 42)`

const failures: ReadonlyArray<readonly [sql: string, reason: SqlError.SqlErrorReason["_tag"]]> = [
  ["SELEC 1", "SqlSyntaxError"],
  ["SELECT 'Secret Name' FROM nowhere", "SqlSyntaxError"],
  ["SELECT secret_name FROM parent", "SqlSyntaxError"],
  ["SELECT nofunction(1)", "SqlSyntaxError"],
  ["CREATE TABLE parent (a INTEGER)", "SqlSyntaxError"],
  ["SAVEPOINT a", "SqlSyntaxError"],
  ["SELECT ?", "SqlSyntaxError"],
  ["INSERT INTO parent VALUES (1, 'x', 1)", "UniqueViolation"],
  ["INSERT INTO parent VALUES (2, 'Secret Name', 1)", "UniqueViolation"],
  ["INSERT INTO parent VALUES (2, 'x', NULL)", "ConstraintError"],
  ["INSERT INTO parent VALUES (2, 'x', 999)", "ConstraintError"],
  ["INSERT INTO child VALUES (777)", "ConstraintError"],
  ["SELECT 'Secret Name'::INTEGER", "UnknownError"],
  ["SELECT 300::TINYINT", "UnknownError"],
  ["SELECT 9223372036854775807 + 1", "UnknownError"],
  ["SELECT error('Secret Name')", "UnknownError"],
  ["SELECT * FROM read_csv('/nowhere/Secret Name')", "UnknownError"],
  ["ATTACH '/nowhere/Secret Name/a.duckdb' AS other", "UnknownError"],
  ["COMMIT", "UnknownError"],
  ["ROLLBACK", "UnknownError"]
]

describe("the reason of an SqlError", () => {
  it.effect("follows from what went wrong, and its message never repeats DuckDB's", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql.unsafe(setup)
        for (const [statement, reason] of failures) {
          const error = yield* Effect.flip(sql.unsafe(statement)).pipe(
            Effect.catch(() => Effect.die(new Error(`${statement} succeeded`)))
          )
          assert.strictEqual(error.reason._tag, reason, statement)
          assert.match(error.message, /^DuckDB: /, statement)
          assert.notMatch(error.message, /secret|777|300|parent|nowhere/i, statement)
          assert.instanceOf(error.reason.cause, Error, statement)
          assert.strictEqual(error.isRetryable, false, statement)
        }
      })
    )
  )

  it.effect("names the kind of unique constraint", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql.unsafe(setup)
        const kinds: Array<string> = []
        for (const values of ["(1, 'x', 1)", "(2, 'Secret Name', 1)"]) {
          const error = yield* Effect.flip(sql.unsafe(`INSERT INTO parent VALUES ${values}`))
          if (error.reason._tag === "UniqueViolation") kinds.push(error.reason.constraint)
        }
        assert.deepStrictEqual(kinds, ["primary key", "unique"])
      })
    )
  )

  it.effect("conflicts are retryable, wherever they show", () =>
    Effect.gen(function* () {
      const instance = yield* Effect.promise(() => DuckDBInstance.create(":memory:"))
      const [one, two] = yield* Effect.promise(() => Promise.all([instance.connect(), instance.connect()]))
      const run = (connection: typeof one, sql: string) =>
        Effect.tryPromise({ try: () => connection.run(sql), catch: (cause) => toSqlError(cause, "test") })
      yield* run(one, "CREATE TABLE t (a INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
      const conflicts: ReadonlyArray<readonly [first: string, second: string, reason: string]> = [
        ["UPDATE t SET a = 2", "UPDATE t SET a = 3", "SerializationError"],
        ["DELETE FROM t", "UPDATE t SET a = 3", "SerializationError"],
        ["UPDATE t SET a = 4", "DELETE FROM t", "SerializationError"],
        ["CREATE TABLE u (a INTEGER)", "CREATE TABLE u (b INTEGER)", "SerializationError"],
        ["INSERT INTO t VALUES (9)", "INSERT INTO t VALUES (9)", "UniqueViolation"],
        ["ALTER TABLE t ADD COLUMN b INTEGER", "INSERT INTO t VALUES (8)", "SerializationError"]
      ]
      for (const [first, second, reason] of conflicts) {
        yield* run(one, "BEGIN")
        yield* run(two, "BEGIN")
        yield* run(two, "FROM t")
        yield* run(one, first)
        const error = yield* Effect.flip(
          Effect.andThen(run(two, second), Effect.andThen(run(one, "COMMIT"), run(two, "COMMIT")))
        )
        assert.strictEqual(error.reason._tag, reason, `${first} / ${second}`)
        yield* Effect.ignore(run(one, "ROLLBACK"))
        yield* Effect.ignore(run(two, "ROLLBACK"))
        yield* run(
          one,
          "DROP TABLE IF EXISTS u; CREATE OR REPLACE TABLE t (a INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)"
        )
      }
      one.closeSync()
      two.closeSync()
      instance.closeSync()
    })
  )

  it.effect("covers memory, interruption, closed connections and appenders", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const instance = yield* Effect.promise(() =>
        DuckDBInstance.create(join(folder, "a.duckdb"), {
          memory_limit: "20MB",
          max_temp_directory_size: "0B",
          threads: "1"
        })
      )
      const connection = yield* Effect.promise(() => instance.connect())
      const reasonOf = (f: () => Promise<unknown>) =>
        Effect.tryPromise({ try: f, catch: (cause) => toSqlError(cause, "test") }).pipe(
          Effect.flip,
          Effect.map((error) => `${error.reason._tag}: ${error.message}`)
        )
      assert.include(
        yield* reasonOf(() => connection.run("SELECT list(range) FROM range(100000000)")),
        "UnknownError: DuckDB: the statement needs more memory"
      )
      assert.include(
        yield* reasonOf(() => {
          const running = connection.run("SELECT sum(hash(a.range, b.range)) FROM range(10000000) a, range(1000000) b")
          const timer = setInterval(() => connection.interrupt(), 10)
          return running.finally(() => clearInterval(timer))
        }),
        "StatementTimeoutError"
      )
      yield* Effect.promise(() => connection.run("CREATE TABLE t (a INTEGER PRIMARY KEY)"))
      const appender = yield* Effect.promise(() => connection.createAppender("t"))
      assert.include(
        yield* reasonOf(async () => {
          for (let index = 0; index < 2; index++) {
            appender.appendInteger(777)
            appender.endRow()
          }
          appender.flushSync()
        }),
        "UniqueViolation"
      )
      appender.clear()
      appender.closeSync()
      connection.closeSync()
      assert.include(yield* reasonOf(() => connection.run("SELECT 1")), "ConnectionError")
      instance.closeSync()
    })
  )
})

describe("the reason of a DuckDbOpenError", () => {
  const messages: ReadonlyArray<readonly [message: string, reason: string]> = [
    [
      'IO Error: Could not set lock on file "/a": Conflicting lock is held in /usr/bin/node (PID 1397). See also …',
      "locked"
    ],
    ['IO Error: Cannot open file "/a": No space left on device', "no-space"],
    ["FATAL Error: fsync failed!", "io"],
    ['IO Error: Cannot open file "/a": Permission denied', "permission"],
    ["Serialization Error: Failed to deserialize: field id mismatch", "damaged"],
    ['INTERNAL Error: replaying WAL: Cannot open file "/a.wal": Input/output error', "io"],
    ['INTERNAL Error: Failure while replaying WAL file "/a.wal"', "damaged"],
    ["something that no rule knows", "io"]
  ]
  for (const [message, reason] of messages) {
    it(`${reason} for ${JSON.stringify(message.slice(0, 40))}`, () => {
      const error = toOpenError(new Error(message), "/a")
      assert.strictEqual(error.reason, reason)
      assert.strictEqual(error.holder, reason === "locked" ? 1397 : undefined)
    })
  }
})
