/**
 * Which entities of one kind exist already: from the first 128 bits of a digest, laid out as the UUID column of the
 * database is, to an entity id. Ids are dense, so digests lie in the order of ids, 16 bytes each, and the open-addressing
 * table before them holds ids alone, with a byte of each digest so that few others are looked at: about 24 bytes an entity.
 */

const LOAD = 0.6

/** What is known already gets a quarter more than it needs: what is added then seldom makes all of it move. */
const ROOM = 1.25

/** Power of two of the slots to begin with; most indexes stay empty. */
const LEAST_BITS = 4

/** Digests of so many ids, as a power of two, lie together. */
const CHUNK_BITS = 14
const IN_CHUNK = (1 << CHUNK_BITS) - 1

/** The four 32-bit words of a digest in the order in which DuckDB keeps a UUID in memory. */
export type DigestWords = Int32Array

export class EntityIndex {
  /** The id that the next new entity gets. */
  nextId: number
  /** By slot; 0 where there is none. */
  private ids: Uint32Array
  /** The low byte of the second word of the digest, by slot. */
  private tags: Uint8Array
  private mask: number
  private count = 0
  /** By id; where an id has no entity, they mean nothing. */
  private readonly digests: Array<Int32Array> = []
  /** Entities with lower ids cannot be taken back. */
  private kept: number
  /** Whether all that is stored is known; else an entity that is stored would be stored again. */
  private isWhole: boolean

  /** With a `nextId` above 1 there are entities that are stored: nothing can be looked up before they are loaded. */
  constructor(nextId = 1) {
    this.nextId = nextId
    this.kept = nextId
    this.isWhole = nextId === 1
    const capacity = 1 << LEAST_BITS
    this.ids = new Uint32Array(capacity)
    this.tags = new Uint8Array(capacity)
    this.mask = capacity - 1
  }

  get size(): number {
    return this.count
  }

  /** Memory that it takes, in bytes. */
  get bytes(): number {
    const chunks = this.digests.reduce((sum, chunk) => sum + chunk.byteLength, 0)
    return chunks + this.ids.byteLength + this.tags.byteLength
  }

  /** Where the entity with this digest is, or would be. */
  private slot(words: DigestWords, at: number): number {
    const { ids, mask, tags } = this
    const tag = words[at + 1]! & 255
    let slot = words[at]! & mask
    for (let id = ids[slot]!; id !== 0; id = ids[slot]!) {
      if (tags[slot] === tag && this.is(id, words, at)) break
      slot = (slot + 1) & mask
    }
    return slot
  }

  private is(id: number, words: DigestWords, at: number): boolean {
    const digests = this.digests[id >>> CHUNK_BITS]!
    const k = (id & IN_CHUNK) * 4
    return (
      digests[k] === words[at] &&
      digests[k + 1] === words[at + 1] &&
      digests[k + 2] === words[at + 2] &&
      digests[k + 3] === words[at + 3]
    )
  }

  private put(slot: number, words: DigestWords, at: number, id: number): void {
    const digests = this.chunkOf(id)
    const k = (id & IN_CHUNK) * 4
    digests[k] = words[at]!
    digests[k + 1] = words[at + 1]!
    digests[k + 2] = words[at + 2]!
    digests[k + 3] = words[at + 3]!
    this.ids[slot] = id
    this.tags[slot] = words[at + 1]!
    this.count++
  }

  private chunkOf(id: number): Int32Array {
    return (this.digests[id >>> CHUNK_BITS] ??= new Int32Array(4 << CHUNK_BITS))
  }

  /** The id of the entity with this digest, 0 when there is none. */
  find(words: DigestWords, at = 0): number {
    this.checkWhole()
    return this.ids[this.slot(words, at)]!
  }

  get isLoaded(): boolean {
    return this.isWhole
  }

  /** Makes room for entities that are stored already; `addStored` adds them, and `endLoading` says that these were all. */
  beginLoading(expected: number): void {
    const capacity = 2 ** Math.max(LEAST_BITS, Math.ceil(Math.log2((expected * ROOM + 1) / LOAD)))
    if (capacity > this.ids.length) this.resize(capacity)
  }

  endLoading(): void {
    this.isWhole = true
  }

  private checkWhole(): void {
    if (!this.isWhole) throw new Error("what is stored has not been loaded")
  }

  /**
   * Remembers entities that are stored already: `words` holds a digest each, `ids` a 64-bit number each, low words first. All
   * their places are looked at before the first is taken, so that the waits for memory overlap.
   */
  addStored(words: DigestWords, ids: Uint32Array, count: number): void {
    let seen = 0
    for (let row = 0; row < count; row++) {
      const slot = words[row * 4]! & this.mask
      seen += this.ids[slot]! + this.tags[slot]!
    }
    // Never so: what nothing depends on would not be read.
    if (seen < 0) return
    for (let row = 0; row < count; row++) {
      if (this.count > this.mask * LOAD) this.grow()
      const slot = this.slot(words, row * 4)
      if (this.ids[slot] === 0) this.put(slot, words, row * 4, ids[row * 2]! + ids[row * 2 + 1]! * 4294967296)
    }
  }

  /** The id of the entity with this digest; one that is new gets the next id. */
  idOf(words: DigestWords, at = 0): number {
    this.checkWhole()
    if (this.count > this.mask * LOAD) this.grow()
    const slot = this.slot(words, at)
    const known = this.ids[slot]!
    if (known !== 0) return known
    const id = this.nextId++
    this.put(slot, words, at, id)
    return id
  }

  /** An id for an entity whose digest is not known yet: nothing will be found to be equal to it. */
  skip(): number {
    return this.nextId++
  }

  /** How far ids have been given; give it to `rollback`. */
  mark(): number {
    return this.nextId
  }

  /** Forgets every entity that has got its id since `mark`, or since the last `commit` if that was later. */
  rollback(mark: number): void {
    while (this.nextId > Math.max(mark, this.kept)) {
      const id = --this.nextId
      const slot = this.slot(this.chunkOf(id), (id & IN_CHUNK) * 4)
      // Skipped ids stand nowhere, and what lies there as their digest means nothing.
      if (this.ids[slot] !== id) continue
      this.remove(slot)
      this.count--
    }
  }

  /** What got its id up to `mark` is stored and cannot be taken back any more. */
  commit(mark = this.nextId): void {
    this.kept = mark
  }

  /** Forgets all entities; ids begin anew. */
  clear(): void {
    if (this.count > 0) this.ids.fill(0)
    this.count = 0
    this.nextId = 1
    this.kept = 1
    this.isWhole = true
  }

  private home(id: number): number {
    return this.digests[id >>> CHUNK_BITS]![(id & IN_CHUNK) * 4]! & this.mask
  }

  /** Empties a slot and closes the gap, so that no probe for what stands behind it ends too early. */
  private remove(slot: number): void {
    const { ids, mask, tags } = this
    let hole = slot
    for (let next = (hole + 1) & mask; ids[next] !== 0; next = (next + 1) & mask) {
      if (((next - this.home(ids[next]!)) & mask) < ((next - hole) & mask)) continue
      ids[hole] = ids[next]!
      tags[hole] = tags[next]!
      hole = next
    }
    ids[hole] = 0
  }

  private grow(): void {
    this.resize(this.ids.length * 2)
  }

  private resize(capacity: number): void {
    const { ids, tags } = this
    this.ids = new Uint32Array(capacity)
    this.tags = new Uint8Array(capacity)
    this.mask = capacity - 1
    for (let old = 0; old < ids.length; old++) {
      const id = ids[old]!
      if (id === 0) continue
      let slot = this.home(id)
      while (this.ids[slot] !== 0) slot = (slot + 1) & this.mask
      this.ids[slot] = id
      this.tags[slot] = tags[old]!
    }
  }
}
