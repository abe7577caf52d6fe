/**
 * The suite `fidelity`: small files with one trap each go through every tool and back to JSON, the way a user of that tool
 * would do it, and are compared with the source.
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { type Fidelity, fidelityOf } from "./Comparison.ts"
import { preparePython } from "./Python.ts"
import { machine, type Report } from "./Report.ts"
import { buildProgram, clientFolder, drop, fail, mallard, root, type Settings, withoutBackup, work } from "./Setting.ts"
import { traps } from "./Traps.ts"

/** What a tool gave for one file: texts of which the best counts, or what it said. */
interface Returned {
  readonly file: string
  readonly texts?: ReadonlyArray<string>
  readonly error?: string
}

interface Tool {
  readonly name: string
  readonly run: (files: ReadonlyArray<string>) => ReadonlyArray<Returned>
}

export const measureFidelity = async (settings: Settings): Promise<Report> => {
  buildProgram()
  const python = preparePython()
  const folder = join(work, "fidelity")
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const { invalid, valid } = writeFiles(join(folder, "files"))
  const missing = [...python.missing]
  const counts: Array<ReadonlyArray<string>> = []
  const outcomes = new Map<string, ReadonlyMap<string, Fidelity>>()
  for (const { name, run } of toolsOf(folder, python.interpreter)) {
    console.log(name)
    const returned = new Map(run([...valid, ...invalid]).map((one) => [one.file, one]))
    const of = (file: string): Fidelity => {
      const { error, texts } = returned.get(file) ?? { error: "nothing was returned" }
      return texts === undefined || error !== undefined ? "error" : judged(file, texts)
    }
    const found = new Map(valid.map((file) => [basename(file), of(file)]))
    outcomes.set(name, found)
    const count = (fidelity: Fidelity): string => String([...found.values()].filter((one) => one === fidelity).length)
    const refused = invalid.filter((file) => returned.get(file)?.texts === undefined).length
    counts.push([
      name,
      count("exact"),
      count("equal"),
      count("lost"),
      count("error"),
      `${refused} of ${invalid.length}`
    ])
  }
  const names = [...outcomes.keys()]
  return {
    suite: "fidelity",
    title: "What comes back",
    about:
      `${valid.length} small valid files with one trap each (a number spelt 425.00, a key that is there twice, null beside missing, …) ` +
      "go into a database and back to JSON, in the way a user of each tool would do it. exact: the same compact text, so the same keys " +
      "in the same order and every number spelt as it was. equal: a program that reads both with JSON.parse sees no difference. lost: " +
      "accepted without a word, and something else came back. error: the tool said that it could not. Where a table cannot say whether a key " +
      "was null or missing, both readings were tried and the better one counts for the tool.",
    command: settings.command,
    machine: machine(),
    rounds: 1,
    entities: 0,
    missing,
    tables: [
      {
        title: `Of ${valid.length} valid files`,
        columns: ["tool", "exact", "equal", "silent loss", "loud error", "invalid files refused"],
        rows: counts
      },
      {
        title: "File by file",
        columns: ["file", ...names],
        rows: valid.map((file) => [
          basename(file, ".json"),
          ...names.map((name) => outcomes.get(name)?.get(basename(file)) ?? "")
        ])
      }
    ],
    bars: [
      {
        title: "Files that come back exact or equal",
        unit: `of ${valid.length}`,
        bars: counts.map(([label = "", exact, equal]) => {
          const value = Number(exact) + Number(equal)
          return { label, value, low: value, high: value }
        })
      }
    ],
    curves: [],
    samples: {},
    results: [
      {
        target: "valid files that mallard does not give back exactly",
        value: [...(outcomes.get("mallard")?.values() ?? [])].filter((fidelity) => fidelity !== "exact").length,
        must: 0,
        stretch: 0,
        unit: `of ${valid.length}`
      }
    ]
  }
}

const judged = (file: string, texts: ReadonlyArray<string>): Fidelity => fidelityOf(readFileSync(file, "utf8"), texts)

/** Writes the traps of this benchmark, and those that lie beside the repository, one file each. */
const writeFiles = (
  folder: string
): { readonly valid: ReadonlyArray<string>; readonly invalid: ReadonlyArray<string> } => {
  const beside = join(root, "..", "shared", "cases", "edge")
  const files = new Map<string, Uint8Array>(traps.map(({ name, text }) => [`${name}.json`, Buffer.from(text)]))
  if (existsSync(beside)) for (const name of readdirSync(beside)) files.set(name, readFileSync(join(beside, name)))
  const invalid = new Map<string, Uint8Array>([
    ["truncated.json", Buffer.from('{"name":"c","entities":{"patient":[{"id":"1"')],
    ["empty-file.json", Buffer.alloc(0)],
    ["not-utf-8.json", Buffer.from('{"name":"caf\u00e9","entities":{}}', "latin1")]
  ])
  for (const name of ["trunc.json", "zero.json"]) {
    const bytes = files.get(name)
    if (bytes !== undefined) invalid.set(name, bytes)
    files.delete(name)
  }
  mkdirSync(folder, { recursive: true })
  const write = (all: ReadonlyMap<string, Uint8Array>): ReadonlyArray<string> =>
    [...all].map(([name, bytes]) => {
      writeFileSync(join(folder, name), bytes)
      return join(folder, name)
    })
  return { valid: write(files), invalid: write(invalid) }
}

/** Stands in a command for the file that a script writes what it brought back to; kept, so that a verdict can be looked into. */
const OUT = "<out>"

const toolsOf = (folder: string, python: string | undefined): ReadonlyArray<Tool> => {
  const peers = join(import.meta.dirname, "peers")
  const list = join(folder, "list.json")
  const scripted = (name: string, cwd: string, ...command: ReadonlyArray<string>): Tool => ({
    name,
    run: (files) => {
      const out = join(folder, `${name.replaceAll(/[^a-zA-Z]+/g, "-")}.ndjson`)
      writeFileSync(list, JSON.stringify(files))
      rmSync(out, { force: true })
      const [program = "", ...args] = command.map((word) => (word === OUT ? out : word))
      const { status, stderr } = spawnSync(program, args, { cwd, encoding: "utf8" })
      if (status !== 0) fail(`${name} ended with ${status}:\n${stderr}`)
      return readFileSync(out, "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
    }
  })
  const duckdb = (name: string, way: string): Tool =>
    scripted(name, clientFolder, process.execPath, join(peers, "duckdb-fidelity.mjs"), way, list, OUT)
  const scratch = join(folder, "scratch")
  const bare = withoutBackup()
  return [
    { name: "mallard", run: (files) => files.map((file) => throughMallard(file, folder, bare)) },
    duckdb("DuckDB read_json", "read_json"),
    duckdb("DuckDB read_json_objects (text kept whole)", "read_json_objects"),
    duckdb("JSON.parse, one INSERT per entity", "insert"),
    ...(python === undefined
      ? []
      : [
          scripted("sqlite-utils", root, python, join(peers, "sqlite_utils_peer.py"), "fidelity", list, OUT, scratch),
          scripted(
            "dlt, settings that keep most",
            root,
            python,
            join(peers, "dlt_peer.py"),
            "fidelity",
            "best",
            list,
            OUT,
            scratch
          ),
          scripted(
            "dlt, defaults",
            root,
            python,
            join(peers, "dlt_peer.py"),
            "fidelity",
            "defaults",
            list,
            OUT,
            scratch
          )
        ])
  ]
}

const throughMallard = (file: string, folder: string, bare: ReadonlyArray<string>): Returned => {
  const database = join(folder, "ours.duckdb")
  const exported = join(folder, "exported")
  drop(database, exported)
  const run = ([first = "", ...rest]: ReadonlyArray<string>): string | undefined => {
    const { status, stderr, stdout } = spawnSync(first, rest, { encoding: "utf8" })
    return status === 0 ? undefined : `ended with ${status}: ${stdout}${stderr}`
  }
  const error =
    run(mallard("migrate", file, "--db", database, "--quiet", ...bare)) ??
    run(mallard("export", "--all", "--compact", "--db", database, "--out", exported))
  if (error !== undefined) return { file, error }
  const [name = ""] = readdirSync(exported)
  return { file, texts: [readFileSync(join(exported, name), "utf8")] }
}
