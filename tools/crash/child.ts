/**
 * Carries out parts of scenarios, to be killed: reads a request per line, tells each point that it passes, each cohort that
 * it has stored and each step that it has done on a line of its own, and at the point that is asked for kills itself.
 */
import {
  Failpoints,
  makeRenderer,
  openStore,
  queryRows,
  readBackups,
  StoreError,
  visitParts
} from "@mallard/duckdb-store"
import { backupStoreOf, listBackups, listUnfinished, verify, verifyBackup } from "@mallard/migrator"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { cpSync, existsSync, rmSync, writeSync } from "node:fs"
import { createHash } from "node:crypto"
import { flushCompileCache } from "node:module"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { type Inspection, type Request, type StepName, templateOf } from "./Protocol.ts"
import { onStored, type Place, placeIn, rememberOriginals, scenarios } from "./Scenarios.ts"

process.umask(0o077)
// Who stops the whole waits for the case at hand.
process.on("SIGINT", () => {})

/** Written at once: a line that is told stays told whatever comes after it. */
const tell = (line: string): void => {
  writeSync(1, `${line}\n`)
}

onStored((cohort) => tell(`stored ${cohort}`))

/** What the database holds; nothing if it has none of our tables yet. */
const list = ({ database }: Place, withTexts = false) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openStore({ path: database, readonly: true })
      const rows = yield* queryRows(client, "SELECT name, seq, digest, entities::VARCHAR FROM cohorts ORDER BY name")
      const inspection: Inspection = {
        exists: true,
        cohorts: Object.fromEntries(rows.map(([name, , digest, counts]) => [String(name), `${digest} ${counts}`])),
        revisions: Object.fromEntries(rows.map(([name, seq]) => [String(name), Number(seq)])),
        texts: withTexts ? yield* exportedTexts(client) : {},
        backups: (yield* Effect.provideService(readBackups(), DuckDbClient, client)).map(
          ({ backupId, manifestSha256 }) => `${backupId} ${manifestSha256}`
        ),
        unfinished: 0,
        hasLog: existsSync(`${database}.wal`)
      }
      return inspection
    })
  ).pipe(
    Effect.flatMap((found) =>
      Effect.map(listUnfinished(database), ({ length }): Inspection => ({ ...found, unfinished: length }))
    ),
    Effect.catchIf(isMissing, () => Effect.succeed<Inspection>(nothing))
  )

const nothing: Inspection = {
  exists: false,
  cohorts: {},
  revisions: {},
  texts: {},
  backups: [],
  unfinished: 0,
  hasLog: false
}

/** No database, or one that holds nothing. */
const isMissing = (error: unknown): boolean => error instanceof StoreError && error.reason === "missing"

/** SHA-256 of every current document as it is exported. */
const exportedTexts = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  const names = new Map(
    (yield* queryRows(
      client,
      "SELECT p.content_id, p.part, h.name, p.path FROM mallard.heads h JOIN mallard.parts p ON p.content_id = h.content_id"
    )).map(([content, part, cohort, path]) => [`${content}/${part}`, `${cohort}/${path}`])
  )
  const texts: Record<string, string> = {}
  let name: string | undefined
  let hash = createHash("sha256")
  yield* visitParts(client, yield* makeRenderer(client), "true", {
    start: ({ contentId, part }) => {
      name = names.get(`${contentId}/${part}`)
      hash = createHash("sha256")
    },
    text: (bytes, start, end) => {
      hash.update(bytes.subarray(start, end))
    },
    sound: () => {},
    changed: () => {},
    gap: () => {},
    end: () => {
      if (name !== undefined) texts[name] = hash.digest("hex")
    }
  })
  return texts
})

/** What the database holds, once all of it and of the backups is verified. */
const inspect = Effect.fnUntraced(function* (place: Place, how: "reader" | "writer" | "all") {
  const { database } = place
  const store = backupStoreOf(database)
  const manifests = new Set<string>()
  if (existsSync(join(store, "manifests"))) {
    const { backups, damaged } = yield* listBackups(store)
    if (damaged.length > 0) throw new Error(`damaged manifest ${damaged.join(", ")}`)
    for (const { backup_id: backup, manifest_sha256 } of backups) {
      const { problems } = yield* verifyBackup({ store, backup })
      if (problems.length > 0) throw new Error(`backup ${backup}: ${JSON.stringify(problems)}`)
      manifests.add(`${backup} ${manifest_sha256}`)
    }
  }
  if (!existsSync(database)) return nothing
  if (how === "writer") yield* Effect.scoped(openStore({ path: database, program: "crash" }))
  const { findings, mismatched } = yield* verify({ database, sources: [] }).pipe(
    Effect.catchIf(isMissing, () => Effect.succeed({ findings: [], mismatched: 0 }))
  )
  if (mismatched > 0 || findings.length > 0) throw new Error(`verify: ${mismatched}, ${JSON.stringify(findings)}`)
  const found = yield* list(place, how === "all")
  for (const backup of found.backups) {
    if (!manifests.has(backup)) throw new Error(`backup ${backup} is not as the ledger has it`)
  }
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
    list: () => list(place),
    inspect: () => inspect(place, "reader"),
    "inspect-as-writer": () => inspect(place, "writer"),
    "inspect-all": () => inspect(place, "all"),
    act: () => killable(scenario.act(place)),
    finish: () => killable((scenario.finish ?? scenario.act)(place))
  }
  for (const name of steps) tell(`done ${name} ${JSON.stringify((await Effect.runPromise(step[name]())) ?? null)}`)
}

// A process that is killed keeps nothing of what it compiled, and here all are.
flushCompileCache()

for await (const line of createInterface({ input: process.stdin })) {
  const request: Request = JSON.parse(line)
  await carryOut(request)
  tell("answered")
}
