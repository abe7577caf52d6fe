/** Verification of what rows say of each other: nothing points to a row that is not there, and no row belongs to nothing. */
import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { queryRows } from "../Rendering.ts"
import { quoteName } from "../Quoting.ts"
import { idColumns, storedKinds } from "../Tables.ts"
import type { Findings } from "./findings.ts"

/**
 * How many different numbers from 1 to `most` the ids are. A bit for each, because a hash table of them takes five times
 * as long.
 */
const distinctIds = (id: string, most: number): string =>
  `coalesce(bit_count(bitstring_agg(CASE WHEN ${id} BETWEEN 1 AND ${most} THEN ${id} END, 1, ${most})), 0)`

/** The tables whose ids are the numbers from 1 to the count of their rows, each once. */
export const denseTables = Effect.fnUntraced(function* (client: DuckDbSqlClient, counts: ReadonlyMap<string, number>) {
  const filled = [...idColumns].filter(([table]) => counts.get(table) !== 0)
  const statements = filled.map(
    ([table, id]) => `SELECT '${table}', ${distinctIds(id, counts.get(table)!)} FROM mallard.${quoteName(table)}`
  )
  if (statements.length === 0) return new Set<string>()
  const rows = yield* queryRows(client, statements.join(" UNION ALL "))
  return new Set(
    rows.flatMap(([table, distinct]) => (Number(distinct) === counts.get(String(table)) ? [String(table)] : []))
  )
})

/** Members and links, as rows of kind and entity. */
const referencesSql =
  "(SELECT kind, entity_id FROM mallard.cohort_members UNION ALL SELECT child_kind, child_entity_id FROM mallard.links)"

/** The ids that rows of one kind point to; `distinct` counts those that the largest table of a kind can have. */
interface IdRange {
  readonly lowest: number
  readonly highest: number
  readonly distinct: number
}

const NO_IDS: IdRange = { lowest: 1, highest: 0, distinct: 0 }

const byKind = (rows: ReadonlyArray<ReadonlyArray<unknown>>): ReadonlyMap<number, IdRange> =>
  new Map(
    rows.map((row) => {
      const [code = 0, lowest = 0, highest = 0, distinct = 0] = row.map(Number)
      return [code, { lowest, highest, distinct }]
    })
  )

export const checkReferences = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  counts: ReadonlyMap<string, number>,
  dense: ReadonlySet<string>,
  findings: Findings
) {
  const count = Effect.fnUntraced(function* (sql: string) {
    return Number((yield* queryRows(client, sql))[0]?.[0] ?? 0)
  })
  const most = Math.max(1, ...storedKinds.map(({ table }) => counts.get(table) ?? 0))
  const references = byKind(
    yield* queryRows(
      client,
      `SELECT kind, min(entity_id), max(entity_id), ${distinctIds("entity_id", most)} FROM ${referencesSql} GROUP BY kind`
    )
  )
  const parents = byKind(
    yield* queryRows(
      client,
      "SELECT parent_kind, min(parent_entity_id), max(parent_entity_id), 0 FROM mallard.links GROUP BY parent_kind"
    )
  )
  for (const { code, table } of storedKinds) {
    const rows = counts.get(table) ?? 0
    const isWithin = ({ highest, lowest }: IdRange): boolean => lowest >= 1 && highest <= rows
    const isSound = rows === 0 || dense.has(table)
    const pointedTo = references.get(code) ?? NO_IDS
    // Ids that are the numbers from 1 on need no look at the rows: their bounds and their number say it all.
    if (!(isSound && isWithin(pointedTo))) {
      const missing = yield* count(
        `SELECT count(*) FROM ${referencesSql} r ANTI JOIN mallard.${quoteName(table)} e ON e.entity_id = r.entity_id WHERE r.kind = ${code}`
      )
      if (missing > 0)
        findings.add(
          "reference-broken",
          `mallard.${table}`,
          `${missing} members or links point to rows that do not exist`
        )
    }
    if (!(isSound && isWithin(pointedTo) && pointedTo.distinct === rows)) {
      const unused = yield* count(
        `SELECT count(*) FROM mallard.${quoteName(table)} e ANTI JOIN (SELECT entity_id FROM ${referencesSql} WHERE kind = ${code}) r ON e.entity_id = r.entity_id`
      )
      if (unused > 0) findings.add("entity-unused", `mallard.${table}`, `${unused} rows belong to no document`)
    }
    if (!(isSound && isWithin(parents.get(code) ?? NO_IDS))) {
      const hanging = yield* count(
        `SELECT count(*) FROM mallard.links l ANTI JOIN mallard.${quoteName(table)} e ON e.entity_id = l.parent_entity_id WHERE l.parent_kind = ${code}`
      )
      if (hanging > 0)
        findings.add("reference-broken", "mallard.links", `${hanging} links hang on rows of ${table} that do not exist`)
    }
  }
  const codes = new Set(storedKinds.map(({ code }) => code))
  if ([...references.keys(), ...parents.keys()].some((code) => !codes.has(code)))
    findings.add("reference-broken", "mallard.kinds", "members or links are of a kind that does not exist")
  const kindsFound = yield* queryRows(client, "SELECT code, kind, table_name FROM mallard.kinds ORDER BY code")
  const same =
    kindsFound.length === storedKinds.length &&
    [...storedKinds]
      .sort((a, b) => a.code - b.code)
      .every(({ code, kind, table }, at) => {
        const row = kindsFound[at]!
        return Number(row[0]) === code && row[1] === kind && row[2] === table
      })
  if (!same) findings.add("row-changed", "mallard.kinds", "the list of kinds is not that of this program")
  const dangling = yield* count(
    `SELECT count(*) FROM (SELECT content_id, part FROM mallard.part_texts UNION ALL SELECT content_id, part FROM mallard.collections UNION ALL SELECT content_id, part FROM mallard.cohort_members) x ANTI JOIN mallard.parts p ON p.content_id = x.content_id AND p.part = x.part`
  )
  if (dangling > 0)
    findings.add("reference-broken", "mallard.parts", `${dangling} rows belong to parts that do not exist`)
  const pieces = yield* count(
    `SELECT count(*) FROM (SELECT content_id, part, count(*) AS n, max(piece) AS top, count(DISTINCT piece) AS distinct_pieces FROM mallard.part_texts GROUP BY content_id, part) WHERE n <> top + 1 OR n <> distinct_pieces`
  )
  if (pieces > 0)
    findings.add(
      "members-out-of-order",
      "mallard.part_texts",
      `${pieces} documents have pieces that are not numbered from 0 without gaps`
    )
  const contents = yield* count(
    `SELECT count(*) FROM mallard.revisions r ANTI JOIN mallard.parts p ON p.content_id = r.content_id`
  )
  if (contents > 0) findings.add("reference-broken", "mallard.revisions", `${contents} revisions have no parts`)
})
