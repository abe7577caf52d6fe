import { assert, describe, it } from "@effect/vitest"
import { DuckDBInstance } from "@duckdb/node-api"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect, Fiber } from "effect"
import { execFileSync, spawn } from "node:child_process"
import * as fc from "fast-check"
import { copyFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, vi } from "vitest"
import {
  describeTables,
  openStore,
  QueryError,
  queryDatabase,
  type QueryOptions,
  StoreError,
  views
} from "../src/index.ts"
import { allowedFunctions, allowedTableFunctions } from "../src/internal/query-rules.ts"
import { judgeTree } from "../src/internal/query-tree.ts"
import { makeDatabase, makeSerializer, sharedDatabase } from "./query-fixture.ts"
import { cohortId, temporaryFolder, withStore } from "./support.ts"

const database = sharedDatabase()

const ask = (sql: string, options: Omit<QueryOptions, "path" | "sql"> = {}) =>
  queryDatabase({ path: database.path, sql, timeout: 30_000, ...options })

const rowsOf = (sql: string, options?: Omit<QueryOptions, "path" | "sql">) =>
  Effect.map(ask(sql, options), ({ rows }) => rows)

const questions: Readonly<Record<string, ReadonlyArray<unknown>>> = {
  "SELECT count(*) FROM patients": [[4]],
  "FROM main.Patients SELECT DISTINCT mrn ORDER BY ALL;": [["M1"], ["M2"], ["M3"]],
  "select p.cohort_name, e.encounter_id from patients p join encounters e on e.patient_mrn = p.mrn and e.cohort_id = p.cohort_id":
    [["first", "E1"]],
  "WITH a AS (SELECT mrn FROM patients), b AS (SELECT count(*) AS n FROM a) SELECT n FROM b, (SELECT 1)": [[4]],
  "WITH patients AS (FROM patients WHERE mrn = 'M1') SELECT count(*) FROM patients": [[2]],
  "WITH RECURSIVE t AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM t WHERE x < 4) SELECT list(x) FROM t": [
    [[1, 2, 3, 4]]
  ],
  "WITH RECURSIVE t(a, b) USING KEY (a) AS (SELECT 1, 0 UNION SELECT a, b + 1 FROM t WHERE b < 3) FROM t": [[1, 3]],
  "SELECT mrn, row_number() OVER w FROM patients WHERE cohort_name = 'first' WINDOW w AS (ORDER BY mrn DESC) ORDER BY 2":
    [
      ["M2", 1],
      ["M1", 2]
    ],
  "SELECT mrn, lag(mrn, 1, 'none') OVER (ORDER BY mrn) FROM patients QUALIFY rank() OVER (ORDER BY mrn DESC) = 1": [
    ["M3", "M2"]
  ],
  "SELECT gender, count(*) FILTER (birth_date < DATE '1955-01-01'), grouping(gender) FROM patients GROUP BY ROLLUP (gender) ORDER BY ALL":
    [
      ["female", 2, 0],
      ["male", 0, 0],
      [null, 2, 1]
    ],
  "SELECT text->>'$.a[1].b', json_extract(text, '$.n')::VARCHAR, json_type(text::JSON) FROM json_values": [
    ["deep", "12345678901234567890", "OBJECT"]
  ],
  "SELECT sum(x) FILTER (x > 0) OVER (PARTITION BY x % 2 ORDER BY x ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) FROM range(5) t(x) ORDER BY ALL LIMIT 40%":
    [[1], [2]],
  "SELECT string_agg(mrn, '+' ORDER BY mrn DESC) FILTER (gender = 'female') FROM (SELECT DISTINCT mrn, gender FROM patients)":
    [["M3+M1"]],
  "SELECT name, entities->'patient', tags->>0 FROM cohorts ORDER BY name": [
    ["first", "2", "t1"],
    ["second", "2", "t2"]
  ],
  "SELECT key, value FROM cohorts, json_each(entities) WHERE name = 'second'": [["patient", "2"]],
  "SELECT t.x * 2 FROM unnest([1, 2]) AS t(x), range(1)": [[2], [4]],
  "SELECT unnest(list_transform([1, 2], lambda x: x + 1)), [y FOR y IN [1, 2] IF y > 1]": [
    [2, [2]],
    [3, [2]]
  ],
  "FROM (SELECT gender, cohort_name FROM patients) PIVOT (count(*) FOR gender IN ('female', 'male')) ORDER BY ALL": [
    ["first", 1, 1],
    ["second", 2, 0]
  ],
  "FROM (SELECT 1 AS a, 2 AS b) UNPIVOT (v FOR n IN (a, b))": [
    ["a", 1],
    ["b", 2]
  ],
  "SELECT 1 UNION ALL BY NAME SELECT 2 ORDER BY 2 LIMIT 1": [[null, 2]],
  "SELECT DISTINCT ON (gender) gender FROM patients ORDER BY gender": [["female"], ["male"]],
  "SELECT CASE WHEN EXISTS (FROM encounters) THEN TRY_CAST('x' AS INT) ELSE 1 END, 2 BETWEEN 1 AND 3, 1 IN (1, 2)": [
    [null, true, true]
  ],
  "SELECT mrn FROM patients WHERE mrn LIKE 'M%' AND given_name SIMILAR TO 'A.*' AND mrn = ANY (SELECT patient_mrn FROM encounters) LIMIT 1":
    [["M1"]],
  "SELECT * EXCLUDE (b) REPLACE (a + 1 AS a) FROM (SELECT 1 AS a, 2 AS b)": [[2]],
  "SELECT COLUMNS('^(given|family)_name$') FROM patients WHERE mrn = 'M2'": [["Bob", null]],
  "SELECT date_trunc('year', birth_date)::DATE, age(DATE '1960-01-01', birth_date)::VARCHAR, extract(year FROM birth_date) FROM patients WHERE mrn = 'M1' LIMIT 1":
    [["1950-01-01", "9 years 11 months 30 days", 1950]],
  "SELECT a.x, b.y FROM (VALUES (1), (5)) a(x) ASOF JOIN (VALUES (0, 'p'), (4, 'q')) b(t, y) ON a.x >= b.t ORDER BY 1":
    [
      [1, "p"],
      [5, "q"]
    ],
  "SELECT count(*) FROM patients USING SAMPLE 100%": [[4]],
  "SELECT column_name FROM (DESCRIBE cohort_tags)": [["cohort_id"], ["cohort_name"], ["tag"]],
  "SELECT column_name, min FROM (SUMMARIZE SELECT mrn FROM patients)": [["mrn", "M1"]],
  "SELECT count(*) FROM legacy_mappings l JOIN cohort_entities e USING (cohort_id, entity_id)": [[3]],
  "VALUES (1, 'a'), (2, NULL)": [
    [1, "a"],
    [2, null]
  ],
  "SELECT 'a' COLLATE NOCASE = 'A', (1, 2) = (1, 2), quantile_cont(x, 0.5) FROM range(4) t(x) GROUP BY ALL": [
    [true, true, 1.5]
  ]
}

describe.concurrent("a query may", () => {
  for (const [sql, rows] of Object.entries(questions)) {
    it.effect(`ask ${sql}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual<unknown>(yield* rowsOf(sql), rows)
      })
    )
  }
})

describe.concurrent("the values of a page", () => {
  const values: Readonly<Record<string, readonly [type: string, value: unknown]>> = {
    "9007199254740991": ["BIGINT", 9007199254740991],
    "9007199254740993": ["BIGINT", "9007199254740993"],
    "-170141183460469231731687303715884105727::HUGEINT": ["HUGEINT", "-170141183460469231731687303715884105727"],
    "7::UTINYINT": ["UTINYINT", 7],
    "425.00": ["DECIMAL(5,2)", "425.00"],
    "1e20::DOUBLE": ["DOUBLE", 1e20],
    "'NaN'::DOUBLE": ["DOUBLE", "NaN"],
    "'-0'::DOUBLE": ["DOUBLE", "-0"],
    "'-Infinity'::FLOAT": ["FLOAT", "-Infinity"],
    true: ["BOOLEAN", true],
    NULL: ["INTEGER", null],
    "DATE '2024-02-29'": ["DATE", "2024-02-29"],
    "'-infinity'::DATE": ["DATE", "-infinity"],
    "TIMESTAMP '2024-02-29 10:00:00.25'": ["TIMESTAMP", "2024-02-29T10:00:00.25"],
    "TIMESTAMPTZ '2024-02-29 10:00:00+02'": ["TIMESTAMP WITH TIME ZONE", "2024-02-29T08:00:00Z"],
    "TIME '10:00:01'": ["TIME", "10:00:01"],
    "INTERVAL 3 DAYS": ["INTERVAL", "3 days"],
    "'00000000-0000-4000-8000-000000000001'::UUID": ["UUID", "00000000-0000-4000-8000-000000000001"],
    "'\\xFF\\x00'::BLOB": ["BLOB", "/wA="],
    "chr(65279) || 'marked'": ["VARCHAR", "\uFEFFmarked"],
    "chr(65279) || repeat('long ', 9)": ["VARCHAR", `\uFEFF${"long ".repeat(9)}`],
    "'a' || chr(0) || 'b'": ["VARCHAR", "a\0b"],
    "'{\"a\": 1.50}'::JSON": ["JSON", '{"a": 1.50}'],
    "[[1, NULL], []]": ["INTEGER[][]", [[1, null], []]],
    "{'a': 1.5, 'b': [9007199254740993]}": [
      'STRUCT("a" DECIMAL(2,1), "b" BIGINT[])',
      { a: "1.5", b: ["9007199254740993"] }
    ],
    "MAP {'k': DATE '2024-01-01'}": ["MAP(VARCHAR, DATE)", [{ key: "k", value: "2024-01-01" }]],
    "'101'::BIT": ["BIT", "101"]
  }
  it.effect("are exact in JSON", () =>
    Effect.gen(function* () {
      const page = yield* ask(`SELECT ${Object.keys(values).join(", ")}`)
      const found = page.columns.map(({ type }, index) => [type, page.rows[0]?.[index]])
      assert.deepStrictEqual<unknown>(found, Object.values(values))
    })
  )

  it.effect("are refused where fields of a STRUCT have no names", () =>
    Effect.gen(function* () {
      for (const value of ["row(1, 2)", "[row(1, 2)]", "{'__proto__': 1, 'b': 2}"]) {
        const error = yield* Effect.flip(ask(`SELECT ${value} AS v`))
        assert.strictEqual(error.reason, "unnamed-fields", value)
      }
    })
  )

  it.effect("keep columns of the same name apart", () =>
    Effect.gen(function* () {
      const page = yield* ask('SELECT 1 AS a, 2 AS a, 3 AS "__proto__"')
      assert.deepStrictEqual(
        page.columns.map(({ name }) => name),
        ["a", "a", "__proto__"]
      )
      assert.deepStrictEqual(page.rows, [[1, 2, 3]])
    })
  )
})

describe.concurrent("pages", () => {
  const all = (sql: string, limit: number, maxBytes?: number) =>
    Effect.gen(function* () {
      const rows: Array<unknown> = []
      let cursor: string | undefined
      let pages = 0
      do {
        const page = yield* ask(sql, { limit, cursor, maxBytes })
        assert.strictEqual(page.truncated, page.nextCursor !== undefined)
        assert.isAtMost(page.rowCount, limit)
        assert.isAtLeast(page.rowCount, 1)
        rows.push(...page.rows)
        cursor = page.nextCursor
        pages++
      } while (cursor !== undefined)
      return { rows, pages }
    })

  it.effect("of any size give every row once and in order", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: 6000 }), fc.integer({ min: 900, max: 2500 }), (count, limit) =>
          Effect.runPromise(
            Effect.map(all(`SELECT x FROM range(${count}) t(x)`, limit), ({ pages, rows }) => {
              assert.deepStrictEqual<unknown>(
                rows,
                Array.from({ length: count }, (_, x) => [x])
              )
              assert.strictEqual(pages, Math.ceil(count / limit))
            })
          )
        ),
        { numRuns: 3, examples: [[4096, 2048]] }
      )
    )
  )

  it.effect("end early where their bytes do", () =>
    Effect.gen(function* () {
      const { pages, rows } = yield* all("SELECT repeat('x', 400) AS x FROM range(10)", 10_000, 1024)
      assert.strictEqual(rows.length, 10)
      assert.strictEqual(pages, 5)
    })
  )

  it.effect("of views fit together without an order", () =>
    Effect.gen(function* () {
      const whole = yield* rowsOf("SELECT pointer, mrn FROM patients")
      const { rows } = yield* all("SELECT pointer, mrn FROM patients", 1)
      assert.deepStrictEqual<unknown>(rows, whole)
    })
  )

  it.effect("are read to an end that the query never reaches by itself", () =>
    Effect.gen(function* () {
      const page = yield* ask("SELECT x FROM range(1000000000000) t(x)", { limit: 2 })
      assert.deepStrictEqual(page.rows, [[0], [1]])
      assert.isTrue(page.truncated)
    })
  )

  it.effect("are of one query, one cohort and one state of the database", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { path } = yield* makeDatabase()
        const sql = "SELECT mrn FROM patients"
        const one = (options: Partial<QueryOptions>) =>
          queryDatabase({ path, sql, limit: 1, timeout: 30_000, ...options })
        const { nextCursor: cursor } = yield* one({})
        assert.isDefined(cursor)
        assert.isDefined((yield* one({ cursor })).nextCursor)
        for (const other of [{ sql: `${sql} ` }, { cohort: "first" }]) {
          assert.strictEqual((yield* Effect.flip(one({ cursor, ...other }))).reason, "bad-cursor")
        }
        yield* withStore(
          { path },
          Effect.flatMap(DuckDbClient, (store) =>
            store.unsafe("INSERT INTO mallard.commits SELECT 2, uuid(), NULL, now(), 'links', 1, 1, ''")
          )
        )
        const error = yield* Effect.flip(one({ cursor }))
        assert.strictEqual(error.reason, "bad-cursor")
        assert.include(error.message, "Start again without a cursor")
      })
    )
  )
})

describe.concurrent("one cohort", () => {
  const filtered = views.filter(({ schema }) => schema === "main").map(({ name }) => name)
  const wide = ["migration_runs", "data_integrity_checks", "migration_backups"]

  it.effect("is found by name and by id, and the views have its rows only", () =>
    Effect.gen(function* () {
      const sql = "SELECT DISTINCT cohort_name, mrn FROM patients ORDER BY ALL"
      const expected = [
        ["second", "M1"],
        ["second", "M3"]
      ]
      assert.deepStrictEqual<unknown>(yield* rowsOf(sql, { cohort: "second" }), expected)
      assert.deepStrictEqual<unknown>(yield* rowsOf(sql, { cohort: cohortId(2) }), expected)
      assert.deepStrictEqual(yield* rowsOf("SELECT name FROM cohorts", { cohort: "first" }), [["first"]])
      assert.deepStrictEqual(yield* rowsOf("SELECT tag FROM cohort_tags", { cohort: "first" }), [["t1"]])
      assert.deepStrictEqual(yield* rowsOf("SELECT path FROM migration_items", { cohort: "first" }), [["first.json"]])
    })
  )

  it.effect("is all that any view shows, whatever the query does", () =>
    Effect.gen(function* () {
      const names = filtered.filter((name) => !wide.includes(name))
      const parts = names.map((name) => `SELECT count(*) FROM main.${name} WHERE cohort_id <> '${cohortId(1)}' OR true`)
      const total = yield* rowsOf(parts.join(" UNION ALL "), { cohort: cohortId(1) })
      const own = yield* rowsOf(
        names.map((name) => `SELECT count(*) FROM ${name} WHERE cohort_id = '${cohortId(1)}'`).join(" UNION ALL ")
      )
      assert.lengthOf(total, names.length)
      assert.deepStrictEqual(total, own)
    })
  )

  it.effect("hides the views that tell of all", () =>
    Effect.gen(function* () {
      for (const name of wide) {
        assert.strictEqual((yield* Effect.flip(ask(`FROM ${name}`, { cohort: "first" }))).reason, "not-allowed")
        assert.isAtLeast((yield* ask(`FROM ${name}`)).columns.length, 1)
      }
    })
  )
})

describe.concurrent("errors", () => {
  it.effect("tell where and what, and never a value", () =>
    Effect.gen(function* () {
      const messageOf = (sql: string) => Effect.map(Effect.flip(ask(sql)), ({ message }) => message)
      assert.strictEqual(
        yield* messageOf("SELECT 'ä',\n  read_text('x')"),
        "The query uses what queries may not use: a function that is not on the list (read_text), at line 2, column 3. " +
          "docs/query.md lists what they may."
      )
      assert.strictEqual(
        yield* messageOf("SELECT 'ä', mrm FROM patients"),
        "The query does not fit the views, at line 1, column 13. Is it mrn or member_id or marital_status? " +
          "DESCRIBE a view to see its columns and their types."
      )
      assert.strictEqual(
        yield* messageOf("SELECT mrn, count(*) FROM patients"),
        "A column is neither grouped by nor in an aggregate, at line 1, column 8. " +
          "Add GROUP BY ALL, or take the column in an aggregate such as any_value."
      )
      assert.strictEqual(
        yield* messageOf("SELECT secretname(1)"),
        "The query uses what queries may not use: a function that is not on the list, at line 1, column 8. " +
          "docs/query.md lists what they may."
      )
    })
  )

  it.effect("have DuckDB's words in their cause alone", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(ask("SELECT given_name::DATE FROM patients WHERE mrn = 'M1'"))
      assert.instanceOf(error, QueryError)
      assert.strictEqual(error.reason, "not-computable")
      assert.include(String(error.cause), "Ann")
      assert.notInclude(error.message, "Ann")
    })
  )
})

describe.concurrent("databases", () => {
  const reasonOf = (path: string) =>
    Effect.map(Effect.flip(queryDatabase({ path, sql: "FROM cohorts", timeout: 30_000 })), (error) => {
      assert.instanceOf(error, StoreError)
      return error.reason
    })

  for (const name of ["mallard.duckdb", "main.db", "store.memory.duckdb", 'it\'s "odd"; --.duckdb', "ünï.duckdb"]) {
    it.effect(`may be called ${name}`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { path } = yield* makeDatabase(name)
          assert.deepStrictEqual(
            (yield* queryDatabase({ path, sql: "SELECT name FROM cohorts ORDER BY 1", timeout: 30_000 })).rows,
            [["first"], ["second"]]
          )
        })
      )
    )
  }

  it.effect("that are none, missing or somebody else's are refused as stores are", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        assert.strictEqual(yield* reasonOf(join(folder, "none.duckdb")), "missing")
        assert.strictEqual(yield* reasonOf(folder), "bad-path")
        assert.include((yield* Effect.flip(queryDatabase({ path: folder, sql: "SELECT 1" }))).message, "it is a folder")
        assert.strictEqual(yield* reasonOf(`${folder}/a\0b`), "bad-path")
        writeFileSync(join(folder, "text.duckdb"), "this is a text, and not a short one")
        assert.strictEqual(yield* reasonOf(join(folder, "text.duckdb")), "not-a-database")
        copyFileSync(database.path, join(folder, "cut.duckdb"))
        writeFileSync(join(folder, "cut.duckdb"), Buffer.alloc(4096), { flag: "r+" })
        assert.strictEqual(yield* reasonOf(join(folder, "cut.duckdb")), "not-a-database")
        const foreign = join(folder, "foreign.duckdb")
        yield* Effect.promise(async () => {
          const instance = await DuckDBInstance.create(foreign)
          const connection = await instance.connect()
          await connection.run("CREATE TABLE theirs (i INT)")
          connection.closeSync()
          instance.closeSync()
        })
        assert.strictEqual(yield* reasonOf(foreign), "foreign")
      })
    )
  )

  it.effect("are locked while they are open for writing, and not while they are open for reading", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { path } = yield* makeDatabase()
        yield* withStore(
          { path },
          Effect.gen(function* () {
            assert.strictEqual(yield* reasonOf(path), "locked")
          })
        )
        yield* withStore(
          { path, readonly: true },
          Effect.gen(function* () {
            const page = yield* queryDatabase({ path, sql: "SELECT count(*) FROM cohorts", timeout: 30_000 })
            assert.deepStrictEqual(page.rows, [[2]])
          })
        )
      })
    )
  )
})

describe("interrupting a query", () => {
  it.effect("ends its process before it is done", () =>
    Effect.gen(function* () {
      const processes = () => process.getActiveResourcesInfo().filter((name) => name === "ProcessWrap").length
      const fiber = yield* Effect.forkChild(ask("SELECT count(*) FROM range(100000000000) a, range(100000) b"))
      yield* Effect.promise(() => vi.waitFor(() => assert.isAbove(processes(), 0), { timeout: 10_000 }))
      yield* Fiber.interrupt(fiber)
      yield* Effect.promise(() => vi.waitFor(() => assert.strictEqual(processes(), 0)))
    })
  )
})

describe("the process of a query", () => {
  it.effect("ends when the caller is gone", () =>
    Effect.promise(async () => {
      const source = `
        import { Effect } from "effect"
        import { queryDatabase } from "./src/index.ts"
        const sql = "SELECT count(*) FROM range(100000000000) a, range(100000) b"
        await Effect.runPromise(queryDatabase({ path: ${JSON.stringify(database.path)}, sql, timeout: 600000 }))
      `
      const caller = spawn(process.execPath, ["--input-type=module-typescript", "-e", source], {
        cwd: join(import.meta.dirname, ".."),
        stdio: "ignore"
      })
      const childOf = () => Number(execFileSync("pgrep", ["-P", String(caller.pid)], { encoding: "utf8" }).trim())
      const pid = await vi.waitFor(childOf, { timeout: 30_000, interval: 100 })
      assert.isAbove(pid, 0)
      // By then it is busy.
      await new Promise((done) => setTimeout(done, 1000))
      assert.isTrue(process.kill(pid, 0))
      caller.kill("SIGKILL")
      await vi.waitFor(() => assert.throws(() => process.kill(pid, 0)), { timeout: 10_000 })
    })
  )
})

describe("describeTables", () => {
  it.effect("names each view that queries may read, with its columns and what they mean", () =>
    Effect.gen(function* () {
      const tables = yield* Effect.scoped(
        Effect.flatMap(openStore({ path: database.path, readonly: true }), describeTables)
      )
      assert.deepStrictEqual(
        tables.map(({ name }) => name),
        views.filter(({ schema }) => schema === "main").map(({ name }) => name)
      )
      for (const { columns, comment, hasCohorts, name } of tables) {
        assert.isAbove(columns.length, 0, name)
        assert.isAbove(comment.length, 10, name)
        assert.strictEqual(
          hasCohorts,
          columns.some((column) => column.name === "cohort_id"),
          name
        )
      }
      const encounters = tables.find(({ name }) => name === "encounters")
      assert.strictEqual(encounters?.comment, "A row for each encounter of each cohort")
      const column = (wanted: string) => encounters?.columns.find(({ name }) => name === wanted)
      assert.deepStrictEqual(column("pointer"), {
        name: "pointer",
        type: "VARCHAR",
        comment: "JSON pointer of the place in that file"
      })
      assert.strictEqual(column("admission_time")?.type, "TIMESTAMP")
      assert.match(column("admission_time_zone")?.comment ?? "", /none, utc or offset/)
    })
  )
})

describe("the judgement of a tree", () => {
  type Tree = Record<string, unknown>
  const isTree = (value: unknown): value is Tree => typeof value === "object" && value !== null

  /** Every object in a tree, so that it can be changed in place. */
  const objectsIn = (value: unknown): ReadonlyArray<Tree> =>
    isTree(value) ? [...(Array.isArray(value) ? [] : [value]), ...Object.values(value).flatMap(objectsIn)] : []

  const published = new Set(views.map(({ name }) => name))
  const isAdmitted = (tree: unknown) => "views" in judgeTree(JSON.stringify(tree), published)

  /** Changes each object that `pick` picks, one at a time, and gives the number of trees that were judged. */
  const changed = async (pick: (tree: Tree) => boolean, change: (tree: Tree) => Tree) => {
    const { serialize } = await makeSerializer()
    let count = 0
    for (const sql of Object.keys(questions)) {
      const whole: unknown = JSON.parse(await serialize(sql))
      assert.isTrue(isAdmitted(whole), sql)
      for (const found of objectsIn(whole).filter(pick)) {
        const before = { ...found }
        for (const key of Object.keys(found)) delete found[key]
        Object.assign(found, change(before))
        assert.isFalse(isAdmitted(whole), `${sql}: ${JSON.stringify(found).slice(0, 300)}`)
        for (const key of Object.keys(found)) delete found[key]
        Object.assign(found, before)
        count++
      }
      assert.isTrue(isAdmitted(whole), sql)
    }
    return count
  }

  const isExpression = (tree: Tree) => typeof tree["class"] === "string"
  const kinds = /^(?:.*_NODE|.*_MODIFIER|BASE_TABLE|SUBQUERY|JOIN|EMPTY|TABLE_FUNCTION|EXPRESSION_LIST|PIVOT|SHOW_REF)$/
  const isNode = (tree: Tree) => isExpression(tree) || kinds.test(String(tree["type"]))

  it("finds a function that is not on the list in the place of any expression", async () => {
    const call = { class: "FUNCTION", type: "FUNCTION", function_name: "read_text", schema: "", children: [] }
    assert.isAbove(await changed(isExpression, () => call), 200)
  })

  it("finds a table that is not published in the place of any table", async () => {
    const table = { type: "BASE_TABLE", schema_name: "", table_name: "duckdb_settings", catalog_name: "" }
    const isTable = (tree: Tree) => kinds.test(String(tree["type"])) && "alias" in tree && !isExpression(tree)
    assert.isAbove(await changed(isTable, () => table), 60)
  })

  it("refuses every node that has something more in it than expected", async () => {
    assert.isAbove(await changed(isNode, (tree) => ({ ...tree, surprise: { class: "CONSTANT" } })), 300)
  })

  it("refuses every node of an unknown sort", async () => {
    const change = (tree: Tree) => ({ ...tree, [isExpression(tree) ? "class" : "type"]: "SURPRISE" })
    assert.isAbove(await changed(isNode, change), 300)
  })
})

describe("the list of functions", () => {
  interface Known {
    readonly name: string
    readonly isTable: boolean
  }
  let known: ReadonlyArray<Known> = []
  let serialize: (sql: string) => Promise<string>

  beforeAll(async () => {
    const { connection, serialize: made } = await makeSerializer()
    serialize = made
    const reader = await connection.runAndReadAll(
      "SELECT DISTINCT lower(function_name), function_type IN ('table', 'table_macro', 'pragma') FROM duckdb_functions()"
    )
    known = reader.getRows().map(([name, isTable]) => ({ name: String(name), isTable: isTable === true }))
  })

  const verdict = async (sql: string) => {
    const judged = judgeTree(await serialize(sql), new Set())
    return "reason" in judged ? `${judged.reason} ${judged.construct}` : "admitted"
  }
  const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`

  it("has only what DuckDB has", () => {
    const missing = (list: ReadonlySet<string>, isTable: boolean) => {
      const names = new Set(known.filter((found) => found.isTable === isTable).map(({ name }) => name))
      return [...list].filter((name) => !names.has(name))
    }
    // It is a table to DuckDB, and the parser takes it as a function too.
    assert.deepStrictEqual(missing(allowedFunctions, false), ["unnest"])
    assert.deepStrictEqual(missing(allowedTableFunctions, true), [])
  })

  it("admits what is on it and refuses everything else that DuckDB has", async () => {
    assert.isAbove(known.length, 800)
    for (const { isTable, name } of known) {
      const [list, sql] = isTable
        ? [allowedTableFunctions, `FROM ${quoted(name)}(1)`]
        : [allowedFunctions, `SELECT ${quoted(name)}(1)`]
      const expected = list.has(name) ? "admitted" : `not-allowed ${isTable ? "table-function" : "function"}`
      assert.strictEqual(await verdict(sql), expected, name)
      assert.notStrictEqual(await verdict(`SELECT pg_catalog.${quoted(name)}(1)`), "admitted", name)
      assert.notStrictEqual(await verdict(`FROM system.main.${quoted(name)}(1)`), "admitted", name)
    }
  })
})
