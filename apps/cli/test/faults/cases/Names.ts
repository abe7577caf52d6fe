/** Names that mislead, and things in folders that are no sources. */
import { spawnSync } from "node:child_process"
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { dirname, join } from "node:path"
import type { FaultCase, Need } from "../Case.ts"
import type { Expected } from "../Invariants.ts"
import { cohortText, type World } from "../World.ts"

/** Files with these names, each a cohort of its own. */
const names: ReadonlyArray<readonly [what: string, names: ReadonlyArray<string>]> = [
  ["a line break", ["line\nbreak.json"]],
  ["dots", ["..dots...json", "...json"]],
  ["a leading dash", ["-rf.json"]],
  ["cases that alone differ", ["Case.json", "case.json", "CASE.JSON"]],
  ["forms of normalisation that alone differ", ["caf\u00e9.json", "cafe\u0301.json"]],
  ["blanks at both ends", [" blank .json"]],
  ["quotes and a semicolon", ["quote'\";--.json", "$(x) `y`.json"]],
  ["as many characters as a file system takes", [`${"l".repeat(250)}.json`]],
  ["four bytes per character", [`${"😀".repeat(60)}.json`]],
  ["marks that turn text around and escapes", ["right\u202eleft.json", "red\u001b[31m.json"]],
  ["what Windows reserves", ["CON.json", "a:b.json", "back\\slash.json"]],
  ["nothing but a dot before the extension", [".hidden.json"]]
]

const nameCases: ReadonlyArray<FaultCase> = names.map(([what, files]): FaultCase => ({
  group: "names of sources",
  name: `with ${what}`,
  arrange: (world) => {
    world.begin({})
    for (const [at, name] of files.entries())
      writeFileSync(join(world.source, name), cohortText(`cohort ${at}`, name.length.toString()))
  },
  act: (world) => world.migrate(),
  expect: (world, ended): Expected => ({
    code: 0,
    lasts: true,
    // A file system that takes two of these names for one has fewer files.
    outcomes: Object.fromEntries(readdirSync(world.source).map((name) => [name, "migrated"])),
    says: ended.stderr.includes("\u001b[31m") ? "no escapes of a terminal" : undefined
  })
}))

/** What lies beside an ordinary source, and is not read. */
const others: ReadonlyArray<
  readonly [
    what: string,
    make: (world: World) => void | Promise<void>,
    expect: Partial<Expected>,
    needs?: ReadonlyArray<Need>
  ]
> = [
  ["a folder named like a file", ({ source }) => mkdirSync(join(source, "x.json")), { says: '"folder-named-json"' }],
  ["a loop of links", ({ source }) => symlinkSync(source, join(source, "loop")), {}],
  [
    "a link to the folder above",
    ({ source }) => symlinkSync("..", join(source, "up.json")),
    { says: '"symbolic-link"' }
  ],
  [
    "a link to itself",
    ({ source }) => symlinkSync("self.json", join(source, "self.json")),
    { says: '"symbolic-link"' }
  ],
  [
    "a link that leads nowhere",
    ({ source }) => symlinkSync("nowhere", join(source, "gone.json")),
    { says: '"symbolic-link"' }
  ],
  [
    "a link to an endless device",
    ({ source }) => symlinkSync("/dev/zero", join(source, "zero.json")),
    { says: '"symbolic-link"' }
  ],
  [
    "a FIFO",
    ({ source }) => {
      spawnSync("mkfifo", [join(source, "fifo.json")])
    },
    { says: '"fifo"' },
    ["mkfifo"]
  ],
  [
    "a socket",
    ({ source }) =>
      new Promise<void>((resolve) => {
        const server = createServer().listen(join(source, "s.json"), resolve)
        server.unref()
      }),
    { says: '"socket"' }
  ],
  [
    "a device",
    ({ source }) => {
      spawnSync("mknod", [join(source, "device.json"), "c", "1", "5"])
    },
    { says: '"device"' },
    ["mknod"]
  ],
  [
    "a file whose name is not UTF-8",
    ({ source }) =>
      writeFileSync(Buffer.concat([Buffer.from(`${source}/`), Buffer.of(0xff, 0xfe), Buffer.from(".json")]), "{}"),
    { code: 3, says: '"not-utf8-name"', again: 3, isComplete: false },
    ["bytes"]
  ],
  [
    "a folder whose name is not UTF-8",
    ({ source }) => mkdirSync(Buffer.concat([Buffer.from(`${source}/`), Buffer.of(0xc3, 0x28)])),
    { code: 3, says: '"not-utf8-name"', again: 3, isComplete: false },
    ["bytes"]
  ],
  [
    "a folder a hundred folders deep",
    ({ source }) => mkdirSync(join(source, ...Array.from({ length: 100 }, () => "d")), { recursive: true }),
    {}
  ]
]

const otherCases: ReadonlyArray<FaultCase> = others.map(([what, make, expect, needs]): FaultCase => ({
  group: "things beside the sources",
  name: what,
  needs,
  arrange: async (world) => {
    world.begin({ "a.json": cohortText("a") })
    await make(world)
  },
  act: (world) => world.migrate(),
  expect: { code: 0, lasts: true, ...expect }
}))

/** Paths that are given, for sources and for the database, and lead to nothing that can be used. */
const paths: ReadonlyArray<
  readonly [what: string, make: (world: World) => ReadonlyArray<string>, expect: Expected, needs?: ReadonlyArray<Need>]
> = [
  [
    "a source with 300 characters in its name",
    (world) => [join(world.source, `${"n".repeat(300)}.json`)],
    { code: 2, says: "there is nothing at this path" }
  ],
  [
    "a source with a NUL in its name",
    (world) => [join(world.source, "a\0.json")],
    { code: 2, says: "there is nothing at this path" }
  ],
  [
    "a source that is a FIFO",
    (world) => (spawnSync("mkfifo", [world.path("fifo.json")]), [world.path("fifo.json")]),
    { code: 1, says: "it is no regular file" },
    ["mkfifo"]
  ],
  ["a source that is a device", () => ["/dev/zero"], { code: 1, says: "it is no regular file" }],
  [
    "a source that is a link to itself",
    (world) => (symlinkSync("me", world.path("me")), [world.path("me")]),
    { code: [1, 2], says: /Cannot read/ }
  ],
  [
    "a source above and below itself",
    (world) => [join(world.source, "..", "source", ".", "a.json"), world.source],
    { code: 0 }
  ],
  [
    "a database with 300 characters in its name",
    (world) => [world.source, "--db", join(dirname(world.database), "n".repeat(300))],
    { code: 2, says: "the path is not that of a plain file" }
  ],
  [
    "a database with a NUL in its name",
    (world) => [world.source, "--db", `${world.database}\0x`],
    { code: 2, says: "the path is not that of a plain file" }
  ],
  [
    "a database without a name",
    (world) => [world.source, "--db", ""],
    { code: 2, says: "Missing value for flag --db" }
  ],
  [
    "a database below a file",
    (world) => [world.source, "--db", join(world.source, "a.json", "x.duckdb")],
    { code: 2, says: "the path is not that of a plain file" }
  ],
  [
    "a database below a device",
    (world) => [world.source, "--db", "/dev/null/x.duckdb"],
    { code: 2, says: "the path is not that of a plain file" }
  ]
]

const pathCases: ReadonlyArray<FaultCase> = paths.map(([what, make, expect, needs]): FaultCase => ({
  group: "paths that are given",
  name: what,
  needs,
  arrange: (world) => world.begin(),
  act: (world) => world.run("migrate", "--json", "--no-verify", ...dbOf(world, make(world))),
  expect
}))

const dbOf = (world: World, args: ReadonlyArray<string>): ReadonlyArray<string> =>
  args.includes("--db") ? args : [...args, "--db", world.database]

export const nameAndPathCases: ReadonlyArray<FaultCase> = [...nameCases, ...otherCases, ...pathCases]
