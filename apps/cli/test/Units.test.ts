import { assert, describe, it } from "vitest"
import { argumentsOf, invocationOf } from "../src/Arguments.ts"
import { shellCommand, shellQuoted } from "../src/Hints.ts"
import { pathBelow } from "@mallard/duckdb-store/Disk"
import { type ItemReport, MigrationFailed, noVerification, type RunReport, totalsOf } from "@mallard/migrator"
import { Effect } from "effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { lackIn } from "../src/commands/Verify.ts"
import { describeFailure } from "../src/Failure.ts"
import { safeName } from "../src/Outputs.ts"
import { readInputText } from "../src/InputText.ts"
import { renderRun } from "../src/RenderRun.ts"
import { parseSize } from "../src/Size.ts"
import { OutputFailed, paintOf, wantsColour } from "../src/Terminal.ts"
import { byKind, duration, grouped, shownPath, size } from "../src/Text.ts"
import { makeFolder } from "./support.ts"

describe("parseSize", () => {
  it("takes numbers with and without a unit, and nothing else", () => {
    const sizes = { "64MiB": 64 * 1024 ** 2, "1.5 GB": 1_500_000_000, "1000": 1000, "1k": 1024, "2kb": 2000 }
    for (const [text, bytes] of Object.entries(sizes)) assert.strictEqual(parseSize(text), bytes)
    for (const text of ["", "MiB", "-1", "1 parsec", "0", "1e3", "99999999999999999999"]) {
      assert.isUndefined(parseSize(text), text)
    }
  })
})

describe("readInputText", () => {
  it("takes UTF-8 and what has a byte order mark, and says why it cannot read others", async () => {
    const folder = makeFolder()
    const text = '{"ranges":"wärn"}'
    const utf16 = Buffer.from(`\ufeff${text}`, "utf16le")
    const read = (bytes: Uint8Array) => {
      writeFileSync(join(folder, "rules.json"), bytes)
      return Effect.runPromise(readInputText(join(folder, "rules.json"), "rules"))
    }
    for (const bytes of [Buffer.from(text), Buffer.from(`\ufeff${text}`), utf16]) {
      assert.strictEqual(await read(bytes), text)
    }
    const whyNot = (path: string) => Effect.runPromise(Effect.flip(readInputText(path, "rules")))
    for (const [bytes, why] of [
      [utf16.subarray(2), "it has bytes of zero, as UTF-16 without a byte order mark does."],
      [utf16.subarray(0, -1), "it is not UTF-16, as its byte order mark says (at byte"],
      [Buffer.from(text, "latin1"), "it is not UTF-8 (at byte 12)."]
    ] as const) {
      writeFileSync(join(folder, "rules.json"), bytes)
      assert.include((await whyNot(join(folder, "rules.json"))).what, `rules.json: ${why}`)
    }
    assert.include((await whyNot(join(folder, "none.json"))).what, "none.json: there is no such file.")
    assert.include((await whyNot(folder)).what, ": it is a folder.")
  })
})

describe("renderRun", () => {
  it("says of what lies beyond a bound which one to raise", () => {
    const item = (code: string): ItemReport => ({
      path: "/a.json",
      outcome: "rejected",
      format: null,
      cohort: null,
      cohort_id: null,
      entities: {},
      digest: null,
      source_sha256: null,
      bytes: 1,
      remarks: [{ code, pointer: null, line: null, column: null, message: "" }],
      remark_count: 1
    })
    const nextOf = (...codes: ReadonlyArray<string>): string => {
      const items = codes.map(item)
      const report: RunReport = {
        run: "r",
        outcome: "done-with-rejects",
        dry_run: false,
        database: "/d",
        items,
        ignored: [],
        totals: totalsOf(items.length, items),
        verification: noVerification,
        timings: { find: 0, load: 0, verify: 0, total: 0 }
      }
      const view = { paint: paintOf(false), cwd: "/", verbose: false, quiet: false }
      return renderRun(report, { ...view, hint: (words) => `mallard ${words}` })
        .join("\n")
        .replace(/^[^]*Next: +/, "")
    }
    const raise = "raise --max-file-size, or leave out what is beyond, then run again"
    assert.strictEqual(nextOf("file-too-large", "file-too-large"), raise)
    assert.match(nextOf("unexpected-byte"), /^mend the files marked ✗, [^\n]+$/)
    assert.match(
      nextOf("too-deep", "file-too-large", "io"),
      /^raise --max-depth and --max-file-size, .+\n +mend the files/
    )
  })
})

describe("texts", () => {
  it("write numbers, sizes and times for people", () => {
    assert.strictEqual(grouped(1_234_567), "1,234,567")
    assert.strictEqual(grouped(999), "999")
    assert.deepEqual([0, 999, 1000, 15_249, 254_000_000].map(size), ["0 B", "999 B", "1.0 kB", "15.2 kB", "254 MB"])
    assert.deepEqual([40, 9_940, 61_000, 3_660_000].map(duration), ["0.0 s", "9.9 s", "1 min 1 s", "1 h 1 min"])
    assert.deepEqual([9_960, 59_700, 119_700, 3_599_900].map(duration), ["10 s", "1 min 0 s", "2 min 0 s", "1 h 0 min"])
    assert.strictEqual(byKind({ claim: 2, patient: 1500, x: 0 }), "1,500 patient, 2 claim")
  })

  it("show paths from where the user is, on one line", () => {
    assert.strictEqual(shownPath("/a/b/c.json", "/a/b"), "c.json")
    assert.strictEqual(shownPath("/a/bc.json", "/a/b"), "/a/bc.json")
    assert.strictEqual(shownPath("/a/x\ny.json", "/"), String.raw`a/x\u{a}y.json`)
  })

  it("quote words for a shell", () => {
    assert.strictEqual(shellQuoted("plain-1.json"), "plain-1.json")
    assert.strictEqual(shellQuoted("it's $HOME"), String.raw`'it'\''s $HOME'`)
    assert.strictEqual(shellQuoted("it's\u202e a\\b"), String.raw`$'it\'s\U0000202e a\\b'`)
    assert.strictEqual(shellCommand("export", ["a b"], " --db x"), "export 'a b' --db x")
    assert.strictEqual(shellCommand("export", ["-a"], " --db x"), "export --db x -- -a")
  })
})

describe("output that is not taken", () => {
  it("is told with what the operating system says, and what stays done", () => {
    const { code, lines } = describeFailure(new OutputFailed({ code: "ENOSPC", cause: undefined }), false, {
      hint: (words) => words,
      takesMemory: false
    })
    assert.strictEqual(code, 1)
    assert.strictEqual(lines[0], "Cannot write to standard output: there is no space left on the disk.")
  })
})

describe("names of files", () => {
  it("stay inside the folder", () => {
    assert.strictEqual(pathBelow("/out", "a/b.json"), "/out/a/b.json")
    assert.strictEqual(pathBelow("/out", "..b.json"), "/out/..b.json")
    for (const name of ["", ".", "..", "../x", "a/../../x", "/etc/x", "a\0b"])
      assert.isUndefined(pathBelow("/out", name), name)
  })

  it("are unique whatever the case, and short enough for any system", () => {
    const taken = new Set<string>()
    assert.deepEqual(
      ["a/b", "A_B", "a:b", "..", "", "nul", "é".repeat(300)].map((name) => safeName(name, taken)),
      ["a_b", "A_B-2", "a_b-3", "_", "_-2", "_nul", "é".repeat(75)]
    )
    assert.deepEqual(
      [safeName("c", taken, ".json"), safeName("C.json", taken), safeName("c", taken), safeName("C", taken, ".json")],
      ["c.json", "C.json-2", "c", "C-2.json"]
    )
  })
})

describe("a verification that fails", () => {
  it("for want of space or memory says so, and nothing against the database", () => {
    const lackOf = (message: string) =>
      lackIn(
        new MigrationFailed({ database: "/x.duckdb", cause: new Error("the driver", { cause: new Error(message) }) })
      )
    for (const message of ["IO Error: No space left on device", "IO Error: Could not write file: File too large"]) {
      assert.deepInclude(lackOf(message), {
        code: 1,
        next: ["Free some space there, or give it more memory with --memory."]
      })
    }
    assert.include(lackOf("Out of Memory Error: failed to pin")?.what, "needs more memory than DuckDB may have")
    assert.isUndefined(lackOf("IO Error: Corrupt database file"))
  })
})

describe("the command line", () => {
  it("loses the -- that a package manager hands on", () => {
    assert.deepEqual(argumentsOf(["migrate", "--", "x", "--db", "y"]), ["migrate", "x", "--db", "y"])
    assert.deepEqual(argumentsOf(["--", "list"]), ["list"])
    assert.deepEqual(argumentsOf(["export", "--", "--flag"]), ["export", "--", "--flag"])
    assert.deepEqual(argumentsOf(["help", "backup", "list"]), ["backup", "list", "--help"])
    assert.deepEqual(argumentsOf(["help"]), ["--help"])
    assert.deepEqual(argumentsOf(["migrate", "x", "--", "-y"]), ["migrate", "x", "--", "-y"])
    const isFile = (path: string): boolean => path === "-rf.json" || path === "-y"
    assert.deepEqual(argumentsOf(["migrate", "--", "-rf.json", "-y"], isFile), ["migrate", "./-rf.json", "-y"])
    assert.deepEqual(argumentsOf(["migrate", "-rf.json"], isFile), ["migrate", "-rf.json"])
  })

  it("may go without a value for --wait and --otlp", () => {
    assert.deepEqual(argumentsOf(["list", "--wait", "--otlp"]), ["list", "--wait=forever", "--otlp=environment"])
    assert.deepEqual(argumentsOf(["migrate", "--otlp", "in", "--wait", "5"]), [
      "migrate",
      "--otlp=environment",
      "in",
      "--wait",
      "5"
    ])
    const url = ["migrate", "--otlp", "http://localhost:4318", "--", "--otlp"]
    assert.deepEqual(argumentsOf(url), url)
  })

  it("is named as it was called", () => {
    assert.strictEqual(invocationOf({}), "mallard")
    assert.strictEqual(invocationOf({ npm_lifecycle_event: "test" }), "mallard")
    assert.strictEqual(
      invocationOf({ npm_lifecycle_event: "migrate", npm_execpath: "/usr/lib/pnpm.cjs" }),
      "pnpm mallard"
    )
  })
})

describe("colours", () => {
  it("follow NO_COLOR, then FORCE_COLOR, then the stream", () => {
    assert.isTrue(wantsColour({}, true))
    assert.isFalse(wantsColour({}, false))
    assert.isFalse(wantsColour({ TERM: "dumb" }, true))
    assert.isFalse(wantsColour({ NO_COLOR: "1", FORCE_COLOR: "1" }, true))
    assert.isTrue(wantsColour({ NO_COLOR: "", FORCE_COLOR: "1" }, false))
  })
})
