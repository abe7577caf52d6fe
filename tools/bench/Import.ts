/**
 * The suite `import`: each step of a migration beside RAW, DuckDB's own typed `read_json` into tables, which promises
 * nothing. Its targets are those of the design.
 */
import { copyFileSync } from "node:fs"
import { cpus } from "node:os"
import { join } from "node:path"
import { barsOf, costTable, machine, type Report, type Result, roundsInWords } from "./Report.ts"
import { type Job, isFailure, runMeasured, runRounds, type Sample } from "./Runner.ts"
import {
  buildProgram,
  drop,
  fail,
  generated,
  mallard,
  root,
  rawJob,
  type Settings,
  sizeOf,
  withoutBackup,
  work
} from "./Setting.ts"
import { ratioOfRounds } from "./Statistics.ts"

interface Row {
  readonly target: string
  readonly ours: string
  readonly base: string
  readonly must: number
  readonly stretch: number
}

export const measureImport = async (settings: Settings): Promise<Report> => {
  buildProgram()
  const { entities, rounds } = settings
  const bare = withoutBackup()
  const many = generated("many", 50, entities)
  const one = generated("one", 1, Math.round(entities * 2))
  const small = generated("small", 2000, Math.round(entities / 5))
  const ours = join(work, "ours.duckdb")
  const kept = join(work, "kept.duckdb")
  const exported = join(work, "export")
  let databaseBytes = 0
  const imports = (name: string, data: string, ...flags: ReadonlyArray<string>): Job => ({
    name,
    prepare: () => drop(ours),
    commands: [mallard("migrate", data, "--db", ours, "--quiet", ...flags)],
    after: () => {
      if (name === "import, 50 files") databaseBytes = sizeOf(ours)
    }
  })
  drop(kept)
  await mustRun(mallard("migrate", many, "--db", kept, "--quiet", ...bare))
  const jobs: ReadonlyArray<Job> = [
    rawJob("RAW, 50 files", many),
    imports("import, 50 files", many, "--no-verify", ...bare),
    imports("import + verify, 50 files", many, ...bare),
    ...(bare.length > 0 ? [imports("import + backup + verify, 50 files", many)] : []),
    { name: "verify", commands: [mallard("verify", "--db", kept)] },
    { name: "verify --source", commands: [mallard("verify", "--db", kept, "--source", many)] },
    {
      name: "export",
      prepare: () => drop(exported),
      commands: [mallard("export", "--all", "--db", kept, "--out", exported)]
    },
    { name: "unchanged re-run", commands: [mallard("migrate", many, "--db", kept, "--quiet", ...bare)] },
    rawJob("RAW, one file", one),
    imports("import, one file", one, "--no-verify", ...bare),
    rawJob("RAW, 2000 small files", small),
    imports("import, 2000 small files", small, "--no-verify", ...bare),
    { name: "node -e 0", commands: [[process.execPath, "-e", "0"]] },
    { name: "mallard --help", commands: [mallard("--help")] }
  ]
  const measured = await runRounds(jobs, rounds, root)
  const samples = new Map<string, ReadonlyArray<Sample>>(measured.samples)
  if (settings.growth) for (const [name, list] of await intoLarge(many, settings, bare)) samples.set(name, list)

  const rows: ReadonlyArray<Row> = [
    { target: "import, 50 files", ours: "import, 50 files", base: "RAW, 50 files", must: 2, stretch: 1.4 },
    { target: "import, one large file", ours: "import, one file", base: "RAW, one file", must: 1.1, stretch: 0.7 },
    {
      target: "import, 2000 small files",
      ours: "import, 2000 small files",
      base: "RAW, 2000 small files",
      must: 1.1,
      stretch: 0.7
    },
    { target: "verify (a-d)", ours: "verify", base: "RAW, 50 files", must: 0.9, stretch: 0.6 },
    { target: "verify --source", ours: "verify --source", base: "RAW, 50 files", must: 1.4, stretch: 1 },
    { target: "import + verify", ours: "import + verify, 50 files", base: "RAW, 50 files", must: 2.8, stretch: 2.1 },
    { target: "export", ours: "export", base: "RAW, 50 files", must: 0.8, stretch: 0.5 },
    { target: "unchanged re-run", ours: "unchanged re-run", base: "RAW, 50 files", must: 0.35, stretch: 0.15 },
    {
      target: "into a ten times larger database",
      ours: "import into large",
      base: "import into empty",
      must: 1.3,
      stretch: 1.1
    },
    { target: "mallard --help", ours: "mallard --help", base: "node -e 0", must: 3, stretch: 2 }
  ]
  const seconds = (name: string): ReadonlyArray<number> => (samples.get(name) ?? []).map((sample) => sample.seconds)
  const results: Array<Result> = rows
    .filter((row) => samples.has(row.ours) && samples.has(row.base))
    .map(({ base, must, ours, stretch, target }) => ({
      target,
      value: ratioOfRounds(seconds(ours), seconds(base)),
      must,
      stretch,
      unit: `x ${base}`
    }))
  const peak = Math.max(
    ...[...samples]
      .filter(([name]) => !name.startsWith("RAW"))
      .flatMap(([, list]) => list.map(({ peakBytes }) => peakBytes))
  )
  results.push(
    { target: "peak memory, any job of ours", value: peak / 1e9, must: 1.2, stretch: 0.6, unit: "GB" },
    {
      target: "database / JSON size",
      value: databaseBytes / sizeOf(many),
      must: 0.22,
      stretch: 0.17,
      unit: "of the bytes"
    }
  )
  const onOf50 = new Map([...samples].filter(([name]) => !/one file|small|--help|node -e/.test(name)))
  return {
    suite: "import",
    title: "Each step of a migration",
    about:
      `${entities} invented entities of seven kinds in 50 JSON files (and the same in one file of twice as many, and in 2,000 ` +
      "small files), generated by the benchmark. RAW is DuckDB's own read_json with column types written by hand, into one table per kind: " +
      "it keeps neither the order of keys, nor the spelling of numbers, nor anything unforeseen, and verifies nothing. It is the floor that " +
      "the ratios refer to.",
    command: settings.command,
    machine: machine(),
    rounds,
    entities,
    missing: [...measured.failures].map(([name, why]) => `${name}: ${why}`),
    tables: [
      costTable(`Costs on ${cpus().length} cores, medians of ${roundsInWords(rounds)}`, { ...measured, samples })
    ],
    bars: [
      barsOf("Wall time on 50 files", "seconds", nameOurs(onOf50), ({ seconds }) => seconds),
      barsOf("Peak memory", "GB", nameOurs(samples), ({ peakBytes }) => peakBytes / 1e9)
    ],
    curves: [],
    samples: Object.fromEntries(samples),
    results
  }
}

/** Loads the same new files into an empty database and into one of ten times their size. */
const intoLarge = async (
  many: string,
  { entities, rounds }: Settings,
  bare: ReadonlyArray<string>
): Promise<ReadonlyMap<string, ReadonlyArray<Sample>>> => {
  const large = join(work, "large.duckdb")
  const copy = join(work, "copy.duckdb")
  const empty = join(work, "empty.duckdb")
  const flags = ["--quiet", "--no-verify", "--on-conflict", "rename", ...bare]
  const into = (db: string, data: string): ReadonlyArray<string> => mallard("migrate", data, "--db", db, ...flags)
  drop(large)
  for (let at = 0; at < 9; at++) await mustRun(into(large, generated(`growth-${at}`, 50, entities, at + 2)))
  await mustRun(into(large, many))
  const fresh = generated("growth-new", 50, entities, 99)
  const { samples } = await runRounds(
    [
      { name: "import into empty", prepare: () => drop(empty), commands: [into(empty, fresh)] },
      {
        name: "import into large",
        prepare: () => {
          drop(copy)
          copyFileSync(large, copy)
        },
        commands: [into(copy, fresh)]
      }
    ],
    rounds,
    root
  )
  drop(copy, empty)
  return samples
}

const mustRun = async (command: ReadonlyArray<string>): Promise<void> => {
  const outcome = await runMeasured(command, { cwd: root })
  if (isFailure(outcome)) fail(`${command.join(" ")} ${outcome.failure}`)
}

/** Charts colour what is called after the program. */
const nameOurs = (samples: ReadonlyMap<string, ReadonlyArray<Sample>>): ReadonlyMap<string, ReadonlyArray<Sample>> =>
  new Map([...samples].map(([name, list]) => [/^(RAW|node|mallard)/.test(name) ? name : `mallard ${name}`, list]))
