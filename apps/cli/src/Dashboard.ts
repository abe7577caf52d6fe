/**
 * The dashboard of a run: what is known of the run at a moment, the width of the terminal and its colours give lines. No line
 * is as wide as the terminal, whatever is in the names of files.
 */
import { CliOutput } from "effect/cli"
import type { Paint } from "./Terminal.ts"
import { counted, duration, grouped, printable, size } from "./Text.ts"

export type Phase = "finding" | "copying" | "reading" | "verifying" | "checking" | "restoring" | "undoing"

/** A source that was not stored, or stored with remarks: which one and why, by the code of the first reason. */
export interface Problem {
  readonly path: string
  readonly code: string
  /** How many more reasons there are. */
  readonly more: number
  readonly isError: boolean
}

/** What is known of a run at a moment. */
export interface ProgressState {
  readonly phase: Phase
  /** The phases that this run goes through. */
  readonly phases: ReadonlyArray<Phase>
  readonly sources: number
  readonly items: number
  readonly bytes: number
  readonly totalBytes: number
  /** Entities read. */
  readonly entities: number
  /** Documents verified or cohorts undone, of how many. */
  readonly done: number
  readonly documents: number
  readonly outcomes: Readonly<Record<"migrated" | "unchanged" | "skipped" | "rejected" | "failed", number>>
  readonly remarks: number
  /** The latest ones, the last first, errors before remarks. */
  readonly problems: ReadonlyArray<Problem>
  readonly isStopping: boolean
  readonly elapsedMs: number
  readonly phaseMs: number
}

/** What there is room for. */
export interface Room {
  readonly columns: number
  readonly rows: number
}

/** How many problems are shown. */
export const SHOWN_PROBLEMS = 5

const BAR = 20
const WIDEST_BAR = 50
/** With less room than this the dashboard is one line. */
const FEWEST_COLUMNS = 48
const FEWEST_ROWS = 8
const MARGIN = " "
const GAP = "  "

/** How much of the phase is done, from 0 to 1. */
const shareOf = (state: ProgressState): number => {
  const share = isCounted(state) ? state.done / state.documents : state.bytes / state.totalBytes
  return Number.isFinite(share) ? Math.max(0, Math.min(1, share)) : 0
}

/** Whether the phase goes by things rather than by bytes. */
const isCounted = ({ phase }: ProgressState): boolean => phase === "verifying" || phase === "undoing"

const percent = (share: number): string => `${`${Math.floor(share * 100)}`.padStart(3)}%`

const barOf = (share: number, width: number): readonly [string, string] => {
  const full = Math.round(share * width)
  return ["█".repeat(full), "░".repeat(width - full)]
}

/** Before that, what a phase has done tells nothing of its speed. */
const SETTLED_MS = 500

/** What is left of the phase, once that can be told. */
const leftOf = (state: ProgressState, share: number): ReadonlyArray<string> => {
  if (state.phaseMs <= SETTLED_MS || share <= 0.01 || share >= 1) return []
  const left = (state.phaseMs * (1 - share)) / share
  return [left < 1000 ? "under 1 s left" : `${duration(left)} left`]
}

/** What happens in a second. */
const perSecond = (count: number, milliseconds: number): number | undefined =>
  milliseconds > SETTLED_MS && count > 0 ? (count * 1000) / milliseconds : undefined

/** What there is to say, the most useful first. */
const detailsOf = (state: ProgressState, share: number): ReadonlyArray<string> => {
  const left = leftOf(state, share)
  if (isCounted(state)) {
    const what = state.phase === "undoing" ? "cohort" : "document"
    return [`${grouped(Math.floor(state.done))}/${counted(state.documents, what)}`, ...left]
  }
  const speed = perSecond(state.bytes, state.phaseMs)
  return [
    ...(state.phase === "reading" ? [`${grouped(state.items)}/${counted(state.sources, "source")}`] : []),
    ...left,
    ...(speed === undefined ? [] : [`${size(speed)}/s`]),
    `${size(state.bytes)} of ${size(state.totalBytes)}`
  ]
}

/** One line of less than `columns` characters, with as many details as fit. */
export const progressBar = (state: ProgressState, columns: number): string => {
  if (state.phase === "finding") return "finding sources".slice(0, Math.max(0, columns - 1))
  const share = shareOf(state)
  const line = `${state.phase} ${barOf(share, BAR).join("")} ${percent(share)}`
  return fitting(line.slice(0, Math.max(0, columns - 1)), detailsOf(state, share), columns - 1)
}

/** The same without a bar. */
export const progressLine = (state: ProgressState): string => {
  const share = shareOf(state)
  return `${state.phase} ${Math.floor(share * 100)}%, ${detailsOf(state, share).join(", ")}`
}

/** All lines, each narrower than the terminal and fewer than its rows; a single one where there is little room. */
export const dashboard = (state: ProgressState, { columns, rows }: Room, paint: Paint): ReadonlyArray<string> => {
  if (columns < FEWEST_COLUMNS || rows < FEWEST_ROWS) return [progressBar(state, columns)]
  const width = columns - 1
  const lines = [phasesLine(state, width, paint), barLine(state, width, paint), ...factLines(state, width, paint)]
  const free = Math.min(SHOWN_PROBLEMS, rows - 1 - lines.length - 1)
  const problems = state.problems.slice(0, Math.max(0, free))
  if (problems.length === 0) return lines
  return [
    ...lines,
    `${MARGIN}${paint("dim", "latest problems")}`,
    ...problems.map((problem) => problemLine(problem, width, paint))
  ]
}

/** The phases in order, those done ticked off, and for how long the run has been going on. */
const phasesLine = (state: ProgressState, width: number, paint: Paint): string => {
  const now = state.phases.indexOf(state.phase)
  const words = state.phases.map((phase, at) => {
    if (at < now) return `✓ ${done[phase]}`
    return at === now ? `▸ ${phase}` : `· ${phase}`
  })
  const clock = duration(state.elapsedMs)
  const plain = `${MARGIN}${words.join(GAP)}`
  const painted = words.map((word, at) => paint(at < now ? "green" : at === now ? "bold" : "dim", word))
  if (cellsOf(plain) + GAP.length + clock.length > width) return `${MARGIN}${paint("bold", state.phase)}`
  return `${MARGIN}${painted.join(GAP)}${GAP}${paint("dim", clock)}`
}

const done: Readonly<Record<Phase, string>> = {
  finding: "found",
  copying: "copied",
  reading: "read",
  verifying: "verified",
  checking: "checked",
  restoring: "restored",
  undoing: "undone"
}

/** In these no source is decided about. */
const isOfCopies = ({ phase }: ProgressState): boolean =>
  phase === "checking" || phase === "restoring" || phase === "undoing"

const barLine = (state: ProgressState, width: number, paint: Paint): string => {
  const share = shareOf(state)
  const isStoring = state.phase === "reading" && share === 1
  const left = state.isStopping ? ["stopping"] : isStoring ? ["storing"] : leftOf(state, share)
  const after = `${GAP}${percent(share)}`
  const bar = Math.min(WIDEST_BAR, width - MARGIN.length - after.length - GAP.length - "59 min 59 s left".length)
  const [full, empty] = barOf(share, bar)
  const plain = `${MARGIN}${full}${empty}${after}`
  const rest = left.filter((text) => plain.length + GAP.length + text.length <= width)
  return `${MARGIN}${paint("cyan", full)}${paint("dim", empty)}${after}${rest.map((text) => GAP + text).join("")}`
}

/** What has been read and at what speed, and what became of it. */
const factLines = (state: ProgressState, width: number, paint: Paint): ReadonlyArray<string> => {
  const { outcomes } = state
  const errors = outcomes.rejected + outcomes.failed
  if (isOfCopies(state)) {
    const amounts = fitting("", amountsOf(state), width, MARGIN)
    return amounts === "" ? [] : [amounts]
  }
  return [
    fitting("", amountsOf(state), width, MARGIN),
    fitting(
      "",
      [
        paint(errors > 0 ? "red" : "dim", counted(errors, "error")),
        paint(state.remarks > 0 ? "yellow" : "dim", counted(state.remarks, "warning")),
        ...(["failed", "rejected", "migrated", "unchanged", "skipped"] as const).flatMap((outcome) => {
          const count = outcomes[outcome]
          return count > 0 ? [paint("dim", `${grouped(count)} ${outcome}`)] : []
        })
      ],
      width,
      MARGIN
    )
  ]
}

const amountsOf = (state: ProgressState): ReadonlyArray<string> => {
  if (state.phase === "finding") return ["looking for sources"]
  if (state.phase === "undoing") return [`${grouped(Math.floor(state.done))} of ${counted(state.documents, "cohort")}`]
  if (state.phase === "verifying") {
    const speed = perSecond(state.done, state.phaseMs)
    return [
      `${grouped(state.done)} of ${counted(state.documents, "document")}`,
      ...(speed === undefined ? [] : [`${grouped(Math.round(speed))} documents/s`]),
      ...(state.entities > 0 ? [`${counted(state.entities, "entity", "entities")} read`] : [])
    ]
  }
  const bytes = perSecond(state.bytes, state.phaseMs)
  const entities = perSecond(state.entities, state.phaseMs)
  const amount = [
    ...(bytes === undefined ? [] : [`${size(bytes)}/s`]),
    `${size(state.bytes)} of ${size(state.totalBytes)}`
  ]
  if (isOfCopies(state)) return [counted(state.sources, "file"), ...amount]
  if (state.phase === "copying") return [`${counted(state.sources, "source")}`, ...amount]
  return [
    `${grouped(state.items)} of ${counted(state.sources, "source")}`,
    ...(entities === undefined ? [] : [`${grouped(Math.round(entities))} entities/s`]),
    ...amount,
    counted(state.entities, "entity", "entities")
  ]
}

const problemLine = ({ code, isError, more, path }: Problem, width: number, paint: Paint): string => {
  const others = more > 0 ? ` +${grouped(more)}` : ""
  const reason = `${shortened(printable(code), Math.floor(width / 2) - others.length)}${others}`
  const room = width - MARGIN.length - 2 - GAP.length - cellsOf(reason)
  const mark = isError ? paint("red", "✗") : paint("yellow", "!")
  return `${MARGIN}${mark} ${ending(printable(path), room)}${GAP}${paint("dim", reason)}`
}

/** A line with as many of the details as it has room for, in their order. */
const fitting = (start: string, details: ReadonlyArray<string>, width: number, first = GAP): string => {
  let line = start
  for (const detail of details) {
    const gap = line === "" ? first : GAP
    if (cellsOf(line) + gap.length + cellsOf(detail) <= width) line += `${gap}${detail}`
  }
  return line
}

/** The start of a text. */
const shortened = (text: string, width: number): string => {
  let kept = ""
  let used = 0
  for (const character of text) {
    used += cells(character)
    if (used > width) return kept
    kept += character
  }
  return kept
}

/** The end of a text that is too long, which for a path is the name of the file. */
const ending = (text: string, width: number): string => {
  // Longer ones are cut first: a path may have thousands of characters, and this is done for every frame.
  const end = text.length > 4 * width ? text.slice(-4 * width) : text
  if (end === text && cellsOf(text) <= width) return text
  const characters = [...end]
  let used = 1
  let first = characters.length
  while (first > 0 && used + cells(characters[first - 1]!) <= width) used += cells(characters[--first]!)
  return width < 1 ? "" : `…${characters.slice(first).join("")}`
}

/** At most so many cells of a terminal does a text take. Styles take none; terminals differ about joined characters, so none are joined here. */
const cellsOf = (text: string): number => {
  let sum = 0
  for (const character of text.replace(STYLES, "")) sum += cells(character)
  return sum
}

// oxlint-disable-next-line no-control-regex -- styles start with a control character
const STYLES = /\u001b\[[0-9;]*m/g
const MARKS = /^[\p{Mn}\p{Me}]$/u
const PICTURES = /^[\p{Extended_Pictographic}\p{Regional_Indicator}]$/u

const cells = (character: string): number => {
  if (character >= " " && character <= "~") return 1
  // It may make the character before it wide.
  if (character === "\ufe0f") return 1
  if (MARKS.test(character)) return 0
  return PICTURES.test(character) ? 2 : Math.max(1, CliOutput.displayWidth(character))
}
