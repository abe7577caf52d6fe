/** `mallard list`: the cohorts of a database. */
import { Effect } from "effect"
import { cohortJson, renderList } from "../RenderCohorts.ts"
import { withCohorts } from "../Opened.ts"
import type { CommonOptions, Session } from "../Session.ts"

export const runList = Effect.fnUntraced(function* (session: Session, command: CommonOptions) {
  const { terminal } = session
  yield* withCohorts(
    session,
    command.db,
    Effect.fnUntraced(function* ({ cohorts, path }) {
      const found = yield* cohorts.list
      if (command.json) terminal.out(`${JSON.stringify(found.map(cohortJson), null, 2)}\n`)
      else
        terminal.out(
          renderList(found, path, terminal.paint)
            .map((line) => `${line}\n`)
            .join("")
        )
    })
  )
})
