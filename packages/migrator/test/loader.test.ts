import { assert, describe, it } from "@effect/vitest"
import { BatchWriter } from "@mallard/duckdb-store"
import { findSources } from "@mallard/legacy-json"
import { defaultLimits, type MigrateOptions } from "@mallard/migrator"
import { toSqlError } from "@mallard/sql-duckdb"
import { tempDirectory, writeFiles } from "@mallard/testkit"
import { Effect, Fiber, Predicate } from "effect"
import { TestClock } from "effect/testing"
import { rmSync } from "node:fs"
import { setImmediate } from "node:timers/promises"
import { join } from "node:path"
import { Loader } from "../src/internal/Loader.ts"
import { exported, type Files, itemOf, migrated, outcomes, remarksOf, run } from "./support.ts"

const cohortOf = (name: string, id: string): string => `{"name":"${name}","patients":[{"patient_id":"${id}"}]}`

/** A writer without a database, of whose commits the first fails that holds all of these items. */
const writerThatFailsAt = (numbers: ReadonlyArray<number>) => {
  const writer = BatchWriter.dry()
  const stage: BatchWriter["stage"] = writer.stage.bind(writer)
  const holds = (result: unknown, number: number): boolean =>
    Predicate.hasProperty(result, "staged") &&
    Array.isArray(result.staged) &&
    result.staged.some((item) => item.number === number)
  let failures = 0
  writer.stage = (runId, body) =>
    Effect.map(stage(runId, body), (staged) => {
      if (failures > 0 || !numbers.every((number) => holds(staged.result, number))) return staged
      failures++
      return { ...staged, committed: Effect.fail(toSqlError(new Error("IO Error: no"), "commit")) }
    })
  return { writer, failures: () => failures }
}

const loaded = Effect.fnUntraced(function* (
  files: Files,
  batchFiles: number,
  writer: BatchWriter,
  more: Partial<MigrateOptions> = {}
) {
  const folder = yield* tempDirectory
  yield* Effect.promise(() => writeFiles(folder, files))
  const { sources } = yield* findSources([folder])
  const loader = new Loader({
    options: {
      paths: [folder],
      database: join(folder, "none.duckdb"),
      onConflict: "fail",
      dryRun: true,
      program: "test",
      ...defaultLimits,
      sizes: { batchFiles },
      ...more
    },
    found: sources,
    stored: { heads: new Map(), rivals: new Set(), known: new Map() },
    writer,
    run: "1ec0b1f4-0000-4000-8000-000000000000",
    rejectedBefore: 0,
    threads: undefined
  })
  yield* loader.run()
  return loader.reports.map(({ outcome, path, remarks }) =>
    [path.split("/").at(-1), outcome, ...remarks.map(({ code }) => code)].join(" ")
  )
})

describe("a batch whose commit fails", () => {
  const files = {
    "a.json": cohortOf("same", "1"),
    "b.json": cohortOf("other", "2"),
    "c.json": cohortOf("same", "3"),
    "d.json": cohortOf("fourth", "4")
  }

  it.live("and that takes back what an earlier one has stored, is done again one by one with the same result", () =>
    Effect.gen(function* () {
      const { failures, writer } = writerThatFailsAt([2, 3])
      assert.deepStrictEqual(yield* loaded(files, 2, writer), [
        "a.json rejected name-conflict",
        "b.json migrated",
        "c.json rejected name-conflict",
        "d.json migrated"
      ])
      assert.strictEqual(failures(), 1)
    })
  )

  it.live("is not done again to its end when the run is to stop", () =>
    Effect.gen(function* () {
      const { failures, writer } = writerThatFailsAt([0, 1, 2])
      let told = 0
      const outcome = yield* loaded({ ...files, "c.json": cohortOf("third", "3") }, 3, writer, {
        onProgress: ({ phase }) => (phase === "item" ? told++ : 0),
        isStopped: () => told > 0
      })
      assert.deepStrictEqual(outcome, [
        "a.json migrated",
        "b.json migrated",
        "c.json skipped interrupted",
        "d.json skipped interrupted"
      ])
      assert.strictEqual(failures(), 1)
    })
  )

  it.live("is not done again to its end when more is rejected than may be", () =>
    Effect.gen(function* () {
      const { failures, writer } = writerThatFailsAt([0, 1, 2])
      const outcome = yield* loaded({ ...files, "b.json": "{", "c.json": cohortOf("third", "3") }, 3, writer, {
        maxRejects: { value: 0, unit: "sources" }
      })
      assert.deepStrictEqual(outcome, [
        "a.json migrated",
        "b.json rejected unexpected-end",
        "c.json skipped too-many-rejects",
        "d.json skipped too-many-rejects"
      ])
      assert.strictEqual(failures(), 1)
    })
  )

  it.live("and that holds one source loses that one alone", () =>
    Effect.gen(function* () {
      const { failures, writer } = writerThatFailsAt([2])
      assert.deepStrictEqual(yield* loaded(files, 1, writer), [
        "a.json rejected name-conflict",
        "b.json migrated",
        "c.json failed not-stored",
        "d.json migrated"
      ])
      assert.strictEqual(failures(), 1)
    })
  )

  for (const [text, commits] of [
    ["No space left on device", 4],
    ["File too large", 2]
  ] as const) {
    it.effect(`because of "${text}" is not done again to its end, nor is what comes later tried`, () =>
      Effect.gen(function* () {
        const writer = BatchWriter.dry()
        const stage: BatchWriter["stage"] = writer.stage.bind(writer)
        let tried = 0
        writer.stage = (runId, body) =>
          Effect.map(stage(runId, body), (staged) => {
            tried++
            return { ...staged, committed: Effect.fail(toSqlError(new Error(`IO Error: ${text}`), "commit")) }
          })
        let told = 0
        const loading = yield* Effect.forkChild(
          loaded({ ...files, "c.json": cohortOf("third", "3") }, 2, writer, {
            onProgress: ({ phase }) => (phase === "item" ? told++ : 0)
          })
        )
        // The pauses pass at once; reading takes real time in between.
        const passing = yield* Effect.forkChild(
          Effect.forever(
            Effect.andThen(
              TestClock.adjust("1 second"),
              Effect.promise(() => setImmediate())
            )
          )
        )
        assert.deepStrictEqual(
          yield* Fiber.join(loading),
          ["a", "b", "c", "d"].map((name) => `${name}.json failed not-stored`)
        )
        yield* Fiber.interrupt(passing)
        assert.strictEqual(told, 4)
        assert.strictEqual(tried, commits)
      })
    )
  }
})

describe("a name that `rename` would give, and that another source bears", () => {
  for (const batchFiles of [500, 1]) {
    it.effect(`is contested, in batches of ${batchFiles}`, () =>
      Effect.gen(function* () {
        const { database, source } = yield* migrated({ "z.json": cohortOf("n", "old") })
        rmSync(join(source, "z.json"))
        yield* Effect.promise(() =>
          writeFiles(source, {
            "a.json": cohortOf("n", "new"),
            "b.json": cohortOf("n-2", "other")
          })
        )
        const report = yield* run(database, [source], { onConflict: "rename", sizes: { batchFiles } })
        assert.deepStrictEqual(outcomes(report), { "a.json": "rejected", "b.json": "rejected" })
        for (const [name, other] of [
          ["a.json", "b.json"],
          ["b.json", "a.json"]
        ] as const) {
          const item = itemOf(report, name)
          assert.deepStrictEqual(remarksOf(item), ["name-conflict"])
          assert.include(item.remarks[0]?.message, join(source, other))
        }
        assert.deepStrictEqual([...(yield* exported(database))], [["n/z.json", cohortOf("n", "old")]])
      })
    )
  }
})
