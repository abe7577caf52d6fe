/**
 * `JSON.parse` without a fault of V8 (found in 13.6 and 14.6; nodejs/node#63785): it can take a key that is written with an
 * escape for another that it has seen before and that holds a backslash, so that `{"a":1,"\n":2}` becomes
 * `{"a":1,"\\":2}`. It does so only while keys hold escapes, so keys are freed of them before and given back after.
 */

/**
 * The value of a JSON text, as `JSON.parse` should give it: of duplicate keys the last, numbers as doubles. Throws
 * `SyntaxError` for what is no JSON, `RangeError` for what nests deeper than `JSON.parse` can follow.
 */
export const parseJson = (text: string): unknown => {
  const plain = withoutEscapedKeys(text)
  const value: unknown = JSON.parse(plain)
  return plain === text ? value : withEscapedKeys(value)
}

/**
 * The same JSON for a parser that is not ours, with no escape in any key. `withEscapedKeys` gives the keys back in what it
 * made of it. Throws `SyntaxError` for an escape that is none.
 */
export const withoutEscapedKeys = (text: string): string => {
  if (!isMarked(text)) return text
  let plain = ""
  let copied = 0
  for (let start = text.indexOf('"'); start >= 0;) {
    const end = stringEnd(text, start)
    if (text[afterSpace(text, end)] === ":") {
      const key = text.slice(start, end)
      if (isMarked(key)) {
        plain += `${text.slice(copied, start)}"${plainKey(String(JSON.parse(key)))}"`
        copied = end
      }
    }
    start = text.indexOf('"', end)
  }
  return copied === 0 ? text : plain + text.slice(copied)
}

/** Gives a value, read from what `withoutEscapedKeys` gave, the keys of the text, and returns it. */
export const withEscapedKeys = (value: unknown): unknown => {
  // No recursion: what was parsed may be nested deeper than calls can be.
  const waiting = [value]
  while (waiting.length > 0) {
    const next = waiting.pop()
    if (typeof next !== "object" || next === null) continue
    if (!Array.isArray(next) && Object.keys(next).some((key) => key.includes(MARK))) restoreKeys(next)
    for (const member of Object.values(next)) if (typeof member === "object") waiting.push(member)
  }
  return value
}

/** Replaces all keys, as their order is to stay. */
const restoreKeys = (object: object): void => {
  const entries: ReadonlyArray<readonly [string, unknown]> = Object.entries(object)
  for (const [key] of entries) Reflect.deleteProperty(object, key)
  for (const [key, value] of entries) {
    // An assignment would take `__proto__` for something else.
    Object.defineProperty(object, restoredKey(key), { value, writable: true, enumerable: true, configurable: true })
  }
}

/** Whether keys in the text may hold an escape, or what would be taken for one of ours. */
const isMarked = (text: string): boolean => text.includes("\\") || text.includes(MARK)

/** One spelling for each key, so that duplicates stay duplicates. */
const plainKey = (key: string): string =>
  key.replaceAll(NOT_PLAIN, (character) => `${MARK}${character.charCodeAt(0).toString(16).padStart(4, "0")}`)

const restoredKey = (key: string): string =>
  key.replaceAll(MARKED, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))

/** The index after the string that starts at `start`; the end of the text where it does not end. */
const stringEnd = (text: string, start: number): number => {
  for (let quote = text.indexOf('"', start + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let backslashes = 0
    while (text.charCodeAt(quote - 1 - backslashes) === BACKSLASH) backslashes++
    if (backslashes % 2 === 0) return quote + 1
  }
  return text.length
}

const afterSpace = (text: string, at: number): number => {
  while (SPACE.includes(text.charAt(at)) && at < text.length) at++
  return at
}

const BACKSLASH = 0x5c
const SPACE = " \t\n\r"
/** A character for private use, which keys of documents hardly have. */
const MARK = "\ue07f"
const MARKED = new RegExp(`${MARK}([0-9a-f]{4})`, "g")
/** What has to be escaped in a key, or what would be taken for it. */
const NOT_PLAIN = new RegExp(`[\\u0000-\\u001f"\\\\${MARK}]|\\p{Surrogate}`, "gu")
