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
import { dateText, losesFields } from "@mallard/sql-duckdb/NativeValues"
import { createHash } from "node:crypto"
import { writeFileSync, writeSync } from "node:fs"
import { systemCode } from "../Disk.ts"
import { ALIAS, Answered, cohortId, connect, lock, open, problemOf, publish, stateOf } from "./query-database.ts"
import {
  ANSWER,
  type AnsweredPage,
  type JsonValue,
  MEMORY_EXIT,
  type QueryAnswer,
  type QueryRequest
} from "./query-protocol.ts"
import { judgeTree } from "./query-tree.ts"

const answerTo = async (request: QueryRequest): Promise<QueryAnswer> => {
  const connection = await connect(request)
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
  if (losesFields(result)) throw new Answered({ _tag: "unnamed-fields" })
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
const float = (value: DuckDBValue): number | string => {
  // JSON.stringify would write -0 as 0.
  if (Object.is(value, -0)) return "-0"
  return Number.isFinite(Number(value)) ? Number(value) : String(value)
}
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
  [DuckDBTypeId.DATE]: dateText,
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
      if (systemCode(cause) !== "EAGAIN") throw cause
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
