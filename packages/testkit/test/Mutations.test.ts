import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import {
  arbitraryDocument,
  compactText,
  digestOfCompactText,
  mutations,
  storeFaults,
  toCompactText,
  withFault
} from "@mallard/testkit"

describe("a mutation", () => {
  it.each([
    ["trailing zeros dropped", "[425.00,1.10,5.0,-0.0,1.50e2,100,1e10]", "[425,1.1,5,-0,1.5e2,100,1e10]"],
    ["sign of negative zero lost", "[-0,-0.0,-0.5]", "[0,0.0,-0.5]"],
    ["numbers through doubles", "[1E5,425.00,9007199254740993,1e400]", "[100000,425,9007199254740992,1e400]"],
    ["exponents in lower case", "[1E5,1e5]", "[1e5,1e5]"],
    ["numbers out of range to null", "[1e400,1e5]", "[null,1e5]"],
    ["NaN and infinities to null", "[NaN,-Infinity,1]", "[null,null,1]"],
    ["numbers to strings", "[1,2]", '["1",2]'],
    ["digits in strings to numbers", '["007","7"]', '["007",7]'],
    ["two keys swapped", '{"a":1,"b":2,"c":3}', '{"b":2,"a":1,"c":3}'],
    ["integer keys first", '{"b":1,"10":2,"2":3}', '{"2":3,"10":2,"b":1}'],
    ["null merged with missing", '{"a":null,"b":[null]}', '{"b":[null]}'],
    ["[] to missing", '{"a":[],"b":[[]]}', '{"b":[[]]}'],
    ["{} to missing", '{"a":{},"b":[{}]}', '{"b":[{}]}'],
    ["{} to null", '{"a":{}}', '{"a":null}'],
    ["empty text to null", '{"a":"","":" "}', '{"a":null,"":" "}'],
    ["last duplicate key wins", '{"a":1,"b":2,"a":3}', '{"a":3,"b":2}'],
    ["first duplicate key wins", '{"a":1,"b":2,"a":3}', '{"a":1,"b":2}'],
    ["__proto__ lost", '{"__proto__":1,"a":2}', '{"a":2}'],
    ["lone surrogate to U+FFFD", '{"\\ud800":"😀\\udc00"}', '{"\ufffd":"😀\ufffd"}'],
    ["leading byte order mark lost", '["\ufeffa","a\ufeff"]', '["a","a\ufeff"]'],
    ["text cut at NUL", '["a\\u0000b"]', '["a"]'],
    ["text in normal form C", '["e\u0301"]', '["é"]'],
    ["text trimmed", '[" a "]', '["a"]'],
    ["zone of a time lost", '["2024-01-15T10:00:00Z"]', '["2024-01-15T10:00:00"]'],
    ["time cut to microseconds", '["2024-01-15T10:00:00.123456789Z"]', '["2024-01-15T10:00:00.123456Z"]'],
    ["members shifted by one", "[[1,1],[1,2,3]]", "[[1,1],[2,3,1]]"],
    ["repeated element once", '[{"a":1},{"a":1},2]', '[{"a":1},2]'],
    ["single object to list", '{"a":{"b":1}}', '{"a":[{"b":1}]}'],
    ["last element lost", "[1,2]", "[1]"]
  ])("%s turns %s into %s", (name, text, expected) => {
    assert.strictEqual(mutations[name]?.(text), expected)
  })

  it("has a case above, whatever it is", () => {
    assert.lengthOf(Object.keys(mutations), 29)
    assert.containsAllKeys(storeFaults, ["dedupe across kinds"])
  })

  it("leaves text alone that it has nothing to bite on", () => {
    const text = '{"a":1,"b":"x"}'
    const idle = Object.entries(mutations).filter(([, mutate]) => mutate(text) === text)
    assert.sameMembers(
      Object.keys(mutations).filter((name) => !idle.some(([one]) => one === name)),
      ["numbers to strings", "two keys swapped"]
    )
  })

  it("gives compact JSON for compact JSON", () => {
    fc.assert(
      fc.property(arbitraryDocument(), ({ files }) => {
        for (const { tree } of files) {
          const text = toCompactText(tree)
          for (const [name, mutate] of Object.entries(mutations)) {
            const mutated = mutate(text)
            assert.strictEqual(compactText(mutated), mutated, name)
          }
        }
      })
    )
  })
})

describe("the law of the round trip", () => {
  const holds = (render: (text: string) => string) => {
    const law = fc.property(arbitraryDocument(), ({ files }) =>
      files.every(({ tree }) => {
        const expected = toCompactText(tree)
        return digestOfCompactText(render(expected)) === digestOfCompactText(expected)
      })
    )
    return !fc.check(law, { numRuns: 400, seed: 20260101, endOnFailure: true }).failed
  }

  it("holds for an engine without fault", () => {
    assert.isTrue(holds(compactText))
  })

  it.each(Object.entries(mutations))("fails for an engine with the fault: %s", (_, fault) => {
    assert.isFalse(holds(withFault(compactText, fault)))
  })
})
