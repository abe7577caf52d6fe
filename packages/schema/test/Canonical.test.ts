import {
  type Canonical,
  canonicalSchema,
  type Column,
  type EntityKind,
  kindByName,
  kinds,
  type Row,
  toCanonical,
  toJsonSchema
} from "@mallard/schema"
import { Schema } from "effect"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"

const patient = kindByName("patient")
const nothing = Object.fromEntries(kinds.flatMap(({ columns }) => columns.map(({ name }) => [name, null])))

describe("the canonical form", () => {
  it("groups name, address, telecom and provenance of a patient", () => {
    const row: Partial<Row<typeof patient>> = {
      id: "p1",
      mrn: "MRN9",
      given_name: "Alice",
      family_name: "Smith",
      birth_date: "1980-05-15",
      deceased: false,
      street_address: "1 Main",
      street_address_2: "Apt 2",
      city: "Anytown",
      state: "IL",
      postal_code: "62701",
      phone: "555-0100",
      phone_mobile: "555-0101",
      source_type: "generated",
      generation_seed: 42n,
      created_at: "2025-01-15T09:30:00.000001"
    }
    const expected: Canonical<typeof patient> = {
      id: "p1",
      mrn: "MRN9",
      name: { given: "Alice", family: "Smith" },
      birthDate: "1980-05-15",
      address: { line1: "1 Main", line2: "Apt 2", city: "Anytown", state: "IL", postalCode: "62701" },
      telecom: { phone: "555-0100", mobile: "555-0101" },
      deceased: false,
      provenance: { sourceType: "generated", seed: 42, createdAt: "2025-01-15T09:30:00.000001" }
    }
    assert.deepStrictEqual(toCanonical(patient, row), expected)
  })

  it.each(["patient", "member", "subject", "rx_member", "person"])("names a %s in one way", (kind) => {
    const declared = kindByName(kind)
    assert.isDefined(declared)
    if (declared === undefined) return
    const entity = toCanonical(declared, { ...nothing, given_name: "A", family_name: "B", birth_date: "2000-01-01" })
    assert.deepStrictEqual(entity, { name: { given: "A", family: "B" }, birthDate: "2000-01-01" })
  })

  it("keeps the digits of decimals, parses JSON, and leaves what is no JSON a text", () => {
    const line = kindByName("claim_line")
    assert.deepStrictEqual(
      toCanonical(line, { charge_amount: "425.00", units: 1.5, paid_amount: 0.1, procedure_modifiers: '["25",1]' }),
      { units: "1.50", chargeAmount: "425.00", paidAmount: "0.10", procedureModifiers: ["25", 1] }
    )
    assert.deepStrictEqual(toCanonical(line, { diagnosis_pointers: "[NaN]" }), { diagnosisPointers: "[NaN]" })
    assert.deepStrictEqual(toCanonical(line, { diagnosis_pointers: "null" }), { diagnosisPointers: null })
  })

  it("gives a large integer as a number where that is exact, else as a bigint", () => {
    const seed = (generation_seed: number | bigint) => toCanonical(patient, { generation_seed }).provenance?.seed
    assert.strictEqual(seed(7), 7)
    assert.strictEqual(seed(9007199254740991n), 9007199254740991)
    assert.strictEqual(seed(9007199254740993n), 9007199254740993n)
    assert.strictEqual(seed(-9223372036854775808n), -9223372036854775808n)
  })

  it("leaves out columns and groups without a value, and what is no column", () => {
    assert.deepStrictEqual(toCanonical(patient, { ...nothing, unknown: 1 }), {})
    assert.deepStrictEqual(toCanonical(patient, {}), {})
  })

  it("has one place per column", () => {
    for (const { kind, columns } of kinds) {
      const places = columns.map(({ canonical }) => canonical)
      assert.strictEqual(new Set(places).size, places.length, kind)
      for (const place of places) {
        assert.match(place, /^[a-z][A-Za-z0-9]*(\.[a-z][A-Za-z0-9]*)?$/, kind)
        assert.isFalse(
          places.some((other) => other.startsWith(`${place}.`)),
          `${kind}: ${place}`
        )
      }
    }
  })

  it("of any row is decoded by its schema as it is", () => {
    fc.assert(
      fc.property(kindAndRow, ([kind, row]) => {
        const entity = toCanonical(kind, row)
        const decoded = Schema.decodeUnknownSync(canonicalSchema(kind), { onExcessProperty: "error" })(entity)
        assert.deepStrictEqual(decoded, entity)
      })
    )
  })

  it("has as many values as the row", () => {
    fc.assert(
      fc.property(kindAndRow, ([kind, row]) => {
        const groups = new Set(kind.columns.flatMap(({ canonical }) => canonical.split(".").slice(0, -1)))
        const values = Object.entries(toCanonical(kind, row)).flatMap(([key, value]) =>
          groups.has(key) ? Object.values(value ?? {}) : [value]
        )
        assert.strictEqual(values.length, Object.values(row).filter((cell) => cell !== null).length)
      })
    )
  })

  it("of another type is refused by the schema", () => {
    const decode = Schema.decodeUnknownSync(canonicalSchema(patient))
    assert.throws(() => decode({ birthDate: "15.05.1980" }))
    assert.throws(() => decode({ deceased: "no" }))
    assert.throws(() => decode({ name: "Alice Smith" }))
    assert.throws(() => decode({ provenance: { createdAt: "2025-01-15 09:30:00" } }))
    assert.throws(() => Schema.decodeUnknownSync(canonicalSchema(kindByName("claim")))({ totalCharge: 425 }))
  })
})

describe("the JSON Schema", () => {
  it("of a kind says its keys, types and formats", () => {
    const { $schema, title, type, properties } = toJsonSchema(kindByName("claim_line"))
    assert.strictEqual($schema, "https://json-schema.org/draft/2020-12/schema")
    assert.strictEqual(title, "claim_line")
    assert.strictEqual(type, "object")
    assert.hasAllKeys(properties, [
      ...new Set(kindByName("claim_line").columns.map(({ canonical }) => canonical.split(".")[0] ?? ""))
    ])
    const { serviceDate, chargeAmount, procedureModifiers } = Object(properties)
    assert.deepStrictEqual(serviceDate, { type: "string", pattern: "^\\d{4}-\\d{2}-\\d{2}$" })
    assert.deepStrictEqual(chargeAmount, { type: "string", pattern: "^-?\\d+(\\.\\d+)?$" })
    assert.deepStrictEqual(procedureModifiers, {})
  })

  it("carries the descriptions of columns", () => {
    const properties = Object(toJsonSchema(kindByName("adverse_event"))["properties"])
    assert.strictEqual(properties.aeterm.description, "The event as it was reported.")
  })

  it("can be made of every kind, and is JSON", () => {
    for (const kind of kinds) {
      const schema = toJsonSchema(kind)
      assert.deepStrictEqual(JSON.parse(JSON.stringify(schema)), schema)
    }
  })
})

const pad = (digits: number) => (value: number) => String(value).padStart(digits, "0")
const dates = fc
  .tuple(fc.integer({ min: 1, max: 9999 }).map(pad(4)), fc.integer({ min: 1, max: 12 }).map(pad(2)))
  .chain(([year, month]) => fc.integer({ min: 1, max: 28 }).map((day) => `${year}-${month}-${pad(2)(day)}`))
const times = fc
  .tuple(fc.nat(23), fc.nat(59), fc.nat(59), fc.option(fc.nat(999_999), { nil: undefined }))
  .map(([h, m, s, us]) => [h, m, s].map(pad(2)).join(":") + (us === undefined ? "" : `.${pad(6)(us)}`))

const cell = ({ type }: Column): fc.Arbitrary<unknown> => {
  switch (type) {
    case "VARCHAR":
      return fc.string({ unit: "binary" })
    case "DATE":
      return dates
    case "TIMESTAMP":
      return fc.tuple(dates, times).map(([date, time]) => `${date}T${time}`)
    case "INTEGER":
      return fc.integer()
    case "BIGINT":
      return fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.maxSafeInteger())
    case "DOUBLE":
      return fc.double({ noNaN: true, noDefaultInfinity: true })
    case "BOOLEAN":
      return fc.boolean()
    case "JSON":
      return fc.oneof(fc.json(), fc.constant("[NaN]"))
    default:
      return fc.oneof(
        fc.integer().map((value) => value / 100),
        fc.tuple(fc.integer(), fc.nat(99).map(pad(2))).map(([whole, part]) => `${whole}.${part}`)
      )
  }
}

const rowOf = (kind: EntityKind): fc.Arbitrary<Record<string, unknown>> =>
  fc.record(Object.fromEntries(kind.columns.map((column) => [column.name, fc.option(cell(column))])))

const kindAndRow = fc.constantFrom(...kinds).chain((kind) => fc.tuple(fc.constant(kind), rowOf(kind)))
