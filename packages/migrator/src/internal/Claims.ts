/**
 * Which sources of a run claim which names of cohorts. A name that several claim for different content is contested for
 * the rest of the run: of all its claimants, none but those that found their content stored before keeps what it has.
 *
 * Laws: who is contested depends on what was claimed in which order, and not on where batches begin or which of them had
 * to be read again; nothing here reads or writes.
 */
import type { Claim } from "../Decision.ts"
import type { ItemReport } from "../Report.ts"

/** A source that claims a name, and what came of it. */
export interface Claimant extends Claim {
  readonly number: number
  readonly outcome: ItemReport["outcome"]
  /** What it was saved as. */
  readonly revisionId: number | undefined
}

/** A source that turned out to be contested after a transaction had taken it. */
export interface Disowned {
  readonly name: string
  readonly claimant: Claimant
}

/** What may have to be forgotten with a batch. */
type Event = { readonly claimed: Disowned } | { readonly takenBack: number }

/** A moment to which `rollback` goes back. */
export type ClaimsMark = number

export class Claims {
  private readonly events: Array<Event> = []
  private readonly byName = new Map<string, Array<Claimant>>()
  /** Paths of all that claim a contested name. What is once known of them is never forgotten. */
  private readonly contested = new Map<string, Set<string>>()
  private readonly takenBack = new Set<number>()
  private batch: ClaimsMark = 0

  /** Begins a batch: every claim so far belongs to a transaction, and is not read again unless that fails. */
  begin(): ClaimsMark {
    this.batch = this.events.length
    return this.batch
  }

  /** Forgets claims since a batch began, and that sources were taken back; but not which names are contested. */
  rollback(mark: ClaimsMark): void {
    for (const event of this.events.splice(mark).toReversed()) {
      if ("claimed" in event) this.byName.get(event.claimed.name)?.pop()
      else this.takenBack.delete(event.takenBack)
    }
  }

  /** All that have claimed a name so far, in order. */
  of(name: string): ReadonlyArray<Claimant> {
    return this.byName.get(name) ?? []
  }

  isContested(name: string): boolean {
    return this.contested.has(name)
  }

  /** Paths of the sources beside this one that claim a name, or have claimed it once it was contested; sorted. */
  rivals(name: string, path: string): ReadonlyArray<string> {
    const paths = this.contested.get(name) ?? new Set(this.of(name).map((claimant) => claimant.path))
    return [...paths].filter((other) => other !== path).sort()
  }

  /** Notes a claim; one that differs from those before makes the name contested. */
  add(name: string, claimant: Claimant): void {
    const claimants = this.byName.get(name) ?? []
    if (this.isContested(name) || claimants.some(({ digest }) => digest !== claimant.digest)) {
      const paths = this.contested.get(name) ?? new Set(claimants.map(({ path }) => path))
      this.contested.set(name, paths.add(claimant.path))
    }
    claimants.push(claimant)
    this.byName.set(name, claimants)
    this.events.push({ claimed: { name, claimant } })
  }

  /** Whether sources of the current batch were taken before their name was contested: the batch is to be read again. */
  get mustRepeat(): boolean {
    return this.events
      .slice(this.batch)
      .some(
        (event) => "claimed" in event && this.isContested(event.claimed.name) && hasToGiveWay(event.claimed.claimant)
      )
  }

  /** Sources of earlier batches that turned out to be contested and are not taken back yet; asked unless `mustRepeat`. */
  get disowned(): ReadonlyArray<Disowned> {
    return [...this.contested.keys()].flatMap((name) =>
      this.of(name)
        .filter((claimant) => hasToGiveWay(claimant) && !this.takenBack.has(claimant.number))
        .map((claimant) => ({ name, claimant }))
    )
  }

  /** Notes that a source was taken back, once a transaction has that. */
  takeBack(number: number): void {
    this.takenBack.add(number)
    this.events.push({ takenBack: number })
  }
}

/** Whether a source has got something that it must not have if its name is contested. */
const hasToGiveWay = ({ outcome }: Claimant): boolean => outcome === "migrated" || outcome === "skipped"
