import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import {
  arbitraryJsonText,
  arbitraryJsonTree,
  arbitraryLayout,
  arbitraryNumberText,
  arbitraryStringText,
  compactText,
  jsonArray,
  jsonMember,
  jsonNumber,
  jsonObject,
  jsonString,
  nodesOf,
  toCompactText,
  toText,
  withIndent,
  withWhitespace
} from "@mallard/testkit"

/** How often a predicate holds over 2,000 generated texts. */
const share = <A>(arbitrary: fc.Arbitrary<A>, holds: (value: A) => boolean): number =>
  fc.sample(arbitrary, { numRuns: 2000, seed: 20260101 }).filter(holds).length / 2000

describe("number texts", () => {
  it("are numbers of RFC 8259 or one of the three tokens", () => {
    fc.assert(
      fc.property(arbitraryNumberText, (text) => {
        if (!["NaN", "Infinity", "-Infinity"].includes(text)) assert.isNumber(JSON.parse(text))
      }),
      { numRuns: 2000 }
    )
  })

  it.each([
    ["negative zero", /^-0(\.0+)?$/],
    ["a trailing zero", /\.\d*0$/],
    ["an upper-case exponent", /E/],
    ["an exponent with a plus", /e\+/i],
    ["many digits", /\d{25}/],
    ["a token of Python", /[NI]/],
    ["an overflow", /^-?1e400$/]
  ])("have %s often enough", (_, pattern) => {
    assert.isAbove(
      share(arbitraryNumberText, (text) => pattern.test(text)),
      0.01
    )
  })
})

describe("string texts", () => {
  it("are strings of RFC 8259", () => {
    fc.assert(
      fc.property(arbitraryStringText, (text) => {
        assert.isString(JSON.parse(text))
      }),
      { numRuns: 2000 }
    )
  })

  it.each<[string, (text: string, value: string) => boolean]>([
    ["an escaped letter that needs none", (text) => /\\u00[ef]9/i.test(text)],
    ["a raw letter beyond ASCII", (text) => text.includes("é")],
    ["an escaped slash", (text) => text.includes("\\/")],
    ["upper-case hex", (text) => /\\u[0-9A-F]*[A-F]/.test(text)],
    ["lower-case hex", (text) => /\\u[0-9a-f]*[a-f]/.test(text)],
    ["a NUL", (_, value) => value.includes("\0")],
    ["a DEL", (_, value) => value.includes("\u007f")],
    ["a lone surrogate", (_, value) => !value.isWellFormed()],
    ["reversed surrogates", (_, value) => /[\udc00-\udfff][\ud800-\udbff]/.test(value)],
    ["an escaped surrogate pair", (text) => /\\ud[89ab]..\\ud[c-f]/i.test(text)],
    ["a raw surrogate pair", (text) => /\p{Emoji_Presentation}/u.test(text)],
    ["a leading byte order mark", (_, value) => value.startsWith("\ufeff")],
    ["a line separator", (_, value) => value.includes("\u2028")],
    ["no character", (_, value) => value === ""],
    ["more than 400 characters", (_, value) => value.length > 400]
  ])("have %s often enough", (_, holds) => {
    assert.isAbove(
      share(arbitraryStringText, (text) => holds(text, JSON.parse(text))),
      0.01
    )
  })
})

describe("JSON texts", () => {
  it("are JSON for every option", () => {
    fc.assert(
      fc.property(
        fc
          .record({
            maxDepth: fc.nat(5),
            maxNesting: fc.nat(300),
            maxLength: fc.nat(4),
            container: fc.boolean()
          })
          .chain((options) => fc.tuple(fc.constant(options), arbitraryLayout(arbitraryJsonTree(options)))),
        ([options, tree]) => {
          const deepest = Math.max(...[...nodesOf(tree)].map(({ depth }) => depth))
          assert.isAtMost(deepest, Math.max(options.maxDepth, options.maxNesting, options.container ? 1 : 0))
          if (options.container) assert.include(["Array", "Object"], tree._tag)
          assert.strictEqual(compactText(toText(tree)), toCompactText(tree))
        }
      )
    )
  })

  it("repeat keys, in the same and in other spellings, and go deep", () => {
    assert.isAbove(
      share(arbitraryJsonText(), (text) => /\[{2}|\[\s*\[/.test(text)),
      0.01
    )
    const trees = arbitraryJsonTree()
    assert.isAbove(
      share(trees, (tree) => [...nodesOf(tree)].some(({ depth }) => depth > 100)),
      0.01
    )
    assert.isAbove(
      share(trees, (tree) =>
        [...nodesOf(tree)].some(({ node }) => {
          if (node._tag !== "Object") return false
          const keys = node.members.map(({ key }) => JSON.stringify(toCompactText(key)))
          return new Set(keys).size < keys.length
        })
      ),
      0.02
    )
  })
})

describe("a tree", () => {
  const tree = jsonObject([
    jsonMember(jsonString("a", "lower"), jsonArray([jsonNumber("1.10"), jsonArray([])])),
    jsonMember("b", jsonObject([]))
  ])

  it("gives its text as spelt and its compact text", () => {
    assert.strictEqual(toText(tree), '{"\\u0061":[1.10,[]],"b":{}}')
    assert.strictEqual(toCompactText(tree), '{"a":[1.10,[]],"b":{}}')
  })

  it("is laid out as Python does", () => {
    assert.strictEqual(toText(withIndent(tree, 2)), '{\n  "\\u0061": [\n    1.10,\n    []\n  ],\n  "b": {}\n}')
  })

  it("takes white space everywhere", () => {
    assert.strictEqual(
      toText(withWhitespace(jsonObject([jsonMember("a", jsonArray([]))]), ["\t"])),
      '\t{\t"a"\t:\t[\t]\t}\t'
    )
    assert.strictEqual(toCompactText(withWhitespace(tree, [" ", "\n"])), toCompactText(tree))
  })
})
