/** Writes the published JSON Schema of reports; a test of `migrator` fails while the file is not what this writes. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { reportJsonSchema } from "@mallard/migrator"
import { root } from "./lib/run.ts"

writeFileSync(
  join(root, "packages", "migrator", "report.schema.json"),
  `${JSON.stringify(reportJsonSchema(), null, 2)}\n`
)
