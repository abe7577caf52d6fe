/**
 * The process in which one query runs. It decides on the syntax tree before the database is opened, opens it for
 * reading only, locks DuckDB's settings, runs the query and answers with one page. Its parent may kill it at any time.
 */
import {
  arrayFromArrayValue,
  arrayFromListValue,
  booleanFromValue,
  createDuckDBValueConverter,
  DuckDBBlobValue,
  type DuckDBConnection,
  type DuckDBDataChunk,
  DuckDBInstance,
  type DuckDBResult,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBTypeId,
  type DuckDBValue,
  type DuckDBValueConverter,
  nullConverter,
  objectArrayFromMapValue,
  objectFromStructValue,
  objectFromUnionValue,
  stringFromValue,
  unsupportedConverter
} from "@duckdb/node-api"
import duckdb from "@duckdb/node-bindings"
import { createHash } from "node:crypto"
import { closeSync, openSync, readSync, statSync, writeFileSync, writeSync } from "node:fs"
import {
  ANSWER,
  type AnsweredPage,
  type EngineProblem,
  type JsonValue,
  MEMORY_EXIT,
  type OpenProblem,
  type QueryAnswer,
  type QueryRequest
} from "./query-protocol.ts"
import { judgeTree } from "./query-tree.ts"

/** Ends the work with an answer other than a page. */
class Answered extends Error {
  readonly answer: QueryAnswer
  constructor(answer: QueryAnswer) {
    super(answer._tag)
    this.answer = answer
  }
}

const answerTo = async (request: QueryRequest): Promise<QueryAnswer> => {
  const instance = await DuckDBInstance.create(":memory:", settings(request))
  const connection = await instance.connect()
  await connection.run("SET errors_as_json = true")
  const judged = judgeTree(await serialize(connection, request.sql), publishedTo(request))
  if ("reason" in judged) return { _tag: "refused", refusal: await namingOnlyKnown(connection, judged) }
  await open(connection, request)
  const cohort = request.cohort === undefined ? undefined : await cohortId(connection, request.cohort)
  const digest = createHash("sha256")
    .update(JSON.stringify([request.sql, cohort ?? null, await stateOf(connection)]))
    .digest("hex")
    .slice(0, 32)
  if (request.cursor !== undefined && request.cursor.digest !== digest) return { _tag: "cursor" }
  for (const view of judged.views) await publish(connection, view, cohort)
  await lock(connection)
  return { _tag: "page", page: await run(connection, request, digest) }
}

const ALIAS = "store"

const settings = (request: QueryRequest): Record<string, string> => ({
  autoinstall_known_extensions: "false",
  autoload_known_extensions: "false",
  allow_community_extensions: "false",
  allow_unsigned_extensions: "false",
  allow_persistent_secrets: "false",
  memory_limit: `${request.engineMemory}B`,
  max_temp_directory_size: "0B",
  temp_directory: "",
  // One thread gives rows without ORDER BY in the same order each time, so that pages fit together.
  threads: "1"
})

const publishedTo = ({ views, cohort }: QueryRequest): ReadonlySet<string> =>
  new Set(Object.keys(views).filter((name) => cohort === undefined || views[name] === true))

/** Parses only: nothing of the text is looked up, prepared or run. */
const serialize = async (connection: DuckDBConnection, sql: string): Promise<string> => {
  const reader = await connection.runAndReadAll("SELECT CAST(json_serialize_sql($1::VARCHAR) AS VARCHAR)", [sql])
  return String(reader.getRows()[0]?.[0])
}

type Refused = Extract<QueryAnswer, { _tag: "refused" }>["refusal"]

/** A refused name is repeated only if it is DuckDB's own word: any other may be a value. */
const namingOnlyKnown = async (connection: DuckDBConnection, refusal: Refused): Promise<Refused> => {
  const { name, ...nameless } = refusal
  if (name === undefined) return refusal
  const reader = await connection.runAndReadAll(
    "SELECT count(*) > 0 FROM duckdb_functions() WHERE lower(function_name) = $1::VARCHAR",
    [name]
  )
  return reader.getRows()[0]?.[0] === true ? refusal : nameless
}

const HEADER_BYTES = 16

const open = async (connection: DuckDBConnection, { path, version }: QueryRequest): Promise<void> => {
  const fail = (problem: OpenProblem) => new Answered({ _tag: "open", problem })
  try {
    if (!statSync(path).isFile()) throw fail({ kind: "state", state: "not-a-database" })
    const header = Buffer.alloc(HEADER_BYTES)
    const descriptor = openSync(path, "r")
    readSync(descriptor, header, 0, HEADER_BYTES, 0)
    closeSync(descriptor)
    // DuckDB would load an extension for some other files.
    if (header.toString("latin1", 8, 12) !== "DUCK") throw fail({ kind: "state", state: "not-a-database" })
    await connection.run(`ATTACH ${text(path)} AS ${ALIAS} (READ_ONLY)`)
    const state = await schemaState(connection, version)
    if (state !== undefined) throw fail({ kind: "state", state })
  } catch (cause) {
    if (cause instanceof Answered) throw cause
    if (cause instanceof Error && "code" in cause && typeof cause.code === "string") {
      throw fail({ kind: "errno", code: cause.code })
    }
    throw fail({ kind: "engine", text: problemOf(cause).text })
  }
}

/** What keeps the database from being queried, if anything does. */
const schemaState = async (connection: DuckDBConnection, latest: number) => {
  const tables = await connection.runAndReadAll(
    "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND database_name = $1",
    [ALIAS]
  )
  const rows = tables.getRows()
  if (rows.length === 0) return "missing"
  const ours = rows.filter(([schema]) => schema === "mallard")
  if (ours.length === 0) return "foreign"
  if (!ours.some(([, name]) => name === "schema_migrations")) return "damaged"
  const versions = await connection.runAndReadAll(`SELECT max(version) FROM ${ALIAS}.mallard.schema_migrations`)
  const version = Number(versions.getRows()[0]?.[0] ?? 0)
  return version > latest ? "newer" : version < 1 ? "damaged" : undefined
}

/** As `CohortStore.find`: a name goes before an id, and the latest of that name before the others. */
const cohortId = async (connection: DuckDBConnection, nameOrId: string): Promise<string> => {
  const reader = await connection.runAndReadAll(
    `SELECT CAST(cohort_id AS VARCHAR) FROM ${ALIAS}.mallard.heads
    WHERE name = $1 OR cohort_id = TRY_CAST($1 AS UUID) ORDER BY name = $1 DESC, revision_id DESC LIMIT 1`,
    [nameOrId]
  )
  const found = reader.getRows()[0]?.[0]
  if (typeof found !== "string") throw new Answered({ _tag: "cohort" })
  return found
}

/** Changes with every commit and with every row of the ledger. */
const stateOf = async (connection: DuckDBConnection): Promise<string> => {
  const table = (name: string) => `${ALIAS}.mallard.${name}`
  const counts = ["migration_runs", "migration_items", "data_integrity_checks", "migration_backups"].map(
    (name) => `(SELECT count(*) FROM ${table(name)})`
  )
  const commits = `(SELECT coalesce(bit_xor(hash(attempt, table_name, first_id, row_count)), 0) FROM ${table("commits")})`
  const reader = await connection.runAndReadAll(`SELECT concat_ws(' ', ${[commits, ...counts].join(", ")})`)
  return String(reader.getRows()[0]?.[0])
}

const publish = async (connection: DuckDBConnection, view: string, cohort: string | undefined): Promise<void> => {
  const filter = cohort === undefined ? "" : ` WHERE cohort_id = CAST(${text(cohort)} AS UUID)`
  await connection.run(`CREATE VIEW memory.main.${name(view)} AS SELECT * FROM ${ALIAS}.main.${name(view)}${filter}`)
}

const lock = async (connection: DuckDBConnection): Promise<void> => {
  await connection.run("SET enable_external_access = false")
  await connection.run("SET disabled_filesystems = 'LocalFileSystem'")
  await connection.run("SET lock_configuration = true")
}

const text = (value: string): string => `'${value.replaceAll("'", "''")}'`
const name = (value: string): string => `"${value.replaceAll('"', '""')}"`

const run = async (connection: DuckDBConnection, request: QueryRequest, digest: string): Promise<AnsweredPage> => {
  try {
    return await readPage(await connection.stream(request.sql), request, digest)
  } catch (cause) {
    if (cause instanceof Answered) throw cause
    const problem = problemOf(cause)
    const candidates = problem.candidates.length === 0 ? [] : await amongColumns(connection, problem.candidates)
    throw new Answered({ _tag: "engine", problem: { ...problem, candidates } })
  }
}

/** Those names that columns of the views have: others may come from the query, and be values. */
const amongColumns = async (
  connection: DuckDBConnection,
  names: ReadonlyArray<string>
): Promise<ReadonlyArray<string>> => {
  const reader = await connection.runAndReadAll(
    "SELECT DISTINCT column_name FROM duckdb_columns() WHERE database_name = $1 AND schema_name = 'main'",
    [ALIAS]
  )
  const known = new Set(reader.getRows().map(([found]) => found))
  return names.filter((candidate) => known.has(candidate))
}

const readPage = async (result: DuckDBResult, request: QueryRequest, digest: string): Promise<AnsweredPage> => {
  const columns = result.columnNames().map((column, index) => ({
    name: column,
    type: result.columnType(index).alias ?? String(result.columnType(index))
  }))
  const texts = columns.map((_, index) => result.columnTypeId(index) === DuckDBTypeId.VARCHAR)
  const first = request.cursor?.offset ?? 0
  const rows: Array<ReadonlyArray<JsonValue>> = []
  let bytes = 0
  for (let start = 0; ;) {
    const chunk = await result.fetchChunk()
    const count = chunk?.rowCount ?? 0
    if (chunk === null || chunk === undefined || count === 0)
      return { columns, rows, truncated: false, next: undefined }
    for (let row = Math.max(0, first - start); row < count; row++) {
      const next = { offset: start + row, digest }
      if (rows.length === request.limit) return { columns, rows, truncated: true, next }
      const values = columns.map((_, column) => valueAt(chunk, column, row, texts[column] === true))
      bytes += Buffer.byteLength(JSON.stringify(values)) + 1
      if (bytes > request.maxBytes) {
        if (rows.length === 0) throw new Answered({ _tag: "row-too-large" })
        return { columns, rows, truncated: true, next }
      }
      rows.push(values)
    }
    start += count
  }
}

const valueAt = (chunk: DuckDBDataChunk, column: number, row: number, isText: boolean): JsonValue => {
  const vector = chunk.getColumnVector(column)
  const value = jsonConverter(vector.getItem(row), vector.type, jsonConverter)
  return isText && typeof value === "string" ? withByteOrderMark(chunk, column, row, value) : value
}

// The Node client swallows a leading U+FEFF. DuckDB keeps a string as a record of 16 bytes: its length (4 bytes), then
// the first bytes of the text.
const withByteOrderMark = (chunk: DuckDBDataChunk, column: number, row: number, value: string): string => {
  const vector = duckdb.data_chunk_get_vector(chunk.chunk, column)
  const data = duckdb.vector_get_data(vector, (row + 1) * 16).subarray(row * 16)
  const length = data[0]! | (data[1]! << 8) | (data[2]! << 16) | (data[3]! << 24)
  const isMarked = length >= 3 && data[4] === 0xef && data[5] === 0xbb && data[6] === 0xbf
  return isMarked ? `\uFEFF${value}` : value
}

const integer = (value: DuckDBValue): number | string =>
  Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
const float = (value: DuckDBValue): number | string => (Number.isFinite(Number(value)) ? Number(value) : String(value))
const timestamp = (value: DuckDBValue): string => {
  const found = String(value)
  return /^\d{4,}-\d\d-\d\d \d/.test(found) ? found.replace(" ", "T") : found
}
const timestampUtc = (value: DuckDBValue): string => {
  if (!(value instanceof DuckDBTimestampTZValue)) return String(value)
  const found = timestamp(new DuckDBTimestampValue(value.micros))
  return found.includes("T") ? `${found}Z` : found
}
const base64 = (value: DuckDBValue): string =>
  value instanceof DuckDBBlobValue ? Buffer.from(value.bytes).toString("base64") : String(value)

const jsonConverter: DuckDBValueConverter<JsonValue> = createDuckDBValueConverter<JsonValue>({
  [DuckDBTypeId.INVALID]: unsupportedConverter,
  [DuckDBTypeId.BOOLEAN]: booleanFromValue,
  [DuckDBTypeId.TINYINT]: integer,
  [DuckDBTypeId.SMALLINT]: integer,
  [DuckDBTypeId.INTEGER]: integer,
  [DuckDBTypeId.BIGINT]: integer,
  [DuckDBTypeId.UTINYINT]: integer,
  [DuckDBTypeId.USMALLINT]: integer,
  [DuckDBTypeId.UINTEGER]: integer,
  [DuckDBTypeId.UBIGINT]: integer,
  [DuckDBTypeId.FLOAT]: float,
  [DuckDBTypeId.DOUBLE]: float,
  [DuckDBTypeId.TIMESTAMP]: timestamp,
  [DuckDBTypeId.DATE]: stringFromValue,
  [DuckDBTypeId.TIME]: stringFromValue,
  [DuckDBTypeId.INTERVAL]: stringFromValue,
  [DuckDBTypeId.HUGEINT]: integer,
  [DuckDBTypeId.UHUGEINT]: integer,
  [DuckDBTypeId.VARCHAR]: stringFromValue,
  [DuckDBTypeId.BLOB]: base64,
  [DuckDBTypeId.DECIMAL]: stringFromValue,
  [DuckDBTypeId.TIMESTAMP_S]: timestamp,
  [DuckDBTypeId.TIMESTAMP_MS]: timestamp,
  [DuckDBTypeId.TIMESTAMP_NS]: timestamp,
  [DuckDBTypeId.ENUM]: stringFromValue,
  [DuckDBTypeId.LIST]: arrayFromListValue,
  [DuckDBTypeId.STRUCT]: objectFromStructValue,
  [DuckDBTypeId.MAP]: objectArrayFromMapValue,
  [DuckDBTypeId.ARRAY]: arrayFromArrayValue,
  [DuckDBTypeId.UUID]: stringFromValue,
  [DuckDBTypeId.UNION]: objectFromUnionValue,
  [DuckDBTypeId.BIT]: stringFromValue,
  [DuckDBTypeId.TIME_TZ]: stringFromValue,
  [DuckDBTypeId.TIMESTAMP_TZ]: timestampUtc,
  [DuckDBTypeId.ANY]: unsupportedConverter,
  [DuckDBTypeId.BIGNUM]: integer,
  [DuckDBTypeId.SQLNULL]: nullConverter,
  [DuckDBTypeId.STRING_LITERAL]: unsupportedConverter,
  [DuckDBTypeId.INTEGER_LITERAL]: unsupportedConverter,
  [DuckDBTypeId.TIME_NS]: stringFromValue,
  [DuckDBTypeId.GEOMETRY]: stringFromValue,
  [DuckDBTypeId.VARIANT]: unsupportedConverter
})

/** DuckDB's words about what went wrong, as `errors_as_json` gives them. */
const problemOf = (cause: unknown): EngineProblem => {
  const message = cause instanceof Error ? cause.message : String(cause)
  const json = /\{.*\}/s.exec(message)?.[0]
  let details: Readonly<Record<string, unknown>> = {}
  try {
    if (json !== undefined) details = JSON.parse(json)
  } catch {
    // Some failures are plain words even so.
  }
  const type = details["exception_type"]
  const location = Number(details["position"] ?? NaN)
  const candidates = details["candidates"]
  return {
    type: typeof type === "string" ? type : (/([A-Z][A-Za-z ]*) Error:/.exec(message)?.[1] ?? ""),
    text: String(details["exception_message"] ?? message),
    location: Number.isSafeInteger(location) ? location : undefined,
    candidates: typeof candidates === "string" ? candidates.split(",").slice(0, 3) : []
  }
}

const WATCH_MS = 25

/** Ends the process when it grows too large. On Linux the parent sees to it, which also works while this one is busy. */
const watchMemory = (limit: number): void => {
  if (process.platform === "linux") {
    try {
      // Should the machine run out of memory, this process is the one to go.
      writeFileSync("/proc/self/oom_score_adj", "1000")
    } catch {
      // Not permitted everywhere.
    }
    return
  }
  setInterval(() => {
    if (process.memoryUsage.rss() > limit) process.exit(MEMORY_EXIT)
  }, WATCH_MS).unref()
}

const send = (answer: QueryAnswer): void => {
  const bytes = Buffer.from(JSON.stringify(answer))
  for (let written = 0; written < bytes.length;) {
    try {
      written += writeSync(ANSWER, bytes, written)
    } catch (cause) {
      if (!(cause instanceof Error && "code" in cause && cause.code === "EAGAIN")) throw cause
      Atomics.wait(sleeper, 0, 0, 1)
    }
  }
}

const sleeper = new Int32Array(new SharedArrayBuffer(4))

// DuckDB may be busy in threads of its own: no orderly end could be waited for.
const leave = (): void => {
  process.kill(process.pid, "SIGKILL")
}

const start = async (line: string): Promise<void> => {
  const request: QueryRequest = JSON.parse(line)
  watchMemory(request.memory)
  let answer: QueryAnswer
  try {
    answer = await answerTo(request)
  } catch (cause) {
    answer = cause instanceof Answered ? cause.answer : { _tag: "engine", problem: problemOf(cause) }
  }
  send(answer)
  leave()
}

let received = ""
process.stdin.setEncoding("utf8")
process.stdin.on("data", (piece: string) => {
  if (received.endsWith("\n")) return
  received += piece
  if (received.endsWith("\n")) void start(received)
})
process.stdin.on("end", leave)
