/**
 * The latest revision of each cohort. A small database's are kept in memory and followed as revisions are added, so that
 * looking up a cohort costs one small statement; a larger one is asked each time.
 */

import { type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect, Option } from "effect"
import { type SqlError } from "effect/sql"
import { contentStatements, type RevisionState, stateOf } from "./content.ts"

/** Cohorts, and revisions to read at once, up to which heads are kept in memory. */
const MOST_KEPT = 5000

/** Where the latest revisions of cohorts are looked up, deleted ones included. */
export interface Heads {
  /** The number of the last commit; 0 when there is none. */
  readonly lastCommit: Effect.Effect<number, SqlError.SqlError>
  /** Tells of a revision that this process has just committed. */
  readonly follow: (state: RevisionState, commit: number) => void
  /** The latest revision of the cohort that has this name, else of one that had it when it was deleted. */
  readonly named: (name: string) => Effect.Effect<RevisionState | undefined, SqlError.SqlError>
  /** The latest revision of the cohort of this name or id; those that are not deleted come first. */
  readonly found: (nameOrId: string) => Effect.Effect<RevisionState | undefined, SqlError.SqlError>
  /** The names of all cohorts that are not deleted, each once; those of a small database as they were at the last look-up. */
  readonly names: Effect.Effect<ReadonlyArray<string>, SqlError.SqlError>
}

interface Kept {
  readonly byId: Map<string, RevisionState>
  /** Ids by the names that cohorts have now. */
  readonly byName: Map<string, Set<string>>
  lastRevision: number
  lastCommit: number
}

export const makeHeads = (sql: DuckDbSqlClient): Heads => {
  const rows = (statement: string, parameters: ReadonlyArray<string> = []) =>
    sql.unsafe(statement, parameters).valuesUnprepared
  const first = (statement: string, parameters: ReadonlyArray<string>) =>
    // DuckDB takes no halves of surrogate pairs, and no name has one.
    parameters.every((text) => text.isWellFormed())
      ? Effect.map(rows(statement, parameters), ([row]) => (row === undefined ? undefined : stateOf(row)))
      : Effect.undefined
  const stamp = Effect.map(rows(contentStatements.stamp), ([row]) => ({
    lastCommit: Number(row?.[0] ?? 0),
    lastRevision: Number(row?.[1] ?? 0)
  }))
  let kept: Kept | undefined
  /** Databases only grow while they are open. */
  let isLarge = false

  /** Undefined when there are too many to keep, or when what a transaction sees may yet be undone. */
  const current = Effect.gen(function* () {
    if (isLarge) return undefined
    const { lastCommit, lastRevision } = yield* stamp
    // A revision comes with a commit, and while a database is open none goes.
    if (kept?.lastCommit === lastCommit && kept.lastRevision === lastRevision) return kept
    if (Option.isSome(yield* Effect.serviceOption(sql.transactionService))) return undefined
    const after = String(kept?.lastRevision ?? 0)
    const [count] = yield* rows(contentStatements.countAfter, [after])
    isLarge ||= Number(count?.[0]) > MOST_KEPT || (kept?.byId.size ?? 0) > MOST_KEPT
    const found = isLarge ? [] : yield* rows(contentStatements.revisionsAfter, [after])
    if (isLarge) {
      kept = undefined
      return undefined
    }
    kept ??= { byId: new Map(), byName: new Map(), lastRevision: 0, lastCommit: 0 }
    for (const row of found) keep(kept, stateOf(row))
    kept.lastCommit = lastCommit
    return kept
  })

  return {
    lastCommit: Effect.map(stamp, ({ lastCommit }) => lastCommit),
    follow: (state, commit) => {
      if (kept?.lastCommit !== commit - 1 || kept.lastRevision >= state.revisionId) return
      keep(kept, state)
      kept.lastCommit = commit
    },
    named: Effect.fnUntraced(function* (name) {
      const known = yield* current
      return known === undefined
        ? yield* first(contentStatements.named, [name])
        : best([...(known.byName.get(name) ?? [])].map((id) => known.byId.get(id)))
    }),
    found: Effect.fnUntraced(function* (nameOrId) {
      const known = yield* current
      if (known === undefined) return yield* first(contentStatements.found, [nameOrId, nameOrId, nameOrId])
      const ids = new Set(known.byName.get(nameOrId)).add(uuidOf(nameOrId))
      return best(
        [...ids].map((id) => known.byId.get(id)),
        nameOrId
      )
    }),
    names: Effect.gen(function* () {
      const names =
        kept === undefined
          ? (yield* rows(contentStatements.names)).map(([name]) => String(name))
          : [...kept.byId.values()].flatMap(({ change, name }) => (change === "deleted" ? [] : [name]))
      return [...new Set(names)]
    })
  }
}

/** Follows a revision; they come in the order of their ids. */
const keep = (kept: Kept, state: RevisionState): void => {
  const { byId, byName } = kept
  kept.lastRevision = Math.max(kept.lastRevision, state.revisionId)
  const former = byId.get(state.cohortId)
  if (former !== undefined && former.seq >= state.seq) return
  if (former !== undefined) byName.get(former.name)?.delete(state.cohortId)
  byId.set(state.cohortId, state)
  const holders = byName.get(state.name)
  if (holders === undefined) byName.set(state.name, new Set([state.cohortId]))
  else holders.add(state.cohortId)
}

/** The one that is not deleted, else has the name, else is the latest. */
const best = (states: ReadonlyArray<RevisionState | undefined>, name?: string): RevisionState | undefined =>
  states
    .filter((state) => state !== undefined)
    .toSorted(
      (left, right) =>
        Number(left.change === "deleted") - Number(right.change === "deleted") ||
        Number(right.name === name) - Number(left.name === name) ||
        right.revisionId - left.revisionId
    )[0]

/** The one spelling under which ids are kept; what is no UUID stays as it is. */
const uuidOf = (text: string): string => {
  const digits = text.replaceAll("-", "").toLowerCase()
  return /^[0-9a-f]{32}$/.test(digits)
    ? [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join("-")
    : text
}
