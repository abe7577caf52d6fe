/** In which order sources are read, and which of their files are read ahead, by threads of their own if that pays. */
import { existsSync } from "node:fs"
import { ReadThreads, readThreads, type Source, type SourceFile } from "@mallard/legacy-json"
import { Effect } from "effect"
import { defaultSizes, type MigrateOptions, type Sizes } from "../MigrateOptions.ts"
import { bytesOf } from "./sourceFiles.ts"
import type { Stored } from "./stored.ts"

/** Sources that are looked at ahead: what is fetched of each takes a buffer of its size. */
export const MOST_AHEAD = 8

/** The first files of the sources that come first, or first from a place on. */
export const firstFiles = (sources: ReadonlyArray<Source>, from = 0): ReadonlyArray<SourceFile> =>
  sources.slice(from, from + MOST_AHEAD).flatMap(({ files }) => files.slice(0, 1))

export interface ReadingOrder {
  readonly sources: ReadonlyArray<Source>
  /** Where the huge ones begin, and where those that fought over names. */
  readonly firstHeavy: number
  readonly firstRival: number
}

/** `rivals` are paths of sources that fought over names before. */
export const inReadingOrder = (
  found: ReadonlyArray<Source>,
  rivals: ReadonlySet<string>,
  { wholeFileBytes }: Sizes
): ReadingOrder => {
  // Sources that fought over names before come last and together: then nothing is stored only to be taken back.
  const isRival = ({ path }: Source): boolean => rivals.has(path)
  const isHeavy = (source: Source): boolean => bytesOf(source) > wholeFileBytes / 4
  const peaceful = found.filter((source) => !isRival(source))
  // What is huge comes after the others, so that nobody waits for it to learn what became of them.
  const heavy = peaceful.filter(isHeavy).sort((left, right) => bytesOf(left) - bytesOf(right))
  const firstHeavy = peaceful.length - heavy.length
  const sources = [...peaceful.filter((source) => !isHeavy(source)), ...heavy, ...found.filter(isRival)]
  return { sources, firstHeavy, firstRival: peaceful.length }
}

/** Threads that read, until the scope closes, if there is enough for them to do: one where that is large files only. */
export const startReadThreads = Effect.fnUntraced(function* (options: MigrateOptions, sources: ReadonlyArray<Source>) {
  const sizes = { ...defaultSizes, ...options.sizes }
  const { least, most, total } = sizes.threaded
  const all = sources.flatMap(({ files }) => files.map(({ bytes }) => bytes))
  const readable = all.filter((size) => size >= least && size <= most)
  const isMuch = readable.length > 1 && readable.reduce((sum, size) => sum + size, 0) >= total
  const hasLarge = all.some((size) => size > sizes.wholeFileBytes)
  const threads = Math.min(readThreads(options.jobs), isMuch ? Infinity : hasLarge ? 1 : 0)
  if (threads === 0) return undefined
  const pool = yield* ReadThreads.make({ ...options, threads, ahead: isMuch ? { least, most } : undefined })
  // Nothing of a new database is known, so that reading need not wait for it.
  if (!existsSync(options.database)) pool.prepare(firstFiles(inReadingOrder(sources, new Set(), sizes).sources))
  return pool
})

/** The hashes under which files are stored already. Of a folder nothing is known but as a whole. */
export const knownHashes = (
  { known }: Stored,
  sources: ReadonlyArray<Source>
): ((file: SourceFile) => ReadonlyArray<string>) => {
  const parts = new Set(sources.flatMap(({ files, kind }) => (kind === "file" ? [] : files)))
  return (file) => (parts.has(file) ? [] : [...(known.get(file.path)?.keys() ?? [])])
}
