/** `mallard status`: what is unfinished, and how the sources differ from what was migrated. */
import { type ChangedSource, stateWords, status, type StatusReport } from "@mallard/migrator"
import { Effect } from "effect"
import { withDatabase } from "../Database.ts"
import { hintsOf } from "../Hints.ts"
import { Ended, exitCode } from "../Failure.ts"
import type { CommonOptions, Session } from "../Session.ts"
import type { Paint } from "../Terminal.ts"
import { counted, grouped, printable, shownPath } from "../Text.ts"

export interface StatusCommand extends CommonOptions {
  readonly paths: ReadonlyArray<string>
  readonly check: boolean
}

const words: Readonly<Record<ChangedSource["change"], string>> = {
  new: "new",
  unchanged: "unchanged",
  changed: "changed",
  reverted: "as it was before",
  renamed: "renamed",
  copied: "a copy",
  reappeared: "there again",
  undone: "not stored any more: undone, deleted or replaced",
  rejected: "rejected, not mended yet",
  mended: "rejected, and stored mended",
  unreadable: "cannot be read",
  moved: "moved",
  removed: "no longer there"
}

export const runStatus = Effect.fnUntraced(function* (session: Session, command: StatusCommand) {
  const { terminal } = session
  const report = yield* withDatabase(session, command.db, (database) =>
    status({ database, paths: command.paths, cwd: session.cwd })
  )
  if (command.json) terminal.out(`${JSON.stringify(report)}\n`)
  else {
    const hint = hintsOf(session, report.database)
    for (const { run, state } of report.unfinished) {
      const next = state === "running" ? "" : `: ${hint("resume", [run.slice(0, 8)])}`
      terminal.out(`${terminal.paint("yellow", "!")} run ${run.slice(0, 8)} ${stateWords[state]}${next}\n`)
    }
    if (!command.quiet) {
      for (const source of report.sources) {
        if ((source.change === "unchanged" || source.change === "moved") && !command.verbose) continue
        terminal.out(
          `${terminal.paint(source.pending ? "yellow" : "dim", source.pending ? "+" : "-")} ${lineOf(source, session)}\n`
        )
      }
    }
    if (!command.quiet && !command.verbose) terminal.out(movedLines(report.sources, terminal.paint))
    const counts = Object.entries(report.changes).map(([change, count]) => `${grouped(count)} ${printable(change)}`)
    terminal.out(`${counted(report.sources.length, "source")}${counts.length === 0 ? "" : `: ${counts.join(", ")}`}\n`)
    terminal.out(pendingLine(report))
  }
  if (command.check && report.pending > 0) return yield* new Ended({ code: exitCode.pending })
})

/** Runs and sources are counted apart: a run is no source. */
const pendingLine = ({ sources, unfinished }: StatusReport): string => {
  const waiting = sources.filter(({ pending }) => pending).length
  const said = [
    ...(unfinished.length === 0 ? [] : [counted(unfinished.length, "run")]),
    ...(waiting === 0 ? [] : [counted(waiting, "source")])
  ]
  return said.length === 0 ? "Nothing is pending.\n" : `Pending:  ${said.join(", ")}\n`
}

/** Originals that were moved, by the run that did so: they stay moved, and need not be named each time. */
const movedLines = (sources: ReadonlyArray<ChangedSource>, paint: Paint): string =>
  [...Map.groupBy(sources, ({ moved_by }) => moved_by)]
    .flatMap(([run, moved]) =>
      run === undefined
        ? []
        : [
            `${paint("dim", "-")} ${counted(moved.length, "source")} moved by run ${run.slice(0, 8)}; --verbose says where to\n`
          ]
    )
    .join("")

const lineOf = (source: ChangedSource, { cwd }: Session): string => {
  const { change, from, moved_by, moved_to: to, path, stored, stored_by } = source
  const by = stored_by ?? moved_by
  return [
    `${shownPath(path, cwd)}: ${words[change]}`,
    ...(to === undefined ? [] : [` to ${shownPath(to, cwd)}`]),
    ...(by === undefined ? [] : [` by run ${by.slice(0, 8)}`]),
    ...(from === undefined ? [] : [` ${change === "renamed" ? "from" : "of"} ${shownPath(from, cwd)}`]),
    ...(change !== "moved" && change !== "removed"
      ? []
      : [stored === false ? "; nothing is stored from it" : "; what was stored from it stays"])
  ].join("")
}
