import { spawnSync } from "node:child_process"
import { existsSync, readdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { cohort, makeFolder, outcomeOf, programFromSources, run, start, writeFiles } from "./support.ts"

const db = ["--db", "test.duckdb"]

/** Kills itself once the database has been written to and closed, before the proof. */
const dieBeforeProof = `data:text/javascript,${encodeURIComponent(
  `import { registerHooks } from "node:module"
registerHooks({ load: (url, context, next) => {
  const loaded = next(url, context)
  if (!url.endsWith("/migrator/src/Migrate.ts")) return loaded
  const source = String(loaded.source)
  const call = "yield* checkpoint(client)"
  if (!source.includes(call)) throw new Error("nothing to replace")
  return { ...loaded, source: source.replaceAll(call, "process.kill(process.pid, 'SIGKILL')") }
} })`
)}`

const dieBeforeEnd = dieBeforeProof.replaceAll(
  encodeURIComponent("yield* checkpoint(client)"),
  encodeURIComponent("loader.recordRest(unreadable)")
)

/** From the sources, in one of which the program is made to die. */
const startDying = (folder: string, args: ReadonlyArray<string>, preload: string) =>
  start(folder, args, { NODE_OPTIONS: `--import=${preload}` }, programFromSources)

const events = async (folder: string) =>
  JSON.parse((await run(folder, ["runs", ...db, "--json"])).stdout) as ReadonlyArray<{
    readonly run: string
    readonly outcome: string
    readonly options: Readonly<Record<string, unknown>>
  }>

const text = (name: string, id: string) => `{"name":"${name}","patients":[{"id":"${id}"}]}`

const files = { [cohort.file]: cohort.text, "second.json": '{"name":"second","patients":[{"id":"s1"}]}' }

describe("mallard resume", () => {
  for (const [what, preload] of [
    ["before its end was noted", dieBeforeEnd],
    ["before its proof", dieBeforeProof]
  ] as const) {
    it(`goes on with a run that was killed ${what}: nothing is stored twice, all is proven`, async () => {
      const folder = makeFolder()
      writeFiles(folder, Object.fromEntries(Object.entries(files).map(([name, text]) => [`in/${name}`, text])))
      const killed = startDying(folder, ["migrate", "in", ...db, "--on-conflict", "rename"], preload)
      await outcomeOf(killed)
      assert.strictEqual(killed.signalCode, "SIGKILL")
      assert.isTrue(existsSync(join(folder, "test.duckdb")))
      const resumed = await run(folder, ["resume", ...db, "--json"])
      assert.strictEqual(resumed.code, 0, resumed.stderr)
      const report = JSON.parse(resumed.stdout)
      const [first, second] = await events(folder)
      assert.deepInclude(report.totals, { found: 2, migrated: 0, unchanged: 2 })
      assert.deepInclude(report.verification, { checked: 2, matched: 2, mismatched: 0 })
      assert.deepInclude(second?.options, { resumes: first?.run, on_conflict: "rename", paths: ["in"], cwd: folder })
      assert.strictEqual(second?.outcome, "done")
      const again = await run(folder, ["resume", ...db])
      assert.match(again.stdout, /^Nothing to resume: every run that began to store came to its end\./)
      assert.strictEqual((await run(folder, ["resume", first?.run ?? "", ...db])).code, 1)
    })
  }

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
    assert.match(again.stdout, /^Nothing to resume: every run that began to store came to its end\./)
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
    assert.strictEqual(plain.code, 2)
    assert.include(plain.stderr, "--backup-passphrase-file")
    const resumed = await run(folder, ["resume", ...db, "--backup-passphrase-file", "secret.txt"])
    assert.strictEqual(resumed.code, 0, resumed.stderr)
    const store = join(folder, "test.duckdb.backups")
    assert.isNotEmpty(readdirSync(store))
    assert.notStrictEqual(spawnSync("grep", ["-rq", "two people", store]).status, 0)
  })
})

describe("mallard retry", () => {
  it("takes what a run rejected, and nothing else", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [`in/${cohort.file}`]: cohort.text, "in/bad.json": '{"name":"bad",', "in/sub/ok.json": "[]" })
    assert.strictEqual((await run(folder, ["migrate", "in", ...db])).code, 3)
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
