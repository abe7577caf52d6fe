/**
 * What all parts of the program that have to do with disks share: sizes as people read them, whole reads and writes, names that last
 * or lead nowhere else, and programs that lie beside a module.
 */
import { closeSync, fsyncSync, openSync, readSync, writeSync } from "node:fs"
import { isAbsolute, relative, resolve, sep } from "node:path"

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

/** The code of a failure that the operating system, or Node, gave a name; undefined for any other. */
export const systemCode = (cause: unknown): string | undefined =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined

/** What failures of writing have in common, whatever was written. */
export type DiskProblem = "missing" | "permission" | "no-space"

/** What a code of the operating system says of a place on a disk; undefined for one that says something else. */
export const diskProblemOf = (code: string): DiskProblem | undefined => diskProblems.get(code)

const diskProblems: ReadonlyMap<string, DiskProblem> = new Map([
  ["ENOENT", "missing"],
  ["EACCES", "permission"],
  ["EPERM", "permission"],
  ["EROFS", "permission"],
  ["ENOSPC", "no-space"],
  ["EFBIG", "no-space"],
  ["EDQUOT", "no-space"]
])

/** Chains of causes are a few errors long; one that leads back to itself would have no end. */
const DEEPEST = 8

/** An error and the errors that caused it, outermost first. */
export function* causesOf(error: unknown): Generator<Error> {
  for (let cause = error, level = 0; level < DEEPEST && cause instanceof Error; level++, cause = cause.cause)
    yield cause
}

/** Whether the disk was full, which may pass. DuckDB's text, which tells, lies below Effect's error. */
export const isOutOfSpace = (error: unknown): boolean => says(error, /No space left|disk quota/i)

/** What could not be had when DuckDB failed, as far as that can be told. */
export type Lack = "space" | "memory" | "permission"

export const lackOf = (error: unknown): Lack | undefined => {
  if (isOutOfSpace(error) || says(error, /File too large/i)) return "space"
  // At a commit DuckDB does not call it an error of memory.
  if (says(error, /\bOut of Memory Error\b|Failed to create directory|could not allocate block|failed to pin block/i))
    return "memory"
  return says(error, /Permission denied|Operation not permitted|Read-only file system/i) ? "permission" : undefined
}

const says = (error: unknown, pattern: RegExp): boolean =>
  [...causesOf(error)].some(({ message }) => pattern.test(message))

/** Makes a file, or the names in a folder, last. Some systems do not open folders, and there it is up to them. */
export const syncPath = (path: string): void => {
  let handle: number
  try {
    handle = openSync(path, "r")
  } catch (cause) {
    if (systemCode(cause) === "EISDIR") return
    throw cause
  }
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

/**
 * The same for names that are given already and cannot be taken back: where it fails, the files are whole all the same,
 * and what a lost name would have led to is made or fetched again.
 */
export const syncFolder = (folder: string): void => {
  try {
    syncPath(folder)
  } catch {
    return
  }
}

/** Writes all bytes where the handle stands, or from a position on. */
export const writeAll = (handle: number, bytes: Uint8Array, position?: number): void => {
  for (let written = 0; written < bytes.length;) {
    const at = position === undefined ? null : position + written
    written += writeSync(handle, bytes, written, bytes.length - written, at)
  }
}

/** Fills the bytes from where the handle stands, or from a position on, as far as the file goes; gives how many there were. */
export const readFully = (handle: number, into: Uint8Array, position?: number): number => {
  let filled = 0
  while (filled < into.length) {
    const at = position === undefined ? null : position + filled
    const count = readSync(handle, into, filled, into.length - filled, at)
    if (count === 0) break
    filled += count
  }
  return filled
}

/** The path of a name below a folder; undefined when it leads out of it. */
export const pathBelow = (folder: string, name: string): string | undefined => {
  if (name === "" || name.includes("\0") || isAbsolute(name)) return undefined
  const path = resolve(folder, name)
  const way = relative(resolve(folder), path)
  return way === "" || way === ".." || way.startsWith(`..${sep}`) || isAbsolute(way) ? undefined : path
}

/**
 * The program `name` in the folder `internal` beside the module with this `import.meta.url`, in the sources and where they
 * are compiled or bundled: a bundle has to contain it.
 */
export const programBeside = (module: string, name: string): URL =>
  new URL(`./internal/${name}.${module.endsWith(".ts") ? "ts" : "js"}`, module)
