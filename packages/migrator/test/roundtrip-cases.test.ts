import { parseText, withTempDirectory, writeFiles } from "@mallard/testkit"
import { describe, it } from "@effect/vitest"
import assert from "node:assert/strict"
import { join } from "node:path"
// @boundaries-ignore the harness is a tool, and here it is put to the test with the engine
import { mallard } from "../../../tools/roundtrip/Engine.ts"
// @boundaries-ignore as above
import { checkGroup, type Violation } from "../../../tools/roundtrip/Laws.ts"
// @boundaries-ignore as above
import type { Specimen } from "../../../tools/roundtrip/Specimen.ts"

/** A specimen of a single file. */
const fileOf = (name: string, text: string): Specimen => ({
  variant: "other",
  directory: undefined,
  files: [{ name, tree: parseText(text), encoding: "utf-8", cutTo: undefined }],
  expected: undefined,
  given: "file"
})

/** What all laws say against these specimens in one database. */
const violationsOf = (...specimens: ReadonlyArray<Specimen>): Promise<ReadonlyArray<Violation>> =>
  withTempDirectory(async (folder) => {
    const group = new Map(specimens.map((specimen, number) => [number, specimen]))
    return (await checkGroup(mallard, group, join(folder, "group"))).violations
  })

const cases: Readonly<Record<string, string>> = {
  "a decimal with fewer digits than its column": '{"medications":[{"medication_id":"M1","quantity":1.50}]}',
  "a decimal with fewer digits than its column, as text": '{"medications":[{"medication_id":"M1","quantity":"1.50"}]}'
}

describe("documents that once came back otherwise", () => {
  for (const [name, text] of Object.entries(cases)) {
    it(name, async () => assert.deepEqual(await violationsOf(fileOf("cohort.json", text)), []))
  }
})

describe("sources that claim one name", () => {
  it("leave nothing behind, run after run, also when more sources than fit into one commit lie between them", () =>
    withTempDirectory(async (folder) => {
      const between = Array.from({ length: 600 }, (_, number) => [`m${number}.json`, `{"name":"${number}"}`] as const)
      const paths = await writeFiles(folder, {
        "a.json": '{"name":"x","patients":[{"mrn":"1"}]}',
        ...Object.fromEntries(between),
        "z.json": '{"name":"x","patients":[{"mrn":"2"}]}'
      })
      const database = join(folder, "store.duckdb")
      const outcomes = async () => (await mallard.migrate(paths, database)).items.map(({ outcome }) => outcome)
      const first = await outcomes()
      const rows = await mallard.countRows(database)
      assert.equal(first.filter((outcome) => outcome === "rejected").length, 2)
      assert.equal((await outcomes()).filter((outcome) => outcome === "rejected").length, 2)
      const again = await mallard.countRows(database)
      for (const table of ["revisions", "parts", "part_texts", "patients"])
        assert.equal(again.get(table), rows.get(table), table)
    }))
})
