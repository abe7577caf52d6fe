/**
 * The keys at the top of a document, taken from its first bytes by a scan that forgives: it decides which files belong
 * together, never what they say.
 */

import { head } from "./Files.ts"

export type MemberKind = "object" | "array" | "text" | "other"

export interface Outline {
  readonly kind: "object" | "array" | "neither"
  /** What is under each key at the top; an empty text counts as `other`. */
  readonly members: ReadonlyMap<string, MemberKind>
  /** The same for the object under the key `metadata`. */
  readonly metadata: ReadonlyMap<string, MemberKind>
  /** Whether the document came to its end within the bytes looked at. */
  readonly isWhole: boolean
  /** Whether it is no document at all, or a file that ends too early. */
  readonly isBroken: boolean
}

export const outlineLimit = 64 * 1024

/** The outline of a file; a file that cannot be read counts as broken. */
export const outlineOfFile = (path: string, bytes: number): Outline => {
  const start = head(path, outlineLimit)
  return start === undefined ? broken : outlineOf(decode(start), bytes > outlineLimit)
}

/** The outline of a text, of which there is more if it is cut. */
export const outlineOf = (text: string, isCut: boolean): Outline => {
  const start = skipSpace(text, 0)
  const first = text[start]
  if (first !== "{" && first !== "[") {
    return broken
  }
  const members = new Map<string, MemberKind>()
  const metadata = new Map<string, MemberKind>()
  const end =
    first === "["
      ? skipValue(text, start)
      : skipMembers(text, start, (key, at) => {
          members.set(key, kindAt(text, at))
          if (key === "metadata" && text[at] === "{") {
            skipMembers(text, at, (inner, innerAt) => metadata.set(inner, kindAt(text, innerAt)))
          }
        })
  const isWhole = end !== undefined
  return { kind: first === "{" ? "object" : "array", members, metadata, isWhole, isBroken: !isWhole && !isCut }
}

const broken: Outline = { kind: "neither", members: new Map(), metadata: new Map(), isWhole: false, isBroken: true }

const decode = (bytes: Uint8Array): string =>
  new TextDecoder(
    bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : "utf-8"
  ).decode(bytes)

const kindAt = (text: string, at: number): MemberKind =>
  text[at] === "{"
    ? "object"
    : text[at] === "["
      ? "array"
      : text[at] === '"' && text[at + 1] !== '"' && at + 1 < text.length
        ? "text"
        : "other"

/** Where the object at `at` ends; `undefined` if it does not, or is none. */
const skipMembers = (text: string, at: number, visit: (key: string, at: number) => void): number | undefined => {
  let next = skipSpace(text, at + 1)
  if (text[next] === "}") {
    return next + 1
  }
  while (text[next] === '"') {
    const keyEnd = skipString(text, next)
    if (keyEnd === undefined) {
      return undefined
    }
    const colon = skipSpace(text, keyEnd)
    const value = skipSpace(text, colon + 1)
    if (text[colon] !== ":" || value >= text.length) {
      return undefined
    }
    visit(unescape(text.slice(next, keyEnd)), value)
    const valueEnd = skipValue(text, value)
    if (valueEnd === undefined) {
      return undefined
    }
    const after = skipSpace(text, valueEnd)
    if (text[after] === "}") {
      return after + 1
    }
    if (text[after] !== ",") {
      return undefined
    }
    next = skipSpace(text, after + 1)
  }
  return undefined
}

const skipValue = (text: string, start: number): number | undefined => {
  let depth = 0
  let at: number | undefined = start
  while (at !== undefined && at < text.length) {
    const character: string | undefined = text[at]
    if (character === '"') {
      at = skipString(text, at)
    } else if (character === "{" || character === "[") {
      depth++
      at++
    } else if (character === "}" || character === "]") {
      depth--
      at++
    } else if (depth === 0) {
      return skipScalar(text, at)
    } else {
      at++
    }
    if (depth <= 0) {
      return at
    }
  }
  return undefined
}

const skipScalar = (text: string, at: number): number | undefined => {
  scalar.lastIndex = at
  return scalar.test(text) ? scalar.lastIndex : undefined
}

/** The scalar and the character after it, without which it may be cut. */
const scalar = /[-+.\w]+(?=[\s,\]}])/y

const skipString = (text: string, at: number): number | undefined => {
  string.lastIndex = at
  return string.test(text) ? string.lastIndex : undefined
}

const string = /"[^"\\]*(?:\\[^][^"\\]*)*"/y

const skipSpace = (text: string, at: number): number => {
  space.lastIndex = at
  space.test(text)
  return Math.max(at, space.lastIndex)
}

const space = /\s*/y

const unescape = (key: string): string => {
  try {
    return String(JSON.parse(key))
  } catch {
    return key.slice(1, -1)
  }
}
