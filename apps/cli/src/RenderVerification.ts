/** What `mallard verify` found, as JSON for programs and as text for people. */
import type { Paint } from "./Terminal.ts"
import { counted, entities, grouped, printable } from "./Text.ts"

/** The JSON of `mallard verify --json`. */
export interface VerificationResult {
  readonly database: string
  readonly outcome: "ok" | "mismatch" | "damaged"
  /** Documents rendered and compared by digest. */
  readonly checked: number
  readonly matched: number
  readonly mismatched: number
  readonly entities: number
  /** All findings, also those beyond the ones listed. */
  readonly finding_count: number
  readonly findings: ReadonlyArray<{ readonly code: string; readonly where: string; readonly message: string }>
  /** Source files compared with `--source`. */
  readonly sources: { readonly checked: number; readonly matched: number; readonly mismatched: number }
  /** Source files that were not compared, and why. */
  readonly notes: ReadonlyArray<{ readonly code: string; readonly where: string; readonly message: string }>
}

export interface VerificationView {
  readonly paint: Paint
  readonly verbose: boolean
  readonly quiet: boolean
}

/** Findings shown without `--verbose`. */
const SHOWN = 20

export const renderVerification = (result: VerificationResult, view: VerificationView): ReadonlyArray<string> => {
  const shown = view.verbose ? result.findings : result.findings.slice(0, SHOWN)
  const rest = result.finding_count - shown.length
  const findings = [
    ...shown.map(
      ({ code, message, where }) =>
        `${view.paint("red", "✗")} ${printable(where)}: ${printable(message)} [${printable(code)}]`
    ),
    ...(rest > 0 ? [`  and ${counted(rest, "more finding")}${view.verbose ? "" : "; --verbose shows more"}`] : [])
  ]
  const noted = view.verbose ? result.notes : result.notes.slice(0, SHOWN)
  const more = result.notes.length - noted.length
  const notes = [
    ...noted.map(
      ({ code, message, where }) =>
        `${view.paint("yellow", "-")} ${printable(where)}: ${printable(message)} [${printable(code)}]`
    ),
    ...(more > 0 ? [`  and ${counted(more, "more note")}; --verbose shows more`] : [])
  ]
  return [...findings, ...(view.quiet ? [] : notes), ...totalsOf(result, view)]
}

const totalsOf = (result: VerificationResult, view: VerificationView): ReadonlyArray<string> => {
  const { checked, matched, sources } = result
  const documents = `${grouped(matched)}/${counted(checked, "document")} rendered as in the source, ${entities(result.entities)} checked`
  const compared =
    sources.checked === 0
      ? []
      : [`${grouped(sources.matched)}/${counted(sources.checked, "source file")} held as they are`]
  const database = view.quiet ? [] : [`Database: ${printable(result.database)}`]
  switch (result.outcome) {
    case "ok":
      return [`${view.paint("green", "✓")} ${documents}, every row as it was written`, ...compared, ...database]
    case "mismatch":
      return [
        documents,
        ...compared,
        view.paint("red", `NOT verified: ${counted(result.finding_count, "finding")}`),
        ...database
      ]
    case "damaged":
      return [view.paint("red", "NOT verified: the database is damaged"), ...database]
  }
}
