import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { runChild } from "./support.ts"

const readme = readFileSync(join(import.meta.dirname, "..", "README.md"), "utf8")
const examples = [...readme.matchAll(/```ts run\n(.*?)```\n\n```text\n(.*?)```/gs)]

describe("the README", () => {
  it("has examples", () => {
    assert.lengthOf(examples, 3)
  })

  for (const [index, [, code = "", output = ""]] of examples.entries()) {
    it.effect(`example ${index + 1} prints what it says`, () =>
      Effect.gen(function* () {
        const { code: exit, stdout, stderr } = yield* runChild(code)
        assert.strictEqual(stdout, output, stderr)
        assert.strictEqual(exit, 0)
      })
    )
  }
})
