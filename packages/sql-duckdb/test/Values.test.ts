import {
  ARRAY,
  BIT,
  BOOLEAN,
  DECIMAL,
  decimalValue,
  DuckDBTimestampValue,
  DuckDBTimeValue,
  FLOAT,
  HUGEINT,
  INTEGER,
  LIST,
  listValue,
  MAP,
  mapValue,
  STRUCT,
  structValue,
  UUID,
  VARCHAR
} from "@duckdb/node-api"
import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient, refusalOf, typed } from "@mallard/sql-duckdb"
import { Effect, Stream } from "effect"
import { inMemory } from "./support.ts"

const row = `SELECT true AS bool, 1::TINYINT AS tiny, 4294967295::UINTEGER AS uint, 9007199254740993 AS big,
  18446744073709551615::UBIGINT AS ubig, 170141183460469231731687303715884105727::HUGEINT AS huge,
  0.1::FLOAT AS "float", 1e300::DOUBLE AS "double", 'NaN'::DOUBLE AS nan, 425.00::DECIMAL(10, 2) AS "decimal",
  DATE '2024-02-29' AS "date", TIME '12:34:56.000001' AS "time", TIMESTAMP '2024-02-29 12:34:56.123456' AS ts,
  TIMESTAMP '0044-03-15 (BC) 00:00:00' AS bc, 'infinity'::TIMESTAMP AS forever,
  TIMESTAMPTZ '2024-02-29 12:34:56.123456+02:00' AS tstz, TIMESTAMP_NS '2024-02-29 12:34:56.123456789' AS ns,
  INTERVAL '1 month 2 days 3 microseconds' AS "interval", '\\x00\\xFF'::BLOB AS "blob",
  '00000000-0000-0000-0000-00000000000a'::UUID AS uuid, [1, NULL]::INTEGER[] AS list, {'a': 1, 'b': [1.50]} AS struct,
  MAP {'k': 1::BIGINT} AS "map", 'x'::ENUM('x', 'y') AS "enum", '101'::BIT AS "bit", '{"a":1.0}'::JSON AS json,
  NULL AS nothing, 1 AS "__proto__"`

describe("results", () => {
  it.effect("the exact mode loses nothing", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const [values] = yield* sql.unsafe<Record<string, unknown>>(row)
        const expected: Record<string, unknown> = {
          bool: true,
          tiny: 1,
          uint: 4294967295,
          big: 9007199254740993n,
          ubig: 18446744073709551615n,
          huge: 170141183460469231731687303715884105727n,
          float: Math.fround(0.1),
          double: 1e300,
          nan: Number.NaN,
          decimal: "425.00",
          date: "2024-02-29",
          time: "12:34:56.000001",
          ts: "2024-02-29T12:34:56.123456",
          bc: "0044-03-15 (BC) 00:00:00",
          forever: "infinity",
          tstz: "2024-02-29T10:34:56.123456Z",
          ns: "2024-02-29T12:34:56.123456789",
          interval: { months: 1, days: 2, micros: 3n },
          blob: Buffer.from([0, 255]),
          uuid: "00000000-0000-0000-0000-00000000000a",
          list: [1, null],
          struct: { a: 1, b: ["1.50"] },
          map: [{ key: "k", value: 1n }],
          enum: "x",
          bit: "101",
          json: '{"a":1.0}',
          nothing: null
        }
        Object.defineProperty(expected, "__proto__", { value: 1, enumerable: true })
        assert.deepStrictEqual(Object.keys(values ?? {}), Object.keys(expected))
        for (const key of Object.keys(expected)) assert.deepStrictEqual(values?.[key], expected[key], key)
      })
    )
  )

  it.effect("an infinite date is told as one, in lists too", () =>
    Effect.gen(function* () {
      const dates = Effect.flatMap(
        DuckDbClient,
        (sql) => sql`SELECT 'infinity'::DATE AS late, ['-infinity'::DATE] AS early`
      )
      for (const results of ["exact", "json"] as const) {
        assert.deepStrictEqual(yield* inMemory(dates, { results }), [{ late: "infinity", early: ["-infinity"] }])
      }
    })
  )

  it.effect("a struct whose fields would be lost is refused, by streams too", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const values = ["row(1, 2)", "[row(1, 2)]", "{'a': MAP {'k': row(1, 2)}}", "{'__proto__': 1, 'b': 2}"]
        for (const value of values) {
          const query = sql.unsafe(`SELECT ${value} AS v`)
          for (const run of [query, query.values, Stream.runDrain(query.stream)]) {
            const error = yield* Effect.flip(Effect.asVoid(run))
            assert.strictEqual(refusalOf(error)?.reason, "unnamed-fields", value)
          }
        }
        assert.deepStrictEqual(yield* sql`SELECT row(1) AS v, {'a': {'a': 1}} AS w`, [
          { v: { "": 1 }, w: { a: { a: 1 } } }
        ])
      })
    )
  )

  it.effect("a value that a mode cannot hold fails the stream of it with a typed error", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const late = sql`SELECT 'infinity'::DATE AS late FROM range(5000)`
        for (const run of [late, Stream.runDrain(late.stream)]) {
          const error = yield* Effect.flip(Effect.asVoid(run))
          assert.strictEqual(error.message, "DuckDB: a value cannot be converted to the type it is needed in")
        }
        assert.deepStrictEqual(yield* sql`SELECT 1 AS one`, [{ one: 1 }])
      }),
      { results: "js", poolSize: 1 }
    )
  )

  it.effect("the other modes convert as they say", () =>
    Effect.gen(function* () {
      const select = Effect.flatMap(
        DuckDbClient,
        (sql) =>
          sql`SELECT 1::BIGINT AS big, 2::HUGEINT AS huge, 1.50::DECIMAL(5, 2) AS "decimal",
            TIME '00:00:01' AS "time", TIMESTAMP '2024-02-29 00:00:00.000999' AS ts, '{"a":1.0}'::JSON AS json,
            MAP {'k': 1} AS "map", '\\xFF'::BLOB AS "blob", [1, NULL] AS list`.values
      )
      assert.deepStrictEqual(yield* inMemory(select, { results: "js" }), [
        [
          1n,
          2n,
          1.5,
          1_000_000n,
          new Date("2024-02-29T00:00:00Z"),
          '{"a":1.0}',
          [{ key: "k", value: 1 }],
          Buffer.from([255]),
          [1, null]
        ]
      ])
      assert.deepStrictEqual(yield* inMemory(select, { results: "json" }), [
        [
          "1",
          "2",
          "1.50",
          "00:00:01",
          "2024-02-29 00:00:00.000999",
          '{"a":1.0}',
          [{ key: "k", value: 1 }],
          "\\xFF",
          [1, null]
        ]
      ])
      const [native] = yield* inMemory(select, { results: "native" })
      assert.deepStrictEqual(native?.slice(2, 5), [
        decimalValue(150n, 5, 2),
        new DuckDBTimeValue(1_000_000n),
        new DuckDBTimestampValue(1_709_164_800_000_999n)
      ])
    })
  )

  it.effect("columns of one name are told apart", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        assert.deepStrictEqual(yield* sql`SELECT 1 AS a, 2 AS a`, [{ a: 1, "a:1": 2 }])
      })
    )
  )
})

describe("parameters", () => {
  it.effect("each kind of value gets one DuckDB type and comes back equal", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const cases: ReadonlyArray<readonly [value: unknown, type: string, back?: unknown]> = [
          [null, '"NULL"'],
          [undefined, '"NULL"', null],
          [true, "BOOLEAN"],
          [1, "INTEGER"],
          [-2147483649, "BIGINT", -2147483649n],
          [9007199254740991, "BIGINT", 9007199254740991n],
          [9007199254740992, "DOUBLE"],
          [1e21, "DOUBLE"],
          [0.5, "DOUBLE"],
          [-0, "DOUBLE"],
          [Number.NaN, "DOUBLE"],
          [Number.NEGATIVE_INFINITY, "DOUBLE"],
          [1n, "BIGINT"],
          [2n ** 63n - 1n, "BIGINT"],
          [-(2n ** 63n), "BIGINT"],
          [2n ** 63n, "HUGEINT"],
          [-(2n ** 127n), "HUGEINT"],
          [2n ** 128n - 1n, "UHUGEINT"],
          ["", "VARCHAR"],
          ["a\0b", "VARCHAR"],
          ["\uFEFFmark", "VARCHAR"],
          ["\uFEFF", "VARCHAR"],
          ["\uFEFF a text that is too long to be kept inside the record", "VARCHAR"],
          ["𝄞 é", "VARCHAR"],
          [new Date("2024-02-29T12:34:56.789Z"), "TIMESTAMP WITH TIME ZONE", "2024-02-29T12:34:56.789Z"],
          [new Uint8Array([0, 1, 255]), "BLOB", Buffer.from([0, 1, 255])],
          [new Uint8Array(0), "BLOB", Buffer.from([])],
          [[1, 2], "INTEGER[]"],
          [[1, 2.5], "DOUBLE[]"],
          [[null, 1], "INTEGER[]"],
          [[1, 2n], "BIGINT[]", [1n, 2n]],
          [[1, 2n ** 100n], "HUGEINT[]", [1n, 2n ** 100n]],
          [[["a"], []], "VARCHAR[][]"],
          [[], '"NULL"[]'],
          [{ a: 1, b: "x" }, "STRUCT(a INTEGER, b VARCHAR)"],
          [[{ a: 1 }, { a: 2.5 }], "STRUCT(a DOUBLE)[]"],
          [decimalValue(150n, 5, 2), "DECIMAL(5,2)", "1.50"],
          [typed([], LIST(VARCHAR)), "VARCHAR[]", []],
          [typed([1, null], LIST(INTEGER)), "INTEGER[]", [1, null]],
          [typed([1, 2], ARRAY(INTEGER, 2)), "INTEGER[2]", [1, 2]],
          [typed(150n, DECIMAL(5, 2)), "DECIMAL(5,2)", "1.50"],
          [typed("00000000-0000-0000-0000-00000000000a", UUID), "UUID", "00000000-0000-0000-0000-00000000000a"],
          [
            typed(mapValue([{ key: "k", value: 1 }]), MAP(VARCHAR, INTEGER)),
            "MAP(VARCHAR, INTEGER)",
            [{ key: "k", value: 1 }]
          ]
        ]
        for (const [value, type, back] of cases) {
          const [found] = yield* sql`SELECT ${value} AS v, typeof(${value}) AS t`.values
          assert.strictEqual(found?.[1], type)
          assert.deepStrictEqual(found?.[0], back === undefined ? value : back, type)
        }
      })
    )
  )

  it.effect("typed values work in the helpers too", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* sql`CREATE TABLE t (id INTEGER, tags VARCHAR[])`
        yield* sql`INSERT INTO t ${sql.insert({ id: 1, tags: sql.typed([], LIST(VARCHAR)) })}`
        yield* sql`UPDATE t SET ${sql.update({ id: 2, tags: typed(["a"], LIST(VARCHAR)) })}`
        assert.deepStrictEqual(yield* sql`SELECT * FROM t`, [{ id: 2, tags: ["a"] }])
      })
    )
  )

  it.effect("a DECIMAL is the number that was given, whatever it was given as", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const cases: ReadonlyArray<readonly [value: unknown, expected: string]> = [
          [-500n, "-5.00"],
          ["-0.05", "-0.05"],
          [12.5, "12.50"],
          [-0.125, "-0.13"],
          [1e22, "10000000000000000000000.00"],
          ["12.5", "12.50"],
          ["-123456789012345678901234567890123456.78", "-123456789012345678901234567890123456.78"]
        ]
        for (const [value, expected] of cases) {
          const [row] =
            yield* sql`SELECT ${typed(value, DECIMAL(38, 2))} AS v, ${typed([value], LIST(DECIMAL(38, 2)))} AS l`
          assert.deepStrictEqual(row, { v: expected, l: [expected] })
        }
      })
    )
  )

  it.effect("a typed parameter too many is a fault of the statement", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const error = yield* Effect.flip(sql.unsafe("SELECT ?", [1, typed(1, INTEGER)]))
        assert.strictEqual(error.reason._tag, "SqlSyntaxError")
      })
    )
  )

  it.effect("what would be altered, or has no counterpart, is refused with its position", () =>
    inMemory(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const cycle: Record<string, unknown> = {}
        cycle["self"] = cycle
        const cases: ReadonlyArray<readonly [value: unknown, reason: string]> = [
          ["\ud800", "lone-surrogate"],
          [["ok", "\udc00x"], "lone-surrogate"],
          [{ "\ud800": 1 }, "lone-surrogate"],
          [typed(["\ud800"], LIST(VARCHAR)), "lone-surrogate"],
          [[1, "a"], "several-types"],
          [[2n, 0.5], "several-types"],
          [[{ a: 1 }, { b: 1 }], "several-types"],
          [2n ** 128n, "unbindable-value"],
          [-(2n ** 127n) - 1n, "unbindable-value"],
          [new Date(Number.NaN), "unbindable-value"],
          [new Map(), "unbindable-value"],
          [() => 1, "unbindable-value"],
          [Symbol("s"), "unbindable-value"],
          [{}, "unbindable-value"],
          [typed("no uuid: private", UUID), "unbindable-value"],
          [typed("private", INTEGER), "unbindable-value"],
          [typed("private", BIT), "unbindable-value"],
          [typed("private", BOOLEAN), "unbindable-value"],
          [typed(["private"], LIST(BOOLEAN)), "unbindable-value"],
          [typed(1e300, FLOAT), "unbindable-value"],
          [typed(2n ** 127n, HUGEINT), "unbindable-value"],
          [typed([-(2n ** 127n) - 1n], LIST(HUGEINT)), "unbindable-value"],
          [typed({ a: 1, private: 2 }, STRUCT({ a: INTEGER })), "unbindable-value"],
          // Some of the next ended the process.
          [typed(123456, DECIMAL(4, 2)), "unbindable-value"],
          [typed(10000n, DECIMAL(4, 2)), "unbindable-value"],
          [typed(Number.NaN, DECIMAL(6, 2)), "unbindable-value"],
          [typed(-Infinity, DECIMAL(18, 2)), "unbindable-value"],
          [typed([1e30], LIST(DECIMAL(38, 9))), "unbindable-value"],
          [typed("1.505", DECIMAL(6, 2)), "unbindable-value"],
          [typed("1e2", DECIMAL(6, 2)), "unbindable-value"],
          [decimalValue(10n ** 25n, 4, 2), "unbindable-value"],
          [typed(decimalValue(-10000n, 4, 2), DECIMAL(4, 2)), "unbindable-value"],
          [listValue([structValue({ a: decimalValue(10000n, 4, 2) })]), "unbindable-value"],
          [mapValue([{ key: "k", value: decimalValue(10000n, 4, 2) }]), "unbindable-value"],
          // The Node client stores U+FFFD for these halves, and cuts the names at the NUL.
          [listValue(["\ud800"]), "lone-surrogate"],
          [typed(listValue(["\ud800"]), LIST(VARCHAR)), "lone-surrogate"],
          [structValue({ a: "\ud800" }), "lone-surrogate"],
          [structValue({ "\ud800": 1 }), "lone-surrogate"],
          [mapValue([{ key: "\udc00", value: 1 }]), "lone-surrogate"],
          [{ "a\0b": 1 }, "unbindable-value"],
          [structValue({ "a\0b": 1 }), "unbindable-value"],
          [typed({ "a\0b": 1 }, STRUCT({ "a\0b": INTEGER })), "unbindable-value"],
          [cycle, "unbindable-value"],
          [[cycle], "unbindable-value"],
          [typed(cycle, STRUCT({ self: INTEGER })), "unbindable-value"]
        ]
        for (const [value, reason] of cases) {
          const error = yield* Effect.flip(sql`SELECT ${1} AS one, ${value} AS v`)
          const refusal = refusalOf(error)
          assert.strictEqual(refusal?.reason, reason)
          assert.strictEqual(refusal?.parameter, 2)
          assert.notInclude(error.message, "private")
        }
        assert.deepStrictEqual(yield* sql`SELECT ${1} AS one`, [{ one: 1 }])
      })
    )
  )
})
