/**
 * A migration in a process of its own, to be killed: `node crash-child.ts DATABASE SOURCE [die]`. With `die` the process
 * kills itself once the last item is committed and before anything else happens.
 */
import { defaultLimits, migrate } from "@mallard/migrator"
import { Effect } from "effect"

const [database = "", source = "", ...modes] = process.argv.slice(2)

const migration = migrate({
  paths: [source],
  database,
  onConflict: "fail",
  dryRun: false,
  program: "test",
  ...defaultLimits,
  // A commit per file, each larger than a row group.
  sizes: { batchFiles: 1 },
  onProgress: (progress) => {
    if (progress.phase === "item" && modes.includes("die")) process.kill(process.pid, "SIGKILL")
  }
})

const report = await Effect.runPromise(migration)
process.stdout.write(report.outcome)
