import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { join } from "node:path"
import { CohortStore, nearestNames, record, storeLayer } from "../src/index.ts"
import { cohortId, inNewStore, insert, recordAll, temporaryFolder, valuesOf, withStore } from "./support.ts"

const run = (number: number) => `00000000-0000-4000-9000-${String(number).padStart(12, "0")}`

/** Three cohorts: one of two files, one renamed once, one deleted. */
const fill = Effect.gen(function* () {
  yield* insert("patients", { entity_id: 1 }, { entity_id: 2 })
  yield* insert(
    "revisions",
    {
      revision_id: 1,
      cohort_id: cohortId(1),
      seq: 1,
      change: "saved",
      name: "Bob Thompson",
      description: "two files",
      tags: '["er","a \\"tag\\""]',
      product: "patientsim",
      legacy_id: "L1",
      created_at: "2024-01-02 03:04:05.6",
      saved_at: "2026-01-01",
      digest: "d1",
      content_id: 1,
      run_id: run(1)
    },
    { revision_id: 2, cohort_id: cohortId(2), seq: 1, change: "saved", name: "first", tags: "[]", content_id: 2 },
    {
      revision_id: 3,
      cohort_id: cohortId(2),
      seq: 2,
      predecessor: 2,
      change: "saved",
      name: "second",
      tags: "[]",
      digest: "d2",
      content_id: 2
    },
    { revision_id: 4, cohort_id: cohortId(3), seq: 1, change: "saved", name: "gone", tags: "[]", content_id: 4 },
    { revision_id: 5, cohort_id: cohortId(3), seq: 2, change: "deleted", name: "gone", tags: "[]", content_id: 4 }
  )
  yield* insert(
    "parts",
    {
      content_id: 1,
      part: 0,
      path: "a.json",
      format: "json",
      bytes: 10,
      source_sha256: "s1",
      digest: "p1",
      encoding: "utf-8"
    },
    {
      content_id: 1,
      part: 1,
      path: "b.json",
      format: "json",
      bytes: 20,
      source_sha256: "s2",
      digest: "p2",
      encoding: "utf-8"
    },
    { content_id: 2, part: 0, path: "c.json", source_sha256: "s3" },
    { content_id: 4, part: 0, path: "d.json", source_sha256: "s4" }
  )
  yield* insert("collections", { content_id: 1, part: 0, collection: 0, pointer: "/patients", list: true })
  yield* insert(
    "cohort_members",
    { content_id: 1, part: 0, collection: 0, ordinal: 0, kind: 1, entity_id: 1 },
    { content_id: 1, part: 0, collection: 0, ordinal: 1, kind: 1, entity_id: 2 }
  )
  yield* recordAll
})

const inFilledStore = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  inNewStore(Effect.andThen(fill, Effect.provide(effect, CohortStore.layerNoDeps)))

describe("the store of cohorts", () => {
  it.effect("lists the cohorts that are not deleted, by name, with counts per kind", () =>
    inFilledStore(
      Effect.gen(function* () {
        const store = yield* CohortStore
        const list = yield* store.list
        assert.deepStrictEqual(list[0], {
          cohortId: cohortId(1),
          name: "Bob Thompson",
          seq: 1,
          description: "two files",
          tags: ["er", 'a "tag"'],
          product: "patientsim",
          legacyId: "L1",
          entities: { patient: 2 },
          entityCount: 2,
          createdAt: "2024-01-02T03:04:05.6",
          updatedAt: undefined,
          savedAt: "2026-01-01T00:00:00",
          digest: "d1",
          revisionId: 1,
          contentId: 1
        })
        assert.deepStrictEqual(
          list.map(({ name, seq, entityCount }) => [name, seq, entityCount]),
          [
            ["Bob Thompson", 1, 2],
            ["second", 2, 0]
          ]
        )
      })
    )
  )

  it.effect("finds a cohort by name, then by id", () =>
    inFilledStore(
      Effect.gen(function* () {
        const store = yield* CohortStore
        assert.strictEqual((yield* store.find("second")).cohortId, cohortId(2))
        assert.strictEqual((yield* store.find(cohortId(2))).name, "second")
        yield* insert("revisions", {
          revision_id: 6,
          cohort_id: cohortId(6),
          seq: 1,
          change: "saved",
          name: cohortId(2),
          tags: "[]",
          content_id: 6
        })
        yield* recordAll
        assert.strictEqual((yield* store.find(cohortId(2))).cohortId, cohortId(6))
      })
    )
  )

  it.effect("says which names are near one that it does not have, but not in the message", () =>
    inFilledStore(
      Effect.gen(function* () {
        const store = yield* CohortStore
        const error = yield* Effect.flip(store.find("bob-tompson"))
        assert.isTrue(error._tag === "CohortNotFound")
        if (error._tag !== "CohortNotFound") return
        assert.deepStrictEqual(error.suggestions, ["Bob Thompson"])
        assert.notInclude(error.message, "Bob")
        assert.notInclude(error.message, "tompson")
        for (const wanted of ["first", "gone", cohortId(3), cohortId(9)]) {
          assert.strictEqual((yield* Effect.flip(store.find(wanted)))._tag, "CohortNotFound")
        }
      })
    )
  )

  it.effect("finds no cohort by half of a surrogate pair, which DuckDB takes in no text", () =>
    inFilledStore(
      Effect.gen(function* () {
        const store = yield* CohortStore
        const sql = yield* DuckDbClient
        // What a transaction sees is asked of DuckDB, as in a database of very many cohorts.
        const half = "\ud800"
        const finds = [
          Effect.asVoid(store.find(half)),
          Effect.asVoid(store.history(half)),
          Effect.asVoid(store.load(half))
        ]
        for (const find of finds) {
          const found = Effect.flip(find)
          assert.strictEqual((yield* sql.withTransaction(found))._tag, "CohortNotFound")
          assert.strictEqual((yield* found)._tag, "CohortNotFound")
        }
      })
    )
  )

  it.effect("tells the history of a cohort by its present name, a former name or its id, deleted or not", () =>
    inFilledStore(
      Effect.gen(function* () {
        const store = yield* CohortStore
        for (const name of ["second", "first", cohortId(2)]) {
          assert.deepStrictEqual(
            (yield* store.history(name)).map(({ revisionId, seq, predecessor, change, name }) => [
              revisionId,
              seq,
              predecessor,
              change,
              name
            ]),
            [
              [2, 1, undefined, "saved", "first"],
              [3, 2, 2, "saved", "second"]
            ]
          )
        }
        assert.deepStrictEqual(
          (yield* store.history("gone")).map(({ change }) => change),
          ["saved", "deleted"]
        )
        assert.strictEqual((yield* store.history("Bob Thompson"))[0]?.runId, run(1))
        assert.strictEqual((yield* Effect.flip(store.history("nobody")))._tag, "CohortNotFound")
      })
    )
  )

  it.effect("a present name has precedence over a former one", () =>
    inFilledStore(
      Effect.gen(function* () {
        const store = yield* CohortStore
        yield* insert("revisions", {
          revision_id: 6,
          cohort_id: cohortId(6),
          seq: 1,
          change: "saved",
          name: "first",
          tags: "[]",
          content_id: 6
        })
        yield* insert("revisions", {
          revision_id: 7,
          cohort_id: cohortId(2),
          seq: 3,
          change: "saved",
          name: "first again",
          tags: "[]",
          content_id: 2
        })
        yield* recordAll
        assert.deepStrictEqual(
          (yield* store.history("first")).map(({ revisionId }) => revisionId),
          [6]
        )
      })
    )
  )

  it.effect("gives the parts of a content", () =>
    inFilledStore(
      Effect.gen(function* () {
        const store = yield* CohortStore
        assert.deepStrictEqual(yield* store.parts(1), [
          { part: 0, path: "a.json", format: "json", bytes: 10, sourceSha256: "s1", digest: "p1", encoding: "utf-8" },
          { part: 1, path: "b.json", format: "json", bytes: 20, sourceSha256: "s2", digest: "p2", encoding: "utf-8" }
        ])
        assert.deepStrictEqual(yield* store.parts(9), [])
      })
    )
  )

  it.effect("knows the files that heads consist of, and no others", () =>
    inFilledStore(
      Effect.gen(function* () {
        const store = yield* CohortStore
        const found = yield* store.unchanged(["s2", "s3", "s4", "s5"])
        assert.deepStrictEqual(found, [
          {
            path: "b.json",
            sourceSha256: "s2",
            digest: "p2",
            bytes: 20,
            cohortId: cohortId(1),
            cohortName: "Bob Thompson",
            revisionId: 1,
            contentId: 1,
            part: 1,
            parts: 2
          },
          {
            path: "c.json",
            sourceSha256: "s3",
            digest: "",
            bytes: 0,
            cohortId: cohortId(2),
            cohortName: "second",
            revisionId: 3,
            contentId: 2,
            part: 0,
            parts: 1
          }
        ])
        assert.deepStrictEqual(yield* store.unchanged([]), [])
        assert.strictEqual((yield* store.unchanged()).length, 3)
        assert.deepStrictEqual(yield* store.digests, [
          { cohortId: cohortId(1), name: "Bob Thompson", revisionId: 1, seq: 1, digest: "d1" },
          { cohortId: cohortId(2), name: "second", revisionId: 3, seq: 2, digest: "d2" }
        ])
      })
    )
  )

  it.effect("tells the runs, finished or not, and the items of each", () =>
    inFilledStore(
      Effect.gen(function* () {
        const store = yield* CohortStore
        const event = (number: number, name: string, minute: number, outcome: string | null) => ({
          run_id: run(number),
          event: name,
          at: new Date(Date.UTC(2026, 0, 1, 0, minute)),
          outcome,
          options: null,
          totals: outcome === null ? null : '{"stored":1}',
          program: "test"
        })
        yield* record("migration_runs", [
          event(1, "started", 1, null),
          event(1, "finished", 2, "done"),
          event(2, "started", 3, null)
        ])
        yield* record("migration_items", [
          {
            run_id: run(1),
            item: 1,
            path: "/b",
            outcome: "rejected",
            format: null,
            bytes: null,
            source_sha256: null,
            revision_id: null,
            cohort_id: null,
            digest: null,
            entities: "{}",
            remarks: '[{"code":"bad"}]'
          },
          {
            run_id: run(1),
            item: 0,
            path: "/a",
            outcome: "stored",
            format: "json",
            bytes: 30,
            source_sha256: "s1",
            revision_id: 1,
            cohort_id: cohortId(1),
            digest: "d1",
            entities: '{"patient":2}',
            remarks: "[]"
          }
        ])
        assert.deepStrictEqual(
          (yield* store.runs).map(({ runId, startedAt, finishedAt, outcome, totals }) => [
            runId,
            startedAt,
            finishedAt,
            outcome,
            totals
          ]),
          [
            [run(1), "2026-01-01T00:01:00", "2026-01-01T00:02:00", "done", '{"stored":1}'],
            [run(2), "2026-01-01T00:03:00", undefined, undefined, undefined]
          ]
        )
        const items = yield* store.items(run(1))
        assert.deepStrictEqual(
          items.map(({ item, path, outcome, bytes, entities }) => [item, path, outcome, bytes, entities]),
          [
            [0, "/a", "stored", 30, { patient: 2 }],
            [1, "/b", "rejected", undefined, {}]
          ]
        )
        assert.deepStrictEqual(yield* store.items(run(2)), [])
        assert.deepStrictEqual(yield* store.items("not an id"), [])
      })
    )
  )

  it.effect("opens and closes a database of its own", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      const names = Effect.flatMap(CohortStore, (store) =>
        Effect.map(store.list, (list) => list.map(({ name }) => name))
      )
      assert.deepStrictEqual(yield* Effect.provide(names, CohortStore.layer({ path }), { local: true }), [])
      yield* withStore({ path }, fill)
      assert.deepStrictEqual(
        yield* Effect.provide(names, CohortStore.layer({ path, readonly: true }), { local: true }),
        ["Bob Thompson", "second"]
      )
      const error = yield* Effect.flip(Effect.provide(names, CohortStore.layer({ path: `${path}x`, readonly: true })))
      assert.strictEqual(error._tag, "StoreError")
    })
  )

  it.effect("shares its database with whoever needs the client", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      const rows = yield* Effect.provide(
        Effect.andThen(DuckDbClient, valuesOf("SELECT count(*) FROM cohorts")),
        storeLayer({ path }),
        { local: true }
      )
      assert.deepStrictEqual(rows, [[0n]])
    })
  )
})

describe("near names", () => {
  it("differ in case, punctuation or a few letters, or hold one another", () => {
    const names = [
      "diabetes-cohort",
      "Diabetes Cohort",
      "diabetes_cohorts",
      "asthma",
      "the diabetes cohort of 2024",
      "x"
    ]
    assert.deepStrictEqual(nearestNames("DIABETES COHORT", names), [
      "Diabetes Cohort",
      "diabetes-cohort",
      "diabetes_cohorts",
      "the diabetes cohort of 2024"
    ])
    assert.deepStrictEqual(nearestNames("astma", names), ["asthma"])
    assert.deepStrictEqual(nearestNames("y", names), ["x"])
    assert.deepStrictEqual(nearestNames("completely different", names), [])
  })
})
