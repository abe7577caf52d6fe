/** What all parts of the program that have to do with disks share: sizes as people read them, whole writes, and names that last. */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs"

const units = ["B", "kB", "MB", "GB", "TB"]

/** A size in units of 1000 bytes: `999 B`, `1.2 MB`. */
export const sizeText = (bytes: number): string => {
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toPrecision(value >= 10 ? 3 : 2)} ${units[unit]}`
}

/** Makes the names in a folder last; some systems do not open folders, and there it is up to them. */
export const syncFolder = (folder: string): void => {
  let handle: number | undefined
  try {
    handle = openSync(folder, "r")
    fsyncSync(handle)
  } catch {
    return
  } finally {
    if (handle !== undefined) closeSync(handle)
  }
}

/** Writes all bytes where the handle stands, or from a position on. */
export const writeAll = (handle: number, bytes: Uint8Array, position?: number): void => {
  for (let written = 0; written < bytes.length;) {
    const at = position === undefined ? null : position + written
    written += writeSync(handle, bytes, written, bytes.length - written, at)
  }
}
