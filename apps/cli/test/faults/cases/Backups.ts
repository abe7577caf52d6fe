/** Copies of sources that are damaged: named, never restored as if they were whole, and nothing else is touched. */
import assert from "node:assert/strict"
import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import type { FaultCase } from "../Case.ts"
import type { Expected } from "../Invariants.ts"
import type { Ended } from "../Program.ts"
import type { Random } from "../Random.ts"
import { treeOf, type World } from "../World.ts"

const PASSPHRASE = "correct horse"

const packsOf = (world: World): ReadonlyArray<string> =>
  readdirSync(join(world.store, "packs")).map((name) => join(world.store, "packs", name))

const manifestOf = (world: World): string =>
  join(world.store, "manifests", readdirSync(join(world.store, "manifests"))[0] ?? "")

const changeBytes = (path: string, change: (bytes: Buffer) => Uint8Array): void =>
  writeFileSync(path, change(readFileSync(path)))

const flip =
  (share: number, bit: number) =>
  (bytes: Buffer): Buffer => {
    const at = Math.min(bytes.length - 1, Math.floor(share * bytes.length))
    bytes[at] = (bytes[at] ?? 0) ^ (1 << bit)
    return bytes
  }

const edit =
  (from: string | RegExp, to: string) =>
  (bytes: Buffer): Buffer =>
    Buffer.from(bytes.toString("utf8").replace(from, to))

type Damage = readonly [what: string, make: (world: World) => void, expect?: Partial<Expected>]

const onPack =
  (change: (bytes: Buffer) => Uint8Array) =>
  (world: World): void =>
    changeBytes(packsOf(world)[0] ?? "", change)
const onManifest =
  (change: (bytes: Buffer) => Uint8Array) =>
  (world: World): void =>
    changeBytes(manifestOf(world), change)

const damaged = /\[(?:pack-missing|pack-truncated|content-changed|manifest-changed)\]|its manifest cannot be read/

const fixed: ReadonlyArray<Damage> = [
  ["a pack that is gone", (world) => rmSync(packsOf(world)[0] ?? ""), { says: "pack-missing" }],
  ["a pack that is empty", (world) => truncateSync(packsOf(world)[0] ?? "", 0), { says: "pack-truncated" }],
  ["a pack that became a folder", (world) => renameSync(packsOf(world)[0] ?? "", world.path("pack"))],
  ["a pack of another name", (world) => renameSync(packsOf(world)[0] ?? "", join(world.store, "packs", "other.pack"))],
  [
    "a pack more than there should be",
    (world) =>
      copyFileSync(packsOf(world)[0] ?? "", join(world.store, "packs", "00000000-0000-4000-8000-000000000000.pack")),
    { code: 0, says: undefined }
  ],
  ["a manifest that is gone", (world) => rmSync(manifestOf(world)), { says: "manifest-missing" }],
  ["a manifest that is empty", (world) => truncateSync(manifestOf(world), 0)],
  [
    "a manifest that is cut",
    (world) => changeBytes(manifestOf(world), (bytes) => bytes.subarray(0, bytes.length >> 1))
  ],
  ["a manifest of a newer format", onManifest(edit('"format":1', '"format":2'))],
  ["a manifest with another hash", onManifest(edit(/"sha256":"./, '"sha256":"f'))],
  ["a manifest with another size", onManifest(edit(/"bytes":(\d)/, '"bytes":9$1'))],
  ["a manifest with another offset", onManifest(edit(/"offset":\d+/g, '"offset":1'))],
  ["a manifest with a frame more", onManifest(edit(/"frames":\[/g, '"frames":[3,'))],
  ["a manifest whose pack is a path", onManifest(edit(/"pack":"[^"]+"/, '"pack":"../../../source/a"'))],
  ["a manifest with another file name", onManifest(edit("/b.json", "/../../evil.json"))],
  ["a manifest without files", onManifest(edit(/"files":\[.*\],"skipped"/, '"files":[],"skipped"'))]
]

const drawn = (random: Random, count: number): ReadonlyArray<Damage> => {
  const share = (): number => random.below(100_000) / 100_000
  const percent = (part: number): string => `${(part * 100).toFixed(3)} %`
  return [
    ...random.times(count, (): Damage => {
      const at = share()
      return [`a pack cut at ${percent(at)}`, onPack((bytes) => bytes.subarray(0, Math.floor(bytes.length * at)))]
    }),
    ...random.times(count * 2, (): Damage => {
      const [at, bit] = [share(), random.below(8)]
      // Zstandard has bits that it does not look at: then all is as it was, which `look` makes sure of.
      const expect = { code: [0, 6], says: new RegExp(`${damaged.source}|every copy as it was`) }
      return [`a pack with bit ${bit} flipped at ${percent(at)}`, onPack(flip(at, bit)), expect]
    }),
    ...random.times(count * 2, (): Damage => {
      const [at, bit] = [share(), random.below(8)]
      return [`a manifest with bit ${bit} flipped at ${percent(at)}`, onManifest(flip(at, bit))]
    })
  ]
}

/** Verifies, then restores; what is restored is as it was, to the byte. */
const look = async (world: World, key: ReadonlyArray<string> = []): Promise<Ended> => {
  const place = ["--db", world.database, ...key]
  const verified = await world.run("backup", "verify", ...place)
  const out = world.path("out")
  const restored = await world.run("backup", "restore", ...place, "--out", out)
  const originals = new Set([...treeOf(world.source).values()].map(({ content }) => content))
  if (existsSync(out)) {
    for (const [name, { content, type }] of treeOf(out)) {
      assert.ok(type === "folder" || originals.has(content), `${name} is restored, and is not as it was`)
    }
  }
  assert.ok(!existsSync(join(world.root, "evil.json")) && !existsSync(world.path("evil.json")), "a file outside")
  if (verified.code === 0) {
    const filesOf = (folder: string): ReadonlySet<string> =>
      new Set([...treeOf(folder).values()].flatMap(({ content, type }) => (type === "file" ? [content] : [])))
    assert.deepEqual(filesOf(out), filesOf(world.source), "verifying said that all is well, and not all is restored")
  }
  // Whatever cannot be restored is known to verifying; more may be known to it, for the database has the manifest's hash.
  if (restored.code !== 0) assert.notEqual(verified.code, 0, "restoring fails, and verifying said that all is well")
  return { ...verified, stdout: verified.stdout + restored.stdout, stderr: verified.stderr + restored.stderr }
}

const damageCase = ([what, make, expect]: Damage): FaultCase => ({
  group: "a backup that is damaged",
  name: what,
  arrange: async (world) => {
    await world.beginMigrated()
    make(world)
  },
  act: (world) => look(world),
  expect: { code: 6, says: damaged, ...expect }
})

const keyFile = (world: World, text: string): string => {
  writeFileSync(join(world.root, "key"), text)
  return join(world.root, "key")
}

const encryptedCase = (
  what: string,
  make: (world: World) => void,
  key: (world: World) => ReadonlyArray<string>,
  expect: Expected
): FaultCase => ({
  group: "an encrypted backup",
  name: what,
  arrange: async (world) => {
    await world.beginMigrated("--backup-passphrase-file", keyFile(world, PASSPHRASE))
    make(world)
  },
  act: (world) => look(world, key(world)),
  expect: { ...expect, heal: () => undefined }
})

const rightKey = (world: World): ReadonlyArray<string> => ["--backup-passphrase-file", keyFile(world, PASSPHRASE)]

const encryptedCases: ReadonlyArray<FaultCase> = [
  encryptedCase(
    "with the wrong passphrase",
    () => {},
    (world) => ["--backup-passphrase-file", keyFile(world, "wrong")],
    { code: 12, says: "the key does not open it" }
  ),
  encryptedCase(
    "without a passphrase",
    () => {},
    () => [],
    { code: 12, says: "it is encrypted" }
  ),
  encryptedCase("without the store's own key", (world) => rmSync(join(world.store, "identity.age")), rightKey, {
    code: 12,
    says: "the key does not open it"
  }),
  encryptedCase(
    "with a damaged key",
    (world) => changeBytes(join(world.store, "identity.age"), flip(0.6, 2)),
    rightKey,
    { code: 12, says: "the key does not open it" }
  ),
  encryptedCase("with a flipped bit", onPack(flip(0.9, 1)), rightKey, { code: 6, says: "content-changed" }),
  encryptedCase(
    "that is cut",
    onPack((bytes) => bytes.subarray(0, bytes.length - 1)),
    rightKey,
    { code: 6, says: "pack-truncated" }
  )
]

/** Files that are in the way when copies are restored. */
const restoreCases: ReadonlyArray<FaultCase> = [
  {
    group: "restoring copies",
    name: "over files that have other bytes now leaves them",
    arrange: async (world) => {
      await world.beginMigrated()
      world.write({ "b.json": '{"name":"b","patients":[{"id":"newer"}]}' })
    },
    act: (world) => world.run("backup", "restore", "--in-place", "--db", world.database),
    expect: { code: 3, says: "left as it is, other bytes are there", again: 3, isComplete: false, lasts: true }
  },
  {
    group: "restoring copies",
    name: "brings back what is gone, and is the same the second time",
    arrange: async (world) => {
      await world.beginMigrated()
      rmSync(join(world.source, "b.json"))
      rmSync(join(world.source, "folder"), { recursive: true })
    },
    act: async (world) => {
      const lost = treeOf(world.source).size
      const ended = await world.run("backup", "restore", "--in-place", "--db", world.database)
      assert.ok(treeOf(world.source).size > lost)
      world.freeze()
      const again = await world.run("backup", "restore", "--in-place", "--db", world.database)
      assert.deepEqual([again.code, again.stdout], [0, "0 files restored, 4 there already\n"])
      return ended
    },
    expect: { code: 0, says: "3 files restored" }
  }
]

export const backupCases = (random: Random, count: number): ReadonlyArray<FaultCase> => [
  ...[...new Map([...fixed, ...drawn(random, count)].map((damage) => [damage[0], damage])).values()].map(damageCase),
  ...encryptedCases,
  ...restoreCases
]
