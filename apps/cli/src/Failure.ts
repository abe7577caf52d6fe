/** How commands end otherwise than well: exit codes, and the words for people. */
import { Data, Runtime } from "effect"

/** Exit codes; those of a run stand in the migrator's `exitCodes`. */
export const exitCode = {
  failed: 1,
  usage: 2,
  mismatch: 4,
  damaged: 6,
  noDatabase: 10,
  locked: 11,
  interrupted: 130,
  terminated: 143
} as const

/** The command has said everything itself and ends with this code. */
export class Ended extends Data.TaggedError("Ended")<{ readonly code: number }> {
  override readonly [Runtime.errorExitCode] = this.code
}

/** The command cannot go on: what happened and, on lines of their own, what to do. */
export class CommandFailed extends Data.TaggedError("CommandFailed")<{
  readonly code: number
  readonly what: string
  readonly next?: ReadonlyArray<string>
}> {
  override readonly [Runtime.errorExitCode] = this.code
}

/** The user asked for something that cannot be meant. */
export const usage = (what: string, ...next: ReadonlyArray<string>): CommandFailed =>
  new CommandFailed({ code: exitCode.usage, what, next })

const storeCodes: Readonly<Record<string, number>> = {
  missing: exitCode.noDatabase,
  locked: exitCode.locked,
  damaged: exitCode.damaged,
  wal: exitCode.damaged,
  "not-a-database": exitCode.damaged,
  "bad-path": exitCode.usage,
  "bad-option": exitCode.usage
}

const queryCodes: Readonly<Record<string, number>> = { "bad-limit": exitCode.usage, "bad-cursor": exitCode.usage }

/** What to print about a failure, and the exit code. */
export interface Described {
  readonly code: number
  readonly lines: ReadonlyArray<string>
}

const named = (
  error: unknown
): { readonly tag: string; readonly reason: string; readonly message: string } | undefined => {
  if (!(error instanceof Error) || !("_tag" in error) || typeof error._tag !== "string") return undefined
  const reason = "reason" in error && typeof error.reason === "string" ? error.reason : ""
  return { tag: error._tag, reason, message: error.message }
}

/**
 * Describes a failure. Only errors of our own, whose messages hold no values, are quoted; of any other its class is named,
 * for DuckDB's messages quote what was stored.
 */
export const describeFailure = (error: unknown, isVerbose: boolean): Described => {
  if (error instanceof CommandFailed) {
    return { code: error.code, lines: [error.what, ...(error.next ?? []).map((line) => `  ${line}`)] }
  }
  const known = named(error)
  switch (known?.tag) {
    case "StoreError":
      return { code: storeCodes[known.reason] ?? exitCode.failed, lines: [known.message] }
    case "SourceError":
      return { code: known.reason === "missing" ? exitCode.usage : exitCode.failed, lines: [known.message] }
    case "MigrationFailed":
      return { code: exitCode.failed, lines: [known.message] }
    case "QueryError":
      return { code: queryCodes[known.reason] ?? exitCode.failed, lines: [known.message] }
    case "SqlError":
      return {
        code: exitCode.failed,
        lines: ["The database did not answer a question about itself.", "  Check it with `mallard verify`."]
      }
  }
  const frames =
    error instanceof Error ? (error.stack ?? "").split("\n").filter((line) => line.startsWith("    at ")) : []
  return {
    code: exitCode.failed,
    lines: [
      `Something went wrong that should not (${error instanceof Error ? error.name : typeof error}). Nothing is half stored.`,
      ...(isVerbose ? frames : ["  Run the same command with --verbose to see where."])
    ]
  }
}
