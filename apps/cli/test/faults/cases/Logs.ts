/** Write-ahead logs beside a database that are cut, garbage, of another database or of another time. */
import assert from "node:assert/strict"
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import type { FaultCase } from "../Case.ts"
import type { Expected } from "../Invariants.ts"
import type { Ended } from "../Program.ts"
import { cohortText, type World } from "../World.ts"
import { saysOf } from "./Databases.ts"

/** A database whose log alone holds a cohort: the writer was killed after the commit. */
const withLog = async (world: World): Promise<void> => {
  const kept = join(world.root, "with-log")
  await world.beginMigrated()
  world.write({ "late.json": cohortText("late") })
  const log = `${world.database}.wal`
  if (!existsSync(kept)) {
    const does = { _tag: "Signal", signal: "SIGKILL" } as const
    const { signal } = await world.migrateIn(
      { meanwhile: { at: { says: '"event":"item"' }, does } },
      "--no-backup",
      "--progress",
      "json"
    )
    assert.equal(signal, "SIGKILL")
    mkdirSync(kept)
    for (const path of [world.database, log]) copyFileSync(path, join(kept, path.endsWith(".wal") ? "log" : "database"))
    return
  }
  copyFileSync(join(kept, "database"), world.database)
  copyFileSync(join(kept, "log"), log)
}

const changed =
  (change: (bytes: Buffer) => Uint8Array) =>
  (world: World): void => {
    const log = `${world.database}.wal`
    writeFileSync(log, change(readFileSync(log)))
  }

/** What is lost is named by verifying against the sources, and the next run stores it again. */
const lost: ReadonlyArray<readonly [what: string, make: (world: World) => void]> = [
  ["is gone", (world) => rmSync(`${world.database}.wal`)],
  ["is empty", changed(() => Buffer.alloc(0))],
  ["is garbage", changed((bytes) => Buffer.alloc(bytes.length, "garbage"))],
  ["is zeroed", changed((bytes) => Buffer.alloc(bytes.length))],
  ...[0.1, 0.4, 0.7, 0.99].map(
    (share) =>
      [`is cut at ${share * 100} %`, changed((bytes) => bytes.subarray(0, Math.floor(bytes.length * share)))] as const
  ),
  ["lacks its last byte", changed((bytes) => bytes.subarray(0, bytes.length - 1))]
]

const verifySources = (world: World): Promise<Ended> =>
  world.run("verify", "--db", world.database, "--source", world.source, "--json")

const lostCases: ReadonlyArray<FaultCase> = lost.map(([what, make]): FaultCase => ({
  group: "a write-ahead log",
  name: `that ${what}`,
  arrange: async (world) => {
    await withLog(world)
    make(world)
  },
  act: verifySources,
  expect: (_, { code }): Expected =>
    code === 6
      ? { code: 6, database: "refused", says: saysOf("wal"), heal: quarantine, leaves: /\.wal/ }
      : {
          code: [0, 4],
          says: code === 4 ? /"source-not-stored".*late\.json|late\.json.*"source-not-stored"/ : undefined
        }
}))

const quarantine = async (world: World): Promise<undefined> => {
  const { code, stdout, stderr } = await world.run("doctor", "--quarantine-wal", "--db", world.database)
  assert.ok(code === 0 || code === 4, `${stdout}${stderr}`)
  return undefined
}

export const logCases: ReadonlyArray<FaultCase> = [
  ...lostCases,
  {
    group: "a write-ahead log",
    name: "that is whole is taken in",
    arrange: withLog,
    act: verifySources,
    expect: { code: 0 }
  },
  {
    group: "a write-ahead log",
    name: "with a flipped bit is refused",
    arrange: async (world) => {
      await withLog(world)
      changed((bytes) => {
        bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 4
        return bytes
      })(world)
    },
    act: (world) => world.migrate(),
    expect: { code: 6, says: saysOf("wal"), database: "refused", heal: quarantine, leaves: /\.wal/ }
  },
  {
    group: "a write-ahead log",
    name: "of another database is refused, and can be moved away",
    arrange: async (world) => {
      await withLog(world)
      const foreign = readFileSync(`${world.database}.wal`)
      world.begin()
      world.write({ "late.json": cohortText("late") })
      await world.migrate("--no-backup")
      writeFileSync(`${world.database}.wal`, foreign)
    },
    act: (world) => world.migrate(),
    expect: { code: 6, says: saysOf("wal"), database: "refused", heal: quarantine, leaves: /\.wal/ }
  },
  {
    group: "a write-ahead log",
    name: "of a former state of the database brings nothing back",
    arrange: async (world) => {
      await withLog(world)
      const stale = readFileSync(`${world.database}.wal`)
      // The log is taken in, and more is written after it.
      await world.migrate("--no-backup")
      writeFileSync(`${world.database}.wal`, stale)
    },
    act: (world) => world.migrate(),
    expect: (_, { code }): Expected =>
      code === 0
        ? { code: 0 }
        : { code: 6, says: saysOf("wal"), database: "refused", heal: quarantine, leaves: /\.wal/ }
  },
  {
    group: "a write-ahead log",
    name: "without its database is kept, and no new database is made beside it",
    arrange: async (world) => {
      await withLog(world)
      rmSync(world.database)
    },
    act: (world) => world.migrate(),
    expect: {
      code: 6,
      says: saysOf("wal"),
      database: "refused",
      heal: (world) => join(dirname(world.database), "other", "test.duckdb"),
      leaves: /\.wal/
    }
  }
]
