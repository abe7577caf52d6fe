/** Numbers, sizes and names as people read them. */
export { sizeText as size } from "@mallard/duckdb-store/Disk"
import { printablePath } from "@mallard/legacy-json/SourceError"
import { counted, grouped } from "@mallard/migrator/report/Summary"

export { counted, grouped }

export const entities = (count: number): string => counted(count, "entity", "entities")

export const duration = (milliseconds: number): string => {
  const tenths = Math.round(milliseconds / 100)
  if (tenths < 100) return `${(tenths / 10).toFixed(1)} s`
  const seconds = Math.round(milliseconds / 1000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** A text from a document or a file system on one line: nothing in it can steer the terminal. */
export const printable = (text: string): string => (text === "" ? '""' : printablePath(text))

/** A text that the user gave, in quotation marks. */
export const quoted = (text: string): string => (text === "" ? printable(text) : `"${printable(text)}"`)

/** A path as the user knows it: below the folder that they are in, relative to it. */
export const shownPath = (path: string, cwd: string): string => {
  const start = cwd.endsWith("/") ? cwd : `${cwd}/`
  return printable(path.startsWith(start) && path.length > start.length ? path.slice(start.length) : path)
}

export const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, count) => total + count, 0)

/** `3 patients`-like list of counts by kind, most first. */
export const byKind = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .filter(([, count]) => count > 0)
    .sort(([, left], [, right]) => right - left)
    .map(([kind, count]) => `${grouped(count)} ${kind}`)
    .join(", ")
