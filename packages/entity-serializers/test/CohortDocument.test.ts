import { cohortMeta, documentTime } from "@mallard/entity-serializers"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"

describe("the time of a document", () => {
  it("is the instant where it has an offset, and as written where it has none", () => {
    const parts = fc.record({
      // JavaScript takes years below 100 for those of the last century.
      date: fc.date({
        min: new Date("0100-01-01T00:00:00Z"),
        max: new Date("9998-12-31T00:00:00Z"),
        noInvalidDate: true
      }),
      micros: fc.integer({ min: 0, max: 999 }),
      minutes: fc.integer({ min: -14 * 60, max: 14 * 60 }),
      colon: fc.boolean(),
      zone: fc.constantFrom("none", "Z", "offset")
    })
    fc.assert(
      fc.property(parts, ({ colon, date, micros, minutes, zone }) => {
        const two = (number: number) => String(number).padStart(2, "0")
        const size = Math.abs(minutes)
        const offset = `${minutes < 0 ? "-" : "+"}${two(Math.trunc(size / 60))}${colon ? ":" : ""}${two(size % 60)}`
        const written = date.toISOString().replace("Z", String(micros).padStart(3, "0"))
        const shift = zone === "offset" ? minutes * 60_000 : 0
        const text = written + (zone === "none" ? "" : zone === "Z" ? "Z" : offset)
        assert.strictEqual(documentTime(text), BigInt(date.getTime() - shift) * 1000n + BigInt(micros))
      })
    )
  })

  it.each([
    ["2024-02-29", 1_709_164_800_000_000n],
    ["2024-02-29 12:30", 1_709_209_800_000_000n],
    ["1970-01-01T00:00:00.1234567", 123_456n],
    ["0004-02-29", -62_035_891_200_000_000n],
    ["2023-02-29", undefined],
    ["0000-01-01", undefined],
    ["2024-13-01", undefined],
    ["2024-01-01T24:00:00", undefined],
    ["2024-01-01T00:00:00+24:00", undefined],
    ["2024-01-01T00:00:00-00:60", undefined],
    ["9999-12-31T23:59:59-00:00", 253_402_300_799_000_000n],
    ["9999-12-31T23:59:59-00:01", undefined],
    ["0001-01-01T00:00:00+00:00", -62_135_596_800_000_000n],
    ["0001-01-01T00:00:00+00:01", undefined],
    ["yesterday", undefined],
    [undefined, undefined]
  ])("%s is %s", (text, micros) => assert.strictEqual(documentTime(text), micros))
})

describe("what a document says about its cohort", () => {
  const meta = (captures: Readonly<Record<string, unknown>>) =>
    cohortMeta(new Map(Object.entries(captures).map(([pointer, value]) => [pointer, JSON.stringify(value)])))

  it("is what its root says, else its metadata, else what stands around them in an answer", () => {
    const said = { "/metadata/name": "b", "/name": "a", "/data/name": "d", "/cohort/description": "c" }
    assert.include(meta(said), { name: "a", description: "c", unusableName: false })
    assert.strictEqual(meta({ "/data/name": "d", "/metadata/scenario_name": "s" }).name, "s")
    assert.strictEqual(meta({ "/data/name": "d" }).name, "d")
  })

  it("is nothing where it is no text, empty, or holds half a character", () => {
    assert.include(meta({ "/name": 5 }), { name: undefined, unusableName: true })
    assert.include(meta({ "/name": "" }), { name: undefined, unusableName: true })
    assert.include(meta({ "/name": "\ud800" }), { name: undefined, unusableName: true })
    assert.include(meta({}), { name: undefined, unusableName: false })
    assert.deepStrictEqual(meta({ "/tags": ["x", 1, "x", "\udfff", "y"] }).tags, ["x", "y"])
    // As Python writes it.
    assert.strictEqual(cohortMeta(new Map([["/product", "NaN"]])).product, undefined)
  })
})
