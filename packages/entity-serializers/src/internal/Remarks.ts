/**
 * Remarks gathered while an entity or document is read. Past `MAX_REMARKS` they are only counted, so that a source full
 * of oddities costs no more than its size.
 */
import { MAX_REMARKS, type ValueRemark, type ValueRemarkCode } from "../Remark.ts"

interface Gathered extends ValueRemark {
  pointer: string
}

export class Remarks {
  private readonly kept: Array<Gathered> = []
  private omitted = 0

  /** All remarks, also those that are only counted. Give it to `truncate` to take back what came later. */
  get count(): number {
    return this.kept.length + this.omitted
  }

  get list(): ReadonlyArray<ValueRemark> {
    return this.kept
  }

  /** Whether further remarks are only counted, so that nobody needs to work out their pointers. */
  get full(): boolean {
    return this.kept.length === MAX_REMARKS
  }

  add(code: ValueRemarkCode, pointer: string, offset: number): void {
    if (this.full) this.omitted++
    else this.kept.push({ code, pointer, offset })
  }

  truncate(count: number): void {
    this.omitted = Math.max(0, count - this.kept.length)
    if (count < this.kept.length) this.kept.length = count
  }

  /** Puts `prefix` before the pointers of the remarks from `from` on. */
  prefix(from: number, prefix: string): void {
    for (let i = from; i < this.kept.length; i++) this.kept[i]!.pointer = prefix + this.kept[i]!.pointer
  }

  /** Takes over the remarks of another and empties it. */
  take(other: Remarks, prefix: string): void {
    for (const { code, pointer, offset } of other.kept) this.add(code, prefix + pointer, offset)
    this.omitted += other.omitted
    other.truncate(0)
  }
}
