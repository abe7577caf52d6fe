import { gzipSync } from "node:zlib"
import { randomBytes } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { compactText } from "@mallard/testkit"
import { Effect } from "effect"
import { rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Worker } from "node:worker_threads"
import { vi } from "vitest"
import { BatchWriter } from "@mallard/duckdb-store"
import { verify, type MigrateOptions } from "@mallard/migrator"
import { cohortFile, everyKind, savedFolders, variedSources } from "./fixtures.ts"
import {
  cohorts,
  contents,
  entities,
  exported,
  hasLog,
  itemOf,
  ledgerTables,
  migrated,
  outcomes,
  query,
  remarksOf,
  rowCounts,
  run,
  sha256
} from "./support.ts"

/** Everything is a large file, read a few bytes at a time. */
const tiny: Partial<MigrateOptions> = { sizes: { wholeFileBytes: 0, windowBytes: 64 } }

const patients = (count: number, size: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, at) => `{"id":"p${at}","mrn":"m${at}","note":"${"x".repeat(size)}","n":${at}.50}`)

const big = (count: number, size: number): string =>
  `{\n "name": "big",\n "entities": {"patients": [\n  ${patients(count, size).join(",\n  ")}\n ]},\n "after": [1, {"é": "ü"}]\n}\n`

const compactBig = (count: number, size: number): string =>
  `{"name":"big","entities":{"patients":[${patients(count, size).join(",")}]},"after":[1,{"é":"ü"}]}`

/** Much text that is no entity. */
const wordy = `{"name":"wordy","story":${JSON.stringify("word ".repeat(400_000))},"entities":{"patients":[{"id":"p"}]},"numbers":[${Array.from({ length: 20_000 }, (_, at) => at).join(",")}]}`

/** More than waits to be written at once. */
const words = Array.from({ length: 300_000 }, (_, at) => `"a value ${at} that no kind takes"`).join(",")

const isEmpty = (database: string) =>
  Effect.map(rowCounts(database), (counts) => Object.keys(counts).filter((table) => !ledgerTables.includes(table)))

for (const [reader, jobs] of [
  ["the thread that writes", 1],
  ["one of its own", 2]
] as const)
  describe(`a file that is larger than what is read whole, read by ${reader},`, () => {
    it.effect("gives the same rows, texts and digests as when it is read whole", () =>
      Effect.gen(function* () {
        const sources = {
          ...Object.fromEntries(Object.entries(variedSources).filter(([name]) => !name.includes("ncpdp"))),
          "every kind.json": everyKind,
          "family/enrollment.json": savedFolders["vale-family"]?.["enrollment.json"]?.text ?? "",
          "family/claims.json": savedFolders["vale-family"]?.["claims.json"]?.text ?? "",
          "marked.json": `\u{feff}${cohortFile("marked", "p7")}`,
          "wide.json": Buffer.from(`\u{feff}${cohortFile("wide 😀", "p8")}`, "utf16le"),
          "claims-2024.json": '[{"claim_id":"c9","claim_lines":[{"line_number":1}]}, 5, {"claim_id":"c10"}]'
        }
        const whole = yield* migrated(sources)
        const windows = yield* migrated(sources, { ...tiny, jobs })
        assert.strictEqual(whole.report.outcome, "done")
        assert.strictEqual(windows.report.outcome, "done")
        assert.strictEqual(windows.report.verification.mismatched, 0)
        assert.deepStrictEqual(yield* cohorts(windows.database), yield* cohorts(whole.database))
        assert.deepStrictEqual(yield* entities(windows.database), yield* entities(whole.database))
        assert.deepStrictEqual(yield* exported(windows.database), yield* exported(whole.database))
        const remarks = ({ report, source }: typeof whole) =>
          report.items.map((item) => [item.path.slice(source.length), item.digest, item.source_sha256, remarksOf(item)])
        assert.deepStrictEqual(remarks(windows), remarks(whole))
        const again = yield* run(windows.database, [windows.source], { ...tiny, jobs })
        assert.deepStrictEqual(new Set(Object.values(outcomes(again))), new Set(["unchanged"]))
      })
    )

    it.effect("is written as it is read, in one transaction", () =>
      Effect.gen(function* () {
        const text = big(40_000, 250)
        const { database, report } = yield* migrated(
          { "big.json": text, "wordy.json": wordy },
          { jobs, sizes: { wholeFileBytes: 1 << 20, windowBytes: 1 << 18 } }
        )
        assert.strictEqual(report.outcome, "done", JSON.stringify(report.items))
        assert.deepStrictEqual(itemOf(report, "big.json").entities, { patient: 40_000 })
        assert.strictEqual(itemOf(report, "big.json").digest, sha256(compactBig(40_000, 250)))
        assert.strictEqual((yield* exported(database)).get("wordy/wordy.json"), compactText(wordy))
        assert.deepStrictEqual([report.verification.checked, report.verification.mismatched], [2, 0])
      })
    )

    it.effect(
      "has its text written as it is read, in the pieces that it has when it is read whole, or not at all",
      () =>
        Effect.gen(function* () {
          const sizes = { wholeFileBytes: 1 << 20, windowBytes: 1 << 18 }
          const text = `{"name":"words","words":[${words}]}`
          const pieces = (database: string) =>
            query(database, "SELECT part, piece, md5(text) AS text FROM mallard.part_texts ORDER BY ALL")
          const saved = vi.spyOn(BatchWriter.prototype, "saveRows")
          const whole = yield* migrated({ "words.json": text })
          assert.lengthOf(saved.mock.calls, 0)
          const windows = yield* migrated({ "words.json": text }, { jobs, sizes })
          assert.isAbove(saved.mock.calls.length, 0)
          saved.mockRestore()
          assert.deepStrictEqual([windows.report.verification.checked, windows.report.verification.mismatched], [1, 0])
          assert.deepStrictEqual(yield* pieces(windows.database), yield* pieces(whole.database))
          const broken = yield* migrated({ "words.json": `${text.slice(0, -2)}}` }, { jobs, sizes })
          assert.deepStrictEqual(outcomes(broken.report), { "words.json": "rejected" })
          assert.deepStrictEqual(yield* isEmpty(broken.database), [])
        })
    )

    it.effect("leaves nothing behind when it turns out to be broken after rows were written", () =>
      Effect.gen(function* () {
        const text = big(40_000, 250)
        const broken = text.replace('"after": [1', '"after": [1 x')
        const sizes = { wholeFileBytes: 1 << 20, windowBytes: 1 << 18 }
        const { database, report, source } = yield* migrated(
          { "big.json": broken, "small.json": cohortFile("small", "p") },
          { jobs, sizes }
        )
        assert.deepStrictEqual(outcomes(report), { "big.json": "rejected", "small.json": "migrated" })
        const [remark] = itemOf(report, "big.json").remarks
        assert.strictEqual(remark?.line, broken.slice(0, broken.indexOf(" x,")).split("\n").length)
        assert.include(remark?.message, "(byte ")
        assert.deepStrictEqual(
          yield* rowCounts(database).pipe(Effect.map((counts) => [counts["patients"], counts["cohort_members"]])),
          [1, 1]
        )
        assert.strictEqual((yield* verify({ database, sources: [] })).mismatched, 0)
        // Mended, it is migrated.
        writeFileSync(join(source, "big.json"), text)
        assert.deepStrictEqual(outcomes(yield* run(database, [source], { jobs, sizes })), {
          "big.json": "migrated",
          "small.json": "unchanged"
        })
      })
    )

    it.effect("is refused with its place, whatever is wrong with it", () =>
      Effect.gen(function* () {
        const bad = {
          "latin.json": Buffer.concat([
            Buffer.from(`{\n"name":"${"é".repeat(100)}","x":"`),
            Buffer.from([0xe9, 0x22, 0x7d])
          ]),
          "end.json": `{\n"name":"end","patients":[{"id":"p"}`,
          "marked.json": `\u{feff}{\n"a": }`,
          "packed.json": gzipSync(randomBytes(500)),
          "wide.json": Buffer.from(`{"name":"${"wide".repeat(100)}"}`, "utf16le"),
          "number.json": '{\n\n"a": 01}'
        }
        const places = (report: Effect.Success<ReturnType<typeof run>>) =>
          report.items.map(({ outcome, path, remarks: [remark] }) => [
            path.split("/").at(-1),
            outcome,
            remark?.code,
            remark?.line,
            remark?.column,
            /\(byte \d+\)/.exec(remark?.message ?? "")?.[0]
          ])
        const whole = yield* migrated(bad)
        const windows = yield* migrated(bad, { ...tiny, jobs })
        assert.deepStrictEqual(places(windows.report), places(whole.report))
        assert.deepStrictEqual(places(whole.report), [
          ["end.json", "rejected", "unexpected-end", 2, 36, "(byte 37)"],
          ["latin.json", "rejected", "invalid-utf8", 2, 116, "(byte 217)"],
          ["marked.json", "rejected", "unexpected-byte", 2, 6, "(byte 10)"],
          ["number.json", "rejected", "invalid-number", 3, 7, "(byte 9)"],
          ["packed.json", "rejected", "unsupported-encoding", 1, 1, "(byte 0)"],
          ["wide.json", "rejected", "unsupported-encoding", 1, 1, "(byte 0)"]
        ])
        assert.deepStrictEqual(yield* isEmpty(windows.database), [])
      })
    )

    it.effect("takes part in conflicts of names like any other", () =>
      Effect.gen(function* () {
        const sizes = { wholeFileBytes: 200, windowBytes: 64, batchFiles: 1 }
        const large = (id: string) => cohortFile("same", id, { description: "long ".repeat(60) })
        for (const files of [
          { "a.json": cohortFile("same", "1"), "b.json": large("2") },
          { "a.json": large("1"), "b.json": cohortFile("same", "2") },
          { "a.json": large("1"), "b.json": large("2") }
        ]) {
          const { database, report } = yield* migrated(files, { jobs, sizes })
          assert.deepStrictEqual(outcomes(report), { "a.json": "rejected", "b.json": "rejected" })
          assert.deepStrictEqual(yield* cohorts(database), [])
          assert.strictEqual(report.verification.mismatched, 0)
        }
        const stored = yield* migrated({ "a.json": large("1") }, { jobs, sizes })
        writeFileSync(join(stored.source, "b.json"), cohortFile("same", "2"))
        const report = yield* run(stored.database, [stored.source], { jobs, sizes, onConflict: "replace" })
        assert.deepStrictEqual(outcomes(report), { "a.json": "unchanged", "b.json": "rejected" })
      })
    )

    it.effect("is rehearsed without writing", () =>
      Effect.gen(function* () {
        const { database, report } = yield* migrated(
          { "big.json": big(40_000, 250) },
          { dryRun: true, jobs, sizes: { wholeFileBytes: 1 << 20, windowBytes: 1 << 18 } }
        )
        assert.deepStrictEqual(outcomes(report), { "big.json": "migrated" })
        assert.deepStrictEqual(itemOf(report, "big.json").entities, { patient: 40_000 })
        assert.isFalse(hasLog(database))
      })
    )
  })

describe("a folder of files that are large together", () => {
  it.effect("is written file by file, with the rows that it has when it is written as a whole, or not at all", () =>
    Effect.gen(function* () {
      const names = ["patients", "encounters", "claims", "members", "prescriptions"]
      const files = Object.fromEntries(
        names.map((name, part) => [
          `visit/${name}.json`,
          `{"patients":[{"id":"p${part}"},{"id":"all"}],"words":[${words.slice(0, 4_000_000 + part).replace(/,[^,]*$/, "")}]}`
        ])
      )
      const sizes = { wholeFileBytes: 16 << 20 }
      const rows = (database: string) =>
        Effect.all([
          query(database, "SELECT part, piece, md5(text) AS text FROM mallard.part_texts ORDER BY ALL"),
          query(database, "SELECT * FROM mallard.cohort_members ORDER BY ALL"),
          query(database, "SELECT entity_id, digest::VARCHAR AS digest FROM mallard.patients ORDER BY ALL")
        ])
      const saved = vi.spyOn(BatchWriter.prototype, "saveRows")
      const whole = yield* migrated(files)
      assert.lengthOf(saved.mock.calls, 0)
      const parts = yield* migrated(files, { sizes })
      assert.isAbove(saved.mock.calls.length, 0)
      saved.mockRestore()
      assert.deepStrictEqual(outcomes(parts.report), { visit: "migrated" })
      assert.deepStrictEqual([parts.report.verification.checked, parts.report.verification.mismatched], [5, 0])
      assert.deepStrictEqual(yield* rows(parts.database), yield* rows(whole.database))
      assert.deepStrictEqual(outcomes(yield* run(parts.database, [parts.source], { sizes })), { visit: "unchanged" })
      const broken = yield* migrated(
        { ...files, "visit/prescriptions.json": "{" },
        { sizes: { wholeFileBytes: 15 << 20 } }
      )
      assert.deepStrictEqual(outcomes(broken.report), { visit: "rejected" })
      assert.deepStrictEqual(yield* isEmpty(broken.database), [])
    })
  )
})

describe("a file of more rows than may wait at once", () => {
  /** The same key again and again, each time with a list of its own. */
  const lists = `{"name":"lists",${Array.from({ length: 90_000 }, (_, at) => `"patients":[{"id":"p${at}"}]`).join(",")}}`
  const sizes = { wholeFileRows: 10_000 }

  it.effect("is written as it is read, and gives the same rows", () =>
    Effect.gen(function* () {
      const line = (at: number): string =>
        `{"name":"line","patients":[{"id":"q${at}"}],"encounters":[{"reason":"${at}"}]}`
      const files = {
        "a.json": cohortFile("a", "p1"),
        "lines.ndjson": Array.from({ length: 30_000 }, (_, at) => line(at)).join("\n"),
        "lists.json": lists,
        "z.json": cohortFile("z", "p2")
      }
      const rows = (database: string) =>
        Effect.map(contents(database), (tables) =>
          ["part_texts", "collections", "cohort_members", "patients", "encounters"].map((table) => tables.get(table))
        )
      const saved = vi.spyOn(BatchWriter.prototype, "saveRows")
      // The rows are compared with each other.
      const whole = yield* migrated(files, { verify: false })
      assert.lengthOf(saved.mock.calls, 0)
      const expected = yield* rows(whole.database)
      for (const jobs of [1, 2]) {
        const { database, report, source } = yield* migrated(files, { jobs, sizes, verify: false })
        assert.isAbove(saved.mock.calls.length, 0)
        saved.mockClear()
        assert.deepStrictEqual(outcomes(report), outcomes(whole.report))
        assert.deepStrictEqual(yield* rows(database), expected)
        const again = yield* run(database, [source], { jobs, sizes })
        assert.deepStrictEqual(new Set(Object.values(outcomes(again))), new Set(["unchanged"]))
      }
      saved.mockRestore()
    })
  )

  it.effect("is written so in a folder too, beside files that are read whole", () =>
    Effect.gen(function* () {
      const files = {
        "visit/patients.json": lists,
        "visit/encounters.json": '[{"encounter_id":"e"}]',
        "visit/scenario.json": '{"name":"visit"}'
      }
      const { database, report } = yield* migrated(files, { sizes })
      assert.deepStrictEqual(outcomes(report), { visit: "migrated" })
      assert.deepStrictEqual([report.verification.checked, report.verification.mismatched], [3, 0])
      assert.strictEqual((yield* rowCounts(database))["patients"], 90_000)
    })
  )

  it.effect("leaves nothing behind when it turns out to be broken", () =>
    Effect.gen(function* () {
      const { database, report } = yield* migrated({ "lists.json": lists.slice(0, -1) }, { sizes })
      assert.deepStrictEqual(outcomes(report), { "lists.json": "rejected" })
      assert.deepStrictEqual(yield* isEmpty(database), [])
    })
  )
})

describe("a thread that reads a large file", () => {
  it.effect("is not needed to the end: what it had read is read again", () =>
    Effect.gen(function* () {
      const threads: Array<Worker> = []
      const started = (thread: Worker): void => {
        threads.push(thread)
      }
      process.on("worker", started)
      let bytes = 0
      const { database, report } = yield* migrated(
        { "big.json": big(40_000, 250), "other.json": big(30_000, 250).replace("big", "other") },
        {
          jobs: 2,
          sizes: { wholeFileBytes: 1 << 20, windowBytes: 1 << 18 },
          onProgress: (progress) => {
            if (progress.phase !== "read") return
            bytes += progress.bytes
            // Early: it goes on for some megabytes before it ends.
            if (bytes > 1 << 18) for (const thread of threads) void thread.terminate()
          }
        }
      ).pipe(Effect.ensuring(Effect.sync(() => process.off("worker", started))))
      assert.lengthOf(threads, 1)
      assert.isAbove(bytes, big(70_000, 250).length)
      assert.deepStrictEqual(outcomes(report), { "big.json": "migrated", "other.json": "migrated" })
      assert.deepStrictEqual([report.verification.checked, report.verification.mismatched], [2, 0])
      assert.strictEqual(itemOf(report, "big.json").digest, sha256(compactBig(40_000, 250)))
      assert.strictEqual((yield* rowCounts(database))["cohort_members"], 70_000)
    })
  )
})

describe("limits", () => {
  const limited = { maxEntityBytes: 1 << 20, maxDepth: 100 }
  const nested = (depth: number) =>
    `{"name":"deep","patients":[{"id":"p","x":${"[".repeat(depth)}${"]".repeat(depth)}}]}`

  for (const [how, sizes] of [
    ["read whole", {}],
    ["read through windows", { wholeFileBytes: 0, windowBytes: 1 << 16 }]
  ] as const) {
    it.effect(`refuse one entity or one string that is too large, and keep what fits: ${how}`, () =>
      Effect.gen(function* () {
        const { database, report } = yield* migrated(
          {
            "entity.json": big(1, 1 << 20),
            "string.json": `{"name":"string","story":"${"s".repeat((1 << 20) + 10)}","patients":[{"id":"p"}]}`,
            "fits.json": `{"name":"fits","patients":[{"id":"p","note":"${"x".repeat((1 << 20) - 200)}"}]}`,
            "deep.json": nested(200),
            "level.json": nested(90).replace("deep", "level")
          },
          { ...limited, sizes }
        )
        assert.deepStrictEqual(outcomes(report), {
          "deep.json": "rejected",
          "entity.json": "rejected",
          "fits.json": "migrated",
          "level.json": "migrated",
          "string.json": "rejected"
        })
        assert.deepStrictEqual(remarksOf(itemOf(report, "deep.json")), ["too-deep"])
        assert.deepStrictEqual(remarksOf(itemOf(report, "entity.json")), ["too-large"])
        assert.deepStrictEqual(remarksOf(itemOf(report, "string.json")), ["too-large"])
        for (const name of ["deep.json", "entity.json", "string.json"]) {
          assert.isNumber(itemOf(report, name).remarks[0]?.line)
          assert.isNumber(itemOf(report, name).remarks[0]?.column)
        }
        assert.lengthOf(yield* cohorts(database), 2)
        assert.strictEqual(report.verification.mismatched, 0)
      })
    )
  }
})

describe("a run that is asked to stop", () => {
  it.effect("keeps whole items and goes on from there when it is run again", () =>
    Effect.gen(function* () {
      const files = Object.fromEntries(
        Array.from({ length: 6 }, (_, at) => [`${at}.json`, cohortFile(`c${at}`, `p${at}`)])
      )
      for (const batchFiles of [1, 2, 500]) {
        let items = 0
        const { database, report, source } = yield* migrated(files, {
          sizes: { batchFiles },
          isStopped: () => items >= 2,
          onProgress: (progress) => {
            if (progress.phase === "item") items++
          }
        })
        if (batchFiles === 500) {
          // All was in one batch, which was whole before anything was asked for: what is missing is the proof.
          const { outcome, totals, verification } = report
          assert.deepStrictEqual([outcome, totals.migrated, verification.checked], ["interrupted", 6, 0])
          assert.strictEqual((yield* run(database, [source])).verification.matched, 6)
          continue
        }
        assert.strictEqual(report.outcome, "interrupted")
        assert.isTrue(report.totals.balanced)
        // Items that were being read while the first were committed are kept too.
        const kept = report.totals.migrated
        assert.isTrue(kept >= 2 && kept <= 2 + batchFiles, `${kept} are kept`)
        assert.strictEqual(report.totals.skipped, 6 - kept)
        assert.deepStrictEqual(remarksOf(itemOf(report, "5.json")), ["interrupted"])
        assert.isFalse(hasLog(database))
        assert.strictEqual((yield* verify({ database, sources: [] })).mismatched, 0)
        const again = yield* run(database, [source])
        assert.deepStrictEqual([again.totals.unchanged, again.totals.migrated], [kept, 6 - kept])
      }
    })
  )

  it.effect("gives up a large file in the middle, all of it", () =>
    Effect.gen(function* () {
      let bytes = 0
      const sizes = { wholeFileBytes: 1 << 20, windowBytes: 1 << 18 }
      const { database, report, source } = yield* migrated(
        { "a.json": cohortFile("a", "p"), "big.json": big(40_000, 250) },
        {
          sizes,
          isStopped: () => bytes > 9 << 20,
          onProgress: (progress) => {
            if (progress.phase === "read") bytes += progress.bytes
          }
        }
      )
      assert.strictEqual(report.outcome, "interrupted")
      assert.deepStrictEqual(outcomes(report), { "a.json": "migrated", "big.json": "skipped" })
      assert.isFalse(hasLog(database))
      assert.deepStrictEqual(yield* rowCounts(database).pipe(Effect.map((counts) => counts["patients"])), 1)
      const again = yield* run(database, [source], { sizes })
      assert.deepStrictEqual(outcomes(again), { "a.json": "unchanged", "big.json": "migrated" })
      rmSync(join(source, "a.json"))
      assert.strictEqual((yield* verify({ database, sources: [source] })).findings.length, 0)
      assert.isAbove((yield* contents(database)).get("patients")?.length ?? 0, 40_000)
    })
  )
})
