import { request } from "node:http"
import { connect as connectSocket } from "node:net"
import { join } from "node:path"
import { assert, beforeAll, afterAll, describe, it } from "vitest"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { type HttpListener, MCP_PATH, startHttp } from "../src/index.ts"

const token = "a-token-of-the-test-0123456789"
const list = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" })
const ACCEPT = "application/json, text/event-stream"

let folder = ""
let port = 0
let listener: HttpListener | undefined
const reports: Array<string> = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mallard-http-"))
  listener = await startHttp(
    {
      database: { path: join(folder, "test.duckdb"), program: "test" },
      version: "1",
      roots: undefined,
      readOnly: false,
      allowQuery: false,
      oldNames: false,
      report: (line) => reports.push(line)
    },
    { host: "127.0.0.1", port: 0, token, requestTimeout: 700 }
  )
  port = Number(new URL(listener.url).port)
})

afterAll(async () => {
  await listener?.close()
  rmSync(folder, { recursive: true, force: true })
})

interface Answer {
  readonly status: number
  readonly headers: NodeJS.Dict<string | ReadonlyArray<string>>
  readonly body: string
}

/** Sends a request with exactly these headers. */
const send = (
  path: string,
  change: {
    readonly method?: string
    readonly headers?: Readonly<Record<string, string | undefined>>
    readonly body?: string
  } = {}
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const headers = {
      host: `127.0.0.1:${port}`,
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: ACCEPT,
      ...change.headers
    }
    const method = change.method ?? "POST"
    const call = request(
      {
        port,
        host: "127.0.0.1",
        path,
        method,
        setHost: false,
        headers: Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined))
      },
      (response) => {
        const chunks: Array<Buffer> = []
        response.on("data", (chunk: Buffer) => chunks.push(chunk))
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString("utf8")
          })
        )
      }
    )
    call.on("error", reject)
    call.end(method === "POST" ? (change.body ?? list) : undefined)
  })

/** Sends bytes as they are, and gives the status line of the answer. */
const sendRaw = (text: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connectSocket(port, "127.0.0.1", () => socket.write(text))
    let answer = ""
    socket.on("data", (chunk) => {
      answer += chunk.toString("latin1")
    })
    socket.on("error", reject)
    socket.on("close", () => resolve(answer.split("\r\n")[0] ?? ""))
  })

const raw = (path: string, lines: ReadonlyArray<string>, body = list, version = "1.1"): Promise<string> =>
  sendRaw(
    [
      `POST ${path} HTTP/${version}`,
      `authorization: Bearer ${token}`,
      "content-type: application/json",
      `accept: ${ACCEPT}`,
      "connection: close",
      ...lines,
      "",
      body
    ].join("\r\n")
  )

/** Every path that answers anything else than that there is nothing. */
const routes = [MCP_PATH]
const length = `content-length: ${list.length}`

const cases: Readonly<Record<string, (path: string) => Promise<unknown>>> = {
  "401 without a token": async (path) => (await send(path, { headers: { authorization: undefined } })).status,
  "401 with a wrong token": async (path) =>
    (await send(path, { headers: { authorization: `Bearer ${token}x` } })).status,
  "421 with another host": async (path) => (await send(path, { headers: { host: `evil.example:${port}` } })).status,
  "400 with two hosts": async (path) =>
    Number((await raw(path, [`host: 127.0.0.1:${port}`, "host: evil.example", length])).split(" ")[1]),
  "400 without a host": async (path) => Number((await raw(path, [length], list, "1.0")).split(" ")[1]),
  "403 from another origin": async (path) => (await send(path, { headers: { origin: "https://evil.example" } })).status,
  "403 from a page without origin": async (path) => (await send(path, { headers: { origin: "null" } })).status,
  "415 with another type": async (path) => (await send(path, { headers: { "content-type": "text/plain" } })).status,
  "405 for GET": async (path) => (await send(path, { method: "GET" })).status,
  "403 across sites": async (path) => (await send(path, { headers: { "sec-fetch-site": "cross-site" } })).status,
  "413 with a body of 2 MB": async (path) =>
    Number(
      (await raw(path, [`host: 127.0.0.1:${port}`, `content-length: ${2 * 1024 * 1024}`], "{".repeat(1000))).split(
        " "
      )[1]
    ),
  "408 with a body that does not come": async (path) =>
    Number((await raw(path, [`host: 127.0.0.1:${port}`, "content-length: 1000"], "{")).split(" ")[1])
}

describe("over HTTP is refused", () => {
  for (const path of routes) {
    for (const [name, status] of Object.entries(cases)) {
      it(`${path}: ${name}`, async () => {
        assert.strictEqual(await status(path), Number(name.slice(0, 3)))
      })
    }
  }

  it("a body that turns out to be too large on the way", async () => {
    const chunk = "x".repeat(64 * 1024)
    const chunks = Array.from({ length: 20 }, () => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join("")
    const status = await raw(MCP_PATH, [`host: 127.0.0.1:${port}`, "transfer-encoding: chunked"], `${chunks}0\r\n\r\n`)
    assert.include(status, "413")
  })

  it("every spelling of a host but its own", async () => {
    for (const host of [
      "127.0.0.1",
      `127.0.0.1.:${port}`,
      `localhost.:${port}`,
      `localhost@evil.example:${port}`,
      `127.0.0.1:${port + 1}`,
      `0.0.0.0:${port}`,
      ""
    ]) {
      const { status } = await send(MCP_PATH, { headers: { host } })
      assert.include([400, 421], status, host)
    }
    for (const host of [`127.0.0.1:${port}`, `LOCALHOST:${port}`, `[::1]:${port}`]) {
      assert.notInclude([400, 403, 421], (await send("/none", { headers: { host } })).status, host)
    }
  })

  it("a path that is none, in any spelling, and an absolute address", async () => {
    for (const path of ["/", "/mcp/", "/mcp/../mcp", "/%6dcp", "/mcp?token=x", `http://evil.example${MCP_PATH}`]) {
      assert.strictEqual((await send(path)).status, 404, path)
    }
    assert.strictEqual((await send("/", { headers: { authorization: undefined } })).status, 401)
  })
})

describe("over HTTP", () => {
  const meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": { name: "t", version: "1" },
    "io.modelcontextprotocol/clientCapabilities": {}
  }
  const modern = { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list" }

  it("an admitted request is answered, and nothing may keep or frame the answer", async () => {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 7, method: "tools/list", params: { _meta: meta } })
    for (const headers of [
      modern,
      { ...modern, origin: `http://localhost:${port}`, "sec-fetch-site": "same-origin" }
    ]) {
      const answer = await send(MCP_PATH, { headers, body })
      assert.strictEqual(answer.status, 200, answer.body)
      assert.include(answer.body, '"list_cohorts"')
      assert.deepInclude(answer.headers, {
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'"
      })
      assert.notProperty(answer.headers, "access-control-allow-origin")
    }
  })

  it("text that is no message, or nests without end, gets an answer", async () => {
    const deep = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":${JSON.stringify(meta)},"name":"save_cohort","arguments":{"entities":{"patients":${"[".repeat(400_000)}${"]".repeat(400_000)}}}}}`
    for (const body of ["{", "null", "[]", '"x"', "[".repeat(500_000), deep]) {
      const headers = { ...modern, "mcp-method": "tools/call", "mcp-name": "save_cohort" }
      const { status } = await send(MCP_PATH, { headers, body })
      assert.include([200, 400], status)
    }
    assert.strictEqual((await send("/none")).status, 404)
  })
})
