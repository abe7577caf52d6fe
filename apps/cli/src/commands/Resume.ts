/** `mallard resume` and `mallard retry`: going on with runs that were cut short, and taking again what failed. */
import { type AskedOptions, hasIdentity, listUnfinished, retryOf } from "@mallard/migrator"
import { Effect } from "effect"
import { withDatabase } from "../Database.ts"
import { CommandFailed, Ended, exitCode, usage } from "../Failure.ts"
import type { ProgressFlag } from "../Progress.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { counted, printable, quoted } from "../Text.ts"
import { type MigrateCommand, runMigrate } from "./Migrate.ts"
import { noSuchRun } from "./Report.ts"

export interface ResumeCommand extends CommonOptions, ProgressFlag {
  readonly run: string | undefined
  readonly passphraseFile: string | undefined
  readonly passphrase: boolean
}

export interface RetryCommand extends CommonOptions, ProgressFlag {
  readonly run: string
  readonly onConflict: AskedOptions["on_conflict"] | undefined
  readonly passphraseFile: string | undefined
  readonly passphrase: boolean
}

export const runResume = Effect.fnUntraced(function* (session: Session, command: ResumeCommand) {
  const { terminal } = session
  const unfinished = yield* withDatabase(session, command.db, listUnfinished)
  const { run: wanted } = command
  if (wanted === "") return yield* noSuchRun(session, wanted, [])
  const found = wanted === undefined ? unfinished : unfinished.filter(({ run }) => run.startsWith(wanted.toLowerCase()))
  const last = found.at(-1)
  if (last === undefined) {
    if (wanted !== undefined) {
      return yield* new CommandFailed({
        code: exitCode.failed,
        what: `No run ${quoted(wanted)} was cut short.`,
        next: [`${session.invocation} status shows what is unfinished, ${session.invocation} runs all runs.`]
      })
    }
    terminal.out(command.json ? "null\n" : "Nothing to resume: every run came to its end.\n")
    return
  }
  if (wanted !== undefined && found.length > 1) {
    return yield* noSuchRun(
      session,
      wanted,
      found.map(({ run }) => run)
    )
  }
  const again = runMigrate(session, {
    ...(yield* askedAgain(command, last.asked)),
    resumes: last.run,
    ...(last.asked.retries === undefined ? {} : { retries: last.asked.retries }),
    ...(last.asked.only === undefined ? {} : { only: new Set(last.asked.only) }),
    ...(last.asked.plan === undefined ? {} : { planned: new Map(last.asked.plan.map((item) => [item.path, item])) })
  })
  yield* Effect.tapError(again, (error) =>
    Effect.sync(() => {
      if (error instanceof Ended || last.record === undefined) return
      terminal.error(`Run ${last.run.slice(0, 8)} stored nothing. To forget it, remove ${printable(last.record)}.\n`)
    })
  )
})

export const runRetry = Effect.fnUntraced(function* (session: Session, command: RetryCommand) {
  const { terminal } = session
  const { asked, only, run } = yield* withDatabase(session, command.db, (database) =>
    retryOf(database, command.run)
  ).pipe(
    Effect.catchTag("RunNotFound", ({ candidates, wanted }) => Effect.fail(noSuchRun(session, wanted, candidates))),
    Effect.catchTag("NotAMigration", ({ message }) => Effect.fail(usage(message)))
  )
  if (only.size === 0) {
    terminal.out(command.json ? "null\n" : `Nothing to retry: all that run ${run.slice(0, 8)} found is stored.\n`)
    return
  }
  if (!command.quiet) terminal.error(`Retrying ${counted(only.size, "source")} of run ${run.slice(0, 8)}\n`)
  const again = yield* askedAgain(command, asked)
  yield* runMigrate(session, { ...again, onConflict: command.onConflict ?? again.onConflict, retries: run, only })
})

/** The same as was asked before. */
const askedAgain = Effect.fnUntraced(function* (
  command: CommonOptions & Pick<ResumeCommand, "passphrase" | "passphraseFile" | "progress">,
  asked: AskedOptions
) {
  // Copies that were to be encrypted are never made in plain.
  if (asked.backup_cipher === "passphrase" && command.passphraseFile === undefined && !command.passphrase) {
    return yield* usage(
      "The copies of that run are encrypted with a passphrase, which is kept nowhere.",
      "Give it again: --backup-passphrase asks for it, --backup-passphrase-file FILE reads it."
    )
  }
  const again: MigrateCommand = {
    db: command.db,
    json: command.json,
    quiet: command.quiet,
    verbose: command.verbose,
    progress: command.progress,
    paths: asked.paths,
    cwd: asked.cwd,
    onConflict: asked.on_conflict,
    overwrite: false,
    dryRun: false,
    noVerify: !asked.verify,
    maxEntitySize: String(asked.max_entity_bytes),
    maxFileSize: asked.max_file_bytes === undefined ? undefined : String(asked.max_file_bytes),
    maxDepth: asked.max_depth,
    jobs: asked.jobs,
    memory: asked.memory_limit,
    strict: asked.strict,
    rules: asked.rules,
    maxRejects: asked.max_rejects,
    report: undefined,
    noBackup: !asked.backup,
    moveOriginals: asked.move_originals,
    backupDir: asked.backup ? asked.backup_dir : undefined,
    backupPassphraseFile: asked.backup ? command.passphraseFile : undefined,
    backupPassphrase: asked.backup && command.passphrase,
    // A run that was cut short before it had made the key locks it now.
    isKeyKnown: asked.backup_dir === undefined || hasIdentity(asked.backup_dir),
    backupRecipients: asked.backup_recipients ?? [],
    ...(asked.replays === undefined
      ? {}
      : { replays: new Map(asked.replays.map(({ source, ...replayed }) => [source, replayed])) })
  }
  return again
})
