/** A bound on how many sources may be rejected: a run that passes it stops, and is undone. */
import { Effect } from "effect"
import { migrate, type MigrateOptions } from "./Migrate.ts"
import { isExceeded, textOfLimit } from "./internal/rejectLimit.ts"
import { type ItemReport, type RunReport, totalsOf } from "./Report.ts"
import { rollback } from "./Undo.ts"

export { parseRejectLimit, type RejectLimit } from "./internal/rejectLimit.ts"

/** Runs a migration; one that rejects more than `maxRejects` allows leaves every cohort as it was before. */
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
      notes: [...(report.notes ?? []), `${rejected}: a run would stop and be undone.`]
    }
    return told
  }
  if (report.totals.migrated === 0) {
    const stopped: RunReport = { ...report, notes: [...(report.notes ?? []), `${rejected}: the run was stopped.`] }
    return stopped
  }
  const undone = yield* rollback({
    database: options.database,
    run: report.run,
    cascade: false,
    test: false,
    program: options.program
  })
  const items = report.items.map((item): ItemReport =>
    item.outcome === "migrated"
      ? {
          ...item,
          outcome: "skipped",
          cohort_id: null,
          remarks: [
            {
              code: "undone",
              pointer: null,
              line: null,
              column: null,
              message: "it was stored and taken back, because more sources were rejected than --max-rejects allows"
            }
          ],
          remark_count: 1
        }
      : item
  )
  const taken: RunReport = {
    ...report,
    items,
    totals: totalsOf(report.totals.found, items),
    notes: [
      ...(report.notes ?? []),
      `${rejected}: the run was stopped and undone (by run ${undone.run.slice(0, 8)}); every cohort is as it was before.`
    ]
  }
  return taken
})
