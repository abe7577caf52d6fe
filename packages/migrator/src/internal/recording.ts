/** What the ledger is told of a run: its begin, its copies, its end, its proof. */
import { type BatchWriter, checkpoint, commitRows, nextIds, now, openStore, reach } from "@mallard/duckdb-store"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Clock, Effect } from "effect"
import type { MigrateOptions } from "../MigrateOptions.ts"
import { type BackupReport, noVerification, type RunReport } from "../Report.ts"
import { failing } from "./reading.ts"
import type { RunProof } from "./RunFacts.ts"

export const recordRun = (
  writer: BatchWriter,
  run: string,
  options: MigrateOptions,
  event: "started" | "finished",
  outcome: string | null,
  about: unknown,
  totals: unknown
): Effect.Effect<void> =>
  Effect.map(Clock.currentTimeMillis, (at) =>
    writer.record("migration_runs", {
      run_id: run,
      event,
      at: BigInt(at) * 1000n,
      outcome,
      options: JSON.stringify(about),
      totals: totals === null ? null : JSON.stringify(totals),
      program: options.program
    })
  )

export const recordBackup = (writer: BatchWriter, run: string, backup: BackupReport): Effect.Effect<void> =>
  Effect.map(Clock.currentTimeMillis, (at) =>
    writer.record("migration_backups", {
      backup_id: backup.backup_id,
      run_id: run,
      at: BigInt(at) * 1000n,
      path: backup.path,
      files: backup.files,
      bytes: backup.bytes,
      manifest_sha256: backup.manifest_sha256
    })
  )

/** What only the end of a run tells. */
type Ending = Pick<typeof RunProof.Type, "not_moved" | "taken_back">

/** Notes in the ledger what the proof found, why originals were not moved, and what was taken back. */
export const recordProof = (report: RunReport, ending: Ending): Effect.Effect<RunReport> => {
  const { findings, ...counts } = report.verification
  const found = { verification: { ...counts, findings }, timings: report.timings, moved: report.moved, ...ending }
  return recordEnd(report, "verified", found, report.verification === noVerification ? undefined : counts)
}

/** Notes in the ledger that the run was stopped when all was stored, and the proof not at its end. */
export const recordStop = (report: RunReport): Effect.Effect<RunReport> => recordEnd(report, "stopped", null, undefined)

/** The run itself is done: that its end cannot be noted is a remark, no failure. */
const recordEnd = (
  report: RunReport,
  event: "verified" | "stopped",
  found: unknown,
  counts: Omit<RunReport["verification"], "findings"> | undefined
): Effect.Effect<RunReport> =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openStore({ path: report.database, program: report.program })
      const at = yield* now
      yield* Effect.provideService(
        Effect.gen(function* () {
          const check = (yield* nextIds).get("data_integrity_checks") ?? 1
          yield* commitRows(report.run, {
            data_integrity_checks: counts === undefined ? [] : [{ check_id: check, run_id: report.run, at, ...counts }],
            migration_runs: [
              {
                run_id: report.run,
                event,
                at,
                outcome: report.outcome,
                options: null,
                totals: found === null ? null : JSON.stringify(found),
                program: report.program ?? ""
              }
            ]
          })
        }),
        DuckDbClient,
        client
      )
      yield* reach("report/recorded")
      yield* checkpoint(client)
      return report
    })
  ).pipe(
    failing(report.database, "writing"),
    Effect.catch(({ message }) =>
      Effect.succeed({
        ...report,
        notes: [...(report.notes ?? []), `The end of the run could not be noted in the database. ${message}`]
      })
    )
  )
