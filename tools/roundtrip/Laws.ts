/**
 * The laws of the round trip, checked over a group of specimens that share databases: what goes in comes out, once, in
 * the right places, whatever the order; what cannot go in is named and leaves nothing behind.
 */
import { digestOfFile } from "@mallard/legacy-json"
import { exitCodes, type ItemReport, type RunReport } from "@mallard/migrator"
import {
  digestOfCompactText,
  type JsonTree,
  stringValue,
  textOfFile,
  toCompactText,
  writeFiles
} from "@mallard/testkit"
import { Effect } from "effect"
import { hash } from "node:crypto"
import { mkdir, rm } from "node:fs/promises"
import { join, relative, sep } from "node:path"
import { inspect } from "node:util"
import type { Engine, Snapshot, StoredCohort, StoredPart } from "./Engine.ts"
import { folderOf, isValidFile, type Specimen, writeSpecimen } from "./Specimen.ts"

/** The laws by name. */
export const laws = {
  text: "what comes back is the compact text",
  rows: "migrating what came back gives the same rows",
  digests: "importer, renderer, independent reader and oracle agree on digests",
  verify: "verification finds nothing wrong",
  once: "importing again stores nothing again",
  order: "the order of the files does not matter",
  places: "entities stand where the document has them, as the kind that its keys say",
  counts: "reports, views and totals count the same",
  rejects: "what is no JSON document is rejected at a line and column and leaves nothing behind",
  runs: "a run ends with a report"
} as const

export type Law = keyof typeof laws

export interface Violation {
  readonly law: Law
  readonly message: string
  /** Number of the specimen; undefined where only the group as a whole shows it. */
  readonly specimen: number | undefined
}

export interface GroupResult {
  readonly violations: ReadonlyArray<Violation>
  /** Specimens whose cohort name others of the group claimed: they were rejected for that, and say nothing yet. */
  readonly contested: ReadonlyArray<number>
}

/** The laws that need databases of their own, or a second run. */
export type DearLaw = "rows" | "once" | "order" | "verify"

/** Checks a group of specimens in databases below `folder`, which is emptied afterwards. */
export const checkGroup = async (
  engine: Engine,
  specimens: ReadonlyMap<number, Specimen>,
  folder: string,
  dear: ReadonlySet<DearLaw> = new Set(["rows", "once", "order", "verify"])
): Promise<GroupResult> => {
  const [result] = await checkEngines([engine], specimens, folder, dear)
  return result ?? { violations: [], contested: [] }
}

/** The same for several engines, one after the other, over sources that are written once. */
export const checkEngines = async (
  engines: ReadonlyArray<Engine>,
  specimens: ReadonlyMap<number, Specimen>,
  folder: string,
  dear: ReadonlySet<DearLaw>
): Promise<ReadonlyArray<GroupResult>> => {
  await mkdir(folder, { recursive: true })
  const written: Written = new Map()
  const results: Array<GroupResult> = []
  try {
    for (const engine of engines) {
      const group = new Group(engine, specimens, folder, written)
      try {
        await group.check(dear)
      } catch (error) {
        group.report("runs", undefined, inspect(error, { depth: 4 }))
      }
      results.push({ violations: group.violations, contested: [...group.contested] })
    }
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  }
  return results
}

/** The paths to migrate of each specimen, by the name of the folder that they were written to. */
type Written = Map<string, ReadonlyMap<number, string>>

/** One file of a specimen and the item that the migration made of it. */
interface Traced {
  readonly number: number
  readonly file: Specimen["files"][number]
  readonly item: ItemReport
  readonly path: string
}

class Group {
  readonly violations: Array<Violation> = []
  readonly contested = new Set<number>()
  private readonly engine: Engine
  private readonly specimens: ReadonlyMap<number, Specimen>
  private readonly folder: string
  private readonly written: Written

  constructor(engine: Engine, specimens: ReadonlyMap<number, Specimen>, folder: string, written: Written) {
    this.engine = engine
    this.specimens = specimens
    this.folder = folder
    this.written = written
  }

  report(law: Law, specimen: number | undefined, message: string): void {
    this.violations.push({ law, specimen, message })
  }

  async check(dear: ReadonlySet<DearLaw>): Promise<void> {
    const { engine } = this
    const sources = await this.write("sources", [...this.specimens.keys()])
    const database = join(this.folder, "first.duckdb")
    const run = await engine.migrate([...sources.values()], database)
    const snapshot = await engine.read(database)
    const traced = this.trace(run, "sources", [...this.specimens.keys()])
    this.checkReport(run)
    const sound: Array<number> = []
    for (const [number, specimen] of this.specimens) {
      const own = traced.get(number) ?? []
      if (own.length < specimen.files.length) this.report("counts", number, "the report does not mention all its files")
      else if (await this.checkSpecimen(number, own, snapshot)) sound.push(number)
    }
    this.checkNothingElse(run, snapshot)
    if (dear.has("once")) await this.checkAgain(run, [...sources.values()], database)
    if (dear.has("verify")) await this.checkVerified(sound, sources, database)
    if (dear.has("rows")) await this.checkRows(sound, traced, snapshot)
    if (dear.has("order")) await this.checkOrder(traced, snapshot)
  }

  /** Writes the sources, the folders sorted as the numbers come; gives the path to migrate of each. */
  private async write(name: string, numbers: ReadonlyArray<number>): Promise<ReadonlyMap<number, string>> {
    const known = this.written.get(name)
    if (known !== undefined) return known
    const paths = new Map<number, string>()
    this.written.set(name, paths)
    for (const [at, number] of numbers.entries()) {
      const specimen = this.specimens.get(number)
      if (specimen === undefined) continue
      paths.set(number, await writeSpecimen(this.ordered(name, at), specimen, number))
    }
    return paths
  }

  private ordered(name: string, at: number): string {
    return join(this.folder, name, String(at).padStart(6, "0"))
  }

  private specimenAt(path: string, name: string, numbers: ReadonlyArray<number>): number | undefined {
    const [first] = relative(join(this.folder, name), path).split(sep)
    return first === undefined || !/^\d{6}$/.test(first) ? undefined : numbers[Number(first)]
  }

  /** The files of each specimen with their items. */
  private trace(
    run: RunReport,
    name: string,
    numbers: ReadonlyArray<number>
  ): ReadonlyMap<number, ReadonlyArray<Traced>> {
    const items = new Map(run.items.map((item) => [item.path, item]))
    const traced = new Map<number, ReadonlyArray<Traced>>()
    for (const [at, number] of numbers.entries()) {
      const specimen = this.specimens.get(number)
      if (specimen === undefined) continue
      const folder = join(this.ordered(name, at), folderOf(specimen, number))
      traced.set(
        number,
        specimen.files.flatMap((file) => {
          const path = join(folder, file.name)
          const item = items.get(path) ?? items.get(folder)
          return item === undefined ? [] : [{ number, file, item, path }]
        })
      )
    }
    return traced
  }

  private checkReport(run: RunReport): void {
    if (!run.totals.balanced) this.report("counts", undefined, "the totals of the run do not balance")
    const isRejected = run.items.some(({ outcome }) => outcome === "rejected")
    const expected = isRejected ? "done-with-rejects" : "done"
    if (run.outcome === expected) return
    const findings = run.verification.findings.map(({ code, where, message }) => `${code} ${where}: ${message}`)
    const law = run.outcome === "mismatch" ? "verify" : "runs"
    this.report(
      law,
      undefined,
      `the run is ${run.outcome} (exit code ${exitCodes[run.outcome]}), not ${expected}: ${findings.join("; ")}`
    )
  }

  /** Checks what became of one specimen; true when all of it is stored. */
  private async checkSpecimen(number: number, own: ReadonlyArray<Traced>, snapshot: Snapshot): Promise<boolean> {
    let isSound = true
    for (const item of new Set(own.map(({ item }) => item))) {
      const files = own.filter((traced) => traced.item === item)
      const isValid = files.every(({ file }) => isValidFile(file))
      switch (item.outcome) {
        case "migrated":
        case "skipped": {
          const cohort = snapshot.cohorts.get(item.cohort ?? "")
          if (item.outcome === "skipped" && !hasRemark(item, "identical-content")) {
            this.report("counts", number, `the item was skipped: ${codes(item)}`)
          } else if (!isValid) this.report("rejects", number, `an invalid file was ${item.outcome}`)
          else if (cohort === undefined) this.report("text", number, `no cohort is listed under the name of the item`)
          else await this.checkStored(number, item, files, cohort, snapshot)
          break
        }
        case "rejected":
          isSound = false
          if (hasRemark(item, "name-conflict")) this.checkConflict(number, item, own)
          else if (isValid) this.report("text", number, `a valid document was rejected: ${codes(item)}`)
          else this.checkRejected(number, item, files)
          break
        default:
          isSound = false
          this.report("runs", number, `the item is ${item.outcome}: ${codes(item)}`)
      }
    }
    return isSound
  }

  /** A conflict with another specimen says nothing about this one; one among its own files is told rightly. */
  private checkConflict(number: number, item: ItemReport, own: ReadonlyArray<Traced>): void {
    const rivals = own.filter((other) => other.item !== item && other.item.cohort === item.cohort)
    if (rivals.length === 0) this.contested.add(number)
    else if (rivals.some((rival) => rival.item.outcome !== "rejected")) {
      this.report("rejects", number, "one of its files was stored under a name that another one claims")
    }
  }

  private checkRejected(number: number, item: ItemReport, files: ReadonlyArray<Traced>): void {
    const [remark] = item.remarks
    const bad = files.filter(({ file }) => !isValidFile(file))
    const part = bad.find(({ file }) => remark?.part === undefined || remark.part === file.name)
    if (remark === undefined || part === undefined) {
      this.report("rejects", number, `the remark names none of the invalid files: ${codes(item)}`)
      return
    }
    const whole = textOfFile(part.file)
    const lines = (part.file.cutTo === undefined ? whole : whole.slice(0, part.file.cutTo)).split("\n")
    const line = remark.line ?? 0
    const column = remark.column ?? 0
    if (line < 1 || line > lines.length || column < 1 || column > (lines[line - 1]?.length ?? 0) + 1) {
      this.report("rejects", number, `${remark.code} at line ${line}, column ${column}, which is not in the file`)
    }
  }

  private async checkStored(
    number: number,
    item: ItemReport,
    files: ReadonlyArray<Traced>,
    cohort: StoredCohort,
    snapshot: Snapshot
  ): Promise<void> {
    if (cohort.parts.length !== files.length) {
      this.report("text", number, `${cohort.parts.length} parts are stored of ${files.length} files`)
    }
    if (cohort.digest !== item.digest) this.report("digests", number, "report and revision differ in the digest")
    if (
      JSON.stringify(cohort.entities, sortedKeys(cohort.entities)) !==
      JSON.stringify(item.entities, sortedKeys(item.entities))
    ) {
      this.report(
        "counts",
        number,
        `the report counts ${JSON.stringify(item.entities)}, the view ${JSON.stringify(cohort.entities)}`
      )
    }
    const counted: Record<string, number> = {}
    for (const { places } of cohort.parts) {
      for (const { kind } of places.values()) counted[kind] = (counted[kind] ?? 0) + 1
    }
    if (JSON.stringify(counted, sortedKeys(counted)) !== JSON.stringify(cohort.entities, sortedKeys(cohort.entities))) {
      this.report(
        "counts",
        number,
        `cohorts counts ${JSON.stringify(cohort.entities)}, cohort_entities has ${JSON.stringify(counted)}`
      )
    }
    for (const { file, path } of files) {
      const part = cohort.parts.find((one) => one.path === file.name)
      if (part === undefined) {
        this.report("text", number, `nothing is stored of ${file.name}`)
        continue
      }
      const compact = toCompactText(file.tree)
      const text = Buffer.from(compact)
      if (!part.text.equals(text)) this.report("text", number, `${file.name}: ${difference(part.text, text)}`)
      const oracle = digestOfCompactText(compact)
      const reader = await Effect.runPromise(digestOfFile(path))
      const renderer = hash("sha256", part.text, "hex")
      if (part.digest !== oracle)
        this.report("digests", number, `${file.name}: the importer's digest is not the oracle's`)
      if (renderer !== oracle) this.report("digests", number, `${file.name}: the renderer's digest is not the oracle's`)
      if (reader.digest !== oracle)
        this.report("digests", number, `${file.name}: the reader's digest is not the oracle's`)
      // Of identical documents only one has its bytes hashed into the database.
      if (item.outcome === "migrated" && reader.sourceSha256 !== part.sourceSha256) {
        this.report("digests", number, `${file.name}: importer and reader hash different bytes`)
      }
      this.checkPlaces(number, file, part, snapshot)
    }
  }

  private checkPlaces(number: number, file: Specimen["files"][number], part: StoredPart, snapshot: Snapshot): void {
    for (const [pointer, place] of part.places) {
      if (place.digest === undefined || !snapshot.entities.has(`${place.kind} ${place.digest}`)) {
        this.report("places", number, `${file.name}${pointer}: no row of kind ${place.kind} stands for it`)
      }
    }
    for (const { file: name, pointer, kind } of this.specimens.get(number)?.expected?.collections ?? []) {
      const list = name === file.name ? treeAt(file.tree, pointer) : undefined
      if (list?._tag !== "Array") continue
      list.elements.forEach((element, at) => {
        const place = part.places.get(`${pointer}/${at}`)
        const kinds = kindsOf(element, kind)
        const digest = digestOfCompactText(toCompactText(element)).slice(0, 32)
        if (place === undefined || !kinds.includes(place.kind)) {
          this.report(
            "places",
            number,
            `${name}${pointer}/${at} is ${place?.kind ?? "nowhere"}, not ${kinds.join(" or ")}`
          )
        } else if (place.digest !== digest) {
          this.report("places", number, `${name}${pointer}/${at} leads to the row of another ${place.kind}`)
        }
      })
    }
  }

  /** What is stored is what the report says is stored, and no more. */
  private checkNothingElse(run: RunReport, snapshot: Snapshot): void {
    const names = new Set(run.items.filter(({ outcome }) => outcome === "migrated").map(({ cohort }) => cohort))
    for (const name of snapshot.cohorts.keys()) {
      if (!names.has(name))
        this.report("rejects", undefined, `a cohort is stored that no item stands for: ${JSON.stringify(name)}`)
    }
    for (const row of snapshot.repeated) this.report("once", undefined, `stored twice: ${row}`)
  }

  private async checkAgain(first: RunReport, paths: ReadonlyArray<string>, database: string): Promise<void> {
    const before = await this.engine.countRows(database)
    const again = await this.engine.migrate(paths, database)
    const after = await this.engine.countRows(database)
    for (const [table, rows] of before) {
      if (ledger.has(table) || after.get(table) === rows) continue
      this.report("once", undefined, `${table} had ${rows} rows, and ${after.get(table) ?? 0} after the second run`)
    }
    const items = new Map(again.items.map((item) => [item.path, item]))
    const numbers = [...this.specimens.keys()]
    for (const item of first.items) {
      const expected = item.outcome === "rejected" ? "rejected" : "unchanged"
      const next = items.get(item.path)
      if (next?.outcome === expected && (expected === "unchanged" || codes(next) === codes(item))) continue
      const found = next === undefined ? "missing" : `${next.outcome} ${codes(next)}`
      const number = this.specimenAt(item.path, "sources", numbers)
      this.report("once", number, `the item was ${item.outcome} ${codes(item)}; run again, it is ${found}`)
    }
  }

  /** The whole database, and the sources that it holds. */
  private async checkVerified(
    sound: ReadonlyArray<number>,
    sources: ReadonlyMap<number, string>,
    database: string
  ): Promise<void> {
    const paths = sound.flatMap((number) => sources.get(number) ?? [])
    const verified = await this.engine.verify(paths, database)
    for (const { code, where, message } of verified.findings) {
      const number = this.specimenAt(where, "sources", [...this.specimens.keys()])
      this.report("verify", number, `${code} ${where}: ${message}`)
    }
    if (verified.findingCount !== verified.findings.length)
      this.report("verify", undefined, "not all findings are listed")
  }

  /** Migrates what came back into another database, half of it in a run of its own: the other half finds rows there. */
  private async checkRows(
    sound: ReadonlyArray<number>,
    traced: ReadonlyMap<number, ReadonlyArray<Traced>>,
    snapshot: Snapshot
  ): Promise<void> {
    const paths: Array<string> = []
    for (const [at, number] of sound.entries()) {
      const specimen = this.specimens.get(number)
      if (specimen === undefined) continue
      const folder = join(this.ordered("compact", at), folderOf(specimen, number))
      const texts = (traced.get(number) ?? []).map(({ file: { name }, item }) => {
        const parts = snapshot.cohorts.get(item.cohort ?? "")?.parts ?? []
        return [name, parts.find(({ path }) => path === name)?.text ?? ""] as const
      })
      const [first] = await writeFiles(folder, Object.fromEntries(texts))
      paths.push(specimen.given === "file" && first !== undefined ? first : folder)
    }
    const database = join(this.folder, "compact.duckdb")
    const half = paths.slice(0, Math.floor(paths.length / 2))
    if (half.length > 0) await this.engine.migrate(half, database)
    const run = await this.engine.migrate(paths, database)
    const again = await this.engine.read(database)
    if (run.verification.mismatched > 0) this.report("rows", undefined, "the second run does not verify")
    for (const item of run.items) {
      if (item.outcome === "migrated" || item.outcome === "unchanged" || hasRemark(item, "identical-content")) continue
      const number = this.specimenAt(item.path, "compact", sound)
      this.report("rows", number, `its compact text is ${item.outcome}: ${codes(item)}`)
    }
    const names = new Set(run.items.map(({ cohort }) => cohort))
    this.compare("rows", only(snapshot, names), again)
  }

  /** Migrates the same sources in the reverse order. */
  private async checkOrder(traced: ReadonlyMap<number, ReadonlyArray<Traced>>, snapshot: Snapshot): Promise<void> {
    const numbers = [...this.specimens.keys()].toReversed()
    const paths = await this.write("reversed", numbers)
    const database = join(this.folder, "reversed.duckdb")
    const run = await this.engine.migrate([...paths.values()], database)
    for (const [number, files] of this.trace(run, "reversed", numbers)) {
      const found = files.map(({ item }) => storedAs(item)).join(", ")
      const expected = (traced.get(number) ?? []).map(({ item }) => storedAs(item)).join(", ")
      if (found !== expected) this.report("order", number, `${expected} became ${found}`)
    }
    this.compare("order", snapshot, await this.engine.read(database))
  }

  /** Compares everything that two databases hold. */
  private compare(law: Law, one: Snapshot, other: Snapshot): void {
    for (const [name, cohort] of one.cohorts) {
      const found = other.cohorts.get(name)
      if (found === undefined) {
        this.report(law, undefined, `the cohort ${JSON.stringify(name)} is missing`)
        continue
      }
      const before = cohortLines(cohort)
      const after = cohortLines(found)
      const at = before.findIndex((line, index) => line !== after[index])
      if (at >= 0 || before.length !== after.length) {
        this.report(
          law,
          undefined,
          `the cohort ${JSON.stringify(name)} is ${after[at] ?? "shorter"}, not ${before[at] ?? "as short"}`
        )
      }
    }
    for (const name of other.cohorts.keys()) {
      if (!one.cohorts.has(name)) this.report(law, undefined, `the cohort ${JSON.stringify(name)} is new`)
    }
    for (const [name, row] of one.entities) {
      const found = other.entities.get(name)
      if (found !== row) this.report(law, undefined, `the row of ${name} is ${found ?? "missing"}, not ${row}`)
    }
    for (const name of other.entities.keys()) {
      if (!one.entities.has(name)) this.report(law, undefined, `the row of ${name} is new`)
    }
    const before = new Set(one.links.map(({ parent, child }) => `${parent} ${child}`))
    const after = new Set(other.links.map(({ parent, child }) => `${parent} ${child}`))
    for (const [these, those] of [
      [before, after],
      [after, before]
    ] as const) {
      for (const link of these)
        if (!those.has(link)) this.report(law, undefined, `only one of them has the link ${link}`)
    }
    if (one.links.length !== other.links.length) this.report(law, undefined, "one of them has links more than once")
  }
}

/** What a snapshot would be if there were no other cohorts than these. */
const only = (snapshot: Snapshot, names: ReadonlySet<string | null>): Snapshot => {
  const cohorts = new Map([...snapshot.cohorts].filter(([name]) => names.has(name)))
  const places = [...cohorts.values()].flatMap(({ parts }) => parts.flatMap((part) => [...part.places.values()]))
  const used = new Set(places.map(({ kind, digest }) => `${kind} ${digest ?? ""}`))
  return {
    cohorts,
    entities: new Map([...snapshot.entities].filter(([name]) => used.has(name))),
    repeated: snapshot.repeated,
    links: snapshot.links.filter(({ parent }) => used.has(parent))
  }
}

/** Tables in which every run leaves a trace. */
const ledger: ReadonlySet<string> = new Set(["commits", "migration_runs", "migration_items"])

const codes = (item: ItemReport): string => item.remarks.map(({ code }) => code).join(" ")

const hasRemark = (item: ItemReport, code: string): boolean => item.remarks.some((remark) => remark.code === code)

/** What became of an item, the same whichever of two identical items came first. */
const storedAs = (item: ItemReport): string =>
  item.outcome === "rejected"
    ? `rejected ${codes(item)}`
    : `${item.outcome === "skipped" ? "migrated" : item.outcome} ${item.cohort ?? ""} ${item.digest ?? ""}`

const sortedKeys = (record: Readonly<Record<string, number>>): Array<string> => Object.keys(record).sort()

const cohortLines = (cohort: StoredCohort): ReadonlyArray<string> => [
  cohort.digest,
  cohort.description,
  JSON.stringify(cohort.entities, sortedKeys(cohort.entities)),
  ...cohort.parts.flatMap((part) => [
    `${part.path} ${part.format} ${part.digest}`,
    ...[...part.places]
      .map(([pointer, { kind, digest }]) => `${part.path}${pointer} ${kind} ${digest ?? "nothing"}`)
      .sort()
  ])
]

/** Objects are of the list's kind, everything else is kept as JSON; a wrapper around no object may be either. */
const kindsOf = (element: JsonTree, kind: string): ReadonlyArray<string> => {
  if (element._tag !== "Object") return ["json"]
  const data = element.members.filter(({ key }) => stringValue(key) === "data")
  return data.some(({ value }) => value._tag !== "Object") ? [kind, "json"] : [kind]
}

/** What stands at a pointer of keys that are not repeated. */
const treeAt = (tree: JsonTree, pointer: string): JsonTree | undefined =>
  pointer
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"))
    .reduce<JsonTree | undefined>(
      (at, step) =>
        at?._tag === "Object" ? at.members.find(({ key }) => stringValue(key) === step)?.value : undefined,
      tree
    )

/** Where two texts part, with what stands there. */
const difference = (found: Buffer, expected: Buffer): string => {
  let at = 0
  while (at < found.length && found[at] === expected[at]) at++
  const around = (bytes: Buffer): string =>
    JSON.stringify(bytes.subarray(Math.max(0, at - 20), at + 30).toString("utf8"))
  return `at byte ${at} stands ${around(found)}, not ${around(expected)}`
}
