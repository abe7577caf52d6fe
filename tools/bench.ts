/**
 * Measures the built program on data made for it: the targets of the design, other tools on the same files, what each
 * brings back, how costs grow, and how much memory they take.
 *
 *     pnpm bench [import | recovery | profile | peers | fidelity | growth | memory | all]
 *                [--rounds N] [--entities N] [--quick] [--full] [--growth] [--max-entities N] [--max-bytes N]
 *                [--timeout SECONDS] [--json FILE]
 *     pnpm bench --page        writes the tables of docs/benchmarks.md from what was measured before
 *
 * Without a suite: import, peers and fidelity. Each suite prints its tables and writes `.bench/<suite>.json` and
 * `.bench/index.html`. Ends with 1 if a job of ours failed, or a limit of the suites `fidelity` and `memory` is missed, which do
 * not depend on the machine. Absolute times depend on the machine; only the ratios of one run mean something.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { measureFidelity } from "./bench/Fidelity.ts"
import { measureGrowth } from "./bench/Growth.ts"
import { measureImport } from "./bench/Import.ts"
import { measureMemory } from "./bench/Memory.ts"
import { htmlPage, markdownSection, withSection } from "./bench/Page.ts"
import { measurePeers } from "./bench/Peers.ts"
import { measureProfile } from "./bench/Profile.ts"
import { measureRecovery } from "./bench/Recovery.ts"
import { printed, type Report, targetTable } from "./bench/Report.ts"
import { root, type Settings, work } from "./bench/Setting.ts"
import { failUsage, readArguments, wholeNumber } from "./lib/arguments.ts"

interface Suite {
  readonly measure: (settings: Settings) => Promise<Report>
  /** Rounds without `--rounds`: five where a target asks for it, fewer where a round takes long. */
  readonly rounds: number
  /** Its limits do not depend on the machine: a missed one is a failure. */
  readonly isExact?: boolean
}

const suites: Readonly<Record<string, Suite>> = {
  import: { measure: measureImport, rounds: 5 },
  recovery: { measure: measureRecovery, rounds: 3 },
  profile: { measure: measureProfile, rounds: 3 },
  peers: { measure: measurePeers, rounds: 3 },
  fidelity: { measure: measureFidelity, rounds: 1, isExact: true },
  growth: { measure: measureGrowth, rounds: 1 },
  memory: { measure: measureMemory, rounds: 1, isExact: true }
}

/** Suites that run other tools, beside jobs of ours that are called after the program. */
const comparisons: ReadonlySet<string> = new Set(["peers", "fidelity"])

const { positionals, typed, values } = readArguments({
  allowPositionals: true,
  options: {
    rounds: { type: "string" },
    entities: { type: "string", default: "500000" },
    /** One round of a tenth of the data: does it run at all? */
    quick: { type: "boolean", default: false },
    /** Growth and memory up to the sizes that are promised; takes hours. */
    full: { type: "boolean", default: false },
    /** The suite `import` also loads into a database of ten times the size; takes minutes. */
    growth: { type: "boolean", default: false },
    "max-entities": { type: "string" },
    "max-bytes": { type: "string" },
    timeout: { type: "string", default: "3600" },
    json: { type: "string" },
    page: { type: "boolean", default: false }
  }
})

const optionalNumber = (name: "max-entities" | "max-bytes"): number | undefined => {
  const text = values[name]
  return text === undefined ? undefined : wholeNumber(name, text, 1)
}

const settingsOf = ({ rounds }: Suite, name: string): Settings => ({
  rounds: values.quick ? 1 : values.rounds === undefined ? rounds : wholeNumber("rounds", values.rounds, 1),
  entities: values.quick ? 50_000 : wholeNumber("entities", values.entities, 1),
  full: values.full,
  quick: values.quick,
  growth: values.growth,
  maxEntities: optionalNumber("max-entities"),
  maxBytes: optionalNumber("max-bytes"),
  timeoutSeconds: wholeNumber("timeout", values.timeout, 1),
  command: ["pnpm bench", name, ...typed.filter((word) => !positionals.includes(word))].join(" ")
})

const reports = (): ReadonlyArray<Report> =>
  Object.keys(suites).flatMap((name) => {
    const file = join(work, `${name}.json`)
    return existsSync(file) ? [JSON.parse(readFileSync(file, "utf8"))] : []
  })

const writePage = (): void => {
  const file = join(root, "docs", "benchmarks.md")
  const found = reports()
  if (found.length === 0) failUsage(`${work} holds no results: run a suite first, such as: pnpm bench import`)
  const page = found.reduce(
    (text, report) => withSection(text, report.suite, markdownSection(report)),
    readFileSync(file, "utf8")
  )
  writeFileSync(file, page)
  console.log(`written: ${file}, from ${found.map(({ suite }) => suite).join(", ")}`)
}

const measure = async (name: string): Promise<void> => {
  const suite =
    suites[name] ?? failUsage(`There is no suite "${name}". Suites: ${Object.keys(suites).join(", ")}, all.`)
  const report = await suite.measure(settingsOf(suite, name))
  for (const table of report.tables) console.log(printed(table))
  if (report.results.length > 0) console.log(printed(targetTable(report.results)))
  for (const text of report.missing) console.log(`\nmissing: ${text}`)
  const isMissed = report.results.some(({ must, value }) => !(value <= must))
  // A peer that could not be installed or failed is named, and is no failure of ours.
  const isBroken = report.missing.some((text) => !comparisons.has(name) || text.startsWith("mallard"))
  if ((suite.isExact && isMissed) || isBroken) process.exitCode = 1
  const file = values.json ?? join(work, `${name}.json`)
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`)
  console.log(`\nwritten: ${file}`)
}

mkdirSync(work, { recursive: true })
if (positionals.length > 0 || !values.page) {
  const [first] = positionals
  const names =
    first === undefined ? ["import", "peers", "fidelity"] : first === "all" ? Object.keys(suites) : positionals
  for (const name of names) await measure(name)
  const page = join(work, "index.html")
  writeFileSync(page, htmlPage(reports()))
  console.log(`written: ${page}`)
}
if (values.page) writePage()
