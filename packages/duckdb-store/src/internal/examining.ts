/**
 * The examination of a database, which may take its process along: DuckDB crashes on some files whose blocks are damaged. It
 * changes nothing: not the database, nor its write-ahead log, nor anything beside them.
 */

import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { accessSync, constants, lstatSync, type Stats, statfsSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { sizeText } from "../Disk.ts"
import { leftoversIn, namesBeside } from "../Leftovers.ts"
import { hasName, ownPath } from "./files.ts"
import { type FileHeader, type LogState, readHeader, readLog } from "./fileState.ts"
import { unrecordedRows } from "../Maintenance.ts"
import { inspectSchema } from "../Migrations.ts"
import { openStore, type StoreConfig } from "../Store.ts"
import { type StoreError, type StoreReason, toStoreError } from "../StoreError.ts"
import { verifyDatabase, type VerifyReport } from "../Verify.ts"

/** One thing that was looked at. `next` says what to do, or what the repair would do. */
export interface Check {
  readonly check: "file" | "permissions" | "space" | "log" | "leftovers" | "open" | "orphans" | "verify"
  readonly status: "ok" | "note" | "warning" | "problem"
  readonly message: string
  readonly next?: string | undefined
}

/** What an examination found. */
export interface Diagnosis {
  readonly path: string
  readonly checks: ReadonlyArray<Check>
  /** The header of the file, if it is a DuckDB database. */
  readonly header: FileHeader | undefined
  readonly log: LogState
  /** Why it cannot be opened. */
  readonly refused: StoreReason | undefined
  /** The process that has it open, if that is known. */
  readonly holder: number | undefined
  /** Version of our tables. */
  readonly version: number | undefined
  /** Rows that no commit recorded, by table. */
  readonly orphans: Readonly<Record<string, number>>
  readonly verification: VerifyReport | undefined
}

export interface ExamineDepth {
  /** How far to look: at files alone, at tables too, or at every document as well. */
  readonly depth: "files" | "tables" | "documents"
  readonly onDocument?: ((done: number, documents: number) => void) | undefined
}

/** Examines a database that is not open in this process. Fails only where the operating system does not let it look. */
export const examineHere = Effect.fnUntraced(function* (config: StoreConfig, options: ExamineDepth) {
  const path = ownPath(config.path)
  const outside = yield* Effect.try({ try: () => lookAtFiles(path), catch: (cause) => toStoreError(path, cause) })
  const inside =
    options.depth === "files"
      ? { ...nothingSeen, checks: [], refused: undefined, holder: undefined }
      : yield* lookInside({ ...config, path, readonly: true }, outside, options)
  const { header, log } = outside
  const { holder, orphans, refused, verification, version } = inside
  const checks: ReadonlyArray<Check> = [...outside.checks, ...inside.checks]
  const diagnosis: Diagnosis = { path, checks, header, log, refused, holder, version, orphans, verification }
  return diagnosis
})

interface Outside {
  readonly checks: ReadonlyArray<Check>
  readonly header: FileHeader | undefined
  readonly log: LogState
}

/** Free space below which the next migration or repair may not fit. */
const LITTLE_SPACE = 100_000_000

const lookAtFiles = (path: string): Outside => {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  const checks: Array<Check> = []
  let header: FileHeader | undefined
  if (stats?.isFile() === true) {
    if (isPermitted(path, constants.R_OK)) {
      header = readHeader(path)
      checks.push(header === undefined ? notDuckDb(stats) : soundFile(stats, header))
    }
    checks.push(permissionsOf(path, stats))
  }
  const folder = dirname(path)
  if (hasName(folder)) checks.push(spaceIn(folder, stats?.size ?? 0))
  const log = isPermitted(path, constants.R_OK) || stats === undefined ? readLog(path, header) : noLog
  checks.push(logCheck(path, log, stats !== undefined), ...leftoversOf(path))
  return { checks, header, log }
}

const noLog: LogState = { _tag: "None" }

const notDuckDb = (stats: Stats): Check => ({
  check: "file",
  status: "problem",
  message: `its ${sizeText(stats.size)} are no DuckDB database`,
  next: "Restore a backup of the file, or migrate into a new one; `mallard backup restore` gives the sources back."
})

const soundFile = (stats: Stats, header: FileHeader): Check => ({
  check: "file",
  status: "ok",
  message: `${sizeText(stats.size)}, made by DuckDB ${header.writtenBy}, storage version ${header.storageVersion}`
})

const isPermitted = (path: string, mode: number): boolean => {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}

const permissionsOf = (path: string, stats: Stats): Check => {
  const warn = (message: string, next: string): Check => ({ check: "permissions", status: "warning", message, next })
  if (!isPermitted(path, constants.R_OK)) {
    return { ...warn("you may not read it", "Let its owner give you the right to."), status: "problem" }
  }
  if (!isPermitted(path, constants.W_OK)) return warn("you may read but not change it", "Migrate as its owner.")
  if (!isPermitted(dirname(path), constants.W_OK)) {
    return warn(
      "nothing can be written into its folder",
      "DuckDB needs to write its log there: change the folder's mode."
    )
  }
  if (process.platform !== "win32" && (stats.mode & 0o077) !== 0) {
    return warn("others than its owner may read it", "`chmod 600` on the file, if it holds what they should not see.")
  }
  return { check: "permissions", status: "ok", message: "its owner alone may read and change it" }
}

const spaceIn = (folder: string, bytes: number): Check => {
  const { bavail, bsize } = statfsSync(folder)
  const free = bavail * bsize
  return free < Math.max(bytes, LITTLE_SPACE)
    ? {
        check: "space",
        status: "warning",
        message: `${sizeText(free)} are free, and the database has ${sizeText(bytes)}`,
        next: "A rebuild or a purge needs as much as the database has, a migration some times the sources."
      }
    : { check: "space", status: "ok", message: `${sizeText(free)} are free` }
}

const moveAway = "--quarantine-wal moves it away under a dated name and deletes nothing"

const logCheck = (path: string, log: LogState, hasDatabase: boolean): Check => {
  const has = (status: Check["status"], message: string, next: string): Check => ({
    check: "log",
    status,
    message,
    next
  })
  switch (log._tag) {
    case "None":
      return { check: "log", status: "ok", message: "no write-ahead log lies beside it" }
    case "Unreadable":
      return has(
        "problem",
        `${basename(path)}.wal has ${sizeText(log.bytes)} and is no log that can be read; what it may have held is not stored`,
        `${moveAway}; then migrate again: what is missing is stored.`
      )
    case "Foreign":
      return has(
        "problem",
        "the write-ahead log beside it is that of another database",
        `${moveAway}; put it back beside the database that it belongs to.`
      )
    case "Stale":
      return has(
        "problem",
        `the write-ahead log beside it belongs to another state of the database and holds ${commitsOf(log.commits)}`,
        `${moveAway}; then migrate again: what is missing is stored.`
      )
    case "Torn":
      return has(
        "warning",
        `the write-ahead log holds ${commitsOf(log.commits)}, and ${sizeText(log.rest)} of one that was cut off`,
        "The next command that writes takes in what is whole and drops the rest; then migrate again: what is missing is stored."
      )
    case "Whole":
      return hasDatabase
        ? has(
            "note",
            `${commitsOf(log.commits)} only in the write-ahead log: a writer was killed, or is at work`,
            "The next command that writes takes them in."
          )
        : has(
            "problem",
            `a write-ahead log with ${commitsOf(log.commits)} lies there without its database`,
            `Put the database back beside it, or start anew: ${moveAway}.`
          )
  }
}

const commitsOf = (count: number): string => (count === 1 ? "1 whole transaction" : `${count} whole transactions`)

/** What killed processes left behind. */
const leftoversOf = (path: string): ReadonlyArray<Check> => {
  const name = basename(path)
  const folder = dirname(path)
  const aside = leftoversIn(folder, namesBeside(path))
  const ofLog = [`${name}.wal.checkpoint`, `${name}.wal.recovery`].map((entry) => join(folder, entry)).filter(hasName)
  const found = [...aside.map((left) => left.path), ...ofLog]
  if (found.length === 0) return []
  return [
    {
      check: "leftovers",
      status: "note",
      message: `left behind by a process that was killed, or in use by one at work: ${found.join(", ")}`,
      next: "The next command that writes removes what nobody can be at work on: whose process is gone, and that is an hour old. Where no mallard is running, what begins with a dot can be removed by hand."
    }
  ]
}

interface Inside {
  readonly checks: ReadonlyArray<Check>
  readonly refused: StoreReason | undefined
  readonly holder: number | undefined
  readonly version: number | undefined
  readonly orphans: Readonly<Record<string, number>>
  readonly verification: VerifyReport | undefined
}

const lookInside = (config: StoreConfig, outside: Outside, options: ExamineDepth): Effect.Effect<Inside> =>
  Effect.scoped(
    Effect.gen(function* () {
      const sql = yield* openStore(config)
      return yield* Effect.provideService(lookAtTables(options), DuckDbClient, sql)
    })
  ).pipe(Effect.catch((error) => Effect.succeed(refusal(error, outside))))

const nothingSeen = { version: undefined, orphans: {}, verification: undefined } as const

/** What it means that a store does not open. */
const refusal = (error: StoreError, outside: Outside): Inside => {
  const { holder, reason } = error
  const next = error.next
  const isBroken = reason === "damaged" && outside.log._tag === "None"
  return {
    ...nothingSeen,
    refused: reason,
    holder,
    checks: [
      {
        check: "open",
        status: "problem",
        message: `${error.what}${holder === undefined ? "" : ` (process ${holder})`}`,
        next: isBroken ? `${next} \`mallard backup restore\` gives the sources back.` : next
      }
    ]
  }
}

const lookAtTables = Effect.fnUntraced(function* (options: ExamineDepth) {
  const sql = yield* DuckDbClient
  const checks: Array<Check> = []
  const state = yield* Effect.catch(inspectSchema, () => Effect.succeed({ _tag: "Partial" } as const))
  const version = state._tag === "Ours" ? state.version : undefined
  checks.push({ check: "open", status: "ok", message: `it opens; its tables are Mallard's, version ${version ?? 0}` })
  const counted = yield* Effect.catch(unrecordedRows, () => Effect.succeed(undefined))
  const orphans = Object.fromEntries(counted ?? [])
  checks.push(orphanCheck(counted === undefined ? undefined : orphans))
  const verified =
    options.depth === "tables" ? undefined : yield* Effect.exit(verifyDatabase(sql, { onDocument: options.onDocument }))
  const verification = verified?._tag === "Success" ? verified.value : undefined
  if (verified !== undefined) checks.push(verification === undefined ? unreadable : verifyCheck(verification))
  const seen: Inside = { checks, refused: undefined, holder: undefined, version, orphans, verification }
  return seen
})

const orphanCheck = (orphans: Readonly<Record<string, number>> | undefined): Check => {
  if (orphans === undefined) return { ...unreadable, check: "orphans" }
  const tables = Object.entries(orphans)
  const rows = tables.reduce((sum, [, count]) => sum + count, 0)
  return rows === 0
    ? { check: "orphans", status: "ok", message: "every row belongs to a commit" }
    : {
        check: "orphans",
        status: "warning",
        message: `${rows} rows belong to no commit (${tables.map(([table, count]) => `${count} in ${table}`).join(", ")})`,
        next: "A writer was killed; no reader counts them, and the next command that writes deletes them."
      }
}

const rebuildHint = "--rebuild OUT copies what verifies into a new file and names the rest; then migrate into it again"

export const unreadable: Check = {
  check: "verify",
  status: "problem",
  message: "reading it fails in the middle",
  next: `Keep the file as it is. ${rebuildHint}.`
}

const verifyCheck = (report: VerifyReport): Check =>
  report.findingCount === 0
    ? {
        check: "verify",
        status: "ok",
        message: `${report.matched} of ${report.checked} documents rendered as in the source, every row as it was written`
      }
    : {
        check: "verify",
        status: "problem",
        message: `${report.findingCount} findings; ${report.matched} of ${report.checked} documents rendered as in the source`,
        next: `\`mallard verify\` lists them. ${rebuildHint}.`
      }
