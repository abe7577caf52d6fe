/**
 * The server over streamable HTTP, on one address of this machine. What a web page, or a program without the token, sends
 * is refused before its body is read; so is whatever is too large or too slow.
 */
import { hash, timingSafeEqual } from "node:crypto"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { withoutEscapedKeys } from "@mallard/schema"
import type { AddressInfo } from "node:net"
import { isIPv6 } from "node:net"
import { type ServerDefinition, webHandler } from "./ToolServer.ts"

export interface HttpOptions {
  readonly host: string
  /** 0 for any that is free. */
  readonly port: number
  /** What clients give as `Authorization: Bearer`. */
  readonly token: string
  /** 1 MiB if not given. */
  readonly maxBodyBytes?: number | undefined
  /** Milliseconds in which a request must have come; 15,000 if not given. */
  readonly requestTimeout?: number | undefined
}

export interface HttpListener {
  readonly url: string
  readonly close: () => Promise<void>
}

/** The path of the only route. */
export const MCP_PATH = "/mcp"

const MAX_BODY = 1024 * 1024
const REQUEST_MS = 15_000

/** Starts to listen; rejects when the address cannot be used. */
export const listen = async (definition: ServerDefinition, options: HttpOptions): Promise<HttpListener> => {
  const { host, port, token } = options
  const timeout = options.requestTimeout ?? REQUEST_MS
  // The port is known only when it listens.
  let admission: Admission | undefined
  let handler: ((request: Request) => Promise<Response>) | undefined
  const server = createServer({ requestTimeout: timeout, headersTimeout: timeout, connectionsCheckingInterval: 250 })
  server.on("request", (request, response) => {
    if (admission === undefined || handler === undefined) return refuse(response, 503)
    respond(request, response, admission, handler).catch((cause: unknown) => {
      definition.report(`HTTP: ${cause instanceof Error ? cause.name : typeof cause}`)
      if (response.headersSent) response.destroy()
      else refuse(response, 500)
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen({ host, port, exclusive: true }, () => {
      server.off("error", reject)
      resolve()
    })
  })
  const actual = portOf(server)
  const hosts = new Set(
    [...(isLoopback(host) ? ["127.0.0.1", "localhost", "[::1]"] : []), isIPv6(host) ? `[${host}]` : host].map(
      (name) => `${name.toLowerCase()}:${actual}`
    )
  )
  const origins = [...hosts].map((name) => `http://${name}`)
  const web = webHandler(definition, MCP_PATH, origins)
  admission = {
    hosts,
    origins: new Set(origins),
    token: hash("sha256", token, "buffer"),
    maxBodyBytes: options.maxBodyBytes ?? MAX_BODY
  }
  handler = web.handler
  return {
    url: `http://${isIPv6(host) ? `[${host}]` : host}:${actual}${MCP_PATH}`,
    close: async () => {
      server.closeAllConnections()
      await Promise.all([new Promise((resolve) => server.close(resolve)), web.dispose()])
    }
  }
}

interface Admission {
  readonly hosts: ReadonlySet<string>
  readonly origins: ReadonlySet<string>
  readonly token: Buffer
  readonly maxBodyBytes: number
}

/** What is known of a request before its body. */
interface Head {
  readonly method: string
  readonly target: string
  /** Names and values in turn, as they came. */
  readonly rawHeaders: ReadonlyArray<string>
}

/** The status with which a request is refused; undefined for one that is let in. */
const refusalOf = (head: Head, { hosts, maxBodyBytes, origins, token }: Admission): number | undefined => {
  const all = (name: string): ReadonlyArray<string> =>
    head.rawHeaders.filter((_, at) => at % 2 === 1 && head.rawHeaders[at - 1]?.toLowerCase() === name)
  const [host, ...otherHosts] = all("host")
  if (host === undefined || otherHosts.length > 0) return 400
  if (!hosts.has(host.toLowerCase())) return 421
  if (all("origin").some((origin) => !origins.has(origin))) return 403
  if (all("sec-fetch-site").some((site) => site !== "same-origin" && site !== "none")) return 403
  const [authorization, ...others] = all("authorization")
  const given = /^Bearer ([\x21-\x7e]+)$/i.exec(authorization ?? "")?.[1]
  if (given === undefined || others.length > 0 || !timingSafeEqual(hash("sha256", given, "buffer"), token)) return 401
  if (head.target !== MCP_PATH) return 404
  if (head.method !== "POST" && head.method !== "DELETE") return 405
  if (head.method === "POST") {
    const [type, ...types] = all("content-type")
    if (types.length > 0 || !/^application\/json *(;|$)/i.test(type ?? "")) return 415
  }
  if (all("content-length").some((length) => Number(length) > maxBodyBytes)) return 413
  return undefined
}

const refusalHeaders: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  401: { "www-authenticate": 'Bearer realm="mallard"' },
  405: { allow: "POST, DELETE" }
}

const fixedHeaders = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff"
}

const refuse = (response: ServerResponse, status: number): void => {
  // What is left of the body is not read.
  response.writeHead(status, { ...fixedHeaders, ...refusalHeaders[status], connection: "close", "content-length": "0" })
  response.end()
}

const respond = async (
  request: IncomingMessage,
  response: ServerResponse,
  admission: Admission,
  handler: (request: Request) => Promise<Response>
): Promise<void> => {
  const { method = "", rawHeaders, url: target = "" } = request
  const refusal = refusalOf({ method, target, rawHeaders }, admission)
  if (refusal !== undefined) return refuse(response, refusal)
  const body = await bodyOf(request, admission.maxBodyBytes)
  if (body === "gone") return
  if (body === "too-large") return refuse(response, 413)
  const gone = new AbortController()
  response.on("close", () => gone.abort())
  const headers = new Headers()
  for (const [name, value] of Object.entries(request.headers)) {
    if (typeof value === "string" && name !== "authorization") headers.set(name, value)
  }
  const answer = await handler(
    new Request(`http://${request.headers.host ?? ""}${target}`, {
      method,
      headers,
      signal: gone.signal,
      ...(body.length === 0 ? {} : { body: messageOf(body) })
    })
  )
  const answerHeaders: Record<string, string> = {}
  answer.headers.forEach((value, name) => {
    answerHeaders[name] = value
  })
  response.writeHead(answer.status, { ...answerHeaders, ...fixedHeaders })
  if (answer.body !== null) {
    for await (const chunk of answer.body) {
      if (gone.signal.aborted) return
      if (!response.write(chunk)) await drained(response)
    }
  }
  response.end()
}

/** A body as `defineTool` wants it. One that is no JSON is answered as such by the server. */
const messageOf = (body: Buffer): Uint8Array<ArrayBuffer> => {
  try {
    return new Uint8Array(Buffer.from(withoutEscapedKeys(body.toString("utf8"))))
  } catch {
    return new Uint8Array(body)
  }
}

const bodyOf = async (request: IncomingMessage, most: number): Promise<Buffer | "too-large" | "gone"> => {
  const chunks: Array<Buffer> = []
  let length = 0
  try {
    for await (const chunk of request) {
      const bytes: Buffer = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk))
      length += bytes.length
      if (length > most) return "too-large"
      chunks.push(bytes)
    }
  } catch {
    return "gone"
  }
  return Buffer.concat(chunks)
}

const drained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const settle = () => {
      response.off("drain", settle)
      response.off("close", settle)
      resolve()
    }
    response.on("drain", settle)
    response.on("close", settle)
  })

const isLoopback = (host: string): boolean => host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host)

const portOf = (server: Server): number => {
  const address: AddressInfo | string | null = server.address()
  return address !== null && typeof address === "object" ? address.port : 0
}
