/**
 * Which entities of one kind exist already: an open-addressing table from the first 128 bits of a digest to an entity
 * id, laid out as the UUID column of the database is, so that it fills by copying.
 */

const LOAD = 0.6

/** Power of two of the slots to begin with; most indexes stay empty. */
const LEAST_BITS = 4

/** The four 32-bit words of a digest in the order in which DuckDB keeps a UUID in memory. */
export type DigestWords = Int32Array

export class EntityIndex {
  /** The id that the next new entity gets. */
  nextId: number
  private keys: Int32Array
  private ids: Float64Array
  private mask: number
  private count = 0
  /** Digests in the order of insertion since the last `commit`, so that a batch can be taken back. */
  private journal: Int32Array = new Int32Array(64)
  private journalled = 0

  constructor(nextId = 1, expected = 0) {
    this.nextId = nextId
    const capacity = 2 ** Math.max(LEAST_BITS, Math.ceil(Math.log2((expected + 1) / LOAD)))
    this.keys = new Int32Array(capacity * 4)
    this.ids = new Float64Array(capacity)
    this.mask = capacity - 1
  }

  get size(): number {
    return this.count
  }

  private slot(words: DigestWords, at: number): number {
    const { ids, keys, mask } = this
    const a = words[at]!
    const b = words[at + 1]!
    const c = words[at + 2]!
    const d = words[at + 3]!
    let slot = a & mask
    while (ids[slot] !== 0) {
      const k = slot * 4
      if (keys[k] === a && keys[k + 1] === b && keys[k + 2] === c && keys[k + 3] === d) return slot
      slot = (slot + 1) & mask
    }
    return slot
  }

  private put(slot: number, words: DigestWords, at: number, id: number): void {
    const { keys } = this
    const k = slot * 4
    keys[k] = words[at]!
    keys[k + 1] = words[at + 1]!
    keys[k + 2] = words[at + 2]!
    keys[k + 3] = words[at + 3]!
    this.ids[slot] = id
  }

  /** The id of the entity with this digest, 0 when there is none. */
  find(words: DigestWords, at = 0): number {
    return this.ids[this.slot(words, at)]!
  }

  /** Remembers an entity that is stored already. */
  add(words: DigestWords, at: number, id: number): void {
    if (this.count > this.mask * LOAD) this.grow()
    const slot = this.slot(words, at)
    if (this.ids[slot] !== 0) return
    this.put(slot, words, at, id)
    this.count++
  }

  /** The id of the entity with this digest; one that is new gets the next id. */
  idOf(words: DigestWords, at: number): number {
    if (this.count > this.mask * LOAD) this.grow()
    const slot = this.slot(words, at)
    const known = this.ids[slot]!
    return known === 0 ? this.insertAt(slot, words, at) : known
  }

  /** Gives a new entity the next id. */
  insert(words: DigestWords): number {
    if (this.count > this.mask * LOAD) this.grow()
    return this.insertAt(this.slot(words, 0), words, 0)
  }

  private insertAt(slot: number, words: DigestWords, from: number): number {
    const id = this.nextId++
    this.put(slot, words, from, id)
    this.count++
    if (this.journalled * 4 === this.journal.length) {
      const journal = new Int32Array(this.journal.length * 2)
      journal.set(this.journal)
      this.journal = journal
    }
    const at = this.journalled++ * 4
    this.journal[at] = words[from]!
    this.journal[at + 1] = words[from + 1]!
    this.journal[at + 2] = words[from + 2]!
    this.journal[at + 3] = words[from + 3]!
    return id
  }

  /** Forgets all entities; ids begin anew. */
  clear(): void {
    if (this.count > 0) this.ids.fill(0)
    this.count = 0
    this.journalled = 0
    this.nextId = 1
  }

  /** Where the journal stands; give it to `rollback`. */
  mark(): number {
    return this.journalled
  }

  /** Forgets everything inserted since `mark`. */
  rollback(mark: number): void {
    while (this.journalled > mark) {
      this.journalled--
      this.remove(this.slot(this.journal, this.journalled * 4))
      this.count--
      this.nextId--
    }
  }

  /** Forgets how to take back what was inserted up to `mark`: it is stored. Marks taken before are void. */
  commit(mark = this.journalled): void {
    this.journal.copyWithin(0, mark * 4, this.journalled * 4)
    this.journalled -= mark
  }

  /** Empties a slot and closes the gap, so that no probe for what stands behind it ends too early. */
  private remove(slot: number): void {
    const { ids, keys, mask } = this
    let hole = slot
    for (let next = (hole + 1) & mask; ids[next] !== 0; next = (next + 1) & mask) {
      const home = keys[next * 4]! & mask
      if (((next - home) & mask) < ((next - hole) & mask)) continue
      keys.copyWithin(hole * 4, next * 4, next * 4 + 4)
      ids[hole] = ids[next]!
      hole = next
    }
    ids[hole] = 0
  }

  private grow(): void {
    const { ids, keys } = this
    const capacity = ids.length * 2
    this.keys = new Int32Array(capacity * 4)
    this.ids = new Float64Array(capacity)
    this.mask = capacity - 1
    for (let old = 0; old < ids.length; old++) {
      if (ids[old] !== 0) this.put(this.slot(keys, old * 4), keys, old * 4, ids[old]!)
    }
  }
}
