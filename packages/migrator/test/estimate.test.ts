/** Estimates rest on what was measured, say so, and are rather too much than too little. */
import {
  type Estimate,
  estimateOf,
  formerRuns,
  hasRoom,
  measure,
  type Measured,
  type RunReport
} from "@mallard/migrator"
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { statSync } from "node:fs"
import { assert } from "vitest"
import { writeFiles } from "@mallard/testkit"
import { folderOf, run } from "./support.ts"

const nothing: Measured = {
  former: undefined,
  database: undefined,
  sample: undefined,
  copied: new Set(),
  freeBytes: null
}

/** A rehearsal of sources of these sizes, the first `stored` of which are to be stored. */
const rehearsal = (sizes: ReadonlyArray<number>, stored = sizes.length, readMs = 1000): RunReport => {
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  const items = sizes.map((size, at) => ({
    path: `/in/${at}.json`,
    outcome: at < stored ? ("migrated" as const) : ("unchanged" as const),
    format: "V1",
    cohort: `c${at}`,
    cohort_id: null,
    entities: {},
    digest: null,
    source_sha256: null,
    bytes: size,
    remarks: [],
    remark_count: 0
  }))
  return {
    run: "r",
    outcome: "done",
    dry_run: true,
    database: "/db/test.duckdb",
    options: { backup: true },
    items,
    ignored: [],
    totals: {
      found: sizes.length,
      migrated: stored,
      unchanged: sizes.length - stored,
      skipped: 0,
      rejected: 0,
      failed: 0,
      bytes,
      entities: {},
      remarks: 0,
      balanced: true
    },
    verification: { checked: 0, matched: 0, mismatched: 0, findings: [] },
    timings: { find: 10, load: readMs, verify: 0, total: readMs + 10 }
  }
}

const former = { runs: 3, loadMsPerByte: 2 ** -15, verifyMsPerByte: 2 ** -16 }
const database = { bytes: 2 ** 25, sourceBytes: 2 ** 27 }
const sample = { bytes: 2 ** 20, compressed: 2 ** 16, milliseconds: 16 }

describe("an estimate", () => {
  it("rests on runs before, on the database and on a sample where there are such, and says on what", () => {
    const report = rehearsal([2 ** 26, 2 ** 26])
    assert.deepStrictEqual(estimateOf(report, { ...nothing, former, database, sample, freeBytes: 5 }), {
      // To find, to store, to prove, to copy and to prove that, and the start.
      milliseconds: 10 + 2 ** 12 + 2 ** 11 + 2 ** 12 + 2500,
      database_bytes: 2 ** 25,
      backup_bytes: 2 ** 23,
      free_bytes: 5,
      basis: { runs: 3, stored_bytes: 2 ** 27, sampled_bytes: 2 ** 20 }
    })
    assert.deepStrictEqual(estimateOf(report, nothing).basis, { runs: 0, stored_bytes: 0, sampled_bytes: 0 })
  })

  it("takes what is usual of a database that holds too little to tell, and needs room for a new one", () => {
    const report = rehearsal([1_000_000])
    const little = estimateOf(report, { ...nothing, database: { bytes: 12_000_000, sourceBytes: 1000 } })
    assert.strictEqual(little.database_bytes, 350_000)
    assert.strictEqual(little.basis?.stored_bytes, 0)
    assert.strictEqual(estimateOf(report, nothing).database_bytes, 350_000 + 60 * (64 << 10))
  })

  it("never falls when more is to be stored, and is never less than what reading took", () => {
    const measured = fc.record({
      former: fc.option(fc.constant(former), { nil: undefined }),
      database: fc.option(fc.constant(database), { nil: undefined }),
      sample: fc.option(fc.constant(sample), { nil: undefined }),
      copied: fc.constant(new Set<string>()),
      freeBytes: fc.constant(null)
    })
    const sizes = fc.array(fc.nat(1_000_000_000), { minLength: 1, maxLength: 6 })
    const fields = ["milliseconds", "database_bytes", "backup_bytes"] as const
    fc.assert(
      fc.property(sizes, fc.nat(), fc.nat(100_000), measured, (all, pick, readMs, facts) => {
        const stored = pick % all.length
        const some = estimateOf(rehearsal(all, stored, readMs), facts)
        const more = estimateOf(rehearsal(all, stored + 1, readMs), facts)
        for (const field of fields) assert.isAtLeast(more[field], some[field])
        assert.isAtLeast(some.milliseconds, readMs)
      })
    )
  })

  it("tells whether there is room; where the system does not say, there is", () => {
    const estimate: Estimate = { milliseconds: 1, database_bytes: 10, backup_bytes: 5, free_bytes: 15 }
    assert.isTrue(hasRoom(estimate))
    assert.isFalse(hasRoom({ ...estimate, free_bytes: 14 }))
    assert.isTrue(hasRoom({ ...estimate, free_bytes: null }))
  })
})

describe("what runs before tell", () => {
  const ledgerRun = (bytes: number, loadMs: number, found = 2, migrated = 2) => ({
    runId: "r",
    startedAt: "2024-01-01T00:00:00",
    finishedAt: "2024-01-01T00:00:01",
    outcome: "done",
    program: "test",
    options: "{}",
    totals: JSON.stringify({ ...rehearsal([bytes]).totals, found, migrated, unchanged: found - migrated }),
    facts: "{}",
    proof: JSON.stringify({
      verification: { checked: 1, matched: 1, mismatched: 0, findings: [] },
      timings: { find: 1, load: loadMs, verify: loadMs / 2, total: loadMs * 2 }
    }),
    isProofStopped: false,
    revisions: 1,
    firstRevision: 1
  })

  it("is how the slowest of the last ones went that stored all they found, and enough of it", () => {
    const runs = [
      ledgerRun(2_000_000, 99_000),
      ...[1000, 3000, 2000, 1000, 1000].map((milliseconds) => ledgerRun(2_000_000, milliseconds)),
      ledgerRun(2_000_000, 50_000, 2, 1),
      ledgerRun(1000, 50_000),
      { ...ledgerRun(2_000_000, 50_000), proof: undefined }
    ]
    assert.deepStrictEqual(formerRuns(runs), { runs: 5, loadMsPerByte: 0.0015, verifyMsPerByte: 0.00075 })
    assert.isUndefined(formerRuns(runs.slice(-3)))
  })
})

describe("measuring", () => {
  it.live("compresses a sample of the sources, looks at the database and the disk, and changes nothing", () =>
    Effect.gen(function* () {
      const of = (name: string) =>
        JSON.stringify({ name, patients: Array.from({ length: 3000 }, (_, id) => ({ id, city: "Ulm" })) })
      const text = of("a")
      const { database: path, source } = yield* folderOf({ "a.json": text, "dir/patients.json": of("b") })
      const backup = { store: `${path}.store` }
      const fresh = yield* measure(yield* run(path, [source], { dryRun: true, backup }))
      assert.isUndefined(fresh.database)
      assert.isUndefined(fresh.former)
      assert.strictEqual(fresh.sample?.bytes, 2 * text.length)
      assert.isBelow(fresh.sample?.compressed ?? Infinity, text.length / 2)
      assert.isAbove(fresh.freeBytes ?? 0, 0)
      yield* run(path, [source], { backup })
      // What was copied is not copied again; what came since is.
      yield* Effect.promise(() => writeFiles(source, { "new.json": of("new") }))
      const again = yield* run(path, [source], { dryRun: true, backup })
      const measured = yield* measure(again)
      assert.strictEqual(
        estimateOf(again, { ...measured, sample: undefined }).backup_bytes,
        estimateOf(rehearsal([of("new").length]), nothing).backup_bytes
      )
      const before = statSync(path).mtimeMs
      const later = yield* measure(yield* run(path, [source], { dryRun: true }))
      assert.isUndefined(later.sample)
      assert.deepStrictEqual(later.database, { bytes: statSync(path).size, sourceBytes: 2 * text.length })
      assert.strictEqual(statSync(path).mtimeMs, before)
    })
  )
})
