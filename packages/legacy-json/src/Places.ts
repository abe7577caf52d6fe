/**
 * Where in a text the values stand that JSON pointers name. For texts that have been read as documents already: on any
 * other it stops where it does not know how to go on. It does not recurse, and makes no values.
 */

/** A value in a text: bytes `start` to `end`, and where it begins for people. */
export interface ValuePlace {
  readonly start: number
  readonly end: number
  readonly line: number
  /** In characters, from 1. */
  readonly column: number
}

/** The wanted pointers below a value, by their next step. */
interface Wanted {
  pointer: string | undefined
  readonly next: Map<string, Wanted>
}

interface Level {
  readonly isArray: boolean
  /** What is wanted in it; undefined if nothing is. */
  readonly wanted: Wanted | undefined
  /** What is wanted of it as a whole. */
  readonly pointer: string | undefined
  readonly start: number
  ordinal: number
}

/**
 * The places of the values that pointers name, as far as they are there. Of several members with one key it is the last. A
 * text of `lines` is an array of its documents.
 */
export const placesOf = (
  text: Uint8Array,
  pointers: Iterable<string>,
  lines = false
): ReadonlyMap<string, ValuePlace> => {
  const found = new Map<string, { readonly start: number; readonly end: number }>()
  const root = wantedOf(pointers)
  const stack: Array<Level> = []
  if (lines) stack.push({ isArray: true, wanted: root, pointer: undefined, start: 0, ordinal: 0 })
  /** Whether what comes next is a key, and what is wanted of the value after it. */
  let wanted: Wanted | undefined = lines ? root.next.get("0") : root
  let isKey = false
  const note = (pointer: string | undefined, start: number, end: number): void => {
    if (pointer !== undefined) found.set(pointer, { start, end })
  }
  /** After a value of a text of lines, the next document begins without a comma. */
  const ended = (): void => {
    const [level] = stack
    if (lines && stack.length === 1 && level !== undefined) wanted = root.next.get(String(++level.ordinal))
  }
  for (let p = 0; p < text.length;) {
    const byte = text[p]!
    if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      const isArray = byte === OPEN_ARRAY
      stack.push({ isArray, wanted, pointer: wanted?.pointer, start: p, ordinal: 0 })
      isKey = !isArray
      wanted = isArray ? wanted?.next.get("0") : undefined
      p++
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      const level = stack.pop()
      if (level === undefined) break
      note(level.pointer, level.start, ++p)
      isKey = false
      ended()
    } else if (byte === COMMA) {
      const level = stack.at(-1)
      if (level === undefined) break
      isKey = !level.isArray
      wanted = level.isArray ? level.wanted?.next.get(String(++level.ordinal)) : undefined
      p++
    } else if (byte === QUOTE) {
      const end = endOfString(text, p)
      if (isKey) {
        const level = stack.at(-1)
        wanted = level?.wanted === undefined ? undefined : level.wanted.next.get(keyOf(text, p, end))
        isKey = false
      } else {
        note(wanted?.pointer, p, end)
        ended()
      }
      p = end
    } else if (byte === COLON || isSpace(byte)) p++
    else {
      const start = p
      while (p < text.length && !isEnd(text[p]!)) p++
      note(wanted?.pointer, start, p)
      ended()
    }
  }
  return withLines(text, found)
}

const OPEN_OBJECT = 123
const CLOSE_OBJECT = 125
const OPEN_ARRAY = 91
const CLOSE_ARRAY = 93
const COMMA = 44
const COLON = 58
const QUOTE = 34
const BACKSLASH = 92
const NEWLINE = 10

const isSpace = (byte: number): boolean => byte === 32 || byte === NEWLINE || byte === 13 || byte === 9

const isEnd = (byte: number): boolean =>
  byte === COMMA || byte === CLOSE_OBJECT || byte === CLOSE_ARRAY || byte === COLON || byte === QUOTE || isSpace(byte)

/** The byte after the closing quote. */
const endOfString = (text: Uint8Array, start: number): number => {
  for (let from = start + 1; ;) {
    const quote = text.indexOf(QUOTE, from)
    if (quote < 0) return text.length
    let backslashes = 0
    while (text[quote - 1 - backslashes] === BACKSLASH) backslashes++
    if (backslashes % 2 === 0) return quote + 1
    from = quote + 1
  }
}

const keyOf = (text: Uint8Array, start: number, end: number): string => {
  const raw = Buffer.from(text.buffer, text.byteOffset + start, end - start).toString("utf8")
  if (!raw.includes("\\")) return raw.slice(1, -1)
  try {
    return String(JSON.parse(raw))
  } catch {
    return raw.slice(1, -1)
  }
}

const wantedOf = (pointers: Iterable<string>): Wanted => {
  const root: Wanted = { pointer: undefined, next: new Map() }
  for (const pointer of pointers) {
    let at = root
    for (const step of pointer.split("/").slice(1)) {
      const key = step.replaceAll("~1", "/").replaceAll("~0", "~")
      const next = at.next.get(key) ?? { pointer: undefined, next: new Map() }
      at.next.set(key, next)
      at = next
    }
    at.pointer = pointer
  }
  return root
}

const withLines = (
  text: Uint8Array,
  found: ReadonlyMap<string, { readonly start: number; readonly end: number }>
): ReadonlyMap<string, ValuePlace> => {
  const places = new Map<string, ValuePlace>()
  let line = 1
  let column = 1
  let at = 0
  for (const [pointer, { end, start }] of [...found].sort(([, left], [, right]) => left.start - right.start)) {
    for (; at < start; at++) {
      if (text[at] === NEWLINE) {
        line++
        column = 1
      } else if ((text[at]! & 0xc0) !== 0x80) column++
    }
    places.set(pointer, { start, end, line, column })
  }
  return places
}
