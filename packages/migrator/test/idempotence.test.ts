import { DuckDBInstance } from "@duckdb/node-api"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { type ConflictRule, type RunReport } from "@mallard/migrator"
import { tempDirectory, writeFiles } from "@mallard/testkit"
import { cohortFile, variedSources } from "./fixtures.ts"
import { cohorts, contents, exported, folderOf, itemOf, migrated, outcomes, query, remarksOf, run } from "./support.ts"

/** The rows of all tables but those that tell of runs. */
const withoutRuns = (tables: ReadonlyMap<string, ReadonlyArray<string>>) =>
  new Map([...tables].filter(([table]) => table !== "commits" && table !== "migration_runs"))

const write = (folder: string, files: Readonly<Record<string, string>>) =>
  Effect.promise(() => writeFiles(folder, files))

const names = (database: string) =>
  Effect.map(query(database, "SELECT name FROM cohorts ORDER BY name"), (rows) =>
    rows.map((row) => String(row["name"]))
  )

const balanced = (report: RunReport): void => {
  const { failed, found, migrated, rejected, skipped, unchanged } = report.totals
  assert.strictEqual(found, report.items.length)
  assert.strictEqual(migrated + unchanged + skipped + rejected + failed, found)
  assert.isTrue(report.totals.balanced)
}

describe("a second run", () => {
  it.effect("finds everything unchanged and adds rows about the run alone", () =>
    Effect.gen(function* () {
      const { database, report, source } = yield* migrated(variedSources)
      assert.strictEqual(report.outcome, "done", JSON.stringify(report.items))
      const before = yield* contents(database)
      const again = yield* run(database, [source])
      balanced(again)
      assert.strictEqual(again.outcome, "done")
      assert.deepStrictEqual(new Set(Object.values(outcomes(again))), new Set(["unchanged"]))
      assert.deepStrictEqual(withoutRuns(yield* contents(database)), withoutRuns(before))
      // What is said about an unchanged item is what was said when it was migrated.
      for (const item of again.items) {
        const first = report.items.find(({ path }) => path === item.path)
        assert.deepStrictEqual(
          [item.cohort, item.digest, item.format, item.entities, item.cohort_id],
          [first?.cohort, first?.digest, first?.format, first?.entities, first?.cohort_id]
        )
      }
    })
  )

  it.effect("knows a renamed file by its content", () =>
    Effect.gen(function* () {
      const { database, source } = yield* migrated({ "a.json": cohortFile("named", "p") })
      const before = yield* contents(database)
      renameSync(join(source, "a.json"), join(source, "b.json"))
      const again = yield* run(database, [source])
      assert.deepStrictEqual(outcomes(again), { "b.json": "unchanged" })
      assert.deepStrictEqual(withoutRuns(yield* contents(database)), withoutRuns(before))
    })
  )

  it.effect("stores the entities of a file that takes its name from its path only once", () =>
    Effect.gen(function* () {
      const { database, source } = yield* migrated({ "a.json": cohortFile(undefined, "p") })
      renameSync(join(source, "a.json"), join(source, "b.json"))
      const again = yield* run(database, [source])
      assert.deepStrictEqual(outcomes(again), { "b.json": "migrated" })
      assert.deepStrictEqual(yield* names(database), ["a", "b"])
      assert.lengthOf(yield* query(database, "SELECT entity_id FROM mallard.patients"), 1)
      assert.lengthOf(yield* query(database, "SELECT entity_id FROM patients"), 2)
    })
  )

  it.effect("sees a change of white space as no change, and keeps what is stored", () =>
    Effect.gen(function* () {
      const { database, source } = yield* migrated({ "a.json": cohortFile("n", "p") })
      const before = yield* contents(database)
      yield* write(source, { "a.json": JSON.stringify(JSON.parse(cohortFile("n", "p")), null, 4) })
      assert.deepStrictEqual(outcomes(yield* run(database, [source])), { "a.json": "unchanged" })
      assert.deepStrictEqual(withoutRuns(yield* contents(database)), withoutRuns(before))
    })
  )

  it.effect("finds no sources and says so", () =>
    Effect.gen(function* () {
      const { database, report, source } = yield* migrated({ "note.txt": "x" })
      assert.strictEqual(report.outcome, "nothing-to-do")
      assert.deepStrictEqual(
        report.ignored.map(({ path, reason }) => [path, reason]),
        [[join(source, "note.txt"), "not-json"]]
      )
      balanced(yield* run(database, [source]))
    })
  )
})

describe("identical content", () => {
  it.effect("counts once", () =>
    Effect.gen(function* () {
      const text = cohortFile("same", "p")
      const { database, report, source } = yield* migrated({ "a.json": text, "b.json": `${text}\n`, "c.json": text })
      balanced(report)
      assert.strictEqual(report.outcome, "done")
      assert.deepStrictEqual(outcomes(report), { "a.json": "migrated", "b.json": "skipped", "c.json": "skipped" })
      assert.deepStrictEqual(remarksOf(itemOf(report, "b.json")), ["identical-content"])
      assert.deepStrictEqual(yield* names(database), ["same"])
      assert.deepStrictEqual(new Set(Object.values(outcomes(yield* run(database, [source])))), new Set(["unchanged"]))
    })
  )
})

const claimants = {
  "a.json": cohortFile("same", "p1"),
  "b.json": cohortFile("other", "p2"),
  "c.json": cohortFile("same", "p3"),
  "d.json": cohortFile("same", "p1"),
  "e.json": cohortFile("same", "p4")
}

describe("several sources that claim one name for different content", () => {
  for (const batchFiles of [500, 2, 1]) {
    it.effect(`are all rejected and name each other, in batches of ${batchFiles}`, () =>
      Effect.gen(function* () {
        const { database, report, source } = yield* migrated(claimants, { sizes: { batchFiles } })
        balanced(report)
        assert.strictEqual(report.outcome, "done-with-rejects")
        assert.deepStrictEqual(outcomes(report), {
          "a.json": "rejected",
          "b.json": "migrated",
          "c.json": "rejected",
          "d.json": "rejected",
          "e.json": "rejected"
        })
        const rejected = ["a.json", "c.json", "d.json", "e.json"]
        for (const name of rejected) {
          const item = itemOf(report, name)
          assert.deepStrictEqual(remarksOf(item), ["name-conflict"])
          for (const other of rejected) {
            assert.strictEqual(
              item.remarks[0]?.message.includes(join(source, other)),
              other !== name,
              `${name} ${other}`
            )
          }
        }
        assert.deepStrictEqual(yield* names(database), ["other"])
        assert.lengthOf(yield* query(database, "SELECT * FROM patients"), 1)
        assert.deepStrictEqual(report.verification.mismatched, 0)
        // Once all but one are gone, that one is stored.
        for (const name of ["c.json", "e.json"]) rmSync(join(source, name))
        const again = yield* run(database, [source], { sizes: { batchFiles } })
        assert.deepStrictEqual(outcomes(again), { "a.json": "migrated", "b.json": "unchanged", "d.json": "skipped" })
        assert.deepStrictEqual(yield* names(database), ["other", "same"])
      })
    )
  }

  it.effect("leave a stored cohort as it was, description and tags too", () =>
    Effect.gen(function* () {
      const first = cohortFile("same", "p0", { description: "first", tags: ["t"], created_at: "2026-01-01T00:00:00" })
      const { database, source } = yield* migrated({ "z.json": first })
      rmSync(join(source, "z.json"))
      const before = yield* query(database, "SELECT name, digest, description, tags::VARCHAR, created_at FROM cohorts")
      yield* write(source, { "a.json": cohortFile("same", "p1"), "b.json": cohortFile("same", "p2") })
      const report = yield* run(database, [source], { onConflict: "replace", sizes: { batchFiles: 1 } })
      assert.deepStrictEqual(outcomes(report), { "a.json": "rejected", "b.json": "rejected" })
      assert.deepStrictEqual(
        yield* query(database, "SELECT name, digest, description, tags::VARCHAR, created_at FROM cohorts"),
        before
      )
      assert.deepStrictEqual([...(yield* exported(database)).values()], [first])
      // The source of what is stored is still known.
      yield* write(source, { "z.json": first })
      rmSync(join(source, "a.json"))
      rmSync(join(source, "b.json"))
      assert.deepStrictEqual(outcomes(yield* run(database, [source])), { "z.json": "unchanged" })
    })
  )

  for (const batchFiles of [500, 1]) {
    for (const [stored, newcomer] of [
      ["a.json", "b.json"],
      ["b.json", "a.json"]
    ] as const) {
      it.effect(
        `do not replace what one of them is already: ${newcomer} against ${stored} in batches of ${batchFiles}`,
        () =>
          Effect.gen(function* () {
            const { database, source } = yield* migrated({ [stored]: cohortFile("same", "p1") })
            yield* write(source, { [newcomer]: cohortFile("same", "p2") })
            const report = yield* run(database, [source], { onConflict: "replace", sizes: { batchFiles } })
            assert.deepStrictEqual(outcomes(report), {
              "a.json": stored === "a.json" ? "unchanged" : "rejected",
              "b.json": stored === "b.json" ? "unchanged" : "rejected"
            })
            const remark = itemOf(report, newcomer).remarks[0]
            assert.strictEqual(remark?.code, "name-conflict")
            assert.include(remark?.message, join(source, stored))
            assert.deepStrictEqual([...(yield* exported(database)).values()], [cohortFile("same", "p1")])
          })
      )
    }
  }
})

describe("a name that is taken by other content", () => {
  const taken = Effect.fnUntraced(function* (onConflict: ConflictRule) {
    const { database, source } = yield* migrated({ "a.json": cohortFile("n", "old") })
    yield* write(source, { "a.json": cohortFile("n", "new") })
    const report = yield* run(database, [source], { onConflict })
    balanced(report)
    assert.strictEqual(report.verification.mismatched, 0)
    const again = yield* run(database, [source], { onConflict })
    balanced(again)
    return { again, database, report, texts: yield* exported(database) }
  })

  it.effect("is rejected by `fail`", () =>
    Effect.gen(function* () {
      const { again, report, texts } = yield* taken("fail")
      assert.strictEqual(report.outcome, "done-with-rejects")
      assert.deepStrictEqual(remarksOf(itemOf(report, "a.json")), ["name-taken"])
      assert.deepStrictEqual(outcomes(again), { "a.json": "rejected" })
      assert.deepStrictEqual([...texts], [["n/a.json", cohortFile("n", "old")]])
    })
  )

  it.effect("is left alone by `skip`", () =>
    Effect.gen(function* () {
      const { again, report, texts } = yield* taken("skip")
      assert.strictEqual(report.outcome, "done")
      assert.deepStrictEqual(outcomes(report), { "a.json": "skipped" })
      assert.deepStrictEqual(outcomes(again), { "a.json": "skipped" })
      assert.deepStrictEqual([...texts], [["n/a.json", cohortFile("n", "old")]])
    })
  )

  it.effect("gets a new revision by `replace`, and the old one is kept", () =>
    Effect.gen(function* () {
      const { again, database, report, texts } = yield* taken("replace")
      assert.deepStrictEqual(outcomes(report), { "a.json": "migrated" })
      assert.deepStrictEqual(outcomes(again), { "a.json": "unchanged" })
      assert.deepStrictEqual([...texts], [["n/a.json", cohortFile("n", "new")]])
      assert.deepStrictEqual(
        yield* query(database, "SELECT seq, change, predecessor FROM cohort_revisions ORDER BY seq"),
        [
          { seq: 1, change: "saved", predecessor: null },
          { seq: 2, change: "saved", predecessor: 1n }
        ]
      )
    })
  )

  it.effect("is given another name by `rename`, once", () =>
    Effect.gen(function* () {
      const { again, report, texts } = yield* taken("rename")
      assert.deepStrictEqual(outcomes(report), { "a.json": "migrated" })
      assert.strictEqual(itemOf(report, "a.json").cohort, "n-2")
      assert.deepStrictEqual(outcomes(again), { "a.json": "unchanged" })
      assert.strictEqual(itemOf(again, "a.json").cohort, "n-2")
      assert.deepStrictEqual(
        [...texts],
        [
          ["n/a.json", cohortFile("n", "old")],
          ["n-2/a.json", cohortFile("n", "new")]
        ]
      )
    })
  )

  it.effect("is renamed once also when it is a folder", () =>
    Effect.gen(function* () {
      const folder = (id: string) => ({
        "c/patients.json": `[{"patient_id":"${id}","mrn":"m"}]`,
        "c/claims.json": '[{"claim_id":"c"}]'
      })
      const { database, source } = yield* migrated(folder("old"))
      yield* write(source, folder("new"))
      assert.deepStrictEqual(outcomes(yield* run(database, [source], { onConflict: "rename" })), { c: "migrated" })
      assert.deepStrictEqual(outcomes(yield* run(database, [source], { onConflict: "rename" })), { c: "unchanged" })
      assert.deepStrictEqual(yield* names(database), ["c", "c-2"])
    })
  )
})

describe("a dry run", () => {
  const bad = {
    ...variedSources,
    "bad.json": '{"a":',
    "clash 1.json": cohortFile("clash", "1"),
    "clash 2.json": cohortFile("clash", "2")
  }

  it.effect("writes no database and reports what a run would", () =>
    Effect.gen(function* () {
      const { database, folder, source } = yield* folderOf(bad)
      const dry = yield* run(database, [source], { dryRun: true })
      balanced(dry)
      assert.isTrue(dry.dry_run)
      assert.isFalse(existsSync(dirname(database)), folder)
      const wet = yield* run(database, [source])
      assert.deepStrictEqual(outcomes(dry), outcomes(wet))
      for (const item of wet.items) {
        const same = dry.items.find(({ path }) => path === item.path)
        assert.deepStrictEqual(
          [same?.digest, same?.format, same?.entities, same?.cohort, same?.remarks],
          [item.digest, item.format, item.entities, item.cohort, item.remarks]
        )
      }
    })
  )

  it.effect("refuses a database that a run would refuse, and takes an empty one as a run does", () =>
    Effect.gen(function* () {
      const { folder, source } = yield* folderOf({ "a.json": cohortFile("a", "1") })
      const [below, empty] = [join(source, "a.json", "test.duckdb"), join(folder, "empty.duckdb")]
      for (const dryRun of [true, false]) {
        assert.deepInclude(yield* Effect.flip(run(below, [source], { dryRun })), {
          _tag: "StoreError",
          reason: "bad-path"
        })
      }
      yield* Effect.promise(async () => (await DuckDBInstance.create(empty)).closeSync())
      for (const dryRun of [true, false]) {
        assert.deepStrictEqual(outcomes(yield* run(empty, [source], { dryRun })), { "a.json": "migrated" })
      }
    })
  )

  it.effect("leaves a database byte for byte as it is", () =>
    Effect.gen(function* () {
      const { database, source } = yield* migrated({ "plain.json": cohortFile("plain", "before") })
      const before = readFileSync(database)
      yield* write(source, bad)
      const dry = yield* run(database, [source], { dryRun: true, onConflict: "replace" })
      assert.isTrue(readFileSync(database).equals(before))
      assert.isFalse(existsSync(`${database}.wal`))
      assert.deepStrictEqual(outcomes(dry), outcomes(yield* run(database, [source], { onConflict: "replace" })))
    })
  )
})

// One document: a cohort name and which content.
interface Document {
  readonly name: string
  readonly content: number
}

const textOf = ({ content, name }: Document): string => cohortFile(name, `${name}${content}`)

const arbitraryDocument: fc.Arbitrary<Document> = fc.record({
  name: fc.constantFrom("n", "m"),
  content: fc.integer({ min: 0, max: 2 })
})

/** What must become of each document, and what must be stored then: nothing here depends on an order. */
const expectedOf = (stored: ReadonlyMap<string, number>, documents: ReadonlyArray<Document>, rule: ConflictRule) => {
  const after = new Map(stored)
  const outcomesOf = documents.map((document) => {
    const head = stored.get(document.name)
    if (head === document.content) return "unchanged"
    if (head !== undefined && rule === "fail") return "rejected"
    if (head !== undefined && rule === "skip") return "skipped"
    const claims = new Set(documents.filter(({ name }) => name === document.name).map(({ content }) => content))
    if (claims.size > 1) return "rejected"
    after.set(head !== undefined && rule === "rename" ? `${document.name}-2` : document.name, document.content)
    return documents.findIndex(({ name }) => name === document.name) === documents.indexOf(document)
      ? "migrated"
      : "skipped"
  })
  return { after, outcomes: documents.map(({ content, name }, at) => `${name}${content} ${outcomesOf[at]}`).sort() }
}

describe("the order of sources", () => {
  it.live("never matters, nor how they are divided into batches", () =>
    Effect.gen(function* () {
      const folder = yield* tempDirectory
      const empty = join(folder, "empty.duckdb")
      yield* run(empty, [])
      let number = 0
      const context = yield* Effect.context<never>()
      const property = fc.asyncProperty(
        fc.uniqueArray(arbitraryDocument, { maxLength: 2, selector: ({ name }) => name }),
        fc
          .array(arbitraryDocument, { minLength: 1, maxLength: 6 })
          .chain((documents) =>
            fc.tuple(fc.constant(documents), fc.shuffledSubarray(documents, { minLength: documents.length }))
          ),
        fc.constantFrom<ConflictRule>("fail", "skip", "replace", "rename"),
        fc.constantFrom(1, 2, 3, 500),
        (stored, [, documents], onConflict, batchFiles) =>
          Effect.runPromiseWith(context)(
            Effect.gen(function* () {
              const base = join(folder, String(number++))
              const database = join(base, "test.duckdb")
              mkdirSync(base)
              copyFileSync(empty, database)
              const source = join(base, "source")
              if (stored.length > 0) {
                yield* write(source, Object.fromEntries(stored.map((one, at) => [`stored${at}.json`, textOf(one)])))
                yield* run(database, [source], { verify: false })
                rmSync(source, { recursive: true })
              }
              yield* write(source, Object.fromEntries(documents.map((one, at) => [`${at}.json`, textOf(one)])))
              const dry = yield* run(database, [source], { dryRun: true, onConflict, sizes: { batchFiles } })
              const report = yield* run(database, [source], { onConflict, sizes: { batchFiles } })
              balanced(report)
              assert.strictEqual(report.verification.mismatched, 0)
              const became = (one: RunReport) =>
                documents
                  .map(({ content, name }, at) => `${name}${content} ${itemOf(one, `${at}.json`).outcome}`)
                  .sort()
              const expected = expectedOf(
                new Map(stored.map(({ content, name }) => [name, content])),
                documents,
                onConflict
              )
              assert.deepStrictEqual(became(report), expected.outcomes)
              assert.deepStrictEqual(became(dry), expected.outcomes)
              const heads = yield* query(database, "SELECT cohort_name, id FROM patients ORDER BY cohort_name")
              assert.deepStrictEqual(
                heads.map((row) => `${String(row["cohort_name"])} ${String(row["id"])}`),
                [...expected.after].map(([name, content]) => `${name} ${name[0]}${content}`).sort()
              )
              rmSync(base, { recursive: true })
            })
          )
      )
      yield* Effect.promise(() => fc.assert(property, { numRuns: 15, seed: 20_261_121 }))
    })
  )

  it.live("gives the same list whatever the files are called", () =>
    Effect.gen(function* () {
      const files = Object.entries(variedSources).filter(([name]) => !name.includes("/") && name !== "other.json")
      const lists: Array<unknown> = []
      for (const seed of [1, 2]) {
        const [shuffled = []] = fc.sample(fc.shuffledSubarray(files, { minLength: files.length }), { seed, numRuns: 1 })
        const { database, report } = yield* migrated(
          Object.fromEntries(shuffled.map(([, text], at) => [`${at}.json`, text]))
        )
        assert.strictEqual(report.outcome, "done")
        lists.push(yield* cohorts(database))
      }
      assert.deepStrictEqual(lists[1], lists[0])
    })
  )
})
