import { assert, describe, it } from "@effect/vitest"
import { DuckDBAppender, DuckDBConnection, DuckDBPreparedStatement } from "@duckdb/node-api"
import { Session } from "node:inspector/promises"
import { Effect } from "effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { verify } from "@mallard/migrator"
import { onTestFinished } from "vitest"
import { folderOf, run, rowCounts } from "./support.ts"

/** Counts calls of a method of DuckDB's client until the test is over. */
const counter = <Name extends string>(prototype: Record<Name, (...args: never) => unknown>, name: Name) => {
  const original = prototype[name]
  const count = { calls: 0 }
  prototype[name] = function (this: unknown, ...args: never) {
    count.calls++
    return Reflect.apply(original, this, args)
  }
  onTestFinished(() => {
    prototype[name] = original
  })
  return count
}

/** Counts statements, however they reach DuckDB: with parameters, as a stream, or as plain text. */
const statementCounter = (): (() => number) => {
  const counts = [
    counter(DuckDBPreparedStatement.prototype, "run"),
    counter(DuckDBPreparedStatement.prototype, "stream"),
    counter(DuckDBConnection.prototype, "run")
  ]
  return () => counts.reduce((sum, { calls }) => sum + calls, 0)
}

const FILES = 20
const PATIENTS = 400

/** A cohort of patients, each with an encounter that is hers alone. */
const cohort = (file: number): string => {
  const ids = Array.from({ length: PATIENTS }, (_, at) => `${file}-${at}`)
  return JSON.stringify({
    name: `cohort ${file}`,
    patients: ids.map((id) => ({
      patient_id: `P${id}`,
      mrn: `MRN${id}`,
      given_name: "Ada",
      family_name: `Family ${id}`,
      birth_date: "1980-02-03",
      gender: "female",
      city: "Springfield",
      notes_of_nobody: id
    })),
    encounters: ids.map((id) => ({
      encounter_id: `E${id}`,
      patient_mrn: `MRN${id}`,
      admission_time: "2024-01-02T03:04:05",
      status: "finished",
      reason: "a cough"
    }))
  })
}

const files = Object.fromEntries(Array.from({ length: FILES }, (_, at) => [`${at}.json`, cohort(at)]))
const ENTITIES = FILES * PATIENTS * 2

/** Bytes that JavaScript allocates while an effect runs, collected ones included; sampled. */
const allocated = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const session = new Session()
  session.connect()
  yield* Effect.promise(() =>
    session.post("HeapProfiler.startSampling", {
      samplingInterval: 8192,
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: true
    })
  )
  yield* effect
  const { profile } = yield* Effect.promise(() => session.post("HeapProfiler.stopSampling"))
  session.disconnect()
  type Node = typeof profile.head
  const sum = ({ children, selfSize }: Node): number => children.reduce((all, child) => all + sum(child), selfSize)
  return sum(profile.head)
})

// What a migration costs in calls, rows and bytes does not depend on the machine; each bound is some way above what it is.
describe("the cost of a migration", () => {
  it.effect("is few statements per file, few chunks per entity, one row each, and one shape per kind", () =>
    Effect.gen(function* () {
      const chunks = counter(DuckDBAppender.prototype, "appendDataChunk")
      const statementsSoFar = statementCounter()
      const one = yield* folderOf({ "0.json": cohort(0) })
      yield* run(one.database, [one.source], { verify: false })
      const fixed = statementsSoFar()
      const all = yield* folderOf(files)
      const before = { chunks: chunks.calls, statements: statementsSoFar() }
      yield* run(all.database, [all.source], { verify: false })
      const statements = statementsSoFar() - before.statements - fixed
      assert.isBelow(statements / (FILES - 1), 1, "statements per further file")
      assert.isBelow(((chunks.calls - before.chunks) / ENTITIES) * 2048, 4, "chunks per 2,048 entities")
      const rows = yield* rowCounts(all.database)
      assert.strictEqual(rows["patients"], ENTITIES / 2)
      assert.strictEqual(rows["encounters"], ENTITIES / 2)
      assert.strictEqual(rows["cohort_members"], ENTITIES)
      assert.strictEqual(rows["entity_shapes"], 2)
      const total = Object.values(rows).reduce((sum, count) => sum + count, 0)
      assert.isBelow(total / ENTITIES, 2.05, "rows per entity: the entity, its membership, and little else")
    })
  )

  it.effect("is less than 1,600 bytes of JavaScript's memory per further entity", () =>
    Effect.gen(function* () {
      const few = yield* folderOf(Object.fromEntries(Object.entries(files).slice(0, FILES / 4)))
      const many = yield* folderOf(files)
      const least = yield* allocated(run(few.database, [few.source], { verify: false }))
      const most = yield* allocated(run(many.database, [many.source], { verify: false }))
      assert.isBelow((most - least) / ((ENTITIES * 3) / 4), 1600)
    })
  )

  it.effect("is no statement per file in a run that finds everything unchanged, and no row", () =>
    Effect.gen(function* () {
      const { database, source } = yield* folderOf(files)
      yield* run(database, [source], { verify: false })
      const chunks = counter(DuckDBAppender.prototype, "appendDataChunk")
      const statementsSoFar = statementCounter()
      const before = yield* rowCounts(database)
      const ofReading = statementsSoFar()
      const report = yield* run(database, [source], { verify: false })
      assert.strictEqual(report.totals.unchanged, FILES)
      assert.strictEqual(chunks.calls, 0)
      assert.isBelow(statementsSoFar() - ofReading, 100)
      const after = yield* rowCounts(database)
      assert.deepStrictEqual(
        Object.fromEntries(
          Object.entries(after).filter(([table]) => table !== "commits" && table !== "migration_runs")
        ),
        Object.fromEntries(
          Object.entries(before).filter(([table]) => table !== "commits" && table !== "migration_runs")
        )
      )
    })
  )

  it.effect("is no look at what is stored as long as nothing is read", () =>
    Effect.gen(function* () {
      const { database, source } = yield* folderOf({ "0.json": cohort(0), "1.json": cohort(1) })
      yield* run(database, [source], { verify: false })
      const streams = counter(DuckDBPreparedStatement.prototype, "stream")
      const unchanged = yield* run(database, [source], { verify: false })
      assert.deepStrictEqual([unchanged.totals.unchanged, streams.calls], [2, 0])
      writeFileSync(join(source, "2.json"), cohort(2))
      const more = yield* run(database, [source], { verify: false })
      assert.deepStrictEqual([more.totals.migrated, streams.calls], [1, 1])
    })
  )

  it.effect("of a verification does not grow with the number of files", () =>
    Effect.gen(function* () {
      const few = yield* folderOf({ "0.json": cohort(0), "1.json": cohort(1) })
      const many = yield* folderOf(files)
      yield* run(few.database, [few.source], { verify: false })
      yield* run(many.database, [many.source], { verify: false })
      const statementsSoFar = statementCounter()
      yield* verify({ database: few.database, sources: [] })
      const least = statementsSoFar()
      yield* verify({ database: many.database, sources: [] })
      assert.isAbove(least, 20)
      assert.isBelow(statementsSoFar() - least, least + FILES / 2)
    })
  )
})
