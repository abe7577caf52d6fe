/**
 * Verification as a command: the whole database against its own digests and, when sources are named, the documents
 * against the files they came from, by a reader that shares no code with the one that stored them.
 */
import {
  BatchWriter,
  type Finding,
  MAX_FINDINGS,
  openStore,
  readFormerFiles,
  readMigratedPaths,
  readRemarked,
  readStoredFiles,
  verifyDatabase,
  type VerifyReport
} from "@mallard/duckdb-store"
import { digestOfSource, findSources, type Source, SourceError } from "@mallard/legacy-json"
import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { expandDatabases } from "./HealthSimDatabase.ts"
import { defaultLimits } from "./MigrateOptions.ts"
import type { ItemReport } from "./Report.ts"
import { Loader } from "./internal/Loader.ts"
import { failing } from "./internal/reading.ts"
import { readStored } from "./internal/stored.ts"

/** What is verified, and with how much of the machine. */
export interface VerifyOptions {
  /** Absolute path of the database. */
  readonly database: string
  /** Files and folders to compare with; none: the database alone. */
  readonly sources: ReadonlyArray<string>
  readonly memoryLimit?: string | undefined
  /** How much is computed at once. */
  readonly jobs?: number | undefined
  readonly cwd?: string | undefined
  readonly onProgress?: ((done: number, documents: number) => void) | undefined
}

/** A source file that the database does not hold as it is. */
export interface SourceFinding {
  readonly code: "source-not-stored" | "source-changed" | "source-unreadable" | "document-differs"
  /** Path of the file. */
  readonly where: string
  readonly message: string
}

/** A source file that the database need not hold. */
export interface SourceNote {
  readonly code: "not-a-cohort"
  /** Path of the file. */
  readonly where: string
  readonly message: string
}

/** What `verify` found. */
export interface FullVerifyReport extends Omit<VerifyReport, "findings"> {
  readonly findings: ReadonlyArray<Finding | SourceFinding>
  /** Source files compared, and how many of them the database holds, be it under the name of another file. */
  readonly sources: { readonly checked: number; readonly matched: number; readonly mismatched: number }
  /** Source files that were not compared, for they are no cohorts. */
  readonly notes: ReadonlyArray<SourceNote>
}

/**
 * Proves a database against its own digests from a fresh read-only connection, and compares source files with what it
 * holds; what is not as it should be is a finding and no failure. What is compared stands in `docs/promises.md` at P1.
 *
 * `findings` are the database's and then the sources', at most 1,000 of them; `findingCount` counts all. A file counts as
 * held when a cohort that is not deleted has its bytes or its compact text, under whatever file name. Reads every row, and
 * every source once; writes nothing.
 *
 * Fails with a `SourceError` for the first path that is not there, before the database is opened, with a `StoreError` when
 * that cannot be opened, and with `MigrationFailed` when it fails while it is read.
 */
export const verify = Effect.fn("verify")(function* (options: VerifyOptions) {
  const found =
    options.sources.length === 0
      ? undefined
      : yield* findSources(options.sources, options.cwd === undefined ? {} : { cwd: options.cwd })
  const [missing] = found?.missing ?? []
  if (missing !== undefined) return yield* missing
  return yield* Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openStore({
        path: options.database,
        readonly: true,
        memoryLimit: options.memoryLimit,
        threads: options.jobs
      })
      return yield* Effect.gen(function* () {
        const report = yield* verifyDatabase(client, { onDocument: options.onProgress })
        const { sources, unread } = yield* expandDatabases(found?.sources ?? [], {
          target: options.database,
          memoryLimit: options.memoryLimit
        })
        const compared = yield* compareSources(client, sources, options)
        const unreadable = [
          ...(found?.unreadable ?? []).map(({ detail, path }) => ({ message: detail, path })),
          ...unread.filter(({ outcome }) => outcome === "rejected")
        ].map(({ message, path }): SourceFinding => ({ code: "source-unreadable", where: path, message }))
        const findings = [...compared.findings, ...unreadable]
        const full: FullVerifyReport = {
          ...report,
          findings: [...report.findings, ...findings].slice(0, MAX_FINDINGS),
          findingCount: report.findingCount + findings.length,
          sources: {
            checked: compared.checked + unreadable.length,
            matched: compared.checked - compared.findings.length,
            mismatched: findings.length
          },
          notes: compared.notes.slice(0, MAX_FINDINGS)
        }
        return full
      }).pipe(failing(options.database, "reading"))
    })
  )
})

/** A source file that no part of its name holds as it is: it is named unless a run would leave it out. */
interface Doubtful {
  readonly finding: SourceFinding
  readonly digest: string
  readonly sourceSha256: string
}

interface Compared {
  readonly source: Source
  readonly certain: ReadonlyArray<SourceFinding>
  readonly doubtful: ReadonlyArray<Doubtful>
}

/** Compares source files with the parts of current cohorts. */
const compareSources = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  sources: ReadonlyArray<Source>,
  options: VerifyOptions
) {
  const findings: Array<SourceFinding> = []
  const notes: Array<SourceNote> = []
  let checked = 0
  if (sources.length === 0) return { findings, notes, checked }
  const held = yield* readHeld(client)
  const all: Array<Compared> = []
  for (const source of sources) {
    checked += source.files.length
    all.push(yield* compareSource(source, held))
  }
  const items = yield* itemsOf(
    client,
    all.flatMap(({ doubtful, source }) => (doubtful.length > 0 ? [source] : [])),
    options
  )
  for (const { certain, doubtful, source } of all) {
    findings.push(...certain)
    const item = items.get(source.path)
    // Both readers must say so: the one that shares no code has the digest, the other one the name.
    if (item?.outcome === "unchanged" && doubtful.every(({ digest }) => held.contents.has(digest))) continue
    const remark = item?.remarks.find(({ code }) => code === "not-a-cohort")
    const [reason] = item?.outcome === "rejected" ? item.remarks : []
    for (const { finding, sourceSha256 } of doubtful) {
      // What was a cohort and is none any more has changed, unless a run has seen that since.
      const isLeft = !held.loaded.has(source.path) || held.left.has(`${source.path}\t${sourceSha256}`)
      if (reason !== undefined) {
        // Migrating it as it is would not store it.
        findings.push({ ...finding, message: `a run would reject it: ${reason.message}` })
      } else if (remark === undefined || !isLeft) findings.push(finding)
      else {
        notes.push({ code: "not-a-cohort", where: finding.where, message: remark.message })
        checked--
      }
    }
  }
  return { findings, notes, checked }
})

/** What the database says of source files; keys are two texts with a tab between. */
interface Held {
  /** Digests of the parts of current cohorts. */
  readonly contents: ReadonlySet<string>
  /** Names and digests of them. */
  readonly parts: ReadonlySet<string>
  /** Names and hashes of the bytes of them. */
  readonly bytes: ReadonlySet<string>
  /** Names and digests of the parts of former revisions and of deleted cohorts. */
  readonly former: ReadonlySet<string>
  /** Paths that runs have migrated. */
  readonly loaded: ReadonlySet<string>
  /** Paths that runs have left as no cohorts, and the hashes of their bytes. */
  readonly left: ReadonlySet<string>
}

const readHeld = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  const contents = new Set<string>()
  const parts = new Set<string>()
  const bytes = new Set<string>()
  for (const { digest, path, sourceSha256 } of yield* readStoredFiles(client)) {
    contents.add(digest)
    parts.add(`${path}\t${digest}`)
    bytes.add(`${path}\t${sourceSha256}`)
  }
  const left = yield* readRemarked(client, "skipped", "not-a-cohort")
  const held: Held = {
    contents,
    parts,
    bytes,
    former: new Set((yield* readFormerFiles(client)).map(({ digest, path }) => `${path}\t${digest}`)),
    loaded: yield* readMigratedPaths(client),
    left: new Set(left.map(({ path, sourceSha256 }) => `${path}\t${sourceSha256}`))
  }
  return held
})

const compareSource = Effect.fnUntraced(function* (source: Source, held: Held) {
  const certain: Array<SourceFinding> = []
  const doubtful: Array<Doubtful> = []
  for (const file of source.files) {
    const read = yield* digestOfSource(file).pipe(Effect.catchTag("SourceError", (error) => Effect.succeed(error)))
    if (read instanceof SourceError) {
      certain.push({ code: "source-unreadable", where: file.path, message: read.detail })
      continue
    }
    if (held.parts.has(`${file.name}\t${read.digest}`)) continue
    if (held.bytes.has(`${file.name}\t${read.sourceSha256}`)) {
      certain.push({
        code: "document-differs",
        where: file.path,
        message: "the database holds these bytes under another digest: the readers disagree; please report it"
      })
      continue
    }
    const isFormer = held.former.has(`${file.name}\t${read.digest}`)
    const [code, message] = !held.loaded.has(source.path)
      ? (["source-not-stored", "no current cohort holds it; migrate it"] as const)
      : isFormer
        ? (["source-not-stored", "it is not stored any more: undone, deleted or replaced; migrate it again"] as const)
        : (["source-changed", "it was migrated, and its content is another one now; migrate again"] as const)
    const finding: SourceFinding = { code, where: file.path, message }
    doubtful.push({ finding, digest: read.digest, sourceSha256: read.sourceSha256 })
  }
  const compared: Compared = { source, certain, doubtful }
  return compared
})

/**
 * What a run would do with sources, by path. Digests alone do not tell: a document without a name of its own is another
 * cohort in a file of another name.
 */
const itemsOf = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  sources: ReadonlyArray<Source>,
  { cwd, database, jobs }: VerifyOptions
) {
  const items = new Map<string, ItemReport>()
  if (sources.length === 0) return items
  // A ledger that was tampered with may not be readable; that has been found already, and excuses no source.
  const stored = yield* Effect.catchDefect(readStored(client), () => Effect.succeed(undefined))
  if (stored === undefined) return items
  const loader = new Loader({
    options: {
      ...defaultLimits,
      paths: sources.map(({ path }) => path),
      database,
      dryRun: true,
      program: "verify",
      // Content that a run has stored under a name beside the taken one counts as well.
      onConflict: "rename",
      rules: { duplicate_ids: "off" },
      jobs,
      cwd
    },
    found: sources,
    stored,
    writer: BatchWriter.dry(),
    run: NO_RUN,
    rejectedBefore: 0,
    threads: undefined
  })
  yield* loader.run()
  for (const item of loader.reports) items.set(item.path, item)
  return items
})

/** Id of a run that no ledger will know. */
const NO_RUN = "00000000-0000-0000-0000-000000000000"
