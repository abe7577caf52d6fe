import { kindByName, kinds } from "@mallard/schema"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import {
  arbitraryDocument,
  bytesOfFile,
  compactText,
  decodeText,
  parseText,
  stringValue,
  textOfFile,
  toCompactText,
  variants,
  type JsonTree
} from "@mallard/testkit"

describe("generated documents", () => {
  it("are JSON whose compact text both oracles agree on, in every encoding", () => {
    fc.assert(
      fc.property(arbitraryDocument(), ({ files }) => {
        for (const file of files) {
          assert.strictEqual(decodeText(bytesOfFile(file)), textOfFile(file))
          assert.strictEqual(compactText(textOfFile(file)), toCompactText(file.tree))
        }
      }),
      { numRuns: 500 }
    )
  })

  it("are objects or arrays, in files of different names", () => {
    fc.assert(
      fc.property(arbitraryDocument(), ({ files, directory }) => {
        assert.isTrue(files.every(({ tree }) => tree._tag === "Object" || tree._tag === "Array"))
        assert.strictEqual(new Set(files.map(({ name }) => name)).size, files.length)
        if (directory === undefined) assert.lengthOf(files, 1)
      }),
      { numRuns: 500 }
    )
  })

  it("are of the variants asked for", () => {
    for (const variant of variants) {
      const documents = fc.sample(arbitraryDocument({ variants: [variant] }), { numRuns: 5, seed: 1 })
      assert.deepStrictEqual([...new Set(documents.map((document) => document.variant))], [variant])
    }
  })

  it("are no JSON where a file is damaged", () => {
    const damaged = fc
      .sample(arbitraryDocument({ damaged: true }), { numRuns: 600, seed: 2 })
      .flatMap(({ files }) => files)
      .filter(({ cutTo }) => cutTo !== undefined)
    assert.isAbove(damaged.length, 10)
    for (const file of damaged) assert.throws(() => compactText(decodeText(bytesOfFile(file))), SyntaxError)
  })

  it("hold entities of all kinds", () => {
    const found = new Set(
      fc
        .sample(arbitraryDocument(), { numRuns: 1000, seed: 3 })
        .flatMap(({ expected }) => expected?.collections ?? [])
        .map(({ kind }) => kind)
    )
    assert.deepStrictEqual([...found].sort(), kinds.map(({ kind }) => kind).sort())
  })

  it("say where lists stand that must be found", () => {
    let lists = 0
    fc.assert(
      fc.property(arbitraryDocument(), ({ files, expected }) => {
        for (const { file, pointer, kind, elements } of expected?.collections ?? []) {
          const tree = files.find(({ name }) => name === file)?.tree
          assert.isDefined(tree)
          const list = at(parseText(toCompactText(tree)), pointer)
          assert.strictEqual(list._tag === "Array" ? list.elements.length : undefined, elements)
          assert.isDefined(kindByName(kind))
          lists++
        }
      }),
      { numRuns: 300 }
    )
    assert.isAbove(lists, 50)
  })

  it("show the text of their files when a property fails", () => {
    const result = fc.check(
      fc.property(arbitraryDocument({ variants: ["V2"] }), () => false),
      { seed: 4 }
    )
    assert.isTrue(result.failed)
    assert.match(fc.stringify(result.counterexample?.[0]), /^V2 [^]*\.json[^]*entities/i)
  })

  it("shrink to small ones", () => {
    const result = fc.check(
      fc.property(
        arbitraryDocument({ variants: ["V1"] }),
        ({ files }) => !files.some(({ tree }) => toCompactText(tree).includes("425.00"))
      ),
      { seed: 5, numRuns: 2000 }
    )
    const [document] = result.counterexample ?? []
    assert.isDefined(document)
    const text = document.files.map(({ tree }) => toCompactText(tree)).join("")
    assert.include(text, "425.00")
    assert.isBelow(text.length, 250)
  })
})

/** The tree at a JSON pointer through keys that do not repeat. */
const at = (tree: JsonTree, pointer: string): JsonTree =>
  pointer
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"))
    .reduce((node: JsonTree, step) => {
      const values = node._tag === "Object" ? node.members.filter(({ key }) => stringValue(key) === step) : []
      assert.lengthOf(values, 1)
      return values[0]?.value ?? node
    }, tree)
