/** `mallard verify`: proves that the database holds what was migrated, or names what is wrong with it. */
import { type FullVerifyReport, type MigrationFailed, verify } from "@mallard/migrator"
import { Cause, Effect } from "effect"
import { endWithWords } from "../Crash.ts"
import { withDatabase } from "../Database.ts"
import { hintsOf, withHints } from "../Hints.ts"
import { CommandFailed, Ended, exitCode, lacking } from "../Failure.ts"
import { type ProgressFlag, ProgressReport } from "../Progress.ts"
import { renderVerification, type VerificationResult } from "../RenderVerification.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { jobsOf, memoryOf } from "../Size.ts"
import { printable } from "../Text.ts"

export interface VerifyCommand extends CommonOptions, ProgressFlag {
  readonly sources: ReadonlyArray<string>
  readonly memory: string | undefined
  readonly jobs: number | undefined
}

export const runVerify = Effect.fnUntraced(function* (session: Session, command: VerifyCommand) {
  const { terminal } = session
  const jobs = yield* jobsOf(command.jobs)
  const memoryLimit = (yield* memoryOf(command.memory))?.text
  const progress = new ProgressReport(session, {
    isSilent: command.quiet,
    isJson: command.progress === "json",
    phases: ["verifying"]
  })
  endWithWords(session)
  if (command.json)
    session.reading.onCrash = (database) => terminal.out(`${JSON.stringify(damaged(session, database, CRASHED))}\n`)
  const verified = withDatabase(session, command.db, (database) =>
    verify({
      database,
      sources: command.sources,
      memoryLimit,
      jobs,
      cwd: session.cwd,
      onProgress: (done, documents) => progress.step({ phase: "verify", done, documents })
    }).pipe(
      Effect.map((report) => resultOf(database, report)),
      Effect.catchTag("MigrationFailed", (error) => Effect.fail(lackIn(error) ?? error)),
      Effect.catchCause((cause) => {
        const damage = damageOf(cause)
        return damage === undefined ? Effect.failCause(cause) : Effect.succeed(damaged(session, database, damage))
      })
    )
  )
  const result = yield* progress.during(verified)
  if (command.json) terminal.out(`${JSON.stringify(result)}\n`)
  else {
    const lines = renderVerification(result, { paint: terminal.paint, verbose: command.verbose, quiet: command.quiet })
    terminal.out(lines.map((line) => `${line}\n`).join(""))
  }
  const code = codes[result.outcome]
  if (code !== 0) return yield* new Ended({ code })
})

const codes = { ok: 0, mismatch: exitCode.mismatch, damaged: exitCode.damaged } as const

const resultOf = (database: string, report: FullVerifyReport): VerificationResult => ({
  database,
  outcome: report.findingCount === 0 && report.mismatched === 0 ? "ok" : "mismatch",
  checked: report.checked,
  matched: report.matched,
  mismatched: report.mismatched,
  entities: report.entities,
  finding_count: report.findingCount,
  findings: report.findings,
  sources: report.sources,
  notes: report.notes
})

const CRASHED =
  "DuckDB crashes while it reads it; keep the file as it is, see what `mallard doctor` says, and restore a backup or migrate into a new file"

const damaged = (session: Session, database: string, message: string): VerificationResult => ({
  database,
  outcome: "damaged",
  checked: 0,
  matched: 0,
  mismatched: 1,
  entities: 0,
  finding_count: 1,
  findings: [{ code: "database-damaged", where: database, message: withHints(message, hintsOf(session)) }],
  sources: { checked: 0, matched: 0, mismatched: 0 },
  notes: []
})

/** The failure that says nothing of the database: it lacked memory, or space on the disk for what memory does not hold. */
export const lackIn = ({ database, lack }: MigrationFailed): CommandFailed | undefined =>
  lack === undefined
    ? undefined
    : new CommandFailed({ code: exitCode.failed, ...lacking(`Verifying ${printable(database)}`, lack, true) })

/** Reasons of a `StoreError` that mean, of a file that is there, that it no longer is what was written. */
const damageReasons: ReadonlySet<string> = new Set(["damaged", "wal", "not-a-database", "newer", "io"])

/** Why a failure means damage: in a database that is whole every question has an answer. */
const damageOf = (cause: Cause.Cause<unknown>): string | undefined => {
  if (Cause.hasInterruptsOnly(cause)) return undefined
  const error: unknown = Cause.squash(cause)
  const tag = error instanceof Error && "_tag" in error ? error._tag : undefined
  if (tag === "SourceError" || tag === "CommandFailed") return undefined
  if (error instanceof Error && tag === "StoreError") {
    const reason = "reason" in error ? String(error.reason) : ""
    return damageReasons.has(reason) ? error.message : undefined
  }
  return "reading it fails in the middle; keep the file as it is and restore a backup, or migrate into a new file"
}
