import { assert, describe, it, layer } from "@effect/vitest"
import { DuckDBConnection, DuckDBInstance } from "@duckdb/node-api"
import {
  digestedTableNames,
  fixedTableNames,
  idColumns,
  openStore,
  queryRows,
  tableColumns,
  verifyDatabase
} from "@mallard/duckdb-store"
import { type EntityKind, kinds } from "@mallard/schema"
import { type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { tempDirectory, writeFiles } from "@mallard/testkit"
import { Context, Effect, Layer, Result } from "effect"
import * as fc from "fast-check"
import { copyFileSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type FullVerifyReport, rollback, verify } from "@mallard/migrator"
import { cohortFile, everyKind, variedSources } from "./fixtures.ts"
import { type Files, folderOf, outcomes, run } from "./support.ts"

/**
 * A database with rows in every table that migration fills: nested children, elements of no kind, a folder, several
 * revisions of one cohort, a deleted one, rejected and skipped items.
 */
const build = Effect.fnUntraced(function* (folder: string, more: Files = {}) {
  const database = join(folder, "verify.duckdb")
  const source = join(folder, "source")
  yield* Effect.promise(() => writeFiles(source, { ...variedSources, "bad.json": "{", ...more }))
  yield* run(database, [source], { verify: false })
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

interface State {
  readonly client: DuckDbSqlClient
  /** The tables of which there is a copy of the rows as they were. */
  readonly kept: Set<string>
}

class Store extends Context.Service<Store, State>()("Store") {
  static readonly layerOf = (more: Files) =>
    Layer.effect(
      Store,
      Effect.gen(function* () {
        const { database } = yield* build(yield* tempDirectory, more)
        const client = yield* openStore({ path: database })
        yield* client.unsafe("CREATE SCHEMA kept")
        return { client, kept: new Set() }
      })
    )
}

/** Verifies the database as statements leave it, and puts the tables back as they were. */
const verifyAfter = Effect.fnUntraced(function* (...statements: ReadonlyArray<string>) {
  const { client, kept } = yield* Store
  const tables = new Set(
    statements.map((statement) => /^(?:UPDATE|DELETE FROM|INSERT INTO) mallard\.(\w+)/.exec(statement)?.[1] ?? "")
  )
  for (const table of tables) {
    if (kept.has(table)) continue
    yield* client.unsafe(`CREATE TABLE kept.${table} AS FROM mallard.${table}`)
    kept.add(table)
  }
  const putBack = Effect.gen(function* () {
    for (const table of tables) {
      yield* client.unsafe(`TRUNCATE mallard.${table}`)
      yield* client.unsafe(`INSERT INTO mallard.${table} FROM kept.${table}`)
    }
  })
  return yield* Effect.gen(function* () {
    for (const statement of statements) yield* client.unsafe(statement)
    return yield* verifyDatabase(client)
  }).pipe(Effect.ensuring(Effect.orDie(putBack)))
})

interface Change {
  readonly table: string
  readonly what: string
  readonly statement: string
}

const firstRow = (table: string): string => `rowid = (SELECT min(rowid) FROM mallard.${table})`
const lastRow = (table: string): string => `rowid = (SELECT max(rowid) FROM mallard.${table})`

const isEmpty = Effect.fnUntraced(function* (table: string) {
  const { client } = yield* Store
  const [row] = yield* queryRows(client, `SELECT count(*) FROM mallard.${table}`)
  return Number(row?.[0]) === 0
})

/** Another value in a column. */
const changesOf = (table: string, column: number, row: (table: string) => string): ReadonlyArray<Change> => {
  const found = tableColumns(table)[column]
  if (found === undefined) return []
  const { name, type } = found
  return [
    {
      table,
      what: `${table}.${name}`,
      statement: `UPDATE mallard.${table} SET "${name}" = ${other(name, type)} WHERE ${row(table)}`
    }
  ]
}

/** No value in a column that may have none. */
const absencesOf = (table: string, column: number): ReadonlyArray<Change> => {
  const found = tableColumns(table)[column]
  if (found?.nullable !== true) return []
  const { name } = found
  const row = `rowid = (SELECT min(rowid) FROM mallard.${table} WHERE "${name}" IS NOT NULL)`
  return [
    { table, what: `no ${table}.${name}`, statement: `UPDATE mallard.${table} SET "${name}" = NULL WHERE ${row}` }
  ]
}

/** A column's values swapped between the last row and the first one that has another value. */
const swapOf = Effect.fnUntraced(function* (table: string, column: number) {
  const { client } = yield* Store
  const name = tableColumns(table)[column]?.name
  if (name === undefined) return []
  const [pair] = yield* queryRows(
    client,
    `SELECT min(a.rowid), max(b.rowid) FROM mallard.${table} a JOIN mallard.${table} b ON b.${lastRow(table)} WHERE a."${name}" IS DISTINCT FROM b."${name}"`
  )
  const [first, second] = pair ?? []
  if (first === null || first === undefined) return []
  const rows = `a.rowid IN (${String(first)}, ${String(second)}) AND b.rowid = ${String(first)} + ${String(second)} - a.rowid`
  const swap: Change = {
    table,
    what: `swapped ${table}.${name}`,
    statement: `UPDATE mallard.${table} a SET "${name}" = b."${name}" FROM mallard.${table} b WHERE ${rows}`
  }
  return [swap]
})

const madeUp = (type: string): string =>
  type === "UUID"
    ? "uuid()"
    : type === "TIMESTAMP"
      ? "TIMESTAMP '2026-01-01'"
      : type === "VARCHAR"
        ? "'x'"
        : type === "BOOLEAN"
          ? "true"
          : "1"

/** The nearest other value: below what most spellings show. */
const leastOther = (name: string, type: string): string => {
  const scale = /^DECIMAL\(\d+,(\d+)\)$/.exec(type)?.[1]
  if (scale !== undefined) return `"${name}" + ${(10 ** -Number(scale)).toFixed(Number(scale))}`
  return type === "TIMESTAMP" ? `"${name}" + INTERVAL 1 MICROSECOND` : other(name, type)
}

/** Makes all changes that change something at once, and asks for a finding about each table. */
const assertAllFound = Effect.fnUntraced(function* (changes: ReadonlyArray<Change>) {
  const { client } = yield* Store
  const made: Array<Change> = []
  for (const change of changes) {
    const [, condition] = / WHERE ((?:rowid|true).*)$/.exec(change.statement) ?? []
    const [row] =
      condition === undefined
        ? [[1]]
        : yield* queryRows(client, `SELECT count(*) FROM mallard.${change.table} WHERE ${condition}`)
    const isInsertOfNothing = change.statement.includes("SELECT *") && (yield* isEmpty(change.table))
    if (Number(row?.[0]) > 0 && !isInsertOfNothing) made.push(change)
  }
  if (made.length === 0) return
  const report = yield* verifyAfter(...made.map(({ statement }) => statement))
  for (const { table, what } of made) assertFound(report, whereOf(table), what)
})

const describeFindings = ({ findings }: Pick<FullVerifyReport, "findings">): string =>
  findings
    .slice(0, 5)
    .map(({ code, where }) => `${code} ${where}`)
    .join("; ")

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

const assertFound = (report: Pick<FullVerifyReport, "findings" | "mismatched">, where: RegExp, what: string): void => {
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
  // A link to another entity shows in the text of the entity that it hangs on.
  links: "links|encounters|claims"
}

const whereOf = (table: string): RegExp => new RegExp(`^mallard\\.(?:${seenIn[table] ?? table})\\b`)

const widestDigested = Math.max(...digestedTableNames.map((table) => tableColumns(table).length))
const widest = Math.max(...kinds.map(({ table }) => tableColumns(table).length))

describe("verify", () => {
  layer(Store.layerOf({ "every kind.json": everyKind }), { timeout: "2 minutes" })(
    "on entities of every kind",
    (it) => {
      it.effect("finds nothing in what migrations wrote", () =>
        Effect.gen(function* () {
          const report = yield* verifyAfter()
          assert.deepStrictEqual([report.mismatched, report.findings], [0, []])
          const { client } = yield* Store
          for (const { table } of kinds) {
            const [row] = yield* queryRows(client, `SELECT count(*) FROM mallard.${table}`)
            assert.isAtLeast(Number(row?.[0]), 9, table)
          }
        })
      )

      // Eight columns of each kind at a time, each in an entity of its own: the findings do not hide each other.
      const members = (kind: Pick<EntityKind, "code">) =>
        `SELECT entity_id FROM mallard.cohort_members WHERE kind = ${kind.code} AND content_id = (SELECT content_id FROM mallard.revisions WHERE name = 'every kind')`

      for (let first = 1; first < widest; first += 8) {
        for (const [what, set] of [
          ["a changed value", other],
          ["the least change of a value", leastOther],
          ["a value that is gone", () => "NULL"]
        ] as const) {
          it.effect(`finds ${what} in columns ${first} to ${Math.min(first + 7, widest - 1)} of each kind`, () =>
            Effect.gen(function* () {
              const { client } = yield* Store
              const changes: Array<{ readonly table: string; readonly column: string; readonly id: number }> = []
              const statements: Array<string> = []
              for (const { table, ...kind } of kinds) {
                const ids = (yield* queryRows(client, `${members(kind)} ORDER BY ordinal LIMIT 8`)).map(([id]) =>
                  Number(id)
                )
                const columns = tableColumns(table).slice(first, first + 8)
                const valued = columns.map(
                  ({ name }, at) => `max("${name}" IS NOT NULL) FILTER (WHERE entity_id = ${ids[at] ?? 0})`
                )
                const [has = []] =
                  columns.length === 0
                    ? []
                    : yield* queryRows(client, `SELECT ${valued.join(", ")} FROM mallard.${table}`)
                const changed = columns.flatMap(({ name, nullable, type }, at) => {
                  const id = ids[at] ?? 0
                  if (has[at] !== true || (what === "a value that is gone" && !nullable)) return []
                  changes.push({ table, column: name, id })
                  return `"${name}" = CASE WHEN entity_id = ${id} THEN ${set(name, type)} ELSE "${name}" END`
                })
                if (changed.length > 0)
                  statements.push(
                    `UPDATE mallard.${table} SET ${changed.join(", ")} WHERE entity_id IN (${ids.join(", ")})`
                  )
              }
              const report = yield* verifyAfter(...statements)
              for (const { column, id, table } of changes) {
                assertFound(
                  report,
                  new RegExp(`^mallard\\.${table} entity_id ${id}\\b`),
                  `${what} of ${table}.${column}`
                )
              }
            })
          )
        }
      }

      it.effect("finds values that no source gave in every column of each kind", () =>
        Effect.gen(function* () {
          const { client } = yield* Store
          const changes: Array<{ readonly table: string; readonly column: string }> = []
          const statements: Array<string> = []
          for (const { table, ...kind } of kinds) {
            const [[id] = []] = yield* queryRows(client, `${members(kind)} ORDER BY ordinal DESC LIMIT 1`)
            const columns = tableColumns(table)
            const [isNull = []] = yield* queryRows(
              client,
              `SELECT ${columns.map(({ name }) => `"${name}" IS NULL`).join(", ")} FROM mallard.${table} WHERE entity_id = ${Number(id)}`
            )
            const changed = columns.filter((_, at) => isNull[at] === true)
            for (const { name } of changed) changes.push({ table, column: name })
            const values = changed.map(({ name, type }) => `"${name}" = ${other(name, type)}`)
            statements.push(`UPDATE mallard.${table} SET ${values.join(", ")} WHERE entity_id = ${Number(id)}`)
          }
          assert.isAbove(changes.length, 400)
          const report = yield* verifyAfter(...statements)
          for (const { column, table } of changes) {
            assertFound(
              report,
              column === "extra" ? whereOf(table) : new RegExp(`^mallard\\.${table} column ${column}$`),
              `${table}.${column}`
            )
          }
        })
      )

      for (const [what, statement] of [
        [
          "a lost row",
          (table: string) => `DELETE FROM mallard.${table} WHERE rowid = (SELECT max(rowid) FROM mallard.${table})`
        ],
        [
          "a doubled row",
          (table: string) =>
            `INSERT INTO mallard.${table} SELECT * FROM mallard.${table} WHERE rowid = (SELECT max(rowid) FROM mallard.${table})`
        ],
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
          for (const { table } of kinds)
            assertFound(values, new RegExp(`^mallard\\.${table} entity_id`), `swapped values of ${table}`)
          const ids = yield* verifyAfter(...kinds.map(({ table }) => swap(table, ["entity_id"])))
          assert.isAbove(ids.mismatched, 0)
          assertFound(ids, /^mallard\.parts /, "swapped ids")
        })
      )
    }
  )

  layer(Store.layerOf({}), { timeout: "2 minutes" })("on documents and the ledger", (it) => {
    it.effect("finds nothing in what migrations wrote, in any table", () =>
      Effect.gen(function* () {
        const report = yield* verifyAfter()
        assert.deepStrictEqual([report.mismatched, report.findings], [0, []])
        const empty: Array<string> = []
        for (const table of fixedTableNames) if (yield* isEmpty(table)) empty.push(table)
        assert.deepStrictEqual(empty, ["migration_backups"])
      })
    )

    it.effect("finds members and links of a kind that does not exist", () =>
      Effect.gen(function* () {
        for (const [table, column] of [
          ["cohort_members", "kind"],
          ["links", "child_kind"],
          ["links", "parent_kind"]
        ] as const) {
          const report = yield* verifyAfter(`UPDATE mallard.${table} SET ${column} = 99 WHERE ${firstRow(table)}`)
          assertFound(report, /^mallard\.kinds$/, `${table}.${column}`)
        }
      })
    )

    // The tables whose rows have digests, all at once: each finding names its table and row.
    it.effect(
      "finds every changed and every missing value in the rows that carry a digest",
      () =>
        Effect.gen(function* () {
          for (let column = 0; column < widestDigested; column++) {
            const changes = digestedTableNames.flatMap((table) => [
              ...changesOf(table, column, firstRow),
              ...changesOf(table, column, lastRow),
              ...absencesOf(table, column)
            ])
            yield* assertAllFound(changes)
          }
        }),
      120_000
    )

    // What documents are made of, one table at a time, as the finding may name the document.
    for (const table of ["json_values", "links", "part_texts", "cohort_members", "kinds"]) {
      it.effect(`finds every changed value of ${table}`, () =>
        Effect.gen(function* () {
          for (let column = 0; column < tableColumns(table).length; column++) {
            yield* assertAllFound(changesOf(table, column, column % 2 === 0 ? firstRow : lastRow))
          }
        })
      )
    }

    for (const tables of [
      ["commits"],
      digestedTableNames.filter((table) => table !== "commits"),
      ["json_values", "links", "kinds"],
      ["part_texts"],
      ["cohort_members"]
    ]) {
      it.effect(`finds rows that are lost, doubled or added: ${tables.join(", ")}`, () =>
        Effect.gen(function* () {
          for (const statementOf of [
            (table: string) =>
              `INSERT INTO mallard.${table} VALUES (${tableColumns(table)
                .map(({ type }) => madeUp(type))
                .join(", ")})`,
            (table: string) => `DELETE FROM mallard.${table} WHERE ${lastRow(table)}`,
            (table: string) => `DELETE FROM mallard.${table} WHERE ${firstRow(table)}`,
            (table: string) => `INSERT INTO mallard.${table} SELECT * FROM mallard.${table} WHERE ${lastRow(table)}`,
            (table: string) => `DELETE FROM mallard.${table} WHERE true`
          ]) {
            const statements = tables.map((table) => ({ table, statement: statementOf(table) }))
            yield* assertAllFound(statements.map((one) => ({ ...one, what: one.statement })))
          }
        })
      )
    }

    it.effect(
      "finds values that are swapped between two rows",
      () =>
        Effect.gen(function* () {
          for (let column = 0; column < widestDigested; column++) {
            yield* assertAllFound((yield* Effect.forEach(digestedTableNames, (table) => swapOf(table, column))).flat())
          }
          for (const table of ["json_values", "links", "part_texts", "cohort_members", "kinds"]) {
            for (let column = 0; column < tableColumns(table).length; column++) {
              for (const swap of yield* swapOf(table, column)) {
                if (tableColumns(table)[column]?.name === idColumns.get(table)) {
                  assert.isAbove((yield* verifyAfter(swap.statement)).mismatched, 0, swap.what)
                } else yield* assertAllFound([swap])
              }
            }
          }
        }),
      120_000
    )

    it.effect("finds garbage where templates, fragments and pointers stand, and is not stopped by it", () =>
      Effect.gen(function* () {
        const places = [
          ["entity_shapes", "template"],
          ["entity_shapes", "filled"],
          ["claims", "extra"],
          ["part_texts", "text"],
          ["json_values", "extra"],
          ["links", "pointer"]
        ] as const
        for (const text of [
          "''",
          "chr(1)",
          "chr(1) || 'list' || chr(1)",
          "'{\"a\\q\":' || chr(1) || 'one' || chr(1) || '}'"
        ]) {
          for (const [table, column] of places) {
            const statement = `UPDATE mallard.${table} SET ${column} = ${text} WHERE ${firstRow(table)} AND ${column} IS DISTINCT FROM ${text}`
            yield* assertAllFound([{ table, what: `${text} as ${table}.${column}`, statement }])
          }
        }
        // Each finding names its table, and where fragments are too many its row.
        const shaped = ["claims", "encounters", "patients", "members"]
        const report = yield* verifyAfter(
          ...shaped.map((table) => `UPDATE mallard.${table} SET shape_id = 0 WHERE ${firstRow(table)}`)
        )
        for (const table of shaped) assertFound(report, new RegExp(`^mallard\\.${table}\\b`), `no shape for ${table}`)
        // One fragment more than the shape asks for, in shapes with none, one and several.
        const { client } = yield* Store
        const rows = yield* Effect.forEach(
          ["members", "claims", "encounters", "patients", "vital_signs"],
          Effect.fnUntraced(function* (table) {
            const ids = yield* queryRows(client, `SELECT min(entity_id) FROM mallard.${table} GROUP BY extra IS NULL`)
            assert.isNotEmpty(ids, table)
            return ids.map(([id]) => ({ table, id: Number(id) }))
          })
        )
        for (const fragment of ["''", "'1'"]) {
          const report = yield* verifyAfter(
            ...rows
              .flat()
              .map(
                ({ id, table }) =>
                  `UPDATE mallard.${table} SET extra = coalesce(extra || chr(10), '') || ${fragment} WHERE entity_id = ${id}`
              )
          )
          for (const { id, table } of rows.flat()) {
            assertFound(report, new RegExp(`^mallard\\.${table} entity_id ${id}\\b`), `${fragment} more in ${table}`)
          }
        }
        const circle = yield* verifyAfter(
          "UPDATE mallard.links SET child_kind = parent_kind, child_entity_id = parent_entity_id WHERE true"
        )
        assertFound(circle, /^mallard\.links/, "entities inside themselves")
      })
    )

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
      assert.deepStrictEqual(sound.sources, { checked: 6, matched: 6, mismatched: 0 })

      const original = readFileSync(join(source, "odd.json"))
      writeFileSync(join(source, "odd.json"), original.toString("utf8").replace("1e400", "1e401"))
      const changed = yield* verify({ database, sources: [source] })
      assert.deepStrictEqual(
        changed.findings.map(({ code, where }) => [code, where]),
        [["source-changed", join(source, "odd.json")]]
      )
      writeFileSync(join(source, "odd.json"), original)

      for (const [statement, where] of [
        [
          "UPDATE mallard.claims SET total_charge = 10.51 WHERE entity_id = (SELECT max(entity_id) FROM mallard.claims WHERE total_charge = 10.5)",
          "mallard.claims"
        ],
        ["UPDATE mallard.members SET relationship_code = '18' WHERE relationship_code = '01'", "mallard.members"],
        ["DELETE FROM mallard.links WHERE rowid = (SELECT min(rowid) FROM mallard.links)", "mallard.links"],
        [
          "UPDATE mallard.migration_items SET outcome = 'unchanged' WHERE outcome = 'rejected'",
          "mallard.migration_items"
        ]
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

  it.live("ends well after a run that did: what it left out as stored already, or as no cohort, is no finding", () =>
    Effect.gen(function* () {
      const unnamed = '{"patients":[{"patient_id":"u"}]}'
      const profile = '{"profile_spec":{"ages":[1,2]}}'
      const { database, folder, source } = yield* folderOf({
        "a.json": cohortFile("one", "p1"),
        "b.json": ` ${cohortFile("one", "p1")}`,
        "profile.json": profile,
        "unnamed.json": unnamed
      })
      const first = yield* run(database, [source])
      assert.deepStrictEqual(outcomes(first), {
        "a.json": "migrated",
        "b.json": "skipped",
        "profile.json": "skipped",
        "unnamed.json": "migrated"
      })
      const findingsOf = (report: FullVerifyReport) =>
        report.findings.map(({ code, where }) => `${where.slice(source.length + 1)} ${code}`)
      const compared = verify({ database, sources: [source] })
      const sound = yield* compared
      assert.deepStrictEqual([findingsOf(sound), sound.findingCount, sound.mismatched], [[], 0, 0])
      assert.deepStrictEqual(sound.sources, { checked: 3, matched: 3, mismatched: 0 })
      assert.deepStrictEqual(
        sound.notes.map(({ code, where }) => [code, where]),
        [["not-a-cohort", join(source, "profile.json")]]
      )

      // A file that came later and has the same name and content is unchanged for a run, and in no ledger.
      writeFileSync(join(source, "later.json"), cohortFile("one", "p1"))
      assert.strictEqual((yield* run(database, [source])).totals.unchanged, 4)
      assert.deepStrictEqual(findingsOf(yield* compared), [])

      // The same text in a file of another name is another cohort where the text gives no name.
      writeFileSync(join(source, "copy of unnamed.json"), unnamed)
      writeFileSync(join(source, "new.json"), cohortFile("new", "p2"))
      writeFileSync(join(source, "new too.json"), cohortFile("new", "p2"))
      writeFileSync(join(source, "b.json"), cohortFile("one", "p3"))
      writeFileSync(join(source, "unnamed.json"), profile)
      const changed = yield* compared
      assert.deepStrictEqual(findingsOf(changed), [
        "b.json source-not-stored",
        "copy of unnamed.json source-not-stored",
        "new too.json source-not-stored",
        "new.json source-not-stored",
        "unnamed.json source-changed"
      ])
      assert.deepStrictEqual(changed.sources, { checked: 7, matched: 2, mismatched: 5 })

      rmSync(join(source, "b.json"))
      yield* run(database, [source])
      const again = yield* compared
      assert.deepStrictEqual(findingsOf(again), [])
      assert.lengthOf(again.notes, 2)

      // To migrate again what is broken would not help.
      writeFileSync(join(source, "a.json"), "{")
      const [broken, ...others] = (yield* compared).findings
      assert.deepStrictEqual([broken?.code, broken?.where, others], ["source-changed", join(source, "a.json"), []])
      assert.match(broken?.message ?? "", /^a run would reject it: .*byte 1/)
      writeFileSync(join(source, "a.json"), cohortFile("one", "p1"))

      // A ledger that cannot be read excuses nothing.
      const copy = join(folder, "copy.duckdb")
      copyFileSync(database, copy)
      yield* change(copy, "UPDATE mallard.migration_items SET entities = 'x' WHERE outcome = 'migrated'")
      const tampered = yield* verify({ database: copy, sources: [source] })
      assert.includeMembers(findingsOf(tampered), ["later.json source-not-stored"])

      // What is undone is not held, whatever a run has said of it.
      yield* rollback({ database, run: first.run, cascade: false, test: false, program: "test" })
      const undone = yield* compared
      assert.deepStrictEqual(findingsOf(undone), ["a.json source-not-stored", "later.json source-not-stored"])
      assert.match(undone.findings[0]?.message ?? "", /^it is not stored any more: undone, deleted or replaced/)
      writeFileSync(join(source, "a.json"), cohortFile("one", "p9"))
      assert.include(findingsOf(yield* compared), "a.json source-changed")
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
        if (error._tag === "MigrationFailed") assert.strictEqual(error.while, "reading")
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
        assert.include(
          ["found", "sound", "damaged", "not-a-database", "newer", "MigrationFailed"],
          found,
          `byte ${position}`
        )
      }
      // Most of a small file is empty space, which nothing reads.
      assert.isTrue(seen.has("damaged") || seen.has("not-a-database"), [...seen].join())
    })
  )
})

/** How many statements an effect makes, and how long the longest is. */
const statementsOf = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const connection = DuckDBConnection.prototype
  const { prepare, run } = connection
  const seen = { count: 0, longest: 0 }
  const note = (sql: string): void => {
    seen.count++
    seen.longest = Math.max(seen.longest, sql.length)
  }
  connection.prepare = function (sql) {
    note(sql)
    return Reflect.apply(prepare, this, [sql])
  }
  connection.run = function (sql, ...others) {
    note(sql)
    return Reflect.apply(run, this, [sql, ...others])
  }
  yield* Effect.ensuring(
    effect,
    Effect.sync(() => Object.assign(connection, { prepare, run }))
  )
  return seen
})

const indexes = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, at) => at)

/** Encounters of a shape each, all with copies; every second one has a time that its column holds only nearly. */
const manyEncounters = (count: number): string =>
  JSON.stringify({
    name: "encounters",
    encounters: indexes(count).map((at) => ({
      encounter_id: `e${at}`,
      patient_id: "p1",
      reason_for_visit: "a cough",
      ...(at % 2 === 0 ? {} : { admission_time: "2024-01-02T03:04:05.123456789" }),
      [`key ${at}`]: at
    }))
  })

/** Claims with a line each: as many of a shape each as with a template of their own, which more than 64 unknown keys bring. */
const manyClaims = (count: number): string => {
  const claim_lines = [{ line_number: 1, charge_amount: 2.5 }]
  const unknown = Object.fromEntries(indexes(65).map((at) => [`unknown ${at}`, at]))
  return JSON.stringify({
    name: "claims",
    claims: [
      ...indexes(count).map((at) => ({ claim_id: `shaped ${at}`, claim_lines, [`key ${at}`]: at })),
      ...indexes(count).map((at) => ({ claim_id: `folded ${at}`, claim_lines, ...unknown }))
    ]
  })
}

const databaseOf = Effect.fnUntraced(function* (text: string) {
  const folder = yield* tempDirectory
  const source = join(folder, "source")
  yield* Effect.promise(() => writeFiles(source, { "many.json": text }))
  const database = join(folder, "many.duckdb")
  yield* run(database, [source], { verify: false })
  return database
})

describe("verify of many shapes", () => {
  it.live(
    "makes statements that do not grow with their number, and finds each copy and each value that was changed",
    () =>
      Effect.gen(function* () {
        const few = yield* databaseOf(manyEncounters(30))
        const many = yield* databaseOf(manyEncounters(600))
        const least = yield* statementsOf(verify({ database: few, sources: [] }))
        const most = yield* statementsOf(verify({ database: many, sources: [] }))
        assert.isAtMost(most.count - least.count, 5)
        assert.isAtMost(most.longest - least.longest, 200)
        yield* change(
          many,
          "UPDATE mallard.encounters SET patient_id = 'other' WHERE encounter_id IN ('e0', 'e598')",
          "UPDATE mallard.encounters SET reason_for_visit = NULL WHERE encounter_id = 'e300'",
          "UPDATE mallard.encounters SET admission_time = admission_time + INTERVAL 1 DAY WHERE encounter_id IN ('e1', 'e599')"
        )
        const { findings } = yield* verify({ database: many, sources: [] })
        assert.deepStrictEqual(
          findings
            .map(({ code, where }) => `${code} ${where}`)
            .toSorted(new Intl.Collator("en", { numeric: true }).compare),
          [
            "copy-changed mallard.encounters entity_id 1 column patient_id",
            "copy-changed mallard.encounters entity_id 2 column admission_time",
            "copy-changed mallard.encounters entity_id 301 column reason_for_visit",
            "copy-changed mallard.encounters entity_id 599 column patient_id",
            "copy-changed mallard.encounters entity_id 600 column admission_time"
          ]
        )
      }),
    120_000
  )

  // Links are compared some 2,000 at a time: each change stands in another part.
  it.live(
    "compares links in parts of the same size, and counts each that stands elsewhere",
    () =>
      Effect.gen(function* () {
        const few = yield* databaseOf(manyClaims(2060))
        const many = yield* databaseOf(manyClaims(2500))
        const least = yield* statementsOf(verify({ database: few, sources: [] }))
        const most = yield* statementsOf(verify({ database: many, sources: [] }))
        assert.isAtMost(most.longest - least.longest, 1000)
        const named = ["shaped 0", "shaped 2499", "folded 0", "folded 2499"]
        const ids = `SELECT entity_id FROM mallard.claims WHERE claim_id IN (${named.map((name) => `'${name}'`).join(", ")})`
        yield* change(
          many,
          `UPDATE mallard.links SET pointer = '/elsewhere/0' WHERE parent_entity_id IN (${ids})`,
          // A row of a shape that does not exist has no places for its links.
          "UPDATE mallard.claims SET shape_id = 1000000 WHERE claim_id = 'shaped 7'"
        )
        const { findings } = yield* verify({ database: many, sources: [] })
        assert.deepStrictEqual(
          findings.filter(({ code }) => code === "link-changed").map(({ message }) => message),
          ["5 links of claims do not stand where their parent's template says"]
        )
      }),
    120_000
  )
})
