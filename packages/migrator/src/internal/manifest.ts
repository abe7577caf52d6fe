/**
 * Manifests of backups: which file had which content. A manifest is one JSON document, named by its time, its id and the
 * beginning of its own SHA-256, so that one which changed is known without the database.
 */
import { hash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { basename, dirname, join, sep } from "node:path"
import { Option, Schema } from "effect"
import { writeWhole } from "./atomic.ts"

const Sha256 = Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/))
const Natural = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** One file, and where its content lies. */
export const ManifestFile = Schema.Struct({
  /** Absolute. */
  path: Schema.String,
  bytes: Natural,
  sha256: Sha256,
  mode: Natural,
  mtime_ns: Schema.String,
  ctime_ns: Schema.String,
  /** Device and inode, by which an untouched file is known again. */
  inode: Schema.String,
  /** Name of the pack, the first byte in it, and the lengths of the zstd frames that follow each other. */
  pack: Schema.String.check(Schema.isPattern(/^[0-9a-f-]{36}$/)),
  offset: Natural,
  frames: Schema.Array(Natural)
})
export type ManifestFile = typeof ManifestFile.Type

export const Manifest = Schema.Struct({
  format: Schema.Literal(1),
  backup_id: Schema.String,
  run: Schema.NullOr(Schema.String),
  created_at: Schema.String,
  program: Schema.String,
  /** The folder that all files lay in. */
  base: Schema.String,
  /** The recipients that the contents are encrypted to with age, one per line; null in the clear. */
  key: Schema.NullOr(Schema.String),
  files: Schema.Array(ManifestFile),
  skipped: Schema.Array(Schema.Struct({ path: Schema.String, reason: Schema.String }))
})
export type Manifest = typeof Manifest.Type

/** A manifest as it lies in the store; one that cannot be read has no content. */
export interface ReadManifest {
  readonly path: string
  readonly sha256: string
  readonly manifest: Manifest | undefined
  /** Whether its name fits to what is in it. */
  readonly isAsWritten: boolean
}

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Manifest))

/** No name that a search for JSON would find. */
const SUFFIX = ".manifest"

/** All manifests of a store, oldest first. Throws when there is no store. */
export const readManifests = (store: string): ReadonlyArray<ReadManifest> =>
  readdirSync(join(store, "manifests"))
    .filter((name) => name.endsWith(SUFFIX))
    .sort()
    .map((name) => {
      const path = join(store, "manifests", name)
      const bytes = readFileSync(path)
      const sha256 = hash("sha256", bytes, "hex")
      const manifest = Option.getOrUndefined(decode(bytes.toString("utf8")))
      return { path, sha256, manifest, isAsWritten: manifest !== undefined && fits(name, manifest, sha256) }
    })

const HASH_DIGITS = 16

/** Older names end with the id. */
const fits = (name: string, { backup_id }: Manifest, sha256: string): boolean => {
  const [, id, start] = name.slice(0, -SUFFIX.length).split("_")
  return id === backup_id && (start === undefined || start === sha256.slice(0, HASH_DIGITS))
}

/** Writes a manifest so that it is there whole or not at all. */
export const writeManifest = (store: string, manifest: Manifest): ReadManifest => {
  const stamp = manifest.created_at.replace(/[:.]/g, "-")
  const bytes = Buffer.from(`${JSON.stringify(manifest)}\n`)
  const sha256 = hash("sha256", bytes, "hex")
  const name = `${stamp}_${manifest.backup_id}_${sha256.slice(0, HASH_DIGITS)}${SUFFIX}`
  const path = join(store, "manifests", name)
  writeWhole(path, bytes)
  return { path, sha256, manifest, isAsWritten: true }
}

export const manifestName = (path: string): string => basename(path)

/** The id of the backup that the name of a manifest tells; empty if it tells none. */
export const idInName = (path: string): string => basename(path, SUFFIX).split("_")[1] ?? ""

/** The folder that all paths lie in. */
export const commonFolder = (paths: ReadonlyArray<string>): string => {
  const [first, ...rest] = paths.map((path) => dirname(path))
  if (first === undefined) return sep
  let common = first
  for (const folder of rest) {
    while (
      common !== dirname(common) &&
      folder !== common &&
      !folder.startsWith(common.endsWith(sep) ? common : common + sep)
    ) {
      common = dirname(common)
    }
  }
  return common
}

/** Notes are read by people: beyond these a number says how many more there are. */
const MOST_NOTES = 20

/** What a report says of files that could not be copied. */
export const notCopiedNotes = (skipped: Manifest["skipped"]): ReadonlyArray<string> => [
  ...skipped
    .slice(0, MOST_NOTES)
    .map(({ path, reason }) => `Not copied, and in no backup of this run: ${path} (${reasons[reason] ?? reason}).`),
  ...(skipped.length > MOST_NOTES
    ? [`${skipped.length - MOST_NOTES} more files could not be copied; the manifest of the backup names them.`]
    : [])
]

/** What a report says where rejected files were not copied in plain beside encrypted copies. */
export const REJECTS_NOT_COPIED =
  "The rejected files were not copied: the copies of the backup before are encrypted, and these would not be. To have them copied, run the same without --no-backup and with --backup-passphrase, --backup-passphrase-file or --backup-recipient."

const reasons: Readonly<Record<string, string>> = {
  changed: "it changed meanwhile",
  missing: "it was not there",
  permission: "the operating system does not permit reading it",
  "not-regular": "it is no regular file",
  io: "reading it failed"
}
