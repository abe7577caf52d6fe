/** The suite `growth`: one thing grows at a time, and the cost of a verified migration is measured at each size. */
import { copyFileSync } from "node:fs"
import { join } from "node:path"
import { patient, writeBytes, writeCohort, writeEntities, writeFiles, writeShapes, writeWide } from "./Inputs.ts"
import { type Curves, machine, megabytes, type Report, type Result, short, type Table } from "./Report.ts"
import { isFailure, type Job, runMeasured, runRounds, type Sample } from "./Runner.ts"
import {
  buildProgram,
  drop,
  fail,
  mallard,
  prepared,
  root,
  type Settings,
  sizeOf,
  withoutBackup,
  work
} from "./Setting.ts"
import { median, powerFit, type Point, withoutBase } from "./Statistics.ts"

interface Curve {
  readonly name: string
  /** What grows, in words. */
  readonly x: string
  /** Costs should grow with the bytes read, or stay as they are. */
  readonly expected: "in step with the bytes" | "flat"
  readonly must: number
  readonly stretch: number
  readonly sizes: ReadonlyArray<number>
  /** The folder to migrate at that size. */
  readonly dataOf: (size: number) => string
  /** A database to start from. */
  readonly databaseOf?: (size: number) => string | undefined
}

interface Measured {
  readonly size: number
  readonly bytes: number
  readonly samples: ReadonlyArray<Sample>
}

export const measureGrowth = async (settings: Settings): Promise<Report> => {
  buildProgram()
  const bare = withoutBackup()
  const flags = ["--quiet", ...bare]
  const samples = new Map<string, ReadonlyArray<Sample>>()
  const missing: Array<string> = []
  const tables: Array<Table> = []
  const curves: Array<Curves> = []
  const results: Array<Result> = []
  const database = join(work, "grown.duckdb")

  const base = await measureBase(flags, database)
  for (const curve of await curvesOf(settings, flags)) {
    console.log(`${curve.name}: ${curve.sizes.join(", ")}`)
    const nameOf = (size: number): string => `${curve.name} ${size}`
    const jobs = curve.sizes.map((size): Job => {
      const data = curve.dataOf(size)
      const start = curve.databaseOf?.(size)
      return {
        name: nameOf(size),
        prepare: () => {
          drop(database)
          if (start !== undefined) copyFileSync(start, database)
        },
        commands: [mallard("migrate", data, "--db", database, ...flags)],
        options: { timeoutSeconds: settings.timeoutSeconds }
      }
    })
    const measured = await runRounds(jobs, settings.rounds, root)
    for (const [name, why] of measured.failures) missing.push(`${name}: ${why}`)
    for (const [name, list] of measured.samples) samples.set(name, list)
    const points = curve.sizes.flatMap((size): ReadonlyArray<Measured> => {
      const list = measured.samples.get(nameOf(size))
      return list === undefined ? [] : [{ size, bytes: sizeOf(curve.dataOf(size)), samples: list }]
    })
    tables.push(tableOf(curve, points, base))
    curves.push(curvesFor(curve.name, curve.x, points))
    const result = resultOf(curve, points, base)
    if (result !== undefined) results.push(result)
  }
  const { aged, history } = await measureHistory(settings, flags, database)
  for (const [index, { samples: list, size }] of history.entries()) samples.set(`history ${size} (${index})`, list)
  for (const [age, list] of Object.entries(aged)) samples.set(`history, ${age} database`, list)
  if (history.length > 1) {
    const shown = history.filter(({ size }) => [1, 2, 5].some((digit) => Math.log10(size / digit) % 1 === 0))
    tables.push({
      title: "Revisions of one cohort: the cost of the next",
      note:
        "One entity of 200 changes from one revision to the next. For the target the same revision is then saved by turns into the " +
        `database as it was after ${YOUNG} and as it is after all of them.`,
      columns: COLUMNS.map((column) => (column === "size" ? "revision" : column)),
      rows: shown.map(rowOf)
    })
    curves.push(curvesFor("Revisions of one cohort: the cost of the next", "revision", history))
    results.push({
      target: `history: CPU of a revision after ${history.length} against after ${YOUNG}`,
      value: medianCpu(aged.old) / medianCpu(aged.young),
      must: 1.3,
      stretch: 1.1,
      unit: "times"
    })
  }
  drop(database)
  const peak = Math.max(...[...samples.values()].flatMap((list) => list.map(({ peakBytes }) => peakBytes)))
  results.push({ target: "peak memory of any point", value: peak / 1e9, must: 1.2, stretch: 0.6, unit: "GB" })
  return {
    suite: "growth",
    title: "How costs grow",
    about:
      "One thing grows at a time: entities, bytes of one file, files, distinct shapes, keys of an entity, revisions of a cohort, and the " +
      `database that is loaded into. Measured is \`migrate\` with verification. What a migration of one entity costs (${base.toFixed(2)} s ` +
      "of processor time, mostly the start of the program) is taken off before the line is fitted. A power of 1 means that twice the bytes " +
      "cost twice the time, 2 that they cost four times as much. The deviation is the largest factor between a point and the line.",
    command: settings.command,
    machine: machine(),
    rounds: settings.rounds,
    entities: settings.entities,
    missing,
    tables,
    bars: [],
    curves,
    samples: Object.fromEntries(samples),
    results
  }
}

const curvesOf = async (settings: Settings, flags: ReadonlyArray<string>): Promise<ReadonlyArray<Curve>> => {
  const { full } = settings
  const maxEntities = settings.maxEntities ?? (full ? 10_000_000 : 100_000)
  const maxBytes = settings.maxBytes ?? (full ? 2_000_000_000 : 64_000_000)
  const upTo = (max: number, ...sizes: ReadonlyArray<number>): ReadonlyArray<number> => {
    const kept = sizes.filter((size) => size < max)
    return max <= (sizes.at(-1) ?? 0) ? [...kept, max] : kept
  }
  const shaped = Math.min(full ? 100_000 : 20_000, maxEntities)
  const wide = Math.min(full ? 20_000 : 2000, maxEntities)
  const batch = Math.min(full ? 500_000 : 20_000, maxEntities)
  const largest = full ? 10 : 5
  const linear = { expected: "in step with the bytes", must: 1.1, stretch: 1.03 } as const
  const grownFile = await grownDatabases(batch, largest, flags)
  return [
    {
      ...linear,
      name: "Entities",
      x: "entities",
      sizes: upTo(maxEntities, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7),
      dataOf: (size) => prepared(`grow-entities-${size}`, (folder) => writeEntities(folder, size))
    },
    {
      ...linear,
      name: "Size of one file",
      x: "bytes",
      sizes: upTo(maxBytes, 1e3, 1e4, 1e5, 1e6, 1e7, 3e7, 6.4e7, 2.5e8, 1e9, 2e9),
      dataOf: (size) => prepared(`grow-bytes-${size}`, (folder) => writeBytes(folder, size))
    },
    {
      ...linear,
      name: "Files",
      x: "files of two entities",
      sizes: upTo(Math.min(full ? 100_000 : 10_000, maxEntities), 1, 10, 100, 1e3, 3e3, 1e4, 3e4, 1e5),
      dataOf: (size) => prepared(`grow-files-${size}`, (folder) => writeFiles(folder, size))
    },
    {
      name: `Distinct shapes of ${shaped} entities`,
      x: "shapes",
      expected: "flat",
      must: 3,
      stretch: 1.5,
      sizes: upTo(Math.min(full ? 50_000 : 10_000, shaped), 1, 10, 100, 1e3, 1e4, 5e4),
      dataOf: (size) => prepared(`grow-shapes-${shaped}-${size}`, (folder) => writeShapes(folder, shaped, size))
    },
    {
      ...linear,
      name: `Keys of each of ${wide} entities`,
      x: "keys",
      sizes: [5, 16, 50, 100, 200, 500],
      dataOf: (size) => prepared(`grow-wide-${wide}-${size}`, (folder) => writeWide(folder, wide, size))
    },
    {
      name: `${batch} new entities into a database`,
      x: "entities in the database before",
      expected: "flat",
      must: 1.3,
      stretch: 1.1,
      sizes: [0, 1, 2, 5, 10].filter((times) => times <= largest).map((times) => times * batch),
      dataOf: () => freshBatch(batch),
      databaseOf: grownFile
    }
  ]
}

const COLUMNS = ["size", "bytes", "wall s", "CPU s", "peak", "MB a second of CPU"]

const medianCpu = (samples: ReadonlyArray<Sample>): number => median(samples.map(({ cpuSeconds }) => cpuSeconds))

const cpu = ({ samples }: Measured): number => medianCpu(samples)

const rowOf = (point: Measured): ReadonlyArray<string> => [
  String(point.size),
  megabytes(point.bytes),
  median(point.samples.map(({ seconds }) => seconds)).toFixed(2),
  cpu(point).toFixed(2),
  megabytes(median(point.samples.map(({ peakBytes }) => peakBytes))),
  short(point.bytes / 1e6 / cpu(point))
]

const byBytes = (points: ReadonlyArray<Measured>): ReadonlyArray<Point> =>
  points.map((point) => ({ x: point.bytes, y: cpu(point) }))

const tableOf = (curve: Curve, points: ReadonlyArray<Measured>, base: number): Table => {
  const fit = curve.expected === "flat" ? undefined : powerFit(withoutBase(byBytes(points), base))
  const found =
    fit === undefined
      ? ""
      : ` Fitted: bytes to the power of ${fit.slope.toFixed(2)}, deviation at most ${fit.deviation.toFixed(2)} times, ${fit.points} points.`
  return {
    title: curve.name,
    note: `Expected: ${curve.expected}.${found}`,
    columns: COLUMNS.map((column) => (column === "size" ? curve.x : column)),
    rows: points.map(rowOf)
  }
}

const resultOf = (curve: Curve, points: ReadonlyArray<Measured>, base: number): Result | undefined => {
  const { must, name, stretch } = curve
  const [first, last] = [points[0], points.at(-1)]
  if (first === undefined || last === undefined || first === last) return undefined
  if (curve.expected === "flat") {
    const value = cpu(last) / cpu(first)
    return { target: `${name}: CPU at ${last.size} against ${first.size}`, value, must, stretch, unit: "times" }
  }
  const fit = powerFit(withoutBase(byBytes(points), base))
  if (fit === undefined) return undefined
  return { target: `${name}: power of growth in bytes`, value: fit.slope, must, stretch, unit: "power" }
}

const curvesFor = (title: string, x: string, points: ReadonlyArray<Measured>): Curves => {
  const line = (label: string, of: (sample: Sample) => number): Curves["lines"][number] => ({
    label,
    // A logarithmic axis has no zero: an empty start is drawn at one.
    points: points.map(({ samples, size }) => ({ x: Math.max(1, size), y: median(samples.map(of)) }))
  })
  return {
    title,
    x,
    y: "seconds; GB",
    lines: [
      line("wall seconds", ({ seconds }) => seconds),
      line("CPU seconds", ({ cpuSeconds }) => cpuSeconds),
      line("peak memory, GB", ({ peakBytes }) => peakBytes / 1e9)
    ]
  }
}

/** Processor seconds of a migration of one entity. */
const measureBase = async (flags: ReadonlyArray<string>, database: string): Promise<number> => {
  const data = prepared("grow-base", (folder) => writeEntities(folder, 1))
  const job = (round: number): Job => ({
    name: `base ${round}`,
    prepare: () => drop(database),
    commands: [mallard("migrate", data, "--db", database, ...flags)]
  })
  const { failures, samples } = await runRounds([job(1), job(2), job(3)], 1, root)
  for (const [name, why] of failures) fail(`${name}: ${why}`)
  return median([...samples.values()].flatMap((list) => list.map(({ cpuSeconds }) => cpuSeconds)))
}

const freshBatch = (batch: number): string =>
  prepared(`grow-fresh-${batch}`, (folder) => writeEntities(folder, batch, 500_000_000))

/** Databases that hold one to `largest` times the batch, each made from the one before. */
const grownDatabases = async (
  batch: number,
  largest: number,
  flags: ReadonlyArray<string>
): Promise<(size: number) => string | undefined> => {
  const growing = join(work, "growing.duckdb")
  const fileOf = (size: number): string => join(work, `grown-${batch}-${size}.duckdb`)
  drop(growing)
  for (let times = 1; times <= largest; times++) {
    const data = prepared(`grow-batch-${batch}-${times}`, (folder) => writeEntities(folder, batch, times * batch))
    const loading = mallard("migrate", data, "--db", growing, "--no-verify", ...flags)
    const outcome = await runMeasured(loading, { cwd: root })
    if (isFailure(outcome)) fail(`${loading.join(" ")} ${outcome.failure}`)
    if ([1, 2, 5, 10].includes(times)) copyFileSync(growing, fileOf(times * batch))
  }
  drop(growing)
  return (size) => (size === 0 ? undefined : fileOf(size))
}

/** Revisions in a database that counts as young. */
const YOUNG = 5
/** How often young and old take turns. */
const TURNS = 15

interface History {
  readonly history: ReadonlyArray<Measured>
  /** The same save into the database as it was after few revisions, and as it is after all. */
  readonly aged: Readonly<Record<"young" | "old", ReadonlyArray<Sample>>>
}

/** Saves one cohort again and again, one of its entities changed each time, and measures each save. */
const measureHistory = async (settings: Settings, flags: ReadonlyArray<string>, database: string): Promise<History> => {
  const revisions = Math.min(settings.full ? 1000 : 30, Math.ceil((settings.maxEntities ?? 1e9) / 200))
  const folder = prepared("grow-history", () => {})
  const file = join(folder, "cohort.json")
  const measured: Array<Measured> = []
  drop(database)
  console.log(`history: ${revisions} revisions`)
  const save = async (revision: number): Promise<Measured> => {
    const changed = revision % 200
    const bytes = writeCohort(file, "history", (index) =>
      index < 200 ? patient(index === changed ? 1000 + revision : index) : undefined
    )
    const saving = mallard("migrate", file, "--db", database, "--on-conflict", "replace", ...flags)
    const outcome = await runMeasured(saving, { cwd: root })
    if (isFailure(outcome)) return fail(`revision ${revision}: ${outcome.failure}`)
    return { size: revision, bytes, samples: [outcome] }
  }
  const fileOf = (age: string): string => join(work, `history-${age}.duckdb`)
  for (let revision = 1; revision <= revisions; revision++) {
    measured.push(await save(revision))
    if (revision === Math.min(YOUNG, revisions)) copyFileSync(database, fileOf("young"))
  }
  copyFileSync(database, fileOf("old"))
  const aged = { young: [] as Array<Sample>, old: [] as Array<Sample> }
  for (let turn = 1; turn <= TURNS; turn++) {
    for (const age of ["young", "old"] as const) {
      drop(database)
      copyFileSync(fileOf(age), database)
      aged[age].push(...(await save(revisions + turn)).samples)
    }
  }
  return { history: measured, aged }
}
