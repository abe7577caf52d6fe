import {
  appendFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { digestOfFile, findSources, openFile, readWholeFile, sameFile } from "../src/index.ts"
import { tree } from "./support/tree.ts"

const content = '{"name": "x"}'

/** What somebody else may do to a file; all leave a file there, or none, that is another version. */
const changes: ReadonlyArray<readonly [title: string, change: (path: string) => void]> = [
  ["appended to", (path) => appendFileSync(path, " ")],
  ["truncated", (path) => truncateSync(path, 3)],
  ["emptied and written again in the same size", (path) => writeFileSync(path, content.replace("x", "y"))],
  [
    "rewritten in the same size with its old time put back",
    (path) => {
      const { atime, mtime } = statSync(path)
      writeFileSync(path, content.replace("x", "y"))
      utimesSync(path, atime, mtime)
    }
  ],
  [
    "replaced by another file",
    (path) => {
      writeFileSync(`${path}.new`, content)
      renameSync(`${path}.new`, path)
    }
  ],
  ["deleted", (path) => rmSync(path)]
]

/** Some file systems count time in steps of a few milliseconds. */
const nextTick = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)))

describe("a file that is read", () => {
  it.effect.each(changes)("is refused when it is %s meanwhile", ([, change]) =>
    Effect.gen(function* () {
      const path = join(yield* tree({ "a.json": content }), "a.json")
      const file = yield* openFile(path)
      const buffer = Buffer.alloc(5)
      assert.strictEqual(yield* file.read(buffer), 5)
      assert.strictEqual(buffer.toString(), content.slice(0, 5))
      yield* file.checkUnchanged
      yield* nextTick
      change(path)
      const error = yield* Effect.flip(file.checkUnchanged)
      assert.strictEqual(error.reason, "changed")
      assert.strictEqual(error.path, path)
      assert.isFalse(sameFile(file.identity, file.fd))
    })
  )

  it.effect.each(changes)("is refused when it was %s since it was found", ([, change]) =>
    Effect.gen(function* () {
      const folder = yield* tree({ "a.json": content })
      const [file] = (yield* findSources([folder])).sources.flatMap(({ files }) => files)
      assert.isDefined(file)
      assert.strictEqual((yield* digestOfFile(file.path, file.identity)).bytes, content.length)
      yield* nextTick
      change(file.path)
      const errors = yield* Effect.all([
        Effect.flip(digestOfFile(file.path, file.identity)),
        Effect.flip(readWholeFile(file.path, { maxBytes: 100, expected: file.identity }))
      ])
      for (const { reason } of errors) {
        assert.oneOf(reason, ["changed", "missing"])
      }
    })
  )

  it.effect("is refused when another process touches it between two reads", () =>
    Effect.gen(function* () {
      const path = join(yield* tree({ "a.json": `["${"x".repeat(20_000_000)}"]` }), "a.json")
      const keepTouching = `
        const { utimesSync } = require("node:fs")
        for (let time = 1; ; time++) {
          utimesSync(process.argv[1], time, time)
          if (time === 1) console.log("started")
        }`
      yield* Effect.acquireRelease(
        Effect.promise(
          () =>
            new Promise<ChildProcess>((resolve) => {
              const child = spawn(process.execPath, ["-e", keepTouching, path])
              child.stdout.once("data", () => resolve(child))
            })
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      for (const read of [
        Effect.asVoid(digestOfFile(path)),
        Effect.asVoid(readWholeFile(path, { maxBytes: 100_000_000 }))
      ]) {
        // The other process may have to wait for its turn for as long as one reading takes, but not twenty times.
        const reasons = yield* Effect.all(
          Array.from({ length: 20 }, () =>
            Effect.match(read, { onFailure: ({ reason }) => reason, onSuccess: () => "" })
          )
        )
        assert.include(reasons, "changed")
      }
    })
  )

  it.effect("is read to its last byte", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "a.json": content, "empty.json": "" })
      const bytes = yield* readWholeFile(join(folder, "a.json"), { maxBytes: content.length })
      assert.strictEqual(Buffer.from(bytes).toString(), content)
      assert.strictEqual((yield* readWholeFile(join(folder, "empty.json"), { maxBytes: 0 })).length, 0)
    })
  )

  it.effect("is refused beyond the limit", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "a.json": content })
      const error = yield* Effect.flip(readWholeFile(join(folder, "a.json"), { maxBytes: content.length - 1 }))
      assert.strictEqual(error.reason, "too-large")
    })
  )

  it.effect("is no link, no folder and no FIFO that nobody writes to", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "a.json": content })
      symlinkSync("a.json", join(folder, "link.json"))
      execFileSync("mkfifo", [join(folder, "fifo.json")])
      for (const name of ["link.json", "fifo.json", "."]) {
        const error = yield* Effect.flip(openFile(join(folder, name)))
        assert.strictEqual(error.reason, "not-regular", name)
      }
      assert.strictEqual((yield* Effect.flip(openFile(join(folder, "gone.json")))).reason, "missing")
    })
  )

  it.effect("is closed with its scope", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "a.json": content })
      const file = yield* Effect.scoped(openFile(join(folder, "a.json")))
      assert.strictEqual((yield* Effect.flip(file.read(Buffer.alloc(1)))).reason, "io")
    })
  )
})
