/** The suite `memory`: awkward inputs under a limit of memory that the system enforces. */
import { join } from "node:path"
import {
  type Crowd,
  writeBytes,
  writeCrowd,
  writeDeep,
  writeFiles,
  writeForeign,
  writeHuge,
  writeLines,
  writeShapes,
  writeWide
} from "./Inputs.ts"
import { limitOf } from "./Limit.ts"
import { machine, megabytes, type Report, type Result } from "./Report.ts"
import { isFailure, runMeasured, type Sample } from "./Runner.ts"
import { buildProgram, drop, mallard, prepared, root, type Settings, sizeOf, withoutBackup, work } from "./Setting.ts"

/** The bound that is promised for files of any size, in bytes. */
const BOUND = 1_200_000_000

export const measureMemory = async (settings: Settings): Promise<Report> => {
  buildProgram()
  const bare = withoutBackup()
  const database = join(work, "memory.duckdb")
  const exported = join(work, "memory-export")
  const limit = limitOf(BOUND)
  const rows: Array<ReadonlyArray<string>> = []
  const samples = new Map<string, ReadonlyArray<Sample>>()
  const missing: Array<string> = []
  let peak = 0
  try {
    for (const { data, name } of inputsOf(settings)) {
      console.log(name)
      drop(database, exported)
      const steps: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
        ["migrate", mallard("migrate", data, "--db", database, "--quiet", ...bare)],
        ["verify --source", mallard("verify", "--db", database, "--source", data)],
        ["export", mallard("export", "--all", "--db", database, "--out", exported)]
      ]
      for (const [step, command] of steps) {
        const { timeoutSeconds } = settings
        const outcome = await runMeasured(command, { cwd: root, timeoutSeconds, ...limit.options })
        if (isFailure(outcome)) {
          missing.push(`${name}, ${step}: ${outcome.failure}`)
          rows.push([
            name,
            step,
            megabytes(sizeOf(data)),
            "",
            "",
            "",
            outcome.outOfMemory ? "OVER THE BOUND" : "failed"
          ])
          if (step === "migrate") break
          continue
        }
        peak = Math.max(peak, outcome.peakBytes)
        samples.set(`${name}, ${step}`, [outcome])
        rows.push([
          name,
          step,
          megabytes(sizeOf(data)),
          outcome.seconds.toFixed(2),
          outcome.cpuSeconds.toFixed(2),
          megabytes(outcome.peakBytes),
          outcome.peakBytes <= BOUND ? "within" : "OVER THE BOUND"
        ])
      }
    }
  } finally {
    limit.release()
    drop(database, exported)
  }
  const over = rows.filter((row) => row.at(-1) !== "within").length
  const results: ReadonlyArray<Result> = [
    { target: "highest peak", value: peak / 1e9, must: BOUND / 1e9, stretch: 0.6, unit: "GB" },
    { target: "steps over the bound or failed", value: over, must: 0, stretch: 0, unit: `of ${rows.length}` }
  ]
  return {
    suite: "memory",
    title: "How much memory it takes",
    about:
      `Migrating with verification, verifying against the files, and exporting inputs that are hard on memory, each step in a process ` +
      `of its own held to ${megabytes(BOUND)}. Enforced by: ${limit.how}.`,
    command: settings.command,
    machine: machine(),
    rounds: 1,
    entities: 0,
    missing,
    tables: [
      {
        title: `Peaks under ${megabytes(BOUND)}`,
        columns: ["input", "step", "JSON", "wall s", "CPU s", "peak", "verdict"],
        rows
      }
    ],
    bars: [
      {
        title: "Peak memory",
        unit: "GB",
        bars: [...samples].map(([label, [sample]]) => {
          const value = (sample?.peakBytes ?? 0) / 1e9
          return { label, value, low: value, high: value }
        })
      }
    ],
    curves: [],
    samples: Object.fromEntries(samples),
    results
  }
}

interface Input {
  readonly name: string
  readonly data: string
}

/** The awkward inputs, smaller in the same proportion for `--quick` and `--max-bytes`. */
const inputsOf = ({ full, maxBytes, maxEntities, quick }: Settings): ReadonlyArray<Input> => {
  const bytes = maxBytes ?? (full ? 2_000_000_000 : quick ? 32_000_000 : 280_000_000)
  const count = (promised: number): number => Math.min(promised, maxEntities ?? (quick ? promised / 10 : promised))
  const huge = Math.min(60 * 1024 * 1024, bytes)
  const [files, shapes] = [count(20_000), count(50_000)]
  const input = (name: string, key: string, make: (folder: string) => void): Input => ({
    name,
    data: prepared(`memory-${key}`, make)
  })
  return [
    input(`one file of ${megabytes(bytes)}`, `bytes-${bytes}`, (folder) => writeBytes(folder, bytes)),
    input(`one entity of ${megabytes(huge)}`, `list-${huge}`, (folder) => writeHuge(folder, huge, "list")),
    input(`one text of ${megabytes(huge)}`, `text-${huge}`, (folder) => writeHuge(folder, huge, "text")),
    ...CROWDS.map(([crowd, name]) =>
      input(`${megabytes(huge)} of ${name}`, `${crowd}-${huge}`, (folder) => writeCrowd(folder, huge, crowd))
    ),
    input(`${megabytes(huge)} of lines that are cohorts`, `lines-${huge}`, (folder) => writeLines(folder, huge)),
    input("nested 9,980 levels", "deep", (folder) => writeDeep(folder, 9980)),
    input(`${files} files`, `files-${files}`, (folder) => writeFiles(folder, files)),
    input(`${shapes} shapes`, `shapes-${shapes}`, (folder) => writeShapes(folder, shapes, shapes)),
    input("200 entities of 5,000 keys", "wide", (folder) => writeWide(folder, 200, 5000)),
    input(`${megabytes(bytes / 4)} of no known form`, `foreign-${bytes}`, (folder) => writeForeign(folder, bytes / 4))
  ]
}

const CROWDS: ReadonlyArray<readonly [Crowd, string]> = [
  ["entity", "tiny members of one entity"],
  ["address", "tiny members inside one entity"],
  ["wrapper", "tiny members of one wrapper"],
  ["repeated", "one member again and again"],
  ["contested", "members that want one column"],
  ["list", "tiny objects in one entity"],
  ["nested", "nested entities under one key"],
  ["collection", "lists of nested entities under one key again and again"],
  ["document", "tiny members of a document"],
  ["container", "tiny members beside a list of entities"],
  ["again", "lists of one entity each"]
]
