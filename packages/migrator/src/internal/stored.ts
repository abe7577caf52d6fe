/** What a database holds before a run: which sources it has, and whose name a cohort bears. */
import { blobText, queryRows } from "@mallard/duckdb-store"
import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import type { StoredHead } from "../Decision.ts"
import { HEADS } from "./reading.ts"

/** An item that an earlier run stored, and whose cohort has not changed since. */
export interface KnownItem {
  readonly cohort: string
  readonly cohortId: string
  readonly digest: string
  readonly format: string
  readonly entities: Readonly<Record<string, number>>
}

export interface Stored {
  readonly heads: Map<string, StoredHead>
  /** Paths of sources that an earlier run rejected because others claimed their names. */
  readonly rivals: ReadonlySet<string>
  /** By path, then by hash of the source. */
  readonly known: ReadonlyMap<string, ReadonlyMap<string, KnownItem>>
}

export const readStored = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  const heads = new Map<string, StoredHead>()
  for (const [name, cohortId, revisionId, seq, digest, contentId, change] of yield* queryRows(
    client,
    // Names travel as bytes: nothing depends on how the client decodes them.
    `SELECT encode(name), cohort_id::VARCHAR, revision_id, seq, digest, content_id, change FROM ${HEADS} ORDER BY revision_id`
  )) {
    const head = {
      cohortId: String(cohortId),
      revisionId: Number(revisionId),
      seq: Number(seq),
      digest: String(digest),
      contentId: Number(contentId),
      deleted: change === "deleted"
    }
    const other = heads.get(blobText(name))
    if (other === undefined || other.deleted) heads.set(blobText(name), head)
  }
  const known = new Map<string, Map<string, KnownItem>>()
  for (const [path, sha256, cohort, cohortId, digest, format, entities] of yield* queryRows(
    client,
    `SELECT i.path, i.source_sha256, encode(h.name), h.cohort_id::VARCHAR, i.digest, i.format, i.entities
     FROM mallard.migration_items i JOIN ${HEADS} h ON h.content_id = i.revision_id
     WHERE i.outcome = 'migrated' AND h.change <> 'deleted'`
  )) {
    const items = known.get(String(path)) ?? new Map<string, KnownItem>()
    known.set(String(path), items)
    items.set(String(sha256), {
      cohort: blobText(cohort),
      cohortId: String(cohortId),
      digest: String(digest),
      format: String(format),
      entities: JSON.parse(String(entities))
    })
  }
  const contested = yield* queryRows(
    client,
    `SELECT DISTINCT path FROM mallard.migration_items WHERE outcome = 'rejected' AND contains(remarks, '"name-conflict"')`
  )
  const stored: Stored = { heads, known, rivals: new Set(contested.map(([path]) => String(path))) }
  return stored
})
