/**
 * Column storage for rows that wait to be written: one growable typed array per column, in the layout that DuckDB's
 * vectors have, so that writing them is a copy. Texts are not stored but pointed to: an offset and a length in one of the
 * two heaps of the batch.
 */

/** How a column's values lie in memory. `TEXT` holds heap references; `I64` is split in two 32-bit halves. */
export type Layout = "TEXT" | "I32" | "I64" | "F64" | "BOOL"

/**
 * Added to the offset of a text that lies in the auxiliary heap rather than in the compact text; so each heap of a batch
 * may hold 1 GiB.
 */
export const AUX = 0x4000_0000

const noIntegers = new Int32Array(0)
const noDoubles = new Float64Array(0)
const noBytes = new Uint8Array(0)

/**
 * One column of waiting rows. Which arrays are used depends on the layout; unused ones stay empty. It begins without
 * room, because most kinds have no rows in most batches.
 */
export class Cells {
  readonly layout: Layout
  /** TEXT: heap offset (+ `AUX`); I32: value; I64: low half; BOOL: 0 or 1. */
  low: Int32Array = noIntegers
  /** TEXT: byte length; I64: high half. */
  high: Int32Array = noIntegers
  /** F64 values. */
  doubles: Float64Array = noDoubles
  /** 1 where the row has a value, 0 where it is NULL. */
  valid: Uint8Array = noBytes
  /** Whether any row of the batch has had a value, so that empty columns cost nothing to write. */
  used = false

  constructor(layout: Layout) {
    this.layout = layout
  }

  get capacity(): number {
    return this.valid.length
  }

  grow(capacity: number): void {
    const { doubles, high, low, valid } = this
    this.low = new Int32Array(capacity)
    if (this.layout === "TEXT" || this.layout === "I64") this.high = new Int32Array(capacity)
    if (this.layout === "F64") this.doubles = new Float64Array(capacity)
    this.valid = new Uint8Array(capacity)
    // The system gives no memory to arrays that nothing has been written to.
    if (!this.used) return
    this.low.set(low)
    this.high.set(high)
    this.doubles.set(doubles)
    this.valid.set(valid)
  }

  setText(row: number, offset: number, length: number): void {
    this.low[row] = offset
    this.high[row] = length
    this.valid[row] = 1
    this.used = true
  }

  setInt(row: number, value: number): void {
    this.low[row] = value
    this.valid[row] = 1
    this.used = true
  }

  /** Sets a 64-bit integer from a number whose magnitude is below 2^53. */
  setLong(row: number, value: number): void {
    const high = Math.floor(value / 4294967296)
    this.high[row] = high
    this.low[row] = value - high * 4294967296
    this.valid[row] = 1
    this.used = true
  }

  setBigInt(row: number, value: bigint): void {
    this.low[row] = Number(BigInt.asIntN(32, value))
    this.high[row] = Number(BigInt.asIntN(32, value >> 32n))
    this.valid[row] = 1
    this.used = true
  }

  setDouble(row: number, value: number): void {
    this.doubles[row] = value
    this.valid[row] = 1
    this.used = true
  }

  bigint(row: number): bigint {
    return (BigInt(this.high[row]!) << 32n) | BigInt(this.low[row]! >>> 0)
  }

  copy(from: number, source: Cells, to: number): void {
    if (source.valid[from] === 0) {
      this.valid[to] = 0
      return
    }
    this.low[to] = source.low[from]!
    if (this.high.length > 0) this.high[to] = source.high[from]!
    if (this.doubles.length > 0) this.doubles[to] = source.doubles[from]!
    this.valid[to] = 1
    this.used = true
  }

  /** Makes all cells NULL again; `rows` is how many were in use. */
  clear(rows: number): void {
    if (this.used) this.valid.fill(0, 0, rows)
    this.used = false
  }
}
