/**
 * Traces and metrics of a command, sent as OTLP over HTTP where `--otlp` asks for it. What leaves the program is chosen by name:
 * spans and attributes of our own, numbers and words of our own vocabulary, never a value, key, name or path of a document.
 */
import type { Progress } from "@mallard/migrator"
import { Cause, Context, Effect, Exit, Layer, Metric, Option, Scope, Tracer } from "effect"
import { FetchHttpClient } from "effect/http"
import { OtlpExporter, OtlpMetrics, OtlpSerialization, OtlpTracer } from "effect/observability"
import { FROM_ENVIRONMENT } from "./Arguments.ts"
import { type CommandFailed, Ended, exitCode, usage } from "./Failure.ts"
import type { Session } from "./Session.ts"
import { printable } from "./Text.ts"

/** How long the last exports, all of them together, may hold up the end of the program. */
const LAST_EXPORT_MS = 5000

/** Runs a command, and sends what it did to the collector that the user named. */
export const withTelemetry = <A, E, R>(
  session: Session,
  command: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | CommandFailed, R> => {
  const base = collectorOf(session)
  if (typeof base !== "string") return Effect.fail(base)
  const client = watchedClient()
  const [, version] = session.program.split(" ")
  const signal = (path: string) => ({
    url: `${base}${path}`,
    headers: headersOf(session.env["OTEL_EXPORTER_OTLP_HEADERS"] ?? ""),
    resource: { serviceName: "mallard", ...(version === undefined ? {} : { serviceVersion: version }) },
    shutdownTimeout: LAST_EXPORT_MS
  })
  const counters = new Counters()
  const sent = Effect.gen(function* () {
    // Each in a scope of its own, closed side by side: one after the other, the last exports would take twice the time.
    const exporters = yield* Scope.fork(yield* Effect.scope, "parallel")
    yield* OtlpMetrics.make(signal("/v1/metrics")).pipe(
      Effect.provideService(Metric.MetricRegistry, counters.registry),
      Scope.provide(yield* Scope.fork(exporters, "sequential"))
    )
    const made = OtlpTracer.make(signal("/v1/traces"))
    const tracer = vetted(yield* Scope.provide(made, yield* Scope.fork(exporters, "sequential")))
    session.telemetry.onProgress = counters.add
    return yield* effect.pipe(
      Effect.onExit((exit) => Effect.annotateCurrentSpan("mallard.exit_code", codeOf(exit))),
      Effect.withSpan(`mallard.${command}`, { root: true }),
      Effect.withTracer(tracer)
    )
  }).pipe(
    Effect.scoped,
    Effect.provide(
      Layer.mergeAll(OtlpExporter.layerFlusher, OtlpSerialization.layerJson, FetchHttpClient.layer).pipe(
        Layer.provide(Layer.succeed(FetchHttpClient.Fetch, client.fetch))
      )
    )
  )
  return Effect.ensuring(
    sent,
    Effect.sync(() => {
      if (!client.hasFailed()) return
      session.terminal.error(
        `Warning: traces and metrics did not reach ${printable(base)}; what the command did is not affected.\n`
      )
    })
  )
}

/** Where the collector is, without a slash at the end. */
const collectorOf = ({ env, telemetry }: Session): string | CommandFailed => {
  const isFromEnvironment = telemetry.url === FROM_ENVIRONMENT
  const given = (isFromEnvironment ? env["OTEL_EXPORTER_OTLP_ENDPOINT"] : telemetry.url) ?? ""
  const what = isFromEnvironment ? "OTEL_EXPORTER_OTLP_ENDPOINT" : "--otlp"
  if (given === "") return usage("--otlp names no collector.", "Give its URL, or set OTEL_EXPORTER_OTLP_ENDPOINT.")
  const url = URL.canParse(given) ? new URL(given) : undefined
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    return usage(`${what} is no URL of a collector.`, "Give one like http://localhost:4318.")
  }
  return given.replace(/\/+$/, "")
}

/** `name=value` pairs, as the variables of OpenTelemetry write them. */
const headersOf = (text: string): Record<string, string> =>
  Object.fromEntries(
    text.split(",").flatMap((pair) => {
      const at = pair.indexOf("=")
      return at < 1 ? [] : [[pair.slice(0, at).trim(), decoded(pair.slice(at + 1).trim())]]
    })
  )

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The client of the platform, which remembers whether something did not arrive. */
const watchedClient = () => {
  let failed = false
  const fetched: typeof globalThis.fetch = async (input, init) => {
    try {
      const response = await globalThis.fetch(input, init)
      failed = !response.ok
      return response
    } catch (cause) {
      failed = true
      throw cause
    }
  }
  return { fetch: fetched, hasFailed: () => failed }
}

const codeOf = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit)) return 0
  const error = Cause.squash(exit.cause)
  return typeof error === "object" && error !== null && "code" in error && typeof error.code === "number"
    ? error.code
    : exitCode.failed
}

const OURS = "mallard."

/**
 * A tracer that hands on spans of ours alone, with attributes of ours alone, no events (logs would be some), and of a failure
 * its name alone: messages and stacks hold paths, and those of DuckDB hold values.
 */
const vetted = (tracer: Tracer.Tracer): Tracer.Tracer =>
  Tracer.make({
    span: (options) => {
      const { parent } = options
      if (!options.name.startsWith(OURS)) return new PassedOver(options)
      const given = Option.map(parent, (above) => (above instanceof PassedOver ? above.above : above))
      const span = tracer.span({ ...options, parent: Option.filter(given, (above) => above !== undefined), links: [] })
      const { attribute, end } = span
      return Object.assign(span, {
        addLinks: () => {},
        event: () => {},
        attribute: (key: string, value: unknown) => {
          if (key.startsWith(OURS)) attribute.call(span, key, value)
        },
        end: (at: bigint, exit: Exit.Exit<unknown, unknown>) => {
          end.call(span, at, nameOnly(exit))
        }
      })
    }
  })

/** A span that is not sent. What is below it belongs to the one above. */
class PassedOver extends Tracer.NativeSpan {
  readonly above: Tracer.AnySpan | undefined
  constructor(options: ConstructorParameters<typeof Tracer.NativeSpan>[0]) {
    super(options)
    const above = Option.getOrUndefined(options.parent)
    this.above = above instanceof PassedOver ? above.above : above
  }
}

/** The same end of a span, without anything that an error says. A command that ends with rejects has not failed. */
const nameOnly = (exit: Exit.Exit<unknown, unknown>): Exit.Exit<unknown, unknown> => {
  if (Exit.isSuccess(exit)) return Exit.void
  if (Cause.hasInterruptsOnly(exit.cause)) return Exit.interrupt()
  const error = Cause.squash(exit.cause)
  if (error instanceof Ended && (error.code === exitCode.rejects || error.code === exitCode.pending)) return Exit.void
  const named = new Error("")
  const tag = typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : "Defect"
  const reason = error instanceof Error && "reason" in error ? error.reason : undefined
  named.name = tag
  named.message = typeof reason === "string" ? `${tag}: ${reason}` : tag
  named.stack = ""
  return Exit.fail(named)
}

/** What is counted, from what a run tells of its progress. */
class Counters {
  readonly registry: Context.Service.Shape<typeof Metric.MetricRegistry> = new Map()
  private readonly context = Context.make(Metric.MetricRegistry, this.registry)

  readonly add = (step: Progress): void => {
    switch (step.phase) {
      case "found":
        return this.count("mallard.sources", "Sources found", {}, step.sources)
      case "backup":
      case "read":
        return this.count("mallard.bytes", "Bytes copied or proven, and bytes read", { phase: step.phase }, step.bytes)
      case "entities":
        return this.count("mallard.entities", "Entities read", {}, step.count)
      case "verify":
      case "check":
      case "restore":
      case "undo":
        return undefined
      case "item":
        // These counters only grow, and the source was counted when it was decided about.
        if (step.formerly !== undefined) return undefined
        this.count("mallard.items", "What became of sources", { outcome: step.item.outcome }, 1)
        for (const { code } of step.item.remarks) this.problem(code, 1)
        return this.problem("unlisted", step.item.remark_count - step.item.remarks.length)
    }
  }

  private problem(code: string, count: number): void {
    this.count(
      "mallard.problems",
      "Reasons for not storing a source, and remarks about what is stored",
      { code },
      count
    )
  }

  private count(name: string, description: string, attributes: Record<string, string>, count: number): void {
    if (count <= 0) return
    Metric.counter(name, { description, attributes, incremental: true }).updateUnsafe(count, this.context)
  }
}
