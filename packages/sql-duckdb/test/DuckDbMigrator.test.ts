import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient, DuckDbMigrator } from "@mallard/sql-duckdb"
import { Effect, Layer } from "effect"
import { Migrator, SqlClient } from "effect/sql"
import { join } from "node:path"
import { inMemory, temporaryFolder } from "./support.ts"

const first = {
  "1_people": Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`CREATE SEQUENCE people_id`
    yield* sql`CREATE TABLE people (id INTEGER DEFAULT nextval('people_id'), name VARCHAR NOT NULL)`
  })
}

const second = {
  ...first,
  "2_ada": Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`INSERT INTO people ${sql.insert({ name: "Ada" })}`
  })
}

describe("the migrator", () => {
  it.effect("runs each migration once, also over several openings", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "a.duckdb")
      const migrate = (migrations: typeof first) =>
        DuckDbMigrator.run({ loader: Migrator.fromRecord(migrations) }).pipe(
          Effect.provide(DuckDbClient.layer({ filename }), { local: true })
        )
      assert.deepStrictEqual(yield* migrate(first), [[1, "people"]])
      assert.deepStrictEqual(yield* migrate(second), [[2, "ada"]])
      assert.deepStrictEqual(yield* migrate(second), [])
      const people = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT name FROM people`)
      const layer = DuckDbMigrator.layer({ loader: DuckDbMigrator.fromRecord(second) }).pipe(
        Layer.provideMerge(DuckDbClient.layer({ filename }))
      )
      assert.deepStrictEqual(yield* Effect.provide(people, layer, { local: true }), [{ name: "Ada" }])
    })
  )

  it.effect("Effect's own migrator and loaders run on the client unchanged, twice", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const migrate = Migrator.make({})
        assert.deepStrictEqual(yield* migrate({ loader: Migrator.fromRecord(first) }), [[1, "people"]])
        assert.deepStrictEqual(yield* migrate({ loader: Migrator.fromRecord(second) }), [[2, "ada"]])
        assert.deepStrictEqual(yield* migrate({ loader: Migrator.fromRecord(second) }), [])
        assert.deepStrictEqual(yield* sql`SELECT name FROM people`, [{ name: "Ada" }])
      })
    )
  )

  it.effect("each migration runs once, also when several start at the same time", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const all = yield* Effect.forEach(
          [1, 2, 3, 4],
          () => DuckDbMigrator.run({ loader: DuckDbMigrator.fromRecord(second) }),
          { concurrency: 4 }
        )
        assert.deepStrictEqual(all.flat(), [
          [1, "people"],
          [2, "ada"]
        ])
        assert.deepStrictEqual(yield* sql`SELECT name FROM people`, [{ name: "Ada" }])
      })
    )
  )

  it.effect("migrations come from modules too, in the order of their numbers, into the table asked for", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const loader = DuckDbMigrator.fromGlob({
          "migrations/10_ada.ts": () => Promise.resolve({ default: second["2_ada"] }),
          "migrations/9_people.ts": () => Promise.resolve({ default: first["1_people"] })
        })
        assert.deepStrictEqual(yield* DuckDbMigrator.run({ loader, table: "our migrations" }), [
          [9, "people"],
          [10, "ada"]
        ])
        assert.deepStrictEqual(yield* sql`SELECT migration_id, name FROM "our migrations" ORDER BY ALL`, [
          { migration_id: 9, name: "people" },
          { migration_id: 10, name: "ada" }
        ])
      })
    )
  )

  it.effect("a failing migration leaves nothing behind", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const error = yield* Effect.flip(
          DuckDbMigrator.run({ loader: DuckDbMigrator.fromRecord({ ...first, "2_bad": Effect.fail("no") }) })
        )
        assert.strictEqual(error._tag, "MigrationError")
        assert.strictEqual((yield* Effect.flip(sql`SELECT * FROM people`)).reason._tag, "SqlSyntaxError")
        assert.deepStrictEqual(yield* DuckDbMigrator.run({ loader: DuckDbMigrator.fromRecord(first) }), [[1, "people"]])
      })
    )
  )
})
