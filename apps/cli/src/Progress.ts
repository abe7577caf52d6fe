/**
 * Progress of a run on stderr: a dashboard on a terminal, and off it a plain line every few seconds once a run takes long; or,
 * for programs, events of one line of JSON each.
 */
import type { Progress as Step } from "@mallard/migrator"
import { Effect } from "effect"
import { dashboard, type Phase, type Problem, progressLine, type ProgressState, SHOWN_PROBLEMS } from "./Dashboard.ts"
import type { Session } from "./Session.ts"
import { shownPath } from "./Text.ts"

/** Redrawn at most so often. */
const FRAME_MS = 100
const LINE_MS = 5000

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

/** Whether nothing of a phase that counts is left. */
const isComplete = (step: Step): boolean => {
  switch (step.phase) {
    case "verify":
      return step.done === step.documents
    case "check":
    case "restore":
      return step.done === step.bytes
    case "undo":
      return step.done === step.cohorts
    default:
      return false
  }
}

/** What a command says of how progress is told. */
export interface ProgressFlag {
  readonly progress?: "text" | "json" | undefined
}

export interface ProgressOptions {
  readonly isSilent: boolean
  readonly isJson?: boolean
  /** What the run goes through, as far as it is known before. */
  readonly phases: readonly [Phase, ...ReadonlyArray<Phase>]
}

export class ProgressReport {
  private readonly session: Session
  private readonly isSilent: boolean
  private readonly isJson: boolean
  private readonly started: number
  private phaseStarted: number
  private drawn: number
  private state: Omit<ProgressState, "elapsedMs" | "isStopping" | "phaseMs" | "problems">
  private errors: ReadonlyArray<Problem> = []
  private warnings: ReadonlyArray<Problem> = []
  /** What the last event for programs told. */
  private told: ProgressReport["state"] | undefined
  private timer: NodeJS.Timeout | undefined

  constructor(session: Session, { isJson = false, isSilent, phases }: ProgressOptions) {
    this.session = session
    this.isSilent = isSilent
    this.isJson = isJson
    this.started = session.now()
    this.phaseStarted = this.started
    this.drawn = this.started
    this.state = {
      phase: phases[0],
      phases,
      sources: 0,
      items: 0,
      bytes: 0,
      totalBytes: 0,
      entities: 0,
      done: 0,
      documents: 0,
      outcomes: { migrated: 0, unchanged: 0, skipped: 0, rejected: 0, failed: 0 },
      remarks: 0
    }
  }

  /** Shows progress while an effect runs; whatever ends it takes the dashboard away. */
  during<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.acquireUseRelease(
      Effect.sync(() => this.begin()),
      () => effect,
      () => Effect.sync(() => this.end())
    )
  }

  readonly step = (step: Step): void => {
    this.session.telemetry.onProgress?.(step)
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
        this.addItem(step.item, step.formerly)
        break
      case "entities":
        this.state = { ...this.state, entities: this.state.entities + step.count }
        break
      case "verify":
        this.enter("verifying")
        this.state = { ...this.state, done: step.done, documents: step.documents }
        break
      case "check":
      case "restore":
        this.enter(step.phase === "check" ? "checking" : "restoring")
        this.state = { ...this.state, bytes: step.done, totalBytes: step.bytes, sources: step.files }
        break
      case "undo":
        this.enter("undoing")
        this.state = { ...this.state, done: step.done, documents: step.cohorts }
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
    const isLast = isComplete(step)
    const isDue = step.phase === "found" || isLast || this.state.phase !== former || at - this.drawn >= FRAME_MS
    if (isDue) this.tellState()
  }

  private tellState(): void {
    const at = this.session.now()
    this.drawn = at
    this.told = this.state
    const { bytes, documents, done, entities, items, phase, sources, totalBytes } = this.state
    const elapsed = Math.round(at - this.started)
    const event = {
      event: "progress",
      phase,
      sources,
      items,
      // Half a byte is one that was copied and is not proven yet.
      bytes: Math.floor(bytes),
      total_bytes: totalBytes,
      entities,
      done: Math.floor(done),
      documents
    }
    this.session.terminal.error(`${JSON.stringify({ ...event, elapsed_ms: elapsed })}\n`)
  }

  private enter(phase: ProgressState["phase"]): void {
    if (phase === this.state.phase) return
    this.state = { ...this.state, phase, bytes: 0 }
    this.phaseStarted = this.session.now()
    // A phase is shown when it begins, unless all has just begun.
    if (this.session.terminal.canAnimate && this.phaseStarted - this.started >= FRAME_MS) this.drawn = -FRAME_MS
  }

  private addItem({ outcome, path, remark_count, remarks }: Item, formerly: Item["outcome"] | undefined): void {
    const { items, outcomes: all, remarks: before, sources } = this.state
    const outcomes = formerly === undefined ? all : { ...all, [formerly]: all[formerly] - 1 }
    const isError = outcome === "rejected" || outcome === "failed"
    const isWarning = !isError && outcome !== "unchanged" && remark_count > 0
    this.state = {
      ...this.state,
      items: Math.min(sources, items + (formerly === undefined ? 1 : 0)),
      outcomes: { ...outcomes, [outcome]: outcomes[outcome] + 1 },
      remarks: before + (isWarning ? remark_count : 0)
    }
    const [first] = remarks
    if (first === undefined || !(isError || isWarning)) return
    const problem = { path, code: first.code, more: remark_count - 1, isError }
    if (isError) this.errors = [problem, ...this.errors.slice(0, SHOWN_PROBLEMS - 1)]
    else this.warnings = [problem, ...this.warnings.slice(0, SHOWN_PROBLEMS - 1)]
  }

  /** Between events time goes on, and the terminal may change its size. */
  private begin(): void {
    if (this.isSilent || this.isJson || !this.session.terminal.canAnimate) return
    this.timer = setInterval(() => this.draw(), FRAME_MS)
    this.timer.unref()
  }

  private end(): void {
    clearInterval(this.timer)
    // Programs go by the last event: it tells all.
    if (this.told !== undefined && this.told !== this.state) this.tellState()
    this.session.terminal.clearStatus()
  }

  private draw(): void {
    if (this.isSilent) return
    const { cwd, now, stop, terminal } = this.session
    const at = now()
    if (at - this.drawn < (terminal.canAnimate ? FRAME_MS : LINE_MS)) return
    this.drawn = at
    const state = {
      ...this.state,
      problems: [...this.errors, ...this.warnings].map((problem) => ({
        ...problem,
        path: shownPath(problem.path, cwd)
      })),
      isStopping: stop.signal !== undefined,
      elapsedMs: at - this.started,
      phaseMs: at - this.phaseStarted
    }
    const { columns, rows } = terminal
    if (terminal.canAnimate) terminal.showStatus(dashboard(state, { columns, rows: rows - 1 }, terminal.paintError))
    else terminal.error(`${progressLine(state)}\n`)
  }
}
