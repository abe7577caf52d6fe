/**
 * Tools for assistants, over whatever effect/ai speaks: this is the only module that knows its MCP server. It adds what a
 * toolkit there lacks: a short text beside the structured result, confirmation in every protocol revision, progress, and
 * failures that tell the model what to do. What fails unexpectedly is reported on stderr without any value. Transports give
 * it messages of `withoutEscapedKeys`, as its server's own parser is `JSON.parse`.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import { Cause, Clock, Context, Data, Effect, Layer, Option, Predicate, References, Schema, type Stdio } from "effect"
import { withEscapedKeys } from "@mallard/schema"
import { McpProtocol, McpSchema, McpServer } from "effect/ai"
import { HttpRouter, HttpServer } from "effect/http"

/** A failure that the model reads: what happened, and what to do next. */
export class ToolError extends Data.TaggedError("ToolError")<{ readonly message: string }> {}

/** The client has to ask its user first, and to call again with the answer. */
export class AnswerNeeded extends Data.TaggedError("AnswerNeeded")<{ readonly required: McpSchema.InputRequired }> {}

/** What a tool may do besides giving its result. */
export interface Call {
  /** Tells the client how far the call is, if it wants to know; at most a few times a second. */
  readonly progress: (message: string, done?: number, total?: number) => Effect.Effect<void>
  /**
   * Goes on only if the user agrees: by the argument `confirm`, else by a question that the client puts to the user,
   * else not at all.
   */
  readonly confirm: (question: string, given: boolean | undefined) => Effect.Effect<void, ToolError | AnswerNeeded>
}

/** A result: a text that says everything by itself, and the same for programs. */
export interface Answer<A> {
  readonly text: string
  readonly structured: A
}

/** What clients are told about the effects of a tool. None of them reaches beyond the database and the roots. */
export interface ToolEffects {
  readonly readOnly: boolean
  /** Whether something may be replaced or removed. */
  readonly destructive?: boolean
  /** Whether doing it twice is the same as doing it once. */
  readonly idempotent?: boolean
}

/** Declares a tool. */
export interface ToolDefinition<Parameters, Result> {
  readonly name: string
  readonly title: string
  readonly description: string
  readonly parameters: Schema.Codec<Parameters, unknown>
  readonly result: Schema.Codec<Result, unknown>
  readonly effects: ToolEffects
  /** Applied to the arguments before they are looked at. */
  readonly prepare?: (payload: unknown) => unknown
  readonly handler: (parameters: Parameters, call: Call) => Effect.Effect<Answer<Result>, ToolError | AnswerNeeded>
}

/** A declared tool. */
export interface ToolEntry {
  readonly name: string
  readonly effects: ToolEffects
  readonly register: (secret: Buffer, report: Report) => Effect.Effect<void, never, McpServer.McpServer>
}

/** Where unexpected failures are reported. */
export type Report = (line: string) => void

export const defineTool = <Parameters, Result>(definition: ToolDefinition<Parameters, Result>): ToolEntry => {
  const decode = Schema.decodeUnknownEffect(definition.parameters)
  const { effects, name, prepare, title } = definition
  const inputSchema = asToolJson(jsonSchema(definition.parameters, "error"))
  const takes = Object.keys(inputSchema.properties ?? {}).join(", ")
  const descriptor = new McpSchema.Tool({
    name,
    title,
    description: definition.description,
    inputSchema,
    outputSchema: jsonSchema(definition.result, "ignore"),
    annotations: {
      title,
      readOnlyHint: effects.readOnly,
      destructiveHint: effects.destructive ?? false,
      idempotentHint: effects.idempotent ?? effects.readOnly,
      openWorldHint: false
    }
  })
  const register = Effect.fnUntraced(function* (secret: Buffer, report: Report) {
    const server = yield* McpServer.McpServer
    const handle = Effect.fnUntraced(
      function* (received: unknown) {
        const payload = withEscapedKeys(received)
        const parameters = yield* decode(prepare === undefined ? payload : prepare(payload), {
          onExcessProperty: "error",
          errors: "all"
        }).pipe(
          Effect.mapError(
            (error) =>
              new ToolError({
                message: `The arguments of ${name} do not fit:\n${error.message}\nIt takes ${takes}.`
              })
          )
        )
        const call = yield* makeCall(server, secret, JSON.stringify([name, payload]))
        const { structured, text } = yield* definition.handler(parameters, call)
        return new McpSchema.CallToolResult({ content: [textBlock(text)], structuredContent: structured })
      },
      Effect.catchTag("AnswerNeeded", ({ required }) => Effect.succeed(required)),
      Effect.catchTag("ToolError", ({ message }) => Effect.succeed(failed(message))),
      Effect.catchCause((cause) => {
        if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause)
        report(`${name}: ${unexpected(Cause.squash(cause))}`)
        return Effect.succeed(
          failed(
            `${name} failed in a way that it should not. Nothing is half stored. Try again once; then tell the user.`
          )
        )
      })
    )
    yield* server.addTool({ tool: descriptor, annotations: Context.empty(), handle })
  })
  return { name, effects, register }
}

/** A resource whose address has two variable parts. */
export interface PagedResource {
  readonly name: string
  readonly description: string
  readonly mimeType: string
  readonly read: (first: string, second: string) => Effect.Effect<string, ToolError>
}

/** Registers `cohort://{cohort_id}/{kind}`. */
const registerResource = ({ description, mimeType, name, read }: PagedResource, report: Report) =>
  McpServer.registerResource`cohort://${McpSchema.param("cohort_id", Schema.String)}/${McpSchema.param("kind", Schema.String)}`(
    {
      name,
      description,
      mimeType,
      content: (uri, first, second) =>
        read(decoded(first), decoded(second)).pipe(
          Effect.map((text) => ({ contents: [{ uri, mimeType, text }] })),
          Effect.mapError(({ message }) => new McpSchema.InternalError({ message })),
          Effect.tapDefect((defect) => Effect.sync(() => report(`${name}: ${unexpected(defect)}`)))
        )
    }
  )

/** What a server offers, and under which name. */
export interface ServerDefinition {
  readonly name: string
  readonly version: string
  readonly instructions: string
  readonly tools: ReadonlyArray<ToolEntry>
  readonly resources: ReadonlyArray<PagedResource>
  readonly report: Report
}

/** Newest first. */
const protocols = [
  McpProtocol.v2026_07_28,
  McpProtocol.v2025_11_25,
  McpProtocol.v2025_06_18,
  McpProtocol.v2025_03_26
] as const

const common = (definition: ServerDefinition) =>
  ({
    name: definition.name,
    version: definition.version,
    instructions: definition.instructions,
    protocols,
    cacheHints: { tools: { ttl: "1 hour", cacheScope: "private" }, discover: { ttl: "1 hour", cacheScope: "private" } },
    registrations: registrations(definition)
  }) as const

// Its own log may quote messages of clients; what matters is reported by us.
const quiet = Layer.succeed(References.MinimumLogLevel, "None")

/** The server on standard input and output. */
export const stdioLayer = (definition: ServerDefinition): Layer.Layer<never, never, Stdio.Stdio> =>
  Layer.effectDiscard(Layer.build(McpServer.layerStdio(common(definition)).pipe(Layer.orDie))).pipe(
    Layer.provide(quiet)
  )

/** The server as a function from web requests to web responses; `origins` are those of pages that may call it. */
export const webHandler = (
  definition: ServerDefinition,
  path: `/${string}`,
  origins: ReadonlyArray<string>
): { readonly handler: (request: Request) => Promise<Response>; readonly dispose: () => Promise<void> } =>
  HttpRouter.toWebHandler(
    McpServer.layerHttp({
      ...common(definition),
      path,
      allowedOrigins: origins,
      allowSessionTermination: true
    }).pipe(Layer.provide(HttpServer.layerServices), Layer.provideMerge(quiet)),
    { disableLogger: true }
  )

const registrations = ({ report, resources, tools }: ServerDefinition) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const secret = randomBytes(32)
      for (const tool of tools) yield* tool.register(secret, report)
      for (const resource of resources) yield* registerResource(resource, report)
    })
  )

const textBlock = (text: string) => McpSchema.TextContent.make({ type: "text", text })

const failed = (message: string): McpSchema.CallToolResult =>
  new McpSchema.CallToolResult({ content: [textBlock(message)], isError: true })

const decoded = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

const jsonSchema = (
  schema: Schema.Codec<unknown, unknown>,
  onExcessProperty: "error" | "ignore"
): Readonly<Record<string, unknown>> => {
  const { definitions, schema: root } = Schema.toJsonSchemaDocument(schema, { onExcessProperty })
  return slim(Object.keys(definitions).length === 0 ? root : { ...root, $defs: definitions })
}

/** Without what says nothing: the bounds of safe integers, and that more keys are allowed. Models read every word. */
const slim = (schema: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    Object.entries(schema)
      .filter(
        ([key, value]) =>
          value !== Number.MAX_SAFE_INTEGER &&
          value !== Number.MIN_SAFE_INTEGER &&
          (key !== "additionalProperties" || value !== true)
      )
      .map(([key, value]) => [
        key,
        Array.isArray(value) ? value : Predicate.isReadonlyObject(value) ? slim(value) : value
      ])
  )

const asToolJson = Schema.decodeUnknownSync(McpSchema.ToolJson)

/** The class of a failure and where it happened: messages may quote values. */
const unexpected = (error: unknown): string => {
  if (!(error instanceof Error)) return typeof error
  const frame = (error.stack ?? "").split("\n").find((line) => line.startsWith("    at "))
  return `${error.name}${frame === undefined ? "" : ` ${frame.trim()}`}`
}

const PROGRESS_MS = 200
const ANSWER_MS = 10 * 60_000

const question = {
  type: "object",
  properties: { confirm: { type: "boolean", title: "Yes, do it" } },
  required: ["confirm"]
} as const

const agrees = (answer: Readonly<Record<string, unknown>>): boolean => {
  const content = answer["content"]
  return (
    answer["action"] === "accept" && Predicate.isObject(content) && "confirm" in content && content.confirm === true
  )
}

const declined = new ToolError({ message: "The user did not agree. Nothing was changed; do not try again unasked." })

const makeCall = Effect.fnUntraced(function* (server: McpServer.McpServer["Service"], secret: Buffer, subject: string) {
  const context = yield* McpSchema.McpRequestContext
  const session = Option.getOrUndefined(yield* Effect.serviceOption(McpSchema.McpServerClient))
  const metadata: Readonly<Record<string, unknown>> = { ...session?.requestMetadata, ...context.requestMetadata }
  const token = metadata["progressToken"]
  let steps = 0
  let last = Number.NEGATIVE_INFINITY
  const progress: Call["progress"] = Effect.fnUntraced(function* (message, done, total) {
    if (typeof token !== "string" && typeof token !== "number") return
    const now = yield* Clock.currentTimeMillis
    const value = Math.max(done ?? steps + 1, steps + 1)
    const isLast = total !== undefined && value >= total
    if (now - last < PROGRESS_MS && !isLast) return
    last = now
    steps = value
    yield* server.notifications["notifications/progress"]({
      progressToken: token,
      progress: value,
      message,
      ...(total === undefined ? {} : { total: Math.max(total, value) })
    }).pipe(Effect.provideService(McpSchema.McpRequestContext, context), Effect.ignore)
  })

  const canAsk = context.clientCapabilities.elicitation !== undefined
  const sign = (until: number) => createHmac("sha256", secret).update(`${until} ${subject}`).digest()
  const isSigned = (state: string | undefined, now: number): boolean => {
    const [, until = "", signature = ""] = /^(\d{1,16})\.([\w-]{43})$/.exec(state ?? "") ?? []
    return (
      until !== "" && Number(until) > now && timingSafeEqual(Buffer.from(signature, "base64url"), sign(Number(until)))
    )
  }
  const confirm: Call["confirm"] = Effect.fnUntraced(function* (message, given) {
    if (given === true) return
    if (canAsk && session === undefined) {
      const now = yield* Clock.currentTimeMillis
      const answer = context.inputResponses?.["confirm"]
      if (answer !== undefined && isSigned(context.requestState, now)) {
        return agrees(answer) ? undefined : yield* declined
      }
      const until = now + ANSWER_MS
      const params = { mode: "form", message, requestedSchema: question }
      return yield* new AnswerNeeded({
        required: new McpSchema.InputRequired({
          inputRequests: { confirm: { method: "elicitation/create", params } },
          requestState: `${until}.${sign(until).toString("base64url")}`
        })
      })
    }
    if (canAsk && session !== undefined) {
      const answer = yield* Effect.scoped(
        Effect.flatMap(session.getClient, (client) =>
          client.elicit(new McpSchema.ElicitRequestFormParams({ mode: "form", message, requestedSchema: question }))
        )
      ).pipe(Effect.timeout(ANSWER_MS), Effect.option)
      if (Option.isSome(answer)) return agrees({ ...answer.value }) ? undefined : yield* declined
    }
    return yield* new ToolError({
      message: `${message}\nThis needs the user's consent: ask, and if they agree, call again with the same arguments and "confirm": true.`
    })
  })
  return { progress, confirm } satisfies Call
})
