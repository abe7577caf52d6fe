/**
 * What to do with a source that has been read: a pure function from what is stored and what this run has seen. It does
 * not depend on the order of the sources.
 */

import { Schema } from "effect"

/** What is done with a source: stored, left as it is stored already, left alone, or refused. */
export const PlannedAction = Schema.Literals(["store", "leave", "skip", "reject"])
export type PlannedAction = typeof PlannedAction.Type

export type ConflictRule = "fail" | "skip" | "replace" | "rename"

/** The head of a cohort that is stored. */
export interface StoredHead {
  readonly cohortId: string
  readonly revisionId: number
  readonly seq: number
  readonly digest: string
  readonly contentId: number
  readonly deleted: boolean
}

/** A source of this run that has claimed a name already. */
export interface Claim {
  readonly digest: string
  readonly path: string
}

export type Decision =
  /** Stored as it is. */
  | { readonly action: "unchanged"; readonly name: string; readonly head: StoredHead }
  /** The same content under the same name came earlier in this run. */
  | { readonly action: "repeat"; readonly of: string }
  /** Another source of this run claims the name for other content. */
  | { readonly action: "contested" }
  | { readonly action: "save"; readonly name: string; readonly head: StoredHead | undefined }
  | { readonly action: "skip" }
  | { readonly action: "reject" }

export interface Facts {
  readonly name: string
  readonly digest: string
  readonly rule: ConflictRule
  /** What was stored before this run. */
  readonly head: (name: string) => StoredHead | undefined
  /** Who has claimed a name in this run so far. */
  readonly claims: (name: string) => ReadonlyArray<Claim>
}

/** Names tried by `rename`: `name-2`, `name-3`, … */
const MAX_RENAMES = 10_000

export const decide = (facts: Facts): Decision => {
  const { name, digest, rule } = facts
  const head = liveHead(facts, name)
  if (head?.digest === digest) return { action: "unchanged", name, head }
  if (head !== undefined && rule === "fail") return { action: "reject" }
  if (head !== undefined && rule === "skip") return { action: "skip" }
  const renamed = head !== undefined && rule === "rename" ? newName(facts) : undefined
  if (renamed?.action === "unchanged") return renamed
  const claims = facts.claims(name)
  if (claims.some((claim) => claim.digest !== digest)) return { action: "contested" }
  const [earlier] = claims
  if (earlier !== undefined) return { action: "repeat", of: earlier.path }
  return renamed ?? { action: "save", name, head: facts.head(name) }
}

const liveHead = (facts: Facts, name: string): StoredHead | undefined => {
  const head = facts.head(name)
  return head === undefined || head.deleted ? undefined : head
}

const newName = (facts: Facts): Decision => {
  for (let number = 2; number < MAX_RENAMES; number++) {
    const name = `${facts.name}-${number}`
    const head = liveHead(facts, name)
    if (head?.digest === facts.digest) return { action: "unchanged", name, head }
    if (head === undefined && facts.claims(name).length === 0) return { action: "save", name, head: facts.head(name) }
  }
  return { action: "reject" }
}
