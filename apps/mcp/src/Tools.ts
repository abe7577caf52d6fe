/**
 * The tools: what they take, what they give, and what they tell the model. Each call opens the database for itself, and
 * what a user is asked is asked while it is closed.
 */
import {
  type Cohort,
  type CohortEntity,
  type CohortStore,
  describeTables,
  type ExportFormat,
  exportFormats,
  type NameTaken,
  type Saved,
  type SaveRequest,
  type StoreError
} from "@mallard/duckdb-store"
import { toJsonText, UnsupportedValue } from "@mallard/entity-serializers"
import { legacyDocument } from "@mallard/migrator"
import { kindOfTypeKey, kinds, parseJson } from "@mallard/schema"
import { Effect, Predicate, Result, Schema } from "effect"
import { basename } from "node:path"
import type { Cohorts, Waiting } from "./Cohorts.ts"
import { asData, clipped, DATA_NOTE, nameLine, quoted } from "./Marking.ts"
import { explained } from "./Problems.ts"
import { type Roots } from "./Roots.ts"
import {
  type Answer,
  type AnswerNeeded,
  type Call,
  defineTool,
  type PagedResource,
  type ToolEffects,
  ToolError
} from "./ToolServer.ts"

/** What the tools work on, and which of them there are. */
export interface ToolOptions {
  readonly cohorts: Cohorts
  /** Without roots no tool takes a path. */
  readonly roots: Roots | undefined
  readonly readOnly: boolean
  readonly allowQuery: boolean
}

/** Entities of a page have at most so many characters together; larger ones are told by size only. */
const PAGE_CHARACTERS = 60_000
const ENTITY_CHARACTERS = 20_000
/** A cohort given as text, not as a file. */
const EXPORT_CHARACTERS = 100_000
const DESCRIPTION_CHARACTERS = 160
const SAMPLE_CHARACTERS = 4_000
const SUMMARY_COLUMNS = 8
const SUMMARY_VALUES = 5
const RESOURCE_ENTITIES = 10_000
const RESOURCE_CHARACTERS = 1_000_000

const text = (description: string) => Schema.optionalKey(Schema.String.annotate({ description }))
const flag = (description: string) => Schema.optionalKey(Schema.Boolean.annotate({ description }))
const count = (minimum: number, maximum: number, description: string) =>
  Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum, maximum })).annotate({ description }))

const nameOrId = Schema.String.annotate({ description: "Name or id of a cohort" })
const cursor = text("next_cursor of the page before")
const confirmFlag = flag("true only if the user has agreed to it")
const entitiesByType = Schema.Record(Schema.String, Schema.Unknown).annotate({
  description: 'Lists of entities by type, as {"patients": [{...}], "encounters": [{...}]}'
})

const Counts = Schema.Record(Schema.String, Schema.Int)

const CohortInfo = Schema.Struct({
  cohort_id: Schema.String,
  name: Schema.String,
  description: Schema.optionalKey(Schema.String),
  tags: Schema.Array(Schema.String),
  entity_count: Schema.Int,
  saved_at: Schema.String
})

/** A page of cohorts. */
export const ListResult = Schema.Struct({
  cohorts: Schema.Array(CohortInfo),
  total: Schema.optionalKey(Schema.Int),
  next_cursor: Schema.optionalKey(Schema.String),
  data_note: Schema.String
})

const Entity = Schema.Struct({
  kind: Schema.String,
  pointer: Schema.String,
  entity: Schema.optionalKey(Schema.Record(Schema.String, Schema.Unknown)),
  json: Schema.optionalKey(Schema.String),
  characters: Schema.optionalKey(Schema.Int)
})

/** A cohort, and a page of its entities if they were asked for. */
export const LoadResult = Schema.Struct({
  ...CohortInfo.fields,
  product: Schema.optionalKey(Schema.String),
  created_at: Schema.optionalKey(Schema.String),
  updated_at: Schema.optionalKey(Schema.String),
  revision: Schema.Int,
  entity_counts: Counts,
  resource: Schema.String,
  entities: Schema.optionalKey(Schema.Array(Entity)),
  next_cursor: Schema.optionalKey(Schema.String),
  data_note: Schema.String
})

/** What came of saving. */
export const SaveResult = Schema.Struct({
  cohort_id: Schema.String,
  name: Schema.String,
  outcome: Schema.Literals(["created", "replaced", "unchanged", "added"]),
  revision: Schema.Int,
  entity_counts: Counts,
  entity_count: Schema.Int,
  added: Schema.optionalKey(Schema.Int),
  already_there: Schema.optionalKey(Schema.Int),
  batches_remaining: Schema.optionalKey(Schema.Int),
  remarks: Schema.Int
})

/** What came of deleting. */
export const DeleteResult = Schema.Struct({ cohort_id: Schema.String, name: Schema.String, revision: Schema.Int })

const ExportResult = Schema.Struct({
  format: Schema.String,
  files: Schema.Array(Schema.Struct({ path: Schema.String, text: Schema.optionalKey(Schema.String) })),
  remarks: Schema.Array(Schema.Struct({ code: Schema.String, message: Schema.String, count: Schema.Int })),
  data_note: Schema.String
})

/** Counts, ranges and samples. */
export const SummaryResult = Schema.Struct({
  cohort_id: Schema.String,
  name: Schema.String,
  entity_count: Schema.Int,
  kinds: Schema.Array(
    Schema.Struct({
      kind: Schema.String,
      count: Schema.Int,
      columns: Schema.Array(
        Schema.Struct({
          column: Schema.String,
          count: Schema.Int,
          distinct: Schema.Int,
          least: Schema.optionalKey(Schema.String),
          median: Schema.optionalKey(Schema.String),
          greatest: Schema.optionalKey(Schema.String),
          values: Schema.optionalKey(Schema.Array(Schema.Struct({ value: Schema.String, count: Schema.Int })))
        })
      ),
      samples: Schema.Array(Schema.String)
    })
  ),
  data_note: Schema.String
})

const Cell = Schema.Union([
  Schema.String,
  Schema.Finite,
  Schema.Boolean,
  Schema.Null,
  Schema.Array(Schema.Unknown),
  Schema.Record(Schema.String, Schema.Unknown)
])

/** A page of rows. */
export const QueryResult = Schema.Struct({
  columns: Schema.Array(Schema.Struct({ name: Schema.String, type: Schema.String })),
  rows: Schema.Array(Schema.Array(Cell)),
  row_count: Schema.Int,
  next_cursor: Schema.optionalKey(Schema.String),
  data_note: Schema.String
})

/** Tables, or the columns of one. */
export const TablesResult = Schema.Struct({
  tables: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      comment: Schema.String,
      columns: Schema.optionalKey(
        Schema.Array(
          Schema.Struct({ name: Schema.String, type: Schema.String, comment: Schema.optionalKey(Schema.String) })
        )
      )
    })
  )
})

interface ListRequest {
  readonly search?: string
  readonly tag?: string
  readonly product?: string
  readonly limit?: number
  readonly cursor?: string
}

interface LoadRequest {
  readonly name_or_id: string
  readonly include_entities?: boolean
  readonly kind?: string
  readonly fields?: ReadonlyArray<string>
  readonly limit?: number
  readonly cursor?: string
}

interface AddRequest {
  readonly name_or_id: string
  readonly entities: Readonly<Record<string, unknown>>
  readonly create?: boolean
  readonly description?: string
  readonly tags?: ReadonlyArray<string>
  readonly batch_number?: number
  readonly total_batches?: number
}

interface SaveOptions {
  readonly overwrite?: boolean
  readonly confirm?: boolean
}

/** The work behind the tools, for those of today and for the older names. */
export const makeActions = ({ cohorts, roots }: ToolOptions) => {
  const waiting =
    (call: Call): Waiting =>
    (holder) =>
      call.progress(
        `Waiting: the database is open in ${holder === undefined ? "another process" : `process ${holder}`}`
      )

  /** Saves; when that would replace a cohort, asks before, while the database is closed. */
  const saveAsking: (
    request: SaveRequest,
    options: SaveOptions,
    call: Call
  ) => Effect.Effect<Saved, ToolError | AnswerNeeded> = Effect.fnUntraced(function* (request, options, call) {
    const save = (overwrite: boolean) => cohorts.write(waiting(call), (store) => store.save({ ...request, overwrite }))
    yield* call.progress("Storing", 1, 3)
    const first = yield* explained(
      save(false).pipe(
        Effect.map((saved) => ({ saved })),
        Effect.catchIf(isTaken, (taken) =>
          options.overwrite === true ? Effect.succeed({ taken }) : Effect.fail(taken)
        )
      )
    )
    if ("saved" in first) return first.saved
    const present = yield* explained(cohorts.read(waiting(call), (store) => store.find(first.taken.cohortId)))
    yield* call.confirm(
      `Replace the cohort ${quoted(present.name)} of ${entitiesText(present.entityCount)} by new content? Its former revisions are kept.`,
      options.confirm
    )
    yield* call.progress("Storing", 2, 3)
    return yield* explained(save(true))
  })

  const saved = ({ cohortId, entities, name, outcome, remarks, seq }: Saved): Answer<typeof SaveResult.Type> => {
    const total = sum(entities)
    const words = { created: "Created", replaced: "Replaced", unchanged: "Nothing new in" }[outcome]
    return {
      text: [
        `${words} this cohort: ${countsText(entities)} (revision ${seq}).${remarksText(remarks.length)}`,
        asData([nameLine(name)])
      ].join("\n"),
      structured: {
        cohort_id: cohortId,
        name,
        outcome,
        revision: seq,
        entity_counts: entities,
        entity_count: total,
        remarks: remarks.length
      }
    }
  }

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
    const hint =
      items.length > 0 ? "" : " save_cohort or import_cohort stores one; `mallard migrate` brings in older files."
    return {
      text: [
        `${total === undefined || total === items.length ? many(items.length, "cohort", "cohorts") : `${items.length} of ${total} cohorts`}, the latest saved first.${hint}`,
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

  const save = Effect.fnUntraced(function* (
    request: SaveOptions & {
      readonly name?: string
      readonly entities: Readonly<Record<string, unknown>>
      readonly description?: string
      readonly tags?: ReadonlyArray<string>
      readonly product?: string
    },
    call: Call
  ) {
    const { confirm, entities, overwrite, ...rest } = request
    const options = { ...(confirm === undefined ? {} : { confirm }), ...(overwrite === undefined ? {} : { overwrite }) }
    return saved(yield* saveAsking({ ...rest, entities: yield* jsonOf(entities) }, options, call))
  })

  const add = Effect.fnUntraced(function* (request: AddRequest, call: Call) {
    const lists = yield* texts(request.entities)
    yield* call.progress("Storing", 1, 2)
    const outcome = yield* explained(
      cohorts.write(waiting(call), (store) =>
        Effect.gen(function* () {
          const isThere = yield* store.exists(request.name_or_id)
          if (!isThere && request.create === true) {
            const { description, name_or_id, tags } = request
            const created = yield* store.save({
              name: name_or_id,
              entities: objectOf(lists),
              ...(description === undefined ? {} : { description }),
              ...(tags === undefined ? {} : { tags })
            })
            return { result: created, added: size(lists), already: 0 }
          }
          const present = new Map<string, Set<string>>()
          if (isThere) {
            for (const [type, stored] of yield* store.entitiesAmong(request.name_or_id, [...lists.values()].flat())) {
              const key = typeOf(type)
              present.set(key, new Set([...(present.get(key) ?? []), ...stored]))
            }
          }
          // A call that is made again, because its answer was lost, must not store everything twice.
          const fresh = new Map(
            [...lists].map(([type, list]) => [type, list.filter((one) => !present.get(typeOf(type))?.has(one))])
          )
          const already = size(lists) - size(fresh)
          if (size(fresh) === 0 && already > 0) {
            return { result: yield* store.find(request.name_or_id), added: 0, already }
          }
          const result = yield* store.append(request.name_or_id, objectOf(fresh))
          return { result, added: size(fresh), already }
        })
      )
    )
    const { added, already, result } = outcome
    const { batch_number: batch, total_batches: batches } = request
    const remaining = batch === undefined || batches === undefined ? undefined : Math.max(0, batches - batch)
    const remarks = "remarks" in result ? result.remarks.length : 0
    return {
      text: `Added ${entitiesText(added)} to cohort ${quoted(request.name_or_id)}${
        already === 0 ? "" : `; ${already} were there already, word for word`
      }. It has ${countsText(result.entities)} (revision ${result.seq}).${
        remaining === undefined || remaining === 0 ? "" : ` ${many(remaining, "batch remains", "batches remain")}.`
      }${remarksText(remarks)}`,
      structured: {
        cohort_id: result.cohortId,
        name: result.name,
        outcome: "added",
        revision: result.seq,
        entity_counts: result.entities,
        entity_count: sum(result.entities),
        added,
        already_there: already,
        ...(remaining === undefined ? {} : { batches_remaining: remaining }),
        remarks
      }
    } satisfies Answer<typeof SaveResult.Type>
  })

  const remove = Effect.fnUntraced(function* (
    request: { readonly name_or_id: string; readonly confirm?: boolean },
    call: Call
  ) {
    const found = yield* explained(cohorts.read(waiting(call), (store) => store.find(request.name_or_id)))
    yield* call.confirm(
      `Delete the cohort ${quoted(found.name)} of ${entitiesText(found.entityCount)}? Its revisions are kept, so that it can be restored.`,
      request.confirm
    )
    // By id: what was shown to the user is what is deleted.
    const changed = yield* explained(cohorts.write(waiting(call), (store) => store.delete(found.cohortId)))
    return {
      text: `Deleted cohort ${quoted(request.name_or_id)}. Its revisions are kept: mallard undelete in a terminal brings it back.`,
      structured: { cohort_id: changed.cohortId, name: changed.name, revision: changed.seq }
    } satisfies Answer<typeof DeleteResult.Type>
  })

  const exportCohort = Effect.fnUntraced(function* (
    request: SaveOptions & {
      readonly name_or_id: string
      readonly format?: ExportFormat
      readonly compact?: boolean
      readonly path?: string
    },
    call: Call
  ) {
    const { compact, format = "documents", name_or_id, path } = request
    const layout = { format, ...(compact === undefined ? {} : { compact }) }
    if (path === undefined) {
      if (format === "csv" || format === "parquet") {
        return yield* new ToolError({
          message: `${format} needs a path: ${roots === undefined ? "this server has no folder to write to. Use ndjson, or query_cohort." : "name a folder."}`
        })
      }
      const { files, remarks } = yield* explained(
        cohorts.read(waiting(call), (store) => store.exportTexts(name_or_id, { ...layout, format }))
      )
      const characters = files.reduce((total, file) => total + file.text.length, 0)
      if (characters > EXPORT_CHARACTERS) {
        return yield* new ToolError({
          message: `The cohort has ${characters} characters, too many to show. ${
            roots === undefined
              ? "Load it by pages with load_cohort, or ask the user to run `mallard export` in a terminal."
              : 'Give a "path" to write it to a file, or load it by pages with load_cohort.'
          }`
        })
      }
      return exported(
        format,
        files,
        remarks,
        files.flatMap((file) => [`--- ${file.path}`, file.text])
      )
    }
    if (roots === undefined)
      return yield* new ToolError({ message: "This server may not write files. Leave out the path." })
    const isFolder =
      format === "csv" ||
      format === "parquet" ||
      format === "ndjson" ||
      (format !== "v1" &&
        (yield* explained(
          cohorts.read(waiting(call), (store) =>
            Effect.flatMap(store.find(name_or_id), (found) => store.parts(found.contentId))
          )
        )).length > 1)
    const target = yield* roots.target(path, isFolder)
    if (target.exists) {
      if (request.overwrite !== true) {
        return yield* new ToolError({
          message: 'There is a file of that name. Choose another, or add "overwrite": true.'
        })
      }
      yield* call.confirm(`Replace the file ${quoted(target.path)}?`, request.confirm)
    }
    yield* call.progress("Writing", 1, 2)
    const { paths, remarks } = yield* explained(
      cohorts.read(waiting(call), (store) =>
        store.export(name_or_id, isFolder ? `${target.path}/` : target.path, layout)
      )
    )
    return exported(
      format,
      paths.map((file) => ({ path: file })),
      remarks,
      paths
    )
  })

  const importCohort = Effect.fnUntraced(function* (
    request: SaveOptions & { readonly path?: string; readonly document?: string; readonly name?: string },
    call: Call
  ) {
    const { confirm, document, name, overwrite, path } = request
    const options = { ...(confirm === undefined ? {} : { confirm }), ...(overwrite === undefined ? {} : { overwrite }) }
    const naming = name === undefined ? {} : { name }
    if ((path === undefined) === (document === undefined)) {
      return yield* new ToolError({
        message: roots === undefined ? 'Give the "document".' : 'Give a "path" or a "document", and not both.'
      })
    }
    if (document !== undefined) {
      // Halves of surrogate pairs have no UTF-8, and would be replaced.
      const decoded = document.isWellFormed() ? legacyDocument(Buffer.from(document), "document.json") : undefined
      if (decoded === undefined || Result.isFailure(decoded)) {
        return yield* new ToolError({
          message: "The document holds half a surrogate pair. Write it as an escape, with its backslash escaped too."
        })
      }
      const unnamed = { ...decoded.success, ...naming, fallbackName: undefined, path: undefined }
      return saved(yield* saveAsking(unnamed, options, call))
    }
    if (roots === undefined)
      return yield* new ToolError({ message: "This server may not read files. Give the document." })
    const file = yield* roots.read(path ?? "")
    const read = legacyDocument(file.bytes, basename(file.path))
    if (Result.isFailure(read)) {
      return yield* new ToolError({
        message: `The file is not UTF-8 (byte ${read.failure.offset}). Ask the user to save it as UTF-8.`
      })
    }
    return saved(yield* saveAsking({ ...read.success, ...naming }, options, call))
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

  return { list, load, save, add, remove, exportCohort, importCohort, summary, query, tables }
}

/** Bytes of rows on one page. */
const QUERY_BYTES = 100_000

export type Actions = ReturnType<typeof makeActions>

/** The tools, in the order in which they are listed. */
export const makeTools = (options: ToolOptions, actions: Actions = makeActions(options)) => {
  const { allowQuery, readOnly, roots } = options
  const reading: ToolEffects = { readOnly: true }
  const path = text(`File below ${roots?.folders.join(" or ") ?? ""}`)
  const exportFields = {
    name_or_id: nameOrId,
    format: Schema.optionalKey(Schema.Literals(exportFormats).annotate({ description: "documents if not given" })),
    compact: flag("Without white space")
  }
  const importFields = {
    document: text("The text of a JSON document"),
    name: text("Name of the cohort"),
    overwrite: flag("Whether a cohort of that name may be replaced"),
    confirm: confirmFlag
  }
  const writesFiles = roots !== undefined && !readOnly
  const tools = [
    defineTool({
      name: "list_cohorts",
      title: "List cohorts",
      description: "Lists the stored cohorts by page, without their entities.",
      parameters: Schema.Struct({
        search: text("Part of the name or description"),
        tag: text("Only cohorts with this tag"),
        product: text("Only cohorts of this product"),
        limit: count(1, 100, "Cohorts per page, 20 if not given"),
        cursor
      }),
      result: ListResult,
      effects: reading,
      handler: actions.list
    }),
    defineTool({
      name: "load_cohort",
      title: "Load a cohort",
      description:
        "Gives a cohort's description, tags and counts; its entities, exactly as stored, only on demand and by page. The resource cohort://{cohort_id}/{kind} has all of a kind.",
      parameters: Schema.Struct({
        name_or_id: nameOrId,
        include_entities: flag("Whether to give entities too; false if not given"),
        kind: text("Only entities of this kind, such as patient; implies include_entities"),
        fields: Schema.optionalKey(
          Schema.Array(Schema.String).annotate({
            description: "Only these keys of each entity, such as id or name.given; implies include_entities"
          })
        ),
        limit: count(1, 200, "Entities per page, 20 if not given"),
        cursor
      }),
      result: LoadResult,
      effects: reading,
      handler: actions.load
    }),
    defineTool({
      name: "get_cohort_summary",
      title: "Summarise a cohort",
      description: "Counts, ranges, commonest values and a few samples of a cohort, in few words.",
      parameters: Schema.Struct({ name_or_id: nameOrId, samples: count(0, 10, "Samples per kind, 3 if not given") }),
      result: SummaryResult,
      effects: reading,
      handler: actions.summary
    }),
    ...(allowQuery
      ? [
          defineTool({
            name: "query_cohort",
            title: "Query in SQL",
            description:
              "Runs one SELECT of DuckDB's SQL over the tables that describe_tables shows. Nothing can be changed by it. With name_or_id the tables have the rows of that cohort only.",
            parameters: Schema.Struct({
              sql: Schema.String.annotate({ description: "One SELECT" }),
              name_or_id: Schema.optionalKey(nameOrId),
              limit: count(1, 1000, "Rows per page, 100 if not given"),
              cursor
            }),
            result: QueryResult,
            effects: reading,
            handler: actions.query
          })
        ]
      : []),
    defineTool({
      name: "describe_tables",
      title: "Describe the tables",
      description: "Names the tables of the database, or the columns of one of them with what they mean.",
      parameters: Schema.Struct({ table: text("The table whose columns to show") }),
      result: TablesResult,
      effects: reading,
      handler: actions.tables
    }),
    defineTool({
      name: "export_cohort",
      title: "Export a cohort",
      description:
        "Gives a cohort as JSON text, exactly as it was stored" +
        (writesFiles ? ", or writes it to a file." : ".") +
        " Formats: documents (as stored), sharing (without private keys), v1 (HealthSim's cohort file), ndjson, csv, parquet.",
      parameters: writesFiles
        ? Schema.Struct({
            ...exportFields,
            path,
            overwrite: flag("Whether a file may be replaced"),
            confirm: confirmFlag
          })
        : Schema.Struct(exportFields),
      result: ExportResult,
      effects: writesFiles ? { readOnly: false, destructive: true, idempotent: true } : reading,
      handler: actions.exportCohort
    }),
    ...(readOnly
      ? []
      : [
          defineTool({
            name: "save_cohort",
            title: "Save a cohort",
            description:
              "Stores entities as a new cohort; without a name one is made up. With overwrite it becomes the next revision of the cohort of that name. For more than about 50 entities save some, then add_entities.",
            parameters: Schema.Struct({
              name: text("Name of the cohort"),
              entities: entitiesByType,
              description: text("What the cohort is for"),
              tags: Schema.optionalKey(Schema.Array(Schema.String)),
              overwrite: flag("Whether a cohort of that name may be replaced"),
              confirm: confirmFlag
            }),
            result: SaveResult,
            effects: { readOnly: false, destructive: true, idempotent: false },
            handler: actions.save
          }),
          defineTool({
            name: "add_entities",
            title: "Add entities to a cohort",
            description:
              "Adds entities to a cohort, in batches of about 50. Entities that it has word for word are not added again, so a call can be repeated.",
            parameters: Schema.Struct({
              name_or_id: nameOrId,
              entities: entitiesByType,
              create: flag("Whether to create the cohort when there is none of that name"),
              batch_number: count(1, 1_000_000, "Which batch this is"),
              total_batches: count(1, 1_000_000, "How many there will be")
            }),
            result: SaveResult,
            effects: { readOnly: false, destructive: false, idempotent: true },
            handler: actions.add
          }),
          defineTool({
            name: "import_cohort",
            title: "Import a cohort",
            description:
              "Stores a cohort's JSON document character for character" +
              (roots === undefined ? "." : ", given as text or as a file.") +
              " Its name is the one given, else the document's, else the file's.",
            parameters: roots === undefined ? Schema.Struct(importFields) : Schema.Struct({ path, ...importFields }),
            result: SaveResult,
            effects: { readOnly: false, destructive: true, idempotent: true },
            handler: actions.importCohort
          }),
          defineTool({
            name: "delete_cohort",
            title: "Delete a cohort",
            description:
              "Deletes a cohort after the user has agreed. Its revisions are kept: mallard undelete in a terminal brings it back.",
            parameters: Schema.Struct({ name_or_id: nameOrId, confirm: confirmFlag }),
            result: DeleteResult,
            effects: { readOnly: false, destructive: true, idempotent: true },
            handler: actions.remove
          })
        ])
  ]
  return tools
}

/** The entities of one kind of a cohort, as a resource. */
export const makeResources = ({ cohorts }: ToolOptions): ReadonlyArray<PagedResource> => [
  {
    name: "Entities of a cohort",
    description:
      "The entities of one kind of a cohort, a line of JSON each, exactly as stored; kinds as in load_cohort, cohort by id or name",
    mimeType: "application/x-ndjson",
    read: Effect.fnUntraced(function* (cohort: string, kind: string) {
      const found = yield* kindOf(kind)
      const page = yield* explained(
        cohorts.read(
          () => Effect.void,
          (store) => store.entities(cohort, { kind: found, limit: RESOURCE_ENTITIES })
        )
      )
      const lines = page.items.map((one) => `${one.text}\n`).join("")
      if (page.next !== undefined || lines.length > RESOURCE_CHARACTERS) {
        return yield* new ToolError({ message: "These are too many to read at once: use load_cohort with a limit." })
      }
      return lines
    })
  }
]

const isTaken = (error: unknown): error is NameTaken =>
  error instanceof Error && "_tag" in error && error._tag === "NameTaken"

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

const more = (next: string | undefined): ReadonlyArray<string> =>
  next === undefined ? [] : [`There are more: call again with the same arguments and "cursor": "${next}".`]

const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, one) => total + one, 0)

const countsText = (counts: Readonly<Record<string, number>>): string => {
  const parts = Object.entries(counts).map(([kind, size_]) => `${size_} ${kind}`)
  return parts.length === 0 ? "no entities" : `${entitiesText(sum(counts))} (${parts.join(", ")})`
}

const many = (number: number, one: string, several: string): string => `${number} ${number === 1 ? one : several}`
const entitiesText = (number: number): string => many(number, "entity", "entities")

const remarksText = (remarks: number): string =>
  remarks === 0
    ? ""
    : ` ${many(remarks, "value is kept but does not fit its column", "values are kept but do not fit their columns")}; nothing is lost.`

/** By the name of a kind, of its table, or of any key that holds such entities. */
const kindOf = (wanted: string): Effect.Effect<string, ToolError> => {
  const known = kinds.find(({ kind, table }) => kind === wanted || table === wanted) ?? kindOfTypeKey(wanted)
  if (known !== undefined) return Effect.succeed(known.kind)
  if (wanted === "json") return Effect.succeed(wanted)
  return new ToolError({
    message: `There is no such kind. Kinds are: ${kinds.map(({ kind }) => kind).join(", ")}, json.`
  })
}

/** Entities that fit into a page. Those beyond come on the next one. */
const pageOf = Effect.fnUntraced(function* (
  store: CohortStore["Service"],
  { cohortId }: Cohort,
  { cursor: from, fields, limit = 20 }: LoadRequest,
  kind: string | undefined
) {
  const options = { kind, cursor: from, fields }
  const page = yield* store.entities(cohortId, { ...options, limit })
  let room = PAGE_CHARACTERS
  const fitting = page.items.findIndex((one) => {
    room -= textOf(one).length
    return room < 0
  })
  return fitting <= 0 ? page : yield* store.entities(cohortId, { ...options, limit: fitting })
})

const textOf = ({ text: json }: CohortEntity): string =>
  json.length <= ENTITY_CHARACTERS ? json : `(${json.length} characters; "fields" gives less of it, export_cohort all)`

/** The entity itself where JavaScript keeps every spelling of it, else its text. */
const structuredEntity = ({ kind, pointer, text: json }: CohortEntity): typeof Entity.Type => {
  if (json.length > ENTITY_CHARACTERS) return { kind, pointer, characters: json.length }
  try {
    const entity = parseJson(json)
    return Predicate.isObject(entity) && JSON.stringify(entity) === json
      ? { kind, pointer, entity: { ...entity } }
      : { kind, pointer, json }
  } catch {
    return { kind, pointer, json }
  }
}

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

/** Values that came through JSON as text again; what JSON cannot say is refused with its place. */
const jsonOf = (value: unknown): Effect.Effect<string, ToolError> =>
  Effect.try({
    try: () => toJsonText(value),
    catch: (cause) =>
      new ToolError({
        message:
          cause instanceof UnsupportedValue
            ? `A value cannot be stored exactly (${cause.code}) at ${cause.pointer}. Give it as text, or use import_cohort with the document, which keeps every spelling.`
            : "The entities are no JSON that can be stored."
      })
  })

type Lists = ReadonlyMap<string, ReadonlyArray<string>>

const texts = Effect.fnUntraced(function* (entities: Readonly<Record<string, unknown>>) {
  const lists = new Map<string, ReadonlyArray<string>>()
  for (const [type, list] of Object.entries(entities)) {
    lists.set(type, yield* Effect.forEach(Array.isArray(list) ? list : [list], jsonOf))
  }
  if (size(lists) === 0) {
    return yield* new ToolError({
      message: 'There is nothing to add: give lists of entities, as {"patients": [{...}]}.'
    })
  }
  return lists
})

const objectOf = (lists: Lists): string =>
  `{${[...lists]
    .filter(([, list]) => list.length > 0)
    .map(([type, list]) => `${JSON.stringify(type)}:[${list.join(",")}]`)
    .join(",")}}`

const size = (lists: Lists): number => [...lists.values()].reduce((total, list) => total + list.length, 0)

/** Types that mean the same kind are one. */
const typeOf = (key: string): string => kindOfTypeKey(key)?.kind ?? key

const exported = (
  format: string,
  files: ReadonlyArray<{ readonly path: string; readonly text?: string }>,
  remarks: ReadonlyArray<{ readonly code: string; readonly message: string }>,
  lines: ReadonlyArray<string>
): Answer<typeof ExportResult.Type> => {
  const counts = new Map<string, { readonly code: string; readonly message: string; readonly count: number }>()
  for (const { code, message } of remarks)
    counts.set(code, { code, message, count: (counts.get(code)?.count ?? 0) + 1 })
  const isText = files.some((file) => file.text !== undefined)
  return {
    text: [
      isText
        ? `${files.length} ${files.length === 1 ? "document" : "documents"}:`
        : `Wrote ${many(files.length, "file", "files")}.`,
      asData(lines),
      ...[...counts.values()].map(({ count: times, message }) => `Remark, ${times} times: ${message}`)
    ].join("\n"),
    structured: { format, files, remarks: [...counts.values()], data_note: DATA_NOTE }
  }
}
