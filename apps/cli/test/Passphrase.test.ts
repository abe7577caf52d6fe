/** Passphrases are asked for on a terminal, never shown there, and nowhere else. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { typed } from "../src/Secret.ts"
import { cohort, hasTerminals, makeFolder, onTerminal, run, writeFiles } from "./support.ts"

const once = "Passphrase of the copies: "
const again = "Once more: "

describe("what is typed without being seen", () => {
  it("is the line as keys left it", () => {
    assert.deepStrictEqual(typed("", "open"), { line: "open", isDone: false })
    assert.deepStrictEqual(typed("open", " sesame\rrest"), { line: "open sesame", isDone: true })
    assert.deepStrictEqual(typed("", "a😀\u007f\u007fb\n"), { line: "b", isDone: true })
    assert.deepStrictEqual(typed("wrong", "\u0015right\r"), { line: "right", isDone: true })
    assert.deepStrictEqual(typed("ab", "\u001b[D\u001b[3~\u001bOAc\r"), { line: "abc", isDone: true })
    assert.isUndefined(typed("ab", "c\u0003"))
    assert.isUndefined(typed("", "\u0004"))
  })
})

describe("--backup-passphrase", () => {
  it("is refused where there is no terminal, and together with a file", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text, "key.txt": "open sesame\n" })
    const refused = await run(folder, ["migrate", cohort.file, "--db", "t.duckdb", "--backup-passphrase"])
    assert.strictEqual(refused.code, 2)
    assert.include(refused.stderr, "--backup-passphrase asks on a terminal, and there is none.")
    assert.include(refused.stderr, "--backup-passphrase-file FILE")
    const both = ["--backup-passphrase", "--backup-passphrase-file", "key.txt"]
    assert.strictEqual((await run(folder, ["migrate", cohort.file, "--db", "t.duckdb", ...both])).code, 2)
    assert.isFalse(existsSync(join(folder, "t.duckdb")))
  })

  it.skipIf(!hasTerminals)("asks twice to lock copies and once to open them, and shows nothing", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text, "bad.json": "[1" })
    const migrate = ["migrate", cohort.file, "bad.json", "--db", "t.duckdb", "--backup-passphrase"]
    const unlike = await onTerminal(folder, migrate, [
      [once, "open sesame\r"],
      [again, "open sesam\r"]
    ])
    assert.strictEqual(unlike.code, 2, unlike.shown)
    assert.include(unlike.shown, "not the same; nothing was done")
    assert.isFalse(existsSync(join(folder, "t.duckdb")))
    const done = await onTerminal(folder, migrate, [
      [once, "open sesame\r"],
      [again, "open sesame\r"]
    ])
    assert.strictEqual(done.code, 3, done.shown)
    assert.notInclude(done.shown, "sesame")
    const restore = ["backup", "restore", "--out", "back", "--db", "t.duckdb", "--backup-passphrase"]
    const wrong = await onTerminal(folder, restore, [[once, "open says me\r"]])
    assert.strictEqual(wrong.code, 12, wrong.shown)
    const restored = await onTerminal(folder, restore, [[once, "open sesame\r"]])
    assert.strictEqual(restored.code, 0, restored.shown)
    assert.strictEqual(readFileSync(join(folder, "back", cohort.file), "utf8"), cohort.text)
    const stopped = await onTerminal(folder, restore, [[once, "open\u0003"]])
    assert.strictEqual(stopped.code, 130, stopped.shown)
  })

  it("is what a replay asks for where the copies of the rejected were encrypted, rather than copy them in plain", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "bad.json": "[1", "key.txt": "open sesame\n" })
    const key = ["--backup-passphrase-file", "key.txt"]
    const db = ["--db", "t.duckdb"]
    assert.strictEqual((await run(folder, ["migrate", "bad.json", ...db, ...key])).code, 3)
    assert.strictEqual((await run(folder, ["rejects", "export", "--out", "mend", ...db])).code, 12)
    assert.strictEqual((await run(folder, ["rejects", "export", "--out", "mend", ...db, ...key])).code, 0)
    writeFiles(folder, { "mend/1/bad.json": '{"patients":[{"id":"p"}]}' })
    const before = readdirSync(join(folder, "t.duckdb.backups", "manifests"))
    const refused = await run(folder, ["rejects", "replay", "mend", ...db])
    assert.strictEqual(refused.code, 12, refused.stdout)
    assert.include(refused.stderr, "--backup-passphrase asks for it")
    assert.deepStrictEqual(readdirSync(join(folder, "t.duckdb.backups", "manifests")), before)
    const replayed = await run(folder, ["rejects", "replay", "mend", ...db, ...key])
    assert.strictEqual(replayed.code, 0, replayed.stderr)
    const listed = await run(folder, ["backup", "list", ...db, "--json"])
    const { backups }: { backups: ReadonlyArray<{ encrypted: boolean }> } = JSON.parse(listed.stdout)
    assert.isTrue(backups.length === 2 && backups.every(({ encrypted }) => encrypted))
  })
})
