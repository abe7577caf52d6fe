/** Asks for what must not be seen: one line from a terminal that does not show it. */
import type { ReadStream } from "node:tty"

const ENTER = /[\r\n]/
/** What a terminal sends for other keys than those of characters, such as arrows. */
// oxlint-disable-next-line no-control-regex
const SEQUENCE = /\u001b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?/gu
const BACKSPACE = new Set(["\u007f", "\b"])
const CLEAR = "\u0015"
const STOP = new Set(["\u0003", "\u0004"])

/** What a line is after some keys; `undefined` when it was given up by Ctrl-C or Ctrl-D. */
export const typed = (line: string, keys: string): { readonly line: string; readonly isDone: boolean } | undefined => {
  let text = line
  for (const key of keys.replace(SEQUENCE, "")) {
    if (STOP.has(key)) return undefined
    if (ENTER.test(key)) return { line: text, isDone: true }
    if (key === CLEAR) text = ""
    else if (BACKSPACE.has(key)) text = [...text].slice(0, -1).join("")
    else text += key
  }
  return { line: text, isDone: false }
}

/**
 * The line that is typed, without the line break; undefined if it was given up. `ask` is called when nothing that is typed is
 * shown any more. The terminal is left as it was.
 */
export const readSecret = (input: ReadStream, ask: () => void): Promise<string | undefined> =>
  new Promise((resolve) => {
    const wasRaw = input.isRaw
    let line = ""
    const end = (result: string | undefined): void => {
      input.off("data", onData)
      input.off("end", onEnd)
      input.setRawMode(wasRaw)
      input.pause()
      resolve(result)
    }
    const onEnd = (): void => end(undefined)
    const onData = (keys: string): void => {
      const next = typed(line, keys)
      if (next === undefined || next.isDone) return end(next?.line)
      line = next.line
    }
    input.setRawMode(true)
    input.setEncoding("utf8")
    input.on("data", onData)
    input.on("end", onEnd)
    input.resume()
    ask()
  })
