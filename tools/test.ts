/**
 * Runs every check and every test, each check as one line, and ends with the sum: `N passed, N failed`.
 *
 *     pnpm test [--only <check>] [--verbose]
 *
 * A check that has nothing to look at fails: a package without tests, a library whose README shows no program.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs"
import { join, relative } from "node:path"
import { failUsage, readArguments } from "./lib/arguments.ts"
import { cacheFolder, root, run } from "./lib/run.ts"
import { apps, libraries } from "./lib/workspace.ts"

interface Result {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** Stands behind the line: what the check looked at. */
  readonly note: string
  readonly output: string
}

/** A command that passes with exit code 0; its last line says what it looked at. */
const command =
  (program: string, ...args: ReadonlyArray<string>) =>
  async (): Promise<Result> => {
    const { exitCode, output } = await run(program, args)
    const isGood = exitCode === 0
    const note = program === "node" && isGood ? (output.trim().split("\n").at(-1) ?? "") : ""
    return { passed: isGood ? 1 : 0, failed: isGood ? 0 : 1, skipped: 0, note, output }
  }

/** The part of vitest's JSON report that is used here. */
interface TestReport {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly status: string
    readonly assertionResults: ReadonlyArray<{ readonly status: string }>
  }>
}

/** The tests take minutes; a machine that is busy with other work may need many times that. */
const LONGEST_SECONDS = 3600

const tests = async (): Promise<Result> => {
  const reportFile = join(cacheFolder, "tests.json")
  mkdirSync(cacheFolder, { recursive: true })
  rmSync(reportFile, { force: true })
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${reportFile}`]
  const { exitCode, output } = await run("vitest", ["run", ...reporters], { timeoutSeconds: LONGEST_SECONDS })
  if (!existsSync(reportFile)) {
    return { passed: 0, failed: 1, skipped: 0, note: "", output: `${output}\nvitest wrote no report` }
  }
  const report: TestReport = JSON.parse(readFileSync(reportFile, "utf8"))
  const files = report.testResults.map((file) => ({ ...file, name: relative(root, file.name) }))
  // Failures that no test stands for.
  const problems = files
    .filter(
      ({ status, assertionResults }) =>
        status === "failed" && !assertionResults.some((test) => test.status === "failed")
    )
    .map(({ name }) => `${name}: failed outside of its tests`)
  for (const folder of [...libraries, ...apps, { path: join(root, "tools") }].map(({ path }) => relative(root, path))) {
    if (!files.some(({ name }) => name.startsWith(`${folder}/`))) problems.push(`${folder}: no tests`)
  }
  if (exitCode !== 0 && report.numFailedTests === 0 && problems.length === 0) {
    problems.push("vitest failed outside of any test")
  }
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + problems.length,
    skipped: report.numPendingTests + report.numTodoTests,
    note: `${report.numPassedTests} tests in ${files.length} files`,
    output: [output, ...problems].join("\n")
  }
}

const checks: Readonly<Record<string, () => Promise<Result>>> = {
  format: command("oxfmt", "--check"),
  lint: command("oxlint", "--deny-warnings"),
  types: command("node", "tools/types-check.ts"),
  unused: command("knip", "--no-progress", "--no-config-hints"),
  boundaries: command("turbo", "boundaries"),
  docs: command("node", "tools/docs-check.ts"),
  tests,
  packages: command("node", "tools/packages-check.ts")
}

const { values } = readArguments({
  options: { only: { type: "string", multiple: true }, verbose: { type: "boolean", default: false } }
})
const unknown = values.only?.filter((name) => checks[name] === undefined) ?? []
if (unknown.length > 0) {
  failUsage(`no check is called ${unknown.join(", ")}; there are ${Object.keys(checks).join(", ")}`)
}

if (!existsSync(join(root, "..", "shared"))) {
  console.log("../shared is missing: the tests that read it are skipped")
}
const sum = { passed: 0, failed: 0, skipped: 0 }
for (const [name, check] of Object.entries(checks)) {
  if (values.only !== undefined && !values.only.includes(name)) continue
  const start = performance.now()
  const result = await check()
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  const note = result.note === "" ? "" : `  (${result.note})`
  console.log(`${name.padEnd(10)} ${seconds.padStart(6)} s  ${result.failed === 0 ? "ok" : "FAILED"}${note}`)
  if (result.failed > 0 || values.verbose) console.log(`\n${result.output.trimEnd()}\n`)
  sum.passed += result.passed
  sum.failed += result.failed
  sum.skipped += result.skipped
}
console.log(`${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ""}`)
process.exitCode = sum.failed > 0 ? 1 : 0
