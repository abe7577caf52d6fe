import { prettyText } from "@mallard/entity-serializers/Pretty"
import { DuckDBInstance } from "@duckdb/node-api"
import { execFileSync } from "node:child_process"
import { closeSync, lstatSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { open } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import type { Worker } from "node:worker_threads"
import { LayoutThread } from "../src/LayoutThread.ts"
import { fileFailure, FileSet } from "../src/Outputs.ts"
import { writeReport } from "../src/Reports.ts"

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
  })
})

describe("a file that takes a name", () => {
  it("takes that of a file, but not of a pipe, which gets the bytes, nor of a database", async () => {
    const folder = mkdtempSync(join(tmpdir(), "mallard-outputs-"))
    const path = (name: string): string => join(folder, name)
    try {
      for (const text of ["one", "another"]) {
        await writeReport(path("file"), text)
        assert.strictEqual(readFileSync(path("file"), "utf8"), text)
      }

      if (process.platform !== "win32") {
        execFileSync("mkfifo", [path("pipe")])
        const reading = open(path("pipe")).then(async (handle) => {
          const text = await handle.readFile("utf8")
          await handle.close()
          return text
        })
        await writeReport(path("pipe"), "for the reader")
        assert.strictEqual(await reading, "for the reader")
        assert.isTrue(lstatSync(path("pipe")).isFIFO())
      }

      const instance = await DuckDBInstance.create(path("a.duckdb"))
      instance.closeSync()
      const before = readFileSync(path("a.duckdb"))
      const refused: unknown = await writeReport(path("a.duckdb"), "text").catch((cause: unknown) => cause)
      assert.include(fileFailure(refused)?.what, "is not replaced. Name another file.")
      assert.isTrue(readFileSync(path("a.duckdb")).equals(before))
      assert.deepStrictEqual(
        readdirSync(folder).filter((name) => name.endsWith(".tmp")),
        []
      )
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

describe("a thread that lays texts out", () => {
  it("takes nothing any more when it has ended, and says so at once", async () => {
    const memory = new SharedArrayBuffer(2)
    new Uint8Array(memory).set(Buffer.from("[]"))
    const folder = mkdtempSync(join(tmpdir(), "layout-"))
    const file = join(folder, "a.json")
    const handle = openSync(file, "w")
    const started = new Promise<Worker>((resolve) => process.once("worker", resolve))
    const thread = new LayoutThread()
    const request = { handle, layout: { indent: 2 }, memory, used: 2, isLast: true }
    await thread.write(request)
    assert.strictEqual(readFileSync(file, "utf8"), "[]")
    await (await started).terminate()
    for (const attempt of [1, 2]) {
      const failure: unknown = await thread.write(request).catch((cause: unknown) => cause)
      assert.instanceOf(failure, Error, `attempt ${attempt}`)
    }
    closeSync(handle)
    rmSync(folder, { recursive: true })
  })
})
