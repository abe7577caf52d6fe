/** `mallard diff`: what differs between two revisions, by entity and JSON pointer. */
import type { EntityRef, LeafChange, RevisionDiff } from "@mallard/duckdb-store"
import { Effect } from "effect"
import { withCohorts } from "../Opened.ts"
import type { CommonOptions, Session } from "../Session.ts"
import type { Paint } from "../Terminal.ts"
import { counted, printable } from "../Text.ts"

export interface DiffCommand extends CommonOptions {
  readonly name: string
  readonly from: number | undefined
  readonly to: number | undefined
  readonly with: string | undefined
  readonly memory: string | undefined
}

export const runDiff = Effect.fnUntraced(function* (session: Session, command: DiffCommand) {
  const { terminal } = session
  yield* withCohorts(
    session,
    command.db,
    Effect.fnUntraced(function* ({ cohorts }) {
      const other = command.with
      const history = yield* cohorts.history(command.name)
      const last = history.at(-1)?.seq ?? 1
      const to = command.to ?? (other === undefined ? last : undefined)
      const from = command.from ?? (other === undefined ? Math.max((to ?? last) - 1, 1) : undefined)
      const diff = yield* cohorts.diff({ cohort: command.name, seq: from }, { cohort: other ?? command.name, seq: to })
      if (command.json) terminal.out(`${JSON.stringify(diff, null, 2)}\n`)
      else {
        // Alone, a revision has nothing to be compared with, and a deletion no content of its own.
        const isFirst = other === undefined && command.from === undefined && from === to
        const isDeleted = other === undefined && history.find(({ seq }) => seq === to)?.change === "deleted"
        const lines = [
          ...(isFirst ? [`Revision ${to} is the first: none stands before it\n`] : []),
          ...(isDeleted ? [`Revision ${to} deleted the cohort\n`] : [])
        ]
        const isTold = diff.isSame && lines.length > 0
        terminal.out([...lines, ...(isTold ? [] : renderDiff(diff, terminal.paint))].join(""))
      }
    }),
    command
  )
})

const renderDiff = (diff: RevisionDiff, paint: Paint): ReadonlyArray<string> => {
  if (diff.isSame) return ["No difference\n"]
  const line = (sign: "+" | "-" | "~", text: string): string =>
    `${paint(sign === "+" ? "green" : sign === "-" ? "red" : "yellow", sign)} ${text}\n`
  const entity = ({ id, kind, path, pointer }: EntityRef): string =>
    `${kind} ${id === undefined ? "" : `${printable(id)} `}(${printable(path)} ${printable(pointer)})`
  const leaf = ({ after, before, pointer }: LeafChange): string =>
    `    ${printable(pointer === "" ? "/" : pointer)}: ${printable(before ?? "(none)")} → ${printable(after ?? "(none)")}\n`
  return [
    ...diff.facts.map(({ after, before, fact }) =>
      line("~", `${fact}: ${printable(before ?? "(none)")} → ${printable(after ?? "(none)")}`)
    ),
    ...diff.documents.flatMap(({ changes, outcome, path }) => [
      line(outcome === "added" ? "+" : outcome === "removed" ? "-" : "~", `file ${printable(path)}`),
      ...changes.map(leaf)
    ]),
    ...diff.removed.map((one) => line("-", entity(one))),
    ...diff.added.map((one) => line("+", entity(one))),
    ...diff.changed.flatMap((one) => [
      line("~", entity(one)),
      ...(one.changes.length === 0 ? ["    the order of keys\n"] : one.changes.map(leaf))
    ]),
    `${counted(diff.added.length, "entity added", "entities added")}, ${diff.removed.length} removed, ${diff.changed.length} changed, ${diff.unchanged} unchanged\n`
  ]
}
