/** What stands on the command line, and how the user got there. */
import type { Environment } from "./Terminal.ts"

/** The arguments without the `--` that package managers hand on before those of a script. */
export const argumentsOf = (argv: ReadonlyArray<string>): ReadonlyArray<string> => {
  const at = argv[0] === "--" ? 0 : argv[1] === "--" ? 1 : -1
  return at < 0 ? argv : [...argv.slice(0, at), ...argv.slice(at + 1)]
}

/** How to call the program from where the user is: as itself, or through the script of the repository. */
export const invocationOf = (env: Environment): string => {
  const script = env["npm_lifecycle_event"]
  if (script !== "migrate" && script !== "mallard") return "mallard"
  return /[\\/]_npx[\\/]/.test(env["npm_execpath"] ?? "") ? "npx -y pnpm@12 mallard" : "pnpm mallard"
}
