/**
 * Puts faults on the program: calls to the operating system that fail, damaged files, sources that change, signals; and
 * checks after each that nothing is lost and that a plain run goes on.
 *
 *     pnpm faults [--tier pr|nightly|release] [--seed N]
 *     pnpm faults --tier T --seed N --only NAME     the cases whose names hold a text
 *     pnpm faults --tier T --seed N --part K/N      a part of the cases, of N about equal ones
 *
 * `pr` is what the tests do, `nightly` draws more damages and goes through every call with one error each, which the seed
 * chooses, `release` draws yet more and goes through every call with every error. Ends with exit code 1 if anything does not
 * hold. What cannot be done on a machine is counted, with the reason. A signal ends it with the sums so far.
 */
import { withTempDirectory } from "@mallard/testkit"
import { fork } from "node:child_process"
import { randomInt } from "node:crypto"
import { once } from "node:events"
import { chmodSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { failUsage, readArguments, wholeNumber } from "./lib/arguments.ts"
import { root } from "./lib/run.ts"

const tiers = ["pr", "nightly", "release"]
const PROGRESS_SECONDS = 10

interface Result {
  readonly group: string
  readonly name: string
  readonly outcome: "passed" | "failed" | "skipped"
  readonly why: string
}

interface Counts {
  passed: number
  failed: number
  skipped: number
}

const main = async (): Promise<number> => {
  const { values } = readArguments({
    options: {
      tier: { type: "string", default: "pr" },
      seed: { type: "string", default: String(randomInt(2 ** 31)) },
      only: { type: "string", default: "" },
      part: { type: "string", default: "1/1" }
    }
  })
  const { only, part, tier } = values
  if (!tiers.includes(tier)) failUsage(`--tier takes one of ${tiers.join(", ")}`)
  const seed = String(wholeNumber("seed", values.seed))
  const [, nth, parts] = /^([1-9]\d*)\/([1-9]\d*)$/.exec(part) ?? []
  if (nth === undefined || parts === undefined || Number(nth) > Number(parts))
    return failUsage("--part takes a part K/N, K from 1 to N")
  console.log(`tier ${tier}, seed ${seed}${part === "1/1" ? "" : `, part ${part}`}`)
  const started = performance.now()
  const seconds = (): string => `${Math.round((performance.now() - started) / 1000)} s`
  const groups = new Map<string, Counts>()
  const reasons = new Map<string, number>()
  const sum: Counts = { passed: 0, failed: 0, skipped: 0 }
  const take = ({ group, name, outcome, why }: Result): void => {
    const counts = groups.get(group) ?? { passed: 0, failed: 0, skipped: 0 }
    groups.set(group, counts)
    counts[outcome]++
    sum[outcome]++
    if (outcome === "skipped") reasons.set(why, (reasons.get(why) ?? 0) + 1)
    if (outcome !== "failed") return
    console.log(`\n${name}\n  ${why.split("\n").slice(0, 12).join("\n  ")}`)
    console.log(
      `  again: pnpm faults --tier ${tier} --seed ${seed} --only '${name.replaceAll("'", String.raw`'\''`)}'\n`
    )
  }
  const progress = setInterval(() => console.log(`  ${textOf(sum)}, ${seconds()}`), PROGRESS_SECONDS * 1000)
  const count = Math.max(1, Math.min(8, availableParallelism()))
  const script = join(root, "apps", "cli", "test", "faults-worker-child.ts")
  let signalled: NodeJS.Signals | undefined
  const ends = await withTempDirectory((folder) => {
    // The user who may do less has to get to what lies in it.
    chmodSync(folder, 0o711)
    return Promise.all(
      Array.from({ length: count }, async (_, number) => {
        const share = [String(number), String(count), nth, parts]
        const worker = fork(script, [join(folder, String(number)), tier, seed, ...share, only])
        worker.on("message", take)
        for (const signal of ["SIGINT", "SIGTERM"] as const) {
          process.on(signal, () => {
            signalled = signal
            worker.kill(signal)
          })
        }
        const [code] = await once(worker, "exit")
        return code === 0
      })
    )
  })
  clearInterval(progress)
  const width = Math.max(...[...groups.keys()].map((group) => group.length))
  for (const [group, counts] of groups) console.log(`${group.padEnd(width)}  ${textOf(counts)}`)
  for (const [why, times] of reasons) console.log(`skipped ${times}: ${why}`)
  console.log(`${textOf(sum)} (seed ${seed}, ${seconds()})`)
  if (signalled !== undefined) console.error(`stopped by ${signalled} before all was done`)
  else if (ends.includes(false)) console.error("a process ended before its work was done")
  return sum.failed === 0 && sum.passed > 0 && !ends.includes(false) ? 0 : 1
}

const textOf = ({ failed, passed, skipped }: Counts): string =>
  `${passed} passed, ${failed} failed${skipped === 0 ? "" : `, ${skipped} skipped`}`

process.exitCode = await main()
