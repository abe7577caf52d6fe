import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { cohort, folderCohort, makeFolder, run, writeFiles } from "./support.ts"

const db = ["--db", "test.duckdb"]

describe("mallard status", () => {
  it("ends with 5 under --check while something is pending, and writes nothing", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [`in/${cohort.file}`]: cohort.text, "in/bad.json": "{", ...folderCohort })
    assert.strictEqual((await run(folder, ["status", "in", ...db])).code, 10)
    await run(folder, ["migrate", "in", "saved", ...db])
    const before = readFileSync(join(folder, "test.duckdb"))
    const waiting = await run(folder, ["status", ...db, "--check"])
    assert.strictEqual(waiting.code, 5, waiting.stderr)
    assert.include(waiting.stdout, "+ in/bad.json: rejected, not mended yet\n")
    assert.include(waiting.stdout, "3 sources: 1 rejected, 2 unchanged\nPending:  1 source\n")
    assert.strictEqual((await run(folder, ["status", "saved", ...db, "--check"])).code, 0)
    assert.strictEqual((await run(folder, ["status", ...db])).code, 0)
    assert.isTrue(before.equals(readFileSync(join(folder, "test.duckdb"))))
    writeFiles(folder, { "saved/bob/patients.json": '{"patients":[{"id":"b2"}]}' })
    const changed = JSON.parse((await run(folder, ["status", "saved", ...db, "--json"])).stdout)
    assert.deepStrictEqual(changed.changes, { changed: 1 })
    assert.strictEqual(changed.pending, 1)
  })

  it("knows where originals were moved and by which run, which ends with 3 when one had to stay", async () => {
    const folder = makeFolder()
    writeFiles(folder, {
      "in/a.json": '{"name":"a","patients":[{"id":"1"}]}',
      "in/b.json": '{"name":"b","patients":[{"id":"2"}]}',
      "old/b.json": "mine"
    })
    const moved = await run(folder, ["migrate", "in", ...db, "--move-originals", "old"])
    assert.strictEqual(moved.code, 3, moved.stderr)
    assert.include(moved.stdout, `Not moved: ${join(folder, "in/b.json")} (something of that name is there already).`)
    const runs = JSON.parse((await run(folder, ["runs", ...db, "--json"])).stdout)
    assert.strictEqual(runs[0].outcome, "partly-done")
    const short = runs[0].run.slice(0, 8)
    const brief = await run(folder, ["status", ...db])
    assert.include(
      brief.stdout,
      `- 1 source moved by run ${short}; --verbose says where to\n2 sources: 1 moved, 1 unchanged\n`
    )
    const whole = await run(folder, ["status", ...db, "--verbose"])
    assert.include(whole.stdout, `- in/a.json: moved to old/a.json by run ${short}; what was stored from it stays\n`)
  })
})
