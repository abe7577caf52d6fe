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

const shared = {
  db: text("db", "FILE", "Database (default: $MALLARD_DB, $HEALTHSIM_DB_PATH, ~/.healthsim/healthsim.duckdb)"),
  json: on("json", "Print one JSON document and nothing else"),
  quiet: on("quiet", "Print problems and the last line only").pipe(Flag.withAlias("q")),
  verbose: on("verbose", "Print every remark").pipe(Flag.withAlias("v")),
  yes: on("yes", "Confirm everything that would be asked").pipe(Flag.withAlias("y")),
  noColor: on("no-color", "Print without colours")
}

const name = Argument.String("NAME").pipe(Argument.withDescription("Name or id of a cohort"))

/** The whole command line. */
export const makeProgram = (session: Session) => {
  const root = Command.make("mallard").pipe(
    Command.withSharedFlags(shared),
    Command.withDescription("Legacy JSON into DuckDB, the same JSON back, with proof")
  )
  const common = Effect.map(root, ({ db, json, quiet, verbose }): CommonOptions => ({
    db: Option.getOrUndefined(db),
    json,
    quiet,
    verbose
  }))

  const migrate = Command.make(
    "migrate",
    {
      paths: Argument.String("PATH").pipe(
        Argument.withDescription("Files and folders (default: cohorts, scenarios, workspaces in ~/.healthsim)"),
        Argument.variadic()
      ),
      onConflict: Flag.Literals("on-conflict", ["fail", "skip", "replace", "rename"]).pipe(
        Flag.withDescription("What to do when a cohort of that name exists with other content (default: fail)"),
        Flag.optional
      ),
      overwrite: on("overwrite", "Same as --on-conflict replace"),
      dryRun: on("dry-run", "Read and report everything, write nothing").pipe(Flag.withAlias("n")),
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
      showValues: on("show-values", "Show keys outside the known vocabulary").pipe(Flag.withHidden)
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runMigrate } = yield* Effect.promise(() => import("./commands/Migrate.ts"))
      yield* runMigrate(session, {
        ...options,
        ...input,
        onConflict: Option.getOrUndefined(input.onConflict),
        memory: Option.getOrUndefined(input.memory)
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

  const list = Command.make(
    "list",
    {},
    Effect.fnUntraced(function* () {
      const options = yield* common
      const { runList } = yield* Effect.promise(() => import("./commands/List.ts"))
      yield* runList(session, options)
    })
  ).pipe(
    Command.withAlias("ls"),
    Command.withDescription("List the cohorts"),
    Command.withExamples([
      { command: "mallard list", description: "List the cohorts in the default database" },
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
      ascii: on("ascii", "Escape everything outside ASCII")
    },
    Effect.fnUntraced(function* (input) {
      const options = yield* common
      const { runExport } = yield* Effect.promise(() => import("./commands/Export.ts"))
      yield* runExport(session, {
        ...options,
        ...input,
        name: Option.getOrUndefined(input.name),
        out: Option.getOrUndefined(input.out)
      })
    })
  ).pipe(
    Command.withDescription("Give back the JSON of a cohort"),
    Command.withExamples([
      { command: "mallard export diabetes-2024", description: "Print a cohort" },
      { command: "mallard export diabetes-2024 --out diabetes.json", description: "Write it to a file" },
      { command: "mallard export --all --out exported", description: "Write every cohort into a folder" }
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
      { group: "Migration", commands: [migrate, verify] },
      { group: "Cohorts", commands: [list, show, queryCommand, exportCommand] },
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
