/** Files that get their names only when they are whole, and names that are safe to give. */
import { closeSync, fsync, mkdirSync, openSync, rmSync, write as writeCallback } from "node:fs"
import { InvalidRequest } from "@mallard/duckdb-store/CohortErrors"
import { type Destination, destinationOf, putInPlace } from "@mallard/duckdb-store/Destination"
import { syncFolder, systemCode } from "@mallard/duckdb-store/Disk"
import { leftoverRemover } from "@mallard/duckdb-store/Leftovers"
import { type PrettyOptions, prettyText } from "@mallard/entity-serializers/Pretty"
import { dirname } from "node:path"
import { promisify } from "node:util"
import { CommandFailed, exitCode, systemReason, usage } from "./Failure.ts"
import { LayoutThread } from "./LayoutThread.ts"
import { printable } from "./Text.ts"

/** Bytes that are gathered before they are written. */
const BLOCK = 1 << 20
/** Bytes that may wait to be written before the writer of them has to wait. */
const MAX_WAITING = 32 << 20
/** Bytes of small texts from which on another thread lays texts out. */
const THREAD_FROM = 4 << 20

type Block = Buffer<SharedArrayBuffer>

/**
 * Memory that is used again from block to block. Shared with the thread that lays texts out: handing memory over makes a
 * buffer each time, which the garbage collector then hunts for.
 */
class Blocks {
  private readonly free: Array<Block> = []

  take(): Block {
    return this.free.pop() ?? Buffer.from(new SharedArrayBuffer(BLOCK))
  }

  give(block: Block): void {
    this.free.push(block)
  }
}

/** Lays the next bytes of a file out and writes what comes of it. */
type FileLayout = (handle: number, block: Block, used: number, isLast: boolean) => Promise<void>

/** A file that is being written beside the place where it will be, by other threads than the one that makes its text. */
class PendingFile {
  readonly path: string
  /** Settles when all that was handed over so far is written. */
  done: Promise<void>
  private readonly destination: Destination
  private readonly handle: number
  private readonly onWaiting: (bytes: number) => void
  private readonly blocks: Blocks
  private readonly layout: FileLayout | undefined
  private block: Block
  private used = 0
  private isFinished = false

  constructor(path: string, blocks: Blocks, onWaiting: (bytes: number) => void, layout?: FileLayout) {
    this.destination = destinationOf(path)
    this.path = path
    mkdirSync(dirname(this.path), { recursive: true })
    this.onWaiting = onWaiting
    this.blocks = blocks
    this.layout = layout
    this.block = blocks.take()
    this.handle = openSync(this.destination.aside, "wx", 0o600)
    this.done = Promise.resolve()
  }

  write(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length;) {
      const count = Math.min(bytes.length - from, BLOCK - this.used)
      this.block.set(bytes.subarray(from, from + count), this.used)
      this.used += count
      from += count
      if (this.used === BLOCK) this.hand()
    }
  }

  /** Nothing follows. Once `done`, all is on the disk. */
  finish(): void {
    if (this.isFinished) return
    this.isFinished = true
    this.hand(true)
    this.queue(() => fsyncAsync(this.handle))
    this.done = this.done.finally(() => closeSync(this.handle))
    this.done.catch(() => {})
  }

  async publish(): Promise<void> {
    await this.done
    await putInPlace(this.destination)
  }

  async discard(): Promise<void> {
    this.finish()
    await this.done.catch(() => {})
    rmSync(this.destination.aside, { force: true })
  }

  private hand(isLast = false): void {
    const { block, layout, used } = this
    if (!isLast) this.block = this.blocks.take()
    this.used = 0
    this.onWaiting(used)
    this.queue(async () => {
      if (layout === undefined) await writeFully(this.handle, block, used)
      else await layout(this.handle, block, used, isLast)
      this.blocks.give(block)
      this.onWaiting(-used)
    })
  }

  private queue(next: () => Promise<void>): void {
    // What fails at a handle says nothing of the file.
    this.done = this.done.then(next).catch((cause: unknown) => {
      throw cause instanceof Error && !("path" in cause) ? Object.assign(cause, { path: this.path }) : cause
    })
    // Whoever waits for the file hears of it.
    this.done.catch(() => {})
  }
}

const writeAsync = promisify(writeCallback)
const fsyncAsync = promisify(fsync)

const writeFully = async (handle: number, bytes: Uint8Array, count: number): Promise<void> => {
  for (let written = 0; written < count;) {
    const { bytesWritten } = await writeAsync(handle, bytes, written, count - written, null)
    written += bytesWritten
  }
}

/** A file to write to. */
export type OpenFile = Pick<PendingFile, "write" | "finish">

/** Files that are written in groups: those of a group get their names together, when all of them are on the disk. */
export class FileSet {
  private group: Array<PendingFile> = []
  /** Groups that are being finished. */
  private readonly finishing = new Set<Promise<void>>()
  private readonly folders = new Set<string>()
  /** Removes from a folder what processes that were killed left there. */
  private readonly clear = leftoverRemover()
  private readonly blocks = new Blocks()
  private readonly thread = new LayoutThread()
  private waiting = 0
  private laidOutHere = 0
  private failure: { readonly cause: unknown } | undefined

  /** Opens a file that gets its text as it is, or laid out on its way. */
  open(path: string, layout?: PrettyOptions): OpenFile {
    const onWaiting = (bytes: number): void => {
      this.waiting += bytes
    }
    const file = new PendingFile(path, this.blocks, onWaiting, layout === undefined ? undefined : this.laidOut(layout))
    this.group.push(file)
    this.clear(dirname(file.path))
    return file
  }

  private laidOut(layout: PrettyOptions): FileLayout {
    let isFirst = true
    return async (handle, block, used, isLast) => {
      const isWhole = isFirst && isLast
      isFirst = false
      // A thread costs more to start than a few small texts to lay out.
      if (isWhole && this.laidOutHere < THREAD_FROM) {
        this.laidOutHere += used
        const text = prettyText(block.subarray(0, used), layout)
        await writeFully(handle, text, text.length)
      } else await this.thread.write({ handle, layout, memory: block.buffer, used, isLast })
    }
  }

  /** What was written to a file of the group is void. */
  drop(file: OpenFile): void {
    const dropped = this.group.filter((one) => one === file)
    this.group = this.group.filter((one) => one !== file)
    this.finish(discardAll(dropped))
  }

  /** The group is complete: its files get their names, or go, if it is not sound. */
  settle(isSound: boolean): void {
    const { group } = this
    this.group = []
    this.finish(isSound ? this.publish(group) : discardAll(group))
  }

  private finish(work: Promise<void>): void {
    const finishing = work
      .catch((cause: unknown) => {
        this.failure ??= { cause }
      })
      .finally(() => this.finishing.delete(finishing))
    this.finishing.add(finishing)
  }

  /** Waits until there is room for more; fails with what a file failed with. */
  async room(): Promise<void> {
    while (this.failure === undefined && this.waiting > MAX_WAITING) {
      await Promise.race([...this.finishing, ...this.group.map(({ done }) => done)]).catch((cause: unknown) => {
        this.failure ??= { cause }
      })
    }
    if (this.failure !== undefined) throw this.failure.cause
  }

  /** Waits until all groups are finished and their names are on the disk. */
  async close(): Promise<void> {
    while (this.finishing.size > 0) await Promise.all(this.finishing)
    if (this.failure !== undefined) throw this.failure.cause
    for (const folder of this.folders) syncFolder(folder)
  }

  /** Removes the files that have no names yet. Nothing can be written any more. */
  async discard(): Promise<void> {
    const { group } = this
    this.group = []
    await discardAll(group)
    await Promise.all(this.finishing)
    await this.thread.stop()
  }

  private async publish(group: ReadonlyArray<PendingFile>): Promise<void> {
    try {
      for (const file of group) file.finish()
      await Promise.all(group.map(({ done }) => done))
      for (const file of group) {
        await file.publish()
        this.folders.add(dirname(file.path))
      }
    } catch (cause) {
      await discardAll(group)
      throw cause
    }
  }
}

const discardAll = async (files: ReadonlyArray<PendingFile>): Promise<void> => {
  for (const file of files) await file.discard()
}

const MAX_NAME_BYTES = 150
const reserved = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i

/**
 * A file name for a cohort that every system takes, with its extension, if any; not among `taken` in any case, and added to
 * them. What is compared is the whole name: the file of `a` and the folder of `a.json` are in each other's way.
 */
export const safeName = (name: string, taken: Set<string>, extension = ""): string => {
  let plain = name
    .toWellFormed()
    .normalize("NFC")
    .replace(/[\p{C}\p{Zl}\p{Zp}<>:"/\\|?*]/gu, "_")
    .replace(/^[. ]+|[. ]+$/g, "_")
  if (Buffer.byteLength(plain) > MAX_NAME_BYTES) plain = shortened(plain)
  if (plain === "" || reserved.test(plain)) plain = `_${plain}`
  let unique = plain + extension
  for (let number = 2; taken.has(unique.toLowerCase()); number++) unique = `${plain}-${number}${extension}`
  taken.add(unique.toLowerCase())
  return unique
}

const shortened = (name: string): string => {
  let bytes = 0
  const kept: Array<string> = []
  for (const character of name) {
    bytes += Buffer.byteLength(character)
    if (bytes > MAX_NAME_BYTES) break
    kept.push(character)
  }
  return kept.join("")
}

/** A failure of the file system, named by its path, or a name that no file may take; undefined for any other. */
export const fileFailure = (cause: unknown): CommandFailed | undefined => {
  if (cause instanceof InvalidRequest) return usage(printable(cause.message))
  const code = systemCode(cause)
  if (!(cause instanceof Error) || !("syscall" in cause) || code === undefined) return undefined
  const path = "dest" in cause ? cause.dest : "path" in cause ? cause.path : undefined
  return new CommandFailed({
    code: exitCode.failed,
    what: `Cannot write ${typeof path === "string" ? placeOf(path) : "the output"}: ${systemReason(code)}.`,
    next: ["Name another place with --out."]
  })
}

/** A path to name: of a file that has no name yet, the folder that it is in. */
const placeOf = (path: string): string => (path.endsWith(".tmp") ? `into ${printable(dirname(path))}` : printable(path))
