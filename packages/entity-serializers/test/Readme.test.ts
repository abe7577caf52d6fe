import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8")
const examples = [...readme.matchAll(/```ts run\n([^]*?)```\n+```text\n([^]*?)```/g)]

describe("the README", () => {
  it("has examples", () => {
    assert.lengthOf(examples, 2)
  })

  for (const [at, [, code = "", output]] of examples.entries()) {
    it(`example ${at + 1} prints what stands under it`, () => {
      const printed = execFileSync(process.execPath, ["--input-type=module-typescript"], {
        input: code,
        cwd: fileURLToPath(new URL("..", import.meta.url)),
        encoding: "utf8",
        env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" }
      })
      assert.strictEqual(printed, output)
    })
  }
})
