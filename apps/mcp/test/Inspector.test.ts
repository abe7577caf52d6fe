import { execFile } from "node:child_process"
import { createRequire } from "node:module"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, it } from "vitest"
import { listening, makeFolder, program, run } from "./support.ts"

const inspector = join(
  dirname(createRequire(import.meta.url).resolve("@modelcontextprotocol/inspector/package.json")),
  "clients",
  "launcher",
  "build",
  "index.js"
)
const flags = ["--db", "test.duckdb", "--root", "files", "--allow-query"]

/** Runs the inspector's command line; gives its exit code and what it printed. */
const inspect = (
  folder: string,
  args: ReadonlyArray<string>
): Promise<{ readonly code: number; readonly out: string }> =>
  new Promise((resolve) => {
    execFile(
      process.execPath,
      [inspector, "--cli", ...args],
      { cwd: folder, env: { PATH: process.env["PATH"], HOME: folder } },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, out: stdout + stderr })
    )
  })

/** In this order: what is saved is read afterwards. */
const calls: ReadonlyArray<readonly [tool: string, args: ReadonlyArray<string>, expected: string]> = [
  ["save_cohort", ["name=A", 'entities={"patients":[{"id":"p1","gender":"male"}]}'], '"outcome": "created"'],
  ["add_entities", ["name_or_id=A", 'entities={"patients":[{"id":"p2"}]}'], "Added 1 entity"],
  ["import_cohort", ["path=b.json"], '"name": "b"'],
  ["list_cohorts", ["limit=1"], "1 of 2 cohorts"],
  ["load_cohort", ["name_or_id=A", "limit=1"], "next_cursor"],
  ["get_cohort_summary", ["name_or_id=b"], "median"],
  ["describe_tables", ["table=patients"], "birth_date"],
  ["query_cohort", ["sql=SELECT count(*) AS n FROM patients"], '"row_count": 1'],
  ["export_cohort", ["name_or_id=b", "path=out.json"], "out.json"],
  ["delete_cohort", ["name_or_id=b", "confirm=true"], 'Deleted cohort \\"b\\"']
]

describe("the inspector's command line", () => {
  for (const transport of ["standard input and output", "HTTP"]) {
    it(`calls every tool over ${transport}, and finds nothing wrong with the list`, async () => {
      const folder = makeFolder()
      mkdirSync(join(folder, "files"))
      writeFileSync(join(folder, "files", "b.json"), '{"patients":[{"id":"p1","birth_date":"2001-02-03"}]}')
      let target = [process.execPath, program, "mcp", ...flags]
      if (transport === "HTTP") {
        const { token, url } = await listening(folder, flags)
        target = [url, "--header", `Authorization: Bearer ${token}`]
      }
      const list = await inspect(folder, [...target, "--method", "tools/list", "--strict"])
      assert.strictEqual(list.code, 0, list.out)
      assert.notInclude(list.out, "Issue:")
      for (const [tool] of calls) assert.include(list.out, `"name": "${tool}"`)
      for (const [tool, args, expected] of calls) {
        const { code, out } = await inspect(folder, [
          ...target,
          "--method",
          "tools/call",
          "--tool-name",
          tool,
          ...args.flatMap((pair) => ["--tool-arg", pair])
        ])
        assert.strictEqual(code, 0, `${tool}: ${out}`)
        assert.include(out, expected)
      }
      const failed = await inspect(folder, [
        ...target,
        "--method",
        "tools/call",
        "--tool-name",
        "load_cohort",
        "--tool-arg",
        "name_or_id=nobody"
      ])
      assert.strictEqual(failed.code, 5, failed.out)
      const shown = await run(folder, ["list", "--db", "test.duckdb"])
      assert.match(shown.stdout, /\bA\b/)
    })
  }
})
