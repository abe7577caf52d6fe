/** `mallard status`: what is unfinished, and how the sources differ from what was migrated. */
import { type ChangedSource, status } from "@mallard/migrator"
import { Effect } from "effect"
import { databaseFlag, withDatabase } from "../Database.ts"
import { Ended, exitCode } from "../Failure.ts"
import type { CommonOptions, Session } from "../Session.ts"
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
  removed: "no longer there; what was stored from it stays"
}

const NOT_STORED = "no longer there; nothing is stored from it"

const states: Readonly<Record<string, string>> = {
  killed: "was cut short",
  interrupted: "was interrupted",
  "not-proven": "ended before its proof",
  "not-undone": "rejected too much and was not undone"
}

export const runStatus = Effect.fnUntraced(function* (session: Session, command: StatusCommand) {
  const { terminal } = session
  const report = yield* withDatabase(session, command.db, (database) =>
    status({ database, paths: command.paths, cwd: session.cwd })
  )
  if (command.json) terminal.out(`${JSON.stringify(report)}\n`)
  else {
    const flag = databaseFlag(session, report.database)
    for (const { run, state } of report.unfinished) {
      terminal.out(
        `${terminal.paint("yellow", "!")} run ${run.slice(0, 8)} ${states[state] ?? state}: ${session.invocation} resume ${run.slice(0, 8)}${flag}\n`
      )
    }
    if (!command.quiet) {
      for (const source of report.sources) {
        if (source.change === "unchanged" && !command.verbose) continue
        terminal.out(
          `${terminal.paint(source.pending ? "yellow" : "dim", source.pending ? "+" : "-")} ${lineOf(source, session)}\n`
        )
      }
    }
    const counts = Object.entries(report.changes).map(([change, count]) => `${grouped(count)} ${printable(change)}`)
    terminal.out(`${counted(report.sources.length, "source")}${counts.length === 0 ? "" : `: ${counts.join(", ")}`}\n`)
    terminal.out(report.pending === 0 ? "Nothing is pending.\n" : `Pending:  ${grouped(report.pending)}\n`)
  }
  if (command.check && report.pending > 0) return yield* new Ended({ code: exitCode.pending })
})

const lineOf = ({ change, from, path, stored, stored_by: by }: ChangedSource, session: Session): string =>
  `${shownPath(path, session.cwd)}: ${stored === false ? NOT_STORED : words[change]}${by === undefined ? "" : ` by run ${by.slice(0, 8)}`}${from === undefined ? "" : ` ${change === "renamed" ? "from" : "of"} ${shownPath(from, session.cwd)}`}`
