import { assert, describe, it, layer } from "@effect/vitest"
import { DuckDBInstance } from "@duckdb/node-api"
import { idColumns, openStore, queryRows, tableColumns, tableNames, verifyDatabase, type VerifyReport } from "@mallard/duckdb-store"
import { kinds } from "@mallard/schema"
import { type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { tempDirectory, writeFiles } from "@mallard/testkit"
import { Context, Effect, Layer, Result } from "effect"
import * as fc from "fast-check"
import { copyFileSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { verify } from "@mallard/migrator"
import { cohortFile, everyKind, variedSources } from "./fixtures.ts"
import { run } from "./support.ts"

/**
 * A database with rows in every table that migration fills: every kind with every column, nested children, elements of no
 * kind, a folder, several revisions of one cohort, a deleted one, rejected and skipped items.
 */
const build = Effect.fnUntraced(function* (folder: string) {
  const database = join(folder, "verify.duckdb")
  const source = join(folder, "source")
  yield* Effect.promise(() => writeFiles(source, { ...variedSources, "every kind.json": everyKind, "bad.json": "{" }))
  yield* run(database, [source])
  yield* Effect.promise(() =>
    writeFiles(source, {
      "plain.json": cohortFile("plain", "p9"),
      "clash 1.json": cohortFile("clash", "c1"),
      "clash 2.json": cohortFile("clash", "c2")
    })
  )
  const report = yield* run(database, [source], { onConflict: "replace", sizes: { batchFiles: 1 } })
  assert.strictEqual(report.verification.mismatched, 0)
  return { database, source }
})

class Store extends Context.Service<Store, { readonly client: DuckDbSqlClient; readonly rows: ReadonlyMap<string, number> }>()("Store") {
  static readonly layer = Layer.effect(
    Store,
    Effect.gen(function* () {
      const { database } = yield* build(yield* tempDirectory)
      const client = yield* openStore({ path: database })
      yield* client.unsafe("CREATE SCHEMA kept")
      const rows = new Map<string, number>()
      for (const table of tableNames) {
        const [row] = yield* queryRows(client, `SELECT count(*) FROM mallard.${table}`)
        rows.set(table, Number(row?.[0]))
      }
      return { client, rows }
    })
  )
}

/** Verifies the database as statements leave it, and puts the tables back as they were. */
const verifyAfter = Effect.fnUntraced(function* (...statements: ReadonlyArray<string>) {
  const { client } = yield* Store
  const tables = new Set(statements.map((statement) => /^(?:UPDATE|DELETE FROM|INSERT INTO) mallard\.(\w+)/.exec(statement)?.[1] ?? ""))
  for (const table of tables) yield* client.unsafe(`CREATE OR REPLACE TABLE kept.${table} AS FROM mallard.${table}`)
  for (const statement of statements) yield* client.unsafe(statement)
  const report = yield* verifyDatabase(client)
  for (const table of tables) {
    yield* client.unsafe(`TRUNCATE mallard.${table}`)
    yield* client.unsafe(`INSERT INTO mallard.${table} FROM kept.${table}`)
  }
  return report
})

const describeFindings = ({ findings }: VerifyReport): string => findings.slice(0, 5).map(({ code, where }) => `${code} ${where}`).join("; ")

const other = (column: string, type: string): string => {
  const name = `"${column}"`
  if (type === "VARCHAR") return `coalesce(${name}, '') || 'x'`
  if (type === "JSON") return `'[' || coalesce(${name}, '0') || ']'`
  if (type === "UUID") return "'00000000-0000-4000-8000-00000000000f'::UUID"
  if (type === "BOOLEAN") return `NOT coalesce(${name}, false)`
  if (type === "TIMESTAMP") return `coalesce(${name}, TIMESTAMP '2020-01-01') + INTERVAL 1 SECOND`
  if (type === "DATE") return `coalesce(${name}, DATE '2020-01-01') + 1`
  return `coalesce(${name}, 0) + 1`
}

const isKind = (table: string): boolean => kinds.some((kind) => kind.table === table)
/** Tables whose rows other rows point to by an id that a row of their own carries. */
const fixed = tableNames.filter((table) => !isKind(table))

const assertFound = (report: VerifyReport, where: RegExp, what: string): void => {
  assert.isAbove(report.mismatched, 0, `${what} is not found`)
  assert.isTrue(
    report.findings.some((finding) => where.test(finding.where)),
    `${what}: ${describeFindings(report)}`
  )
}

/** Where a change in a table may be seen: in the table itself, or in what it is part of. */
const seenIn: Readonly<Record<string, string>> = {
  part_texts: "part_texts|parts",
  cohort_members: "cohort_members|parts",
  collections: "collections|parts"
}

const whereOf = (table: string): RegExp => new RegExp(`^mallard\\.(?:${seenIn[table] ?? table})\\b`)

describe("verify", () => {
  layer(Store.layer, { timeout: "2 minutes" })("on a database of every sort of row", (it) => {
    it.effect("finds nothing in what migrations wrote", () =>
      Effect.gen(function* () {
        const { rows } = yield* Store
        const report = yield* verifyAfter()
        assert.deepStrictEqual([report.mismatched, report.findings], [0, []])
        // Nothing but these has no rows to change.
        const empty = [...rows].filter(([, count]) => count === 0).map(([table]) => table)
        assert.deepStrictEqual(empty, ["data_integrity_checks", "migration_backups"])
      })
    )

    // The first column of each kind, then the second of each kind, and so on: the kinds do not touch each other here.
    const widest = Math.max(...kinds.map(({ table }) => tableColumns(table).length))
    const changed = (index: number, kindsChanged: typeof kinds, set: (column: string, type: string) => string, rowOf: (table: string, column: string) => string) =>
      kindsChanged.flatMap((kind) => {
        const column = tableColumns(kind.table)[index]
        return column === undefined || column.name === "entity_id"
          ? []
          : [{ kind, column, statement: `UPDATE mallard.${kind.table} SET "${column.name}" = ${set(column.name, column.type)} WHERE rowid = (${rowOf(kind.table, column.name)})` }]
      })
    const rowWith = (condition: string) => (table: string, column: string) =>
      `SELECT min(e.rowid) FROM mallard.${table} e JOIN mallard.cohort_members m ON m.entity_id = e.entity_id AND m.content_id = (SELECT content_id FROM mallard.revisions WHERE name = 'every kind') AND m.kind = (SELECT code FROM mallard.kinds WHERE table_name = '${table}') WHERE e."${column}" ${condition}`
    const hits = (table: string, column: string): RegExp => new RegExp(`^mallard\\.${table}\\b.*(?:entity_id \\d+|column ${column})`)

    for (let index = 1; index < widest; index++) {
      it.effect(`finds a changed value in column ${index} of each kind`, () =>
        Effect.gen(function* () {
          const changes = changed(index, kinds, other, rowWith("IS NOT NULL"))
          const { client } = yield* Store
          const statements: Array<typeof changes[number]> = []
          for (const change of changes) {
            const [row] = yield* queryRows(client, rowWith("IS NOT NULL")(change.kind.table, change.column.name))
            if (row?.[0] !== null) statements.push(change)
          }
          if (statements.length === 0) return
          const report = yield* verifyAfter(...statements.map(({ statement }) => statement))
          for (const { column, kind } of statements) assertFound(report, hits(kind.table, column.name), `${kind.table}.${column.name}`)
        })
      )

      it.effect(`finds a value that no source gave in column ${index} of each kind`, () =>
        Effect.gen(function* () {
          const changes = changed(index, kinds, other, rowWith("IS NULL"))
          const { client } = yield* Store
          const statements: Array<typeof changes[number]> = []
          for (const change of changes) {
            const [row] = yield* queryRows(client, rowWith("IS NULL")(change.kind.table, change.column.name))
            if (row?.[0] !== null) statements.push(change)
          }
          if (statements.length === 0) return
          const report = yield* verifyAfter(...statements.map(({ statement }) => statement))
          for (const { column, kind } of statements) assertFound(report, hits(kind.table, column.name), `${kind.table}.${column.name}`)
        })
      )
    }

    it.effect("finds a value that was taken away from each kind, column by column", () =>
      Effect.gen(function* () {
        const { client } = yield* Store
        for (const index of [3, 4, 5, 6]) {
          const statements: Array<{ readonly table: string; readonly column: string; readonly sql: string }> = []
          for (const { table } of kinds) {
            const column = tableColumns(table)[index]
            if (column === undefined || !column.nullable) continue
            const row = rowWith("IS NOT NULL")(table, column.name)
            const [found] = yield* queryRows(client, row)
            if (found?.[0] === null) continue
            statements.push({ table, column: column.name, sql: `UPDATE mallard.${table} SET "${column.name}" = NULL WHERE rowid = (${row})` })
          }
          const report = yield* verifyAfter(...statements.map(({ sql }) => sql))
          for (const { column, table } of statements) assertFound(report, hits(table, column), `${table}.${column}`)
        }
      })
    )

    for (const [what, statement] of [
      ["a lost row", (table: string) => `DELETE FROM mallard.${table} WHERE rowid = (SELECT max(rowid) FROM mallard.${table})`],
      ["a doubled row", (table: string) => `INSERT INTO mallard.${table} SELECT * FROM mallard.${table} WHERE rowid = (SELECT max(rowid) FROM mallard.${table})`],
      [
        "an added row",
        (table: string) =>
          `INSERT INTO mallard.${table} SELECT * REPLACE (entity_id + 1 AS entity_id, uuid() AS digest) FROM mallard.${table} WHERE entity_id = (SELECT max(entity_id) FROM mallard.${table})`
      ],
      [
        "a row in place of another",
        (table: string) => `UPDATE mallard.${table} SET entity_id = 1000000 WHERE entity_id = 1`
      ]
    ] as const) {
      it.effect(`finds ${what} of each kind`, () =>
        Effect.gen(function* () {
          const report = yield* verifyAfter(...kinds.map(({ table }) => statement(table)))
          for (const { table } of kinds) assertFound(report, whereOf(table), `${what} of ${table}`)
        })
      )
    }

    it.effect("finds two rows of each kind whose values are swapped, and two whose ids are", () =>
      Effect.gen(function* () {
        const swap = (table: string, columns: ReadonlyArray<string>) =>
          `UPDATE mallard.${table} a SET ${columns.map((name) => `"${name}" = b."${name}"`).join(", ")} FROM mallard.${table} b WHERE a.entity_id < 3 AND b.entity_id = 3 - a.entity_id`
        const values = yield* verifyAfter(
          ...kinds.map(({ columns, table }) => swap(table, ["shape_id", ...columns.map(({ name }) => name), "extra"]))
        )
        for (const { table } of kinds) assertFound(values, new RegExp(`^mallard\\.${table} entity_id`), `swapped values of ${table}`)
        for (const { table } of kinds) {
          const ids = yield* verifyAfter(swap(table, ["entity_id"]))
          assert.isAbove(ids.mismatched, 0, `swapped ids of ${table}`)
        }
      })
    )

    for (const table of fixed) {
      it.effect(`finds every change of ${table}`, () =>
        Effect.gen(function* () {
          const { rows } = yield* Store
          const isEmpty = rows.get(table) === 0
          const columns = tableColumns(table)
          const last = `rowid = (SELECT max(rowid) FROM mallard.${table})`
          const defaults = columns.map(({ type }) =>
            type === "UUID" ? "uuid()" : type === "TIMESTAMP" ? "TIMESTAMP '2026-01-01'" : type === "VARCHAR" ? "'x'" : type === "BOOLEAN" ? "true" : "1"
          )
          const changes: Array<readonly [string, ...ReadonlyArray<string>]> = [
            ["an added row", `INSERT INTO mallard.${table} VALUES (${defaults.join(", ")})`]
          ]
          if (!isEmpty) {
            changes.push(
              ["a lost row", `DELETE FROM mallard.${table} WHERE ${last}`],
              ["the first row lost", `DELETE FROM mallard.${table} WHERE rowid = (SELECT min(rowid) FROM mallard.${table})`],
              ["a doubled row", `INSERT INTO mallard.${table} SELECT * FROM mallard.${table} WHERE ${last}`],
              ["all rows lost", `DELETE FROM mallard.${table}`]
            )
            for (const { name, nullable, type } of columns) {
              changes.push([`another ${name}`, `UPDATE mallard.${table} SET "${name}" = ${other(name, type)} WHERE ${last}`])
              changes.push([
                `another ${name} in the first row`,
                `UPDATE mallard.${table} SET "${name}" = ${other(name, type)} WHERE rowid = (SELECT min(rowid) FROM mallard.${table})`
              ])
              if (nullable) {
                changes.push([`no ${name}`, `UPDATE mallard.${table} SET "${name}" = NULL WHERE rowid = (SELECT min(rowid) FROM mallard.${table} WHERE "${name}" IS NOT NULL)`])
              }
            }
          }
          const { client } = yield* Store
          for (const [what, ...statements] of changes) {
            if (what.startsWith("no ")) {
              const column = what.slice(3)
              const [any] = yield* queryRows(client, `SELECT count("${column}") FROM mallard.${table}`)
              if (Number(any?.[0]) === 0) continue
            }
            assertFound(yield* verifyAfter(...statements), whereOf(table), `${what} of ${table}`)
          }
        })
      )

      it.effect(`finds values of ${table} that are swapped between two rows`, () =>
        Effect.gen(function* () {
          const { client, rows } = yield* Store
          if ((rows.get(table) ?? 0) < 2) return
          const id = idColumns.get(table)
          for (const { name } of tableColumns(table)) {
            // Two rows with different values there.
            const [pair] = yield* queryRows(
              client,
              `SELECT min(a.rowid), max(b.rowid) FROM mallard.${table} a JOIN mallard.${table} b ON b.rowid = (SELECT max(rowid) FROM mallard.${table}) WHERE a."${name}" IS DISTINCT FROM b."${name}"`
            )
            const [first, second] = pair ?? []
            if (first === null || first === undefined) continue
            const report = yield* verifyAfter(
              `UPDATE mallard.${table} a SET "${name}" = b."${name}" FROM mallard.${table} b WHERE a.rowid IN (${String(first)}, ${String(second)}) AND b.rowid = ${String(first)} + ${String(second)} - a.rowid`
            )
            assert.isAbove(report.mismatched, 0, `${table}.${name}`)
            if (name !== id) assertFound(report, whereOf(table), `swapped ${name} of ${table}`)
          }
        })
      )
    }

    it.effect("finds whole collections whose elements changed places, wherever they stand", () =>
      Effect.gen(function* () {
        const reversed = yield* verifyAfter(
          `UPDATE mallard.cohort_members m SET ordinal = t.top - m.ordinal FROM (SELECT content_id, part, collection, max(ordinal) AS top FROM mallard.cohort_members GROUP BY ALL) t WHERE t.content_id = m.content_id AND t.part = m.part AND t.collection = m.collection AND t.top > 0`
        )
        assertFound(reversed, whereOf("cohort_members"), "reversed lists")
        const children = yield* verifyAfter(
          `UPDATE mallard.links l SET ordinal = t.top - l.ordinal, pointer = regexp_replace(l.pointer, '[0-9]+$', (t.top - l.ordinal)::VARCHAR) FROM (SELECT parent_kind, parent_entity_id, collection, max(ordinal) AS top FROM mallard.links GROUP BY ALL) t WHERE t.parent_kind = l.parent_kind AND t.parent_entity_id = l.parent_entity_id AND t.collection = l.collection AND t.top > 0`
        )
        assert.isAbove(children.mismatched, 0)
      })
    )
  })
})

/** Runs statements on a database file by DuckDB alone, and closes it. */
const change = Effect.fnUntraced(function* (database: string, ...statements: ReadonlyArray<string>) {
  yield* Effect.promise(async () => {
    const instance = await DuckDBInstance.create(database, { storage_compatibility_version: "latest" })
    const connection = await instance.connect()
    for (const statement of statements) await connection.run(statement)
    await connection.run("CHECKPOINT")
    connection.closeSync()
    instance.closeSync()
  })
})

describe("verify as a command", () => {
  it.live("compares the files of the sources, and finds changes that another program makes to the database", () =>
    Effect.gen(function* () {
      const folder = yield* tempDirectory
      const { database, source } = yield* build(folder)
      rmSync(join(source, "bad.json"))
      for (const name of ["clash 1.json", "clash 2.json"]) rmSync(join(source, name))
      const sound = yield* verify({ database, sources: [source] })
      assert.deepStrictEqual([sound.mismatched, sound.findings], [0, []])
      assert.deepStrictEqual(sound.sources, { checked: 7, matched: 7, mismatched: 0 })

      const original = readFileSync(join(source, "odd.json"))
      writeFileSync(join(source, "odd.json"), original.toString("utf8").replace("1e400", "1e401"))
      const changed = yield* verify({ database, sources: [source] })
      assert.deepStrictEqual(
        changed.findings.map(({ code, where }) => [code, where]),
        [["source-changed", join(source, "odd.json")]]
      )
      writeFileSync(join(source, "odd.json"), original)

      for (const [statement, where] of [
        ["UPDATE mallard.claims SET total_charge = 10.51 WHERE entity_id = (SELECT max(entity_id) FROM mallard.claims WHERE total_charge = 10.5)", "mallard.claims"],
        ["UPDATE mallard.members SET relationship_code = '18' WHERE relationship_code = '01'", "mallard.members"],
        ["DELETE FROM mallard.links WHERE rowid = (SELECT min(rowid) FROM mallard.links)", "mallard.links"],
        ["UPDATE mallard.migration_items SET outcome = 'unchanged' WHERE outcome = 'rejected'", "mallard.migration_items"]
      ] as const) {
        const copy = join(folder, "copy.duckdb")
        copyFileSync(database, copy)
        yield* change(copy, statement)
        const report = yield* verify({ database: copy, sources: [] })
        assert.isAbove(report.mismatched, 0, statement)
        assert.isTrue(
          report.findings.some((finding) => finding.where.startsWith(where)),
          `${statement}: ${describeFindings(report)}`
        )
      }
    })
  )

  it.live("finds a file that is cut short, and flipped bits, or is not harmed by them", () =>
    Effect.gen(function* () {
      const folder = yield* tempDirectory
      const { database } = yield* build(folder)
      const copy = join(folder, "copy.duckdb")
      const size = statSync(database).size
      const look = Effect.gen(function* () {
        const result = yield* Effect.result(verify({ database: copy, sources: [] }))
        if (Result.isSuccess(result)) return result.success.mismatched > 0 ? "found" : "sound"
        const error = result.failure
        if (error._tag === "StoreError") return error.reason
        return error._tag
      })
      for (const part of [0, 0.3, 0.7, 0.95]) {
        copyFileSync(database, copy)
        truncateSync(copy, Math.floor(size * part))
        assert.notStrictEqual(yield* look, "sound", `cut to ${part}`)
      }
      const seen = new Set<string>()
      const positions = fc.sample(fc.integer({ min: 0, max: size - 1 }), { seed: 7, numRuns: 16 })
      const before = yield* Effect.sync(() => readFileSync(database))
      for (const position of [12, 4100, 8200, ...positions]) {
        const bytes = Buffer.from(before)
        bytes[position] = (bytes[position] ?? 0) ^ 0x40
        writeFileSync(copy, bytes)
        const found = yield* look
        seen.add(found)
        assert.include(["found", "sound", "damaged", "not-a-database", "newer", "MigrationFailed"], found, `byte ${position}`)
      }
      // Most of a small file is empty space, which nothing reads.
      assert.isTrue(seen.has("damaged") || seen.has("not-a-database"), [...seen].join())
    })
  )
})
