import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { makeFolder, outcomeOf, start } from "./support.ts"

interface Message {
  readonly id?: unknown
  readonly result?: {
    readonly protocolVersion?: string
    readonly isError?: boolean
    readonly structuredContent?: unknown
    readonly content?: ReadonlyArray<{ readonly text: string }>
    readonly tools?: ReadonlyArray<{ readonly name: string; readonly outputSchema?: unknown }>
  }
  readonly error?: { readonly code: number }
}

const initialize = (protocolVersion: string) =>
  JSON.stringify({
    jsonrpc: "2.0",
    id: "start",
    method: "initialize",
    params: { protocolVersion, capabilities: {}, clientInfo: { name: "t", version: "1" } }
  })
const initialized = '{"jsonrpc":"2.0","method":"notifications/initialized"}'
const call = (id: number, name: string, args: object) =>
  JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params: { name, arguments: args } })

/** Sends text, ends the input, and gives the messages that came back, with the exit code. */
const converse = async (folder: string, text: string, args: ReadonlyArray<string> = []) => {
  const child = start(folder, ["mcp", "--db", "test.duckdb", ...args])
  child.stdin?.end(text)
  const { code, stderr, stdout } = await outcomeOf(child)
  const messages: ReadonlyArray<Message> = stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))
  return { code, stderr, messages, of: (id: unknown) => messages.find((message) => message.id === id) }
}

describe("over standard input and output", () => {
  for (const revision of ["2025-03-26", "2025-06-18", "2025-11-25"]) {
    it(`revision ${revision} is spoken, and the end of the input is a good end`, async () => {
      const entities = { patients: [{ id: "p1" }] }
      const { code, of, stderr } = await converse(
        makeFolder(),
        [
          initialize(revision),
          initialized,
          call(1, "save_cohort", { name: "A", entities }),
          '{"jsonrpc":"2.0","id":2,"method":"tools/list"}',
          ""
        ].join("\n")
      )
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.strictEqual(of("start")?.result?.protocolVersion, revision)
      // Everything stands in the text: the oldest revision has nothing else.
      assert.match(
        of(1)?.result?.content?.[0]?.text ?? "",
        /^Created this cohort: 1 entity \(1 patient\) \(revision 1\)\.\n<(data-\w+)> .*\n"A"\n<\/\1>$/
      )
      assert.strictEqual(of(1)?.result?.structuredContent !== undefined, revision !== "2025-03-26")
      assert.isTrue(of(2)?.result?.tools?.some(({ name }) => name === "save_cohort"))
    })
  }

  it("lines that are no messages are answered and spoil nothing", async () => {
    const { code, messages, of } = await converse(
      makeFolder(),
      [
        "",
        "garbage",
        "42",
        '"text"',
        "[]",
        `{"a":`,
        "{}",
        '{"jsonrpc":"2.0","id":9,"method":7}',
        initialize("2025-11-25"),
        initialized,
        "\u0000\u0001",
        call(1, "list_cohorts", {}),
        call(2, "no_such_tool", {})
      ].join("\n")
    )
    assert.strictEqual(code, 0)
    const codes = messages.filter(({ id }) => id === null).map(({ error }) => error?.code)
    assert.deepStrictEqual(
      codes.toSorted(),
      [-32600, -32600, -32600, -32600, -32600, -32700, -32700, -32700].toSorted()
    )
    assert.deepStrictEqual(of(1)?.result?.structuredContent !== undefined, true)
    assert.strictEqual(of(2)?.error?.code, -32602)
  })

  it("calls that come together are all answered, reads and writes", async () => {
    const entities = { patients: [{ id: "p1" }] }
    const calls = Array.from({ length: 12 }, (_, at) =>
      at % 3 === 0 ? call(at, "save_cohort", { name: `C${at}`, entities }) : call(at, "list_cohorts", {})
    )
    const { messages, of } = await converse(makeFolder(), [initialize("2025-11-25"), initialized, ...calls].join("\n"))
    assert.strictEqual(messages.filter(({ result }) => result?.isError !== true).length, 13)
    assert.deepStrictEqual(
      Array.from({ length: 12 }, (_, at) => of(at)?.result?.isError ?? false),
      Array.from({ length: 12 }, () => false)
    )
  })

  it("without the flags there are no writing tools, no SQL and no paths", async () => {
    const ask = [initialize("2025-11-25"), initialized, '{"jsonrpc":"2.0","id":2,"method":"tools/list"}'].join("\n")
    const names = async (...args: ReadonlyArray<string>) =>
      (await converse(makeFolder(), ask, args)).of(2)?.result?.tools?.map(({ name }) => name) ?? []
    assert.deepStrictEqual(await names("--read-only"), [
      "list_cohorts",
      "load_cohort",
      "get_cohort_summary",
      "describe_tables",
      "export_cohort"
    ])
    assert.notInclude(await names(), "query_cohort")
    const folder = makeFolder()
    const path = join(folder, "x.json")
    const { of } = await converse(
      folder,
      [initialize("2025-11-25"), initialized, call(1, "import_cohort", { path })].join("\n")
    )
    assert.match(of(1)?.result?.content?.[0]?.text ?? "", /Expected no excess property\n {2}at \["path"\]/)
  })

  it("the older names take the arguments that HealthSim's servers took", async () => {
    const folder = makeFolder()
    const patients = [{ id: "p1", weight: 1.5 }]
    const { code, of } = await converse(
      folder,
      [
        initialize("2025-11-25"),
        initialized,
        call(1, "healthsim_add_entities", {
          params: { cohort_name: "Old", entities: { patients }, description: null, allow_reference_entities: true }
        }),
        ""
      ].join("\n"),
      ["--old-names"]
    )
    assert.strictEqual(code, 0)
    assert.strictEqual(
      of(1)?.result?.content?.[0]?.text,
      'Added 1 entity to cohort "Old". It has 1 entity (1 patient) (revision 1).'
    )
    const calls = [
      call(1, "healthsim_list_cohorts", { params: { tag: null, search: "old", limit: 50 } }),
      call(2, "healthsim_load_cohort", { name_or_id: "Old" }),
      call(3, "healthsim_get_cohort_summary", { cohort_id_or_name: "Old", samples_per_type: 1 }),
      call(4, "healthsim_query", { sql: "SELECT count(*) FROM patients" }),
      call(5, "healthsim_tables", {}),
      call(6, "list_scenarios", {}),
      call(7, "load_scenario", { scenario_id: "Old", include_entities: false }),
      call(8, "list_saved_cohorts", {}),
      call(9, "healthsim_delete_cohort", { params: { name_or_id: "Old", confirm: false } }),
      call(10, "save_scenario", { name: "Old", entities: {} }),
      call(11, "delete_scenario", {})
    ]
    const second = await converse(folder, [initialize("2025-11-25"), initialized, ...calls].join("\n"), [
      "--old-names",
      "--allow-query"
    ])
    const errors = calls.map((_, at) => second.of(at + 1)?.result?.isError ?? false)
    assert.deepStrictEqual(errors, [...Array.from({ length: 8 }, () => false), true, true, true])
    assert.include(second.of(2)?.result?.content?.[0]?.text, 'patient /entities/patients/0 {"id":"p1","weight":1.5}')
    const third = await converse(
      folder,
      [
        initialize("2025-11-25"),
        initialized,
        call(1, "healthsim_save_cohort", { params: { name: "New", entities: { patients } } }),
        call(2, "healthsim_delete_cohort", { params: { name_or_id: "Old", confirm: true } })
      ].join("\n"),
      ["--old-names"]
    )
    assert.deepStrictEqual(
      [1, 2].map((id) => third.of(id)?.result?.isError ?? false),
      [false, false]
    )
  })
})
