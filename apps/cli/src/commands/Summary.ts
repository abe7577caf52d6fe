/** `mallard summary`: counts, ranges, distributions and samples of a cohort. */
import type { ColumnSummary, SampleStrategy } from "@mallard/duckdb-store"
import { Effect } from "effect"
import { usage } from "../Failure.ts"
import { withCohorts } from "../Opened.ts"
import { cohortJson } from "../RenderCohorts.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { grouped, printable } from "../Text.ts"

export interface SummaryCommand extends CommonOptions {
  readonly name: string
  readonly samples: number
  readonly strategy: SampleStrategy
  readonly seed: string | undefined
  readonly memory: string | undefined
}

export const runSummary = Effect.fnUntraced(function* (session: Session, command: SummaryCommand) {
  const { name, samples, seed, strategy } = command
  const { terminal } = session
  if (samples < 0) return yield* usage("--samples must be 0 or more.")
  yield* withCohorts(
    session,
    command.db,
    Effect.fnUntraced(function* ({ cohorts }) {
      const { cohort, kinds } = yield* cohorts.summary(name, { samples, strategy, seed })
      if (command.json) {
        // Samples are texts: parsing them would change numbers.
        terminal.out(`${JSON.stringify({ ...cohortJson(cohort), kinds }, null, 2)}\n`)
        return
      }
      terminal.out(`${terminal.paint("bold", printable(cohort.name))}\n`)
      for (const { columns, count, kind, samples } of kinds) {
        terminal.out(`\n${grouped(count)} ${kind}\n`)
        for (const column of columns) terminal.out(`  ${column.column}: ${columnText(column)}\n`)
        for (const sample of samples) terminal.out(`  sample ${printable(sample)}\n`)
      }
    }),
    command
  )
})

const MOST_SHOWN = 5

const columnText = ({ count, distinct, range, values }: ColumnSummary): string => {
  const counts = `${grouped(count)} with a value, ${grouped(distinct)} different`
  if (range !== undefined) {
    return `${counts}, ${printable(range.least)} to ${printable(range.greatest)}, median ${printable(range.quartiles[1] ?? "")}`
  }
  if (values === undefined || distinct === count) return counts
  const shown = values.slice(0, MOST_SHOWN).map(({ count, value }) => `${printable(value)} ${grouped(count)}`)
  return `${counts}: ${shown.join(", ")}${values.length > MOST_SHOWN ? ", …" : ""}`
}
