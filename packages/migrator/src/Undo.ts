/**
 * Undoing runs, and savepoints. An undoing run appends revisions like any other: history is kept, and it can be undone
 * itself. What it does with each cohort, and why a cohort was left alone, stands in its report.
 */
import { randomUUID } from "node:crypto"
import {
  changesNothing,
  checkpoint,
  commitRows,
  findRun,
  isName,
  type KeptReason,
  lastRevision,
  now,
  openStore,
  readRuns,
  readSavepoint,
  type StoreError,
  undo,
  type UndoStep,
  type UndoTarget
} from "@mallard/duckdb-store"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect, Option, Schema } from "effect"
import type { SqlError } from "effect/sql"
import { orNothingStored } from "./internal/begun.ts"
import { withEnvironment } from "./internal/environment.ts"
import type { RunOptions } from "./internal/RunFacts.ts"
import type { MigrationFailed, UndoProgress } from "./MigrateOptions.ts"
import { totalsOf, type UndoneBy, type UndoneCohort } from "./Report.ts"
import { failing, reading } from "./internal/reading.ts"

/** What an undoing run did, or would do. */
export interface UndoReport {
  /** The id of the undoing run; null where none is recorded, because it was a test or had nothing to change. */
  readonly run: string | null
  readonly outcome: "done" | "partly-done" | "nothing-to-do"
  readonly database: string
  /** The run that was undone; null for a savepoint. */
  readonly undone_run: string | null
  /** Carried out, compared and taken back. */
  readonly test: boolean
  readonly cohorts: ReadonlyArray<UndoneCohort>
  /** Cohorts of the savepoint that a purge has removed for good since: they cannot be given back. */
  readonly removed: number
}

export interface RollbackOptions {
  /** Absolute path of the database. */
  readonly database: string
  /** Id of the run to undo, how it begins, or `last`. */
  readonly run: string
  /** Undoes cohorts too that later runs have changed: then that is undone with it. */
  readonly cascade: boolean
  /** Carries everything out in a transaction, compares, and takes it back. */
  readonly test: boolean
  /** Why, where no person asked for it. */
  readonly reason?: UndoneBy["reason"] | undefined
  readonly program: string
  readonly onProgress?: ((progress: UndoProgress) => void) | undefined
}

/**
 * Gives each cohort whose head the run made the state that it had before: a revision equal to the one before the run, or a
 * tombstone. Cohorts whose head is later are named and left alone unless it cascades. See promise P7 in `docs/promises.md`.
 *
 * All of it is one transaction, in which the cohorts are compared with what they were to become; with `test` that is taken
 * back. An undoing is a run as others are: it can be undone, and undoing twice changes nothing. Takes time in proportion to
 * the cohorts of the run, not to what they hold. The files that the run read are left alone: `restoreOriginals`.
 *
 * Fails with `RunNotFound` for an id that no run, or more than one, begins with, with `NothingStored` for a run that was
 * cut short before it stored anything, with `UndoMismatch` when the cohorts did not come out as planned, with a `StoreError`
 * when the database cannot be opened and with `MigrationFailed` when it fails; then nothing is undone.
 */
export const rollback = Effect.fn("rollback")(function* (options: RollbackOptions) {
  return yield* inWriter(
    options,
    Effect.gen(function* () {
      const { runId } = yield* findRun(options.run)
      const target: UndoTarget = { _tag: "Run", runId }
      const asked = {
        command: "rollback",
        undone_run: runId,
        cascade: options.cascade,
        ...(options.reason === undefined ? {} : { reason: options.reason })
      }
      return yield* undoTarget(options, target, options.cascade, asked, runId)
    })
  ).pipe(orNothingStored(options.database, options.run))
})

/** A moment that one can go back to. */
export interface Savepoint {
  readonly name: string
  readonly run: string
  readonly created_at: string
  /** The last revision before it. */
  readonly revision: number
  /** How many of its cohorts a purge has removed for good since. */
  readonly removed: number
}

/** There is no savepoint of this name. */
export class SavepointNotFound extends Schema.TaggedError<SavepointNotFound>()("SavepointNotFound", {
  wanted: Schema.String
}) {
  override get message(): string {
    return "There is no savepoint of that name. List the savepoints to see their names."
  }
}

/** There is a savepoint of this name already. */
export class SavepointExists extends Schema.TaggedError<SavepointExists>()("SavepointExists", {
  wanted: Schema.String
}) {
  override get message(): string {
    return "There is a savepoint of that name already. Choose another name: savepoints are never moved."
  }
}

/** The name cannot be that of a savepoint: what is shown of it in a list could be taken for something else. */
export class SavepointNameRefused extends Schema.TaggedError<SavepointNameRefused>()("SavepointNameRefused", {
  wanted: Schema.String
}) {
  override get message(): string {
    return "The name of a savepoint is a text of 1 to 1000 characters that is not blank, without line breaks, control characters and halves of surrogate pairs. Nothing was done; choose another one."
  }
}

interface Place {
  readonly database: string
  readonly program: string
}

/**
 * Remembers the state of all cohorts under a name, until the database is gone. Costs a few rows: nothing is copied. Fails with
 * `SavepointExists` for a name that a savepoint has, else as `rollback` does.
 */
export const createSavepoint = Effect.fn("createSavepoint")(function* (place: Place & { readonly name: string }) {
  if (!isName(place.name)) return yield* new SavepointNameRefused({ wanted: place.name })
  return yield* inWriter(
    place,
    Effect.gen(function* () {
      if ((yield* savepoints).some(({ name }) => name === place.name)) {
        return yield* new SavepointExists({ wanted: place.name })
      }
      const run = randomUUID()
      const at = yield* now
      const revision = yield* lastRevision
      const options = yield* withEnvironment({ command: "savepoint", savepoint: place.name, revision })
      const event = { run_id: run, at, program: place.program, options }
      yield* commitRows(run, {
        migration_runs: [
          { ...event, event: "started", outcome: null, totals: null },
          { ...event, event: "finished", outcome: "done", totals: JSON.stringify(totalsOf(0, [])), options: "{}" }
        ]
      })
      const created: Savepoint = { name: place.name, run, created_at: at.toISOString(), revision, removed: 0 }
      return created
    })
  )
})

/** All savepoints, oldest first. Fails with a `StoreError` or `MigrationFailed` when the database cannot be read. */
export const listSavepoints = Effect.fn("listSavepoints")(function* (database: string) {
  return yield* reading(database, savepoints)
})

/**
 * Gives every cohort the state that it had at the savepoint, whatever changed it since, as a run of its own: what came later
 * gets a tombstone. Where a purge has removed cohorts of it since, it is `partly-done`. Fails with `SavepointNotFound` for a
 * name that no savepoint has, else as `rollback` does.
 */
export const restoreSavepoint = Effect.fn("restoreSavepoint")(function* (
  options: Place & Pick<RollbackOptions, "onProgress" | "test"> & { readonly name: string }
) {
  return yield* inWriter(
    options,
    Effect.gen(function* () {
      const savepoint = (yield* savepoints).find(({ name }) => name === options.name)
      if (savepoint === undefined) return yield* new SavepointNotFound({ wanted: options.name })
      const target: UndoTarget = { _tag: "Since", revisionId: savepoint.revision }
      const asked = { command: "rollback", to_savepoint: options.name }
      return yield* undoTarget(options, target, true, asked, null, savepoint.removed)
    })
  )
})

const savepoints = Effect.map(readRuns(), (runs) =>
  runs.flatMap(({ options, runId, startedAt }): ReadonlyArray<Savepoint> => {
    const stored = Option.getOrUndefined(readSavepoint(options))
    return stored === undefined
      ? []
      : [
          {
            name: stored.savepoint,
            run: runId,
            created_at: new Date(`${startedAt}Z`).toISOString(),
            revision: stored.revision,
            removed: stored.removed ?? 0
          }
        ]
  })
)

const undoTarget = Effect.fnUntraced(function* (
  { database, onProgress, program, test }: Place & Pick<RollbackOptions, "onProgress" | "test">,
  target: UndoTarget,
  isCascading: boolean,
  asked: RunOptions,
  undoneRun: string | null,
  removed = 0
) {
  const why = yield* reasonsFor()
  const run = randomUUID()
  const steps = yield* undo({
    target,
    isCascading,
    runId: run,
    program,
    options: yield* withEnvironment(asked),
    summary: (done) => ({
      outcome: outcomeOf(done, removed),
      facts: JSON.stringify({
        undone: done.map((step) => undoneOf(step, why)),
        ...(removed === 0 ? {} : { lost_to_purge: removed })
      }),
      totals: JSON.stringify(totalsOf(0, []))
    }),
    isTest: test,
    onProgress: (done, cohorts) => onProgress?.({ phase: "undo", done, cohorts })
  })
  const report: UndoReport = {
    run: test || changesNothing(steps) ? null : run,
    outcome: outcomeOf(steps, removed),
    database,
    undone_run: undoneRun,
    test,
    cohorts: steps.map((step) => undoneOf(step, why)),
    removed
  }
  return report
})

const outcomeOf = (steps: ReadonlyArray<UndoStep>, removed: number): UndoReport["outcome"] => {
  if (removed > 0 || steps.some((step) => step.action === "kept" && step.reason !== "as-before")) return "partly-done"
  return changesNothing(steps) ? "nothing-to-do" : "done"
}

const undoneOf = (step: UndoStep, why: (step: UndoStep) => string): UndoneCohort => ({
  cohort_id: step.head.cohortId,
  cohort: step.action === "restored" ? (step.before?.name ?? step.head.name) : step.head.name,
  action: step.action,
  ...(step.action === "kept" ? { reason: why(step) } : {})
})

const reasons: Readonly<Record<KeptReason, string>> = {
  "changed-since": "changed since",
  "name-taken-since": "another cohort has its former name now; rename or delete that one first",
  "as-before": "it is as before already"
}

/** Says of kept cohorts why, and of those changed since, by which run. */
const reasonsFor = Effect.fnUntraced(function* () {
  const runs = new Map((yield* readRuns()).map((run) => [run.runId, run]))
  return (step: UndoStep): string => {
    if (step.action !== "kept") return ""
    const run = step.reason === "changed-since" ? runs.get(step.head.runId ?? "") : undefined
    return run === undefined
      ? reasons[step.reason]
      : `changed since by run ${run.runId}; undo that one first, or use --cascade`
  }
})

/** Opens an existing database for writing: a writer alone would create what is not there. */
const inWriter = <A, E>(
  { database, program }: Place,
  use: Effect.Effect<A, E | SqlError.SqlError, DuckDbClient>
): Effect.Effect<A, E | MigrationFailed | StoreError> =>
  Effect.scoped(openStore({ path: database, readonly: true })).pipe(
    Effect.andThen(
      Effect.scoped(
        Effect.flatMap(openStore({ path: database, program }), (client) =>
          Effect.tap(Effect.provideService(use, DuckDbClient, client), () => checkpoint(client))
        )
      )
    ),
    failing(database, "writing")
  )
