/**
 * Reads waiting rows back: their values as the renderer takes them, and the text of entities and documents, all without a
 * database in between.
 */
import { AUX, type Cells } from "./Cells.ts"
import { codecsOf, type ColumnCodec, type ColumnValue } from "./Codec.ts"
import type { EntityBatch, EntityRows } from "./EntityBatch.ts"
import type { MemberRows } from "./MemberRows.ts"
import type { EntityReader } from "./internal/EntityReader.ts"
import { parseTemplate, renderEntity, splitFolded, type Template } from "./Template.ts"

const cellText = (cells: Cells, row: number, heap: Uint8Array, aux: Uint8Array): string | null => {
  if (cells.valid[row] === 0) return null
  const at = cells.low[row]!
  const bytes = at >= AUX ? aux : heap
  const start = at >= AUX ? at - AUX : at
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, cells.high[row]!).toString("utf8")
}

const cellValue = (codec: ColumnCodec, cells: Cells, row: number, heap: Uint8Array, aux: Uint8Array): ColumnValue => {
  if (cells.valid[row] === 0) return null
  switch (codec.layout) {
    case "TEXT":
      return cellText(cells, row, heap, aux)
    case "I32":
      return cells.low[row]!
    case "I64":
      return cells.bigint(row)
    case "F64":
      return cells.doubles[row]!
    case "BOOL":
      return cells.low[row] === 1
  }
}

/** The digest of a row as 32 lower-case hex digits: the first 128 bits of the SHA-256 of its text. */
export const rowDigest = (rows: EntityRows, row: number): string => {
  const word = (at: number): string => (rows.digests[row * 4 + at]! >>> 0).toString(16).padStart(8, "0")
  return ((rows.digests[row * 4 + 3]! ^ 0x80000000) >>> 0).toString(16).padStart(8, "0") + word(2) + word(1) + word(0)
}

/** All columns of a row by name, in declaration order; see `renderValue` for their form. `heap` is the tokenizer's output. */
export const rowValues = (
  batch: EntityBatch,
  code: number,
  row: number,
  heap: Uint8Array
): ReadonlyMap<string, ColumnValue> => {
  const rows = batch.rows[code]!
  const codecs = codecsOf(code)
  return new Map(
    codecs.map((codec, index) => [codec.name, cellValue(codec, rows.columns[index]!, row, heap, batch.aux.bytes)])
  )
}

/** A nested entity of a row. */
export interface BatchChild {
  readonly kind: number
  readonly id: number
  readonly pointer: string
}

/** Looks into the batch of a reader. What it gives holds until the batch changes. */
export interface BatchView {
  /** The template of a row, whether its shape is known or the row carries it, and the fragments of its `extra`. */
  readonly templateOf: (code: number, id: number) => { readonly template: string; readonly extra: string | null }
  /** Nested entities by collection, in order. Collections without entities may be missing. */
  readonly childrenOf: (code: number, id: number) => ReadonlyArray<ReadonlyArray<BatchChild> | undefined>
  /** The compact text of an entity, children included; code 0 is the internal kind `json`. */
  readonly text: (code: number, id: number) => string
}

/** A view of all rows that wait in the reader's batch. Throws `RangeError` when asked for an entity that does not. */
export const viewBatch = (reader: EntityReader): BatchView => {
  const { batch, shapes } = reader
  const heap = reader.tokenizer.output
  const aux = batch.aux.bytes
  const templates = new Map<string, Template>()
  const children = new Map<string, Array<Array<BatchChild>>>()
  const { links } = batch
  for (let i = 0; i < links.count; i++) {
    const parent = `${links.parentKind.values[i]} ${links.parentId.values[i]}`
    let collections = children.get(parent)
    if (collections === undefined) children.set(parent, (collections = []))
    ;(collections[links.collection.values[i]!] ??= []).push({
      kind: links.childKind.values[i]!,
      id: links.childId.values[i]!,
      pointer: links.pointer(i)
    })
  }

  const rowOf = (code: number, id: number): number => {
    const rows = batch.rows[code]!
    const row = id - rows.firstId
    if (rows.count === 0 || row < 0 || row >= rows.count)
      throw new RangeError(`entity ${id} of kind ${code} does not wait in this batch`)
    return row
  }
  const extraOf = (code: number, row: number): string | null => cellText(batch.rows[code]!.extra, row, heap, aux)
  const templateOf: BatchView["templateOf"] = (code, id) => {
    const row = rowOf(code, id)
    const extra = extraOf(code, row)
    const shape = batch.rows[code]!.shapes[row]!
    return shape === 0 ? splitFolded(extra ?? "") : { template: shapes.get(shape)!.template, extra }
  }
  const parsed = (code: number, template: string): Template => {
    const key = `${code} ${template}`
    let found = templates.get(key)
    if (found === undefined) templates.set(key, (found = parseTemplate(code, template)))
    return found
  }
  const childrenOf: BatchView["childrenOf"] = (code, id) => children.get(`${code} ${id}`) ?? []
  const text = (code: number, id: number): string => {
    const row = rowOf(code, id)
    if (code === 0) return extraOf(code, row)!
    const { template, extra } = templateOf(code, id)
    const nested = childrenOf(code, id)
    const codecs = codecsOf(code)
    const { columns } = batch.rows[code]!
    return renderEntity(code, parsed(code, template), {
      column: (index) => cellValue(codecs[index]!, columns[index]!, row, heap, aux),
      extra,
      // Kinds nest in others only, a few levels deep.
      children: (collection) => (nested[collection] ?? []).map((child) => text(child.kind, child.id))
    })
  }
  return { templateOf, childrenOf, text }
}

/** The compact text of a document: the pieces of its template, and its members' texts in order. */
export const renderDocument = (pieces: ReadonlyArray<string>, members: MemberRows, text: BatchView["text"]): string => {
  const { literals, labels } = parseTemplate(0, pieces.join(""))
  const texts: Array<Array<string>> = labels.map(() => [])
  for (let i = 0; i < members.count; i++) texts[members.collection[i]!]!.push(text(members.kind[i]!, members.id[i]!))
  let rendered = literals[0]!
  labels.forEach((label, at) => {
    const joined = texts[at]!.join(label.tag === "lines" ? "\n" : ",")
    rendered += (label.tag === "list" ? `[${joined}]` : joined) + literals[at + 1]!
  })
  return rendered
}
