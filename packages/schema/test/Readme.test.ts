import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, it } from "vitest"

it("the example of the README prints what stands under it", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8")
  const [, example = "", output = ""] = /```ts run\n([^]*?)```\n+```text\n([^]*?)```/.exec(readme) ?? []
  assert.include(example, "@mallard/schema")
  const printed = execFileSync(process.execPath, ["--input-type=module"], {
    input: example,
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" }
  })
  assert.strictEqual(printed, output)
})
