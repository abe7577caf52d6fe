/** When originals may be moved: after everything that stands for them has been proven. */
import { dirname } from "node:path"
import type { FoundSources, Source } from "@mallard/legacy-json"
import { Effect } from "effect"
import type { MigrateOptions } from "../MigrateOptions.ts"
import type { ItemReport, RunReport } from "../Report.ts"
import { moveOriginals } from "./moveOriginals.ts"
import { filesOnDisk } from "./sourceFiles.ts"

/** Moves the originals of what is stored, if that is wanted and everything that it stands on is proven. */
export const movedAside = Effect.fnUntraced(function* (
  options: MigrateOptions,
  found: FoundSources,
  report: RunReport
): Effect.fn.Return<RunReport> {
  const { moveOriginals: folder } = options
  const { backup, verification } = report
  if (folder === undefined || options.dryRun) return report
  const isProven = options.verify !== false && verification.mismatched === 0 && verification.findings.length === 0
  if (
    backup === undefined ||
    backup === null ||
    !isProven ||
    report.outcome === "interrupted" ||
    report.outcome === "failed"
  ) {
    return {
      ...report,
      outcome: notMoved(report.outcome),
      notes: [
        ...(report.notes ?? []),
        "No original was moved: that takes a backup, the proof, and a run that came to its end."
      ]
    }
  }
  const stored = new Set(
    report.items.filter(({ outcome }) => outcome === "migrated" || outcome === "unchanged").map(({ path }) => path)
  )
  const all = found.sources.flatMap(filesOnDisk)
  // What is left in a folder is to be mended and migrated there: nothing is taken away beside it.
  const isWaiting = ({ path, remarks }: ItemReport): boolean =>
    !stored.has(path) && !remarks.some(({ code }) => code === "identical-content" || code === "not-a-cohort")
  const waiting = new Set(report.items.filter(isWaiting).map(({ path }) => dirname(path)))
  const done = found.sources.filter(({ path }) => stored.has(path))
  const left = done.filter(({ path }) => waiting.has(dirname(path)))
  const sources = done.filter(({ path }) => !waiting.has(dirname(path)))
  const { moved, notes } = yield* moveOriginals({
    folder,
    sources: sources.map(({ kind, path, ...source }) => ({
      files: filesOnDisk(source),
      directory: kind === "directory" ? path : undefined
    })),
    all,
    backup,
    cipher: options.backup?.cipher
  })
  return {
    ...report,
    outcome: notes.length === 0 ? report.outcome : notMoved(report.outcome),
    ...(moved.length === 0 ? {} : { moved }),
    ...(notes.length + left.length === 0 ? {} : { notes: [...(report.notes ?? []), ...notes, ...leftNotes(left)] })
  }
})

/** The outcome of a run whose originals were to be moved and are still there. */
const notMoved = (outcome: RunReport["outcome"]): RunReport["outcome"] => (outcome === "done" ? "partly-done" : outcome)

const leftNotes = (left: ReadonlyArray<Source>): ReadonlyArray<string> =>
  [...new Set(left.map(({ path }) => dirname(path)))].map(
    (folder) => `Not moved: what is stored of ${folder}, because something else in it is not.`
  )
