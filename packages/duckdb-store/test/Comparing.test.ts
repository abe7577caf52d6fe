import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { CohortStore, diffTexts, type MergeConflict, verifyDatabase } from "../src/index.ts"
import { inNewStore } from "./support.ts"

const inStore = <A, E>(use: (store: CohortStore["Service"]) => Effect.Effect<A, E, DuckDbClient>) =>
  inNewStore(Effect.provide(Effect.flatMap(CohortStore, use), CohortStore.layerNoDeps))

const outcomes = (conflicts: ReadonlyArray<MergeConflict>) =>
  conflicts.map(({ id, kind, outcome, renamedTo }) => [
    kind,
    id,
    outcome,
    ...(renamedTo === undefined ? [] : [renamedTo])
  ])

describe("the difference of two revisions", () => {
  it.effect("pairs entities by kind and id, those without an id by text, and tells leaves by pointer", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        yield* store.save({
          name: "d",
          description: "old",
          document:
            '{"name":"d","site":{"no":1},"entities":{"patients":[{"id":"p1","w":860.00,"a":{"b":[1,2]}},{"id":"p2"},{"x":1}],' +
            '"encounters":[{"encounter_id":"p1"}],"widgets":[1,2,3]}}'
        })
        yield* store.save({
          name: "d",
          overwrite: true,
          description: "new",
          document:
            '{"name":"d","site":{"no":2},"entities":{"patients":[{"x":1},{"id":"p1","w":860,"a":{"b":[1]}},{"id":"p9"}],' +
            '"encounters":[{"encounter_id":"p1"}],"widgets":[3,1,4]}}'
        })
        const diff = yield* store.diff({ cohort: "d", seq: 1 }, { cohort: "d" })
        assert.isFalse(diff.isSame)
        assert.deepStrictEqual(diff.facts, [{ fact: "description", before: "old", after: "new" }])
        assert.deepStrictEqual(diff.documents, [
          { path: "d.json", outcome: "changed", changes: [{ pointer: "/site/no", before: "1", after: "2" }] }
        ])
        const path = "d.json"
        assert.deepStrictEqual(diff.removed, [{ kind: "patient", id: "p2", path, pointer: "/entities/patients/1" }])
        assert.deepStrictEqual(diff.added, [{ kind: "patient", id: "p9", path, pointer: "/entities/patients/2" }])
        assert.deepStrictEqual(diff.changed, [
          {
            kind: "patient",
            id: "p1",
            path,
            pointer: "/entities/patients/1",
            changes: [
              { pointer: "/w", before: "860.00", after: "860" },
              { pointer: "/a/b/1", before: "2", after: undefined }
            ]
          },
          {
            kind: "json",
            id: undefined,
            path,
            pointer: "/entities/widgets/2",
            changes: [{ pointer: "", before: "2", after: "4" }]
          }
        ])
        assert.strictEqual(diff.unchanged, 4)
        const back = yield* store.diff({ cohort: "d" }, { cohort: "d", seq: 1 })
        assert.deepStrictEqual([back.added.length, back.removed.length, back.changed.length], [1, 1, 2])
        assert.isTrue((yield* store.diff({ cohort: "d" }, { cohort: "d", seq: 2 })).isSame)
        yield* store.clone("d", "e")
        assert.deepStrictEqual((yield* store.diff({ cohort: "d" }, { cohort: "e" })).facts, [
          { fact: "name", before: "d", after: "e" }
        ])
        const missing = yield* Effect.flip(store.diff({ cohort: "d", seq: 7 }, { cohort: "d" }))
        assert.propertyVal(missing, "reason", "no-such-revision")
      })
    )
  )

  it("says nothing of the order of keys, and all values of a key that is there twice", () => {
    assert.deepStrictEqual(diffTexts('{"a":1,"b":{}}', '{"b":{},"a":1}'), [])
    assert.deepStrictEqual(diffTexts('{"a":1,"a":2}', '{"a":2}'), [{ pointer: "/a", before: "1, 2", after: "2" }])
    assert.deepStrictEqual(diffTexts('{"a":{}}', '{"a":{"b/c":null}}'), [
      { pointer: "/a", before: "{}", after: undefined },
      { pointer: "/a/b~1c", before: undefined, after: "null" }
    ])
  })
})

describe("merging", () => {
  const one = {
    patients: [{ id: "p1", v: 1 }, { id: "p2", v: 1 }, { v: 0 }],
    encounters: [{ encounter_id: "e1", patient_id: "p1" }],
    members: [{ member_id: "m1" }]
  }
  const two = {
    patients: [{ patientId: "p1", v: 2 }, { id: "p2", v: 1 }, { v: 0 }],
    encounters: [
      { encounter_id: "e1", patient_id: "p1" },
      { encounter_id: "e2", patient_id: "p2" }
    ],
    claims: [{ claim_id: "c1", patient: { patient_id: "p1" }, member_id: "m1" }]
  }

  it.effect("skips, overwrites or renames by kind and id; what refers to a renamed entity follows it", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        yield* store.save({ name: "one", entities: one, tags: ["a", "b"], product: "x" })
        yield* store.save({ name: "two", entities: two, tags: ["b", "c"], product: "x" })
        const skipped = yield* store.merge(["one", "two"], { name: "skipped" })
        assert.deepStrictEqual([skipped.identical, outcomes(skipped.conflicts)], [2, [["patient", "p1", "skipped"]]])
        const merged = yield* store.find("skipped")
        assert.deepStrictEqual([merged.tags, merged.product], [["a", "b", "c"], "x"])
        const texts = Effect.fnUntraced(function* (name: string) {
          const { entities } = yield* store.collect(name)
          return Object.fromEntries([...entities].map(([type, list]) => [type, list.map((text) => JSON.parse(text))]))
        })
        assert.deepStrictEqual(yield* texts("skipped"), {
          patients: [...one.patients, { v: 0 }],
          encounters: two.encounters,
          members: one.members,
          claims: two.claims
        })
        yield* store.merge(["one", "two"], { name: "overwritten", conflict: "overwrite" })
        assert.deepStrictEqual((yield* texts("overwritten"))["patients"]?.[0], { patientId: "p1", v: 2 })
        const renamed = yield* store.merge(["one", "two"], { name: "renamed", conflict: "rename" })
        assert.deepStrictEqual(outcomes(renamed.conflicts), [
          ["patient", "p1", "renamed", "p1-2"],
          ["encounter", "e1", "renamed", "e1-2"]
        ])
        assert.deepStrictEqual(yield* texts("renamed"), {
          patients: [...one.patients, { patientId: "p1-2", v: 2 }, { v: 0 }],
          encounters: [
            ...one.encounters,
            { encounter_id: "e1-2", patient_id: "p1-2" },
            { encounter_id: "e2", patient_id: "p2" }
          ],
          members: one.members,
          claims: [{ claim_id: "c1", patient: { patient_id: "p1-2" }, member_id: "m1" }]
        })
        assert.deepStrictEqual((yield* verifyDatabase(yield* DuckDbClient)).findings, [])
      })
    )
  )

  it.effect("needs two cohorts, and a free name", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        const { cohortId } = yield* store.save({ name: "one", entities: one })
        yield* store.save({ name: "two", entities: two })
        const few = yield* Effect.flip(store.merge(["one", cohortId], { name: "x" }))
        assert.propertyVal(few, "reason", "too-few-sources")
        assert.strictEqual((yield* Effect.flip(store.merge(["one", "two"], { name: "two" })))._tag, "NameTaken")
        assert.strictEqual((yield* Effect.flip(store.merge(["one", "no"], { name: "x" })))._tag, "CohortNotFound")
      })
    )
  )
})

describe("a summary", () => {
  it.effect("gives counts, ranges, distributions and samples, the same each time", () =>
    inStore(
      Effect.fnUntraced(function* (store) {
        const patients = Array.from({ length: 40 }, (_, at) => ({
          id: `p${at}`,
          gender: at % 4 === 0 ? "F" : "M",
          birth_date: `19${50 + at}-01-01`,
          ...(at === 7 ? { odd: { shape: true } } : {})
        }))
        const claims = [
          {
            claim_id: "c",
            claim_lines: [
              { id: "l1", charge_amount: 10 },
              { id: "l2", charge_amount: 2.5 }
            ]
          }
        ]
        yield* store.save({ name: "s", entities: { patients, claims, odd: [1] } })
        const summary = yield* store.summary("s")
        assert.deepStrictEqual(
          summary.kinds.map(({ count, kind }) => [kind, count]),
          [
            ["patient", 40],
            ["claim", 1],
            ["claim_line", 2]
          ]
        )
        const columnOf = (kind: string, column: string) =>
          summary.kinds.find((one) => one.kind === kind)?.columns.find((one) => one.column === column)
        assert.deepStrictEqual(columnOf("patient", "gender"), {
          column: "gender",
          type: "VARCHAR",
          count: 40,
          distinct: 2,
          range: undefined,
          values: [
            { value: "M", count: 30 },
            { value: "F", count: 10 }
          ]
        })
        assert.deepInclude(columnOf("patient", "birth_date"), {
          distinct: 40,
          range: { least: "1950-01-01", quartiles: ["1959-01-01", "1969-01-01", "1979-01-01"], greatest: "1989-01-01" }
        })
        assert.isUndefined(columnOf("patient", "id")?.values)
        assert.isUndefined(columnOf("patient", "ssn"))
        assert.deepInclude(columnOf("claim_line", "charge_amount")?.range, { least: "2.50", greatest: "10.00" })
        // Of 40 alike and one of another shape, that one is always among the most different.
        const samples = summary.kinds[0]?.samples ?? []
        assert.strictEqual(samples.length, 3)
        assert.isTrue(samples.some((text) => text.includes('"odd"')))
        assert.deepStrictEqual(yield* store.summary("s"), summary)
        const of = (options: Parameters<typeof store.summary>[1]) =>
          Effect.map(store.summary("s", options), ({ kinds }) => kinds[0]?.samples ?? [])
        assert.deepStrictEqual(
          (yield* of({ strategy: "recent", samples: 2 })).map((text) => JSON.parse(text).id),
          ["p39", "p38"]
        )
        const chance = yield* of({ strategy: "random", samples: 5 })
        assert.deepStrictEqual(yield* of({ strategy: "random", samples: 5 }), chance)
        assert.notDeepEqual(yield* of({ strategy: "random", samples: 5, seed: "other" }), chance)
        assert.deepStrictEqual(yield* of({ samples: 0 }), [])
      })
    )
  )
})
