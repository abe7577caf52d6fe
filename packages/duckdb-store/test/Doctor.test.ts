import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { hash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import {
  blockBytes,
  CohortStore,
  type Diagnosis,
  examine,
  quarantineLog,
  rebuild,
  verifyDatabase
} from "../src/index.ts"
import { examineHere } from "../src/internal/examining.ts"
import { rebuildHere } from "../src/internal/rebuilding.ts"
import { insert, runChild, temporaryFolder, valuesOf, withStore } from "./support.ts"

const withCohorts = <A, E>(path: string, use: (store: CohortStore["Service"]) => Effect.Effect<A, E, DuckDbClient>) =>
  withStore({ path }, Effect.provide(Effect.flatMap(CohortStore, use), CohortStore.layerNoDeps))

const people = (cohort: string, count: number) =>
  Array.from({ length: count }, (_, at) => ({
    id: `${cohort}-${at}`,
    given_name: `Person ${at % 89} of ${cohort}`,
    notes: `${cohort} ${at} `.repeat(12)
  }))

const save = (path: string, names: ReadonlyArray<string>, count = 2) =>
  withCohorts(
    path,
    Effect.fnUntraced(function* (store) {
      for (const name of names) {
        yield* store.save({
          name,
          entities: {
            patients: people(name, count),
            claims: [{ claim_id: `${name}-c`, claim_lines: [{ id: `${name}-l` }] }]
          }
        })
      }
    })
  )

/** A database whose writer was killed after two commits that lie in the log alone. */
const killedWriter = Effect.fnUntraced(function* (path: string) {
  yield* save(path, ["before"])
  yield* runChild(`
    import { CohortStore, openStore } from "@mallard/duckdb-store"
    import { DuckDbClient } from "@mallard/sql-duckdb"
    import { Effect } from "effect"
    await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
      const sql = yield* openStore({ path: ${JSON.stringify(path)} })
      yield* Effect.gen(function* () {
        const store = yield* CohortStore
        yield* store.save({ name: "first", entities: { patients: [{ id: "f" }] } })
        yield* store.save({ name: "second", entities: { patients: [{ id: "s" }] } })
      }).pipe(Effect.provide(CohortStore.layerNoDeps), Effect.provideService(DuckDbClient, sql))
      process.kill(process.pid, "SIGKILL")
    })))
  `)
  assert.isTrue(existsSync(`${path}.wal`))
  return { file: readFileSync(path), log: readFileSync(`${path}.wal`) }
})

/** Every file of a folder with the digest of its bytes and the time of its last change. */
const stateOf = (folder: string) =>
  readdirSync(folder)
    .sort()
    .map((name) => [name, statSync(join(folder, name)).mtimeMs, hash("sha256", readFileSync(join(folder, name)))])

/** Examines, and asserts that nothing in the folder changed. */
const examined = Effect.fnUntraced(function* (folder: string, name = "store.duckdb") {
  const before = stateOf(folder)
  const diagnosis = yield* examineHere({ path: join(folder, name) }, { depth: "documents" })
  assert.isTrue(isSame(before, stateOf(folder)), "the examination changed something")
  return diagnosis
})

const isSame = (left: unknown, right: unknown): boolean => JSON.stringify(left) === JSON.stringify(right)

const statusOf = (diagnosis: Diagnosis, check: string): string | undefined =>
  diagnosis.checks.find((one) => one.check === check)?.status

const namesIn = (path: string) =>
  Effect.map(withStore({ path, readonly: true }, valuesOf("SELECT name FROM cohorts ORDER BY name")), (rows) =>
    rows.map(([name]) => name)
  )

describe("an examination", () => {
  it.effect("finds nothing wrong with a sound database, and changes nothing", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* save(join(folder, "store.duckdb"), ["a", "b"])
      const diagnosis = yield* examined(folder)
      assert.deepStrictEqual(
        diagnosis.checks.map(({ check, status }) => [check, status]).filter(([check]) => check !== "space"),
        [
          ["file", "ok"],
          ["permissions", process.platform === "win32" ? "ok" : statusOf(diagnosis, "permissions")],
          ["log", "ok"],
          ["open", "ok"],
          ["orphans", "ok"],
          ["verify", "ok"]
        ]
      )
      assert.isUndefined(diagnosis.refused)
      assert.deepInclude(diagnosis, { version: 1, orphans: {}, log: { _tag: "None" } })
      assert.strictEqual(diagnosis.verification?.matched, 2)
      assert.match(diagnosis.header?.id ?? "", /^[0-9a-f]{32}$/)
    })
  )

  it.effect("says what a file is that cannot be opened, and of a missing one that it is missing", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      assert.strictEqual((yield* examined(folder)).refused, "missing")
      writeFileSync(path, "{}".repeat(10_000))
      const text = yield* examined(folder)
      assert.deepStrictEqual([text.refused, statusOf(text, "file")], ["not-a-database", "problem"])
      rmSync(path)
      yield* save(path, ["a"])
      const bytes = readFileSync(path)
      writeFileSync(path, bytes.subarray(0, 20_000))
      const short = yield* examined(folder)
      assert.deepStrictEqual([short.refused, statusOf(short, "open")], ["damaged", "problem"])
    })
  )

  it.effect("counts rows that no commit recorded, and leaves them where they are", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      yield* save(path, ["a"])
      yield* withStore({ path }, insert("patients", { entity_id: 90 }, { entity_id: 91 }))
      const diagnosis = yield* examined(folder)
      assert.deepStrictEqual(diagnosis.orphans, { patients: 2 })
      assert.strictEqual(statusOf(diagnosis, "orphans"), "warning")
      yield* withStore({ path }, Effect.void)
      assert.deepStrictEqual((yield* examined(folder)).orphans, {})
    })
  )
})

describe("a write-ahead log", () => {
  it.effect("that is cut anywhere is told from a whole one, and only whole transactions come out of it", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      const { file, log } = yield* killedWriter(path)
      const whole = yield* examined(folder)
      assert.deepStrictEqual(whole.log, { _tag: "Whole", bytes: log.length, commits: 2 })
      assert.strictEqual(statusOf(whole, "log"), "note")
      assert.strictEqual(statusOf(whole, "verify"), "ok")
      const expected = [["before"], ["before", "first"], ["before", "first", "second"]]
      const seen = new Set<string>()
      for (const cut of [0, 1, 40, 0.3, 0.5, 0.8, 1 - 1 / log.length, 1]) {
        const length = Number.isInteger(cut) && cut !== 1 ? cut : Math.floor(log.length * cut)
        writeFileSync(path, file)
        writeFileSync(`${path}.wal`, log.subarray(0, length))
        const { log: state, refused } = yield* examined(folder)
        assert.strictEqual(refused, undefined, `cut at ${length}`)
        seen.add(state._tag)
        const names = yield* withStore({ path }, valuesOf("SELECT name FROM cohorts ORDER BY name"))
        const commits = "commits" in state ? state.commits : 0
        assert.deepStrictEqual(
          names.map(([name]) => name),
          expected[commits],
          `cut at ${length}`
        )
        // One without a whole transaction stays until the next commit takes its place.
        assert.isTrue(commits === 0 || !existsSync(`${path}.wal`))
        const after = yield* withStore(
          { path, readonly: true },
          Effect.flatMap(DuckDbClient, (sql) => verifyDatabase(sql))
        )
        assert.deepStrictEqual(after.findings, [])
      }
      assert.sameMembers([...seen], ["Unreadable", "Torn", "Whole"])
    })
  )

  it.effect("of another database is found, moved away on request alone, and never deleted", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      const other = join(folder, "other")
      mkdirSync(other)
      const { log } = yield* killedWriter(join(other, "store.duckdb"))
      yield* save(path, ["mine"])
      writeFileSync(`${path}.wal`, log)
      rmSync(other, { recursive: true })
      const foreign = yield* examined(folder)
      assert.deepStrictEqual(foreign.log, { _tag: "Foreign", bytes: log.length })
      assert.strictEqual(foreign.refused, "wal")
      const [moved = "", ...more] = yield* quarantineLog({ path })
      assert.deepStrictEqual(more, [])
      assert.match(moved, /store\.duckdb\.wal\.quarantined-\d{8}T\d{6}Z$/)
      assert.isTrue(log.equals(readFileSync(moved)))
      assert.strictEqual(statusOf(yield* examined(folder), "verify"), "ok")
      assert.deepStrictEqual(yield* namesIn(path), ["mine"])
      // A second one of the same moment gets a name of its own.
      writeFileSync(`${path}.wal`, "another")
      const [second = ""] = yield* quarantineLog({ path })
      assert.notStrictEqual(second, moved)
      assert.isTrue(log.equals(readFileSync(moved)))
      assert.deepStrictEqual(yield* quarantineLog({ path }), [])
      assert.sameMembers(
        readdirSync(folder),
        ["store.duckdb", moved, second].map((one) => basename(one))
      )
    })
  )

  it.effect("that is garbage, or of an earlier state of the database, is named", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      const { file, log } = yield* killedWriter(path)
      writeFileSync(`${path}.wal`, "no log at all ".repeat(50))
      const garbage = yield* examined(folder)
      assert.deepStrictEqual([garbage.log._tag, statusOf(garbage, "log")], ["Unreadable", "problem"])
      writeFileSync(path, file)
      writeFileSync(`${path}.wal`, log)
      yield* save(path, ["later"])
      writeFileSync(`${path}.wal`, log)
      const stale = yield* examined(folder)
      assert.deepStrictEqual([stale.log._tag, statusOf(stale, "log")], ["Stale", "problem"])
      // The log lies beside the database, not beside a link to it.
      const link = join(yield* temporaryFolder, "link.duckdb")
      symlinkSync(path, link)
      assert.strictEqual((yield* examine({ path: link }, { skipVerify: true })).log._tag, "Stale")
      assert.lengthOf(yield* quarantineLog({ path: link }), 1)
      assert.deepStrictEqual(yield* namesIn(path), ["before", "first", "later", "second"])
    })
  )

  it.effect("of a database that another process has open is left alone", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      yield* save(path, ["a"])
      const { stdout } = yield* withStore(
        { path },
        runChild(`
          import { examine, quarantineLog } from "@mallard/duckdb-store"
          import { Effect } from "effect"
          const config = { path: ${JSON.stringify(path)} }
          const { refused, holder } = await Effect.runPromise(examine(config))
          const error = await Effect.runPromise(Effect.flip(quarantineLog(config)))
          console.log(refused, holder, error.reason)
        `)
      )
      assert.strictEqual(stdout, `locked ${process.pid} locked\n`)
    })
  )
})

describe("a rebuild", () => {
  it.effect("of a sound database leaves nothing behind, and changes nothing", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      yield* save(path, ["a", "b"])
      yield* withCohorts(path, (store) =>
        Effect.all([store.rename("a", "c"), store.delete("b"), store.append("c", { patients: [{ id: "new" }] })])
      )
      const before = readFileSync(path)
      const out = join(folder, "new.duckdb")
      const report = yield* rebuild({ path }, out)
      assert.deepInclude(report, { cohorts: 2, revisions: 5, left: [], leftRows: {} })
      assert.isTrue(before.equals(readFileSync(path)))
      const history = "SELECT name, seq, change, digest FROM cohort_revisions ORDER BY revision_id"
      assert.deepStrictEqual(
        yield* withStore({ path: out, readonly: true }, valuesOf(history)),
        yield* withStore({ path, readonly: true }, valuesOf(history))
      )
      const again = yield* Effect.flip(rebuild({ path }, out))
      assert.strictEqual(again.reason, "not-written")
      // Where nothing can be made, what was asked for is named, and not what stands for it meanwhile.
      const inFile = join(path, "new.duckdb")
      assert.deepInclude(yield* Effect.flip(rebuildHere({ path }, inFile)), { reason: "bad-path", path: inFile })
      assert.sameMembers(readdirSync(folder), ["store.duckdb", "new.duckdb"])
    })
  )

  const damages: ReadonlyArray<readonly [what: string, statement: string, kept: ReadonlyArray<string>, left: number]> =
    [
      ["a value", "UPDATE mallard.patients SET given_name = 'x' WHERE given_name = 'Person 1 of a'", ["b"], 2],
      ["a value of a child", "UPDATE mallard.claim_lines SET extra = '1' WHERE entity_id = 2", ["a"], 2],
      ["a member", "DELETE FROM mallard.cohort_members WHERE content_id = 2 AND ordinal = 1", ["a"], 2],
      ["a name", "UPDATE mallard.revisions SET name = 'z' WHERE revision_id = 1", ["a", "b"], 1],
      ["a template", "UPDATE mallard.part_texts SET text = '{}' WHERE content_id = 1", ["b"], 2],
      ["the deletion of a cohort", "UPDATE mallard.revisions SET name = 'y' WHERE change = 'deleted'", ["a", "b"], 2]
    ]
  for (const [what, statement, kept, left] of damages) {
    it.effect(`leaves behind what ${what} spoils, names it, and nothing else`, () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const path = join(folder, "store.duckdb")
        yield* save(path, ["a", "b", "gone"])
        yield* withCohorts(path, (store) =>
          Effect.all([store.addTags("a", ["t"]), store.addTags("b", ["t"]), store.delete("gone")])
        )
        yield* withStore({ path }, valuesOf(statement))
        const before = readFileSync(path)
        const diagnosis = yield* examined(folder)
        assert.strictEqual(statusOf(diagnosis, "verify"), "problem")
        const out = join(folder, "new.duckdb")
        const report = yield* rebuildHere({ path }, out)
        assert.strictEqual(report.left.length, left, JSON.stringify(report.left))
        assert.deepStrictEqual(yield* namesIn(out), [...kept])
        assert.isTrue(before.equals(readFileSync(path)))
        const verified = yield* withStore(
          { path: out, readonly: true },
          Effect.flatMap(DuckDbClient, (sql) => verifyDatabase(sql))
        )
        assert.deepStrictEqual(verified.findings, [])
      })
    )
  }

  it.effect("of a file whose blocks are swapped or broken gives what verifies, or says that it cannot", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      const out = join(folder, "new.duckdb")
      yield* save(path, ["a", "b"], 3000)
      const names = yield* namesIn(path)
      const sound = readFileSync(path)
      const block = blockBytes()
      const first = 3 * 4096
      const blocks = Math.floor((sound.length - first) / block)
      assert.isAbove(blocks, 3)
      const damaged = (change: (bytes: Buffer) => void): Buffer => {
        const bytes = Buffer.from(sound)
        change(bytes)
        return bytes
      }
      const swap = (left: number, right: number) =>
        damaged((bytes) => {
          sound.copy(bytes, first + left * block, first + right * block, first + (right + 1) * block)
          sound.copy(bytes, first + right * block, first + left * block, first + (left + 1) * block)
        })
      const broken = (at: number) =>
        damaged((bytes) => bytes.fill(0xa5, first + at * block + 64, first + at * block + 4096))
      const middle = blocks >> 1
      const cases = [broken(0), broken(middle), swap(middle - 2, middle - 1), swap(1, blocks - 1)]
      for (const bytes of cases) {
        writeFileSync(path, bytes)
        const diagnosis = yield* examine({ path })
        const isSound = diagnosis.checks.every(({ status }) => status !== "problem")
        const result = yield* Effect.exit(rebuild({ path }, out))
        assert.isTrue(bytes.equals(readFileSync(path)), "the damaged file was changed")
        if (result._tag === "Failure") assert.isFalse(existsSync(out))
        else {
          if (isSound) assert.deepStrictEqual(result.value.left, [])
          assert.includeMembers(names, yield* namesIn(out))
          rmSync(out)
        }
        // What is not noticed is nothing that was stored: a block that is free.
        if (isSound) assert.deepStrictEqual(yield* namesIn(path), names)
      }
    })
  )
})
