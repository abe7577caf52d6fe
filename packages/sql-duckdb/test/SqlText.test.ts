import { assert, describe, it } from "@effect/vitest"
import { isBlankSql } from "../src/SqlText.ts"

describe("a text without a statement", () => {
  it("holds white space, semicolons and whole comments at most", () => {
    const blank = [
      "",
      " \n\t;",
      "-- a",
      "-- a\n;-- b",
      "/**/",
      "/* a */ /***/-- b",
      "/* * / ** */",
      "/* a\nb */;",
      "-- /*\n;"
    ]
    for (const text of blank) assert.isTrue(isBlankSql(text), text)
  })

  it("holds nothing else, before, between or after them", () => {
    const some = [
      "a",
      "-",
      "- -",
      "/*",
      "/* a",
      "/*/",
      "/* a */ b",
      "/* a */ b /* c */",
      "-- a\nb",
      "/* -- */ a",
      "*/",
      "-- /*\na */"
    ]
    for (const text of some) assert.isFalse(isBlankSql(text), text)
    // Neither of them is tried in more ways than one: there would be more than any program can wait for.
    assert.isFalse(isBlankSql(`${"/**/".repeat(10_000)}a`))
    assert.isFalse(isBlankSql(`${"-- -- -- --".repeat(10_000)}\na`))
  })
})
