import { formatPath, parseContextPath, parseIdPath, parsePath, type Step } from "@mallard/schema"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"

describe("paths", () => {
  it("go to keys, elements and the first element with a value", () => {
    assert.deepStrictEqual(parsePath("name[0].given[1]"), [
      { _tag: "Key", key: "name" },
      { _tag: "Index", index: 0 },
      { _tag: "Key", key: "given" },
      { _tag: "Index", index: 1 }
    ])
    assert.deepStrictEqual(parsePath("telecom[system=phone].value"), [
      { _tag: "Key", key: "telecom" },
      { _tag: "Where", key: "system", value: "phone" },
      { _tag: "Key", key: "value" }
    ])
    assert.deepStrictEqual(parsePath("matrix[0][12]"), [
      { _tag: "Key", key: "matrix" },
      { _tag: "Index", index: 0 },
      { _tag: "Index", index: 12 }
    ])
  })

  it.each(["", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[-1]", "a[01]", "a]b", "a[0]b", "[0]", "a=b", "a+b"])(
    "refuse %j",
    (path) => {
      assert.throws(() => parsePath(path), SyntaxError)
    }
  )

  it("are given back by their steps", () => {
    const key = fc.stringMatching(/^[A-Za-z_$][A-Za-z0-9_$ -]{0,8}$/)
    const step: fc.Arbitrary<Step> = fc.oneof(
      fc.record({ _tag: fc.constant("Key" as const), key }),
      fc.record({ _tag: fc.constant("Index" as const), index: fc.nat(999_999_999) }),
      fc.record({ _tag: fc.constant("Where" as const), key, value: fc.stringMatching(/^[^\]]{0,8}$/) })
    )
    fc.assert(
      fc.property(key, fc.array(step, { maxLength: 6 }), (first, rest) => {
        const steps: ReadonlyArray<Step> = [{ _tag: "Key", key: first }, ...rest]
        assert.deepStrictEqual(parsePath(formatPath(steps)), steps)
      })
    )
  })

  it("of an id may join several", () => {
    assert.deepStrictEqual(parseIdPath("claim_id+line.number").map(formatPath), ["claim_id", "line.number"])
    assert.deepStrictEqual(parseIdPath("id").map(formatPath), ["id"])
  })

  it("of a context start at the enclosing entity or at the document", () => {
    assert.deepStrictEqual(parseContextPath("$parent.service_dates.admission"), {
      from: "parent",
      steps: parsePath("service_dates.admission")
    })
    assert.deepStrictEqual(parseContextPath("$doc.patient.mrn"), { from: "document", steps: parsePath("patient.mrn") })
    assert.throws(() => parseContextPath("patient.mrn"), SyntaxError)
  })
})
