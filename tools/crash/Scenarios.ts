/**
 * Work that is killed in the middle: the state before it, the work itself, and what a user does to go on. All runs in a
 * process of its own, on files below one folder.
 */
import { DuckDBInstance } from "@duckdb/node-api"
import { openCohortStore, openStore, purge, StoreError } from "@mallard/duckdb-store"
import {
  backupStoreOf,
  createSavepoint,
  defaultLimits,
  exportRejects,
  listRejects,
  listUnfinished,
  migrateWithin,
  type MigrateOptions,
  parseRejectLimit,
  readExport,
  restoreBackup,
  restoreSavepoint,
  retryOf,
  rollback,
  type RunReport
} from "@mallard/migrator"
import { Deferred, Effect } from "effect"
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fingerprint, ORIGINALS } from "./Protocol.ts"

/** Where everything of a case lies. */
export interface Place {
  readonly folder: string
  readonly source: string
  readonly database: string
  /** Where originals are moved to. */
  readonly moved: string
  /** Rejects that were exported and mended. */
  readonly mended: string
  /** What the work must know of the state before it. */
  readonly note: string
}

export const placeIn = (folder: string): Place => ({
  folder,
  source: join(folder, "source"),
  database: join(folder, "db", "test.duckdb"),
  moved: join(folder, "moved"),
  mended: join(folder, "mended"),
  note: join(folder, "note")
})

/** Notes how the originals are; only once. */
export const rememberOriginals = ({ folder, source }: Place): void => {
  const path = join(folder, ORIGINALS)
  if (!existsSync(path)) writeFileSync(path, JSON.stringify(fingerprint(source)))
}

type Step = (place: Place) => Effect.Effect<unknown, unknown>

export interface Scenario {
  readonly prepare: Step
  /** What is killed. */
  readonly act: Step
  /** What is done after a kill, until it comes to its end; the same again if not given. */
  readonly finish?: Step
  /** Whether the work leaves something to finish even if nobody disturbs it. */
  readonly isIncomplete?: true
  /** Whether finishing what is finished makes revisions again. */
  readonly repeats?: true
  /** What becomes of the files that were migrated; they stay if nothing is said. */
  readonly originals?: "come-back" | "move"
}

const program = "crash"

/** Several commits, where the program would make one. */
const sizes = { batchFiles: 4 }

const migrating = (place: Place, options: Partial<MigrateOptions> = {}) =>
  migrateWithin({
    paths: [place.source],
    database: place.database,
    onConflict: "replace",
    dryRun: false,
    program,
    ...defaultLimits,
    sizes,
    backup: { store: backupStoreOf(place.database) },
    rejectStore: backupStoreOf(place.database),
    onProgress: (step) => {
      if (step.phase === "item" && step.item.outcome === "migrated") acknowledge(String(step.item.cohort))
    },
    ...options
  }).pipe(Effect.tap((report) => Effect.sync(() => checkReport(report))))

/** Says that a cohort is stored, as the program does. */
let acknowledge: (cohort: string) => void = () => {}
export const onStored = (told: (cohort: string) => void): void => {
  acknowledge = told
}

const checkReport = ({ totals, verification }: RunReport): void => {
  if (!totals.balanced) throw new Error("the totals of a run do not balance")
  if (totals.failed > 0) throw new Error("a source failed")
  if (verification.mismatched > 0 || verification.findings.length > 0) throw new Error("the proof found something")
}

const isMissing = (error: unknown): boolean => error instanceof StoreError && error.reason === "missing"

/** Goes on with the last run that was cut short, if there is one, and then asks for the same again. */
const goingOn =
  (again: Step): Step =>
  (place) =>
    Effect.gen(function* () {
      const unfinished = listUnfinished(place.database).pipe(
        // No database, or a file of DuckDB that is still empty, and no run that has begun.
        Effect.catchIf(isMissing, () => Effect.succeed([]))
      )
      const last = (yield* unfinished).at(-1)
      if (last !== undefined) {
        const { asked } = last
        const replays = asked.replays?.map(({ source, ...replayed }) => [source, replayed] as const)
        yield* migrating(place, {
          paths: asked.paths,
          cwd: asked.cwd,
          onConflict: asked.on_conflict,
          moveOriginals: asked.move_originals,
          maxRejects: asked.max_rejects === undefined ? undefined : parseRejectLimit(asked.max_rejects),
          resumes: last.run,
          retries: asked.retries,
          only: asked.only === undefined ? undefined : new Set(asked.only),
          replays: replays === undefined ? undefined : new Map(replays)
        })
      }
      yield* again(place)
    })

// ---- sources

const patients = (name: string, count: number, mark = ""): string => {
  const list = Array.from({ length: count }, (_, at) => `{"id":"${name}-${at}","name":"N ${at}${mark}"}`)
  return `{"name":"${name}","description":"d${mark}","patients":[${list.join(",\n")}]}`
}

const write = (place: Place, files: Readonly<Record<string, string>>): void => {
  mkdirSync(place.source, { recursive: true })
  for (const [name, text] of Object.entries(files)) writeFileSync(join(place.source, name), text)
  settle(place.source)
}

/** Times in whole seconds: copies of files have exactly the same. */
const settle = (folder: string): void => {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) utimesSync(join(entry.parentPath, entry.name), 1_700_000_000, 1_700_000_000 + entry.name.length)
  }
}

const examples = join(import.meta.dirname, "..", "..", "examples", "cohorts")

const writeSources: Step = (place) =>
  Effect.sync(() => {
    cpSync(examples, place.source, { recursive: true })
    write(place, { "clinic.json": patients("clinic", 2049), "ward.json": patients("ward", 300) })
  })

const changeSources: Step = (place) =>
  Effect.sync(() => {
    write(place, {
      "clinic.json": patients("clinic", 2100, " again"),
      "annex.json": patients("annex", 7),
      "two-walk-ins.json": patients("Two walk-ins", 3)
    })
  })

const broken = '{"name":"broken","patients":[{"id":'
const breakSources: Step = (place) =>
  Effect.sync(() => write(place, { "x-broken.json": broken, "y-broken.json": broken }))

const mend = (folder: string): void => {
  for (const [at, path] of filesNamed(folder, /-broken\.json$/).entries()) {
    writeFileSync(path, patients(`mended ${at}`, 40))
  }
  settle(folder)
}

const filesNamed = (folder: string, name: RegExp): ReadonlyArray<string> =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && name.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted()

/** One row group of DuckDB and some more: what optimistic writing would write ahead of the commit. */
const LARGE = 122_880 + 3000

const writeLargeSources: Step = (place) =>
  Effect.sync(() => {
    const rows = Array.from({ length: LARGE }, (_, at) => `{"id":"${at}","code":"A${at % 89}"}`)
    write(place, {
      "large.json": `{"name":"large","entities":{"diagnoses":[${rows.join(",\n")}]}}`,
      "small.json": patients("small", 2048)
    })
  })

// ---- work

const inOrder =
  (...steps: ReadonlyArray<Step>): Step =>
  (place) =>
    Effect.forEach(steps, (step) => step(place), { discard: true })

const migrateAll: Step = (place) => migrating(place)

const noteRun = (place: Place, run: string) => Effect.sync(() => writeFileSync(place.note, run))
const noted = (place: Place): string => readFileSync(place.note, "utf8")

const migrateAndNote: Step = (place) => Effect.flatMap(migrating(place), ({ run }) => noteRun(place, run))

const undoNoted: Step = (place) =>
  rollback({ database: place.database, run: noted(place), cascade: false, test: false, program })

const retryNoted: Step = (place) =>
  Effect.flatMap(retryOf(place.database, noted(place)), ({ only, run }) =>
    // With nothing left to take again, whoever writes next takes the log into the file.
    only.size === 0
      ? Effect.scoped(Effect.asVoid(openStore({ path: place.database, program })))
      : migrating(place, { retries: run, only })
  )

const replayMended: Step = (place) =>
  Effect.flatMap(readExport(place.mended), (replays) => migrating(place, { paths: [...replays.keys()], replays }))

const restoreOriginals: Step = (place) => restoreBackup({ store: backupStoreOf(place.database), backup: "last" })

const goBack: Step = ({ database }) => restoreSavepoint({ database, name: "before", test: false, program })

const removeDeleted: Step = ({ database }) => purge({ path: database, program })

const moveAside: Step = (place) => migrating(place, { moveOriginals: place.moved })

const migrateLarge: Step = (place) => migrating(place, { sizes: { batchFiles: 1 } })

/** Migrates while another connection of the process reads in a transaction, so that the log cannot be emptied. */
const migrateHeld: Step = (place) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openStore({ path: place.database, program })
      const isReading = yield* Deferred.make<void>()
      yield* Effect.forkScoped(
        client.withTransaction(
          Effect.gen(function* () {
            yield* client.unsafe("SELECT count(*) FROM mallard.diagnoses")
            yield* Deferred.succeed(isReading, undefined)
            return yield* Effect.never
          })
        )
      )
      yield* Deferred.await(isReading)
      // With a snapshot held, the proof and the last checkpoint cannot be had.
      yield* Effect.ignore(migrating(place, { sizes: { batchFiles: 1 }, verify: false }))
    })
  )

const limited: Step = (place) => migrating(place, { maxRejects: parseRejectLimit("1"), sizes: { batchFiles: 3 } })

const deleteSome: Step = ({ database }) =>
  Effect.promise(async () => {
    const store = await openCohortStore({ path: database, program })
    for (const name of ["clinic", "Asthma class"]) await store.delete(name)
    await store.close()
  })

export const scenarios: Readonly<Record<string, Scenario>> = {
  "migrate into a new database": { prepare: writeSources, act: migrateAll, finish: goingOn(migrateAll) },
  "migrate into an empty file of DuckDB": {
    prepare: inOrder(writeSources, ({ database }) =>
      Effect.promise(async () => {
        mkdirSync(join(database, ".."), { recursive: true })
        const instance = await DuckDBInstance.create(database)
        const connection = await instance.connect()
        await connection.run("CHECKPOINT")
        connection.closeSync()
        instance.closeSync()
      })
    ),
    act: migrateAll,
    finish: goingOn(migrateAll)
  },
  "migrate into a database with content": {
    prepare: inOrder(writeSources, migrateAll, changeSources),
    act: migrateAll,
    finish: goingOn(migrateAll)
  },
  "migrate more than a row group": { prepare: writeLargeSources, act: migrateLarge, finish: goingOn(migrateLarge) },
  "migrate while a snapshot is held": {
    prepare: writeLargeSources,
    act: migrateHeld,
    finish: goingOn(migrateLarge),
    isIncomplete: true
  },
  "migrate and move the originals": {
    prepare: writeSources,
    act: moveAside,
    finish: goingOn(moveAside),
    originals: "move"
  },
  "migrate more rejects than allowed": {
    prepare: inOrder(writeSources, migrateAll, changeSources, breakSources),
    act: limited,
    finish: goingOn(limited),
    repeats: true
  },
  resume: {
    prepare: inOrder(writeSources, (place) => {
      let stored = 0
      return migrating(place, {
        isStopped: () => stored > 3,
        onProgress: (step) => {
          if (step.phase === "item") stored++
        }
      })
    }),
    act: goingOn(() => Effect.void),
    finish: goingOn(migrateAll)
  },
  retry: {
    prepare: inOrder(writeSources, breakSources, migrateAndNote, ({ source }) => Effect.sync(() => mend(source))),
    act: retryNoted,
    finish: goingOn(retryNoted)
  },
  replay: {
    prepare: inOrder(writeSources, breakSources, migrateAll, (place) =>
      Effect.gen(function* () {
        const rejects = yield* listRejects(place.database, undefined)
        yield* exportRejects({ rejects, out: place.mended })
        mend(place.mended)
      })
    ),
    act: replayMended,
    finish: goingOn(replayMended)
  },
  rollback: { prepare: inOrder(writeSources, migrateAll, changeSources, migrateAndNote), act: undoNoted },
  "restore a savepoint": {
    prepare: inOrder(
      writeSources,
      migrateAll,
      ({ database }) => createSavepoint({ database, name: "before", program }),
      changeSources,
      migrateAll
    ),
    act: goBack
  },
  "restore the originals": {
    prepare: inOrder(writeSources, migrateAll, (place) =>
      Effect.sync(() => {
        rememberOriginals(place)
        for (const path of filesNamed(place.source, /\.json$/).filter((_, at) => at % 3 > 0)) rmSync(path)
      })
    ),
    act: restoreOriginals,
    originals: "come-back"
  },
  purge: { prepare: inOrder(writeSources, migrateAll, deleteSome), act: removeDeleted }
}
