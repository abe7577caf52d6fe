/**
 * The report of a run: what became of every item found, with totals that balance. Field names are those of the JSON that
 * scripts read; fields are only ever added.
 */
import { Schema } from "effect"
import { SourceChange } from "./Incremental.ts"

/** What became of an item. */
export const ItemOutcome = Schema.Literals(["migrated", "unchanged", "skipped", "rejected", "failed"])
export type ItemOutcome = typeof ItemOutcome.Type

/**
 * What became of a run. `partly-done` is one that rejected nothing and left something else undone that it was asked for;
 * `running` and `cut-short` are of the ledger alone: its process is still at work, or has gone without writing an end.
 */
export const RunOutcome = Schema.Literals([
  "done",
  "done-with-rejects",
  "partly-done",
  "failed",
  "mismatch",
  "interrupted",
  "nothing-to-do",
  "running",
  "cut-short"
])
export type RunOutcome = typeof RunOutcome.Type

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const Counts = Schema.Record(Schema.String, Count)

/** Something to know about an item: why it was not stored, or what in it could not go where its path leads. */
export const Remark = Schema.Struct({
  code: Schema.String,
  /** JSON pointer from the document's root; null where there is none. */
  pointer: Schema.NullOr(Schema.String),
  line: Schema.NullOr(Count),
  column: Schema.NullOr(Count),
  message: Schema.String,
  /** For an item of several files: which one. */
  part: Schema.optionalKey(Schema.String)
})
export type Remark = typeof Remark.Type

/** One file of an item. */
export const PartReport = Schema.Struct({
  path: Schema.String,
  format: Schema.String,
  bytes: Count,
  digest: Schema.String,
  source_sha256: Schema.String
})
export type PartReport = typeof PartReport.Type

export const ItemReport = Schema.Struct({
  path: Schema.String,
  outcome: ItemOutcome,
  /** Variant of the format, as in `V1`; null when the item could not be read. */
  format: Schema.NullOr(Schema.String),
  cohort: Schema.NullOr(Schema.String),
  cohort_id: Schema.NullOr(Schema.String),
  /** Entities by kind, nested ones included. */
  entities: Counts,
  /** SHA-256 of the compact text; see `docs/promises.md`. */
  digest: Schema.NullOr(Schema.String),
  source_sha256: Schema.NullOr(Schema.String),
  bytes: Count,
  remarks: Schema.Array(Remark),
  /** How many remarks there were: more than are listed when there were very many. */
  remark_count: Count,
  /** Only for items of several files. */
  parts: Schema.optionalKey(Schema.Array(PartReport)),
  /** How it differs from what earlier runs saw of it; missing where it could not be read. */
  change: Schema.optionalKey(SourceChange),
  /** Where the same content was or is, for `renamed` and `copied`. */
  from: Schema.optionalKey(Schema.String),
  /** For a rejected item that was mended and given again: which one it was. */
  replays: Schema.optionalKey(Schema.Struct({ run: Schema.String, item: Count, path: Schema.String }))
})
export type ItemReport = typeof ItemReport.Type

export const Totals = Schema.Struct({
  found: Count,
  migrated: Count,
  unchanged: Count,
  skipped: Count,
  rejected: Count,
  failed: Count,
  bytes: Count,
  /** Entities of the items migrated in this run, by kind. */
  entities: Counts,
  remarks: Count,
  /** Whether every item found has exactly one outcome. */
  balanced: Schema.Boolean,
  /** True for a run that did not come to its end: what it found is not known, and only what it stored is counted. */
  partial: Schema.optionalKey(Schema.Literal(true))
})
export type Totals = typeof Totals.Type

export const Verification = Schema.Struct({
  /** Documents rendered from the database and compared by digest. */
  checked: Count,
  matched: Count,
  mismatched: Count,
  findings: Schema.Array(Schema.Struct({ code: Schema.String, where: Schema.String, message: Schema.String }))
})
export type Verification = typeof Verification.Type

/** Who ran it, and with what. */
export const Environment = Schema.Struct({
  user: Schema.String,
  host: Schema.String,
  platform: Schema.String,
  node: Schema.String,
  duckdb: Schema.String
})
export type Environment = typeof Environment.Type

/** The copy of the sources that was made, and proven, before anything was written. */
export const BackupReport = Schema.Struct({
  backup_id: Schema.String,
  path: Schema.String,
  files: Count,
  bytes: Count,
  /** Bytes that this run added to the store; what was there already is not copied again. */
  added_bytes: Schema.optionalKey(Count),
  manifest_sha256: Schema.String
})
export type BackupReport = typeof BackupReport.Type

/** How the entities of a kind that a run stored are held. */
export const KindQuality = Schema.Struct({
  kind: Schema.String,
  /** New rows; an entity that was there already is not stored twice. */
  entities: Count,
  /** Different skeletons among them. */
  shapes: Count,
  /** Leaves that stand exactly in a typed column. */
  typed: Count,
  /** Leaves whose column holds a best value or NULL; the text is kept beside it. */
  approximate: Count,
  /** Parts of the text that no column takes. */
  unmapped: Count,
  /** Entities too various for a shape of their own; their leaves are not counted. */
  shapeless: Count
})
export type KindQuality = typeof KindQuality.Type

/** What an undoing run did with one cohort. */
export const UndoneCohort = Schema.Struct({
  cohort_id: Schema.String,
  cohort: Schema.String,
  action: Schema.Literals(["restored", "deleted", "kept"]),
  /** Why a cohort was kept as it is. */
  reason: Schema.optionalKey(Schema.String)
})
export type UndoneCohort = typeof UndoneCohort.Type

/** The run that undid another, and why where no person asked for it. */
export const UndoneBy = Schema.Struct({
  run: Schema.String,
  reason: Schema.optionalKey(Schema.Literal("too-many-rejects")),
  /** Where it left cohorts of the run as they were. */
  partly: Schema.optionalKey(Schema.Literal(true))
})
export type UndoneBy = typeof UndoneBy.Type

/** What runs are for that a ledger tells of. */
export const RunCommand = Schema.Literals(["migrate", "rollback", "savepoint", "purge"])
export type RunCommand = typeof RunCommand.Type

/**
 * What was removed for good: the ids of the cohorts, how much no other cohort had, and by run the number of items that its
 * report lists no more.
 */
export const PurgedCohorts = Schema.Struct({
  cohorts: Schema.Array(Schema.String),
  revisions: Count,
  documents: Count,
  entities: Counts,
  items: Counts
})

export const RunReport = Schema.Struct({
  $schema: Schema.optionalKey(Schema.String),
  schema_version: Schema.optionalKey(Schema.Int),
  run: Schema.String,
  /** What the run was for; `migrate` where it is missing. */
  command: Schema.optionalKey(RunCommand),
  outcome: RunOutcome,
  dry_run: Schema.Boolean,
  database: Schema.String,
  /** UTC, as in `2026-03-01T10:00:00.000Z`. */
  started_at: Schema.optionalKey(Schema.String),
  ended_at: Schema.optionalKey(Schema.NullOr(Schema.String)),
  program: Schema.optionalKey(Schema.String),
  options: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json)),
  environment: Schema.optionalKey(Environment),
  items: Schema.Array(ItemReport),
  /** Files and folders that were seen and are no sources. */
  ignored: Schema.Array(Schema.Struct({ path: Schema.String, reason: Schema.String })),
  totals: Totals,
  verification: Verification,
  /** Null when the user did without one. */
  backup: Schema.optionalKey(Schema.NullOr(BackupReport)),
  quality: Schema.optionalKey(Schema.Array(KindQuality)),
  /** Sources that took longest, longest first. */
  slowest: Schema.optionalKey(
    Schema.Array(Schema.Struct({ path: Schema.String, bytes: Count, milliseconds: Schema.Finite }))
  ),
  /** Originals that were moved out of the way, because the user said so. */
  moved: Schema.optionalKey(Schema.Array(Schema.Struct({ path: Schema.String, to: Schema.String }))),
  /** Paths where earlier runs found sources and this one none; what was stored from them stays. */
  removed: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Those of `removed` from which nothing is stored. */
  removed_unstored: Schema.optionalKey(Schema.Array(Schema.String)),
  /** For runs that did not come to their end: the run that went on with it. */
  continued_by: Schema.optionalKey(Schema.String),
  /** For runs that undo others. */
  undone: Schema.optionalKey(Schema.Array(UndoneCohort)),
  /** For runs that removed deleted cohorts for good. */
  purged: Schema.optionalKey(PurgedCohorts),
  /** For runs that were undone since: items count as the run left them. */
  undone_by: Schema.optionalKey(UndoneBy),
  /** What the report cannot tell, and why. */
  notes: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Milliseconds per phase. */
  timings: Schema.Struct({
    find: Schema.Finite,
    backup: Schema.optionalKey(Schema.Finite),
    load: Schema.Finite,
    verify: Schema.Finite,
    total: Schema.Finite
  })
})
export type RunReport = typeof RunReport.Type

export const noVerification: Verification = { checked: 0, matched: 0, mismatched: 0, findings: [] }

const OUTCOMES: ReadonlyArray<ItemOutcome> = ["migrated", "unchanged", "skipped", "rejected", "failed"]

/** Sums up items; `found` is how many sources there were. */
export const totalsOf = (found: number, items: ReadonlyArray<ItemReport>): Totals => {
  const by = Object.fromEntries(
    OUTCOMES.map((outcome) => [outcome, items.filter((item) => item.outcome === outcome).length])
  ) as Record<ItemOutcome, number>
  const entities: Record<string, number> = {}
  for (const item of items) {
    if (item.outcome !== "migrated") continue
    for (const [kind, count] of Object.entries(item.entities)) entities[kind] = (entities[kind] ?? 0) + count
  }
  return {
    found,
    ...by,
    bytes: items.reduce((sum, item) => sum + item.bytes, 0),
    entities,
    remarks: items.reduce((sum, item) => sum + item.remark_count, 0),
    balanced: OUTCOMES.reduce((sum, outcome) => sum + by[outcome], 0) === found
  }
}

/** What a run is called, from what became of its items. */
export const outcomeOf = (
  items: ReadonlyArray<ItemReport>,
  verification: Verification,
  interrupted: boolean
): RunOutcome => {
  if (interrupted) return "interrupted"
  if (verification.mismatched > 0) return "mismatch"
  if (items.length === 0) return "nothing-to-do"
  const has = (outcome: ItemOutcome): boolean => items.some((item) => item.outcome === outcome)
  if (has("failed")) return has("migrated") || has("unchanged") ? "done-with-rejects" : "failed"
  if (has("rejected")) return "done-with-rejects"
  return "done"
}

/** The exit code of each outcome of a run; of what only the ledger tells, that of `status --check`. */
export const exitCodes: Readonly<Record<RunOutcome, number>> = {
  done: 0,
  "nothing-to-do": 0,
  failed: 1,
  "done-with-rejects": 3,
  "partly-done": 3,
  mismatch: 4,
  running: 5,
  "cut-short": 5,
  interrupted: 130
}
