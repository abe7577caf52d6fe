/** Entities as tools take and give them. */
import { type Cohort, type CohortEntity, type CohortStore, shownPointer } from "@mallard/duckdb-store"
import { toJsonText, UnsupportedValue } from "@mallard/entity-serializers"
import { kindOfTypeKey, kinds, parseJson } from "@mallard/schema"
import { Effect, Predicate } from "effect"
import type { Entity } from "./Results.ts"
import { ToolError } from "./ToolServer.ts"

/** Entities of a page have at most so many characters together; larger ones are told by size only. */
const PAGE_CHARACTERS = 60_000
const ENTITY_CHARACTERS = 20_000

/** Which entities of a cohort, and how many. */
export interface EntitiesRequest {
  readonly fields?: ReadonlyArray<string>
  readonly limit?: number
  readonly cursor?: string
}

/** By the name of a kind, of its table, or of any key that holds such entities. */
export const kindOf = (wanted: string): Effect.Effect<string, ToolError> => {
  const known = kinds.find(({ kind, table }) => kind === wanted || table === wanted) ?? kindOfTypeKey(wanted)
  if (known !== undefined) return Effect.succeed(known.kind)
  if (wanted === "json") return Effect.succeed(wanted)
  return new ToolError({
    message: `There is no such kind. Kinds are: ${kinds.map(({ kind }) => kind).join(", ")}, json.`
  })
}

/** Entities that fit into a page. Those beyond come on the next one. */
export const pageOf = Effect.fnUntraced(function* (
  store: CohortStore["Service"],
  { cohortId }: Cohort,
  { cursor: from, fields, limit = 20 }: EntitiesRequest,
  kind: string | undefined
) {
  const options = { kind, cursor: from, fields }
  const page = yield* store.entities(cohortId, { ...options, limit })
  let room = PAGE_CHARACTERS
  const fitting = page.items.findIndex((one) => {
    room -= textOf(one).length
    return room < 0
  })
  return fitting <= 0 ? page : yield* store.entities(cohortId, { ...options, limit: fitting })
})

export const textOf = ({ text: json }: CohortEntity): string =>
  json.length <= ENTITY_CHARACTERS ? json : `(${json.length} characters; "fields" gives less of it, export_cohort all)`

/** The entity itself where JavaScript keeps every spelling of it, else its text. */
export const structuredEntity = ({ kind, pointer, text: json }: CohortEntity): typeof Entity.Type => {
  if (json.length > ENTITY_CHARACTERS) return { kind, pointer, characters: json.length }
  try {
    const entity = parseJson(json)
    return Predicate.isObject(entity) && JSON.stringify(entity) === json
      ? { kind, pointer, entity: { ...entity } }
      : { kind, pointer, json }
  } catch {
    return { kind, pointer, json }
  }
}

/** Values that came through JSON as text again; what JSON cannot say is refused with its place. */
export const jsonOf = (value: unknown): Effect.Effect<string, ToolError> =>
  Effect.try({
    try: () => toJsonText(value),
    catch: (cause) =>
      new ToolError({
        message:
          cause instanceof UnsupportedValue
            ? `A value cannot be stored exactly (${cause.code}) at ${shownPointer(cause.pointer)}. Give it as text, or use import_cohort with the document, which keeps every spelling.`
            : "The entities are no JSON that can be stored."
      })
  })

type Lists = ReadonlyMap<string, ReadonlyArray<string>>

export const texts = Effect.fnUntraced(function* (entities: Readonly<Record<string, unknown>>) {
  const lists = new Map<string, ReadonlyArray<string>>()
  for (const [type, list] of Object.entries(entities)) {
    lists.set(type, yield* Effect.forEach(Array.isArray(list) ? list : [list], jsonOf))
  }
  if (size(lists) === 0) {
    return yield* new ToolError({
      message: 'There is nothing to add: give lists of entities, as {"patients": [{...}]}.'
    })
  }
  return lists
})

export const objectOf = (lists: Lists): string =>
  `{${[...lists]
    .filter(([, list]) => list.length > 0)
    .map(([type, list]) => `${JSON.stringify(type)}:[${list.join(",")}]`)
    .join(",")}}`

export const size = (lists: Lists): number => [...lists.values()].reduce((total, list) => total + list.length, 0)

/** Types that mean the same kind are one. */
export const typeOf = (key: string): string => kindOfTypeKey(key)?.kind ?? key
