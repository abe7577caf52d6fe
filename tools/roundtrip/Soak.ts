/**
 * Draws specimens from a seed, checks them in groups, and makes of every violation a counterexample that is as small as
 * can be found in the time and can be replayed.
 */
import { type Frequencies, type GeneratedDocument, traps, variants } from "@mallard/testkit"
import * as fc from "fast-check"
import { join } from "node:path"
import type { Engine } from "./Engine.ts"
import { checkGroup, type DearLaw, type Law, type Violation } from "./Laws.ts"
import { arbitrarySpecimen, describeSpecimen, renamed, type Specimen, tellApart } from "./Specimen.ts"

export interface Counterexample {
  readonly law: Law
  readonly message: string
  /** The specimens that show it, as text. */
  readonly shown: ReadonlyArray<string>
  /** How to see it again. */
  readonly replay: { readonly path: string } | { readonly only: ReadonlyArray<number> }
}

/** A stretch of runs and what came of it. */
export interface ChunkResult {
  readonly documents: number
  /** Groups that they were checked in: specimens whose names others claim wait for the next one. */
  readonly groups: number
  readonly counterexamples: ReadonlyArray<Counterexample>
  readonly frequencies: Omit<Frequencies, "runs">
}

export interface ChunkOptions {
  readonly engine: Engine
  readonly seed: number
  readonly from: number
  readonly runs: number
  /** Folder for databases and sources; what is put there is removed again. */
  readonly folder: string
  /** Told of a violation before a smaller counterexample is looked for. */
  readonly onViolation?: (violation: Violation) => void
  /** Seconds to look for a smaller counterexample; 90 if absent. */
  readonly shrinkSeconds?: number
}

/** The specimens of a stretch of runs: run `n` of a seed is always the same. */
export const drawSpecimens = (seed: number, from: number, runs: number): ReadonlyMap<number, Specimen> => {
  const drawn = new Map<number, Specimen>()
  const keep = fc.property(arbitrarySpecimen, (specimen) => {
    drawn.set(from + drawn.size, specimen)
  })
  fc.assert(keep, { seed, path: String(from), numRuns: runs })
  return drawn
}

/** The laws that need more databases take turns. */
const turns: ReadonlyArray<ReadonlySet<DearLaw>> = [
  new Set<DearLaw>(["once", "rows"]),
  new Set<DearLaw>(["once", "order"]),
  new Set<DearLaw>(["verify", "rows"]),
  new Set<DearLaw>(["once", "order"])
]

/** Checks a stretch of runs. */
export const soakChunk = async (options: ChunkOptions): Promise<ChunkResult> => {
  const { engine, folder, from, runs, seed } = options
  const specimens = drawSpecimens(seed, from, runs)
  const { together, left } = tellApart(specimens)
  const dear = turns[Math.floor(from / Math.max(1, runs)) % turns.length] ?? new Set()
  const group = await checkGroup(engine, together, join(folder, "group"), dear)
  // One counterexample for each law is enough, the best one of a specimen that shows it alone, and one for each specimen.
  const found = new Map<Law, { readonly violation: Violation; readonly run: number | undefined }>()
  const remember = (violation: Violation, run: number | undefined): void => {
    const known = found.get(violation.law)
    if (known !== undefined && (known.run !== undefined || run === undefined)) return
    if (run !== undefined && [...found.values()].some((other) => other.run === run)) return
    found.set(violation.law, { violation, run })
  }
  for (const violation of group.violations) remember(violation, violation.specimen)
  let groups = 1
  let rest = [...left, ...group.contested]
  for (let size = 0; rest.length > 0; groups++) {
    // What contests a name in a way that was not foreseen goes by itself.
    const isStuck = rest.length === size
    size = rest.length
    const few = new Map([...specimens].filter(([run]) => (isStuck ? run === rest[0] : rest.includes(run))))
    const { left, together } = tellApart(few, { sparing: Infinity, strict: true })
    const { contested, violations } = await checkGroup(engine, together, join(folder, "group"), new Set())
    for (const violation of violations) remember(violation, violation.specimen)
    rest = isStuck ? rest.slice(1) : [...left, ...contested]
  }
  const counterexamples: Array<Counterexample> = []
  for (const { violation, run } of found.values()) {
    options.onViolation?.(violation)
    const small = run === undefined ? undefined : await shrinkAlone(options, run, violation)
    counterexamples.push(small ?? (await shrinkGroup(options, together, violation)))
  }
  return { documents: specimens.size, groups, counterexamples, frequencies: frequenciesOf(specimens) }
}

/** Checks one specimen as it is, and as it is told apart from others in a group; throws at a violation. */
export const checkAlone = async (
  engine: Engine,
  specimen: Specimen,
  folder: string,
  options: { readonly dear?: ReadonlySet<DearLaw>; readonly law?: Law } = {}
): Promise<void> => {
  for (const form of [specimen, renamed(specimen, "0")]) {
    const { violations } = await checkGroup(engine, new Map([[0, form]]), join(folder, "alone"), options.dear)
    const violation = violations.find(({ law }) => options.law === undefined || law === options.law)
    if (violation !== undefined) throw new Broken(violation)
  }
}

/** The specimen that a seed and a path lead to. */
export const drawAtPath = (seed: number, path: string): Specimen => {
  let specimen: Specimen | undefined
  const draw = fc.property(arbitrarySpecimen, (drawn) => {
    specimen = drawn
  })
  fc.assert(draw, { seed, path, numRuns: 1 })
  if (specimen === undefined) throw new RangeError(`Nothing is drawn at path ${path}`)
  return specimen
}

/** Checks the specimens of some runs together; throws at a violation. */
export const checkTogether = async (
  engine: Engine,
  seed: number,
  runs: ReadonlyArray<number>,
  folder: string
): Promise<void> => {
  const drawn = new Map(runs.flatMap((run) => [...drawSpecimens(seed, run, 1)]))
  const { violations } = await checkGroup(engine, tellApart(drawn).together, join(folder, "group"))
  const [violation] = violations
  if (violation !== undefined) throw new Broken(violation)
}

/** A law is broken. */
export class Broken extends Error {
  readonly violation: Violation
  constructor(violation: Violation) {
    super(`${violation.law}: ${violation.message}`)
    this.violation = violation
  }
}

const dearLaws: Readonly<Partial<Record<Law, DearLaw>>> = {
  rows: "rows",
  order: "order",
  once: "once",
  verify: "verify"
}

const shrinkAlone = async (
  { engine, folder, seed, shrinkSeconds = 90 }: ChunkOptions,
  run: number,
  { law }: Violation
): Promise<Counterexample | undefined> => {
  const needed = dearLaws[law]
  const dear = new Set(needed === undefined ? [] : [needed])
  const until = performance.now() + shrinkSeconds * 1000
  let tried = 0
  const property = fc.asyncProperty(arbitrarySpecimen, async (specimen) => {
    // When the time is over nothing smaller is found. A limit of fast-check's own would leave the last try running.
    if (tried++ === 0 || performance.now() < until) await checkAlone(engine, specimen, folder, { law, dear })
  })
  const found = await fc.check(property, { seed, path: String(run), numRuns: 1 })
  const { counterexample, counterexamplePath, errorInstance } = found
  if (!found.failed || counterexample === null || counterexamplePath === null) return undefined
  const message = errorInstance instanceof Broken ? errorInstance.violation.message : String(errorInstance)
  return { law, message, shown: counterexample.map(describeSpecimen), replay: { path: counterexamplePath } }
}

/** Halves the group as long as a half still shows the violation; of a single specimen, looks for a smaller one. */
const shrinkGroup = async (
  options: ChunkOptions,
  specimens: ReadonlyMap<number, Specimen>,
  violation: Violation
): Promise<Counterexample> => {
  const { engine, folder, shrinkSeconds = 90 } = options
  const until = performance.now() + shrinkSeconds * 1000
  const { law } = violation
  const needed = dearLaws[law]
  let dear: ReadonlySet<DearLaw> = new Set()
  const shows = async (group: ReadonlyArray<readonly [number, Specimen]>): Promise<Violation | undefined> => {
    const { violations } = await checkGroup(engine, new Map(group), join(folder, "group"), dear)
    return violations.find((one) => one.law === law)
  }
  let smallest = [...specimens]
  let shown = violation
  if (needed !== undefined && (await shows(smallest)) === undefined) dear = new Set([needed])
  for (let size = Math.ceil(smallest.length / 2); smallest.length > 1 && performance.now() < until;) {
    let smaller: typeof smallest | undefined
    for (let at = 0; at < smallest.length && smaller === undefined && performance.now() < until; at += size) {
      const slice = smallest.slice(at, at + size)
      const candidates = size * 2 >= smallest.length ? [slice] : [slice, smallest.toSpliced(at, size)]
      for (const candidate of candidates) {
        const found = await shows(candidate)
        if (found === undefined) continue
        smaller = candidate
        shown = found
        break
      }
    }
    if (smaller === undefined && size === 1) break
    smallest = smaller ?? smallest
    size = Math.ceil((smaller === undefined ? size : smallest.length) / 2)
  }
  const [single] = smallest
  const small =
    smallest.length === 1 && single !== undefined ? await shrinkAlone(options, single[0], violation) : undefined
  if (small !== undefined) return small
  return {
    law,
    message: shown.message,
    shown: smallest.map(([run, specimen]) => `run ${run}: ${describeSpecimen(specimen)}`),
    replay: { only: smallest.map(([run]) => run) }
  }
}

const frequenciesOf = (specimens: ReadonlyMap<number, Specimen>): ChunkResult["frequencies"] => {
  const byVariant = Object.fromEntries([...variants, "other"].map((name) => [name, 0]))
  const byTrap = Object.fromEntries(traps.map(({ name }) => [name, 0]))
  for (const { variant, ...specimen } of specimens.values()) {
    byVariant[variant] = (byVariant[variant] ?? 0) + 1
    if (variant === "other") continue
    const document: GeneratedDocument = { ...specimen, variant }
    for (const { name, occurs } of traps) if (occurs(document)) byTrap[name] = (byTrap[name] ?? 0) + 1
  }
  return { variants: byVariant, traps: byTrap }
}
