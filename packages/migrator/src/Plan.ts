/**
 * What a run would do, as a value: every source with its bytes' SHA-256 and what is decided about it, and what the whole is
 * estimated to take. A run that is given a plan does that and refuses whatever is not as it was.
 */
import { existsSync, statfsSync } from "node:fs"
import { dirname } from "node:path"
import { Effect, Schema } from "effect"
import { SourceChange } from "./Incremental.ts"
import { type ItemReport, Remark, type RunReport, Totals } from "./Report.ts"
import { AskedOptions } from "./Resume.ts"

/** What is done with a source: stored, left as it is stored already, left alone, or refused. */
export const PlannedAction = Schema.Literals(["store", "leave", "skip", "reject"])
export type PlannedAction = typeof PlannedAction.Type

export const PlannedItem = Schema.Struct({
  path: Schema.String,
  action: PlannedAction,
  change: Schema.optionalKey(SourceChange),
  from: Schema.optionalKey(Schema.String),
  format: Schema.NullOr(Schema.String),
  bytes: Schema.Int,
  /** Null where it could not be read to its end. */
  source_sha256: Schema.NullOr(Schema.String),
  cohort: Schema.NullOr(Schema.String),
  entities: Schema.Record(Schema.String, Schema.Int),
  remarks: Schema.Array(Remark),
  remark_count: Schema.Int
})
export type PlannedItem = typeof PlannedItem.Type

/** Rough, and rather too much than too little. */
export const Estimate = Schema.Struct({
  milliseconds: Schema.Int,
  database_bytes: Schema.Int,
  backup_bytes: Schema.Int,
  /** Where the database is; null if the system does not tell. */
  free_bytes: Schema.NullOr(Schema.Int)
})
export type Estimate = typeof Estimate.Type

export const Plan = Schema.Struct({
  format: Schema.Literal(1),
  program: Schema.String,
  planned_at: Schema.String,
  database: Schema.String,
  options: AskedOptions,
  items: Schema.Array(PlannedItem),
  ignored: Schema.Array(Schema.Struct({ path: Schema.String, reason: Schema.String })),
  totals: Totals,
  estimate: Estimate
})
export type Plan = typeof Plan.Type

const actions: Readonly<Record<ItemReport["outcome"], PlannedAction>> = {
  migrated: "store",
  unchanged: "leave",
  skipped: "skip",
  rejected: "reject",
  failed: "reject"
}

/** What a byte of JSON takes of a database and of a backup, and how many times as long as reading storing and proof take. */
const DATABASE_SHARE = 0.35
const BACKUP_SHARE = 0.3
const TIMES_READING = 4
/** What an empty run takes, and a new database. */
const START_MS = 2500
const NEW_DATABASE_BYTES = 12 << 20

/** What is known of the place of a database. */
export interface DatabasePlace {
  readonly isNew: boolean
  readonly freeBytes: number | null
}

/** The estimate from a rehearsal. */
export const estimateOf = (report: RunReport, { freeBytes, isNew }: DatabasePlace): Estimate => {
  const stored = report.items.filter(({ outcome }) => outcome === "migrated")
  const bytes = stored.reduce((sum, item) => sum + item.bytes, 0)
  const share = report.totals.bytes === 0 ? 0 : bytes / report.totals.bytes
  return {
    milliseconds: Math.ceil(report.timings.find + report.timings.load * (1 + share * TIMES_READING) + START_MS),
    database_bytes: Math.ceil(bytes * DATABASE_SHARE) + (isNew ? NEW_DATABASE_BYTES : 0),
    backup_bytes: report.options?.["backup"] === true ? Math.ceil(report.totals.bytes * BACKUP_SHARE) : 0,
    free_bytes: freeBytes
  }
}

/** The plan that a rehearsal comes to. */
export const planOf = (report: RunReport, place: DatabasePlace): Plan => ({
  format: 1,
  program: report.program ?? "",
  planned_at: report.started_at ?? "",
  database: report.database,
  options: decodeAsked(report.options),
  items: report.items.map(
    ({ bytes, change, cohort, entities, format, from, outcome, path, remark_count, remarks, source_sha256 }) => ({
      path,
      action: actions[outcome],
      ...(change === undefined ? {} : { change }),
      ...(from === undefined ? {} : { from }),
      format,
      bytes,
      source_sha256,
      cohort,
      entities,
      remarks,
      remark_count
    })
  ),
  ignored: report.ignored,
  totals: report.totals,
  estimate: estimateOf(report, place)
})

const decodeAsked = Schema.decodeUnknownSync(AskedOptions)

/** Looks at the place of a database. */
export const databasePlace = (path: string): DatabasePlace => {
  const isNew = !existsSync(path)
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    try {
      const { bavail, bsize } = statfsSync(folder)
      return { isNew, freeBytes: bavail * bsize }
    } catch {
      if (folder === dirname(folder)) return { isNew, freeBytes: null }
    }
  }
}

/** The text is no plan, or one of another version. */
export class PlanUnreadable extends Schema.TaggedError<PlanUnreadable>()("PlanUnreadable", { path: Schema.String }) {
  override get message(): string {
    return `${this.path} is no plan that this version can carry out. Make it again with \`plan --out\`.`
  }
}

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Plan))

/** The plan in a text, read from `path`. */
export const readPlan = (text: string, path: string): Effect.Effect<Plan, PlanUnreadable> =>
  Effect.mapError(decode(text), () => new PlanUnreadable({ path }))
