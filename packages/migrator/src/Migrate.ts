/**
 * The migration: finds sources, reads each once, stores whole items in batches, verifies what it stored from a fresh
 * connection, and reports every item. A dry run is the same without writing.
 */
import { hash, randomUUID } from "node:crypto"
import { closeSync, existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve, sep } from "node:path"
import {
  BatchWriter,
  blobText,
  checkpoint,
  commitRows,
  contentDigest,
  duplicateIds,
  findViolations,
  isPattern,
  type NewPart,
  type NewRevision,
  nextIds,
  now,
  openStore,
  queryRows,
  reach,
  readRuns,
  type StoreError,
  verifyContents
} from "@mallard/duckdb-store"
import { sizeText } from "@mallard/duckdb-store/Disk"
import { daysFromCivil, inexactRules, type MemberRows } from "@mallard/entity-serializers"
import {
  findSources,
  type FoundSources,
  notCohortNames,
  type PartRead,
  mayHoldLines,
  placesOf,
  readPart,
  readWholeFile,
  toUtf8,
  type ValuePlace,
  ReadBuffers,
  type Source,
  type SourceEncoding,
  SourceError,
  type SourceFile,
  SourceRejected,
  WHOLE_FILE_BYTES,
  WINDOW_BYTES
} from "@mallard/legacy-json"
import { JSON_KIND, kindByCode } from "@mallard/schema"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Clock, Effect, Option, Result, Schema } from "effect"
import type { SqlError } from "effect/sql"
import { isStopped } from "./report/Summary.ts"
import { checkPlace, moveOriginals } from "./internal/moveOriginals.ts"
import { readHistory } from "./internal/history.ts"
import { environmentOf } from "./internal/environment.ts"
import { isExceeded, type RejectLimit, textOfLimit } from "./internal/rejectLimit.ts"
import { isOutOfSpace, retryTransient, SPACE_PAUSES_MS } from "./internal/transient.ts"
import { type RunFacts, type RunOptions, SlowestSources } from "./internal/RunFacts.ts"
import { backupStoreOf, type CipherSettings, makeBackup } from "./Backup.ts"
import { type Claim, type ConflictRule, decide, type StoredHead } from "./Decision.ts"
import { expandDatabases, type UnreadDatabase } from "./HealthSimDatabase.ts"
import { changesOf, type PathHistory } from "./Incremental.ts"
import {
  type BackupReport,
  type ItemReport,
  noVerification,
  outcomeOf,
  type PartReport,
  type Remark,
  type RunReport,
  totalsOf,
  type Verification
} from "./Report.ts"
import { below } from "./Status.ts"
import type { PlannedItem } from "./Plan.ts"
import { checksOf, duplicateLevel, type LevelledCheck, remarkOfCheck, type Rules, RulesInvalid } from "./Validation.ts"
import { continuedRun, type UnfinishedRun } from "./Resume.ts"

export interface MigrateOptions {
  readonly paths: ReadonlyArray<string>
  /** Absolute path of the database. */
  readonly database: string
  readonly onConflict: ConflictRule
  readonly dryRun: boolean
  readonly program: string
  readonly maxEntityBytes: number
  readonly maxDepth: number
  readonly memoryLimit?: string | undefined
  /** How much is read, compressed and computed at once; without it as the machine's cores allow. Changes no result. */
  readonly jobs?: number | undefined
  /** A source with a larger file is rejected, and nothing of it is read. */
  readonly maxFileBytes?: number | undefined
  readonly cwd?: string | undefined
  /** False leaves out the verification of what was stored; `verify` can be run later. */
  readonly verify?: boolean | undefined
  /** Asked between items and windows; true ends the run after what is whole has been stored. */
  readonly isStopped?: (() => boolean) | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** How a run divides its work; what is left out is as in `defaultSizes`. */
  readonly sizes?: Partial<Sizes> | undefined
  /** Where the sources are copied to before anything is written; without it they are not. */
  readonly backup?: { readonly store: string; readonly cipher?: CipherSettings | undefined } | undefined
  /** Absolute path of a folder that the originals of what is stored are moved to, once that and the backup are proven. */
  readonly moveOriginals?: string | undefined
  /** Where sources that are not stored are copied to when there is no backup of all; without it they are not. */
  readonly rejectStore?: string | undefined
  /** Where each source, by path, comes from that an earlier run rejected and that has been mended since. */
  readonly replays?: ReadonlyMap<string, Replayed> | undefined
  /** The run that was cut short and that this one goes on with. Without it, the last one over the same sources. */
  readonly resumes?: string | undefined
  /** The run whose failures this one takes again. */
  readonly retries?: string | undefined
  /** Leaves out all sources but those of these paths. */
  readonly only?: ReadonlySet<string> | undefined
  /** What is decided about each source, by path: anything else is refused, and sources not named are left out. */
  readonly plan?: ReadonlyMap<string, Planned> | undefined
  /** Rejects what would only be remarked. */
  readonly strict?: boolean | undefined
  /** Rules for the content; see `readRules`. */
  readonly rules?: Rules | undefined
  /** Stops when more sources are rejected; `migrateWithin` then undoes the run too. */
  readonly maxRejects?: RejectLimit | undefined
}

/** What a plan says about a source. */
export type Planned = Pick<PlannedItem, "action" | "source_sha256" | "bytes">

/** An item of an earlier run. */
export interface Replayed {
  readonly run: string
  readonly item: number
  /** Where it was then. */
  readonly path: string
}

/** How a run divides its work: what it stores does not depend on it. */
export interface Sizes {
  /** A batch holds items until it has this many entities, files or bytes. */
  readonly batchEntities: number
  readonly batchFiles: number
  readonly batchBytes: number
  /** A batch that has taken so long is stored as it is, so that what became of its items is told. */
  readonly batchMs: number
  /** Files up to this size are read whole, larger ones through a window. */
  readonly wholeFileBytes: number
  readonly windowBytes: number
}

/** What a run tells while it goes. */
export type Progress =
  | { readonly phase: "found"; readonly sources: number; readonly bytes: number }
  /** Bytes copied, or found to be copied already, and bytes proven: each counts once for either. */
  | { readonly phase: "backup"; readonly bytes: number }
  | { readonly phase: "read"; readonly bytes: number }
  /** Entities read, whatever becomes of them; those of a source that is read again count again, unchanged ones never. */
  | { readonly phase: "entities"; readonly count: number }
  | { readonly phase: "item"; readonly item: ItemReport }
  | { readonly phase: "verify"; readonly done: number; readonly documents: number }

/** The database failed in the middle of a run; what had been committed is whole. */
export class MigrationFailed extends Schema.TaggedError<MigrationFailed>()("MigrationFailed", {
  database: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `Writing to ${this.database} failed. Nothing is half stored: check the disk, then run the same command again.`
  }
}

/** Sizes that measurements have shown to be good. */
export const defaultSizes: Sizes = {
  batchEntities: 1_000_000,
  batchFiles: 500,
  batchBytes: 512 << 20,
  batchMs: 10_000,
  wholeFileBytes: WHOLE_FILE_BYTES,
  windowBytes: WINDOW_BYTES
}

/** The default limits: see promise P9. */
export const defaultLimits = { maxEntityBytes: 64 << 20, maxDepth: 10_000 } as const

/** Two sources of one batch claim one name; the batch is read again without either. */
class BatchContested extends Schema.TaggedError<BatchContested>()("BatchContested", {}) {}

/** A source whose rows were being written as it was read cannot be stored; its transaction is given up. */
class LargeItemFailed extends Schema.TaggedError<LargeItemFailed>()("LargeItemFailed", { report: Schema.Unknown }) {}

/** Runs a migration. */
export const migrate = Effect.fn("migrate")(function* (options: MigrateOptions) {
  // Databases among the sources stay open until all is done.
  return yield* Effect.scoped(migrateAll(options))
})

const migrateAll = Effect.fnUntraced(function* (options: MigrateOptions) {
  const started = yield* Clock.currentTimeMillis
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
  yield* checkPlace(options.moveOriginals, originals)
  const held = yield* holdOpen
  const { sources, unread } = yield* expandDatabases(readable, {
    target: options.database,
    memoryLimit: options.memoryLimit
  })
  // Copies that lie among the sources are our own.
  const store = `${options.backup?.store ?? options.rejectStore ?? backupStoreOf(options.database)}${sep}`
  const isWanted = ({ path }: { readonly path: string }): boolean =>
    options.only?.has(path) !== false && options.plan?.has(path) !== false
  const found = {
    ...onDisk,
    sources: sources.filter(isWanted),
    unreadable: onDisk.unreadable.filter(isWanted),
    ignored: isWhole(options) ? onDisk.ignored.filter(({ path }) => !path.startsWith(store)) : []
  }
  yield* reach("sources/found")
  const afterFind = yield* Clock.currentTimeMillis
  const run = randomUUID()
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
    ? rehearse(options, found, run)
    : load(options, found, run, unreadable, afterFind - started, { files: originals, ...held })
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
    ...(loaded.removed.length === 0 ? {} : { removed: loaded.removed }),
    ...(loaded.resumed === undefined ? {} : { notes: [resumedNote(loaded.resumed)] }),
    timings: {
      find: afterFind - started,
      ...(loaded.backup === undefined ? {} : { backup: loaded.backupMs }),
      load: afterLoad - afterFind - loaded.backupMs,
      verify: ended - afterLoad,
      total: ended - started
    }
  }
  const whole = yield* movedAside(options, found, report)
  return verification === noVerification && whole.moved === undefined ? whole : yield* recordProof(whole)
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

/** Why a source is not taken although it could be: something is not as it was planned. */
const deviation = (planned: Planned | undefined, sha256: string, isToBeStored: boolean): Remark | undefined => {
  if (planned === undefined) return undefined
  if (planned.source_sha256 !== sha256) {
    return plainRemark("changed-since-plan", "its bytes are not those that the run was planned for; plan again")
  }
  if (isToBeStored && planned.action !== "store") {
    return plainRemark(
      "decided-otherwise",
      "it was not to be stored by the plan, and now would be: the database or another source has changed; plan again"
    )
  }
  return undefined
}

/** Moves the originals of what is stored, if that is wanted and everything that it stands on is proven. */
const movedAside = Effect.fnUntraced(function* (options: MigrateOptions, found: FoundSources, report: RunReport) {
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
  const isWhole = ({ path }: Source): boolean => stored.has(path) && !waiting.has(dirname(path))
  const left = found.sources.filter((source) => stored.has(source.path) && !isWhole(source))
  const sources = found.sources.filter(isWhole)
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
  const aside: RunReport = {
    ...report,
    ...(moved.length === 0 ? {} : { moved }),
    ...(notes.length + left.length === 0 ? {} : { notes: [...(report.notes ?? []), ...notes, ...leftNotes(left)] })
  }
  return aside
})

const leftNotes = (left: ReadonlyArray<Source>): ReadonlyArray<string> =>
  [...new Set(left.map(({ path }) => dirname(path)))].map(
    (folder) => `Not moved: what is stored of ${folder}, because something else in it is not.`
  )

/** Notes in the ledger what the proof found. The run itself is done: that it cannot be noted is a remark, no failure. */
const recordProof = (report: RunReport): Effect.Effect<RunReport> =>
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
                  moved: report.moved
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

const entitiesOf = ({ entities }: ItemReport): number => Object.values(entities).reduce((sum, count) => sum + count, 0)

const largestOf = (files: ReadonlyArray<SourceFile>): number =>
  files.reduce((most, { bytes }) => Math.max(most, bytes), 0)

const bytesOf = (source: Source): number => source.files.reduce((sum, file) => sum + file.bytes, 0)

// ---- what is stored already

/** An item that an earlier run stored, and whose cohort has not changed since. */
interface KnownItem {
  readonly cohort: string
  readonly cohortId: string
  readonly digest: string
  readonly format: string
  readonly entities: Readonly<Record<string, number>>
}

interface Stored {
  readonly heads: Map<string, StoredHead>
  /** Paths of sources that an earlier run rejected because others claimed their names. */
  readonly rivals: ReadonlySet<string>
  /** By path and hash of the source. */
  readonly known: ReadonlyMap<string, KnownItem>
}

const knownKey = (path: string, sha256: string): string => `${sha256} ${path}`

const HEADS = `SELECT * FROM mallard.revisions QUALIFY row_number() OVER (PARTITION BY cohort_id ORDER BY seq DESC) = 1`

const readStored = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  const heads = new Map<string, StoredHead>()
  for (const [name, cohortId, revisionId, seq, digest, contentId, change] of yield* queryRows(
    client,
    // Names travel as bytes: the client drops a leading byte order mark.
    `SELECT encode(name), cohort_id::VARCHAR, revision_id, seq, digest, content_id, change FROM (${HEADS}) ORDER BY revision_id`
  )) {
    const head = {
      cohortId: String(cohortId),
      revisionId: Number(revisionId),
      seq: Number(seq),
      digest: String(digest),
      contentId: Number(contentId),
      deleted: change === "deleted"
    }
    const other = heads.get(blobText(name))
    if (other === undefined || other.deleted) heads.set(blobText(name), head)
  }
  const known = new Map<string, KnownItem>()
  for (const [path, sha256, cohort, cohortId, digest, format, entities] of yield* queryRows(
    client,
    `SELECT i.path, i.source_sha256, encode(h.name), h.cohort_id::VARCHAR, i.digest, i.format, i.entities
     FROM mallard.migration_items i JOIN (${HEADS}) h ON h.content_id = i.revision_id
     WHERE i.outcome = 'migrated' AND h.change <> 'deleted'`
  )) {
    known.set(knownKey(String(path), String(sha256)), {
      cohort: blobText(cohort),
      cohortId: String(cohortId),
      digest: String(digest),
      format: String(format),
      entities: JSON.parse(String(entities))
    })
  }
  const contested = yield* queryRows(
    client,
    `SELECT DISTINCT path FROM mallard.migration_items WHERE outcome = 'rejected' AND contains(remarks, '"name-conflict"')`
  )
  const stored: Stored = { heads, known, rivals: new Set(contested.map(([path]) => String(path))) }
  return stored
})

// ---- loading

interface Loaded {
  readonly items: ReadonlyArray<ItemReport>
  readonly interrupted: boolean
  /** The first revision to prove: that of the run, or of the one that it went on with; undefined if there is none. */
  readonly verifyFrom: number | undefined
  /** The run that was cut short and that this one went on with. */
  readonly resumed: UnfinishedRun | undefined
  /** Whether more was rejected than allowed. */
  readonly exceeded: boolean
  /** Paths where sources were. */
  readonly removed: ReadonlyArray<string>
  readonly slowest: NonNullable<RunReport["slowest"]>
  /** Version of DuckDB; empty if it was not asked. */
  readonly duckdb: string
  readonly backup: RunReport["backup"] | undefined
  readonly backupMs: number
}

const load = Effect.fnUntraced(function* (
  options: MigrateOptions,
  found: FoundSources,
  run: string,
  unreadable: ReadonlyArray<ItemReport>,
  findMs: number,
  originals: Originals
) {
  return yield* Effect.scoped(
    Effect.gen(function* () {
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
        const backup = yield* Effect.withSpan(backUp(options, originals, run), "mallard.backup")
        const backupMs = (yield* Clock.currentTimeMillis) - began
        const stored = yield* readStored(client)
        const history = yield* Effect.provideService(readHistory(), DuckDbClient, client)
        const writer = yield* BatchWriter.make(client)
        const firstRevision = writer.nextRevision
        const runs = yield* Effect.provideService(readRuns(), DuckDbClient, client)
        const resumed = continuedRun(runs, sourcesAsked(options))
        const asked = { ...optionsOf(options, resumed?.run), environment: environmentOf(duckdb) }
        yield* writer.transaction(
          run,
          Effect.tap(recordRun(writer, run, options, "started", null, asked, null), () =>
            backup === undefined ? Effect.void : recordBackup(writer, run, backup)
          )
        )
        yield* reach(resumed === undefined ? "run/begun" : "run/resumed")
        yield* checkPatterns(client, options)
        const loader = new Loader(options, stored, writer, run, unreadable.filter(isStopped).length)
        yield* Effect.withSpan(loader.run(found.sources), "mallard.read")
        const reports = loader.reports(found.sources)
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
          ...(loader.interrupted || changes.removed.length === 0 ? {} : { removed: changes.removed }),
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
          backupMs
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
    removed:
      options.only === undefined ? changes.filter(({ change }) => change === "removed").map(({ path }) => path) : []
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
  return made?.report
})

/** The files of a source; a cohort of a database is none. */
const filesOnDisk = ({ files }: Pick<Source, "files">): ReadonlyArray<SourceFile> =>
  files.filter(({ open }) => open === undefined)

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

const rehearse = Effect.fnUntraced(function* (options: MigrateOptions, found: FoundSources, run: string) {
  const stored = existsSync(options.database)
    ? yield* Effect.scoped(
        Effect.flatMap(openStore({ path: options.database, readonly: true }), (client) =>
          Effect.provideService(
            Effect.gen(function* () {
              return { ...(yield* readStored(client)), history: yield* readHistory() }
            }),
            DuckDbClient,
            client
          )
        )
      ).pipe(
        Effect.catchTag("SqlError", (cause) => Effect.fail(new MigrationFailed({ database: options.database, cause })))
      )
    : {
        heads: new Map<string, StoredHead>(),
        known: new Map<string, KnownItem>(),
        rivals: new Set<string>(),
        history: []
      }
  const loader = yield* needsRows(options)
    ? Effect.scoped(rehearseInScratch(options, stored, found, run))
    : Effect.gen(function* () {
        const dry = new Loader(options, stored, BatchWriter.dry(), run, 0)
        yield* dry.run(found.sources).pipe(Effect.withSpan("mallard.read"), Effect.catchTag("SqlError", Effect.die))
        return dry
      })
  const { items, removed } = comparedWith(stored.history, options, found, loader.reports(found.sources))
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
    backupMs: 0
  }
  return loaded
})

/** Whether the content is checked by rules, which are asked of rows. */
const needsRows = ({ rules, strict }: MigrateOptions): boolean => rules !== undefined || strict === true

/** The same as a run, in a database that is gone afterwards. */
const rehearseInScratch = Effect.fnUntraced(function* (
  options: MigrateOptions,
  stored: Stored,
  found: FoundSources,
  run: string
) {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "mallard-rehearsal-"))),
    (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
  )
  const path = join(folder, "rehearsal.duckdb")
  const client = yield* openStore({
    path,
    program: options.program,
    memoryLimit: options.memoryLimit,
    threads: options.jobs
  })
  return yield* Effect.gen(function* () {
    yield* checkPatterns(client, options)
    const loader = new Loader(options, stored, yield* BatchWriter.make(client), run, 0)
    yield* Effect.withSpan(loader.run(found.sources), "mallard.read")
    return loader
  }).pipe(Effect.catchTag("SqlError", (cause) => Effect.fail(new MigrationFailed({ database: path, cause }))))
})

/** Fails before anything is read if DuckDB cannot use one of the patterns. */
const checkPatterns = Effect.fnUntraced(function* (client: DuckDbSqlClient, { rules }: MigrateOptions) {
  for (const [at, { pattern }] of (rules?.rules ?? []).entries()) {
    if (pattern !== undefined && !(yield* isPattern(client, pattern))) {
      return yield* new RulesInvalid({
        path: "--rules",
        problem: `the pattern of rule ${at + 1} is no regular expression of RE2`
      })
    }
  }
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
  ...(options.only === undefined ? {} : { only: [...options.only] })
})

const backupOptionsOf = ({ cipher, store }: NonNullable<MigrateOptions["backup"]>): RunOptions => ({
  backup_dir: store,
  ...(cipher === undefined
    ? {}
    : cipher.passphrase === undefined
      ? { backup_cipher: "recipients", backup_recipients: cipher.recipients ?? [] }
      : { backup_cipher: "passphrase" })
})

const sourcesAsked = ({ cwd, only, paths, resumes }: MigrateOptions) => ({
  paths,
  cwd: cwd ?? process.cwd(),
  ...(only === undefined ? {} : { only: [...only] }),
  ...(resumes === undefined ? {} : { resumes })
})

const endings: Readonly<Record<UnfinishedRun["state"], string>> = {
  killed: "was cut short",
  interrupted: "was interrupted",
  "not-proven": "ended before its proof",
  "not-undone": "rejected too much and was not undone"
}

const resumedNote = ({ run, state }: UnfinishedRun): string => {
  return `Went on with run ${run.slice(0, 8)}, which ${endings[state]}: what it had stored counts as unchanged and is proven with the rest.`
}

/** An item whose rows wait in the current transaction. */
interface StagedItem {
  readonly number: number
  readonly report: ItemReport
  readonly revisionId: number | undefined
}

/** A source that claims a name, and what came of it. */
interface Claimant extends Claim {
  readonly number: number
  readonly outcome: "migrated" | "skipped" | "unchanged"
  /** What it was saved as. */
  readonly revisionId: number | undefined
}

/** Consecutive sources that are stored in one transaction. */
interface Batch {
  readonly first: number
  /** The source after the last one read. */
  end: number
  bytes: number
  readonly began: number
  /** Its first revision. */
  readonly from: number
  readonly staged: Array<StagedItem>
}

/** What sources lay claim to, as it was at some moment. */
interface Claimed {
  readonly claims: ReadonlyMap<string, ReadonlyArray<Claimant>>
  readonly disowned: ReadonlyMap<number, { readonly name: string; readonly claimant: Claimant }>
}

/** A batch whose commit is under way. */
interface PendingBatch {
  readonly first: number
  readonly end: number
  readonly before: Claimed
  readonly staged: ReadonlyArray<StagedItem>
  readonly committed: Effect.Effect<void, SqlError.SqlError>
}

/** Sources that are fetched at once at most: each takes a buffer of its size. */
const MOST_AHEAD = 8

/** Compact text that is read ahead while the database commits. */
const AHEAD_BYTES = 48 << 20

class Loader {
  interrupted = false
  readonly slowest = new SlowestSources()
  /** Sources that were rejected before any was read. */
  private readonly rejectedBefore: number
  private readonly checks: ReadonlyArray<LevelledCheck>
  /** Items whose content breaks a rule that rejects, by number. */
  private readonly invalid = new Map<number, ItemReport>()
  /** How often items were tried again because the disk was full, by number. */
  private readonly attempts = new Map<number, number>()
  /** Numbers of items that no transaction has recorded. */
  private readonly unrecorded = new Set<number>()
  private pending: PendingBatch | undefined
  /** Whether items of the current batch turned out to be contested after they were put into it. */
  private mustRepeat = false
  private readonly options: MigrateOptions
  private readonly stored: Stored
  private readonly writer: BatchWriter
  private readonly run_: string
  private readonly buffers: ReadBuffers
  /** How many entities of the source being read have been told. */
  private told = 0
  /** In the order in which they are read. */
  private sources: ReadonlyArray<Source> = []
  /** Where among them the huge ones begin. */
  private firstHeavy = 0
  private readonly items: Array<ItemReport | undefined> = []
  private readonly sizes: Sizes
  /** Names claimed in this run, by whom. */
  private claims = new Map<string, ReadonlyArray<Claimant>>()
  /** Names that several sources claim for different content, and all who do. */
  private readonly contested = new Map<string, Set<string>>()
  /** Items of earlier batches that turned out to be contested, by number: still stored or skipped. */
  private disowned = new Map<number, { readonly name: string; readonly claimant: Claimant }>()

  constructor(options: MigrateOptions, stored: Stored, writer: BatchWriter, run: string, rejectedBefore: number) {
    this.options = options
    this.rejectedBefore = rejectedBefore
    this.checks = checksOf(options.rules)
    this.buffers = new ReadBuffers(options.jobs === undefined ? 1 : Math.min(options.jobs, MOST_AHEAD) - 1)
    this.sizes = { ...defaultSizes, ...options.sizes }
    this.stored = stored
    this.writer = writer
    this.run_ = run
  }

  private hasTooManyRejects(found: number): boolean {
    const { maxRejects } = this.options
    if (maxRejects === undefined) return false
    const rejected = this.items.filter((item) => item !== undefined && isStopped(item)).length + this.rejectedBefore
    return isExceeded(maxRejects, { rejected, failed: 0, found: found + this.rejectedBefore })
  }

  /** What became of sources, in their order. */
  reports(found: ReadonlyArray<Source>): ReadonlyArray<ItemReport> {
    const numbers = new Map(this.sources.map((source, number) => [source, number]))
    return found
      .map((source) => this.items[numbers.get(source) ?? -1])
      .filter((item) => item !== undefined)
      .map((item) => this.withAllClaimants(item))
      .map((item) => {
        const replays = this.options.replays?.get(item.path)
        return replays === undefined ? item : { ...item, replays }
      })
  }

  /** Records, in the current transaction, the items that were not reached or not taken, and those found unreadable. */
  recordRest(unreadable: ReadonlyArray<ItemReport>): void {
    for (const number of this.unrecorded) {
      const report = this.items[number]
      if (report !== undefined) this.recordItem({ number, report, revisionId: undefined })
    }
    unreadable.forEach((report, at) =>
      this.recordItem({ number: this.items.length + at, report, revisionId: undefined })
    )
  }

  /** Every source that claims a contested name is named, also those that came later. */
  private withAllClaimants(item: ItemReport): ItemReport {
    const remarks = item.remarks.map((remark) => {
      return remark.code === "name-conflict" && item.cohort !== null
        ? this.conflictRemark(item.cohort, item.path)
        : remark
    })
    return { ...item, remarks }
  }

  private conflictRemark(name: string, path: string): Remark {
    const others = [...(this.contested.get(name) ?? [])].filter((other) => other !== path).sort()
    return plainRemark("name-conflict", conflictMessage(others))
  }

  readonly run = Effect.fnUntraced({ self: this }, function* (found: ReadonlyArray<Source>) {
    // Sources that fought over names before come last and together: then nothing is stored only to be taken back.
    const isRival = ({ path }: Source): boolean => this.stored.rivals.has(path)
    const isHeavy = (source: Source): boolean => bytesOf(source) > this.sizes.wholeFileBytes / 4
    const peaceful = found.filter((source) => !isRival(source))
    // What is huge comes after the others, so that nobody waits for it to learn what became of them.
    const heavy = peaceful.filter(isHeavy).sort((left, right) => bytesOf(left) - bytesOf(right))
    const sources = [...peaceful.filter((source) => !isHeavy(source)), ...heavy, ...found.filter(isRival)]
    const firstRival = sources.length - found.length + peaceful.length
    const firstHeavy = firstRival - heavy.length
    this.firstHeavy = firstHeavy
    this.sources = sources
    for (let next = 0; next < sources.length || this.pending !== undefined;) {
      if (next === sources.length) yield* this.settle(sources)
      else if (this.hasTooManyRejects(sources.length)) {
        yield* this.settle(sources)
        for (; next < sources.length; next++) {
          this.items[next] = notReachedItem(sources[next]!)
          this.unrecorded.add(next)
        }
      } else if (this.options.isStopped?.() === true) {
        this.interrupted = true
        yield* this.settle(sources)
        for (; next < sources.length; next++) {
          this.items[next] = interruptedItem(sources[next]!)
          this.unrecorded.add(next)
        }
      } else {
        const end = [firstHeavy, firstRival, sources.length].find((boundary) => boundary > next) ?? sources.length
        const most = next < firstRival ? Math.min(this.sizes.batchFiles, end - next) : end - next
        next = yield* Effect.withSpan(this.batch(sources, next, most), "mallard.batch")
      }
    }
    if (this.disowned.size > 0) {
      const takenBack = yield* this.writer.transaction(this.run_, this.takeBack())
      this.hold(takenBack)
      this.finish(takenBack)
    }
  })

  /**
   * Stores sources from `first` on in one transaction; returns where the next batch starts. Reading begins while the
   * batch before is still being committed.
   */
  private readonly batch: (
    sources: ReadonlyArray<Source>,
    first: number,
    most: number
  ) => Effect.Effect<number, SqlError.SqlError> = Effect.fnUntraced({ self: this }, function* (sources, first, most) {
    const before = this.claimed()
    const began = yield* Clock.currentTimeMillis
    const batch: Batch = { first, end: first, bytes: 0, began, from: this.writer.nextRevision, staged: [] }
    this.mustRepeat = false
    // Only a source that is written as it is read fails as a whole, and those wait for their transaction.
    yield* Effect.catchTag(this.gather(batch, sources, most, true), "LargeItemFailed", Effect.die)
    // With a batch that cannot be committed goes whatever was read after it.
    if (!(yield* this.settle(sources))) return first
    const undo = Effect.sync(() => {
      this.claims = new Map(before.claims)
    })
    return yield* this.writer.stage(this.run_, this.complete(batch, sources, most)).pipe(
      Effect.map(({ committed, result }) => {
        this.hold(result)
        this.pending = { first, end: batch.end, before, staged: result, committed }
        return batch.end
      }),
      Effect.tap(() =>
        Effect.annotateCurrentSpan({
          "mallard.sources": batch.end - batch.first,
          "mallard.bytes": batch.bytes,
          "mallard.entities": batch.staged.reduce((sum, { report }) => sum + entitiesOf(report), 0)
        })
      ),
      Effect.catchTag("BatchContested", () => Effect.andThen(undo, this.batch(sources, first, most))),
      Effect.catchTag("LargeItemFailed", ({ report }) =>
        Effect.gen({ self: this }, function* () {
          const item = report as ItemReport
          const own = { number: first, report: item, revisionId: undefined }
          // A large source that is stored already or was there before keeps its claim: nothing of it was written.
          if (item.outcome !== "unchanged" && item.outcome !== "skipped") yield* undo
          const takenBack = yield* this.writer.transaction(
            this.run_,
            Effect.tap(this.takeBack(), () => Effect.sync(() => this.recordItem(own)))
          )
          this.hold([...takenBack, own])
          this.finish([...takenBack, own])
          return first + 1
        })
      ),
      Effect.catchTag("SqlError", (error) => Effect.andThen(undo, this.oneByOne(sources, first, batch.end, error)))
    )
  })

  /** Waits for the commit under way; false if it failed, and all that was read since is gone. */
  private readonly settle: (sources: ReadonlyArray<Source>) => Effect.Effect<boolean, SqlError.SqlError> =
    Effect.fnUntraced({ self: this }, function* (sources) {
      const { pending } = this
      if (pending === undefined) return true
      this.pending = undefined
      return yield* pending.committed.pipe(
        Effect.withSpan("mallard.commit"),
        Effect.map(() => {
          this.finish(pending.staged)
          return true
        }),
        Effect.catchTag("SqlError", (error) =>
          Effect.gen({ self: this }, function* () {
            this.claims = new Map(pending.before.claims)
            this.disowned = new Map(pending.before.disowned)
            for (const { number } of pending.staged) this.items[number] = undefined
            yield* this.oneByOne(sources, pending.first, pending.end, error)
            return false
          })
        )
      )
    })

  /** One bad item must not spoil the others: a batch that failed is done again item by item. */
  private readonly oneByOne = Effect.fnUntraced(
    { self: this },
    function* (
      sources: ReadonlyArray<Source>,
      first: number,
      end: number,
      error: SqlError.SqlError
    ): Effect.fn.Return<number, SqlError.SqlError> {
      if (end - first <= 1) {
        const tried = this.attempts.get(first) ?? 0
        const pause = SPACE_PAUSES_MS[tried]
        if (pause !== undefined && isOutOfSpace(error) && this.options.isStopped?.() !== true) {
          this.attempts.set(first, tried + 1)
          yield* Effect.sleep(pause)
          const after = yield* this.batch(sources, first, 1)
          yield* this.settle(sources)
          return after
        }
        const item = { number: first, report: failedItem(sources[first]!, error), revisionId: undefined }
        this.hold([item])
        this.unrecorded.add(first)
        this.finish([item])
        return first + 1
      }
      let next = first
      while (next < end) next = yield* this.batch(sources, next, 1)
      yield* this.settle(sources)
      return next
    }
  )

  private claimed(): Claimed {
    return { claims: new Map(this.claims), disowned: new Map(this.disowned) }
  }

  /** Called once what becomes of items is in a transaction. */
  private hold(items: ReadonlyArray<StagedItem>): void {
    for (const { number, report } of items) {
      this.disowned.delete(number)
      this.items[number] = report
    }
  }

  /** Tells how many entities of the source being read have been read so far. */
  private tellEntities(count: number): void {
    if (count <= this.told) return
    this.options.onProgress?.({ phase: "entities", count: count - this.told })
    this.told = count
  }

  /** Called once it is committed. */
  private finish(items: ReadonlyArray<StagedItem>): void {
    for (const { report } of items) this.options.onProgress?.({ phase: "item", item: report })
  }

  /**
   * Reads sources until the batch is full; writes rows as they come. `ahead` of a transaction nothing is written: reading
   * stops where that has to begin.
   */
  private readonly gather = Effect.fnUntraced(
    { self: this },
    function* (batch: Batch, sources: ReadonlyArray<Source>, most: number, ahead: boolean) {
      const { writer } = this
      while (batch.end < sources.length && batch.end - batch.first < most) {
        const source = sources[batch.end]!
        const size = bytesOf(source)
        const large = source.files.some((file) => file.bytes > this.sizes.wholeFileBytes)
        // What became of the others is told before a huge one is begun.
        if (ahead && batch.end === this.firstHeavy) return
        if (ahead && (large || (writer.wantsFlush && !(writer.isCommitting && writer.waitingBytes < AHEAD_BYTES))))
          return
        // A large file is written as it is read, so it has a transaction of its own.
        const { batchBytes, batchEntities, batchMs } = this.sizes
        if (
          batch.end > batch.first &&
          (large ||
            batch.bytes + size > batchBytes ||
            writer.entitiesInTransaction >= batchEntities ||
            (yield* Clock.currentTimeMillis) - batch.began >= batchMs ||
            this.options.isStopped?.() === true)
        )
          return
        const began = yield* Clock.currentTimeMillis
        this.told = 0
        const staged = yield* this.item(source, batch.end, large, this.nextFiles(sources, batch.end))
        batch.staged.push(staged)
        if (staged.report.outcome !== "unchanged") this.tellEntities(entitiesOf(staged.report))
        this.slowest.add(source.path, size, (yield* Clock.currentTimeMillis) - began)
        batch.bytes += size
        batch.end++
        if (!ahead && writer.wantsFlush) yield* writer.flush
        if (large) return
      }
    }
  )

  /** The first files of the sources after one. */
  private nextFiles(sources: ReadonlyArray<Source>, after: number): ReadonlyArray<SourceFile> {
    return sources.slice(after + 1, after + 1 + MOST_AHEAD).flatMap(({ files }) => files.slice(0, 1))
  }

  /** Reads what else belongs to the batch, and puts all of it into the transaction. */
  private readonly complete = Effect.fnUntraced(
    { self: this },
    function* (batch: Batch, sources: ReadonlyArray<Source>, most: number) {
      const { writer } = this
      if (writer.wantsFlush) yield* writer.flush
      yield* this.gather(batch, sources, most, false)
      if (this.mustRepeat) return yield* new BatchContested({})
      const takenBack = yield* this.takeBack()
      yield* writer.publish
      const found = yield* this.remarksByRevision(batch.from)
      let left = LOCATED_BYTES
      for (const { number, revisionId } of batch.staged) {
        const remarks = revisionId === undefined ? undefined : found.get(revisionId)
        const source = sources[number]
        if (remarks === undefined || revisionId === undefined || source === undefined) continue
        found.set(revisionId, yield* located(source, remarks, left))
        left -= bytesOf(source)
      }
      const reports = batch.staged.map((item) => {
        const remarks = item.revisionId === undefined ? [] : (found.get(item.revisionId) ?? [])
        if (remarks.some(({ isReason }) => isReason)) {
          this.invalid.set(item.number, rejectedFor(item.report, remarks))
        }
        if (remarks.length === 0) return item
        const report: ItemReport = {
          ...item.report,
          remarks: [...item.report.remarks, ...remarks.map(({ remark }) => remark)],
          remark_count: item.report.remark_count + remarks.length
        }
        return { ...item, report }
      })
      // Rows that are published are taken back with the whole batch alone, which is then read again without the bad items.
      if (batch.staged.some(({ number, revisionId }) => revisionId !== undefined && this.invalid.has(number))) {
        return yield* new BatchContested({})
      }
      for (const done of reports) this.recordItem(done)
      return [...takenBack, ...reports]
    }
  )

  /** What the rules find in the rows of the current transaction, by revision. */
  private readonly remarksByRevision = Effect.fnUntraced({ self: this }, function* (from: number) {
    const { strict = false, rules } = this.options
    const found = new Map<number, Array<FoundRemark>>()
    const add = (revisionId: number, part: number, remark: Remark, level: "warn" | "reject"): void => {
      const list = found.get(revisionId) ?? []
      found.set(revisionId, list)
      list.push({ part, remark, isReason: strict || level === "reject" })
    }
    const level = duplicateLevel(rules)
    if (level !== "off") {
      const message = "an entity with the same id stands before it"
      const kept = strict || level === "reject" ? message : `${message}; both are kept`
      for (const [revisionId, places] of yield* duplicateIds(this.writer, from)) {
        for (const { part, pointer } of places) {
          add(revisionId, part, { ...plainRemark("duplicate-id", kept), pointer }, level)
        }
      }
    }
    for (const { check, part, pointer, revisionId } of yield* findViolations(this.writer, from, this.checks)) {
      const { code, message } = remarkOfCheck(check)
      add(revisionId, part, { ...plainRemark(code, message), pointer }, check.level)
    }
    return found
  })

  private recordItem({ number, report, revisionId }: StagedItem): void {
    // Unchanged items are only counted: a run over a hundred thousand of them writes nothing about each.
    if (report.outcome === "unchanged") return
    this.writer.record("migration_items", {
      run_id: this.run_,
      item: number,
      path: report.path,
      outcome: report.outcome,
      format: report.format,
      bytes: report.bytes,
      source_sha256: report.source_sha256,
      revision_id: revisionId ?? null,
      cohort_id: report.cohort_id,
      digest: report.digest,
      entities: JSON.stringify(report.entities),
      remarks: JSON.stringify(report.remarks)
    })
  }

  /** Reads one source and puts it into the transaction, or says why not. */
  private readonly item = Effect.fnUntraced(
    { self: this },
    function* (source: Source, number: number, large: boolean, next: ReadonlyArray<SourceFile>) {
      const { options, writer } = this
      const mark = writer.mark()
      const takeBack = Effect.sync(() => writer.rollback(mark))
      const rejected = Effect.fnUntraced(function* (report: ItemReport) {
        // Rows of a large file may be written already: only giving up the transaction takes them back.
        if (large) return yield* new LargeItemFailed({ report })
        yield* takeBack
        return { number, report, revisionId: undefined } satisfies StagedItem
      })
      const invalid = this.invalid.get(number)
      if (invalid !== undefined) return yield* rejected(invalid)
      let known: KnownItem | undefined
      let knownSha = ""
      const parts: Array<PartRead> = []
      for (const [index, file] of source.files.entries()) {
        // A second reading of this file starts anew; those before it stay.
        const before = writer.mark()
        const reading = readPart(file, writer.documents, this.buffers, {
          maxEntityBytes: options.maxEntityBytes,
          maxDepth: options.maxDepth,
          wholeFileBytes: this.sizes.wholeFileBytes,
          windowBytes: this.sizes.windowBytes,
          next: [...source.files.slice(index + 1, index + 1 + MOST_AHEAD), ...next],
          takeBack: Effect.sync(() => writer.rollback(before)),
          ...(source.kind === "file"
            ? {
                isKnown: (sha256: string) => {
                  known = this.stored.known.get(knownKey(source.path, sha256))
                  knownSha = sha256
                  return known !== undefined
                }
              }
            : {}),
          onWindow: Effect.suspend((): Effect.Effect<void, LargeItemFailed | SqlError.SqlError> => {
            if (options.isStopped?.() === true) {
              this.interrupted = true
              return Effect.fail(new LargeItemFailed({ report: interruptedItem(source) }))
            }
            // The transaction is its own, so all that is in it comes from this source.
            if (large) this.tellEntities(writer.entitiesInTransaction)
            if (!large || !writer.wantsFlush) return Effect.void
            writer.saveMembers(index, writer.documents.members)
            return writer.flush
          }),
          onBytes: (bytes) => options.onProgress?.({ phase: "read", bytes })
        })
        // Rows of a large file may be written already, and are not taken back for a second attempt.
        const again = Effect.sync(() => writer.rollback(before))
        const part = yield* (large ? reading : retryTransient(reading, again)).pipe(
          Effect.catchTag(["SourceRejected", "SourceError"], (error) => Effect.succeed(error))
        )
        yield* reach("sources/read")
        if (part instanceof SourceRejected || part instanceof SourceError) {
          return yield* rejected(
            rejectedItem(source.path, bytesOf(source), [
              { ...sourceRemark(part), ...(source.kind === "directory" ? { part: file.name } : {}) }
            ])
          )
        }
        if (part === undefined) {
          yield* takeBack
          this.claim(known!.cohort, {
            number,
            path: source.path,
            digest: known!.digest,
            outcome: "unchanged",
            revisionId: undefined
          })
          return { number, report: unchangedItem(source, known!, knownSha), revisionId: undefined }
        }
        parts.push(part)
      }
      return yield* this.store(source, number, parts, rejected)
    }
  )

  private readonly store = Effect.fnUntraced(
    { self: this },
    function* (
      source: Source,
      number: number,
      parts: ReadonlyArray<PartRead>,
      rejected: (report: ItemReport) => Effect.Effect<StagedItem, LargeItemFailed>
    ) {
      const { options, stored, writer } = this
      const described = describe(source, parts)
      const { name, digest } = described
      const base = reportOf(source, described)
      const notCohort = source.kind === "file" ? parts[0]?.notCohort : undefined
      if (notCohort !== undefined) {
        const remarks = [plainRemark("not-a-cohort", `it is ${notCohortNames[notCohort]}; it was left as it is`)]
        return yield* rejected({ ...base, outcome: "skipped", cohort: null, digest: null, remarks, remark_count: 1 })
      }
      const claim = { number, path: source.path, digest }
      const decision = decide({
        name,
        digest,
        rule: options.onConflict,
        head: (other) => stored.heads.get(other),
        claims: (other) => this.claims.get(other) ?? []
      })
      const refused = deviation(options.plan?.get(source.path), described.sourceSha256, decision.action === "save")
      if (refused !== undefined && decision.action !== "unchanged") {
        return yield* rejected({ ...base, outcome: "rejected", remarks: [refused], remark_count: 1 })
      }
      const isNew = decision.action === "save" || decision.action === "repeat"
      if (decision.action === "contested" || (isNew && this.contested.has(name))) {
        this.contest(name, claim)
        return yield* rejected({
          ...base,
          outcome: "rejected",
          remarks: [this.conflictRemark(name, source.path)],
          remark_count: 1
        })
      }
      switch (decision.action) {
        case "repeat":
          this.claim(name, { ...claim, outcome: "skipped", revisionId: undefined })
          return yield* rejected({
            ...base,
            outcome: "skipped",
            remarks: [
              plainRemark(
                "identical-content",
                "another source of this run has the same name and the same content; it counts once"
              )
            ],
            remark_count: 1
          })
        case "unchanged":
          this.claim(decision.name, { ...claim, outcome: "unchanged", revisionId: undefined })
          return yield* rejected({
            ...base,
            outcome: "unchanged",
            cohort: decision.name,
            cohort_id: decision.head.cohortId
          })
        case "skip":
          return yield* rejected({
            ...base,
            outcome: "skipped",
            remarks: [
              plainRemark(
                "name-taken",
                "a cohort of this name with other content is stored; it was left as it is (--on-conflict skip)"
              )
            ],
            remark_count: 1
          })
        case "reject":
          return yield* rejected({
            ...base,
            outcome: "rejected",
            remarks: [
              plainRemark(
                "name-taken",
                "a cohort of this name with other content is stored; choose --on-conflict replace, rename or skip"
              )
            ],
            remark_count: 1
          })
        case "save": {
          if (options.strict === true && described.remarkCount > 0) {
            return yield* rejected(
              rejectedFor(
                base,
                described.remarks.map((remark) => ({ part: 0, remark, isReason: true }))
              )
            )
          }
          const savedAt = BigInt(yield* Clock.currentTimeMillis) * 1000n
          const cohortId = decision.head?.cohortId ?? randomUUID()
          const revisionId = writer.save(
            {
              cohortId,
              seq: (decision.head?.seq ?? 0) + 1,
              predecessor: decision.head?.revisionId,
              change: "saved",
              name: decision.name,
              description: described.description,
              tags: described.tags,
              product: described.product,
              legacyId: described.legacyId,
              createdAt: described.createdAt,
              updatedAt: described.updatedAt,
              savedAt,
              digest
            },
            parts.map(newPart),
            this.run_
          )
          this.claim(decision.name, { ...claim, outcome: "migrated", revisionId })
          return {
            number,
            report: { ...base, outcome: "migrated", cohort: decision.name, cohort_id: cohortId },
            revisionId
          } satisfies StagedItem
        }
      }
    }
  )

  /** Notes who claims a name; others that claimed it for other content, and what they stored, give way. */
  private claim(name: string, claimant: Claimant): void {
    const claims = this.claims.get(name) ?? []
    if (claims.some(({ digest }) => digest !== claimant.digest) || this.contested.has(name))
      this.contest(name, claimant)
    this.claims.set(name, [...claims, claimant])
  }

  /** Nothing new is stored under a name that sources of one run claim for different content. */
  private contest(name: string, by: Claim): void {
    const paths = this.contested.get(name) ?? new Set()
    this.contested.set(name, paths.add(by.path))
    for (const claimant of this.claims.get(name) ?? []) {
      paths.add(claimant.path)
      if (claimant.outcome === "unchanged") continue
      if (this.items[claimant.number] === undefined) this.mustRepeat = true
      else if (this.items[claimant.number]?.outcome === claimant.outcome)
        this.disowned.set(claimant.number, { name, claimant })
    }
  }

  /** Makes the cohorts of disowned items what they were before this run. */
  private readonly takeBack = Effect.fnUntraced({ self: this }, function* () {
    const { stored, writer } = this
    const savedAt = BigInt(yield* Clock.currentTimeMillis) * 1000n
    const takenBack: Array<StagedItem> = []
    for (const { name, claimant } of this.disowned.values()) {
      const report = this.items[claimant.number]!
      if (claimant.revisionId !== undefined) {
        const before = stored.heads.get(name)
        const restored = before === undefined || before.deleted ? undefined : before
        const revision = {
          cohortId: report.cohort_id!,
          seq: (before?.seq ?? 0) + 2,
          predecessor: claimant.revisionId,
          name,
          savedAt
        }
        const described = restored === undefined ? undefined : yield* this.descriptionOf(restored.revisionId)
        writer.save(
          restored === undefined || described === undefined
            ? {
                ...noDescription,
                ...revision,
                change: "deleted",
                digest: report.digest!,
                contentId: claimant.revisionId
              }
            : { ...described, ...revision, change: "restored", digest: restored.digest, contentId: restored.contentId },
          [],
          this.run_
        )
      }
      const remarks = [this.conflictRemark(name, report.path)]
      const item = {
        number: claimant.number,
        report: { ...report, outcome: "rejected" as const, cohort_id: null, remarks, remark_count: 1 },
        revisionId: undefined
      }
      this.recordItem(item)
      takenBack.push(item)
    }
    return takenBack
  })

  /** What a stored revision says about its cohort; undefined in a rehearsal. */
  private readonly descriptionOf = Effect.fnUntraced({ self: this }, function* (revisionId: number) {
    const { client } = this.writer
    if (client === undefined) return undefined
    const [row] = yield* queryRows(
      client,
      `SELECT description, tags, product, legacy_id, epoch_us(created_at), epoch_us(updated_at) FROM mallard.revisions WHERE revision_id = ${revisionId}`
    )
    const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)
    const micros = (value: unknown): bigint | undefined => (typeof value === "bigint" ? value : undefined)
    const [description, tags, product, legacyId, createdAt, updatedAt] = row ?? []
    const described: RevisionDescription = {
      description: text(description),
      tags: JSON.parse(text(tags) ?? "[]"),
      product: text(product),
      legacyId: text(legacyId),
      createdAt: micros(createdAt),
      updatedAt: micros(updatedAt)
    }
    return described
  })
}

/** Something that a rule found, and whether it is a reason to reject. */
interface FoundRemark {
  /** Number of the file in its source. */
  readonly part: number
  readonly remark: Remark
  readonly isReason: boolean
}

/** The report of an item that is rejected for what is in it; the reasons come first. */
const rejectedFor = (report: ItemReport, found: ReadonlyArray<FoundRemark>): ItemReport => {
  const remarks = [...found.filter(({ isReason }) => isReason), ...found.filter(({ isReason }) => !isReason)].map(
    ({ remark }) => remark
  )
  return { ...report, outcome: "rejected", cohort_id: null, remarks, remark_count: remarks.length }
}

/** Bytes of sources that are read once more per batch, so that what rules found in their rows is told by line. */
const LOCATED_BYTES = 64 << 20

/** Says of what was found in rows in which file of a source and on which line it stands, as far as that is cheap. */
const located = Effect.fnUntraced(function* (source: Source, found: Array<FoundRemark>, most: number) {
  const places = new Map<number, ReadonlyMap<string, ValuePlace>>()
  if (bytesOf(source) <= most) {
    for (const part of new Set(found.map((one) => one.part))) {
      const file = source.files[part]
      if (file === undefined || file.open !== undefined) continue
      const bytes = yield* Effect.option(readWholeFile(file.path, { maxBytes: file.bytes, expected: file.identity }))
      const text = Option.flatMap(bytes, (raw) => Option.getSuccess(Result.map(toUtf8(raw), (utf8) => utf8.bytes)))
      if (Option.isNone(text)) continue
      const pointers = found.flatMap(({ part: own, remark }) => (own === part ? [remark.pointer ?? ""] : []))
      places.set(part, placesOf(text.value, pointers, mayHoldLines(file.name)))
    }
  }
  return found.map((one): FoundRemark => {
    const place = places.get(one.part)?.get(one.remark.pointer ?? "")
    const file = source.kind === "directory" ? source.files[one.part] : undefined
    return {
      ...one,
      remark: {
        ...one.remark,
        ...(place === undefined ? {} : { line: place.line, column: place.column }),
        ...(file === undefined ? {} : { part: file.name })
      }
    }
  })
})

type RevisionDescription = Pick<
  NewRevision,
  "description" | "tags" | "product" | "legacyId" | "createdAt" | "updatedAt"
>

const noDescription: RevisionDescription = {
  description: undefined,
  tags: [],
  product: undefined,
  legacyId: undefined,
  createdAt: undefined,
  updatedAt: undefined
}

// ---- describing items

interface Description {
  readonly name: string
  readonly description: string | undefined
  readonly tags: ReadonlyArray<string>
  readonly product: string | undefined
  readonly legacyId: string | undefined
  readonly createdAt: bigint | undefined
  readonly updatedAt: bigint | undefined
  readonly format: string
  readonly digest: string
  readonly sourceSha256: string
  readonly entities: Readonly<Record<string, number>>
  readonly remarks: ReadonlyArray<Remark>
  readonly remarkCount: number
  readonly parts: ReadonlyArray<PartReport>
}

/** Variants whose documents may hold nothing that is known. */
const entityless: ReadonlySet<string> = new Set(["unknown", "V14", "V15", "V16", "lines"])

const METADATA_FILES = /^(?:scenario|cohort|metadata)\.json$/i

const describe = (source: Source, parts: ReadonlyArray<PartRead>): Description => {
  const directory = source.kind === "directory"
  const speaker = directory ? parts.find((part) => METADATA_FILES.test(part.file.name)) : parts[0]
  const meta = speaker?.meta
  const entities: Record<string, number> = {}
  const remarks: Array<Remark> = []
  let remarkCount = 0
  for (const part of parts) {
    part.counts.forEach((count, code) => {
      const kind = code === 0 ? JSON_KIND.kind : kindByCode(code)!.kind
      entities[kind] = (entities[kind] ?? 0) + count
    })
    const own = directory ? { part: part.file.name } : {}
    for (const { code, column, line, pointer } of part.remarks) {
      remarks.push({ code, pointer, line: line ?? null, column: column ?? null, message: valueMessage(code), ...own })
    }
    remarkCount += part.remarkCount
    const encoding = encodingRemark(part.encoding)
    if (encoding !== undefined) {
      remarks.push({ ...encoding, ...own })
      remarkCount++
    }
  }
  const total = Object.values(entities).reduce((sum, count) => sum + count, 0)
  const unknown = parts.every((part) => entityless.has(part.variant))
  if (total === 0 && unknown) {
    remarks.push(plainRemark("no-entity-recognised", "nothing in it is known as an entity; the document is kept whole"))
    remarkCount++
  }
  if (meta?.unusableName === true) {
    remarks.push(
      plainRemark(
        "name-unusable",
        "its name is empty or no text; the file's name is used, the document is kept as it is"
      )
    )
    remarkCount++
  }
  for (const [key, text] of [
    ["created_at", meta?.createdAt],
    ["updated_at", meta?.updatedAt]
  ] as const) {
    if (text === undefined || sourceTime(text) !== undefined) continue
    remarks.push({ ...plainRemark("not-a-time", valueMessage("not-a-time")), pointer: `/${key}` })
    remarkCount++
  }
  const partReports = parts.map((part) => ({
    path: part.file.name,
    format: part.variant,
    bytes: part.file.bytes,
    digest: part.digest,
    source_sha256: part.sourceSha256
  }))
  return {
    name: meta?.name ?? source.name,
    description: meta?.description,
    tags: meta?.tags ?? [],
    product: meta?.product,
    legacyId: meta?.legacyId,
    createdAt: meta?.createdAt === undefined ? undefined : sourceTime(meta.createdAt),
    updatedAt: meta?.updatedAt === undefined ? undefined : sourceTime(meta.updatedAt),
    format: directory ? directoryFormat(parts) : parts[0]!.variant,
    digest: contentDigest(partReports),
    sourceSha256:
      parts.length === 1 && !directory
        ? parts[0]!.sourceSha256
        : hash("sha256", partReports.map((part) => `${part.path}\t${part.source_sha256}\n`).join(""), "hex"),
    entities,
    remarks,
    remarkCount,
    parts: partReports
  }
}

const directoryFormat = (parts: ReadonlyArray<PartRead>): string => {
  const metadata = parts.find((part) => METADATA_FILES.test(part.file.name))
  if (metadata?.rootKeys?.includes("files") === true) return "V9"
  if (metadata?.rootKeys?.includes("cohort") === true) return "V16"
  const [first] = parts
  const isExport = first?.variant === "V14" || first?.variant === "V15"
  return isExport && parts.every(({ variant }) => variant === first.variant) ? first.variant : "V11"
}

/** Microseconds of a source's own time: without zone as written, with an offset the instant. */
const sourceTime = (text: string): bigint | undefined => {
  const match = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?$/.exec(
    text
  )
  if (match === null) return undefined
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number
  ]
  const date = new Date(Date.UTC(2000, month - 1, day))
  if (year < 1 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return undefined
  date.setUTCFullYear(year, month - 1, day)
  if (date.getUTCMonth() !== month - 1) return undefined
  const zone = match[8]
  const offset =
    zone === undefined || zone === "Z"
      ? 0
      : (zone.startsWith("-") ? -1 : 1) * (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2)))
  const seconds =
    BigInt(daysFromCivil(year, month, day)) * 86_400n + BigInt(hour * 3600 + (minute - offset) * 60 + second)
  return seconds * 1_000_000n + BigInt((match[7] ?? "").slice(0, 6).padEnd(6, "0"))
}

const newPart = (part: PartRead): NewPart => ({
  path: part.file.name,
  format: part.variant,
  bytes: part.file.bytes,
  sourceSha256: part.sourceSha256,
  digest: part.digest,
  encoding: part.encoding,
  pieces: part.pieces,
  collections: part.collections,
  members: part.members satisfies MemberRows
})

// ---- reports of items

const reportOf = (source: Source, described: Description): ItemReport => ({
  path: source.path,
  outcome: "migrated",
  format: described.format,
  cohort: described.name,
  cohort_id: null,
  entities: described.entities,
  digest: described.digest,
  source_sha256: described.sourceSha256,
  bytes: bytesOf(source),
  remarks: described.remarks,
  remark_count: described.remarkCount,
  ...(source.kind === "directory" ? { parts: described.parts } : {})
})

const bareItem = (path: string, bytes: number): Omit<ItemReport, "outcome" | "remarks" | "remark_count"> => ({
  path,
  format: null,
  cohort: null,
  cohort_id: null,
  entities: {},
  digest: null,
  source_sha256: null,
  bytes
})

const rejectedItem = (path: string, bytes: number, remarks: ReadonlyArray<Remark>): ItemReport => ({
  ...bareItem(path, bytes),
  outcome: "rejected",
  remarks,
  remark_count: remarks.length
})

const tooLargeItem = (source: Source, most: number): ItemReport => {
  const first = source.files.find(({ bytes }) => bytes > most)
  const file = source.kind === "directory" && first !== undefined ? { part: first.name } : {}
  const message = `its file has ${sizeText(first?.bytes ?? 0)}, and ${sizeText(most)} is the most that --max-file-size allows; it was neither read nor copied`
  return rejectedItem(source.path, bytesOf(source), [{ ...plainRemark("file-too-large", message), ...file }])
}

const goneItem = (path: string): ItemReport => ({
  ...bareItem(path, 0),
  outcome: "skipped",
  remarks: [plainRemark("gone", "it is not there any more; a copy of what was rejected can be exported and mended")],
  remark_count: 1
})

const unreadItem = ({ bytes, code, message, outcome, path }: UnreadDatabase): ItemReport => ({
  ...bareItem(path, bytes),
  outcome,
  format: "V18",
  remarks: [plainRemark(code, message)],
  remark_count: 1
})

const failedItem = (source: Source, _cause: SqlError.SqlError): ItemReport => ({
  ...bareItem(source.path, bytesOf(source)),
  outcome: "failed",
  remarks: [plainRemark("not-stored", "the database did not take it; check the disk, then run the same command again")],
  remark_count: 1
})

const interruptedItem = (source: Source): ItemReport => ({
  ...bareItem(source.path, bytesOf(source)),
  outcome: "skipped",
  remarks: [plainRemark("interrupted", "the run was stopped before its turn; run the same command again")],
  remark_count: 1
})

const notReachedItem = (source: Source): ItemReport => ({
  ...bareItem(source.path, bytesOf(source)),
  outcome: "skipped",
  remarks: [
    plainRemark(
      "too-many-rejects",
      "it was not reached: more sources were rejected before it than --max-rejects allows"
    )
  ],
  remark_count: 1
})

const unchangedItem = (source: Source, known: KnownItem, sha256: string): ItemReport => ({
  ...bareItem(source.path, bytesOf(source)),
  outcome: "unchanged",
  format: known.format,
  cohort: known.cohort,
  cohort_id: known.cohortId,
  entities: known.entities,
  digest: known.digest,
  source_sha256: sha256,
  remarks: [],
  remark_count: 0
})

const plainRemark = (code: string, message: string): Remark => ({
  code,
  pointer: null,
  line: null,
  column: null,
  message
})

/** Other claimants that a remark names; thousands of files may claim one name. */
const MAX_NAMED = 10

const conflictMessage = (others: ReadonlyArray<string>): string => {
  const more = others.length > MAX_NAMED ? ` and ${others.length - MAX_NAMED} more` : ""
  return `other sources of this run claim the same cohort name for other content, so this run stored nothing new under it: ${others.slice(0, MAX_NAMED).join(", ")}${more}; rename all but one`
}

const sourceRemark = (error: SourceError | SourceRejected): Remark =>
  error instanceof SourceRejected
    ? {
        code: error.code,
        pointer: null,
        line: error.line,
        column: error.column,
        message: `${error.reason} (byte ${error.offset})`
      }
    : plainRemark(error.reason, error.message)

const encodingRemark = (encoding: SourceEncoding): Remark | undefined => {
  if (encoding === "utf-8") return undefined
  return encoding === "utf-8-bom"
    ? plainRemark("byte-order-mark", "the file starts with a byte order mark, which is not part of the document")
    : plainRemark("transcoded", "the file is UTF-16; the document is kept as UTF-8")
}

const valueMessage = (code: string): string => {
  if (code === "duplicate-key") return "its object has this key more than once; all are kept, the last one counts"
  if (code === "path-superseded")
    return "another path of higher priority gave the column's value; this one is kept beside it"
  return inexactRules[code as keyof typeof inexactRules] ?? code
}

// ---- verification

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
