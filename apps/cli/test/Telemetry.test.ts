import { readdirSync, readFileSync } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { join } from "node:path"
import { assert, describe, it, onTestFinished } from "vitest"
import { cohort, makeFolder, run, writeFiles } from "./support.ts"

interface Received {
  readonly path: string
  readonly headers: IncomingMessage["headers"]
  readonly body: string
}

/** A collector that keeps what it is sent. */
const startCollector = async (status = 200) => {
  const received: Array<Received> = []
  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString("utf8")
      received.push({ path: request.url ?? "", headers: request.headers, body })
      response.writeHead(status, { "content-type": "application/json" }).end("{}")
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  onTestFinished(() => void server.close())
  const address = server.address()
  return { received, url: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}` }
}

interface Attribute {
  readonly key: string
  readonly value: { readonly stringValue?: string; readonly intValue?: number | string }
}

interface Span {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly attributes: ReadonlyArray<Attribute>
  readonly events: ReadonlyArray<unknown>
  readonly status: { readonly code: number; readonly message?: string }
}

interface Counter {
  readonly name: string
  readonly sum: {
    readonly dataPoints: ReadonlyArray<{ readonly attributes: ReadonlyArray<Attribute>; readonly asDouble: number }>
  }
}

const spansOf = (received: ReadonlyArray<Received>): ReadonlyArray<Span> =>
  received
    .filter(({ path }) => path === "/v1/traces")
    .flatMap(({ body }) => JSON.parse(body).resourceSpans)
    .flatMap(({ scopeSpans }) => scopeSpans)
    .flatMap(({ spans }) => spans)

/** The last values, as `name{attribute}: value`. */
const countersOf = (received: ReadonlyArray<Received>): Readonly<Record<string, number>> => {
  const last = received.findLast(({ path }) => path === "/v1/metrics")
  const counters: ReadonlyArray<Counter> = JSON.parse(last?.body ?? "").resourceMetrics[0].scopeMetrics[0].metrics
  return Object.fromEntries(
    counters.flatMap(({ name, sum }) =>
      sum.dataPoints.map(({ asDouble, attributes }) => [
        `${name}${attributes.map(({ value }) => `{${value.stringValue}}`).join("")}`,
        asDouble
      ])
    )
  )
}

const valuesOf = ({ attributes }: Span): Readonly<Record<string, unknown>> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Number(value.intValue)]))

/** Everything in the sources, their names and the place where they are. */
const privateWords = [
  "Diabetes",
  "two people",
  "Müller",
  "Zo",
  "p1",
  "encounter_id",
  "secret",
  ".json",
  "duckdb",
  "/tmp"
]

const assertPrivate = (folder: string, received: ReadonlyArray<Received>): void => {
  const sent = received.map(({ body }) => body).join("\n")
  for (const word of [folder, ...privateWords]) assert.notInclude(sent, word)
}

describe("mallard --otlp", () => {
  it("sends a span per phase and batch, and counts, with nothing from the sources", async () => {
    const folder = makeFolder()
    const collector = await startCollector()
    writeFiles(folder, {
      [`in/${cohort.file}`]: cohort.text,
      "in/secret-bad.json": '{"name":"secret',
      "in/secret-odd.json": '{"name":"secret","patients":[{"patient_id":"secret","birth_date":"secret","secret":1}]}'
    })
    const outcome = await run(
      folder,
      ["migrate", "in", "--db", "test.duckdb", "--json", "--quiet", "--otlp", `${collector.url}/`],
      { OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20abc, x-team=data" }
    )
    assert.strictEqual(outcome.code, 3, outcome.stderr)
    assert.strictEqual(outcome.stderr, "")
    const spans = spansOf(collector.received)
    assert.deepStrictEqual([...new Set(spans.map(({ name }) => name))].sort(), [
      "mallard.backup",
      "mallard.batch",
      "mallard.commit",
      "mallard.find",
      "mallard.migrate",
      "mallard.read",
      "mallard.verify"
    ])
    const byId = new Map(spans.map((span) => [span.spanId, span]))
    const above = (name: string): ReadonlyArray<string | undefined> =>
      spans.filter((span) => span.name === name).map(({ parentSpanId }) => byId.get(parentSpanId ?? "")?.name)
    assert.deepStrictEqual(above("mallard.migrate"), [undefined])
    for (const phase of ["find", "backup", "read", "verify"]) {
      assert.deepStrictEqual(above(`mallard.${phase}`), ["mallard.migrate"])
    }
    assert.deepStrictEqual(above("mallard.batch"), ["mallard.read"])
    assert.lengthOf(new Set(spans.map(({ traceId }) => traceId)), 1)
    assert.deepStrictEqual(
      spans.flatMap(({ events, status }) => [...events, ...(status.code === 1 ? [] : [status])]),
      []
    )
    const batch = spans.find(({ name }) => name === "mallard.batch")
    const root = spans.find(({ name }) => name === "mallard.migrate")
    assert.deepInclude(batch === undefined ? {} : valuesOf(batch), { "mallard.sources": 3, "mallard.entities": 4 })
    assert.deepStrictEqual(root === undefined ? {} : valuesOf(root), { "mallard.exit_code": 3 })
    const counters = countersOf(collector.received)
    const { totals } = JSON.parse(outcome.stdout)
    assert.deepInclude(counters, {
      "mallard.sources": 3,
      "mallard.entities": 4,
      "mallard.bytes{read}": totals.bytes,
      "mallard.bytes{backup}": 2 * totals.bytes,
      "mallard.items{migrated}": totals.migrated,
      "mallard.items{rejected}": totals.rejected,
      "mallard.problems{unexpected-end}": 1,
      "mallard.problems{not-a-date}": 1
    })
    assertPrivate(folder, collector.received)
    for (const { headers, path } of collector.received) {
      assert.include(["/v1/traces", "/v1/metrics"], path)
      assert.deepInclude(headers, { authorization: "Bearer abc", "x-team": "data" })
    }
  })

  it("names failures by their kind alone", async () => {
    const folder = makeFolder()
    const collector = await startCollector()
    writeFiles(folder, { "secret.duckdb": "this is no database" })
    const outcome = await run(folder, ["verify", "--db", "secret.duckdb", "--otlp"], {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url
    })
    assert.strictEqual(outcome.code, 6, outcome.stderr)
    const span = spansOf(collector.received).find(({ name }) => name === "mallard.verify")
    assert.strictEqual(span?.status.code, 2)
    assert.match(span?.status.message ?? "", /^[A-Z]\w+(: [\w-]+)?$/)
    assertPrivate(folder, collector.received)
  })

  it("says when nothing arrived, and changes nothing else", async () => {
    const folder = makeFolder()
    const collector = await startCollector(400)
    writeFiles(folder, { [`in/${cohort.file}`]: cohort.text })
    const outcome = await run(folder, ["migrate", "in", "--db", "test.duckdb", "--quiet", "--otlp", collector.url])
    assert.strictEqual(outcome.code, 0)
    assert.strictEqual(
      outcome.stderr,
      `Warning: traces and metrics did not reach ${collector.url}; what the command did is not affected.\n`
    )
  })

  it("sends the last traces and metrics side by side, so that the time for them runs out once", async () => {
    const folder = makeFolder()
    const waiting: Array<{ readonly path: string; readonly response: ServerResponse }> = []
    const given: Array<string> = []
    const server = createServer((request, response) => {
      const path = request.url ?? ""
      response.on("close", () => void (response.writableFinished || given.push(path)))
      waiting.push({ path, response })
      // Nothing is answered until both are there.
      if (waiting.length > 1) for (const one of waiting) one.response.writeHead(200).end("{}")
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    onTestFinished(() => void server.close())
    const address = server.address()
    const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`
    const outcome = await run(folder, ["list", "--otlp", url])
    assert.notInclude(outcome.stderr, "did not reach")
    assert.deepStrictEqual(waiting.map(({ path }) => path).sort(), ["/v1/metrics", "/v1/traces"])
    assert.deepStrictEqual(given, [], "given up while the other was not sent yet")
  })

  it("needs the URL of a collector", async () => {
    const folder = makeFolder()
    for (const [args, env] of [
      [["--otlp"], {}],
      [["--otlp=localhost:4318"], {}],
      [["--otlp"], { OTEL_EXPORTER_OTLP_ENDPOINT: "collector" }]
    ] as const) {
      const outcome = await run(folder, ["list", ...args], env)
      assert.strictEqual(outcome.code, 2, outcome.stderr)
      assert.match(outcome.stderr, /collector/)
    }
  })

  it("is not even loaded where it is not asked for", async () => {
    const folder = makeFolder()
    const loaded = async (args: ReadonlyArray<string>, name: string) => {
      const coverage = join(folder, name)
      await run(folder, args, { NODE_V8_COVERAGE: coverage })
      return readdirSync(coverage).some((file) => /\/Telemetry[-.]\w+/.test(readFileSync(join(coverage, file), "utf8")))
    }
    assert.isFalse(await loaded(["list"], "without"))
    assert.isTrue(await loaded(["list", "--otlp", "http://127.0.0.1:9"], "with"))
  })
})
