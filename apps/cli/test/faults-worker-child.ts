/**
 * Carries out a part of the cases of a tier: `node faults-worker-child.ts FOLDER TIER SEED NUMBER COUNT PART PARTS
 * [ONLY]`. Which ones is told by their names: of part PART of PARTS, from 1, the share NUMBER of COUNT, from 0. Each result
 * is a message to the parent.
 */
import { mkdirSync } from "node:fs"
import { missingFor, runCase, type Tier } from "./faults/Case.ts"
import { casesOf } from "./faults/Cases.ts"
import { Missed } from "./faults/Missed.ts"
import { numberOf } from "./faults/Random.ts"
import { World } from "./faults/World.ts"

const [folder = "", tier = "pr", seed = "0", number = "0", count = "1", part = "1", parts = "1", only = ""] =
  process.argv.slice(2)

const tierOf = (name: string): Tier => (name === "nightly" || name === "release" ? name : "pr")

const isMine = (name: string): boolean =>
  numberOf(`part of ${name}`, Number(parts)) === Number(part) - 1 && numberOf(name, Number(count)) === Number(number)

const outcomeOf = async (run: () => Promise<void>): Promise<readonly [outcome: string, why: string]> => {
  try {
    await run()
    return ["passed", ""]
  } catch (error) {
    return [error instanceof Missed ? "skipped" : "failed", error instanceof Error ? error.message : String(error)]
  }
}

// Nobody would hear of what comes after.
process.once("disconnect", () => process.exit())

mkdirSync(folder, { recursive: true })
const world = new World(folder)
const needsCalls = missingFor({ needs: ["strace"] }) === undefined
for (const one of await casesOf(tierOf(tier), Number(seed), needsCalls ? world : undefined)) {
  const name = `${one.group}: ${one.name}`
  if (!isMine(name) || !name.includes(only)) continue
  const missing = missingFor(one)
  const [outcome, why] = missing === undefined ? await outcomeOf(() => runCase(world, one)) : ["skipped", missing]
  // What one case has left open must not be held against the next.
  if (outcome === "failed") await world.restart()
  process.send?.({ group: one.group, name, outcome, why })
}
await world.end()
process.disconnect?.()
