import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, inject, it } from "vitest"
import { countFrequencies, decodeText, parseText, traps, type GeneratedDocument } from "@mallard/testkit"

const shared = inject("shared")

describe("2,000 documents", () => {
  const { runs, ...counted } = countFrequencies(2000, 20260101)

  it.each(Object.entries(counted.variants))("hold the variant %s often enough (%i)", (_, count) => {
    assert.isAtLeast(count / runs, 0.01)
  })

  it.each(Object.entries(counted.traps))("hold the trap %s often enough (%i)", (_, count) => {
    assert.isAtLeast(count / runs, 0.01)
  })

  it("are the same for the same seed", () => {
    assert.deepStrictEqual(countFrequencies(50, 7), countFrequencies(50, 7))
  })
})

describe("a detector", () => {
  it("finds nothing in a plain document", () => {
    const found = trapsIn('{"name":"c","entities":{"patients":[{"id":"1"}]}}')
    assert.deepStrictEqual(found, ["no white space at all"])
  })

  it.each([
    ["dupkey", '{"a":1,"a":2}'],
    ["duplicate key in another spelling", '{"a":1,"\\u0061":2}'],
    ["lone surrogate", '["\\ud800"]'],
    ["NaN or Infinity", "[-Infinity]"],
    ["byte order mark leading a string", '["\ufeffa"]'],
    ["integer keys out of order", '{"a":1,"1":2}'],
    ["order", '[{"a":1,"b":2},{"b":2,"a":1}]'],
    ["competing paths", '{"patients":[{"given_name":"A","name":{"given":"B"}}]}'],
    ["wrapper", '{"entities":{"patients":[{"entity_id":"1","entity_type":"patient","data":{}}]}}'],
    ["same entity in two kinds", '{"patients":[{}],"claims":[{}]}'],
    ["null under a type key", '{"patients":null}'],
    ["object under a plural key", '{"patients":{}}'],
    ["type key in camel case", '{"labResults":[]}'],
    ["single child", '{"patients":[{"encounter":{}}]}'],
    ["children in a child", '{"patients":[{"encounters":[{"diagnoses":[]}]}]}']
  ])("finds %s", (name, text) => {
    assert.include(trapsIn(text), name)
  })

  it.skipIf(shared === undefined)("finds the trap of each edge file", () => {
    const folder = join(shared ?? "", "cases", "edge")
    const names = readdirSync(folder).map((file) => file.replace(".json", ""))
    const missed = names
      .filter((name) => name !== "trunc" && name !== "zero" && name !== "bom")
      .filter((name) => !trapsIn(decodeText(readFileSync(join(folder, `${name}.json`)))).includes(name))
    assert.deepStrictEqual(missed, [])
    assert.isTrue(names.every((name) => traps.some((trap) => trap.name === name)))
  })
})

const trapsIn = (text: string): ReadonlyArray<string> => {
  const document: GeneratedDocument = {
    variant: "V1",
    directory: undefined,
    files: [{ name: "cohort.json", tree: parseText(text), encoding: "utf-8", cutTo: undefined }],
    expected: undefined
  }
  return traps.filter(({ occurs }) => occurs(document)).map(({ name }) => name)
}
