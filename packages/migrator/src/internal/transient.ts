/** Failures that may pass by themselves: they are tried again, with growing pauses, before they are reported. */
import { causesOf, isOutOfSpace, lackOf, systemCode } from "@mallard/duckdb-store/Disk"
import { SourceError } from "@mallard/legacy-json"
import { Effect } from "effect"
import type { SqlError } from "effect/sql"

const codes: ReadonlySet<string> = new Set(["EBUSY", "EAGAIN", "EMFILE", "ENFILE", "ETIMEDOUT", "ESTALE", "EINTR"])

/** Whether a source may well be readable a moment later: it is in use, or the system is short of something. */
const isTransient = (error: unknown): boolean => {
  if (!(error instanceof SourceError) || error.reason !== "io") return false
  for (const cause of causesOf(error.cause)) {
    const code = systemCode(cause)
    if (code !== undefined) return codes.has(code)
  }
  return false
}

const PAUSES_MS: ReadonlyArray<number> = [100, 400, 1600]

/** Tries again what failed for something that passes. `before` is run before each further attempt. */
export const retryTransient = <A, E, R>(
  attempt: Effect.Effect<A, E, R>,
  before: Effect.Effect<void>,
  pauses: ReadonlyArray<number> = PAUSES_MS
): Effect.Effect<A, E, R> =>
  Effect.catch(attempt, (error) => {
    const [pause, ...rest] = pauses
    if (pause === undefined || !isTransient(error)) return Effect.fail(error)
    return Effect.andThen(
      Effect.andThen(before, Effect.sleep(pause)),
      Effect.suspend(() => retryTransient(attempt, before, rest))
    )
  })

const SPACE_PAUSES_MS: ReadonlyArray<number> = [1000, 4000]

/** How long sources wait until they are stored once more after the disk was full. */
export class SpacePauses {
  /** Why a source could not be stored after all pauses: then the disk is full, and none that comes later is tried. */
  full: SqlError.SqlError | undefined
  /** How often items were tried again, by number. */
  private readonly attempts = new Map<number, number>()

  /** Undefined if the source is to wait no more. A file that may not grow further will not after a pause either. */
  next(number: number, error: SqlError.SqlError, mayWait: boolean): number | undefined {
    if (lackOf(error) !== "space") return undefined
    const tried = this.attempts.get(number) ?? 0
    const pause = mayWait && isOutOfSpace(error) ? SPACE_PAUSES_MS[tried] : undefined
    if (pause === undefined) this.full = error
    else this.attempts.set(number, tried + 1)
    return pause
  }
}
