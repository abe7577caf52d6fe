import type { Column, SqlType } from "@mallard/schema"
import { arbitraryNumberText, arbitraryString, compactText, toText } from "@mallard/testkit"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import {
  Cells,
  civilFromDays,
  type ColumnCodec,
  type ColumnValue,
  daysFromCivil,
  type InexactReason,
  inexactRules,
  makeCodec,
  renderValue,
  styleFromName,
  styleName
} from "@mallard/entity-serializers"
import { readBoolean, readDate, readDouble, readNumber, readTimestamp, reasonOf, type Verdict } from "../src/Codec.ts"

const codecOf = (type: SqlType): ColumnCodec => {
  const column: Column = {
    name: "c",
    type,
    paths: ["c"],
    context: [],
    decode: undefined,
    description: undefined,
    canonical: "c"
  }
  return makeCodec(column)
}

/** What a column makes of a compact scalar. */
interface Outcome {
  readonly value: ColumnValue
  /** The label of the style when exact. */
  readonly style?: string
  readonly reason?: InexactReason
}

const readVerdict = (codec: ColumnCodec, cells: Cells, text: string): Verdict => {
  // Bytes on both sides that no codec may look at.
  const quoted = text.startsWith('"')
  const inner = quoted ? text.slice(1, -1) : text
  const bytes = Buffer.from(`9-:${inner}9Z.0`)
  const [start, end] = [3, bytes.length - 4]
  switch (codec.class) {
    case "date":
      return quoted ? readDate(bytes, start, end, cells, 0) : readDate(bytes, end, end, cells, 0)
    case "timestamp":
      return quoted ? readTimestamp(bytes, start, end, cells, 0) : readTimestamp(bytes, end, end, cells, 0)
    case "number":
      return readNumber(codec, bytes, start, end, quoted, cells, 0)
    case "double":
      return readDouble(bytes, start, end, quoted, cells, 0)
    default:
      return readBoolean(bytes, start, end, quoted, cells, 0)
  }
}

const valueIn = (codec: ColumnCodec, cells: Cells): ColumnValue => {
  if (cells.valid[0] === 0) return null
  if (codec.layout === "I64") return cells.bigint(0)
  if (codec.layout === "F64") return cells.doubles[0]!
  return codec.layout === "BOOL" ? cells.low[0] === 1 : cells.low[0]!
}

/** Reads a compact scalar; an exact one must render back, and its style's name must parse back. */
const read = (type: SqlType, text: string): Outcome => {
  const codec = codecOf(type)
  const cells = new Cells(codec.layout)
  cells.grow(1)
  const verdict = readVerdict(codec, cells, text)
  const value = valueIn(codec, cells)
  if (verdict < 0) return { value, reason: reasonOf(verdict) }
  const style = styleName(codec, verdict)
  assert.strictEqual(styleFromName(codec, style), verdict)
  assert.strictEqual(renderValue(codec, value, verdict), text)
  return { value, style }
}

const types: ReadonlyArray<SqlType> = [
  "DATE",
  "TIMESTAMP",
  "INTEGER",
  "BIGINT",
  "DECIMAL(5,1)",
  "DECIMAL(12,2)",
  "DECIMAL(18,6)",
  "DOUBLE",
  "BOOLEAN"
]

/** Scaled integers and microseconds, often of coarse units. */
const steps = fc
  .tuple(
    fc.integer({ min: -100_000, max: 100_000 }),
    fc.constantFrom(1, 10, 100, 1000, 1_000_000, 60_000_000, 86_400_000_000)
  )
  .map(([count, unit]) => BigInt(count) * BigInt(unit))

describe("every codec", () => {
  it("renders different values differently in every style that one of them was read in", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...types),
        fc.constantFrom("", "f", "d1", "d2", "d3", "qd1", "d", "s", "m", "f1", "f3", "f6z", "smu"),
        steps,
        steps,
        (type, name, read, changed) => {
          const codec = codecOf(type)
          const style = styleFromName(codec, name)
          if (style === undefined || (codec.class !== "number" && codec.class !== "timestamp")) return
          assert.strictEqual(
            renderValue(codec, read, style) === renderValue(codec, changed, style),
            read === changed,
            renderValue(codec, read, style)
          )
        }
      ),
      { numRuns: 3000 }
    )
  })

  it("takes a scalar exactly only if it renders back, whatever the scalar", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...types),
        fc.oneof(
          arbitraryNumberText,
          arbitraryNumberText.map((text) => `"${text}"`),
          arbitraryString.map((tree) => compactText(toText(tree))),
          fc.constantFrom("true", "false", '"true"', '"True"', '"FALSE"', '""')
        ),
        (type, text) => {
          const { reason } = read(type, text)
          if (reason !== undefined) assert.isString(inexactRules[reason])
        }
      ),
      { numRuns: 3000 }
    )
  })

  it("refuses names of styles that it does not write", () => {
    for (const type of types) {
      for (const name of ["x", "d", "qq", "f7", "d99", "r", "zz"]) {
        const codec = codecOf(type)
        const style = styleFromName(codec, name)
        if (style !== undefined) assert.strictEqual(styleName(codec, style), name)
      }
    }
    assert.isUndefined(styleFromName(codecOf("DATE"), "z"))
    assert.isUndefined(styleFromName(codecOf("VARCHAR"), "z"))
    assert.isUndefined(styleFromName(codecOf("JSON"), "z"))
  })
})

describe("dates", () => {
  const day = fc.integer({ min: daysFromCivil(1, 1, 1), max: daysFromCivil(9999, 12, 31) })

  it("hold every calendar day of the years 1 to 9999", () => {
    fc.assert(
      fc.property(day, (days) => {
        const text = civilFromDays(days)
        assert.deepStrictEqual(read("DATE", `"${text}"`), { value: days, style: "" })
        // JavaScript's calendar is the same.
        assert.strictEqual(new Date(days * 86_400_000).toISOString().slice(0, 10), text)
      }),
      { numRuns: 2000 }
    )
    for (const text of ["0001-01-01", "0099-12-31", "0999-02-28", "1600-02-29", "2000-02-29", "9999-12-31"]) {
      assert.strictEqual(read("DATE", `"${text}"`).style, "")
    }
  })

  it("refuse days that no calendar has", () => {
    for (const text of [
      "0000-01-01",
      "2023-02-29",
      "1900-02-29",
      "2024-04-31",
      "2024-13-01",
      "2024-00-10",
      "2024-01-00",
      "1980-5-15",
      "2024/01/01",
      "",
      "2024-01",
      "١٩٨٠-٠١-٠١"
    ]) {
      assert.deepStrictEqual(read("DATE", `"${text}"`), { value: null, reason: "not-a-date" }, text)
    }
    for (const text of ["20240101", "true", "2024-01-01"])
      assert.deepStrictEqual(read("DATE", text), { value: null, reason: "not-a-date" })
  })

  it("hold the calendar date as written of a date with a time, and of the basic form", () => {
    const days = daysFromCivil(2024, 1, 31)
    for (const time of ["T23:30:00-08:00", " 00:00", "T10:00:00Z", "T10:00:00.5"]) {
      assert.deepStrictEqual(read("DATE", `"2024-01-31${time}"`), { value: days, reason: "date-with-time" })
    }
    assert.deepStrictEqual(read("DATE", '"20240131"'), { value: days, reason: "date-basic-form" })
  })
})

describe("timestamps", () => {
  const micros = (text: string): bigint => BigInt(Date.parse(`${text}Z`)) * 1000n

  it("hold every style exactly", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: daysFromCivil(1, 1, 1), max: daysFromCivil(9999, 12, 31) }),
        fc.constantFrom("T", " "),
        fc.nat(23),
        fc.nat(59),
        fc.option(fc.tuple(fc.nat(59), fc.string({ unit: fc.constantFrom(..."0123456789"), maxLength: 6 })), {
          nil: undefined
        }),
        fc.constantFrom("", "Z", "+00:00"),
        (days, separator, hour, minute, seconds, zone) => {
          const two = (n: number): string => String(n).padStart(2, "0")
          const [second, fraction] = seconds ?? [0, ""]
          const shown = seconds === undefined ? "" : `:${two(second)}${fraction === "" ? "" : `.${fraction}`}`
          const outcome = read(
            "TIMESTAMP",
            `"${civilFromDays(days)}${separator}${two(hour)}:${two(minute)}${shown}${zone}"`
          )
          assert.strictEqual(
            outcome.value,
            BigInt(days) * 86_400_000_000n +
              BigInt(((hour * 60 + minute) * 60 + second) * 1_000_000 + Number(fraction.padEnd(6, "0")))
          )
          assert.isDefined(outcome.style)
        }
      ),
      { numRuns: 2000 }
    )
  })

  it("hold a date alone as its midnight", () => {
    assert.deepStrictEqual(read("TIMESTAMP", '"2024-01-15"'), { value: micros("2024-01-15T00:00:00"), style: "d" })
    assert.deepStrictEqual(read("TIMESTAMP", '"20240115"'), {
      value: micros("2024-01-15T00:00:00"),
      reason: "date-basic-form"
    })
  })

  it("hold the UTC instant of a time with an offset, if it has a year of four digits", () => {
    assert.deepStrictEqual(read("TIMESTAMP", '"2024-12-31T23:00:00-08:00"'), {
      value: micros("2025-01-01T07:00:00"),
      reason: "time-with-offset"
    })
    for (const zone of ["+0530", "+05:30", "-00:00", "+00", "-08"]) {
      assert.strictEqual(read("TIMESTAMP", `"2024-12-31T23:00:00${zone}"`).reason, "time-with-offset")
    }
    assert.deepStrictEqual(read("TIMESTAMP", '"0001-01-01T00:00:00+00:01"'), {
      value: null,
      reason: "time-with-offset"
    })
    assert.deepStrictEqual(read("TIMESTAMP", '"9999-12-31T23:59:59-00:01"'), {
      value: null,
      reason: "time-with-offset"
    })
  })

  it("cut what is finer than a microsecond", () => {
    assert.deepStrictEqual(read("TIMESTAMP", '"2024-01-15T10:00:00.1239999"'), {
      value: micros("2024-01-15T10:00:00.123") + 999n,
      reason: "time-too-fine"
    })
  })

  it("refuse what is no date and time", () => {
    for (const text of [
      "2024-01-15T24:00:00",
      "2024-01-15T23:59:60Z",
      "2024-01-15t10:00:00",
      "2024-01-15T10:00:00z",
      "2024-01-15T10",
      "2024-01-15T10:00:",
      "2024-01-15T10:00:00.",
      "2024-01-15T10:00:00+5:00",
      "2024-01-15T10:00:00+05:",
      "2024-01-15T10:00:00+24:00",
      "2024-02-30T10:00:00",
      "2024-01-15  10:00:00",
      "10:00:00",
      "now",
      ""
    ]) {
      assert.deepStrictEqual(read("TIMESTAMP", `"${text}"`), { value: null, reason: "not-a-time" }, text)
    }
    assert.strictEqual(read("TIMESTAMP", "1705312800").reason, "not-a-time")
  })
})

describe("exact numbers", () => {
  const decimalTypes: ReadonlyArray<readonly [SqlType, number, number]> = [
    ["INTEGER", 9, 0],
    ["BIGINT", 18, 0],
    ["DECIMAL(5,1)", 5, 1],
    ["DECIMAL(12,2)", 12, 2],
    ["DECIMAL(18,6)", 18, 6]
  ]

  it("hold every number of their precision, with any zeros at its end, also as text", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...decimalTypes),
        fc.string({ unit: fc.constantFrom(..."0123456789"), minLength: 1, maxLength: 18 }),
        fc.boolean(),
        fc.nat(3),
        fc.nat(18),
        fc.boolean(),
        ([type, precision, scale], digits, negative, zeros, places, quoted) => {
          const kept = digits.slice(0, precision)
          const decimals = Math.min(scale, places, kept.length)
          const whole =
            kept.slice(0, Math.min(kept.length - decimals, precision - scale)).replace(/^0+(?=.)/, "") || "0"
          const fraction = kept.slice(kept.length - decimals) + "0".repeat(zeros)
          const scaled = BigInt(whole + fraction.slice(0, scale).padEnd(scale, "0"))
          fc.pre(scaled !== 0n || !negative)
          const number = `${negative ? "-" : ""}${whole}${fraction === "" ? "" : `.${fraction}`}`
          const outcome = read(type, quoted ? `"${number}"` : number)
          assert.strictEqual(BigInt(outcome.value as number | bigint), negative ? -scaled : scaled)
          assert.strictEqual(outcome.style?.startsWith("q"), quoted)
        }
      ),
      { numRuns: 3000 }
    )
  })

  it("know their limits", () => {
    assert.deepStrictEqual(read("INTEGER", "2147483647"), { value: 2147483647, style: "" })
    assert.deepStrictEqual(read("INTEGER", "-2147483648"), { value: -2147483648, style: "" })
    assert.deepStrictEqual(read("INTEGER", "2147483648"), { value: null, reason: "number-out-of-range" })
    assert.deepStrictEqual(read("INTEGER", "-2147483649"), { value: null, reason: "number-out-of-range" })
    assert.deepStrictEqual(read("BIGINT", "9223372036854775807"), { value: 9223372036854775807n, style: "" })
    assert.deepStrictEqual(read("BIGINT", "-9223372036854775808"), { value: -9223372036854775808n, style: "" })
    assert.deepStrictEqual(read("BIGINT", "9223372036854775808"), { value: null, reason: "number-out-of-range" })
    assert.deepStrictEqual(read("DECIMAL(5,1)", "9999.9"), { value: 99999, style: "" })
    assert.deepStrictEqual(read("DECIMAL(5,1)", "-9999.9"), { value: -99999, style: "" })
    assert.deepStrictEqual(read("DECIMAL(5,1)", "10000"), { value: null, reason: "number-out-of-range" })
    assert.deepStrictEqual(read("DECIMAL(5,1)", "9999.95"), { value: null, reason: "number-out-of-range" })
    assert.deepStrictEqual(read("DECIMAL(12,2)", "1e400"), { value: null, reason: "number-out-of-range" })
    assert.deepStrictEqual(read("DECIMAL(18,6)", "999999999999.999999"), { value: 999999999999999999n, style: "" })
  })

  it("hold the nearest number of what is too fine, half away from zero", () => {
    const cases: ReadonlyArray<readonly [string, bigint]> = [
      ["0.005", 1n],
      ["-0.005", -1n],
      ["0.0049999999999999999999", 0n],
      ["1.234", 123n],
      ["1.235", 124n],
      ["-1.235", -124n],
      ["0.1000000000000000055511151231257827", 10n],
      ["1e-3", 0n],
      ["5E-3", 1n],
      ["1e-400", 0n],
      [`0.${"0".repeat(500)}1`, 0n]
    ]
    for (const [text, value] of cases)
      assert.deepStrictEqual(read("DECIMAL(12,2)", text), { value, reason: "number-rounded" }, text)
  })

  it("hold the value of a spelling that they cannot give back", () => {
    const cases: ReadonlyArray<readonly [string, bigint]> = [
      ["-0", 0n],
      ["-0.00", 0n],
      ["1E2", 10000n],
      ["1.5e0", 150n],
      ["0e999999999999", 0n],
      [`1.${"0".repeat(70)}`, 100n],
      ['"-0"', 0n],
      ['"1e1"', 1000n]
    ]
    for (const [text, value] of cases)
      assert.deepStrictEqual(read("DECIMAL(12,2)", text), { value, reason: "number-respelt" }, text)
  })

  it("hold nothing of what is no number, however long", () => {
    for (const text of [
      '"007"',
      '"+1"',
      '" 1"',
      '"1 "',
      '".5"',
      '"5."',
      '"1,000"',
      '"-"',
      '""',
      '"0x10"',
      '"1e"',
      "true",
      "NaN",
      "-Infinity",
      `"5${"x".repeat(1_000_000)}"`
    ]) {
      assert.deepStrictEqual(read("DECIMAL(12,2)", text), { value: null, reason: "not-a-number" }, text.slice(0, 20))
    }
    assert.deepStrictEqual(read("INTEGER", "9".repeat(1_000_000)), { value: null, reason: "number-out-of-range" })
  })
})

describe("doubles and booleans", () => {
  it("hold a double exactly if its spelling is the shortest, or Python's", () => {
    const exact: ReadonlyArray<readonly [string, number, string]> = [
      ["22.5", 22.5, ""],
      ["5", 5, ""],
      ["5.0", 5, "f"],
      ["1e+22", 1e22, ""],
      ["5e-324", 5e-324, ""],
      ['"2.5"', 2.5, "q"],
      ['"2.0"', 2, "qf"]
    ]
    for (const [text, value, style] of exact) assert.deepStrictEqual(read("DOUBLE", text), { value, style }, text)
    for (const text of [
      "22.50",
      "1E5",
      "1e5",
      "0.1000000000000000055511151231257827",
      "-0",
      "-0.0",
      "123456789012345678901234567890"
    ]) {
      assert.strictEqual(read("DOUBLE", text).reason, "number-respelt", text)
    }
    assert.deepStrictEqual(read("DOUBLE", "1e400"), { value: null, reason: "number-out-of-range" })
    assert.deepStrictEqual(read("DOUBLE", "NaN"), { value: null, reason: "not-a-number" })
    assert.deepStrictEqual(read("DOUBLE", '"x"'), { value: null, reason: "not-a-number" })
  })

  it("hold a boolean, also as text, and what plainly means one", () => {
    assert.deepStrictEqual(read("BOOLEAN", "true"), { value: true, style: "" })
    assert.deepStrictEqual(read("BOOLEAN", '"false"'), { value: false, style: "q" })
    assert.deepStrictEqual(read("BOOLEAN", '"True"'), { value: true, reason: "not-a-boolean" })
    for (const text of ["0", "1", '"yes"', '""', '"1"'])
      assert.deepStrictEqual(read("BOOLEAN", text), { value: null, reason: "not-a-boolean" })
  })
})
