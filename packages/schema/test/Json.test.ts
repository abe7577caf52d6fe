import { parseJson, withEscapedKeys, withoutEscapedKeys } from "@mallard/schema"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"

/** Texts as keys that meet V8's fault soon: few characters, among them those that are escaped, and what encodes them here. */
const anyKey = fc.oneof(
  fc.string({
    maxLength: 3,
    unit: fc.constantFrom("\\", "\n", '"', "\ud83d", "\ude00", "\0", "a", "n", "u", "0", "\ue07f")
  }),
  fc.constantFrom("__proto__", "0", "\ue07f005c", "\\u0061bcdef")
)
const anyValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.oneof(anyKey, fc.integer(), fc.boolean(), fc.constant(null)),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.array(fc.tuple(anyKey, tie("value")), { maxLength: 4 }).map((members) => Object.fromEntries(members))
  )
})).value

const unicode = (text: string): string =>
  [...Array(text.length).keys()].map((at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, "0")}`).join("")

/** A text of the value; `isUnicode` says of each key in turn whether it is written in escapes only. */
const written = (value: unknown, isUnicode: () => boolean): string =>
  Array.isArray(value)
    ? `[${value.map((one) => written(one, isUnicode)).join(" ,\n")}]`
    : typeof value === "object" && value !== null
      ? `{${Object.entries(value)
          .map(
            ([key, one]) => `${isUnicode() ? `"${unicode(key)}"` : JSON.stringify(key)}\t: ${written(one, isUnicode)}`
          )
          .join(",")}}`
      : JSON.stringify(value)

const isRefused = (read: () => unknown): boolean => {
  try {
    read()
    return false
  } catch (cause) {
    assert.instanceOf(cause, SyntaxError)
    return true
  }
}

describe("parseJson", () => {
  it("gives what was written, whatever was read before", () => {
    fc.assert(
      fc.property(anyValue, fc.infiniteStream(fc.boolean()), (value, choices) => {
        const text = written(value, () => choices.next().value === true)
        assert.strictEqual(JSON.stringify(parseJson(text)), JSON.stringify(value), text)
        const other: unknown = JSON.parse(withoutEscapedKeys(text))
        assert.strictEqual(JSON.stringify(withEscapedKeys(other)), JSON.stringify(value), text)
      }),
      { numRuns: 5000 }
    )
  })

  it.for([
    ['{"a":1,"\\\\":2}', '{"a":1,"\\u0041":2}', "A"],
    ['{"b":1,"\\\\":2}', '{"b":1,"\\n":2}', "\n"],
    ['{"c":1,"\\\\u0":2}', '{"c":1,"\\u0041bc":2}', "Abc"],
    ['{"d":1,"x\\\\n":2}', '{"d":1,"x\\ny":2}', "x\ny"]
  ] as const)("is not misled by %s read before %s", ([before, text, key]) => {
    JSON.parse(before)
    assert.deepStrictEqual(Object.keys(Object(parseJson(text))).slice(1), [key])
  })

  it("keeps the last of duplicate keys at the place of the first, however they are spelt", () => {
    assert.strictEqual(JSON.stringify(parseJson('{"a\\n":1,"b":2,"a\\u000a":3}')), '{"a\\n":3,"b":2}')
    assert.strictEqual(JSON.stringify(parseJson('{"A":1,"b":2,"\\u0041":3,"A":4}')), '{"A":4,"b":2}')
  })

  it("leaves what is no key as it is", () => {
    const text = '["a\\n\\":", {"b": "\\u0041\\\\" }, "\ue07f000a"]'
    assert.strictEqual(withoutEscapedKeys(text), text)
    assert.deepStrictEqual(parseJson(text), ['a\n":', { b: "A\\" }, "\ue07f000a"])
  })

  it("refuses what JSON.parse refuses", () => {
    fc.assert(
      fc.property(
        fc.string({
          maxLength: 12,
          unit: fc.constantFrom('"', "\\", "n", "u", "0", "{", "}", "[", "]", ":", ",", "1", "\n")
        }),
        (text) =>
          assert.strictEqual(
            isRefused(() => parseJson(text)),
            isRefused(() => JSON.parse(text))
          )
      ),
      { numRuns: 5000 }
    )
  })

  it("reads long strings once, whether they end or not", () => {
    const escapes = '\\"'.repeat(8_000_000)
    assert.isTrue(isRefused(() => parseJson(`["${escapes}`)))
    assert.isTrue(isRefused(() => parseJson(`["${escapes}\\`)))
    assert.isTrue(isRefused(() => parseJson(`["${"\\".repeat(8_000_001)}"]`)))
    assert.strictEqual(JSON.stringify(parseJson(`{"a":"${escapes}"}`)).length, escapes.length + 8)
    const key = '\\"'.repeat(100_000)
    assert.strictEqual(Object.keys(Object(parseJson(`{"${key}":1}`)))[0]?.length, key.length / 2)
  })

  it("follows what is nested as deeply as JSON.parse does", () => {
    const depth = 10_000
    for (const [open, close] of [
      ["[", "]"],
      ['{"\\n":', "}"]
    ] as const) {
      let inner = parseJson(`{"\\n":${open.repeat(depth)}1${close.repeat(depth)}}`)
      for (let level = 0; level <= depth; level++) {
        inner = Object.values(Object(inner))[0]
      }
      assert.strictEqual(inner, 1)
    }
  })
})
