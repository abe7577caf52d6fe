/** Verification of columns and links against the templates of their rows: nothing is there that no source gave, copies are copies. */
import {
  codecsOf,
  collectionPointers,
  type ColumnValue,
  DocumentReader,
  EntityBatch,
  EntityIndex,
  EntityReader,
  rowValues,
  ShapeDictionary
} from "@mallard/entity-serializers"
import type { EntityKind } from "@mallard/schema"
import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { blobText, nativeSql, nativeValue, queryRows, type Renderer, streamRows } from "../Rendering.ts"
import { quoteName, quoteText } from "../Quoting.ts"
import type { Findings } from "./findings.ts"
import { nextId, Steps } from "./lowestId.ts"
import { childCodes } from "./shapeSql.ts"
import type { StoredShape } from "./templates.ts"

export const checkTemplates = (renderer: Renderer, findings: Findings): boolean => {
  let readable = true
  for (const shape of renderer.shapes.values()) {
    try {
      renderer.template(shape)
      collectionPointers(shape.template)
    } catch {
      readable = false
      findings.add("template-unreadable", `mallard.entity_shapes shape_id ${shape.id}`, "its template is no template")
    }
  }
  return readable
}

/** The columns that rows of a shape may fill. */
const filledBy = (renderer: Renderer, kind: EntityKind, shape: StoredShape): ReadonlySet<string> => {
  const columns = new Set(filledColumns(shape).map(({ name }) => name))
  for (const label of renderer.template(shape).labels) {
    if ((label.tag === "column" || label.tag === "extra") && label.column !== undefined)
      columns.add(kind.columns[label.column]!.name)
  }
  return columns
}

/** The columns of a shape that hold more than their own leaf; `copyOf` names the column that one is a plain copy of. */
const filledColumns = (
  shape: StoredShape
): ReadonlyArray<{ readonly name: string; readonly copyOf: string | undefined }> =>
  shape.filled === ""
    ? []
    : shape.filled.split(",").map((entry) => {
        const [name = "", copyOf] = entry.split("=")
        return { name, copyOf }
      })

/** NULL where a shape says nothing, and copies and best values as the reader makes them. `rowBytes`: how long texts may be. */
export const checkKind = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  renderer: Renderer,
  kind: EntityKind,
  shapes: ReadonlyArray<StoredShape>,
  hasLinks: boolean,
  rowBytes: number,
  findings: Findings
) {
  const table = `mallard.${kind.table}`
  const filled = new Map(shapes.map((shape) => [shape.id, filledBy(renderer, kind, shape)]))
  // A column that every shape fills has nothing to count.
  const counted = kind.columns.filter(({ name }) => [...filled.values()].some((columns) => !columns.has(name)))
  const again: Array<number> = []
  const copies: Array<{ readonly shapeId: number; readonly name: string; readonly pair: string }> = []
  const pairs = new Map<string, { readonly name: string; readonly copyOf: string }>()
  let withoutShape = 0
  for (const [id, rows, ...found] of yield* queryRows(
    client,
    `SELECT ${["shape_id", "count(*)", ...counted.map(({ name }) => `count(${quoteName(name)})`)].join(", ")} FROM ${table} GROUP BY shape_id`
  )) {
    const shapeId = Number(id)
    if (shapeId === 0) {
      again.push(0)
      continue
    }
    const shape = renderer.shapes.get(shapeId)
    const columnsFilled = filled.get(shapeId)
    if (shape === undefined || columnsFilled === undefined) {
      withoutShape += Number(rows)
      continue
    }
    counted.forEach(({ name }, at) => {
      if (!columnsFilled.has(name) && Number(found[at]) > 0) {
        findings.add(
          "value-without-source",
          `${table} column ${name}`,
          `${Number(found[at])} rows of shape ${shapeId} have a value that no source gave`
        )
      }
    })
    const columns = filledColumns(shape)
    if (columns.some(({ copyOf }) => copyOf === undefined)) again.push(shapeId)
    for (const { name, copyOf } of columns) {
      if (copyOf === undefined) continue
      const pair = `${name}=${copyOf}`
      pairs.set(pair, { name, copyOf })
      copies.push({ shapeId, name, pair })
    }
  }
  if (withoutShape > 0) findings.add("reference-broken", table, `${withoutShape} rows have a shape that does not exist`)
  if (pairs.size > 0) {
    // One branch per pair of columns: there are few of them, however many shapes there are.
    const branches = [...pairs].map(
      ([pair, { copyOf, name }]) =>
        `SELECT entity_id, shape_id, ${quoteText(pair)} FROM ${table} WHERE shape_id IN (${shapesWith(kind, `list_contains(string_split(filled, ','), ${quoteText(pair)})`)}) AND ${quoteName(name)} IS DISTINCT FROM ${quoteName(copyOf)}`
    )
    const changed = Map.groupBy(
      yield* queryRows(client, `${branches.join(" UNION ALL ")} ORDER BY entity_id`),
      ([, shapeId, pair]) => `${Number(shapeId)} ${String(pair)}`
    )
    for (const { name, pair, shapeId } of changed.size === 0 ? [] : copies) {
      for (const [id] of changed.get(`${shapeId} ${pair}`) ?? []) {
        findings.add(
          "copy-changed",
          `${table} entity_id ${Number(id)} column ${name}`,
          "it no longer holds what its entity's text gives"
        )
      }
    }
  }
  if (again.length > 0) yield* readAgain(client, renderer, kind, again, rowBytes, findings)
  if (hasLinks) yield* checkPointers(client, kind, shapes, findings)
})

/** The ids of a kind's shapes under a condition: asked of the table, because a list of them can be long. */
const shapesWith = (kind: EntityKind, condition: string): string =>
  `SELECT shape_id FROM mallard.entity_shapes WHERE kind = ${kind.code} AND ${condition}`

/** Holds for shapes with a column that holds more than its own leaf and is no plain copy. */
const READ_AGAIN_SHAPES = "filled <> '' AND regexp_matches(filled, '(^|,)[^,=]*(,|$)')"

/** Rows read again at once, at most. */
const READ_AGAIN = 20_000

/** Renders rows whose columns hold more than their own leaf, reads the text again, and compares every column. */
const readAgain = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  renderer: Renderer,
  kind: EntityKind,
  shapeIds: ReadonlyArray<number>,
  rowBytes: number,
  findings: Findings
) {
  const table = `mallard.${kind.table}`
  const names = new Set(
    shapeIds.flatMap((id) =>
      (id === 0 ? kind.columns : filledColumns(renderer.shapes.get(id)!)).map(({ name }) => name)
    )
  )
  const codecs = codecsOf(kind.code).filter(({ name }) => names.has(name))
  const { text, join } = renderer.expression(kind.code)
  const folded = shapeIds.includes(0) ? " UNION ALL SELECT 0" : ""
  const ofShapes = `e.shape_id IN (${shapesWith(kind, READ_AGAIN_SHAPES)}${folded}) AND e.entity_id`
  const steps = new Steps(READ_AGAIN, rowBytes)
  let from = yield* nextId(client, "e.entity_id", `${table} e WHERE ${ofShapes} >= 0`)
  while (from !== undefined) {
    const end: number = from + steps.ids
    const where = `${ofShapes} BETWEEN ${from} AND ${end - 1}`
    const rows = yield* streamRows(
      client,
      `SELECT e.entity_id, encode(${text}), ${codecs.map(nativeSql).join(", ")} FROM ${table} e${join(`SELECT e.entity_id FROM ${table} e WHERE ${where}`)} WHERE ${where}`
    )
    const missing = rows.filter(([, bytes]) => bytes === null).map(([id]) => Number(id))
    const rendered = yield* renderer.texts(kind.code, missing)
    const reader = freshReader()
    let length = 0
    for (const [id, bytes, ...values] of rows) {
      const source = bytes === null ? rendered.get(Number(id)) : blobText(bytes)
      if (source === undefined) continue
      length += source.length
      const worked = reader(kind.code, source)
      codecs.forEach((codec, at) => {
        const stored = nativeValue(values[at])
        const wanted = worked === undefined ? undefined : (worked.get(codec.name) ?? null)
        if (wanted !== undefined && !sameValue(stored, wanted)) {
          findings.add(
            "copy-changed",
            `${table} entity_id ${Number(id)} column ${codec.name}`,
            "it no longer holds what its entity's text gives"
          )
        }
      })
    }
    steps.took(length)
    from = yield* nextId(client, "e.entity_id", `${table} e WHERE ${ofShapes} >= ${end}`)
  }
})

/** Whole numbers may come as `number` from one side and as `bigint` from the other. */
const sameValue = (a: ColumnValue, b: ColumnValue): boolean =>
  Object.is(a, b) ||
  (typeof a === "bigint" && typeof b === "number" && a === BigInt(Math.trunc(b)) && Number.isInteger(b)) ||
  (typeof b === "bigint" && typeof a === "number" && sameValue(b, a))

/** Reads texts of entities into a batch of its own and gives the columns of each. */
const freshReader = (): ((code: number, text: string) => ReadonlyMap<string, ColumnValue> | undefined) => {
  const batch = new EntityBatch()
  const reader = new EntityReader(
    batch,
    new ShapeDictionary(),
    batch.rows.map(() => new EntityIndex())
  )
  const documents = new DocumentReader(reader)
  return (code, text) => {
    const tokenizer = reader.tokenizer
    batch.clear()
    tokenizer.o = 0
    for (const index of reader.indexes) index.rollback(0)
    try {
      documents.readBytes(Buffer.from(text), { tag: "entity", kind: code })
    } catch {
      return undefined
    }
    return rowValues(batch, code, batch.rows[code]!.count - 1, tokenizer.output)
  }
}

/** Places of collections, or rows with a template of their own, that are compared at once. */
const PLACES_AT_ONCE = 2048

/** Where a collection stands in the rows of a shape, or in one row. */
interface Place {
  readonly id: number
  readonly collection: number
  readonly pointer: string
  readonly list: boolean
}

const placesIn = (id: number, pointers: ReturnType<typeof collectionPointers>): ReadonlyArray<Place> =>
  pointers.map(({ list, pointer }, collection) => ({ id, collection, pointer, list }))

/** Places, ascending by id, in parts that keep those of an id together; one without any when there are none. */
const inParts = (places: ReadonlyArray<Place>): ReadonlyArray<ReadonlyArray<Place>> => {
  let part: Array<Place> = []
  const parts = [part]
  for (const place of places) {
    if (part.length >= PLACES_AT_ONCE && part.at(-1)?.id !== place.id) parts.push((part = []))
    part.push(place)
  }
  return parts
}

/** Links say where in their parent they stand; the parent's template says it too. */
const checkPointers = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  kind: EntityKind,
  shapes: ReadonlyArray<StoredShape>,
  findings: Findings
) {
  if (kind.children.length === 0) return
  const table = `mallard.${kind.table}`
  /** How many links of some rows `e` stand elsewhere than the places say, which are given by the ids in a column of `e`. */
  const countWrong = Effect.fnUntraced(function* (id: string, places: ReadonlyArray<Place>, rows: string) {
    let wrong = 0
    const parts = inParts(places)
    for (const [at, part] of parts.entries()) {
      // Every id is in the range of one part: what has no place is wrong too.
      const first = at === 0 ? undefined : part[0]
      const next = parts[at + 1]?.[0]
      const range = `${first === undefined ? "" : ` AND e.${id} >= ${first.id}`}${next === undefined ? "" : ` AND e.${id} < ${next.id}`}`
      // One text for all places: DuckDB takes much longer over values that are each an expression.
      const [row] = yield* queryRows(
        client,
        `WITH p AS (SELECT unnest(from_json(${quoteText(JSON.stringify(part))}, '[{"id":"BIGINT","collection":"INTEGER","pointer":"VARCHAR","list":"BOOLEAN"}]'), recursive := true))
     SELECT count(*) FROM (
       SELECT l.pointer, l.ordinal, l.child_kind, p.pointer AS place, p.list
       FROM mallard.links l JOIN ${table} e ON e.entity_id = l.parent_entity_id
       LEFT JOIN p ON p.id = e.${id} AND p.collection = l.collection
       WHERE l.parent_kind = ${kind.code} AND ${rows}${range})
     WHERE place IS NULL OR pointer <> CASE WHEN list THEN place || '/' || ordinal ELSE place END OR child_kind NOT IN (${childCodes(kind).join(",")})`
      )
      wrong += Number(row?.[0] ?? 0)
    }
    return wrong
  })
  let wrong = yield* countWrong(
    "shape_id",
    shapes.toSorted((a, b) => a.id - b.id).flatMap(({ id, template }) => placesIn(id, collectionPointers(template))),
    "e.shape_id <> 0"
  )
  let from = yield* nextId(client, "entity_id", `${table} WHERE shape_id = 0`)
  while (from !== undefined) {
    const end: number = from + PLACES_AT_ONCE
    const range = `BETWEEN ${from} AND ${end - 1}`
    const folded = yield* queryRows(
      client,
      // The first line is the template, and the lines behind it may be long.
      `SELECT entity_id, encode(split_part(extra, chr(10), 1)) FROM ${table} WHERE shape_id = 0 AND entity_id ${range} AND entity_id IN (SELECT parent_entity_id FROM mallard.links WHERE parent_kind = ${kind.code} AND parent_entity_id ${range}) ORDER BY entity_id`
    )
    if (folded.length > 0) {
      const own = folded.flatMap(([id, template]) => placesIn(Number(id), pointersOfFolded(blobText(template))))
      wrong += yield* countWrong("entity_id", own, `e.shape_id = 0 AND e.entity_id ${range}`)
    }
    from = yield* nextId(client, "entity_id", `${table} WHERE shape_id = 0 AND entity_id >= ${end}`)
  }
  if (wrong > 0)
    findings.add(
      "link-changed",
      "mallard.links",
      `${wrong} links of ${kind.table} do not stand where their parent's template says`
    )
  const [gaps] = yield* queryRows(
    client,
    `SELECT count(*) FROM (SELECT count(*) AS n, max(ordinal) AS top, min(ordinal) AS low, count(DISTINCT ordinal) AS d FROM mallard.links WHERE parent_kind = ${kind.code} GROUP BY parent_entity_id, collection) WHERE n <> top + 1 OR low <> 0 OR d <> n`
  )
  if (Number(gaps?.[0] ?? 0) > 0)
    findings.add(
      "link-changed",
      "mallard.links",
      `${Number(gaps?.[0])} collections of ${kind.table} are not numbered from 0 without gaps`
    )
})

/** Where the collections of a row with a template of its own stand; a template that is none has none. */
const pointersOfFolded = (template: string): ReturnType<typeof collectionPointers> => {
  try {
    return collectionPointers(template)
  } catch {
    return []
  }
}
