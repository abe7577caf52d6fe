/**
 * Carries out parts of scenarios, to be killed: reads a request per line, tells each point that it passes, each cohort that
 * it has stored and each step that it has done on a line of its own, and at the point that is asked for kills itself.
 */
import { Failpoints, makeRenderer, openStore, partText, queryRows, readBackups } from "@mallard/duckdb-store"
import { backupStoreOf, listBackups, listUnfinished, verify, verifyBackup } from "@mallard/migrator"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { cpSync, existsSync, rmSync, writeSync } from "node:fs"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { type Inspection, type Request, type StepName, templateOf } from "./Protocol.ts"
import { onStored, type Place, placeIn, rememberOriginals, scenarios } from "./Scenarios.ts"

process.umask(0o077)

/** Written at once: a line that is told stays told whatever comes after it. */
const tell = (line: string): void => {
  writeSync(1, `${line}\n`)
}

onStored((cohort) => tell(`stored ${cohort}`))

/** What the database and the backups hold; throws if anything in them is wrong. */
const inspect = Effect.fnUntraced(function* ({ database }: Place, isWriter: boolean) {
  const store = backupStoreOf(database)
  const manifests = new Map<string, string>()
  if (existsSync(join(store, "manifests"))) {
    const { backups, damaged } = yield* listBackups(store)
    if (damaged.length > 0) throw new Error(`damaged manifest ${damaged.join(", ")}`)
    for (const { backup_id: backup, manifest_sha256 } of backups) {
      const { problems } = yield* verifyBackup({ store, backup })
      if (problems.length > 0) throw new Error(`backup ${backup}: ${JSON.stringify(problems)}`)
      manifests.set(backup, manifest_sha256)
    }
  }
  const nothing: Inspection = { exists: false, cohorts: {}, revisions: {}, texts: {}, unfinished: 0, hasLog: false }
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
  const { recorded, ...held } = yield* Effect.scoped(
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
        cohorts: Object.fromEntries(rows.map(([cohort, , digest, counts]) => [String(cohort), `${digest} ${counts}`])),
        revisions: Object.fromEntries(rows.map(([cohort, seq]) => [String(cohort), Number(seq)])),
        texts,
        recorded
      }
    })
  )
  for (const { backupId, manifestSha256 } of recorded) {
    if (manifests.get(backupId) !== manifestSha256) throw new Error(`backup ${backupId} is not as the ledger has it`)
  }
  const unfinished = (yield* listUnfinished(database)).length
  const found: Inspection = { exists: true, ...held, unfinished, hasLog: existsSync(`${database}.wal`) }
  return found
})

const carryOut = async ({ folder, kill, name, steps }: Request): Promise<void> => {
  const scenario = scenarios[name]
  if (scenario === undefined) throw new Error(`There is no scenario ${name}`)
  const place = placeIn(folder)
  let left = kill?.passing ?? 0
  const killable = <A>(work: Effect.Effect<A, unknown>): Effect.Effect<void, unknown> =>
    Effect.asVoid(
      Effect.provideService(work, Failpoints, (point) => {
        tell(`reached ${point}`)
        if (point === kill?.point && --left === 0) process.kill(process.pid, "SIGKILL")
      })
    )
  const step: Readonly<Record<StepName, () => Effect.Effect<Inspection | void, unknown>>> = {
    reset: () =>
      Effect.sync(() => {
        rmSync(folder, { recursive: true, force: true })
        cpSync(templateOf(folder), folder, { recursive: true, preserveTimestamps: true })
      }),
    prepare: () =>
      Effect.andThen(
        scenario.prepare(place),
        Effect.sync(() => rememberOriginals(place))
      ),
    keep: () => Effect.sync(() => cpSync(folder, templateOf(folder), { recursive: true, preserveTimestamps: true })),
    inspect: () => inspect(place, false),
    "inspect-as-writer": () => inspect(place, true),
    act: () => killable(scenario.act(place)),
    finish: () => killable((scenario.finish ?? scenario.act)(place))
  }
  for (const name of steps) tell(`done ${name} ${JSON.stringify((await Effect.runPromise(step[name]())) ?? null)}`)
}

for await (const line of createInterface({ input: process.stdin })) {
  const request: Request = JSON.parse(line)
  await carryOut(request)
  tell("answered")
}
