import { assert, describe, it, layer } from "@effect/vitest"
import { failpoints } from "@mallard/duckdb-store"
import { tempDirectory, withTempDirectory, writeFiles } from "@mallard/testkit"
import { Context, Effect, Layer } from "effect"
import { spawn } from "node:child_process"
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { verify } from "@mallard/migrator"
// @boundaries-ignore the harness is a tool, and here the engine is put to the test with it
import { phaseOf, runCampaign } from "../../../tools/crash/Campaign.ts"
import { cohorts, hasLog, query, run } from "./support.ts"

/** One row group of DuckDB: the least that a transaction could leave half of behind. */
const rowGroup = 122_880
const entities = rowGroup + 3000
/** What is stored after it need not be large. */
const fewer = 3000

const fileOf = (number: number, count: number): string => {
  const rows = Array.from({ length: count }, (_, at) => `{"id":"${number}-${at}","code":"A${at % 89}"}`)
  return `{"name":"cohort ${number}","entities":{"diagnoses":[${rows.join(",\n")}]}}`
}

interface Ended {
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a migration in a process, killed after some milliseconds unless it has ended by then. */
const child = (database: string, source: string, modes: ReadonlyArray<string>, killAfter?: number) =>
  Effect.callback<Ended>((resume) => {
    const started = spawn(process.execPath, [join(import.meta.dirname, "crash-child.ts"), database, source, ...modes], {
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    started.stdout.on("data", (text) => (stdout += String(text)))
    started.stderr.on("data", (text) => (stderr += String(text)))
    const timer = killAfter === undefined ? undefined : setTimeout(() => started.kill("SIGKILL"), killAfter)
    started.on("close", (_, signal) => {
      clearTimeout(timer)
      resume(Effect.succeed({ signal, stdout, stderr }))
    })
  })

interface State {
  readonly folder: string
  readonly source: string
  /** What an undisturbed run lists. */
  readonly expected: ReadonlyArray<unknown>
}

class Undisturbed extends Context.Service<Undisturbed, State>()("Undisturbed") {
  static readonly layer = Layer.effect(
    Undisturbed,
    Effect.gen(function* () {
      const folder = yield* tempDirectory
      const source = join(folder, "source")
      yield* Effect.promise(() => writeFiles(source, { "0.json": fileOf(0, entities), "1.json": fileOf(1, fewer) }))
      const database = join(folder, "undisturbed.duckdb")
      const { stderr, stdout } = yield* child(database, source, [])
      assert.strictEqual(stdout, "done", stderr)
      assert.isFalse(hasLog(database))
      const expected = yield* cohorts(database)
      assert.lengthOf(expected, 2)
      rmSync(database)
      return { folder, source, expected }
    })
  )
}

/** The database opens, verifies, and shows whole items alone; the next run ends as an undisturbed one does. */
const assertSound = Effect.fnUntraced(function* (database: string) {
  const { expected, source } = yield* Undisturbed
  const hadDatabase = existsSync(database)
  if (hadDatabase) {
    const report = yield* verify({ database, sources: [] })
    assert.deepStrictEqual([report.mismatched, report.findings], [0, []])
    const whole = yield* cohorts(database)
    assert.includeDeepMembers([...expected], [...whole])
    const [row] = yield* query(
      database,
      "SELECT (SELECT count(*) FROM mallard.diagnoses) AS rows, (SELECT count(*) FROM mallard.cohort_members) AS members"
    )
    const count = BigInt(whole.reduce((sum, { name }) => sum + (name === "cohort 0" ? entities : fewer), 0))
    assert.deepStrictEqual(row, { rows: count, members: count })
  }
  const again = yield* run(database, [source], { sizes: { batchFiles: 1 }, verify: false })
  assert.strictEqual(again.outcome, "done")
  assert.isFalse(hasLog(database))
  assert.deepStrictEqual(yield* cohorts(database), expected)
  const full = yield* verify({ database, sources: [] })
  assert.deepStrictEqual([full.mismatched, full.findings], [0, []])
  return again.totals.unchanged
})

const seed = 20_261_121

describe("twenty kills -9 in all phases", () => {
  it(`and of what went on after them, leave what an undisturbed run leaves (seed ${seed})`, { timeout: 900_000 }, () =>
    withTempDirectory(async (folder) => {
      const results = await runCampaign({ seed, kills: 20, folder, workers: 3 })
      assert.deepStrictEqual(
        results.flatMap(({ kill, problem }) => (problem === undefined ? [] : [`kill ${kill.number}: ${problem}`])),
        []
      )
      assert.lengthOf(results, 20)
      assert.sameMembers(
        [...new Set(results.flatMap(({ hit, kill }) => [phaseOf(kill.point), phaseOf(hit)]))],
        [...new Set(failpoints.map(phaseOf))]
      )
      assert.isNotEmpty(results.flatMap(({ recoveryHits }) => recoveryHits))
    })
  )
})

describe("a migration that is cut off", () => {
  layer(Undisturbed.layer, { timeout: "2 minutes" })("by a crash", (it) => {
    it.effect(
      "shows nothing of a transaction whose log is cut, wherever that is",
      () =>
        Effect.gen(function* () {
          const { folder, source } = yield* Undisturbed
          const database = join(folder, "cut", "cut.duckdb")
          const single = join(folder, "single")
          mkdirSync(single)
          copyFileSync(join(source, "0.json"), join(single, "0.json"))
          const { signal } = yield* child(database, single, ["die"])
          assert.strictEqual(signal, "SIGKILL")
          const file = readFileSync(database)
          const log = readFileSync(`${database}.wal`)
          // The rows are in the log, all of them: nothing was written ahead of the commit.
          assert.isAbove(log.length, entities * 16)
          for (const [cut, isWhole] of [
            [0.3, false],
            [0.9, false],
            [1 - 8 / log.length, false],
            [1, true]
          ] as const) {
            writeFileSync(database, file)
            writeFileSync(`${database}.wal`, log.subarray(0, Math.floor(log.length * cut)))
            const found = yield* assertSound(database)
            assert.strictEqual(found, isWhole ? 1 : 0, `cut at ${cut}`)
          }
        }),
      120_000
    )
  })

  it.live("leaves nothing beside the database when it could not even create it", () =>
    Effect.gen(function* () {
      const folder = yield* tempDirectory
      const source = join(folder, "source")
      yield* Effect.promise(() => writeFiles(source, { "a.json": '{"name":"a","patients":[{"id":"p"}]}' }))
      const database = join(folder, "db", "early.duckdb")
      yield* child(database, source, [], 450)
      const report = yield* run(database, [source])
      assert.strictEqual(report.outcome, "done")
      assert.isFalse(hasLog(database))
    })
  )
})
