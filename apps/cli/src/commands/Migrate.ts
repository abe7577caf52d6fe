/** `mallard migrate`: brings sources into the database and tells what became of each. */
import { defaultPlaces, printablePath } from "@mallard/legacy-json"
import {
  backupStoreOf,
  type ConflictRule,
  exitCodes,
  migrate,
  type Replayed,
  type RunReport,
  withQuality
} from "@mallard/migrator"
import { Effect } from "effect"
import { resolve } from "node:path"
import { databaseFlag, shellQuoted, withDatabase } from "../Database.ts"
import { cipherSettings } from "../Ciphers.ts"
import { Ended, exitCode, usage } from "../Failure.ts"
import { ProgressReport } from "../Progress.ts"
import { fileFailure } from "../Outputs.ts"
import { formatOf, renderReport, writeReport } from "../Reports.ts"
import { renderRun } from "../RenderRun.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { parseSize } from "../Size.ts"
import type { Paint } from "../Terminal.ts"

export interface MigrateCommand extends CommonOptions {
  readonly paths: ReadonlyArray<string>
  readonly onConflict: ConflictRule | undefined
  readonly overwrite: boolean
  readonly dryRun: boolean
  readonly noVerify: boolean
  readonly maxEntitySize: string
  readonly maxDepth: number
  readonly memory: string | undefined
  readonly report: string | undefined
  readonly noBackup: boolean
  readonly moveOriginals?: string | undefined
  readonly backupDir: string | undefined
  readonly backupPassphraseFile: string | undefined
  readonly backupRecipients: ReadonlyArray<string>
  readonly replays?: ReadonlyMap<string, Replayed> | undefined
}

export const runMigrate = Effect.fnUntraced(function* (session: Session, command: MigrateCommand) {
  const { stop, terminal } = session
  if (command.overwrite && command.onConflict !== undefined && command.onConflict !== "replace") {
    return yield* usage(
      `--overwrite means --on-conflict replace, and --on-conflict ${command.onConflict} was given too.`,
      "Give one of the two."
    )
  }
  const maxEntityBytes = parseSize(command.maxEntitySize)
  if (maxEntityBytes === undefined) return yield* usage("--max-entity-size is no size.", "Give one like 64MiB.")
  if (command.maxDepth < 1) return yield* usage("--max-depth must be at least 1.")
  if (command.memory !== undefined && parseSize(command.memory) === undefined) {
    return yield* usage("--memory is no size.", "Give one like 1GB.")
  }
  if (command.report !== undefined && formatOf(command.report) === undefined) {
    return yield* usage(
      "--report names a file of no known form.",
      "Let its name end in .html, .json, .md, .xml or .txt."
    )
  }
  if (command.moveOriginals !== undefined && (command.noBackup || command.noVerify)) {
    return yield* usage(
      "--move-originals takes the backup and the proof.",
      "Leave out --no-backup and --no-verify, or leave the originals where they are."
    )
  }
  const backup = yield* backupSettings(session, command)
  const paths = yield* sourcesOf(session, command.paths)
  const progress = new ProgressReport(session, command.quiet)
  stop.onSignal = () => terminal.error("Stopping as soon as what is being written is whole. Once more stops at once.\n")
  const report = yield* withDatabase(session, command.db, (database) =>
    migrate({
      paths,
      database,
      onConflict: command.overwrite ? "replace" : (command.onConflict ?? "fail"),
      dryRun: command.dryRun,
      verify: !command.noVerify,
      program: session.program,
      maxEntityBytes,
      maxDepth: command.maxDepth,
      memoryLimit: command.memory,
      backup: backup === undefined ? undefined : { ...backup, store: backup.store ?? backupStoreOf(database) },
      rejectStore: command.backupDir === undefined ? backupStoreOf(database) : resolve(session.cwd, command.backupDir),
      replays: command.replays,
      moveOriginals: command.moveOriginals === undefined ? undefined : resolve(session.cwd, command.moveOriginals),
      cwd: session.cwd,
      isStopped: () => stop.signal !== undefined,
      onProgress: progress.step
    })
  )
  terminal.clearStatus()
  if (command.json) terminal.out(`${JSON.stringify(report)}\n`)
  else terminal.out(textOf(report, session, command, terminal.paint))
  if (command.report !== undefined) yield* writeFile(session, command, command.report, report)
  if (report.outcome === "interrupted" && !command.json && command.quiet) {
    terminal.error("Stopped. What is stored is whole; run the same command again to go on.\n")
  }
  const code = codeOf(report, session)
  if (code !== 0) return yield* new Ended({ code })
})

/** Where to copy the sources to, unless the user does without; says what that means. */
const backupSettings = Effect.fnUntraced(function* (session: Session, command: MigrateCommand) {
  const { backupDir, backupPassphraseFile, backupRecipients } = command
  if (command.noBackup) {
    if (backupDir !== undefined || backupPassphraseFile !== undefined || backupRecipients.length > 0) {
      return yield* usage("--no-backup was given together with how to back up.", "Give one of the two.")
    }
    if (!command.dryRun && !command.quiet) {
      session.terminal.error(
        "No backup: the sources are read and never changed, but if they are lost later, only what the database gives back is left: the JSON without its white space. Rejected files alone are copied.\n"
      )
    }
    return undefined
  }
  return {
    store: backupDir === undefined ? undefined : resolve(session.cwd, backupDir),
    cipher: yield* cipherSettings(session, { passphraseFile: backupPassphraseFile, recipients: backupRecipients })
  }
})

/** The run is done, and stays so: a report that cannot be written is a warning. */
const writeFile = (session: Session, command: MigrateCommand, out: string, report: RunReport): Effect.Effect<void> => {
  const path = resolve(session.cwd, out)
  return withQuality(report).pipe(
    Effect.catch(() => Effect.succeed(report)),
    Effect.flatMap((whole) =>
      Effect.tryPromise({
        try: async () => {
          const text = (shown: RunReport) => textOf(shown, session, command, (_, plain) => plain)
          await writeReport(path, renderReport(whole, formatOf(out) ?? "text", text))
          if (!command.quiet && !command.json) session.terminal.error(`Report: ${printablePath(path)}\n`)
        },
        catch: (cause) => fileFailure(cause)?.what ?? `Cannot write the report ${printablePath(path)}.`
      })
    ),
    Effect.catch((what) =>
      Effect.sync(() =>
        session.terminal.error(
          `Warning: ${what} The run itself is done; ${session.invocation} report --out FILE writes it again.\n`
        )
      )
    )
  )
}

const textOf = (report: RunReport, session: Session, command: MigrateCommand, paint: Paint): string =>
  renderRun(report, {
    paint,
    cwd: session.cwd,
    verbose: command.verbose,
    quiet: command.quiet,
    invocation: session.invocation,
    databaseFlag: databaseFlag(session, report.database),
    quote: shellQuoted
  })
    .map((line) => `${line}\n`)
    .join("")

const codeOf = (report: RunReport, session: Session): number =>
  report.outcome === "interrupted" && session.stop.signal === "SIGTERM"
    ? exitCode.terminated
    : exitCodes[report.outcome]

/** The paths given, else HealthSim's own places. */
const sourcesOf = Effect.fnUntraced(function* (session: Session, paths: ReadonlyArray<string>) {
  if (paths.length > 0) return paths
  const { noticed, places } = yield* defaultPlaces(session.home)
  if (places.length === 0) {
    return yield* usage(
      "There is nothing to migrate: no path was given, and ~/.healthsim has no cohorts, scenarios or workspaces.",
      `Name files or folders: ${session.invocation} migrate PATH…`,
      ...noticed.map(({ path }) => `Found, and read only if named: ${printablePath(path)}`)
    )
  }
  for (const path of places) session.terminal.error(`Reading ${printablePath(path)}\n`)
  for (const { path, reason } of noticed) {
    session.terminal.error(
      `Not read: ${printablePath(path)} (${reason === "backup" ? "a backup" : "it holds JSON files"}); name it to migrate it\n`
    )
  }
  return places
})
