/**
 * Words and an exit code for the case that DuckDB takes the process along, as it does on some damaged databases. Costs
 * nothing while all is well: nobody has to watch from another process.
 */
import { printablePath } from "@mallard/legacy-json/SourceError"
import { exitCode } from "./Failure.ts"
import { hintsOf } from "./Hints.ts"
import type { Session } from "./Session.ts"

const crashes = ["SIGSEGV", "SIGBUS", "SIGFPE"] as const

/**
 * From here on a crash of DuckDB ends the program with a message and with the code of a damaged database. DuckDB's own
 * threads alone read what may be damaged, and hand on copies: so the thread that this runs on is there to tell of it. It
 * must do no more than that: the thread that crashed is stopped in the middle of whatever it held.
 *
 * Only for commands that read: where rows are written, this thread is in DuckDB's code itself, and a crash of its own
 * would never end.
 */
export const endWithWords = (session: Session): void => {
  // Without the call only the signal can end such a process.
  if (process.platform === "win32" || process.execve === undefined) return
  for (const signal of crashes) if (process.listenerCount(signal) === 0) process.on(signal, () => end(session))
}

const end = (session: Session): void => {
  const {
    reading: { database, onCrash },
    terminal
  } = session
  terminal.clearStatus()
  const lines = [
    `DuckDB crashed at work on ${database === undefined ? "the database" : printablePath(database)}, as it does on some damaged files. Nothing is half stored.`,
    `  Keep the file as it is: ${hintsOf(session)("doctor")} looks at it from a process of its own, says what is wrong and can copy what is whole.`
  ]
  if (database !== undefined) onCrash?.(database, { code: exitCode.damaged, lines, tag: "EngineCrashed" })
  terminal.error(`${terminal.paintError("red", "mallard:")} ${lines.map((line) => `${line}\n`).join("")}`)
  // Leaving in the usual way would wait for the thread that crashed.
  process.execve?.("/bin/sh", ["sh", "-c", `exit ${exitCode.damaged}`], {})
}
