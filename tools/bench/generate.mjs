#!/usr/bin/env node
// Writes a folder of legacy cohort files: seven kinds, nested claim lines, random values throughout, nothing repeated.
// usage: node generate.mjs OUT_DIR [--files 50] [--entities 500000] [--seed 1] [--compact]
// The same arguments give the same bytes on every machine.
import { mkdirSync, openSync, writeSync, closeSync, rmSync } from "node:fs"
import { join } from "node:path"

const args = process.argv.slice(2)
const option = (name, fallback) => {
  const at = args.indexOf(`--${name}`)
  return at < 0 ? fallback : Number(args[at + 1])
}
const out = args[0]
if (out === undefined || out.startsWith("--"))
  throw new Error("usage: node generate.mjs OUT_DIR [--files N] [--entities N] [--seed N] [--compact]")
const files = option("files", 50)
const perFile = Math.round(option("entities", 500_000) / files)
const indent = args.includes("--compact") ? "" : "  "

// sfc32: small, fast, no short cycles
let [a, b, c, d] = [option("seed", 1) | 0, 0x9e3779b9 | 0, 0x243f6a88 | 0, 1]
const next = () => {
  const t = (a + b + d) | 0
  d = (d + 1) | 0
  a = b ^ (b >>> 9)
  b = (c + (c << 3)) | 0
  c = (((c << 21) | (c >>> 11)) + t) | 0
  return t >>> 0
}
for (let i = 0; i < 20; i++) next()
const int = (from, to) => from + (next() % (to - from + 1))
const pick = (list) => list[next() % list.length]
const two = (n) => String(n).padStart(2, "0")
const hex = (digits) => {
  let s = ""
  while (s.length < digits) s += next().toString(16).padStart(8, "0")
  return s.slice(0, digits)
}
const uuid = () => `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`
const date = () => `${int(1930, 2024)}-${two(int(1, 12))}-${two(int(1, 28))}`
const time = () =>
  `${int(2015, 2024)}-${two(int(1, 12))}-${two(int(1, 28))}T${two(int(0, 23))}:${two(int(0, 59))}:${two(int(0, 59))}`
const money = () => int(100, 999_999) / 100
const SYLLABLES = "ka lo mi ra ne so tu ve ba di el an or is um ñu zoë jö li tha".split(" ")
const word = () => Array.from({ length: int(2, 4) }, () => pick(SYLLABLES)).join("")
const name = () => {
  const w = word()
  return w[0].toUpperCase() + w.slice(1)
}
const words = (n) => Array.from({ length: n }, word).join(" ")
const provenance = (system) => ({
  source_type: "generated",
  source_system: system,
  skill_used: pick([null, "diabetes-management", "claims"]),
  seed: int(1, 2_000_000_000)
})

const KINDS = {
  patient: [
    0.12,
    () => ({
      patient_id: uuid(),
      mrn: `MRN${int(0, 99_999_999)}`,
      ssn: `${int(100, 899)}-${int(10, 99)}-${int(1000, 9999)}`,
      name: { given: name(), family: name() },
      birthDate: date(),
      gender: pick(["male", "female"]),
      race: pick([null, "white", "black", "asian"]),
      address: {
        line1: `${int(1, 9999)} ${name()} St`,
        city: name(),
        state: pick(["IL", "WI", "CA"]),
        postalCode: String(int(10_000, 99_999))
      },
      telecom: { phone: `${int(200, 999)}-555-${int(1000, 9999)}`, email: `${word()}@${word()}.org` },
      _provenance: provenance("patientsim")
    })
  ],
  encounter: [
    0.18,
    () => ({
      encounter_id: uuid(),
      patient_mrn: `MRN${int(0, 99_999_999)}`,
      class_code: pick(["I", "O", "E"]),
      status: "finished",
      admission_time: time(),
      discharge_time: pick([null, time()]),
      facility: `${name()} Hospital`,
      department: name(),
      chief_complaint: words(6),
      attending_physician: `Dr. ${name()} ${name()}`,
      _provenance: provenance("patientsim")
    })
  ],
  diagnosis: [
    0.2,
    () => ({
      id: uuid(),
      code: `${pick("ABCDEFGHI".split(""))}${int(10, 99)}.${int(0, 9)}`,
      description: words(5),
      type: pick(["final", "working"]),
      patient_mrn: `MRN${int(0, 99_999_999)}`,
      encounter_id: uuid(),
      diagnosed_date: date(),
      resolved_date: null,
      sequence: int(1, 9)
    })
  ],
  medication: [
    0.12,
    () => ({
      id: uuid(),
      name: name(),
      code: String(int(100_000, 999_999)),
      dose: `${int(1, 900)} mg`,
      route: "oral",
      frequency: pick(["daily", "BID", "TID"]),
      patient_mrn: `MRN${int(0, 99_999_999)}`,
      start_date: time(),
      status: "active",
      prescriber: String(int(1_000_000_000, 1_999_999_999)),
      quantity: int(1, 90),
      days_supply: 30
    })
  ],
  lab_result: [
    0.24,
    () => ({
      id: uuid(),
      test_name: name(),
      loinc_code: `${int(1000, 99_999)}-${int(0, 9)}`,
      value: int(0, 4000) / 10,
      unit: pick(["%", "mg/dL", "mmol/L"]),
      reference_range: `${int(0, 5)}.0-${int(6, 9)}.5`,
      abnormal_flag: pick([null, "H", "L"]),
      patient_mrn: `MRN${int(0, 99_999_999)}`,
      collected_time: time(),
      performing_lab: `${name()} Lab`
    })
  ],
  member: [
    0.06,
    () => ({
      member_id: `M${hex(10)}`,
      subscriber_id: `S${hex(10)}`,
      relationship_code: pick(["18", "01", "19"]),
      given_name: name(),
      family_name: name(),
      birth_date: date(),
      gender: pick(["M", "F"]),
      group_id: `GRP${int(0, 99_999)}`,
      plan_code: pick(["PPO", "HMO"]),
      coverage_start: date(),
      coverage_end: null,
      care_manager: { name: `${name()} ${name()}`, since: date() }
    })
  ],
  claim: [
    0.08,
    () => ({
      claim_id: `CLM${hex(12)}`,
      claim_type: "PROFESSIONAL",
      member_id: `M${hex(10)}`,
      provider_npi: String(int(1_000_000_000, 1_999_999_999)),
      service_date: date(),
      principal_diagnosis: `E${int(10, 99)}.${int(0, 9)}`,
      total_charge: money(),
      total_paid: money(),
      claim_lines: Array.from({ length: int(1, 4) }, (_, i) => ({
        line_number: i + 1,
        procedure_code: String(int(10_000, 99_999)),
        units: int(1, 5),
        charge_amount: money(),
        paid_amount: money(),
        diagnosis_pointers: [1, int(2, 4)]
      })),
      remarks: words(3)
    })
  ]
}

rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })
for (let f = 0; f < files; f++) {
  const file = openSync(join(out, `cohort-${String(f).padStart(6, "0")}.json`), "w")
  const nl = indent === "" ? "" : "\n"
  let text = `{${nl}${indent}"name": ${JSON.stringify(`cohort-${f}`)},${nl}${indent}"description": ${JSON.stringify(words(8))},${nl}${indent}"tags": ["${word()}", "bench"],${nl}${indent}"created_at": "${time()}",${nl}${indent}"entities": {${nl}`
  Object.entries(KINDS).forEach(([kind, [share, make]], k) => {
    text += `${k === 0 ? "" : `,${nl}`}${indent}${indent}"${kind}": [${nl}`
    const n = Math.max(1, Math.round(perFile * share))
    for (let i = 0; i < n; i++) {
      const entity = JSON.stringify(make(), null, indent)
      text += (i === 0 ? "" : `,${nl}`) + (indent === "" ? entity : entity.replace(/^/gm, "      "))
      if (text.length > 1 << 20) {
        writeSync(file, text)
        text = ""
      }
    }
    text += `${nl}${indent}${indent}]`
  })
  writeSync(file, `${text}${nl}${indent}}${nl}}${nl}`)
  closeSync(file)
}
