import { DuckDBInstance } from "@duckdb/node-api"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { keepScreen, runOnTerminal, type TerminalRun } from "./screens.ts"
import { cohort, makeFolder, writeFiles } from "./support.ts"

/** Enough to be read for some tenths of a second at least, and three sources that cannot be stored. */
const writeSources = (folder: string): void => {
  const patients = (file: number) =>
    Array.from({ length: 1500 }, (_, at) => ({
      patient_id: `${file}-${at}`,
      given_name: `name ${at}`,
      family_name: `secret-${at}`,
      birth_date: `19${10 + (at % 80)}-0${1 + (at % 9)}-11`,
      notes: `${"x".repeat(40)}${at}`
    }))
  const files = Array.from({ length: 8 }, (_, file) => [
    `in/cohort-${file}.json`,
    JSON.stringify({ name: `cohort ${file}`, patients: patients(file) }, null, 1)
  ])
  writeFiles(folder, {
    ...Object.fromEntries(files),
    "in/a-cut-off.json": '{"name":"secret',
    "in/b-\u001b[31mred\u001b[0m\n.json": "secret",
    "in/c-日本語のファイル名.json": '{"a":',
    "in/z-remarks.json": '{"name":"odd","patients":[{"patient_id":"p","birth_date":"secret"}]}'
  })
}

// oxlint-disable-next-line no-control-regex -- control sequences begin so
const CURSOR = /\u001b\[\?25[hl]/g

const assertRestored = (run: TerminalRun): void => {
  const cursor = run.raw().match(CURSOR) ?? []
  assert.isNotEmpty(cursor)
  assert.strictEqual(cursor.at(-1), "\u001b[?25h", "the cursor is shown in the end")
  assert.strictEqual(run.raw().lastIndexOf("\u001b[?7l") < run.raw().lastIndexOf("\u001b[?7h"), true)
  assert.notMatch(run.screen.lines().join("\n"), /▸|█/, "nothing of the dashboard is left")
}

/** In every frame there is one dashboard, none of its lines is wrapped, and no value of a document is in it. */
const assertFrames = (run: TerminalRun): void => {
  for (const { lines, wrapped } of run.frames) {
    const text = lines.join("\n")
    assert.strictEqual(text.match(/▸|^(finding sources|reading |verifying )/gm)?.length, 1, text)
    assert.strictEqual(wrapped, 0)
    assert.notInclude(lines.join("\n"), "secret")
  }
}

const shows = (text: string) => (frame: { readonly lines: ReadonlyArray<string> }) =>
  frame.lines.join("\n").includes(text)

// On a busy machine a run takes long, and there is more to draw.
describe("mallard migrate on a terminal", () => {
  for (const { columns, env, name, theme } of [
    { columns: 80, env: {}, name: "80-dark", theme: "dark" },
    { columns: 200, env: {}, name: "200-light", theme: "light" },
    { columns: 80, env: { NO_COLOR: "1" }, name: "80-no-colour", theme: "dark" }
  ] as const) {
    it(`shows a dashboard of ${name}, and takes it away for the report`, async () => {
      const folder = makeFolder()
      writeSources(folder)
      const run = runOnTerminal(folder, ["migrate", "in", "--db", "test.duckdb"], { columns, env })
      const code = await run.code
      assert.strictEqual(code, 3, run.screen.lines().join("\n"))
      assertFrames(run)
      for (const phase of ["reading", "verifying"]) {
        const seen = run.frames.findLast(shows(`▸ ${phase}`))
        assert.isDefined(seen, phase)
        if (seen !== undefined) await keepScreen(`${name}-${phase}`, seen, theme)
      }
      const [blank, ...last] = run.frames.at(-1)?.lines ?? []
      assert.strictEqual(blank, "")
      // Ten times a second at most, however many events there are; each phase is shown at once.
      assert.isAtMost(run.frames.length, Number(/([\d.]+) s$/.exec(last[0] ?? "")?.[1]) * 10 + 5)
      assert.match(last[0] ?? "", /^ ✓ found {2}✓ copied {2}✓ read {2}▸ verifying {2}[\d.]+ s$/)
      assert.match(last[2] ?? "", /^ \d of 9 documents/)
      assert.match(last[3] ?? "", /^ 3 errors {2}\d+ warnings? {2}3 rejected {2}9 migrated$/)
      assert.deepStrictEqual(last.slice(4).sort(), [
        " ! in/z-remarks.json  not-a-date",
        " latest problems",
        " ✗ in/a-cut-off.json  unexpected-end",
        " ✗ in/b-\\u{1b}[31mred\\u{1b}[0m\\u{a}.json  unexpected-byte",
        " ✗ in/c-日本語のファイル名.json  unexpected-end"
      ])
      assert.strictEqual(run.raw().includes("\u001b[3"), name !== "80-no-colour")
      assertRestored(run)
      assert.include(run.screen.lines().join("\n"), "9/12 migrated, 3 rejected (12,001 entities: 12,001 patient)")
      if (name !== "80-dark") return
      const verifying = runOnTerminal(folder, ["verify", "--db", "test.duckdb"])
      assert.strictEqual(await verifying.code, 0)
      assert.match(verifying.screen.lines()[0] ?? "", /^✓ 9\/9 documents/, "nothing of a dashboard is left")
      for (const { lines } of verifying.frames) assert.match(lines[1] ?? "", /^ ▸ verifying/)
    })
  }

  it("follows changes of the size, and loses nothing above however narrow it gets", async () => {
    const folder = makeFolder()
    writeSources(folder)
    const run = runOnTerminal(folder, ["migrate", "in", "--db", "test.duckdb", "--no-backup"], { columns: 200 })
    await run.frame(shows("▸"))
    run.resize(90, 30)
    const middle = await run.frame(({ columns }) => columns === 90)
    assert.strictEqual(middle.lines.join("\n").match(/▸/g)?.length, 1)
    run.resize(60, 20)
    // What was drawn for the former width is cut off, and the next frame is whole.
    const narrow = await run.frame(({ columns, lines }) => columns === 60 && !lines.join("\n").includes("░".repeat(40)))
    await keepScreen("resized-60", narrow)
    run.resize(40, 20)
    const line = await run.frame(
      ({ columns, lines }) => columns === 40 && /^(finding|reading|verifying)\b/.test(lines.at(-1) ?? "")
    )
    await keepScreen("resized-40", line)
    assert.isBelow(line.lines.at(-1)?.length ?? 0, 40)
    run.resize(200, 30)
    assert.strictEqual(await run.code, 3)
    assert.strictEqual(
      run.screen.lines()[0],
      "No backup: the sources are read and never changed, but if they are lost later, only what the database gives back is left: the JSON without its white space. Rejected files alone are copied."
    )
    assert.strictEqual(run.raw().match(CURSOR)?.at(-1), "\u001b[?25h")
  })

  it("gives the cursor back at Ctrl-C, and its words stand above the dashboard", async () => {
    const folder = makeFolder()
    writeSources(folder)
    const run = runOnTerminal(folder, ["migrate", "in", "--db", "test.duckdb"])
    await run.frame(shows("▸"))
    run.type("\u0003")
    assert.strictEqual(await run.code, 130, run.screen.lines().join("\n"))
    assertRestored(run)
    assert.match(run.screen.lines().join("\n"), /Stopping as soon as what is being written is whole/)
  })

  it("gives the cursor back when the run fails, and keeps what was said before", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [`in/${cohort.file}`]: cohort.text })
    const held = await DuckDBInstance.create(join(folder, "test.duckdb"))
    const connection = await held.connect()
    await connection.run("CREATE TABLE held (a INTEGER)")
    const run = runOnTerminal(folder, ["migrate", "in", "--db", "test.duckdb", "--wait", "0.5"])
    const seen = await run.frame(({ lines }) => lines.some((line) => line.startsWith("Waiting: ")))
    await keepScreen("waiting", seen)
    assert.strictEqual(await run.code, 11, run.screen.lines().join("\n"))
    connection.closeSync()
    held.closeSync()
    assertRestored(run)
    assert.match(run.screen.lines().join("\n"), /^Waiting: process \d+.*\n[^]*^mallard: /m)
  })

  it("gives the cursor back while it is suspended", async () => {
    const folder = makeFolder()
    writeSources(folder)
    const run = runOnTerminal(folder, ["migrate", "in", "--db", "test.duckdb"])
    await run.frame(shows("▸"))
    run.kill("SIGTSTP")
    const isShown = () => /▸/.test(run.screen.lines().join("\n"))
    for (let waited = 0; isShown() && waited < 10_000; waited += 20) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    assertRestored(run)
    const before = run.frames.length
    run.kill("SIGCONT")
    assert.strictEqual(await run.code, 3)
    assert.isAbove(run.frames.length, before)
    assertRestored(run)
  })

  it("draws nothing where a terminal cannot be drawn on or nothing shall be said", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [`in/${cohort.file}`]: cohort.text })
    const runs = [
      runOnTerminal(folder, ["migrate", "in", "--db", "a.duckdb", "--no-color"], { env: { TERM: "dumb" } }),
      runOnTerminal(folder, ["migrate", "in", "--db", "b.duckdb", "--no-color"], { env: { CI: "1" } }),
      runOnTerminal(folder, ["migrate", "in", "--db", "c.duckdb", "--no-color", "--quiet"])
    ]
    for (const run of runs) {
      assert.strictEqual(await run.code, 0)
      assert.notInclude(run.raw(), "\u001b")
    }
  })
})
