/**
 * What a cohort is like: how many entities of each kind, how far their columns reach, how values are spread, and samples.
 * The same cohort always gives the same summary.
 */

import { type EntityKind, kinds } from "@mallard/schema"
import { type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { hash } from "node:crypto"
import { leaves } from "./internal/jsonScan.ts"
import { makeRenderer } from "./Rendering.ts"
import { quoteName } from "./Quoting.ts"

/** How samples are chosen: as different from each other as can be, by chance that is always the same, or the last stored. */
export type SampleStrategy = "diverse" | "random" | "recent"

export interface SummaryOptions {
  /** Samples per kind; 3 if not given, at most 100. */
  readonly samples?: number | undefined
  /** `diverse` if not given. */
  readonly strategy?: SampleStrategy | undefined
  /** Another seed gives other random samples. */
  readonly seed?: string | undefined
}

/** What the values of a column are like. Values are as SQL writes them; those that a context gives count too. */
export interface ColumnSummary {
  readonly column: string
  readonly type: string
  /** Rows that have a value. */
  readonly count: number
  readonly distinct: number
  /** For numbers and times: the least, the greatest, and the quartiles between, each a value that occurs. */
  readonly range:
    | {
        readonly least: string
        readonly quartiles: ReadonlyArray<string>
        readonly greatest: string
      }
    | undefined
  /** For texts and truth values with few different ones: how often each occurs, the commonest first. */
  readonly values: ReadonlyArray<{ readonly value: string; readonly count: number }> | undefined
}

/** What the entities of one kind are like. */
export interface KindSummary {
  readonly kind: string
  /** Those inside others included. */
  readonly count: number
  /** Columns that have any value. */
  readonly columns: ReadonlyArray<ColumnSummary>
  /** Compact texts. */
  readonly samples: ReadonlyArray<string>
}

const MOST_VALUES = 20
const MOST_SAMPLES = 100
const SAMPLES = 3
/** From so many entities the most different ones are chosen. */
const CANDIDATES = 200

/** Summarises the cohort whose head has these counts. */
export const summarise = Effect.fn("summarise")(function* (
  sql: DuckDbSqlClient,
  cohortId: string,
  counts: Readonly<Record<string, number>>,
  options: SummaryOptions
) {
  const wanted = Math.min(options.samples ?? SAMPLES, MOST_SAMPLES)
  const renderer = wanted > 0 ? yield* makeRenderer(sql) : undefined
  const summaries: Array<KindSummary> = []
  for (const kind of kinds) {
    const count = counts[kind.kind] ?? 0
    if (count === 0) continue
    const columns = yield* columnsOf(sql, kind, cohortId)
    const ids = wanted > 0 ? yield* sampleIds(sql, kind, cohortId, options, wanted) : []
    const texts = renderer === undefined ? new Map<number, string>() : yield* renderer.texts(kind.code, ids)
    const candidates = ids.flatMap((id) => texts.get(id) ?? [])
    const samples = (options.strategy ?? "diverse") === "diverse" ? mostDifferent(candidates, wanted) : candidates
    summaries.push({ kind: kind.kind, count, columns, samples })
  }
  return summaries
})

const hasRange = (type: string): boolean => !["VARCHAR", "JSON", "BOOLEAN"].includes(type)
const hasValues = (type: string): boolean => type === "VARCHAR" || type === "BOOLEAN"

const columnsOf = Effect.fnUntraced(function* (sql: DuckDbSqlClient, kind: EntityKind, cohortId: string) {
  const from = `main.${quoteName(kind.table)} WHERE cohort_id = CAST(? AS UUID)`
  const facts = kind.columns.flatMap(({ name, type }, at) => {
    const column = quoteName(name)
    const text = (expression: string) => `CAST(${expression} AS VARCHAR)`
    return [
      `count(${column}) AS count_${at}`,
      `count(DISTINCT ${type === "JSON" ? text(column) : column}) AS distinct_${at}`,
      ...(hasRange(type)
        ? [
            `${text(`min(${column})`)} AS least_${at}`,
            ...[1, 2, 3].map((n) => `${text(`quantile_disc(${column}, ${n / 4})`)} AS quartile_${n}_${at}`),
            `${text(`max(${column})`)} AS greatest_${at}`
          ]
        : [])
    ]
  })
  const [row] = yield* sql.unsafe<Readonly<Record<string, unknown>>>(`SELECT ${facts.join(", ")} FROM ${from}`, [
    cohortId
  ]).unprepared
  const present = kind.columns.flatMap((column, at) => {
    const count = Number(row?.[`count_${at}`] ?? 0)
    return count === 0 ? [] : [{ ...column, at, count, distinct: Number(row?.[`distinct_${at}`] ?? 0) }]
  })
  const spread = present.filter(({ distinct, type }) => hasValues(type) && distinct <= MOST_VALUES)
  const values = new Map<string, Array<{ readonly value: string; readonly count: number }>>()
  if (spread.length > 0) {
    const parts = spread.map(
      ({ at, name }) =>
        `SELECT ${at} AS number, CAST(${quoteName(name)} AS VARCHAR) AS value, count(*) AS count FROM picked WHERE ${quoteName(name)} IS NOT NULL GROUP BY ALL`
    )
    for (const { count, number, value } of yield* sql.unsafe<{
      readonly number: number
      readonly value: string
      readonly count: bigint
    }>(
      `WITH picked AS MATERIALIZED (SELECT ${spread.map(({ name }) => quoteName(name)).join(", ")} FROM ${from}) ` +
        `SELECT * FROM (${parts.join(" UNION ALL ")}) ORDER BY number, count DESC, value`,
      [cohortId]
    ).unprepared) {
      const name = kind.columns[number]?.name ?? ""
      const list = values.get(name) ?? []
      values.set(name, list)
      list.push({ value, count: Number(count) })
    }
  }
  const textAt = (name: string): string => String(row?.[name] ?? "")
  return present.map(({ at, count, distinct, name, type }): ColumnSummary => ({
    column: name,
    type,
    count,
    distinct,
    range: hasRange(type)
      ? {
          least: textAt(`least_${at}`),
          quartiles: [1, 2, 3].map((n) => textAt(`quartile_${n}_${at}`)),
          greatest: textAt(`greatest_${at}`)
        }
      : undefined,
    values: values.get(name)
  }))
})

const sampleIds = Effect.fnUntraced(function* (
  sql: DuckDbSqlClient,
  kind: EntityKind,
  cohortId: string,
  { seed = "", strategy = "diverse" }: SummaryOptions,
  wanted: number
) {
  const chance = `md5(CAST(e.digest AS VARCHAR) || '${hash("sha256", seed)}')`
  const order = {
    recent: "e.entity_id DESC",
    random: `${chance}, e.entity_id`,
    // One of each shape comes before a second one of any.
    diverse: `row_number() OVER (PARTITION BY e.shape_id ORDER BY ${chance}, e.entity_id), e.shape_id`
  }[strategy]
  const rows = yield* sql.unsafe<{ readonly entity_id: bigint }>(
    `SELECT e.entity_id FROM (SELECT DISTINCT entity_id FROM main.cohort_entities WHERE cohort_id = CAST(? AS UUID) AND kind = ?) m ` +
      `JOIN mallard.${quoteName(kind.table)} e ON e.entity_id = m.entity_id ORDER BY ${order} LIMIT CAST(? AS BIGINT)`,
    [cohortId, kind.kind, String(strategy === "diverse" ? Math.max(CANDIDATES, wanted) : wanted)]
  ).unprepared
  return rows.map(({ entity_id }) => Number(entity_id))
})

/** The first text, then again and again the one whose leaves are least like those already chosen. */
const mostDifferent = (texts: ReadonlyArray<string>, wanted: number): ReadonlyArray<string> => {
  const waiting = texts.map((text) => ({
    text,
    leaves: new Set(Array.from(leaves(text), ({ end, pointer, start }) => `${pointer} ${text.slice(start, end)}`))
  }))
  const seen = new Set<string>()
  const chosen: Array<string> = []
  while (chosen.length < wanted && waiting.length > 0) {
    let best = 0
    let most = -1
    waiting.forEach((candidate, at) => {
      let fresh = 0
      for (const leaf of candidate.leaves) if (!seen.has(leaf)) fresh++
      if (fresh > most) {
        most = fresh
        best = at
      }
    })
    const [next] = waiting.splice(best, 1)
    if (next === undefined) break
    chosen.push(next.text)
    for (const leaf of next.leaves) seen.add(leaf)
  }
  return chosen
}
