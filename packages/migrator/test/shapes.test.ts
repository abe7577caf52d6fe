import { assert, describe, it } from "@effect/vitest"
import { type RunReport, verify } from "@mallard/migrator"
import { compactText } from "@mallard/testkit"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { cohorts, entities, exported, itemOf, migrated, outcomes, query, remarksOf, type Row, run } from "./support.ts"

const subject = { reference: "Patient/p1" }
const coded = (code: string, text: string) => ({
  coding: [{ system: "http://codes.example", code, display: text }],
  text
})

/** Resources with the kind of each; `resourceType` is never first, and the observation's category comes after its value. */
const resources: ReadonlyArray<readonly [kind: string, resource: Readonly<Record<string, unknown>>]> = [
  [
    "patient",
    {
      id: "p1",
      identifier: [{ value: "M1" }],
      name: [{ family: "Vale", given: ["Ada", "Bo"] }],
      telecom: [
        { system: "phone", value: "555-1" },
        { system: "email", value: "a@mail.example" }
      ],
      birthDate: "1980-02-03",
      gender: "female",
      address: [{ line: ["1 Main", "Apt 2"], city: "X", state: "IL", postalCode: "6" }],
      maritalStatus: { text: "Married" },
      resourceType: "Patient"
    }
  ],
  [
    "encounter",
    {
      id: "e1",
      status: "finished",
      class: { code: "AMB" },
      type: [{ text: "checkup" }],
      subject,
      period: { start: "2024-05-06T07:00:00Z" },
      resourceType: "Encounter"
    }
  ],
  [
    "diagnosis",
    {
      resourceType: "Condition",
      id: "c1",
      clinicalStatus: { coding: [{ code: "active" }] },
      code: coded("E11.9", "Diabetes"),
      subject,
      encounter: { reference: "Encounter/e1" },
      onsetDateTime: "2020-01-02"
    }
  ],
  [
    "lab_result",
    {
      id: "o1",
      resourceType: "Observation",
      code: coded("4548-4", "A1c"),
      subject,
      valueQuantity: { value: 8.1, unit: "%" },
      interpretation: [{ coding: [{ code: "H" }] }],
      effectiveDateTime: "2024-05-06T07:08:09Z"
    }
  ],
  [
    "vital_sign",
    {
      id: "o2",
      code: coded("8867-4", "Heart rate"),
      valueQuantity: { value: 70, unit: "/min" },
      category: [{ coding: [{ code: "vital-signs" }] }],
      effectiveDateTime: "2024-05-06T07:08:09Z",
      resourceType: "Observation"
    }
  ],
  [
    "medication",
    {
      resourceType: "MedicationRequest",
      id: "m1",
      status: "active",
      medicationCodeableConcept: coded("860975", "Metformin"),
      authoredOn: "2024-01-01",
      dosageInstruction: [{ text: "twice a day" }],
      requester: { display: "Dr. Roe" }
    }
  ],
  [
    "procedure",
    {
      resourceType: "Procedure",
      id: "r1",
      status: "completed",
      code: coded("45378", "Colonoscopy"),
      performedDateTime: "2024-01-01"
    }
  ],
  [
    "claim",
    {
      resourceType: "Claim",
      id: "x1",
      status: "active",
      type: { coding: [{ code: "professional" }] },
      billablePeriod: { start: "2024-01-01" },
      diagnosis: [{ diagnosisCodeableConcept: coded("E11.9", "Diabetes") }],
      item: [{ sequence: 1, net: { value: 12.5 } }],
      total: { value: 12.5, currency: "USD" }
    }
  ],
  ["json", { resourceType: "Immunization", id: "i1" }]
]
const values = resources.map(([, resource]) => resource)
const kindsOf = resources.map(([kind]) => kind)
const bundle = {
  id: "b-1",
  entry: values.map((resource) => ({ fullUrl: "urn:x", resource, request: { method: "POST" } })),
  type: "collection",
  resourceType: "Bundle"
}
const lines = (all: ReadonlyArray<unknown>): string => all.map((value) => JSON.stringify(value)).join("\n")
const facts = (report: RunReport): ReadonlyArray<unknown> =>
  report.items.map(({ format, outcome }) => [format, outcome])

/** The columns of the only row of a view that are not NULL, without those about its place. */
const rowOf = Effect.fnUntraced(function* (database: string, view: string) {
  const rows = yield* query(
    database,
    `SELECT * EXCLUDE (cohort_id, cohort_name, source_path, pointer, entity_id, parent_kind, parent_entity_id) FROM ${view}`
  )
  assert.lengthOf(rows, 1, view)
  return Object.fromEntries(Object.entries(rows[0] ?? {}).filter(([, value]) => value !== null)) as Row
})

describe("FHIR", () => {
  it.effect("gives a Bundle's resources, each in a row of its kind wherever the keys stand", () =>
    Effect.gen(function* () {
      const { database, report } = yield* migrated({ "bundle.json": JSON.stringify(bundle, null, 2) })
      assert.deepStrictEqual(facts(report), [["V15", "migrated"]])
      // Text and display of a code both name it.
      assert.deepStrictEqual(
        new Set(itemOf(report, "bundle.json").remarks.map(({ code }) => code)),
        new Set(["path-superseded"])
      )
      assert.strictEqual(report.verification.mismatched, 0)
      assert.deepStrictEqual(
        yield* entities(database),
        kindsOf.map((kind, at) => `bundle.json ${kind} /entry/${at}/resource`).sort()
      )
      assert.strictEqual((yield* exported(database)).get("bundle/bundle.json"), compactText(JSON.stringify(bundle)))
      assert.deepStrictEqual(yield* rowOf(database, "patients"), {
        id: "p1",
        mrn: "M1",
        given_name: "Ada",
        middle_name: "Bo",
        family_name: "Vale",
        birth_date: "1980-02-03",
        gender: "female",
        street_address: "1 Main",
        street_address_2: "Apt 2",
        city: "X",
        state: "IL",
        postal_code: "6",
        phone: "555-1",
        email: "a@mail.example",
        marital_status: "Married"
      })
      assert.deepStrictEqual(yield* rowOf(database, "diagnoses"), {
        id: "c1",
        code: "E11.9",
        description: "Diabetes",
        patient_mrn: "Patient/p1",
        encounter_id: "Encounter/e1",
        diagnosed_date: "2020-01-02",
        code_system: "http://codes.example",
        status: "active"
      })
      assert.deepStrictEqual(yield* rowOf(database, "lab_results"), {
        id: "o1",
        test_name: "A1c",
        loinc_code: "4548-4",
        value: "8.1",
        unit: "%",
        abnormal_flag: "H",
        patient_mrn: "Patient/p1",
        // That of the only encounter.
        encounter_id: "e1",
        collected_time: "2024-05-06T07:08:09",
        collected_time_zone: "utc"
      })
      assert.deepStrictEqual(yield* rowOf(database, "claims"), {
        claim_id: "x1",
        claim_type: "professional",
        service_date: "2024-01-01",
        principal_diagnosis: "E11.9",
        total_charge: "12.50",
        status: "active"
      })
    })
  )

  it.effect("is found as a single resource, in an array, in answers and in Bundles of Bundles", () =>
    Effect.gen(function* () {
      const patient = values[0]
      const nested = {
        resourceType: "Bundle",
        type: "batch-response",
        entry: [{ resource: { type: "searchset", entry: [{ resource: patient }, {}], resourceType: "Bundle" } }]
      }
      const files = {
        "one.json": patient,
        "array.json": values,
        "nested.json": nested,
        "export.json": { metadata: { format: "fhir_r4", version: "1.0", source: "healthsim-agent" }, data: bundle },
        // A list called `entry` is one of FHIR only where its elements hold resources.
        "friend.json": {
          entry: [{ resource: { name: "a room" } }, { patient: { id: "no" } }],
          patients: [{ id: "yes" }]
        }
      }
      const { database, report } = yield* migrated(
        Object.fromEntries(Object.entries(files).map(([name, value]) => [name, JSON.stringify(value)]))
      )
      assert.deepStrictEqual(
        [...report.items].map(({ format, path }) => `${path.split("/").at(-1)} ${format}`).sort(),
        ["array.json V15", "export.json V16", "friend.json V3", "nested.json V15", "one.json V15"]
      )
      assert.deepStrictEqual(
        yield* entities(database),
        [
          "one.json patient ",
          ...kindsOf.map((kind, at) => `array.json ${kind} /${at}`),
          "nested.json patient /entry/0/resource/entry/0/resource",
          ...kindsOf.map((kind, at) => `export.json ${kind} /data/entry/${at}/resource`),
          "friend.json patient /patients/0"
        ].sort()
      )
      const texts = yield* exported(database)
      for (const [name, value] of Object.entries(files))
        assert.strictEqual(texts.get(`${name.slice(0, -5)}/${name}`), compactText(JSON.stringify(value)))
    })
  )
})

describe("NDJSON", () => {
  it.effect("of entities gives each line, and comes back as the compact lines without blank ones", () =>
    Effect.gen(function* () {
      const text = lines([...values, [1], { resourceType: 5 }])
      const files = {
        "all.ndjson": `\ufeff\n${text.replaceAll("\n", "\r\n\n")} \r\n\n`,
        "claims.jsonl": '{"claim_id": "c"}'
      }
      const { database, report, source } = yield* migrated({ "all.ndjson": files["all.ndjson"] })
      assert.deepStrictEqual(facts(report), [["V15", "migrated"]])
      assert.strictEqual(report.verification.mismatched, 0)
      assert.deepStrictEqual(
        yield* entities(database),
        [...kindsOf, "json", "json"].map((kind, at) => `all.ndjson ${kind} /${at}`).sort()
      )
      assert.strictEqual((yield* exported(database)).get("all/all.ndjson"), text)
      assert.deepStrictEqual(
        (yield* run(database, [source])).items.map(({ outcome }) => outcome),
        ["unchanged"]
      )
      const compared = yield* verify({ database, sources: [source] })
      assert.deepStrictEqual([compared.findings, compared.sources.matched], [[], 1])
    })
  )

  it.effect("of documents gives the entities of each, and is one cohort with the name of its file", () =>
    Effect.gen(function* () {
      const documents = [
        { name: "first", tags: ["x"], entities: { patients: [{ id: "a" }, "odd"] } },
        { name: "second", patients: [{ id: "b" }], encounter: { encounter_id: "e" } },
        bundle,
        { heading: "nothing" }
      ]
      const pretty = documents.map((one) => JSON.stringify(one, null, 2)).join("\n")
      const { database, report, source } = yield* migrated({ "many.ndjson": pretty })
      const item = itemOf(report, "many.ndjson")
      assert.deepStrictEqual([item.format, item.cohort], ["lines", "many"])
      assert.include(remarksOf(item), "path-superseded /2/entry/2/resource/code/coding/0/display")
      assert.deepStrictEqual(
        yield* entities(database),
        [
          "many.ndjson json /0/entities/patients/1",
          "many.ndjson patient /0/entities/patients/0",
          "many.ndjson patient /1/patients/0",
          "many.ndjson encounter /1/encounter",
          ...kindsOf.map((kind, at) => `many.ndjson ${kind} /2/entry/${at}/resource`)
        ].sort()
      )
      assert.strictEqual((yield* exported(database)).get("many/many.ndjson"), lines(documents))
      assert.deepStrictEqual((yield* verify({ database, sources: [source] })).findings, [])
    })
  )

  it.effect("with one document is that document", () =>
    Effect.gen(function* () {
      const document = { name: "alone", entities: { patients: [{ id: "a", id2: 1 }] } }
      const { database, report } = yield* migrated({ "alone.ndjson": `${JSON.stringify(document, null, 1)}\n` })
      assert.deepStrictEqual(
        [itemOf(report, "alone.ndjson").format, itemOf(report, "alone.ndjson").cohort],
        ["V1", "alone"]
      )
      assert.deepStrictEqual(yield* entities(database), ["alone.ndjson patient /entities/patients/0"])
      assert.strictEqual((yield* exported(database)).get("alone/alone.ndjson"), JSON.stringify(document))
    })
  )

  it.effect("is refused as a whole where a line is no document, with its place", () =>
    Effect.gen(function* () {
      const { database, report } = yield* migrated({
        "comma.ndjson": '{"resourceType":"Patient"}\n{"resourceType":"Patient",}\n',
        "scalar.ndjson": '{"name":"a"}\n\n5\n',
        "same-line.ndjson": '{"name":"a"} {"name":"b"}\n',
        "empty.ndjson": "\n\n",
        "several.json": '{"name":"a"}\n{"name":"b"}\n'
      })
      assert.deepStrictEqual(
        Object.fromEntries(
          report.items.map((item) => {
            const [remark] = item.remarks
            return [item.path.split("/").at(-1), [item.outcome, remark?.code, remark?.line, remark?.column]]
          })
        ),
        {
          "comma.ndjson": ["rejected", "unexpected-byte", 2, 27],
          "scalar.ndjson": ["rejected", "not-a-document", 3, 1],
          "same-line.ndjson": ["rejected", "trailing-content", 1, 14],
          "empty.ndjson": ["rejected", "unexpected-end", 3, 1],
          "several.json": ["rejected", "trailing-content", 2, 1]
        }
      )
      assert.deepStrictEqual(yield* entities(database), [])
    })
  )

  it.effect("and Bundles give the same through windows as read whole", () =>
    Effect.gen(function* () {
      const many = Array.from({ length: 300 }, (_, at) => ({ ...values[at % values.length], note: `n${at}` }))
      const files = {
        "rows.ndjson": lines(many),
        "documents.ndjson": lines(many.map((one, at) => ({ entities: { patients: [{ id: at }], other: [one] } }))),
        // What says that it is a Bundle comes last.
        "bundle.json": JSON.stringify({ entry: many.map((resource) => ({ resource })), resourceType: "Bundle" }),
        "ae.json": JSON.stringify({ domain: "AE", records: many.map((_, at) => ({ AETERM: "x", AESEQ: at })) })
      }
      const whole = yield* migrated(files)
      const windows = yield* migrated(files, { sizes: { wholeFileBytes: 10, windowBytes: 512 } })
      assert.strictEqual(windows.report.outcome, "done")
      assert.deepStrictEqual(
        windows.report.items.map(({ format }) => format),
        whole.report.items.map(({ format }) => format)
      )
      assert.deepStrictEqual(yield* cohorts(windows.database), yield* cohorts(whole.database))
      assert.deepStrictEqual(yield* entities(windows.database), yield* entities(whole.database))
      assert.lengthOf(yield* entities(whole.database), 300 + 600 + 300 + 300)
    })
  )
})

describe("SDTM", () => {
  const row = (domain: string, rest: object) => ({ STUDYID: "S", DOMAIN: domain, USUBJID: "S-1-001", ...rest })
  const domains = {
    dm: ["subject", row("DM", { SUBJID: "001", AGE: 50, SEX: "F", ARMCD: "A" })],
    ae: ["adverse_event", row("AE", { AESEQ: 1, AETERM: "Headache", AESTDTC: "2024-01-02" })],
    ex: ["exposure", row("EX", { EXSEQ: 1, EXTRT: "Drug", EXDOSE: 10 })],
    sv: ["trial_visit", row("SV", { VISITNUM: 1, VISIT: "Screening", SVSTDTC: "2024-01-01" })],
    lb: ["lab_result", row("LB", { LBTEST: "Glucose", LBORRES: "5.10", LBORRESU: "mmol/L", LBDTC: "2024-01-01" })],
    vs: ["vital_sign", row("VS", { VSTEST: "Pulse", VSORRES: 70, VSORRESU: "/min" })],
    cm: ["medication", row("CM", { CMTRT: "Aspirin" })],
    mh: ["diagnosis", row("MH", { MHTERM: "Asthma" })],
    ds: ["json", row("DS", { DSTERM: "COMPLETED" })]
  } as const

  it.effect("of bare arrays is one cohort per folder, of single files one each", () =>
    Effect.gen(function* () {
      const files = Object.fromEntries(
        Object.entries(domains).map(([name, [, record]]) => [`trial/${name}.json`, JSON.stringify([record, record])])
      )
      const { database, report, source } = yield* migrated(files)
      assert.deepStrictEqual(facts(report), [["V14", "migrated"]])
      assert.strictEqual(itemOf(report, "trial").cohort, "trial")
      assert.deepStrictEqual(
        yield* entities(database),
        Object.entries(domains)
          .flatMap(([name, [kind]]) => [0, 1].map((at) => `${name}.json ${kind} /${at}`))
          .sort()
      )
      assert.deepStrictEqual(
        yield* query(database, "SELECT DISTINCT usubjid, study_id, subject_id, age, treatment_arm FROM subjects"),
        [{ usubjid: "S-1-001", study_id: "S", subject_id: "001", age: 50, treatment_arm: "A" }]
      )
      assert.deepStrictEqual(
        yield* query(database, "SELECT DISTINCT patient_mrn, test_name, value, unit FROM lab_results"),
        [{ patient_mrn: "S-1-001", test_name: "Glucose", value: "5.10", unit: "mmol/L" }]
      )
      const alone = yield* run(join(source, "..", "alone.duckdb"), [
        join(source, "trial/dm.json"),
        join(source, "trial/ae.json")
      ])
      assert.deepStrictEqual(
        alone.items.map(({ cohort, entities: found, format }) => [cohort, format, found]),
        [
          ["ae", "V14", { adverse_event: 2 }],
          ["dm", "V14", { subject: 2 }]
        ]
      )
    })
  )

  it.effect("of documents with a domain gives their records, and lists called `records` elsewhere none", () =>
    Effect.gen(function* () {
      const { database, report } = yield* migrated({
        "after.json": JSON.stringify({
          metadata: { studyid: "S", usubjid: "S-1" },
          records: [{ AETERM: "x" }, "odd", { DOMAIN: "EX", EXTRT: "y" }],
          domain: "ae"
        }),
        "other.json": JSON.stringify({ domain: "music", records: [{ title: "x" }] })
      })
      assert.deepStrictEqual(yield* entities(database), [
        "after.json adverse_event /records/0",
        "after.json exposure /records/2",
        "after.json json /records/1"
      ])
      assert.deepStrictEqual(remarksOf(itemOf(report, "other.json")), ["no-entity-recognised"])
    })
  )
})

describe("files of the agent", () => {
  const head = { id: "co-1", name: "agent a", description: "d", created_at: "2026-01-02T03:04:05" }
  const session = {
    session_id: "s",
    messages: [{ role: "user", content: "make patients" }],
    generated_items: [{ item_type: "patients", data: [{ id: "no" }] }],
    metadata: { model: "m", saved_at: "2026-01-01" }
  }
  const files = {
    "a.json": { version: "2.0", exported_at: "2026-02-01", cohort: head, entities: { patients: [{ id: "a" }] } },
    "c.json": { ...head, name: "agent c", tags: ["t"], metadata: {}, entities: { patients: [{ id: "c" }] } },
    "d.json": {
      metadata: { exported_at: "2026-02-01", format: "json", version: "1.0", source: "healthsim-agent" },
      data: { patients: [{ id: "d" }], summary: { patients: [{ id: "no" }] } }
    },
    "d rows.json": {
      metadata: { source: "healthsim-agent" },
      data: [{ claim_id: "d2", total_charge: 1, member_id: "m" }]
    },
    "d text.json": { metadata: { source: "healthsim-agent", format: "hl7v2" }, data: "MSH|^~\\&" },
    "e.json": { patients: [{ id: "e" }], claims: [{ claim_id: "e" }] },
    "h.json": { status: "ok", data: { name: "agent h", entities: { members: [{ member_id: "h" }] } }, metadata: {} },
    "other.json": { kind: "x", data: { patients: [{ id: "no" }] } }
  }
  const notCohorts = {
    "workspace.json": { id: "ws-1", name: "w", cohort_ids: ["co-1"], profile_ids: [], journey_ids: [], config: {} },
    "session.json": session,
    "profile.json": { profile: { id: "x", generation: { count: 5 }, demographics: {} }, template: {} },
    "diabetic.json": { id: "x", name: "diabetic", version: 1, profile_spec: { demographics: {} } },
    "journey.json": { journey: { id: "j", phases: [] } },
    "year.json": { journey_id: "j", name: "year", duration_days: 365, events: [{ patient: { id: "no" } }] },
    "summary.json": {
      cohort_id: "co-1",
      name: "agent a",
      entity_counts: {},
      statistics: {},
      samples: { patients: [{}] }
    },
    "config.json": { theme: "dark" },
    "plan.json": { format: 1, program: "m", planned_at: "", options: {}, items: [], totals: {}, estimate: {} },
    "report.json": { run: "r", outcome: "done", dry_run: false, items: [], totals: {}, verification: {}, timings: {} }
  }

  it.effect("are cohorts where they hold entities", () =>
    Effect.gen(function* () {
      const { database, report } = yield* migrated(
        Object.fromEntries(Object.entries(files).map(([name, value]) => [name, JSON.stringify(value)]))
      )
      assert.deepStrictEqual(
        Object.fromEntries(report.items.map(({ cohort, format, path }) => [path.split("/").at(-1), [format, cohort]])),
        {
          "a.json": ["V16", "agent a"],
          "c.json": ["V16", "agent c"],
          "d.json": ["V16", "d"],
          "d rows.json": ["V16", "d rows"],
          "d text.json": ["V16", "d text"],
          "e.json": ["V3", "e"],
          "h.json": ["V16", "agent h"],
          "other.json": ["unknown", "other"]
        }
      )
      assert.deepStrictEqual(yield* entities(database), [
        "a.json patient /entities/patients/0",
        "c.json patient /entities/patients/0",
        "d rows.json claim /data/0",
        "d.json patient /data/patients/0",
        "e.json claim /claims/0",
        "e.json patient /patients/0",
        "h.json member /data/entities/members/0"
      ])
      assert.deepStrictEqual(
        report.items.filter(({ remarks }) => remarks.length > 0).map((item) => [item.cohort, ...remarksOf(item)]),
        [
          ["d text", "no-entity-recognised"],
          ["other", "no-entity-recognised"]
        ]
      )
    })
  )

  it.effect("are left alone with a reason where they are no cohorts", () =>
    Effect.gen(function* () {
      const texts = Object.fromEntries(Object.entries(notCohorts).map(([name, value]) => [name, JSON.stringify(value)]))
      const { database, report, source } = yield* migrated({
        ...texts,
        "good.json": '{"name":"good","patients":[{"id":"p"}]}'
      })
      assert.deepStrictEqual(outcomes(report), {
        ...Object.fromEntries(Object.keys(notCohorts).map((name) => [name, "skipped"])),
        "good.json": "migrated"
      })
      assert.strictEqual(report.outcome, "done")
      assert.isTrue(report.totals.balanced)
      for (const name of Object.keys(notCohorts)) {
        assert.deepStrictEqual(remarksOf(itemOf(report, name)), ["not-a-cohort"])
        assert.strictEqual(readFileSync(join(source, name), "utf8"), texts[name])
      }
      assert.match(itemOf(report, "session.json").remarks[0]?.message ?? "", /conversation/)
      assert.deepStrictEqual(
        (yield* cohorts(database)).map(({ name }) => name),
        ["good"]
      )
    })
  )
})
