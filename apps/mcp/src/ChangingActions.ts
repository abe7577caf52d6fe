/** The work behind the tools that change cohorts. What a user is asked is asked while the database is closed. */
import type { NameTaken, Saved, SaveRequest } from "@mallard/duckdb-store"
import { legacyDocument } from "@mallard/migrator"
import { Effect, Result } from "effect"
import { basename } from "node:path"
import { type Cohorts, waiting } from "./Cohorts.ts"
import { jsonOf, objectOf, size, texts, typeOf } from "./Entities.ts"
import { asData, nameLine, quoted } from "./Marking.ts"
import { explained } from "./Problems.ts"
import type { DeleteResult, SaveResult } from "./Results.ts"
import type { Roots } from "./Roots.ts"
import { type Answer, type AnswerNeeded, type Call, ToolError } from "./ToolServer.ts"
import { countsText, entitiesText, many, remarksText, sum } from "./Wording.ts"

export interface AddRequest {
  readonly name_or_id: string
  readonly entities: Readonly<Record<string, unknown>>
  readonly create?: boolean
  readonly description?: string
  readonly tags?: ReadonlyArray<string>
  readonly batch_number?: number
  readonly total_batches?: number
}

export interface SaveOptions {
  readonly overwrite?: boolean
  readonly confirm?: boolean
}

export const makeChangingActions = (cohorts: Cohorts, roots: Roots | undefined) => {
  /** Saves; when that would replace a cohort, asks before, while the database is closed. */
  const saveAsking: (
    request: SaveRequest,
    options: SaveOptions,
    call: Call
  ) => Effect.Effect<Saved, ToolError | AnswerNeeded> = Effect.fnUntraced(function* (request, options, call) {
    const save = (overwrite: boolean) => cohorts.write(waiting(call), (store) => store.save({ ...request, overwrite }))
    yield* call.progress("Storing", 1, 3)
    const first = yield* explained(
      save(false).pipe(
        Effect.map((saved) => ({ saved })),
        Effect.catchIf(isTaken, (taken) =>
          options.overwrite === true ? Effect.succeed({ taken }) : Effect.fail(taken)
        )
      )
    )
    if ("saved" in first) return first.saved
    const present = yield* explained(cohorts.read(waiting(call), (store) => store.find(first.taken.cohortId)))
    yield* call.confirm(
      `Replace the cohort ${quoted(present.name)} of ${entitiesText(present.entityCount)} by new content? Its former revisions are kept.`,
      options.confirm
    )
    yield* call.progress("Storing", 2, 3)
    return yield* explained(save(true))
  })

  const saved = ({ cohortId, entities, name, outcome, remarks, seq }: Saved): Answer<typeof SaveResult.Type> => {
    const total = sum(entities)
    const words = { created: "Created", replaced: "Replaced", unchanged: "Nothing new in" }[outcome]
    return {
      text: [
        `${words} this cohort: ${countsText(entities)} (revision ${seq}).${remarksText(remarks.length)}`,
        asData([nameLine(name)])
      ].join("\n"),
      structured: {
        cohort_id: cohortId,
        name,
        outcome,
        revision: seq,
        entity_counts: entities,
        entity_count: total,
        remarks: remarks.length
      }
    }
  }

  const save = Effect.fnUntraced(function* (
    request: SaveOptions & {
      readonly name?: string
      readonly entities: Readonly<Record<string, unknown>>
      readonly description?: string
      readonly tags?: ReadonlyArray<string>
      readonly product?: string
    },
    call: Call
  ) {
    const { confirm, entities, overwrite, ...rest } = request
    const options = { ...(confirm === undefined ? {} : { confirm }), ...(overwrite === undefined ? {} : { overwrite }) }
    return saved(yield* saveAsking({ ...rest, entities: yield* jsonOf(entities) }, options, call))
  })

  const add = Effect.fnUntraced(function* (request: AddRequest, call: Call) {
    const lists = yield* texts(request.entities)
    yield* call.progress("Storing", 1, 2)
    const outcome = yield* explained(
      cohorts.write(waiting(call), (store) =>
        Effect.gen(function* () {
          const isThere = yield* store.exists(request.name_or_id)
          if (!isThere && request.create === true) {
            const { description, name_or_id, tags } = request
            const created = yield* store.save({
              name: name_or_id,
              entities: objectOf(lists),
              ...(description === undefined ? {} : { description }),
              ...(tags === undefined ? {} : { tags })
            })
            return { result: created, added: size(lists), already: 0 }
          }
          const present = new Map<string, Set<string>>()
          if (isThere) {
            for (const [type, stored] of yield* store.entitiesAmong(request.name_or_id, [...lists.values()].flat())) {
              const key = typeOf(type)
              present.set(key, new Set([...(present.get(key) ?? []), ...stored]))
            }
          }
          // A call that is made again, because its answer was lost, must not store everything twice.
          const fresh = new Map(
            [...lists].map(([type, list]) => [type, list.filter((one) => !present.get(typeOf(type))?.has(one))])
          )
          const already = size(lists) - size(fresh)
          if (size(fresh) === 0 && already > 0) {
            return { result: yield* store.find(request.name_or_id), added: 0, already }
          }
          const result = yield* store.append(request.name_or_id, objectOf(fresh))
          return { result, added: size(fresh), already }
        })
      )
    )
    const { added, already, result } = outcome
    const { batch_number: batch, total_batches: batches } = request
    const remaining = batch === undefined || batches === undefined ? undefined : Math.max(0, batches - batch)
    const remarks = "remarks" in result ? result.remarks.length : 0
    return {
      text: `Added ${entitiesText(added)} to cohort ${quoted(request.name_or_id)}${
        already === 0 ? "" : `; ${already} were there already, word for word`
      }. It has ${countsText(result.entities)} (revision ${result.seq}).${
        remaining === undefined || remaining === 0 ? "" : ` ${many(remaining, "batch remains", "batches remain")}.`
      }${remarksText(remarks)}`,
      structured: {
        cohort_id: result.cohortId,
        name: result.name,
        outcome: "added",
        revision: result.seq,
        entity_counts: result.entities,
        entity_count: sum(result.entities),
        added,
        already_there: already,
        ...(remaining === undefined ? {} : { batches_remaining: remaining }),
        remarks
      }
    } satisfies Answer<typeof SaveResult.Type>
  })

  const remove = Effect.fnUntraced(function* (
    request: { readonly name_or_id: string; readonly confirm?: boolean },
    call: Call
  ) {
    const found = yield* explained(cohorts.read(waiting(call), (store) => store.find(request.name_or_id)))
    yield* call.confirm(
      `Delete the cohort ${quoted(found.name)} of ${entitiesText(found.entityCount)}? Its revisions are kept, so that it can be restored.`,
      request.confirm
    )
    // By id: what was shown to the user is what is deleted.
    const changed = yield* explained(cohorts.write(waiting(call), (store) => store.delete(found.cohortId)))
    return {
      text: `Deleted cohort ${quoted(request.name_or_id)}. Its revisions are kept: mallard undelete in a terminal brings it back.`,
      structured: { cohort_id: changed.cohortId, name: changed.name, revision: changed.seq }
    } satisfies Answer<typeof DeleteResult.Type>
  })

  const importCohort = Effect.fnUntraced(function* (
    request: SaveOptions & { readonly path?: string; readonly document?: string; readonly name?: string },
    call: Call
  ) {
    const { confirm, document, name, overwrite, path } = request
    const options = { ...(confirm === undefined ? {} : { confirm }), ...(overwrite === undefined ? {} : { overwrite }) }
    const naming = name === undefined ? {} : { name }
    if ((path === undefined) === (document === undefined)) {
      return yield* new ToolError({
        message: roots === undefined ? 'Give the "document".' : 'Give a "path" or a "document", and not both.'
      })
    }
    if (document !== undefined) {
      // Halves of surrogate pairs have no UTF-8, and would be replaced.
      const decoded = document.isWellFormed() ? legacyDocument(Buffer.from(document), "document.json") : undefined
      if (decoded === undefined || Result.isFailure(decoded)) {
        return yield* new ToolError({
          message: "The document holds half a surrogate pair. Write it as an escape, with its backslash escaped too."
        })
      }
      const unnamed = { ...decoded.success, ...naming, fallbackName: undefined, path: undefined }
      return saved(yield* saveAsking(unnamed, options, call))
    }
    if (roots === undefined)
      return yield* new ToolError({ message: "This server may not read files. Give the document." })
    const file = yield* roots.read(path ?? "")
    const read = legacyDocument(file.bytes, basename(file.path))
    if (Result.isFailure(read)) {
      return yield* new ToolError({
        message: `The file is not UTF-8 (byte ${read.failure.offset}). Ask the user to save it as UTF-8.`
      })
    }
    return saved(yield* saveAsking({ ...read.success, ...naming }, options, call))
  })

  return { save, add, remove, importCohort }
}

const isTaken = (error: unknown): error is NameTaken =>
  error instanceof Error && "_tag" in error && error._tag === "NameTaken"
