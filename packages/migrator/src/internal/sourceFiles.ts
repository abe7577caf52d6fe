/** The files of sources and their bytes. */
import { createHash } from "node:crypto"
import { digestOfSource, openFile, type Source, type SourceFile } from "@mallard/legacy-json"
import { Effect } from "effect"

export const largestOf = (files: ReadonlyArray<SourceFile>): number =>
  files.reduce((most, { bytes }) => Math.max(most, bytes), 0)

export const bytesOf = (source: Source): number => source.files.reduce((sum, file) => sum + file.bytes, 0)

/** The files of a source; a cohort of a database is none. */
export const filesOnDisk = ({ files }: Pick<Source, "files">): ReadonlyArray<SourceFile> =>
  files.filter(({ open }) => open === undefined)

const BLOCK_BYTES = 1 << 20

/** SHA-256 of what a file gives, be it text or not; undefined if it cannot be read, or is written to meanwhile. */
export const contentOfFile = (file: SourceFile): Effect.Effect<string | undefined> =>
  (file.open === undefined
    ? Effect.scoped(hashOfFile(file.path))
    : Effect.map(digestOfSource(file), ({ sourceSha256 }) => sourceSha256)
  ).pipe(Effect.orElseSucceed(() => undefined))

const hashOfFile = Effect.fnUntraced(function* (path: string) {
  const file = yield* openFile(path)
  const sum = createHash("sha256")
  const block = Buffer.allocUnsafeSlow(Math.min(BLOCK_BYTES, file.bytes + 1))
  while (true) {
    const count = yield* file.read(block)
    sum.update(block.subarray(0, count))
    if (count < block.length) break
    // Reading is synchronous; a signal should not wait for the end of a large file.
    yield* Effect.yieldNow
  }
  yield* file.checkUnchanged
  return sum.digest("hex")
})
