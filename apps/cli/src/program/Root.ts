/** The command that all others belong to, its flags, and the one way in which others are made. */
import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { tellPrograms } from "../Failure.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { on, path, text } from "./Flags.ts"

const shared = {
  db: path("db", "FILE", "Database (default: $MALLARD_DB, $HEALTHSIM_DB_PATH, ~/.healthsim/healthsim.duckdb)"),
  json: on("json", "Print one JSON document and nothing else"),
  wait: text("wait", "SECONDS", "Wait while another program has the database open (no number: as long as it takes)"),
  quiet: on("quiet", "Print problems and the last line only").pipe(Flag.withAlias("q")),
  verbose: on("verbose", "Print every remark").pipe(Flag.withAlias("v")),
  yes: on("yes", "Confirm everything that would be asked").pipe(Flag.withAlias("y")),
  noColor: on("no-color", "Print without colours"),
  otlp: text("otlp", "URL", "Send traces and metrics to this collector (no URL: $OTEL_EXPORTER_OTLP_ENDPOINT)")
}

/** What a command does with the options of all commands and its own input. */
type Run<Input, E> = (session: Session, command: CommonOptions & Input) => Effect.Effect<void, E>

/** `mallard` itself, and what makes its commands. */
export const makeRoot = (session: Session) => {
  const root = Command.make("mallard").pipe(
    Command.withSharedFlags(shared),
    Command.withDescription("Legacy JSON into DuckDB, the same JSON back, with proof")
  )
  const common = Effect.map(root, ({ db, json, otlp, quiet, verbose, wait, yes }): CommonOptions => {
    session.named.db = db
    session.lock.wait = wait
    session.telemetry.url = otlp
    if (json) session.reading.onCrash = (_, failure) => tellPrograms(session.terminal, failure)
    return { db, json, quiet, verbose, yes }
  })
  /** A command whose module is loaded only when it runs: help is there at once. */
  const command = <const Name extends string, const Config extends Command.Command.Config, E>(
    name: Name,
    config: Config,
    load: () => Promise<Run<Command.Command.Config.Infer<Config>, E>>
  ) =>
    Command.make(
      name,
      config,
      Effect.fnUntraced(function* (input) {
        const options = yield* common
        session.named.takesMemory = "memory" in config
        const run = yield* Effect.promise(load)
        const ran = run(session, Object.assign(options, input))
        if (session.telemetry.url === undefined) return yield* ran
        const { withTelemetry } = yield* Effect.promise(() => import("../Telemetry.ts"))
        yield* withTelemetry(session, name, ran)
      })
    )
  return { root, command }
}

export type MakeCommand = ReturnType<typeof makeRoot>["command"]
