/**
 * The migration: finds sources, reads each once, stores whole items in batches, verifies what it stored from a fresh
 * connection, and reports every item. A dry run is the same without writing.
 */
import { randomUUID } from "node:crypto"
import { closeSync, existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve, sep } from "node:path"
import {
  BatchWriter,
  checkpoint,
  commitRows,
  isPattern,
  nextIds,
  now,
  openStore,
  queryRows,
  reach,
  removeScratch,
  readRuns,
  scratchPrefix,
  type StoreError,
  verifyContents
} from "@mallard/duckdb-store"
import { findSources, type FoundSources, type Source, type SourceFile } from "@mallard/legacy-json"
import { thisProcess } from "@mallard/duckdb-store/Processes"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Clock, Effect, Option } from "effect"
import { backupStoreOf, makeBackup } from "./Backup.ts"
import type { StoredHead } from "./Decision.ts"
import { expandDatabases } from "./HealthSimDatabase.ts"
import { type ChangedSource, changesOf, type PathHistory } from "./Incremental.ts"
import { type MigrateOptions, MigrationFailed } from "./MigrateOptions.ts"
import {
  type BackupReport,
  type ItemReport,
  noVerification,
  outcomeOf,
  type RunReport,
  totalsOf,
  type Verification
} from "./Report.ts"
import { continuedRun, isSuperseded, type UnfinishedRun } from "./Resume.ts"
import { below } from "./Status.ts"
import { RulesInvalid } from "./Validation.ts"
import { Loader } from "./internal/Loader.ts"
import { begin, type Begun, begunRuns, forgetBegun } from "./internal/begun.ts"
import type { RunFacts, RunOptions } from "./internal/RunFacts.ts"
import { environmentOf } from "./internal/environment.ts"
import { readHistory } from "./internal/history.ts"
import { goneItem, plainRemark, rejectedItem, sourceRemark, tooLargeItem, unreadItem } from "./internal/items.ts"
import { checkPlace, moveOriginals } from "./internal/moveOriginals.ts"
import { isExceeded, textOfLimit } from "./internal/rejectLimit.ts"
import { bytesOf, filesOnDisk, largestOf } from "./internal/sourceFiles.ts"
import { startReadThreads } from "./internal/readAhead.ts"
import { type KnownItem, readStored, type Stored } from "./internal/stored.ts"
import { isStopped } from "./report/Summary.ts"
import { reading } from "./internal/reading.ts"

/** Runs a migration. */
export const migrate = Effect.fn("migrate")(function* (options: MigrateOptions) {
  // Databases among the sources stay open until all is done.
  return yield* Effect.scoped(migrateAll(options))
})

const migrateAll = Effect.fnUntraced(function* (options: MigrateOptions) {
  yield* checkPatterns(options)
  const started = yield* Clock.currentTimeMillis
  const run = randomUUID()
  // Without copies the run is in the ledger before anything takes long.
  const begun =
    options.dryRun || options.backup === undefined
      ? undefined
      : yield* begin(options.database, {
          run,
          started_at: new Date(started).toISOString().slice(0, -1),
          program: options.program,
          process: thisProcess(),
          options: { ...optionsOf(options, options.resumes), environment: environmentOf("") }
        })
  const onDisk = yield* findSources(options.paths, options.cwd === undefined ? {} : { cwd: options.cwd }).pipe(
    Effect.withSpan("mallard.find")
  )
  const [missing] = onDisk.missing
  if (missing !== undefined) return yield* missing
  const isTaken = ({ path }: Source): boolean =>
    isWhole(options) ||
    [...(options.only ?? options.plan?.keys() ?? [])].some((only) => only === path || only.startsWith(`${path}#`))
  const isTooLarge = ({ files }: Source): boolean =>
    options.maxFileBytes !== undefined && largestOf(files) > options.maxFileBytes
  const tooLarge = onDisk.sources.filter(isTooLarge)
  const readable = onDisk.sources.filter((source) => !isTooLarge(source))
  const originals = readable.filter(isTaken).flatMap(({ files }) => files)
  const given = options.paths.map((path) => resolve(options.cwd ?? process.cwd(), path))
  yield* checkPlace(options.moveOriginals, given, originals)
  const held = yield* holdOpen
  const { sources, unread } = yield* expandDatabases(readable, {
    target: options.database,
    memoryLimit: options.memoryLimit
  })
  // Copies that lie among the sources are our own, and so is what tells of runs that have begun.
  const stores = [options.backup?.store ?? options.rejectStore, backupStoreOf(options.database)]
  const isOurs = (path: string): boolean =>
    stores.some((store) => store !== undefined && path.startsWith(`${store}${sep}`))
  const isWanted = ({ path }: { readonly path: string }): boolean =>
    options.only?.has(path) !== false && options.plan?.has(path) !== false
  const found = {
    ...onDisk,
    sources: sources.filter(isWanted),
    unreadable: onDisk.unreadable.filter(isWanted),
    ignored: isWhole(options) ? onDisk.ignored.filter(({ path }) => !isOurs(path)) : []
  }
  yield* reach("sources/found")
  const afterFind = yield* Clock.currentTimeMillis
  const unreadable = [
    ...unread.filter(isWanted).map(unreadItem),
    ...found.unreadable.map((error) => rejectedItem(error.path, 0, [sourceRemark(error)])),
    ...tooLarge.filter(isWanted).map((source) => tooLargeItem(source, options.maxFileBytes ?? 0)),
    ...goneSince(options, [...found.sources, ...found.unreadable, ...unread, ...tooLarge])
  ]
  options.onProgress?.({
    phase: "found",
    sources: found.sources.length + unreadable.length,
    bytes: found.sources.reduce((sum, source) => sum + bytesOf(source), 0)
  })
  for (const item of unreadable) options.onProgress?.({ phase: "item", item })
  const loaded = yield* options.dryRun
    ? rehearse(options, found, run, unreadable)
    : load(options, found, run, unreadable, afterFind - started, { files: originals, ...held }, begun)
  const afterLoad = yield* Clock.currentTimeMillis
  const verification =
    options.dryRun ||
    options.verify === false ||
    loaded.interrupted ||
    loaded.exceeded ||
    loaded.verifyFrom === undefined
      ? noVerification
      : yield* Effect.withSpan(verifyRun(options, loaded.verifyFrom), "mallard.verify")
  const ended = yield* Clock.currentTimeMillis
  const items = [...loaded.items, ...unreadable]
  const notes = [...(loaded.resumed === undefined ? [] : [resumedNote(loaded.resumed)]), ...loaded.notes]
  const report: RunReport = {
    run,
    command: "migrate",
    outcome: loaded.exceeded ? "failed" : outcomeOf(items, verification, loaded.interrupted),
    dry_run: options.dryRun,
    database: options.database,
    started_at: new Date(started).toISOString(),
    ended_at: new Date(ended).toISOString(),
    program: options.program,
    options: optionsOf(options, loaded.resumed?.run),
    environment: environmentOf(loaded.duckdb),
    items,
    ignored: found.ignored,
    totals: totalsOf(found.sources.length + unreadable.length, items),
    verification,
    ...(options.dryRun ? {} : { backup: loaded.backup ?? null }),
    slowest: loaded.slowest,
    ...removedOf(loaded.removed),
    ...(notes.length === 0 ? {} : { notes }),
    timings: {
      find: afterFind - started,
      ...(loaded.backup === undefined ? {} : { backup: loaded.backupMs }),
      load: afterLoad - afterFind - loaded.backupMs,
      verify: ended - afterLoad,
      total: ended - started
    }
  }
  const whole = yield* movedAside(options, found, report)
  const isToldAlready = verification === noVerification && whole.moved === undefined && whole.outcome === report.outcome
  return isToldAlready ? whole : yield* recordProof(whole, (whole.notes ?? []).slice(notes.length))
})

/** Whether a run takes all sources that it finds. */
const isWhole = ({ only, plan }: MigrateOptions): boolean => only === undefined && plan === undefined

/** Sources that were planned, or are to be taken again, and are there no more. */
const goneSince = (
  { only, plan }: MigrateOptions,
  found: ReadonlyArray<{ readonly path: string }>
): ReadonlyArray<ItemReport> => {
  const there = new Set(found.map(({ path }) => path))
  // Skipped, and not rejected once more: what was rejected has its copy in the run that did so.
  if (plan === undefined) return [...(only ?? [])].filter((path) => !there.has(path)).map(goneItem)
  return [...plan]
    .filter(([path]) => !there.has(path))
    .map(([path, { bytes }]) =>
      rejectedItem(path, bytes, [plainRemark("gone-since-plan", "it was there when the run was planned; plan again")])
    )
}

/** Moves the originals of what is stored, if that is wanted and everything that it stands on is proven. */
const movedAside = Effect.fnUntraced(function* (
  options: MigrateOptions,
  found: FoundSources,
  report: RunReport
): Effect.fn.Return<RunReport> {
  const { moveOriginals: folder } = options
  const { backup, verification } = report
  if (folder === undefined || options.dryRun) return report
  const isProven = options.verify !== false && verification.mismatched === 0 && verification.findings.length === 0
  if (
    backup === undefined ||
    backup === null ||
    !isProven ||
    report.outcome === "interrupted" ||
    report.outcome === "failed"
  ) {
    return {
      ...report,
      outcome: notMoved(report.outcome),
      notes: [
        ...(report.notes ?? []),
        "No original was moved: that takes a backup, the proof, and a run that came to its end."
      ]
    }
  }
  const stored = new Set(
    report.items.filter(({ outcome }) => outcome === "migrated" || outcome === "unchanged").map(({ path }) => path)
  )
  const all = found.sources.flatMap(filesOnDisk)
  // What is left in a folder is to be mended and migrated there: nothing is taken away beside it.
  const isWaiting = ({ path, remarks }: ItemReport): boolean =>
    !stored.has(path) && !remarks.some(({ code }) => code === "identical-content" || code === "not-a-cohort")
  const waiting = new Set(report.items.filter(isWaiting).map(({ path }) => dirname(path)))
  const done = found.sources.filter(({ path }) => stored.has(path))
  const left = done.filter(({ path }) => waiting.has(dirname(path)))
  const sources = done.filter(({ path }) => !waiting.has(dirname(path)))
  const { moved, notes } = yield* moveOriginals({
    folder,
    sources: sources.map(({ kind, path, ...source }) => ({
      files: filesOnDisk(source),
      directory: kind === "directory" ? path : undefined
    })),
    all,
    backup,
    cipher: options.backup?.cipher
  })
  return {
    ...report,
    outcome: notes.length === 0 ? report.outcome : notMoved(report.outcome),
    ...(moved.length === 0 ? {} : { moved }),
    ...(notes.length + left.length === 0 ? {} : { notes: [...(report.notes ?? []), ...notes, ...leftNotes(left)] })
  }
})

/** The outcome of a run whose originals were to be moved and are still there. */
const notMoved = (outcome: RunReport["outcome"]): RunReport["outcome"] => (outcome === "done" ? "partly-done" : outcome)

const leftNotes = (left: ReadonlyArray<Source>): ReadonlyArray<string> =>
  [...new Set(left.map(({ path }) => dirname(path)))].map(
    (folder) => `Not moved: what is stored of ${folder}, because something else in it is not.`
  )

/** Notes in the ledger what the proof found and why originals were not moved. The run itself is done: that it cannot be noted is a remark, no failure. */
const recordProof = (report: RunReport, unmoved: ReadonlyArray<string>): Effect.Effect<RunReport> =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openStore({ path: report.database, program: report.program })
      const at = yield* now
      const { findings, ...counts } = report.verification
      yield* Effect.provideService(
        Effect.gen(function* () {
          const check = (yield* nextIds).get("data_integrity_checks") ?? 1
          yield* commitRows(report.run, {
            data_integrity_checks:
              report.verification === noVerification ? [] : [{ check_id: check, run_id: report.run, at, ...counts }],
            migration_runs: [
              {
                run_id: report.run,
                event: "verified",
                at,
                outcome: report.outcome,
                options: null,
                totals: JSON.stringify({
                  verification: { ...counts, findings },
                  timings: report.timings,
                  moved: report.moved,
                  ...(unmoved.length === 0 ? {} : { not_moved: unmoved })
                }),
                program: report.program ?? ""
              }
            ]
          })
        }),
        DuckDbClient,
        client
      )
      yield* reach("report/recorded")
      yield* checkpoint(client)
      return report
    })
  ).pipe(
    Effect.catch(() =>
      Effect.succeed({
        ...report,
        notes: [...(report.notes ?? []), "The proof could not be noted in the database: it was open elsewhere."]
      })
    )
  )

interface Loaded {
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

const load = Effect.fnUntraced(function* (
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

/** Says of items how they differ from what earlier runs saw, and what there is to remember for later ones. */
const comparedWith = (
  history: ReadonlyArray<PathHistory>,
  options: MigrateOptions,
  found: FoundSources,
  items: ReadonlyArray<ItemReport>
) => {
  const cwd = options.cwd ?? process.cwd()
  const changes = changesOf(
    items.map(({ path, source_sha256 }) => ({ path, sha256: source_sha256 ?? undefined })),
    below(
      history,
      options.paths.map((path) => resolve(cwd, path))
    ),
    new Set(found.sources.flatMap(({ files }) => files.map(({ path }) => path)))
  )
  const byPath = new Map(changes.map((changed) => [changed.path, changed]))
  const compared = items.map((item): ItemReport => {
    const changed = byPath.get(item.path)
    if (changed === undefined || changed.change === "unreadable") return item
    return { ...item, change: changed.change, ...(changed.from === undefined ? {} : { from: changed.from }) }
  })
  const seen = compared.flatMap(({ change, digest, outcome, path, source_sha256: sha256 }) =>
    outcome === "unchanged" && change !== "unchanged" && sha256 !== null && digest !== null
      ? [{ path, sha256, digest }]
      : []
  )
  return {
    items: compared,
    noted: {
      changes: compared.flatMap(({ change, from, outcome, path }) =>
        outcome === "unchanged" || change === undefined || change === "new"
          ? []
          : [{ path, change, ...(from === undefined ? {} : { from }) }]
      ),
      ...(seen.length === 0 ? {} : { seen })
    },
    removed: options.only === undefined ? changes.filter(({ change }) => change === "removed") : []
  }
}

/** Sources that are gone, as reports and the ledger name them. */
const removedOf = (removed: ReadonlyArray<ChangedSource>): Pick<RunReport, "removed" | "removed_unstored"> => {
  const unstored = removed.filter(({ stored }) => stored === false)
  return {
    ...(removed.length === 0 ? {} : { removed: removed.map(({ path }) => path) }),
    ...(unstored.length === 0 ? {} : { removed_unstored: unstored.map(({ path }) => path) })
  }
}

/** The files on disk that the sources of a run are read from. */
interface Originals {
  readonly files: ReadonlyArray<SourceFile>
  readonly hold: (descriptor: number) => void
}

/**
 * Descriptors that are closed after everything that is opened later: closing any descriptor of a file gives up all locks
 * that the process has on it, those of an open database too.
 */
const holdOpen = Effect.map(
  Effect.acquireRelease(
    Effect.sync((): Array<number> => []),
    (held) => Effect.sync(() => held.forEach((descriptor) => closeSync(descriptor)))
  ),
  (held) => ({
    hold: (descriptor: number): void => {
      held.push(descriptor)
    }
  })
)

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

const recordBackup = (writer: BatchWriter, run: string, backup: BackupReport): Effect.Effect<void> =>
  Effect.map(Clock.currentTimeMillis, (at) =>
    writer.record("migration_backups", {
      backup_id: backup.backup_id,
      run_id: run,
      at: BigInt(at) * 1000n,
      path: backup.path,
      files: backup.files,
      bytes: backup.bytes,
      manifest_sha256: backup.manifest_sha256
    })
  )

const rehearse = Effect.fnUntraced(function* (
  options: MigrateOptions,
  found: FoundSources,
  run: string,
  unreadable: ReadonlyArray<ItemReport>
) {
  const stored = existsSync(options.database)
    ? yield* reading(
        options.database,
        Effect.gen(function* () {
          return { ...(yield* readStored(yield* DuckDbClient)), history: yield* readHistory() }
        })
      ).pipe(
        Effect.catchTag("SqlError", (cause) => Effect.fail(new MigrationFailed({ database: options.database, cause })))
      )
    : {
        heads: new Map<string, StoredHead>(),
        known: new Map<string, ReadonlyMap<string, KnownItem>>(),
        rivals: new Set<string>(),
        history: []
      }
  const loader = yield* needsRows(options)
    ? Effect.scoped(rehearseInScratch(options, stored, found, run))
    : Effect.gen(function* () {
        const threads = yield* startReadThreads(options, found.sources)
        const writer = BatchWriter.dry()
        const dry = new Loader({ options, found: found.sources, stored, writer, run, rejectedBefore: 0, threads })
        yield* dry.run().pipe(Effect.withSpan("mallard.read"), Effect.catchTag("SqlError", Effect.die))
        return dry
      }).pipe(Effect.scoped)
  const { reports } = loader
  const { items: compared, removed } = comparedWith(stored.history, options, found, [...reports, ...unreadable])
  const items = compared.slice(0, reports.length)
  const loaded: Loaded = {
    items,
    removed,
    interrupted: loader.interrupted,
    verifyFrom: undefined,
    resumed: undefined,
    exceeded: false,
    slowest: loader.slowest.list,
    duckdb: "",
    backup: undefined,
    backupMs: 0,
    notes: []
  }
  return loaded
})

/** Whether the content is checked by rules, which are asked of rows. */
const needsRows = ({ rules, strict }: MigrateOptions): boolean => rules !== undefined || strict === true

const REHEARSAL = "rehearsal"

/** The same as a run, in a database that is gone afterwards. */
const rehearseInScratch = Effect.fnUntraced(function* (
  options: MigrateOptions,
  stored: Stored,
  found: FoundSources,
  run: string
) {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => {
      removeScratch(tmpdir(), REHEARSAL)
      return mkdtempSync(join(tmpdir(), scratchPrefix(REHEARSAL)))
    }),
    (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
  )
  const path = join(folder, "rehearsal.duckdb")
  const threads = yield* startReadThreads(options, found.sources)
  const client = yield* openStore({
    path,
    program: options.program,
    memoryLimit: options.memoryLimit,
    threads: options.jobs
  })
  return yield* Effect.gen(function* () {
    const writer = yield* BatchWriter.make(client, options.memoryLimit === undefined)
    const loader = new Loader({ options, found: found.sources, stored, writer, run, rejectedBefore: 0, threads })
    yield* Effect.withSpan(loader.run(), "mallard.read")
    return loader
  }).pipe(Effect.catchTag("SqlError", (cause) => Effect.fail(new MigrationFailed({ database: path, cause }))))
})

/** Fails before anything is read or created if DuckDB cannot use one of the patterns; asks one in memory, if there is any. */
const checkPatterns = Effect.fnUntraced(function* ({ database, rules, rulesPath }: MigrateOptions) {
  const patterns = (rules?.rules ?? []).flatMap(({ pattern }, at) => (pattern === undefined ? [] : [{ pattern, at }]))
  if (patterns.length === 0) return
  const wrong = yield* Effect.gen(function* () {
    const client = yield* DuckDbClient
    for (const { at, pattern } of patterns) if (!(yield* isPattern(client, pattern))) return at
    return undefined
  }).pipe(
    Effect.provide(DuckDbClient.layer({ filename: ":memory:" })),
    Effect.mapError((cause) => new MigrationFailed({ database, cause }))
  )
  if (wrong === undefined) return
  return yield* new RulesInvalid({
    path: rulesPath ?? "--rules",
    problem: `/rules/${wrong}/pattern is no regular expression of RE2`
  })
})

const recordRun = (
  writer: BatchWriter,
  run: string,
  options: MigrateOptions,
  event: "started" | "finished",
  outcome: string | null,
  about: unknown,
  totals: unknown
): Effect.Effect<void> =>
  Effect.map(Clock.currentTimeMillis, (at) =>
    writer.record("migration_runs", {
      run_id: run,
      event,
      at: BigInt(at) * 1000n,
      outcome,
      options: JSON.stringify(about),
      totals: totals === null ? null : JSON.stringify(totals),
      program: options.program
    })
  )

/** What was asked, as the ledger and the report tell it. */
const optionsOf = (options: MigrateOptions, resumes: string | undefined): RunOptions => ({
  command: "migrate",
  paths: options.paths,
  cwd: options.cwd ?? process.cwd(),
  on_conflict: options.onConflict,
  verify: options.verify !== false,
  backup: options.backup !== undefined,
  ...(options.backup === undefined ? {} : backupOptionsOf(options.backup)),
  ...(options.moveOriginals === undefined ? {} : { move_originals: options.moveOriginals }),
  max_entity_bytes: options.maxEntityBytes,
  max_depth: options.maxDepth,
  ...(options.memoryLimit === undefined ? {} : { memory_limit: options.memoryLimit }),
  ...(options.jobs === undefined ? {} : { jobs: options.jobs }),
  ...(options.maxFileBytes === undefined ? {} : { max_file_bytes: options.maxFileBytes }),
  ...(options.replays === undefined
    ? {}
    : { replays: [...options.replays].map(([source, replayed]) => ({ source, ...replayed })) }),
  ...(options.strict === true ? { strict: true } : {}),
  ...(options.rules === undefined ? {} : { rules: options.rules }),
  ...(options.maxRejects === undefined ? {} : { max_rejects: textOfLimit(options.maxRejects) }),
  ...(resumes === undefined ? {} : { resumes }),
  ...(options.retries === undefined ? {} : { retries: options.retries }),
  ...(options.only === undefined ? {} : { only: [...options.only] }),
  ...(options.plan === undefined ? {} : { plan: plannedOf(options.plan) })
})

const plannedOf = (plan: NonNullable<MigrateOptions["plan"]>) =>
  [...plan].map(([path, { action, bytes, source_sha256 }]) => ({ path, action, source_sha256, bytes }))

const backupOptionsOf = ({ cipher, store }: NonNullable<MigrateOptions["backup"]>): RunOptions => ({
  backup_dir: store,
  ...(cipher === undefined
    ? {}
    : cipher.passphrase === undefined
      ? { backup_cipher: "recipients", backup_recipients: cipher.recipients ?? [] }
      : { backup_cipher: "passphrase" })
})

const sourcesAsked = ({ cwd, only, paths, plan, resumes }: MigrateOptions) => ({
  paths,
  cwd: cwd ?? process.cwd(),
  ...(only === undefined ? {} : { only: [...only] }),
  ...(plan === undefined ? {} : { plan: plannedOf(plan) }),
  ...(resumes === undefined ? {} : { resumes })
})

const endings: Readonly<Record<UnfinishedRun["state"], string>> = {
  killed: "was cut short",
  interrupted: "was interrupted",
  "not-proven": "ended before its proof",
  "not-undone": "rejected too much and was not undone"
}

const resumedNote = ({ firstRevision, run, state }: UnfinishedRun): string => {
  const what =
    firstRevision === undefined
      ? " before it had stored anything."
      : ": what it had stored counts as unchanged and is proven with the rest."
  return `Went on with run ${run.slice(0, 8)}, which ${endings[state]}${what}`
}

const verifyRun = Effect.fnUntraced(function* (options: MigrateOptions, firstRevision: number) {
  yield* reach("verify/begun")
  const report = yield* Effect.scoped(
    Effect.flatMap(
      openStore({ path: options.database, readonly: true, memoryLimit: options.memoryLimit, threads: options.jobs }),
      (client) =>
        verifyContents(client, firstRevision, (done, documents) =>
          options.onProgress?.({ phase: "verify", done, documents })
        )
    )
  ).pipe(
    Effect.catchTag("SqlError", (cause) => Effect.fail(new MigrationFailed({ database: options.database, cause })))
  )
  yield* reach("verify/done")
  const verification: Verification = {
    checked: report.checked,
    matched: report.matched,
    mismatched: report.mismatched,
    findings: report.findings
  }
  return verification
})

export type { StoreError }
