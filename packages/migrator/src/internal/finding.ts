/** What a run finds: the sources it takes, and what it cannot read of them. */
import { closeSync } from "node:fs"
import { resolve, sep } from "node:path"
import { type FoundSources, findSources, type Source } from "@mallard/legacy-json"
import { Effect } from "effect"
import { backupStoreOf } from "../Backup.ts"
import { expandDatabases } from "../HealthSimDatabase.ts"
import type { MigrateOptions } from "../MigrateOptions.ts"
import type { ItemReport } from "../Report.ts"
import { goneItem, plainRemark, rejectedItem, sourceRemark, tooLargeItem, unreadItem } from "./items.ts"
import { checkPlace } from "./moveOriginals.ts"
import { bytesOf, largestOf } from "./sourceFiles.ts"

/** What a run takes of what is there. */
export interface TakenSources extends FoundSources {
  /** All sources that are there and their files, also those that the run does not take. */
  readonly there: ReadonlySet<string>
  /** Of all sources together. */
  readonly bytes: number
}

/**
 * Finds the sources at the paths, databases among them expanded to what they hold. `unreadable` are items already: what could
 * not be read, is too large, or is no more there. `originals` are the files as they lie on the disk, for copies and for moving
 * them; what is `held` stays open until the scope ends.
 */
export const findAll = Effect.fnUntraced(function* (options: MigrateOptions) {
  const onDisk = yield* findSources(options.paths, options.cwd === undefined ? {} : { cwd: options.cwd }).pipe(
    Effect.withSpan("mallard.find")
  )
  const [missing] = onDisk.missing
  if (missing !== undefined) return yield* missing
  const isTaken = ({ path }: Source): boolean =>
    isWhole(options) ||
    [...(options.only ?? options.plan?.keys() ?? [])].some((only) => only === path || only.startsWith(`${path}#`))
  const isTooLarge = ({ files }: Source): boolean =>
    options.maxFileBytes !== undefined && largestOf(files) > options.maxFileBytes
  const tooLarge = onDisk.sources.filter(isTooLarge)
  const readable = onDisk.sources.filter((source) => !isTooLarge(source))
  const originals = readable.filter(isTaken).flatMap(({ files }) => files)
  const given = options.paths.map((path) => resolve(options.cwd ?? process.cwd(), path))
  yield* checkPlace(options.moveOriginals, given, originals)
  const held = yield* holdOpen
  const { sources, unread } = yield* expandDatabases(readable, {
    target: options.database,
    memoryLimit: options.memoryLimit
  })
  // Copies that lie among the sources are our own, and so is what tells of runs that have begun.
  const stores = [options.backup?.store ?? options.rejectStore, backupStoreOf(options.database)]
  const isOurs = (path: string): boolean =>
    stores.some((store) => store !== undefined && path.startsWith(`${store}${sep}`))
  const isWanted = ({ path }: { readonly path: string }): boolean =>
    options.only?.has(path) !== false && options.plan?.has(path) !== false
  const taken = sources.filter(isWanted)
  const found: TakenSources = {
    ...onDisk,
    sources: taken,
    bytes: taken.reduce((sum, source) => sum + bytesOf(source), 0),
    there: new Set(
      [...onDisk.unreadable, ...unread, ...tooLarge, ...sources, ...sources.flatMap(({ files }) => files)].map(
        ({ path }) => path
      )
    ),
    unreadable: onDisk.unreadable.filter(isWanted),
    ignored: isWhole(options) ? onDisk.ignored.filter(({ path }) => !isOurs(path)) : []
  }
  const unreadable = [
    ...unread.filter(isWanted).map(unreadItem),
    ...found.unreadable.map((error) => rejectedItem(error.path, 0, [sourceRemark(error)])),
    ...tooLarge.filter(isWanted).map((source) => tooLargeItem(source, options.maxFileBytes ?? 0)),
    ...goneSince(options, [...found.sources, ...found.unreadable, ...unread, ...tooLarge])
  ]
  return { found, unreadable, originals, held }
})

/** Whether a run takes all sources that it finds. */
const isWhole = ({ only, plan }: MigrateOptions): boolean => only === undefined && plan === undefined

/** Sources that were planned, or are to be taken again, and are there no more. */
const goneSince = (
  { only, plan }: MigrateOptions,
  found: ReadonlyArray<{ readonly path: string }>
): ReadonlyArray<ItemReport> => {
  const there = new Set(found.map(({ path }) => path))
  // Skipped, and not rejected once more: what was rejected has its copy in the run that did so.
  if (plan === undefined) return [...(only ?? [])].filter((path) => !there.has(path)).map(goneItem)
  return [...plan]
    .filter(([path]) => !there.has(path))
    .map(([path, { bytes }]) =>
      rejectedItem(path, bytes, [plainRemark("gone-since-plan", "it was there when the run was planned; plan again")])
    )
}

/**
 * Descriptors that are closed after everything that is opened later: closing any descriptor of a file gives up all locks
 * that the process has on it, those of an open database too.
 */
const holdOpen = Effect.map(
  Effect.acquireRelease(
    Effect.sync((): Array<number> => []),
    (held) => Effect.sync(() => held.forEach((descriptor) => closeSync(descriptor)))
  ),
  (held) => ({
    hold: (descriptor: number): void => {
      held.push(descriptor)
    }
  })
)
