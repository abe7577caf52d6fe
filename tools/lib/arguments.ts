/** The command lines of the tools: what the comment at the top of a tool says of its use is what `--help` prints. */
import { readFileSync } from "node:fs"
import { parseArgs, type ParseArgsConfig } from "node:util"

/** Ends the process as a wrong use does, with what is wrong and the next step. */
export const failUsage = (problem: string): never => {
  console.error(`${problem}\n--help says more`)
  process.exit(2)
}

/** The text of the comment at the top of a source file. */
export const headComment = (source: string): string => {
  const [comment = ""] = /^\/\*\*[^]*?\*\//.exec(source) ?? []
  return comment
    .replace(/^\/\*\*\n?/, "")
    .replace(/\s*\*\/$/, "")
    .split("\n")
    .map((line) => line.replace(/^ \* ?/, ""))
    .join("\n")
}

/** What was typed, without the `--` that some package managers hand on. */
const typed = (): Array<string> => process.argv.slice(2).filter((argument, index) => index > 0 || argument !== "--")

/** Reads the arguments of the tool that was started; `--help` and what cannot be meant end it. */
export const readArguments = <const T extends Omit<ParseArgsConfig, "args">>(config: T) => {
  const args = typed()
  if (args.includes("--help") || args.includes("-h")) {
    console.log(headComment(readFileSync(process.argv[1] ?? "", "utf8")))
    process.exit(0)
  }
  try {
    return { ...parseArgs({ ...config, args }), typed: args }
  } catch (cause) {
    return failUsage(cause instanceof Error ? cause.message : String(cause))
  }
}

/** A number that stands behind `--name`. */
export const wholeNumber = (name: string, text: string, least = 0): number => {
  const value = Number(text)
  return text.trim() !== "" && Number.isSafeInteger(value) && value >= least
    ? value
    : failUsage(`--${name} takes a whole number${least <= 0 ? "" : ` of ${least} or more`}`)
}
