import { assert, describe, layer } from "@effect/vitest"
import { kinds } from "@mallard/schema"
import { compactText, decodeText, tempDirectory, writeFiles } from "@mallard/testkit"
import { Context, Effect, Layer } from "effect"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { inject } from "vitest"
import { type ItemReport } from "@mallard/migrator"
import { exported, query, remarksOf, type Row, run } from "./support.ts"

interface Case {
  readonly id: string
  readonly case: string
  readonly file: string
  readonly input?: string
  readonly inputBase64?: string
  readonly want: string
}

interface Expectation {
  /** The cohort's name; `n` unless said. */
  readonly name?: string
  /** What the view `cohorts` shows beside the name, NULL left out. */
  readonly cohort?: Row
  readonly tags?: ReadonlyArray<string>
  /**
   * Every entity as `kind pointer`, with exactly the columns of its view that are not NULL. So nothing is invented:
   * what is not named here is NULL.
   */
  readonly entities: Readonly<Record<string, Row>>
  /** Code and pointer of every remark. */
  readonly remarks?: ReadonlyArray<string>
}

interface Refusal {
  readonly refused: { readonly code: string; readonly line: number; readonly column: number; readonly says: RegExp }
}

const patient = { id: "p1", mrn: "M1", given_name: "A", family_name: "B", birth_date: "1980-01-15", gender: "F" }
/** A patient as the cases about birth dates have it, without the date. */
const undated = { id: "p", mrn: "M", given_name: "A", family_name: "B", gender: "F" }
const member = {
  id: "m",
  member_id: "m",
  given_name: "A",
  family_name: "B",
  birth_date: "1980-01-01",
  gender: "M",
  group_id: "g",
  plan_code: "p",
  coverage_start: "2024-01-01"
}

const onePatient = (row: Row, rest: Omit<Expectation, "entities"> = {}): Expectation => ({
  ...rest,
  entities: { "patient /entities/patients/0": row }
})

/** A birth date that the column holds as `date`, or not at all. */
const birthDate = (date: string | undefined, code: string): Expectation =>
  onePatient(date === undefined ? undated : { ...undated, birth_date: date }, {
    remarks: [`${code} /entities/patients/0/birth_date`]
  })

const expectations: Readonly<Record<string, Expectation | Refusal>> = {
  "HS-001": {
    entities: {
      "patient /patients/0": patient,
      // The medical record number is that of the document's only patient.
      "procedure /procedures/0": { code: "1", patient_mrn: "M1" },
      "lab_result /lab_results/0": { test_name: "x", patient_mrn: "M1" },
      "vital_sign /vital_signs/0": { patient_mrn: "M1" },
      "claim_line /claim_lines/0": {},
      "trial_visit /trial_visits/0": {},
      "clinical_note /clinical_notes/0": { patient_mrn: "M1" }
    }
  },
  "HS-002": {
    entities: {
      "patient /patients/0": patient,
      "encounter /encounter/0": { encounter_id: "e1", patient_mrn: "M1" }
    }
  },
  "HS-004": { entities: { "patient /patients": patient } },
  "HS-005": { entities: { "patient /entities/patients": patient } },
  "HS-007": { entities: { "encounter /entities/encounters/0": { encounter_id: "e" } } },
  // The file is called `c`, which is no kind, so the keys of the elements say what they are.
  "HS-008": { name: "c", entities: { "patient /0": patient } },
  "HS-010": { refused: { code: "unexpected-end", line: 1, column: 1, says: /empty/ } },
  "HS-011": { entities: {}, remarks: ["byte-order-mark"] },
  // Refused: there is no option to name an encoding.
  "HS-013": { refused: { code: "invalid-utf8", line: 1, column: 13, says: /byte 12\b/ } },
  "HS-014": {
    name: "Diabetes",
    cohort: {
      description: "d",
      product: "patientsim",
      legacy_id: "w-1",
      created_at: "2025-01-01T10:00:00",
      updated_at: "2025-01-02T10:00:00"
    },
    tags: ["a"],
    entities: {
      "patient /entities/patients/0": {
        id: "person-1",
        mrn: "M1",
        given_name: "Jo",
        family_name: "Do",
        birth_date: "1980-01-01",
        gender: "M",
        street_address: "1 Main",
        city: "X",
        state: "IL",
        postal_code: "1",
        phone: "5",
        source_type: "generated",
        skill_used: "dm",
        generation_seed: 42n,
        created_at: "2025-01-01T10:00:00",
        created_at_zone: "none"
      }
    }
  },
  "HS-016": onePatient(patient),
  "HS-017": onePatient(patient, { name: "RealName", cohort: { description: "D", legacy_id: "c1" } }),
  "HS-019": {
    entities: { "patient /entities/patients/0": { id: "a" }, "patient /entities/patients/1": { id: "a" } },
    remarks: ["duplicate-id /entities/patients/1"]
  },
  "HS-020": {
    entities: { "patient /entities/patients/0": patient, "patient /entities/patients/1": patient },
    remarks: ["duplicate-id /entities/patients/1"]
  },
  "HS-022": {
    entities: {
      "patient /entities/patients/0": { id: "0" },
      "patient /entities/patients/1": { id: "" },
      "patient /entities/patients/2": { id: "7" },
      "patient /entities/patients/3": { id: "true" },
      "patient /entities/patients/4": { id: "1.5" }
    }
  },
  // The synthetic key is the `entity_id` that every row has.
  "HS-023": { entities: { "patient /entities/patients/0": {}, "patient /entities/patients/1": {} } },
  // All three are kept, the string as an element of its own kind.
  "HS-025": {
    entities: {
      "patient /entities/patients/0": { id: "ok1" },
      "json /entities/patients/1": { text: '"oops"' },
      "patient /entities/patients/2": { id: "ok2" }
    }
  },
  "HS-026": {
    entities: {
      "json /entities/care_gaps/0": { text: '{"id":"g1","measure":"CDC"}' },
      "procedure /entities/procedures/0": { id: "pr" },
      "rx_member /entities/rx_members/0": { member_id: "x" }
    }
  },
  "HS-028": {
    entities: {
      "patient /entities/patients/0": { id: "p" },
      "encounter /entities/encounters/0": { encounter_id: "e1" },
      "claim /entities/claims/0": { claim_id: "c" }
    }
  },
  "HS-029": onePatient(
    { id: "p" },
    { cohort: { product: "patientsim", legacy_id: "s-1", created_at: "2020-01-01T00:00:00" } }
  ),
  "HS-031": onePatient({ id: "p" }),
  "HS-032": onePatient({ id: "p" }, { tags: ["A", "a"] }),
  "HS-034": onePatient({ id: "p" }, { name: "c", remarks: ["name-unusable"] }),
  "HS-035": onePatient({ id: "p" }, { name: "c", remarks: ["name-unusable"] }),
  "HS-037": onePatient({ id: "p", source_type: "derived", generation_seed: 7n }),
  "HS-038": { entities: { "claim /entities/claims/0": { claim_id: "c" } } },
  "HS-040": onePatient(
    { id: "p" },
    { name: "m", remarks: ["duplicate-key /name", "duplicate-key /entities/patients/0/x"] }
  ),
  // Kept as the escape, in text beside the columns.
  "HS-041": onePatient({ id: "p" }),
  // Kept, NUL and all.
  "HS-043": onePatient({ id: "p" }, { name: "a\0b" }),
  "HS-044": onePatient({ id: "p" }),
  "HS-046": onePatient({ id: "p" }),
  "HS-047": {
    entities: {
      "encounter /entities/encounters/0": { encounter_id: "E-1" },
      "patient /entities/patients/0": { ...patient, id: "1" },
      "patient /entities/patients/1": { ...patient, id: "2" }
    }
  },
  // NULL and a remark: 01/02/1980 may be in January or in February.
  "HS-049": birthDate(undefined, "not-a-date"),
  "HS-050": birthDate(undefined, "not-a-date"),
  "HS-052": birthDate("1980-01-15", "date-basic-form"),
  // NULL and a remark: only ISO's own forms are dates.
  "HS-053": birthDate(undefined, "not-a-date"),
  "HS-055": birthDate("1980-01-15", "date-with-time"),
  "HS-056": birthDate("1980-01-15", "date-with-time"),
  "HS-058": birthDate(undefined, "not-a-date"),
  "HS-059": birthDate(undefined, "not-a-date"),
  // NULL and a remark: nobody writes birth dates by weeks.
  "HS-061": birthDate(undefined, "not-a-date"),
  "HS-062": onePatient({
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
  }),
  // NULL: a name in one string is never split.
  "HS-064": onePatient({ id: "p", birth_date: "1980-01-01", gender: "M" }),
  "HS-065": onePatient({
    id: "p",
    given_name: "J",
    family_name: "S",
    birth_date: "1980-01-01",
    gender: "M",
    postal_code: "6"
  }),
  "HS-067": onePatient(
    { ...undated, birth_date: "1980-01-15", deceased: false },
    { remarks: ["not-a-date /entities/patients/0/death_date"] }
  ),
  "HS-068": onePatient({ ...undated, birth_date: "1980-01-15", generation_seed: 99999999999n }),
  "HS-070": {
    entities: {
      "encounter /entities/encounters/0": {
        encounter_id: "e",
        patient_mrn: "M",
        class_code: "O",
        status: "finished",
        admission_time: "2024-12-02T17:00:00",
        admission_time_zone: "offset",
        discharge_time: "2024-12-02T10:15:00.123456",
        discharge_time_zone: "utc"
      }
    },
    remarks: [
      "time-with-offset /entities/encounters/0/admission_time",
      "time-too-fine /entities/encounters/0/discharge_time"
    ]
  },
  "HS-071": {
    entities: {
      "encounter /entities/encounters/0": {
        encounter_id: "e",
        patient_mrn: "M",
        patient_id: "M",
        class_code: "AMB",
        admission_time: "2024-01-01T00:00:00",
        admission_time_zone: "none",
        chief_complaint: "cough"
      }
    }
  },
  "HS-073": {
    entities: {
      "encounter /entities/encounters/0": {
        encounter_id: "e",
        patient_mrn: "M",
        patient_id: "M",
        encounter_type: "outpatient",
        admission_time: "2024-01-15T10:00:00",
        admission_time_zone: "none"
      }
    }
  },
  "HS-074": {
    entities: {
      "diagnosis /entities/diagnoses/0": { id: "d", code: "E11", patient_mrn: "M", diagnosed_date: "2024-01-01" }
    }
  },
  "HS-076": {
    entities: { "member /entities/members/0": { ...member, relationship_code: "01" } },
    remarks: ["code-translated /entities/members/0/relationship"]
  },
  "HS-077": { entities: { "member /entities/members/0": member } },
  "HS-079": {
    entities: { "member /entities/members/0": member },
    remarks: ["code-unknown /entities/members/0/relationship"]
  },
  "HS-080": {
    entities: {
      "claim /entities/claims/0": {
        claim_id: "c",
        claim_type: "PROFESSIONAL",
        member_id: "m",
        subscriber_id: "m",
        provider_npi: "1",
        service_date: "2024-01-01",
        principal_diagnosis: "E11",
        total_charge: "10.50"
      },
      // Its claim and the day of service are the claim's; the line itself says neither.
      "claim_line /entities/claims/0/claim_lines/0": { claim_id: "c", line_number: 1, service_date: "2024-01-01" }
    }
  },
  "HS-082": {
    entities: {
      "subject /entities/subjects/0": {
        id: "s",
        subject_id: "001",
        usubjid: "S-1-001",
        study_id: "S",
        site_id: "1",
        given_name: "A",
        family_name: "B",
        birth_date: "1980-01-01",
        gender: "M",
        informed_consent_date: "2024-01-01",
        status: "Active"
      }
    }
  },
  "HS-083": {
    entities: {
      "medication /entities/medications/0": {
        id: "m",
        name: "x",
        dose: "1",
        route: "PO",
        frequency: "QD",
        patient_mrn: "M",
        start_date: "2024-01-01T00:00:00",
        start_date_zone: "none"
      }
    }
  },
  "HS-085": {
    entities: {
      "diagnosis /entities/diagnosis/0": { id: "d", code: "E11", patient_mrn: "M", diagnosed_date: "2024-01-01" }
    }
  },
  "HS-086": {
    entities: {
      "lab_result /entities/labResults/0": { id: "l", patient_mrn: "M" },
      "patient /entities/Patients/0": { ...patient, id: "p", mrn: "M" },
      "clinical_note /entities/clinical_note/0": { id: "c1", patient_mrn: "M" }
    }
  }
}

const shared = inject("shared")
const cases: ReadonlyArray<Case> =
  shared === undefined ? [] : JSON.parse(readFileSync(join(shared, "cases", "healthsim-cases.json"), "utf8")).cases

const bytesOf = ({ input, inputBase64 }: Case): Uint8Array =>
  inputBase64 === undefined ? Buffer.from(input ?? "") : Buffer.from(inputBase64, "base64")

interface Migrated {
  readonly item: ItemReport
  readonly path: string
  readonly cohort: Row | undefined
  readonly tags: ReadonlyArray<string>
  readonly entities: Readonly<Record<string, Row>>
  readonly text: string | undefined
}

/** All cases in one database, one run each: cohorts of the same name are kept beside each other. */
class Cases extends Context.Service<Cases, ReadonlyMap<string, Migrated>>()("Cases") {
  static readonly layer = Layer.effect(
    Cases,
    Effect.gen(function* () {
      const folder = yield* tempDirectory
      const database = join(folder, "cases.duckdb")
      const items = new Map<string, { readonly item: ItemReport; readonly path: string }>()
      for (const one of cases) {
        const [path = ""] = yield* Effect.promise(() => writeFiles(folder, { [`${one.id}/${one.file}`]: bytesOf(one) }))
        const report = yield* run(database, [path], { onConflict: "rename" })
        assert.strictEqual(report.verification.mismatched, 0, one.id)
        const [item] = report.items
        assert(item !== undefined && report.items.length === 1, one.id)
        items.set(one.id, { item, path })
      }
      const rows = new Map<unknown, Record<string, Row>>()
      for (const { kind, table } of [...kinds, { kind: "json", table: "json_values" }]) {
        for (const row of yield* query(database, `SELECT * FROM ${table}`)) {
          const entities = rows.get(row["cohort_id"]) ?? {}
          rows.set(row["cohort_id"], entities)
          entities[`${kind} ${String(row["pointer"])}`] = withoutNulls(row, places)
        }
      }
      const heads = yield* query(database, "SELECT * FROM cohorts")
      const tags = yield* query(database, "SELECT cohort_id, tag FROM cohort_tags ORDER BY tag")
      const texts = yield* exported(database)
      return new Map(
        [...items].map(([id, { item, path }]) => {
          const head = heads.find((row) => row["cohort_id"] === item.cohort_id)
          const migrated: Migrated = {
            item,
            path,
            cohort: head && withoutNulls(head, ourOwn),
            tags: tags.filter((row) => row["cohort_id"] === item.cohort_id).map((row) => String(row["tag"])),
            entities: rows.get(item.cohort_id) ?? {},
            text: texts.get(`${String(head?.["name"])}/${path.split("/").at(-1)}`)
          }
          return [id, migrated]
        })
      )
    })
  )
}

const places = ["cohort_id", "cohort_name", "source_path", "pointer", "entity_id", "parent_kind", "parent_entity_id"]
const ourOwn = ["cohort_id", "name", "seq", "change", "tags", "saved_at", "digest", "entity_count", "entities"]

const withoutNulls = (row: Row, omitted: ReadonlyArray<string>): Row =>
  Object.fromEntries(Object.entries(row).filter(([name, value]) => value !== null && !omitted.includes(name)))

describe.skipIf(shared === undefined)("HealthSim's cases", () => {
  layer(Cases.layer, { timeout: "10 minutes" })("once migrated", (it) => {
    it.effect("are all expected here, and no others", () =>
      Effect.sync(() => assert.deepStrictEqual(Object.keys(expectations).sort(), cases.map(({ id }) => id).sort()))
    )

    for (const one of cases) {
      it.effect(`${one.id} ${one.case}: ${one.want}`, () =>
        Effect.gen(function* () {
          const all = yield* Cases
          const found = all.get(one.id)
          const expected = expectations[one.id]
          assert(found !== undefined && expected !== undefined)
          // Sources are never touched.
          assert.deepStrictEqual(readFileSync(found.path), Buffer.from(bytesOf(one)))
          if ("refused" in expected) {
            assert.strictEqual(found.item.outcome, "rejected")
            const [remark] = found.item.remarks
            const { code, column, line, says } = expected.refused
            assert.deepStrictEqual([remark?.code, remark?.line, remark?.column], [code, line, column])
            assert.match(remark?.message ?? "", says)
            assert.isTrue(existsSync(found.path))
            assert.isUndefined(found.cohort)
            return
          }
          assert.strictEqual(found.item.outcome, "migrated")
          const name = expected.name ?? "n"
          assert.include([name, `${name}-`], found.item.cohort?.replace(/(?<=-)\d+$/, ""))
          assert.deepStrictEqual(found.cohort, expected.cohort ?? {})
          assert.deepStrictEqual(found.tags, expected.tags ?? [])
          assert.deepStrictEqual(found.entities, expected.entities)
          assert.deepStrictEqual(remarksOf(found.item), expected.remarks ?? [])
          assert.strictEqual(found.text, compactText(decodeText(bytesOf(one))))
        })
      )
    }
  })
})
