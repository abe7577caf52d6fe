import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient, DuckDbMigrator } from "@mallard/sql-duckdb"
import { Effect, Layer, Option, Schema } from "effect"
import { Model } from "effect/schema"
import { Migrator, SqlClient, SqlModel, SqlSchema } from "effect/sql"
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

class Person extends Model.Class<Person>("Person")({
  id: Model.Field({ select: Schema.Int, update: Schema.Int, json: Schema.Int }),
  name: Schema.String
}) {}

describe("Effect's SQL modules", () => {
  it.effect("a repository inserts, finds, updates and deletes", () =>
    inMemory(
      Effect.gen(function* () {
        yield* DuckDbMigrator.run({ loader: DuckDbMigrator.fromRecord(first) })
        const people = yield* SqlModel.makeRepository(Person, {
          tableName: "people",
          spanPrefix: "People",
          idColumn: "id"
        })
        const ada = yield* people.insert(Person.insert.make({ name: "Ada" }))
        assert.deepStrictEqual({ ...ada }, { id: 1, name: "Ada" })
        yield* people.update(Person.update.make({ id: ada.id, name: "Ada L." }))
        assert.strictEqual((yield* people.findById(ada.id)).name, "Ada L.")
        yield* people.delete(ada.id)
        assert.strictEqual((yield* Effect.flip(people.findById(ada.id)))._tag, "NoSuchElementError")
      })
    )
  )

  it.effect("schemas decode rows", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const find = SqlSchema.findOneOption({
          Request: Schema.Int,
          Result: Schema.Struct({ n: Schema.BigInt, at: Schema.DateTimeUtcFromString }),
          execute: (n) => sql`SELECT ${n}::BIGINT AS n, TIMESTAMPTZ '2024-02-29 12:00:00+00' AS at WHERE ${n} > 0`
        })
        const found = yield* find(7)
        assert.strictEqual(Option.getOrThrow(found).n, 7n)
        assert.strictEqual(Option.getOrThrow(found).at.epochMilliseconds, Date.UTC(2024, 1, 29, 12))
        assert.isTrue(Option.isNone(yield* find(0)))
      })
    )
  )
})
