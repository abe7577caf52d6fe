import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { cohort, makeFolder, run, writeFiles } from "./support.ts"

const db = ["--db", "test.duckdb"] as const

const migrated = async (): Promise<string> => {
  const folder = makeFolder()
  writeFiles(folder, { [cohort.file]: cohort.text, "b.json": '{"name":"b","patients":[{"id":"b1"}]}' })
  const outcome = await run(folder, ["migrate", cohort.file, "b.json", ...db])
  assert.strictEqual(outcome.code, 0, outcome.stderr)
  return folder
}

describe("mallard doctor", () => {
  it("tells what it looked at, for people and for programs, and changes nothing", async () => {
    const folder = await migrated()
    const before = readFileSync(join(folder, "test.duckdb"))
    const outcome = await run(folder, ["doctor", ...db])
    assert.strictEqual(outcome.code, 0, outcome.stdout)
    assert.match(outcome.stdout, /^✓ file /)
    assert.include(outcome.stdout, "✓ verify      2 of 2 documents rendered as in the source")
    assert.include(outcome.stdout, "✓ backups     1 backup of sources")
    assert.match(outcome.stdout, /was not changed\n$/)
    const { stdout } = await run(folder, ["doctor", ...db, "--json", "--no-verify"])
    assert.deepInclude(JSON.parse(stdout), { refused: null, version: 1, log: { state: "none" }, orphans: {} })
    assert.isTrue(before.equals(readFileSync(join(folder, "test.duckdb"))))
    const missing = await run(folder, ["doctor", "--db", "none.duckdb"])
    assert.strictEqual(missing.code, 10)
  })

  it("names backups that the database knows and that are gone, not those that moved with it", async () => {
    const folder = await migrated()
    const [from, to] = ["test.duckdb", "moved/test.duckdb"].map((name) => join(folder, name)) as [string, string]
    mkdirSync(join(folder, "moved"))
    for (const suffix of ["", ".backups"]) renameSync(from + suffix, to + suffix)
    const moved = await run(folder, ["doctor", "--db", to, "--no-verify"])
    assert.strictEqual(moved.code, 0, moved.stdout)
    rmSync(`${to}.backups`, { recursive: true })
    const lost = await run(folder, ["doctor", "--db", to, "--no-verify"])
    assert.strictEqual(lost.code, 6)
    assert.match(
      lost.stdout,
      /^✗ backups {5}1 backup of sources that the database knows cannot be found: in .+test\.duckdb\.backups$/m
    )
  })

  it("names a log that does not fit, and moves it away when it is told to", async () => {
    const folder = await migrated()
    const log = join(folder, "test.duckdb.wal")
    writeFileSync(log, "not a log ".repeat(100))
    const found = await run(folder, ["doctor", ...db, "--quiet"])
    assert.strictEqual(found.code, 6)
    assert.match(found.stdout, /^✗ log /m)
    assert.include(found.stdout, "--quarantine-wal moves it away")
    assert.strictEqual(readFileSync(log, "utf8").length, 1000)
    const moved = await run(folder, ["doctor", ...db, "--quarantine-wal", "--json"])
    assert.strictEqual(moved.code, 0, moved.stderr)
    const [kept = ""] = JSON.parse(moved.stdout).quarantined
    assert.strictEqual(readFileSync(kept, "utf8").length, 1000)
    assert.strictEqual((await run(folder, ["verify", ...db])).code, 0)
  })

  it("saves what is whole of a damaged file, and says how to go on where nothing can be saved", async () => {
    const folder = await migrated()
    const rebuilt = await run(folder, ["doctor", ...db, "--rebuild", "new.duckdb"])
    assert.strictEqual(rebuilt.code, 0, rebuilt.stdout)
    assert.include(rebuilt.stdout, "Rebuilt into new.duckdb, which verifies: 2 cohorts, 2 revisions, 2 documents")
    const again = await run(folder, ["migrate", cohort.file, "b.json", "--db", "new.duckdb", "--json"])
    assert.strictEqual(JSON.parse(again.stdout).totals.unchanged, 2)
    const path = join(folder, "test.duckdb")
    const bytes = readFileSync(path)
    bytes.fill(0xff, 4096, 12_288)
    writeFileSync(path, bytes)
    const damaged = await run(folder, ["doctor", ...db])
    assert.strictEqual(damaged.code, 6)
    assert.include(damaged.stdout, "restore a backup, or migrate into a new file")
    const refused = await run(folder, ["doctor", ...db, "--rebuild", "other.duckdb"])
    assert.strictEqual(refused.code, 6)
    assert.isTrue(bytes.equals(readFileSync(path)))
  })
})
