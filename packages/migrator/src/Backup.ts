/**
 * Copies of sources, byte for byte, made before a run writes anything: content-addressed by SHA-256, compressed with zstd,
 * each content once however often and under whatever names it is found. A backup counts only when everything that was
 * added has been restored to a scratch place and compared.
 *
 * A store is a folder for its owner alone: `packs` hold the contents one after the other, `manifests` say which file had
 * which content, size, mode and times. Every file in it is written aside, flushed to the disk and then named; none is
 * changed afterwards, and nothing here deletes one that has a name.
 */
import { randomUUID } from "node:crypto"
import { closeSync, existsSync, mkdirSync, rmdirSync, rmSync } from "node:fs"
import { dirname, join, relative, resolve, sep } from "node:path"
import { type Failpoint, Failpoints } from "@mallard/duckdb-store"
import { readFully } from "@mallard/duckdb-store/Disk"
import { leftoverRemover, namesInStore, removeLeftovers } from "@mallard/duckdb-store/Leftovers"
import { type SourceFile } from "@mallard/legacy-json"
import { DATABASE_HEAD_BYTES, isDatabaseHead } from "@mallard/sql-duckdb/DatabaseFile"
import { Effect } from "effect"
import { type BackupProblem, BackupError, backupFailure, targetFailure, targetProblem } from "./BackupError.ts"
import {
  areRecipients,
  type Cipher,
  type CipherSettings,
  decrypterOf,
  encrypterOf,
  hasIdentity
} from "./internal/cipher.ts"
import {
  commonFolder,
  idInName,
  type Manifest,
  type ManifestFile,
  manifestName,
  type ReadManifest,
  readManifests,
  writeManifest
} from "./internal/manifest.ts"
import {
  type Content,
  eachAtOnce,
  type Incoming,
  PackReader,
  PackWriter,
  readContent,
  type Sink,
  storeFile,
  type StoredFile
} from "./internal/packs.ts"
import { compareRestored, isThere, RestoredFile } from "./internal/restore.ts"
import type { CopiesProgress } from "./MigrateOptions.ts"
import type { BackupReport } from "./Report.ts"

/** Where copies are kept unless the user says otherwise. */
export const backupStoreOf = (database: string): string => `${database}.backups`

export interface BackupOptions {
  /** Folder of the store. */
  readonly store: string
  readonly files: ReadonlyArray<SourceFile>
  readonly run: string
  readonly program: string
  /** How much is compressed and proven at once. */
  readonly jobs?: number | undefined
  /** Encrypts what is added. */
  readonly cipher?: CipherSettings | undefined
  /** Takes the descriptors of databases, which must not be closed while the database may be open. */
  readonly hold?: ((descriptor: number) => void) | undefined
  /** Asked between files; true gives up, and nothing counts as copied. */
  readonly isStopped?: (() => boolean) | undefined
  /** Bytes copied or found to be there, and bytes proven, since the last call. */
  readonly onBytes?: ((bytes: number) => void) | undefined
}

/** A backup that was made, and what could not be part of it. */
export interface BackupMade {
  readonly report: BackupReport
  /** Files that could not be read, with the reason; the migration rejects them for the same. */
  readonly skipped: Manifest["skipped"]
  /** Whether it is in plain, and the one before it in the store is encrypted. */
  readonly isPlainAfterEncrypted: boolean
}

/**
 * Copies the files into the store and proves the copy; undefined if it was stopped. Files whose content is there already
 * are not copied again, and those that have not been touched since are not even read.
 */
export const makeBackup = (options: BackupOptions): Effect.Effect<BackupMade | undefined, BackupError> =>
  Effect.flatMap(Failpoints, (reached) => attemptAsync(options.store, () => make(options, reached)))

type Reached = (point: Failpoint) => void

const make = async (options: BackupOptions, reached: Reached): Promise<BackupMade | undefined> => {
  const { store } = options
  mkdirSync(store, { recursive: true, mode: 0o700 })
  for (const folder of ["packs", "manifests"]) mkdirSync(join(store, folder), { recursive: true, mode: 0o700 })
  const earlier = readManifests(store).flatMap(({ manifest, ...read }) =>
    manifest === undefined || !read.isAsWritten ? [] : [{ ...read, manifest }]
  )
  removeAbandoned(store)
  const cipher = options.cipher === undefined ? undefined : await encrypterOf(store, options.cipher)
  const key = cipher?.key ?? null
  // Contents under another key, or in the clear, do not stand for those under this one.
  const usable = earlier.filter(({ manifest }) => manifest.key === key)
  const isPlainAfterEncrypted = key === null && (earlier.at(-1)?.manifest.key ?? null) !== null
  const known = new KnownContents(store, usable)
  const writer = new PackWriter(store, cipher, options.jobs)
  const found: Array<{ readonly facts: StoredFile["facts"]; readonly entry: ManifestFile | undefined }> = []
  const skipped: Array<Manifest["skipped"][number]> = []
  const added = new Map<string, Incoming>()
  const release = (handle: number): void =>
    options.hold !== undefined && isDatabase(handle) ? options.hold(handle) : closeSync(handle)
  try {
    for (const file of options.files) {
      if (options.isStopped?.() === true) return undefined
      const untouched = known.untouched(file)
      if (untouched !== undefined) {
        found.push({ facts: untouched, entry: untouched })
        options.onBytes?.(file.bytes * 2)
        continue
      }
      const isKnown = (sha256: string): boolean => added.has(sha256) || known.content(sha256) !== undefined
      const stored = await storeFile(file, writer, isKnown, release)
      if (typeof stored === "string") {
        skipped.push({ path: file.path, reason: stored })
        continue
      }
      if (stored.content !== undefined) added.set(stored.facts.sha256, stored.content)
      options.onBytes?.(stored.content === undefined ? file.bytes * 2 : file.bytes)
      found.push({ facts: stored.facts, entry: undefined })
      reached("backup/copied")
    }
    await writer.finish()
    reached("backup/packed")
  } finally {
    writer.discard()
  }
  const files = found.map(({ entry, facts }) => entry ?? placed(facts, added.get(facts.sha256), known))
  const latest = usable.at(-1)
  if (latest !== undefined && added.size === 0 && skipped.length === 0 && isAlike(latest.manifest, files)) {
    return { report: reportOf(store, latest.sha256, latest.manifest, 0), skipped, isPlainAfterEncrypted }
  }
  const proven = await prove(options, files, new Set(added.keys()), cipher)
  if (!proven) return undefined
  reached("backup/proven")
  const manifest: Manifest = {
    format: 1,
    backup_id: randomUUID(),
    run: options.run,
    created_at: new Date().toISOString(),
    program: options.program,
    base: commonFolder(files.map(({ path }) => path)),
    key,
    files,
    skipped
  }
  const written = writeManifest(store, manifest)
  reached("backup/listed")
  const addedBytes = new Map(files.map(({ bytes, sha256 }) => [sha256, bytes]))
  const sum = [...added.keys()].reduce((total, sha256) => total + (addedBytes.get(sha256) ?? 0), 0)
  return { report: reportOf(store, written.sha256, manifest, sum), skipped, isPlainAfterEncrypted }
}

/** Whether it is a database of DuckDB by what it begins with, whatever its name; one that cannot be read may be. */
const isDatabase = (handle: number): boolean => {
  const head = new Uint8Array(DATABASE_HEAD_BYTES)
  try {
    readFully(handle, head, 0)
    return isDatabaseHead(head)
  } catch {
    return true
  }
}

/** Removes what killed runs left behind: files and scratch folders that never got a name. */
const removeAbandoned = (store: string): void => {
  for (const folder of [store, join(store, "packs"), join(store, "manifests")]) removeLeftovers(folder, namesInStore)
}

/** The entry of a file whose content has its place now. */
const placed = (facts: StoredFile["facts"], added: Incoming | undefined, known: KnownContents): ManifestFile => {
  if (added?.place !== undefined) return { ...facts, ...added.place, frames: added.frames }
  const content = known.content(facts.sha256)
  if (content === undefined) throw new Error("A content that was known has gone")
  const { frames, offset, pack } = content
  return { ...facts, pack, offset, frames }
}

const reportOf = (store: string, sha256: string, manifest: Manifest, added: number): BackupReport => ({
  backup_id: manifest.backup_id,
  path: store,
  files: manifest.files.length,
  bytes: bytesOf(manifest),
  added_bytes: added,
  manifest_sha256: sha256
})

const bytesOf = ({ files }: Manifest): number => files.reduce((sum, { bytes }) => sum + bytes, 0)

/** Contents that the store holds already. */
class KnownContents {
  private readonly contents = new Map<string, Content>()
  private readonly paths = new Map<string, { readonly file: ManifestFile; readonly at: number }>()
  private readonly reader: PackReader

  constructor(store: string, manifests: ReadonlyArray<{ readonly manifest: Manifest }>) {
    this.reader = new PackReader(store)
    for (const { manifest } of manifests) {
      for (const file of manifest.files) {
        this.contents.set(file.sha256, file)
        this.paths.set(file.path, { file, at: Date.parse(manifest.created_at) })
      }
    }
  }

  content(sha256: string): Content | undefined {
    const content = this.contents.get(sha256)
    return content !== undefined && this.reader.holds(content) ? content : undefined
  }

  /**
   * The entry of a file that is the version which was copied, told by inode, size and times. A file written to within the
   * last moments before that copy may look the same and be another: it is read again.
   */
  untouched(file: SourceFile): ManifestFile | undefined {
    const known = this.paths.get(file.path)
    if (known === undefined) return undefined
    const { at, file: entry } = known
    const { ctimeNs, dev, ino, mtimeNs, size } = file.identity
    const isSame =
      entry.bytes === Number(size) &&
      entry.mtime_ns === String(mtimeNs) &&
      entry.ctime_ns === String(ctimeNs) &&
      entry.inode === `${dev}:${ino}`
    const settled = Number(ctimeNs / 1_000_000n) + SETTLING_MS < at && Number(mtimeNs / 1_000_000n) + SETTLING_MS < at
    return isSame && settled && this.reader.holds(entry) ? entry : undefined
  }
}

/** Longer than the coarsest tick of a file system's clock. */
const SETTLING_MS = 2_500

const isAlike = (manifest: Manifest, files: ReadonlyArray<ManifestFile>): boolean =>
  manifest.files.length === files.length &&
  manifest.files.every((file, at) => {
    const other = files[at]
    return (
      other !== undefined &&
      file.path === other.path &&
      file.sha256 === other.sha256 &&
      file.mode === other.mode &&
      file.mtime_ns === other.mtime_ns
    )
  })

/** Restores everything that was added to a scratch place and compares it; false if it was stopped. */
const prove = async (
  options: BackupOptions,
  files: ReadonlyArray<ManifestFile>,
  added: ReadonlySet<string>,
  cipher: Cipher | undefined
): Promise<boolean> => {
  const scratch = join(options.store, `.scratch-${randomUUID()}`)
  const reader = new PackReader(options.store)
  const contents = new Map(files.filter(({ sha256 }) => added.has(sha256)).map((file) => [file.sha256, file]))
  let isStopped = false
  mkdirSync(scratch, { mode: 0o700 })
  try {
    await eachAtOnce([...contents.values()], options.jobs, async (file) => {
      isStopped ||= options.isStopped?.() === true
      if (isStopped) return
      const target = join(scratch, file.sha256)
      const problem =
        (await restoreOne(reader, file, target, cipher, true)) ??
        (compareRestored(target, file) ? undefined : "differs")
      if (problem !== undefined) {
        const reason = problem === "pack-unreadable" ? "io" : "not-proven"
        throw new BackupError({ reason, store: options.store, path: file.path })
      }
      rmSync(target)
      options.onBytes?.(file.bytes)
    })
    return !isStopped
  } finally {
    reader.close()
    removeScratch(scratch)
  }
}

/** An empty folder, as a proof that succeeds leaves it, goes without being opened: that works also when nothing can be. */
const removeScratch = (folder: string): void => {
  try {
    rmdirSync(folder)
  } catch {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Restores one file, or says what is wrong with its copy; then nothing is left. */
const restoreOne = async (
  reader: PackReader,
  file: ManifestFile,
  target: string,
  cipher: Cipher | undefined,
  isScratch = false,
  reached: Reached = () => {}
): Promise<BackupProblem["problem"] | undefined> => {
  const restored = new RestoredFile(target)
  try {
    const problem = await readContent(reader, file, cipher, restored)
    if (problem !== undefined) return problem
    reached("restore/copied")
    restored.publish(file, isScratch)
    reached("restore/named")
    return undefined
  } finally {
    restored.discard()
  }
}

// ---- what there is

/** One backup of a store. */
export interface BackupSummary {
  readonly backup_id: string
  readonly run: string | null
  readonly created_at: string
  readonly files: number
  readonly bytes: number
  readonly encrypted: boolean
  /** The folder that all its files lay in. */
  readonly base: string
  readonly manifest_sha256: string
}

/** The last backup of a store, and those with files that it has not, or has with other bytes: the last one first. */
export const otherBackups = (
  store: string
): Effect.Effect<
  { readonly last: BackupSummary | undefined; readonly others: ReadonlyArray<BackupSummary> },
  BackupError
> =>
  attempt(store, () => {
    const read = readManifests(store).flatMap(({ manifest, sha256 }) =>
      manifest === undefined ? [] : [{ manifest, summary: summaryOf(manifest, sha256) }]
    )
    const last = read.at(-1)
    const held = new Map(last?.manifest.files.map(({ path, sha256 }) => [path, sha256]))
    const others = read
      .slice(0, -1)
      .filter(({ manifest }) => manifest.files.some(({ path, sha256 }) => held.get(path) !== sha256))
      .map(({ summary }) => summary)
    return { last: last?.summary, others: others.toReversed() }
  })

/** The backups of a store, oldest first, and manifests that cannot be read. */
export const listBackups = (
  store: string
): Effect.Effect<
  { readonly backups: ReadonlyArray<BackupSummary>; readonly damaged: ReadonlyArray<string> },
  BackupError
> =>
  attempt(store, () => {
    const read = readManifests(store)
    return {
      backups: read.flatMap(({ manifest, sha256 }) => (manifest === undefined ? [] : [summaryOf(manifest, sha256)])),
      damaged: read.filter(({ manifest }) => manifest === undefined).map(({ path }) => path)
    }
  })

/** Ids of the backups whose manifest a store has, be it whole or not; none where there is no store. */
export const manifestIds = (store: string): Effect.Effect<ReadonlySet<string>, BackupError> =>
  attempt(
    store,
    () => new Set(readManifests(store).flatMap(({ manifest, path }) => [idInName(path), manifest?.backup_id ?? ""]))
  ).pipe(
    Effect.catchIf(
      ({ reason }) => reason === "not-found",
      () => Effect.succeed(new Set<string>())
    )
  )

const summaryOf = (manifest: Manifest, sha256: string): BackupSummary => ({
  backup_id: manifest.backup_id,
  run: manifest.run,
  created_at: manifest.created_at,
  files: manifest.files.length,
  bytes: bytesOf(manifest),
  encrypted: manifest.key !== null,
  base: manifest.base,
  manifest_sha256: sha256
})

const attempt = <A>(store: string, f: () => A): Effect.Effect<A, BackupError> =>
  Effect.try({ try: f, catch: (cause) => backupFailure(store, cause) })

const attemptAsync = <A>(store: string, f: () => Promise<A>): Effect.Effect<A, BackupError> =>
  Effect.tryPromise({ try: f, catch: (cause) => backupFailure(store, cause) })

/** The manifest of a backup by its id, how that begins, the run that it was made for, or `last`. */
export const findBackup = (
  store: string,
  wanted: string
): Effect.Effect<ReadManifest & { readonly manifest: Manifest }, BackupError> =>
  Effect.flatMap(
    attempt(store, () => readManifests(store)),
    (all) => {
      const sound = all.flatMap((read) => (read.manifest === undefined ? [] : [{ ...read, manifest: read.manifest }]))
      const found =
        wanted === "last"
          ? sound.slice(-1)
          : sound.filter(
              ({ manifest }) =>
                wanted !== "" && (manifest.backup_id.startsWith(wanted) || manifest.run?.startsWith(wanted) === true)
            )
      const [one] = found
      if (one !== undefined && found.length === 1) return Effect.succeed(one)
      // One that is asked for and cannot be read is damaged; it is not the case that there is none.
      const reason = all.some(
        ({ manifest, path }) => manifest === undefined && (wanted === "last" || manifestName(path).includes(wanted))
      )
        ? "damaged"
        : "not-found"
      return Effect.fail(new BackupError({ reason, store, ...(wanted === "last" ? {} : { wanted }) }))
    }
  )

export interface CheckOptions {
  readonly store: string
  readonly backup: string
  /** SHA-256 that the manifest must have, where the database says so. */
  readonly manifestSha256?: string | undefined
  readonly cipher?: CipherSettings | undefined
  /** How much is read at once. */
  readonly jobs?: number | undefined
  readonly onProgress?: ((progress: CopiesProgress) => void) | undefined
}

/** Tells of bytes as they are done. */
const tellerOf = (phase: CopiesProgress["phase"], manifest: Manifest, { onProgress }: CheckOptions) => {
  const all = { phase, bytes: bytesOf(manifest), files: manifest.files.length }
  let done = 0
  onProgress?.({ ...all, done })
  return (bytes: number): void => {
    done += bytes
    onProgress?.({ ...all, done })
  }
}

export interface BackupCheck {
  readonly backup_id: string
  readonly files: number
  readonly bytes: number
  readonly problems: ReadonlyArray<BackupProblem>
}

/** Reads every content of a backup and compares it with its SHA-256. */
export const verifyBackup = (options: CheckOptions): Effect.Effect<BackupCheck, BackupError> =>
  Effect.flatMap(findBackup(options.store, options.backup), ({ isAsWritten, manifest, path, sha256 }) =>
    attemptAsync(options.store, async () => {
      const problems: Array<BackupProblem> = []
      if (!isAsWritten || !isAsRecorded(options, sha256)) problems.push({ path, problem: "manifest-changed" })
      const cipher = manifest.key !== null ? await decrypterOf(options.store, options.cipher) : undefined
      const onBytes = tellerOf("check", manifest, options)
      const reader = new PackReader(options.store)
      const checked = new Map<string, BackupProblem["problem"] | undefined>()
      try {
        const contents = new Map(manifest.files.map((file) => [file.sha256, file]))
        await eachAtOnce([...contents.values()], options.jobs, async (file) => {
          checked.set(file.sha256, await readContent(reader, file, cipher, nowhere))
          onBytes(file.bytes)
        })
        for (const file of manifest.files) {
          const problem = checked.get(file.sha256)
          if (problem !== undefined) problems.push({ path: file.path, problem })
          if (contents.get(file.sha256) !== file) onBytes(file.bytes)
        }
      } finally {
        reader.close()
      }
      return { backup_id: manifest.backup_id, files: manifest.files.length, bytes: bytesOf(manifest), problems }
    })
  )

const isAsRecorded = ({ manifestSha256 }: CheckOptions, sha256: string): boolean =>
  manifestSha256 === undefined || manifestSha256 === sha256

const nowhere: Sink = { write: () => {} }

export interface RestoreOptions extends CheckOptions {
  /** The folder to restore into; undefined puts every file back where it was. */
  readonly out?: string | undefined
  /** Says where a file goes instead; undefined leaves it out. */
  readonly place?: ((path: string) => string | undefined) | undefined
}

export interface RestoreResult {
  readonly backup_id: string
  readonly restored: ReadonlyArray<string>
  /** There already, with the same bytes. */
  readonly present: ReadonlyArray<string>
  /** There already with other bytes: left as they are. */
  readonly kept: ReadonlyArray<string>
  readonly problems: ReadonlyArray<BackupProblem>
}

/**
 * Restores the files of a backup with bytes, modes and times (to the microsecond). What is there already is never
 * overwritten; a file whose copy is damaged, or whose place cannot be written to, is named and not written.
 */
export const restoreBackup = (options: RestoreOptions): Effect.Effect<RestoreResult, BackupError> =>
  Effect.flatMap(Effect.zip(findBackup(options.store, options.backup), Failpoints), ([read, reached]) =>
    attemptAsync(options.store, async () => {
      const { manifest, path } = read
      const isTrusted = read.isAsWritten && isAsRecorded(options, read.sha256)
      // What it says of places cannot be trusted: below a folder of the user's choice it does no harm.
      if (!isTrusted && options.out === undefined && options.place === undefined) {
        throw new BackupError({ reason: "changed", store: options.store, path })
      }
      const cipher = manifest.key !== null ? await decrypterOf(options.store, options.cipher) : undefined
      const onBytes = tellerOf("restore", manifest, options)
      const reader = new PackReader(options.store)
      const restored: Array<string> = []
      const present: Array<string> = []
      const kept: Array<string> = []
      const problems: Array<BackupProblem> = isTrusted ? [] : [{ path, problem: "manifest-changed" }]
      const clear = leftoverRemover()
      try {
        for (const file of manifest.files) {
          const target = placeOf(options, manifest.base, file.path)
          if (target === undefined) continue
          try {
            if (isThere(target)) (compareRestored(target, file, "bytes") ? present : kept).push(target)
            else {
              const folder = dirname(target)
              mkdirSync(folder, { recursive: true })
              clear(folder)
              const problem = await restoreOne(reader, file, target, cipher, false, reached)
              if (problem === undefined) restored.push(target)
              else problems.push({ path: file.path, problem })
            }
          } catch (cause) {
            const problem = targetProblem(cause)
            if (problem === undefined) throw targetFailure(options.store, target, cause)
            problems.push({ path: file.path, problem, target })
          }
          onBytes(file.bytes)
        }
      } finally {
        reader.close()
      }
      return { backup_id: manifest.backup_id, restored, present, kept, problems }
    })
  )

const placeOf = ({ out, place }: RestoreOptions, base: string, path: string): string | undefined => {
  if (place !== undefined) return place(path)
  return out === undefined ? path : placeBelow(out, base, path)
}

/** A manifest from elsewhere cannot lead out of the folder. */
const placeBelow = (out: string, base: string, path: string): string => {
  const way = relative(base, path)
  const place = resolve(
    out,
    way
      .split(sep)
      .filter((step) => step !== "..")
      .join(sep)
  )
  return place
}

/** Whether a folder is one that backups are kept in. */
export const isBackupStore = (folder: string): boolean =>
  ["packs", "manifests"].some((name) => existsSync(join(folder, name)))

/** Whether the last backup of a store is encrypted; where none can be read, whether the store has a key of its own. */
export const isLastEncrypted = (store: string): boolean => {
  try {
    const last = readManifests(store).findLast(({ manifest }) => manifest !== undefined)?.manifest
    return last === undefined ? hasIdentity(store) : last.key !== null
  } catch {
    return hasIdentity(store)
  }
}

/** SHA-256 of every content of which a store has a copy that is not encrypted; none where there is no store that can be read. */
export const contentsInClear = (store: string): ReadonlySet<string> => {
  try {
    const manifests = readManifests(store).flatMap(({ isAsWritten, manifest }) =>
      isAsWritten && manifest?.key === null ? [manifest] : []
    )
    return new Set(manifests.flatMap(({ files }) => files.map(({ sha256 }) => sha256)))
  } catch {
    return new Set()
  }
}

/** The files of a backup with their sizes and SHA-256. */
export const filesOf = (
  store: string,
  backup: string
): Effect.Effect<ReadonlyArray<Pick<ManifestFile, "path" | "bytes" | "sha256">>, BackupError> =>
  Effect.map(findBackup(store, backup), ({ manifest }) => manifest.files)

export { areRecipients, type CipherSettings, hasIdentity }
