/** What verification finds, and the sums of it. */

/** What a check found wrong. `where` names tables, ids and columns, never values. */
export interface Finding {
  readonly code:
    | "document-changed"
    | "entity-changed"
    | "members-out-of-order"
    | "value-without-source"
    | "copy-changed"
    | "link-changed"
    | "template-unreadable"
    | "row-changed"
    | "rows-missing"
    | "rows-added"
    | "ids-not-dense"
    | "reference-broken"
    | "entity-unused"
    | "revision-changed"
  readonly where: string
  readonly message: string
}

/** Findings that a report lists. */
export const MAX_FINDINGS = 1000

export class Findings {
  readonly list: Array<Finding> = []
  count = 0
  private readonly onFinding: ((finding: Finding) => void) | undefined
  constructor(onFinding?: (finding: Finding) => void) {
    this.onFinding = onFinding
  }
  add(code: Finding["code"], where: string, message: string): void {
    this.count++
    this.onFinding?.({ code, where, message })
    if (this.list.length < MAX_FINDINGS) this.list.push({ code, where, message })
  }
  append(others: Findings): void {
    this.count += others.count
    this.list.push(...others.list.slice(0, MAX_FINDINGS - this.list.length))
  }
}
