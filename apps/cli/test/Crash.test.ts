import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { cohort, makeFolder, run, start, outcomeOf, writeFiles } from "./support.ts"

const db = ["--db", "test.duckdb"]

/** What an import at the start of the program does. */
const preload = (text: string) => ({ NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(text)}` })

/** As soon as the program is ready for a signal it gets it. */
const signalled = (signal: string) =>
  preload(`process.on("newListener", (name) => {
  if (name === "${signal}") setImmediate(() => process.kill(process.pid, "${signal}"))
})`)

const migrated = async (): Promise<string> => {
  const folder = makeFolder()
  writeFiles(folder, { [`in/${cohort.file}`]: cohort.text })
  assert.strictEqual((await run(folder, ["migrate", "in", ...db, "--quiet"])).code, 0)
  return folder
}

describe.skipIf(process.platform === "win32")("a crash of DuckDB", () => {
  it("ends verify with the code of a damaged database, a message and the way out, and its JSON", async () => {
    const folder = await migrated()
    const crashed = await run(folder, ["verify", ...db, "--json"], signalled("SIGSEGV"))
    assert.strictEqual(crashed.code, 6)
    assert.include(crashed.stderr, `DuckDB crashed at work on ${join(folder, "test.duckdb")}`)
    assert.include(crashed.stderr, "mallard doctor")
    const { findings, outcome } = JSON.parse(crashed.stdout)
    assert.deepStrictEqual([outcome, findings[0].code], ["damaged", "database-damaged"])
  })

  it("ends an export in the same way, with nothing on stdout but the error that --json asks for", async () => {
    const folder = await migrated()
    const told = await run(folder, ["export", "--all", "--out", "out", ...db, "--json"], signalled("SIGSEGV"))
    const { error } = JSON.parse(told.stdout)
    assert.deepStrictEqual([told.code, error.tag, error.exit_code], [6, "EngineCrashed", 6])
    const crashed = await run(folder, ["export", "--all", "--out", "out", ...db], signalled("SIGSEGV"))
    assert.deepStrictEqual([crashed.code, crashed.stdout], [6, ""])
    assert.include(crashed.stderr, "Nothing is half stored")
    assert.strictEqual((await run(folder, ["verify", ...db])).code, 0)
  })
})

describe.skipIf(process.platform === "win32")("SIGHUP", () => {
  it("ends a run in good order, with 129, and the run can be gone on with", async () => {
    const folder = makeFolder()
    for (let at = 0; at < 30; at++) writeFiles(folder, { [`in/${at}.json`]: cohort.text.replace("2024", String(at)) })
    const stopped = await run(folder, ["migrate", "in", ...db], signalled("SIGHUP"))
    assert.strictEqual(stopped.code, 129, stopped.stderr)
  })

  it("of a terminal that was closed leaves a whole database", async () => {
    const folder = await migrated()
    const child = start(folder, ["migrate", "in", ...db, "--progress", "json"], signalled("SIGHUP"))
    child.stdout?.destroy()
    child.stderr?.destroy()
    assert.include([0, 129], (await outcomeOf(child)).code)
    assert.strictEqual((await run(folder, ["verify", ...db])).code, 0)
  })
})
