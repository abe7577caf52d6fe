/** Writes the published JSON Schemas of reports and rules; tests of `migrator` fail while the files are not what this writes. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { reportJsonSchema, rulesJsonSchema } from "@mallard/migrator"
import { root } from "./lib/run.ts"

writeFileSync(
  join(root, "packages", "migrator", "report.schema.json"),
  `${JSON.stringify(reportJsonSchema(), null, 2)}\n`
)
writeFileSync(
  join(root, "packages", "migrator", "rules.schema.json"),
  `${JSON.stringify(rulesJsonSchema(), null, 2)}\n`
)
