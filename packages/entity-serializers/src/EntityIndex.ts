/**
 * Which entities of one kind exist already: an open-addressing table from the first 128 bits of a digest to an entity
 * id, laid out as the UUID column of the database is, so that it fills by copying.
 */

const LOAD = 0.6

/** The four 32-bit words of a digest in the order in which DuckDB keeps a UUID in memory. */
export type DigestWords = Int32Array

export class EntityIndex {
  /** The id that the next new entity gets. */
  nextId: number
  private keys: Int32Array
  private ids: Float64Array
  private mask: number
  private count = 0
  /** Slots in the order of insertion since the last `mark`, so that a batch can be taken back. */
  private journal: Array<number> = []

  constructor(nextId = 1, expected = 0) {
    this.nextId = nextId
    const capacity = 2 ** Math.max(10, Math.ceil(Math.log2((expected + 1) / LOAD)))
    this.keys = new Int32Array(capacity * 4)
    this.ids = new Float64Array(capacity)
    this.mask = capacity - 1
  }

  get size(): number {
    return this.count
  }

  private slot(words: DigestWords, at: number): number {
    const { keys, ids, mask } = this
    const [a, b, c, d] = [words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!]
    let slot = a & mask
    while (ids[slot] !== 0) {
      const k = slot * 4
      if (keys[k] === a && keys[k + 1] === b && keys[k + 2] === c && keys[k + 3] === d) return slot
      slot = (slot + 1) & mask
    }
    return slot
  }

  /** The id of the entity with this digest, 0 when there is none. */
  find(words: DigestWords, at = 0): number {
    return this.ids[this.slot(words, at)]!
  }

  /** Remembers an entity that is stored already. */
  add(words: DigestWords, at: number, id: number): void {
    if (this.count > this.mask * LOAD) this.rehash()
    const slot = this.slot(words, at)
    if (this.ids[slot] !== 0) return
    this.keys.set([words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!], slot * 4)
    this.ids[slot] = id
    this.count++
  }

  /** Gives a new entity the next id. */
  insert(words: DigestWords): number {
    if (this.count > this.mask * LOAD) this.rehash()
    const slot = this.slot(words, 0)
    const id = this.nextId++
    const k = slot * 4
    this.keys[k] = words[0]!
    this.keys[k + 1] = words[1]!
    this.keys[k + 2] = words[2]!
    this.keys[k + 3] = words[3]!
    this.ids[slot] = id
    this.count++
    this.journal.push(slot)
    return id
  }

  /** Where the journal stands; give it to `rollback`. */
  mark(): number {
    return this.journal.length
  }

  /** Forgets everything inserted since `mark`, newest first, which leaves every probe sequence as it was. */
  rollback(mark: number): void {
    while (this.journal.length > mark) {
      this.ids[this.journal.pop()!] = 0
      this.count--
      this.nextId--
    }
  }

  /** Forgets how to take back what was inserted: it is stored. */
  commit(): void {
    this.journal = []
  }

  private rehash(): void {
    const { keys, ids } = this
    const capacity = ids.length * 2
    const journal = new Map(this.journal.map((slot, index) => [slot, index]))
    this.keys = new Int32Array(capacity * 4)
    this.ids = new Float64Array(capacity)
    this.mask = capacity - 1
    // Journalled entries go in last and in their order, so that taking them back stays possible.
    const place = (old: number): number => {
      const slot = this.slot(keys, old * 4)
      this.keys.set(keys.subarray(old * 4, old * 4 + 4), slot * 4)
      this.ids[slot] = ids[old]!
      return slot
    }
    for (let old = 0; old < ids.length; old++) if (ids[old] !== 0 && !journal.has(old)) place(old)
    this.journal = this.journal.map(place)
  }
}
