import { type DuckDBConnection } from "@duckdb/node-api"
import { assert, describe, it } from "@effect/vitest"
import { createHash } from "node:crypto"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { migrations } from "../src/index.ts"
import { connect, lock, open, publish } from "../src/internal/query-database.ts"
import { sharedDatabase } from "./query-fixture.ts"
import { cohortId } from "./support.ts"

const database = sharedDatabase()

const locked = async (): Promise<DuckDBConnection> => {
  const connection = await connect({ engineMemory: 200_000_000 })
  await open(connection, { path: database.path, version: migrations.length })
  await publish(connection, "patients", cohortId(1))
  await lock(connection)
  return connection
}

// Statements that no query may be: the locks hold for them all the same. `@` stands for the folder of the database.
const harmful = [
  "FROM read_text('@/secret.csv')",
  "FROM read_blob('/etc/passwd')",
  "FROM read_csv('@/secret.csv')",
  "FROM '@/secret.csv'",
  "FROM read_parquet('@/secret.csv')",
  "FROM glob('@/*')",
  "FROM sniff_csv('@/secret.csv')",
  "FROM 'https://example.org/secret.csv'",
  "COPY (SELECT 1) TO '@/out.csv'",
  "COPY (SELECT 1) TO '/dev/stdout'",
  "EXPORT DATABASE '@/out'",
  "IMPORT DATABASE '@/out'",
  "ATTACH '@/other.duckdb'",
  "ATTACH '@/cohorts.duckdb' AS again (READ_WRITE)",
  "INSTALL httpfs",
  "LOAD '@/evil.duckdb_extension'",
  "CREATE TABLE store.main.t (i INT)",
  "CREATE VIEW store.main.v AS SELECT 1",
  "CREATE OR REPLACE VIEW store.main.patients AS SELECT 1",
  "INSERT INTO store.mallard.patients (entity_id, digest, shape_id) VALUES (9, uuid(), 0)",
  "UPDATE store.mallard.patients SET mrn = 'x'",
  "DELETE FROM store.mallard.patients",
  "DROP TABLE store.mallard.patients",
  "ALTER TABLE store.mallard.patients ADD COLUMN x INT",
  "SET memory_limit = '100GB'",
  "SET threads = 64",
  "SET enable_external_access = true",
  "SET disabled_filesystems = ''",
  "SET lock_configuration = false",
  "RESET lock_configuration",
  "SET temp_directory = '@/spill'",
  "SET GLOBAL log_query_path = '@/log'",
  "PRAGMA enable_profiling = 'json'"
]

describe("a locked database", () => {
  it("refuses what would do harm, whoever lets it through", async () => {
    writeFileSync(join(database.folder, "secret.csv"), "word\nhunter2\n")
    const digest = () => createHash("sha256").update(readFileSync(database.path)).digest("hex")
    const before = digest()
    const connection = await locked()
    try {
      for (const sql of harmful) {
        let outcome = "done"
        try {
          await connection.runAndReadAll(sql.replaceAll("@", database.folder))
        } catch (cause) {
          outcome = cause instanceof Error ? cause.message : "unknown"
        }
        assert.match(outcome, /"exception_type":"Permission"|read-only mode|configuration has been locked/, sql)
        assert.notInclude(outcome, "hunter2")
      }
      const rows = await connection.runAndReadAll("SELECT mrn FROM patients ORDER BY mrn")
      assert.deepStrictEqual(rows.getRows(), [["M1"], ["M2"]])
    } finally {
      connection.closeSync()
    }
    assert.strictEqual(digest(), before)
    assert.deepStrictEqual(readdirSync(database.folder).toSorted(), ["cohorts.duckdb", "secret.csv"])
  })

  it("spills nothing to the disk", async () => {
    const connection = await locked()
    try {
      let outcome = "done"
      try {
        await connection.runAndReadAll("SELECT count(*) FROM (SELECT DISTINCT hash(a) FROM range(100000000) t(a))")
      } catch (cause) {
        outcome = cause instanceof Error ? cause.message : "unknown"
      }
      assert.match(outcome, /Out of Memory/)
      assert.isFalse(readdirSync(database.folder).some((name) => name.endsWith(".tmp")))
    } finally {
      connection.closeSync()
    }
  })
})
