/**
 * The report as JUnit XML, which continuous integration shows as tests: a case per source (a rejection is a failure, what
 * the database did not take an error), one for the sums and one for each finding of the verification.
 */
import { printablePath } from "@mallard/legacy-json"
import { escapeMarkup } from "../internal/markup.ts"
import type { ItemReport, RunReport } from "../Report.ts"
import { originsOf, placeOf, removedSources, summaryOf, undoneWord } from "./Summary.ts"

interface Case {
  readonly suite: string
  readonly name: string
  readonly problem?: { readonly tag: "failure" | "error"; readonly type: string; readonly text: string }
  readonly skipped?: string
  /** What is to be known of a case besides. */
  readonly note?: string
}

export const renderJUnit = (report: RunReport): string => {
  const suites = [
    { name: "sources", seconds: report.timings.load / 1000, cases: report.items.map(caseOf) },
    { name: "totals", seconds: 0, cases: [balanceCase(report), ...undoneCases(report)] },
    { name: "no longer there", seconds: 0, cases: removedCases(report) },
    { name: "verification", seconds: report.timings.verify / 1000, cases: verificationCases(report) }
  ].filter(({ cases }) => cases.length > 0)
  const count = (cases: ReadonlyArray<Case>, tag: "failure" | "error"): number =>
    cases.filter(({ problem }) => problem?.tag === tag).length
  const attributes = (cases: ReadonlyArray<Case>): string =>
    `tests="${cases.length}" failures="${count(cases, "failure")}" errors="${count(cases, "error")}" skipped="${cases.filter(({ skipped }) => skipped !== undefined).length}"`
  const all = suites.flatMap(({ cases }) => cases)
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="mallard ${escaped(report.run)}" ${attributes(all)} time="${seconds(report.timings.total / 1000)}">`,
    ...suites.flatMap(({ cases, name, seconds: time }) => [
      `  <testsuite name="${name}" ${attributes(cases)} time="${seconds(time)}"${
        report.started_at === undefined ? "" : ` timestamp="${escaped(report.started_at.replace(/Z$/, ""))}"`
      }>`,
      ...cases.map(caseLine),
      "  </testsuite>"
    ]),
    "</testsuites>",
    ""
  ].join("\n")
}

const seconds = (value: number): string => value.toFixed(3)

const caseLine = (case_: Case): string => {
  const { name, note, suite } = case_
  const said = `${resultOf(case_)}${note === undefined ? "" : `<system-out>${escaped(note)}</system-out>`}`
  const head = `    <testcase classname="${suite}" name="${escaped(name)}"`
  return said === "" ? `${head}/>` : `${head}>${said}</testcase>`
}

const resultOf = ({ problem, skipped }: Case): string => {
  if (problem !== undefined) {
    const { tag, text, type } = problem
    return `<${tag} type="${escaped(type)}" message="${escaped(text.split("\n")[0] ?? "")}">${escaped(text)}</${tag}>`
  }
  return skipped === undefined ? "" : `<skipped message="${escaped(skipped)}"/>`
}

const caseOf = (item: ItemReport): Case => {
  const reasons = item.remarks.map((remark) => {
    const place = placeOf(remark)
    return `${place === "" ? "" : `${place}: `}${remark.message} [${remark.code}]`
  })
  const origins = originsOf(item)
  const base = {
    suite: "mallard.sources",
    name: item.path,
    ...(origins.length === 0 ? {} : { note: origins.join("; ") })
  }
  switch (item.outcome) {
    case "migrated":
    case "unchanged":
      return base
    case "skipped":
      return { ...base, skipped: reasons.join("; ") }
    case "rejected":
    case "failed":
      return {
        ...base,
        problem: {
          tag: item.outcome === "failed" ? "error" : "failure",
          type: item.remarks[0]?.code ?? item.outcome,
          text: reasons.join("\n")
        }
      }
  }
}

const balanceCase = (report: RunReport): Case => {
  const { balance } = summaryOf(report)
  const base = { suite: "mallard.totals", name: "every source found has one outcome" }
  if (report.totals.partial === true) return { ...base, skipped: balance }
  return report.totals.balanced ? base : { ...base, problem: { tag: "failure", type: "unbalanced", text: balance } }
}

/** That a run was undone is no failure of it, but what it stored is not there. */
const undoneCases = ({ undone_by: by }: RunReport): ReadonlyArray<Case> =>
  by === undefined
    ? []
    : [
        {
          suite: "mallard.totals",
          name: "what the run stored was not undone",
          skipped: `the run was ${undoneWord(by)} by run ${by.run}${
            by.reason === undefined ? "" : ", because more sources were rejected than --max-rejects allows"
          }`
        }
      ]

/** A source that is gone fails nothing: what was stored from it stays. */
const removedCases = (report: RunReport): ReadonlyArray<Case> =>
  removedSources(report).map(({ left, path }) => ({
    suite: "mallard.removed",
    name: path,
    skipped: `no longer there; ${left}`
  }))

const verificationCases = ({ verification }: RunReport): ReadonlyArray<Case> => {
  const suite = "mallard.verification"
  if (verification.findings.length > 0) {
    return verification.findings.map(({ code, message, where }) => ({
      suite,
      name: where,
      problem: { tag: "failure", type: code, text: `${where}: ${message} [${code}]` }
    }))
  }
  if (verification.checked === 0) return []
  const name = `${verification.checked} documents rendered as in the source`
  return verification.mismatched === 0
    ? [{ suite, name }]
    : [{ suite, name, problem: { tag: "failure", type: "mismatch", text: `${verification.mismatched} are not` } }]
}

/** Without the characters that XML cannot hold: they are shown as `\u{…}`. */
const escaped = (text: string): string =>
  escapeMarkup(
    text
      .split("\n")
      .map((line) => (line === "" ? "" : printablePath(line.replace(/[\ufffe\uffff]/g, "\ufffd"))))
      .join("\n")
  )
