/** Texts that people write, as plans, rules and queries: in files as UTF-8 or with a byte order mark, like sources. */
import { readFileSync } from "node:fs"
import { systemCode } from "@mallard/duckdb-store/Disk"
import { printablePath, toUtf8 } from "@mallard/legacy-json"
import { Effect, Result } from "effect"
import { type CommandFailed, usage } from "./Failure.ts"

/** Stands for it on the command line. */
export const STANDARD_INPUT = "-"

const reasons: Readonly<Record<string, readonly [what: string, next: string]>> = {
  ENOENT: ["there is no such file", "Check its path."],
  ENOTDIR: ["a part of its path is no folder", "Check its path."],
  EISDIR: ["it is a folder", "Name the file."],
  EACCES: ["the operating system does not permit it", "Check who may read it."],
  EPERM: ["the operating system does not permit it", "Check who may read it."]
}

/** The text of a file, `-` for standard input; `what` is how to call it in what is said of it. */
export const readInputText = (path: string, what: string): Effect.Effect<string, CommandFailed> => {
  const isInput = path === STANDARD_INPUT
  const refused = (why: string, next: string): CommandFailed =>
    usage(`Cannot read the ${what} ${isInput ? "from standard input" : printablePath(path)}: ${why}.`, next)
  return Effect.try({
    try: () => readFileSync(isInput ? 0 : path),
    catch: (cause) => refused(...(reasons[systemCode(cause) ?? ""] ?? ["reading it failed", "Check the disk."]))
  }).pipe(
    Effect.flatMap((bytes) => {
      const text = toUtf8(bytes)
      const isMarked16 = Result.isFailure(text) && text.failure.code === "invalid-utf16"
      // No JSON has one, and every other byte of UTF-16 is one.
      if (!isMarked16 && Result.getOrElse(text, () => ({ bytes })).bytes.includes(0)) {
        return Effect.fail(
          refused("it has bytes of zero, as UTF-16 without a byte order mark does", "Save it as UTF-8.")
        )
      }
      if (Result.isSuccess(text)) return Effect.succeed(Buffer.from(text.success.bytes).toString())
      const form = isMarked16 ? "UTF-16, as its byte order mark says" : "UTF-8"
      return Effect.fail(refused(`it is not ${form} (at byte ${text.failure.offset})`, "Save it as UTF-8."))
    })
  )
}
