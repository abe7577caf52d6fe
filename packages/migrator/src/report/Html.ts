/**
 * The report as one HTML page that needs nothing else: no script, no request, charts as inline SVG, light or dark as the
 * reader's system is, and fit for paper. Everything that comes from sources is escaped where it is put in.
 */
import { sizeText } from "@mallard/duckdb-store/Disk"
import { printablePath } from "@mallard/legacy-json"
import { escapeMarkup } from "../internal/markup.ts"
import type { ItemReport, RunReport } from "../Report.ts"
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
const MAX_ROWS = 1000

export const renderHtml = (report: RunReport): string => {
  const summary = summaryOf(report)
  const deed = deedOf(report)
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'" />
        <meta name="color-scheme" content="light dark" />
        <title>${summary.title} ${report.run}</title>
        <style>
          ${new Html(STYLE)}
        </style>
      </head>
      <body>
        <header>
          <h1>${summary.title} <span class="badge ${classOf(report.outcome)}">${report.outcome}</span></h1>
          ${headOf(report)}
        </header>
        <main>
          ${deed === undefined ? balanceOf(report, summary) : html`<p>${deed}</p>`} ${notesOf(report)}
          ${deed === undefined ? tilesOf(report, summary) : nothing} ${sectionOf("Outcomes", outcomesChart(report))}
          ${undoneOf(report)} ${sectionOf("Kinds", kindsChart(summary))} ${sectionOf("Not stored", problemsOf(summary))}
          ${sectionOf("Remarks by code", codesChart(summary))}
          ${sectionOf("Verification", deed === undefined ? verificationOf(report) : nothing)}
          ${sectionOf("Backup", deed === undefined ? backupOf(report) : nothing)}
          ${sectionOf("Moved originals", movedOf(report))}
          ${sectionOf("Share of typed leaves", leavesChart(report, summary))}
          ${sectionOf("Shapes", shapesChart(report))} ${sectionOf("Time", timeChart(report))}
          ${sectionOf("Slowest sources", slowestChart(report))} ${sectionOf("Sources", sourcesOf(report))}
          ${sectionOf("No longer there", removedOf(report))} ${sectionOf("Ignored", ignoredOf(report))}
        </main>
      </body>
    </html> `.text
}

/** Text that is HTML already. */
class Html {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

type Part = Html | string | number | ReadonlyArray<Html>

/** HTML with everything that is put in escaped, unless it is HTML already. */
const html = (texts: TemplateStringsArray, ...parts: ReadonlyArray<Part>): Html =>
  new Html(texts.map((text, at) => `${text}${at < parts.length ? rendered(parts[at] ?? "") : ""}`).join(""))

const rendered = (part: Part): string => {
  if (part instanceof Html) return part.text
  if (typeof part === "number") return String(part)
  return typeof part === "string" ? escaped(part) : part.map(({ text }) => text).join("\n")
}

const escaped = (text: string): string => (text === "" ? "" : escapeMarkup(printablePath(text)))

const nothing = new Html("")

const sectionOf = (title: string, content: Html): Html =>
  content.text === ""
    ? nothing
    : html`<section>
        <h2>${title}</h2>
        ${content}
      </section>`

const classOf = (outcome: RunReport["outcome"]): string => {
  if (outcome === "done" || outcome === "nothing-to-do") return "good"
  return ["done-with-rejects", "partly-done", "running"].includes(outcome) ? "warn" : "bad"
}

const headOf = (report: RunReport): Html => {
  const { environment } = report
  const facts: ReadonlyArray<readonly [string, string | undefined]> = [
    ["Run", report.run],
    ["Started", report.started_at],
    ["Ended", report.ended_at ?? undefined],
    ["By", environment === undefined ? undefined : `${environment.user} on ${environment.host}`],
    [
      "Program",
      environment === undefined
        ? report.program
        : `${report.program ?? ""}, DuckDB ${environment.duckdb}, Node ${environment.node}, ${environment.platform}`
    ],
    ["Database", report.database],
    ...optionLines(report)
  ]
  return html`<dl>
    ${facts.flatMap(([name, value]) =>
      value === undefined || value === ""
        ? []
        : [
            html`<div>
              <dt>${name}</dt>
              <dd>${value}</dd>
            </div>`
          ]
    )}
  </dl>`
}

const balanceOf = ({ totals }: RunReport, { balance }: ReportSummary): Html =>
  totals.balanced
    ? html`<p class="balance good">Totals balance: ${balance}.</p>`
    : totals.partial === true
      ? html`<p class="balance">Totals: ${balance}.</p>`
      : html`<p class="balance bad" role="alert"><strong>The totals do not balance:</strong> ${balance}.</p>`

const notesOf = ({ notes = [] }: RunReport): Html =>
  notes.length === 0
    ? nothing
    : html`<ul class="notes">
        ${notes.map((note) => html`<li>${note}</li>`)}
      </ul>`

const tilesOf = (report: RunReport, summary: ReportSummary): Html => {
  const { bytesPerSecond, entitiesPerSecond } = summary
  const tiles: ReadonlyArray<readonly [string, string]> = [
    [report.totals.partial === true ? "sources noted" : "sources", grouped(report.totals.found)],
    ["entities", grouped(summary.entities)],
    ["read", sizeText(report.totals.bytes)],
    ["time", durationText(report.timings.total)],
    ...(bytesPerSecond === undefined ? [] : [["bytes a second", sizeText(bytesPerSecond)] as const]),
    ...(entitiesPerSecond === undefined ? [] : [["entities a second", grouped(entitiesPerSecond)] as const]),
    ["remarks", grouped(report.totals.remarks)]
  ]
  return html`<div class="tiles">
    ${tiles.map(([name, value]) => html`<div class="tile"><b>${value}</b><span>${name}</span></div>`)}
  </div>`
}

// Charts. Bars are scaled to the largest; labels are text of the page, so they wrap, select and print.

interface Bar {
  readonly label: string
  readonly value: number
  readonly text: string
  readonly tone?: string
}

const WIDTH = 400

const barsOf = (bars: ReadonlyArray<Bar>): Html => {
  if (bars.length === 0) return nothing
  const largest = Math.max(...bars.map(({ value }) => value), 1e-9)
  return html`<table class="bars">
    <tbody>
      ${bars.map(
        ({ label, text, tone, value }) =>
          html`<tr>
            <th scope="row">${label}</th>
            <td>
              <svg viewBox="0 0 ${WIDTH} 14" preserveAspectRatio="none" aria-hidden="true">
                <rect class="${tone ?? "fill"}" width="${((value / largest) * WIDTH).toFixed(1)}" height="14" rx="2" />
              </svg>
            </td>
            <td class="number">${text}</td>
          </tr>`
      )}
    </tbody>
  </table>`
}

interface Piece {
  readonly name: string
  readonly value: number
  readonly tone: string
}

const stackOf = (label: string, pieces: ReadonlyArray<Piece>): Html => {
  const whole = pieces.reduce((sum, { value }) => sum + value, 0)
  if (whole === 0) return nothing
  let x = 0
  const rects = pieces.map(({ name, tone, value }) => {
    const width = (value / whole) * WIDTH
    const rect = html`<rect class="${tone}" x="${x.toFixed(2)}" width="${width.toFixed(2)}" height="22"
      ><title>${name}: ${grouped(value)}</title></rect
    >`
    x += width
    return rect
  })
  const said = pieces.map(({ name, value }) => `${name} ${value}`).join(", ")
  return html`<svg
    class="stack"
    viewBox="0 0 ${WIDTH} 22"
    preserveAspectRatio="none"
    role="img"
    aria-label="${label}: ${said}"
  >
    ${rects}
  </svg>`
}

const legendOf = (pieces: ReadonlyArray<Piece>): Html => {
  const whole = pieces.reduce((sum, { value }) => sum + value, 0)
  return html`<ul class="legend">
    ${pieces.map(
      ({ name, tone, value }) =>
        html`<li>
          <svg viewBox="0 0 10 10" aria-hidden="true"><rect class="${tone}" width="10" height="10" /></svg> ${name}:
          ${grouped(value)} (${percentText(value, whole)})
        </li>`
    )}
  </ul>`
}

const outcomesChart = ({ totals }: RunReport): Html => {
  const all: ReadonlyArray<Piece> = [
    { name: "migrated", value: totals.migrated, tone: "c-good" },
    { name: "unchanged", value: totals.unchanged, tone: "c-same" },
    { name: "skipped", value: totals.skipped, tone: "c-skip" },
    { name: "rejected", value: totals.rejected, tone: "c-warn" },
    { name: "failed", value: totals.failed, tone: "c-bad" }
  ]
  const pieces = all.filter(({ value }) => value > 0)
  return pieces.length === 0 ? nothing : html`${stackOf("Outcomes", pieces)}${legendOf(pieces)}`
}

const kindsChart = ({ kinds }: ReportSummary): Html =>
  barsOf(kinds.map(([kind, count]) => ({ label: kind, value: count, text: grouped(count) })))

const codesChart = ({ codes }: ReportSummary): Html =>
  barsOf(
    codes.map(({ code, count, isProblem, message }) => ({
      label: `${code}: ${message}`,
      value: count,
      text: grouped(count),
      tone: isProblem ? "c-bad" : "fill"
    }))
  )

const leavesChart = ({ quality = [] }: RunReport, { leaves }: ReportSummary): Html => {
  const whole = leaves.typed + leaves.approximate + leaves.unmapped
  if (whole === 0) return nothing
  const piecesOf = (counts: ReportSummary["leaves"]): ReadonlyArray<Piece> => [
    { name: "typed exactly", value: counts.typed, tone: "c-good" },
    { name: "best value, text kept", value: counts.approximate, tone: "c-warn" },
    { name: "kept as text", value: counts.unmapped, tone: "c-skip" }
  ]
  const rows = quality.filter((kind) => kind.typed + kind.approximate + kind.unmapped > 0)
  return html`<p>
      ${percentText(leaves.typed, whole)} of ${grouped(whole)} leaves of new entities stand exactly in typed columns;
      nothing is lost of the others.
    </p>
    ${stackOf("Leaves", piecesOf(leaves))}${legendOf(piecesOf(leaves))}
    <table class="bars">
      <tbody>
        ${rows.map(
          (kind) =>
            html`<tr>
              <th scope="row">${kind.kind}</th>
              <td>${stackOf(kind.kind, piecesOf(kind))}</td>
              <td class="number">${percentText(kind.typed, kind.typed + kind.approximate + kind.unmapped)}</td>
            </tr>`
        )}
      </tbody>
    </table>`
}

const shapesChart = ({ quality = [] }: RunReport): Html =>
  barsOf(
    quality
      .filter(({ shapes }) => shapes > 0)
      .sort((left, right) => right.shapes - left.shapes)
      .map(({ entities: count, kind, shapes }) => ({
        label: kind,
        value: shapes,
        text: `${grouped(shapes)} in ${grouped(count)} new`
      }))
  )

const timeChart = ({ timings }: RunReport): Html =>
  barsOf(
    [
      { label: "find", value: timings.find },
      { label: "backup", value: timings.backup ?? 0 },
      { label: "load", value: timings.load },
      { label: "verify", value: timings.verify }
    ]
      .filter(({ value }) => value > 0)
      .map((bar) => ({ ...bar, text: durationText(bar.value) }))
  )

const slowestChart = ({ slowest = [] }: RunReport): Html =>
  barsOf(
    slowest.map(({ bytes, milliseconds, path }) => ({
      label: path,
      value: milliseconds,
      text: `${durationText(milliseconds)}, ${sizeText(bytes)}`
    }))
  )

const tableOf = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<Part>>): Html => {
  if (rows.length === 0) return nothing
  const rest = rows.length - MAX_ROWS
  return html`<table class="list">
      <thead>
        <tr>
          ${head.map((title) => html`<th scope="col" data-head="${title}">${title}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.slice(0, MAX_ROWS).map(
          (cells) =>
            html`<tr>
              ${cells.map((cell, at) => html`<td data-head="${head[at] ?? ""}">${cell}</td>`)}
            </tr>`
        )}
      </tbody>
    </table>
    ${rest > 0 ? html`<p>…and ${grouped(rest)} more; the JSON report has all.</p>` : nothing}`
}

const problemsOf = ({ problems }: ReportSummary): Html =>
  tableOf(
    ["source", "where", "why", "code"],
    problems.map(({ item, remark }) => [item.path, placeOf(remark), remark.message, html`<code>${remark.code}</code>`])
  )

const verificationOf = ({ verification }: RunReport): Html => {
  const { checked, findings, matched, mismatched } = verification
  if (checked === 0 && findings.length === 0) return html`<p>Nothing was verified in this run.</p>`
  if (mismatched === 0 && findings.length === 0) {
    return html`<p class="good">${grouped(checked)} documents rendered from the database, all as in the source.</p>`
  }
  return html`<p class="bad">
      <strong>Not verified:</strong> ${grouped(matched)} of ${grouped(checked)} documents came back as in the source.
    </p>
    ${tableOf(
      ["where", "what", "code"],
      findings.map(({ code, message, where }) => [where, message, html`<code>${code}</code>`])
    )}`
}

const backupOf = ({ backup, dry_run }: RunReport): Html => {
  if (dry_run) return nothing
  if (backup === undefined || backup === null) return html`<p>No copy of the sources belongs to this run.</p>`
  return html`<p>
      ${grouped(backup.files)} files, ${sizeText(backup.bytes)}, in <code>${backup.path}</code>, restored for proof and
      compared before anything was written.
    </p>
    <dl>
      <div>
        <dt>Backup</dt>
        <dd>${backup.backup_id}</dd>
      </div>
      <div>
        <dt>SHA-256 of its manifest</dt>
        <dd>${backup.manifest_sha256}</dd>
      </div>
    </dl>`
}

const movedOf = ({ moved = [] }: RunReport): Html =>
  tableOf(
    ["original", "now at"],
    moved.map(({ path, to }) => [path, to])
  )

const undoneOf = ({ undone }: RunReport): Html =>
  undone === undefined
    ? nothing
    : sectionOf(
        "Cohorts",
        tableOf(
          ["cohort", "what was done"],
          undone.map(({ action, cohort, reason }) => [cohort, reason === undefined ? action : `${action}: ${reason}`])
        )
      )

const sourcesOf = ({ items }: RunReport): Html =>
  tableOf(
    ["source", "outcome", "cohort", "entities", "size", "remarks", "SHA-256"],
    items.map((item) => [
      html`${item.path}${originsOf(item).map((origin) => html` <small>(${origin})</small>`)}`,
      html`<span class="${toneOf(item)}">${item.outcome}</span>`,
      item.cohort ?? "",
      isStopped(item) ? "" : grouped(Object.values(item.entities).reduce((sum, count) => sum + count, 0)),
      sizeText(item.bytes),
      item.remark_count === 0 ? "" : grouped(item.remark_count),
      html`<code title="${item.source_sha256 ?? ""}">${item.source_sha256?.slice(0, 12) ?? ""}</code>`
    ])
  )

const toneOf = (item: ItemReport): string => (isStopped(item) ? "bad" : item.outcome === "migrated" ? "good" : "")

const removedOf = (report: RunReport): Html =>
  tableOf(
    ["source", "what is left"],
    removedSources(report).map(({ left, path }) => [path, left])
  )

const ignoredOf = ({ ignored }: RunReport): Html =>
  tableOf(
    ["path", "why"],
    ignored.map(({ path, reason }) => [path, reason])
  )

/** Columns whose texts are short: the others give way. */
const SHORT_COLUMNS = ["code", "outcome", "entities", "size", "remarks", "SHA-256"]

const STYLE = `
:root{--back:#fff;--text:#1c2024;--dim:#60656b;--line:#d9dce0;--fill:#3f76c0;--good:#18794e;--warn:#ad5700;--bad:#c4262e;--same:#8aa0b8;--skip:#b9a44c}
@media screen and (prefers-color-scheme:dark){:root{--back:#15181b;--text:#e6e8ea;--dim:#a0a6ac;--line:#363b41;--fill:#6fa1e6;--good:#4cc38a;--warn:#f1a10d;--bad:#ff7b80;--same:#7388a0;--skip:#cbb75f}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1.5rem;background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:0 0 1rem}h2{font-size:1.1rem;margin:0 0 .6rem}
section{margin:2rem 0;break-inside:avoid-page}h2{break-after:avoid-page}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:.2rem 1.5rem;margin:0}
dl div{display:flex;gap:.6rem;min-width:0}dt{color:var(--dim);min-width:6rem}dd{margin:0;overflow-wrap:anywhere}
.badge{font-size:.85rem;padding:.15rem .6rem;border:1px solid currentColor;border-radius:1rem;vertical-align:middle}
.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}
.balance{margin:1.5rem 0 0}.balance.bad{border:2px solid var(--bad);padding:.6rem .8rem}
.tiles{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.5rem 0}
.tile{border:1px solid var(--line);border-radius:.4rem;padding:.6rem 1rem;min-width:7rem}.tile b{display:block;font-size:1.25rem}.tile span{color:var(--dim)}
svg{display:block;width:100%}.bars svg{height:.9rem}.stack{height:1.4rem}
.fill{fill:var(--fill)}.c-good{fill:var(--good)}.c-warn{fill:var(--warn)}.c-bad{fill:var(--bad)}.c-same{fill:var(--same)}.c-skip{fill:var(--skip)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;padding:0;margin:.5rem 0}.legend svg{display:inline-block;width:.8rem;height:.8rem}
table{width:100%;border-collapse:collapse}.bars{table-layout:fixed}.bars th{width:34%;text-align:left;font-weight:400;overflow-wrap:anywhere;padding:.15rem .8rem .15rem 0}.bars .number{width:11rem;text-align:right;padding-left:.8rem;font-variant-numeric:tabular-nums}
.list td,.list th{text-align:left;vertical-align:top;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);min-width:7rem}.list th{color:var(--dim);font-weight:400}
.list :is(${SHORT_COLUMNS.map((name) => `[data-head="${name}"]`).join()}){white-space:nowrap;min-width:0}
@media screen and (max-width:40rem){.list thead{display:none}.list,.list tbody,.list tr,.list td{display:block}.list tr{padding:.4rem 0;border-bottom:1px solid var(--line)}.list td,.list td[data-head]{border:0;padding:0;white-space:normal}.list :is(td:empty,td:has(>code:empty)){display:none}.list td:not(:first-child)::before{content:attr(data-head) ": ";color:var(--dim)}
.bars,.bars tbody{display:block}.bars tr{display:grid;grid-template-columns:1fr auto;align-items:center;padding:.2rem 0}.bars th{width:auto;grid-column:1/-1}.bars .number{width:auto}}
code{font-size:.9em}
@media print{:root{color-scheme:light}body{max-width:none;padding:0;font-size:12px}section{margin:1rem 0}*{print-color-adjust:exact}}
`
