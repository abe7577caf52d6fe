/**
 * Runs that did not come to their end, and how to go on with them. What such a run had committed is whole: going on means
 * the same run again, in which that counts as unchanged, and whose proof begins where the first one did.
 */
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { findRun, type LedgerRun, readRuns } from "@mallard/duckdb-store"
import { Effect, Option, Schema, Struct } from "effect"
import { PlannedAction } from "./Decision.ts"
import { asLedgerRun, type BegunRun, begunRuns, orNothingStored, recordPath } from "./internal/begun.ts"
import { isGoingOn } from "./internal/environment.ts"
import { isExceeded, parseRejectLimit } from "./internal/rejectLimit.ts"
import { RunProof } from "./internal/RunFacts.ts"
import { readUndoing } from "./internal/undoings.ts"
import { listRejects } from "./Rejects.ts"
import { Rules } from "./Validation.ts"
import { reading, readingIfThere } from "./internal/reading.ts"

/** What a run was asked, as far as it takes to ask the same again. */
export const AskedOptions = Schema.Struct({
  command: Schema.optionalKey(Schema.String),
  paths: Schema.Array(Schema.String),
  /** Where relative paths started; missing in runs of older versions. */
  cwd: Schema.optionalKey(Schema.String),
  on_conflict: Schema.Literals(["fail", "skip", "replace", "rename"]),
  verify: Schema.Boolean,
  backup: Schema.Boolean,
  backup_dir: Schema.optionalKey(Schema.String),
  /** How the copies were encrypted; a passphrase is kept nowhere. */
  backup_cipher: Schema.optionalKey(Schema.Literals(["passphrase", "recipients"])),
  backup_recipients: Schema.optionalKey(Schema.Array(Schema.String)),
  move_originals: Schema.optionalKey(Schema.String),
  max_entity_bytes: Schema.Int,
  max_depth: Schema.Int,
  memory_limit: Schema.optionalKey(Schema.String),
  jobs: Schema.optionalKey(Schema.Int),
  max_file_bytes: Schema.optionalKey(Schema.Int),
  replays: Schema.optionalKey(
    Schema.Array(Schema.Struct({ source: Schema.String, run: Schema.String, item: Schema.Int, path: Schema.String }))
  ),
  strict: Schema.optionalKey(Schema.Boolean),
  rules: Schema.optionalKey(Rules),
  /** As in `10` or `5%`. */
  max_rejects: Schema.optionalKey(Schema.String),
  /** The run that was cut short and that this one went on with. */
  resumes: Schema.optionalKey(Schema.String),
  /** The run whose failures this one took again. */
  retries: Schema.optionalKey(Schema.String),
  /** Sources that it was limited to, by path. */
  only: Schema.optionalKey(Schema.Array(Schema.String)),
  /** What it was to do with each source, where it carried out a plan. */
  plan: Schema.optionalKey(
    Schema.Array(
      Schema.Struct({
        path: Schema.String,
        action: PlannedAction,
        source_sha256: Schema.NullOr(Schema.String),
        bytes: Schema.Int
      })
    )
  )
})
export type AskedOptions = typeof AskedOptions.Type

/**
 * Why a run is not at its end. `running`: its process still goes on with it; `cut-short`: it wrote no end; `interrupted`: it
 * was stopped in good order; `not-proven`: all was stored, and the proof that was asked for is missing; `not-undone`: it
 * rejected more than it was allowed to, and what was stored is still there.
 */
export const RunState = Schema.Literals(["running", "cut-short", "interrupted", "not-proven", "not-undone"])
export type RunState = typeof RunState.Type

/** What people are told of each state. */
export const stateWords: Readonly<Record<RunState, string>> = {
  running: "is going on",
  "cut-short": "was cut short",
  interrupted: "was interrupted",
  "not-proven": "ended before its proof",
  "not-undone": "rejected too much and was not undone"
}

/** What the report of such a run says of it; `next` is how to go on. */
export const haltedNote = (state: RunState, next?: string): string =>
  `The run ${stateWords[state]}${next === undefined ? "" : `: ${next}`}.`

/** A run that did not come to its end. */
export interface UnfinishedRun {
  readonly run: string
  readonly started_at: string
  readonly state: RunState
  readonly asked: AskedOptions
  /** The first revision that it, or a run that it went on with, made. */
  readonly firstRevision: number | undefined
  /** The file that tells of it, if the ledger does not. */
  readonly record?: string | undefined
}

/** A run that did not come to its end by itself, and the run that went on with it, if one did. */
export interface HaltedRun extends UnfinishedRun {
  readonly continuedBy: string | undefined
}

/**
 * The runs that did not come to their end and were not undone, oldest first. One goes on with another that resumes it, or
 * that comes to its end over the same paths later.
 */
export const haltedRuns = (
  runs: ReadonlyArray<LedgerRun>,
  isRunning: (run: LedgerRun) => boolean = () => false
): ReadonlyArray<HaltedRun> => {
  const asked = new Map(runs.map((run) => [run.runId, Option.getOrUndefined(readAsked(run.options))]))
  const undone = undoneRuns(runs)
  const toUndo = runsToUndo(runs)
  const firsts = new Map<string, number | undefined>()
  const halted: Array<HaltedRun> = []
  for (const [at, run] of runs.entries()) {
    const own = asked.get(run.runId)
    if (own === undefined) continue
    const before = own.resumes === undefined ? undefined : firsts.get(own.resumes)
    const first = before ?? run.firstRevision
    firsts.set(run.runId, first)
    const state = stateOf(run, own, toUndo)
    if (state === undefined || (state !== "not-undone" && undone.has(run.runId))) continue
    const continuedBy = runs.slice(at + 1).find((later) => {
      const theirs = asked.get(later.runId)
      if (theirs === undefined) return false
      return theirs.resumes === run.runId || (stateOf(later, theirs, toUndo) === undefined && sameSources(own, theirs))
    })?.runId
    halted.push({
      run: run.runId,
      started_at: run.startedAt,
      state: continuedBy === undefined && isRunning(run) ? "running" : state,
      asked: own,
      firstRevision: first,
      continuedBy
    })
  }
  return halted
}

/** Those that nobody went on with. */
export const unfinishedRuns = (runs: ReadonlyArray<LedgerRun>): ReadonlyArray<UnfinishedRun> =>
  unfinishedOf(haltedRuns(runs))

const unfinishedOf = (halted: ReadonlyArray<HaltedRun>): ReadonlyArray<HaltedRun> =>
  halted.filter(({ continuedBy }) => continuedBy === undefined)

/** Absolute paths of all that runs were given, mended rejects left out. */
export const migratedPaths = (runs: ReadonlyArray<LedgerRun>): ReadonlyArray<string> => [
  ...new Set(
    runs.flatMap((run) =>
      Option.toArray(readAsked(run.options)).flatMap(({ cwd, paths, replays }) =>
        replays === undefined ? paths.map((path) => (cwd === undefined ? path : resolve(cwd, path))) : []
      )
    )
  )
]

/**
 * The last unfinished run over the same sources. Where that is one which the ledger does not have and which was itself going
 * on with another, it is the other.
 */
export const continuedRun = (
  ledger: ReadonlyArray<LedgerRun>,
  begun: ReadonlyArray<BegunRun>,
  asked: Sources & Pick<AskedOptions, "resumes">
): UnfinishedRun | undefined => {
  const found = unfinishedRuns(withBegun(ledger, begun)).findLast(
    (run) => run.run === asked.resumes || (asked.resumes === undefined && sameSources(run.asked, asked))
  )
  const isBegun = begun.some(({ run }) => run === found?.run)
  const before = isBegun ? unfinishedRuns(ledger).find(({ run }) => run === found?.asked.resumes) : undefined
  return before ?? found
}

/**
 * The runs of the ledger, and after them those that were cut short before it had them, as it would have them. Of several of
 * these over the same sources the last one stands for all; each goes on with the run of the ledger that it was to go on with.
 */
export const withBegun = (
  ledger: ReadonlyArray<LedgerRun>,
  begun: ReadonlyArray<BegunRun>
): ReadonlyArray<LedgerRun> => {
  const known = new Set(
    ledger.flatMap(({ options, runId }) => [runId, ...Option.toArray(readAsked(options)).map(({ resumes }) => resumes)])
  )
  const goesOnWith = new Map<string, string | undefined>()
  let last: ReadonlyArray<{ readonly begun: BegunRun; readonly asked: AskedOptions }> = []
  for (const run of begun) {
    const asked = Option.getOrUndefined(askedOf(run))
    if (asked === undefined) continue
    const { resumes } = asked
    const before =
      resumes === undefined
        ? continuedRun(ledger, [], asked)?.run
        : goesOnWith.has(resumes)
          ? goesOnWith.get(resumes)
          : resumes
    goesOnWith.set(run.run, before)
    const { resumes: _, ...options } = run.options
    const resolved = { ...run, options: before === undefined ? options : { ...options, resumes: before } }
    last = [...last.filter((other) => !isSuperseded(other.begun, asked)), { begun: resolved, asked }]
  }
  return [...ledger, ...last.flatMap((run) => (known.has(run.begun.run) ? [] : [asLedgerRun(run.begun)]))]
}

/** Whether a run takes the place of one that the ledger does not have. */
export const isSuperseded = (begun: BegunRun, by: Sources & Pick<AskedOptions, "resumes">): boolean =>
  by.resumes === begun.run || Option.exists(askedOf(begun), (asked) => sameSources(asked, by))

const askedOf = ({ options }: BegunRun) => decodeAsked(options)

const undoneRuns = (runs: ReadonlyArray<LedgerRun>): ReadonlySet<string> =>
  new Set(runs.flatMap(({ options }) => Option.toArray(readUndoing(options)).map(({ undone_run }) => undone_run)))

/**
 * By run, the runs whose revisions go when it rejects too much, the last one first: itself and those that it went on with,
 * as far as they had a bound too and are not undone yet.
 */
const runsToUndo = (runs: ReadonlyArray<LedgerRun>): ReadonlyMap<string, ReadonlyArray<string>> => {
  const undone = undoneRuns(runs)
  const found = new Map<string, ReadonlyArray<string>>()
  for (const { options, revisions, runId } of runs) {
    const asked = Option.getOrUndefined(readAsked(options))
    if (asked?.max_rejects === undefined) continue
    const own = revisions > 0 && !undone.has(runId) ? [runId] : []
    found.set(runId, [...own, ...(found.get(asked.resumes ?? "") ?? [])])
  }
  return found
}

/** What `runsToUndo` says of one run. */
export const readRunsToUndo = Effect.fn("readRunsToUndo")(function* (database: string, run: string) {
  return runsToUndo(yield* reading(database, readRuns())).get(run) ?? []
})

const stateOf = (
  run: LedgerRun,
  asked: AskedOptions,
  toUndo: ReadonlyMap<string, ReadonlyArray<string>>
): UnfinishedRun["state"] | undefined => {
  if (run.finishedAt === undefined) return "cut-short"
  if (run.outcome === "interrupted") return run.isProofStopped ? "not-proven" : "interrupted"
  if (hasTooManyRejects(run, asked)) {
    return (toUndo.get(run.runId) ?? []).length > 0 && !hasTakenBack(run) ? "not-undone" : undefined
  }
  return asked.verify && run.revisions > 0 && run.proof === undefined ? "not-proven" : undefined
}

type Sources = Pick<AskedOptions, "paths" | "cwd" | "only" | "plan">

const sameSources = (left: Sources, right: Sources): boolean => sourcesOf(left) === sourcesOf(right)

const sourcesOf = ({ cwd, only, paths, plan }: Sources): string =>
  JSON.stringify([
    paths.map((path) => (cwd === undefined ? path : resolve(cwd, path))).toSorted(),
    only?.toSorted() ?? null,
    plan?.map(({ path, source_sha256 }) => [path, source_sha256]).toSorted(byText) ?? null
  ])

const byText = (left: unknown, right: unknown): number => (String(left) < String(right) ? -1 : 1)

const hasTooManyRejects = ({ totals }: LedgerRun, { max_rejects: text }: AskedOptions): boolean => {
  const limit = text === undefined ? undefined : parseRejectLimit(text)
  const counts = Option.getOrUndefined(readCounts(totals))
  return limit !== undefined && counts !== undefined && isExceeded(limit, counts)
}

/** Whether it came to the end of undoing, also where all that was stored had been changed since and was left. */
const hasTakenBack = ({ proof }: LedgerRun): boolean =>
  Option.exists(readTakenBack(proof), ({ taken_back }) => taken_back !== undefined)

const readTakenBack = Schema.decodeUnknownOption(Schema.fromJsonString(RunProof.mapFields(Struct.pick(["taken_back"]))))
const readCounts = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ found: Schema.Int, rejected: Schema.Int, failed: Schema.Int }))
)
const decodeAsked = Schema.decodeUnknownOption(AskedOptions)
const readAsked = Schema.decodeUnknownOption(Schema.fromJsonString(AskedOptions))

/**
 * The halted runs of a database, oldest first; also of one that a run was cut short before it had made it. `migrate` over
 * the same paths, or with the run as `resumes`, goes on with one.
 *
 * Fails with a `StoreError` when the database cannot be opened, and with `MigrationFailed` when it cannot be read.
 */
export const listHalted = Effect.fn("listHalted")(function* (database: string) {
  const ledger = yield* readingIfThere(database, readRuns(), [])
  const begun = begunRuns(database)
  return haltedByTime(ledger, begun).map((halted) =>
    begun.some(({ run }) => run === halted.run) ? { ...halted, record: recordPath(database, halted.run) } : halted
  )
})

/** Those of `listHalted` that nobody went on with. */
export const listUnfinished = (database: string) => Effect.map(listHalted(database), unfinishedOf)

/** All halted runs; those that the ledger does not have stand between the others by the time at which they began. */
const haltedByTime = (ledger: ReadonlyArray<LedgerRun>, begun: ReadonlyArray<BegunRun>): ReadonlyArray<HaltedRun> => {
  const halted = haltedRuns(withBegun(ledger, begun), isGoingOn)
  const late = new Set(begun.map(({ run }) => run))
  const inOrder = halted.filter(({ run }) => !late.has(run))
  for (const run of halted.filter((other) => late.has(other.run))) {
    inOrder.splice(inOrder.findLastIndex(({ started_at }) => started_at <= run.started_at) + 1, 0, run)
  }
  return inOrder
}

/** Those of `haltedByTime` that nobody went on with. */
export const unfinishedByTime = (
  ledger: ReadonlyArray<LedgerRun>,
  begun: ReadonlyArray<BegunRun>
): ReadonlyArray<UnfinishedRun> => unfinishedOf(haltedByTime(ledger, begun))

/** What to ask to take again what a run failed to store or rejected, and no later run has stored. */
export interface Retry {
  readonly run: string
  readonly asked: AskedOptions
  /** The sources, by path. */
  readonly only: ReadonlySet<string>
}

/** The run is not one that migrated something. */
export class NotAMigration extends Schema.TaggedError<NotAMigration>()("NotAMigration", { run: Schema.String }) {
  override get message(): string {
    return `Run ${this.run} migrated nothing, so there is nothing of it to retry. List the runs to see what each was for.`
  }
}

/**
 * What is left to retry of a run: what it was asked, and the paths that it rejected or failed to store and that no later run
 * has stored. The run is named by its id, how that begins, or `last`.
 *
 * Fails with `RunNotFound` or `NothingStored` as `rollback` does, with `NotAMigration` for a run that migrated nothing, with a
 * `StoreError` when the database cannot be opened, and with `MigrationFailed` when it cannot be read.
 */
export const retryOf = Effect.fn("retryOf")(function* (database: string, wanted: string) {
  const run = yield* reading(database, findRun(wanted)).pipe(orNothingStored(database, wanted))
  const asked = Option.getOrUndefined(readAsked(run.options))
  if (asked === undefined) return yield* new NotAMigration({ run: run.runId })
  const rejects = yield* listRejects(database, run.runId)
  const retry: Retry = {
    run: run.runId,
    asked,
    only: new Set(rejects.filter(({ stored_by }) => stored_by === null).map(({ path }) => path))
  }
  return retry
})

/** Whether the copies of any of these runs were encrypted. Fails as `listHalted` does; without a database there are none. */
export const isEncrypted = Effect.fn("isEncrypted")(function* (
  database: string,
  wanted: Iterable<{ readonly run: string }>
) {
  if (!existsSync(database)) return false
  const asked = new Set([...wanted].map(({ run }) => run))
  const runs = yield* reading(database, readRuns())
  return runs.some((run) => asked.has(run.runId) && hasCipher(run))
})

/** Whether a run was to copy nothing but what it rejects. */
export const copiesRejectsAlone = (run: LedgerRun): boolean =>
  Option.exists(readAsked(run.options), ({ backup }) => !backup)

/** Whether a run was to encrypt its copies. */
export const hasCipher = (run: LedgerRun | undefined): boolean =>
  Option.exists(readAsked(run?.options), ({ backup_cipher }) => backup_cipher !== undefined)
