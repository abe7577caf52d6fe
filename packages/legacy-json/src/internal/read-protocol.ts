/** What a thread that reads files is asked, and what it answers. */
import type { Collection, DocumentRows, PackedBatch } from "@mallard/entity-serializers"
import { Schema } from "effect"
import { type PartRead, SourceRejected } from "../Reading.ts"
import { SourceError } from "../SourceError.ts"
import type { SourceFile } from "../Sources.ts"

/** A file that is read as a whole, and answered once. */
export interface ReadRequest {
  readonly file: Omit<SourceFile, "open">
  /** Hashes that end the reading: nothing new would be read. */
  readonly known: ReadonlyArray<string>
  readonly maxEntityBytes: number
  readonly maxDepth: number
  /** For what is read. */
  readonly memory: ArrayBuffer | undefined
}

/** A file that is read in parts, each of which is answered. */
export interface ReadPartsRequest extends Pick<ReadRequest, "file" | "maxEntityBytes" | "maxDepth"> {
  /** A number of its own. */
  readonly parts: number
  readonly windowBytes: number | undefined
}

/** A part has been taken over: its memory comes back; without, nobody wants the rest of the file. */
export interface PartTaken {
  readonly parts: number
  readonly memory: ArrayBuffer | undefined
}

export type ReadReply =
  | { readonly outcome: "read"; readonly part: Omit<PartRead, "file" | "members">; readonly packed: PackedBatch }
  | { readonly outcome: "known"; readonly sourceSha256: string }
  /** It cannot be read, or not here. */
  | { readonly outcome: "declined" }

/** What was read of a file since the reply before; `bytes` are those of the file, `part` comes with the last. */
export type PartReply =
  | {
      readonly outcome: "read"
      readonly bytes: number
      readonly packed: PackedBatch
      readonly pieces: ReadonlyArray<string>
      readonly collections: ReadonlyArray<Collection>
      readonly part: Omit<PartRead, "file" | keyof DocumentRows> | undefined
    }
  | { readonly outcome: "failed"; readonly failure: typeof ReadFailure.Encoded }
  | { readonly outcome: "declined" }

/** Why a file cannot be read, in this thread or another. */
export const ReadFailure = Schema.Union([SourceRejected, SourceError])
