/** A Python environment with the tools that are measured for comparison, kept in the folder of the benchmarks. */
import { spawnSync } from "node:child_process"
import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { work } from "./Setting.ts"

export interface Python {
  /** The interpreter, or undefined with the reason in `missing`. */
  readonly interpreter: string | undefined
  /** Such as "dlt 1.31.0". */
  readonly versions: ReadonlyArray<string>
  readonly missing: ReadonlyArray<string>
}

/** Installs the tools on first use. What cannot be installed is named; nothing here throws. */
export const preparePython = (): Python => {
  const folder = join(work, "venv")
  const interpreter = join(folder, process.platform === "win32" ? "Scripts/python.exe" : "bin/python")
  const complete = join(folder, "mallard-bench-complete")
  const steps: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
    [process.platform === "win32" ? "python" : "python3", ["-m", "venv", folder]],
    [interpreter, ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", ...PACKAGES]]
  ]
  if (!existsSync(complete)) {
    console.log(`installing ${PACKAGES.join(", ")} into ${folder}`)
    for (const [program, args] of steps) {
      const { error, status, stderr } = spawnSync(program, args, { encoding: "utf8", timeout: 900_000 })
      if (status !== 0) {
        const why = error?.message ?? lastLineOf(stderr)
        const step = [program, ...args].join(" ").replaceAll(folder, ".bench/venv")
        return {
          interpreter: undefined,
          versions: [],
          missing: [`${PACKAGES.join(" and ")}: "${step}" failed: ${why}`]
        }
      }
    }
    writeFileSync(complete, "")
  }
  const script = `from importlib.metadata import version\nimport platform\nprint("Python", platform.python_version())\nfor name in ("sqlite-utils", "dlt", "duckdb"): print(name, version(name))`
  const { stdout } = spawnSync(interpreter, ["-c", script], { encoding: "utf8" })
  return { interpreter, versions: stdout.trim().split("\n"), missing: [] }
}

const PACKAGES = ["sqlite-utils", "dlt[duckdb]"]

const lastLineOf = (text: string): string => text.trim().split("\n").at(-1) ?? ""
