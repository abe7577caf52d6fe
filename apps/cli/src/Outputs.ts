/** Files that get their names only when they are whole, and names that are safe to give. */
import { randomBytes } from "node:crypto"
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs"
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path"
import { CommandFailed, exitCode } from "./Failure.ts"
import { printable } from "./Text.ts"

/** A file that is being written beside the place where it will be. */
class PendingFile {
  readonly path: string
  private readonly temporary: string
  private handle: number | undefined

  constructor(path: string) {
    const folder = dirname(path)
    mkdirSync(folder, { recursive: true })
    this.path = path
    this.temporary = join(folder, `.mallard-${randomBytes(8).toString("hex")}.tmp`)
    this.handle = openSync(this.temporary, "wx", 0o600)
  }

  write(bytes: Uint8Array): void {
    if (this.handle === undefined) throw new Error(`${basename(this.path)} is finished`)
    for (let written = 0; written < bytes.length;) written += writeSync(this.handle, bytes, written)
  }

  /** Afterwards all that was written is on the disk. */
  finish(): void {
    if (this.handle !== undefined) fsyncSync(this.handle)
    this.close()
  }

  publish(): void {
    this.finish()
    renameSync(this.temporary, this.path)
  }

  discard(): void {
    this.close()
    rmSync(this.temporary, { force: true })
  }

  private close(): void {
    const { handle } = this
    this.handle = undefined
    if (handle !== undefined) closeSync(handle)
  }
}

/** Files that belong together. */
export class FileSet {
  private files: Array<PendingFile> = []
  private readonly folders = new Set<string>()

  open(path: string): Pick<PendingFile, "write" | "finish"> {
    const file = new PendingFile(path)
    this.files.push(file)
    return file
  }

  /** Gives all files their names. */
  publish(): void {
    for (const file of this.files) {
      file.publish()
      this.folders.add(dirname(file.path))
    }
    this.files = []
  }

  /** Removes the files that have no names yet. */
  discard(): void {
    for (const file of this.files) file.discard()
    this.files = []
  }

  /** Afterwards the names are on the disk too. */
  sync(): void {
    for (const folder of this.folders) syncFolder(folder)
  }
}

/** Some systems do not open folders; there it is up to them. */
const syncFolder = (folder: string): void => {
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

/** The path of a name below a folder; undefined when it leads out of it. */
export const pathBelow = (folder: string, name: string): string | undefined => {
  if (name === "" || name.includes("\0") || isAbsolute(name)) return undefined
  const path = resolve(folder, name)
  const way = relative(resolve(folder), path)
  return way === "" || way === ".." || way.startsWith(`..${sep}`) || isAbsolute(way) ? undefined : path
}

const MAX_NAME_BYTES = 150
const reserved = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i

/** A file name for a cohort that every system takes, not among `taken` in any case; it is added to them. */
export const safeName = (name: string, taken: Set<string>): string => {
  let plain = name
    .toWellFormed()
    .normalize("NFC")
    .replace(/[\p{C}\p{Zl}\p{Zp}<>:"/\\|?*]/gu, "_")
    .replace(/^[. ]+|[. ]+$/g, "_")
  if (Buffer.byteLength(plain) > MAX_NAME_BYTES) plain = shortened(plain)
  if (plain === "" || reserved.test(plain)) plain = `_${plain}`
  let unique = plain
  for (let number = 2; taken.has(unique.toLowerCase()); number++) unique = `${plain}-${number}`
  taken.add(unique.toLowerCase())
  return unique
}

const shortened = (name: string): string => {
  let bytes = 0
  const kept: Array<string> = []
  for (const character of name) {
    bytes += Buffer.byteLength(character)
    if (bytes > MAX_NAME_BYTES) break
    kept.push(character)
  }
  return kept.join("")
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: "the operating system does not permit it",
  EPERM: "the operating system does not permit it",
  EROFS: "the disk is read-only",
  ENOSPC: "there is no space left on the disk",
  EDQUOT: "there is no space left on the disk",
  EISDIR: "there is a folder of that name",
  ENOTDIR: "a part of its path is no folder",
  EEXIST: "a part of its path is no folder",
  ENOTEMPTY: "there is a folder of that name",
  ENAMETOOLONG: "its name is too long"
}

/** A failure of the file system, named by its path; undefined for any other. */
export const fileFailure = (cause: unknown): CommandFailed | undefined => {
  if (!(cause instanceof Error) || !("syscall" in cause) || !("code" in cause) || typeof cause.code !== "string") {
    return undefined
  }
  const path = "dest" in cause ? cause.dest : "path" in cause ? cause.path : undefined
  return new CommandFailed({
    code: exitCode.failed,
    what: `Cannot write ${typeof path === "string" ? placeOf(path) : "the output"}: ${reasons[cause.code] ?? "writing failed"}.`,
    next: ["Name another place with --out."]
  })
}

/** A path to name: of a file that has no name yet, the folder that it is in. */
const placeOf = (path: string): string => (path.endsWith(".tmp") ? `into ${printable(dirname(path))}` : printable(path))
