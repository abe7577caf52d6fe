/** How sources differ from what earlier runs saw. */
import { hash } from "node:crypto"
import { existsSync, realpathSync } from "node:fs"
import { resolve, sep } from "node:path"
import type { Source, SourceFile } from "@mallard/legacy-json"
import { Effect } from "effect"
import { filesOf } from "../Backup.ts"
import { type ChangedSource, changesOf, type PathHistory } from "../Incremental.ts"
import type { MigrateOptions } from "../MigrateOptions.ts"
import { readLastRejects, type Reject } from "../Rejects.ts"
import type { ItemReport, RunReport } from "../Report.ts"
import type { TakenSources } from "./finding.ts"
import { bytesOf } from "./sourceFiles.ts"

/** Says of items how they differ from what earlier runs saw, and what there is to remember for later ones. */
export const comparedWith = Effect.fnUntraced(function* (
  { history, rejects }: Known,
  options: MigrateOptions,
  found: TakenSources,
  items: ReadonlyArray<ItemReport>
) {
  const cwd = options.cwd ?? process.cwd()
  const changes = changesOf(
    items.map(({ path, source_sha256 }) => ({ path, sha256: source_sha256 ?? undefined })),
    below(
      history,
      options.paths.map((path) => resolve(cwd, path))
    ),
    found.there
  )
  const byPath = new Map(changes.map((changed) => [changed.path, changed]))
  const altered = yield* alterationsOf(
    found.sources.filter(({ path }) => byPath.get(path)?.change === "rejected"),
    rejects,
    new Map(items.map(({ path, source_sha256 }) => [path, source_sha256 ?? undefined]))
  )
  const compared = items.map((item): ItemReport => {
    const changed = byPath.get(item.path)
    if (changed === undefined || changed.change === "unreadable") return item
    const change = altered.get(item.path) === true ? "changed" : changed.change
    return { ...item, change, ...(changed.from === undefined ? {} : { from: changed.from }) }
  })
  const seen = compared.flatMap(({ change, digest, outcome, path, source_sha256: sha256 }) =>
    outcome === "unchanged" && change !== "unchanged" && sha256 !== null && digest !== null
      ? [{ path, sha256, digest }]
      : []
  )
  const renamed = compared.flatMap(({ change, from }) => (change === "renamed" && from !== undefined ? [from] : []))
  return {
    items: compared,
    noted: {
      changes: compared.flatMap(({ change, from, outcome, path }) =>
        outcome === "unchanged" || change === undefined || change === "new"
          ? []
          : [{ path, change, ...(from === undefined ? {} : { from }) }]
      ),
      ...(seen.length === 0 ? {} : { seen }),
      ...(renamed.length === 0 ? {} : { renamed })
    },
    removed: options.only === undefined ? changes.filter(({ change }) => change === "removed") : []
  }
})

/** The histories of paths at or below others. */
export const below = (
  history: ReadonlyArray<PathHistory>,
  paths: ReadonlyArray<string>
): ReadonlyArray<PathHistory> => {
  const roots = paths.flatMap((path) => [path, realPath(path)])
  return history.filter(({ path }) =>
    roots.some(
      (root) =>
        path === root ||
        path.startsWith(root.endsWith(sep) ? root : root + sep) ||
        // What lies in a database is no file of its own.
        (path.startsWith(`${root}#`) && !existsSync(path))
    )
  )
}

const realPath = (path: string): string => {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

/** What earlier runs saw, and by path the last rejection of each source. */
export interface Known {
  readonly history: ReadonlyArray<PathHistory>
  readonly rejects: ReadonlyMap<string, Reject>
}

/** The last rejections, where any source was rejected last. */
export const readRejected = (history: ReadonlyArray<PathHistory>) =>
  Effect.suspend(() =>
    history.some(({ state }) => state === "rejected") ? readLastRejects() : Effect.succeed(new Map<string, Reject>())
  )

/**
 * By path, whether rejected sources have other bytes than when they were rejected, as far as their sizes or their copies
 * tell: a reject itself has no digest in the ledger. `contents` are the SHA-256 of the sources now.
 */
export const alterationsOf = Effect.fnUntraced(function* (
  sources: ReadonlyArray<Source>,
  rejects: ReadonlyMap<string, Reject>,
  contents: ReadonlyMap<string, string | undefined>
) {
  const altered = new Map<string, boolean>()
  const byBackup = Map.groupBy(sources, ({ path }) => rejects.get(path)?.backup?.backup_id)
  for (const own of byBackup.values()) {
    const backup = rejects.get(own[0]?.path ?? "")?.backup ?? undefined
    const copies =
      backup === undefined ? [] : yield* filesOf(backup.store, backup.backup_id).pipe(Effect.orElseSucceed(() => []))
    const digests = new Map(copies.map(({ path, sha256 }) => [path, sha256]))
    for (const source of own) {
      const bytes = rejects.get(source.path)?.bytes ?? 0
      const before = contentOf(source, ({ path }) => digests.get(path))
      if (bytes > 0 && bytes !== bytesOf(source)) altered.set(source.path, true)
      else if (before !== undefined) altered.set(source.path, before !== contents.get(source.path))
    }
  }
  return altered
})

/** SHA-256 of a source as a run records it, from those of its files; undefined where one of them is not known. */
export const contentOf = (source: Source, digestOf: (file: SourceFile) => string | undefined): string | undefined => {
  const parts: Array<string> = []
  for (const file of source.files) {
    const sha256 = digestOf(file)
    if (sha256 === undefined) return undefined
    if (source.kind !== "directory") return sha256
    parts.push(`${file.name}\t${sha256}\n`)
  }
  return source.kind === "directory" ? hash("sha256", parts.join(""), "hex") : undefined
}

/** Sources that are gone, as reports and the ledger name them. */
export const removedOf = (removed: ReadonlyArray<ChangedSource>): Pick<RunReport, "removed" | "removed_unstored"> => {
  const unstored = removed.filter(({ stored }) => stored === false)
  return {
    ...(removed.length === 0 ? {} : { removed: removed.map(({ path }) => path) }),
    ...(unstored.length === 0 ? {} : { removed_unstored: unstored.map(({ path }) => path) })
  }
}
