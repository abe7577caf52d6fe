/**
 * The database as a query sees it: opened for reading only under a name of its own, with views of some of it in an empty
 * database in memory, and then locked so that even a query that should not have been admitted can do no harm.
 */
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api"
import { DATABASE_HEAD_BYTES, isDatabaseHead } from "@mallard/sql-duckdb/DatabaseFile"
import { closeSync, openSync, statSync } from "node:fs"
import { readFully, systemCode } from "../Disk.ts"
import { quoteName, quoteText } from "../Quoting.ts"
import { type EngineProblem, type OpenProblem, type QueryAnswer, type QueryRequest } from "./query-protocol.ts"

/** Ends the work with an answer other than a page. */
export class Answered extends Error {
  readonly answer: QueryAnswer
  constructor(answer: QueryAnswer) {
    super(answer._tag)
    this.answer = answer
  }
}

/** A connection to the empty database, on which nothing is locked yet. */
export const connect = async (request: Pick<QueryRequest, "engineMemory">): Promise<DuckDBConnection> => {
  const instance = await DuckDBInstance.create(":memory:", settings(request))
  const connection = await instance.connect()
  await connection.run("SET errors_as_json = true")
  return connection
}

/** The name under which the database is attached. */
export const ALIAS = "store"

const settings = (request: Pick<QueryRequest, "engineMemory">): Record<string, string> => ({
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

/** Attaches the database for reading only; anything but one of ours is answered with what it is. */
export const open = async (
  connection: DuckDBConnection,
  { path, version }: Pick<QueryRequest, "path" | "version">
): Promise<void> => {
  const fail = (problem: OpenProblem) => new Answered({ _tag: "open", problem })
  try {
    if (!statSync(path).isFile()) throw fail({ kind: "errno", code: "EISDIR" })
    const head = Buffer.alloc(DATABASE_HEAD_BYTES)
    const descriptor = openSync(path, "r")
    readFully(descriptor, head, 0)
    closeSync(descriptor)
    // DuckDB would load an extension for some other files.
    if (!isDatabaseHead(head)) throw fail({ kind: "state", state: "not-a-database" })
    await connection.run(`ATTACH ${quoteText(path)} AS ${ALIAS} (READ_ONLY)`)
    const state = await schemaState(connection, version)
    if (state !== undefined) throw fail({ kind: "state", state })
  } catch (cause) {
    if (cause instanceof Answered) throw cause
    const code = systemCode(cause)
    if (code !== undefined) throw fail({ kind: "errno", code })
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
export const cohortId = async (connection: DuckDBConnection, nameOrId: string): Promise<string> => {
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
export const stateOf = async (connection: DuckDBConnection): Promise<string> => {
  const table = (name: string) => `${ALIAS}.mallard.${name}`
  const counts = ["migration_runs", "migration_items", "data_integrity_checks", "migration_backups"].map(
    (name) => `(SELECT count(*) FROM ${table(name)})`
  )
  const commits = `(SELECT coalesce(bit_xor(hash(attempt, table_name, first_id, row_count)), 0) FROM ${table("commits")})`
  const reader = await connection.runAndReadAll(`SELECT concat_ws(' ', ${[commits, ...counts].join(", ")})`)
  return String(reader.getRows()[0]?.[0])
}

/** Shows a view of the database, or the rows of one cohort in it. */
export const publish = async (
  connection: DuckDBConnection,
  view: string,
  cohort: string | undefined
): Promise<void> => {
  const filter = cohort === undefined ? "" : ` WHERE cohort_id = CAST(${quoteText(cohort)} AS UUID)`
  await connection.run(
    `CREATE VIEW memory.main.${quoteName(view)} AS SELECT * FROM ${ALIAS}.main.${quoteName(view)}${filter}`
  )
}

/** Afterwards no file can be opened and no setting changed. */
export const lock = async (connection: DuckDBConnection): Promise<void> => {
  await connection.run("SET enable_external_access = false")
  await connection.run("SET disabled_filesystems = 'LocalFileSystem'")
  await connection.run("SET lock_configuration = true")
}

/** DuckDB's words about what went wrong, as `errors_as_json` gives them. */
export const problemOf = (cause: unknown): EngineProblem => {
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
