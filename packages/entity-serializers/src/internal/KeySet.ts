/**
 * The keys that an object has so far, as places in the text where they were written: 16 to 32 bytes a key, however long
 * it is. Past `MAX_KEYS_SEEN` no more are remembered.
 */
import { randomInt } from "node:crypto"

/** Keys remembered per object to find duplicates: beyond, memory counts for more. */
const MAX_KEYS_SEEN = 1 << 20

/** Many sets stay empty, and arrays outside the heap are slow to go. */
const NO_PAIRS = new Int32Array(0)

export class KeySet {
  private size = 0
  /**
   * In pairs, at the place that a key's bytes hash to or behind it: where the key starts, from 1 (0: the pair is free), and
   * its hash, so that the bytes of others need not be fetched from all over the text.
   */
  private pairs = NO_PAIRS

  /**
   * Adds the key whose compact text, quotes included, stands between `start` and `end`; whether it was there already. All
   * keys of a set are in the same bytes; `hash` is the key's `hashKey`.
   */
  add(bytes: Uint8Array, start: number, end: number, hash = hashKey(bytes, start, end)): boolean {
    if (this.size === 0) this.pairs = new Int32Array(256)
    const { pairs } = this
    const mask = pairs.length - 2
    let at = (hash << 1) & mask
    for (; pairs[at] !== 0; at = (at + 2) & mask) {
      if (pairs[at + 1] !== hash) continue
      const other = pairs[at]! - 1
      // The closing quote is compared as well, so that no longer key passes for its beginning.
      let i = start
      while (i < end && bytes[other + i - start] === bytes[i]) i++
      if (i === end) return true
    }
    if (this.size === MAX_KEYS_SEEN) return false
    pairs[at] = start + 1
    pairs[at + 1] = hash
    this.size++
    if (this.size * 4 > pairs.length) this.grow()
    return false
  }

  private grow(): void {
    const old = this.pairs
    const pairs = new Int32Array(old.length * 2)
    const mask = pairs.length - 2
    for (let i = 0; i < old.length; i += 2) {
      if (old[i] === 0) continue
      let at = (old[i + 1]! << 1) & mask
      while (pairs[at] !== 0) at = (at + 2) & mask
      pairs[at] = old[i]!
      pairs[at + 1] = old[i + 1]!
    }
    this.pairs = pairs
  }
}

/**
 * Seeded anew for each process: keys come from documents, and those that were chosen to collide would make each search as
 * long as the object.
 */
const SEED = randomInt(1, 2 ** 31)

/** A number that equal keys share and others hardly ever. */
export const hashKey = (bytes: Uint8Array, start = 0, end = bytes.length): number => {
  let hash = SEED
  for (let i = start; i < end; i++) {
    hash = Math.imul(hash ^ bytes[i]!, 0x5bd1e995)
    hash ^= hash >>> 15
  }
  hash = Math.imul(hash, 0x2c1b3c6d)
  return hash ^ (hash >>> 13)
}
