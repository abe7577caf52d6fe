/**
 * Reads the sources of a run and stores whole ones, a batch at a time. What cannot be stored is read again on its own and
 * told: one bad source does not spoil the others.
 *
 * Each part of that has a module: `SourceReader` reads, `verdict` decides, `Claims` knows whose names are contested,
 * `contentRemarks` asks the rules, `takingBack` undoes, `Outcomes` keeps what became of each source.
 */
import { randomUUID } from "node:crypto"
import type { BatchWriter, NewRevision } from "@mallard/duckdb-store"
import type { PartRead, ReadThreads, Source } from "@mallard/legacy-json"
import { Clock, Effect, Schema } from "effect"
import type { SqlError } from "effect/sql"
import { decide, type StoredHead } from "../Decision.ts"
import { defaultSizes, type MigrateOptions, type Sizes } from "../MigrateOptions.ts"
import type { ItemReport } from "../Report.ts"
import { type Claimant, Claims, type ClaimsMark } from "./Claims.ts"
import {
  canReject,
  type ContentRules,
  contentRules,
  type FoundRemark,
  hasReason,
  located,
  rejectedFor,
  remarksByRevision,
  withRemarks
} from "./contentRemarks.ts"
import { describe, newPart } from "./describing.ts"
import { contestedItem, entitiesOf, failedItem, interruptedItem, notReachedItem, unchangedItem } from "./items.ts"
import { Outcomes, recordItems, type StagedItem } from "./Outcomes.ts"
import { firstFiles, inReadingOrder, knownHashes, type ReadingOrder } from "./readAhead.ts"
import { isExceeded } from "./rejectLimit.ts"
import { SlowestSources } from "./RunFacts.ts"
import { bytesOf } from "./sourceFiles.ts"
import { entityTeller, SourceReader } from "./SourceReader.ts"
import type { Stored } from "./stored.ts"
import { takeBackDisowned, type TakenBack } from "./takingBack.ts"
import { SpacePauses } from "./transient.ts"
import { verdictOf } from "./verdict.ts"

/** Sources of a batch must not be stored after all; the batch is read again without them. */
class BatchSpoilt extends Schema.TaggedError<BatchSpoilt>()("BatchSpoilt", {}) {}

/** A source whose rows were being written as it was read cannot be stored; its transaction is given up. */
class LargeItemFailed extends Schema.TaggedError<LargeItemFailed>()("LargeItemFailed", { report: Schema.Unknown }) {}

/** Consecutive sources that are stored in one transaction. */
interface Batch {
  readonly first: number
  /** The source after the last one read. */
  end: number
  bytes: number
  readonly began: number
  /** Its first revision. */
  readonly from: number
  readonly staged: Array<StagedItem>
  /** Names claimed by sources of it that the rules have not been asked about yet, and might reject. */
  readonly unproven: Set<string>
  /** Whether a name would be contested by or with such a source: the rules are asked, then the batch is read again. */
  isTrial: boolean
}

/** A batch whose commit is under way. */
interface PendingBatch {
  readonly first: number
  readonly end: number
  readonly before: ClaimsMark
  readonly staged: ReadonlyArray<StagedItem>
  /** Forgets the outcomes of what is staged. */
  readonly letGo: () => void
  readonly committed: Effect.Effect<void, SqlError.SqlError>
}

/** Compact text that is read ahead while the database commits. */
const AHEAD_BYTES = 48 << 20

/** What a run is about. */
export interface LoaderOptions {
  readonly options: MigrateOptions
  readonly found: ReadonlyArray<Source>
  /** What the database held before. */
  readonly stored: Stored
  readonly writer: BatchWriter
  /** Id of the run. */
  readonly run: string
  /** Sources that were rejected before any was read. */
  readonly rejectedBefore: number
  readonly threads: ReadThreads | undefined
}

/** `run` is to be run once; what became of the sources is told afterwards. */
export class Loader {
  /** Whether the run was asked to stop before its end. */
  interrupted = false
  readonly slowest = new SlowestSources()
  private readonly options: MigrateOptions
  private readonly found: ReadonlyArray<Source>
  private readonly stored: Stored
  private readonly writer: BatchWriter
  private readonly runId: string
  private readonly rejectedBefore: number
  private readonly threads: ReadThreads | undefined
  private readonly sizes: Sizes
  /** Numbers of sources are their places in this order. */
  private readonly order: ReadingOrder
  private readonly rules: ContentRules
  private readonly canReject: boolean
  private readonly reader: SourceReader
  private readonly claims = new Claims()
  private readonly outcomes = new Outcomes()
  private readonly pauses = new SpacePauses()
  /** Items whose content breaks a rule that rejects, by number. */
  private readonly invalid = new Map<number, ItemReport>()
  /** Items of batches read again that the rules let pass, by number. */
  private readonly valid = new Set<number>()
  private pending: PendingBatch | undefined

  constructor({ found, options, rejectedBefore, run, stored, threads, writer }: LoaderOptions) {
    this.options = options
    this.found = found
    this.stored = stored
    this.writer = writer
    this.runId = run
    this.rejectedBefore = rejectedBefore
    this.threads = threads
    this.sizes = { ...defaultSizes, ...options.sizes }
    this.order = inReadingOrder(found, stored.rivals, this.sizes)
    this.rules = contentRules(options.rules, options.strict === true)
    this.canReject = canReject(this.rules)
    this.reader = new SourceReader(options, this.sizes, stored, writer, threads)
  }

  /** Has threads read what comes first, while the run is still getting ready. */
  prepare(): void {
    this.threads?.leaveOut(knownHashes(this.stored, this.found))
    this.threads?.prepare(firstFiles(this.order.sources))
  }

  /** Reads and stores; fails only if the database does, in a way that no single source is to blame for. */
  readonly run = Effect.fnUntraced(
    { self: this },
    function* () {
      this.prepare()
      const { firstHeavy, firstRival, sources } = this.order
      for (let next = 0; next < sources.length || this.pending !== undefined;) {
        if (next === sources.length) yield* this.settle()
        else if (this.isOver) {
          yield* this.settle()
          this.leaveRest(next, sources.length)
          next = sources.length
        } else {
          const end = [firstHeavy, firstRival, sources.length].find((boundary) => boundary > next) ?? sources.length
          const most = next < firstRival ? Math.min(this.sizes.batchFiles, end - next) : end - next
          next = yield* Effect.withSpan(this.batch(next, most), "mallard.batch")
        }
      }
      if (this.claims.disowned.length > 0) {
        const takenBack = yield* this.writer.transaction(this.runId, this.takeBack)
        this.hold(takenBack, [])
        this.tell(takenBack)
      }
    },
    Effect.scoped
  )

  /** What became of the sources, in the order in which they were found. */
  get reports(): ReadonlyArray<ItemReport> {
    return this.outcomes.reports(this.order.sources, this.found).map((item) => {
      const replays = this.options.replays?.get(item.path)
      return { ...this.withRivals(item), ...(replays === undefined ? {} : { replays }) }
    })
  }

  /** Records, in the current transaction, the items that were not reached or not taken, and those found unreadable. */
  recordRest(unreadable: ReadonlyArray<ItemReport>): void {
    recordItems(this.writer, this.runId, this.outcomes.unrecordedItems(unreadable))
  }

  /**
   * Stores sources from `first` on in one transaction; returns where the next batch starts. Reading begins while the
   * batch before is still being committed.
   */
  private readonly batch: (first: number, most: number) => Effect.Effect<number, SqlError.SqlError> = Effect.fnUntraced(
    { self: this },
    function* (first, most) {
      const before = this.claims.begin()
      const began = yield* Clock.currentTimeMillis
      const batch: Batch = {
        first,
        end: first,
        bytes: 0,
        began,
        from: this.writer.nextRevision,
        staged: [],
        unproven: new Set(),
        isTrial: false
      }
      // Only a source that is written as it is read fails as a whole, and those wait for their transaction.
      yield* Effect.catchTag(this.gather(batch, most, true), ["LargeItemFailed", "ThreadLost"], Effect.die)
      // With a batch that cannot be committed goes whatever was read after it.
      if (!(yield* this.settle())) return first
      const undo = Effect.sync(() => this.claims.rollback(before))
      return yield* this.writer.stage(this.runId, this.complete(batch, most)).pipe(
        Effect.map(({ committed, result }) => {
          const letGo = this.hold(result.takenBack, result.staged)
          const staged = [...result.takenBack, ...result.staged]
          this.pending = { first, end: batch.end, before, staged, letGo, committed }
          return batch.end
        }),
        Effect.tap(() =>
          Effect.annotateCurrentSpan({
            "mallard.sources": batch.end - batch.first,
            "mallard.bytes": batch.bytes,
            "mallard.entities": batch.staged.reduce((sum, { report }) => sum + entitiesOf(report), 0)
          })
        ),
        // Of what a lost thread had read, rows are written: they go with the transaction, and the file is read here.
        Effect.catchTag(["BatchSpoilt", "ThreadLost"], () => Effect.andThen(undo, this.batch(first, most))),
        // Nothing of the source was written, and it is alone: what it claims, it claims all the same.
        Effect.catchTag("LargeItemFailed", ({ report }) =>
          Effect.gen({ self: this }, function* () {
            const own = { number: first, report: report as ItemReport, revisionId: undefined }
            const takenBack = yield* this.writer.transaction(
              this.runId,
              Effect.tap(this.takeBack, () => Effect.sync(() => recordItems(this.writer, this.runId, [own])))
            )
            this.hold(takenBack, [own])
            this.tell([...takenBack, own])
            return first + 1
          })
        ),
        Effect.catchTag("SqlError", (error) => Effect.andThen(undo, this.oneByOne(first, batch.end, error)))
      )
    }
  )

  /** Waits for the commit under way; false if it failed, and all that was read since is gone. */
  private readonly settle: () => Effect.Effect<boolean, SqlError.SqlError> = Effect.fnUntraced(
    { self: this },
    function* () {
      const { pending } = this
      if (pending === undefined) return true
      this.pending = undefined
      return yield* pending.committed.pipe(
        Effect.withSpan("mallard.commit"),
        Effect.map(() => {
          this.tell(pending.staged)
          return true
        }),
        Effect.catchTag("SqlError", (error) =>
          Effect.gen({ self: this }, function* () {
            this.claims.rollback(pending.before)
            pending.letGo()
            yield* this.oneByOne(pending.first, pending.end, error)
            return false
          })
        )
      )
    }
  )

  /** One bad item must not spoil the others: a batch that failed is done again item by item. */
  private readonly oneByOne = Effect.fnUntraced(
    { self: this },
    function* (first: number, end: number, error: SqlError.SqlError): Effect.fn.Return<number, SqlError.SqlError> {
      if (end - first <= 1) {
        const pause = this.pauses.next(first, error, !this.isStopped)
        if (pause !== undefined) {
          yield* Effect.sleep(pause)
          const after = yield* this.batch(first, 1)
          yield* this.settle()
          return after
        }
        this.leaveFailed(first, error)
        return first + 1
      }
      let next = first
      // Each is a transaction of its own: who stops the run does not wait for hundreds of them.
      while (next < end && !this.isOver) next = yield* this.batch(next, 1)
      yield* this.settle()
      if (next < end) this.leaveRest(next, end)
      return end
    }
  )

  /**
   * Reads sources until the batch is full; writes rows as they come. `ahead` of a transaction nothing is written: reading
   * stops where that has to begin.
   */
  private readonly gather = Effect.fnUntraced({ self: this }, function* (batch: Batch, most: number, ahead: boolean) {
    const { writer } = this
    const { firstHeavy, sources } = this.order
    while (batch.end < sources.length && batch.end - batch.first < most) {
      const source = sources[batch.end]!
      const size = bytesOf(source)
      const isLarge = this.reader.isLarge(source)
      // What became of the others is told before a huge one is begun.
      if (ahead && batch.end === firstHeavy) return
      if (ahead && (isLarge || (writer.wantsFlush && !(writer.isCommitting && writer.waitingBytes < AHEAD_BYTES))))
        return
      // A large source is written as it is read, so it has a transaction of its own.
      const { batchBytes, batchEntities, batchMs } = this.sizes
      if (
        batch.end > batch.first &&
        (isLarge ||
          batch.bytes + size > batchBytes ||
          writer.entitiesInTransaction >= batchEntities ||
          (yield* Clock.currentTimeMillis) - batch.began >= batchMs ||
          this.isStopped)
      )
        return
      const began = yield* Clock.currentTimeMillis
      const tell = entityTeller(this.options.onProgress)
      const staged = yield* Effect.catchTag(this.item(batch, source, tell), "SourceCrowded", () => Effect.undefined)
      // It counts as large from now on.
      if (staged === undefined) continue
      batch.staged.push(staged)
      if (staged.report.outcome !== "unchanged") tell(entitiesOf(staged.report))
      this.slowest.add(source.path, size, (yield* Clock.currentTimeMillis) - began)
      batch.bytes += size
      batch.end++
      if (!ahead && writer.wantsFlush) yield* writer.flush
      if (isLarge) return
    }
  })

  /** Reads what else belongs to the batch, and puts all of it into the transaction. */
  private readonly complete = Effect.fnUntraced({ self: this }, function* (batch: Batch, most: number) {
    const { writer } = this
    const { sources } = this.order
    if (writer.wantsFlush) yield* writer.flush
    yield* this.gather(batch, most, false)
    if (!batch.isTrial && this.claims.mustRepeat) return yield* new BatchSpoilt({})
    yield* writer.publish
    const found = yield* remarksByRevision(writer, batch.from, this.rules)
    // Rows that are published are taken back with the whole batch alone, which is then read again without the bad items.
    if (batch.isTrial || [...found.values()].some(hasReason)) {
      yield* this.noteProven(batch, found)
      return yield* new BatchSpoilt({})
    }
    const takenBack = yield* this.takeBack
    const staged: Array<StagedItem> = []
    for (const item of batch.staged) {
      const inRows = item.revisionId === undefined ? undefined : found.get(item.revisionId)
      if (inRows === undefined) staged.push(item)
      else {
        const remarks = yield* located(sources[item.number]!, inRows)
        staged.push({ ...item, report: withRemarks(item.report, remarks) })
      }
    }
    // Nothing is left to read, and a commit needs the memory that they have.
    if (batch.end === sources.length && this.threads !== undefined) yield* this.threads.stop
    recordItems(writer, this.runId, staged)
    return { takenBack, staged }
  })

  /** Notes what the rules say of the sources whose rows are published: of those that repeat one, the same as of it. */
  private readonly noteProven = Effect.fnUntraced(
    { self: this },
    function* (batch: Batch, found: ReadonlyMap<number, ReadonlyArray<FoundRemark>>) {
      const contentOf = ({ cohort, digest }: ItemReport): string => `${digest} ${cohort}`
      const byContent = new Map<string, ReadonlyArray<FoundRemark> | undefined>()
      for (const { report, revisionId } of batch.staged) {
        if (revisionId !== undefined) byContent.set(contentOf(report), found.get(revisionId))
      }
      for (const { number, report, revisionId } of batch.staged) {
        const content = contentOf(report)
        const isRepeat = report.outcome === "skipped" && byContent.has(content)
        if (revisionId === undefined && !isRepeat) continue
        const remarks = byContent.get(content) ?? []
        if (!hasReason(remarks)) this.valid.add(number)
        else this.invalid.set(number, rejectedFor(report, yield* located(this.order.sources[number]!, remarks)))
      }
    }
  )

  /** Reads the next source of a batch and puts it into the transaction, or says why not. */
  private readonly item = Effect.fnUntraced(
    { self: this },
    function* (batch: Batch, source: Source, tell: (entities: number) => void) {
      const { writer } = this
      const number = batch.end
      const mark = writer.mark()
      const takeBack = Effect.sync(() => writer.rollback(mark))
      const isLarge = this.reader.isLarge(source)
      const notStored = Effect.fnUntraced(function* (report: ItemReport) {
        // Rows of a large source may be written already: only giving up the transaction takes them back.
        if (isLarge) return yield* new LargeItemFailed({ report })
        yield* takeBack
        return { number, report, revisionId: undefined } satisfies StagedItem
      })
      const invalid = this.invalid.get(number)
      if (invalid !== undefined) return yield* notStored(invalid)
      const next = firstFiles(this.order.sources, number + 1)
      const read = yield* Effect.catchTag(this.reader.read(source, next, tell), "ReadingStopped", () => {
        this.interrupted = true
        return Effect.fail(new LargeItemFailed({ report: interruptedItem(source) }))
      })
      switch (read._tag) {
        case "Refused":
          return yield* notStored(read.report)
        case "Known": {
          yield* takeBack
          const { cohort, digest } = read.known
          this.claim(batch, cohort, {
            number,
            path: source.path,
            digest,
            outcome: "unchanged",
            revisionId: undefined
          })
          return { number, report: unchangedItem(source, read.known, read.sha256), revisionId: undefined }
        }
        case "Whole": {
          const { report, revisionId } = yield* this.store(batch, source, read.parts)
          return revisionId === undefined ? yield* notStored(report) : { number, report, revisionId }
        }
      }
    }
  )

  /** Decides about a source that was read, and notes its claim; saves its revision if that is what is to be done. */
  private readonly store = Effect.fnUntraced(
    { self: this },
    function* (batch: Batch, source: Source, parts: ReadonlyArray<PartRead>) {
      const { claims, options, stored, writer } = this
      const number = batch.end
      const described = describe(source, parts)
      const { digest } = described
      const decision = decide({
        name: described.name,
        digest,
        rule: options.onConflict,
        head: (name) => stored.heads.get(name),
        claimed: (name) => claims.claimed(name, digest)
      })
      const planned = options.plan?.get(source.path)
      const isStrict = options.strict === true
      const { claimed, report, save } = verdictOf({ source, parts, described, decision, planned, isStrict })
      if (claimed === undefined) return { report, revisionId: undefined }
      const isOtherwise = decision.action === "save" && save === undefined
      const outcome = isOtherwise ? ("otherwise" as const) : report.outcome
      const claim = { number, path: source.path, digest, outcome }
      const saved = Effect.fnUntraced({ self: this }, function* (head: StoredHead | undefined) {
        const cohortId = head?.cohortId ?? randomUUID()
        const revision: NewRevision = {
          ...described,
          cohortId,
          seq: (head?.seq ?? 0) + 1,
          predecessor: head?.revisionId,
          change: "saved",
          name: claimed,
          savedAt: BigInt(yield* Clock.currentTimeMillis) * 1000n,
          digest
        }
        const revisionId = writer.save(revision, parts.map(newPart), this.runId)
        return { report: { ...report, cohort_id: cohortId }, revisionId }
      })
      if (save !== undefined) {
        const written = yield* saved(save.head)
        if (this.isUnproven(number)) batch.unproven.add(claimed)
        claims.add(claimed, { ...claim, revisionId: written.revisionId })
        return written
      }
      if (isOtherwise && this.isUnproven(number)) {
        batch.isTrial = true
        return yield* saved(stored.heads.get(claimed))
      }
      const isNoted = this.claim(batch, claimed, { ...claim, revisionId: undefined })
      if (isNoted) return { report: this.withRivals(report), revisionId: undefined }
      // Its rows are there for the rules alone, and go with the transaction.
      return this.isUnproven(number) ? yield* saved(stored.heads.get(claimed)) : { report, revisionId: undefined }
    }
  )

  /**
   * Notes the claim of a source that is not saved, unless that would contest a name for or against a source that the rules
   * may yet reject: what is rejected for its content claims no name. Then the batch is a trial.
   */
  private claim(batch: Batch, name: string, claimant: Claimant): boolean {
    const isDoubtful =
      batch.unproven.has(name) || (claimant.outcome !== "unchanged" && this.isUnproven(claimant.number))
    if (isDoubtful && this.claims.claimed(name, claimant.digest) === "others") {
      batch.isTrial = true
      return false
    }
    this.claims.add(name, claimant)
    return true
  }

  /** Whether the rules might reject a source that they have not been asked about. Those of earlier batches are proven. */
  private isUnproven(number: number): boolean {
    return this.canReject && !this.valid.has(number)
  }

  /** Names in the report of a contested source the others that claim its name, as far as they are known. */
  private withRivals(report: ItemReport): ItemReport {
    return report.cohort !== null && report.remarks.some(({ code }) => code === "name-conflict")
      ? contestedItem(report, this.claims.rivals(report.cohort, report.path))
      : report
  }

  /** Puts into the current transaction what undoes sources that lost their names since they were stored. */
  private readonly takeBack = Effect.suspend(() =>
    takeBackDisowned(this.claims, this.outcomes, this.stored, this.writer, this.runId)
  )

  /** Called once what becomes of items is in a transaction; gives what undoes that, claims apart. */
  private hold(takenBack: ReadonlyArray<TakenBack>, staged: ReadonlyArray<StagedItem>): () => void {
    for (const { disowned } of takenBack) this.claims.takeBack(disowned)
    return this.outcomes.hold([...takenBack, ...staged])
  }

  /** Called once it is committed. */
  private tell(items: ReadonlyArray<StagedItem>): void {
    for (const { report } of items) this.options.onProgress?.({ phase: "item", item: report })
  }

  /** Whether no further source is to be begun. */
  private get isOver(): boolean {
    return this.pauses.full !== undefined || this.hasTooManyRejects() || this.isStopped
  }

  /** Notes of sources that are not begun any more why that is. */
  private leaveRest(from: number, end: number): void {
    const { full } = this.pauses
    if (full !== undefined && !this.isStopped) {
      for (let number = from; number < end; number++) this.leaveFailed(number, full)
      return
    }
    const isRejected = this.hasTooManyRejects()
    if (!isRejected) this.interrupted = true
    const report = isRejected ? notReachedItem : interruptedItem
    for (let number = from; number < end; number++) this.outcomes.leave(number, report(this.order.sources[number]!))
  }

  private leaveFailed(number: number, error: SqlError.SqlError): void {
    const report = failedItem(this.order.sources[number]!, error)
    this.outcomes.leave(number, report)
    this.tell([{ number, report, revisionId: undefined }])
  }

  private get isStopped(): boolean {
    return this.options.isStopped?.() === true
  }

  private hasTooManyRejects(): boolean {
    const { maxRejects } = this.options
    if (maxRejects === undefined) return false
    const rejected = this.outcomes.stopped + this.rejectedBefore
    return isExceeded(maxRejects, { rejected, failed: 0, found: this.order.sources.length + this.rejectedBefore })
  }
}
