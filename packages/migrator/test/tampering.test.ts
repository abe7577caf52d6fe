/** What somebody with a SQL prompt can do to whole tables, rather than to values in their rows: verifying finds it. */
import { DuckDBInstance } from "@duckdb/node-api"
import { tableColumns, tableNames } from "@mallard/duckdb-store"
import { verify } from "@mallard/migrator"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { copyFileSync } from "node:fs"
import { join } from "node:path"
import { cohortFile, variedSources } from "./fixtures.ts"
import { migrated } from "./support.ts"

/** Runs statements on a database file by DuckDB alone, and closes it. */
const change = (database: string, ...statements: ReadonlyArray<string>) =>
  Effect.promise(async () => {
    const instance = await DuckDBInstance.create(database, { storage_compatibility_version: "latest" })
    const connection = await instance.connect()
    for (const statement of statements) await connection.run(statement)
    await connection.run("CHECKPOINT")
    connection.closeSync()
    instance.closeSync()
  })

const look = Effect.fnUntraced(function* (database: string, sources: ReadonlyArray<string> = []) {
  const result = yield* Effect.result(verify({ database, sources }))
  return Result.isSuccess(result)
    ? { isFound: result.success.findings.length > 0, findings: result.success.findings }
    : { isFound: true, findings: [] }
})

/** Tables of each sort: of documents, of entities, of revisions, of the ledger. */
const tables = ["claims", "links", "cohort_members", "part_texts", "revisions", "commits", "migration_items"]

describe("a table that another program changes as a whole", () => {
  for (const table of tables) {
    it.live(
      `is found, or the database is refused: ${table} emptied, dropped, without a column`,
      () =>
        Effect.gen(function* () {
          const { database, folder } = yield* migrated(variedSources, { verify: false })
          assert.include([...tableNames], table)
          const last = tableColumns(table).at(-1)?.name ?? ""
          for (const statement of [
            `DELETE FROM mallard.${table}`,
            `DROP TABLE mallard.${table} CASCADE`,
            `ALTER TABLE mallard.${table} DROP COLUMN "${last}"`
          ]) {
            const copy = join(folder, "copy.duckdb")
            copyFileSync(database, copy)
            yield* change(copy, statement)
            assert.isTrue((yield* look(copy)).isFound, statement)
          }
        }),
      180_000
    )
  }
})

describe("a cohort whose revision is taken out, with what the ledger says of it", () => {
  it.live(
    "is named by comparing with the sources",
    () =>
      Effect.gen(function* () {
        const { database, source } = yield* migrated({
          "a.json": cohortFile("a", "p1"),
          "b.json": cohortFile("b", "p2")
        })
        yield* change(
          database,
          "DELETE FROM mallard.migration_items WHERE path LIKE '%b.json'",
          "DELETE FROM mallard.revisions WHERE name = 'b'"
        )
        const { findings } = yield* look(database, [source])
        const named = findings.filter(({ code }) => code === "source-not-stored").map(({ where }) => where)
        assert.deepStrictEqual(named, [join(source, "b.json")])
      }),
    180_000
  )
})
