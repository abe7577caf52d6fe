/**
 * Finding legacy sources: which files there are, and which of them are one cohort together. Nothing is followed, opened or
 * read but regular files; whatever else lies in a folder is named with the reason why it was left alone.
 *
 * Folders are searched for `*.json` and `*.ndjson` in any case, hidden ones too, through all sub-folders. A path that is
 * given is resolved first, so one that is a link to a file or a folder leads to its target, and two ways to one file give
 * one source; links found while searching are never followed.
 */

import { basename, dirname, join, parse, resolve } from "node:path"
import { DateTime, Effect, type Scope } from "effect"
import { type FileIdentity, type OpenFile } from "./ChangeWatch.ts"
import { directoryCohortOf } from "./internal/DirectoryCohort.ts"
import * as Files from "./internal/Files.ts"
import { type Outline, outlineOfFile } from "./internal/Outline.ts"
import { type Variant } from "./Recognition.ts"
import { SourceError } from "./SourceError.ts"

/** What can be read like an open file. */
export type OpenText = Pick<OpenFile, "bytes" | "read" | "readMeanwhile" | "checkUnchanged">

/** A file to be read. */
export interface SourceFile {
  readonly path: string
  /** The name within its source, as in `patient.json`. */
  readonly name: string
  readonly bytes: number
  readonly modifiedMs: number
  /** What tells whether it is still the same when it is opened. */
  readonly identity: FileIdentity
  /** What is read instead of the file at `path`, such as a cohort of the database there; `bytes` may then be an estimate. */
  readonly open?: Effect.Effect<OpenText, SourceError, Scope.Scope>
  /** What it is, where that does not depend on what is read. */
  readonly variant?: Variant
}

/** One cohort: a file of any shape, or a folder whose files are its parts; or a database that may hold any number. */
export interface Source {
  readonly kind: "file" | "directory" | "database"
  /** Absolute and free of links. */
  readonly path: string
  /** The name to use if the documents say none: the stem of the file, or the name of the folder. */
  readonly name: string
  /** In the order of the bytes of their names. */
  readonly files: ReadonlyArray<SourceFile>
  /** The name of the one among `files` that describes the cohort and holds no entities; only for some folders. */
  readonly metadata?: string
}

/** Why something found was left alone. */
export type IgnoredReason =
  | "symbolic-link"
  | "fifo"
  | "socket"
  | "device"
  | "folder-named-json"
  | "not-json"
  | "not-cohorts"
  | "backup"

/** Something found and left alone. Bytes of its name that are not UTF-8 are written `\xNN`. */
export interface Ignored {
  readonly path: string
  readonly reason: IgnoredReason
}

/** Everything found, each list in the order of the bytes of the paths. */
export interface FoundSources {
  readonly sources: ReadonlyArray<Source>
  readonly ignored: ReadonlyArray<Ignored>
  /** Paths given that do not exist, cannot be read, or are neither a file nor a folder. */
  readonly missing: ReadonlyArray<SourceError>
  /** Folders found that cannot be read, and JSON files and folders whose names are not UTF-8. */
  readonly unreadable: ReadonlyArray<SourceError>
}

/**
 * Finds the sources at the paths. A path may be a folder or a file, whatever its extension (`.duckdb`, `.ddb` and `.db` are
 * databases, which are found only if given); relative ones start from `cwd`, else from the process's own. The order of the paths, and naming one twice, make no difference.
 *
 * A folder is one source of kind `directory` if one of its JSON files is metadata (`cohort.json`, `scenario.json` or
 * `metadata.json` with a name or id and no entities), or if all are named after parts (`patient.json`, `claims.json`,
 * `membersim.json`, `pharmacy-claim-ncpdp.json` …) and none has a name or `entities` of its own; at most the first 64 KiB of
 * each are looked at for this. Sub-folders are sources of their own. HealthSim's stores themselves (`.healthsim/cohorts`,
 * `scenarios`, `workspaces`) are never one cohort, and its profiles, journeys and backups are read only if given,
 * and so are those in a folder with a `workspace.json`.
 */
export const findSources = Effect.fn("findSources")(function* (
  paths: ReadonlyArray<string>,
  options?: { readonly cwd?: string | undefined }
) {
  const given = yield* Effect.sync(() => new Map(paths.map((path) => [path, look(path, options?.cwd)])))
  const sources = new Map<string, Source>()
  const ignored = new Map<string, Ignored>()
  const unreadable = new Map<string, SourceError>()
  const missing: Array<SourceError> = []
  const folders: Array<string> = []
  for (const entry of given.values()) {
    if (entry instanceof SourceError) {
      missing.push(entry)
    } else if (entry.type === "folder") {
      folders.push(entry.path)
    }
  }
  const roots = new Set(folders)
  const searched = new Set<string>()
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    if (searched.has(folder)) {
      continue
    }
    searched.add(folder)
    const found = yield* visit(folder)
    for (const source of found.sources) {
      sources.set(source.path, source)
    }
    for (const entry of found.ignored) {
      ignored.set(entry.path, entry)
    }
    for (const error of found.unreadable) {
      if (roots.has(error.path)) {
        missing.push(error)
      } else {
        unreadable.set(error.path, error)
      }
    }
    for (const below of found.folders) folders.push(below)
  }
  const parts = new Set([...sources.values()].flatMap(({ files }) => files.map(({ path }) => path)))
  for (const entry of given.values()) {
    if (!(entry instanceof SourceError) && entry.type === "file" && !parts.has(entry.path)) {
      const source = fileSource({ ...entry, name: basename(entry.path) })
      sources.set(entry.path, databaseName.test(source.path) ? { ...source, kind: "database" } : source)
    }
  }
  const result: FoundSources = {
    sources: byPath(sources.values()),
    ignored: byPath(ignored.values()).filter(({ path }) => !searched.has(path) && !sources.has(path)),
    missing: byPath(missing),
    unreadable: byPath(unreadable.values())
  }
  return result
})

/** What a list of sources shows of each. */
export interface SourceSummary<Variant> {
  readonly name: string
  readonly path: string
  readonly bytes: number
  /** The latest of its files. */
  readonly modified: DateTime.Utc
  readonly variant: Variant
}

/**
 * The sources at the paths, each with what `recognise` makes of it. Fails at the first path that does not exist; what was
 * ignored is told by `findSources`.
 */
export const listSources = Effect.fn("listSources")(function* <Variant, E, R>(
  paths: ReadonlyArray<string>,
  recognise: (source: Source) => Effect.Effect<Variant, E, R>,
  options?: { readonly cwd?: string | undefined }
) {
  const { missing, sources } = yield* findSources(paths, options)
  const [error] = missing
  if (error !== undefined) {
    return yield* error
  }
  return yield* Effect.forEach(sources, (source) =>
    Effect.map(recognise(source), (variant): SourceSummary<Variant> => ({ ...summaryOf(source), variant }))
  )
})

/** Where HealthSim keeps cohorts on this machine. */
export interface DefaultPlaces {
  /** Those that exist of `.healthsim/cohorts`, `scenarios` and `workspaces`. */
  readonly places: ReadonlyArray<string>
  /** What may hold more and is read only if given: copies left by earlier migrations, downloads. */
  readonly noticed: ReadonlyArray<{ readonly path: string; readonly reason: "backup" | "downloads" }>
}

/** Looks for HealthSim's places in a home folder. What cannot be read counts as not there. */
export const defaultPlaces = (home: string): Effect.Effect<DefaultPlaces> =>
  Effect.sync(() => {
    const store = join(home, storeName)
    const downloads = join(home, "Downloads")
    return {
      places: cohortFolders.map((name) => join(store, name)).filter((path) => typeOfPath(path) === "folder"),
      noticed: [
        ...entriesIn(store)
          .filter(({ name, type }) => type === "folder" && backupName.test(name))
          .map(({ path }) => ({ path, reason: "backup" as const })),
        ...(entriesIn(downloads).some(({ name, type }) => type === "file" && /\.json$/i.test(name))
          ? [{ path: downloads, reason: "downloads" as const }]
          : [])
      ]
    }
  })

const storeName = ".healthsim"
const cohortFolders: ReadonlyArray<string> = ["cohorts", "scenarios", "workspaces"]
/** Lies in each of the agent's workspaces, beside the same folders as in the store. */
const workspaceName = "workspace.json"
const otherFolders: ReadonlySet<string> = new Set(["profiles", "journeys"])
const backupName = /^(?:cohorts|scenarios)_backup/
const databaseName = /\.(?:duckdb|ddb|db)$/i
/** Whether a file in a folder is taken for a document, by its name. */
export const isDocumentName = (name: string): boolean => /\.(?:nd)?json$/i.test(name)

const look = (path: string, cwd = process.cwd()): Omit<Files.Entry, "name" | "isUtf8"> | SourceError => {
  // Resolved, an empty path (a variable that is not set) would be the folder one happens to be in.
  if (path === "") {
    return new SourceError({ reason: "missing", path })
  }
  const absolute = resolve(cwd, path)
  try {
    const entry = Files.resolvedEntry(absolute)
    return entry.type === "file" || entry.type === "folder"
      ? entry
      : new SourceError({ reason: "not-regular", path: absolute })
  } catch (cause) {
    return Files.errorOf(absolute, cause)
  }
}

interface Visit {
  readonly sources: ReadonlyArray<Source>
  readonly ignored: ReadonlyArray<Ignored>
  readonly unreadable: ReadonlyArray<SourceError>
  readonly folders: ReadonlyArray<string>
}

const visit = (folder: string): Effect.Effect<Visit> =>
  Effect.try({ try: () => Files.entriesOf(folder), catch: (cause) => Files.errorOf(folder, cause) }).pipe(
    Effect.map((entries) => sort(folder, entries)),
    Effect.catch((error) => Effect.succeed<Visit>({ sources: [], ignored: [], unreadable: [error], folders: [] }))
  )

const sort = (folder: string, entries: ReadonlyArray<Files.Entry>): Visit => {
  const ignored: Array<Ignored> = []
  const unreadable: Array<SourceError> = []
  const folders: Array<string> = []
  const files: Array<Files.Entry> = []
  const isOfTools =
    basename(folder) === storeName || entries.some(({ name, type }) => type === "file" && name === workspaceName)
  for (const entry of entries) {
    const reason = reasonToIgnore(folder, entry, isOfTools)
    if (reason !== undefined) {
      ignored.push({ path: entry.path, reason })
    } else if (!entry.isUtf8) {
      unreadable.push(new SourceError({ reason: "not-utf8-name", path: entry.path }))
    } else if (entry.type === "folder") {
      folders.push(entry.path)
    } else {
      files.push(entry)
    }
  }
  return { sources: group(folder, files), ignored, unreadable, folders }
}

const reasonToIgnore = (folder: string, { name, type }: Files.Entry, isOfTools: boolean): IgnoredReason | undefined => {
  if (type === "folder") {
    const isInStore = basename(folder) === storeName
    return isDocumentName(name)
      ? "folder-named-json"
      : isOfTools && otherFolders.has(name)
        ? "not-cohorts"
        : isInStore && backupName.test(name)
          ? "backup"
          : undefined
  }
  return type !== "file" ? type : isDocumentName(name) ? undefined : "not-json"
}

const group = (folder: string, files: ReadonlyArray<Files.Entry>): ReadonlyArray<Source> => {
  const cohort = isStore(folder)
    ? undefined
    : directoryCohortOf(
        files.map(({ name }) => name),
        outlines(files)
      )
  if (cohort === undefined) {
    return files.map((file) => fileSource(file))
  }
  return [
    {
      kind: "directory",
      path: folder,
      name: basename(folder),
      files: files.map(sourceFile),
      ...(cohort.metadata === undefined ? {} : { metadata: cohort.metadata })
    }
  ]
}

const isStore = (folder: string): boolean =>
  basename(dirname(folder)) === storeName && cohortFolders.includes(basename(folder))

/** Outlines by name, each taken once and only when asked for. */
const outlines = (files: ReadonlyArray<Files.Entry>): ((name: string) => Outline) => {
  const byName = new Map(files.map((file) => [file.name, file]))
  const known = new Map<string, Outline>()
  return (name) => {
    const file = byName.get(name)
    const outline = known.get(name) ?? outlineOfFile(file?.path ?? name, Number(file?.identity.size ?? 0))
    known.set(name, outline)
    return outline
  }
}

const fileSource = (file: Omit<Files.Entry, "isUtf8">): Source => ({
  kind: "file",
  path: file.path,
  name: parse(file.name).name,
  files: [sourceFile(file)]
})

const sourceFile = ({ identity, modifiedMs, name, path }: Omit<Files.Entry, "isUtf8">): SourceFile => ({
  path,
  name,
  bytes: Number(identity.size),
  modifiedMs,
  identity
})

const summaryOf = ({ files, name, path }: Source) => ({
  name,
  path,
  bytes: files.reduce((sum, file) => sum + file.bytes, 0),
  modified: DateTime.makeUnsafe(Math.max(...files.map(({ modifiedMs }) => modifiedMs)))
})

const byPath = <A extends { readonly path: string }>(items: Iterable<A>): ReadonlyArray<A> =>
  Array.from(items, (item) => ({ item, bytes: Buffer.from(item.path) }))
    .sort((a, b) => a.bytes.compare(b.bytes))
    .map(({ item }) => item)

const typeOfPath = (path: string): Files.EntryType | undefined => orUndefined(() => Files.typeAt(path))

const entriesIn = (folder: string): ReadonlyArray<Files.Entry> => orUndefined(() => Files.entriesOf(folder)) ?? []

const orUndefined = <A>(evaluate: () => A): A | undefined => {
  try {
    return evaluate()
  } catch {
    return undefined
  }
}
