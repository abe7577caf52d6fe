/** All entity kinds, and the ways to find one. */

import type { EntityKind } from "./Kind.ts"
import {
  allergy,
  clinicalNote,
  diagnosis,
  encounter,
  labResult,
  medication,
  order,
  patient,
  procedure,
  vitalSign
} from "./kinds/Clinical.ts"
import { accumulator, authorization, claim, claimLine, member } from "./kinds/Payer.ts"
import { pharmacyClaim, prescription, rxMember } from "./kinds/Pharmacy.ts"
import { facility, person, provider } from "./kinds/Reference.ts"
import { adverseEvent, exposure, subject, trialVisit } from "./kinds/Trial.ts"
import { normaliseTypeKey } from "./TypeKey.ts"

const declared = [
  patient,
  encounter,
  diagnosis,
  procedure,
  medication,
  labResult,
  vitalSign,
  clinicalNote,
  order,
  member,
  claim,
  claimLine,
  prescription,
  pharmacyClaim,
  subject,
  trialVisit,
  adverseEvent,
  exposure,
  rxMember,
  person,
  provider,
  facility,
  allergy,
  authorization,
  accumulator
] as const

/** The declared kind of each name. */
export type KindByName = { readonly [K in (typeof declared)[number] as K["kind"]]: K }

/** The names of the kinds. */
export type KindName = keyof KindByName

/** One of the kinds, told by no more than that. */
export interface KnownKind extends EntityKind {
  readonly kind: KindName
}

/** All kinds in the order of their codes. */
export const kinds: ReadonlyArray<KnownKind> = declared

/** The internal kind of elements that are no object or of no known kind. */
export const JSON_KIND = { kind: "json", code: 0, table: "json_values" } as const

/** Type keys that mean another kind in documents of a clinical trial. */
export const trialTypeKeys: Readonly<Record<string, string>> = { visit: "trial_visit", visits: "trial_visit" }

const byName: ReadonlyMap<string, KnownKind> = new Map(kinds.map((kind) => [kind.kind, kind]))
const byCode: ReadonlyMap<number, KnownKind> = new Map(kinds.map((kind) => [kind.code, kind]))
const byTypeKey: ReadonlyMap<string, KnownKind> = new Map(
  kinds.flatMap((kind) => kind.typeKeys.map((key) => [key, kind] as const))
)

/** The kind with this name, as in `"claim_line"`. */
export function kindByName<const Name extends KindName>(name: Name): KindByName[Name]
export function kindByName(name: string): KnownKind | undefined
export function kindByName(name: string): KnownKind | undefined {
  return byName.get(name)
}

/** The kind with this code; `undefined` for 0, which is `JSON_KIND`. */
export const kindByCode = (code: number): KnownKind | undefined => byCode.get(code)

/** The kind that a key of a document stands for, in any of its spellings: `labResults`, `LAB_RESULTS`, `lab`. */
export const kindOfTypeKey = (key: string): KnownKind | undefined => byTypeKey.get(normaliseTypeKey(key))

const trialKeys = new Set(["study", "subjects", "subject", "sites", "treatment_arms", "protocol"])

/** Whether a document with this key tells of a clinical trial. */
export const isTrialKey = (key: string): boolean => trialKeys.has(normaliseTypeKey(key))

/** The same as `kindOfTypeKey` in a document of a clinical trial: its visits are not a patient's. */
export const kindOfTrialKey = (key: string): KnownKind | undefined => {
  const normal = normaliseTypeKey(key)
  return Object.hasOwn(trialTypeKeys, normal) ? byName.get(trialTypeKeys[normal] ?? "") : byTypeKey.get(normal)
}
