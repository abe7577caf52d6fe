/** The commands that change cohorts, each change a revision that can be taken back. */
import { Argument, Command, Flag } from "effect/cli"
import { cohort, many, on, optionalArgument, standard, text, whole } from "./Flags.ts"
import type { MakeCommand } from "./Root.ts"

const saving = {
  description: text("description", "TEXT", "Description (default: what the document says)"),
  tags: many("tag", "TAG", "Tag, instead of the document's (may be repeated)"),
  overwrite: on("overwrite", "Make this the next revision of a cohort of that name")
}

const newName = Argument.String("NEW").pipe(Argument.withDescription("New name"))

/** Saving, naming, copying, merging, deleting. */
export const changeCommands = (command: MakeCommand) => {
  const save = command(
    "save",
    {
      name: Argument.String("NAME").pipe(Argument.withDescription("Name of the cohort")),
      file: Argument.String("FILE").pipe(Argument.withDescription("JSON file, - for standard input")),
      ...saving
    },
    async () => (await import("../commands/Save.ts")).runSave
  ).pipe(
    Command.withDescription("Save JSON as a cohort under a name"),
    Command.withExamples([
      { command: "mallard save diabetes-2024 diabetes.json --tag chronic", description: "Save a file" },
      { command: "mallard save diabetes-2024 - --overwrite", description: "Save standard input as its next revision" }
    ])
  )

  const importCommand = command(
    "import",
    {
      file: Argument.String("FILE").pipe(Argument.withDescription("JSON file")),
      name: text("as", "NAME", "Name of the cohort (default: the document's, else the file's)"),
      ...saving
    },
    async () => (await import("../commands/Save.ts")).runSave
  ).pipe(
    Command.withDescription("Save one cohort file under its own name or another; migrate takes whole folders"),
    Command.withExamples([
      { command: "mallard import diabetes.json", description: "Import a file that somebody shared" },
      { command: "mallard import diabetes.json --as diabetes-copy", description: "Import it under another name" }
    ])
  )

  const rename = command(
    "rename",
    { name: cohort, newName },
    async () => (await import("../commands/Change.ts")).runRename
  ).pipe(
    Command.withAlias("mv"),
    Command.withDescription("Give a cohort another name"),
    Command.withExamples([{ command: "mallard rename diabetes-2024 diabetes", description: "Rename a cohort" }])
  )

  const tag = command(
    "tag",
    {
      name: Argument.String("NAME").pipe(Argument.withDescription("Name or id of a cohort"), optionalArgument),
      add: many("add", "TAG", "Tag to add (may be repeated)"),
      remove: many("remove", "TAG", "Tag to remove (may be repeated)")
    },
    async () => (await import("../commands/Change.ts")).runTag
  ).pipe(
    Command.withDescription("Show, add and remove tags"),
    Command.withExamples([
      { command: "mallard tag", description: "Show all tags" },
      { command: "mallard tag diabetes-2024 --add chronic --remove draft", description: "Change those of a cohort" }
    ])
  )

  const clone = command(
    "clone",
    { name: cohort, newName },
    async () => (await import("../commands/Change.ts")).runClone
  ).pipe(
    Command.withAlias("cp"),
    Command.withDescription("Make a cohort of the same content under another name"),
    Command.withExamples([{ command: "mallard clone diabetes-2024 diabetes-test", description: "Clone a cohort" }])
  )

  const merge = command(
    "merge",
    {
      names: Argument.String("NAME").pipe(
        Argument.withDescription("Names or ids of two or more cohorts"),
        Argument.variadic()
      ),
      into: Flag.String("into").pipe(Flag.withMetavar("NAME"), Flag.withDescription("Name of the cohort to make")),
      conflict: standard(
        Flag.Literals("conflict", ["skip", "overwrite", "rename"]),
        "Of entities of one kind and id: the first stays, the last stays, or later ones get another id",
        "skip"
      ),
      overwrite: on("overwrite", "Make this the next revision of a cohort of that name")
    },
    async () => (await import("../commands/Change.ts")).runMerge
  ).pipe(
    Command.withDescription("Make one cohort of the entities of several"),
    Command.withExamples([
      { command: "mallard merge diabetes heart --into chronic", description: "Merge two cohorts" },
      { command: "mallard merge diabetes heart --into chronic --conflict rename -v", description: "Keep everything" }
    ])
  )

  const deleteCommand = command(
    "delete",
    { name: cohort },
    async () => (await import("../commands/Change.ts")).runDelete
  ).pipe(
    Command.withAlias("rm"),
    Command.withDescription("Delete a cohort by a further revision; undelete brings it back"),
    Command.withExamples([{ command: "mallard delete diabetes-2024", description: "Delete a cohort" }])
  )

  const undelete = command(
    "undelete",
    {
      name: cohort,
      revision: whole("revision", "NUMBER", "Bring back this revision (default: the last before it was deleted)"),
      newName: text("as", "NAME", "Under this name (default: the one it had)")
    },
    async () => (await import("../commands/Change.ts")).runUndelete
  ).pipe(
    Command.withDescription("Bring back a deleted cohort, or a former revision of any"),
    Command.withExamples([
      { command: "mallard undelete diabetes-2024", description: "Bring back a deleted cohort" },
      { command: "mallard undelete diabetes-2024 --revision 2", description: "Make revision 2 the latest again" }
    ])
  )

  const gc = command(
    "gc",
    {
      names: Argument.String("NAME").pipe(
        Argument.withDescription("Names or ids of deleted cohorts (default: all of them)"),
        Argument.variadic()
      ),
      purge: on("purge", "Remove them for good; needs --yes")
    },
    async () => (await import("../commands/Gc.ts")).runGc
  ).pipe(
    Command.withDescription("Say what deleted cohorts still hold, and remove it for good with --purge"),
    Command.withExamples([
      { command: "mallard gc", description: "See what would go" },
      { command: "mallard gc --purge --yes", description: "Remove it: this cannot be undone" }
    ])
  )

  return [save, importCommand, rename, tag, clone, merge, deleteCommand, undelete, gc]
}
