/** `mallard rollback` and `mallard savepoint`: cohorts become again what they were, and nothing is deleted. */
import { createSavepoint, listSavepoints, restoreSavepoint, rollback, type UndoReport } from "@mallard/migrator"
import { Effect } from "effect"
import { databaseFlag, withDatabase } from "../Database.ts"
import { CommandFailed, Ended, exitCode } from "../Failure.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { counted, grouped, printable } from "../Text.ts"
import { noSuchRun } from "./Report.ts"

export interface RollbackCommand extends CommonOptions {
  readonly run: string
  readonly cascade: boolean
  readonly test: boolean
}

export interface SavepointCommand extends CommonOptions {
  readonly name: string
}

export const runRollback = Effect.fnUntraced(function* (session: Session, command: RollbackCommand) {
  const report = yield* withDatabase(session, command.db, (database) =>
    rollback({ database, run: command.run, cascade: command.cascade, test: command.test, program: session.program })
  ).pipe(
    Effect.catchTag("RunNotFound", ({ candidates, wanted }) => Effect.fail(noSuchRun(session, wanted, candidates)))
  )
  yield* tell(session, command, report)
})

export const runSavepointCreate = Effect.fnUntraced(function* (session: Session, command: SavepointCommand) {
  const created = yield* withDatabase(session, command.db, (database) =>
    createSavepoint({ database, name: command.name, program: session.program })
  ).pipe(
    Effect.catchTag("SavepointExists", (error) =>
      Effect.fail(new CommandFailed({ code: exitCode.failed, what: error.message }))
    )
  )
  if (command.json) session.terminal.out(`${JSON.stringify(created)}\n`)
  else if (!command.quiet) session.terminal.out(`Savepoint ${printable(created.name)} made\n`)
})

export const runSavepointList = Effect.fnUntraced(function* (session: Session, command: CommonOptions) {
  const { terminal } = session
  const found = yield* withDatabase(session, command.db, listSavepoints)
  if (command.json) terminal.out(`${JSON.stringify(found, null, 2)}\n`)
  else if (found.length === 0) terminal.out("No savepoints\n")
  else {
    for (const { created_at, name } of found) {
      terminal.out(`${created_at.slice(0, 19).replace("T", " ")}  ${printable(name)}\n`)
    }
  }
})

export const runSavepointRestore = Effect.fnUntraced(function* (
  session: Session,
  command: SavepointCommand & Pick<RollbackCommand, "test">
) {
  const report = yield* withDatabase(session, command.db, (database) =>
    restoreSavepoint({ database, name: command.name, test: command.test, program: session.program })
  ).pipe(
    Effect.catchTag("SavepointNotFound", () =>
      Effect.fail(
        new CommandFailed({
          code: exitCode.failed,
          what: `There is no savepoint "${printable(command.name)}".`,
          next: [`${session.invocation} savepoint list shows what there is.`]
        })
      )
    )
  )
  yield* tell(session, command, report)
})

const tell = Effect.fnUntraced(function* (session: Session, command: CommonOptions, report: UndoReport) {
  const { terminal } = session
  if (command.json) terminal.out(`${JSON.stringify(report)}\n`)
  else
    terminal.out(
      linesOf(session, command, report)
        .map((line) => `${line}\n`)
        .join("")
    )
  if (report.outcome === "done-with-rejects") return yield* new Ended({ code: exitCode.rejects })
})

const linesOf = (session: Session, command: CommonOptions, report: UndoReport): ReadonlyArray<string> => {
  const { paint } = session.terminal
  const count = (action: string): number => report.cohorts.filter((cohort) => cohort.action === action).length
  const [back, gone, kept] = [count("restored"), count("deleted"), count("kept")]
  const would = report.test ? "would be " : ""
  const lines = report.cohorts
    .filter(({ action }) => !command.quiet || action === "kept")
    .map(({ action, cohort, reason }) => {
      if (action === "kept")
        return `${paint("yellow", "-")} ${printable(cohort)}: left as it is (${printable(reason ?? "")})`
      return `${paint("green", "✓")} ${printable(cohort)}: ${would}${action === "deleted" ? "taken away" : "as it was before"}`
    })
  const sum = [`${grouped(back)} as before`, `${grouped(gone)} taken away`, `${grouped(kept)} left as they are`].join(
    ", "
  )
  const flag = databaseFlag(session, report.database)
  return [
    ...lines,
    ...(lines.length > 0 ? [""] : []),
    report.cohorts.length === 0
      ? "It changed no cohort: there is nothing to undo."
      : `${counted(report.cohorts.length, "cohort")}: ${sum}`,
    ...(report.test
      ? ["Test: carried out, compared and taken back; nothing was written."]
      : [
          `Run ${report.run}; nothing was deleted, and ${session.invocation} rollback ${report.run.slice(0, 8)}${flag} undoes it.`
        ])
  ]
}
