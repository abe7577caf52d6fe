/**
 * Measures the built program against RAW, DuckDB's own typed `read_json` into tables, which promises nothing: the targets
 * of the design as ratios, taken side by side in interleaved rounds.
 *
 *     pnpm bench [import] [--rounds 5] [--entities 500000] [--quick] [--json FILE]
 *
 * Absolute times depend on the machine; only the ratios of one run mean something. The data and RAW come from
 * `../shared/bench`; without that folder there is nothing to compare with.
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { cpus, totalmem } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"

const root = join(import.meta.dirname, "..")
const shared = join(root, "..", "shared", "bench")
const work = join(root, ".bench")
const program = join(root, "apps", "cli", "dist", "main.js")
const usageFile = join(work, "usage.json")

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    entities: { type: "string", default: "500000" },
    /** One round of a tenth of the data: does it run at all? */
    quick: { type: "boolean", default: false },
    /** Also loads into a database of ten times the size; takes minutes. */
    growth: { type: "boolean", default: false },
    json: { type: "string" }
  }
})

interface Sample {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly peakBytes: number
}

/** One measured command, and what must stand before each of its rounds. */
interface Job {
  readonly name: string
  readonly prepare: () => void
  readonly command: ReadonlyArray<string>
  readonly cwd?: string
  /** Exit codes that mean success. */
  readonly accepts?: ReadonlyArray<number>
}

interface Row {
  readonly target: string
  readonly ours: string
  readonly base: string
  readonly must: number
  readonly stretch: number
}

const fail = (message: string): never => {
  console.error(message)
  process.exit(2)
}

const run = (command: ReadonlyArray<string>, cwd: string, accepts: ReadonlyArray<number> = [0]): Sample => {
  rmSync(usageFile, { force: true })
  const started = process.hrtime.bigint()
  const { status, stderr } = spawnSync(
    process.execPath,
    ["--import", join(import.meta.dirname, "bench", "usage.mjs"), ...command],
    {
      cwd,
      encoding: "utf8",
      env: { ...process.env, MALLARD_BENCH_USAGE: usageFile, CI: "true", NO_COLOR: "1" },
      stdio: ["ignore", "ignore", "pipe"]
    }
  )
  const seconds = Number(process.hrtime.bigint() - started) / 1e9
  if (status === null || !accepts.includes(status)) fail(`${command.join(" ")} ended with ${status}:\n${stderr}`)
  const { cpuSeconds, peakBytes } = JSON.parse(readFileSync(usageFile, "utf8"))
  return { seconds, cpuSeconds, peakBytes }
}

const median = (numbers: ReadonlyArray<number>): number => {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const sizeOf = (folder: string): number =>
  readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)

const mega = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`

const generate = (name: string, files: number, entities: number): string => {
  const folder = join(work, `${name}-${files}x${entities}`)
  if (existsSync(join(folder, "complete"))) return join(folder, "data")
  console.log(`generating ${name}: ${files} files, ${entities} entities`)
  const { status } = spawnSync(
    process.execPath,
    [join(shared, "generate.mjs"), join(folder, "data"), "--files", String(files), "--entities", String(entities)],
    { stdio: "inherit" }
  )
  if (status !== 0) fail("the generator failed")
  writeFileSync(join(folder, "complete"), "")
  return join(folder, "data")
}

const drop = (...files: ReadonlyArray<string>): void => {
  for (const file of files) for (const path of [file, `${file}.wal`]) rmSync(path, { force: true, recursive: true })
}

const measureImport = (): void => {
  if (!existsSync(shared)) fail(`${shared} is missing: the data generator and RAW live there.`)
  const entities = values.quick ? 50_000 : Number(values.entities)
  const rounds = values.quick ? 1 : Number(values.rounds)
  mkdirSync(work, { recursive: true })
  console.log("building the program")
  const built = spawnSync(process.execPath, ["build.ts"], { cwd: join(root, "apps", "cli"), stdio: "inherit" })
  if (built.status !== 0 || !existsSync(program)) fail("the build failed")

  const many = generate("many", 50, entities)
  const one = generate("one", 1, Math.round(entities * 2))
  const small = generate("small", 2000, Math.round(entities / 5))
  const raw = join(work, "raw.duckdb")
  const ours = join(work, "ours.duckdb")
  const kept = join(work, "kept.duckdb")
  const exported = join(work, "export")
  // RAW resolves the client from the folder it runs in.
  const client = join(root, "packages", "duckdb-store")
  const rawOf = (name: string, data: string): Job => ({
    name,
    prepare: () => drop(raw),
    command: [join(shared, "raw.mjs"), data, raw],
    cwd: client
  })
  const mallard = (...args: ReadonlyArray<string>): ReadonlyArray<string> => [program, ...args]
  const imports = (name: string, data: string, ...flags: ReadonlyArray<string>): Job => ({
    name,
    prepare: () => drop(ours),
    command: mallard("migrate", data, "--db", ours, "--quiet", "--no-backup", ...flags)
  })

  drop(kept)
  run(mallard("migrate", many, "--db", kept, "--quiet", "--no-backup"), root)
  const jobs: ReadonlyArray<Job> = [
    rawOf("RAW, 50 files", many),
    imports("import, 50 files", many, "--no-verify"),
    imports("import + verify, 50 files", many),
    { name: "verify", prepare: () => {}, command: mallard("verify", "--db", kept) },
    { name: "verify --source", prepare: () => {}, command: mallard("verify", "--db", kept, "--source", many) },
    {
      name: "export",
      prepare: () => drop(exported),
      command: mallard("export", "--all", "--db", kept, "--out", exported)
    },
    {
      name: "unchanged re-run",
      prepare: () => {},
      command: mallard("migrate", many, "--db", kept, "--quiet", "--no-backup")
    },
    rawOf("RAW, one file", one),
    imports("import, one file", one, "--no-verify"),
    rawOf("RAW, 2000 small files", small),
    imports("import, 2000 small files", small, "--no-verify"),
    { name: "node -e 0", prepare: () => {}, command: ["-e", "0"] },
    { name: "mallard --help", prepare: () => {}, command: mallard("--help") }
  ]
  const samples = new Map<string, Array<Sample>>(jobs.map(({ name }) => [name, []]))
  let databaseBytes = 0
  for (let round = 1; round <= rounds; round++) {
    for (const job of jobs) {
      job.prepare()
      samples.get(job.name)!.push(run(job.command, job.cwd ?? root, job.accepts))
      if (job.name === "import, 50 files") databaseBytes = statSync(ours).size
    }
    console.log(`round ${round} of ${rounds} done`)
  }
  if (values.growth) growth(entities, kept, many, samples, mallard)

  const pick = (name: string, of: (sample: Sample) => number): number => median((samples.get(name) ?? []).map(of))
  const wall = (name: string): number => pick(name, ({ seconds }) => seconds)
  // The ratio of each round, then their median: what slowed one round down slowed both.
  const ratio = (a: string, b: string): number =>
    median(samples.get(a)!.map(({ seconds }, round) => seconds / samples.get(b)![round]!.seconds))

  console.log(
    `\n${cpus().length} cores, ${mega(totalmem())}, Node ${process.version}; ${rounds} rounds; medians of one run on this machine\n`
  )
  console.log(
    `${"job".padEnd(30)}${"wall s".padStart(9)}${"min".padStart(8)}${"max".padStart(8)}${"CPU s".padStart(9)}${"peak".padStart(10)}`
  )
  for (const [name, list] of samples) {
    const seconds = list.map((sample) => sample.seconds)
    console.log(
      name.padEnd(30) +
        wall(name).toFixed(2).padStart(9) +
        Math.min(...seconds)
          .toFixed(2)
          .padStart(8) +
        Math.max(...seconds)
          .toFixed(2)
          .padStart(8) +
        pick(name, ({ cpuSeconds }) => cpuSeconds)
          .toFixed(2)
          .padStart(9) +
        mega(pick(name, ({ peakBytes }) => peakBytes)).padStart(10)
    )
  }

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
    ...(values.growth
      ? [
          {
            target: "into a ten times larger database",
            ours: "import into large",
            base: "import into empty",
            must: 1.3,
            stretch: 1.1
          }
        ]
      : []),
    { target: "mallard --help", ours: "mallard --help", base: "node -e 0", must: 3, stretch: 2 }
  ]
  const results = rows.map(({ base, must, ours: job, stretch, target }) => ({
    target,
    value: ratio(job, base),
    must,
    stretch,
    unit: `x ${base}`
  }))
  const peak = Math.max(
    ...[...samples]
      .filter(([name]) => !name.startsWith("RAW"))
      .flatMap(([, list]) => list.map(({ peakBytes }) => peakBytes))
  )
  results.push({ target: "peak memory, any job of ours", value: peak / 1e9, must: 1.2, stretch: 0.6, unit: "GB" })
  results.push({
    target: "database / JSON size",
    value: databaseBytes / sizeOf(many),
    must: 0.22,
    stretch: 0.17,
    unit: ""
  })
  console.log(`\n${"target".padEnd(36)}${"measured".padStart(10)}${"must".padStart(8)}${"stretch".padStart(9)}`)
  for (const { must, stretch, target, unit, value } of results) {
    const verdict = value <= stretch ? "stretch met" : value <= must ? "must met" : "MISSED"
    console.log(
      `${target.padEnd(36)}${value.toFixed(2).padStart(10)}${String(must).padStart(8)}${String(stretch).padStart(9)}  ${verdict}  ${unit}`
    )
  }
  const report = {
    machine: { cores: cpus().length, memory: totalmem(), node: process.version },
    rounds,
    entities,
    samples: Object.fromEntries(samples),
    results
  }
  const file = values.json ?? join(work, "import.json")
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`)
  console.log(`\nwritten: ${file}`)
}

/** Loads the same new files into an empty database and into one of ten times their size. */
const growth = (
  entities: number,
  kept: string,
  many: string,
  samples: Map<string, Array<Sample>>,
  mallard: (...args: ReadonlyArray<string>) => ReadonlyArray<string>
): void => {
  const large = join(work, "large.duckdb")
  const empty = join(work, "empty.duckdb")
  drop(large, empty)
  const folders = Array.from({ length: 9 }, (_, at) => {
    const folder = join(work, `growth-${at}-${entities}`)
    if (!existsSync(join(folder, "complete"))) {
      spawnSync(process.execPath, [
        join(shared, "generate.mjs"),
        join(folder, "data"),
        "--entities",
        String(entities),
        "--seed",
        String(at + 2)
      ])
      writeFileSync(join(folder, "complete"), "")
    }
    return join(folder, "data")
  })
  for (const folder of folders)
    run(
      mallard("migrate", folder, "--db", large, "--quiet", "--no-backup", "--no-verify", "--on-conflict", "rename"),
      root
    )
  run(mallard("migrate", many, "--db", large, "--quiet", "--no-backup", "--no-verify", "--on-conflict", "rename"), root)
  const fresh = join(work, `growth-new-${entities}`)
  if (!existsSync(join(fresh, "complete"))) {
    spawnSync(process.execPath, [
      join(shared, "generate.mjs"),
      join(fresh, "data"),
      "--entities",
      String(entities),
      "--seed",
      "99"
    ])
    writeFileSync(join(fresh, "complete"), "")
  }
  samples.set("import into empty", [])
  samples.set("import into large", [])
  for (let round = 0; round < Number(values.rounds); round++) {
    drop(empty)
    samples
      .get("import into empty")!
      .push(run(mallard("migrate", join(fresh, "data"), "--db", empty, "--quiet", "--no-backup", "--no-verify"), root))
    const copy = join(work, "copy.duckdb")
    drop(copy)
    writeFileSync(copy, readFileSync(large))
    samples
      .get("import into large")!
      .push(
        run(
          mallard(
            "migrate",
            join(fresh, "data"),
            "--db",
            copy,
            "--quiet",
            "--no-backup",
            "--no-verify",
            "--on-conflict",
            "rename"
          ),
          root
        )
      )
  }
  void kept
}

const suite = positionals[0] ?? "import"
if (suite === "import") measureImport()
else fail(`There is no suite "${suite}". Suites: import.`)
