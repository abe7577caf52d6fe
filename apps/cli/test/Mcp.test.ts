import { spawn } from "node:child_process"
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { dirname, join } from "node:path"
import { assert, describe, it, onTestFinished } from "vitest"
import { cohort, makeBundle, makeFolder, outcomeOf, programFromSources, run, start, writeFiles } from "./support.ts"

const db = ["--db", "test.duckdb"]

const initialize = JSON.stringify({
  jsonrpc: "2.0",
  id: 0,
  method: "initialize",
  params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } }
})
const query = JSON.stringify({
  jsonrpc: "2.0",
  id: 1,
  method: "tools/call",
  params: { name: "query_cohort", arguments: { sql: "SELECT count(*) AS n FROM patients" } }
})

describe("mallard mcp", () => {
  it("answers from the bundle and from the sources, and no other command reads its part of the bundle", async () => {
    const folder = makeFolder()
    writeFiles(folder, { [cohort.file]: cohort.text })
    assert.strictEqual((await run(folder, ["migrate", cohort.file, ...db])).code, 0)
    const cut = makeBundle()
    for (const entry of [cut, programFromSources]) {
      const server = spawn(process.execPath, [entry, "mcp", "--allow-query", ...db], {
        cwd: folder,
        env: { HOME: folder },
        stdio: "pipe"
      })
      server.stdin.end(`${initialize}\n{"jsonrpc":"2.0","method":"notifications/initialized"}\n${query}\n`)
      const { code, stderr, stdout } = await outcomeOf(server)
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.include(stdout, '"rows":[[2]]')
    }
    rmSync(join(dirname(cut), "..", "dist", "mcp.js"))
    assert.strictEqual((await outcomeOf(start(folder, ["list", ...db], {}, cut))).code, 0)
  })

  it("makes a token that only its owner can read, uses it again, and refuses one that others can read", async () => {
    const folder = makeFolder()
    const file = join(folder, ".healthsim", "mallard-mcp.token")
    const serveOnce = async () => {
      const child = start(folder, ["mcp", "--http", "0"])
      const outcome = outcomeOf(child)
      await new Promise<void>((resolve) => {
        child.stderr?.on("data", (chunk: Buffer) => chunk.includes("Bearer") && resolve())
      })
      child.kill("SIGTERM")
      return outcome
    }
    const first = await serveOnce()
    assert.strictEqual(first.code, 143)
    assert.strictEqual(first.stdout, "")
    const token = readFileSync(file, "utf8").trim()
    assert.match(token, /^[\w-]{43}$/)
    assert.notInclude(first.stderr, token)
    assert.strictEqual(statSync(file).mode & 0o777, 0o600)
    await serveOnce()
    assert.strictEqual(readFileSync(file, "utf8").trim(), token)
    chmodSync(file, 0o644)
    const refused = await run(folder, ["mcp", "--http", "0"])
    assert.deepStrictEqual([refused.code, /Others can read the token/.test(refused.stderr)], [2, true])
    writeFileSync(join(folder, "short"), "x\n", { mode: 0o600 })
    assert.strictEqual((await run(folder, ["mcp", "--http", "0", "--token-file", "short"])).code, 2)
  })

  it("says what is wrong with its flags, and creates no database for that", async () => {
    const folder = makeFolder()
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve))
    onTestFinished(() => new Promise<void>((resolve) => taken.close(() => resolve())))
    const address = taken.address()
    const port = address !== null && typeof address === "object" ? String(address.port) : ""
    const cases: ReadonlyArray<readonly [number, RegExp, ReadonlyArray<string>]> = [
      [2, /belong to --http/, ["--host", "127.0.0.1"]],
      [2, /not one address/, ["--http", "0", "--host", "0.0.0.0"]],
      [2, /not one address/, ["--http", "0", "--host", "::"]],
      [2, /is no port/, ["--http", "70000"]],
      [2, /"missing" is no folder/, ["--root", "missing"]],
      [1, /Cannot listen on port \d+ \(EADDRINUSE\)/, ["--http", port]]
    ]
    for (const [code, words, args] of cases) {
      const outcome = await run(folder, ["mcp", ...db, ...args])
      assert.strictEqual(outcome.code, code, outcome.stderr)
      assert.match(outcome.stderr, words)
    }
    assert.isFalse(existsSync(join(folder, "test.duckdb")))
  })
})
