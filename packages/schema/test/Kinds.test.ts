import { readFileSync } from "node:fs"
import {
  isTrialKey,
  JSON_KIND,
  kindByCode,
  kindByName,
  type KindName,
  kindOfTrialKey,
  kindOfTypeKey,
  kinds,
  normaliseTypeKey,
  parseContextPath,
  parseIdPath,
  parsePath,
  type Step,
  trialTypeKeys
} from "@mallard/schema"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"

describe("kinds", () => {
  it("gives no code, name, table or type key twice", () => {
    for (const values of [
      [JSON_KIND.code, ...kinds.map(({ code }) => code)],
      [JSON_KIND.kind, ...kinds.map(({ kind }) => kind)],
      [JSON_KIND.table, ...kinds.map(({ table }) => table)],
      kinds.flatMap(({ typeKeys }) => typeKeys)
    ]) {
      assert.strictEqual(new Set<string | number>(values).size, values.length)
    }
  })

  it("knows every kind by its name, its table and its code", () => {
    for (const kind of kinds) {
      assert.strictEqual(kindByName(kind.kind), kind)
      assert.strictEqual(kindByCode(kind.code), kind)
      assert.strictEqual(kindOfTypeKey(kind.kind), kind)
      assert.strictEqual(kindOfTypeKey(kind.table), kind)
    }
    assert.isUndefined(kindByCode(JSON_KIND.code))
    assert.isUndefined(kindByName(JSON_KIND.kind))
  })

  it("gives each kind with one of the names that `kindByName` takes, to the type checker too", () => {
    const names: ReadonlyArray<KindName | undefined> = [
      kinds[0]?.kind,
      kindByCode(2)?.kind,
      kindOfTypeKey("labResults")?.kind,
      kindOfTrialKey("visits")?.kind,
      kindByName(String("claim"))?.kind
    ]
    assert.deepStrictEqual(names, ["patient", "encounter", "lab_result", "trial_visit", "claim"])
  })

  it("knows no kind under a name that every object inherits", () => {
    for (const name of ["constructor", "__proto__", "toString", ""]) {
      assert.isUndefined(kindByName(name))
      assert.isUndefined(kindOfTypeKey(name))
    }
  })

  it("nests no kind in itself, however deep", () => {
    const within = (kind: string, ancestors: ReadonlyArray<string>): void => {
      assert.notInclude(ancestors, kind)
      const declared = kindByName(kind)
      assert.isDefined(declared, kind)
      for (const child of declared?.children ?? []) within(child.kind, [...ancestors, kind])
    }
    for (const { kind } of kinds) within(kind, [])
  })

  it("reads no column from a place where an entity of its own may stand", () => {
    for (const { kind, columns, children } of kinds) {
      for (const path of columns.flatMap(({ paths }) => paths)) {
        for (const child of children) {
          assert.isFalse(`${path}.`.replaceAll("[", ".").startsWith(`${child.path}.`), `${kind}: ${path}`)
        }
      }
    }
  })

  it("writes every path in the grammar", () => {
    for (const { columns, children, containers, idPaths, requires } of kinds) {
      for (const path of columns.flatMap(({ paths }) => paths)) parsePath(path)
      for (const path of columns.flatMap(({ context }) => context)) parseContextPath(path)
      for (const { path } of children) parsePath(path)
      for (const path of [...containers, ...requires.flatMap(({ oneOf }) => oneOf)]) parsePath(path)
      for (const path of idPaths) parseIdPath(path)
    }
  })

  it("holds the source's id in a column that reads the first of the id's paths", () => {
    for (const { kind, idColumn, idPaths, columns } of kinds) {
      const column = columns.find(({ name }) => name === idColumn)
      assert.isDefined(column, kind)
      assert.include(column?.paths, idPaths[0], kind)
    }
  })

  it("names only type keys of the kind itself in its requirements", () => {
    for (const { typeKeys, requires } of kinds) {
      for (const { typeKeys: keys } of requires) for (const key of keys) assert.include(typeKeys, key)
    }
  })

  it("reads a FHIR-like patient (HS-062)", () => {
    const { cases }: { readonly cases: ReadonlyArray<{ readonly id: string; readonly input: string }> } = JSON.parse(
      readFileSync(new URL("../../../../shared/cases/healthsim-cases.json", import.meta.url), "utf8")
    )
    const input = JSON.parse(cases.find(({ id }) => id === "HS-062")?.input ?? "").entities.patients[0]
    assert.deepStrictEqual(columnsOf("patient", input), {
      id: "p",
      mrn: "MRN9",
      given_name: "John",
      middle_name: "Q",
      family_name: "Smith",
      birth_date: "1980-01-01",
      gender: "male",
      street_address: "1 Main",
      city: "X",
      state: "IL",
      postal_code: "6",
      phone: "555"
    })
  })
})

describe("type keys", () => {
  it.each([
    ["Patient", "patient"],
    ["labResults", "lab_result"],
    ["LabResult", "lab_result"],
    ["LAB_RESULTS", "lab_result"],
    ["vitalSigns", "vital_sign"],
    ["serviceLines", "claim_line"],
    ["rxMembers", "rx_member"],
    ["diagnosis", "diagnosis"],
    ["allergys", "allergy"],
    ["facilitys", "facility"],
    ["visits", "encounter"],
    ["fills", "pharmacy_claim"]
  ])("%s stands for %s", (key, kind) => {
    assert.strictEqual(kindOfTypeKey(key)?.kind, kind)
  })

  it.each(["pharmacys", "studies", "idCards", "care_gaps", "metadata", "json", "json_values", "patients2"])(
    "%s stands for no kind",
    (key) => {
      assert.isUndefined(kindOfTypeKey(key))
    }
  )

  it("visits are trial visits in documents of a trial", () => {
    assert.deepStrictEqual(trialTypeKeys, { visit: "trial_visit", visits: "trial_visit" })
    for (const kind of Object.values(trialTypeKeys)) assert.isDefined(kindByName(kind))
    assert.deepStrictEqual(
      ["Visits", "subjects", "constructor"].map((key) => [kindOfTypeKey(key)?.kind, kindOfTrialKey(key)?.kind]),
      [
        ["encounter", "trial_visit"],
        ["subject", "subject"],
        [undefined, undefined]
      ]
    )
    assert.deepStrictEqual(["treatmentArms", "Study", "visits"].map(isTrialKey), [true, true, false])
  })

  it("are stored in their normal spelling", () => {
    for (const key of kinds.flatMap(({ typeKeys }) => typeKeys)) assert.strictEqual(normaliseTypeKey(key), key)
  })

  it("have a normal spelling that stays as it is", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.stringMatching(/^[A-Za-z0-9_]*$/)), (key) => {
        const normal = normaliseTypeKey(key)
        assert.strictEqual(normaliseTypeKey(normal), normal)
      })
    )
  })

  it("are the same in snake case, camel case, Pascal case and capitals", () => {
    const word = fc.stringMatching(/^[a-z]{2,8}$/)
    const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 4 }), (words) => {
        const snake = words.join("_")
        const pascal = words.map(capital).join("")
        const camel = pascal.charAt(0).toLowerCase() + pascal.slice(1)
        for (const spelling of [snake, snake.toUpperCase(), pascal, camel]) {
          assert.strictEqual(normaliseTypeKey(spelling), snake)
        }
      })
    )
  })
})

/** The scalars that a kind's columns find in an entity, by the rule that declarations state. */
const columnsOf = (name: string, entity: unknown): Record<string, unknown> => {
  const found: Record<string, unknown> = {}
  for (const column of kindByName(name)?.columns ?? []) {
    const values = column.paths.map((path) => parsePath(path).reduce(stepInto, entity))
    const value = values.find((value) => value !== undefined && value !== null && typeof value !== "object")
    if (value !== undefined) found[column.name] = value
  }
  return found
}

const stepInto = (value: unknown, step: Step): unknown => {
  if (typeof value !== "object" || value === null) return undefined
  switch (step._tag) {
    case "Key":
      return Array.isArray(value) ? undefined : Object.entries(value).find(([key]) => key === step.key)?.[1]
    case "Index":
      return Array.isArray(value) ? value[step.index] : undefined
    case "Where":
      return Array.isArray(value) ? value.find((element) => element?.[step.key] === step.value) : undefined
  }
}
