/**
 * Changes to cohorts. Each appends one revision, in one transaction, and one at a time: what is looked up before a change
 * still holds when it is made. Nothing that is stored is altered.
 */

import {
  type DocumentResult,
  documentTime,
  JsonProblem,
  MemberRows,
  RawJson,
  toJsonText,
  UnsupportedValue,
  type ValueRemark
} from "@mallard/entity-serializers"
import { JSON_KIND, kindByCode } from "@mallard/schema"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Clock, Effect, Semaphore } from "effect"
import { type SqlError } from "effect/sql"
import { hash, randomUUID } from "node:crypto"
import { BatchWriter, type NewPart } from "./BatchWriter.ts"
import { type CohortNotFound, InvalidRequest, NameTaken } from "./CohortErrors.ts"
import { countsOfContents, membersOfContent, type RevisionState, revisionsOf, storedParts } from "./internal/content.ts"
import { type Addition, grownPart, grownText, growthOf, type SmallReading, smallText } from "./internal/growing.ts"
import { type Heads } from "./internal/heads.ts"
import { elementsOf, isList, isObject, membersOf } from "./internal/jsonScan.ts"
import { nextIds, record } from "./Ledger.ts"
import { type ConflictRule, mergeMembers, type MergeReport } from "./Merging.ts"
import { isName, madeUpName, type NameHints, uniqueName } from "./Naming.ts"
import { contentDigest, type NewRevision, revisionRow } from "./Revision.ts"
import { cohortRecogniser, type DocumentFacts, type Recogniser, storedRecogniser } from "./Recognise.ts"
import { shownPointer } from "./ShownPointer.ts"

/** JSON: its text, which keeps every spelling, or a plain value. */
export type Json = string | object

/** Bytes of the largest file that is taken as one document: it is held in memory, more than once. */
export const MAX_DOCUMENT_BYTES = 2 ** 28

/** What to save. `entities` or `document` is needed. */
export interface SaveRequest extends NameHints {
  /** Without it the document's own name, else one made up from keywords, context or the day. */
  readonly name?: string | undefined
  /** Used where neither `name` nor the document gives one, as a file's. */
  readonly fallbackName?: string | undefined
  /** Lists of entities by type, as `{ patients: [...] }`. */
  readonly entities?: Json | undefined
  /** A whole document, kept as it is. */
  readonly document?: Json | undefined
  /** Without it, what the document says. */
  readonly description?: string | undefined
  readonly tags?: ReadonlyArray<string> | undefined
  readonly product?: string | undefined
  /** Makes this the next revision of a cohort that has the name. */
  readonly overwrite?: boolean | undefined
  /** How the document is to be read; without it as a cohort file. Rules for lines take NDJSON. */
  readonly recogniser?: Recogniser | undefined
  /** Name of the file within the cohort; without it the cohort's name with `.json`. */
  readonly path?: string | undefined
  /** Bytes and hash of the source, where the text given is not the source itself. */
  readonly source?: { readonly bytes: number; readonly sha256: string; readonly encoding: string } | undefined
}

/** What came of a change. */
export interface Saved {
  readonly cohortId: string
  readonly name: string
  readonly revisionId: number
  readonly seq: number
  readonly digest: string
  readonly outcome: "created" | "replaced" | "unchanged"
  /** Entities by kind, nested ones included. */
  readonly entities: Readonly<Record<string, number>>
  /** What was kept but could not be put into the column where its path leads. */
  readonly remarks: ReadonlyArray<ValueRemark>
}

/** A revision that was appended; `isChanged` is false when there was nothing to change. */
export interface Changed {
  readonly cohortId: string
  readonly name: string
  readonly revisionId: number
  readonly seq: number
  readonly isChanged: boolean
}

export interface AppendOptions {
  /** Creates the cohort when there is none of that name. */
  readonly create?: boolean | undefined
}

export interface CloneOptions {
  readonly description?: string | undefined
  readonly tags?: ReadonlyArray<string> | undefined
}

export interface MergeOptions {
  readonly name: string
  /** What happens to an entity whose kind and id one of an earlier cohort has: `skip` if not given. */
  readonly conflict?: ConflictRule | undefined
  readonly description?: string | undefined
  /** Without it the tags of all of them. */
  readonly tags?: ReadonlyArray<string> | undefined
  readonly overwrite?: boolean | undefined
}

export interface TagChanges {
  /** Tags that the cohort then has; one that is to be removed too stays. */
  readonly add?: ReadonlyArray<string> | undefined
  readonly remove?: ReadonlyArray<string> | undefined
}

type Problem = NameTaken | InvalidRequest | SqlError.SqlError

/** The changes that `CohortStore` offers. */
export interface Writing {
  readonly save: (request: SaveRequest) => Effect.Effect<Saved, Problem>
  readonly append: (
    nameOrId: string,
    entities: Json,
    options?: AppendOptions
  ) => Effect.Effect<Saved, CohortNotFound | Problem>
  readonly delete: (nameOrId: string) => Effect.Effect<Changed, CohortNotFound | SqlError.SqlError>
  readonly restore: (
    nameOrId: string,
    options?: { readonly seq?: number | undefined; readonly name?: string | undefined }
  ) => Effect.Effect<Changed, CohortNotFound | Problem>
  readonly rename: (nameOrId: string, name: string) => Effect.Effect<Changed, CohortNotFound | Problem>
  /** Adds tags and removes others in one revision. */
  readonly retag: (
    nameOrId: string,
    changes: TagChanges
  ) => Effect.Effect<Changed, CohortNotFound | InvalidRequest | SqlError.SqlError>
  readonly addTags: (
    nameOrId: string,
    tags: ReadonlyArray<string>
  ) => Effect.Effect<Changed, CohortNotFound | InvalidRequest | SqlError.SqlError>
  readonly removeTags: (
    nameOrId: string,
    tags: ReadonlyArray<string>
  ) => Effect.Effect<Changed, CohortNotFound | SqlError.SqlError>
  readonly clone: (
    nameOrId: string,
    name: string,
    options?: CloneOptions
  ) => Effect.Effect<Changed, CohortNotFound | Problem>
  readonly merge: (
    sources: ReadonlyArray<string>,
    options: MergeOptions
  ) => Effect.Effect<Saved & MergeReport, CohortNotFound | Problem>
}

/** How cohorts are looked up: live ones, and any at all. */
export interface Lookup {
  readonly live: (nameOrId: string) => Effect.Effect<RevisionState, CohortNotFound | SqlError.SqlError>
  readonly any: (nameOrId: string) => Effect.Effect<RevisionState, CohortNotFound | SqlError.SqlError>
}

/** Adds a revision to the transaction under way; gives its id. */
type Save = (revision: NewRevision, parts: ReadonlyArray<NewPart>) => number

const stateOfNew = (revision: NewRevision, revisionId: number): RevisionState => {
  const { contentId = revisionId, predecessor: _, ...state } = revision
  return { ...state, revisionId, contentId }
}

/** Ends a transaction that turned out to have nothing to write. */
class NothingToWrite {
  readonly _tag = "NothingToWrite"
  readonly saved: Saved
  constructor(saved: Saved) {
    this.saved = saved
  }
}

export const makeWriting = Effect.fnUntraced(function* (sql: DuckDbSqlClient, heads: Heads, lookup: Lookup) {
  const oneAtATime = yield* Semaphore.make(1)
  /** Loading what a writer knows costs time that grows with the database, so it is kept as long as nobody else writes. */
  let kept: { readonly writer: BatchWriter; nextCommit: number } | undefined

  const ids = Effect.provideService(nextIds, DuckDbClient, sql)

  const currentWriter = Effect.gen(function* () {
    const nextCommit = (yield* heads.lastCommit) + 1
    if (kept?.nextCommit !== nextCommit) kept = { writer: yield* BatchWriter.make(sql), nextCommit }
    yield* kept.writer.loadDigests
    return kept
  })

  /** Runs a change that writes documents. */
  const writing = <A, E>(
    change: (writer: BatchWriter, save: Save) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | SqlError.SqlError> =>
    Effect.gen(function* () {
      const current = yield* currentWriter
      const { writer } = current
      let saved: RevisionState | undefined
      const save: Save = (revision, parts) => {
        const revisionId = writer.save(revision, parts, undefined)
        saved = stateOfNew(revision, revisionId)
        return revisionId
      }
      const result = yield* writer.transaction(undefined, change(writer, save))
      if (saved !== undefined) heads.follow(saved, current.nextCommit)
      current.nextCommit++
      return result
    })

  const now = Effect.map(Clock.currentTimeMillis, (millis) => BigInt(millis) * 1000n)

  /** Appends a revision that uses the content of an earlier one. Needs none of what a writer knows. */
  const appendRevision = Effect.fnUntraced(function* (
    head: RevisionState,
    changes: Partial<Pick<NewRevision, "change" | "name" | "description" | "tags">>,
    base: RevisionState = head
  ) {
    const savedAt = yield* now
    const revision: NewRevision = {
      cohortId: head.cohortId,
      seq: head.seq + 1,
      predecessor: head.revisionId,
      change: "saved",
      name: base.name,
      description: base.description,
      tags: base.tags,
      product: base.product,
      legacyId: base.legacyId,
      createdAt: base.createdAt,
      updatedAt: base.updatedAt,
      savedAt,
      digest: base.digest,
      contentId: base.contentId,
      ...changes
    }
    const changed = (revisionId: number): Changed => ({
      cohortId: revision.cohortId,
      name: revision.name,
      revisionId,
      seq: revision.seq,
      isChanged: true
    })
    if (kept !== undefined) {
      return changed(yield* writing((_, save) => Effect.sync(() => save(revision, []))))
    }
    const next = yield* ids
    const revisionId = next.get("revisions") ?? 1
    const commit = {
      commit_id: next.get("commits") ?? 1,
      attempt: randomUUID(),
      run_id: null,
      committed_at: savedAt
    }
    yield* sql
      .withTransaction(
        Effect.andThen(
          record("revisions", [revisionRow(revisionId, revision, undefined)]),
          record("commits", [
            { ...commit, table_name: "revisions", first_id: revisionId, row_count: 1 },
            { ...commit, table_name: "commits", first_id: commit.commit_id, row_count: 2 }
          ])
        )
      )
      .pipe(Effect.provideService(DuckDbClient, sql))
    return changed(revisionId)
  })

  const unchanged = (head: RevisionState): Changed => ({
    cohortId: head.cohortId,
    name: head.name,
    revisionId: head.revisionId,
    seq: head.seq,
    isChanged: false
  })

  /** Fails when another cohort that is not deleted has the name. */
  const freeFor = Effect.fnUntraced(function* (name: string, cohortId: string | undefined) {
    const holder = yield* heads.named(name)
    if (holder !== undefined && holder.change !== "deleted" && holder.cohortId !== cohortId) {
      return yield* new NameTaken({ wanted: name, cohortId: holder.cohortId })
    }
    return holder
  })

  const uniqueMadeUpName = Effect.fnUntraced(function* (hints: NameHints) {
    const names = new Set(
      (yield* sql.unsafe("SELECT name FROM mallard.heads", []).valuesUnprepared).map(([name]) => String(name))
    )
    return uniqueName(madeUpName(hints, new Date(yield* Clock.currentTimeMillis)), (name) => names.has(name))
  })

  /** A revision to write, of a document that is still to be read. */
  interface Staged {
    readonly document: Prepared
    readonly recogniser: Recogniser
    /** What counts instead of what the document says; undefined counts for keys that are there. */
    readonly given: Partial<Pick<DocumentFacts, "name" | "description" | "tags" | "product">>
    /** The revision that this one follows, if that is known already. */
    readonly head: RevisionState | undefined
    readonly overwrite: boolean
    readonly path: string | undefined
    readonly hints: NameHints & Pick<SaveRequest, "fallbackName">
    /** Times of the cohort where the document gives none. */
    readonly base?: RevisionState | undefined
    /** What is stored already of a document that grows: only what is not is read. */
    readonly grows?: {
      readonly digest: string
      readonly entities: Readonly<Record<string, number>>
      readonly part: (
        reading: SmallReading
      ) => Pick<NewPart, "pieces" | "collections" | "members"> & Pick<Saved, "remarks">
    }
    /** Stored parts that stay, before this one. */
    readonly before?: ReadonlyArray<NewPart> | undefined
    readonly source?: SaveRequest["source"]
  }

  /** Reads a document and writes it as a revision. */
  const stage = (staged: Staged): Effect.Effect<Saved, Problem> =>
    writing((writer, write) =>
      Effect.gen(function* () {
        const { document, given, recogniser } = staged
        const result = yield* readDocument(writer, document, recogniser)
        const facts = recogniser.facts(result)
        const described = { ...facts, ...given }
        const name =
          described.name ??
          staged.hints.fallbackName ??
          (yield* uniqueMadeUpName({ types: Object.keys(countsOf(result)), ...staged.hints }))
        yield* checkName(name)
        const head = staged.head ?? (yield* heads.named(name))
        if (head !== undefined && head.change !== "deleted" && !staged.overwrite) {
          return yield* new NameTaken({ wanted: name, cohortId: head.cohortId })
        }
        const { grows } = staged
        const { members, pieces } = writer.documents
        writer.documents.members = new MemberRows()
        writer.documents.pieces = []
        const { remarks, ...read } = grows?.part({ result, members, pieces }) ?? {
          pieces,
          members,
          collections: result.collections,
          remarks: result.remarks
        }
        const part: NewPart = {
          ...read,
          path: staged.path ?? fileNameOf(name),
          format: facts.format,
          bytes: staged.source?.bytes ?? document.bytes,
          sourceSha256: staged.source?.sha256 ?? document.sha256,
          digest: grows?.digest ?? result.digest,
          encoding: staged.source?.encoding ?? "utf-8"
        }
        const parts = [...(staged.before ?? []), part]
        const digest = contentDigest(parts)
        const revision: NewRevision = {
          cohortId: head?.cohortId ?? randomUUID(),
          seq: (head?.seq ?? 0) + 1,
          predecessor: head?.revisionId,
          change: "saved",
          name,
          description: described.description,
          tags: described.tags,
          product: described.product,
          legacyId: facts.legacyId ?? staged.base?.legacyId,
          createdAt: documentTime(facts.createdAt) ?? staged.base?.createdAt,
          updatedAt: documentTime(facts.updatedAt) ?? staged.base?.updatedAt,
          savedAt: yield* now,
          digest
        }
        const entities = { ...grows?.entities }
        for (const [kind, count] of Object.entries(countsOf(result))) entities[kind] = (entities[kind] ?? 0) + count
        const answer = {
          cohortId: revision.cohortId,
          name,
          digest,
          entities,
          remarks
        }
        if (head !== undefined && head.change !== "deleted" && isSame(head, revision)) {
          return yield* Effect.fail(
            new NothingToWrite({ ...answer, revisionId: head.revisionId, seq: head.seq, outcome: "unchanged" })
          )
        }
        const revisionId = write(revision, parts)
        return {
          ...answer,
          revisionId,
          seq: revision.seq,
          outcome: head === undefined || head.change === "deleted" ? ("created" as const) : ("replaced" as const)
        }
      })
    ).pipe(Effect.catchTag("NothingToWrite", ({ saved }) => Effect.succeed<Saved>(saved)))

  const save = Effect.fnUntraced(function* (request: SaveRequest) {
    const { description, document, entities, name, product, tags } = request
    if (entities === undefined && document === undefined) return yield* new InvalidRequest({ reason: "nothing-given" })
    if (entities !== undefined && document !== undefined) return yield* new InvalidRequest({ reason: "both-given" })
    if (name !== undefined) yield* checkName(name)
    if (tags !== undefined) yield* checkTags(tags)
    const given = {
      ...(name === undefined ? {} : { name }),
      ...(description === undefined ? {} : { description }),
      ...(tags === undefined ? {} : { tags: distinct(tags) }),
      ...(product === undefined ? {} : { product })
    }
    const prepared =
      document === undefined
        ? yield* Effect.flatMap(prepare(entities ?? {}), (list) =>
            isObject(list.text)
              ? prepare({ ...given, entities: new RawJson(list.text) })
              : Effect.fail(new InvalidRequest({ reason: "not-an-object" }))
          )
        : yield* prepareDocument(document, request.recogniser)
    return yield* stage({
      document: prepared,
      recogniser: request.recogniser ?? cohortRecogniser(),
      given,
      head: undefined,
      overwrite: request.overwrite === true,
      path: request.path,
      hints: request,
      source: request.source
    })
  })

  const append = Effect.fnUntraced(function* (nameOrId: string, entities: Json, options: AppendOptions = {}) {
    const given = yield* prepare(entities)
    if (!isObject(given.text)) return yield* new InvalidRequest({ reason: "not-an-object" })
    const additions = membersOf(given.text).flatMap(({ end, key, start }): ReadonlyArray<Addition> => {
      const text = given.text.slice(start, end)
      const elements = isList(text) ? elementsOf(text) : [text]
      return elements.length === 0 ? [] : [{ key, elements }]
    })
    if (additions.length === 0) return yield* new InvalidRequest({ reason: "no-entities" })
    const head =
      options.create === true
        ? yield* lookup.live(nameOrId).pipe(Effect.catchTag("CohortNotFound", () => Effect.succeed(undefined)))
        : yield* lookup.live(nameOrId)
    if (head === undefined) return yield* save({ name: nameOrId, entities })
    const keep = {
      name: head.name,
      description: head.description,
      tags: head.tags,
      product: head.product
    }
    const before = yield* storedParts(sql, head.contentId)
    const [part, ...others] = before
    const isRoot = part?.collections.some(({ pointer }) => pointer === "")
    const growth =
      part === undefined || others.length > 0 || isRoot === true
        ? undefined
        : growthOf(part.pieces, additions, JSON.stringify(randomUUID()))
    if (part !== undefined && growth !== undefined) {
      const grown = yield* grownText(sql, head.contentId, growth)
      return yield* stage({
        document: { text: smallText(growth), bytes: grown.bytes, sha256: grown.digest },
        recogniser: storedRecogniser(part.collections, part.format),
        given: keep,
        head,
        overwrite: true,
        path: part.path,
        hints: {},
        base: head,
        grows: {
          digest: grown.digest,
          entities: (yield* countsOfContents(sql, [head.contentId])).get(head.contentId) ?? {},
          part: (reading) => grownPart(growth, grown, part, reading)
        }
      })
    }
    // What is no object with lists of entities gets a further file.
    const paths = new Set(before.map(({ path }) => path))
    return yield* stage({
      document: yield* prepare(toJsonText({ entities: new RawJson(given.text) })),
      recogniser: cohortRecogniser(),
      given: keep,
      head,
      overwrite: true,
      path: `${uniqueName("appended", (path) => paths.has(`${path}.json`))}.json`,
      hints: {},
      base: head,
      before
    })
  })

  const restore = Effect.fnUntraced(function* (
    nameOrId: string,
    options: { readonly seq?: number | undefined; readonly name?: string | undefined } = {}
  ) {
    const head = yield* lookup.any(nameOrId)
    if (options.seq === undefined && head.change !== "deleted")
      return yield* new InvalidRequest({ reason: "not-deleted" })
    const revisions = yield* revisionsOf(sql, head.cohortId)
    const base =
      options.seq === undefined
        ? revisions.findLast(({ change }) => change !== "deleted")
        : revisions.find(({ change, seq }) => seq === options.seq && change !== "deleted")
    if (base === undefined) return yield* new InvalidRequest({ reason: "no-such-revision" })
    const name = options.name ?? base.name
    yield* checkName(name)
    yield* freeFor(name, head.cohortId)
    return yield* appendRevision(head, { change: "restored", name }, base)
  })

  const rename = Effect.fnUntraced(function* (nameOrId: string, name: string) {
    yield* checkName(name)
    const head = yield* lookup.live(nameOrId)
    if (head.name === name) return unchanged(head)
    yield* freeFor(name, head.cohortId)
    return yield* appendRevision(head, { name })
  })

  const retag = Effect.fnUntraced(function* (
    nameOrId: string,
    add: ReadonlyArray<string>,
    remove: ReadonlyArray<string>
  ) {
    const head = yield* lookup.live(nameOrId)
    const kept = head.tags.filter((tag) => add.includes(tag) || !remove.includes(tag))
    const tags = distinct([...kept, ...add])
    return sameTags(tags, head.tags) ? unchanged(head) : yield* appendRevision(head, { tags })
  })

  const clone = Effect.fnUntraced(function* (nameOrId: string, name: string, options: CloneOptions = {}) {
    yield* checkName(name)
    if (options.tags !== undefined) yield* checkTags(options.tags)
    const source = yield* lookup.live(nameOrId)
    const former = yield* freeFor(name, undefined)
    const parts = yield* storedParts(sql, source.contentId)
    const revision: NewRevision = {
      cohortId: former?.cohortId ?? randomUUID(),
      seq: (former?.seq ?? 0) + 1,
      predecessor: former?.revisionId,
      change: "saved",
      name,
      description: options.description ?? source.description,
      tags: options.tags === undefined ? source.tags : distinct(options.tags),
      product: source.product,
      legacyId: undefined,
      createdAt: source.createdAt,
      updatedAt: source.updatedAt,
      savedAt: yield* now,
      digest: source.digest
    }
    const revisionId = yield* writing((_, save) => Effect.sync(() => save(revision, parts)))
    return { cohortId: revision.cohortId, name, revisionId, seq: revision.seq, isChanged: true }
  })

  const merge = Effect.fnUntraced(function* (sources: ReadonlyArray<string>, options: MergeOptions) {
    const heads = yield* Effect.forEach(sources, lookup.live)
    const different = [...new Map(heads.map((head) => [head.cohortId, head])).values()]
    if (different.length < 2) return yield* new InvalidRequest({ reason: "too-few-sources" })
    const contents = yield* Effect.forEach(different, ({ contentId }) => membersOfContent(sql, contentId))
    const { entities, ...report } = mergeMembers(contents, options.conflict ?? "skip")
    const lists = Object.fromEntries(
      [...entities].map(([type, texts]) => [type, new RawJson(`[${texts.join(",")}]`)] as const)
    )
    const products = new Set(different.map(({ product }) => product))
    const saved = yield* save({
      name: options.name,
      entities: lists,
      description: options.description,
      tags: options.tags ?? distinct(different.flatMap(({ tags }) => tags)),
      product: products.size === 1 ? different[0]?.product : undefined,
      overwrite: options.overwrite
    })
    return { ...saved, ...report }
  })

  const alone = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> => oneAtATime.withPermits(1)(effect)

  const operations: Writing = {
    save: Effect.fn("CohortStore.save")((request) => alone(save(request))),
    append: Effect.fn("CohortStore.append")((nameOrId, entities, options) =>
      alone(append(nameOrId, entities, options))
    ),
    delete: Effect.fn("CohortStore.delete")((nameOrId) =>
      alone(Effect.flatMap(lookup.live(nameOrId), (head) => appendRevision(head, { change: "deleted" })))
    ),
    restore: Effect.fn("CohortStore.restore")((nameOrId, options) => alone(restore(nameOrId, options))),
    rename: Effect.fn("CohortStore.rename")((nameOrId, name) => alone(rename(nameOrId, name))),
    retag: Effect.fn("CohortStore.retag")((nameOrId, { add = [], remove = [] }) =>
      alone(Effect.andThen(checkTags(add), retag(nameOrId, add, remove)))
    ),
    addTags: Effect.fn("CohortStore.addTags")((nameOrId, tags) =>
      alone(Effect.andThen(checkTags(tags), retag(nameOrId, tags, [])))
    ),
    removeTags: Effect.fn("CohortStore.removeTags")((nameOrId, tags) => alone(retag(nameOrId, [], tags))),
    clone: Effect.fn("CohortStore.clone")((nameOrId, name, options) => alone(clone(nameOrId, name, options))),
    merge: Effect.fn("CohortStore.merge")((sources, options) => alone(merge(sources, options)))
  }
  return operations
})

/** JSON text that has been looked at once. */
interface Prepared {
  /** The compact text; of NDJSON the text as it is. */
  readonly text: string
  readonly bytes: number
  readonly sha256: string
}

/** NDJSON, which is no JSON text, is left as it is: reading it tells what is wrong with it. */
const prepareDocument = (
  document: Json,
  recogniser: Recogniser | undefined
): Effect.Effect<Prepared, InvalidRequest> => {
  const tag = recogniser?.rules.tag
  if ((tag !== "documents" && tag !== "lines") || typeof document !== "string" || !document.isWellFormed())
    return prepare(document)
  return Effect.sync(() => ({
    text: document,
    bytes: Buffer.byteLength(document),
    sha256: hash("sha256", document, "hex")
  }))
}

const prepare = (json: Json): Effect.Effect<Prepared, InvalidRequest> =>
  Effect.try({
    try: () => {
      const text = toJsonText(typeof json === "string" ? new RawJson(json) : json)
      // Halves of surrogate pairs have no UTF-8: then the compact text is the source.
      const source = typeof json === "string" && json.isWellFormed() ? json : text
      return { text, bytes: Buffer.byteLength(source), sha256: hash("sha256", source, "hex") }
    },
    catch: (cause) => requestProblem(cause)
  })

const requestProblem = (cause: unknown): InvalidRequest => {
  if (cause instanceof UnsupportedValue) {
    const { cause: inner } = cause
    return cause.code === "raw-json" && inner instanceof JsonProblem
      ? jsonProblem(inner, shownPointer(cause.pointer))
      : new InvalidRequest({
          reason: "unsupported-value",
          pointer: shownPointer(cause.pointer),
          detail: cause.message,
          cause
        })
  }
  if (cause instanceof JsonProblem) return jsonProblem(cause)
  throw cause
}

const jsonProblem = (cause: JsonProblem, pointer = ""): InvalidRequest =>
  new InvalidRequest({
    reason: "bad-json",
    ...(pointer === "" ? {} : { pointer }),
    detail: `${cause.message}, byte ${cause.offset}`,
    cause
  })

const readDocument = (
  writer: BatchWriter,
  document: Prepared,
  recogniser: Recogniser
): Effect.Effect<DocumentResult, InvalidRequest> =>
  Effect.try({
    try: () => {
      const mark = writer.mark()
      const bytes = Buffer.from(document.text)
      const result = writer.documents.readBytes(bytes, recogniser.rules)
      const again = recogniser.again?.(result)
      if (again === undefined) return result
      writer.rollback(mark)
      return writer.documents.readBytes(bytes, again)
    },
    catch: (cause) => requestProblem(cause)
  })

const countsOf = (result: DocumentResult): Readonly<Record<string, number>> =>
  Object.fromEntries(
    result.counts.flatMap((count, code) =>
      count > 0 ? [[kindByCode(code)?.kind ?? JSON_KIND.kind, count] as const] : []
    )
  )

const checkName = (name: string): Effect.Effect<void, InvalidRequest> =>
  isName(name) ? Effect.void : Effect.fail(new InvalidRequest({ reason: "bad-name" }))

const checkTags = (tags: ReadonlyArray<string>): Effect.Effect<void, InvalidRequest> =>
  tags.every((tag) => tag.trim() !== "" && tag.isWellFormed())
    ? Effect.void
    : Effect.fail(new InvalidRequest({ reason: "bad-tag" }))

const distinct = (tags: ReadonlyArray<string>): ReadonlyArray<string> => [...new Set(tags)]

const sameTags = (left: ReadonlyArray<string>, right: ReadonlyArray<string>): boolean =>
  left.length === right.length && left.every((tag, at) => tag === right[at])

const isSame = (head: RevisionState, revision: NewRevision): boolean =>
  head.digest === revision.digest &&
  head.name === revision.name &&
  head.description === revision.description &&
  head.product === revision.product &&
  sameTags(head.tags, revision.tags)

/** A name for the file of a cohort that was made by a program. */
export const fileNameOf = (name: string): string =>
  `${name
    .replace(/[/\\:*?"<>|\p{Cc}]/gu, "_")
    .slice(0, 100)
    .toWellFormed()}.json`
