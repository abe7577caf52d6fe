/**
 * Looking ahead into an object that has not been read yet, for what it says about itself: `resourceType`, `DOMAIN`. Works
 * on the source's bytes and trusts nothing: where they are no JSON it finds nothing, and the reading that follows says what
 * is wrong.
 */

/** What an object that is about to be read says. */
export interface Look {
  /** The text of the string under a key, of duplicates the first; undefined where there is none. */
  readonly string: (key: string) => string | undefined
  /** The value under a key as JavaScript has it, of duplicates the first; undefined where there is none. */
  readonly value: (key: string) => unknown
  /** All keys, in order. */
  readonly keys: () => ReadonlyArray<string>
}

/** The string under a key of the object whose text starts the bytes, as far as they go. */
export const stringMember = (bytes: Uint8Array, key: string): string | undefined =>
  lookAt(bytes, skipSpace(bytes, 0, bytes.length), bytes.length, () => undefined).string(key)

/** Looks at the object that starts at `p`; `cut` is called when the bytes end inside of it. */
export const lookAt = (bytes: Uint8Array, p: number, end: number, cut: () => void): Look => {
  const value = (key: string): unknown => {
    let found: unknown
    const whole = eachMember(bytes, p, end, (name, from, to) => {
      if (name !== key) return true
      found = parsed(textOf(bytes, from, to))
      return false
    })
    if (!whole) cut()
    return found
  }
  return {
    value,
    string: (key) => {
      const found = value(key)
      return typeof found === "string" ? found : undefined
    },
    keys: () => {
      const keys: Array<string> = []
      const whole = eachMember(bytes, p, end, (name) => {
        keys.push(name)
        return true
      })
      if (!whole) cut()
      return keys
    }
  }
}

const QUOTE = 34
const BACKSLASH = 92

/** Visits members until `visit` says false. False when the bytes end before that, or before the object does. */
const eachMember = (
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (key: string, from: number, to: number) => boolean
): boolean => {
  if (bytes[start] !== 123) return true
  let p = skipSpace(bytes, start + 1, end)
  while (p < end) {
    if (bytes[p] !== QUOTE) return true
    const keyEnd = skipString(bytes, p, end)
    const colon = skipSpace(bytes, keyEnd, end)
    const from = skipSpace(bytes, colon + 1, end)
    if (from >= end) return false
    if (bytes[colon] !== 58) return true
    const to = skipValue(bytes, from, end)
    if (to >= end) return false
    const key = textOf(bytes, p, keyEnd)
    const name = key.includes("\\") ? parsed(key) : key.slice(1, -1)
    if (typeof name === "string" && !visit(name, from, to)) return true
    const after = skipSpace(bytes, to, end)
    if (after < end && bytes[after] !== 44) return true
    p = skipSpace(bytes, after + 1, end)
  }
  return false
}

const textOf = (bytes: Uint8Array, from: number, to: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString("utf8")

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const skipSpace = (bytes: Uint8Array, start: number, end: number): number => {
  let p = start
  while (p < end && (bytes[p] === 32 || bytes[p] === 10 || bytes[p] === 13 || bytes[p] === 9)) p++
  return p
}

/** The offset after the string that opens at `start`; `end` or more when it does not close. */
const skipString = (bytes: Uint8Array, start: number, end: number): number => {
  let p = start + 1
  while (p < end && bytes[p] !== QUOTE) p += bytes[p] === BACKSLASH ? 2 : 1
  return p + 1
}

const skipValue = (bytes: Uint8Array, start: number, end: number): number => {
  let depth = 0
  let p = start
  while (p < end) {
    const c = bytes[p]!
    if (c === QUOTE) {
      p = skipString(bytes, p, end)
      if (depth === 0) return p
      continue
    }
    if (c === 123 || c === 91) depth++
    else if (c === 125 || c === 93) {
      // Of a scalar, the bracket belongs to what is around it.
      if (depth === 0) return p
      if (--depth === 0) return p + 1
    } else if (depth === 0 && (c === 44 || c === 32 || c === 10 || c === 13 || c === 9)) return p
    p++
  }
  return p
}
