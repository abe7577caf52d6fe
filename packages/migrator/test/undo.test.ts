/** Undoing: the laws, against a model, and the cases in which a cohort is left alone. */
import {
  listRuns,
  migrate,
  rollback,
  createSavepoint,
  listSavepoints,
  restoreSavepoint,
  storedReport,
  verify
} from "@mallard/migrator"
import {
  findRun,
  openCohortStore,
  openStore,
  planUndo,
  purge,
  queryRows,
  rebuild,
  type RevisionFacts
} from "@mallard/duckdb-store"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { withTempDirectory } from "@mallard/testkit"
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { assert } from "vitest"
import { beginEmpty, cohorts, exported, folderOf, migrated, query, run } from "./support.ts"

/** `UNDO_RUNS=250` tries more sequences of runs and undoings. */
const RUNS = Number(process.env["UNDO_RUNS"] ?? 5)

const undoing = (database: string, id: string, more: { cascade?: boolean; test?: boolean } = {}) =>
  rollback({ database, run: id, cascade: false, test: false, program: "test", ...more })

/** What `list` and `export` show, apart from the number and time of revisions. */
const shown = Effect.fnUntraced(function* (database: string) {
  const listed = yield* query(
    database,
    "SELECT name, description, tags::VARCHAR AS tags, created_at::VARCHAR AS created, digest, entities::VARCHAR AS entities FROM cohorts ORDER BY name"
  )
  return { listed, texts: [...(yield* exported(database))] }
})

const documentOf = (name: string, version: number): string =>
  JSON.stringify({
    name,
    description: `version ${version}`,
    tags: [`v${version}`],
    created_at: "2024-01-01T00:00:00",
    patients: Array.from({ length: version % 3 }, (_, at) => ({ id: `${name}-${version}-${at}` }))
  })

describe("undoing a run", () => {
  it.effect("leaves no name behind of a cohort that is purged afterwards", () =>
    Effect.gen(function* () {
      const { database, report, source } = yield* migrated({
        "a.json": documentOf("Gone-Person", 1),
        "b.json": documentOf("Kept-Person", 1)
      })
      writeFileSync(join(source, "b.json"), documentOf("Kept-Person", 2))
      yield* run(database, [source], { onConflict: "replace" })
      const undone = yield* undoing(database, report.run)
      const gone = undone.cohorts.find(({ cohort }) => cohort === "Gone-Person")
      assert.isTrue(readFileSync(database).includes("Gone-Person"))
      yield* purge({ path: database })
      const bytes = readFileSync(database)
      assert.deepStrictEqual([bytes.includes("Gone-Person"), bytes.includes("Kept-Person")], [false, true])
      const stored = yield* storedReport(database, undone.run ?? "")
      assert.deepStrictEqual(
        stored.undone?.map(({ action, cohort }) => [cohort, action]).sort(),
        [
          [gone?.cohort_id, "deleted"],
          ["Kept-Person", "kept"]
        ].sort()
      )
      assert.strictEqual((yield* verify({ database, sources: [] })).findingCount, 0)
    })
  )

  it.effect("of new cohorts takes them away, and migrating again brings them back", () =>
    Effect.gen(function* () {
      const { database, report, source } = yield* migrated({
        "a.json": documentOf("a", 1),
        "b.json": documentOf("b", 2)
      })
      const before = yield* shown(database)
      const undone = yield* undoing(database, report.run)
      assert.deepStrictEqual(
        undone.cohorts.map(({ action, cohort }) => [cohort, action]),
        [
          ["a", "deleted"],
          ["b", "deleted"]
        ]
      )
      assert.deepStrictEqual(yield* cohorts(database), [])
      const again = yield* run(database, [source])
      assert.deepInclude(again.totals, { migrated: 2, unchanged: 0 })
      assert.deepStrictEqual(yield* shown(database), before)
      const { findingCount, mismatched } = yield* verify({ database, sources: [] })
      assert.deepStrictEqual([findingCount, mismatched], [0, 0])
    })
  )

  it.effect("gives changed cohorts back as they were, and undoing that gives the change back", () =>
    Effect.gen(function* () {
      const { database, source } = yield* migrated({ "a.json": documentOf("a", 1) })
      const first = yield* shown(database)
      writeFileSync(join(source, "a.json"), documentOf("a", 5))
      const { run: changed } = yield* run(database, [source], { onConflict: "replace" })
      const second = yield* shown(database)
      const undone = yield* undoing(database, changed)
      assert.deepStrictEqual(yield* shown(database), first)
      yield* undoing(database, undone.run ?? "")
      assert.deepStrictEqual(yield* shown(database), second)
      const runs = yield* listRuns(database)
      assert.deepStrictEqual(
        runs.map(({ command, options }) => [command, options["undone_run"]]),
        [
          ["migrate", undefined],
          ["migrate", undefined],
          ["rollback", changed],
          ["rollback", undone.run]
        ]
      )
      const stored = yield* storedReport(database, undone.run ?? "")
      assert.deepStrictEqual(stored.undone, undone.cohorts)
      assert.deepStrictEqual(
        runs.map(({ undone_by: by }) => by),
        [null, null, { run: runs[3]?.run ?? "" }, null]
      )
      assert.include(stored.notes?.join(), `undone by run ${runs[3]?.run ?? ""}`)
      assert.isTrue(stored.totals.balanced)
    })
  )

  it.effect("names cohorts that were changed since and leaves them alone, unless it cascades", () =>
    Effect.gen(function* () {
      const { database, report, source } = yield* migrated({
        "a.json": documentOf("a", 1),
        "b.json": documentOf("b", 1)
      })
      writeFileSync(join(source, "a.json"), documentOf("a", 5))
      const later = yield* run(database, [source], { onConflict: "replace" })
      const undone = yield* undoing(database, report.run)
      assert.strictEqual(undone.outcome, "partly-done")
      assert.strictEqual((yield* storedReport(database, undone.run ?? "")).outcome, "partly-done")
      assert.deepStrictEqual(
        undone.cohorts.map(({ action, cohort, reason }) => [cohort, action, reason]),
        [
          ["a", "kept", `changed since by run ${later.run}; undo that one first, or use --cascade`],
          ["b", "deleted", undefined]
        ]
      )
      assert.lengthOf(yield* cohorts(database), 1)
      const partly = { run: undone.run ?? "", partly: true } as const
      assert.deepStrictEqual((yield* listRuns(database))[0]?.undone_by, partly)
      const told = yield* storedReport(database, report.run)
      assert.deepStrictEqual(told.undone_by, partly)
      assert.include(told.notes?.join(), `partly undone by run ${partly.run}.`)
      const cascaded = yield* undoing(database, report.run, { cascade: true })
      assert.deepStrictEqual(
        cascaded.cohorts.map(({ action, reason }) => [action, reason]),
        [
          ["deleted", undefined],
          ["kept", "it is as before already"]
        ]
      )
      assert.deepStrictEqual(yield* cohorts(database), [])
    })
  )

  it.effect("tells its progress in whole cohorts", () =>
    Effect.gen(function* () {
      const { database, report } = yield* migrated({
        "a.json": documentOf("a", 1),
        "b.json": documentOf("b", 1),
        "c.json": documentOf("c", 1)
      })
      const told: Array<number> = []
      yield* rollback({
        database,
        run: report.run,
        cascade: false,
        test: false,
        program: "test",
        onProgress: ({ done }) => told.push(done)
      })
      assert.deepStrictEqual(told, [0, 1, 3])
    })
  )

  it.effect("as a test tells the same and writes nothing", () =>
    Effect.gen(function* () {
      const { database, report } = yield* migrated({ "a.json": documentOf("a", 1) })
      const before = yield* query(database, "SELECT * FROM mallard.commits ORDER BY ALL")
      const tested = yield* undoing(database, report.run, { test: true })
      assert.deepStrictEqual(yield* query(database, "SELECT * FROM mallard.commits ORDER BY ALL"), before)
      const { cohorts: done } = yield* undoing(database, report.run)
      assert.deepStrictEqual(tested.cohorts, done)
    })
  )

  it.effect("refuses a run that is none, and a database that is not there", () =>
    Effect.gen(function* () {
      const { database, folder } = yield* folderOf({})
      const missing = yield* Effect.flip(undoing(database, "last"))
      assert.strictEqual(missing._tag, "StoreError")
      const other = yield* migrated({ "a.json": documentOf("a", 1) })
      assert.strictEqual((yield* Effect.flip(undoing(other.database, "0000")))._tag, "RunNotFound")
      assert.isString(folder)
    })
  )
})

describe("the plan", () => {
  const revision = (values: Partial<RevisionFacts>): RevisionFacts => ({
    revisionId: 1,
    cohortId: "c1",
    seq: 1,
    runId: "r1",
    change: "saved",
    name: "a",
    description: undefined,
    tags: "[]",
    product: undefined,
    legacyId: undefined,
    createdAt: undefined,
    updatedAt: undefined,
    digest: "d1",
    contentId: 1,
    ...values
  })

  it("gives no cohort a name that another has now", () => {
    const renamed = [revision({}), revision({ revisionId: 2, seq: 2, runId: "r2", name: "b" })]
    const target = { _tag: "Run", runId: "r2" } as const
    const taken = planUndo(
      target,
      [renamed],
      new Map([
        ["c1", "b"],
        ["c2", "a"]
      ]),
      true
    )
    assert.deepStrictEqual(
      taken.map((step) => step.action === "kept" && step.reason),
      ["name-taken-since"]
    )
    const free = planUndo(target, [renamed], new Map([["c1", "b"]]), true)
    assert.deepStrictEqual(
      free.map(({ action }) => action),
      ["restored"]
    )
  })

  it("lets two cohorts change names when both go back", () => {
    const one = [revision({}), revision({ revisionId: 3, seq: 2, runId: "r2", name: "b" })]
    const two = [
      revision({ revisionId: 2, cohortId: "c2", name: "b" }),
      revision({ revisionId: 4, cohortId: "c2", seq: 2, runId: "r2", name: "a" })
    ]
    const live = new Map([
      ["c1", "b"],
      ["c2", "a"]
    ])
    const steps = planUndo({ _tag: "Run", runId: "r2" }, [one, two], live, false)
    assert.deepStrictEqual(
      steps.map(({ action }) => action),
      ["restored", "restored"]
    )
  })
})

describe("names after an undoing", () => {
  it("are each of one cohort, and a cohort is left alone only for a name that another has", () => {
    const name = fc.constantFrom("a", "b", "c", "d")
    const names = (least: number) => fc.uniqueArray(name, { minLength: least, maxLength: 4 })
    fc.assert(
      fc.property(names(1), fc.array(name, { minLength: 4, maxLength: 4 }), (now, former) => {
        const live = new Map(now.map((present, at) => [`c${at}`, present]))
        const facts = { runId: "r1", change: "saved", description: undefined, tags: "[]", product: undefined } as const
        const times = { legacyId: undefined, createdAt: undefined, updatedAt: undefined }
        const lines = now.map((present, at): ReadonlyArray<RevisionFacts> => [
          {
            ...facts,
            ...times,
            cohortId: `c${at}`,
            revisionId: at,
            seq: 1,
            name: former[at]!,
            digest: "d",
            contentId: 1
          },
          {
            ...facts,
            ...times,
            runId: "r2",
            cohortId: `c${at}`,
            revisionId: at + 10,
            seq: 2,
            name: present,
            digest: "e",
            contentId: 2
          }
        ])
        const steps = planUndo({ _tag: "Run", runId: "r2" }, lines, live, false)
        const after = new Map<string, string>(live)
        for (const step of steps)
          if (step.action === "restored") after.set(step.head.cohortId, step.before?.name ?? step.head.name)
        assert.strictEqual(new Set(after.values()).size, live.size)
        const wanted = now.map((present, at) => (former[at] === present ? [] : [former[at]]))
        for (const [at, step] of steps.entries()) {
          if (step.action !== "kept") continue
          const others = [...live.values(), ...wanted.flatMap((all, other) => (other === at ? [] : all))]
          assert.isTrue(others.some((other) => other === former[at]))
        }
      })
    )
  })
})

describe("a savepoint", () => {
  it.effect("gives all cohorts back as they were, whatever was done since", () =>
    Effect.gen(function* () {
      const { database, source } = yield* migrated({ "a.json": documentOf("a", 1), "b.json": documentOf("b", 2) })
      const before = yield* shown(database)
      const place = { database, program: "test" }
      yield* createSavepoint({ ...place, name: "clean" })
      const twice = yield* Effect.flip(createSavepoint({ ...place, name: "clean" }))
      assert.strictEqual(twice._tag, "SavepointExists")
      for (const name of ["", " ", "two\nlines", "\u001b[31mred", "half \ud800", "x".repeat(1001)]) {
        const refused = yield* Effect.flip(createSavepoint({ ...place, name }))
        assert.strictEqual(refused._tag, "SavepointNameRefused")
      }
      writeFileSync(join(source, "a.json"), documentOf("a", 4))
      writeFileSync(join(source, "c.json"), documentOf("c", 4))
      yield* run(database, [source], { onConflict: "replace" })
      assert.deepStrictEqual(
        (yield* listSavepoints(database)).map(({ name }) => name),
        ["clean"]
      )
      const restored = yield* restoreSavepoint({ ...place, name: "clean", test: false })
      assert.strictEqual(restored.outcome, "done")
      assert.deepStrictEqual(yield* shown(database), before)
      const unknown = yield* Effect.flip(restoreSavepoint({ ...place, name: "other", test: false }))
      assert.strictEqual(unknown._tag, "SavepointNotFound")
    })
  )
})

describe("what a purge leaves", () => {
  const place = (database: string) => ({ database, program: "test" })
  const ids = (database: string) => Effect.map(listRuns(database), (runs) => runs.map(({ run: id }) => id))
  const lastRun = (database: string) =>
    Effect.scoped(
      Effect.flatMap(openStore({ path: database, readonly: true }), (client) =>
        Effect.provideService(
          Effect.map(findRun("last"), ({ runId }) => runId),
          DuckDbClient,
          client
        )
      )
    )
  const purged = Effect.fnUntraced(function* (database: string, name: string) {
    yield* Effect.promise(async () => {
      await using store = await openCohortStore({ path: database })
      await store.delete(name)
    })
    assert.strictEqual((yield* purge({ path: database })).cohorts.length, 1)
  })

  it.effect("is the order of the runs, with the last one last", () =>
    Effect.gen(function* () {
      const { database, report, source } = yield* migrated({ "0.json": documentOf("gone", 1) })
      const made = [report.run]
      const migrateNext = Effect.fnUntraced(function* (name: string) {
        writeFileSync(join(source, `${name}.json`), documentOf(name, 1))
        made.push((yield* run(database, [join(source, `${name}.json`)])).run)
      })
      for (const name of ["a", "b", "gone too"]) yield* migrateNext(name)
      for (const [name, next] of [
        ["gone", "d"],
        ["gone too", "e"]
      ] as const) {
        const last = made.at(-1)
        yield* purged(database, name)
        const removal = (yield* listRuns(database)).at(-1)
        assert.deepInclude(removal, { command: "purge", outcome: "done" })
        made.push(removal?.run ?? "")
        assert.deepStrictEqual(yield* ids(database), made)
        // Nothing of a purge can be undone.
        assert.strictEqual(yield* lastRun(database), last)
        yield* migrateNext(next)
        assert.deepStrictEqual(yield* ids(database), made)
        assert.strictEqual(yield* lastRun(database), made.at(-1))
      }
      const undone = yield* undoing(database, "last")
      assert.deepStrictEqual(
        undone.cohorts.map(({ action, cohort }) => [cohort, action]),
        [["e", "deleted"]]
      )
    })
  )

  it.effect("are savepoints that restore the state of their moment", () =>
    Effect.gen(function* () {
      const { database, source } = yield* migrated({ "0.json": documentOf("gone", 1) })
      const write = (name: string, version: number) =>
        writeFileSync(join(source, `${name}.json`), documentOf(name, version))
      yield* createSavepoint({ ...place(database), name: "nothing kept" })
      write("a", 1)
      write("gone too", 1)
      const wrote = yield* run(database, [source])
      const before = yield* shown(database)
      const { run: lastRun } = yield* storedReport(database, "last")
      yield* createSavepoint({ ...place(database), name: "clean" })
      assert.deepStrictEqual([(yield* storedReport(database, "last")).run, lastRun], [lastRun, wrote.run])
      const kept = ({ listed, texts }: typeof before) => ({
        listed: listed.filter(({ name }) => !String(name).startsWith("gone")),
        texts: texts.filter(([path]) => !path.startsWith("gone"))
      })
      yield* purged(database, "gone")
      write("a", 4)
      yield* run(database, [join(source, "a.json")], { onConflict: "replace" })
      yield* purged(database, "gone too")
      write("b", 4)
      yield* run(database, [join(source, "b.json")])
      // What a purge took is told: "nothing kept" had "gone", "clean" had both.
      assert.deepStrictEqual(
        (yield* listSavepoints(database)).map(({ name, removed }) => [name, removed]),
        [
          ["nothing kept", 1],
          ["clean", 2]
        ]
      )
      const restored = yield* restoreSavepoint({ ...place(database), name: "clean", test: false })
      assert.deepStrictEqual([restored.outcome, restored.removed], ["partly-done", 2])
      const { notes, outcome } = yield* storedReport(database, "last")
      assert.strictEqual(outcome, "partly-done")
      assert.include(notes ?? [], "2 cohorts of the savepoint cannot be given back: removed for good since.")
      assert.deepStrictEqual(yield* shown(database), kept(before))
      yield* restoreSavepoint({ ...place(database), name: "nothing kept", test: false })
      assert.deepStrictEqual(yield* cohorts(database), [])
      assert.strictEqual((yield* verify({ database, sources: [] })).findingCount, 0)
    })
  )

  it.effect("are savepoints, also where a damaged cohort was left behind", () =>
    Effect.gen(function* () {
      const { database, folder, source } = yield* migrated({ "0.json": documentOf("spoilt", 1) })
      const out = join(folder, "rebuilt.duckdb")
      yield* createSavepoint({ ...place(database), name: "nothing kept" })
      writeFileSync(join(source, "a.json"), documentOf("a", 1))
      yield* run(database, [source])
      yield* Effect.scoped(
        Effect.flatMap(openStore({ path: database }), (client) =>
          client.unsafe("UPDATE mallard.revisions SET description = 'other' WHERE revision_id = 1")
        )
      )
      assert.strictEqual((yield* rebuild({ path: database }, out)).left.length, 1)
      assert.deepStrictEqual(
        (yield* listSavepoints(out)).map(({ revision }) => revision),
        [0]
      )
      yield* restoreSavepoint({ ...place(out), name: "nothing kept", test: false })
      assert.deepStrictEqual(yield* cohorts(out), [])
    })
  )
})

describe("the laws of undoing", () => {
  type Step =
    | { readonly _tag: "Migrate"; readonly names: ReadonlyArray<string>; readonly version: number }
    | { readonly _tag: "Undo"; readonly of: number }
  const steps = fc.array(
    fc.oneof(
      fc.record({
        _tag: fc.constant("Migrate" as const),
        names: fc.subarray(["a", "b", "c"], { minLength: 1 }),
        version: fc.integer({ min: 0, max: 4 })
      }),
      fc.record({ _tag: fc.constant("Undo" as const), of: fc.nat(5) })
    ),
    { minLength: 2, maxLength: 4 }
  )

  /** Once the undoing that changed nothing counted as a run, of which the ledger knew nothing. */
  const undoneTwice: ReadonlyArray<Step> = [
    { _tag: "Migrate", names: ["c"], version: 0 },
    { _tag: "Undo", of: 0 },
    { _tag: "Undo", of: 0 },
    { _tag: "Undo", of: 2 }
  ]

  /** Compact texts by name, as they should be, and the run that made each. */
  type Model = ReadonlyMap<string, { readonly text: string | undefined; readonly run: number }>

  it("hold for any runs and undoings of runs: list and export show what the model says", () =>
    withTempDirectory((folder) => {
      let number = 0
      const check = async (plan: ReadonlyArray<Step>) => {
        const own = join(folder, String(number++))
        const database = join(own, "test.duckdb")
        const runs: Array<{ readonly id: string; readonly before: Model }> = []
        let model: Model = new Map()
        await Effect.runPromise(beginEmpty(database))
        for (const [at, step] of plan.entries()) {
          const next = new Map(model)
          let id: string
          if (step._tag === "Migrate") {
            const source = join(own, `source-${at}`)
            mkdirSync(source, { recursive: true })
            for (const name of step.names) {
              const text = documentOf(name, step.version)
              writeFileSync(join(source, `${name}.json`), text)
              if (model.get(name)?.text !== text) next.set(name, { text, run: runs.length })
            }
            const options = { database, paths: [source], onConflict: "replace", dryRun: false, verify: false } as const
            const report = await Effect.runPromise(
              migrate({ ...options, program: "test", maxDepth: 100, maxEntityBytes: 1e6 })
            )
            id = report.run
          } else {
            const index = runs.length === 0 ? -1 : step.of % runs.length
            const target = runs[index]
            if (target === undefined) continue
            for (const [name, now] of model) {
              if (now.run !== index) continue
              const text = target.before.get(name)?.text
              if (text !== now.text) next.set(name, { text, run: runs.length })
            }
            const undone = await Effect.runPromise(undoing(database, target.id))
            // One that changes nothing is no run, and so cannot be undone either.
            assert.strictEqual(undone.run === null, isDeepStrictEqual(next, model))
            if (undone.run === null) continue
            id = undone.run
          }
          runs.push({ id, before: model })
          model = next
          const expected = [...model].flatMap(([name, { text }]) =>
            text === undefined ? [] : [[`${name}/${name}.json`, text]]
          )
          const stored = await Effect.runPromise(exported(database))
          assert.deepStrictEqual(Object.fromEntries(stored), Object.fromEntries(expected))
          const tags = await Effect.runPromise(
            query(database, "SELECT cohort_name || ' ' || tag AS t FROM cohort_tags ORDER BY t")
          )
          assert.deepStrictEqual(
            tags.map(({ t }) => t),
            [...model]
              .flatMap(([name, { text }]) => (text === undefined ? [] : [`${name} ${JSON.parse(text).tags[0]}`]))
              .sort()
          )
        }
        if (runs.length === 0) return
        const { findingCount, mismatched } = await Effect.runPromise(verify({ database, sources: [] }))
        assert.deepStrictEqual([findingCount, mismatched], [0, 0])
      }
      return fc.assert(fc.asyncProperty(steps, check), { numRuns: RUNS, examples: [[undoneTwice]] })
    }))

  it.effect("leave no row of an undoing run outside the ledger", () =>
    Effect.gen(function* () {
      const { database, report } = yield* migrated({ "a.json": documentOf("a", 1) })
      yield* undoing(database, report.run)
      const rows = yield* Effect.scoped(
        Effect.flatMap(openStore({ path: database }), (client) =>
          queryRows(
            client,
            "SELECT (SELECT count(*) FROM mallard.revisions), (SELECT count(*) FROM mallard.recorded_revisions)"
          )
        )
      )
      assert.deepStrictEqual(rows, [[2n, 2n]])
    })
  )
})
