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
