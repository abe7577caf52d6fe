/**
 * Waiting for a database that another process has open. The lock is DuckDB's own on the file: the kernel gives it up with
 * the process that holds it, so none is ever stale and nothing has to be cleaned up.
 */

import { Clock, Context, Effect } from "effect"
import { StoreError } from "./StoreError.ts"

/** How long `openStore` waits for a database that is open elsewhere. */
export interface LockWaiting {
  /** 0 to fail at once; `Infinity` to wait as long as it takes. */
  readonly milliseconds: number
  /** Told once per opening, when a wait begins. */
  readonly onWait?: ((error: StoreError) => void) | undefined
}

/** Servers open the database for single calls only: who comes at such a moment need not fail. */
const UNASKED_MS = 3000

/** What every `openStore` below goes by; three seconds if nothing is said. */
export const LockWait = Context.Reference<LockWaiting>("@mallard/duckdb-store/LockWait", {
  defaultValue: () => ({ milliseconds: UNASKED_MS })
})

/** Short: who lets go of the database for a moment only is to be met in it. */
const PAUSE_MS = 50

/** Tries again while another process has the database open, until the time given is over. */
export const whileLocked = <A, E, R>(open: Effect.Effect<A, E | StoreError, R>): Effect.Effect<A, E | StoreError, R> =>
  Effect.flatMap(LockWait, ({ milliseconds, onWait }) =>
    Effect.flatMap(Clock.currentTimeMillis, (began) => {
      let isTold = false
      const attempt: Effect.Effect<A, E | StoreError, R> = Effect.suspend(() =>
        Effect.catch(open, (error) => {
          // A process that waited for itself would wait for ever.
          if (!(error instanceof StoreError) || error.reason !== "locked" || error.holder === process.pid)
            return Effect.fail(error)
          return Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const left = began + milliseconds - now
            if (left <= 0) return Effect.fail(error)
            if (!isTold) onWait?.(error)
            isTold = true
            return Effect.andThen(Effect.sleep(Math.min(PAUSE_MS, left)), attempt)
          })
        })
      )
      return attempt
    })
  )
