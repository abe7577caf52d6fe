/** Reads the files of a source into the batch of a writer, and again what could not be read for a passing reason. */
import { type BatchWriter, reach } from "@mallard/duckdb-store"
import type { DocumentRows } from "@mallard/entity-serializers"
import {
  type PartRead,
  ReadBuffers,
  type ReadThreads,
  readPart,
  type Source,
  SourceError,
  type SourceFile,
  SourceRejected,
  type ThreadLost
} from "@mallard/legacy-json"
import { Effect, Schema } from "effect"
import type { SqlError } from "effect/sql"
import type { MigrateOptions, Sizes } from "../MigrateOptions.ts"
import type { ItemReport } from "../Report.ts"
import { rejectedItem, sourceRemark } from "./items.ts"
import { MOST_AHEAD } from "./readAhead.ts"
import { bytesOf } from "./sourceFiles.ts"
import type { KnownItem, Stored } from "./stored.ts"
import { retryTransient } from "./transient.ts"

/** The run is to be stopped in the middle of a large source. */
export class ReadingStopped extends Schema.TaggedError<ReadingStopped>()("ReadingStopped", {}) {}

/** A source has so many rows that it is to be written as it is read, as a large one. Nothing of it was written. */
export class SourceCrowded extends Schema.TaggedError<SourceCrowded>()("SourceCrowded", {}) {}

export type SourceRead =
  | { readonly _tag: "Whole"; readonly parts: ReadonlyArray<PartRead> }
  /** Its bytes are stored already; what was read of it counts for nothing. */
  | { readonly _tag: "Known"; readonly known: KnownItem; readonly sha256: string }
  | { readonly _tag: "Refused"; readonly report: ItemReport }

export class SourceReader {
  private readonly options: MigrateOptions
  private readonly sizes: Sizes
  private readonly stored: Stored
  private readonly writer: BatchWriter
  private readonly threads: ReadThreads | undefined
  private readonly buffers: ReadBuffers
  /** Files that have too many rows to be read whole. */
  private readonly crowded = new WeakSet<SourceFile>()

  constructor(
    options: MigrateOptions,
    sizes: Sizes,
    stored: Stored,
    writer: BatchWriter,
    threads: ReadThreads | undefined
  ) {
    this.options = options
    this.sizes = sizes
    this.stored = stored
    this.writer = writer
    this.threads = threads
    this.buffers = new ReadBuffers(options.jobs === undefined ? 1 : Math.min(options.jobs, MOST_AHEAD) - 1)
  }

  /** Whether a source is written as it is read, so that only its transaction takes it back. */
  isLarge(source: Source): boolean {
    return bytesOf(source) > this.sizes.wholeFileBytes || source.files.some((file) => this.crowded.has(file))
  }

  private isWindowed(file: SourceFile): boolean {
    return file.bytes > this.sizes.wholeFileBytes || this.crowded.has(file)
  }

  /**
   * Reads one source and tells how many of its entities have been read so far; `next` are files that follow it. What was put
   * into the batch of a source that is not whole is for the caller to take back.
   */
  readonly read: (
    source: Source,
    next: ReadonlyArray<SourceFile>,
    tell: (entities: number) => void
  ) => Effect.Effect<SourceRead, ReadingStopped | SourceCrowded | ThreadLost | SqlError.SqlError> = Effect.fnUntraced(
    { self: this },
    function* (source, next, tell) {
      const { options, writer } = this
      const isLarge = this.isLarge(source)
      let known: Extract<SourceRead, { readonly _tag: "Known" }> | undefined
      const parts: Array<PartRead> = []
      for (const [index, file] of source.files.entries()) {
        // A second reading of this file starts anew; those before it stay.
        const before = writer.mark()
        const takeBack = Effect.sync(() => writer.rollback(before))
        const reading = Effect.suspend(() =>
          readPart<ReadingStopped | SourceCrowded | SqlError.SqlError>(file, writer.documents, this.buffers, {
            maxEntityBytes: options.maxEntityBytes,
            maxDepth: options.maxDepth,
            wholeFileBytes: this.isWindowed(file) ? 0 : this.sizes.wholeFileBytes,
            windowBytes: this.sizes.windowBytes,
            threads: this.threads,
            next: [...source.files.slice(index + 1, index + 1 + MOST_AHEAD), ...next],
            prepare: writer.loadDigests,
            takeBack,
            ...(source.kind === "file"
              ? {
                  isKnown: (sha256: string) => {
                    const item = this.stored.known.get(source.path)?.get(sha256)
                    known = item === undefined ? undefined : { _tag: "Known", known: item, sha256 }
                    return known !== undefined
                  }
                }
              : {}),
            whileWhole: Effect.suspend(() => {
              if (writer.waitingRows <= this.sizes.wholeFileRows) return Effect.void
              this.crowded.add(file)
              return Effect.andThen(takeBack, Effect.fail(new SourceCrowded()))
            }),
            onWindow: Effect.suspend(() => this.onWindow(isLarge, index, writer.documents.rows, tell)),
            onBytes: (bytes) => options.onProgress?.({ phase: "read", bytes })
          })
        )
        // Rows of a file read through a window may be written already, and are not taken back for a second attempt.
        const part = yield* (this.isWindowed(file) ? reading : retryTransient(reading, takeBack)).pipe(
          Effect.catchTag("SourceCrowded", (error) => (isLarge ? reading : Effect.fail(error))),
          Effect.catchTag(["SourceRejected", "SourceError"], (error) => Effect.succeed(error))
        )
        yield* reach("sources/read")
        if (part instanceof SourceRejected || part instanceof SourceError) {
          const remark = { ...sourceRemark(part), ...(source.kind === "directory" ? { part: file.name } : {}) }
          return { _tag: "Refused", report: rejectedItem(source.path, bytesOf(source), [remark]) }
        }
        if (part === undefined) return known!
        parts.push(part)
        if (isLarge && index < source.files.length - 1) {
          // Many files would take as much room as one: nothing of this one is kept here while others are read.
          writer.saveRows(index, part)
          yield* this.onWindow(isLarge, index, part, tell)
        }
      }
      return { _tag: "Whole", parts }
    }
  )

  private onWindow(
    isLarge: boolean,
    part: number,
    rows: DocumentRows,
    tell: (entities: number) => void
  ): Effect.Effect<void, ReadingStopped | SqlError.SqlError> {
    const { writer } = this
    if (!isLarge) return Effect.void
    if (this.options.isStopped?.() === true) return Effect.fail(new ReadingStopped())
    // The transaction is its own, so all that is in it comes from this source.
    tell(writer.entitiesInTransaction)
    if (!writer.wantsFlush) return Effect.void
    writer.saveRows(part, rows)
    return writer.flush
  }
}

/** Tells the progress of one source: called with how many of its entities have been read so far. */
export const entityTeller = (onProgress: MigrateOptions["onProgress"]): ((entities: number) => void) => {
  let told = 0
  return (entities) => {
    if (entities <= told) return
    onProgress?.({ phase: "entities", count: entities - told })
    told = entities
  }
}
