/** Backups: byte-exact, proven, each content once; what is damaged is named, and nothing is ever overwritten. */
import { Failpoints } from "@mallard/duckdb-store"
import { findSources } from "@mallard/legacy-json"
import {
  backupStoreOf,
  type CipherSettings,
  exportRejects,
  listBackups,
  otherBackups,
  listRejects,
  makeBackup,
  restoreBackup,
  restoreOriginals,
  status,
  storedBackup,
  storedReport,
  verifyBackup
} from "@mallard/migrator"
import { withTempDirectory, writeFiles } from "@mallard/testkit"
import { describe, it } from "@effect/vitest"
import { generateX25519Identity } from "age-encryption"
import { Effect } from "effect"
import * as fc from "fast-check"
import {
  appendFileSync,
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { dirname, join, relative } from "node:path"
import { assert } from "vitest"
import { encrypterOf } from "../src/internal/cipher.ts"
import { RestoredFile } from "../src/internal/restore.ts"
import { beginEmpty, type Files, folderOf, query, run, sha256 } from "./support.ts"

const backUp = Effect.fnUntraced(function* (store: string, source: string, cipher?: CipherSettings) {
  const { sources } = yield* findSources([source])
  const made = yield* makeBackup({
    store,
    files: sources.flatMap(({ files }) => files),
    run: "r1",
    program: "test",
    cipher
  })
  if (made === undefined) throw new Error("stopped")
  return made
})

/** Sources in a folder, and a store beside it. */
const place = Effect.fnUntraced(function* (files: Files) {
  const { folder, source } = yield* folderOf(files)
  return { folder, source, store: join(folder, "store") }
})

const filesBelow = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()

/** Bytes by relative path. */
const contentOf = (folder: string): Readonly<Record<string, string>> =>
  Object.fromEntries(filesBelow(folder).map((path) => [relative(folder, path), sha256(readFileSync(path))]))

/** A folder on another disk than this one, where the machine has any. */
const otherDisk = (folder: string): string | undefined =>
  ["/dev/shm", "/proc", import.meta.dirname, "/tmp"].find(
    (other) => existsSync(other) && statSync(other).dev !== statSync(folder).dev
  )

const packsOf = (store: string): ReadonlyArray<string> => filesBelow(join(store, "packs"))

describe("a restored file", () => {
  it("has the time that it had, to the microsecond, whole seconds exactly, and before 1970 to the millisecond", () =>
    withTempDirectory((folder) => {
      let number = 0
      const restored = (nanoseconds: bigint): bigint => {
        const path = join(folder, String(number++))
        new RestoredFile(path).publish({ mode: 0o600, mtime_ns: String(nanoseconds) }, true)
        return statSync(path, { bigint: true }).mtimeNs
      }
      fc.assert(
        fc.property(
          fc.bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }),
          fc.constantFrom(1n, 1000n, 1_000_000n, 1_000_000_000n),
          (any, unit) => {
            const nanoseconds = any - (any % unit)
            assert.strictEqual(restored(nanoseconds) / 1000n, nanoseconds / 1000n)
            if (unit === 1_000_000_000n) assert.strictEqual(restored(nanoseconds), nanoseconds)
          }
        ),
        { numRuns: 500 }
      )
      assert.strictEqual(restored(-1_500_000_000n), -1_500_000_000n)
      return Promise.resolve()
    }))
})

describe("a backup", () => {
  it("gives back any files with their bytes, modes and times", () =>
    withTempDirectory((folder) => {
      let number = 0
      return fc.assert(
        fc.asyncProperty(
          fc.dictionary(fc.stringMatching(/^[a-z]{1,4}(\/[a-z]{1,3})?$/), fc.uint8Array({ maxLength: 3000 }), {
            maxKeys: 6
          }),
          fc.constantFrom(0o600, 0o644, 0o400, 0o755),
          fc.integer({ min: 0, max: 2_000_000_000_000 }),
          async (files, mode, modified) => {
            const own = join(folder, String(number++))
            const [source, store, out] = [join(own, "source"), join(own, "store"), join(own, "out")]
            for (const path of [source, out]) mkdirSync(path, { recursive: true })
            const named = Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`${name}.json`, bytes]))
            for (const path of await writeFiles(source, named)) {
              utimesSync(path, modified / 1000, modified / 1000)
              chmodSync(path, mode)
            }
            await Effect.runPromise(
              Effect.andThen(backUp(store, source), restoreBackup({ store, backup: "last", out }))
            )
            // Restoring begins at the folder that holds everything, which may lie deeper.
            assert.sameDeepMembers(Object.values(contentOf(out)), Object.values(contentOf(source)))
            for (const path of filesBelow(out)) {
              const stats = statSync(path)
              assert.strictEqual(stats.mode & 0o777, mode)
              assert.strictEqual(Math.round(stats.mtimeMs), modified)
            }
          }
        ),
        { numRuns: 25 }
      )
    }))

  it.effect("holds each content once, also of files of many frames, and lets only its owner in", () =>
    Effect.gen(function* () {
      const large = Buffer.alloc((20 << 20) + 7)
      for (let i = 0; i < large.length; i += 1024) large.writeUInt32LE((i * 2_654_435_761) >>> 0, i)
      const { folder, source, store } = yield* place({
        "a/large.json": large,
        "b/large.json": large,
        "small.json": "{}",
        "z/small.json": "{}",
        "empty.json": ""
      })
      const { report, skipped } = yield* backUp(store, source)
      assert.deepStrictEqual(skipped, [])
      assert.strictEqual(report.files, 5)
      assert.strictEqual(report.bytes, 2 * large.length + 4)
      assert.strictEqual(report.added_bytes, large.length + 2)
      for (const path of [store, join(store, "packs"), join(store, "manifests")]) {
        assert.strictEqual(statSync(path).mode & 0o777, 0o700)
      }
      for (const path of filesBelow(store)) assert.strictEqual(statSync(path).mode & 0o777, 0o600)
      yield* restoreBackup({ store, backup: report.backup_id, out: join(folder, "out") })
      assert.deepStrictEqual(contentOf(join(folder, "out")), contentOf(source))
      assert.isEmpty(readdirSync(store).filter((name) => name.startsWith(".")))
    })
  )

  it.effect("of the same files is the same backup, and of changed ones adds only what changed", () =>
    Effect.gen(function* () {
      const { source, store } = yield* place({ "a.json": "[1]", "b.json": "[2]" })
      const first = yield* backUp(store, source)
      const again = yield* backUp(store, source)
      assert.deepStrictEqual(again.report, { ...first.report, added_bytes: 0 })
      const before = statSync(join(source, "b.json"))
      writeFileSync(join(source, "b.json"), "[3]")
      // The time of the file is set back: size and time alone would not tell.
      utimesSync(join(source, "b.json"), before.atime, before.mtime)
      const changed = yield* backUp(store, source)
      assert.strictEqual(changed.report.added_bytes, 3)
      const { backups } = yield* listBackups(store)
      assert.lengthOf(backups, 2)
      const [older] = backups
      const others = Effect.map(otherBackups(store), (found) => found.others)
      assert.deepStrictEqual(yield* others, older === undefined ? [] : [older])
      writeFileSync(join(source, "b.json"), "[2]")
      writeFileSync(join(source, "c.json"), "[4]")
      yield* backUp(store, source)
      // The last one has all that the first has, and no longer what the second has.
      assert.deepStrictEqual(yield* others, backups.slice(1))
    })
  )

  it.effect("removes what a killed run left behind long ago, and nothing that may still be written", () =>
    Effect.gen(function* () {
      const { source, store } = yield* place({ "a.json": "[1]" })
      mkdirSync(join(store, "packs"), { recursive: true })
      const id = "00000000-0000-4000-8000-000000000000"
      const [old, young] = [join(store, "packs", `.x.pack.tmp-${id}`), join(store, "packs", `.y.pack.tmp-${id}`)]
      for (const path of [old, young]) writeFileSync(path, "")
      utimesSync(old, 1, 1)
      yield* backUp(store, source)
      assert.deepStrictEqual([existsSync(old), existsSync(young)], [false, true])
    })
  )

  it.effect("leaves out a file that changed since it was found, and says so", () =>
    Effect.gen(function* () {
      const { source, store } = yield* place({ "a.json": "[1]", "b.json": "[2]" })
      const { sources } = yield* findSources([source])
      appendFileSync(join(source, "b.json"), " ")
      const made = yield* makeBackup({ store, files: sources.flatMap(({ files }) => files), run: "r", program: "test" })
      assert.deepStrictEqual(made?.skipped, [{ path: join(source, "b.json"), reason: "changed" }])
      assert.strictEqual(made?.report.files, 1)
    })
  )

  it.effect("keeps open what is a database, whatever its name, and nothing else", () =>
    Effect.gen(function* () {
      const { database, folder, source } = yield* folderOf({ "a.jsonl": "[1]", "b.db": "[2]", "c.json": "[3]" })
      yield* beginEmpty(database)
      const copy = join(source, "d.jsonl")
      copyFileSync(database, copy)
      const { sources } = yield* findSources(filesBelow(source))
      const held: Array<number> = []
      const made = yield* makeBackup({
        store: join(folder, "store"),
        files: sources.flatMap(({ files }) => files),
        run: "r",
        program: "test",
        hold: (descriptor) => held.push(descriptor)
      })
      assert.strictEqual(made?.report.files, 4)
      assert.deepStrictEqual(
        held.map((descriptor) => fstatSync(descriptor).ino),
        [statSync(copy).ino]
      )
      for (const descriptor of held) closeSync(descriptor)
    })
  )
})

describe("a damaged backup", () => {
  const damages: Readonly<Record<string, (pack: string) => void>> = {
    "content-changed": (pack) => {
      const bytes = readFileSync(pack)
      const last = bytes.length - 6
      bytes[last] = (bytes[last] ?? 0) ^ 0xff
      writeFileSync(pack, bytes)
    },
    "pack-truncated": (pack) => truncateSync(pack, statSync(pack).size - 1),
    "pack-missing": (pack) => rmSync(pack),
    "pack-unreadable": (pack) => {
      rmSync(pack)
      symlinkSync(pack, pack)
    }
  }
  for (const [code, damage] of Object.entries(damages)) {
    it.effect(`is found out (${code}), and what is whole in it still comes back`, () =>
      Effect.gen(function* () {
        const { folder, source, store } = yield* place({ "a.json": "[1]", "b.json": '{"b":"bbbbbbbbbbbbbbbb"}' })
        yield* backUp(store, source)
        damage(packsOf(store)[0] ?? "")
        const { problems } = yield* verifyBackup({ store, backup: "last" })
        const both = code === "pack-missing" || code === "pack-unreadable"
        assert.deepStrictEqual(
          problems.map(({ path, problem }) => [relative(source, path), problem]),
          [...(both ? [["a.json", code]] : []), ["b.json", code]]
        )
        const out = join(folder, "out")
        const result = yield* restoreBackup({ store, backup: "last", out })
        assert.deepStrictEqual(result.problems, problems)
        assert.deepStrictEqual(Object.keys(contentOf(out)), both ? [] : ["a.json"])
        // What a damaged pack holds is copied again the next time, where the damage can be seen at a glance.
        if (code !== "content-changed") assert.isAbove((yield* backUp(store, source)).report.added_bytes ?? 0, 0)
      })
    )
  }

  it.effect("is found out by its manifest too", () =>
    Effect.gen(function* () {
      const { source, store } = yield* place({ "a.json": "[1]" })
      const { report } = yield* backUp(store, source)
      const [manifest = ""] = filesBelow(join(store, "manifests"))
      const changed = yield* verifyBackup({ store, backup: "last", manifestSha256: "0".repeat(64) })
      assert.deepStrictEqual(changed.problems, [{ path: manifest, problem: "manifest-changed" }])
      const text = readFileSync(manifest, "utf8")
      for (const other of [text.replace(/"backup_id":"./, '"backup_id":"x'), text.replace("a.json", "b.json")]) {
        writeFileSync(manifest, other)
        const problems = [{ path: manifest, problem: "manifest-changed" as const }]
        assert.deepStrictEqual((yield* verifyBackup({ store, backup: "last" })).problems, problems)
        const out = join(dirname(source), "out")
        const restored = yield* restoreBackup({ store, backup: "last", out })
        assert.deepStrictEqual(restored.problems, problems)
        assert.strictEqual((yield* Effect.flip(restoreBackup({ store, backup: "last" }))).reason, "changed")
      }
      truncateSync(manifest, 20)
      for (const backup of ["last", report.backup_id]) {
        const error = yield* Effect.flip(verifyBackup({ store, backup }))
        assert.strictEqual(error.reason, "damaged")
      }
      assert.deepStrictEqual((yield* listBackups(store)).damaged, [manifest])
      const unknown = yield* Effect.flip(verifyBackup({ store, backup: "other" }))
      assert.strictEqual(unknown.reason, "not-found")
      assert.include(unknown.message, `Backup other in ${store}: there is no such backup.`)
    })
  )
})

describe("restoring", () => {
  it.effect("in place puts back what is missing and leaves what is there", () =>
    Effect.gen(function* () {
      const { source, store } = yield* place({ "a.json": "[1]", "b.json": "[2]", "c.json": "[3]" })
      yield* backUp(store, source)
      rmSync(join(source, "a.json"))
      writeFileSync(join(source, "b.json"), "[4]")
      const result = yield* restoreBackup({ store, backup: "last", out: undefined })
      assert.deepStrictEqual(
        [result.restored, result.kept, result.present],
        [[join(source, "a.json")], [join(source, "b.json")], [join(source, "c.json")]]
      )
      assert.strictEqual(readFileSync(join(source, "a.json"), "utf8"), "[1]")
      assert.strictEqual(readFileSync(join(source, "b.json"), "utf8"), "[4]")
    })
  )

  it.effect("names each place that cannot be written to, and goes on with the rest", () =>
    Effect.gen(function* () {
      const { database, folder, source } = yield* folderOf({ "a/x.json": "{", "a/y.json": "{,", "b.json": '["b"' })
      const store = backupStoreOf(database)
      yield* run(database, [source], { backup: { store } })
      for (const name of ["a", "b.json"]) rmSync(join(source, name), { recursive: true })
      writeFileSync(join(source, "a"), "no folder")
      const paths = ["a/x.json", "a/y.json"].map((name) => join(source, name))
      const result = yield* restoreBackup({ store, backup: "last" })
      assert.deepStrictEqual(
        result.problems,
        paths.map((path) => ({ path, problem: "target-io" as const, target: path }))
      )
      assert.deepStrictEqual(result.restored, [join(source, "b.json")])
      rmSync(join(source, "b.json"))
      const would = yield* restoreOriginals({ database, run: "last", test: true })
      const { damaged, restored, unwritable } = yield* restoreOriginals({ database, run: "last", test: false })
      assert.deepStrictEqual([would.restored, would.unwritable], [restored, unwritable])
      assert.deepStrictEqual(
        { damaged, restored, unwritable },
        { damaged: [], restored: result.restored, unwritable: paths }
      )
      assert.strictEqual(readFileSync(join(source, "a"), "utf8"), "no folder")
      const rejects = yield* listRejects(database, undefined)
      const error = yield* Effect.flip(exportRejects({ rejects, out: join(source, "a", "out") }))
      assert.match(error.message, /^Cannot restore .+x\.json: reading or writing failed\. /)
      assert.lengthOf(
        filesBelow(folder).filter((path) => path.includes(".tmp")),
        0
      )
    })
  )
})

describe("an encrypted backup", () => {
  it.effect("opens with its passphrase alone, and holds nothing in the clear", () =>
    Effect.gen(function* () {
      const { folder, source, store } = yield* place({ "a.json": `["${"plain words ".repeat(3)}"]` })
      yield* backUp(store, source)
      const cipher = { passphrase: "correct horse" }
      const { report } = yield* backUp(store, source, cipher)
      assert.isAbove(report.added_bytes ?? 0, 0, "copies in the clear do not count")
      const clear = new Set(packsOf(store).filter((path) => !readFileSync(path, "latin1").startsWith("age-")))
      assert.strictEqual(clear.size, 1)
      const backup = report.backup_id
      assert.deepStrictEqual((yield* verifyBackup({ store, backup, cipher })).problems, [])
      const noKey = yield* Effect.flip(verifyBackup({ store, backup }))
      const wrongKey = yield* Effect.flip(verifyBackup({ store, backup, cipher: { passphrase: "wrong" } }))
      assert.deepStrictEqual([noKey.reason, wrongKey.reason], ["needs-key", "wrong-key"])
      yield* restoreBackup({ store, backup, cipher, out: join(folder, "out") })
      assert.deepStrictEqual(contentOf(join(folder, "out")), contentOf(source))
      assert.strictEqual((yield* backUp(store, source, cipher)).report.added_bytes, 0)
    })
  )

  it("keeps the key that another run has given it while this one was making the first", () =>
    withTempDirectory(async (folder) => {
      const [store, other] = [join(folder, "store"), join(folder, "other")]
      for (const path of [store, other]) mkdirSync(path)
      const cipher = { passphrase: "correct horse" }
      const first = await encrypterOf(other, cipher)
      const second = encrypterOf(store, cipher)
      // It has seen by now that there is none.
      await import("age-encryption")
      const identity = join(store, "identity.age")
      copyFileSync(join(other, "identity.age"), identity, constants.COPYFILE_EXCL)
      assert.strictEqual((await second).key, first.key)
      assert.deepStrictEqual(readFileSync(identity), readFileSync(join(other, "identity.age")))
      assert.deepStrictEqual(readdirSync(store), ["identity.age"])
    }))

  it.effect("to a recipient opens with that identity, and not with another", () =>
    Effect.gen(function* () {
      const { source, store } = yield* place({ "a.json": "[1]" })
      const recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
      const identity = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
      const other = yield* Effect.promise(() => generateX25519Identity())
      yield* backUp(store, source, { recipients: [recipient] })
      const check = yield* verifyBackup({ store, backup: "last", cipher: { identities: [identity] } })
      assert.deepStrictEqual(check.problems, [])
      const error = yield* Effect.flip(verifyBackup({ store, backup: "last", cipher: { identities: [other] } }))
      assert.strictEqual(error.reason, "wrong-key")
      const bad = yield* Effect.flip(backUp(store, source, { recipients: ["age1nonsense"] }))
      assert.strictEqual(bad.reason, "bad-key")
    })
  )
})

describe("moving originals", () => {
  const files = {
    "a/good.json": '{"name":"good","patients":[{"id":"1"}]}',
    "b/bad.json": "{",
    "case/scenario.json": '{"name":"case"}',
    "case/patients.json": '{"patients":[{"id":"3"}]}'
  }

  it.effect("takes what is stored and proven, and leaves the rest; restoring in place brings it back", () =>
    Effect.gen(function* () {
      const { database, folder, source } = yield* folderOf(files)
      const store = backupStoreOf(database)
      const before = contentOf(source)
      const report = yield* run(database, [source], { backup: { store }, moveOriginals: join(folder, "old") })
      assert.deepStrictEqual(Object.keys(contentOf(source)), ["b/bad.json"])
      assert.deepStrictEqual(Object.keys(contentOf(join(folder, "old"))), [
        "a/good.json",
        "case/patients.json",
        "case/scenario.json"
      ])
      assert.lengthOf(report.moved ?? [], 3)
      assert.deepStrictEqual((yield* storedReport(database, "last")).moved, report.moved)
      yield* restoreBackup({ store, backup: "last" })
      assert.deepStrictEqual(contentOf(source), before)
      // Beside the sources is a place like any other.
      const beside = join(source, "old")
      const moved = yield* run(database, [join(source, "a"), join(source, "b")], {
        backup: { store },
        moveOriginals: beside
      })
      assert.deepStrictEqual(
        moved.moved?.map(({ to }) => to),
        [join(beside, "a", "good.json")]
      )
    })
  )

  it.effect("is known to status, and is nothing that a later run has to tell, until the original is there again", () =>
    Effect.gen(function* () {
      const { database, folder, source } = yield* folderOf(files)
      const old = join(folder, "old")
      const store = backupStoreOf(database)
      const { run: id } = yield* run(database, [source], { backup: { store }, moveOriginals: old })
      const moved = Effect.map(status({ database, paths: [source], cwd: folder }), ({ sources }) =>
        sources.flatMap(({ change, moved_by, moved_to, path }) =>
          change === "moved" || change === "removed" ? [[path, moved_to, moved_by]] : []
        )
      )
      const expected = [
        [join(source, "a", "good.json"), join(old, "a", "good.json"), id],
        [join(source, "case"), join(old, "case"), id]
      ]
      assert.deepStrictEqual(yield* moved, expected)
      assert.isUndefined((yield* run(database, [source])).removed)
      assert.deepStrictEqual(yield* moved, expected)
      yield* restoreBackup({ store, backup: "last" })
      assert.deepStrictEqual(yield* moved, [])
    })
  )

  it.effect("takes nothing out of a folder in which something is not stored, and says so", () =>
    Effect.gen(function* () {
      const good = (name: string) => `{"name":"${name}","patients":[{"id":"${name}"}]}`
      const { database, folder, source } = yield* folderOf({
        "whole/a.json": good("a"),
        "whole/copy/a.json": good("a"),
        "whole/profile.json": '{"profile":{"name":"p"},"version":"1.0"}',
        "partly/b.json": good("b"),
        "partly/bad.json": "{",
        "partly/deep/c.json": good("c")
      })
      const backup = { store: backupStoreOf(database) }
      const report = yield* run(database, [source], { backup, moveOriginals: join(folder, "old") })
      assert.includeMembers(Object.keys(contentOf(join(folder, "old"))), ["partly/deep/c.json", "whole/a.json"])
      assert.includeMembers(Object.keys(contentOf(source)), ["partly/b.json", "partly/bad.json"])
      assert.deepStrictEqual(report.notes, [
        `Not moved: what is stored of ${join(source, "partly")}, because something else in it is not.`
      ])
      writeFileSync(join(source, "partly", "bad.json"), good("mended"))
      yield* run(database, [source], { backup, moveOriginals: join(folder, "old") })
      assert.includeMembers(Object.keys(contentOf(join(folder, "old"))), ["partly/b.json", "partly/bad.json"])
    })
  )

  it.effect("that was cut short is finished by the next run, and a folder that is one cohort moves at once", () =>
    Effect.gen(function* () {
      const { database, folder, source } = yield* folderOf(files)
      const old = join(folder, "old")
      const moving = run(database, [source], { backup: { store: backupStoreOf(database) }, moveOriginals: old })
      const passed: Array<string> = []
      const cut = yield* Effect.provideService(moving, Failpoints, (point) => {
        if (!point.startsWith("originals/")) return
        passed.push(point)
        if (point === "originals/linked") throw new Error(point)
      })
      assert.deepStrictEqual(passed, ["originals/linked", "originals/moved"])
      assert.lengthOf(cut.moved ?? [], 2)
      assert.isTrue(existsSync(join(source, "a", "good.json")))
      assert.isTrue(existsSync(join(old, "a", "good.json")))
      assert.isFalse(existsSync(join(source, "case")))
      const again = yield* moving
      assert.lengthOf(again.moved ?? [], 1)
      assert.deepStrictEqual(Object.keys(contentOf(source)), ["b/bad.json"])
      assert.lengthOf(Object.keys(contentOf(old)), 3)
    })
  )

  it.effect("leaves what the backup has no copy of, or not all files of, and says so", () =>
    Effect.gen(function* () {
      const { "a/good.json": good, "case/patients.json": patients, "case/scenario.json": scenario } = files
      const { database, folder, source } = yield* folderOf({
        "a/good.json": good,
        "case/patients.json": patients,
        "case/scenario.json": scenario
      })
      const [inCase, away, old] = [join(source, "case"), join(folder, "away"), join(folder, "old")]
      const moving = run(database, [source], { backup: { store: backupStoreOf(database) }, moveOriginals: old })
      let copied = 0
      // The folder is out of reach, as one of a network may be, from the second copy until the copies are made.
      const report = yield* Effect.provideService(moving, Failpoints, (point) => {
        if (point === "backup/copied" && ++copied === 2) renameSync(inCase, away)
        if (point === "backup/listed") renameSync(away, inCase)
      })
      assert.strictEqual(report.outcome, "partly-done")
      assert.deepStrictEqual(
        report.moved?.map(({ path }) => path),
        [join(source, "a", "good.json")]
      )
      assert.deepStrictEqual(report.notes, [
        `Not copied, and in no backup of this run: ${join(inCase, "scenario.json")} (it was not there).`,
        `Not moved: ${join(inCase, "patients.json")} (the backup does not have all files of its folder).`,
        `Not moved: ${join(inCase, "scenario.json")} (the backup has no copy of it as it is now).`
      ])
      assert.deepStrictEqual((yield* storedReport(database, "last")).notes, report.notes)
      const again = yield* moving
      assert.deepStrictEqual([again.outcome, again.notes, filesBelow(source)], ["done", undefined, []])
      assert.lengthOf(again.moved ?? [], 2)
    })
  )

  it.effect("does nothing without backup and proof, over what is there, or into the sources", () =>
    Effect.gen(function* () {
      const { database, folder, source } = yield* folderOf(files)
      const before = contentOf(source)
      const old = join(folder, "old")
      const refused = yield* Effect.flip(run(database, [source], { moveOriginals: join(source, "old") }))
      assert.deepInclude(refused, { _tag: "MoveRefused", reason: "among-sources" })
      // Through a link, from either side.
      symlinkSync(source, join(folder, "link"))
      for (const [given, place] of [
        [source, join(folder, "link", "old")],
        [join(folder, "link"), join(source, "old")]
      ] as const) {
        const linked = yield* Effect.flip(run(database, [given], { moveOriginals: place }))
        assert.deepInclude(linked, { _tag: "MoveRefused", reason: "among-sources", folder: place })
      }
      const elsewhere = otherDisk(source)
      if (elsewhere !== undefined) {
        const far = yield* Effect.flip(run(database, [source], { moveOriginals: join(elsewhere, "not-there", "old") }))
        assert.deepInclude(far, { _tag: "MoveRefused", reason: "other-disk", source: join(source, "a") })
      }
      assert.isFalse(existsSync(database))
      const unproven = yield* run(database, [source], { moveOriginals: old })
      assert.match(unproven.notes?.[0] ?? "", /^No original was moved: /)
      yield* Effect.promise(() => writeFiles(old, { "a/good.json": "mine" }))
      const backup = { store: backupStoreOf(database) }
      const taken = yield* run(database, [join(source, "a"), join(source, "b")], { backup, moveOriginals: old })
      assert.deepStrictEqual(taken.notes, [
        `Not moved: ${join(source, "a", "good.json")} (something of that name is there already).`
      ])
      assert.strictEqual(readFileSync(join(old, "a", "good.json"), "utf8"), "mine")
      assert.deepStrictEqual(contentOf(source), before)
      // Nothing was rejected here: that the original is still there makes the difference.
      writeFileSync(join(source, "a", "more.json"), '{"name":"more","patients":[{"id":"9"}]}')
      writeFileSync(join(old, "good.json"), "mine")
      const partly = yield* run(database, [join(source, "a")], { backup, moveOriginals: old })
      assert.strictEqual(partly.outcome, "partly-done")
      assert.deepStrictEqual(
        partly.moved?.map(({ path }) => path),
        [join(source, "a", "more.json")]
      )
      const stored = yield* storedReport(database, "last")
      assert.deepStrictEqual([stored.outcome, stored.notes?.slice(0, 1)], ["partly-done", partly.notes])
      // With nothing to prove the reasons are on record all the same.
      yield* Effect.promise(() => writeFiles(source, { "c/bad.json": "{" }))
      const unmoved = yield* run(database, [join(source, "a"), join(source, "c")], { backup, moveOriginals: old })
      assert.deepStrictEqual([unmoved.outcome, unmoved.verification.checked], ["done-with-rejects", 0])
      assert.match(unmoved.notes?.[0] ?? "", /^Not moved: .+good\.json/)
      assert.deepStrictEqual((yield* storedReport(database, "last")).notes?.slice(0, 1), unmoved.notes)
    })
  )
})

describe("a migration with a backup", () => {
  it.effect("says which files could not be copied, in the report that is stored too", () =>
    Effect.gen(function* () {
      const { database, source } = yield* folderOf({ "a.json": '{"patients":[]}', "b.json": '{"patients":[]}' })
      const report = yield* Effect.provideService(
        run(database, [source], { backup: { store: backupStoreOf(database) } }),
        Failpoints,
        (point) => {
          if (point === "backup/copied") rmSync(join(source, "b.json"))
        }
      )
      const notes = [`Not copied, and in no backup of this run: ${join(source, "b.json")} (it was not there).`]
      assert.deepStrictEqual(report.notes, notes)
      assert.deepStrictEqual((yield* storedReport(database, "last")).notes, notes)
    })
  )

  it.effect("copies first, records it, and says in the report what was copied", () =>
    Effect.gen(function* () {
      const { database, source } = yield* folderOf({ "a.json": '{"patients":[{"id":"1"}]}', "bad.json": "{" })
      const store = backupStoreOf(database)
      const report = yield* run(database, [source], { backup: { store } })
      assert.deepInclude(report.backup, { path: store, files: 2, bytes: 26 })
      const [row] = yield* query(
        database,
        "SELECT run_id::VARCHAR AS run, files, manifest_sha256 FROM migration_backups"
      )
      assert.deepStrictEqual(row, { run: report.run, files: 2n, manifest_sha256: report.backup?.manifest_sha256 })
      assert.strictEqual(yield* storedBackup(database, store, report.run), report.backup?.manifest_sha256)
    })
  )

  it.effect("gives originals back by no other manifest than the one that the run recorded", () =>
    Effect.gen(function* () {
      const { database, folder, source } = yield* folderOf({ "a.json": '{"patients":[{"id":"1"}]}' })
      const store = backupStoreOf(database)
      yield* run(database, [source], { backup: { store } })
      rmSync(join(source, "a.json"))
      const restore = (test: boolean) => restoreOriginals({ database, run: "last", test })
      const [manifest = ""] = filesBelow(join(store, "manifests"))
      const text = readFileSync(manifest, "utf8")
      // A name of the old form, which says nothing of the content.
      const other = manifest.replace(/_[0-9a-f]{16}\.manifest$/, ".manifest")
      assert.notStrictEqual(other, manifest)
      rmSync(manifest)
      writeFileSync(other, text.replace("a.json", "b.json"))
      for (const test of [true, false]) {
        const error = yield* Effect.flip(restore(test))
        assert.deepInclude(error, { _tag: "BackupError", reason: "changed", path: other })
      }
      assert.deepStrictEqual(readdirSync(source), [])
      const manifestSha256 = sha256(text)
      const out = join(folder, "out")
      const elsewhere = yield* restoreBackup({ store, backup: "last", manifestSha256, out })
      assert.deepStrictEqual(elsewhere.problems, [{ path: other, problem: "manifest-changed" }])
      writeFileSync(other, text)
      assert.deepStrictEqual((yield* restore(true)).restored, [join(source, "a.json")])
      assert.deepStrictEqual((yield* restore(false)).restored, [join(source, "a.json")])
    })
  )

  it.effect("that cannot be made writes no cohort", () =>
    Effect.gen(function* () {
      const { database, folder, source } = yield* folderOf({ "a.json": '{"patients":[{"id":"1"}]}' })
      writeFileSync(join(folder, "file"), "")
      const error = yield* Effect.flip(run(database, [source], { backup: { store: join(folder, "file", "x") } }))
      assert.strictEqual(error._tag, "BackupError")
      assert.deepStrictEqual(yield* query(database, "SELECT 1 FROM migration_runs"), [])
    })
  )

  it.effect("that is stopped while it copies stores nothing, and every source is accounted for", () =>
    Effect.gen(function* () {
      const { database, source } = yield* folderOf({ "a.json": '{"patients":[]}', "b.json": '{"patients":[]}' })
      const store = backupStoreOf(database)
      let asked = 0
      const report = yield* run(database, [source], { backup: { store }, isStopped: () => asked++ > 0 })
      assert.strictEqual(report.outcome, "interrupted")
      assert.deepInclude(report.totals, { found: 2, skipped: 2, migrated: 0, balanced: true })
      assert.isEmpty(filesBelow(store))
      assert.isNull(report.backup)
      assert.isFalse(existsSync(`${database}.wal`))
    })
  )
})
