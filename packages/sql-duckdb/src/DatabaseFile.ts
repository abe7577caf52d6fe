/** What tells a database file of DuckDB from any other. Loads nothing, so that a process can ask before it loads DuckDB. */

/** Bytes from the start of a file on that `isDatabaseHead` has to see. */
export const DATABASE_HEAD_BYTES = 16

/**
 * Whether the first bytes of a file are those of a DuckDB database, of any version. Fewer than `DATABASE_HEAD_BYTES` are
 * those of none.
 */
export const isDatabaseHead = (head: Uint8Array): boolean =>
  head.length >= DATABASE_HEAD_BYTES && MAGIC.every((byte, at) => head[MAGIC_AT + at] === byte)

/** Behind the checksum of the first block: https://duckdb.org/docs/stable/internals/storage */
const MAGIC_AT = 8
const MAGIC: ReadonlyArray<number> = Array.from("DUCK", (letter) => letter.charCodeAt(0))
