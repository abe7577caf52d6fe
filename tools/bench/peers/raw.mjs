#!/usr/bin/env node
// RAW: the floor that every ratio refers to. DuckDB reads the folder of generate.mjs with explicit column types and
// unnests it into eight typed tables: not lossless, no digests, no links, nothing verified.
// usage, from a folder where @duckdb/node-api resolves: node raw.mjs DIR DB_FILE
import { readdirSync, rmSync, statSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"

const { DuckDBInstance } = createRequire(join(process.cwd(), "x.js"))("@duckdb/node-api")
const [dir, file] = process.argv.slice(2)
if (file === undefined) throw new Error("usage: node raw.mjs DIR DB_FILE")
const PROVENANCE = "_provenance STRUCT(source_type VARCHAR, source_system VARCHAR, skill_used VARCHAR, seed BIGINT)"
const KINDS = {
  patient: `patient_id VARCHAR, mrn VARCHAR, ssn VARCHAR, name STRUCT("given" VARCHAR, family VARCHAR), birthDate DATE, gender VARCHAR, race VARCHAR, address STRUCT(line1 VARCHAR, city VARCHAR, state VARCHAR, postalCode VARCHAR), telecom STRUCT(phone VARCHAR, email VARCHAR), ${PROVENANCE}`,
  encounter: `encounter_id VARCHAR, patient_mrn VARCHAR, class_code VARCHAR, status VARCHAR, admission_time TIMESTAMP, discharge_time TIMESTAMP, facility VARCHAR, department VARCHAR, chief_complaint VARCHAR, attending_physician VARCHAR, ${PROVENANCE}`,
  diagnosis:
    'id VARCHAR, code VARCHAR, description VARCHAR, "type" VARCHAR, patient_mrn VARCHAR, encounter_id VARCHAR, diagnosed_date DATE, resolved_date DATE, sequence INTEGER',
  medication:
    "id VARCHAR, name VARCHAR, code VARCHAR, dose VARCHAR, route VARCHAR, frequency VARCHAR, patient_mrn VARCHAR, start_date TIMESTAMP, status VARCHAR, prescriber VARCHAR, quantity INTEGER, days_supply INTEGER",
  lab_result:
    'id VARCHAR, test_name VARCHAR, loinc_code VARCHAR, "value" VARCHAR, unit VARCHAR, reference_range VARCHAR, abnormal_flag VARCHAR, patient_mrn VARCHAR, collected_time TIMESTAMP, performing_lab VARCHAR',
  member:
    "member_id VARCHAR, subscriber_id VARCHAR, relationship_code VARCHAR, given_name VARCHAR, family_name VARCHAR, birth_date DATE, gender VARCHAR, group_id VARCHAR, plan_code VARCHAR, coverage_start DATE, coverage_end DATE, care_manager STRUCT(name VARCHAR, since DATE)",
  claim:
    "claim_id VARCHAR, claim_type VARCHAR, member_id VARCHAR, provider_npi VARCHAR, service_date DATE, principal_diagnosis VARCHAR, total_charge DECIMAL(12,2), total_paid DECIMAL(12,2), claim_lines STRUCT(line_number INTEGER, procedure_code VARCHAR, units DECIMAL(6,2), charge_amount DECIMAL(12,2), paid_amount DECIMAL(12,2), diagnosis_pointers JSON)[], remarks VARCHAR"
}
rmSync(file, { force: true })
rmSync(`${file}.wal`, { force: true })
const largest = Math.max(...readdirSync(dir).map((name) => statSync(join(dir, name)).size))
const instance = await DuckDBInstance.create(file)
const connection = await instance.connect()
const entities = Object.entries(KINDS)
  .map(([kind, columns]) => `"${kind}" STRUCT(${columns})[]`)
  .join(", ")
await connection.run(`CREATE TEMP TABLE source AS SELECT * FROM read_json('${dir}/*.json', maximum_object_size = ${Math.max(16_777_216, largest + 1024)},
  columns = {name: 'VARCHAR', description: 'VARCHAR', tags: 'VARCHAR[]', created_at: 'TIMESTAMP', entities: 'STRUCT(${entities})'})`)
await connection.run("CREATE TABLE cohort AS SELECT name, description, tags, created_at FROM source")
for (const kind of Object.keys(KINDS)) {
  if (kind !== "claim")
    await connection.run(
      `CREATE TABLE "${kind}" AS SELECT name AS cohort, unnest(entities."${kind}", recursive := true) FROM source`
    )
}
await connection.run(
  "CREATE TEMP TABLE claims AS SELECT name AS cohort, unnest(entities.claim, max_depth := 2) FROM source"
)
await connection.run("CREATE TABLE claim AS SELECT * EXCLUDE (claim_lines) FROM claims")
await connection.run(
  "CREATE TABLE claim_line AS SELECT cohort, claim_id, unnest(claim_lines, max_depth := 2) FROM claims"
)
await connection.run("DROP TABLE claims")
await connection.run("DROP TABLE source")
await connection.run("CHECKPOINT")
const { rows } = (
  await connection.runAndReadAll("SELECT sum(estimated_size)::INTEGER AS rows FROM duckdb_tables()")
).getRowObjects()[0]
connection.closeSync()
instance.closeSync()
console.log(`${rows} rows`)
