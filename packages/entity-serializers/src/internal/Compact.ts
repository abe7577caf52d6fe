/**
 * Walks over compact JSON text that is known to be valid: the tokenizer wrote it. Nothing here checks grammar.
 */

const QUOTE = 34
const BACKSLASH = 92

/** The offset after the string that opens at `p`. */
export const skipString = (bytes: Uint8Array, p: number): number => {
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

/** One member of an object: its key's value, and where its value stands. */
export interface Member {
  readonly key: string
  readonly start: number
  readonly end: number
}

/** The members of the object that opens at `p`, in order, duplicates included. */
export const members = (bytes: Uint8Array, p: number): ReadonlyArray<Member> => {
  const found: Array<Member> = []
  let at = p + 1
  while (bytes[at] !== 125) {
    if (bytes[at] === 44) at++
    const keyEnd = skipString(bytes, at)
    const end = skipValue(bytes, keyEnd + 1)
    found.push({ key: stringValue(bytes, at, keyEnd), start: keyEnd + 1, end })
    at = end
  }
  return found
}

/** One reference token of a JSON pointer (RFC 6901). */
export const pointerToken = (key: string): string => `/${key.replace(/~/g, "~0").replace(/\//g, "~1")}`

/** The JSON pointer, from the value at `from`, of the key that stands at `to` in it; text after `to` is not looked at. */
export const pointerOfKey = (bytes: Uint8Array, from: number, to: number): string => {
  const path: Array<string> = []
  let at = from
  for (;;) {
    // At the opening byte of the container that holds `to`.
    if (bytes[at] === 123) {
      at++
      for (;;) {
        if (bytes[at] === 44) at++
        const keyEnd = skipString(bytes, at)
        const token = pointerToken(stringValue(bytes, at, keyEnd))
        if (at === to) return path.join("") + token
        const end = skipTo(bytes, keyEnd + 1, to)
        if (end > to) {
          path.push(token)
          at = keyEnd + 1
          break
        }
        at = end
      }
    } else {
      at++
      for (let index = 0; ; index++) {
        if (bytes[at] === 44) at++
        const end = skipTo(bytes, at, to)
        if (end > to) {
          path.push(`/${index}`)
          break
        }
        at = end
      }
    }
  }
}

/** Like `skipValue`, but stops with `to + 1` when the value reaches over `to`. */
const skipTo = (bytes: Uint8Array, p: number, to: number): number => {
  let at = p
  let depth = 0
  do {
    if (at >= to) return to + 1
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
