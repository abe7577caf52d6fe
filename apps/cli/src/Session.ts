/** What a command knows of the place it runs in. */
import type { Progress } from "@mallard/migrator"
import type { Described } from "./Failure.ts"
import type { Environment, Terminal } from "./Terminal.ts"

/** A request to stop, made by a signal. */
export interface StopRequest {
  /** The first signal that came. */
  signal: NodeJS.Signals | undefined
  /** Called at the first signal by commands that end in good order; without it the command is interrupted. */
  onSignal: (() => void) | undefined
}

/** The database that DuckDB is at work on, which may take the process along if it is damaged. */
interface ReadingNote {
  database: string | undefined
  /** Tells programs of it, where the command has a form for that. */
  onCrash: ((database: string, failure: Described) => void) | undefined
}

/** What flags there are and what they named, for what users are told to do next. */
interface NamedByFlags {
  db: string | undefined
  /** Also that of a run which is gone on with. */
  backupDir: string | undefined
  /** Whether the command has --memory. */
  takesMemory: boolean
}

/** How long to wait for a database that another program has open, as `--wait` says; undefined without it. */
interface LockPatience {
  wait: string | undefined
}

/** Whether traces and metrics are sent, as `--otlp` says, and who counts meanwhile. */
interface TelemetryRequest {
  url: string | undefined
  onProgress: ((step: Progress) => void) | undefined
}

export interface Session {
  readonly terminal: Terminal
  readonly env: Environment
  /** Where relative paths start: the folder that the user is in, also behind a package manager's script. */
  readonly cwd: string
  readonly home: string
  /** Name and version, as the database records them. */
  readonly program: string
  /** How the user calls the program: `mallard`, `pnpm mallard`, … */
  readonly invocation: string
  readonly stop: StopRequest
  readonly now: () => number
  readonly named: NamedByFlags
  readonly lock: LockPatience
  readonly reading: ReadingNote
  readonly telemetry: TelemetryRequest
}

/** What every command takes. */
export interface CommonOptions {
  readonly db: string | undefined
  readonly json: boolean
  readonly quiet: boolean
  readonly verbose: boolean
  /** What would be asked is confirmed. */
  readonly yes?: boolean | undefined
}
