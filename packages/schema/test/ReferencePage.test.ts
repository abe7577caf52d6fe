import { kindByName, kinds, referencePage } from "@mallard/schema"
import { assert, describe, it } from "vitest"

describe("the reference page", () => {
  it("shows a kind with its table, its keys and its columns", () => {
    const page = referencePage([kindByName("claim")])
    for (const line of [
      "| [claim](#claim) | claims | 11 | 29 |",
      "## claim",
      "- Table: `claims`",
      "- Id: column `claim_id`, from `claim_id`, `id`, `claimId`",
      "| `facility_npi` | VARCHAR | `facility_npi`, `facility.npi` | `facilityNpi` |  |"
    ]) {
      assert.include(page.split("\n"), line)
    }
    assert.include(page, "`member.member_id`; else `$doc.member.member_id` | `memberId` |")
    assert.include(page, "- Children: `claim_lines` → claim_line, `service_lines` → claim_line,")
  })

  it("shows conditions and words that stand for codes", () => {
    const page = referencePage([kindByName("member")])
    assert.include(
      page,
      "- A single object under `coverage`, `coverages`, `enrollment`, `enrollments` only with one of `member_id`, `memberId`"
    )
    assert.include(page, "Words: self = 18, subscriber = 18, spouse = 01")
  })

  it("has a row for every column of every kind", () => {
    const lines = referencePage(kinds).split("\n")
    for (const { kind } of kinds) assert.include(lines, `## ${kind}`)
    assert.strictEqual(
      lines.filter((line) => line.startsWith("| `")).length,
      kinds.reduce((sum, { columns }) => sum + columns.length, 0)
    )
  })
})
