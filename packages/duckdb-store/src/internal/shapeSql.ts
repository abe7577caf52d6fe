/**
 * SQL that renders entities: for the common shapes of a kind an expression each, made from their templates. What an
 * expression cannot show as a whole spoils the text, so that its digest is another one.
 */
import { type ColumnCodec, codecsOf, styleName, type Template } from "@mallard/entity-serializers"
import { type EntityKind, JSON_KIND, kindByCode, kinds } from "@mallard/schema"
import { quoteName, quoteText } from "../Quoting.ts"
import { type StoredShape } from "./templates.ts"

/** The expression of a kind whose rows are all left to the other renderer. */
export const NO_TEXT = "NULL::VARCHAR"

/** The shapes of each kind, by its code, that DuckDB renders, and their templates. */
export interface CommonShapes {
  readonly shapes: ReadonlyMap<number, ReadonlyArray<StoredShape>>
  readonly template: (shape: StoredShape) => Template
}

/** SQL of the text of row `e` of a kind, NULL where its shape is none of the common ones. */
export interface EntitySql {
  readonly text: string
  /** What to join for the texts of the children, of the entities whose ids the query `ids` gives. */
  readonly join: (ids: string) => string
}

/** How the entities of a kind are rendered. Throws a `TemplateProblem` when the template of a shape is none. */
export const entitySql = (common: CommonShapes, code: number): EntitySql => {
  if (code === JSON_KIND.code) return { text: "e.extra", join: () => "" }
  const branches: Array<string> = []
  let collections = 0
  for (const shape of common.shapes.get(code) ?? []) {
    const template = common.template(shape)
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
        : ` LEFT JOIN (${childrenSql(common, code, collections, ids)}) k ON k.parent_entity_id = e.entity_id`
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

/** The kinds, by code, that entities of a kind may hold. */
export const childCodes = (kind: EntityKind): ReadonlyArray<number> => [
  0,
  ...new Set(kind.children.map(({ kind: child }) => kinds.find((other) => other.kind === child)!.code))
]

/** Per parent, the texts of each collection's children joined by commas; NULL when one of them has no text in SQL. */
const childrenSql = (common: CommonShapes, code: number, collections: number, parents: string): string => {
  const kind = kindByCode(code)!
  const codes = childCodes(kind)
  const links = `SELECT * FROM mallard.links WHERE parent_kind = ${code} AND parent_entity_id IN (${parents})`
  const texts = codes.map((child) => {
    const ids = `SELECT child_entity_id FROM mallard.links WHERE parent_kind = ${code} AND child_kind = ${child} AND parent_entity_id IN (${parents})`
    if (child === 0)
      return `SELECT 0 AS kind, entity_id, extra AS text FROM mallard.json_values WHERE entity_id IN (${ids})`
    const { text, join } = entitySql(common, child)
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
