/** All cases of a tier. `pr` is for every change and takes seconds; `nightly` and `release` draw more and go through all calls. */
import type { FaultCase } from "./Case.ts"
import { damageCases, databaseCases } from "./cases/Databases.ts"
import { sourceCases } from "./cases/Sources.ts"
import { systemCases } from "./cases/System.ts"
import { randomOf } from "./Random.ts"

export const tiers = ["pr", "nightly", "release"] as const
export type Tier = (typeof tiers)[number]

/** How many damages of each sort are drawn. */
const damages: Readonly<Record<Tier, number>> = { pr: 3, nightly: 200, release: 1000 }

/** The same seed gives the same cases. */
export const casesOf = (tier: Tier, seed: number): ReadonlyArray<FaultCase> => [
  ...sourceCases,
  ...databaseCases,
  ...damageCases(randomOf(seed), damages[tier]),
  ...systemCases
]
