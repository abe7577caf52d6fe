import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { descriptorsOf, fileIdentity } from "@mallard/sql-duckdb/DatabaseFile"
import { Effect } from "effect"
import * as fc from "fast-check"
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { CohortStore, diffTexts, documentText, exportRemarks, type ExportRemark, verifyDatabase } from "../src/index.ts"
import { fieldPicker, fieldsOf, leaves, withFields, withoutPrivateKeys } from "../src/internal/jsonScan.ts"
import { beginEmpty, temporaryFolder, valuesOf, withStore } from "./support.ts"

const inStore = <A, E>(use: (store: CohortStore["Service"], folder: string) => Effect.Effect<A, E, DuckDbClient>) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const path = join(folder, "store.duckdb")
    yield* beginEmpty(path)
    const used = Effect.flatMap(CohortStore, (store) => use(store, folder))
    return yield* withStore({ path }, Effect.provide(used, CohortStore.layerNoDeps))
  })

/** Everything that cohort files cannot hold, or that their reader does not keep, once. */
const awkward =
  '{"name":"awkward","comment":{"kept":"in documents"},"patient":{"id":"p0"},"patients":[{"id":"p1","w":860.00,"_p":{"_q":1,"r":2},"big":12345678901234567.89},' +
  '{"id":"p1"},{"id":7},"text",{"id":"p2","k":1,"k":2},{"id":"p3","s":"\\ud800"},{"id":"p4","n":NaN,"e":1E5}],"entities":{"widgets":[{"x":"ü😀"}],"claims":[],' +
  `"members":[{"entity_id":"w","entity_type":"members","data":{"member_id":"m"},"provenance":{}},{"member_id":"n"}]},"deep":${"[".repeat(5)}${"]".repeat(5)}}`

const OPEN_DATABASE = `import { DuckDBInstance } from "@duckdb/node-api"
await DuckDBInstance.create(process.argv[1])`

const codesOf = (remarks: ReadonlyArray<ExportRemark>) => remarks.map(({ code, pointer }) => `${code} ${pointer}`)

describe("exported cohorts", () => {
  it.effect("as documents are what was saved; for sharing they lack keys that start with _ at any depth", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        yield* store.save({ document: awkward })
        const compact = yield* store.exportTexts("awkward", { compact: true })
        assert.deepStrictEqual(compact, { files: [{ path: "awkward.json", text: awkward }], remarks: [] })
        const shared = yield* store.exportTexts("awkward", { compact: true, format: "sharing" })
        assert.deepStrictEqual(
          shared.files.map(({ text }) => text),
          [awkward.replace('"_p":{"_q":1,"r":2},', "")]
        )
        const [laidOut] = (yield* store.exportTexts("awkward", { ascii: true })).files
        assert.match(laidOut?.text ?? "", /^\{\n {2}"name": "awkward",\n[^]*\n\}$/)
        assert.include(laidOut?.text, "\\u00fc\\ud83d\\ude00")
      })
    )
  )

  it.effect("as cohort files hold every entity as spelt, and remarks name what they cannot hold", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        yield* store.save({ document: awkward })
        const { files, remarks } = yield* store.exportTexts("awkward", { format: "v1" })
        const text = files[0]?.text ?? ""
        for (const spelling of ["860.00", "12345678901234567.89", "NaN", "1E5", '"_q": 1', "\\ud800", "\\u00fc"]) {
          assert.include(text, spelling)
        }
        const document = JSON.parse(text.replace("NaN", "null"))
        assert.deepStrictEqual(Object.keys(document.entities), ["patients", "widgets", "members"])
        assert.deepStrictEqual(
          document.entities.patients.map(({ id }: { readonly id: unknown }) => id),
          ["p0", "p1", "p1", 7, "p2", "p3", "p4"]
        )
        // Its reader unwraps all of a list or nothing, by the first element.
        assert.deepStrictEqual(document.entities.members[0], { member_id: "n" })
        assert.strictEqual(document.entities.members[1].data.member_id, "m")
        assert.deepStrictEqual(codesOf(remarks), [
          "duplicate-id /patients/1",
          "id-not-text /patients/2",
          "not-an-object /patients/3",
          "duplicate-key /patients/4/k",
          "lone-surrogate /patients/5",
          "outside-entities /comment",
          "outside-entities /deep"
        ])
        const nested = `{"name":"deep","patients":[{"a":${"[".repeat(1200)}${"]".repeat(1200)}}]}`
        yield* store.save({ document: nested })
        const deep = yield* store.exportTexts("deep", { format: "v1" })
        assert.deepStrictEqual(codesOf(deep.remarks), ["too-deep /patients/0"])
        assert.isTrue(deep.files[0]?.text.replace(/\s/g, "").includes("[".repeat(1200)))
        for (const { message, code } of [...remarks, ...deep.remarks]) assert.strictEqual(message, exportRemarks[code])
      })
    )
  )

  it.effect(
    "as cohort files name the ids that HealthSim's reader takes: by its own keys, and only what Python takes for true",
    () =>
      inStore(
        Effect.fnUntraced(function* (store) {
          const wrapped = (id: unknown) => ({ data: { id }, provenance: {} })
          const cases: ReadonlyArray<readonly [unknown, ReadonlyArray<string>]> = [
            [
              { patients: [{ id: { value: "x" } }, { id: ["a"] }, { id: true }] },
              ["id-not-text", "id-not-text", "id-not-text"]
            ],
            [{ patients: [{ id: 0 }, { id: "" }, { id: null }, { id: [] }, { id: {} }, { id: false }] }, []],
            [
              {
                patients: [
                  { patient_id: "a", mrn: "b" },
                  { patient_id: "a", mrn: "b" }
                ]
              },
              []
            ],
            [{ patients: [{ patients_id: "a" }, { id: "", patients_id: "a" }] }, ["duplicate-id"]],
            [
              {
                claims: [
                  { claim_id: "a", id: "b" },
                  { claim_id: "", id: "a" }
                ]
              },
              ["duplicate-id"]
            ],
            [{ members: [wrapped("a"), wrapped("a")] }, ["duplicate-id"]],
            [{ members: [wrapped("a"), wrapped("a"), { id: "b" }] }, []],
            [{ patients: [{ id: "a" }], members: [{ id: "a" }] }, []],
            [
              {
                patients: [
                  { id: "a", note: "\\ud800" },
                  { id: "b", note: "\\\ud800" }
                ]
              },
              ["lone-surrogate"]
            ]
          ]
          for (const [at, [entities, wanted]] of cases.entries()) {
            const name = `case ${at}`
            yield* store.save({ name, entities: JSON.stringify(entities) })
            const { remarks } = yield* store.exportTexts(name, { format: "v1" })
            assert.deepStrictEqual(
              remarks.map(({ code }) => code),
              [...wanted],
              JSON.stringify(entities)
            )
          }
        })
      )
  )

  it.effect("as cohort files carry the time of the source, else that of the first revision, and the present name", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        yield* store.save({ document: '{"name":"dated","created_at":"2024-01-02 03:04:05.5","entities":{}}' })
        yield* store.rename("dated", "renamed")
        const [file] = (yield* store.exportTexts("renamed", { format: "v1" })).files
        assert.strictEqual(
          file?.text,
          '{\n  "name": "renamed",\n  "description": null,\n  "tags": [],\n  "created_at": "2024-01-02T03:04:05.500000",\n  "entities": {}\n}'
        )
      })
    )
  )

  it("of several documents in one file keep each on its line", () => {
    const text = '{"a":1,"_b":2}\n[{"_c":{}}]\n"x"'
    assert.strictEqual(documentText("c.ndjson", text, { format: "sharing" }), '{"a":1}\n[{}]\n"x"\n')
    assert.strictEqual(documentText("c.ndjson", text, {}), `${text}\n`)
    assert.strictEqual(documentText("c.ndjson", text, { compact: true }), text)
    assert.strictEqual(documentText("c.ndjson", '{"a":1,"_b":2}', { format: "sharing" }), '{"a":1}\n')
    assert.strictEqual(documentText("c.json", '{"a":1,"_b":2}', { format: "sharing" }), '{\n  "a": 1\n}')
    assert.deepStrictEqual(diffTexts(text, text.replace('"x"', '"y"')), [
      { pointer: "/2", before: '"x"', after: '"y"' }
    ])
  })

  it.effect("come back from cohort files: whatever objects were saved are read again, key for key", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        const value = fc.jsonValue({ maxDepth: 2 })
        const entity = fc.dictionary(fc.string({ unit: "binary", maxLength: 6 }), value, { maxKeys: 4 })
        const lists = fc.record({
          patients: fc.array(entity, { minLength: 1, maxLength: 3 }),
          "lab results": fc.array(entity, { minLength: 1, maxLength: 2 })
        })
        let number = 0
        const run = Effect.runPromiseWith(yield* Effect.context())
        yield* Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(lists, async (entities) => {
              const name = `there ${number++}`
              const back = await run(
                Effect.gen(function* () {
                  yield* store.save({ name, entities: JSON.stringify(entities), tags: ["é"], description: "ü" })
                  const [file] = (yield* store.exportTexts(name, { format: "v1" })).files
                  yield* store.save({ name: `${name} back`, document: file?.text ?? "" })
                  return yield* store.collect(`${name} back`)
                })
              )
              const there = await run(store.collect(name))
              // Lists with wrapped and other elements change their order.
              const sorted = (texts: ReadonlyMap<string, ReadonlyArray<string>>) =>
                [...texts].map(([type, list]) => [type, list.toSorted()])
              assert.deepStrictEqual(sorted(back.entities), sorted(there.entities))
              assert.deepStrictEqual([back.cohort.tags, back.cohort.description], [["é"], "ü"])
            }),
            { numRuns: 10 }
          )
        )
        assert.deepStrictEqual((yield* verifyDatabase(yield* DuckDbClient)).findings, [])
      })
    )
  )

  it.effect("as NDJSON, CSV and Parquet are one file per kind, for their owner's eyes only", () =>
    inStore(
      Effect.fnUntraced(function* (store, folder) {
        const claims = [{ claim_id: "c1", claim_lines: [{ id: "l1", charge_amount: 1.5 }, { id: "l2" }] }]
        const patients = [{ id: "p1", given_name: 'A "quoted", name', birth_date: "1980-01-02" }, { id: "p2" }]
        yield* store.save({ name: "tables", entities: { claims, patients, odd: [1] } })
        yield* store.save({ name: "other", entities: { patients: [{ id: "not there" }] } })
        const out = join(folder, "it's here")
        const ndjson = yield* store.export("tables", join(out, "n"), { format: "ndjson" })
        assert.deepStrictEqual(
          ndjson.paths.map((path) => [path.slice(out.length + 3), readFileSync(path, "utf8")]),
          [
            ["claims.ndjson", `${JSON.stringify(claims[0])}\n`],
            ["patients.ndjson", patients.map((one) => `${JSON.stringify(one)}\n`).join("")],
            ["json_values.ndjson", "1\n"]
          ]
        )
        for (const format of ["csv", "parquet"] as const) {
          const { paths } = yield* store.export("tables", join(out, format), { format })
          assert.sameMembers(readdirSync(join(out, format)), [
            `patients.${format}`,
            `claims.${format}`,
            `claim_lines.${format}`,
            `json_values.${format}`
          ])
          for (const path of paths) assert.strictEqual(statSync(path).mode & 0o777, 0o600)
          const read = (table: string, columns: string) =>
            valuesOf(`SELECT ${columns} FROM '${join(out, format, table).replaceAll("'", "''")}.${format}' ORDER BY id`)
          assert.deepStrictEqual(yield* read("patients", "id, given_name, birth_date::VARCHAR, pointer"), [
            ["p1", 'A "quoted", name', "1980-01-02", "/entities/patients/0"],
            ["p2", null, null, "/entities/patients/1"]
          ])
          assert.deepStrictEqual(yield* read("claim_lines", "id, charge_amount::VARCHAR, parent_kind"), [
            ["l1", format === "csv" ? "1.5" : "1.50", "claim"],
            ["l2", null, "claim"]
          ])
        }
      })
    )
  )

  it.effect("of several files need a folder, and no name leads out of it", () =>
    inStore(
      Effect.fnUntraced(function* (store, folder) {
        yield* store.save({ name: "list", document: "[1,2]" })
        yield* store.append("list", { patients: [{ id: "p1" }] })
        yield* store.append("list", { patients: [{ id: "p2" }] })
        const { documents } = yield* store.load("list")
        assert.deepStrictEqual(documents, [
          { path: "list.json", text: "[1,2]" },
          { path: "appended.json", text: '{"entities":{"patients":[{"id":"p1"}]}}' },
          { path: "appended-2.json", text: '{"entities":{"patients":[{"id":"p2"}]}}' }
        ])
        const file = join(folder, "a file")
        writeFileSync(file, "mine")
        assert.propertyVal(yield* Effect.flip(store.export("list", file)), "reason", "several-files")
        assert.strictEqual(readFileSync(file, "utf8"), "mine")
        const { paths } = yield* store.export("list", join(folder, "several"), { compact: true })
        assert.deepStrictEqual(
          paths.map((path) => readFileSync(path, "utf8")),
          documents.map(({ text }) => text)
        )
        yield* store.save({ name: "sly", entities: {}, path: "../sly.json" })
        mkdirSync(join(folder, "below"))
        assert.propertyVal(yield* Effect.flip(store.export("sly", join(folder, "below"))), "reason", "bad-file-name")
        assert.isFalse(existsSync(join(folder, "sly.json")))
        const refused = yield* Effect.flip(store.export("sly", join(file, "x.json")))
        assert.propertyVal(refused, "reason", "not-written")
        const format = JSON.parse('"xlsx"')
        const unknown = yield* Effect.flip(store.export("sly", join(folder, "sly"), { format }))
        assert.propertyVal(unknown, "reason", "unknown-format")
        assert.isFalse(existsSync(join(folder, "sly")))
        const head = new Uint8Array(20)
        head.set(Buffer.from("DUCK"), 8)
        writeFileSync(file, head)
        const kept = yield* Effect.flip(store.export("list", file, { format: "v1" }))
        assert.propertyVal(kept, "reason", "database-in-the-way")
        assert.deepStrictEqual(new Uint8Array(readFileSync(file)), head)
        const own = join(folder, "store.duckdb")
        assert.propertyVal(yield* Effect.flip(store.export("list", own)), "reason", "several-files")
        assert.propertyVal(yield* Effect.flip(store.export("sly", own)), "reason", "database-in-the-way")
        const other = spawnSync(process.execPath, ["--input-type=module", "-e", OPEN_DATABASE, own], {
          cwd: import.meta.dirname,
          encoding: "utf8"
        })
        assert.match(other.stderr, /Could not set lock/, "what was looked at is still locked")
        for (const path of [file, own]) {
          const handles = descriptorsOf(fileIdentity(statSync(path))).length
          assert.strictEqual(
            handles,
            path === own ? 1 : 0,
            "no handle is left, so that the database can be opened again"
          )
        }
        assert.deepStrictEqual((yield* verifyDatabase(yield* DuckDbClient)).findings, [])
      })
    )
  )
})

describe("scans of compact text", () => {
  /** The leaves of a parsed value, as a plain walk finds them. */
  const walk = (value: unknown, pointer = ""): ReadonlyArray<readonly [string, string]> => {
    if (typeof value !== "object" || value === null) return [[pointer, JSON.stringify(value)]]
    const entries = Object.entries(value)
    if (entries.length === 0) return [[pointer, JSON.stringify(value)]]
    return entries.flatMap(([key, one]) => walk(one, `${pointer}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`))
  }
  const strip = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(strip)
    if (typeof value !== "object" || value === null) return value
    return Object.fromEntries(
      Object.entries(value).flatMap(([key, one]) => (key.startsWith("_") ? [] : [[key, strip(one)] as const]))
    )
  }
  const keys = fc.oneof(fc.string(), fc.constantFrom("_a", "_", "a/b", "~", '"', "\\", '\\"'))
  const values = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.oneof(fc.string(), fc.constantFrom('"', "\\", '\\"', "]", "}"), fc.integer(), fc.boolean(), fc.constant(null)),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(keys, tie("value"), { maxKeys: 4 })
    )
  })).value

  it("find the leaves that a walk through the parsed value finds", () => {
    fc.assert(
      fc.property(values, (value) => {
        const text = JSON.stringify(value)
        const found = Array.from(leaves(text), ({ end, pointer, start }) => [pointer, text.slice(start, end)])
        assert.deepStrictEqual(
          found,
          walk(value).map((leaf) => [...leaf])
        )
      }),
      { numRuns: 300 }
    )
  })

  it("leave out keys that start with _ and nothing else", () => {
    fc.assert(
      fc.property(values, (value) => {
        assert.strictEqual(withoutPrivateKeys(JSON.stringify(value)), JSON.stringify(strip(value)))
      }),
      { numRuns: 300 }
    )
  })

  it("give the wanted fields as they are written, through lists, and nothing else", () => {
    const text = '{"id":1.50,"name":{"given":"A","family":"B"},"a.b":1,"a":{"b":2},"x":[{"id":1,"y":2},3],"id":"2"}'
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
      [["id"], '{"id":1.50,"id":"2"}'],
      [["name.given", "missing"], '{"name":{"given":"A"}}'],
      [["name.given", "name"], '{"name":{"given":"A","family":"B"}}'],
      [["name", "name.given"], '{"name":{"given":"A","family":"B"}}'],
      [["a.b"], '{"a.b":1,"a":{"b":2}}'],
      [["x.y"], '{"x":[{"y":2},3]}'],
      [["id.deeper"], '{"id":1.50,"id":"2"}'],
      [[], "{}"]
    ]
    for (const [paths, wanted] of cases) assert.strictEqual(withFields(text, fieldsOf(paths)), wanted, paths.join())
    assert.strictEqual(withFields("12", fieldsOf(["id"])), "12")
  })

  it("give the wanted fields of an entity in a wrapper below data too", () => {
    const text =
      '{"entity_id":"7","entity_type":"patient","data":{"id":1.50,"name":{"given":"A","family":"B"},"entity_id":8},"x":1}'
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
      [["id", "x"], '{"data":{"id":1.50},"x":1}'],
      [["name.given"], '{"data":{"name":{"given":"A"}}}'],
      [["entity_id"], '{"entity_id":"7","data":{"entity_id":8}}'],
      [["data.id", "x"], '{"data":{"id":1.50},"x":1}'],
      [["name.given", "data.name.family"], '{"data":{"name":{"given":"A","family":"B"}}}'],
      [["data"], `{"data":${text.slice(text.indexOf('{"id"'), -7)}}`]
    ]
    for (const [paths, wanted] of cases) {
      assert.strictEqual(fieldPicker(paths)(text), wanted, paths.join())
    }
    const others = ['{"data":{"id":1},"id":2}', '{"entity_id":"7","entity_type":"patient","data":[{"id":1}],"id":2}']
    for (const other of others) assert.strictEqual(fieldPicker(["id"])(other), '{"id":2}')
  })

  it("do not mind depth", () => {
    const deep = `${'{"a":['.repeat(20_000)}1${"]}".repeat(20_000)}`
    assert.strictEqual(withoutPrivateKeys(deep), deep)
  })
})
