import { prettyText } from "@mallard/entity-serializers/Pretty"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { FileSet } from "../src/Outputs.ts"

/** Long enough that another thread lays it out, and cut at no good place by blocks of any size. */
const text = (number: number): Buffer =>
  Buffer.from(
    `{"list":[${Array.from({ length: 150_000 }, (_, at) => `{"id":"é ${number}-${at} 🦆","[,]":{}}`).join(",")}]}`
  )

describe("files that are laid out while they are written", () => {
  it("hold what laying the whole text out gives, several at once, and none that was dropped or is not sound", async () => {
    const folder = mkdtempSync(join(tmpdir(), "mallard-outputs-"))
    const texts = [1, 2, 3].map(text)
    const layout = { indent: 2, ascii: true }
    const files = new FileSet()
    try {
      const dropped = files.open(join(folder, "0.json"), layout)
      dropped.write(texts[0]!)
      files.drop(dropped)
      const open = texts.map((_, at) => files.open(join(folder, `${at}.json`), layout))
      for (let at = 0; at < texts[0]!.length + 100; at += 1_000_003) {
        open.forEach((file, number) => file.write(texts[number]!.subarray(at, at + 1_000_003)))
      }
      const small = files.open(join(folder, "small.json"), layout)
      small.write(Buffer.from(`{"a":[1]}`))
      files.settle(true)
      files.open(join(folder, "unsound.json"), layout).write(texts[0]!)
      files.settle(false)
      await files.close()
      await files.discard()
      assert.deepStrictEqual(readdirSync(folder).sort(), ["0.json", "1.json", "2.json", "small.json"])
      texts.forEach((text, at) =>
        assert.isTrue(readFileSync(join(folder, `${at}.json`)).equals(prettyText(text, layout)))
      )
      assert.strictEqual(readFileSync(join(folder, "small.json"), "utf8"), `{\n  "a": [\n    1\n  ]\n}`)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }, 60_000)
})
