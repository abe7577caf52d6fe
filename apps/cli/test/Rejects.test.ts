import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { cohort, makeFolder, run, writeFiles } from "./support.ts"

const db = ["--db", "test.duckdb"]

describe("mallard rejects", () => {
  it("lists, exports and replays what was not stored", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text, "bad.json": '{"name":"bad",\n"secret-4711":tru}' })
    assert.strictEqual((await run(folder, ["migrate", ".", ...db])).code, 3)
    writeFiles(folder, {
      "in/range.json": '{"name":"range","vital_signs":[{"id":"v","heart_rate":7200}]}',
      "rules.json": '{"ranges":"reject"}'
    })
    assert.strictEqual((await run(folder, ["migrate", "in", "--rules", "rules.json", "--db", "other.duckdb"])).code, 3)
    const pointed = await run(folder, ["rejects", "list", "--run", "last", "--db", "other.duckdb"])
    assert.include(pointed.stdout, "Next:     mallard rejects export --run last --out mend --db ")
    assert.match(pointed.stdout, /^✗ in\/range\.json: .*at \/vital_signs\/0\S*: in a .+ \[out-of-range\]$/m)
    const written = await run(folder, ["rejects", "export", "--out", "ranges", "--db", "other.duckdb"])
    assert.match(written.stdout, /^ranges\/1\/range\.json: .*at \/vital_signs\/0/)
    const listed = await run(folder, ["rejects", "list", ...db])
    assert.match(listed.stdout, /^✗ bad\.json: line 2, column \d+: .+ \[[a-z-]+\]$/m)
    const shown = await run(folder, ["rejects", "show", "bad.json", ...db])
    assert.match(shown.stdout, /^ {2}copy +backup [0-9a-f-]{36} in /m)
    assert.notInclude(listed.stdout + shown.stdout, "4711")
    assert.strictEqual((await run(folder, ["rejects", "export", ...db])).code, 2)
    const exported = await run(folder, ["rejects", "export", "--out", "mend", ...db])
    assert.strictEqual(exported.code, 0, exported.stderr)
    assert.include(
      exported.stdout,
      `Next:     mend the files, then mallard rejects replay mend --db ${join(folder, "test.duckdb")}\n`
    )
    assert.strictEqual((await run(folder, ["rejects", "replay", "mend", ...db])).code, 3)
    writeFiles(folder, { "mend/1/bad.json": '{"name":"bad","patients":[]}' })
    const replayed = await run(folder, ["rejects", "replay", "mend", ...db])
    assert.strictEqual(replayed.code, 0, replayed.stdout)
    assert.match(replayed.stdout, /^[✓!] bad: .+ \(was item 0 of run [0-9a-f]{8}\)$/m)
    const none = await run(folder, ["rejects", "list", ...db])
    assert.strictEqual(none.stdout, "Nothing is waiting to be mended.\n")
  })

  it("names files that are not where they were exported to, and hints at lines that are documents", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "lines.json": '{"name":"a","patients":[]}\n{"name":"b","patients":[]}\n' })
    assert.include((await run(folder, ["migrate", "lines.json", ...db])).stdout, "a name that ends in .ndjson")
    await run(folder, ["rejects", "export", "--out", "mend", ...db])
    writeFiles(folder, { "mend/lines.json": "{}", "mend/1/lines.ndjson": "{}" })
    const replayed = await run(folder, ["rejects", "replay", "mend", ...db])
    assert.include(replayed.stderr, "Not replayed: mend/lines.json: its place is mend/1/lines.json\n")
    assert.include(replayed.stderr, "Not replayed: mend/1/lines.ndjson: it is none of the exported files")
    const [first] = JSON.parse((await run(folder, ["backup", "list", ...db, "--json"])).stdout).backups
    const verified = await run(folder, ["backup", "verify", ...db])
    assert.match(verified.stderr, /^The last backup is meant: [0-9a-f]{8} of .+ \(1 file\)\. There are others/)
    assert.include(verified.stderr, `${first.backup_id.slice(0, 8)} of`)
    assert.strictEqual((await run(folder, ["backup", "verify", first.backup_id, ...db])).stderr, "")
    for (const name of ["one", "two", "three", "four"]) {
      writeFiles(folder, { [`${name}.json`]: `{"name":"${name}","patients":[]}` })
      await run(folder, ["migrate", `${name}.json`, ...db])
    }
    assert.match((await run(folder, ["backup", "verify", ...db])).stderr, /\), and 2 more; name one to mean it\.\n$/)
  })
})
