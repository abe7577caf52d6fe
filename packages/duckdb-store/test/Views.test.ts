import { assert, describe, it } from "@effect/vitest"
import { kindByName, kinds } from "@mallard/schema"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import * as fc from "fast-check"
import { enclosures, tableColumns, views } from "../src/index.ts"
import { cohortId, inNewStore, insert, recordAll, valuesOf } from "./support.ts"

const code = (name: string): number => kinds.find(({ kind }) => kind === name)?.code ?? 0

/** A head with its content; `parts` gives the collections of each part, and the members of each collection. */
const content = (
  id: number,
  parts: ReadonlyArray<
    ReadonlyArray<{
      readonly pointer: string
      readonly list?: boolean
      readonly members: ReadonlyArray<[string, number]>
    }>
  >,
  revision: Readonly<Record<string, string | number | null>> = {}
) =>
  Effect.gen(function* () {
    yield* insert("revisions", {
      revision_id: id,
      cohort_id: cohortId(id),
      seq: 1,
      change: "saved",
      name: `cohort ${id}`,
      tags: "[]",
      content_id: id,
      ...revision
    })
    for (const [part, collections] of parts.entries()) {
      yield* insert("parts", { content_id: id, part, path: `${part}.json` })
      for (const [collection, { pointer, list = false, members }] of collections.entries()) {
        yield* insert("collections", { content_id: id, part, collection, pointer, list })
        yield* insert(
          "cohort_members",
          ...members.map(([kind, entity_id], ordinal) => ({
            content_id: id,
            part,
            collection,
            ordinal,
            kind: code(kind),
            entity_id
          }))
        )
      }
    }
  })

const link = (parent: string, parentId: number, child: string, childId: number, pointer: string) =>
  insert("links", {
    parent_kind: code(parent),
    parent_entity_id: parentId,
    pointer,
    child_kind: code(child),
    child_entity_id: childId
  })

describe("placements", () => {
  it.effect("members and children at any depth stand in the view of their kind, with pointer and parent", () =>
    inNewStore(
      Effect.gen(function* () {
        yield* insert("patients", { entity_id: 1, mrn: "M1" })
        yield* insert("encounters", { entity_id: 1, encounter_id: "E1" })
        yield* insert(
          "diagnoses",
          { entity_id: 1, code: "a" },
          { entity_id: 2, code: "b" },
          { entity_id: 3, code: "c" }
        )
        yield* insert("json_values", { entity_id: 1, extra: "null" }, { entity_id: 2, extra: "[1]" })
        yield* content(1, [
          [
            { pointer: "/patient", members: [["patient", 1]] },
            {
              pointer: "/diagnoses",
              list: true,
              members: [
                ["diagnosis", 3],
                ["json", 1],
                ["diagnosis", 3]
              ]
            }
          ]
        ])
        yield* link("patient", 1, "encounter", 1, "/encounters/0")
        yield* link("encounter", 1, "diagnosis", 1, "/diagnoses/0")
        yield* link("patient", 1, "diagnosis", 2, "/conditions/0")
        yield* link("encounter", 1, "json", 2, "/diagnoses/1")
        yield* recordAll
        assert.deepStrictEqual(
          yield* valuesOf(
            "SELECT cohort_name, source_path, pointer, entity_id, parent_kind, parent_entity_id, code FROM diagnoses ORDER BY pointer"
          ),
          [
            ["cohort 1", "0.json", "/diagnoses/0", 3n, null, null, "c"],
            ["cohort 1", "0.json", "/diagnoses/2", 3n, null, null, "c"],
            ["cohort 1", "0.json", "/patient/conditions/0", 2n, "patient", 1n, "b"],
            ["cohort 1", "0.json", "/patient/encounters/0/diagnoses/0", 1n, "encounter", 1n, "a"]
          ]
        )
        assert.deepStrictEqual(
          yield* valuesOf(
            "SELECT pointer, entity_id, parent_kind, parent_entity_id, text FROM json_values ORDER BY pointer"
          ),
          [
            ["/diagnoses/1", 1n, null, null, "null"],
            ["/patient/encounters/0/diagnoses/1", 2n, "encounter", 1n, "[1]"]
          ]
        )
        assert.deepStrictEqual(
          yield* valuesOf(
            "SELECT kind, entity_id, pointer, parent_kind, parent_entity_id FROM cohort_entities WHERE cohort_name = 'cohort 1' ORDER BY pointer"
          ),
          [
            ["diagnosis", 3n, "/diagnoses/0", null, null],
            ["json", 1n, "/diagnoses/1", null, null],
            ["diagnosis", 3n, "/diagnoses/2", null, null],
            ["patient", 1n, "/patient", null, null],
            ["diagnosis", 2n, "/patient/conditions/0", "patient", 1n],
            ["encounter", 1n, "/patient/encounters/0", "patient", 1n],
            ["diagnosis", 1n, "/patient/encounters/0/diagnoses/0", "encounter", 1n],
            ["json", 2n, "/patient/encounters/0/diagnoses/1", "encounter", 1n]
          ]
        )
        assert.deepStrictEqual(yield* valuesOf("SELECT entity_count, entities FROM cohorts"), [
          [8n, '{"json":2,"patient":1,"encounter":1,"diagnosis":4}']
        ])
      })
    )
  )

  it.effect("the head alone counts, and only if it is recorded and not deleted", () =>
    inNewStore(
      Effect.gen(function* () {
        yield* insert(
          "patients",
          { entity_id: 1, id: "old" },
          { entity_id: 2, id: "new" },
          { entity_id: 3, id: "gone" }
        )
        const one = (id: number) => [
          [{ pointer: "/patients", list: true, members: [["patient", id] as [string, number]] }]
        ]
        yield* content(1, one(1), { cohort_id: cohortId(1), name: "kept", legacy_id: "L1" })
        yield* content(2, one(2), { cohort_id: cohortId(1), seq: 2, name: "renamed", tags: '["b","a"]' })
        yield* content(3, one(3), { cohort_id: cohortId(2), name: "dropped", tags: '["c"]' })
        yield* insert("revisions", {
          revision_id: 4,
          cohort_id: cohortId(2),
          seq: 2,
          change: "deleted",
          name: "dropped",
          tags: "[]",
          content_id: 3
        })
        yield* recordAll
        yield* content(5, one(1), { cohort_id: cohortId(1), seq: 3, name: "never committed" })
        assert.deepStrictEqual(yield* valuesOf("SELECT id, cohort_name FROM patients"), [["new", "renamed"]])
        assert.deepStrictEqual(
          yield* valuesOf("SELECT cohort_id, name, seq, change, tags, entity_count, entities FROM cohorts"),
          [[cohortId(1), "renamed", 2, "saved", '["b","a"]', 1n, '{"patient":1}']]
        )
        assert.deepStrictEqual(yield* valuesOf("SELECT cohort_name, tag FROM cohort_tags ORDER BY tag"), [
          ["renamed", "a"],
          ["renamed", "b"]
        ])
        assert.deepStrictEqual(yield* valuesOf("SELECT revision_id, name FROM cohort_revisions ORDER BY ALL"), [
          [1n, "kept"],
          [2n, "renamed"],
          [3n, "dropped"],
          [4n, "dropped"]
        ])
      })
    )
  )

  it.effect("a cohort without entities is listed, and a revision may use the content of an earlier one", () =>
    inNewStore(
      Effect.gen(function* () {
        yield* insert("patients", { entity_id: 1, id: "p" })
        yield* content(1, [[]])
        yield* content(2, [[{ pointer: "", members: [["patient", 1]] }]])
        yield* insert("revisions", {
          revision_id: 3,
          cohort_id: cohortId(2),
          seq: 2,
          change: "saved",
          name: "renamed",
          tags: "[]",
          legacy_id: "L2",
          content_id: 2
        })
        yield* recordAll
        assert.deepStrictEqual(yield* valuesOf("SELECT name, entity_count, entities FROM cohorts ORDER BY name"), [
          ["cohort 1", 0n, "{}"],
          ["renamed", 1n, '{"patient":1}']
        ])
        assert.deepStrictEqual(yield* valuesOf("SELECT cohort_name, pointer FROM patients"), [["renamed", ""]])
        assert.deepStrictEqual(yield* valuesOf("SELECT * FROM legacy_mappings ORDER BY legacy_id"), [
          ["L2", cohortId(2), null, null],
          ["p", cohortId(2), "patient", 1n]
        ])
      })
    )
  )
})

describe("context", () => {
  const patients = [
    { entity_id: 1, mrn: "M1" },
    { entity_id: 2, mrn: "M2" }
  ]

  it.effect("a value of the entity's own wins over every context", () =>
    inNewStore(
      Effect.gen(function* () {
        yield* insert("patients", ...patients)
        yield* insert("encounters", { entity_id: 1, encounter_id: "E1", patient_mrn: "OWN" })
        yield* content(1, [[{ pointer: "/patient", members: [["patient", 1]] }]])
        yield* link("patient", 1, "encounter", 1, "/encounters/0")
        yield* recordAll
        assert.deepStrictEqual(yield* valuesOf("SELECT patient_mrn FROM encounters"), [["OWN"]])
      })
    )
  )

  it.effect("the nearest entity around it comes next", () =>
    inNewStore(
      Effect.gen(function* () {
        yield* insert("patients", ...patients)
        yield* insert("encounters", { entity_id: 1, encounter_id: "E1" }, { entity_id: 2, patient_mrn: "X" })
        yield* insert("diagnoses", { entity_id: 1 }, { entity_id: 2 }, { entity_id: 3 })
        yield* insert("orders", { entity_id: 1 })
        yield* insert("claims", { entity_id: 1, claim_id: "C", service_date: "2024-01-02" })
        yield* insert("claim_lines", { entity_id: 1 }, { entity_id: 2, service_date: "2024-03-04", claim_id: "D" })
        yield* content(1, [
          [
            { pointer: "/patient", members: [["patient", 1]] },
            { pointer: "/patients", list: true, members: [["patient", 2]] },
            { pointer: "/claims", list: true, members: [["claim", 1]] }
          ]
        ])
        yield* link("patient", 2, "encounter", 1, "/encounters/0")
        yield* link("patient", 2, "encounter", 2, "/encounters/1")
        yield* link("encounter", 1, "diagnosis", 1, "/diagnoses/0")
        yield* link("encounter", 2, "diagnosis", 2, "/diagnoses/0")
        yield* link("patient", 2, "diagnosis", 3, "/conditions/0")
        yield* link("encounter", 1, "order", 1, "/orders/0")
        yield* link("claim", 1, "claim_line", 1, "/claim_lines/0")
        yield* link("claim", 1, "claim_line", 2, "/claim_lines/1")
        yield* recordAll
        assert.deepStrictEqual(yield* valuesOf("SELECT entity_id, patient_mrn FROM encounters ORDER BY 1"), [
          [1n, "M2"],
          [2n, "X"]
        ])
        assert.deepStrictEqual(
          yield* valuesOf("SELECT entity_id, patient_mrn, encounter_id FROM diagnoses ORDER BY 1"),
          [
            [1n, "M2", "E1"],
            [2n, "X", null],
            [3n, "M2", null]
          ]
        )
        assert.deepStrictEqual(yield* valuesOf("SELECT patient_mrn, encounter_id FROM orders"), [["M2", "E1"]])
        assert.deepStrictEqual(yield* valuesOf("SELECT claim_id, service_date FROM claim_lines ORDER BY entity_id"), [
          ["C", "2024-01-02"],
          ["D", "2024-03-04"]
        ])
      })
    )
  )

  it.effect("then the object at the document's key, in the same part before any other", () =>
    inNewStore(
      Effect.gen(function* () {
        yield* insert("patients", ...patients)
        yield* insert("medications", { entity_id: 1 }, { entity_id: 2 }, { entity_id: 3 })
        const medication = (id: number) => ({
          pointer: "/medications",
          list: true,
          members: [["medication", id]] as const
        })
        const patient = (id: number) => ({ pointer: "/patient", members: [["patient", id] as [string, number]] })
        const list = { pointer: "/patients", list: true, members: [["patient", 2] as [string, number]] }
        const asMember = (id: number) => ({ ...medication(id), members: [["medication", id] as [string, number]] })
        yield* content(1, [[patient(1), list], [asMember(1)]])
        yield* content(2, [[patient(1)], [patient(2), asMember(2)], [asMember(3)]])
        yield* recordAll
        assert.deepStrictEqual(yield* valuesOf("SELECT entity_id, patient_mrn FROM medications ORDER BY 1"), [
          [1n, "M1"],
          [2n, "M2"],
          // Two parts disagree, and this one says nothing.
          [3n, null]
        ])
      })
    )
  )

  it.effect("then the only member of that kind, else nothing", () =>
    inNewStore(
      Effect.gen(function* () {
        yield* insert("patients", ...patients)
        yield* insert("lab_results", { entity_id: 1 }, { entity_id: 2 }, { entity_id: 3 })
        const lab = (id: number) => ({
          pointer: "/labs",
          list: true,
          members: [["lab_result", id] as [string, number]]
        })
        const list = (...ids: ReadonlyArray<number>) => ({
          pointer: "/patients",
          list: true,
          members: ids.map((id): [string, number] => ["patient", id])
        })
        yield* content(1, [[list(2), lab(1)]])
        yield* content(2, [[list(1, 2), lab(2)]])
        yield* content(3, [[lab(3)]])
        yield* recordAll
        assert.deepStrictEqual(yield* valuesOf("SELECT entity_id, patient_mrn FROM lab_results ORDER BY 1"), [
          [1n, "M2"],
          [2n, null],
          [3n, null]
        ])
      })
    )
  )

  it.effect("a value that its column could not take is not replaced by a context", () =>
    inNewStore(
      Effect.gen(function* () {
        yield* insert("claims", { entity_id: 1, claim_id: "C", service_date: "2024-01-02" })
        yield* insert(
          "claim_lines",
          { entity_id: 1, shape_id: 1, extra: '"soon"' },
          { entity_id: 2, shape_id: 0, extra: '{"service_date":\u0001x:service_date\u0001}\n"soon"' }
        )
        yield* insert("entity_shapes", {
          shape_id: 1,
          kind: code("claim_line"),
          template: '{"service_date":\u0001x:service_date\u0001}'
        })
        yield* content(1, [[{ pointer: "/claim", members: [["claim", 1]] }]])
        yield* link("claim", 1, "claim_line", 1, "/claim_lines/0")
        yield* link("claim", 1, "claim_line", 2, "/claim_lines/1")
        yield* recordAll
        assert.deepStrictEqual(yield* valuesOf("SELECT claim_id, service_date FROM claim_lines"), [
          ["C", null],
          ["C", null]
        ])
      })
    )
  )

  it.effect("holds for documents of any make: the rules in the views are those of a plain model", () =>
    inNewStore(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        const place = fc.constantFrom("/patient", "/patients", "/Patient", "/other")
        const document = fc.array(
          fc.array(fc.record({ pointer: place, patient: fc.integer({ min: 1, max: 3 }) }), { maxLength: 3 }),
          {
            minLength: 1,
            maxLength: 3
          }
        )
        yield* insert("patients", ...[1, 2, 3].map((id) => ({ entity_id: id, mrn: `M${id}` })))
        yield* insert("vital_signs", { entity_id: 1 })
        const context = yield* Effect.context<DuckDbClient>()
        let next = 1
        yield* Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(fc.array(document, { minLength: 1, maxLength: 5 }), async (documents) => {
              const first = next
              const expected = documents.flatMap((parts) => parts.map((_, part) => resolve(parts, part)))
              const program = Effect.gen(function* () {
                for (const parts of documents) {
                  yield* content(
                    next++,
                    parts.map((collections) => [
                      ...collections.map(({ pointer, patient }) => ({
                        pointer,
                        list: pointer === "/patients",
                        members: [["patient", patient] as [string, number]]
                      })),
                      { pointer: "/vitals", list: true, members: [["vital_sign", 1] as [string, number]] }
                    ])
                  )
                }
                yield* recordAll
                const rows = yield* sql.unsafe(
                  `SELECT v.patient_mrn FROM vital_signs v JOIN cohorts c ON c.cohort_id = v.cohort_id
                   WHERE c.cohort_id >= CAST(? AS UUID) ORDER BY v.cohort_id, v.source_path`,
                  [cohortId(first)]
                ).values
                return rows.map(([mrn]) => mrn)
              })
              assert.deepStrictEqual(await Effect.runPromiseWith(context)(program), expected)
            }),
            { numRuns: 25 }
          )
        )
      })
    )
  )
})

/** What the patient's number of an entity in this part is, told by looking. */
const resolve = (
  parts: ReadonlyArray<ReadonlyArray<{ readonly pointer: string; readonly patient: number }>>,
  part: number
): string | null => {
  const only = (found: ReadonlyArray<{ readonly patient: number }>) => {
    const ids = new Set(found.map(({ patient }) => patient))
    return ids.size === 1 ? `M${[...ids][0]}` : undefined
  }
  const isAtKey = ({ pointer }: { readonly pointer: string }) => pointer.toLowerCase() === "/patient"
  const here = parts[part]?.filter(isAtKey) ?? []
  return only(here) ?? only(parts.flat().filter(isAtKey)) ?? only(parts.flat()) ?? null
}

describe("zones", () => {
  it.effect("a time column is followed by how the source told the zone", () =>
    inNewStore(
      Effect.gen(function* () {
        const template = (label: string) => `{"admission_time":\u0001${label}\u0001}`
        const labels = [
          "c:admission_time",
          "c:admission_time:z",
          "c:admission_time:sf3u",
          "c:admission_time:d",
          "x:admission_time:o",
          "x:admission_time",
          "c:discharge_time:z"
        ]
        yield* insert(
          "entity_shapes",
          ...labels.map((label, index) => ({
            shape_id: index + 1,
            kind: code("encounter"),
            template: template(label)
          })),
          { shape_id: 9, kind: code("procedure"), template: template("c:admission_time:z") }
        )
        const at = "2024-05-06 07:08:09"
        yield* insert(
          "encounters",
          ...labels.map((_, index) => ({ entity_id: index + 1, shape_id: index + 1, admission_time: at })),
          { entity_id: 8, shape_id: 2, admission_time: null },
          { entity_id: 9, shape_id: 0, admission_time: at, extra: `${template("c:admission_time:z")}\n1` },
          { entity_id: 10, shape_id: 0, admission_time: at, extra: template("x:admission_time:o") }
        )
        yield* content(1, [
          [
            {
              pointer: "/encounters",
              list: true,
              members: Array.from({ length: 10 }, (_, index): [string, number] => ["encounter", index + 1])
            }
          ]
        ])
        yield* recordAll
        assert.deepStrictEqual(
          (yield* valuesOf("SELECT admission_time_zone FROM encounters ORDER BY entity_id")).map(([zone]) => zone),
          ["none", "utc", "utc", "none", "offset", "none", "none", null, "utc", "offset"]
        )
        assert.deepStrictEqual(yield* valuesOf("SELECT DISTINCT discharge_time_zone FROM encounters"), [[null]])
      })
    )
  )
})

describe("derivation", () => {
  it("kinds are reached through every chain of kinds that may enclose them", () => {
    const names = enclosures(kindByName("diagnosis")).map((above) => above.map(({ kind }) => kind))
    assert.deepStrictEqual(names, [[], ["patient"], ["encounter"], ["encounter", "patient"]])
  })

  it.effect("the views have the columns of their kind in order, each once, and all can be read", () =>
    inNewStore(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        for (const { schema, name } of views) yield* sql.unsafe(`SELECT * FROM ${schema}.${name}`)
        for (const kind of kinds) {
          const shown = (yield* valuesOf(
            `SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = 'main' AND table_name = '${kind.table}' ORDER BY column_index`
          )).map(([column, type]) => `${String(column)} ${String(type)}`)
          const own = kind.columns.flatMap(({ name, type }) =>
            type === "TIMESTAMP" ? [`${name} ${type}`, `${name}_zone VARCHAR`] : [`${name} ${type}`]
          )
          assert.deepStrictEqual(shown, [
            "cohort_id UUID",
            "cohort_name VARCHAR",
            "source_path VARCHAR",
            "pointer VARCHAR",
            "entity_id BIGINT",
            "parent_kind VARCHAR",
            "parent_entity_id BIGINT",
            ...own
          ])
          assert.strictEqual(new Set(shown.map((column) => column.split(" ")[0])).size, shown.length)
        }
      })
    )
  )

  it.effect("patients with a row for each of their keys join as by either key, each match once", () =>
    inNewStore(
      Effect.gen(function* () {
        const patients = [
          { id: "p1", mrn: "M1" },
          { id: "M2", mrn: "M2" },
          { id: "p3", mrn: null },
          { id: null, mrn: "M4" },
          { id: null, mrn: null },
          { id: "M1", mrn: "M6" }
        ]
        const named = ["p1", "M1", "M2", "p3", "M4", "M6", "M7", null]
        yield* insert("patients", ...patients.map((patient, at) => ({ entity_id: at + 1, ...patient })))
        yield* insert("encounters", ...named.map((patient_mrn, at) => ({ entity_id: at + 1, patient_mrn })))
        yield* content(1, [
          [
            { pointer: "/patients", list: true, members: patients.map((_, at) => ["patient", at + 1]) },
            { pointer: "/encounters", list: true, members: named.map((_, at) => ["encounter", at + 1]) }
          ]
        ])
        yield* recordAll
        const joined = (patient: string, on: string) =>
          valuesOf(`SELECT p.entity_id, e.entity_id FROM ${patient} p
            JOIN encounters e ON e.cohort_id = p.cohort_id AND ${on} ORDER BY ALL`)
        const byKey = yield* joined(
          "(SELECT *, unnest(list_distinct([mrn, id])) AS key FROM patients)",
          "e.patient_mrn = p.key"
        )
        assert.deepStrictEqual(byKey, yield* joined("patients", "e.patient_mrn IN (p.mrn, p.id)"))
        assert.strictEqual(byKey.length, 7)
      })
    )
  )

  it.effect("a query of a few columns reads no others, whichever ways the entities are reached", () =>
    inNewStore(
      Effect.gen(function* () {
        yield* insert("patients", { entity_id: 1, mrn: "M1" })
        yield* insert("encounters", { entity_id: 1, shape_id: 1 }, { entity_id: 2, shape_id: 0, extra: "{}" })
        yield* insert("entity_shapes", { shape_id: 1, kind: code("encounter"), template: "{}" })
        yield* content(1, [
          [
            { pointer: "/patient", members: [["patient", 1]] },
            { pointer: "/encounter", members: [["encounter", 2]] }
          ]
        ])
        yield* link("patient", 1, "encounter", 1, "/encounters/0")
        yield* recordAll
        const [plan] = yield* valuesOf(
          "EXPLAIN (FORMAT json) SELECT patient_mrn, count(admission_time_zone) FROM encounters GROUP BY ALL"
        )
        assert.include(String(plan), "patient_mrn")
        assert.notMatch(String(plan), /chief_complaint|discharge_time|link_0\.pointer|source_path/)
      })
    )
  )

  it.effect("the views of the ledger show every column but the digest of the row", () =>
    inNewStore(
      Effect.gen(function* () {
        for (const table of ["migration_runs", "migration_items", "data_integrity_checks", "migration_backups"]) {
          const shown = yield* valuesOf(
            `SELECT column_name FROM duckdb_columns() WHERE schema_name = 'main' AND table_name = '${table}' ORDER BY column_index`
          )
          assert.deepStrictEqual(
            [...shown.map(([name]) => name), "row_digest"],
            tableColumns(table).map(({ name }) => name)
          )
        }
      })
    )
  )
})
