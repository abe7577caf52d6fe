/**
 * What a legacy document is: which variant of HealthSim's files, where its entities stand, and what it says about its
 * cohort. Recognition goes by type keys at document level, declared children and declared containers, never by
 * searching.
 */
import {
  anyEncounter,
  capturedValue,
  captureRule,
  cohortRules,
  type Collection,
  type DocumentRules,
  type KindChoice,
  metaRules,
  type Rule,
  type Rules
} from "@mallard/entity-serializers"
import { type EntityKind, kindByName, kindOfTypeKey, kinds, normaliseTypeKey, parsePath } from "@mallard/schema"
import { bundleDocument, entryRule, kindOfResource, ruleOfResource } from "./Fhir.ts"
import { domainOf, isRecord, recordsOf } from "./Sdtm.ts"

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
  | "V18"
  | "lines"
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
  V18: "cohort of a HealthSim database",
  lines: "documents line by line",
  metadata: "metadata of a directory",
  unknown: "any other document"
}

/** Texts that say how the rest of a document is to be read. */
const TELLING_KEYS = new Set(["resourceType", "domain"])

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

/** Rules for a document with keys at its root. */
const keyRules = (): Rules =>
  cohortRules((key, type) => {
    if (TELLING_KEYS.has(key)) return captureRule
    if (key === "entry") return entryRule
    const container = containers.get(key)
    if (container?.tag === "object") return { ...container, otherwise: type ?? anyEncounter }
    return type ?? anyEncounter
  })

/** What the root of a document shows before it is read by rules. */
export interface RootHint {
  /** File name without its extension. */
  readonly stem: string
  /** Whether the file may hold several documents, each on lines of its own. */
  readonly lines: boolean
  /** Whether the root, or the first of several, is an array. */
  readonly isArray: boolean
  /** Keys of the first object of a root array, or of the first line; otherwise none. */
  readonly keys: ReadonlyArray<string>
  /** What the root object says under a key, as far as the first bytes show it. */
  readonly said: (key: string) => string | undefined
}

/** How a document is to be read, and what it then is if that is known already. */
export interface Guess {
  readonly rules: DocumentRules
  readonly variant: Variant | undefined
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

/** What rows are: FHIR's resources, SDTM's records, or entities of the kind that the file's name says, else their keys. */
const rowsOf = ({ keys, stem }: RootHint) => {
  if (keys.includes("resourceType")) return { kind: kindOfResource, variant: "V15" } as const
  const domain = domainOf(stem)
  if (isRecord(keys) && (domain !== undefined || keys.some((key) => key.toUpperCase() === "DOMAIN"))) {
    return { kind: recordsOf(domain), variant: "V14" } as const
  }
  const kind = kindOfStem(stem) ?? kindOfKeys(keys)
  return kind === undefined ? undefined : ({ kind: kind.code, variant: "V13" } as const)
}

/** Rules to try first. */
export const guessOf = (hint: RootHint): Guess => {
  const rows = hint.isArray || !hint.lines || areRows(hint) ? rowsOf(hint) : undefined
  if (!hint.lines) return { rules: { tag: "keys", rules: keyRules(), array: rows?.kind }, variant: rows?.variant }
  return rows === undefined || hint.isArray
    ? { rules: { tag: "documents", rule: lineRule(rows?.kind) }, variant: rows?.variant }
    : { rules: { tag: "lines", kind: rows.kind }, variant: rows.variant }
}

/** Whether the lines of a file are rows, by its first one; otherwise each is a document with entities in it. */
const areRows = ({ keys, said, stem }: RootHint): boolean => {
  if (keys.includes("resourceType")) return said("resourceType") !== "Bundle"
  if (keys.includes("entities")) return false
  if (isRecord(keys) || kindOfKeys(keys) !== undefined || WRAPPER_KEYS.every((key) => keys.includes(key))) return true
  return kindOfStem(stem) !== undefined && !keys.some((key) => kindOfTypeKey(key) !== undefined)
}

const WRAPPER_KEYS = ["entity_id", "entity_type", "data"]

/** The rule for one document of several. */
const lineRule = (elements: KindChoice | undefined): Rule => ({
  tag: "choose",
  rule: (look) => ruleOfResource(look) ?? { tag: "object", rules: keyRules() },
  ...(elements === undefined ? {} : { elements })
})

/** Rules for a large document, of which only the first bytes can be looked at before it is read. */
export const guessOfLarge = (hint: RootHint): Guess => {
  const type = hint.said("resourceType")
  if (hint.lines) return guessOf(hint)
  if (type !== undefined) return { rules: type === "Bundle" ? bundleDocument : literalRules, variant: "V15" }
  const domain = hint.said("domain")
  if (domain !== undefined && domainOf(domain) !== undefined) {
    return { rules: recordsDocument(domain), variant: undefined }
  }
  return guessOf(hint)
}

const recordsDocument = (domain: string): DocumentRules => {
  const rules = keyRules()
  const records: Rule = { tag: "entities", kind: recordsOf(domainOf(domain)), objects: false }
  return { tag: "keys", rules: (key) => (key === "records" ? records : rules(key)), array: undefined }
}

/** Rules for a document of which everything is text. */
export const literalRules: DocumentRules = { tag: "keys", rules: metaRules, array: undefined }

/** What the first reading of a document showed. */
export interface RootFacts {
  readonly rootKeys: ReadonlyArray<string> | undefined
  readonly collections: ReadonlyArray<Collection>
  readonly captures: ReadonlyMap<string, string>
}

const NCPDP_KEYS = ["transaction_header", "claim_segment"]

/**
 * Rules to read a document again by, when the first reading shows that it is something else: a FHIR resource, whose keys
 * only look like ours, SDTM records, an answer of the agent's tools, or a document that is one entity as a whole. Undefined
 * when the first reading stands.
 */
export const secondRules = (facts: RootFacts, stem: string): DocumentRules | undefined => {
  const { captures, collections, rootKeys } = facts
  if (rootKeys === undefined) return undefined
  if (rootKeys.includes("resourceType")) {
    const type = capturedValue(captures.get("/resourceType"))
    if (type === "Bundle") return collections.every(isOfEntry) ? undefined : bundleDocument
    if (typeof type === "string" && type !== "") return { tag: "entity", kind: kindOfResource }
    return collections.length === 0 ? undefined : literalRules
  }
  const domain = capturedValue(captures.get("/domain"))
  if (rootKeys.includes("records") && typeof domain === "string" && domainOf(domain) !== undefined)
    return recordsDocument(domain)
  if (collections.length === 0 && isAgentAnswer(rootKeys, captures)) return answerDocument()
  if (NCPDP_KEYS.every((key) => rootKeys.includes(key)))
    return { tag: "entity", kind: kindByName("pharmacy_claim").code }
  if (collections.length > 0 || rootKeys.includes("entities")) return undefined
  if (WRAPPER_KEYS.every((key) => rootKeys.includes(key))) {
    const kind = kindOfStem(stem)
    return kind === undefined ? undefined : { tag: "entity", kind: kind.code }
  }
  // A cohort's metadata also has an id and a name; an entity says more.
  const kind = rootKeys.some((key) => key === "tags" || key === "name") ? undefined : kindOfKeys(rootKeys)
  return kind === undefined ? undefined : { tag: "entity", kind: kind.code }
}

const isOfEntry = ({ pointer }: Collection): boolean => pointer.startsWith("/entry/")

/** Whether a document is an export or an answer of the agent's tools, with anything at all under `data`. */
const isAgentAnswer = (rootKeys: ReadonlyArray<string>, captures: ReadonlyMap<string, string>): boolean =>
  rootKeys.includes("data") &&
  (captures.get("/metadata/source") === '"healthsim-agent"' ||
    (rootKeys.includes("status") && rootKeys.includes("metadata") && rootKeys.every((key) => ANSWER_KEYS.has(key))))

const ANSWER_KEYS = new Set(["status", "data", "metadata", "message", "error", "errors", "warnings"])

/** What an answer says, read as the document that it is inside of it. */
const answerDocument = (): DocumentRules => {
  const rules = keyRules()
  const data: Rule = {
    tag: "choose",
    rule: (look) => ruleOfResource(look) ?? { tag: "object", rules: keyRules() },
    elements: (look) => kindOfResource(look) || (kindOfKeys(look.keys())?.code ?? 0)
  }
  return { tag: "keys", rules: (key) => (key === "data" ? data : rules(key)), array: undefined }
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
  if (isAgentAnswer(rootKeys, captures)) return "V16"
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
  const domain = capturedValue(captures.get("/domain"))
  if (has("records") && typeof domain === "string" && (collections.length === 0 || domainOf(domain) !== undefined))
    return "V14"
  if (collections.length === 0) return "unknown"
  const lists = collections
    .filter(({ list, pointer }) => list && pointer.lastIndexOf("/") === 0)
    .map(({ pointer }) => pointer.slice(1))
  if (lists.length < collections.length) return "V5"
  return lists.every((type) => kindOfTypeKey(type)?.kind === normaliseTypeKey(type)) ? "V4" : "V3"
}
