/** Runs the real program, each time with a home folder and a database of its own. */
import { spawn, type ChildProcess } from "node:child_process"
import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { inject, onTestFinished } from "vitest"

/** The entry file of the program as users install it, bundled from the sources when the tests begin. */
export const program = join(inject("bundle"), "bin", "mallard.js")

/** The same entry file in the repository, which runs the sources as they are. */
export const programFromSources = join(import.meta.dirname, "..", "bin", "mallard.js")

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** The entry file of a copy of the bundle that a test may spoil; it is gone after the test. */
export const makeBundle = (): string => {
  const bundle = inject("bundle")
  // Beside it, where the native modules are found.
  const copy = mkdtempSync(join(dirname(bundle), ".copy-"))
  onTestFinished(() => rmSync(copy, { recursive: true, force: true }))
  cpSync(bundle, copy, { recursive: true })
  return join(copy, "bin", "mallard.js")
}

/** A folder that is gone after the test. */
export const makeFolder = (): string => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "mallard-cli-")))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Writes files by relative path. */
export const writeFiles = (folder: string, files: Readonly<Record<string, string>>): void => {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
}

/** Nothing of the environment of the tests, in which a package manager says where it was called. */
const environmentOf = (folder: string): NodeJS.ProcessEnv => ({
  PATH: process.env["PATH"],
  HOME: folder,
  USERPROFILE: folder
})

/** Starts the program in a folder that is its home too. */
export const start = (
  folder: string,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {},
  entry = program
): ChildProcess =>
  spawn(process.execPath, [entry, ...args], {
    cwd: folder,
    env: { ...environmentOf(folder), ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })

/** What a started program prints, and how it ends. */
export const outcomeOf = (child: ChildProcess): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    const stdout: Array<Buffer> = []
    const stderr: Array<Buffer> = []
    child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk))
    child.stderr?.on("data", (chunk: Buffer) => stderr.push(chunk))
    child.on("error", reject)
    child.on("close", (code) =>
      resolve({ code, stdout: Buffer.concat(stdout).toString("utf8"), stderr: Buffer.concat(stderr).toString("utf8") })
    )
  })

export const run = (
  folder: string,
  args: ReadonlyArray<string>,
  env?: Readonly<Record<string, string>>
): Promise<Outcome> => outcomeOf(start(folder, args, env))

/** Runs any other program. */
export const runOther = (command: string, args: ReadonlyArray<string>, cwd: string): Promise<Outcome> =>
  outcomeOf(spawn(command, args, { cwd, env: environmentOf(cwd), stdio: ["ignore", "pipe", "pipe"] }))

/** What a program said on stderr, without the progress that it tells where a machine is busy with other work too. */
export const remarksIn = (stderr: string): string =>
  stderr.replace(/^(?:finding sources|(?:copying|reading|verifying) +\d+%).*\n/gm, "")

/** Waits until a file exists. */
export const appears = async (path: string): Promise<void> => {
  for (let waited = 0; !existsSync(path); waited += 10) {
    if (waited > 30_000) throw new Error(`${path} does not appear`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** A cohort whose text is compact already, with spellings that parsers lose. */
export const cohort = {
  file: "diabetes.json",
  name: "Diabetes 2024",
  text:
    '{"name":"Diabetes 2024","description":"two people","tags":["demo"],"created_at":"2024-03-01T10:00:00",' +
    '"patients":[{"id":"p1","name":{"given":["Zoë"],"family":"Müller"},"birthDate":"1961-02-03","weight":71.50},' +
    '{"id":"p2","notes":"😀 \\u0000 \\ud800","weight":1E2,"empty":{},"none":[]}],' +
    '"encounters":[{"encounter_id":"e1","patient_id":"p1"}]}'
} as const

/** A cohort of two files. */
export const folderCohort: Readonly<Record<string, string>> = {
  "saved/bob/scenario.json": '{"name":"bob","description":"er visit"}',
  "saved/bob/patients.json": '{"patients":[{"id":"b1","gender":"male"}]}'
}

/** Gives a program a terminal of its own; its options are those of Linux. */
const SCRIPT = "/usr/bin/script"
export const hasTerminals = process.platform === "linux" && existsSync(SCRIPT)

/** Runs the program on a terminal of its own; each answer is typed once its question stands there. */
export const onTerminal = (
  folder: string,
  args: ReadonlyArray<string>,
  answers: ReadonlyArray<readonly [question: string, keys: string]> = []
): Promise<{ readonly code: number | null; readonly shown: string }> =>
  new Promise((resolve, reject) => {
    const command = [process.execPath, program, ...args].map((word) => `'${word}'`).join(" ")
    const child = spawn(SCRIPT, ["-qefc", command, "/dev/null"], {
      cwd: folder,
      env: { PATH: process.env["PATH"], HOME: folder, TERM: "dumb" },
      stdio: ["pipe", "pipe", "pipe"]
    })
    const left = [...answers]
    let shown = ""
    let seen = 0
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      shown += text
      const [next] = left
      const at = next === undefined ? -1 : shown.indexOf(next[0], seen)
      if (next === undefined || at < 0) return
      seen = at + next[0].length
      left.shift()
      child.stdin.write(next[1])
    })
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, shown }))
  })
