/**
 * Reading a file that somebody may write to. A file is opened without following links, and its identity is compared
 * before the first byte and after the last: what is read is one version as a whole, or a `SourceError` with the reason
 * `changed`.
 */

import { Effect, type Scope } from "effect"
import * as Files from "./internal/Files.ts"
import { SourceError } from "./SourceError.ts"

/** What differs when a file was replaced or written to. Two writes within one tick of the file system's clock look alike. */
export interface FileIdentity {
  readonly dev: bigint
  readonly ino: bigint
  /** In bytes. */
  readonly size: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

/** An open regular file. */
export interface OpenFile {
  readonly path: string
  readonly fd: number
  readonly identity: FileIdentity
  readonly modifiedMs: number
  /** Size in bytes when it was opened. */
  readonly bytes: number
  /** Fills the buffer with the next bytes and returns their number: less than its length only at the end of the file. */
  readonly read: (into: Uint8Array) => Effect.Effect<number, SourceError>
  /** The same, while others run. */
  readonly readMeanwhile: (into: Uint8Array) => Effect.Effect<number, SourceError>
  /** Fails with the reason `changed` if the file is no longer as it was when it was opened. Asked after the last read. */
  readonly checkUnchanged: Effect.Effect<void, SourceError>
}

/**
 * Opens a regular file until the scope closes. Given the identity the file had when it was found, fails with the reason
 * `changed` if it is another one now.
 */
export const openFile = Effect.fnUntraced(function* (
  path: string,
  expected?: FileIdentity
): Effect.fn.Return<OpenFile, SourceError, Scope.Scope> {
  const fd = yield* Effect.acquireRelease(
    attempt(path, () => Files.open(path)),
    (fd) => Effect.sync(() => Files.close(fd))
  )
  const facts = yield* attempt(path, () => Files.factsAt(fd))
  if (facts.type !== "file") {
    return yield* new SourceError({ reason: "not-regular", path })
  }
  if (expected !== undefined && !isSameVersion(expected, facts.identity)) {
    return yield* new SourceError({ reason: "changed", path })
  }
  return {
    path,
    fd,
    identity: facts.identity,
    modifiedMs: facts.modifiedMs,
    bytes: Number(facts.identity.size),
    read: (into) => attempt(path, () => Files.read(fd, into)),
    readMeanwhile: (into) =>
      // The buffer and the descriptor are in use until the operating system is done with them.
      Effect.uninterruptible(
        Effect.tryPromise({
          try: () => Files.readMeanwhile(fd, into),
          catch: (cause) => Files.errorOf(path, cause)
        })
      ),
    checkUnchanged: attempt(path, () => sameFile(facts.identity, fd)).pipe(
      Effect.flatMap((isSame) => (isSame ? Effect.void : Effect.fail(new SourceError({ reason: "changed", path }))))
    )
  }
})

/**
 * All bytes of a regular file of at most `maxBytes`, as one version: `changed` if it was written to meanwhile or is not
 * the one `expected`, `too-large` beyond the limit.
 */
export const readWholeFile = Effect.fnUntraced(
  function* (
    path: string,
    options: { readonly maxBytes: number; readonly expected?: FileIdentity | undefined }
  ): Effect.fn.Return<Uint8Array, SourceError, Scope.Scope> {
    const file = yield* openFile(path, options.expected)
    if (file.bytes > options.maxBytes) {
      return yield* new SourceError({ reason: "too-large", path })
    }
    // One byte more than there should be, so that a file that grows is noticed.
    const bytes = Buffer.allocUnsafeSlow(file.bytes + 1)
    const count = yield* file.read(bytes)
    if (count !== file.bytes) {
      return yield* new SourceError({ reason: "changed", path })
    }
    yield* file.checkUnchanged
    return bytes.subarray(0, count)
  },
  (effect) => Effect.scoped(effect)
)

/** Whether the open file is still the version whose identity was taken before. Throws what the operating system says. */
export const sameFile = (before: FileIdentity, fd: number): boolean => isSameVersion(before, Files.factsAt(fd).identity)

/** Whether two identities are those of one version of one file. */
export const isSameVersion = (a: FileIdentity, b: FileIdentity): boolean =>
  a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs

const attempt = <A>(path: string, evaluate: () => A): Effect.Effect<A, SourceError> =>
  Effect.try({ try: evaluate, catch: (cause) => Files.errorOf(path, cause) })
