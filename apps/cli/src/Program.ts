/** The commands with their flags, help and examples. What they do is loaded only when they run. */
import { Effect, Option } from "effect"
import { Argument, Command, Flag, GlobalFlag } from "effect/cli"
import type { CommonOptions, Session } from "./Session.ts"

const version = (session: Session) =>
  GlobalFlag.Action({
    flag: Flag.Boolean("version").pipe(
      Flag.withAlias("V"),
      Flag.withDescription("Show the version"),
      Flag.withDefault(false)
    ),
    run: () => Effect.sync(() => session.terminal.out(`${session.program}\n`))
  })

const on = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withoutNegation, Flag.withDefault(false))

const text = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.optional)

const whole = (name: string, metavar: string, description: string) =>
  Flag.Int(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.optional)

const many = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.atLeast(0))

const shared = {
  db: text("db", "FILE", "Database (default: $MALLARD_DB, $HEALTHSIM_DB_PATH, ~/.healthsim/healthsim.duckdb)"),
  json: on("json", "Print one JSON document and nothing else"),
  wait: text("wait", "SECONDS", "Wait while another program has the database open (no number: as long as it takes)"),
  quiet: on("quiet", "Print problems and the last line only").pipe(Flag.withAlias("q")),
  verbose: on("verbose", "Print every remark").pipe(Flag.withAlias("v")),
  yes: on("yes", "Confirm everything that would be asked").pipe(Flag.withAlias("y")),
  noColor: on("no-color", "Print without colours")
}

const name = Argument.String("NAME").pipe(Argument.withDescription("Name or id of a cohort"))

type BackupFlag = "dir" | "backup" | "passphraseFile" | "identityFile"

/** The whole command line. */
export const makeProgram = (session: Session) => {
  const root = Command.make("mallard").pipe(
    Command.withSharedFlags(shared),
    Command.withDescription("Legacy JSON into DuckDB, the same JSON back, with proof")
  )
  const common = Effect.map(root, ({ db, json, quiet, verbose, wait }): CommonOptions => {
    session.lock.wait = Option.getOrUndefined(wait)
    return { db: Option.getOrUndefined(db), json, quiet, verbose }
  })

  const onConflict = Flag.Literals("on-conflict", ["fail", "skip", "replace", "rename"]).pipe(
    Flag.withDescription("What to do when a cohort of that name exists with other content (default: fail)"),
    Flag.optional
  )
  const judging = {
    strict: on("strict", "Reject what would only be remarked"),
    rules: text("rules", "FILE", "Check the content by the rules in this JSON file; see docs/plan.md"),
    maxRejects: text("max-rejects", "N|P%", "Stop and undo the run when more sources than this are rejected")
  }
  const migrate = Command.make(
    "migrate",
    {
      paths: Argument.String("PATH").pipe(
        Argument.withDescription("Files and folders (default: cohorts, scenarios, workspaces in ~/.healthsim)"),
        Argument.variadic()
      ),
      onConflict,
      overwrite: on("overwrite", "Same as --on-conflict replace"),
      dryRun: on("dry-run", "Read and report everything, write nothing").pipe(Flag.withAlias("n")),
      plan: text(
        "plan",
        "FILE",
        "Do exactly what `mallard plan --out FILE` decided, and refuse what has changed since"
      ),
      ...judging,
      noVerify: on("no-verify", "Leave out the proof of what was stored; `mallard verify` gives it later"),
      maxEntitySize: Flag.String("max-entity-size").pipe(
        Flag.withMetavar("SIZE"),
        Flag.withDescription("Largest entity or string (default: 64MiB)"),
        Flag.withDefault("64MiB")
      ),
      maxDepth: Flag.Int("max-depth").pipe(
        Flag.withMetavar("LEVELS"),
        Flag.withDescription("Deepest nesting (default: 10000)"),
        Flag.withDefault(10_000)
      ),
      memory: text("memory", "LIMIT", "DuckDB's own memory, such as 1GB (default: 600MB)"),
      noBackup: on("no-backup", "Copy no source before writing: the original bytes then exist only where they are now"),
      backupDir: text("backup-dir", "DIR", "Where to copy the sources to (default: beside the database, FILE.backups)"),
      backupPassphraseFile: text(
        "backup-passphrase-file",
        "FILE",
        "Encrypt the copies with the passphrase in this file"
      ),
      backupRecipients: Flag.String("backup-recipient").pipe(
        Flag.withMetavar("AGE1"),
        Flag.withDescription("Encrypt the copies to this age recipient (may be repeated)"),
        Flag.atLeast(0)
      ),
      moveOriginals: text(
        "move-originals",
        "DIR",
        "Move what is stored and proven to this folder; without it originals stay"
      ),
      report: text("report", "FILE", "Write the report to this file too: .html, .json, .md, .xml (JUnit) or .txt"),
      showValues: on("show-values", "Show keys outside the known vocabulary").pipe(Flag.withHidden)
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runMigrate } = yield* Effect.promise(() => import("./commands/Migrate.ts"))
      yield* runMigrate(session, {
        ...options,
        ...input,
        onConflict: Option.getOrUndefined(input.onConflict),
        memory: Option.getOrUndefined(input.memory),
        plan: Option.getOrUndefined(input.plan),
        rules: Option.getOrUndefined(input.rules),
        maxRejects: Option.getOrUndefined(input.maxRejects),
        report: Option.getOrUndefined(input.report),
        backupDir: Option.getOrUndefined(input.backupDir),
        moveOriginals: Option.getOrUndefined(input.moveOriginals),
        backupPassphraseFile: Option.getOrUndefined(input.backupPassphraseFile)
      })
    })
  ).pipe(
    Command.withDescription("Bring legacy JSON into the database, and verify it"),
    Command.withExamples([
      { command: "mallard migrate", description: "Migrate what HealthSim keeps in ~/.healthsim" },
      { command: "mallard migrate old-cohorts --db cohorts.duckdb", description: "Migrate a folder into a database" },
      { command: "mallard migrate old-cohorts --dry-run", description: "See what would happen" }
    ])
  )

  const verify = Command.make(
    "verify",
    {
      source: Flag.String("source").pipe(
        Flag.withMetavar("PATH"),
        Flag.withDescription("Compare with these files and folders too (may be repeated)"),
        Flag.atLeast(0)
      ),
      memory: text("memory", "LIMIT", "DuckDB's own memory, such as 1GB (default: 600MB)")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runVerify } = yield* Effect.promise(() => import("./commands/Verify.ts"))
      yield* runVerify(session, { ...options, sources: input.source, memory: Option.getOrUndefined(input.memory) })
    })
  ).pipe(
    Command.withDescription("Prove that the database still holds what was migrated"),
    Command.withExamples([
      { command: "mallard verify", description: "Render every document and check every row" },
      { command: "mallard verify --source old-cohorts", description: "Compare with the sources as well" }
    ])
  )

  const doctor = Command.make(
    "doctor",
    {
      noVerify: on("no-verify", "Leave out rendering every document"),
      quarantineWal: on("quarantine-wal", "Move the write-ahead log away, under a dated name beside the database"),
      rebuild: text("rebuild", "OUT", "Copy all that verifies into a new database, and name what does not"),
      memory: text("memory", "LIMIT", "DuckDB's own memory, such as 1GB (default: 600MB)")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runDoctor } = yield* Effect.promise(() => import("./commands/Doctor.ts"))
      yield* runDoctor(session, {
        ...options,
        ...input,
        rebuild: Option.getOrUndefined(input.rebuild),
        memory: Option.getOrUndefined(input.memory)
      })
    })
  ).pipe(
    Command.withDescription("Say what is the matter with a database; changes nothing unless told to repair"),
    Command.withExamples([
      { command: "mallard doctor", description: "Check file, log, tables, documents and backups" },
      { command: "mallard doctor --quarantine-wal", description: "Move a log away that does not fit" },
      { command: "mallard doctor --rebuild rescued.duckdb", description: "Save what is whole of a damaged database" }
    ])
  )

  const report = Command.make(
    "report",
    {
      run: Argument.String("RUN").pipe(
        Argument.withDescription("Id of a run, or how it begins (default: the last run)"),
        Argument.optional
      ),
      format: Flag.Literals("format", ["text", "json", "html", "md", "junit"]).pipe(
        Flag.withDescription("Form of the report (default: by the name of --out, else text)"),
        Flag.optional
      ),
      out: text("out", "FILE", "Write to this file")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runReport } = yield* Effect.promise(() => import("./commands/Report.ts"))
      yield* runReport(session, {
        ...options,
        run: Option.getOrUndefined(input.run),
        format: Option.getOrUndefined(input.format),
        out: Option.getOrUndefined(input.out)
      })
    })
  ).pipe(
    Command.withDescription("Report on a run, for people or for programs"),
    Command.withExamples([
      { command: "mallard report", description: "What became of each source in the last run" },
      { command: "mallard report --out report.html", description: "The same as a page with charts" }
    ])
  )

  const runs = Command.make(
    "runs",
    {},
    Effect.fnUntraced(function* () {
      const options = yield* common
      const { runRuns } = yield* Effect.promise(() => import("./commands/Runs.ts"))
      yield* runRuns(session, options)
    })
  ).pipe(
    Command.withDescription("List the runs: who ran what, when, with which options and result"),
    Command.withExamples([{ command: "mallard runs", description: "List all runs, the last one last" }])
  )

  const store = {
    dir: text("backup-dir", "DIR", "Folder of the backups (default: beside the database, FILE.backups)")
  }
  const keys = {
    passphraseFile: text("backup-passphrase-file", "FILE", "Passphrase of encrypted copies"),
    identityFile: text("backup-identity", "FILE", "age identity for encrypted copies")
  }
  const backupId = Argument.String("BACKUP").pipe(
    Argument.withDescription("Id of a backup or of its run, or how it begins (default: the last backup)"),
    Argument.optional
  )
  const backupOptions = (options: CommonOptions, input: Partial<Record<BackupFlag, Option.Option<string>>>) => ({
    ...options,
    dir: Option.getOrUndefined(input.dir ?? Option.none()),
    backup: Option.getOrUndefined(input.backup ?? Option.none()),
    passphraseFile: Option.getOrUndefined(input.passphraseFile ?? Option.none()),
    identityFile: Option.getOrUndefined(input.identityFile ?? Option.none())
  })
  const backup = Command.make("backup").pipe(
    Command.withDescription("The copies of sources that runs made before they wrote"),
    Command.withSubcommands([
      Command.make(
        "list",
        store,
        Effect.fnUntraced(function* (input) {
          const options = yield* common
          const { runBackupList } = yield* Effect.promise(() => import("./commands/Backup.ts"))
          yield* runBackupList(session, backupOptions(options, input))
        })
      ).pipe(Command.withAlias("ls"), Command.withDescription("List the backups")),
      Command.make(
        "verify",
        { backup: backupId, ...store, ...keys },
        Effect.fnUntraced(function* (input) {
          const options = yield* common
          const { runBackupVerify } = yield* Effect.promise(() => import("./commands/Backup.ts"))
          yield* runBackupVerify(session, backupOptions(options, input))
        })
      ).pipe(Command.withDescription("Read every copy and compare it with its SHA-256")),
      Command.make(
        "restore",
        {
          backup: backupId,
          out: text("out", "DIR", "Restore into this folder"),
          inPlace: on("in-place", "Put back what is missing where it was"),
          ...store,
          ...keys
        },
        Effect.fnUntraced(function* (input) {
          const options = yield* common
          const { runBackupRestore } = yield* Effect.promise(() => import("./commands/Backup.ts"))
          yield* runBackupRestore(session, {
            ...backupOptions(options, input),
            out: Option.getOrUndefined(input.out),
            inPlace: input.inPlace
          })
        })
      ).pipe(
        Command.withDescription("Restore files with bytes, modes and times; what is there is never overwritten"),
        Command.withExamples([
          { command: "mallard backup restore --out originals", description: "Restore the last backup" }
        ])
      )
    ])
  )

  const ofRun = {
    run: text("run", "RUN", "Those of this run (default: the last rejection of each source that is not stored yet)")
  }
  const rejects = Command.make("rejects").pipe(
    Command.withDescription("Sources that were not stored: why, and how to mend them and bring them in"),
    Command.withSubcommands([
      Command.make(
        "list",
        ofRun,
        Effect.fnUntraced(function* (input) {
          const options = yield* common
          const { runRejectsList } = yield* Effect.promise(() => import("./commands/Rejects.ts"))
          yield* runRejectsList(session, { ...options, run: Option.getOrUndefined(input.run) })
        })
      ).pipe(Command.withAlias("ls"), Command.withDescription("List what was not stored, and why")),
      Command.make(
        "show",
        { source: Argument.String("SOURCE").pipe(Argument.withDescription("Path or name of a source")), ...ofRun },
        Effect.fnUntraced(function* (input) {
          const options = yield* common
          const { runRejectsShow } = yield* Effect.promise(() => import("./commands/Rejects.ts"))
          yield* runRejectsShow(session, { ...options, source: input.source, run: Option.getOrUndefined(input.run) })
        })
      ).pipe(Command.withDescription("Show all that is wrong with one")),
      Command.make(
        "export",
        { out: text("out", "DIR", "A new folder for the files to mend"), ...ofRun, ...keys },
        Effect.fnUntraced(function* (input) {
          const options = yield* common
          const { runRejectsExport } = yield* Effect.promise(() => import("./commands/Rejects.ts"))
          yield* runRejectsExport(session, {
            ...options,
            out: Option.getOrUndefined(input.out),
            run: Option.getOrUndefined(input.run),
            passphraseFile: Option.getOrUndefined(input.passphraseFile),
            identityFile: Option.getOrUndefined(input.identityFile)
          })
        })
      ).pipe(Command.withDescription("Write their original bytes into a folder, to be mended there")),
      Command.make(
        "replay",
        {
          folder: Argument.String("DIR").pipe(Argument.withDescription("Folder that `rejects export` wrote")),
          onConflict,
          dryRun: on("dry-run", "Read and report everything, write nothing").pipe(Flag.withAlias("n")),
          noBackup: on("no-backup", "Copy no source before writing")
        },
        Effect.fnUntraced(function* (input) {
          const options = yield* common
          const { runRejectsReplay } = yield* Effect.promise(() => import("./commands/Rejects.ts"))
          yield* runRejectsReplay(session, {
            ...options,
            ...input,
            onConflict: Option.getOrUndefined(input.onConflict)
          })
        })
      ).pipe(Command.withDescription("Migrate the mended files; the report says what each was"))
    ])
  )

  const passphraseFile = text(
    "backup-passphrase-file",
    "FILE",
    "The passphrase again, where the copies of the run are encrypted with one"
  )
  const resume = Command.make(
    "resume",
    {
      run: Argument.String("RUN").pipe(
        Argument.withDescription("Id of a run, or how it begins (default: the last one that was cut short)"),
        Argument.optional
      ),
      passphraseFile
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runResume } = yield* Effect.promise(() => import("./commands/Resume.ts"))
      yield* runResume(session, {
        ...options,
        run: Option.getOrUndefined(input.run),
        passphraseFile: Option.getOrUndefined(input.passphraseFile)
      })
    })
  ).pipe(
    Command.withDescription(
      "Go on with a run that was interrupted or killed, with the same options; nothing is stored twice"
    ),
    Command.withExamples([{ command: "mallard resume", description: "Go on with the last one" }])
  )
  const retry = Command.make(
    "retry",
    {
      run: Argument.String("RUN").pipe(Argument.withDescription("Id of a run, how it begins, or `last`")),
      onConflict,
      passphraseFile
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runRetry } = yield* Effect.promise(() => import("./commands/Resume.ts"))
      yield* runRetry(session, {
        ...options,
        run: input.run,
        onConflict: Option.getOrUndefined(input.onConflict),
        passphraseFile: Option.getOrUndefined(input.passphraseFile)
      })
    })
  ).pipe(
    Command.withDescription("Take again what a run rejected or failed to store, and nothing else"),
    Command.withExamples([{ command: "mallard retry last", description: "After mending the files where they are" }])
  )

  const plan = Command.make(
    "plan",
    {
      paths: Argument.String("PATH").pipe(
        Argument.withDescription("Files and folders (default: cohorts, scenarios, workspaces in ~/.healthsim)"),
        Argument.variadic()
      ),
      onConflict,
      out: text("out", "FILE", "Write the plan to this file, for `mallard migrate --plan FILE`"),
      ...judging,
      noBackup: on("no-backup", "Plan without copies of the sources")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runPlan } = yield* Effect.promise(() => import("./commands/Plan.ts"))
      yield* runPlan(session, {
        ...options,
        ...input,
        onConflict: Option.getOrUndefined(input.onConflict),
        rules: Option.getOrUndefined(input.rules),
        maxRejects: Option.getOrUndefined(input.maxRejects),
        out: Option.getOrUndefined(input.out)
      })
    })
  ).pipe(
    Command.withDescription("Analyse sources and decide for each what a run would do; nothing is written but the plan"),
    Command.withExamples([
      { command: "mallard plan old-cohorts --out plan.json", description: "Plan, then look at it" },
      { command: "mallard migrate --plan plan.json", description: "Carry it out" }
    ])
  )

  const statusCommand = Command.make(
    "status",
    {
      paths: Argument.String("PATH").pipe(
        Argument.withDescription("Files and folders (default: all that runs were given)"),
        Argument.variadic()
      ),
      check: on("check", "End with 5 when something is pending")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runStatus } = yield* Effect.promise(() => import("./commands/Status.ts"))
      yield* runStatus(session, { ...options, ...input })
    })
  ).pipe(
    Command.withDescription(
      "Say what is unfinished, and which sources are new, changed, waiting or gone; nothing is written"
    ),
    Command.withExamples([
      { command: "mallard status", description: "Look at all that was ever migrated" },
      { command: "mallard status old-cohorts --check", description: "Fail if a run would find something to do" }
    ])
  )

  const test = on("test", "Carry it out, compare, take it back, and tell what would be done")
  const rollback = Command.make(
    "rollback",
    {
      run: Argument.String("RUN").pipe(Argument.withDescription("Id of a run, how it begins, or `last`")),
      cascade: on("cascade", "Undo cohorts too that later runs have changed, and those changes with it"),
      test
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runRollback } = yield* Effect.promise(() => import("./commands/Rollback.ts"))
      yield* runRollback(session, { ...options, ...input })
    })
  ).pipe(
    Command.withDescription("Undo a run: each cohort that it changed becomes what it was before; nothing is deleted"),
    Command.withExamples([
      { command: "mallard rollback last", description: "Undo the last run" },
      { command: "mallard rollback 3f9c2a70 --test", description: "See what undoing a run would do" }
    ])
  )

  const point = { name: Argument.String("NAME").pipe(Argument.withDescription("Name of a savepoint")) }
  const savepoint = Command.make("savepoint").pipe(
    Command.withDescription("Moments that all cohorts can be given back from"),
    Command.withSubcommands([
      Command.make(
        "create",
        point,
        Effect.fnUntraced(function* (input) {
          const options = yield* common
          const { runSavepointCreate } = yield* Effect.promise(() => import("./commands/Rollback.ts"))
          yield* runSavepointCreate(session, { ...options, ...input })
        })
      ).pipe(Command.withDescription("Remember how all cohorts are now; nothing is copied")),
      Command.make(
        "list",
        {},
        Effect.fnUntraced(function* () {
          const options = yield* common
          const { runSavepointList } = yield* Effect.promise(() => import("./commands/Rollback.ts"))
          yield* runSavepointList(session, options)
        })
      ).pipe(Command.withAlias("ls"), Command.withDescription("List the savepoints")),
      Command.make(
        "restore",
        { ...point, test },
        Effect.fnUntraced(function* (input) {
          const options = yield* common
          const { runSavepointRestore } = yield* Effect.promise(() => import("./commands/Rollback.ts"))
          yield* runSavepointRestore(session, { ...options, ...input })
        })
      ).pipe(Command.withDescription("Make all cohorts what they were then, as a run of its own"))
    ])
  )

  const list = Command.make(
    "list",
    {
      tag: text("tag", "TAG", "Only cohorts with this tag"),
      search: text("search", "TEXT", "Only cohorts with this text in name or description, in any case"),
      product: text("product", "NAME", "Only cohorts of this product"),
      limit: whole("limit", "NUMBER", "At most so many, the latest saved first"),
      cursor: text("cursor", "CURSOR", "Go on where the page before ended")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runList } = yield* Effect.promise(() => import("./commands/List.ts"))
      yield* runList(session, {
        ...options,
        tag: Option.getOrUndefined(input.tag),
        search: Option.getOrUndefined(input.search),
        product: Option.getOrUndefined(input.product),
        limit: Option.getOrUndefined(input.limit),
        cursor: Option.getOrUndefined(input.cursor)
      })
    })
  ).pipe(
    Command.withAlias("ls"),
    Command.withDescription("List the cohorts"),
    Command.withExamples([
      { command: "mallard list", description: "List the cohorts in the default database" },
      { command: "mallard list --tag chronic --search diabetes", description: "List some of them" },
      { command: "mallard list --json", description: "The same for a program" }
    ])
  )

  const show = Command.make(
    "show",
    { name },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runShow } = yield* Effect.promise(() => import("./commands/Show.ts"))
      yield* runShow(session, { ...options, name: input.name })
    })
  ).pipe(
    Command.withDescription("Show what a cohort is, where it came from and what was remarked"),
    Command.withExamples([{ command: "mallard show diabetes-2024", description: "Show one cohort" }])
  )

  const exportCommand = Command.make(
    "export",
    {
      name: Argument.String("NAME").pipe(Argument.withDescription("Name or id of a cohort"), Argument.optional),
      out: text("out", "PATH", "Write to this file, or to this folder a cohort of several files"),
      all: on("all", "Export every cohort, into the folder of --out"),
      compact: on("compact", "Without white space: exactly the compact text"),
      ascii: on("ascii", "Escape everything outside ASCII"),
      format: Flag.Literals("format", ["documents", "sharing", "v1", "ndjson", "csv", "parquet"]).pipe(
        Flag.withDescription(
          "Form: documents as they were (default), without keys that start with _, HealthSim's file, tables"
        ),
        Flag.optional
      )
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runExport } = yield* Effect.promise(() => import("./commands/Export.ts"))
      yield* runExport(session, {
        ...options,
        ...input,
        name: Option.getOrUndefined(input.name),
        out: Option.getOrUndefined(input.out),
        format: Option.getOrUndefined(input.format)
      })
    })
  ).pipe(
    Command.withDescription("Give back the JSON of a cohort"),
    Command.withExamples([
      { command: "mallard export diabetes-2024", description: "Print a cohort" },
      { command: "mallard export diabetes-2024 --out diabetes.json", description: "Write it to a file" },
      { command: "mallard export --all --out exported", description: "Write every cohort into a folder" },
      { command: "mallard export diabetes-2024 --format v1 --out diabetes.json", description: "As HealthSim reads it" },
      { command: "mallard export diabetes-2024 --format parquet --out tables", description: "A file per kind" }
    ])
  )

  const history = Command.make(
    "history",
    { name },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runHistory } = yield* Effect.promise(() => import("./commands/History.ts"))
      yield* runHistory(session, { ...options, name: input.name })
    })
  ).pipe(
    Command.withDescription("Show the revisions of a cohort, also of a deleted one"),
    Command.withExamples([{ command: "mallard history diabetes-2024", description: "Show every revision" }])
  )

  const load = Command.make(
    "load",
    {
      name,
      kind: text("kind", "KIND", "Only entities of this kind, as in claim; json for what is no entity"),
      revision: whole("revision", "NUMBER", "Of this revision (default: the latest)"),
      limit: whole("limit", "NUMBER", "At most so many (default: 100 where it is paged)"),
      cursor: text("cursor", "CURSOR", "Go on where the page before ended")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runLoad } = yield* Effect.promise(() => import("./commands/Load.ts"))
      yield* runLoad(session, {
        ...options,
        name: input.name,
        kind: Option.getOrUndefined(input.kind),
        revision: Option.getOrUndefined(input.revision),
        limit: Option.getOrUndefined(input.limit),
        cursor: Option.getOrUndefined(input.cursor)
      })
    })
  ).pipe(
    Command.withDescription("Print the entities of a cohort by type, as JSON; with a flag of its own, a page of them"),
    Command.withExamples([
      { command: "mallard load diabetes-2024", description: "All entities, spelt as they were stored" },
      { command: "mallard load diabetes-2024 --kind claim --limit 10", description: "The first ten claims" }
    ])
  )

  const saving = {
    description: text("description", "TEXT", "Description (default: what the document says)"),
    tag: many("tag", "TAG", "Tag, instead of the document's (may be repeated)"),
    overwrite: on("overwrite", "Make this the next revision of a cohort of that name")
  }

  const save = Command.make(
    "save",
    {
      name: Argument.String("NAME").pipe(Argument.withDescription("Name of the cohort")),
      file: Argument.String("FILE").pipe(Argument.withDescription("JSON file, - for standard input")),
      ...saving
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runSave } = yield* Effect.promise(() => import("./commands/Save.ts"))
      yield* runSave(session, {
        ...options,
        file: input.file,
        name: input.name,
        description: Option.getOrUndefined(input.description),
        tags: input.tag,
        overwrite: input.overwrite
      })
    })
  ).pipe(
    Command.withDescription("Save JSON as a cohort under a name"),
    Command.withExamples([
      { command: "mallard save diabetes-2024 diabetes.json --tag chronic", description: "Save a file" },
      { command: "mallard save diabetes-2024 - --overwrite", description: "Save standard input as its next revision" }
    ])
  )

  const importCommand = Command.make(
    "import",
    {
      file: Argument.String("FILE").pipe(Argument.withDescription("JSON file")),
      as: text("as", "NAME", "Name of the cohort (default: the document's, else the file's)"),
      ...saving
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runSave } = yield* Effect.promise(() => import("./commands/Save.ts"))
      yield* runSave(session, {
        ...options,
        file: input.file,
        name: Option.getOrUndefined(input.as),
        description: Option.getOrUndefined(input.description),
        tags: input.tag,
        overwrite: input.overwrite
      })
    })
  ).pipe(
    Command.withDescription("Save one cohort file under its own name or another; migrate takes whole folders"),
    Command.withExamples([
      { command: "mallard import diabetes.json", description: "Import a file that somebody shared" },
      { command: "mallard import diabetes.json --as diabetes-copy", description: "Import it under another name" }
    ])
  )

  const deleteCommand = Command.make(
    "delete",
    { name },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runDelete } = yield* Effect.promise(() => import("./commands/Change.ts"))
      yield* runDelete(session, { ...options, name: input.name })
    })
  ).pipe(
    Command.withAlias("rm"),
    Command.withDescription("Delete a cohort by a further revision; undelete brings it back"),
    Command.withExamples([{ command: "mallard delete diabetes-2024", description: "Delete a cohort" }])
  )

  const undelete = Command.make(
    "undelete",
    {
      name,
      revision: whole("revision", "NUMBER", "Bring back this revision (default: the last before it was deleted)"),
      as: text("as", "NAME", "Under this name (default: the one it had)")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runUndelete } = yield* Effect.promise(() => import("./commands/Change.ts"))
      yield* runUndelete(session, {
        ...options,
        name: input.name,
        revision: Option.getOrUndefined(input.revision),
        newName: Option.getOrUndefined(input.as)
      })
    })
  ).pipe(
    Command.withDescription("Bring back a deleted cohort, or a former revision of any"),
    Command.withExamples([
      { command: "mallard undelete diabetes-2024", description: "Bring back a deleted cohort" },
      { command: "mallard undelete diabetes-2024 --revision 2", description: "Make revision 2 the latest again" }
    ])
  )

  const newName = Argument.String("NEW").pipe(Argument.withDescription("New name"))

  const rename = Command.make(
    "rename",
    { name, newName },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runRename } = yield* Effect.promise(() => import("./commands/Change.ts"))
      yield* runRename(session, { ...options, ...input })
    })
  ).pipe(
    Command.withAlias("mv"),
    Command.withDescription("Give a cohort another name"),
    Command.withExamples([{ command: "mallard rename diabetes-2024 diabetes", description: "Rename a cohort" }])
  )

  const tag = Command.make(
    "tag",
    {
      name: Argument.String("NAME").pipe(Argument.withDescription("Name or id of a cohort"), Argument.optional),
      add: many("add", "TAG", "Tag to add (may be repeated)"),
      remove: many("remove", "TAG", "Tag to remove (may be repeated)")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runTag } = yield* Effect.promise(() => import("./commands/Change.ts"))
      yield* runTag(session, { ...options, ...input, name: Option.getOrUndefined(input.name) })
    })
  ).pipe(
    Command.withDescription("Show, add and remove tags"),
    Command.withExamples([
      { command: "mallard tag", description: "Show all tags" },
      { command: "mallard tag diabetes-2024 --add chronic --remove draft", description: "Change those of a cohort" }
    ])
  )

  const clone = Command.make(
    "clone",
    { name, newName },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runClone } = yield* Effect.promise(() => import("./commands/Change.ts"))
      yield* runClone(session, { ...options, ...input })
    })
  ).pipe(
    Command.withAlias("cp"),
    Command.withDescription("Make a cohort of the same content under another name"),
    Command.withExamples([{ command: "mallard clone diabetes-2024 diabetes-test", description: "Clone a cohort" }])
  )

  const merge = Command.make(
    "merge",
    {
      names: Argument.String("NAME").pipe(
        Argument.withDescription("Names or ids of two or more cohorts"),
        Argument.variadic()
      ),
      into: Flag.String("into").pipe(Flag.withMetavar("NAME"), Flag.withDescription("Name of the cohort to make")),
      conflict: Flag.Literals("conflict", ["skip", "overwrite", "rename"]).pipe(
        Flag.withDescription(
          "Of entities of one kind and id: the first stays, the last stays, or later ones get another id"
        ),
        Flag.withDefault("skip")
      ),
      overwrite: on("overwrite", "Make this the next revision of a cohort of that name")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runMerge } = yield* Effect.promise(() => import("./commands/Change.ts"))
      yield* runMerge(session, { ...options, ...input })
    })
  ).pipe(
    Command.withDescription("Make one cohort of the entities of several"),
    Command.withExamples([
      { command: "mallard merge diabetes heart --into chronic", description: "Merge two cohorts" },
      { command: "mallard merge diabetes heart --into chronic --conflict rename -v", description: "Keep everything" }
    ])
  )

  const diff = Command.make(
    "diff",
    {
      name,
      from: whole("from", "NUMBER", "Earlier revision (default: the one before)"),
      to: whole("to", "NUMBER", "Later revision (default: the latest)"),
      with: text("with", "NAME", "Compare with this cohort")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runDiff } = yield* Effect.promise(() => import("./commands/Diff.ts"))
      yield* runDiff(session, {
        ...options,
        name: input.name,
        from: Option.getOrUndefined(input.from),
        to: Option.getOrUndefined(input.to),
        with: Option.getOrUndefined(input.with)
      })
    })
  ).pipe(
    Command.withDescription("Show what differs between two revisions, or two cohorts"),
    Command.withExamples([
      { command: "mallard diff diabetes-2024", description: "What the last change did" },
      { command: "mallard diff diabetes-2024 --from 1 --to 3", description: "Between two revisions" },
      { command: "mallard diff diabetes-2024 --with diabetes-test", description: "Between two cohorts" }
    ])
  )

  const summary = Command.make(
    "summary",
    {
      name,
      samples: Flag.Int("samples").pipe(
        Flag.withMetavar("NUMBER"),
        Flag.withDescription("Samples per kind (default: 3)"),
        Flag.withDefault(3)
      ),
      strategy: Flag.Literals("strategy", ["diverse", "random", "recent"]).pipe(
        Flag.withDescription("Which samples"),
        Flag.withDefault("diverse")
      ),
      seed: text("seed", "TEXT", "Other random samples")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runSummary } = yield* Effect.promise(() => import("./commands/Summary.ts"))
      yield* runSummary(session, { ...options, ...input, seed: Option.getOrUndefined(input.seed) })
    })
  ).pipe(
    Command.withDescription("Show counts, ranges, distributions and samples of a cohort"),
    Command.withExamples([
      { command: "mallard summary diabetes-2024", description: "Summarise a cohort" },
      { command: "mallard summary diabetes-2024 --samples 0 --json", description: "Without samples, for a program" }
    ])
  )

  const gc = Command.make(
    "gc",
    {
      names: Argument.String("NAME").pipe(
        Argument.withDescription("Names or ids of deleted cohorts (default: all of them)"),
        Argument.variadic()
      ),
      purge: on("purge", "Remove them for good; needs --yes")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { yes } = yield* root
      const { runGc } = yield* Effect.promise(() => import("./commands/Gc.ts"))
      yield* runGc(session, { ...options, ...input, yes })
    })
  ).pipe(
    Command.withDescription("Say what deleted cohorts still hold, and remove it for good with --purge"),
    Command.withExamples([
      { command: "mallard gc", description: "See what would go" },
      { command: "mallard gc --purge --yes", description: "Remove it: this cannot be undone" }
    ])
  )

  const queryCommand = Command.make(
    "query",
    {
      sql: Argument.String("SQL").pipe(
        Argument.withDescription("One SELECT over the views; `-` reads it from standard input"),
        Argument.optional
      ),
      cohort: text("cohort", "NAME", "See the rows of this cohort only"),
      limit: Flag.Int("limit").pipe(Flag.withDescription("Rows of a page (default: 100)"), Flag.withDefault(100)),
      cursor: text("cursor", "CURSOR", "Go on where the page before ended"),
      timeout: Flag.Finite("timeout").pipe(
        Flag.withMetavar("SECONDS"),
        Flag.withDescription("Give up after this time (default: 10)"),
        Flag.withDefault(10)
      ),
      memory: text("memory", "SIZE", "Memory that the query may use (default: 1GiB)"),
      csv: on("csv", "Print CSV"),
      tables: on("tables", "List the views with their columns instead")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runQuery } = yield* Effect.promise(() => import("./commands/Query.ts"))
      yield* runQuery(session, {
        ...options,
        ...input,
        sql: Option.getOrUndefined(input.sql),
        cohort: Option.getOrUndefined(input.cohort),
        cursor: Option.getOrUndefined(input.cursor),
        memory: Option.getOrUndefined(input.memory)
      })
    })
  ).pipe(
    Command.withAlias("sql"),
    Command.withDescription("Ask the database in SQL; nothing can be changed by it"),
    Command.withExamples([
      { command: "mallard query --tables", description: "See which views and columns there are" },
      {
        command: "mallard query 'SELECT gender, count(*) FROM patients GROUP BY ALL'",
        description: "Count patients by gender"
      },
      {
        command: "mallard query 'FROM encounters' --cohort diabetes-2024 --csv",
        description: "The encounters of one cohort as CSV"
      }
    ])
  )

  const mcp = Command.make(
    "mcp",
    {
      http: Flag.Int("http").pipe(
        Flag.withMetavar("PORT"),
        Flag.withDescription("Serve over HTTP on this port; 0 takes any (default: standard input and output)"),
        Flag.optional
      ),
      host: text("host", "ADDRESS", "Address to listen on (default: 127.0.0.1)"),
      tokenFile: text("token-file", "FILE", "Where the token is kept (default: ~/.healthsim/mallard-mcp.token)"),
      root: Flag.String("root").pipe(
        Flag.withMetavar("DIR"),
        Flag.withDescription("Folder that files may be imported from and exported to (may be repeated)"),
        Flag.atLeast(0)
      ),
      readOnly: on("read-only", "Offer no tool that changes anything"),
      allowQuery: on("allow-query", "Offer query_cohort, which answers SQL"),
      oldNames: on("old-names", "Offer the tools by HealthSim's older names too")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runMcp } = yield* Effect.promise(() => import("./commands/Mcp.ts"))
      yield* runMcp(
        session,
        {
          ...options,
          ...input,
          http: Option.getOrUndefined(input.http),
          host: Option.getOrUndefined(input.host),
          tokenFile: Option.getOrUndefined(input.tokenFile)
        },
        session.program.split(" ").at(-1) ?? ""
      )
    })
  ).pipe(
    Command.withDescription("Serve the cohorts to assistants by the Model Context Protocol"),
    Command.withExamples([
      { command: "mallard mcp", description: "What an assistant starts; see docs/mcp.md" },
      { command: "mallard mcp --root ~/cohorts --allow-query", description: "With files of a folder, and SQL" },
      { command: "mallard mcp --http 8765", description: "For several assistants at once" }
    ])
  )

  return root.pipe(
    Command.withSubcommands([
      {
        group: "Migration",
        commands: [
          plan,
          migrate,
          statusCommand,
          resume,
          retry,
          verify,
          report,
          runs,
          rejects,
          rollback,
          savepoint,
          backup,
          doctor
        ]
      },
      { group: "Cohorts", commands: [list, show, queryCommand, summary, history, diff, load, exportCommand] },
      {
        group: "Changes",
        commands: [save, importCommand, rename, tag, clone, merge, deleteCommand, undelete, gc]
      },
      { group: "Servers", commands: [mcp] }
    ]),
    Command.withExamples([
      { command: "mallard migrate old-cohorts", description: "Bring a folder into the default database" },
      { command: "mallard list", description: "See what is there" },
      { command: "mallard export diabetes-2024", description: "Get a cohort back as JSON" }
    ]),
    Command.withGlobalFlags([version(session)])
  )
}
