/**
 * Which sources of a run claim which names of cohorts. A name that several claim for different content is contested for
 * the rest of the run: of all its claimants, none but those that found their content stored before keeps what it has.
 *
 * Laws: who is contested depends on what was claimed, and not on the order, where batches begin or which of them had to be
 * read again; nothing here reads or writes. A claim costs the same however many claim its name.
 */
import type { Claimed } from "../Decision.ts"
import type { ItemReport } from "../Report.ts"

/** A source that claims a name, and what came of it. */
export interface Claimant {
  readonly number: number
  readonly path: string
  readonly digest: string
  /** `otherwise` if it would have got the name, had the plan of the run not said otherwise. */
  readonly outcome: ItemReport["outcome"] | "otherwise"
  /** What it was saved as. */
  readonly revisionId: number | undefined
}

/** A source that turned out to be contested after a transaction had taken it. */
export interface Disowned {
  readonly name: string
  readonly claimant: Claimant
}

/** Other claimants of a contested name. */
export interface Rivals {
  /** The first of their paths. */
  readonly first: ReadonlyArray<string>
  /** How many there are beyond those. */
  readonly more: number
}

/** What may have to be forgotten with a batch. */
type Event = { readonly claimed: Disowned } | { readonly takenBack: Disowned }

/** A moment to which `rollback` goes back. */
export type ClaimsMark = number

export class Claims {
  private readonly events: Array<Event> = []
  private readonly byName = new Map<string, ClaimedName>()
  /** Paths of all that claim a contested name. What is once known of them is never forgotten. */
  private readonly contested = new Map<string, ContestedPaths>()
  /** Contested names of which somebody has got something. */
  private readonly unsettled = new Set<string>()
  private batch: ClaimsMark = 0

  /** Begins a batch: every claim so far belongs to a transaction, and is not read again unless that fails. */
  begin(): ClaimsMark {
    this.batch = this.events.length
    return this.batch
  }

  /** Forgets claims since a batch began, and that sources were taken back; but not which names are contested. */
  rollback(mark: ClaimsMark): void {
    for (const event of this.events.splice(mark).toReversed()) {
      const { claimant, name } = "claimed" in event ? event.claimed : event.takenBack
      if ("claimed" in event) this.byName.get(name)?.remove(claimant)
      else this.byName.get(name)?.holders.set(claimant.number, claimant)
      this.note(name)
    }
  }

  /** Who claims a name so far, seen from a source of this content. Once it is contested, others do. */
  claimed(name: string, digest: string): Claimed {
    if (this.contested.has(name)) return "others"
    const digests = this.byName.get(name)?.digests
    if (digests === undefined || digests.size === 0) return "nobody"
    return digests.size === 1 && digests.has(digest) ? "same" : "others"
  }

  isContested(name: string): boolean {
    return this.contested.has(name)
  }

  /** The sources beside this one that claim a contested name, or have done so once. */
  rivals(name: string, path: string): Rivals {
    return this.contested.get(name)?.without(path) ?? { first: [], more: 0 }
  }

  /** Notes a claim; one that differs from those before makes the name contested. */
  add(name: string, claimant: Claimant): void {
    const isContested = this.claimed(name, claimant.digest) === "others"
    const claimed = this.byName.get(name) ?? new ClaimedName()
    this.byName.set(name, claimed)
    claimed.add(claimant)
    if (isContested) {
      const paths = this.contested.get(name) ?? new ContestedPaths(claimed.paths)
      this.contested.set(name, paths)
      paths.add(claimant.path)
    }
    this.events.push({ claimed: { name, claimant } })
    this.note(name)
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
    return [...this.unsettled].flatMap((name) =>
      [...(this.byName.get(name)?.holders.values() ?? [])].map((claimant) => ({ name, claimant }))
    )
  }

  /** Notes that a source was taken back, once a transaction has that. */
  takeBack(disowned: Disowned): void {
    this.byName.get(disowned.name)?.holders.delete(disowned.claimant.number)
    this.events.push({ takenBack: disowned })
    this.note(disowned.name)
  }

  private note(name: string): void {
    const isUnsettled = this.contested.has(name) && (this.byName.get(name)?.holders.size ?? 0) > 0
    if (isUnsettled) this.unsettled.add(name)
    else this.unsettled.delete(name)
  }
}

/** Whether a source has got something that it must not have if its name is contested, or is told what then is not so. */
const hasToGiveWay = ({ outcome }: Claimant): boolean =>
  outcome === "migrated" || outcome === "skipped" || outcome === "otherwise"

/** The claims of one name. */
class ClaimedName {
  /** How many claim it, by digest. */
  readonly digests = new Map<string, number>()
  /** Claimants, by number, that have got something, and that it was not taken back from. */
  readonly holders = new Map<number, Claimant>()
  private readonly claimants = new Map<number, Claimant>()

  get paths(): ReadonlyArray<string> {
    return [...this.claimants.values()].map(({ path }) => path)
  }

  add(claimant: Claimant): void {
    this.claimants.set(claimant.number, claimant)
    if (hasToGiveWay(claimant)) this.holders.set(claimant.number, claimant)
    this.digests.set(claimant.digest, (this.digests.get(claimant.digest) ?? 0) + 1)
  }

  remove({ digest, number }: Claimant): void {
    this.claimants.delete(number)
    this.holders.delete(number)
    const left = (this.digests.get(digest) ?? 0) - 1
    if (left > 0) this.digests.set(digest, left)
    else this.digests.delete(digest)
  }
}

/** Claimants that a remark names; thousands of files may claim one name. */
const MAX_NAMED = 10

/** Paths, of which the first are at hand whenever one is added. */
class ContestedPaths {
  private readonly all = new Set<string>()
  /** In order, one more than a remark names: its own source is among them. */
  private readonly first: Array<string> = []

  constructor(paths: ReadonlyArray<string>) {
    for (const path of paths) this.add(path)
  }

  add(path: string): void {
    if (this.all.has(path)) return
    this.all.add(path)
    const at = this.first.findIndex((other) => path < other)
    this.first.splice(at < 0 ? this.first.length : at, 0, path)
    if (this.first.length > MAX_NAMED + 1) this.first.pop()
  }

  without(path: string): Rivals {
    const first = this.first.filter((other) => other !== path).slice(0, MAX_NAMED)
    return { first, more: this.all.size - (this.all.has(path) ? 1 : 0) - first.length }
  }
}
