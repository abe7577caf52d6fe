/**
 * What a database knows of the sources of its cohorts: the latest revisions, the files that they consist of, and what runs
 * made of each path. Reads only, all rows of a question at once; rows that the ledger does not record do not exist here.
 */
import { type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect, Schema } from "effect"
import { LATEST, type RevisionState, STATE, stateOf } from "./internal/content.ts"
import { quoteText } from "./Quoting.ts"
import { blobText, queryRows } from "./Rendering.ts"

/** The latest revision of a cohort, deleted ones included. */
export interface LatestRevision {
  readonly name: string
  readonly cohortId: string
  readonly revisionId: number
  readonly seq: number
  /** SHA-256 of the content. */
  readonly digest: string
  /** The revision whose parts and members it uses. */
  readonly contentId: number
  readonly isDeleted: boolean
}

/** A file that the head of a cohort consists of. */
export interface StoredFile {
  /** Name of the file within the cohort. */
  readonly path: string
  /** SHA-256 of the compact text. */
  readonly digest: string
  /** SHA-256 of the bytes. */
  readonly sourceSha256: string
}

/** A source that a run stored, and whose content a cohort still has. */
export interface StoredItem {
  readonly path: string
  readonly sourceSha256: string
  /** Name of the cohort, as it is now. */
  readonly cohort: string
  readonly cohortId: string
  readonly digest: string
  readonly format: string
  readonly entities: Readonly<Record<string, number>>
}

/** What a run made of the source at a path. */
export interface SeenItem {
  readonly runId: string
  readonly path: string
  readonly sourceSha256: string | undefined
  readonly outcome: string
  /** Whether the content that it was stored as is that of a cohort now. */
  readonly isHeld: boolean
}

/** The latest revision of each cohort, in the order in which they were made. */
export const readLatestRevisions = (sql: DuckDbSqlClient) =>
  Effect.map(queryRows(sql, sourceStatements.latest), (rows) =>
    rows.map(([name, cohortId, revisionId, seq, digest, contentId, change]): LatestRevision => ({
      name: blobText(name),
      cohortId: String(cohortId),
      revisionId: Number(revisionId),
      seq: Number(seq),
      digest: String(digest),
      contentId: Number(contentId),
      isDeleted: change === "deleted"
    }))
  )

/** The contents that cohorts have now, by their SHA-256. */
export const readLiveDigests = (sql: DuckDbSqlClient) =>
  Effect.map(
    queryRows(sql, sourceStatements.live),
    (rows): ReadonlySet<string> => new Set(rows.map(([digest]) => String(digest)))
  )

/** The revision of this id, with all that a next one takes over; undefined where there is none. */
export const readRevision = (sql: DuckDbSqlClient, revisionId: number) =>
  Effect.map(
    sql.unsafe(sourceStatements.revision, [String(revisionId)]).valuesUnprepared,
    ([row]): RevisionState | undefined => (row === undefined ? undefined : stateOf(row))
  )

/** The files of all cohorts that are not deleted, in no order. */
export const readStoredFiles = (sql: DuckDbSqlClient) =>
  Effect.map(queryRows(sql, sourceStatements.files), (rows) =>
    rows.map(([path, digest, sha256]): StoredFile => ({
      path: String(path),
      digest: String(digest),
      sourceSha256: String(sha256)
    }))
  )

/** The sources that all runs stored and that cohorts still have, in no order. */
export const readStoredItems = (sql: DuckDbSqlClient) =>
  Effect.map(queryRows(sql, sourceStatements.stored), (rows) =>
    rows.map(([path, sha256, cohort, cohortId, digest, format, entities]): StoredItem => ({
      path: String(path),
      sourceSha256: String(sha256),
      cohort: blobText(cohort),
      cohortId: String(cohortId),
      digest: String(digest),
      format: String(format),
      entities: readCounts(entities)
    }))
  )

/**
 * What each run made of the sources that it came to, in the order of the run's items; of two outcomes of one item, that it
 * was stored comes first. Unchanged sources have no item.
 */
export const readSeenItems = (sql: DuckDbSqlClient) =>
  Effect.map(queryRows(sql, sourceStatements.seen), (rows) =>
    rows.map(([runId, path, sha256, outcome, isHeld]): SeenItem => ({
      runId: String(runId),
      path: String(path),
      sourceSha256: typeof sha256 === "string" ? sha256 : undefined,
      outcome: String(outcome),
      isHeld: isHeld === true
    }))
  )

/** Names and digests of the files that some revision has and no current cohort has under that name. */
export const readFormerFiles = (sql: DuckDbSqlClient) =>
  Effect.map(queryRows(sql, sourceStatements.formerFiles), (rows) =>
    rows.map(([path, digest]) => ({ path: String(path), digest: String(digest) }))
  )

/** The paths from which any run stored something. */
export const readMigratedPaths = (sql: DuckDbSqlClient) =>
  Effect.map(
    queryRows(sql, sourceStatements.migrated),
    (rows): ReadonlySet<string> => new Set(rows.map(([path]) => String(path)))
  )

/** The sources that any run gave this outcome with a remark of this code: their paths, and the hashes of their bytes. */
export const readRemarked = (sql: DuckDbSqlClient, outcome: "rejected" | "skipped", code: string) =>
  Effect.map(queryRows(sql, remarkedSql(outcome, code)), (rows) =>
    rows.map(([path, sha256]) => ({ path: String(path), sourceSha256: String(sha256) }))
  )

const remarkedSql = (outcome: string, code: string): string =>
  `SELECT DISTINCT path, source_sha256 FROM mallard.migration_items
WHERE outcome = ${quoteText(outcome)} AND contains(remarks, ${quoteText(`"${code}"`)})`

/** The statements of this module. */
export const sourceStatements = {
  // Names travel as bytes: nothing depends on how the client decodes them.
  latest: `SELECT encode(name), cohort_id::VARCHAR, revision_id, seq, digest, content_id, change
FROM ${LATEST} ORDER BY revision_id`,
  live: "SELECT DISTINCT digest FROM mallard.heads",
  revision: `SELECT ${STATE} FROM mallard.recorded_revisions WHERE revision_id = CAST(? AS BIGINT)`,
  files: `SELECT p.path, p.digest, p.source_sha256
FROM mallard.parts p JOIN mallard.heads h ON h.content_id = p.content_id`,
  formerFiles: `SELECT DISTINCT p.path, p.digest
FROM mallard.parts p ANTI JOIN mallard.heads h ON h.content_id = p.content_id`,
  stored: `SELECT i.path, i.source_sha256, encode(h.name), h.cohort_id::VARCHAR, i.digest, i.format, i.entities
FROM mallard.migration_items i JOIN mallard.heads h ON h.content_id = i.revision_id WHERE i.outcome = 'migrated'`,
  seen: `SELECT i.run_id::VARCHAR, i.path, i.source_sha256, i.outcome, h.content_id IS NOT NULL
FROM mallard.migration_items i LEFT JOIN mallard.heads h ON h.content_id = i.revision_id
WHERE NOT regexp_matches(i.remarks, '"code":"(interrupted|too-many-rejects|gone)"')
ORDER BY i.run_id, i.item, i.outcome <> 'migrated'`,
  migrated: "SELECT DISTINCT path FROM mallard.migration_items WHERE outcome = 'migrated'",
  remarked: remarkedSql("rejected", "name-conflict")
} as const

const readCounts = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Record(Schema.String, Schema.Int)))
