/**
 * What the bytes of a database file and of its write-ahead log say, read without DuckDB, which takes a log that is cut or
 * empty for one that ends there and says nothing. Not for a process that has the database open: closing the file would
 * drop DuckDB's lock on it.
 */

import { isDatabaseHead } from "@mallard/sql-duckdb/DatabaseFile"
import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs"
import { logPath } from "./files.ts"

/** The header of a database file. */
export interface FileHeader {
  /** Number of DuckDB's storage format. */
  readonly storageVersion: number
  /** The release of DuckDB that made the file. */
  readonly writtenBy: string
  /** Bytes that name this database, in hex; its log carries them too. */
  readonly id: string
  /** Counts the checkpoints; a log carries that of the state it goes on from. */
  readonly iteration: number
}

/** What lies beside a database as its write-ahead log. */
export type LogState =
  | { readonly _tag: "None" }
  /** Empty, or no log at all. DuckDB passes over it in silence. */
  | { readonly _tag: "Unreadable"; readonly bytes: number }
  /** The log of another database. */
  | { readonly _tag: "Foreign"; readonly bytes: number }
  /** The log of an earlier or later state of this database. */
  | { readonly _tag: "Stale"; readonly bytes: number; readonly commits: number }
  /** It ends in the middle of a transaction, `rest` bytes after the last whole one. */
  | { readonly _tag: "Torn"; readonly bytes: number; readonly commits: number; readonly rest: number }
  | { readonly _tag: "Whole"; readonly bytes: number; readonly commits: number }

/** The header of the file at `path`; undefined where the file is no DuckDB database. */
export const readHeader = (path: string): FileHeader | undefined =>
  reading(path, (read) => {
    const bytes = read(0, 3 * BLOCK)
    if (bytes.length < 3 * BLOCK || !isDatabaseHead(bytes)) return undefined
    return {
      storageVersion: Number(bytes.readBigUInt64LE(12)),
      writtenBy: bytes.toString("latin1", 52, 84).replaceAll(/[^\w.+-]/g, ""),
      id: bytes.toString("hex", ID_AT, ID_AT + ID_BYTES),
      iteration: Math.max(iterationAt(bytes, BLOCK), iterationAt(bytes, 2 * BLOCK))
    }
  })

/** The state of the log beside the database at `path`, whose header is `header` if it has one. */
export const readLog = (path: string, header: FileHeader | undefined): LogState => {
  const file = logPath(path)
  if (!existsSync(file)) return { _tag: "None" }
  return reading(file, (read, bytes): LogState => {
    const start = logStart(read(0, 128))
    if (start === undefined) return { _tag: "Unreadable", bytes }
    if (header !== undefined && start.id !== header.id) return { _tag: "Foreign", bytes }
    const { commits, end } = walk(read, start.end, bytes)
    if (header !== undefined && start.iteration !== header.iteration) return { _tag: "Stale", bytes, commits }
    return end < bytes ? { _tag: "Torn", bytes, commits, rest: bytes - end } : { _tag: "Whole", bytes, commits }
  })
}

const BLOCK = 4096
const ID_AT = 124
const ID_BYTES = 16

type Read = (at: number, length: number) => Buffer

const reading = <A>(path: string, use: (read: Read, bytes: number) => A): A => {
  const file = openSync(path, "r")
  try {
    const read: Read = (at, length) => {
      const buffer = Buffer.alloc(length)
      return buffer.subarray(0, readSync(file, buffer, 0, length, at))
    }
    return use(read, fstatSync(file).size)
  } finally {
    closeSync(file)
  }
}

// One of the two headers may be unused; it counts as older than any.
const iterationAt = (bytes: Buffer, block: number): number => {
  const iteration = bytes.readBigUInt64LE(block + 8)
  return iteration > BigInt(Number.MAX_SAFE_INTEGER) ? -1 : Number(iteration)
}

/** Types of log entries. */
const VERSION = 98
const FLUSH = 100

interface LogStart {
  readonly id: string
  readonly iteration: number
  readonly end: number
}

/** The entry that every log begins with: type, version, id of the database, number of the checkpoint. */
const logStart = (bytes: Buffer): LogStart | undefined => {
  let at = 0
  const field = (id: number): boolean => {
    at += 2
    return at <= bytes.length && bytes.readUInt16LE(at - 2) === id
  }
  const number = (): number => {
    let value = 0
    for (let factor = 1; at < bytes.length; factor *= 128) {
      const byte = bytes[at++]!
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
    return -1
  }
  // Version 2 is that of the storage format that we write: entries with checksums, not encrypted.
  if (!field(100) || number() !== VERSION || !field(101) || number() !== 2) return undefined
  if (!field(102) || number() !== ID_BYTES) return undefined
  const id = Buffer.from(Array.from({ length: ID_BYTES }, number)).toString("hex")
  if (!field(103)) return undefined
  const iteration = number()
  return field(0xffff) && iteration >= 0 ? { id, iteration, end: at } : undefined
}

/** Size and checksum stand before each entry. */
const FRAME = 16
const WINDOW = 1 << 16

/** Counts the transactions that are whole; `end` is the offset after the last of them. */
const walk = (read: Read, start: number, bytes: number): { readonly commits: number; readonly end: number } => {
  let commits = 0
  let end = start
  let from = start
  let window: Buffer = Buffer.alloc(0)
  for (let at = start; at + FRAME + 3 <= bytes;) {
    if (at + FRAME + 3 > from + window.length) {
      from = at
      window = read(at, WINDOW)
    }
    const frame = at - from
    const size = window.readBigUInt64LE(frame)
    const next = BigInt(at + FRAME) + size
    if (next > BigInt(bytes) || window.readUInt16LE(frame + FRAME) !== 100) break
    at = Number(next)
    if (window[frame + FRAME + 2] === FLUSH) {
      commits++
      end = at
    }
  }
  return { commits, end }
}
