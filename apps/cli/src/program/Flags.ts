/** Flags and arguments that several commands have, and short ways to declare others. What is left out is undefined. */
import { Option } from "effect"
import { Argument, Flag } from "effect/cli"

export const on = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withoutNegation, Flag.withDefault(false))

/** Makes a flag optional. */
export const optional = <A>(flag: Flag.Flag<A>): Flag.Flag<A | undefined> =>
  flag.pipe(Flag.optional, Flag.map(Option.getOrUndefined))

/** A flag that has a value in any case; its help says which it has where it is left out. */
export const standard = <A extends string | number>(
  flag: Flag.Flag<A>,
  description: string,
  value: NoInfer<A>
): Flag.Flag<A> => flag.pipe(Flag.withDescription(`${description} (default: ${value})`), Flag.withDefault(value))

/** Makes an argument optional. */
export const optionalArgument = <A>(argument: Argument.Argument<A>): Argument.Argument<A | undefined> =>
  argument.pipe(Argument.optional, Argument.map(Option.getOrUndefined))

export const text = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), optional)

/** An empty path, as a variable of a script leaves it that is not set, would lead to the folder that the user is in. */
export const isPath = (path: string): boolean => path !== ""
export const A_PATH = "the path of a file or folder"
export const isNamed = Flag.filter(isPath, () => A_PATH)

export const path = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), isNamed, optional)

/** Where a command writes what it prints otherwise; `-` is standard output, as it is without the flag. */
export const output = (metavar: string, description: string) =>
  path("out", metavar, description).pipe(Flag.map((given) => (given === "-" ? undefined : given)))

export const whole = (name: string, metavar: string, description: string) =>
  Flag.Int(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), optional)

export const many = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.atLeast(0))

export const cohort = Argument.String("NAME").pipe(Argument.withDescription("Name or id of a cohort"))

export const sources = Argument.String("PATH").pipe(
  Argument.withDescription("Files and folders (default: cohorts, scenarios, workspaces in ~/.healthsim)"),
  Argument.variadic()
)

export const onConflict = Flag.Literals("on-conflict", ["fail", "skip", "replace", "rename"]).pipe(
  Flag.withDescription("What to do when a cohort of that name exists with other content (default: fail)"),
  optional
)

export const dryRun = on("dry-run", "Read and report everything, write nothing").pipe(Flag.withAlias("n"))

export const jobs = whole("jobs", "N", "How much to read, compress and compute at once (default: as the cores allow)")

/** The bounds of what is read. */
export const limits = {
  maxFileSize: text("max-file-size", "SIZE", "Reject sources with a larger file, without reading it (default: none)"),
  maxEntitySize: text("max-entity-size", "SIZE", "Largest entity or string (default: 64MiB)"),
  maxDepth: whole("max-depth", "LEVELS", "Deepest nesting (default: 10000)")
}

/** The passphrase of copies, from a file or asked for. */
export const passphrase = {
  passphraseFile: path("backup-passphrase-file", "FILE", "Passphrase of encrypted copies"),
  passphrase: on("backup-passphrase", "Ask for the passphrase of encrypted copies, on the terminal")
}

/** How sources are copied before anything is written. */
export const backup = {
  noBackup: on("no-backup", "Copy no source before writing: the original bytes then exist only where they are now"),
  backupDir: path("backup-dir", "DIR", "Where to copy the sources to (default: beside the database, FILE.backups)"),
  backupPassphraseFile: path("backup-passphrase-file", "FILE", "Encrypt the copies with the passphrase in this file"),
  backupPassphrase: on("backup-passphrase", "Encrypt the copies with a passphrase that is asked for on the terminal"),
  backupRecipients: many("backup-recipient", "AGE1", "Encrypt the copies to this age recipient (may be repeated)")
}

/** How progress is told on stderr. */
export const progress = standard(
  Flag.Literals("progress", ["text", "json"]),
  "Progress on stderr: words, or an event of JSON per line",
  "text"
)

export const showValues = on("show-values", "Show on the terminal what stands where a remark points")

export const memory = (standard = "500MB") =>
  text("memory", "LIMIT", `DuckDB's own memory, such as 1GB (default: ${standard})`)
