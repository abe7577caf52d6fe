/** The work behind the tools that change nothing. */
import { type Cohort, describeTables, type StoreError } from "@mallard/duckdb-store"
import { Effect } from "effect"
import { type Cohorts, waiting } from "./Cohorts.ts"
import { type EntitiesRequest, kindOf, pageOf, structuredEntity, textOf } from "./Entities.ts"
import { asData, clipped, DATA_NOTE, quoted } from "./Marking.ts"
import { explained } from "./Problems.ts"
import type { CohortInfo, ListResult, LoadResult, QueryResult, SummaryResult, TablesResult } from "./Results.ts"
import { type Answer, type Call, ToolError } from "./ToolServer.ts"
import { countsText, entitiesText, many, more } from "./Wording.ts"

const DESCRIPTION_CHARACTERS = 160
const SAMPLE_CHARACTERS = 4_000
const SUMMARY_COLUMNS = 8
const SUMMARY_VALUES = 5
/** Bytes of rows on one page. */
const QUERY_BYTES = 100_000

export interface ListRequest {
  readonly search?: string
  readonly tag?: string
  readonly product?: string
  readonly limit?: number
  readonly cursor?: string
}

export interface LoadRequest extends EntitiesRequest {
  readonly name_or_id: string
  readonly include_entities?: boolean
  readonly kind?: string
}

export const makeReadingActions = (cohorts: Cohorts) => {
  const list = Effect.fnUntraced(function* (request: ListRequest, call: Call) {
    const isFiltered = request.search !== undefined || request.tag !== undefined || request.product !== undefined
    const { page, total } = yield* explained(
      cohorts
        .read(waiting(call), (store) =>
          Effect.gen(function* () {
            const found = yield* store.page({ ...request, limit: request.limit ?? 20 })
            const isWhole = found.next === undefined && request.cursor === undefined
            const heads = isWhole || isFiltered ? undefined : (yield* store.digests).length
            return { page: found, total: isWhole ? found.items.length : heads }
          })
        )
        .pipe(Effect.catchIf(isMissing, () => Effect.succeed({ page: { items: [], next: undefined }, total: 0 })))
    )
    const { items, next } = page
    const lines = items.map(
      ({ description, entityCount, name, tags }) =>
        `${JSON.stringify(name)}: ${entitiesText(entityCount)}${tags.length === 0 ? "" : `, tags ${JSON.stringify(tags)}`}${
          description === undefined ? "" : `; ${clipped(description.replaceAll("\n", " "), DESCRIPTION_CHARACTERS)}`
        }`
    )
    const isPage = next !== undefined || request.cursor !== undefined
    const hint =
      items.length > 0
        ? ""
        : isFiltered
          ? " list_cohorts without search, tag and product shows all that there are."
          : " save_cohort or import_cohort stores one; `mallard migrate` brings in older files."
    return {
      text: [
        `${total === undefined || total === items.length ? `${many(items.length, "cohort", "cohorts")}${isPage ? " of those that match" : ""}` : `${items.length} of ${total} cohorts`}, the latest saved first.${hint}`,
        ...(lines.length === 0 ? [] : [asData(lines)]),
        ...more(next)
      ].join("\n"),
      structured: {
        cohorts: items.map(infoOf),
        ...(total === undefined ? {} : { total }),
        ...(next === undefined ? {} : { next_cursor: next }),
        data_note: DATA_NOTE
      }
    } satisfies Answer<typeof ListResult.Type>
  })

  const load = Effect.fnUntraced(function* (request: LoadRequest, call: Call) {
    const wantsEntities =
      request.include_entities ??
      [request.kind, request.fields, request.cursor, request.limit].some((given) => given !== undefined)
    const kind = request.kind === undefined ? undefined : yield* kindOf(request.kind)
    const { cohort, page } = yield* explained(
      cohorts.read(waiting(call), (store) =>
        Effect.gen(function* () {
          const found = yield* store.find(request.name_or_id)
          return { cohort: found, page: wantsEntities ? yield* pageOf(store, found, request, kind) : undefined }
        })
      )
    )
    const { createdAt, entities, product, seq, updatedAt } = cohort
    const next = page?.next
    return {
      text: [
        `Cohort ${quoted(request.name_or_id)}, revision ${seq}: ${countsText(entities)}.`,
        ...(cohort.description === undefined && cohort.tags.length === 0
          ? []
          : [
              asData([
                ...(cohort.description === undefined ? [] : [clipped(cohort.description, 2000)]),
                `tags ${JSON.stringify(cohort.tags)}`
              ])
            ]),
        ...(page === undefined
          ? [
              cohort.entityCount === 0
                ? "It has no entities."
                : 'For the entities call again with "include_entities": true, or with "kind"; query_cohort and get_cohort_summary need fewer words.'
            ]
          : [`${entitiesText(page.items.length)}${page.items.length === 0 ? "." : ", each with its kind and place:"}`]),
        ...(page === undefined || page.items.length === 0
          ? []
          : [asData(page.items.map((one) => `${one.kind} ${one.pointer} ${textOf(one)}`))]),
        ...more(next)
      ].join("\n"),
      structured: {
        ...infoOf(cohort),
        ...(cohort.description === undefined ? {} : { description: clipped(cohort.description, 2000) }),
        ...(product === undefined ? {} : { product }),
        ...(createdAt === undefined ? {} : { created_at: createdAt }),
        ...(updatedAt === undefined ? {} : { updated_at: updatedAt }),
        revision: seq,
        entity_counts: entities,
        resource: `cohort://${cohort.cohortId}/{kind}`,
        ...(page === undefined ? {} : { entities: page.items.map(structuredEntity) }),
        ...(next === undefined ? {} : { next_cursor: next }),
        data_note: DATA_NOTE
      }
    } satisfies Answer<typeof LoadResult.Type>
  })

  const summary = Effect.fnUntraced(function* (
    request: { readonly name_or_id: string; readonly samples?: number },
    call: Call
  ) {
    const { cohort, kinds: found } = yield* explained(
      cohorts.read(waiting(call), (store) => store.summary(request.name_or_id, { samples: request.samples ?? 3 }))
    )
    let room = SAMPLE_CHARACTERS
    const summaries = found.map(({ columns, count: size_, kind, samples }) => ({
      kind,
      count: size_,
      columns: telling(columns).map(({ column, count: filled, distinct, range, values }) => ({
        column,
        count: filled,
        distinct,
        ...(range === undefined
          ? {}
          : { least: range.least, median: range.quartiles[1] ?? range.least, greatest: range.greatest }),
        ...(values === undefined
          ? {}
          : {
              values: values
                .slice(0, SUMMARY_VALUES)
                .map(({ count: times, value }) => ({ value: clipped(value, 80), count: times }))
            })
      })),
      samples: samples.flatMap((sample) => {
        if (room <= 0) return []
        const shown = clipped(sample, Math.min(room, SAMPLE_CHARACTERS / 4))
        room -= shown.length
        return [shown]
      })
    }))
    const lines = summaries.flatMap(({ columns, count: size_, kind, samples }) => [
      `${kind}: ${size_}`,
      ...columns.map(
        (column) =>
          `  ${column.column} (${column.count} filled, ${column.distinct} different)${
            column.least === undefined ? "" : ` ${column.least} … ${column.median} … ${column.greatest}`
          }${column.values === undefined ? "" : ` ${column.values.map(({ count: times, value }) => `${JSON.stringify(value)} ×${times}`).join(", ")}`}`
      ),
      ...samples.map((sample) => `  sample ${sample}`)
    ])
    return {
      text: [
        `Cohort ${quoted(request.name_or_id)}: ${countsText(cohort.entities)}.`,
        ...(lines.length === 0 ? [] : [asData(lines)])
      ].join("\n"),
      structured: {
        cohort_id: cohort.cohortId,
        name: cohort.name,
        entity_count: cohort.entityCount,
        kinds: summaries,
        data_note: DATA_NOTE
      }
    } satisfies Answer<typeof SummaryResult.Type>
  })

  const query = Effect.fnUntraced(function* (
    request: { readonly sql: string; readonly name_or_id?: string; readonly limit?: number; readonly cursor?: string },
    call: Call
  ) {
    const page = yield* explained(
      cohorts.query(waiting(call), {
        sql: request.sql,
        cohort: request.name_or_id,
        limit: request.limit ?? 100,
        cursor: request.cursor,
        maxBytes: QUERY_BYTES
      })
    )
    const lines = [page.columns.map(({ name }) => name), ...page.rows].map((row) => JSON.stringify(row))
    return {
      text: [
        `${many(page.rowCount, "row", "rows")}; the first line names the columns.`,
        asData(lines),
        ...more(page.nextCursor)
      ].join("\n"),
      structured: {
        columns: page.columns,
        rows: page.rows,
        row_count: page.rowCount,
        ...(page.nextCursor === undefined ? {} : { next_cursor: page.nextCursor }),
        data_note: DATA_NOTE
      }
    } satisfies Answer<typeof QueryResult.Type>
  })

  const tables = Effect.fnUntraced(function* (request: { readonly table?: string }, call: Call) {
    const found = yield* explained(cohorts.read(waiting(call), (_, client) => describeTables(client)))
    const { table } = request
    if (table === undefined) {
      return {
        text: [
          'Tables; "table" shows the columns of one.',
          ...found.map(({ comment, name }) => `${name}: ${comment}`)
        ].join("\n"),
        structured: { tables: found.map(({ comment, name }) => ({ name, comment })) }
      } satisfies Answer<typeof TablesResult.Type>
    }
    const one = found.find(({ name }) => name === table)
    if (one === undefined) {
      return yield* new ToolError({
        message: `There is no such table. There are: ${found.map(({ name }) => name).join(", ")}.`
      })
    }
    return {
      text: [
        `${one.name}: ${one.comment}`,
        ...one.columns.map(
          ({ comment, name, type }) => `  ${name} ${type}${comment === undefined ? "" : ` -- ${comment}`}`
        )
      ].join("\n"),
      structured: {
        tables: [
          {
            name: one.name,
            comment: one.comment,
            columns: one.columns.map(({ comment, name, type }) => ({
              name,
              type,
              ...(comment === undefined ? {} : { comment })
            }))
          }
        ]
      }
    } satisfies Answer<typeof TablesResult.Type>
  })

  return { list, load, summary, query, tables }
}

const isMissing = (error: unknown): error is StoreError =>
  error instanceof Error &&
  "_tag" in error &&
  error._tag === "StoreError" &&
  "reason" in error &&
  error.reason === "missing"

const infoOf = ({ cohortId, description, entityCount, name, savedAt, tags }: Cohort): typeof CohortInfo.Type => ({
  cohort_id: cohortId,
  name,
  ...(description === undefined ? {} : { description: clipped(description, DESCRIPTION_CHARACTERS) }),
  tags,
  entity_count: entityCount,
  saved_at: savedAt
})

/** Columns that say most: those with ranges or few values, ids and free text last. */
const telling = <
  A extends { readonly count: number; readonly distinct: number; readonly range: unknown; readonly values: unknown }
>(
  columns: ReadonlyArray<A>
): ReadonlyArray<A> =>
  columns
    .filter(({ distinct, range, values }) => distinct > 0 && (range !== undefined || values !== undefined))
    .toSorted((left, right) => right.count - left.count || left.distinct - right.distinct)
    .slice(0, SUMMARY_COLUMNS)
