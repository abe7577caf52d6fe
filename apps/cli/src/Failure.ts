/** How commands end otherwise than well: exit codes, and the words for people. */
import { lackOf } from "@mallard/duckdb-store/Disk"
import { Data, Runtime } from "effect"
import { OutputFailed, type Terminal } from "./Terminal.ts"
import { type Hint, withHints } from "./Hints.ts"
import { printable, quoted } from "./Text.ts"

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

const systemReasons: Readonly<Record<string, string>> = {
  EACCES: "the operating system does not permit it",
  EPERM: "the operating system does not permit it",
  EROFS: "the disk is read-only",
  ENOSPC: "there is no space left on the disk",
  EDQUOT: "there is no space left on the disk",
  EFBIG: "the file may not grow further",
  EISDIR: "there is a folder of that name",
  ENOTDIR: "a part of its path is no folder",
  EEXIST: "a part of its path is no folder",
  ENOTEMPTY: "there is a folder of that name",
  ENAMETOOLONG: "its name is too long"
}

/** Why something could not be written, by the code of the operating system. */
export const systemReason = (code: string | undefined): string => systemReasons[code ?? ""] ?? "writing failed"

const storeCodes: Readonly<Record<string, number>> = {
  missing: exitCode.noDatabase,
  locked: exitCode.locked,
  damaged: exitCode.damaged,
  wal: exitCode.damaged,
  "not-a-database": exitCode.damaged,
  "bad-path": exitCode.usage,
  "bad-option": exitCode.usage
}

/** The exit code of a database that does not open. */
export const storeCode = (reason: string): number => storeCodes[reason] ?? exitCode.failed

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
  /** What happened, and below it what to do. */
  readonly lines: ReadonlyArray<string>
  /** Names the sort of failure to programs, `reason` the one among those of its sort. */
  readonly tag: string
  readonly reason?: string
  /** What to do, where the first line says that too. */
  readonly next?: string
}

/** A command line that cannot be meant. */
export const USAGE_ERROR = "UsageError"

/** Stopped by a signal, or by the user at a question. */
export const stopped = (code: number): Described => ({ code, lines: ["Stopped."], tag: "Interrupted" })

/** Tells programs of a failure: a JSON document on stdout, unless something stands there already. */
export const tellPrograms = (terminal: Terminal, { code, lines, next, reason, tag }: Described): void => {
  if (terminal.hasOut) return
  const [first = "", ...others] = lines
  const isBoth = next !== undefined && first.endsWith(` ${next}`)
  const hint = [...(isBoth ? [next] : []), ...others.map((line) => line.trim())].join("\n")
  const error = {
    tag,
    reason: reason ?? null,
    exit_code: code,
    message: isBoth ? first.slice(0, -next.length - 1) : first,
    hint: hint === "" ? null : hint
  }
  try {
    terminal.out(`${JSON.stringify({ error })}\n`)
  } catch {
    // Where stdout takes nothing, stderr and the exit code have to do.
  }
}

/** Refused requests that are no matter of how the command was given. */
const failures: ReadonlySet<string> = new Set([
  "bad-json",
  "no-file",
  "folder",
  "too-large",
  "not-read",
  "not-written",
  "own-tables"
])

/** What is said of a name that leads to no cohort, or to one too many. The user gave the name. */
const refusal = (
  error: unknown,
  tag: "CohortNotFound" | "NameTaken",
  hint: Hint
): Pick<Described, "code" | "lines"> => {
  const name = error instanceof Error && "wanted" in error ? String(error.wanted) : ""
  const wanted = quoted(name)
  if (tag === "NameTaken") {
    return {
      code: exitCode.failed,
      lines: [
        `There is a cohort ${wanted} already.`,
        "  Choose another name; save, import and merge replace it with --overwrite."
      ]
    }
  }
  if (error instanceof Error && "isDeleted" in error && error.isDeleted === true) {
    const lines = [`The cohort ${wanted} is deleted.`, `  \`${hint("undelete", [name])}\` brings it back.`]
    return { code: exitCode.failed, lines }
  }
  const near = error instanceof Error && "suggestions" in error ? error.suggestions : []
  const names = Array.isArray(near) ? near.map((name) => `    ${printable(String(name))}`) : []
  const next = names.length === 0 ? [`  \`${hint("list")}\` shows what there is.`] : ["  Did you mean this?", ...names]
  return { code: exitCode.failed, lines: [`There is no cohort ${wanted}.`, ...next] }
}

interface Known {
  readonly tag: string
  readonly reason: string
  readonly message: string
  readonly next: string | undefined
}

const named = (error: unknown, hint: Hint): Known | undefined => {
  if (!(error instanceof Error) || !("_tag" in error) || typeof error._tag !== "string") return undefined
  const reason = "reason" in error && typeof error.reason === "string" ? error.reason : ""
  const next = "next" in error && typeof error.next === "string" ? withHints(error.next, hint) : undefined
  return { tag: error._tag, reason, message: withHints(error.message, hint), next }
}

/** What is known of the command that failed. */
interface Asked {
  readonly hint: Hint
  /** It has the flag --memory. */
  readonly takesMemory: boolean
}

/**
 * Describes a failure. Only errors of our own, whose messages hold no values, are quoted; of any other its class is named,
 * for DuckDB's messages quote what was stored.
 */
export const describeFailure = (error: unknown, isVerbose: boolean, asked: Asked): Described => {
  if (error instanceof CommandFailed) {
    const { _tag, code, next = [], what } = error
    return {
      code,
      lines: [what, ...next.map((line) => `  ${line}`)],
      tag: code === exitCode.usage ? USAGE_ERROR : _tag
    }
  }
  if (error instanceof OutputFailed) {
    const lines = [
      `Cannot write to standard output: ${systemReason(error.code)}.`,
      "  Send it to another place. What the command did before that is done."
    ]
    return { code: exitCode.failed, lines, tag: error._tag }
  }
  const known = named(error, asked.hint)
  const words = known === undefined ? undefined : wordsOf(error, known, asked)
  if (known !== undefined && words !== undefined) {
    const { next, reason, tag } = known
    return { ...words, tag, ...(reason === "" ? {} : { reason }), ...(next === undefined ? {} : { next }) }
  }
  const frames =
    error instanceof Error ? (error.stack ?? "").split("\n").filter((line) => line.startsWith("    at ")) : []
  return {
    code: exitCode.failed,
    lines: [
      `Something went wrong that should not (${error instanceof Error ? error.name : typeof error}). Nothing is half stored.`,
      ...(isVerbose ? frames : ["  Run the same command with --verbose to see where."])
    ],
    tag: "Unexpected"
  }
}

const lacks = {
  memory: ["more memory than DuckDB may have", "See to the space beside the database"],
  space: ["more space on the disk beside it than there is", "Free some space there"],
  permission: [
    "to write beside it, which the operating system does not permit",
    "Check who owns the file and its folder"
  ]
} as const

/** Words for what the database could not have, which says nothing against it; some commands can give it more memory. */
export const lacking = (doing: string, lack: keyof typeof lacks, takesMemory: boolean) => {
  const [what, next] = lacks[lack]
  return {
    what: `${doing} needs ${what}; nothing is known to be wrong with it.`,
    next: [takesMemory && lack !== "permission" ? `${next}, or give it more memory with --memory.` : `${next}.`]
  }
}

const wordsOf = (
  error: unknown,
  known: Known,
  { hint, takesMemory }: Asked
): Pick<Described, "code" | "lines"> | undefined => {
  switch (known.tag) {
    case "StoreError":
      return { code: storeCode(known.reason), lines: [known.message] }
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
      return refusal(error, known.tag, hint)
    case "InvalidRequest":
      return {
        code: failures.has(known.reason) ? exitCode.failed : exitCode.usage,
        lines: [
          known.message,
          ...(known.reason === "not-deleted"
            ? [`  --revision NUMBER says it; \`${hint("history NAME")}\` lists them.`]
            : [])
        ]
      }
    case "QueryError":
      return { code: queryCodes[known.reason] ?? exitCode.failed, lines: [known.message] }
    case "SqlError": {
      const lack = lackOf(error)
      if (lack !== undefined) {
        const { next, what } = lacking("The work on the database", lack, takesMemory)
        return { code: exitCode.failed, lines: [what, ...next.map((line) => `  ${line}`)] }
      }
      return {
        code: exitCode.failed,
        lines: ["The database did not answer a question about itself.", `  Check it with \`${hint("verify")}\`.`]
      }
    }
    default:
      return undefined
  }
}
