/** Writes `docs/reference.md`; `tools/test/reference.test.ts` fails while the page is not what this writes. */
import { writeFileSync } from "node:fs"
import { referenceFile, referenceText } from "./lib/reference.ts"

writeFileSync(referenceFile, referenceText())
