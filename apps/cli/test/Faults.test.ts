/** Faults of sources, names, systems, signals and surroundings; `pnpm faults` makes more. */
import { outerCases } from "./faults/Cases.ts"
import { describeFaults } from "./faults/suite.ts"

describeFaults(outerCases("pr"))
