/** Reads files in a thread of its own: see `ReadThreads.ts`. */
import { parentPort } from "node:worker_threads"
import {
  DocumentReader,
  type DocumentRows,
  EntityBatch,
  EntityIndex,
  EntityReader,
  packBatch,
  ShapeDictionary
} from "@mallard/entity-serializers"
import { Data, Effect, Result, Schema } from "effect"
import { type PartRead, ReadBuffers, readPart, SourceRejected } from "../Reading.ts"
import { SourceError } from "../SourceError.ts"
import {
  type PartReply,
  type PartTaken,
  ReadFailure,
  type ReadPartsRequest,
  type ReadReply,
  type ReadRequest
} from "./read-protocol.ts"

/** Parts of a file that may wait to be taken over. */
const MOST_PARTS = 4

/** Nobody wants the rest of a file. */
class Abandoned extends Data.TaggedError("Abandoned") {}

const batch = new EntityBatch()
const indexes = batch.rows.map(() => new EntityIndex())
const reader = new EntityReader(batch, new ShapeDictionary(), indexes)
const documents = new DocumentReader(reader)
const buffers = new ReadBuffers(0)

const answer = async ({ file, known, maxDepth, maxEntityBytes, memory }: ReadRequest): Promise<ReadReply> => {
  reader.leavesDigests = false
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

/** Memory for parts of a file that wait to be taken over. */
class Room {
  readonly free: Array<ArrayBuffer | undefined> = Array.from({ length: MOST_PARTS }, () => undefined)
  isAbandoned = false
  private wake = (): void => {}

  take({ memory }: PartTaken): void {
    if (memory === undefined) this.isAbandoned = true
    else this.free.push(memory)
    this.wake()
  }

  /** Waits for memory; fails if nobody wants what would be in it. */
  readonly wait = Effect.callback<void, Abandoned>((resume) => {
    this.wake = () => resume(this.isAbandoned ? Effect.fail(new Abandoned()) : Effect.void)
    if (this.isAbandoned || this.free.length > 0) this.wake()
  })
}

const answerInParts = async ({ file, maxDepth, maxEntityBytes, parts, windowBytes }: ReadPartsRequest, room: Room) => {
  const send = (reply: PartReply): void =>
    parentPort?.postMessage({ parts, ...reply }, "packed" in reply ? [reply.packed.memory] : [])
  // Whoever takes the parts over would only wait for them.
  reader.leavesDigests = true
  let bytes = 0
  let before = reader.mark()
  /** Sends what has been read since the last time. */
  const sendRead = (
    { collections, members, pieces }: DocumentRows,
    part?: Omit<PartRead, "file" | keyof DocumentRows>
  ): void => {
    send({ outcome: "read", bytes, part, pieces, collections, packed: packBatch(reader, members, room.free.pop()) })
    documents.rebase()
    before = reader.mark()
    bytes = 0
  }
  const read = await Effect.runPromise(
    Effect.result(
      readPart(file, documents, buffers, {
        maxEntityBytes,
        maxDepth,
        wholeFileBytes: 0,
        ...(windowBytes === undefined ? {} : { windowBytes }),
        takeBack: Effect.void,
        onWindow: Effect.map(room.wait, () => {
          documents.settle()
          sendRead(documents.takeRows())
        }),
        onBytes: (count) => {
          bytes += count
        }
      })
    )
  )
  if (Result.isSuccess(read) && read.success !== undefined) {
    const { collections, file: _, members, pieces, ...part } = read.success
    sendRead({ collections, members, pieces }, part)
    return
  }
  reader.rollback(before)
  const failure = Result.isFailure(read) ? read.failure : undefined
  send(
    failure instanceof SourceRejected || failure instanceof SourceError
      ? { outcome: "failed", failure: Schema.encodeSync(ReadFailure)(failure) }
      : { outcome: "declined" }
  )
}

/** By the numbers of files that are read in parts, now or later. */
const rooms = new Map<number, Room>()

// One after the other, though each waits: a reader reads one document at a time.
let last: Promise<void> = Promise.resolve()
parentPort?.on("message", (message: ReadRequest | ReadPartsRequest | PartTaken) => {
  if (!("file" in message)) {
    rooms.get(message.parts)?.take(message)
    return
  }
  if ("parts" in message) {
    const room = new Room()
    rooms.set(message.parts, room)
    last = last.then(() => answerInParts(message, room)).finally(() => rooms.delete(message.parts))
    return
  }
  last = last.then(async () => {
    const reply = await answer(message)
    parentPort?.postMessage(reply, reply.outcome === "read" ? [reply.packed.memory] : [])
  })
})
