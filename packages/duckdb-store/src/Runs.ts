/**
 * What the ledger knows of runs: who ran what and when, what came of it, what was copied before and proven after. Reads
 * only.
 */

import { kinds } from "@mallard/schema"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect, Option, Schema } from "effect"
import { query } from "./internal/query.ts"
import { quoteName } from "./Quoting.ts"

/** One run, from all its events. */
export interface LedgerRun {
  readonly runId: string
  /** UTC, `YYYY-MM-DDTHH:MM:SS[.ffffff]`. */
  readonly startedAt: string
  readonly finishedAt: string | undefined
  /** Of the last event that tells one; undefined for a run that was cut short. */
  readonly outcome: string | undefined
  readonly program: string
  /** JSON of what was asked. */
  readonly options: string | undefined
  /** JSON of the sums. */
  readonly totals: string | undefined
  /** JSON of what else is known at the end. */
  readonly facts: string | undefined
  /** JSON of what the proof found; undefined if there was none. */
  readonly proof: string | undefined
  /** It was stopped when all was stored and the proof that was asked for was not at its end. */
  readonly isProofStopped: boolean
  /** Revisions that it made, and the first of them. */
  readonly revisions: number
  readonly firstRevision: number | undefined
}

/** The copy that was made before a run wrote. */
export interface LedgerBackup {
  readonly backupId: string
  readonly runId: string | undefined
  readonly at: string
  readonly path: string
  readonly files: number
  readonly bytes: number
  readonly manifestSha256: string
}

/** One of several files that a source of a run consists of. */
export interface LedgerPart {
  /** The revision that the source was stored as. */
  readonly revisionId: number
  /** Name of the file within the cohort. */
  readonly path: string
  readonly format: string
  readonly bytes: number
  /** SHA-256 of the compact text. */
  readonly digest: string
  /** SHA-256 of the bytes. */
  readonly sourceSha256: string
}

/** One shape among the rows that a run added to the table of a kind. */
export interface ShapeUse {
  readonly kind: string
  /** 0 where the rows have templates of their own. */
  readonly shapeId: number
  /** Empty for shape 0. */
  readonly template: string
  readonly rows: number
}

/** No run, or more than one, has an id that begins like this. */
export class RunNotFound extends Schema.TaggedError<RunNotFound>()("RunNotFound", {
  wanted: Schema.String,
  /** Ids of the runs that begin like this. */
  candidates: Schema.Array(Schema.String)
}) {
  override get message(): string {
    if (this.wanted === "") return "No run is named. Give its id, how that begins, or `last`."
    return this.candidates.length === 0
      ? `There is no run ${this.wanted}. List the runs to see their ids.`
      : `${this.candidates.length} runs begin with ${this.wanted}. Give more of the id.`
  }
}

/**
 * All runs in the order in which they first committed. Rows are never taken away, so it is that of the rows: times are not
 * to be trusted for it, and a copy of the database does not have the commits.
 */
export const readRuns = Effect.fn("Runs.readRuns")(function* () {
  const sql = yield* DuckDbClient
  const rows = yield* query<{
    readonly run_id: string
    readonly started_at: string
    readonly finished_at: string | null
    readonly outcome: string | null
    readonly program: string
    readonly options: string | null
    readonly totals: string | null
    readonly facts: string | null
    readonly proof: string | null
    readonly is_proof_stopped: boolean | null
    readonly revisions: bigint
    readonly first_revision: bigint | null
  }>(sql, runStatements.runs)
  return rows.map((row): LedgerRun => ({
    runId: row.run_id,
    startedAt: row.started_at,
    finishedAt: row.finished_at ?? undefined,
    outcome: row.outcome ?? undefined,
    program: row.program,
    options: row.options ?? undefined,
    totals: row.totals ?? undefined,
    facts: row.facts ?? undefined,
    proof: row.proof ?? undefined,
    isProofStopped: row.is_proof_stopped ?? false,
    revisions: Number(row.revisions),
    firstRevision: row.first_revision === null ? undefined : Number(row.first_revision)
  }))
})

/**
 * The run of this id, or of the only id that begins like this. For `last` it is the last one that somebody asked for to
 * change cohorts: neither a savepoint nor a purge, nor what undid a run because it rejected too much.
 */
export const findRun = Effect.fn("Runs.findRun")(function* (wanted: string) {
  const runs = yield* readRuns()
  const found =
    wanted === "last"
      ? runs.filter(isAskedFor).slice(-1)
      : runs.filter(({ runId }) => runId.startsWith(wanted.toLowerCase()))
  const [run] = found
  if (run === undefined || found.length > 1 || wanted === "") {
    return yield* new RunNotFound({ wanted, candidates: found.map(({ runId }) => runId) })
  }
  return run
})

const isAskedFor = ({ options }: LedgerRun): boolean =>
  !Option.exists(
    readAutomatic(options),
    ({ command, reason }) => command === "savepoint" || command === "purge" || reason !== undefined
  )

const readAutomatic = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({ command: Schema.optionalKey(Schema.String), reason: Schema.optionalKey(Schema.String) })
  )
)

/** The copies that were made, in the order in which they were. */
export const readBackups = Effect.fn("Runs.readBackups")(function* () {
  const sql = yield* DuckDbClient
  const rows = yield* query<{
    readonly backup_id: string
    readonly run_id: string | null
    readonly at: string
    readonly path: string
    readonly files: bigint
    readonly bytes: bigint
    readonly manifest_sha256: string
  }>(sql, runStatements.backups)
  return rows.map((row): LedgerBackup => ({
    backupId: row.backup_id,
    runId: row.run_id ?? undefined,
    at: row.at,
    path: row.path,
    files: Number(row.files),
    bytes: Number(row.bytes),
    manifestSha256: row.manifest_sha256
  }))
})

/** An item that a run did not store. */
export interface LedgerReject {
  readonly runId: string
  readonly item: number
  readonly path: string
  readonly outcome: string
  readonly bytes: number
  /** JSON, as the run wrote it. */
  readonly remarks: string
}

/** The items that runs rejected or failed to store. */
export const readRejects = Effect.fn("Runs.readRejects")(function* () {
  const sql = yield* DuckDbClient
  const rows = yield* query<{
    readonly run_id: string
    readonly item: number
    readonly path: string
    readonly outcome: string
    readonly bytes: bigint | null
    readonly remarks: string
  }>(sql, runStatements.rejects)
  return rows.map(({ bytes, run_id, ...row }): LedgerReject => ({ ...row, runId: run_id, bytes: Number(bytes ?? 0n) }))
})

/**
 * The runs that stored something from a path that another run had rejected, or the same from another path, and whether its
 * cohort has that content.
 */
export const readStoredSince = Effect.fn("Runs.readStoredSince")(function* () {
  const sql = yield* DuckDbClient
  const rows = yield* query<{
    readonly run_id: string
    readonly path: string
    readonly cohort_id: string | null
    readonly is_held: boolean
  }>(sql, runStatements.storedSince)
  return rows.map(({ cohort_id, is_held, path, run_id }) => ({
    path,
    runId: run_id,
    cohortId: cohort_id ?? undefined,
    isHeld: is_held
  }))
})

/** The names that cohorts had in the revisions that a run made, by the revisions' ids. */
export const readNamesOfRun = Effect.fn("Runs.readNamesOfRun")(function* (runId: string) {
  const sql = yield* DuckDbClient
  const rows = yield* sql.unsafe(runStatements.names, [runId]).valuesUnprepared
  return new Map(rows.map(([id, name]) => [Number(id), bytesText(name)]))
})

/** The files of what a run stored from sources of more than one, in the order of the revisions and of their parts. */
export const readPartsOfRun = Effect.fn("Runs.readPartsOfRun")(function* (runId: string) {
  const sql = yield* DuckDbClient
  const rows = yield* sql.unsafe(runStatements.parts, [runId]).valuesUnprepared
  return rows.map(([id, path, format, bytes, digest, sha256]): LedgerPart => ({
    revisionId: Number(id),
    path: bytesText(path),
    format: String(format),
    bytes: Number(bytes),
    digest: String(digest),
    sourceSha256: String(sha256)
  }))
})

// Texts travel as bytes: nothing depends on how the client decodes them.
const bytesText = (value: unknown): string => (value instanceof Uint8Array ? Buffer.from(value).toString("utf8") : "")

/** The shapes of the entities that a run added, with how many rows have each. */
export const readShapeUses = Effect.fn("Runs.readShapeUses")(function* (runId: string) {
  const sql = yield* DuckDbClient
  const ranges = yield* query<{ readonly table_name: string; readonly first_id: bigint; readonly next_id: bigint }>(
    sql,
    runStatements.ranges,
    [runId]
  )
  const uses: Array<ShapeUse> = []
  for (const { code, kind, table } of kinds) {
    const own = ranges.filter(({ table_name }) => table_name === table)
    // One writer at a time gives out ids, so what a run added to a table lies together.
    const [first, last] = [own[0]?.first_id, own.at(-1)?.next_id]
    if (first === undefined || last === undefined) continue
    const rows = yield* query<{ readonly shape_id: number; readonly template: string | null; readonly rows: bigint }>(
      sql,
      shapesSql(table),
      [String(first), String(last), code]
    )
    for (const row of rows) {
      uses.push({ kind, shapeId: row.shape_id, template: row.template ?? "", rows: Number(row.rows) })
    }
  }
  return uses
})

const shapesSql = (table: string): string =>
  `SELECT u.shape_id, s.template, u.rows FROM (
  SELECT shape_id, count(*) AS rows FROM mallard.${quoteName(table)}
  WHERE entity_id >= CAST(? AS BIGINT) AND entity_id < CAST(? AS BIGINT) GROUP BY shape_id
) u LEFT JOIN mallard.entity_shapes s ON s.shape_id = u.shape_id AND s.kind = CAST(? AS UTINYINT) ORDER BY u.shape_id`

/**
 * Reads the options of a run that is a savepoint: its name, the last revision before it and, as `removed`, how many of its
 * cohorts are gone for good; with whatever else stands there. None for any other run.
 */
export const readSavepoint = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.StructWithRest(
      Schema.Struct({ savepoint: Schema.String, revision: Schema.Int, removed: Schema.optionalKey(Schema.Int) }),
      [Schema.Record(Schema.String, Schema.Json)]
    )
  )
)

/** The statements of this module. */
export const runStatements = {
  runs: `SELECT s.run_id, s.at AS started_at, coalesce(v.at, f.at) AS finished_at, coalesce(v.outcome, f.outcome) AS outcome,
  s.program, s.options, f.totals, f.options AS facts, v.totals AS proof, v.event = 'stopped' AS is_proof_stopped, coalesce(r.revisions, 0) AS revisions, r.first_revision
FROM mallard.migration_runs s
LEFT JOIN mallard.migration_runs f ON f.run_id = s.run_id AND f.event = 'finished'
LEFT JOIN mallard.migration_runs v ON v.run_id = s.run_id AND v.event IN ('verified', 'stopped')
LEFT JOIN (SELECT run_id, count(*) AS revisions, min(revision_id) AS first_revision FROM mallard.recorded_revisions GROUP BY run_id) r ON r.run_id = s.run_id
WHERE s.event = 'started' ORDER BY s.rowid`,
  backups: `SELECT b.backup_id, b.run_id, b.at, b.path, b.files, b.bytes, b.manifest_sha256
FROM mallard.migration_backups b ORDER BY b.at`,
  rejects: `SELECT run_id, item, path, outcome, bytes, remarks FROM mallard.migration_items
WHERE outcome IN ('rejected', 'failed')
QUALIFY row_number() OVER (PARTITION BY run_id, item ORDER BY rowid DESC) = 1 ORDER BY run_id, item`,
  storedSince: `SELECT i.run_id, i.path, i.cohort_id, h.content_id IS NOT NULL AS is_held
FROM mallard.migration_items i LEFT JOIN mallard.heads h ON h.content_id = i.revision_id
WHERE (i.outcome = 'migrated' OR (i.outcome = 'skipped' AND contains(i.remarks, '"code":"identical-content"')
  AND i.digest IN (SELECT digest FROM mallard.heads))) AND (
  i.path IN (SELECT path FROM mallard.migration_items WHERE outcome IN ('rejected', 'failed'))
  OR i.run_id IN (SELECT run_id FROM mallard.migration_runs WHERE contains(options, '"replays"')))`,
  names: "SELECT revision_id, encode(name) FROM mallard.recorded_revisions WHERE run_id = TRY_CAST(? AS UUID)",
  parts: `SELECT p.content_id, encode(p.path), p.format, p.bytes, p.digest, p.source_sha256 FROM mallard.parts p
JOIN mallard.recorded_revisions r ON r.revision_id = p.content_id WHERE r.run_id = TRY_CAST(? AS UUID)
QUALIFY count(*) OVER (PARTITION BY p.content_id) > 1 ORDER BY p.content_id, p.part`,
  ranges: `SELECT table_name, first_id, first_id + row_count AS next_id FROM mallard.commits
WHERE run_id = TRY_CAST(? AS UUID) AND first_id > 0 ORDER BY first_id`,
  shapes: shapesSql(kinds[0]?.table ?? "")
} as const
