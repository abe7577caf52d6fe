import { spawnSync } from "node:child_process"
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, beforeAll, describe, it } from "vitest"
import type { Failpoint } from "@mallard/duckdb-store"
import { thisProcess } from "@mallard/duckdb-store/Processes"
import {
  cohort,
  folderCohort,
  hasTerminals,
  makeFolder,
  onTerminal,
  outcomeOf,
  run,
  start,
  writeFiles
} from "./support.ts"

const db = ["--db", "test.duckdb"]

/** Kills itself when it passes a point, for the first time or a later one, or gets another signal there. */
const dieAt = (point: Failpoint, passing = 1, signal: NodeJS.Signals = "SIGKILL"): string =>
  `data:text/javascript,${encodeURIComponent(
    `import { registerHooks } from "node:module"
let left = ${passing}
globalThis.pass = (point) => {
  if (point === "${point}" && --left === 0) process.kill(process.pid, "${signal}")
}
registerHooks({ load: (url, context, next) => {
  const loaded = next(url, context)
  const passed = 'Failpoints", { defaultValue: () => () => {} }'
  if (!String(loaded.source).includes(passed)) return loaded
  return { ...loaded, source: String(loaded.source).replace(passed, 'Failpoints", { defaultValue: () => globalThis.pass }') }
} })`
  )}`

/** Before the last of three transactions: of the begin, of the one batch, of the end. */
const dieBeforeEnd = dieAt("batch/begun", 3)

/** When all is committed and nothing proven; the first time the tables were made. */
const dieBeforeProof = dieAt("checkpoint/begun", 2)

/** The program with a preloaded module that makes it die. */
const startDying = (folder: string, args: ReadonlyArray<string>, preload: string) =>
  start(folder, args, { NODE_OPTIONS: `--import=${preload}` })

const events = async (folder: string) =>
  JSON.parse((await run(folder, ["runs", ...db, "--json"])).stdout) as ReadonlyArray<{
    readonly run: string
    readonly outcome: string
    readonly options: Readonly<Record<string, unknown>>
  }>

const text = (name: string, id: string) => `{"name":"${name}","patients":[{"id":"${id}"}]}`

const files = { [cohort.file]: cohort.text, "second.json": '{"name":"second","patients":[{"id":"s1"}]}' }

describe("mallard resume", () => {
  for (const [what, preload, ended, outcome, listed] of [
    ["before its end was noted", dieBeforeEnd, "was cut short", "cut-short", "cut-short"],
    ["before its proof", dieBeforeProof, "ended before its proof", "done", "done: 2 migrated; ended before its proof"]
  ] as const) {
    it(`goes on with a run that was killed ${what}: nothing is stored twice, all is proven`, async () => {
      const folder = makeFolder()
      writeFiles(folder, Object.fromEntries(Object.entries(files).map(([name, text]) => [`in/${name}`, text])))
      const killed = startDying(folder, ["migrate", "in", ...db, "--on-conflict", "rename"], preload)
      await outcomeOf(killed)
      assert.strictEqual(killed.signalCode, "SIGKILL")
      assert.isTrue(existsSync(join(folder, "test.duckdb")))
      const left = JSON.parse((await run(folder, ["report", ...db, "--json"])).stdout)
      assert.strictEqual(left.notes[0], `The run ${ended}: \`mallard resume ${left.run.slice(0, 8)}\` goes on with it.`)
      const resumed = await run(folder, ["resume", ...db, "--json"])
      assert.strictEqual(resumed.code, 0, resumed.stderr)
      const report = JSON.parse(resumed.stdout)
      const [first, second] = await events(folder)
      assert.deepInclude(report.totals, { found: 2, migrated: 0, unchanged: 2 })
      assert.deepInclude(report.verification, { checked: 2, matched: 2, mismatched: 0 })
      assert.deepInclude(second?.options, { resumes: first?.run, on_conflict: "rename", paths: ["in"], cwd: folder })
      assert.strictEqual(second?.outcome, "done")
      const again = await run(folder, ["resume", ...db])
      assert.strictEqual(again.stdout, "Nothing to resume: every run came to its end.\n")
      const other = await run(folder, ["resume", first?.run ?? "", ...db])
      assert.strictEqual(other.code, 1)
      const [one = "", two = ""] = [first?.run.slice(0, 8), second?.run.slice(0, 8)]
      assert.include(other.stderr, `Run ${one} ${ended}, and run ${two} went on with it.`)
      const told = await run(folder, ["report", one, ...db])
      assert.include(told.stdout, `(UTC), ${outcome}\n`)
      assert.include(told.stdout, `The run ${ended}.\n`)
      assert.include(told.stdout, `Run ${second?.run} went on with it.\n`)
      assert.strictEqual(told.stdout.includes(`Next:     mallard report ${two} `), outcome === "cut-short")
      assert.include((await run(folder, ["runs", ...db])).stdout, `migrate ${listed}; gone on with by run ${two}\n`)
    })
  }

  it("goes on with a run that was stopped at its proof, of which every command tells the same", async () => {
    const folder = makeFolder()
    writeFiles(folder, Object.fromEntries(Object.entries(files).map(([name, text]) => [`in/${name}`, text])))
    const stopped = await outcomeOf(startDying(folder, ["migrate", "in", ...db], dieAt("verify/begun", 1, "SIGINT")))
    assert.strictEqual(stopped.code, 130, stopped.stdout)
    const [first] = await events(folder)
    const id = first?.run.slice(0, 8)
    assert.strictEqual(first?.outcome, "interrupted")
    const sentence = "The run ended before its proof"
    const next = `\nNext:     mallard resume --db ${join(folder, "test.duckdb")}: what is stored is whole`
    const report = await run(folder, ["report", ...db])
    assert.include(report.stdout, "(UTC), interrupted\n")
    for (const { stdout } of [stopped, report]) {
      assert.include(stdout, "2/2 migrated (")
      assert.include(stdout, sentence)
      assert.include(stdout, next)
    }
    assert.include(
      (await run(folder, ["runs", ...db])).stdout,
      "migrate interrupted: 2 migrated; ended before its proof\n"
    )
    assert.include((await run(folder, ["status", ...db])).stdout, `! run ${id} ended before its proof: mallard resume`)
    const resumed = await run(folder, ["resume", ...db])
    assert.strictEqual(resumed.code, 0, resumed.stderr)
    assert.include(resumed.stdout, "Verified: 2 documents rendered from the database, all as in the source")
    assert.include((await run(folder, ["status", ...db, "--check"])).stdout, "2 sources: 2 unchanged\n")
  })

  it("does what the plan of the killed run said: what the plan left out or refuses stays out", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "in/one.json": text("one", "1"), "in/two.json": text("two", "1") })
    await run(folder, ["plan", "in", ...db, "--out", "plan.json"])
    const killed = startDying(folder, ["migrate", "--plan", "plan.json"], dieBeforeEnd)
    await outcomeOf(killed)
    assert.strictEqual(killed.signalCode, "SIGKILL")
    writeFiles(folder, { "in/two.json": text("two", "2"), "in/new.json": text("new", "1") })
    rmSync(join(folder, "plan.json"))
    const resumed = await run(folder, ["resume", ...db, "--json"])
    assert.strictEqual(resumed.code, 3, resumed.stderr)
    const report = JSON.parse(resumed.stdout)
    assert.deepStrictEqual(
      report.items.map((item: { path: string; outcome: string; remarks: ReadonlyArray<{ code: string }> }) =>
        [item.path.slice(folder.length + 1), item.outcome, item.remarks[0]?.code ?? ""].join(" ").trim()
      ),
      ["in/one.json unchanged", "in/two.json rejected changed-since-plan"]
    )
    const again = await run(folder, ["resume", ...db])
    assert.strictEqual(again.stdout, "Nothing to resume: every run came to its end.\n")
  })

  it("is what migrating the same paths again comes to", async () => {
    const folder = makeFolder()
    writeFiles(folder, files)
    await outcomeOf(startDying(folder, ["migrate", ".", ...db], dieBeforeEnd))
    const again = await run(folder, ["migrate", folder, ...db])
    assert.strictEqual(again.code, 0, again.stderr)
    assert.match(again.stdout, /Went on with run [0-9a-f]{8}, which was cut short/)
    assert.include(again.stdout, "Verified: 2 documents")
  })

  it("never makes plain copies for a run whose copies were encrypted", async () => {
    const folder = makeFolder()
    writeFiles(folder, { ...files, "secret.txt": "correct horse battery staple\n" })
    const args = ["migrate", cohort.file, ...db, "--backup-passphrase-file", "secret.txt"]
    await outcomeOf(startDying(folder, args, dieBeforeEnd))
    const plain = await run(folder, ["resume", ...db])
    assert.strictEqual(plain.code, 12)
    assert.include(plain.stderr, "--backup-passphrase-file")
    const resumed = await run(folder, ["resume", ...db, "--backup-passphrase-file", "secret.txt"])
    assert.strictEqual(resumed.code, 0, resumed.stderr)
    const store = join(folder, "test.duckdb.backups")
    assert.isNotEmpty(readdirSync(store))
    assert.strictEqual(spawnSync("grep", ["-rq", "two people", store]).status, 1)
  })
})

/** Runs the program until it kills itself at a point. */
const killedAt = async (folder: string, args: ReadonlyArray<string>, point: Failpoint, passing = 1): Promise<void> => {
  const killed = startDying(folder, args, dieAt(point, passing))
  const { stderr } = await outcomeOf(killed)
  assert.strictEqual(killed.signalCode, "SIGKILL", stderr)
}

const store = "test.duckdb.backups"

/** The files that tell of runs which the ledger does not have. */
const recordsIn = (folder: string): ReadonlyArray<string> =>
  existsSync(join(folder, store)) ? readdirSync(join(folder, store)).filter((name) => name.endsWith(".run")) : []

const unfinishedIn = async (folder: string): Promise<ReadonlyArray<string>> =>
  JSON.parse((await run(folder, ["status", ...db, "--json"])).stdout).unfinished.map(
    (unfinished: { readonly run: string }) => unfinished.run
  )

/** What is stored, free of ids and times. */
const storedIn = async (folder: string) =>
  JSON.parse((await run(folder, ["list", ...db, "--json"])).stdout).map(
    ({ description, entities, name, seq }: Readonly<Record<string, unknown>>) => ({ description, entities, name, seq })
  )

describe("mallard resume of a run that was killed before the ledger had it", () => {
  const sources = Object.fromEntries(
    [...Object.entries(files), ...Object.entries(folderCohort)].map(([name, text]) => [`in/${name}`, text])
  )
  const migrate = ["migrate", "in", ...db, "--on-conflict", "rename", "--max-depth", "50", "--max-rejects", "5%"]
  const asked = { on_conflict: "rename", max_depth: 50, max_rejects: "5%", paths: ["in"] }

  const begin = (): string => {
    const folder = makeFolder()
    writeFiles(folder, sources)
    return folder
  }

  let undisturbed: unknown
  beforeAll(async () => {
    const folder = mkdtempSync(join(tmpdir(), "mallard-cli-"))
    writeFiles(folder, sources)
    assert.strictEqual((await run(folder, migrate)).code, 0)
    assert.deepStrictEqual(recordsIn(folder), [])
    undisturbed = await storedIn(folder)
    rmSync(folder, { recursive: true })
  })

  for (const [point, passing, isNamed] of [
    ["sources/found", 1, false],
    ["database/built", 1, true],
    ["backup/copied", 2, true],
    ["backup/packed", 1, false],
    ["backup/proven", 1, true],
    ["backup/listed", 1, false],
    ["commit/done", 1, true]
  ] as const) {
    it(`at ${point} is what an undisturbed run is`, async () => {
      const folder = begin()
      await killedAt(folder, migrate, point, passing)
      const killed = recordsIn(folder)[0]?.slice(0, -".run".length) ?? ""
      const resumed = await run(folder, ["resume", ...(isNamed ? [killed.slice(0, 8)] : []), ...db, "--json"])
      assert.strictEqual(resumed.code, 0, resumed.stderr)
      const report = JSON.parse(resumed.stdout)
      assert.deepInclude(report.options, { ...asked, resumes: killed, cwd: folder })
      assert.deepInclude(report.totals, { found: 3, migrated: 3 })
      assert.deepInclude(report.verification, { checked: 4, matched: 4, mismatched: 0 })
      assert.match(
        report.notes[0],
        /^Went on with run [0-9a-f]{8}, which was cut short before it had stored anything\.$/
      )
      assert.deepStrictEqual([await storedIn(folder), recordsIn(folder)], [undisturbed, []])
      assert.strictEqual((await run(folder, ["verify", ...db, "--source", "in"])).code, 0)
    })
  }

  it("stands among the runs and what is unfinished, until it is gone on with", async () => {
    const folder = begin()
    await killedAt(folder, migrate, "database/built")
    const [killed, ...others] = await events(folder)
    assert.deepStrictEqual([killed?.outcome, others], ["cut-short", []])
    assert.deepInclude(killed?.options, asked)
    assert.deepStrictEqual(await unfinishedIn(folder), [killed?.run ?? ""])
    assert.match((await run(folder, ["status", ...db])).stdout, /\nPending: {2}1 run, \d sources\n$/)
    assert.strictEqual((await run(folder, ["resume", ...db])).code, 0)
    assert.deepStrictEqual(
      (await events(folder)).map(({ options, outcome }) => [options["resumes"], outcome]),
      [[killed?.run, "done"]]
    )
    const again = await run(folder, ["resume", ...db])
    assert.strictEqual(again.stdout, "Nothing to resume: every run came to its end.\n")
  })

  it("goes on with what was itself going on, and proves what the first of them had stored", async () => {
    const folder = begin()
    await outcomeOf(startDying(folder, ["migrate", "in", ...db], dieBeforeEnd))
    writeFiles(folder, { "in/third.json": text("third", "1") })
    await killedAt(folder, ["resume", ...db], "backup/packed")
    await killedAt(folder, ["migrate", join(folder, "in"), ...db], "sources/found")
    assert.lengthOf(recordsIn(folder), 2)
    const resumed = await run(folder, ["resume", ...db, "--json"])
    assert.strictEqual(resumed.code, 0, resumed.stderr)
    const report = JSON.parse(resumed.stdout)
    assert.deepInclude(report.verification, { checked: 5, matched: 5, mismatched: 0 })
    const [first, second, ...rest] = await events(folder)
    assert.strictEqual(second?.options["resumes"], first?.run)
    assert.deepStrictEqual(rest, [])
    assert.deepStrictEqual([recordsIn(folder), await unfinishedIn(folder)], [[], []])
  })

  it("is superseded by the same sources migrated anew, and not by others", async () => {
    const folder = begin()
    writeFiles(folder, { "other/other.json": text("other", "1") })
    await killedAt(folder, ["migrate", "in", ...db], "backup/copied")
    const [killed = ""] = await unfinishedIn(folder)
    assert.strictEqual((await run(folder, ["migrate", "other", ...db])).code, 0)
    assert.deepStrictEqual(await unfinishedIn(folder), [killed])
    const again = await run(folder, ["migrate", "in", ...db, "--no-backup"])
    assert.strictEqual(again.code, 0, again.stderr)
    assert.include(again.stdout, `Went on with run ${killed.slice(0, 8)}, which was cut short`)
    assert.deepStrictEqual([recordsIn(folder), await unfinishedIn(folder)], [[], []])
  })

  it("keeps to the folder of the copies that was named, and leaves nothing in the other", async () => {
    const folder = begin()
    await killedAt(folder, ["migrate", "in", ...db, "--backup-dir", "kept"], "backup/proven")
    assert.lengthOf(recordsIn(folder), 1)
    assert.strictEqual((await run(folder, ["backup", "list", ...db])).stdout, `No backups in ${store}\n`)
    assert.include((await run(folder, ["doctor", ...db])).stdout, "no backup of sources lies beside it")
    const resumed = await run(folder, ["resume", ...db, "--json"])
    assert.strictEqual(resumed.code, 0, resumed.stderr)
    assert.strictEqual(JSON.parse(resumed.stdout).backup.path, join(folder, "kept"))
    assert.isFalse(existsSync(join(folder, store)))
  })

  it.skipIf(!hasTerminals)("asks twice for the passphrase where it locks the copies now", async () => {
    const folder = begin()
    writeFiles(folder, { "secret.txt": "correct horse battery staple\n" })
    await killedAt(folder, ["migrate", "in", ...db, "--backup-passphrase-file", "secret.txt"], "database/built")
    const unlike = await onTerminal(
      folder,
      ["resume", ...db, "--backup-passphrase"],
      [
        ["Passphrase of the copies: ", "open sesame\r"],
        ["Once more: ", "open sesam\r"]
      ]
    )
    assert.strictEqual(unlike.code, 2, unlike.shown)
  })

  it("asks for the passphrase, and keeps none", async () => {
    const folder = begin()
    writeFiles(folder, { "secret.txt": "correct horse battery staple\n" })
    await killedAt(folder, ["migrate", "in", ...db, "--backup-passphrase-file", "secret.txt"], "database/named")
    const [record = ""] = recordsIn(folder)
    assert.notInclude(readFileSync(join(folder, store, record), "utf8"), "horse")
    const plain = await run(folder, ["resume", ...db])
    assert.strictEqual(plain.code, 12)
    assert.include(plain.stderr, "--backup-passphrase-file")
    const resumed = await run(folder, ["resume", ...db, "--backup-passphrase-file", "secret.txt"])
    assert.strictEqual(resumed.code, 0, resumed.stderr)
    assert.strictEqual(spawnSync("grep", ["-rq", "two people", join(folder, store)]).status, 1)
  })

  it("is told apart where its report, its rejects or its undoing is asked for", async () => {
    const folder = begin()
    await killedAt(folder, ["migrate", "in", ...db], "backup/copied")
    const [killed = ""] = await unfinishedIn(folder)
    for (const command of [
      ["report", killed],
      ["rollback", killed.slice(0, 8)],
      ["rollback", killed, "--restore-files"],
      ["rejects", "list", "--run", killed],
      ["retry", killed]
    ]) {
      const told = await run(folder, [...command, ...db])
      assert.strictEqual(told.code, 1, command.join(" "))
      assert.include(told.stderr, `Run ${killed} was cut short before it stored anything`, command.join(" "))
      assert.include(told.stderr, `\`mallard resume --db ${join(folder, "test.duckdb")}\` goes on with it unless`)
    }
    rmSync(join(folder, store, `${killed}.run`))
    assert.deepStrictEqual(await unfinishedIn(folder), [])
  })

  it("that fails names the record, and a run that still runs was not cut short", async () => {
    const folder = begin()
    await killedAt(folder, ["migrate", "in", ...db], "backup/copied")
    const [killed = ""] = await unfinishedIn(folder)
    renameSync(join(folder, "in"), join(folder, "gone"))
    const failed = await run(folder, ["resume", ...db])
    assert.strictEqual(failed.code, 1, failed.stderr)
    assert.include(failed.stderr, `in is no longer there, which run ${killed.slice(0, 8)} read.`)
    assert.include(failed.stderr, `To forget it, remove ${join(realpathSync(folder), store, `${killed}.run`)}.`)
    const path = join(folder, store, `${killed}.run`)
    const record = JSON.parse(readFileSync(path, "utf8"))
    writeFileSync(path, JSON.stringify({ ...record, process: thisProcess() }))
    assert.deepStrictEqual(await unfinishedIn(folder), [])
    writeFileSync(path, JSON.stringify({ ...record, process: { ...thisProcess(), since: "2020-01-01T00:00:00Z" } }))
    assert.deepStrictEqual(await unfinishedIn(folder), [killed])
  })

  it("passes over records that are torn or none, and leaves none of a run that ends otherwise", async () => {
    const folder = begin()
    await killedAt(folder, ["migrate", "in", ...db], "backup/copied")
    const [record = ""] = recordsIn(folder)
    const path = join(folder, store, record)
    const whole = readFileSync(path, "utf8")
    copyFileSync(path, join(folder, store, "00000000-0000-4000-8000-000000000000.run"))
    mkdirSync(join(folder, store, "00000000-0000-4000-8000-000000000001.run"))
    appendFileSync(join(folder, store, "other.run"), "x")
    for (const torn of ["", whole.slice(0, -9), whole.replace('"format":1', '"format":2')]) {
      writeFileSync(path, torn)
      assert.deepStrictEqual(await unfinishedIn(folder), [])
    }
    assert.deepStrictEqual(await events(folder), [])
    rmSync(path)
    const failed = await run(folder, ["migrate", "in", "missing", ...db])
    assert.strictEqual(failed.code, 2)
    assert.deepStrictEqual(await unfinishedIn(folder), [])
    assert.strictEqual((await run(folder, ["migrate", "in", ...db])).code, 0)
    assert.strictEqual((await run(folder, ["doctor", ...db])).code, 0)
    assert.strictEqual((await run(folder, ["backup", "list", ...db])).code, 0)
  })

  it("leaves no folder where nothing came of it", async () => {
    const folder = begin()
    assert.strictEqual((await run(folder, ["migrate", "missing", "--db", "a/b/test.duckdb"])).code, 2)
    assert.isFalse(existsSync(join(folder, "a")))
    const rehearsed = await run(folder, ["migrate", "in", "--db", "a/b/test.duckdb", "--dry-run"])
    assert.strictEqual(rehearsed.code, 0)
    assert.isFalse(existsSync(join(folder, "a")))
  })
})

describe("mallard retry", () => {
  it("takes what a run rejected, and nothing else", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [`in/${cohort.file}`]: cohort.text, "in/bad.json": '{"name":"bad",', "in/sub/ok.json": "[]" })
    assert.strictEqual((await run(folder, ["migrate", "in", ...db])).code, 3)
    renameSync(join(folder, "in"), join(folder, "away"))
    const gone = await run(folder, ["retry", "last", ...db])
    assert.strictEqual(gone.code, 1)
    assert.match(
      gone.stderr,
      /in is no longer there, which run [0-9a-f]{8} read\.\n {2}Put it back, or mend the copies/
    )
    renameSync(join(folder, "away"), join(folder, "in"))
    writeFiles(folder, { "in/bad.json": '{"name":"bad","patients":[{"id":"b"}]}', "in/new.json": '{"name":"new"}' })
    const retried = await run(folder, ["retry", "last", ...db, "--json"])
    assert.strictEqual(retried.code, 0, retried.stderr)
    const report = JSON.parse(retried.stdout)
    assert.deepInclude(report.totals, { found: 1, migrated: 1 })
    assert.strictEqual(report.items[0].cohort, "bad")
    const [first] = await events(folder)
    assert.strictEqual(report.options.retries, first?.run)
    const none = await run(folder, ["retry", first?.run.slice(0, 8) ?? "", ...db])
    assert.match(none.stdout, /^Nothing to retry: all that run [0-9a-f]{8} found is stored\.\n$/)
    assert.strictEqual((await run(folder, ["retry", "ffffffff", ...db])).code, 1)
  })
})
