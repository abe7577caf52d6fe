import { DuckDBInstance } from "@duckdb/node-api"
import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient, type DuckDbClientConfig, type DuckDbOpenError } from "@mallard/sql-duckdb"
import { ConfigProvider, Config, Effect, Layer, Stream } from "effect"
import { execFileSync, spawn } from "node:child_process"
import { existsSync, linkSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { runChild, temporaryFolder, withClient } from "./support.ts"

const openError = (config: DuckDbClientConfig): Effect.Effect<DuckDbOpenError> =>
  Effect.flip(Effect.scoped(Layer.build(Layer.fresh(DuckDbClient.layer(config))))).pipe(
    Effect.catch(() => Effect.die(new Error(`${config.filename} was opened`)))
  )

const reasonOf = (config: DuckDbClientConfig) => Effect.map(openError(config), (error) => error.reason)

const createDatabase = (filename: string) =>
  withClient(
    { filename },
    Effect.flatMap(DuckDbClient, (sql) => sql`CREATE TABLE t AS SELECT range AS a FROM range(1000)`)
  )

// DuckDB's checksum of a header block, so that the fields behind it can be changed.
const withHeader = (database: Buffer, change: (copy: Buffer) => void): Buffer => {
  const copy = Buffer.from(database)
  change(copy)
  let sum = 5381n
  for (let offset = 8; offset < 4096; offset += 8) {
    sum ^= (copy.readBigUInt64LE(offset) * 0xbf58476d1ce4e5b9n) & 0xffffffffffffffffn
  }
  copy.writeBigUInt64LE(sum, 0)
  return copy
}

describe("opening", () => {
  it.effect("paths that are not absolute paths of plain files are refused", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      for (const filename of [
        "",
        "relative.duckdb",
        "./relative.duckdb",
        ":memory:name",
        "md:cloud",
        "http://host/a.duckdb",
        "https://host/a.duckdb",
        "s3://bucket/a.duckdb",
        "sqlite:a.db",
        "ducklake:a.ducklake",
        `${folder}/a\0b.duckdb`,
        `${folder}/a\ud800.duckdb`,
        `${folder}/${"n".repeat(300)}.duckdb`
      ]) {
        assert.strictEqual(yield* reasonOf({ filename }), "bad-path", filename)
      }
      symlinkSync(join(folder, "nowhere"), join(folder, "dangling"))
      assert.strictEqual(yield* reasonOf({ filename: join(folder, "dangling") }), "bad-path")
      assert.deepStrictEqual(readdirSync(folder), ["dangling"])
    })
  )

  it.effect("what is no DuckDB database is refused and left as it is", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const contents: Record<string, string | Buffer> = {
        empty: "",
        short: "DUCK",
        text: "x".repeat(20_000),
        sqlite: `SQLite format 3\0${"\0".repeat(8000)}`
      }
      for (const [name, content] of Object.entries(contents)) {
        const filename = join(folder, name)
        writeFileSync(filename, content)
        for (const readonly of [false, true]) {
          assert.strictEqual(yield* reasonOf({ filename, readonly }), "not-a-database", name)
        }
        assert.deepStrictEqual(readFileSync(filename), Buffer.from(content))
      }
      mkdirSync(join(folder, "directory"))
      assert.strictEqual(yield* reasonOf({ filename: join(folder, "directory") }), "bad-path")
      assert.strictEqual(yield* reasonOf({ filename: "/dev/null" }), "bad-path")
    })
  )

  it.effect("a missing file or folder is named as missing", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const filename = join(folder, "none.duckdb")
      const error = yield* openError({ filename, readonly: true })
      assert.strictEqual(error.reason, "missing")
      assert.include(error.message, filename)
      assert.strictEqual(yield* reasonOf({ filename: join(folder, "none", "a.duckdb") }), "missing")
      writeFileSync(join(folder, "file"), "")
      assert.strictEqual(yield* reasonOf({ filename: join(folder, "file", "a.duckdb") }), "missing")
      assert.isFalse(existsSync(filename))
    })
  )

  it.effect("damage and other versions are told apart", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const filename = join(folder, "a.duckdb")
      yield* createDatabase(filename)
      const bytes = readFileSync(filename)
      const variants: ReadonlyArray<readonly [name: string, reason: string, content: Buffer]> = [
        ["version", "newer-version", withHeader(bytes, (copy) => copy.writeBigUInt64LE(200n, 12))],
        ["flipped", "damaged", Buffer.from(bytes).fill(0xff, 2000, 2001)],
        ["cut", "damaged", bytes.subarray(0, 5000)],
        ["cut-header", "damaged", bytes.subarray(0, 20)]
      ]
      for (const [name, reason, content] of variants) {
        const variant = join(folder, name)
        writeFileSync(variant, content)
        const error = yield* openError({ filename: variant, readonly: true })
        assert.strictEqual(error.reason, reason, name)
        assert.instanceOf(error.cause, Error)
        assert.notInclude(error.message, "checksum")
      }
      assert.strictEqual(withHeader(bytes, () => undefined).equals(bytes), true)
    })
  )

  it.effect("options that DuckDB refuses, and those that would weaken the rules, are refused by name", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "a.duckdb")
      assert.strictEqual(yield* reasonOf({ filename, memoryLimit: "lots" }), "bad-option")
      assert.strictEqual(yield* reasonOf({ filename, options: { nonsense: "1" } }), "bad-option")
      const error = yield* openError({ filename, options: { Enable_Optimistic_Write: "true" } })
      assert.strictEqual(error.reason, "bad-option")
      assert.strictEqual(error.option, "Enable_Optimistic_Write")
      for (const poolSize of [0, -1, 1.5, Number.NaN]) {
        const { option, reason } = yield* openError({ filename, poolSize })
        assert.deepStrictEqual({ option, reason }, { option: "poolSize", reason: "bad-option" }, String(poolSize))
      }
    })
  )

  it.effect("a database that another process has open is locked, with the number of that process", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "a.duckdb")
      yield* createDatabase(filename)
      const holder = yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof spawn>>((resume) => {
          const child = spawn(
            process.execPath,
            [
              "--input-type=module",
              "-e",
              `import { DuckDBInstance } from "@duckdb/node-api"
               const instance = await DuckDBInstance.create(${JSON.stringify(filename)})
               console.log("open"); setInterval(() => instance, 1000)`
            ],
            { cwd: join(import.meta.dirname, ".."), stdio: ["ignore", "pipe", "inherit"] }
          )
          child.stdout.once("data", () => resume(Effect.succeed(child)))
        }),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      for (const readonly of [false, true]) {
        const error = yield* openError({ filename, readonly })
        assert.strictEqual(error.reason, "locked")
        assert.strictEqual(error.holder, holder.pid)
        assert.include(error.message, String(holder.pid))
      }
    })
  )

  it.effect.skipIf(process.platform !== "linux")("no permission and no space are named", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const filename = join(folder, "a.duckdb")
      const open = (drop: boolean) => `
        import { DuckDbClient } from "@mallard/sql-duckdb"
        import { Effect, Layer } from "effect"
        import { chmodSync } from "node:fs"
        ${drop ? `chmodSync(${JSON.stringify(folder)}, 0o555); if (process.getuid() === 0) { process.setgid(65534); process.setuid(65534) }` : ""}
        const error = await Effect.runPromise(Effect.flip(Effect.scoped(
          Layer.build(DuckDbClient.layer({ filename: ${JSON.stringify(filename)} })))))
        console.log(error.reason)`
      assert.strictEqual((yield* runChild(open(true))).stdout, "permission\n")
      assert.strictEqual((yield* runChild(open(false), ["prlimit", "--fsize=4096"])).stdout, "no-space\n")
    })
  )

  it.effect.skipIf(process.platform !== "linux")("an error of the system that has no reason of its own is io", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "a.duckdb")
      yield* createDatabase(filename)
      const child = yield* runChild(
        `import { DuckDbClient } from "@mallard/sql-duckdb"
         import { Effect, Layer } from "effect"
         import { openSync } from "node:fs"
         await import("@duckdb/node-api")
         try { for (;;) openSync("/dev/null") } catch {}
         const error = await Effect.runPromise(Effect.flip(Effect.scoped(
           Layer.build(DuckDbClient.layer({ filename: ${JSON.stringify(filename)} })))))
         console.log(error.reason)`,
        ["prlimit", "--nofile=64"]
      )
      assert.strictEqual(child.stdout, "io\n", child.stderr)
    })
  )
})

describe("one instance per file", () => {
  it.effect("clients with equal options share it, others are refused, by whatever name", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const filename = join(folder, "a.duckdb")
      yield* createDatabase(filename)
      symlinkSync(filename, join(folder, "link"))
      linkSync(filename, join(folder, "hard"))
      yield* withClient(
        { filename },
        Effect.gen(function* () {
          const first = yield* DuckDbClient
          yield* withClient(
            { filename: join(folder, "link"), results: "json" },
            Effect.gen(function* () {
              const second = yield* DuckDbClient
              yield* second`INSERT INTO t VALUES (-1)`
              assert.deepStrictEqual(yield* first`SELECT a FROM t WHERE a < 0`, [{ a: -1n }])
              assert.deepStrictEqual(yield* second`SELECT a FROM t WHERE a < 0`, [{ a: "-1" }])
            })
          )
          assert.strictEqual(yield* reasonOf({ filename, readonly: true }), "already-open")
          assert.strictEqual(yield* reasonOf({ filename, threads: 1 }), "already-open")
          assert.strictEqual(yield* reasonOf({ filename, exclusive: true }), "already-open")
          assert.strictEqual(yield* reasonOf({ filename: join(folder, "hard") }), "already-open")
          yield* first`INSERT INTO t VALUES (-2)`
          // Still locked: none of the refused openings touched the file.
          const other = yield* runChild(
            `import { DuckDBInstance } from "@duckdb/node-api"; await DuckDBInstance.create(${JSON.stringify(filename)})`
          )
          assert.strictEqual(other.code, 1)
          assert.include(other.stderr, "lock")
        })
      )
      assert.isFalse(existsSync(`${filename}.wal`))
      yield* withClient(
        { filename, readonly: true },
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          assert.deepStrictEqual(yield* sql`SELECT count(*)::INTEGER AS n FROM t`, [{ n: 1002 }])
        })
      )
    })
  )

  it.effect("an instance opened without this client is noticed", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "a.duckdb")
      yield* createDatabase(filename)
      const instance = yield* Effect.promise(() => DuckDBInstance.create(filename))
      assert.strictEqual(yield* reasonOf({ filename }), "already-open")
      instance.closeSync()
      yield* withClient(
        { filename },
        Effect.flatMap(DuckDbClient, (sql) => sql`SELECT 1 AS a`)
      )
    })
  )

  it.effect("simultaneous openings of a new file end in one instance", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "new.duckdb")
      yield* Effect.forEach(
        [1, 2, 3, 4],
        (n) =>
          withClient(
            { filename },
            Effect.gen(function* () {
              const sql = yield* DuckDbClient
              yield* sql`CREATE TABLE IF NOT EXISTS t (a INTEGER)`.pipe(Effect.retry({ times: 10 }))
              yield* sql`INSERT INTO t VALUES (${n})`
            })
          ),
        { concurrency: 4 }
      )
      yield* withClient(
        { filename },
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          assert.deepStrictEqual(yield* sql`SELECT sum(a)::INTEGER AS s FROM t`, [{ s: 10 }])
        })
      )
    })
  )

  it.effect("databases in memory are separate", () =>
    Effect.gen(function* () {
      const create = Effect.flatMap(DuckDbClient, (sql) => sql`CREATE TABLE t (a INTEGER)`)
      yield* withClient({ filename: ":memory:" }, Effect.andThen(create, withClient({ filename: ":memory:" }, create)))
    })
  )
})

describe("the settings of an open database", () => {
  it.effect("no optimistic writes, no extension by itself, the latest storage version, the limits asked for", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const filename = join(folder, "a.duckdb")
      const settings = Effect.gen(function* () {
        const sql = yield* DuckDbClient
        return yield* sql`SELECT current_setting('enable_optimistic_write') AS optimistic,
          current_setting('autoinstall_known_extensions') AS autoinstall,
          current_setting('autoload_known_extensions') AS autoload,
          current_setting('allow_community_extensions') AS community,
          current_setting('allow_unsigned_extensions') AS "unsigned",
          current_setting('threads')::INTEGER AS threads,
          current_setting('memory_limit') AS memory,
          current_setting('temp_directory') AS temp,
          (SELECT tags['storage_version'] FROM duckdb_databases() WHERE path IS NOT NULL) AS storage`
      })
      const tempDirectory = join(folder, "spill")
      const expected = {
        optimistic: false,
        autoinstall: false,
        autoload: false,
        community: false,
        unsigned: false,
        threads: 2,
        memory: "488.2 MiB",
        temp: tempDirectory,
        storage: "v1.5.0+"
      }
      const config = { filename, threads: 2, memoryLimit: "512MB", tempDirectory, maxTempDirectorySize: "1GB" }
      assert.deepStrictEqual(yield* withClient(config, settings), [expected])
      assert.deepStrictEqual(yield* withClient(config, settings), [expected])
    })
  )

  it.effect("read-only refuses writes as unauthorised, and reads", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "a.duckdb")
      yield* createDatabase(filename)
      const before = readFileSync(filename)
      yield* withClient(
        { filename, readonly: true },
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          assert.strictEqual((yield* Effect.flip(sql`INSERT INTO t VALUES (1)`)).reason._tag, "AuthorizationError")
          assert.strictEqual((yield* Stream.runCollect(sql`SELECT a FROM t`.stream)).length, 1000)
        })
      )
      assert.isTrue(readFileSync(filename).equals(before))
    })
  )

  it.effect("layerConfig reads the path from the configuration", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "a.duckdb")
      const layer = DuckDbClient.layerConfig({ filename: Config.String("DB"), threads: Config.Int("THREADS") }).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ DB: filename, THREADS: "1" })))
      )
      yield* Effect.flatMap(DuckDbClient, (sql) => sql`SELECT 1 AS a`).pipe(Effect.provide(layer, { local: true }))
      assert.isTrue(existsSync(filename))
    })
  )
})

describe("closing", () => {
  it.effect("no write-ahead log is left, and checkpoint empties it before", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const filename = join(folder, "a.duckdb")
      yield* withClient(
        { filename },
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          yield* sql`CREATE TABLE t (a INTEGER)`
          assert.isTrue(existsSync(`${filename}.wal`))
          yield* sql.checkpoint
          // In another process: closing a descriptor of the file in this one would drop DuckDB's lock.
          execFileSync("cp", [filename, join(folder, "copy.duckdb")])
          yield* sql`INSERT INTO t VALUES (1)`
          yield* sql.withTransaction(
            Effect.scoped(
              Effect.flatMap(sql.appender("t"), (appender) =>
                appender.append((native) => {
                  native.appendInteger(2)
                  native.endRow()
                })
              )
            )
          )
        })
      )
      assert.deepStrictEqual(readdirSync(folder).sort(), ["a.duckdb", "copy.duckdb"])
      yield* withClient(
        { filename: join(folder, "copy.duckdb"), readonly: true },
        Effect.flatMap(DuckDbClient, (sql) => sql`SELECT a FROM t`)
      )
    })
  )

  it.effect("what was committed survives a process that ends without closing", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "a.duckdb")
      const child = yield* runChild(`
        import { DuckDbClient } from "@mallard/sql-duckdb"
        import { Effect } from "effect"
        await Effect.runPromise(Effect.gen(function* () {
          const sql = yield* DuckDbClient
          yield* sql\`CREATE TABLE t (a INTEGER)\`
          yield* sql\`INSERT INTO t VALUES (1)\`
          yield* sql.withTransaction(Effect.andThen(sql\`INSERT INTO t VALUES (2)\`, Effect.sync(() => process.kill(process.pid, "SIGKILL"))))
        }).pipe(Effect.provide(DuckDbClient.layer({ filename: ${JSON.stringify(filename)} }))))`)
      assert.notStrictEqual(child.code, 0)
      assert.isTrue(existsSync(`${filename}.wal`))
      yield* withClient(
        { filename },
        Effect.gen(function* () {
          const sql = yield* DuckDbClient
          assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [{ a: 1 }])
        })
      )
      assert.isFalse(existsSync(`${filename}.wal`))
    })
  )
})
