import { type DocumentRules, JsonProblem, type Look, stringMember } from "@mallard/entity-serializers"
import { kindByName } from "@mallard/schema"
import { arbitraryDocument, compactText, textOfFile } from "@mallard/testkit"
import * as fc from "fast-check"
import { isDeepStrictEqual } from "node:util"
import { assert, describe, it } from "vitest"
import { cohortRules, readDocument, readInWindows, reset, setUp } from "./support.ts"

const codes: Readonly<Record<string, number>> = {
  Patient: kindByName("patient").code,
  Claim: kindByName("claim").code
}
const kind = (look: Look): number => codes[look.string("resourceType") ?? ""] ?? 0

const rowsByLine: DocumentRules = { tag: "lines", kind }
const documentsByLine: DocumentRules = {
  tag: "documents",
  rule: {
    tag: "choose",
    rule: (look) =>
      look.keys().includes("entry")
        ? {
            tag: "object",
            rules: (key) =>
              key === "entry"
                ? {
                    tag: "each",
                    rule: {
                      tag: "object",
                      rules: (inner) => (inner === "resource" ? { tag: "entities", kind } : undefined)
                    }
                  }
                : undefined
          }
        : cohortRules.tag === "keys"
          ? { tag: "object", rules: cohortRules.rules }
          : undefined,
    elements: kind
  }
}

const patient =
  '{ "id": "p\\u0001\\ud83d\\ude00", "name": [ {"family": "V{\\"[", "given": ["A"]} ], "resourceType": "Patient" }'
const claim = '{"total":{"value":1.50}, "resource\\u0054ype" : "Claim" , "diagnosis":[[]] }'
const rows = [
  patient,
  claim,
  "[1, 2]",
  '{"resourceType":"Other","resourceType":"Claim"}',
  '{"resourceType":null}',
  "{}"
]
const documents = [
  `{"entry":[{"resource":${patient},"fullUrl":"x"},{"resource":[${claim}, 5]},7],"entry":null}`,
  `{"name":"a","patients":[{"id":"p"}]}`,
  `[${patient},${claim}]`,
  "{}",
  "[]"
]

describe("several documents", () => {
  for (const [title, rules, texts] of [
    ["rows", rowsByLine, rows],
    ["documents", documentsByLine, documents]
  ] as const) {
    it(`that are ${title} come back line by line, and the same wherever the window ends`, () => {
      const whole = setUp()
      const split = setUp()
      const bytes = Buffer.from(`\n${texts.join(" \r\n\n\t")}\n \n`)
      const expected = readDocument(whole, bytes, rules)
      assert.strictEqual(expected.text, texts.map(compactText).join("\n"))
      const cuts = Array.from({ length: bytes.length + 1 }, (_, at) => [at])
      for (const some of [...cuts, cuts.flat()]) {
        reset(split)
        const actual = readInWindows(split, bytes, some, rules)
        if (!isDeepStrictEqual(actual, expected)) assert.deepStrictEqual(actual, expected)
      }
    })
  }

  it("give what each gives alone, in one text", () => {
    const setup = setUp()
    fc.assert(
      fc.property(fc.array(arbitraryDocument(), { minLength: 2, maxLength: 4 }), (specimens) => {
        const texts = specimens.flatMap(({ files }) => files.slice(0, 1).map(textOfFile))
        for (const rules of [rowsByLine, documentsByLine]) {
          reset(setup)
          const { result, text } = readDocument(setup, Buffer.from(texts.join("\n")), rules)
          assert.strictEqual(text, texts.map(compactText).join("\n"))
          assert.isUndefined(result.rootKeys)
          assert.strictEqual(result.captures.size, 0)
        }
      }),
      { numRuns: 100 }
    )
  })

  it("have pointers as in an array of them, a single one its own", () => {
    const pointersOf = (text: string) => {
      const { result } = readDocument(setUp(), Buffer.from(text), documentsByLine)
      return result.collections.map(({ pointer }) => pointer)
    }
    assert.deepStrictEqual(pointersOf(documents[0]!), ["/entry/0/resource", "/entry/1/resource"])
    assert.deepStrictEqual(pointersOf(`${documents[0]}\n${documents[1]}`), [
      "/0/entry/0/resource",
      "/0/entry/1/resource",
      "/1/patients"
    ])
  })

  for (const [text, code, offset] of [
    ["{} {}", "trailing-content", 3],
    ["{}\n,{}", "unexpected-byte", 3],
    ["{}\n7", "not-a-document", 3],
    ["{}\n{", "unexpected-end", 4],
    ["{}\n\0", "unexpected-byte", 3]
  ] as const) {
    it(`are refused with ${code} in ${JSON.stringify(text)}`, () => {
      for (const rules of [rowsByLine, documentsByLine]) {
        try {
          readDocument(setUp(), Buffer.from(text), rules)
          assert.fail("it was accepted")
        } catch (problem) {
          assert.instanceOf(problem, JsonProblem)
          assert.deepStrictEqual([problem.code, problem.offset], [code, offset])
        }
      }
    })
  }
})

describe("looking ahead", () => {
  const say = (text: string, key = "k"): string | undefined => stringMember(Buffer.from(text), key)

  it("finds a string of the outermost object alone, of duplicates the first", () => {
    assert.strictEqual(say(' { "a" : {"k":"no"}, "b":["k","}"], "\\u006b" : "y\\n\\"es" , "k":"no" }'), 'y\n"es')
    assert.isUndefined(say('{"a":{"k":"no"}}'))
    assert.isUndefined(say('["k","no"]'))
    assert.isUndefined(say('{"k":5}'))
  })

  it("finds nothing where the text is cut or no JSON", () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(60), (junk, length) => {
        const text = `{"a":[1,{"b":"]"}],"k":"${"v".repeat(10)}"}`.slice(0, length)
        assert.include([undefined, "v".repeat(10)], say(text))
        // Whatever it is, it ends.
        say(junk)
        say(`{"a"${junk}`)
      })
    )
    for (const text of ['{"k"', '{"k":', '{"k":"v', '{"k" "v"}', "{k:1}", "{", ""]) assert.isUndefined(say(text), text)
  })
})
