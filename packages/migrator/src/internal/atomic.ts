/** Files that are there whole or not at all: written aside, flushed to the disk, then named. For their owner alone. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync } from "node:fs"
import { dirname } from "node:path"
import { syncFolder, writeAll } from "@mallard/duckdb-store/Disk"
import { asidePath } from "@mallard/duckdb-store/Leftovers"

export const writeWhole = (path: string, bytes: Uint8Array): void => {
  const aside = asidePath(path)
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
