/**
 * Undoing: what is to be appended so that cohorts are again what they were. Nothing is deleted or changed; an undoing run
 * appends revisions like any other, so it can be undone itself.
 *
 * Laws: after undoing a run whose revisions are still heads, every cohort has the name, description, tags, times and
 * content that it had before the run; undoing the undoing gives back what the run made.
 */

import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect, Schema } from "effect"
import { checkpoint } from "./Checkpoint.ts"
import { reach } from "./Failpoints.ts"
import { query } from "./internal/query.ts"
import { type LedgerValues, nextIds, now } from "./Ledger.ts"
import { commitRows } from "./LedgerWriter.ts"
import { blobText, queryRows } from "./Rendering.ts"
import { revisionRow } from "./Revision.ts"

/** A revision with all that its successor may have to repeat. Times are microseconds since 1970. */
export interface RevisionFacts {
  readonly revisionId: number
  readonly cohortId: string
  readonly seq: number
  readonly runId: string | undefined
  readonly change: "saved" | "deleted" | "restored"
  readonly name: string
  readonly description: string | undefined
  readonly tags: string
  readonly product: string | undefined
  readonly legacyId: string | undefined
  readonly createdAt: bigint | undefined
  readonly updatedAt: bigint | undefined
  readonly digest: string
  readonly contentId: number
}

/** What is to be undone: one run, or everything since a moment. */
export type UndoTarget =
  | { readonly _tag: "Run"; readonly runId: string }
  /** Everything after this revision. */
  | { readonly _tag: "Since"; readonly revisionId: number }

/** Why a cohort stays as it is. */
export type KeptReason =
  /** A later run has changed it since. */
  | "changed-since"
  /** Another cohort has its former name now. */
  | "name-taken-since"
  /** It is what it was before already. */
  | "as-before"

/** What is done with one cohort. */
export type UndoStep =
  | {
      readonly action: "restored" | "deleted"
      readonly head: RevisionFacts
      readonly before: RevisionFacts | undefined
    }
  | { readonly action: "kept"; readonly head: RevisionFacts; readonly reason: KeptReason }

/** Cohorts did not come out as planned; nothing was written. */
export class UndoMismatch extends Schema.TaggedError<UndoMismatch>()("UndoMismatch", { cohorts: Schema.Int }) {
  override get message(): string {
    return `${this.cohorts} cohorts would not be as before. Nothing was written; check the database with \`mallard verify\`.`
  }
}

/** Ends a transaction that was only a test. */
class TestEnded extends Schema.TaggedError<TestEnded>()("TestEnded", {}) {}

/**
 * Decides what becomes of each cohort. `lines` are the revisions, oldest first, of each cohort that the target concerns;
 * `live` are the names of the cohorts that are not deleted, by cohort id.
 */
export const planUndo = (
  target: UndoTarget,
  lines: Iterable<ReadonlyArray<RevisionFacts>>,
  live: ReadonlyMap<string, string>,
  isCascading: boolean
): ReadonlyArray<UndoStep> => {
  const steps = Array.from(lines, (line) => stepOf(target, line, isCascading)).filter((step) => step !== undefined)
  // Names after all steps: a step that would give one name to two cohorts is not taken, and then its cohort keeps its name.
  const names = new Map(live)
  for (const step of steps) {
    if (step.action === "deleted") names.delete(step.head.cohortId)
    if (step.action === "restored") names.set(step.head.cohortId, step.before?.name ?? step.head.name)
  }
  const counts = new Map<string, number>()
  const count = (name: string | undefined, by: 1 | -1): void => {
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + by)
  }
  for (const name of names.values()) count(name, 1)
  for (;;) {
    const at = steps.findIndex(
      (step) =>
        step.action === "restored" &&
        (counts.get(names.get(step.head.cohortId) ?? "") ?? 0) > 1 &&
        live.get(step.head.cohortId) !== names.get(step.head.cohortId)
    )
    const step = steps[at]
    if (step === undefined) return steps
    const { cohortId } = step.head
    steps[at] = { action: "kept", head: step.head, reason: "name-taken-since" }
    const kept = live.get(cohortId)
    count(names.get(cohortId), -1)
    count(kept, 1)
    if (kept === undefined) names.delete(cohortId)
    else names.set(cohortId, kept)
  }
}

const stepOf = (target: UndoTarget, line: ReadonlyArray<RevisionFacts>, isCascading: boolean): UndoStep | undefined => {
  const head = line.at(-1)
  const first = line.findIndex((revision) =>
    target._tag === "Run" ? revision.runId === target.runId : revision.revisionId > target.revisionId
  )
  if (head === undefined || first < 0) return undefined
  const before = line[first - 1]
  if (isSame(head, before)) return { action: "kept", head, reason: "as-before" }
  if (target._tag === "Run" && head.runId !== target.runId && !isCascading) {
    return { action: "kept", head, reason: "changed-since" }
  }
  return { action: before === undefined || before.change === "deleted" ? "deleted" : "restored", head, before }
}

/** Whether a cohort with this head is what it was with that one. */
const isSame = (head: RevisionFacts, before: RevisionFacts | undefined): boolean => {
  const isGone = before === undefined || before.change === "deleted"
  if (isGone || head.change === "deleted") return isGone && head.change === "deleted"
  return (
    head.contentId === before.contentId &&
    head.digest === before.digest &&
    head.name === before.name &&
    head.description === before.description &&
    head.tags === before.tags &&
    head.product === before.product &&
    head.legacyId === before.legacyId &&
    head.createdAt === before.createdAt &&
    head.updatedAt === before.updatedAt
  )
}

/** What undoing the target would do, from what is stored now. Reads only. */
export const inspectUndo = Effect.fn("Rollback.inspectUndo")(function* (target: UndoTarget, isCascading: boolean) {
  const lines = yield* readLines(target)
  const live = yield* readLive
  const byName = [...planUndo(target, lines.values(), live, isCascading)]
  return byName.sort(({ head: { name: left } }, { head: { name: right } }) =>
    left < right ? -1 : left > right ? 1 : 0
  )
})

export interface UndoOptions {
  readonly target: UndoTarget
  readonly isCascading: boolean
  /** The id of the undoing run. */
  readonly runId: string
  readonly program: string
  /** JSON of what was asked, for the ledger. */
  readonly options: string
  /** JSON of the sums and of what else is known, once the steps are. */
  readonly summary: (steps: ReadonlyArray<UndoStep>) => {
    readonly outcome: string
    readonly facts: string
    readonly totals: string
  }
  /** Carries everything out in a transaction, compares, and takes it back. */
  readonly isTest: boolean
  /** Told of each stage: half of the cohorts are done when all revisions are written, and all when they are compared. */
  readonly onProgress?: ((done: number, cohorts: number) => void) | undefined
}

/** Whether everything is as it was already; then no run is recorded. */
export const changesNothing = (steps: ReadonlyArray<UndoStep>): boolean =>
  steps.every(({ action }) => action === "kept")

/**
 * Undoes the target in one transaction, as a run of its own, and compares every cohort with what it was before it
 * commits. Where there is nothing to change, nothing is recorded either: the last run is still the one before.
 */
export const undo = Effect.fn("Rollback.undo")(function* (options: UndoOptions) {
  const sql = yield* DuckDbClient
  const work = Effect.gen(function* () {
    const steps = yield* inspectUndo(options.target, options.isCascading)
    yield* reach("undo/begun")
    options.onProgress?.(0, steps.length)
    if (changesNothing(steps)) return steps
    const at = yield* now
    let revisionId = (yield* nextIds).get("revisions") ?? 1
    const revisions = steps.flatMap((step): ReadonlyArray<LedgerValues<"revisions">> =>
      step.action === "kept" ? [] : [rowOf(step, revisionId++, options.runId, at)]
    )
    const { facts, outcome, totals } = options.summary(steps)
    const event = { run_id: options.runId, at, program: options.program }
    yield* commitRows(options.runId, {
      revisions,
      migration_runs: [
        { ...event, event: "started", outcome: null, options: options.options, totals: null },
        { ...event, event: "finished", outcome, options: facts, totals }
      ]
    })
    yield* reach("undo/written")
    options.onProgress?.(Math.floor(steps.length / 2), steps.length)
    const after = yield* readLines(options.target)
    const wrong = steps.filter((step) => {
      const head = after.get(step.head.cohortId)?.at(-1)
      return head === undefined || !isSame(head, step.action === "kept" ? step.head : step.before)
    })
    if (wrong.length > 0) return yield* new UndoMismatch({ cohorts: wrong.length })
    yield* reach("undo/compared")
    options.onProgress?.(steps.length, steps.length)
    return steps
  })
  if (!options.isTest) {
    const steps = yield* sql.withTransaction(work)
    yield* reach("commit/done")
    yield* checkpoint(sql)
    return steps
  }
  let tested: ReadonlyArray<UndoStep> = []
  yield* sql
    .withTransaction(
      Effect.flatMap(work, (steps) => {
        tested = steps
        return Effect.fail(new TestEnded({}))
      })
    )
    .pipe(Effect.catchTag("TestEnded", () => Effect.void))
  return tested
})

const rowOf = (
  step: Exclude<UndoStep, { readonly action: "kept" }>,
  revisionId: number,
  runId: string,
  savedAt: Date
): LedgerValues<"revisions"> => {
  const { action, before, head } = step
  // A tombstone keeps the name and content by which the cohort was known: history and a later restoration need them.
  const facts = action === "restored" && before !== undefined ? before : head
  const revision = {
    ...facts,
    cohortId: head.cohortId,
    seq: head.seq + 1,
    predecessor: head.revisionId,
    change: action,
    savedAt
  }
  return revisionRow(revisionId, revision, runId)
}

/** The highest id of a revision: everything up to it is the state of this moment. */
export const lastRevision = Effect.gen(function* () {
  const sql = yield* DuckDbClient
  const [row] = yield* query<{ readonly id: bigint }>(sql, undoStatements.last)
  return Number(row?.id ?? 0n)
})

// Texts travel as bytes: nothing depends on how the client decodes them.
const COLUMNS = `revision_id, cohort_id::VARCHAR, seq, run_id::VARCHAR, change, encode(name), encode(description), encode(tags),
  encode(product), encode(legacy_id), epoch_us(created_at), epoch_us(updated_at), digest, content_id`

const linesSql = (condition: string): string =>
  `SELECT ${COLUMNS} FROM mallard.recorded_revisions
WHERE cohort_id IN (SELECT cohort_id FROM mallard.recorded_revisions WHERE ${condition}) ORDER BY cohort_id, seq`

/** The statements of this module. */
export const undoStatements = {
  ofRun: (runId: string) => linesSql(`run_id = '${runId}'::UUID`),
  since: (revisionId: number) => linesSql(`revision_id > ${revisionId}`),
  live: "SELECT cohort_id::VARCHAR, encode(name) FROM mallard.heads",
  last: "SELECT coalesce(max(revision_id), 0) AS id FROM mallard.recorded_revisions"
} as const

const UUID_TEXT = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

const readLines = Effect.fnUntraced(function* (target: UndoTarget) {
  const sql = yield* DuckDbClient
  const lines = new Map<string, Array<RevisionFacts>>()
  if (target._tag === "Run" && !UUID_TEXT.test(target.runId)) return lines
  const rows = yield* queryRows(
    sql,
    target._tag === "Run" ? undoStatements.ofRun(target.runId) : undoStatements.since(Math.trunc(target.revisionId))
  )
  for (const row of rows) {
    const revision = revisionOf(row)
    const line = lines.get(revision.cohortId)
    if (line === undefined) lines.set(revision.cohortId, [revision])
    else line.push(revision)
  }
  return lines
})

const readLive = Effect.gen(function* () {
  const sql = yield* DuckDbClient
  const rows = yield* queryRows(sql, undoStatements.live)
  return new Map(rows.map(([cohortId, name]) => [String(cohortId), blobText(name)]))
})

const revisionOf = (row: ReadonlyArray<unknown>): RevisionFacts => {
  const [id, cohort, seq, run, change, name, description, tags, product, legacy, created, updated, digest, content] =
    row
  const text = (value: unknown): string | undefined => (value === null ? undefined : blobText(value))
  const micros = (value: unknown): bigint | undefined => (typeof value === "bigint" ? value : undefined)
  return {
    revisionId: Number(id),
    cohortId: String(cohort),
    seq: Number(seq),
    runId: run === null ? undefined : String(run),
    change: change === "deleted" || change === "restored" ? change : "saved",
    name: blobText(name),
    description: text(description),
    tags: blobText(tags),
    product: text(product),
    legacyId: text(legacy),
    createdAt: micros(created),
    updatedAt: micros(updated),
    digest: String(digest),
    contentId: Number(content)
  }
}
