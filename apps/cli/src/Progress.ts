/**
 * Progress of a run on stderr: a bar on a terminal, and off it a plain line every few seconds once a run takes long; or, for
 * programs, events of one line of JSON each.
 */
import type { Progress as Step } from "@mallard/migrator"
import type { Session } from "./Session.ts"
import { counted, duration, grouped, size } from "./Text.ts"

/** What is known of a run at a moment. */
export interface ProgressState {
  readonly phase: "finding" | "copying" | "reading" | "verifying"
  readonly sources: number
  readonly items: number
  readonly bytes: number
  readonly totalBytes: number
  readonly done: number
  readonly documents: number
  readonly elapsedMs: number
  readonly phaseMs: number
}

const FRAME_MS = 100
const LINE_MS = 5000
const BAR = 20

/** How much of the phase is done, from 0 to 1. */
const shareOf = (state: ProgressState): number => {
  const share = state.phase === "verifying" ? state.done / state.documents : state.bytes / state.totalBytes
  return Number.isFinite(share) ? Math.min(1, share) : 0
}

/** What there is to say, the most useful first. */
const detailsOf = (state: ProgressState, share: number): ReadonlyArray<string> => {
  const left = share > 0.01 && share < 1 ? [`${duration((state.phaseMs * (1 - share)) / share)} left`] : []
  if (state.phase === "verifying") return [`${grouped(state.done)}/${counted(state.documents, "document")}`, ...left]
  const speed = state.phaseMs > 500 ? [`${size((state.bytes * 1000) / state.phaseMs)}/s`] : []
  return [
    ...(state.phase === "reading" ? [`${grouped(state.items)}/${counted(state.sources, "source")}`] : []),
    ...left,
    ...speed,
    `${size(state.bytes)} of ${size(state.totalBytes)}`
  ]
}

/** One line of less than `columns` characters, with as many details as fit. */
export const progressBar = (state: ProgressState, columns: number): string => {
  if (state.phase === "finding") return "finding sources".slice(0, columns - 1)
  const share = shareOf(state)
  const full = Math.round(share * BAR)
  const bar = `${"█".repeat(full)}${"░".repeat(BAR - full)}`
  let line = `${state.phase} ${bar} ${`${Math.floor(share * 100)}%`.padStart(4)}`.slice(0, columns - 1)
  for (const detail of detailsOf(state, share)) {
    if (line.length + detail.length + 2 < columns) line += `  ${detail}`
  }
  return line
}

/** The same without a bar. */
export const progressLine = (state: ProgressState): string => {
  const share = shareOf(state)
  return `${state.phase} ${Math.floor(share * 100)}%, ${detailsOf(state, share).join(", ")}`
}

type Item = Extract<Step, { readonly phase: "item" }>["item"]

const itemEvent = ({ bytes, outcome, path, remark_count, remarks }: Item) => ({
  event: "item",
  path,
  outcome,
  bytes,
  remarks: remark_count,
  // Codes alone: the report has the words.
  codes: [...new Set(remarks.map(({ code }) => code))]
})

export class ProgressReport {
  private readonly session: Session
  private readonly isSilent: boolean
  private readonly isJson: boolean
  private readonly started: number
  private phaseStarted: number
  private drawn: number
  private state: Omit<ProgressState, "elapsedMs" | "phaseMs">

  constructor(session: Session, isSilent: boolean, isJson = false) {
    this.session = session
    this.isSilent = isSilent
    this.isJson = isJson
    this.started = session.now()
    this.phaseStarted = this.started
    this.drawn = session.terminal.canAnimate ? 0 : this.started
    this.state = { phase: "finding", sources: 0, items: 0, bytes: 0, totalBytes: 0, done: 0, documents: 0 }
  }

  readonly step = (step: Step): void => {
    const { phase } = this.state
    switch (step.phase) {
      case "found":
        this.state = { ...this.state, sources: step.sources, totalBytes: step.bytes }
        break
      case "backup":
        this.enter("copying")
        // Copying counts every byte twice: written, and read back for proof.
        this.state = { ...this.state, bytes: Math.min(this.state.totalBytes, this.state.bytes + step.bytes / 2) }
        break
      case "read":
        this.enter("reading")
        // A batch that is done again is read again.
        this.state = { ...this.state, bytes: Math.min(this.state.totalBytes, this.state.bytes + step.bytes) }
        break
      case "item":
        this.state = { ...this.state, items: Math.min(this.state.sources, this.state.items + 1) }
        break
      case "verify":
        this.enter("verifying")
        this.state = { ...this.state, done: step.done, documents: step.documents }
        break
    }
    if (this.isJson) this.tell(step, phase)
    else this.draw()
  }

  /** Items and changes of phase are told at once, what lies between them ten times a second. */
  private tell(step: Step, former: ProgressState["phase"]): void {
    const { terminal } = this.session
    if (step.phase === "item") terminal.error(`${JSON.stringify(itemEvent(step.item))}\n`)
    const at = this.session.now()
    const isLast = step.phase === "verify" && step.done === step.documents
    const isDue = step.phase === "found" || isLast || this.state.phase !== former || at - this.drawn >= FRAME_MS
    if (!isDue) return
    this.drawn = at
    const { bytes, documents, done, items, phase, sources, totalBytes } = this.state
    const elapsed = Math.round(at - this.started)
    const event = { event: "progress", phase, sources, items, bytes, total_bytes: totalBytes, done, documents }
    terminal.error(`${JSON.stringify({ ...event, elapsed_ms: elapsed })}\n`)
  }

  private enter(phase: ProgressState["phase"]): void {
    if (phase === this.state.phase) return
    this.state = { ...this.state, phase, bytes: 0 }
    this.phaseStarted = this.session.now()
  }

  private draw(): void {
    if (this.isSilent) return
    const { now, terminal } = this.session
    const at = now()
    if (at - this.drawn < (terminal.canAnimate ? FRAME_MS : LINE_MS)) return
    this.drawn = at
    const state = { ...this.state, elapsedMs: at - this.started, phaseMs: at - this.phaseStarted }
    if (terminal.canAnimate) terminal.showStatus(progressBar(state, terminal.columns))
    else terminal.error(`${progressLine(state)}\n`)
  }
}
