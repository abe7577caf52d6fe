import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { KeySet } from "../src/internal/KeySet.ts"

describe("KeySet", () => {
  it("knows the keys that were added, and no others", () => {
    const key = fc.oneof(
      fc.constantFrom("", "a", "aa", "aaa", 'a"', '"', "\\", "a\\", "\u0000"),
      fc.string({ unit: "binary" }),
      fc.nat(400).map(String)
    )
    fc.assert(
      fc.property(fc.array(key, { maxLength: 600 }), (keys) => {
        const texts = keys.map((text) => JSON.stringify(text))
        const bytes = Buffer.from(texts.join(","))
        const set = new KeySet()
        const seen = new Set<string>()
        let start = 0
        for (const text of texts) {
          const end = start + Buffer.byteLength(text)
          assert.strictEqual(set.add(bytes, start, end), seen.has(text))
          seen.add(text)
          start = end + 1
        }
      })
    )
  })
})
