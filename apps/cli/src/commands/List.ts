/** `mallard list`: the cohorts of a database. */
import { Effect } from "effect"
import { cohortJson, renderList } from "../RenderCohorts.ts"
import { withCohorts } from "../Opened.ts"
import type { CommonOptions, Session } from "../Session.ts"

export interface ListCommand extends CommonOptions {
  readonly tag: string | undefined
  readonly search: string | undefined
  readonly product: string | undefined
  readonly limit: number | undefined
  readonly cursor: string | undefined
}

export const runList = Effect.fnUntraced(function* (session: Session, command: ListCommand) {
  const { cursor, limit, product, search, tag } = command
  const isPaged = limit !== undefined || cursor !== undefined
  const isFiltered = isPaged || [tag, search, product].some((option) => option !== undefined)
  const { terminal } = session
  yield* withCohorts(
    session,
    command.db,
    Effect.fnUntraced(function* ({ cohorts, path }) {
      const page = isFiltered
        ? yield* cohorts.page({ tag, search, product, cursor, limit: limit ?? MOST })
        : { items: yield* cohorts.list, next: undefined }
      const found = page.items
      if (command.json && isPaged) {
        terminal.out(`${JSON.stringify({ cohorts: found.map(cohortJson), next: page.next ?? null }, null, 2)}\n`)
      } else if (command.json) terminal.out(`${JSON.stringify(found.map(cohortJson), null, 2)}\n`)
      else
        terminal.out(
          renderList(found, path, terminal.paint, isFiltered, page.next !== undefined)
            .map((line) => `${line}\n`)
            .join("")
        )
      if (page.next !== undefined && !command.json) terminal.error(`More with --cursor ${page.next}\n`)
    })
  )
})

/** The most that a page may hold. */
const MOST = 10_000
