import { kinds } from "@mallard/schema"
import { arbitraryDocument, digestOfText, textOfFile } from "@mallard/testkit"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import {
  Cells,
  EntityBatch,
  EntityIndex,
  ForeignShapes,
  JsonProblem,
  packBatch,
  ShapeDictionary
} from "@mallard/entity-serializers"
import { cohortRules, linksOf, meaningOf, type Setup, setUp, stateOf } from "./support.ts"

const read = ({ documents }: Setup, text: string): void => {
  const { digest } = documents.readBytes(Buffer.from(text), cohortRules)
  assert.strictEqual(digest, digestOfText(text))
}

const commit = ({ batch, documents, indexes, reader, shapes }: Setup): void => {
  documents.settle()
  batch.clear()
  for (const index of indexes) index.commit()
  shapes.commit()
  reader.tokenizer.o = 0
  documents.rebase()
}

describe("taking back", () => {
  it("leaves everything as if nothing had been read", () => {
    const step = fc.record({
      document: arbitraryDocument(),
      fate: fc.constantFrom("keep" as const, "keep" as const, "take back" as const, "break" as const, "commit" as const)
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 6 }), (steps) => {
        const setup = setUp()
        // The model reads only what is kept.
        const model = setUp()
        for (const { document, fate } of steps) {
          const texts = document.files.map(textOfFile)
          const before = stateOf(setup)
          const mark = setup.reader.mark()
          for (const text of texts) read(setup, text)
          if (fate === "break") {
            assert.throws(
              () =>
                read(
                  setup,
                  `{"patients":[{"encounters":[{"x":1},{"status":"y"}],"q":[1,{}],"birth_date":"x"},{"mrn":"1"},`
                ),
              JsonProblem
            )
          }
          if (fate === "take back" || fate === "break") {
            setup.reader.rollback(mark)
            assert.deepStrictEqual(stateOf(setup), before)
          } else {
            for (const text of texts) read(model, text)
            assert.deepStrictEqual(meaningOf(setup), meaningOf(model))
          }
          if (fate === "commit") {
            commit(setup)
            commit(model)
            assert.strictEqual(setup.batch.entityCount, 0)
            assert.isEmpty(setup.shapes.fresh)
          }
        }
      }),
      { numRuns: 60 }
    )
  })
})

describe("EntityIndex", () => {
  const words = (n: number): Int32Array => Int32Array.of(Math.imul(n % 7, 1024), n, -n, n * 3)

  it("behaves as a map with a journal, through growth", () => {
    const action = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ tag: fc.constant("insert" as const), from: fc.nat(3000), count: fc.nat(700) })
      },
      { weight: 1, arbitrary: fc.record({ tag: fc.constant("skip" as const), count: fc.nat(700) }) },
      { weight: 3, arbitrary: fc.constant({ tag: "rollback" as const }) },
      { weight: 3, arbitrary: fc.constant({ tag: "mark" as const }) },
      { weight: 1, arbitrary: fc.constant({ tag: "commit" as const }) }
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 25 }), fc.nat(500), (actions, stored) => {
        const index = new EntityIndex(stored + 1)
        let model = new Map<number, number>()
        let next = stored + 1
        const digests = new Int32Array(stored * 4)
        const ids = new Uint32Array(stored * 2)
        for (let n = 0; n < stored; n++) {
          digests.set(words(-1 - n), n * 4)
          ids[n * 2] = n + 1
          model.set(-1 - n, n + 1)
        }
        index.beginLoading(stored)
        index.addStored(digests, ids, stored)
        index.endLoading()
        let saved: { mark: number; model: Map<number, number>; next: number } = {
          mark: index.mark(),
          model: new Map(model),
          next
        }
        for (const step of actions) {
          if (step.tag === "insert") {
            for (let n = step.from; n < step.from + step.count; n++) {
              if (index.find(words(n)) !== 0) continue
              assert.strictEqual(index.idOf(words(n)), next)
              model.set(n, next++)
            }
          } else if (step.tag === "skip") {
            for (let n = 0; n < step.count; n++) assert.strictEqual(index.skip(), next++)
          } else if (step.tag === "mark") saved = { mark: index.mark(), model: new Map(model), next }
          else if (step.tag === "commit") {
            index.commit()
            saved = { mark: 0, model: new Map(model), next }
          } else {
            index.rollback(saved.mark)
            model = new Map(saved.model)
            next = saved.next
          }
          assert.strictEqual(index.size, model.size)
          assert.strictEqual(index.nextId, next)
        }
        for (let n = -1 - stored; n < 3800; n++) assert.strictEqual(index.find(words(n)), model.get(n) ?? 0)
      }),
      { numRuns: 60 }
    )
  })
})

describe("ShapeDictionary", () => {
  it("gives dense ids, also after shapes were taken back", () => {
    const shapes = new ShapeDictionary([{ id: 5, kind: 1, template: "{}", filled: "" }])
    assert.strictEqual(shapes.idOf(1, "{}", ""), 5)
    assert.strictEqual(shapes.idOf(2, "{}", ""), 6)
    const mark = shapes.mark()
    const { epoch } = shapes
    assert.strictEqual(shapes.idOf(1, "a", ""), 7)
    assert.strictEqual(shapes.idOf(1, "a", "x"), 8)
    shapes.rollback(mark)
    assert.notStrictEqual(shapes.epoch, epoch)
    assert.isUndefined(shapes.get(7))
    assert.strictEqual(shapes.idOf(1, "b", ""), 7)
    assert.deepStrictEqual(shapes.get(7), { id: 7, kind: 1, template: "b", filled: "" })
    shapes.commit()
    shapes.rollback(0)
    assert.strictEqual(shapes.get(7)?.template, "b")
  })
})

describe("EntityBatch", () => {
  it("has rows for every kind, and for elements of none", () => {
    const { rows } = new EntityBatch()
    for (const kind of kinds) assert.lengthOf(rows[kind.code]!.columns, kind.columns.length)
    assert.isEmpty(rows[0]!.columns)
  })

  it("keeps what the pointers of a list's entities have in common once, here and in what is handed over", () => {
    const setup = setUp()
    const encounters = Array.from({ length: 2000 }, (_, at) => `{"encounter_id":"${at}"}`).join(",")
    read(setup, `{"patients":[{"mrn":"1","encounters":[${encounters}]},{"mrn":"2","encounters":{"encounter_id":"0"}}]}`)
    const { batch, documents, reader } = setup
    assert.strictEqual(batch.links.count, 2001)
    assert.strictEqual(batch.links.pointer(1999), "/encounters/1999")
    assert.strictEqual(batch.links.pointer(2000), "/encounters")
    const places = [
      { pointer: "/encounters", list: true },
      { pointer: "/encounters", list: false }
    ]
    assert.deepStrictEqual(batch.links.places, places)
    const links = linksOf(batch)
    const packed = packBatch(reader, documents.rows.members)
    assert.deepStrictEqual(packed.places, places)
    assert.isEmpty(batch.links.places)
    const taker = setUp()
    const foreign = new ForeignShapes()
    foreign.learn(packed)
    assert.isTrue(taker.documents.take(packed, foreign, taker.documents.rows.members))
    assert.deepStrictEqual(linksOf(taker.batch), links)
  })

  it("gives no memory to columns without values when it grows", () => {
    const cells = new Cells("TEXT")
    cells.grow(4)
    cells.setText(1, 5, 6)
    cells.clear(4)
    // What is left there from before means nothing.
    cells.grow(8)
    assert.deepStrictEqual([...cells.low, ...cells.high, ...cells.valid], Array(24).fill(0))
    cells.setText(1, 5, 6)
    cells.grow(16)
    assert.deepStrictEqual([cells.low[1], cells.high[1], cells.valid[1]], [5, 6, 1])
  })

  it("says so when more than 1 GiB of text is to wait", () => {
    const { aux } = new EntityBatch()
    aux.length = 2 ** 30 - 10
    assert.throws(() => aux.reserve(11), RangeError)
    const { reader } = setUp()
    reader.tokenizer.o = 2 ** 30
    assert.throws(() => reader.tokenizer.reserve(), RangeError)
  })
})
