/**
 * Kills the program with `kill -9` at random moments, goes on as a user would, and compares the end with an undisturbed run.
 *
 *     pnpm crash [--kills 200] [--seed N] [--workers N]
 *     pnpm crash --kills 200 --seed N --only A,B    some kills again
 *
 * A signal ends it after the kills at hand, with the sums so far.
 * Ends with exit code 1 when anything differs, and says how to see it again.
 */
import { withTempDirectory } from "@mallard/testkit"
import { randomInt } from "node:crypto"
import { availableParallelism } from "node:os"
import { readArguments, wholeNumber } from "./lib/arguments.ts"
import { type CampaignOptions, type CaseResult, runCampaign } from "./crash/Campaign.ts"

const MAX_WORKERS = 4
const PROGRESS_SECONDS = 10

const main = async (): Promise<number> => {
  const { values } = readArguments({
    options: {
      kills: { type: "string", default: "200" },
      seed: { type: "string", default: String(randomInt(2 ** 31)) },
      workers: { type: "string", default: String(Math.min(MAX_WORKERS, availableParallelism())) },
      only: { type: "string" }
    }
  })
  const seed = wholeNumber("seed", values.seed)
  const kills = wholeNumber("kills", values.kills)
  const only = values.only?.split(",").map((number) => wholeNumber("only", number))
  const workers = wholeNumber("workers", values.workers, 1)
  return withTempDirectory((folder) =>
    crash({ seed, kills, workers, only: only === undefined ? undefined : new Set(only), folder })
  )
}

const crash = async (options: CampaignOptions): Promise<number> => {
  const { kills, only, seed } = options
  const started = performance.now()
  const seconds = (): string => `${Math.round((performance.now() - started) / 1000)} s`
  console.log(`${only?.size ?? kills} kills, seed ${seed}`)
  let done = 0
  let wrong = 0
  const progress = setInterval(() => {
    console.log(`  ${done} of ${only?.size ?? kills} kills, ${wrong} with a difference, ${seconds()}`)
  }, PROGRESS_SECONDS * 1000)
  const onResult = (result: CaseResult): void => {
    done++
    if (result.problem === undefined) return
    wrong++
    console.log(
      `\n${described(result)}\nreplay: pnpm crash --kills ${kills} --seed ${seed} --only ${result.kill.number}\n`
    )
  }
  let signal: NodeJS.Signals | undefined
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => (signal ??= name))
  try {
    const results = await runCampaign({ ...options, onResult, isStopped: () => signal !== undefined })
    const recoveries = results.flatMap(({ recoveryHits }) => recoveryHits)
    console.log(table("killed after", count(results.map(({ hit }) => hit)), count(recoveries)))
    console.log(
      table(
        "while doing",
        count(results.map(({ kill }) => kill.scenario)),
        count(results.flatMap(({ kill, recoveryHits }) => recoveryHits.map(() => kill.scenario)))
      )
    )
    const sum = (of: (result: CaseResult) => number): number => results.reduce((total, result) => total + of(result), 0)
    console.log(
      `${results.length} kills, ${recoveries.length} kills more of what went on after them; ${sum(({ misses }) => misses)} came too late and do not count`
    )
    console.log(`${sum(({ aside }) => aside)} unfinished files of killed processes lie beside databases and originals`)
    console.log(`${wrong} differences (seed ${seed}, ${seconds()})`)
    if (signal !== undefined) console.log(`stopped by ${signal}`)
    return wrong > 0 ? 1 : signal === undefined ? 0 : signal === "SIGINT" ? 130 : 143
  } finally {
    clearInterval(progress)
  }
}

const described = ({ hit, kill, problem, recoveryHits }: CaseResult): string =>
  [
    `kill ${kill.number}: ${kill.scenario}, after ${hit}${kill.moment.delay === undefined ? "" : " and a while"}`,
    ...recoveryHits.map((point) => `  going on was killed after ${point}`),
    `  ${problem}`
  ].join("\n")

const count = (names: ReadonlyArray<string>): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

const table = (title: string, kills: ReadonlyMap<string, number>, recoveries: ReadonlyMap<string, number>): string => {
  const names = [...new Set([...kills.keys(), ...recoveries.keys()])].toSorted()
  const width = Math.max(title.length, ...names.map((name) => name.length))
  const line = (name: string, first: string, second: string): string =>
    `${name.padEnd(width)} ${first.padStart(6)} ${second.padStart(11)}`
  const rows = names.map((name) => line(name, String(kills.get(name) ?? 0), String(recoveries.get(name) ?? 0)))
  return `\n${[line(title, "kills", "of recovery"), ...rows].join("\n")}\n`
}

process.exitCode = await main()
