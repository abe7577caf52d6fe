/**
 * Files that are written aside before they get their names, and what becomes of those whose process was killed. Their names
 * tell whose they are: only files of ours are ever taken for leftovers, and only once nobody can be at work on them.
 */
import { randomUUID } from "node:crypto"
import { lstatSync, readdirSync, rmdirSync, rmSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { systemCode } from "./Disk.ts"

/** Where a file is written before it gets its name. Short, whatever the name is. */
export const asidePath = (path: string): string => join(dirname(path), `${ASIDE}${process.pid}-${randomUUID()}.tmp`)

/** The beginning of the name of a folder for what is gone when the process has done its work. */
export const scratchPrefix = (purpose: string): string => `mallard-${purpose}-${process.pid}-`

const ASIDE = ".mallard-"

/** Names of files that are written aside, with the process that made them; older versions left it out. */
const asides: ReadonlyArray<RegExp> = [/^\.mallard-(\d+)-[0-9a-f-]{36}\.tmp$/, /^\.mallard-()[0-9a-f]{16}\.tmp$/]

/** Those that lie beside a database: it is built under such a name itself, and rebuilt. */
export const namesBeside = (database: string): ReadonlyArray<RegExp> => {
  const name = basename(database).replaceAll(/[^\w]/g, String.raw`\$&`)
  return [...asides, new RegExp(String.raw`^\.${name}(?:\.rebuilt)?\.tmp-(\d+)(?:\.wal|\.tmp)?$`)]
}

/** Those in a folder that nobody else writes to: what older versions wrote aside was named after the file. */
export const namesInStore: ReadonlyArray<RegExp> = [
  ...asides,
  /^\.scratch-()[0-9a-f-]{36}$/,
  /^\..+\.tmp-()[0-9a-f-]{36}$/
]

const HOUR_MS = 60 * 60 * 1000
/** A process that is gone here may be one of another machine or container. */
const GONE_MS = HOUR_MS
/** Longer than anything takes: then another process has the number by now. */
const LONGEST_MS = 24 * HOUR_MS

/** The process that made a file of ours aside; 0 if its name does not tell, and undefined if it is none. */
const makerOf = (name: string, known: ReadonlyArray<RegExp>): number | undefined => {
  for (const pattern of known) {
    const found = pattern.exec(name)
    if (found !== null) return Number(found[1])
  }
  return undefined
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    // One of somebody else is there too.
    return systemCode(cause) === "EPERM"
  }
}

/** A file in a folder that was written aside and never got its name. */
export interface Leftover {
  readonly path: string
  /** Whether nobody can be at work on it any more. */
  readonly isAbandoned: boolean
}

/** All files in a folder that were written aside, as far as the folder can be read. */
export const leftoversIn = (folder: string, known: ReadonlyArray<RegExp> = asides): ReadonlyArray<Leftover> => {
  const found: Array<Leftover> = []
  for (const name of namesIn(folder)) {
    const maker = makerOf(name, known)
    if (maker === undefined) continue
    const path = join(folder, name)
    const modified = lstatSync(path, { throwIfNoEntry: false })?.mtimeMs
    if (modified === undefined) continue
    const age = Date.now() - modified
    const isGone = maker > 0 && !isAlive(maker)
    found.push({ path, isAbandoned: age > LONGEST_MS || (isGone && age > GONE_MS) })
  }
  return found
}

/** Removes what killed processes left in a folder. What cannot be removed stays: it is in nobody's way. */
export const removeLeftovers = (folder: string, known?: ReadonlyArray<RegExp>): void => {
  for (const { isAbandoned, path } of leftoversIn(folder, known)) {
    if (!isAbandoned) continue
    try {
      rmSync(path, { recursive: true, force: true })
    } catch {
      continue
    }
  }
}

/** The same for many files, each folder once. */
export const leftoverRemover = (): ((folder: string) => void) => {
  const cleared = new Set<string>()
  return (folder) => {
    if (cleared.has(folder)) return
    cleared.add(folder)
    removeLeftovers(folder)
  }
}

/** Removes what a killed writer of a database spilled. Only for who has the database to itself. */
export const removeSpill = (database: string): void => {
  const folder = `${database}.tmp`
  for (const name of namesIn(folder)) {
    if (!/^duckdb_temp_(?:storage|block).*\.(?:tmp|block)$/.test(name)) continue
    try {
      rmSync(join(folder, name), { force: true })
    } catch {
      continue
    }
  }
  try {
    rmdirSync(folder)
  } catch {
    return
  }
}

/** Removes the scratch folders of killed processes below a folder for temporary files. */
export const removeScratch = (folder: string, purpose: string): void =>
  removeLeftovers(folder, [new RegExp(`^mallard-${purpose}-(\\d+)-`)])

const namesIn = (folder: string): ReadonlyArray<string> => {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
