/** Numbers that bound a command, as users write them: sizes like `64MiB`, `1.5 GB`, `1048576`, and how much at once. */
import { Effect } from "effect"
import { type CommandFailed, usage } from "./Failure.ts"

const factors: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1024,
  kb: 1000,
  kib: 1024,
  m: 1024 ** 2,
  mb: 1000 ** 2,
  mib: 1024 ** 2,
  g: 1024 ** 3,
  gb: 1000 ** 3,
  gib: 1024 ** 3,
  t: 1024 ** 4,
  tb: 1000 ** 4,
  tib: 1024 ** 4
}

/** Bytes; undefined when the text is no size, or less than one byte. */
export const parseSize = (text: string): number | undefined => {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim())
  const factor = factors[(match?.[2] ?? "").toLowerCase()]
  if (match === null || factor === undefined) return undefined
  const bytes = Math.floor(Number(match[1]) * factor)
  return bytes >= 1 && Number.isSafeInteger(bytes) ? bytes : undefined
}

/** Far more than any machine has a use for. */
const MOST_JOBS = 256

/** What `--jobs` says. */
export const jobsOf = (jobs: number | undefined): Effect.Effect<number | undefined, CommandFailed> =>
  jobs !== undefined && (jobs < 1 || jobs > MOST_JOBS)
    ? Effect.fail(usage(`--jobs must be a number from 1 to ${MOST_JOBS}.`))
    : Effect.succeed(jobs)

/** With less, DuckDB opens no database or cannot write the tables of a small run. */
const LEAST_MEMORY = 24_000_000

/** What `--memory` says, in DuckDB's own words: a number is nothing to it without its unit. */
export const memoryOf = (memory: string | undefined): Effect.Effect<string | undefined, CommandFailed> => {
  if (memory === undefined) return Effect.succeed(undefined)
  const bytes = parseSize(memory)
  if (bytes === undefined || !/[kmgt](?:i?b)?\s*$/i.test(memory)) {
    return Effect.fail(
      usage("--memory is no size with a unit.", "Give one like 1GB: KB, MB, GB, TB, KiB, MiB, GiB, TiB.")
    )
  }
  return bytes < LEAST_MEMORY
    ? Effect.fail(usage("--memory is too little for DuckDB.", "Give 24MB or more; 500MB is the default."))
    : Effect.succeed(memory)
}
