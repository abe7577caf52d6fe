/** How sources differ from what earlier runs saw. */
import { resolve } from "node:path"
import type { FoundSources } from "@mallard/legacy-json"
import { type ChangedSource, changesOf, type PathHistory } from "../Incremental.ts"
import type { MigrateOptions } from "../MigrateOptions.ts"
import type { ItemReport, RunReport } from "../Report.ts"
import { below } from "../Status.ts"

/** Says of items how they differ from what earlier runs saw, and what there is to remember for later ones. */
export const comparedWith = (
  history: ReadonlyArray<PathHistory>,
  options: MigrateOptions,
  found: FoundSources,
  items: ReadonlyArray<ItemReport>
) => {
  const cwd = options.cwd ?? process.cwd()
  const changes = changesOf(
    items.map(({ path, source_sha256 }) => ({ path, sha256: source_sha256 ?? undefined })),
    below(
      history,
      options.paths.map((path) => resolve(cwd, path))
    ),
    new Set(found.sources.flatMap(({ files }) => files.map(({ path }) => path)))
  )
  const byPath = new Map(changes.map((changed) => [changed.path, changed]))
  const compared = items.map((item): ItemReport => {
    const changed = byPath.get(item.path)
    if (changed === undefined || changed.change === "unreadable") return item
    return { ...item, change: changed.change, ...(changed.from === undefined ? {} : { from: changed.from }) }
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
}

/** Sources that are gone, as reports and the ledger name them. */
export const removedOf = (removed: ReadonlyArray<ChangedSource>): Pick<RunReport, "removed" | "removed_unstored"> => {
  const unstored = removed.filter(({ stored }) => stored === false)
  return {
    ...(removed.length === 0 ? {} : { removed: removed.map(({ path }) => path) }),
    ...(unstored.length === 0 ? {} : { removed_unstored: unstored.map(({ path }) => path) })
  }
}
