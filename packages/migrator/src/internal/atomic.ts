/** Files that are there whole or not at all: written aside, flushed to the disk, then named. For their owner alone. */
import { closeSync, fsyncSync, linkSync, openSync, renameSync, rmSync } from "node:fs"
import { dirname } from "node:path"
import { syncFolder, writeAll } from "@mallard/duckdb-store/Disk"
import { asidePath } from "@mallard/duckdb-store/Leftovers"
import { isThere } from "./restore.ts"

/** Takes the place of a file that has the name. */
export const writeWhole = (path: string, bytes: Uint8Array): void => writeAside(path, bytes, renameSync)

/** Leaves a file that has the name as it is. */
export const writeIfNone = (path: string, bytes: Uint8Array): void =>
  writeAside(path, bytes, (aside) => {
    try {
      // Unlike a rename, a link never replaces a file that another process has put there meanwhile.
      linkSync(aside, path)
    } catch {
      // Some disks have no links.
      if (!isThere(path)) return renameSync(aside, path)
    }
    rmSync(aside)
  })

const writeAside = (path: string, bytes: Uint8Array, name: (aside: string, path: string) => void): void => {
  const aside = asidePath(path)
  const handle = openSync(aside, "wx", 0o600)
  try {
    try {
      writeAll(handle, bytes)
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
    name(aside, path)
  } catch (cause) {
    rmSync(aside, { force: true })
    throw cause
  }
  syncFolder(dirname(path))
}
