import { kinds } from "@mallard/schema"
import {
  arbitraryDocument,
  arbitraryJsonText,
  compactText,
  decodeText,
  digestOfText,
  mutations,
  textOfFile
} from "@mallard/testkit"
import * as fc from "fast-check"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { assert, describe, inject, it } from "vitest"
import { JsonProblem, rowValues } from "@mallard/entity-serializers"
import {
  arbitraryEntityText,
  arbitraryKindAndText,
  cohortRules,
  kindNamed,
  linksOf,
  literalRules,
  readDocument,
  readEntity,
  readInWindows,
  reset,
  type Setup,
  setUp
} from "./support.ts"

describe("an entity", () => {
  for (const kind of kinds) {
    it(`of kind ${kind.kind} comes back as its compact text`, () => {
      // Readers are kept over the runs, so that tries and dictionaries grow.
      const setup = setUp()
      fc.assert(
        fc.property(arbitraryEntityText(kind), (text) => {
          assert.strictEqual(readEntity(setup, kind, text).text, compactText(text))
        }),
        { numRuns: 150 }
      )
    })
  }

  it("gives the same columns, fragments and shape when its rendered text is read again", () => {
    fc.assert(
      fc.property(arbitraryKindAndText, ({ kind: name, text }) => {
        const kind = kindNamed(name)
        // Labels of styles depend on what a reader has seen before, so both are new.
        const first = setUp()
        const one = readEntity(first, kind, text)
        const second = setUp()
        const other = readEntity(second, kind, one.text)
        assert.deepStrictEqual(
          {
            template: other.template,
            extra: other.extra,
            codes: other.remarks.map(({ code, pointer }) => [code, pointer])
          },
          { template: one.template, extra: one.extra, codes: one.remarks.map(({ code, pointer }) => [code, pointer]) }
        )
        assert.deepStrictEqual(valuesOf(second, kind.code, other.id), valuesOf(first, kind.code, one.id))
      }),
      { numRuns: 300 }
    )
  })

  it("comes back too when the trie keeps no nodes", () => {
    const setup = setUp({ nodes: 0 })
    const few = setUp({ nodes: 50 })
    fc.assert(
      fc.property(arbitraryKindAndText, ({ kind, text }) => {
        assert.strictEqual(readEntity(setup, kindNamed(kind), text).text, compactText(text))
        assert.strictEqual(readEntity(few, kindNamed(kind), text).text, compactText(text))
      }),
      { numRuns: 300 }
    )
  })
})

const valuesOf = ({ batch, reader }: Setup, code: number, id: number) =>
  rowValues(batch, code, id - batch.rows[code]!.firstId, reader.tokenizer.output)

describe("a document", () => {
  it("comes back as its compact text, with the digest of it", () => {
    const setup = setUp()
    fc.assert(
      fc.property(arbitraryDocument(), ({ files }) => {
        for (const file of files) {
          const text = textOfFile(file)
          const { result, text: rendered } = readDocument(setup, text)
          assert.strictEqual(rendered, compactText(text))
          assert.strictEqual(result.digest, digestOfText(text))
          assert.strictEqual(result.bytes, Buffer.byteLength(rendered))
        }
      }),
      { numRuns: 300 }
    )
  })

  it("would not come back from an engine with any of the known faults", () => {
    const setup = setUp()
    const unnoticed = new Map(Object.entries(mutations))
    fc.assert(
      fc.property(arbitraryDocument(), ({ files }) => {
        for (const file of files) {
          const text = textOfFile(file)
          const compact = compactText(text)
          const rendered = readDocument(setup, text).text
          for (const [name, fault] of unnoticed) if (fault(rendered) !== compact) unnoticed.delete(name)
        }
      }),
      { numRuns: 300 }
    )
    assert.isEmpty([...unnoticed.keys()])
  })

  it("comes back when nothing in it is recognised", () => {
    const setup = setUp()
    fc.assert(
      fc.property(arbitraryJsonText({ container: true }), (text) => {
        const { result, text: rendered } = readDocument(setup, text, literalRules)
        assert.strictEqual(rendered, compactText(text))
        assert.strictEqual(result.digest, digestOfText(text))
        assert.isEmpty(result.collections)
      })
    )
  })

  it("gives the same result through windows as in one piece", () => {
    fc.assert(
      fc.property(
        arbitraryDocument(),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 }),
        ({ files }, places) => {
          for (const file of files.slice(0, 1)) {
            const bytes = Buffer.from(textOfFile(file))
            const cuts = [...new Set(places.map((place) => Math.floor(place * bytes.length)))].sort((a, b) => a - b)
            assertSameThroughWindows(bytes, cuts)
          }
        }
      ),
      { numRuns: 150 }
    )
  })

  it("gives the same result wherever the window ends", () => {
    const text = JSON.stringify({
      name: "x",
      patients: [
        {
          id: "p1",
          given_name: "A\u0001\ud83d\ude00",
          telecom: [{ system: "phone", value: "1" }],
          encounters: [{ encounter_id: "e", diagnoses: [{ code: "I10" }, null] }]
        },
        { entity_id: 1, entity_type: "patient", data: { mrn: "m", mrn2: [true, false] } }
      ],
      claims: { claim_id: "c", totals: { total_charges: 12.5 } },
      other: { deep: [[[{ a: "\ud800", b: [1.5e-10, -0.25] }]]], a: {}, z: [] }
    })
      .replace('"mrn2"', '"\\u006drn"')
      .replace('"A', '"\\ud83d\\ude00A')
    const bytes = Buffer.from(text)
    for (let cut = 0; cut <= bytes.length; cut++) assertSameThroughWindows(bytes, [cut])
    assertSameThroughWindows(
      bytes,
      Array.from(bytes, (_, at) => at)
    )
  })
})

describe("the shared cases", () => {
  const shared = inject("shared")
  const folder = shared === undefined ? undefined : join(shared, "cases")

  it.skipIf(folder === undefined)("come back, and what is no JSON is refused", () => {
    const setup = setUp()
    let read = 0
    const check = (text: string, bytes: Uint8Array): void => {
      let compact: string | undefined
      try {
        compact = compactText(text)
      } catch {
        compact = undefined
      }
      if (compact === undefined || !/^[[{]/.test(compact))
        return void assert.throws(() => readDocument(setup, bytes), JsonProblem)
      assert.strictEqual(readDocument(setup, bytes).text, compact)
      read++
    }
    for (const name of readdirSync(folder!, { recursive: true, encoding: "utf8" }).filter((name) =>
      name.endsWith(".json")
    )) {
      const bytes = readFileSync(join(folder!, name))
      const text = decodeText(bytes)
      check(text, Buffer.from(text))
    }
    const { cases }: { readonly cases: ReadonlyArray<{ readonly input?: unknown }> } = JSON.parse(
      readFileSync(join(folder!, "healthsim-cases.json"), "utf8")
    )
    for (const { input } of cases)
      if (typeof input === "string" && input.isWellFormed()) check(input, Buffer.from(input))
    assert.isAbove(read, 60)
  })
})

const whole = setUp()
const split = setUp()

const assertSameThroughWindows = (bytes: Uint8Array, cuts: ReadonlyArray<number>): void => {
  for (const rules of [cohortRules, literalRules]) {
    reset(whole)
    const expected = readDocument(whole, bytes, rules)
    reset(split)
    const actual = readInWindows(split, bytes, cuts, rules)
    // Node's own comparison is many times faster than the one that explains.
    if (!isDeepStrictEqual(actual, expected)) assert.deepStrictEqual(actual, expected)
    if (!isDeepStrictEqual(rowsOf(split), rowsOf(whole))) assert.deepStrictEqual(rowsOf(split), rowsOf(whole))
  }
}

/** Everything that a batch holds, but for the places of texts. */
const rowsOf = ({ batch, reader, shapes }: Setup) => ({
  rows: batch.rows.map((rows, code) =>
    Array.from({ length: rows.count }, (_, row) => [
      [...rows.digests.subarray(row * 4, row * 4 + 4)],
      rows.shapes[row],
      rowValues(batch, code, row, reader.tokenizer.output)
    ])
  ),
  links: linksOf(batch),
  shapes: shapes.fresh
})
