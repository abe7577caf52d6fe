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

/** Who claims a name in this run so far: nobody, only sources of the same content, or others too. */
export type Claimed = "nobody" | "same" | "others"

export type Decision =
  /** Stored as it is. */
  | { readonly action: "unchanged"; readonly name: string; readonly head: StoredHead }
  /** The same content under the same name came earlier in this run. */
  | { readonly action: "repeat"; readonly name: string }
  /** Another source of this run claims the name for other content. */
  | { readonly action: "contested"; readonly name: string }
  | { readonly action: "save"; readonly name: string; readonly head: StoredHead | undefined }
  | { readonly action: "skip" }
  | { readonly action: "reject" }

export interface Facts {
  readonly name: string
  readonly digest: string
  readonly rule: ConflictRule
  /** What was stored before this run. */
  readonly head: (name: string) => StoredHead | undefined
  readonly claimed: (name: string, digest: string) => Claimed
}

/** Names tried by `rename`: `name-2`, `name-3`, … */
const MAX_RENAMES = 10_000

export const decide = (facts: Facts): Decision => {
  const { digest, rule } = facts
  const head = liveHead(facts, facts.name)
  if (head?.digest === digest) return { action: "unchanged", name: facts.name, head }
  if (head !== undefined && rule === "fail") return { action: "reject" }
  if (head !== undefined && rule === "skip") return { action: "skip" }
  const wanted = head !== undefined && rule === "rename" ? newName(facts) : savedAs(facts, facts.name)
  if (wanted.action !== "save") return wanted
  const { name } = wanted
  switch (facts.claimed(name, digest)) {
    case "others":
      return { action: "contested", name }
    case "same":
      return { action: "repeat", name }
    case "nobody":
      return wanted
  }
}

const savedAs = (facts: Facts, name: string): Decision => ({ action: "save", name, head: facts.head(name) })

const liveHead = (facts: Facts, name: string): StoredHead | undefined => {
  const head = facts.head(name)
  return head === undefined || head.deleted ? undefined : head
}

/** The first name that is free in the database. Whoever else wants it in this run is no matter here: they contest it. */
const newName = (facts: Facts): Decision => {
  for (let number = 2; number < MAX_RENAMES; number++) {
    const name = `${facts.name}-${number}`
    const head = liveHead(facts, name)
    if (head?.digest === facts.digest) return { action: "unchanged", name, head }
    if (head === undefined) return savedAs(facts, name)
  }
  return { action: "reject" }
}
