/**
 * The suite `peers`: the same files brought into a database by other tools. Only ours checks what it stored, so it is
 * shown without verification, with it, and with the files read a second time by other code.
 */
import { join } from "node:path"
import { preparePython } from "./Python.ts"
import { barsOf, costTable, machine, type Report, type Result, roundsInWords, short } from "./Report.ts"
import { type Job, runRounds } from "./Runner.ts"
import {
  buildProgram,
  clientFolder,
  drop,
  generated,
  mallard,
  root,
  scriptOf,
  type Settings,
  sizeOf,
  withoutBackup,
  work
} from "./Setting.ts"
import { median, ratioOfRounds } from "./Statistics.ts"

export const measurePeers = async (settings: Settings): Promise<Report> => {
  buildProgram()
  const { entities, rounds, timeoutSeconds } = settings
  const python = preparePython()
  const data = generated("many", 50, entities)
  const database = join(work, "peer.db")
  const scratch = join(work, "peer-scratch")
  const bare = withoutBackup()
  const sizes = new Map<string, number>()
  const job = (name: string, cwd: string, ...commands: ReadonlyArray<ReadonlyArray<string>>): Job => ({
    name,
    prepare: () => drop(database, scratch),
    commands,
    after: () => {
      if (name !== BYTES) sizes.set(name, sizeOf(database))
    },
    options: { cwd, timeoutSeconds }
  })
  const peers = (script: string): string => join(import.meta.dirname, "peers", script)
  const node = (script: string, ...args: ReadonlyArray<string>): ReadonlyArray<string> => [
    process.execPath,
    script,
    ...args
  ]
  const migrate = (...flags: ReadonlyArray<string>): ReadonlyArray<string> =>
    mallard("migrate", data, "--db", database, "--quiet", ...flags)
  const { interpreter } = python
  const dlt = (which: string): ReadonlyArray<string> => [
    interpreter ?? "",
    peers("dlt_peer.py"),
    "load",
    which,
    data,
    database,
    scratch
  ]
  const jobs: ReadonlyArray<Job> = [
    job(BYTES, root, node(peers("bytes.mjs"), data)),
    job("RAW: DuckDB read_json, typed by hand", clientFolder, node(scriptOf("raw.mjs"), data, database)),
    job("mallard, not verified", root, migrate("--no-verify", ...bare)),
    job(VERIFIED, root, migrate(...bare)),
    job(
      "mallard, verified against the files too",
      root,
      migrate("--no-verify", ...bare),
      mallard("verify", "--db", database, "--source", data)
    ),
    ...(bare.length > 0 ? [job("mallard, verified, files backed up", root, migrate())] : []),
    job(INSERT, clientFolder, node(peers("insert.mjs"), data, database)),
    ...(interpreter === undefined
      ? []
      : [
          job("sqlite-utils", root, [interpreter, peers("sqlite_utils_peer.py"), "load", data, database]),
          job(DLT_BEST, root, dlt("best")),
          job(DLT_DEFAULTS, root, dlt("defaults"))
        ])
  ]
  const measured = await runRounds(jobs, rounds, root)
  drop(database, scratch)
  const cpu = (name: string): ReadonlyArray<number> =>
    (measured.samples.get(name) ?? []).map(({ cpuSeconds }) => cpuSeconds)
  const results: ReadonlyArray<Result> = [
    { base: DLT_BEST, must: 1 / 3 },
    { base: DLT_DEFAULTS, must: 1 / 10 },
    { base: INSERT, must: 1 / 10 }
  ]
    .filter(({ base }) => measured.samples.has(base) && measured.samples.has(VERIFIED))
    .map(({ base, must }) => ({
      target: `CPU, verified, against ${base}`,
      value: ratioOfRounds(cpu(VERIFIED), cpu(base)),
      must: Math.round(must * 1000) / 1000,
      stretch: Math.round((must / 2) * 1000) / 1000,
      unit: "of its CPU seconds"
    }))
  const times = [...measured.samples].map(([name, list]) => {
    const against = (of: (sample: (typeof list)[number]) => number): string =>
      `${short(ratioOfRounds(list.map(of), (measured.samples.get(VERIFIED) ?? []).map(of)))} x`
    return [
      name,
      against(({ seconds }) => seconds),
      against(({ cpuSeconds }) => cpuSeconds),
      short(entities / median(list.map(({ seconds }) => seconds)))
    ]
  })
  return {
    suite: "peers",
    title: "Beside other tools",
    about:
      `The same ${entities} entities in 50 files (${short(sizeOf(data) / 1e6)} MB), brought into a database by each tool in a process ` +
      "of its own. Only Mallard checks what it stored: it is shown without that, with it (every document rendered from its rows and " +
      "compared by SHA-256, every row, link and derived column checked), and with the files read again by other code as well. " +
      `Versions: ${python.versions.join(", ") || "no Python tools"}.`,
    command: settings.command,
    machine: machine(),
    rounds,
    entities,
    missing: [...python.missing, ...[...measured.failures].map(([name, why]) => `${name}: ${why}`)],
    tables: [
      costTable(`Costs, medians of ${roundsInWords(rounds)}`, measured, sizes),
      {
        title: `Against "${VERIFIED}" (1 x is the same, 3 x takes three times as long)`,
        columns: ["job", "wall", "CPU", "entities a second"],
        rows: times
      }
    ],
    bars: [
      barsOf("Processor time", "seconds", measured.samples, ({ cpuSeconds }) => cpuSeconds),
      barsOf("Wall time", "seconds", measured.samples, ({ seconds }) => seconds),
      barsOf("Peak memory", "GB", measured.samples, ({ peakBytes }) => peakBytes / 1e9),
      {
        title: "Database",
        unit: "MB",
        bars: [...sizes].map(([label, bytes]) => ({ label, value: bytes / 1e6, low: bytes / 1e6, high: bytes / 1e6 }))
      }
    ],
    curves: [],
    samples: Object.fromEntries(measured.samples),
    results
  }
}

const BYTES = "reading the bytes, nothing else"
const VERIFIED = "mallard, verified"
const INSERT = "JSON.parse, one INSERT per entity"
const DLT_BEST = "dlt, settings that keep most"
const DLT_DEFAULTS = "dlt, defaults"
