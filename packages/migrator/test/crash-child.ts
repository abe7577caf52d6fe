/**
 * A migration in a process of its own, to be killed: `node crash-child.ts DATABASE SOURCE [hold] [die]`. With `hold`
 * another connection of the process keeps a snapshot meanwhile; with `die` the process kills itself once the last item is
 * committed and before anything else happens.
 */
import { openStore } from "@mallard/duckdb-store"
import { defaultLimits, migrate } from "@mallard/migrator"
import { Deferred, Effect } from "effect"

const [database = "", source = "", ...modes] = process.argv.slice(2)

const migration = migrate({
  paths: [source],
  database,
  onConflict: "fail",
  dryRun: false,
  program: "test",
  ...defaultLimits,
  verify: !modes.includes("hold"),
  // A commit per file, each larger than a row group.
  sizes: { batchFiles: 1 },
  onProgress: (progress) => {
    if (progress.phase === "item" && modes.includes("die")) process.kill(process.pid, "SIGKILL")
  }
})

/** Reads in a transaction that stays open for as long as the process lives. */
const holding = Effect.scoped(
  Effect.gen(function* () {
    const client = yield* openStore({ path: database, program: "test" })
    const isReading = yield* Deferred.make<void>()
    yield* Effect.forkScoped(
      client.withTransaction(
        Effect.gen(function* () {
          yield* client.unsafe("SELECT count(*) FROM mallard.diagnoses")
          yield* Deferred.succeed(isReading, undefined)
          return yield* Effect.never
        })
      )
    )
    yield* Deferred.await(isReading)
    return yield* migration
  })
)

const report = await Effect.runPromise(modes.includes("hold") ? holding : migration)
process.stdout.write(report.outcome)
