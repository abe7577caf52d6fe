import { assert, describe, it } from "vitest"
import { cohort, makeFolder, run, writeFiles } from "./support.ts"

const db = ["--db", "test.duckdb"]

describe("mallard rollback", () => {
  it("undoes a run and then that, and says which cohorts were left alone", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text, "other.json": '{"name":"other","patients":[]}' })
    const first = JSON.parse((await run(folder, ["migrate", ".", ...db, "--json"])).stdout)
    writeFiles(folder, { [cohort.file]: cohort.text.replace("two people", "three people") })
    await run(folder, ["migrate", ".", ...db, "--overwrite"])
    const partly = await run(folder, ["rollback", first.run.slice(0, 8), ...db])
    assert.strictEqual(partly.code, 3)
    assert.match(
      partly.stdout,
      /^- Diabetes 2024: left as it is \(changed since by run [0-9a-f-]{36}; undo that one first/m
    )
    assert.include(partly.stdout, "✓ other: taken away\n")
    assert.include(partly.stdout, "2 cohorts: 0 as before, 1 taken away, 1 left as they are\n")
    const undoing = /^Run ([0-9a-f]{8})/m.exec(partly.stdout)?.[1] ?? ""
    const test = await run(folder, ["rollback", undoing, ...db, "--test"])
    assert.include(test.stdout, "✓ other: would be as it was before\n")
    assert.include(test.stdout, "nothing was written")
    const back = await run(folder, ["rollback", undoing, ...db])
    assert.strictEqual(back.code, 0, back.stderr)
    const list = JSON.parse((await run(folder, ["list", ...db, "--json"])).stdout)
    assert.deepEqual(
      list.map(({ name, seq }: { name: string; seq: number }) => [name, seq]),
      [
        ["Diabetes 2024", 2],
        ["other", 3]
      ]
    )
    const report = await run(folder, ["report", ...db])
    assert.include(report.stdout, "✓ other: as before\n")
    const savepoint = await run(folder, ["savepoint", "create", "before", ...db])
    assert.strictEqual(savepoint.stdout, "Savepoint before made\n")
    const nothing = await run(folder, ["savepoint", "restore", "before", ...db])
    assert.include(nothing.stdout, "there is nothing to undo")
    const none = await run(folder, ["rollback", "last", "--db", "none.duckdb"])
    assert.strictEqual(none.code, 10)
  })
})
