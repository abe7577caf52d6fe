import { kindByName, type KindName, kinds, parseJson, toCanonical } from "@mallard/schema"
import { compactText } from "@mallard/testkit"
import * as fc from "fast-check"
import { createHash } from "node:crypto"
import { runInNewContext } from "node:vm"
import { assert, describe, it } from "vitest"
import {
  type EntityRow,
  fromRow,
  JsonProblem,
  RawJson,
  renderRow,
  toJsonText,
  toRow,
  type UnsupportedCode,
  UnsupportedValue
} from "@mallard/entity-serializers"
import { arbitraryKindAndText } from "./support.ts"

const refusal = (value: unknown): { code: UnsupportedCode; pointer: string } => {
  try {
    toJsonText(value)
  } catch (problem) {
    if (problem instanceof UnsupportedValue) return { code: problem.code, pointer: problem.pointer }
    throw problem
  }
  return assert.fail("nothing was refused")
}

describe("toJsonText", () => {
  it("writes what JSON.stringify writes wherever that loses nothing", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        let lossy = false
        JSON.stringify(value, (_, part: unknown) => {
          if (
            typeof part === "number" &&
            (Object.is(part, -0) || (Number.isInteger(part) && !Number.isSafeInteger(part)))
          )
            lossy = true
          return part
        })
        if (lossy) assert.throws(() => toJsonText(value), UnsupportedValue)
        else assert.strictEqual(toJsonText(value), JSON.stringify(value))
      }),
      { numRuns: 1000 }
    )
  })

  it("writes any plain object", () => {
    const bare: unknown = Object.assign(Object.create(null), { a: 1 })
    assert.strictEqual(toJsonText(bare), '{"a":1}')
    assert.strictEqual(toJsonText(runInNewContext('({a: [1, {"b": null}]})')), '{"a":[1,{"b":null}]}')
    assert.strictEqual(
      toJsonText(JSON.parse('{"__proto__":{"x":1},"constructor":2}')),
      '{"__proto__":{"x":1},"constructor":2}'
    )
    assert.strictEqual(toJsonText({ "\ud800": "\udfff😀\u2028\u0007" }), '{"\\ud800":"\\udfff😀\u2028\\u0007"}')
    assert.strictEqual(
      toJsonText({
        get a() {
          return 1
        }
      }),
      '{"a":1}'
    )
    const twice = { x: 1 }
    assert.strictEqual(toJsonText([twice, twice]), '[{"x":1},{"x":1}]')
  })

  it("writes bigints and raw JSON digit by digit", () => {
    assert.strictEqual(
      toJsonText({ a: 12345678901234567890n, b: new RawJson(" 425.00 "), c: [new RawJson('{ "x" : 1E5, "x": NaN }')] }),
      '{"a":12345678901234567890,"b":425.00,"c":[{"x":1E5,"x":NaN}]}'
    )
    assert.strictEqual(toJsonText(new RawJson('"\\u0041\\/\ud800"')), '"A/\\ud800"')
    const rawJSON: unknown = Reflect.get(JSON, "rawJSON")
    if (typeof rawJSON === "function") assert.strictEqual(toJsonText({ a: rawJSON.call(JSON, "-0.00") }), '{"a":-0.00}')
  })

  it("refuses what JSON.stringify would drop or alter, and says where", () => {
    const cycle: Array<unknown> = [1]
    cycle.push({ a: cycle })
    const hidden = Object.defineProperty({ a: 1 }, "b", { value: 2, enumerable: false })
    const cases: ReadonlyArray<readonly [unknown, UnsupportedCode, string]> = [
      [undefined, "undefined", ""],
      [{ a: undefined }, "undefined", "/a"],
      [[1, undefined], "undefined", "/1"],
      [{ "a/b": { "~": [() => 1] } }, "function", "/a~1b/~0/0"],
      [{ a: Symbol("x") }, "symbol", "/a"],
      [{ a: { [Symbol("x")]: 1 } }, "symbol-key", "/a"],
      [{ a: hidden }, "hidden-key", "/a"],
      [{ a: new Date(0) }, "date", "/a"],
      [[Number.NaN], "not-finite", "/0"],
      [[-Infinity], "not-finite", "/0"],
      [{ a: -0 }, "negative-zero", "/a"],
      [{ a: 2 ** 53 }, "unsafe-integer", "/a"],
      [{ a: 1e300 }, "unsafe-integer", "/a"],
      // oxlint-disable-next-line eslint/no-sparse-arrays
      [{ a: [1, , 3] }, "sparse-array", "/a/1"],
      [Object.assign([], { length: 5 }), "sparse-array", "/0"],
      [[Object.assign([1], { x: 1 })], "array-property", "/0"],
      [[Object.defineProperty([1], "x", { value: 1 })], "array-property", "/0"],
      [{ a: { toJSON: () => 1 } }, "to-json", "/a"],
      [{ a: new URL("https://example.org") }, "to-json", "/a"],
      [{ a: new Map() }, "not-plain", "/a"],
      [{ a: new Set() }, "not-plain", "/a"],
      [{ a: Object(1) }, "not-plain", "/a"],
      [{ a: new Uint8Array(1) }, "not-plain", "/a"],
      [{ a: new Error("x") }, "not-plain", "/a"],
      [{ a: /x/ }, "not-plain", "/a"],
      [{ a: Object.create({ b: 1 }) }, "not-plain", "/a"],
      [cycle, "cycle", "/1/a"],
      [{ a: new RawJson("{") }, "raw-json", "/a"],
      [{ a: new RawJson("1 2") }, "raw-json", "/a"],
      [{ a: new RawJson("") }, "raw-json", "/a"],
      // No escape at all; it came back as a backslash and the text `ud800`.
      [{ a: new RawJson('"\\\ud800"') }, "raw-json", "/a"]
    ]
    for (const [value, code, pointer] of cases) assert.deepStrictEqual(refusal(value), { code, pointer })
  })

  it("says what to do, and never a value", () => {
    try {
      toJsonText({ secret: new Date(0) })
      assert.fail("nothing was refused")
    } catch (problem) {
      assert.instanceOf(problem, UnsupportedValue)
      assert.strictEqual(
        problem.message,
        "a Date says neither its style nor its zone: use the text that you mean, as in date.toISOString()"
      )
    }
  })

  it("knows no limit of depth, but one of length", () => {
    let deep: unknown = 1
    for (let level = 0; level < 200_000; level++) deep = level % 2 === 0 ? [deep] : { a: deep }
    assert.lengthOf(toJsonText(deep), 1 + 100_000 * 2 + 100_000 * 6)
    const block = "x".repeat(2 ** 20)
    assert.strictEqual(refusal(Array.from({ length: 257 }, () => block)).code, "too-large")
  })
})

describe("toRow", () => {
  it("renders back what it took, whatever the kind and the text", () => {
    fc.assert(
      fc.property(arbitraryKindAndText, ({ kind, text }) => {
        const row = toRow(kind as KindName, new RawJson(text))
        const compact = compactText(text)
        assert.strictEqual(renderRow(row), compact)
        assert.strictEqual(row.digest, createHash("sha256").update(compact).digest("hex").slice(0, 32))
        assert.deepStrictEqual(toRow(kind as KindName, new RawJson(compact)).columns, row.columns)
        assert.doesNotThrow(() => toCanonical(kindByName(kind as KindName), row.columns))
      }),
      { numRuns: 1000 }
    )
  })

  it("renders any object, and gives an equal one back", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...kinds),
        fc.dictionary(
          fc.oneof(fc.string(), fc.constantFrom("id", "name", "mrn", "data", "lines", "encounters", "text", "status")),
          fc.jsonValue()
        ),
        (kind, entity) => {
          fc.pre(isSafe(entity))
          // Without prototype, as a dictionary may be made, no object equals a parsed one.
          const value = parseJson(JSON.stringify(entity))
          const row = toRow(kind.kind as KindName, value)
          assert.strictEqual(renderRow(row), toJsonText(value))
          assert.deepStrictEqual(fromRow(row), value)
        }
      ),
      { numRuns: 1000 }
    )
  })

  it("survives JSON itself, but for bigints", () => {
    const row = toRow("claim", {
      claim_id: "c",
      total_charge: new RawJson("425.00"),
      service_date: "2024-01-15",
      lines: [{ line_number: 1, charge_amount: 12.5 }, 7, null]
    })
    const copy: EntityRow = JSON.parse(JSON.stringify(row))
    assert.strictEqual(
      renderRow(copy),
      '{"claim_id":"c","total_charge":425.00,"service_date":"2024-01-15","lines":[{"line_number":1,"charge_amount":12.5},7,null]}'
    )
  })

  it("knows where nested entities stand behind keys of any length", () => {
    // Too long for a regular expression, which runs out of stack.
    const key = `${"k".repeat(12_000_000)}\\"[{`
    const { children } = toRow("claim", { [key]: 1, claim_id: "c", lines: [{ line_number: 1 }] })
    assert.deepStrictEqual(
      children.map(({ pointer, list, rows }) => [pointer, list, rows.length]),
      [["/lines", true, 1]]
    )
  })

  it("shows values as people read them", () => {
    const { columns, children, extra } = toRow("encounter", {
      encounter_id: "e1",
      start_time: "2024-01-15T10:00:00",
      end_time: "2024-01-15T10:30:00.250Z",
      diagnoses: [{ code: "I10", diagnosed_date: "0999-12-31" }, "none"],
      procedure: { code: "1" },
      generation_seed: 42,
      note: { a: 1 }
    })
    assert.strictEqual(columns["admission_time"], "2024-01-15T10:00:00")
    assert.strictEqual(columns["discharge_time"], "2024-01-15T10:30:00.250000")
    assert.strictEqual(columns["generation_seed"], 42)
    assert.strictEqual(extra, '{"a":1}')
    assert.deepStrictEqual(
      children.map(({ pointer, list, rows }) => [pointer, list, rows.map(({ kind }) => kind)]),
      [
        ["/diagnoses", true, ["diagnosis", "json"]],
        ["/procedure", false, ["procedure"]]
      ]
    )
    const big = toRow("patient", { generation_seed: 9223372036854775807n })
    assert.strictEqual(big.columns["generation_seed"], 9223372036854775807n)
    assert.strictEqual(renderRow(big), '{"generation_seed":9223372036854775807}')
    assert.strictEqual(toRow("claim", { total_charge: 12.5 }).columns["total_charge"], "12.50")
    assert.strictEqual(toRow("claim", { total_charge: new RawJson("-0.05") }).columns["total_charge"], "-0.05")
  })

  it("remarks on what is not where its path leads, for each row its own", () => {
    const { remarks, children } = toRow("patient", {
      birth_date: "soon",
      encounters: [{}, { status: ["x"], start_time: "late" }]
    })
    assert.deepStrictEqual(
      remarks.map(({ code, pointer }) => [code, pointer]),
      [
        ["not-a-date", "/birth_date"],
        ["not-a-time", "/encounters/1/start_time"]
      ]
    )
    const [, second] = children[0]!.rows
    assert.deepStrictEqual("remarks" in second! ? second.remarks.map(({ pointer }) => pointer) : undefined, [
      "/start_time"
    ])
  })

  it("takes any text as an entity that is one", () => {
    for (const [value, error] of [
      [[1], UnsupportedValue],
      ["x", UnsupportedValue],
      [null, UnsupportedValue],
      [new RawJson("[]"), UnsupportedValue],
      [{ a: new RawJson(`${"[".repeat(10_001)}${"]".repeat(10_001)}`) }, UnsupportedValue]
    ] as const) {
      assert.throws(() => toRow("patient", value), error)
    }
    let deep: unknown = 1
    for (let level = 0; level < 10_001; level++) deep = [deep]
    assert.throws(() => toRow("patient", { deep }), JsonProblem)
    // A failure leaves nothing behind.
    assert.strictEqual(renderRow(toRow("patient", { mrn: "1" })), '{"mrn":"1"}')
  })

  it("keeps its speed and its rows apart over very many shapes", () => {
    for (let at = 0; at < 3000; at++) {
      const row = toRow("patient", { [`k${at}`]: at, mrn: String(at), encounters: [{ [`q${at}`]: 1 }] })
      assert.strictEqual(renderRow(row), `{"k${at}":${at},"mrn":"${at}","encounters":[{"q${at}":1}]}`)
    }
  })
})

describe("renderRow and fromRow", () => {
  it("refuse a row that no entity gives", () => {
    const row = toRow("patient", {
      birth_date: "1980-05-15",
      deceased: true,
      generation_seed: 1,
      created_at: "2024-01-15T10:00:00",
      mrn: "1"
    })
    for (const [name, value] of [
      ["birth_date", "1980-02-30"],
      ["birth_date", 5],
      ["deceased", 1],
      ["generation_seed", "1"],
      ["generation_seed", 2n ** 63n],
      ["created_at", "2024-01-15T25:00:00"],
      ["created_at", "2024-01-15"],
      ["mrn", 1]
    ] as const) {
      assert.throws(
        () => renderRow({ ...row, columns: { ...row.columns, [name]: value } }),
        UnsupportedValue,
        undefined,
        name
      )
    }
    assert.throws(() => renderRow({ ...row, extra: "1" }), "a row has more fragments than its shape")
    assert.throws(() => renderRow({ ...row, template: "\u0001c:nothing\u0001" }), "a label names no column")
    assert.throws(() => renderRow({ ...row, columns: {} }), UnsupportedValue)
  })

  it("refuse a row with more or fewer places of nested entities than it was made with", () => {
    const row = toRow("patient", { encounters: [{ encounter_id: "e1" }] })
    const places = "a row has more or fewer places of nested entities than its shape"
    assert.lengthOf(row.children, 1)
    assert.throws(() => renderRow({ ...row, children: [] }), places)
    assert.throws(() => renderRow({ ...row, children: [...row.children, ...row.children] }), places)
  })

  it("tell where a value has no counterpart", () => {
    const row = toRow("patient", new RawJson('{"mrn":NaN}'))
    assert.strictEqual(renderRow(row), '{"mrn":NaN}')
    assert.throws(() => fromRow(row), UnsupportedValue)
    assert.deepStrictEqual(
      fromRow(toRow("patient", new RawJson('{"a":1,"a":2,"__proto__":1.50}'))),
      JSON.parse('{"a":2,"__proto__":1.5}')
    )
  })
})

describe("the canonical form", () => {
  it("of a patient is the same whatever variant the source used", () => {
    const flat = {
      patient_id: "p1",
      mrn: "M1",
      given_name: "Alice",
      family_name: "Smith",
      birth_date: "1980-05-15",
      gender: "female",
      street_address: "1 Main St",
      city: "Anytown",
      state: "TX",
      postal_code: "12345",
      phone: "555-0100",
      email: "a@example.org"
    }
    const nested = {
      id: "p1",
      mrn: "M1",
      name: { given: "Alice", family: "Smith" },
      birthDate: "1980-05-15",
      gender: "female",
      address: { line1: "1 Main St", city: "Anytown", state: "TX", postalCode: "12345" },
      telecom: { phone: "555-0100", email: "a@example.org" }
    }
    const fhir = {
      id: "p1",
      identifier: [{ type: "MR", value: "M1" }],
      name: [{ family: "Smith", given: ["Alice"] }],
      birthDate: "1980-05-15",
      gender: "female",
      address: [{ line: ["1 Main St"], city: "Anytown", state: "TX", postalCode: "12345" }],
      telecom: [
        { value: "555-0100", system: "phone" },
        { system: "email", value: "a@example.org" }
      ]
    }
    const wrapped = { entity_id: "x", entity_type: "patient", data: nested }
    const dated = { ...flat, birth_date: undefined, dob: "1980-05-15T00:00:00Z" }
    const { birth_date: _, ...withoutDate } = dated
    for (const source of [flat, nested, fhir, wrapped, withoutDate]) {
      assert.deepStrictEqual(toCanonical(kindByName("patient"), toRow("patient", source).columns), {
        id: "p1",
        mrn: "M1",
        name: { given: "Alice", family: "Smith" },
        birthDate: "1980-05-15",
        gender: "female",
        address: { line1: "1 Main St", city: "Anytown", state: "TX", postalCode: "12345" },
        telecom: { phone: "555-0100", email: "a@example.org" }
      })
    }
  })
})

const isSafe = (value: unknown): boolean => {
  try {
    toJsonText(value)
    return true
  } catch {
    return false
  }
}
