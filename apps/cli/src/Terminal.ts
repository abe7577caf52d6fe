/**
 * The two streams that the program writes to. Writing is synchronous, so memory stays bounded however slow the reader is
 * and nothing is lost when the program ends; once the reader of a stream has gone, what is written to it is dropped.
 */
import { writeSync } from "node:fs"
import { isatty } from "node:tty"

export type Environment = Readonly<Record<string, string | undefined>>

const styles = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const
type Style = keyof typeof styles

/** Puts a text in a style, or leaves it as it is where colours are off. */
export type Paint = (style: Style, text: string) => string

const plain: Paint = (_, text) => text

const coloured: Paint = (style, text) => `\u001b[${styles[style]}m${text}\u001b[0m`

const isSet = (value: string | undefined): boolean => value !== undefined && value !== ""

/** Whether a stream is painted: `NO_COLOR` wins over `FORCE_COLOR`, and that over what the stream is. */
export const wantsColour = (env: Environment, isTerminal: boolean): boolean => {
  if (isSet(env["NO_COLOR"])) return false
  const forced = env["FORCE_COLOR"] ?? env["CLICOLOR_FORCE"]
  if (isSet(forced)) return forced !== "0"
  return isTerminal && env["TERM"] !== "dumb"
}

const STDOUT = 1
const STDERR = 2
/** How long to wait when the reader of a pipe is slower than we are. */
const WAIT_MS = 2

const DEFAULT_COLUMNS = 80

const sleeper = new Int32Array(new SharedArrayBuffer(4))

export class Terminal {
  readonly isOutTerminal: boolean
  readonly isErrorTerminal: boolean
  readonly paint: Paint
  readonly paintError: Paint
  /** Whether a line on stderr may be drawn over and over. */
  readonly canAnimate: boolean
  private readonly closed = new Set<number>()
  private status = ""

  constructor(env: Environment, noColour: boolean) {
    this.isOutTerminal = isatty(STDOUT)
    this.isErrorTerminal = isatty(STDERR)
    this.paint = !noColour && wantsColour(env, this.isOutTerminal) ? coloured : plain
    this.paintError = !noColour && wantsColour(env, this.isErrorTerminal) ? coloured : plain
    this.canAnimate = this.isErrorTerminal && !isSet(env["CI"]) && env["TERM"] !== "dumb"
  }

  /** Whether the reader of stdout has gone. */
  get isOutClosed(): boolean {
    return this.closed.has(STDOUT)
  }

  /** Width of the terminal; some say that they have none. */
  get columns(): number {
    const columns = this.isErrorTerminal ? process.stderr.columns : 0
    return columns > 0 ? columns : DEFAULT_COLUMNS
  }

  /** Data, to stdout. */
  out(data: string | Uint8Array): void {
    this.clearStatus()
    this.write(STDOUT, typeof data === "string" ? Buffer.from(data) : data)
  }

  /** Words for people, to stderr. */
  error(text: string): void {
    this.clearStatus()
    this.write(STDERR, Buffer.from(text))
  }

  /** Shows a line on stderr in place of the one before; only where `canAnimate`. */
  showStatus(line: string): void {
    if (line === this.status) return
    this.status = line
    this.write(STDERR, Buffer.from(`\r\u001b[2K${line}`))
  }

  clearStatus(): void {
    if (this.status === "") return
    this.status = ""
    this.write(STDERR, Buffer.from("\r\u001b[2K"))
  }

  private write(stream: number, bytes: Uint8Array): void {
    let written = 0
    while (written < bytes.length && !this.closed.has(stream)) {
      try {
        written += writeSync(stream, bytes, written)
      } catch (cause) {
        const code = cause instanceof Error && "code" in cause ? cause.code : undefined
        if (code === "EAGAIN") Atomics.wait(sleeper, 0, 0, WAIT_MS)
        else if (code === "EPIPE" || stream === STDERR) this.closed.add(stream)
        else throw cause
      }
    }
  }
}
