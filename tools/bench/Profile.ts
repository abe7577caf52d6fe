/**
 * The suite `profile`: where the time of each step goes, by what the program's threads were doing, beside floors that
 * no program of this kind can go below. Taken with Node's sampling profiler, which itself costs some of the time.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { SourceMap, type SourceMapPayload } from "node:module"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import { costTable, machine, type Report, roundsInWords, type Table } from "./Report.ts"
import { isFailure, type Job, runMeasured, runRounds } from "./Runner.ts"
import {
  buildProgram,
  clientFolder,
  drop,
  fail,
  generated,
  mallard,
  rawJob,
  root,
  type Settings,
  withoutBackup,
  work
} from "./Setting.ts"

/** What a thread may be doing, by where its code stands; the first that fits counts. */
const ACTIVITIES: ReadonlyArray<readonly [activity: string, fits: (frame: Place) => boolean]> = [
  ["waiting", ({ name }) => name === "(idle)"],
  ["collecting garbage", ({ name }) => name === "(garbage collector)"],
  ["SHA-256", ({ file }) => file === "internal/crypto/hash"],
  [
    "starting",
    ({ file, name }) =>
      /^internal\/(modules|main|bootstrap|vm)|^internal\/process\/pre/.test(file) || STARTING.has(name)
  ],
  ["calls into DuckDB", ({ path }) => path.includes("@duckdb")],
  [
    "rows for DuckDB",
    ({ file }) => /^(ChunkWriter|BatchWriter|PackedBatch|EntityIndex|EntityBatch|Cells)\.ts$/.test(file)
  ],
  [
    "reading JSON",
    ({ path }) => /\/(legacy-json|entity-serializers\/src\/(internal|Document|NumberStack|ShapeDictionary))/.test(path)
  ],
  ["rendering", ({ path }) => /\/(entity-serializers|duckdb-store|cli)\//.test(path)]
]

const STARTING: ReadonlySet<string> = new Set(["(program)", "compileSourceTextModule", "wrapSafe", "dlopen"])
const OTHER = "other"

/** Where a sample was taken. */
interface Place {
  readonly name: string
  /** Of Node's own modules their name, of bundled ones the file they come from. */
  readonly path: string
  readonly file: string
}

export const measureProfile = async (settings: Settings): Promise<Report> => {
  buildProgram()
  const bare = withoutBackup()
  const data = generated("many", 50, settings.entities)
  const kept = join(work, "profile-kept.duckdb")
  const ours = join(work, "profile.duckdb")
  const exported = join(work, "profile-export")
  const steps: ReadonlyArray<readonly [name: string, args: ReadonlyArray<string>, fresh?: string]> = [
    ["import", ["migrate", data, "--db", ours, "--quiet", "--no-verify", ...bare], ours],
    ["verify", ["verify", "--db", kept]],
    ["verify --source", ["verify", "--db", kept, "--source", data]],
    ["export", ["export", "--all", "--db", kept, "--out", exported], exported],
    ["unchanged re-run", ["migrate", data, "--db", kept, "--quiet", ...bare]],
    ["mallard --help", ["--help"]]
  ]
  drop(kept)
  const made = await runMeasured(mallard("migrate", data, "--db", kept, "--quiet", ...bare), { cwd: root })
  if (isFailure(made)) fail(`the import failed: ${made.failure}`)

  const main: Array<ReadonlyArray<string>> = []
  const others: Array<ReadonlyArray<string>> = []
  for (const [name, args, fresh] of steps) {
    if (fresh !== undefined) drop(fresh)
    const [first, ...rest] = await profilesOf(args)
    main.push([name, ...cellsOf(first === undefined ? [] : [first])])
    if (rest.length > 0) others.push([`${name}, ${rest.length} more`, ...cellsOf(rest)])
  }
  const floor = (name: string, ...args: ReadonlyArray<string>): Job => ({
    name,
    prepare: () => drop(ours),
    commands: [[process.execPath, join(import.meta.dirname, "peers", "floor.mjs"), ...args]],
    options: { cwd: clientFolder }
  })
  const measured = await runRounds(
    [
      rawJob("RAW, 50 files", data),
      {
        name: "reading the bytes",
        commands: [[process.execPath, join(import.meta.dirname, "peers", "bytes.mjs"), data]]
      },
      floor("SHA-256 of the bytes", "sha256", data),
      floor("DuckDB alone writes the same tables", "copy", kept, ours),
      floor("DuckDB alone reads every value", "scan", kept),
      { name: "node -e 0", commands: [[process.execPath, "-e", "0"]] }
    ],
    settings.rounds,
    root
  )
  drop(kept, ours, exported)
  return {
    suite: "profile",
    title: "Where the time goes",
    about:
      `${settings.entities} invented entities in 50 files. Seconds that the threads of each step spent with what, sampled every half ` +
      "millisecond. While the main thread waits, DuckDB works in threads of its own, which are not sampled, or the program's other threads do.",
    command: settings.command,
    machine: machine(),
    rounds: settings.rounds,
    entities: settings.entities,
    missing: [...measured.failures].map(([name, why]) => `${name}: ${why}`),
    tables: [
      tableOf("The main thread, seconds", main),
      tableOf("Other threads of the program together, seconds", others),
      costTable(`Floors: a part of the work alone, medians of ${roundsInWords(settings.rounds)}`, measured)
    ],
    bars: [],
    curves: [],
    samples: Object.fromEntries(measured.samples),
    results: []
  }
}

/** Seconds by activity. */
type Profile = ReadonlyMap<string, number>

/** Runs the program under the profiler; the main thread's profile comes first. */
const profilesOf = async (args: ReadonlyArray<string>): Promise<ReadonlyArray<Profile>> => {
  const folder = join(work, "profiles")
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const [node = "", ...command] = mallard(...args)
  const flags = ["--cpu-prof", `--cpu-prof-dir=${folder}`, "--cpu-prof-interval=500"]
  const outcome = await runMeasured([node, ...flags, ...command], { cwd: root })
  if (isFailure(outcome)) fail(`${args[0]} failed: ${outcome.failure}`)
  // CPU.<day>.<time>.<process>.<thread>.<number>.cpuprofile, where the main thread is 0.
  const files = readdirSync(folder).sort((left, right) => threadOf(left) - threadOf(right))
  return files.map((file) => profileIn(join(folder, file)))
}

const threadOf = (file: string): number => Number(file.split(".")[4])

interface CpuProfile {
  readonly nodes: ReadonlyArray<{ readonly id: number; readonly callFrame: CallFrame }>
  readonly samples: ReadonlyArray<number>
  /** Microseconds since the sample before. */
  readonly timeDeltas: ReadonlyArray<number>
}

interface CallFrame {
  readonly functionName: string
  readonly url: string
  readonly lineNumber: number
  readonly columnNumber: number
}

const profileIn = (file: string): Profile => {
  const { nodes, samples, timeDeltas }: CpuProfile = JSON.parse(readFileSync(file, "utf8"))
  const activities = new Map(nodes.map(({ callFrame, id }) => [id, activityOf(placeOf(callFrame))]))
  const seconds = new Map<string, number>()
  samples.forEach((id, at) => {
    const activity = activities.get(id) ?? OTHER
    seconds.set(activity, (seconds.get(activity) ?? 0) + (timeDeltas[at] ?? 0) / 1e6)
  })
  return seconds
}

const activityOf = (place: Place): string => ACTIVITIES.find(([, fits]) => fits(place))?.[0] ?? OTHER

/** Where the program's own code lies; each file has its map beside it. */
const bundle = join(root, "apps", "cli", "dist")

const maps = new Map<string, SourceMap>()

/** The place in the sources, where a frame of the bundle comes from one. */
const placeOf = ({ columnNumber, functionName: name, lineNumber, url }: CallFrame): Place => {
  if (!url.startsWith("file:")) {
    const path = url.replace(/^node:/, "")
    return { name, path, file: path }
  }
  const bundled = fileURLToPath(url)
  // What the bundler adds of its own comes from no source.
  if (!bundled.startsWith(bundle) || !existsSync(`${bundled}.map`))
    return { name, path: bundled, file: basename(bundled) }
  let map = maps.get(bundled)
  if (map === undefined) {
    const payload: SourceMapPayload = JSON.parse(readFileSync(`${bundled}.map`, "utf8"))
    maps.set(bundled, (map = new SourceMap(payload)))
  }
  const entry = map.findEntry(lineNumber, columnNumber)
  const path = "originalSource" in entry ? entry.originalSource : bundled
  return { name, path, file: basename(path) }
}

const COLUMNS = [...ACTIVITIES.map(([activity]) => activity), OTHER]

const cellsOf = (profiles: ReadonlyArray<Profile>): ReadonlyArray<string> => {
  const sums = COLUMNS.map((activity) => profiles.reduce((sum, profile) => sum + (profile.get(activity) ?? 0), 0))
  return [...sums, sums.reduce((sum, seconds) => sum + seconds, 0)].map((seconds) => seconds.toFixed(2))
}

const tableOf = (title: string, rows: ReadonlyArray<ReadonlyArray<string>>): Table => ({
  title,
  columns: ["step", ...COLUMNS, "all"],
  rows
})
