/** Files that are there whole or not at all: written aside, flushed to the disk, then named. For their owner alone. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { randomUUID } from "node:crypto"
import { syncFolder, writeAll } from "@mallard/duckdb-store/Disk"

/** Where a file is written before it gets its name. */
export const asideOf = (path: string): string => join(dirname(path), `.${basename(path)}.tmp-${randomUUID()}`)

export const writeWhole = (path: string, bytes: Uint8Array): void => {
  const aside = asideOf(path)
  const handle = openSync(aside, "wx", 0o600)
  try {
    try {
      writeAll(handle, bytes)
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
    renameSync(aside, path)
  } catch (cause) {
    rmSync(aside, { force: true })
    throw cause
  }
  syncFolder(dirname(path))
}
