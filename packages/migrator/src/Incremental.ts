/**
 * How sources differ from what earlier runs saw of them: a pure function of contents and paths. Time stamps, sizes and the
 * order of anything play no part. The table that it implements stands in `docs/resume.md`.
 */
import { Schema } from "effect"

/** How a source differs from what is known of it. */
export const SourceChange = Schema.Literals([
  "new",
  "unchanged",
  "changed",
  "reverted",
  "renamed",
  "copied",
  "reappeared",
  "undone",
  "rejected",
  "mended",
  "unreadable",
  "moved",
  "removed"
])
export type SourceChange = typeof SourceChange.Type

/** A source that is there now. */
export interface PresentSource {
  readonly path: string
  /** SHA-256 of its bytes; undefined if it cannot be read. */
  readonly sha256: string | undefined
}

/** What runs have seen at a path. */
export interface PathHistory {
  readonly path: string
  /** All contents seen there, by SHA-256: whether there is nothing left to do about each. */
  readonly contents: ReadonlyMap<string, boolean>
  /** The content that was there last; undefined if it could not be read. */
  readonly last: string | undefined
  /** Whether the last run that looked found it gone, or rejected it. */
  readonly state: "there" | "rejected" | "gone"
  /** False if nothing is stored from it. */
  readonly stored?: boolean
  /** Where the last run that saw it there moved it, because the user said so. */
  readonly moved?: MovedOriginal | undefined
}

/** Where an original was moved, and by which run. */
export interface MovedOriginal {
  readonly to: string
  readonly run: string
}

/** A source and how it differs. */
export interface ChangedSource {
  readonly path: string
  readonly change: SourceChange
  /** Where the content was or is, for `renamed` and `copied`. */
  readonly from?: string
  /** For `mended`: the run that stored what was made of it. */
  readonly stored_by?: string
  /** For `moved`: where to, and by which run. */
  readonly moved_to?: string
  readonly moved_by?: string
  /** For `moved` and `removed`: false if nothing is stored from it. */
  readonly stored?: false
  /** Whether a run would have something to do with it. */
  readonly pending: boolean
}

/**
 * Tells apart the sources that are there, and those of `history` that are not; in the order of the paths. `history` must be
 * of paths that were looked for, `covered` are further paths that are there: parts of sources, and sources that were not to be
 * compared.
 */
export const changesOf = (
  present: ReadonlyArray<PresentSource>,
  history: ReadonlyArray<PathHistory>,
  covered: ReadonlySet<string> = new Set()
): ReadonlyArray<ChangedSource> => {
  const byPath = new Map(history.map((entry) => [entry.path, entry]))
  const now = new Map(present.map(({ path, sha256 }) => [path, sha256]))
  const isThere = (path: string): boolean => now.has(path) || covered.has(path)
  // Where each content was last: places that still have it, and places that are gone.
  const gone = new Map<string, Array<string>>()
  const kept = new Map<string, string>()
  for (const { contents, last, path, state } of history.toSorted(byPathOrder)) {
    if (last === undefined || contents.get(last) !== true) continue
    if (now.get(path) === last) kept.set(last, kept.get(last) ?? path)
    else if (!isThere(path) && state !== "gone") gone.set(last, [...(gone.get(last) ?? []), path])
  }
  const renamed = new Set<string>()
  const here = present.toSorted(byPathOrder).map(({ path, sha256 }): ChangedSource => {
    if (sha256 === undefined) return { path, change: "unreadable", pending: true }
    const known = byPath.get(path)
    if (known !== undefined) return { path, ...atKnownPath(sha256, known) }
    const before = gone.get(sha256)?.shift()
    if (before !== undefined) {
      renamed.add(before)
      return { path, change: "renamed", from: before, pending: true }
    }
    const other = kept.get(sha256)
    if (other !== undefined) return { path, change: "copied", from: other, pending: true }
    return { path, change: "new", pending: true }
  })
  const missing = history
    .filter(({ path, state }) => state !== "gone" && !isThere(path) && !renamed.has(path))
    .map(({ moved, path, stored }): ChangedSource => ({
      path,
      ...(moved === undefined ? { change: "removed" } : { change: "moved", moved_to: moved.to, moved_by: moved.run }),
      ...(stored === false ? { stored } : {}),
      pending: false
    }))
  return [...here, ...missing].toSorted(byPathOrder)
}

const atKnownPath = (
  sha256: string,
  { contents, last, state }: PathHistory
): Pick<ChangedSource, "change" | "pending"> => {
  const isDone = contents.get(sha256)
  if (isDone === undefined) {
    // Why a source was rejected may be that it could not be read, and then nothing is known of its content.
    return { change: state === "rejected" && last === undefined ? "rejected" : "changed", pending: true }
  }
  if (sha256 !== last) return { change: "reverted", pending: !isDone }
  if (state === "rejected") return { change: "rejected", pending: true }
  if (!isDone) return { change: "undone", pending: true }
  return { change: state === "gone" ? "reappeared" : "unchanged", pending: false }
}

const byPathOrder = (left: { readonly path: string }, right: { readonly path: string }): number =>
  left.path < right.path ? -1 : left.path > right.path ? 1 : 0
