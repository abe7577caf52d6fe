/**
 * Lays out compact JSON text: indented as Python's `json.dump(indent=…)` does, in ASCII alone if asked for, or both. Works
 * on bytes as they come, in chunks cut anywhere, at any depth, and never builds a value. What it is given must be compact
 * text: it checks nothing.
 */

/** How to lay out a text. */
export interface PrettyOptions {
  /** Spaces per level; without it the text stays on one line. */
  readonly indent?: number | undefined
  /** Writes everything outside printable ASCII as `\uXXXX`, as Python's `ensure_ascii` does. */
  readonly ascii?: boolean | undefined
}

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_LIST = 0x5b
const BACKSLASH = 0x5c
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const NEWLINE = 0x0a
const SPACE = 0x20
const LETTER_U = 0x75

/** Bytes that end a run of bytes copied as they are. */
const stops = (values: ReadonlyArray<number>, from = 0x100): Uint8Array => {
  const table = new Uint8Array(256)
  for (const value of values) table[value] = 1
  table.fill(1, from)
  return table
}

const inText = stops([QUOTE, BACKSLASH])
const inAsciiText = stops([QUOTE, BACKSLASH], 0x7f)
const outside = stops([QUOTE, COMMA, COLON, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT])

const HEX = Buffer.from("0123456789abcdef")

const CAPACITY = 1 << 17
/** Room that one step of the loop may need, indentation aside. */
const MARGIN = 16

/**
 * Lays out one text. `write` is called during `push` and `end` with bytes that are overwritten after it returns.
 */
export class PrettyText {
  private readonly write: (bytes: Uint8Array) => void
  private readonly indent: number
  private readonly ascii: boolean
  private readonly buffer = Buffer.allocUnsafe(CAPACITY)
  private used = 0
  private depth = 0
  private isText = false
  private isEscaped = false
  /** A container has been opened, and nothing of it has come yet. */
  private isOpened = false
  /** Bytes of a character that are still to come, and its bits so far. */
  private missing = 0
  private character = 0

  constructor(options: PrettyOptions, write: (bytes: Uint8Array) => void) {
    this.write = write
    this.indent = options.indent ?? -1
    this.ascii = options.ascii ?? false
  }

  /** Takes the next bytes of the text. */
  push(bytes: Uint8Array, start = 0, end = bytes.length): void {
    const isLaidOut = this.indent >= 0
    const textStops = this.ascii ? inAsciiText : inText
    const out = this.buffer
    const limit = CAPACITY - MARGIN
    let o = this.used
    let p = start
    while (p < end) {
      if (o >= limit) o = this.flush(o)
      if (this.isText) {
        if (this.isEscaped) {
          this.isEscaped = false
          out[o++] = bytes[p++]!
          continue
        }
        let byte = 0
        while (p < end && o < limit && textStops[(byte = bytes[p]!)] === 0) {
          out[o++] = byte
          p++
        }
        if (p === end || o >= limit) continue
        p++
        if (byte < 0x7f) {
          out[o++] = byte
          if (byte === QUOTE) this.isText = false
          else this.isEscaped = true
        } else {
          o = this.escapeByte(byte, o)
        }
        continue
      }
      const byte = bytes[p]!
      if (this.isOpened) {
        this.isOpened = false
        if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) {
          this.depth--
          out[o++] = byte
          p++
          continue
        }
        o = this.newline(o)
      }
      if (outside[byte] === 0) {
        let other = byte
        do {
          out[o++] = other
          p++
        } while (p < end && o < limit && outside[(other = bytes[p]!)] === 0)
        continue
      }
      p++
      switch (byte) {
        case QUOTE:
          this.isText = true
          out[o++] = byte
          break
        case COLON:
          out[o++] = byte
          if (isLaidOut) out[o++] = SPACE
          break
        case COMMA:
          out[o++] = byte
          if (isLaidOut) o = this.newline(o)
          break
        case OPEN_LIST:
        case OPEN_OBJECT:
          out[o++] = byte
          this.depth++
          this.isOpened = isLaidOut
          break
        default:
          this.depth--
          if (isLaidOut) o = this.newline(o)
          out[o++] = byte
      }
    }
    this.used = o
  }

  /** Hands over what is left. */
  end(): void {
    this.used = this.flush(this.used)
  }

  private flush(used: number): number {
    if (used > 0) this.write(this.buffer.subarray(0, used))
    return 0
  }

  private newline(at: number): number {
    let o = at
    this.buffer[o++] = NEWLINE
    let spaces = this.depth * this.indent
    while (spaces > 0) {
      if (o >= CAPACITY - MARGIN) o = this.flush(o)
      const room = Math.min(spaces, CAPACITY - MARGIN - o)
      if (room < 64) for (let i = 0; i < room; i++) this.buffer[o + i] = SPACE
      else this.buffer.fill(SPACE, o, o + room)
      o += room
      spaces -= room
    }
    // What follows a line's indentation needs room too.
    return o >= CAPACITY - MARGIN ? this.flush(o) : o
  }

  /** Collects the bytes of a character beyond printable ASCII, and escapes it when it is whole. */
  private escapeByte(byte: number, at: number): number {
    if (byte === 0x7f) return this.escapeUnit(byte, at)
    if (byte >= 0xc0) {
      this.missing = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1
      this.character = byte & (0x3f >> this.missing)
      return at
    }
    this.character = (this.character << 6) | (byte & 0x3f)
    if (--this.missing > 0) return at
    if (this.character < 0x10000) return this.escapeUnit(this.character, at)
    const rest = this.character - 0x10000
    return this.escapeUnit(0xdc00 | (rest & 0x3ff), this.escapeUnit(0xd800 | (rest >> 10), at))
  }

  private escapeUnit(unit: number, at: number): number {
    const out = this.buffer
    out[at] = BACKSLASH
    out[at + 1] = LETTER_U
    out[at + 2] = HEX[unit >> 12]!
    out[at + 3] = HEX[(unit >> 8) & 15]!
    out[at + 4] = HEX[(unit >> 4) & 15]!
    out[at + 5] = HEX[unit & 15]!
    return at + 6
  }
}

/** A whole compact text laid out. */
export const prettyText = (text: string | Uint8Array, options: PrettyOptions): Buffer => {
  const chunks: Array<Buffer> = []
  const pretty = new PrettyText(options, (bytes) => chunks.push(Buffer.from(bytes)))
  pretty.push(typeof text === "string" ? Buffer.from(text) : text)
  pretty.end()
  return Buffer.concat(chunks)
}
