/** Where the benchmarks work, what they measure, and the data they make for it. */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Job } from "./Runner.ts"

export const root = join(import.meta.dirname, "..", "..")

/** Everything the benchmarks write; safe to delete. */
export const work = join(root, ".bench")

const program = join(root, "apps", "cli", "dist", "main.js")

/** A folder from which the DuckDB client resolves. */
export const clientFolder = join(root, "packages", "duckdb-store")

export interface Settings {
  readonly rounds: number
  readonly entities: number
  readonly full: boolean
  readonly quick: boolean
  /** Also load into a database of ten times the size in the suite `import`. */
  readonly growth: boolean
  readonly maxEntities: number | undefined
  readonly maxBytes: number | undefined
  readonly timeoutSeconds: number
  /** What the user typed, to be shown on the pages. */
  readonly command: string
}

export const fail = (message: string): never => {
  console.error(message)
  process.exit(2)
}

/**
 * Bundles the program anew, so that what is measured is what the sources say. Whatever is started from then on finds its
 * compiled code again, as the installed program does, which asks Node for that itself.
 */
export const buildProgram = (): void => {
  mkdirSync(work, { recursive: true })
  process.env["NODE_COMPILE_CACHE"] = join(work, "compiled")
  console.log("building the program")
  const built = spawnSync(process.execPath, ["build.ts"], { cwd: join(root, "apps", "cli"), stdio: "inherit" })
  if (built.status !== 0 || !existsSync(program)) fail("the build failed")
}

/** The command line that runs the built program. */
export const mallard = (...args: ReadonlyArray<string>): ReadonlyArray<string> => [process.execPath, program, ...args]

/** The flags that leave the backup of sources out; none for a program that makes none. */
export const withoutBackup = (): ReadonlyArray<string> => {
  const { stdout } = spawnSync(process.execPath, [program, "migrate", "--help"], { encoding: "utf8" })
  return stdout.includes("--no-backup") ? ["--no-backup"] : []
}

/** The benchmark's own script of that name, or the one that lies beside the repository. */
export const scriptOf = (name: "generate.mjs" | "raw.mjs"): string => {
  const beside = join(root, "..", "shared", "bench", name)
  if (existsSync(beside)) return beside
  return name === "raw.mjs" ? join(import.meta.dirname, "peers", name) : join(import.meta.dirname, name)
}

/** RAW on a folder: DuckDB's own `read_json` into tables, which are dropped before each round. */
export const rawJob = (name: string, data: string): Job => {
  const raw = join(work, "raw.duckdb")
  return {
    name,
    prepare: () => drop(raw),
    commands: [[process.execPath, scriptOf("raw.mjs"), data, raw]],
    // RAW resolves the client from the folder it runs in.
    options: { cwd: clientFolder }
  }
}

/** A folder of generated cohorts, made once and kept: seven kinds, random values, indented by two spaces. */
export const generated = (name: string, files: number, entities: number, seed = 1): string =>
  prepared(`${name}-${files}x${entities}`, (data) => {
    console.log(`generating ${name}: ${files} ${files === 1 ? "file" : "files"}, ${entities} entities`)
    const numbers = ["--files", String(files), "--entities", String(entities), "--seed", String(seed)]
    const { status } = spawnSync(process.execPath, [scriptOf("generate.mjs"), data, ...numbers], { stdio: "inherit" })
    if (status !== 0) fail("the generator failed")
  })

/** A folder of data under a name that says all of its sizes; `make` fills it the first time. */
export const prepared = (name: string, make: (data: string) => void): string => {
  const folder = join(work, name)
  const data = join(folder, "data")
  if (existsSync(join(folder, "complete"))) return data
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(data, { recursive: true })
  make(data)
  writeFileSync(join(folder, "complete"), "")
  return data
}

/** Deletes files or folders, with what lies beside a database: DuckDB's log, and the copies of the sources. */
export const drop = (...files: ReadonlyArray<string>): void => {
  for (const file of files)
    for (const path of [file, `${file}.wal`, `${file}.backups`]) rmSync(path, { force: true, recursive: true })
}

/** The bytes of a file, or of all files under a folder; 0 if there is none. */
export const sizeOf = (path: string): number => {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return 0
  if (!stats.isDirectory()) return stats.size
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0)
}
