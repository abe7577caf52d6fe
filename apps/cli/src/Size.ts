/** Numbers that bound a command, as users write them: sizes like `64MiB`, `1.5 GB`, `1048576`, and how much at once. */
import { memoryBounds } from "@mallard/duckdb-store/Memory"
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

const MEMORY_RANGE = "Give 24MB to 1TiB."

/** What `--memory` says, as bytes and in DuckDB's own words: a number is nothing to it without its unit. */
export const memoryOf = (
  memory: string | undefined
): Effect.Effect<{ readonly bytes: number; readonly text: string } | undefined, CommandFailed> => {
  if (memory === undefined) return Effect.succeed(undefined)
  const bytes = parseSize(memory)
  if (bytes === undefined || !/[kmgt](?:i?b)?\s*$/i.test(memory)) {
    return Effect.fail(
      usage("--memory is no size with a unit.", "Give one like 1GB: KB, MB, GB, TB, KiB, MiB, GiB, TiB.")
    )
  }
  if (bytes < memoryBounds.least) return Effect.fail(usage("--memory is too little for DuckDB.", MEMORY_RANGE))
  if (bytes > memoryBounds.most) return Effect.fail(usage("--memory is more than DuckDB may have.", MEMORY_RANGE))
  return Effect.succeed({ bytes, text: memory })
}
