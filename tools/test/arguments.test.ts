import { assert, describe, it } from "vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { headComment } from "../lib/arguments.ts"
import { root, run } from "../lib/run.ts"

const start = (tool: string, ...args: ReadonlyArray<string>) => run("node", [join("tools", tool), ...args])

describe.each(["bench.ts", "crash.ts", "faults.ts", "roundtrip.ts", "test.ts"])("tools/%s", (tool) => {
  it("says with --help what stands at its top, how it is called among it", async () => {
    const { exitCode, output } = await start(tool, "--help")
    assert.strictEqual(exitCode, 0)
    assert.strictEqual(output.trim(), headComment(readFileSync(join(root, "tools", tool), "utf8")))
    assert.match(output, /^ {4}pnpm \w+/m)
  })

  it("ends with 2 and no stack where it is not called so", async () => {
    const { exitCode, output } = await start(tool, "--no-such-option")
    assert.strictEqual(exitCode, 2)
    assert.match(output, /no-such-option/)
    assert.match(output, /--help says more/)
    assert.notMatch(output, /^ +at /m)
  })
})

it.each([
  ["crash.ts", "--kills", "many"],
  ["crash.ts", "--workers", "0"],
  ["faults.ts", "--seed", "1.5"],
  ["faults.ts", "--part", "3/2"],
  ["roundtrip.ts", "--seed", ""],
  ["bench.ts", "--rounds", "0", "import"]
])("%s refuses %s %s", async (tool, option, ...rest) => {
  const { exitCode, output } = await start(tool, option, ...rest)
  assert.strictEqual(exitCode, 2)
  assert.match(output, new RegExp(`^${option} takes a (whole number|part)`, "m"))
})
