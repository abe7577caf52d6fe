/** A system that refuses: no space, no permission, no more descriptors. */
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import type { FaultCase } from "../Case.ts"
import type { Expected } from "../Invariants.ts"
import type { Ended } from "../Program.ts"
import { cohortText, sha256, type World } from "../World.ts"
import { saysOf } from "./Databases.ts"

/** A limit on the running program, for as long as something runs. */
const limited = async (world: World, limit: string, value: number, use: () => Promise<Ended>): Promise<Ended> => {
  const pid = String(world.program.pid)
  const set = (to: number | string): void => {
    const { status, stderr } = spawnSync("prlimit", ["--pid", pid, `--${limit}=${to}:`])
    if (status !== 0) throw new Error(stderr.toString("utf8"))
  }
  // The process must be up before it is limited.
  await world.run("--version")
  const before = spawnSync("prlimit", ["--pid", pid, `--${limit}`, "--noheadings", "--raw", "--output", "SOFT"])
  set(value)
  try {
    return await use()
  } finally {
    set(before.stdout.toString("utf8").trim())
  }
}

const patients = (count: number): string =>
  JSON.stringify({
    name: "large",
    patients: Array.from({ length: count }, (_, at) => ({ id: sha256(`${at}`), note: sha256(`note ${at}`) }))
  })
const large = patients(9000)

/** So much that its commit goes straight into the file of the database. */
const huge = (): string =>
  JSON.stringify({
    name: "huge",
    patients: Array.from({ length: 40 }, (_, at) => ({
      id: `${at}`,
      note: createHash("shake256", { outputLength: 1 << 19 })
        .update(`${at}`)
        .digest("hex")
    }))
  })

const stopped = /no space left|Nothing is half stored|the disk|"not-stored"/

const spaceCases: ReadonlyArray<FaultCase> = [
  ...[4096, 60_000, 1_200_000].map((bytes): FaultCase => ({
    group: "no space",
    name: `for more than ${bytes} bytes of a new database`,
    needs: ["prlimit"],
    arrange: (world) => world.begin(),
    act: (world) => limited(world, "fsize", bytes, () => world.migrate()),
    expect: { code: 1, says: stopped }
  })),
  ...(
    [
      // The log has room, the last checkpoint has none; what became of the sources is told all the same.
      [1000, patients(3000), /"outcome":"migrated".*After the last source: Writing to /],
      [700_000, large, stopped]
    ] as const
  ).map(([bytes, source, says]): FaultCase => ({
    group: "no space",
    name: `for more than ${bytes} bytes beyond what a database has`,
    needs: ["prlimit"],
    arrange: async (world) => {
      await world.beginMigrated()
      world.write({ "large.json": source })
    },
    act: (world) => limited(world, "fsize", statSync(world.database).size + bytes, () => world.migrate("--no-backup")),
    expect: { code: [1, 3], says }
  })),
  {
    group: "no space",
    name: "for a commit that goes straight into the file",
    needs: ["prlimit"],
    arrange: async (world) => {
      await world.beginMigrated()
      world.write({ "huge.json": huge() })
    },
    act: (world) =>
      limited(world, "fsize", statSync(world.database).size + (16 << 20), () => world.migrate("--no-backup")),
    expect: { code: 1, says: /no space left on its disk/ }
  },
  {
    group: "no space",
    name: "for the copy of a source",
    needs: ["prlimit"],
    arrange: async (world) => {
      await world.beginMigrated()
      world.write({ "large.json": large })
    },
    act: (world) => limited(world, "fsize", 100_000, () => world.migrate()),
    expect: { code: 1, says: /Backup in .*: (?:there is no space left|reading or writing failed)/ }
  },
  {
    group: "no space",
    name: "for the report, which does not undo the run",
    arrange: (world) => world.begin(),
    act: (world) => world.migrate("--report", "/dev/full/report.html"),
    expect: { code: 0, says: "The run itself is done" }
  },
  {
    group: "no space",
    name: "for what does not fit into memory",
    arrange: (world) => {
      world.begin({ "large.json": patients(50_000) })
      mkdirSync(dirname(world.database), { recursive: true })
      // Where DuckDB would make a folder.
      writeFileSync(`${world.database}.tmp`, "")
    },
    act: (world) => world.migrate("--memory", "24MB"),
    expect: {
      code: [1, 3],
      says: "needs more memory than it may have",
      heal: (world) => {
        rmSync(`${world.database}.tmp`)
        return undefined
      }
    }
  },
  ...[30].map((count): FaultCase => ({
    group: "no space",
    name: `for more than ${count} open files`,
    needs: ["prlimit"],
    arrange: (world) => world.begin(),
    act: (world) => limited(world, "nofile", count, () => world.migrate()),
    expect: (_, { code }) =>
      code === 0 ? { code: 0 } : { code: [1, 3], says: /reading or writing failed|half stored/ }
  }))
]

/** What is denied to the user who may do less, and what comes of it. */
const denials: ReadonlyArray<
  readonly [what: string, deny: (world: World) => void, act: (world: World) => ReadonlyArray<string>, expect: Expected]
> = [
  [
    "to read a source",
    ({ source }) => chmodSync(join(source, "b.json"), 0),
    ({ migration }) => migration,
    { code: 3, says: '"permission"', outcomes: { "a.json": "migrated", "b.json": "rejected", folder: "migrated" } }
  ],
  [
    "to enter a folder of sources",
    ({ source }) => chmodSync(join(source, "folder"), 0),
    ({ migration }) => migration,
    { code: 3, says: '"permission"', outcomes: { "a.json": "migrated", "b.json": "migrated", folder: "rejected" } }
  ],
  [
    "to list the folder of all sources",
    ({ source }) => chmodSync(source, 0o111),
    ({ migration }) => migration,
    { code: 1, says: "the operating system does not permit reading it" }
  ],
  [
    "to make a database",
    ({ database }) => chmodSync(dirname(database), 0o555),
    ({ migration }) => migration,
    { code: 1, says: saysOf("permission") }
  ],
  [
    "to make the folder of a database",
    ({ folder }) => chmodSync(folder, 0o555),
    ({ folder, source }) => ["migrate", source, "--db", join(folder, "deep", "x.duckdb"), "--json"],
    { code: 1, says: saysOf("permission") }
  ]
]

const denialsOfDatabase: ReadonlyArray<
  readonly [what: string, deny: (world: World) => void, act: (world: World) => ReadonlyArray<string>, expect: Expected]
> = [
  [
    "to write the database",
    ({ database }) => chmodSync(database, 0o444),
    ({ migration }) => migration,
    { code: 1, says: saysOf("permission") }
  ],
  [
    "to read the database",
    ({ database }) => chmodSync(database, 0),
    ({ database }) => ["verify", "--db", database, "--json"],
    { code: 1, says: saysOf("permission") }
  ],
  [
    "to write beside the database",
    ({ database }) => chmodSync(dirname(database), 0o555),
    ({ migration }) => [...migration, "--no-backup"],
    { code: 1, says: /failed: the operating system does not permit it\. Nothing is half stored/ }
  ],
  [
    "to change a cohort, as what lies beside the database cannot be written",
    ({ database }) => chmodSync(dirname(database), 0o555),
    ({ database }) => ["tag", "a", "--add", "t", "--db", database, "--json"],
    { code: 1, says: "which the operating system does not permit; nothing is known to be wrong" }
  ],
  [
    "to copy sources",
    ({ store }) => chmodSync(join(store, "packs"), 0o555),
    ({ migration }) => migration,
    { code: 1, says: /Backup in .*: the operating system does not permit it/ }
  ],
  [
    "to read the copies of sources",
    ({ store }) => readdirSync(join(store, "packs")).forEach((name) => chmodSync(join(store, "packs", name), 0)),
    ({ database, folder }) => ["backup", "restore", "--db", database, "--out", join(folder, "out")],
    { code: [1, 6] }
  ],
  [
    "to restore into a folder",
    ({ folder }) => mkdirSync(join(folder, "out"), { mode: 0o555 }),
    ({ database, folder }) => ["backup", "restore", "--db", database, "--out", join(folder, "out", "there")],
    {
      code: 1,
      says: /not restored, the operating system does not permit it; check who may write there, .*\[target-permission\]/
    }
  ],
  [
    "to export into a folder",
    ({ folder }) => mkdirSync(join(folder, "out"), { mode: 0o555 }),
    ({ database, folder }) => ["export", "--all", "--db", database, "--out", join(folder, "out", "there")],
    { code: 1 }
  ],
  [
    "to write the report",
    ({ folder }) => mkdirSync(join(folder, "out"), { mode: 0o555 }),
    ({ folder, migration }) => [...migration, "--report", join(folder, "out", "report.html")],
    { code: 0, says: "The run itself is done" }
  ]
]

const giveAway = (path: string): void => {
  const isFolder = statSync(path).isDirectory()
  chownSync(path, 65_534, 65_534)
  if (isFolder) for (const name of readdirSync(path)) giveAway(join(path, name))
}

const denialCase =
  (isMigrated: boolean) =>
  ([what, deny, act, expect]: (typeof denials)[number]): FaultCase => ({
    group: "no permission",
    name: what,
    needs: ["nobody"],
    arrange: async (world) => {
      if (isMigrated) {
        await world.beginMigrated()
        world.write({ "c.json": cohortText("c") })
      } else world.begin()
      mkdirSync(dirname(world.database), { recursive: true })
      if (process.getuid?.() === 0) giveAway(world.folder)
      deny(world)
    },
    act: (world) => world.limited.run(act(world), world.folder),
    expect: {
      ...expect,
      heal: (world) => {
        allow(world.folder)
        world.freeze()
        return undefined
      }
    }
  })

const allow = (path: string): void => {
  const isFolder = statSync(path).isDirectory()
  chmodSync(path, isFolder ? 0o755 : 0o644)
  if (isFolder) for (const name of readdirSync(path)) allow(join(path, name))
}

export const systemCases: ReadonlyArray<FaultCase> = [
  ...spaceCases,
  ...denials.map(denialCase(false)),
  ...denialsOfDatabase.map(denialCase(true)),
  {
    group: "no permission",
    name: "to make a folder where a file is",
    arrange: (world) => {
      world.begin()
      writeFileSync(dirname(world.database), "")
    },
    act: (world) => world.migrate(),
    expect: { code: 2, says: saysOf("bad-path"), heal: (world) => world.path("other", "test.duckdb") }
  }
]
