/**
 * Kills the process of a migration, really, and cuts its write-ahead log: whatever happens, the database opens, verifies,
 * shows only whole items, and the next run ends where an undisturbed one ends.
 */
import { assert, describe, it } from "@effect/vitest"
import { tempDirectory } from "@mallard/testkit"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { verify } from "../src/VerifySources.ts"
import { cohorts, hasLog, query, run } from "./support.ts"

/** More rows than a row group of DuckDB has: only then is a commit written in more than one place. */
const ENTITIES = 130_000
const FILES = 3
const KILLS = 10
const SEED = 20261121

/** Writes cohorts of many small diagnoses; one commit takes two files, so it exceeds a row group. */
const writeSources = (folder: string): void => {
  mkdirSync(folder, { recursive: true })
  for (let file = 0; file < FILES; file++) {
    const diagnoses = Array.from({ length: ENTITIES }, (_, at) => `{"id":"d${file}-${at}","code":"E${at % 97}"}`)
    writeFileSync(join(folder, `cohort-${file}.json`), `{"name":"cohort ${file}","entities":{"diagnoses":[${diagnoses.join(",")}]}}`)
  }
}

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly milliseconds: number
  readonly errors: string
}

/** Runs the child; kills it after some time if that is given. */
const child = (source: string, database: string, mode: string, killAfter?: number): Effect.Effect<Ended> =>
  Effect.promise(
    () =>
      new Promise<Ended>((resolve) => {
        let errors = ""
        let started = performance.now()
        const process_ = spawn(process.execPath, [join(import.meta.dirname, "crash-child.ts"), source, database, mode], {
          stdio: ["ignore", "pipe", "pipe"]
        })
        process_.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()))
        process_.stdout.once("data", () => {
          started = performance.now()
          if (killAfter !== undefined) setTimeout(() => process_.kill("SIGKILL"), killAfter)
        })
        process_.once("close", (code, signal) => resolve({ code, signal, milliseconds: performance.now() - started, errors }))
      })
  )

/** What must hold of a database after anything that happened to its writer. */
const checkSound = Effect.fnUntraced(function* (database: string) {
  if (!existsSync(database)) return []
  const report = yield* verify({ database, sources: [] })
  assert.deepStrictEqual(report.findings, [])
  const found = yield* cohorts(database)
  for (const cohort of found) assert.strictEqual(String(cohort["entities"]).includes(String(ENTITIES)), true)
  const [rows] = yield* query(database, "SELECT count(*)::INTEGER AS n FROM mallard.diagnoses")
  assert.strictEqual(rows?.["n"], found.length * ENTITIES)
  return found
})

/** Small, fast, and the same everywhere. */
const random = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

describe("a migration whose process is killed", () => {
  it.effect(
    "is whole after a cut of the write-ahead log at any place of its transaction",
    () =>
      Effect.gen(function* () {
        const folder = yield* tempDirectory
        const source = join(folder, "source")
        writeSources(source)
        const database = join(folder, "killed.duckdb")
        // A database that has been through one run, so that the log holds nothing but the commit.
        yield* run(database, [], {})
        const ended = yield* child(source, database, "die-after-commit")
        assert.strictEqual(ended.signal, "SIGKILL", ended.errors)
        const log = `${database}.wal`
        const length = statSync(log).size
        assert.isAbove(length, 1_000_000)
        for (const share of [0, 0.1, 0.5, 0.9, 0.999, 1]) {
          const copy = join(folder, `cut-${share}.duckdb`)
          copyFileSync(database, copy)
          copyFileSync(log, `${copy}.wal`)
          truncateSync(`${copy}.wal`, Math.floor(length * share))
          const found = yield* checkSound(copy)
          assert.strictEqual(found.length, share === 1 ? 2 : 0, `cut at ${share}`)
          rmSync(copy)
        }
      }),
    180_000
  )

  it.effect(
    `is whole after ${KILLS} kills at random moments, and goes on to the same end (seed ${SEED})`,
    () =>
      Effect.gen(function* () {
        const folder = yield* tempDirectory
        const source = join(folder, "source")
        writeSources(source)
        const calm = join(folder, "calm.duckdb")
        const undisturbed = yield* child(source, calm, "run")
        assert.strictEqual(undisturbed.code, 0, undisturbed.errors)
        assert.isFalse(hasLog(calm))
        const expected = (yield* cohorts(calm)).map(({ digest, name }) => [name, digest])
        assert.lengthOf(expected, FILES)
        const next = random(SEED)
        const disturbed = join(folder, "disturbed.duckdb")
        for (let kill = 0; kill < KILLS; kill++) {
          // Every other one starts afresh, so that early moments are met again.
          if (kill % 2 === 0) for (const path of [disturbed, `${disturbed}.wal`]) rmSync(path, { force: true })
          const moment = next() * undisturbed.milliseconds
          const ended = yield* child(source, disturbed, kill % 2 === 0 ? "run" : "snapshot", moment)
          assert.isTrue(ended.signal === "SIGKILL" || ended.code !== null)
          const found = yield* checkSound(disturbed)
          assert.isAtMost(found.length, FILES)
        }
        const last = yield* child(source, disturbed, "run")
        assert.strictEqual(last.code, 0, last.errors)
        assert.deepStrictEqual(
          (yield* cohorts(disturbed)).map(({ digest, name }) => [name, digest]),
          expected
        )
        assert.isFalse(hasLog(disturbed))
        assert.strictEqual(readFileSync(join(source, "cohort-0.json"), "utf8").length > 0, true)
      }),
    300_000
  )
})
