/**
 * What can be wrong with JSON bytes, said by code and byte offset, never by content.
 */

import { isUtf8 } from "node:buffer"

/** Codes of refused input. Each names one rule of RFC 8259 or one limit of ours. */
export type JsonProblemCode =
  | "unexpected-byte"
  | "unexpected-end"
  | "trailing-content"
  | "invalid-utf8"
  | "invalid-escape"
  | "invalid-number"
  | "control-character"
  | "not-a-document"
  | "too-deep"
  | "too-large"
  | "unsupported-encoding"

const MESSAGES: Readonly<Record<JsonProblemCode, string>> = {
  "unexpected-byte": "a character that JSON does not allow here",
  "unexpected-end": "the file ends in the middle of the document",
  "trailing-content": "something follows the end of the document",
  "invalid-utf8": "bytes that are not UTF-8; save the file as UTF-8 and try again",
  "invalid-escape": "an escape sequence that JSON does not know",
  "invalid-number": "a number that is not spelt as JSON asks",
  "control-character": "a control character inside a string that is not escaped",
  "not-a-document": "a document must be an object or an array",
  "too-deep": "nested deeper than the limit (--max-depth)",
  "too-large": "one entity or one string is larger than the limit (--max-entity-size)",
  "unsupported-encoding": "an encoding other than UTF-8 or UTF-16 with a byte order mark"
}

/** Thrown by readers of JSON bytes; `offset` counts bytes from the start of the input (of its UTF-8 form). */
export class JsonProblem extends Error {
  override readonly name = "JsonProblem"
  readonly code: JsonProblemCode
  readonly offset: number
  constructor(code: JsonProblemCode, offset: number) {
    super(MESSAGES[code])
    this.code = code
    this.offset = offset
  }
}

/** The offset of the first byte that is not UTF-8; the length of the bytes when all are. */
export const invalidUtf8At = (bytes: Uint8Array): number => {
  let p = 0
  while (p < bytes.length) {
    const c = bytes[p]!
    const length = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0
    if (length === 0 || !isUtf8(bytes.subarray(p, p + length))) return p
    p += length
  }
  return p
}

/** A place in a text: `line` and `column` from 1, column counted in characters (code points). */
export interface Position {
  readonly line: number
  readonly column: number
}

/** The line and column of a byte offset; offsets past the end give the place after the last character. */
export const positionAt = (bytes: Uint8Array, offset: number): Position => {
  let line = 1
  let start = 0
  const end = Math.min(offset, bytes.length)
  for (let at = bytes.indexOf(10); at >= 0 && at < end; at = bytes.indexOf(10, at + 1)) {
    line++
    start = at + 1
  }
  let column = 1
  for (let i = start; i < end; i++) if ((bytes[i]! & 0xc0) !== 0x80) column++
  return { line, column }
}
