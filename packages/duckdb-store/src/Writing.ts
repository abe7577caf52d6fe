/**
 * Changes to cohorts. Each appends one revision, in one transaction, and one at a time: what is looked up before a change
 * still holds when it is made. Nothing that is stored is altered.
 */

import { RawJson, toJsonText, type ValueRemark } from "@mallard/entity-serializers"
import { Effect, Semaphore } from "effect"
import { type SqlError } from "effect/sql"
import { randomUUID } from "node:crypto"
import { type CohortNotFound, InvalidRequest, NameTaken } from "./CohortErrors.ts"
import { type Appending, makeAppending, savingTime } from "./internal/appending.ts"
import { countsOfContents, membersOfContent, type RevisionState, revisionsOf, storedParts } from "./internal/content.ts"
import { prepare, prepareDocument } from "./internal/given.ts"
import { type Addition, grownPart, grownText, growthOf, smallText } from "./internal/growing.ts"
import { type Heads } from "./internal/heads.ts"
import { elementsOf, isList, isObject, membersOf } from "./internal/jsonScan.ts"
import { type OpenCohorts } from "./internal/lookup.ts"
import { checkName, sameTags, stage } from "./internal/staging.ts"
import { type ConflictRule, mergeMembers, type MergeReport } from "./Merging.ts"
import { type NameHints, uniqueName } from "./Naming.ts"
import { cohortRecogniser, type Recogniser, storedRecogniser } from "./Recognise.ts"
import { type NewRevision } from "./Revision.ts"

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

/** The cohorts of a database, and how revisions are appended to them. */
interface ChangingCohorts extends OpenCohorts {
  readonly appending: Appending
}

/** The changes of an open database. One is made at a time; others wait. */
export const makeWriting = Effect.fnUntraced(function* (open: OpenCohorts) {
  const cohorts: ChangingCohorts = { ...open, appending: makeAppending(open.sql, open.heads) }
  const oneAtATime = yield* Semaphore.make(1)
  const alone = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> => oneAtATime.withPermits(1)(effect)

  const writing: Writing = {
    save: Effect.fn("CohortStore.save")((request) => alone(save(cohorts, request))),
    append: Effect.fn("CohortStore.append")((nameOrId, entities, options) =>
      alone(append(cohorts, nameOrId, entities, options))
    ),
    delete: Effect.fn("CohortStore.delete")((nameOrId) => alone(remove(cohorts, nameOrId))),
    restore: Effect.fn("CohortStore.restore")((nameOrId, options) => alone(restore(cohorts, nameOrId, options))),
    rename: Effect.fn("CohortStore.rename")((nameOrId, name) => alone(rename(cohorts, nameOrId, name))),
    retag: Effect.fn("CohortStore.retag")((nameOrId, { add = [], remove = [] }) =>
      alone(Effect.andThen(checkTags(add), retag(cohorts, nameOrId, add, remove)))
    ),
    addTags: Effect.fn("CohortStore.addTags")((nameOrId, tags) =>
      alone(Effect.andThen(checkTags(tags), retag(cohorts, nameOrId, tags, [])))
    ),
    removeTags: Effect.fn("CohortStore.removeTags")((nameOrId, tags) => alone(retag(cohorts, nameOrId, [], tags))),
    clone: Effect.fn("CohortStore.clone")((nameOrId, name, options) => alone(clone(cohorts, nameOrId, name, options))),
    merge: Effect.fn("CohortStore.merge")((sources, options) => alone(merge(cohorts, sources, options)))
  }
  return writing
})

const save = Effect.fnUntraced(function* (cohorts: ChangingCohorts, request: SaveRequest) {
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
  return yield* stage(cohorts, cohorts.appending, {
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

const append = Effect.fnUntraced(function* (
  cohorts: ChangingCohorts,
  nameOrId: string,
  entities: Json,
  options: AppendOptions = {}
) {
  const { lookup, sql } = cohorts
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
  if (head === undefined) return yield* save(cohorts, { name: nameOrId, entities })
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
    return yield* stage(cohorts, cohorts.appending, {
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
  return yield* stage(cohorts, cohorts.appending, {
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

const remove = Effect.fnUntraced(function* ({ appending, lookup }: ChangingCohorts, nameOrId: string) {
  return changedTo(yield* appending.repeat(yield* lookup.live(nameOrId), { change: "deleted" }))
})

const restore = Effect.fnUntraced(function* (
  { appending, heads, lookup, sql }: ChangingCohorts,
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
  yield* freeFor(heads, name, head.cohortId)
  return changedTo(yield* appending.repeat(head, { change: "restored", name }, base))
})

const rename = Effect.fnUntraced(function* (
  { appending, heads, lookup }: ChangingCohorts,
  nameOrId: string,
  name: string
) {
  yield* checkName(name)
  const head = yield* lookup.live(nameOrId)
  if (head.name === name) return unchanged(head)
  yield* freeFor(heads, name, head.cohortId)
  return changedTo(yield* appending.repeat(head, { name }))
})

const retag = Effect.fnUntraced(function* (
  { appending, lookup }: ChangingCohorts,
  nameOrId: string,
  add: ReadonlyArray<string>,
  remove: ReadonlyArray<string>
) {
  const head = yield* lookup.live(nameOrId)
  const kept = head.tags.filter((tag) => add.includes(tag) || !remove.includes(tag))
  const tags = distinct([...kept, ...add])
  return sameTags(tags, head.tags) ? unchanged(head) : changedTo(yield* appending.repeat(head, { tags }))
})

const clone = Effect.fnUntraced(function* (
  { appending, heads, lookup, sql }: ChangingCohorts,
  nameOrId: string,
  name: string,
  options: CloneOptions = {}
) {
  yield* checkName(name)
  if (options.tags !== undefined) yield* checkTags(options.tags)
  const source = yield* lookup.live(nameOrId)
  const former = yield* freeFor(heads, name, undefined)
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
    savedAt: yield* savingTime,
    digest: source.digest
  }
  const revisionId = yield* appending.writing((_, save) => Effect.sync(() => save(revision, parts)))
  return { cohortId: revision.cohortId, name, revisionId, seq: revision.seq, isChanged: true }
})

const merge = Effect.fnUntraced(function* (
  cohorts: ChangingCohorts,
  sources: ReadonlyArray<string>,
  options: MergeOptions
) {
  const { lookup, sql } = cohorts
  const heads = yield* Effect.forEach(sources, lookup.live)
  const different = [...new Map(heads.map((head) => [head.cohortId, head])).values()]
  if (different.length < 2) return yield* new InvalidRequest({ reason: "too-few-sources" })
  const contents = yield* Effect.forEach(different, ({ contentId }) => membersOfContent(sql, contentId))
  const { entities, ...report } = mergeMembers(contents, options.conflict ?? "skip")
  const lists = Object.fromEntries(
    [...entities].map(([type, texts]) => [type, new RawJson(`[${texts.join(",")}]`)] as const)
  )
  const products = new Set(different.map(({ product }) => product))
  const saved = yield* save(cohorts, {
    name: options.name,
    entities: lists,
    description: options.description,
    tags: options.tags ?? distinct(different.flatMap(({ tags }) => tags)),
    product: products.size === 1 ? different[0]?.product : undefined,
    overwrite: options.overwrite
  })
  return { ...saved, ...report }
})

/** Fails when another cohort that is not deleted has the name. */
const freeFor = Effect.fnUntraced(function* (heads: Heads, name: string, cohortId: string | undefined) {
  const holder = yield* heads.named(name)
  if (holder !== undefined && holder.change !== "deleted" && holder.cohortId !== cohortId) {
    return yield* new NameTaken({ wanted: name, cohortId: holder.cohortId })
  }
  return holder
})

const unchanged = (head: RevisionState): Changed => ({
  cohortId: head.cohortId,
  name: head.name,
  revisionId: head.revisionId,
  seq: head.seq,
  isChanged: false
})

const changedTo = ({ cohortId, name, revisionId, seq }: RevisionState): Changed => ({
  cohortId,
  name,
  revisionId,
  seq,
  isChanged: true
})

const checkTags = (tags: ReadonlyArray<string>): Effect.Effect<void, InvalidRequest> =>
  // Programs without types call this too.
  Array.isArray(tags) && tags.every((tag) => typeof tag === "string" && tag.trim() !== "" && tag.isWellFormed())
    ? Effect.void
    : Effect.fail(new InvalidRequest({ reason: "bad-tag" }))

const distinct = (tags: ReadonlyArray<string>): ReadonlyArray<string> => [...new Set(tags)]
