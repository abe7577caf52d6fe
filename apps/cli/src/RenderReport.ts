/** Runs from the ledger as text for people: the list of them, and the report of one. */
import { deedOf, optionText, type RunReport, type RunSummary, stateWords, undoneWord } from "@mallard/migrator"
import { withHints } from "./Hints.ts"
import { renderRun, type RunView } from "./RenderRun.ts"
import type { Paint } from "./Terminal.ts"
import { counted, grouped, printable } from "./Text.ts"

/** One line per run, the last one last. */
export const renderRuns = (runs: ReadonlyArray<RunSummary>, database: string, paint: Paint): ReadonlyArray<string> => {
  if (runs.length === 0) return [`No runs in ${printable(database)}`]
  return [
    ...runs.flatMap((run) => {
      const by =
        run.user === null ? "" : ` by ${printable(run.user)}${run.host === null ? "" : ` on ${printable(run.host)}`}`
      const result = run.outcome === "done" || run.outcome === "nothing-to-do" ? "green" : "yellow"
      return [
        `${paint("bold", run.run)}  ${timeText(run.started_at)}  ${run.command} ${paint(result, run.outcome)}${sumOf(run)}${haltedOf(run)}${undoneOf(run)}`,
        paint("dim", `    ${printable(run.program)}${by}${optionsOf(run)}`)
      ]
    }),
    "",
    `${counted(runs.length, "run")} in ${printable(database)}, times in UTC`
  ]
}

/** The report of a stored run: what it was, and then as the run itself gave it. */
export const renderStoredRun = (report: RunReport, view: RunView): ReadonlyArray<string> => {
  const deed = deedOf(report)
  return [
    `Run ${report.run}: ${report.command ?? "migrate"}, ${timeText(report.started_at ?? "")} (UTC), ${report.outcome}`,
    ...(deed === undefined
      ? []
      : (report.notes ?? []).map((note) => view.paint("dim", printable(withHints(note, view.hint))))),
    "",
    ...(deed === undefined ? renderRun(report, view) : deedLines(report, deed, view))
  ]
}

/** A run that took no sources: the cohorts that it was about, and what it did. */
const deedLines = (report: RunReport, deed: string, view: RunView): ReadonlyArray<string> => {
  const savepoint = report.options?.["savepoint"]
  return [
    ...(report.undone === undefined ? [] : [...undoneLines(report.undone, view), ""]),
    printable(deed),
    `Database: ${printable(report.database)}`,
    ...(typeof savepoint === "string" ? [`Next:     ${view.hint("savepoint restore", [savepoint])}`] : [])
  ]
}

const undoneLines = (undone: NonNullable<RunReport["undone"]>, { paint }: RunView): ReadonlyArray<string> => [
  ...undone.map(({ action, cohort, reason }) =>
    action === "kept"
      ? `${paint("yellow", "-")} ${printable(cohort)}: kept as it is (${printable(reason ?? "")})`
      : `${paint("green", "✓")} ${printable(cohort)}: ${action === "deleted" ? "taken away" : "as before"}`
  ),
  ...(undone.length === 0 ? ["No cohort was concerned."] : [])
]

const undoneOf = ({ undone_by: by }: RunSummary): string =>
  by === null
    ? ""
    : `; ${undoneWord(by)} by run ${by.run.slice(0, 8)}${by.reason === undefined ? "" : ", because too many sources were rejected"}`

/** What the outcome does not say of a run that is not at its end. */
const haltedOf = ({ continued_by: by, outcome, state }: RunSummary): string =>
  [
    ...(state === null || state === outcome ? [] : [`; ${stateWords[state]}`]),
    ...(by === null ? [] : [`; gone on with by run ${by.slice(0, 8)}`])
  ].join("")

const timeText = (text: string): string => text.slice(0, 19).replace("T", " ")

const sumOf = ({ purged, revisions, totals }: RunSummary): string => {
  if (purged !== undefined) return `: ${counted(purged.cohorts.length, "cohort")} removed for good`
  if (totals === null) return ""
  const parts = [
    [totals.migrated, "migrated"],
    [totals.unchanged, "unchanged"],
    [totals.skipped, "skipped"],
    [totals.rejected, "rejected"],
    [totals.failed, "failed"]
  ] as const
  const said = parts.filter(([count]) => count > 0).map(([count, word]) => `${grouped(count)} ${word}`)
  if (said.length === 0 && revisions > 0) said.push(counted(revisions, "revision"))
  return said.length === 0 ? "" : `: ${said.join(", ")}`
}

const MAX_VALUE = 60

const optionsOf = ({ options }: RunSummary): string => {
  const said = Object.entries(options)
    .filter(([name]) => !hidden.has(name))
    .map(([name, value]) => {
      const text = optionText(name, value)
      return `${name}=${text.length > MAX_VALUE ? `${text.slice(0, MAX_VALUE)}…` : text}`
    })
  return said.length === 0 ? "" : `; ${printable(said.join(" "))}`
}

const hidden: ReadonlySet<string> = new Set(["command", "max_entity_bytes", "max_depth", "replays"])
