/**
 * Where a file that the user named is put. It takes the name when it is whole, that of a link too; what is no file, as a pipe,
 * gets the bytes instead. A DuckDB database is never replaced: whoever names one has mistaken it for something else.
 */
import { DATABASE_HEAD_BYTES, descriptorsOf, fileIdentity, isDatabaseHead } from "@mallard/sql-duckdb/DatabaseFile"
import {
  closeSync,
  createReadStream,
  createWriteStream,
  lstatSync,
  openSync,
  renameSync,
  rmSync,
  statSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { InvalidRequest } from "./CohortErrors.ts"
import { readFully } from "./Disk.ts"
import { asidePath } from "./Leftovers.ts"

export interface Destination {
  readonly path: string
  /** Where it is written before it is put there. */
  readonly aside: string
  /** Whether there is something that takes bytes and keeps its name: a pipe, a terminal, a descriptor. */
  readonly isStream: boolean
}

/** Throws `InvalidRequest` where a database has the name, else what the file system says. */
export const destinationOf = (named: string): Destination => {
  const own = lstatSync(named, { throwIfNoEntry: false })
  // Behind a descriptor may be a file that somebody else appends to.
  if (own !== undefined && (DESCRIPTOR.test(named) || !(own.isFile() || own.isDirectory() || own.isSymbolicLink()))) {
    return { path: named, aside: asidePath(join(tmpdir(), "stream")), isStream: true }
  }
  if (statSync(named, { throwIfNoEntry: false })?.isFile() === true && isDatabase(named)) {
    throw new InvalidRequest({ reason: "database-in-the-way", path: named })
  }
  return { path: named, aside: asidePath(named), isStream: false }
}

/** Puts what was written aside where it belongs. */
export const putInPlace = async ({ aside, isStream, path }: Destination): Promise<void> => {
  if (!isStream) return renameSync(aside, path)
  await pipeline(createReadStream(aside), createWriteStream(path, { flags: "a" })).catch((cause: unknown) => {
    throw cause instanceof Error && !("path" in cause) ? Object.assign(cause, { path }) : cause
  })
  rmSync(aside)
}

const DESCRIPTOR = /^\/(?:dev\/(?:fd\/|std(?:out|err)$)|proc\/)/

/** One that this process has open is read as it is open: with the first handle on it that is closed DuckDB's lock is given up. */
const isDatabase = (path: string): boolean => {
  if (descriptorsOf(fileIdentity(statSync(path))).some(holdsDatabase)) return true
  const handle = openSync(path, "r")
  try {
    return hasDatabaseHead(handle)
  } finally {
    closeSync(handle)
  }
}

/** Other handles on a file may be for writing alone. */
const holdsDatabase = (handle: number): boolean => {
  try {
    return hasDatabaseHead(handle)
  } catch {
    return false
  }
}

const hasDatabaseHead = (handle: number): boolean => {
  const head = new Uint8Array(DATABASE_HEAD_BYTES)
  return isDatabaseHead(head.subarray(0, readFully(handle, head, 0)))
}
