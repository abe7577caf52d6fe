/**
 * Renders stored rows back into compact JSON text. The common shapes of each kind are rendered by DuckDB itself, by
 * expressions generated from their templates; everything else by the renderer of `@mallard/entity-serializers`. Neither
 * shares code with the reader that stored the rows.
 */
import type { DuckDBDataChunk } from "@duckdb/node-api"
import { DuckDBBlobValue, DuckDBDateValue, DuckDBDecimalValue, DuckDBTimestampValue } from "@duckdb/node-api"
import { type ColumnValue, renderEntity, type Template } from "@mallard/entity-serializers"
import { type Column, type EntityKind, kindByCode, kinds } from "@mallard/schema"
import { type DuckDbSqlClient, nativeColumn } from "@mallard/sql-duckdb"
import { Effect, Stream } from "effect"
import type { SqlError } from "effect/sql"
import { childCodes, entitySql, type EntitySql } from "./internal/shapeSql.ts"
import { type EntityText, ifSound, type StoredShape, Templates } from "./internal/templates.ts"
import { quoteName } from "./Quoting.ts"

/** Shapes per kind that DuckDB renders; the rest are rare. */
const SHAPES_IN_SQL = 256
/** Rows of a shape from which on DuckDB renders it: planning its expression takes as long as the other renderer for these. */
const LEAST_ROWS = 64
/** Its rows are at least one of so many of its kind: an expression is planned once more for each part of a large table. */
const LEAST_SHARE = 512
/** Entities that are rendered by the other renderer at once. */
const IDS_PER_QUERY = 2048

/** All rows of a query as arrays of values, in the client's native forms. */
export const queryRows = (
  client: DuckDbSqlClient,
  sql: string
): Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError.SqlError> =>
  Effect.map(client.chunks(sql), (chunks) => {
    const rows: Array<ReadonlyArray<unknown>> = []
    for (const chunk of chunks) pushRows(rows, chunk)
    return rows
  })

/** The same for a result that takes much memory: no more than a chunk of it is there twice. */
export const streamRows = (
  client: DuckDbSqlClient,
  sql: string
): Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError.SqlError> =>
  client.streamChunks(sql).pipe(
    Stream.runFold(
      (): Array<ReadonlyArray<unknown>> => [],
      (rows, chunk) => {
        pushRows(rows, chunk)
        return rows
      }
    )
  )

const pushRows = (rows: Array<ReadonlyArray<unknown>>, chunk: DuckDBDataChunk): void => {
  const columns = Array.from({ length: chunk.columnCount }, (_, column) => nativeColumn(chunk, column))
  for (let row = 0; row < chunk.rowCount; row++) rows.push(columns.map((values) => values[row]))
}

/** A column's value as DuckDB gives it, in the form that the renderer takes. */
export const nativeValue = (value: unknown): ColumnValue => {
  if (value === null || value === undefined) return null
  if (value instanceof DuckDBDateValue) return value.days
  if (value instanceof DuckDBTimestampValue) return value.micros
  if (value instanceof DuckDBDecimalValue) return value.value
  return value as ColumnValue
}

/** How a column of a row `e` is asked for, so that `nativeValue` takes it. */
export const nativeSql = ({ name, type }: Pick<Column, "name" | "type">): string =>
  `e.${quoteName(name)}${type === "JSON" ? "::VARCHAR" : ""}`

/** Renders entities of one open database. */
export interface Renderer {
  readonly shapes: ReadonlyMap<number, StoredShape>
  /** The template of a shape, parsed; throws a `TemplateProblem` when it is none. */
  readonly template: (shape: StoredShape) => Template
  /** SQL of the text of row `e` of a kind, NULL where the other renderer is needed; with what to join for children. */
  readonly expression: (code: number) => EntitySql
  /** Compact texts of entities by id; entities that are not there, or do not fit their template, are not in the map. */
  readonly texts: (code: number, ids: ReadonlyArray<number>) => Effect.Effect<Map<number, string>, SqlError.SqlError>
}

/** `leastRows`: shapes of fewer rows are left to the other renderer. */
export const makeRenderer = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  { leastRows = LEAST_ROWS }: { readonly leastRows?: number } = {}
) {
  const shapes = yield* readShapes(client)
  const templates = new Templates(shapes)
  const template = (shape: StoredShape) => templates.of(shape)
  const common = { shapes: yield* commonShapes(client, shapes, leastRows), template }
  const renderer: Renderer = {
    shapes,
    template,
    expression: (code) => entitySql(common, code),
    texts: (code, ids) => textsOf(client, templates, code, ids)
  }
  return renderer
})

/** The shapes that a database has, by id. */
const readShapes = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  const shapes = new Map<number, StoredShape>()
  for (const [id, kind, template, filled] of yield* queryRows(
    client,
    "SELECT shape_id, kind, template, filled FROM mallard.entity_shapes"
  )) {
    shapes.set(Number(id), { id: Number(id), kind: Number(kind), template: String(template), filled: String(filled) })
  }
  return shapes
})

/** By kind, the shapes that most rows have; asked in one statement, because each costs more than what it counts. */
const commonShapes = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  shapes: ReadonlyMap<number, StoredShape>,
  leastRows: number
) {
  const common = new Map<number, Array<StoredShape>>()
  const present = new Set([...shapes.values()].map(({ kind }) => kind))
  const counts = kinds
    .filter(({ code }) => present.has(code))
    .map(
      ({ code, table }) =>
        `SELECT ${code} AS kind, shape_id, count(*) AS rows FROM mallard.${quoteName(table)} WHERE shape_id > 0 GROUP BY shape_id HAVING rows >= ${leastRows}`
    )
  if (counts.length === 0) return common
  for (const [kindCode, shapeId] of yield* queryRows(
    client,
    `SELECT kind, shape_id FROM (${counts.join(" UNION ALL ")}) QUALIFY rows * ${LEAST_SHARE} >= sum(rows) OVER (PARTITION BY kind) AND row_number() OVER (PARTITION BY kind ORDER BY rows DESC, shape_id) <= ${SHAPES_IN_SQL} ORDER BY kind, rows DESC, shape_id`
  )) {
    const code = Number(kindCode)
    const shape = shapes.get(Number(shapeId))
    if (shape?.kind !== code) continue
    const list = common.get(code)
    if (list === undefined) common.set(code, [shape])
    else list.push(shape)
  }
  return common
})

/** Compact texts of entities by id, as the other renderer makes them; see `Renderer.texts`. */
const textsOf = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  templates: Templates,
  code: number,
  ids: ReadonlyArray<number>
): Effect.fn.Return<Map<number, string>, SqlError.SqlError> {
  const found = new Map<number, string>()
  const kind = kindByCode(code)
  // Members and links that were tampered with can name any kind.
  if (code !== 0 && kind === undefined) return found
  const sorted = ids.toSorted((a, b) => a - b)
  for (let from = 0; from < sorted.length; from += IDS_PER_QUERY) {
    const where = isOneOf(sorted.slice(from, from + IDS_PER_QUERY))
    if (kind === undefined) {
      const rows = yield* queryRows(
        client,
        `SELECT entity_id, encode(extra) FROM mallard.json_values WHERE ${where("entity_id")}`
      )
      for (const [id, text] of rows) found.set(Number(id), blobText(text))
      continue
    }
    yield* renderRows(client, templates, kind, where, found)
  }
  return found
})

/** Adds the texts of the rows of a kind that the condition names. */
const renderRows = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  templates: Templates,
  kind: EntityKind,
  where: (column: string) => string,
  found: Map<number, string>
) {
  const rows = new Map<number, EntityText>()
  /** The columns that their templates show. */
  const shown = new Set<number>()
  let hasChildren = false
  for (const [id, shapeId, extra] of yield* queryRows(
    client,
    `SELECT entity_id, shape_id, extra FROM mallard.${quoteName(kind.table)} WHERE ${where("entity_id")}`
  )) {
    const row = templates.ofRow(kind, Number(shapeId), extra === null ? null : String(extra))
    if (row === undefined) continue
    rows.set(Number(id), row)
    for (const label of row.template.labels) {
      if (label.tag === "column") shown.add(label.column)
      else if (label.tag !== "extra") hasChildren = true
    }
  }
  const columns = [...shown]
  const values = new Map<number, ReadonlyArray<ColumnValue>>()
  if (columns.length > 0) {
    const selected = columns.map((at) => nativeSql(kind.columns[at]!))
    for (const [id, ...given] of yield* queryRows(
      client,
      `SELECT entity_id, ${selected.join(", ")} FROM mallard.${quoteName(kind.table)} e WHERE ${where("entity_id")}`
    )) {
      values.set(Number(id), given.map(nativeValue))
    }
  }
  const children = hasChildren ? yield* childrenOf(client, templates, kind, where) : undefined
  const places = new Map(columns.map((column, place) => [column, place]))
  for (const [id, { extra, template }] of rows) {
    const own = values.get(id) ?? []
    const text = ifSound(() =>
      renderEntity(kind.code, template, {
        column: (index) => own[places.get(index)!] ?? null,
        extra,
        children: (collection) => children?.get(id)?.[collection] ?? []
      })
    )
    if (text !== undefined) found.set(id, text)
  }
})

/** The texts of the children in each collection, by parent. */
const childrenOf = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  templates: Templates,
  kind: EntityKind,
  where: (column: string) => string
) {
  const links = yield* queryRows(
    client,
    // Only kinds that may stand there: a link that was tampered with could lead back to its parent.
    `SELECT parent_entity_id, collection, child_kind, child_entity_id FROM mallard.links WHERE parent_kind = ${kind.code} AND ${where("parent_entity_id")} AND child_kind IN (${childCodes(kind).join(",")}) ORDER BY parent_entity_id, collection, ordinal`
  )
  const wanted = new Map<number, Set<number>>()
  for (const [, , child, id] of links) {
    const set = wanted.get(Number(child)) ?? new Set()
    wanted.set(Number(child), set.add(Number(id)))
  }
  const rendered = new Map<number, Map<number, string>>()
  for (const [child, set] of wanted) rendered.set(child, yield* textsOf(client, templates, child, [...set]))
  const byParent = new Map<number, Array<Array<string>>>()
  for (const [parent, collection, child, id] of links) {
    const lists = byParent.get(Number(parent)) ?? []
    byParent.set(Number(parent), lists)
    ;(lists[Number(collection)] ??= []).push(rendered.get(Number(child))?.get(Number(id)) ?? "")
  }
  return byParent
})

/** A condition on ids that are sorted: one that names a range lets DuckDB pass over most of a table. */
const isOneOf = (ids: ReadonlyArray<number>): ((column: string) => string) => {
  const [first, last] = [ids[0]!, ids.at(-1)!]
  const list = last - first === ids.length - 1 ? "" : ids.join(",")
  return (column) => `${column} BETWEEN ${first} AND ${last}${list === "" ? "" : ` AND ${column} IN (${list})`}`
}

/** The text of a BLOB value. */
export const blobText = (value: unknown): string => blobBytes(value).toString("utf8")

/** The bytes of a BLOB value, not copied. */
export const blobBytes = (value: unknown): Buffer => {
  if (!(value instanceof DuckDBBlobValue)) return Buffer.alloc(0)
  const { bytes } = value
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
