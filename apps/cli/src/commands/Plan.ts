/** `mallard plan`: what a run would do, printed and, if wanted, written to a file that a run carries out. */
import type { ConflictRule } from "@mallard/migrator"
import { Effect } from "effect"
import { plainRun } from "../Defaults.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { runMigrate } from "./Migrate.ts"

export interface PlanCommand extends CommonOptions {
  readonly paths: ReadonlyArray<string>
  readonly onConflict: ConflictRule | undefined
  /** `-` is standard output. */
  readonly out: string | undefined
  readonly noBackup: boolean
  readonly strict: boolean
  readonly rules: string | undefined
  readonly maxRejects: string | undefined
  readonly maxFileSize: string | undefined
  readonly maxEntitySize: string | undefined
  readonly maxDepth: number | undefined
  readonly jobs: number | undefined
  readonly memory: string | undefined
  readonly showValues: boolean
}

export const runPlan = Effect.fnUntraced(function* (session: Session, command: PlanCommand) {
  const { out, ...rest } = command
  // What a file would get is the plan that can be carried out, not its lines for people.
  const isPiped = out === "-"
  yield* runMigrate(session, {
    ...plainRun,
    ...rest,
    json: rest.json || isPiped,
    planning: { out: isPiped ? undefined : out },
    dryRun: true
  })
})
