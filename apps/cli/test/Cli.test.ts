import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync, existsSync } from "node:fs"
import { join } from "node:path"
import { spawn, spawnSync } from "node:child_process"
import { assert, describe, expect, it } from "vitest"
import {
  appears,
  cohort,
  folderCohort,
  makeFolder,
  outcomeOf,
  program,
  programFromSources,
  remarksIn,
  run,
  runOther,
  start,
  writeFiles
} from "./support.ts"

const db = ["--db", "test.duckdb"]

/** A folder with one cohort, migrated. */
const migrated = async (files: Readonly<Record<string, string>> = { [cohort.file]: cohort.text }) => {
  const folder = makeFolder()
  writeFiles(folder, files)
  const outcome = await run(folder, [
    "migrate",
    ...new Set(Object.keys(files).map((name) => name.split("/")[0]!)),
    ...db
  ])
  assert.strictEqual(outcome.code, 0, outcome.stdout + outcome.stderr)
  return { folder, outcome }
}

/** A user that no list of the system has, as containers run as; only root can become one. */
const unlisted = { uid: 54_321, gid: 54_321, cwd: "/", env: { PATH: process.env["PATH"] } }
const isUnlistedAble =
  process.getuid?.() === 0 &&
  spawnSync(process.execPath, [programFromSources, "--version"], { ...unlisted, env: { ...unlisted.env, HOME: "/" } })
    .status === 0

describe("a user without a home", () => {
  it.skipIf(process.platform === "win32")(
    "has that of the system where HOME is empty, and not the folder at work",
    async () => {
      const folder = makeFolder()
      const { stderr, stdout } = await run(folder, ["list"], { HOME: "" })
      assert.notInclude(stdout + stderr, join(folder, ".healthsim"))
    }
  )

  it.skipIf(!isUnlistedAble)("has the root where the system knows none", async () => {
    const { code, stderr } = await outcomeOf(spawn(process.execPath, [programFromSources, "list"], unlisted))
    assert.strictEqual(code, 10, stderr)
    assert.include(stderr, "Cannot open the database /.healthsim/healthsim.duckdb: there is no such database.")
  })
})

describe("mallard migrate", () => {
  it("prints a line per item, the sum, the proof, the database and what to do next", async () => {
    const { folder, outcome } = await migrated({ [cohort.file]: cohort.text, "odd.json": "[1,2]", ...folderCohort })
    const lines = outcome.stdout.split("\n")
    assert.include(lines, "✓ Diabetes 2024: 3 entities")
    assert.include(lines, "✓ bob: 1 entity")
    assert.include(lines, "! odd: no entity recognised, kept whole")
    assert.include(lines, "3/3 migrated (4 entities: 3 patient, 1 encounter)")
    assert.match(outcome.stdout, /^Verified: 4 documents rendered from the database, all as in the source/m)
    assert.include(lines, `Database: ${join(folder, "test.duckdb")}`)
    const next = lines.find((line) => line.includes("mallard export"))?.trim() ?? ""
    const shown = await runOther("sh", ["-c", `printf '%s\\n' ${next}`], folder)
    const [, ...words] = shown.stdout.trimEnd().split("\n")
    const exported = await run(folder, words)
    assert.strictEqual(exported.code, 0, `the command shown works: ${next}`)
    assert.strictEqual(remarksIn(outcome.stderr), "")
  })

  it("prints one JSON document with the fields that scripts read", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text, ...folderCohort })
    const outcome = await run(folder, ["migrate", ".", ...db, "--json"])
    assert.strictEqual(outcome.code, 0)
    const report = JSON.parse(outcome.stdout)
    for (const field of ["run", "outcome", "database", "items", "totals", "verification", "timings"]) {
      assert.property(report, field)
    }
    assert.strictEqual(report.outcome, "done")
    assert.strictEqual(report.database, join(folder, "test.duckdb"))
    assert.deepInclude(report.verification, { checked: 3, matched: 3, mismatched: 0 })
    const file = report.items.find((item: { path: string }) => item.path === join(folder, cohort.file))
    assert.deepInclude(file, { outcome: "migrated", cohort: "Diabetes 2024", entities: { patient: 2, encounter: 1 } })
    for (const field of ["format", "digest", "source_sha256", "remarks"]) assert.property(file, field)
    for (const remark of file.remarks) {
      assert.containsAllKeys(remark, ["code", "pointer", "line", "column", "message"])
    }
    const directory = report.items.find((item: { path: string }) => item.path === join(folder, "saved", "bob"))
    assert.lengthOf(directory.parts, 2)
  })

  it("sums up many unchanged sources, and names what it stored and that as the next to export", async () => {
    const folder = makeFolder()
    const names = Array.from({ length: 21 }, (_, index) => `c${index}`)
    writeFiles(folder, Object.fromEntries(names.map((name) => [`in/${name}.json`, `{"name":"${name}","patients":[]}`])))
    await run(folder, ["migrate", "in", ...db])
    writeFiles(folder, { "in/z.json": '{"name":"z","patients":[{"id":"p"}]}' })
    const again = await run(folder, ["migrate", "in", ...db])
    assert.match(
      again.stdout,
      /^✓ z: 1 entity\n= 21 sources: unchanged; --verbose names them\n\n1\/22 migrated, 21 unchanged/
    )
    assert.match(again.stdout, /\n +mallard export z --db [^\n]+\n$/)
    const verbose = await run(folder, ["migrate", "in", ...db, "--verbose"])
    assert.lengthOf(verbose.stdout.match(/^= .+: unchanged$/gm) ?? [], 22)
    rmSync(join(folder, "in/c0.json"))
    rmSync(join(folder, "in/c1.json"))
    const few = await run(folder, ["migrate", "in", ...db])
    assert.lengthOf(few.stdout.match(/^= .+: unchanged$/gm) ?? [], 20)
  })

  it("says unchanged the second time, and stores nothing twice", async () => {
    const { folder } = await migrated()
    const again = await run(folder, ["migrate", cohort.file, ...db])
    assert.strictEqual(again.code, 0)
    assert.include(again.stdout, "= Diabetes 2024: unchanged\n")
    assert.include(again.stdout, "0/1 migrated, 1 unchanged\n")
    const list = JSON.parse((await run(folder, ["list", ...db, "--json"])).stdout)
    assert.deepEqual(
      list.map(({ seq }: { seq: number }) => seq),
      [1]
    )
  })

  it("writes nothing in a dry run, and ends as the real run would", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text, "bad.json": '{"a":1,\n"b":tru}' })
    const before = readdirSync(folder)
    const outcome = await run(folder, ["migrate", ".", ...db, "-n"])
    assert.strictEqual(outcome.code, 3)
    assert.include(outcome.stdout, "✓ Diabetes 2024: 3 entities (would be stored)\n")
    assert.include(outcome.stdout, "1/2 would be migrated, 1 rejected")
    assert.include(outcome.stdout, "Dry run: nothing was written.\n")
    assert.deepEqual(readdirSync(folder), before)
  })

  it("rejects what it cannot read, with line and column, and ends with 3", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text, "bad.json": '{"a":1,\n"b":tru}' })
    const outcome = await run(folder, ["migrate", ".", ...db])
    assert.strictEqual(outcome.code, 3)
    assert.match(outcome.stdout, /^✗ bad\.json: line 2, column \d+: .+ \[[a-z-]+\]$/m)
    assert.include(outcome.stdout, "1/2 migrated, 1 rejected")
    const quiet = await run(folder, ["migrate", ".", ...db, "--quiet"])
    assert.match(quiet.stdout, /^✗ bad\.json: [^\n]+\n0\/2 migrated, 1 unchanged, 1 rejected\n$/)
  })

  it("does with a cohort that has changed what --on-conflict says", async () => {
    const { folder } = await migrated()
    writeFiles(folder, { [cohort.file]: cohort.text.replace("two people", "three people") })
    const failing = await run(folder, ["migrate", cohort.file, ...db])
    assert.strictEqual(failing.code, 3)
    assert.match(failing.stdout, /^✗ diabetes\.json: .+--on-conflict/m)
    const skipping = await run(folder, ["migrate", cohort.file, ...db, "--on-conflict", "skip"])
    assert.match(skipping.stdout, /^- diabetes\.json: skipped \(.+\)$/m)
    const both = await run(folder, ["migrate", cohort.file, ...db, "--on-conflict", "skip", "--overwrite"])
    assert.strictEqual(both.code, 2)
    const replacing = await run(folder, ["migrate", cohort.file, ...db, "--overwrite"])
    assert.strictEqual(replacing.code, 0)
    const [listed] = JSON.parse((await run(folder, ["list", ...db, "--json"])).stdout)
    assert.deepInclude(listed, { description: "three people", seq: 2 })
  })

  it("shows one remark per code, and every one with --verbose", async () => {
    const folder = makeFolder()
    const patients = [1, 2, 3].map((id) => `{"id":"p${id}","birthDate":"about 190${id}"}`)
    writeFiles(folder, { "remarks.json": `{"name":"remarks","patients":[${patients.join(",")}]}` })
    const short = await run(folder, ["migrate", "remarks.json", ...db, "--dry-run"])
    const shown = short.stdout.split("\n").filter((line) => /^ {4}\S/.test(line))
    assert.lengthOf(shown, 1)
    assert.match(shown[0] ?? "", /^ {4}3 × [a-z-]+, as in .*\/patients\/0\/birthDate: /)
    assert.notInclude(short.stdout, "about 190", "values stay out of the report")
    const long = await run(folder, ["migrate", "remarks.json", ...db, "--dry-run", "-v"])
    assert.lengthOf(
      long.stdout.split("\n").filter((line) => /^ {4}\S/.test(line)),
      3
    )
  })

  it("escapes control characters of names and paths", async () => {
    const folder = makeFolder()
    writeFiles(folder, {
      "evil\u001b[31m.json": '{"name":"a\\u001b]0;x\\u0007b","patients":[{"id":"1"}]}',
      "bad\u0007.json": "{"
    })
    const outcome = await run(folder, ["migrate", ".", ...db])
    assert.strictEqual(outcome.code, 3)
    assert.notMatch(outcome.stdout.replaceAll("\n", ""), /\p{Cc}/u)
    assert.include(outcome.stdout, String.raw`✓ a\u{1b}]0;x\u{7}b: 1 entity`)
    assert.include(outcome.stdout, String.raw`✗ bad\u{7}.json: `)
  })
})

describe("where things are", () => {
  it("reads HealthSim's places and names what it leaves alone", async () => {
    const folder = makeFolder()
    writeFiles(folder, {
      ".healthsim/cohorts/one.json": '{"name":"one","patients":[{"id":"1"}]}',
      ".healthsim/scenarios/two.json": '{"name":"two","patients":[{"id":"2"}]}',
      ".healthsim/cohorts_backup_2025/old.json": "{}",
      "Downloads/other.json": "{}"
    })
    const outcome = await run(folder, ["migrate"])
    assert.strictEqual(outcome.code, 0, outcome.stderr)
    assert.include(outcome.stdout, "2/2 migrated")
    assert.include(outcome.stdout, `Database: ${join(folder, ".healthsim", "healthsim.duckdb")}\n`)
    assert.include(outcome.stderr, `Not read: ${join(folder, ".healthsim", "cohorts_backup_2025")} (a backup)`)
    assert.include(outcome.stderr, `Not read: ${join(folder, "Downloads")} (it holds JSON files)`)
    assert.strictEqual(statSync(join(folder, ".healthsim", "healthsim.duckdb")).mode & 0o077, 0)
  })

  it("says what to do when there is nothing to migrate", async () => {
    const folder = makeFolder()
    const outcome = await run(folder, ["migrate"])
    assert.strictEqual(outcome.code, 2)
    assert.strictEqual(outcome.stdout, "")
    assert.include(outcome.stderr, "Name files or folders: mallard migrate PATH…")
    assert.deepEqual(readdirSync(folder), [])
  })

  it("takes the database from --db, else MALLARD_DB, else HEALTHSIM_DB_PATH", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text })
    const env = { MALLARD_DB: "ours.duckdb", HEALTHSIM_DB_PATH: "~/theirs.duckdb" }
    const used = async (args: ReadonlyArray<string>, env: Readonly<Record<string, string>>) =>
      JSON.parse((await run(folder, ["migrate", cohort.file, "--json", ...args], env)).stdout).database
    assert.strictEqual(await used(["--db", "named.duckdb"], env), join(folder, "named.duckdb"))
    assert.strictEqual(await used([], env), join(folder, "ours.duckdb"))
    assert.strictEqual(await used([], { ...env, MALLARD_DB: "" }), join(folder, "theirs.duckdb"))
  })

  it("leaves somebody else's database alone: refused if named, replaced by another if only found", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text })
    mkdirSync(join(folder, ".healthsim"))
    const theirs = join(folder, ".healthsim", "healthsim.duckdb")
    const made = await runOther(process.execPath, ["-e", makeForeign, theirs], import.meta.dirname)
    assert.strictEqual(made.code, 0, made.stderr)
    const before = readFileSync(theirs)
    const found = await run(folder, ["migrate", cohort.file])
    assert.strictEqual(found.code, 0, found.stderr)
    assert.match(
      found.stderr.split("\n")[0] ?? "",
      /healthsim\.duckdb holds tables that are not Mallard's.+mallard\.duckdb/
    )
    assert.include(found.stdout, `Database: ${join(folder, ".healthsim", "mallard.duckdb")}\n`)
    const listed = await run(folder, ["list", "--json"])
    assert.lengthOf(JSON.parse(listed.stdout), 1)
    const named = await run(folder, ["migrate", cohort.file, "--db", theirs])
    assert.strictEqual(named.code, 1)
    assert.include(named.stderr, "tables that are not Mallard's")
    assert.isTrue(before.equals(readFileSync(theirs)))
  })

  it("starts relative paths where the user is, and drops the -- of a package manager", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [`in/${cohort.file}`]: cohort.text })
    const outcome = await run(folder, ["migrate", "--", cohort.file, "--db", "here.duckdb"], {
      INIT_CWD: join(folder, "in")
    })
    assert.strictEqual(outcome.code, 0, outcome.stderr)
    assert.isTrue(existsSync(join(folder, "in", "here.duckdb")))
  })

  it("tells how to go on in the words with which it was called", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text })
    const outcome = await run(folder, ["migrate", cohort.file, ...db], {
      npm_lifecycle_event: "migrate",
      npm_execpath: "/home/x/.npm/_npx/1/node_modules/pnpm/bin/pnpm.cjs"
    })
    assert.match(outcome.stdout, /^Next: +npx -y pnpm@12 mallard list --db /m)
  })
})

const makeForeign = `
const { DuckDBInstance } = await import("@duckdb/node-api")
const instance = await DuckDBInstance.create(process.argv[1])
const connection = await instance.connect()
await connection.run("CREATE TABLE theirs(x INTEGER)")
connection.closeSync()
instance.closeSync()
`

const holdOpen = `
const { DuckDBInstance } = await import("@duckdb/node-api")
const instance = await DuckDBInstance.create(process.argv[1])
await instance.connect()
console.log("open")
setInterval(() => {}, 1000)
`

describe("errors", () => {
  it("end with 2 and a short message when the command line cannot be meant", async () => {
    const folder = makeFolder()
    for (const [args, message] of [
      [["migrate", "--databse", "x"], "--databse"],
      [["migrat"], "Did you mean this?"],
      [["list", "-db", "x"], "Flags of several letters begin with two hyphens: --db"],
      [["migrate", "x", "--on-conflict", "merge"], '"merge"'],
      [["migrate", "x", "--max-entity-size", "lots"], "--max-entity-size is no size"],
      [["migrate", "x", "--memory", "1MB"], "--memory is too little for DuckDB"],
      [["doctor", "--memory", "1KB"], "--memory is too little for DuckDB"],
      [["plan", "x", "--memory", "2TB"], "--memory is more than DuckDB may have.\n  Give 24MB to 1TiB."],
      [["verify", "--memory", "64000000"], "--memory is no size with a unit"],
      [["migrate", "x", "--backup-recipient", "age1abc", ...db], "--backup-recipient is not one of age"],
      [["migrate", "nowhere.json", ...db], "there is nothing at this path"],
      [["export"], "Which cohort?"],
      [["export", "--all"], "--all needs a folder"],
      [["list", "--db", ""], "Missing value for flag --db. Expected: the path of a file or folder"],
      // Else they would go to the folder that the user is in.
      [["migrate", "x", "--move-originals", ""], "Missing value for flag --move-originals"],
      [["verify", "--source", ""], "Missing value for flag --source"]
    ] as const) {
      const outcome = await run(folder, args)
      assert.strictEqual(outcome.code, 2, args.join(" "))
      assert.strictEqual(outcome.stdout, "", args.join(" "))
      assert.include(outcome.stderr, message)
      assert.isBelow(outcome.stderr.split("\n").length, 8)
    }
    assert.deepEqual(readdirSync(folder), [])
  })

  it("stand on stdout as one document with --json, with the words and the code of stderr", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "folder/a.txt": "" })
    const where = (path: string): string => join(folder, path)
    for (const [args, error] of [
      [
        ["lst", "--json"],
        {
          tag: "UsageError",
          reason: null,
          exit_code: 2,
          message: 'Unknown subcommand "lst" for "mallard"',
          hint: "Did you mean this?\nlist\nls\nRun `mallard --help` for usage."
        }
      ],
      [
        ["rejects", "--json"],
        {
          tag: "UsageError",
          reason: null,
          exit_code: 2,
          message: "Missing required argument: subcommand",
          hint: "Run `mallard rejects --help` for usage."
        }
      ],
      [
        ["export", "--json=true"],
        {
          tag: "UsageError",
          reason: null,
          exit_code: 2,
          message: "Which cohort?",
          hint: "mallard export NAME, or mallard export --all --out DIR for every one."
        }
      ],
      [
        ["list", "--json", ...db],
        {
          tag: "StoreError",
          reason: "missing",
          exit_code: 10,
          message: `Cannot open the database ${where("test.duckdb")}: there is no such database.`,
          hint: "Check the path, or migrate first: that creates it."
        }
      ],
      [
        ["verify", "--json", "--db", "folder"],
        {
          tag: "StoreError",
          reason: "bad-path",
          exit_code: 2,
          message: `Cannot open the database ${where("folder")}: it is a folder, and a database is a file.`,
          hint: "Name a file, which may lie in this folder."
        }
      ],
      [
        ["import", "folder", "--json", ...db],
        {
          tag: "InvalidRequest",
          reason: "folder",
          exit_code: 1,
          message: `folder: It is a folder, and a file is needed. \`mallard migrate --db ${where("test.duckdb")}\` takes whole folders.`,
          hint: null
        }
      ]
    ] as const) {
      const outcome = await run(folder, args)
      assert.deepStrictEqual(JSON.parse(outcome.stdout), { error }, args.join(" "))
      assert.strictEqual(outcome.code, error.exit_code)
      assert.include(outcome.stderr, error.message)
      for (const line of error.hint?.split("\n") ?? []) assert.include(outcome.stderr, line)
    }
  })

  it("end with 10 where there is no database", async () => {
    const folder = makeFolder()
    for (const args of [["list"], ["show", "x"], ["export", "x"], ["verify"]]) {
      const outcome = await run(folder, [...args, ...db])
      assert.strictEqual(outcome.code, 10, args.join(" "))
      assert.strictEqual(outcome.stdout, "")
      assert.include(outcome.stderr, "there is no such database")
    }
    assert.deepEqual(readdirSync(folder), [])
  })

  it("end with 11 and name the process that has the database open", async () => {
    const { folder } = await migrated()
    const holder = spawn(process.execPath, ["-e", holdOpen, join(folder, "test.duckdb")], {
      cwd: import.meta.dirname,
      stdio: ["ignore", "pipe", "inherit"]
    })
    try {
      await new Promise((resolve) => holder.stdout.once("data", resolve))
      for (const args of [["migrate", cohort.file], ["list"], ["verify"]]) {
        const outcome = await run(folder, [...args, ...db])
        assert.strictEqual(outcome.code, 11, outcome.stderr)
        assert.include(outcome.stderr, `process ${holder.pid}`)
        assert.match(outcome.stderr, /, running since \d{4}-\d\d-\d\dT[\d:]+Z\)/)
      }
      assert.strictEqual((await run(folder, ["list", ...db, "--wait", "0.8"])).code, 11)
    } finally {
      holder.kill("SIGKILL")
    }
  })

  it("waits with --wait for a database that is open elsewhere; a killed holder leaves no lock", async () => {
    const { folder } = await migrated()
    const holder = spawn(process.execPath, ["-e", holdOpen, join(folder, "test.duckdb")], {
      cwd: import.meta.dirname,
      stdio: ["ignore", "pipe", "inherit"]
    })
    await new Promise((resolve) => holder.stdout.once("data", resolve))
    const waiting = start(folder, ["migrate", cohort.file, ...db, "--no-backup", "--wait"])
    const outcome = outcomeOf(waiting)
    let said = ""
    await new Promise<void>((resolve) =>
      waiting.stderr?.on("data", (chunk: Buffer) => {
        said += chunk.toString()
        if (said.includes("Waiting: ")) resolve()
      })
    )
    holder.kill("SIGKILL")
    const { code, stderr } = await outcome
    assert.strictEqual(code, 0, stderr)
    assert.include(stderr, `Waiting: process ${holder.pid}`)
    assert.strictEqual((await run(folder, ["list", ...db, "--wait=soon"])).code, 2)
  })

  it("end with 1 and the nearest names where no cohort has the name", async () => {
    const { folder } = await migrated()
    assert.include((await run(folder, ["show", "", ...db])).stderr, 'There is no cohort "".\n')
    assert.strictEqual(
      (await run(folder, ["list", "--tag", "none", ...db])).stdout,
      `No such cohorts in ${join(folder, "test.duckdb")}\n`
    )
    assert.include(
      (await run(folder, ["clone", cohort.name, cohort.name, ...db])).stderr,
      "save, import and merge replace it"
    )
    assert.strictEqual((await run(folder, ["summary", cohort.name, "--samples", "-1", ...db])).code, 2)
    for (const command of ["show", "export"]) {
      const outcome = await run(folder, [command, "diabetes 2023", ...db])
      assert.strictEqual(outcome.code, 1)
      assert.include(outcome.stderr, "Did you mean this?\n    Diabetes 2024\n")
    }
  })
})

describe("mallard list and show", () => {
  it("list the cohorts for programs and for people", async () => {
    const { folder } = await migrated({ [cohort.file]: cohort.text, ...folderCohort })
    const listed = JSON.parse((await run(folder, ["list", ...db, "--json"])).stdout)
    assert.lengthOf(listed, 2)
    const [first] = listed
    assert.hasAllKeys(first, [
      "name",
      "cohort_id",
      "seq",
      "description",
      "tags",
      "entities",
      "created_at",
      "updated_at",
      "saved_at"
    ])
    assert.deepInclude(first, {
      name: "Diabetes 2024",
      seq: 1,
      description: "two people",
      tags: ["demo"],
      entities: { patient: 2, encounter: 1 },
      created_at: "2024-03-01T10:00:00",
      updated_at: null
    })
    const table = (await run(folder, ["ls", ...db])).stdout
    assert.match(table, /^NAME +ENTITIES +KINDS +SEQ +SAVED/)
    assert.match(table, /^Diabetes 2024 +3 +2 patient, 1 encounter +1 /m)
    const byName = await run(folder, ["show", "bob", ...db])
    assert.include(byName.stdout, "patients.json")
    const byId = await run(folder, ["show", first.cohort_id, ...db, "--json"])
    const shown = JSON.parse(byId.stdout)
    assert.deepInclude(shown, { name: "Diabetes 2024", source: join(folder, cohort.file) })
    assert.lengthOf(shown.parts, 1)
    assert.lengthOf(shown.revisions, 1)
  })
})

describe("mallard export", () => {
  it("gives back the source's compact text to the byte", async () => {
    const { folder } = await migrated()
    const outcome = await run(folder, ["export", cohort.name, ...db, "--compact"])
    assert.strictEqual(outcome.code, 0, outcome.stderr)
    assert.strictEqual(outcome.stdout, cohort.text)
  })

  it("indents by two, with a newline at the end on stdout and none in a file", async () => {
    const { folder } = await migrated()
    const printed = await run(folder, ["export", cohort.name, ...db])
    assert.isTrue(printed.stdout.startsWith('{\n  "name": "Diabetes 2024",\n  "description"'))
    assert.include(printed.stdout, '"weight": 71.50\n')
    assert.include(printed.stdout, '"empty": {},\n      "none": []\n')
    const written = await run(folder, ["export", cohort.name, ...db, "--out", "deep/er/out.json"])
    assert.strictEqual(written.code, 0, written.stderr)
    assert.strictEqual(written.stdout, "")
    assert.strictEqual(`${readFileSync(join(folder, "deep/er/out.json"), "utf8")}\n`, printed.stdout)
    assert.deepEqual(readdirSync(join(folder, "deep/er")), ["out.json"])
  })

  it("lays out as Python's json.dump does", async (context) => {
    const folder = makeFolder()
    const python = await runOther("python3", ["-c", "import json"], folder).catch(() => undefined)
    if (python?.code !== 0) {
      console.warn("SKIPPED: there is no python3 to compare with")
      return context.skip()
    }
    const text =
      '{"name":"Zoë","patients":[{"id":"p1","a":[],"b":{},"c":[[1,-0.5,true,null]],"d":"\\u007f 😀 \\"\\\\ \\n é"}],"x":NaN}'
    writeFiles(folder, { "python.json": text })
    assert.strictEqual((await run(folder, ["migrate", "python.json", ...db])).code, 0)
    for (const [flags, options] of [
      [[], "indent=2, ensure_ascii=False"],
      [["--ascii"], "indent=2"],
      [["--ascii", "--compact"], "separators=(',', ':')"]
    ] as const) {
      const theirs = await runOther(
        "python3",
        ["-X", "utf8", "-c", `import json,sys; json.dump(json.load(open("python.json")), sys.stdout, ${options})`],
        folder
      )
      const outcome = await run(folder, ["export", "Zoë", ...db, ...flags, "--out", "ours.json"])
      assert.strictEqual(outcome.code, 0, outcome.stderr)
      assert.strictEqual(readFileSync(join(folder, "ours.json"), "utf8"), theirs.stdout, options)
    }
  })

  it("gives the files of a cohort back under their names, into a folder only", async () => {
    const { folder } = await migrated(folderCohort)
    for (const args of [[], ["--out", "plain.txt"]]) {
      writeFileSync(join(folder, "plain.txt"), "mine")
      const refused = await run(folder, ["export", "bob", ...db, ...args])
      assert.strictEqual(refused.code, 2)
      assert.include(refused.stderr, "2 files")
      assert.strictEqual(readFileSync(join(folder, "plain.txt"), "utf8"), "mine")
    }
    const outcome = await run(folder, ["export", "bob", ...db, "--out", "back", "--compact"])
    assert.strictEqual(outcome.code, 0, outcome.stderr)
    assert.deepEqual(readdirSync(join(folder, "back")).sort(), ["patients.json", "scenario.json"])
    for (const [path, text] of Object.entries(folderCohort)) {
      assert.strictEqual(readFileSync(join(folder, path.replace("saved/bob", "back")), "utf8"), text)
    }
  })

  it("gives NDJSON back as NDJSON, which can be migrated again", async () => {
    const text = '{"resourceType":"Patient","id":"1"}\n{"resourceType":"Claim","id":"2"}\n'
    const { folder } = await migrated({ "all.ndjson": text })
    const outcome = await run(folder, ["export", "--all", ...db, "--out", "back"])
    assert.strictEqual(outcome.code, 0, outcome.stderr)
    assert.deepEqual(readdirSync(join(folder, "back")), ["all.ndjson"])
    assert.strictEqual(readFileSync(join(folder, "back", "all.ndjson"), "utf8"), text)
    const again = await run(folder, ["migrate", "back", ...db])
    assert.strictEqual(again.code, 0, again.stderr)
    assert.include(again.stdout, "= all: unchanged")
  })

  it("writes every cohort under a safe name of its own", async () => {
    const { folder } = await migrated({
      "a.json": '{"name":"../up","patients":[{"id":"1"}]}',
      "b.json": '{"name":".._up","patients":[{"id":"2"}]}',
      "c.json": '{"name":"CON","patients":[{"id":"3"}]}',
      // The folder of a cohort has the name that the file of another would have.
      "d.json": '{"name":"two","patients":[{"id":"4"}]}',
      "saved/two/scenario.json": '{"name":"two.json"}',
      "saved/two/patients.json": '{"patients":[{"id":"t1"}]}',
      ...folderCohort
    })
    const outcome = await run(folder, ["export", "--all", ...db, "--out", "all", "--compact"])
    assert.strictEqual(outcome.code, 0, outcome.stderr)
    const names = readdirSync(join(folder, "all"))
    assert.lengthOf(names, 6)
    assert.includeMembers(names, ["bob", "_CON.json"])
    const isFile = (name: string): boolean => statSync(join(folder, "all", name)).isFile()
    assert.lengthOf(
      names.filter((name) => name.startsWith("two.json") || name === "two-2.json"),
      2
    )
    const texts = names.filter(isFile).map((name) => readFileSync(join(folder, "all", name), "utf8"))
    assert.deepEqual(texts.map((text) => JSON.parse(text).patients[0].id).sort(), ["1", "2", "3", "4"])
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.includes("up") && name !== "test.duckdb.backups"),
      []
    )
  })

  it("replaces a link by the file, and leaves no file behind where it cannot write", async () => {
    const { folder } = await migrated()
    writeFileSync(join(folder, "kept.txt"), "mine")
    symlinkSync("kept.txt", join(folder, "link.json"))
    assert.strictEqual((await run(folder, ["export", cohort.name, ...db, "--out", "link.json"])).code, 0)
    assert.strictEqual(readFileSync(join(folder, "kept.txt"), "utf8"), "mine")
    const below = await run(folder, ["export", cohort.name, ...db, "--out", "kept.txt/x.json"])
    assert.strictEqual(below.code, 1)
    assert.include(below.stderr, "Cannot write")
  })

  it("stops quietly when nobody reads on", async () => {
    const patients = Array.from({ length: 20_000 }, (_, id) => `{"id":"p${id}","gender":"female"}`)
    const { folder } = await migrated({ "large.json": `{"name":"large","patients":[${patients.join(",")}]}` })
    const script = `"$0" "$1" export large --db test.duckdb | head -1; echo "\${PIPESTATUS[0]}"`
    const outcome = await runOther("bash", ["-c", script, process.execPath, program], folder)
    assert.strictEqual(outcome.stdout, "{\n0\n")
    assert.strictEqual(outcome.stderr, "")
  })
})

describe("mallard verify", () => {
  it("tells what it proved, and compares with the sources", async () => {
    const { folder } = await migrated({ [cohort.file]: cohort.text, ...folderCohort })
    const outcome = await run(folder, ["verify", ...db])
    assert.strictEqual(outcome.code, 0, outcome.stdout)
    assert.match(outcome.stdout, /^✓ 3\/3 documents rendered as in the source/)
    writeFiles(folder, { [cohort.file]: cohort.text.replace("two people", "three people") })
    const compared = await run(folder, ["verify", ...db, "--source", cohort.file, "--source", "saved", "--json"])
    assert.strictEqual(compared.code, 4)
    const result = JSON.parse(compared.stdout)
    assert.deepInclude(result, {
      outcome: "mismatch",
      finding_count: 1,
      sources: { checked: 3, matched: 2, mismatched: 1 }
    })
    assert.containsAllKeys(result.findings[0], ["code", "where", "message"])
  })

  it("names a change that was made behind its back", async () => {
    const { folder } = await migrated()
    const change = await runSql(
      join(folder, "test.duckdb"),
      "UPDATE mallard.patients SET birth_date = birth_date + 1 WHERE birth_date IS NOT NULL"
    )
    assert.strictEqual(change.code, 0, change.stderr)
    const verified = await run(folder, ["verify", ...db])
    assert.strictEqual(verified.code, 4)
    assert.match(verified.stdout, /^✗ .+ \[[a-z-]+\]$/m)
    const exported = await run(folder, ["export", cohort.name, ...db, "--out", "changed.json"])
    assert.strictEqual(exported.code, 4)
    assert.isFalse(existsSync(join(folder, "changed.json")))
  })

  it.skipIf(process.platform !== "linux")("calls nothing damaged for want of space on the disk", async () => {
    const patients = Array.from({ length: 40_000 }, (_, id) => ({ id, note: `${id * 7919}`.repeat(20) }))
    const { folder } = await migrated({ "large.json": JSON.stringify({ name: "large", patients }) })
    // No file may grow beyond 64 KiB, so that nothing can be put aside.
    const script = `trap '' XFSZ; ulimit -f 64; "$0" "$1" verify --db test.duckdb --memory 30MB --jobs "$2" 2>&1`
    for (const jobs of ["1", "2", "4"]) {
      const outcome = await runOther("bash", ["-c", script, process.execPath, program, jobs], folder)
      assert.strictEqual(outcome.code, 1, outcome.stdout)
      assert.match(
        outcome.stdout,
        /needs more (?:space on the disk|memory than).*nothing is known to be wrong with it\./
      )
    }
    const reading = `trap '' XFSZ; ulimit -f 64; "$0" "$1" export large --format v1 --db test.duckdb --memory 24MB 2>&1 >/dev/null`
    const exported = await runOther("bash", ["-c", reading, process.execPath, program], folder)
    assert.match(
      exported.stdout,
      /needs more .*nothing is known to be wrong with it\.\n {2}[A-Z].*, or give it more memory with --memory\.\n/
    )
  })

  it("calls a file that no longer opens damaged", async () => {
    const { folder } = await migrated()
    const path = join(folder, "test.duckdb")
    const bytes = readFileSync(path)
    bytes.fill(0xff, 0, 12_288)
    writeFileSync(path, bytes)
    const outcome = await run(folder, ["verify", ...db, "--json"])
    assert.strictEqual(outcome.code, 6, outcome.stderr)
    assert.strictEqual(JSON.parse(outcome.stdout).outcome, "damaged")
  })

  it("says how to look at a database whose log is damaged", async () => {
    const { folder } = await migrated()
    const path = join(folder, "test.duckdb")
    await runSql(path, "PRAGMA disable_checkpoint_on_shutdown", "UPDATE mallard.patients SET birth_date = NULL")
    const log = readFileSync(`${path}.wal`)
    log[log.length >> 1]! ^= 1
    writeFileSync(`${path}.wal`, log)
    const outcome = await run(folder, ["verify", ...db])
    assert.strictEqual(outcome.code, 6, outcome.stderr)
    assert.include(outcome.stdout, `\`mallard doctor --db ${path}\` says what is the matter with the log`)
  })
})

/** Runs statements in a database behind Mallard's back. */
const runSql = (path: string, ...statements: ReadonlyArray<string>) =>
  runOther(process.execPath, ["-e", sqlChild, path, ...statements], import.meta.dirname)

const sqlChild = `
const { DuckDBInstance } = await import("@duckdb/node-api")
const [path, ...statements] = process.argv.slice(1)
const instance = await DuckDBInstance.create(path)
const connection = await instance.connect()
for (const statement of statements) await connection.run(statement)
connection.closeSync()
instance.closeSync()
`

describe("signals", () => {
  /** Enough that no machine is done before the signal comes. */
  const writeMany = (folder: string): void => {
    mkdirSync(join(folder, "many"))
    for (let file = 0; file < 1200; file++) {
      const patients = Array.from({ length: 100 }, (_, id) => ({
        id: `${file}-${id}`,
        birthDate: "1970-01-01",
        n: id / 7
      }))
      writeFileSync(join(folder, "many", `c${file}.json`), JSON.stringify({ name: `c${file}`, patients }))
    }
  }

  const stopped = async (
    folder: string,
    database: string,
    signals: ReadonlyArray<NodeJS.Signals>,
    ...options: ReadonlyArray<string>
  ) => {
    const child = start(folder, ["migrate", "many", "--db", database, ...options])
    const outcome = outcomeOf(child)
    await appears(join(folder, database))
    for (const signal of signals) {
      child.kill(signal)
      await new Promise((resolve) => setTimeout(resolve, 150))
    }
    return await outcome
  }

  it("end a run in good order, which the same command completes", async () => {
    const folder = makeFolder()
    writeMany(folder)
    const interrupted = await stopped(folder, "test.duckdb", ["SIGINT"])
    assert.strictEqual(interrupted.code, 130, interrupted.stdout.slice(-500))
    assert.include(interrupted.stderr, "Stopping as soon as what is being written is whole.")
    assert.include(interrupted.stdout, "not reached before the run was stopped\n")
    assert.include(interrupted.stdout, " resume --db ")
    assert.isFalse(existsSync(join(folder, "test.duckdb.wal")))
    assert.strictEqual((await run(folder, ["verify", ...db])).code, 0)
    const again = await run(folder, ["migrate", "many", ...db, "--json"])
    assert.strictEqual(again.code, 0)
    const { totals } = JSON.parse(again.stdout)
    assert.strictEqual(totals.migrated + totals.unchanged, 1200)
    assert.isAbove(totals.migrated, 0)
  })

  it("end with 143 for SIGTERM, and at once when they come twice", async () => {
    const folder = makeFolder()
    writeMany(folder)
    const terminated = await stopped(folder, "terminated.duckdb", ["SIGTERM"])
    assert.strictEqual(terminated.code, 143)
    const twice = await stopped(folder, "twice.duckdb", ["SIGINT", "SIGINT"], "--json")
    assert.strictEqual(twice.code, 130)
    const { error, outcome } = JSON.parse(twice.stdout)
    assert.match(error?.tag ?? outcome, /^interrupted$/i)
    for (const database of ["terminated.duckdb", "twice.duckdb"]) {
      const verified = await run(folder, ["verify", "--db", database])
      assert.strictEqual(verified.code, 0, verified.stdout)
    }
  })
})

describe("a name that begins with a hyphen", () => {
  it("is taken after --, and that of a file is otherwise told how to be given", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "-rf.json": '{"name":"--rf","patients":[]}' })
    const options = ["--db", "test.duckdb", "--no-backup", "--no-verify"]
    const taken = await run(folder, ["migrate", "--", "-rf.json", ...options])
    assert.strictEqual(taken.code, 0, taken.stderr)
    const next = / mallard (export .+)\n/.exec(taken.stdout)?.[1] ?? ""
    const exported = await runOther("sh", ["-c", `"$0" "$1" ${next}`, process.execPath, program], folder)
    assert.deepInclude(exported, { code: 0, stderr: "" })
    const named = await run(folder, ["export", "--", "--rf"], { MALLARD_DB: "test.duckdb" })
    assert.strictEqual(named.stdout, exported.stdout)
    const told = await run(folder, ["migrate", "-rf.json", ...options])
    assert.strictEqual(told.code, 2)
    assert.include(told.stderr, "is given as ./-rf.json")
    const spaced = await run(folder, ["list", "--db", "-a b.duckdb"])
    assert.include(spaced.stderr, "is given as './-a b.duckdb'")
  })
})

describe("help", () => {
  it("is what the golden files say", async () => {
    const folder = makeFolder()
    for (const command of [
      "mallard",
      "plan",
      "migrate",
      "status",
      "resume",
      "retry",
      "verify",
      "report",
      "runs",
      "rejects",
      "rollback",
      "savepoint",
      "backup",
      "doctor",
      "list",
      "show",
      "query",
      "export",
      "summary",
      "history",
      "diff",
      "load",
      "save",
      "import",
      "rename",
      "tag",
      "clone",
      "merge",
      "delete",
      "undelete",
      "gc",
      "mcp"
    ]) {
      const outcome = await run(folder, command === "mallard" ? ["--help"] : [command, "--help"])
      assert.strictEqual(outcome.code, 0)
      assert.strictEqual(outcome.stderr, "")
      await expect(outcome.stdout).toMatchFileSnapshot(`golden/${command}.txt`)
    }
  })

  it("of a command that is none is a wrong use", async () => {
    const folder = makeFolder()
    const cases: ReadonlyArray<readonly [asked: ReadonlyArray<string>, parent: string]> = [
      [["nope", "--help"], "mallard"],
      [["help", "nope"], "mallard"],
      [["backup", "nope", "--help"], "mallard backup"]
    ]
    for (const [asked, parent] of cases) {
      const outcome = await run(folder, asked)
      assert.strictEqual(outcome.code, 2)
      assert.strictEqual(outcome.stdout, "")
      assert.include(outcome.stderr, `Unknown subcommand "nope" for "${parent}"`)
    }
    const known = await run(folder, ["help", "backup", "list"])
    assert.strictEqual(known.code, 0)
    assert.include(known.stdout, "mallard backup list")
  })

  it("comes without a command too, and the version with -V", async () => {
    const folder = makeFolder()
    const bare = await run(folder, [])
    assert.strictEqual(bare.code, 0)
    assert.include(bare.stdout, "USAGE\n  mallard <subcommand>")
    assert.deepStrictEqual(await outcomeOf(start(folder, [], {}, programFromSources)), bare)
    for (const flag of ["-V", "--version"]) {
      assert.match((await run(folder, [flag])).stdout, /^mallard \d+\.\d+\.\d+\n$/)
    }
  })

  it("does not load the database engine", async () => {
    const { folder } = await migrated()
    const report = "process.report.getReport().sharedObjects.some((path) => path.includes('duckdb'))"
    const script = `process.on("exit", () => { if (${report}) console.error("engine loaded") })`
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` }
    for (const entry of [program, programFromSources]) {
      const errorsOf = async (...args: ReadonlyArray<string>) =>
        (await outcomeOf(start(folder, args, env, entry))).stderr
      assert.strictEqual(await errorsOf("list", ...db), "engine loaded\n")
      assert.strictEqual(await errorsOf("migrate", "--help"), "")
    }
  })
})
