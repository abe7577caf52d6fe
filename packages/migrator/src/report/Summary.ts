/** What every rendering of a report says: sums, rates, and groups of problems. Pure; nothing here is formatted for a medium. */
import type { ItemReport, KindQuality, Remark, RunReport, UndoneBy } from "../Report.ts"

/** A problem of one item. */
export interface Problem {
  readonly item: ItemReport
  readonly remark: Remark
}

/** Remarks of one code. */
export interface CodeGroup {
  readonly code: string
  readonly count: number
  /** Whether items were not stored because of it. */
  readonly isProblem: boolean
  readonly message: string
}

export interface ReportSummary {
  readonly title: string
  /** Entities that the run stored, nested ones included. */
  readonly entities: number
  readonly kinds: ReadonlyArray<readonly [kind: string, count: number]>
  readonly bytesPerSecond: number | undefined
  readonly entitiesPerSecond: number | undefined
  readonly problems: ReadonlyArray<Problem>
  readonly codes: ReadonlyArray<CodeGroup>
  readonly leaves: { readonly typed: number; readonly approximate: number; readonly unmapped: number }
  readonly balance: string
}

const commands: Readonly<Record<NonNullable<RunReport["command"]>, string>> = {
  migrate: "Migration",
  rollback: "Undoing a run",
  savepoint: "Savepoint",
  purge: "Removing deleted cohorts for good"
}

/** What a run did that took no sources, in a sentence; undefined for a migration, whose totals say it. */
export const deedOf = ({ command, options = {}, outcome, purged }: RunReport): string | undefined => {
  switch (command ?? "migrate") {
    case "migrate":
      return undefined
    case "savepoint":
      return `Made the savepoint ${optionText("savepoint", options["savepoint"] ?? "")}: nothing was changed, and all cohorts can be made again what they were then.`
    case "purge": {
      const { cohorts = [], documents = 0, entities = {} } = purged ?? {}
      const count = Object.values(entities).reduce((sum, each) => sum + each, 0)
      return `Removed ${counted(cohorts.length, "deleted cohort")} for good, with ${counted(documents, "document")} and ${counted(count, "entity", "entities")} that no other has. That cannot be undone.`
    }
    case "rollback": {
      const { to_savepoint: savepoint, undone_run: run } = options
      const done = outcome === "partly-done" ? ", as far as that was possible" : ""
      return savepoint === undefined
        ? `Undid run ${optionText("undone_run", run ?? "")}${done}: cohorts became what they were before it.`
        : `Went back to the savepoint ${optionText("to_savepoint", savepoint)}${done}: cohorts became what they were then.`
    }
  }
}

/** What a savepoint cannot give back. */
export const lostToPurge = (removed: number): string =>
  `${counted(removed, "cohort")} of the savepoint cannot be given back: removed for good since.`

/** What to call the report. */
const titleOf = ({ command = "migrate", dry_run }: RunReport): string =>
  `${commands[command]}${dry_run ? ", dry run" : ""}`

export const summaryOf = (report: RunReport): ReportSummary => {
  const { timings, totals } = report
  const entities = Object.values(totals.entities).reduce((sum, count) => sum + count, 0)
  const perSecond = (amount: number): number | undefined =>
    timings.load > 0 && amount > 0 ? (amount * 1000) / timings.load : undefined
  const problems = report.items.filter(isStopped).flatMap((item) => item.remarks.map((remark) => ({ item, remark })))
  const quality = report.quality ?? []
  const sum = (pick: (quality: KindQuality) => number): number => quality.reduce((all, one) => all + pick(one), 0)
  return {
    title: titleOf(report),
    entities,
    kinds: Object.entries(totals.entities)
      .filter(([, count]) => count > 0)
      .sort(([, left], [, right]) => right - left),
    bytesPerSecond: perSecond(totals.bytes),
    entitiesPerSecond: perSecond(entities),
    problems,
    codes: codesOf(report.items),
    leaves: {
      typed: sum(({ typed }) => typed),
      approximate: sum(({ approximate }) => approximate),
      unmapped: sum(({ unmapped }) => unmapped)
    },
    balance: balanceOf(report)
  }
}

/** Whether an item was not stored because something is wrong with it. */
export const isStopped = ({ outcome }: ItemReport): boolean => outcome === "rejected" || outcome === "failed"

/** Where in its file a remark stands, as people read it. */
export const placeOf = ({ column, line, part, pointer }: Remark): string =>
  [
    ...(part === undefined ? [] : [part]),
    ...(line === null ? [] : [`line ${line}${column === null ? "" : `, column ${column}`}`]),
    ...(pointer === null ? [] : [pointer === "" ? "the whole document" : pointer])
  ].join(", ")

/** What became of a run that another one undid. */
export const undoneWord = ({ partly }: UndoneBy): string => (partly === true ? "partly undone" : "undone")

/** Where the content of a source was or is besides, with the path as `show` writes it; undefined if it is new. */
export const originOfContent = (
  { change, from }: ItemReport,
  show: (path: string) => string = (path) => path
): string | undefined =>
  from === undefined ? undefined : `${change === "renamed" ? "renamed from" : "the same as"} ${show(from)}`

/** What a source was before: an item that was mended, or the same content at another place. */
export const originsOf = (item: ItemReport): ReadonlyArray<string> => {
  const origin = originOfContent(item)
  return [
    ...(item.replays === undefined ? [] : [`item ${item.replays.item} of run ${item.replays.run}`]),
    ...(origin === undefined ? [] : [origin])
  ]
}

/** Sources that are gone, and what is left of each. */
export const removedSources = ({
  removed = [],
  removed_unstored: unstored = []
}: RunReport): ReadonlyArray<{ readonly path: string; readonly left: string }> => {
  const without = new Set(unstored)
  return removed.map((path) => ({
    path,
    left: without.has(path) ? "nothing is stored from it" : "what was stored from it stays"
  }))
}

/** `found = migrated + unchanged + …`, with the numbers; of a run without an end, only what is noted of it. */
const balanceOf = ({ totals }: RunReport): string => {
  const { failed, found, migrated, partial, rejected, skipped, unchanged } = totals
  if (partial === true) {
    return `not known, for the run did not come to its end; noted until then: ${migrated} migrated, ${skipped} skipped, ${rejected} rejected, ${failed} failed`
  }
  const sum = migrated + unchanged + skipped + rejected + failed
  return `${found} found; ${migrated} migrated + ${unchanged} unchanged + ${skipped} skipped + ${rejected} rejected + ${failed} failed = ${sum}`
}

const codesOf = (items: ReadonlyArray<ItemReport>): ReadonlyArray<CodeGroup> => {
  const groups = new Map<string, { code: string; count: number; isProblem: boolean; message: string }>()
  for (const item of items) {
    for (const { code, message } of item.remarks) {
      const group = groups.get(code)
      if (group === undefined) groups.set(code, { code, count: 1, isProblem: isStopped(item), message })
      else {
        group.count++
        group.isProblem ||= isStopped(item)
      }
    }
  }
  return [...groups.values()].sort(
    (left, right) => Number(right.isProblem) - Number(left.isProblem) || right.count - left.count
  )
}

/** `1,234`. */
export const grouped = (count: number): string => String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ",")

/** `1 entity`, `2 entities`; thousands are set apart. */
export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${grouped(count)} ${count === 1 ? one : many}`

export const durationText = (milliseconds: number): string =>
  milliseconds < 1000
    ? `${Math.round(milliseconds)} ms`
    : milliseconds < 60_000
      ? `${(milliseconds / 1000).toFixed(1)} s`
      : `${Math.floor(milliseconds / 60_000)} min ${Math.round((milliseconds % 60_000) / 1000)} s`

/** `12.3 %`; what is not all is never shown as all. */
export const percentText = (part: number, whole: number): string => {
  if (whole === 0) return "–"
  const percent = (100 * part) / whole
  if (part === whole) return "100 %"
  return `${Math.min(99.9, Math.floor(percent * 10) / 10).toFixed(1)} %`
}

/** The value of an option, in one line. */
export const optionText = (name: string, value: unknown): string => {
  if (typeof value === "string") return value
  if (!Array.isArray(value)) return JSON.stringify(value)
  return name === "plan" ? `of ${value.length} sources` : value.map(String).join(", ")
}

/** What a run was asked, one line per option. */
export const optionLines = (report: RunReport): ReadonlyArray<readonly [name: string, value: string]> =>
  Object.entries(report.options ?? {})
    .filter(([name]) => name !== "command" && name !== "replays" && name !== "cwd")
    .map(([name, value]) => [name.replaceAll("_", " "), optionText(name, value)])
