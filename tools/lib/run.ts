/** Starting the programs that the checks consist of. */
import { spawn } from "node:child_process"
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, delimiter, dirname, join } from "node:path"
import { stripVTControlCharacters } from "node:util"

/** The folder that holds the whole project. */
export const root = join(import.meta.dirname, "..", "..")

/** Where checks keep what they can compute again. */
export const cacheFolder = join(root, "node_modules", ".cache", "mallard")

export interface Outcome {
  /** 127 for a program that could not be started, 124 for one ended by a signal or the time limit. */
  readonly exitCode: number
  /** Standard output and standard error; in the order of writing unless `separate` was asked for. */
  readonly output: string
  /** Standard output alone if `separate` was asked for, else the same as `output`. */
  readonly stdout: string
}

export interface RunOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  readonly separate?: boolean
  readonly timeoutSeconds?: number
}

const executable = process.env["npm_execpath"] ?? ""
const startedByPnpm = /^pnpm(\.exe)?$/.test(basename(executable))

/** The pnpm that started the check, else one that npx fetches: command and first arguments. */
export const pnpm: readonly [string, ...ReadonlyArray<string>] = startedByPnpm ? [executable] : ["npx", "-y", "pnpm@12"]

/** What the checks run in: the project's tools and its Node come first, nothing is coloured, nothing calls home. */
const environment: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: [
    join(root, "node_modules", ".bin"),
    ...(startedByPnpm ? [dirname(executable)] : []),
    process.env["PATH"] ?? ""
  ].join(delimiter),
  FORCE_COLOR: undefined,
  NO_COLOR: "1",
  DO_NOT_TRACK: "1",
  TURBO_TELEMETRY_DISABLED: "1",
  NO_UPDATE_NOTIFIER: "1"
}

/** Runs a program to its end and never throws, whatever the program does. */
export const run = (command: string, args: ReadonlyArray<string>, options: RunOptions = {}): Promise<Outcome> =>
  new Promise((resolve) => {
    // Files instead of pipes: one file behind both streams keeps the order in which they were written.
    const folder = mkdtempSync(join(tmpdir(), "mallard-run-"))
    const first = openSync(join(folder, "first"), "a")
    const second = options.separate ? openSync(join(folder, "second"), "a") : first
    const finish = (exitCode: number, remark = "") => {
      for (const file of new Set([first, second])) closeSync(file)
      const text = (name: string) => stripVTControlCharacters(readFileSync(join(folder, name), "utf8"))
      const stdout = text("first")
      const output = stdout + (options.separate ? text("second") : "") + remark
      rmSync(folder, { recursive: true, force: true })
      resolve({ exitCode, output, stdout })
    }
    const child = spawn(command, args, {
      cwd: options.cwd ?? root,
      env: { ...environment, ...options.env },
      stdio: ["ignore", first, second],
      timeout: (options.timeoutSeconds ?? 540) * 1000
    })
    child.once("error", (error) => {
      child.removeAllListeners("close")
      finish(127, `${command}: ${error.message}\n`)
    })
    child.once("close", (code, signal) =>
      code === null ? finish(124, `${command}: ended by ${signal}\n`) : finish(code)
    )
  })

/** Runs a program and throws what it printed if it fails. */
export const runOrThrow = async (command: string, args: ReadonlyArray<string>, options: RunOptions = {}) => {
  const outcome = await run(command, args, options)
  if (outcome.exitCode === 0) return outcome
  throw new Error(`${[command, ...args].join(" ")}: exit code ${outcome.exitCode}\n${outcome.output}`)
}
