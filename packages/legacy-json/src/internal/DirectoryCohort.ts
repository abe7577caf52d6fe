/** The rule that says which folders are one cohort in several files. */

import { kindOfTypeKey, normaliseTypeKey } from "@mallard/schema"
import { parse } from "node:path"
import { resourceTypes } from "../Fhir.ts"
import { domainOf } from "../Sdtm.ts"
import { type MemberKind, type Outline } from "./Outline.ts"

export interface DirectoryCohort {
  /** The name of the file that describes the cohort and holds none of its entities. */
  readonly metadata: string | undefined
}

/**
 * Decides from the names of a folder's JSON files, and only if these allow it from their outlines, whether together they
 * are one cohort: either one of them is its metadata, or all are named after parts and none is a cohort of its own.
 */
export const directoryCohortOf = (
  names: ReadonlyArray<string>,
  outlineOf: (name: string) => Outline
): DirectoryCohort | undefined => {
  const metadata = metadataNames
    .flatMap((metadataName) => names.filter((name) => name.toLowerCase() === metadataName))
    .find((name) => isMetadata(outlineOf(name)))
  if (
    metadata !== undefined &&
    names.length > 1 &&
    names.every((name) => name === metadata || !outlineOf(name).members.has("entities"))
  ) {
    return { metadata }
  }
  const isMetadataName = (name: string) => metadataNames.includes(name.toLowerCase())
  const areParts =
    names.length > 0 &&
    names.every((name) => isMetadataName(name) || isPartName(parse(name).name)) &&
    names.every((name) => {
      const outline = outlineOf(name)
      // Damaged metadata is a part, lest the files it describes be taken for cohorts of their own.
      return outline.isBroken || (!isMetadataName(name) && !isWholeCohort(outline))
    })
  return areParts ? { metadata: undefined } : undefined
}

const metadataNames: ReadonlyArray<string> = ["cohort.json", "scenario.json", "metadata.json"]

const nameKeys = ["name", "cohort_name", "scenario_name"]
const identityKeys = [...nameKeys, "cohort_id", "scenario_id"]

/** The keys of metadata under which there may be objects and lists; anything else of that sort is content. */
const metadataContainers: ReadonlySet<string> = new Set([
  "cohort",
  "scenario",
  "metadata",
  "tags",
  "files",
  "entity_count",
  "entity_counts",
  "provenance_summary"
])

const isMetadata = (outline: Outline): boolean =>
  outline.kind === "object" &&
  outline.isWhole &&
  [...outline.members].every(([key, kind]) => !isContainer(kind) || metadataContainers.has(key)) &&
  (outline.members.get("cohort") === "object" ||
    outline.members.get("scenario") === "object" ||
    identityKeys.some((key) => outline.members.get(key) === "text"))

const isContainer = (kind: MemberKind): boolean => kind === "object" || kind === "array"

const isWholeCohort = (outline: Outline): boolean =>
  outline.members.has("entities") ||
  // A resource's name is that of a place or the like.
  (!outline.members.has("resourceType") &&
    (outline.metadata.get("name") === "text" || nameKeys.some((key) => outline.members.get(key) === "text")))

/** The parts that are no kind of entity: the products' files, and what HealthSim keeps as plain JSON. */
const otherParts: ReadonlySet<string> = new Set([
  "core",
  "patientsim",
  "membersim",
  "rxmembersim",
  "trialsim",
  "populationsim",
  "networksim",
  "care_gap",
  "care_gaps",
  "disposition_event",
  "disposition_events",
  "dur_alert",
  "dur_alerts",
  "facility_assignment",
  "facility_assignments",
  "network_contract",
  "network_contracts",
  "pcp_assignment",
  "pcp_assignments",
  "referral",
  "referrals",
  "site",
  "sites",
  "study",
  "studies",
  "treatment_arm",
  "treatment_arms",
  "visit_schedule",
  "visit_schedules",
  // What bulk exports of FHIR name files after.
  ...resourceTypes.map(normaliseTypeKey)
])

/** Transaction formats that may follow the name of a part, as in `pharmacy-claim-ncpdp.json`. */
const formatSuffix = /_(?:ncpdp|fhir|hl7|x12|270|271|277|278|834|835|837[pid]?)$/

const isPartName = (stem: string): boolean => {
  const part = normaliseTypeKey(stem.replaceAll("-", "_")).replace(formatSuffix, "")
  return (
    kindOfTypeKey(part) !== undefined ||
    otherParts.has(part) ||
    otherParts.has(stem.toLowerCase()) ||
    domainOf(stem) !== undefined
  )
}
