/** Values are shown where that is asked, on a terminal, and nowhere else. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { hasTerminals, makeFolder, onTerminal, run, writeFiles } from "./support.ts"

const secret = "Xanthippe-1953"
const text = `{"name":"a","patients":[{"id":"p"},\n{"id":"p","birth_date":"${secret}"}]}`
const db = ["--db", "t.duckdb"]

describe("--show-values", () => {
  it("is refused off a terminal, and for programs", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "a.json": text })
    for (const args of [[], ["--json"]]) {
      const refused = await run(folder, ["plan", "a.json", ...db, "--show-values", ...args])
      assert.strictEqual(refused.code, 2)
      assert.include(refused.stderr, "on a terminal, and nowhere else")
    }
  })

  it.skipIf(!hasTerminals)("says what stands at a remark; neither the ledger nor a report has it", async () => {
    const folder = makeFolder()
    writeFiles(folder, { "a.json": text })
    const migrate = ["migrate", "a.json", ...db, "--strict", "--report", "report.txt"]
    const done = await onTerminal(folder, [...migrate, "--verbose", "--show-values"])
    assert.strictEqual(done.code, 3, done.shown)
    assert.include(done.shown, `: "${secret}" [not-a-date]`)
    assert.notInclude(readFileSync(join(folder, "report.txt"), "utf8"), secret)
    const reject = await onTerminal(folder, ["rejects", "show", "a.json", ...db, "--show-values"])
    assert.include(reject.shown, `"${secret}"`)
    for (const args of [
      ["report", "--json"],
      ["rejects", "show", "a.json"],
      ["runs", "--json"]
    ]) {
      const { stderr, stdout } = await run(folder, [...args, ...db])
      assert.notInclude(stdout + stderr, secret)
    }
  })
})
