import { assert, describe, it } from "@effect/vitest"
import { kinds } from "@mallard/schema"
import { Effect } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import {
  cohortStatements,
  createTablesSql,
  createViewsSql,
  digestedTableNames,
  fixedTableNames,
  ledgerStatements,
  maintenanceStatements,
  migrationStatements,
  runStatements,
  sourceStatements,
  storedKinds,
  tableColumns,
  tableNames,
  undoStatements
} from "../src/index.ts"
import { inNewStore, valuesOf } from "./support.ts"

const source = join(import.meta.dirname, "..", "src")

/** The modules with statements of ours; those of the query tool name what statements of others may have. */
const modules = readdirSync(source, { recursive: true, encoding: "utf8" }).filter(
  (file) => file.endsWith(".ts") && !/\bquery-[a-z]+\.ts$/.test(file)
)

/** A module without its comments. */
const codeOf = (file: string) =>
  readFileSync(join(source, file), "utf8")
    .replace(/\/\*[^]*?\*\//g, "")
    .replace(/(^|\s)\/\/.*$/gm, "")

const forbidden = [
  /\bPRIMARY\s+KEY\b/,
  /\bUNIQUE\b/,
  /\bREFERENCES\b/,
  /\bFOREIGN\s+KEY\b/,
  /\bCREATE\s+(UNIQUE\s+)?INDEX\b/,
  /\bSEQUENCE\b/,
  /\bNEXTVAL\b/i,
  /\bON\s+CONFLICT\b/,
  /\bINSERT\s+OR\b/,
  /\bRETURNING\b/,
  /\bENUM\b/,
  /\bU?HUGEINT\b/,
  /\bDEFAULT\b/,
  /\bCHECK\s*\(/
]

const changing = [/\bUPDATE\b/, /\bDELETE\b/, /\bTRUNCATE\b/, /\bMERGE\b/, /\bDROP\b/]

describe("statements", () => {
  const statements = {
    tables: createTablesSql,
    views: createViewsSql(),
    migrations: migrationStatements(),
    ledger: ledgerStatements,
    cohorts: Object.values(cohortStatements),
    runs: Object.values(runStatements),
    sources: Object.values(sourceStatements),
    undo: [undoStatements.ofRun("id"), undoStatements.since(1), undoStatements.live, undoStatements.last]
  }

  it("have none of the words that a shared lakehouse cannot do, and delete nothing", () => {
    for (const [name, texts] of Object.entries(statements)) {
      assert.isAbove(texts.length, 0, name)
      for (const text of texts) {
        for (const word of [...forbidden, ...changing]) assert.notMatch(text, word, name)
      }
    }
    for (const text of maintenanceStatements) for (const word of forbidden) assert.notMatch(text, word)
    assert.isTrue(maintenanceStatements.some((text) => /\bDELETE\b/.test(text)))
  })

  it("in the texts of all modules keep to the same rules, and only Maintenance.ts changes rows", () => {
    assert.include(modules, "Maintenance.ts")
    for (const file of modules) {
      const text = codeOf(file)
      for (const word of forbidden) assert.notMatch(text, word, file)
      if (file !== "Maintenance.ts") for (const word of changing) assert.notMatch(text, word, file)
    }
  })
})

describe("tables", () => {
  it.effect("are in the database as they are declared", () =>
    inNewStore(
      Effect.gen(function* () {
        const found = yield* valuesOf(
          `SELECT table_name, list(column_name || ' ' || data_type || ' ' || is_nullable ORDER BY column_index)
           FROM duckdb_columns() c JOIN duckdb_tables() t USING (schema_name, table_name)
           WHERE schema_name = 'mallard' GROUP BY table_name`
        )
        const declared = tableNames.map((table) => [
          table,
          tableColumns(table).map(({ name, type, nullable }) => `${name} ${type} ${nullable}`)
        ])
        const byName = (left: ReadonlyArray<unknown>, right: ReadonlyArray<unknown>) =>
          String(left[0]) < String(right[0]) ? -1 : 1
        assert.deepStrictEqual(found.toSorted(byName), declared.toSorted(byName))
        assert.deepStrictEqual(yield* valuesOf("SELECT * FROM duckdb_indexes()"), [])
        assert.deepStrictEqual(yield* valuesOf("SELECT * FROM duckdb_sequences()"), [])
        assert.deepStrictEqual(
          yield* valuesOf(
            "SELECT DISTINCT constraint_type FROM duckdb_constraints() WHERE schema_name = 'mallard' ORDER BY 1"
          ),
          [["NOT NULL"]]
        )
      })
    )
  )

  it.effect("of kinds are listed in a table", () =>
    inNewStore(
      Effect.gen(function* () {
        assert.deepStrictEqual(
          yield* valuesOf("SELECT code, kind, table_name FROM mallard.kinds ORDER BY code"),
          [...storedKinds].sort((a, b) => a.code - b.code).map(({ code, kind, table }) => [code, kind, table])
        )
      })
    )
  )

  it("have names of their own, and the digest of a row is its last column", () => {
    assert.strictEqual(new Set(tableNames).size, tableNames.length)
    assert.strictEqual(tableNames.length, kinds.length + 1 + fixedTableNames.length)
    for (const table of digestedTableNames) assert.strictEqual(tableColumns(table).at(-1)?.name, "row_digest")
    assert.throws(() => tableColumns("nothing"), RangeError)
  })

  it("are described on the page of the data model, column by column", () => {
    const page = readFileSync(join(source, "..", "..", "..", "docs", "data-model.md"), "utf8")
    for (const table of [...fixedTableNames, "json_values"]) {
      const line = page.split("\n").find((text) => text.startsWith(`| \`mallard.${table}\` |`)) ?? ""
      const columns = [...line.slice(line.indexOf("|", 2)).matchAll(/`([a-z0-9_]+) ([A-Z]+)(!?)`/g)].map(
        ([, name, type, required]) => `${name} ${type}${required}`
      )
      assert.deepStrictEqual(
        columns,
        tableColumns(table).map(({ name, type, nullable }) => `${name} ${type}${nullable ? "" : "!"}`),
        table
      )
    }
  })
})
