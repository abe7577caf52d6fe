import { withTempDirectory } from "@mallard/testkit"
import { describe, it } from "@effect/vitest"
import assert from "node:assert/strict"
// @boundaries-ignore the harness is a tool, and here it is put to the test with the engine
import { mallard } from "../../../tools/roundtrip/Engine.ts"
// @boundaries-ignore as above
import { soakChunk } from "../../../tools/roundtrip/Soak.ts"

const seed = 20_260_101
const runs = 50

describe("generated documents", () => {
  // Each stretch of runs has its turn of the laws that need more databases.
  for (const from of [0, 50, 100, 150]) {
    it(`come back as they were, runs ${from} to ${from + runs - 1} of seed ${seed}`, () =>
      withTempDirectory(async (folder) => {
        const { counterexamples, documents } = await soakChunk({
          engine: mallard,
          seed,
          from,
          runs,
          folder,
          shrinkSeconds: 10
        })
        assert.equal(documents, runs)
        assert.deepEqual(counterexamples, [])
      }))
  }
})
