/**
 * What the views cost, as ratios to a scan of the physical table that reads every column: `node benchmark/views.ts
 * [members] [cohorts] [rounds]`. Made-up rows, straight from SQL; nothing of this runs in the suite.
 */

import { kindByName, kinds } from "@mallard/schema"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openStore } from "../src/index.ts"

const [members = 1_000_000, cohorts = 200, rounds = 5] = process.argv.slice(2).map(Number)

/** Of all members, and the links below each. */
const shares = { patient: 0.1, encounter: 0.2, lab_result: 0.4, vital_sign: 0.1, claim: 0.2 } as const
const children = [
  { parent: "encounter", child: "diagnosis", each: 2 },
  { parent: "claim", child: "claim_line", each: 2 },
  { parent: "patient", child: "medication", each: 1 }
] as const

const value = (type: string, index: number): string => {
  if (index % 5 === 4) return "NULL"
  if (type === "DATE") return "DATE '2020-01-01' + CAST(i % 1000 AS INTEGER)"
  if (type === "TIMESTAMP") return "TIMESTAMP '2020-01-01' + to_seconds(i)"
  if (type === "VARCHAR") return `'value ' || ((i * ${index + 7}) % ${index % 3 === 0 ? 10_000_019 : 5000})`
  if (type === "BOOLEAN") return "i % 2 = 0"
  if (type === "JSON") return "NULL"
  return `CAST(i % 100 AS ${type})`
}

const fill = (name: string, rows: number) => {
  const kind = kinds.find((candidate) => candidate.kind === name)
  if (kind === undefined) throw new Error(name)
  // A context column that holds nothing makes its context count.
  const cells = kind.columns.map(({ type, context }, index) => (context.length > 0 ? "NULL" : value(type, index)))
  return `INSERT INTO mallard.${kind.table}
    SELECT i, md5('${name}' || i)::UUID, 1 + i % 50, ${cells.join(", ")}, NULL FROM range(1, ${rows + 1}) t(i)`
}

const setUp = Effect.gen(function* () {
  const sql = yield* DuckDbClient
  const run = (statement: string) => sql.unsafe(statement)
  yield* run(`INSERT INTO mallard.revisions SELECT i, uuid(), 1, NULL, NULL, 'saved', 'cohort ' || i, NULL, '[]', NULL,
    NULL, NULL, NULL, TIMESTAMP '2026-01-01', '', i, '' FROM range(1, ${cohorts + 1}) t(i)`)
  yield* run(
    `INSERT INTO mallard.commits SELECT 1, uuid(), NULL, TIMESTAMP '2026-01-01', 'revisions', 1, ${cohorts}, ''`
  )
  yield* run(`INSERT INTO mallard.parts SELECT i, 0, i || '.json', 'json', 0, '', '', 'utf-8', ''
    FROM range(1, ${cohorts + 1}) t(i)`)
  const lists = Object.entries(shares)
  for (const [number, [name, share]] of lists.entries()) {
    const { code, table } = kindByName(name as keyof typeof shares)
    const rows = Math.round(members * share)
    yield* run(fill(name, rows))
    yield* run(
      `INSERT INTO mallard.collections SELECT i, 0, ${number}, '/${table}', true, '' FROM range(1, ${cohorts + 1}) t(i)`
    )
    yield* run(`INSERT INTO mallard.cohort_members
      SELECT 1 + (i - 1) * ${cohorts} // ${rows}, 0, ${number}, i, ${code}, i FROM range(1, ${rows + 1}) t(i)`)
  }
  // One patient and one encounter at the top of each document, so that there is a context.
  for (const [number, name] of (["patient", "encounter"] as const).entries()) {
    const { code } = kindByName(name)
    yield* run(`INSERT INTO mallard.collections SELECT i, 0, ${lists.length + number}, '/${name}', false, ''
      FROM range(1, ${cohorts + 1}) t(i)`)
    yield* run(`INSERT INTO mallard.cohort_members SELECT i, 0, ${lists.length + number}, 0, ${code}, i
      FROM range(1, ${cohorts + 1}) t(i)`)
  }
  for (const { parent, child, each } of children) {
    const rows = Math.round(members * shares[parent]) * each
    yield* run(fill(child, rows))
    yield* run(`INSERT INTO mallard.links SELECT ${kindByName(parent).code}, 1 + (i - 1) // ${each}, 0, (i - 1) % ${each},
      '/list/' || (i - 1) % ${each}, ${kindByName(child).code}, i FROM range(1, ${rows + 1}) t(i)`)
  }
  for (const { code, columns } of kinds) {
    const template = columns.map(({ name }) => `"${name}":' || chr(1) || 'c:${name}' || chr(1) || '`).join(",")
    yield* run(`INSERT INTO mallard.entity_shapes SELECT i, ${code}, '{${template}}', '', '' FROM range(1, 51) t(i)`)
  }
  yield* sql.checkpoint
})

const timed = (statement: string) =>
  Effect.gen(function* () {
    const sql = yield* DuckDbClient
    const started = performance.now()
    yield* sql.unsafe(statement)
    return performance.now() - started
  })

const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

const median = (times: ReadonlyArray<number>): number => times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0

const milliseconds = (time: number): string => time.toFixed(0).padStart(7)

const measure = Effect.gen(function* () {
  const sql = yield* DuckDbClient
  const columnsOf = (schema: string, table: string) =>
    Effect.map(
      sql.unsafe<{ readonly name: string }>(
        "SELECT column_name AS name FROM duckdb_columns() WHERE schema_name = ? AND table_name = ?",
        [schema, table]
      ),
      (rows) => rows.map(({ name }) => `"${name}"`)
    )
  const names = [...Object.keys(shares), ...children.map(({ child }) => child)]
  print(`${members} members of ${cohorts} cohorts; milliseconds, medians of ${rounds}`)
  print("table                scan    all  ratio  count  ratio   one cohort")
  for (const name of names) {
    const table = kinds.find(({ kind }) => kind === name)?.table ?? ""
    const own = yield* columnsOf("mallard", table)
    const shown = yield* columnsOf("main", table)
    const times: Array<ReadonlyArray<number>> = []
    for (let round = 0; round < rounds; round++) {
      times.push([
        yield* timed(`SELECT bit_xor(hash(${own.join(", ")})) FROM mallard.${table}`),
        yield* timed(`SELECT bit_xor(hash(${shown.join(", ")})) FROM main.${table}`),
        yield* timed(`SELECT count(*) FROM main.${table}`),
        yield* timed(`SELECT bit_xor(hash(${shown.join(", ")})) FROM main.${table} WHERE cohort_name = 'cohort 7'`)
      ])
    }
    const [scan = 0, all = 0, count = 0, one = 0] = [0, 1, 2, 3].map((index) =>
      median(times.map((round) => round[index] ?? 0))
    )
    const ratio = (time: number) => (time / scan).toFixed(1).padStart(6)
    print(
      `${table.padEnd(16)}${milliseconds(scan)}${milliseconds(all)}${ratio(all)}${milliseconds(count)}${ratio(count)}${milliseconds(one)}`
    )
  }
  for (const view of ["cohorts", "cohort_entities", "legacy_mappings"]) {
    const shown = yield* columnsOf("main", view)
    const times: Array<number> = []
    for (let round = 0; round < rounds; round++) {
      times.push(yield* timed(`SELECT bit_xor(hash(${shown.join(", ")})) FROM main.${view}`))
    }
    print(`${view.padEnd(16)}${" ".repeat(7)}${milliseconds(median(times))}`)
  }
})

const folder = mkdtempSync(join(tmpdir(), "views-"))
const config = { path: join(folder, "store.duckdb"), memoryLimit: "2GB" }
const inStore = <A, E>(readonly: boolean, effect: Effect.Effect<A, E, DuckDbClient>) =>
  Effect.scoped(
    Effect.flatMap(openStore({ ...config, readonly }), (sql) => Effect.provideService(effect, DuckDbClient, sql))
  )
await Effect.runPromise(
  Effect.andThen(inStore(false, setUp), inStore(true, measure)).pipe(
    Effect.ensuring(Effect.sync(() => rmSync(folder, { recursive: true })))
  )
)
