/**
 * Named points that the program passes where an end would hurt most. Passing one does nothing; tests provide `Failpoints`
 * to end the process there and see that everything can be gone on with.
 */

import { Context, Effect } from "effect"

/** All points, as phase and step. */
export const failpoints = [
  /** The sources are found; one of their files has been read. */
  "sources/found",
  "sources/read",
  /** A new database is complete and has no name yet; it has one. One is open, and nothing of it has been read. */
  "database/built",
  "database/named",
  "database/opened",
  /** The tables of a version are there, not yet committed; they are. */
  "tables/changed",
  "tables/committed",
  /** One file of a backup is taken; all are, their packs have names; their copies are proven; the manifest has its name. */
  "backup/copied",
  "backup/packed",
  "backup/proven",
  "backup/listed",
  /** A run is on record, or one that goes on with another. */
  "run/begun",
  "run/resumed",
  /** A transaction of a batch is open, holds some rows, holds all. */
  "batch/begun",
  "rows/some",
  "rows/all",
  /** Nothing is missing but the commit; it is done. */
  "ledger/written",
  "commit/done",
  "checkpoint/begun",
  "checkpoint/done",
  "verify/begun",
  "verify/done",
  /** What the proof found is on record. */
  "report/recorded",
  /** An undoing is planned, written, compared; then it is committed. */
  "undo/begun",
  "undo/written",
  "undo/compared",
  /** A restored file is whole and has no name yet; it has one. */
  "restore/copied",
  "restore/named",
  /** An original that is moved has both names; it has the new one. */
  "originals/linked",
  "originals/moved",
  /** It is known what to remove; what stays is copied aside; the copy stands in the place of the database. */
  "purge/planned",
  "purge/copied",
  "purge/replaced"
] as const

export type Failpoint = (typeof failpoints)[number]

/** Told of each point when it is passed. Code that is no Effect is given it as a function. */
export const Failpoints = Context.Reference<(point: Failpoint) => void>("@mallard/duckdb-store/Failpoints", {
  defaultValue: () => () => {}
})

/** Passes a point. */
export const reach = (point: Failpoint): Effect.Effect<void> => Effect.map(Failpoints, (reached) => reached(point))
