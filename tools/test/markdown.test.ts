import { assert, describe, it } from "vitest"
import { anchorsOf, commandsOf, differenceOf, fencesOf, localLinksOf } from "../lib/markdown.ts"

const page = [
  "# Moving *data*, twice",
  "See [below](#a-b) and [code](./x.md#y), not [the web](https://example.org) nor `[this](no.md)`.",
  "```ts run",
  'console.log("[no](link.md)")',
  "```",
  "```text",
  "[no](link.md)",
  "```",
  "## A & b",
  "## A b"
].join("\n")

describe("pages", () => {
  it("have fences with what stands after their marks", () => {
    assert.deepStrictEqual(fencesOf(page), [
      { info: "ts run", content: 'console.log("[no](link.md)")', line: 3 },
      { info: "text", content: "[no](link.md)", line: 6 }
    ])
  })

  it("keep shorter marks inside a fence as content", () => {
    assert.deepStrictEqual(fencesOf("````md\n```ts\n```\n````"), [{ info: "md", content: "```ts\n```", line: 1 }])
  })

  it("have local links outside of fences and code", () => {
    assert.deepStrictEqual(localLinksOf(page), [
      { target: "#a-b", line: 2 },
      { target: "./x.md#y", line: 2 }
    ])
  })

  it("have an anchor for each heading", () => {
    assert.deepStrictEqual([...anchorsOf(page)], ["moving-data-twice", "a--b", "a-b"])
  })
})

describe("sessions", () => {
  it("give each command the lines below it", () => {
    assert.deepStrictEqual(commandsOf("$ mallard list\none\n\ntwo\n$ echo $?\n0"), [
      { command: "mallard list", expected: ["one", "", "two"] },
      { command: "echo $?", expected: ["0"] }
    ])
  })

  it("continue a command after a backslash", () => {
    assert.deepStrictEqual(commandsOf("$ mallard \\\n  list\none"), [
      { command: "mallard \\\n  list", expected: ["one"] }
    ])
  })

  it("refuse output that no command printed", () => {
    assert.throws(() => commandsOf("one\n$ mallard list"), /starts with/)
  })
})

describe("what is shown", () => {
  const cases: ReadonlyArray<readonly [shown: string, printed: string, agrees: boolean]> = [
    ["a", "a\n", true],
    ["a", "b", false],
    ["a", "a\nb", false],
    ["a\nb", "a", false],
    ["", "", true],
    ["", "a", false],
    ["a (b) [c] *", "a (b) [c] *", true],
    ["took <time> ms", "took 12.5 ms", true],
    ["took … ms", "took 12.5 s", false],
    ["took <time>\nx", "took 1\n2\nx", false],
    ["a < b > c", "a 1 c", false],
    ["a\n…\nz", "a\nb\nc\nz", true],
    ["a\n…\nz", "a\nz", true],
    ["a\n…\nz", "a\nb", false],
    ["  …", "", true]
  ]
  for (const [shown, printed, agrees] of cases) {
    it(`${JSON.stringify(shown)} ${agrees ? "agrees" : "does not agree"} with ${JSON.stringify(printed)}`, () => {
      assert.strictEqual(differenceOf(shown.split("\n"), printed) === undefined, agrees)
    })
  }
})
