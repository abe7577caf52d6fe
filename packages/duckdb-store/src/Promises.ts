/**
 * The store of cohorts for programs without Effect: methods give promises, and failures are plain errors with a `code`.
 */

import { Cause, Effect, Exit, Scope } from "effect"
import { parseJson } from "@mallard/schema"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { readFile, stat } from "node:fs/promises"
import { parse } from "node:path"
import {
  type Cohort,
  type CohortEntity,
  CohortStore,
  type EntityOptions,
  type ExportedFiles,
  type ExportedTexts,
  type ListOptions,
  type Page,
  type Revision,
  type RevisionRef,
  type TagCount,
  type TextExportOptions,
  type CohortSummary
} from "./CohortStore.ts"
import { CohortNotFound, InvalidRequest, NameTaken } from "./CohortErrors.ts"
import { type RevisionDiff } from "./Diff.ts"
import { type ExportOptions } from "./Export.ts"
import { type MergeReport } from "./Merging.ts"
import { purge, type PurgeOptions, type PurgePlan, type PurgeReport } from "./Purge.ts"
import { openStore, type StoreConfig } from "./Store.ts"
import { StoreError } from "./StoreError.ts"
import { type SummaryOptions } from "./Summary.ts"
import {
  type AppendOptions,
  type Changed,
  type CloneOptions,
  type Json,
  MAX_DOCUMENT_BYTES,
  type MergeOptions,
  type Saved,
  type SaveRequest,
  type TagChanges
} from "./Writing.ts"

/** What went wrong; the message holds no values. `cause` is the error of the service. */
export class CohortStoreError extends Error {
  override readonly name: string = "CohortStoreError"
  /**
   * `not-found`, `name-taken`, `database`, `python-token`, `closed`, a reason of `InvalidRequest`, or `cannot-open-` and a
   * reason of `StoreError`.
   */
  readonly code: string
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** There is no cohort of that name or id. */
export class CohortNotFoundError extends CohortStoreError {
  override readonly name = "CohortNotFoundError"
  /** Names that are spelt much alike. */
  readonly suggestions: ReadonlyArray<string>
  constructor(cause: CohortNotFound) {
    super("not-found", cause.message, { cause })
    this.suggestions = cause.suggestions
  }
}

/** A cohort that is not deleted has the name. */
export class NameTakenError extends CohortStoreError {
  override readonly name = "NameTakenError"
  constructor(cause: NameTaken) {
    super("name-taken", cause.message, { cause })
  }
}

/** The request cannot be meant, or not be carried out. */
export class InvalidRequestError extends CohortStoreError {
  override readonly name = "InvalidRequestError"
  /** Where in the value that was given. */
  readonly pointer: string | undefined
  constructor(cause: InvalidRequest) {
    super(cause.reason, cause.message, { cause })
    this.pointer = cause.pointer
  }
}

/** A cohort with its entities, parsed. */
export interface ParsedCohort extends Omit<Cohort, "entities"> {
  /** Lists by type, in the order of its documents; types without entities are absent. */
  readonly entities: Readonly<Record<string, ReadonlyArray<unknown>>>
  /** How many there are of each kind, those inside others included. */
  readonly counts: Readonly<Record<string, number>>
}

/** The cohorts of an open database. Every method rejects with a `CohortStoreError`. */
export interface PromisedCohortStore {
  readonly save: (request: SaveRequest) => Promise<Saved>
  readonly append: (nameOrId: string, entities: Json, options?: AppendOptions) => Promise<Saved>
  /** A cohort with its entities, parsed: numbers as doubles, of duplicate keys the last. */
  readonly load: (nameOrId: string) => Promise<ParsedCohort>
  /** The compact texts of its documents, exactly as stored. */
  readonly documents: (nameOrId: string) => Promise<ReadonlyArray<{ readonly path: string; readonly text: string }>>
  readonly entities: (nameOrId: string, options?: EntityOptions) => Promise<Page<CohortEntity>>
  readonly list: (options?: ListOptions) => Promise<Page<Cohort>>
  readonly exists: (nameOrId: string) => Promise<boolean>
  /** False when there is no such cohort. */
  readonly delete: (nameOrId: string) => Promise<boolean>
  readonly restore: (
    nameOrId: string,
    options?: { readonly seq?: number | undefined; readonly name?: string | undefined }
  ) => Promise<Changed>
  readonly rename: (nameOrId: string, name: string) => Promise<Changed>
  readonly retag: (nameOrId: string, changes: TagChanges) => Promise<Changed>
  readonly addTags: (nameOrId: string, tags: ReadonlyArray<string>) => Promise<Changed>
  readonly removeTags: (nameOrId: string, tags: ReadonlyArray<string>) => Promise<Changed>
  readonly tags: () => Promise<ReadonlyArray<TagCount>>
  readonly history: (nameOrId: string) => Promise<ReadonlyArray<Revision>>
  readonly diff: (before: RevisionRef, after: RevisionRef) => Promise<RevisionDiff>
  readonly clone: (nameOrId: string, name: string, options?: CloneOptions) => Promise<Changed>
  readonly merge: (sources: ReadonlyArray<string>, options: MergeOptions) => Promise<Saved & MergeReport>
  readonly summary: (nameOrId: string, options?: SummaryOptions) => Promise<CohortSummary>
  readonly export: (nameOrId: string, out: string, options?: ExportOptions) => Promise<ExportedFiles>
  readonly exportTexts: (nameOrId: string, options?: TextExportOptions) => Promise<ExportedTexts>
  /** Saves a JSON file in UTF-8: under the name given, else the document's, else the file's. */
  readonly import: (path: string, options?: Omit<SaveRequest, "document" | "entities">) => Promise<Saved>
  readonly purgePlan: (cohorts?: ReadonlyArray<string>) => Promise<PurgePlan>
  /** Closes the database; no write-ahead log is left. */
  readonly close: () => Promise<void>
  readonly [Symbol.asyncDispose]: () => Promise<void>
}

/** Opens the cohorts of a database, which is created when it is missing. */
export const openCohortStore = async (config: StoreConfig): Promise<PromisedCohortStore> => {
  const scope = Scope.makeUnsafe()
  const store = await settled(
    openStore(config).pipe(
      Effect.flatMap((client) =>
        CohortStore.pipe(Effect.provide(CohortStore.layerNoDeps), Effect.provideService(DuckDbClient, client))
      ),
      Effect.provideService(Scope.Scope, scope),
      Effect.onError(() => Scope.close(scope, Exit.void))
    )
  )
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
  return {
    save: (request) => settled(store.save(request)),
    append: (nameOrId, entities, options) => settled(store.append(nameOrId, entities, options)),
    load: async (nameOrId) => {
      const { cohort, entities } = await settled(store.collect(nameOrId))
      const lists = [...entities].map(([type, texts]) => [type, texts.map(parsed)] as const)
      return { ...cohort, entities: Object.fromEntries(lists), counts: cohort.entities }
    },
    documents: async (nameOrId) => (await settled(store.load(nameOrId))).documents,
    entities: (nameOrId, options) => settled(store.entities(nameOrId, options)),
    list: (options) => settled(store.page(options)),
    exists: (nameOrId) => settled(store.exists(nameOrId)),
    delete: (nameOrId) =>
      settled(
        store.delete(nameOrId).pipe(
          Effect.as(true),
          Effect.catchTag("CohortNotFound", () => Effect.succeed(false))
        )
      ),
    restore: (nameOrId, options) => settled(store.restore(nameOrId, options)),
    rename: (nameOrId, name) => settled(store.rename(nameOrId, name)),
    retag: (nameOrId, changes) => settled(store.retag(nameOrId, changes)),
    addTags: (nameOrId, tags) => settled(store.addTags(nameOrId, tags)),
    removeTags: (nameOrId, tags) => settled(store.removeTags(nameOrId, tags)),
    tags: () => settled(store.tags),
    history: (nameOrId) => settled(store.history(nameOrId)),
    diff: (before, after) => settled(store.diff(before, after)),
    clone: (nameOrId, name, options) => settled(store.clone(nameOrId, name, options)),
    merge: (sources, options) => settled(store.merge(sources, options)),
    summary: (nameOrId, options) => settled(store.summary(nameOrId, options)),
    export: (nameOrId, out, options) => settled(store.export(nameOrId, out, options)),
    exportTexts: (nameOrId, options) => settled(store.exportTexts(nameOrId, options)),
    import: async (path, options = {}) => {
      const text = await settled(
        Effect.tryPromise({
          try: async () => {
            if ((await stat(path)).size > MAX_DOCUMENT_BYTES) throw new InvalidRequest({ reason: "too-large" })
            return new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path))
          },
          catch: (cause) =>
            cause instanceof InvalidRequest ? cause : new InvalidRequest({ reason: "not-read", cause })
        })
      )
      const { base, name } = parse(path)
      return settled(store.save({ fallbackName: name, path: base, ...options, document: text }))
    },
    purgePlan: (cohorts) => settled(store.purgePlan(cohorts)),
    close,
    [Symbol.asyncDispose]: close
  }
}

/** Removes deleted cohorts for good, see `purge`. The database must not be open. */
export const purgeCohorts = (config: StoreConfig, options?: Pick<PurgeOptions, "cohorts">): Promise<PurgeReport> =>
  settled(purge(config, options))

const settled = async <A, E>(effect: Effect.Effect<A, E>): Promise<A> => {
  const exit = await Effect.runPromiseExit(effect)
  if (Exit.isSuccess(exit)) return exit.value
  // Nothing else interrupts what a promise waits for.
  if (Cause.hasInterruptsOnly(exit.cause)) {
    throw new CohortStoreError("closed", "The database was closed. Open it again: nothing is half stored.")
  }
  throw errorOf(Cause.squash(exit.cause))
}

const errorOf = (cause: unknown): unknown => {
  if (cause instanceof CohortNotFound) return new CohortNotFoundError(cause)
  if (cause instanceof NameTaken) return new NameTakenError(cause)
  if (cause instanceof InvalidRequest) return new InvalidRequestError(cause)
  if (cause instanceof StoreError) return new CohortStoreError(`cannot-open-${cause.reason}`, cause.message, { cause })
  if (cause instanceof Error && "_tag" in cause && cause._tag === "SqlError") {
    return new CohortStoreError("database", "The database could not carry this out. Nothing is half stored.", { cause })
  }
  return cause
}

const parsed = (text: string): unknown => {
  try {
    return parseJson(text)
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause
    throw new CohortStoreError(
      "python-token",
      "An entity holds NaN or Infinity, which no JSON value is: read it as text by `entities` or `documents`.",
      { cause }
    )
  }
}
