/** The files of a database: folders, temporary names, and what makes a rename last. */

import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync
} from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { syncPath, systemCode } from "../Disk.ts"

/**
 * The path of a database by its own name rather than by that of a link to it: what belongs to it is named after that, and a file
 * that takes its place takes that name.
 */
export const ownPath = (path: string): string => {
  const named = resolve(path)
  try {
    return lstatSync(named).isSymbolicLink() ? realpathSync(named) : named
  } catch {
    // There is none, or a link leads nowhere: whoever opens it says so.
    return named
  }
}

/** Where a process builds a new database before it gets its name. */
export const temporaryPath = (path: string, pid = process.pid): string =>
  join(dirname(path), `.${basename(path)}.tmp-${pid}`)

/** The write-ahead log of a database. */
export const logPath = (path: string): string => `${path}.wal`

/** Whether anything, even a link that leads nowhere, has this name. */
export const hasName = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined

/** Whether a write-ahead log lies beside the database. */
export const hasLog = (path: string): boolean => existsSync(logPath(path))

/** Creates the folder of a file, and those above it, for their owner alone. */
export const createFolderOf = (path: string): void => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
}

/** Lets the owner of a file alone read and change it, whatever the umask of the process. */
export const makePrivate = (path: string): void => chmodSync(path, 0o600)

/** Removes a database that was never finished, with what belongs to it. */
export const removeDatabase = (path: string): void => {
  // Going through a folder takes a descriptor, and there may be none left.
  for (const file of [path, logPath(path)]) rmSync(file, { force: true })
  rmSync(`${path}.tmp`, { recursive: true, force: true })
}

/**
 * Gives a finished, closed database its name and makes sure that the name lasts. False, and nothing is changed, if the
 * name is taken.
 */
export const nameDatabase = (from: string, to: string): boolean => {
  syncPath(from)
  try {
    // Unlike a rename, a link never replaces a file that another process has put there meanwhile.
    linkSync(from, to)
  } catch (cause) {
    if (hasName(to)) return false
    if (!noLinks.has(systemCode(cause) ?? "")) throw cause
    renameSync(from, to)
  }
  rmSync(from, { force: true })
  syncPath(dirname(to))
  return true
}

/**
 * Puts a finished database in the place of another, with its permissions, and makes sure that this lasts. Gives what lets go
 * of the new one, to be called when this process has it open no more: closing any handle of a file gives up the process's
 * locks on it.
 */
export const replaceDatabase = (from: string, to: string): (() => void) => {
  chmodSync(from, statSync(to).mode & 0o777)
  const handle = openSync(from, "r")
  try {
    fsyncSync(handle)
    renameSync(from, to)
    syncPath(dirname(to))
  } catch (cause) {
    closeSync(handle)
    throw cause
  }
  return () => closeSync(handle)
}

/** What tells a file from another that has its name later; undefined where there is none. */
export const fileNumber = (path: string): bigint | undefined =>
  statSync(path, { bigint: true, throwIfNoEntry: false })?.ino

/** Size of a file in bytes. */
export const bytesOf = (path: string): number => statSync(path).size

const noLinks = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV"])
