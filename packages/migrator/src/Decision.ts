/**
 * What to do with a source that has been read: a pure function from what is stored and what this run has seen.
 */

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
  | { readonly action: "unchanged"; readonly head: StoredHead }
  /** The same content under the same name came earlier in this run. */
  | { readonly action: "repeat"; readonly of: string }
  /** Another source of this run claims the name for other content: neither is stored. */
  | { readonly action: "contested"; readonly with: string }
  | { readonly action: "save"; readonly name: string; readonly head: StoredHead | undefined }
  | { readonly action: "skip" }
  | { readonly action: "reject" }

export interface Facts {
  readonly name: string
  readonly digest: string
  readonly rule: ConflictRule
  readonly head: (name: string) => StoredHead | undefined
  readonly claim: (name: string) => Claim | undefined
}

/** Names tried by `rename`: `name-2`, `name-3`, … */
const MAX_RENAMES = 10_000

export const decide = (facts: Facts): Decision => {
  const { name, digest, rule } = facts
  const claim = facts.claim(name)
  if (claim !== undefined) {
    return claim.digest === digest ? { action: "repeat", of: claim.path } : { action: "contested", with: claim.path }
  }
  const head = facts.head(name)
  if (head === undefined || head.deleted) return { action: "save", name, head }
  if (head.digest === digest) return { action: "unchanged", head }
  switch (rule) {
    case "fail":
      return { action: "reject" }
    case "skip":
      return { action: "skip" }
    case "replace":
      return { action: "save", name, head }
    case "rename": {
      for (let number = 2; number < MAX_RENAMES; number++) {
        const other = `${name}-${number}`
        const taken = facts.head(other)
        if (taken !== undefined && !taken.deleted && taken.digest === digest) return { action: "unchanged", head: taken }
        if ((taken === undefined || taken.deleted) && facts.claim(other) === undefined) return { action: "save", name: other, head: taken }
      }
      return { action: "reject" }
    }
  }
}
