/** Calls to the operating system that fail; `pnpm faults --tier nightly` goes through all of them. */
import { suiteCallCases } from "./faults/Cases.ts"
import { describeFaults } from "./faults/suite.ts"

describeFaults(suiteCallCases)
