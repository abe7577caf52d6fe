import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { cohort, folderCohort, makeFolder, run, writeFiles } from "./support.ts"

const db = ["--db", "test.duckdb"]

describe("mallard backup", () => {
  it("gives lost originals back, and ends with 6 when a copy is damaged", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text, ...folderCohort })
    const migrated = await run(folder, ["migrate", cohort.file, "saved", ...db])
    assert.strictEqual(migrated.code, 0)
    const store = join(folder, "test.duckdb.backups")
    assert.match(migrated.stdout, /^Backup: {3}3 files, .+, restored for proof: .+test\.duckdb\.backups$/m)
    assert.strictEqual(statSync(store).mode & 0o777, 0o700)
    const again = await run(folder, ["migrate", ".", ...db])
    assert.include(again.stdout, "all copied before")
    assert.notInclude(again.stdout, ".pack")
    const [, second] = JSON.parse((await run(folder, ["runs", ...db, "--json"])).stdout)
    const shared = await run(folder, ["backup", "verify", second.run, ...db])
    assert.match(shared.stdout, /^✓ 3 files, .+, every copy as it was$/m)
    rmSync(join(folder, cohort.file))
    const [name = ""] = readdirSync(join(store, "manifests"))
    const manifest = join(store, "manifests", name)
    // A name of the old form, which says nothing of the content.
    const other = manifest.replace(/_[0-9a-f]{16}\.manifest$/, ".manifest")
    renameSync(manifest, other)
    const written = readFileSync(other, "utf8")
    writeFileSync(other, written.replaceAll(cohort.file, "elsewhere.json"))
    const edited = await run(folder, ["backup", "restore", "--in-place", ...db])
    assert.strictEqual(edited.code, 6, edited.stdout)
    assert.isFalse(existsSync(join(folder, "elsewhere.json")))
    writeFileSync(other, written)
    rmSync(join(folder, "test.duckdb"))
    const restored = await run(folder, ["backup", "restore", "--in-place", ...db])
    assert.strictEqual(restored.code, 0, restored.stderr)
    assert.strictEqual(restored.stdout, "1 file restored, 2 there already\n")
    assert.strictEqual(readFileSync(join(folder, cohort.file), "utf8"), cohort.text)
    const listed = JSON.parse((await run(folder, ["backup", "list", ...db, "--json"])).stdout)
    assert.deepInclude(listed.backups[0], { files: 3, encrypted: false })
    const misplaced = await run(folder, ["backup", "restore", "--out", cohort.file, ...db])
    assert.strictEqual(misplaced.code, 1)
    assert.include(
      misplaced.stdout,
      `✗ ${join(cohort.file, cohort.file)}: not restored, its place cannot be written to; `
    )
    assert.include(misplaced.stdout, "[target-io]\n0 files restored, 3 not restored\n")
    assert.notInclude(misplaced.stdout + misplaced.stderr, "--backup-dir")
    const [pack = ""] = readdirSync(join(store, "packs"))
    truncateSync(join(store, "packs", pack), 10)
    const damaged = await run(folder, ["backup", "verify", ...db])
    assert.strictEqual(damaged.code, 6)
    assert.include(damaged.stdout, "✗ diabetes.json: the pack that holds its copy is cut off [pack-truncated]\n")
    const where = await run(folder, ["backup", "restore", ...db])
    assert.strictEqual(where.code, 2)
    for (const [dir, message] of [
      ["nowhere", "There is no folder nowhere."],
      ["saved", "saved is no folder of backups."]
    ] as const) {
      const listed = await run(folder, ["backup", "list", "--backup-dir", dir])
      assert.strictEqual(listed.code, 2)
      assert.include(listed.stderr, message)
    }
  })

  it("is left out with --no-backup, which says what that means", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text })
    const outcome = await run(folder, ["migrate", cohort.file, ...db, "--no-backup"])
    assert.strictEqual(outcome.code, 0)
    assert.match(outcome.stderr, /^No backup: the sources are read and never changed, but if they are lost later, /)
    const quiet = await run(folder, ["migrate", cohort.file, ...db, "--no-backup", "--quiet"])
    assert.match(quiet.stderr, /^No backup: /)
    assert.isFalse(existsSync(join(folder, "test.duckdb.backups")))
    const none = await run(folder, ["backup", "list", ...db])
    assert.strictEqual(none.stdout, "No backups in test.duckdb.backups\n")
  })

  it("is not said to be none where the path is that of no database and no copies lie beside it", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "note.txt": "hi" })
    for (const [path, code, says] of [
      [".", 2, "it is a folder"],
      ["note.txt", 6, "it is not a DuckDB database"],
      ["note.txt/test.duckdb", 2, "the path is not that of a plain file"],
      ["mistyped.duckdb", 10, "there is no such database"]
    ] as const) {
      const listed = await run(folder, ["backup", "list", "--db", path])
      assert.deepStrictEqual([listed.code, listed.stdout], [code, ""], path)
      assert.include(listed.stderr, says)
    }
    // A database that is broken is what copies are for.
    mkdirSync(join(folder, "note.txt.backups", "manifests"), { recursive: true })
    const beside = await run(folder, ["backup", "list", "--db", "note.txt"])
    assert.deepStrictEqual([beside.code, beside.stdout], [0, "No backups in note.txt.backups\n"])
    mkdirSync(join(folder, "lost.duckdb.backups"))
    const lost = await run(folder, ["backup", "list", "--db", "lost.duckdb"])
    assert.deepStrictEqual([lost.code, lost.stdout], [0, "No backups in lost.duckdb.backups\n"])
    assert.include(lost.stderr, `There is no database ${join(folder, "lost.duckdb")}: what is listed`)
  })

  it("names backups that the database knows and that are gone, one of them or all", async () => {
    const folder = makeFolder()
    const manifests = join(folder, "test.duckdb.backups", "manifests")
    for (const name of ["a", "b"]) {
      writeFiles(folder, { [`${name}.json`]: `{"name":"${name}","patients":[{"id":"${name}"}]}` })
      assert.strictEqual((await run(folder, ["migrate", `${name}.json`, ...db, "--no-verify"])).code, 0)
    }
    const { backups } = JSON.parse((await run(folder, ["backup", "list", ...db, "--json"])).stdout)
    const [first, second] = backups.map((one: { backup_id: string }) => one.backup_id)
    rmSync(join(manifests, readdirSync(manifests).sort()[0] ?? ""))
    const listed = await run(folder, ["backup", "list", ...db])
    assert.deepStrictEqual([listed.code, listed.stderr.includes(first)], [6, true])
    assert.match(listed.stdout, new RegExp(`^${first}  .+  1 file, .+, missing$`, "m"))
    const verified = await run(folder, ["backup", "verify", ...db])
    assert.strictEqual(verified.code, 6)
    assert.include(verified.stdout, `is gone (backup ${first}) [manifest-missing]\n✓ 1 file, `)
    assert.strictEqual((await run(folder, ["backup", "verify", second, ...db])).code, 0)
    assert.strictEqual((await run(folder, ["backup", "verify", first, ...db])).code, 6)
    rmSync(join(folder, "test.duckdb.backups"), { recursive: true })
    const gone = await run(folder, ["backup", "list", ...db, "--json"])
    const { backups: left, missing } = JSON.parse(gone.stdout)
    assert.deepStrictEqual(
      [gone.code, left, missing.map((one: { backup_id: string }) => one.backup_id)],
      [6, [], [first, second]]
    )
    const none = await run(folder, ["backup", "verify", ...db])
    assert.deepStrictEqual([none.code, none.stdout.includes("2 backups missing\n")], [6, true])
  })

  it("is not said to be none where the folder of the copies cannot be read", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "test.duckdb.backups": "" })
    const outcome = await run(folder, ["backup", "list", ...db])
    assert.strictEqual(outcome.code, 1)
    assert.include(outcome.stderr, "reading or writing failed")
  })

  it("says when copies are made in plain after encrypted ones", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text, "key.txt": "open sesame" })
    const migrate = ["migrate", cohort.file, ...db, "--no-verify"]
    const key = ["--backup-passphrase-file", "key.txt"]
    assert.notInclude((await run(folder, [...migrate, ...key])).stdout, "not encrypted")
    assert.include((await run(folder, [...migrate, "--quiet"])).stderr, "The copies of this run are not encrypted")
    assert.notInclude((await run(folder, [...migrate, ...key])).stdout, "not encrypted")
  })
})
