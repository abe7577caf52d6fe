/**
 * How the entities of a document that is saved are found, and what the document says about its cohort. The rules here
 * know cohort files, entities by type beside or below `entities`; programs that read legacy files of every sort bring
 * rules of their own.
 */

import type { Collection, DocumentResult, DocumentRules, Rule, Rules } from "@mallard/entity-serializers"
import { daysFromCivil, pointerToken } from "@mallard/entity-serializers"
import { isTrialKey, kindByName, kindOfTrialKey, kindOfTypeKey, normaliseTypeKey } from "@mallard/schema"

/** What a document says about its cohort; undefined where it says nothing of use. */
export interface DocumentFacts {
  readonly name: string | undefined
  readonly description: string | undefined
  readonly tags: ReadonlyArray<string>
  readonly product: string | undefined
  readonly legacyId: string | undefined
  /** As written. */
  readonly createdAt: string | undefined
  readonly updatedAt: string | undefined
  /** What sort of document it is, for `parts.format`. */
  readonly format: string
}

/** How to read a document. */
export interface Recogniser {
  readonly rules: DocumentRules
  /** Other rules, when the first reading shows that they fit better. */
  readonly again?: (result: DocumentResult) => DocumentRules | undefined
  readonly facts: (result: DocumentResult) => DocumentFacts
}

const META_KEYS = new Set([
  "name",
  "description",
  "tags",
  "created_at",
  "updated_at",
  "product",
  "id",
  "cohort_id",
  "scenario_id",
  "workspace_id",
  "cohort_name",
  "scenario_name"
])

const META_PLACES: ReadonlySet<string> = new Set(["metadata", "cohort", "scenario"])

const capture: Rule = { tag: "capture" }

const metaRules: Rules = (key) => (META_KEYS.has(key) ? capture : undefined)

const typeRule = (key: string, isTrial: boolean): Rule | undefined => {
  const kind = isTrial ? kindOfTrialKey(key) : kindOfTypeKey(key)
  if (kind === undefined) return undefined
  const normal = normaliseTypeKey(key)
  const required = kind.requires.find(({ typeKeys }) => typeKeys.includes(normal))
  return required === undefined
    ? { tag: "entities", kind: kind.code }
    : { tag: "entities", kind: kind.code, objectHas: required.oneOf, arrays: true }
}

const unknownType: Rule = { tag: "entities", kind: 0, objects: false }

const anyEncounter: Rule = {
  tag: "entities",
  kind: kindByName("encounter").code,
  objectHas: ["encounter_id", "encounterId"],
  arrays: false
}

/** Rules for one reading of a document with type keys at its root, below `entities`, or both. */
const keyRules = (): Rules => {
  let isTrial = false
  const see = (key: string): void => {
    if (isTrialKey(key)) isTrial = true
  }
  const entities: Rules = (key) => {
    const rule = typeRule(key, isTrial)
    see(key)
    return rule ?? unknownType
  }
  return (key) => {
    if (key === "entities") return { tag: "object", rules: entities }
    if (META_PLACES.has(key)) return { tag: "object", rules: metaRules, otherwise: capture }
    if (META_KEYS.has(key)) return capture
    see(key)
    return typeRule(key, isTrial) ?? anyEncounter
  }
}

/** Knows cohort files: type keys at the root or below `entities`; a list at the root is a list of `array`, if given. */
export const cohortRecogniser = (options: { readonly array?: string; readonly format?: string } = {}): Recogniser => ({
  rules: {
    tag: "keys",
    rules: keyRules(),
    array: options.array === undefined ? undefined : kindOfTypeKey(options.array)?.code
  },
  facts: (result) => factsOf(result.captures, options.format ?? "saved")
})

/** A place of a stored document, and of which kind what stands there is: 0 when it is empty or of no known kind. */
export interface StoredCollection extends Collection {
  readonly kind: number
}

/** Knows the places where a stored document has entities already; everywhere else the rules of cohort files count. */
export const storedRecogniser = (stored: ReadonlyArray<StoredCollection>, format: string): Recogniser => {
  const byPointer = new Map(stored.map((collection) => [collection.pointer, collection]))
  const inner = new Set<string>()
  for (const { pointer } of stored) {
    for (let end = pointer.lastIndexOf("/"); end > 0; end = pointer.lastIndexOf("/", end - 1))
      inner.add(pointer.slice(0, end))
  }
  const below =
    (place: string, others: Rules): Rules =>
    (key) => {
      const pointer = place + pointerToken(key)
      const known = byPointer.get(pointer)
      const other = others(key)
      if (known !== undefined) {
        // A list without entities of a known kind does not tell what it is for; its key may.
        const isTold = known.kind === 0 && other?.tag === "entities" && other.arrays !== false
        return { tag: "entities", kind: isTold ? other.kind : known.kind }
      }
      if (!inner.has(pointer)) return other
      return { tag: "object", rules: below(pointer, other?.tag === "object" ? other.rules : () => undefined) }
    }
  const root = byPointer.get("")
  return {
    rules:
      root?.list === false
        ? { tag: "entity", kind: root.kind }
        : { tag: "keys", rules: below("", keyRules()), array: root?.kind },
    facts: (result) => factsOf(result.captures, format)
  }
}

const PLACES = ["", "/metadata", "/cohort", "/scenario"]

/** Reads what captured texts say about a cohort. */
const factsOf = (captures: ReadonlyMap<string, string>, format: string): DocumentFacts => {
  const text = (...keys: ReadonlyArray<string>): string | undefined => {
    for (const place of PLACES) {
      for (const key of keys) {
        const value = parsed(captures.get(`${place}/${key}`))
        if (typeof value === "string" && value !== "") return value
      }
    }
    return undefined
  }
  const wellFormed = (value: string | undefined): string | undefined =>
    value?.isWellFormed() === true ? value : undefined
  const tags = PLACES.map((place) => parsed(captures.get(`${place}/tags`))).find(Array.isArray) ?? []
  return {
    name: wellFormed(text("name", "cohort_name", "scenario_name")),
    description: wellFormed(text("description")),
    tags: [...new Set(tags.filter((tag): tag is string => typeof tag === "string" && tag.isWellFormed()))],
    product: wellFormed(text("product")),
    legacyId: wellFormed(text("workspace_id", "cohort_id", "scenario_id", "id")),
    createdAt: text("created_at"),
    updatedAt: text("updated_at"),
    format
  }
}

const parsed = (text: string | undefined): unknown => {
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch {
    // Python's NaN is no text, so of no use here.
    return undefined
  }
}

const TIME = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?$/

/** Microseconds since 1970-01-01 of a document's own time: without zone as written, with an offset the instant. */
export const microsOf = (text: string | undefined): bigint | undefined => {
  const match = TIME.exec(text ?? "")
  if (match === null) return undefined
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match
    .slice(1, 7)
    .map((part) => Number(part ?? 0))
  const isDate =
    year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= new Date(Date.UTC(year, month, 0)).getUTCDate()
  if (!isDate || hour > 23 || minute > 59 || second > 59) return undefined
  const zone = match[8]
  const offset =
    zone === undefined || zone === "Z"
      ? 0
      : (zone.startsWith("-") ? -1 : 1) * (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2)))
  const seconds = daysFromCivil(year, month, day) * 86_400 + hour * 3600 + (minute - offset) * 60 + second
  return BigInt(seconds) * 1_000_000n + BigInt((match[7] ?? "").padEnd(6, "0").slice(0, 6))
}
