/** What stands on the command line, and how the user got there. */
import type { Environment } from "./Terminal.ts"

/** The arguments without the `--` that package managers hand on before those of a script; a bare `--wait` is for ever. */
export const argumentsOf = (argv: ReadonlyArray<string>): ReadonlyArray<string> => {
  const at = argv[0] === "--" ? 0 : argv[1] === "--" ? 1 : -1
  const args = at < 0 ? argv : [...argv.slice(0, at), ...argv.slice(at + 1)]
  const end = args.indexOf("--")
  return args.map((arg, index) =>
    arg === "--wait" && (end < 0 || index < end) && !/^\d+(?:\.\d+)?$/.test(args[index + 1] ?? "")
      ? `--wait=${FOR_EVER}`
      : arg
  )
}

/** What `--wait` without a number of seconds means. */
export const FOR_EVER = "forever"

/** How to call the program from where the user is: as itself, or through the script of the repository. */
export const invocationOf = (env: Environment): string => {
  const script = env["npm_lifecycle_event"]
  if (script !== "migrate" && script !== "mallard") return "mallard"
  return /[\\/]_npx[\\/]/.test(env["npm_execpath"] ?? "") ? "npx -y pnpm@12 mallard" : "pnpm mallard"
}
