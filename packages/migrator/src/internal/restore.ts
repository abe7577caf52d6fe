/** Files that come back from a backup: whole, with mode and times, and never over one that is there. */
import { syncFolder, writeAll } from "@mallard/duckdb-store/Disk"
import { asidePath } from "@mallard/duckdb-store/Leftovers"
import { createHash } from "node:crypto"
import {
  chmodSync,
  closeSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  utimesSync
} from "node:fs"
import { dirname } from "node:path"
import type { ManifestFile } from "./manifest.ts"
import type { Sink } from "./packs.ts"

/** Whether anything, even a link that leads nowhere, has this name. */
export const isThere = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined

/** A file that is being restored beside its place. */
export class RestoredFile implements Sink {
  private readonly target: string
  private readonly aside: string
  private handle: number | undefined

  constructor(target: string) {
    this.target = target
    this.aside = asidePath(target)
    this.handle = openSync(this.aside, "wx", 0o600)
  }

  write(bytes: Uint8Array): void {
    if (this.handle !== undefined) writeAll(this.handle, bytes)
  }

  /** Gives it its mode, its times and its name, unless something has the name meanwhile. A scratch file need not last. */
  publish({ mode, mtime_ns }: Pick<ManifestFile, "mode" | "mtime_ns">, isScratch = false): void {
    if (this.handle === undefined) return
    if (!isScratch) fsyncSync(this.handle)
    closeSync(this.handle)
    this.handle = undefined
    chmodSync(this.aside, mode)
    const time = timeOf(BigInt(mtime_ns))
    utimesSync(this.aside, time, time)
    try {
      // Unlike a rename, a link never replaces a file that another process has put there meanwhile.
      linkSync(this.aside, this.target)
      rmSync(this.aside)
    } catch (cause) {
      if (isThere(this.target)) throw cause
      renameSync(this.aside, this.target)
    }
    if (!isScratch) syncFolder(dirname(this.target))
  }

  discard(): void {
    if (this.handle !== undefined) closeSync(this.handle)
    this.handle = undefined
    rmSync(this.aside, { force: true })
  }
}

/**
 * A time for Node, which takes seconds as a double: today's lie 238 ns apart. One that is a double, as whole seconds are, is
 * exact; else the nearest may be of the microsecond before or after, unless it keeps away from the ends of its own. Times
 * before 1970 have their millisecond: of numbers below zero Node makes now.
 */
const timeOf = (nanoseconds: bigint): number | Date => {
  if (nanoseconds < 0n) return new Date(Number(nanoseconds / 1_000_000n))
  const second = Number(nanoseconds / 1_000_000_000n)
  const rest = Number(nanoseconds % 1_000_000_000n)
  const exact = second + rest / 1e9
  if ((exact % 1) * 1e9 === rest) return exact
  const within = rest % 1000
  return second + (rest - within + Math.min(Math.max(within, 300), 700)) / 1e9
}

const CHUNK = 1 << 20

/** Whether a file has the bytes of an entry, and unless only they are asked for, its mode and times. */
export const compareRestored = (path: string, file: ManifestFile, what: "all" | "bytes" = "all"): boolean => {
  const stats = lstatSync(path, { bigint: true })
  if (!stats.isFile() || Number(stats.size) !== file.bytes) return false
  if (what === "all") {
    const drift = stats.mtimeNs - BigInt(file.mtime_ns)
    if (drift > 2000n || drift < -2000n) return false
    // Windows knows one bit of a mode.
    if (process.platform !== "win32" && (Number(stats.mode) & 0o7777) !== file.mode) return false
  }
  const handle = openSync(path, "r")
  try {
    const hash = createHash("sha256")
    const chunk = Buffer.allocUnsafe(CHUNK)
    for (let count = 1; count > 0;) {
      count = readSync(handle, chunk, 0, CHUNK, null)
      hash.update(chunk.subarray(0, count))
    }
    return hash.digest("hex") === file.sha256
  } finally {
    closeSync(handle)
  }
}
