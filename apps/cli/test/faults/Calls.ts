/**
 * System calls that fail on demand: strace is put on one thread of the running program, or starts a process that a command
 * starts, and makes its N-th call of a kind fail, or that one and all after it.
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import type { Ended } from "./Program.ts"
import type { World } from "./World.ts"

/** Calls that change something on the disk, or that lead to it. Systems differ in which of two alike they use. */
const writingCalls =
  "write pwrite64 writev pwritev ftruncate fallocate fsync fdatasync openat mkdir mkdirat rename renameat renameat2 link linkat unlink unlinkat rmdir chmod fchmod fchmodat utimensat".split(
    " "
  )

export const callErrors = ["ENOSPC", "EIO", "EACCES", "EMFILE", "EINTR"] as const
export type CallError = (typeof callErrors)[number]

/** Calls that start processes and threads. */
const startingCalls = ["clone", "clone3", "fork", "vfork"]

/** The thread that runs the program's own text, or the others, which wait for disks and databases. */
export type Thread = "main" | "other"

/** A call below the folder of the case. */
export interface Call {
  /** 0 is the program; from 1 on it is those that the command starts, in this order. */
  readonly process: number
  readonly thread: Thread
  readonly call: string
  /** Its number among the calls of this kind of these threads below the folder, from 1: the same in each run. */
  readonly number: number
  /** Its number among all calls of this kind of its thread, from 1. */
  readonly when: number
  /** Its number among those on the same path. */
  readonly whenOnPath: number
  /** Below the folder of the case; of a descriptor, where that leads. In a process that is started, `$$` is its number. */
  readonly path: string
  readonly isInjected: boolean
}

/** What a command calls. */
export interface Profile {
  readonly calls: ReadonlyArray<Call>
  /** The thread that makes all calls of the program's other threads, where it is one alone. */
  readonly alone: string | undefined
}

/** A call that is to fail. */
export interface CallFault {
  readonly at: Call
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

/** Runs a command and writes down what it calls below the folder of the case; some of it fails if that is asked. */
export const traced = async (
  world: World,
  args: ReadonlyArray<string>,
  fault?: CallFault
): Promise<Profile & { readonly result: Ended }> => {
  const log = join(world.root, "calls")
  rmSync(log, { force: true })
  const result =
    fault === undefined || fault.at.process === 0
      ? await attached(world, log, fault, () => world.repeat(args))
      : await world.repeat(args, { nth: fault.at.process, by: startedUnderFault(world, log, fault) })
  return { result, ...profileIn(existsSync(log) ? readFileSync(log, "utf8") : "", world, fault) }
}

const format = (log: string): ReadonlyArray<string> => ["-y", "-s", "0", "-o", log]

/** What strace is to do to the call. */
const injecting = (world: World, { at, error, forever }: CallFault): ReadonlyArray<string> => {
  // Threads also write to wake each other up, and open modules, as often as it comes: only what is on the path counts.
  const isByPath = at.call === "write" || at.call === "openat"
  const inject = `inject=${at.call}:error=${error}:when=${isByPath ? at.whenOnPath : at.when}${forever ? "+" : ""}`
  const onPath = isByPath ? ["-P", join(world.folder, at.path)] : []
  return ["-e", `trace=${at.call}`, "-e", inject, ...onPath]
}

/** Uses the running program with strace on it. */
const attached = async <A>(
  world: World,
  log: string,
  fault: CallFault | undefined,
  use: () => Promise<A>
): Promise<A> => {
  // Following all threads takes far longer than one.
  const alone = fault?.at.thread === "other" ? fault.alone : undefined
  // A thread of the program's own counts alone; all others count each for itself.
  const follow = alone === undefined && fault?.at.thread !== "main" ? ["-f"] : []
  const what =
    fault === undefined
      ? ["-e", `trace=${[...writingCalls, ...startingCalls].map((call) => `?${call}`).join(",")}`]
      : injecting(world, fault)
  const args = [...follow, ...format(log), ...what, "-p", alone ?? String(world.program.pid)]
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
    return result
  } finally {
    child.kill("SIGKILL")
    await ended
  }
}

/**
 * The command that starts another one under strace. What a process writes aside has its number in its name, which a shell
 * knows before: it becomes the process itself, and strace a child of it (`-D`).
 */
const startedUnderFault = (world: World, log: string, fault: CallFault): ReadonlyArray<string> => {
  const follow = fault.at.thread === "main" ? [] : ["-f", "--seccomp-bpf"]
  const words = ["-D", ...follow, ...format(log), ...injecting(world, fault)].map(quoted)
  return ["/bin/sh", "-c", `exec strace ${words.join(" ")} -- "$@"`, "sh"]
}

/** A word for a shell, in which `$$` alone means something. */
const quoted = (word: string): string =>
  word
    .split("$$")
    .map((text) => `'${text.replaceAll("'", String.raw`'\''`)}'`)
    .join("$$")

const profileIn = (log: string, world: World, fault: CallFault | undefined): Profile => {
  const counts = new Map<string, number>()
  const count = (...of: ReadonlyArray<string | number>): number => {
    const key = of.join(" ")
    const counted = (counts.get(key) ?? 0) + 1
    counts.set(key, counted)
    return counted
  }
  const calls: Array<Call> = []
  const others = new Set<string>()
  const main = String(world.program.pid)
  const lines = log.split("\n")
  const { leaderOf, started } = startedIn(lines, main)
  for (const line of lines) {
    // With one thread alone, lines do not name it.
    const [, id = fault?.alone ?? main, call = "", rest = ""] = /^(?:(\d+) +)?(\w+)\((.*)$/.exec(line) ?? []
    if (call === "") continue
    const path = /"(\/[^"]*)"/.exec(rest)?.[1] ?? /^\d+<([^>]*)>/.exec(rest)?.[1] ?? ""
    const when = count(id, call)
    const whenOnPath = count(id, call, path)
    const isInjected = rest.includes("(INJECTED)")
    const isBelow = path.startsWith(`${world.folder}/`)
    if (!isBelow && !isInjected) continue
    const leader = leaderOf(id)
    const process = leader === main ? 0 : started.indexOf(leader) + 1
    const thread = id === leader ? "main" : "other"
    if (process === 0 && thread === "other") others.add(id)
    const name = isBelow ? path.slice(world.folder.length + 1) : `outside: ${path}`
    const below =
      process === 0 ? name : name.replaceAll(new RegExp(String.raw`(?<=(?:tmp|mallard)-)${leader}(?!\d)`, "g"), "$$$$")
    const number = count("below", process, thread, call)
    calls.push({ process, thread, call, number, when, whenOnPath, path: below, isInjected })
  }
  const [alone] = others.size === 1 ? others : []
  return { calls, alone }
}

/** The processes that were started, in this order, and the one that a thread belongs to. */
const startedIn = (lines: ReadonlyArray<string>, main: string) => {
  const started: Array<string> = []
  const makers = new Map<string, string>()
  const makesThread = new Map<string, boolean>()
  for (const line of lines) {
    const [, maker = "", rest = ""] = /^(\d+) +(?:<\.\.\. )?(?:clone3?|v?fork)\b(.*)$/.exec(line) ?? []
    if (rest.startsWith("(")) makesThread.set(maker, rest.includes("CLONE_THREAD"))
    const made = / = (\d+)$/.exec(rest)?.[1]
    if (made === undefined) continue
    if (makesThread.get(maker) === true) makers.set(made, maker)
    else started.push(made)
  }
  const leaderOf = (id: string): string => {
    const maker = makers.get(id)
    if (maker !== undefined) return leaderOf(maker)
    return started.includes(id) ? id : main
  }
  return { leaderOf, started }
}
