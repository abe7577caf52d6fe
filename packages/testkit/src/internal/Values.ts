/** Values for columns: every spelling that a column of a type may meet, and values of other types. */

import type { Column, SqlType } from "@mallard/schema"
import * as fc from "fast-check"
import { arbitraryJsonTree, arbitraryScalar, jsonNumberOrToken } from "../JsonText.ts"
import {
  jsonArray,
  jsonMember,
  jsonNull,
  jsonNumber,
  jsonObject,
  jsonString,
  jsonToken,
  nestTree,
  type JsonTree,
  type Spelling
} from "../JsonTree.ts"

/** Raw most of the time. */
export const rareSpelling: fc.Arbitrary<Spelling> = fc.oneof(
  { weight: 16, arbitrary: fc.constant<Spelling>("raw") },
  { weight: 1, arbitrary: fc.constantFrom<Spelling>("short", "lower", "upper") }
)

/** Ids that are reused, so that references meet and ids collide. */
export const arbitraryId: fc.Arbitrary<JsonTree> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .constantFrom(
        "p1",
        "p2",
        "MRN001",
        "00123",
        "1",
        "",
        "82224E0E-234C-68E7-26D5-491F8D90BE96",
        "82224e0e-234c-68e7-26d5-491f8d90be96"
      )
      .map((id) => jsonString(id))
  },
  { weight: 3, arbitrary: fc.constantFrom("0", "1", "7", "1.0", "9007199254740993").map(jsonNumber) },
  { weight: 1, arbitrary: fc.constantFrom(jsonNull, jsonToken("true"), jsonObject([]), jsonArray([])) }
)

/** Small trees that no column takes. */
export const arbitrarySubtree: fc.Arbitrary<JsonTree> = fc.oneof(
  { weight: 40, arbitrary: arbitraryJsonTree({ maxDepth: 3, maxNesting: 3, maxLength: 3 }) },
  { weight: 4, arbitrary: fc.constantFrom(jsonObject([]), jsonArray([]), jsonNull, jsonString("")) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      jsonArray([jsonNull, jsonNumber("1"), jsonNull]),
      jsonArray([jsonArray([jsonNumber("1"), jsonNumber("2")]), jsonArray([jsonArray([])]), jsonArray([])])
    )
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.integer({ min: 61, max: 200 }), arbitraryScalar)
      .map(([depth, leaf]) => nestTree(depth, leaf))
  }
)

/** A value for this column: mostly of its type, in one of its spellings; sometimes anything. */
export const valueOf = (column: Column): fc.Arbitrary<JsonTree> =>
  fc.oneof(
    { weight: 12, arbitrary: typed(column) },
    { weight: 1, arbitrary: fc.constant(jsonNull) },
    { weight: 2, arbitrary: arbitraryScalar },
    { weight: 1, arbitrary: arbitrarySubtree }
  )

/** Texts of dates and times, right, doubtful and wrong. */
export const timeTexts: ReadonlyArray<string> = [
  "2024-01-15T10:00:00",
  "2024-01-16T10:00:00Z",
  "2024-01-15T10:00:00.123456",
  "2024-01-15T10:00:00.123456789Z",
  "2024-01-15T10:00:00.1",
  "2024-01-15T10:00:00.100000Z",
  "2024-12-02T23:00:00-08:00",
  "2024-12-02T23:00:00+0530",
  "2025-01-15 09:30:00",
  "2025-01-15 09:30:00.000001+00:00",
  "2025-01-15T09:30",
  "2024-02-29T24:00:00",
  "2024-06-30T23:59:60Z",
  "2024-01-15t10:00:00z",
  "2024-01-15",
  "10:00",
  "10:00:00"
]

const dateTexts: ReadonlyArray<string> = [
  "1980-05-15",
  "2024-02-29",
  "2023-02-29",
  "1980-02-30",
  "0001-01-01",
  "9999-12-31",
  "1980-5-5",
  "1980",
  "1980-01",
  "19800515",
  "01/15/1980",
  "Jan 15, 1980",
  "1980-W03-2",
  "1980-05-15T00:00:00",
  "1980-05-15T08:30:00Z",
  "+12345-01-01",
  "0000-00-00",
  ""
]

const texts = (values: ReadonlyArray<string>): fc.Arbitrary<JsonTree> =>
  fc.tuple(fc.constantFrom(...values), rareSpelling).map(([text, spelling]) => jsonString(text, spelling))

const numbers = (values: ReadonlyArray<string>): fc.Arbitrary<JsonTree> =>
  fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(...values).map(jsonNumberOrToken) },
    { weight: 2, arbitrary: texts(values) }
  )

const words: ReadonlyArray<string> = [
  "Alice",
  "Smith",
  "I50.9",
  "00123",
  "finished",
  "M",
  "José",
  "O'Brien",
  " x ",
  "null",
  ""
]

const typed = (column: Column): fc.Arbitrary<JsonTree> => {
  if (column.decode !== undefined) {
    const known = Object.keys(column.decode)
    return texts([...known, ...known.map((word) => word.toUpperCase()), ...Object.values(column.decode), "cousin"])
  }
  return ofType(column.type)
}

const ofType = (type: SqlType): fc.Arbitrary<JsonTree> => {
  switch (type) {
    case "VARCHAR":
      return fc.oneof({ weight: 4, arbitrary: texts(words) }, { weight: 3, arbitrary: arbitraryScalar })
    case "DATE":
      return fc.oneof({ weight: 5, arbitrary: texts(dateTexts) }, { weight: 1, arbitrary: texts(timeTexts) })
    case "TIMESTAMP":
      return fc.oneof({ weight: 5, arbitrary: texts(timeTexts) }, { weight: 1, arbitrary: texts(dateTexts) })
    case "BOOLEAN":
      return fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom("true" as const, "false" as const).map(jsonToken) },
        { weight: 1, arbitrary: texts(["true", "false", "True", "yes", "Y", "0", "1", ""]) },
        { weight: 1, arbitrary: fc.constantFrom("0", "1", "2", "1.0").map(jsonNumber) }
      )
    case "INTEGER":
      return numbers(
        ["0", "5", "72", "-1", "-0", "5.0", "5.5", "1e2", "007", "2147483647", "2147483648", "1e400"].filter(isNumber)
      )
    case "BIGINT":
      return numbers([
        "42",
        "-0",
        "9007199254740991",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "123456789012345678901234567890123456789012345678901234567890",
        "1.5",
        "1E5"
      ])
    case "DOUBLE":
      return numbers([
        "22.5",
        "22.50",
        "-0.0",
        "1E5",
        "1e+05",
        "5e-324",
        "1e400",
        "0.1234567890123456789012345",
        "NaN",
        "Infinity"
      ])
    case "JSON":
      return arbitrarySubtree
    default:
      return numbers(
        [
          "98.6",
          "98.60",
          "425.00",
          "12.345",
          "150",
          "0.0",
          "-0.0",
          "-0",
          "1E5",
          "1e+05",
          ".5",
          "999999999999.99",
          "12345678901234567.89",
          "0.1234567890123456789012345",
          "NaN",
          "-Infinity"
        ].filter(isNumber)
      )
  }
}

const isNumber = (text: string): boolean => /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$|^-?Infinity$|^NaN$/.test(text)

/** An object of the members whose values are not undefined. */
export const objectOf = (
  members: Readonly<Record<string, JsonTree | undefined>>
): JsonTree & { readonly _tag: "Object" } =>
  jsonObject(Object.entries(members).flatMap(([key, value]) => (value === undefined ? [] : [jsonMember(key, value)])))
