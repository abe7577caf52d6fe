/** Why a store could not be opened, in words of our own and with what to do next. */

import { DuckDbOpenError, type OpenReason } from "@mallard/sql-duckdb"
import { Schema } from "effect"
import { statSync } from "node:fs"
import { causesOf, diskProblemOf, systemCode } from "./Disk.ts"
import { processFacts } from "./Processes.ts"

/** Why a store could not be opened. */
export const StoreReason = Schema.Literals([
  "missing",
  "locked",
  "foreign",
  "damaged",
  "newer",
  "not-a-database",
  "no-space",
  "permission",
  "wal",
  "bad-path",
  "bad-option",
  "io"
])
export type StoreReason = typeof StoreReason.Type

const texts: Readonly<Record<StoreReason, readonly [what: string, next: string]>> = {
  missing: ["there is no such database", "Check the path, or migrate first: that creates it."],
  locked: [
    "it is open elsewhere",
    "Wait until the other program has closed it, as --wait does, or close that program."
  ],
  foreign: ["it holds tables that are not Mallard's", "Name another file: nothing was changed in this one."],
  damaged: ["it is damaged or incomplete", "Keep the file as it is and restore a backup, or migrate into a new file."],
  newer: ["a newer version of Mallard or DuckDB wrote it", "Update Mallard."],
  "not-a-database": ["it is not a DuckDB database", "Name another file: nothing was changed in this one."],
  "no-space": ["there is no space left on the disk", "Free some space and try again: nothing was lost."],
  permission: ["the operating system does not permit it", "Check who owns the file and its folder."],
  wal: [
    "a write-ahead log lies beside it that does not fit",
    "Keep both files. `mallard doctor` says what is the matter with the log, and moves it away with --quarantine-wal; then migrate again."
  ],
  "bad-path": ["the path is not that of a plain file", "Name a file, not a link that leads nowhere and not a device."],
  "bad-option": ["DuckDB does not accept one of the options", "Check the limits of memory and threads."],
  io: ["reading or writing failed", "Check the disk and try again."]
}

const ownTexts = ["this process has it open already", "Use what has it open, or close that first."] as const

const folderTexts = ["it is a folder, and a database is a file", "Name a file, which may lie in this folder."] as const

/**
 * A store could not be opened or prepared. `folder` is true where a folder is at the path. `holder` is the process that has
 * the file open, `holder_program` its program and `since` when it was started (UTC), as far as that is known.
 */
export class StoreError extends Schema.TaggedError<StoreError>()("StoreError", {
  reason: StoreReason,
  path: Schema.String,
  folder: Schema.optionalKey(Schema.Literal(true)),
  holder: Schema.optionalKey(Schema.Int),
  holder_program: Schema.optionalKey(Schema.String),
  since: Schema.optionalKey(Schema.String),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  /** What is wrong, in a few words. */
  get what(): string {
    return this.texts[0]
  }
  /** What to do about it. */
  get next(): string {
    return this.texts[1]
  }
  private get texts(): readonly [what: string, next: string] {
    if (this.reason === "locked" && this.holder === process.pid) return ownTexts
    return this.folder === true ? folderTexts : texts[this.reason]
  }
  override get message(): string {
    const { next, what } = this
    const program = this.holder_program === undefined ? "" : `, ${this.holder_program}`
    const since = this.since === undefined ? "" : `, running since ${this.since}`
    const who = this.holder === undefined ? "" : ` (process ${this.holder}${program}${since})`
    return `Cannot open the database ${this.path}: ${what}${who}. ${next}`
  }
}

const reasons: Readonly<Record<OpenReason, StoreReason>> = {
  missing: "missing",
  locked: "locked",
  "already-open": "locked",
  "not-a-database": "not-a-database",
  "newer-version": "newer",
  damaged: "damaged",
  "no-space": "no-space",
  permission: "permission",
  "bad-path": "bad-path",
  "bad-option": "bad-option",
  io: "io"
}

/** A failure as a `StoreError` about the database at `path`. */
export const toStoreError = (path: string, cause: unknown, hasLog = false): StoreError => {
  if (cause instanceof StoreError) return cause
  if (cause instanceof DuckDbOpenError) {
    const reason = reasons[cause.reason]
    return new StoreError({
      reason: reason === "damaged" && hasLog ? "wal" : reason,
      path,
      cause,
      ...folderOf(reason, path),
      ...(cause.holder === undefined ? {} : holderOf(cause.holder)),
      ...(cause.reason === "already-open" ? { holder: process.pid } : {})
    })
  }
  const reason = reasonOf(cause)
  return new StoreError({ reason, path, cause, ...folderOf(reason, path) })
}

const folderOf = (reason: StoreReason, path: string): { readonly folder?: true } =>
  reason === "bad-path" && isFolder(path) ? { folder: true } : {}

const isFolder = (path: string): boolean => {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}

const holderOf = (holder: number) => {
  const { program, since } = processFacts(holder)
  return {
    holder,
    ...(program === undefined ? {} : { holder_program: program }),
    ...(since === undefined ? {} : { since })
  }
}

/** Codes that say of a path that no file can have it. The last one is Node's answer to a NUL. */
const badPathCodes: ReadonlySet<string> = new Set([
  "ENOTDIR",
  "EISDIR",
  "ENAMETOOLONG",
  "ELOOP",
  "ERR_INVALID_ARG_VALUE"
])

// DuckDB's text lies below Effect's `SqlError`; what the system said is told only by it.
const systemTexts: ReadonlyArray<readonly [pattern: RegExp, reason: StoreReason]> = [
  // Removing gives it no code of its own.
  [/File name too long/i, "bad-path"],
  [/No space left|File too large|disk quota/i, "no-space"],
  [/Permission denied|Operation not permitted|Read-only file system/i, "permission"],
  // DuckDB keeps to itself what the system said of a flush that failed.
  [/Input\/output error|Too many open files|Interrupted system call|fsync failed/i, "io"]
]

/** What the operating system said, which tells nothing of what is in the file; undefined where it said nothing. */
export const systemReason = (cause: unknown): StoreReason | undefined => {
  for (const error of causesOf(cause)) {
    const told = systemTexts.find(([pattern]) => pattern.test(error.message))?.[1]
    if (told !== undefined) return told
    const code = systemCode(error)
    if (code !== undefined) return badPathCodes.has(code) ? "bad-path" : (diskProblemOf(code) ?? "io")
  }
  return undefined
}

const reasonOf = (cause: unknown): StoreReason =>
  systemReason(cause) ?? ([...causesOf(cause)].some(isDamage) ? "damaged" : "io")

const isDamage = ({ message }: Error): boolean => /Corrupt|checksum/i.test(message)
