/** Made-up documents in the shapes of real saved cohorts. */

import { kinds, type SqlType } from "@mallard/schema"

const pretty = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`

const times = <A>(count: number, make: (number: number) => A): ReadonlyArray<A> =>
  Array.from({ length: count }, (_, index) => make(index + 1))

/** Pointers `base/0` to `base/count-1`. */
const elements = (base: string, count: number): ReadonlyArray<string> =>
  times(count, (number) => `${base}/${number - 1}`)

interface Fixture {
  readonly text: string
  readonly entities: Readonly<Record<string, ReadonlyArray<string>>>
}

const lab = (number: number) => ({ test: `Test ${number}`, value: number * 1.5, reference: "1-9", flag: "H" })

/** A stay in hospital told in one deep document. */
const stay: Fixture = {
  text: pretty({
    patient: {
      patient_id: "pt-71",
      mrn: "MRN-71",
      name: { first: "Ann", last: "Roe" },
      date_of_birth: "1951-04-09",
      gender: "F",
      medical_history: {
        conditions: times(5, (n) => ({ condition: `Old trouble ${n}`, icd10: `I1${n}` })),
        smoker: false
      },
      current_medications: times(4, (n) => ({ name: `Drug ${n}`, dose: "5 mg", frequency: "daily" })),
      allergies: [{ allergen: "latex", reaction: "rash", severity: "mild" }]
    },
    ed_encounter: { encounter_id: "ed-9", facility: "North Hospital", arrival_datetime: "2024-03-01T02:10:00" },
    initial_vitals: {
      temperature: { value: 36.8, unit: "C" },
      heart_rate: { value: 104, unit: "bpm" },
      blood_pressure: { systolic: 150, diastolic: 95 }
    },
    labs: {
      collection_datetime: "2024-03-01T02:30:00",
      troponin_series: times(4, (n) => ({ time: `0${n}:30`, value: n / 100, unit: "ng/mL" })),
      initial_labs: times(6, lab)
    },
    ed_treatment: {
      medications_administered: times(3, (n) => ({ medication: `Given ${n}`, dose: "1 g", route: "IV" })),
      procedures: [{ code: "93005", description: "ECG" }],
      narrative: "Calm throughout."
    },
    discharge: {
      discharge_diagnoses: times(3, (n) => ({ code: `I21.${n}`, description: `Finding ${n}` })),
      discharge_medications: times(2, (n) => ({ name: `Take home ${n}`, dose: "10 mg" })),
      procedures_performed: times(2, (n) => ({ code: `9292${n}`, description: `Done ${n}` })),
      instructions: ["Rest", "Come back on Monday"]
    }
  }),
  entities: {
    patient: ["/patient"],
    diagnosis: [
      ...elements("/patient/medical_history/conditions", 5),
      ...elements("/discharge/discharge_diagnoses", 3)
    ],
    medication: [
      ...elements("/patient/current_medications", 4),
      ...elements("/ed_treatment/medications_administered", 3),
      ...elements("/discharge/discharge_medications", 2)
    ],
    allergy: ["/patient/allergies/0"],
    encounter: ["/ed_encounter"],
    vital_sign: ["/initial_vitals"],
    lab_result: [...elements("/labs/troponin_series", 4), ...elements("/labs/initial_labs", 6)],
    procedure: [...elements("/ed_treatment/procedures", 1), ...elements("/discharge/procedures_performed", 2)]
  }
}

/** The claim of that stay; its diagnoses and procedures are part of it. */
const stayClaims: Fixture = {
  text: pretty({
    claims: [
      {
        claim_id: "CLM-1",
        type: "institutional",
        member: { member_id: "M-1", subscriber_id: "S-1" },
        diagnoses: times(3, (n) => ({ code: `I21.${n}`, type: n === 1 ? "principal" : "secondary" })),
        procedures: [{ code: "92928" }],
        service_lines: times(5, (n) => ({
          line_number: n,
          revenue_code: `030${n}`,
          cpt: null,
          charges: { billed: 10.5 * n }
        })),
        totals: { billed: 157.5, allowed: 100, paid: 80.25 }
      }
    ]
  }),
  entities: { claim: ["/claims/0"], claim_line: elements("/claims/0/service_lines", 5) }
}

const pharmacyClaims: Fixture = {
  text: pretty({
    pharmacy_claims: times(3, (n) => ({
      claim_id: `RX-${n}`,
      member: { member_id: "M-1", person_code: "01" },
      medication: { ndc: `0000${n}-1234-01`, quantity: 30, days_supply: 30 },
      pharmacy: { npi: "1999999992", ncpdp_id: "7654321" },
      fill_date: `2024-03-0${n}`,
      pricing: { ingredient_cost: 12.34 }
    }))
  }),
  entities: { pharmacy_claim: elements("/pharmacy_claims", 3) }
}

/** A visit to the doctor, orders inside it. */
const visit: Fixture = {
  text: pretty({
    patient: { patient_id: "pt-72", mrn: "MRN-72", birth_date: "2019-06-30", gender: "M" },
    encounter: {
      encounter_id: "enc-72",
      type: "office visit",
      date: "2024-02-02",
      orders: times(2, (n) => ({ order_id: `ord-${n}`, order_type: "medication", medication: { name: `Syrup ${n}` } }))
    },
    vitals: { temperature: 38.9, heart_rate: 120 },
    diagnoses: times(3, (n) => ({ code: `H66.0${n}`, description: "Ear" })),
    follow_up: { in_days: 10 }
  }),
  entities: {
    patient: ["/patient"],
    encounter: ["/encounter"],
    order: elements("/encounter/orders", 2),
    vital_sign: ["/vitals"],
    diagnosis: elements("/diagnoses", 3)
  }
}

/** An enrolment of a family. `idCards.dependents`, `accumulators.members` and the flags of `coverage` are no members. */
const enrolment: Fixture = {
  text: pretty({
    enrollmentTransaction: { transactionId: "T-1", effectiveDate: "2024-01-01", maintenanceType: "addition" },
    healthPlan: { planId: "PPO-500", groupNumber: "GRP-9", name: "Plain Plan" },
    benefits: { deductible: { individual: 500, family: 1000 } },
    subscriber: {
      memberId: "M-10",
      firstName: "Ida",
      lastName: "Vale",
      dateOfBirth: "1980-02-03",
      gender: "F",
      relationshipCode: "18"
    },
    dependents: times(4, (n) => ({
      memberId: `M-1${n}`,
      firstName: `Kid${n}`,
      lastName: "Vale",
      dateOfBirth: `201${n}-05-06`,
      relationship: "child"
    })),
    coverage: { medical: true, dental: false, vision: true },
    idCards: {
      subscriber: { cardId: "C-10" },
      dependents: times(4, (n) => ({ memberId: `M-1${n}`, cardId: `C-1${n}` }))
    },
    accumulators: {
      planYear: 2024,
      asOfDate: "2024-06-30",
      deductible: { family: { applied: 120.5, limit: 1000 } },
      members: [
        { memberId: "M-10", applied: 60 },
        { memberId: "M-11", applied: 60.5 }
      ]
    }
  }),
  entities: { member: ["/subscriber", ...elements("/dependents", 4)], accumulator: ["/accumulators"] }
}

const camelEncounters: Fixture = {
  text: pretty({
    scenarioId: "S-1",
    planYear: 2024,
    generatedDate: "2024-07-01",
    encounters: times(2, (n) => ({
      encounterId: `E-${n}`,
      memberId: "M-10",
      serviceDate: `2024-0${n}-15`,
      encounterType: "office",
      facility: { name: "Elm Clinic", address: "1 Elm St" },
      diagnoses: times(2, (d) => ({ code: `J0${d}.${n}`, description: "Cold" })),
      procedures: times(3, (p) => ({ code: `9921${p}`, charge: 100 * p }))
    }))
  }),
  entities: {
    encounter: elements("/encounters", 2),
    diagnosis: [0, 1].flatMap((n) => elements(`/encounters/${n}/diagnoses`, 2)),
    procedure: [0, 1].flatMap((n) => elements(`/encounters/${n}/procedures`, 3))
  }
}

const camelClaims: Fixture = {
  text: pretty({
    scenarioId: "S-1",
    planYear: 2024,
    claims: times(2, (n) => ({
      claimId: `C-${n}`,
      encounterId: `E-${n}`,
      memberId: "M-10",
      claimType: "professional",
      serviceDate: `2024-0${n}-15`,
      diagnoses: [{ code: "J01.1", type: "Principal" }],
      serviceLines: times(3, (line) => ({
        lineNumber: line,
        cpt: `9921${line}`,
        chargedAmount: 100.0 + line / 4,
        allowedAmount: 80,
        planPaid: 64,
        copayAmount: 16
      })),
      totals: { chargedAmount: 301.5, allowedAmount: 240, planPaid: 192, memberResponsibility: 48 }
    })),
    accumulatorSummary: { deductibleApplied: 48, members: [{ memberId: "M-10" }] }
  }),
  entities: {
    claim: elements("/claims", 2),
    claim_line: [0, 1].flatMap((n) => elements(`/claims/${n}/serviceLines`, 3))
  }
}

/** One pharmacy claim as the segments of its transaction. */
const segments: Fixture = {
  text: pretty({
    transaction_header: {
      bin: "610014",
      pcn: "MEDD",
      transaction_code: "B1",
      date_of_service: "20240205",
      service_provider_id: "1999999992"
    },
    patient_segment: { patient_id: "M-30", date_of_birth: "20190630", gender_code: "1" },
    insurance_segment: { cardholder_id: "CH-30", person_code: "003", group_id: "RXG-1" },
    claim_segment: {
      rx_service_reference_number: "7000123",
      fill_number: "00",
      product_service_id: "00093415573",
      quantity_dispensed: "0000100000",
      days_supply: "010",
      daw_code: "0"
    },
    prescriber_segment: { prescriber_id: "1888888883" },
    pricing_segment: { ingredient_cost_submitted: "0001250", gross_amount_due: "0001450" },
    response: { status: "P" },
    claim_summary: { claim_id: "RXC-30", service_date: "2024-02-05", charges: { ingredient_cost: 12.5 } }
  }),
  entities: { pharmacy_claim: [""] }
}

/** Folders of such documents, by name: each is one cohort. */
export const savedFolders: Readonly<Record<string, Readonly<Record<string, Fixture>>>> = {
  "ann-roe-stay": { "patient.json": stay, "claims.json": stayClaims, "pharmacy-claims.json": pharmacyClaims },
  "ear-visit": { "patient.json": visit, "pharmacy-claim-ncpdp.json": segments },
  "vale-family": { "enrollment.json": enrolment, "encounters.json": camelEncounters, "claims.json": camelClaims }
}

/** A cohort file with one patient. */
export const cohortFile = (
  name: string | undefined,
  id: string,
  rest: Readonly<Record<string, unknown>> = {}
): string =>
  JSON.stringify({
    ...(name === undefined ? {} : { name }),
    ...rest,
    entities: { patients: [{ id, mrn: `MRN-${id}` }] }
  })

/** A few sources of different sorts: files, a folder, wrappers, nested children, odd values, elements of no kind. */
export const variedSources: Readonly<Record<string, string>> = {
  "plain.json": cohortFile("plain", "p1", { description: "d", tags: ["a", "b"], created_at: "2026-01-02T03:04:05" }),
  "workspace.json": JSON.stringify({
    metadata: { workspace_id: "w-1", name: "workspace", product: "membersim", updated_at: "2026-01-03T00:00:00" },
    entities: {
      members: [
        {
          entity_id: "1",
          entity_type: "member",
          data: {
            member_id: "m1",
            relationship: "spouse",
            birth_date: "1980-01-15T10:00:00",
            coverage: { active: true }
          },
          provenance: { source_type: "generated", created_at: "2026-01-03T00:00:00Z" }
        }
      ],
      claims: [
        {
          claim_id: "c1",
          total_charge: 10.5,
          claim_lines: [
            { line_number: 1, charge_amount: 5.25, note: "x" },
            { line_number: 2, charge_amount: "5.25" }
          ]
        },
        { claim_id: "c2", service_lines: [{ line_number: 1, charge_amount: 5.25, note: "x" }, "no line"] }
      ],
      care_gaps: [{ measure: "CDC" }, 7]
    }
  }),
  "odd.json": `{"name":"odd","entities":{"encounters":[{"encounter_id":"e1","admission_time":"2024-12-02T09:00:00-08:00","x":1e400},{"encounter_id":"e2","admission_time":"2024-12-02T09:00:00Z","diagnoses":[{"code":"A"},{"code":"B","sequence":2}]}],"patients":["oops",{"id":"p2","name":"one text","deceased":"false"}]}}`,
  ...Object.fromEntries(
    Object.entries(savedFolders["ear-visit"] ?? {}).map(([name, { text }]) => [`ear-visit/${name}`, text])
  ),
  "other.json": '{"heading":"no cohort","list":[1,{"two":2}]}'
}

/** Values that columns of each type hold exactly, all different. */
const valueOf = (type: SqlType, seed: number): unknown => {
  const two = (number: number): string => String((number % 28) + 1).padStart(2, "0")
  switch (type) {
    case "VARCHAR":
      return `text ${seed}`
    case "DATE":
      return `2020-02-${two(seed)}`
    case "TIMESTAMP":
      return `2020-03-${two(seed)}T10:${two(seed)}:00`
    case "BOOLEAN":
      return seed % 2 === 0
    case "JSON":
      return [seed]
    case "INTEGER":
    case "BIGINT":
    case "DOUBLE":
      return (seed % 997) + 1
    default:
      return (seed % 89) + 0.5
  }
}

/**
 * Entities of every kind, each column filled from the first of its paths that is a plain key: eight full ones, and one
 * with its id alone. Columns without a key of their own repeat what another column holds.
 */
export const everyKind: string = JSON.stringify({
  name: "every kind",
  description: "all columns",
  tags: ["t"],
  created_at: "2026-01-02T03:04:05",
  updated_at: "2026-01-03T03:04:05",
  product: "test",
  scenario_id: "every-1",
  entities: Object.fromEntries(
    kinds.map((kind, at) => {
      const entity = (copy: number) => {
        const fields: Record<string, unknown> = {}
        kind.columns.forEach(({ decode, name, paths, type }, column) => {
          const keys = paths.filter((path) => !/[.[]/.test(path))
          const key = keys.find((one) => !(one in fields))
          if (key === undefined || decode !== undefined) return
          if (column > 0 && keys[0] !== name && keys[0] !== key) return
          fields[key] = valueOf(type, at * 131 + column * 11 + copy)
        })
        return fields
      }
      return [
        kind.table,
        [...times(8, (copy) => entity(copy)), { [kind.idPaths[0]?.split("+")[0] ?? "id"]: `only-${kind.kind}` }]
      ]
    })
  )
})
