// oxlint-disable unicorn/prefer-add-event-listener -- the clients' transports are no event targets
/** The real program as a child process, and the official clients in one dress. */
import { Client as CurrentClient, StreamableHTTPClientTransport as CurrentHttp } from "@modelcontextprotocol/client"
import { StdioClientTransport as CurrentStdio } from "@modelcontextprotocol/client/stdio"
import { Client as LegacyClient } from "@modelcontextprotocol/sdk/client/index.js"
import { StdioClientTransport as LegacyStdio } from "@modelcontextprotocol/sdk/client/stdio.js"
import { StreamableHTTPClientTransport as LegacyHttp } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { inject, onTestFinished } from "vitest"
import { type ServerConfig, startHttp } from "../src/index.ts"

/** The entry file of the program as users install it, bundled from the sources when the tests begin. */
export const program = join(inject("bundle"), "bin", "mallard.js")

/** A folder that is gone after the test. */
export const makeFolder = (): string => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "mallard-mcp-")))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const environment = (folder: string): Record<string, string> => ({
  PATH: process.env["PATH"] ?? "",
  HOME: folder,
  USERPROFILE: folder
})

/** Starts the program in a folder that is its home too. */
export const start = (folder: string, args: ReadonlyArray<string>): ChildProcess =>
  spawn(process.execPath, [program, ...args], { cwd: folder, env: environment(folder), stdio: "pipe" })

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export const outcomeOf = (child: ChildProcess): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    const stdout: Array<Buffer> = []
    const stderr: Array<Buffer> = []
    child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk))
    child.stderr?.on("data", (chunk: Buffer) => stderr.push(chunk))
    child.on("error", reject)
    child.on("close", (code) =>
      resolve({ code, stdout: Buffer.concat(stdout).toString("utf8"), stderr: Buffer.concat(stderr).toString("utf8") })
    )
  })

/** Runs the program to its end. */
export const run = (folder: string, args: ReadonlyArray<string>): Promise<Outcome> => {
  const child = start(folder, args)
  child.stdin?.end()
  return outcomeOf(child)
}

/** A server that listens until the test is over. */
export interface Listening {
  readonly url: string
  readonly token: string
}

export const listening = async (folder: string, args: ReadonlyArray<string>): Promise<Listening> => {
  const child = start(folder, ["mcp", "--http", "0", ...args])
  onTestFinished(() => {
    child.kill("SIGKILL")
  })
  let said = ""
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr?.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8")
      const found = /listens on (\S+)/.exec(said)?.[1]
      if (found !== undefined && said.includes("Bearer")) resolve(found)
    })
    child.on("close", () => reject(new Error(`the server ended: ${said}`)))
  })
  return { url, token: readFileSync(join(folder, ".healthsim", "mallard-mcp.token"), "utf8").trim() }
}

const token = "a-token-of-the-test-0123456789"

/** A server in this process, which waits for others only shortly. */
export const serve = async (folder: string, config: Partial<ServerConfig> = {}) => {
  const reports: Array<string> = []
  const { close, url } = await startHttp(
    {
      database: { path: join(folder, "test.duckdb"), program: "test", patience: 1500 },
      version: "1",
      roots: undefined,
      readOnly: false,
      allowQuery: true,
      oldNames: false,
      report: (line) => reports.push(line),
      ...config
    },
    { host: "127.0.0.1", port: 0, token }
  )
  onTestFinished(close)
  return { to: { url, token }, reports }
}

/** Which client, and over what. `current` negotiates the newest revision, `compatible` is the same client as of old. */
export type ClientName = "legacy" | "compatible" | "current"

export interface Called {
  readonly text: string
  readonly structured: Record<string, unknown>
  readonly isError: boolean
}

/** A connected client. */
export interface Assistant {
  readonly revision: () => string | undefined
  readonly tools: () => Promise<ReadonlyArray<{ readonly name: string; readonly annotations?: unknown }>>
  readonly call: (
    name: string,
    args: Record<string, unknown>,
    onProgress?: (progress: { readonly progress: number; readonly message?: string | undefined }) => void
  ) => Promise<Called>
  readonly read: (uri: string) => Promise<string>
  /** What the user was asked. */
  readonly questions: Array<string>
  /** What the user answers. */
  answer: "yes" | "no" | "cancel"
}

const clientInfo = { name: "test", version: "1" }

const answerTo = (
  assistant: Assistant,
  message: string
): { readonly action: "accept" | "decline" | "cancel"; readonly content?: { readonly confirm: boolean } } => {
  assistant.questions.push(message)
  if (assistant.answer === "cancel") return { action: "cancel" }
  return assistant.answer === "yes" ? { action: "accept", content: { confirm: true } } : { action: "decline" }
}

const calledOf = (result: object): Called => {
  const content = "content" in result && Array.isArray(result.content) ? result.content : []
  const structured = "structuredContent" in result ? result.structuredContent : undefined
  return {
    text: content.map((block: { readonly text?: string }) => block.text ?? "").join("\n"),
    structured: structured !== null && typeof structured === "object" ? { ...structured } : {},
    isError: "isError" in result && result.isError === true
  }
}

const readOf = ({ contents }: { readonly contents: ReadonlyArray<object> }): string =>
  contents.map((content) => ("text" in content ? String(content.text) : "")).join("")

/** Connects a client until the test is over, with or without the ability to ask its user. */
export const connect = async (
  name: ClientName,
  to: Listening | { readonly folder: string; readonly args: ReadonlyArray<string> },
  canAsk = true
): Promise<Assistant> => {
  const capabilities = canAsk ? { elicitation: {} } : {}
  const parameters = (folder: string, args: ReadonlyArray<string>) => ({
    command: process.execPath,
    args: [program, "mcp", ...args],
    cwd: folder,
    env: environment(folder),
    stderr: "inherit" as const
  })
  const headers = "url" in to ? { requestInit: { headers: { authorization: `Bearer ${to.token}` } } } : {}
  if (name === "legacy") {
    const client = new LegacyClient(clientInfo, { capabilities })
    const assistant: Assistant = {
      revision: () => revision,
      tools: async () => (await client.listTools()).tools,
      call: async (tool, args, onProgress) =>
        calledOf(
          await client.callTool(
            { name: tool, arguments: args },
            undefined,
            onProgress === undefined ? {} : { onprogress: onProgress }
          )
        ),
      read: async (uri) => readOf(await client.readResource({ uri })),
      questions: [],
      answer: "yes"
    }
    let revision: string | undefined
    if (canAsk) {
      client.setRequestHandler(ElicitRequestSchema, ({ params }) => answerTo(assistant, params.message))
    }
    const transport =
      "url" in to ? new LegacyHttp(new URL(to.url), headers) : new LegacyStdio(parameters(to.folder, to.args))
    // Its types do not fit `exactOptionalPropertyTypes`; and so it can be seen what was negotiated.
    await client.connect({
      start: () => transport.start(),
      send: (message) => transport.send(message),
      close: () => transport.close(),
      set onclose(handler: () => void) {
        transport.onclose = handler
      },
      set onerror(handler: (error: Error) => void) {
        transport.onerror = handler
      },
      set onmessage(handler: NonNullable<LegacyStdio["onmessage"]>) {
        transport.onmessage = handler
      },
      setProtocolVersion: (version) => {
        revision = version
        if (transport instanceof LegacyHttp) transport.setProtocolVersion(version)
      }
    })
    onTestFinished(() => client.close())
    return assistant
  }
  const client = new CurrentClient(clientInfo, {
    capabilities,
    versionNegotiation: { mode: name === "current" ? "auto" : "legacy" }
  })
  const assistant: Assistant = {
    revision: () => client.getNegotiatedProtocolVersion(),
    tools: async () => (await client.listTools()).tools,
    call: async (tool, args, onProgress) =>
      calledOf(
        await client.callTool(
          { name: tool, arguments: args },
          onProgress === undefined ? {} : { onprogress: onProgress }
        )
      ),
    read: async (uri) => readOf(await client.readResource({ uri })),
    questions: [],
    answer: "yes"
  }
  if (canAsk) {
    client.setRequestHandler("elicitation/create", ({ params }) => answerTo(assistant, params.message))
  }
  await client.connect(
    "url" in to ? new CurrentHttp(new URL(to.url), headers) : new CurrentStdio(parameters(to.folder, to.args))
  )
  onTestFinished(() => client.close())
  return assistant
}
