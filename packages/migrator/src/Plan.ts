/**
 * What a run would do, as a value: every source with its bytes' SHA-256 and what is decided about it, and what the whole is
 * estimated to take. A run that is given a plan does that and refuses whatever is not as it was.
 */
import { Effect, Schema } from "effect"
import { PlannedAction } from "./Decision.ts"
import { Estimate } from "./Estimate.ts"
import { SourceChange } from "./Incremental.ts"
import { type ItemReport, Remark, type RunReport, Totals } from "./Report.ts"
import { AskedOptions } from "./Resume.ts"
import { repeatedKeyIn } from "./internal/writtenJson.ts"

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

/**
 * The plan that a rehearsal comes to: its items in their order, with what a run is to do with each. `report` is that of a dry
 * run of `migrate`, `estimate` comes of `estimateOf`. A run carries it out whose option `plan` has the items by path, and
 * rejects a source that is another one now.
 */
export const planOf = (report: RunReport, estimate: Estimate): Plan => ({
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
  estimate
})

const decodeAsked = Schema.decodeUnknownSync(AskedOptions)

/** The text is no plan, one of another version, or one with a key that stands twice in its object. */
export class PlanUnreadable extends Schema.TaggedError<PlanUnreadable>()("PlanUnreadable", {
  path: Schema.String,
  /** What is wrong with it, where more is known than that it is none. */
  problem: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const what = this.problem === undefined ? "" : `: ${this.problem}`
    return `${this.path} is no plan that this version can carry out${what}. Make it again with \`plan --out\`.`
  }
}

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Plan))

/**
 * The plan in the JSON text of a file; `path` only names it. Fails with `PlanUnreadable` for any other text, and for a key
 * that its object has already: one of the two would say nothing.
 */
export const readPlan = (text: string, path: string): Effect.Effect<Plan, PlanUnreadable> =>
  Effect.gen(function* () {
    const plan = yield* Effect.mapError(decode(text), () => new PlanUnreadable({ path }))
    const problem = repeatedKeyIn(text)
    return problem === undefined ? plan : yield* new PlanUnreadable({ path, problem })
  })
