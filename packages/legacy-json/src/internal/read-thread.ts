/** Reads files in a thread of its own: see `ReadThreads.ts`. */
import { parentPort } from "node:worker_threads"
import {
  DocumentReader,
  EntityBatch,
  EntityIndex,
  EntityReader,
  packBatch,
  ShapeDictionary
} from "@mallard/entity-serializers"
import { Data, Effect, Result, Schema } from "effect"
import { ReadBuffers, readPart, SourceRejected } from "../Reading.ts"
import { SourceError } from "../SourceError.ts"
import {
  ABANDONED,
  type PartReply,
  ReadFailure,
  type ReadPartsRequest,
  type ReadReply,
  type ReadRequest
} from "./read-protocol.ts"

/** Parts that wait to be taken over, and the memory for them. */
const MOST_PARTS = 4

class Abandoned extends Data.TaggedError("Abandoned") {}

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

const answerInParts = async ({ file, maxDepth, maxEntityBytes, port, windowBytes }: ReadPartsRequest) => {
  const free: Array<ArrayBuffer | undefined> = Array.from({ length: MOST_PARTS }, () => undefined)
  let isAbandoned = false
  let wake = (): void => {}
  port.on("message", (message: ArrayBuffer | typeof ABANDONED) => {
    if (message === ABANDONED) isAbandoned = true
    else free.push(message)
    wake()
  })
  const room = Effect.callback<void>((resume) => {
    wake = () => resume(Effect.void)
    if (isAbandoned || free.length > 0) wake()
  })
  let bytes = 0
  let before = reader.mark()
  /** What has been read since the last call. */
  const pack = () => {
    const reply = { bytes, packed: packBatch(reader, documents.members, free.pop()) }
    documents.members.count = 0
    documents.rebase()
    before = reader.mark()
    bytes = 0
    return reply
  }
  const send = (reply: PartReply, ...memory: ReadonlyArray<ArrayBuffer>): void => port.postMessage(reply, [...memory])
  const onWindow = Effect.flatMap(room, () => {
    if (isAbandoned) return Effect.fail(new Abandoned())
    documents.settle()
    const reply = pack()
    return Effect.sync(() => send({ outcome: "more", ...reply }, reply.packed.memory))
  })
  const read = await Effect.runPromise(
    Effect.result(
      readPart(file, documents, buffers, {
        maxEntityBytes,
        maxDepth,
        wholeFileBytes: 0,
        ...(windowBytes === undefined ? {} : { windowBytes }),
        takeBack: Effect.void,
        onWindow,
        onBytes: (count) => {
          bytes += count
        }
      })
    )
  )
  if (Result.isSuccess(read) && read.success !== undefined) {
    const { file: _, members, ...part } = read.success
    documents.members = members
    const reply = pack()
    send({ outcome: "read", part, ...reply }, reply.packed.memory)
  } else {
    reader.rollback(before)
    const failure = Result.isFailure(read) ? read.failure : undefined
    if (failure instanceof SourceRejected || failure instanceof SourceError) {
      send({ outcome: "failed", failure: Schema.encodeSync(ReadFailure)(failure) })
    } else send({ outcome: "declined" })
  }
  port.close()
}

// One after the other, though each waits: a reader reads one document at a time.
let last: Promise<void> = Promise.resolve()
parentPort?.on("message", (request: ReadRequest | ReadPartsRequest) => {
  last = last.then(async () => {
    if ("port" in request) return answerInParts(request)
    const reply = await answer(request)
    parentPort?.postMessage(reply, reply.outcome === "read" ? [reply.packed.memory] : [])
  })
})
