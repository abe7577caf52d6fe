/** The work behind the tools, for those of today and for the older names. Each call opens the database for itself. */
import type { Cohorts } from "./Cohorts.ts"
import { makeChangingActions } from "./ChangingActions.ts"
import { makeExportAction } from "./ExportAction.ts"
import { makeReadingActions } from "./ReadingActions.ts"
import type { Roots } from "./Roots.ts"

/** What the tools work on, and which of them there are. */
export interface ToolOptions {
  readonly cohorts: Cohorts
  /** Without roots no tool takes a path. */
  readonly roots: Roots | undefined
  readonly readOnly: boolean
  readonly allowQuery: boolean
}

export const makeActions = ({ cohorts, roots }: ToolOptions) => ({
  ...makeReadingActions(cohorts),
  ...makeChangingActions(cohorts, roots),
  exportCohort: makeExportAction(cohorts, roots)
})

export type Actions = ReturnType<typeof makeActions>
