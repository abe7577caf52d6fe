/**
 * The migration: finds sources, reads each once, stores whole items in batches, verifies what it stored from a fresh
 * connection, and reports every item. A dry run is the same without writing.
 */
import { randomUUID } from "node:crypto"
import { isPattern, openStore, reach, verifyContents } from "@mallard/duckdb-store"
import { thisProcess } from "@mallard/duckdb-store/Processes"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Clock, Effect, Option, Schedule } from "effect"
import { begin } from "./internal/begun.ts"
import { removedOf } from "./internal/comparing.ts"
import { environmentOf } from "./internal/environment.ts"
import { findAll } from "./internal/finding.ts"
import { load } from "./internal/loading.ts"
import { movedAside } from "./internal/movedAside.ts"
import { recordProof, recordStop } from "./internal/recording.ts"
import { failing } from "./internal/reading.ts"
import { rehearse } from "./internal/rehearsal.ts"
import { optionsOf } from "./internal/runOptions.ts"
import { type MigrateOptions, MigrationFailed } from "./MigrateOptions.ts"
import { noVerification, outcomeOf, type RunReport, totalsOf, type Verification } from "./Report.ts"
import { haltedNote, stateWords, type UnfinishedRun } from "./Resume.ts"
import { RulesInvalid } from "./Validation.ts"

/**
 * Stores the sources at `paths`, each whole or not at all, and gives a report in which every source found has one outcome;
 * with `dryRun` it gives the report that a run would, and writes nothing.
 *
 * Items stand in the order of the sources' paths, those that could not be read behind the others; what becomes of them
 * depends neither on that order nor on `sizes` or `jobs`. `timings` are milliseconds. A source that is bad fails nothing: it
 * is an item, and `outcome` is `done-with-rejects`. A run that `isStopped` ends is `interrupted`, and the next one over the
 * same paths goes on with it. `maxRejects` only stops the run; `migrateWithin` undoes it too.
 *
 * Fails before a source is read or a row written with a `SourceError` for the first path that is not there, with `RulesInvalid`
 * for a pattern that DuckDB does not take, and with `MoveRefused` where originals cannot be moved as asked; before a cohort
 * is written with a `StoreError` when the database cannot be opened, and with a `BackupError` when no proven copy can be
 * made; later with `MigrationFailed` when the database fails. What was committed until then is whole, and running again goes
 * on from it. See the promises P4 to P6 in `docs/promises.md`.
 */
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
  const { found, held, originals, unreadable } = yield* findAll(options)
  yield* reach("sources/found")
  const afterFind = yield* Clock.currentTimeMillis
  const count = found.sources.length + unreadable.length
  options.onProgress?.({ phase: "found", sources: count, bytes: found.bytes })
  for (const item of unreadable) options.onProgress?.({ phase: "item", item })
  const loaded = yield* options.dryRun
    ? rehearse(options, found, run, unreadable)
    : load({
        options,
        found,
        run,
        unreadable,
        findMs: afterFind - started,
        originals: { files: originals, ...held },
        begun
      })
  const afterLoad = yield* Clock.currentTimeMillis
  const proof =
    options.dryRun ||
    options.verify === false ||
    loaded.interrupted ||
    loaded.exceeded ||
    loaded.verifyFrom === undefined
      ? Option.some(noVerification)
      : yield* Effect.withSpan(verifyRun(options, loaded.verifyFrom), "mallard.verify")
  const verification = Option.getOrElse(proof, () => noVerification)
  const interrupted = loaded.interrupted || Option.isNone(proof)
  const ended = yield* Clock.currentTimeMillis
  const items = [...loaded.items, ...unreadable]
  const notes = [
    ...(loaded.resumed === undefined ? [] : [resumedNote(loaded.resumed)]),
    ...loaded.notes,
    ...(Option.isNone(proof) ? [haltedNote("not-proven")] : [])
  ]
  const report: RunReport = {
    run,
    command: "migrate",
    outcome:
      loaded.exceeded || loaded.endFailure !== undefined ? "failed" : outcomeOf(items, verification, interrupted),
    dry_run: options.dryRun,
    database: options.database,
    started_at: new Date(started).toISOString(),
    ended_at: new Date(ended).toISOString(),
    program: options.program,
    options: optionsOf(options, loaded.resumed?.run),
    environment: environmentOf(loaded.duckdb),
    items,
    ignored: found.ignored,
    totals: totalsOf(count, items),
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
  if (Option.isNone(proof)) return yield* recordStop(report)
  const whole = yield* movedAside(options, found, report)
  const unmoved = (whole.notes ?? []).slice(notes.length)
  const isAtEnd = whole.outcome !== "interrupted" && whole.outcome !== "failed"
  const isToldAlready =
    verification === noVerification && whole.moved === undefined && (unmoved.length === 0 || !isAtEnd)
  if (isToldAlready) return whole
  return yield* recordProof(whole, unmoved.length === 0 ? {} : { not_moved: unmoved })
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

const resumedNote = ({ firstRevision, run, state }: UnfinishedRun): string => {
  const what =
    firstRevision === undefined
      ? " before it had stored anything."
      : ": what it had stored counts as unchanged and is proven with the rest."
  return `Went on with run ${run.slice(0, 8)}, which ${stateWords[state]}${what}`
}

/** Proves what was stored since a revision; none when it was stopped: what is stored is whole, and can be proven later. */
const verifyRun = Effect.fnUntraced(function* (options: MigrateOptions, firstRevision: number) {
  yield* reach("verify/begun")
  const verified = Effect.scoped(
    Effect.flatMap(
      openStore({ path: options.database, readonly: true, memoryLimit: options.memoryLimit, threads: options.jobs }),
      (client) =>
        verifyContents(client, firstRevision, (done, documents) =>
          options.onProgress?.({ phase: "verify", done, documents })
        )
    )
  ).pipe(failing(options.database, "reading"), Effect.asSome)
  const proof = yield* Effect.raceFirst(verified, Effect.as(untilStopped(options), Option.none()))
  yield* reach("verify/done")
  return Option.map(proof, ({ checked, findings, matched, mismatched }): Verification => ({
    checked,
    matched,
    mismatched,
    findings
  }))
})

/** Ends when the run is asked to stop. */
const untilStopped = ({ isStopped = () => false }: MigrateOptions) =>
  Effect.repeat(Effect.sync(isStopped), { until: (stopped) => stopped, schedule: Schedule.spaced("50 millis") })
