/** `mallard gc`: says what a purge would remove, and with --purge removes it: the only real deletion. */
import type { PurgePlan } from "@mallard/duckdb-store"
import { purgeCohorts } from "@mallard/migrator"
import { Effect } from "effect"
import { withDatabase } from "../Database.ts"
import { hintsOf } from "../Hints.ts"
import { CommandFailed, exitCode } from "../Failure.ts"
import { withCohorts } from "../Opened.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { byKind, counted, entities, printable, quoted, size, sum } from "../Text.ts"

export interface GcCommand extends CommonOptions {
  readonly names: ReadonlyArray<string>
  readonly purge: boolean
}

export const runGc = Effect.fnUntraced(function* (session: Session, command: GcCommand) {
  const { terminal } = session
  const hint = hintsOf(session)
  const cohorts = command.names.length === 0 ? undefined : command.names
  const plan = yield* withCohorts(session, command.db, (opened) => opened.cohorts.purgePlan(cohorts))
  const unknown = command.names.find(
    (wanted) => !plan.cohorts.some(({ cohortId, name }) => name === wanted || cohortId === wanted)
  )
  if (unknown !== undefined) {
    return yield* new CommandFailed({
      code: exitCode.failed,
      what: `No deleted cohort is called ${quoted(unknown)}. Nothing was removed.`,
      next: [`${hint("gc")} shows those that are deleted; ${hint("delete NAME")} deletes one.`]
    })
  }
  const isAsked = command.purge && !command.yes && plan.cohorts.length > 0
  if (!command.purge || isAsked) {
    if (command.json) terminal.out(`${JSON.stringify(planJson(plan, false), null, 2)}\n`)
    else terminal.out(planLines(plan, "would go").join(""))
    if (!isAsked) return undefined
    return yield* new CommandFailed({
      code: exitCode.usage,
      what: "This cannot be undone, so it needs a yes.",
      next: [`${hint("gc", command.names, " --purge --yes")} removes what is listed.`]
    })
  }
  const report = yield* withDatabase(session, command.db, (database) =>
    purgeCohorts({ database, program: session.program, cohorts: plan.cohorts.map(({ cohortId }) => cohortId) })
  )
  if (command.json) {
    const bytes = { bytes_before: report.bytesBefore, bytes_after: report.bytesAfter }
    terminal.out(`${JSON.stringify({ ...planJson(report, true), ...bytes }, null, 2)}\n`)
    return undefined
  }
  terminal.out(planLines(report, "gone").join(""))
  if (report.cohorts.length > 0)
    terminal.out(`The file had ${size(report.bytesBefore)} and has ${size(report.bytesAfter)}\n`)
  return undefined
})

const planJson = (plan: PurgePlan, isPurged: boolean) => ({
  purged: isPurged,
  cohorts: plan.cohorts.map(({ cohortId, deletedAt, name, revisions }) => ({
    name,
    cohort_id: cohortId,
    revisions,
    deleted_at: deletedAt
  })),
  revisions: plan.revisions,
  documents: plan.documents,
  entities: plan.entities
})

const planLines = (plan: PurgePlan, what: string): ReadonlyArray<string> => {
  if (plan.cohorts.length === 0) return ["Nothing to remove: no cohort is deleted\n"]
  const count = sum(plan.entities)
  return [
    ...plan.cohorts.map(
      ({ deletedAt, name, revisions }) =>
        `- ${printable(name)}, ${counted(revisions, "revision")}, deleted ${deletedAt.slice(0, 16).replace("T", " ")}\n`
    ),
    `${counted(plan.cohorts.length, "cohort")}, ${counted(plan.documents, "document")} and ${entities(count)}${count === 0 ? "" : ` (${byKind(plan.entities)})`} ${what}; what other cohorts have stays\n`
  ]
}
