/** A run that writes: the copies first, then the sources a batch at a time, and all of it in the ledger. */
import { BatchWriter, checkpoint, openStore, queryRows, reach, readRuns } from "@mallard/duckdb-store"
import type { FoundSources, SourceFile } from "@mallard/legacy-json"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Clock, Effect, Option } from "effect"
import { makeBackup } from "../Backup.ts"
import type { ChangedSource } from "../Incremental.ts"
import { type MigrateOptions, MigrationFailed } from "../MigrateOptions.ts"
import { type ItemReport, noVerification, outcomeOf, type RunReport, totalsOf } from "../Report.ts"
import { isStopped } from "../report/Summary.ts"
import { continuedRun, isSuperseded, type UnfinishedRun } from "../Resume.ts"
import { type Begun, begunRuns, forgetBegun } from "./begun.ts"
import { comparedWith, removedOf } from "./comparing.ts"
import { environmentOf } from "./environment.ts"
import { readHistory } from "./history.ts"
import { Loader } from "./Loader.ts"
import { startReadThreads } from "./readAhead.ts"
import { recordBackup, recordRun } from "./recording.ts"
import { isExceeded } from "./rejectLimit.ts"
import type { RunFacts } from "./RunFacts.ts"
import { optionsOf, sourcesAsked } from "./runOptions.ts"
import { filesOnDisk } from "./sourceFiles.ts"
import { readStored } from "./stored.ts"

/** What became of the sources of a run, before its proof. */
export interface Loaded {
  readonly items: ReadonlyArray<ItemReport>
  readonly interrupted: boolean
  /** The first revision to prove: that of the run, or of the one that it went on with; undefined if there is none. */
  readonly verifyFrom: number | undefined
  /** The run that was cut short and that this one went on with. */
  readonly resumed: UnfinishedRun | undefined
  /** Whether more was rejected than allowed. */
  readonly exceeded: boolean
  /** Sources that were there. */
  readonly removed: ReadonlyArray<ChangedSource>
  readonly slowest: NonNullable<RunReport["slowest"]>
  /** Version of DuckDB; empty if it was not asked. */
  readonly duckdb: string
  readonly backup: RunReport["backup"] | undefined
  readonly backupMs: number
  readonly notes: ReadonlyArray<string>
}

/** The files on disk that the sources of a run are read from. */
export interface Originals {
  readonly files: ReadonlyArray<SourceFile>
  readonly hold: (descriptor: number) => void
}

export const load = Effect.fnUntraced(function* (
  options: MigrateOptions,
  found: FoundSources,
  run: string,
  unreadable: ReadonlyArray<ItemReport>,
  findMs: number,
  originals: Originals,
  begun: Begun | undefined
) {
  return yield* Effect.scoped(
    Effect.gen(function* () {
      // They load their program while the database is being opened.
      const threads = yield* startReadThreads(options, found.sources)
      const client = yield* openStore({
        path: options.database,
        program: options.program,
        memoryLimit: options.memoryLimit,
        threads: options.jobs
      })
      return yield* Effect.gen(function* () {
        const began = yield* Clock.currentTimeMillis
        const [version] = yield* queryRows(client, "SELECT version()")
        const duckdb = String(version?.[0] ?? "")
        // A run over the same sources that had the database until now has taken it away.
        begun?.note()
        const made = yield* Effect.withSpan(backUp(options, originals, run), "mallard.backup")
        const backup = made?.report
        const backupMs = (yield* Clock.currentTimeMillis) - began
        const stored = yield* readStored(client)
        const history = yield* Effect.provideService(readHistory(), DuckDbClient, client)
        const writer = yield* BatchWriter.make(client, options.memoryLimit === undefined)
        const firstRevision = writer.nextRevision
        const runs = yield* Effect.provideService(readRuns(), DuckDbClient, client)
        const others = begunRuns(options.database).filter((other) => other.run !== run)
        const resumed = continuedRun(runs, others, sourcesAsked(options))
        const asked = { ...optionsOf(options, resumed?.run), environment: environmentOf(duckdb) }
        yield* writer.transaction(
          run,
          Effect.tap(recordRun(writer, run, options, "started", null, asked, null), () =>
            backup === undefined ? Effect.void : recordBackup(writer, run, backup)
          )
        )
        const recorded = new Set(runs.map(({ runId }) => runId))
        const done = others.filter((other) => recorded.has(other.run) || isSuperseded(other, sourcesAsked(options)))
        // Its own last: until then it tells that the others are done.
        forgetBegun(options.database, [...done.map((other) => other.run), run])
        yield* reach(resumed === undefined ? "run/begun" : "run/resumed")
        const rejectedBefore = unreadable.filter(isStopped).length
        const loader = new Loader({ options, found: found.sources, stored, writer, run, rejectedBefore, threads })
        yield* Effect.withSpan(loader.run(), "mallard.read")
        const { reports } = loader
        const changes = comparedWith(history, options, found, [...reports, ...unreadable])
        const items = changes.items.slice(0, reports.length)
        const all = [...items, ...unreadable]
        const exceeded = options.maxRejects !== undefined && isExceeded(options.maxRejects, totalsOf(all.length, all))
        const outcome = exceeded ? "failed" : outcomeOf(all, noVerification, loader.interrupted)
        const kept = backup === undefined ? yield* keepRejects(options, found, run, items) : undefined
        const facts: RunFacts = {
          ignored: found.ignored,
          slowest: loader.slowest.list,
          ...changes.noted,
          ...(loader.interrupted ? {} : removedOf(changes.removed)),
          timings: {
            find: findMs,
            ...(backup === undefined ? {} : { backup: backupMs }),
            load: (yield* Clock.currentTimeMillis) - began - backupMs
          }
        }
        yield* writer.transaction(
          run,
          Effect.suspend(() => {
            loader.recordRest(unreadable)
            const totals = totalsOf(found.sources.length + unreadable.length, all)
            const finished = recordRun(writer, run, options, "finished", outcome, facts, totals)
            return kept === undefined ? finished : Effect.andThen(recordBackup(writer, run, kept), finished)
          })
        )
        yield* checkpoint(client)
        const loaded: Loaded = {
          items,
          interrupted: loader.interrupted,
          verifyFrom: resumed?.firstRevision ?? (writer.nextRevision > firstRevision ? firstRevision : undefined),
          resumed,
          exceeded,
          removed: changes.removed,
          slowest: loader.slowest.list,
          duckdb,
          backup,
          backupMs,
          notes: made?.isPlainAfterEncrypted === true ? [PLAIN_NOTE] : []
        }
        return loaded
      }).pipe(
        Effect.catchTag("SqlError", (cause) => Effect.fail(new MigrationFailed({ database: options.database, cause })))
      )
    })
  )
})

/** Copies all sources, if that is wanted; undefined as well when it was stopped, and then nothing is read either. */
const backUp = Effect.fnUntraced(function* (options: MigrateOptions, { files, hold }: Originals, run: string) {
  if (options.backup === undefined || files.length === 0) return undefined
  const made = yield* makeBackup({
    ...options.backup,
    files,
    run,
    program: options.program,
    jobs: options.jobs,
    hold,
    isStopped: options.isStopped,
    onBytes: (bytes) => options.onProgress?.({ phase: "backup", bytes })
  })
  return made
})

const PLAIN_NOTE =
  "The copies of this run are not encrypted, while those of the backup before are: give --backup-passphrase, --backup-passphrase-file or --backup-recipient to every run. `backup list` shows which are."

/** Copies the sources that were not stored, so that they can be mended; that they cannot be copied fails nothing. */
const keepRejects = Effect.fnUntraced(function* (
  options: MigrateOptions,
  found: FoundSources,
  run: string,
  items: ReadonlyArray<ItemReport>
) {
  const rejected = new Set(items.filter(isStopped).map(({ path }) => path))
  if (options.rejectStore === undefined || rejected.size === 0) return undefined
  const files = found.sources.filter(({ path }) => rejected.has(path)).flatMap(filesOnDisk)
  const made = yield* Effect.option(makeBackup({ store: options.rejectStore, files, run, program: options.program }))
  return Option.getOrUndefined(made)?.report
})
