import { CliOutput } from "effect/cli"
import * as fc from "fast-check"
import { stripVTControlCharacters } from "node:util"
import { assert, describe, it } from "vitest"
import {
  dashboard,
  type Problem,
  progressBar,
  progressLine,
  type ProgressState,
  SHOWN_PROBLEMS
} from "../src/Dashboard.ts"
import type { Paint } from "../src/Terminal.ts"
import { makeScreen } from "./screens.ts"

const plain: Paint = (_, text) => text
const coloured: Paint = (_, text) => `\u001b[31m${text}\u001b[0m`

const state: ProgressState = {
  phase: "reading",
  phases: ["finding", "copying", "reading", "verifying"],
  sources: 50,
  items: 10,
  bytes: 50_000_000,
  totalBytes: 200_000_000,
  entities: 120_000,
  done: 0,
  documents: 0,
  outcomes: { migrated: 7, unchanged: 1, skipped: 0, rejected: 2, failed: 0 },
  remarks: 3,
  problems: [
    { path: "old/bad.json", code: "unexpected-end", more: 0, isError: true },
    { path: "old/odd.json", code: "duplicate-id", more: 2, isError: false }
  ],
  isStopping: false,
  elapsedMs: 3000,
  phaseMs: 1000
}

const count = fc.oneof(fc.nat(), fc.constantFrom(0, Number.MAX_SAFE_INTEGER))

/** Names with whatever file systems allow: wide, joined and combining characters, control characters, half of a pair. */
const anyName = fc.oneof(
  fc.string({ unit: "binary", maxLength: 300 }),
  fc.string({
    unit: fc.constantFrom("ファ", "日", "👨‍👩‍👧", "🇩🇪", "e\u0301", "❤️", "1️⃣", "\ud800", "\u200d", "/", "한"),
    maxLength: 300
  }),
  fc.string({
    unit: fc.constantFrom("\u001b[2J", "\u001b[31m", "\n", "\r", "\u0000", "\t", "\u009b", "\u202e", "a"),
    maxLength: 60
  })
)

const anyProblem: fc.Arbitrary<Problem> = fc.record({
  path: anyName,
  code: fc.oneof(fc.constant("unexpected-end"), anyName),
  more: count,
  isError: fc.boolean()
})

const phase = fc.constantFrom("finding", "copying", "reading", "verifying", "checking", "restoring", "undoing")

const anyState: fc.Arbitrary<ProgressState> = fc.record({
  phase,
  phases: fc.array(phase),
  sources: count,
  items: count,
  bytes: count,
  totalBytes: count,
  entities: count,
  done: count,
  documents: count,
  outcomes: fc.record({ migrated: count, unchanged: count, skipped: count, rejected: count, failed: count }),
  remarks: count,
  problems: fc.array(anyProblem, { maxLength: 8 }),
  isStopping: fc.boolean(),
  elapsedMs: fc.double({ min: 0, max: 1e9, noNaN: true }),
  phaseMs: fc.double({ min: 0, max: 1e9, noNaN: true })
})

const anyRoom = fc.record({ columns: fc.integer({ min: 1, max: 220 }), rows: fc.integer({ min: 1, max: 60 }) })

describe("dashboard", () => {
  it("shows phases, bar, what is left, speeds, errors, warnings and the latest problems", () => {
    assert.deepStrictEqual(dashboard(state, { columns: 80, rows: 24 }, plain), [
      " ✓ found  ✓ copied  ▸ reading  · verifying  3.0 s",
      " █████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░   25%  3.0 s left",
      " 10 of 50 sources  120,000 entities/s  50.0 MB/s  50.0 MB of 200 MB",
      " 2 errors  3 warnings  2 rejected  7 migrated  1 unchanged",
      " latest problems",
      " ✗ old/bad.json  unexpected-end",
      " ! old/odd.json  duplicate-id +2"
    ])
    const wide = dashboard(state, { columns: 200, rows: 24 }, plain)
    assert.strictEqual(wide[2], " 10 of 50 sources  120,000 entities/s  50.0 MB/s  50.0 MB of 200 MB  120,000 entities")
  })

  it("tells of a verification how many documents are proven", () => {
    const verifying: ProgressState = { ...state, phase: "verifying", phases: ["verifying"], done: 40, documents: 160 }
    const lines = dashboard({ ...verifying, entities: 0, problems: [] }, { columns: 80, rows: 24 }, plain)
    assert.strictEqual(lines[2], " 40 of 160 documents  40 documents/s")
    assert.lengthOf(lines, 4)
  })

  it("tells of copies how many bytes are compared or restored, and of an undoing how many cohorts", () => {
    const room = { columns: 80, rows: 24 }
    const restoring: ProgressState = { ...state, phase: "restoring", phases: ["restoring"], problems: [] }
    assert.deepStrictEqual(dashboard(restoring, room, plain).slice(2), [" 50 files  50.0 MB/s  50.0 MB of 200 MB"])
    const undoing: ProgressState = { ...restoring, phase: "undoing", phases: ["undoing"], done: 7.5, documents: 15 }
    assert.deepStrictEqual(dashboard(undoing, room, plain).slice(2), [" 7 of 15 cohorts"])
    assert.strictEqual(progressLine(undoing), "undoing 50%, 7/15 cohorts, 1.0 s left")
  })

  it("says what is left only once that can be told, and never that nothing is", () => {
    const at = (phaseMs: number, bytes: number) => progressLine({ ...state, phaseMs, bytes, totalBytes: 100 })
    assert.notInclude(at(1, 5), "left")
    assert.include(at(600, 99), "under 1 s left")
    assert.include(at(600, 5), "11 s left")
  })

  it("is one line where there is little room, and leaves problems out before anything else", () => {
    assert.deepStrictEqual(dashboard(state, { columns: 47, rows: 24 }, plain), [progressBar(state, 47)])
    assert.deepStrictEqual(dashboard(state, { columns: 200, rows: 7 }, plain), [progressBar(state, 200)])
    assert.lengthOf(dashboard({ ...state, problems: [] }, { columns: 80, rows: 8 }, plain), 4)
    assert.lengthOf(dashboard(state, { columns: 80, rows: 8 }, plain), 7)
  })

  it("keeps the end of a path that is too long", () => {
    const path = `${"deep/".repeat(50)}name.json`
    const [last] = dashboard(
      { ...state, problems: [{ path, code: "cut", more: 0, isError: true }] },
      { columns: 80, rows: 24 },
      plain
    ).slice(-1)
    assert.match(last ?? "", /^ ✗ ….*\/name\.json {2}cut$/)
    assert.isBelow(last?.length ?? 0, 80)
  })

  it("leaves out a line that nothing fits into", () => {
    const undoing = { ...state, phase: "undoing" as const, done: Number.MAX_SAFE_INTEGER, problems: [] }
    const lines = dashboard({ ...undoing, documents: Number.MAX_SAFE_INTEGER }, { columns: 48, rows: 24 }, plain)
    assert.lengthOf(lines, 2)
    assert.notInclude(lines, "")
  })

  it("never has a line as wide as the terminal nor more lines than rows, and no control characters but its own styles", () => {
    fc.assert(
      fc.property(anyState, anyRoom, fc.constantFrom(plain, coloured), (any, room, paint) => {
        const lines = dashboard(any, room, paint)
        assert.isAbove(lines.length, 0)
        assert.isBelow(lines.length, Math.max(2, room.rows))
        assert.isAtMost(lines.filter((line) => /^ [✗!]/.test(stripVTControlCharacters(line))).length, SHOWN_PROBLEMS)
        for (const line of lines) {
          assert.isBelow(CliOutput.displayWidth(line), Math.max(2, room.columns), JSON.stringify(line))
          assert.notMatch(line.replaceAll("\u001b[31m", "").replaceAll("\u001b[0m", ""), /[\p{Cc}\u2028\u2029\u202e]/u)
        }
        assert.deepStrictEqual(
          lines.map(stripVTControlCharacters),
          dashboard(any, room, plain),
          "colours change no text"
        )
      }),
      { numRuns: 500 }
    )
  })

  it("is not wrapped by a terminal, whatever is in the names", async () => {
    await fc.assert(
      fc.asyncProperty(anyState, fc.integer({ min: 20, max: 120 }), async (any, columns) => {
        const screen = makeScreen(columns, 30)
        const lines = dashboard(any, { columns, rows: 30 }, coloured)
        await screen.write(lines.join("\r\n"))
        assert.lengthOf(screen.lines(), lines.length)
        assert.strictEqual(screen.wrapped(0), 0)
      }),
      { numRuns: 150 }
    )
  })
})

describe("progress in one line", () => {
  it("shows phase, share, speed and what is left, within the line", () => {
    assert.strictEqual(
      progressBar(state, 200),
      "reading █████░░░░░░░░░░░░░░░  25%  10/50 sources  3.0 s left  50.0 MB/s  50.0 MB of 200 MB"
    )
    assert.strictEqual(progressLine(state), "reading 25%, 10/50 sources, 3.0 s left, 50.0 MB/s, 50.0 MB of 200 MB")
    assert.strictEqual(progressBar(state, 50), "reading █████░░░░░░░░░░░░░░░  25%  10/50 sources")
    assert.isBelow(progressBar(state, 20).length, 20)
    assert.include(progressBar({ ...state, totalBytes: 0, bytes: 0 }, 200), "  0%")
  })
})
