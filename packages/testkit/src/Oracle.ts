/**
 * A second reader of JSON text, simple and slow, that shares no code with the engine. It accepts exactly RFC 8259 plus
 * `NaN`, `Infinity` and `-Infinity`, keeps every spelling, and throws `SyntaxError` on anything else.
 */

import { createHash } from "node:crypto"
import {
  jsonArray,
  jsonNumber,
  jsonObject,
  jsonToken,
  stringOfPieces,
  type JsonMember,
  type JsonString,
  type JsonTree,
  type StringPiece
} from "./JsonTree.ts"

/** The compact text of a JSON text. */
export const compactText = (text: string): string => {
  const out: Array<string> = []
  const stack: Array<JsonTree | string> = [parseText(text)]
  for (let entry = stack.pop(); entry !== undefined; entry = stack.pop()) {
    if (typeof entry === "string") out.push(entry)
    else if (entry._tag === "String") out.push(quote(entry))
    else if (entry._tag === "Array") {
      stack.push("]", ...separated(entry.elements.map((element) => [element])).toReversed(), "[")
    } else if (entry._tag === "Object") {
      stack.push("}", ...separated(entry.members.map(({ key, value }) => [key, ":", value])).toReversed(), "{")
    } else out.push(entry.text)
  }
  return out.join("")
}

/** The digest of a compact text: SHA-256 of its UTF-8 in lower-case hex. */
export const digestOfCompactText = (compact: string): string =>
  createHash("sha256").update(compact, "utf8").digest("hex")

/** The digest of a JSON text, whatever its layout and spelling. */
export const digestOfText = (text: string): string => digestOfCompactText(compactText(text))

/**
 * The text in a file: UTF-8 with or without a byte order mark, or UTF-16 with one. Throws `TypeError` on bytes that are
 * no text in it.
 */
export const decodeText = (bytes: Uint8Array): string => {
  const encoding =
    bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : "utf-8"
  return new TextDecoder(encoding, { fatal: true }).decode(bytes)
}

/** The tree of a JSON text with its spelling: `toText(parseText(text))` is `text`. */
export const parseText = (text: string): JsonTree => {
  const open: Array<Container> = []
  let at = 0

  const fail = (): never => {
    throw new SyntaxError(`Not JSON at UTF-16 offset ${at}`)
  }
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    const found = pattern.exec(text)?.[0]
    if (found !== undefined) at += found.length
    return found
  }
  const space = () => match(whitespace) ?? ""
  const expect = (character: string) => {
    if (text[at] !== character) fail()
    at++
  }
  const string = (before: string): JsonString => {
    expect('"')
    const pieces: Array<StringPiece> = []
    while (text[at] !== '"') {
      const spelt = match(stringPiece) ?? fail()
      pieces.push({ means: meaning(spelt), spelt })
    }
    at++
    return { ...stringOfPieces(pieces), before, after: space() }
  }
  const scalar = (before: string): JsonTree => {
    if (text[at] === '"') return string(before)
    const token = match(tokens)
    if (token !== undefined) return { ...jsonToken(tokenOf(token)), before, after: space() }
    return { ...jsonNumber(match(number) ?? fail()), before, after: space() }
  }
  const key = (before: string): JsonString => {
    const read = string(before)
    expect(":")
    return read
  }

  for (;;) {
    const before = space()
    let value: JsonTree
    if (text[at] === "[" || text[at] === "{") {
      const container: Container = { array: text[at] === "[", before, elements: [], members: [], key: undefined }
      at++
      const inner = space()
      const closing = container.array ? "]" : "}"
      if (text[at] !== closing) {
        if (container.array) at -= inner.length
        else container.key = key(inner)
        open.push(container)
        continue
      }
      at++
      value = { ...(container.array ? jsonArray([]) : jsonObject([])), inner, before, after: space() }
    } else value = scalar(before)

    for (;;) {
      const container = open.at(-1)
      if (container === undefined) {
        if (at < text.length) fail()
        return value
      }
      if (container.key === undefined) container.elements.push(value)
      else container.members.push({ key: container.key, value })
      if (text[at] === ",") {
        at++
        if (!container.array) container.key = key(space())
        break
      }
      expect(container.array ? "]" : "}")
      open.pop()
      value = {
        ...(container.array ? jsonArray(container.elements) : jsonObject(container.members)),
        before: container.before,
        after: space()
      }
    }
  }
}

interface Container {
  readonly array: boolean
  readonly before: string
  readonly elements: Array<JsonTree>
  readonly members: Array<JsonMember>
  /** The key whose value is being read; undefined in an array. */
  key: JsonString | undefined
}

const whitespace = /[ \t\n\r]*/y
const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const tokens = /null|true|false|NaN|-?Infinity/y
// A stretch of ordinary characters, or one escape.
// oxlint-disable-next-line eslint/no-control-regex
const stringPiece = /[^"\\\u0000-\u001f]+|\\u[0-9a-fA-F]{4}|\\["\\/bfnrt]/y

const meanings = new Map([
  ["b", 8],
  ["t", 9],
  ["n", 10],
  ["f", 12],
  ["r", 13]
])

const meaning = (spelt: string): string => {
  if (spelt[0] !== "\\") return spelt
  const letter = spelt.slice(1, 2)
  if (letter === "u") return String.fromCharCode(Number.parseInt(spelt.slice(2), 16))
  const code = meanings.get(letter)
  return code === undefined ? letter : String.fromCharCode(code)
}

const tokenOf = (text: string) => {
  switch (text) {
    case "null":
    case "true":
    case "false":
    case "NaN":
    case "Infinity":
    case "-Infinity":
      return text
    default:
      throw new SyntaxError("Not a token")
  }
}

// Written out rather than taken from JSON.stringify, on which the other oracle rests.
const quote = (string: JsonString): string => {
  const value = string.pieces.map(({ means }) => means).join("")
  let out = '"'
  for (const character of value) {
    const code = character.codePointAt(0) ?? 0
    const letter = [...meanings].find(([, meant]) => meant === code)?.[0]
    if (character === '"' || character === "\\") out += `\\${character}`
    else if (letter !== undefined) out += `\\${letter}`
    else if (code < 0x20 || (code >= 0xd800 && code <= 0xdfff)) out += `\\u${code.toString(16).padStart(4, "0")}`
    else out += character
  }
  return `${out}"`
}

const separated = (groups: ReadonlyArray<ReadonlyArray<JsonTree | string>>): ReadonlyArray<JsonTree | string> =>
  groups.flatMap((group, at) => (at === 0 ? group : [",", ...group]))
