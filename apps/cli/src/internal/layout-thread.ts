/** Lays texts out and writes them to files, in a thread of its own: see `LayoutThread.ts`. */
import { parentPort } from "node:worker_threads"
import { writeAll } from "@mallard/duckdb-store/Disk"
import { type PrettyOptions, PrettyText } from "@mallard/entity-serializers/Pretty"

/** The next bytes of the text of a file. */
export interface LayoutRequest {
  /** The open file, which is the name of the text too. */
  readonly handle: number
  readonly layout: PrettyOptions
  readonly memory: SharedArrayBuffer
  readonly used: number
  readonly isLast: boolean
}

/** An error of the system in a form that passes from thread to thread; the reply to a request that the system did not take. */
export interface SystemFailure {
  readonly message: string
  readonly code: string | undefined
  readonly syscall: string | undefined
}

const texts = new Map<number, PrettyText>()

const layOut = ({ handle, isLast, layout, memory, used }: LayoutRequest): void => {
  const text = texts.get(handle) ?? new PrettyText(layout, (bytes) => writeAll(handle, bytes))
  texts.set(handle, text)
  text.push(new Uint8Array(memory, 0, used))
  if (!isLast) return
  texts.delete(handle)
  text.end()
}

const failureOf = (error: unknown): SystemFailure => {
  const { code, message, syscall } = error as Partial<NodeJS.ErrnoException>
  return { message: message ?? "writing failed", code, syscall }
}

parentPort?.on("message", (request: LayoutRequest) => {
  let failure: SystemFailure | null = null
  try {
    layOut(request)
  } catch (error) {
    texts.delete(request.handle)
    failure = failureOf(error)
  }
  parentPort?.postMessage(failure, [])
})
