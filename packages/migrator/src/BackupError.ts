/** Why a backup could not be made, read or restored, in words of our own and with what to do next. */
import { diskProblemOf, systemCode } from "@mallard/duckdb-store/Disk"
import { printablePath } from "@mallard/legacy-json"
import { Schema } from "effect"

/** Why a backup could not be made or used. */
export const BackupReason = Schema.Literals([
  "not-found",
  "damaged",
  "changed",
  "not-proven",
  "wrong-key",
  "needs-key",
  "bad-key",
  "no-space",
  "permission",
  "io"
])
export type BackupReason = typeof BackupReason.Type

/** What is wrong with one file of a backup. */
export interface BackupProblem {
  readonly path: string
  readonly problem: BackupProblemReason
  /** The place restored to, where the fault is there. */
  readonly target?: string
  /** The backup whose manifest is gone; `path` is the folder that it was in. */
  readonly backup?: string
}

/**
 * `pack-unreadable`: the system does not let the pack be read, which says nothing of what is in it. `target-permission` and
 * `target-io`: the same for the place restored to.
 */
export type BackupProblemReason =
  | "pack-missing"
  | "pack-unreadable"
  | "pack-truncated"
  | "content-changed"
  | "manifest-changed"
  | "manifest-missing"
  | TargetProblemReason
export type TargetProblemReason = "target-permission" | "target-io"

const texts: Readonly<Record<BackupReason, readonly [what: string, next: string]>> = {
  "not-found": ["there is no such backup", "`mallard backup list` shows what there is."],
  damaged: [
    "its manifest cannot be read",
    "Keep the folder as it is; other backups in it may be whole: `mallard backup list`."
  ],
  changed: [
    "its manifest is not as it was written",
    "Restore it with `mallard backup restore --out DIR`: each file that is restored is compared with its SHA-256."
  ],
  "not-proven": [
    "what was restored for proof is not what was copied",
    "Nothing was migrated. Check the disk, or name another place with --backup-dir."
  ],
  "wrong-key": ["the key does not open it", "Give the passphrase or identity that it was made with."],
  "needs-key": [
    "it is encrypted",
    "Give --backup-passphrase, --backup-passphrase-file FILE or --backup-identity FILE."
  ],
  "bad-key": [
    "a recipient or identity is not one of age",
    "Recipients begin with age1, identities with AGE-SECRET-KEY-1."
  ],
  "no-space": [
    "there is no space left on the disk",
    "Free some space, or name another place with --backup-dir; --no-backup does without."
  ],
  permission: [
    "the operating system does not permit it",
    "Check who owns the folder, or name another place with --backup-dir."
  ],
  io: ["reading or writing failed", "Check the disk, or name another place with --backup-dir."]
}

const OTHER_TARGET = "--out, at `backup restore` and `rejects export`, names another folder."

/** The same where the fault is not the store's, but that of the place restored to. */
const targetTexts: Partial<typeof texts> = {
  "no-space": ["there is no space left on its disk", `Free some space; ${OTHER_TARGET}`],
  permission: ["the operating system does not permit it", `Check who may write there; ${OTHER_TARGET}`],
  io: ["reading or writing failed", `Check that it lies in a folder, and the disk; ${OTHER_TARGET}`]
}

/** A backup could not be made, read or restored. When one fails before a run, the run has written nothing. */
export class BackupError extends Schema.TaggedError<BackupError>()("BackupError", {
  reason: BackupReason,
  /** Folder of the store. */
  store: Schema.String,
  /** The file that it failed at, if it was one. */
  path: Schema.optionalKey(Schema.String),
  /** The place restored to, where the fault is there. */
  target: Schema.optionalKey(Schema.String),
  /** The backup that was asked for by its id or run. */
  wanted: Schema.optionalKey(Schema.String),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  /** What to do about it. */
  get next(): string {
    return this.texts[1]
  }
  private get texts(): readonly [what: string, next: string] {
    return (this.target === undefined ? undefined : targetTexts[this.reason]) ?? texts[this.reason]
  }
  override get message(): string {
    const [what, next] = this.texts
    if (this.target !== undefined) return `Cannot restore ${printablePath(this.target)}: ${what}. ${next}`
    const where = this.path === undefined ? "" : ` (at ${printablePath(this.path)})`
    if (this.wanted !== undefined) {
      return `Backup ${printablePath(this.wanted)} in ${printablePath(this.store)}: ${what}${where}. ${next}`
    }
    return `Backup in ${printablePath(this.store)}: ${what}${where}. ${next}`
  }
}

const reasonOf = (cause: unknown): BackupReason => {
  const problem = diskProblemOf(systemCode(cause) ?? "")
  return problem === "missing" ? "not-found" : (problem ?? "io")
}

/** A failure as a `BackupError` about the store. */
export const backupFailure = (store: string, cause: unknown): BackupError =>
  cause instanceof BackupError ? cause : new BackupError({ reason: reasonOf(cause), store, cause })

/** A failure as a `BackupError` about the place restored to. */
export const targetFailure = (store: string, target: string, cause: unknown): BackupError => {
  if (cause instanceof BackupError) return cause
  const reason = reasonOf(cause)
  return new BackupError({ reason: reason === "not-found" ? "io" : reason, store, target, cause })
}

/** What a failure at the place restored to says of that place alone; undefined if other places would fail too. */
export const targetProblem = (cause: unknown): TargetProblemReason | undefined => {
  if (systemCode(cause) === undefined || isLacking(cause)) return undefined
  return reasonOf(cause) === "permission" ? "target-permission" : "target-io"
}

/** Whether the system has no more of something, for this file or any other. */
export const isLacking = (cause: unknown): boolean => LACKING.has(systemCode(cause) ?? "")

const LACKING: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM", "EINTR"])
