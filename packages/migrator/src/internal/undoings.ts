/** Which runs were undone, by which run and why, as the ledger tells it. */
import type { LedgerRun } from "@mallard/duckdb-store"
import { Option, Schema } from "effect"
import type { UndoneBy } from "../Report.ts"

/** What the options of a run that undid another say of that. */
export const readUndoing = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({ undone_run: Schema.String, reason: Schema.optionalKey(Schema.Literal("too-many-rejects")) })
  )
)

/** By run, what undid it last. An undoing that was undone itself does not count. */
export const undoingsOf = (runs: ReadonlyArray<LedgerRun>): ReadonlyMap<string, UndoneBy> => {
  const found = new Map<string, UndoneBy>()
  // A run is undone by later ones only: from the last to the first, what undid an undoing is known before it.
  for (const { options, outcome, runId } of runs.toReversed()) {
    if (found.has(runId)) continue
    const undoing = Option.getOrUndefined(readUndoing(options))
    if (undoing === undefined || found.has(undoing.undone_run)) continue
    const { reason, undone_run } = undoing
    found.set(undone_run, {
      run: runId,
      ...(reason === undefined ? {} : { reason }),
      ...(outcome === "partly-done" ? { partly: true } : {})
    })
  }
  return found
}
