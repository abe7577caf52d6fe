/**
 * The report of a run: what became of every item found, with totals that balance. Field names are those of the JSON that
 * scripts read.
 */

/** What became of an item. */
export type ItemOutcome = "migrated" | "unchanged" | "skipped" | "rejected" | "failed"

/** What became of a run. */
export type RunOutcome = "done" | "done-with-rejects" | "failed" | "mismatch" | "interrupted" | "nothing-to-do"

/** Something to know about an item: why it was not stored, or what in it could not go where its path leads. */
export interface Remark {
  readonly code: string
  /** JSON pointer from the document's root; null where there is none. */
  readonly pointer: string | null
  readonly line: number | null
  readonly column: number | null
  readonly message: string
  /** For an item of several files: which one. */
  readonly part?: string
}

/** One file of an item. */
export interface PartReport {
  readonly path: string
  readonly format: string
  readonly bytes: number
  readonly digest: string
  readonly source_sha256: string
}

export interface ItemReport {
  readonly path: string
  readonly outcome: ItemOutcome
  /** Variant of the format, as in `V1`; null when the item could not be read. */
  readonly format: string | null
  readonly cohort: string | null
  readonly cohort_id: string | null
  /** Entities by kind, nested ones included. */
  readonly entities: Readonly<Record<string, number>>
  /** SHA-256 of the compact text; see `docs/promises.md`. */
  readonly digest: string | null
  readonly source_sha256: string | null
  readonly bytes: number
  readonly remarks: ReadonlyArray<Remark>
  /** How many remarks there were: more than are listed when there were very many. */
  readonly remark_count: number
  /** Only for items of several files. */
  readonly parts?: ReadonlyArray<PartReport>
}

export interface Totals {
  readonly found: number
  readonly migrated: number
  readonly unchanged: number
  readonly skipped: number
  readonly rejected: number
  readonly failed: number
  readonly bytes: number
  /** Entities of the items migrated in this run, by kind. */
  readonly entities: Readonly<Record<string, number>>
  readonly remarks: number
  /** Whether every item found has exactly one outcome. */
  readonly balanced: boolean
}

export interface Verification {
  /** Documents rendered from the database and compared by digest. */
  readonly checked: number
  readonly matched: number
  readonly mismatched: number
  readonly findings: ReadonlyArray<{ readonly code: string; readonly where: string; readonly message: string }>
}

export interface RunReport {
  readonly run: string
  readonly outcome: RunOutcome
  readonly dry_run: boolean
  readonly database: string
  readonly items: ReadonlyArray<ItemReport>
  /** Files and folders that were seen and are no sources. */
  readonly ignored: ReadonlyArray<{ readonly path: string; readonly reason: string }>
  readonly totals: Totals
  readonly verification: Verification
  /** Milliseconds per phase. */
  readonly timings: Readonly<Record<"find" | "load" | "verify" | "total", number>>
}

export const noVerification: Verification = { checked: 0, matched: 0, mismatched: 0, findings: [] }

const OUTCOMES: ReadonlyArray<ItemOutcome> = ["migrated", "unchanged", "skipped", "rejected", "failed"]

/** Sums up items; `found` is how many sources there were. */
export const totalsOf = (found: number, items: ReadonlyArray<ItemReport>): Totals => {
  const by = Object.fromEntries(
    OUTCOMES.map((outcome) => [outcome, items.filter((item) => item.outcome === outcome).length])
  ) as Record<ItemOutcome, number>
  const entities: Record<string, number> = {}
  for (const item of items) {
    if (item.outcome !== "migrated") continue
    for (const [kind, count] of Object.entries(item.entities)) entities[kind] = (entities[kind] ?? 0) + count
  }
  return {
    found,
    ...by,
    bytes: items.reduce((sum, item) => sum + item.bytes, 0),
    entities,
    remarks: items.reduce((sum, item) => sum + item.remark_count, 0),
    balanced: OUTCOMES.reduce((sum, outcome) => sum + by[outcome], 0) === found
  }
}

/** What a run is called, from what became of its items. */
export const outcomeOf = (
  items: ReadonlyArray<ItemReport>,
  verification: Verification,
  interrupted: boolean
): RunOutcome => {
  if (interrupted) return "interrupted"
  if (verification.mismatched > 0) return "mismatch"
  if (items.length === 0) return "nothing-to-do"
  const has = (outcome: ItemOutcome): boolean => items.some((item) => item.outcome === outcome)
  if (has("failed")) return has("migrated") || has("unchanged") ? "done-with-rejects" : "failed"
  if (has("rejected")) return "done-with-rejects"
  return "done"
}

/** The exit code of each outcome of a run. */
export const exitCodes: Readonly<Record<RunOutcome, number>> = {
  done: 0,
  "nothing-to-do": 0,
  failed: 1,
  "done-with-rejects": 3,
  mismatch: 4,
  interrupted: 130
}
