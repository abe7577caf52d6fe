/** Numbers drawn from a seed: the same seed gives the same cases. */
import { createHash } from "node:crypto"

export interface Random {
  /** A whole number from 0 to below the bound. */
  readonly below: (bound: number) => number
  readonly times: <A>(count: number, make: (at: number) => A) => ReadonlyArray<A>
}

/** Mulberry32, by Tommy Ettinger: enough for choosing places. */
export const randomOf = (seed: number): Random => {
  let state = seed >>> 0
  const below = (bound: number): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound)
  }
  return { below, times: (count, make) => Array.from({ length: count }, (_, at) => make(at)) }
}

/** A whole number from 0 to below the bound, the same for the same text in every process. */
export const numberOf = (text: string, bound: number): number =>
  createHash("sha256").update(text).digest().readUInt32BE(0) % bound
