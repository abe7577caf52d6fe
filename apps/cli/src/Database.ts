/** Runs what a command does on the database that it chose, and waits for it where `--wait` says so. */
import { LockWait, type LockWaiting } from "@mallard/duckdb-store/LockWait"
import type { StoreError } from "@mallard/duckdb-store/StoreError"
import { printablePath } from "@mallard/legacy-json/SourceError"
import { Effect } from "effect"
import { FOR_EVER } from "./Arguments.ts"
import { chooseDatabase } from "./DatabaseChoice.ts"
import { type CommandFailed, usage } from "./Failure.ts"
import type { Session } from "./Session.ts"

/** Runs `use` on the chosen database, and once more on the other one where the first is not ours and was not named. */
export const withDatabase = <A, E, R>(
  session: Session,
  db: string | undefined,
  open: (path: string) => Effect.Effect<A, E | StoreError, R>
): Effect.Effect<A, E | StoreError | CommandFailed, R> =>
  Effect.suspend((): Effect.Effect<A, E | StoreError | CommandFailed, R> => {
    const choice = chooseDatabase(session, db)
    const use = (path: string) =>
      Effect.suspend(() => {
        session.reading.database = path
        return open(path)
      })
    const patience = patienceOf(session)
    if (patience !== undefined && "_tag" in patience) return Effect.fail(patience)
    const patient = (path: string) =>
      patience === undefined ? use(path) : Effect.provideService(use(path), LockWait, patience)
    const { path, instead } = choice
    if (instead === undefined || instead === path) return patient(path)
    return Effect.catch(patient(path), (error) => {
      if (!isForeign(error)) return Effect.fail(error)
      session.terminal.error(
        `${printablePath(path)} holds tables that are not Mallard's and is left alone; using ${printablePath(instead)}.\n`
      )
      return patient(instead)
    })
  })

/** What `--wait` asks for, if it was given. */
const patienceOf = ({ lock, terminal }: Session): LockWaiting | CommandFailed | undefined => {
  if (lock.wait === undefined) return undefined
  const seconds = lock.wait === FOR_EVER ? Infinity : Number(lock.wait)
  if (!(seconds >= 0) || lock.wait.trim() === "") return usage("--wait is no number of seconds.", "Give one like 30.")
  return {
    milliseconds: seconds * 1000,
    onWait: ({ holder, holder_program, path, since }) => {
      const who =
        holder === undefined
          ? "another program"
          : `process ${holder}${holder_program === undefined ? "" : ` (${holder_program})`}`
      const time = since === undefined ? "" : `, running since ${since}`
      terminal.error(`Waiting: ${who} has ${printablePath(path)} open${time}.\n`)
    }
  }
}

const isForeign = (error: unknown): boolean =>
  error instanceof Error &&
  "_tag" in error &&
  error._tag === "StoreError" &&
  "reason" in error &&
  error.reason === "foreign"
