import { arbitraryJsonText, compactText } from "@mallard/testkit"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { JsonProblem, type JsonProblemCode, positionAt } from "@mallard/entity-serializers"
import {
  cohortRules,
  kindNamed,
  literalRules,
  readDocument,
  readEntity,
  readInWindows,
  type Setup,
  setUp
} from "./support.ts"

/** What is wrong with a text; undefined when it is read. */
const problemOf = (
  setup: Setup,
  text: string | Uint8Array,
  rules = cohortRules
): { code: JsonProblemCode; offset: number } | undefined => {
  const bytes = typeof text === "string" ? Buffer.from(text) : text
  try {
    readDocument(setup, bytes, rules)
    return undefined
  } catch (problem) {
    if (!(problem instanceof JsonProblem)) throw problem
    return { code: problem.code, offset: problem.offset }
  }
}

const isAccepted = (text: string): boolean => {
  try {
    return /^[[{]/.test(compactText(text))
  } catch {
    return false
  }
}

const arbitraryDamage = fc.oneof(
  fc.record({
    at: fc.nat(),
    remove: fc.nat(2),
    insert: fc.constantFrom(
      "",
      ",",
      ":",
      "}",
      "]",
      "{",
      "[",
      '"',
      "\\",
      "0",
      "-",
      ".",
      "e",
      "x",
      "\u0001",
      "\u00a0",
      "\u0000",
      "'",
      "//",
      "NaN",
      "nul",
      "u12"
    )
  })
)

describe("the grammar", () => {
  it("accepts exactly what the oracle accepts", () => {
    const setup = setUp()
    let refused = 0
    fc.assert(
      fc.property(
        arbitraryJsonText({ maxNesting: 5 }),
        fc.array(arbitraryDamage, { maxLength: 2 }),
        fc.boolean(),
        (json, damages, mapped) => {
          const text = damages.reduce(
            (damaged, { at, remove, insert }) => {
              const place = at % (damaged.length + 1)
              return damaged.slice(0, place) + insert + damaged.slice(place + remove)
            },
            mapped ? `{"patients":[{"given_name":${json},"encounters":${json},"x":1}]}` : json
          )
          fc.pre(text.isWellFormed())
          const accepted = isAccepted(text)
          if (!accepted) refused++
          for (const rules of [cohortRules, literalRules]) {
            const problem = problemOf(setup, text, rules)
            assert.strictEqual(problem === undefined, accepted, JSON.stringify(problem))
            if (problem !== undefined) assert.isAtMost(problem.offset, Buffer.byteLength(text))
          }
        }
      ),
      { numRuns: 2000 }
    )
    assert.isAbove(refused, 200)
  })

  it("finds the same problem through windows", () => {
    fc.assert(
      fc.property(
        arbitraryJsonText({ maxNesting: 3, container: true }),
        arbitraryDamage,
        fc.nat(),
        (json, { at, remove, insert }, cut) => {
          const source = `{"patients":[{"id":"1","a":[${json}]}],"b":${json}}`
          const place = at % (source.length + 1)
          const text = source.slice(0, place) + insert + source.slice(place + remove)
          fc.pre(text.isWellFormed())
          const bytes = Buffer.from(text)
          const whole = problemOf(setUp(), bytes)
          let split: ReturnType<typeof problemOf>
          try {
            readInWindows(setUp(), bytes, [cut % (bytes.length + 1)])
          } catch (problem) {
            if (!(problem instanceof JsonProblem)) throw problem
            split = { code: problem.code, offset: problem.offset }
          }
          assert.deepStrictEqual(split, whole)
        }
      ),
      { numRuns: 300 }
    )
  })

  const cases: ReadonlyArray<readonly [string | Uint8Array, JsonProblemCode, number]> = [
    ["", "unexpected-end", 0],
    [" \n ", "unexpected-end", 3],
    ["{", "unexpected-end", 1],
    ["[1", "unexpected-end", 2],
    ['{"a', "unexpected-end", 3],
    ['{"a"', "unexpected-end", 4],
    ['{"a":', "unexpected-end", 5],
    ['["\\u12', "unexpected-end", 6],
    ['["\\', "unexpected-end", 3],
    ["[tru", "unexpected-end", 4],
    ["[-", "unexpected-end", 2],
    ["[1.", "unexpected-end", 3],
    ["[1e", "unexpected-end", 3],
    [" 12 ", "not-a-document", 1],
    ['"text"', "not-a-document", 0],
    ["NaN", "not-a-document", 0],
    ["nul", "unexpected-end", 3],
    ["nulL", "unexpected-byte", 3],
    ["\ufeff{}", "unexpected-byte", 0],
    ["{} x", "trailing-content", 3],
    ["{}{}", "trailing-content", 2],
    ["[]\0", "trailing-content", 2],
    ["[1,]", "unexpected-byte", 3],
    ["[,1]", "unexpected-byte", 1],
    ["[1 2]", "unexpected-byte", 3],
    ['{"a":1,}', "unexpected-byte", 7],
    ["{a:1}", "unexpected-byte", 1],
    ["{'a':1}", "unexpected-byte", 1],
    ['{"a" 1}', "unexpected-byte", 5],
    ['{"a":}', "unexpected-byte", 5],
    ["[1}", "unexpected-byte", 2],
    ['{"a":1]', "unexpected-byte", 6],
    ["[nan]", "unexpected-byte", 2],
    ["[+1]", "unexpected-byte", 1],
    ["[.5]", "unexpected-byte", 1],
    ["[undefined]", "unexpected-byte", 1],
    ["[01]", "invalid-number", 2],
    ["[-]", "invalid-number", 2],
    ["[-a]", "invalid-number", 2],
    ["[1.]", "invalid-number", 3],
    ["[1.e1]", "invalid-number", 3],
    ["[1e+]", "invalid-number", 4],
    ["[-Inf]", "unexpected-byte", 5],
    ["[0x10]", "unexpected-byte", 2],
    ['["a\nb"]', "control-character", 3],
    ['["a\0b"]', "control-character", 3],
    ['["\t"]', "control-character", 2],
    ['["\\x"]', "invalid-escape", 3],
    ['["\\u12g4"]', "invalid-escape", 6],
    ['["\\ud800\\u12"]', "invalid-escape", 12],
    ['{"patients":[{"given_name":"\\x"}]}', "invalid-escape", 29],
    ['{"patients":[{"given_name":1 "b":2}]}', "unexpected-byte", 29],
    ['{"patients":[{"name":{"given":[1 2]}}]}', "unexpected-byte", 33],
    ['{"patients":[{"encounters":[{}{}]}]}', "unexpected-byte", 30],
    ['{"patients":[{"entity_id":1,"data":{},"entity_type":2', "unexpected-end", 53],
    [Buffer.from([0x5b, 0x22, 0xc3, 0x22, 0x5d]), "invalid-utf8", 2],
    [Buffer.from([0x5b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x5d]), "invalid-utf8", 2],
    [Buffer.from([0x5b, 0x5d, 0xff]), "invalid-utf8", 2]
  ]
  for (const [text, code, offset] of cases) {
    it(`refuses ${typeof text === "string" ? JSON.stringify(text) : Buffer.from(text).toString("hex")} at byte ${offset}: ${code}`, () => {
      assert.deepStrictEqual(problemOf(setUp(), text), { code, offset })
    })
  }

  it("tells line and column of an offset, in characters", () => {
    const bytes = Buffer.from('{\n  "é": 😀x\n}')
    assert.deepStrictEqual(positionAt(bytes, 0), { line: 1, column: 1 })
    assert.deepStrictEqual(positionAt(bytes, bytes.indexOf("x")), { line: 2, column: 9 })
    assert.deepStrictEqual(positionAt(bytes, bytes.length + 5), { line: 3, column: 2 })
  })
})

describe("limits", () => {
  const nest = (depth: number, inner = ""): string => "[".repeat(depth) + inner + "]".repeat(depth)

  it("keeps nesting of 10,000 levels and refuses one more, whatever is recognised", () => {
    const setup = setUp()
    const deep = nest(10_000)
    assert.strictEqual(readDocument(setup, deep).text, deep)
    assert.strictEqual(readDocument(setup, deep, literalRules).text, deep)
    const inEntity = `{"patients":[{"x":${nest(9_997)}}]}`
    assert.strictEqual(readDocument(setup, inEntity).text, inEntity)
    assert.deepStrictEqual(problemOf(setup, nest(10_001)), { code: "too-deep", offset: 10_000 })
    assert.strictEqual(problemOf(setup, `{"patients":[{"x":${nest(9_998)}}]}`)?.code, "too-deep")
    assert.strictEqual(problemOf(setup, nest(100_000))?.code, "too-deep")
  })

  it("counts every level, also those of recognised entities", () => {
    const texts: ReadonlyArray<readonly [string, number]> = [
      ['{"patients":[{"name":{"given":["A"]}}]}', 5],
      ['{"patients":[{"encounters":[{"diagnoses":[{}]}]}]}', 7],
      ['{"patient":{"encounter":{"encounter_id":"1"}}}', 3],
      ['{"patients":[{"telecom":[{"system":"phone","value":[]}]}]}', 6],
      ['{"entities":{"patients":[[]]}}', 4],
      ['{"patients":[{"entity_id":1,"entity_type":"patient","data":{"name":{}}}]}', 5],
      ['{"claims":[{"totals":{"x":[]}}]}', 5],
      ['{"patients":[{"dob":"1990-01-01","birth_date":"1980-01-01","x":[]}]}', 4]
    ]
    for (const [text, depth] of texts) {
      for (const rules of [cohortRules, literalRules]) {
        const setup = setUp()
        setup.reader.tokenizer.maxDepth = depth
        assert.strictEqual(readDocument(setup, text, rules).text, text)
        setup.reader.tokenizer.maxDepth = depth - 1
        assert.strictEqual(problemOf(setup, text, rules)?.code, "too-deep", text)
      }
    }
  })

  it("walks 100,000 levels without recursion when the limit allows", () => {
    const setup = setUp()
    setup.reader.tokenizer.maxDepth = 1_000_000
    const text = `{"patients":[{"x":${nest(100_000, "1")},"claims":${nest(100_000)}}],"y":${nest(100_000)}}`
    assert.strictEqual(readDocument(setup, text).text, text)
  })

  it("refuses an entity, a string or a number that is too large, and nothing smaller", () => {
    const setup = setUp()
    setup.reader.maxEntityBytes = 100
    const long = "x".repeat(98)
    const entity = `{"given_name":"${"x".repeat(83)}"}`
    assert.strictEqual(entity.length, 100)
    assert.strictEqual(problemOf(setup, `{"patients":[${entity}]}`), undefined)
    assert.deepStrictEqual(problemOf(setup, `{"patients":[{}, ${entity.replace("x", "xy")}]}`), {
      code: "too-large",
      offset: 17
    })
    assert.strictEqual(problemOf(setup, `["${long}"]`), undefined)
    assert.deepStrictEqual(problemOf(setup, `["", "x${long}"]`), { code: "too-large", offset: 5 })
    assert.deepStrictEqual(problemOf(setup, `["", "\\u0041${long}"]`), { code: "too-large", offset: 5 })
    assert.deepStrictEqual(problemOf(setup, `{"x${long}":1}`), { code: "too-large", offset: 1 })
    assert.deepStrictEqual(problemOf(setup, `[1${"0".repeat(100)}]`), { code: "too-large", offset: 1 })
    assert.strictEqual(problemOf(setup, `[${"1,".repeat(1000)}1]`), undefined)
    assert.strictEqual(problemOf(setup, `{"name":[${"1,".repeat(1000)}1]}`), undefined)
  })

  it("refuses the same through windows, before it has gathered much more than the limit", () => {
    const entity = `{"a":[${"1,".repeat(500)}1]}`
    for (const [text, offset] of [
      [`{"patients":[${entity}]}`, 13],
      [`["${"x".repeat(1000)}"]`, 1],
      [`{"${"x".repeat(1000)}":1}`, 1],
      [`[${"1".repeat(1000)}]`, 1]
    ] as const) {
      const setup = setUp()
      setup.reader.maxEntityBytes = 100
      const bytes = Buffer.from(text)
      let seen = 0
      const cuts = Array.from({ length: Math.floor(bytes.length / 10) }, (_, at) => at * 10)
      try {
        readInWindows(setup, bytes, cuts)
        assert.fail("nothing was refused")
      } catch (problem) {
        if (!(problem instanceof JsonProblem)) throw problem
        assert.strictEqual(problem.code, "too-large")
        assert.strictEqual(problem.offset, offset)
        seen = setup.reader.tokenizer.base + setup.reader.tokenizer.end
      }
      assert.isAtMost(seen, 130)
    }
  })

  it("reads a literal value of any size through windows, captured keys included", () => {
    const text = `{"name":[${"12345,".repeat(50_000)}1],"metadata":{"a":${'"x",'.repeat(3).slice(0, 3)}}}`
    const setup = setUp()
    setup.reader.maxEntityBytes = 1000
    const bytes = Buffer.from(text)
    const cuts = Array.from({ length: Math.floor(bytes.length / 500) }, (_, at) => at * 500)
    const { result, text: rendered } = readInWindows(setup, bytes, cuts)
    assert.strictEqual(rendered, text)
    assert.deepStrictEqual([...result.captures], [["/metadata", '{"a":"x"}']])
  })

  it("refuses more than a million nested entities under one key", () => {
    const setup = setUp()
    const text = (count: number): string => `{"diagnoses":[${"0,".repeat(count - 1)}0]}`
    assert.strictEqual(readEntity(setup, kindNamed("encounter"), text(1_000_000)).text, text(1_000_000))
    assert.throws(() => readEntity(setup, kindNamed("encounter"), text(1_000_001)), JsonProblem)
  })

  it("keeps as text what a key of nested entities holds after it has been repeated 65,536 times", () => {
    const text = (count: number): string => `{"mrn":"1"${',"encounters":[{"encounter_id":"1"}]'.repeat(count)},"x":1}`
    const linked = (count: number): ReadonlyArray<number> => {
      const setup = setUp()
      assert.strictEqual(readEntity(setup, kindNamed("patient"), text(count)).text, text(count))
      return [setup.batch.links.count, setup.batch.rows[kindNamed("encounter").code]!.count]
    }
    assert.deepStrictEqual(linked(65_536), [65_536, 1])
    assert.deepStrictEqual(linked(65_600), [65_536, 1])
  })
})

describe("what looks like an attack", () => {
  const size = 60_000
  const members = (make: (at: number) => string): string => Array.from({ length: size }, (_, at) => make(at)).join(",")
  const cases: Readonly<Record<string, string>> = {
    "one mapped key again and again": members(() => '"given_name":"A"'),
    "one unknown key again and again": members(() => '"zzz":1'),
    "keys that are all different": members((at) => `"k${at}":${at}`),
    "one key of children again and again": members(() => '"encounters":[]'),
    "wrappers that never end": members(() => '"data":{}'),
    "duplicate keys deep inside": `"x":${"[".repeat(900)}{${members(() => '"a":0')}}${"]".repeat(900)}`,
    "duplicate containers": members((at) => `"name":{"given":"${at}"}`)
  }
  for (const [name, body] of Object.entries(cases)) {
    it(`${name} takes time in proportion to its size`, () => {
      const setup = setUp()
      const text = `{"patients":[{${body}}]}`
      const { result, text: rendered } = readDocument(setup, text)
      assert.strictEqual(rendered, text)
      if (name.includes("again") || name.includes("duplicate")) {
        assert.strictEqual(result.remarks.length, 10_000)
        assert.isAtLeast(result.remarkCount, size - 1)
      }
    }, 20_000)
  }
})
