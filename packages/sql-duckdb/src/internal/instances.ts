/**
 * Opening database files: the checks before, the options, and the rule that a process has one instance per file.
 *
 * Two DuckDB instances on one file in one process lose each other's commits, and closing any descriptor of the file
 * drops DuckDB's lock. So the file is never opened here while anything in the process has it open.
 */
import { DuckDBInstance } from "@duckdb/node-api"
import { Effect, type Scope } from "effect"
import { closeSync, lstatSync, openSync, readSync, realpathSync, statSync } from "node:fs"
import { basename, dirname, isAbsolute, join } from "node:path"
import { DATABASE_HEAD_BYTES, descriptorsOf, fileIdentity, isDatabaseHead } from "../DatabaseFile.ts"
import { DuckDbOpenError, type OpenReason, toOpenError } from "../DuckDbError.ts"

/** What the opening of an instance depends on. */
export interface InstanceConfig {
  readonly filename: string
  readonly readonly?: boolean | undefined
  readonly memoryLimit?: string | undefined
  readonly threads?: number | undefined
  readonly tempDirectory?: string | undefined
  readonly maxTempDirectorySize?: string | undefined
  readonly options?: Readonly<Record<string, string>> | undefined
  readonly alias?: string | undefined
  /** Shares the instance with no other client of this process. */
  readonly exclusive?: boolean | undefined
}

/** Opens the database, or joins the instance this process already has on it with the same options. */
export const openInstance = (config: InstanceConfig): Effect.Effect<DuckDBInstance, DuckDbOpenError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(acquire(config), (lease) => Effect.sync(lease.release)),
    (lease) => lease.instance
  )

interface Lease {
  readonly instance: DuckDBInstance
  readonly release: () => void
}

interface Entry {
  readonly path: string
  readonly settings: string
  readonly opening: Promise<DuckDBInstance>
  readonly identity: { current: string | undefined }
  readonly isExclusive: boolean
  users: number
}

// On globalThis, because two copies of this package in one process share the file system all the same.
const registryKey = Symbol.for("@mallard/sql-duckdb/instances")

const isRegistry = (value: unknown): value is Map<string, Entry> => value instanceof Map

const registry = (): Map<string, Entry> => {
  const known: unknown = Reflect.get(globalThis, registryKey)
  if (isRegistry(known)) return known
  const created = new Map<string, Entry>()
  Reflect.set(globalThis, registryKey, created)
  return created
}

const acquire = (config: InstanceConfig): Effect.Effect<Lease, DuckDbOpenError> =>
  Effect.tryPromise({
    try: async () => {
      const options = instanceOptions(config)
      if (config.filename === ":memory:") {
        if (config.readonly === true)
          throw new DuckDbOpenError({ reason: "bad-option", path: ":memory:", option: "readonly" })
        const instance = await DuckDBInstance.create(":memory:", options)
        return { instance, release: () => instance.closeSync() }
      }
      // No await between the checks and the registration: a second opener must see the first.
      const file = inspect(config.filename, config.readonly === true)
      const settings = JSON.stringify(
        Object.entries({ ...options, ...(config.alias === undefined ? {} : { alias: config.alias }) }).sort(
          ([left], [right]) => (left < right ? -1 : 1)
        )
      )
      const entries = registry()
      let entry = [...entries.values()].find(
        (known) => known.path === file.path || (file.identity !== undefined && known.identity.current === file.identity)
      )
      const isExclusive = config.exclusive === true
      if (entry !== undefined && (isExclusive || entry.isExclusive || !isSame(entry, file, settings))) {
        throw new DuckDbOpenError({ reason: "already-open", path: file.path })
      }
      if (entry === undefined) {
        if (file.identity !== undefined) checkFile(file.path, file.identity)
        const identity: Entry["identity"] = { current: file.identity }
        const opening = (
          config.alias === undefined
            ? DuckDBInstance.create(
                file.path,
                file.identity === undefined ? { ...options, storage_compatibility_version: "latest" } : options
              )
            : attach(file, config.alias, options)
        ).then((instance) => {
          identity.current ??= identityOf(file.path)
          return instance
        })
        entry = { path: file.path, settings, opening, identity, isExclusive, users: 0 }
        entries.set(file.path, entry)
      }
      const joined = entry
      joined.users++
      const leave = (): boolean => {
        joined.users--
        if (joined.users === 0) entries.delete(joined.path)
        return joined.users === 0
      }
      try {
        const instance = await joined.opening
        return {
          instance,
          release: () => {
            if (leave()) instance.closeSync()
          }
        }
      } catch (cause) {
        leave()
        throw cause
      }
    },
    catch: (cause) => toOpenError(cause, config.filename)
  })

const aliases = new WeakMap<DuckDBInstance, string>()

/** The name under which an instance's file was attached, if it has one of its own. */
export const aliasOf = (instance: DuckDBInstance): string | undefined => aliases.get(instance)

/** Opens the file under a name of the caller's choice; a file opened directly gets its own name. */
const attach = async (file: Inspected, alias: string, options: Record<string, string>): Promise<DuckDBInstance> => {
  const { access_mode, ...others } = options
  const instance = await DuckDBInstance.create(":memory:", { temp_directory: `${file.path}.tmp`, ...others })
  try {
    const connection = await instance.connect()
    try {
      const settings = [
        ...(access_mode === "READ_ONLY" ? ["READ_ONLY"] : []),
        ...(file.identity === undefined ? ["STORAGE_VERSION 'latest'"] : [])
      ]
      await connection.run(
        `ATTACH '${file.path.replaceAll("'", "''")}' AS ${quoted(alias)}${settings.length === 0 ? "" : ` (${settings.join(", ")})`}`
      )
    } finally {
      connection.closeSync()
    }
  } catch (cause) {
    instance.closeSync()
    throw cause
  }
  aliases.set(instance, alias)
  return instance
}

export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

// False too if the file was replaced under an open instance, or is reached by another name (a hard link).
const isSame = (entry: Entry, file: Inspected, settings: string): boolean =>
  entry.path === file.path &&
  entry.settings === settings &&
  (entry.identity.current === undefined || file.identity === undefined || entry.identity.current === file.identity)

/** Options that callers must not weaken. */
const fixedOptions = {
  autoinstall_known_extensions: "false",
  autoload_known_extensions: "false",
  allow_community_extensions: "false",
  allow_unsigned_extensions: "false",
  // DuckDB 1.5 leaves part of a transaction behind after a crash with optimistic writes on.
  enable_optimistic_write: "false"
}

const ownedOptions = new Set([
  ...Object.keys(fixedOptions),
  "access_mode",
  "memory_limit",
  "max_memory",
  "threads",
  "worker_threads",
  "temp_directory",
  "max_temp_directory_size",
  "storage_compatibility_version"
])

const instanceOptions = (config: InstanceConfig): Record<string, string> => {
  const owned = Object.keys(config.options ?? {}).find((name) => ownedOptions.has(name.toLowerCase()))
  if (owned !== undefined) throw new DuckDbOpenError({ reason: "bad-option", path: config.filename, option: owned })
  return {
    ...config.options,
    ...fixedOptions,
    access_mode: config.readonly === true ? "READ_ONLY" : "READ_WRITE",
    ...(config.memoryLimit === undefined ? {} : { memory_limit: config.memoryLimit }),
    ...(config.threads === undefined ? {} : { threads: String(config.threads) }),
    ...(config.tempDirectory === undefined ? {} : { temp_directory: config.tempDirectory }),
    ...(config.maxTempDirectorySize === undefined ? {} : { max_temp_directory_size: config.maxTempDirectorySize })
  }
}

interface Inspected {
  /** The path without links: DuckDB names the write-ahead log after the path it is given. */
  readonly path: string
  /** Device and inode of an existing file. */
  readonly identity: string | undefined
}

const inspect = (filename: string, readonly: boolean): Inspected => {
  if (filename === "" || filename.includes("\0") || !filename.isWellFormed() || !isAbsolute(filename)) {
    throw new DuckDbOpenError({ reason: "bad-path", path: filename.replaceAll("\0", "\\0") })
  }
  try {
    const path = realpathSync(filename)
    const stat = statSync(path)
    if (!stat.isFile()) throw new DuckDbOpenError({ reason: "bad-path", path })
    return { path, identity: fileIdentity(stat) }
  } catch (cause) {
    if (codeOf(cause) !== "ENOENT") throw fileError(cause, filename)
  }
  if (readonly) throw new DuckDbOpenError({ reason: "missing", path: filename })
  // A link that leads nowhere: DuckDB would create its target.
  if (lstatSync(filename, { throwIfNoEntry: false }) !== undefined) {
    throw new DuckDbOpenError({ reason: "bad-path", path: filename })
  }
  try {
    return { path: join(realpathSync(dirname(filename)), basename(filename)), identity: undefined }
  } catch (cause) {
    throw fileError(cause, filename)
  }
}

/** Refuses what is no DuckDB file, because DuckDB would load an extension for some of them. */
const checkFile = (path: string, identity: string): void => {
  // Sees every opener in the process, worker threads and other libraries too.
  if (descriptorsOf(identity).length > 0) throw new DuckDbOpenError({ reason: "already-open", path })
  const head = Buffer.alloc(DATABASE_HEAD_BYTES)
  let length: number
  try {
    const descriptor = openSync(path, "r")
    try {
      length = readSync(descriptor, head, 0, head.length, 0)
    } finally {
      closeSync(descriptor)
    }
  } catch (cause) {
    throw fileError(cause, path)
  }
  if (!isDatabaseHead(head.subarray(0, length))) throw new DuckDbOpenError({ reason: "not-a-database", path })
}

const identityOf = (path: string): string | undefined => {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat === undefined ? undefined : fileIdentity(stat)
}

const codeOf = (cause: unknown): unknown => (cause instanceof Error && "code" in cause ? cause.code : undefined)

const fileReasons: Readonly<Record<string, OpenReason>> = {
  ENOENT: "missing",
  ENOTDIR: "missing",
  EACCES: "permission",
  EPERM: "permission",
  ELOOP: "bad-path",
  ENAMETOOLONG: "bad-path",
  EISDIR: "bad-path",
  ENOSPC: "no-space"
}

const fileError = (cause: unknown, path: string): DuckDbOpenError => {
  if (cause instanceof DuckDbOpenError) return cause
  return new DuckDbOpenError({ reason: fileReasons[String(codeOf(cause))] ?? "io", path, cause })
}
