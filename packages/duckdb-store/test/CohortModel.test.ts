import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import * as fc from "fast-check"
import { hash } from "node:crypto"
import { join } from "node:path"
import { CohortStore, openStore, verifyContents, verifyDatabase } from "../src/index.ts"
import { temporaryFolder } from "./support.ts"

/** `MODEL_RUNS=20000` tries so many sequences instead. */
const RUNS = Number(process.env["MODEL_RUNS"] ?? 1000)

/** Sequences are tried in several databases at once: most of their time goes by in DuckDB and on the disk. */
const LANES = 4

/** Sequences between two verifications of a whole database. */
const VERIFY_EVERY = 50

type Entities = Readonly<Record<string, ReadonlyArray<unknown>>>

interface ModelRevision {
  readonly order: number
  readonly change: "saved" | "deleted" | "restored"
  readonly name: string
  readonly tags: ReadonlyArray<string>
  /** The compact text of the only document. */
  readonly text: string
}

interface ModelCohort {
  readonly cohortId: string
  readonly revisions: Array<ModelRevision>
}

/** What the store is to be like: cohorts as plain lists of revisions. */
class Model {
  readonly cohorts: Array<ModelCohort> = []
  private order = 0

  head(cohort: ModelCohort): ModelRevision {
    return cohort.revisions.at(-1)!
  }

  live(name: string): ModelCohort | undefined {
    return this.cohorts.find((cohort) => this.head(cohort).name === name && this.head(cohort).change !== "deleted")
  }

  deleted(name: string): ModelCohort | undefined {
    return this.cohorts
      .filter((cohort) => this.head(cohort).name === name && this.head(cohort).change === "deleted")
      .sort((left, right) => this.head(right).order - this.head(left).order)[0]
  }

  add(cohort: ModelCohort | undefined, cohortId: string, revision: Omit<ModelRevision, "order">): void {
    const next = { ...revision, order: this.order++ }
    if (cohort === undefined) this.cohorts.push({ cohortId, revisions: [next] })
    else {
      assert.strictEqual(cohortId, cohort.cohortId)
      cohort.revisions.push(next)
    }
  }
}

interface Real {
  readonly store: CohortStore["Service"]
  readonly prefix: string
}

/** The outcome of a call: what it gives, or the tag or reason of its refusal. */
const call = async <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>): Promise<A | string> =>
  Effect.runPromise(
    Effect.match(effect, {
      onFailure: (error) => ("reason" in error && typeof error.reason === "string" ? error.reason : error._tag),
      onSuccess: (value): A | string => value
    })
  )

/** A command that names itself, for counterexamples. */
class Step {
  readonly label: string
  readonly run: (model: Model, real: Real) => Promise<void>
  constructor(label: string, run: (model: Model, real: Real) => Promise<void>) {
    this.label = label
    this.run = run
  }
  check(): boolean {
    return true
  }
  toString(): string {
    return this.label
  }
}

const name = fc.constantFrom("a", "b", "c")
const tags: fc.Arbitrary<ReadonlyArray<string>> = fc.uniqueArray(fc.constantFrom("t", "u", "v"), { maxLength: 2 })
const entity = fc.record({ id: fc.constantFrom("1", "2", "3"), v: fc.nat(2) })
const entities: fc.Arbitrary<Entities> = fc.record(
  {
    patients: fc.array(entity, { maxLength: 3 }),
    encounters: fc.array(entity, { maxLength: 2 }),
    odd: fc.array(fc.nat(2), { maxLength: 2 })
  },
  { requiredKeys: [] }
)

const textOf = (name: string, tags: ReadonlyArray<string>, lists: unknown): string =>
  JSON.stringify({ name, tags, entities: lists })

const saved = (
  value: unknown
): { readonly cohortId: string; readonly outcome?: string; readonly isChanged?: boolean } => {
  assert.isObject(value, `refused: ${String(value)}`)
  return value as { readonly cohortId: string }
}

const expectSave = (
  model: Model,
  answer: unknown,
  revision: Omit<ModelRevision, "order" | "change">,
  overwrite: boolean
) => {
  const holder = model.live(revision.name)
  if (holder !== undefined && !overwrite) return assert.strictEqual(answer, "NameTaken")
  const { cohortId, outcome } = saved(answer)
  const head = holder === undefined ? undefined : model.head(holder)
  if (head !== undefined && head.text === revision.text && head.tags.join() === revision.tags.join()) {
    return assert.strictEqual(outcome, "unchanged")
  }
  assert.strictEqual(outcome, holder === undefined ? "created" : "replaced")
  model.add(holder ?? model.deleted(revision.name), cohortId, { ...revision, change: "saved" })
}

/** How many entities of each kind lists hold. */
const countsOf = ({ encounters, odd, patients }: Entities): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Object.entries({ json: odd, patient: patients, encounter: encounters }).flatMap(([kind, list]) =>
      list === undefined || list.length === 0 ? [] : [[kind, list.length] as const]
    )
  )

/** Puts lists together as the store should: see `ConflictRule`. */
const merged = (sources: ReadonlyArray<Entities>, rule: "skip" | "overwrite" | "rename"): Entities => {
  const result: Record<string, Array<unknown>> = {}
  const places = new Map<string, { type: string; at: number }>()
  const idOf = (type: string, value: unknown): string | undefined =>
    type !== "odd" && typeof value === "object" && value !== null && "id" in value
      ? `${type} ${String(value.id)}`
      : undefined
  const taken = new Set(
    sources.flatMap((source) =>
      Object.entries(source).flatMap(([type, list]) => list.map((value) => idOf(type, value)))
    )
  )
  for (const source of sources) {
    const before = new Map(places)
    const textAt = new Map([...before].map(([id, { at, type }]) => [id, JSON.stringify(result[type]![at])]))
    const renamed = new Map<string, string>()
    for (const [type, list] of Object.entries(source)) {
      for (const value of list) {
        const id = idOf(type, value)
        if (rule !== "rename" || id === undefined || !before.has(id) || renamed.has(id)) continue
        if (textAt.get(id) === JSON.stringify(value)) continue
        let number = 2
        while (taken.has(`${id}-${number}`)) number++
        taken.add(`${id}-${number}`)
        renamed.set(id, `${id}-${number}`)
      }
    }
    for (const [type, list] of Object.entries(source)) {
      for (const value of list) {
        const id = idOf(type, value)
        const into = () => (result[type] ??= [])
        const newId = id === undefined ? undefined : renamed.get(id)
        if (id === undefined || !before.has(id)) {
          into().push(value)
          if (id !== undefined && !places.has(id)) places.set(id, { type, at: into().length - 1 })
        } else if (newId !== undefined) {
          into().push({ ...(value as object), id: newId.slice(type.length + 1) })
          if (!places.has(newId)) places.set(newId, { type, at: into().length - 1 })
        } else if (textAt.get(id) !== JSON.stringify(value) && rule === "overwrite") {
          into()[before.get(id)!.at] = value
        }
      }
    }
  }
  return result
}

const full = (real: Real, name: string): string => `${real.prefix}${name}`

const steps = [
  fc.tuple(name, entities, tags, fc.boolean()).map(
    ([short, lists, tagged, overwrite]) =>
      new Step(`save ${short} ${JSON.stringify(lists)} ${tagged.join()} ${overwrite}`, async (model, real) => {
        const name = full(real, short)
        const answer = await call(real.store.save({ name, entities: lists, tags: tagged, overwrite }))
        expectSave(model, answer, { name, tags: tagged, text: textOf(name, tagged, lists) }, overwrite)
      })
  ),
  fc.tuple(name, fc.constantFrom("patients", "encounters"), fc.array(entity, { minLength: 1, maxLength: 3 })).map(
    ([short, type, list]) =>
      new Step(`append ${short} ${type} ${JSON.stringify(list)}`, async (model, real) => {
        const name = full(real, short)
        const answer = await call(real.store.append(name, { [type]: list }))
        const cohort = model.live(name)
        if (cohort === undefined) return assert.strictEqual(answer, "CohortNotFound")
        const head = model.head(cohort)
        const document = JSON.parse(head.text)
        document.entities[type] = [...(document.entities[type] ?? []), ...list]
        model.add(cohort, saved(answer).cohortId, { ...head, change: "saved", text: JSON.stringify(document) })
      })
  ),
  name.map(
    (short) =>
      new Step(`delete ${short}`, async (model, real) => {
        const name = full(real, short)
        const answer = await call(real.store.delete(name))
        const cohort = model.live(name)
        if (cohort === undefined) return assert.strictEqual(answer, "CohortNotFound")
        model.add(cohort, saved(answer).cohortId, { ...model.head(cohort), change: "deleted" })
      })
  ),
  fc.tuple(name, fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined })).map(
    ([short, seq]) =>
      new Step(`restore ${short} ${seq}`, async (model, real) => {
        const name = full(real, short)
        const answer = await call(real.store.restore(name, { seq }))
        const live = model.live(name)
        const cohort = live ?? model.deleted(name)
        if (cohort === undefined) return assert.strictEqual(answer, "CohortNotFound")
        if (live !== undefined && seq === undefined) return assert.strictEqual(answer, "not-deleted")
        const revisions = cohort.revisions.filter(({ change }) => change !== "deleted")
        const base =
          seq === undefined ? revisions.at(-1) : revisions.find((one) => cohort.revisions.indexOf(one) === seq - 1)
        if (base === undefined) return assert.strictEqual(answer, "no-such-revision")
        const holder = model.live(base.name)
        if (holder !== undefined && holder !== cohort) return assert.strictEqual(answer, "NameTaken")
        model.add(cohort, saved(answer).cohortId, { ...base, change: "restored" })
      })
  ),
  fc.tuple(name, name).map(
    ([from, to]) =>
      new Step(`rename ${from} ${to}`, async (model, real) => {
        const answer = await call(real.store.rename(full(real, from), full(real, to)))
        const cohort = model.live(full(real, from))
        if (cohort === undefined) return assert.strictEqual(answer, "CohortNotFound")
        if (from === to) return assert.isFalse(saved(answer).isChanged)
        if (model.live(full(real, to)) !== undefined) return assert.strictEqual(answer, "NameTaken")
        model.add(cohort, saved(answer).cohortId, { ...model.head(cohort), change: "saved", name: full(real, to) })
      })
  ),
  fc.tuple(name, tags, fc.boolean()).map(
    ([short, changed, isAdded]) =>
      new Step(`${isAdded ? "tag" : "untag"} ${short} ${changed.join()}`, async (model, real) => {
        const name = full(real, short)
        const { store } = real
        const answer = await call(isAdded ? store.addTags(name, changed) : store.removeTags(name, changed))
        const cohort = model.live(name)
        if (cohort === undefined) return assert.strictEqual(answer, "CohortNotFound")
        const head = model.head(cohort)
        const tags = isAdded
          ? [...new Set([...head.tags, ...changed])]
          : head.tags.filter((tag) => !changed.includes(tag))
        assert.strictEqual(saved(answer).isChanged, tags.length !== head.tags.length)
        if (tags.length === head.tags.length) return
        model.add(cohort, saved(answer).cohortId, { ...head, change: "saved", tags })
      })
  ),
  fc.tuple(name, tags, tags).map(
    ([short, add, remove]) =>
      new Step(`retag ${short} ${add.join()} without ${remove.join()}`, async (model, real) => {
        const answer = await call(real.store.retag(full(real, short), { add, remove }))
        const cohort = model.live(full(real, short))
        if (cohort === undefined) return assert.strictEqual(answer, "CohortNotFound")
        const head = model.head(cohort)
        const kept = head.tags.filter((tag) => add.includes(tag) || !remove.includes(tag))
        const tags = [...new Set([...kept, ...add])]
        const isChanged = tags.join() !== head.tags.join()
        assert.strictEqual(saved(answer).isChanged, isChanged)
        if (isChanged) model.add(cohort, saved(answer).cohortId, { ...head, change: "saved", tags })
      })
  ),
  fc.tuple(name, name).map(
    ([from, to]) =>
      new Step(`clone ${from} ${to}`, async (model, real) => {
        const answer = await call(real.store.clone(full(real, from), full(real, to)))
        const cohort = model.live(full(real, from))
        if (cohort === undefined) return assert.strictEqual(answer, "CohortNotFound")
        if (model.live(full(real, to)) !== undefined) return assert.strictEqual(answer, "NameTaken")
        const copy = { ...model.head(cohort), change: "saved" as const, name: full(real, to) }
        model.add(model.deleted(full(real, to)), saved(answer).cohortId, copy)
      })
  ),
  fc
    .tuple(
      fc.uniqueArray(name, { minLength: 2, maxLength: 3 }),
      name,
      fc.constantFrom("skip", "overwrite", "rename"),
      fc.boolean()
    )
    .map(
      ([from, to, conflict, overwrite]) =>
        new Step(`merge ${from.join()} ${to} ${conflict} ${overwrite}`, async (model, real) => {
          const sources = from.map((short) => full(real, short))
          const name = full(real, to)
          const answer = await call(real.store.merge(sources, { name, conflict, overwrite }))
          const cohorts = sources.map((source) => model.live(source))
          if (cohorts.some((cohort) => cohort === undefined)) return assert.strictEqual(answer, "CohortNotFound")
          const heads = cohorts.map((cohort) => model.head(cohort!))
          const lists = merged(
            heads.map(({ text }) => JSON.parse(text).entities),
            conflict
          )
          const tags = [...new Set(heads.flatMap((head) => head.tags))]
          expectSave(model, answer, { name, tags, text: textOf(name, tags, lists) }, overwrite)
        })
    )
]

/** A database, and the sequences that are tried in it one after the other. */
class Lane {
  readonly client: DuckDbSqlClient
  readonly store: CohortStore["Service"]
  private sequence = 0

  constructor(client: DuckDbSqlClient, store: CohortStore["Service"]) {
    this.client = client
    this.store = store
  }

  async tries(runs: number): Promise<void> {
    const commands = fc.commands(steps, { maxCommands: 10 })
    await fc.assert(
      fc.asyncProperty(commands, async (all) => {
        const model = new Model()
        // Sequences share a database and keep apart by their names.
        const prefix = `s${this.sequence++} `
        const [next] = await this.values("SELECT coalesce(max(revision_id), 0) + 1 FROM mallard.revisions")
        await fc.asyncModelRun(() => ({ model, real: { store: this.store, prefix } }), all)
        await this.compare(model, prefix)
        const { findings } = await Effect.runPromise(verifyContents(this.client, Number(next)))
        assert.deepStrictEqual(findings, [])
        // Nothing is ever altered, so what is wrong stays wrong: what only the whole database can tell is asked now and then.
        if (this.sequence % VERIFY_EVERY === 0) await this.verify()
      }),
      { numRuns: runs }
    )
    await this.verify()
  }

  private async verify(): Promise<void> {
    assert.deepStrictEqual((await Effect.runPromise(verifyDatabase(this.client))).findings, [])
  }

  private async values(query: string): Promise<ReadonlyArray<unknown>> {
    return (await Effect.runPromise(this.client.unsafe(query).valuesUnprepared))[0] ?? []
  }

  private async compare(model: Model, prefix: string): Promise<void> {
    const { store } = this
    const live = model.cohorts
      .filter((cohort) => model.head(cohort).change !== "deleted")
      .sort((left, right) => model.head(right).order - model.head(left).order)
    const { items } = await Effect.runPromise(store.page({ search: prefix }))
    assert.deepStrictEqual(
      items.map(({ cohortId, digest, entities, name, seq, tags }) => ({ cohortId, digest, entities, name, seq, tags })),
      live.map((cohort) => ({
        cohortId: cohort.cohortId,
        digest: hash("sha256", model.head(cohort).text),
        entities: countsOf(JSON.parse(model.head(cohort).text).entities),
        name: model.head(cohort).name,
        seq: cohort.revisions.length,
        tags: [...model.head(cohort).tags]
      }))
    )
    const [first] = live
    if (first !== undefined) {
      const { documents } = await Effect.runPromise(store.load(first.cohortId))
      assert.deepStrictEqual(
        documents.map(({ text }) => text),
        [model.head(first).text]
      )
    }
    for (const cohort of model.cohorts) {
      const history = await Effect.runPromise(store.history(cohort.cohortId))
      assert.deepStrictEqual(
        history.map(({ change, digest, name, tags }) => ({ change, digest, name, tags })),
        // The verification renders all of these documents and compares their digests.
        cohort.revisions.map(({ change, name, tags, text }) => ({
          change,
          digest: hash("sha256", text),
          name,
          tags: [...tags]
        }))
      )
    }
  }
}

describe("any sequence of changes", () => {
  it.effect(
    "leaves what a simple model in memory says, and a database that verifies",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const lanes = yield* Effect.forEach(Array.from({ length: LANES }).keys(), (number) =>
          Effect.gen(function* () {
            const client = yield* openStore({ path: join(folder, `model${number}.duckdb`), threads: 1 })
            const store = yield* CohortStore.pipe(
              Effect.provide(CohortStore.layerNoDeps),
              Effect.provideService(DuckDbClient, client)
            )
            return new Lane(client, store)
          })
        )
        yield* Effect.promise(() => Promise.all(lanes.map((lane) => lane.tries(Math.ceil(RUNS / LANES)))))
      }),
    Math.max(600_000, RUNS * 1000)
  )
})
