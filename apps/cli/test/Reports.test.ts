import { existsSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { cohort, makeFolder, remarksIn, run, writeFiles } from "./support.ts"

const db = ["--db", "test.duckdb"]

describe("mallard report", () => {
  it("gives the last run in every form, on stdout or in a file for its owner alone", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text, "bad.json": "{" })
    const migrated = await run(folder, ["migrate", ".", ...db, "--report", "out/report.html"])
    assert.strictEqual(migrated.code, 3)
    assert.include(migrated.stderr, `Report: ${join(folder, "out", "report.html")}\n`)
    const page = join(folder, "out", "report.html")
    assert.match(readFileSync(page, "utf8"), /^<!doctype html>/)
    assert.strictEqual(statSync(page).mode & 0o777, 0o600)
    const text = await run(folder, ["report", ...db])
    assert.include(text.stdout, "✓ Diabetes 2024: 3 entities\n")
    assert.include(text.stdout, "1/2 migrated, 1 rejected")
    const json = JSON.parse((await run(folder, ["report", ...db, "--json"])).stdout)
    assert.deepInclude(json.totals, { found: 2, migrated: 1, rejected: 1, balanced: true })
    const junit = await run(folder, ["report", json.run, ...db, "--out", "report.xml"])
    assert.strictEqual(junit.stdout, "")
    assert.include(readFileSync(join(folder, "report.xml"), "utf8"), '<testsuite name="sources" tests="2" failures="1"')
    const told = await run(folder, ["report", ...db, "--out", "again.html", "--json"])
    assert.deepStrictEqual(JSON.parse(told.stdout), { files: [join(folder, "again.html")] })
    assert.match(readFileSync(join(folder, "again.html"), "utf8"), /^<!doctype html>/)
    assert.strictEqual((await run(folder, ["report", ...db, "--format", "html", "--json"])).code, 2)
    const piped = await run(folder, ["report", ...db, "--format", "junit", "--out", "-"])
    assert.strictEqual(piped.stdout, readFileSync(join(folder, "report.xml"), "utf8"))
    const runs = await run(folder, ["runs", ...db])
    assert.match(runs.stdout, new RegExp(`^${json.run} .* migrate done-with-rejects: 1 migrated, 1 rejected$`, "m"))
    const none = await run(folder, ["report", "ffff", ...db])
    assert.strictEqual(none.code, 1)
    assert.include(none.stderr, 'There is no run "ffff"')
  })

  it("says of a savepoint and of an undoing what they did, in every form for people", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text })
    assert.strictEqual((await run(folder, ["migrate", cohort.file, ...db])).code, 0)
    const { run: migrated } = JSON.parse((await run(folder, ["report", ...db, "--json"])).stdout)
    const reported = async (sentence: string, ...others: ReadonlyArray<string>): Promise<void> => {
      const last = JSON.parse((await run(folder, ["runs", ...db, "--json"])).stdout).at(-1)
      for (const format of ["text", "md", "html"]) {
        const { stdout } = await run(folder, ["report", last.run, ...db, "--format", format])
        assert.include(stdout, sentence, format)
        for (const other of format === "text" ? others : []) assert.include(stdout, other)
        assert.notMatch(stdout, /migrated|balance[sd:]|Verification|No copy of the sources/, format)
      }
    }
    assert.strictEqual((await run(folder, ["savepoint", "create", "before", ...db])).code, 0)
    const next = `mallard savepoint restore before --db ${join(folder, "test.duckdb")}`
    await reported("Made the savepoint before: nothing was changed, and all cohorts", `\nNext:     ${next}\n`)
    assert.strictEqual((await run(folder, ["rollback", migrated, ...db])).code, 0)
    await reported(`Undid run ${migrated}: cohorts became what they were`, "✓ Diabetes 2024: taken away\n\nUndid run")
    assert.strictEqual((await run(folder, ["savepoint", "restore", "before", ...db])).code, 0)
    await reported("Went back to the savepoint before: cohorts became what they were then.")
  })

  it("that cannot be written leaves the run as it is, with a warning", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text, "file/x.txt": "" })
    const outcome = await run(folder, ["migrate", cohort.file, ...db, "--report", "file/x.txt/report.html", "--json"])
    assert.strictEqual(outcome.code, 0)
    assert.match(
      remarksIn(outcome.stderr),
      /^Warning: Cannot write .+ The run itself is done; mallard report [-0-9a-f]{36} --out FILE --db .+ writes it/
    )
    assert.deepInclude(JSON.parse(outcome.stdout), {
      $schema: "urn:mallard:report:1",
      schema_version: 1,
      outcome: "done"
    })
    const unknown = await run(folder, ["migrate", cohort.file, "--db", "other.duckdb", "--report", "report.pdf"])
    assert.strictEqual(unknown.code, 2)
    for (const file of [cohort.file, `file/../${cohort.file}`]) {
      const source = await run(folder, ["migrate", ".", "--db", "other.duckdb", "--report", file])
      assert.strictEqual(source.code, 2)
      assert.include(source.stderr, "--report names a file that is there, among the sources")
    }
    assert.strictEqual(readFileSync(join(folder, cohort.file), "utf8"), cohort.text)
    assert.isFalse(existsSync(join(folder, "other.duckdb")))
  })
})
