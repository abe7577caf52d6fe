import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import * as fc from "fast-check"
import { createHash } from "node:crypto"
import {
  checkRowDigests,
  digestedTableNames,
  fixedTables,
  ledgerRow,
  nextIds,
  record,
  rowDigest,
  timestampText
} from "../src/index.ts"
import { cohortId, inNewStore, valuesOf } from "./support.ts"

const sha256 = (text: string) => createHash("sha256").update(text, "utf8").digest("hex")

const run = {
  run_id: "ABCDEF00-0000-4000-8000-000000000001",
  event: "started",
  at: new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 6)),
  outcome: null,
  options: '{"a":"é\\n"}',
  totals: null,
  program: "test 1"
}

describe("the digest of a row", () => {
  it("is that of a JSON array of texts", () => {
    assert.strictEqual(
      rowDigest([1, 2n, true, false, null, 'a"\n', "2026-01-02 03:04:05.000000"]),
      sha256('["1","2","true","false",null,"a\\"\\n","2026-01-02 03:04:05.000000"]')
    )
  })

  it("counts times with six decimals and UUIDs in lower case, however they are given", () => {
    const expected = sha256(
      '["abcdef00-0000-4000-8000-000000000001","started","2026-01-02 03:04:05.006000",null,"{\\"a\\":\\"é\\\\n\\"}",null,"test 1"]'
    )
    for (const at of [run.at, 1_767_323_045_006_000n, "2026-01-02T03:04:05.006", "2026-01-02 03:04:05.006000"]) {
      assert.strictEqual(ledgerRow("migration_runs", { ...run, at })["row_digest"], expected)
    }
  })

  it("needs every value that may not be NULL", () => {
    assert.throws(() => ledgerRow("revisions", Object.create(null)), /revision_id of revisions needs a value/)
  })

  it("times are exact to the microsecond, before 1970 too", () => {
    assert.strictEqual(timestampText(-1n), "1969-12-31 23:59:59.999999")
    assert.strictEqual(timestampText(0n), "1970-01-01 00:00:00.000000")
    assert.strictEqual(timestampText("2026-01-02T03:04:05.1"), "2026-01-02 03:04:05.100000")
    assert.throws(() => timestampText("yesterday"))
    fc.assert(
      fc.property(fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n }), (micros) => {
        const text = timestampText(micros)
        const read = BigInt(Date.parse(`${text.slice(0, 19).replace(" ", "T")}Z`)) * 1000n + BigInt(text.slice(20))
        assert.strictEqual(read, micros)
      })
    )
  })
})

describe("rows of the ledger", () => {
  it.effect("come back from the database with the digest that they went in with", () =>
    inNewStore(
      Effect.gen(function* () {
        yield* record("migration_runs", [run, { ...run, event: "finished", outcome: "done" }])
        yield* record(
          "migration_items",
          Array.from({ length: 150 }, (_, item) => ({
            run_id: run.run_id,
            item,
            path: "/a/ü\u0000b",
            outcome: "stored",
            format: null,
            bytes: item % 2 === 0 ? 2 ** 40 : 9_007_199_254_740_993n,
            source_sha256: null,
            revision_id: null,
            cohort_id: cohortId(item),
            digest: "",
            entities: "{}",
            remarks: "[]"
          }))
        )
        yield* record("collections", [{ content_id: 1, part: 0, collection: 0, pointer: "/a", list: true }])
        for (const table of digestedTableNames) {
          assert.deepStrictEqual((yield* checkRowDigests(table)).mismatches, [], table)
        }
        assert.strictEqual((yield* checkRowDigests("migration_items")).rows, 150)
      })
    )
  )

  it.effect("that were changed are found, in every column", () =>
    inNewStore(
      Effect.gen(function* () {
        const sql = yield* DuckDbClient
        yield* record("migration_runs", [run])
        for (const [column, value] of [
          ["run_id", `'${cohortId(9)}'`],
          ["event", "'finished'"],
          ['"at"', '"at" + INTERVAL 1 MICROSECOND'],
          ["outcome", "''"],
          ["options", "NULL"],
          ["totals", "'{}'"],
          ["program", "'test 2'"],
          ["row_digest", "upper(row_digest)"]
        ] as const) {
          yield* sql.unsafe("CREATE OR REPLACE TEMP TABLE kept AS SELECT * FROM mallard.migration_runs")
          yield* sql.unsafe(`UPDATE mallard.migration_runs SET ${column} = ${value}`)
          const { rows, mismatches } = yield* checkRowDigests("migration_runs")
          assert.strictEqual(rows, 1)
          assert.strictEqual(mismatches.length, 1, column)
          assert.strictEqual(mismatches[0]?.key.length, 2)
          yield* sql.unsafe("DELETE FROM mallard.migration_runs")
          yield* sql.unsafe("INSERT INTO mallard.migration_runs SELECT * FROM kept")
        }
        assert.deepStrictEqual(Object.keys(fixedTables.migration_runs), [
          "run_id",
          "event",
          "at",
          "outcome",
          "options",
          "totals",
          "program",
          "row_digest"
        ])
      })
    )
  )

  it.effect("tell the next id of each table by what was recorded", () =>
    inNewStore(
      Effect.gen(function* () {
        const commit = (commit_id: number, table_name: string, first_id: number, row_count: number) => ({
          commit_id,
          attempt: cohortId(commit_id),
          run_id: null,
          committed_at: new Date(0),
          table_name,
          first_id,
          row_count
        })
        assert.deepStrictEqual([...new Set((yield* nextIds).values())], [1])
        yield* record("commits", [
          commit(1, "patients", 1, 10),
          commit(1, "links", 0, 7),
          commit(1, "commits", 1, 3),
          commit(2, "patients", 11, 5),
          commit(2, "revisions", 1, 2)
        ])
        yield* record("data_integrity_checks", [
          { check_id: 4, run_id: null, at: new Date(0), checked: 1, matched: 1, mismatched: 0 }
        ])
        const next = yield* nextIds
        assert.strictEqual(next.get("patients"), 16)
        assert.strictEqual(next.get("revisions"), 3)
        assert.strictEqual(next.get("claims"), 1)
        assert.strictEqual(next.get("commits"), 3)
        assert.strictEqual(next.get("data_integrity_checks"), 5)
        assert.isFalse(next.has("links"))
        assert.deepStrictEqual(yield* valuesOf("SELECT checked, mismatched FROM data_integrity_checks"), [[1n, 0n]])
      })
    )
  )
})
