/** Cases of faults as tests: one process and one folder for all of a file. */
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, it } from "vitest"
import { type FaultCase, missingFor, runCase } from "./Case.ts"
import { Missed } from "./Missed.ts"
import { World } from "./World.ts"

/** What the suite draws is the same each time. */
export const SEED = 20_261_121

/** On a machine that is busy with much else. */
const LONGEST_MS = 300_000

export const describeFaults = (cases: ReadonlyArray<FaultCase>): void => {
  describe("after each fault the originals, what was stored and the way on are there", () => {
    let world: World
    let before = Promise.resolve()
    beforeAll(() => {
      world = new World(mkdtempSync(join(tmpdir(), "mallard-faults-")))
    })
    afterAll(() => world.end(), LONGEST_MS)

    for (const group of new Set(cases.map((one) => one.group))) {
      describe(group, () => {
        for (const one of cases.filter((other) => other.group === group)) {
          const missing = missingFor(one)
          it(
            missing === undefined ? one.name : `${one.name} (skipped: ${missing})`,
            async (context) => {
              context.skip(missing !== undefined, missing)
              // One that was given up because it took too long may still be at it.
              await before
              const run = runCase(world, one)
              before = run.catch(() => {})
              try {
                await run
              } catch (error) {
                if (error instanceof Missed) context.skip(error.message)
                throw error
              }
            },
            LONGEST_MS
          )
        }
      })
    }
  })
}
