import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { compactText, tempDirectory } from "@mallard/testkit"
import { Effect } from "effect"
import { Reactivity } from "effect/reactivity"
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { verify } from "@mallard/migrator"
import { cohorts, entities, exported, query, remarksOf, run, type Row } from "./support.ts"

type Version = "1.0" | "1.3" | "1.4" | "1.7"

/** Whether cohorts were still called scenarios. */
const isOlder = (version: Version): boolean => version !== "1.7"

/** The tables of a version, as HealthSim made them. */
const tablesOf = (version: Version): ReadonlyArray<string> => {
  const isOld = isOlder(version)
  const [one, key] = isOld ? ["scenario", version === "1.4" ? "id" : "scenario_id"] : ["cohort", "id"]
  return [
    "CREATE TABLE schema_migrations (version VARCHAR PRIMARY KEY, applied_at TIMESTAMP)",
    `INSERT INTO schema_migrations VALUES ('${version}', '2026-01-01')`,
    `CREATE SEQUENCE ${one}_entities_seq`,
    `CREATE TABLE ${one}s (${key} VARCHAR PRIMARY KEY, name VARCHAR NOT NULL UNIQUE, description VARCHAR, created_at TIMESTAMP, updated_at TIMESTAMP, metadata JSON)`,
    `CREATE TABLE ${one}_entities (id INTEGER PRIMARY KEY, ${one}_id VARCHAR NOT NULL, entity_type VARCHAR NOT NULL, entity_id VARCHAR NOT NULL, entity_data JSON, created_at TIMESTAMP, UNIQUE(${one}_id, entity_type, entity_id))`,
    `CREATE TABLE ${one}_tags (id INTEGER PRIMARY KEY, ${one}_id VARCHAR NOT NULL, tag VARCHAR NOT NULL)`,
    `CREATE TABLE patients (id VARCHAR PRIMARY KEY, mrn VARCHAR NOT NULL, given_name VARCHAR, birth_date DATE, deceased BOOLEAN, ${one}_id VARCHAR, created_at TIMESTAMP)`,
    `CREATE TABLE claims (claim_id VARCHAR PRIMARY KEY, ${one}_id VARCHAR, total_charge DECIMAL(12,2), other_diagnoses JSON)`,
    "CREATE TABLE profiles (id VARCHAR, name VARCHAR)"
  ]
}

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`

/** Spellings that a number or a parser would change. */
const entity =
  '{ "patient_id": "p1", "weight": 82.50, "big": 12345678901234567890.10, "note": "caf\\u00e9", "_x": [1E5, -0.0] }'
const second = '{"mrn":"M2","given_name":"Bo"}'
const claim = '{"claim_id":"c1","total_charge":425.00,"claim_lines":[{"line_number":1}]}'

const rowsOf = (version: Version): ReadonlyArray<string> => {
  const one = isOlder(version) ? "scenario" : "cohort"
  return [
    `INSERT INTO ${one}s VALUES ('id-a', 'Alpha', 'the first', '2025-12-01 10:11:12.5', '2025-12-02', '{"product": "patientsim", "entity_counts": {"patients": 2}}'), ('id-b', 'Bét/a', NULL, NULL, NULL, NULL), ('id-c', 'Empty', NULL, '2025-12-03', NULL, NULL)`,
    `INSERT INTO ${one}_tags VALUES (2, 'id-a', 'later'), (1, 'id-a', 'early')`,
    `INSERT INTO ${one}_entities VALUES
      (2, 'id-a', 'patients', 'p1', ${literal(entity)}, '2025-12-01'),
      (3, 'id-a', 'claims', 'c1', ${literal(claim)}, '2025-12-01'),
      (4, 'id-a', 'patients', 'random', ${literal(second)}, '2025-12-01'),
      (5, 'id-a', 'care_gaps', 'g', '{"measure":"CDC"}', '2025-12-01')`,
    // Copies of the stored patients, and rows that are nobody's copies.
    `INSERT INTO patients VALUES ('p1', 'M1', 'Unknown', NULL, NULL, 'id-a', '2025-12-05'), ('b1', 'MB', 'Cy', '1980-02-03', false, 'id-b', '2025-12-05 01:02:03.25'), ('x', 'MX', NULL, NULL, NULL, NULL, NULL)`,
    `INSERT INTO claims VALUES ('b2', 'id-b', 250.00, '["25"]'), ('c9', 'id-a', 1.5, NULL)`
  ]
}

const build = (path: string, statements: ReadonlyArray<string>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* DuckDbClient.make({ filename: path })
      for (const statement of statements) yield* client.unsafe(statement)
      yield* client.checkpoint
    })
  ).pipe(Effect.provide(Reactivity.layer))

const folderWith = Effect.fnUntraced(function* (version: Version, name = "old.duckdb") {
  const folder = yield* tempDirectory
  const path = join(folder, name)
  yield* build(path, [...tablesOf(version), ...rowsOf(version)])
  return { folder, path, database: join(folder, "new.duckdb") }
})

const fingerprint = (path: string) => {
  const { mtimeNs, size } = statSync(path, { bigint: true })
  return { mtimeNs, size, sha256: createHash("sha256").update(readFileSync(path)).digest("hex") }
}

const alphaText = (one: string): string =>
  `{"${one}_id":"id-a","name":"Alpha","description":"the first","tags":["early","later"],"created_at":"2025-12-01T10:11:12.5","updated_at":"2025-12-02T00:00:00","metadata":{"product": "patientsim", "entity_counts": {"patients": 2}},"entities":{"patients":[${entity},${second}],"claims":[${claim},{"claim_id":"c9","${one}_id":"id-a","total_charge":1.50}],"care_gaps":[{"measure":"CDC"}]}}`

const betaText = (one: string): string =>
  `{"${one}_id":"id-b","name":"Bét/a","description":null,"tags":[],"entities":{"claims":[{"claim_id":"b2","${one}_id":"id-b","total_charge":250.00,"other_diagnoses":["25"]}],"patients":[{"id":"b1","mrn":"MB","given_name":"Cy","birth_date":"1980-02-03","deceased":false,"${one}_id":"id-b","created_at":"2025-12-05T01:02:03.25"}]}}`

describe("databases of HealthSim", () => {
  for (const version of ["1.0", "1.3", "1.4", "1.7"] as const) {
    it.effect(`of schema ${version} give all their cohorts, and are not touched`, () =>
      Effect.gen(function* () {
        const { database, folder, path } = yield* folderWith(version)
        const before = fingerprint(path)
        const report = yield* run(database, [path])
        const one = isOlder(version) ? "scenario" : "cohort"
        assert.deepStrictEqual(
          report.items.map(({ cohort, format, outcome, path: of }) => [of, cohort, format, outcome]).sort(),
          ["Alpha", "Bét/a", "Empty"].map((name) => [`${path}#${name}`, name, "V18", "migrated"])
        )
        assert.strictEqual(report.outcome, "done")
        assert.isTrue(report.totals.balanced)
        assert.deepStrictEqual([report.verification.checked, report.verification.mismatched], [3, 0])
        assert.deepStrictEqual(fingerprint(path), before)
        assert.deepStrictEqual(readdirSync(folder).sort(), ["new.duckdb", "old.duckdb"])

        const texts = yield* exported(database)
        assert.strictEqual(texts.get("Alpha/Alpha.json"), compactText(alphaText(one)))
        assert.strictEqual(texts.get("Bét/a/Bét_a.json"), betaText(one))
        assert.deepStrictEqual(
          ["Alpha", "Bét/a"].map((name) => report.items.find(({ cohort }) => cohort === name)?.bytes),
          [alphaText(one), betaText(one)].map((text) => Buffer.byteLength(text))
        )
        assert.deepStrictEqual(yield* entities(database), [
          "Alpha.json claim /entities/claims/0",
          "Alpha.json claim /entities/claims/1",
          "Alpha.json claim_line /entities/claims/0/claim_lines/0",
          "Alpha.json json /entities/care_gaps/0",
          "Alpha.json patient /entities/patients/0",
          "Alpha.json patient /entities/patients/1",
          "Bét_a.json claim /entities/claims/0",
          "Bét_a.json patient /entities/patients/0"
        ])
        const [alpha] = yield* query(
          database,
          "SELECT description, tags::VARCHAR AS tags, product, legacy_id, created_at, updated_at FROM cohorts WHERE name = 'Alpha'"
        )
        assert.deepStrictEqual<Row | undefined>(alpha, {
          description: "the first",
          tags: '["early","later"]',
          product: "patientsim",
          legacy_id: "id-a",
          created_at: "2025-12-01T10:11:12.5",
          updated_at: "2025-12-02T00:00:00"
        })

        const compared = yield* verify({ database, sources: [path] })
        assert.deepStrictEqual(compared.sources, { checked: 3, matched: 3, mismatched: 0 })
        assert.deepStrictEqual(compared.findings, [])

        const stored = yield* cohorts(database)
        const again = yield* run(database, [path])
        assert.deepStrictEqual(
          again.items.map(({ outcome }) => outcome),
          ["unchanged", "unchanged", "unchanged"]
        )
        assert.deepStrictEqual(yield* cohorts(database), stored)
      })
    )
  }

  it.effect("may have columns of lists and of types whose names begin as those of numbers do", () =>
    Effect.gen(function* () {
      const { database, path } = yield* folderWith("1.7")
      yield* build(path, [
        "ALTER TABLE patients ADD COLUMN scores INTEGER[]",
        "ALTER TABLE patients ADD COLUMN waits INTERVAL",
        "ALTER TABLE patients ADD COLUMN weights DOUBLE[2]",
        "ALTER TABLE patients ADD COLUMN seen TIMESTAMP[]",
        "UPDATE patients SET scores = [1, NULL], waits = INTERVAL 3 DAYS, weights = ['1.5', 'nan'], seen = ['2025-01-02 03:04:05'] WHERE id = 'b1'"
      ])
      const report = yield* run(database, [path])
      assert.strictEqual(report.outcome, "done")
      const added = '"scores":[1,null],"waits":"3 days","weights":[1.5,NaN],"seen":["2025-01-02 03:04:05"]}]}}'
      assert.strictEqual(
        (yield* exported(database)).get("Bét/a/Bét_a.json"),
        betaText("cohort").replace("}]}}", `,${added}`)
      )
    })
  )

  it.effect("are read through a window when a cohort is large", () =>
    Effect.gen(function* () {
      const { folder, path } = yield* folderWith("1.7")
      yield* build(path, [
        `INSERT INTO cohort_entities SELECT 100 + i, 'id-c', 'patients', 'n' || i, '{"patient_id":"n' || i || '","note":"' || repeat('x', 50) || '"}', NULL FROM range(5000) r(i)`
      ])
      const whole = join(folder, "whole.duckdb")
      const windows = join(folder, "windows.duckdb")
      yield* run(whole, [path])
      const report = yield* run(windows, [path], { sizes: { wholeFileBytes: 1000, windowBytes: 4096 } })
      assert.strictEqual(report.outcome, "done")
      assert.deepStrictEqual(yield* cohorts(windows), yield* cohorts(whole))
      const [count] = yield* query(windows, "SELECT count(*)::INTEGER AS n FROM patients WHERE cohort_name = 'Empty'")
      assert.deepStrictEqual(count, { n: 5000 })
    })
  )

  it.effect("are refused with a reason and left as they are, and other sources are stored all the same", () =>
    Effect.gen(function* () {
      const { database, folder, path } = yield* folderWith("1.7", "logged.duckdb")
      writeFileSync(`${path}.wal`, "log")
      const pointer = join(folder, "healthsim.duckdb")
      writeFileSync(pointer, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1791504384\n")
      const text = join(folder, "notes.db")
      writeFileSync(text, "no database")
      const foreign = join(folder, "foreign.db")
      yield* build(foreign, ["CREATE TABLE other (a INTEGER)"])
      const empty = join(folder, "empty.duckdb")
      yield* build(empty, tablesOf("1.4"))
      const good = join(folder, "good.json")
      writeFileSync(good, '{"name":"good","entities":{"patients":[{"id":"p"}]}}')
      const report = yield* run(database, [path, pointer, text, foreign, empty, good])
      assert.deepStrictEqual(
        Object.fromEntries(
          report.items.map((item) => [item.path.slice(folder.length + 1), [item.outcome, ...remarksOf(item)]])
        ),
        {
          "logged.duckdb": ["rejected", "wal"],
          "healthsim.duckdb": ["rejected", "git-lfs-pointer"],
          "notes.db": ["rejected", "not-a-database"],
          "foreign.db": ["rejected", "no-cohort-tables"],
          "empty.duckdb": ["skipped", "no-cohorts"],
          "good.json": ["migrated"]
        }
      )
      assert.isTrue(report.totals.balanced)
      assert.strictEqual(readFileSync(`${path}.wal`, "utf8"), "log")
      assert.isFalse(existsSync(`${foreign}.wal`))
      const own = yield* run(database, [good, database]).pipe(Effect.map(({ items }) => items.map(remarksOf)))
      assert.deepStrictEqual(own, [[], ["same-database"]])
      const other = yield* run(join(folder, "third.duckdb"), [database])
      assert.deepStrictEqual(other.items.map(remarksOf), [["mallard-database"]])
    })
  )

  it.effect("are refused while they are open for writing", () =>
    Effect.gen(function* () {
      const { database, path } = yield* folderWith("1.4")
      const report = yield* Effect.scoped(
        Effect.andThen(DuckDbClient.make({ filename: path }), run(database, [path]))
      ).pipe(Effect.provide(Reactivity.layer))
      assert.deepStrictEqual(report.items.map(remarksOf), [["locked"]])
      assert.strictEqual(report.outcome, "done-with-rejects")
    })
  )
})
