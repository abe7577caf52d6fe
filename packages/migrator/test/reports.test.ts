/** Reports: one data model from the run and from the ledger, and what each form makes of it. */
import {
  renderHtml,
  renderJson,
  renderJUnit,
  renderMarkdown,
  reportJsonSchema,
  RunReport,
  listRuns,
  listUnfinished,
  status,
  storedReport,
  withQuality
} from "@mallard/migrator"
import { Failpoints, queryRows, openStore } from "@mallard/duckdb-store"
import { processFacts } from "@mallard/duckdb-store/Processes"
import { describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert } from "vitest"
import { recordProof } from "../src/internal/recording.ts"
import { migrated, run } from "./support.ts"

const hostile = `<script>alert("1")</script>&'|*\u202e`

/** A value that appears in no report: it stands in documents only. */
const secret = "Sekret-4711"

const files = {
  "good.json": `{"name":"good","patients":[{"id":"p1","note":"${secret}"},{"id":"p2","weight":"${secret}","birthDate":"${secret}"}]}`,
  [`${hostile.replaceAll("/", "")}.json`]: JSON.stringify({ name: hostile, patients: [{ id: "p3" }] }),
  "bad.json": `{"name":"bad",\n"x":"${secret}",}`,
  "notes.txt": "nothing"
}

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(RunReport), { onExcessProperty: "error" })

/** What the ledger keeps of a report: names of cohorts that were not stored and counts of unlisted remarks are not. */
const comparable = (report: RunReport) => ({
  ...Object.fromEntries(
    Object.entries(report).filter(([name]) => !["ended_at", "notes", "timings", "backup"].includes(name))
  ),
  items: report.items.map((item) => ({ ...item, remark_count: 0, cohort: null }))
})

describe("the report from the ledger", () => {
  it.effect("is that of the run", () =>
    Effect.gen(function* () {
      const { database, report } = yield* migrated(files)
      const stored = yield* storedReport(database, "last")
      assert.deepStrictEqual(comparable(stored), comparable(yield* withQuality(report)))
      assert.deepStrictEqual(
        stored.items.map(({ cohort }) => cohort),
        report.items.map(({ cohort }) => cohort)
      )
      assert.isTrue(stored.totals.balanced)
      assert.deepInclude(stored.verification, { checked: 2, matched: 2, mismatched: 0 })
    })
  )

  it.effect("counts unchanged sources and says that it does not list them", () =>
    Effect.gen(function* () {
      const { database, source } = yield* migrated(files)
      yield* run(database, [source])
      const stored = yield* storedReport(database, "last")
      assert.deepInclude(stored.totals, { found: 3, unchanged: 2, rejected: 1, balanced: true })
      assert.deepStrictEqual(stored.notes, ["2 unchanged sources were counted and are not listed."])
      const runs = yield* listRuns(database)
      assert.deepStrictEqual(
        runs.map(({ command, outcome, revisions }) => [command, outcome, revisions]),
        [
          ["migrate", "done-with-rejects", 2],
          ["migrate", "done-with-rejects", 0]
        ]
      )
      assert.deepInclude(runs[0]?.options, { on_conflict: "fail", paths: [source] })
      assert.isNotEmpty(runs[0]?.user)
    })
  )

  it.effect("of a run that was cut short does not claim to balance", () =>
    Effect.gen(function* () {
      const { database, report, source } = yield* migrated(files)
      const changed = (statement: string) =>
        Effect.scoped(Effect.flatMap(openStore({ path: database }), (client) => queryRows(client, statement)))
      yield* changed("DELETE FROM mallard.migration_runs WHERE event <> 'started'")
      const stored = yield* storedReport(database, "last")
      assert.isFalse(stored.totals.balanced)
      assert.strictEqual(stored.outcome, "cut-short")
      assert.isTrue(stored.totals.partial)
      for (const render of [renderHtml, renderJUnit, renderMarkdown]) {
        assert.include(render(stored), "not known, for the run did not come to its end; noted until then: 2 migrated")
        assert.notMatch(render(stored), /not balance|unbalanced/)
      }
      assert.deepInclude((yield* listRuns(database))[0], {
        outcome: "cut-short",
        state: "cut-short",
        continued_by: null
      })
      // As if the process that has started this one were at work on it.
      const other = JSON.stringify({ process: { pid: process.ppid, since: processFacts(process.ppid).since } })
      yield* changed(`UPDATE mallard.migration_runs SET options = json_merge_patch(options, '${other}')`)
      assert.strictEqual((yield* storedReport(database, "last")).outcome, "running")
      assert.deepInclude((yield* listRuns(database))[0], { outcome: "running", state: "running" })
      assert.deepStrictEqual(
        (yield* status({ database, paths: [], cwd: source })).unfinished.map(({ state }) => state),
        ["running"]
      )
      const again = yield* run(database, [source])
      assert.strictEqual((yield* storedReport(database, report.run)).continued_by, again.run)
      assert.deepInclude((yield* listRuns(database))[0], { outcome: "cut-short", continued_by: again.run })
      assert.deepStrictEqual((yield* status({ database, paths: [], cwd: source })).unfinished, [])
    })
  )

  it.effect("names a run by how its id begins, and refuses what is none", () =>
    Effect.gen(function* () {
      const { database, report } = yield* migrated({ "a.json": '{"patients":[]}' })
      assert.strictEqual((yield* storedReport(database, report.run.slice(0, 8))).run, report.run)
      const error = yield* Effect.flip(storedReport(database, "nonsense"))
      assert.strictEqual(error._tag, "RunNotFound")
    })
  )
})

describe("the end of a run", () => {
  it.effect("that cannot be noted is told with what was the matter", () =>
    Effect.gen(function* () {
      const { database, report } = yield* migrated({ "a.json": '{"patients":[]}' }, { verify: false })
      const told = yield* recordProof({ ...report, database: dirname(database) }, {})
      assert.match(told.notes?.at(-1) ?? "", /^The end of the run could not be noted .+: it is a folder/)
    })
  )
})

describe("a proof that is stopped", () => {
  it.live("leaves a run that is whole and is proven by the next one", () =>
    Effect.gen(function* () {
      const { database, source } = yield* migrated({ "first.json": "{}" })
      writeFileSync(join(source, "good.json"), files["good.json"])
      let isStopped = false
      const stopping = run(database, [source], { isStopped: () => isStopped })
      const stopped = yield* Effect.provideService(stopping, Failpoints, (point) => {
        if (point === "verify/begun") isStopped = true
      })
      assert.deepStrictEqual(
        [stopped.outcome, stopped.totals.migrated, stopped.verification.checked],
        ["interrupted", 1, 0]
      )
      assert.deepStrictEqual(
        (yield* listUnfinished(database)).map(({ run, state }) => [run, state]),
        [[stopped.run, "not-proven"]]
      )
      const stored = yield* storedReport(database, stopped.run)
      assert.deepStrictEqual([stored.outcome, stored.totals], [stopped.outcome, stopped.totals])
      assert.deepStrictEqual(stopped.notes, ["The run ended before its proof."])
      assert.include((stored.notes ?? []).join(), "resume")
      const next = yield* run(database, [source])
      assert.deepStrictEqual([next.totals.unchanged, next.verification.matched], [2, 1])
      assert.deepStrictEqual(yield* listUnfinished(database), [])
    })
  )
})

describe("every form of the report", () => {
  it.effect("shows keys and places, but no value of a document", () =>
    Effect.gen(function* () {
      const { report } = yield* migrated(files)
      const whole = yield* withQuality(report)
      const texts = [renderHtml, renderJson, renderJUnit, renderMarkdown].map((render) => render(whole))
      for (const text of texts) {
        assert.notInclude(text, secret)
        assert.include(text, "unexpected-byte")
      }
      for (const text of texts.filter((_, at) => at !== 2)) assert.include(text, "not-a-date")
    })
  )

  it.effect("tells which sources were renamed or copied and which are gone, and what is left of those", () =>
    Effect.gen(function* () {
      const { report } = yield* migrated({ "now.json": '{"patients":[]}' })
      const moved = report.items.map((item) => ({ ...item, change: "renamed" as const, from: "/old/was.json" }))
      const copied = report.items.map((item) => ({ ...item, change: "copied" as const, from: "/old/twin.json" }))
      const whole = {
        ...report,
        items: [...moved, ...copied],
        removed: ["/old/gone.json", "/old/bad.json"],
        removed_unstored: ["/old/bad.json"]
      }
      for (const render of [renderHtml, renderJUnit, renderMarkdown]) {
        const text = render(whole)
        assert.include(text, "renamed from /old/was.json")
        assert.include(text, "the same as /old/twin.json")
        assert.match(text, /\/old\/gone\.json[^/]*[^]{0,60}what was stored from it stays/)
        assert.match(text, /\/old\/bad\.json[^/]*[^]{0,60}nothing is stored from it/)
        assert.match(text, /no longer there/i)
      }
      assert.notMatch(renderHtml(report) + renderJUnit(report) + renderMarkdown(report), /no longer there|system-out/i)
    })
  )
})

describe("the JSON report", () => {
  it.effect("keeps to the schema, field by field", () =>
    Effect.gen(function* () {
      const { report } = yield* migrated(files)
      const whole = yield* withQuality(report)
      const { $schema, schema_version, ...decoded } = decode(renderJson(whole))
      assert.deepStrictEqual(decoded, whole)
      assert.strictEqual($schema, "urn:mallard:report:1")
      assert.strictEqual(schema_version, 1)
    })
  )

  it("has the published schema that the declaration gives", () => {
    const published = readFileSync(new URL("../report.schema.json", import.meta.url), "utf8")
    assert.deepStrictEqual(JSON.parse(published), reportJsonSchema())
  })
})

describe("the HTML report", () => {
  it.effect("needs nothing from elsewhere, and nothing in it comes alive", () =>
    Effect.gen(function* () {
      const { report } = yield* migrated(files)
      const page = renderHtml(yield* withQuality(report))
      assert.notMatch(page, /<script|<link|<img|<iframe|@import|url\(|https?:|\son\w+=/i)
      assert.include(page, "&lt;script&gt;alert(&quot;1&quot;)&lt;")
      assert.notInclude(page, "\u202e")
      assert.match(page, /prefers-color-scheme:dark/)
      assert.match(page, /@media print/)
      for (const heading of [
        "Outcomes",
        "Kinds",
        "Share of typed leaves",
        "Shapes",
        "Slowest sources",
        "Remarks by code"
      ])
        assert.include(page, `<h2>${heading}</h2>`)
    })
  )

  it.effect("is well-formed: every element that opens closes", () =>
    Effect.gen(function* () {
      const { report } = yield* migrated(files)
      const page = renderHtml(yield* withQuality(report)).replace(/<style>[\s\S]*?<\/style>/, "")
      const open: Array<string> = []
      for (const [, slash, name, rest] of page.matchAll(/<(\/?)([a-z][a-z0-9]*)((?:[^>"]|"[^"]*")*)>/g)) {
        if (name === "meta" || rest?.endsWith("/") === true) continue
        if (slash === "/") assert.strictEqual(open.pop(), name)
        else open.push(name ?? "")
      }
      assert.deepStrictEqual(open, [])
    })
  )
})

describe("the JUnit report", () => {
  it.effect("has a case per source, with rejections as failures, and nothing that XML cannot hold", () =>
    Effect.gen(function* () {
      const { report } = yield* migrated({ ...files, "c\u0001.json": "[" })
      const xml = renderJUnit(report)
      assert.match(xml, /<testsuite name="sources" tests="4" failures="2" errors="0" skipped="0"/)
      assert.match(xml, /<failure type="unexpected-byte" message="line 2, column \d+: /)
      assert.notMatch(xml, /[^\n\P{Cc}]/u)
      assert.strictEqual(xml.match(/<testcase/g)?.length, 6)
    })
  )
})

describe("the Markdown report", () => {
  it.effect("lets no name of a source format anything", () =>
    Effect.gen(function* () {
      const { report } = yield* migrated(files)
      const text = renderMarkdown(report)
      assert.notInclude(text, "<script>")
      assert.include(text, "\\<script\\>")
      assert.include(text, "Balanced: 3 found; 2 migrated + 0 unchanged + 0 skipped + 1 rejected + 0 failed = 3.")
    })
  )
})
