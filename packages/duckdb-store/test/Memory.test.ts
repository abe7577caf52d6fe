import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { join } from "node:path"
import { openStore, queryRows } from "../src/index.ts"
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
