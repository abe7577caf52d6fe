/** A document that becomes a revision: read, described, compared with the head, and stored unless that says the same. */

import { type DocumentResult, type DocumentRows, documentTime } from "@mallard/entity-serializers"
import { JSON_KIND, kindByCode } from "@mallard/schema"
import { type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Clock, Effect } from "effect"
import { type SqlError } from "effect/sql"
import { randomUUID } from "node:crypto"
import { type NewPart } from "../BatchWriter.ts"
import { InvalidRequest, NameTaken } from "../CohortErrors.ts"
import { fileNameOf, isName, madeUpName, type NameHints, uniqueName } from "../Naming.ts"
import { type DocumentFacts, type Recogniser } from "../Recognise.ts"
import { contentDigest, type NewRevision } from "../Revision.ts"
import type { Saved, SaveRequest } from "../Writing.ts"
import { type Appending, savingTime } from "./appending.ts"
import { type RevisionState } from "./content.ts"
import { type Prepared, readDocument } from "./given.ts"
import { type SmallReading } from "./growing.ts"
import { type OpenCohorts } from "./lookup.ts"

/** A revision to write, of a document that is still to be read. */
export interface Staged {
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

/** Ends a transaction that turned out to have nothing to write. */
class NothingToWrite {
  readonly _tag = "NothingToWrite"
  readonly saved: Saved
  constructor(saved: Saved) {
    this.saved = saved
  }
}

/** Reads a document and writes it as a revision of the cohort that has its name, or of a new one. */
export const stage = (
  { heads, sql }: OpenCohorts,
  { writing }: Appending,
  staged: Staged
): Effect.Effect<Saved, NameTaken | InvalidRequest | SqlError.SqlError> =>
  writing((writer, write) =>
    Effect.gen(function* () {
      const { document, grows, recogniser } = staged
      const result = yield* readDocument(writer, document, recogniser)
      const facts = recogniser.facts(result)
      const described = { ...facts, ...staged.given }
      const name =
        described.name ??
        staged.hints.fallbackName ??
        (yield* unusedName(sql, { types: Object.keys(countsOf(result)), ...staged.hints }))
      yield* checkName(name)
      const head = staged.head ?? (yield* heads.named(name))
      const replaced = head?.change === "deleted" ? undefined : head
      if (replaced !== undefined && !staged.overwrite) {
        return yield* new NameTaken({ wanted: name, cohortId: replaced.cohortId })
      }
      const { part, remarks } = partOf(staged, name, facts.format, result, writer.documents.takeRows())
      const parts = [...(staged.before ?? []), part]
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
        savedAt: yield* savingTime,
        digest: contentDigest(parts)
      }
      const answer = {
        cohortId: revision.cohortId,
        name,
        digest: revision.digest,
        entities: sumOf(grows?.entities, countsOf(result)),
        remarks
      }
      if (replaced !== undefined && isSame(replaced, revision)) {
        const { revisionId, seq } = replaced
        return yield* Effect.fail(new NothingToWrite({ ...answer, revisionId, seq, outcome: "unchanged" }))
      }
      const outcome = replaced === undefined ? ("created" as const) : ("replaced" as const)
      return { ...answer, revisionId: write(revision, parts), seq: revision.seq, outcome }
    })
  ).pipe(Effect.catchTag("NothingToWrite", ({ saved }) => Effect.succeed<Saved>(saved)))

/** Fails for what cannot be the name of a cohort. */
export const checkName = (name: string): Effect.Effect<void, InvalidRequest> =>
  isName(name) ? Effect.void : Effect.fail(new InvalidRequest({ reason: "bad-name" }))

/** Whether two revisions have the same tags in the same order. */
export const sameTags = (left: ReadonlyArray<string>, right: ReadonlyArray<string>): boolean =>
  left.length === right.length && left.every((tag, at) => tag === right[at])

/** The part that a document becomes, and what was remarked when it was read. */
const partOf = (staged: Staged, name: string, format: string, result: DocumentResult, taken: DocumentRows) => {
  const { document, grows, source } = staged
  const { remarks, ...read } = grows?.part({ ...taken, remarks: result.remarks }) ?? {
    ...taken,
    remarks: result.remarks
  }
  const part: NewPart = {
    ...read,
    path: staged.path ?? fileNameOf(name),
    format,
    bytes: source?.bytes ?? document.bytes,
    sourceSha256: source?.sha256 ?? document.sha256,
    digest: grows?.digest ?? result.digest,
    encoding: source?.encoding ?? "utf-8"
  }
  return { part, remarks }
}

/** A name made up from hints that no cohort has. */
const unusedName = Effect.fnUntraced(function* (sql: DuckDbSqlClient, hints: NameHints) {
  const names = new Set(
    (yield* sql.unsafe("SELECT name FROM mallard.heads", []).valuesUnprepared).map(([name]) => String(name))
  )
  return uniqueName(madeUpName(hints, new Date(yield* Clock.currentTimeMillis)), (name) => names.has(name))
})

const countsOf = (result: DocumentResult): Readonly<Record<string, number>> =>
  Object.fromEntries(
    result.counts.flatMap((count, code) =>
      count > 0 ? [[kindByCode(code)?.kind ?? JSON_KIND.kind, count] as const] : []
    )
  )

/** Counts by kind of what is stored and of what has been read, together. */
const sumOf = (
  stored: Readonly<Record<string, number>> = {},
  read: Readonly<Record<string, number>>
): Readonly<Record<string, number>> => {
  const sum = { ...stored }
  for (const [kind, count] of Object.entries(read)) sum[kind] = (sum[kind] ?? 0) + count
  return sum
}

const isSame = (head: RevisionState, revision: NewRevision): boolean =>
  head.digest === revision.digest &&
  head.name === revision.name &&
  head.description === revision.description &&
  head.product === revision.product &&
  sameTags(head.tags, revision.tags)
