import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { CohortStore, type Failpoint, Failpoints, purge, purgeStatements, verifyDatabase } from "../src/index.ts"
import { type Finished, runChild, temporaryFolder, valuesOf, withStore } from "./support.ts"

const withCohorts = <A, E>(path: string, use: (store: CohortStore["Service"]) => Effect.Effect<A, E, DuckDbClient>) =>
  withStore({ path }, Effect.provide(Effect.flatMap(CohortStore, use), CohortStore.layerNoDeps))

const shared = { id: "p1", given_name: "Shared", notes: "both" }

/** Three cohorts that share entities and shapes; `gone` and `gone too` are deleted. */
const fill = (path: string) =>
  withCohorts(
    path,
    Effect.fnUntraced(function* (store) {
      yield* store.save({
        name: "gone",
        tags: ["secret"],
        entities: {
          patients: [shared, { id: "p2", given_name: "Removed-Person", odd_key: [1, { deep: true }] }],
          claims: [{ claim_id: "c1", claim_lines: [{ id: "l1" }, { id: "l2" }] }],
          other: [{ a: 1 }, 7]
        }
      })
      yield* store.save({
        name: "stays",
        description: "kept",
        entities: {
          claims: [{ claim_id: "c2", claim_lines: [{ id: "l2" }, { id: "l3" }] }],
          patients: [{ id: "p3" }, shared],
          other: [7]
        }
      })
      yield* store.save({ name: "gone too", entities: { patients: [{ id: "p3" }] } })
      yield* store.rename("stays", "stayed")
      yield* store.append("stayed", { patients: [{ id: "p4", x: 1.5 }] })
      yield* store.delete("gone")
      yield* store.delete("gone too")
    })
  )

describe("a purge", () => {
  it.effect("says what it removes, removes just that, and leaves a database that verifies", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "cohorts.duckdb")
      yield* fill(path)
      const before = yield* withCohorts(path, (store) =>
        Effect.all({
          plan: store.purgePlan(),
          history: store.history("stayed"),
          documents: store.load("stayed"),
          list: store.list
        })
      )
      assert.deepStrictEqual(
        before.plan.cohorts.map(({ name, revisions }) => [name, revisions]),
        [
          ["gone", 2],
          ["gone too", 2]
        ]
      )
      assert.deepInclude(before.plan, {
        revisions: 4,
        documents: 2,
        entities: { json: 1, patient: 1, claim: 1, claim_line: 1 }
      })
      assert.isTrue(readFileSync(path).includes("Removed-Person"))

      const report = yield* purge(
        { path, program: "tests 1.2" },
        { asked: Effect.succeed('{"command":"purge","by":"me"}') }
      )
      const { bytesAfter, bytesBefore, ...removed } = report
      assert.deepStrictEqual(removed, before.plan)
      assert.isAbove(bytesBefore, 0)
      assert.strictEqual(bytesAfter, statSync(path).size)
      assert.isFalse(readFileSync(path).includes("Removed-Person"))
      assert.deepStrictEqual(readdirSync(folder), ["cohorts.duckdb"])

      yield* withCohorts(
        path,
        Effect.fnUntraced(function* (store) {
          assert.deepStrictEqual((yield* verifyDatabase(yield* DuckDbClient)).findings, [])
          assert.deepStrictEqual((yield* store.load("stayed")).documents, before.documents.documents)
          const shown = (revisions: typeof before.history) =>
            revisions.map(({ change, digest, name, savedAt, seq }) => ({ change, digest, name, savedAt, seq }))
          assert.deepStrictEqual(shown(yield* store.history("stayed")), shown(before.history))
          assert.strictEqual((yield* Effect.flip(store.history("gone")))._tag, "CohortNotFound")
          assert.deepStrictEqual(
            yield* valuesOf("SELECT count(*)::INTEGER, max(entity_id)::INTEGER FROM mallard.patients"),
            [[3, 3]]
          )
          // That it was removed, by whom and when, is known for good; of what it was, the ids alone.
          const [run, ...others] = yield* store.runs
          assert.deepStrictEqual(others, [])
          assert.deepInclude(run, { outcome: "done", program: "tests 1.2", options: '{"command":"purge","by":"me"}' })
          const [facts = []] = yield* valuesOf("SELECT options FROM mallard.migration_runs WHERE event = 'finished'")
          const { cohorts, ...counts } = before.plan
          assert.deepStrictEqual(JSON.parse(String(facts[0])), {
            purged: { cohorts: cohorts.map(({ cohortId }) => cohortId), ...counts, items: {} }
          })
          // The name is free, and what is stored next gets ids that follow.
          yield* store.save({ name: "gone", entities: { patients: [shared, { id: "p9" }] } })
          assert.strictEqual((yield* store.history("gone")).length, 1)
          assert.deepStrictEqual((yield* verifyDatabase(yield* DuckDbClient)).findings, [])
        })
      )
    })
  )

  it.effect("takes only the deleted cohorts that are named, and never one that is not deleted", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "cohorts.duckdb")
      yield* fill(path)
      // By a link to it in another folder, it is the same database: what goes is gone, and the link stays one.
      const link = join(yield* temporaryFolder, "link.duckdb")
      symlinkSync(path, link)
      const report = yield* purge({ path: link }, { cohorts: ["gone too", "stayed"] })
      assert.strictEqual(readlinkSync(link), path)
      assert.deepStrictEqual(readdirSync(folder), ["cohorts.duckdb"])
      assert.deepStrictEqual(
        report.cohorts.map(({ name }) => name),
        ["gone too"]
      )
      assert.deepStrictEqual(report.entities, {})
      yield* withCohorts(
        path,
        Effect.fnUntraced(function* (store) {
          assert.strictEqual((yield* store.restore("gone")).seq, 3)
          assert.isTrue(yield* store.exists("stayed"))
          assert.deepStrictEqual((yield* verifyDatabase(yield* DuckDbClient)).findings, [])
        })
      )
    })
  )

  it.effect("leaves a database as it is that has nothing to remove, or tables of its owner", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "cohorts.duckdb")
      yield* fill(path)
      yield* withStore(
        { path },
        Effect.flatMap(DuckDbClient, (sql) => sql.unsafe("CREATE TABLE main.mine AS SELECT 1 AS x"))
      )
      const bytes = readFileSync(path)
      const error = yield* Effect.flip(purge({ path }))
      assert.strictEqual(error.reason, "own-tables")
      assert.isTrue(bytes.equals(readFileSync(path)))
      const nothing = yield* purge({ path }, { cohorts: ["stayed"] })
      assert.deepStrictEqual(nothing.cohorts, [])
      assert.isTrue(bytes.equals(readFileSync(path)))
    })
  )

  it.effect("lets no other process open the database until it is done, and loses nothing of one that waits", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "cohorts.duckdb")
      const waits = join(folder, "waits")
      yield* fill(path)
      const reasons: Array<string> = []
      let writing: Promise<Finished> | undefined
      const reached = (point: Failpoint): void => {
        if (point === "checkpoint/begun") reasons.push(tryOpening(path))
        if (point !== "purge/copied") return
        reasons.push(tryOpening(path))
        writing = start(saveWaiting(path, waits))
        // The purge goes on when the writer has met the lock.
        for (let tries = 0; tries < 600 && !existsSync(waits); tries++) {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
        }
      }
      const { cohorts } = yield* Effect.provideService(purge({ path }), Failpoints, reached)
      assert.strictEqual(cohorts.length, 2)
      // At the checkpoint of the copy, and when that is verified; what came before is the making of the new file.
      assert.deepStrictEqual(reasons.slice(-2), ["locked", "locked"])
      assert.isTrue(existsSync(waits))
      assert.deepInclude(yield* Effect.promise(async () => writing), { code: 0, stderr: "" })
      yield* withCohorts(
        path,
        Effect.fnUntraced(function* (store) {
          assert.deepStrictEqual(
            (yield* store.list).map(({ name }) => name),
            ["meanwhile", "stayed"]
          )
          assert.deepStrictEqual((yield* verifyDatabase(yield* DuckDbClient)).findings, [])
        })
      )
    })
  )

  it.effect("goes by what is deleted when nobody else can change it any more", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "cohorts.duckdb")
      yield* fill(path)
      const reached = (point: Failpoint): void => {
        if (point === "purge/planned") runNow(restoring(path))
      }
      const { cohorts } = yield* Effect.provideService(purge({ path }), Failpoints, reached)
      assert.deepStrictEqual(
        cohorts.map(({ name }) => name),
        ["gone too"]
      )
      yield* withCohorts(path, (store) => Effect.map(store.exists("gone"), assert.isTrue))
    })
  )

  it("changes no row of the old file", () => {
    for (const statement of Object.values(purgeStatements)) assert.match(statement, /^SELECT/)
  })
})

/** Runs a module text in a process of its own, and gives what it printed. */
const runNow = (source: string): string =>
  execFileSync(process.execPath, ["--input-type=module-typescript", "-e", source], {
    cwd: join(import.meta.dirname, ".."),
    encoding: "utf8"
  })

/** Runs a module text in a process of its own, at once and beside this one. */
const start = (source: string): Promise<Finished> => Effect.runPromise(runChild(source))

/** What another process is told that opens the database now and does not wait. */
const tryOpening = (path: string): string =>
  runNow(`
    import { LockWait, openStore } from "@mallard/duckdb-store"
    import { Effect } from "effect"
    const opened = Effect.as(Effect.scoped(openStore({ path: ${JSON.stringify(path)} })), "opened")
    const told = Effect.catch(opened, (error) => Effect.succeed(error.reason))
    process.stdout.write(await Effect.runPromise(Effect.provideService(told, LockWait, { milliseconds: 0 })))
  `)

const restoring = (path: string): string => `
  import { openCohortStore } from "@mallard/duckdb-store"
  await using store = await openCohortStore({ path: ${JSON.stringify(path)} })
  await store.restore("gone")
`

/** Saves a cohort as soon as the database is free; makes a file when it has to wait. */
const saveWaiting = (path: string, waits: string): string => `
  import { CohortStore, LockWait, openStore } from "@mallard/duckdb-store"
  import { DuckDbClient } from "@mallard/sql-duckdb"
  import { Effect } from "effect"
  import { writeFileSync } from "node:fs"
  const save = CohortStore.use((store) => store.save({ name: "meanwhile", entities: { patients: [{ id: "p5" }] } }))
  await Effect.runPromise(
    Effect.scoped(
      Effect.flatMap(openStore({ path: ${JSON.stringify(path)} }), (sql) =>
        Effect.provideService(Effect.provide(save, CohortStore.layerNoDeps), DuckDbClient, sql)
      )
    ).pipe(
      Effect.provideService(LockWait, {
        milliseconds: Infinity,
        onWait: () => writeFileSync(${JSON.stringify(waits)}, "")
      })
    )
  )
`
