/** `mallard history`: the revisions of a cohort, deleted ones included. */
import { Effect } from "effect"
import { withCohorts } from "../Opened.ts"
import { renderHistory, revisionJson } from "../RenderCohorts.ts"
import type { CommonOptions, Session } from "../Session.ts"

export interface HistoryCommand extends CommonOptions {
  readonly name: string
}

export const runHistory = Effect.fnUntraced(function* (session: Session, command: HistoryCommand) {
  const { terminal } = session
  yield* withCohorts(
    session,
    command.db,
    Effect.fnUntraced(function* ({ cohorts }) {
      const history = yield* cohorts.history(command.name)
      if (command.json) terminal.out(`${JSON.stringify(history.map(revisionJson), null, 2)}\n`)
      else {
        terminal.out(
          renderHistory(history, terminal.paint)
            .map((line) => `${line}\n`)
            .join("")
        )
      }
    })
  )
})
