/**
 * Kills scenarios at moments drawn from a seed, goes on as a user would, and compares the end with that of an undisturbed
 * run: the list of cohorts with their digests, the exported texts, the originals and every object of the backups.
 */
import { failpoints } from "@mallard/duckdb-store"
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { Readable, Writable } from "node:stream"
import { isDeepStrictEqual } from "node:util"
import * as fc from "fast-check"
import { fingerprint, type Inspection, isAside, ORIGINALS, type Request, type StepName } from "./Protocol.ts"
import { placeIn, type Scenario, scenarios } from "./Scenarios.ts"

/** Where a process is to be ended; numbers are shares of what there is, from 0 to 1. */
interface Moment {
  readonly point: number
  readonly passing: number
  /** The share of the time until the next point after which it is killed from outside; undefined to kill itself there. */
  readonly delay: number | undefined
}

/** One kill, what it hits, and the kills of what goes on after it. */
interface KillCase {
  readonly number: number
  readonly scenario: string
  readonly point: string
  readonly moment: Moment
  readonly recoveries: ReadonlyArray<Moment>
  /** Whether the first process after the kill opens the database for writing. */
  readonly asWriter: boolean
}

/** What became of a case. */
export interface CaseResult {
  readonly kill: KillCase
  /** The last point that was passed before the kill. */
  readonly hit: string
  /** The same of each kill of a recovery. */
  readonly recoveryHits: ReadonlyArray<string>
  /** Attempts, of the first kill and of recoveries, in which the process was quicker. */
  readonly misses: number
  /** Files that were never finished and lie beside the database or the originals at the end. */
  readonly aside: number
  /** What is wrong; undefined if nothing is. */
  readonly problem: string | undefined
}

export interface CampaignOptions {
  readonly seed: number
  readonly kills: number
  /** An empty folder. */
  readonly folder: string
  /** Processes at a time. */
  readonly workers: number
  /** Numbers of the cases to run; all if not given. */
  readonly only?: ReadonlySet<number> | undefined
  /** Asked between cases; true ends with the results so far. */
  readonly isStopped?: (() => boolean) | undefined
  readonly onResult?: ((result: CaseResult) => void) | undefined
}

/** Draws the cases of a seed and runs them. Throws when an undisturbed run already goes wrong. */
export const runCampaign = async (options: CampaignOptions): Promise<ReadonlyArray<CaseResult>> => {
  const workers = Array.from({ length: options.workers }, () => new Worker(join(options.folder, "compiled")))
  try {
    return await withWorkers(options, workers)
  } finally {
    for (const worker of workers) worker.stop()
  }
}

const withWorkers = async (options: CampaignOptions, workers: ReadonlyArray<Worker>) => {
  const names = Object.keys(scenarios)
  const states = new Map<string, State>()
  await inParallel(workers, names, async (worker, name) => {
    states.set(name, await prepare(worker, join(options.folder, slug(name)), name))
  })
  const cases = drawCases(options.seed, options.kills, states).filter(
    ({ number }) => options.only === undefined || options.only.has(number)
  )
  const results: Array<CaseResult> = []
  const waiting = [...cases]
  const busy = new Set<string>()
  let freed = Promise.withResolvers<void>()
  const work = async (worker: Worker): Promise<void> => {
    while (waiting.length > 0 && options.isStopped?.() !== true) {
      // Cases of one scenario share a folder, because databases hold paths.
      const kill = waiting.find(({ scenario }) => !busy.has(scenario))
      if (kill === undefined) {
        await freed.promise
        continue
      }
      waiting.splice(waiting.indexOf(kill), 1)
      const state = states.get(kill.scenario)
      if (state === undefined) continue
      busy.add(kill.scenario)
      const result = await runCase(worker, state, kill)
      busy.delete(kill.scenario)
      freed.resolve()
      freed = Promise.withResolvers()
      results.push(result)
      options.onResult?.(result)
    }
  }
  await Promise.all(workers.map(work))
  return results.toSorted((left, right) => left.kill.number - right.kill.number)
}

/** The first word of a point. */
export const phaseOf = (point: string): string => point.split("/")[0] ?? point

// ---- drawing

const SHARES = 10_000
const share = fc.integer({ min: 0, max: SHARES - 1 }).map((number) => number / SHARES)
const moments = fc.record({
  point: share,
  passing: share,
  delay: fc.option(share, { nil: undefined, freq: 1 })
})
const draws = fc.record({
  moment: moments,
  recoveries: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(moments, { minLength: 1, maxLength: 3 }) }
  ),
  asWriter: fc.boolean()
})

/** Cases of a seed: all phases, scenarios and points as evenly as can be, the moments at random. */
const drawCases = (seed: number, kills: number, states: ReadonlyMap<string, State>): ReadonlyArray<KillCase> => {
  // In an order that does not depend on which process was quicker.
  const pairs = Object.keys(scenarios).flatMap((scenario) => {
    const passed = new Set(states.get(scenario)?.trace.map(({ point }) => point))
    return failpoints.filter((point) => passed.has(point)).map((point) => ({ scenario, point }))
  })
  const missing = failpoints.filter((point) => !pairs.some((pair) => pair.point === point))
  if (missing.length > 0) throw new Error(`No scenario passes ${missing.join(", ")}`)
  const order = fc.shuffledSubarray(pairs, { minLength: pairs.length })
  const [shuffled = []] = fc.sample(fc.noBias(order), { seed, numRuns: 1 })
  const used = new Map<string, number>()
  const uses = (...keys: ReadonlyArray<string>): number => keys.reduce((sum, key) => sum + (used.get(key) ?? 0), 0)
  return fc.sample(fc.noBias(draws), { seed, numRuns: kills }).map((drawn, at) => {
    const cost = ({ point, scenario }: (typeof pairs)[number]): number =>
      // A phase that was not hit yet comes before any that was.
      uses(scenario, point) + 20 * uses(`phase ${phaseOf(point)}`) + 4 * uses(`${scenario} ${point}`)
    const next = shuffled.reduce((best, pair) => (cost(pair) < cost(best) ? pair : best))
    const { point, scenario } = next
    for (const key of [scenario, `phase ${phaseOf(point)}`, point, `${scenario} ${point}`]) used.set(key, uses(key) + 1)
    return { number: at + 1, scenario, point, ...drawn }
  })
}

// ---- scenarios

interface Passing {
  readonly point: string
  /** Milliseconds until the next one, or the end. */
  readonly until: number
}

/** A scenario that is ready to be killed. */
interface State {
  readonly folder: string
  readonly name: string
  readonly scenario: Scenario
  /** The points that the work passes, in order. */
  readonly trace: ReadonlyArray<Passing>
  readonly originals: Readonly<Record<string, string>>
  readonly before: Inspection
  /** At the end of an undisturbed run. */
  readonly after: Inspection
}

const slug = (name: string): string => name.replaceAll(" ", "-")

const prepare = async (worker: Worker, folder: string, name: string): Promise<State> => {
  const scenario = scenarios[name]
  if (scenario === undefined) throw new Error(`There is no scenario ${name}`)
  mkdirSync(folder, { recursive: true })
  const more = scenario.isIncomplete === true ? (["finish"] as const) : []
  const ended = await worker.ask({ folder, name }, ["prepare", "list", "keep", "act", ...more, "inspect-all"])
  if (ended.problem !== undefined) throw new Error(`${name}, undisturbed: ${ended.problem}`)
  const [before, after] = ended.inspections
  if (before === undefined || after === undefined) throw new Error(`${name}: nothing was inspected`)
  const state: State = {
    folder,
    name,
    scenario,
    trace: ended.trace,
    originals: JSON.parse(readFileSync(join(folder, ORIGINALS), "utf8")),
    before,
    after
  }
  const problem = problemAtEnd(state, after)
  if (problem !== undefined) throw new Error(`${name}, undisturbed: ${problem}`)
  return state
}

// ---- one case

const runCase = async (worker: Worker, state: State, kill: KillCase): Promise<CaseResult> => {
  const { folder, trace } = state
  const recoveryHits: Array<string> = []
  const stored = new Set<string>()
  let misses = 0
  let hit = ""
  const result = (problem: string | undefined): CaseResult => ({
    kill,
    hit,
    recoveryHits,
    misses,
    aside: filesAside(folder),
    problem
  })
  // A process that was quicker than the kill from outside is killed by itself the next time.
  for (const delay of new Set([kill.moment.delay, undefined])) {
    const count = trace.filter(({ point }) => point === kill.point).length
    const passing = 1 + Math.floor(kill.moment.passing * count)
    const killed = await worker.ask(state, ["reset", "act"], at(trace, kill.point, passing, delay))
    for (const cohort of killed.stored) stored.add(cohort)
    if (killed.isKilled) {
      hit = killed.last
      break
    }
    if (killed.problem !== undefined) return result(`before the kill: ${killed.problem}`)
    misses++
    stored.clear()
  }
  if (hit === "") return result("it could not be killed")
  const opened = kill.asWriter ? "inspect-as-writer" : "inspect"
  const objects = [objectsOf(folder)]
  const check = (inspections: ReadonlyArray<Inspection>): string | undefined => {
    objects.push(objectsOf(folder))
    return (
      inspections.map((found) => problemBetween(state, found, stored)).find((problem) => problem !== undefined) ??
      problemOfObjects(objects)
    )
  }
  const untouched = problemOfOriginals(state, "between")
  if (untouched !== undefined) return result(untouched)
  for (const moment of kill.recoveries) {
    const points = failpoints.filter((point) => trace.some((passed) => passed.point === point))
    const passed = points[Math.floor(moment.point * points.length)] ?? kill.point
    const again = await worker.ask(state, [opened, "finish"], at(trace, passed, 1, moment.delay))
    if (again.isKilled) recoveryHits.push(again.last)
    else if (again.problem !== undefined) return result(`going on: ${again.problem}`)
    else misses++
    const problem = check(again.inspections) ?? problemOfOriginals(state, "between")
    if (problem !== undefined) return result(`after a kill of the recovery: ${problem}`)
    for (const cohort of again.stored) stored.add(cohort)
  }
  const last = await worker.ask(state, [opened, "finish", "inspect-all"])
  if (last.problem !== undefined) return result(`going on: ${last.problem}`)
  const problem = check(last.inspections)
  if (problem !== undefined) return result(problem)
  const final = last.inspections.at(-1)
  return result(final === undefined ? "nothing was inspected" : problemAtEnd(state, final))
}

/** Between a kill and the end, each cohort is as it was before or as it will be, and what was told as stored is there. */
const problemBetween = (
  { after, before, scenario }: State,
  found: Inspection,
  stored: ReadonlySet<string>
): string | undefined => {
  for (const [cohort, facts] of Object.entries(found.cohorts)) {
    // Cohorts that are stored and then taken back are neither, also before that was told.
    const isTransient = scenario.repeats === true
    if (!isTransient && facts !== before.cohorts[cohort] && facts !== after.cohorts[cohort]) {
      return `cohort "${cohort}" is neither as before nor as after: ${facts}`
    }
  }
  for (const cohort of stored) {
    const facts = after.cohorts[cohort]
    if (facts !== undefined && facts !== before.cohorts[cohort] && found.cohorts[cohort] !== facts) {
      return `cohort "${cohort}" was told as stored and is not there`
    }
  }
  return undefined
}

const problemAtEnd = (state: State, found: Inspection): string | undefined => {
  for (const key of ["exists", "cohorts", "revisions", "texts"] as const) {
    if (key === "revisions" && state.scenario.repeats === true) continue
    if (!isDeepStrictEqual(found[key], state.after[key])) {
      return `${key} differ from those of an undisturbed run: ${JSON.stringify(found[key])} instead of ${JSON.stringify(state.after[key])}`
    }
  }
  if (found.unfinished > 0) return "a run still counts as unfinished"
  if (found.hasLog) return "a write-ahead log is left"
  return problemOfOriginals(state, "end")
}

const problemOfOriginals = ({ folder, originals, scenario }: State, when: "between" | "end"): string | undefined => {
  const { moved, source } = placeIn(folder)
  const here = fingerprint(source)
  const there = fingerprint(moved)
  const isAllowed = (path: string): boolean => here[path] === originals[path] || there[path] === originals[path]
  for (const [path, facts] of [...Object.entries(here), ...Object.entries(there)]) {
    if (facts !== originals[path]) return `original ${path} is not as it was`
  }
  for (const path of Object.keys(originals)) {
    const isHere = here[path] !== undefined
    if (scenario.originals === undefined && !isHere) return `original ${path} is gone`
    if (scenario.originals === "come-back" && when === "end" && !isHere) return `original ${path} has not come back`
    if (scenario.originals === "move" && !isAllowed(path)) return `original ${path} is lost`
    if (scenario.originals === "move" && when === "end" && isHere) return `original ${path} was not moved`
  }
  return undefined
}

/** The objects of the backups that have names, with their bytes; what tells of runs that have begun is gone when they are recorded. */
const objectsOf = (folder: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(fingerprint(`${placeIn(folder).database}.backups`)).filter(([path]) => !path.endsWith(".run"))
  )

const problemOfObjects = (states: ReadonlyArray<Readonly<Record<string, string>>>): string | undefined => {
  for (const [at, earlier] of states.entries()) {
    for (const later of states.slice(at + 1)) {
      const changed = Object.keys(earlier).find((path) => later[path] !== earlier[path])
      if (changed !== undefined) return `${changed} of the backups has changed`
    }
  }
  return undefined
}

const filesAside = (folder: string): number => {
  const { database, moved, source } = placeIn(folder)
  return [source, moved, join(database, "..")]
    .flatMap((path) => {
      try {
        return readdirSync(path, { recursive: true, withFileTypes: true })
      } catch {
        return []
      }
    })
    .filter((entry) => isAside(entry.name)).length
}

// ---- processes

/** When to kill a process. */
interface Kill {
  readonly point: string
  readonly passing: number
  /** Milliseconds after the point; undefined if it is to kill itself. */
  readonly delay: number | undefined
}

const at = (trace: ReadonlyArray<Passing>, point: string, passing: number, delay: number | undefined): Kill => {
  const gap = trace.filter((passed) => passed.point === point)[passing - 1]?.until ?? 5
  return { point, passing, delay: delay === undefined ? undefined : delay * (gap + 1) * 1.1 }
}

interface Ended {
  readonly isKilled: boolean
  readonly trace: ReadonlyArray<Passing>
  readonly last: string
  readonly stored: ReadonlyArray<string>
  readonly inspections: ReadonlyArray<Inspection>
  readonly problem: string | undefined
}

const CHILD = join(import.meta.dirname, "child.ts")
/** Of a machine that is busy with other work. */
const TOO_LONG_MS = 900_000

/** A process that carries out steps until it is killed; then the next request has a new one. */
class Worker {
  private readonly cache: string
  private child: ChildProcessByStdio<Writable, Readable, Readable> | undefined

  constructor(cache: string) {
    this.cache = cache
  }

  ask(state: Pick<State, "folder" | "name">, steps: ReadonlyArray<StepName>, kill?: Kill): Promise<Ended> {
    const child = (this.child ??= this.start())
    const passings: Array<{ readonly point: string; readonly at: number }> = []
    const stored: Array<string> = []
    const inspections: Array<Inspection> = []
    let acted: { readonly at: number; readonly passings: number } | undefined
    let left = kill?.passing ?? 0
    let errors = ""
    let rest = ""
    return new Promise((resolve) => {
      let timer = setTimeout(() => {
        errors += "it takes too long"
        child.kill("SIGKILL")
      }, TOO_LONG_MS)
      const take = (line: string): void => {
        const [what = "", about = ""] = line.split(" ", 2)
        const text = line.slice(what.length + 1)
        if (what === "answered") end(false, undefined)
        if (what === "stored") stored.push(text)
        if (what === "reached") {
          passings.push({ point: text, at: performance.now() })
          if (kill?.delay !== undefined && kill.point === text && --left === 0) {
            clearTimeout(timer)
            timer = setTimeout(() => child.kill("SIGKILL"), kill.delay)
          }
        }
        if (what === "done") {
          if (about === "list" || about.startsWith("inspect"))
            inspections.push(JSON.parse(text.slice(about.length + 1)))
          if (about === "act") acted = { at: performance.now(), passings: passings.length }
        }
      }
      const onText = (text: string): void => {
        const lines = (rest + text).split("\n")
        rest = lines.pop() ?? ""
        for (const line of lines) take(line)
      }
      const onError = (text: string): void => {
        errors += text
      }
      const onClose = (code: number | null, signal: NodeJS.Signals | null): void => {
        this.child = undefined
        const isKilled = signal === "SIGKILL" && errors === ""
        end(isKilled, isKilled ? undefined : `${signal ?? `exit code ${code}`}: ${errors.slice(0, 3000)}`)
      }
      const end = (isKilled: boolean, problem: string | undefined): void => {
        clearTimeout(timer)
        child.stdout.off("data", onText)
        child.stderr.off("data", onError)
        child.off("close", onClose)
        const trace = passings.slice(0, acted?.passings).map(({ at, point }, number, all) => ({
          point,
          until: (all[number + 1]?.at ?? acted?.at ?? performance.now()) - at
        }))
        resolve({ isKilled, trace, last: passings.at(-1)?.point ?? "", stored, inspections, problem })
      }
      child.stdout.on("data", onText)
      child.stderr.on("data", onError)
      child.on("close", onClose)
      const own = kill === undefined || kill.delay !== undefined ? undefined : kill
      const request: Request = { folder: state.folder, name: state.name, steps, kill: own }
      child.stdin.write(`${JSON.stringify(request)}\n`)
    })
  }

  stop(): void {
    this.child?.kill("SIGKILL")
  }

  private start() {
    const child = spawn(process.execPath, [CHILD], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, NODE_COMPILE_CACHE: this.cache }
    })
    // What it cannot be asked any more it does not answer either, and that is told.
    child.stdin.on("error", () => {})
    child.stdout.setEncoding("utf8")
    child.stderr.setEncoding("utf8")
    return child
  }
}

/** Gives each item to a worker, in order. */
const inParallel = async <A>(
  workers: ReadonlyArray<Worker>,
  items: ReadonlyArray<A>,
  work: (worker: Worker, item: A) => Promise<void>
): Promise<void> => {
  const queue = items.values()
  await Promise.all(
    workers.map(async (worker) => {
      for (const item of queue) await work(worker, item)
    })
  )
}
