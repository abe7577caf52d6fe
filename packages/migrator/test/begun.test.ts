/** What is known of runs that the ledger does not have yet, beside what it has. */
import type { LedgerRun } from "@mallard/duckdb-store"
import { continuedRun, unfinishedByTime, withBegun } from "@mallard/migrator"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

const asked = (paths: ReadonlyArray<string>, resumes?: string) => ({
  paths,
  cwd: "/",
  on_conflict: "fail" as const,
  verify: true,
  backup: true,
  max_entity_bytes: 1,
  max_depth: 1,
  ...(resumes === undefined ? {} : { resumes })
})

const at = (second: number): string => new Date(second * 1000).toISOString().slice(0, -1)

/** A run that was killed, once something was stored. */
const killed = (runId: string, paths: ReadonlyArray<string>, second: number, resumes?: string): LedgerRun => ({
  runId,
  startedAt: at(second),
  finishedAt: undefined,
  outcome: undefined,
  program: "test",
  options: JSON.stringify(asked(paths, resumes)),
  totals: undefined,
  facts: undefined,
  proof: undefined,
  isProofStopped: false,
  revisions: 1,
  firstRevision: second
})

const ended = (run: LedgerRun): LedgerRun => ({ ...run, finishedAt: run.startedAt, outcome: "done", proof: "{}" })

const begun = (run: string, paths: ReadonlyArray<string>, second: number, resumes?: string) => ({
  format: 1 as const,
  run,
  started_at: at(second),
  program: "test",
  options: asked(paths, resumes)
})

const names = (runs: ReadonlyArray<{ readonly run: string }>) => runs.map(({ run }) => run)

describe("runs that have begun", () => {
  it("are unfinished, each in its time among those of the ledger", () => {
    const ledger = [killed("first", ["a"], 1), killed("third", ["c"], 3)]
    assert.deepStrictEqual(names(unfinishedByTime(ledger, [begun("second", ["b"], 2), begun("fourth", ["d"], 4)])), [
      "first",
      "second",
      "third",
      "fourth"
    ])
  })

  it("are not, once the ledger has them, or a run that goes on with them", () => {
    const ledger = [ended(killed("one", ["a"], 1)), ended(killed("other", ["b"], 3, "two"))]
    assert.deepStrictEqual(unfinishedByTime(ledger, [begun("one", ["a"], 1), begun("two", ["b"], 2)]), [])
  })

  it("count though an earlier run over the same sources came to its end, whatever the clock says", () => {
    assert.deepStrictEqual(names(unfinishedByTime([ended(killed("one", ["a"], 9))], [begun("two", ["a"], 2)])), ["two"])
  })

  it("of which one that the ledger has took the place of the others, count no more", () => {
    const records = [begun("one", ["a"], 1), begun("two", ["/a"], 2), begun("three", ["a"], 3)]
    assert.deepStrictEqual(unfinishedByTime([ended(killed("three", ["a"], 3))], records), [])
    assert.deepStrictEqual(names(unfinishedByTime([], records)), ["three"])
  })

  it("lead to the run of the ledger that they were to go on with, and to what that had stored", () => {
    const property = fc.property(
      fc.array(fc.constantFrom("nothing", "last", "ledger"), { minLength: 1, maxLength: 6 }),
      (chain) => {
        const ledger = [killed("stored", ["a"], 1)]
        const records = chain.map((what, index) =>
          begun(
            `record ${index}`,
            ["a"],
            index + 2,
            what === "nothing" ? undefined : what === "last" && index > 0 ? `record ${index - 1}` : "stored"
          )
        )
        const last = `record ${chain.length - 1}`
        const unfinished = unfinishedByTime(ledger, records)
        assert.deepStrictEqual(
          unfinished.map(({ asked: { resumes }, firstRevision, run }) => [run, resumes, firstRevision]),
          [[last, "stored", 1]]
        )
        for (const resumes of [undefined, last]) {
          const found = continuedRun(ledger, records, asked(["a"], resumes))
          assert.deepStrictEqual([found?.run, found?.firstRevision], ["stored", 1])
        }
        assert.lengthOf(withBegun(ledger, records), 2)
      }
    )
    fc.assert(property, { numRuns: 100 })
  })

  it("without such a run lead to themselves", () => {
    const records = [begun("one", ["a"], 1), begun("two", ["a"], 2, "one")]
    assert.strictEqual(continuedRun([], records, asked(["a"], "two"))?.run, "two")
    assert.strictEqual(continuedRun([], records, asked(["a"]))?.run, "two")
    assert.isUndefined(continuedRun([], records, asked(["b"])))
  })
})
