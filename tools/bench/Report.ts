/** What a suite found, as a value: printed on the terminal, kept as JSON, and turned into pages. */
import { cpus, loadavg, release, totalmem, type } from "node:os"
import { median } from "./Statistics.ts"
import { type Rounds, type Sample } from "./Runner.ts"

export interface Table {
  readonly title: string
  readonly note?: string
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<string>>
}

export interface Bars {
  readonly title: string
  readonly unit: string
  readonly bars: ReadonlyArray<{
    readonly label: string
    readonly value: number
    readonly low: number
    readonly high: number
  }>
}

/** Lines over logarithmic axes. */
export interface Curves {
  readonly title: string
  readonly x: string
  readonly y: string
  readonly lines: ReadonlyArray<{ readonly label: string; readonly points: ReadonlyArray<{ x: number; y: number }> }>
}

/** A number that has a limit. */
export interface Result {
  readonly target: string
  readonly value: number
  readonly must: number
  readonly stretch: number
  readonly unit: string
}

export interface Report {
  readonly suite: string
  readonly title: string
  /** What was measured, on what, for someone who has not read anything else. */
  readonly about: string
  readonly command: string
  readonly machine: Machine
  readonly rounds: number
  readonly entities: number
  /** What was meant to be measured and could not be, with the reason. */
  readonly missing: ReadonlyArray<string>
  readonly tables: ReadonlyArray<Table>
  readonly bars: ReadonlyArray<Bars>
  readonly curves: ReadonlyArray<Curves>
  readonly samples: Readonly<Record<string, ReadonlyArray<Sample>>>
  readonly results: ReadonlyArray<Result>
}

interface Machine {
  readonly cores: number
  readonly model: string
  readonly memory: number
  readonly node: string
  readonly system: string
  /** Processes that wanted to run in the minute before the suite ended its work. */
  readonly load: number
  readonly day: string
}

export const machine = (): Machine => ({
  cores: cpus().length,
  model: cpus()[0]?.model.trim() ?? "unknown processor",
  memory: totalmem(),
  node: process.version,
  system: `${type()} ${release()}`,
  load: loadavg()[0] ?? 0,
  day: new Date().toISOString().slice(0, 10)
})

export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`

export const roundsInWords = (rounds: number): string => `${rounds} ${rounds === 1 ? "round" : "rounds"}`

/** A few digits, whatever the size. */
export const short = (value: number): string => {
  if (!Number.isFinite(value)) return "?"
  if (value !== 0 && Math.abs(value) < 0.01) return value.toExponential(1)
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2)
}

/** "stretch met", "must met" or "MISSED". */
const verdictOf = ({ must, stretch, value }: Result): string => {
  if (value <= stretch) return "stretch met"
  return value <= must ? "must met" : "MISSED"
}

/** One row per job with the cost of its rounds. */
export const costTable = (
  title: string,
  { failures, samples }: Rounds,
  sizes?: ReadonlyMap<string, number>
): Table => ({
  title,
  columns: ["job", "wall s", "min", "max", "CPU s", "peak", ...(sizes === undefined ? [] : ["database"])],
  rows: [
    ...[...samples].map(([name, list]) => {
      const seconds = list.map((sample) => sample.seconds)
      const size = sizes?.get(name)
      return [
        name,
        median(seconds).toFixed(2),
        Math.min(...seconds).toFixed(2),
        Math.max(...seconds).toFixed(2),
        median(list.map(({ cpuSeconds }) => cpuSeconds)).toFixed(2),
        megabytes(median(list.map(({ peakBytes }) => peakBytes))),
        ...(sizes === undefined ? [] : [size === undefined ? "" : megabytes(size)])
      ]
    }),
    ...[...failures].map(([name]) => [name, ...Array<string>(5).fill("failed"), ...(sizes === undefined ? [] : [""])])
  ]
})

export const targetTable = (results: ReadonlyArray<Result>): Table => ({
  title: "Targets",
  columns: ["target", "measured", "must", "stretch", "verdict", "unit"],
  rows: results.map((result) => [
    result.target,
    result.value.toFixed(2),
    String(result.must),
    String(result.stretch),
    verdictOf(result),
    result.unit
  ])
})

export const barsOf = (
  title: string,
  unit: string,
  samples: ReadonlyMap<string, ReadonlyArray<Sample>>,
  of: (sample: Sample) => number
): Bars => ({
  title,
  unit,
  bars: [...samples].map(([label, list]) => {
    const values = list.map(of)
    return { label, value: median(values), low: Math.min(...values), high: Math.max(...values) }
  })
})

/** A table as lines of text: numbers to the right, words to the left. */
export const printed = ({ columns, note, rows, title }: Table): string => {
  const widths = columns.map((column, at) => Math.max(column.length, ...rows.map((row) => (row[at] ?? "").length)))
  const isNumeric = columns.map((_, at) => rows.some((row) => /^-?[\d.]/.test(row[at] ?? "")))
  const line = (cells: ReadonlyArray<string>): string =>
    cells
      .map((cell, at) => (at > 0 && isNumeric[at] ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0)))
      .join("  ")
      .trimEnd()
  return [`\n${title}`, ...(note === undefined ? [] : [note]), "", line(columns), ...rows.map(line)].join("\n")
}
