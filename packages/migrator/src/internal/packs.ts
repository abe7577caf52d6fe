/**
 * Packs: contents one after the other, each as zstd frames of at most `FRAME_BYTES` of text, each frame encrypted on its own
 * where that is asked. A file is read once; compressing runs beside reading and hashing.
 */
import { createHash, randomUUID } from "node:crypto"
import { closeSync, constants, fstatSync, fsyncSync, ftruncateSync, openSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { constants as zlib, zstdCompress, zstdCompressSync, zstdDecompress, zstdDecompressSync } from "node:zlib"
import { readFully, syncFolder, systemCode, writeAll } from "@mallard/duckdb-store/Disk"
import { sameFile, type SourceFile, type UnreadableReason, unreadableReasonOf } from "@mallard/legacy-json"
import { BackupError, type BackupProblemReason, isLacking } from "../BackupError.ts"
import { asidePath } from "@mallard/duckdb-store/Leftovers"
import type { Cipher } from "./cipher.ts"
import type { ManifestFile } from "./manifest.ts"

/** Where a content lies. */
export type Content = Pick<ManifestFile, "sha256" | "bytes" | "pack" | "offset" | "frames">

/** Takes the bytes of a content in order. */
export interface Sink {
  readonly write: (bytes: Uint8Array) => void
}

/** Bytes of text in a frame. */
const FRAME_BYTES = 8 << 20
/** Bytes after which a pack is closed, at the end of a content. */
const PACK_BYTES = 512 << 20
/** Smallest piece that zstd gives its output in. */
const LEAST_PIECE = 64
/** Contents and frames that are compressed, restored or checked at a time, so that memory stays bounded. */
const IN_FLIGHT = { usual: 4, most: 16 }

/** How many of them at a time, for as many jobs as are wanted. */
const inFlight = (jobs: number | undefined): number => Math.max(1, Math.min(jobs ?? IN_FLIGHT.usual, IN_FLIGHT.most))

/** Does what is to be done for each, at most so many at a time. The first failure is thrown once none is at work. */
export const eachAtOnce = async <A>(
  items: ReadonlyArray<A>,
  jobs: number | undefined,
  act: (item: A) => Promise<void>
): Promise<void> => {
  const rest = items.values()
  let failure: { readonly cause: unknown } | undefined
  const work = async (): Promise<void> => {
    for (const item of rest) {
      if (failure !== undefined) return
      try {
        await act(item)
      } catch (cause) {
        failure ??= { cause }
      }
    }
  }
  await Promise.all(Array.from({ length: inFlight(jobs) }, work))
  if (failure !== undefined) throw failure.cause
}

const compressAside = promisify(zstdCompress)
const decompressAside = promisify(zstdDecompress)
const params = { [zlib.ZSTD_c_compressionLevel]: 1, [zlib.ZSTD_c_checksumFlag]: 1 }

/** Bytes of text below which a turn to another thread and back costs more than what is done there. */
const SMALL_BYTES = 128 << 10
/** Most that a compressed text of that size is larger than the text. */
const SMALL_EXCESS = 1 << 10

const compress = async (text: Uint8Array): Promise<Uint8Array> =>
  text.length < SMALL_BYTES
    ? zstdCompressSync(text, { chunkSize: text.length + SMALL_EXCESS, params })
    : compressAside(text, { chunkSize: 1 << 20, params })

/** The text of a frame that has at most so many bytes. */
const decompress = async (frame: Uint8Array, bytes: number): Promise<Uint8Array> => {
  // In one piece: each piece costs a turn between threads.
  const options = { chunkSize: Math.max(bytes, LEAST_PIECE), maxOutputLength: FRAME_BYTES }
  return bytes < SMALL_BYTES ? zstdDecompressSync(frame, options) : decompressAside(frame, options)
}

const packPath = (store: string, pack: string): string => join(store, "packs", `${pack}.pack`)

/** A content on its way into a pack; it has a place once its first frame is written. */
export interface Incoming {
  place: { readonly pack: string; readonly offset: number } | undefined
  readonly frames: Array<number>
}

/** Writes contents into packs, in the order in which their frames are added. Nothing has a name before `finish`. */
export class PackWriter {
  private readonly store: string
  private readonly cipher: Cipher | undefined
  private open: { readonly id: string; readonly aside: string; readonly handle: number; length: number } | undefined
  private readonly waiting: Array<{ readonly frame: Promise<Uint8Array>; readonly content: Incoming }> = []
  private readonly finished: Array<{ readonly aside: string; readonly path: string }> = []

  private readonly inFlight: number

  constructor(store: string, cipher: Cipher | undefined, jobs?: number) {
    this.store = store
    this.cipher = cipher
    this.inFlight = inFlight(jobs)
  }

  /** Adds the next frame of a content; `bytes` must not change until it is written. */
  async add(bytes: Uint8Array, content: Incoming): Promise<void> {
    const frame = this.frameOf(bytes)
    // Whoever waits for it sees its failure; until then it is no one's.
    frame.catch(() => {})
    this.waiting.push({ frame, content })
    if (this.waiting.length >= this.inFlight) await this.writeNext()
  }

  private async frameOf(bytes: Uint8Array): Promise<Uint8Array> {
    const frame = await compress(bytes)
    return this.cipher === undefined ? frame : this.cipher.encrypt(frame)
  }

  private async writeNext(): Promise<void> {
    const next = this.waiting.shift()
    if (next === undefined) return
    const { content } = next
    const frame = await next.frame
    if (content.place === undefined && this.open !== undefined && this.open.length >= PACK_BYTES) this.close()
    if (this.open === undefined) {
      const id = randomUUID()
      const aside = asidePath(packPath(this.store, id))
      this.open = { id, aside, handle: openSync(aside, "wx", 0o600), length: 0 }
    }
    content.place ??= { pack: this.open.id, offset: this.open.length }
    writeAll(this.open.handle, frame, this.open.length)
    this.open.length += frame.length
    content.frames.push(frame.length)
  }

  private async writeWaiting(): Promise<void> {
    while (this.waiting.length > 0) await this.writeNext()
  }

  /** Takes back the content that was added last. */
  async takeBack(content: Incoming): Promise<void> {
    await this.writeWaiting()
    if (this.open === undefined || content.place === undefined) return
    ftruncateSync(this.open.handle, content.place.offset)
    this.open.length = content.place.offset
  }

  private close(): void {
    if (this.open === undefined) return
    const { aside, handle, id, length } = this.open
    this.open = undefined
    // Whatever fails from here on, `discard` removes it.
    this.finished.push({ aside, path: packPath(this.store, id) })
    try {
      if (length > 0) fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
    if (length > 0) return
    this.finished.pop()
    rmSync(aside, { force: true })
  }

  /** Flushes all packs to the disk and gives them their names. */
  async finish(): Promise<void> {
    await this.writeWaiting()
    this.close()
    for (const { aside, path } of this.finished) renameSync(aside, path)
    if (this.finished.length > 0) syncFolder(join(this.store, "packs"))
    this.finished.length = 0
  }

  /** Removes what has no name yet. */
  discard(): void {
    if (this.open !== undefined) {
      closeSync(this.open.handle)
      rmSync(this.open.aside, { force: true })
      this.open = undefined
    }
    for (const { aside } of this.finished) rmSync(aside, { force: true })
  }
}

/** A version of a file, and the content that it has. */
export interface StoredFile {
  readonly facts: Omit<ManifestFile, "pack" | "offset" | "frames">
  /** Undefined when the content was known. */
  readonly content: Incoming | undefined
}

/** Why a file is not copied: what a migration rejects it for too. */
type Skipped = "changed" | UnreadableReason

/** Copies one version of a file, as a whole, unless its content is known. Failures of the store are thrown. */
export const storeFile = async (
  file: SourceFile,
  writer: PackWriter,
  isKnown: (sha256: string) => boolean,
  release: (handle: number) => void = closeSync
): Promise<StoredFile | Skipped> => {
  let handle: number
  try {
    handle = openSync(file.path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0))
  } catch (cause) {
    return unreadableReasonOf(cause)
  }
  try {
    if (!sameFile(file.identity, handle)) return "changed"
    const mode = fstatSync(handle).mode & 0o7777
    const hash = createHash("sha256")
    const isWhole = file.bytes <= FRAME_BYTES
    const content: Incoming = { place: undefined, frames: [] }
    let bytes = 0
    let chunk: Uint8Array
    for (;;) {
      // One byte more than there should be, so that a file that grows is noticed.
      chunk = Buffer.allocUnsafeSlow(isWhole ? file.bytes + 1 : FRAME_BYTES)
      let count: number
      try {
        count = readFully(handle, chunk)
      } catch {
        if (!isWhole) await writer.takeBack(content)
        return "io"
      }
      chunk = chunk.subarray(0, count)
      hash.update(chunk)
      bytes += count
      if (isWhole || count === 0) break
      await writer.add(chunk, content)
      if (count < FRAME_BYTES) break
    }
    if (bytes !== file.bytes || !sameFile(file.identity, handle)) {
      if (!isWhole) await writer.takeBack(content)
      return "changed"
    }
    const facts = {
      path: file.path,
      bytes,
      sha256: hash.digest("hex"),
      mode,
      mtime_ns: String(file.identity.mtimeNs),
      ctime_ns: String(file.identity.ctimeNs),
      inode: `${file.identity.dev}:${file.identity.ino}`
    }
    if (isKnown(facts.sha256)) {
      if (!isWhole) await writer.takeBack(content)
      return { facts, content: undefined }
    }
    if (isWhole) await writer.add(chunk, content)
    return { facts, content }
  } finally {
    release(handle)
  }
}

/** Opens packs once each, and as long as they are asked for. */
export class PackReader {
  private readonly store: string
  private current: { readonly pack: string; readonly handle: number } | undefined
  private readonly sizes = new Map<string, number>()

  constructor(store: string) {
    this.store = store
  }

  /** Whether the pack is there and long enough; what is in it is another question. */
  holds({ frames, offset, pack }: Content): boolean {
    let size = this.sizes.get(pack)
    if (size === undefined) {
      try {
        const handle = openSync(packPath(this.store, pack), "r")
        size = fstatSync(handle).size
        closeSync(handle)
      } catch {
        size = -1
      }
      this.sizes.set(pack, size)
    }
    return frames.reduce((end, length) => end + length, offset) <= size
  }

  /** The bytes of a frame; undefined where the pack ends before. Throws when there is no pack. */
  read(pack: string, offset: number, length: number): Uint8Array | undefined {
    if (this.current?.pack !== pack) {
      this.close()
      this.current = { pack, handle: openSync(packPath(this.store, pack), "r") }
    }
    const bytes = Buffer.allocUnsafeSlow(length)
    return readFully(this.current.handle, bytes, offset) === length ? bytes : undefined
  }

  close(): void {
    if (this.current !== undefined) closeSync(this.current.handle)
    this.current = undefined
  }
}

const MISSING: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "EISDIR"])

/** Gives a content to a sink and compares it with its SHA-256; says what is wrong with it. */
export const readContent = async (
  reader: PackReader,
  content: Content,
  cipher: Cipher | undefined,
  sink: Sink
): Promise<BackupProblemReason | undefined> => {
  const hash = createHash("sha256")
  let offset = content.offset
  let bytes = 0
  for (const length of content.frames) {
    let frame: Uint8Array | undefined
    try {
      frame = reader.read(content.pack, offset, length)
    } catch (cause) {
      // What the system lacks, other packs lack too.
      if (isLacking(cause)) throw cause
      return MISSING.has(systemCode(cause) ?? "") ? "pack-missing" : "pack-unreadable"
    }
    if (frame === undefined) return "pack-truncated"
    let text: Uint8Array
    // Not having the key is no damage: it is thrown, and not told of the file.
    try {
      const plain = cipher === undefined ? frame : await cipher.decrypt(frame)
      text = await decompress(plain, Math.min(FRAME_BYTES, content.bytes - bytes))
    } catch (cause) {
      if (cause instanceof BackupError) throw cause
      return "content-changed"
    }
    hash.update(text)
    bytes += text.length
    sink.write(text)
    offset += length
  }
  return bytes === content.bytes && hash.digest("hex") === content.sha256 ? undefined : "content-changed"
}
