/** What the operating system tells of a process: its program and when it was started. Never its arguments. */

import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { basename } from "node:path"

export interface ProcessFacts {
  readonly program: string | undefined
  /** UTC, to the second, as in `2026-03-01T10:00:00Z`. */
  readonly since: string | undefined
}

export interface ProcessName {
  readonly pid: number
  readonly since: string
}

/** What is known of a process; nothing of one that has ended, or where the system does not tell. */
export const processFacts = (pid: number): ProcessFacts => fromProc(pid) ?? fromPs(pid) ?? nothing

/** What tells this process from a later one of the same number. */
export const thisProcess = (): ProcessName => ({ pid: process.pid, since: processFacts(process.pid).since ?? "" })

/** Whether the process that was named so still runs; false where the system does not tell when processes began. */
export const isRunning = ({ pid, since }: ProcessName): boolean => since !== "" && processFacts(pid).since === since

const nothing: ProcessFacts = { program: undefined, since: undefined }

/** Ticks in a second: what Linux tells programs, whatever the kernel itself counts in. */
const USER_HZ = 100

const fromProc = (pid: number): ProcessFacts | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    // The name, in brackets, may hold spaces and brackets itself.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    const boot = /^btime (\d+)$/m.exec(readFileSync("/proc/stat", "utf8"))?.[1]
    // A zombie has ended.
    if (fields[0] === "Z" || fields[0] === "X") return nothing
    const ticks = Number(fields[19])
    const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")
    return {
      program: programOf(words),
      since: boot === undefined || !(ticks > 0) ? undefined : secondOf((Number(boot) + ticks / USER_HZ) * 1000)
    }
  } catch {
    return undefined
  }
}

const fromPs = (pid: number): ProcessFacts | undefined => {
  if (process.platform === "win32") return undefined
  try {
    const [elapsed = "", ...name] = execFileSync("ps", ["-o", "etime=,comm=", "-p", String(pid)], {
      encoding: "utf8",
      timeout: 1000,
      stdio: ["ignore", "pipe", "ignore"]
    })
      .trim()
      .split(/\s+/)
    const match = /^(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)$/.exec(elapsed)
    if (match === null) return undefined
    const [days = 0, hours = 0, minutes = 0, seconds = 0] = match.slice(1).map((part) => Number(part ?? 0))
    return {
      program: programOf([name.join(" ")]),
      since: secondOf(Date.now() - (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000)
    }
  } catch {
    return undefined
  }
}

/** The program itself rather than what interprets it. */
const programOf = ([first = "", second = ""]: ReadonlyArray<string>): string | undefined => {
  const name = basename(first)
  const script = basename(second).replace(/\.[cm]?[jt]s$/, "")
  const isTelling = /^[\w.-]+$/.test(script) && !second.startsWith("-") && !/^(?:main|index)$/.test(script)
  const said = /^(?:node|bun|deno)$/.test(name) && isTelling ? script : name
  return /^[\w.+-]{1,40}$/.test(said) ? said : undefined
}

const secondOf = (milliseconds: number): string => `${new Date(milliseconds).toISOString().slice(0, 19)}Z`
