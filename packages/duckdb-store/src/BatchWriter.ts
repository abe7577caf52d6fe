/**
 * Writes batches of whole cohorts: rows of entities straight from the columns of the reader, then their documents, and
 * last the ledger of the commit, all in one transaction. Until a transaction has committed, ids and shapes can be taken
 * back.
 */
import { randomUUID } from "node:crypto"
import { BIGINT, type DuckDBAppender, type DuckDBType, INTEGER, UTINYINT, VARCHAR } from "@duckdb/node-api"
import {
  AUX,
  DocumentReader,
  type DocumentRows,
  EntityBatch,
  EntityIndex,
  EntityReader,
  type ReaderMark,
  ShapeDictionary
} from "@mallard/entity-serializers"
import { JSON_KIND, kinds } from "@mallard/schema"
import { DuckDbClient, type DuckDbSqlClient, toSqlError } from "@mallard/sql-duckdb"
import { Clock, Deferred, Effect, Exit, Fiber, Scope } from "effect"
import { SqlError } from "effect/sql"
import { commitInto } from "./Checkpoint.ts"
import { reach } from "./Failpoints.ts"
import { appendRows } from "./internal/appendRows.ts"
import { CHUNK_ROWS, ChunkWriter, TextHeap } from "./internal/ChunkWriter.ts"
import { entityColumns } from "./internal/entityColumns.ts"
import { MemberIds } from "./internal/MemberIds.ts"
import type { MemberPlace } from "./internal/memberPlaces.ts"
import { loadDigests } from "./internal/storedDigests.ts"
import { type GivenRows, type Row, WaitingDocuments } from "./internal/WaitingDocuments.ts"
import { type LedgerValues, ledgerRow, nextIds } from "./Ledger.ts"
import { limitBeside, limitMemory } from "./Memory.ts"
import { queryRows } from "./Rendering.ts"
import { type NewRevision, revisionRow } from "./Revision.ts"
import type { DigestedTableName } from "./Tables.ts"

/** Compact text of a transaction, in bytes, that is worth writing into the file of the database at once. */
const MUCH_BYTES = 32 << 20

/** Digests, in bytes, that are worth telling DuckDB of. */
const ROOM_BYTES = 8 << 20
/** What DuckDB takes while it commits much, without counting it: less or more by chance, measured to be 100 to 350 MB. */
const COMMIT_BYTES = 150_000_000

/** Bytes of compact text after which waiting rows go to the database. */
export const FLUSH_BYTES = 8 << 20

/** Members, and collections, that are worth writing before there is as much text. */
const FLUSH_ROWS = { members: 100_000, collections: 50_000 } as const

/** Pointers of links that are written once for all links that have them. Of a long list, each element has its own. */
const MAX_KNOWN_POINTERS = 1 << 16

/** One file of a cohort, read, with those of its rows that are not written yet. */
export interface NewPart extends GivenRows {
  /** File name relative to the cohort. */
  readonly path: string
  readonly format: string
  readonly bytes: number
  readonly sourceSha256: string
  readonly digest: string
  readonly encoding: string
}

/** A transaction that holds everything; `committed` waits for its commit and is to be run exactly once. */
export interface Staged<A> {
  readonly result: A
  readonly committed: Effect.Effect<void, SqlError.SqlError>
}

interface OpenAppender {
  readonly native: DuckDBAppender
  /** Undefined as long as no chunks are written by it. */
  writer: ChunkWriter | undefined
}

interface RowIds {
  /** By code of the kind. */
  readonly entities: ReadonlyArray<number>
  readonly shape: number
  readonly revision: number
}

/** What a transaction holds: its first ids, and where the journals stood at its end. */
interface Sealed {
  readonly first: RowIds
  readonly indexes: ReadonlyArray<number>
  readonly shapes: number
}

export class BatchWriter {
  readonly documents: DocumentReader
  /** Id that the next revision gets. */
  nextRevision: number
  /** Undefined in a rehearsal. */
  readonly client: DuckDbSqlClient | undefined
  private readonly batch: EntityBatch
  private readonly shapes: ShapeDictionary
  private readonly indexes: ReadonlyArray<EntityIndex>
  private readonly heap = new TextHeap()
  private readonly waiting = new WaitingDocuments()
  /** What a rehearsal, which has no rows, is asked instead of them. */
  private readonly memberIds = new MemberIds()
  /** Rows of the small tables that wait, by table. */
  private small = new Map<string, Array<Row>>()
  /** The first ids of the transaction that is being filled. */
  private first: RowIds
  /** Whether the database is still busy with the commit of the transaction before. */
  isCommitting = false
  private readonly counts = new Map<string, number>()
  /** Whether DuckDB gets less memory the more digests there are. */
  private readonly sharesMemory: boolean
  /** Digests when DuckDB was last told of them. */
  private heldBytes = 0
  /** Compact text that the transaction has written. */
  private writtenBytes = 0
  private appenders = new Map<string, OpenAppender>()
  private appender: ((table: string) => Effect.Effect<DuckDBAppender, SqlError.SqlError>) | undefined
  private nextCommit: number

  private constructor(
    client: DuckDbSqlClient | undefined,
    indexes: ReadonlyArray<EntityIndex>,
    shapes: ShapeDictionary,
    nextRevision: number,
    nextCommit: number,
    sharesMemory = false
  ) {
    this.client = client
    this.sharesMemory = sharesMemory
    this.batch = new EntityBatch()
    this.shapes = shapes
    this.indexes = indexes
    this.nextRevision = nextRevision
    this.nextCommit = nextCommit
    this.documents = new DocumentReader(new EntityReader(this.batch, shapes, indexes))
    this.first = this.nextRowIds()
  }

  /**
   * A writer on an open database; loads the shapes that exist already, `loadDigests` the rest. If it `sharesMemory`, what
   * the digests take is taken from DuckDB's limit.
   */
  static readonly make = Effect.fnUntraced(function* (client: DuckDbSqlClient, sharesMemory = false) {
    const next = yield* Effect.provideService(nextIds, DuckDbClient, client)
    const indexes: Array<EntityIndex> = []
    for (const { code, table } of [JSON_KIND, ...kinds]) indexes[code] = new EntityIndex(next.get(table) ?? 1)
    const stored = yield* queryRows(
      client,
      "SELECT shape_id, kind, template, filled FROM mallard.entity_shapes ORDER BY shape_id"
    )
    const shapes = new ShapeDictionary(
      stored.map(([id, kind, template, filled]) => ({
        id: Number(id),
        kind: Number(kind),
        template: String(template),
        filled: String(filled)
      }))
    )
    return new BatchWriter(client, indexes, shapes, next.get("revisions") ?? 1, next.get("commits") ?? 1, sharesMemory)
  })

  /** A writer without a database, for rehearsals: it reads, dedupes and counts, and forgets. */
  static dry(): BatchWriter {
    const indexes: Array<EntityIndex> = []
    for (const { code } of [JSON_KIND, ...kinds]) indexes[code] = new EntityIndex()
    return new BatchWriter(undefined, indexes, new ShapeDictionary(), 1, 1)
  }

  /**
   * Loads the digests of the entities that are stored already, the first time; before that nothing can be read. It takes
   * time that grows with the database, and a run over what is known does without.
   */
  readonly loadDigests: Effect.Effect<void, SqlError.SqlError> = Effect.suspend(() => {
    const missing = [JSON_KIND, ...kinds].filter(({ code }) => !this.indexes[code]!.isLoaded)
    return this.client === undefined || missing.length === 0
      ? Effect.void
      : loadDigests(this.client, missing, this.indexes)
  })

  /** Entities that wait for the end of the transaction or are written in it. */
  get entitiesInTransaction(): number {
    return this.indexes.reduce((sum, index, code) => sum + index.nextId - this.first.entities[code]!, 0)
  }

  /** Whether enough rows wait to be worth writing. */
  get wantsFlush(): boolean {
    return (
      this.waitingBytes > FLUSH_BYTES ||
      this.waitingMembers > FLUSH_ROWS.members ||
      this.waitingCollections > FLUSH_ROWS.collections
    )
  }

  /** Rows of any table that wait to be written. */
  get waitingRows(): number {
    const { entityCount, links } = this.batch
    return entityCount + links.count + this.waitingMembers + this.waitingCollections
  }

  /** Those of the document that is being read included, as everywhere here. */
  private get waitingMembers(): number {
    return this.waiting.members.count + this.documents.rows.members.count
  }

  private get waitingCollections(): number {
    return this.waiting.collectionCount + this.documents.rows.collections.length
  }

  /** Bytes of compact text that wait to be written. */
  get waitingBytes(): number {
    return this.documents.entities.tokenizer.o
  }

  mark(): ReaderMark {
    return this.documents.entities.mark()
  }

  /** Takes back everything read since the mark. Valid only while nothing of it has been flushed. */
  rollback(mark: ReaderMark): void {
    this.documents.entities.rollback(mark)
  }

  /** Runs `body` in one transaction: `stage`, and the commit. */
  transaction<A, E, R>(
    runId: string | undefined,
    body: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | SqlError.SqlError, R> {
    return Effect.flatMap(this.stage(runId, body), ({ committed, result }) => Effect.as(committed, result))
  }

  /**
   * Runs `body` in one transaction, writes the ledger of the commit at its end, and begins to commit. When `body` fails or
   * is interrupted, nothing of it remains, neither in the database nor in memory.
   *
   * Until `committed` has been run, more may be read but nothing written. When the commit fails, that is taken back too.
   */
  stage<A, E, R>(
    runId: string | undefined,
    body: Effect.Effect<A, E, R>
  ): Effect.Effect<Staged<A>, E | SqlError.SqlError, R> {
    const { client } = this
    const muchInto = (place: "file" | "log") =>
      Effect.suspend(() =>
        client !== undefined && this.writtenBytes > MUCH_BYTES
          ? Effect.andThen(this.setShare(place === "file" ? COMMIT_BYTES : 0), commitInto(client, place))
          : Effect.void
      )
    const written = Effect.scoped(
      Effect.gen({ self: this }, function* () {
        this.begin(yield* Effect.scope)
        yield* reach("batch/begun")
        const result = yield* body
        yield* this.flush
        yield* reach("rows/all")
        if (client !== undefined) yield* this.writeLedger(runId)
        yield* muchInto("file")
        yield* reach("ledger/written")
        return result
      })
    )
    if (client === undefined) {
      return written.pipe(
        Effect.map((result) => ({ result, committed: Effect.void })),
        // A rehearsal leaves nothing behind either.
        Effect.onExit(() => Effect.sync(() => this.takeBackAll()))
      )
    }
    return Effect.gen({ self: this }, function* () {
      const handedOver = yield* Deferred.make<A, E | SqlError.SqlError>()
      const fiber = yield* Effect.forkChild(
        client.withTransaction(Effect.tap(written, (result) => Deferred.succeed(handedOver, result))).pipe(
          Effect.ensuring(Effect.ignore(muchInto("log"))),
          Effect.tap(() => reach("commit/done")),
          Effect.tapCause((cause) => Deferred.failCause(handedOver, cause))
        )
      )
      const result = yield* Deferred.await(handedOver).pipe(
        Effect.onExit((exit) =>
          Exit.isSuccess(exit)
            ? Effect.void
            : Effect.andThen(
                Fiber.interrupt(fiber),
                Effect.sync(() => this.takeBackAll())
              )
        )
      )
      const stored = this.seal()
      const committed = Effect.uninterruptible(Fiber.await(fiber)).pipe(
        Effect.tap((exit) =>
          Effect.sync(() => {
            this.isCommitting = false
            if (Exit.isSuccess(exit)) this.keep(stored)
            else this.takeBackAll(stored.first)
          })
        ),
        Effect.flatten,
        // The body has succeeded: what fails now is the commit.
        Effect.catch((error) => (error instanceof SqlError.SqlError ? Effect.fail(error) : Effect.die(error))),
        Effect.asVoid
      )
      fiber.addObserver(() => {
        this.isCommitting = false
      })
      return { result, committed }
    })
  }

  private begin(scope: Scope.Scope): void {
    this.counts.clear()
    this.writtenBytes = 0
    this.appenders = new Map()
    const { client } = this
    if (client === undefined) return
    this.appender = (table) =>
      client.appender(table, { schema: "mallard" }).pipe(
        Effect.map(({ native }) => native),
        Effect.provideService(Scope.Scope, scope)
      )
  }

  /** Everything up to here belongs to the commit under way, everything later to the next one. */
  private seal(): Sealed {
    const { first } = this
    this.isCommitting = true
    this.endTransaction()
    this.first = this.nextRowIds()
    return { first, indexes: this.indexes.map((index) => index.mark()), shapes: this.shapes.mark() }
  }

  private keep(stored: Sealed): void {
    this.indexes.forEach((index, code) => index.commit(stored.indexes[code]!))
    this.shapes.commit(stored.shapes)
    this.nextCommit++
  }

  private takeBackAll(first = this.first): void {
    this.endTransaction()
    this.empty()
    for (const index of this.indexes) index.rollback(0)
    this.shapes.rollback(0)
    this.memberIds.clear()
    this.first = first
    this.nextRevision = first.revision
    this.small = new Map()
  }

  private endTransaction(): void {
    this.appender = undefined
    this.appenders = new Map()
    this.waiting.endRevision()
  }

  private nextRowIds(): RowIds {
    return {
      entities: this.indexes.map((index) => index.nextId),
      shape: this.shapes.nextId,
      revision: this.nextRevision
    }
  }

  private empty(): void {
    this.batch.clear()
    this.waiting.clear()
    this.documents.entities.tokenizer.o = 0
    this.documents.rebase()
  }

  /** Adds a revision with its parts to the transaction; returns its id. */
  save(revision: NewRevision, parts: ReadonlyArray<NewPart>, runId: string | undefined): number {
    const id = this.nextRevision++
    this.record("revisions", revisionRow(id, revision, runId))
    const contentId = revision.contentId ?? id
    parts.forEach((part, number) => {
      this.record("parts", {
        content_id: contentId,
        part: number,
        path: part.path,
        format: part.format,
        bytes: part.bytes,
        source_sha256: part.sourceSha256,
        digest: part.digest,
        encoding: part.encoding
      })
      this.waiting.add(contentId, number, part)
    })
    this.waiting.endRevision()
    return id
  }

  /** Of a rehearsal, the members in this transaction whose id another of their kind and content has had before. */
  get duplicateMembers(): ReadonlyArray<MemberPlace> {
    return this.memberIds.duplicates
  }

  /**
   * Adds rows of a document that is still being read, of the revision that will get the next id, and empties them: they
   * come before those that it still has when it is saved.
   */
  saveRows(part: number, rows: DocumentRows): void {
    this.waiting.add(this.nextRevision, part, rows)
    rows.members.count = 0
    rows.pieces.length = 0
    rows.collections.length = 0
  }

  /** Adds a row of the ledger; its digest is worked out here. */
  record<Name extends DigestedTableName>(table: Name, values: LedgerValues<Name>): void {
    this.row(table, ledgerRow(table, values))
  }

  private row(table: string, row: Row): void {
    const rows = this.small.get(table)
    if (rows === undefined) this.small.set(table, [row])
    else rows.push(row)
  }

  /** Writes all waiting rows of entities, links and members, and the text of documents, into the transaction. */
  readonly flush: Effect.Effect<void, SqlError.SqlError> = Effect.suspend(() => this.flushNow())

  private readonly flushNow = Effect.fnUntraced({ self: this }, function* () {
    const { batch, documents, waiting } = this
    const tokenizer = documents.entities.tokenizer
    documents.settle()
    if (this.client === undefined) {
      this.memberIds.take(batch, tokenizer.output, waiting)
      this.empty()
      return
    }
    const links = batch.links
    const pointers = { offset: new Int32Array(links.count), length: new Int32Array(links.count) }
    const known = new Map<string, { readonly offset: number; readonly length: number }>()
    for (let i = 0; i < links.count; i++) {
      const pointer = links.pointer(i)
      let text = known.get(pointer)
      if (text === undefined) {
        text = batch.aux.text(pointer)
        if (known.size < MAX_KNOWN_POINTERS) known.set(pointer, text)
      }
      pointers.offset[i] = text.offset + AUX
      pointers.length[i] = text.length
    }
    const tables = batch.rows.filter((rows) => rows.count > 0)
    const writers: Array<ChunkWriter> = []
    for (const { code } of tables) writers.push(yield* this.entityWriter(code))
    const linkWriter =
      links.count === 0
        ? undefined
        : yield* this.writer("links", [UTINYINT, BIGINT, INTEGER, INTEGER, VARCHAR, UTINYINT, BIGINT])
    const memberWriter =
      waiting.members.count === 0
        ? undefined
        : yield* this.writer("cohort_members", [BIGINT, INTEGER, INTEGER, BIGINT, UTINYINT, BIGINT])
    this.writtenBytes += this.waitingBytes
    if (waiting.pieces.length > 0) yield* this.writePieces()
    if (waiting.collectionCount > 0) yield* this.writeRows("collections", waiting.collectionRows())
    if (writers.length === 0 && memberWriter === undefined) {
      // What was read without a row is text of documents: it would fill the buffer.
      this.empty()
      return
    }
    yield* Effect.try({
      try: () => {
        this.heap.load(tokenizer.output, tokenizer.o, batch.aux.bytes, batch.aux.length)
        try {
          tables.forEach((rows, at) => {
            const writer = writers[at]!
            const columns = rows.columns.length
            chunks(rows.count, (from, count) => {
              writer.sequence(0, rows.firstId + from, count)
              writer.raw(1, rows.digests, from, count, 16)
              if (rows.code === 0) writer.cells(2, rows.extra, from, count, this.heap)
              else {
                writer.raw(2, rows.shapes, from, count, 4)
                for (let i = 0; i < columns; i++) writer.cells(3 + i, rows.columns[i]!, from, count, this.heap)
                writer.cells(3 + columns, rows.extra, from, count, this.heap)
              }
              writer.append(count)
            })
          })
          if (linkWriter !== undefined) {
            chunks(links.count, (from, count) => {
              linkWriter.tiny(0, links.parentKind.values, from, count)
              linkWriter.longs(1, links.parentId.values, from, count)
              linkWriter.ints(2, links.collection.values, from, count)
              linkWriter.ints(3, links.ordinal.values, from, count)
              linkWriter.texts(4, pointers.offset, pointers.length, from, count, this.heap)
              linkWriter.tiny(5, links.childKind.values, from, count)
              linkWriter.longs(6, links.childId.values, from, count)
              linkWriter.append(count)
            })
            this.count("links", links.count)
          }
          if (memberWriter !== undefined) {
            const { members } = waiting
            chunks(members.count, (from, count) => {
              memberWriter.longs(0, members.content.values, from, count)
              memberWriter.ints(1, members.part.values, from, count)
              memberWriter.ints(2, members.collection.values, from, count)
              memberWriter.longs(3, members.ordinal.values, from, count)
              memberWriter.tiny(4, members.kind.values, from, count)
              memberWriter.longs(5, members.id.values, from, count)
              memberWriter.append(count)
            })
            this.count("cohort_members", members.count)
          }
        } finally {
          this.heap.release()
        }
      },
      catch: (cause) => toSqlError(cause, "append")
    })
    this.empty()
    yield* this.leaveRoom
    yield* reach("rows/some")
  })

  /** Takes from DuckDB what the digests have taken since it was last told. */
  private readonly leaveRoom = Effect.suspend(() => {
    const { client } = this
    const held = this.indexes.reduce((sum, index) => sum + index.bytes, 0)
    if (client === undefined || held < this.heldBytes + ROOM_BYTES) return Effect.void
    this.heldBytes = held
    return this.setShare(0)
  })

  /** Leaves `more` bytes beside the digests to others than DuckDB. */
  private setShare(more: number): Effect.Effect<void> {
    return this.client === undefined || !this.sharesMemory
      ? Effect.void
      : limitMemory(this.client, limitBeside(this.heldBytes + more))
  }

  /** Writes waiting rows so that queries of this transaction see them. */
  readonly publish: Effect.Effect<void, SqlError.SqlError> = Effect.suspend(() => this.publishNow())

  private readonly publishNow = Effect.fnUntraced({ self: this }, function* () {
    yield* this.flush
    yield* Effect.try({
      try: () => {
        for (const { native } of this.appenders.values()) native.flushSync()
      },
      catch: (cause) => toSqlError(cause, "append")
    })
  })

  private count(table: string, rows: number): void {
    this.counts.set(table, (this.counts.get(table) ?? 0) + rows)
  }

  private readonly writer = Effect.fnUntraced(
    { self: this },
    function* (table: string, types: ReadonlyArray<DuckDBType>) {
      const entry = yield* this.opened(table)
      return (entry.writer ??= new ChunkWriter(entry.native, types))
    }
  )

  /** The appender of a table, one for the whole transaction. */
  private readonly opened = Effect.fnUntraced({ self: this }, function* (table: string) {
    const open = this.appenders.get(table)
    if (open !== undefined) return open
    const entry: OpenAppender = { native: yield* this.appender!(table), writer: undefined }
    this.appenders.set(table, entry)
    return entry
  })

  private entityWriter(code: number): Effect.Effect<ChunkWriter, SqlError.SqlError> {
    const { table, types } = entityColumns(code)
    return this.writer(table, types)
  }

  private readonly writeRows = Effect.fnUntraced({ self: this }, function* (table: string, rows: Iterable<Row>) {
    const { native } = yield* this.opened(table)
    const written = yield* Effect.try({
      try: () => appendRows(native, table, rows),
      catch: (cause) => toSqlError(cause, "append")
    })
    this.count(table, written)
    return native
  })

  private readonly writePieces = Effect.fnUntraced({ self: this }, function* () {
    const native = yield* this.writeRows("part_texts", this.waiting.pieces)
    // Else it would keep them until it has a chunk of rows, which are large.
    yield* Effect.try({ try: () => native.flushSync(), catch: (cause) => toSqlError(cause, "append") })
  })

  private readonly writeLedger = Effect.fnUntraced({ self: this }, function* (runId: string | undefined) {
    const { first } = this
    for (const shape of this.shapes.fresh) {
      this.record("entity_shapes", {
        shape_id: shape.id,
        kind: shape.kind,
        template: shape.template,
        filled: shape.filled
      })
    }
    for (const [table, rows] of this.small) yield* this.writeRows(table, rows)
    this.small = new Map()
    const ids = new Map<string, number>([
      ["entity_shapes", first.shape],
      ["revisions", first.revision]
    ])
    for (const { code, table } of [JSON_KIND, ...kinds]) {
      const index = this.indexes[code]!
      ids.set(table, first.entities[code]!)
      if (index.nextId > first.entities[code]!) this.count(table, index.nextId - first.entities[code]!)
    }
    const attempt = randomUUID()
    const at = BigInt(yield* Clock.currentTimeMillis) * 1000n
    const lines = [...this.counts].map(([table, count]) => ({ table, first: ids.get(table) ?? 0, count }))
    // The line of `commits` itself comes last: a commit without it never happened.
    lines.push({ table: "commits", first: this.nextCommit, count: lines.length + 1 })
    const rows = lines.map(({ table, first: firstId, count }) =>
      ledgerRow("commits", {
        commit_id: this.nextCommit,
        attempt,
        run_id: runId ?? null,
        committed_at: at,
        table_name: table,
        first_id: firstId,
        row_count: count
      })
    )
    yield* this.writeRows("commits", rows)
  })
}

const chunks = (rows: number, write: (from: number, count: number) => void): void => {
  for (let from = 0; from < rows; from += CHUNK_ROWS) write(from, Math.min(CHUNK_ROWS, rows - from))
}
