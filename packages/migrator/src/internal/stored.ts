/** What a database holds before a run: which sources it has, and whose name a cohort bears. */
import { readLatestRevisions, readRemarked, readStoredItems, type StoredItem } from "@mallard/duckdb-store"
import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import type { StoredHead } from "../Decision.ts"

/** An item that an earlier run stored, and whose cohort has not changed since. */
export type KnownItem = Omit<StoredItem, "path" | "sourceSha256">

export interface Stored {
  readonly heads: Map<string, StoredHead>
  /** Paths of sources that an earlier run rejected because others claimed their names. */
  readonly rivals: ReadonlySet<string>
  /** By path, then by hash of the source. */
  readonly known: ReadonlyMap<string, ReadonlyMap<string, KnownItem>>
}

export const readStored = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  const heads = new Map<string, StoredHead>()
  for (const { isDeleted, name, ...head } of yield* readLatestRevisions(client)) {
    const other = heads.get(name)
    if (other === undefined || other.deleted) heads.set(name, { ...head, deleted: isDeleted })
  }
  const known = new Map<string, Map<string, KnownItem>>()
  for (const { path, sourceSha256, ...item } of yield* readStoredItems(client)) {
    const items = known.get(path) ?? new Map<string, KnownItem>()
    known.set(path, items)
    items.set(sourceSha256, item)
  }
  const contested = yield* readRemarked(client, "rejected", "name-conflict")
  const stored: Stored = { heads, known, rivals: new Set(contested.map(({ path }) => path)) }
  return stored
})
