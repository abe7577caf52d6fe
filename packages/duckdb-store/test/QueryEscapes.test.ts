import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, vi } from "vitest"
import { QueryError, queryDatabase, type QueryOptions, type QueryReason, views } from "../src/index.ts"
import { judgeTree } from "../src/internal/query-tree.ts"
import { makeSerializer, sharedDatabase } from "./query-fixture.ts"

const database = sharedDatabase()
const SECRET = "hunter2"
let before = ""
let processesBefore = 0

const digest = () => createHash("sha256").update(readFileSync(database.path)).digest("hex")
const processes = () => process.getActiveResourcesInfo().filter((name) => name === "ProcessWrap").length
const files = () => readdirSync(database.folder).toSorted()

beforeAll(() => {
  writeFileSync(join(database.folder, "secret.csv"), `word\n${SECRET}\n`)
  writeFileSync(join(database.folder, "secret.json"), JSON.stringify({ word: SECRET }))
  before = digest()
  processesBefore = processes()
})

type Attempt = readonly [sql: string, reason: QueryReason, options?: Omit<QueryOptions, "path" | "sql">]

const refused = (...texts: ReadonlyArray<string>): ReadonlyArray<Attempt> =>
  texts.map((sql) => [sql, "not-allowed"] as const)
const noQuery = (...texts: ReadonlyArray<string>): ReadonlyArray<Attempt> =>
  texts.map((sql) => [sql, "not-a-query"] as const)

const MIB = 1024 * 1024
const small = { memory: 144 * MIB, timeout: 55_000 }
const short = { timeout: 1200 }
const nested = (open: string, core: string, close: string, times: number) =>
  `SELECT ${open.repeat(times)}${core}${close.repeat(times)}`

// `@` stands for the folder of the database.
const attempts: Readonly<Record<string, ReadonlyArray<Attempt>>> = {
  "reading files": refused(
    "FROM read_text('@/secret.csv')",
    "FROM read_blob('@/secret.csv')",
    "FROM read_csv('@/secret.csv')",
    "FROM read_csv_auto('@/secret.csv', header = true)",
    "FROM sniff_csv('@/secret.csv')",
    "FROM read_json('@/secret.json')",
    "FROM read_json_auto('@/secret.json')",
    "FROM read_json_objects('@/secret.json')",
    "FROM read_ndjson('@/secret.json')",
    "FROM read_parquet('@/secret.parquet')",
    "FROM parquet_scan('@/secret.parquet')",
    "FROM parquet_metadata('@/secret.parquet')",
    "FROM parquet_schema('@/secret.parquet')",
    "FROM parquet_kv_metadata('@/secret.parquet')",
    "FROM read_duckdb('@/cohorts.duckdb')",
    "FROM glob('@/*')",
    "FROM '@/secret.csv'",
    'FROM "@/secret.json"',
    "FROM '/etc/passwd'",
    "FROM '/proc/self/environ'",
    "FROM '/dev/stdin'",
    "FROM 'https://example.org/secret.csv'",
    "FROM 's3://bucket/secret.parquet'",
    'FROM main."@/secret.csv"',
    "SELECT read_text('@/secret.csv')",
    "SELECT getenv('HOME')",
    "FROM arrow_scan(1, 2, 3)",
    "FROM seq_scan('patients')"
  ),
  "reading files from places deep inside": refused(
    "SELECT (SELECT content FROM read_text('@/secret.csv'))",
    "WITH a AS (FROM read_text('@/secret.csv')) FROM a",
    "WITH a AS MATERIALIZED (SELECT 1), b AS (FROM '@/secret.csv') FROM a",
    "WITH RECURSIVE a AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM a, glob('*') WHERE x < 3) FROM a",
    "SELECT 1 WHERE EXISTS (FROM '@/secret.csv')",
    "SELECT 1 ORDER BY (SELECT max(content) FROM read_text('@/secret.csv'))",
    "SELECT 1 LIMIT (SELECT count(*) FROM glob('@/*'))",
    "SELECT count(*) FILTER (WHERE 'a' IN (FROM '@/secret.csv')) FROM patients",
    "SELECT sum(1) OVER (ORDER BY (SELECT 1 FROM '@/secret.csv')) FROM patients",
    "SELECT row_number() OVER (ROWS BETWEEN (SELECT 1 FROM glob('*')) PRECEDING AND CURRENT ROW) FROM patients",
    "SELECT list_transform([1], lambda x: (SELECT max(content) FROM read_text('@/secret.csv')))",
    "SELECT CASE WHEN true THEN (SELECT content FROM read_text('@/secret.csv')) END",
    "VALUES ((SELECT content FROM read_text('@/secret.csv')))",
    "FROM patients p, LATERAL (FROM read_text('@/secret.csv')) f",
    "FROM patients p JOIN '@/secret.csv' f ON true",
    "FROM patients p JOIN encounters e ON p.mrn = (SELECT max(content) FROM read_text('@/secret.csv'))",
    "SELECT 1 UNION ALL SELECT 2 EXCEPT (SELECT size FROM read_blob('@/secret.csv'))",
    "SELECT gender FROM patients GROUP BY (SELECT 1 FROM '@/secret.csv'), gender",
    "SELECT gender FROM patients GROUP BY ALL HAVING (SELECT count(*) FROM '@/secret.csv') > 0",
    "SELECT mrn FROM patients QUALIFY row_number() OVER () = (SELECT 1 FROM '@/secret.csv')",
    "SELECT DISTINCT ON ((SELECT 1 FROM '@/secret.csv')) mrn FROM patients",
    "SELECT * REPLACE ((SELECT max(content) FROM read_text('@/secret.csv')) AS mrn) FROM patients",
    "SELECT COLUMNS(c -> (SELECT count(*) > 0 FROM '@/secret.csv')) FROM patients",
    "FROM (FROM '@/secret.csv') PIVOT (count(*) FOR word IN ('a'))",
    "FROM '@/secret.csv' UNPIVOT (v FOR n IN (word))",
    "FROM range((SELECT size FROM read_blob('@/secret.csv')))",
    "FROM json_each((SELECT content FROM read_text('@/secret.json')))",
    "FROM unnest((SELECT list(file) FROM glob('@/*')))",
    "SELECT string_agg(mrn, ',' ORDER BY (SELECT 1 FROM '@/secret.csv')) FROM patients",
    "SELECT (SELECT [(SELECT content FROM read_text('@/secret.csv'))][1]::INT BETWEEN 1 AND 2)",
    "DESCRIBE FROM read_csv('@/secret.csv')",
    "DESCRIBE '@/secret.csv'",
    "SUMMARIZE FROM '@/secret.csv'"
  ),
  "writing files": noQuery(
    "COPY (SELECT 1) TO '@/out.csv'",
    "COPY (SELECT 1) TO '/dev/stdout'",
    "COPY patients TO '@/out.parquet' (FORMAT parquet)",
    "COPY patients FROM '@/secret.csv'",
    "COPY FROM DATABASE store TO memory",
    "EXPORT DATABASE '@/out'",
    "IMPORT DATABASE '@/out'"
  ),
  "other databases and extensions": noQuery(
    "ATTACH '@/other.duckdb'",
    "ATTACH ':memory:' AS other",
    "ATTACH '@/cohorts.duckdb' AS again (READ_WRITE)",
    "DETACH store",
    "USE store",
    "INSTALL httpfs",
    "FORCE INSTALL spatial FROM community",
    "LOAD '@/evil.duckdb_extension'",
    "UPDATE EXTENSIONS",
    "CREATE SECRET s (TYPE s3)"
  ),
  "changing anything": [
    ...noQuery(
      "CREATE TABLE t (i INT)",
      "CREATE TEMP TABLE t AS FROM patients",
      "CREATE OR REPLACE VIEW patients AS SELECT 1",
      "CREATE MACRO sha256(x) AS 'same'",
      "CREATE SEQUENCE s",
      "INSERT INTO patients DEFAULT VALUES",
      "UPDATE patients SET mrn = 'x'",
      "DELETE FROM mallard.patients",
      "TRUNCATE mallard.patients",
      "MERGE INTO patients USING encounters ON true WHEN MATCHED THEN DELETE",
      "DROP VIEW patients",
      "ALTER TABLE mallard.patients ADD COLUMN x INT",
      "COMMENT ON TABLE mallard.patients IS 'x'",
      "CHECKPOINT",
      "VACUUM",
      "BEGIN",
      "PREPARE p AS SELECT 1",
      "EXPLAIN ANALYZE SELECT 1",
      "PIVOT patients ON gender"
    ),
    ["WITH gone AS (DELETE FROM mallard.patients RETURNING *) FROM gone", "syntax"],
    ...refused("SELECT nextval('s')", "FROM checkpoint()", "FROM force_checkpoint()", "SELECT setseed(0.5)")
  ],
  "settings and the state of the engine": [
    ...noQuery(
      "SET lock_configuration = false",
      "SET memory_limit = '100GB'",
      "RESET enable_external_access",
      "SET VARIABLE x = 1",
      "PRAGMA enable_profiling = 'json'",
      "PRAGMA database_list",
      "CALL enable_logging()",
      "CALL pragma_version()"
    ),
    ...refused(
      "FROM enable_logging(storage = 'file', storage_config = {'path': '@/log'})",
      "FROM enable_profiling()",
      "FROM enable_peg_parser()",
      "FROM truncate_duckdb_logs()",
      "FROM duckdb_logs",
      "FROM duckdb_settings()",
      "FROM duckdb_secrets()",
      "FROM which_secret('s3://x', 's3')",
      "FROM duckdb_databases()",
      "FROM pragma_storage_info('patients')",
      "FROM pragma_database_size()",
      "FROM test_all_types()",
      "SELECT current_setting('temp_directory')",
      "SELECT getvariable('x')",
      "SELECT write_log('x')",
      "SELECT current_query()",
      "SELECT pg_sleep(100)",
      "SELECT sleep_ms(100000)",
      "SELECT error('loud')"
    )
  ],
  "SQL inside of SQL": refused(
    "FROM query('FROM duckdb_settings()')",
    "FROM query_table('duckdb_settings')",
    "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "SELECT json_serialize_plan('FROM patients')",
    "SELECT json_deserialize_sql(json_serialize_sql('SELECT 1'))",
    "FROM sql_auto_complete('SEL')",
    "SELECT list_aggregate([1], 'sum')",
    "SELECT array_aggr([1], 'histogram')",
    "SELECT finalize('x'::BLOB)",
    "SELECT json_structure('{}')",
    "SELECT json_merge_patch('{}', '{}')"
  ),
  "names that lead elsewhere": refused(
    "FROM mallard.patients",
    "FROM store.mallard.patients",
    "FROM store.main.patients",
    "FROM memory.main.patients",
    "FROM mallard.main.patients",
    "FROM duckdb_settings",
    "FROM main.duckdb_settings",
    "FROM system.main.duckdb_settings",
    "FROM temp.patients",
    "FROM sqlite_master",
    "FROM pg_tables",
    "FROM pg_catalog.pg_tables",
    "FROM information_schema.tables",
    "SELECT pg_catalog.pg_get_viewdef(1)",
    "SELECT pg_catalog.format_type(1, 2)",
    "FROM nothing_of_that_name",
    // A common table expression is seen only where it is in scope.
    "SELECT (WITH duckdb_settings AS (SELECT 1) SELECT 1) FROM duckdb_settings",
    "WITH duckdb_settings AS (FROM duckdb_settings) FROM duckdb_settings",
    "WITH a AS (FROM duckdb_settings), duckdb_settings AS (SELECT 1) FROM a",
    "WITH RECURSIVE duckdb_settings AS (SELECT name FROM duckdb_settings UNION ALL SELECT 'x') FROM duckdb_settings",
    "WITH RECURSIVE duckdb_settings AS (FROM duckdb_settings) FROM duckdb_settings",
    "WITH duckdb_settings AS (SELECT 1) FROM main.duckdb_settings",
    // The Kelvin sign is a small k to Unicode, and another letter to DuckDB.
    "WITH duc\u212Adb_settings AS (SELECT 1) FROM duckdb_settings",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "SHOW DATABASES",
    "FROM (SHOW TABLES)",
    "DESCRIBE duckdb_settings",
    "SUMMARIZE mallard.patients"
  ),
  "other things that are not on the list": refused(
    "SELECT $1",
    "SELECT ?",
    "SELECT $name",
    "SELECT 1::VARIANT",
    "SELECT '[1]'::JSON::VARIANT[]",
    "SELECT NULL::STRUCT(a INT, b VARIANT)",
    "SELECT 'POINT(0 0)'::GEOMETRY",
    "SELECT 1::no_such_type",
    "SELECT 'a'::ENUM('a', 'b')",
    "SELECT 'a' COLLATE de",
    "SELECT mrn COLLATE nocase.tr FROM patients",
    "FROM patients AT (VERSION => 1)",
    "SELECT DEFAULT",
    "SELECT sum(1) EXPORT_STATE FROM patients",
    "SELECT 1e400"
  ),
  "more or less than one statement": [
    ["", "not-one-statement"],
    [" ;\n; ", "not-one-statement"],
    ["-- nothing", "not-one-statement"],
    ["SELECT 1; SELECT 2", "not-one-statement"],
    ["SELECT 1;\n--\nFROM patients;", "not-one-statement"],
    ["SELECT 1; DROP VIEW patients", "not-a-query"],
    ["/* */ COMMIT; SELECT 1", "not-a-query"],
    ["SELEC 1", "syntax"],
    ["SELECT 1 FROM", "syntax"],
    ["SELECT 'open", "syntax"],
    ["SELECT 1\0; FROM patients", "syntax"],
    ["SELECT '\ud800'", "syntax"]
  ],
  "bombs for the parser and the planner": [
    [`SELECT '${"x".repeat(65 * 1024)}'`, "too-complex"],
    [nested("(", "1", ")", 10_000), "syntax"],
    [nested("[", "1", "]", 3000), "too-complex"],
    [nested("NOT ", "true", "", 5000), "too-complex"],
    [nested("1+", "1", "", 900), "too-complex"],
    [nested("abs(", "1", ")", 400), "too-complex"],
    [nested("(SELECT ", "1", ")", 300), "too-complex"],
    [nested("CASE WHEN true THEN ", "1", " END", 400), "too-complex"],
    [`SELECT 1::INT${"[]".repeat(5000)}`, "too-complex"],
    [`${"FROM (".repeat(400)}FROM patients${")".repeat(400)}`, "too-complex"],
    [`${"WITH a AS (".repeat(300)}SELECT 1${") FROM a".repeat(300)}`, "too-complex"],
    [
      `FROM patients ${Array.from({ length: 40 }, (_, i) => `JOIN patients p${i} USING (mrn)`).join(" ")}`,
      "timeout",
      short
    ]
  ],
  "endless work": [
    ["WITH RECURSIVE t AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM t) SELECT max(x) FROM t", "timeout", short],
    ["WITH RECURSIVE t AS (SELECT 1 AS x UNION ALL SELECT x FROM t) SELECT count(*) FROM t", "timeout", short],
    ["SELECT count(*) FROM range(100000000000) a, range(100000) b", "timeout", short],
    ["SELECT levenshtein(repeat('a', 300000), repeat('b', 300000))", "timeout", short],
    ["SELECT sum(hash(a.range)) FROM range(1000000000000) a", "timeout", short]
  ],
  "huge values and results": [
    ["SELECT repeat('x', 2000000)", "row-too-large", { timeout: 30_000 }],
    ["SELECT range(200000)", "row-too-large", { timeout: 30_000 }],
    ["SELECT length(repeat('x', 4000000000))", "memory", small],
    ["SELECT len(range(1000000000))", "memory", small],
    ["SELECT length(printf('%2000000000d', 1))", "memory", small],
    ["SELECT length(lpad('a', 2000000000, 'b'))", "memory", small],
    ["SELECT len(list(x)) FROM range(1000000000) t(x)", "memory", small],
    ["SELECT length(string_agg(x::VARCHAR, repeat('a', 1000))) FROM range(10000000) t(x)", "memory", small],
    ["SELECT count(*) FROM (SELECT DISTINCT md5(x::VARCHAR) FROM range(1000000000) t(x))", "memory", small],
    ["FROM range(1000000000) t(x) ORDER BY hash(x)", "memory", small]
  ],
  "crashes of the engine": [
    [`SELECT from_json('1', repeat('[', 100000) || '"json"' || repeat(']', 100000))`, "crashed"],
    [`SELECT json_transform('1', repeat('{"a":', 100000) || '"json"' || repeat('}', 100000))`, "crashed"]
  ],
  "values that cannot be": [
    [`SELECT '${SECRET}'::INT`, "not-computable"],
    [`SELECT CAST(mrn || '${SECRET}' AS DATE) FROM patients`, "not-computable"],
    ["SELECT 170141183460469231731687303715884105727::HUGEINT * 2", "not-computable"],
    [`SELECT strptime('${SECRET}', '%d')`, "not-computable"],
    [`SELECT json_extract('{"${SECRET}', '$.a')`, "not-computable"],
    [`SELECT "${SECRET}" FROM patients`, "not-understood"],
    [`SELECT ${SECRET} FROM (SELECT 1 AS ${SECRET}x)`, "not-understood"],
    [`SELECT ${SECRET}(1)`, "not-allowed"],
    [`FROM ${SECRET}`, "not-allowed"]
  ],
  "cursors and limits": [
    ["SELECT 1", "bad-cursor", { cursor: "" }],
    ["SELECT 1", "bad-cursor", { cursor: "'; DROP VIEW patients" }],
    ["SELECT 1", "bad-cursor", { cursor: Buffer.from(`-1.${"0".repeat(32)}`).toString("base64url") }],
    ["SELECT 1", "bad-cursor", { cursor: Buffer.from(`1.${"0".repeat(32)}`).toString("base64url") }],
    ["SELECT 1", "bad-limit", { limit: 0 }],
    ["SELECT 1", "bad-limit", { limit: 1e9 }],
    ["SELECT 1", "bad-limit", { limit: 1.5 }],
    ["SELECT 1", "bad-limit", { timeout: Infinity }],
    ["SELECT 1", "bad-limit", { memory: 1 }],
    ["SELECT 1", "bad-limit", { maxBytes: 2 ** 40 }],
    ["SELECT 1", "no-such-cohort", { cohort: "' OR true --" }],
    ["SELECT 1", "no-such-cohort", { cohort: "first\0" }],
    ["FROM migration_runs", "not-allowed", { cohort: "first" }]
  ]
}

/** Starting a process takes a while: of these groups every fourth is run, and all are judged here as there. */
const mostlyJudged = new Set([
  "reading files from places deep inside",
  "SQL inside of SQL",
  "names that lead elsewhere",
  "other things that are not on the list"
])

const run = Object.entries(attempts).map(
  ([title, group]) => [title, mostlyJudged.has(title) ? group.filter((_, index) => index % 4 === 0) : group] as const
)

describe.concurrent("a query cannot escape", () => {
  for (const [title, group] of run) {
    describe(`by ${title}`, () => {
      for (const [sql, reason, options] of group) {
        it.effect(`${reason}: ${JSON.stringify(sql.slice(0, 90)).slice(1, -1)} ${JSON.stringify(options ?? {})}`, () =>
          Effect.gen(function* () {
            const text = sql.replaceAll("@", database.folder)
            const error = yield* Effect.flip(
              queryDatabase({ path: database.path, sql: text, timeout: 30_000, ...options })
            )
            assert.instanceOf(error, QueryError)
            assert.strictEqual(error.reason, reason, error.message)
            assert.notInclude(error.message, SECRET)
            assert.notInclude(error.message, database.folder)
          })
        )
      }
    })
  }
})

describe("the judgement", () => {
  const published = new Set(views.filter(({ schema }) => schema === "main").map(({ name }) => name))
  let serialize: (sql: string) => Promise<string>
  beforeAll(async () => {
    serialize = (await makeSerializer()).serialize
  })
  for (const title of mostlyJudged) {
    it(`is against all attempts by ${title}`, async () => {
      for (const [sql, reason] of attempts[title] ?? []) {
        const judged = judgeTree(await serialize(sql), published)
        assert.strictEqual("reason" in judged ? judged.reason : "admitted", reason, sql)
      }
    })
  }
})

describe("after all attempts to escape", () => {
  it("there were more than two hundred of them, most of them run", () => {
    assert.isAbove(Object.values(attempts).flat().length, 200)
    assert.isAbove(run.flatMap(([, group]) => group).length, 150)
  })

  it.effect("the caller lives, no process is left, no file was made, and the database is the same", () =>
    Effect.gen(function* () {
      // Node counts a process a moment longer than it lives.
      yield* Effect.promise(() => vi.waitFor(() => assert.strictEqual(processes(), processesBefore)))
      assert.deepStrictEqual(files(), ["cohorts.duckdb", "secret.csv", "secret.json"])
      assert.strictEqual(digest(), before)
      const page = yield* queryDatabase({ path: database.path, sql: "SELECT count(*) FROM patients" })
      assert.deepStrictEqual(page.rows, [[4]])
    })
  )
})
