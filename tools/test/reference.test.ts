import { readFileSync } from "node:fs"
import { kinds } from "@mallard/schema"
import { assert, describe, it } from "vitest"
import { referenceFile, referenceText } from "../lib/reference.ts"

describe("docs/reference.md", () => {
  const page = readFileSync(referenceFile, "utf8")

  it("is what tools/generate-reference.ts writes", () => {
    assert.isTrue(page === referenceText(), "run: node tools/generate-reference.ts")
  })

  it("has every column of every kind", () => {
    const sections = new Map(page.split("\n## ").map((section) => [section.split("\n", 1)[0], section]))
    for (const { columns, kind } of kinds) {
      for (const { name } of columns) assert.include(sections.get(kind) ?? "", `| \`${name}\` |`)
    }
  })
})
