/** What becomes of each source of a run: kept by number, told when it is committed, and recorded in the ledger. */
import type { BatchWriter } from "@mallard/duckdb-store"
import type { Source } from "@mallard/legacy-json"
import type { ItemReport } from "../Report.ts"
import { isStopped } from "../report/Summary.ts"

/** An item whose rows wait in the current transaction. */
export interface StagedItem {
  readonly number: number
  readonly report: ItemReport
  /** What it was saved as, if it was. */
  readonly revisionId: number | undefined
}

/** Numbers of sources are their places in the order of reading. */
export class Outcomes {
  private readonly items: Array<ItemReport | undefined> = []
  /** Numbers of items that no transaction has recorded. */
  private readonly unrecorded = new Set<number>()

  of(number: number): ItemReport | undefined {
    return this.items[number]
  }

  /** Rejected or failed so far. */
  get stopped(): number {
    return this.items.filter((item) => item !== undefined && isStopped(item)).length
  }

  /** Notes what a transaction has taken; gives what undoes that, in case it is not committed. */
  hold(staged: ReadonlyArray<StagedItem>): () => void {
    const before = staged.map(({ number }) => [number, this.items[number]] as const)
    for (const { number, report } of staged) this.items[number] = report
    return () => {
      for (const [number, report] of before) this.items[number] = report
    }
  }

  /** Notes what no transaction has taken; `unrecordedItems` has it at the end. */
  leave(number: number, report: ItemReport): void {
    this.items[number] = report
    this.unrecorded.add(number)
  }

  /** What is not in the ledger yet, with sources that were found unreadable, whose numbers come last. */
  unrecordedItems(unreadable: ReadonlyArray<ItemReport>): ReadonlyArray<StagedItem> {
    const left = [...this.unrecorded].flatMap((number) => {
      const report = this.items[number]
      return report === undefined ? [] : [{ number, report, revisionId: undefined }]
    })
    const last = this.items.length
    return [...left, ...unreadable.map((report, at) => ({ number: last + at, report, revisionId: undefined }))]
  }

  /** Of `sources`, whose numbers are their places, in the order of `found`. */
  reports(sources: ReadonlyArray<Source>, found: ReadonlyArray<Source>): ReadonlyArray<ItemReport> {
    const numbers = new Map(sources.map((source, number) => [source, number]))
    return found.map((source) => this.items[numbers.get(source) ?? -1]).filter((item) => item !== undefined)
  }
}

/** Puts items into the current transaction. Unchanged ones are only counted: a hundred thousand of them write nothing. */
export const recordItems = (writer: BatchWriter, run: string, items: ReadonlyArray<StagedItem>): void => {
  for (const { number, report, revisionId } of items) {
    if (report.outcome === "unchanged") continue
    writer.record("migration_items", {
      run_id: run,
      item: number,
      path: report.path,
      outcome: report.outcome,
      format: report.format,
      bytes: report.bytes,
      source_sha256: report.source_sha256,
      revision_id: revisionId ?? null,
      cohort_id: report.cohort_id,
      digest: report.digest,
      entities: JSON.stringify(report.entities),
      remarks: JSON.stringify(report.remarks)
    })
  }
}
