/**
 * The canonical form of an entity: one shape per kind, whatever spelling the source used. It is made from the typed
 * columns alone; what no column holds is not in it.
 */

import { Schema } from "effect"
import { parseJson } from "./Json.ts"
import type { Column, EntityKind, SqlType } from "./Kind.ts"
import type { AnyDeclaredKind } from "./Row.ts"

/**
 * What a column holds in the canonical form: DECIMAL is text, so that no digit is lost; BIGINT is a number where that
 * is exact, else a bigint; JSON is a value.
 */
export type CanonicalCell<Type extends SqlType> = Type extends "BOOLEAN"
  ? boolean
  : Type extends "INTEGER" | "DOUBLE"
    ? number
    : Type extends "BIGINT"
      ? number | bigint
      : Type extends "JSON"
        ? Schema.Json
        : string

/** The canonical form of a kind. Absent keys are columns without a value; a group without keys is absent. */
export type Canonical<Kind extends AnyDeclaredKind> = Intersection<
  {
    [Name in keyof Kind["declarations"] & string]: AtPath<
      Kind["declarations"][Name]["canonical"] extends string
        ? Kind["declarations"][Name]["canonical"]
        : CamelCase<Name>,
      CanonicalCell<Kind["declarations"][Name]["type"]>
    >
  }[keyof Kind["declarations"] & string]
>

/** A canonical entity of a kind that is not known to the type checker. */
export type CanonicalEntity = Readonly<Record<string, unknown>>

/**
 * The canonical form of a row. Columns that are null or missing are absent. DECIMAL numbers get the digits of their
 * column's scale; text of a JSON column that is not JSON stays a text.
 */
export function toCanonical<Kind extends AnyDeclaredKind>(
  kind: Kind,
  row: Readonly<Record<string, unknown>>
): Canonical<Kind>
export function toCanonical(kind: EntityKind, row: Readonly<Record<string, unknown>>): CanonicalEntity
export function toCanonical(kind: EntityKind, row: Readonly<Record<string, unknown>>): CanonicalEntity {
  const entity: Record<string, unknown> = {}
  const groups: Record<string, Record<string, unknown>> = {}
  for (const column of kind.columns) {
    const cell = row[column.name]
    if (cell === null || cell === undefined) continue
    const { group, key } = place(column)
    const target = group === undefined ? entity : (groups[group] ??= {})
    if (group !== undefined) entity[group] = target
    target[key] = canonicalCell(column.type, cell)
  }
  return entity
}

/** The schema of a kind's canonical form, in which every key is optional. */
export function canonicalSchema<Kind extends AnyDeclaredKind>(
  kind: Kind
): Schema.Codec<Canonical<Kind>, CanonicalEntity>
export function canonicalSchema(kind: EntityKind): Schema.Codec<CanonicalEntity>
export function canonicalSchema(kind: EntityKind): Schema.Codec<CanonicalEntity> {
  const fields: Record<string, Schema.Codec<unknown>> = {}
  const groups: Record<string, Record<string, Schema.Codec<unknown>>> = {}
  for (const column of kind.columns) {
    const { group, key } = place(column)
    const target = group === undefined ? fields : (groups[group] ??= {})
    target[key] = cellSchema(column)
    if (group !== undefined) fields[group] = Schema.Struct(optional(target))
  }
  return Schema.Struct(optional(fields)).annotate({ title: kind.kind })
}

/** The JSON Schema (draft 2020-12) of a kind's canonical form. */
export const toJsonSchema = (kind: EntityKind): Readonly<Record<string, unknown>> => {
  const document = Schema.toJsonSchemaDocument(canonicalSchema(kind))
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    ...document.schema,
    ...(Object.keys(document.definitions).length > 0 ? { $defs: document.definitions } : {})
  }
}

const place = ({ canonical }: Column): { readonly group: string | undefined; readonly key: string } => {
  const [first = "", second] = canonical.split(".")
  return second === undefined ? { group: undefined, key: first } : { group: first, key: second }
}

const canonicalCell = (type: SqlType, cell: unknown): unknown => {
  if (type === "BIGINT" && typeof cell === "bigint") {
    return Number.isSafeInteger(Number(cell)) ? Number(cell) : cell
  }
  if (type === "JSON" && typeof cell === "string") return cellOf(cell)
  if (type.startsWith("DECIMAL") && typeof cell === "number") return cell.toFixed(scaleOf(type))
  return cell
}

// DuckDB takes tokens such as NaN for JSON, which JavaScript does not.
const cellOf = (text: string): unknown => {
  try {
    return parseJson(text)
  } catch {
    return text
  }
}

const scaleOf = (type: SqlType): number => Number(type.slice(type.indexOf(",") + 1, -1))

const cellSchema = ({ type, description }: Column): Schema.Codec<unknown> => {
  const schema = schemaOfType(type)
  return description === undefined ? schema : schema.annotate({ description })
}

const schemaOfType = (type: SqlType) => {
  switch (type) {
    case "VARCHAR":
      return Schema.String
    case "DATE":
      return DateText
    case "TIMESTAMP":
      return TimestampText
    case "INTEGER":
      return Schema.Int
    case "BIGINT":
      return Schema.Union([Schema.Int, Schema.BigInt])
    case "DOUBLE":
      return Schema.Finite
    case "BOOLEAN":
      return Schema.Boolean
    case "JSON":
      return Schema.Json
    default:
      return DecimalText
  }
}

// JSON Schema gets a pattern only where the expression has the flag `u`.
const DateText = Schema.String.check(Schema.isPattern(/^\d{4}-\d{2}-\d{2}$/u))
const TimestampText = Schema.String.check(Schema.isPattern(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?$/u))
const DecimalText = Schema.String.check(Schema.isPattern(/^-?\d+(\.\d+)?$/u))

const optional = (fields: Readonly<Record<string, Schema.Codec<unknown>>>) =>
  Object.fromEntries(Object.entries(fields).map(([key, schema]) => [key, Schema.optionalKey(schema)]))

type AtPath<Path extends string, Value> = Path extends `${infer Group}.${infer Key}`
  ? { readonly [G in Group]?: { readonly [K in Key]?: Value } }
  : { readonly [K in Path]?: Value }

type CamelCase<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name

type Intersection<Union> = (Union extends unknown ? (member: Union) => void : never) extends (
  intersection: infer All
) => void
  ? All
  : never
