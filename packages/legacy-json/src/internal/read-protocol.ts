/** What a thread that reads files is asked, and what it answers. */
import type { MessagePort } from "node:worker_threads"
import type { PackedBatch } from "@mallard/entity-serializers"
import { Schema } from "effect"
import { type PartRead, SourceRejected } from "../Reading.ts"
import { SourceError } from "../SourceError.ts"
import type { SourceFile } from "../Sources.ts"

/** A file that is read as a whole, and answered on the thread's own port. */
export interface ReadRequest {
  readonly file: Omit<SourceFile, "open">
  /** Hashes that end the reading: nothing new would be read. */
  readonly known: ReadonlyArray<string>
  readonly maxEntityBytes: number
  readonly maxDepth: number
  /** For what is read. */
  readonly memory: ArrayBuffer | undefined
}

/** A file that is read in parts; each is answered on `port`, which then expects its memory back, or `ABANDONED`. */
export interface ReadPartsRequest extends Pick<ReadRequest, "file" | "maxEntityBytes" | "maxDepth"> {
  readonly port: MessagePort
  readonly windowBytes: number | undefined
}

/** What the port of a file is told when nobody wants the rest of it. */
export const ABANDONED = "abandoned"

export type ReadReply =
  | { readonly outcome: "read"; readonly part: Omit<PartRead, "file" | "members">; readonly packed: PackedBatch }
  | { readonly outcome: "known"; readonly sourceSha256: string }
  /** It cannot be read, or not here. */
  | { readonly outcome: "declined" }

/** What was read of a file since the reply before; `bytes` are those of the file. */
export type PartReply =
  | { readonly outcome: "more"; readonly bytes: number; readonly packed: PackedBatch }
  | {
      readonly outcome: "read"
      readonly bytes: number
      readonly packed: PackedBatch
      readonly part: Omit<PartRead, "file" | "members">
    }
  | { readonly outcome: "failed"; readonly failure: typeof ReadFailure.Encoded }
  | { readonly outcome: "declined" }

/** Why a file cannot be read, in this thread or another. */
export const ReadFailure = Schema.Union([SourceRejected, SourceError])
