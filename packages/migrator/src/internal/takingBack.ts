/** How cohorts become again what they were before a run, when the sources that they were stored from are contested. */
import { type BatchWriter, type NewRevision, readRevision } from "@mallard/duckdb-store"
import { Clock, Effect } from "effect"
import type { StoredHead } from "../Decision.ts"
import type { ItemReport } from "../Report.ts"
import type { Claims, Disowned } from "./Claims.ts"
import type { RevisionDescription } from "./describing.ts"
import { contestedItem } from "./items.ts"
import type { Outcomes, StagedItem } from "./Outcomes.ts"
import { recordItems } from "./Outcomes.ts"
import type { Stored } from "./stored.ts"

/** A source that is rejected now. */
export interface TakenBack extends StagedItem {
  readonly disowned: Disowned
}

/** Puts into the current transaction what undoes the sources that lost their names, and the ledger's word on each. */
export const takeBackDisowned = Effect.fnUntraced(function* (
  claims: Claims,
  outcomes: Outcomes,
  stored: Stored,
  writer: BatchWriter,
  run: string
) {
  const savedAt = BigInt(yield* Clock.currentTimeMillis) * 1000n
  const takenBack: Array<TakenBack> = []
  for (const disowned of claims.disowned) {
    const { claimant, name } = disowned
    const report = outcomes.of(claimant.number)!
    if (claimant.revisionId !== undefined) {
      const head = stored.heads.get(name)
      const before = head === undefined || head.deleted ? undefined : head
      const described = before === undefined ? undefined : yield* describedAt(writer, before.revisionId)
      const revision = {
        cohortId: report.cohort_id!,
        seq: (head?.seq ?? 0) + 2,
        predecessor: claimant.revisionId,
        name,
        savedAt
      }
      writer.save({ ...revision, ...contentBefore(report, claimant.revisionId, before, described) }, [], run)
    }
    takenBack.push({
      number: claimant.number,
      report: contestedItem(report, claims.rivals(name, report.path)),
      revisionId: undefined,
      disowned
    })
  }
  recordItems(writer, run, takenBack)
  return takenBack
})

/** What a cohort held before this run; a tombstone keeps what the run has stored, by which the cohort is known. */
const contentBefore = (
  report: ItemReport,
  revisionId: number,
  before: StoredHead | undefined,
  described: RevisionDescription | undefined
): RevisionDescription & Pick<NewRevision, "change" | "digest" | "contentId"> =>
  before === undefined || described === undefined
    ? { ...noDescription, change: "deleted", digest: report.digest!, contentId: revisionId }
    : { ...described, change: "restored", digest: before.digest, contentId: before.contentId }

/** What a stored revision says about its cohort; undefined in a rehearsal. */
const describedAt = Effect.fnUntraced(function* ({ client }: BatchWriter, revisionId: number) {
  const revision = client === undefined ? undefined : yield* readRevision(client, revisionId)
  if (revision === undefined) return undefined
  const { createdAt, description, legacyId, product, tags, updatedAt } = revision
  const described: RevisionDescription = { description, tags, product, legacyId, createdAt, updatedAt }
  return described
})

const noDescription: RevisionDescription = {
  description: undefined,
  tags: [],
  product: undefined,
  legacyId: undefined,
  createdAt: undefined,
  updatedAt: undefined
}
