import { spawn } from "node:child_process"
import { mkdtempSync, openSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it, vi } from "vitest"
import {
  cohort,
  folderCohort,
  outcomeOf,
  program,
  programFromSources,
  run,
  runOther,
  start,
  writeFiles
} from "./support.ts"

const db = ["--db", "test.duckdb"]

let folder = ""

// Nothing in this file changes the database.
beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "mallard-query-")))
  writeFiles(folder, { [cohort.file]: cohort.text, ...folderCohort })
  const outcome = await run(folder, ["migrate", cohort.file, "saved", ...db])
  assert.strictEqual(outcome.code, 0, outcome.stdout + outcome.stderr)
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe("mallard query", () => {
  it("is told what is no query, wherever it comes from", async () => {
    const none = "mallard: There is no query.\n  mallard query --tables --db"
    for (const sql of ["", " ;; ", "/* SELECT 1 */ -- SELECT 1", "-"]) {
      const outcome = await run(folder, ["query", ...db, "--", sql])
      assert.strictEqual(outcome.code, 2, sql)
      assert.include(outcome.stderr, none, sql)
    }
    const comment = await run(folder, ["query", "-- all\nSELECT 1 AS one", ...db])
    assert.strictEqual(comment.code, 2)
    assert.include(comment.stderr, "  SQL that begins with a comment is given after -- at the end of the line.\n")
    const unknown = await run(folder, ["query", "--cohort=Two walk-ins", "--nope", ...db])
    assert.notInclude(unknown.stderr, "a comment")
    assert.strictEqual(
      (await run(folder, ["query", ...db, "--csv", "--", "-- all\nSELECT 1 AS one"])).stdout,
      "one\r\n1\r\n"
    )
    const two = await run(folder, ["query", "SELECT 1; SELECT 2", ...db])
    assert.include(two.stderr, "The SQL is not exactly one statement.")
    const limit = await run(folder, ["query", "SELECT 1", "--limit", "x", ...db])
    assert.include(limit.stderr, 'Invalid value for flag --limit: "x". Expected a number\n')
  })

  it("takes SQL from standard input as files of text are taken, and refuses what is none", async () => {
    const typed = async (bytes: Buffer) => {
      const file = join(folder, "asked.sql")
      writeFileSync(file, bytes)
      const child = spawn(process.execPath, [program, "query", "-", "--csv", ...db], {
        cwd: folder,
        env: { PATH: process.env["PATH"], HOME: folder },
        stdio: [openSync(file, "r"), "pipe", "pipe"]
      })
      return outcomeOf(child)
    }
    assert.strictEqual((await typed(Buffer.from("\ufeffSELECT 'ë' AS e", "utf16le"))).stdout, "e\r\në\r\n")
    const latin = await typed(Buffer.from("SELECT 'ë' AS e", "latin1"))
    assert.strictEqual(latin.code, 2)
    assert.include(latin.stderr, "Cannot read the query from standard input: it is not UTF-8 (at byte 8).")
  })

  it("prints rows for people, for programs and for spreadsheets", async () => {
    const sql = "SELECT pointer, birth_date, 1.50 AS n, ['a,b', NULL] AS l FROM patients ORDER BY pointer LIMIT 2"
    const people = await run(folder, ["query", sql, ...db])
    assert.deepStrictEqual(people, {
      code: 0,
      stdout: [
        "pointer      birth_date     n  l",
        '/patients/0  1961-02-03  1.50  ["a,b",null]',
        '/patients/0  NULL        1.50  ["a,b",null]',
        ""
      ].join("\n"),
      stderr: "2 rows\n"
    })
    const csv = await run(folder, ["sql", sql, "--csv", ...db])
    assert.deepStrictEqual(csv, {
      code: 0,
      stdout: [
        "pointer,birth_date,n,l",
        '/patients/0,1961-02-03,1.50,"[""a,b"",null]"',
        '/patients/0,,1.50,"[""a,b"",null]"',
        ""
      ].join("\r\n"),
      stderr: ""
    })
    const json = await run(folder, ["query", sql, "--json", ...db])
    assert.strictEqual(json.stderr, "")
    assert.deepStrictEqual(JSON.parse(json.stdout), {
      columns: [
        { name: "pointer", type: "VARCHAR" },
        { name: "birth_date", type: "DATE" },
        { name: "n", type: "DECIMAL(3,2)" },
        { name: "l", type: "VARCHAR[]" }
      ],
      rows: [
        ["/patients/0", "1961-02-03", "1.50", ["a,b", null]],
        ["/patients/0", null, "1.50", ["a,b", null]]
      ],
      row_count: 2,
      truncated: false,
      next_cursor: null
    })
  })

  it("lets no value steer the terminal, and cuts long ones", async () => {
    const sql = `SELECT chr(27) || '[31m' AS a, 'x' || chr(10) || 'y' AS "b${"\u001b"}", repeat('é', 99) AS c`
    const { stdout } = await run(folder, ["query", sql, ...db])
    assert.strictEqual(stdout.split("\n").length, 3)
    assert.notInclude(stdout, "\u001b")
    assert.include(stdout, String.raw`\u{1b}[31m`)
    assert.include(stdout, `${"é".repeat(59)}…`)
  })

  it("goes on with the cursor that it names, and reads SQL from standard input", async () => {
    const sql = "SELECT x FROM range(3) t(x)"
    const first = await run(folder, ["query", sql, "--limit", "2", "--csv", ...db])
    assert.strictEqual(first.stdout, "x\r\n0\r\n1\r\n")
    const [, cursor = ""] =
      /^These are 2 rows, and there are more: --cursor (\S+) gets the next\.\n$/.exec(first.stderr) ?? []
    const command = `printf '%s' '${sql}' | '${process.execPath}' '${program}' query - --cursor ${cursor} --db test.duckdb`
    assert.deepStrictEqual(await runOther("sh", ["-c", command], folder), {
      code: 0,
      stdout: "x\n2\n",
      stderr: "1 row\n"
    })
    const stale = await run(folder, ["query", `${sql} `, "--cursor", cursor, ...db])
    assert.strictEqual(stale.code, 2)
    assert.match(stale.stderr, /^mallard: The cursor belongs to another query, .* Start again without a cursor\.\n$/)
  })

  it("sees one cohort only with --cohort", async () => {
    const sql = "SELECT count(*) FROM patients"
    const counts = ["Diabetes 2024", "bob"].map((name) => run(folder, ["query", sql, "--cohort", name, "--csv", ...db]))
    assert.deepStrictEqual(
      (await Promise.all(counts)).map(({ stdout }) => stdout),
      ["count_star()\r\n2\r\n", "count_star()\r\n1\r\n"]
    )
    const none = await run(folder, ["query", sql, "--cohort", "alice", ...db])
    assert.strictEqual(none.code, 1)
    assert.strictEqual(
      none.stderr,
      "mallard: There is no cohort of that name or id. List the cohorts to see their names.\n"
    )
  })

  it("lists the views with their columns", async () => {
    const people = await run(folder, ["query", "--tables", ...db])
    assert.strictEqual(people.code, 0)
    assert.match(people.stdout, /^patients {2}A row for each patient of each cohort$/m)
    assert.match(people.stdout, /^ {2}pointer VARCHAR {2}JSON pointer of the place in that file$/m)
    const tables: ReadonlyArray<{ readonly name: string; readonly has_cohorts: boolean }> = JSON.parse(
      (await run(folder, ["query", "--tables", "--json", ...db])).stdout
    )
    assert.includeMembers(
      tables.map(({ name }) => name),
      ["cohorts", "patients", "claim_lines", "migration_runs"]
    )
    assert.isTrue(tables.find(({ name }) => name === "patients")?.has_cohorts)
    assert.isFalse(tables.find(({ name }) => name === "migration_runs")?.has_cohorts)
  })

  it("refuses with a reason, an exit code, and nothing on stdout but the error that --json asks for", async () => {
    const attempts: ReadonlyArray<readonly [args: ReadonlyArray<string>, code: number, message: RegExp]> = [
      [["COPY patients TO 'out.csv'"], 1, /The statement is not a query\./],
      [["SELECT getenv('HOME')"], 1, /a function that is not on the list, at line 1, column 8/],
      [["SELECT 1e400"], 1, /what queries may not use: a number that no DOUBLE can hold/],
      [["SELECT 1; SELECT 2"], 1, /not exactly one statement/],
      [["SELECT count(*) FROM range(100000000000) a, range(9999) b", "--timeout", "4"], 1, /took too long/],
      [["SELECT len(range(1000000000))", "--memory", "144MiB", "--timeout", "60"], 1, /too much memory/],
      [["SELECT 1", "--limit", "0"], 2, /out of its range \(limit, 1 to 10,000\)/],
      [["SELECT 1", "--memory", "much"], 2, /--memory is no size with a unit/],
      [["SELECT 1", "--memory", "23MB"], 2, /--memory is too little for DuckDB\.\n {2}Give 24MB to 1TiB\./],
      [["SELECT 1", "--csv", "--json"], 2, /exclude each other/],
      [["--tables", "--csv"], 2, /--csv and --tables exclude each other/],
      [["--tables", "--cohort", "nobody"], 2, /--cohort and --tables exclude each other/],
      [["--tables", "--cursor", "c"], 2, /--cursor and --tables exclude each other/],
      [["SELECT 1", "--tables"], 2, /--tables takes no query/],
      [[], 2, /There is no query\.\n {2}mallard query --tables/]
    ]
    const outcomes = await Promise.all(attempts.map(([args]) => run(folder, ["query", ...args, ...db])))
    for (const [index, [, code, message]] of attempts.entries()) {
      const outcome = outcomes[index]!
      assert.strictEqual(outcome.code, code, outcome.stderr)
      assert.match(outcome.stderr, message)
      if (!attempts[index]![0].includes("--json")) assert.strictEqual(outcome.stdout, "")
      else assert.include(JSON.parse(outcome.stdout).error.message, "exclude each other")
    }
    const missing = await run(folder, ["query", "SELECT 1", "--db", "none.duckdb"])
    assert.strictEqual(missing.code, 10)
  })

  it("ends its query with Ctrl-C, and tells programs so", async () => {
    const child = start(folder, [
      "query",
      "SELECT count(*) FROM range(100000000000) a, range(9999) b",
      "--timeout",
      "60",
      "--json",
      ...db
    ])
    const outcome = outcomeOf(child)
    const children = () =>
      runOther("sh", ["-c", `ps -o pid= --ppid ${child.pid} 2>/dev/null || pgrep -P ${child.pid}`], folder)
    await vi.waitFor(async () => assert.match((await children()).stdout, /\d/), { timeout: 20_000, interval: 100 })
    const pid = Number((await children()).stdout.trim())
    child.kill("SIGINT")
    const { code, stderr, stdout } = await outcome
    assert.strictEqual(code, 130)
    const error = { tag: "Interrupted", reason: null, exit_code: 130, message: "Stopped.", hint: null }
    assert.deepStrictEqual(JSON.parse(stdout), { error })
    assert.strictEqual(stderr, "mallard: Stopped.\n")
    await vi.waitFor(() => assert.throws(() => process.kill(pid, 0)))
  })

  for (const [what, entry] of [
    ["the bundle, which has the program of the query beside it", program],
    ["the sources", programFromSources]
  ] as const) {
    it(`works from ${what}`, async () => {
      const ask = (sql: string) => outcomeOf(start(folder, ["query", sql, "--csv", ...db], {}, entry))
      assert.deepStrictEqual(await ask("SELECT count(*) AS n FROM patients"), {
        code: 0,
        stdout: "n\r\n3\r\n",
        stderr: ""
      })
      assert.match((await ask("FROM glob('*')")).stderr, /a table function that is not on the list \(glob\)/)
    })
  }
})
