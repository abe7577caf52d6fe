/**
 * A part of a scenario in a process of its own, to be killed: `node child.ts FOLDER SCENARIO STEPS [POINT COUNT]`. Tells each
 * point that it passes, each cohort that it has stored and each step that it has done on a line of its own; at the
 * COUNT-th passing of POINT it kills itself.
 */
import { Failpoints, makeRenderer, openStore, partText, queryRows, readBackups } from "@mallard/duckdb-store"
import { backupStoreOf, listBackups, listUnfinished, verify, verifyBackup } from "@mallard/migrator"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { cpSync, existsSync, writeSync } from "node:fs"
import { createHash } from "node:crypto"
import type { Inspection } from "./Protocol.ts"
import { templateOf } from "./Protocol.ts"
import { onStored, placeIn, rememberOriginals, scenarios } from "./Scenarios.ts"
import { join } from "node:path"

process.umask(0o077)

const [folder = "", name = "", steps = "", point, count] = process.argv.slice(2)
const place = placeIn(folder)
const scenario = scenarios[name]
if (scenario === undefined) throw new Error(`There is no scenario ${name}`)

/** Written at once: a line that is told stays told whatever comes after it. */
const tell = (line: string): void => {
  writeSync(1, `${line}\n`)
}

let left = Number(count ?? 0)
const reached = (passed: string): void => {
  tell(`reached ${passed}`)
  if (passed === point && --left === 0) process.kill(process.pid, "SIGKILL")
}

onStored((cohort) => tell(`stored ${cohort}`))

/** What the database and the backups hold; throws if anything in them is wrong. */
const inspect = Effect.fnUntraced(function* (isWriter: boolean) {
  const { database } = place
  const store = backupStoreOf(database)
  if (existsSync(join(store, "manifests"))) {
    const { backups, damaged } = yield* listBackups(store)
    if (damaged.length > 0) throw new Error(`damaged manifest ${damaged.join(", ")}`)
    for (const { backup_id: backup } of backups) {
      const { problems } = yield* verifyBackup({ store, backup })
      if (problems.length > 0) throw new Error(`backup ${backup}: ${JSON.stringify(problems)}`)
    }
  }
  const nothing: Inspection = { exists: false, cohorts: {}, texts: {}, unfinished: 0, hasLog: false }
  if (!existsSync(database)) return nothing
  if (isWriter) yield* Effect.scoped(openStore({ path: database, program: "crash" }))
  const { findings, mismatched } = yield* verify({ database, sources: [] }).pipe(
    Effect.catchTag("StoreError", (error) =>
      // An empty file of DuckDB that nothing has been written to.
      error.reason === "missing" ? Effect.succeed({ findings: [], mismatched: -1 }) : Effect.fail(error)
    )
  )
  if (mismatched < 0) return nothing
  if (mismatched > 0 || findings.length > 0) throw new Error(`verify: ${mismatched}, ${JSON.stringify(findings)}`)
  const { cohorts, recorded, texts } = yield* Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openStore({ path: database, readonly: true })
      const rows = yield* queryRows(client, "SELECT name, seq, digest, entities::VARCHAR FROM cohorts ORDER BY name")
      const renderer = yield* makeRenderer(client)
      const texts: Record<string, string> = {}
      for (const [cohort, path, contentId, part] of yield* queryRows(
        client,
        "SELECT h.name, p.path, p.content_id, p.part FROM mallard.heads h JOIN mallard.parts p ON p.content_id = h.content_id"
      )) {
        const text = yield* partText(client, renderer, Number(contentId), Number(part))
        texts[`${String(cohort)}/${String(path)}`] = createHash("sha256").update(text).digest("hex")
      }
      const recorded = yield* Effect.provideService(readBackups(), DuckDbClient, client)
      return {
        cohorts: Object.fromEntries(rows.map(([cohort, ...facts]) => [String(cohort), facts.join(" ")])),
        recorded,
        texts
      }
    })
  )
  for (const { backupId: backup, manifestSha256, path } of recorded) {
    const { problems } = yield* verifyBackup({ store: path, backup, manifestSha256 })
    if (problems.length > 0) throw new Error(`recorded backup ${backup}: ${JSON.stringify(problems)}`)
  }
  const unfinished = (yield* listUnfinished(database)).length
  const found: Inspection = { exists: true, cohorts, texts, unfinished, hasLog: existsSync(`${database}.wal`) }
  return found
})

const run = Effect.fnUntraced(function* (step: string) {
  switch (step) {
    case "prepare":
      yield* scenario.prepare(place)
      return rememberOriginals(place)
    case "keep":
      return cpSync(folder, templateOf(folder), { recursive: true, preserveTimestamps: true })
    case "inspect":
    case "inspect-as-writer":
      return yield* inspect(step === "inspect-as-writer")
    case "act":
      yield* Effect.provideService(scenario.act(place), Failpoints, reached)
      return
    case "finish":
      yield* Effect.provideService((scenario.finish ?? scenario.act)(place), Failpoints, reached)
      return
    default:
      throw new Error(`There is no step ${step}`)
  }
})

for (const step of steps.split(",")) {
  tell(`done ${step} ${JSON.stringify((await Effect.runPromise(run(step))) ?? null)}`)
}
