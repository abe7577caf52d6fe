/**
 * Sources that were not stored: what is wrong with each, its original bytes from the backup, and the way back: exported,
 * mended by hand, and replayed through the same pipeline as every other source.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs"
import { basename, dirname, join, relative, sep } from "node:path"
import {
  findRun,
  type LedgerReject,
  type LedgerRun,
  readBackups,
  readLiveDigests,
  readRejects,
  readRuns,
  readStoredSince
} from "@mallard/duckdb-store"
import { systemCode } from "@mallard/duckdb-store/Disk"
import { printablePath } from "@mallard/legacy-json"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect, Option, Schema, Struct } from "effect"
import { type CipherSettings, findBackup, restoreBackup } from "./Backup.ts"
import { BackupError, targetFailure } from "./BackupError.ts"
import { writeWhole } from "./internal/atomic.ts"
import { orNothingStored } from "./internal/begun.ts"
import { RunFacts } from "./internal/RunFacts.ts"
import { undoingsOf } from "./internal/undoings.ts"
import type { Replayed } from "./MigrateOptions.ts"
import { Remark } from "./Report.ts"
import { reading } from "./internal/reading.ts"

/** A source that a run did not store. */
export interface Reject {
  readonly run: string
  /** Its number in the run. */
  readonly item: number
  readonly path: string
  readonly outcome: "rejected" | "failed"
  readonly bytes: number
  readonly remarks: ReadonlyArray<Remark>
  /**
   * The run that stored it later, from the same path or mended, or found what was made of it stored; null while it is open, or
   * again since that was undone.
   */
  readonly stored_by: string | null
  /** Where its original bytes are; null when the run kept none, and the file it came from is all there is. */
  readonly backup: { readonly store: string; readonly backup_id: string } | null
}

/**
 * The rejects of one run, named by its id, how that begins, or `last`; without a run, the last rejection of every source that
 * no later run has stored. Those of a run stand in the order of its items.
 *
 * Fails with `RunNotFound` or `NothingStored` as `rollback` does, with a `StoreError` when the database cannot be opened, and
 * with `MigrationFailed` when it cannot be read.
 */
export const listRejects = Effect.fn("listRejects")(function* (database: string, wanted: string | undefined) {
  return yield* reading(database, readAll(wanted)).pipe(orNothingStored(database, wanted ?? ""))
})

const readAll = Effect.fnUntraced(function* (wanted: string | undefined) {
  const chosen = wanted === undefined ? undefined : yield* findRun(wanted)
  const { rejects, replays } = yield* readEvery()
  if (chosen !== undefined) return rejects.filter(({ run }) => run === chosen.runId)
  const open = new Map(rejects.map((reject) => [reject.path, reject]))
  // A replay that failed again is told by its source, not by the place it was exported to as well.
  return [...open.values()].filter(
    (reject) => reject.stored_by === null && !replays.has(`${reject.run} ${reject.path}`)
  )
})

/** By path, the last rejection of each source, stored since or not. */
export const readLastRejects = Effect.fnUntraced(function* () {
  return new Map((yield* readEvery()).rejects.map((reject) => [reject.path, reject]))
})

/** All rejects, in the order of their runs, and what was replayed: by run and source, the run and item of the reject. */
const readEvery = Effect.fnUntraced(function* () {
  const runs = yield* readRuns()
  const order = new Map(runs.map(({ runId }, at) => [runId, at]))
  const orderOf = (run: string): number => order.get(run) ?? -1
  const backups = new Map((yield* readBackups()).map((backup) => [backup.runId, backup]))
  // A mended source is stored from where it was exported to.
  const replays = new Map(
    runs.flatMap(({ options, runId }) =>
      Option.getOrElse(readReplays(options), () => ({ replays: [] })).replays.map(
        ({ item, run, source }) => [`${runId} ${source}`, `${run} ${item}`] as const
      )
    )
  )
  const storedBy = new Map<string, string>()
  const paths = new Map<string, ReadonlyArray<string>>()
  const rows = yield* readRejects()
  const isTakenBack = undoingsAfter(runs, orderOf)
  // What an undoing took away is to be mended again; what later runs changed is not.
  const stored = (yield* readStoredSince()).filter(
    ({ cohortId, isHeld, runId }) => isHeld || cohortId === undefined || !isTakenBack(cohortId, runId)
  )
  const seen = runs.flatMap(({ facts, runId }) =>
    (Option.getOrUndefined(readNoted(facts))?.seen ?? []).map((entry) => ({ ...entry, runId }))
  )
  const storedSince = [...stored, ...(rows.length === 0 ? [] : yield* stillStored(seen))].toSorted(
    (left, right) => orderOf(left.runId) - orderOf(right.runId)
  )
  for (const { path, runId } of storedSince) {
    const replayed = replays.get(`${runId} ${path}`)
    if (replayed !== undefined) storedBy.set(replayed, runId)
    paths.set(path, [...(paths.get(path) ?? []), runId])
  }
  const rejects = rows
    .toSorted((left, right) => orderOf(left.runId) - orderOf(right.runId) || left.item - right.item)
    .map((row): Reject => {
      const backup = backups.get(row.runId)
      const later = (paths.get(row.path) ?? []).find((run) => orderOf(run) > orderOf(row.runId))
      return {
        run: row.runId,
        item: row.item,
        path: row.path,
        outcome: row.outcome === "failed" ? "failed" : "rejected",
        bytes: row.bytes,
        remarks: remarksOf(row),
        stored_by: storedBy.get(`${row.runId} ${row.item}`) ?? later ?? null,
        backup: backup === undefined ? null : { store: backup.path, backup_id: backup.backupId }
      }
    })
  return { rejects, replays }
})

/**
 * Whether a cohort was given a state of before since a run, by an undoing of that run or of all runs from an earlier one on.
 * What undid an undoing gave back what the first run had stored.
 */
const undoingsAfter = (runs: ReadonlyArray<LedgerRun>, orderOf: (run: string) => number) => {
  const undone = undoingsOf(runs)
  const savepoints = new Map<string, number>()
  const spans = new Map<string, Array<{ readonly from: number; readonly to: number }>>()
  for (const [to, { facts, options, runId }] of runs.entries()) {
    const { savepoint, to_savepoint, undone_run } = Option.getOrElse(
      readTarget(options),
      (): typeof Target.Type => ({})
    )
    if (savepoint !== undefined) savepoints.set(savepoint, to)
    const from = undone_run === undefined ? savepoints.get(to_savepoint ?? "") : orderOf(undone_run)
    if (from === undefined || undone.has(runId)) continue
    for (const { action, cohort_id } of Option.getOrUndefined(readNoted(facts))?.undone ?? []) {
      if (action !== "kept") spans.set(cohort_id, [...(spans.get(cohort_id) ?? []), { from, to }])
    }
  }
  return (cohortId: string, run: string): boolean => {
    const at = orderOf(run)
    return (spans.get(cohortId) ?? []).some(({ from, to }) => from <= at && at < to)
  }
}

/** What the options of runs say of undoing. */
const Target = Schema.Struct({
  savepoint: Schema.optionalKey(Schema.String),
  to_savepoint: Schema.optionalKey(Schema.String),
  undone_run: Schema.optionalKey(Schema.String)
})
const readTarget = Schema.decodeUnknownOption(Schema.fromJsonString(Target))

/** Those of contents that runs met and had no need to store which are stored still. */
const stillStored = Effect.fnUntraced(function* <A extends { readonly digest: string }>(seen: ReadonlyArray<A>) {
  if (seen.length === 0) return []
  const live = yield* readLiveDigests(yield* DuckDbClient)
  return seen.filter(({ digest }) => live.has(digest))
})

const readNoted = Schema.decodeUnknownOption(Schema.fromJsonString(RunFacts.mapFields(Struct.pick(["undone", "seen"]))))

const remarksOf = ({ remarks }: LedgerReject): ReadonlyArray<Remark> => Option.getOrElse(readRemarks(remarks), () => [])

const readRemarks = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Array(Remark)))
const readReplays = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({
      replays: Schema.Array(Schema.Struct({ source: Schema.String, run: Schema.String, item: Schema.Int }))
    })
  )
)

/** The file that says which exported source is which reject. Its name is not that of a source. */
export const REJECTS_INDEX = "rejects.index"

const Index = Schema.Struct({
  format: Schema.Literal(1),
  items: Schema.Array(
    Schema.Struct({
      /** Path of the source below the folder. */
      source: Schema.String,
      run: Schema.String,
      item: Schema.Int,
      /** Where it came from. */
      path: Schema.String,
      remarks: Schema.Array(Remark)
    })
  )
})

export interface ExportedRejects {
  readonly out: string
  readonly exported: ReadonlyArray<{ readonly reject: Reject; readonly source: string }>
  /** Those of which no backup holds every file. */
  readonly missing: ReadonlyArray<Reject>
}

/** The folder holds something already, or is none; nothing is written. */
export class ExportExists extends Schema.TaggedError<ExportExists>()("ExportExists", { out: Schema.String }) {
  override get message(): string {
    return `${this.out} is there already and is no empty folder. Name a new one: what was mended there, or is a source, is neither overwritten nor mixed with rejects.`
  }
}

/**
 * Writes the original bytes of rejects into a folder, each under its own name in a folder of its own, and an index for
 * `readExport`. A reject of which no copy was kept, or not of all its files, is `missing` and not written in part.
 *
 * Fails with `ExportExists` where `out` is there and is no empty folder, and with a `BackupError` when copies cannot be read or
 * `out` not be written to; the index comes last, so that nothing without one counts as an export.
 */
export const exportRejects = Effect.fn("exportRejects")(function* (options: {
  readonly rejects: ReadonlyArray<Reject>
  readonly out: string
  readonly cipher?: CipherSettings | undefined
}) {
  const { out, rejects } = options
  if (!(yield* isFree(out))) return yield* new ExportExists({ out })
  const named = rejects.map((reject, at) => ({ reject, source: join(String(at + 1), basename(reject.path)) }))
  const whole = new Set<Reject>()
  const byBackup = Map.groupBy(named, ({ reject: { backup } }) => backup && `${backup.store}\0${backup.backup_id}`)
  for (const group of byBackup.values()) {
    for (const reject of yield* restoreRejects(group, out, options.cipher)) whole.add(reject)
  }
  const exported = named.filter(({ reject }) => whole.has(reject))
  const missing = rejects.filter((reject) => !whole.has(reject))
  const index: typeof Index.Type = {
    format: 1,
    items: exported.map(({ reject: { item, path, remarks, run }, source }) => ({ source, run, item, path, remarks }))
  }
  yield* Effect.try({
    try: () => {
      mkdirSync(out, { recursive: true, mode: 0o700 })
      writeWhole(join(out, REJECTS_INDEX), Buffer.from(`${JSON.stringify(index, null, 2)}\n`))
    },
    catch: (cause) => targetFailure(out, join(out, REJECTS_INDEX), cause)
  })
  const result: ExportedRejects = { out, exported, missing }
  return result
})

/** Whether nothing is there, or an empty folder. */
const isFree = (out: string) =>
  Effect.try({
    try: () => !existsSync(out) || (statSync(out).isDirectory() && readdirSync(out).length === 0),
    catch: (cause) => targetFailure(out, out, cause)
  })

/** Restores rejects of one backup below `out`; gives those that are there whole. */
const restoreRejects = Effect.fnUntraced(function* (
  group: ReadonlyArray<{ readonly reject: Reject; readonly source: string }>,
  out: string,
  cipher: CipherSettings | undefined
) {
  const backup = group[0]?.reject.backup ?? null
  if (backup === null) return []
  const { manifest } = yield* findBackup(backup.store, backup.backup_id)
  const files = manifest.files.map(({ path }) => path)
  const inBackup = new Set(files)
  const byFolder = Map.groupBy(files, dirname)
  const lacking = new Set(manifest.skipped.flatMap(({ path }) => [path, dirname(path)]))
  const isLacking = ({ path, remarks }: Reject): boolean =>
    lacking.has(path) || remarks.some(({ part }) => part !== undefined && !inBackup.has(join(path, part)))
  // A reject is a file, or a folder whose files are one source: without one of them it would be stored as if it were whole.
  const pathsOf = (reject: Reject): ReadonlyArray<string> =>
    isLacking(reject) ? [] : [...(inBackup.has(reject.path) ? [reject.path] : []), ...(byFolder.get(reject.path) ?? [])]
  const places = new Map<string, string>()
  for (const { reject, source } of group) {
    for (const path of pathsOf(reject)) places.set(path, join(out, source, relative(reject.path, path)))
  }
  const { present, problems, restored } = yield* restoreBackup({
    store: backup.store,
    backup: backup.backup_id,
    cipher,
    place: (path) => places.get(path)
  })
  // A copy is there: to say that none was kept would be wrong.
  const unwritable = problems.find(({ target }) => target !== undefined)
  if (unwritable?.target !== undefined) {
    const reason = unwritable.problem === "target-permission" ? "permission" : "io"
    return yield* new BackupError({ reason, store: backup.store, target: unwritable.target })
  }
  const done = new Set([...restored, ...present])
  return group.flatMap(({ reject }) => {
    const paths = pathsOf(reject)
    return paths.length > 0 && paths.every((path) => done.has(places.get(path) ?? "")) ? [reject] : []
  })
})

const unreadable = {
  "no-folder": ["there is no such folder", "Give the one that `mallard rejects export --out DIR` wrote."],
  "no-index": [`it has no file ${REJECTS_INDEX}`, "Give the folder that `mallard rejects export --out DIR` wrote."],
  "not-read": [`its file ${REJECTS_INDEX} cannot be read`, "Check who owns it, and the disk."],
  changed: [`its file ${REJECTS_INDEX} was changed`, "Export the rejects again into a new folder."]
} as const

/** There is no export in the folder, or its index cannot be read. */
export class ExportUnreadable extends Schema.TaggedError<ExportUnreadable>()("ExportUnreadable", {
  folder: Schema.String,
  reason: Schema.Literals(["no-folder", "no-index", "not-read", "changed"])
}) {
  override get message(): string {
    const [what, next] = unreadable[this.reason]
    return `Cannot replay ${printablePath(this.folder)}: ${what}. ${next}`
  }
}

const decodeIndex = Schema.decodeUnknownSync(Schema.fromJsonString(Index))

/** The sources of an export, by path, with what each was: what a migration takes as `replays`. */
export const readExport = (folder: string): Effect.Effect<ReadonlyMap<string, Replayed>, ExportUnreadable> =>
  Effect.try({
    try: () => {
      const { items } = decodeIndex(readFileSync(join(folder, REJECTS_INDEX), "utf8"))
      const base = realpathSync(folder)
      return new Map(
        items.map(({ item, path, run, source }) => {
          const place = join(base, source)
          if (!place.startsWith(base + sep)) throw new Error("An index leads out of its folder")
          return [place, { run, item, path }]
        })
      )
    },
    catch: (cause) => {
      const code = systemCode(cause)
      if (code === undefined) return new ExportUnreadable({ folder, reason: "changed" })
      if (code !== "ENOENT" && code !== "ENOTDIR") return new ExportUnreadable({ folder, reason: "not-read" })
      return new ExportUnreadable({ folder, reason: existsSync(folder) ? "no-index" : "no-folder" })
    }
  })
