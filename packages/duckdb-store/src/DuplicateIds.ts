import { kindByCode } from "@mallard/schema"
import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import type { BatchWriter } from "./BatchWriter.ts"
import { MAX_DUPLICATES } from "./internal/MemberIds.ts"
import { type MemberPlace, memberPlaces } from "./internal/memberPlaces.ts"
import { quoteName } from "./Quoting.ts"
import { queryRows } from "./Rendering.ts"

/**
 * Members of the contents from `firstContent` on whose id another member of their kind and content has had before, as
 * JSON pointers by content, each of a part. Sees what the current transaction has published; a rehearsal has kept the ids.
 */
export const duplicateIds = Effect.fnUntraced(function* (writer: BatchWriter, firstContent: number) {
  const { client } = writer
  const found =
    client === undefined
      ? writer.duplicateMembers.filter(({ content }) => content >= firstContent)
      : yield* storedDuplicates(client, firstContent)
  return Map.groupBy(found, ({ content }) => content)
})

const storedDuplicates = Effect.fnUntraced(function* (client: DuckDbSqlClient, firstContent: number) {
  const found: Array<MemberPlace> = []
  const present = yield* queryRows(
    client,
    // In a stated order, in which a rehearsal finds them too.
    `SELECT DISTINCT kind FROM mallard.cohort_members WHERE content_id >= ${firstContent} ORDER BY kind`
  )
  for (const [code] of present) {
    const kind = kindByCode(Number(code))
    if (kind === undefined) continue
    const id = quoteName(kind.idColumn)
    const members = `SELECT m.content_id, m.part, m.collection, m.ordinal, e.${id} AS id FROM mallard.cohort_members m JOIN mallard.${quoteName(kind.table)} e ON e.entity_id = m.entity_id WHERE m.kind = ${kind.code} AND m.content_id >= ${firstContent} AND e.${id} IS NOT NULL`
    // Most batches have none: the cheap question first.
    const [any] = yield* queryRows(
      client,
      `SELECT count(*) FROM (SELECT 1 FROM (${members}) GROUP BY content_id, id HAVING count(*) > 1)`
    )
    if (Number(any?.[0] ?? 0) === 0) continue
    const places = yield* memberPlaces(
      client,
      `SELECT content_id, part, collection, ordinal FROM (SELECT content_id, part, collection, ordinal FROM (${members}) QUALIFY row_number() OVER (PARTITION BY content_id, id ORDER BY part, collection, ordinal) > 1) QUALIFY row_number() OVER (PARTITION BY content_id ORDER BY part, collection, ordinal) <= ${MAX_DUPLICATES}`
    )
    for (const place of places) found.push(place)
  }
  return found
})
