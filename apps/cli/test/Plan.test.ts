import { existsSync, readFileSync, rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { cohort, folderCohort, makeFolder, remarksIn, run, writeFiles } from "./support.ts"

const db = ["--db", "test.duckdb"]
const text = (name: string, id: string) => `{"name":"${name}","patients":[{"id":"${id}"}]}`

describe("mallard plan", () => {
  it("refuses to carry out a plan in which a key stands twice, and says where", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "in/a.json": text("a", "1") })
    await run(folder, ["plan", "in", ...db, "--out", "plan.json"])
    const plan = readFileSync(join(folder, "plan.json"), "utf8")
    const twice = plan.replace('"action": "store",', '"action": "skip",\n      "\\u0061ction": "store",')
    writeFiles(folder, { "twice.json": twice })
    const refused = await run(folder, ["migrate", "--plan", "twice.json"])
    assert.strictEqual(refused.code, 2)
    const line = twice.split("\n").findIndex((one) => one.includes("u0061ction")) + 1
    assert.include(
      refused.stderr,
      `twice.json is no plan that this version can carry out: /items/0/action stands there`
    )
    assert.include(refused.stderr, `twice (line ${line}, column 7). Make it again with \`plan --out\`.`)
    assert.isFalse(existsSync(join(folder, "test.duckdb")))
    assert.strictEqual((await run(folder, ["migrate", "--plan", "plan.json"])).code, 0)
  })

  it("decides for every source and writes nothing; migrate --plan does that and refuses what changed", async () => {
    const folder = makeFolder()
    writeFiles(folder, {
      [`in/${cohort.file}`]: cohort.text,
      "in/edited.json": text("edited", "1"),
      "in/gone.json": text("gone", "1"),
      "in/bad.json": "{",
      ...folderCohort
    })
    const planned = await run(folder, ["plan", "in", "saved", ...db, "--out", "plan.json"])
    assert.strictEqual(planned.code, 3, planned.stderr)
    assert.match(planned.stdout, /^Estimate: about .+ of database, .+ of copies; .+ free$/m)
    assert.match(planned.stdout, /^ +\(time as usual .+, database as usual, copies as .+ of it compress\)$/m)
    assert.notInclude(planned.stdout, "--out FILE")
    assert.isFalse(existsSync(join(folder, "test.duckdb")))
    assert.strictEqual(statSync(join(folder, "plan.json")).mode & 0o777, 0o600)
    const plan = JSON.parse(readFileSync(join(folder, "plan.json"), "utf8"))
    const actions = (items: ReadonlyArray<{ readonly path: string; readonly action: string }>) =>
      items.map(({ action, path }) => `${path.slice(folder.length + 1)} ${action}`)
    assert.deepStrictEqual(actions(plan.items), [
      "in/bad.json reject",
      "in/diabetes.json store",
      "in/edited.json store",
      "in/gone.json store",
      "saved/bob store"
    ])
    const over = await run(folder, ["plan", "in", ...db, "--out", `in/${cohort.file}`])
    assert.strictEqual(over.code, 2, over.stderr)
    assert.strictEqual(readFileSync(join(folder, "in", cohort.file), "utf8"), cohort.text)
    const printed = JSON.parse((await run(folder, ["plan", "in", "saved", ...db, "--json"])).stdout)
    assert.deepStrictEqual(printed.items, plan.items)
    const piped = JSON.parse((await run(folder, ["plan", "in", "saved", ...db, "--out", "-"])).stdout)
    assert.deepStrictEqual(piped.items, plan.items)
    assert.isFalse(existsSync(join(folder, "-")))

    writeFiles(folder, { "in/edited.json": text("edited", "2"), "in/bad.json": text("bad", "1"), "in/new.json": "[]" })
    rmSync(join(folder, "in/gone.json"))
    const done = await run(folder, ["migrate", "--plan", "plan.json", "--json"])
    assert.strictEqual(done.code, 3, done.stderr)
    const report = JSON.parse(done.stdout)
    assert.deepStrictEqual(
      report.items.map((item: { path: string; outcome: string; remarks: ReadonlyArray<{ code: string }> }) =>
        [item.path.slice(folder.length + 1), item.outcome, item.remarks[0]?.code ?? ""].join(" ").trim()
      ),
      [
        "in/bad.json rejected changed-since-plan",
        "in/diabetes.json migrated",
        "in/edited.json rejected changed-since-plan",
        "saved/bob migrated",
        "in/gone.json rejected gone-since-plan"
      ]
    )
    assert.isTrue(report.totals.balanced)
    assert.strictEqual(report.database, join(folder, "test.duckdb"))
    assert.include((await run(folder, ["runs", ...db])).stdout, "plan=of 5 sources")
    const rejects = await run(folder, ["rejects", "list", ...db])
    assert.match(rejects.stdout, /\n3 sources\nNext: +plan again: nothing in them is to be mended\n$/)
    // Of what was gone when the plan was carried out, no copy was kept.
    const retried = await run(folder, ["retry", "last", ...db])
    assert.include(
      retried.stdout,
      "in/gone.json: skipped (it is not there any more; its copy, if one was kept when it was"
    )
  })

  it("is carried out without taking sources beside the plan for gone or renamed", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "in/a.json": text("a", "1"), "in/b.json": text("b", "1"), "in/c.json": "{", ...folderCohort })
    await run(folder, ["migrate", "in", "saved", ...db])
    await run(folder, ["plan", "in", "saved", ...db, "--out", "plan.json"])
    // New since the plan, with the content of one that is in it; and one that really goes.
    writeFiles(folder, { "in/d.json": text("a", "1"), "in/e.json": text("e", "1") })
    await run(folder, ["migrate", "in", "saved", ...db])
    rmSync(join(folder, "in/b.json"))
    const done = await run(folder, ["migrate", "--plan", "plan.json", "--json"])
    assert.strictEqual(done.code, 3, done.stderr)
    const { items, removed } = JSON.parse(done.stdout)
    assert.deepStrictEqual(
      [removed, items.filter((item: { from?: string }) => item.from !== undefined)],
      [undefined, []]
    )
    const { sources } = JSON.parse((await run(folder, ["status", ...db, "--json"])).stdout)
    assert.deepStrictEqual(
      sources.map(({ change, path }: { path: string; change: string }) => `${path.slice(folder.length + 1)} ${change}`),
      [
        "in/a.json unchanged",
        "in/b.json removed",
        "in/c.json rejected",
        "in/d.json unchanged",
        "in/e.json unchanged",
        "saved/bob unchanged"
      ]
    )
  })

  it("refuses what the database decides otherwise by now, and files that are no plans", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "a/one.json": text("one", "1"), "b/one.json": text("one", "2"), "no.json": '{"format":1}' })
    await run(folder, ["migrate", "a", ...db])
    await run(folder, ["plan", "b", ...db, "--no-backup", "--out", "plain.json"])
    const bounds = ["--max-file-size", "2GB", "--max-depth", "100"]
    await run(folder, ["plan", "b", ...db, "--on-conflict", "skip", ...bounds, "--out", "plan.json"])
    await run(folder, ["rollback", "last", ...db])
    const done = await run(folder, ["migrate", "--plan", "plan.json", ...bounds, "--memory", "100MB", "--jobs", "1"])
    assert.strictEqual(done.code, 3)
    assert.include(done.stdout, "[decided-otherwise]")
    for (const args of [
      ["--plan", "no.json"],
      ["--plan", "missing.json"],
      ["a", "--plan", "plan.json"],
      ["--plan", "plan.json", "--max-file-size", "1GB"],
      ["--plan", "plain.json", "--max-file-size", "1GB"],
      ["--plan", "plan.json", "--max-entity-size", "1MiB"],
      ["--plan", "plan.json", "--max-depth", "9"],
      ["--plan", "plan.json", "--no-backup"],
      ["--plan", "plain.json", "--backup-dir", "copies"],
      ["--plan", "plan.json", "--db", "other.duckdb"]
    ]) {
      assert.strictEqual((await run(folder, ["migrate", ...args])).code, 2, args.join(" "))
    }
  })
})

describe("mallard migrate", () => {
  it("rejects by a plan for the reasons that the plan gives, where nothing has changed", async () => {
    const folder = makeFolder()
    const ill = (name: string, rate: number) => `{"name":"${name}","vital_signs":[{"id":"v","heart_rate":${rate}}]}`
    writeFiles(folder, {
      // More than a batch, so that the first source of a contested name is decided about long before the last.
      ...Object.fromEntries(Array.from({ length: 520 }, (_, at) => [`more/m${at}.json`, text(`m${at}`, `${at}`)])),
      "in/a.json": text("contested", "1"),
      "in/b.json": text("contested", "2"),
      "in/c.json": text("contested", "1"),
      "in/d.json": text("far", "1"),
      "more/z.json": text("far", "2"),
      "in/remarked.json": '{"name":"remarked","patients":[{"id":"1","birth_date":"soon"}]}',
      "in/same-1.json": text("same", "1"),
      "in/same-2.json": text("same", "1"),
      "in/range.json": ill("range", 7200),
      "in/spoilt.json": ill("spoilt", 7200),
      "in/spoilt-not.json": ill("spoilt", 72),
      "rules.json": '{"ranges":"reject"}'
    })
    const refusals = (items: ReadonlyArray<{ readonly path: string; readonly remarks: ReadonlyArray<unknown> }>) =>
      items
        .filter(({ remarks }) => remarks.length > 0)
        .map(({ path, remarks }) => [path, remarks] as const)
        .sort(([one], [other]) => (one < other ? -1 : 1))
    for (const flags of [["more"], ["--strict"], ["--rules", "rules.json"]]) {
      const own = ["--db", `by${flags.join("")}.duckdb`]
      const planned = await run(folder, ["plan", "in", ...own, ...flags, "--out", "plan.json", "--json"])
      assert.strictEqual(planned.code, 3, planned.stderr)
      const done = await run(folder, ["migrate", "--plan", "plan.json", "--json"])
      assert.strictEqual(done.code, 3, done.stderr)
      const { items, totals } = JSON.parse(done.stdout)
      assert.deepStrictEqual(refusals(items), refusals(JSON.parse(planned.stdout).items), flags.join(" "))
      assert.isTrue(totals.balanced)
      const stored = JSON.parse((await run(folder, ["report", ...own, "--json"])).stdout)
      assert.deepStrictEqual(refusals(stored.items), refusals(items), flags.join(" "))
      const rejects = JSON.parse((await run(folder, ["rejects", "list", "--run", "last", ...own, "--json"])).stdout)
      assert.strictEqual(rejects.length, totals.rejected, flags.join(" "))
    }
  })

  it("checks the content by rules, also when it is planned, and undoes a run with too many rejects", async () => {
    const folder = makeFolder()
    writeFiles(folder, {
      "in/good.json": text("good", "1"),
      "in/range.json": '{"name":"range","vital_signs":[{"id":"v","heart_rate":7200}]}',
      "rules.json": '{"ranges":"reject","missing_ids":"warn"}',
      "wrong.json": '{"ranges":"maybe"}'
    })
    const args = ["in", ...db, "--rules", "rules.json"]
    const planned = await run(folder, ["plan", ...args, "--out", "plan.json"])
    assert.strictEqual(planned.code, 3, planned.stderr)
    assert.include(planned.stdout, "[out-of-range]")
    assert.notInclude(planned.stdout, "7200")
    const done = await run(folder, ["migrate", ...args, "--max-rejects", "20%", "--progress", "json"])
    assert.strictEqual(done.code, 1, done.stderr)
    assert.include(done.stdout, "--max-rejects 20% allows: the run was stopped and undone")
    const lines = done.stderr.trimEnd().split("\n")
    assert.deepInclude(JSON.parse(lines.at(-1) ?? ""), { event: "progress", sources: 2, items: 2 })
    assert.deepStrictEqual(JSON.parse((await run(folder, ["list", ...db, "--json"])).stdout), [])
    const quiet = await run(folder, ["migrate", ...args, "--max-rejects", "20%", "--quiet"])
    assert.match(
      quiet.stdout,
      /^✗ in\/range\.json: .+\n0\/2 migrated, 1 skipped, 1 rejected, undone by run [0-9a-f]{8}\n$/
    )
    assert.match(remarksIn(quiet.stderr), /^More sources were rejected .+ the run was stopped and undone .+\n$/)
    const wouldBe = await run(folder, ["plan", ...args, "--max-rejects", "20%"])
    assert.strictEqual(wouldBe.code, 1, wouldBe.stderr)
    assert.include(wouldBe.stdout, "a run would stop and be undone.")
    const carried = await run(folder, ["migrate", "--plan", "plan.json", "--json"])
    assert.strictEqual(carried.code, 3, carried.stderr)
    const report = JSON.parse(carried.stdout)
    assert.deepStrictEqual(report.options.rules, { ranges: "reject", missing_ids: "warn" })
    assert.deepInclude(report.totals, { found: 2, migrated: 1, rejected: 1 })
    for (const wrong of [
      ["--rules", "wrong.json"],
      ["--rules", "missing.json"],
      ["--max-rejects", "many"]
    ]) {
      assert.strictEqual((await run(folder, ["migrate", "in", ...db, ...wrong])).code, 2, wrong.join(" "))
    }
  })
})
