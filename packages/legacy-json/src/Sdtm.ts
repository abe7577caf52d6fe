/**
 * SDTM: records of a clinical trial by domain, as bare arrays in files named after the domain or under `records`. A record
 * says its domain itself (`DOMAIN`), else its file or document does; records of domains without a kind are elements of
 * the kind `json`.
 */
import type { KindChoice } from "@mallard/entity-serializers"
import { kindByName, type KindName } from "@mallard/schema"

const kindsOfDomains: Readonly<Record<string, KindName | undefined>> = {
  DM: "subject",
  AE: "adverse_event",
  EX: "exposure",
  SV: "trial_visit",
  LB: "lab_result",
  VS: "vital_sign",
  CM: "medication",
  MH: "diagnosis",
  DS: undefined
}

/** The domain that a file's stem or a document names, in upper case. */
export const domainOf = (name: string): string | undefined => {
  const domain = name.toUpperCase()
  return Object.hasOwn(kindsOfDomains, domain) ? domain : undefined
}

const subjectKeys = new Set(["STUDYID", "USUBJID", "DOMAIN"])

/** Whether the keys are those of a record. */
export const isRecord = (keys: ReadonlyArray<string>): boolean => keys.some((key) => subjectKeys.has(key.toUpperCase()))

/** The kinds of records of a domain, unless they say another; undefined where only they say. */
export const recordsOf =
  (domain: string | undefined): KindChoice =>
  (look) => {
    const own = (look.string("DOMAIN") ?? look.string("domain") ?? domain ?? "").toUpperCase()
    const kind = Object.hasOwn(kindsOfDomains, own) ? kindsOfDomains[own] : undefined
    return kind === undefined ? 0 : kindByName(kind).code
  }
