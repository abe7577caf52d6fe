/** What the rules for content find in the rows of a batch, where that stands in the files, and what it does to a report. */
import { type BatchWriter, duplicateIds, findViolations } from "@mallard/duckdb-store"
import { mayHoldLines } from "@mallard/entity-serializers"
import { placesOf, readWholeFile, type Source, toUtf8, type ValuePlace } from "@mallard/legacy-json"
import { Effect, Option, Result } from "effect"
import type { ItemReport, Remark } from "../Report.ts"
import { checksOf, duplicateLevel, type Level, type LevelledCheck, remarkOfCheck, type Rules } from "../Validation.ts"
import { plainRemark } from "./items.ts"
import { bytesOf } from "./sourceFiles.ts"

/** What is asked of the rows of each batch. */
export interface ContentRules {
  readonly checks: ReadonlyArray<LevelledCheck>
  readonly duplicates: Level
  /** Whether every remark is a reason to reject. */
  readonly isStrict: boolean
}

/** Something that a rule found, and whether it is a reason to reject. */
export interface FoundRemark {
  /** Number of the file in its source. */
  readonly part: number
  readonly remark: Remark
  readonly isReason: boolean
}

export const contentRules = (rules: Rules | undefined, isStrict: boolean): ContentRules => ({
  checks: checksOf(rules),
  duplicates: duplicateLevel(rules),
  isStrict
})

/** Whether anything that is asked of the rows can be a reason to reject their source. */
export const canReject = ({ checks, duplicates, isStrict }: ContentRules): boolean =>
  [duplicates, ...checks.map(({ level }) => level)].some(
    (level) => level === "reject" || (isStrict && level === "warn")
  )

/** Whether something that was found is a reason to reject. */
export const hasReason = (found: ReadonlyArray<FoundRemark>): boolean => found.some(({ isReason }) => isReason)

/** What the rules find in the published rows of the current transaction, by revision, from the revision `from` on. */
export const remarksByRevision = Effect.fnUntraced(function* (
  writer: BatchWriter,
  from: number,
  { checks, duplicates, isStrict }: ContentRules
) {
  const found = new Map<number, Array<FoundRemark>>()
  const add = (revisionId: number, part: number, remark: Remark, level: "warn" | "reject"): void => {
    const list = found.get(revisionId) ?? []
    found.set(revisionId, list)
    list.push({ part, remark, isReason: isStrict || level === "reject" })
  }
  if (duplicates !== "off") {
    const message = "an entity with the same id stands before it"
    const kept = isStrict || duplicates === "reject" ? message : `${message}; both are kept`
    for (const [revisionId, places] of yield* duplicateIds(writer, from)) {
      for (const { part, pointer } of places) {
        add(revisionId, part, { ...plainRemark("duplicate-id", kept), pointer }, duplicates)
      }
    }
  }
  for (const { check, part, pointer, revisionId } of yield* findViolations(writer, from, checks)) {
    const { code, message } = remarkOfCheck(check)
    add(revisionId, part, { ...plainRemark(code, message), pointer }, check.level)
  }
  return found
})

/** Bytes of a source that is read once more, so that what rules found in its rows is told by line. */
const LOCATED_BYTES = 64 << 20

/**
 * Says of what was found in rows in which file of the source and on which line it stands. For the line, files are read
 * again, so a source of more than `LOCATED_BYTES` goes without.
 */
export const located = Effect.fnUntraced(function* (source: Source, found: ReadonlyArray<FoundRemark>) {
  const places = new Map<number, ReadonlyMap<string, ValuePlace>>()
  if (bytesOf(source) <= LOCATED_BYTES) {
    for (const part of new Set(found.map((one) => one.part))) {
      const file = source.files[part]
      if (file === undefined || file.open !== undefined) continue
      const bytes = yield* Effect.option(readWholeFile(file.path, { maxBytes: file.bytes, expected: file.identity }))
      const text = Option.flatMap(bytes, (raw) => Option.getSuccess(Result.map(toUtf8(raw), (utf8) => utf8.bytes)))
      if (Option.isNone(text)) continue
      const pointers = found.flatMap(({ part: own, remark }) => (own === part ? [remark.pointer ?? ""] : []))
      places.set(part, placesOf(text.value, pointers, mayHoldLines(file.name)))
    }
  }
  return found.map((one): FoundRemark => {
    const place = places.get(one.part)?.get(one.remark.pointer ?? "")
    const file = source.kind === "directory" ? source.files[one.part] : undefined
    return {
      ...one,
      remark: {
        ...one.remark,
        ...(place === undefined ? {} : { line: place.line, column: place.column }),
        ...(file === undefined ? {} : { part: file.name })
      }
    }
  })
})

/** The report of an item that is stored with what was found in it. */
export const withRemarks = (report: ItemReport, found: ReadonlyArray<FoundRemark>): ItemReport => ({
  ...report,
  remarks: [...report.remarks, ...found.map(({ remark }) => remark)],
  remark_count: report.remark_count + found.length
})

/** The report of an item that is rejected for what is in it; the reasons come first. */
export const rejectedFor = (report: ItemReport, found: ReadonlyArray<FoundRemark>): ItemReport => {
  const remarks = [...found.filter(({ isReason }) => isReason), ...found.filter(({ isReason }) => !isReason)].map(
    ({ remark }) => remark
  )
  return { ...report, outcome: "rejected", cohort_id: null, remarks, remark_count: remarks.length }
}
