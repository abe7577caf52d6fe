import { assert, describe, it } from "@effect/vitest"
import { toJsonText } from "@mallard/entity-serializers"
import { kindByName, kindOfTypeKey, normaliseTypeKey } from "@mallard/schema"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import * as fc from "fast-check"
import { type CohortEntity, cohortRecogniser, CohortStore, type Recogniser, verifyDatabase } from "../src/index.ts"
import { inNewStore, valuesOf } from "./support.ts"

const inStore = <A, E>(use: (store: CohortStore["Service"]) => Effect.Effect<A, E, DuckDbClient>) =>
  inNewStore(Effect.provide(Effect.flatMap(CohortStore, use), CohortStore.layerNoDeps))

type Lists = Readonly<Record<string, unknown>>

/** What a document becomes, worked out on values; undefined when it has no place for what is added. */
const grownBy = (before: Lists, added: ReadonlyArray<readonly [string, ReadonlyArray<unknown>]>): Lists | undefined => {
  const inner = before["entities"]
  const around: Lists = typeof inner === "object" && inner !== null ? { ...inner } : before
  const result: Record<string, unknown> = { ...around }
  for (const [key, elements] of added) {
    const place = Object.hasOwn(around, key)
      ? key
      : (Object.keys(around).findLast((other) => Array.isArray(around[other]) && typeOf(other) === typeOf(key)) ?? key)
    const list = result[place] ?? (Object.hasOwn(result, place) ? null : [])
    if (!Array.isArray(list)) return undefined
    result[place] = [...list, ...elements]
  }
  return around === before ? result : { ...before, entities: result }
}

const typeOf = (key: string): string => kindOfTypeKey(key)?.kind ?? normaliseTypeKey(key)

describe("appending", () => {
  const cases: ReadonlyArray<readonly [document: string, key: string, grown: string | undefined]> = [
    ['{"entities":{"patients":[1]}}', "patient", '{"entities":{"patients":[1,9,{}]}}'],
    ['{"patient":[],"b":2}', "patients", '{"patient":[9,{}],"b":2}'],
    ['{"entities":{}}', "claims", '{"entities":{"claims":[9,{}]}}'],
    ["{}", "claims", '{"claims":[9,{}]}'],
    ['{"patient":{"id":1}}', "patients", '{"patient":{"id":1},"patients":[9,{}]}'],
    ['{"a":"]}\\"","Things":["[",[]]}', "things", '{"a":"]}\\"","Things":["[",[],9,{}]}'],
    [
      '{"patients":[{"id":"a"}],"x":1,"patients":[{"id":"b"}]}',
      "patients",
      '{"patients":[{"id":"a"}],"x":1,"patients":[{"id":"b"},9,{}]}'
    ],
    [
      '{"entities":{"claims":[{"id":"c"}]},"patients":[{"id":"p"}],"entities":{"encounters":[{"id":"e"}]},"members":[{"id":"m"}]}',
      "patients",
      '{"entities":{"claims":[{"id":"c"}]},"patients":[{"id":"p"}],"entities":{"encounters":[{"id":"e"}],"patients":[9,{}]},"members":[{"id":"m"}]}'
    ],
    ["[1]", "patients", undefined],
    ['{"patients":{}}', "patients", undefined],
    ['{"entities":null}', "patients", undefined],
    ['{"entities":{"patients":null}}', "patients", undefined]
  ]
  it.effect(
    "puts entities at the ends of lists of their type, or into a new list beside them, else into a further file",
    () =>
      inStore(
        Effect.fnUntraced(function* (store) {
          for (const [at, [document, key, grown]] of cases.entries()) {
            const name = `c${at}`
            yield* store.save({ name, document, path: "a.json" })
            yield* store.append(name, `{"${key}":[9,{}]}`)
            const { documents } = yield* store.load(name)
            assert.deepStrictEqual(
              documents.map(({ text }) => text),
              grown === undefined ? [document, `{"entities":{"${key}":[9,{}]}}`] : [grown],
              document
            )
          }
          assert.deepStrictEqual((yield* verifyDatabase(yield* DuckDbClient)).findings, [])
        })
      )
  )

  it.effect("leaves what stands elsewhere the entities that they are, whatever rules found them", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        const document =
          '{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","id":"p1"}},{"x":1},' +
          '{"resource":{"resourceType":"Patient","id":"p2","active":true}}],"notes":[{"id":"n"},7],"patients":[]}'
        const patient = { tag: "entities", kind: kindByName("patient").code } as const
        const notes = { tag: "entities", kind: 0 } as const
        const { facts } = cohortRecogniser()
        const recogniser: Recogniser = {
          rules: {
            tag: "keys",
            array: undefined,
            rules: (key) =>
              key === "entry"
                ? {
                    tag: "each",
                    rule: { tag: "object", rules: (inner) => (inner === "resource" ? patient : undefined) }
                  }
                : key === "notes"
                  ? notes
                  : undefined
          },
          facts
        }
        yield* store.save({ name: "bundle", document, recogniser })
        const before = yield* store.entities("bundle")
        const saved = yield* store.append(
          "bundle",
          '{"notes":[8],"patients":[{"id":"p3"}],"claims":[{"claim_id":"c"}]}'
        )
        assert.deepStrictEqual(saved.entities, { patient: 3, json: 3, claim: 1 })
        assert.deepStrictEqual((yield* store.find("bundle")).entities, saved.entities)
        const after = yield* store.entities("bundle")
        assert.deepStrictEqual(
          after.items.map(({ kind, pointer, text }) => [kind, pointer, text]),
          [
            ["patient", "/entry/0/resource", '{"resourceType":"Patient","id":"p1"}'],
            ["patient", "/entry/2/resource", '{"resourceType":"Patient","id":"p2","active":true}'],
            ["json", "/notes/0", '{"id":"n"}'],
            ["json", "/notes/1", "7"],
            ["json", "/notes/2", "8"],
            ["patient", "/patients/0", '{"id":"p3"}'],
            ["claim", "/claims/0", '{"claim_id":"c"}']
          ]
        )
        const ids = (items: ReadonlyArray<CohortEntity>) => items.map(({ entityId, kind }) => `${kind} ${entityId}`)
        assert.includeMembers(ids(after.items), ids(before.items))
        assert.deepStrictEqual((yield* verifyDatabase(yield* DuckDbClient)).findings, [])
      })
    )
  )

  it.effect("remarks on what is appended, where it stands in the whole document", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        const odd = (id: string) => `{"id":"${id}","birth_date":"the ë day"}`
        const save = yield* store.save({
          name: "r",
          document: `{"b":"é","patients":[${odd("p1")},${odd("p2")}],"c":[]}`
        })
        assert.lengthOf(save.remarks, 2)
        const { remarks } = yield* store.append("r", `{"patient":[${odd("p3")}],"members":[${odd("m1")}]}`)
        const [text = ""] = (yield* store.load("r")).documents.map((document) => document.text)
        const bytes = Buffer.from(text)
        assert.deepStrictEqual(
          remarks.map(({ pointer }) => pointer),
          ["/patients/2/birth_date", "/members/0/birth_date"]
        )
        for (const { offset } of remarks) assert.strictEqual(bytes.subarray(offset).indexOf('"the ë day"'), 0)
      })
    )
  )

  it.effect("gives any document the elements at the end of its list and leaves every other byte of it", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        const scalar = fc.oneof(fc.string({ unit: "binary" }), fc.integer(), fc.boolean(), fc.constant(null))
        const value = fc.oneof(
          scalar,
          fc.array(scalar, { maxLength: 2 }),
          fc.dictionary(fc.constantFrom("id", "mrn", "x"), scalar, { noNullPrototype: true })
        )
        const list = fc.array(value, { maxLength: 4 })
        const key = fc.constantFrom("patients", "encounters", "claims", "things", "Claim", "notes", "\ufeffb", "𝄞")
        const lists = fc.dictionary(key, fc.oneof(list, list, value), { maxKeys: 5, noNullPrototype: true })
        const document = fc.oneof(
          lists,
          fc.tuple(lists, lists).map(([root, entities]) => ({ ...root, entities }))
        )
        const run = Effect.runPromiseWith(yield* Effect.context<never>())
        let number = 0
        yield* Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(
              document,
              fc.uniqueArray(fc.tuple(key, fc.array(value, { minLength: 1, maxLength: 3 })), {
                selector: ([name]) => name,
                minLength: 1
              }),
              async (before, added) => {
                const name = `doc ${number++}`
                await run(store.save({ name, document: toJsonText(before) }))
                await run(store.append(name, Object.fromEntries(added)))
                const [first, ...others] = (await run(store.load(name))).documents.map(({ text }) => text)
                const expected = grownBy(before, added)
                if (expected === undefined) {
                  assert.strictEqual(first, toJsonText(before))
                  assert.deepStrictEqual(others, [toJsonText({ entities: Object.fromEntries(added) })])
                } else {
                  assert.deepStrictEqual([first, ...others], [toJsonText(expected)])
                }
              }
            ),
            { numRuns: 40 }
          )
        )
        assert.deepStrictEqual((yield* verifyDatabase(yield* DuckDbClient)).findings, [])
      })
    )
  )

  it.effect("in batches keeps what is there, spelt as it was, and creates a cohort if asked to", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        assert.strictEqual((yield* Effect.flip(store.append("b", { patients: [{}] })))._tag, "CohortNotFound")
        yield* store.append("b", '{"patients":[{"id":"p1","w":1.50}]}', { create: true })
        for (let batch = 2; batch < 6; batch++) yield* store.append("b", { patients: [{ id: `p${batch}` }] })
        yield* store.append("b", { claims: { claim_id: "c1" } })
        assert.deepStrictEqual((yield* store.load("b")).documents, [
          {
            path: "b.json",
            text:
              '{"name":"b","entities":{"patients":[{"id":"p1","w":1.50},{"id":"p2"},{"id":"p3"},{"id":"p4"},{"id":"p5"}],' +
              '"claims":[{"claim_id":"c1"}]}}'
          }
        ])
        assert.deepStrictEqual((yield* store.find("b")).entities, { patient: 5, claim: 1 })
        for (const empty of [{}, { patients: [] }]) {
          assert.propertyVal(yield* Effect.flip(store.append("b", empty)), "reason", "no-entities")
        }
        assert.propertyVal(yield* Effect.flip(store.append("b", [])), "reason", "not-an-object")
      })
    )
  )

  it.effect("can be made sure not to happen twice: what is there already is told by type", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        const document =
          '{"name":"a","entities":{"patient":[{"id":"p1","w":1.50},{"id":"p2"}],"notes":["x",{"id":"p1"}]},"claims":[{"claim_id":"c"}]}'
        yield* store.save({ name: "a", document })
        yield* store.save({ name: "other", entities: { patients: [{ id: "p3" }] } })
        const texts = [
          '{"id":"p1","w":1.50}',
          '{"id":"p1","w":1.5}',
          '{"id":"p1"}',
          '{"id":"p3"}',
          '{"claim_id":"c"}',
          '"x"'
        ]
        assert.deepStrictEqual(
          yield* store.entitiesAmong("a", texts),
          new Map([
            ["notes", new Set(['"x"', '{"id":"p1"}'])],
            ["patient", new Set(['{"id":"p1","w":1.50}'])],
            ["claims", new Set(['{"claim_id":"c"}'])]
          ])
        )
        assert.strictEqual((yield* store.entitiesAmong("a", [])).size, 0)
      })
    )
  )

  it.effect("takes as many statements for a large cohort as for a small one, and writes no entity again", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        const sql = yield* DuckDbClient
        let statements = 0
        const counting = new Proxy(sql, {
          get: (target, key) => {
            if (key === "unsafe" || key === "appender" || key === "streamChunks") statements++
            return Reflect.get(target, key)
          }
        })
        const counted = yield* CohortStore.pipe(
          Effect.provide(CohortStore.layerNoDeps),
          Effect.provideService(DuckDbClient, counting)
        )
        const rows = Effect.map(
          valuesOf(`SELECT (SELECT count(*) FROM mallard.patients), (SELECT count(*) FROM mallard.cohort_members),
            (SELECT count(*) FROM mallard.entity_shapes), (SELECT count(*) FROM mallard.part_texts)`),
          ([row = []]) => row.map(Number)
        )
        const costs: Array<{ readonly statements: number; readonly rows: ReadonlyArray<number> }> = []
        for (const size of [2, 600]) {
          const patients = Array.from({ length: size }, (_, at) => ({ id: `${size} ${at}`, mrn: `M${at}` }))
          yield* counted.save({ name: `of ${size}`, entities: { patients } })
          const before = yield* rows
          statements = 0
          yield* counted.append(`of ${size}`, { patients: [{ id: `${size} new`, mrn: "M" }, patients[0]] })
          const taken = statements
          costs.push({ statements: taken, rows: (yield* rows).map((count, at) => count - (before[at] ?? 0)) })
        }
        // The members of a revision are written anew: they say in which order its entities stand.
        assert.deepStrictEqual(
          costs.map(({ rows }) => rows),
          [
            [1, 4, 0, 1],
            [1, 602, 0, 1]
          ]
        )
        assert.strictEqual(costs[1]?.statements, costs[0]?.statements)
        assert.isBelow(costs[0]?.statements ?? 0, 30)
        assert.deepStrictEqual((yield* verifyDatabase(sql)).findings, [])
        assert.strictEqual((yield* store.find("of 600")).entityCount, 602)
      })
    )
  )

  it.effect("to a list that was empty, or held no entity, makes entities of what comes", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        for (const patients of ["", '"none"']) {
          const name = `list of ${patients}`
          yield* store.save({ name, entities: `{"patients":[${patients}],"encounters":[{"id":"e"}]}` })
          yield* store.append(name, { patients: [{ id: "p1" }] })
          assert.strictEqual((yield* store.find(name)).entities["patient"], 1, name)
        }
      })
    )
  )

  it.effect("goes on after somebody else has written through the same database", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        const other = yield* Effect.provide(CohortStore, CohortStore.layerNoDeps)
        for (let number = 0; number < 3; number++) {
          yield* store.save({ name: `mine ${number}`, entities: { patients: [{ id: "same" }, { id: `m${number}` }] } })
          yield* other.save({ name: `other ${number}`, entities: { patients: [{ id: "same" }, { id: `o${number}` }] } })
          yield* other.rename(`mine ${number}`, `taken ${number}`)
        }
        assert.strictEqual((yield* store.list).length, 6)
        assert.deepStrictEqual((yield* verifyDatabase(yield* DuckDbClient)).findings, [])
      })
    )
  )
})
