import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it, onTestFinished } from "vitest"
import {
  asidePath,
  leftoversIn,
  namesBeside,
  namesInStore,
  removeLeftovers,
  removeScratch,
  removeSpill,
  scratchPrefix
} from "@mallard/duckdb-store"

const makeFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "mallard-leftovers-"))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The number of a process that is gone. */
const gone = spawnSync(process.execPath, ["--version"]).pid
const id = "00000000-0000-4000-8000-000000000000"

/** Makes a file that was last written to so many hours ago. */
const left = (folder: string, name: string, hours: number): string => {
  const path = join(folder, name)
  writeFileSync(path, "half")
  const at = Date.now() / 1000 - hours * 3600
  utimesSync(path, at, at)
  return name
}

describe("what killed processes left behind", () => {
  it("goes when its process is gone and it is an hour old, or when it is older than anything takes", () => {
    const folder = makeFolder()
    left(folder, `.mallard-${gone}-${id}.tmp`, 2)
    left(folder, `.mallard-${process.pid}-${id}.tmp`, 25)
    left(folder, ".mallard-0123456789abcdef.tmp", 25)
    const kept = [
      left(folder, `.mallard-${gone}-${id.replace("8", "9")}.tmp`, 0),
      left(folder, `.mallard-${process.pid}-${id.replace("8", "9")}.tmp`, 2),
      left(folder, ".mallard-fedcba9876543210.tmp", 2)
    ]
    removeLeftovers(folder)
    assert.deepStrictEqual(readdirSync(folder).sort(), kept.sort())
    assert.lengthOf(leftoversIn(folder), 3)
  })

  it("is never taken for what another program writes, however old", () => {
    const folder = makeFolder()
    const names = [
      `.a.json.tmp-${id}`,
      `.other.duckdb.tmp-${gone}`,
      `.mallard-${gone}`,
      `mallard-${gone}-${id}.tmp`,
      "a.json.tmp",
      ".scratch-1"
    ].map((name) => left(folder, name, 1000))
    removeLeftovers(folder, namesBeside(join(folder, "test.duckdb")))
    assert.deepStrictEqual(readdirSync(folder).sort(), names.sort())
  })

  it("is known beside a database by its name, and in a store of copies by any", () => {
    const folder = makeFolder()
    for (const suffix of ["", ".wal"]) left(folder, `.a+b.duckdb.tmp-${gone}${suffix}`, 2)
    left(folder, `.a+b.duckdb.rebuilt.tmp-${gone}`, 2)
    removeLeftovers(folder, namesBeside(join(folder, "a+b.duckdb")))
    assert.deepStrictEqual(readdirSync(folder), [])
    left(folder, `.x.pack.tmp-${id}`, 25)
    mkdirSync(join(folder, `.scratch-${id}`))
    utimesSync(join(folder, `.scratch-${id}`), 1, 1)
    removeLeftovers(folder, namesInStore)
    assert.deepStrictEqual(readdirSync(folder), [])
  })

  it("has the name of what is written aside, which is short enough for every name", () => {
    const folder = makeFolder()
    const aside = asidePath(join(folder, "x".repeat(255)))
    writeFileSync(aside, "")
    assert.deepStrictEqual(leftoversIn(folder), [{ path: aside, isAbandoned: false }])
  })

  it("goes from the folders for temporary files, and from that of a database", () => {
    const folder = makeFolder()
    const scratch = join(folder, scratchPrefix("rehearsal").replace(String(process.pid), String(gone)))
    for (const path of [scratch, join(folder, "mallard-rehearsals")]) mkdirSync(path)
    utimesSync(scratch, 1, 1)
    removeScratch(folder, "rehearsal")
    assert.deepStrictEqual(readdirSync(folder), ["mallard-rehearsals"])
    const database = join(folder, "x.duckdb")
    mkdirSync(`${database}.tmp`)
    writeFileSync(join(`${database}.tmp`, "duckdb_temp_storage_DEFAULT-0.tmp"), "")
    removeSpill(database)
    assert.isFalse(existsSync(`${database}.tmp`))
    mkdirSync(`${database}.tmp`)
    writeFileSync(join(`${database}.tmp`, "notes.txt"), "")
    removeSpill(database)
    assert.isTrue(existsSync(join(`${database}.tmp`, "notes.txt")))
  })
})
