/** Signals in every phase of a run, and surroundings that are not as usual. */
import { spawn } from "node:child_process"
import { mkdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { FaultCase, Tier } from "../Case.ts"
import type { Ended } from "../Program.ts"
import type { Surroundings } from "../Protocol.ts"
import { cohortText, ordinary, type World } from "../World.ts"

const signals = [
  ["SIGINT", false, 130],
  ["SIGTERM", false, 143],
  ["SIGHUP", false, 129],
  ["SIGINT", true, 130]
] as const

/** What the program says at the beginning of each phase. */
const phases = [
  ["copying begins", '"phase":"copying"'],
  ["the first source is stored", '"event":"item"'],
  ["the proof begins", '"phase":"verifying"']
] as const

const many = {
  ...ordinary,
  ...Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`m${at}.json`, cohortText(`m${at}`)]))
}

const signalCases = (tier: Tier): ReadonlyArray<FaultCase> =>
  signals.flatMap(([signal, twice, code], at) =>
    (tier === "pr" && at > 0 ? phases.slice(at % 3, (at % 3) + 1) : phases).map(([when, says]): FaultCase => ({
      group: "a signal",
      name: `${signal}${twice ? " twice" : ""} when ${when}`,
      arrange: (world) => world.begin(many),
      act: (world) =>
        world.program.run(
          ["migrate", world.source, "--db", world.database, "--json", "--progress", "json"],
          world.folder,
          { meanwhile: { at: { says }, does: { _tag: "Signal", signal, twice } } }
        ),
      // Who is asked to stop when all is done has nothing to stop.
      expect: {
        code: [code, 0],
        ...(says.includes("copying") ? { says: /not reached|interrupted|Stopping as soon/ } : {})
      }
    }))
  )

const surroundings: ReadonlyArray<readonly [what: string, around: Surroundings]> = [
  ["in a zone of another quarter of an hour", { env: { TZ: "Asia/Kathmandu" } }],
  ["in a language with other letters", { env: { LANG: "tr_TR.UTF-8", LC_ALL: "tr_TR.UTF-8" } }],
  ["with a clock of yesterday", { clock: -86_400_000 }],
  ["with a clock of next century", { clock: 80 * 365 * 86_400_000 }],
  ["without a home", { env: { HOME: null } }],
  ["with a home that is not there", { env: { HOME: "/nowhere/at/all" } }],
  ["with a home that is a file", { env: { HOME: "/dev/null" } }],
  ["with an empty path", { env: { PATH: "" } }]
]

const surroundingsCases: ReadonlyArray<FaultCase> = surroundings.map(([what, around]): FaultCase => ({
  group: "surroundings",
  name: what,
  arrange: (world) => world.begin(),
  act: (world) => world.migrateIn(around),
  expect: { code: 0, outcomes: { "a.json": "migrated", "b.json": "migrated", folder: "migrated" } }
}))

const program = fileURLToPath(new URL("../../../bin/mallard.js", import.meta.url))

/** Starts the program as a process of its own, by another command if one is given; `isHeard` says whether stdout is read. */
const alone = (world: World, isHeard: boolean, before: ReadonlyArray<string> = []): Promise<Ended> =>
  new Promise((resolve) => {
    const [command = "", ...args] = [...before, process.execPath, program, ...world.migration]
    const child = spawn(command, args, {
      cwd: world.folder,
      env: { PATH: process.env["PATH"], HOME: world.folder },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    if (isHeard) child.stdout.on("data", (text) => (stdout += String(text)))
    else child.stdout.destroy()
    child.stderr.on("data", (text) => (stderr += String(text)))
    // Not `close`, which a stream that nobody reads may hold up.
    child.once("exit", (code, signal) => resolve({ code, signal, stdout, stderr, open: [] }))
  })

export const surroundingsAndSignalCases = (tier: Tier): ReadonlyArray<FaultCase> => [
  ...signalCases(tier),
  ...surroundingsCases,
  {
    group: "surroundings",
    name: "without anyone who reads what it says",
    arrange: (world) => world.begin(),
    act: (world) => alone(world, false),
    expect: { code: 0 }
  },
  {
    group: "surroundings",
    name: "in a folder that is gone",
    arrange: (world) => {
      world.begin()
      mkdirSync(world.path("gone"))
    },
    act: (world) => alone(world, true, ["sh", "-c", 'cd gone && rmdir ../gone && exec "$@"', "sh"]),
    expect: { code: 0 }
  }
]
