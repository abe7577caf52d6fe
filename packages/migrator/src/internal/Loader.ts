/** Reads sources and stores whole ones, a batch at a time: what cannot be stored is read again on its own and told. */
import { randomUUID } from "node:crypto"
import { type BatchWriter, duplicateIds, findViolations, queryRows, reach } from "@mallard/duckdb-store"
import { mayHoldLines } from "@mallard/entity-serializers"
import {
  notCohortNames,
  type PartRead,
  placesOf,
  ReadBuffers,
  type ReadThreads,
  readPart,
  readWholeFile,
  type Source,
  SourceError,
  type SourceFile,
  SourceRejected,
  toUtf8,
  type ValuePlace
} from "@mallard/legacy-json"
import { Clock, Effect, Option, Result, Schema } from "effect"
import type { SqlError } from "effect/sql"
import { type Claim, decide } from "../Decision.ts"
import { defaultSizes, type MigrateOptions, type Sizes } from "../MigrateOptions.ts"
import type { ItemReport, Remark } from "../Report.ts"
import { checksOf, duplicateLevel, type LevelledCheck, remarkOfCheck } from "../Validation.ts"
import { isStopped } from "../report/Summary.ts"
import { SlowestSources } from "./RunFacts.ts"
import { describe, newPart, type RevisionDescription } from "./describing.ts"
import {
  conflictMessage,
  deviation,
  entitiesOf,
  failedItem,
  interruptedItem,
  notReachedItem,
  plainRemark,
  rejectedItem,
  reportOf,
  sourceRemark,
  unchangedItem
} from "./items.ts"
import { firstFiles, inReadingOrder, knownHashes, MOST_AHEAD } from "./readAhead.ts"
import { isExceeded } from "./rejectLimit.ts"
import { bytesOf } from "./sourceFiles.ts"
import type { KnownItem, Stored } from "./stored.ts"
import { isOutOfSpace, retryTransient, SPACE_PAUSES_MS } from "./transient.ts"

/** Two sources of one batch claim one name; the batch is read again without either. */
class BatchContested extends Schema.TaggedError<BatchContested>()("BatchContested", {}) {}

/** A source whose rows were being written as it was read cannot be stored; its transaction is given up. */
class LargeItemFailed extends Schema.TaggedError<LargeItemFailed>()("LargeItemFailed", { report: Schema.Unknown }) {}

/** An item whose rows wait in the current transaction. */
interface StagedItem {
  readonly number: number
  readonly report: ItemReport
  readonly revisionId: number | undefined
}

/** A source that claims a name, and what came of it. */
interface Claimant extends Claim {
  readonly number: number
  readonly outcome: "migrated" | "skipped" | "unchanged"
  /** What it was saved as. */
  readonly revisionId: number | undefined
}

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
}

/** What sources lay claim to, as it was at some moment. */
interface Claimed {
  readonly claims: ReadonlyMap<string, ReadonlyArray<Claimant>>
  readonly disowned: ReadonlyMap<number, { readonly name: string; readonly claimant: Claimant }>
}

/** A batch whose commit is under way. */
interface PendingBatch {
  readonly first: number
  readonly end: number
  readonly before: Claimed
  readonly staged: ReadonlyArray<StagedItem>
  readonly committed: Effect.Effect<void, SqlError.SqlError>
}

/** Compact text that is read ahead while the database commits. */
const AHEAD_BYTES = 48 << 20

export class Loader {
  interrupted = false
  readonly slowest = new SlowestSources()
  /** Sources that were rejected before any was read. */
  private readonly rejectedBefore: number
  private readonly checks: ReadonlyArray<LevelledCheck>
  /** Items whose content breaks a rule that rejects, by number. */
  private readonly invalid = new Map<number, ItemReport>()
  /** How often items were tried again because the disk was full, by number. */
  private readonly attempts = new Map<number, number>()
  /** Whether space was waited for in vain: those that come later do not wait for it again, one after the other. */
  private wasFullTooLong = false
  /** Numbers of items that no transaction has recorded. */
  private readonly unrecorded = new Set<number>()
  private pending: PendingBatch | undefined
  /** Whether items of the current batch turned out to be contested after they were put into it. */
  private mustRepeat = false
  private readonly options: MigrateOptions
  private readonly stored: Stored
  private readonly writer: BatchWriter
  private readonly run_: string
  private readonly buffers: ReadBuffers
  private readonly threads: ReadThreads | undefined
  /** How many entities of the source being read have been told. */
  private told = 0
  /** In the order in which they are read. */
  private sources: ReadonlyArray<Source> = []
  /** Where among them the huge ones begin. */
  private firstHeavy = 0
  private readonly items: Array<ItemReport | undefined> = []
  private readonly sizes: Sizes
  /** Names claimed in this run, by whom. */
  private claims = new Map<string, ReadonlyArray<Claimant>>()
  /** Names that several sources claim for different content, and all who do. */
  private readonly contested = new Map<string, Set<string>>()
  /** Items of earlier batches that turned out to be contested, by number: still stored or skipped. */
  private disowned = new Map<number, { readonly name: string; readonly claimant: Claimant }>()

  constructor(
    options: MigrateOptions,
    stored: Stored,
    writer: BatchWriter,
    run: string,
    rejectedBefore: number,
    threads: ReadThreads | undefined
  ) {
    this.options = options
    this.threads = threads
    this.rejectedBefore = rejectedBefore
    this.checks = checksOf(options.rules)
    this.buffers = new ReadBuffers(options.jobs === undefined ? 1 : Math.min(options.jobs, MOST_AHEAD) - 1)
    this.sizes = { ...defaultSizes, ...options.sizes }
    this.stored = stored
    this.writer = writer
    this.run_ = run
  }

  private hasTooManyRejects(found: number): boolean {
    const { maxRejects } = this.options
    if (maxRejects === undefined) return false
    const rejected = this.items.filter((item) => item !== undefined && isStopped(item)).length + this.rejectedBefore
    return isExceeded(maxRejects, { rejected, failed: 0, found: found + this.rejectedBefore })
  }

  /** What became of sources, in their order. */
  reports(found: ReadonlyArray<Source>): ReadonlyArray<ItemReport> {
    const numbers = new Map(this.sources.map((source, number) => [source, number]))
    return found
      .map((source) => this.items[numbers.get(source) ?? -1])
      .filter((item) => item !== undefined)
      .map((item) => this.withAllClaimants(item))
      .map((item) => {
        const replays = this.options.replays?.get(item.path)
        return replays === undefined ? item : { ...item, replays }
      })
  }

  /** Records, in the current transaction, the items that were not reached or not taken, and those found unreadable. */
  recordRest(unreadable: ReadonlyArray<ItemReport>): void {
    for (const number of this.unrecorded) {
      const report = this.items[number]
      if (report !== undefined) this.recordItem({ number, report, revisionId: undefined })
    }
    unreadable.forEach((report, at) =>
      this.recordItem({ number: this.items.length + at, report, revisionId: undefined })
    )
  }

  /** Every source that claims a contested name is named, also those that came later. */
  private withAllClaimants(item: ItemReport): ItemReport {
    const remarks = item.remarks.map((remark) => {
      return remark.code === "name-conflict" && item.cohort !== null
        ? this.conflictRemark(item.cohort, item.path)
        : remark
    })
    return { ...item, remarks }
  }

  private conflictRemark(name: string, path: string): Remark {
    const others = [...(this.contested.get(name) ?? [])].filter((other) => other !== path).sort()
    return plainRemark("name-conflict", conflictMessage(others))
  }

  readonly run = Effect.fnUntraced(
    { self: this },
    function* (found: ReadonlyArray<Source>) {
      this.threads?.leaveOut(knownHashes(this.stored, found))
      const { firstHeavy, firstRival, sources } = inReadingOrder(found, this.stored.rivals, this.sizes)
      this.firstHeavy = firstHeavy
      this.sources = sources
      for (let next = 0; next < sources.length || this.pending !== undefined;) {
        if (next === sources.length) yield* this.settle(sources)
        else if (this.hasTooManyRejects(sources.length)) {
          yield* this.settle(sources)
          for (; next < sources.length; next++) {
            this.items[next] = notReachedItem(sources[next]!)
            this.unrecorded.add(next)
          }
        } else if (this.options.isStopped?.() === true) {
          this.interrupted = true
          yield* this.settle(sources)
          for (; next < sources.length; next++) {
            this.items[next] = interruptedItem(sources[next]!)
            this.unrecorded.add(next)
          }
        } else {
          const end = [firstHeavy, firstRival, sources.length].find((boundary) => boundary > next) ?? sources.length
          const most = next < firstRival ? Math.min(this.sizes.batchFiles, end - next) : end - next
          next = yield* Effect.withSpan(this.batch(sources, next, most), "mallard.batch")
        }
      }
      if (this.disowned.size > 0) {
        const takenBack = yield* this.writer.transaction(this.run_, this.takeBack())
        this.hold(takenBack)
        this.finish(takenBack)
      }
    },
    Effect.scoped
  )

  /**
   * Stores sources from `first` on in one transaction; returns where the next batch starts. Reading begins while the
   * batch before is still being committed.
   */
  private readonly batch: (
    sources: ReadonlyArray<Source>,
    first: number,
    most: number
  ) => Effect.Effect<number, SqlError.SqlError> = Effect.fnUntraced({ self: this }, function* (sources, first, most) {
    const before = this.claimed()
    const began = yield* Clock.currentTimeMillis
    const batch: Batch = { first, end: first, bytes: 0, began, from: this.writer.nextRevision, staged: [] }
    this.mustRepeat = false
    // Only a source that is written as it is read fails as a whole, and those wait for their transaction.
    yield* Effect.catchTag(this.gather(batch, sources, most, true), ["LargeItemFailed", "ThreadLost"], Effect.die)
    // With a batch that cannot be committed goes whatever was read after it.
    if (!(yield* this.settle(sources))) return first
    const undo = Effect.sync(() => {
      this.claims = new Map(before.claims)
    })
    return yield* this.writer.stage(this.run_, this.complete(batch, sources, most)).pipe(
      Effect.map(({ committed, result }) => {
        this.hold(result)
        this.pending = { first, end: batch.end, before, staged: result, committed }
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
      Effect.catchTag(["BatchContested", "ThreadLost"], () => Effect.andThen(undo, this.batch(sources, first, most))),
      Effect.catchTag("LargeItemFailed", ({ report }) =>
        Effect.gen({ self: this }, function* () {
          const item = report as ItemReport
          const own = { number: first, report: item, revisionId: undefined }
          // A large source that is stored already or was there before keeps its claim: nothing of it was written.
          if (item.outcome !== "unchanged" && item.outcome !== "skipped") yield* undo
          const takenBack = yield* this.writer.transaction(
            this.run_,
            Effect.tap(this.takeBack(), () => Effect.sync(() => this.recordItem(own)))
          )
          this.hold([...takenBack, own])
          this.finish([...takenBack, own])
          return first + 1
        })
      ),
      Effect.catchTag("SqlError", (error) => Effect.andThen(undo, this.oneByOne(sources, first, batch.end, error)))
    )
  })

  /** Waits for the commit under way; false if it failed, and all that was read since is gone. */
  private readonly settle: (sources: ReadonlyArray<Source>) => Effect.Effect<boolean, SqlError.SqlError> =
    Effect.fnUntraced({ self: this }, function* (sources) {
      const { pending } = this
      if (pending === undefined) return true
      this.pending = undefined
      return yield* pending.committed.pipe(
        Effect.withSpan("mallard.commit"),
        Effect.map(() => {
          this.finish(pending.staged)
          return true
        }),
        Effect.catchTag("SqlError", (error) =>
          Effect.gen({ self: this }, function* () {
            this.claims = new Map(pending.before.claims)
            this.disowned = new Map(pending.before.disowned)
            for (const { number } of pending.staged) this.items[number] = undefined
            yield* this.oneByOne(sources, pending.first, pending.end, error)
            return false
          })
        )
      )
    })

  /** One bad item must not spoil the others: a batch that failed is done again item by item. */
  private readonly oneByOne = Effect.fnUntraced(
    { self: this },
    function* (
      sources: ReadonlyArray<Source>,
      first: number,
      end: number,
      error: SqlError.SqlError
    ): Effect.fn.Return<number, SqlError.SqlError> {
      if (end - first <= 1) {
        const tried = this.attempts.get(first) ?? 0
        const isFull = isOutOfSpace(error)
        const pause = this.wasFullTooLong ? undefined : SPACE_PAUSES_MS[tried]
        if (pause !== undefined && isFull && this.options.isStopped?.() !== true) {
          this.attempts.set(first, tried + 1)
          yield* Effect.sleep(pause)
          const after = yield* this.batch(sources, first, 1)
          yield* this.settle(sources)
          return after
        }
        this.wasFullTooLong ||= isFull
        const item = { number: first, report: failedItem(sources[first]!, error), revisionId: undefined }
        this.hold([item])
        this.unrecorded.add(first)
        this.finish([item])
        return first + 1
      }
      let next = first
      while (next < end) next = yield* this.batch(sources, next, 1)
      yield* this.settle(sources)
      return next
    }
  )

  private claimed(): Claimed {
    return { claims: new Map(this.claims), disowned: new Map(this.disowned) }
  }

  /** Called once what becomes of items is in a transaction. */
  private hold(items: ReadonlyArray<StagedItem>): void {
    for (const { number, report } of items) {
      this.disowned.delete(number)
      this.items[number] = report
    }
  }

  /** Tells how many entities of the source being read have been read so far. */
  private tellEntities(count: number): void {
    if (count <= this.told) return
    this.options.onProgress?.({ phase: "entities", count: count - this.told })
    this.told = count
  }

  /** Called once it is committed. */
  private finish(items: ReadonlyArray<StagedItem>): void {
    for (const { report } of items) this.options.onProgress?.({ phase: "item", item: report })
  }

  /**
   * Reads sources until the batch is full; writes rows as they come. `ahead` of a transaction nothing is written: reading
   * stops where that has to begin.
   */
  private readonly gather = Effect.fnUntraced(
    { self: this },
    function* (batch: Batch, sources: ReadonlyArray<Source>, most: number, ahead: boolean) {
      const { writer } = this
      while (batch.end < sources.length && batch.end - batch.first < most) {
        const source = sources[batch.end]!
        const size = bytesOf(source)
        const large = source.files.some((file) => file.bytes > this.sizes.wholeFileBytes)
        // What became of the others is told before a huge one is begun.
        if (ahead && batch.end === this.firstHeavy) return
        if (ahead && (large || (writer.wantsFlush && !(writer.isCommitting && writer.waitingBytes < AHEAD_BYTES))))
          return
        // A large file is written as it is read, so it has a transaction of its own.
        const { batchBytes, batchEntities, batchMs } = this.sizes
        if (
          batch.end > batch.first &&
          (large ||
            batch.bytes + size > batchBytes ||
            writer.entitiesInTransaction >= batchEntities ||
            (yield* Clock.currentTimeMillis) - batch.began >= batchMs ||
            this.options.isStopped?.() === true)
        )
          return
        const began = yield* Clock.currentTimeMillis
        this.told = 0
        const staged = yield* this.item(source, batch.end, large, this.nextFiles(sources, batch.end))
        batch.staged.push(staged)
        if (staged.report.outcome !== "unchanged") this.tellEntities(entitiesOf(staged.report))
        this.slowest.add(source.path, size, (yield* Clock.currentTimeMillis) - began)
        batch.bytes += size
        batch.end++
        if (!ahead && writer.wantsFlush) yield* writer.flush
        if (large) return
      }
    }
  )

  /** The first files of the sources after one. */
  private nextFiles(sources: ReadonlyArray<Source>, after: number): ReadonlyArray<SourceFile> {
    return firstFiles(sources.slice(after + 1))
  }

  /** Reads what else belongs to the batch, and puts all of it into the transaction. */
  private readonly complete = Effect.fnUntraced(
    { self: this },
    function* (batch: Batch, sources: ReadonlyArray<Source>, most: number) {
      const { writer } = this
      if (writer.wantsFlush) yield* writer.flush
      yield* this.gather(batch, sources, most, false)
      if (this.mustRepeat) return yield* new BatchContested({})
      const takenBack = yield* this.takeBack()
      yield* writer.publish
      const found = yield* this.remarksByRevision(batch.from)
      let left = LOCATED_BYTES
      for (const { number, revisionId } of batch.staged) {
        const remarks = revisionId === undefined ? undefined : found.get(revisionId)
        const source = sources[number]
        if (remarks === undefined || revisionId === undefined || source === undefined) continue
        found.set(revisionId, yield* located(source, remarks, left))
        left -= bytesOf(source)
      }
      const reports = batch.staged.map((item) => {
        const remarks = item.revisionId === undefined ? [] : (found.get(item.revisionId) ?? [])
        if (remarks.some(({ isReason }) => isReason)) {
          this.invalid.set(item.number, rejectedFor(item.report, remarks))
        }
        if (remarks.length === 0) return item
        const report: ItemReport = {
          ...item.report,
          remarks: [...item.report.remarks, ...remarks.map(({ remark }) => remark)],
          remark_count: item.report.remark_count + remarks.length
        }
        return { ...item, report }
      })
      // Rows that are published are taken back with the whole batch alone, which is then read again without the bad items.
      if (batch.staged.some(({ number, revisionId }) => revisionId !== undefined && this.invalid.has(number))) {
        return yield* new BatchContested({})
      }
      // Nothing is left to read, and a commit needs the memory that they have.
      if (batch.end === sources.length && this.threads !== undefined) yield* this.threads.stop
      for (const done of reports) this.recordItem(done)
      return [...takenBack, ...reports]
    }
  )

  /** What the rules find in the rows of the current transaction, by revision. */
  private readonly remarksByRevision = Effect.fnUntraced({ self: this }, function* (from: number) {
    const { strict = false, rules } = this.options
    const found = new Map<number, Array<FoundRemark>>()
    const add = (revisionId: number, part: number, remark: Remark, level: "warn" | "reject"): void => {
      const list = found.get(revisionId) ?? []
      found.set(revisionId, list)
      list.push({ part, remark, isReason: strict || level === "reject" })
    }
    const level = duplicateLevel(rules)
    if (level !== "off") {
      const message = "an entity with the same id stands before it"
      const kept = strict || level === "reject" ? message : `${message}; both are kept`
      for (const [revisionId, places] of yield* duplicateIds(this.writer, from)) {
        for (const { part, pointer } of places) {
          add(revisionId, part, { ...plainRemark("duplicate-id", kept), pointer }, level)
        }
      }
    }
    for (const { check, part, pointer, revisionId } of yield* findViolations(this.writer, from, this.checks)) {
      const { code, message } = remarkOfCheck(check)
      add(revisionId, part, { ...plainRemark(code, message), pointer }, check.level)
    }
    return found
  })

  private recordItem({ number, report, revisionId }: StagedItem): void {
    // Unchanged items are only counted: a run over a hundred thousand of them writes nothing about each.
    if (report.outcome === "unchanged") return
    this.writer.record("migration_items", {
      run_id: this.run_,
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

  /** Reads one source and puts it into the transaction, or says why not. */
  private readonly item = Effect.fnUntraced(
    { self: this },
    function* (source: Source, number: number, large: boolean, next: ReadonlyArray<SourceFile>) {
      const { options, writer } = this
      const mark = writer.mark()
      const takeBack = Effect.sync(() => writer.rollback(mark))
      const rejected = Effect.fnUntraced(function* (report: ItemReport) {
        // Rows of a large file may be written already: only giving up the transaction takes them back.
        if (large) return yield* new LargeItemFailed({ report })
        yield* takeBack
        return { number, report, revisionId: undefined } satisfies StagedItem
      })
      const invalid = this.invalid.get(number)
      if (invalid !== undefined) return yield* rejected(invalid)
      let known: KnownItem | undefined
      let knownSha = ""
      const parts: Array<PartRead> = []
      for (const [index, file] of source.files.entries()) {
        // A second reading of this file starts anew; those before it stay.
        const before = writer.mark()
        const reading = readPart(file, writer.documents, this.buffers, {
          maxEntityBytes: options.maxEntityBytes,
          maxDepth: options.maxDepth,
          wholeFileBytes: this.sizes.wholeFileBytes,
          windowBytes: this.sizes.windowBytes,
          threads: this.threads,
          next: [...source.files.slice(index + 1, index + 1 + MOST_AHEAD), ...next],
          takeBack: Effect.sync(() => writer.rollback(before)),
          ...(source.kind === "file"
            ? {
                isKnown: (sha256: string) => {
                  known = this.stored.known.get(source.path)?.get(sha256)
                  knownSha = sha256
                  return known !== undefined
                }
              }
            : {}),
          onWindow: Effect.suspend((): Effect.Effect<void, LargeItemFailed | SqlError.SqlError> => {
            if (options.isStopped?.() === true) {
              this.interrupted = true
              return Effect.fail(new LargeItemFailed({ report: interruptedItem(source) }))
            }
            // The transaction is its own, so all that is in it comes from this source.
            if (large) this.tellEntities(writer.entitiesInTransaction)
            if (!large || !writer.wantsFlush) return Effect.void
            writer.saveMembers(index, writer.documents.members)
            return writer.flush
          }),
          onBytes: (bytes) => options.onProgress?.({ phase: "read", bytes })
        })
        // Rows of a large file may be written already, and are not taken back for a second attempt.
        const again = Effect.sync(() => writer.rollback(before))
        const part = yield* (large ? reading : retryTransient(reading, again)).pipe(
          Effect.catchTag(["SourceRejected", "SourceError"], (error) => Effect.succeed(error))
        )
        yield* reach("sources/read")
        if (part instanceof SourceRejected || part instanceof SourceError) {
          return yield* rejected(
            rejectedItem(source.path, bytesOf(source), [
              { ...sourceRemark(part), ...(source.kind === "directory" ? { part: file.name } : {}) }
            ])
          )
        }
        if (part === undefined) {
          yield* takeBack
          this.claim(known!.cohort, {
            number,
            path: source.path,
            digest: known!.digest,
            outcome: "unchanged",
            revisionId: undefined
          })
          return { number, report: unchangedItem(source, known!, knownSha), revisionId: undefined }
        }
        parts.push(part)
      }
      return yield* this.store(source, number, parts, rejected)
    }
  )

  private readonly store = Effect.fnUntraced(
    { self: this },
    function* (
      source: Source,
      number: number,
      parts: ReadonlyArray<PartRead>,
      rejected: (report: ItemReport) => Effect.Effect<StagedItem, LargeItemFailed>
    ) {
      const { options, stored, writer } = this
      const described = describe(source, parts)
      const { name, digest } = described
      const base = reportOf(source, described)
      const notCohort = source.kind === "file" ? parts[0]?.notCohort : undefined
      if (notCohort !== undefined) {
        const remarks = [plainRemark("not-a-cohort", `it is ${notCohortNames[notCohort]}; it was left as it is`)]
        return yield* rejected({ ...base, outcome: "skipped", cohort: null, digest: null, remarks, remark_count: 1 })
      }
      const claim = { number, path: source.path, digest }
      const decision = decide({
        name,
        digest,
        rule: options.onConflict,
        head: (other) => stored.heads.get(other),
        claims: (other) => this.claims.get(other) ?? []
      })
      const refused = deviation(options.plan?.get(source.path), described.sourceSha256, decision.action === "save")
      if (refused !== undefined && decision.action !== "unchanged") {
        return yield* rejected({ ...base, outcome: "rejected", remarks: [refused], remark_count: 1 })
      }
      const isNew = decision.action === "save" || decision.action === "repeat"
      if (decision.action === "contested" || (isNew && this.contested.has(name))) {
        this.contest(name, claim)
        return yield* rejected({
          ...base,
          outcome: "rejected",
          remarks: [this.conflictRemark(name, source.path)],
          remark_count: 1
        })
      }
      switch (decision.action) {
        case "repeat":
          this.claim(name, { ...claim, outcome: "skipped", revisionId: undefined })
          return yield* rejected({
            ...base,
            outcome: "skipped",
            remarks: [
              plainRemark(
                "identical-content",
                "another source of this run has the same name and the same content; it counts once"
              )
            ],
            remark_count: 1
          })
        case "unchanged":
          this.claim(decision.name, { ...claim, outcome: "unchanged", revisionId: undefined })
          return yield* rejected({
            ...base,
            outcome: "unchanged",
            cohort: decision.name,
            cohort_id: decision.head.cohortId
          })
        case "skip":
          return yield* rejected({
            ...base,
            outcome: "skipped",
            remarks: [
              plainRemark(
                "name-taken",
                "a cohort of this name with other content is stored; it was left as it is (--on-conflict skip)"
              )
            ],
            remark_count: 1
          })
        case "reject":
          return yield* rejected({
            ...base,
            outcome: "rejected",
            remarks: [
              plainRemark(
                "name-taken",
                "a cohort of this name with other content is stored; choose --on-conflict replace, rename or skip"
              )
            ],
            remark_count: 1
          })
        case "save": {
          if (options.strict === true && described.remarkCount > 0) {
            return yield* rejected(
              rejectedFor(
                base,
                described.remarks.map((remark) => ({ part: 0, remark, isReason: true }))
              )
            )
          }
          const savedAt = BigInt(yield* Clock.currentTimeMillis) * 1000n
          const cohortId = decision.head?.cohortId ?? randomUUID()
          const revisionId = writer.save(
            {
              cohortId,
              seq: (decision.head?.seq ?? 0) + 1,
              predecessor: decision.head?.revisionId,
              change: "saved",
              name: decision.name,
              description: described.description,
              tags: described.tags,
              product: described.product,
              legacyId: described.legacyId,
              createdAt: described.createdAt,
              updatedAt: described.updatedAt,
              savedAt,
              digest
            },
            parts.map(newPart),
            this.run_
          )
          this.claim(decision.name, { ...claim, outcome: "migrated", revisionId })
          return {
            number,
            report: { ...base, outcome: "migrated", cohort: decision.name, cohort_id: cohortId },
            revisionId
          } satisfies StagedItem
        }
      }
    }
  )

  /** Notes who claims a name; others that claimed it for other content, and what they stored, give way. */
  private claim(name: string, claimant: Claimant): void {
    const claims = this.claims.get(name) ?? []
    if (claims.some(({ digest }) => digest !== claimant.digest) || this.contested.has(name))
      this.contest(name, claimant)
    this.claims.set(name, [...claims, claimant])
  }

  /** Nothing new is stored under a name that sources of one run claim for different content. */
  private contest(name: string, by: Claim): void {
    const paths = this.contested.get(name) ?? new Set()
    this.contested.set(name, paths.add(by.path))
    for (const claimant of this.claims.get(name) ?? []) {
      paths.add(claimant.path)
      if (claimant.outcome === "unchanged") continue
      if (this.items[claimant.number] === undefined) this.mustRepeat = true
      else if (this.items[claimant.number]?.outcome === claimant.outcome)
        this.disowned.set(claimant.number, { name, claimant })
    }
  }

  /** Makes the cohorts of disowned items what they were before this run. */
  private readonly takeBack = Effect.fnUntraced({ self: this }, function* () {
    const { stored, writer } = this
    const savedAt = BigInt(yield* Clock.currentTimeMillis) * 1000n
    const takenBack: Array<StagedItem> = []
    for (const { name, claimant } of this.disowned.values()) {
      const report = this.items[claimant.number]!
      if (claimant.revisionId !== undefined) {
        const before = stored.heads.get(name)
        const restored = before === undefined || before.deleted ? undefined : before
        const revision = {
          cohortId: report.cohort_id!,
          seq: (before?.seq ?? 0) + 2,
          predecessor: claimant.revisionId,
          name,
          savedAt
        }
        const described = restored === undefined ? undefined : yield* this.descriptionOf(restored.revisionId)
        writer.save(
          restored === undefined || described === undefined
            ? {
                ...noDescription,
                ...revision,
                change: "deleted",
                digest: report.digest!,
                contentId: claimant.revisionId
              }
            : { ...described, ...revision, change: "restored", digest: restored.digest, contentId: restored.contentId },
          [],
          this.run_
        )
      }
      const remarks = [this.conflictRemark(name, report.path)]
      const item = {
        number: claimant.number,
        report: { ...report, outcome: "rejected" as const, cohort_id: null, remarks, remark_count: 1 },
        revisionId: undefined
      }
      this.recordItem(item)
      takenBack.push(item)
    }
    return takenBack
  })

  /** What a stored revision says about its cohort; undefined in a rehearsal. */
  private readonly descriptionOf = Effect.fnUntraced({ self: this }, function* (revisionId: number) {
    const { client } = this.writer
    if (client === undefined) return undefined
    const [row] = yield* queryRows(
      client,
      `SELECT description, tags, product, legacy_id, epoch_us(created_at), epoch_us(updated_at) FROM mallard.revisions WHERE revision_id = ${revisionId}`
    )
    const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)
    const micros = (value: unknown): bigint | undefined => (typeof value === "bigint" ? value : undefined)
    const [description, tags, product, legacyId, createdAt, updatedAt] = row ?? []
    const described: RevisionDescription = {
      description: text(description),
      tags: JSON.parse(text(tags) ?? "[]"),
      product: text(product),
      legacyId: text(legacyId),
      createdAt: micros(createdAt),
      updatedAt: micros(updatedAt)
    }
    return described
  })
}

/** Something that a rule found, and whether it is a reason to reject. */
interface FoundRemark {
  /** Number of the file in its source. */
  readonly part: number
  readonly remark: Remark
  readonly isReason: boolean
}

/** The report of an item that is rejected for what is in it; the reasons come first. */
const rejectedFor = (report: ItemReport, found: ReadonlyArray<FoundRemark>): ItemReport => {
  const remarks = [...found.filter(({ isReason }) => isReason), ...found.filter(({ isReason }) => !isReason)].map(
    ({ remark }) => remark
  )
  return { ...report, outcome: "rejected", cohort_id: null, remarks, remark_count: remarks.length }
}

/** Bytes of sources that are read once more per batch, so that what rules found in their rows is told by line. */
const LOCATED_BYTES = 64 << 20

/** Says of what was found in rows in which file of a source and on which line it stands, as far as that is cheap. */
const located = Effect.fnUntraced(function* (source: Source, found: Array<FoundRemark>, most: number) {
  const places = new Map<number, ReadonlyMap<string, ValuePlace>>()
  if (bytesOf(source) <= most) {
    for (const part of new Set(found.map((one) => one.part))) {
      const file = source.files[part]
      if (file === undefined || file.open !== undefined) continue
      const bytes = yield* Effect.option(readWholeFile(file.path, { maxBytes: file.bytes, expected: file.identity }))
      const text = Option.flatMap(bytes, (raw) => Option.getSuccess(Result.map(toUtf8(raw), (utf8) => utf8.bytes)))
      if (Option.isNone(text)) continue
      const pointers = found.flatMap(({ part: own, remark }) => (own === part ? [remark.pointer ?? ""] : []))
      places.set(part, placesOf(text.value, pointers, mayHoldLines(file.name)))
    }
  }
  return found.map((one): FoundRemark => {
    const place = places.get(one.part)?.get(one.remark.pointer ?? "")
    const file = source.kind === "directory" ? source.files[one.part] : undefined
    return {
      ...one,
      remark: {
        ...one.remark,
        ...(place === undefined ? {} : { line: place.line, column: place.column }),
        ...(file === undefined ? {} : { part: file.name })
      }
    }
  })
})

const noDescription: RevisionDescription = {
  description: undefined,
  tags: [],
  product: undefined,
  legacyId: undefined,
  createdAt: undefined,
  updatedAt: undefined
}
