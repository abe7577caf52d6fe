/** The program `mallard`: puts together what the commands need, runs one, and ends with its exit code. */
import { existsSync, readFileSync } from "node:fs"
import { homedir, userInfo } from "node:os"
import { join } from "node:path"
import { Cause, Effect, FileSystem, Layer, Logger, Path, Runtime, Stdio, Terminal as EffectTerminal } from "effect"
import { CliConfig, CliError, CliOutput, Command, GlobalFlag } from "effect/cli"
import { ChildProcessSpawner } from "effect/process"
import {
  CommandFailed,
  describeFailure,
  type Described,
  Ended,
  exitCode,
  signalCode,
  stopped,
  tellPrograms,
  USAGE_ERROR
} from "./Failure.ts"
import { hintsOf, shellQuoted } from "./Hints.ts"
import { makeProgram } from "./Program.ts"
import type { Session, StopRequest } from "./Session.ts"
import { Terminal } from "./Terminal.ts"
import { argumentsOf, invocationOf, isCommentLikeFlag, isLikeFlags, wordsOf } from "./Arguments.ts"
import { printable } from "./Text.ts"

// Databases, exports and what DuckDB spills are readable by their owner alone.
process.umask(0o077)

const manifest: { readonly version: string } = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8")
)
const env = process.env
const calledFrom = env["INIT_CWD"]

/** Where the program was started; a folder that is gone has a name still, below which there is nothing. */
const workingFolder = (): string => {
  try {
    return process.cwd()
  } catch {
    return env["PWD"] ?? "/"
  }
}

/** The user's, also where `HOME` is empty. A user that the system does not list, as in a container, has the root. */
const homeFolder = (): string => {
  try {
    return homedir() || userInfo().homedir
  } catch {
    return "/"
  }
}

const cwd = calledFrom !== undefined && existsSync(calledFrom) ? calledFrom : workingFolder()
const args = argumentsOf(process.argv.slice(2), (path) => existsSync(join(cwd, path)))
const isVerbose = args.includes("--verbose") || args.includes("-v")
const operands = args.indexOf("--")
const flags = args.slice(0, operands < 0 ? undefined : operands)
// On its stdout the MCP server speaks to its client alone.
const isJson = args[0] !== "mcp" && flags.some((arg) => /^--json(?:=(?:true|1|y|yes|on))?$/.test(arg))
const isHelpAsked = flags.some((arg) => arg === "--help" || arg === "-h")
const terminal = new Terminal(env, args.includes("--no-color"))
const stop: StopRequest = { signal: undefined, onSignal: undefined }
const session: Session = {
  terminal,
  env,
  cwd,
  home: homeFolder(),
  program: `mallard ${manifest.version}`,
  invocation: invocationOf(env),
  stop,
  named: { db: undefined, backupDir: undefined, takesMemory: false },
  lock: { wait: undefined },
  reading: { database: undefined, onCrash: undefined },
  telemetry: { url: undefined, onProgress: undefined },
  now: () => performance.now()
}

const fail = (failure: Described) => {
  if (isJson) tellPrograms(terminal, failure)
  terminal.error(
    failure.lines
      .map((line, index) => `${index === 0 ? `${terminal.paintError("red", "mallard:")} ` : ""}${line}\n`)
      .join("")
  )
  return new Ended({ code: failure.code })
}

/** To people, a stop that they asked for needs no words. */
const tellStopped = (): void => {
  terminal.clearStatus()
  if (isJson) fail(stopped(signalCode(stop.signal)))
}

const failUsage = (errors: ReadonlyArray<CliError.CliError>, commandPath: ReadonlyArray<string>) =>
  fail({
    code: exitCode.usage,
    tag: USAGE_ERROR,
    lines: [
      ...errors.flatMap(({ message }) =>
        message
          .replace("a string representing a finite number", "a number")
          .split("\n")
          .filter((line) => line !== "")
          .map(printable)
      ),
      ...args
        .filter(isLikeFlags)
        .map((arg) => `  A file whose name begins with a hyphen is given as ${shellQuoted(`./${arg}`)}`),
      ...args
        .filter((arg) => /^-[a-z][a-z-]+$/.test(arg))
        .map((arg) => `  Flags of several letters begin with two hyphens: -${arg}`),
      ...(isCommentLikeFlag(args)
        ? ["  SQL that begins with a comment is given after -- at the end of the line."]
        : []),
      `  Run \`${[session.invocation, ...commandPath.slice(1)].join(" ")} --help\` for usage.`
    ]
  })

/** Set when help was asked for a subcommand that is none, or none was named to a program: to effect/cli that is no error. */
let noHelp: Ended | undefined

/**
 * Help goes to stdout, unless it is asked for a subcommand that is none, or is no JSON where that was asked for; a usage error
 * is short, and goes to stderr.
 */
const presenter: CliOutput.Presenter = {
  present: (event) =>
    Effect.gen(function* () {
      const formatter = yield* CliOutput.Formatter
      switch (event._tag) {
        case "Help": {
          const { commandPath, helpDoc } = event
          const unknown = helpDoc.subcommands === undefined ? undefined : wordsOf(args)[commandPath.length - 1]
          const wrong =
            unknown !== undefined
              ? new CliError.UnknownSubcommand({ subcommand: unknown, parent: commandPath, suggestions: [] })
              : isJson && !isHelpAsked
                ? new CliError.MissingArgument({ argument: "subcommand" })
                : undefined
          if (wrong === undefined) return terminal.out(`${formatter.formatHelpDoc(helpDoc)}\n`)
          noHelp = failUsage([wrong], commandPath)
          return
        }
        case "Version":
          return terminal.out(`${session.program}\n`)
        case "InvalidInvocation":
          failUsage(event.errors, event.commandPath)
      }
    })
}

const unused = Effect.die(new Error("not used"))

/** What effect/cli may ask for and our flags never do: they take plain texts, and nothing is prompted for. */
const platform = Layer.mergeAll(
  FileSystem.layerNoop({}),
  Path.layer,
  Stdio.layerTest({}),
  Layer.succeed(
    EffectTerminal.Terminal,
    EffectTerminal.make({
      columns: Effect.sync(() => terminal.columns),
      rows: Effect.succeed(24),
      size: unused,
      readInput: unused,
      readLine: unused,
      display: () => Effect.void
    })
  ),
  Layer.succeed(
    ChildProcessSpawner.ChildProcessSpawner,
    ChildProcessSpawner.make(() => unused)
  ),
  CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Completions] }),
  CliOutput.layer(CliOutput.defaultFormatter({ colors: terminal.paint("bold", "") !== "" })),
  CliOutput.layerPresenter(presenter),
  Layer.succeed(Logger.LogToStderr, true)
)

const program = Command.runWith(makeProgram(session), { version: manifest.version, renderErrors: true })(args).pipe(
  Effect.provide(platform),
  Effect.catchCause((cause) => {
    terminal.clearStatus()
    if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause)
    const error: unknown = Cause.squash(cause)
    if (error instanceof Ended) {
      if (isJson) tellPrograms(terminal, stopped(error.code))
      return Effect.fail(error)
    }
    if (isShowHelp(error))
      return error.errors.length === 0 ? Effect.void : Effect.fail(new Ended({ code: exitCode.usage }))
    const failure = describeFailure(error, isVerbose, {
      hint: hintsOf(session),
      takesMemory: session.named.takesMemory
    })
    return Effect.fail(
      fail(error instanceof CommandFailed ? failure : { ...failure, lines: failure.lines.map(printable) })
    )
  }),
  Effect.andThen(Effect.suspend(() => (noHelp === undefined ? Effect.void : Effect.fail(noHelp)))),
  // Where this fiber itself is interrupted, as by a signal, handlers of causes are passed over.
  Effect.onInterrupt(() => Effect.sync(tellStopped))
)

const isShowHelp = (error: unknown): error is CliError.ShowHelp =>
  error instanceof Error && "_tag" in error && error._tag === "ShowHelp"

/** Two signals nearer than this are one: a terminal and a package manager may each send it. */
const SAME_SIGNAL_MS = 100

const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  let first = 0
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stop.signal !== undefined) {
      if (performance.now() - first < SAME_SIGNAL_MS) return
      tellStopped()
      process.exit(signalCode(stop.signal))
    }
    first = performance.now()
    stop.signal = signal
    if (stop.onSignal === undefined) fiber.interruptUnsafe(fiber.id)
    else stop.onSignal()
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  process.on("SIGHUP", onSignal)
  fiber.addObserver((exit) =>
    teardown(exit, (code) =>
      process.exit(code === exitCode.interrupted && stop.signal !== undefined ? signalCode(stop.signal) : code)
    )
  )
})

runMain(program, { disableErrorReporting: true })
