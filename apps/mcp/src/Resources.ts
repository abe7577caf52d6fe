/** What can be read without a tool. */
import { Effect } from "effect"
import type { ToolOptions } from "./Actions.ts"
import { kindOf } from "./Entities.ts"
import { explained } from "./Problems.ts"
import { type PagedResource, ToolError } from "./ToolServer.ts"

const RESOURCE_ENTITIES = 10_000
const RESOURCE_CHARACTERS = 1_000_000

/** The entities of one kind of a cohort, as a resource. */
export const makeResources = ({ cohorts }: ToolOptions): ReadonlyArray<PagedResource> => [
  {
    name: "Entities of a cohort",
    description:
      "The entities of one kind of a cohort, a line of JSON each, exactly as stored; kinds as in load_cohort, cohort by id or name",
    mimeType: "application/x-ndjson",
    read: Effect.fnUntraced(function* (cohort: string, kind: string) {
      const found = yield* kindOf(kind)
      const page = yield* explained(
        cohorts.read(
          () => Effect.void,
          (store) => store.entities(cohort, { kind: found, limit: RESOURCE_ENTITIES })
        )
      )
      const lines = page.items.map((one) => `${one.text}\n`).join("")
      if (page.next !== undefined || lines.length > RESOURCE_CHARACTERS) {
        return yield* new ToolError({ message: "These are too many to read at once: use load_cohort with a limit." })
      }
      return lines
    })
  }
]
