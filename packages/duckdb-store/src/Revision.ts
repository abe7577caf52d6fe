/** A revision that is to be appended to a cohort, and its row in the table `revisions`. */
import { hash } from "node:crypto"
import type { LedgerValues } from "./Ledger.ts"
import type { Timestamp } from "./Tables.ts"

/** What a revision says, whether it is to be written or was read. */
export interface RevisionContent {
  readonly cohortId: string
  readonly seq: number
  readonly predecessor: number | undefined
  readonly change: "saved" | "deleted" | "restored"
  readonly name: string
  readonly description: string | undefined
  readonly tags: ReadonlyArray<string>
  readonly product: string | undefined
  readonly legacyId: string | undefined
  /** SHA-256 of the content. */
  readonly digest: string
}

/** A cohort's new revision. */
export interface NewRevision extends RevisionContent {
  /** Microseconds since 1970-01-01 of the source's own times. */
  readonly createdAt: bigint | undefined
  readonly updatedAt: bigint | undefined
  readonly savedAt: bigint
  /** Set for revisions that use another one's content; then there are no parts. */
  readonly contentId?: number
}

/** A revision, or one that repeats what is stored of another: then the tags are JSON already. */
export type RevisionToWrite = Omit<NewRevision, "tags" | "savedAt"> & {
  readonly tags: ReadonlyArray<string> | string
  readonly savedAt: Timestamp
}

/** The row of a revision with this id, without the digest of the row. */
export const revisionRow = (
  revisionId: number,
  revision: RevisionToWrite,
  runId: string | undefined
): LedgerValues<"revisions"> => ({
  revision_id: revisionId,
  cohort_id: revision.cohortId,
  seq: revision.seq,
  predecessor: revision.predecessor ?? null,
  run_id: runId ?? null,
  change: revision.change,
  name: revision.name,
  description: revision.description ?? null,
  tags: typeof revision.tags === "string" ? revision.tags : JSON.stringify(revision.tags),
  product: revision.product ?? null,
  legacy_id: revision.legacyId ?? null,
  created_at: revision.createdAt ?? null,
  updated_at: revision.updatedAt ?? null,
  saved_at: revision.savedAt,
  digest: revision.digest,
  content_id: revision.contentId ?? revisionId
})

/** The digest of a revision of several parts: see `docs/data-model.md`. */
export const contentDigest = (parts: ReadonlyArray<{ readonly path: string; readonly digest: string }>): string =>
  parts.length === 1
    ? parts[0]!.digest
    : hash("sha256", parts.map(({ path, digest }) => `${path}\t${digest}\n`).join(""), "hex")
