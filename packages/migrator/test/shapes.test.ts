import { assert, describe, it } from "@effect/vitest"
import { compactText } from "@mallard/testkit"
import { Effect } from "effect"
import { entities, exported, migrated, query, remarksOf, run } from "./support.ts"

const patient = {
  id: "p1",
  name: [{ family: "Vale", given: ["Ada", "B"] }],
  telecom: [
    { system: "phone", value: "555-1" },
    { system: "email", value: "a@example.org" }
  ],
  birthDate: "1980-02-03",
  gender: "female",
  resourceType: "Patient"
}
const coded = (code: string, text: string) => ({ coding: [{ system: "http://example.org", code, display: text }] })
const subject = { reference: "Patient/p1" }
const resources = [
  patient,
  { resourceType: "Encounter", id: "e1", status: "finished", class: { code: "AMB" }, subject },
  { resourceType: "Condition", id: "c1", code: coded("E11.9", "Diabetes"), subject, onsetDateTime: "2020-01-02" },
  {
    resourceType: "Observation",
    id: "o1",
    code: coded("4548-4", "A1c"),
    valueQuantity: { value: 8.1, unit: "%" },
    effectiveDateTime: "2024-05-06T07:08:09Z"
  },
  {
    id: "o2",
    valueQuantity: { value: 70, unit: "/min" },
    category: [{ coding: [{ code: "vital-signs" }] }],
    code: coded("8867-4", "Heart rate"),
    effectiveDateTime: "2024-05-06T07:08:09Z",
    resourceType: "Observation"
  },
  {
    resourceType: "MedicationRequest",
    id: "m1",
    medicationCodeableConcept: coded("860975", "Metformin"),
    authoredOn: "2024-01-01"
  },
  { resourceType: "Procedure", id: "r1", code: coded("45378", "Colonoscopy"), performedDateTime: "2024-01-01" },
  { resourceType: "Claim", id: "x1", status: "active", total: { value: 12.5, currency: "USD" } },
  { resourceType: "Immunization", id: "i1" }
]
const kindsOf = [
  "patient",
  "encounter",
  "diagnosis",
  "lab_result",
  "vital_sign",
  "medication",
  "procedure",
  "claim",
  "json"
]
const bundle = {
  entry: resources.map((resource) => ({ fullUrl: `urn:uuid:${resource.id}`, resource, request: { method: "POST" } })),
  type: "collection",
  resourceType: "Bundle"
}
const lines = (values: ReadonlyArray<unknown>): string => values.map((value) => JSON.stringify(value)).join("\n")

describe("FHIR", () => {
  it.effect("gives as many entities as a Bundle has resources, wherever the keys stand", () =>
    Effect.gen(function* () {
      const { database, report } = yield* migrated({ "bundle.json": JSON.stringify(bundle, null, 2) })
      assert.deepStrictEqual(
        report.items.map(({ format, outcome }) => [format, outcome]),
        [["V15", "migrated"]]
      )
      assert.deepStrictEqual(remarksOf(report.items[0]!), [])
      assert.deepStrictEqual(
        yield* entities(database),
        kindsOf.map((kind, at) => `bundle.json ${kind} /entry/${at}/resource`).sort()
      )
      assert.strictEqual((yield* exported(database)).get("bundle/bundle.json"), compactText(JSON.stringify(bundle)))
      assert.strictEqual(report.verification.mismatched, 0)
    })
  )

  it.effect("gives each line of an NDJSON file", () =>
    Effect.gen(function* () {
      const text = lines(resources)
      const { database, folder, report, source } = yield* migrated({ "all.ndjson": `${text}\r\n\n` })
      assert.deepStrictEqual(
        report.items.map(({ format, outcome }) => [format, outcome]),
        [["V15", "migrated"]]
      )
      assert.deepStrictEqual(yield* entities(database), kindsOf.map((kind, at) => `all.ndjson ${kind} /${at}`).sort())
      assert.strictEqual((yield* exported(database)).get("all/all.ndjson"), text)
      void folder
      const again = yield* run(database, [source])
      assert.deepStrictEqual(
        again.items.map(({ outcome }) => outcome),
        ["unchanged"]
      )
      void query
    })
  )
})
