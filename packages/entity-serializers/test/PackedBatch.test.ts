import { arbitraryDocument, compactText, textOfFile } from "@mallard/testkit"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import {
  ForeignShapes,
  MemberRows,
  packBatch,
  renderDocument,
  ShapeDictionary,
  viewBatch
} from "@mallard/entity-serializers"
import { cohortRules, meaningOf, reset, setUp, stateOf } from "./support.ts"

/** A reader elsewhere, and what is known here of its shapes. */
const elsewhere = (leavesDigests = false) => {
  const setup = setUp()
  setup.reader.leavesDigests = leavesDigests
  return { setup, foreign: new ForeignShapes() }
}

type Elsewhere = ReturnType<typeof elsewhere>

const packed = ({ foreign, setup }: Elsewhere, text: string, memory?: ArrayBuffer) => {
  setup.documents.readBytes(Buffer.from(text), cohortRules)
  const batch = packBatch(setup.reader, setup.documents.rows.members, memory)
  setup.documents.rebase()
  foreign.learn(batch)
  return batch
}

describe("rows that another reader has read", () => {
  it("are taken over as if they had been read here", () => {
    const step = fc.record({
      document: arbitraryDocument(),
      by: fc.constantFrom("here", "a", "b", "c"),
      again: fc.boolean()
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 6 }), (steps) => {
        const here = setUp()
        // The model reads everything itself.
        const model = setUp()
        const others: Record<string, Elsewhere> = { a: elsewhere(), b: elsewhere(), c: elsewhere(true) }
        for (const { again, by, document } of steps) {
          const texts = document.files.map(textOfFile)
          // What is known already must not come twice.
          for (const text of again ? [...texts, ...texts] : texts) {
            model.documents.readBytes(Buffer.from(text), cohortRules)
            const other = others[by]
            if (other === undefined) {
              here.documents.readBytes(Buffer.from(text), cohortRules)
              continue
            }
            const members = new MemberRows()
            assert.isTrue(here.documents.take(packed(other, text), other.foreign, members))
            const { pieces } = other.setup.documents.rows
            assert.strictEqual(renderDocument(pieces, members, viewBatch(here.reader).text), compactText(text))
          }
        }
        assert.deepStrictEqual(meaningOf(here), meaningOf(model))
        const isUsed = new Set(stateOf(here).rows.flatMap((rows) => rows.map(({ shape }) => shape)))
        for (const { id } of here.shapes.fresh) assert.isTrue(isUsed.has(id))
      }),
      { numRuns: 60 }
    )
  })

  it("stand once where they are equal, though their digests are left to whoever takes them", () => {
    const encounter = (id: string) => ({ encounter_id: id, chief_complaint: "long enough to be left ".repeat(6) })
    const patient = (mrn: string, ...ids: ReadonlyArray<string>) => ({ mrn, encounters: ids.map(encounter), short: {} })
    const texts = [
      [patient("1", "a", "b", "a"), patient("1", "a", "b", "a"), patient("2", "b"), patient("1", "a", "b", "a")],
      [patient("3", "c"), patient("2", "b"), patient("3", "c"), patient("4")]
    ].map((patients) => JSON.stringify({ patients }))
    const here = setUp()
    const model = setUp()
    const other = elsewhere(true)
    for (const text of texts) {
      model.documents.readBytes(Buffer.from(text), cohortRules)
      const members = new MemberRows()
      assert.isTrue(here.documents.take(packed(other, text), other.foreign, members))
      assert.strictEqual(renderDocument(other.setup.documents.rows.pieces, members, viewBatch(here.reader).text), text)
    }
    assert.deepStrictEqual(meaningOf(here), meaningOf(model))
    assert.deepStrictEqual(
      stateOf(here)
        .rows.map(({ length }) => length)
        .filter((length) => length > 0),
      [4, 3]
    )
  })

  it("fit into memory that has been used before, whatever was in it", () => {
    const other = elsewhere()
    const { memory } = packed(
      other,
      `{"patients":[${'{"mrn":"1","note":"a text that is long"},'.repeat(50)}{"mrn":"2"}]}`
    )
    const here = setUp()
    const text = '{"patients":[{"mrn":"é","birth_date":"2001-02-03","x":[1.50,null]}]}'
    const batch = packed(other, text, memory)
    assert.strictEqual(batch.memory, memory)
    const members = new MemberRows()
    assert.isTrue(here.documents.take(batch, other.foreign, members))
    assert.strictEqual(renderDocument(other.setup.documents.rows.pieces, members, viewBatch(here.reader).text), text)
  })

  it("are refused when they bring too many shapes, and leave nothing once taken back", () => {
    const here = setUp({ shapes: new ShapeDictionary([], 2) })
    here.documents.readBytes(Buffer.from('{"patients":[{"a":1}]}'), cohortRules)
    const before = stateOf(here)
    const mark = here.reader.mark()
    const other = elsewhere()
    const text = '{"patients":[{"b":1},{"c":1},{"d":1}]}'
    assert.isFalse(here.documents.take(packed(other, text), other.foreign, new MemberRows()))
    here.reader.rollback(mark)
    assert.deepStrictEqual(stateOf(here), before)
    // Here, where there is room for templates in the rows, the same text is read.
    here.documents.readBytes(Buffer.from(text), cohortRules)
    const { members, pieces } = here.documents.rows
    assert.strictEqual(renderDocument(pieces, members, viewBatch(here.reader).text), text)
  })

  it("know their shapes again after those were taken back here", () => {
    const here = setUp()
    const other = elsewhere()
    const text = '{"patients":[{"a":1}]}'
    here.documents.take(packed(other, text), other.foreign, new MemberRows())
    reset(here)
    const members = new MemberRows()
    assert.isTrue(here.documents.take(packed(other, text), other.foreign, members))
    assert.strictEqual(renderDocument(other.setup.documents.rows.pieces, members, viewBatch(here.reader).text), text)
  })
})
