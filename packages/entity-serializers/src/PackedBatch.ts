/**
 * Hands the rows of one reader's batch to another's, by way of one piece of memory that passes from thread to thread. Ids
 * are the packing reader's own; the one that takes the rows over gives them those that it would have given by reading the
 * same text itself.
 */
import { AUX, type Cells } from "./Cells.ts"
import type { Collection } from "./Collection.ts"
import type { EntityRows } from "./EntityBatch.ts"
import { putDigest } from "./internal/digest.ts"
import type { EntityReader } from "./internal/EntityReader.ts"
import type { MemberRows } from "./MemberRows.ts"
import type { Shape, ShapeDictionary } from "./ShapeDictionary.ts"

/** A batch in transferable form. What `memory` holds is in the order in which `packBatch` puts it there. */
export interface PackedBatch {
  readonly memory: ArrayBuffer
  /** Bytes of compact text, and of texts apart from it. */
  readonly text: number
  readonly aux: number
  readonly kinds: ReadonlyArray<PackedRows>
  readonly links: number
  /** The places of all links. */
  readonly places: ReadonlyArray<Collection>
  readonly members: number
  /** Shapes that the reader has met since the batch before. */
  readonly shapes: ReadonlyArray<Shape>
}

/** Rows of one kind. */
interface PackedRows {
  readonly code: number
  readonly count: number
  /** Of how many the digest is yet to be made. */
  readonly undigested: number
  /** Indexes of the columns that have values; the number of columns stands for `extra`. */
  readonly columns: ReadonlyArray<number>
}

/** The shapes of a packing reader as the one that takes its rows over knows them. */
export class ForeignShapes {
  /** By the packing reader's ids. */
  private readonly shapes: Array<Shape> = []
  /** The ids here by those there, as far as they have been asked for in this epoch. */
  private ids: Array<number> = [0]
  private epoch = 0

  /** To be called for all of its batches in their order, whatever becomes of them: later ones refer to earlier shapes. */
  learn({ shapes }: PackedBatch): void {
    for (const shape of shapes) this.shapes[shape.id] = shape
  }

  /** Puts the ids here in place of those there, in the rows from `first` on; false when the dictionary takes no more. */
  translate(ids: Int32Array, first: number, end: number, dictionary: ShapeDictionary): boolean {
    if (this.epoch !== dictionary.epoch) {
      this.ids = [0]
      this.epoch = dictionary.epoch
    }
    for (let row = first; row < end; row++) {
      const id = (this.ids[ids[row]!] ??= this.ask(ids[row]!, dictionary))
      // Their rows hold no template, as those of shape 0 do.
      if (id === 0 && ids[row] !== 0) return false
      ids[row] = id
    }
    return true
  }

  private ask(foreign: number, dictionary: ShapeDictionary): number {
    const { filled, kind, template } = this.shapes[foreign]!
    return dictionary.idOf(kind, template, filled)
  }
}

/**
 * Packs all rows that wait in a reader's batch, and members, into `reuse` if that is large enough. The reader then
 * forgets them, and its ids begin anew.
 */
export const packBatch = (reader: EntityReader, members: MemberRows, reuse?: ArrayBuffer): PackedBatch => {
  const { batch, indexes, shapes, tokenizer } = reader
  const { aux, links } = batch
  const filled = batch.rows.filter(({ count }) => count > 0)
  const kinds = filled.map((rows): PackedRows => {
    const columns = allColumns(rows).flatMap(({ used }, index) => (used ? [index] : []))
    return { code: rows.code, count: rows.count, undigested: rows.undigested.length / 3, columns }
  })
  const putAll = (put: Packing): void => {
    put.bytes(tokenizer.output, tokenizer.o)
    put.bytes(aux.bytes, aux.length)
    filled.forEach((rows, at) => {
      const { columns, count } = kinds[at]!
      put.words(rows.digests, count * 4)
      put.doubles(rows.undigested.values, rows.undigested.length)
      put.words(rows.shapes, count)
      for (const index of columns) putCells(put, allColumns(rows)[index]!, count)
    })
    for (const { length, values } of links.columns) put.words(values, length)
    put.words(members.collection, members.count)
    put.doubles(members.ordinal, members.count)
    put.bytes(members.kind, members.count)
    put.doubles(members.id, members.count)
  }
  const size = new Packing(undefined)
  putAll(size)
  const memory = reuse !== undefined && reuse.byteLength >= size.at ? reuse : new ArrayBuffer(size.at * 1.25)
  putAll(new Packing(memory))
  const packed: PackedBatch = {
    memory,
    text: tokenizer.o,
    aux: aux.length,
    kinds,
    links: links.count,
    places: [...links.places],
    members: members.count,
    shapes: [...shapes.fresh]
  }
  shapes.commit()
  batch.clear()
  tokenizer.o = 0
  for (const index of indexes) index.clear()
  return packed
}

/**
 * Takes packed rows into a reader's batch, leaving out entities that it knows, and adds the members with their ids here;
 * false when there are too many shapes for that, and the batch is then to be taken back to a mark.
 */
export const unpackBatch = (
  packed: PackedBatch,
  reader: EntityReader,
  foreign: ForeignShapes,
  members: MemberRows
): boolean => {
  const { batch, indexes, tokenizer } = reader
  const from = new Unpacking(packed.memory)
  const text = from.bytes(packed.text)
  const textFrom = tokenizer.append(text)
  const auxFrom = batch.aux.append(from.bytes(packed.aux))
  /** By kind and the packing reader's ids, which count from 1. */
  const ids: Array<Float64Array> = []
  /** By kind, the rows that are taken; undefined for all. */
  const taken: Array<ReadonlySet<number> | undefined> = []
  for (const { code, columns, count, undigested } of packed.kinds) {
    const rows = batch.rows[code]!
    const digests = from.words(count * 4)
    putDigests(digests, from.doubles(undigested * 3), text)
    const shapes = from.words(count)
    rows.reserve(count)
    const first = rows.count
    const index = indexes[code]!
    const firstId = index.nextId
    if (first === 0) rows.firstId = firstId
    const own = new Float64Array(count + 1)
    ids[code] = own
    for (let row = 0; row < count; row++) own[row + 1] = index.idOf(digests, row * 4)
    const fresh = index.nextId - firstId === count ? undefined : rowsFrom(own, firstId)
    taken[code] = fresh && new Set(fresh)
    take(digests, rows.digests, first, fresh, 4)
    take(shapes, rows.shapes, first, fresh)
    rows.count += index.nextId - firstId
    if (!foreign.translate(rows.shapes, first, rows.count, reader.shapes)) return false
    const all = allColumns(rows)
    for (const at of columns) takeCells(from, all[at]!, { first, count, fresh, textFrom, auxFrom })
  }
  takeLinks(packed, from, reader, ids, taken)
  const collection = from.words(packed.members)
  const ordinal = from.doubles(packed.members)
  const kind = from.bytes(packed.members)
  const id = from.doubles(packed.members)
  for (let i = 0; i < packed.members; i++) {
    members.push(collection[i]!, ordinal[i]!, kind[i]!, ids[kind[i]!]![id[i]!]!)
  }
  return true
}

const allColumns = ({ columns, extra }: EntityRows): ReadonlyArray<Cells> => [...columns, extra]

/** Where rows go, and which of them. */
interface Target {
  /** Where the first goes. */
  readonly first: number
  /** How many are packed. */
  readonly count: number
  /** Those to take; undefined for all. */
  readonly fresh: ReadonlyArray<number> | undefined
  /** Where the packed texts lie in the two heaps now. */
  readonly textFrom: number
  readonly auxFrom: number
}

const putCells = (put: Packing, { doubles, high, layout, low, valid }: Cells, count: number): void => {
  put.bytes(valid, count)
  if (layout === "F64") put.doubles(doubles, count)
  else put.words(low, count)
  if (layout === "TEXT" || layout === "I64") put.words(high, count)
}

const takeCells = (from: Unpacking, cells: Cells, target: Target): void => {
  const { auxFrom, count, first, fresh, textFrom } = target
  const { layout } = cells
  cells.used = true
  take(from.bytes(count), cells.valid, first, fresh)
  if (layout === "F64") take(from.doubles(count), cells.doubles, first, fresh)
  else {
    const low = from.words(count)
    if (layout === "TEXT") {
      for (let row = 0; row < count; row++) low[row]! += low[row]! >= AUX ? auxFrom : textFrom
    }
    take(low, cells.low, first, fresh)
  }
  if (layout === "TEXT" || layout === "I64") take(from.words(count), cells.high, first, fresh)
}

const take = <A extends Int32Array | Float64Array | Uint8Array>(
  values: A,
  into: A,
  first: number,
  fresh: ReadonlyArray<number> | undefined,
  width = 1
): void => {
  if (fresh === undefined) into.set(values, first * width)
  else {
    fresh.forEach((row, at) => {
      for (let i = 0; i < width; i++) into[(first + at) * width + i] = values[row * width + i]!
    })
  }
}

/** Makes the digests of the rows that have none yet. */
const putDigests = (digests: Int32Array, undigested: Float64Array, text: Uint8Array): void => {
  for (let i = 0; i < undigested.length; i += 3) {
    const start = undigested[i + 1]!
    putDigest(digests, undigested[i]! * 4, text.subarray(start, start + undigested[i + 2]!))
  }
}

/** The rows that got the ids from `firstNew` on, by the ids of all; the first of those that are equal. */
const rowsFrom = (ids: Float64Array, firstNew: number): ReadonlyArray<number> => {
  const rows: Array<number> = []
  for (let id = 1; id < ids.length; id++) if (ids[id] === firstNew + rows.length) rows.push(id - 1)
  return rows
}

/** Takes the links of the parents that are taken: those of others are known as well. */
const takeLinks = (
  { links, places }: PackedBatch,
  from: Unpacking,
  { batch }: EntityReader,
  ids: ReadonlyArray<Float64Array>,
  taken: ReadonlyArray<ReadonlySet<number> | undefined>
): void => {
  const parentKind = from.words(links)
  const parentId = from.words(links)
  const collection = from.words(links)
  const ordinal = from.words(links)
  const place = from.words(links)
  const childKind = from.words(links)
  const childId = from.words(links)
  const taking = places.map(({ list, pointer }) => batch.links.placeOf(pointer, list))
  for (let i = 0; i < links; i++) {
    if (taken[parentKind[i]!]?.has(parentId[i]! - 1) === false) continue
    const parent = ids[parentKind[i]!]![parentId[i]!]!
    const child = ids[childKind[i]!]![childId[i]!]!
    batch.links.push(parentKind[i]!, parent, collection[i]!, ordinal[i]!, taking[place[i]!]!, childKind[i]!, child)
  }
}

/** What begins at `at` fits any typed array. */
const aligned = (at: number): number => (at + 7) & ~7

/** Puts arrays into a piece of memory, one behind the other; without memory it only counts their bytes. */
class Packing {
  at = 0
  private readonly memory: ArrayBuffer | undefined

  constructor(memory: ArrayBuffer | undefined) {
    this.memory = memory
  }

  bytes(values: Uint8Array, count: number): void {
    if (this.memory !== undefined) new Uint8Array(this.memory, this.at, count).set(values.subarray(0, count))
    this.at = aligned(this.at + count)
  }

  words(values: Int32Array | Float64Array, count: number): void {
    if (this.memory !== undefined) new Int32Array(this.memory, this.at, count).set(values.subarray(0, count))
    this.at = aligned(this.at + count * 4)
  }

  doubles(values: Float64Array, count: number): void {
    if (this.memory !== undefined) new Float64Array(this.memory, this.at, count).set(values.subarray(0, count))
    this.at = aligned(this.at + count * 8)
  }
}

/** Views of the arrays that were put into a piece of memory, in the same order. */
class Unpacking {
  private at = 0
  private readonly memory: ArrayBuffer

  constructor(memory: ArrayBuffer) {
    this.memory = memory
  }

  bytes(count: number): Uint8Array<ArrayBuffer> {
    const values = new Uint8Array(this.memory, this.at, count)
    this.at = aligned(this.at + count)
    return values
  }

  words(count: number): Int32Array<ArrayBuffer> {
    const values = new Int32Array(this.memory, this.at, count)
    this.at = aligned(this.at + count * 4)
    return values
  }

  doubles(count: number): Float64Array<ArrayBuffer> {
    const values = new Float64Array(this.memory, this.at, count)
    this.at = aligned(this.at + count * 8)
    return values
  }
}
