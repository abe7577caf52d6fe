/** `mallard runs`: who ran what, when, with which options, and what came of it. */
import { listRuns } from "@mallard/migrator"
import { Effect } from "effect"
import { withDatabase } from "../Database.ts"
import { renderRuns } from "../RenderReport.ts"
import type { CommonOptions, Session } from "../Session.ts"

export const runRuns = Effect.fnUntraced(function* (session: Session, command: CommonOptions) {
  const { terminal } = session
  yield* withDatabase(session, command.db, (database) =>
    Effect.map(listRuns(database), (runs) => {
      if (command.json) terminal.out(`${JSON.stringify(runs, null, 2)}\n`)
      else
        terminal.out(
          renderRuns(runs, database, terminal.paint)
            .map((line) => `${line}\n`)
            .join("")
        )
    })
  )
})
