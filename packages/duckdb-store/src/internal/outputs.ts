/** Files that get their names only when all of them are whole. */

import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, rmSync, statSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { type Destination, destinationOf, putInPlace } from "../Destination.ts"

/** Files that belong together; `publish` gives them their names, `discard` removes what has none yet. */
export class OutputFiles {
  private readonly pending: Array<Destination> = []

  /** A name to write to instead of `path`. */
  temporary(path: string): string {
    const destination = destinationOf(path)
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    this.pending.push(destination)
    return destination.aside
  }

  write(path: string, bytes: Uint8Array): void {
    writeFileSync(this.temporary(path), bytes, { mode: 0o600, flag: "wx" })
  }

  /** The paths, in the order in which they were begun. */
  async publish(): Promise<ReadonlyArray<string>> {
    for (const { aside } of this.pending) {
      chmodSync(aside, 0o600)
      const handle = openSync(aside, "r+")
      try {
        fsyncSync(handle)
      } finally {
        closeSync(handle)
      }
    }
    const paths = this.pending.map(({ path }) => path)
    for (const destination of this.pending) await putInPlace(destination)
    this.pending.length = 0
    return paths
  }

  discard(): void {
    for (const { aside } of this.pending) rmSync(aside, { force: true })
    this.pending.length = 0
  }
}

/** Whether the user means a folder: it is one, or the path ends like one. */
export const isFolder = (path: string): boolean =>
  /[/\\]$/.test(path) || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
