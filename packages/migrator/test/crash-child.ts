/**
 * A migration that a test kills. Arguments: source folder, database, what to do: `run`; `snapshot`, with a second
 * connection that holds a read transaction all the while; or `die-after-commit`, ending itself the hard way once the
 * first batch is committed and still in the write-ahead log.
 */
import { openStore } from "@mallard/duckdb-store"
import { Effect } from "effect"
import { defaultLimits, migrate } from "../src/Migrate.ts"

const [source = "", database = "", mode = "run"] = process.argv.slice(2)

const migration = migrate({
  paths: [source],
  database,
  onConflict: "fail",
  dryRun: false,
  program: "crash test",
  ...defaultLimits,
  onProgress: ({ phase }) => {
    if (phase === "item" && mode === "die-after-commit") process.kill(process.pid, "SIGKILL")
  }
})

const withSnapshot = Effect.scoped(
  Effect.gen(function* () {
    const client = yield* openStore({ path: database })
    yield* client.withConnection((session) =>
      Effect.gen(function* () {
        yield* session.use((native) => native.run("BEGIN TRANSACTION READ ONLY"))
        yield* session.use((native) => native.run("SELECT count(*) FROM mallard.diagnoses"))
        yield* migration
        yield* session.use((native) => native.run("ROLLBACK"))
      })
    )
  })
)

process.stdout.write("started\n")
await Effect.runPromise(mode === "snapshot" ? withSnapshot : Effect.asVoid(migration))
