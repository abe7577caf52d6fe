/**
 * Walks over compact JSON text that is known to be valid: the tokenizer wrote it. Nothing here checks grammar.
 */

const QUOTE = 34
const BACKSLASH = 92

/** The offset after the string that opens at `p`. */
const skipString = (bytes: Uint8Array, p: number): number => {
  let at = p + 1
  for (;;) {
    const c = bytes[at]!
    if (c === QUOTE) return at + 1
    at += c === BACKSLASH ? 2 : 1
  }
}

/** The offset after the value that starts at `p`. */
export const skipValue = (bytes: Uint8Array, p: number): number => {
  let at = p
  let depth = 0
  do {
    const c = bytes[at]!
    if (c === QUOTE) at = skipString(bytes, at)
    else if (c === 123 || c === 91) {
      depth++
      at++
    } else if (c === 125 || c === 93) {
      depth--
      at++
    } else if (c === 44 || c === 58) at++
    else at = skipScalar(bytes, at)
  } while (depth > 0)
  return at
}

const skipScalar = (bytes: Uint8Array, p: number): number => {
  let at = p
  for (;;) {
    const c = bytes[at]
    if (c === undefined || c === 44 || c === 125 || c === 93) return at
    at++
  }
}

/** The text of a slice. */
export const slice = (bytes: Uint8Array, start: number, end: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("utf8")

/** The value of a string with its quotes between `start` and `end`. */
export const stringValue = (bytes: Uint8Array, start: number, end: number): string => {
  const text = slice(bytes, start, end)
  return text.includes("\\") ? String(JSON.parse(text)) : text.slice(1, -1)
}

/**
 * Visits the members of the object that opens at `p`, in order, duplicates included: their keys' values, and where their
 * values stand. There may be millions, so nothing is kept of them.
 */
export const eachMember = (
  bytes: Uint8Array,
  p: number,
  visit: (key: string, start: number, end: number) => void
): void => {
  let at = p + 1
  while (bytes[at] !== 125) {
    if (bytes[at] === 44) at++
    const keyEnd = skipString(bytes, at)
    const end = skipValue(bytes, keyEnd + 1)
    visit(stringValue(bytes, at, keyEnd), keyEnd + 1, end)
    at = end
  }
}

/** One reference token of a JSON pointer (RFC 6901). */
export const pointerToken = (key: string): string => `/${key.replace(/~/g, "~0").replace(/\//g, "~1")}`
