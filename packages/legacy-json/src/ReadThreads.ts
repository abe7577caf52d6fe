/**
 * Threads that read the files which come next, while the one that writes rows has the time for that alone. What they
 * read is taken over as if it had been read here; a file that they cannot read, or that they say anything remarkable
 * about, is read here once more, so that there is one way to say what is wrong with it.
 */
import { availableParallelism } from "node:os"
import { Worker } from "node:worker_threads"
import { type DocumentReader, ForeignShapes, type PackedBatch } from "@mallard/entity-serializers"
import { Effect, type Scope } from "effect"
import type { ReadReply, ReadRequest } from "./internal/read-thread.ts"
import type { PartRead } from "./Reading.ts"
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
  /** Sizes of the files that they read, in bytes. */
  readonly least: number
  readonly most: number
}

/** What a thread says of a file. */
export type ReadAhead =
  | { readonly outcome: "read"; readonly sourceSha256: string; readonly part: PartRead }
  | { readonly outcome: "known"; readonly sourceSha256: string }

interface Thread {
  readonly worker: Worker
  readonly foreign: ForeignShapes
  /** Files it has not read yet, in order. */
  readonly waiting: Array<Task>
  readonly spare: Array<ArrayBuffer>
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
  /** A single thread cannot keep the one that writes busy, so every third file is left to that. */
  private readonly own = new WeakSet<SourceFile>()
  private dealt = 0
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

  /** Leaves out the reading of files whose content has one of the hashes given for it: that is known. */
  leaveOut(knownOf: (file: SourceFile) => ReadonlyArray<string>): void {
    this.knownOf = knownOf
  }

  /**
   * Takes over what a thread has read of a file, and has those read that come next, the nearest first. Undefined when no
   * thread was asked for the file, when it could not read it, or when that does not fit; then it is to be read here, and
   * nothing but `takeBack` has been run.
   */
  take(
    file: SourceFile,
    next: ReadonlyArray<SourceFile>,
    documents: DocumentReader,
    takeBack: Effect.Effect<void>
  ): Effect.Effect<ReadAhead | undefined> {
    return Effect.gen({ self: this }, function* () {
      const task = this.tasks.get(file)
      this.tasks.delete(file)
      this.prepare(next)
      if (task === undefined) return undefined
      const reply = yield* Effect.promise(() => task.reply)
      this.prepare(next)
      if (reply.outcome !== "read") return reply.outcome === "known" ? reply : undefined
      const members = documents.take(reply.packed, task.thread.foreign)
      this.reuse(task.thread, reply.packed)
      if (members !== undefined) {
        const part = { ...reply.part, file, members }
        return { outcome: "read", sourceSha256: part.sourceSha256, part } as const
      }
      yield* takeBack
      return undefined
    })
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
    return open === undefined && bytes >= this.options.least && bytes <= this.options.most
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
    const thread: Thread = { worker, foreign: new ForeignShapes(), waiting: [], spare: [] }
    worker.on("message", (reply: ReadReply) => {
      if (reply.outcome === "read") thread.foreign.learn(reply.packed)
      thread.waiting.shift()?.settle(reply)
    })
    // What it has not read is read here.
    const giveUp = (): void => {
      this.threads = this.threads.filter((other) => other !== thread)
      for (const { settle } of thread.waiting.splice(0)) settle({ outcome: "declined" })
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
