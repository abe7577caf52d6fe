/** What tells a database file of DuckDB from any other. Loads nothing of DuckDB, so that a process can ask before it does. */
import { fstatSync, readdirSync } from "node:fs"

/** Bytes from the start of a file on that `isDatabaseHead` has to see. */
export const DATABASE_HEAD_BYTES = 16

/**
 * Whether the first bytes of a file are those of a DuckDB database, of any version. Fewer than `DATABASE_HEAD_BYTES` are
 * those of none.
 */
export const isDatabaseHead = (head: Uint8Array): boolean =>
  head.length >= DATABASE_HEAD_BYTES && MAGIC.every((byte, at) => head[MAGIC_AT + at] === byte)

/** What `descriptorsOf` knows a file by. */
export const fileIdentity = ({ dev, ino }: { readonly dev: number; readonly ino: number }): string => `${dev}:${ino}`

/**
 * The descriptors through which this process has a file open, whoever opened it; none where the system does not list them,
 * as on Windows. Reading an open database through one of them keeps DuckDB's lock: closing another one would drop it.
 */
export const descriptorsOf = (identity: string): ReadonlyArray<number> => {
  let names: ReadonlyArray<string>
  try {
    names = readdirSync("/dev/fd")
  } catch {
    return []
  }
  return names.map(Number).filter((descriptor) => {
    try {
      return fileIdentity(fstatSync(descriptor)) === identity
    } catch {
      return false
    }
  })
}

/** Behind the checksum of the first block: https://duckdb.org/docs/stable/internals/storage */
const MAGIC_AT = 8
const MAGIC: ReadonlyArray<number> = Array.from("DUCK", (letter) => letter.charCodeAt(0))
