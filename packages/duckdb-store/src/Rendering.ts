/**
 * Renders stored rows back into compact JSON text. The common shapes of each kind are rendered by DuckDB itself, by
 * expressions generated from their templates; everything else by the renderer of `@mallard/entity-serializers`. Neither
 * shares code with the reader that stored the rows.
 */
import type { DuckDBDataChunk } from "@duckdb/node-api"
import { DuckDBBlobValue, DuckDBDateValue, DuckDBDecimalValue, DuckDBTimestampValue } from "@duckdb/node-api"
import {
  type ColumnCodec,
  type ColumnValue,
  codecsOf,
  parseTemplate,
  renderEntity,
  splitFolded,
  styleName,
  type Template,
  TemplateProblem
} from "@mallard/entity-serializers"
import { type Column, type EntityKind, JSON_KIND, kindByCode, kinds } from "@mallard/schema"
import { type DuckDbSqlClient, nativeColumn } from "@mallard/sql-duckdb"
import { Effect, Stream } from "effect"
import type { SqlError } from "effect/sql"
import { quoteName, quoteText } from "./Quoting.ts"

/** Shapes per kind that DuckDB renders; the rest are rare. */
const SHAPES_IN_SQL = 256
/** Rows of a shape from which on DuckDB renders it: planning its expression takes as long as the other renderer for these. */
const LEAST_ROWS = 64
/** Its rows are at least one of so many of its kind: an expression is planned once more for each part of a large table. */
const LEAST_SHARE = 512
/** The expression of a kind whose rows are all left to the other renderer. */
export const NO_TEXT = "NULL::VARCHAR"
/** Entities that are rendered by the other renderer at once. */
const IDS_PER_QUERY = 2048

/** Templates from rows that are kept parsed. */
const MOST_FOLDS = 64

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

/** What stands for a value that its spelling would not show as a whole: no text is like it, so the row counts as changed. */
const SPOILT = "'!'"

const number = (codec: ColumnCodec, column: string, style: string): string => {
  const isQuoted = style.startsWith("q")
  const sql = decimal(codec.scale, column, isQuoted ? style.slice(1) : style)
  return isQuoted ? `'"' || ${sql} || '"'` : sql
}

/** `spelling`: the shortest, as a float (`f`), or with as many digits after the point as it names (`d2`). */
const decimal = (scale: number, column: string, spelling: string): string => {
  const text = `${column}::VARCHAR`
  const digits = spelling === "f" ? 1 : Number(spelling.slice(1))
  if (scale === 0) return spelling === "" ? text : `${text} || '.${"0".repeat(digits)}'`
  if (spelling === "" || spelling === "f")
    // Trimming takes several times as long as the rest, and few numbers need it.
    return (
      `CASE WHEN ${column} % 1 = 0 THEN ${column}::BIGINT::VARCHAR${spelling === "f" ? " || '.0'" : ""}` +
      ` WHEN suffix(${text}, '0') THEN rtrim(${text}, '0') ELSE ${text} END`
    )
  const hidden = scale - digits
  if (hidden <= 0) return `${text} || '${"0".repeat(-hidden)}'`
  return `CASE WHEN suffix(${text}, '${"0".repeat(hidden)}') THEN (${text})[:-${hidden + 1}] WHEN ${column} IS NOT NULL THEN ${SPOILT} END`
}

const timestamp = (column: string, style: string): string => {
  const match = /^(d?)(s?)(m?)(?:f([1-6]))?(z?)(u?)$/.exec(style)
  if (match === null) return "NULL"
  const [, isDate, hasSpace, hasNoSeconds, fraction = "0", isUtc, hasOffset] = match
  const shown = (text: string, micros: number): string =>
    micros === 1
      ? text
      : `CASE WHEN epoch_us(${column}) % ${micros} = 0 THEN ${text} WHEN ${column} IS NOT NULL THEN ${SPOILT} END`
  if (isDate === "d") return shown(`strftime(${column}, '"%Y-%m-%d"')`, 86_400_000_000)
  const format = `"%Y-%m-%d${hasSpace === "s" ? " " : "T"}%H:%M${hasNoSeconds === "m" ? "" : ":%S"}`
  const end = `${isUtc === "z" ? "Z" : ""}${hasOffset === "u" ? "+00:00" : ""}"`
  if (hasNoSeconds === "m") return shown(`strftime(${column}, ${quoteText(format + end)})`, 60_000_000)
  if (fraction === "0") return shown(`strftime(${column}, ${quoteText(format + end)})`, 1_000_000)
  const text = `strftime(${column}, ${quoteText(`${format}.`)}) || strftime(${column}, '%f')[:${fraction}] || ${quoteText(end)}`
  return shown(text, 10 ** (6 - Number(fraction)))
}

const columnSql = (codec: ColumnCodec, style: number): string | undefined => {
  const column = `e.${quoteName(codec.name)}`
  const name = styleName(codec, style)
  const orNull = (sql: string): string => `coalesce(${sql}, 'null')`
  switch (codec.class) {
    case "text":
      return orNull(name === "r" ? column : `to_json(${column})::VARCHAR`)
    case "json":
      return orNull(`${column}::VARCHAR`)
    case "date":
      return orNull(`'"' || ${column}::VARCHAR || '"'`)
    case "timestamp":
      return orNull(timestamp(column, name))
    case "number":
      return orNull(number(codec, column, name))
    case "boolean":
      return orNull(name === "q" ? `'"' || ${column}::VARCHAR || '"'` : `${column}::VARCHAR`)
    case "double":
      return undefined
  }
}

/** The text of an entity under a template, over the row `e` and its children's texts `k.k0`, `k.k1`, …; undefined when only the other renderer can. */
export const shapeSql = (code: number, template: Template): string | undefined => {
  const codecs = codecsOf(code)
  /** What stands before the first fragment of `extra`, and behind each. */
  const stretches: Array<Array<string>> = [[]]
  let collection = 0
  for (let i = 0; i <= template.labels.length; i++) {
    const stretch = stretches.at(-1)!
    const text = template.literals[i]!
    if (text !== "") stretch.push(quoteText(text))
    const label = template.labels[i]
    if (label === undefined) break
    if (label.tag === "column") {
      const sql = columnSql(codecs[label.column]!, label.style)
      if (sql === undefined) return undefined
      stretch.push(sql)
    } else if (label.tag === "extra") stretches.push([])
    else if (label.tag === "list") stretch.push(`'[' || coalesce(k.k${collection++}, '') || ']'`)
    else stretch.push(`k.k${collection++}`)
  }
  const fragments = stretches.length - 1
  const [first = [], ...others] = stretches
  if (fragments > 1) return concatSql([...first, ...fragmentsSql(others)])
  // Fragments that the template does not ask for spoil the text, as a missing fragment or child does: the digest shows it.
  return concatSql(
    fragments === 1
      ? [...first, "e.extra", ...others.flat()]
      : [...first, `CASE WHEN e.extra IS NOT NULL THEN ${SPOILT} END`]
  )
}

const concatSql = (parts: ReadonlyArray<string>): string => `concat(${parts.join(", ")})`

/** The fragments of `extra`, each with what stands behind it. */
const fragmentsSql = (stretches: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const split = "string_split(e.extra, chr(10))"
  const spoilt = `CASE WHEN len(${split}) > ${stretches.length} THEN ${SPOILT} END`
  // DuckDB splits the text again for each fragment that is asked for by its number.
  const behind = stretches.map((stretch) => (stretch.length === 0 ? "''" : concatSql(stretch)))
  const pairs = `list_zip(${split}, [${behind.join(", ")}])`
  return [`array_to_string([concat(pair[1], pair[2]) FOR pair IN ${pairs}], '')`, spoilt]
}

/** How many collections a template has. */
const collectionsOf = (template: Template): number =>
  template.labels.filter((label) => label.tag === "list" || label.tag === "one").length

/** A shape as the database has it. */
export interface StoredShape {
  readonly id: number
  readonly kind: number
  readonly template: string
  readonly filled: string
}

/** Renders entities of one open database. */
export interface Renderer {
  readonly shapes: ReadonlyMap<number, StoredShape>
  /** The template of a shape, parsed; throws a `TemplateProblem` when it is none. */
  readonly template: (shape: StoredShape) => Template
  /** SQL of the text of row `e` of a kind, NULL where the other renderer is needed; with what to join for children. */
  readonly expression: (code: number) => { readonly text: string; readonly join: (ids: string) => string }
  /** Compact texts of entities by id; entities that are not there, or do not fit their template, are not in the map. */
  readonly texts: (code: number, ids: ReadonlyArray<number>) => Effect.Effect<Map<number, string>, SqlError.SqlError>
}

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

/** `leastRows`: shapes of fewer rows are left to the other renderer. */
export const makeRenderer = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  { leastRows = LEAST_ROWS }: { readonly leastRows?: number } = {}
) {
  const shapes = new Map<number, StoredShape>()
  for (const [id, kind, template, filled] of yield* queryRows(
    client,
    "SELECT shape_id, kind, template, filled FROM mallard.entity_shapes"
  )) {
    shapes.set(Number(id), { id: Number(id), kind: Number(kind), template: String(template), filled: String(filled) })
  }
  const parsed = new Map<number, Template>()
  const templateOf = (shape: StoredShape): Template => {
    let template = parsed.get(shape.id)
    if (template === undefined) parsed.set(shape.id, (template = parseTemplate(shape.kind, shape.template)))
    return template
  }
  /** Templates that stand in rows, as far as few differ. */
  const folds = new Map<string, Template>()
  const foldOf = (code: number, text: string): Template => {
    const key = `${code} ${text}`
    const known = folds.get(key)
    if (known !== undefined) return known
    const template = parseTemplate(code, text)
    if (folds.size === MOST_FOLDS) folds.clear()
    folds.set(key, template)
    return template
  }
  const common = yield* commonShapes(client, shapes, leastRows)

  const expression: Renderer["expression"] = (code) => {
    if (code === JSON_KIND.code) return { text: "e.extra", join: () => "" }
    const branches: Array<string> = []
    let collections = 0
    for (const shape of common.get(code) ?? []) {
      const template = templateOf(shape)
      const sql = shapeSql(code, template)
      if (sql === undefined) continue
      branches.push(`WHEN ${shape.id} THEN ${sql}`)
      collections = Math.max(collections, collectionsOf(template))
    }
    const text = branches.length === 0 ? NO_TEXT : `CASE e.shape_id ${branches.join(" ")} END`
    return {
      text,
      join: (ids) =>
        collections === 0
          ? ""
          : ` LEFT JOIN (${childrenSql(code, collections, ids)}) k ON k.parent_entity_id = e.entity_id`
    }
  }

  /** Per parent, the texts of each collection's children joined by commas; NULL when one of them has no text in SQL. */
  const childrenSql = (code: number, collections: number, parents: string): string => {
    const kind = kindByCode(code)!
    const codes = childCodes(kind)
    const links = `SELECT * FROM mallard.links WHERE parent_kind = ${code} AND parent_entity_id IN (${parents})`
    const texts = codes.map((child) => {
      const ids = `SELECT child_entity_id FROM mallard.links WHERE parent_kind = ${code} AND child_kind = ${child} AND parent_entity_id IN (${parents})`
      if (child === 0)
        return `SELECT 0 AS kind, entity_id, extra AS text FROM mallard.json_values WHERE entity_id IN (${ids})`
      const { text, join } = expression(child)
      return `SELECT ${child} AS kind, e.entity_id, ${text} AS text FROM mallard.${quoteName(kindByCode(child)!.table)} e${join(ids)} WHERE e.entity_id IN (${ids})`
    })
    const columns = Array.from(
      { length: collections },
      (_, at) =>
        // Cheaper than `string_agg` with an order of its own.
        `CASE WHEN count(*) FILTER (l.collection = ${at} AND c.text IS NULL) = 0 THEN array_to_string([x.text FOR x IN list_sort(list({ordinal: l.ordinal, text: c.text}) FILTER (l.collection = ${at}))], ',') ELSE chr(1) END AS k${at}`
    )
    return `SELECT l.parent_entity_id, ${columns.join(", ")} FROM (${links}) l LEFT JOIN (${texts.join(" UNION ALL ")}) c ON c.kind = l.child_kind AND c.entity_id = l.child_entity_id GROUP BY l.parent_entity_id`
  }

  const texts: Renderer["texts"] = Effect.fnUntraced(function* (code, ids) {
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
      yield* renderRows(kind, where, found)
    }
    return found
  })

  /** A row's template and fragments, or nothing when it has none. */
  const rowOf = (kind: EntityKind, shapeId: number, stored: string | null): EntityText | undefined =>
    ifSound(() => {
      if (shapeId === 0) {
        const folded = splitFolded(stored ?? "")
        return { template: foldOf(kind.code, folded.template), extra: folded.extra }
      }
      const shape = shapes.get(shapeId)
      return shape?.kind === kind.code ? { template: templateOf(shape), extra: stored } : undefined
    })

  const renderRows = Effect.fnUntraced(function* (
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
      const row = rowOf(kind, Number(shapeId), extra === null ? null : String(extra))
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
    const children = hasChildren ? yield* childrenOf(kind, where) : undefined
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
  const childrenOf = Effect.fnUntraced(function* (kind: EntityKind, where: (column: string) => string) {
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
    for (const [child, set] of wanted) rendered.set(child, yield* texts(child, [...set]))
    const byParent = new Map<number, Array<Array<string>>>()
    for (const [parent, collection, child, id] of links) {
      const lists = byParent.get(Number(parent)) ?? []
      byParent.set(Number(parent), lists)
      ;(lists[Number(collection)] ??= []).push(rendered.get(Number(child))?.get(Number(id)) ?? "")
    }
    return byParent
  })

  const renderer: Renderer = { shapes, template: templateOf, expression, texts }
  return renderer
})

/** The kinds, by code, that entities of a kind may hold. */
export const childCodes = (kind: EntityKind): ReadonlyArray<number> => [
  0,
  ...new Set(kind.children.map(({ kind: child }) => kinds.find((other) => other.kind === child)!.code))
]

/** What the text of an entity is made of, its columns and children aside. */
interface EntityText {
  readonly template: Template
  readonly extra: string | null
}

/** A condition on ids that are sorted: one that names a range lets DuckDB pass over most of a table. */
const isOneOf = (ids: ReadonlyArray<number>): ((column: string) => string) => {
  const [first, last] = [ids[0]!, ids.at(-1)!]
  const list = last - first === ids.length - 1 ? "" : ids.join(",")
  return (column) => `${column} BETWEEN ${first} AND ${last}${list === "" ? "" : ` AND ${column} IN (${list})`}`
}

/** A row that does not fit its template has no text. */
const ifSound = <A>(render: () => A): A | undefined => {
  try {
    return render()
  } catch (problem) {
    if (problem instanceof TemplateProblem) return undefined
    throw problem
  }
}

/** The text of a BLOB value. */
export const blobText = (value: unknown): string => blobBytes(value).toString("utf8")

/** The bytes of a BLOB value, not copied. */
export const blobBytes = (value: unknown): Buffer => {
  if (!(value instanceof DuckDBBlobValue)) return Buffer.alloc(0)
  const { bytes } = value
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
