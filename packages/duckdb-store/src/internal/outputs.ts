/** Files that get their names only when all of them are whole. */

import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { dirname } from "node:path"
import { asidePath } from "../Leftovers.ts"

/** Files that belong together; `publish` gives them their names, `discard` removes what has none yet. */
export class OutputFiles {
  private readonly pending: Array<{ readonly path: string; readonly temporary: string }> = []

  /** A name to write to instead of `path`. */
  temporary(path: string): string {
    const folder = dirname(path)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const temporary = asidePath(path)
    this.pending.push({ path, temporary })
    return temporary
  }

  write(path: string, bytes: Uint8Array): void {
    writeFileSync(this.temporary(path), bytes, { mode: 0o600, flag: "wx" })
  }

  /** The paths, in the order in which they were begun. */
  publish(): ReadonlyArray<string> {
    for (const { temporary } of this.pending) {
      chmodSync(temporary, 0o600)
      const handle = openSync(temporary, "r+")
      try {
        fsyncSync(handle)
      } finally {
        closeSync(handle)
      }
    }
    const paths = this.pending.map(({ path, temporary }) => {
      renameSync(temporary, path)
      return path
    })
    this.pending.length = 0
    return paths
  }

  discard(): void {
    for (const { temporary } of this.pending) rmSync(temporary, { force: true })
    this.pending.length = 0
  }
}

/** Whether the user means a folder: it is one, or the path ends like one. */
export const isFolder = (path: string): boolean =>
  /[/\\]$/.test(path) || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
