/** `mallard migrate`: brings sources into the database and tells what became of each. */
import { defaultPlaces, isDocumentName, printablePath } from "@mallard/legacy-json"
import {
  backupStoreOf,
  estimateOf,
  type Estimate,
  type Plan,
  planOf,
  readPlan,
  readRules,
  type ConflictRule,
  exitCodes,
  hasRoom,
  measure,
  type MigrateOptions,
  migrateWithin,
  parseRejectLimit,
  type Replayed,
  reportDocument,
  type Rules,
  type RunReport,
  withQuality
} from "@mallard/migrator"
import { Effect } from "effect"
import { existsSync, realpathSync } from "node:fs"
import { join, resolve, sep } from "node:path"
import { withDatabase } from "../Database.ts"
import { cipherSettings } from "../Ciphers.ts"
import { defaultLimits } from "../Defaults.ts"
import { CommandFailed, Ended, exitCode, signalCode, usage } from "../Failure.ts"
import { hintsOf, shellQuoted } from "../Hints.ts"
import { type ProgressFlag, type ProgressOptions, ProgressReport } from "../Progress.ts"
import { readInputText } from "../InputText.ts"
import { fileFailure } from "../Outputs.ts"
import { formatOf, KNOWN_FORMS, renderReport, textOfLines, viewOf, writeReport } from "../Reports.ts"
import { problemLines, renderRun } from "../RenderRun.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { jobsOf, memoryOf, parseSize } from "../Size.ts"
import type { Paint } from "../Terminal.ts"
import { duration, size } from "../Text.ts"
import { checkShown, valuesIn } from "../Values.ts"

export interface MigrateCommand extends CommonOptions, ProgressFlag {
  readonly paths: ReadonlyArray<string>
  readonly onConflict: ConflictRule | undefined
  readonly overwrite: boolean
  readonly dryRun: boolean
  readonly noVerify: boolean
  readonly maxFileSize?: string | undefined
  readonly maxEntitySize?: string | undefined
  readonly maxDepth?: number | undefined
  readonly memory: string | undefined
  readonly jobs?: number | undefined
  readonly report: string | undefined
  readonly noBackup: boolean
  readonly moveOriginals?: string | undefined
  readonly backupDir: string | undefined
  readonly backupPassphraseFile: string | undefined
  readonly backupPassphrase?: boolean | undefined
  /** The key belongs to copies that are there already, so it is asked for once. */
  readonly isKeyKnown?: boolean | undefined
  readonly backupRecipients: ReadonlyArray<string>
  readonly strict?: boolean | undefined
  /** A file of rules, or the rules themselves where a plan or a run before names them. */
  readonly rules?: string | Rules | undefined
  readonly maxRejects?: string | undefined
  readonly replays?: ReadonlyMap<string, Replayed> | undefined
  /** Where relative paths of sources start, if not where the user is. */
  readonly cwd?: string | undefined
  readonly resumes?: string | undefined
  readonly retries?: string | undefined
  readonly only?: ReadonlySet<string> | undefined
  readonly showValues?: boolean | undefined
  /** The file of a plan to carry out. */
  readonly plan?: string | undefined
  /** What is decided about each source, by path, where the run that this one goes on with carried out a plan. */
  readonly planned?: MigrateOptions["plan"]
  /** Prints the plan rather than the report of a rehearsal, and writes it to the file, if one is named. */
  readonly planning?: { readonly out: string | undefined } | undefined
}

export const runMigrate = Effect.fnUntraced(function* (session: Session, asked: MigrateCommand) {
  const { stop, terminal } = session
  const plan = asked.plan === undefined ? undefined : yield* planFrom(session, asked, asked.plan)
  const command = plan === undefined ? asked : asPlanned(asked, plan)
  if (command.overwrite && command.onConflict !== undefined && command.onConflict !== "replace") {
    return yield* usage(
      `--overwrite means --on-conflict replace, and --on-conflict ${command.onConflict} was given too.`,
      "Give one of the two."
    )
  }
  yield* checkShown(session, command)
  const { maxDepth = defaultLimits.maxDepth, maxEntitySize = defaultLimits.maxEntitySize } = command
  const maxEntityBytes = parseSize(maxEntitySize)
  if (maxEntityBytes === undefined) return yield* usage("--max-entity-size is no size.", "Give one like 64MiB.")
  const maxFileBytes = command.maxFileSize === undefined ? undefined : parseSize(command.maxFileSize)
  if (command.maxFileSize !== undefined && maxFileBytes === undefined) {
    return yield* usage("--max-file-size is no size.", "Give one like 2GB.")
  }
  const jobs = yield* jobsOf(command.jobs)
  if (maxDepth < 1) return yield* usage("--max-depth must be at least 1.")
  const memoryLimit = (yield* memoryOf(command.memory))?.text
  if (command.report !== undefined && formatOf(command.report) === undefined) {
    return yield* usage("--report names a file of no known form.", KNOWN_FORMS)
  }
  if (command.moveOriginals !== undefined && (command.noBackup || command.noVerify)) {
    return yield* usage(
      "--move-originals takes the backup and the proof.",
      "Leave out --no-backup and --no-verify, or leave the originals where they are."
    )
  }
  const maxRejects = command.maxRejects === undefined ? undefined : parseRejectLimit(command.maxRejects)
  if (command.maxRejects !== undefined && maxRejects === undefined) {
    return yield* usage("--max-rejects is neither a number nor a percentage.", "Give one like 10 or 5%.")
  }
  const rules = yield* rulesFrom(session, command.rules)
  const backup = yield* backupSettings(session, command)
  const paths = yield* sourcesOf(session, command.paths)
  const sources = paths.map((path) => resolve(command.cwd ?? session.cwd, path))
  for (const [flag, file] of [
    ["--report", command.report],
    ["--out", command.planning?.out]
  ] as const) {
    if (file !== undefined && isAmong(sources, resolve(session.cwd, file))) {
      return yield* usage(
        `${flag} names a file that is there, among the sources, which are never changed.`,
        "Name one outside of their folders."
      )
    }
  }
  const progress = new ProgressReport(session, {
    isSilent: command.quiet,
    isJson: command.progress === "json",
    phases: phasesOf(command)
  })
  stop.onSignal = () => terminal.error("Stopping as soon as what is being written is whole. Once more stops at once.\n")
  const migrated = withDatabase(session, command.db, (database) =>
    migrateWithin({
      paths,
      database,
      onConflict: command.overwrite ? "replace" : (command.onConflict ?? "fail"),
      dryRun: command.dryRun,
      verify: !command.noVerify,
      program: session.program,
      maxEntityBytes,
      maxFileBytes,
      maxDepth,
      jobs,
      memoryLimit,
      backup: backup === undefined ? undefined : { ...backup, store: backup.store ?? backupStoreOf(database) },
      rejectStore: command.backupDir === undefined ? backupStoreOf(database) : resolve(session.cwd, command.backupDir),
      replays: command.replays,
      moveOriginals: command.moveOriginals === undefined ? undefined : resolve(session.cwd, command.moveOriginals),
      strict: command.strict,
      rules,
      rulesPath: typeof command.rules === "string" ? printablePath(resolve(session.cwd, command.rules)) : undefined,
      maxRejects,
      resumes: command.resumes,
      retries: command.retries,
      only: command.only,
      plan: plan === undefined ? command.planned : new Map(plan.items.map((item) => [item.path, item])),
      cwd: command.cwd ?? session.cwd,
      isStopped: () => stop.signal !== undefined,
      onProgress: progress.step
    })
  )
  const report = yield* progress.during(migrated)
  const estimate = report.dry_run ? estimateOf(report, yield* measure(report)) : undefined
  const planned = command.planning === undefined || estimate === undefined ? undefined : planOf(report, estimate)
  if (command.json) terminal.out(`${JSON.stringify(planned ?? reportDocument(report))}\n`)
  else {
    const shownValue = command.showValues === true ? valuesIn() : undefined
    const view = {
      ...viewOf(report, session, command, terminal.paint),
      planning: command.planning,
      shownValue
    }
    terminal.out(textOfLines(renderRun(report, view)))
    if (command.quiet) terminal.error(textOfLines(problemLines(report, { ...view, paint: terminal.paintError })))
    if (estimate !== undefined && !command.quiet) terminal.out(estimateText(estimate, terminal.paint))
  }
  if (planned !== undefined && command.planning?.out !== undefined) {
    yield* writePlan(session, command, command.planning.out, planned)
  }
  if (command.report !== undefined) yield* writeFile(session, command, command.report, report)
  if (report.outcome === "interrupted" && !command.json && command.quiet) {
    terminal.error("Stopped. What is stored is whole; run the same command again to go on.\n")
  }
  const code = codeOf(report, session)
  if (code !== 0) return yield* new Ended({ code })
})

/** Whether a file is one of the sources, or in their folders and would be found there as one. */
const isAmong = (sources: ReadonlyArray<string>, file: string): boolean => {
  if (!existsSync(file)) return false
  const path = realpathSync(file)
  return sources
    .filter((source) => existsSync(source))
    .map((source) => realpathSync(source))
    .some((source) => path === source || (path.startsWith(join(source, sep)) && isDocumentName(path)))
}

const phasesOf = ({ dryRun, noBackup, noVerify }: MigrateCommand): ProgressOptions["phases"] => [
  "finding",
  ...(dryRun || noBackup ? [] : (["copying"] as const)),
  "reading",
  ...(dryRun || noVerify ? [] : (["verifying"] as const))
]

/** What a run will take, what that rests on, and whether there is room for it. */
const estimateText = (estimate: Estimate, paint: Paint): string => {
  const { backup_bytes, basis, database_bytes, free_bytes, milliseconds } = estimate
  const free = free_bytes === null ? "" : `; ${size(free_bytes)} free`
  const runs = basis?.runs ?? 0
  const grounds = [
    `time as ${runs === 0 ? "usual beside that of reading it just now" : runs === 1 ? "in the run before" : `in ${runs} runs before`}`,
    `database ${basis === undefined || basis.stored_bytes === 0 ? "as usual" : "as it is now for what it holds"}`,
    ...(backup_bytes === 0
      ? []
      : [
          `copies ${basis === undefined || basis.sampled_bytes === 0 ? "as usual" : `as ${size(basis.sampled_bytes)} of it compress`}`
        ])
  ]
  const room = hasRoom(estimate) ? "" : `${paint("red", "There is not enough space for it.")}\n`
  return `Estimate: about ${duration(milliseconds)}, ${size(database_bytes)} of database, ${size(backup_bytes)} of copies${free}\n${paint("dim", `          (${grounds.join(", ")})`)}\n${room}`
}

/** Writes the plan, which holds names of cohorts, for its owner alone. */
const writePlan = Effect.fnUntraced(function* (session: Session, command: MigrateCommand, out: string, plan: Plan) {
  const path = resolve(session.cwd, out)
  yield* Effect.tryPromise({
    try: () => writeReport(path, `${JSON.stringify(plan, null, 2)}\n`),
    catch: (cause) =>
      fileFailure(cause) ??
      new CommandFailed({ code: exitCode.failed, what: `Cannot write the plan ${printablePath(path)}.` })
  })
  if (!command.quiet && !command.json) {
    session.terminal.error(
      `Plan: ${printablePath(path)}; ${hintsOf(session, plan.database)(`migrate --plan ${shellQuoted(out)}`)} carries it out\n`
    )
  }
})

const rulesFrom = Effect.fnUntraced(function* (session: Session, rules: string | Rules | undefined) {
  if (rules === undefined || typeof rules !== "string") return rules
  const path = resolve(session.cwd, rules)
  const text = yield* readInputText(path, "rules")
  return yield* readRules(text, printablePath(path))
})

/** The plan in a file; it says itself what is read and how, so nothing else may be asked. */
const planFrom = Effect.fnUntraced(function* (session: Session, command: MigrateCommand, file: string) {
  const { maxRejects, onConflict, overwrite, paths, rules, strict } = command
  const others = [onConflict, rules, maxRejects, strict === true || overwrite ? true : undefined]
  if (paths.length > 0 || others.some((other) => other !== undefined)) {
    return yield* usage(
      "--plan says which sources are read and what becomes of them.",
      "Leave out paths, --on-conflict, --rules, --strict and --max-rejects, or plan again."
    )
  }
  const path = resolve(session.cwd, file)
  const text = yield* readInputText(path, "plan")
  const plan = yield* Effect.catchTag(readPlan(text, printablePath(path)), "PlanUnreadable", ({ message }) =>
    Effect.fail(usage(message))
  )
  if (command.db !== undefined && resolve(session.cwd, command.db) !== plan.database) {
    return yield* usage(
      `The plan is for ${printablePath(plan.database)}.`,
      "Leave out --db, or plan again for the other database."
    )
  }
  const [other] = otherThanPlanned(command, plan)
  if (other !== undefined) {
    return yield* usage(
      `The plan in ${printablePath(path)} was made otherwise than ${other} says.`,
      `Leave out ${other}, or plan again with it.`
    )
  }
  return plan
})

/** The options that say otherwise than the plan does of what becomes of a source; memory and jobs change nothing of that. */
const otherThanPlanned = (command: MigrateCommand, { options }: Plan): ReadonlyArray<string> => {
  const { maxDepth, maxEntitySize, maxFileSize, noBackup } = command
  return [
    ...(maxFileSize !== undefined && parseSize(maxFileSize) !== options.max_file_bytes ? ["--max-file-size"] : []),
    ...(maxEntitySize !== undefined && parseSize(maxEntitySize) !== options.max_entity_bytes
      ? ["--max-entity-size"]
      : []),
    ...(maxDepth !== undefined && maxDepth !== options.max_depth ? ["--max-depth"] : []),
    ...(noBackup && options.backup ? ["--no-backup"] : []),
    ...(options.backup ? [] : copyFlags(command))
  ]
}

/** The flags given that say how to back up. */
const copyFlags = (command: MigrateCommand): ReadonlyArray<string> => [
  ...(command.backupDir === undefined ? [] : ["--backup-dir"]),
  ...(command.backupPassphraseFile === undefined ? [] : ["--backup-passphrase-file"]),
  ...(command.backupPassphrase === true ? ["--backup-passphrase"] : []),
  ...(command.backupRecipients.length === 0 ? [] : ["--backup-recipient"])
]

const asPlanned = (command: MigrateCommand, { database, options }: Plan): MigrateCommand => ({
  ...command,
  db: database,
  paths: options.paths,
  cwd: options.cwd,
  onConflict: options.on_conflict,
  maxEntitySize: String(options.max_entity_bytes),
  maxFileSize: options.max_file_bytes === undefined ? undefined : String(options.max_file_bytes),
  maxDepth: options.max_depth,
  jobs: command.jobs ?? options.jobs,
  memory: command.memory ?? options.memory_limit,
  strict: options.strict,
  rules: options.rules,
  maxRejects: options.max_rejects,
  noBackup: !options.backup,
  backupDir: command.backupDir ?? options.backup_dir
})

/** Where to copy the sources to, unless the user does without; says what that means. */
const backupSettings = Effect.fnUntraced(function* (session: Session, command: MigrateCommand) {
  const { backupDir, backupPassphrase, backupPassphraseFile, backupRecipients } = command
  if (command.noBackup) {
    if (copyFlags(command).length > 0) {
      return yield* usage("--no-backup was given together with how to back up.", "Give one of the two.")
    }
    if (!command.dryRun) {
      session.terminal.error(
        "No backup: the sources are read and never changed, but if they are lost later, only what the database gives back is left: the JSON without its white space. Rejected files alone are copied.\n"
      )
    }
    return undefined
  }
  session.named.backupDir = backupDir
  return {
    store: backupDir === undefined ? undefined : resolve(session.cwd, backupDir),
    cipher: yield* cipherSettings(
      session,
      { passphraseFile: backupPassphraseFile, passphrase: backupPassphrase, recipients: backupRecipients },
      command.isKeyKnown === true ? "known" : "new"
    )
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
          `Warning: ${what} The run itself is done; ${hintsOf(session, report.database)("report", [report.run], " --out FILE")} writes it again.\n`
        )
      )
    )
  )
}

const textOf = (report: RunReport, session: Session, command: MigrateCommand, paint: Paint): string =>
  textOfLines(renderRun(report, viewOf(report, session, command, paint)))

const codeOf = (report: RunReport, session: Session): number =>
  report.outcome === "interrupted" ? signalCode(session.stop.signal) : exitCodes[report.outcome]

/** The paths given, else HealthSim's own places. */
const sourcesOf = Effect.fnUntraced(function* (session: Session, paths: ReadonlyArray<string>) {
  if (paths.length > 0) return paths
  const { noticed, places } = yield* defaultPlaces(session.home)
  if (places.length === 0) {
    return yield* usage(
      "There is nothing to migrate: no path was given, and ~/.healthsim has no cohorts, scenarios or workspaces.",
      `Name files or folders: ${hintsOf(session)("migrate PATH…")}`,
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
