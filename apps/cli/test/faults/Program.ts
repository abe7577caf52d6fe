/** The program as a process that faults are put on: started once, it runs one command after the other. */
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, ftruncateSync, openSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { Answer, Inspection, Request, Surroundings } from "./Protocol.ts"

/** How a command ended and what it printed. */
export interface Ended {
  /** The exit code; null if a signal ended the process. */
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  /** What was still open below the folder of the case when the command had ended. */
  readonly open: ReadonlyArray<string>
}

/** Longer than any command takes on a machine that is busy with much else; then it hangs. */
const LONGEST_MS = 300_000

export class Program {
  private readonly folder: string
  private readonly before: ReadonlyArray<string>
  private running: { readonly child: ChildProcess; readonly out: number; readonly error: number } | undefined

  /** `before` is a command that starts the process, as `setpriv` does. */
  constructor(folder: string, before: ReadonlyArray<string> = []) {
    this.folder = folder
    this.before = before
  }

  /** The process, started if there is none. */
  get pid(): number {
    return this.start().child.pid ?? 0
  }

  private start() {
    if (this.running !== undefined) return this.running
    const out = openSync(join(this.folder, "stdout"), "a+", 0o666)
    const error = openSync(join(this.folder, "stderr"), "a+", 0o666)
    const [command = "", ...args] = [
      ...this.before,
      process.execPath,
      join(import.meta.dirname, "..", "faults-child.ts")
    ]
    const child = spawn(command, args, { stdio: ["ignore", out, error, "ipc"], env: environment })
    this.running = { child, out, error }
    return this.running
  }

  private async ask(request: Request): Promise<Answer | { readonly _tag: "Died"; readonly signal: string | null }> {
    const { child } = this.start()
    const answer = await new Promise<Answer | { readonly _tag: "Died"; readonly signal: string | null }>((resolve) => {
      const hangs = setTimeout(() => child.kill("SIGKILL"), LONGEST_MS)
      const done = (value: Answer | { readonly _tag: "Died"; readonly signal: string | null }): void => {
        clearTimeout(hangs)
        child.removeAllListeners()
        resolve(value)
      }
      child.on("message", (message: Answer) => done(message))
      child.on("error", () => done({ _tag: "Died", signal: "not started" }))
      child.on("exit", (code, signal) => done({ _tag: "Died", signal: signal ?? `exit ${String(code)}` }))
      child.send(request, () => {})
    })
    if (answer._tag === "Died") this.running = undefined
    return answer
  }

  /** Runs a command, with the folder of the case as its home. */
  async run(
    args: ReadonlyArray<string>,
    folder: string,
    { cwd = folder, ...surroundings }: Surroundings & { readonly cwd?: string } = {}
  ): Promise<Ended> {
    const { error, out } = this.start()
    ftruncateSync(out)
    ftruncateSync(error)
    const answer = await this.ask({ _tag: "Run", args, cwd, folder, surroundings })
    const texts = {
      stdout: readFileSync(join(this.folder, "stdout"), "utf8"),
      stderr: readFileSync(join(this.folder, "stderr"), "utf8")
    }
    const ownExit = answer._tag === "Died" ? /^exit (\d+)$/.exec(answer.signal ?? "")?.[1] : undefined
    if (ownExit !== undefined) return { ...texts, code: Number(ownExit), signal: null, open: [] }
    if (answer._tag === "Ran") return { ...texts, code: answer.code, signal: null, open: answer.open }
    return { ...texts, code: null, signal: answer._tag === "Died" ? answer.signal : "wrong answer", open: [] }
  }

  /** Verifies a database from a fresh connection and lists its cohorts. */
  async inspect(database: string, sources: ReadonlyArray<string> = []): Promise<Inspection> {
    const answer = await this.ask({ _tag: "Inspect", database, sources })
    if (answer._tag === "Inspected") return answer.found
    return { _tag: "Refused", reason: `crash ${answer._tag === "Died" ? answer.signal : ""}` }
  }

  /** Ends the process. */
  async stop(): Promise<void> {
    const { running } = this
    if (running === undefined) return
    this.running = undefined
    await new Promise<void>((resolve) => {
      running.child.removeAllListeners()
      running.child.once("exit", () => resolve())
      running.child.kill("SIGKILL")
    })
    closeSync(running.out)
    closeSync(running.error)
  }
}

/** Nothing of the environment of the tests but where programs are. One thread makes all calls of a database: they are counted. */
const environment: NodeJS.ProcessEnv = {
  PATH: process.env["PATH"],
  NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
  UV_THREADPOOL_SIZE: "1"
}
