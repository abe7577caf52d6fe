/** What the events of a run carry as JSON beside their columns. */
import { Schema } from "effect"
import { SourceChange } from "../Incremental.ts"
import { Environment, RunReport, Totals, UndoneCohort, Verification } from "../Report.ts"
import { Manifest } from "./manifest.ts"

/** `options` of the event `started`: what was asked. */
export type RunOptions = { readonly [key: string]: Schema.Json }

/** The process of a run, by number and start. */
export const RunProcess = Schema.Struct({ pid: Schema.Int, since: Schema.String })

/** `options` of the event `started`, with who asked and the process that does it. */
export const StoredOptions = Schema.StructWithRest(
  Schema.Struct({ environment: Schema.optionalKey(Environment), process: Schema.optionalKey(RunProcess) }),
  [Schema.Record(Schema.String, Schema.Json)]
)

/** `options` of the event `finished`: what the report tells that no row of an item does. */
export const RunFacts = Schema.Struct({
  ignored: Schema.optionalKey(RunReport.fields.ignored),
  slowest: RunReport.fields.slowest,
  timings: Schema.optionalKey(
    Schema.Struct({
      find: Schema.Finite,
      backup: Schema.optionalKey(Schema.Finite),
      load: Schema.Finite
    })
  ),
  undone: Schema.optionalKey(Schema.Array(UndoneCohort)),
  /** Cohorts of the savepoint that could not be given back, because a purge had removed them. */
  lost_to_purge: Schema.optionalKey(Schema.Int),
  purged: RunReport.fields.purged,
  /** How sources differed from what was known of them, where they were not new. */
  changes: Schema.optionalKey(
    Schema.Array(Schema.Struct({ path: Schema.String, change: SourceChange, from: Schema.optionalKey(Schema.String) }))
  ),
  /** Contents that were stored already, met at paths where they were not known. */
  seen: Schema.optionalKey(
    Schema.Array(Schema.Struct({ path: Schema.String, sha256: Schema.String, digest: Schema.String }))
  ),
  /** Paths where sources were, and are no more. */
  removed: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Paths whose contents were met elsewhere: told as renamed, they are not told as removed later. */
  renamed: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Those of `removed` from which nothing is stored. */
  removed_unstored: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Files that were to be copied and could not be, so that no backup of the run has them. */
  not_copied: Schema.optionalKey(Manifest.fields.skipped),
  /** Whether rejected files were left out of a store whose copies are encrypted. */
  rejects_not_copied: Schema.optionalKey(Schema.Boolean)
})
export type RunFacts = typeof RunFacts.Type

/** `totals` of the event `verified`: what the proof found, what was moved, and how long each phase took. */
export const RunProof = Schema.Struct({
  verification: Verification,
  timings: RunReport.fields.timings,
  moved: RunReport.fields.moved,
  /** Why originals that were to be moved were not. */
  not_moved: Schema.optionalKey(Schema.Array(Schema.String)),
  /**
   * What the run comes to after `--max-rejects` undid it: its sums, and the sources that no row has because they were
   * unchanged when their cohorts were taken back.
   */
  taken_back: Schema.optionalKey(Schema.Struct({ totals: Totals, unlisted: RunReport.fields.items }))
})

const KEPT = 10

/** The sources that took longest. */
export class SlowestSources {
  private kept: ReadonlyArray<{ readonly path: string; readonly bytes: number; readonly milliseconds: number }> = []

  add(path: string, bytes: number, milliseconds: number): void {
    const last = this.kept[KEPT - 1]
    if (last !== undefined && milliseconds <= last.milliseconds) return
    // A batch that is done again reads its sources again.
    this.kept = [...this.kept.filter((other) => other.path !== path), { path, bytes, milliseconds }]
      .sort((left, right) => right.milliseconds - left.milliseconds)
      .slice(0, KEPT)
  }

  get list(): NonNullable<RunReport["slowest"]> {
    return this.kept
  }
}
