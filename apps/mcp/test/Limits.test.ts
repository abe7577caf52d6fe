import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { makeRoots } from "../src/index.ts"
import { type Assistant, connect, type Listening, makeFolder, serve } from "./support.ts"

/** Kinds and pointers of all pages, and how many entities each page had. */
const pages = async (assistant: Assistant, args: Record<string, unknown>) => {
  const sizes: Array<number> = []
  const pointers: Array<unknown> = []
  let cursor: unknown
  do {
    const page = await assistant.call("load_cohort", { ...args, ...(cursor === undefined ? {} : { cursor }) })
    const entities = page.structured["entities"]
    const list: ReadonlyArray<{ readonly pointer?: unknown }> = Array.isArray(entities) ? entities : []
    sizes.push(list.length)
    pointers.push(...list.map(({ pointer }) => pointer))
    cursor = page.structured["next_cursor"]
  } while (cursor !== undefined)
  return { sizes, pointers }
}

describe("a page", () => {
  it("has no more entities than fit, none is missing, and one that is too large is told by its size", async () => {
    const { to } = await serve(makeFolder())
    const assistant = await connect("current", to)
    const patients = [
      ...Array.from({ length: 6 }, (_, at) => ({ id: `p${at}`, note: "x".repeat(15_000) })),
      { id: "large", note: "y".repeat(90_000) }
    ]
    await assistant.call("save_cohort", { name: "A", entities: { patients } })
    const { pointers, sizes } = await pages(assistant, { name_or_id: "A", include_entities: true })
    assert.deepStrictEqual(sizes, [3, 4])
    assert.deepStrictEqual(
      pointers,
      patients.map((_, at) => `/entities/patients/${at}`)
    )
    const last = await assistant.call("load_cohort", { name_or_id: "A", kind: "patient", limit: 200 })
    assert.notInclude(last.text, "yyy")
    const shown = await assistant.call("export_cohort", { name_or_id: "A" })
    assert.isTrue(shown.isError)
    assert.match(shown.text, /too many to show.*load_cohort/)
  })

  it("whose cursor is not of this list, or whose kind is none, is refused", async () => {
    const { to } = await serve(makeFolder())
    const assistant = await connect("legacy", to)
    await assistant.call("save_cohort", { name: "A", entities: { patients: [{ id: "1" }, { id: "2" }] } })
    for (const args of [{ cursor: "x" }, { kind: "ghost" }, { limit: 201 }]) {
      assert.isTrue((await assistant.call("load_cohort", { name_or_id: "A", ...args })).isError)
    }
  })
})

describe("a call that comes to nothing", () => {
  it("is told with what the model can do about it", async () => {
    const { to } = await serve(makeFolder())
    const assistant = await connect("current", to)
    const textOf = async (name: string, args: Record<string, unknown>) => (await assistant.call(name, args)).text
    assert.include(await textOf("list_cohorts", {}), "0 cohorts, the latest saved first. save_cohort or import_cohort")
    await assistant.call("save_cohort", { name: "A", tags: ["x"], entities: { patients: [{ id: "1" }] } })
    assert.strictEqual(
      await textOf("list_cohorts", { tag: "y" }),
      "0 cohorts, the latest saved first. list_cohorts without search, tag and product shows all that there are."
    )
    assert.match(
      await textOf("list_cohorts", { page: 2 }),
      /no excess property\n {2}at \["page"\]\nIt takes search, tag, product, limit, cursor\.$/
    )
    assert.strictEqual(
      await textOf("query_cohort", { sql: "FROM patients", name_or_id: "B" }),
      "There is no cohort of that name or id. list_cohorts shows what there is."
    )
    assert.match(await textOf("query_cohort", { sql: "FROM patient" }), / describe_tables shows the tables/)
    assert.match(
      await textOf("query_cohort", { sql: "SELECT id, count(*) FROM patients" }),
      /GROUP BY ALL.*any_value\.$/
    )
  })
})

describe("a value that cannot be stored exactly", () => {
  it("is refused with its place, in which keys that may be values are left out", async () => {
    const { to } = await serve(makeFolder())
    const assistant = await connect("current", to)
    const patient = { id: "p", name: { "Jo Doe": 2 ** 60 } }
    const { isError, text } = await assistant.call("add_entities", {
      name_or_id: "A",
      entities: { patients: [patient] }
    })
    assert.isTrue(isError)
    assert.include(text, "(unsafe-integer) at /name/*. ")
  })
})

describe("an export to files", () => {
  it("goes below a root, asks before it replaces, and never through a link", async () => {
    const folder = makeFolder()
    const root = join(folder, "root")
    mkdirSync(root)
    mkdirSync(join(folder, "outside"))
    writeFileSync(join(folder, "outside", "x.json"), "mine")
    symlinkSync(join(folder, "outside"), join(root, "link"))
    symlinkSync(join(folder, "outside", "x.json"), join(root, "link.json"))
    const { to } = await serve(folder, { roots: makeRoots([root]) })
    const assistant = await connect("current", to)
    await assistant.call("save_cohort", { name: "A", entities: { patients: [{ id: "1" }], encounters: [{ id: "2" }] } })
    const out = (args: Record<string, unknown>) => assistant.call("export_cohort", { name_or_id: "A", ...args })

    assert.isFalse((await out({ format: "csv", path: "tables" })).isError)
    assert.deepStrictEqual(readdirSync(join(root, "tables")).toSorted(), ["encounters.csv", "patients.csv"])
    assert.isTrue((await out({ format: "csv", path: "tables" })).isError)
    for (const format of ["parquet", "ndjson"]) assert.isFalse((await out({ format, path: format })).isError)
    for (const format of ["sharing", "v1"]) assert.isFalse((await out({ format, path: `${format}.json` })).isError)

    writeFileSync(join(root, "there.json"), "mine")
    assert.include((await out({ path: "there.json" })).text, '"overwrite": true')
    assistant.answer = "no"
    assert.isTrue((await out({ path: "there.json", overwrite: true })).isError)
    assert.strictEqual(readFileSync(join(root, "there.json"), "utf8"), "mine")
    assistant.answer = "yes"
    assert.isFalse((await out({ path: "there.json", overwrite: true, compact: true })).isError)
    assert.include(readFileSync(join(root, "there.json"), "utf8"), '"patients":[{"id":"1"}]')

    for (const path of [
      "link/x.json",
      "link.json",
      "../outside/x.json",
      join(folder, "outside", "y.json"),
      ".bashrc"
    ]) {
      assert.isTrue((await out({ path, overwrite: true, confirm: true })).isError, path)
    }
    assert.strictEqual(readFileSync(join(folder, "outside", "x.json"), "utf8"), "mine")
    assert.deepStrictEqual(readdirSync(join(folder, "outside")), ["x.json"])
    assert.isFalse(existsSync(join(root, ".bashrc")))
  })
})

/** A call of the newest revision, made by hand. */
const post = async ({ token, url }: Listening, params: Record<string, unknown>) => {
  const meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": { name: "t", version: "1" },
    "io.modelcontextprotocol/clientCapabilities": { elicitation: {} }
  }
  const response = await fetch(url, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": String(params["name"])
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { ...params, _meta: meta } })
  })
  const text = await response.text()
  const line = text.split("\n").findLast((one) => one.startsWith("data: "))
  const message: {
    readonly result?: { readonly resultType?: string; readonly isError?: boolean; readonly requestState?: string }
  } = JSON.parse(line === undefined ? text : line.slice(6))
  return message.result ?? {}
}

describe("consent", () => {
  it("counts only for the call that it was asked for, and cannot be made up", async () => {
    const { to } = await serve(makeFolder())
    const assistant = await connect("current", to)
    for (const name of ["A", "B"]) await assistant.call("save_cohort", { name, entities: { patients: [] } })
    const remove = (name_or_id: string, more: Record<string, unknown> = {}) =>
      post(to, { name: "delete_cohort", arguments: { name_or_id }, ...more })
    const inputResponses = { confirm: { action: "accept", content: { confirm: true } } }
    const { requestState, resultType } = await remove("A")
    assert.strictEqual(resultType, "input_required")
    const state = String(requestState)
    for (const requestStates of [
      undefined,
      "",
      "x",
      state.replace(/^\d+/, "99999999999999"),
      `${state}x`,
      state.replace(/.$/, (last) => (last === "A" ? "E" : "A"))
    ]) {
      const again = await remove("A", {
        inputResponses,
        ...(requestStates === undefined ? {} : { requestState: requestStates })
      })
      assert.notStrictEqual(again.resultType, "complete", String(requestStates))
    }
    assert.strictEqual((await remove("B", { inputResponses, requestState: state })).resultType, "input_required")
    assert.strictEqual((await assistant.call("list_cohorts", {})).structured["total"], 2)
    const refused = { confirm: { action: "accept", content: { confirm: false } } }
    assert.isTrue((await remove("A", { inputResponses: refused, requestState: state })).isError)
    const done = await remove("A", { inputResponses, requestState: state })
    assert.deepStrictEqual([done.resultType, done.isError ?? false], ["complete", false])
    assert.strictEqual((await assistant.call("list_cohorts", {})).structured["total"], 1)
  })
})
