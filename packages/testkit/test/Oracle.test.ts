import { readFileSync, readdirSync } from "node:fs"
import { join } from "node:path"
import * as fc from "fast-check"
import { assert, describe, inject, it } from "vitest"
import {
  arbitraryJsonTree,
  arbitraryLayout,
  arbitraryJsonText,
  compactText,
  decodeText,
  digestOfText,
  nestTree,
  jsonNull,
  parseText,
  toCompactText,
  toText
} from "@mallard/testkit"

const shared = inject("shared")

describe("the oracle over text", () => {
  it("agrees with the oracle over the tree", () => {
    fc.assert(
      fc.property(arbitraryLayout(arbitraryJsonTree()), (tree) => {
        assert.strictEqual(compactText(toText(tree)), toCompactText(tree))
      }),
      { numRuns: 1000 }
    )
  })

  it("keeps every spelling in its tree", () => {
    fc.assert(
      fc.property(arbitraryJsonText(), (text) => {
        assert.strictEqual(toText(parseText(text)), text)
      }),
      { numRuns: 1000 }
    )
  })

  it("gives a compact text that is its own compact text", () => {
    fc.assert(
      fc.property(arbitraryJsonText(), (text) => {
        const compact = compactText(text)
        assert.strictEqual(compactText(compact), compact)
        assert.strictEqual(digestOfText(compact), digestOfText(text))
      })
    )
  })

  it("agrees with JSON.parse on what JSON is, but for the three tokens", () => {
    const wordy = fc.string({ unit: fc.constantFrom(...'[]{},:"\\u0019eE.+-tn \n\u0000é'), maxLength: 12 })
    const cut = fc
      .tuple(
        arbitraryJsonText({ maxNesting: 3 }),
        fc.nat(),
        fc.constantFrom("", ",", "0", " ", '"', "\\", "\t", "\ufeff")
      )
      .map(([text, at, put]) => text.slice(0, at % (text.length + 1)) + put + text.slice((at % (text.length + 1)) + 1))
    fc.assert(
      fc.property(fc.oneof(wordy, cut), (text) => {
        fc.pre(!/NaN|Infinity/.test(text))
        assert.strictEqual(
          accepts(() => compactText(text)),
          accepts(() => JSON.parse(text))
        )
      }),
      { numRuns: 5000 }
    )
  })

  it.each([
    ["[425.00, 1E5,-0.0 , 1e400]", "[425.00,1E5,-0.0,1e400]"],
    ["[NaN, Infinity, -Infinity]", "[NaN,Infinity,-Infinity]"],
    ['["\\u00e9\\n\\u000A\\/\\u0022\\u0000\\u001F\\u007f"]', '["é\\n\\n/\\"\\u0000\\u001f\u007f"]'],
    ['["\\ud83d\\uDE00", "\\uDE00\\uD83D", "\\ud83d"]', '["😀","\\ude00\\ud83d","\\ud83d"]'],
    ['{"a":1, "\\u0061" : null, "__proto__":{ }, "2":[ ]}', '{"a":1,"a":null,"__proto__":{},"2":[]}'],
    ['"\ufeff\u2028"', '"\ufeff\u2028"']
  ])("writes %s compactly", (text, compact) => {
    assert.strictEqual(compactText(text), compact)
  })

  it.each([
    "",
    " ",
    "[",
    "[1,]",
    "{,}",
    "01",
    "+1",
    ".5",
    "1.",
    "1e",
    "-",
    "- Infinity",
    "nan",
    "-NaN",
    "[1 2]",
    "{a:1}"
  ])("refuses %j", (text) => {
    assert.throws(() => compactText(text), SyntaxError)
  })

  it.each([
    '"\\x"',
    '"\\u12g4"',
    '"\t"',
    '"\u0000"',
    '{"a" 1}',
    '{"a":1,}',
    '{"a":}',
    "[]]",
    "\ufeff[]",
    "'a'",
    "[1]//"
  ])("refuses the text %j", (text) => {
    assert.throws(() => compactText(text), SyntaxError)
  })

  it("reads 100,000 levels", () => {
    const text = toText(nestTree(100_000, jsonNull))
    assert.strictEqual(compactText(text), text)
  })

  it("tells the encoding by the byte order mark and refuses bytes that are no text", () => {
    const text = '{"é":"😀"}'
    const utf8 = Buffer.from(text)
    const utf16 = Buffer.from(`\ufeff${text}`, "utf16le")
    assert.strictEqual(decodeText(utf8), text)
    assert.strictEqual(decodeText(Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), utf8])), text)
    assert.strictEqual(decodeText(utf16), text)
    assert.strictEqual(decodeText(Buffer.from(utf16).swap16()), text)
    assert.throws(() => decodeText(Buffer.from([0x22, 0xe9, 0x22])), TypeError)
  })

  it("hashes the compact text", () => {
    assert.strictEqual(digestOfText(" {\n} "), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
  })

  it.skipIf(shared === undefined)("reads the edge files but the two that are invalid", () => {
    const folder = join(shared ?? "", "cases", "edge")
    const refused = readdirSync(folder).filter(
      (name) => !accepts(() => compactText(decodeText(readFileSync(join(folder, name)))))
    )
    assert.deepStrictEqual(refused.sort(), ["trunc.json", "zero.json"])
  })
})

const accepts = (read: () => unknown): boolean => {
  try {
    read()
    return true
  } catch (error) {
    if (error instanceof SyntaxError) return false
    throw error
  }
}
