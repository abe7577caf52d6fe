/** A run that writes: the copies first, then the sources a batch at a time, and all of it in the ledger. */
import {
  BatchWriter,
  checkpoint,
  engineVersion,
  type LedgerRun,
  openStore,
  reach,
  readBackups,
  readRuns
} from "@mallard/duckdb-store"
import { thisProcess } from "@mallard/duckdb-store/Processes"
import type { ReadThreads, SourceFile } from "@mallard/legacy-json"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Clock, Effect, Option } from "effect"
import { type BackupMade, isLastEncrypted, makeBackup } from "../Backup.ts"
import type { ChangedSource } from "../Incremental.ts"
import type { MigrateOptions, MigrationFailed } from "../MigrateOptions.ts"
import { type BackupReport, type ItemReport, noVerification, outcomeOf, type RunReport, totalsOf } from "../Report.ts"
import { isStopped } from "../report/Summary.ts"
import { continuedRun, hasCipher, isSuperseded, type UnfinishedRun } from "../Resume.ts"
import { type Begun, begunRuns, forgetBegun } from "./begun.ts"
import { comparedWith, type Known, readRejected, removedOf } from "./comparing.ts"
import { environmentOf } from "./environment.ts"
import type { TakenSources } from "./finding.ts"
import { readHistory } from "./history.ts"
import { Loader } from "./Loader.ts"
import { notCopiedNotes, REJECTS_NOT_COPIED } from "./manifest.ts"
import { startReadThreads } from "./readAhead.ts"
import { failing } from "./reading.ts"
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
  /** Why the end of the run may not be recorded; what is told of its items holds all the same. */
  readonly endFailure: MigrationFailed | undefined
  /** Sources that were there. */
  readonly removed: ReadonlyArray<ChangedSource>
  readonly slowest: NonNullable<RunReport["slowest"]>
  /** Version of DuckDB; empty if it was not asked. */
  readonly duckdb: string
  readonly backup: BackupReport | undefined
  readonly backupMs: number
  readonly notes: ReadonlyArray<string>
}

/** The files on disk that the sources of a run are read from. */
interface Originals {
  readonly files: ReadonlyArray<SourceFile>
  readonly hold: (descriptor: number) => void
}

/** What is known of a run before its database is open. */
export interface LoadRequest {
  readonly options: MigrateOptions
  readonly found: TakenSources
  readonly run: string
  /** Items that were rejected before anything was read. */
  readonly unreadable: ReadonlyArray<ItemReport>
  readonly findMs: number
  readonly originals: Originals
  /** The note beside the database that this run has begun. */
  readonly begun: Begun | undefined
}

/** Copies the sources, reads and stores them; what the database does wrong in a way that no source is to blame for fails. */
export const load = (request: LoadRequest) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { found, options } = request
      // They load their program while the database is being opened.
      const threads = yield* startReadThreads(options, found.sources)
      const client = yield* openStore({
        path: options.database,
        program: options.program,
        memoryLimit: options.memoryLimit,
        threads: options.jobs,
        expectedBytes: found.bytes
      })
      return yield* loadInto(client, threads, request).pipe(failing(options.database, "writing"))
    })
  )

const loadInto = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  threads: ReadThreads | undefined,
  request: LoadRequest
) {
  const { begun, found, options, originals, run, unreadable } = request
  const began = yield* Clock.currentTimeMillis
  const duckdb = yield* engineVersion(client)
  // A run over the same sources that had the database until now has taken it away.
  begun?.note()
  const made = yield* Effect.withSpan(backUp(options, originals, run), "mallard.backup")
  const backup = made?.report
  const backupMs = (yield* Clock.currentTimeMillis) - began
  const runs = yield* Effect.provideService(readRuns(), DuckDbClient, client)
  const before = (yield* Effect.provideService(readBackups(), DuckDbClient, client)).at(-1)
  // Elsewhere, maybe out of reach by now; what lies in the store of this run, `made` tells. Reading manifests takes time.
  const wasEncrypted = (): boolean =>
    before !== undefined &&
    (hasCipher(runs.find(({ runId }) => runId === before.runId)) ||
      (before.path !== backup?.path && isLastEncrypted(before.path)))
  const stored = yield* readStored(client)
  const writer = yield* BatchWriter.make(client, options.memoryLimit === undefined)
  const firstRevision = writer.nextRevision
  const rejectedBefore = unreadable.filter(isStopped).length
  const loader = new Loader({ options, found: found.sources, stored, writer, run, rejectedBefore, threads })
  loader.prepare()
  const history = yield* Effect.provideService(readHistory(runs), DuckDbClient, client)
  const known = { history, rejects: yield* Effect.provideService(readRejected(history), DuckDbClient, client) }
  const resumed = yield* recordBegin(writer, request, runs, duckdb, backup)
  yield* reach(resumed === undefined ? "run/begun" : "run/resumed")
  yield* Effect.withSpan(loader.run(), "mallard.read")
  const ended = yield* recordEnd(client, writer, request, loader, known, made, { began, backupMs, wasEncrypted })
  const isPlain = made !== undefined && options.backup?.cipher === undefined
  const loaded: Loaded = {
    ...ended,
    interrupted: loader.interrupted,
    verifyFrom:
      ended.endFailure === undefined
        ? (resumed?.firstRevision ?? (writer.nextRevision > firstRevision ? firstRevision : undefined))
        : undefined,
    resumed,
    slowest: loader.slowest.list,
    duckdb,
    backup,
    backupMs,
    notes: [
      ...(made?.isPlainAfterEncrypted === true || (isPlain && wasEncrypted()) ? [PLAIN_NOTE] : []),
      ...notCopiedNotes(made?.skipped ?? []),
      ...(ended.rejectsLeftOut ? [REJECTS_NOT_COPIED] : []),
      ...(ended.endFailure === undefined ? [] : [`After the last source: ${ended.endFailure.message}`])
    ]
  }
  return loaded
})

/** Records that the run has begun, with its copies; gives the run that it goes on with. */
const recordBegin = Effect.fnUntraced(function* (
  writer: BatchWriter,
  { options, run }: LoadRequest,
  runs: ReadonlyArray<LedgerRun>,
  duckdb: string,
  backup: BackupReport | undefined
) {
  const others = begunRuns(options.database).filter((other) => other.run !== run)
  const resumed = continuedRun(runs, others, sourcesAsked(options))
  const asked = { ...optionsOf(options, resumed?.run), environment: environmentOf(duckdb), process: thisProcess() }
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
  return resumed
})

/** Records what became of the run and of the sources that were not reached or not taken; gives what is to be reported. */
const recordEnd = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  writer: BatchWriter,
  { findMs, found, options, run, unreadable }: LoadRequest,
  loader: Loader,
  known: Known,
  made: BackupMade | undefined,
  before: { readonly began: number; readonly backupMs: number; readonly wasEncrypted: () => boolean }
) {
  const { reports } = loader
  const changes = yield* comparedWith(known, options, found, [...reports, ...unreadable])
  const items = changes.items.slice(0, reports.length)
  const all = [...items, ...unreadable]
  const exceeded = options.maxRejects !== undefined && isExceeded(options.maxRejects, totalsOf(all.length, all))
  const outcome = exceeded ? "failed" : outcomeOf(all, noVerification, loader.interrupted)
  const copied = made === undefined ? yield* keepRejects(options, found, run, items, before.wasEncrypted) : undefined
  const rejectsLeftOut = copied === "left-out"
  const kept = copied === "left-out" ? undefined : copied
  const facts: RunFacts = {
    ignored: found.ignored,
    slowest: loader.slowest.list,
    ...changes.noted,
    ...(loader.interrupted ? {} : removedOf(changes.removed)),
    ...(made === undefined || made.skipped.length === 0 ? {} : { not_copied: made.skipped }),
    ...(rejectsLeftOut ? { rejects_not_copied: true } : {}),
    timings: {
      find: findMs,
      ...(made === undefined ? {} : { backup: before.backupMs }),
      load: (yield* Clock.currentTimeMillis) - before.began - before.backupMs
    }
  }
  const endFailure = yield* writer
    .transaction(
      run,
      Effect.suspend(() => {
        loader.recordRest(unreadable)
        const totals = totalsOf(found.sources.length + unreadable.length, all)
        const finished = recordRun(writer, run, options, "finished", outcome, facts, totals)
        return kept === undefined ? finished : Effect.andThen(recordBackup(writer, run, kept), finished)
      })
    )
    .pipe(
      Effect.andThen(checkpoint(client)),
      Effect.as(undefined),
      failing(options.database, "writing"),
      Effect.catch((failure) => Effect.succeed(failure))
    )
  return { items, exceeded, endFailure, removed: changes.removed, rejectsLeftOut }
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

/**
 * Copies the sources that were not stored, so that they can be mended; that they cannot be copied fails nothing. After
 * encrypted copies, wherever those are, they are left out: this run has no key, and who encrypts the others does not want
 * these in plain.
 */
const keepRejects = Effect.fnUntraced(function* (
  options: MigrateOptions,
  found: TakenSources,
  run: string,
  items: ReadonlyArray<ItemReport>,
  wasEncrypted: () => boolean
) {
  const rejected = new Set(items.filter(isStopped).map(({ path }) => path))
  if (options.rejectStore === undefined || rejected.size === 0) return undefined
  const files = found.sources.filter(({ path }) => rejected.has(path)).flatMap(filesOnDisk)
  if (files.length > 0 && (wasEncrypted() || isLastEncrypted(options.rejectStore))) return "left-out" as const
  const made = yield* Effect.option(makeBackup({ store: options.rejectStore, files, run, program: options.program }))
  return Option.getOrUndefined(made)?.report
})
