/** `mallard report`: the report of a run from the ledger, in any of its forms. */
import { type RunReport, storedReport } from "@mallard/migrator"
import { Effect } from "effect"
import { extname, resolve } from "node:path"
import { withDatabase } from "../Database.ts"
import { hintsOf } from "../Hints.ts"
import { CommandFailed, exitCode, usage } from "../Failure.ts"
import { fileFailure } from "../Outputs.ts"
import { renderStoredRun } from "../RenderReport.ts"
import { formatOf, KNOWN_FORMS, type ReportFormat, renderReport, textOfLines, viewOf, writeReport } from "../Reports.ts"
import type { CommonOptions, Session } from "../Session.ts"
import type { Paint } from "../Terminal.ts"
import { printable, quoted } from "../Text.ts"

export interface ReportCommand extends CommonOptions {
  readonly run: string | undefined
  readonly format: ReportFormat | undefined
  readonly out: string | undefined
}

export const runReport = Effect.fnUntraced(function* (session: Session, command: ReportCommand) {
  const { terminal } = session
  const named = command.out === undefined ? undefined : formatOf(command.out)
  const format = command.format ?? named ?? (command.json ? "json" : "text")
  if (command.json && command.out === undefined && format !== "json") {
    return yield* usage(
      `--json and --format ${format} exclude each other.`,
      "Give one of the two, or a file with --out."
    )
  }
  if (command.out !== undefined && extname(command.out) !== "" && named === undefined && command.format === undefined) {
    return yield* usage("--out names a file of no known form.", `${KNOWN_FORMS} Or give the form with --format.`)
  }
  const report = yield* withDatabase(session, command.db, (database) =>
    storedReport(database, command.run ?? "last")
  ).pipe(
    Effect.catchTag("RunNotFound", ({ candidates, wanted }) => Effect.fail(noSuchRun(session, wanted, candidates)))
  )
  if (command.out === undefined) {
    terminal.out(renderReport(report, format, (shown) => textOf(shown, session, command, terminal.paint)))
    return
  }
  const path = resolve(session.cwd, command.out)
  const text = renderReport(report, format, (shown) => textOf(shown, session, command, (_, plain) => plain))
  yield* Effect.tryPromise({
    try: () => writeReport(path, text),
    catch: (cause) =>
      fileFailure(cause) ??
      new CommandFailed({ code: exitCode.failed, what: `Cannot write the report ${printable(path)}.` })
  })
  if (command.json) terminal.out(`${JSON.stringify({ files: [path] }, null, 2)}\n`)
  else if (!command.quiet) terminal.error(`Written: ${printable(path)}\n`)
})

/** No run has that id, or more than one begins so. */
export const noSuchRun = (session: Session, wanted: string, candidates: ReadonlyArray<string>): CommandFailed => {
  const runs = hintsOf(session)("runs")
  if (wanted === "") {
    return usage("The id of the run is empty.", `Give it, or how it begins; ${runs} shows what there is.`)
  }
  return new CommandFailed({
    code: exitCode.failed,
    what:
      wanted === "last"
        ? "No run is recorded in this database."
        : candidates.length === 0
          ? `There is no run ${quoted(wanted)}.`
          : `More than one run begins with ${quoted(wanted)}:`,
    next: candidates.length === 0 ? [`${runs} shows what there is.`] : candidates
  })
}

const textOf = (report: RunReport, session: Session, command: ReportCommand, paint: Paint): string =>
  textOfLines(renderStoredRun(report, viewOf(report, session, command, paint)))
