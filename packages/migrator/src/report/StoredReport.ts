/**
 * The report of a run from the ledger: the same data model as the one that the run itself gave. What the ledger does not
 * keep is left out and named in `notes`; sums are counted anew from the items, so that a report that does not balance says
 * so.
 */
import {
  CohortStore,
  findRun,
  type LedgerBackup,
  type LedgerRun,
  type LedgerPart,
  readBackups,
  readNamesOfRun,
  readPartsOfRun,
  readRuns,
  readShapeUses,
  type RunItem,
  type ShapeUse
} from "@mallard/duckdb-store"
import type { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect, Option, Schema } from "effect"
import { backupStoreOf, findBackup, manifestIds } from "../Backup.ts"
import { haltedNote, type HaltedRun, haltedRuns, RunState, withBegun } from "../Resume.ts"
import { begunRuns, orNothingStored } from "../internal/begun.ts"
import { isGoingOn } from "../internal/environment.ts"
import { takenBackItem } from "../internal/items.ts"
import { notCopiedNotes, REJECTS_NOT_COPIED } from "../internal/manifest.ts"
import { RunFacts, RunProof, StoredOptions } from "../internal/RunFacts.ts"
import {
  ItemOutcome,
  type ItemReport,
  type KindQuality,
  noVerification,
  type PartReport,
  PurgedCohorts,
  Remark,
  RunOutcome,
  RunCommand,
  type RunReport,
  Totals,
  totalsOf,
  UndoneBy
} from "../Report.ts"
import { reading, readingIfThere } from "../internal/reading.ts"
import { undoingsOf } from "../internal/undoings.ts"
import { counted, lostToPurge, undoneWord } from "./Summary.ts"

/** One line of the list of runs: who ran what, when, with which options, and what came of it. */
export const RunSummary = Schema.Struct({
  run: Schema.String,
  command: Schema.String,
  /** `cut-short` for a run that wrote no end, `running` for one whose process still goes on with it. */
  outcome: Schema.String,
  /** Why it is not at its end, as `status` says it; null for others. */
  state: Schema.NullOr(RunState),
  /** The run that went on with it, where it was not at its end. */
  continued_by: Schema.NullOr(Schema.String),
  started_at: Schema.String,
  ended_at: Schema.NullOr(Schema.String),
  user: Schema.NullOr(Schema.String),
  host: Schema.NullOr(Schema.String),
  program: Schema.String,
  options: Schema.Record(Schema.String, Schema.Json),
  totals: Schema.NullOr(Totals),
  /** Revisions of cohorts that it made. */
  revisions: Schema.Int,
  /** Of a purge: what it removed. */
  purged: Schema.optionalKey(PurgedCohorts),
  backup: Schema.NullOr(Schema.String),
  undone_by: Schema.NullOr(UndoneBy)
})
export type RunSummary = typeof RunSummary.Type

/**
 * The report of the run with this id, or with the only id that begins so, or of the last one for `last`, as far as the ledger
 * keeps it: `notes` say what is left out.
 *
 * Fails with `RunNotFound` or `NothingStored` as `rollback` does, with a `StoreError` when the database cannot be opened, and
 * with `MigrationFailed` when it cannot be read.
 */
export const storedReport = Effect.fn("storedReport")(function* (database: string, wanted: string) {
  return yield* inDatabase(
    database,
    Effect.gen(function* () {
      const run = yield* findRun(wanted)
      const items = yield* CohortStore.use((cohorts) => cohorts.items(run.runId))
      const parts = Map.groupBy(yield* readPartsOfRun(run.runId), ({ revisionId }) => revisionId)
      const backups = yield* readBackups()
      const runs = yield* readRuns()
      return reportOf({
        database,
        run,
        items,
        names: yield* readNamesOfRun(run.runId),
        parts: new Map(Array.from(parts, ([revision, files]) => [revision, files.map(partOf)])),
        backup: backups.findLast(({ runId }) => runId === run.runId),
        halted: haltedRuns(runs, isGoingOn).find((halted) => halted.run === run.runId),
        undoneBy: undoingsOf(runs).get(run.runId),
        purgedItems: purgedItemsOf(run, runs),
        quality: qualityOf(yield* readShapeUses(run.runId))
      })
    })
  ).pipe(orNothingStored(database, wanted))
})

/**
 * Adds how well the entities of a run that has just ended fit their columns; a dry run stored none. Counts the rows that the run
 * added. Fails as `listRuns` does.
 */
export const withQuality = Effect.fn("withQuality")(function* (report: RunReport) {
  if (report.dry_run) return report
  const uses = yield* inDatabase(report.database, readShapeUses(report.run))
  return { ...report, quality: qualityOf(uses) } satisfies RunReport
})

/**
 * All runs, oldest first, and after them those that were cut short before the ledger had them. Fails with a `StoreError` when
 * the database cannot be opened, and with `MigrationFailed` when it cannot be read.
 */
export const listRuns = Effect.fn("listRuns")(function* (database: string) {
  const { made, runs: ledger } = yield* readingIfThere(
    database,
    Effect.all({ made: readBackups(), runs: readRuns() }),
    { made: [], runs: [] }
  )
  const runs = withBegun(ledger, begunRuns(database))
  const backups = new Map(made.map(({ backupId, runId }) => [runId, backupId]))
  const undoings = undoingsOf(runs)
  const halted = new Map(haltedRuns(runs, isGoingOn).map((one) => [one.run, one]))
  return runs.map((run): RunSummary => {
    const { environment, options } = askedOf(run)
    const own = halted.get(run.runId)
    const undoneBy = undoings.get(run.runId)
    const command = commandOf(options)
    const purged = command === "purge" ? Option.getOrUndefined(readFacts(run.facts))?.purged : undefined
    return {
      run: run.runId,
      command,
      outcome: outcomeOf(run, own),
      state: own?.state ?? null,
      continued_by: own?.continuedBy ?? null,
      started_at: instantOf(run.startedAt),
      ended_at: run.finishedAt === undefined ? null : instantOf(run.finishedAt),
      user: environment?.user ?? null,
      host: environment?.host ?? null,
      program: run.program,
      options,
      totals: takenBackOf(run, undoneBy)?.totals ?? Option.getOrNull(readTotals(run.totals)),
      revisions: run.revisions,
      ...(purged === undefined ? {} : { purged }),
      backup: backups.get(run.runId) ?? null,
      undone_by: undoneBy ?? null
    }
  })
})

/**
 * The id of the backup that belongs to the run whose id begins so, which may be one that an earlier run made; undefined if
 * there is no such run or it has none.
 */
export const backupOfRun = Effect.fn("backupOfRun")(function* (database: string, run: string) {
  const backups = yield* inDatabase(database, readBackups())
  return backups.findLast(({ runId }) => runId?.startsWith(run) === true)?.backupId
})

/**
 * The SHA-256 that the manifest of a backup had when it was made; undefined if the database does not know the backup. The
 * backup is named as for `findBackup`.
 */
export const storedBackup = Effect.fn("storedBackup")(function* (database: string, store: string, wanted: string) {
  const { manifest } = yield* findBackup(store, wanted)
  const backups = yield* inDatabase(database, readBackups())
  return backups.find(({ backupId }) => backupId === manifest.backup_id)?.manifestSha256
})

/** A backup that the database knows, and of which no manifest is there any more. */
export interface LostBackup {
  readonly backup_id: string
  /** The runs that it belongs to. */
  readonly runs: ReadonlyArray<string>
  readonly created_at: string
  readonly files: number
  readonly bytes: number
  /** The folder that it was made in. */
  readonly store: string
}

/**
 * The backups that the database knows and whose manifest is gone, oldest first. One that lies beside the database, which
 * may have been moved with its copies, is none; neither is one in a folder that cannot be read.
 */
export const lostBackups = Effect.fn("lostBackups")(function* (database: string) {
  const made = Map.groupBy(yield* inDatabase(database, readBackups()), ({ backupId }) => backupId)
  const idsIn = new Map<string, ReadonlySet<string> | undefined>()
  const isIn = Effect.fnUntraced(function* (store: string, id: string) {
    if (!idsIn.has(store)) idsIn.set(store, yield* Effect.orElseSucceed(manifestIds(store), () => undefined))
    return idsIn.get(store)?.has(id) ?? true
  })
  const lost: Array<LostBackup> = []
  for (const [id, rows] of made) {
    const stores = new Set([...rows.map(({ path }) => path), backupStoreOf(database)])
    const found = yield* Effect.forEach(stores, (store) => isIn(store, id))
    const [first] = rows
    if (first === undefined || found.includes(true)) continue
    const runs = rows.flatMap(({ runId }) => runId ?? [])
    const { at, bytes, files, path } = first
    lost.push({ backup_id: id, runs, created_at: instantOf(at), files, bytes, store: path })
  }
  return lost
})

const inDatabase = <A, E>(database: string, use: Effect.Effect<A, E, DuckDbClient | CohortStore>) =>
  reading(database, Effect.provide(use, CohortStore.layerNoDeps))

interface StoredFacts {
  readonly database: string
  readonly run: LedgerRun
  readonly items: ReadonlyArray<RunItem>
  /** Names of cohorts by revision. */
  readonly names: ReadonlyMap<number, string>
  readonly parts: ReadonlyMap<number, ReadonlyArray<PartReport>>
  readonly backup: LedgerBackup | undefined
  /** That it did not come to its end. */
  readonly halted: HaltedRun | undefined
  readonly undoneBy: UndoneBy | undefined
  /** Items that went with cohorts which were removed for good. */
  readonly purgedItems: number
  readonly quality: ReadonlyArray<KindQuality>
}

const readTotals = Schema.decodeUnknownOption(Schema.fromJsonString(Totals))
const readFacts = Schema.decodeUnknownOption(Schema.fromJsonString(RunFacts))
const readProof = Schema.decodeUnknownOption(Schema.fromJsonString(RunProof))
const readOptions = Schema.decodeUnknownOption(Schema.fromJsonString(StoredOptions))
const readRemarks = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Array(Remark)))
const readReplays = Schema.decodeUnknownOption(
  Schema.Array(Schema.Struct({ source: Schema.String, run: Schema.String, item: Schema.Int, path: Schema.String }))
)
const isOutcome = Schema.is(ItemOutcome)
const isRunOutcome = Schema.is(RunOutcome)
const isCommand = Schema.is(RunCommand)

const askedOf = (run: LedgerRun) => {
  const {
    environment,
    process: _,
    ...options
  } = Option.getOrElse(readOptions(run.options), () => ({
    environment: undefined,
    process: undefined
  }))
  return { environment, options: options as { readonly [key: string]: Schema.Json } }
}

const commandOf = (options: { readonly [key: string]: Schema.Json }): RunCommand => {
  const command = options["command"]
  return isCommand(command) ? command : "migrate"
}

const instantOf = (text: string): string => new Date(`${text.replace(" ", "T")}Z`).toISOString()

const outcomeOf = ({ outcome }: LedgerRun, halted: HaltedRun | undefined): RunOutcome => {
  if (halted?.state === "running") return "running"
  return outcome === undefined ? "cut-short" : isRunOutcome(outcome) ? outcome : "interrupted"
}

const reportOf = (stored: StoredFacts): RunReport => {
  const { backup, database, halted, items: rows, names, parts, purgedItems, quality, run, undoneBy } = stored
  const { environment, options } = askedOf(run)
  const replays = new Map(
    Option.getOrElse(readReplays(options["replays"]), () => []).map(({ source, ...from }) => [source, from])
  )
  const facts = Option.getOrElse(readFacts(run.facts), (): RunFacts => ({}))
  const changes = facts.changes === undefined ? undefined : new Map(facts.changes.map((entry) => [entry.path, entry]))
  const proof = Option.getOrUndefined(readProof(run.proof))
  const takenBack = takenBackOf(run, undoneBy)
  const listed = lastOf(rows).map((row): ItemReport => {
    const item = itemOf(row, names, parts)
    const from = replays.get(row.path)
    const { path: _, ...changed } = changes?.get(row.path) ?? { path: "", change: "new" as const }
    return {
      ...item,
      ...(changes === undefined || item.source_sha256 === null ? {} : changed),
      ...(from === undefined ? {} : { replays: from })
    }
  })
  const items =
    takenBack === undefined
      ? listed
      : [...listed.map((item) => (item.outcome === "migrated" ? takenBackItem(item) : item)), ...takenBack.unlisted]
  const stated = takenBack?.totals ?? Option.getOrUndefined(readTotals(run.totals))
  const listedTotals = totalsOf(items.length, items)
  const notes: Array<string> = []
  const state = halted?.state ?? (run.outcome === undefined ? "cut-short" : undefined)
  if (state !== undefined && state !== run.outcome) {
    const isOpen = halted !== undefined && halted.continuedBy === undefined && state !== "running"
    notes.push(haltedNote(state, isOpen ? `\`mallard resume ${run.runId.slice(0, 8)}\` goes on with it` : undefined))
  }
  if (run.outcome === undefined) {
    notes.push("What is listed was stored whole; how many sources it had found is not known.")
  }
  if (halted?.continuedBy !== undefined) notes.push(`Run ${halted.continuedBy} went on with it.`)
  notes.push(...notCopiedNotes(facts.not_copied ?? []))
  if (facts.rejects_not_copied === true) notes.push(REJECTS_NOT_COPIED)
  notes.push(...(proof?.not_moved ?? []))
  if (undoneBy !== undefined) notes.push(undoneNote(undoneBy, options["max_rejects"], takenBack !== undefined))
  if (stated !== undefined && stated.unchanged > 0) {
    notes.push(`${notListed(stated.unchanged, "unchanged source")}.`)
  }
  if (purgedItems > 0) {
    const cohorts = purgedItems === 1 ? "its cohort has" : "their cohorts have"
    notes.push(`${notListed(purgedItems, "source")}: ${cohorts} since been removed for good.`)
  }
  if (facts.lost_to_purge !== undefined) notes.push(lostToPurge(facts.lost_to_purge))
  const partly = run.finishedAt === undefined ? ({ partial: true } as const) : {}
  const timings = proof?.timings ?? {
    find: facts.timings?.find ?? 0,
    load: facts.timings?.load ?? 0,
    verify: 0,
    total: (facts.timings?.find ?? 0) + (facts.timings?.load ?? 0)
  }
  return {
    run: run.runId,
    command: commandOf(options),
    outcome: outcomeOf(run, halted),
    dry_run: false,
    database,
    started_at: instantOf(run.startedAt),
    ended_at: run.finishedAt === undefined ? null : instantOf(run.finishedAt),
    program: run.program,
    options,
    ...(environment === undefined ? {} : { environment }),
    items,
    ignored: facts.ignored ?? [],
    totals:
      stated === undefined
        ? { ...listedTotals, balanced: false, ...partly }
        : { ...stated, balanced: agrees(stated, listedTotals, purgedItems) },
    verification: proof?.verification ?? noVerification,
    backup:
      // Without a backup of all, what lies there are the rejected sources alone.
      backup === undefined || options["backup"] === false
        ? null
        : {
            backup_id: backup.backupId,
            path: backup.path,
            files: backup.files,
            bytes: backup.bytes,
            manifest_sha256: backup.manifestSha256
          },
    quality,
    ...(facts.slowest === undefined ? {} : { slowest: facts.slowest }),
    ...(proof?.moved === undefined ? {} : { moved: proof.moved }),
    ...(facts.removed === undefined ? {} : { removed: facts.removed }),
    ...(facts.removed_unstored === undefined ? {} : { removed_unstored: facts.removed_unstored }),
    ...(halted?.continuedBy === undefined ? {} : { continued_by: halted.continuedBy }),
    ...(facts.undone === undefined ? {} : { undone: facts.undone }),
    ...(facts.purged === undefined ? {} : { purged: facts.purged }),
    ...(undoneBy === undefined ? {} : { undone_by: undoneBy }),
    ...(notes.length === 0 ? {} : { notes }),
    timings
  }
}

/** What `--max-rejects` took back with a run, unless that undoing was undone since. */
const takenBackOf = (run: LedgerRun, undoneBy: UndoneBy | undefined) =>
  run.revisions > 0 && undoneBy === undefined ? undefined : Option.getOrUndefined(readProof(run.proof))?.taken_back

const undoneNote = (by: UndoneBy, limit: Schema.Json | undefined, isTakenBack: boolean): string => {
  const { reason, run } = by
  const why =
    reason === undefined
      ? ""
      : `, because more sources were rejected than --max-rejects${typeof limit === "string" ? ` ${limit}` : ""} allows`
  const listed = isTakenBack ? "" : "What is listed here is as the run left it; "
  const rest = `${listed}the report of that run says what became of each cohort.`
  return `The run was ${undoneWord(by)} by run ${run}${why}. ${rest.charAt(0).toUpperCase()}${rest.slice(1)}`
}

const notListed = (count: number, what: string): string =>
  `${counted(count, what)} ${count === 1 ? "was counted and is" : "were counted and are"} not listed`

/**
 * Whether the items listed are those that were counted, but for `purged` ones, and the counts add up to what was found.
 */
const agrees = (stated: Totals, listed: Totals, purged: number): boolean => {
  const missing = (["migrated", "skipped", "rejected", "failed"] as const).map((one) => stated[one] - listed[one])
  const { failed, found, migrated, rejected, skipped, unchanged } = stated
  return (
    missing.every((count) => count >= 0) &&
    missing.reduce((sum, count) => sum + count) === purged &&
    migrated + unchanged + skipped + rejected + failed === found
  )
}

/** How many items of a run went with cohorts that were removed for good. */
const purgedItemsOf = ({ runId }: LedgerRun, runs: ReadonlyArray<LedgerRun>): number =>
  runs
    .filter((run) => commandOf(askedOf(run).options) === "purge")
    .reduce((sum, { facts }) => sum + (Option.getOrUndefined(readFacts(facts))?.purged?.items[runId] ?? 0), 0)

/** One row per item: an item that gave way to another source after it was decided about has two, and the last rejection stands. */
const lastOf = (rows: ReadonlyArray<RunItem>): ReadonlyArray<RunItem> => {
  const last = new Map<number, RunItem>()
  for (const row of rows) {
    const known = last.get(row.item)
    const stands = known !== undefined && known.outcome !== "migrated" && known.outcome !== "skipped"
    if (!stands || row.outcome === "rejected") last.set(row.item, row)
  }
  return [...last.values()]
}

const itemOf = (
  row: RunItem,
  names: ReadonlyMap<number, string>,
  parts: ReadonlyMap<number, ReadonlyArray<PartReport>>
): ItemReport => {
  const remarks = Option.getOrElse(readRemarks(row.remarks), () => [])
  const own = row.revisionId === undefined ? undefined : parts.get(row.revisionId)
  return {
    path: row.path,
    outcome: isOutcome(row.outcome) ? row.outcome : "failed",
    format: row.format ?? null,
    cohort: row.revisionId === undefined ? null : (names.get(row.revisionId) ?? null),
    cohort_id: row.cohortId ?? null,
    entities: row.entities,
    digest: row.digest ?? null,
    source_sha256: row.sourceSha256 ?? null,
    bytes: row.bytes ?? 0,
    remarks,
    remark_count: remarks.length,
    ...(own === undefined ? {} : { parts: own })
  }
}

const partOf = ({ bytes, digest, format, path, sourceSha256 }: LedgerPart): PartReport => ({
  path,
  format,
  bytes,
  digest,
  source_sha256: sourceSha256
})

/** Counts, per kind, what the labels of its shapes stand for. */
const qualityOf = (uses: ReadonlyArray<ShapeUse>): ReadonlyArray<KindQuality> =>
  [...Map.groupBy(uses, ({ kind }) => kind)].map(([kind, shapes]) => {
    const quality = { kind, entities: 0, shapes: 0, typed: 0, approximate: 0, unmapped: 0, shapeless: 0 }
    for (const { rows, shapeId, template } of shapes) {
      quality.entities += rows
      if (shapeId === 0) {
        quality.shapeless += rows
        continue
      }
      quality.shapes++
      template.split("\u0001").forEach((label, at) => {
        if (at % 2 === 0) return
        if (label.startsWith("c:")) quality.typed += rows
        else if (label.startsWith("x:")) quality.approximate += rows
        else if (label === "x") quality.unmapped += rows
      })
    }
    return quality
  })
