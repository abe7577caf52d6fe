import { type Failpoint, Failpoints, openCohortStore } from "@mallard/duckdb-store"
import { assert, describe, it } from "@effect/vitest"
import {
  defaultLimits,
  type ItemReport,
  listRuns,
  listUnfinished,
  type MigrateOptions,
  migrateWithin,
  parseRejectLimit,
  type Progress,
  readRules,
  renderHtml,
  renderJson,
  renderJUnit,
  renderMarkdown,
  rulesJsonSchema,
  storedReport
} from "@mallard/migrator"
import { Effect, Exit } from "effect"
import { existsSync, readFileSync } from "node:fs"
import { cohorts, type Files, folderOf, run } from "./support.ts"

const rules = (of: object) => readRules(JSON.stringify(of), "rules.json")

const ran = Effect.fnUntraced(function* (
  files: Files,
  asked: object | undefined,
  options: Partial<MigrateOptions> = {}
) {
  const { database, source } = yield* folderOf(files)
  const report = yield* migrateWithin({
    paths: [source],
    database,
    onConflict: "fail",
    dryRun: false,
    program: "test",
    ...defaultLimits,
    ...(asked === undefined ? {} : { rules: yield* rules(asked) }),
    ...options
  })
  return { database, source, report }
})

const said = (report: {
  readonly items: ReadonlyArray<{
    readonly cohort: string | null
    readonly outcome: string
    readonly remarks: ReadonlyArray<{
      readonly code: string
      readonly pointer: string | null
      readonly message: string
    }>
  }>
}) =>
  report.items.map(({ cohort, outcome, remarks }) =>
    [cohort, outcome, ...remarks.map(({ code, pointer }) => `${code} ${pointer ?? ""}`)].join(" ").trim()
  )

const bad = {
  "dangling.json":
    '{"name":"dangling","patients":[{"id":"p1","mrn":"m1"}],"encounters":[{"encounter_id":"e1","patient_id":"p1"},{"encounter_id":"e2","patient_id":"SECRET"},{"encounter_id":"e3","patient_mrn":"Patient/m1"}]}',
  "dates.json":
    '{"name":"dates","encounters":[{"encounter_id":"e","admission_time":"2024-03-02T00:00:00","discharge_time":"2024-03-01T00:00:00"}]}',
  "format.json": '{"name":"format","diagnoses":[{"id":"d1","code":"E11.9"},{"id":"d2","code":"SECRET"}]}',
  "good.json":
    '{"name":"good","patients":[{"id":"p1"}],"encounters":[{"encounter_id":"e1","patient_id":"p1","admission_time":"2024-03-01T00:00:00","discharge_time":"2024-03-02T00:00:00"}],"diagnoses":[{"id":"d","code":"E11.9","encounter_id":"e1"}],"vital_signs":[{"id":"v","heart_rate":72}]}',
  "missing.json": '{"name":"missing","patients":[{"gender":"male"}]}',
  "nested.json":
    '{"name":"nested","patients":[{"id":"p1","encounters":[{"encounter_id":"e1","patient_id":"p1"},{"encounter_id":"e2","patient_id":"p9"}]}]}',
  "range.json": '{"name":"range","vital_signs":[{"id":"v","heart_rate":72},{"id":"w","heart_rate":7200}]}',
  "twice.json": '{"name":"twice","patients":[{"id":"p"},{"id":"p"}]}'
}

const all = (level: string) => ({
  duplicate_ids: level,
  missing_ids: level,
  references: level,
  date_order: level,
  code_formats: level,
  ranges: level
})

const found = (outcome: string) => [
  `dangling ${outcome} dangling-reference /encounters/1`,
  `dates ${outcome} dates-out-of-order /encounters/0`,
  `format ${outcome} code-format /diagnoses/1`,
  "good migrated",
  `missing ${outcome} missing-id /patients/0`,
  `nested ${outcome} dangling-reference /patients/0`,
  `range ${outcome} out-of-range /vital_signs/1`,
  `twice ${outcome} duplicate-id /patients/1`
]

describe("rules for content", () => {
  it.live("are remarks, or reasons to reject, or off; the other sources are stored all the same", () =>
    Effect.gen(function* () {
      const warned = yield* ran(bad, all("warn"))
      assert.deepStrictEqual(said(warned.report), found("migrated"))
      assert.include(JSON.stringify(warned.report), "in an encounter, ")
      const rejected = yield* ran(bad, all("reject"))
      assert.deepStrictEqual(said(rejected.report), found("rejected"))
      assert.notInclude(JSON.stringify(rejected.report), "SECRET")
      assert.strictEqual(rejected.report.totals.balanced, true)
      assert.deepInclude(rejected.report.verification, { checked: 1, matched: 1 })
      assert.lengthOf(yield* cohorts(rejected.database), 1)
      const off = yield* ran(bad, all("off"))
      assert.strictEqual(off.report.totals.remarks, 0)
      const none = yield* ran(bad, undefined)
      assert.deepStrictEqual(
        said(none.report).filter((line) => !/^\w+ migrated$/.test(line)),
        ["twice migrated duplicate-id /patients/1"]
      )
    })
  )

  it.live("find the same in a rehearsal, which writes nothing, and with any division into batches", () =>
    Effect.gen(function* () {
      const rehearsed = yield* ran(bad, all("reject"), { dryRun: true })
      assert.deepStrictEqual(said(rehearsed.report), found("rejected"))
      assert.isFalse(existsSync(rehearsed.database))
      const sizes = { batchFiles: 1, wholeFileBytes: 1, windowBytes: 64 }
      const divided = yield* ran(bad, all("reject"), { sizes })
      assert.deepStrictEqual(said(divided.report), found("rejected"))
    })
  )

  it.live("that users write name kinds and columns", () =>
    Effect.gen(function* () {
      const own = [
        { kind: "patient", column: "gender", pattern: "male|female", level: "reject" },
        { kind: "patient", column: "mrn", required: true, level: "warn" },
        { kind: "encounter", column: "discharge_time", not_before: "admission_time", level: "warn" },
        { kind: "encounter", column: "patient_id", references: ["patient"], level: "warn" },
        { kind: "vital_sign", column: "heart_rate", max: 100, level: "reject" }
      ]
      const { report } = yield* ran(
        { ...bad, "gender.json": '{"name":"gender","patients":[{"id":"a","mrn":"m","gender":"x"}]}' },
        { duplicate_ids: "off", rules: own }
      )
      const lines = said(report)
      assert.include(lines, "gender rejected code-format /patients/0")
      assert.include(lines, "range rejected out-of-range /vital_signs/1")
      assert.include(lines, "dates migrated dates-out-of-order /encounters/0")
      assert.include(lines, "twice migrated missing-id /patients/0 missing-id /patients/1")
    })
  )

  it.live("that mean nothing are refused before anything is read", () =>
    Effect.gen(function* () {
      for (const wrong of [
        { ranges: "perhaps" },
        { rangez: "warn" },
        { rules: [{ kind: "patent", required: true, level: "warn" }] },
        { rules: [{ kind: "patient", column: "heart_rate", max: 1, level: "warn" }] },
        { rules: [{ kind: "patient", column: "gender", max: 1, level: "warn" }] },
        { rules: [{ kind: "patient", column: "gender", not_before: "birth_date", level: "warn" }] },
        { rules: [{ kind: "patient", references: ["patent"], level: "warn" }] },
        { rules: [{ kind: "patient", level: "warn" }] },
        { rules: [{ kind: "vital_sign", column: "heart_rate", min: 300, max: 20, level: "warn" }] }
      ]) {
        assert.strictEqual((yield* Effect.flip(rules(wrong)))._tag, "RulesInvalid", JSON.stringify(wrong))
      }
      const pattern = { rules: [{ kind: "patient", column: "gender", pattern: "(", level: "warn" }] }
      const { database, source } = yield* folderOf(bad)
      const options = { paths: [source], database, rules: yield* rules(pattern), rulesPath: "rules.json" }
      const error = yield* Effect.flip(
        migrateWithin({ ...defaultLimits, onConflict: "fail", dryRun: false, program: "test", ...options })
      )
      assert.strictEqual(
        error.message,
        "rules.json holds no rules that can be used: /rules/0/pattern is no regular expression of RE2"
      )
      assert.isFalse(existsSync(database))
    })
  )

  it.live("say where they are wrong, and what may stand there", () =>
    Effect.gen(function* () {
      for (const [text, told] of [
        ["{", "it is no JSON: the file ends in the middle of the document (line 1, column 2)"],
        ['{\n "ranges": wran}', "it is no JSON: a character that JSON does not allow here (line 2, column 12)"],
        ['{"ranges":"off",\n "r\\u0061nges":"warn"}', "/ranges stands there twice (line 2, column 2)"],
        ['{"rules":[{"kind":"patient","kind":"claim"}]}', "/rules/0/kind stands there twice (line 1, column 29)"],
        ["[]", "the whole of it must be an object"],
        ['{"duplicate_idz":"warn"}', "/duplicate_idz is no key that rules know: there may be $schema, duplicate_ids,"],
        ['{"duplicate_ids":"wran"}', '/duplicate_ids must be "off" or "warn" or "reject"'],
        ['{"rules":[{"kind":"patient"}]}', "/rules/0/level is missing"],
        [
          '{"rules":[{"kind":"patient","level":"warn","x":1}]}',
          "/rules/0/x is no key that rules know: there may be kind,"
        ]
      ] as const) {
        const { message } = yield* Effect.flip(readRules(text, "rules.json"))
        assert.include(message, `rules.json holds no rules that can be used: ${told}`)
        assert.notInclude(message, "wran")
      }
    })
  )

  it("are described by the JSON Schema that is published", () => {
    const published = readFileSync(new URL("../rules.schema.json", import.meta.url), "utf8")
    assert.deepStrictEqual(JSON.parse(published), rulesJsonSchema())
  })
})

describe("a strict run", () => {
  it.live("rejects what would only be remarked", () =>
    Effect.gen(function* () {
      const files = {
        "a.json": '{"name":"a","patients":[{"id":"1","id":"2"}]}',
        "b.json": '{"name":"b","patients":[{"id":"1"}]}'
      }
      const loose = yield* ran({ ...files, "twice.json": bad["twice.json"] }, undefined)
      assert.strictEqual(loose.report.totals.migrated, 3)
      const strict = yield* ran({ ...files, "twice.json": bad["twice.json"] }, undefined, { strict: true })
      assert.deepStrictEqual(
        strict.report.items.map(({ outcome }) => outcome),
        ["rejected", "migrated", "rejected"]
      )
    })
  )
})

describe("a run with a bound on rejects", () => {
  const limit = (text: string) => ({ maxRejects: parseRejectLimit(text), sizes: { batchFiles: 1 } })

  it.live("stops beyond it and leaves every cohort as it was", () =>
    Effect.gen(function* () {
      const { database, source } = yield* folderOf({
        "a.json": bad["good.json"],
        "b.json": "{",
        "c.json": "{",
        "d.json": bad["twice.json"]
      })
      const asked = {
        paths: [source],
        database,
        onConflict: "fail",
        dryRun: false,
        program: "test",
        ...defaultLimits
      } as const
      const told: Array<readonly [string, string | undefined]> = []
      const onProgress = (step: Progress) => {
        if (step.phase === "item") told.push([step.item.outcome, step.formerly])
      }
      const within = yield* migrateWithin({ ...asked, dryRun: true, ...limit("50%") })
      assert.strictEqual(within.outcome, "done-with-rejects")
      const report = yield* migrateWithin({ ...asked, ...limit("1"), onProgress })
      assert.strictEqual(report.outcome, "failed")
      assert.deepStrictEqual(
        report.items.map(({ outcome }) => outcome),
        ["skipped", "rejected", "rejected", "skipped"]
      )
      const codes = report.items.map(({ remarks }) => remarks[0]?.code)
      assert.deepStrictEqual([codes[0], codes[3]], ["undone", "too-many-rejects"])
      assert.isTrue(report.totals.balanced)
      assert.deepStrictEqual(yield* cohorts(database), [])
      const undoing = (yield* listRuns(database))[1]
      const stored = yield* storedReport(database, report.run)
      assert.deepStrictEqual(stored.items, report.items)
      for (const totals of [stored.totals, (yield* listRuns(database))[0]?.totals]) {
        assert.deepStrictEqual(totals, report.totals)
      }
      assert.deepStrictEqual(told.at(-1), ["skipped", "migrated"])
      // What undid it is no run that anybody asked for.
      assert.strictEqual((yield* storedReport(database, "last")).run, report.run)
      assert.deepStrictEqual(report.undone_by, stored.undone_by)
      assert.deepStrictEqual(stored.undone_by, { run: undoing?.run ?? "", reason: "too-many-rejects" })
      assert.deepStrictEqual((yield* listRuns(database))[0]?.undone_by, stored.undone_by)
      for (const render of [renderHtml, renderJson, renderJUnit, renderMarkdown]) {
        assert.include(render(stored), `undone by run ${undoing?.run ?? ""}, because more sources were rejected`)
      }
      const again = yield* migrateWithin({ ...asked, ...limit("50%") })
      assert.strictEqual(again.outcome, "done-with-rejects")
      assert.lengthOf(yield* cohorts(database), 2)
      const third = yield* run(database, [source])
      assert.strictEqual(third.totals.unchanged, 2)
    })
  )

  it.live("is undone by the next one when it was cut short before that, with all that it had stored", () =>
    Effect.gen(function* () {
      const { database, source } = yield* folderOf({ "a.json": bad["good.json"], "b.json": "{", "c.json": "{" })
      const limited = migrateWithin({
        paths: [source],
        database,
        onConflict: "fail",
        dryRun: false,
        program: "test",
        ...defaultLimits,
        ...limit("1")
      })
      const cutAt = (point: Failpoint) =>
        Effect.exit(
          Effect.provideService(limited, Failpoints, (reached) => {
            if (reached === point) throw new Error(reached)
          })
        )
      assert.isTrue(Exit.hasDies(yield* cutAt("undo/begun")))
      assert.lengthOf(yield* cohorts(database), 1)
      assert.deepStrictEqual(
        (yield* listUnfinished(database)).map(({ state }) => state),
        ["not-undone"]
      )
      // The next one stores nothing itself, and is cut short too.
      assert.isTrue(Exit.hasDies(yield* cutAt("undo/begun")))
      assert.lengthOf(yield* cohorts(database), 1)
      const report = yield* limited
      assert.deepStrictEqual(
        report.items.map(({ outcome, remarks }) => [outcome, remarks[0]?.code === "undone"]),
        [
          ["skipped", true],
          ["rejected", false],
          ["rejected", false]
        ]
      )
      assert.isTrue(report.totals.balanced)
      assert.deepStrictEqual((yield* storedReport(database, report.run)).totals, report.totals)
      assert.deepStrictEqual(yield* cohorts(database), [])
      assert.deepStrictEqual(yield* listUnfinished(database), [])
    })
  )

  for (const [what, changed, left] of [
    ["some cohorts", ["a"], "; cohorts that were changed since are left as they are."],
    ["all cohorts", ["a", "z"], "the run was stopped; what was stored is left as it is, because it was changed since."]
  ] as const) {
    it.live(`says that it left what was changed since, ${what}, and is at its end`, () =>
      Effect.gen(function* () {
        const { database, source } = yield* folderOf({
          "a.json": '{"name":"a","patients":[{"id":"1"}]}',
          "b.json": "{",
          "c.json": "{",
          "z.json": '{"name":"z","patients":[{"id":"1"}]}'
        })
        const asked = { paths: [source], database, onConflict: "fail", dryRun: false, program: "test" } as const
        const limited = migrateWithin({ ...asked, ...defaultLimits, maxRejects: parseRejectLimit("1") })
        yield* Effect.exit(
          Effect.provideService(limited, Failpoints, (reached) => {
            if (reached === "undo/begun") throw new Error(reached)
          })
        )
        const store = yield* Effect.promise(() => openCohortStore({ path: database }))
        for (const name of changed) yield* Effect.promise(() => store.retag(name, { add: ["mine"] }))
        yield* Effect.promise(() => store.close())
        const { notes } = yield* limited
        assert.isTrue(notes?.at(-1)?.endsWith(left), notes?.join())
        assert.lengthOf(yield* cohorts(database), changed.length)
        assert.deepStrictEqual(yield* listUnfinished(database), [])
      })
    )
  }

  it("is a number or a percentage", () => {
    assert.deepStrictEqual(["0", "12", "5%", "2.5%"].map(parseRejectLimit), [
      { value: 0, unit: "sources" },
      { value: 12, unit: "sources" },
      { value: 5, unit: "percent" },
      { value: 2.5, unit: "percent" }
    ])
    assert.deepStrictEqual(["", "-1", "1.5", "101%", "%", "many"].map(parseRejectLimit), Array(6).fill(undefined))
  })
})

describe("what a rule finds", () => {
  it.live("is named by file, line and column, in a file, in one of several and among lines", () =>
    Effect.gen(function* () {
      const { source, database } = yield* folderOf({
        "twice.json": '{"name": "twice",\n "patients": [\n  {"id": "p"},\n  {"id": "é"},  {"id": "p"}\n]}',
        "folder/scenario.json": '{"name":"folder"}',
        "folder/patients.json": '{"patients":[{"id":"a"},\n{"id":"a"}]}',
        "rows.ndjson": '{"patient_id":"r","mrn":"1"}\n{"patient_id":"s","mrn":"2"}\n\n{"patient_id":"r","mrn":"3"}\n',
        "wide.json": Buffer.from('\ufeff{"name":"wide","patients":[\n{"id":"w"},{"id":"w"}]}', "utf16le")
      })
      const report = yield* run(database, [source])
      const found = report.items.flatMap(({ cohort, remarks }) =>
        remarks
          .filter(({ code }) => code === "duplicate-id")
          .map(({ column, line, part, pointer }) => [cohort, part ?? null, pointer, line, column])
      )
      assert.sameDeepMembers(found, [
        ["twice", null, "/patients/2", 4, 17],
        ["folder", "patients.json", "/patients/1", 2, 1],
        ["rows", null, "/2", 4, 1],
        ["wide", null, "/patients/1", 2, 12]
      ])
    })
  )

  it.live(
    "without rules is the same in a dry run and in the run, whatever the sources are and how they are divided",
    () =>
      Effect.gen(function* () {
        const patients = (...ids: ReadonlyArray<unknown>): string =>
          JSON.stringify(ids.map((id, at) => (id === undefined ? { gender: "male" } : { id, given_name: `n${at}` })))
        // More than is held before rows are handed on, with the same id on both sides.
        const pad = "x".repeat(450)
        const many = Array.from({ length: 20_000 }, (_, at) => ({ id: at === 19_999 ? "p0" : `p${at}`, pad }))
        const files = {
          "a.json": `{"name":"a","patients":${patients("1", "2", "1", "1", undefined, undefined)}}`,
          "b.json": `{"name":"b","patients":${patients("1", "2")},"encounters":[{"encounter_id":"1"},{"encounter_id":"1"}]}`,
          "equal.json":
            '{"name":"equal","patients":[{"id":"1"},{"id":"1"}],"diagnoses":[{"id":"d"},{"id":"d","code":"E11"}]}',
          "folder/scenario.json": '{"name":"folder"}',
          "folder/claims.json": '{"claims":[{"claim_id":"c"},{"claim_id":"C"}]}',
          "folder/patients.json": `{"patients":${patients("é", "e", "é")}}`,
          "long.json": `{"name":"long","patients":${patients("0123456789abcde", "0123456789abcdef", "0123456789abcdefg", "0123456789abcdef", "0123456789abcdeF")}}`,
          "many.json": JSON.stringify({ name: "many", patients: many }),
          "nested.json":
            '{"name":"nested","patients":[{"id":"n","encounters":[{"encounter_id":"e"},{"encounter_id":"e"}]}]}',
          "odd.json": `{"name":"odd","patients":${patients("", 7, "7", "\u0000", "\u0000", "", null, null, 1.5, '"')}}`,
          "rows.ndjson": '{"patient_id":"r","mrn":"1"}\n{"patient_id":"s","mrn":"2"}\n{"patient_id":"r","mrn":"3"}\n',
          "same.json": `{"name":"a","patients":${patients("1", "2", "1", "1", undefined, undefined)}}`
        }
        const { database, source } = yield* folderOf(files)
        const remarked = (report: { readonly items: ReadonlyArray<ItemReport> }) =>
          report.items.map(({ outcome, path, remark_count, remarks }) => ({ path, outcome, remark_count, remarks }))
        const divisions = [
          {},
          { batchFiles: 1 },
          { wholeFileBytes: 1, windowBytes: 64 << 10 },
          { threaded: { least: 1, most: 8 << 20, total: 1 } }
        ]
        const dry = []
        for (const sizes of divisions) dry.push(remarked(yield* run(database, [source], { dryRun: true, sizes })))
        assert.isFalse(existsSync(database))
        const done = remarked(yield* run(database, [source]))
        for (const rehearsed of dry) assert.deepStrictEqual(rehearsed, done)
        const duplicates = done.map(({ path, remarks }) => [
          path.slice(source.length + 1),
          remarks.filter(({ code }) => code === "duplicate-id").map(({ pointer }) => pointer)
        ])
        assert.deepStrictEqual(Object.fromEntries(duplicates), {
          "a.json": ["/patients/2", "/patients/3"],
          "b.json": ["/encounters/1"],
          "equal.json": ["/patients/1", "/diagnoses/1"],
          folder: ["/patients/2"],
          "long.json": ["/patients/3"],
          "many.json": ["/patients/19999"],
          "nested.json": [],
          "odd.json": ["/patients/2", "/patients/4", "/patients/5"],
          "rows.ndjson": ["/2"],
          "same.json": []
        })
      })
  )
})
