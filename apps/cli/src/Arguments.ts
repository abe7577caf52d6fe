/** What stands on the command line, and how the user got there. */
import type { Environment } from "./Terminal.ts"

/** Flags that may go without a value: what a value looks like, and what is meant without one. */
const bareFlags = (): Readonly<Record<string, { readonly value: RegExp; readonly meant: string }>> => ({
  "--wait": { value: /^\d+(?:\.\d+)?$/, meant: FOR_EVER },
  "--otlp": { value: /^https?:/i, meant: FROM_ENVIRONMENT }
})

/** The arguments without the `--` that package managers hand on before those of a script, which is that of `migrate` or of any
 * command; a bare `--wait` is for ever, and a bare `--otlp` means the collector that the environment names. `help COMMAND` is
 * `COMMAND --help`. */
export const argumentsOf = (
  argv: ReadonlyArray<string>,
  isFile: (path: string) => boolean = () => false
): ReadonlyArray<string> => {
  const at = argv[0] === "--" ? 0 : argv[0] === "migrate" && argv[1] === "--" ? 1 : -1
  // After it a name that looks like flags is that of a file, if there is one.
  const meant = (arg: string): string => (isLikeFlags(arg) && isFile(arg) ? `./${arg}` : arg)
  const args = at < 0 ? argv : [...argv.slice(0, at), ...argv.slice(at + 1).map(meant)]
  const end = args.indexOf("--")
  const flags = bareFlags()
  if (args[0] === "help") return [...args.slice(1), "--help"]
  return args.map((arg, index) => {
    const bare = end < 0 || index < end ? flags[arg] : undefined
    return bare === undefined || bare.value.test(args[index + 1] ?? "") ? arg : `${arg}=${bare.meant}`
  })
}

/** The words before the first flag: the command and its subcommands, and what these are given. */
export const wordsOf = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const flag = args.findIndex((arg) => arg.startsWith("-"))
  return flag < 0 ? args : args.slice(0, flag)
}

/** Whether an argument is read as flags, and may be the name of a source. */
export const isLikeFlags = (arg: string): boolean => /^-[^=]*\.(?:json|ndjson|jsonl|duckdb|db)$/i.test(arg)

/** Whether a query that begins with a comment was given where flags are read. */
export const isCommentLikeFlag = ([command, ...args]: ReadonlyArray<string>): boolean =>
  (command === "query" || command === "sql") && args.some((arg) => /^--(?![a-z-]+=).*\s/.test(arg))

/** What `--otlp` without a URL means. */
export const FROM_ENVIRONMENT = "environment"

/** What `--wait` without a number of seconds means. */
export const FOR_EVER = "forever"

/** How to call the program from where the user is: as itself, or through the script of the repository. */
export const invocationOf = (env: Environment): string => {
  const script = env["npm_lifecycle_event"]
  if (script !== "migrate" && script !== "mallard") return "mallard"
  return /[\\/]_npx[\\/]/.test(env["npm_execpath"] ?? "") ? "npx -y pnpm@12 mallard" : "pnpm mallard"
}
