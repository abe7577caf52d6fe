/** The process in which a database is examined or rebuilt: DuckDB may crash on a damaged one. */
import { Effect } from "effect"
import type { DoctorAnswer, DoctorRequest } from "./doctor-protocol.ts"
import { examineHere } from "./examining.ts"
import { rebuildHere } from "./rebuilding.ts"

process.umask(0o077)

const answer = (message: DoctorAnswer): void => {
  process.send?.(message)
}

/** Least time between two messages of progress. */
const PROGRESS_MS = 50

const progress = (): ((done: number, documents: number) => void) => {
  let told = 0
  return (done, documents) => {
    if (done < documents && performance.now() - told < PROGRESS_MS) return
    told = performance.now()
    answer({ answer: "progress", done, documents })
  }
}

const answerTo = (request: DoctorRequest) =>
  request.ask === "examine"
    ? Effect.map(
        examineHere(request.config, { depth: request.depth, onDocument: progress() }),
        (diagnosis): DoctorAnswer => ({ answer: "diagnosis", diagnosis })
      )
    : Effect.map(rebuildHere(request.config, request.out), (report): DoctorAnswer => ({ answer: "rebuilt", report }))

process.once("message", (request: DoctorRequest) => {
  const answered = answerTo(request).pipe(
    Effect.catchTags({
      StoreError: ({ holder, path, reason }) =>
        Effect.succeed<DoctorAnswer>({ answer: "failed", reason, path, holder }),
      InvalidRequest: ({ detail, reason }) => Effect.succeed<DoctorAnswer>({ answer: "refused", reason, detail })
    }),
    // A defect here is one that damage brought about.
    Effect.catchCause(() =>
      Effect.succeed<DoctorAnswer>({
        answer: "failed",
        reason: "damaged",
        path: request.config.path,
        holder: undefined
      })
    )
  )
  void Effect.runPromise(answered).then((message) => {
    answer(message)
    process.disconnect()
  })
})
// Whoever asked is gone.
process.once("disconnect", () => process.exit())
