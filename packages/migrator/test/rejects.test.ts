/** Rejected sources: kept to the byte, exported, mended, and replayed through the same pipeline. */
import {
  backupStoreOf,
  exportRejects,
  listBackups,
  listRejects,
  readExport,
  rollback,
  type RunReport,
  status,
  storedReport
} from "@mallard/migrator"
import { Failpoints } from "@mallard/duckdb-store"
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert } from "vitest"
import { type Files, folderOf, run } from "./support.ts"

/** Bytes that are no text in any encoding. */
const latin = Buffer.from('{"name":"caf\u00e9","patients":[]}', "latin1")

const files: Files = {
  "good.json": '{"name":"good","patients":[{"id":"1"}]}',
  "cut.json": '{"name":"cut","patients":[{"id":"2"}',
  "latin.json": latin,
  "case/scenario.json": '{"name":"case"}',
  "case/patients.json": '{"patients":[{"id":"3"},]}'
}

const rejected = Effect.fnUntraced(function* (isBackedUp: boolean) {
  const place = yield* folderOf(files)
  const store = backupStoreOf(place.database)
  const keeping = isBackedUp ? { backup: { store } } : { rejectStore: store }
  const report = yield* run(place.database, [place.source], keeping)
  return { ...place, keeping, report, out: join(place.folder, "mend") }
})

describe("rejected sources", () => {
  for (const isBackedUp of [true, false]) {
    it.effect(
      `are kept to the byte ${isBackedUp ? "in the backup of all" : "although nothing else is backed up"}`,
      () =>
        Effect.gen(function* () {
          const { database, folder, out, report, source } = yield* rejected(isBackedUp)
          const rejects = yield* listRejects(database, undefined)
          assert.deepStrictEqual(
            rejects.map(({ path, remarks, stored_by }) => [path, remarks[0]?.code, stored_by]),
            [
              [join(source, "case"), "unexpected-byte", null],
              [join(source, "cut.json"), "unexpected-end", null],
              [join(source, "latin.json"), "invalid-utf8", null]
            ]
          )
          assert.strictEqual(report.totals.rejected, 3)
          // The originals may be gone by then.
          rmSync(source, { recursive: true })
          const { exported, missing } = yield* exportRejects({ rejects, out })
          assert.isEmpty(missing)
          assert.deepStrictEqual(
            exported.map((one) => one.source),
            ["1/case", "2/cut.json", "3/latin.json"]
          )
          assert.isTrue(readFileSync(join(out, "3", "latin.json")).equals(latin))
          assert.deepStrictEqual(readdirSync(join(out, "1", "case")), ["patients.json", "scenario.json"])
          assert.strictEqual(readFileSync(join(out, "2", "cut.json"), "utf8"), files["cut.json"])
          const again = yield* Effect.flip(exportRejects({ rejects, out }))
          assert.strictEqual(again._tag, "ExportExists")
          const other = join(folder, "other")
          mkdirSync(other)
          writeFileSync(join(other, "a.json"), "{}")
          for (const taken of [other, join(other, "a.json")]) {
            assert.strictEqual((yield* Effect.flip(exportRejects({ rejects, out: taken })))._tag, "ExportExists")
          }
          assert.deepStrictEqual(readdirSync(other), ["a.json"])
        })
    )
  }

  it.effect("that are mended and replayed are stored, and reports say what each was", () =>
    Effect.gen(function* () {
      const { database, keeping, out, report, source } = yield* rejected(true)
      const rejects = yield* listRejects(database, "last")
      yield* exportRejects({ rejects, out })
      writeFileSync(join(out, "1", "case", "patients.json"), '{"patients":[{"id":"3"}]}')
      writeFileSync(join(out, "2", "cut.json"), '{"name":"cut","patients":[{"id":"2"}]}')
      const replays = yield* readExport(out)
      const replayed = yield* run(database, [...replays.keys()], { ...keeping, replays })
      const stored = yield* storedReport(database, "last")
      for (const told of [replayed, stored]) {
        assert.deepStrictEqual(
          told.items.map(({ outcome, replays: from }) => [outcome, from?.run, from?.path]),
          [
            ["migrated", report.run, join(source, "case")],
            ["migrated", report.run, join(source, "cut.json")],
            ["rejected", report.run, join(source, "latin.json")]
          ]
        )
        assert.isTrue(told.totals.balanced)
      }
      const of = yield* listRejects(database, report.run)
      assert.deepStrictEqual(
        of.map(({ stored_by }) => stored_by),
        [replayed.run, replayed.run, null]
      )
      const changes = Effect.map(status({ database, paths: [source], cwd: source }), ({ sources }) =>
        sources.map(({ change, pending, stored_by }) => [change, pending, stored_by])
      )
      assert.deepStrictEqual(yield* changes, [
        ["mended", false, replayed.run],
        ["mended", false, replayed.run],
        ["unchanged", false, undefined],
        ["rejected", true, undefined]
      ])
      writeFileSync(join(source, "cut.json"), '{"name":"other"')
      assert.deepStrictEqual((yield* changes)[1], ["changed", true, undefined])
      const open = yield* listRejects(database, undefined)
      assert.deepStrictEqual(
        open.map(({ path }) => path),
        [join(source, "latin.json")]
      )
    })
  )

  it.effect("are open again when what was made of them is undone, and not when that was replaced", () =>
    Effect.gen(function* () {
      const { database, folder, keeping, out, source } = yield* rejected(true)
      yield* exportRejects({ rejects: yield* listRejects(database, undefined), out })
      writeFileSync(join(out, "2", "cut.json"), '{"name":"cut","patients":[{"id":"2"}]}')
      const replays = yield* readExport(out)
      const cut = join(source, "cut.json")
      const mended = new Map([...replays].filter(([, { path }]) => path === cut))
      const replayed = yield* run(database, [...mended.keys()], { ...keeping, replays: mended })
      const told = Effect.gen(function* () {
        const { sources } = yield* status({ database, paths: [cut], cwd: source })
        const open = (yield* listRejects(database, undefined)).some(({ path }) => path === cut)
        return [sources[0]?.change, sources[0]?.pending, open]
      })
      const undo = (id: string | null) =>
        rollback({ database, run: id ?? "", cascade: false, test: false, program: "test" })
      assert.deepStrictEqual(yield* told, ["mended", false, false])
      const undone = yield* undo(replayed.run)
      assert.deepStrictEqual(yield* told, ["rejected", true, true])
      yield* undo(undone.run)
      assert.deepStrictEqual(yield* told, ["mended", false, false])
      const other = join(folder, "other.json")
      writeFileSync(other, '{"name":"cut","patients":[{"id":"7"}]}')
      const replaced = yield* run(database, [other], { onConflict: "replace" })
      assert.strictEqual(replaced.totals.migrated, 1)
      assert.deepStrictEqual(yield* told, ["mended", false, false])
    })
  )

  it.effect("are not open where what was made of them is stored from elsewhere, before or in the same run", () =>
    Effect.gen(function* () {
      const { database, source } = yield* rejected(false)
      const cut = join(source, "cut.json")
      const isOpen = Effect.map(listRejects(database, undefined), (open) => open.some(({ path }) => path === cut))
      const same = '{"name":"same","patients":[{"id":"9"}]}'
      writeFileSync(cut, same)
      writeFileSync(join(source, "a-twin.json"), same)
      const both = yield* run(database, [source])
      assert.deepStrictEqual([both.totals.migrated, both.totals.skipped, yield* isOpen], [1, 1, false])
      yield* rollback({ database, run: both.run, cascade: false, test: false, program: "test" })
      assert.isTrue(yield* isOpen)
      writeFileSync(cut, String(files["good.json"]))
      const later = yield* run(database, [cut])
      assert.deepStrictEqual([later.totals.unchanged, yield* isOpen], [1, false])
    })
  )

  it.effect("that are mended in place are told as changed, by a rehearsal and the stored report too", () =>
    Effect.gen(function* () {
      const { database, source } = yield* rejected(true)
      const whole = '{"patients":[{"id":"3"} ]}'
      writeFileSync(join(source, "case", "patients.json"), whole)
      // As long as what was rejected: only its copy tells.
      writeFileSync(join(source, "cut.json"), '{"name":"cut","patients":[{"id":2}]}')
      const mended = (of: RunReport) =>
        of.items.filter(({ path }) => /c(ase|ut\.json)$/.test(path)).map(({ change, outcome }) => [outcome, change])
      const expected: ReturnType<typeof mended> = [
        ["migrated", "changed"],
        ["migrated", "changed"]
      ]
      assert.deepStrictEqual(mended(yield* run(database, [source], { dryRun: true })), expected)
      assert.deepStrictEqual(mended(yield* run(database, [source])), expected)
      assert.deepStrictEqual(mended(yield* storedReport(database, "last")), expected)
    })
  )

  it.effect("of several files are told as changed when one was taken away", () =>
    Effect.gen(function* () {
      const { database, source } = yield* folderOf({ ...files, "case/claims.json": "[]" })
      yield* run(database, [source], { backup: { store: backupStoreOf(database) } })
      rmSync(join(source, "case", "claims.json"))
      const { sources } = yield* status({ database, paths: [join(source, "case")], cwd: source })
      assert.deepStrictEqual(
        sources.map(({ change }) => change),
        ["changed"]
      )
    })
  )

  it.effect("count as stored when a later run takes them from where they were", () =>
    Effect.gen(function* () {
      const { database, source } = yield* rejected(false)
      writeFileSync(join(source, "cut.json"), '{"name":"cut","patients":[{"id":"2"}]}')
      const later = yield* run(database, [source])
      const reject = (yield* listRejects(database, undefined)).find(({ path }) => path.endsWith("cut.json"))
      assert.isUndefined(reject)
      const all = yield* listRejects(database, "last")
      assert.deepStrictEqual(
        all.map(({ backup, run: of }) => [of, backup]),
        [
          [later.run, null],
          [later.run, null]
        ]
      )
    })
  )

  for (const isBackedUp of [true, false]) {
    it.effect(
      `of which not every file was copied are missing, ${isBackedUp ? "also" : "not only"} in a full backup`,
      () =>
        Effect.gen(function* () {
          const { database, folder, source } = yield* folderOf(files)
          const store = backupStoreOf(database)
          const keeping = isBackedUp ? { backup: { store } } : { rejectStore: store }
          yield* Effect.provideService(run(database, [source], keeping), Failpoints, (point) => {
            if (point === "backup/copied") rmSync(join(source, "case", "scenario.json"), { force: true })
          })
          const out = join(folder, "mend")
          const result = yield* exportRejects({ rejects: yield* listRejects(database, undefined), out })
          assert.deepStrictEqual(
            result.missing.map(({ path }) => path),
            [join(source, "case")]
          )
          assert.deepStrictEqual(readdirSync(out), ["2", "3", "rejects.index"])
          assert.strictEqual((yield* readExport(out)).size, 2)
        })
    )
  }

  it.effect("cannot be replayed from a folder whose index leads elsewhere", () =>
    Effect.gen(function* () {
      const { database, out, folder } = yield* rejected(true)
      assert.strictEqual((yield* Effect.flip(readExport(folder))).reason, "no-index")
      const nowhere = yield* Effect.flip(readExport(join(folder, "nowhere")))
      assert.include(nowhere.message, "nowhere: there is no such folder. Give the one that")
      yield* exportRejects({ rejects: yield* listRejects(database, undefined), out })
      const index = join(out, "rejects.index")
      assert.isTrue(existsSync(index))
      writeFileSync(index, readFileSync(index, "utf8").replace('"1/case"', '"../source"'))
      assert.strictEqual((yield* Effect.flip(readExport(out))).reason, "changed")
    })
  )
})

describe("rejected sources after encrypted copies", () => {
  it.effect("are not copied without a key, and the report says so, the stored one too", () =>
    Effect.gen(function* () {
      const { database, source } = yield* folderOf(files)
      const store = backupStoreOf(database)
      const recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
      yield* run(database, [source], { backup: { store, cipher: { recipients: [recipient] } } })
      const { backups: before } = yield* listBackups(store)
      writeFileSync(join(source, "late.json"), '{"name":"late","patients":[{"id":"4"}')
      const report = yield* run(database, [source], { rejectStore: store })
      assert.isTrue(report.items.some(({ outcome, path }) => outcome === "rejected" && path.endsWith("late.json")))
      assert.deepStrictEqual((yield* listBackups(store)).backups, before)
      const stored = yield* storedReport(database, "last")
      for (const { notes = [] } of [report, stored]) {
        assert.include(notes.join(), "The rejected files were not copied")
        assert.include(notes.join(), "--backup-passphrase-file")
      }
      const reject = (yield* listRejects(database, "last")).find(({ path }) => path.endsWith("late.json"))
      assert.isNull(reject?.backup)
      // Nor into another store, in which nothing is encrypted.
      const plain = `${store}-plain`
      const other = yield* run(database, [source], { rejectStore: plain })
      assert.include(other.notes?.join(), "The rejected files were not copied")
      assert.isFalse(existsSync(plain))
      const copied = yield* run(database, [source], { backup: { store: plain } })
      assert.include(copied.notes?.join(), "The copies of this run are not encrypted")
      const far = yield* folderOf(files)
      const away = join(far.folder, "away")
      yield* run(far.database, [far.source], { backup: { store: away, cipher: { recipients: [recipient] } } })
      // A disk that is not there now: the ledger knows that what lies on it is encrypted.
      renameSync(away, `${away}-elsewhere`)
      writeFileSync(join(far.source, "late.json"), '{"name":"late","patients":[{"id":"4"}')
      yield* run(far.database, [far.source], { rejectStore: backupStoreOf(far.database) })
      assert.isFalse(existsSync(backupStoreOf(far.database)))
      // From now on the copies are plain ones, as was told.
      assert.isUndefined((yield* run(database, [source], { rejectStore: plain })).notes)
    })
  )
})

describe("rejected sources that are gone", () => {
  it.effect("are told as not stored, unlike those that are", () =>
    Effect.gen(function* () {
      const { database, source } = yield* rejected(false)
      const paths = ["cut.json", "good.json"].map((name) => join(source, name))
      for (const path of paths) rmSync(path)
      const { sources } = yield* status({ database, paths: [source], cwd: source })
      assert.deepStrictEqual(
        sources.filter(({ change }) => change === "removed").map(({ path, stored }) => [path, stored]),
        [
          [paths[0], false],
          [paths[1], undefined]
        ]
      )
      const report = yield* run(database, [source])
      assert.deepStrictEqual([report.removed, report.removed_unstored], [paths, [paths[0]]])
      const stored = yield* storedReport(database, "last")
      assert.deepStrictEqual(stored.removed_unstored, report.removed_unstored)
    })
  )
})

describe("sources that are to be taken again", () => {
  it.effect("and are gone are named, and the copy of what was rejected can be had as before", () =>
    Effect.gen(function* () {
      const { database, keeping, out, report, source } = yield* rejected(true)
      rmSync(join(source, "cut.json"))
      const only = new Set([join(source, "cut.json"), join(source, "latin.json")])
      const again = yield* run(database, [source], { ...keeping, only, retries: report.run })
      assert.deepStrictEqual(
        again.items.map(({ outcome, path, remarks }) => [path, outcome, remarks[0]?.code]),
        [
          [join(source, "latin.json"), "rejected", "invalid-utf8"],
          [join(source, "cut.json"), "skipped", "gone"]
        ]
      )
      assert.isTrue(again.totals.balanced)
      const rejects = yield* listRejects(database, undefined)
      const { missing } = yield* exportRejects({ rejects, out })
      assert.deepStrictEqual(missing, [])
      assert.isTrue(rejects.some(({ path }) => path === join(source, "cut.json")))
    })
  )
})
