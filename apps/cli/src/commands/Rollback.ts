/** `mallard rollback` and `mallard savepoint`: cohorts become again what they were, and nothing is deleted. */
import {
  createSavepoint,
  listSavepoints,
  lostToPurge,
  type RestoredOriginals,
  restoreOriginals,
  restoreSavepoint,
  rollback,
  type UndoReport
} from "@mallard/migrator"
import { Effect } from "effect"
import { withDatabase } from "../Database.ts"
import { hintsOf } from "../Hints.ts"
import { cipherSettings } from "../Ciphers.ts"
import { CommandFailed, Ended, exitCode, usage } from "../Failure.ts"
import { type ProgressFlag, type ProgressOptions, ProgressReport } from "../Progress.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { counted, grouped, printable, quoted, shownPath } from "../Text.ts"
import { noSuchRun } from "./Report.ts"

export interface RollbackCommand extends CommonOptions, ProgressFlag {
  readonly run: string
  readonly cascade: boolean
  readonly test: boolean
  readonly restoreFiles: boolean
  readonly passphraseFile: string | undefined
  readonly passphrase: boolean
  readonly identityFile: string | undefined
}

export interface SavepointCommand extends CommonOptions {
  readonly name: string
}

export const runRollback = Effect.fnUntraced(function* (session: Session, command: RollbackCommand) {
  const hasKey = command.passphrase || command.passphraseFile !== undefined || command.identityFile !== undefined
  if (hasKey && !command.restoreFiles) return yield* usage("Keys of copies are for --restore-files.", "Add it.")
  const cipher = yield* cipherSettings(session, command)
  const progress = progressOf(session, command, [
    ...(command.restoreFiles ? (["checking"] as const) : []),
    "undoing",
    ...(command.restoreFiles && !command.test ? (["restoring"] as const) : [])
  ])
  const onProgress = progress.step
  const undoing = withDatabase(session, command.db, (database) =>
    Effect.gen(function* () {
      const { cascade, run, test } = command
      // Before anything is undone: what cannot be put back, for want of a key or a copy, is known then.
      const would = command.restoreFiles
        ? yield* restoreOriginals({ database, run, cipher, test: true, onProgress })
        : undefined
      if (would !== undefined && !test) yield* refuseLost(session, would)
      const undone = would?.run ?? run
      const report = yield* rollback({ database, run: undone, cascade, test, program: session.program, onProgress })
      if (would === undefined || test) return { report, files: would }
      return { report, files: yield* restoreOriginals({ database, run: undone, cipher, test: false, onProgress }) }
    })
  )
  const { files, report } = yield* progress.during(undoing).pipe(
    Effect.catchTag("RunNotFound", ({ candidates, wanted }) => Effect.fail(noSuchRun(session, wanted, candidates))),
    Effect.catchTag("NoBackup", ({ message }) =>
      Effect.fail(
        new CommandFailed({
          code: exitCode.failed,
          what: message,
          next: ["Nothing was undone; leave out --restore-files."]
        })
      )
    )
  )
  yield* tell(session, command, report, files)
})

/** Refuses while nothing is undone yet: whoever undoes a run to have its originals back would be left with neither. */
const refuseLost = (session: Session, would: RestoredOriginals): Effect.Effect<void, CommandFailed> => {
  const there = new Set([...would.present, ...would.kept])
  const missing = (paths: ReadonlyArray<string>) => paths.filter((path) => !there.has(path))
  const damaged = missing(would.damaged)
  const lost = [
    ...damaged.map((path) => ({ path, why: "its copy is damaged" })),
    ...missing(would.unreadable).map((path) => ({ path, why: "its copy cannot be read" })),
    ...missing(would.unwritable).map((path) => ({ path, why: "its place cannot be written to" }))
  ]
  if (lost.length === 0) return Effect.void
  return Effect.fail(
    new CommandFailed({
      code: damaged.length > 0 ? exitCode.damaged : exitCode.failed,
      what: `Nothing was undone: ${counted(lost.length, "original")} cannot be put back.`,
      next: [
        ...lost.map(({ path, why }) => `${shownPath(path, session.cwd)}: ${why}`),
        "Leave out --restore-files to undo the cohorts all the same."
      ]
    })
  )
}

const progressOf = (
  session: Session,
  command: CommonOptions & ProgressFlag,
  phases: ReadonlyArray<ProgressOptions["phases"][number]>
): ProgressReport => {
  const [first = "undoing", ...rest] = phases
  return new ProgressReport(session, {
    isSilent: command.quiet,
    isJson: command.progress === "json",
    phases: [first, ...rest]
  })
}

export const runSavepointCreate = Effect.fnUntraced(function* (session: Session, command: SavepointCommand) {
  const created = yield* withDatabase(session, command.db, (database) =>
    createSavepoint({ database, name: command.name, program: session.program })
  ).pipe(
    Effect.catchTag("SavepointExists", (error) =>
      Effect.fail(new CommandFailed({ code: exitCode.failed, what: error.message }))
    ),
    Effect.catchTag("SavepointNameRefused", ({ message }) => Effect.fail(usage(message)))
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
    for (const { created_at, name, removed } of found) {
      terminal.out(`${created_at.slice(0, 19).replace("T", " ")}  ${printable(name)}\n`)
      if (removed > 0) terminal.out(`    ${lostToPurge(removed)}\n`)
    }
  }
})

export const runSavepointRestore = Effect.fnUntraced(function* (
  session: Session,
  command: SavepointCommand & ProgressFlag & Pick<RollbackCommand, "test">
) {
  const progress = progressOf(session, command, ["undoing"])
  const restoring = withDatabase(session, command.db, (database) =>
    restoreSavepoint({
      database,
      name: command.name,
      test: command.test,
      program: session.program,
      onProgress: progress.step
    })
  )
  const report = yield* progress.during(restoring).pipe(
    Effect.catchTag("SavepointNotFound", () =>
      Effect.fail(
        new CommandFailed({
          code: exitCode.failed,
          what: `There is no savepoint ${quoted(command.name)}.`,
          next: [`${hintsOf(session)("savepoint list")} shows what there is.`]
        })
      )
    )
  )
  yield* tell(session, command, report)
})

const tell = Effect.fnUntraced(function* (
  session: Session,
  command: CommonOptions,
  report: UndoReport,
  files?: RestoredOriginals
) {
  const { terminal } = session
  if (command.json) terminal.out(`${JSON.stringify(files === undefined ? report : { ...report, files })}\n`)
  else
    terminal.out(
      [...linesOf(session, command, report), ...(files === undefined ? [] : fileLines(session, report, files))]
        .map((line) => `${line}\n`)
        .join("")
    )
  if (files !== undefined && files.damaged.length > 0) return yield* new Ended({ code: exitCode.damaged })
  if (files !== undefined && files.unreadable.length + files.unwritable.length > 0)
    return yield* new Ended({ code: exitCode.failed })
  const isPartly = report.outcome === "partly-done" || (files !== undefined && files.kept.length > 0)
  if (isPartly) return yield* new Ended({ code: exitCode.rejects })
})

const fileLines = (session: Session, report: UndoReport, files: RestoredOriginals): ReadonlyArray<string> => {
  const { paint } = session.terminal
  const shown = (path: string): string => shownPath(path, session.cwd)
  const sums = [
    `${counted(files.restored.length, "original")} ${report.test ? "would be " : ""}put back`,
    ...(files.present.length > 0 ? [`${grouped(files.present.length)} there already`] : []),
    ...(files.kept.length > 0 ? [`${grouped(files.kept.length)} left as they are`] : []),
    ...(files.damaged.length > 0 ? [`${grouped(files.damaged.length)} damaged`] : []),
    ...(files.unreadable.length > 0 ? [`${grouped(files.unreadable.length)} unreadable`] : []),
    ...(files.unwritable.length > 0 ? [`${grouped(files.unwritable.length)} not to be written`] : [])
  ]
  return [
    ...files.damaged.map((path) => `${paint("red", "✗")} ${shown(path)}: not put back, its copy is damaged`),
    ...files.unreadable.map((path) => `${paint("red", "✗")} ${shown(path)}: not put back, its copy cannot be read`),
    ...files.unwritable.map(
      (path) => `${paint("red", "✗")} ${shown(path)}: not put back, its place cannot be written to`
    ),
    ...files.kept.map((path) => `${paint("yellow", "-")} ${shown(path)}: left as it is, other bytes are there`),
    sums.join(", ")
  ]
}

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
  const hint = hintsOf(session, report.database)
  return [
    ...lines,
    ...(lines.length > 0 ? [""] : []),
    report.cohorts.length === 0
      ? report.undone_run === null
        ? `No cohort${report.removed === 0 ? "" : " that is left"} has changed since: there is nothing to restore.`
        : `Run ${report.undone_run.slice(0, 8)} changed no cohort: there is nothing to undo. ${hint("runs")} lists the others.`
      : `${counted(report.cohorts.length, "cohort")}: ${sum}`,
    ...(report.removed === 0 ? [] : [`${paint("yellow", "!")} ${lostToPurge(report.removed)}`]),
    ...(report.test
      ? ["Test: carried out, compared and taken back; nothing was written."]
      : report.run === null
        ? ["Nothing was written, and no run recorded."]
        : [`Run ${report.run}; nothing was deleted, and ${hint("rollback", [report.run.slice(0, 8)])} undoes it.`])
  ]
}
