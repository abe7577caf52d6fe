/** Values are found in a text by their pointers, with bytes, line and column. */
import { placesOf } from "@mallard/legacy-json"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"

/** Writes a value with the white space that `space` gives, and notes where each value in it stands. */
const write = (value: unknown, space: () => string) => {
  let text = ""
  const spans = new Map<string, { readonly start: number; readonly end: number }>()
  const put = (one: unknown, pointer: string): void => {
    text += space()
    const start = text.length
    if (Array.isArray(one)) {
      text += "["
      for (const [at, item] of one.entries()) {
        if (at > 0) text += `${space()},`
        put(item, `${pointer}/${at}`)
      }
      text += `${space()}]`
    } else if (typeof one === "object" && one !== null) {
      text += "{"
      for (const [at, [key, item]] of Object.entries(one).entries()) {
        text += `${at > 0 ? "," : ""}${space()}${JSON.stringify(key)}${space()}:`
        put(item, `${pointer}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`)
      }
      text += `${space()}}`
    } else text += JSON.stringify(one)
    spans.set(pointer, { start, end: text.length })
  }
  put(value, "")
  return { text, spans }
}

/** As `placesOf` counts: bytes of UTF-8, and characters from the last line break. */
const placeIn = (text: string, { end, start }: { readonly start: number; readonly end: number }) => {
  const before = text.slice(0, start)
  const lines = before.split("\n")
  return {
    start: Buffer.byteLength(before),
    end: Buffer.byteLength(text.slice(0, end)),
    line: lines.length,
    column: [...(lines.at(-1) ?? "")].length + 1
  }
}

const values = fc
  .jsonValue({ maxDepth: 4, stringUnit: "binary" })
  .map((value): unknown => JSON.parse(JSON.stringify(value)))
const spaces = fc.infiniteStream(fc.constantFrom("", "", " ", "\n", "\r\n  ", "\t"))

describe("places of values", () => {
  it("are those of every pointer of a text, however it is laid out", () => {
    fc.assert(
      fc.property(values, spaces, (value, stream) => {
        const { spans, text } = write(value, () => stream.next().value ?? "")
        const places = placesOf(Buffer.from(text), spans.keys())
        assert.strictEqual(places.size, spans.size)
        for (const [pointer, span] of spans) assert.deepStrictEqual(places.get(pointer), placeIn(text, span))
      }),
      { numRuns: 300 }
    )
  })

  it("are given for the wanted pointers alone, and for no others", () => {
    fc.assert(
      fc.property(values, fc.nat(), (value, pick) => {
        const { spans, text } = write(value, () => " ")
        const [pointer, span] = [...spans][pick % spans.size]!
        assert.deepStrictEqual(
          [...placesOf(Buffer.from(text), [pointer, `${pointer}/nowhere/0`])],
          [[pointer, placeIn(text, span)]]
        )
      }),
      { numRuns: 100 }
    )
  })

  it("are those of the last member where a key stands twice, and of spellings that no parser gives back", () => {
    const text = '{"a":1E5,"a":[-0.0,NaN,1e400],"\\u0062":"\\ud800\\""}'
    const shown = (pointer: string): string | undefined => {
      const place = placesOf(Buffer.from(text), [pointer]).get(pointer)
      return place === undefined ? undefined : text.slice(place.start, place.end)
    }
    assert.strictEqual(shown("/a"), "[-0.0,NaN,1e400]")
    assert.strictEqual(shown("/a/1"), "NaN")
    assert.strictEqual(shown("/b"), '"\\ud800\\""')
    assert.isUndefined(shown("/a/3"))
  })

  it("count the documents of a text of lines", () => {
    const text = '{"id":1}\n\n[2]\n3\n{"id":4}'
    const places = placesOf(Buffer.from(text), ["/0/id", "/1", "/2", "/3/id"], true)
    assert.deepStrictEqual(
      [...places].map(([pointer, { end, line, start }]) => [pointer, text.slice(start, end), line]),
      [
        ["/0/id", "1", 1],
        ["/1", "[2]", 3],
        ["/2", "3", 4],
        ["/3/id", "4", 5]
      ]
    )
  })

  it("end without a fault on text that is no document, and on nesting of any depth", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        for (const { end, start } of placesOf(bytes, ["", "/0", "/a"]).values()) assert.isAtMost(start, end)
      })
    )
    const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`
    assert.strictEqual(placesOf(Buffer.from(deep), [""]).get("")?.end, deep.length)
  })
})
