/**
 * The cohorts of a database: which there are, what they are made of and where they came from; saving and changing them.
 */

import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { DuckDBTimestampValue } from "@duckdb/node-api"
import { Context, Effect, Layer } from "effect"
import { type SqlError } from "effect/sql"
import { type CohortNotFound, InvalidRequest } from "./CohortErrors.ts"
import { diffSides, type RevisionDiff } from "./Diff.ts"
import { type ExportedText, type ExportFormat, type ExportOptions, type ExportRemark } from "./Export.ts"
import {
  contentStatements,
  countsOfContents,
  liveHeads,
  membersAmong,
  membersOfContent,
  type RevisionState,
  revisionsOf,
  type StoredMember,
  storedParts
} from "./internal/content.ts"
import { documentsOf, exportFiles, exportTexts } from "./internal/exporting.ts"
import { makeHeads } from "./internal/heads.ts"
import { fieldPicker } from "./internal/jsonScan.ts"
import { makeLookup, type OpenCohorts } from "./internal/lookup.ts"
import { limitOf, readCursor, writeCursor } from "./internal/paging.ts"
import { query } from "./internal/query.ts"
import {
  readDigests,
  readHistory,
  readItems,
  readParts,
  readRunEvents,
  readSources,
  recordStatements
} from "./internal/records.ts"
import { planPurge, type PurgePlan } from "./Purge.ts"
import type { RevisionContent } from "./Revision.ts"
import { openStore, type StoreConfig } from "./Store.ts"
import { type StoreError } from "./StoreError.ts"
import { type KindSummary, summarise, type SummaryOptions } from "./Summary.ts"
import { storedKinds } from "./Tables.ts"
import { makeWriting, type Writing } from "./Writing.ts"

/** A cohort as its head revision describes it. Times are `YYYY-MM-DDTHH:MM:SS[.ffffff]`. */
export interface Cohort {
  readonly cohortId: string
  readonly name: string
  readonly seq: number
  readonly description: string | undefined
  readonly tags: ReadonlyArray<string>
  readonly product: string | undefined
  readonly legacyId: string | undefined
  /** How many entities of each kind it holds, those inside others included; kinds that it lacks are absent. */
  readonly entities: Readonly<Record<string, number>>
  readonly entityCount: number
  /** The source's times. */
  readonly createdAt: string | undefined
  readonly updatedAt: string | undefined
  /** When this revision was written, in UTC. */
  readonly savedAt: string
  readonly digest: string
  readonly revisionId: number
  /** The revision whose parts and members it uses. */
  readonly contentId: number
}

/** One revision of a cohort. */
export interface Revision extends RevisionContent {
  readonly revisionId: number
  readonly runId: string | undefined
  readonly createdAt: string | undefined
  readonly updatedAt: string | undefined
  readonly savedAt: string
  /** The revision whose parts and members it uses. */
  readonly contentId: number
}

/** One source file of a content. */
export interface Part {
  readonly part: number
  /** File name relative to the cohort. */
  readonly path: string
  readonly format: string
  readonly bytes: number
  readonly sourceSha256: string
  readonly digest: string
  readonly encoding: string
}

/** A file that is stored already, as part of the head of a cohort. */
export interface StoredSource {
  readonly path: string
  readonly sourceSha256: string
  readonly digest: string
  readonly bytes: number
  readonly cohortId: string
  readonly cohortName: string
  readonly revisionId: number
  readonly contentId: number
  readonly part: number
  /** Number of parts of the content: a source of several files is unchanged only if all of them are. */
  readonly parts: number
}

/** A cohort and its documents. */
export interface LoadedCohort {
  readonly cohort: Cohort
  readonly documents: ReadonlyArray<{ readonly path: string; readonly text: string }>
}

/** What the head of a cohort is, by its digest. */
export interface HeadDigest {
  readonly cohortId: string
  readonly name: string
  readonly revisionId: number
  readonly seq: number
  readonly digest: string
}

/** A run as its events tell; one without an end was cut short. */
export interface Run {
  readonly runId: string
  readonly startedAt: string
  readonly finishedAt: string | undefined
  readonly outcome: string | undefined
  /** JSON, as the run wrote it. */
  readonly options: string | undefined
  readonly totals: string | undefined
  readonly program: string
}

/** The outcome of one item of a run. */
export interface RunItem {
  readonly item: number
  readonly path: string
  readonly outcome: string
  readonly format: string | undefined
  readonly bytes: number | undefined
  readonly sourceSha256: string | undefined
  readonly revisionId: number | undefined
  readonly cohortId: string | undefined
  readonly digest: string | undefined
  readonly entities: Readonly<Record<string, number>>
  /** JSON, as the run wrote it. */
  readonly remarks: string
}

/** Which cohorts to list; conditions are combined by "and". */
export interface ListOptions {
  readonly tag?: string | undefined
  /** Part of the name or description, taken literally, upper or lower case. */
  readonly search?: string | undefined
  readonly product?: string | undefined
  /** 100 if not given; at most 10,000. */
  readonly limit?: number | undefined
  /** Where the page before ended. */
  readonly cursor?: string | undefined
}

/** Some of a list, and where to go on. */
export interface Page<A> {
  readonly items: ReadonlyArray<A>
  /** Undefined at the end of the list. */
  readonly next: string | undefined
}

/** An entity of a cohort, with its compact text. */
export interface CohortEntity {
  /** `json` for what is no entity of a known kind. */
  readonly kind: string
  /** The key below which `collect` gives it: as written below `entities`, else the name of the kind's table. */
  readonly type: string
  readonly entityId: number
  /** Name of the file, and the JSON pointer in it. */
  readonly path: string
  readonly pointer: string
  readonly text: string
}

/** Which entities to give; those inside others come with them. */
export interface EntityOptions {
  /** Name of a kind, or `json`. */
  readonly kind?: string | undefined
  /** A revision; the latest if not given. */
  readonly seq?: number | undefined
  /** 100 if not given; at most 10,000. */
  readonly limit?: number | undefined
  readonly cursor?: string | undefined
  /** Keys of the members to give of each entity, such as `id` or `name.given`; all if not given. */
  readonly fields?: ReadonlyArray<string> | undefined
}

/** A cohort with the compact texts of its entities by type, in the order of its documents. */
export interface CollectedCohort {
  readonly cohort: Cohort
  readonly entities: ReadonlyMap<string, ReadonlyArray<string>>
}

/** A revision of a cohort; the latest if no number is given. */
export interface RevisionRef {
  readonly cohort: string
  readonly seq?: number | undefined
}

/** What a cohort is like. */
export interface CohortSummary {
  readonly cohort: Cohort
  readonly kinds: ReadonlyArray<KindSummary>
}

/** The formats that are text as a whole. */
export type TextExportOptions = Omit<ExportOptions, "format"> & {
  readonly format?: Exclude<ExportFormat, "csv" | "parquet"> | undefined
}

export interface ExportedTexts {
  readonly files: ReadonlyArray<ExportedText>
  readonly remarks: ReadonlyArray<ExportRemark>
}

export interface ExportedFiles {
  /** Absolute paths. */
  readonly paths: ReadonlyArray<string>
  readonly remarks: ReadonlyArray<ExportRemark>
}

/** A tag, and how many cohorts have it. */
export interface TagCount {
  readonly tag: string
  readonly cohorts: number
}

/** The cohorts of an open database. */
export class CohortStore extends Context.Service<
  CohortStore,
  Writing & {
    /** All cohorts that are not deleted, by name. */
    readonly list: Effect.Effect<ReadonlyArray<Cohort>, SqlError.SqlError>
    /** Cohorts that meet all conditions, the latest saved first, a page at a time. */
    readonly page: (options?: ListOptions) => Effect.Effect<Page<Cohort>, InvalidRequest | SqlError.SqlError>
    /** All tags of cohorts that are not deleted, by name. */
    readonly tags: Effect.Effect<ReadonlyArray<TagCount>, SqlError.SqlError>
    /** Whether a cohort that is not deleted has this name or id. */
    readonly exists: (nameOrId: string) => Effect.Effect<boolean, SqlError.SqlError>
    /** The entities of a cohort that stand in its documents, in their order, a page at a time. */
    readonly entities: (
      nameOrId: string,
      options?: EntityOptions
    ) => Effect.Effect<Page<CohortEntity>, CohortNotFound | InvalidRequest | SqlError.SqlError>
    /** A cohort with all its entities by type. */
    readonly collect: (nameOrId: string) => Effect.Effect<CollectedCohort, CohortNotFound | SqlError.SqlError>
    /**
     * Which of these compact texts stand in the cohort's documents as entities, by the type below which `collect` gives
     * them. No entity is rendered for it.
     */
    readonly entitiesAmong: (
      nameOrId: string,
      texts: Iterable<string>
    ) => Effect.Effect<ReadonlyMap<string, ReadonlySet<string>>, CohortNotFound | SqlError.SqlError>
    /** What differs between two revisions, of one cohort or of two. */
    readonly diff: (
      before: RevisionRef,
      after: RevisionRef
    ) => Effect.Effect<RevisionDiff, CohortNotFound | InvalidRequest | SqlError.SqlError>
    /** What `purge` would remove for good, of all deleted cohorts or those of these names and ids. Removes nothing. */
    readonly purgePlan: (cohorts?: ReadonlyArray<string>) => Effect.Effect<PurgePlan, SqlError.SqlError>
    /** Counts, ranges, distributions and samples of the latest revision. */
    readonly summary: (
      nameOrId: string,
      options?: SummaryOptions
    ) => Effect.Effect<CohortSummary, CohortNotFound | SqlError.SqlError>
    /** A cohort as texts, in memory. */
    readonly exportTexts: (
      nameOrId: string,
      options?: TextExportOptions
    ) => Effect.Effect<ExportedTexts, CohortNotFound | SqlError.SqlError>
    /**
     * Writes a cohort to a file, or to a folder where it consists of several, as one per kind. Files get their names when
     * all of them are whole; what had such a name before is replaced.
     */
    readonly export: (
      nameOrId: string,
      out: string,
      options?: ExportOptions
    ) => Effect.Effect<ExportedFiles, CohortNotFound | InvalidRequest | SqlError.SqlError>
    /** The cohort of this name, else of this id. */
    readonly find: (nameOrId: string) => Effect.Effect<Cohort, CohortNotFound | SqlError.SqlError>
    /** The revisions, oldest first, of the cohort of this name or id, deleted ones included. */
    readonly history: (nameOrId: string) => Effect.Effect<ReadonlyArray<Revision>, CohortNotFound | SqlError.SqlError>
    /** A cohort with the compact text of each of its documents, as the source had it. */
    readonly load: (nameOrId: string) => Effect.Effect<LoadedCohort, CohortNotFound | SqlError.SqlError>
    /** The parts of a content, in order. */
    readonly parts: (contentId: number) => Effect.Effect<ReadonlyArray<Part>, SqlError.SqlError>
    /** The files with these hashes (without a list: all files) that heads consist of. */
    readonly unchanged: (
      sourceSha256s?: Iterable<string>
    ) => Effect.Effect<ReadonlyArray<StoredSource>, SqlError.SqlError>
    /** The digest of each head. */
    readonly digests: Effect.Effect<ReadonlyArray<HeadDigest>, SqlError.SqlError>
    /** All runs, oldest first. */
    readonly runs: Effect.Effect<ReadonlyArray<Run>, SqlError.SqlError>
    /** The items of a run, in order. */
    readonly items: (runId: string) => Effect.Effect<ReadonlyArray<RunItem>, SqlError.SqlError>
  }
>()("@mallard/duckdb-store/CohortStore") {
  /** The service on an open database. */
  static readonly layerNoDeps: Layer.Layer<CohortStore, never, DuckDbClient> = Layer.effect(
    CohortStore,
    Effect.suspend(() => make)
  )

  /** The service on a database of its own, opened and closed with the layer. */
  static layer(config: StoreConfig): Layer.Layer<CohortStore | DuckDbClient, StoreError> {
    return CohortStore.layerNoDeps.pipe(Layer.provideMerge(Layer.effect(DuckDbClient, openStore(config))))
  }
}

/** The statements of this module. */
export const cohortStatements = {
  ...contentStatements,
  ...recordStatements,
  tags: "SELECT tag, count(*) AS cohorts FROM main.cohort_tags GROUP BY tag ORDER BY tag",
  everNamed: `SELECT cohort_id::VARCHAR AS cohort_id FROM mallard.recorded_revisions
WHERE name = ? OR cohort_id = TRY_CAST(? AS UUID) ORDER BY name = ? DESC, revision_id DESC LIMIT 1`
} as const

const make = Effect.gen(function* () {
  const sql = yield* DuckDbClient
  const heads = makeHeads(sql)
  const lookup = makeLookup(heads)
  const cohorts: OpenCohorts = { sql, heads, lookup }
  return CohortStore.of({
    ...(yield* makeWriting(cohorts)),
    list: listOf(sql),
    page: Effect.fn("CohortStore.page")((options) => pageOf(sql, options)),
    tags: tagsOf(sql),
    exists: Effect.fn("CohortStore.exists")((nameOrId) =>
      Effect.map(heads.found(nameOrId), (head) => head !== undefined && head.change !== "deleted")
    ),
    find: Effect.fn("CohortStore.find")((nameOrId) => cohortOf(cohorts, nameOrId)),
    history: Effect.fn("CohortStore.history")((nameOrId) => historyOf(cohorts, nameOrId)),
    load: Effect.fn("CohortStore.load")(function* (nameOrId) {
      const cohort = yield* cohortOf(cohorts, nameOrId)
      return { cohort, documents: yield* documentsOf(sql, cohort.contentId) }
    }),
    entities: Effect.fn("CohortStore.entities")((nameOrId, options) => entitiesOf(cohorts, nameOrId, options)),
    collect: Effect.fn("CohortStore.collect")((nameOrId) => collectedOf(cohorts, nameOrId)),
    entitiesAmong: Effect.fn("CohortStore.entitiesAmong")(function* (nameOrId, texts) {
      const { contentId } = yield* lookup.live(nameOrId)
      return yield* membersAmong(sql, contentId, texts)
    }),
    diff: Effect.fn("CohortStore.diff")(function* (before, after) {
      return diffSides(yield* diffSide(cohorts, before), yield* diffSide(cohorts, after))
    }),
    summary: Effect.fn("CohortStore.summary")(function* (nameOrId, options = {}) {
      const cohort = yield* cohortOf(cohorts, nameOrId)
      return { cohort, kinds: yield* summarise(sql, cohort.cohortId, cohort.entities, options) }
    }),
    exportTexts: Effect.fn("CohortStore.exportTexts")(function* (nameOrId, options = {}) {
      return yield* exportTexts(sql, yield* lookup.live(nameOrId), options)
    }),
    export: Effect.fn("CohortStore.export")(function* (nameOrId, out, options = {}) {
      return yield* exportFiles(sql, yield* lookup.live(nameOrId), out, options)
    }),
    purgePlan: Effect.fn("CohortStore.purgePlan")((wanted) => planPurge(sql, wanted)),
    parts: Effect.fn("CohortStore.parts")((contentId) => readParts(sql, contentId)),
    unchanged: Effect.fn("CohortStore.unchanged")((sourceSha256s) => readSources(sql, sourceSha256s)),
    digests: readDigests(sql),
    runs: readRunEvents(sql),
    items: Effect.fn("CohortStore.items")((runId) => readItems(sql, runId))
  })
})

/** All cohorts that are not deleted, by name. */
const listOf = (sql: DuckDbSqlClient) =>
  Effect.gen(function* () {
    const cohorts = yield* withCounts(sql, yield* liveHeads(sql, {}))
    return cohorts.toSorted((left, right) => byText(left.name, right.name) || byText(left.cohortId, right.cohortId))
  })

const pageOf = Effect.fnUntraced(function* (sql: DuckDbSqlClient, options: ListOptions = {}) {
  const limit = yield* limitOf(options.limit)
  const scope = JSON.stringify([options.tag, options.search, options.product])
  const cursor = yield* readCursor(options.cursor, scope)
  const rows = yield* liveHeads(sql, {
    tag: options.tag?.toWellFormed(),
    search: options.search?.toWellFormed(),
    product: options.product?.toWellFormed(),
    before: cursor?.[0],
    limit: limit + 1
  })
  const items = yield* withCounts(sql, rows.slice(0, limit))
  const last = items.at(-1)
  return {
    items,
    next: rows.length > limit && last !== undefined ? writeCursor(scope, [last.revisionId]) : undefined
  }
})

const tagsOf = (sql: DuckDbSqlClient) =>
  Effect.map(query<{ readonly tag: string; readonly cohorts: bigint }>(sql, cohortStatements.tags), (rows) =>
    rows.map(({ cohorts, tag }): TagCount => ({ tag, cohorts: Number(cohorts) }))
  )

/** The cohort of this name or id that is not deleted, with its counts. */
const cohortOf = Effect.fnUntraced(function* ({ lookup, sql }: OpenCohorts, nameOrId: string) {
  const [cohort] = yield* withCounts(sql, [yield* lookup.live(nameOrId)])
  return cohort ?? (yield* lookup.notFound(nameOrId))
})

/** A name counts that the cohort had once, unless another has it now. */
const historyOf = Effect.fnUntraced(function* ({ heads, lookup, sql }: OpenCohorts, nameOrId: string) {
  // DuckDB takes no halves of surrogate pairs, and no name has one.
  if (!nameOrId.isWellFormed()) return yield* lookup.notFound(nameOrId)
  const head = yield* heads.named(nameOrId)
  const [once] =
    head === undefined || head.change === "deleted"
      ? yield* query<{ readonly cohort_id: string }>(sql, cohortStatements.everNamed, [nameOrId, nameOrId, nameOrId])
      : [{ cohort_id: head.cohortId }]
  return once === undefined ? yield* lookup.notFound(nameOrId) : yield* readHistory(sql, once.cohort_id)
})

const entitiesOf = Effect.fnUntraced(function* (
  { lookup, sql }: OpenCohorts,
  nameOrId: string,
  options: EntityOptions = {}
) {
  const limit = yield* limitOf(options.limit)
  const head = yield* lookup.live(nameOrId)
  const kind = storedKinds.find((candidate) => candidate.kind === options.kind)
  if (options.kind !== undefined && kind === undefined) return yield* new InvalidRequest({ reason: "unknown-kind" })
  const { contentId } = yield* revisionAt(sql, head, options.seq)
  const scope = JSON.stringify([contentId, options.kind])
  const cursor = yield* readCursor(options.cursor, scope)
  const [part = 0, collection = 0, ordinal = 0] = cursor ?? []
  const found = yield* membersOfContent(sql, contentId, {
    kind: kind?.code,
    after: cursor === undefined ? undefined : { part, collection, ordinal },
    limit: limit + 1
  })
  const last = found[limit - 1]
  const picked = options.fields === undefined ? undefined : fieldPicker(options.fields)
  return {
    items: found.slice(0, limit).map((member) => {
      const entity = entityOf(member)
      return picked === undefined ? entity : { ...entity, text: picked(entity.text) }
    }),
    next:
      found.length > limit && last !== undefined
        ? writeCursor(scope, [last.part, last.collection, last.ordinal])
        : undefined
  }
})

const collectedOf = Effect.fnUntraced(function* (cohorts: OpenCohorts, nameOrId: string) {
  const cohort = yield* cohortOf(cohorts, nameOrId)
  const entities = new Map<string, Array<string>>()
  for (const { text, type } of yield* membersOfContent(cohorts.sql, cohort.contentId)) {
    const texts = entities.get(type)
    if (texts === undefined) entities.set(type, [text])
    else texts.push(text)
  }
  return { cohort, entities }
})

/** The revision of this number of the cohort of a head, or the head itself. */
const revisionAt = Effect.fnUntraced(function* (sql: DuckDbSqlClient, head: RevisionState, seq: number | undefined) {
  if (seq === undefined) return head
  const revision = (yield* revisionsOf(sql, head.cohortId)).find((one) => one.seq === seq)
  return revision ?? (yield* new InvalidRequest({ reason: "no-such-revision" }))
})

const diffSide = Effect.fnUntraced(function* ({ lookup, sql }: OpenCohorts, { cohort, seq }: RevisionRef) {
  const head = yield* seq === undefined ? lookup.live(cohort) : lookup.any(cohort)
  const { contentId, description, name, product, tags } = yield* revisionAt(sql, head, seq)
  const parts = yield* storedParts(sql, contentId)
  const skeletons = new Map(parts.map(({ path, pieces }) => [path, skeletonOf(pieces)]))
  return { name, description, tags, product, members: yield* membersOfContent(sql, contentId), skeletons }
})

/** The literal text of a document in pieces: odd parts between the separators are labels. */
const skeletonOf = (pieces: ReadonlyArray<string>): string =>
  pieces
    .join("")
    .split("\u0001")
    .map((part, at) => (at % 2 === 0 ? part : part === "list" ? "[]" : "{}"))
    .join("")

const entityOf = ({ entityId, kind, path, pointer, text, type }: StoredMember): CohortEntity => ({
  kind,
  type,
  entityId,
  path,
  pointer,
  text
})

/** Heads with how many entities of each kind they hold. */
const withCounts = Effect.fnUntraced(function* (sql: DuckDbSqlClient, states: ReadonlyArray<RevisionState>) {
  const counts = yield* countsOfContents(
    sql,
    states.map(({ contentId }) => contentId)
  )
  return states.map((state): Cohort => {
    const entities = counts.get(state.contentId) ?? {}
    return {
      cohortId: state.cohortId,
      name: state.name,
      seq: state.seq,
      description: state.description,
      tags: state.tags,
      product: state.product,
      legacyId: state.legacyId,
      entities,
      entityCount: Object.values(entities).reduce((sum, count) => sum + count, 0),
      createdAt: timeText(state.createdAt),
      updatedAt: timeText(state.updatedAt),
      savedAt: timeText(state.savedAt) ?? "",
      digest: state.digest,
      revisionId: state.revisionId,
      contentId: state.contentId
    }
  })
})

const timeText = (micros: bigint | undefined): string | undefined =>
  micros === undefined ? undefined : String(new DuckDBTimestampValue(micros)).replace(" ", "T")

const byText = (left: string, right: string): number => Buffer.compare(Buffer.from(left), Buffer.from(right))
