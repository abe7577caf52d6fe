/** Faults of every sort that this machine can make in seconds, the same ones each time; `pnpm faults` makes many more. */
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, it } from "vitest"
import { missingFor, runCase } from "./faults/Case.ts"
import { casesOf } from "./faults/Cases.ts"
import { Missed } from "./faults/Missed.ts"
import { World } from "./faults/World.ts"

const SEED = 20_261_121
const cases = casesOf("pr", SEED)

describe("after each fault the originals, what was stored and the way on are there", () => {
  let world: World
  beforeAll(() => {
    world = new World(mkdtempSync(join(tmpdir(), "mallard-faults-")))
  })
  afterAll(() => world.end())

  for (const group of new Set(cases.map((one) => one.group))) {
    describe(group, () => {
      for (const one of cases.filter((other) => other.group === group)) {
        const missing = missingFor(one)
        it(missing === undefined ? one.name : `${one.name} (skipped: ${missing})`, async (context) => {
          context.skip(missing !== undefined, missing)
          try {
            await runCase(world, one)
          } catch (error) {
            context.skip(error instanceof Missed, error instanceof Missed ? error.message : "")
            throw error
          }
        })
      }
    })
  }
})
