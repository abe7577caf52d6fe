/**
 * Rows of entities that wait to be written: one table per kind in columns, the links between them, and the two heaps
 * that their texts point into. A batch can be taken back to a mark, so that a source is stored whole or not at all.
 */
import { kinds } from "@mallard/schema"
import { AUX, Cells } from "./Cells.ts"
import { type Collection, memberPointer } from "./Collection.ts"
import { codecsOf } from "./Codec.ts"
import { NumberStack } from "./NumberStack.ts"

/** Rows that a table has room for once it has any. */
const INITIAL_CAPACITY = 256

/** Waiting rows of one kind. Row `i` has digest words `4i..4i+3`, a shape, columns and `extra`. */
export class EntityRows {
  readonly code: number
  count = 0
  /** Id of row 0; ids are dense. Means nothing while there is no row. */
  firstId = 0
  digests: Int32Array = new Int32Array(0)
  /** Rows whose digest is yet to be made, in order: of each its number, where its text starts and how long it is. */
  readonly undigested = new NumberStack()
  shapes: Int32Array = new Int32Array(0)
  readonly columns: ReadonlyArray<Cells>
  readonly extra = new Cells("TEXT")

  constructor(code: number) {
    this.code = code
    this.columns = codecsOf(code).map((codec) => new Cells(codec.layout))
  }

  /** Makes sure that row `count` can be filled. */
  open(): void {
    this.reserve(1)
  }

  /** Makes sure that so many more rows can be filled. */
  reserve(rows: number): void {
    if (this.count + rows <= this.extra.capacity) return
    const capacity = Math.max(this.extra.capacity * 2, INITIAL_CAPACITY, this.count + rows)
    const digests = new Int32Array(capacity * 4)
    digests.set(this.digests)
    this.digests = digests
    const shapes = new Int32Array(capacity)
    shapes.set(this.shapes)
    this.shapes = shapes
    for (const cells of this.columns) cells.grow(capacity)
    this.extra.grow(capacity)
  }

  /** Makes row `count` all NULL again. */
  wipe(): void {
    for (const cells of this.columns) cells.valid[this.count] = 0
    this.extra.valid[this.count] = 0
  }

  /** Forgets the rows from `count` on. */
  truncate(count: number): void {
    for (const cells of this.columns) if (cells.used) cells.valid.fill(0, count, this.count)
    this.extra.valid.fill(0, count, this.count)
    const { undigested } = this
    while (undigested.length > 0 && undigested.values[undigested.length - 3]! >= count) undigested.length -= 3
    this.count = count
  }

  clear(): void {
    for (const cells of this.columns) cells.clear(this.count)
    this.extra.clear(this.count)
    this.undigested.length = 0
    this.count = 0
  }
}

/**
 * Waiting links from a parent entity to its children. One parent may have a million, so they are numbers, and what their
 * pointers have in common is kept once, as a place.
 */
export class LinkRows {
  readonly parentKind = new NumberStack()
  readonly parentId = new NumberStack()
  readonly collection = new NumberStack()
  readonly ordinal = new NumberStack()
  /** Indexes into `places`. */
  readonly place = new NumberStack()
  readonly childKind = new NumberStack()
  readonly childId = new NumberStack()
  readonly columns: ReadonlyArray<NumberStack> = [
    this.parentKind,
    this.parentId,
    this.collection,
    this.ordinal,
    this.place,
    this.childKind,
    this.childId
  ]
  readonly places: Array<Collection> = []
  private readonly placeIndexes = new Map<string, number>()

  get count(): number {
    return this.parentKind.length
  }

  push(
    parentKind: number,
    parentId: number,
    collection: number,
    ordinal: number,
    place: number,
    childKind: number,
    childId: number
  ): void {
    this.parentKind.push(parentKind)
    this.parentId.push(parentId)
    this.collection.push(collection)
    this.ordinal.push(ordinal)
    this.place.push(place)
    this.childKind.push(childKind)
    this.childId.push(childId)
  }

  /** The index of a place in `places`, until all links are forgotten. */
  placeOf(pointer: string, list: boolean): number {
    const key = `${list ? "list" : "one"} ${pointer}`
    let index = this.placeIndexes.get(key)
    if (index === undefined) {
      index = this.places.push({ pointer, list }) - 1
      this.placeIndexes.set(key, index)
    }
    return index
  }

  /** Where the child of a link stands in its parent. */
  pointer(link: number): string {
    return memberPointer(this.places[this.place.values[link]!]!, this.ordinal.values[link]!)
  }

  truncate(count: number): void {
    for (const column of this.columns) column.length = count
    if (count > 0) return
    this.places.length = 0
    this.placeIndexes.clear()
  }
}

/** A byte heap that only grows; texts that are not a slice of the compact text lie here. */
export class Heap {
  bytes: Buffer = Buffer.allocUnsafe(1 << 16)
  length = 0

  reserve(count: number): void {
    if (this.length + count <= this.bytes.length) return
    if (this.length + count > AUX)
      throw new RangeError("a batch holds more than 1 GiB of text; write it and clear it before reading on")
    const grown = Buffer.allocUnsafe(Math.max(Math.min(this.bytes.length * 2, AUX), this.length + count))
    this.bytes.copy(grown, 0, 0, this.length)
    this.bytes = grown
  }

  /** Adds bytes and returns their offset. */
  append(bytes: Uint8Array): number {
    this.reserve(bytes.length)
    const offset = this.length
    this.bytes.set(bytes, offset)
    this.length += bytes.length
    return offset
  }

  /** Adds a text and returns its offset. */
  text(text: string): { readonly offset: number; readonly length: number } {
    this.reserve(text.length * 3)
    const offset = this.length
    const length = this.bytes.write(text, offset, "utf8")
    this.length += length
    return { offset, length }
  }
}

/** All waiting rows. `rows[code]` is one kind's; 0 is the internal kind `json`. */
export class EntityBatch {
  readonly rows: ReadonlyArray<EntityRows>
  readonly links = new LinkRows()
  readonly aux = new Heap()

  constructor() {
    const rows = [new EntityRows(0)]
    for (const { code } of kinds) rows[code] = new EntityRows(code)
    this.rows = rows
  }

  get entityCount(): number {
    let count = 0
    for (const rows of this.rows) count += rows.count
    return count
  }

  mark(): BatchMark {
    return { rows: this.rows.map((rows) => rows.count), links: this.links.count, aux: this.aux.length }
  }

  truncate(mark: BatchMark): void {
    this.rows.forEach((rows, code) => rows.truncate(mark.rows[code]!))
    this.links.truncate(mark.links)
    this.aux.length = mark.aux
  }

  /** Forgets all rows: they are written. */
  clear(): void {
    for (const rows of this.rows) rows.clear()
    this.links.truncate(0)
    this.aux.length = 0
  }
}

export interface BatchMark {
  readonly rows: ReadonlyArray<number>
  readonly links: number
  readonly aux: number
}
