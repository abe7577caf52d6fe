/**
 * What a legacy document is: which variant of HealthSim's files, where its entities stand, and what it says about its
 * cohort. Recognition goes by type keys at document level, declared children and declared containers, never by
 * searching.
 */
import type { Collection, DocumentRules, Rule, Rules } from "@mallard/entity-serializers"
import {
  kindByName,
  kindOfTypeKey,
  kinds,
  type EntityKind,
  normaliseTypeKey,
  parsePath,
  trialTypeKeys
} from "@mallard/schema"

/** The variants, as `facts` of the format name them; `unknown` is any other JSON document. */
export type Variant =
  | "V1"
  | "V2"
  | "V3"
  | "V4"
  | "V5"
  | "V6"
  | "V7"
  | "V8"
  | "V9"
  | "V10"
  | "V11"
  | "V12"
  | "V13"
  | "V14"
  | "V15"
  | "V16"
  | "V17"
  | "metadata"
  | "unknown"

/** One line per variant, for help and reports. */
export const variantNames: Readonly<Record<Variant, string>> = {
  V1: "cohort file with plural types",
  V2: "cohort file with singular types",
  V3: "top-level plural lists",
  V4: "top-level singular lists",
  V5: "conversation document",
  V6: "workspace file",
  V7: "scenario file 1.0",
  V8: "auto-persist export",
  V9: "saver directory",
  V10: "saver file",
  V11: "saved directory",
  V12: "PatientSim summary export",
  V13: "product export",
  V14: "SDTM records",
  V15: "FHIR resources",
  V16: "agent export",
  V17: "saved load answer",
  metadata: "metadata of a directory",
  unknown: "any other document"
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
  "scenario_name",
  "schema_version",
  "exported_at",
  "source",
  "format"
])
const META_OBJECTS = new Set(["metadata", "cohort", "scenario"])

const capture: Rule = { tag: "capture" }
const metaRules: Rules = (key) => (META_KEYS.has(key) ? capture : undefined)

/** Keys that say where a trial's visits are meant, not a patient's. */
const TRIAL_KEYS = new Set(["study", "subjects", "subject", "sites", "treatment_arms", "protocol"])

const kindRule = (kind: EntityKind, key: string): Rule => {
  const required = kind.requires.find(({ typeKeys }) => typeKeys.includes(key))
  return required === undefined
    ? { tag: "entities", kind: kind.code }
    : { tag: "entities", kind: kind.code, objectHas: required.oneOf, arrays: true }
}

/** The rule tree of the declared containers, by key. */
const containerRules = (): ReadonlyMap<string, Rule> => {
  interface Branch {
    readonly keys: Map<string, Branch>
    kind: number | undefined
  }
  const root: Branch = { keys: new Map(), kind: undefined }
  for (const kind of kinds) {
    for (const container of kind.containers) {
      let branch = root
      for (const step of parsePath(container)) {
        if (step._tag !== "Key") continue
        let next = branch.keys.get(step.key)
        if (next === undefined) branch.keys.set(step.key, (next = { keys: new Map(), kind: undefined }))
        branch = next
      }
      branch.kind = kind.code
    }
  }
  const build = (branch: Branch): Rule => {
    if (branch.keys.size === 0) return { tag: "entities", kind: branch.kind!, objects: false }
    const inner = new Map([...branch.keys].map(([key, next]) => [key, build(next)]))
    return { tag: "object", rules: (key) => inner.get(key), when: [...branch.keys.keys()] }
  }
  return new Map([...root.keys].map(([key, branch]) => [key, build(branch)]))
}

const containers = containerRules()

/** An object at document level that says which encounter it is, whatever its key. */
const anyEncounter: Rule = {
  tag: "entities",
  kind: kindByName("encounter").code,
  objectHas: ["encounter_id", "encounterId"],
  arrays: false
}

/** Lists of types that no kind knows are kept element by element; anything else there stays text. */
const unknownType: Rule = { tag: "entities", kind: 0, objects: false }

const typeRule = (key: string, trial: boolean): Rule | undefined => {
  const normal = normaliseTypeKey(key)
  const trialKind =
    trial && Object.hasOwn(trialTypeKeys, normal) ? trialTypeKeys[normal as keyof typeof trialTypeKeys] : undefined
  const kind = trialKind === undefined ? kindOfTypeKey(key) : kindByName(trialKind)
  return kind === undefined ? undefined : kindRule(kind, normal)
}

/** Rules for a document with keys at its root. */
const keyRules = (): Rules => {
  let trial = false
  const entitiesRules: Rules = (key) => {
    const rule = typeRule(key, trial)
    if (TRIAL_KEYS.has(normaliseTypeKey(key))) trial = true
    return rule ?? unknownType
  }
  const entities: Rule = { tag: "object", rules: entitiesRules }
  return (key) => {
    if (key === "entities") return entities
    if (META_OBJECTS.has(key)) return { tag: "object", rules: metaRules, otherwise: capture }
    if (META_KEYS.has(key)) return capture
    if (TRIAL_KEYS.has(normaliseTypeKey(key))) trial = true
    const type = typeRule(key, trial)
    const container = containers.get(key)
    if (container?.tag === "object")
      return type === undefined ? { ...container, otherwise: anyEncounter } : { ...container, otherwise: type }
    return type ?? anyEncounter
  }
}

/** What the root of a document shows before it is read by rules. */
export interface RootHint {
  /** File name without its extension. */
  readonly stem: string
  /** Keys of the first object of a root array, or of the root object. */
  readonly keys: ReadonlyArray<string>
}

/** The kind that a file's stem names, as in `patients` or `pharmacy-claims-2024`. */
export const kindOfStem = (stem: string): EntityKind | undefined => kindOfTypeKey(stem.replace(/[-\s]/g, "_"))

/** Top-level path keys of each kind, with how telling each is: keys that few kinds know tell more. */
const signatures = (() => {
  const byKind = kinds.map((kind) => ({
    kind,
    keys: new Set(kind.columns.flatMap((column) => column.paths.map((path) => path.split(/[.[]/)[0]!)))
  }))
  const weight = new Map<string, number>()
  for (const { keys } of byKind) for (const key of keys) weight.set(key, (weight.get(key) ?? 0) + 1)
  return byKind.map(({ kind, keys }) => ({ kind, keys, weight }))
})()

const MIN_TELLING_KEYS = 2

/** The kind whose columns know most of an object's keys; undefined when that is not plain. */
export const kindOfKeys = (keys: ReadonlyArray<string>): EntityKind | undefined => {
  let best: { readonly kind: EntityKind; readonly score: number } | undefined
  let runnerUp = 0
  for (const { kind, keys: known, weight } of signatures) {
    const hits = keys.filter((key) => known.has(key))
    const hasId = kind.idPaths.some((path) => path.split("+").every((one) => keys.includes(one.split(/[.[]/)[0]!)))
    if (hits.length < MIN_TELLING_KEYS || !hasId || hits.length * 2 < keys.length) continue
    const score = hits.reduce((sum, key) => sum + 1 / weight.get(key)!, hits.length)
    if (best === undefined || score > best.score) {
      runnerUp = best?.score ?? 0
      best = { kind, score }
    } else if (score > runnerUp) runnerUp = score
  }
  return best !== undefined && best.score > runnerUp ? best.kind : undefined
}

/** Rules to try first. Root arrays hold rows of the kind that the file's name says, else the kind that their keys show. */
export const rulesFor = (hint: RootHint): DocumentRules => {
  const kind = hint.keys.includes("resourceType") ? undefined : (kindOfStem(hint.stem) ?? kindOfKeys(hint.keys))
  return { tag: "keys", rules: keyRules(), array: kind?.code }
}

/** Rules for a document of which everything is text. */
export const literalRules: DocumentRules = { tag: "keys", rules: metaRules, array: undefined }

/** What the first reading of a document showed. */
export interface RootFacts {
  readonly rootKeys: ReadonlyArray<string> | undefined
  readonly collections: ReadonlyArray<Collection>
}

const NCPDP_KEYS = ["transaction_header", "claim_segment"]

/**
 * Rules to read a document again by, when the first reading shows that it is something else: a FHIR resource, whose keys
 * only look like ours, or a document that is one entity as a whole. Undefined when the first reading stands.
 */
export const secondRules = (facts: RootFacts, stem: string): DocumentRules | undefined => {
  const { rootKeys } = facts
  if (rootKeys === undefined) return undefined
  if (rootKeys.includes("resourceType")) return facts.collections.length === 0 ? undefined : literalRules
  if (NCPDP_KEYS.every((key) => rootKeys.includes(key)))
    return { tag: "entity", kind: kindByName("pharmacy_claim").code }
  if (facts.collections.length > 0 || rootKeys.includes("entities")) return undefined
  if (rootKeys.includes("entity_id") && rootKeys.includes("entity_type") && rootKeys.includes("data")) {
    const kind = kindOfStem(stem)
    return kind === undefined ? undefined : { tag: "entity", kind: kind.code }
  }
  // A cohort's metadata also has an id and a name; an entity says more.
  const kind = rootKeys.some((key) => key === "tags" || key === "name") ? undefined : kindOfKeys(rootKeys)
  return kind === undefined ? undefined : { tag: "entity", kind: kind.code }
}

/** The variant of a document that has been read. */
export const variantOf = (
  rootKeys: ReadonlyArray<string> | undefined,
  collections: ReadonlyArray<Collection>,
  captures: ReadonlyMap<string, string>,
  whole: boolean
): Variant => {
  if (rootKeys === undefined) return collections.length > 0 ? "V13" : "unknown"
  const has = (key: string): boolean => rootKeys.includes(key)
  if (has("resourceType")) return "V15"
  if (whole) return NCPDP_KEYS.every(has) ? "V11" : "V13"
  if (captures.has("/metadata/workspace_id")) return "V6"
  if ((has("cohort") || has("scenario")) && has("entities")) return has("version") ? "V16" : "V10"
  if (has("cohort_name") || has("scenario_name")) return "V8"
  if (captures.get("/metadata/source") === '"healthsim-agent"' && has("data")) return "V16"
  if (captures.get("/schema_version") === '"1.0"' && (has("scenario_id") || has("cohort_id"))) return "V7"
  if (has("entities")) {
    if (has("entity_count") && has("cohort_id")) return "V17"
    if (has("id") && has("metadata")) return "V16"
    const types = collections
      .filter(({ pointer }) => pointer.startsWith("/entities/"))
      .map(({ pointer }) => pointer.slice("/entities/".length))
    return types.length > 0 && types.every((type) => kindOfTypeKey(type)?.kind === normaliseTypeKey(type)) ? "V2" : "V1"
  }
  if (captures.get("/metadata/format") === '"PatientSim JSON"') return "V12"
  if (collections.length === 0) return has("domain") && has("records") ? "V14" : "unknown"
  const lists = collections
    .filter(({ list, pointer }) => list && pointer.lastIndexOf("/") === 0)
    .map(({ pointer }) => pointer.slice(1))
  if (lists.length < collections.length) return "V5"
  return lists.every((type) => kindOfTypeKey(type)?.kind === normaliseTypeKey(type)) ? "V4" : "V3"
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

const PLACES = ["", "/metadata", "/cohort", "/scenario"]

const parsed = (text: string | undefined): unknown => {
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch {
    // Python's NaN and the like: no text, so of no use here.
    return undefined
  }
}

const textAt = (captures: ReadonlyMap<string, string>, keys: ReadonlyArray<string>): string | undefined => {
  for (const place of PLACES) {
    for (const key of keys) {
      const value = parsed(captures.get(`${place}/${key}`))
      if (typeof value === "string" && value !== "") return value
    }
  }
  return undefined
}

/** Reads a cohort's metadata from what was captured; lone surrogates make a text unusable. */
export const metaOf = (captures: ReadonlyMap<string, string>): CohortMeta => {
  const wellFormed = (text: string | undefined): string | undefined =>
    text?.isWellFormed() === true ? text : undefined
  const name = wellFormed(textAt(captures, ["name", "cohort_name", "scenario_name"]))
  const named = PLACES.some((place) =>
    ["name", "cohort_name", "scenario_name"].some((key) => captures.has(`${place}/${key}`))
  )
  const tags = PLACES.map((place) => parsed(captures.get(`${place}/tags`))).find(Array.isArray) ?? []
  return {
    name,
    description: wellFormed(textAt(captures, ["description"])),
    tags: [...new Set(tags.filter((tag): tag is string => typeof tag === "string" && tag.isWellFormed()))],
    product: wellFormed(textAt(captures, ["product"])),
    legacyId: wellFormed(textAt(captures, ["workspace_id", "cohort_id", "scenario_id", "id"])),
    createdAt: textAt(captures, ["created_at"]),
    updatedAt: textAt(captures, ["updated_at"]),
    unusableName: named && name === undefined
  }
}
