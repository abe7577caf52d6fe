/**
 * Soaks the engine: generated documents go through real databases and must come back as they were.
 *
 *     pnpm roundtrip [--runs 2000] [--seed N] [--all]
 *     pnpm roundtrip --seed N --path P          one counterexample again
 *     pnpm roundtrip --seed N --only A,B,C      a group of runs again
 *
 * Ends with exit code 1 and a counterexample at the first violation; with `--all` it goes on and prints each one.
 */
import { withTempDirectory } from "@mallard/testkit"
import { type ChildProcess, fork } from "node:child_process"
import { randomInt } from "node:crypto"
import { once } from "node:events"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { readArguments, wholeNumber } from "./lib/arguments.ts"
import { mallard } from "./roundtrip/Engine.ts"
import { laws, type Violation } from "./roundtrip/Laws.ts"
import {
  Broken,
  checkAlone,
  checkTogether,
  type ChunkResult,
  type Counterexample,
  drawAtPath,
  soakChunk
} from "./roundtrip/Soak.ts"
import { describeSpecimen } from "./roundtrip/Specimen.ts"

/** Documents that share a database; fewer than the sources of one commit, so that conflicts are told before it. */
const CHUNK = 400
const MAX_WORKERS = 4
const PROGRESS_SECONDS = 10
/** The longest text of a file that is printed. */
const SHOWN = 6000

interface Task {
  readonly seed: number
  readonly from: number
  readonly runs: number
}

const main = async (): Promise<number> => {
  const { values } = readArguments({
    options: {
      runs: { type: "string", default: "2000" },
      seed: { type: "string", default: String(randomInt(2 ** 31)) },
      path: { type: "string" },
      only: { type: "string" },
      all: { type: "boolean", default: false }
    }
  })
  const seed = wholeNumber("seed", values.seed, -Infinity)
  if (values.path !== undefined) return replay(seed, values.path)
  if (values.only !== undefined)
    return replayTogether(
      seed,
      values.only.split(",").map((run) => wholeNumber("only", run))
    )
  return withTempDirectory((folder) => soak(seed, wholeNumber("runs", values.runs), values.all, folder))
}

const soak = async (seed: number, runs: number, all: boolean, folder: string): Promise<number> => {
  const started = performance.now()
  const seconds = (): string => `${Math.round((performance.now() - started) / 1000)} s`
  console.log(`${runs} documents, seed ${seed}`)
  let next = 0
  let documents = 0
  let groups = 0
  let peak = 0
  const counterexamples: Array<Counterexample> = []
  const counts = { variants: new Map<string, number>(), traps: new Map<string, number>() }
  const progress = setInterval(() => {
    console.log(
      `  ${documents} of ${runs} documents, ${counterexamples.length} counterexamples, ${seconds()}, ${peak} MB`
    )
  }, PROGRESS_SECONDS * 1000)
  const isDone = (): boolean => next >= runs || (!all && counterexamples.length > 0)
  const work = async (worker: ChildProcess): Promise<void> => {
    while (!isDone()) {
      const task: Task = { seed, from: next, runs: Math.min(CHUNK, runs - next) }
      next += task.runs
      worker.send(task)
      const { megabytes, result } = await answerOf(worker)
      documents += result.documents
      groups += result.groups
      peak = Math.max(peak, megabytes)
      addUp(counts.variants, result.frequencies.variants)
      addUp(counts.traps, result.frequencies.traps)
      for (const counterexample of result.counterexamples) {
        counterexamples.push(counterexample)
        console.log(`\n${printed(counterexample, seed)}\n`)
      }
    }
  }
  const count = Math.max(1, Math.min(MAX_WORKERS, availableParallelism(), Math.ceil(runs / CHUNK)))
  const workers = Array.from({ length: count }, (_, number) =>
    fork(import.meta.filename, ["--worker", join(folder, String(number))])
  )
  let signal: NodeJS.Signals | undefined
  const stop = (cause?: NodeJS.Signals): void => {
    signal ??= cause
    for (const worker of workers) worker.kill("SIGKILL")
  }
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, stop)
  try {
    await Promise.all(workers.map(work))
  } catch (error) {
    if (signal === undefined) throw error
    console.log(`stopped by ${signal}`)
    return signal === "SIGINT" ? 130 : 143
  } finally {
    clearInterval(progress)
    stop()
  }
  console.log(table("variant", counts.variants, documents))
  console.log(table("trap", counts.traps, documents))
  console.log(`${groups} groups; peak memory of a worker ${peak} MB`)
  const sum = `${counterexamples.length} counterexample${counterexamples.length === 1 ? "" : "s"}`
  console.log(`${documents} documents, ${sum} (seed ${seed}, ${seconds()})`)
  return counterexamples.length === 0 ? 0 : 1
}

const replay = (seed: number, path: string): Promise<number> =>
  withTempDirectory(async (folder) => {
    const specimen = drawAtPath(seed, path)
    console.log(describeSpecimen(specimen))
    return verdict(() => checkAlone(mallard, specimen, folder))
  })

const replayTogether = (seed: number, runs: ReadonlyArray<number>): Promise<number> =>
  withTempDirectory((folder) => verdict(() => checkTogether(mallard, seed, runs, folder)))

const verdict = async (check: () => Promise<void>): Promise<number> => {
  try {
    await check()
    console.log("no law is broken")
    return 0
  } catch (error) {
    if (!(error instanceof Broken)) throw error
    console.log(error.message)
    return 1
  }
}

const printed = ({ law, message, replay, shown }: Counterexample, seed: number): string => {
  const flags = "path" in replay ? `--path ${replay.path}` : `--only ${replay.only.join(",")}`
  return [
    `counterexample to "${laws[law]}": ${shortened(message)}`,
    ...shown.slice(0, 10).map(shortened),
    ...(shown.length > 10 ? [`and ${shown.length - 10} more`] : []),
    `replay: pnpm roundtrip --seed ${seed} ${flags}`
  ].join("\n")
}

const shortened = (text: string): string =>
  text.length > SHOWN ? `${text.slice(0, SHOWN)}… (${text.length} characters)` : text

const addUp = (sums: Map<string, number>, counts: Readonly<Record<string, number>>): void => {
  for (const [name, count] of Object.entries(counts)) sums.set(name, (sums.get(name) ?? 0) + count)
}

const table = (title: string, counts: ReadonlyMap<string, number>, of: number): string => {
  const width = Math.max(title.length, ...[...counts.keys()].map((name) => name.length))
  const line = (name: string, count: string, share: string): string =>
    `${name.padEnd(width)} ${count.padStart(8)} ${share.padStart(7)}`
  const rows = [...counts].map(([name, count]) =>
    line(name, String(count), `${((100 * count) / Math.max(1, of)).toFixed(1)} %`)
  )
  return `\n${[line(title, "runs", "share"), ...rows].join("\n")}\n`
}

interface Answer {
  readonly megabytes: number
  readonly result: ChunkResult
}

const answerOf = async (worker: ChildProcess): Promise<Answer> => {
  const ended = new AbortController()
  const exit = once(worker, "exit", ended).then(() => {
    throw new Error("a worker ended before its work was done")
  })
  exit.catch(() => {})
  try {
    const [answer] = await Promise.race([once(worker, "message", ended), exit])
    return answer
  } finally {
    ended.abort()
  }
}

/** Checks what it is sent until the parent goes away. */
const workAt = (folder: string): void => {
  process.on("SIGINT", () => {})
  process.on("disconnect", () => process.exit())
  process.on("message", async ({ from, runs, seed }: Task) => {
    const onViolation = ({ law, message, specimen }: Violation): void => {
      const where = specimen === undefined ? "a group" : `run ${specimen}`
      console.log(`  ${where} breaks "${laws[law]}", looking for a smaller one: ${message.slice(0, 300)}`)
    }
    const result = await soakChunk({ engine: mallard, seed, from, runs, folder, onViolation })
    const answer: Answer = { megabytes: Math.round(process.memoryUsage.rss() / 1e6), result }
    process.send?.(answer)
  })
}

const [, , mode, folder] = process.argv
if (mode === "--worker" && folder !== undefined) workAt(folder)
else process.exitCode = await main()
