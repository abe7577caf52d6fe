/** A stack of numbers that keeps its memory when it shrinks, which an array does not. */
export class NumberStack {
  length = 0
  /** Those from `length` on mean nothing. */
  values: Float64Array<ArrayBuffer> = new Float64Array(16)

  push(value: number): void {
    if (this.length === this.values.length) {
      const values = new Float64Array(this.length * 2)
      values.set(this.values)
      this.values = values
    }
    this.values[this.length++] = value
  }
}
