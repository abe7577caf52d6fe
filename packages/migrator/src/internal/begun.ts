/**
 * Runs that have begun and that the ledger does not have yet: nothing is written into the database before the backup is
 * proven, so until then a file beside the copies is all that tells of a run that is killed. It lies where it is found by the
 * path of the database alone, wherever the copies go. That it cannot be written or removed fails nothing.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { type LedgerRun, RunNotFound, StoreError } from "@mallard/duckdb-store"
import { isRunning } from "@mallard/duckdb-store/Processes"
import { printablePath } from "@mallard/legacy-json"
import { Effect, Option, Schema, type Scope } from "effect"
import { backupStoreOf } from "../Backup.ts"
import { writeWhole } from "./atomic.ts"
import { RunProcess, StoredOptions } from "./RunFacts.ts"

/** What the first record of a run in the ledger says. */
export const BegunRun = Schema.Struct({
  format: Schema.Literal(1),
  run: Schema.String,
  /** UTC, as in the ledger. */
  started_at: Schema.String.check(Schema.isPattern(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?$/)),
  program: Schema.String,
  /** Which process it is: as long as that runs, the run has not been cut short. */
  process: Schema.optionalKey(RunProcess),
  options: StoredOptions
})
export type BegunRun = typeof BegunRun.Type

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(BegunRun))

const NAME = /^([0-9a-f-]{36})\.run$/

/** Where the record of a run lies. */
export const recordPath = (database: string, run: string): string => join(backupStoreOf(database), `${run}.run`)

/** The runs beside a database that were cut short, in the order in which they began. What cannot be read is passed over. */
export const begunRuns = (database: string): ReadonlyArray<BegunRun> => {
  const store = backupStoreOf(database)
  try {
    return readdirSync(store, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .flatMap(({ name }) => {
        const run = NAME.exec(name)?.[1]
        return run === undefined
          ? []
          : Option.toArray(readBegun(join(store, name))).filter(
              (begun) => begun.run === run && (begun.process === undefined || !isRunning(begun.process))
            )
      })
      .toSorted((left, right) => (left.started_at < right.started_at ? -1 : 1))
  } catch {
    return []
  }
}

const readBegun = (path: string): Option.Option<BegunRun> => {
  try {
    return decode(readFileSync(path, "utf8"))
  } catch {
    return Option.none()
  }
}

/** The record of a run while that is going on. */
export interface Begun {
  /** Writes it, unless it is there. */
  readonly note: () => void
}

/** Notes that a run begins, until the scope closes: what is killed before leaves its record. */
export const begin = (database: string, begun: Omit<BegunRun, "format">): Effect.Effect<Begun, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const note = () => noteBegun(database, begun)
        return { note, firstMade: note() }
      }),
      ({ firstMade }) =>
        Effect.sync(() => {
          forgetBegun(database, [begun.run])
          if (firstMade !== undefined) removeEmpty(dirname(backupStoreOf(database)), firstMade)
        })
    ),
    ({ note }) => ({ note: () => void note() })
  )

/** The first of the folders that had to be made. */
const noteBegun = (database: string, begun: Omit<BegunRun, "format">): string | undefined => {
  const path = recordPath(database, begun.run)
  try {
    const firstMade = mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    if (!existsSync(path)) writeWhole(path, Buffer.from(`${JSON.stringify({ format: 1, ...begun })}\n`))
    return firstMade
  } catch {
    return undefined
  }
}

/** Removes what is known of runs that the ledger has, or that another run has taken the place of. */
export const forgetBegun = (database: string, runs: ReadonlyArray<string>): void => {
  try {
    for (const run of runs) rmSync(recordPath(database, run), { force: true })
  } catch {
    return
  }
  const store = backupStoreOf(database)
  if (runs.length > 0) removeEmpty(store, store)
}

/** Removes a folder and those above it up to another, as far as nothing is in them. */
const removeEmpty = (folder: string, last: string): void => {
  try {
    for (let path = folder; path.length >= last.length; path = dirname(path)) rmdirSync(path)
  } catch {
    return
  }
}

/** The run was cut short before the ledger had it. */
export class NothingStored extends Schema.TaggedError<NothingStored>()("NothingStored", {
  run: Schema.String,
  /** The file that tells of it. */
  path: Schema.String
}) {
  override get message(): string {
    return `Run ${this.run} was cut short before it stored anything: there is nothing of it to show, to undo or to take again. \`mallard resume\` goes on with it unless \`mallard status\` no longer names it, as a later run over the same sources has taken its place; who wants neither removes ${printablePath(this.path)}.`
  }
}

/** Says of a run that is not found because the ledger does not have it yet what it is. */
export const orNothingStored =
  (database: string, wanted: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | NothingStored, R> =>
    Effect.catch(effect, (error): Effect.Effect<never, E | NothingStored> => {
      const isUnknown =
        (error instanceof RunNotFound && error.candidates.length === 0) ||
        (error instanceof StoreError && error.reason === "missing")
      const found =
        isUnknown && wanted !== "" ? begunRuns(database).filter(({ run }) => run.startsWith(wanted.toLowerCase())) : []
      const [begun] = found
      return begun === undefined || found.length > 1
        ? Effect.fail(error)
        : Effect.fail(new NothingStored({ run: begun.run, path: recordPath(database, begun.run) }))
    })

/** The run as the ledger would have it. */
export const asLedgerRun = ({ options, program, run, started_at }: BegunRun): LedgerRun => ({
  runId: run,
  startedAt: started_at,
  finishedAt: undefined,
  outcome: undefined,
  program,
  options: JSON.stringify(options),
  totals: undefined,
  facts: undefined,
  proof: undefined,
  isProofStopped: false,
  revisions: 0,
  firstRevision: undefined
})
