/** Reports as pages: one HTML file that needs nothing else, and the tables of `docs/benchmarks.md`. */
import { barChart, curveChart, escapeHtml } from "./Charts.ts"
import { megabytes, type Report, roundsInWords, type Table, targetTable } from "./Report.ts"

/** A page with every table and chart, readable without a network. */
export const htmlPage = (reports: ReadonlyArray<Report>): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Mallard: benchmarks</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
svg { font: 13px system-ui, sans-serif; max-width: 100%; height: auto }
.missed { color: #a4230f; font-weight: 600 }
code { background: #f3f3f3; padding: 0 .25rem }
</style>
<h1>Mallard: benchmarks</h1>
<p>Mallard moves legacy JSON files into one DuckDB database, gives the same JSON back, and proves it. This page says what that costs,
beside other ways to bring JSON into a database.</p>
<p>Every number comes from one machine. Jobs take turns, round by round, so that a slow minute meets all of them; a number is the
median of its rounds, and a ratio is the median of the ratios of the rounds. Times of different machines, or of different suites,
do not compare; ratios do. Peak memory is that of the process with all of its descendants.</p>
${reports.map(section).join("\n")}
</html>
`

/** The tables of one report as Markdown, to stand between the marks of its suite. */
export const markdownSection = (report: Report): string =>
  [
    settingOf(report),
    ...report.missing.map((text) => `Missing: ${text}`),
    ...(report.results.length === 0 ? [] : [markdownTable(targetTable(report.results))]),
    ...report.tables.flatMap((table) => [
      `**${table.title}**`,
      ...(table.note === undefined ? [] : [table.note]),
      markdownTable(table)
    ])
  ].join("\n\n")

/** The page with what stands between `<!-- bench:SUITE -->` and `<!-- /bench:SUITE -->` replaced; throws without the marks. */
export const withSection = (page: string, suite: string, content: string): string => {
  const [start, end] = [`<!-- bench:${suite} -->`, `<!-- /bench:${suite} -->`]
  const [from, to] = [page.indexOf(start), page.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`the page has no ${start} followed by ${end}`)
  return `${page.slice(0, from + start.length)}\n\n${content}\n\n${page.slice(to)}`
}

export const escapeMarkdown = (cell: string): string =>
  cell
    .replaceAll("\\", "\\\\")
    .replaceAll("|", String.raw`\|`)
    .replaceAll("<", "&lt;")
    .replaceAll(/\s+/g, " ")

const settingOf = ({ command, machine, rounds }: Report): string =>
  `Measured on ${machine.day} with \`${command}\`: ${machine.cores} cores (${escapeMarkdown(machine.model)}), ` +
  `${megabytes(machine.memory)} of memory, ${machine.system}, Node ${machine.node}; ` +
  `${roundsInWords(rounds)}; load average ${machine.load.toFixed(1)} at the end.`

const markdownTable = ({ columns, rows }: Table): string =>
  [
    `| ${columns.map(escapeMarkdown).join(" | ")} |`,
    `|---|${"---:|".repeat(columns.length - 1)}`,
    ...rows.map((row) => `| ${row.map(escapeMarkdown).join(" | ")} |`)
  ].join("\n")

const section = (report: Report): string =>
  [
    `<h2>${escapeHtml(report.title)}</h2>`,
    `<p>${escapeHtml(report.about)}</p>`,
    `<p>${escapeHtml(settingOf(report).replaceAll("`", ""))}</p>`,
    `<p>Repeat it: <code>${escapeHtml(report.command)}</code></p>`,
    ...report.missing.map((text) => `<p class="missed">Missing: ${escapeHtml(text)}</p>`),
    ...report.bars.map((bars) => `<h3>${escapeHtml(bars.title)} (${escapeHtml(bars.unit)})</h3>\n${barChart(bars)}`),
    ...report.curves.map((curves) => `<h3>${escapeHtml(curves.title)}</h3>\n${curveChart(curves)}`),
    ...(report.results.length === 0 ? [] : [htmlTable(targetTable(report.results))]),
    ...report.tables.map(htmlTable)
  ].join("\n")

const htmlTable = ({ columns, note, rows, title }: Table): string =>
  [
    `<h3>${escapeHtml(title)}</h3>`,
    ...(note === undefined ? [] : [`<p>${escapeHtml(note)}</p>`]),
    `<table><tr>${columns.map((column) => `<th>${escapeHtml(column)}</th>`).join("")}</tr>`,
    ...rows.map((row) => `<tr>${row.map(cell).join("")}</tr>`),
    "</table>"
  ].join("\n")

const cell = (text: string): string =>
  `<td${text === "MISSED" || text === "lost" ? ' class="missed"' : ""}>${escapeHtml(text)}</td>`
