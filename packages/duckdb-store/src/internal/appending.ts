/**
 * Revisions as they are appended, each in a transaction of its own: through a writer where documents are stored, and
 * without one where a revision uses the content of an earlier one.
 */

import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Clock, Effect } from "effect"
import { type SqlError } from "effect/sql"
import { randomUUID } from "node:crypto"
import { BatchWriter, type NewPart } from "../BatchWriter.ts"
import { nextIds, record } from "../Ledger.ts"
import { type NewRevision, revisionRow } from "../Revision.ts"
import { type RevisionState } from "./content.ts"
import { type Heads } from "./heads.ts"

/** Adds a revision to the transaction under way; gives its id. */
type Save = (revision: NewRevision, parts: ReadonlyArray<NewPart>) => number

/** What a revision changes that uses the content of an earlier one. */
type RevisionChanges = Partial<Pick<NewRevision, "change" | "name" | "description" | "tags">>

/** Appends revisions to the cohorts of one database. For one change at a time. */
export interface Appending {
  /** Runs a change that stores documents. */
  readonly writing: <A, E>(
    change: (writer: BatchWriter, save: Save) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | SqlError.SqlError>
  /** Appends a revision that says what `base` says, the head if not given, but for the changes; gives its id and number. */
  readonly repeat: (
    head: RevisionState,
    changes: RevisionChanges,
    base?: RevisionState
  ) => Effect.Effect<RevisionState, SqlError.SqlError>
}

/** The time that revisions saved now carry, in microseconds. */
export const savingTime: Effect.Effect<bigint> = Effect.map(Clock.currentTimeMillis, (millis) => BigInt(millis) * 1000n)

export const makeAppending = (sql: DuckDbSqlClient, heads: Heads): Appending => {
  /** Loading what a writer knows costs time that grows with the database, so it is kept as long as nobody else writes. */
  let kept: { readonly writer: BatchWriter; nextCommit: number } | undefined

  const currentWriter = Effect.gen(function* () {
    const nextCommit = (yield* heads.lastCommit) + 1
    if (kept?.nextCommit !== nextCommit) kept = { writer: yield* BatchWriter.make(sql), nextCommit }
    yield* kept.writer.loadDigests
    return kept
  })

  const writing: Appending["writing"] = (change) =>
    Effect.gen(function* () {
      const current = yield* currentWriter
      const { writer } = current
      let saved: RevisionState | undefined
      const save: Save = (revision, parts) => {
        const revisionId = writer.save(revision, parts, undefined)
        saved = stateOfNew(revision, revisionId)
        return revisionId
      }
      const result = yield* writer.transaction(undefined, change(writer, save))
      if (saved !== undefined) heads.follow(saved, current.nextCommit)
      current.nextCommit++
      return result
    })

  return {
    writing,
    repeat: Effect.fnUntraced(function* (head, changes, base = head) {
      const revision = repeated(head, changes, base, yield* savingTime)
      const revisionId =
        kept === undefined
          ? yield* appendAlone(sql, revision)
          : yield* writing((_, save) => Effect.sync(() => save(revision, [])))
      return stateOfNew(revision, revisionId)
    })
  }
}

/** The revision after `head` that has the content of `base`. */
const repeated = (
  head: RevisionState,
  changes: RevisionChanges,
  base: RevisionState,
  savedAt: bigint
): NewRevision => ({
  cohortId: head.cohortId,
  seq: head.seq + 1,
  predecessor: head.revisionId,
  change: "saved",
  name: base.name,
  description: base.description,
  tags: base.tags,
  product: base.product,
  legacyId: base.legacyId,
  createdAt: base.createdAt,
  updatedAt: base.updatedAt,
  savedAt,
  digest: base.digest,
  contentId: base.contentId,
  ...changes
})

/** Appends a revision without parts. Needs none of what a writer knows. */
const appendAlone = Effect.fnUntraced(function* (sql: DuckDbSqlClient, revision: NewRevision) {
  const next = yield* Effect.provideService(nextIds, DuckDbClient, sql)
  const revisionId = next.get("revisions") ?? 1
  const commit = {
    commit_id: next.get("commits") ?? 1,
    attempt: randomUUID(),
    run_id: null,
    committed_at: revision.savedAt
  }
  yield* sql
    .withTransaction(
      Effect.andThen(
        record("revisions", [revisionRow(revisionId, revision, undefined)]),
        record("commits", [
          { ...commit, table_name: "revisions", first_id: revisionId, row_count: 1 },
          { ...commit, table_name: "commits", first_id: commit.commit_id, row_count: 2 }
        ])
      )
    )
    .pipe(Effect.provideService(DuckDbClient, sql))
  return revisionId
})

const stateOfNew = (revision: NewRevision, revisionId: number): RevisionState => {
  const { contentId = revisionId, predecessor: _, ...state } = revision
  return { ...state, revisionId, contentId }
}
