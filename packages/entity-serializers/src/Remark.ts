/**
 * What readers have to say about a value that they kept but could not put where its path leads.
 */
import type { InexactReason } from "./Codec.ts"

export type ValueRemarkCode = InexactReason | "path-superseded" | "duplicate-key"

/** A remark of a reader: `pointer` from the document's root, `offset` in bytes of the UTF-8 source. */
export interface ValueRemark {
  readonly code: ValueRemarkCode
  readonly pointer: string
  readonly offset: number
}

/** Remarks kept per document; the rest is counted. */
export const MAX_REMARKS = 10_000
