/**
 * The calls to the operating system for which Effect's `FileSystem` has no words: opening without following links or
 * waiting for a FIFO, names as bytes, identities in nanoseconds. They are synchronous; callers wrap them per folder, per
 * file or per chunk.
 */

import { isUtf8 } from "node:buffer"
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  read as readCallback,
  readdirSync,
  readSync,
  realpathSync,
  statSync
} from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { type FileIdentity } from "../ChangeWatch.ts"
import { SourceError, unreadableReasonOf } from "../SourceError.ts"

export type EntryType = "file" | "folder" | "symbolic-link" | "fifo" | "socket" | "device"

export interface Entry {
  /** Of a name that is not UTF-8, bytes beyond printable ASCII and backslashes are `\xNN`; it cannot be opened by this name. */
  readonly name: string
  readonly path: string
  readonly isUtf8: boolean
  readonly type: EntryType
  readonly identity: FileIdentity
  readonly modifiedMs: number
}

/** The entries of a folder in the order of the bytes of their names; those that vanish meanwhile are left out. */
export const entriesOf = (folder: string): ReadonlyArray<Entry> => {
  const entries: Array<Entry> = []
  for (const bytes of readdirSync(folder, { encoding: "buffer" }).sort((a, b) => a.compare(b))) {
    const isText = isUtf8(bytes)
    const name = isText ? bytes.toString() : printableBytes(bytes)
    const path = join(folder, name)
    const stats = lstatSync(isText ? path : Buffer.concat([Buffer.from(join(folder, "/")), bytes]), {
      bigint: true,
      throwIfNoEntry: false
    })
    if (stats !== undefined) {
      entries.push({ name, path, isUtf8: isText, ...factsOf(stats) })
    }
  }
  return entries
}

/** What is at the path after resolving links. Throws if there is nothing. */
export const resolvedEntry = (path: string): Omit<Entry, "name" | "isUtf8"> => {
  const resolved = realpathSync.native(path)
  return { path: resolved, ...factsOf(statSync(resolved, { bigint: true })) }
}

export const typeAt = (path: string): EntryType | undefined => {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false })
  return stats === undefined ? undefined : typeOf(stats)
}

/** Opens for reading; fails for a symbolic link, and never waits for the other end of a FIFO. */
export const open = (path: string): number =>
  // Windows has neither flag.
  openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0))

export const close = (fd: number): void => closeSync(fd)

/** Fills the buffer as far as the file goes and returns the number of bytes. */
export const read = (fd: number, into: Uint8Array): number => {
  let filled = 0
  while (filled < into.length) {
    const count = readSync(fd, into, filled, into.length - filled, null)
    if (count === 0) {
      break
    }
    filled += count
  }
  return filled
}

/** The same without holding up anything else. */
export const readMeanwhile = async (fd: number, into: Uint8Array): Promise<number> => {
  let filled = 0
  while (filled < into.length) {
    const { bytesRead } = await readAsync(fd, into, filled, into.length - filled, null)
    if (bytesRead === 0) {
      break
    }
    filled += bytesRead
  }
  return filled
}

const readAsync = promisify(readCallback)

export const factsAt = (fd: number): Pick<Entry, "type" | "identity" | "modifiedMs"> =>
  factsOf(fstatSync(fd, { bigint: true }))

/** The first `limit` bytes of a regular file, or undefined if it cannot be read. */
export const head = (path: string, limit: number): Uint8Array | undefined => {
  try {
    const fd = open(path)
    try {
      if (factsAt(fd).type !== "file") {
        return undefined
      }
      const bytes = Buffer.allocUnsafe(limit)
      return bytes.subarray(0, read(fd, bytes))
    } finally {
      close(fd)
    }
  } catch {
    return undefined
  }
}

/** The error for what the operating system threw. */
export const errorOf = (path: string, cause: unknown): SourceError =>
  new SourceError({ reason: unreadableReasonOf(cause), path, cause })

const factsOf = (stats: BigIntStats): Pick<Entry, "type" | "identity" | "modifiedMs"> => ({
  type: typeOf(stats),
  identity: { dev: stats.dev, ino: stats.ino, size: stats.size, mtimeNs: stats.mtimeNs, ctimeNs: stats.ctimeNs },
  modifiedMs: Number(stats.mtimeMs)
})

const typeOf = (stats: BigIntStats): EntryType =>
  stats.isFile()
    ? "file"
    : stats.isDirectory()
      ? "folder"
      : stats.isSymbolicLink()
        ? "symbolic-link"
        : stats.isFIFO()
          ? "fifo"
          : stats.isSocket()
            ? "socket"
            : "device"

const BACKSLASH = 0x5c

const printableBytes = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) =>
    byte >= 0x20 && byte < 0x7f && byte !== BACKSLASH
      ? String.fromCodePoint(byte)
      : `\\x${byte.toString(16).padStart(2, "0")}`
  ).join("")
