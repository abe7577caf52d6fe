/**
 * Moving originals out of the way, which happens only when the user says so: after the proof of what was stored, and after
 * every copy of the backup has been read and compared. A file that is no longer the one that was read stays where it is, and
 * so does one of which the backup has no copy, or another.
 */
import { linkSync, lstatSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, statSync } from "node:fs"
import { basename, dirname, join, relative, sep } from "node:path"
import { type Failpoint, Failpoints } from "@mallard/duckdb-store"
import { isSameVersion, printablePath, type SourceFile } from "@mallard/legacy-json"
import { Effect, Schema } from "effect"
import { type CipherSettings, findBackup, verifyBackup } from "../Backup.ts"
import type { BackupReport, RunReport } from "../Report.ts"
import { syncFolder, systemCode } from "@mallard/duckdb-store/Disk"
import { commonFolder, type ManifestFile } from "./manifest.ts"
import { compareRestored, isThere } from "./restore.ts"

const refusals = {
  "among-sources": ["it lies among the sources", "name a folder elsewhere"],
  "other-disk": ["it lies on another disk than they do", "name a folder on theirs"]
} as const

/**
 * Originals cannot be moved to a place among the sources, where the next run would find them, or on another disk, where a file
 * cannot get a further name.
 */
export class MoveRefused extends Schema.TaggedError<MoveRefused>()("MoveRefused", {
  folder: Schema.String,
  reason: Schema.Literals(["among-sources", "other-disk"]),
  /** A folder of sources on another disk. */
  source: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const [what, next] = refusals[this.reason]
    const where = this.source === undefined ? "" : ` (${printablePath(this.source)})`
    return `Originals cannot be moved into ${printablePath(this.folder)}: ${what}${where}. Nothing was done; ${next}.`
  }
}

/**
 * Refuses a place among the sources: in one of the paths that were given, or in a folder that one of the files lies in; and one
 * that is known to lie on another disk than a file.
 */
export const checkPlace = (
  folder: string | undefined,
  given: ReadonlyArray<string>,
  files: ReadonlyArray<SourceFile>
): Effect.Effect<void, MoveRefused> => {
  if (folder === undefined) return Effect.void
  const real = realOf(folder)
  const taken = new Set([...given, ...files.map(({ path }) => dirname(path))].map(realOf))
  if ([...taken].some((place) => `${real}${sep}`.startsWith(place.endsWith(sep) ? place : `${place}${sep}`))) {
    return Effect.fail(new MoveRefused({ folder, reason: "among-sources" }))
  }
  const disk = diskOf(folder)
  const far = [...new Set(files.map(({ path }) => dirname(path)))].find((source) => {
    const other = diskOf(source)
    return disk !== undefined && other !== undefined && other !== disk
  })
  return far === undefined ? Effect.void : Effect.fail(new MoveRefused({ folder, reason: "other-disk", source: far }))
}

/** A path without links, as far as it is there: a link may lead among the sources. */
const realOf = (path: string): string => {
  try {
    return realpathSync(path)
  } catch {
    return dirname(path) === path ? path : join(realOf(dirname(path)), basename(path))
  }
}

/**
 * The device of a folder, or of the nearest one above it that is there. Folders are compared with folders: file systems that
 * lie over others may give files devices of their own.
 */
const diskOf = (folder: string): bigint | undefined => {
  try {
    return statSync(folder, { bigint: true }).dev
  } catch (cause) {
    return systemCode(cause) === "ENOENT" && dirname(folder) !== folder ? diskOf(dirname(folder)) : undefined
  }
}

interface Moved {
  readonly moved: NonNullable<RunReport["moved"]>
  readonly notes: ReadonlyArray<string>
}

/** Moves the files into the folder, as they lay below the folder that held all of them. */
export const moveOriginals = (options: {
  readonly folder: string
  readonly sources: ReadonlyArray<{
    readonly files: ReadonlyArray<SourceFile>
    /** The folder that the files are one source as, if they are. */
    readonly directory: string | undefined
  }>
  /** All files of the run, those that stay included. */
  readonly all: ReadonlyArray<SourceFile>
  readonly backup: BackupReport
  readonly cipher: CipherSettings | undefined
}): Effect.Effect<Moved> =>
  Effect.gen(function* () {
    const backup = { store: options.backup.path, backup: options.backup.backup_id }
    const { manifest } = yield* findBackup(backup.store, backup.backup)
    const { problems } = yield* verifyBackup({ ...backup, cipher: options.cipher })
    return { copies: new Map(manifest.files.map((file) => [file.path, file])), problems, reached: yield* Failpoints }
  }).pipe(
    Effect.map(({ copies, problems, reached }): Moved => {
      if (problems.length > 0) return { moved: [], notes: [notMoved("the backup is damaged")] }
      const base = commonFolder(options.all.map(({ path }) => path))
      const moved: Array<{ readonly path: string; readonly to: string }> = []
      const notes: Array<string> = []
      const placeOf = (path: string): string => join(options.folder, relative(base, path))
      for (const { directory, files } of options.sources) {
        const uncopied = new Set(files.filter((file) => !isCopied(file, copies)))
        const isMoved =
          directory !== undefined && uncopied.size === 0 && moveFolder(directory, files, placeOf(directory), reached)
        for (const file of files) {
          const to = placeOf(file.path)
          const problem = isMoved ? undefined : (uncopiedReason(file, uncopied) ?? move(file, to, reached))
          if (problem === undefined) moved.push({ path: file.path, to })
          else notes.push(`Not moved: ${file.path} (${problem}).`)
        }
      }
      for (const folder of new Set(moved.map(({ path }) => dirname(path)))) syncFolder(folder)
      return { moved, notes }
    }),
    Effect.catch(() => Effect.succeed<Moved>({ moved: [], notes: [notMoved("the backup could not be read")] }))
  )

/** Whether the backup has the bytes that the file has now. */
const isCopied = (file: SourceFile, copies: ReadonlyMap<string, ManifestFile>): boolean => {
  const copy = copies.get(file.path)
  if (copy === undefined) return false
  try {
    return compareRestored(file.path, copy, "bytes")
  } catch {
    return false
  }
}

/** Why a file of a source stays that is not copied as a whole: with a part of its files it would be another source. */
const uncopiedReason = (file: SourceFile, uncopied: ReadonlySet<SourceFile>): string | undefined => {
  if (uncopied.has(file)) return "the backup has no copy of it as it is now"
  return uncopied.size > 0 ? "the backup does not have all files of its folder" : undefined
}

const notMoved = (why: string): string => `No original was moved: ${why}.`

/**
 * Moves a folder that holds one source and nothing else, at once: with a part of its files it would be another source. False
 * if it cannot be moved so, and then nothing has been done.
 */
const moveFolder = (
  folder: string,
  files: ReadonlyArray<SourceFile>,
  to: string,
  reached: (point: Failpoint) => void
): boolean => {
  try {
    const names = new Set(files.map(({ path }) => relative(folder, path)))
    if (isThere(to) || !files.every(isUntouched) || !readdirSync(folder).every((name) => names.has(name))) return false
    mkdirSync(dirname(to), { recursive: true, mode: 0o700 })
    renameSync(folder, to)
    syncFolder(dirname(to))
    reached("originals/moved")
    return true
  } catch {
    return false
  }
}

const isUntouched = ({ identity, path }: SourceFile): boolean => {
  const { ctimeNs, dev, ino, mtimeNs, size } = lstatSync(path, { bigint: true })
  return isSameVersion(identity, { ctimeNs, dev, ino, mtimeNs, size })
}

/** Gives a file its other name first and then takes the one it has: it is never without one, and never replaces another. */
const move = (file: SourceFile, to: string, reached: (point: Failpoint) => void): string | undefined => {
  try {
    if (!isUntouched(file)) return "it has changed since it was read"
    mkdirSync(dirname(to), { recursive: true, mode: 0o700 })
    // Where a move was cut short, the file has both names already.
    if (!isSameFile(file.path, to)) linkSync(file.path, to)
    syncFolder(dirname(to))
    reached("originals/linked")
    rmSync(file.path)
    reached("originals/moved")
    return undefined
  } catch (cause) {
    const code = systemCode(cause)
    if (code === "EEXIST") return "something of that name is there already"
    if (code === "EXDEV") return "the folder lies on another disk"
    return "the operating system does not permit it"
  }
}

const isSameFile = (path: string, other: string): boolean => {
  const there = lstatSync(other, { bigint: true, throwIfNoEntry: false })
  const { dev, ino } = lstatSync(path, { bigint: true })
  return there?.dev === dev && there.ino === ino
}
