import { assert, describe, layer } from "@effect/vitest"
import { compactText } from "@mallard/testkit"
import { Context, Effect, Layer } from "effect"
import { basename } from "node:path"
import { type RunReport } from "@mallard/migrator"
import { exported, type Files, migrated, query, remarksOf, type Row } from "./support.ts"

interface Variant {
  /** Files by name: one is a source of its own, several are a folder. */
  readonly files: Readonly<Record<string, unknown>>
  readonly format: string
  readonly name: string
  /** Columns of the view `cohorts` that are not NULL. */
  readonly cohort?: Row
  readonly tags?: ReadonlyArray<string>
  /** `file kind pointer` of each entity. */
  readonly entities: ReadonlyArray<string>
  readonly remarks?: ReadonlyArray<string>
}

const meta = { description: "d", tags: ["x", "y"], created_at: "2025-12-27T09:08:07.000123" }
const metaColumns = { description: "d", created_at: "2025-12-27T09:08:07.000123" }
const provenance = {
  source_type: "generated",
  source_system: "patientsim",
  skill_used: null,
  derived_from: [],
  generation_params: {}
}
const wrapper = (id: string, type: string, data: unknown) => ({ entity_id: id, entity_type: type, data, provenance })

const variants: Readonly<Record<string, Variant>> = {
  "V1, a cohort file with plural types": {
    files: {
      "v1.json": {
        name: "v1 cohort",
        ...meta,
        entities: { patients: [{ id: "v1p" }], encounters: [{ encounter_id: "v1e" }] }
      }
    },
    format: "V1",
    name: "v1 cohort",
    cohort: metaColumns,
    tags: ["x", "y"],
    entities: ["v1.json encounter /entities/encounters/0", "v1.json patient /entities/patients/0"]
  },
  "V1 without a name": {
    files: { "v1 unnamed.json": { entities: { patients: [{ id: "v1n" }] } } },
    format: "V1",
    name: "v1 unnamed",
    entities: ["v1 unnamed.json patient /entities/patients/0"]
  },
  "V2, a cohort file with singular types": {
    files: { "v2.json": { name: "v2 cohort", entities: { patient: [{ given_name: "Test1" }], encounter: [] } } },
    format: "V2",
    name: "v2 cohort",
    entities: ["v2.json patient /entities/patient/0"]
  },
  "V3, top-level plural lists": {
    files: {
      "v3.json": {
        name: "v3 cohort",
        patients: [{ id: "v3p" }],
        subjects: [{ subject_id: "v3s" }],
        lab_results: [{ id: "v3l" }]
      }
    },
    format: "V3",
    name: "v3 cohort",
    entities: ["v3.json lab_result /lab_results/0", "v3.json patient /patients/0", "v3.json subject /subjects/0"]
  },
  "V4, top-level singular lists": {
    files: { "v4.json": { patient: [{ id: "v4p" }], diagnosis: [{ code: "A01" }] } },
    format: "V4",
    name: "v4",
    entities: ["v4.json diagnosis /diagnosis/0", "v4.json patient /patient/0"]
  },
  "V5, a conversation document": {
    files: {
      "v5.json": {
        patient: { mrn: "v5", name: { given_name: "G", family_name: "F" } },
        encounter: { encounter_id: "v5e" },
        diagnoses: [{ code: "E11.9" }],
        medications: [{ name: "metformin", dose: "500 mg" }],
        labs: [{ test_name: "A1c", value: 8.1 }],
        vitals: { heart_rate: 80 },
        plan: "told in words"
      }
    },
    format: "V5",
    name: "v5",
    entities: [
      "v5.json diagnosis /diagnoses/0",
      "v5.json encounter /encounter",
      "v5.json lab_result /labs/0",
      "v5.json medication /medications/0",
      "v5.json patient /patient",
      "v5.json vital_sign /vitals"
    ]
  },
  "V6, a workspace of PatientSim": {
    files: {
      "5f0c1d9e.json": {
        metadata: {
          workspace_id: "5f0c1d9e",
          name: "v6 workspace",
          ...meta,
          updated_at: "2026-01-02T03:04:05",
          product: "patientsim",
          schema_version: "2.0"
        },
        provenance_summary: {
          total_entities: 1,
          by_source_type: { generated: 1 },
          source_systems: [],
          skills_used: []
        },
        entities: {
          patients: [wrapper("ab12cd34", "patient", { id: "v6p", mrn: "v6m" })],
          encounters: [],
          diagnoses: [
            wrapper("v6m:E11", "diagnosis", { code: "E11" }),
            wrapper("v6m:E11", "diagnosis", { code: "E11", description: "again" })
          ],
          medications: []
        }
      }
    },
    format: "V6",
    name: "v6 workspace",
    cohort: { ...metaColumns, updated_at: "2026-01-02T03:04:05", product: "patientsim", legacy_id: "5f0c1d9e" },
    tags: ["x", "y"],
    entities: [
      "5f0c1d9e.json diagnosis /entities/diagnoses/0",
      "5f0c1d9e.json diagnosis /entities/diagnoses/1",
      "5f0c1d9e.json patient /entities/patients/0"
    ]
  },
  "V6, a workspace of MemberSim, whose wrappers name plural types": {
    files: {
      "77aa.json": {
        metadata: { workspace_id: "77aa", name: "v6 members", product: "membersim", schema_version: "2.0" },
        entities: {
          members: [wrapper("v6x", "members", { member_id: "v6x" })],
          claims: [
            wrapper("v6c", "claims", { claim_id: "v6c", claim_lines: [{ line_number: 1 }, { line_number: 2 }] })
          ],
          care_gaps: [wrapper("v6g", "care_gaps", { measure: "CDC" })]
        }
      }
    },
    format: "V6",
    name: "v6 members",
    cohort: { product: "membersim", legacy_id: "77aa" },
    entities: [
      "77aa.json claim /entities/claims/0",
      "77aa.json claim_line /entities/claims/0/data/claim_lines/0",
      "77aa.json claim_line /entities/claims/0/data/claim_lines/1",
      "77aa.json json /entities/care_gaps/0",
      "77aa.json member /entities/members/0"
    ]
  },
  "V7, a scenario file 1.0": {
    files: {
      "v7.json": {
        schema_version: "1.0",
        scenario_id: "v7-id",
        name: "v7 scenario",
        ...meta,
        created_by: "someone",
        entities: { members: [{ member_id: "v7m" }] }
      }
    },
    format: "V7",
    name: "v7 scenario",
    cohort: { ...metaColumns, legacy_id: "v7-id" },
    tags: ["x", "y"],
    entities: ["v7.json member /entities/members/0"]
  },
  "V8, an auto-persist export": {
    files: {
      "v8.json": {
        cohort_id: "v8-id",
        cohort_name: "v8 cohort",
        description: null,
        tags: ["x"],
        exported_at: "2026-01-05T00:00:00",
        entities: { patients: [{ id: "v8p", cohort_id: "v8-id", weight: "250.00", death_date: null, deceased: false }] }
      }
    },
    format: "V8",
    name: "v8 cohort",
    cohort: { legacy_id: "v8-id" },
    tags: ["x"],
    entities: ["v8.json patient /entities/patients/0"]
  },
  "V8 of the time when cohorts were scenarios": {
    files: {
      "v8 old.json": {
        scenario_id: "v8-old",
        scenario_name: "v8 scenario",
        entities: { claims: [{ claim_id: "v8c", other_diagnoses: '["25"]' }] }
      }
    },
    format: "V8",
    name: "v8 scenario",
    cohort: { legacy_id: "v8-old" },
    entities: ["v8 old.json claim /entities/claims/0"]
  },
  "V9, a saver directory with malformed plurals": {
    files: {
      "cohort.json": {
        cohort_id: "v9-id",
        name: "v9 cohort",
        ...meta,
        entity_count: 5,
        files: ["core.json", "patientsim.json"],
        exported_at: "2026-01-05"
      },
      "core.json": { persons: [{ person_id: "v9x" }], facilitys: [{ facility_id: "v9f" }], pharmacys: [{ id: "v9h" }] },
      "patientsim.json": { patients: [{ id: "v9p" }], diagnosis: [{ code: "B02" }], allergys: [{ allergen: "nuts" }] }
    },
    format: "V9",
    name: "v9 cohort",
    cohort: { ...metaColumns, legacy_id: "v9-id" },
    tags: ["x", "y"],
    entities: [
      "core.json facility /facilitys/0",
      "core.json person /persons/0",
      "patientsim.json allergy /allergys/0",
      "patientsim.json diagnosis /diagnosis/0",
      "patientsim.json patient /patients/0"
    ]
  },
  "V10, a saver file": {
    files: {
      "v10.json": {
        scenario: { scenario_id: "v10-id", name: "v10 scenario", description: "d", tags: ["x"] },
        entities: { patient: [{ id: "v10p" }], claim_line: [{ id: "v10l" }] }
      }
    },
    format: "V10",
    name: "v10 scenario",
    cohort: { description: "d", legacy_id: "v10-id" },
    tags: ["x"],
    entities: ["v10.json claim_line /entities/claim_line/0", "v10.json patient /entities/patient/0"]
  },
  "V11a, a saved directory with a bare array": {
    files: {
      "scenario.json": { id: "v11a-id", name: "v11a scenario", ...meta, updated_at: "2025-12-28T00:00:00" },
      "patients.json": [
        { patient_id: "v11a1", scenario_id: "v11a-id" },
        { patient_id: "v11a2", scenario_id: "v11a-id" }
      ]
    },
    format: "V11",
    name: "v11a scenario",
    cohort: { ...metaColumns, updated_at: "2025-12-28T00:00:00", legacy_id: "v11a-id" },
    tags: ["x", "y"],
    entities: ["patients.json patient /0", "patients.json patient /1"]
  },
  "V11b, a saved directory of single objects": {
    files: {
      "person.json": { person: { person_id: "v11b", first_name: "P" } },
      "patient.json": { patient: { patient_id: "v11bp", person_id: "v11b" } },
      "member.json": { member: { member_id: "v11bm", person_id: "v11b" } },
      "encounter.json": {
        facility: { facility_id: "v11bf" },
        provider: { provider_id: "v11bv" },
        encounter: { encounter_id: "v11be" },
        diagnoses: [{ code: "C03" }],
        procedures: [{ code: "99213" }]
      },
      "claim.json": { claim: { claim_id: "v11bc" }, claim_lines: [{ line_number: 1 }] }
    },
    format: "V11",
    name: "V11b, a saved directory of single objects",
    entities: [
      "claim.json claim /claim",
      "claim.json claim_line /claim_lines/0",
      "encounter.json diagnosis /diagnoses/0",
      "encounter.json encounter /encounter",
      "encounter.json facility /facility",
      "encounter.json procedure /procedures/0",
      "encounter.json provider /provider",
      "member.json member /member",
      "patient.json patient /patient",
      "person.json person /person"
    ]
  },
  "V12, an export of PatientSim's summaries": {
    files: {
      "patients_20260105_101112.json": {
        patients: [
          {
            id: "v12p",
            mrn: "v12m",
            name: "Full Name",
            age: 50,
            encounters: [{ id: "v12e", class: "I", admission_time: "2026-01-01T10:00:00" }],
            diagnoses: [{ code: "D04", description: "x" }],
            medications: [{ name: "y", dose: "z" }],
            lab_count: 3,
            vitals: { heart_rate: 70 }
          }
        ],
        metadata: { export_time: "2026-01-05T10:11:12", patient_count: 1, format: "PatientSim JSON", version: "1.0" }
      }
    },
    format: "V12",
    name: "patients_20260105_101112",
    entities: [
      "patients_20260105_101112.json diagnosis /patients/0/diagnoses/0",
      "patients_20260105_101112.json encounter /patients/0/encounters/0",
      "patients_20260105_101112.json medication /patients/0/medications/0",
      "patients_20260105_101112.json patient /patients/0",
      "patients_20260105_101112.json vital_sign /patients/0/vitals"
    ]
  },
  "V13, a bare array of a product, named after its type": {
    files: { "claims-2025.json": [{ claim_id: "v13c", total_charge: 10.0 }] },
    format: "V13",
    name: "claims-2025",
    entities: ["claims-2025.json claim /0"]
  },
  "V13, a bare object of a product": {
    files: {
      "export of one.json": {
        member_id: "v13m",
        subscriber_id: "v13m",
        given_name: "A",
        family_name: "B",
        group_id: "g",
        plan_code: "p",
        coverage_start: "2025-01-01"
      }
    },
    format: "V13",
    name: "export of one",
    entities: ["export of one.json member "]
  },
  "V16b, a sharing directory of the agent": {
    files: {
      "metadata.json": {
        cohort: { id: "v16-id", name: "v16 cohort", description: "d" },
        entity_counts: { patients: 1, lab_results: 2 },
        exported_at: "2026-02-03"
      },
      "patients.json": [{ id: "v16p" }],
      "lab_results.json": [{ id: "v16l1" }, { id: "v16l2" }]
    },
    format: "V16",
    name: "v16 cohort",
    cohort: { description: "d", legacy_id: "v16-id" },
    entities: ["lab_results.json lab_result /0", "lab_results.json lab_result /1", "patients.json patient /0"]
  },
  "V17, a saved answer of load_cohort": {
    files: {
      "v17.json": {
        cohort_id: "v17-id",
        name: "v17 cohort",
        description: "d",
        created_at: "2026-01-04 05:06:07.000008",
        updated_at: "2026-01-05 05:06:07",
        tags: ["x"],
        metadata: { product: "healthsim", entity_types: ["patients"], entity_counts: { patients: 1 } },
        entities: { patients: [{ id: "v17p" }] },
        entity_count: 1
      }
    },
    format: "V17",
    name: "v17 cohort",
    cohort: {
      description: "d",
      created_at: "2026-01-04T05:06:07.000008",
      updated_at: "2026-01-05T05:06:07",
      product: "healthsim",
      legacy_id: "v17-id"
    },
    tags: ["x"],
    entities: ["v17.json patient /entities/patients/0"]
  },
  "any other document, kept whole": {
    files: { "heading.json": { heading: "No cohort", rows: ["a", { b: [1, 2.5] }] } },
    format: "unknown",
    name: "heading",
    entities: [],
    remarks: ["no-entity-recognised"]
  }
}

const sources: Files = Object.fromEntries(
  Object.entries(variants).flatMap(([title, { files }]) =>
    Object.entries(files).map(([name, value]) => [`${title}/${name}`, JSON.stringify(value, null, 2)])
  )
)

interface State {
  readonly report: RunReport
  readonly heads: ReadonlyArray<Row>
  readonly tags: ReadonlyArray<Row>
  readonly entities: ReadonlyArray<Row>
  readonly texts: ReadonlyMap<string, string>
}

class Migrated extends Context.Service<Migrated, State>()("Migrated") {
  static readonly layer = Layer.effect(
    Migrated,
    Effect.gen(function* () {
      const { database, report } = yield* migrated(sources)
      return {
        report,
        heads: yield* query(database, "SELECT * FROM cohorts"),
        tags: yield* query(database, "SELECT cohort_name, tag FROM cohort_tags ORDER BY tag"),
        entities: yield* query(database, "SELECT cohort_name, source_path, kind, pointer FROM cohort_entities"),
        texts: yield* exported(database)
      }
    })
  )
}

const ourOwn = new Set(["cohort_id", "name", "seq", "change", "tags", "saved_at", "digest", "entity_count", "entities"])

describe("the variants", () => {
  layer(Migrated.layer)("once migrated", (it) => {
    it.effect("are all found, and nothing else", () =>
      Effect.gen(function* () {
        const { heads, report } = yield* Migrated
        assert.strictEqual(report.outcome, "done")
        assert.lengthOf(report.items, Object.keys(variants).length)
        assert.deepStrictEqual(
          heads.map(({ name }) => String(name)).sort(),
          Object.values(variants)
            .map(({ name }) => name)
            .sort()
        )
        assert.deepStrictEqual(report.verification.mismatched, 0)
      })
    )

    for (const [title, expected] of Object.entries(variants)) {
      it.effect(`${title}: name, description, tags, times, product, id and entities`, () =>
        Effect.gen(function* () {
          const state = yield* Migrated
          const files = Object.entries(expected.files)
          const item = state.report.items.find(({ path }) =>
            files.length === 1 ? path.endsWith(`/${title}/${files[0]?.[0]}`) : basename(path) === title
          )
          assert.strictEqual(item?.outcome, "migrated")
          assert.deepStrictEqual([item?.format, item?.cohort], [expected.format, expected.name])
          assert.deepStrictEqual(item && remarksOf(item), expected.remarks ?? [])
          const head = state.heads.find(({ name }) => name === expected.name)
          assert.deepStrictEqual(
            Object.fromEntries(
              Object.entries(head ?? {}).filter(([name, value]) => value !== null && !ourOwn.has(name))
            ),
            expected.cohort ?? {}
          )
          const ofCohort = (rows: ReadonlyArray<Row>) => rows.filter((row) => row["cohort_name"] === expected.name)
          assert.deepStrictEqual(
            ofCohort(state.tags).map((row) => row["tag"]),
            [...(expected.tags ?? [])]
          )
          const found = ofCohort(state.entities)
          assert.deepStrictEqual(
            found.map((row) => `${String(row["source_path"])} ${String(row["kind"])} ${String(row["pointer"])}`).sort(),
            expected.entities
          )
          assert.strictEqual(Number(head?.["entity_count"]), found.length)
          for (const [name, value] of files) {
            assert.strictEqual(state.texts.get(`${expected.name}/${name}`), compactText(JSON.stringify(value)))
          }
        })
      )
    }
  })
})
