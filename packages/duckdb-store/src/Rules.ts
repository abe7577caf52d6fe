/**
 * Checks of content, as data, asked of the rows that the current transaction has published. What they find is named by
 * place; no value leaves the database.
 */

import { kinds } from "@mallard/schema"
import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import type { BatchWriter } from "./BatchWriter.ts"
import { memberPlaces } from "./internal/memberPlaces.ts"
import { queryRows } from "./Rendering.ts"
import { quoteName, quoteText } from "./Quoting.ts"

/** One check of the entities of a kind; columns are those of the kind. */
export type ContentCheck =
  /** The column has a value. */
  | { readonly check: "required"; readonly kind: string; readonly column: string }
  /** The column, where it has a value, names an entity of the cohort, unless there is none of those kinds. */
  | {
      readonly check: "reference"
      readonly kind: string
      readonly column: string
      readonly to: ReadonlyArray<{ readonly kind: string; readonly column: string }>
    }
  /** One time is not before another. */
  | { readonly check: "order"; readonly kind: string; readonly earlier: string; readonly later: string }
  | {
      readonly check: "range"
      readonly kind: string
      readonly column: string
      readonly min: number | undefined
      readonly max: number | undefined
    }
  /** The whole text matches a regular expression of RE2. */
  | { readonly check: "format"; readonly kind: string; readonly column: string; readonly pattern: string }

/** An entity that a check found, by the list or object of the document that it is in, or nested in. */
export interface Violation<Check extends ContentCheck> {
  readonly check: Check
  readonly revisionId: number
  readonly part: number
  readonly pointer: string
}

/** Violations that are listed per check and content: what else is in a batch changes nothing. */
const MAX_VIOLATIONS = 1000

/** Asks the checks of all contents from `firstContent` on. A rehearsal, which has no rows, finds nothing. */
export const findViolations = Effect.fnUntraced(function* <Check extends ContentCheck>(
  writer: BatchWriter,
  firstContent: number,
  checks: ReadonlyArray<Check>
) {
  const found: Array<Violation<Check>> = []
  const { client } = writer
  if (client === undefined || checks.length === 0) return found
  const held = heldSql(firstContent)
  const present = new Set(
    (yield* queryRows(client, `${held} SELECT DISTINCT kind FROM held`)).map(([code]) => Number(code))
  )
  for (const check of checks) {
    const kind = kindOf(check.kind)
    if (kind === undefined || !present.has(kind.code)) continue
    const condition = conditionOf(check)
    const [withIds, where] = Array.isArray(condition) ? condition : ["", condition]
    const places = yield* memberPlaces(
      client,
      `${held}${withIds} SELECT content_id, part, collection, ordinal FROM (
         SELECT DISTINCT h.content_id, h.part, h.collection, h.ordinal FROM held h
         JOIN mallard.${quoteName(kind.table)} e ON e.entity_id = h.entity_id
         WHERE h.kind = ${kind.code} AND ${where}
       ) QUALIFY row_number() OVER (PARTITION BY content_id ORDER BY part, collection, ordinal) <= ${MAX_VIOLATIONS}`
    )
    for (const { content, part, pointer } of places) found.push({ check, revisionId: content, part, pointer })
  }
  return found
})

/** Whether DuckDB takes a regular expression. */
export const isPattern = (client: DuckDbSqlClient, pattern: string): Effect.Effect<boolean> =>
  queryRows(client, `SELECT regexp_full_match('', ${quoteText(pattern)})`).pipe(
    Effect.as(true),
    Effect.orElseSucceed(() => false)
  )

const kindOf = (name: string) => kinds.find(({ kind }) => kind === name)

/** Entities at any depth, each with the place of the member that it is, or is nested in. */
const heldSql = (
  firstContent: number
): string => `WITH RECURSIVE held(content_id, part, collection, ordinal, kind, entity_id) AS (
  SELECT content_id, part, collection, ordinal, kind, entity_id FROM mallard.cohort_members
  WHERE content_id >= ${Math.trunc(firstContent)}
  UNION
  SELECT h.content_id, h.part, h.collection, h.ordinal, l.child_kind, l.child_entity_id
  FROM held h JOIN mallard.links l ON l.parent_kind = h.kind AND l.parent_entity_id = h.entity_id
)`

/** What is wrong with a row `e` of an entity `h`; for references with the ids that there are. */
const conditionOf = (check: ContentCheck): string | readonly [withIds: string, where: string] => {
  switch (check.check) {
    case "required":
      return `e.${quoteName(check.column)} IS NULL`
    case "order":
      return `e.${quoteName(check.later)}::TIMESTAMP < e.${quoteName(check.earlier)}::TIMESTAMP`
    case "range": {
      const bounds = [
        ...(check.min === undefined ? [] : [`e.${quoteName(check.column)} < ${check.min}`]),
        ...(check.max === undefined ? [] : [`e.${quoteName(check.column)} > ${check.max}`])
      ]
      return bounds.length === 0 ? "false" : `(${bounds.join(" OR ")})`
    }
    case "format":
      return `NOT regexp_full_match(e.${quoteName(check.column)}::VARCHAR, ${quoteText(check.pattern)})`
    case "reference": {
      const ids = check.to.flatMap(({ column, kind: name }) => {
        const kind = kindOf(name)
        return kind === undefined
          ? []
          : [
              `SELECT h.content_id, t.${quoteName(column)}::VARCHAR AS id FROM held h JOIN mallard.${quoteName(kind.table)} t ON t.entity_id = h.entity_id WHERE h.kind = ${kind.code}`
            ]
      })
      if (ids.length === 0) return "false"
      const value = `e.${quoteName(check.column)}::VARCHAR`
      // FHIR writes the type before the id: `Patient/p1`.
      return [
        `, ids AS (${ids.join(" UNION ")})`,
        `${value} IS NOT NULL AND h.content_id IN (SELECT content_id FROM ids)
         AND NOT EXISTS (SELECT 1 FROM ids i WHERE i.content_id = h.content_id AND i.id = ${value})
         AND NOT EXISTS (SELECT 1 FROM ids i WHERE i.content_id = h.content_id AND i.id = regexp_replace(${value}, '^.*/', ''))`
      ]
    }
  }
}
