/** `mallard resume` and `mallard retry`: going on with runs that were cut short, and taking again what failed. */
import { printablePath, SourceError } from "@mallard/legacy-json"
import { type AskedOptions, type HaltedRun, hasIdentity, listHalted, retryOf, stateWords } from "@mallard/migrator"
import { Effect } from "effect"
import { withDatabase } from "../Database.ts"
import { hintsOf } from "../Hints.ts"
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
  const halted = yield* withDatabase(session, command.db, listHalted)
  const unfinished = halted.filter(({ continuedBy, state }) => continuedBy === undefined && state !== "running")
  const { run: wanted } = command
  if (wanted === "") return yield* noSuchRun(session, wanted, [])
  const found = wanted === undefined ? unfinished : unfinished.filter(({ run }) => run.startsWith(wanted.toLowerCase()))
  const last = found.at(-1)
  if (last === undefined) {
    const hint = hintsOf(session)
    if (wanted !== undefined) {
      const other = halted.findLast(({ run }) => run.startsWith(wanted.toLowerCase()))
      return yield* new CommandFailed({
        code: exitCode.failed,
        what: other === undefined ? `No run ${quoted(wanted)} was cut short.` : `Run ${standingOf(other)}.`,
        next: [`${hint("status")} shows what is unfinished, ${hint("runs")} lists all runs.`]
      })
    }
    const running = halted.findLast(({ state }) => state === "running")
    const why = running === undefined ? "every run came to its end" : `run ${standingOf(running)}`
    terminal.out(command.json ? "null\n" : `Nothing to resume: ${why}.\n`)
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
  const told = Effect.catchIf(again, isSourceGone, ({ path }) =>
    sourceGone(last.run, path, `Put it back, or migrate it from where it is now.`)
  )
  yield* Effect.tapError(told, (error) =>
    Effect.sync(() => {
      if (error instanceof Ended || last.record === undefined) return
      terminal.error(`Run ${last.run.slice(0, 8)} stored nothing. To forget it, remove ${printable(last.record)}.\n`)
    })
  )
})

export const runRetry = Effect.fnUntraced(function* (session: Session, command: RetryCommand) {
  const { terminal } = session
  const { asked, database, only, run } = yield* withDatabase(session, command.db, (database) =>
    Effect.map(retryOf(database, command.run), (retry) => ({ ...retry, database }))
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
  const retried = runMigrate(session, {
    ...again,
    onConflict: command.onConflict ?? again.onConflict,
    retries: run,
    only
  })
  yield* Effect.catchIf(retried, isSourceGone, ({ path }) =>
    sourceGone(
      run,
      path,
      `Put it back, or mend the copies: ${hintsOf(session, database)(`rejects export --run ${run.slice(0, 8)} --out mend`)}`
    )
  )
})

/** A path that the run was given, which the user has not typed now. */
const isSourceGone = (error: unknown): error is SourceError =>
  error instanceof SourceError && error.reason === "missing"

const sourceGone = (run: string, path: string, next: string): Effect.Effect<never, CommandFailed> =>
  Effect.fail(
    new CommandFailed({
      code: exitCode.failed,
      what: `${printablePath(path)} is no longer there, which run ${run.slice(0, 8)} read.`,
      next: [next]
    })
  )

const standingOf = ({ continuedBy, run, state }: HaltedRun): string =>
  `${run.slice(0, 8)} ${stateWords[state]}${continuedBy === undefined ? "" : `, and run ${continuedBy.slice(0, 8)} went on with it`}`

/** The same as was asked before. */
const askedAgain = Effect.fnUntraced(function* (
  command: CommonOptions & Pick<ResumeCommand, "passphrase" | "passphraseFile" | "progress">,
  asked: AskedOptions
) {
  // Copies that were to be encrypted are never made in plain.
  if (asked.backup_cipher === "passphrase" && command.passphraseFile === undefined && !command.passphrase) {
    return yield* new CommandFailed({
      code: exitCode.wrongKey,
      what: "The copies of that run are encrypted with a passphrase, which is kept nowhere.",
      next: ["Give it again: --backup-passphrase asks for it, --backup-passphrase-file FILE reads it."]
    })
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
