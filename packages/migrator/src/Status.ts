/**
 * What is pending: runs that were cut short, and sources that are new, changed, missing or waiting. Reads every source
 * whole, for contents alone tell; writes nothing.
 */
import { resolve } from "node:path"
import { readRuns } from "@mallard/duckdb-store"
import { findSources, type Source } from "@mallard/legacy-json"
import { Effect } from "effect"
import { expandDatabases } from "./HealthSimDatabase.ts"
import { type ChangedSource, changesOf, type PathHistory, type PresentSource } from "./Incremental.ts"
import { readHistory } from "./internal/history.ts"
import { readLastRejects } from "./Rejects.ts"
import { type UnfinishedRun, migratedPaths, unfinishedByTime, withBegun } from "./Resume.ts"
import { begunRuns } from "./internal/begun.ts"
import { alterationsOf, below, contentOf } from "./internal/comparing.ts"
import { readingIfThere } from "./internal/reading.ts"
import { contentOfFile } from "./internal/sourceFiles.ts"

export interface StatusOptions {
  /** Absolute path of the database. */
  readonly database: string
  /** Sources to look at; without any, all that runs were given. */
  readonly paths: ReadonlyArray<string>
  readonly cwd: string
}

export interface StatusReport {
  readonly database: string
  /** Where sources were looked for. */
  readonly paths: ReadonlyArray<string>
  readonly unfinished: ReadonlyArray<Pick<UnfinishedRun, "run" | "state" | "started_at">>
  readonly sources: ReadonlyArray<ChangedSource>
  /** How many there are of each. */
  readonly changes: Readonly<Record<string, number>>
  /** Unfinished runs, also one that is going on, and sources that a run would have something to do with. */
  readonly pending: number
}

/**
 * Compares the sources with what runs have seen of them. Sources stand in the order of their paths, unfinished runs oldest
 * first. Reads every source once and writes nothing.
 *
 * Fails with a `SourceError` for a path given where nothing is and no run has seen anything, with a `StoreError` when the
 * database is not there or cannot be opened, unless a run was cut short before it made it, and with `MigrationFailed` when it
 * cannot be read.
 */
export const status = Effect.fn("status")(function* (options: StatusOptions) {
  const { history, rejects, runs } = yield* readingIfThere(
    options.database,
    Effect.gen(function* () {
      const runs = yield* readRuns()
      return { history: yield* readHistory(runs), rejects: yield* readLastRejects(), runs }
    }),
    { history: [], rejects: new Map(), runs: [] }
  )
  const begun = begunRuns(options.database)
  const paths =
    options.paths.length > 0
      ? options.paths.map((path) => resolve(options.cwd, path))
      : migratedPaths(withBegun(runs, begun))
  const sources = yield* Effect.scoped(
    Effect.gen(function* () {
      const found = yield* findSources(paths)
      const gone = options.paths.length > 0 ? found.missing : []
      const unknown = gone.find(({ path }) => below(history, [path]).length === 0)
      if (unknown !== undefined) return yield* unknown
      const named = new Set(
        below(
          history,
          gone.map(({ path }) => path)
        )
      )
      const { sources, unread } = yield* expandDatabases(found.sources, { target: options.database })
      const seen: Array<PresentSource> = [...found.unreadable, ...unread].map(({ path }) => ({
        path,
        sha256: undefined
      }))
      for (const source of sources) seen.push({ path: source.path, sha256: yield* readContent(source) })
      const covered = new Set(sources.flatMap(({ files }) => files.map(({ path }) => path)))
      // Who asks for a path that is gone is told so, also when a run has told it before.
      const known = below(history, paths).map((entry): PathHistory =>
        named.has(entry) && entry.state === "gone" ? { ...entry, state: "there" } : entry
      )
      const changed = changesOf(seen, known, covered)
      const rejected = new Set(changed.filter(({ change }) => change === "rejected").map(({ path }) => path))
      const altered = yield* alterationsOf(
        sources.filter(({ path }) => rejected.has(path)),
        rejects,
        new Map(seen.map(({ path, sha256 }) => [path, sha256]))
      )
      return changed.map((source): ChangedSource => {
        const isAltered = altered.get(source.path)
        if (isAltered === true) return { ...source, change: "changed" }
        const storedBy = rejects.get(source.path)?.stored_by ?? null
        return storedBy !== null && isAltered === false
          ? { ...source, change: "mended", stored_by: storedBy, pending: false }
          : source
      })
    })
  )
  const unfinished = unfinishedByTime(runs, begun).map(({ run, started_at, state }) => ({ run, started_at, state }))
  const report: StatusReport = {
    database: options.database,
    paths,
    unfinished,
    sources,
    changes: Object.fromEntries([...Map.groupBy(sources, ({ change }) => change)].map(([is, all]) => [is, all.length])),
    pending: unfinished.length + sources.filter(({ pending }) => pending).length
  }
  return report
})

/** SHA-256 of a source as a run records it; undefined if it cannot be read. */
const readContent = Effect.fnUntraced(function* (source: Source) {
  const digests = new Map<string, string>()
  for (const file of source.files) {
    const sha256 = yield* contentOfFile(file)
    if (sha256 === undefined) return undefined
    digests.set(file.path, sha256)
  }
  return contentOf(source, ({ path }) => digests.get(path))
})
