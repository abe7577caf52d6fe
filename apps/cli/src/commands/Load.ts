/** `mallard load`: the entities of a cohort by type, spelt as they were stored, a page of them if asked for. */
import { Effect } from "effect"
import { withCohorts } from "../Opened.ts"
import { cohortJson } from "../RenderCohorts.ts"
import type { CommonOptions, Session } from "../Session.ts"

export interface LoadCommand extends CommonOptions {
  readonly name: string
  readonly kind: string | undefined
  readonly revision: number | undefined
  readonly limit: number | undefined
  readonly cursor: string | undefined
  readonly memory: string | undefined
}

export const runLoad = Effect.fnUntraced(function* (session: Session, command: LoadCommand) {
  const { cursor, kind, limit, name, revision } = command
  const isPaged = [cursor, kind, limit, revision].some((option) => option !== undefined)
  yield* withCohorts(
    session,
    command.db,
    Effect.fnUntraced(function* ({ cohorts }) {
      if (!isPaged) {
        const { cohort, entities } = yield* cohorts.collect(name)
        const { entities: counts, ...facts } = cohortJson(cohort)
        const lists = [...entities].map(([type, texts]) => `${JSON.stringify(type)}:[${texts.join(",")}]`)
        const head = JSON.stringify({ ...facts, counts }).slice(0, -1)
        session.terminal.out(`${head},"entities":{${lists.join(",")}}}\n`)
        return
      }
      const page = yield* cohorts.entities(name, { kind, seq: revision, limit, cursor })
      const items = page.items.map(
        ({ kind, path, pointer, text, type }) =>
          `${JSON.stringify({ kind, type, path, pointer }).slice(0, -1)},"entity":${text}}`
      )
      session.terminal.out(`{"items":[${items.join(",")}],"next":${JSON.stringify(page.next ?? null)}}\n`)
    }),
    command
  )
})
