/**
 * Verification as a command: the whole database against its own digests and, when sources are named, the documents
 * against the files they came from, by a reader that shares no code with the one that stored them.
 */
import {
  type Finding,
  MAX_FINDINGS,
  openStore,
  queryRows,
  verifyDatabase,
  type VerifyReport
} from "@mallard/duckdb-store"
import { digestOfSource, findSources, type Source, SourceError } from "@mallard/legacy-json"
import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { expandDatabases } from "./HealthSimDatabase.ts"
import { MigrationFailed } from "./MigrateOptions.ts"
import { HEADS } from "./internal/reading.ts"

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

export interface FullVerifyReport extends Omit<VerifyReport, "findings"> {
  readonly findings: ReadonlyArray<Finding | SourceFinding>
  /** Source files compared, and how many of them the database holds. */
  readonly sources: { readonly checked: number; readonly matched: number; readonly mismatched: number }
}

/** Verifies a database from a fresh read-only connection. */
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
        const compared = yield* compareSources(client, sources)
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
          }
        }
        return full
      }).pipe(
        Effect.catchTag("SqlError", (cause) => Effect.fail(new MigrationFailed({ database: options.database, cause })))
      )
    })
  )
})

/** Compares source files with the parts of current cohorts. */
const compareSources = Effect.fnUntraced(function* (client: DuckDbSqlClient, sources: ReadonlyArray<Source>) {
  const findings: Array<SourceFinding> = []
  let checked = 0
  if (sources.length === 0) return { findings, checked }
  const digests = new Set<string>()
  const paths = new Map<string, string>()
  for (const [path, digest, sha256] of yield* queryRows(
    client,
    `SELECT p.path, p.digest, p.source_sha256 FROM mallard.parts p JOIN
       ${HEADS} h
       ON h.content_id = p.content_id WHERE h.change <> 'deleted'`
  )) {
    digests.add(`${path}\t${digest}`)
    paths.set(`${path}\t${sha256}`, String(digest))
  }
  const loaded = new Set(
    (yield* queryRows(client, "SELECT DISTINCT path FROM mallard.migration_items WHERE outcome = 'migrated'")).map(
      ([path]) => String(path)
    )
  )
  for (const source of sources) {
    for (const file of source.files) {
      checked++
      const read = yield* digestOfSource(file).pipe(Effect.catchTag("SourceError", (error) => Effect.succeed(error)))
      if (read instanceof SourceError) {
        findings.push({ code: "source-unreadable", where: file.path, message: read.detail })
        continue
      }
      if (digests.has(`${file.name}\t${read.digest}`)) continue
      const sameBytes = paths.get(`${file.name}\t${read.sourceSha256}`)
      if (sameBytes !== undefined) {
        findings.push({
          code: "document-differs",
          where: file.path,
          message: "the database holds these bytes under another digest: the readers disagree; please report it"
        })
      } else if (loaded.has(source.path)) {
        findings.push({
          code: "source-changed",
          where: file.path,
          message: "it was migrated, and its content is another one now; migrate again"
        })
      } else
        findings.push({
          code: "source-not-stored",
          where: file.path,
          message: "no current cohort holds it; migrate it"
        })
    }
  }
  return { findings, checked }
})
