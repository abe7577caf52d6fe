import { assert, describe, it } from "@effect/vitest"
import { makeCodec, parseTemplate, renderValue, styleFromName } from "@mallard/entity-serializers"
import { kinds } from "@mallard/schema"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import * as fc from "fast-check"
import { queryRows } from "../src/index.ts"
import { shapeSql } from "../src/internal/shapeSql.ts"
import { inNewStore } from "./support.ts"

const DAY = 86_400_000_000n

/** Columns and styles of theirs. */
const spellings: ReadonlyArray<{
  readonly kind: string
  readonly column: string
  readonly styles: ReadonlyArray<string>
}> = [
  { kind: "encounter", column: "admission_time", styles: ["", "s", "z", "u", "m", "smz", "f1", "f3z", "sf6", "d"] },
  { kind: "medication", column: "quantity", styles: ["", "f", "d1", "d2", "d3", "d5", "q", "qd1"] },
  { kind: "claim_line", column: "charge_amount", styles: ["", "f", "d1", "d2", "qf"] },
  { kind: "vital_sign", column: "heart_rate", styles: ["", "f", "d2", "q"] }
]

const scaleOf = (type: string): number => Number(/,(\d+)/.exec(type)?.[1] ?? 0)

/** What a style shows at least: in microseconds, or in steps of the last digit. */
const leastShown = (type: string, style: string): bigint => {
  const digits = Number(/\d/.exec(style)?.[0] ?? 0)
  if (type !== "TIMESTAMP") return /d/.test(style) ? 10n ** BigInt(Math.max(0, scaleOf(type) - digits)) : 1n
  if (style.startsWith("d")) return DAY
  return style.includes("m") ? 60_000_000n : 10n ** BigInt(6 - digits)
}

/** Values of coarse and fine units; times of the years 1 to 9999. */
const valuesOf = (type: string): fc.Arbitrary<ReadonlyArray<bigint>> => {
  const [units, most] =
    type === "TIMESTAMP"
      ? [[1n, 1000n, 100_000n, 1_000_000n, 60_000_000n, DAY], 700_000n * DAY]
      : [[1n, 10n, 100n, 1000n], 99_999n]
  return fc.array(
    fc
      .tuple(fc.constantFrom(...units), fc.bigInt({ min: -most, max: most }))
      .map(([unit, value]) => value - (value % unit)),
    { minLength: 1, maxLength: 50 }
  )
}

const literalOf = (type: string, value: bigint): string => {
  if (type === "TIMESTAMP") return `make_timestamp(${value})`
  const scale = scaleOf(type)
  return `CAST(${value} AS DECIMAL(18,0)) * CAST(${(10 ** -scale).toFixed(scale)} AS DECIMAL(12,${scale}))`
}

describe("the text that DuckDB renders", () => {
  for (const { column, kind: name, styles } of spellings) {
    const kind = kinds.find(({ kind }) => kind === name)!
    const declared = kind.columns.find((one) => one.name === column)!
    const codec = makeCodec(declared)
    it.effect(
      `of ${name}.${column} is that of the other renderer, and no text at all where the spelling hides a part`,
      () =>
        inNewStore(
          Effect.gen(function* () {
            const client = yield* DuckDbClient
            const run = Effect.runPromiseWith(yield* Effect.context())
            yield* Effect.promise(() =>
              fc.assert(
                fc.asyncProperty(fc.constantFrom(...styles), valuesOf(declared.type), async (style, values) => {
                  const text = shapeSql(kind.code, parseTemplate(kind.code, `\u0001c:${column}:${style}\u0001`))
                  const rows = values.map((value) => `(${literalOf(declared.type, value)}, NULL::VARCHAR)`)
                  const found = await run(
                    queryRows(
                      client,
                      `SELECT ${text} FROM (SELECT CAST(value AS ${declared.type}) AS "${column}", extra FROM (VALUES ${rows.join(", ")}, (NULL, NULL)) v(value, extra)) e`
                    )
                  )
                  const expected = values.map((value) =>
                    value % leastShown(declared.type, style) === 0n
                      ? renderValue(codec, value, styleFromName(codec, style)!)
                      : "hidden"
                  )
                  assert.deepStrictEqual(
                    found.map(([one]) => (String(one).includes("!") ? "hidden" : one)),
                    [...expected, "null"],
                    style
                  )
                }),
                { numRuns: 60 }
              )
            )
          })
        )
    )
  }
})
