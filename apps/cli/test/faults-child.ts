/**
 * The program in a process that goes on living: it runs the commands that it is sent one after the other, each through the
 * program's own entry, and looks into databases. Faults are put on this process from outside; its output goes where the
 * descriptors 1 and 2 lead.
 */
import { prepare, setRepeatable, setStarts } from "./faults/Meanwhile.ts"
import { openStore } from "@mallard/duckdb-store"
import { verify } from "@mallard/migrator"
import { Cause, Effect, Exit } from "effect"
import { readdirSync, readlinkSync } from "node:fs"
import type { Answer, Inspection, Request, Surroundings } from "./faults/Protocol.ts"

let runs = 0

const exit = process.exit.bind(process)
const inherited = { ...process.env }
const RealDate = Date
const clock = Date.now
/** When the clock was stopped first: what the program itself makes must not look as if it had been there for long. */
let stoppedAt: number | undefined

/** A clock that stands still, for those too who ask for a new `Date`. */
const StoppedDate = new Proxy(RealDate, {
  construct: (target, given) => Reflect.construct(target, given.length === 0 ? [stoppedAt] : given),
  get: (target, name) => (name === "now" ? () => stoppedAt : Reflect.get(target, name))
})

const setSurroundings = (
  { clock: off = 0, env = {}, isRepeatable = false, meanwhile, starts }: Surroundings,
  home: string
): void => {
  setRepeatable(isRepeatable)
  setStarts(starts)
  if (isRepeatable) stoppedAt ??= clock()
  globalThis.Date = isRepeatable ? StoppedDate : RealDate
  for (const name of Object.keys(process.env)) delete process.env[name]
  Object.assign(process.env, inherited, { HOME: home })
  for (const [name, value] of Object.entries(env)) {
    if (value === null) delete process.env[name]
    else process.env[name] = value
  }
  Date.now = off === 0 ? clock : () => clock() + off
  prepare(meanwhile)
}

/** Runs one command as if the process had been started for it, and gives its exit code. */
const runCommand = async (args: ReadonlyArray<string>, cwd: string, mayExit: boolean): Promise<number> => {
  process.argv = [process.execPath, "mallard", ...args]
  process.chdir(cwd)
  const ended = new Promise<number>((resolve) => {
    // One that does not wait for what is under way takes the process with it.
    if (!mayExit) Object.assign(process, { exit: (code?: number) => resolve(code ?? 0) })
  })
  runs++
  await import(`../src/main.ts?run=${runs}`)
  const code = await ended
  process.exit = exit
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGSEGV", "SIGBUS", "SIGFPE"])
    process.removeAllListeners(signal)
  process.chdir("/")
  return code
}

/** What a fresh reader finds in a database, and whether all of it is as it was written. */
const inspect = (database: string, sources: ReadonlyArray<string>): Promise<Inspection> =>
  Effect.runPromiseExit(
    Effect.gen(function* () {
      const report = yield* verify({ database, sources })
      return yield* Effect.scoped(
        Effect.gen(function* () {
          const client = yield* openStore({ path: database, readonly: true })
          const cohorts = yield* client.unsafe<Readonly<Record<string, unknown>>>(
            "SELECT name, seq, digest, entities::VARCHAR AS entities FROM cohorts ORDER BY name"
          )
          return {
            cohorts: cohorts.map((row) => [String(row["name"]), Object.values(row).map(String).join(" ")] as const),
            mismatched: report.mismatched,
            findings: report.findings.map(({ code, where }) => `${code} ${where}`)
          }
        })
      )
    })
  ).then((done): Inspection => {
    if (Exit.isSuccess(done)) return { _tag: "Opened", ...done.value }
    const error = Cause.squash(done.cause)
    const reason = error instanceof Error && "reason" in error ? String(error.reason) : ""
    return { _tag: "Refused", reason: `${error instanceof Error ? error.name : "defect"} ${reason}`.trim() }
  })

/** What the process has open below a folder; nothing where the system does not tell. */
const openBelow = (folder: string): ReadonlyArray<string> => {
  try {
    return readdirSync("/proc/self/fd").flatMap((descriptor) => {
      try {
        const path = readlinkSync(`/proc/self/fd/${descriptor}`)
        return path.startsWith(`${folder}/`) ? [path] : []
      } catch {
        return []
      }
    })
  } catch {
    return []
  }
}

const answer = async (request: Request): Promise<Answer> => {
  switch (request._tag) {
    case "Run": {
      setSurroundings(request.surroundings, request.folder)
      const does = request.surroundings.meanwhile?.does
      const mayExit = does?._tag === "Signal" && does.twice === true
      const code = await runCommand(request.args, request.cwd, mayExit)
      setSurroundings({}, request.folder)
      return { _tag: "Ran", code, open: openBelow(request.folder) }
    }
    case "Inspect":
      return { _tag: "Inspected", found: await inspect(request.database, request.sources) }
  }
}

process.on("disconnect", () => exit())
process.on("message", async (request: Request) => {
  process.send?.(await answer(request))
})
