import { spawnSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as fc from "fast-check"
import { assert, describe, inject, it } from "vitest"
import { barChart, curveChart } from "../bench/Charts.ts"
import { compactOf, fidelityOf, isSameValue } from "../bench/Comparison.ts"
import {
  writeBytes,
  writeCohort,
  writeDeep,
  writeFiles,
  writeForeign,
  writeShapes,
  writeWide
} from "../bench/Inputs.ts"
import { byWatching, limitOf } from "../bench/Limit.ts"
import { escapeMarkdown, htmlPage, markdownSection, withSection } from "../bench/Page.ts"
import { costTable, printed, type Report } from "../bench/Report.ts"
import { isFailure, runMeasured, runRounds } from "../bench/Runner.ts"
import { median, powerFit, ratioOfRounds, withoutBase } from "../bench/Statistics.ts"
import { traps } from "../bench/Traps.ts"

describe("statistics", () => {
  it("take the middle number, or the mean of the two in the middle", () => {
    assert.strictEqual(median([9, 1, 5]), 5)
    assert.strictEqual(median([4, 1, 3, 100]), 3.5)
    assert.isNaN(median([]))
  })

  it("compare within rounds, so that a slow round does not count", () => {
    assert.strictEqual(ratioOfRounds([2, 20, 2], [1, 10, 1]), 2)
    assert.strictEqual(ratioOfRounds([2, 3, 8], [1, 1]), 2.5)
  })

  it("find the power and the factor of any curve that is one", () => {
    fc.assert(
      fc.property(
        fc.double({ min: -2, max: 3, noNaN: true }),
        fc.double({ min: 0.01, max: 100, noNaN: true }),
        (slope, factor) => {
          const fit = powerFit([1, 10, 300, 4000].map((x) => ({ x, y: factor * x ** slope })))
          assert.closeTo(fit?.slope ?? Number.NaN, slope, 1e-9)
          assert.closeTo((fit?.factor ?? Number.NaN) / factor, 1, 1e-9)
          assert.closeTo(fit?.deviation ?? Number.NaN, 1, 1e-9)
        }
      )
    )
  })

  it("say how far the worst point is from the line, and fit nothing through one place", () => {
    const fit = powerFit([
      { x: 1, y: 1 },
      { x: 1, y: 4 },
      { x: 4, y: 2 }
    ])
    assert.closeTo(fit?.deviation ?? 0, 2, 1e-9)
    assert.isUndefined(
      powerFit([
        { x: 5, y: 1 },
        { x: 5, y: 2 }
      ])
    )
    assert.isUndefined(powerFit([{ x: 5, y: 1 }]))
  })

  it("leave out points that are hardly more than the base", () => {
    const points = [
      { x: 1, y: 1.4 },
      { x: 2, y: 3 }
    ]
    assert.deepStrictEqual(withoutBase(points, 1), [{ x: 2, y: 2 }])
  })
})

describe("fidelity", () => {
  const cases: ReadonlyArray<readonly [source: string, returned: string, fidelity: string]> = [
    ['{"a": [1, 2]}', '{"a":[1,2]}', "exact"],
    ['{"a":"\\u00e9\\/"}', '{"a":"é/"}', "exact"],
    ['{"a":NaN}', ' {"a" : NaN}\n', "exact"],
    ['\uFEFF{"a":1}', '{"a":1}', "exact"],
    ['{"a":425.00}', '{"a":425.0}', "equal"],
    ['{"a":1,"b":2}', '{"b":2,"a":1}', "equal"],
    ['{"a":1,"a":2}', '{"a":2}', "equal"],
    ['{"a":1e400}', '{"a":Infinity}', "equal"],
    ['{"a":1}', '{"a":"1"}', "lost"],
    ['{"a":null}', "{}", "lost"],
    ["{}", '{"a":null}', "lost"],
    ['{"a":{}}', '{"a":[]}', "lost"],
    ['{"a":[1,2]}', '{"a":[2,1]}', "lost"],
    ['{"a":" x"}', '{"a":"x"}', "lost"],
    ['{"__proto__":1}', "{}", "lost"],
    ['{"a":1}', "no JSON", "lost"]
  ]
  for (const [source, returned, fidelity] of cases) {
    it(`of ${JSON.stringify(returned)} to ${JSON.stringify(source)} is ${fidelity}`, () => {
      assert.strictEqual(fidelityOf(source, [returned]), fidelity)
    })
  }

  it("is that of the best of several texts, and none is a loss", () => {
    assert.strictEqual(fidelityOf('{"a":1}', ["{}", '{"a":1.0}']), "equal")
    assert.strictEqual(fidelityOf('{"a":1}', []), "lost")
  })

  it("of what JSON.stringify wrote of any value, indented or not, is exact", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(0, 2), (value, indent) => {
        const text = JSON.stringify(value)
        assert.strictEqual(compactOf(JSON.stringify(value, null, indent)), text)
        assert.isTrue(isSameValue(value, structuredClone(value)))
        assert.strictEqual(fidelityOf(text, [JSON.stringify(value, null, indent)]), "exact")
      })
    )
  })

  it("is measured with traps of distinct names, each valid but for the number words of Python", () => {
    assert.isAbove(traps.length, 40)
    assert.strictEqual(new Set(traps.map(({ name }) => name)).size, traps.length)
    const invalid = traps.filter(({ text }) => {
      try {
        JSON.parse(text)
        return false
      } catch {
        return true
      }
    })
    assert.deepStrictEqual(
      invalid.map(({ name }) => name),
      ["python-nan"]
    )
  })
})

const report: Report = {
  suite: "import",
  title: "A <title>",
  about: "about & more",
  command: "pnpm bench import",
  machine: { cores: 2, model: "A|B", memory: 8e9, node: "v24", system: "Linux", load: 0.5, day: "2026-01-02" },
  rounds: 5,
  entities: 10,
  missing: ["dlt: <none>"],
  tables: [{ title: "Costs", columns: ["job", "s"], rows: [["<script>|x", "1.00"]] }],
  bars: [{ title: "Wall", unit: "s", bars: [{ label: "<b>", value: 2, low: 1, high: 3 }] }],
  curves: [
    {
      title: "Grow",
      x: "n",
      y: "s",
      lines: [
        {
          label: "<i>",
          points: [
            { x: 10, y: 1 },
            { x: 0, y: 1 }
          ]
        }
      ]
    }
  ],
  samples: {},
  results: [{ target: "small", value: 3, must: 2, stretch: 1, unit: "x" }]
}

describe("pages", () => {
  it("escape everything that comes from outside, in HTML and in Markdown", () => {
    const html = htmlPage([report])
    for (const raw of ["<script>", "<b>", "<i>", "<none>", "A <title>"]) assert.notInclude(html, raw)
    assert.include(html, "&lt;script&gt;|x")
    assert.include(html, "about &amp; more")
    assert.strictEqual(escapeMarkdown("a|b <c>\nd\\"), "a\\|b &lt;c> d\\\\")
  })

  it("need nothing from elsewhere", () => {
    assert.notMatch(htmlPage([report]), /(src|href)=|@import|url\(|<script/)
  })

  it("say what was measured, on what, how to repeat it, what is missing and what was missed", () => {
    const markdown = markdownSection(report)
    for (const part of [
      "2026-01-02",
      "`pnpm bench import`",
      "2 cores (A\\|B)",
      "Missing: dlt",
      "| small | 3.00 |",
      "MISSED"
    ]) {
      assert.include(markdown, part)
    }
  })

  it("replace what stands between the marks of a suite, again and again", () => {
    const page = "# T\n<!-- bench:a -->\nold\n<!-- /bench:a -->\nrest"
    const once = withSection(page, "a", "new")
    assert.strictEqual(once, "# T\n<!-- bench:a -->\n\nnew\n\n<!-- /bench:a -->\nrest")
    assert.strictEqual(withSection(once, "a", "new"), once)
    assert.throws(() => withSection(page, "b", "new"), /bench:b/)
  })

  it("have marks for every suite in docs/benchmarks.md", () => {
    const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "benchmarks.md"), "utf8")
    for (const suite of ["import", "peers", "fidelity", "growth", "memory"]) {
      assert.include(withSection(page, suite, "found"), "found")
    }
  })

  it("draw bars in proportion, and nothing where a logarithm has no value", () => {
    const chart = barChart({
      ...report.bars[0]!,
      bars: [1, 2].map((value) => ({ label: "x", value, low: value, high: value }))
    })
    assert.include(chart, 'width="230.0"')
    assert.include(chart, 'width="460.0"')
    assert.notMatch(curveChart(report.curves[0]!), /NaN|Infinity/)
    assert.strictEqual(curveChart({ title: "", x: "", y: "", lines: [] }), "")
  })

  it("print tables with numbers to the right and say which job failed", () => {
    const samples = new Map([["a", [{ seconds: 1, cpuSeconds: 2, peakBytes: 3e6 }]]])
    const lines = printed(costTable("T", { samples, failures: new Map([["longer", "why"]]) })).split("\n")
    assert.deepStrictEqual(lines.slice(3), [
      "job     wall s     min     max   CPU s    peak",
      "a         1.00    1.00    1.00    2.00  3.0 MB",
      "longer  failed  failed  failed  failed  failed"
    ])
  })
})

describe("measured commands", () => {
  const cwd = import.meta.dirname
  const node = (script: string): ReadonlyArray<string> => [process.execPath, "-e", script]

  it("count memory and processor time of the process and of its children", async () => {
    const child = "const b = Buffer.alloc(150e6, 1); const t = Date.now(); while (Date.now() - t < 400) b[0]++"
    const script = `require("node:child_process").spawnSync(process.execPath, ["-e", ${JSON.stringify(child)}])`
    const outcome = await runMeasured(node(script), { cwd })
    assert.isFalse(isFailure(outcome))
    if (isFailure(outcome)) return
    assert.isAbove(outcome.seconds, 0.4)
    assert.isAbove(outcome.cpuSeconds, 0)
    if (process.platform === "linux") assert.isAbove(outcome.peakBytes, 150e6)
  })

  it("fail with the exit code and what was said last", async () => {
    const outcome = await runMeasured(node('console.error("no luck"); process.exit(3)'), { cwd })
    assert.deepStrictEqual(outcome, { failure: "ended with 3: no luck", outOfMemory: false })
    assert.isTrue(isFailure(await runMeasured(["no-such-program"], { cwd })))
  })

  it("are ended when they take too long", async () => {
    const outcome = await runMeasured(node("setInterval(() => {}, 1000)"), { cwd, timeoutSeconds: 1 })
    assert.deepStrictEqual(outcome, { failure: "not done after 1 s", outOfMemory: false })
  })

  it("are ended when they take more memory than they were given", { skip: process.platform !== "linux" }, async () => {
    const hog = node("const all = []; for (;;) all.push(Buffer.alloc(20e6, 1))")
    for (const limit of [limitOf(300e6), byWatching(300e6)]) {
      const outcome = await runMeasured(hog, { cwd, ...limit.options, timeoutSeconds: 50 })
      limit.release()
      assert.deepStrictEqual(outcome, { failure: "ended at the memory limit", outOfMemory: true }, limit.how)
    }
  })

  it("take turns, and one that fails is not tried again", async () => {
    const order: Array<string> = []
    const job = (name: string, script: string) => ({
      name,
      prepare: () => void order.push(name),
      commands: [node(script)]
    })
    const { failures, samples } = await runRounds([job("a", "0"), job("bad", "process.exit(1)"), job("b", "0")], 2, cwd)
    assert.deepStrictEqual(order, ["a", "bad", "b", "a", "b"])
    assert.deepStrictEqual([...failures.keys()], ["bad"])
    assert.deepStrictEqual(
      [...samples].map(([name, list]) => [name, list.length]),
      [
        ["a", 2],
        ["b", 2]
      ]
    )
  })
})

const withFolder = (use: (folder: string) => void): void => {
  const folder = mkdtempSync(join(tmpdir(), "mallard-bench-test-"))
  try {
    use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const onlyFileOf = (folder: string): string => {
  const [name = "", ...others] = readdirSync(folder)
  assert.deepStrictEqual(others, [])
  return readFileSync(join(folder, name), "utf8")
}

const patientsOf = (text: string): ReadonlyArray<Readonly<Record<string, unknown>>> => JSON.parse(text).entities.patient

describe("generated inputs", () => {
  it("have the size, the width and the number of shapes that were asked for", () => {
    withFolder((folder) => {
      writeBytes(folder, 100_000)
      const text = onlyFileOf(folder)
      assert.approximately(text.length, 100_000, 1000)
      assert.isAbove(patientsOf(text).length, 200)
    })
    withFolder((folder) => {
      writeWide(folder, 3, 500)
      assert.deepStrictEqual(
        patientsOf(onlyFileOf(folder)).map((one) => Object.keys(one).length),
        [500, 500, 500]
      )
    })
    withFolder((folder) => {
      writeShapes(folder, 300, 100)
      const patients = patientsOf(onlyFileOf(folder))
      assert.strictEqual(patients.length, 300)
      assert.strictEqual(new Set(patients.map((one) => Object.keys(one).join())).size, 100)
    })
  })

  it("are files of their own, as deep as asked, or of no known form", () => {
    withFolder((folder) => {
      writeFiles(folder, 7)
      assert.strictEqual(readdirSync(folder).length, 7)
    })
    withFolder((folder) => {
      writeDeep(folder, 100)
      assert.strictEqual(onlyFileOf(folder).match(/\{"in":\[/g)?.length, 50)
    })
    withFolder((folder) => {
      writeForeign(folder, 50_000)
      assert.isAbove(JSON.parse(onlyFileOf(folder)).rows.length, 1000)
    })
  })

  it("tell the size of what was written", () => {
    withFolder((folder) => {
      const file = join(folder, "a.json")
      assert.strictEqual(
        writeCohort(file, "é", (at) => (at < 2 ? "{}" : undefined)),
        statSync(file).size
      )
    })
  })
})

describe("the generator and RAW", () => {
  const shared = inject("shared")

  it("are those that lie beside the repository", { skip: shared === undefined }, () => {
    withFolder((folder) => {
      const scripts = [join(import.meta.dirname, "..", "bench"), join(shared ?? "", "bench")]
      const texts = scripts.map((script, at) => {
        const out = join(folder, String(at))
        spawnSync(process.execPath, [join(script, "generate.mjs"), out, "--files", "1", "--entities", "50"])
        return onlyFileOf(out)
      })
      assert.isAbove(texts[0]?.length ?? 0, 1000)
      assert.isTrue(texts[0] === texts[1])
    })
  })
})
