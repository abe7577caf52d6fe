import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { join } from "node:path"
import { CohortStore, openStore, queryRows, verifyDatabase } from "../src/index.ts"
import { Steps } from "../src/internal/lowestId.ts"
import { limitBeside, limitMemory } from "../src/Memory.ts"
import { temporaryFolder } from "./support.ts"

describe("DuckDB's share of the memory", () => {
  it("is less by what the program holds, down to what it cannot do without", () => {
    assert.deepStrictEqual([0, 100e6, 250e6, 1e9].map(limitBeside), ["500MB", "400MB", "250MB", "250MB"])
  })

  it.effect("does not end a transaction when it cannot be had", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "cohorts.duckdb")
      const client = yield* openStore({ path })
      // Nowhere to put aside what does not fit.
      yield* client.unsafe("SET temp_directory = ''").raw
      yield* client.unsafe("CREATE TABLE filled (a INTEGER)").raw
      yield* client.withTransaction(
        Effect.gen(function* () {
          yield* client.unsafe("INSERT INTO filled SELECT * FROM range(100000)").raw
          yield* limitMemory(client, "1B")
          yield* client.unsafe("INSERT INTO filled SELECT * FROM range(100000)").raw
        })
      )
      assert.deepStrictEqual(yield* queryRows(client, "SELECT count(*)::INTEGER FROM filled"), [[200_000]])
    })
  )
})

describe("going through rows", () => {
  it("takes as many at once as their texts allow, by those before, and never many more than before", () => {
    const steps = new Steps(20_000, 40_000)
    const ids = [steps.ids]
    for (const bytes of [8 << 20, 1000, 1000, 1000, 1000, 1 << 30, 1 << 30]) {
      steps.took(bytes)
      ids.push(steps.ids)
    }
    assert.deepStrictEqual(ids, [209, 209, 836, 3344, 13_376, 20_000, 156, 1])
  })

  it.effect("needs no more memory for many large entities than DuckDB has", () =>
    Effect.gen(function* () {
      const text = "lorem ipsum dolor sit amet ".repeat(700)
      const large = (count: number, more: Readonly<Record<string, string>>) =>
        Array.from({ length: count }, (_, at) => ({ ...more, id: `${at}`, text: `${at} ${text}` }))
      const path = join(yield* temporaryFolder, "cohorts.duckdb")
      const report = yield* Effect.gen(function* () {
        const cohorts = yield* CohortStore
        // Times with an offset are read again; lines are hashed as entities inside others.
        yield* cohorts.save({
          name: "large",
          entities: {
            notes: large(1200, { note_datetime: "2024-01-01T10:00:00+05:00" }),
            claims: [{ claim_id: "c", lines: large(600, {}) }]
          }
        })
        const client = yield* DuckDbClient
        yield* client.unsafe("SET temp_directory = ''").raw
        yield* limitMemory(client, "200MB")
        return yield* verifyDatabase(client)
      }).pipe(Effect.provide(CohortStore.layer({ path })))
      assert.deepStrictEqual({ findings: report.findings, entities: report.entities }, { findings: [], entities: 1801 })
    })
  )
})
