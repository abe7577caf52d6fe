/** `mallard save` and `mallard import`: a JSON file becomes a cohort, or its next revision. */
import { resolve } from "node:path"
import { Effect } from "effect"
import { InvalidRequest } from "@mallard/duckdb-store"
import { readDocument } from "../LegacyDocument.ts"
import { withChanges } from "../Opened.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { byKind, counted, entities, printable, sum } from "../Text.ts"

export interface SaveCommand extends CommonOptions {
  /** `-` is standard input. */
  readonly file: string
  readonly name: string | undefined
  readonly description: string | undefined
  readonly tags: ReadonlyArray<string>
  readonly overwrite: boolean
}

export const runSave = Effect.fnUntraced(function* (session: Session, command: SaveCommand) {
  const { description, file, name, overwrite, tags } = command
  const document = yield* readDocument(file === "-" ? file : resolve(session.cwd, file), file)
  yield* withChanges(
    session,
    command.db,
    "create",
    Effect.fnUntraced(function* ({ cohorts }) {
      const saved = yield* cohorts
        .save({ ...document, name, description, overwrite, ...(tags.length === 0 ? {} : { tags }) })
        .pipe(Effect.catchTag("InvalidRequest", (refused) => Effect.fail(about(file, refused))))
      if (command.json) {
        const { cohortId: cohort_id, digest, outcome, remarks, seq } = saved
        const shown = { name: saved.name, cohort_id, seq, outcome, digest, entities: saved.entities, remarks }
        session.terminal.out(`${JSON.stringify(shown, null, 2)}\n`)
        return
      }
      const count = sum(saved.entities)
      const kinds = count === 0 ? "" : ` (${byKind(saved.entities)})`
      session.terminal.out(
        `✓ ${printable(saved.name)}: ${saved.outcome}, revision ${saved.seq}, ${entities(count)}${kinds}\n`
      )
      if (saved.remarks.length > 0 && !command.quiet) {
        session.terminal.out(`  ${counted(saved.remarks.length, "remark")}: --json lists them\n`)
      }
    })
  )
})

/** What is wrong with the text is said with the name of its file. */
const about = (file: string, refused: InvalidRequest): InvalidRequest =>
  refused.reason === "bad-json" ? new InvalidRequest({ ...refused, path: file }) : refused
