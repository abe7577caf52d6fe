/** A bound on how many sources may be rejected: a run that passes it stops, and is undone. */
import { Effect } from "effect"
import { migrate } from "./Migrate.ts"
import type { MigrateOptions } from "./MigrateOptions.ts"
import { takenBackItem } from "./internal/items.ts"
import { recordProof } from "./internal/recording.ts"
import { isExceeded, textOfLimit } from "./internal/rejectLimit.ts"
import { type ItemReport, type RunReport, totalsOf } from "./Report.ts"
import { readRunsToUndo } from "./Resume.ts"
import { rollback } from "./Undo.ts"

export { parseRejectLimit, type RejectLimit } from "./internal/rejectLimit.ts"

/**
 * Runs `migrate`; one that rejects more than `maxRejects` allows leaves every cohort as it was before, unless somebody else has
 * changed it since.
 *
 * Such a run is `failed`; what it had stored, and what a killed run had stored that it went on with, is undone by `rollback`,
 * the items are `skipped` with the remark `undone`, and `notes` say so. A dry run says what would happen. Fails as `migrate`
 * and `rollback` do.
 */
export const migrateWithin = Effect.fn("migrateWithin")(function* (options: MigrateOptions) {
  const report = yield* migrate(options)
  const { maxRejects } = options
  if (maxRejects === undefined || !isExceeded(maxRejects, report.totals)) return report
  const limit = textOfLimit(maxRejects)
  const count = report.totals.rejected + report.totals.failed
  const rejected = `More sources were rejected (${count} of ${report.totals.found}) than --max-rejects ${limit} allows`
  if (options.dryRun) {
    const told: RunReport = {
      ...report,
      outcome: report.outcome === "interrupted" ? "interrupted" : "failed",
      notes: [...(report.notes ?? []), `${rejected}: a run would stop and be undone.`]
    }
    return told
  }
  const undoings = yield* undoAll(options, report.run).pipe(
    Effect.catchTag(["MigrationFailed", "StoreError"], ({ message }) => Effect.succeed(message))
  )
  if (typeof undoings === "string") {
    const left: RunReport = {
      ...report,
      outcome: "failed",
      notes: [
        ...(report.notes ?? []),
        `${rejected}: the run was stopped, but not undone, which the next one over the same sources goes on with. ${undoings}`
      ]
    }
    return left
  }
  const recorded = undoings.flatMap(({ run }) => (run === null ? [] : [run]))
  const isPartly = undoings.some(({ outcome }) => outcome === "partly-done")
  if (recorded.length === 0) {
    const left = isPartly ? "; what was stored is left as it is, because it was changed since" : ""
    const stopped: RunReport = {
      ...report,
      notes: [...(report.notes ?? []), `${rejected}: the run was stopped${left}.`]
    }
    // Nothing is left to undo, and no undoing run tells of that.
    return undoings.length === 0
      ? stopped
      : yield* recordProof(stopped, { taken_back: { totals: stopped.totals, unlisted: [] } })
  }
  const takenBack = new Set(
    undoings.flatMap(({ cohorts }) =>
      cohorts.flatMap(({ action, cohort_id }) => (action === "kept" ? [] : [cohort_id]))
    )
  )
  const unlisted: Array<ItemReport> = []
  const items = report.items.map((item): ItemReport => {
    const isUnlisted = item.outcome === "unchanged" && takenBack.has(item.cohort_id ?? "")
    if (item.outcome !== "migrated" && !isUnlisted) return item
    const back = takenBackItem(item)
    // What a purge is to forget stands in no record of a run.
    if (isUnlisted) unlisted.push({ ...back, cohort: null })
    options.onProgress?.({ phase: "item", item: back, formerly: item.outcome })
    return back
  })
  const own = undoings.find(({ run, undone_run }) => run !== null && undone_run === report.run)
  const taken: RunReport = {
    ...report,
    items,
    totals: totalsOf(report.totals.found, items),
    ...(own === undefined || own.run === null
      ? {}
      : {
          undone_by: {
            run: own.run,
            reason: "too-many-rejects",
            ...(own.outcome === "partly-done" ? { partly: true } : {})
          }
        }),
    notes: [
      ...(report.notes ?? []),
      `${rejected}: the run was stopped and undone (by run ${recorded.map((run) => run.slice(0, 8)).join(", ")}); ${isPartly ? "cohorts that were changed since are left as they are" : "every cohort is as it was before"}.`
    ]
  }
  return yield* recordProof(taken, { taken_back: { totals: taken.totals, unlisted } })
})

/** Undoes a run, and with it what a run had stored that was killed, and that this one went on with. */
const undoAll = Effect.fnUntraced(function* ({ database, program }: MigrateOptions, last: string) {
  const runs = yield* readRunsToUndo(database, last)
  return yield* Effect.forEach(runs, (run) =>
    rollback({ database, run, cascade: false, test: false, reason: "too-many-rejects", program })
  )
})
