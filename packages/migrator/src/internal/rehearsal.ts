/** A run that writes nothing: everything is read, decided and, where rules ask for rows, loaded into a database that goes. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { BatchWriter, openStore, readRuns, removeScratch, scratchPrefix, StoreError } from "@mallard/duckdb-store"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import type { StoredHead } from "../Decision.ts"
import type { MigrateOptions } from "../MigrateOptions.ts"
import type { ItemReport } from "../Report.ts"
import { comparedWith, type Known, readRejected } from "./comparing.ts"
import type { TakenSources } from "./finding.ts"
import { readHistory } from "./history.ts"
import { Loader } from "./Loader.ts"
import { startReadThreads } from "./readAhead.ts"
import { failing, reading } from "./reading.ts"
import type { Loaded } from "./loading.ts"
import { type KnownItem, readStored, type Stored } from "./stored.ts"

export const rehearse = Effect.fnUntraced(function* (
  options: MigrateOptions,
  found: TakenSources,
  run: string,
  unreadable: ReadonlyArray<ItemReport>
) {
  const stored = yield* reading(
    options.database,
    Effect.gen(function* () {
      const history = yield* readHistory(yield* readRuns())
      return { ...(yield* readStored(yield* DuckDbClient)), history, rejects: yield* readRejected(history) }
    })
  ).pipe(
    // A run makes a database that is not there; any other that does not open is refused by it too.
    Effect.catchIf(
      (error) => error instanceof StoreError && error.reason === "missing",
      () => Effect.succeed(nothingStored)
    )
  )
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
  const { items: compared, removed } = yield* comparedWith(stored, options, found, [...reports, ...unreadable])
  const items = compared.slice(0, reports.length)
  const loaded: Loaded = {
    items,
    removed,
    interrupted: loader.interrupted,
    verifyFrom: undefined,
    resumed: undefined,
    exceeded: false,
    endFailure: undefined,
    slowest: loader.slowest.list,
    duckdb: "",
    backup: undefined,
    backupMs: 0,
    notes: []
  }
  return loaded
})

const nothingStored: Stored & Known = {
  heads: new Map<string, StoredHead>(),
  known: new Map<string, ReadonlyMap<string, KnownItem>>(),
  rivals: new Set<string>(),
  history: [],
  rejects: new Map()
}

/** Whether the content is checked by rules, which are asked of rows. */
const needsRows = ({ rules, strict }: MigrateOptions): boolean => rules !== undefined || strict === true

/** Stands in the names of its folders, so that those of killed processes are found and removed. */
const SCRATCH = "rehearsal"

/** The same as a run, in a database that is gone afterwards. */
const rehearseInScratch = Effect.fnUntraced(function* (
  options: MigrateOptions,
  stored: Stored,
  found: TakenSources,
  run: string
) {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => {
      removeScratch(tmpdir(), SCRATCH)
      return mkdtempSync(join(tmpdir(), scratchPrefix(SCRATCH)))
    }),
    (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
  )
  const path = join(folder, "rehearsal.duckdb")
  const threads = yield* startReadThreads(options, found.sources)
  const client = yield* openStore({
    path,
    program: options.program,
    memoryLimit: options.memoryLimit,
    threads: options.jobs,
    expectedBytes: found.bytes
  })
  return yield* Effect.gen(function* () {
    const writer = yield* BatchWriter.make(client, options.memoryLimit === undefined)
    const loader = new Loader({ options, found: found.sources, stored, writer, run, rejectedBefore: 0, threads })
    yield* Effect.withSpan(loader.run(), "mallard.read")
    return loader
  }).pipe(failing(path, "writing"))
})
