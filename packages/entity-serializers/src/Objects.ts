/**
 * Entities as JavaScript values: objects from programs become rows, and rows become objects again. Values become JSON
 * text first, by a strict writer that refuses whatever `JSON.stringify` would drop or alter; from then on nothing is lost.
 */
import { JSON_KIND, kindByCode, kindByName, type KindName, parseJson } from "@mallard/schema"
import { rowDigest, rowValues, viewBatch } from "./BatchReader.ts"
import { codecsOf } from "./Codec.ts"
import { DocumentReader } from "./Document.ts"
import { EntityBatch } from "./EntityBatch.ts"
import { EntityIndex } from "./EntityIndex.ts"
import { pointerToken } from "./internal/Compact.ts"
import { EntityReader } from "./internal/EntityReader.ts"
import { makeBudget } from "./internal/ShapeTrie.ts"
import { fromRowValue, toRowValue } from "./internal/RowValues.ts"
import { Tokenizer } from "./internal/Tokenizer.ts"
import type { ValueRemark } from "./Remark.ts"
import { ShapeDictionary } from "./ShapeDictionary.ts"
import { collectionPointers, parseTemplate, renderEntity, type Template, TemplateProblem } from "./Template.ts"

/** Why a value cannot become JSON text, or a row no value. */
export type UnsupportedCode =
  | "undefined"
  | "function"
  | "symbol"
  | "symbol-key"
  | "hidden-key"
  | "date"
  | "not-finite"
  | "negative-zero"
  | "unsafe-integer"
  | "sparse-array"
  | "array-property"
  | "to-json"
  | "not-plain"
  | "cycle"
  | "raw-json"
  | "too-large"
  | "not-an-object"
  | "python-token"
  | "column-value"

const REMEDIES: Readonly<Record<UnsupportedCode, string>> = {
  undefined: "undefined is no JSON: leave the key out, or use null",
  function: "a function is no JSON: leave the key out",
  symbol: "a symbol is no JSON: use a text",
  "symbol-key": "a key is a symbol: use a text",
  "hidden-key": "a property is not enumerable, so it would be lost: make it enumerable or copy the object without it",
  date: "a Date says neither its style nor its zone: use the text that you mean, as in date.toISOString()",
  "not-finite": 'NaN and infinities are no JSON: use null, or new RawJson("NaN") if you mean Python\'s token',
  "negative-zero": 'the sign of -0 would be lost: use 0, or new RawJson("-0")',
  "unsafe-integer": "an integer beyond 2^53 may have lost digits already: use a bigint or RawJson",
  "sparse-array": "an array has holes: fill them with null",
  "array-property": "an array has properties beside its elements, which would be lost: use an object",
  "to-json": "an object has a toJSON method: call it yourself, so that it is plain what is stored",
  "not-plain": "only plain objects and arrays are JSON: copy what you mean into one, as in Object.fromEntries(map)",
  cycle: "an object contains itself: break the cycle",
  "raw-json": "the text of a RawJson is no JSON",
  "too-large": "the text would be longer than 2^28 characters: split the value",
  "not-an-object": "an entity is an object",
  "python-token": "the text holds NaN, which no JSON value is: use the text itself",
  "column-value": "a column holds what its type does not allow"
}

/** Thrown for a value that JSON cannot say. `pointer` leads to it from the root; the message never holds a value. */
export class UnsupportedValue extends Error {
  override readonly name = "UnsupportedValue"
  readonly code: UnsupportedCode
  readonly pointer: string
  constructor(code: UnsupportedCode, pointer: string, options?: ErrorOptions) {
    super(REMEDIES[code], options)
    this.code = code
    this.pointer = pointer
  }
}

/**
 * JSON text that stands for a value, spelt as it is: exact numbers, duplicate keys, Python's `NaN`. Where the runtime has
 * `JSON.rawJSON`, its values mean the same.
 */
export class RawJson {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** Longest text that `toJsonText` makes, in UTF-16 units. */
const MAX_TEXT = 2 ** 28

interface OpenContainer {
  readonly value: object
  /** Undefined for an array. */
  readonly keys: ReadonlyArray<string> | undefined
  /** How many members or elements there are. */
  readonly length: number
  /** Members or elements begun. */
  begun: number
}

/**
 * The compact JSON text of a value: what `JSON.stringify` gives, but `UnsupportedValue` where that would drop or alter
 * anything. `bigint` becomes its digits, `RawJson` its text without white space. Depth is no limit.
 */
export const toJsonText = (value: unknown): string => {
  const parts: Array<string> = []
  const open: Array<OpenContainer> = []
  const ancestors = new Set<object>()
  let length = 0
  let current = value

  const pointer = (): string =>
    open.map(({ keys, begun }) => (keys === undefined ? `/${begun - 1}` : pointerToken(keys[begun - 1]!))).join("")
  const fail = (code: UnsupportedCode, cause?: unknown): never => {
    throw new UnsupportedValue(code, pointer(), { cause })
  }
  const write = (text: string): void => {
    length += text.length
    if (length > MAX_TEXT) fail("too-large")
    parts.push(text)
  }
  const number = (n: number): string => {
    if (!Number.isFinite(n)) fail("not-finite")
    if (Object.is(n, -0)) fail("negative-zero")
    if (Number.isInteger(n) && !Number.isSafeInteger(n)) fail("unsafe-integer")
    return String(n)
  }
  const raw = (text: string): string => {
    try {
      return compacted(text)
    } catch (problem) {
      return fail("raw-json", problem)
    }
  }

  for (;;) {
    // A value is due.
    if (typeof current === "string") write(JSON.stringify(current))
    else if (typeof current === "number") write(number(current))
    else if (typeof current === "boolean" || typeof current === "bigint") write(String(current))
    else if (current === null) write("null")
    else if (current === undefined) fail("undefined")
    else if (typeof current !== "object") fail(typeof current === "symbol" ? "symbol" : "function")
    else if (current instanceof RawJson) write(raw(current.text))
    else if (isRawJson(current)) write(raw(current.rawJSON))
    else {
      if (ancestors.has(current)) fail("cycle")
      const problem = problemOf(current)
      if (problem !== undefined) fail(problem)
      ancestors.add(current)
      if (Array.isArray(current)) {
        open.push({ value: current, keys: undefined, length: current.length, begun: 0 })
        write("[")
      } else {
        const keys = Object.keys(current)
        open.push({ value: current, keys, length: keys.length, begun: 0 })
        write("{")
      }
    }
    // A value has been written, or a container is open at its start.
    for (;;) {
      const top = open.at(-1)
      if (top === undefined) return parts.join("")
      if (top.begun < top.length) {
        if (top.begun > 0) write(",")
        const at = top.begun++
        if (top.keys === undefined) {
          // Checked one by one, so that a long array with a hole costs nothing.
          if (!Object.hasOwn(top.value, at)) fail("sparse-array")
          current = Reflect.get(top.value, at)
        } else {
          const key = top.keys[at]!
          write(`${JSON.stringify(key)}:`)
          current = Reflect.get(top.value, key)
        }
        break
      }
      write(top.keys === undefined ? "]" : "}")
      ancestors.delete(top.value)
      open.pop()
    }
  }
}

/** What would be lost of an object or array as such. */
const problemOf = (value: object): UnsupportedCode | undefined => {
  if (value instanceof Date) return "date"
  const array = Array.isArray(value)
  if (!array) {
    const prototype: unknown = Object.getPrototypeOf(value)
    // Objects of other realms are plain too.
    const plain = typeof prototype === "object" && (prototype === null || Object.getPrototypeOf(prototype) === null)
    if (!plain) return typeof Reflect.get(value, "toJSON") === "function" ? "to-json" : "not-plain"
  }
  if (typeof Reflect.get(value, "toJSON") === "function") return "to-json"
  const own = Reflect.ownKeys(value)
  if (own.some((key) => typeof key === "symbol")) return "symbol-key"
  const shown = Object.keys(value).length
  // An array's own keys are its elements and its length.
  if (array) return shown > value.length || own.length !== shown + 1 ? "array-property" : undefined
  return own.length === shown ? undefined : "hidden-key"
}

const isRawJson = (value: object): value is { readonly rawJSON: string } => {
  const test: unknown = Reflect.get(JSON, "isRawJSON")
  return typeof test === "function" && Reflect.apply(test, JSON, [value]) === true
}

/** The compact form of a JSON text. Throws `JsonProblem`. */
const compacted = (text: string): string => {
  const tokenizer = new Tokenizer()
  const bytes = encoded(text)
  tokenizer.input = bytes
  tokenizer.end = bytes.length - 1
  tokenizer.reserve()
  tokenizer.value()
  tokenizer.peek()
  if (tokenizer.p < tokenizer.end) tokenizer.fail("trailing-content")
  return Buffer.from(tokenizer.output.buffer, 0, tokenizer.o).toString("utf8")
}

/** UTF-8 with a zero byte at its end. Lone surrogates, which no UTF-8 holds, become escapes that mean the same. */
const encoded = (text: string): Uint8Array =>
  Buffer.from(`${text.isWellFormed() ? text : withoutLoneSurrogates(text)}\0`)

const withoutLoneSurrogates = (text: string): string =>
  // One behind a backslash stays and is refused: the two backslashes of an escape would be a text of their own.
  text.replace(/\\[^]|\p{Surrogate}/gu, (found) =>
    found.startsWith("\\") ? found : `\\u${found.charCodeAt(0).toString(16)}`
  )

/**
 * A column's value: DATE is `YYYY-MM-DD`, TIMESTAMP `YYYY-MM-DDTHH:MM:SS[.ffffff]`, DECIMAL text with all its decimals,
 * BIGINT a number where that is exact, else a bigint, JSON its text.
 */
export type RowValue = string | number | bigint | boolean | null

/** An entity as it is stored: what its kind's table holds, and its nested entities. */
export interface EntityRow {
  readonly kind: KindName
  /** First 128 bits of the SHA-256 of the entity's compact text, lower-case hex. */
  readonly digest: string
  /** The skeleton of the entity, with labels where its values go. */
  readonly template: string
  /** All columns of the kind by name, in declaration order. */
  readonly columns: Readonly<Record<string, RowValue>>
  /** JSON fragments that no column holds, one per line; null when there are none. */
  readonly extra: string | null
  /** Where nested entities stand, in the order of the template. */
  readonly children: ReadonlyArray<RowCollection>
  /** What was kept but could not be put where its path leads; pointers from this entity. */
  readonly remarks: ReadonlyArray<ValueRemark>
}

/** Nested entities at one place: a list, or a single one. */
export interface RowCollection {
  /** From the entity that they stand in. */
  readonly pointer: string
  readonly list: boolean
  readonly rows: ReadonlyArray<EntityRow | JsonRow>
}

/** An element of a list of entities that is no object. */
export interface JsonRow {
  readonly kind: typeof JSON_KIND.kind
  readonly digest: string
  /** The compact text. */
  readonly extra: string
}

interface Engine {
  readonly documents: DocumentReader
  readonly indexes: ReadonlyArray<EntityIndex>
}

const makeEngine = (): Engine => {
  const batch = new EntityBatch()
  const indexes = batch.rows.map(() => new EntityIndex())
  return {
    documents: new DocumentReader(
      new EntityReader(batch, new ShapeDictionary([], MAX_SHAPES), indexes, { ...makeBudget(), left: MAX_NODES })
    ),
    indexes
  }
}

/** A reader for single entities remembers fewer shapes, and forgets large ones. */
const MAX_SHAPES = 1000
const MAX_NODES = 50_000
const MAX_OUTPUT = 1 << 22

let engine: Engine | undefined

/**
 * The row of an entity. Throws `UnsupportedValue` for what is no JSON or no object, `JsonProblem` for what is nested or
 * larger than readers allow.
 */
export const toRow = (kind: KindName, value: unknown): EntityRow => {
  const text = toJsonText(value)
  if (!text.startsWith("{")) throw new UnsupportedValue("not-an-object", "")
  const { documents, indexes } = (engine ??= makeEngine())
  const reader = documents.entities
  try {
    const { code } = kindByName(kind)
    const { remarks } = documents.readBytes(encoded(text).subarray(0, -1), { tag: "entity", kind: code })
    return rowsOf(reader, remarks).entity(code, documents.rows.members.id[0]!, "")
  } finally {
    if (reader.tokenizer.output.length > MAX_OUTPUT) engine = undefined
    reader.batch.clear()
    for (const index of indexes) index.rollback(0)
    reader.tokenizer.o = 0
  }
}

const rowsOf = (reader: EntityReader, remarks: ReadonlyArray<ValueRemark>) => {
  const { batch } = reader
  const heap = reader.tokenizer.output
  const view = viewBatch(reader)
  const below = (pointer: string): ReadonlyArray<ValueRemark> =>
    pointer === ""
      ? remarks
      : remarks
          .filter((remark) => remark.pointer === pointer || remark.pointer.startsWith(`${pointer}/`))
          .map((remark) => ({ ...remark, pointer: remark.pointer.slice(pointer.length) }))

  const any = (code: number, id: number, pointer: string): EntityRow | JsonRow =>
    code === JSON_KIND.code
      ? { kind: JSON_KIND.kind, digest: digest(code, id), extra: view.text(code, id) }
      : entity(code, id, pointer)
  const digest = (code: number, id: number): string => rowDigest(batch.rows[code]!, id - batch.rows[code]!.firstId)
  const entity = (code: number, id: number, pointer: string): EntityRow => {
    const codecs = codecsOf(code)
    const values = rowValues(batch, code, id - batch.rows[code]!.firstId, heap)
    const { template, extra } = view.templateOf(code, id)
    const nested = view.childrenOf(code, id)
    return {
      kind: kindByCode(code)!.kind,
      digest: digest(code, id),
      template,
      columns: Object.fromEntries(codecs.map((codec) => [codec.name, toRowValue(codec, values.get(codec.name)!)])),
      extra,
      children: collectionPointers(template).map(({ pointer: place, list }, at) => ({
        pointer: place,
        list,
        rows: (nested[at] ?? []).map((child) => any(child.kind, child.id, pointer + child.pointer))
      })),
      remarks: below(pointer)
    }
  }
  return { entity }
}

/** The compact text of a row's entity, nested ones included. Throws `TemplateProblem` or `UnsupportedValue` for a row that `toRow` cannot have made. */
export const renderRow = (row: EntityRow | JsonRow): string => {
  // Told by what they have: the type checker does not see that the names of kinds differ.
  if (!("template" in row)) return row.extra
  const { code } = kindByName(row.kind)
  const codecs = codecsOf(code)
  const template = templateOf(code, row.template)
  if (row.children.length !== template.labels.filter(({ tag }) => tag === "list" || tag === "one").length) {
    throw new TemplateProblem("a row has more or fewer places of nested entities than its shape")
  }
  return renderEntity(code, template, {
    column: (index) => {
      const codec = codecs[index]!
      const cell = row.columns[codec.name]
      const value = cell === undefined ? undefined : fromRowValue(codec, cell)
      if (value === undefined) throw new UnsupportedValue("column-value", `/columns/${codec.name}`)
      return value
    },
    extra: row.extra,
    children: (collection) => row.children[collection]!.rows.map(renderRow)
  })
}

const templates = new Map<string, Template>()

const templateOf = (code: number, text: string): Template => {
  const key = `${code} ${text}`
  let template = templates.get(key)
  if (template === undefined) {
    if (templates.size >= MAX_SHAPES) templates.clear()
    templates.set(key, (template = parseTemplate(code, text)))
  }
  return template
}

/**
 * The value of a row's entity, as `JSON.parse` gives it: of duplicate keys the last, numbers as doubles. Where that is
 * too little, use `renderRow`.
 */
export const fromRow = (row: EntityRow | JsonRow): unknown => {
  const text = renderRow(row)
  try {
    return parseJson(text)
  } catch (cause) {
    if (cause instanceof SyntaxError) throw new UnsupportedValue("python-token", "")
    throw cause
  }
}
