import { assert, describe, it } from "@effect/vitest"
import { compactText, decodeText, digestOfText } from "@mallard/testkit"
import { Effect } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { inject } from "vitest"
import { exported, ledgerTables, migrated, rowCounts, run, sha256 } from "./support.ts"

const shared = inject("shared")
const folder = shared === undefined ? undefined : join(shared, "cases", "edge")
const names = folder === undefined ? [] : readdirSync(folder).filter((name) => name.endsWith(".json"))

/** Where and why the files that are no JSON are refused. */
const invalid: Readonly<Record<string, { readonly line: number; readonly column: number; readonly byte: number }>> = {
  "trunc.json": { line: 1, column: 80, byte: 79 },
  "zero.json": { line: 1, column: 1, byte: 0 }
}

describe.skipIf(folder === undefined)("files with one trap each", () => {
  it("are all there", () => {
    assert.isAtLeast(names.length, 29)
    assert.includeMembers(names, Object.keys(invalid))
  })

  for (const name of names) {
    const bytes = readFileSync(join(folder ?? "", name))
    if (Object.hasOwn(invalid, name)) {
      it.effect(`${name} is refused with its place, and leaves nothing behind`, () =>
        Effect.gen(function* () {
          const { database, report, source } = yield* migrated({ [name]: bytes })
          assert.strictEqual(report.outcome, "done-with-rejects")
          const [item] = report.items
          assert.strictEqual(item?.outcome, "rejected")
          const { byte, column, line } = invalid[name] ?? { line: 0, column: 0, byte: 0 }
          const [remark] = item?.remarks ?? []
          assert.deepStrictEqual(
            { code: remark?.code, line: remark?.line, column: remark?.column },
            { code: "unexpected-end", line, column }
          )
          assert.include(remark?.message, `(byte ${byte})`)
          const tables = Object.keys(yield* rowCounts(database)).filter((table) => !ledgerTables.includes(table))
          assert.deepStrictEqual(tables, [])
          assert.deepStrictEqual(readFileSync(join(source, name)), bytes)
        })
      )
      continue
    }
    it.effect(`${name} comes back as its compact text`, () =>
      Effect.gen(function* () {
        const { database, report, source } = yield* migrated({ [name]: bytes })
        assert.strictEqual(report.outcome, "done", JSON.stringify(report.items))
        assert.deepStrictEqual(report.verification, { checked: 1, matched: 1, mismatched: 0, findings: [] })
        const text = decodeText(bytes)
        const [item] = report.items
        assert.strictEqual(item?.digest, digestOfText(text))
        assert.strictEqual(item?.source_sha256, sha256(bytes))
        assert.deepStrictEqual([...(yield* exported(database)).values()], [compactText(text)])
        assert.deepStrictEqual(readFileSync(join(source, name)), bytes)
      })
    )
  }

  it.effect("the bad ones spoil nothing of the others", () =>
    Effect.gen(function* () {
      // All these cohorts are called `c`, so each gets a name of its own here.
      const texts = new Map(
        names.map((name) => {
          const bytes = readFileSync(join(folder ?? "", name))
          const renamed = name in invalid ? bytes : decodeText(bytes).replace('"name":"c"', () => `"name":"${name}"`)
          return [name, renamed] as const
        })
      )
      const { database, report, source } = yield* migrated(Object.fromEntries(texts))
      assert.strictEqual(report.totals.migrated, names.length - 2)
      assert.strictEqual(report.totals.rejected, 2)
      assert.isTrue(report.totals.balanced)
      assert.strictEqual(report.verification.mismatched, 0)
      const stored = yield* exported(database)
      for (const [name, text] of texts) {
        assert.strictEqual(stored.get(`${name}/${name}`), name in invalid ? undefined : compactText(String(text)), name)
      }
      const again = yield* run(database, [source])
      assert.strictEqual(again.totals.unchanged, names.length - 2)
      assert.strictEqual(again.totals.rejected, 2)
    })
  )
})
