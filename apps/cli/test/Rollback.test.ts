import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { cohort, makeFolder, run, writeFiles } from "./support.ts"

const db = ["--db", "test.duckdb"]

describe("mallard savepoint restore", () => {
  it("says which of its cohorts are removed for good, and ends with 3", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "a.json": '{"name":"a","patients":[]}', "b.json": '{"name":"b","patients":[]}' })
    await run(folder, ["migrate", ".", ...db])
    await run(folder, ["savepoint", "create", "before", ...db])
    await run(folder, ["delete", "a", ...db])
    await run(folder, ["savepoint", "create", "without", ...db])
    await run(folder, ["gc", "--purge", "--yes", ...db])
    const lost = "1 cohort of the savepoint cannot be given back: removed for good since.\n"
    const list = await run(folder, ["savepoint", "list", ...db])
    assert.match(list.stdout, new RegExp(`  before\n    ${lost}[^\n]+  without\n$`))
    const left = await run(folder, ["savepoint", "restore", "before", ...db])
    assert.strictEqual(left.code, 3, left.stderr)
    assert.include(left.stdout, `No cohort that is left has changed since: there is nothing to restore.\n! ${lost}`)
    const whole = await run(folder, ["savepoint", "restore", "without", ...db])
    assert.strictEqual(whole.code, 0, whole.stderr)
    await run(folder, ["rename", "b", "c", ...db])
    const partly = await run(folder, ["savepoint", "restore", "before", ...db])
    assert.strictEqual(partly.code, 3, partly.stderr)
    assert.include(partly.stdout, `1 cohort: 1 as before, 0 taken away, 0 left as they are\n! ${lost}`)
    assert.include((await run(folder, ["report", "last", ...db])).stdout, lost)
  })
})

describe("mallard rollback --restore-files", () => {
  it("puts back what is missing byte by byte, overwrites nothing, and undoes nothing if that cannot be done", async () => {
    const folder = makeFolder()
    const files = { "in/a.json": ' {"name": "a", "patients": []}\n', "in/b.json": '{"name":"b","patients":[{"id":1}]}' }
    writeFiles(folder, { ...files, "key.txt": "open sesame" })
    const key = ["--backup-passphrase-file", "key.txt"]
    const old = ["--move-originals", "old"]
    const migrated = await run(folder, ["migrate", "in", ...db, ...key, ...old])
    assert.strictEqual(migrated.code, 0, migrated.stderr)
    assert.isFalse(existsSync(join(folder, "in/a.json")))
    const undo = ["rollback", "last", ...db, "--restore-files"]
    assert.strictEqual((await run(folder, undo)).code, 12)
    assert.lengthOf(JSON.parse((await run(folder, ["list", ...db, "--json"])).stdout), 2)
    writeFiles(folder, { "in/b.json": "mine" })
    const test = await run(folder, [...undo, ...key, "--test"])
    assert.include(test.stdout, "1 original would be put back, 1 left as they are\n")
    assert.isFalse(existsSync(join(folder, "in/a.json")))
    const undone = await run(folder, [...undo, ...key])
    assert.strictEqual(undone.code, 3, undone.stderr)
    assert.include(
      undone.stdout,
      "- in/b.json: left as it is, other bytes are there\n1 original put back, 1 left as they are\n"
    )
    assert.strictEqual(readFileSync(join(folder, "in/a.json"), "utf8"), files["in/a.json"])
    assert.strictEqual(readFileSync(join(folder, "in/b.json"), "utf8"), "mine")
    assert.deepEqual(JSON.parse((await run(folder, ["list", ...db, "--json"])).stdout), [])
    const without = await run(folder, ["rollback", "last", ...db, "--restore-files"])
    assert.strictEqual(without.code, 1)
    assert.include(without.stderr, "Nothing was undone; leave out --restore-files.")
  })

  it("undoes nothing where the run has copies of its rejects alone", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "in/a.json": '{"name":"a","patients":[]}', "in/b.json": "{" })
    await run(folder, ["migrate", "in", ...db, "--no-backup"])
    rmSync(join(folder, "in/a.json"))
    const refused = await run(folder, ["rollback", "last", ...db, "--restore-files"])
    assert.strictEqual(refused.code, 1, refused.stdout)
    assert.include(refused.stderr, "copied only what it rejected, so no original of a cohort can be put back.")
    assert.lengthOf(JSON.parse((await run(folder, ["list", ...db, "--json"])).stdout), 1)
  })

  it("undoes nothing and ends with 1 when a place cannot be written to", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "in/a.json": '{"name":"a","patients":[]}' })
    await run(folder, ["migrate", "in", ...db])
    rmSync(join(folder, "in"), { recursive: true })
    writeFiles(folder, { in: "no folder" })
    const undone = await run(folder, ["rollback", "last", ...db, "--restore-files"])
    assert.strictEqual(undone.code, 1, undone.stderr)
    assert.include(undone.stderr, "Nothing was undone: 1 original cannot be put back.\n")
    assert.include(undone.stderr, "in/a.json: its place cannot be written to\n")
    assert.lengthOf(JSON.parse((await run(folder, ["list", ...db, "--json"])).stdout), 1)
  })

  it("tells a copy that cannot be read from one that is damaged", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "in/a.json": '{"name":"a","patients":[]}' })
    await run(folder, ["migrate", "in", ...db])
    rmSync(join(folder, "in/a.json"))
    const packs = join(folder, "test.duckdb.backups/packs")
    const pack = join(packs, readdirSync(packs)[0] ?? "")
    rmSync(pack)
    for (const [damage, code, word, sum] of [
      [() => symlinkSync(pack, pack), 1, "cannot be read", "1 unreadable"],
      [() => rmSync(pack), 6, "is damaged", "1 damaged"]
    ] as const) {
      damage()
      const test = await run(folder, ["rollback", "last", ...db, "--restore-files", "--test"])
      assert.strictEqual(test.code, code, test.stderr)
      assert.include(test.stdout, `✗ in/a.json: not put back, its copy ${word}\n`)
      assert.include(test.stdout, `0 originals would be put back, ${sum}\n`)
      const refused = await run(folder, ["rollback", "last", ...db, "--restore-files"])
      assert.strictEqual(refused.code, code, refused.stderr)
      assert.strictEqual(refused.stdout, "")
      assert.include(refused.stderr, `in/a.json: its copy ${word}\n`)
      assert.include(refused.stderr, "Leave out --restore-files to undo the cohorts all the same.\n")
      assert.lengthOf(JSON.parse((await run(folder, ["list", ...db, "--json"])).stdout), 1)
    }
    const without = await run(folder, ["rollback", "last", ...db])
    assert.include(without.stdout, "✓ a: taken away\n")
  })

  it("undoes the run when the files whose copies are damaged are still at their place", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "in/a.json": '{"name":"a","patients":[]}' })
    await run(folder, ["migrate", "in", ...db])
    rmSync(join(folder, "test.duckdb.backups/packs"), { recursive: true })
    const undone = await run(folder, ["rollback", "last", ...db, "--restore-files"])
    assert.strictEqual(undone.code, 0, undone.stderr)
    assert.include(undone.stdout, "✓ a: taken away\n")
    assert.include(undone.stdout, "0 originals put back, 1 there already\n")
  })
})

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
    assert.include(nothing.stdout, "No cohort has changed since: there is nothing to restore.\n")
    const savedBy = await run(folder, ["migrate", ".", ...db, "--no-backup", "--json"])
    const unchanged = await run(folder, ["rollback", "last", ...db])
    assert.include(
      unchanged.stdout,
      `Run ${JSON.parse(savedBy.stdout).run.slice(0, 8)} changed no cohort: there is nothing to undo. mallard runs `
    )
    for (const [args, message] of [
      [
        ["savepoint", "create", ""],
        "The name of a savepoint is a text of 1 to 1000 characters that is not blank, without line breaks"
      ],
      [["savepoint", "create", "a\nb"], "The name of a savepoint is a text"],
      [["rollback", ""], "The id of the run is empty."]
    ] as const) {
      const refused = await run(folder, [...args, ...db])
      assert.strictEqual(refused.code, 2)
      assert.include(refused.stderr, message)
    }
    const none = await run(folder, ["rollback", "last", "--db", "none.duckdb"])
    assert.strictEqual(none.code, 10)
  })

  it("that changes nothing records no run, so the last one stays the last one", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text })
    const first = JSON.parse((await run(folder, ["migrate", ".", ...db, "--json", "--no-verify"])).stdout)
    await run(folder, ["migrate", ".", ...db, "--no-verify"])
    const nothing = await run(folder, ["rollback", "last", ...db])
    assert.include(nothing.stdout, "Nothing was written, and no run recorded.\n")
    assert.lengthOf(JSON.parse((await run(folder, ["runs", ...db, "--json"])).stdout), 2)
    const undone = await run(folder, ["rollback", first.run, ...db])
    assert.include(undone.stdout, "1 taken away")
  })
})
