/**
 * System calls that fail on demand: strace is put on the running program, and makes the N-th call of a kind fail, or that
 * one and all after it. Each thread of the program counts for itself.
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import type { World } from "./World.ts"

/** Calls that change something on the disk, or that lead to it. */
export const writingCalls = [
  "write",
  "pwrite64",
  "fsync",
  "openat",
  "mkdir",
  "rename",
  "link",
  "unlink",
  "rmdir",
  "ftruncate",
  "chmod",
  "utimensat"
] as const
export type WritingCall = (typeof writingCalls)[number]

export const errors = ["ENOSPC", "EIO", "EACCES", "EMFILE", "EINTR"] as const
export type CallError = (typeof errors)[number]

/** One call of a kind that is to fail. */
export interface CallFault {
  readonly call: WritingCall
  readonly error: CallError
  /** The number of the call, from 1. */
  readonly when: number
  /** Whether all calls after it fail too. */
  readonly forever: boolean
}

export interface Traced<A> {
  readonly result: A
  /** The calls below the folder of the case, in order. */
  readonly calls: ReadonlyArray<TracedCall>
}

export interface TracedCall {
  readonly thread: string
  readonly call: string
  /** The path, below the folder of the case; that of the descriptor where there is one. */
  readonly path: string
  readonly isInjected: boolean
}

/** Whether strace is there and may be put on a process that it did not start. */
export const canTrace = (): boolean => {
  const sleeper = spawn("sleep", ["5"], { stdio: "ignore" })
  sleeper.on("error", () => {})
  try {
    const args = ["-p", String(sleeper.pid ?? 0), "-e", "inject=none", "-o", "/dev/null"]
    const tried = spawnSync("timeout", [
      "-s",
      "INT",
      "0.3",
      "strace",
      ...args.slice(0, 2),
      "-e",
      "trace=write",
      ...args.slice(4)
    ])
    return /attached/.test(tried.stderr.toString("utf8"))
  } catch {
    return false
  } finally {
    sleeper.kill()
  }
}

/** Runs something while the calls of the program are written down, and fail if that is asked. */
export const traced = async <A>(
  world: World,
  calls: ReadonlyArray<WritingCall>,
  fault: CallFault | undefined,
  paths: ReadonlyArray<string>,
  use: () => Promise<A>
): Promise<Traced<A>> => {
  const log = join(world.root, "calls")
  rmSync(log, { force: true })
  const child = spawn(
    "strace",
    [
      "-f",
      "-y",
      "-s",
      "0",
      "-o",
      log,
      "-p",
      String(world.program.pid),
      "-e",
      `trace=${calls.join(",")}`,
      ...paths.flatMap((path) => ["-P", path]),
      ...(fault === undefined
        ? []
        : ["-e", `inject=${fault.call}:error=${fault.error}:when=${fault.when}${fault.forever ? "+" : ""}`])
    ],
    { stdio: ["ignore", "ignore", "pipe"] }
  )
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  await new Promise<void>((resolve, reject) => {
    let said = ""
    child.stderr.on("data", (text) => {
      said += String(text)
      if (/attached/.test(said)) resolve()
    })
    child.once("exit", () => reject(new Error(`strace does not start: ${said}`)))
  })
  try {
    const result = await use()
    child.kill("SIGINT")
    await ended
    return { result, calls: existsSync(log) ? callsIn(readFileSync(log, "utf8"), world.folder) : [] }
  } finally {
    child.kill("SIGKILL")
    await ended
  }
}

const callsIn = (log: string, folder: string): ReadonlyArray<TracedCall> =>
  log.split("\n").flatMap((line) => {
    const [, thread = "", call = "", rest = ""] = /^(\d+) +(\w+)\((.*)$/.exec(line) ?? []
    const isInjected = rest.includes("(INJECTED)")
    const at = rest.indexOf(`${folder}/`)
    const isBelow = at >= 0 && !rest.startsWith("AT_FDCWD<") ? true : rest.includes(`"${folder}/`) || at >= 0
    if (!isBelow && !isInjected) return []
    const path = /"(\/[^"]*)"/.exec(rest)?.[1] ?? /^\d+<([^>]*)>/.exec(rest)?.[1] ?? ""
    return [{ thread, call, path: path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : path, isInjected }]
  })
