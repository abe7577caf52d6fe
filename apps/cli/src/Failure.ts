/** How commands end otherwise than well: exit codes, and the words for people. */
import { Data, Runtime } from "effect"
import { printable } from "./Text.ts"

/** Exit codes; those of a run stand in the migrator's `exitCodes`. */
export const exitCode = {
  failed: 1,
  usage: 2,
  rejects: 3,
  mismatch: 4,
  pending: 5,
  damaged: 6,
  noDatabase: 10,
  locked: 11,
  wrongKey: 12,
  hungUp: 129,
  interrupted: 130,
  terminated: 143
} as const

/** The exit code of what a signal ended in good order. */
export const signalCode = (signal: NodeJS.Signals | undefined): number =>
  signal === "SIGTERM" ? exitCode.terminated : signal === "SIGHUP" ? exitCode.hungUp : exitCode.interrupted

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
const backupCodes: Readonly<Record<string, number>> = {
  damaged: exitCode.damaged,
  changed: exitCode.damaged,
  "not-proven": exitCode.damaged,
  "wrong-key": exitCode.wrongKey,
  "needs-key": exitCode.wrongKey,
  "bad-key": exitCode.usage
}

/** What to print about a failure, and the exit code. */
export interface Described {
  readonly code: number
  readonly lines: ReadonlyArray<string>
}

/** Refused requests that are no matter of how the command was given. */
const failures: ReadonlySet<string> = new Set(["bad-json", "no-file", "not-read", "not-written", "own-tables"])

/** What is said of a name that leads to no cohort, or to one too many. The user gave the name. */
const refusal = (error: unknown, tag: "CohortNotFound" | "NameTaken"): Described => {
  const wanted = error instanceof Error && "wanted" in error ? printable(String(error.wanted)) : ""
  if (tag === "NameTaken") {
    return {
      code: exitCode.failed,
      lines: [`There is a cohort "${wanted}" already.`, "  Choose another name, or see whether --overwrite is meant."]
    }
  }
  const near = error instanceof Error && "suggestions" in error ? error.suggestions : []
  const names = Array.isArray(near) ? near.map((name) => `    ${printable(String(name))}`) : []
  const hint = names.length === 0 ? ["  `mallard list` shows what there is."] : ["  Did you mean this?", ...names]
  return { code: exitCode.failed, lines: [`There is no cohort "${wanted}".`, ...hint] }
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
    case "MoveRefused":
    case "RulesInvalid":
      return { code: exitCode.usage, lines: [known.message] }
    case "BackupError":
      return { code: backupCodes[known.reason] ?? exitCode.failed, lines: [known.message] }
    case "UndoMismatch":
      return { code: exitCode.mismatch, lines: [known.message] }
    case "MigrationFailed":
    case "NothingStored":
      return { code: exitCode.failed, lines: [known.message] }
    case "CohortNotFound":
    case "NameTaken":
      return refusal(error, known.tag)
    case "InvalidRequest":
      return { code: failures.has(known.reason) ? exitCode.failed : exitCode.usage, lines: [known.message] }
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
