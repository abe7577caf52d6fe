/** `mallard doctor`: says what is the matter with a database, changes nothing unless told to, and repairs what it is told to. */
import {
  type Check,
  type Diagnosis,
  examine,
  quarantineLog,
  rebuild,
  type RebuildReport,
  StoreError
} from "@mallard/duckdb-store"
import { backupStoreOf, isBackupStore, listBackups, type LostBackup, lostBackups } from "@mallard/migrator"
import { Effect } from "effect"
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { withDatabase } from "../Database.ts"
import { CommandFailed, Ended, exitCode, storeCode } from "../Failure.ts"
import { hintsOf, withHints } from "../Hints.ts"
import { ProgressReport } from "../Progress.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { memoryOf } from "../Size.ts"
import type { Paint } from "../Terminal.ts"
import { counted, entities, printable, shownPath } from "../Text.ts"

export interface DoctorCommand extends CommonOptions {
  readonly noVerify: boolean
  readonly quarantineWal: boolean
  readonly rebuild: string | undefined
  readonly memory: string | undefined
}

interface DoctorCheck extends Omit<Check, "check"> {
  readonly check: Check["check"] | "backups"
}

export const runDoctor = Effect.fnUntraced(function* (session: Session, command: DoctorCommand) {
  const { terminal } = session
  const memoryLimit = (yield* memoryOf(command.memory))?.text
  const out = command.rebuild === undefined ? undefined : resolve(session.cwd, command.rebuild)
  if (out !== undefined && existsSync(out)) {
    return yield* new CommandFailed({
      code: exitCode.failed,
      what: `There is something at ${shownPath(out, session.cwd)} already. Nothing was done.`,
      next: ["Give --rebuild the path of a new file."]
    })
  }
  const progress = new ProgressReport(session, { isSilent: command.quiet, phases: ["verifying"] })
  const onDocument = (done: number, documents: number) => progress.step({ phase: "verify", done, documents })
  const examined = withDatabase(session, command.db, (path) =>
    Effect.gen(function* () {
      const config = { path, memoryLimit, program: session.program }
      const moved = command.quarantineWal ? yield* quarantineLog(config) : undefined
      const diagnosis = yield* examine(config, { skipVerify: command.noVerify, onDocument })
      // Leads to the other database, where this one was not named.
      if (diagnosis.refused === "foreign") return yield* new StoreError({ reason: "foreign", path })
      const rebuilt = out === undefined ? undefined : yield* rebuild(config, out)
      const checks = [...diagnosis.checks, yield* backupCheck(path, diagnosis)].map((check) => hinted(check, session))
      return { checks, diagnosis, moved, rebuilt }
    })
  )
  const { checks, diagnosis, moved, rebuilt } = yield* progress.during(examined)
  if (command.json) terminal.out(`${JSON.stringify(jsonOf(diagnosis, checks, moved, rebuilt), null, 2)}\n`)
  else {
    const lines = [
      ...(moved === undefined ? [] : movedLines(moved, session.cwd)),
      ...checkLines(checks, command, terminal.paint),
      ...(rebuilt === undefined ? [] : rebuiltLines(rebuilt, command, session.cwd)),
      ...lastLine(diagnosis, checks, terminal.paint)
    ]
    terminal.out(lines.map((line) => `${line}\n`).join(""))
  }
  const code = codeOf(diagnosis, checks)
  if (code !== 0) return yield* new Ended({ code })
})

const hinted = (check: DoctorCheck, session: Session): DoctorCheck =>
  check.next === undefined ? check : { ...check, next: withHints(check.next, hintsOf(session)) }

const backupCheck = Effect.fnUntraced(function* (path: string, { refused }: Diagnosis) {
  // What cannot be read of the database is said by the other checks.
  const lost = refused === undefined ? yield* Effect.orElseSucceed(lostBackups(path), () => []) : []
  return lost.length > 0 ? lostCheck(lost) : yield* storeCheck(path)
})

const lostCheck = (lost: ReadonlyArray<LostBackup>): DoctorCheck => ({
  check: "backups",
  status: "problem",
  message: `${counted(lost.length, "backup")} of sources that the database knows cannot be found: in ${[...new Set(lost.map(({ store }) => store))].join(", ")}`,
  next: "Put the folder back where it was, or keep the sources and migrate them again. `mallard backup list` names what is gone."
})

const storeCheck = (path: string): Effect.Effect<DoctorCheck> => {
  const store = backupStoreOf(path)
  const none: DoctorCheck = {
    check: "backups",
    status: "note",
    message: "no backup of sources lies beside it",
    next: "Keep the sources, or migrate without --no-backup."
  }
  if (!existsSync(store)) return Effect.succeed(none)
  return listBackups(store).pipe(
    Effect.map(({ backups, damaged }): DoctorCheck => {
      if (damaged.length > 0) {
        return {
          check: "backups",
          status: "warning",
          message: `${counted(damaged.length, "backup")} cannot be read, ${backups.length} can`,
          next: "`mallard backup verify` says what is whole."
        }
      }
      const last = backups.at(-1)
      if (last === undefined) return none
      const when = last.created_at.slice(0, 16).replace("T", " ")
      return {
        check: "backups",
        status: "ok",
        message: `${counted(backups.length, "backup")} of sources; the last, of ${counted(last.files, "file")}, was made ${when}`
      }
    }),
    Effect.catch((error) =>
      Effect.succeed<DoctorCheck>(
        // A run that was cut short before it copied anything, or copies to elsewhere, has left its record alone.
        error.reason === "not-found" && !isBackupStore(store)
          ? none
          : { check: "backups", status: "warning", message: printable(error.message) }
      )
    )
  )
}

const codeOf = (diagnosis: Diagnosis, checks: ReadonlyArray<DoctorCheck>): number => {
  if (diagnosis.refused !== undefined) return storeCode(diagnosis.refused)
  const problems = checks.filter(({ status }) => status === "problem")
  if (problems.length === 0) return 0
  const isMismatch = diagnosis.verification !== undefined && problems.every(({ check }) => check === "verify")
  return isMismatch ? exitCode.mismatch : exitCode.damaged
}

const outcomeOf = (checks: ReadonlyArray<DoctorCheck>): "ok" | "warnings" | "problems" => {
  const found = new Set(checks.map(({ status }) => status))
  return found.has("problem") ? "problems" : found.has("warning") ? "warnings" : "ok"
}

const jsonOf = (
  diagnosis: Diagnosis,
  checks: ReadonlyArray<DoctorCheck>,
  moved: ReadonlyArray<string> | undefined,
  rebuilt: RebuildReport | undefined
) => {
  const { log, orphans, path, verification } = diagnosis
  return {
    database: path,
    outcome: outcomeOf(checks),
    refused: diagnosis.refused ?? null,
    version: diagnosis.version ?? null,
    log: { ...log, _tag: undefined, state: log._tag.toLowerCase() },
    orphans,
    finding_count: verification?.findingCount ?? null,
    checks,
    ...(moved === undefined ? {} : { quarantined: moved }),
    ...(rebuilt === undefined ? {} : { rebuilt: rebuiltJson(rebuilt) })
  }
}

const rebuiltJson = (report: RebuildReport) => ({
  out: report.out,
  cohorts: report.cohorts,
  revisions: report.revisions,
  documents: report.documents,
  entities: report.entities,
  left: report.left.map(({ change, cohortId, name, reason, seq }) => ({
    cohort_id: cohortId,
    name,
    seq,
    change,
    reason
  })),
  left_rows: report.leftRows
})

const movedLines = (moved: ReadonlyArray<string>, cwd: string): ReadonlyArray<string> =>
  moved.length === 0
    ? ["No write-ahead log lies there: nothing was moved"]
    : moved.map((file) => `Moved the write-ahead log to ${shownPath(file, cwd)}`)

const marks = { ok: "✓", note: "·", warning: "!", problem: "✗" } as const
const colours = { ok: "green", note: "dim", warning: "yellow", problem: "red" } as const

const checkLines = (
  checks: ReadonlyArray<DoctorCheck>,
  { quiet }: DoctorCommand,
  paint: Paint
): ReadonlyArray<string> =>
  checks
    .filter(({ status }) => !quiet || status === "warning" || status === "problem")
    .flatMap(({ check, message, next, status }) => [
      `${paint(colours[status], marks[status])} ${check.padEnd(11)} ${printable(message)}`,
      ...(next === undefined ? [] : [`${" ".repeat(14)}${printable(next)}`])
    ])

/** Revisions that were left behind and are shown without `--verbose`. */
const SHOWN = 20

const rebuiltLines = (report: RebuildReport, { verbose }: DoctorCommand, cwd: string): ReadonlyArray<string> => {
  const shown = verbose ? report.left : report.left.slice(0, SHOWN)
  const rest = report.left.length - shown.length
  const copied = `${counted(report.cohorts, "cohort")}, ${counted(report.revisions, "revision")}, ${counted(report.documents, "document")} and ${entities(report.entities)}`
  return [
    `Rebuilt into ${shownPath(report.out, cwd)}, which verifies: ${copied}`,
    ...shown.map(({ name, reason, seq }) => `- left behind: ${printable(name)}, revision ${seq}: ${reason}`),
    ...(rest > 0 ? [`  and ${counted(rest, "more revision")}; --verbose shows all`] : []),
    ...Object.entries(report.leftRows).map(
      ([table, rows]) => `- left behind: ${counted(rows, "row")} of ${table} that changed since they were written`
    ),
    report.left.length === 0
      ? "Nothing of a cohort was left behind"
      : "Migrate the sources into the new file: what is missing is stored. The old file was not changed."
  ]
}

const lastLine = (diagnosis: Diagnosis, checks: ReadonlyArray<DoctorCheck>, paint: Paint): ReadonlyArray<string> => {
  const problems = checks.filter(({ status }) => status === "problem").length
  const warnings = checks.filter(({ status }) => status === "warning").length
  const verdict =
    problems > 0
      ? paint("red", counted(problems, "problem"))
      : warnings > 0
        ? paint("yellow", `No problem, ${counted(warnings, "warning")}`)
        : paint("green", "No problem found")
  return [`${verdict}; ${printable(diagnosis.path)} was not changed`]
}
