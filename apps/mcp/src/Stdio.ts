/**
 * Standard input and output as the transport: a message per line. A line that is no message is answered as such and
 * spoils no other; when the input ends, calls that are under way are finished first.
 */
import { withoutEscapedKeys } from "@mallard/schema"
import { Effect, Predicate, Sink, Stdio, Stream } from "effect"
import type { Readable, Writable } from "node:stream"

/** Longest line that is taken, in bytes. */
const MAX_LINE = 64 * 1024 * 1024
/** How long calls may go on after the input has ended. */
const LAST_CALLS_MS = 60_000

export interface StdioTransport {
  readonly stdio: Stdio.Stdio
  /** Completes when the input has ended and every call is answered, or nobody reads the output any more. */
  readonly ended: Promise<void>
}

export const makeStdio = (input: Readable, output: Writable): StdioTransport => {
  const underWay = new Set<string>()
  let isAtEnd = false
  let end: () => void = () => {}
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  const endIfIdle = (): void => {
    if (isAtEnd && underWay.size === 0) end()
  }
  output.on("error", () => end())

  const write = (text: string | Uint8Array): Promise<void> =>
    new Promise((resolve) => output.write(text, () => resolve()))
  const refuse = (code: number, message: string) =>
    write(`${JSON.stringify({ jsonrpc: "2.0", id: null, error: { code, message } })}\n`)

  /** Takes note of a line and gives it as `defineTool` wants it; undefined if it is no message. */
  const admit = async (line: Buffer): Promise<Uint8Array | undefined> => {
    let text = line.toString("utf8")
    if (text.trim() === "") return
    let message: unknown
    try {
      text = withoutEscapedKeys(text)
      message = JSON.parse(text)
    } catch {
      await refuse(-32700, "Parse error: a message is one line of JSON")
      return
    }
    // What is no message would never be answered.
    if (!Array.isArray(message) && !isMessage(message)) {
      await refuse(-32600, "Invalid request: a message is an object of JSON-RPC 2.0")
      return
    }
    for (const one of Array.isArray(message) ? message : [message]) {
      const id = idOf(one, "request")
      if (id !== undefined) underWay.add(id)
      const cancelled = cancelledId(one)
      if (cancelled !== undefined) underWay.delete(cancelled)
    }
    return Buffer.from(text)
  }

  const lines = async function* (): AsyncGenerator<Uint8Array> {
    let waiting: Array<Buffer> = []
    let length = 0
    for await (const chunk of input) {
      let rest: Buffer = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk))
      for (let at = rest.indexOf(NEWLINE); at >= 0; at = rest.indexOf(NEWLINE)) {
        const line = Buffer.concat([...waiting, rest.subarray(0, at + 1)])
        const isTooLong = length + at > MAX_LINE
        waiting = []
        length = 0
        rest = rest.subarray(at + 1)
        if (isTooLong) await refuse(-32600, "Invalid request: the message is larger than 64 MiB")
        else {
          const message = await admit(line)
          if (message !== undefined) yield message
        }
      }
      length += rest.length
      if (length <= MAX_LINE) waiting.push(rest)
      else waiting = []
    }
    const last = Buffer.concat([...waiting, Buffer.from("\n")])
    const message = length <= MAX_LINE ? await admit(last) : undefined
    if (message !== undefined) yield message
    isAtEnd = true
    setTimeout(end, LAST_CALLS_MS).unref()
    endIfIdle()
    // The end of the stream would interrupt what is still under way.
    await ended
  }

  const sent = (text: string): void => {
    for (const line of text.split("\n")) {
      if (line === "") continue
      const message: unknown = JSON.parse(line)
      for (const one of Array.isArray(message) ? message : [message]) {
        const id = idOf(one, "response")
        if (id !== undefined) underWay.delete(id)
      }
    }
    endIfIdle()
  }

  const stdout = () =>
    Sink.forEach((chunk: string | Uint8Array) =>
      Effect.promise(async () => {
        await write(chunk)
        sent(typeof chunk === "string" ? chunk : Buffer.from(chunk).toString("utf8"))
      })
    )
  const stdio = Stdio.make({
    args: Effect.succeed([]),
    stdin: Stream.fromAsyncIterable(lines(), (cause) => cause).pipe(Stream.orDie),
    stdout,
    stderr: () => Sink.drain
  })
  return { stdio, ended }
}

const NEWLINE = 0x0a

const idOf = (message: unknown, sort: "request" | "response"): string | undefined => {
  if (!Predicate.isObject(message) || !("id" in message) || message.id === null || message.id === undefined) return
  return "method" in message === (sort === "request") ? JSON.stringify(message.id) : undefined
}

const isMessage = (message: unknown): boolean =>
  Predicate.isObject(message) &&
  ("method" in message ? typeof message.method === "string" : "result" in message || "error" in message)

/** A cancelled call gets no answer. */
const cancelledId = (message: unknown): string | undefined => {
  if (!Predicate.isObject(message) || !("method" in message) || message.method !== "notifications/cancelled") return
  return "params" in message && Predicate.isObject(message.params) && "requestId" in message.params
    ? JSON.stringify(message.params.requestId)
    : undefined
}
