import { DuckDBInstance } from "@duckdb/node-api"
import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient, DuckDbOpenError } from "@mallard/sql-duckdb"
import { Effect, Exit, Result } from "effect"
import { TestClock } from "effect/testing"
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import {
  deleteUnrecordedRows,
  type Failpoint,
  Failpoints,
  idColumns,
  inspectSchema,
  type Migration,
  migrations,
  nextIds,
  openStore,
  record,
  type StoreConfig,
  StoreError,
  toStoreError
} from "../src/index.ts"
import { insert, recordAll, runChild, temporaryFolder, valuesOf, withStore } from "./support.ts"

const opening = (config: StoreConfig, steps?: ReadonlyArray<Migration>) =>
  Effect.flip(Effect.scoped(openStore(config, steps)))

const plainDatabase = (path: string, ...statements: ReadonlyArray<string>) =>
  Effect.promise(async () => {
    const instance = await DuckDBInstance.create(path)
    const connection = await instance.connect()
    for (const statement of statements) await connection.run(statement)
    connection.closeSync()
    instance.closeSync()
  })

describe("a new database", () => {
  it.effect("is created with the folders above it, for their owner alone, and leaves nothing beside it", () =>
    Effect.gen(function* () {
      const folder = join(yield* temporaryFolder, "a")
      const path = join(folder, "b", "store.duckdb")
      yield* withStore({ path }, Effect.void)
      assert.deepStrictEqual(readdirSync(join(folder, "b")), ["store.duckdb"])
      assert.strictEqual(statSync(folder).mode & 0o777, 0o700)
      assert.strictEqual(statSync(join(folder, "b")).mode & 0o777, 0o700)
      assert.strictEqual(statSync(path).mode & 0o777, 0o600)
      assert.deepStrictEqual(
        yield* withStore(
          { path, readonly: true },
          valuesOf("SELECT version, name, program FROM mallard.schema_migrations")
        ),
        [[1, "tables and views", "mallard"]]
      )
    })
  )

  it.effect("has small blocks unless it is to take in much at once, and keeps them", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const blocksOf = (name: string, config?: Partial<StoreConfig>) =>
        withStore(
          { path: join(folder, name), ...config },
          valuesOf("SELECT block_size::INTEGER FROM pragma_database_size() WHERE block_size > 0")
        )
      const much = { expectedBytes: 1 << 30 }
      assert.deepStrictEqual(yield* blocksOf("small.duckdb"), [[65_536]])
      assert.deepStrictEqual(yield* blocksOf("small.duckdb", much), [[65_536]])
      assert.deepStrictEqual(yield* blocksOf("large.duckdb", much), [[262_144]])
      assert.deepStrictEqual(yield* blocksOf("large.duckdb"), [[262_144]])
      // Opened in another way, because DuckDB would name it as the schema of the tables.
      assert.deepStrictEqual(yield* blocksOf("mallard.duckdb"), [[65_536]])
    })
  )

  it.effect("is a file: without one it is refused, and no file gets the name", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* opening({ path: ":memory:" })).reason, "bad-path")
      assert.isFalse(existsSync(":memory:"))
    })
  )

  it.effect("does not exist at all when a step of its making fails", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      const broken = [...migrations, { version: 2, name: "broken", statements: ["CREATE TABLE mallard.x (a NOTYPE)"] }]
      const error = yield* opening({ path }, broken)
      assert.strictEqual(error.reason, "io")
      assert.strictEqual(error.path, path)
      assert.deepStrictEqual(readdirSync(folder), [])
    })
  )

  it.effect("replaces what a killed maker of the same number left behind", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      writeFileSync(join(folder, `.store.duckdb.tmp-${process.pid}`), "half")
      writeFileSync(join(folder, `.store.duckdb.tmp-${process.pid}.wal`), "half")
      yield* withStore({ path }, Effect.void)
      assert.deepStrictEqual(readdirSync(folder), ["store.duckdb"])
    })
  )

  it.effect("is not built beside a write-ahead log, which would be replayed into it", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      writeFileSync(`${path}.wal`, "log")
      assert.strictEqual((yield* opening({ path })).reason, "wal")
      assert.deepStrictEqual(readdirSync(folder), ["store.duckdb.wal"])
    })
  )

  it.effect("is made in place of an empty one", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      yield* plainDatabase(path)
      assert.strictEqual((yield* opening({ path, readonly: true })).reason, "missing")
      assert.deepStrictEqual(yield* withStore({ path }, inspectSchema), { _tag: "Ours", version: 1 })
    })
  )

  it.effect("is not created by a reader, nor where there is no folder to be", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      assert.strictEqual((yield* opening({ path: join(folder, "x.duckdb"), readonly: true })).reason, "missing")
      writeFileSync(join(folder, "file"), "")
      assert.strictEqual((yield* opening({ path: join(folder, "file", "x.duckdb") })).reason, "bad-path")
      assert.strictEqual((yield* opening({ path: join(folder, "n".repeat(250)) })).reason, "bad-path")
      assert.strictEqual((yield* opening({ path: join(folder, "a\0b.duckdb") })).reason, "bad-path")
      assert.deepStrictEqual(readdirSync(folder), ["file"])
    })
  )

  it.effect("keeps that of another process which was quicker", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      const results = yield* Effect.all(
        [1, 2, 3].map((name) =>
          runChild(`
            import { openStore } from "@mallard/duckdb-store"
            import { Effect, Schedule } from "effect"
            const open = openStore({ path: ${JSON.stringify(path)}, program: "${name}" })
            await Effect.runPromise(Effect.scoped(Effect.retry(Effect.asVoid(open), { times: 200, schedule: Schedule.spaced("50 millis") })))
          `)
        ),
        { concurrency: 3 }
      )
      assert.deepStrictEqual(
        results.map(({ code, stderr }) => [code, stderr]),
        [
          [0, ""],
          [0, ""],
          [0, ""]
        ]
      )
      const rows = yield* withStore(
        { path, readonly: true },
        valuesOf("SELECT count(*) FROM mallard.schema_migrations")
      )
      assert.deepStrictEqual(rows, [[1n]])
    })
  )
})

describe("an existing database", () => {
  it.effect("that another process has open is locked, and its holder is named", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      const child = yield* withStore(
        { path },
        runChild(`
          import { LockWait, openStore } from "@mallard/duckdb-store"
          import { Effect } from "effect"
          const opened = Effect.scoped(openStore({ path: ${JSON.stringify(path)} }))
          const error = await Effect.runPromise(Effect.flip(Effect.provideService(opened, LockWait, { milliseconds: 100 })))
          console.log(JSON.stringify([error._tag, error.reason, error.holder, error.since, error.message]))
        `)
      )
      assert.strictEqual(child.stderr, "")
      const [tag, reason, holder, since, message] = JSON.parse(child.stdout)
      assert.deepStrictEqual([tag, reason, holder], ["StoreError", "locked", process.pid])
      assert.closeTo(Date.parse(since), Date.now() - process.uptime() * 1000, 5000)
      assert.match(message, /: it is open elsewhere \(process \d+, [\w.+-]+, running since [\dT:-]+Z\)\. Wait until/)
    })
  )

  it.effect(
    "that this process has open for writing is locked for a second writer, so that none gives ids of the other",
    () =>
      Effect.gen(function* () {
        const path = join(yield* temporaryFolder, "store.duckdb")
        const error = yield* withStore({ path }, opening({ path }))
        assert.deepStrictEqual([error.reason, error.holder], ["locked", process.pid])
        yield* withStore({ path }, Effect.void)
        yield* withStore({ path, readonly: true }, withStore({ path, readonly: true }, Effect.void))
      })
  )

  it.effect("that is new is made by one of those that open it at once, and locked for the others", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      const open = Effect.result(
        Effect.scoped(Effect.andThen(openStore({ path }), TestClock.withLive(Effect.sleep(300))))
      )
      const results = yield* Effect.all([open, open, open], { concurrency: 3 })
      assert.deepStrictEqual(
        results.map((result) => (Result.isSuccess(result) ? "opened" : result.failure.reason)).toSorted(),
        ["locked", "locked", "opened"]
      )
      assert.deepStrictEqual(readdirSync(folder), ["store.duckdb"])
      yield* withStore({ path }, Effect.void)
    })
  )

  it.effect("that this process has open in another way is locked, and the process is told that it is itself", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      const error = yield* withStore({ path }, opening({ path, memoryLimit: "1GB" }))
      assert.deepStrictEqual([error.reason, error.holder], ["locked", process.pid])
      assert.include(error.message, `: this process has it open already (process ${process.pid}). Use what has it open`)
    })
  )

  it.effect("that another takes the place of while it is opened is let go of, and the other is opened", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      const other = join(folder, "other.duckdb")
      const mark = (name: string) =>
        Effect.flatMap(DuckDbClient, (sql) => sql.unsafe(`CREATE TABLE main.${name} (x INT)`))
      yield* withStore({ path }, mark("old"))
      yield* withStore({ path: other }, mark("new"))
      let times = 0
      const replacing = (point: Failpoint): void => {
        if (point === "database/opened" && times++ === 0) renameSync(other, path)
      }
      yield* Effect.provideService(withStore({ path }, mark("written")), Failpoints, replacing)
      assert.strictEqual(times, 2)
      const tables = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' ORDER BY table_name"
      assert.deepStrictEqual(yield* withStore({ path, readonly: true }, valuesOf(tables)), [["new"], ["written"]])
    }).pipe(TestClock.withLive)
  )

  it.effect("with tables of somebody else is foreign and stays as it was", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      yield* plainDatabase(path, "CREATE TABLE patients (id INTEGER)", "CHECKPOINT")
      const before = readFileSync(path)
      assert.strictEqual((yield* opening({ path })).reason, "foreign")
      assert.strictEqual((yield* opening({ path, readonly: true })).reason, "foreign")
      assert.isTrue(before.equals(readFileSync(path)))
    })
  )

  it.effect("of ours may hold tables and views of its owner too", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      yield* withStore({ path }, valuesOf("CREATE TABLE notes AS SELECT 1 AS a"))
      assert.deepStrictEqual(yield* withStore({ path }, valuesOf("SELECT a FROM notes")), [[1]])
    })
  )

  it.effect("that is no database, or only a part of one, is refused", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "store.duckdb")
      writeFileSync(path, "")
      assert.strictEqual((yield* opening({ path })).reason, "not-a-database")
      writeFileSync(path, "{}".repeat(10_000))
      assert.strictEqual((yield* opening({ path })).reason, "not-a-database")
      const whole = join(folder, "whole.duckdb")
      yield* withStore({ path: whole }, Effect.void)
      truncateSync(whole, 20_000)
      assert.strictEqual((yield* opening({ path: whole })).reason, "damaged")
      mkdirSync(join(folder, "directory"))
      const refused = yield* opening({ path: join(folder, "directory") })
      assert.strictEqual(refused.reason, "bad-path")
      assert.match(refused.message, /directory: it is a folder, and a database is a file\. Name a file/)
    })
  )

  it.effect("with a table or a column missing is damaged, and nothing is repaired by guessing", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      for (const [name, statement] of [
        ["table", "DROP TABLE mallard.migration_backups CASCADE"],
        ["column", "ALTER TABLE mallard.kinds ADD COLUMN more INTEGER"],
        ["type", "ALTER TABLE mallard.part_texts ALTER piece TYPE BIGINT"],
        ["row", "DELETE FROM mallard.schema_migrations"]
      ] as const) {
        const path = join(folder, `${name}.duckdb`)
        yield* withStore({ path }, valuesOf(statement))
        assert.strictEqual((yield* opening({ path })).reason, "damaged", name)
      }
    })
  )

  it.effect("that a later version has migrated is newer", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      yield* withStore(
        { path },
        record("schema_migrations", [{ version: 2, name: "later", applied_at: new Date(0), program: "later" }])
      )
      const error = yield* opening({ path })
      assert.strictEqual(error.reason, "newer")
      assert.strictEqual((yield* opening({ path, readonly: true })).reason, "newer")
      assert.match(error.message, /Update Mallard/)
    })
  )

  it.effect("is migrated by the steps that it lacks, and left as it was by one that fails", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      const steps = (statement: string) => [
        ...migrations,
        { version: 2, name: "second", statements: ["CREATE TABLE main.extra (a INTEGER)", statement] }
      ]
      yield* withStore({ path }, Effect.void)
      const failed = yield* opening({ path }, steps("CREATE TABLE main.more (a NOTYPE)"))
      assert.strictEqual(failed.reason, "io")
      assert.deepStrictEqual(yield* withStore({ path }, inspectSchema), { _tag: "Ours", version: 1 })
      assert.deepStrictEqual(
        yield* withStore({ path }, valuesOf("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'extra'")),
        [[0n]]
      )
      yield* Effect.scoped(openStore({ path, program: "test" }, steps("CREATE TABLE main.more (a INTEGER)")))
      assert.isFalse(existsSync(`${path}.wal`))
      const instance = yield* Effect.promise(() => DuckDBInstance.create(path, { access_mode: "READ_ONLY" }))
      const connection = yield* Effect.promise(() => instance.connect())
      const rows = yield* Effect.promise(() =>
        connection.runAndReadAll("SELECT version, name, program FROM mallard.schema_migrations ORDER BY 1")
      )
      assert.deepStrictEqual(rows.getRows(), [
        [1, "tables and views", "mallard"],
        [2, "second", "test"]
      ])
      connection.closeSync()
      instance.closeSync()
    })
  )

  for (const point of ["tables/changed", "tables/committed", "checkpoint/begun", "checkpoint/done"] as const) {
    it.effect(`is migrated in the end, also in an empty file, when that broke off at ${point}`, () =>
      Effect.gen(function* () {
        const path = join(yield* temporaryFolder, "store.duckdb")
        yield* plainDatabase(path)
        const broken = yield* Effect.exit(
          Effect.provideService(Effect.scoped(openStore({ path })), Failpoints, (reached) => {
            if (reached === point) throw new Error(reached)
          })
        )
        assert.isTrue(Exit.hasDies(broken))
        assert.deepStrictEqual(yield* withStore({ path }, inspectSchema), { _tag: "Ours", version: 1 })
        assert.isFalse(existsSync(`${path}.wal`))
      })
    )
  }

  it.effect("has no write-ahead log after its writer's scope, whether that ends well or not", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      yield* withStore(
        { path },
        Effect.gen(function* () {
          yield* insert("part_texts", { content_id: 0, part: 0, piece: 0, text: "x" })
          assert.isTrue(existsSync(`${path}.wal`))
        })
      )
      assert.isFalse(existsSync(`${path}.wal`))
      const exit = yield* Effect.exit(
        withStore({ path }, Effect.andThen(insert("part_texts", { content_id: 0 }), Effect.die("broken")))
      )
      assert.isTrue(Exit.isFailure(exit))
      assert.isFalse(existsSync(`${path}.wal`))
    })
  )

  it.effect("does not accept options that DuckDB refuses", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      yield* withStore({ path }, Effect.void)
      for (const memoryLimit of ["much", "1KB"]) {
        const error = yield* opening({ path, memoryLimit })
        assert.instanceOf(error, StoreError)
        assert.strictEqual(error.reason, "bad-option", memoryLimit)
      }
    })
  )
})

describe("rows outside recorded ranges", () => {
  const rows = (id: number) =>
    Effect.gen(function* () {
      yield* insert("patients", { entity_id: id })
      yield* insert("claims", { entity_id: id })
      yield* insert("json_values", { entity_id: id })
      yield* insert("entity_shapes", { shape_id: id })
      yield* insert("links", { parent_kind: 1, parent_entity_id: id }, { parent_kind: 11, parent_entity_id: id })
      yield* insert("revisions", { revision_id: id, content_id: id })
      for (const table of ["parts", "part_texts", "collections", "cohort_members"])
        yield* insert(table, { content_id: id })
    })
  const counts = valuesOf(
    [...idColumns.keys(), "links", "parts", "part_texts", "collections", "cohort_members"]
      .map((table) => `SELECT '${table}', count(*) AS n FROM mallard.${table}`)
      .join(" UNION ALL ")
  ).pipe(Effect.map((found) => Object.fromEntries(found.filter(([, n]) => n !== 0n))))

  it.effect("are deleted when a writer opens the database, in every table, and their ids come next", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      yield* withStore(
        { path },
        Effect.gen(function* () {
          yield* rows(1)
          yield* recordAll
          yield* rows(2)
          yield* rows(3)
        })
      )
      yield* withStore({ path, readonly: true }, Effect.asVoid(counts))
      const [found, next] = yield* withStore({ path }, Effect.all([counts, nextIds]))
      assert.deepStrictEqual(found, {
        patients: 1n,
        claims: 1n,
        json_values: 1n,
        entity_shapes: 1n,
        links: 2n,
        revisions: 1n,
        parts: 1n,
        part_texts: 1n,
        collections: 1n,
        cohort_members: 1n
      })
      assert.strictEqual(next.get("patients"), 2)
      assert.strictEqual(next.get("encounters"), 1)
      assert.strictEqual(next.get("entity_shapes"), 2)
      assert.strictEqual(next.get("revisions"), 2)
      assert.strictEqual(next.get("commits"), 2)
    })
  )

  it.effect("do not trouble a reader, who changes nothing", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      yield* withStore({ path }, rows(1))
      const before = readFileSync(path)
      assert.deepStrictEqual(yield* withStore({ path, readonly: true }, valuesOf("SELECT * FROM patients")), [])
      assert.isTrue(before.equals(readFileSync(path)))
    })
  )

  it.effect("are none in a sound database, and then nothing is written", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      yield* withStore({ path }, Effect.andThen(rows(1), recordAll))
      const before = readFileSync(path)
      assert.strictEqual((yield* withStore({ path }, deleteUnrecordedRows())).size, 0)
      assert.isTrue(before.equals(readFileSync(path)))
    })
  )

  it.effect("of a writer that was killed are gone, and what it had committed is there", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "store.duckdb")
      yield* runChild(`
        import { openStore } from "@mallard/duckdb-store"
        import { Effect } from "effect"
        await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
          const sql = yield* openStore({ path: ${JSON.stringify(path)} })
          const patient = (id) => sql.unsafe(\`INSERT INTO mallard.patients (entity_id, digest, shape_id) VALUES (\${id}, uuid(), 1)\`)
          yield* patient(1)
          yield* sql.unsafe("INSERT INTO mallard.commits VALUES (1, uuid(), NULL, TIMESTAMP '2026-01-01', 'patients', 1, 1, '')")
          yield* patient(2)
          process.kill(process.pid, "SIGKILL")
        })))
      `)
      assert.isTrue(existsSync(`${path}.wal`))
      assert.deepStrictEqual(yield* withStore({ path }, valuesOf("SELECT entity_id FROM mallard.patients")), [[1n]])
      assert.isFalse(existsSync(`${path}.wal`))
    })
  )
})

describe("errors", () => {
  it("tell the reason by the system's code or DuckDB's class, and keep what DuckDB said out of the message", () => {
    const coded = (code: string) => Object.assign(new Error("secret"), { code })
    const nested = new Error("outer", {
      cause: new Error("IO Error: Could not write: No space left on device, secret")
    })
    for (const [cause, reason] of [
      [coded("ENOSPC"), "no-space"],
      [coded("EACCES"), "permission"],
      [coded("EROFS"), "permission"],
      [coded("EIO"), "io"],
      [coded("EFBIG"), "no-space"],
      [nested, "no-space"],
      [new Error("outer", { cause: new Error("IO Error: secret: Input/output error") }), "io"],
      [new Error("outer", { cause: new Error("FATAL Error: fsync failed!") }), "io"],
      [new Error("FATAL Error: secret, corrupt: Permission denied"), "permission"],
      [new Error("Corrupt database file: secret"), "damaged"],
      ["secret", "io"]
    ] as const) {
      const error = toStoreError("/a/b.duckdb", cause)
      assert.strictEqual(error.reason, reason)
      assert.match(error.message, /^Cannot open the database \/a\/b\.duckdb: /)
      assert.notInclude(error.message, "secret")
      assert.strictEqual(error.cause, cause)
    }
    const damaged = new DuckDbOpenError({ reason: "damaged", path: "/a/b.duckdb" })
    assert.strictEqual(toStoreError("/a/b.duckdb", damaged, true).reason, "wal")
    assert.strictEqual(toStoreError("/a/b.duckdb", damaged, false).reason, "damaged")
  })
})
