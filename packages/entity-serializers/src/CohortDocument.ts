/**
 * What documents of cohorts have in common, whoever wrote them: at which keys entities stand, and what a document says
 * about its cohort.
 */
import { isTrialKey, kindByName, kindOfTrialKey, kindOfTypeKey, normaliseTypeKey } from "@mallard/schema"
import { daysFromCivil, END_DAY, FIRST_DAY } from "./Codec.ts"
import type { Rule, Rules } from "./Document.ts"

const META_KEYS: ReadonlySet<string> = new Set([
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
  "scenario_name",
  "schema_version",
  "exported_at",
  "source",
  "format"
])
const META_OBJECTS: ReadonlySet<string> = new Set(["metadata", "cohort", "scenario"])

export const captureRule: Rule = { tag: "capture" }

/** The rules of an object that tells of the cohort, and of a document that tells nothing else. */
export const metaRules: Rules = (key) => (META_KEYS.has(key) ? captureRule : undefined)

/** An object at document level that says which encounter it is, whatever its key. */
export const anyEncounter: Rule = {
  tag: "entities",
  kind: kindByName("encounter").code,
  objectHas: ["encounter_id", "encounterId"],
  arrays: false
}

/** Lists of types that no kind knows are kept element by element; anything else there stays text. */
const unknownType: Rule = { tag: "entities", kind: 0, objects: false }

const typeRule = (key: string, isTrial: boolean): Rule | undefined => {
  const kind = isTrial ? kindOfTrialKey(key) : kindOfTypeKey(key)
  if (kind === undefined) return undefined
  const normal = normaliseTypeKey(key)
  const required = kind.requires.find(({ typeKeys }) => typeKeys.includes(normal))
  return required === undefined
    ? { tag: "entities", kind: kind.code }
    : { tag: "entities", kind: kind.code, objectHas: required.oneOf, arrays: true }
}

/**
 * Rules for one reading of a document with type keys at its root, below `entities`, or both: a key of clinical trials
 * changes what those after it name. About keys of the root that tell nothing of the cohort `ruleAt` is asked, with the rule
 * of the type that the key names.
 */
export const cohortRules = (ruleAt: (key: string, type: Rule | undefined) => Rule | undefined): Rules => {
  let isTrial = false
  const entities: Rules = (key) => {
    const rule = typeRule(key, isTrial)
    if (isTrialKey(key)) isTrial = true
    return rule ?? unknownType
  }
  return (key) => {
    if (key === "entities") return { tag: "object", rules: entities }
    if (META_OBJECTS.has(key)) return { tag: "object", rules: metaRules, otherwise: captureRule }
    if (META_KEYS.has(key)) return captureRule
    if (isTrialKey(key)) isTrial = true
    return ruleAt(key, typeRule(key, isTrial))
  }
}

/** What a document says about its cohort; what it does not say, or says in no usable form, is undefined. */
export interface CohortMeta {
  readonly name: string | undefined
  readonly description: string | undefined
  /** Distinct texts in order. */
  readonly tags: ReadonlyArray<string>
  readonly product: string | undefined
  readonly legacyId: string | undefined
  /** As written. */
  readonly createdAt: string | undefined
  readonly updatedAt: string | undefined
  /** Whether there was a name that is no text, or empty. */
  readonly unusableName: boolean
}

const ROOT_PLACES = ["", "/metadata", "/cohort", "/scenario"]
/** Below `data` they stand in answers that were saved as they came. */
const PLACES = [...ROOT_PLACES, ...ROOT_PLACES.map((place) => `/data${place}`)]
const NAME_KEYS = ["name", "cohort_name", "scenario_name"]

/** The value of a captured text; undefined for none, and for Python's NaN and the like, which are of no use here. */
export const capturedValue = (text: string | undefined): unknown => {
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Reads what captured texts, by pointer, say about a cohort; lone surrogates make a text unusable. */
export const cohortMeta = (captures: ReadonlyMap<string, string>): CohortMeta => {
  const text = (...keys: ReadonlyArray<string>): string | undefined => {
    for (const place of PLACES) {
      for (const key of keys) {
        const value = capturedValue(captures.get(`${place}/${key}`))
        if (typeof value === "string" && value !== "") return value
      }
    }
    return undefined
  }
  const wellFormed = (value: string | undefined): string | undefined =>
    value?.isWellFormed() === true ? value : undefined
  const name = wellFormed(text(...NAME_KEYS))
  const isNamed = PLACES.some((place) => NAME_KEYS.some((key) => captures.has(`${place}/${key}`)))
  const tags = PLACES.map((place) => capturedValue(captures.get(`${place}/tags`))).find(Array.isArray) ?? []
  return {
    name,
    description: wellFormed(text("description")),
    tags: [...new Set(tags.filter((tag): tag is string => typeof tag === "string" && tag.isWellFormed()))],
    product: wellFormed(text("product")),
    legacyId: wellFormed(text("workspace_id", "cohort_id", "scenario_id", "id")),
    createdAt: text("created_at"),
    updatedAt: text("updated_at"),
    unusableName: isNamed && name === undefined
  }
}

const TIME =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?)?$/

/**
 * Microseconds since 1970-01-01 of a document's own time: without zone as written, with an offset the instant. Undefined
 * outside the years 1 to 9999, into which an offset may lead.
 */
export const documentTime = (text: string | undefined): bigint | undefined => {
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
  if (seconds < FIRST_DAY * 86_400 || seconds >= END_DAY * 86_400) return undefined
  return BigInt(seconds) * 1_000_000n + BigInt((match[7] ?? "").padEnd(6, "0").slice(0, 6))
}
