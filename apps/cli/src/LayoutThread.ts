/** A thread that lays texts out and writes them, so that the one that reads the database has the time for that alone. */
import { programBeside } from "@mallard/duckdb-store/Disk"
import { Worker } from "node:worker_threads"
import type { LayoutRequest, SystemFailure } from "./internal/layout-thread.ts"

interface Waiting {
  readonly resolve: () => void
  readonly reject: (cause: Error) => void
}

/** Starts with the first text. */
export class LayoutThread {
  private worker: Worker | undefined
  /** Why it takes nothing any more. */
  private ended: Error | undefined
  /** In order: the thread does one thing after the other. */
  private readonly waiting: Array<Waiting> = []

  /** Settles once the text is laid out and what came of it is written; its memory must stay as it is until then. */
  write(request: LayoutRequest): Promise<void> {
    if (this.ended !== undefined) return Promise.reject(this.ended)
    this.worker ??= this.start()
    this.worker.postMessage(request, [])
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }))
  }

  async stop(): Promise<void> {
    await this.worker?.terminate()
    this.worker = undefined
  }

  private start(): Worker {
    const worker = new Worker(programBeside(import.meta.url, "layout-thread"))
    worker.on("message", (failure: SystemFailure | null) => {
      const waiting = this.waiting.shift()
      if (failure === null) waiting?.resolve()
      else waiting?.reject(errorOf(failure))
    })
    const fail = (cause: Error): void => {
      this.ended ??= cause
      for (const { reject } of this.waiting.splice(0)) reject(cause)
    }
    worker.on("error", fail)
    worker.on("exit", () => fail(new Error("The thread that writes has ended.")))
    return worker
  }
}

const errorOf = ({ code, message, syscall }: SystemFailure): Error =>
  Object.assign(new Error(message), code === undefined ? {} : { code, syscall })
