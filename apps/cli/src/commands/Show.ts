/** `mallard show`: one cohort, its files, its history, and what was remarked when it was stored. */
import { Effect } from "effect"
import { withCohorts } from "../Opened.ts"
import { renderCohort, type ShownCohort, shownJson, type StoredRemark } from "../RenderCohorts.ts"
import type { CommonOptions, Session } from "../Session.ts"

export interface ShowCommand extends CommonOptions {
  readonly name: string
}

export const runShow = Effect.fnUntraced(function* (session: Session, command: ShowCommand) {
  const { terminal } = session
  yield* withCohorts(
    session,
    command.db,
    Effect.fnUntraced(function* ({ cohorts }) {
      const cohort = yield* cohorts.find(command.name)
      const history = yield* cohorts.history(cohort.cohortId)
      const parts = yield* cohorts.parts(cohort.contentId)
      const stored = history.find(({ revisionId }) => revisionId === cohort.contentId)
      const items = stored?.runId === undefined ? [] : yield* cohorts.items(stored.runId)
      const item = items.find(({ revisionId }) => revisionId === cohort.contentId)
      const shown: ShownCohort = { cohort, history, parts, source: item?.path, remarks: remarksOf(item?.remarks) }
      if (command.json) terminal.out(`${JSON.stringify(shownJson(shown), null, 2)}\n`)
      else {
        const lines = renderCohort(shown, terminal.paint, command.verbose)
        terminal.out(lines.map((line) => `${line}\n`).join(""))
      }
    })
  )
})

/** The remarks that a run wrote down with the item. */
const remarksOf = (text: string | undefined): ReadonlyArray<StoredRemark> =>
  text === undefined ? [] : JSON.parse(text)
