/** The commands that show cohorts and give them back. */
import { Argument, Command, Flag } from "effect/cli"
import { cohort, jobs, memory, on, optional, optionalArgument, output, standard, text, whole } from "./Flags.ts"
import type { MakeCommand } from "./Root.ts"

/** Listing, asking, comparing, exporting. */
export const cohortCommands = (command: MakeCommand) => {
  const list = command(
    "list",
    {
      tag: text("tag", "TAG", "Only cohorts with this tag"),
      search: text("search", "TEXT", "Only cohorts with this text in name or description, in any case"),
      product: text("product", "NAME", "Only cohorts of this product"),
      limit: whole("limit", "NUMBER", "At most so many, the latest saved first"),
      cursor: text("cursor", "CURSOR", "Go on where the page before ended")
    },
    async () => (await import("../commands/List.ts")).runList
  ).pipe(
    Command.withAlias("ls"),
    Command.withDescription("List the cohorts"),
    Command.withExamples([
      { command: "mallard list", description: "List the cohorts in the default database" },
      { command: "mallard list --tag chronic --search diabetes", description: "List some of them" },
      { command: "mallard list --json", description: "The same for a program" }
    ])
  )

  const show = command("show", { name: cohort }, async () => (await import("../commands/Show.ts")).runShow).pipe(
    Command.withDescription("Show what a cohort is, where it came from and what was remarked"),
    Command.withExamples([{ command: "mallard show diabetes-2024", description: "Show one cohort" }])
  )

  const queryCommand = command(
    "query",
    {
      sql: Argument.String("SQL").pipe(
        Argument.withDescription("One SELECT over the views; `-` reads it from standard input"),
        optionalArgument
      ),
      cohort: text("cohort", "NAME", "See the rows of this cohort only"),
      limit: standard(Flag.Int("limit").pipe(Flag.withMetavar("NUMBER")), "Rows of a page", 100),
      cursor: text("cursor", "CURSOR", "Go on where the page before ended"),
      timeout: standard(Flag.Finite("timeout").pipe(Flag.withMetavar("SECONDS")), "Give up after this time", 10),
      memory: memory("768MiB"),
      csv: on("csv", "Print CSV"),
      tables: on("tables", "List the views with their columns instead")
    },
    async () => (await import("../commands/Query.ts")).runQuery
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

  const summary = command(
    "summary",
    {
      name: cohort,
      samples: standard(Flag.Int("samples").pipe(Flag.withMetavar("NUMBER")), "Samples per kind", 3),
      strategy: standard(Flag.Literals("strategy", ["diverse", "random", "recent"]), "Which samples", "diverse"),
      seed: text("seed", "TEXT", "Other random samples"),
      memory: memory()
    },
    async () => (await import("../commands/Summary.ts")).runSummary
  ).pipe(
    Command.withDescription("Show counts, ranges, distributions and samples of a cohort"),
    Command.withExamples([
      { command: "mallard summary diabetes-2024", description: "Summarise a cohort" },
      { command: "mallard summary diabetes-2024 --samples 0 --json", description: "Without samples, for a program" }
    ])
  )

  const history = command(
    "history",
    { name: cohort },
    async () => (await import("../commands/History.ts")).runHistory
  ).pipe(
    Command.withDescription("Show the revisions of a cohort, also of a deleted one"),
    Command.withExamples([{ command: "mallard history diabetes-2024", description: "Show every revision" }])
  )

  const diff = command(
    "diff",
    {
      name: cohort,
      from: whole("from", "NUMBER", "Earlier revision (default: the one before)"),
      to: whole("to", "NUMBER", "Later revision (default: the latest)"),
      with: text("with", "NAME", "Compare with this cohort"),
      memory: memory()
    },
    async () => (await import("../commands/Diff.ts")).runDiff
  ).pipe(
    Command.withDescription("Show what differs between two revisions, or two cohorts"),
    Command.withExamples([
      { command: "mallard diff diabetes-2024", description: "What the last change did" },
      { command: "mallard diff diabetes-2024 --from 1 --to 3", description: "Between two revisions" },
      { command: "mallard diff diabetes-2024 --with diabetes-test", description: "Between two cohorts" }
    ])
  )

  const load = command(
    "load",
    {
      name: cohort,
      kind: text("kind", "KIND", "Only entities of this kind, as in claim; json for what is no entity"),
      revision: whole("revision", "NUMBER", "Of this revision (default: the latest)"),
      limit: whole("limit", "NUMBER", "At most so many (default: 100 where it is paged)"),
      cursor: text("cursor", "CURSOR", "Go on where the page before ended"),
      memory: memory()
    },
    async () => (await import("../commands/Load.ts")).runLoad
  ).pipe(
    Command.withDescription("Print the entities of a cohort by type, as JSON; with a flag of its own, a page of them"),
    Command.withExamples([
      { command: "mallard load diabetes-2024", description: "All entities, spelt as they were stored" },
      { command: "mallard load diabetes-2024 --kind claim --limit 10", description: "The first ten claims" }
    ])
  )

  const exportCommand = command(
    "export",
    {
      name: Argument.String("NAME").pipe(Argument.withDescription("Name or id of a cohort"), optionalArgument),
      out: output("PATH", "Write to this file (-: standard output), or to this folder a cohort of several files"),
      all: on("all", "Export every cohort, into the folder of --out"),
      compact: on("compact", "Without white space: exactly the compact text"),
      ascii: on("ascii", "Escape everything outside ASCII"),
      jobs,
      memory: memory(),
      format: Flag.Literals("format", ["documents", "sharing", "v1", "ndjson", "csv", "parquet"]).pipe(
        Flag.withDescription(
          "Form: documents as they were, without keys that start with _, HealthSim's file, tables (default: documents)"
        ),
        optional
      )
    },
    async () => (await import("../commands/Export.ts")).runExport
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

  return [list, show, queryCommand, summary, history, diff, load, exportCommand]
}
