/** Reads files in a thread of its own: see `ReadThreads.ts`. */
import { parentPort } from "node:worker_threads"
import {
  DocumentReader,
  EntityBatch,
  EntityIndex,
  EntityReader,
  packBatch,
  type PackedBatch,
  ShapeDictionary
} from "@mallard/entity-serializers"
import { Effect, Result } from "effect"
import { type PartRead, ReadBuffers, readPart } from "../Reading.ts"
import type { SourceFile } from "../Sources.ts"

export interface ReadRequest {
  readonly file: Omit<SourceFile, "open">
  /** Hashes that end the reading: nothing new would be read. */
  readonly known: ReadonlyArray<string>
  readonly maxEntityBytes: number
  readonly maxDepth: number
  /** For what is read. */
  readonly memory: ArrayBuffer | undefined
}

export type ReadReply =
  | { readonly outcome: "read"; readonly part: Omit<PartRead, "file" | "members">; readonly packed: PackedBatch }
  | { readonly outcome: "known"; readonly sourceSha256: string }
  /** It cannot be read, or not here. */
  | { readonly outcome: "declined" }

const batch = new EntityBatch()
const indexes = batch.rows.map(() => new EntityIndex())
const reader = new EntityReader(batch, new ShapeDictionary(), indexes)
const documents = new DocumentReader(reader)
const buffers = new ReadBuffers(0)

const answer = async ({ file, known, maxDepth, maxEntityBytes, memory }: ReadRequest): Promise<ReadReply> => {
  const before = reader.mark()
  const takeBack = Effect.sync(() => reader.rollback(before))
  let sourceSha256 = ""
  const read = await Effect.runPromise(
    Effect.result(
      readPart(file, documents, buffers, {
        maxEntityBytes,
        maxDepth,
        wholeFileBytes: file.bytes,
        takeBack,
        isKnown: (sha256) => {
          sourceSha256 = sha256
          return known.includes(sha256)
        },
        onWindow: Effect.void
      })
    )
  )
  if (Result.isFailure(read)) {
    await Effect.runPromise(takeBack)
    return { outcome: "declined" }
  }
  if (read.success === undefined) return { outcome: "known", sourceSha256 }
  const { file: _, members, ...part } = read.success
  return { outcome: "read", part, packed: packBatch(reader, members, memory) }
}

// One after the other, though each waits: a reader reads one document at a time.
let last: Promise<void> = Promise.resolve()
parentPort?.on("message", (request: ReadRequest) => {
  last = last.then(async () => {
    const reply = await answer(request)
    parentPort?.postMessage(reply, reply.outcome === "read" ? [reply.packed.memory] : [])
  })
})
