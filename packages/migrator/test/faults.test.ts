/**
 * Faults of disks, permissions, files and sources. After each: a typed error or a rejected item that says what to do, no
 * original changed, and a database that opens and verifies, or that did not come to be.
 */
import { quarantineLog, StoreError } from "@mallard/duckdb-store"
import { verify } from "@mallard/migrator"
import { tempDirectory, writeFiles } from "@mallard/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn, spawnSync } from "node:child_process"
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
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
import { join } from "node:path"
import { cohorts, type Files, folderOf, hasLog, itemOf, migrated, outcomes, run, sha256 } from "./support.ts"

const cohortOf = (name: string, id = "p"): string => JSON.stringify({ name, patients: [{ id }] })

/** The bytes of every regular file of a folder, by name. */
const bytesIn = (folder: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => [name, sha256(readFileSync(join(folder, name)))])
  )

/** The database opens and verifies, and no log lies beside it. */
const assertSound = Effect.fnUntraced(function* (database: string) {
  const report = yield* verify({ database, sources: [] })
  assert.deepStrictEqual([report.mismatched, report.findings], [0, []])
  assert.isFalse(hasLog(database))
})

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A migration in a process of its own, started by another command where one is given. */
const child = (args: ReadonlyArray<string>, before: ReadonlyArray<string> = []) =>
  Effect.callback<Ended>((resume) => {
    const script = join(import.meta.dirname, "crash-child.ts")
    const [command = "", ...rest] = [...before, process.execPath, script, ...args]
    const started = spawn(command, rest, { stdio: ["ignore", "pipe", "pipe"] })
    let stdout = ""
    let stderr = ""
    started.stdout.on("data", (text) => (stdout += String(text)))
    started.stderr.on("data", (text) => (stderr += String(text)))
    started.on("error", () => {})
    started.on("close", (code) => resume(Effect.succeed({ code, stdout, stderr })))
  })

const works = (command: string, ...args: ReadonlyArray<string>): boolean => spawnSync(command, args).status === 0

describe("a source that changes between being found and being read", () => {
  const old = cohortOf("changing", "old")
  const changes: Readonly<Record<string, (path: string) => void>> = {
    grows: (path) => appendFileSync(path, " "),
    "is cut": (path) => truncateSync(path, 10),
    vanishes: (path) => rmSync(path),
    "is replaced by another file": (path) => {
      writeFileSync(`${path}.new`, cohortOf("changing", "new"))
      renameSync(`${path}.new`, path)
    },
    "is rewritten with the same size and time": (path) => {
      const { atime, mtime } = statSync(path)
      writeFileSync(path, old.replace("old", "new"))
      utimesSync(path, atime, mtime)
    },
    "becomes a folder": (path) => {
      rmSync(path)
      mkdirSync(path)
    },
    "becomes a link": (path) => {
      rmSync(path)
      symlinkSync("/dev/zero", path)
    }
  }
  for (const [what, change] of Object.entries(changes)) {
    it.effect(`and ${what} is rejected alone, and stored by the next run if it can be`, () =>
      Effect.gen(function* () {
        const { database, source } = yield* folderOf({
          "a.json": cohortOf("a"),
          "changing.json": old,
          "z.json": cohortOf("z")
        })
        const path = join(source, "changing.json")
        const report = yield* run(database, [source], {
          onProgress: (step) => {
            if (step.phase === "found") change(path)
          }
        })
        assert.strictEqual(report.outcome, "done-with-rejects")
        assert.deepStrictEqual(outcomes(report), {
          "a.json": "migrated",
          "changing.json": "rejected",
          "z.json": "migrated"
        })
        assert.isTrue(report.totals.balanced)
        assert.isNotEmpty(itemOf(report, "changing.json").remarks[0]?.message)
        yield* assertSound(database)
        const again = yield* run(database, [source])
        assert.strictEqual(again.totals.unchanged, 2)
        yield* assertSound(database)
      })
    )
  }
})

describe("names", () => {
  it.effect("of any kind lead each to its own cohort, and folders and loops of links to none", () =>
    Effect.gen(function* () {
      const names = [
        "line\nbreak.json",
        "..dots...json",
        "-rf.json",
        "Case.json",
        "case.json",
        "caf\u00e9.json",
        "cafe\u0301.json",
        " blank .json",
        "quote'\";--.json",
        `${"l".repeat(250)}.json`
      ]
      const { database, folder, source } = yield* folderOf({})
      mkdirSync(source, { recursive: true })
      for (const name of names) writeFileSync(join(source, name), cohortOf(`cohort ${names.indexOf(name)}`, name))
      // A file system that takes two of these names for one has fewer files.
      const files = readdirSync(source).length
      mkdirSync(join(source, "folder.json"))
      symlinkSync(source, join(source, "loop"))
      symlinkSync("self.json", join(source, "self.json"))
      symlinkSync(join(folder, "nowhere"), join(source, "dangling.json"))
      const before = bytesIn(source)
      const report = yield* run(database, [source])
      assert.strictEqual(report.totals.migrated, files)
      assert.strictEqual(report.items.length, files)
      assert.deepStrictEqual(bytesIn(source), before)
      yield* assertSound(database)
      const compared = yield* verify({ database, sources: [source] })
      assert.deepStrictEqual(compared.sources, { checked: files, matched: files, mismatched: 0 })
      assert.strictEqual((yield* run(database, [source])).totals.unchanged, files)
    })
  )
})

describe("a database file", () => {
  const damages: Readonly<Record<string, readonly [damage: (path: string) => void, reasons: ReadonlyArray<string>]>> = {
    "that is cut in half": [(path) => truncateSync(path, statSync(path).size >> 1), ["damaged"]],
    "whose headers are broken": [
      (path) => writeFileSync(path, readFileSync(path).fill(0xff, 4096, 12_288)),
      ["damaged", "io", "newer"]
    ],
    "that is empty": [(path) => truncateSync(path, 0), ["not-a-database"]],
    "that is text": [(path) => writeFileSync(path, "[]".repeat(9000)), ["not-a-database"]],
    "of SQLite": [
      (path) => writeFileSync(path, Buffer.from(`SQLite format 3\0${"\0".repeat(9000)}`)),
      ["not-a-database"]
    ],
    "that is a folder": [
      (path) => {
        rmSync(path)
        mkdirSync(path)
      },
      ["not-a-database", "bad-path"]
    ]
  }
  for (const [what, [damage, reasons]] of Object.entries(damages)) {
    it.effect(`${what} is refused with a reason, and nothing is changed`, () =>
      Effect.gen(function* () {
        const { database, folder, source } = yield* migrated({ "a.json": cohortOf("a") }, { verify: false })
        damage(database)
        const before = [bytesIn(join(folder, "db")), bytesIn(source)]
        for (const attempt of [
          Effect.asVoid(run(database, [source])),
          Effect.asVoid(verify({ database, sources: [source] }))
        ]) {
          const error = yield* Effect.flip(attempt)
          assert.instanceOf(error, StoreError)
          assert.include(reasons, error.reason)
          assert.match(error.message, /\. [A-Z].+\.$/)
        }
        assert.deepStrictEqual([bytesIn(join(folder, "db")), bytesIn(source)], before)
        const other = join(folder, "other.duckdb")
        assert.strictEqual((yield* run(other, [source])).outcome, "done")
      })
    )
  }
})

describe("a write-ahead log", () => {
  it.effect("that is cut loses whole items, which verify names and the next run stores again", () =>
    Effect.gen(function* () {
      const files: Files = { "a.json": cohortOf("a"), "b.json": cohortOf("b") }
      const { database, folder, source } = yield* folderOf({ "a.json": cohortOf("a") })
      yield* run(database, [source], { verify: false })
      yield* Effect.promise(() => writeFiles(source, { "b.json": cohortOf("b") }))
      yield* child([database, join(source, "b.json"), "die"])
      const file = readFileSync(database)
      const log = readFileSync(`${database}.wal`)
      const undisturbed = yield* migrated(files, { verify: false })
      const expected = yield* cohorts(undisturbed.database)
      for (const [cut, isThere] of [
        [0, false],
        [0.5, false],
        [1 - 1 / log.length, false],
        [1, true]
      ] as const) {
        writeFileSync(database, file)
        writeFileSync(`${database}.wal`, log.subarray(0, Math.floor(log.length * cut)))
        const compared = yield* verify({ database, sources: [source] })
        assert.deepStrictEqual(
          compared.findings.map(({ code, where }) => [code, where]),
          isThere ? [] : [["source-not-stored", join(source, "b.json")]]
        )
        const report = yield* run(database, [source])
        assert.deepStrictEqual(outcomes(report), {
          "a.json": "unchanged",
          "b.json": isThere ? "unchanged" : "migrated"
        })
        assert.deepStrictEqual(yield* cohorts(database), expected)
        yield* assertSound(database)
      }
      // The log of this database beside another one.
      const other = join(folder, "other.duckdb")
      yield* run(other, [source], { verify: false })
      const sound = readFileSync(other)
      writeFileSync(`${other}.wal`, log)
      const error = yield* Effect.flip(run(other, [source]))
      assert.instanceOf(error, StoreError)
      assert.strictEqual(error.reason, "wal")
      assert.include(error.message, "--quarantine-wal")
      assert.isTrue(sound.equals(readFileSync(other)))
      assert.isTrue(log.equals(readFileSync(`${other}.wal`)))
      assert.lengthOf(yield* quarantineLog({ path: other }), 1)
      assert.strictEqual((yield* run(other, [source])).totals.unchanged, 2)
      yield* assertSound(other)
    })
  )
})

const hasLimits = works("prlimit", "--fsize=100000000", "true")
const asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
const canBeNobody =
  process.getuid?.() === 0 &&
  works("setpriv", ...asNobody.slice(1), process.execPath, "--check", join(import.meta.dirname, "crash-child.ts"))
const skipped = [
  ...(hasLimits ? [] : ["no space (prlimit)"]),
  ...(canBeNobody ? [] : ["permissions (setpriv, as root)"])
]

describe("a system that refuses", () => {
  it("is tried as far as this machine can", (context) => {
    context.skip(skipped.length > 0, `${skipped.length} faults cannot be made here: ${skipped.join(", ")}`)
    assert.deepStrictEqual(skipped, [])
  })

  it.effect.skipIf(!hasLimits)("more space ends the run with an error, and loses nothing", () =>
    Effect.gen(function* () {
      const text = JSON.stringify({
        name: "large",
        patients: Array.from({ length: 20_000 }, (_, at) => ({ id: sha256(`${at}`), note: sha256(`n${at}`) }))
      })
      const { database, source } = yield* folderOf({ "a.json": cohortOf("a") })
      const tooSmall = yield* child([database, source], ["prlimit", "--fsize=100000"])
      assert.strictEqual(tooSmall.code, 1)
      assert.isFalse(existsSync(database))
      yield* run(database, [source], { verify: false })
      const limit = statSync(database).size + 300_000
      yield* Effect.promise(() => writeFiles(source, { "large.json": text }))
      const before = bytesIn(source)
      const full = yield* child([database, source], ["prlimit", `--fsize=${limit}`])
      assert.strictEqual(full.code, 1, full.stdout)
      assert.match(full.stderr, /space|Nothing is half stored/)
      assert.deepStrictEqual(bytesIn(source), before)
      const found = yield* verify({ database, sources: [] })
      assert.deepStrictEqual(found.findings, [])
      const again = yield* run(database, [source])
      assert.deepStrictEqual(outcomes(again), { "a.json": "unchanged", "large.json": "migrated" })
      yield* assertSound(database)
    })
  )

  const refusals: Readonly<
    Record<string, readonly [deny: (place: { database: string; source: string }) => void, code: number, says: RegExp]>
  > = {
    "to read one source": [({ source }) => chmodSync(join(source, "b.json"), 0), 0, /^done-with-rejects$/],
    "to write the database": [
      ({ database }) => chmodSync(database, 0o444),
      1,
      /the operating system does not permit it/
    ],
    "to read the database": [({ database }) => chmodSync(database, 0), 1, /the operating system does not permit it/]
  }
  for (const [what, [deny, code, says]] of Object.entries(refusals)) {
    it.effect.skipIf(!canBeNobody)(`${what} is told from a broken one, and changes nothing`, () =>
      Effect.gen(function* () {
        const folder = yield* tempDirectory
        const source = join(folder, "source")
        const database = join(folder, "test.duckdb")
        yield* Effect.promise(() => writeFiles(source, { "a.json": cohortOf("a") }))
        yield* run(database, [source], { verify: false })
        yield* Effect.promise(() => writeFiles(source, { "b.json": cohortOf("b") }))
        for (const path of [folder, source, database, join(source, "a.json"), join(source, "b.json")]) {
          chownSync(path, 65_534, 65_534)
        }
        const before = [bytesIn(source), sha256(readFileSync(database))]
        deny({ database, source })
        const ended = yield* child([database, source], asNobody)
        assert.strictEqual(ended.code, code, ended.stderr)
        assert.match(code === 0 ? ended.stdout : ended.stderr, says)
        assert.deepStrictEqual(bytesIn(source), before[0])
        if (code !== 0) assert.strictEqual(sha256(readFileSync(database)), before[1])
        chmodSync(database, 0o600)
        yield* assertSound(database)
        assert.strictEqual((yield* run(database, [source])).outcome, "done")
      })
    )
  }
})
