/** The report as Markdown, for issues, wikis and pull requests. Texts of sources cannot format anything. */
import { sizeText } from "@mallard/duckdb-store/Disk"
import { printablePath } from "@mallard/legacy-json"
import type { RunReport } from "../Report.ts"
import {
  durationText,
  grouped,
  isStopped,
  optionLines,
  originsOf,
  percentText,
  placeOf,
  removedSources,
  summaryOf
} from "./Summary.ts"

/** Rows that a table has before the rest is only counted; the JSON report has all. */
const MAX_ROWS = 500

export const renderMarkdown = (report: RunReport): string => {
  const summary = summaryOf(report)
  const { totals, verification } = report
  const lines: Array<string> = [
    `# ${summary.title}: ${report.outcome}`,
    "",
    ...table(
      ["", ""],
      [
        ["run", report.run],
        ["started", report.started_at ?? ""],
        ["ended", report.ended_at ?? "not known"],
        ["by", [report.environment?.user, report.environment?.host].filter((part) => part !== undefined).join(" on ")],
        ["program", report.program ?? ""],
        ["database", report.database],
        ...optionLines(report)
      ].filter(([, value]) => value !== "")
    ),
    "## Totals",
    "",
    ...(totals.balanced
      ? [`Balanced: ${summary.balance}.`]
      : totals.partial === true
        ? [`Totals: ${summary.balance}.`]
        : [`> [!CAUTION]`, `> **The totals do not balance:** ${summary.balance}.`]),
    "",
    `${grouped(summary.entities)} entities, ${sizeText(totals.bytes)}${
      summary.bytesPerSecond === undefined ? "" : `, ${sizeText(summary.bytesPerSecond)}/s`
    }, ${durationText(report.timings.total)}.`,
    ""
  ]
  for (const note of report.notes ?? []) lines.push(`- ${escaped(note)}`, "")
  if (summary.kinds.length > 0) {
    lines.push(
      ...table(
        ["kind", "entities"],
        summary.kinds.map(([kind, count]) => [kind, grouped(count)])
      )
    )
  }
  lines.push(
    "## Verification",
    "",
    verification.checked === 0 && verification.findings.length === 0
      ? "Nothing was verified in this run."
      : verification.mismatched === 0 && verification.findings.length === 0
        ? `${grouped(verification.checked)} documents rendered from the database, all as in the source.`
        : `**Not verified:** ${grouped(verification.matched)} of ${grouped(verification.checked)} documents came back as in the source.`,
    "",
    ...table(
      ["code", "where", "what"],
      verification.findings.map(({ code, message, where }) => [code, where, message])
    )
  )
  lines.push(
    "## Backup",
    "",
    report.backup === undefined || report.backup === null
      ? "No copy of the sources belongs to this run."
      : `${grouped(report.backup.files)} files, ${sizeText(report.backup.bytes)}, backup ${escaped(report.backup.backup_id)} in ${escaped(report.backup.path)}, restored for proof and compared before anything was written.`,
    ""
  )
  if (report.moved !== undefined) {
    lines.push(
      "## Moved originals",
      "",
      ...table(
        ["original", "now at"],
        report.moved.map(({ path, to }) => [path, to])
      )
    )
  }
  if (summary.problems.length > 0) {
    lines.push(
      "## Not stored",
      "",
      ...table(
        ["source", "where", "code", "why"],
        summary.problems.map(({ item, remark }) => [item.path, placeOf(remark), remark.code, remark.message])
      )
    )
  }
  if (summary.codes.length > 0) {
    lines.push(
      "## Remarks by code",
      "",
      ...table(
        ["code", "count", "meaning"],
        summary.codes.map(({ code, count, message }) => [code, grouped(count), message])
      )
    )
  }
  const quality = report.quality ?? []
  if (quality.length > 0) {
    const { approximate, typed, unmapped } = summary.leaves
    lines.push(
      "## Columns and shapes",
      "",
      `${percentText(typed, typed + approximate + unmapped)} of ${grouped(typed + approximate + unmapped)} leaves stand exactly in typed columns.`,
      "",
      ...table(
        ["kind", "new entities", "shapes", "typed", "best value", "unmapped"],
        quality.map((kind) => {
          const leaves = kind.typed + kind.approximate + kind.unmapped
          return [
            kind.kind,
            grouped(kind.entities),
            grouped(kind.shapes),
            percentText(kind.typed, leaves),
            percentText(kind.approximate, leaves),
            percentText(kind.unmapped, leaves)
          ]
        })
      )
    )
  }
  if ((report.slowest ?? []).length > 0) {
    lines.push(
      "## Slowest sources",
      "",
      ...table(
        ["source", "size", "time"],
        (report.slowest ?? []).map(({ bytes, milliseconds, path }) => [
          path,
          sizeText(bytes),
          durationText(milliseconds)
        ])
      )
    )
  }
  if (report.undone !== undefined) {
    lines.push(
      "## Cohorts",
      "",
      ...table(
        ["cohort", "what was done"],
        report.undone.map(({ action, cohort, reason }) => [
          cohort,
          reason === undefined ? action : `${action}: ${reason}`
        ])
      )
    )
  }
  if (report.items.length > 0) {
    lines.push(
      "## Sources",
      "",
      ...table(
        ["source", "outcome", "cohort", "entities", "size", "remarks"],
        report.items.map((item) => [
          [item.path, ...originsOf(item).map((origin) => `(${origin})`)].join(" "),
          item.outcome,
          item.cohort ?? "",
          isStopped(item) ? "" : grouped(Object.values(item.entities).reduce((sum, count) => sum + count, 0)),
          sizeText(item.bytes),
          item.remark_count === 0 ? "" : grouped(item.remark_count)
        ])
      )
    )
  }
  const removed = removedSources(report)
  if (removed.length > 0) {
    lines.push(
      "## No longer there",
      "",
      ...table(
        ["source", "what is left"],
        removed.map(({ left, path }) => [path, left])
      )
    )
  }
  if (report.ignored.length > 0) {
    lines.push(
      "## Ignored",
      "",
      ...table(
        ["path", "why"],
        report.ignored.map(({ path, reason }) => [path, reason])
      )
    )
  }
  return `${lines
    .join("\n")
    .replace(/\n{3,}/g, "\n\n")
    .trimEnd()}\n`
}

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  if (rows.length === 0) return []
  const line = (cells: ReadonlyArray<string>): string => `| ${cells.map(escaped).join(" | ")} |`
  const rest = rows.length - MAX_ROWS
  return [
    line(head),
    `|${head.map(() => "---").join("|")}|`,
    ...rows.slice(0, MAX_ROWS).map(line),
    ...(rest > 0 ? ["", `…and ${grouped(rest)} more; the JSON report has all.`] : []),
    ""
  ]
}

const escaped = (text: string): string =>
  text === "" ? "" : printablePath(text).replace(/[\\`*_{}[\]<>#|~&!]/g, (character) => `\\${character}`)
