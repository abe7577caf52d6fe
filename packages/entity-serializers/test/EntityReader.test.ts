import { kindByName, type KindName } from "@mallard/schema"
import { compactText } from "@mallard/testkit"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { type ColumnValue, rowDigest, rowValues, ShapeDictionary, viewBatch } from "@mallard/entity-serializers"
import { linksOf, readDocument, readEntity, type ReadEntity, type Setup, setUp } from "./support.ts"

interface Read extends ReadEntity {
  readonly values: Readonly<Record<string, ColumnValue>>
  /** Code and pointer of each remark. */
  readonly notes: ReadonlyArray<string>
  readonly labels: ReadonlyArray<string>
  readonly fragments: ReadonlyArray<string>
}

/** Reads an entity and checks that it comes back. */
const read = (name: KindName, text: string, setup: Setup = setUp()): Read => {
  const kind = kindByName(name)
  const entity = readEntity(setup, kind, text)
  assert.strictEqual(entity.text, compactText(text))
  const { batch, reader } = setup
  const all = rowValues(batch, kind.code, entity.id - batch.rows[kind.code]!.firstId, reader.tokenizer.output)
  return {
    ...entity,
    values: Object.fromEntries([...all].filter(([, value]) => value !== null)),
    notes: entity.remarks.map(({ code, pointer }) => `${code} ${pointer}`),
    labels: entity.template.split("\u0001").filter((_, at) => at % 2 === 1),
    fragments: entity.extra === null ? [] : entity.extra.split("\n")
  }
}

describe("columns", () => {
  it("hold mapped leaves, and extra the rest", () => {
    const patient = read(
      "patient",
      '{ "mrn": "M1", "name": {"given": "A", "x": [1, {"y": null}]}, "birth_date": "1980-05-15", "zzz": 1.50 }'
    )
    assert.deepStrictEqual(patient.values, { mrn: "M1", given_name: "A", birth_date: 3787 })
    assert.deepStrictEqual(patient.labels, ["c:mrn", "c:given_name", "x", "c:birth_date", "x"])
    assert.deepStrictEqual(patient.fragments, ['[1,{"y":null}]', "1.50"])
    assert.strictEqual(
      patient.template,
      '{"mrn":\u0001c:mrn\u0001,"name":{"given":\u0001c:given_name\u0001,"x":\u0001x\u0001},"birth_date":\u0001c:birth_date\u0001,"zzz":\u0001x\u0001}'
    )
    assert.isEmpty(patient.notes)
  })

  it("tell null, missing, {}, [] and the empty text apart", () => {
    for (const text of [
      '{"mrn":null}',
      "{}",
      '{"mrn":{}}',
      '{"mrn":[]}',
      '{"mrn":""}',
      '{"name":null}',
      '{"name":{}}',
      '{"name":[]}',
      '{"encounters":null}',
      '{"encounters":[]}',
      '{"encounters":{}}',
      '{"encounters":[null]}',
      '{"encounters":0}'
    ]) {
      read("patient", text)
    }
    assert.deepStrictEqual(read("patient", '{"mrn":null}').labels, ["c:mrn"])
    assert.deepStrictEqual(read("patient", '{"encounters":null}').labels, ["x"])
    assert.deepStrictEqual(read("patient", '{"encounters":[]}').labels, ["list"])
    assert.deepStrictEqual(read("patient", '{"encounters":{}}').labels, ["one"])
  })

  it("hold numbers and booleans as text where the column is text", () => {
    const { values, labels } = read("patient", '{"mrn":1.50,"ssn":true,"given_name":1e400,"family_name":NaN}')
    assert.deepStrictEqual(values, { mrn: "1.50", ssn: "true", given_name: "1e400", family_name: "NaN" })
    assert.deepStrictEqual(labels, ["c:mrn:r", "c:ssn:r", "c:given_name:r", "c:family_name:r"])
  })

  it("share one shape between null and values, and between numbers spelt alike", () => {
    const setup = setUp()
    for (const text of ['{"deceased":"true"}', '{"deceased":null}', '{"deceased":"false"}'])
      read("patient", text, setup)
    for (const text of ['{"value":98.60}', '{"value":12.45}', '{"value":null}']) read("vital_sign", text, setup)
    assert.lengthOf(setup.shapes.fresh, 2)
  })

  it("leave text that the database client would alter in extra", () => {
    const patient = read(
      "patient",
      '{"mrn":"\ufeffM1","ssn":"\\ud800","given_name":"\\ud83d","family_name":"a\\u0000b","city":"\\ud83d\\ude00","state":"a\ufeff"}'
    )
    assert.deepStrictEqual(patient.values, { family_name: "a\0b", city: "😀", state: "a\ufeff" })
    assert.deepStrictEqual(patient.notes, [
      "text-unstorable /mrn",
      "text-unstorable /ssn",
      "text-unstorable /given_name"
    ])
    assert.deepStrictEqual(patient.fragments, ['"\ufeffM1"', '"\\ud800"', '"\\ud83d"'])
  })

  it("hold the code that a word stands for", () => {
    assert.deepStrictEqual(read("member", '{"relationship_code":"Spouse"}').values, { relationship_code: "01" })
    assert.deepStrictEqual(read("member", '{"relationship_code":"domestic partner"}').notes, [
      "code-translated /relationship_code"
    ])
    assert.deepStrictEqual(read("member", '{"relationship_code":"18"}').labels, ["c:relationship_code"])
    assert.deepStrictEqual(read("member", '{"relationship_code":"cousin"}').notes, ["code-unknown /relationship_code"])
    assert.deepStrictEqual(read("member", `{"relationship_code":"${"cousin ".repeat(50)}"}`).values, {})
  })
})

describe("competing paths", () => {
  it("give a column to the first of its paths that has a value, wherever it stands", () => {
    for (const text of [
      '{"birth_date":"1980-01-01","dob":"1990-01-01"}',
      '{"dob":"1990-01-01","birth_date":"1980-01-01"}'
    ]) {
      const patient = read("patient", text)
      assert.deepStrictEqual(patient.values, { birth_date: 3652 })
      assert.deepStrictEqual(patient.notes, ["path-superseded /dob"])
    }
  })

  it("count a null only where nothing else does", () => {
    for (const text of ['{"birth_date":null,"dob":"1990-01-01"}', '{"dob":"1990-01-01","birth_date":null}']) {
      const patient = read("patient", text)
      assert.deepStrictEqual(patient.values, { birth_date: 7305 })
      assert.isEmpty(patient.notes)
    }
    assert.deepStrictEqual(read("patient", '{"dob":null,"birth_date":null}').labels.toSorted(), ["c:birth_date", "x"])
  })

  it("count a value that the column cannot hold", () => {
    for (const text of ['{"birth_date":"soon","dob":"1990-01-01"}', '{"dob":"1990-01-01","birth_date":"soon"}']) {
      const patient = read("patient", text)
      assert.deepStrictEqual(patient.values, {})
      assert.deepStrictEqual(patient.notes.toSorted(), ["not-a-date /birth_date", "path-superseded /dob"])
    }
  })

  it("let one leaf feed several columns: the first is its home, the others are copies", () => {
    const setup = setUp()
    const fed = new Map<string, Array<string>>()
    for (const column of kindByName("claim").columns)
      for (const path of column.paths) fed.set(path, [...(fed.get(path) ?? []), column.name])
    const shared = [...fed].filter(([path, columns]) => columns.length > 1 && !/[.[]/.test(path))
    for (const [path, [home, ...copies]] of shared) {
      const claim = read("claim", `{"${path}":"X1"}`, setup)
      assert.match(claim.labels[0]!, new RegExp(`^[cx]:${home}`))
      assert.includeMembers(setup.shapes.fresh.at(-1)!.filled.split(","), copies)
    }
  })

  it("decide each of many entities for itself", () => {
    const setup = setUp()
    for (let round = 0; round < 3; round++) {
      assert.deepStrictEqual(read("patient", `{"dob":"1990-01-0${round + 1}","birth_date":null}`, setup).values, {
        birth_date: 7305 + round
      })
      assert.deepStrictEqual(
        read("patient", `{"dob":"1990-01-0${round + 1}","birth_date":"1980-01-01"}`, setup).values,
        { birth_date: 3652 }
      )
      assert.deepStrictEqual(read("patient", `{"dob":"1990-01-0${round + 1}"}`, setup).values, {
        birth_date: 7305 + round
      })
    }
  })
})

describe("duplicate keys", () => {
  it("are kept; the last one counts", () => {
    const patient = read("patient", '{"mrn":"1","mrn":"2"}')
    assert.deepStrictEqual(patient.values, { mrn: "2" })
    assert.deepStrictEqual(patient.notes, ["path-superseded /mrn", "duplicate-key /mrn"])
    assert.deepStrictEqual(
      patient.remarks.map(({ offset }) => offset),
      [7, 11]
    )
  })

  it("count as a whole: what an earlier object holds does not", () => {
    assert.deepStrictEqual(read("patient", '{"name":{"given":"A","family":"B"},"name":{"given":"C"}}').values, {
      given_name: "C"
    })
    assert.deepStrictEqual(read("patient", '{"name":{"given":"A"},"name":{}}').values, {})
    assert.deepStrictEqual(read("patient", '{"name":{"given":"A"},"name":null}').values, {})
    assert.deepStrictEqual(read("patient", '{"name":"x","name":{"given":"A"}}').values, { given_name: "A" })
    assert.deepStrictEqual(read("patient", '{"mrn":"1","mrn":null}').values, {})
    assert.deepStrictEqual(read("patient", '{"mrn":null,"mrn":"1"}').values, { mrn: "1" })
  })

  it("are found in every spelling and at every depth", () => {
    assert.deepStrictEqual(read("patient", '{"mrn":"1","\\u006drn":"2"}').values, { mrn: "2" })
    assert.deepStrictEqual(read("patient", '{"x":{"a":1,"b":[{"c":1,"c":2}],"a":2}}').notes, [
      "duplicate-key /x/b/0/c",
      "duplicate-key /x/a"
    ])
    assert.deepStrictEqual(read("patient", '{"a/b":1,"~":[0,{"":1,"":2}],"a/b":2}').notes, [
      "duplicate-key /~0/1/",
      "duplicate-key /a~1b"
    ])
    assert.deepStrictEqual(read("patient", '{"encounters":[{},{"status":1,"status":2}]}').notes, [
      "path-superseded /encounters/1/status",
      "duplicate-key /encounters/1/status"
    ])
  })

  it("of nested entities are collections of their own", () => {
    const patient = read("patient", '{"encounters":[{"id":1}],"encounters":[{"id":2}]}')
    assert.deepStrictEqual(patient.labels, ["list", "list"])
  })

  it("are found among many keys", () => {
    const many = Array.from({ length: 100 }, (_, at) => `"k${at}":${at}`).join(",")
    assert.deepStrictEqual(read("patient", `{"x":{${many},"k7":0,"y":{${many},"k99":1}}}`).notes, [
      "duplicate-key /x/k7",
      "duplicate-key /x/y/k99"
    ])
    assert.deepStrictEqual(read("patient", `{"x":{${many}},"y":{${many}}}`).notes, [])
  })
})

describe("arrays", () => {
  it("are walked where a path reaches an element; the others are one fragment per run", () => {
    const setup = setUp()
    const patient = read(
      "patient",
      '{"telecom":[{"system":"fax","value":"0"},{"x":1},{"value":"1","system":"phone"},{"y":[2]},{"system":"email","value":"e"}, 5, 6]}',
      setup
    )
    assert.deepStrictEqual(patient.values, { phone: "1", email: "e" })
    assert.deepStrictEqual(patient.fragments, [
      '{"system":"fax","value":"0"},{"x":1}',
      '"phone"',
      '{"y":[2]}',
      '"email"',
      "5,6"
    ])
  })

  it("choose by a selector, before or after the member that it selects", () => {
    assert.deepStrictEqual(read("patient", '{"telecom":[{"system":"phone","value":"1"}]}').values, { phone: "1" })
    assert.deepStrictEqual(read("patient", '{"telecom":[{"value":"1","system":"phone"}]}').values, { phone: "1" })
    assert.deepStrictEqual(
      read("patient", '{"telecom":[{"value":"1","system":"phone"},{"value":"2","system":"phone"}]}').values,
      { phone: "1" }
    )
    assert.deepStrictEqual(read("patient", '{"telecom":[{"value":"1","system":"phone","use":"mobile"}]}').values, {
      phone: "1",
      phone_mobile: "1"
    })
    assert.deepStrictEqual(read("patient", '{"telecom":[{"value":"1","system":["phone"]}]}').values, {})
  })

  it("choose by index and by selector at once", () => {
    assert.deepStrictEqual(read("patient", '{"identifier":[{"value":"a"},{"type":"MR","value":"b"}]}').values, {
      mrn: "b"
    })
    assert.deepStrictEqual(read("patient", '{"identifier":[{"type":"MR","value":"b"},{"value":"a"}]}').values, {
      mrn: "b"
    })
    assert.deepStrictEqual(read("patient", '{"identifier":[{"value":"a"}]}').values, { mrn: "a" })
  })

  it("give right pointers behind runs of any length", () => {
    for (const before of [0, 1, 5, 70]) {
      const patient = read("patient", `{"telecom":[${'{"x":1},'.repeat(before)}{"system":"phone","value":"\\ud800"}]}`)
      assert.deepStrictEqual(patient.notes, [`text-unstorable /telecom/${before}/value`])
    }
  })

  it("of any length have one shape where only the first elements are mapped", () => {
    const setup = setUp()
    for (let length = 2; length < 40; length++)
      read("patient", `{"name":{"given":["A"${',"B"'.repeat(length)}]}}`, setup)
    assert.lengthOf(setup.shapes.fresh, 1)
  })
})

describe("JSON columns", () => {
  it("hold the text of what stands there", () => {
    const { values, labels } = read("claim_line", '{"modifiers": ["25", 1.50, {"a": null}]}')
    assert.deepStrictEqual(values, { procedure_modifiers: '["25",1.50,{"a":null}]' })
    assert.deepStrictEqual(labels, ["c:procedure_modifiers"])
    assert.deepStrictEqual(read("claim_line", '{"modifier": "25"}').values, { procedure_modifiers: '"25"' })
  })

  it("hold a copy where inner leaves have columns of their own", () => {
    const setup = setUp()
    const claim = read("claim", '{"totals":{"total_charges":425.00,"note":"x"}}', setup)
    assert.deepStrictEqual(claim.values, { total_charge: 42500n, adjudication: '{"total_charges":425.00,"note":"x"}' })
    assert.deepStrictEqual(claim.labels, ["c:total_charge:d2", "x"])
    assert.strictEqual(setup.shapes.fresh[0]!.filled, "adjudication")
  })

  it("are NULL for JSON that the database does not take", () => {
    const line = read("claim_line", '{"modifiers":["\\udc00"],"diagnosis_pointers":[NaN]}')
    assert.deepStrictEqual(line.values, {})
    assert.deepStrictEqual(line.notes, ["json-unstorable /modifiers", "json-unstorable /diagnosis_pointers"])
    assert.deepStrictEqual(read("claim", '{"totals":{"total_charges":1,"x":Infinity}}').values, { total_charge: 100n })
  })

  it("compete by path like others", () => {
    assert.deepStrictEqual(read("claim", '{"totals":{"total_charges":1},"adjudication":{"a":1}}').values, {
      adjudication: '{"a":1}',
      total_charge: 100n
    })
  })
})

describe("wrappers", () => {
  it("are entities as a whole, with the paths tried under data too", () => {
    for (const text of [
      '{"entity_id":"e","entity_type":"patient","data":{"mrn":"1","name":{"given":"A"}},"provenance":{"source_type":"x"}}',
      '{"data":{"mrn":"1","name":{"given":"A"}},"provenance":{"source_type":"x"},"entity_type":"patient","entity_id":"e"}'
    ]) {
      const { values } = read("patient", text)
      assert.deepStrictEqual(values, { mrn: "1", given_name: "A", source_type: "x" })
    }
  })

  it("let paths compete as in any entity, before data and in it", () => {
    const { values } = read(
      "patient",
      '{"dob":"1990-01-01","birth_date":"1980-01-01","mrn":"1","data":{"last_name":"A","family_name":"B","x":1},"entity_id":1,"entity_type":2,"ssn":"3"}'
    )
    assert.deepStrictEqual(values, { mrn: "1", ssn: "3", family_name: "B", birth_date: 3652 })
  })

  it("let the entity inside win where both have a value on the same path", () => {
    for (const text of [
      '{"entity_id":1,"entity_type":2,"mrn":"out","data":{"mrn":"in"}}',
      '{"entity_id":1,"entity_type":2,"data":{"mrn":"in"},"mrn":"out"}'
    ]) {
      const { values, notes } = read("patient", text)
      assert.deepStrictEqual(values, { mrn: "in" })
      assert.deepStrictEqual(notes, ["path-superseded /mrn"])
    }
    // A better path wins wherever it stands.
    assert.deepStrictEqual(
      read("patient", '{"entity_id":1,"entity_type":2,"birth_date":"1980-01-01","data":{"dob":"1990-01-01"}}').values,
      { birth_date: 3652 }
    )
  })

  it("nest entities under data", () => {
    const setup = setUp()
    const { counts } = read(
      "patient",
      '{"entity_id":1,"entity_type":"patient","data":{"encounters":[{"encounter_id":"1"}]},"conditions":[{"code":"I10"}]}',
      setup
    )
    assert.deepStrictEqual([counts[1], counts[2], counts[3]], [1, 1, 1])
    assert.deepStrictEqual(
      linksOf(setup.batch).map(([, , , , pointer]) => pointer),
      ["/data/encounters/0", "/conditions/0"]
    )
  })

  it("need all three keys, and an object", () => {
    for (const text of [
      '{"data":{"mrn":"1"}}',
      '{"entity_id":1,"data":{"mrn":"1"}}',
      '{"entity_id":1,"entity_type":2,"data":[{"mrn":"1"}]}',
      '{"entity_id":1,"entity_type":2,"data":1,"data":{"mrn":"1"}}'
    ]) {
      assert.notProperty(read("patient", text).values, "mrn")
    }
  })
})

describe("nested entities", () => {
  it("are rows of their own kind, linked in order", () => {
    const setup = setUp()
    const text =
      '{"mrn":"1","encounters":[{"encounter_id":"e1","diagnoses":[{"code":"I10"},{"code":"E11"}]},7,{"encounter_id":"e2","diagnoses":{"code":"I10"}}]}'
    const { counts } = read("patient", text, setup)
    assert.deepStrictEqual([counts[0], counts[1], counts[2], counts[3]], [1, 1, 2, 3])
    assert.strictEqual(setup.batch.rows[3]!.count, 2)
    assert.deepStrictEqual(linksOf(setup.batch), [
      [2, 1, 0, 0, "/diagnoses/0", 3, 1],
      [2, 1, 0, 1, "/diagnoses/1", 3, 2],
      [2, 2, 0, 0, "/diagnoses", 3, 1],
      [1, 1, 0, 0, "/encounters/0", 2, 1],
      [1, 1, 0, 1, "/encounters/1", 0, 1],
      [1, 1, 0, 2, "/encounters/2", 2, 2]
    ])
  })

  it("never stand in their own kind, however deep, because a row is filled while its children are read", () => {
    const inside = (name: string, above: ReadonlyArray<string>): void => {
      assert.notInclude(above, name)
      for (const { kind } of kindByName(name as KindName).children) inside(kind, [...above, name])
    }
    for (const name of ["patient", "encounter", "claim"]) inside(name, [])
  })

  it("are stored once when equal, per kind", () => {
    const setup = setUp()
    const { text } = readDocument(
      setup,
      '{"patients":[{},{},{"encounters":[{},{}]}],"encounters":[{}],"entities":{"unknown":[{},1,1]}}'
    )
    assert.strictEqual(
      text,
      '{"patients":[{},{},{"encounters":[{},{}]}],"encounters":[{}],"entities":{"unknown":[{},1,1]}}'
    )
    assert.deepStrictEqual(setup.batch.rows.map(({ count }) => count).slice(0, 3), [2, 2, 1])
    const empty = "44136fa355b3678a1146ad16f7e8649e"
    assert.strictEqual(rowDigest(setup.batch.rows[1]!, 0), empty)
    assert.strictEqual(rowDigest(setup.batch.rows[2]!, 0), empty)
  })
})

describe("keys", () => {
  it("keep every spelling's meaning", () => {
    assert.deepStrictEqual(
      read(
        "patient",
        '{"\\u006d\\u0072n":"1","Mrn":"2","MRN":"3","__proto__":{"mrn":"4"},"constructor":5,"toString":6,"\\ufeffmrn":7,"mrn\\u0000":8,"\\ud800":9,"\\n":10}'
      ).values,
      { mrn: "1" }
    )
    const setup = setUp()
    for (const text of ['{"é":1}', '{"\\u00e9":1}', '{"\\u00E9":1}']) read("patient", text, setup)
    assert.lengthOf(setup.shapes.fresh, 1)
  })

  it("that are many and unknown put the template into the row", () => {
    const keys = (count: number): string => Array.from({ length: count }, (_, at) => `"k${at}":${at}`).join(",")
    const setup = setUp()
    const plain = read("patient", `{"mrn":"1",${keys(64)}}`, setup)
    assert.strictEqual(setup.batch.rows[1]!.shapes[0], 1)
    assert.lengthOf(plain.fragments, 64)
    const folded = read(
      "patient",
      `{"mrn":"1",${keys(65)},"name":{"given":"A","encounters":[{}]},"encounters":[{"status":"x"}],"dob":"1980-01-01"}`,
      setup
    )
    assert.strictEqual(setup.batch.rows[1]!.shapes[1], 0)
    assert.deepStrictEqual(folded.values, { mrn: "1", given_name: "A", birth_date: 3652 })
    assert.lengthOf(folded.fragments, 66)
    // From there on, members that take no column are one fragment, their keys and commas included.
    const run = read("patient", `{${keys(70)},"mrn":"1","k70":{"k71":[1]},"mr":null,"name":{"given":"A","x":2}}`, setup)
    assert.deepStrictEqual(run.fragments.slice(64), [
      "64",
      '"k65":65,"k66":66,"k67":67,"k68":68,"k69":69',
      '"k70":{"k71":[1]},"mr":null',
      '"x":2'
    ])
    assert.deepStrictEqual(run.values, { mrn: "1", given_name: "A" })
    assert.deepStrictEqual(run.labels.slice(64), ["x", "x", "c:mrn", "x", "c:given_name", "x"])
    assert.strictEqual(setup.shapes.fresh.filter(({ kind }) => kind === 1).length, 1)
    assert.deepStrictEqual(read("patient", `{"x":{${keys(200)}}}`, setup).fragments, [`{${keys(200)}}`])
    // What one folded entity has had is not taken for what the next one has had.
    assert.deepStrictEqual(read("patient", `{"mrn":"1",${keys(65)},"mrn":"2","dob":null}`, setup).values, { mrn: "2" })
    assert.deepStrictEqual(read("patient", `{"mrn":"1",${keys(66)},"mrn":"2"}`, setup).notes, [
      "path-superseded /mrn",
      "duplicate-key /mrn"
    ])
  })

  it("that are many are read alike, whatever entities with the same first keys were read before", () => {
    const members = fc.array(fc.constantFrom("k3", "k67", "t1", "t2", "t3", "mrn", "dob", "name"), { maxLength: 6 })
    const wide = fc.tuple(fc.integer({ min: 60, max: 70 }), members).map(([count, tail]) => {
      const keys = [...Array.from({ length: count }, (_, at) => `k${at}`), ...tail]
      return `{${keys.map((key, at) => `"${key}":${key === "name" ? `{"given":"${at}"}` : `"${at}"`}`).join(",")}}`
    })
    fc.assert(
      fc.property(fc.array(wide, { minLength: 2, maxLength: 8 }), (texts) => {
        const kept = setUp()
        const few = setUp({ nodes: 200 })
        for (const text of texts) {
          const alone = read("patient", text)
          for (const setup of [kept, few]) {
            const { fragments, notes, values } = read("patient", text, setup)
            assert.deepStrictEqual(
              { fragments, notes, values },
              { fragments: alone.fragments, notes: alone.notes, values: alone.values }
            )
          }
        }
      }),
      { numRuns: 200 }
    )
  })

  it("that are repeated by folded entities are parts of their runs, containers too, with the remarks of each", () => {
    const keys = Array.from({ length: 65 }, (_, at) => `"k${at}":${at}`).join(",")
    const again = '"gender":"F","name":{"given":"A","x":[{}]},"zz":{"zz":1,"zz":2},"zz":1'
    const { fragments, labels, notes, values } = read(
      "patient",
      `{${keys},${again},${again},"name":{"given":"B"},"gender":"M","encounters":[{}],${again.replaceAll("A", "C")}}`
    )
    assert.deepStrictEqual(values, { given_name: "C", gender: "F" })
    assert.deepStrictEqual(fragments.slice(65), [
      `${again},${again},"name":{"given":"B"},"gender":"M"`,
      '"x":[{}]',
      '"zz":{"zz":1,"zz":2},"zz":1'
    ])
    assert.deepStrictEqual(labels.slice(65), ["x", "list", "c:gender", "c:given_name", "x", "x"])
    assert.deepStrictEqual(notes, [
      "path-superseded /gender",
      "path-superseded /name/given",
      "duplicate-key /zz/zz",
      "duplicate-key /zz",
      "duplicate-key /gender",
      "path-superseded /gender",
      "duplicate-key /name",
      "path-superseded /name/given",
      "duplicate-key /zz",
      "duplicate-key /zz/zz",
      "duplicate-key /zz",
      "duplicate-key /name",
      "path-superseded /name/given",
      "duplicate-key /gender",
      "path-superseded /gender",
      "duplicate-key /gender",
      "duplicate-key /name",
      "duplicate-key /zz",
      "duplicate-key /zz/zz",
      "duplicate-key /zz"
    ])
  })

  it("that are long put the template into the row as many do", () => {
    const setup = setUp()
    read("patient", `{"x":{"y":1},"${"k".repeat(60_000)}":1}`, setup)
    read("patient", `{"${"k".repeat(70_000)}":1,"mrn":"1","a":2,"b":3}`, setup)
    assert.deepStrictEqual([...setup.batch.rows[1]!.shapes.subarray(0, 2)], [1, 0])
  })

  it("of shapes that are longer together than may be put the template into the row", () => {
    const shapes = new ShapeDictionary([], 10, 100)
    const setup = setUp({ shapes })
    for (const key of ["a", "b"]) read("patient", `{"${key.repeat(40)}":1}`, setup)
    read("patient", `{"${"c".repeat(40)}":1}`, setup)
    read("patient", `{"${"a".repeat(40)}":2}`, setup)
    assert.deepStrictEqual([...setup.batch.rows[1]!.shapes.subarray(0, 4)], [1, 2, 0, 1])
    shapes.rollback(0)
    assert.strictEqual(shapes.idOf(1, "d".repeat(100), ""), 1)
  })

  it("of more shapes than a kind may have put the template into the row", () => {
    const shapes = new ShapeDictionary([], 10)
    const setup = setUp({ shapes })
    for (let at = 0; at < 30; at++) read("patient", `{"k${at}":1,"mrn":"1"}`, setup)
    assert.lengthOf(shapes.fresh, 10)
    assert.deepStrictEqual([...setup.batch.rows[1]!.shapes.subarray(0, 30)].filter((id) => id === 0).length, 20)
    // Known shapes and other kinds go on.
    read("patient", '{"k3":1,"mrn":"2"}', setup)
    assert.strictEqual(setup.batch.rows[1]!.shapes[30], 4)
    read("encounter", '{"k":1}', setup)
    assert.strictEqual(setup.batch.rows[2]!.shapes[0], 11)
  })
})

describe("shapes", () => {
  it("that are stored already are found again", () => {
    const first = setUp()
    read("patient", '{"mrn":"1"}', first)
    const stored = first.shapes.fresh.map((shape) => ({ ...shape, id: 41 }))
    const second = setUp({ shapes: new ShapeDictionary(stored) })
    read("patient", '{"mrn":"2"}', second)
    assert.isEmpty(second.shapes.fresh)
    assert.strictEqual(second.batch.rows[1]!.shapes[0], 41)
    assert.strictEqual(second.shapes.nextId, 42)
  })
})

describe("a view of the batch", () => {
  it("refuses entities that do not wait in it", () => {
    const setup = setUp()
    read("patient", "{}", setup)
    const view = viewBatch(setup.reader)
    assert.strictEqual(view.text(1, 1), "{}")
    for (const [code, id] of [
      [1, 0],
      [1, 2],
      [2, 1]
    ] as const)
      assert.throws(() => view.text(code, id), RangeError)
  })
})
