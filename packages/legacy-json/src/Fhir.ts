/**
 * FHIR: which kind a resource is, and where the resources of a Bundle stand. A resource is known by a text under
 * `resourceType`, wherever that key stands in it; resources of types without a kind are elements of the kind `json`.
 */
import type { Look, Rule, Rules } from "@mallard/entity-serializers"
import { kindByName, type KindName } from "@mallard/schema"
import { Predicate } from "effect"

/** The kinds of resources; observations say theirs in `category`. */
const kindsOfTypes: Readonly<Record<string, KindName>> = {
  Patient: "patient",
  Encounter: "encounter",
  Condition: "diagnosis",
  Procedure: "procedure",
  MedicationRequest: "medication",
  MedicationStatement: "medication",
  MedicationAdministration: "medication",
  Observation: "lab_result",
  ServiceRequest: "order",
  Claim: "claim",
  AllergyIntolerance: "allergy",
  Practitioner: "provider",
  Location: "facility",
  Person: "person"
}

/** The types of resources with a kind, as file names of bulk exports have them. */
export const resourceTypes: ReadonlyArray<string> = Object.keys(kindsOfTypes)

/** The kind of a resource; 0 for other types, and for what is no resource. */
export const kindOfResource = (look: Look): number => {
  const type = look.string("resourceType")
  const kind = type === undefined || !Object.hasOwn(kindsOfTypes, type) ? undefined : kindsOfTypes[type]
  if (kind === undefined) return 0
  return kindByName(type === "Observation" && isVitalSign(look) ? "vital_sign" : kind).code
}

/** Bundles inside of Bundles are opened to this depth: answers to batches have one, and nobody needs more. */
const MAX_BUNDLES = 4

/** The rule for what may be a resource: a Bundle is opened, any other resource is one entity. */
const resourceOf =
  (level: number) =>
  (look: Look): Rule | undefined => {
    const type = look.string("resourceType")
    if (type === undefined) return undefined
    return type === "Bundle" && level < MAX_BUNDLES
      ? { tag: "object", rules: bundleRules(level) }
      : { tag: "entities", kind: kindOfResource(look) }
  }

/** The same for an object that is not inside of a Bundle. */
export const ruleOfResource = resourceOf(0)

const entriesOf = (level: number): Rule => ({
  tag: "each",
  rule: {
    tag: "object",
    rules: (key) => (key === "resource" ? { tag: "choose", rule: resourceOf(level + 1) } : undefined)
  }
})

/** The resources of `entry`, and those of Bundles inside of it. */
export const entryRule: Rule = entriesOf(0)

const bundleRules =
  (level: number): Rules =>
  (key) =>
    key === "entry" ? entriesOf(level) : captured.has(key) ? { tag: "capture" } : undefined

const captured = new Set(["id", "resourceType"])

/** A Bundle that is a whole document. */
export const bundleDocument = { tag: "keys", rules: bundleRules(0), array: undefined } as const

const isVitalSign = (look: Look): boolean => {
  const category = look.value("category")
  return (Array.isArray(category) ? category : [category]).some(
    (one: unknown) =>
      Predicate.hasProperty(one, "coding") &&
      Array.isArray(one.coding) &&
      one.coding.some((coding: unknown) => Predicate.hasProperty(coding, "code") && coding.code === "vital-signs")
  )
}
