/**
 * Runs the scenarios of the official conformance tests that concern any server, not one made for them, and prints what
 * came of each. They cannot send a token, so a relay adds it; all else reaches the server as it was sent.
 */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { stripVTControlCharacters } from "node:util"
import { startHttp } from "./src/index.ts"

const tests = `@modelcontextprotocol/conformance@${process.argv[2] ?? "0.2.0-alpha.12"}`
const scenarios = [
  "server-initialize",
  "server-session-lifecycle",
  "server-stateless",
  "ping",
  "logging-set-level",
  "tools-list",
  "resources-list",
  "sep-2164-resource-not-found",
  "prompts-list",
  "caching",
  "server-sse-multiple-streams",
  "http-header-validation",
  "input-required-result-unsupported-methods",
  "input-required-result-ignore-extra-params",
  "dns-rebinding-protection"
]

const folder = mkdtempSync(join(tmpdir(), "mallard-conformance-"))
const token = "conformance-0123456789"
const server = await startHttp(
  {
    database: { path: join(folder, "test.duckdb"), program: "conformance" },
    version: "1",
    roots: undefined,
    readOnly: false,
    allowQuery: true,
    oldNames: false,
    report: (line) => process.stderr.write(`${line}\n`)
  },
  { host: "127.0.0.1", port: 0, token }
)
const { port } = new URL(server.url)

const relay = createServer((incoming, outgoing) => {
  const own = `:${incoming.socket.localPort}`
  const headers = Object.entries(incoming.headers).map(([name, value]) => [
    name,
    typeof value === "string" && (name === "host" || name === "origin") ? value.replace(own, `:${port}`) : value
  ])
  const onward = request(
    {
      port,
      host: "127.0.0.1",
      method: incoming.method,
      path: incoming.url,
      setHost: false,
      headers: { ...Object.fromEntries(headers), authorization: `Bearer ${token}` }
    },
    (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
    }
  )
  onward.on("error", () => outgoing.destroy())
  outgoing.on("close", () => onward.destroy())
  incoming.pipe(onward)
})
await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve))
const address = relay.address()
const url = `http://127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}/mcp`

for (const scenario of scenarios) {
  const output = await new Promise<string>((resolve) => {
    const child = spawn("npx", ["-y", tests, "server", "--url", url, "--scenario", scenario], { cwd: folder })
    let said = ""
    child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")))
    child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")))
    child.on("close", () => resolve(said))
  })
  const result = /Passed:?\s*(\d+)\/(\d+)/.exec(output)
  process.stdout.write(`${scenario}: ${result === null ? "no result" : `${result[1]} of ${result[2]}`}\n`)
  const failures = output.split("\n").filter((line) => line.includes("FAILURE") || /^ {4}Error:/.test(line))
  for (const line of failures) process.stdout.write(`  ${stripVTControlCharacters(line.trim())}\n`)
}

relay.close()
relay.closeAllConnections()
await server.close()
rmSync(folder, { recursive: true, force: true })
