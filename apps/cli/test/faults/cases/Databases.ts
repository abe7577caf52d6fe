/** Database files that are damaged, or are no database. */
import {
  mkdirSync,
  openSync,
  closeSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync
} from "node:fs"
import { spawnSync } from "node:child_process"
import { blockBytes, StoreError, type StoreReason } from "@mallard/duckdb-store"
import type { FaultCase } from "../Case.ts"
import type { Ended } from "../Program.ts"
import type { Expected } from "../Invariants.ts"
import { type Random } from "../Random.ts"
import type { World } from "../World.ts"

/** The command says exactly this about the database. */
export const saysOf = (reason: StoreReason, isFolder = false): string => {
  const { next, what } = new StoreError({ reason, path: "", ...(isFolder ? { folder: true } : {}) })
  return `${what}. ${next}`
}

const elsewhere = (world: World): string => world.path("other", "other.duckdb")

/** What is no database of ours is refused, for reading and for writing, and not a byte of it changes. */
const refusals: ReadonlyArray<
  readonly [what: string, reason: StoreReason, code: number, make: (path: string) => void, needs?: FaultCase["needs"]]
> = [
  ["is empty", "not-a-database", 6, (path) => truncateSync(path, 0)],
  ["is text", "not-a-database", 6, (path) => writeFileSync(path, "[]".repeat(9000))],
  ["is of SQLite", "not-a-database", 6, (path) => writeFileSync(path, `SQLite format 3\0${"\0".repeat(9000)}`)],
  ["is a few bytes", "not-a-database", 6, (path) => truncateSync(path, 11)],
  ["lost its first block", "not-a-database", 6, (path) => overwrite(path, 0, Buffer.alloc(4096))],
  ["is a folder", "bad-path", 2, (path) => replaceBy(path, () => mkdirSync(path))],
  ["is a FIFO", "bad-path", 2, (path) => replaceBy(path, () => spawnSync("mkfifo", [path])), ["mkfifo"]],
  ["is a device", "bad-path", 2, (path) => replaceBy(path, () => symlinkSync("/dev/null", path))],
  ["is a link that leads nowhere", "bad-path", 2, (path) => replaceBy(path, () => symlinkSync("nowhere", path))],
  ["is a link to itself", "bad-path", 2, (path) => replaceBy(path, () => symlinkSync(path, path))],
  ["is cut to a third", "damaged", 6, (path) => truncateSync(path, Math.floor(statSync(path).size / 3))],
  ["ends with its headers", "damaged", 6, (path) => truncateSync(path, 12_288)]
]

const replaceBy = (path: string, make: () => void): void => {
  rmSync(path)
  make()
}

const overwrite = (path: string, at: number, bytes: Uint8Array): void => {
  const file = openSync(path, "r+")
  writeSync(file, bytes, 0, bytes.length, at)
  closeSync(file)
}

const refusalCases: ReadonlyArray<FaultCase> = refusals.flatMap(([what, reason, code, make, needs]) =>
  (["verify", "migrate"] as const).map((command): FaultCase => ({
    group: "a database that is refused",
    name: `${what}, by ${command}`,
    needs,
    arrange: async (world) => {
      await world.beginMigrated()
      make(world.database)
    },
    act: (world) => (command === "verify" ? world.run("verify", "--db", world.database, "--json") : world.migrate()),
    expect:
      command === "verify" && reason === "bad-path" && what.endsWith("nowhere")
        ? { code: 10, says: saysOf("missing"), database: "refused", heal: elsewhere }
        : { code, says: saysOf(reason, what === "is a folder"), database: "refused", heal: elsewhere }
  }))
)

/** Bytes of a database that are not as they were written. */
interface Damage {
  readonly what: string
  readonly make: (path: string) => void
}

const HEADERS = 12_288
/** Of a database that began with little. */
const BLOCK = blockBytes()

/** A place in a database: an offset, or one in a block that is that share of the way to the end. */
type Place = number | { readonly share: number; readonly offset: number }

const offsetOf = (path: string, place: Place): number => {
  if (typeof place === "number") return place
  return HEADERS + blockAt(path, place.share) * BLOCK + place.offset
}

const blockAt = (path: string, share: number): number =>
  Math.floor(Math.floor((statSync(path).size - HEADERS) / BLOCK) * share)

const nameOf = (place: Place): string =>
  typeof place === "number" ? `byte ${place}` : `byte ${place.offset} of the block ${percent(place.share)} in`

const percent = (share: number): string => `${(share * 100).toFixed(2)} %`

const flip = (place: Place, bit: number): Damage => ({
  what: `with bit ${bit} flipped of ${nameOf(place)}`,
  make: (path) => {
    const at = offsetOf(path, place)
    overwrite(path, at, Uint8Array.of(byteAt(path, at) ^ (1 << bit)))
  }
})

const byteAt = (path: string, position: number): number => {
  const file = openSync(path, "r")
  const byte = Buffer.alloc(1)
  readSync(file, byte, 0, 1, position)
  closeSync(file)
  return byte[0] ?? 0
}

const zeroed = (place: Place, length = 4096): Damage => ({
  what: `with ${length} bytes zeroed from ${nameOf(place)}`,
  make: (path) => overwrite(path, offsetOf(path, place), Buffer.alloc(length))
})

const cut = (bytes: number): Damage => ({
  what: `cut by ${bytes} bytes`,
  make: (path) => truncateSync(path, statSync(path).size - bytes)
})

const cutTo = (share: number): Damage => ({
  what: `cut to ${percent(share)}`,
  make: (path) => truncateSync(path, HEADERS + Math.floor((statSync(path).size - HEADERS) * share))
})

const swapped = (left: number, right: number): Damage => ({
  what: `with the blocks ${percent(left)} and ${percent(right)} in swapped`,
  make: (path) => {
    const bytes = readFileSync(path)
    const [first, second] = [left, right].map((share) => HEADERS + blockAt(path, share) * BLOCK)
    if (first === undefined || second === undefined) return
    overwrite(path, first, bytes.subarray(second, second + BLOCK))
    overwrite(path, second, bytes.subarray(first, first + BLOCK))
  }
})

/** Whatever is damaged: it is refused, or verifying finds it, or all content is as it was. */
const damageCase = ({ make, what }: Damage): FaultCase => ({
  group: "a database that is damaged",
  name: what,
  arrange: async (world) => {
    await world.beginMigrated()
    make(world.database)
  },
  act: async (world) => {
    const ended = await world.run("verify", "--db", world.database, "--source", world.source, "--json")
    // DuckDB itself crashes on some damages; the doctor, who looks from another process, says so.
    return ended.signal === null ? ended : world.run("doctor", "--db", world.database, "--json")
  },
  expect: (_, { code }: Ended): Expected =>
    code === 0
      ? { code: 0 }
      : { code: [1, 4, 6], says: code === 1 ? saysOf("newer") : undefined, database: "refused", heal: elsewhere }
})

/** Damages of every sort, drawn at random. */
export const damageCases = (random: Random, count: number): ReadonlyArray<FaultCase> => {
  const share = (): number => random.below(1_000_000) / 1_000_000
  const header = [8, 12, 124, 4096, 4104, 8192, 8200, 8216].map((at) => flip(at, random.below(8)))
  const damages = [
    ...header.slice(0, Math.ceil(count / 2)),
    zeroed(4096),
    zeroed(4096, 8192),
    ...random.times(count, () => flip({ share: share(), offset: random.below(BLOCK) }, random.below(8))),
    // The beginnings of blocks are in use: there a flip must not go unnoticed.
    ...random.times(count, () => flip({ share: share(), offset: 8 + random.below(512) }, random.below(8))),
    ...random.times(Math.ceil(count / 2), () => zeroed({ share: share(), offset: 4096 * random.below(8) })),
    ...random.times(count, () => swapped(share(), share())),
    cut(1),
    ...random.times(Math.ceil(count / 2), () => cutTo(share()))
  ]
  return [...new Map(damages.map((damage) => [damage.what, damage])).values()].map(damageCase)
}

export const databaseCases = refusalCases
