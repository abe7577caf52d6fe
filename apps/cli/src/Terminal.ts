/**
 * The two streams that the program writes to. Writing is synchronous, so memory stays bounded however slow the reader is
 * and nothing is lost when the program ends; once the reader of a stream has gone, what is written to it is dropped.
 */
import { writeSync } from "node:fs"
import { isatty } from "node:tty"
import { systemCode } from "@mallard/duckdb-store/Disk"
import { Data } from "effect"

export type Environment = Readonly<Record<string, string | undefined>>

const styles = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const
type Style = keyof typeof styles

/** Puts a text in a style, or leaves it as it is where colours are off. */
export type Paint = (style: Style, text: string) => string

const plain: Paint = (_, text) => text

const coloured: Paint = (style, text) => `\u001b[${styles[style]}m${text}\u001b[0m`

/** How to paint, with colours or without. */
export const paintOf = (hasColours: boolean): Paint => (hasColours ? coloured : plain)

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
const DEFAULT_ROWS = 24

// Control sequences of ECMA-48 and of DEC; between the first two a terminal that knows them shows nothing half drawn.
const TOGETHER = "\u001b[?2026h"
const TOGETHER_END = "\u001b[?2026l"
const CURSOR_HIDDEN = "\u001b[?25l"
const CURSOR_SHOWN = "\u001b[?25h"
const WRAP_OFF = "\u001b[?7l"
const WRAP_ON = "\u001b[?7h"
const REST_OF_LINE = "\u001b[K"
const REST_OF_SCREEN = "\u001b[J"
const ERASED = `\r${REST_OF_SCREEN}`

/** Writes an empty line and these over whatever stands below the cursor, which ends where it began. */
const frame = (lines: ReadonlyArray<string>): string => {
  const back = `\u001b[${lines.length}A`
  const text = ["", ...lines].join(`${REST_OF_LINE}\r\n`)
  return `${TOGETHER}${CURSOR_HIDDEN}${WRAP_OFF}\r${text}${REST_OF_SCREEN}${back}\r${WRAP_ON}${TOGETHER_END}`
}

/** Stdout takes nothing any more, although somebody reads it: a full disk, most of all. */
export class OutputFailed extends Data.TaggedError("OutputFailed")<{
  readonly code: string | undefined
  readonly cause: unknown
}> {}

const sleeper = new Int32Array(new SharedArrayBuffer(4))

export class Terminal {
  readonly isOutTerminal: boolean
  readonly isErrorTerminal: boolean
  readonly paint: Paint
  readonly paintError: Paint
  /** Whether lines on stderr may be drawn over and over. */
  readonly canAnimate: boolean
  private hasPrinted = false
  private readonly closed = new Set<number>()
  private status: ReadonlyArray<string> = []

  constructor(env: Environment, noColour: boolean) {
    this.isOutTerminal = isatty(STDOUT)
    this.isErrorTerminal = isatty(STDERR)
    this.paint = paintOf(!noColour && wantsColour(env, this.isOutTerminal))
    this.paintError = paintOf(!noColour && wantsColour(env, this.isErrorTerminal))
    this.canAnimate = this.isErrorTerminal && !isSet(env["CI"]) && env["TERM"] !== "dumb"
  }

  /** Whether the reader of stdout has gone. */
  get isOutClosed(): boolean {
    return this.closed.has(STDOUT)
  }

  /** Whether anything was given to stdout. */
  get hasOut(): boolean {
    return this.hasPrinted
  }

  /** Width of the terminal; some say that they have none. */
  get columns(): number {
    const columns = this.isErrorTerminal ? process.stderr.columns : 0
    return columns > 0 ? columns : DEFAULT_COLUMNS
  }

  get rows(): number {
    const rows = this.isErrorTerminal ? process.stderr.rows : 0
    return rows > 0 ? rows : DEFAULT_ROWS
  }

  /** Data, to stdout. */
  out(data: string | Uint8Array): void {
    const bytes = typeof data === "string" ? Buffer.from(data) : data
    this.hasPrinted = true
    if (!this.isOutTerminal || this.status.length === 0) return this.write(STDOUT, bytes)
    this.write(STDERR, Buffer.from(ERASED))
    this.write(STDOUT, bytes)
    this.write(STDERR, Buffer.from(frame(this.status)))
  }

  /** Words for people, to stderr: whole lines, which stay above those of `showStatus`. */
  error(text: string): void {
    this.write(STDERR, Buffer.from(this.status.length === 0 ? text : `${ERASED}${text}${frame(this.status)}`))
  }

  /**
   * Shows lines on stderr in place of the ones before, until `clearStatus`; only where `canAnimate`. None may be as wide as
   * the terminal, and they must be fewer than its rows. The hidden cursor waits on the empty line above them: terminals
   * differ in what they do with wide lines when they are made narrower, but none moves the cursor above that line, so
   * nothing that was printed before is lost.
   */
  showStatus(lines: ReadonlyArray<string>): void {
    if (this.status.length === 0) {
      process.once("exit", this.onExit)
      process.on("SIGTSTP", this.onSuspend)
    }
    this.status = lines
    this.write(STDERR, Buffer.from(frame(lines)))
  }

  /** Takes the lines away, and shows the cursor again. */
  clearStatus(): void {
    if (this.status.length === 0) return
    this.status = []
    this.write(STDERR, Buffer.from(`${ERASED}${CURSOR_SHOWN}`))
    process.off("exit", this.onExit)
    process.off("SIGTSTP", this.onSuspend)
  }

  private readonly onExit = (): void => this.clearStatus()

  /** Ctrl-Z: the shell gets its cursor back, and the next lines are shown when the program goes on. */
  private readonly onSuspend = (): void => {
    this.clearStatus()
    process.kill(process.pid, "SIGSTOP")
  }

  private write(stream: number, bytes: Uint8Array): void {
    let written = 0
    while (written < bytes.length && !this.closed.has(stream)) {
      try {
        written += writeSync(stream, bytes, written)
      } catch (cause) {
        const code = systemCode(cause)
        if (code === "EAGAIN") Atomics.wait(sleeper, 0, 0, WAIT_MS)
        // A terminal that was closed answers with an error of input and output.
        else if (code === "EPIPE" || stream === STDERR || (code === "EIO" && this.isOutTerminal))
          this.closed.add(stream)
        else throw new OutputFailed({ code, cause })
      }
    }
  }
}
