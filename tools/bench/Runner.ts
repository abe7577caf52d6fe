/**
 * Runs commands one at a time and says what each cost: wall and processor seconds, and the peak memory of the process
 * with all of its descendants. Where the system has no `/proc`, only Node's own account of itself is known.
 */
import { spawn } from "node:child_process"
import { readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface Sample {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly peakBytes: number
}

/** Why a command gave no sample. */
export interface Failure {
  readonly failure: string
  /** True if it was ended because it needed more memory than it was given. */
  readonly outOfMemory: boolean
}

export interface RunOptions {
  readonly cwd: string
  /** Exit codes that mean success. */
  readonly accepts?: ReadonlyArray<number>
  readonly timeoutSeconds?: number
  /** The process is ended as soon as it is seen with more memory than this. */
  readonly limitBytes?: number
  /** Words that come before the command, such as those that put it into a control group. */
  readonly wrapper?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
}

/** One measured job: what must stand before each of its rounds, and its commands, which count together. */
export interface Job {
  readonly name: string
  readonly prepare?: () => void
  readonly commands: ReadonlyArray<ReadonlyArray<string>>
  /** What is to be looked at after a round, such as the size of a file. */
  readonly after?: () => void
  readonly options?: Partial<RunOptions>
}

export const isFailure = (outcome: Sample | Failure): outcome is Failure => "failure" in outcome

/** Runs one command to its end. A command that is this Node is asked itself what it used. */
export const runMeasured = (command: ReadonlyArray<string>, options: RunOptions): Promise<Sample | Failure> => {
  const usageFile = join(tmpdir(), `mallard-bench-usage-${process.pid}.json`)
  rmSync(usageFile, { force: true })
  const [program, ...args] = command[0] === process.execPath ? withUsage(command) : command
  const [first = "", ...rest] = [...(options.wrapper ?? []), program ?? "", ...args]
  const cpuBefore = childrenCpuSeconds()
  const started = process.hrtime.bigint()
  return new Promise((resolve) => {
    const child = spawn(first, rest, {
      cwd: options.cwd,
      env: { ...process.env, CI: "true", NO_COLOR: "1", ...options.env, MALLARD_BENCH_USAGE: usageFile },
      stdio: ["ignore", "ignore", "pipe"]
    })
    let stderr = ""
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(-4000)))
    let peakBytes = 0
    let ended: "memory" | "time" | undefined
    const stop = (why: "memory" | "time"): void => {
      ended ??= why
      for (const pid of treeOf(child.pid ?? -1).toReversed()) killQuietly(pid)
      child.kill("SIGKILL")
    }
    const poll = setInterval(
      () => {
        peakBytes = Math.max(peakBytes, treeBytes(child.pid ?? -1))
        if (options.limitBytes !== undefined && peakBytes > options.limitBytes) stop("memory")
      },
      options.limitBytes === undefined ? POLL_MILLISECONDS : WATCH_MILLISECONDS
    )
    const timer =
      options.timeoutSeconds === undefined ? undefined : setTimeout(stop, options.timeoutSeconds * 1000, "time")
    const finish = (outcome: Sample | Failure): void => {
      clearInterval(poll)
      clearTimeout(timer)
      rmSync(usageFile, { force: true })
      resolve(outcome)
    }
    child.once("error", ({ message }) => finish({ failure: message, outOfMemory: false }))
    child.once("close", (status, signal) => {
      const seconds = Number(process.hrtime.bigint() - started) / 1e9
      const own = usageIn(usageFile)
      if (ended === "time") return finish({ failure: `not done after ${options.timeoutSeconds} s`, outOfMemory: false })
      if (status === null || !(options.accepts ?? [0]).includes(status)) {
        const outOfMemory = ended === "memory" || (signal === "SIGKILL" && options.wrapper !== undefined)
        const how = outOfMemory ? "ended at the memory limit" : `ended with ${status ?? signal}: ${lastLines(stderr)}`
        return finish({ failure: how, outOfMemory })
      }
      const cpuSeconds = hasProc ? childrenCpuSeconds() - cpuBefore : (own?.cpuSeconds ?? Number.NaN)
      return finish({ seconds, cpuSeconds, peakBytes: Math.max(peakBytes, own?.peakBytes ?? 0) })
    })
  })
}

/** Runs the commands of a job one after the other: times add up, the peak is the highest. */
const runJob = async (job: Job, cwd: string): Promise<Sample | Failure> => {
  job.prepare?.()
  const sum = { seconds: 0, cpuSeconds: 0, peakBytes: 0 }
  for (const command of job.commands) {
    const outcome = await runMeasured(command, { cwd, ...job.options })
    if (isFailure(outcome)) return outcome
    sum.seconds += outcome.seconds
    sum.cpuSeconds += outcome.cpuSeconds
    sum.peakBytes = Math.max(sum.peakBytes, outcome.peakBytes)
  }
  job.after?.()
  return sum
}

export interface Rounds {
  /** The samples of each job in the order of rounds; of the same length for all jobs that did not fail. */
  readonly samples: ReadonlyMap<string, ReadonlyArray<Sample>>
  /** Jobs that failed, with the reason; they are not tried again and have no samples. */
  readonly failures: ReadonlyMap<string, string>
}

/** Runs every job once per round, so that a slow minute of the machine meets all of them. */
export const runRounds = async (jobs: ReadonlyArray<Job>, rounds: number, cwd: string): Promise<Rounds> => {
  const samples = new Map<string, Array<Sample>>(jobs.map(({ name }) => [name, []]))
  const failures = new Map<string, string>()
  for (let round = 1; round <= rounds; round++) {
    for (const job of jobs) {
      if (failures.has(job.name)) continue
      const outcome = await runJob(job, cwd)
      if (isFailure(outcome)) {
        failures.set(job.name, outcome.failure)
        samples.delete(job.name)
        console.log(`${job.name}: ${outcome.failure}`)
      } else samples.get(job.name)?.push(outcome)
    }
    console.log(`round ${round} of ${rounds} done`)
  }
  return { samples, failures }
}

/** A look costs a third of a millisecond, and a process knows its own highest memory: few looks are enough. */
const POLL_MILLISECONDS = 100
/** Between looks at a process that is to be ended in time. */
const WATCH_MILLISECONDS = 25
/** Ticks per second in which Linux states times to programs, on every processor. */
const TICKS = 100
const hasProc = process.platform === "linux"

const withUsage = (command: ReadonlyArray<string>): ReadonlyArray<string> => [
  process.execPath,
  "--import",
  join(import.meta.dirname, "usage.mjs"),
  ...command.slice(1)
]

const usageIn = (file: string): { readonly cpuSeconds: number; readonly peakBytes: number } | undefined => {
  const text = textOf(file)
  return text === "" ? undefined : JSON.parse(text)
}

const textOf = (file: string): string => {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return ""
  }
}

/** Processor seconds of all children that have ended, with their own children. */
const childrenCpuSeconds = (): number => {
  const stat = hasProc ? textOf("/proc/self/stat") : ""
  // Behind the name, which may hold spaces and parentheses, come the state and then the fields 4, 5, …
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[13]) + Number(fields[14])) / TICKS
}

const treeOf = (pid: number): Array<number> => {
  const found = [pid]
  for (let at = 0; at < found.length; at++) {
    for (const task of tasksOf(found[at] ?? -1)) {
      const children = textOf(`/proc/${found[at]}/task/${task}/children`)
      for (const child of children.split(" ")) if (child.trim() !== "") found.push(Number(child))
    }
  }
  return found
}

const tasksOf = (pid: number): ReadonlyArray<string> => {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

/** Memory of a process and its descendants now; for a process alone the highest it ever had. */
const treeBytes = (pid: number): number => {
  if (!hasProc) return 0
  const tree = treeOf(pid)
  const field = tree.length === 1 ? /^VmHWM:\s+(\d+)/m : /^VmRSS:\s+(\d+)/m
  return tree.reduce((sum, one) => sum + 1024 * Number(field.exec(textOf(`/proc/${one}/status`))?.[1] ?? 0), 0)
}

const killQuietly = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It has ended by itself.
  }
}

const lastLines = (text: string): string => text.trim().split("\n").slice(-3).join(" | ").slice(0, 400)
