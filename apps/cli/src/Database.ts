/**
 * Which database a command works on: `--db`, else `$MALLARD_DB`, else HealthSim's own `$HEALTHSIM_DB_PATH`, else
 * `~/.healthsim/healthsim.duckdb`. A database of somebody else's that was found rather than named is left alone, and
 * `~/.healthsim/mallard.duckdb` is used instead.
 */
import { isAbsolute, join, resolve } from "node:path"
import { LockWait, type LockWaiting } from "@mallard/duckdb-store/LockWait"
import type { StoreError } from "@mallard/duckdb-store/StoreError"
import { printablePath } from "@mallard/legacy-json/SourceError"
import { Effect } from "effect"
import { FOR_EVER } from "./Arguments.ts"
import { type CommandFailed, usage } from "./Failure.ts"
import { type Hint, shellCommand, shellQuoted } from "./Hints.ts"
import type { Session } from "./Session.ts"

/** A database, and what to use if it turns out to be somebody else's. */
interface DatabaseChoice {
  readonly path: string
  readonly instead: string | undefined
}

type Place = Pick<Session, "cwd" | "env" | "home">

const fromEnvironment = ({ cwd, home }: Place, value: string): string =>
  value === "~" || value.startsWith("~/") ? join(home, value.slice(1)) : resolve(cwd, value)

/** The database to use. */
export const chooseDatabase = (place: Place, db: string | undefined): DatabaseChoice => {
  if (db !== undefined) return { path: isAbsolute(db) ? db : resolve(place.cwd, db), instead: undefined }
  const ours = place.env["MALLARD_DB"] ?? ""
  if (ours !== "") return { path: fromEnvironment(place, ours), instead: undefined }
  const theirs = place.env["HEALTHSIM_DB_PATH"] ?? ""
  const path = theirs === "" ? defaultDatabase(place.home) : fromEnvironment(place, theirs)
  return { path, instead: join(place.home, ".healthsim", "mallard.duckdb") }
}

const defaultDatabase = (home: string): string => join(home, ".healthsim", "healthsim.duckdb")

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

/** How to write commands about a database, which is the one at work unless it is named, or about the backups at work. */
export const hintsOf =
  (session: Session, database?: string): Hint =>
  (words, names = [], flags = "") =>
    shellCommand(`${session.invocation} ${words}`, names, `${flags}${placeFlag(session, words, database)}`)

const placeFlag = (session: Session, words: string, database: string | undefined): string => {
  const { named, reading } = session
  return named.backupDir !== undefined && words.startsWith("backup ")
    ? ` --backup-dir ${shellQuoted(resolve(session.cwd, named.backupDir))}`
    : databaseFlag(session, database ?? reading.database ?? chooseDatabase(session, named.db).path)
}

/** `--db FILE` where the user needs it to reach this database again, else nothing. */
const databaseFlag = (place: Place, path: string): string =>
  chooseDatabase(place, undefined).path === path ? "" : ` --db ${shellQuoted(path)}`
