/** The whole command line: commands with their flags, help and examples. What they do is loaded only when they run. */
import { Effect } from "effect"
import { Command, Flag, GlobalFlag } from "effect/cli"
import { changeCommands } from "./program/Changes.ts"
import { cohortCommands } from "./program/Cohorts.ts"
import { migrationCommands } from "./program/Migration.ts"
import { makeRoot } from "./program/Root.ts"
import { safetyCommands } from "./program/Safety.ts"
import { serverCommands } from "./program/Servers.ts"
import type { Session } from "./Session.ts"

const version = (session: Session) =>
  GlobalFlag.Action({
    flag: Flag.Boolean("version").pipe(
      Flag.withAlias("V"),
      Flag.withDescription("Show the version"),
      Flag.withDefault(false)
    ),
    run: () => Effect.sync(() => session.terminal.out(`${session.program}\n`))
  })

export const makeProgram = (session: Session) => {
  const { command, root } = makeRoot(session)
  return root.pipe(
    Command.withSubcommands([
      { group: "Migration", commands: [...migrationCommands(command), ...safetyCommands(command)] },
      { group: "Cohorts", commands: cohortCommands(command) },
      { group: "Changes", commands: changeCommands(command) },
      { group: "Servers", commands: serverCommands(command) }
    ]),
    Command.withExamples([
      { command: "mallard migrate old-cohorts", description: "Bring a folder into the default database" },
      { command: "mallard list", description: "See what is there" },
      { command: "mallard export diabetes-2024", description: "Get a cohort back as JSON" }
    ]),
    Command.withGlobalFlags([version(session)])
  )
}
