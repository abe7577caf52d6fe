import { readFileSync } from "node:fs"
import { join } from "node:path"
import { exitCodes } from "@mallard/migrator"
import { assert, describe, it } from "vitest"
import { allCodes, codesExplained, codesIn } from "../lib/codes.ts"
import { root } from "../lib/run.ts"

describe("codes in sources", () => {
  it("are found in union types, literal schemas and where remarks are made", () => {
    const source = [
      'export type LeakReason = | "pipe-burst" | "tap-open"',
      'interface Finding { readonly code: "row-gone" | Other }',
      'const DripReason = Schema.Literals(["slow", "fast"])',
      'class Flood extends Schema.TaggedError<Flood>()("Flood", { reason: Schema.Literals(["far-off"]) }) {}',
      'plainRemark("all-wet", "text"); const remark = { code: "half-dry", pointer }',
      'const other = "no-code"'
    ].join("\n")
    assert.sameMembers(
      [...codesIn(source)],
      ["pipe-burst", "tap-open", "row-gone", "slow", "fast", "far-off", "all-wet", "half-dry"]
    )
  })
})

describe("docs/remarks.md", () => {
  const page = readFileSync(join(root, "docs", "remarks.md"), "utf8")
  const codes = allCodes()
  const explained = codesExplained(page)

  it("explains every code that the sources raise", () => {
    assert.isAbove(codes.size, 50)
    assert.deepStrictEqual(
      [...codes].filter((code) => !explained.has(code)),
      []
    )
  })

  it("explains no code that the sources do not raise", () => {
    assert.deepStrictEqual(
      [...explained].filter((code) => !codes.has(code)),
      []
    )
  })

  it("names the exit code of every outcome of a run", () => {
    for (const [outcome, code] of Object.entries(exitCodes)) {
      assert.match(page, new RegExp(`^\\| ${code} \\|.*\`${outcome}\``, "m"))
    }
  })
})
