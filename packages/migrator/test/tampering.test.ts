/** What somebody with a SQL prompt can do to whole tables, rather than to values in their rows: verifying finds it. */
import { DuckDBInstance } from "@duckdb/node-api"
import { tableColumns, tableNames } from "@mallard/duckdb-store"
import {
  isEncrypted,
  listHalted,
  listRejects,
  listRuns,
  listSavepoints,
  listUnfinished,
  restoreOriginals,
  retryOf,
  rollback,
  status,
  storedReport,
  verify
} from "@mallard/migrator"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { copyFileSync } from "node:fs"
import { join } from "node:path"
import { cohortFile, variedSources } from "./fixtures.ts"
import { migrated, run as again } from "./support.ts"

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

describe("a ledger that does not answer", () => {
  it.live("is a database that cannot be read to all that asks it, whatever DuckDB says", () =>
    Effect.gen(function* () {
      const { database, report, source } = yield* migrated({ "a.json": cohortFile("a", "p1") }, { verify: false })
      yield* change(
        database,
        "CREATE OR REPLACE VIEW mallard.recorded_revisions AS SELECT * FROM mallard.revisions WHERE error('secret') IS NULL"
      )
      const { run } = report
      const asked: Readonly<
        Record<string, Effect.Effect<unknown, { readonly _tag: string; readonly message: string }>>
      > = {
        status: status({ database, paths: [], cwd: source }),
        listHalted: listHalted(database),
        listUnfinished: listUnfinished(database),
        isEncrypted: isEncrypted(database, [{ run }]),
        retryOf: retryOf(database, run),
        listRejects: listRejects(database, undefined),
        storedReport: storedReport(database, run),
        listRuns: listRuns(database),
        listSavepoints: listSavepoints(database),
        restoreOriginals: restoreOriginals({ database, run, test: true }),
        rollback: rollback({ database, run, cascade: false, test: false, program: "test" }),
        plan: again(database, [source], { dryRun: true })
      }
      for (const [name, asking] of Object.entries(asked)) {
        const { _tag, message } = yield* Effect.flip(asking)
        assert.deepStrictEqual([name, _tag, message.includes("secret")], [name, "MigrationFailed", false])
        if (name !== "rollback") assert.match(message, /^Reading .+ failed\./, name)
      }
    })
  )
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
