/** Databases, write-ahead logs and backups that are damaged; `pnpm faults` draws many more. */
import { storedCases } from "./faults/Cases.ts"
import { describeFaults, SEED } from "./faults/suite.ts"

describeFaults(storedCases("pr", SEED))
