/**
 * Which database a command works on: `--db`, else `$MALLARD_DB`, else HealthSim's own `$HEALTHSIM_DB_PATH`, else
 * `~/.healthsim/healthsim.duckdb`. A database of somebody else's that was found rather than named is left alone, and
 * `~/.healthsim/mallard.duckdb` is used instead.
 */
import { isAbsolute, join, resolve } from "node:path"
import type { Session } from "./Session.ts"

/** A database, and what to use if it turns out to be somebody else's. */
interface DatabaseChoice {
  readonly path: string
  readonly instead: string | undefined
}

export type Place = Pick<Session, "cwd" | "env" | "home">

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
