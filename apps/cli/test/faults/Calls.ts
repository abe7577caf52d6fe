/**
 * System calls that fail on demand: strace is put on one thread of the running program, and makes its N-th call of a kind
 * fail, or that one and all after it.
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import type { World } from "./World.ts"

/** Calls that change something on the disk, or that lead to it. Systems differ in which of two alike they use. */
const writingCalls =
  "write pwrite64 writev pwritev ftruncate fallocate fsync fdatasync openat mkdir mkdirat rename renameat renameat2 link linkat unlink unlinkat rmdir chmod fchmod fchmodat utimensat".split(
    " "
  )

export const callErrors = ["ENOSPC", "EIO", "EACCES", "EMFILE", "EINTR"] as const
export type CallError = (typeof callErrors)[number]

/** The thread that runs the program's own text, or the others, which wait for disks and databases. */
export type Thread = "main" | "other"

/** A call below the folder of the case. */
export interface Call {
  readonly thread: Thread
  readonly call: string
  /** Its number among the calls of this kind of its thread, from 1. */
  readonly when: number
  /** Its number among those on the same path. */
  readonly whenOnPath: number
  /** Below the folder of the case; of a descriptor, where that leads. */
  readonly path: string
  readonly isInjected: boolean
}

/** What a command calls. */
export interface Profile {
  readonly calls: ReadonlyArray<Call>
  /** The thread that makes all calls of the others, where it is one alone. */
  readonly alone: string | undefined
}

/** A call that is to fail. */
export interface CallFault {
  readonly at: Pick<Call, "thread" | "call" | "when" | "whenOnPath" | "path">
  readonly error: CallError
  /** Whether all calls after it fail too. */
  readonly forever: boolean
  /** As the profile of the command has it, in the same process. */
  readonly alone: string | undefined
}

/** Whether strace is there and may be put on a process that it did not start. */
export const canTrace = (): boolean => {
  const sleeper = spawn("sleep", ["5"], { stdio: "ignore" })
  sleeper.on("error", () => {})
  try {
    const args = ["-e", "trace=write", "-o", "/dev/null", "-p", String(sleeper.pid ?? 0)]
    return /attached/.test(spawnSync("timeout", ["-s", "INT", "0.3", "strace", ...args]).stderr.toString("utf8"))
  } finally {
    sleeper.kill()
  }
}

/** Runs something and writes down the calls of the program below the folder of the case; some fail if that is asked. */
export const traced = async <A>(
  world: World,
  use: () => Promise<A>,
  fault?: CallFault
): Promise<Profile & { readonly result: A }> => {
  const log = join(world.root, "calls")
  rmSync(log, { force: true })
  // A thread of the program's own counts alone; all others count each for itself.
  const target = fault?.at.thread === "main" ? [] : ["-f"]
  const what =
    fault === undefined ? `trace=${writingCalls.map((call) => `?${call}`).join(",")}` : `trace=${fault.at.call}`
  // Threads also write to wake each other up, and open modules, as often as it comes: only what is on the path counts.
  const isByPath = fault?.at.call === "write" || fault?.at.call === "openat"
  const when = isByPath ? fault.at.whenOnPath : fault?.at.when
  const inject =
    fault === undefined
      ? []
      : [
          "-e",
          `inject=${fault.at.call}:error=${fault.error}:when=${when}${fault.forever ? "+" : ""}`,
          ...(isByPath ? ["-P", join(world.folder, fault.at.path)] : [])
        ]
  // Following all threads, and the processes they start, takes far longer than one.
  const thread = fault?.at.thread === "other" ? fault.alone : undefined
  const pid = thread ?? String(world.program.pid)
  const args = [...(thread === undefined ? target : []), "-y", "-s", "0", "-o", log, "-e", what, ...inject, "-p", pid]
  const child = spawn("strace", args, { stdio: ["ignore", "ignore", "pipe"] })
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  await new Promise<void>((resolve, reject) => {
    let said = ""
    child.stderr.on("data", (text) => {
      said += String(text)
      if (said.includes("attached")) resolve()
    })
    child.once("exit", () => reject(new Error(`strace does not start: ${said}`)))
    child.once("error", reject)
  })
  try {
    const result = await use()
    child.kill("SIGINT")
    await ended
    return { result, ...profileIn(existsSync(log) ? readFileSync(log, "utf8") : "", world, pid) }
  } finally {
    child.kill("SIGKILL")
    await ended
  }
}

const profileIn = (log: string, world: World, traced: string): Profile => {
  const counts = new Map<string, number>()
  const calls: Array<Call> = []
  const others = new Set<string>()
  const main = String(world.program.pid)
  for (const line of log.split("\n")) {
    // With one thread alone, lines do not name it.
    const [, id = traced, call = "", rest = ""] = /^(?:(\d+) +)?(\w+)\((.*)$/.exec(line) ?? []
    if (call === "") continue
    const when = (counts.get(`${id} ${call}`) ?? 0) + 1
    counts.set(`${id} ${call}`, when)
    const path = /"(\/[^"]*)"/.exec(rest)?.[1] ?? /^\d+<([^>]*)>/.exec(rest)?.[1] ?? ""
    const onPath = `${id} ${call} ${path}`
    const whenOnPath = (counts.get(onPath) ?? 0) + 1
    counts.set(onPath, whenOnPath)
    const isInjected = rest.includes("(INJECTED)")
    const isBelow = path.startsWith(`${world.folder}/`)
    if (!isBelow && !isInjected) continue
    if (id !== main) others.add(id)
    const below = isBelow ? path.slice(world.folder.length + 1) : `outside: ${path}`
    calls.push({ thread: id === main ? "main" : "other", call, when, whenOnPath, path: below, isInjected })
  }
  const [alone] = others.size === 1 ? others : []
  return { calls, alone }
}
