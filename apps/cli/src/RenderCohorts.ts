/** Cohorts as JSON for programs and as text for people. */
import type { Cohort, Part, Revision } from "@mallard/duckdb-store"
import { CliOutput } from "effect/cli"
import type { Paint } from "./Terminal.ts"
import { byKind, counted, entities, grouped, printable, size } from "./Text.ts"

/** A remark as the run that stored a cohort wrote it down. */
export interface StoredRemark {
  readonly code: string
  readonly pointer: string | null
  readonly line: number | null
  readonly column: number | null
  readonly message: string
  readonly part?: string
}

/** One cohort with all that is known of it. */
export interface ShownCohort {
  readonly cohort: Cohort
  readonly history: ReadonlyArray<Revision>
  readonly parts: ReadonlyArray<Part>
  /** Path of the source that it was read from. */
  readonly source: string | undefined
  readonly remarks: ReadonlyArray<StoredRemark>
}

/** One element of the array that `mallard list --json` prints. */
export const cohortJson = (cohort: Cohort) => ({
  name: cohort.name,
  cohort_id: cohort.cohortId,
  seq: cohort.seq,
  description: cohort.description ?? null,
  tags: cohort.tags,
  entities: cohort.entities,
  created_at: cohort.createdAt ?? null,
  updated_at: cohort.updatedAt ?? null,
  saved_at: cohort.savedAt
})

/** What `mallard show --json` prints. */
export const shownJson = ({ cohort, history, parts, remarks, source }: ShownCohort) => ({
  ...cohortJson(cohort),
  product: cohort.product ?? null,
  legacy_id: cohort.legacyId ?? null,
  entity_count: cohort.entityCount,
  digest: cohort.digest,
  source: source ?? null,
  parts: parts.map(({ bytes, digest, encoding, format, path, sourceSha256 }) => ({
    path,
    format,
    bytes,
    encoding,
    digest,
    source_sha256: sourceSha256
  })),
  revisions: history.map(({ change, digest, name, runId, savedAt, seq }) => ({
    seq,
    change,
    name,
    digest,
    run: runId ?? null,
    saved_at: savedAt
  })),
  remarks
})

/** One element of the array that `mallard history --json` prints. */
export const revisionJson = (revision: Revision) => ({
  seq: revision.seq,
  change: revision.change,
  name: revision.name,
  description: revision.description ?? null,
  tags: revision.tags,
  digest: revision.digest,
  run: revision.runId ?? null,
  saved_at: revision.savedAt
})

export const renderHistory = (history: ReadonlyArray<Revision>, paint: Paint): ReadonlyArray<string> =>
  table(
    ["SEQ", "CHANGE", "NAME", "TAGS", "DIGEST", "SAVED (UTC)"],
    history.map(({ change, digest, name, savedAt, seq, tags }) => [
      String(seq),
      change,
      shortened(name, MAX_NAME),
      tags.length === 0 ? "-" : shortened(tags.join(", "), MAX_NAME),
      digest.slice(0, 12),
      savedAt.slice(0, 19).replace("T", " ")
    ]),
    new Set([0]),
    paint
  )

const MAX_NAME = 60

/** Rows of cells in columns; numbers to the right. */
export const table = (
  head: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  right: ReadonlySet<number>,
  paint: Paint
): Array<string> => {
  const widths = head.map((title, column) =>
    Math.max(...[title, ...rows.map((row) => row[column] ?? "")].map(CliOutput.displayWidth))
  )
  const line = (row: ReadonlyArray<string>): string =>
    row
      .map((cell, column) => {
        const space = " ".repeat((widths[column] ?? 0) - CliOutput.displayWidth(cell))
        return right.has(column) ? space + cell : cell + space
      })
      .join("  ")
      .trimEnd()
  return [paint("bold", line(head)), ...rows.map(line)]
}

const shortened = (text: string, most: number): string => {
  const shown = printable(text)
  const characters = [...shown]
  return characters.length <= most ? shown : `${characters.slice(0, most - 1).join("")}…`
}

export const renderList = (
  cohorts: ReadonlyArray<Cohort>,
  database: string,
  paint: Paint,
  isFiltered: boolean,
  isPart: boolean
): ReadonlyArray<string> => {
  if (cohorts.length === 0) return [`No ${isFiltered ? "such " : ""}cohorts in ${printable(database)}`]
  const rows = cohorts.map((cohort) => [
    shortened(cohort.name, MAX_NAME),
    grouped(cohort.entityCount),
    cohort.entityCount === 0 ? "-" : shortened(byKind(cohort.entities), MAX_NAME),
    String(cohort.seq),
    cohort.savedAt.slice(0, 16).replace("T", " ")
  ])
  const total = cohorts.reduce((sum, { entityCount }) => sum + entityCount, 0)
  return [
    ...table(["NAME", "ENTITIES", "KINDS", "SEQ", "SAVED (UTC)"], rows, new Set([1, 3]), paint),
    "",
    `${counted(cohorts.length, "cohort")}, ${entities(total)}${isPart ? " on this page of more" : ""} in ${printable(database)}`
  ]
}

export const renderCohort = (shown: ShownCohort, paint: Paint, isVerbose: boolean): ReadonlyArray<string> => {
  const { cohort, history, parts, remarks, source } = shown
  const facts: ReadonlyArray<readonly [string, string | undefined]> = [
    ["description", cohort.description],
    ["tags", cohort.tags.length === 0 ? undefined : cohort.tags.join(", ")],
    ["product", cohort.product],
    ["id", cohort.cohortId],
    ["legacy id", cohort.legacyId],
    ["created", cohort.createdAt],
    ["updated", cohort.updatedAt],
    ["saved", `${cohort.savedAt} (UTC), revision ${cohort.seq} of ${history.length}`],
    ["source", source],
    ["digest", cohort.digest]
  ]
  const kinds = Object.entries(cohort.entities)
  return [
    paint("bold", printable(cohort.name)),
    ...facts.flatMap(([name, value]) => (value === undefined ? [] : [`  ${name.padEnd(12)}${printable(value)}`])),
    "",
    entities(cohort.entityCount),
    ...table(
      ["", ""],
      kinds.map(([kind, count]) => [`  ${kind}`, grouped(count)]),
      new Set([1]),
      paint
    ).slice(1),
    "",
    counted(parts.length, "file"),
    ...table(
      ["", "", "", ""],
      parts.map((part) => [`  ${printable(part.path)}`, part.format, size(part.bytes), part.encoding]),
      new Set([2]),
      paint
    ).slice(1),
    ...remarkLines(remarks, isVerbose)
  ]
}

const remarkLines = (remarks: ReadonlyArray<StoredRemark>, isVerbose: boolean): ReadonlyArray<string> => {
  if (remarks.length === 0) return []
  const line = ({ code, line, message, part, pointer }: StoredRemark, count: number): string => {
    const place = [part, line === null ? undefined : `line ${line}`, pointer ?? undefined].filter(
      (text) => text !== undefined
    )
    const where = place.length === 0 ? "" : `${count > 1 ? ", as in" : ","} ${place.map(printable).join(", ")}`
    return `  ${grouped(count)} × ${printable(code)}${where}: ${printable(message)}`
  }
  const groups = isVerbose ? remarks.map((remark) => [remark]) : [...Map.groupBy(remarks, ({ code }) => code).values()]
  return [
    "",
    counted(remarks.length, "remark"),
    ...groups.flatMap(([first, ...rest]) => (first === undefined ? [] : [line(first, rest.length + 1)]))
  ]
}
