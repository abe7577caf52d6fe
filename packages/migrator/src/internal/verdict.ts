/** What becomes of a source that has been read: a pure function from what is known of it to the report and its claim. */
import { notCohortNames, type PartRead, type Source } from "@mallard/legacy-json"
import type { Decision, StoredHead } from "../Decision.ts"
import type { Planned } from "../MigrateOptions.ts"
import type { ItemReport, Remark } from "../Report.ts"
import type { Description } from "./describing.ts"
import { rejectedFor } from "./contentRemarks.ts"
import { changedSincePlan, contestedItem, decidedOtherwise, plainRemark, reportOf } from "./items.ts"

export interface VerdictFacts {
  readonly source: Source
  readonly parts: ReadonlyArray<PartRead>
  readonly described: Description
  readonly decision: Decision
  readonly planned: Planned | undefined
  /** Whether what was remarked while it was read is a reason to reject it. */
  readonly isStrict: boolean
}

export interface Verdict {
  readonly report: ItemReport
  /** The name that the source claims, also if it does not get it; undefined if it claims none. */
  readonly claimed: string | undefined
  /** Set if a revision is to be saved, which follows `head`; the report then lacks the id of the cohort. */
  readonly save: { readonly name: string; readonly head: StoredHead | undefined } | undefined
}

export const verdictOf = (facts: VerdictFacts): Verdict => {
  const { decision, described, source } = facts
  const base = reportOf(source, described)
  const ended = (
    outcome: ItemReport["outcome"],
    remarks: ReadonlyArray<Remark>,
    claimed: string | undefined,
    changes: Partial<ItemReport> = {}
  ): Verdict => ({
    report: { ...base, outcome, remarks, remark_count: remarks.length, ...changes },
    claimed,
    save: undefined
  })
  const notCohort = source.kind === "file" ? facts.parts[0]?.notCohort : undefined
  if (notCohort !== undefined) {
    const remark = plainRemark("not-a-cohort", `it is ${notCohortNames[notCohort]}; it was left as it is`)
    return ended("skipped", [remark], undefined, { cohort: null, digest: null })
  }
  const changed = changedSincePlan(facts.planned, described.sourceSha256)
  if (changed !== undefined && decision.action !== "unchanged") return ended("rejected", [changed], undefined)
  // Asked before whose name it is: what is rejected for its content alone spoils no other, whichever comes first.
  const isNew = decision.action === "save" || decision.action === "repeat" || decision.action === "contested"
  if (facts.isStrict && described.remarkCount > 0 && isNew) {
    const found = described.remarks.map((remark) => ({ part: 0, remark, isReason: true }))
    return { report: rejectedFor({ ...base, cohort: decision.name }, found), claimed: undefined, save: undefined }
  }
  switch (decision.action) {
    case "contested":
      // Who the others are is known once this claim is noted too.
      return {
        report: contestedItem({ ...base, cohort: decision.name }, { first: [], more: 0 }),
        claimed: decision.name,
        save: undefined
      }
    case "repeat":
      return ended("skipped", [identicalContent], decision.name, { cohort: decision.name })
    case "unchanged":
      return {
        report: { ...base, outcome: "unchanged", cohort: decision.name, cohort_id: decision.head.cohortId },
        claimed: decision.name,
        save: undefined
      }
    case "skip":
      return ended("skipped", [nameTaken("it was left as it is (--on-conflict skip)")], undefined)
    case "reject":
      return ended("rejected", [nameTaken("choose --on-conflict replace, rename or skip")], undefined)
    case "save": {
      // Asked last: what is still refused for its content, or for the name that it claims, is told so as the plan told it.
      const otherwise = decidedOtherwise(facts.planned)
      if (otherwise !== undefined) return ended("rejected", [otherwise], decision.name, { cohort: decision.name })
      return { report: { ...base, outcome: "migrated", cohort: decision.name }, claimed: decision.name, save: decision }
    }
  }
}

const identicalContent = plainRemark(
  "identical-content",
  "another source of this run has the same name and the same content; it counts once"
)

const nameTaken = (rest: string): Remark =>
  plainRemark("name-taken", `a cohort of this name with other content is stored; ${rest}`)
