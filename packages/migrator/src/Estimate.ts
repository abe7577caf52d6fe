/**
 * What a run will take, from a rehearsal of it and from what was measured: how former runs on the same database went, and how
 * a sample of these sources compresses on this machine. Says what it rests on.
 */
import { closeSync, existsSync, openSync, readSync, statfsSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { performance } from "node:perf_hooks"
import { constants as zlib, zstdCompressSync } from "node:zlib"
import { blockBytes, type LedgerRun, readRuns } from "@mallard/duckdb-store"
import { Effect, Option, Schema } from "effect"
import { contentsInClear } from "./Backup.ts"
import { RunProof } from "./internal/RunFacts.ts"
import { type ItemReport, type RunReport, Totals } from "./Report.ts"
import { reading } from "./internal/reading.ts"

/** Rather too much than too little. */
export const Estimate = Schema.Struct({
  milliseconds: Schema.Int,
  database_bytes: Schema.Int,
  backup_bytes: Schema.Int,
  /** Where the database is; null if the system does not tell. */
  free_bytes: Schema.NullOr(Schema.Int),
  /** What it rests on; missing in plans of older versions. */
  basis: Schema.optionalKey(
    Schema.Struct({
      /** Former runs whose times were taken; 0: the time of reading now, times what is usual. */
      runs: Schema.Int,
      /** Bytes that the share of the database was taken from; 0: what is usual. */
      stored_bytes: Schema.Int,
      /** Bytes that were compressed to see what copies take; 0: what is usual. */
      sampled_bytes: Schema.Int
    })
  )
})
export type Estimate = typeof Estimate.Type

/** How runs before went: per byte of sources, with everything in them new. */
export interface FormerRuns {
  readonly runs: number
  readonly loadMsPerByte: number
  readonly verifyMsPerByte: number
}

/** What was measured before an estimate. */
export interface Measured {
  /** Undefined if there was none of some size. */
  readonly former: FormerRuns | undefined
  /** Size of the database, and the bytes of sources in it; undefined if it is new. */
  readonly database: { readonly bytes: number; readonly sourceBytes: number } | undefined
  /** A sample of the sources, compressed; undefined if there is nothing to copy. */
  readonly sample: { readonly bytes: number; readonly compressed: number; readonly milliseconds: number } | undefined
  /** SHA-256 of what has a copy already that the run will use again. */
  readonly copied: ReadonlySet<string>
  readonly freeBytes: number | null
}

/** What a byte of JSON takes of a database and of a backup, and how many times as long as reading storing and proof take. */
const DATABASE_SHARE = 0.35
const BACKUP_SHARE = 0.3
const TIMES_READING = 4
/** What an empty run takes. */
const START_MS = 2500
/** What a new database takes, whatever their size. */
const NEW_DATABASE_BLOCKS = 60
/** Less than this says more about the start of a run, or of a database, than about what is in it. */
const LEAST_RUN_BYTES = 1_000_000
const LEAST_DATABASE_BYTES = 10_000_000
/** A copy is read back for proof; to be on the safe side that counts as much as making it. */
const PASSES_OF_COPY = 2

/** The estimate of a run from its rehearsal and from what was measured. */
export const estimateOf = (report: RunReport, { copied, database, former, freeBytes, sample }: Measured): Estimate => {
  const bytes = report.items.filter(({ outcome }) => outcome === "migrated").reduce((sum, item) => sum + item.bytes, 0)
  const { find, load } = report.timings
  const share = report.totals.bytes === 0 ? 0 : bytes / report.totals.bytes
  const storing =
    former === undefined
      ? load * (1 + share * TIMES_READING)
      : Math.max(load, bytes * (former.loadMsPerByte + former.verifyMsPerByte))
  const isCopied = report.options?.["backup"] === true
  const toCopy = isCopied ? report.totals.bytes - bytesOf(report, copied) : 0
  const copyMsPerByte = sample === undefined ? 0 : (sample.milliseconds * PASSES_OF_COPY) / sample.bytes
  const stored = database !== undefined && database.sourceBytes >= LEAST_DATABASE_BYTES ? database : undefined
  return {
    milliseconds: Math.ceil(find + storing + toCopy * copyMsPerByte + START_MS),
    database_bytes:
      Math.ceil(bytes * (stored === undefined ? DATABASE_SHARE : stored.bytes / stored.sourceBytes)) +
      (database === undefined ? NEW_DATABASE_BLOCKS * blockBytes(bytes) : 0),
    backup_bytes: Math.ceil(toCopy * (sample === undefined ? BACKUP_SHARE : sample.compressed / sample.bytes)),
    free_bytes: freeBytes,
    basis: {
      runs: former?.runs ?? 0,
      stored_bytes: stored?.sourceBytes ?? 0,
      sampled_bytes: isCopied ? (sample?.bytes ?? 0) : 0
    }
  }
}

/** Bytes of the sources whose content is among these. */
const bytesOf = ({ items }: RunReport, contents: ReadonlySet<string>): number =>
  items
    .flatMap((item): ReadonlyArray<Pick<ItemReport, "bytes" | "source_sha256">> => item.parts ?? [item])
    .filter(({ source_sha256 }) => source_sha256 !== null && contents.has(source_sha256))
    .reduce((sum, { bytes }) => sum + bytes, 0)

/** Whether the disk has room for what is estimated; unknown counts as room. */
export const hasRoom = ({ backup_bytes, database_bytes, free_bytes }: Estimate): boolean =>
  free_bytes === null || database_bytes + backup_bytes <= free_bytes

/** Runs that are looked at, the last ones. */
const LAST_RUNS = 5

/** How the last runs went that found everything new and were proven; the slowest counts. */
export const formerRuns = (runs: ReadonlyArray<LedgerRun>): FormerRuns | undefined => {
  const rates = runs.flatMap(({ proof, totals }) => {
    const sums = Option.getOrUndefined(readTotals(totals ?? ""))
    const timings = Option.getOrUndefined(readProof(proof ?? ""))?.timings
    if (sums === undefined || timings === undefined || timings.verify <= 0) return []
    if (sums.bytes < LEAST_RUN_BYTES || sums.migrated < sums.found) return []
    return [{ load: timings.load / sums.bytes, verify: timings.verify / sums.bytes }]
  })
  const last = rates.slice(-LAST_RUNS)
  if (last.length === 0) return undefined
  return {
    runs: last.length,
    loadMsPerByte: Math.max(...last.map(({ load }) => load)),
    verifyMsPerByte: Math.max(...last.map(({ verify }) => verify))
  }
}

const readTotals = Schema.decodeUnknownOption(Schema.fromJsonString(Totals))
const readProof = Schema.decodeUnknownOption(Schema.fromJsonString(RunProof))

/**
 * Measures what the estimate of a rehearsed run rests on: the last runs, the size of the database, how well the first megabyte
 * of up to eight sources can be compressed, and the room on the disk. What cannot be measured is left out; it never fails.
 */
export const measure = Effect.fn("measure")(function* (report: RunReport) {
  const runs = existsSync(report.database)
    ? yield* Effect.catch(reading(report.database, readRuns()), () => Effect.succeed([]))
    : []
  const measured: Measured = {
    former: formerRuns(runs),
    database: existsSync(report.database)
      ? { bytes: statSync(report.database).size, sourceBytes: storedBytes(runs) }
      : undefined,
    sample: report.options?.["backup"] === true ? sampleOf(report) : undefined,
    copied: copiedBefore(report),
    freeBytes: freeAt(report.database)
  }
  return measured
})

/** Copies under a key are used again under the same one, and which that will be is not known: they do not count. */
const copiedBefore = ({ options }: RunReport): Measured["copied"] => {
  const store = options?.["backup_dir"]
  const isInClear = options?.["backup"] === true && options["backup_cipher"] === undefined
  return isInClear && typeof store === "string" ? contentsInClear(store) : new Set()
}

/** Bytes of sources that all runs stored, at least: of runs that stored all that they found. */
const storedBytes = (runs: ReadonlyArray<LedgerRun>): number =>
  runs.reduce((sum, { totals }) => {
    const sums = Option.getOrUndefined(readTotals(totals ?? ""))
    return sum + (sums !== undefined && sums.migrated === sums.found ? sums.bytes : 0)
  }, 0)

const freeAt = (path: string): number | null => {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    try {
      const { bavail, bsize } = statfsSync(folder)
      return bavail * bsize
    } catch {
      if (folder === dirname(folder)) return null
    }
  }
}

/** Files that are sampled, and bytes of each. */
const SAMPLED = { files: 8, bytes: 1 << 20 }

const sampleOf = ({ items }: RunReport): Measured["sample"] => {
  const files = items.flatMap(({ parts, path }) => parts?.map((part) => join(path, part.path)) ?? [path])
  const step = Math.max(1, Math.floor(files.length / SAMPLED.files))
  const began = performance.now()
  const sample = { bytes: 0, compressed: 0 }
  const buffer = Buffer.allocUnsafe(SAMPLED.bytes)
  for (const file of files.filter((_, at) => at % step === 0).slice(0, SAMPLED.files)) {
    const count = headOf(file, buffer)
    if (count === 0) continue
    sample.bytes += count
    sample.compressed += zstdCompressSync(buffer.subarray(0, count), {
      params: { [zlib.ZSTD_c_compressionLevel]: 1 }
    }).length
  }
  return sample.bytes === 0 ? undefined : { ...sample, milliseconds: performance.now() - began }
}

const headOf = (file: string, into: Buffer): number => {
  try {
    const handle = openSync(file, "r")
    try {
      return readSync(handle, into, 0, into.length, 0)
    } finally {
      closeSync(handle)
    }
  } catch {
    return 0
  }
}
