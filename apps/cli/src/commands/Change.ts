/** `mallard delete`, `undelete`, `rename`, `tag`, `clone` and `merge`: each makes one revision, and none is lost. */
import type { Changed, ConflictRule } from "@mallard/duckdb-store"
import { Effect } from "effect"
import { usage } from "../Failure.ts"
import { type Opened, withChanges, withCohorts } from "../Opened.ts"
import { hintsOf } from "../Hints.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { byKind, counted, entities, printable, sum } from "../Text.ts"

const changedJson = ({ cohortId, isChanged, name, seq }: Changed) => ({
  name,
  cohort_id: cohortId,
  seq,
  changed: isChanged
})

const tell = (session: Session, command: CommonOptions, changed: Changed, what: string): void => {
  const { terminal } = session
  if (command.json) terminal.out(`${JSON.stringify(changedJson(changed), null, 2)}\n`)
  else {
    const done = changed.isChanged ? `${what}, revision ${changed.seq}` : "nothing to change"
    terminal.out(`✓ ${printable(changed.name)}: ${done}\n`)
  }
}

/** Makes one change to what is stored, and tells what was `done`. */
const change = <E>(
  session: Session,
  command: CommonOptions,
  done: string,
  make: (cohorts: Opened["cohorts"]) => Effect.Effect<Changed, E>
) =>
  withChanges(session, command.db, "refuse", ({ cohorts }) =>
    Effect.map(make(cohorts), (changed) => tell(session, command, changed, done))
  )

export const runDelete = Effect.fnUntraced(function* (
  session: Session,
  command: CommonOptions & { readonly name: string }
) {
  yield* change(session, command, "deleted", (cohorts) => cohorts.delete(command.name))
  if (!command.json && !command.quiet) {
    const hint = hintsOf(session)
    session.terminal.error(
      `  Nothing is lost: \`${hint("undelete", [command.name])}\` brings it back, \`${hint("gc", [command.name], " --purge")}\` removes it for good.\n`
    )
  }
})

export const runUndelete = (
  session: Session,
  command: CommonOptions & {
    readonly name: string
    readonly revision: number | undefined
    readonly newName: string | undefined
  }
) =>
  change(session, command, "restored", (cohorts) =>
    cohorts.restore(command.name, { seq: command.revision, name: command.newName })
  )

/** What takes a cohort and a name for it or its copy. */
type NamingCommand = CommonOptions & { readonly name: string; readonly newName: string }

export const runRename = (session: Session, command: NamingCommand) =>
  change(session, command, "renamed", (cohorts) => cohorts.rename(command.name, command.newName))

export const runClone = (session: Session, command: NamingCommand) =>
  change(session, command, "cloned", (cohorts) => cohorts.clone(command.name, command.newName))

export interface TagCommand extends CommonOptions {
  readonly name: string | undefined
  readonly add: ReadonlyArray<string>
  readonly remove: ReadonlyArray<string>
}

export const runTag = Effect.fnUntraced(function* (session: Session, command: TagCommand) {
  const { add, name, remove } = command
  const { terminal } = session
  if (name === undefined) {
    if (add.length + remove.length > 0) return yield* usage("Which cohort is to be tagged?", "Give its NAME.")
    return yield* withCohorts(
      session,
      command.db,
      Effect.fnUntraced(function* ({ cohorts }) {
        const tags = yield* cohorts.tags
        if (command.json) terminal.out(`${JSON.stringify(tags, null, 2)}\n`)
        else terminal.out(tags.map(({ cohorts, tag }) => `${printable(tag)}: ${counted(cohorts, "cohort")}\n`).join(""))
      })
    )
  }
  if (add.length + remove.length === 0) {
    return yield* withCohorts(
      session,
      command.db,
      Effect.fnUntraced(function* ({ cohorts }) {
        const { tags } = yield* cohorts.find(name)
        if (command.json) terminal.out(`${JSON.stringify(tags, null, 2)}\n`)
        else terminal.out(tags.map((tag) => `${printable(tag)}\n`).join(""))
      })
    )
  }
  return yield* change(session, command, "tagged", (cohorts) => cohorts.retag(name, { add, remove }))
})

export interface MergeCommand extends CommonOptions {
  readonly names: ReadonlyArray<string>
  readonly into: string
  readonly conflict: ConflictRule
  readonly overwrite: boolean
}

export const runMerge = (session: Session, command: MergeCommand) =>
  withChanges(
    session,
    command.db,
    "refuse",
    Effect.fnUntraced(function* ({ cohorts }) {
      const { conflict, into, names, overwrite } = command
      const { terminal } = session
      const merged = yield* cohorts.merge(names, { name: into, conflict, overwrite })
      const { conflicts, identical } = merged
      if (command.json) {
        const { cohortId, name, outcome, seq } = merged
        const shown = { name, cohort_id: cohortId, seq, outcome, entities: merged.entities, identical, conflicts }
        terminal.out(`${JSON.stringify(shown, null, 2)}\n`)
        return
      }
      const kinds = byKind(merged.entities)
      terminal.out(`✓ ${printable(into)}: ${merged.outcome}, ${entities(sum(merged.entities))} (${kinds})\n`)
      terminal.out(`  ${entities(identical)} in common, ${counted(conflicts.length, "conflict")}\n`)
      if (command.verbose) {
        for (const { id, kind, outcome, renamedTo } of conflicts) {
          const to = renamedTo === undefined ? "" : ` to ${printable(renamedTo)}`
          terminal.out(`  ${kind} ${printable(id)}: ${outcome}${to}\n`)
        }
      }
    })
  )
