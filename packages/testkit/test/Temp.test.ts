import { existsSync, readFileSync } from "node:fs"
import { basename, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import {
  arbitraryDocument,
  bytesOfFile,
  tempDirectory,
  withTempDirectory,
  writeDocument,
  writeFiles
} from "@mallard/testkit"

describe("a temporary directory", () => {
  it("is gone after use, whether that succeeds or not", async () => {
    const used: Array<string> = []
    const result = await withTempDirectory(async (directory) => {
      used.push(directory)
      await writeFiles(directory, { "a/b.txt": "x" })
      return existsSync(join(directory, "a", "b.txt"))
    })
    assert.isTrue(result)
    const failed = await withTempDirectory((directory) => {
      used.push(directory)
      throw new Error("boom")
    }).catch((error: unknown) => error)
    assert.instanceOf(failed, Error)
    assert.strictEqual(new Set(used).size, 2)
    assert.deepStrictEqual(used.map(existsSync), [false, false])
  })

  it.effect("is gone when its scope closes", () =>
    Effect.gen(function* () {
      const directory = yield* Effect.scoped(
        Effect.gen(function* () {
          const directory = yield* tempDirectory
          assert.isTrue(existsSync(directory))
          return directory
        })
      )
      assert.isFalse(existsSync(directory))
    })
  )
})

describe("files", () => {
  it("are written byte for byte, in the folders they name", () =>
    withTempDirectory(async (directory) => {
      const paths = await writeFiles(directory, { "a.json": "é", "b/c.bin": new Uint8Array([0, 255]) })
      assert.deepStrictEqual(paths, [join(directory, "a.json"), join(directory, "b", "c.bin")])
      assert.deepStrictEqual(
        paths.map((path) => [...readFileSync(path)]),
        [
          [0xc3, 0xa9],
          [0, 255]
        ]
      )
    }))

  it("of a document lie in its folder, if it has one", () =>
    withTempDirectory(async (root) => {
      for (const variant of ["V1", "V9"] as const) {
        const [document] = fc.sample(arbitraryDocument({ variants: [variant] }), { numRuns: 1, seed: 1 })
        assert.isDefined(document)
        const path = await writeDocument(root, document)
        assert.strictEqual(basename(path), document.directory ?? document.files[0]?.name)
        for (const file of document.files) {
          const written = readFileSync(document.directory === undefined ? path : join(path, file.name))
          assert.deepStrictEqual(new Uint8Array(written), new Uint8Array(bytesOfFile(file)))
        }
      }
    }))
})
