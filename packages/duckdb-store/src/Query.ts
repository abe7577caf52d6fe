/**
 * Queries of people and programs that are not trusted: one SELECT over the published views, decided on DuckDB's own
 * syntax tree, run in a process of its own on a locked-down, read-only database, and killed at its limits. Whatever the
 * text holds, nothing is changed, no file but the database is read, and the caller lives on.
 */

import { type DuckDbSqlClient, toOpenError } from "@mallard/sql-duckdb"
import { kinds, parseJson } from "@mallard/schema"
import { Effect, Predicate, Schema } from "effect"
import { type SqlError } from "effect/sql"
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { getCompileCacheDir } from "node:module"
import { fileURLToPath } from "node:url"
import { programBeside } from "./Disk.ts"
import { hasLog, ownPath } from "./internal/files.ts"
import { query } from "./internal/query.ts"
import {
  ANSWER,
  type AnsweredPage,
  type EngineProblem,
  type JsonValue,
  MEMORY_EXIT,
  type OpenProblem,
  type QueryAnswer,
  type QueryRequest
} from "./internal/query-protocol.ts"
import { type Construct, type Refusal } from "./internal/query-tree.ts"
import { memoryBounds } from "./Memory.ts"
import { migrations } from "./Migrations.ts"
import { StoreError, toStoreError } from "./StoreError.ts"
import { placeColumns, views } from "./Views.ts"

/** What to ask of which database. */
export interface QueryOptions {
  readonly path: string
  /** Exactly one SELECT, VALUES, DESCRIBE or SUMMARIZE, of at most 64 KiB. */
  readonly sql: string
  /** Name or id of the only cohort whose rows the views then have; views that tell of no cohort are not there. */
  readonly cohort?: string | undefined
  /** Rows of a page, 1 to 10,000; 100 if not given. */
  readonly limit?: number | undefined
  /** `nextCursor` of the page before, with the same SQL, cohort and database. */
  readonly cursor?: string | undefined
  /** Milliseconds, 100 to 600,000, after which the query is given up; 10,000 if not given. */
  readonly timeout?: number | undefined
  /** Bytes that DuckDB may use, 24 MB to 1 TiB; 768 MiB if not given. Its process may use 256 MiB more. */
  readonly memory?: number | undefined
  /** Bytes of the rows of a page as JSON, 1 KiB to 64 MiB; 1 MiB if not given. */
  readonly maxBytes?: number | undefined
}

/** A value as JSON holds it. */
export type QueryValue = JsonValue

/**
 * Some rows of a result. Integers that JavaScript cannot hold exactly are texts, as are DECIMAL, dates and times (ISO
 * 8601), intervals, UUID, JSON, and the DOUBLEs `NaN`, `Infinity`, `-Infinity`; BLOB is base64, MAP `{ key, value }[]`.
 */
export interface QueryPage {
  readonly columns: ReadonlyArray<{ readonly name: string; readonly type: string }>
  /** Values in the order of the columns. */
  readonly rows: ReadonlyArray<ReadonlyArray<QueryValue>>
  readonly rowCount: number
  /** Whether the result has more rows than the page, because of `limit` or `maxBytes`. */
  readonly truncated: boolean
  /** Gets the next page; there is one if `truncated`. */
  readonly nextCursor?: string
}

/** Why there is no page. */
export const QueryReason = Schema.Literals([
  "syntax",
  "not-one-statement",
  "not-a-query",
  "not-allowed",
  "too-complex",
  "not-understood",
  "not-grouped",
  "not-computable",
  "timeout",
  "memory",
  "row-too-large",
  "unnamed-fields",
  "crashed",
  "not-started",
  "bad-cursor",
  "no-such-cohort",
  "bad-limit"
])
export type QueryReason = typeof QueryReason.Type

const texts: Readonly<Record<QueryReason, readonly [what: string, next: string]>> = {
  syntax: ["The SQL is not understood", "Mend it there."],
  "not-one-statement": ["The SQL is not exactly one statement", "Send one SELECT at a time."],
  "not-a-query": ["The statement is not a query", "Only SELECT, VALUES, DESCRIBE and SUMMARIZE are run."],
  "not-allowed": ["The query uses what queries may not use", "docs/query.md lists what they may."],
  "too-complex": ["The query is too long or too deeply nested", "Make it simpler."],
  "not-understood": ["The query does not fit the views", "DESCRIBE a view to see its columns and their types."],
  "not-grouped": [
    "A column is neither grouped by nor in an aggregate",
    "Add GROUP BY ALL, or take the column in an aggregate such as any_value."
  ],
  "not-computable": ["A value cannot be computed", "TRY_CAST and TRY give NULL instead."],
  timeout: ["The query took too long", "Make it simpler, or allow it more time."],
  memory: ["The query needs too much memory", "Filter or aggregate more, or allow it more memory."],
  "row-too-large": ["A single row is larger than a page may be", "Select fewer columns, or a part of the long values."],
  "unnamed-fields": [
    "A STRUCT of the result has fields without names, which would be lost",
    "Name them all, as in {'a': 1, 'b': 2}, or select them one by one."
  ],
  crashed: ["The database engine gave up on the query", "Nothing was changed. Ask in another way."],
  "not-started": [
    "The process of the query could not be started",
    "Install Mallard again, or close other programs if there are very many."
  ],
  "bad-cursor": [
    "The cursor belongs to another query, or the database has changed since",
    "Start again without a cursor."
  ],
  "no-such-cohort": ["There is no cohort of that name or id", "List the cohorts to see their names."],
  "bad-limit": ["A limit of the query is out of its range", "Give one that is within it."]
}

const constructs: Readonly<Record<Construct, string>> = {
  function: "a function that is not on the list",
  table: "a table that is not one of the published views",
  "table-function": "a table function that is not on the list",
  type: "a type that is not on the list",
  collation: "a collation that is not on the list",
  parameter: "a parameter, and there are no values for it",
  number: "a number that no DOUBLE can hold",
  clause: "a clause that is not supported here"
}

/** A query gave no page. Neither its values nor those of the database stand in the message. */
export class QueryError extends Schema.TaggedError<QueryError>()("QueryError", {
  reason: QueryReason,
  /** What the query may not use. */
  construct: Schema.optionalKey(
    Schema.Literals(["function", "table", "table-function", "type", "collation", "parameter", "number", "clause"])
  ),
  /** The function that it may not use, if DuckDB has one of that name, or the option with the range that it is out of. */
  subject: Schema.optionalKey(Schema.String),
  /** Where in the SQL, counted from 1. */
  line: Schema.optionalKey(Schema.Int),
  column: Schema.optionalKey(Schema.Int),
  /** Columns whose names are like the one that is not there. */
  candidates: Schema.optionalKey(Schema.Array(Schema.String)),
  /** DuckDB's own words, which quote values. */
  cause: Schema.optionalKey(Schema.Defect())
}) {
  /** What to do about it. */
  get next(): string {
    return texts[this.reason][1]
  }
  override get message(): string {
    const [what, next] = texts[this.reason]
    const which = this.construct === undefined ? "" : `: ${constructs[this.construct]}`
    const subject = this.subject === undefined ? "" : ` (${this.subject})`
    const where = this.line === undefined ? "" : `, at line ${this.line}, column ${this.column ?? 1}`
    const like = this.candidates?.length ? ` Is it ${this.candidates.join(" or ")}?` : ""
    return `${what}${which}${subject}${where}.${like} ${next}`
  }
}

/**
 * Runs a query and gives one page of its rows. Interrupting it ends its process. The database must not be open for
 * writing, by this process or any other.
 */
export const queryDatabase = Effect.fn("queryDatabase")(function* (options: QueryOptions) {
  const request = yield* requestOf(options)
  const answer = yield* ask(request, options.timeout ?? TIMEOUT.standard)
  switch (answer._tag) {
    case "page":
      return pageOf(answer.page)
    case "refused":
      return yield* refusedError(answer.refusal, options.sql)
    case "open":
      return yield* openError(answer.problem, request.path)
    case "engine":
      return yield* engineError(answer.problem, request)
    case "row-too-large":
    case "unnamed-fields":
      return yield* new QueryError({ reason: answer._tag })
    case "cursor":
      return yield* new QueryError({ reason: "bad-cursor" })
    case "cohort":
      return yield* new QueryError({ reason: "no-such-cohort" })
    case "ended":
      return yield* new QueryError({ reason: answer.reason })
  }
})

/** A view that queries may read. */
export interface QueryTable {
  readonly name: string
  readonly comment: string
  /** Whether a query of one cohort can read it. */
  readonly hasCohorts: boolean
  readonly columns: ReadonlyArray<{
    readonly name: string
    readonly type: string
    readonly comment: string | undefined
  }>
}

/** The views that queries may read, in the order in which they are explained, with what their columns mean. */
export const describeTables = (sql: DuckDbSqlClient): Effect.Effect<ReadonlyArray<QueryTable>, SqlError.SqlError> =>
  Effect.map(query<ColumnRow>(sql, columnsSql), (rows) =>
    published.map(({ name }) => ({
      name,
      comment: tableComment(name),
      hasCohorts: hasCohorts(name),
      columns: rows
        .filter((row) => row.table_name === name)
        .map((row) => ({
          name: row.column_name,
          type: row.data_type,
          comment: columnComment(name, row.column_name)
        }))
    }))
  )

const published = views.filter(({ schema }) => schema === "main")

/** What they tell belongs to runs, each of which may be about many cohorts. */
const withoutCohorts: ReadonlySet<string> = new Set(["migration_runs", "data_integrity_checks", "migration_backups"])

const hasCohorts = (view: string): boolean => !withoutCohorts.has(view)

interface ColumnRow {
  readonly table_name: string
  readonly column_name: string
  readonly data_type: string
}

const columnsSql =
  "SELECT table_name, column_name, data_type FROM duckdb_columns()" +
  " WHERE NOT internal AND database_name = current_database() AND schema_name = 'main'" +
  " ORDER BY table_name, column_index"

const tableComments: Readonly<Record<string, string>> = {
  cohorts: "A row for each cohort, as it is now",
  cohort_tags: "A row for each tag of each cohort",
  cohort_entities: "A row for each entity of each cohort, of any kind",
  cohort_revisions: "A row for each revision of each cohort, deleted ones too",
  json_values: "Elements of no known kind, as JSON text",
  migration_runs: "Start and end of each run of the migration",
  migration_items: "What became of each source in each run",
  data_integrity_checks: "The proofs of what was stored",
  migration_backups: "The backups that were made",
  legacy_mappings: "Ids that the sources gave, and what they stand for now"
}

const tableComment = (name: string): string =>
  tableComments[name] ??
  `A row for each ${(kinds.find(({ table }) => table === name)?.kind ?? name).replaceAll("_", " ")} of each cohort`

const placeComments: Readonly<Record<(typeof placeColumns)[number], string>> = {
  cohort_id: "Id of the cohort",
  cohort_name: "Name of the cohort",
  source_path: "File of the cohort that it stands in",
  pointer: "JSON pointer of the place in that file",
  entity_id: "Number within the kind; equal content has the same number",
  parent_kind: "Kind of the entity that encloses it; NULL if it stands in the file itself",
  parent_entity_id: "Number of the entity that encloses it"
}

const columnComment = (view: string, column: string): string | undefined => {
  const place = placeColumns.find((name) => name === column)
  const kind = kinds.find(({ table }) => table === view)
  if (kind === undefined) return undefined
  if (place !== undefined) return placeComments[place]
  if (column.endsWith("_zone")) return "How the source wrote the time: none, utc or offset"
  return kind.columns.find(({ name }) => name === column)?.description
}

const MEBIBYTE = 1024 * 1024

interface Bounds {
  readonly least: number
  readonly most: number
  /** The same in words. */
  readonly range: string
  readonly standard: number
}

const LIMIT: Bounds = { least: 1, most: 10_000, range: "1 to 10,000", standard: 100 }
const TIMEOUT: Bounds = { least: 100, most: 600_000, range: "0.1 to 600 seconds", standard: 10_000 }
const MEMORY: Bounds = { ...memoryBounds, range: "24 MB to 1 TiB", standard: 768 * MEBIBYTE }
const MAX_BYTES: Bounds = { least: 1024, most: 64 * MEBIBYTE, range: "1 KiB to 64 MiB", standard: MEBIBYTE }

const MAX_SQL_BYTES = 64 * 1024
/** What the process needs beside DuckDB's own memory: the program, the page, and what DuckDB does not count. */
const PROCESS_MEMORY = 256 * MEBIBYTE

const within = (
  name: string,
  value: number | undefined,
  { least, most, range, standard }: Bounds
): Effect.Effect<number, QueryError> => {
  const found = value ?? standard
  return Number.isInteger(found) && found >= least && found <= most
    ? Effect.succeed(found)
    : Effect.fail(new QueryError({ reason: "bad-limit", subject: `${name}, ${range}` }))
}

const requestOf = Effect.fnUntraced(function* (options: QueryOptions) {
  const { sql, cohort, cursor } = options
  yield* within("timeout", options.timeout, TIMEOUT)
  const memory = yield* within("memory", options.memory, MEMORY)
  // DuckDB would read the text up to the first NUL only.
  if (sql.includes("\0") || !sql.isWellFormed()) return yield* new QueryError({ reason: "syntax" })
  if (Buffer.byteLength(sql) > MAX_SQL_BYTES) return yield* new QueryError({ reason: "too-complex" })
  if (cohort !== undefined && (cohort.includes("\0") || !cohort.isWellFormed())) {
    return yield* new QueryError({ reason: "no-such-cohort" })
  }
  const parsed = cursor === undefined ? undefined : parseCursor(cursor)
  if (cursor !== undefined && parsed === undefined) return yield* new QueryError({ reason: "bad-cursor" })
  const path = ownPath(options.path)
  if (path.includes("\0") || !path.isWellFormed()) {
    return yield* new StoreError({ reason: "bad-path", path: path.toWellFormed().replaceAll("\0", "\\0") })
  }
  const request: QueryRequest = {
    path,
    sql,
    cohort,
    cursor: parsed,
    views: Object.fromEntries(published.map(({ name }) => [name, hasCohorts(name)])),
    version: migrations.length,
    limit: yield* within("limit", options.limit, LIMIT),
    maxBytes: yield* within("maxBytes", options.maxBytes, MAX_BYTES),
    memory: memory + PROCESS_MEMORY,
    engineMemory: memory
  }
  return request
})

interface Cursor {
  readonly offset: number
  readonly digest: string
}

const formatCursor = ({ offset, digest }: Cursor): string => Buffer.from(`${offset}.${digest}`).toString("base64url")

const parseCursor = (text: string): Cursor | undefined => {
  const [, offset, digest] =
    /^(\d{1,15})\.([0-9a-f]{32})$/.exec(Buffer.from(text, "base64url").toString("latin1")) ?? []
  return offset === undefined || digest === undefined ? undefined : { offset: Number(offset), digest }
}

const pageOf = ({ columns, rows, truncated, next }: AnsweredPage): QueryPage => ({
  columns,
  rows,
  rowCount: rows.length,
  truncated,
  ...(next === undefined ? {} : { nextCursor: formatCursor(next) })
})

const placeIn = (sql: string, location: number | undefined): { readonly line?: number; readonly column?: number } => {
  if (location === undefined) return {}
  const lines = Buffer.from(sql).subarray(0, location).toString("utf8").split("\n")
  return { line: lines.length, column: [...(lines.at(-1) ?? "")].length + 1 }
}

const refusedError = ({ reason, construct, name, location }: Refusal, sql: string): QueryError =>
  new QueryError({
    reason,
    ...(construct === undefined ? {} : { construct }),
    ...(name === undefined ? {} : { subject: name }),
    ...placeIn(sql, location)
  })

const openError = (problem: OpenProblem, path: string): StoreError => {
  switch (problem.kind) {
    case "errno":
      return toStoreError(path, Object.assign(new Error(problem.code), { code: problem.code }))
    case "engine":
      return toStoreError(path, toOpenError(new Error(problem.text), path), hasLog(path))
    case "state":
      return new StoreError({ reason: problem.state, path })
  }
}

/** By DuckDB's class of the failure; any other is about values. */
const engineReasons: Readonly<Record<string, QueryReason>> = {
  "Out of Memory": "memory",
  Binder: "not-understood",
  Catalog: "not-understood",
  Parser: "not-understood",
  Syntax: "not-understood",
  Expression: "not-understood",
  "Mismatch Type": "not-understood",
  "Invalid type": "not-understood",
  "Not implemented": "not-understood",
  Permission: "not-allowed",
  INTERNAL: "crashed",
  FATAL: "crashed"
}

const engineError = (problem: EngineProblem, { path, sql }: QueryRequest): QueryError | StoreError => {
  const cause = new Error(problem.text)
  // The query itself reads no file: it is the database that cannot be read.
  if (problem.type === "IO") return toStoreError(path, cause)
  const reason = problem.text.includes("expression depth")
    ? "too-complex"
    : problem.text.includes("must appear in the GROUP BY clause")
      ? "not-grouped"
      : (engineReasons[problem.type] ?? "not-computable")
  return new QueryError({
    reason,
    ...placeIn(sql, problem.location),
    ...(problem.candidates.length === 0 ? {} : { candidates: problem.candidates }),
    cause
  })
}

type Ended = {
  readonly _tag: "ended"
  readonly reason: "timeout" | "memory" | "row-too-large" | "crashed" | "not-started"
}

const WATCH_MS = 25
/** The columns and the frame of an answer, beyond its rows. */
const ANSWER_SLACK = 4 * MEBIBYTE

/** Asks a new process; it is gone when this ends, however this ends. */
const ask = (request: QueryRequest, timeout: number): Effect.Effect<QueryAnswer | Ended> =>
  Effect.callback<QueryAnswer | Ended>((resume) => {
    const child = spawn(
      process.execPath,
      ["--max-old-space-size=256", fileURLToPath(programBeside(import.meta.url, "query-child"))],
      {
        // Nothing else of the environment is handed on; results do not depend on the machine's time zone.
        env: {
          TZ: "UTC",
          NODE_COMPILE_CACHE: getCompileCacheDir(),
          ...(process.platform === "win32" ? { SystemRoot: process.env["SystemRoot"] } : {})
        },
        cwd: fileURLToPath(new URL("/", import.meta.url)),
        stdio: ["pipe", "ignore", "ignore", "pipe"],
        windowsHide: true
      }
    )
    let ended: Ended["reason"] | undefined
    const kill = (reason: Ended["reason"]) => {
      ended ??= reason
      child.kill("SIGKILL")
    }
    const deadline = setTimeout(() => kill("timeout"), timeout)
    const watch = setInterval(() => {
      if (memoryOf(child) > request.memory) kill("memory")
    }, WATCH_MS)
    const chunks: Array<Buffer> = []
    const finish = (code: number | null) => {
      clearTimeout(deadline)
      clearInterval(watch)
      const reason = ended ?? (code === MEMORY_EXIT ? "memory" : undefined)
      // A process that began answers, or is killed, or dies of a signal.
      const otherwise = code === null || code > 128 ? "crashed" : "not-started"
      resume(Effect.succeed(reason === undefined ? answerIn(chunks, otherwise) : { _tag: "ended", reason }))
    }
    child.on("close", finish)
    child.on("error", () => {
      ended ??= "not-started"
      if (child.pid === undefined) finish(null)
    })
    // Without a process there may be no streams either.
    if (child.pid === undefined) return
    let bytes = 0
    const answer = child.stdio[ANSWER]
    answer?.on("data", (chunk: Buffer) => {
      bytes += chunk.length
      chunks.push(chunk)
      if (bytes > request.maxBytes + ANSWER_SLACK) kill("row-too-large")
    })
    answer?.on("error", () => {})
    child.stdin?.on("error", () => {})
    child.stdin?.write(`${JSON.stringify(request)}\n`)
    return Effect.callback<void>((done) => {
      if (child.exitCode !== null || child.signalCode !== null) return done(Effect.void)
      child.once("close", () => done(Effect.void))
      kill("timeout")
    })
  })

/** An answer that was cut short is none. */
const answerIn = (chunks: ReadonlyArray<Buffer>, otherwise: Ended["reason"]): QueryAnswer | Ended => {
  try {
    const answer = parseJson(Buffer.concat(chunks).toString("utf8"))
    return isAnswer(answer) ? answer : { _tag: "ended", reason: otherwise }
  } catch {
    return { _tag: "ended", reason: otherwise }
  }
}

const isAnswer = (value: unknown): value is QueryAnswer => Predicate.hasProperty(value, "_tag")

/** Memory of its own that a process has, without the program that it shares; 0 where the system does not tell. */
const memoryOf = ({ pid }: ChildProcess): number => {
  try {
    const [, kibibytes] = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "latin1")) ?? []
    return Number(kibibytes ?? 0) * 1024
  } catch {
    return 0
  }
}
