/** Bounds of a run: what is too large is named unread, what is huge waits, and how much is done at once changes nothing. */
import { type Progress, storedReport, verifyBackup } from "@mallard/migrator"
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readdirSync, truncateSync } from "node:fs"
import { join } from "node:path"
import { assert } from "vitest"
import { eachAtOnce } from "../src/internal/packs.ts"
import { cohortFile, everyKind, variedSources } from "./fixtures.ts"
import { cohorts, entities, folderOf, itemOf, outcomes, remarksOf, run } from "./support.ts"

const cohort = (name: string, patients = 1): string =>
  JSON.stringify({ name, patients: Array.from({ length: patients }, (_, at) => ({ id: `${name}-${at}` })) })

describe("a largest size of files", () => {
  it.live("names a larger one without reading or copying it, and stores the others", () =>
    Effect.gen(function* () {
      const { database, folder, source } = yield* folderOf({ "a.json": cohort("a"), "b/huge.json": "{}" })
      // Reading this one would take minutes.
      const huge = join(source, "b", "huge.json")
      truncateSync(huge, 2 ** 40)
      const store = join(folder, "store")
      const told: Array<Progress> = []
      const report = yield* run(database, [source], {
        maxFileBytes: 1000,
        backup: { store },
        onProgress: (step) => told.push(step)
      })
      assert.deepStrictEqual(outcomes(report), { "a.json": "migrated", "huge.json": "rejected" })
      const item = itemOf(report, "huge.json")
      assert.deepStrictEqual(remarksOf(item), ["file-too-large"])
      assert.strictEqual(item.bytes, 2 ** 40)
      assert.strictEqual(report.outcome, "done-with-rejects")
      assert.strictEqual(report.totals.found, 2)
      assert.strictEqual(report.backup?.files, 1)
      const found = told.find((step) => step.phase === "found")
      assert.deepInclude(found, { sources: 2, bytes: cohort("a").length })
      assert.strictEqual(told.filter((step) => step.phase === "item").length, 2)
      const stored = yield* storedReport(database, "last")
      assert.deepStrictEqual(stored.options?.["max_file_bytes"], 1000)
      assert.deepStrictEqual(remarksOf(itemOf(stored, "huge.json")), ["file-too-large"])
    })
  )

  it.live("holds for each file of a folder that is one cohort, and names it; within the bound all is taken", () =>
    Effect.gen(function* () {
      const visit = {
        "visit/patient.json": JSON.stringify({ patient: { id: "p", given_name: "Ada" } }),
        "visit/encounter.json": JSON.stringify({ encounter: { id: "e", reason: "x".repeat(500) } }),
        "visit/member.json": JSON.stringify({ member: { member_id: "m" } })
      }
      const { database, source } = yield* folderOf(visit)
      const largest = visit["visit/encounter.json"].length
      const refused = yield* run(database, [source], { dryRun: true, maxFileBytes: largest - 1 })
      assert.deepStrictEqual(outcomes(refused), { visit: "rejected" })
      const [remark] = itemOf(refused, "visit").remarks
      assert.deepInclude(remark, { code: "file-too-large", part: "encounter.json" })
      const taken = yield* run(database, [source], { dryRun: true, maxFileBytes: largest })
      assert.deepStrictEqual(outcomes(taken), { visit: "migrated" })
    })
  )
})

describe("a huge source among small ones", () => {
  it.live("is begun when it has been told what became of the others, whatever their order", () =>
    Effect.gen(function* () {
      const huge = cohort("a", 2000)
      const files = {
        "a.json": huge,
        "b.json": cohort("b"),
        "c.json": "no",
        "d.json": cohort("d"),
        "e.json": cohort("e")
      }
      const { database, source } = yield* folderOf(files)
      const told: Array<string> = []
      let read = 0
      const small = Object.values(files).reduce((sum, text) => sum + text.length, 0) - huge.length
      const report = yield* run(database, [source], {
        sizes: { wholeFileBytes: huge.length },
        onProgress: (step) => {
          if (step.phase === "item") told.push(step.item.path.split("/").at(-1) ?? "")
          if (step.phase === "read") {
            read += step.bytes
            if (read > small) told.push("reads the huge one")
          }
        }
      })
      assert.deepStrictEqual(told, ["b.json", "c.json", "d.json", "e.json", "reads the huge one", "a.json"])
      // The report keeps the order in which sources are found.
      assert.deepStrictEqual(Object.keys(outcomes(report)), ["a.json", "b.json", "c.json", "d.json", "e.json"])
    })
  )

  it.live("does not make others wait for the rest of their batch either, once that takes long", () =>
    Effect.gen(function* () {
      const { database, source } = yield* folderOf({
        "a.json": cohort("a"),
        "b.json": cohort("b"),
        "c.json": cohort("c")
      })
      const told: Array<string> = []
      yield* run(database, [source], {
        sizes: { batchMs: 0 },
        onProgress: (step) => {
          if (step.phase === "item" || step.phase === "read") told.push(step.phase)
        }
      })
      assert.include(told.join(" "), "item read")
      assert.strictEqual(told.filter((phase) => phase === "item").length, 3)
    })
  )
})

describe("how much is done at once", () => {
  it.live("changes nothing of what is stored, copied and proven", () =>
    Effect.gen(function* () {
      // Large enough to be fetched ahead.
      const files = Object.fromEntries(
        Array.from({ length: 12 }, (_, at) => [`${at}.json`, cohort(`cohort ${at}`, at % 3 === 0 ? 6000 : 3)])
      )
      const { folder, source } = yield* folderOf({ ...files, "bad.json": "[1", "dir/patient.json": "{}" })
      const results = yield* Effect.forEach([1, 3, 40], (jobs) =>
        Effect.gen(function* () {
          const database = join(folder, `${jobs}.duckdb`)
          const store = join(folder, `${jobs}.store`)
          const report = yield* run(database, [source], { jobs, backup: { store } })
          const check = yield* verifyBackup({ store, backup: "last", jobs })
          assert.deepStrictEqual(check.problems, [])
          assert.isTrue(readdirSync(store).every((name) => !name.startsWith(".scratch")))
          return {
            outcomes: outcomes(report),
            matched: report.verification.matched,
            copied: [check.files, check.bytes],
            cohorts: yield* cohorts(database),
            entities: yield* entities(database)
          }
        })
      )
      const [one, ...others] = results
      for (const other of others) assert.deepStrictEqual(other, one)
      assert.isAbove(one?.entities.length ?? 0, 24_000)
    })
  )

  it.live("changes nothing when threads read ahead, whatever the files are", () =>
    Effect.gen(function* () {
      const { folder, source } = yield* folderOf({
        ...variedSources,
        "every kind.json": everyKind,
        "bad.json": "[1",
        "again.json": cohortFile("again", "p1"),
        "copy/again.json": cohortFile("again", "p1"),
        "other/again.json": cohortFile("again", "p2"),
        ...Object.fromEntries(Array.from({ length: 12 }, (_, at) => [`many/${at}.json`, cohort(`many ${at}`, at * 40)]))
      })
      let started = 0
      const count = (): void => {
        started++
      }
      process.on("worker", count)
      const results = yield* Effect.forEach([1, 2, 4], (jobs) =>
        Effect.gen(function* () {
          started = 0
          const database = join(folder, `${jobs}.duckdb`)
          const options = { jobs, sizes: { batchFiles: 7, threaded: { least: 0, most: 1 << 20, total: 0 } } }
          const first = yield* run(database, [source], options)
          const again = yield* run(database, [source], options)
          assert.strictEqual(started, 2 * (jobs - 1))
          assert.strictEqual(first.verification.mismatched, 0)
          return {
            outcomes: [outcomes(first), outcomes(again)],
            remarks: first.items.map(({ remarks }) => remarks),
            cohorts: yield* cohorts(database),
            entities: yield* entities(database)
          }
        })
      ).pipe(Effect.ensuring(Effect.sync(() => process.off("worker", count))))
      const [one, ...others] = results
      for (const other of others) assert.deepStrictEqual(other, one)
    })
  )

  it("is bounded: never more at a time than asked for, and as many", async () => {
    for (const jobs of [1, 2, 5]) {
      let running = 0
      let most = 0
      const done: Array<number> = []
      await eachAtOnce([1, 2, 3, 4, 5, 6, 7], jobs, async (item) => {
        most = Math.max(most, ++running)
        await new Promise((resolve) => setImmediate(resolve))
        running--
        done.push(item)
      })
      assert.strictEqual(most, jobs)
      assert.sameMembers(done, [1, 2, 3, 4, 5, 6, 7])
    }
  })

  it("throws the first failure when nothing is at work any more", async () => {
    let running = 0
    const failed = await eachAtOnce([1, 2, 3, 4], 2, async (item) => {
      running++
      await new Promise((resolve) => setImmediate(resolve))
      running--
      if (item === 2) throw new Error("second")
    }).catch((cause: unknown) => cause)
    assert.instanceOf(failed, Error)
    assert.strictEqual(running, 0)
  })
})
