import { readFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import type { Browser, Page } from "playwright-core"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { dashboard, type ProgressState } from "../src/Dashboard.ts"
import { paintOf } from "../src/Terminal.ts"
import { faintTexts, openBrowser, photograph } from "./browser.ts"
import { makeScreen, svgOf } from "./screens.ts"
import { folderCohort, cohort, makeFolder, run, writeFiles } from "./support.ts"

let browser: Browser | string
let html = ""

beforeAll(async () => {
  browser = await openBrowser()
})

afterAll(async () => {
  if (typeof browser !== "string") await browser.close()
})

/** Opens the page of a run of which some sources were rejected and some remarked. */
const openReport = async (opened: Browser, options: Parameters<Browser["newPage"]>[0]) => {
  if (html === "") {
    const folder = makeFolder()
    const longName = `${"a-very-long-name-without-any-space".repeat(5)}.json`
    writeFiles(folder, {
      [`in/${cohort.file}`]: cohort.text,
      ...Object.fromEntries(Object.entries(folderCohort).map(([name, text]) => [`in/${name}`, text])),
      "in/odd.json": '{"name":"<script>alert(1)</script>","patients":[{"patient_id":"p","birth_date":"soon"}]}',
      [`in/deep/${longName}`]: '{"name":"cut',
      "in/notes.txt": "ignored"
    })
    const outcome = await run(folder, ["migrate", "in", "--db", "test.duckdb", "--report", "report.html"])
    assert.strictEqual(outcome.code, 3, outcome.stderr)
    html = readFileSync(join(folder, "report.html"), "utf8")
  }
  const folder = makeFolder()
  writeFiles(folder, { "report.html": html })
  const page = await opened.newPage(options)
  const requests: Array<string> = []
  const errors: Array<string> = []
  page.on("request", (request) => requests.push(request.url()))
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text())
  })
  page.on("pageerror", (error) => errors.push(error.message))
  const url = pathToFileURL(join(folder, "report.html")).href
  await page.goto(url)
  return { page, requests, errors, url }
}

const overflow = (page: Page): Promise<number> =>
  page.evaluate<number>("document.documentElement.scrollWidth - document.documentElement.clientWidth")

const lightness = (page: Page): Promise<number> =>
  page.evaluate<number>(
    `getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 765`
  )

describe("the page of a report in a browser", () => {
  for (const scheme of ["light", "dark"] as const) {
    for (const width of [400, 1400]) {
      it(`is whole, readable and alone at ${width} pixels, ${scheme}`, async ({ skip }) => {
        if (typeof browser === "string") return skip(browser)
        const { errors, page, requests, url } = await openReport(browser, {
          viewport: { width, height: 900 },
          colorScheme: scheme
        })
        assert.deepStrictEqual(requests, [url], "nothing else is asked for")
        assert.deepStrictEqual(errors, [])
        const charts = await page.locator("svg").all()
        assert.isAtLeast(charts.length, 3)
        for (const chart of charts) {
          const box = await chart.boundingBox()
          assert.isAbove(Math.min(box?.width ?? 0, box?.height ?? 0), 5)
        }
        await photograph(page, `report-${width}-${scheme}`, { fullPage: true })
        assert.isAtMost(await overflow(page), 0)
        assert.deepStrictEqual(await faintTexts(page), [])
        assert.strictEqual((await lightness(page)) > 0.5, scheme === "light")
        await page.close()
      })
    }
  }

  it("prints on white paper, with nothing cut off", async ({ skip }) => {
    if (typeof browser === "string") return skip(browser)
    const { page } = await openReport(browser, { viewport: { width: 700, height: 900 }, colorScheme: "dark" })
    await page.emulateMedia({ media: "print" })
    await photograph(page, "report-print", { fullPage: true })
    assert.isAtMost(await overflow(page), 0)
    assert.isAbove(await lightness(page), 0.9)
    assert.deepStrictEqual(await faintTexts(page), [])
    const pdf = await page.pdf({ format: "A4" })
    assert.strictEqual(pdf.subarray(0, 5).toString(), "%PDF-")
    await page.close()
  })
})

describe("the dashboard in a browser's eyes", () => {
  const state: ProgressState = {
    phase: "reading",
    phases: ["finding", "copying", "reading", "verifying"],
    sources: 1240,
    items: 512,
    bytes: 83_000_000,
    totalBytes: 200_000_000,
    entities: 212_345,
    done: 0,
    documents: 0,
    outcomes: { migrated: 480, unchanged: 20, skipped: 2, rejected: 9, failed: 1 },
    remarks: 312,
    problems: [
      { path: "old-cohorts/2019/cut-off.json", code: "unexpected-end", more: 0, isError: true },
      { path: "old-cohorts/日本語のファイル名.json", code: "invalid-utf8", more: 0, isError: true },
      { path: "old-cohorts/spring.json", code: "duplicate-id", more: 3, isError: false }
    ],
    isStopping: false,
    elapsedMs: 9_400,
    phaseMs: 4_800
  }

  for (const theme of ["dark", "light"] as const) {
    for (const columns of [80, 200]) {
      it(`has its colours and fits ${columns} columns, ${theme}`, async ({ skip }) => {
        if (typeof browser === "string") return skip(browser)
        const screen = makeScreen(columns, 12)
        const lines = dashboard(state, { columns, rows: 12 }, paintOf(true))
        await screen.write(lines.join("\r\n"))
        const page = await browser.newPage({ viewport: { width: Math.ceil(columns * 8.4), height: 216 } })
        await page.setContent(`<body style="margin:0">${svgOf(screen, theme)}</body>`)
        await photograph(page, `dashboard-${columns}-${theme}`)
        assert.isAtMost(await overflow(page), 0)
        const colours = await page.evaluate<number>(
          "new Set([...document.querySelectorAll('text')].map((text) => text.getAttribute('fill'))).size"
        )
        assert.strictEqual(colours, 5, "of text, bar, what is done, errors, warnings")
        await page.close()
      })
    }
  }
})
