/** The originals that a run read, put back from its backup: what is missing comes back, what is there stays as it is. */
import { findRun, readBackups } from "@mallard/duckdb-store"
import { Effect, Schema } from "effect"
import { type CipherSettings, findBackup, restoreBackup, verifyBackup } from "./Backup.ts"
import { BackupError, type BackupProblem, targetProblem } from "./BackupError.ts"
import { orNothingStored } from "./internal/begun.ts"
import type { ManifestFile } from "./internal/manifest.ts"
import { compareRestored, isThere } from "./internal/restore.ts"
import type { CopiesProgress } from "./MigrateOptions.ts"
import { reading } from "./internal/reading.ts"
import { copiesRejectsAlone } from "./Resume.ts"

/** The run made no copies, or of what it rejected alone: then originals of what it stored would be missed without a word. */
export class NoBackup extends Schema.TaggedError<NoBackup>()("NoBackup", {
  run: Schema.String,
  hasRejects: Schema.Boolean
}) {
  override get message(): string {
    return this.hasRejects
      ? `Run ${this.run} copied only what it rejected, so no original of a cohort can be put back. Restore the backup to have the rejected files.`
      : `Run ${this.run} copied no sources, so there is nothing to put back. List the backups to see what there is.`
  }
}

export interface RestoreOriginalsOptions {
  /** Absolute path of the database. */
  readonly database: string
  /** Id of the run that read them, how it begins, or `last`. */
  readonly run: string
  readonly cipher?: CipherSettings | undefined
  /** Reads every copy and says what would be put back; nothing is written. */
  readonly test: boolean
  readonly onProgress?: ((progress: CopiesProgress) => void) | undefined
}

export interface RestoredOriginals {
  readonly run: string
  readonly backup_id: string
  /** Folder of the store. */
  readonly store: string
  /** Put back where they were. */
  readonly restored: ReadonlyArray<string>
  /** There, with the same bytes. */
  readonly present: ReadonlyArray<string>
  /** There with other bytes: left as they are. */
  readonly kept: ReadonlyArray<string>
  /** Not put back: their copies are damaged. */
  readonly damaged: ReadonlyArray<string>
  /** Not put back: the system does not let their copies be read. */
  readonly unreadable: ReadonlyArray<string>
  /** Not put back: their places cannot be written to. */
  readonly unwritable: ReadonlyArray<string>
}

/**
 * Puts back byte by byte, with modes and times, what is missing of the files that a run read; what is there is never
 * overwritten. With `test` it reads the copies and says what it would do. Lists are absolute paths, in the order of the backup.
 *
 * Fails with `RunNotFound` or `NothingStored` as `rollback` does, with `NoBackup` for a run without copies of what it stored,
 * with a `BackupError` when the backup is not the one that the run recorded or cannot be read at all, with a `StoreError` when
 * the database cannot be opened, and with `MigrationFailed` when it cannot be read.
 */
export const restoreOriginals = Effect.fn("restoreOriginals")(function* (options: RestoreOriginalsOptions) {
  const { backup, found } = yield* reading(
    options.database,
    Effect.gen(function* () {
      const found = yield* findRun(options.run)
      return { found, backup: (yield* readBackups()).findLast(({ runId }) => runId === found.runId) }
    })
  ).pipe(orNothingStored(options.database, options.run))
  const run = found.runId
  if (backup === undefined || copiesRejectsAlone(found)) {
    return yield* new NoBackup({ run, hasRejects: backup !== undefined })
  }
  const { backupId, manifestSha256, path: store } = backup
  const { cipher, onProgress } = options
  const about = { run, backup_id: backupId, store }
  const asked = { store, backup: backupId, manifestSha256, cipher, onProgress }
  if (options.test) {
    const { isAsWritten, manifest, path, sha256 } = yield* findBackup(store, backupId)
    // Nothing would be put back by it, which is to be known before anything is undone.
    if (!isAsWritten || sha256 !== manifestSha256) return yield* new BackupError({ reason: "changed", store, path })
    const { problems } = yield* verifyBackup(asked)
    const lost = new Set(problems.map(({ path }) => path))
    const states = yield* Effect.try({
      try: () => Map.groupBy(manifest.files, stateOf),
      catch: (cause) => new BackupError({ reason: "io", store, cause })
    })
    const pathsOf = (state: ReturnType<typeof stateOf>) => (states.get(state) ?? []).map(pathOf)
    const would: RestoredOriginals = {
      ...about,
      restored: pathsOf("missing").filter((path) => !lost.has(path)),
      present: pathsOf("present"),
      kept: pathsOf("kept"),
      ...lostOf(problems),
      unwritable: pathsOf("unwritable").filter((path) => !lost.has(path))
    }
    return would
  }
  const result = yield* restoreBackup(asked)
  const restored: RestoredOriginals = {
    ...about,
    restored: result.restored,
    present: result.present,
    kept: result.kept,
    ...lostOf(result.problems)
  }
  return restored
})

/** What is where a file was. */
const stateOf = (file: ManifestFile): "missing" | "present" | "kept" | "unwritable" => {
  try {
    if (!isThere(file.path)) return "missing"
    return compareRestored(file.path, file, "bytes") ? "present" : "kept"
  } catch (cause) {
    if (targetProblem(cause) === undefined) throw cause
    return "unwritable"
  }
}

type Lost = "damaged" | "unreadable" | "unwritable"

const lostOf = (problems: ReadonlyArray<BackupProblem>): Pick<RestoredOriginals, Lost> => {
  const pathsOf = (lost: Lost): ReadonlyArray<string> => [
    ...new Set(problems.filter((problem) => lostBy(problem) === lost).map(pathOf))
  ]
  return { damaged: pathsOf("damaged"), unreadable: pathsOf("unreadable"), unwritable: pathsOf("unwritable") }
}

const lostBy = ({ problem, target }: BackupProblem): Lost => {
  if (target !== undefined) return "unwritable"
  return problem === "pack-unreadable" ? "unreadable" : "damaged"
}

const pathOf = ({ path }: { readonly path: string }): string => path
