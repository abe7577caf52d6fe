/**
 * Arbitraries of JSON text: every spelling that a tokenizer must take, not the values that JavaScript could hold. The
 * texts come from syntax trees (`JsonTree`), which shrink and can be changed piece by piece.
 */

import * as fc from "fast-check"
import { seldom } from "./internal/Seldom.ts"
import {
  jsonArray,
  jsonMember,
  jsonNumber,
  jsonObject,
  jsonString,
  jsonToken,
  nestTree,
  spellPiece,
  stringOfPieces,
  stringValue,
  toText,
  withAsciiEscapes,
  withIndent,
  withWhitespace,
  type JsonMember,
  type JsonObject,
  type JsonString,
  type JsonTree,
  type Spelling,
  type StringPiece
} from "./JsonTree.ts"

export interface JsonTreeOptions {
  /** Levels of arrays and objects that branch; 4 if absent. */
  readonly maxDepth?: number
  /** Levels of the chains of single children that occur now and then; 200 if absent, 0 for none. */
  readonly maxNesting?: number
  /** Elements or members of one node; 5 if absent. */
  readonly maxLength?: number
  /** Whether the root must be an array or an object, as in a document. */
  readonly container?: boolean
}

/** Number tokens of RFC 8259 in every spelling, and Python's three tokens. */
export const arbitraryNumberText: fc.Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: -1000, max: 1000 }).map(String) },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      "0",
      "-0",
      "-0.0",
      "0.0",
      "5",
      "5.0",
      "5.5",
      "98.60",
      "425.00",
      "1E5",
      "1e5",
      "1e+05",
      "1E-007",
      "1.10",
      "100000",
      "0e0",
      "-0e-0",
      "12.345",
      "999999999999.99",
      "0.1234567890123456789012345",
      "12345678901234567.89",
      "123456789012345678901234567890123456789012345678901234567890",
      "2147483647",
      "2147483648",
      "-2147483649",
      "9007199254740991",
      "9007199254740993",
      "9223372036854775807",
      "9223372036854775808",
      "-9223372036854775808",
      "-9223372036854775809",
      "18446744073709551616",
      "1e400",
      "-1e400",
      "-1e-400",
      "5e-324",
      "4.9406564584124654e-324",
      "1.7976931348623157e308",
      "1.7976931348623159e308"
    )
  },
  { weight: 1, arbitrary: fc.constantFrom("NaN", "Infinity", "-Infinity") },
  {
    weight: 3,
    arbitrary: fc
      .tuple(
        fc.constantFrom("", "-"),
        digits(0, 24),
        fc.option(digits(1, 28), { nil: undefined }),
        fc.constantFrom("", "0", "000"),
        seldom(
          fc
            .tuple(fc.constantFrom("e", "E"), fc.constantFrom("", "+", "-"), digits(1, 3))
            .map(([e, sign, exponent]) => e + sign + exponent),
          3,
          ""
        )
      )
      .map(([sign, whole, fraction, zeros, exponent]) => {
        const integer = whole.replace(/^0+/, "") || "0"
        return sign + integer + (fraction === undefined ? "" : `.${fraction}${zeros}`) + exponent
      })
  }
)

const spellings: ReadonlyArray<Spelling> = ["raw", "short", "short", "lower", "upper"]

const arbitrarySpelling: fc.Arbitrary<Spelling> = fc.constantFrom(...spellings)

const characters: ReadonlyArray<string> = [
  "a",
  "Z",
  "0",
  " ",
  '"',
  "\\",
  "/",
  "a/b",
  "//",
  "</b>",
  "\b",
  "\t",
  "\n",
  "\f",
  "\r",
  "\u0000",
  "\u0001",
  "\u001f",
  "\u007f",
  "\u0080",
  "é",
  "ß",
  "°",
  "e\u0301",
  "漢",
  "\u2028",
  "\u2029",
  "\ufeff",
  "\uffff",
  "\ufffd",
  "\ue000",
  "😀",
  "𝒳",
  "\u{10ffff}",
  "\ud800",
  "\udbff",
  "\udc00",
  "\udfff"
]

const arbitraryPiece: fc.Arbitrary<StringPiece> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .string({ maxLength: 6, unit: fc.constantFrom(..."abcdefXYZ0123456789 .,:;_-'<>[]{}$@") })
      .map((text) => ({ means: text, spelt: text }))
  },
  {
    weight: 4,
    arbitrary: fc.tuple(fc.constantFrom(...characters), arbitrarySpelling).map(([text, spelling]) => ({
      means: text,
      spelt: Array.from(text, (character) => spellPiece(character, spelling).spelt).join("")
    }))
  },
  // Several spellings of one character, which all mean the same.
  {
    weight: 1,
    arbitrary: fc
      .constantFrom("\\u00e9", "\\u00E9", "\\u000a", "\\u000A", "\\/", "\\u002f", "\\u0061", "\\u0022", "\\u005C")
      .map((spelt) => ({
        means: String.fromCharCode(spelt === "\\/" ? 47 : Number.parseInt(spelt.slice(2), 16)),
        spelt
      }))
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat(0x10ffff), arbitrarySpelling)
      .map(([code, spelling]) => spellPiece(String.fromCodePoint(code), spelling))
  }
)

const piece = (means: string, spelling: Spelling): StringPiece => spellPiece(means, spelling)

// Texts that tempt a reader to see a date, a number or nothing in them.
const temptingTexts: ReadonlyArray<string> = [
  "",
  " ",
  "0",
  "007",
  "00123",
  "-0",
  "1e5",
  "1E5",
  "5.50",
  "NaN",
  "null",
  "true",
  "false",
  "[]",
  "{}",
  '["25"]',
  "undefined",
  "10:00",
  "10:00:00",
  "1980-05-15",
  "1980-02-30",
  "19800515",
  "2024-01-15T10:00:00",
  "2024-01-15T10:00:00Z",
  "2024-01-15T10:00:00.123456789Z",
  "2024-12-02T23:00:00-08:00",
  "2025-01-15 09:30:00.000001+00:00",
  "82224E0E-234C-68E7-26D5-491F8D90BE96",
  "82224e0e-234c-68e7-26d5-491f8d90be96",
  "123456789012345678901234567890123456789",
  "𝒳é漢\u{10ffff}",
  "O'Brien; DROP TABLE patients"
]

/** Strings with their spelling. */
export const arbitraryString: fc.Arbitrary<JsonString> = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...temptingTexts).map((text) => jsonString(text)) },
  { weight: 8, arbitrary: fc.array(arbitraryPiece, { maxLength: 6 }).map(stringOfPieces) },
  { weight: 1, arbitrary: fc.array(arbitraryPiece, { maxLength: 3 }).map(withLeadingByteOrderMark) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom("\ud83d", "\ude00", "\ude00\ud83d", "\ud83d\ud83d\ude00", "\ud83dx\ude00")
      .chain((units) =>
        fc
          .tuple(fc.constantFrom<Spelling>("lower", "upper"), fc.array(arbitraryPiece, { maxLength: 2 }))
          .map(([spelling, rest]) => stringOfPieces([...units.split("").map((unit) => piece(unit, spelling)), ...rest]))
      )
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom("0123456789abcdef", "é", "\\", "😀"), fc.integer({ min: 100, max: 600 }))
      .map(([unit, times]) => jsonString(unit.repeat(times)))
  }
)

/** The text of strings, quotes included: every escape, control, surrogate and trap that JSON allows. */
export const arbitraryStringText: fc.Arbitrary<string> = arbitraryString.map(toText)

/** What may stand between two tokens. */
export const arbitraryWhitespace: fc.Arbitrary<string> = fc.string({
  unit: fc.constantFrom(" ", "\n", "\t", "\r"),
  maxLength: 4
})

const trickyKeys: ReadonlyArray<string> = [
  "",
  "a",
  "b",
  "2",
  "1",
  "10",
  "-1",
  "01",
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "length",
  "then",
  "toJSON",
  "a.b",
  "a/b",
  "~",
  "~0",
  "~1",
  "a[0]",
  "a[k=v]",
  "$ref",
  "Name",
  "name",
  "NAME",
  "select",
  "table",
  "order",
  "rowid",
  "entity_id",
  "_dlt_id",
  "_dlt_load_id",
  "extra",
  "shape_id",
  "clé",
  "漢字",
  "😀",
  "\ud800",
  "\u0000",
  "\u0001",
  "\n",
  '"',
  "\\",
  "\ufeffid",
  " id",
  "id "
]

/** Keys that programs trip over, now and then spelt with escapes. */
export const arbitraryKey: fc.Arbitrary<JsonString> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(
        fc.constantFrom(...trickyKeys),
        fc.oneof(
          { weight: 6, arbitrary: fc.constant<Spelling>("raw") },
          {
            weight: 1,
            arbitrary: arbitrarySpelling
          }
        )
      )
      .map(([key, spelling]) => jsonString(key, spelling))
  },
  { weight: 1, arbitrary: arbitraryString }
)

/** Scalars with their spelling. */
export const arbitraryScalar: fc.Arbitrary<JsonTree> = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom("null" as const, "true" as const, "false" as const).map(jsonToken) },
  { weight: 3, arbitrary: arbitraryNumberText.map(jsonNumberOrToken) },
  { weight: 4, arbitrary: arbitraryString }
)

/** Trees without white space; see `arbitraryLayout`. */
export const arbitraryJsonTree = (options: JsonTreeOptions = {}): fc.Arbitrary<JsonTree> => {
  const { maxDepth = 4, maxNesting = 200, maxLength = 5, container = false } = options
  let inner = arbitraryScalar
  let branch = fc.oneof(arrayOf(inner, maxLength), objectOf(inner, maxLength))
  for (let depth = 1; depth < maxDepth; depth++) {
    inner = fc.oneof({ weight: 4, arbitrary: arbitraryScalar }, { weight: 2, arbitrary: branch })
    branch = fc.oneof(
      { weight: 2, arbitrary: arrayOf(inner, maxLength) },
      { weight: 3, arbitrary: objectOf(inner, maxLength) }
    )
  }
  return fc.oneof(
    { withCrossShrink: true },
    ...(container ? [] : [{ weight: 6, arbitrary: arbitraryScalar }]),
    ...(maxDepth > 0 || container ? [{ weight: 12, arbitrary: branch }] : []),
    ...(maxNesting > 0
      ? [
          {
            weight: 1,
            arbitrary: fc
              .tuple(fc.integer({ min: 1, max: maxNesting }), fc.oneof(arbitraryScalar, fc.constant(jsonObject([]))))
              .map(([depth, leaf]) => nestTree(depth, leaf))
          }
        ]
      : [])
  )
}

/** Layouts of a tree: as it is, indented as Python does, or wild. */
export const arbitraryLayoutChange: fc.Arbitrary<(tree: JsonTree) => JsonTree> = fc.oneof(
  { weight: 2, arbitrary: fc.constant((tree: JsonTree) => tree) },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.constantFrom(2, 4), fc.constantFrom("\n", "\r\n")).map(
      ([indent, newline]) =>
        (tree: JsonTree) =>
          withIndent(tree, indent, newline)
    )
  },
  {
    weight: 1,
    arbitrary: fc.constant((tree: JsonTree) => withIndent(withAsciiEscapes(tree), 2))
  },
  {
    weight: 2,
    arbitrary: fc
      .array(arbitraryWhitespace, { maxLength: 7 })
      .map((gaps) => (tree: JsonTree) => withWhitespace(tree, gaps))
  }
)

/** The same trees, each in some layout. */
export const arbitraryLayout = (trees: fc.Arbitrary<JsonTree>): fc.Arbitrary<JsonTree> =>
  fc.tuple(trees, arbitraryLayoutChange).map(([tree, lay]) => lay(tree))

/** JSON texts: duplicate keys, keys in several spellings, arrays of arrays, `null`, `{}`, `[]`, deep chains. */
export const arbitraryJsonText = (options: JsonTreeOptions = {}): fc.Arbitrary<string> =>
  arbitraryLayout(arbitraryJsonTree(options)).map(toText)

/** The tree of a number token or of one of Python's three. */
export function jsonNumberOrToken(text: string): JsonTree {
  return text === "NaN" || text === "Infinity" || text === "-Infinity" ? jsonToken(text) : jsonNumber(text)
}

/** The object with one of its keys used again at the end, in another spelling if `spelling` says so. */
export function withDuplicateKey(object: JsonObject, at: number, spelling: Spelling, value: JsonTree): JsonObject {
  const member = object.members[at % Math.max(1, object.members.length)]
  return member === undefined
    ? object
    : {
        ...object,
        members: [...object.members, jsonMember(jsonString(stringValue(member.key), spelling), value)]
      }
}

function digits(minLength: number, maxLength: number): fc.Arbitrary<string> {
  return fc.string({ unit: fc.constantFrom(..."0123456789"), minLength, maxLength })
}

function withLeadingByteOrderMark(rest: ReadonlyArray<StringPiece>): JsonString {
  return stringOfPieces([{ means: "\ufeff", spelt: "\ufeff" }, ...rest])
}

function arrayOf(inner: fc.Arbitrary<JsonTree>, maxLength: number): fc.Arbitrary<JsonTree> {
  return fc.array(inner, { maxLength }).map(jsonArray)
}

function objectOf(inner: fc.Arbitrary<JsonTree>, maxLength: number): fc.Arbitrary<JsonTree> {
  const member: fc.Arbitrary<JsonMember> = fc.tuple(arbitraryKey, inner).map(([key, value]) => jsonMember(key, value))
  return fc
    .tuple(fc.array(member, { maxLength }), seldom(fc.tuple(fc.nat(9), arbitrarySpelling, inner), 6, undefined))
    .map(([members, duplicate]) =>
      duplicate === undefined ? jsonObject(members) : withDuplicateKey(jsonObject(members), ...duplicate)
    )
}
