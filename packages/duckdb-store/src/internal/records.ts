/**
 * What the tables say of cohorts and runs, row by row: revisions, files, digests, runs and their items. Each function asks
 * one statement.
 */

import { LIST, VARCHAR } from "@duckdb/node-api"
import { type DuckDbSqlClient, typed } from "@mallard/sql-duckdb"
import { Effect, Schema } from "effect"
import type { HeadDigest, Part, Revision, Run, RunItem, StoredSource } from "../CohortStore.ts"
import { query } from "./query.ts"

/** The statements of this module. */
export const recordStatements = {
  history: `SELECT revision_id, cohort_id, seq, predecessor, run_id, change, name, description, tags, product,
  legacy_id, created_at, updated_at, saved_at, digest, content_id
FROM mallard.recorded_revisions WHERE cohort_id = CAST(? AS UUID) ORDER BY seq`,
  parts: `SELECT part, path, format, bytes, source_sha256, digest, encoding
FROM mallard.parts WHERE content_id = CAST(? AS BIGINT) ORDER BY part`,
  sources: `SELECT p.path, p.source_sha256, p.digest, p.bytes, h.cohort_id, h.name, h.revision_id, h.content_id, p.part,
  n.parts
FROM mallard.heads h
JOIN mallard.parts p ON p.content_id = h.content_id
JOIN (SELECT content_id, count(*) AS parts FROM mallard.parts GROUP BY content_id) n ON n.content_id = h.content_id
ORDER BY h.revision_id, p.part`,
  sourcesOf: `SELECT p.path, p.source_sha256, p.digest, p.bytes, h.cohort_id, h.name, h.revision_id, h.content_id, p.part,
  n.parts
FROM mallard.heads h
JOIN mallard.parts p ON p.content_id = h.content_id
JOIN (SELECT content_id, count(*) AS parts FROM mallard.parts GROUP BY content_id) n ON n.content_id = h.content_id
WHERE p.source_sha256 IN (SELECT unnest(?))
ORDER BY h.revision_id, p.part`,
  digests: "SELECT cohort_id, name, revision_id, seq, digest FROM mallard.heads ORDER BY revision_id",
  runs: `SELECT s.run_id, s.at AS started_at, f.at AS finished_at, coalesce(v.outcome, f.outcome) AS outcome, s.options, f.totals, s.program
FROM mallard.migration_runs s
LEFT JOIN mallard.migration_runs f ON f.run_id = s.run_id AND f.event = 'finished'
LEFT JOIN mallard.migration_runs v ON v.run_id = s.run_id AND v.event IN ('verified', 'stopped')
WHERE s.event = 'started' ORDER BY s.at, s.run_id`,
  items: `SELECT item, path, outcome, format, bytes, source_sha256, revision_id, cohort_id, digest, entities, remarks
FROM mallard.migration_items WHERE run_id = TRY_CAST(? AS UUID) ORDER BY item, rowid`
} as const

interface RevisionRow {
  readonly revision_id: bigint
  readonly cohort_id: string
  readonly seq: number
  readonly predecessor: bigint | null
  readonly run_id: string | null
  readonly change: "saved" | "deleted" | "restored"
  readonly name: string
  readonly description: string | null
  readonly tags: string
  readonly product: string | null
  readonly legacy_id: string | null
  readonly created_at: string | null
  readonly updated_at: string | null
  readonly saved_at: string
  readonly digest: string
  readonly content_id: bigint
}

/** All revisions of the cohort of this id, oldest first. */
export const readHistory = (sql: DuckDbSqlClient, cohortId: string) =>
  Effect.map(query<RevisionRow>(sql, recordStatements.history, [cohortId]), (rows) => rows.map(revisionOf))

/** The parts of a content, in order. */
export const readParts = Effect.fnUntraced(function* (sql: DuckDbSqlClient, contentId: number) {
  const rows = yield* query<{
    readonly part: number
    readonly path: string
    readonly format: string
    readonly bytes: bigint
    readonly source_sha256: string
    readonly digest: string
    readonly encoding: string
  }>(sql, recordStatements.parts, [String(contentId)])
  return rows.map(({ source_sha256, bytes, ...row }): Part => ({
    ...row,
    bytes: Number(bytes),
    sourceSha256: source_sha256
  }))
})

interface SourceRow {
  readonly path: string
  readonly source_sha256: string
  readonly digest: string
  readonly bytes: bigint
  readonly cohort_id: string
  readonly name: string
  readonly revision_id: bigint
  readonly content_id: bigint
  readonly part: number
  readonly parts: bigint
}

/** The files with these hashes, or all files, that heads consist of. */
export const readSources = Effect.fnUntraced(function* (sql: DuckDbSqlClient, sourceSha256s?: Iterable<string>) {
  const rows =
    sourceSha256s === undefined
      ? yield* query<SourceRow>(sql, recordStatements.sources)
      : yield* query<SourceRow>(sql, recordStatements.sourcesOf, [typed([...sourceSha256s], LIST(VARCHAR))])
  return rows.map((row): StoredSource => ({
    path: row.path,
    sourceSha256: row.source_sha256,
    digest: row.digest,
    bytes: Number(row.bytes),
    cohortId: row.cohort_id,
    cohortName: row.name,
    revisionId: Number(row.revision_id),
    contentId: Number(row.content_id),
    part: row.part,
    parts: Number(row.parts)
  }))
})

/** The digest of each head. */
export const readDigests = (sql: DuckDbSqlClient) =>
  Effect.map(
    query<Pick<RevisionRow, "cohort_id" | "name" | "revision_id" | "seq" | "digest">>(sql, recordStatements.digests),
    (rows) =>
      rows.map(({ cohort_id, revision_id, ...row }): HeadDigest => ({
        ...row,
        cohortId: cohort_id,
        revisionId: Number(revision_id)
      }))
  )

/** All runs, oldest first. */
export const readRunEvents = (sql: DuckDbSqlClient) =>
  Effect.map(
    query<{
      readonly run_id: string
      readonly started_at: string
      readonly finished_at: string | null
      readonly outcome: string | null
      readonly options: string | null
      readonly totals: string | null
      readonly program: string
    }>(sql, recordStatements.runs),
    (rows) =>
      rows.map((row): Run => ({
        runId: row.run_id,
        startedAt: row.started_at,
        finishedAt: row.finished_at ?? undefined,
        outcome: row.outcome ?? undefined,
        options: row.options ?? undefined,
        totals: row.totals ?? undefined,
        program: row.program
      }))
  )

/** The items of a run, in order. */
export const readItems = Effect.fnUntraced(function* (sql: DuckDbSqlClient, runId: string) {
  const rows = yield* query<{
    readonly item: number
    readonly path: string
    readonly outcome: string
    readonly format: string | null
    readonly bytes: bigint | null
    readonly source_sha256: string | null
    readonly revision_id: bigint | null
    readonly cohort_id: string | null
    readonly digest: string | null
    readonly entities: string
    readonly remarks: string
  }>(sql, recordStatements.items, [runId])
  return rows.map((row): RunItem => ({
    item: row.item,
    path: row.path,
    outcome: row.outcome,
    format: row.format ?? undefined,
    bytes: row.bytes === null ? undefined : Number(row.bytes),
    sourceSha256: row.source_sha256 ?? undefined,
    revisionId: row.revision_id === null ? undefined : Number(row.revision_id),
    cohortId: row.cohort_id ?? undefined,
    digest: row.digest ?? undefined,
    entities: readCounts(row.entities),
    remarks: row.remarks
  }))
})

const readTags = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Array(Schema.String)))
const readCounts = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Record(Schema.String, Schema.Int)))

const revisionOf = (row: RevisionRow): Revision => ({
  revisionId: Number(row.revision_id),
  cohortId: row.cohort_id,
  seq: row.seq,
  name: row.name,
  description: row.description ?? undefined,
  tags: readTags(row.tags),
  product: row.product ?? undefined,
  legacyId: row.legacy_id ?? undefined,
  createdAt: row.created_at ?? undefined,
  updatedAt: row.updated_at ?? undefined,
  savedAt: row.saved_at,
  digest: row.digest,
  contentId: Number(row.content_id),
  predecessor: row.predecessor === null ? undefined : Number(row.predecessor),
  runId: row.run_id ?? undefined,
  change: row.change
})
