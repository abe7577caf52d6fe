import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient, DuckDbMigrator } from "@mallard/sql-duckdb"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Queue, Ref, Schema, Stream, Tracer } from "effect"
import { Reactivity } from "effect/reactivity"
import { Model } from "effect/schema"
import { SqlClient, SqlModel, SqlResolver, SqlSchema } from "effect/sql"
import { inMemory } from "./support.ts"

/** A model that uses what models are made of: keys from the database, times, JSON, options, flags. */
class Ringing extends Model.Class<Ringing>("Ringing")({
  id: Model.Field({ select: Schema.BigInt, update: Schema.BigInt, json: Schema.BigInt }),
  ring: Schema.String,
  weight: Model.FieldOption(Schema.Finite),
  colours: Model.JsonFromString(Schema.Array(Schema.String)),
  isAdult: Schema.Boolean,
  createdAt: Model.DateTimeInsert,
  updatedAt: Model.DateTimeUpdate,
  deletedAt: Model.FieldOption(Schema.DateTimeUtcFromString)
}) {}

const migrations = DuckDbMigrator.fromRecord({
  "1_ringings": Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`CREATE SEQUENCE ringing_id`
    yield* sql`CREATE TABLE ringings (
      id BIGINT PRIMARY KEY DEFAULT nextval('ringing_id'), ring VARCHAR NOT NULL UNIQUE, weight DOUBLE, colours JSON NOT NULL,
      "isAdult" BOOLEAN NOT NULL, "createdAt" TIMESTAMPTZ NOT NULL, "updatedAt" TIMESTAMPTZ NOT NULL,
      "deletedAt" TIMESTAMPTZ
    )`
  })
})

const options = {
  tableName: "ringings",
  spanPrefix: "Ringings",
  idColumn: "id",
  softDeleteColumn: "deletedAt"
} as const

const ringing = (ring: string) =>
  Ringing.insert.make({
    ring,
    weight: Option.some(1.5),
    colours: ["green", "white"],
    isAdult: true,
    createdAt: undefined,
    updatedAt: undefined,
    deletedAt: Option.none()
  })

const withRingings = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  inMemory(Effect.andThen(DuckDbMigrator.run({ loader: migrations }), effect))

describe("SqlModel", () => {
  it.effect("a repository inserts, finds, updates and marks as deleted, in and out of a transaction", () =>
    withRingings(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const ringings = yield* SqlModel.makeRepository(Ringing, options)
        const one = yield* ringings.insert(ringing("A1"))
        assert.strictEqual(one.id, 1n)
        assert.deepStrictEqual(one.colours, ["green", "white"])
        assert.deepStrictEqual(yield* ringings.findById(1n), one)
        yield* ringings.insertVoid(ringing("A2"))
        const heavier = Ringing.update.make({ ...one, weight: Option.some(2), updatedAt: undefined })
        const updated = yield* ringings.update(heavier)
        assert.deepStrictEqual(updated.weight, Option.some(2))
        assert.deepStrictEqual(updated.createdAt, one.createdAt)
        yield* ringings.delete(1n)
        assert.strictEqual((yield* Effect.flip(ringings.findById(1n)))._tag, "NoSuchElementError")
        assert.deepStrictEqual(yield* sql`SELECT id, "deletedAt" IS NULL AS alive FROM ringings ORDER BY id`, [
          { id: 1n, alive: false },
          { id: 2n, alive: true }
        ])
        const exit = yield* Effect.exit(
          sql.withTransaction(Effect.andThen(ringings.insert(ringing("A3")), ringings.insert(ringing("A2"))))
        )
        assert.isTrue(Exit.isFailure(exit))
        assert.deepStrictEqual(yield* sql`SELECT count(*)::INTEGER AS n FROM ringings`, [{ n: 2 }])
      })
    )
  )

  it.effect("resolvers make one statement of many requests, and answer each in its place", () =>
    withRingings(
      Effect.gen(function* () {
        const ringings = yield* SqlModel.makeResolvers(Ringing, options)
        const rings = Array.from({ length: 2100 }, (_, index) => `R${index}`)
        const statements = yield* Ref.make<ReadonlyArray<string>>([])
        const made = yield* Effect.forEach(rings, (ring) => SqlResolver.request(ringing(ring), ringings.insert), {
          concurrency: "unbounded"
        }).pipe(noting(statements))
        assert.lengthOf(yield* Ref.get(statements), 1)
        assert.deepStrictEqual(
          made.map(({ ring }) => ring),
          rings
        )
        assert.deepStrictEqual(
          made.map(({ id }) => id),
          rings.map((_, index) => BigInt(index + 1))
        )
        const found = yield* Effect.forEach(
          [2090n, 7n, 9999n, 7n],
          (id) => Effect.option(SqlResolver.request(id, ringings.findById)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          found.map((one) => Option.getOrNull(Option.map(one, ({ ring }) => ring))),
          ["R2089", "R6", null, "R6"]
        )
        yield* Effect.forEach([1n, 2n], (id) => SqlResolver.request(id, ringings.delete), { concurrency: "unbounded" })
        const gone = yield* Effect.exit(SqlResolver.request(2n, ringings.findById))
        assert.isTrue(Exit.isFailure(gone))
      })
    )
  )
})

/** Notes the text of every statement that an effect runs. */
const noting = (statements: Ref.Ref<ReadonlyArray<string>>) => {
  const note = (span: Tracer.NativeSpan) => {
    const text = span.attributes.get("db.query.text")
    return typeof text === "string" ? [text] : []
  }
  return <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const spans: Array<Tracer.NativeSpan> = []
      const result = yield* Effect.withTracer(effect, collecting(spans))
      yield* Ref.update(statements, (texts) => [...texts, ...spans.flatMap(note)])
      return result
    })
}

const collecting = (spans: Array<Tracer.NativeSpan>) =>
  Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })

describe("SqlSchema and SqlResolver", () => {
  it.effect("requests are encoded, rows are decoded, and a wrong row is a schema error", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const Row = Schema.Struct({ n: Schema.BigIntFromString, day: Schema.String })
        const Request = Schema.Struct({ from: Schema.FiniteFromString, to: Schema.FiniteFromString })
        const execute = ({ from, to }: { readonly from: string; readonly to: string }) =>
          sql`SELECT range::VARCHAR AS n, (DATE '2024-02-28' + range::INTEGER)::DATE AS day FROM range(${from}::INTEGER, ${to}::INTEGER)`
        const all = SqlSchema.findAll({ Request, Result: Row, execute })
        assert.deepStrictEqual(yield* all({ from: 1, to: 3 }), [
          { n: 1n, day: "2024-02-29" },
          { n: 2n, day: "2024-03-01" }
        ])
        assert.deepStrictEqual(yield* all({ from: 3, to: 3 }), [])
        const some = SqlSchema.findNonEmpty({ Request, Result: Row, execute })
        assert.strictEqual((yield* Effect.flip(some({ from: 3, to: 3 })))._tag, "NoSuchElementError")
        const wrong = SqlSchema.findOne({
          Request,
          Result: Schema.Struct({ n: Schema.Int, day: Schema.String }),
          execute
        })
        assert.strictEqual((yield* Effect.flip(wrong({ from: 1, to: 2 })))._tag, "SchemaError")
      })
    )
  )

  it.effect("values of the exact mode decode into big integers and points in time", () =>
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

  it.effect("grouped resolvers read rows of many parents at once", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE visits AS SELECT * FROM (VALUES (1, 'a'), (2, 'b'), (1, 'c')) v(bird, place)`
        const visits = SqlResolver.grouped({
          Request: Schema.Int,
          RequestGroupKey: (bird) => bird,
          Result: Schema.Struct({ bird: Schema.Int, place: Schema.String }),
          ResultGroupKey: ({ bird }) => bird,
          execute: (birds) => sql`SELECT * FROM visits WHERE ${sql.in("bird", birds)} ORDER BY place`
        })
        const found = yield* Effect.forEach([2, 1], (bird) => SqlResolver.request(bird, visits), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(
          found.map((rows) => rows.map(({ place }) => place)),
          [["b"], ["a", "c"]]
        )
      })
    )
  )
})

describe("reactive queries", () => {
  const live = Layer.mergeAll(DuckDbClient.layer({ filename: ":memory:" }), Reactivity.layer)

  it.effect("a query runs again after a change to its keys, and only once that change is committed", () =>
    Effect.gen(function* () {
      const sql = yield* DuckDbClient
      yield* sql`CREATE TABLE t (a INTEGER)`
      const counts = yield* Queue.unbounded<number>()
      const counting = sql<{ n: number }>`SELECT count(*)::INTEGER AS n FROM t`
      yield* Effect.forkScoped(
        Stream.runForEach(sql.reactive(["t"], counting), ([row]) => Queue.offer(counts, row?.n ?? -1))
      )
      assert.strictEqual(yield* Queue.take(counts), 0)
      yield* Reactivity.mutation(sql`INSERT INTO t VALUES (1)`, ["t"])
      assert.strictEqual(yield* Queue.take(counts), 1)

      const hasInserted = yield* Deferred.make<void>()
      const mayCommit = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(
        sql.withTransaction(
          Effect.gen(function* () {
            yield* Reactivity.mutation(sql`INSERT INTO t VALUES (2), (3)`, ["t"])
            yield* Deferred.succeed(hasInserted, undefined)
            yield* Deferred.await(mayCommit)
          })
        )
      )
      yield* Deferred.await(hasInserted)
      yield* counting
      yield* Deferred.succeed(mayCommit, undefined)
      yield* Fiber.join(fiber)
      // A run before the commit would have counted one row.
      assert.strictEqual(yield* Queue.take(counts), 3)

      const dropped = Reactivity.mutation(sql`INSERT INTO t VALUES (4)`, ["t"])
      yield* Effect.ignore(sql.withTransaction(Effect.andThen(dropped, Effect.fail("no"))))
      yield* counting
      yield* Reactivity.mutation(sql`INSERT INTO t VALUES (5)`, ["t"])
      assert.strictEqual(yield* Queue.take(counts), 4)
    }).pipe(Effect.scoped, Effect.provide(live, { local: true }))
  )
})

describe("spans", () => {
  it.effect("a span tells the statement with its placeholders, never a parameter or a result", () =>
    Effect.gen(function* () {
      const spans: Array<Tracer.NativeSpan> = []
      yield* inMemory(
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          yield* sql`CREATE TABLE t (a VARCHAR PRIMARY KEY, b BIGINT)`
          yield* sql.withTransaction(sql`INSERT INTO t ${sql.insert([{ a: "secret", b: 777_777 }])}`)
          yield* sql`SELECT * FROM t WHERE a = ${"secret"}`
          yield* sql`SELECT * FROM t WHERE a = ${"secret"}`.values
          yield* Stream.runDrain(sql`SELECT * FROM t WHERE ${sql.in("b", [777_777])}`.stream)
          yield* Effect.flip(sql`INSERT INTO t ${sql.insert({ a: "secret", b: 1 })}`)
          yield* Effect.flip(sql`SELECT ${"secret"}::INTEGER`)
        }),
        { spanAttributes: { "service.part": "ringing" } }
      ).pipe(Effect.withTracer(collecting(spans)))

      const texts = spans.flatMap(({ attributes }) => attributes.get("db.query.text") ?? [])
      assert.deepStrictEqual(texts, [
        "CREATE TABLE t (a VARCHAR PRIMARY KEY, b BIGINT)",
        `INSERT INTO t ("a","b") VALUES (?,?)`,
        "SELECT * FROM t WHERE a = ?",
        "SELECT * FROM t WHERE a = ?",
        `SELECT * FROM t WHERE "b" IN (?)`,
        `INSERT INTO t ("a","b") VALUES (?,?)`,
        "SELECT ?::INTEGER"
      ])
      for (const { attributes, name, status } of spans) {
        assert.strictEqual(attributes.get("db.system.name"), "duckdb", name)
        assert.strictEqual(attributes.get("service.part"), "ringing", name)
        for (const [key, value] of attributes) assert.notMatch(String(value), /secret|777/, key)
        assert.strictEqual(status._tag, "Ended", name)
      }
      assert.deepStrictEqual(
        spans.filter(({ status }) => status._tag === "Ended" && Exit.isFailure(status.exit)).length,
        2
      )
    })
  )
})
