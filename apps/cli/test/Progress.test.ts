import { assert, describe, it } from "vitest"
import { cohort, makeFolder, run, writeFiles } from "./support.ts"

describe("mallard migrate --progress json", () => {
  it("tells each item and each phase as a line of JSON on stderr, and leaves stdout to the report", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [`in/${cohort.file}`]: cohort.text, "in/bad.json": '{"name":' })
    const outcome = await run(folder, ["migrate", "in", "--db", "test.duckdb", "--json", "--progress", "json"])
    assert.strictEqual(outcome.code, 3, outcome.stderr)
    assert.strictEqual(JSON.parse(outcome.stdout).outcome, "done-with-rejects")
    const events: ReadonlyArray<Record<string, unknown>> = outcome.stderr
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))
    const items = events.filter(({ event }) => event === "item")
    assert.deepStrictEqual(items.map(({ codes, outcome }) => [outcome, codes]).sort(), [
      ["migrated", items.find((item) => item["outcome"] === "migrated")?.["codes"]],
      ["rejected", ["unexpected-end"]]
    ])
    const phases = [...new Set(events.flatMap(({ event, phase }) => (event === "progress" ? [phase] : [])))]
    assert.deepStrictEqual(phases, ["finding", "copying", "reading", "verifying"])
    assert.deepInclude(events.at(-1), { event: "progress", sources: 2, items: 2, done: 1, documents: 1 })
    assert.notInclude(outcome.stderr, "two people")
  })
})

describe("--progress json of what undoes and restores", () => {
  it("tells how far copies are compared and restored, and cohorts undone", async () => {
    const folder = makeFolder()
    const db = ["--db", "test.duckdb"]
    writeFiles(folder, { [`in/${cohort.file}`]: cohort.text, "in/other.json": '{"name":"other","patients":[]}' })
    assert.strictEqual((await run(folder, ["migrate", "in", ...db, "--quiet"])).code, 0)
    const bytes = Buffer.byteLength(cohort.text) + 30
    for (const [args, phase, last] of [
      [["backup", "verify"], "checking", { sources: 2, bytes, total_bytes: bytes }],
      [["backup", "restore", "--out", "out"], "restoring", { sources: 2, bytes, total_bytes: bytes }],
      [["rollback", "last", "--test"], "undoing", { done: 2, documents: 2 }]
    ] as const) {
      const outcome = await run(folder, [...args, ...db, "--json", "--progress", "json"])
      const events = outcome.stderr
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line))
      assert.strictEqual(outcome.code, 0, outcome.stderr)
      assert.deepInclude(events.at(-1), { event: "progress", phase, ...last })
    }
  })
})
