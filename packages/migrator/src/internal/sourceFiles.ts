/** The files of sources and their bytes. */
import type { Source, SourceFile } from "@mallard/legacy-json"

export const largestOf = (files: ReadonlyArray<SourceFile>): number =>
  files.reduce((most, { bytes }) => Math.max(most, bytes), 0)

export const bytesOf = (source: Source): number => source.files.reduce((sum, file) => sum + file.bytes, 0)

/** The files of a source; a cohort of a database is none. */
export const filesOnDisk = ({ files }: Pick<Source, "files">): ReadonlyArray<SourceFile> =>
  files.filter(({ open }) => open === undefined)
