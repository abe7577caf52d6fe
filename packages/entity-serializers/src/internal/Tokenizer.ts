/**
 * One strict JSON tokenizer over bytes, the only reader on the import path. Each method reads one token at `p` of
 * `input` and writes its compact form at `o` of `output`; no JavaScript value is built, so no number, key or code point
 * can be altered. It accepts RFC 8259 in UTF-8 (checked by the caller per window) and Python's three tokens `NaN`,
 * `Infinity`, `-Infinity`; it refuses everything else with a `JsonProblem`.
 *
 * The byte at `input[end]` must be 0: no token contains it, so inner loops need no bounds check.
 */
import { AUX } from "../Cells.ts"
import { JsonProblem, type JsonProblemCode } from "../JsonProblem.ts"
import { pointerToken, stringValue } from "./Compact.ts"
import { KeySet } from "./KeySet.ts"

/** Thrown when the window ends inside a token and more input may come. */
export const NEED_INPUT = new (class extends Error {
  override readonly name = "NeedInput"
})("more input is needed")

const LF = 10
const CR = 13
const TAB = 9
const SPACE = 32
const QUOTE = 34
const MINUS = 45
const BACKSLASH = 92

const HEX = "0123456789abcdef"
const hexDigit = (c: number): number =>
  c >= 48 && c <= 57 ? c - 48 : c >= 97 && c <= 102 ? c - 87 : c >= 65 && c <= 70 ? c - 55 : -1

/** What an opaque value holds that a typed column could not take back exactly. */
export const LONE_SURROGATE = 1
export const PYTHON_TOKEN = 2

const MANY_KEYS = 24

export class Tokenizer {
  input: Uint8Array = new Uint8Array(1)
  /** Read position. */
  p = 0
  /** Where the valid bytes of `input` end; `input[end]` is 0. */
  end = 0
  /** Whether no further input follows this window. */
  last = true
  /** Offset of `input[0]` in the whole source. */
  base = 0
  output: Uint8Array = new Uint8Array(1 << 16)
  /** Write position. */
  o = 0
  maxDepth = 10_000
  /** Longest string or number in bytes of its source. */
  maxTokenBytes = 64 << 20
  /** Containers open around the value being read. */
  depth = 0
  /** Of the last string: whether its compact form holds a backslash, so that its value differs from its text. */
  escaped = false
  /** Flags (`LONE_SURROGATE`, `PYTHON_TOKEN`) raised since the caller last cleared them. */
  flags = 0
  /** Called for each key that its object has already; `level` and `key` are for `pointerOfKey`. */
  onDuplicateKey: (offset: number, level: number, key: number) => void = () => {}

  private stack: Uint8Array = new Uint8Array(256)
  private keyStarts: Int32Array = new Int32Array(256)
  private keyEnds: Int32Array = new Int32Array(256)
  private keyBases: Int32Array = new Int32Array(256)
  /** Index of the element being read, of arrays. */
  private indexes: Int32Array = new Int32Array(256)

  /** Makes room for the compact form of all that is left of the window; compact text is never longer than its source. */
  reserve(): void {
    this.makeRoom(this.end - this.p)
  }

  /** Adds compact text that is at hand to the output; returns its offset there. */
  append(text: Uint8Array): number {
    this.makeRoom(text.length)
    const offset = this.o
    this.output.set(text, offset)
    this.o += text.length
    return offset
  }

  private makeRoom(bytes: number): void {
    const wanted = this.o + bytes + 64
    if (wanted <= this.output.length) return
    if (wanted > AUX)
      throw new RangeError("a batch holds more than 1 GiB of text; write it and clear it before reading on")
    const grown = new Uint8Array(Math.max(wanted, Math.min(this.output.length * 2, AUX)))
    grown.set(this.output.subarray(0, this.o))
    this.output = grown
  }

  fail(code: JsonProblemCode, at: number = this.p): never {
    if (at >= this.end) {
      if (!this.last) throw NEED_INPUT
      throw new JsonProblem("unexpected-end", this.base + this.end)
    }
    throw new JsonProblem(code, this.base + at)
  }

  /** Skips white space and returns the byte after it, 0 at the end of the window. */
  peek(): number {
    const input = this.input
    let p = this.p
    let c = input[p]!
    while (c === SPACE || c === LF || c === CR || c === TAB) c = input[++p]!
    this.p = p
    return c
  }

  /** A string with its quotes; `p` is at the opening quote. */
  string(): void {
    const input = this.input
    const output = this.output
    let p = this.p
    let o = this.o
    let c = input[p]!
    this.escaped = false
    do {
      output[o++] = c
      c = input[++p]!
    } while (c >= SPACE && c !== QUOTE && c !== BACKSLASH)
    if (c === QUOTE) {
      output[o] = QUOTE
      this.endString(p + 1, o + 1)
      return
    }
    this.stringTail(p, o)
  }

  private endString(p: number, o: number): void {
    if (p - this.p > this.maxTokenBytes) this.fail("too-large")
    this.p = p
    this.o = o
  }

  private stringTail(from: number, to: number): void {
    const input = this.input
    const output = this.output
    let p = from
    let o = to
    for (;;) {
      const c = input[p]!
      if (c === QUOTE) {
        output[o] = QUOTE
        this.endString(p + 1, o + 1)
        return
      }
      if (c < SPACE) this.fail("control-character", p)
      if (c !== BACKSLASH) {
        output[o++] = c
        p++
        continue
      }
      const e = input[p + 1]!
      if (p + 1 >= this.end) this.fail("unexpected-end", p + 1)
      if (e === 47) {
        output[o++] = 47
        p += 2
      } else if (e === QUOTE || e === BACKSLASH || e === 98 || e === 102 || e === 110 || e === 114 || e === 116) {
        this.escaped = true
        output[o++] = BACKSLASH
        output[o++] = e
        p += 2
      } else if (e === 117) {
        let unit = this.hex4(p + 2)
        p += 6
        if (unit >= 0xd800 && unit <= 0xdfff) {
          if (unit <= 0xdbff && p + 1 >= this.end && !this.last) throw NEED_INPUT
          if (unit <= 0xdbff && input[p] === BACKSLASH && input[p + 1] === 117) {
            const low = this.hex4(p + 2)
            if (low >= 0xdc00 && low <= 0xdfff) {
              p += 6
              const point = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
              output[o++] = 0xf0 | (point >> 18)
              output[o++] = 0x80 | ((point >> 12) & 63)
              output[o++] = 0x80 | ((point >> 6) & 63)
              output[o++] = 0x80 | (point & 63)
              continue
            }
          }
          this.flags |= LONE_SURROGATE
          this.escaped = true
          o = this.unicodeEscape(unit, o)
        } else if (unit < SPACE) {
          this.escaped = true
          const short =
            unit === 8 ? 98 : unit === 9 ? 116 : unit === 10 ? 110 : unit === 12 ? 102 : unit === 13 ? 114 : 0
          if (short === 0) o = this.unicodeEscape(unit, o)
          else {
            output[o++] = BACKSLASH
            output[o++] = short
          }
        } else if (unit === QUOTE || unit === BACKSLASH) {
          this.escaped = true
          output[o++] = BACKSLASH
          output[o++] = unit
        } else if (unit < 0x80) {
          output[o++] = unit
        } else if (unit < 0x800) {
          output[o++] = 0xc0 | (unit >> 6)
          output[o++] = 0x80 | (unit & 63)
        } else {
          output[o++] = 0xe0 | (unit >> 12)
          output[o++] = 0x80 | ((unit >> 6) & 63)
          output[o++] = 0x80 | (unit & 63)
        }
      } else this.fail("invalid-escape", p + 1)
    }
  }

  private hex4(at: number): number {
    let unit = 0
    for (let i = 0; i < 4; i++) {
      const digit = hexDigit(this.input[at + i]!)
      if (digit < 0) this.fail("invalid-escape", at + i)
      unit = unit * 16 + digit
    }
    return unit
  }

  private unicodeEscape(unit: number, at: number): number {
    const output = this.output
    output[at] = BACKSLASH
    output[at + 1] = 117
    for (let i = 0; i < 4; i++) output[at + 2 + i] = HEX.charCodeAt((unit >> (12 - 4 * i)) & 15)
    return at + 6
  }

  /** A number, `true`, `false`, `null` or one of Python's tokens; `p` is at its first byte. */
  scalar(): void {
    const c = this.input[this.p]!
    if ((c >= 48 && c <= 57) || c === MINUS) this.number()
    else if (c === 116) this.word("true")
    else if (c === 102) this.word("false")
    else if (c === 110) this.word("null")
    else if (c === 78) this.word("NaN")
    else if (c === 73) this.word("Infinity")
    else this.fail("unexpected-byte")
  }

  private number(): void {
    const input = this.input
    const output = this.output
    const start = this.p
    let p = start
    let o = this.o
    let c = input[p]!
    if (c === MINUS) {
      if (input[p + 1] === 73) {
        output[o] = MINUS
        this.p++
        this.o++
        return this.word("Infinity")
      }
      output[o++] = c
      c = input[++p]!
    }
    if (c === 48) {
      output[o++] = c
      c = input[++p]!
      if (c >= 48 && c <= 57) this.fail("invalid-number", p)
    } else if (c >= 49 && c <= 57) {
      do {
        output[o++] = c
        c = input[++p]!
      } while (c >= 48 && c <= 57)
    } else this.fail("invalid-number", p)
    if (c === 46) {
      output[o++] = c
      c = input[++p]!
      if (c < 48 || c > 57) this.fail("invalid-number", p)
      do {
        output[o++] = c
        c = input[++p]!
      } while (c >= 48 && c <= 57)
    }
    if (c === 101 || c === 69) {
      output[o++] = c
      c = input[++p]!
      if (c === 43 || c === MINUS) {
        output[o++] = c
        c = input[++p]!
      }
      if (c < 48 || c > 57) this.fail("invalid-number", p)
      do {
        output[o++] = c
        c = input[++p]!
      } while (c >= 48 && c <= 57)
    }
    // A number may go on in the next window.
    if (p >= this.end && !this.last) throw NEED_INPUT
    if (p - start > this.maxTokenBytes) this.fail("too-large", start)
    this.p = p
    this.o = o
  }

  private word(text: string): void {
    const input = this.input
    const output = this.output
    const length = text.length
    for (let i = 0; i < length; i++) {
      const c = text.charCodeAt(i)
      if (input[this.p + i] !== c) this.fail("unexpected-byte", this.p + i)
      output[this.o + i] = c
    }
    if (length > 5 || length === 3) this.flags |= PYTHON_TOKEN
    this.p += length
    this.o += length
  }

  /**
   * Any value, compacted, without recursion. Reports duplicate keys. Nothing of the value is kept but its text and the
   * flags it raises.
   */
  value(): void {
    if (this.manyKeys.length > 0) this.manyKeys.length = 0
    const outerDepth = this.depth
    let level = 0
    let keys = 0
    let c = this.peek()
    for (;;) {
      // A value starts at p.
      if (c === QUOTE) this.string()
      else if (c === 123 || c === 91) {
        if (outerDepth + level >= this.maxDepth) this.fail("too-deep")
        if (level === this.stack.length) this.growStack()
        this.stack[level] = c
        this.keyBases[level] = keys
        this.indexes[level] = 0
        level++
        this.output[this.o++] = c
        this.p++
        c = this.peek()
        if (c === (this.stack[level - 1] === 123 ? 125 : 93)) {
          // Empty container: falls through to the closing loop below.
        } else if (this.stack[level - 1] === 123) {
          keys = this.key(c, keys, level)
          c = this.peek()
          continue
        } else continue
      } else this.scalar()
      // A value has ended, or an empty container is open at its closing byte.
      for (;;) {
        if (level === 0) return
        const open = this.stack[level - 1]!
        c = this.peek()
        if (c === 44) {
          this.output[this.o++] = 44
          this.p++
          c = this.peek()
          if (open === 123) {
            keys = this.key(c, keys, level)
            c = this.peek()
          } else this.indexes[level - 1]!++
          break
        }
        if (c !== (open === 123 ? 125 : 93)) this.fail("unexpected-byte")
        this.output[this.o++] = c
        this.p++
        level--
        keys = this.keyBases[level]!
        while (this.manyKeys.length > 0 && this.manyKeys.at(-1)!.base >= keys) this.manyKeys.pop()
      }
    }
  }

  private key(c: number, keys: number, level: number): number {
    if (c !== QUOTE) this.fail("unexpected-byte")
    const base = this.keyBases[level - 1]!
    // Where a set remembers the keys, only the last has a place here: pointers need it.
    const key = Math.min(keys, base + MANY_KEYS + 1)
    const at = this.p
    const start = this.o
    this.string()
    if (key === this.keyStarts.length) {
      this.keyStarts = grow(this.keyStarts)
      this.keyEnds = grow(this.keyEnds)
    }
    this.keyStarts[key] = start
    this.keyEnds[key] = this.o
    if (this.hasKey(base, key)) this.onDuplicateKey(this.base + at, level, key)
    if (this.peek() !== 58) this.fail("unexpected-byte")
    this.output[this.o++] = 58
    this.p++
    return key + 1
  }

  /** The JSON pointer, from the value being read, of the key that `onDuplicateKey` was called for. */
  pointerOfKey(level: number, key: number): string {
    let pointer = ""
    for (let i = 0; i < level; i++) {
      if (this.stack[i] === 91) pointer += `/${this.indexes[i]}`
      else {
        const at = i === level - 1 ? key : this.keyBases[i + 1]! - 1
        pointer += pointerToken(stringValue(this.output, this.keyStarts[at]!, this.keyEnds[at]!))
      }
    }
    return pointer
  }

  private hasKey(base: number, at: number): boolean {
    const { keyStarts, keyEnds, output } = this
    const start = keyStarts[at]!
    const length = keyEnds[at]! - start
    if (at - base > MANY_KEYS) return this.hasKeyAmongMany(base, at)
    for (let i = base; i < at; i++) {
      const other = keyStarts[i]!
      if (keyEnds[i]! - other !== length) continue
      let j = 1
      while (j < length && output[other + j] === output[start + j]) j++
      if (j === length) return true
    }
    return false
  }

  /** Objects with many keys have a set of them, so that the check stays linear; the innermost comes last. */
  private readonly manyKeys: Array<{ readonly base: number; readonly keys: KeySet }> = []

  private hasKeyAmongMany(base: number, at: number): boolean {
    let top = this.manyKeys.at(-1)
    if (top?.base !== base) {
      top = { base, keys: new KeySet() }
      for (let i = base; i < at; i++) top.keys.add(this.output, this.keyStarts[i]!, this.keyEnds[i]!)
      this.manyKeys.push(top)
    }
    return top.keys.add(this.output, this.keyStarts[at]!, this.keyEnds[at]!)
  }

  private growStack(): void {
    const stack = new Uint8Array(this.stack.length * 2)
    stack.set(this.stack)
    this.stack = stack
    this.keyBases = grow(this.keyBases)
    this.indexes = grow(this.indexes)
  }
}

const grow = (array: Int32Array): Int32Array => {
  const grown = new Int32Array(array.length * 2)
  grown.set(array)
  return grown
}
