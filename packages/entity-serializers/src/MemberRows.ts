/** Members of a document's collections, in order: parallel arrays of equal length. */
export class MemberRows {
  count = 0
  collection: Int32Array = new Int32Array(256)
  ordinal: Float64Array = new Float64Array(256)
  kind: Uint8Array = new Uint8Array(256)
  id: Float64Array = new Float64Array(256)

  push(collection: number, ordinal: number, kind: number, id: number): void {
    if (this.count === this.collection.length) this.grow()
    this.collection[this.count] = collection
    this.ordinal[this.count] = ordinal
    this.kind[this.count] = kind
    this.id[this.count] = id
    this.count++
  }

  private grow(): void {
    const capacity = this.count * 2
    const collection = new Int32Array(capacity)
    collection.set(this.collection)
    this.collection = collection
    const ordinal = new Float64Array(capacity)
    ordinal.set(this.ordinal)
    this.ordinal = ordinal
    const kind = new Uint8Array(capacity)
    kind.set(this.kind)
    this.kind = kind
    const id = new Float64Array(capacity)
    id.set(this.id)
    this.id = id
  }
}
