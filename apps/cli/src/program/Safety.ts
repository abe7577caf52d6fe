/** The commands that put right what a migration did or could not do. */
import { Argument, Command } from "effect/cli"
import {
  backup,
  A_PATH,
  dryRun,
  isPath,
  jobs,
  memory,
  on,
  onConflict,
  optionalArgument,
  passphrase,
  path,
  progress,
  showValues,
  text
} from "./Flags.ts"
import type { MakeCommand } from "./Root.ts"

const store = {
  dir: path("backup-dir", "DIR", "Folder of the backups (default: beside the database, FILE.backups)")
}

const keys = {
  ...passphrase,
  identityFile: path("backup-identity", "FILE", "age identity for encrypted copies")
}

const backupId = Argument.String("BACKUP").pipe(
  Argument.withDescription("Id of a backup or of its run, or how it begins (default: the last backup)"),
  optionalArgument
)

const ofRun = {
  run: text("run", "RUN", "Those of this run (default: the last rejection of each source that is not stored yet)")
}

const test = on("test", "Carry it out, compare, take it back, and tell what would be done")

const point = { name: Argument.String("NAME").pipe(Argument.withDescription("Name of a savepoint")) }

/** Rejects, undo, backups, repair. */
export const safetyCommands = (command: MakeCommand) => {
  const rejects = Command.make("rejects").pipe(
    Command.withDescription("Sources that were not stored: why, and how to mend them and bring them in"),
    Command.withSubcommands([
      command("list", ofRun, async () => (await import("../commands/Rejects.ts")).runRejectsList).pipe(
        Command.withAlias("ls"),
        Command.withDescription("List what was not stored, and why")
      ),
      command(
        "show",
        {
          source: Argument.String("SOURCE").pipe(Argument.withDescription("Path or name of a source")),
          ...ofRun,
          showValues
        },
        async () => (await import("../commands/Rejects.ts")).runRejectsShow
      ).pipe(Command.withDescription("Show all that is wrong with one")),
      command(
        "export",
        { out: path("out", "DIR", "A new folder for the files to mend"), ...ofRun, ...keys },
        async () => (await import("../commands/Rejects.ts")).runRejectsExport
      ).pipe(Command.withDescription("Write their original bytes into a folder, to be mended there")),
      command(
        "replay",
        {
          folder: Argument.String("DIR").pipe(
            Argument.withDescription("Folder that `rejects export` wrote"),
            Argument.filter(isPath, () => A_PATH)
          ),
          onConflict,
          dryRun,
          ...backup,
          progress
        },
        async () => (await import("../commands/Rejects.ts")).runRejectsReplay
      ).pipe(Command.withDescription("Migrate the mended files; the report says what each was"))
    ])
  )

  const rollback = command(
    "rollback",
    {
      run: Argument.String("RUN").pipe(Argument.withDescription("Id of a run, how it begins, or `last`")),
      cascade: on("cascade", "Undo cohorts too that later runs have changed, and those changes with it"),
      restoreFiles: on("restore-files", "Put back the originals that are missing, from the backup of the run"),
      test,
      ...keys,
      progress
    },
    async () => (await import("../commands/Rollback.ts")).runRollback
  ).pipe(
    Command.withDescription("Undo a run: each cohort that it changed becomes what it was before; nothing is deleted"),
    Command.withExamples([
      { command: "mallard rollback last", description: "Undo the last run" },
      { command: "mallard rollback 3f9c2a70 --test", description: "See what undoing a run would do" }
    ])
  )

  const savepoint = Command.make("savepoint").pipe(
    Command.withDescription("Moments that all cohorts can be given back from"),
    Command.withSubcommands([
      command("create", point, async () => (await import("../commands/Rollback.ts")).runSavepointCreate).pipe(
        Command.withDescription("Remember how all cohorts are now; nothing is copied")
      ),
      command("list", {}, async () => (await import("../commands/Rollback.ts")).runSavepointList).pipe(
        Command.withAlias("ls"),
        Command.withDescription("List the savepoints")
      ),
      command(
        "restore",
        { ...point, test, progress },
        async () => (await import("../commands/Rollback.ts")).runSavepointRestore
      ).pipe(Command.withDescription("Make all cohorts what they were then, as a run of its own"))
    ])
  )

  const backups = Command.make("backup").pipe(
    Command.withDescription("The copies of sources that runs made before they wrote"),
    Command.withSubcommands([
      command("list", store, async () => (await import("../commands/Backup.ts")).runBackupList).pipe(
        Command.withAlias("ls"),
        Command.withDescription("List the backups")
      ),
      command(
        "verify",
        { backup: backupId, ...store, ...keys, jobs, progress },
        async () => (await import("../commands/Backup.ts")).runBackupVerify
      ).pipe(Command.withDescription("Read every copy and compare it with its SHA-256")),
      command(
        "restore",
        {
          backup: backupId,
          out: path("out", "DIR", "Restore into this folder"),
          inPlace: on("in-place", "Put back what is missing where it was"),
          ...store,
          ...keys,
          progress
        },
        async () => (await import("../commands/Backup.ts")).runBackupRestore
      ).pipe(
        Command.withDescription("Restore files with bytes, modes and times; what is there is never overwritten"),
        Command.withExamples([
          { command: "mallard backup restore --out originals", description: "Restore the last backup" }
        ])
      )
    ])
  )

  const doctor = command(
    "doctor",
    {
      noVerify: on("no-verify", "Leave out rendering every document"),
      quarantineWal: on("quarantine-wal", "Move the write-ahead log away, under a dated name beside the database"),
      rebuild: path("rebuild", "OUT", "Copy all that verifies into a new database, and name what does not"),
      memory: memory()
    },
    async () => (await import("../commands/Doctor.ts")).runDoctor
  ).pipe(
    Command.withDescription("Say what is the matter with a database; changes nothing unless told to repair"),
    Command.withExamples([
      { command: "mallard doctor", description: "Check file, log, tables, documents and backups" },
      { command: "mallard doctor --quarantine-wal", description: "Move a log away that does not fit" },
      { command: "mallard doctor --rebuild rescued.duckdb", description: "Save what is whole of a damaged database" }
    ])
  )

  return [rejects, rollback, savepoint, backups, doctor]
}
