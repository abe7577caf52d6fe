import { assert, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"

it("the example of the README prints what stands under it", () => {
  const folder = join(import.meta.dirname, "..")
  const [, example = "", output = ""] =
    /```ts run\n([^]*?)```\n+```text\n([^]*?)```/.exec(readFileSync(join(folder, "README.md"), "utf8")) ?? []
  assert.include(example, "@mallard/migrator")
  const printed = execFileSync(process.execPath, ["--input-type=module-typescript"], {
    input: example,
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" }
  })
  assert.strictEqual(printed, output)
})
