import { mutations, withTempDirectory } from "@mallard/testkit"
import { describe, it } from "@effect/vitest"
import assert from "node:assert/strict"
import { join } from "node:path"
// @boundaries-ignore the harness is a tool, and here it is put to the test with the engine
import { type Engine, mallard } from "../../../tools/roundtrip/Engine.ts"
// @boundaries-ignore as above
import { remembering, rowFaults, withRowFault, withTextFault } from "../../../tools/roundtrip/Faults.ts"
// @boundaries-ignore as above
import { checkEngines, type Law } from "../../../tools/roundtrip/Laws.ts"
// @boundaries-ignore as above
import { checkAlone, drawAtPath, drawSpecimens, soakChunk } from "../../../tools/roundtrip/Soak.ts"
// @boundaries-ignore as above
import { tellApart } from "../../../tools/roundtrip/Specimen.ts"

const seed = 7
const runs = 150
const { together } = tellApart(drawSpecimens(seed, 0, runs))

/** For a machine that has much else to do. */
const patience = 240_000

/** The laws that each engine breaks for specimens of the group, by the checks that look at one database alone. */
const brokenLaws = async (
  folder: string,
  ...engines: ReadonlyArray<Engine>
): Promise<ReadonlyArray<ReadonlySet<Law>>> =>
  (await checkEngines(engines, together, folder, new Set())).map(
    ({ violations }) => new Set(violations.map(({ law }) => law))
  )

describe("the laws of the round trip", () => {
  it("hold without a fault, and notice every fault in what comes back", { timeout: patience }, () =>
    withTempDirectory(async (folder) => {
      const engine = remembering(mallard)
      const faulty = Object.values(mutations).map((fault) => withTextFault(engine, fault))
      const [sound, ...broken] = await brokenLaws(join(folder, "group"), engine, ...faulty)
      assert.deepEqual([...(sound ?? ["nothing was checked"])], [])
      assert.equal(broken.length, faulty.length)
      const unnoticed = Object.keys(mutations).filter(
        (_, at) => broken[at]?.has("text") !== true || !broken[at].has("digests")
      )
      assert.deepEqual(unnoticed, [])
      for (const name of required) assert.ok(Object.hasOwn(mutations, name), name)
    })
  )

  it("notice that an entity is shared between kinds, though every text is right", { timeout: patience }, () =>
    withTempDirectory(async (folder) => {
      const engine = withRowFault(mallard, rowFaults["dedupe across kinds"])
      const [broken] = await brokenLaws(join(folder, "group"), engine)
      assert.ok(broken?.has("places") === true)
      assert.ok(!broken.has("text"))
    })
  )

  it("notice that the members of a list are shifted by one", { timeout: patience }, () =>
    withTempDirectory(async (folder) => {
      const engine = withRowFault(mallard, rowFaults["members shifted by one"])
      const [broken] = await brokenLaws(join(folder, "group"), engine)
      assert.ok(broken?.has("places") === true)
      assert.ok(broken.has("text"))
    })
  )

  it("give a small counterexample that a seed and a path show again", { timeout: patience }, () =>
    withTempDirectory(async (folder) => {
      const fault = mutations["trailing zeros dropped"]
      assert.ok(fault)
      const engine = withTextFault(mallard, fault)
      const { counterexamples } = await soakChunk({ engine, seed, from: 0, runs: 10, folder, shrinkSeconds: 8 })
      const found = counterexamples.find(({ law }) => law === "text")
      assert.ok(found !== undefined && "path" in found.replay)
      const { path } = found.replay
      assert.match(path, /^\d+(:\d+)+$/)
      const specimen = drawAtPath(seed, path)
      await assert.rejects(checkAlone(engine, specimen, folder), /^Error: text: /)
      await checkAlone(mallard, specimen, folder)
    })
  )
})

const required = [
  "trailing zeros dropped",
  "two keys swapped",
  "null merged with missing",
  "last duplicate key wins",
  "lone surrogate to U+FFFD",
  "[] to missing",
  "members shifted by one"
]
