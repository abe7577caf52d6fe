/** The report of a run as text for people: a line per item, what was remarked, the sum, and what to do next. */
import { originOfContent, removedSources, undoneWord } from "@mallard/migrator"
import type { ItemReport, Remark, RunReport } from "@mallard/migrator/Report"
import { type Hint, withHints } from "./Hints.ts"
import type { Paint } from "./Terminal.ts"
import { byKind, counted, duration, entities, grouped, printable, shownPath, size, sum } from "./Text.ts"

/** How to show a report. */
export interface RunView {
  readonly paint: Paint
  readonly cwd: string
  readonly verbose: boolean
  readonly quiet: boolean
  /** How to write commands about the same database. */
  readonly hint: Hint
  /** A plan was asked for, which nothing is written by but the file that it is to be kept in. */
  readonly planning?: { readonly out: string | undefined } | undefined
  /** Says what stands at a remark about a source, where that is to be shown. */
  readonly shownValue?: ((source: string, remark: Remark) => string | undefined) | undefined
}

/** The whole report, line by line. */
export const renderRun = (report: RunReport, view: RunView): ReadonlyArray<string> => {
  const waiting = report.items.filter(isWaiting)
  const still = report.items.filter((item) => item.outcome === "unchanged" && originOf(item, view) === "")
  const summed = new Set(view.verbose || still.length <= MAX_UNCHANGED ? [] : still)
  const items = report.items
    .filter((item) => !isWaiting(item) && !summed.has(item))
    .flatMap((item) => itemLines(item, report, view))
  if (view.quiet) return [...items, summaryOf(report)]
  const lines = [
    ...items,
    ...(summed.size > 0
      ? [`${view.paint("dim", "=")} ${counted(summed.size, "source")}: unchanged; --verbose names them`]
      : []),
    ...(waiting.length > 0 ? [`- ${counted(waiting.length, "source")}: not reached before the run was stopped`] : []),
    ...ignoredLines(report, view),
    ...removedLines(report, view)
  ]
  return [...lines, ...(lines.length > 0 ? [""] : []), ...summaryLines(report, view)]
}

/** Unchanged sources named without --verbose: where there are more, they hide what a run did to the others. */
const MAX_UNCHANGED = 20

/** What is to be known of a run beside its items and its sum, however little is to be said. */
export const problemLines = (report: RunReport, view: RunView): ReadonlyArray<string> => [
  ...balanceLines(report, view),
  ...(isProven(report) ? [] : verificationLines(report, view)),
  ...noteLines(report, view)
]

const isWaiting = (item: ItemReport): boolean =>
  item.outcome === "skipped" && item.remarks.some(({ code }) => code === "interrupted")

const isUnrecognised = (item: ItemReport): boolean => item.remarks.some(({ code }) => code === "no-entity-recognised")

const nameOf = (item: ItemReport, view: RunView): string =>
  item.cohort === null ? shownPath(item.path, view.cwd) : printable(item.cohort)

/** For a mended source: what it was before. */
const replayOf = ({ replays }: ItemReport): string =>
  replays === undefined ? "" : ` (was item ${replays.item} of run ${replays.run.slice(0, 8)})`

/** For a source that moved: where from. */
const originOf = (item: ItemReport, view: RunView): string => {
  const origin = originOfContent(item, (path) => shownPath(path, view.cwd))
  return origin === undefined ? "" : ` (${origin})`
}

const itemLines = (item: ItemReport, report: RunReport, view: RunView): Array<string> => {
  const { paint, quiet } = view
  const path = `${shownPath(item.path, view.cwd)}${replayOf(item)}`
  const about = view.verbose ? `: ${item.format === null ? "" : `${printable(item.format)}, `}${size(item.bytes)}` : ""
  const would = report.dry_run ? ` (would be stored${about})` : ""
  switch (item.outcome) {
    case "migrated": {
      if (quiet) return []
      const line = isUnrecognised(item)
        ? `${paint("yellow", "!")} ${nameOf(item, view)}: no entity recognised, kept whole${would}${replayOf(item)}`
        : `${paint("green", "✓")} ${nameOf(item, view)}: ${entities(sum(item.entities))}${would}${replayOf(item)}${originOf(item, view)}`
      const rest = item.remarks.filter(({ code }) => code !== "no-entity-recognised")
      return [line, ...remarkLines(item, rest, item.remark_count - (item.remarks.length - rest.length), view)]
    }
    case "unchanged":
      return quiet ? [] : [`${paint("dim", "=")} ${nameOf(item, view)}: unchanged${originOf(item, view)}`]
    case "skipped":
      return quiet ? [] : [`- ${path}: skipped (${item.remarks.map(reasonOf).join("; ") || "no reason given"})`]
    case "rejected":
    case "failed": {
      const [first, ...rest] = item.remarks
      const reason = first === undefined ? item.outcome : problemOf(first, item, view)
      return [
        `${paint("red", "✗")} ${path}: ${view.verbose ? reason : shortened(reason)}`,
        ...(view.verbose ? rest.map((remark) => `    ${problemOf(remark, item, view)}`) : moreOf(rest.length))
      ]
    }
  }
}

/** Longest reason shown without --verbose: a conflict may name any number of files. */
const MAX_REASON = 400

const shortened = (reason: string): string =>
  reason.length <= MAX_REASON
    ? reason
    : `${[...reason].slice(0, MAX_REASON).join("")}… (${counted(reason.length - MAX_REASON, "more character")}; --verbose shows all)`

const moreOf = (count: number): Array<string> =>
  count === 0 ? [] : [`    and ${counted(count, "more reason")}; --verbose shows them`]

const reasonOf = (remark: Remark): string => printable(remark.message)

/** Where and what a remark is about. */
export const remarkText = (remark: Remark): string => {
  const place = placeOf(remark)
  return `${place === "" ? "" : `${place}: `}${reasonOf(remark)}`
}

/** Why an item was not stored: where, what, code. */
const problemOf = (remark: Remark, item: ItemReport, view: RunView): string =>
  `${remarkText(remark)}${valueText(remark, item, view)} [${printable(remark.code)}]`

const valueText = (remark: Remark, { path }: ItemReport, { shownValue }: RunView): string => {
  const value = shownValue?.(path, remark)
  return value === undefined ? "" : `: ${value}`
}

/** Where a remark points: part, line and column, JSON pointer; empty where it says nothing of that. */
const placeOf = ({ column, line, part, pointer }: Remark): string =>
  [
    ...(part === undefined ? [] : [printable(part)]),
    ...(line === null ? [] : [`line ${line}${column === null ? "" : `, column ${column}`}`]),
    ...(pointer === null ? [] : [pointer === "" ? "the whole document" : `at ${printable(pointer)}`])
  ].join(", ")

const remarkLines = (item: ItemReport, remarks: ReadonlyArray<Remark>, total: number, view: RunView): Array<string> => {
  const dim = (text: string): string => view.paint("dim", text)
  if (view.verbose) {
    const unlisted = total - remarks.length
    return [
      ...remarks.map((remark) => dim(`    ${problemOf(remark, item, view)}`)),
      ...(unlisted > 0 ? [dim(`    and ${counted(unlisted, "more remark")} that the report does not list`)] : [])
    ]
  }
  const codes = new Map<string, { first: Remark; count: number }>()
  for (const remark of remarks) {
    const known = codes.get(remark.code)
    if (known === undefined) codes.set(remark.code, { first: remark, count: 1 })
    else known.count++
  }
  return [...codes.values()].map(({ count, first }) => {
    const place = placeOf(first)
    const where = place === "" ? "" : count > 1 ? `, as in ${place}` : `, ${place}`
    return dim(
      `    ${grouped(count)} × ${printable(first.code)}${where}: ${reasonOf(first)}${valueText(first, item, view)}`
    )
  })
}

const ignoredReasons: Readonly<Record<string, string>> = {
  "not-json": "no JSON file",
  "symbolic-link": "a link; name its target to read it",
  fifo: "no regular file",
  socket: "no regular file",
  device: "no regular file",
  "folder-named-json": "a folder named like a file",
  "not-cohorts": "HealthSim keeps no cohorts there",
  backup: "a backup; name it to read it"
}

/** Ignored files that are named without --verbose. */
const SHOWN_IGNORED = 5

const ignoredLines = ({ ignored }: RunReport, view: RunView): ReadonlyArray<string> => {
  if (ignored.length === 0) return []
  const shown = view.verbose ? ignored : ignored.slice(0, SHOWN_IGNORED)
  const rest = ignored.length - shown.length
  return [
    ...shown.map(({ path, reason }) =>
      view.paint("dim", `- ${shownPath(path, view.cwd)}: ignored (${ignoredReasons[reason] ?? printable(reason)})`)
    ),
    ...(rest > 0 ? [view.paint("dim", `- and ${grouped(rest)} more ignored; --verbose names them`)] : [])
  ]
}

const removedLines = (report: RunReport, view: RunView): ReadonlyArray<string> => {
  const removed = removedSources(report)
  const shown = view.verbose ? removed : removed.slice(0, SHOWN_IGNORED)
  const rest = removed.length - shown.length
  return [
    ...shown.map(({ left, path }) => view.paint("dim", `- ${shownPath(path, view.cwd)}: no longer there; ${left}`)),
    ...(rest > 0 ? [view.paint("dim", `- and ${grouped(rest)} more no longer there; --verbose names them`)] : [])
  ]
}

/** `n/m migrated` and what became of the others. */
const summaryOf = ({ dry_run, totals, undone_by }: RunReport): string =>
  [
    totals.partial === true
      ? `${grouped(totals.migrated)} migrated, of sources whose number is not known`
      : `${grouped(totals.migrated)}/${grouped(totals.found)} ${dry_run ? "would be migrated" : "migrated"}`,
    ...(totals.unchanged > 0 ? [`${grouped(totals.unchanged)} unchanged`] : []),
    ...(totals.skipped > 0 ? [`${grouped(totals.skipped)} skipped`] : []),
    ...(totals.rejected > 0 ? [`${grouped(totals.rejected)} rejected`] : []),
    ...(totals.failed > 0 ? [`${grouped(totals.failed)} failed`] : []),
    ...(undone_by === undefined ? [] : [`${undoneWord(undone_by)} by run ${undone_by.run.slice(0, 8)}`])
  ].join(", ")

const summaryLines = (report: RunReport, view: RunView): ReadonlyArray<string> => {
  const { paint } = view
  const total = sum(report.totals.entities)
  const many = total > 0 ? ` (${entities(total)}: ${byKind(report.totals.entities)})` : ""
  return [
    paint("bold", `${summaryOf(report)}${many}`),
    ...balanceLines(report, view),
    ...verificationLines(report, view),
    ...backupLines(report),
    ...(report.moved === undefined
      ? []
      : [`Moved:    ${counted(report.moved.length, "original")}, as --move-originals says`]),
    ...noteLines(report, view),
    ...(report.dry_run ? ["Dry run: nothing was written."] : []),
    `Database: ${printable(report.database)}`,
    ...underNext(nextLines(report, view))
  ]
}

const backupLines = ({ backup }: RunReport): ReadonlyArray<string> => {
  if (backup === undefined || backup === null) return []
  const { added_bytes, bytes, files, path } = backup
  const what = `${counted(files, "file")}, ${size(bytes)}`
  const done =
    added_bytes === undefined
      ? what
      : added_bytes === 0
        ? `${what}, all copied before`
        : `${what}${added_bytes < bytes ? `, ${size(added_bytes)} of it new` : ""}, restored for proof`
  return [`Backup:   ${done}: ${printable(path)}`]
}

const noteLines = ({ notes = [] }: RunReport, { hint, paint }: RunView): ReadonlyArray<string> =>
  notes.map((note) => paint("yellow", printable(withHints(note, hint))))

const balanceLines = ({ totals }: RunReport, { paint }: RunView): ReadonlyArray<string> =>
  totals.balanced || totals.partial === true ? [] : [paint("red", unbalanced(totals))]

const unbalanced = (totals: RunReport["totals"]): string =>
  `The totals do NOT balance: ${grouped(totals.found)} found, but ${grouped(totals.migrated)} migrated + ${grouped(totals.unchanged)} unchanged + ${grouped(totals.skipped)} skipped + ${grouped(totals.rejected)} rejected + ${grouped(totals.failed)} failed`

const isProven = ({ verification: { findings, mismatched } }: RunReport): boolean =>
  mismatched === 0 && findings.length === 0

const verificationLines = (report: RunReport, view: RunView): ReadonlyArray<string> => {
  const { dry_run, timings, totals, undone_by, verification } = report
  const { checked, findings, matched } = verification
  if (checked === 0 && findings.length === 0) {
    if (dry_run || undone_by !== undefined) return []
    if (totals.migrated > 0) return [`Not verified; \`${view.hint("verify")}\` proves it.`]
    return totals.unchanged === 0 ? [] : ["Verified: nothing new to verify."]
  }
  if (isProven(report)) {
    return [
      `Verified: ${counted(checked, "document")} rendered from the database, all as in the source (${duration(timings.verify)})`
    ]
  }
  return [
    view.paint(
      "red",
      `NOT verified: ${grouped(matched)} of ${counted(checked, "document")} came back as in the source, ${counted(findings.length, "finding")}`
    ),
    ...findings
      .slice(0, view.verbose ? undefined : 10)
      .map(({ code, message, where }) => `  ${printable(where)}: ${printable(message)} [${printable(code)}]`)
  ]
}

/** What to do next, line by line, under one word. */
export const underNext = (lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.map((line, index) => `${index === 0 ? "Next:     " : "          "}${line}`)

/** Codes of what is refused because it is not as it was planned: there is nothing to mend in it. */
export const planned: ReadonlySet<string> = new Set(["changed-since-plan", "gone-since-plan", "decided-otherwise"])

/** The bounds that the user may raise, by the code of what lies beyond. */
const bounds: Readonly<Record<string, string>> = {
  "file-too-large": "--max-file-size",
  "too-large": "--max-entity-size",
  "too-deep": "--max-depth"
}

/** How to bring in what was not stored: a file beyond a bound need not be mended. */
const mendingLines = (stopped: ReadonlyArray<ItemReport>): ReadonlyArray<string> => {
  const flags = stopped.map(({ remarks: [first] }) => bounds[first?.code ?? ""])
  const raised = [...new Set(flags.filter((flag) => flag !== undefined))]
  return [
    ...(raised.length === 0 ? [] : [`raise ${raised.join(" and ")}, or leave out what is beyond, then run again`]),
    ...(flags.some((flag) => flag === undefined) || raised.length === 0
      ? ["mend the files marked ✗, then run the same command again: the others count as unchanged"]
      : [])
  ]
}

const nextLines = (report: RunReport, view: RunView): ReadonlyArray<string> => {
  const { hint } = view
  const named = report.items.filter(({ cohort }) => cohort !== null)
  // What the run stored, before what was there.
  const stored = (["migrated", "unchanged"] as const).flatMap((wanted) =>
    named.filter(({ outcome }) => outcome === wanted)
  )
  const example = stored.find((item) => !isUnrecognised(item)) ?? stored[0]
  switch (report.outcome) {
    case "running":
      return [hint("status")]
    case "cut-short":
    case "interrupted":
      if (report.undone_by !== undefined) break
      if (report.continued_by !== undefined) {
        return [hint("report", [report.continued_by.slice(0, 8)])]
      }
      return [`${hint("resume")}: what is stored is whole and is not stored twice`]
    case "mismatch":
      return [hint("verify")]
    case "failed":
      return ["mend what stands above, then run the same command again"]
    case "nothing-to-do":
      return ["name folders or files that hold JSON"]
    case "done-with-rejects":
      if (report.items.some(({ remarks }) => remarks.some(({ code }) => planned.has(code)))) {
        return ["plan again: what is not as it was planned was left alone"]
      }
      if (!report.items.some(({ remarks }) => remarks.some(({ code }) => code === "name-taken"))) {
        return mendingLines(report.items.filter(({ outcome }) => outcome === "rejected" || outcome === "failed"))
      }
      return ["choose with --on-conflict skip, replace or rename what becomes of cohorts that exist, then run again"]
    case "partly-done":
      return report.command === "rollback"
        ? [hint("runs")]
        : ["mend what stands above, then run the same command again: what is stored counts as unchanged"]
    case "done":
      break
  }
  if (report.dry_run) {
    if (view.planning === undefined) return ["run the same command without --dry-run"]
    // Where the plan is kept is told after that, with the command that carries it out.
    return view.planning.out === undefined
      ? [`the same command with --out FILE keeps the plan, and ${hint("migrate --plan FILE")} carries it out`]
      : []
  }
  if (example === undefined || report.undone_by !== undefined) return [hint("list")]
  return [hint("list"), hint("export", [example.cohort ?? ""])]
}
