/**
 * The shapes that entities have: templates by kind, with dense ids. New shapes can be taken back with the batch that
 * brought them.
 */

/** A shape as it is stored. */
export interface Shape {
  readonly id: number
  /** Code of the kind. */
  readonly kind: number
  readonly template: string
  /** Names of columns that hold copies or best values, joined by commas; `copy=home` where a column is a plain copy. */
  readonly filled: string
}

/** Past this many shapes of one kind, templates go into the rows (`shape_id` 0). */
export const MAX_SHAPES_PER_KIND = 50_000

/** The same when the templates of all kinds together have so many characters. */
export const MAX_SHAPES_TEXT = 64 << 20

export class ShapeDictionary {
  /** By kind and filled columns, then by template. */
  private readonly ids = new Map<string, Map<string, number>>()
  private readonly shapes = new Map<number, Shape>()
  private readonly counts: Array<number> = []
  private readonly limit: number
  private readonly textLimit: number
  private textLength = 0
  /** Shapes that are new since the last `commit`, in the order of their ids. */
  readonly fresh: Array<Shape> = []
  nextId: number
  /** Changes when shapes are taken back; ids looked up in an older epoch must be looked up again. */
  epoch = 1

  /** `limit` is how many shapes a kind may have, `textLimit` how many characters the templates of all. */
  constructor(stored: Iterable<Shape> = [], limit = MAX_SHAPES_PER_KIND, textLimit = MAX_SHAPES_TEXT) {
    this.nextId = 1
    this.limit = limit
    this.textLimit = textLimit
    for (const shape of stored) {
      this.remember(shape)
      if (shape.id >= this.nextId) this.nextId = shape.id + 1
    }
  }

  /** The shape with this id. */
  get(id: number): Shape | undefined {
    return this.shapes.get(id)
  }

  /** The id of a shape, new or known; 0 when its kind has too many, or all together are too long. */
  idOf(kind: number, template: string, filled: string): number {
    const known = this.ids.get(`${kind} ${filled}`)?.get(template)
    if (known !== undefined) return known
    if ((this.counts[kind] ?? 0) >= this.limit || this.textLength + template.length > this.textLimit) return 0
    // A copy: a text that was put together piece by piece keeps its pieces in memory.
    const shape = { id: this.nextId++, kind, template: Buffer.from(template).toString(), filled }
    this.remember(shape)
    this.fresh.push(shape)
    return shape.id
  }

  mark(): number {
    return this.fresh.length
  }

  rollback(mark: number): void {
    if (this.fresh.length > mark) this.epoch++
    while (this.fresh.length > mark) {
      const shape = this.fresh.pop()!
      this.ids.get(`${shape.kind} ${shape.filled}`)?.delete(shape.template)
      this.shapes.delete(shape.id)
      this.counts[shape.kind]!--
      this.textLength -= shape.template.length
      this.nextId--
    }
  }

  /** The fresh shapes up to `mark` are stored and cannot be taken back any more. Marks taken before are void. */
  commit(mark = this.fresh.length): void {
    this.fresh.splice(0, mark)
  }

  private remember(shape: Shape): void {
    const key = `${shape.kind} ${shape.filled}`
    let ids = this.ids.get(key)
    if (ids === undefined) this.ids.set(key, (ids = new Map()))
    ids.set(shape.template, shape.id)
    this.shapes.set(shape.id, shape)
    this.counts[shape.kind] = (this.counts[shape.kind] ?? 0) + 1
    this.textLength += shape.template.length
  }
}
