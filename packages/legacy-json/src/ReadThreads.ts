/**
 * Threads that read, while the one that writes rows has the time for that alone: the files which come next, each as a
 * whole, and a large file a part at a time. What they read is taken over as if it had been read here; a whole file that
 * they cannot read is read here once more, so that there is one way to say what is wrong with it.
 */
import { availableParallelism } from "node:os"
import { Worker } from "node:worker_threads"
import { type DocumentReader, ForeignShapes, MemberRows, type PackedBatch } from "@mallard/entity-serializers"
import { Effect, Queue, Schema, type Scope } from "effect"
import {
  type PartReply,
  type PartTaken,
  ReadFailure,
  type ReadPartsRequest,
  type ReadReply,
  type ReadRequest
} from "./internal/read-protocol.ts"
import type { PartRead, ReadOptions, SourceRejected } from "./Reading.ts"
import type { SourceError } from "./SourceError.ts"
import type { SourceFile } from "./Sources.ts"

/** Beside this module both in the sources and where it is bundled. */
const program = (): URL =>
  import.meta.url.endsWith(".ts")
    ? new URL("./internal/read-thread.ts", import.meta.url)
    : new URL("./internal/read-thread.js", import.meta.url)

/** More than these the thread that writes could not keep busy. */
const MOST_THREADS = 3
/** Bytes of files that are read or wait to be taken over; what was read of them takes about twice the room. */
const MOST_BYTES = 24 << 20
/** Pieces of memory that a thread keeps for its next files. */
const MOST_SPARE = 2

/** How many threads are worth it where so much is done at once: the one that writes needs a core too. */
export const readThreads = (jobs = availableParallelism()): number => Math.max(0, Math.min(jobs - 1, MOST_THREADS))

export interface ReadThreadsOptions {
  readonly threads: number
  readonly maxEntityBytes: number
  readonly maxDepth: number
  /** Sizes of the files that they read ahead, in bytes; undefined for none. */
  readonly ahead: { readonly least: number; readonly most: number } | undefined
}

/** What a thread says of a file. */
export type ReadAhead =
  | { readonly outcome: "read"; readonly sourceSha256: string; readonly part: PartRead }
  | { readonly outcome: "known"; readonly sourceSha256: string }

/** A thread that was reading a large file cannot go on, though the file may be fine; it will be read without threads. */
export class ThreadLost extends Schema.TaggedError<ThreadLost>()("ThreadLost", {}) {}

interface Thread {
  readonly worker: Worker
  readonly foreign: ForeignShapes
  /** Files it has not read yet, in order. */
  readonly waiting: Array<Task>
  readonly spare: Array<ArrayBuffer>
  /** Where parts of large files go, by their numbers. */
  readonly parts: Map<number, Queue.Queue<PartReply>>
}

interface Task {
  readonly file: SourceFile
  readonly thread: Thread
  readonly reply: Promise<ReadReply>
  readonly settle: (reply: ReadReply) => void
}

export class ReadThreads {
  private readonly options: ReadThreadsOptions
  private threads: Array<Thread> = []
  /**
   * What is left to the one that writes: every third file where a single thread could not keep it busy, and large files
   * whose thread was lost.
   */
  private readonly own = new WeakSet<SourceFile>()
  private dealt = 0
  /** Large files that threads were asked for. */
  private asked = 0
  private knownOf: (file: SourceFile) => ReadonlyArray<string> = () => []
  private readonly tasks = new Map<SourceFile, Task>()

  private constructor(options: ReadThreadsOptions) {
    this.options = options
  }

  /** Threads that end with the scope. */
  static make(options: ReadThreadsOptions): Effect.Effect<ReadThreads, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => {
        const pool = new ReadThreads(options)
        for (let i = 0; i < options.threads; i++) pool.threads.push(pool.start())
        return pool
      }),
      (pool) => pool.stop
    )
  }

  /** Whether they read files that come next, which then nobody else need fetch. */
  get readAhead(): boolean {
    return this.options.ahead !== undefined
  }

  /** Leaves out the reading of files whose content has one of the hashes given for it: that is known. */
  leaveOut(knownOf: (file: SourceFile) => ReadonlyArray<string>): void {
    this.knownOf = knownOf
  }

  /**
   * Takes over what a thread has read of a file, and has those read that come next, the nearest first. Undefined when no
   * thread was asked for the file, when it could not read it, or when that does not fit; then it is to be read here, and
   * nothing but `prepare` and `takeBack` has been run.
   */
  take<E>(
    file: SourceFile,
    next: ReadonlyArray<SourceFile>,
    documents: DocumentReader,
    prepare: Effect.Effect<void, E>,
    takeBack: Effect.Effect<void>
  ): Effect.Effect<ReadAhead | undefined, E> {
    return Effect.gen({ self: this }, function* () {
      const task = this.tasks.get(file)
      this.tasks.delete(file)
      this.prepare(next)
      if (task === undefined) return undefined
      const reply = yield* Effect.promise(() => task.reply)
      this.prepare(next)
      if (reply.outcome !== "read") return reply.outcome === "known" ? reply : undefined
      yield* prepare
      const members = new MemberRows()
      const fits = documents.take(reply.packed, task.thread.foreign, members)
      this.reuse(task.thread, reply.packed)
      if (fits) {
        const part = { ...reply.part, file, members }
        return { outcome: "read", sourceSha256: part.sourceSha256, part } as const
      }
      yield* takeBack
      return undefined
    })
  }

  /**
   * Has a thread read a large file and takes it over a part at a time; `onWindow` is called after each and may empty the
   * batch. Undefined when no thread reads it; then it is to be read here. After `ThreadLost` as well, from its beginning.
   */
  readLarge<E>(
    file: SourceFile,
    documents: DocumentReader,
    { onBytes, onWindow, windowBytes }: Pick<ReadOptions<E>, "onBytes" | "onWindow" | "windowBytes">
  ): Effect.Effect<PartRead | undefined, SourceError | SourceRejected | ThreadLost | E, Scope.Scope> {
    return Effect.gen({ self: this }, function* () {
      const thread = this.idlest()
      const { open, ...plain } = file
      if (thread === undefined || open !== undefined || this.own.has(file)) return undefined
      const { maxDepth, maxEntityBytes } = this.options
      const parts = ++this.asked
      const replies = yield* this.partsOf(thread, { file: plain, parts, maxDepth, maxEntityBytes, windowBytes })
      documents.takeRows()
      for (;;) {
        const reply = yield* Queue.take(replies)
        if (reply.outcome === "failed") return yield* Schema.decodeSync(ReadFailure)(reply.failure)
        if (reply.outcome === "declined" || !documents.take(reply.packed, thread.foreign, documents.rows.members)) {
          this.own.add(file)
          return yield* new ThreadLost()
        }
        onBytes?.(reply.bytes)
        // The caller's `onWindow` saves them with the rest of the batch, as those of a file that is read here.
        const { collections, pieces } = documents.rows
        for (const piece of reply.pieces) pieces.push(piece)
        for (const collection of reply.collections) collections.push(collection)
        if (reply.part !== undefined) return { ...reply.part, ...documents.takeRows(), file }
        const { memory } = reply.packed
        thread.worker.postMessage({ parts, memory } satisfies PartTaken, [memory])
        yield* onWindow
      }
    })
  }

  /** The parts of a file as they come, until the scope closes. */
  private partsOf(
    thread: Thread,
    request: ReadPartsRequest
  ): Effect.Effect<Queue.Queue<PartReply>, never, Scope.Scope> {
    const { parts } = request
    return Effect.acquireRelease(
      Effect.tap(Queue.unbounded<PartReply>(), (replies) =>
        Effect.sync(() => {
          thread.parts.set(parts, replies)
          thread.worker.postMessage(request, [])
        })
      ),
      () =>
        Effect.sync(() => {
          thread.parts.delete(parts)
          thread.worker.postMessage({ parts, memory: undefined } satisfies PartTaken, [])
        })
    )
  }

  /** Has files read, the nearest first. */
  prepare(files: ReadonlyArray<SourceFile>): void {
    // What was asked for before and no longer comes next, as when sources are read again, is forgotten.
    for (const [file, task] of this.tasks) if (!files.includes(file)) this.forget(task)
    let bytes = [...this.tasks.keys()].reduce((sum, file) => sum + file.bytes, 0)
    for (const file of files) {
      if (this.tasks.has(file) || this.own.has(file) || !this.takes(file)) continue
      if (this.threads.length === 1 && ++this.dealt % 3 === 0) {
        this.own.add(file)
        continue
      }
      const thread = this.idlest()
      bytes += file.bytes
      if (thread === undefined || bytes > MOST_BYTES) return
      this.ask(thread, file)
    }
  }

  private takes({ bytes, open }: SourceFile): boolean {
    const { ahead } = this.options
    return open === undefined && ahead !== undefined && bytes >= ahead.least && bytes <= ahead.most
  }

  private idlest(): Thread | undefined {
    return this.threads.toSorted((left, right) => left.waiting.length - right.waiting.length)[0]
  }

  private ask(thread: Thread, file: SourceFile): void {
    const { maxDepth, maxEntityBytes } = this.options
    const { promise: reply, resolve: settle } = Promise.withResolvers<ReadReply>()
    const task = { file, thread, reply, settle }
    this.tasks.set(file, task)
    thread.waiting.push(task)
    const memory = thread.spare.pop()
    const { open: _, ...plain } = file
    const request: ReadRequest = { file: plain, known: this.knownOf(file), maxDepth, maxEntityBytes, memory }
    thread.worker.postMessage(request, memory === undefined ? [] : [memory])
  }

  private forget(task: Task): void {
    this.tasks.delete(task.file)
    void task.reply.then((reply) => {
      if (reply.outcome === "read") this.reuse(task.thread, reply.packed)
    })
  }

  private reuse(thread: Thread, { memory }: PackedBatch): void {
    if (thread.spare.length < MOST_SPARE) thread.spare.push(memory)
  }

  private start(): Thread {
    const worker = new Worker(program())
    const thread: Thread = { worker, foreign: new ForeignShapes(), waiting: [], spare: [], parts: new Map() }
    worker.on("message", (reply: ReadReply | (PartReply & Pick<PartTaken, "parts">)) => {
      // Also of parts that nobody takes any more: what comes later refers to their shapes.
      if (reply.outcome === "read") thread.foreign.learn(reply.packed)
      if (!("parts" in reply)) return thread.waiting.shift()?.settle(reply)
      const replies = thread.parts.get(reply.parts)
      if (replies !== undefined) Queue.offerUnsafe(replies, reply)
    })
    // What it has not read is read here.
    const giveUp = (): void => {
      this.threads = this.threads.filter((other) => other !== thread)
      for (const { settle } of thread.waiting.splice(0)) settle({ outcome: "declined" })
      for (const replies of thread.parts.values()) Queue.offerUnsafe(replies, { outcome: "declined" })
    }
    worker.on("error", giveUp)
    worker.on("exit", giveUp)
    return thread
  }

  /** Ends the threads; what they have not read is read here. */
  readonly stop: Effect.Effect<void> = Effect.promise(async () => {
    await Promise.all(this.threads.map(({ worker }) => worker.terminate()))
  })
}
