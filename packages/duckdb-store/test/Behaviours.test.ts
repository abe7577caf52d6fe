/**
 * What programs that used HealthSim's state manager rely on, as its own tests state it, checked against this store by
 * promises. Where we differ on purpose the test's name says so, and `docs/cohort-store.md` gives the reason.
 */

import { assert, describe, it } from "@effect/vitest"
import { toRow } from "@mallard/entity-serializers"
import { kinds, kindOfTypeKey } from "@mallard/schema"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll } from "vitest"
import {
  CohortNotFoundError,
  CohortStoreError,
  InvalidRequestError,
  NameTakenError,
  openCohortStore,
  plainName,
  type PromisedCohortStore,
  type SaveRequest
} from "../src/index.ts"

let folder = ""
let store: PromisedCohortStore

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "behaviours-"))
  store = await openCohortStore({ path: join(folder, "cohorts.duckdb") })
})
afterAll(async () => {
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

const refusal = async (promise: Promise<unknown>): Promise<CohortStoreError> => {
  try {
    await promise
  } catch (error) {
    assert.instanceOf(error, CohortStoreError)
    return error
  }
  throw new Error("was not refused")
}

describe("a store that was closed", () => {
  it("tells so, also to those who were waiting", async () => {
    const path = join(folder, "closed.duckdb")
    const closed = await openCohortStore({ path })
    await closed.save({ name: "kept", entities: { patients: [patient] } })
    const waiting = closed.append("kept", { patients: Array.from({ length: 2000 }, (_, id) => ({ id: `p${id}` })) })
    const told = waiting.then(
      () => "done",
      (error: unknown) => (error instanceof CohortStoreError ? error.code : String(error))
    )
    await closed.close()
    assert.include(["done", "closed"], await told)
    const calls = [() => closed.list(), () => closed.load("kept"), () => closed.save({ entities: {}, name: "new" })]
    for (const call of calls) assert.strictEqual((await refusal(call())).code, "closed")
    const again = await openCohortStore({ path })
    const { entityCount } = (await again.list()).items[0]!
    assert.include([1, 2001], entityCount)
    await again.close()
  })
})

const names = async (options?: Parameters<PromisedCohortStore["list"]>[0]) =>
  (await store.list(options)).items.map(({ name }) => name)

/** The first entity of a type. */
const firstOf = async (name: string, type: string): Promise<Readonly<Record<string, unknown>>> => {
  const [entity] = (await store.load(name)).entities[type] ?? []
  assert.isObject(entity)
  return entity as Readonly<Record<string, unknown>>
}

const patient = {
  patient_id: "0b5e1c9e-30aa-4a8d-9d5c-6d7b7f8c1234",
  mrn: "MRN-1",
  given_name: "Test",
  family_name: "Patient",
  date_of_birth: "1980-05-15",
  gender: "F"
}
const encounter = { encounter_id: "E1", patient_mrn: "MRN-1", class_code: "O", chief_complaint: "cough" }
const member = { member_id: "M1", given_name: "Mem" }

describe("saving", () => {
  it("takes a cohort without entities and gives an id of 36 characters", async () => {
    assert.strictEqual((await store.save({ name: "empty", entities: {} })).cohortId.length, 36)
  })

  it("takes patients, and patients with encounters", async () => {
    const two = await store.save({ name: "two", entities: { patients: [patient, { ...patient, patient_id: "x" }] } })
    assert.deepStrictEqual(two.entities, { patient: 2 })
    const both = await store.save({ name: "both", entities: { patients: [patient], encounters: [encounter] } })
    assert.deepStrictEqual(both.entities, { patient: 1, encounter: 1 })
  })

  it("refuses a name that is taken", async () => {
    await store.save({ name: "taken", entities: {} })
    const error = await refusal(store.save({ name: "taken", entities: { patients: [patient] } }))
    assert.instanceOf(error, NameTakenError)
    assert.include(error.message, "already exists")
    assert.deepStrictEqual((await store.load("taken")).entities, {})
  })

  it("replaces with overwrite: same id, new entities, description and tags as given or none", async () => {
    const entities = (given_name: string) => ({ patients: [{ ...patient, given_name }] })
    const first = await store.save({ name: "over", entities: entities("Old"), description: "d", tags: ["t"] })
    const second = await store.save({ name: "over", entities: entities("Updated"), overwrite: true })
    assert.strictEqual(second.cohortId, first.cohortId)
    const loaded = await store.load("over")
    assert.deepStrictEqual([loaded.description, loaded.tags], [undefined, []])
    assert.strictEqual((await firstOf("over", "patients"))["given_name"], "Updated")
  })

  it("differs: overwriting keeps the old revision, and the same content again is no new one", async () => {
    const save = (v: number) => store.save({ name: "kept", entities: { patients: [{ id: "1", v }] }, overwrite: true })
    await save(1)
    await save(2)
    assert.strictEqual((await save(2)).outcome, "unchanged")
    assert.strictEqual((await store.history("kept")).length, 2)
    const { items } = await store.entities("kept", { seq: 1 })
    assert.deepStrictEqual(
      items.map(({ text }) => text),
      ['{"id":"1","v":1}']
    )
  })

  it("differs: an id twice, ids of any type and none at all stay as they are, each an entity of its own", async () => {
    const patients = [{ id: "a", v: 1 }, { id: "a", v: 2 }, { id: 0 }, { id: true }, {}]
    await store.save({ name: "odd ids", entities: { patients } })
    assert.deepStrictEqual((await store.load("odd ids")).entities, { patients })
  })

  it("differs: one bad element does not stop the others, and nothing is half saved when saving is refused", async () => {
    await store.save({ name: "mixed", entities: { patients: [{ id: "1" }, "oops", { id: "2" }] } })
    assert.deepStrictEqual((await store.load("mixed")).entities, { patients: [{ id: "1" }, "oops", { id: "2" }] })
    const bad = { patients: [{ id: "1" }, { id: 2n ** 70n, at: new Date(0) }] }
    assert.strictEqual(
      (await refusal(store.save({ name: "mixed", entities: bad, overwrite: true }))).code,
      "unsupported-value"
    )
    assert.strictEqual((await store.history("mixed")).length, 1)
  })
})

describe("loading", () => {
  it("finds by name, then by id", async () => {
    const { cohortId } = await store.save({ name: "found", entities: { patients: [patient] } })
    assert.strictEqual((await store.load("found")).cohortId, cohortId)
    assert.strictEqual((await store.load(cohortId)).name, "found")
    await store.save({ name: cohortId, entities: {} })
    assert.strictEqual((await store.load(cohortId)).name, cohortId)
  })

  it("refuses an unknown name", async () => {
    const error = await refusal(store.load("nobody"))
    assert.instanceOf(error, CohortNotFoundError)
    assert.strictEqual(error.code, "not-found")
  })

  it("gives names, record number, nested addresses, encounters and members as saved", async () => {
    const nested = { ...patient, address: { street: "1 Main", city: "Anytown" } }
    const entities = { patients: [nested], encounters: [encounter], members: [member] }
    await store.save({ name: "round", entities })
    const loaded = await store.load("round")
    assert.deepStrictEqual(loaded.entities, entities)
    assert.deepStrictEqual(loaded.counts, { patient: 1, encounter: 1, member: 1 })
  })

  it("gives description, tags, and when it was saved; differs: `createdAt` is the document's own or none", async () => {
    await store.save({ name: "facts", entities: {}, description: "what", tags: ["a", "b"] })
    const plain = await store.load("facts")
    assert.deepStrictEqual([plain.description, plain.tags, plain.createdAt], ["what", ["a", "b"], undefined])
    assert.match(plain.savedAt, /^\d{4}-\d\d-\d\dT/)
    await store.save({ document: '{"name":"dated","created_at":"2024-01-02T03:04:05","entities":{}}' })
    assert.strictEqual((await store.load("dated")).createdAt, "2024-01-02T03:04:05")
  })

  it("keeps a singular key below `entities`, as files of tests have it", async () => {
    await store.save({ name: "seed", entities: { patient: [{ given_name: "Test1" }] } })
    assert.deepStrictEqual((await store.load("seed")).entities, { patient: [{ given_name: "Test1" }] })
    assert.deepStrictEqual((await store.load("seed")).counts, { patient: 1 })
  })

  it("differs: numbers, unknown types and empty lists come back in the text as they were", async () => {
    const document = '{"name":"exact","entities":{"widgets":[{"w":860.00}],"claims":[],"patients":[{"n":1E5}]}}'
    await store.save({ document })
    assert.deepStrictEqual(await store.documents("exact"), [{ path: "exact.json", text: document }])
  })
})

describe("listing", () => {
  it("gives nothing for an empty database and all names otherwise", async () => {
    const other = await openCohortStore({ path: join(folder, "other.duckdb") })
    try {
      assert.deepStrictEqual((await other.list()).items, [])
      for (const name of ["x", "y", "z"]) await other.save({ name, entities: {} })
      assert.deepStrictEqual(
        (await other.list()).items.map(({ name }) => name),
        ["z", "y", "x"]
      )
    } finally {
      await other.close()
    }
  })

  it("filters by tag, product and text in name or description, all together", async () => {
    await store.save({ name: "L Diabetes", entities: {}, tags: ["lt", "chronic"], product: "patientsim" })
    await store.save({ name: "L Heart", entities: {}, description: "no DIABETES here", tags: ["lt"] })
    await store.save({ name: "L Other", entities: {}, tags: ["LT"] })
    assert.deepStrictEqual(await names({ tag: "lt" }), ["L Heart", "L Diabetes"])
    assert.deepStrictEqual(await names({ search: "diabetes", tag: "lt" }), ["L Heart", "L Diabetes"])
    assert.deepStrictEqual(await names({ search: "l diab" }), ["L Diabetes"])
    assert.deepStrictEqual(await names({ product: "patientsim", tag: "lt", limit: 1 }), ["L Diabetes"])
    assert.deepStrictEqual(await names({ tag: "none" }), [])
  })

  it("differs: the text is literal, in upper or lower case", async () => {
    await store.save({ name: "100% _sure_", entities: {} })
    assert.deepStrictEqual(await names({ search: "%" }), ["100% _sure_"])
    assert.deepStrictEqual(await names({ search: "_SURE_" }), ["100% _sure_"])
    assert.deepStrictEqual(await names({ search: "100%_" }), [])
  })

  it("gives at most `limit`, the newest first, and goes on from a cursor", async () => {
    for (let number = 0; number < 5; number++) await store.save({ name: `page ${number}`, entities: {} })
    assert.deepStrictEqual(await names({ limit: 0 }), [])
    const first = await store.list({ search: "page ", limit: 2 })
    assert.deepStrictEqual(
      first.items.map(({ name }) => name),
      ["page 4", "page 3"]
    )
    const second = await store.list({ search: "page ", limit: 3, cursor: first.next })
    assert.deepStrictEqual(
      second.items.map(({ name }) => name),
      ["page 2", "page 1", "page 0"]
    )
    assert.isUndefined(second.next)
  })

  it("differs: a limit that is none and a cursor of another list are refused", async () => {
    for (const limit of [-1, 1.5, 10_001]) {
      assert.strictEqual((await refusal(store.list({ limit }))).code, "bad-limit")
    }
    const { next } = await store.list({ limit: 1 })
    assert.isDefined(next)
    for (const options of [{ cursor: next, tag: "lt" }, { cursor: "nonsense" }]) {
      assert.strictEqual((await refusal(store.list(options))).code, "bad-cursor")
    }
  })
})

describe("deleting", () => {
  it("works by name and by id, and says whether there was something", async () => {
    await store.save({ name: "del name", entities: {}, tags: ["del"] })
    const { cohortId } = await store.save({ name: "del id", entities: {} })
    assert.isTrue(await store.delete("del name"))
    assert.isTrue(await store.delete(cohortId))
    assert.isFalse(await store.delete("del name"))
    assert.isFalse(await store.exists(cohortId))
    assert.deepStrictEqual(await names({ tag: "del" }), [])
    assert.notInclude(
      (await store.tags()).map(({ tag }) => tag),
      "del"
    )
  })

  it("differs: it is a revision, asks nothing, and can be taken back; another cohort's entities are not touched", async () => {
    await store.save({ name: "gone", entities: { patients: [patient] }, tags: ["t"] })
    await store.save({ name: "stays", entities: { patients: [patient] } })
    await store.delete("gone")
    assert.strictEqual((await store.load("stays")).entityCount, 1)
    await store.restore("gone")
    const { entities, tags } = await store.load("gone")
    assert.deepStrictEqual([entities, tags], [{ patients: [patient] }, ["t"]])
  })

  it("differs: the same id in two cohorts is what each of them said", async () => {
    await store.save({ name: "A", entities: { patients: [{ id: "x", city: "Austin" }] } })
    await store.save({ name: "B", entities: { patients: [{ id: "x", city: "Boston" }] } })
    await store.delete("B")
    assert.deepStrictEqual((await store.load("A")).entities, { patients: [{ id: "x", city: "Austin" }] })
  })
})

describe("existence and tags", () => {
  it("tells by name and by id whether a cohort exists", async () => {
    const { cohortId } = await store.save({ name: "is there", entities: {} })
    assert.deepStrictEqual(
      [await store.exists("is there"), await store.exists(cohortId), await store.exists("is not")],
      [true, true, false]
    )
  })

  it("adds tags to those there are, each once, and removes them", async () => {
    await store.save({ name: "tagged", entities: {}, tags: ["one", "two", "three"] })
    assert.deepStrictEqual((await store.load("tagged")).tags, ["one", "two", "three"])
    await store.addTags("tagged", ["four", "one"])
    assert.deepStrictEqual((await store.load("tagged")).tags, ["one", "two", "three", "four"])
    assert.isFalse((await store.addTags("tagged", ["two"])).isChanged)
    await store.removeTags("tagged", ["one", "never"])
    assert.deepStrictEqual((await store.load("tagged")).tags, ["two", "three", "four"])
    assert.deepInclude(await store.tags(), { tag: "four", cohorts: 1 })
    assert.deepStrictEqual(await names({ tag: "four" }), ["tagged"])
    assert.strictEqual((await refusal(store.addTags("tagged", [" "]))).code, "bad-tag")
  })

  it("refuses names and tags that are no text, as programs without types may give", async () => {
    const untyped: ReadonlyArray<readonly [key: string, value: unknown, code: string]> = [
      ["tags", "one", "bad-tag"],
      ["tags", [5], "bad-tag"],
      ["tags", [undefined], "bad-tag"],
      ["tags", null, "bad-tag"],
      ["name", null, "bad-name"],
      ["name", ["text"], "bad-name"]
    ]
    for (const [key, value, code] of untyped) {
      const request = Object.assign({ name: "untyped", entities: {} }, { [key]: value })
      assert.strictEqual((await refusal(store.save(request))).code, code)
    }
    assert.isFalse(await store.exists("untyped"))
  })

  it("adds and removes tags in one revision, or does neither", async () => {
    const { seq } = await store.save({ name: "retagged", entities: {}, tags: ["one", "two"] })
    assert.strictEqual((await refusal(store.retag("retagged", { add: [" "], remove: ["one"] }))).code, "bad-tag")
    assert.deepStrictEqual((await store.load("retagged")).tags, ["one", "two"])
    const changed = await store.retag("retagged", { add: ["three"], remove: ["one"] })
    assert.deepInclude(changed, { isChanged: true, seq: seq + 1 })
    assert.deepStrictEqual((await store.load("retagged")).tags, ["two", "three"])
    assert.isFalse((await store.retag("retagged", { add: ["two"], remove: ["two", "never"] })).isChanged)
  })

  it("renames by name or id, to a name that is free", async () => {
    const { cohortId } = await store.save({ name: "before", entities: { patients: [patient] } })
    await store.rename("before", "after")
    await store.rename(cohortId, "afterwards")
    assert.strictEqual((await store.load(cohortId)).name, "afterwards")
    assert.strictEqual((await refusal(store.rename("afterwards", "tagged"))).code, "name-taken")
    assert.strictEqual((await refusal(store.rename("afterwards", " "))).code, "bad-name")
  })
})

describe("cohort files", () => {
  const entities = {
    patients: [patient],
    encounters: [{ ...encounter, encounter_type: "outpatient", admit_datetime: "2024-01-02T03:04:05" }]
  }
  const write = (name: string, document: unknown): string => {
    const path = join(folder, name)
    writeFileSync(path, typeof document === "string" ? document : JSON.stringify(document))
    return path
  }

  it("are written with name, description, tags, time and entities, by name or id", async () => {
    const { cohortId } = await store.save({ name: "to file", entities, description: "d", tags: ["test", "chronic"] })
    const path = join(folder, "out", "to-file.json")
    const { paths, remarks } = await store.export(cohortId, path, { format: "v1" })
    assert.deepStrictEqual([paths, remarks], [[path], []])
    const text = readFileSync(path, "utf8")
    const document = JSON.parse(text)
    assert.deepStrictEqual(Object.keys(document), ["name", "description", "tags", "created_at", "entities"])
    assert.deepInclude(document, { name: "to file", description: "d", tags: ["test", "chronic"], entities })
    assert.match(document.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/)
    assert.isTrue(text.startsWith('{\n  "name": "to file",\n'))
  })

  it("differs: the folder of an export is always named, never ~/Downloads", async () => {
    await store.save({ name: "a b/c", entities })
    mkdirSync(join(folder, "named"), { recursive: true })
    const { paths } = await store.export("a b/c", join(folder, "named"), { format: "v1" })
    assert.deepStrictEqual(paths, [join(folder, "named", "a b_c.json")])
  })

  it("are read again: by the name given, else their own, else the file's", async () => {
    const path = write("stem.json", { name: "embedded", entities: { patients: [{ ...patient, given_name: "Alice" }] } })
    const { cohortId, name } = await store.import(path)
    assert.isTrue(await store.exists(cohortId))
    assert.strictEqual(name, "embedded")
    assert.strictEqual((await firstOf("embedded", "patients"))["given_name"], "Alice")
    assert.strictEqual((await store.import(path, { name: "argument" })).name, "argument")
    assert.strictEqual((await store.import(write("nameless.json", { entities }))).name, "nameless")
    assert.deepStrictEqual((await store.load("nameless")).entities, entities)
  })

  it("bring their tags and description, and replace with overwrite", async () => {
    const tags = ["test", "diabetes", "chronic"]
    const path = write("full.json", { name: "full", description: "what", tags, entities })
    await store.import(path)
    const loaded = await store.load("full")
    assert.deepStrictEqual([loaded.tags, loaded.description], [tags, "what"])
    assert.strictEqual((await refusal(store.import(path))).code, "name-taken")
    const other = write("full.json", { name: "full", entities: { patients: [{ given_name: "Replacement" }] } })
    await store.import(other, { overwrite: true })
    assert.strictEqual((await firstOf("full", "patients"))["given_name"], "Replacement")
  })

  it("may have their types at the top, plural or singular: given back by the plural", async () => {
    await store.import(write("top.json", { patients: [{ given_name: "Legacy" }], encounters: [] }))
    assert.deepStrictEqual((await store.load("top")).entities, { patients: [{ given_name: "Legacy" }] })
    await store.import(write("singular.json", { patient: [{ given_name: "Singular" }] }))
    assert.deepStrictEqual((await store.load("singular")).entities, { patients: [{ given_name: "Singular" }] })
  })

  it("survive the way out and back under another name: entities, tags, description", async () => {
    await store.save({ name: "there", entities, tags: ["x", "y"], description: "and back" })
    const path = join(folder, "there.json")
    await store.export("there", path, { format: "v1" })
    await store.delete("there")
    await store.import(path, { name: "back" })
    const back = await store.load("back")
    assert.deepStrictEqual([back.entities, back.tags, back.description], [entities, ["x", "y"], "and back"])
  })

  it("that cannot be read or are no JSON are refused, and nothing is saved", async () => {
    const count = (await store.list({ limit: 10_000 })).items.length
    assert.strictEqual((await refusal(store.import(join(folder, "missing.json")))).code, "not-read")
    const error = await refusal(store.import(write("broken.json", "not valid json {")))
    assert.strictEqual(error.code, "bad-json")
    assert.notInclude(error.message, "valid json")
    assert.strictEqual((await store.list({ limit: 10_000 })).items.length, count)
    assert.isFalse(existsSync(join(folder, "broken.json.tmp")))
  })
})

describe("rows of entities", () => {
  const columns = (kind: Parameters<typeof toRow>[0], entity: object) => toRow(kind, entity).columns

  it("have the columns of patients, flat or nested as FHIR's", () => {
    assert.deepInclude(columns("patient", { ...patient, birth_date: "1980-05-15" }), {
      id: patient.patient_id,
      mrn: "MRN-1",
      given_name: "Test",
      family_name: "Patient",
      gender: "F",
      birth_date: "1980-05-15"
    })
    const nested = columns("patient", {
      name: { given: "Ana", family: "Lee" },
      birthDate: "1961-02-03",
      address: { line1: "1 Main", line2: "Apt 2", city: "Austin", state: "TX", postalCode: "78701" }
    })
    assert.deepInclude(nested, {
      given_name: "Ana",
      family_name: "Lee",
      birth_date: "1961-02-03",
      street_address: "1 Main",
      street_address_2: "Apt 2",
      city: "Austin",
      state: "TX",
      postal_code: "78701"
    })
  })

  it("differ: an id that is not there is NULL, never made up, and so is every other value", () => {
    const given = Object.values(columns("patient", { given_name: "No id" })).filter((value) => value !== null)
    assert.deepStrictEqual(given, ["No id"])
  })

  it("have the columns of encounters, members, claims, prescriptions and subjects", () => {
    assert.deepInclude(columns("encounter", encounter), { encounter_id: "E1", patient_mrn: "MRN-1" })
    assert.deepInclude(columns("member", { ...member, group_number: "G", coverage_start: "2024-01-01" }), {
      member_id: "M1",
      given_name: "Mem"
    })
    assert.deepInclude(
      columns("claim", { claim_id: "C", member_id: "M1", total_charge: 250, service_date: "2024-02-03" }),
      {
        claim_id: "C",
        member_id: "M1",
        total_charge: "250.00"
      }
    )
    assert.deepInclude(columns("prescription", { prescription_number: "RX", ndc: "00093", quantity: 60 }), {
      prescription_number: "RX"
    })
    assert.deepInclude(columns("subject", { subject_id: "S1", study_id: "ST" }), { study_id: "ST" })
  })

  it("are found by singular and plural names of types, and unknown types have none", () => {
    assert.strictEqual(kindOfTypeKey("patient"), kindOfTypeKey("patients"))
    assert.isUndefined(kindOfTypeKey("widgets"))
    assert.isAtLeast(kinds.length, 14)
  })
})

describe("workspaces", () => {
  const workspace = (name: string, product: string, tags: ReadonlyArray<string>, patients: number) => ({
    metadata: { workspace_id: `${name}-id`, name, description: null, tags, product, schema_version: "2.0" },
    provenance_summary: { total_entities: patients },
    entities: {
      patients: Array.from({ length: patients }, (_, at) => ({
        entity_id: `p${at}`,
        entity_type: "patient",
        data: { id: `p${at}`, name: "John Doe" },
        provenance: { source_type: "generated" }
      }))
    }
  })

  it("keep what their metadata says, their counts, and every wrapped entity", async () => {
    await store.save({ document: workspace("w1", "patientsim", ["ws"], 3) })
    const loaded = await store.load("w1")
    assert.deepInclude(loaded, { product: "patientsim", legacyId: "w1-id", description: undefined, tags: ["ws"] })
    assert.deepStrictEqual(loaded.counts, { patient: 3 })
    assert.deepNestedInclude(await firstOf("w1", "patients"), { entity_id: "p0", "data.name": "John Doe" })
    assert.strictEqual((await store.summary("w1")).kinds[0]?.count, 3)
  })

  it("take further entities", async () => {
    await store.save({ document: workspace("w2", "membersim", ["ws", "second"], 0) })
    assert.strictEqual((await store.load("w2")).entityCount, 0)
    await store.append("w2", { patients: [{ id: "new" }] })
    assert.deepStrictEqual((await store.load("w2")).entities, { patients: [{ id: "new" }] })
  })

  it("are listed by product, text and tags, and found by exact names only", async () => {
    assert.deepStrictEqual(await names({ product: "membersim", search: "W" }), ["w2"])
    assert.deepStrictEqual(await names({ tag: "second" }), ["w2"])
    assert.strictEqual((await refusal(store.load("W"))).code, "not-found")
  })
})

describe("names", () => {
  it("are made up from keywords, else from the context, else of the word cohort, and the day", async () => {
    const made = async (hints: Omit<SaveRequest, "entities">, entities = {}) =>
      (await store.save({ ...hints, entities })).name
    assert.match(await made({ context: "Generate 50 diabetic patients over 65" }), /^diabetic-patients-\d{8}$/)
    assert.match(await made({ keywords: ["Heart Failure", "ICU"] }), /^heart-failure-icu-\d{8}$/)
    const plain = await made({})
    assert.match(plain, /^cohort-\d{8}$/)
    assert.strictEqual(await made({}, { patients: [] }), `${plain}-2`)
  })

  it("differ: letters of every script stay", () => {
    assert.strictEqual(plainName("  Élan_Vital (2024)!  "), "élan-vital-2024")
    assert.strictEqual(plainName("心臓 病"), "心臓-病")
  })
})

describe("what is refused", () => {
  it("says where in the value, without the value", async () => {
    const error = await refusal(store.save({ name: "bad", entities: { patients: [{ id: "1", secret: undefined }] } }))
    assert.instanceOf(error, InvalidRequestError)
    assert.deepStrictEqual([error.code, error.pointer], ["unsupported-value", "/patients/0/*"])
    assert.notInclude(error.message, "secret")
    for (const request of [{}, { entities: {}, document: {} }, { entities: [] }, { name: "", entities: {} }]) {
      assert.instanceOf(await refusal(store.save(request)), InvalidRequestError)
    }
  })

  it("tells a database that cannot be opened by its code", async () => {
    const path = join(folder, "no-database.duckdb")
    writeFileSync(path, "text")
    assert.strictEqual((await refusal(openCohortStore({ path }))).code, "cannot-open-not-a-database")
  })
})
