/**
 * The keys that an object has so far, as places in the text where they were written: four to eight bytes a key, however
 * many there are. Past `MAX_KEYS_SEEN` no more are remembered.
 */
import { randomInt } from "node:crypto"
import { skipString } from "./Compact.ts"

/** Keys remembered per object to find duplicates: beyond, memory counts for more. */
export const MAX_KEYS_SEEN = 1 << 20

export class KeySet {
  private size = 0
  /** Where keys start, from 1, at the place that their bytes hash to or behind it; 0 is free. */
  private table = new Int32Array(128)

  /** Adds the key whose compact text, quotes included, stands between `start` and `end`; whether it was there already. */
  add(bytes: Uint8Array, start: number, end: number): boolean {
    let at = this.placeOf(bytes, start, end)
    if (this.table[at] !== 0) return true
    if (this.size === MAX_KEYS_SEEN) return false
    if (this.size * 2 >= this.table.length) {
      this.grow(bytes)
      at = this.placeOf(bytes, start, end)
    }
    this.table[at] = start + 1
    this.size++
    return false
  }

  /** The place of the key, or the free one where it would be put. */
  private placeOf(bytes: Uint8Array, start: number, end: number): number {
    const { table } = this
    const mask = table.length - 1
    let at = hashOf(bytes, start, end) & mask
    for (;;) {
      const other = table[at]! - 1
      if (other < 0) return at
      // The closing quote is compared as well, so that no longer key passes for its beginning.
      let i = start
      while (i < end && bytes[other + i - start] === bytes[i]) i++
      if (i === end) return at
      at = (at + 1) & mask
    }
  }

  private grow(bytes: Uint8Array): void {
    const old = this.table
    this.table = new Int32Array(old.length * 2)
    for (const place of old) {
      if (place === 0) continue
      const start = place - 1
      this.table[this.placeOf(bytes, start, skipString(bytes, start))] = place
    }
  }
}

/**
 * Seeded anew for each process: keys come from documents, and those that were chosen to collide would make each search as
 * long as the object.
 */
const SEED = randomInt(1, 2 ** 31)

const hashOf = (bytes: Uint8Array, start: number, end: number): number => {
  let hash = SEED
  for (let i = start; i < end; i++) {
    hash = Math.imul(hash ^ bytes[i]!, 0x5bd1e995)
    hash ^= hash >>> 15
  }
  hash = Math.imul(hash, 0x2c1b3c6d)
  return hash ^ (hash >>> 13)
}
