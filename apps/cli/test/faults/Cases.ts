/**
 * All cases of a tier. `pr` is for every change; `nightly` and `release` draw more and go through all calls, `nightly` with
 * one error each, `release` with all.
 */
import type { FaultCase, Tier } from "./Case.ts"
import { backupCases } from "./cases/Backups.ts"
import { allCallCases, someCallCases } from "./cases/Calls.ts"
import { damageCases, databaseCases } from "./cases/Databases.ts"
import { holderCases } from "./cases/Holders.ts"
import { logCases } from "./cases/Logs.ts"
import { nameAndPathCases } from "./cases/Names.ts"
import { sourceCases } from "./cases/Sources.ts"
import { surroundingsAndSignalCases } from "./cases/Surroundings.ts"
import { systemCases } from "./cases/System.ts"
import { randomOf } from "./Random.ts"
import type { World } from "./World.ts"

/** How many damages of each sort are drawn. */
const damages: Readonly<Record<Tier, number>> = { pr: 1, nightly: 60, release: 400 }

/** Two of three of the cases that are always the same are enough for every change. */
const someOf = (tier: Tier, cases: ReadonlyArray<FaultCase>): ReadonlyArray<FaultCase> =>
  tier === "pr" ? cases.filter((_, at) => at % 3 < 2) : cases

/** Faults of sources, names, systems, signals and surroundings, and several processes at once. */
export const outerCases = (tier: Tier): ReadonlyArray<FaultCase> => [
  ...sourceCases(tier),
  ...someOf(tier, nameAndPathCases),
  ...someOf(tier, systemCases),
  ...surroundingsAndSignalCases(tier),
  ...holderCases(tier)
]

/** Faults of databases, logs and backups; the same seed draws the same. */
export const storedCases = (tier: Tier, seed: number): ReadonlyArray<FaultCase> => [
  ...someOf(tier, databaseCases),
  ...damageCases(randomOf(seed), damages[tier]),
  ...someOf(tier, logCases),
  ...backupCases(randomOf(seed + 1), Math.ceil(damages[tier] * 0.6))
]

/** All cases of a tier; those of calls are found by running the commands. */
export const casesOf = async (
  tier: Tier,
  seed: number,
  world: World | undefined
): Promise<ReadonlyArray<FaultCase>> => [
  ...outerCases(tier),
  ...storedCases(tier, seed),
  ...(tier === "pr" || world === undefined
    ? someCallCases
    : await allCallCases(world, tier === "nightly" ? seed : undefined))
]
