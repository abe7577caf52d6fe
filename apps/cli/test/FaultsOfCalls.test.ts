/** Calls to the operating system that fail; `pnpm faults --tier nightly` goes through all of them. */
import { someCallCases } from "./faults/cases/Calls.ts"
import { describeFaults } from "./faults/suite.ts"

describeFaults(someCallCases)
