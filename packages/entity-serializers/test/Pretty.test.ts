import { describe, it } from "@effect/vitest"
import { arbitraryJsonTree, toCompactText } from "@mallard/testkit"
import * as fc from "fast-check"
import { assert } from "vitest"
import { PrettyText, prettyText, type PrettyOptions } from "../src/Pretty.ts"

const laidOut = (text: string, options: PrettyOptions): string => prettyText(text, options).toString("utf8")

/** The text fed in chunks whose sizes repeat. */
const inChunks = (text: string, sizes: ReadonlyArray<number>, options: PrettyOptions): string => {
  const bytes = Buffer.from(text)
  const chunks: Array<Buffer> = []
  const pretty = new PrettyText(options, (chunk) => chunks.push(Buffer.from(chunk)))
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const end = Math.min(bytes.length, at + (sizes[turn % sizes.length] ?? 1))
    pretty.push(bytes, at, end)
    at = end
  }
  pretty.end()
  return Buffer.concat(chunks).toString("utf8")
}

const withoutLayout = (text: string): string =>
  text.replace(/("(?:[^"\\]|\\.)*")|\s+/gs, (_, string: string = "") => string)

const asciiOf = (text: string): string =>
  text.replace(/[^ -~\n]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 })
const compact = arbitraryJsonTree().map(toCompactText)

describe("PrettyText", () => {
  it("puts every member and element on a line of its own, and leaves empty containers as they are", () => {
    assert.strictEqual(
      laidOut('{"a":[],"b":{},"c":[1,{"d":null}],"e":"x:,{[]}\\""}', { indent: 2 }),
      `{
  "a": [],
  "b": {},
  "c": [
    1,
    {
      "d": null
    }
  ],
  "e": "x:,{[]}\\""
}`
    )
  })

  it("leaves the spelling of numbers, tokens and escapes alone", () => {
    assert.strictEqual(
      laidOut(String.raw`[1E5,-0.0,NaN,"\u001f\ud800"]`, { indent: 1 }),
      '[\n 1E5,\n -0.0,\n NaN,\n "\\u001f\\ud800"\n]'
    )
  })

  it("escapes everything outside printable ASCII, in surrogate pairs where needed", () => {
    assert.strictEqual(laidOut('["ü€😀\u007f~"]', { ascii: true }), String.raw`["\u00fc\u20ac\ud83d\ude00\u007f~"]`)
  })

  it("copies the text where nothing is asked for", () => {
    fc.assert(fc.property(compact, sizes, (text, cuts) => assert.strictEqual(inChunks(text, cuts, {}), text)))
  })

  it("lays values out as JSON.stringify does, wherever the text is cut", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.integer({ min: 1, max: 8 }), sizes, (value, indent, cuts) =>
        assert.strictEqual(inChunks(JSON.stringify(value), cuts, { indent }), JSON.stringify(value, null, indent))
      )
    )
  })

  it("adds white space only", () => {
    fc.assert(
      fc.property(compact, fc.integer({ min: 0, max: 4 }), sizes, (text, indent, cuts) =>
        assert.strictEqual(withoutLayout(inChunks(text, cuts, { indent })), text)
      )
    )
  })

  it("escapes code unit by code unit, wherever the text is cut", () => {
    fc.assert(
      fc.property(compact, sizes, (text, cuts) => {
        assert.strictEqual(inChunks(text, cuts, { ascii: true }), asciiOf(text))
        assert.strictEqual(inChunks(text, cuts, { ascii: true, indent: 2 }), asciiOf(laidOut(text, { indent: 2 })))
      })
    )
  })

  it("takes any depth, and texts larger than its buffer", () => {
    const depth = 3000
    const deep = `${"[".repeat(depth)}1${"]".repeat(depth)}`
    const text = laidOut(deep, { indent: 2 })
    assert.strictEqual(withoutLayout(text), deep)
    assert.strictEqual(text.split("\n").length, 2 * depth + 1)
    assert.strictEqual(text.split("\n")[depth], `${"  ".repeat(depth)}1`)
    const long = JSON.stringify([["é".repeat(400_000), "x".repeat(400_001)]])
    assert.strictEqual(laidOut(long, { indent: 2 }), JSON.stringify(JSON.parse(long), null, 2))
    assert.strictEqual(laidOut(long, { ascii: true }), asciiOf(long))
  })
})
