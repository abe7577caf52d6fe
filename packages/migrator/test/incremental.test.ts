import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { appendFileSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { openStore } from "@mallard/duckdb-store"
import { findSources } from "@mallard/legacy-json"
import { changesOf, type PathHistory, type PresentSource, status } from "@mallard/migrator"
import { Effect } from "effect"
import * as fc from "fast-check"
import { contentOfFile } from "../src/internal/sourceFiles.ts"
import { folderOf, migrated, run, sha256 } from "./support.ts"

const there = (path: string, ...contents: ReadonlyArray<string>): PathHistory => ({
  path,
  contents: new Map(contents.map((content, at) => [content, at === contents.length - 1])),
  last: contents.at(-1),
  state: "there"
})

describe("how sources differ from what is known", () => {
  const cases: ReadonlyArray<
    readonly [
      what: string,
      present: ReadonlyArray<PresentSource>,
      history: ReadonlyArray<PathHistory>,
      expected: string
    ]
  > = [
    ["nothing is known of it", [{ path: "a", sha256: "1" }], [], "a new!"],
    ["it has the same content", [{ path: "a", sha256: "1" }], [there("a", "1")], "a unchanged"],
    ["it has other content", [{ path: "a", sha256: "2" }], [there("a", "1")], "a changed!"],
    ["it has content of before", [{ path: "a", sha256: "1" }], [there("a", "1", "2")], "a reverted!"],
    ["it moved", [{ path: "b", sha256: "1" }], [there("a", "1")], "b renamed a!"],
    [
      "it was copied",
      [
        { path: "a", sha256: "1" },
        { path: "b", sha256: "1" }
      ],
      [there("a", "1")],
      "a unchanged, b copied a!"
    ],
    [
      "one moved and one is a copy",
      [
        { path: "b", sha256: "1" },
        { path: "c", sha256: "1" }
      ],
      [there("a", "1")],
      "b renamed a!, c new!"
    ],
    [
      "two changed places",
      [
        { path: "a", sha256: "2" },
        { path: "b", sha256: "1" }
      ],
      [there("a", "1"), there("b", "2")],
      "a changed!, b changed!"
    ],
    ["it is gone", [], [there("a", "1")], "a removed"],
    ["we moved it", [], [{ ...there("a", "1"), moved: { to: "old/a", run: "r" } }], "a moved"],
    [
      "what we moved is there again",
      [{ path: "a", sha256: "1" }],
      [{ ...there("a", "1"), moved: { to: "old/a", run: "r" } }],
      "a unchanged"
    ],
    ["it was gone before", [], [{ ...there("a", "1"), state: "gone" }], ""],
    ["it came back", [{ path: "a", sha256: "1" }], [{ ...there("a", "1"), state: "gone" }], "a reappeared"],
    ["other content came back", [{ path: "a", sha256: "2" }], [{ ...there("a", "1"), state: "gone" }], "a changed!"],
    [
      "what was stored is undone",
      [{ path: "a", sha256: "1" }],
      [{ ...there("a"), contents: new Map([["1", false]]), last: "1" }],
      "a undone!"
    ],
    ["it was rejected", [{ path: "a", sha256: "1" }], [{ ...there("a"), state: "rejected" }], "a rejected!"],
    ["it cannot be read", [{ path: "a", sha256: undefined }], [there("a", "1")], "a unreadable!"]
  ]
  for (const [what, present, history, expected] of cases) {
    it(`is told when ${what}`, () => {
      const said = changesOf(present, history).map(
        ({ change, from, path, pending }) =>
          `${path} ${change}${from === undefined ? "" : ` ${from}`}${pending ? "!" : ""}`
      )
      assert.strictEqual(said.join(", "), expected)
    })
  }

  const path = fc.constantFrom("a", "b", "c", "d", "e", "f")
  const content = fc.constantFrom("1", "2", "3", "4")
  const files = fc.dictionary(path, content)
  const presentOf = (of: Readonly<Record<string, string>>): ReadonlyArray<PresentSource> =>
    Object.entries(of).map(([name, sha256]) => ({ path: name, sha256 }))
  const histories = fc.uniqueArray(
    fc.record({
      path,
      contents: fc.array(fc.tuple(content, fc.boolean())).map((pairs) => new Map(pairs)),
      last: fc.option(content, { nil: undefined }),
      state: fc.constantFrom("there", "rejected", "gone")
    }),
    { selector: (entry) => entry.path }
  )
  /** What a run that stores everything leaves behind. */
  const after = (history: ReadonlyArray<PathHistory>, of: Readonly<Record<string, string>>) => {
    const known = new Map(history.map((entry) => [entry.path, entry]))
    return [...new Set([...known.keys(), ...Object.keys(of)])].map((name): PathHistory => {
      const before = known.get(name)
      const now = of[name]
      if (now === undefined) return { path: name, contents: new Map(), last: undefined, ...before, state: "gone" }
      return { path: name, contents: new Map([...(before?.contents ?? []), [now, true]]), last: now, state: "there" }
    })
  }

  it("is told of every source once, whatever the order", () => {
    fc.assert(
      fc.property(files, histories, fc.infiniteStream(fc.nat()), (of, history, random) => {
        const shuffled = <A>(list: ReadonlyArray<A>): ReadonlyArray<A> =>
          list
            .map((one) => [random.next().value ?? 0, one] as const)
            .sort(([x], [y]) => x - y)
            .map(([, one]) => one)
        const told = changesOf(presentOf(of), history)
        assert.deepStrictEqual(changesOf(shuffled(presentOf(of)), shuffled(history)), told)
        const paths = told.map((source) => source.path)
        assert.strictEqual(new Set(paths).size, paths.length)
        for (const name of Object.keys(of)) assert.include(paths, name)
        for (const { change, from, path: name } of told) {
          assert.strictEqual(change === "removed", of[name] === undefined)
          assert.strictEqual(from !== undefined, change === "renamed" || change === "copied")
          if (change === "renamed") assert.isUndefined(of[from ?? ""])
        }
      })
    )
  })

  it("is nothing once a run has stored everything", () => {
    fc.assert(
      fc.property(files, histories, (of, history) => {
        const told = changesOf(presentOf(of), after(history, of))
        assert.deepStrictEqual(
          told.map(({ change, pending }) => [change, pending]),
          Object.keys(of).map(() => ["unchanged", false])
        )
      })
    )
  })

  it("is a renaming and nothing else when one file alone is renamed", () => {
    fc.assert(
      fc.property(files, path, (of, moved) => {
        fc.pre(of[moved] !== undefined)
        const { [moved]: sha256 = "", ...rest } = of
        const told = changesOf(presentOf({ ...rest, z: sha256 }), after([], of))
        const renamed = told.filter(({ change }) => change !== "unchanged")
        assert.deepStrictEqual(renamed, [{ path: "z", change: "renamed", from: moved, pending: true }])
      })
    )
  })
})

describe("status", () => {
  const text = (name: string, id: string) => `{"name":"${name}","patients":[{"id":"${id}"}]}`
  const changes = (report: { readonly sources: ReadonlyArray<{ readonly path: string; readonly change: string }> }) =>
    report.sources.map(({ change, path }) => `${path.split("/").at(-1)} ${change}`)

  it.effect("tells by content, not by time, and a run leaves nothing pending", () =>
    Effect.gen(function* () {
      const { database, report, source } = yield* migrated({
        "same.json": text("same", "1"),
        "moved.json": text("moved", "2"),
        "gone.json": text("gone", "3"),
        "edited.json": text("edited", "4")
      })
      assert.deepStrictEqual([...new Set(report.items.map(({ change }) => change))], ["new"])
      const look = status({ database, paths: [], cwd: source })
      assert.strictEqual((yield* look).pending, 0)
      utimesSync(join(source, "same.json"), 1, 1)
      renameSync(join(source, "moved.json"), join(source, "other.json"))
      rmSync(join(source, "gone.json"))
      writeFileSync(join(source, "edited.json"), text("edited", "5"))
      writeFileSync(join(source, "added.json"), text("added", "6"))
      const before = yield* look
      assert.deepStrictEqual(changes(before), [
        "added.json new",
        "edited.json changed",
        "gone.json removed",
        "other.json renamed",
        "same.json unchanged"
      ])
      assert.strictEqual(before.pending, 3)
      const next = yield* run(database, [source], { onConflict: "replace" })
      assert.deepStrictEqual(
        next.items.map(({ change, outcome }) => [outcome, change]),
        [
          ["migrated", "new"],
          ["migrated", "changed"],
          ["unchanged", "renamed"],
          ["unchanged", "unchanged"]
        ]
      )
      assert.deepStrictEqual(next.removed, [join(source, "gone.json")])
      const after = yield* look
      assert.strictEqual(after.pending, 0)
      assert.notInclude(changes(after), "gone.json removed")
      // What was told as renamed is not told as gone by the next run, unless it is asked for.
      assert.isUndefined((yield* run(database, [source])).removed)
      assert.notInclude(changes(yield* look), "moved.json removed")
      const named = (name: string) => status({ database, paths: [join(source, name)], cwd: source })
      assert.deepStrictEqual(changes(yield* named("moved.json")), ["moved.json removed"])
      assert.deepStrictEqual(changes(yield* named("gone.json")), ["gone.json removed"])
      assert.strictEqual((yield* Effect.flip(named("never.json")))._tag, "SourceError")
      writeFileSync(join(source, "gone.json"), text("gone", "3"))
      writeFileSync(join(source, "edited.json"), text("edited", "4"))
      const back = changes(yield* look)
      assert.include(back, "gone.json reappeared")
      assert.include(back, "edited.json reverted")
    })
  )
})

describe("what a run has seen", () => {
  const text = (name: string) => `{"name":"${name}","patients":[{"id":"${name}"}]}`
  const told = (database: string, source: string) =>
    Effect.map(status({ database, paths: [source], cwd: source }), ({ sources }) =>
      sources.map(({ change, path }) => `${path.split("/").at(-1)} ${change}`)
    )

  it.effect("is no source that it did not come to because it rejected too much", () =>
    Effect.gen(function* () {
      const { database, source } = yield* migrated({ "b.json": text("b"), "c.json": text("c") }, { verify: false })
      writeFileSync(join(source, "a.json"), "{")
      writeFileSync(join(source, "d.json"), text("d"))
      const stopped = yield* run(database, [source], {
        maxRejects: { value: 0, unit: "sources" },
        sizes: { batchFiles: 1 }
      })
      assert.include(
        stopped.items.flatMap(({ remarks }) => remarks.map(({ code }) => code)),
        "too-many-rejects"
      )
      assert.strictEqual(stopped.totals.skipped, 3)
      assert.deepStrictEqual(yield* told(database, source), [
        "a.json rejected",
        "b.json unchanged",
        "c.json unchanged",
        "d.json new"
      ])
    })
  )

  it.effect("is no source that a full disk kept from being read, unless none has seen it before", () =>
    Effect.gen(function* () {
      const { database, source } = yield* migrated({ "a.json": text("a"), "b.json": "{" }, { verify: false })
      writeFileSync(join(source, "c.json"), "{")
      yield* run(database, [source], { verify: false })
      // Two rows, as a run writes them of sources that came after the one that did not fit.
      yield* Effect.scoped(
        Effect.gen(function* () {
          const client = yield* openStore({ path: database })
          yield* client.unsafe(
            `UPDATE mallard.migration_items SET outcome = 'failed', source_sha256 = NULL, path = replace(path, 'b.json', 'a.json')
WHERE outcome = 'rejected' AND run_id = (SELECT max_by(run_id, rowid) FROM mallard.migration_runs)`
          )
        })
      )
      assert.deepStrictEqual(yield* told(database, source), ["a.json unchanged", "b.json rejected", "c.json rejected"])
    })
  )

  it.effect("below a folder is no file beside it whose name begins like that of the folder", () =>
    Effect.gen(function* () {
      const { database, source } = yield* migrated({ "a/a.json": text("a"), "a#1.json": text("b") }, { verify: false })
      const report = yield* run(database, [join(source, "a")], { verify: false })
      assert.isUndefined(report.removed)
      assert.deepStrictEqual(yield* told(database, join(source, "a")), ["a.json unchanged"])
    })
  )
})

describe("the content of a file", () => {
  const only = Effect.fnUntraced(function* (text: string) {
    const { source } = yield* folderOf({ "a.json": text })
    const { sources } = yield* findSources([source])
    const file = sources[0]?.files[0]
    if (file === undefined) throw new Error("no file was found")
    return file
  })

  it.effect("is that of its bytes, be they text or not", () =>
    Effect.gen(function* () {
      for (const bytes of ["", "{}", "x".repeat(1 << 20), "y".repeat((2 << 20) + 1), Buffer.from([0xff, 0xfe, 0xfd])]) {
        const file = yield* only("[]")
        writeFileSync(file.path, bytes)
        assert.strictEqual(yield* contentOfFile(file), sha256(bytes))
      }
    })
  )

  it.effect("is none of what has taken its place and is no file: nothing is followed or waited for", () =>
    Effect.gen(function* () {
      const file = yield* only("{}")
      renameSync(file.path, `${file.path}.moved`)
      assert.isUndefined(yield* contentOfFile(file))
      symlinkSync(`${file.path}.moved`, file.path)
      assert.isUndefined(yield* contentOfFile(file))
      if (process.platform === "win32") return
      rmSync(file.path)
      execFileSync("mkfifo", [file.path])
      assert.isUndefined(yield* contentOfFile(file))
    })
  )

  it.effect("is none while it is written to, and others run meanwhile", () =>
    Effect.gen(function* () {
      const file = yield* only("x".repeat(3 << 20))
      const [content] = yield* Effect.all([contentOfFile(file), Effect.sync(() => appendFileSync(file.path, "x"))], {
        concurrency: 2
      })
      assert.isUndefined(content)
      assert.strictEqual(yield* contentOfFile(file), sha256("x".repeat((3 << 20) + 1)))
    })
  )
})
