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

type Files = Readonly<Record<string, string>>

/** A specimen of these files: a directory if it has a name, else a single file. */
const specimenOf = (files: Files, directory?: string): Specimen => ({
  variant: "other",
  directory,
  files: Object.entries(files).map(([name, text]) => ({
    name,
    tree: parseText(text),
    encoding: "utf-8",
    cutTo: undefined
  })),
  expected: undefined,
  given: directory === undefined ? "file" : "folder"
})

/** What all laws say against these specimens in one database. */
const violationsOf = (...specimens: ReadonlyArray<Specimen>): Promise<ReadonlyArray<Violation>> =>
  withTempDirectory(async (folder) => {
    const group = new Map(specimens.map((specimen, number) => [number, specimen]))
    return (await checkGroup(mallard, group, join(folder, "group"))).violations
  })

/** By what is special about it: a document that once came back otherwise. */
const cases: Readonly<Record<string, Specimen>> = {
  "a decimal with fewer digits than its column": specimenOf({
    "cohort.json": '{"medications":[{"medication_id":"M1","quantity":1.50}]}'
  }),
  "a decimal with fewer digits than its column, as text": specimenOf({
    "cohort.json": '{"medications":[{"medication_id":"M1","quantity":"1.50"}]}'
  }),
  "the name of a directory cohort that begins with a byte order mark": specimenOf(
    { "cohort.json": '{"cohort_id":"C-1","name":"\ufeff"}', "trialsim.json": "{}" },
    "heart-failure"
  ),
  "a file of a directory cohort whose name begins with a byte order mark": specimenOf(
    { "scenario.json": '{"name":"heart"}', "\ufeffpatients.json": '{"patients":[{"patient_id":"P1"}]}' },
    "heart"
  ),
  "a list of an unknown type whose key is half a surrogate pair": specimenOf({
    "cohort.json": '{"entities":{"\\ud800":[1]}}'
  })
}

describe("documents that once came back otherwise", () => {
  for (const [name, specimen] of Object.entries(cases)) {
    it(name, async () => assert.deepEqual(await violationsOf(specimen), []))
  }
})

describe("sources that claim one name", () => {
  // What was committed before the rival was read is taken back by a revision of its own, but only the first time.
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
