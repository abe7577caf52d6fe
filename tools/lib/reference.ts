/** The page `docs/reference.md`, written from the declarations of the kinds. */
import { join } from "node:path"
import { kinds, referencePage } from "@mallard/schema"
import { root } from "./run.ts"

export const referenceFile = join(root, "docs", "reference.md")

const note =
  "<!-- Written by tools/generate-reference.ts from packages/schema/src/kinds; change those, not this page. -->"

/** What the page must be. */
export const referenceText = (): string => `${note}\n\n${referencePage(kinds)}`
