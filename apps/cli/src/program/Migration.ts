/** The commands that migrate, look at migrations, and prove them. */
import { Argument, Command, Flag } from "effect/cli"
import {
  backup,
  dryRun,
  jobs,
  limits,
  memory,
  on,
  onConflict,
  optional,
  optionalArgument,
  output,
  passphrase,
  path,
  progress,
  showValues,
  sources,
  text,
  isNamed
} from "./Flags.ts"
import type { MakeCommand } from "./Root.ts"

const judging = {
  strict: on("strict", "Reject what would only be remarked"),
  rules: path("rules", "FILE", "Check the content by the rules in this JSON file; see docs/plan.md"),
  maxRejects: text("max-rejects", "N|P%", "Stop and undo the run when more sources than this are rejected")
}

/** Planning, migrating, going on, proving, reporting. */
export const migrationCommands = (command: MakeCommand) => {
  const plan = command(
    "plan",
    {
      paths: sources,
      onConflict,
      out: path("out", "FILE", "Write the plan to this file (-: standard output), for `mallard migrate --plan FILE`"),
      ...judging,
      ...limits,
      jobs,
      memory: memory(),
      noBackup: on("no-backup", "Plan without copies of the sources"),
      showValues
    },
    async () => (await import("../commands/Plan.ts")).runPlan
  ).pipe(
    Command.withDescription("Analyse sources and decide for each what a run would do; nothing is written but the plan"),
    Command.withExamples([
      { command: "mallard plan old-cohorts --out plan.json", description: "Plan, then look at it" },
      { command: "mallard migrate --plan plan.json", description: "Carry it out" }
    ])
  )

  const migrate = command(
    "migrate",
    {
      paths: sources,
      onConflict,
      overwrite: on("overwrite", "Same as --on-conflict replace"),
      dryRun,
      plan: path(
        "plan",
        "FILE",
        "Do exactly what `mallard plan --out FILE` decided, and refuse what has changed since"
      ),
      ...judging,
      noVerify: on("no-verify", "Leave out the proof of what was stored; `mallard verify` gives it later"),
      ...limits,
      jobs,
      memory: memory(),
      ...backup,
      moveOriginals: path(
        "move-originals",
        "DIR",
        "Move what is stored and proven to this folder; without it originals stay"
      ),
      progress,
      report: path("report", "FILE", "Write the report to this file too: .html, .json, .md, .xml (JUnit) or .txt"),
      showValues
    },
    async () => (await import("../commands/Migrate.ts")).runMigrate
  ).pipe(
    Command.withDescription("Bring legacy JSON into the database, and verify it"),
    Command.withExamples([
      { command: "mallard migrate", description: "Migrate what HealthSim keeps in ~/.healthsim" },
      { command: "mallard migrate old-cohorts --db cohorts.duckdb", description: "Migrate a folder into a database" },
      { command: "mallard migrate old-cohorts --dry-run", description: "See what would happen" }
    ])
  )

  const statusCommand = command(
    "status",
    {
      paths: Argument.String("PATH").pipe(
        Argument.withDescription("Files and folders (default: all that runs were given)"),
        Argument.variadic()
      ),
      check: on("check", "End with 5 when something is pending")
    },
    async () => (await import("../commands/Status.ts")).runStatus
  ).pipe(
    Command.withDescription(
      "Say what is unfinished, and which sources are new, changed, waiting or gone; nothing is written"
    ),
    Command.withExamples([
      { command: "mallard status", description: "Look at all that was ever migrated" },
      { command: "mallard status old-cohorts --check", description: "Fail if a run would find something to do" }
    ])
  )

  const resume = command(
    "resume",
    {
      run: Argument.String("RUN").pipe(
        Argument.withDescription("Id of a run, or how it begins (default: the last one that was cut short)"),
        optionalArgument
      ),
      ...passphrase,
      progress
    },
    async () => (await import("../commands/Resume.ts")).runResume
  ).pipe(
    Command.withDescription(
      "Go on with a run that was interrupted or killed, with the same options; nothing is stored twice"
    ),
    Command.withExamples([{ command: "mallard resume", description: "Go on with the last one" }])
  )

  const retry = command(
    "retry",
    {
      run: Argument.String("RUN").pipe(Argument.withDescription("Id of a run, how it begins, or `last`")),
      onConflict,
      ...passphrase,
      progress
    },
    async () => (await import("../commands/Resume.ts")).runRetry
  ).pipe(
    Command.withDescription("Take again what a run rejected or failed to store, and nothing else"),
    Command.withExamples([{ command: "mallard retry last", description: "After mending the files where they are" }])
  )

  const verify = command(
    "verify",
    {
      sources: Flag.String("source").pipe(
        Flag.withMetavar("PATH"),
        isNamed,
        Flag.withDescription("Compare with these files and folders too (may be repeated)"),
        Flag.atLeast(0)
      ),
      jobs,
      memory: memory(),
      progress
    },
    async () => (await import("../commands/Verify.ts")).runVerify
  ).pipe(
    Command.withDescription("Prove that the database still holds what was migrated"),
    Command.withExamples([
      { command: "mallard verify", description: "Render every document and check every row" },
      { command: "mallard verify --source old-cohorts", description: "Compare with the sources as well" }
    ])
  )

  const report = command(
    "report",
    {
      run: Argument.String("RUN").pipe(
        Argument.withDescription("Id of a run, or how it begins (default: the last run)"),
        optionalArgument
      ),
      format: Flag.Literals("format", ["text", "json", "html", "md", "junit"]).pipe(
        Flag.withDescription("Form of the report (default: by the name of --out, else text)"),
        optional
      ),
      out: output("FILE", "Write to this file (-: standard output)")
    },
    async () => (await import("../commands/Report.ts")).runReport
  ).pipe(
    Command.withDescription("Report on a run, for people or for programs"),
    Command.withExamples([
      { command: "mallard report", description: "What became of each source in the last run" },
      { command: "mallard report --out report.html", description: "The same as a page with charts" }
    ])
  )

  const runs = command("runs", {}, async () => (await import("../commands/Runs.ts")).runRuns).pipe(
    Command.withDescription("List the runs: who ran what, when, with which options and result"),
    Command.withExamples([{ command: "mallard runs", description: "List all runs, the last one last" }])
  )

  return [plan, migrate, statusCommand, resume, retry, verify, report, runs]
}
