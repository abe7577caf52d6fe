/** What a report says of a source, for each way in which it can end. */
import { lackOf, sizeText } from "@mallard/duckdb-store/Disk"
import { inexactRules } from "@mallard/entity-serializers"
import { type Source, type SourceEncoding, type SourceError, SourceRejected } from "@mallard/legacy-json"
import type { SqlError } from "effect/sql"
import type { UnreadDatabase } from "../HealthSimDatabase.ts"
import type { Planned } from "../MigrateOptions.ts"
import type { ItemReport, Remark } from "../Report.ts"
import type { Rivals } from "./Claims.ts"
import type { Description } from "./describing.ts"
import { bytesOf } from "./sourceFiles.ts"
import type { KnownItem } from "./stored.ts"

/** Why a source is not looked at any further: its bytes are not those of the plan. */
export const changedSincePlan = (planned: Planned | undefined, sha256: string): Remark | undefined =>
  planned === undefined || planned.source_sha256 === sha256
    ? undefined
    : plainRemark("changed-since-plan", "its bytes are not those that the run was planned for; plan again")

/** Why a source is not stored although nothing else is against it: the plan does not store it. */
export const decidedOtherwise = (planned: Planned | undefined): Remark | undefined =>
  planned === undefined || planned.action === "store"
    ? undefined
    : plainRemark(
        "decided-otherwise",
        "it was not to be stored by the plan, and now would be: the database or another source has changed; plan again"
      )

export const entitiesOf = ({ entities }: ItemReport): number =>
  Object.values(entities).reduce((sum, count) => sum + count, 0)

export const reportOf = (source: Source, described: Description): ItemReport => ({
  path: source.path,
  outcome: "migrated",
  format: described.format,
  cohort: described.name,
  cohort_id: null,
  entities: described.entities,
  digest: described.digest,
  source_sha256: described.sourceSha256,
  bytes: bytesOf(source),
  remarks: described.remarks,
  remark_count: described.remarkCount,
  ...(source.kind === "directory" ? { parts: described.parts } : {})
})

const bareItem = (path: string, bytes: number): Omit<ItemReport, "outcome" | "remarks" | "remark_count"> => ({
  path,
  format: null,
  cohort: null,
  cohort_id: null,
  entities: {},
  digest: null,
  source_sha256: null,
  bytes
})

export const rejectedItem = (path: string, bytes: number, remarks: ReadonlyArray<Remark>): ItemReport => ({
  ...bareItem(path, bytes),
  outcome: "rejected",
  remarks,
  remark_count: remarks.length
})

export const tooLargeItem = (source: Source, most: number): ItemReport => {
  const first = source.files.find(({ bytes }) => bytes > most)
  const file = source.kind === "directory" && first !== undefined ? { part: first.name } : {}
  const message = `its file has ${sizeText(first?.bytes ?? 0)}, and ${sizeText(most)} is the most that --max-file-size allows; it was neither read nor copied: raise that, or leave the file out`
  return rejectedItem(source.path, bytesOf(source), [{ ...plainRemark("file-too-large", message), ...file }])
}

export const goneItem = (path: string): ItemReport => ({
  ...bareItem(path, 0),
  outcome: "skipped",
  remarks: [
    plainRemark(
      "gone",
      "it is not there any more; its copy, if one was kept when it was rejected, can be exported and mended"
    )
  ],
  remark_count: 1
})

export const unreadItem = ({ bytes, code, message, outcome, path }: UnreadDatabase): ItemReport => ({
  ...bareItem(path, bytes),
  outcome,
  format: "V18",
  remarks: [plainRemark(code, message)],
  remark_count: 1
})

const lacks = {
  space: "there is no space left on the disk of the database; free some, then run the same command again",
  memory:
    "DuckDB needs more memory than it may have, and could not use the disk beside the database instead; give it more with --memory, then run the same command again",
  permission:
    "the operating system does not permit writing to the database; check who owns its file and folder, then run the same command again",
  other: "the database did not take it; check the disk, then run the same command again"
} as const

export const failedItem = (source: Source, cause: SqlError.SqlError): ItemReport => ({
  ...bareItem(source.path, bytesOf(source)),
  outcome: "failed",
  remarks: [plainRemark("not-stored", lacks[lackOf(cause) ?? "other"])],
  remark_count: 1
})

export const interruptedItem = (source: Source): ItemReport => ({
  ...bareItem(source.path, bytesOf(source)),
  outcome: "skipped",
  remarks: [plainRemark("interrupted", "the run was stopped before its turn; run the same command again")],
  remark_count: 1
})

export const notReachedItem = (source: Source): ItemReport => ({
  ...bareItem(source.path, bytesOf(source)),
  outcome: "skipped",
  remarks: [
    plainRemark(
      "too-many-rejects",
      "it was not reached: more sources were rejected before it than --max-rejects allows"
    )
  ],
  remark_count: 1
})

/** What becomes of an item that was stored, by this run or one that it went on with, and that `--max-rejects` undid. */
export const takenBackItem = (item: ItemReport): ItemReport => ({
  ...item,
  outcome: "skipped",
  cohort_id: null,
  remarks: [
    plainRemark("undone", "it was stored and taken back, because more sources were rejected than --max-rejects allows")
  ],
  remark_count: 1
})

export const unchangedItem = (source: Source, known: KnownItem, sha256: string): ItemReport => ({
  ...bareItem(source.path, bytesOf(source)),
  outcome: "unchanged",
  format: known.format,
  cohort: known.cohort,
  cohort_id: known.cohortId,
  entities: known.entities,
  digest: known.digest,
  source_sha256: sha256,
  remarks: [],
  remark_count: 0
})

export const plainRemark = (code: string, message: string): Remark => ({
  code,
  pointer: null,
  line: null,
  column: null,
  message
})

/** The report of a source whose name others claim for other content. */
export const contestedItem = (report: ItemReport, { first, more }: Rivals): ItemReport => {
  const others = `${first.join(", ")}${more > 0 ? ` and ${more} more` : ""}`
  const message = `other sources of this run claim the same cohort name for other content, so this run stored nothing new under it: ${others}; rename all but one`
  const remarks = [plainRemark("name-conflict", message)]
  return { ...report, outcome: "rejected", cohort_id: null, remarks, remark_count: 1 }
}

const LINES_HINT = "; if each line is a document of its own, give the file a name that ends in .ndjson"

/** Whether what follows the document begins a line, as the next of several documents would. */
const isLikeLines = ({ code, column, line }: SourceRejected): boolean =>
  code === "trailing-content" && column === 1 && line > 1

export const sourceRemark = (error: SourceError | SourceRejected): Remark =>
  error instanceof SourceRejected
    ? {
        code: error.code,
        pointer: null,
        line: error.line,
        column: error.column,
        message: `${error.reason} (byte ${error.offset})${isLikeLines(error) ? LINES_HINT : ""}`
      }
    : plainRemark(error.reason, error.detail)

export const encodingRemark = (encoding: SourceEncoding): Remark | undefined => {
  if (encoding === "utf-8") return undefined
  return encoding === "utf-8-bom"
    ? plainRemark("byte-order-mark", "the file starts with a byte order mark, which is not part of the document")
    : plainRemark("transcoded", "the file is UTF-16; the document is kept as UTF-8")
}

export const valueMessage = (code: string): string => {
  if (code === "duplicate-key") return "its object has this key more than once; all are kept, the last one counts"
  if (code === "path-superseded")
    return "another path of higher priority gave the column's value; this one is kept beside it"
  return inexactRules[code as keyof typeof inexactRules] ?? code
}
