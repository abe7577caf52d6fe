/** `mallard backup`: the copies of sources, also when the database itself is lost. */
import { openStore, type StoreError } from "@mallard/duckdb-store"
import {
  type BackupCheck,
  type BackupProblem,
  backupOfRun,
  backupStoreOf,
  isBackupStore,
  listBackups,
  type LostBackup,
  lostBackups,
  otherBackups,
  restoreBackup,
  storedBackup,
  verifyBackup
} from "@mallard/migrator"
import { Effect } from "effect"
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { cipherSettings } from "../Ciphers.ts"
import { withDatabase } from "../Database.ts"
import { hintsOf } from "../Hints.ts"
import { Ended, exitCode, usage } from "../Failure.ts"
import { type ProgressFlag, ProgressReport } from "../Progress.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { jobsOf } from "../Size.ts"
import { counted, printable, shownPath, size } from "../Text.ts"

export interface BackupListCommand extends CommonOptions {
  readonly dir: string | undefined
}

export interface BackupCommand extends BackupListCommand, ProgressFlag {
  readonly backup: string | undefined
  readonly passphraseFile: string | undefined
  readonly passphrase: boolean
  readonly identityFile: string | undefined
}

export interface VerifyBackupCommand extends BackupCommand {
  readonly jobs: number | undefined
}

export interface RestoreCommand extends BackupCommand {
  readonly out: string | undefined
  readonly inPlace: boolean
}

/**
 * The folder of the backups, and the database beside it if it is known. The database need not be there or be whole; one of
 * somebody else's leads to another place, and a path that is none, with no copies beside it, was not meant.
 */
const placeOf = (session: Session, { db, dir }: BackupListCommand) =>
  dir === undefined
    ? withDatabase(session, db, (database) =>
        Effect.scoped(openStore({ path: database, readonly: true })).pipe(
          Effect.catch((error) =>
            error.reason === "foreign" || isNowhere(error, backupStoreOf(database)) ? Effect.fail(error) : Effect.void
          ),
          Effect.as({ store: backupStoreOf(database), database })
        )
      )
    : namedStore(session, resolve(session.cwd, dir))

/** Whether there is neither a database nor copies that may have outlived it. */
const isNowhere = ({ reason }: StoreError, store: string): boolean =>
  reason === "missing"
    ? !existsSync(store)
    : (reason === "bad-path" || reason === "not-a-database") && !isBackupStore(store)

/** The folder that --backup-dir names. */
const namedStore = (session: Session, store: string) => {
  session.named.backupDir = store
  const what = !existsSync(store)
    ? `There is no folder ${shownPath(store, session.cwd)}.`
    : isBackupStore(store)
      ? undefined
      : `${shownPath(store, session.cwd)} is no folder of backups.`
  return what === undefined
    ? Effect.succeed({ store, database: undefined })
    : Effect.fail(
        usage(
          what,
          `Give the folder that the run copied to to --backup-dir; \`${hintsOf(session)("report")}\` names it.`
        )
      )
}

/** The backup that is meant: a run is looked up in the database, if that can be read, for it may share an earlier backup. */
const named = (database: string | undefined, wanted = "last"): Effect.Effect<string> =>
  wanted === "last" || wanted === "" || database === undefined || !existsSync(database)
    ? Effect.succeed(wanted)
    : backupOfRun(database, wanted).pipe(
        Effect.map((found) => found ?? wanted),
        Effect.catch(() => Effect.succeed(wanted))
      )

/** The hash that the manifest had when it was made; where no database knows it, the manifest is taken at its word. */
const recordedHash = (database: string | undefined, store: string, backup: string) =>
  database === undefined || !existsSync(database) ? Effect.undefined : storedBackup(database, store, backup)

/** Says which backup is meant where none was named and others have what it has not. */
const sayWhich = Effect.fnUntraced(function* (session: Session, command: BackupCommand, store: string) {
  if (command.backup !== undefined || command.quiet || command.json) return
  const { last, others } = yield* otherBackups(store)
  if (last === undefined || others.length === 0) return
  const about = ({ backup_id, created_at, files }: typeof last): string =>
    `${backup_id.slice(0, 8)} of ${created_at.slice(0, 16).replace("T", " ")} (${counted(files, "file")})`
  const more = others.length > SHOWN_OTHERS ? `, and ${others.length - SHOWN_OTHERS} more` : ""
  session.terminal.error(
    `The last backup is meant: ${about(last)}. There are others, which have files or bytes that it has not: ${others.slice(0, SHOWN_OTHERS).map(about).join(", ")}${more}; name one to mean it.\n`
  )
})

const SHOWN_OTHERS = 3

const progressOf = (session: Session, command: BackupCommand, phase: "checking" | "restoring"): ProgressReport =>
  new ProgressReport(session, { isSilent: command.quiet, isJson: command.progress === "json", phases: [phase] })

const none = (session: Session, store: string): string => `No backups in ${shownPath(store, session.cwd)}\n`

/** Backups that the database knows and that are gone, if it can be read. */
const lostOf = (database: string | undefined): Effect.Effect<ReadonlyArray<LostBackup>> =>
  database === undefined || !existsSync(database)
    ? Effect.succeed([])
    : Effect.orElseSucceed(lostBackups(database), () => [])

/** What a store holds; a folder that is not there, or is none of backups, holds nothing. */
const heldIn = (store: string) =>
  listBackups(store).pipe(
    Effect.catchIf(
      ({ reason }) => reason === "not-found" && !isBackupStore(store),
      () => Effect.succeed({ backups: [], damaged: [] })
    )
  )

export const runBackupList = Effect.fnUntraced(function* (session: Session, command: BackupListCommand) {
  const { terminal } = session
  const { database, store } = yield* placeOf(session, command)
  const { backups, damaged } = yield* heldIn(store)
  const missing = yield* lostOf(database)
  if (command.json) terminal.out(`${JSON.stringify({ store, backups, damaged, missing }, null, 2)}\n`)
  else if (backups.length === 0 && damaged.length === 0 && missing.length === 0) terminal.out(none(session, store))
  else {
    for (const one of backups) {
      terminal.out(
        `${terminal.paint("bold", one.backup_id)}  ${one.created_at.slice(0, 19).replace("T", " ")}  ${counted(one.files, "file")}, ${size(one.bytes)}${one.encrypted ? ", encrypted" : ""}\n    run ${one.run ?? "-"}; ${printable(one.base)}\n`
      )
    }
    for (const one of missing) {
      terminal.out(
        `${terminal.paint("bold", one.backup_id)}  ${one.created_at.slice(0, 19).replace("T", " ")}  ${counted(one.files, "file")}, ${size(one.bytes)}, ${terminal.paint("red", "missing")}\n    run ${one.runs[0] ?? "-"}; was in ${printable(one.store)}\n`
      )
    }
    terminal.out(`\n${counted(backups.length, "backup")} in ${printable(store)}, times in UTC\n`)
  }
  if (database !== undefined && !existsSync(database)) {
    terminal.error(`There is no database ${printable(database)}: what is listed is what lies beside its place.\n`)
  }
  for (const path of damaged) terminal.error(`Damaged: the manifest ${printable(path)} cannot be read.\n`)
  for (const { backup_id, store: place } of missing) {
    terminal.error(`Missing: the database knows backup ${backup_id}, and ${printable(place)} has no manifest of it.\n`)
  }
  if (damaged.length + missing.length > 0) return yield* new Ended({ code: exitCode.damaged })
})

export const runBackupVerify = Effect.fnUntraced(function* (session: Session, command: VerifyBackupCommand) {
  const { database, store } = yield* placeOf(session, command)
  const cipher = yield* cipherSettings(session, command)
  const backup = yield* named(database, command.backup)
  const jobs = yield* jobsOf(command.jobs)
  const lost = lostAmong(yield* lostOf(database), command.backup, backup)
  const isAlone = lost.length > 0 && (!isLast(command.backup) || (yield* heldIn(store)).backups.length === 0)
  if (isAlone) {
    tellCheck(session, command, store, { backup_id: lost[0]?.backup ?? backup, files: 0, bytes: 0, problems: lost })
    return yield* new Ended({ code: exitCode.damaged })
  }
  const recorded = yield* recordedHash(database, store, backup)
  yield* sayWhich(session, command, store)
  const progress = progressOf(session, command, "checking")
  const checked = yield* progress.during(
    verifyBackup({ store, backup, cipher, jobs, manifestSha256: recorded, onProgress: progress.step })
  )
  const check = { ...checked, problems: [...checked.problems, ...lost] }
  tellCheck(session, command, store, check, recorded)
  if (check.problems.length > 0) return yield* new Ended({ code: codeOf(check.problems) })
})

const isLast = (wanted: string | undefined): boolean => wanted === undefined || wanted === "last"

/** Those that were asked for by id or run; where none was named, all. */
const lostAmong = (
  lost: ReadonlyArray<LostBackup>,
  wanted: string | undefined,
  backup: string
): ReadonlyArray<BackupProblem> =>
  lost
    .filter(
      ({ backup_id: id, runs }) =>
        isLast(wanted) || (backup !== "" && [id, ...runs].some((one) => one.startsWith(backup)))
    )
    .map(({ backup_id, store }) => ({ path: store, problem: "manifest-missing", backup: backup_id }))

const tellCheck = (
  { cwd, terminal }: Session,
  { json }: VerifyBackupCommand,
  store: string,
  check: BackupCheck,
  recorded?: string
): void => {
  if (json) return terminal.out(`${JSON.stringify({ store, ...check, manifest_checked: recorded !== undefined })}\n`)
  for (const { backup, path, problem } of check.problems) {
    const which = backup === undefined ? "" : ` (backup ${backup})`
    terminal.out(`${terminal.paint("red", "✗")} ${shownPath(path, cwd)}: ${problems[problem]}${which} [${problem}]\n`)
  }
  const against = recorded === undefined ? "; the database does not know its manifest" : ""
  const here = check.problems.filter(({ problem }) => problem !== "manifest-missing").length
  const gone = check.problems.length - here
  if (here > 0) terminal.out(`${counted(here, "problem")} in backup ${check.backup_id}\n`)
  else if (check.files > 0 || gone === 0) {
    terminal.out(
      `${terminal.paint("green", "✓")} ${counted(check.files, "file")}, ${size(check.bytes)}, every copy as it was${against}\n`
    )
  }
  if (gone > 0) terminal.out(`${counted(gone, "backup")} missing\n`)
}

/** What cannot be read or written to need not be damaged. */
const codeOf = (found: ReadonlyArray<BackupProblem>): number =>
  found.every(({ problem, target }) => problem === "pack-unreadable" || target !== undefined)
    ? exitCode.failed
    : exitCode.damaged

/** Whether a problem is that of a file of the backup, and not of the list of them. */
const isOfFile = (problem: BackupProblem["problem"]): boolean =>
  problem !== "manifest-changed" && problem !== "manifest-missing"

const problems = {
  "pack-missing": "the pack that holds its copy is gone",
  "pack-unreadable": "the pack that holds its copy cannot be read",
  "pack-truncated": "the pack that holds its copy is cut off",
  "content-changed": "its copy is not what was copied",
  "manifest-changed": "the manifest is not as it was written",
  "manifest-missing": "the manifest of a backup that the database knows is gone",
  "target-permission":
    "the operating system does not permit it; check who may write there, or name another folder with --out",
  "target-io":
    "its place cannot be written to; check that it lies in a folder, and the disk, or name another folder with --out"
} as const

export const runBackupRestore = Effect.fnUntraced(function* (session: Session, command: RestoreCommand) {
  const { terminal } = session
  if ((command.out === undefined) !== command.inPlace) {
    return yield* usage(
      command.inPlace ? "--in-place and --out were given together." : "Where to is missing.",
      "Give --out DIR to restore into a folder, or --in-place to put back what is missing."
    )
  }
  const { database, store } = yield* placeOf(session, command)
  const backup = yield* named(database, command.backup)
  const cipher = yield* cipherSettings(session, command)
  const out = command.out === undefined ? undefined : resolve(session.cwd, command.out)
  // Copies come back without the database too.
  const manifestSha256 = yield* Effect.orElseSucceed(recordedHash(database, store, backup), () => undefined)
  yield* sayWhich(session, command, store)
  const progress = progressOf(session, command, "restoring")
  const onProgress = progress.step
  const result = yield* progress.during(restoreBackup({ store, backup, cipher, out, manifestSha256, onProgress }))
  const { kept, present, restored } = result
  if (command.json) terminal.out(`${JSON.stringify({ store, ...result })}\n`)
  else {
    for (const { path, problem, target } of result.problems) {
      const lost = isOfFile(problem) ? "not restored, " : ""
      terminal.out(
        `${terminal.paint("red", "✗")} ${shownPath(target ?? path, session.cwd)}: ${lost}${problems[problem]} [${problem}]\n`
      )
    }
    for (const path of kept) {
      terminal.out(
        `${terminal.paint("yellow", "-")} ${shownPath(path, session.cwd)}: left as it is, other bytes are there\n`
      )
    }
    const lost = result.problems.filter(({ problem }) => isOfFile(problem)).length
    const rest = [
      ...(present.length > 0 ? [`${present.length} there already`] : []),
      ...(kept.length > 0 ? [`${kept.length} left as they are`] : []),
      ...(lost > 0 ? [`${lost} not restored`] : [])
    ]
    terminal.out(`${[`${counted(restored.length, "file")} restored`, ...rest].join(", ")}\n`)
  }
  if (result.problems.length > 0) return yield* new Ended({ code: codeOf(result.problems) })
  if (kept.length > 0) return yield* new Ended({ code: exitCode.rejects })
})
