/** The report as Markdown, for issues, wikis and pull requests. Texts of sources cannot format anything. */
import { sizeText } from "@mallard/duckdb-store/Disk"
import { printablePath } from "@mallard/legacy-json"
import type { RunReport } from "../Report.ts"
import {
  deedOf,
  durationText,
  grouped,
  isStopped,
  optionLines,
  originsOf,
  percentText,
  placeOf,
  removedSources,
  type ReportSummary,
  summaryOf
} from "./Summary.ts"

/** Rows that a table has before the rest is only counted; the JSON report has all. */
const MAX_ROWS = 500

/** The sections that have something to say, in the order in which people ask. */
export const renderMarkdown = (report: RunReport): string => {
  const summary = summaryOf(report)
  const deed = deedOf(report)
  const lines = [
    ...headLines(report, summary),
    ...(deed === undefined
      ? [...totalsLines(report, summary), ...verificationLines(report), ...backupLines(report)]
      : [escaped(deed), "", ...noteLines(report)]),
    ...movedLines(report),
    ...problemLines(summary),
    ...codeLines(summary),
    ...qualityLines(report, summary),
    ...slowestLines(report),
    ...undoneLines(report),
    ...sourceLines(report),
    ...removedLines(report),
    ...ignoredLines(report)
  ]
  return `${lines
    .join("\n")
    .replace(/\n{3,}/g, "\n\n")
    .trimEnd()}\n`
}

type Lines = ReadonlyArray<string>

const section = (title: string, ...lines: Lines): Lines => [`## ${title}`, "", ...lines]

const headLines = (report: RunReport, summary: ReportSummary): Lines => [
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
  )
]

const noteLines = ({ notes = [] }: RunReport): Lines => notes.flatMap((note) => [`- ${escaped(note)}`, ""])

const totalsLines = (report: RunReport, summary: ReportSummary): Lines => {
  const { totals } = report
  return section(
    "Totals",
    ...(totals.balanced
      ? [`Balanced: ${summary.balance}.`]
      : totals.partial === true
        ? [`Totals: ${summary.balance}.`]
        : [`> [!CAUTION]`, `> **The totals do not balance:** ${summary.balance}.`]),
    "",
    `${grouped(summary.entities)} entities, ${sizeText(totals.bytes)}${
      summary.bytesPerSecond === undefined ? "" : `, ${sizeText(summary.bytesPerSecond)}/s`
    }, ${durationText(report.timings.total)}.`,
    "",
    ...noteLines(report),
    ...table(
      ["kind", "entities"],
      summary.kinds.map(([kind, count]) => [kind, grouped(count)])
    )
  )
}

const verificationLines = ({ verification }: RunReport): Lines =>
  section(
    "Verification",
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

const backupLines = ({ backup }: RunReport): Lines =>
  section(
    "Backup",
    backup === undefined || backup === null
      ? "No copy of the sources belongs to this run."
      : `${grouped(backup.files)} files, ${sizeText(backup.bytes)}, backup ${escaped(backup.backup_id)} in ${escaped(backup.path)}, restored for proof and compared before anything was written.`,
    ""
  )

const movedLines = ({ moved }: RunReport): Lines =>
  moved === undefined
    ? []
    : section(
        "Moved originals",
        ...table(
          ["original", "now at"],
          moved.map(({ path, to }) => [path, to])
        )
      )

const problemLines = ({ problems }: ReportSummary): Lines =>
  problems.length === 0
    ? []
    : section(
        "Not stored",
        ...table(
          ["source", "where", "code", "why"],
          problems.map(({ item, remark }) => [item.path, placeOf(remark), remark.code, remark.message])
        )
      )

const codeLines = ({ codes }: ReportSummary): Lines =>
  codes.length === 0
    ? []
    : section(
        "Remarks by code",
        ...table(
          ["code", "count", "meaning"],
          codes.map(({ code, count, message }) => [code, grouped(count), message])
        )
      )

const qualityLines = ({ quality = [] }: RunReport, { leaves }: ReportSummary): Lines => {
  if (quality.length === 0) return []
  const sum = leaves.typed + leaves.approximate + leaves.unmapped
  return section(
    "Columns and shapes",
    `${percentText(leaves.typed, sum)} of ${grouped(sum)} leaves stand exactly in typed columns.`,
    "",
    ...table(
      ["kind", "new entities", "shapes", "typed", "best value", "unmapped"],
      quality.map((kind) => {
        const ofKind = kind.typed + kind.approximate + kind.unmapped
        return [
          kind.kind,
          grouped(kind.entities),
          grouped(kind.shapes),
          percentText(kind.typed, ofKind),
          percentText(kind.approximate, ofKind),
          percentText(kind.unmapped, ofKind)
        ]
      })
    )
  )
}

const slowestLines = ({ slowest = [] }: RunReport): Lines =>
  slowest.length === 0
    ? []
    : section(
        "Slowest sources",
        ...table(
          ["source", "size", "time"],
          slowest.map(({ bytes, milliseconds, path }) => [path, sizeText(bytes), durationText(milliseconds)])
        )
      )

const undoneLines = ({ undone }: RunReport): Lines =>
  undone === undefined
    ? []
    : section(
        "Cohorts",
        ...table(
          ["cohort", "what was done"],
          undone.map(({ action, cohort, reason }) => [cohort, reason === undefined ? action : `${action}: ${reason}`])
        )
      )

const sourceLines = ({ items }: RunReport): Lines =>
  items.length === 0
    ? []
    : section(
        "Sources",
        ...table(
          ["source", "outcome", "cohort", "entities", "size", "remarks"],
          items.map((item) => [
            [item.path, ...originsOf(item).map((origin) => `(${origin})`)].join(" "),
            item.outcome,
            item.cohort ?? "",
            isStopped(item) ? "" : grouped(Object.values(item.entities).reduce((sum, count) => sum + count, 0)),
            sizeText(item.bytes),
            item.remark_count === 0 ? "" : grouped(item.remark_count)
          ])
        )
      )

const removedLines = (report: RunReport): Lines => {
  const removed = removedSources(report)
  return removed.length === 0
    ? []
    : section(
        "No longer there",
        ...table(
          ["source", "what is left"],
          removed.map(({ left, path }) => [path, left])
        )
      )
}

const ignoredLines = ({ ignored }: RunReport): Lines =>
  ignored.length === 0
    ? []
    : section(
        "Ignored",
        ...table(
          ["path", "why"],
          ignored.map(({ path, reason }) => [path, reason])
        )
      )

/** Empty without rows. */
const table = (head: Lines, rows: ReadonlyArray<Lines>): Lines => {
  if (rows.length === 0) return []
  const line = (cells: Lines): string => `| ${cells.map(escaped).join(" | ")} |`
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
