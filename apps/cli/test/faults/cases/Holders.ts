/** Several processes and one database: one at a time has it, the others say who, and who is killed holds up nobody. */
import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { FaultCase, Tier } from "../Case.ts"
import type { Ended } from "../Program.ts"
import { cohortText, ordinary, type World } from "../World.ts"

const program = fileURLToPath(new URL("../../../bin/mallard.js", import.meta.url))

/** The program as a process of its own. */
class Process {
  readonly pid: number
  readonly ended: Promise<Ended>
  private readonly child: ChildProcess
  private stdout = ""
  private stderr = ""

  constructor(world: World, args: ReadonlyArray<string>) {
    this.child = spawn(process.execPath, [program, ...args], {
      cwd: world.folder,
      env: { PATH: process.env["PATH"], HOME: world.folder },
      stdio: ["ignore", "pipe", "pipe"]
    })
    this.pid = this.child.pid ?? 0
    this.child.stdout?.on("data", (text) => (this.stdout += String(text)))
    this.child.stderr?.on("data", (text) => (this.stderr += String(text)))
    this.ended = new Promise((resolve) => {
      this.child.once("close", (code, signal) =>
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr, open: [] })
      )
    })
  }

  /** Waits until it has said something on stderr; fails if it ends before. */
  says(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (this.stderr.includes(text)) resolve()
      }
      look()
      this.child.stderr?.on("data", look)
      this.child.once("close", () => reject(new Error(`it ended before it said ${text}: ${this.stderr}`)))
    })
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }
}

const writing = (world: World): ReadonlyArray<string> => [...world.migration, "--progress", "json"]

/** A writer that is stopped in the middle: it has the database, and does nothing. */
const holding = async (world: World): Promise<Process> => {
  const holder = new Process(world, writing(world))
  await holder.says('"phase":"copying"')
  holder.signal("SIGSTOP")
  return holder
}

const assertRefused = (ended: Ended, holder: number): void => {
  assert.equal(ended.code, 11, `it ends with ${String(ended.code)}: ${ended.stderr}`)
  assert.ok(ended.stderr.includes(`process ${holder}`), `it does not say who has the database: ${ended.stderr}`)
}

const more = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`m${at}.json`, cohortText(`m${at}`)]))

/** As many runs as that begin at the same time. */
const atOnce = (count: number): FaultCase => ({
  group: "several processes",
  name: `${count} runs at once over the same sources`,
  arrange: (world) => world.begin({ ...ordinary, ...more }),
  act: async (world) => {
    const processes = Array.from({ length: count }, () => new Process(world, world.migration))
    const all = await Promise.all(processes.map(({ ended }) => ended))
    const done = all.find(({ code }) => code === 0)
    for (const { code, stderr } of all) {
      assert.ok(code === 0 || (code === 11 && /process \d+/.test(stderr)), `one ends with ${String(code)}: ${stderr}`)
    }
    assert.ok(done !== undefined, "none is let in")
    return done
  },
  expect: { code: 0 }
})

/** Commands that look at the database, the copies or the sources while a writer has it. */
const lookers: ReadonlyArray<(world: World) => ReadonlyArray<string>> = [
  ({ database }) => ["verify", "--db", database, "--wait", "0"],
  ({ database }) => ["status", "--db", database, "--wait", "0"],
  ({ database }) => ["backup", "verify", "--db", database, "--wait", "0"],
  ({ database }) => ["doctor", "--db", database, "--wait", "0", "--no-verify"]
]

export const holderCases = (tier: Tier): ReadonlyArray<FaultCase> => [
  ...(tier === "pr" ? [3] : [2, 4, 8]).map(atOnce),
  {
    group: "several processes",
    name: "a second writer is refused, also after others have looked at all there is",
    arrange: async (world) => {
      await world.beginMigrated()
      world.write(more)
    },
    act: async (world) => {
      const holder = await holding(world)
      try {
        for (const args of lookers) await new Process(world, args(world)).ended
        assertRefused(await new Process(world, [...world.migration, "--wait", "0"]).ended, holder.pid)
      } finally {
        holder.signal("SIGCONT")
      }
      return holder.ended
    },
    expect: { code: 0 }
  },
  {
    group: "several processes",
    name: "who comes after one that was killed is let in at once",
    arrange: async (world) => {
      await world.beginMigrated()
      world.write(more)
    },
    act: async (world) => {
      const holder = await holding(world)
      holder.signal("SIGKILL")
      await holder.ended
      return new Process(world, [...world.migration, "--wait", "0"]).ended
    },
    // What it was copying counts for nothing, and goes when it is old.
    expect: { code: 0, leaves: /\.mallard-/ }
  }
]
