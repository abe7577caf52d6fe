/**
 * Databases that HealthSim itself wrote (schemas 1.0 to 1.7) as sources: each cohort of one is a document of its own, made
 * from what the database holds and read like a file. A database is opened for reading only, stays open as long as its
 * cohorts are read, and is never written to; one with a write-ahead log beside it is refused, for DuckDB would replay it.
 *
 * The document of a cohort has its columns, tags and metadata, then `entities`: under each stored type the JSON text of
 * its entities, byte for byte, in stored order. Rows of the typed tables follow only where no stored entity is their
 * source: columns in the table's order, NULL left out.
 */
import { closeSync, existsSync, openSync, readSync, realpathSync } from "node:fs"
import { parse } from "node:path"
import { type OpenText, type Source, SourceError, type SourceFile } from "@mallard/legacy-json"
import { type EntityKind, kindOfTypeKey } from "@mallard/schema"
import { DuckDbClient, type DuckDbOpenError, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Cause, Effect, Pull, type Scope, Stream } from "effect"
import { Reactivity } from "effect/reactivity"
import type { SqlError } from "effect/sql"

/** What became of a database whose cohorts cannot be read, or that has none. */
export interface UnreadDatabase {
  readonly path: string
  readonly bytes: number
  readonly outcome: "rejected" | "skipped"
  readonly code: UnreadReason
  readonly message: string
}

export type UnreadReason =
  | "git-lfs-pointer"
  | "same-database"
  | "mallard-database"
  | "no-cohort-tables"
  | "no-cohorts"
  | "wal"
  | "locked"
  | "not-a-database"
  | "newer"
  | "damaged"
  | "permission"
  | "io"

const messages: Readonly<Record<UnreadReason, string>> = {
  "git-lfs-pointer":
    "it is no database but the pointer that Git LFS leaves in its place; fetch the database itself (git lfs pull), then run again",
  "same-database": "it is the database that this run writes to; name another one with --db",
  "mallard-database": "it is a database of Mallard's own, not of HealthSim; its cohorts need no migration",
  "no-cohort-tables": "it has none of HealthSim's tables of cohorts",
  "no-cohorts": "HealthSim's tables of cohorts are in it, and are empty",
  wal: "a write-ahead log (the name that ends in .wal) lies beside it, and reading would change the database; let HealthSim or DuckDB open and close it once, then run again",
  locked: "another program has it open; close that program, then run again",
  "not-a-database": "it is no DuckDB database",
  newer: "a newer DuckDB wrote it than this program can read",
  damaged: "it is damaged",
  permission: "the operating system does not permit reading it; change its permissions or run as its owner",
  io: "reading it failed; check the disk, then run again"
}

/** Sources, with each database among them replaced by its cohorts. */
export interface ExpandedSources {
  readonly sources: ReadonlyArray<Source>
  readonly unread: ReadonlyArray<UnreadDatabase>
}

export interface DatabaseOptions {
  /** The database that is written to. */
  readonly target: string
  readonly memoryLimit?: string | undefined
}

/** Opens the databases among the sources until the scope closes. Sources of other kinds stay as they are. */
export const expandDatabases = Effect.fn("expandDatabases")(function* (
  sources: ReadonlyArray<Source>,
  options: DatabaseOptions
) {
  const expanded: Array<Source> = []
  const unread: Array<UnreadDatabase> = []
  for (const source of sources) {
    if (source.kind !== "database") {
      expanded.push(source)
      continue
    }
    const found = yield* cohortsOf(source, options)
    if (typeof found === "string") {
      const outcome = found === "no-cohorts" || found === "mallard-database" ? "skipped" : "rejected"
      const bytes = source.files.reduce((sum, file) => sum + file.bytes, 0)
      unread.push({ path: source.path, bytes, outcome, code: found, message: messages[found] })
    } else for (const cohort of found) expanded.push(cohort)
  }
  const result: ExpandedSources = { sources: expanded, unread }
  return result
})

const cohortsOf = (
  source: Source,
  options: DatabaseOptions
): Effect.Effect<ReadonlyArray<Source> | UnreadReason, never, Scope.Scope> =>
  Effect.gen(function* () {
    const refusal = refusalOf(source.path, options.target)
    if (refusal !== undefined) return refusal
    const client = yield* DuckDbClient.make({
      filename: source.path,
      readonly: true,
      alias: CATALOG,
      memoryLimit: options.memoryLimit ?? MEMORY_LIMIT,
      // Not beside the source, where DuckDB would put it.
      tempDirectory: `${options.target}.source.tmp`
    }).pipe(Effect.provide(Reactivity.layer))
    return yield* listCohorts(client, source)
  }).pipe(
    Effect.catchTag("DuckDbOpenError", (error: DuckDbOpenError) => Effect.succeed(openReason(error))),
    Effect.catchTag("SqlError", () => Effect.succeed<UnreadReason>("damaged"))
  )

const CATALOG = "healthsim_source"
/** Beside the limit of the database that is written to. */
const MEMORY_LIMIT = "256MB"

const openReason = ({ reason }: DuckDbOpenError): UnreadReason => {
  switch (reason) {
    case "locked":
    case "already-open":
      return "locked"
    case "newer-version":
      return "newer"
    case "not-a-database":
    case "damaged":
    case "permission":
      return reason
    default:
      return "io"
  }
}

/** What is known before DuckDB sees the file. */
const refusalOf = (path: string, target: string): UnreadReason | undefined => {
  if (realPath(target) === path) return "same-database"
  if (existsSync(`${path}.wal`)) return "wal"
  return headOf(path).startsWith("version https://git-lfs.github.com/spec/") ? "git-lfs-pointer" : undefined
}

const realPath = (path: string): string => {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

const headOf = (path: string): string => {
  try {
    const descriptor = openSync(path, "r")
    try {
      const head = Buffer.alloc(64)
      return head.toString("latin1", 0, readSync(descriptor, head, 0, head.length, 0))
    } finally {
      closeSync(descriptor)
    }
  } catch {
    // Opening it as a database says why.
    return ""
  }
}

// ---- what is in a database

interface Table {
  readonly name: string
  readonly columns: ReadonlyArray<{ readonly name: string; readonly type: string }>
}

/** The tables of cohorts by one of their names over the years. */
interface StateTables {
  readonly cohorts: Table
  readonly entities: Table | undefined
  readonly tags: Table | undefined
  /** The column of a cohort's id in its own table, and in the others. */
  readonly key: string
  readonly link: string
}

const has = (table: Table, column: string): boolean => table.columns.some(({ name }) => name === column)

const readTables = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  const tables = new Map<string, Array<{ name: string; type: string }>>()
  const rows = yield* client.unsafe<{ table: string; name: string; type: string }>(
    `SELECT c.table_name AS "table", c.column_name AS name, c.data_type AS type
     FROM duckdb_columns() c JOIN duckdb_tables() t ON t.database_name = c.database_name AND t.schema_name = c.schema_name AND t.table_name = c.table_name
     WHERE c.database_name = ? AND c.schema_name = 'main' ORDER BY c.table_name, c.column_index`,
    [CATALOG]
  )
  for (const { name, table, type } of rows) {
    const columns = tables.get(table) ?? []
    tables.set(table, columns)
    columns.push({ name, type })
  }
  return new Map([...tables].map(([name, columns]): [string, Table] => [name, { name, columns }]))
})

const stateTables = (tables: ReadonlyMap<string, Table>, singular: "cohort" | "scenario"): StateTables | undefined => {
  const cohorts = tables.get(`${singular}s`)
  const key = cohorts === undefined ? undefined : [`${singular}_id`, "id"].find((name) => has(cohorts, name))
  if (cohorts === undefined || key === undefined || !has(cohorts, "name")) return undefined
  const link = `${singular}_id`
  const linked = (name: string, ...columns: ReadonlyArray<string>): Table | undefined => {
    const table = tables.get(name)
    return table !== undefined && [link, ...columns].every((column) => has(table, column)) ? table : undefined
  }
  return {
    cohorts,
    entities: linked(`${singular}_entities`, "entity_type", "entity_id", "entity_data"),
    tags: linked(`${singular}_tags`, "tag"),
    key,
    link
  }
}

const listCohorts = Effect.fnUntraced(function* (client: DuckDbSqlClient, source: Source) {
  const [ours] = yield* client.unsafe<{ found: boolean }>(
    "SELECT count(*) > 0 AS found FROM duckdb_tables() WHERE database_name = ? AND schema_name = 'mallard' AND table_name = 'revisions'",
    [CATALOG]
  )
  if (ours?.found === true) return "mallard-database" satisfies UnreadReason
  const tables = yield* readTables(client)
  const states = (["cohort", "scenario"] as const)
    .map((singular) => stateTables(tables, singular))
    .filter((state) => state !== undefined)
  if (states.length === 0) return "no-cohort-tables" satisfies UnreadReason
  const cohorts: Array<Source> = []
  for (const state of states) {
    const typed = [...tables.values()].flatMap((table) => {
      const kind = kindOfTypeKey(table.name)
      return kind !== undefined && has(table, state.link) ? [{ table, kind }] : []
    })
    for (const head of yield* readHeads(client, state)) {
      const file = yield* fileOf(client, source, state, typed, head)
      const isTaken = cohorts.some(({ path }) => path === file.path)
      const path = isTaken ? `${file.path}#${head.id}` : file.path
      const name = head.name === null || head.name === "" ? `${parse(source.path).name}-${head.id}` : head.name
      cohorts.push({ kind: "file", path, name, files: [{ ...file, path }] })
    }
  }
  return cohorts.length === 0 ? ("no-cohorts" satisfies UnreadReason) : cohorts
})

/** A row of the table of cohorts: JSON texts but for id and name. */
interface Head {
  readonly id: string
  readonly name: string | null
  readonly description: string | null
  readonly created_at: string | null
  readonly updated_at: string | null
  readonly metadata: string | null
}

const readHeads = (client: DuckDbSqlClient, { cohorts, key }: StateTables) => {
  const column = (name: string, expression: string): string =>
    `${has(cohorts, name) ? expression : "NULL"} AS ${quoted(name)}`
  const order = ["created_at", key].filter((name) => has(cohorts, name)).map(quoted)
  return client.unsafe<Head>(
    `SELECT ${quoted(key)}::VARCHAR AS id, name::VARCHAR AS name, ${column("description", "description::VARCHAR")},
     ${column("created_at", "replace(created_at::VARCHAR, ' ', 'T')")}, ${column("updated_at", "replace(updated_at::VARCHAR, ' ', 'T')")},
     ${column("metadata", jsonOf("metadata"))}
     FROM ${quoted(cohorts.name)} ORDER BY ${order.join(", ")}`
  )
}

// ---- a cohort as a document

/** JSON texts that a query gives, one per row. */
interface Rows {
  readonly sql: string
  readonly parameters: ReadonlyArray<string>
  readonly count: number
  /** Of all texts together, without separators. */
  readonly bytes: number
}

type Piece = { readonly text: string } | { readonly rows: Rows }

const fileOf = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  source: Source,
  state: StateTables,
  typed: ReadonlyArray<{ readonly table: Table; readonly kind: EntityKind }>,
  head: Head
) {
  const pieces = yield* piecesOf(client, state, typed, head)
  const bytes = pieces.reduce(
    (sum, piece) =>
      sum + ("text" in piece ? Buffer.byteLength(piece.text) : piece.rows.bytes + Math.max(0, piece.rows.count - 1)),
    0
  )
  const [database] = source.files
  const path = `${source.path}#${head.name ?? head.id}`
  const file: SourceFile = {
    path,
    name: `${fileName(head.name ?? head.id)}.json`,
    bytes,
    modifiedMs: database!.modifiedMs,
    identity: database!.identity,
    variant: "V18",
    open: Effect.suspend(() => openText(client, path, pieces, bytes))
  }
  return file
})

/** A name that any file system takes, and short enough for all. */
const fileName = (name: string): string =>
  [...name.replace(/[\p{Cc}/\\:*?"<>|]/gu, "_")].slice(0, 60).join("") || "cohort"

const piecesOf = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  state: StateTables,
  typed: ReadonlyArray<{ readonly table: Table; readonly kind: EntityKind }>,
  head: Head
) {
  const text = (value: string | null): string => JSON.stringify(value)
  const members = [
    `${text(state.link)}:${text(head.id)}`,
    `"name":${text(head.name)}`,
    `"description":${text(head.description)}`,
    `"tags":${JSON.stringify(yield* tagsOf(client, state, head.id))}`,
    ...(head.created_at === null ? [] : [`"created_at":${text(head.created_at)}`]),
    ...(head.updated_at === null ? [] : [`"updated_at":${text(head.updated_at)}`]),
    ...(head.metadata === null ? [] : [`"metadata":${head.metadata}`])
  ]
  const pieces: Array<Piece> = [{ text: `{${members.join(",")},"entities":{` }]
  let first = true
  for (const [type, lists] of yield* entitiesOf(client, state, typed, head.id)) {
    pieces.push({ text: `${first ? "" : ","}${text(type)}:[` })
    lists.forEach((rows, at) => pieces.push(...(at > 0 ? [{ text: "," }] : []), { rows }))
    pieces.push({ text: "]" })
    first = false
  }
  return [...pieces, { text: "}}" }]
})

const tagsOf = Effect.fnUntraced(function* (client: DuckDbSqlClient, { link, tags }: StateTables, id: string) {
  if (tags === undefined) return []
  const rows = yield* client.unsafe<{ tag: string | null }>(
    `SELECT tag::VARCHAR AS tag FROM ${quoted(tags.name)} WHERE ${quoted(link)}::VARCHAR = ? ORDER BY ${orderOf(tags)}`,
    [id]
  )
  return rows.map(({ tag }) => tag)
})

/** The order in which rows were stored. */
const orderOf = (table: Table): string => (has(table, "id") && /INT/.test(typeOf(table, "id")) ? "id, rowid" : "rowid")

const typeOf = (table: Table, column: string): string => table.columns.find(({ name }) => name === column)?.type ?? ""

/** The rows under each key of `entities`: first the stored ones, by types as they were first stored, then typed rows. */
const entitiesOf = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  { entities, link }: StateTables,
  typed: ReadonlyArray<{ readonly table: Table; readonly kind: EntityKind }>,
  id: string
) {
  const lists = new Map<string, Array<Rows>>()
  if (entities !== undefined) {
    const order = orderOf(entities)
    const types = yield* client.unsafe<{ type: string; count: bigint; bytes: bigint }>(
      `SELECT coalesce(entity_type::VARCHAR, 'unknown') AS type, count(*) AS count, sum(strlen(coalesce(entity_data::VARCHAR, 'null')))::BIGINT AS bytes
       FROM ${quoted(entities.name)} WHERE ${quoted(link)}::VARCHAR = ? GROUP BY 1 ORDER BY min((${order}))`,
      [id]
    )
    for (const { bytes, count, type } of types) {
      lists.set(type, [
        {
          sql: `SELECT encode(coalesce(entity_data::VARCHAR, 'null')) FROM ${quoted(entities.name)}
                WHERE ${quoted(link)}::VARCHAR = ? AND coalesce(entity_type::VARCHAR, 'unknown') = ? ORDER BY ${order}`,
          parameters: [id, type],
          count: Number(count),
          bytes: Number(bytes)
        }
      ])
    }
  }
  for (const { kind, table } of typed) {
    const types = [...lists.keys()].filter((type) => kindOfTypeKey(type) === kind)
    const rows = yield* onlyTyped(client, entities, link, table, kind, types, id)
    if (rows === undefined) continue
    const type = types[0] ?? table.name
    lists.set(type, [...(lists.get(type) ?? []), rows])
  }
  return lists
})

/**
 * The rows of a typed table that no stored entity is the source of. A row is that of an entity when its id is one of the
 * entity's; an entity that says no id got a random one in its row, so that many rows without an entity are taken for those.
 */
const onlyTyped = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  entities: Table | undefined,
  link: string,
  table: Table,
  kind: EntityKind,
  types: ReadonlyArray<string>,
  id: string
) {
  const own = [kind.idColumn, "id", table.columns[0]?.name ?? ""].find((name) => has(table, name)) ?? ""
  const row = rowJson(table)
  const from = `FROM ${quoted(table.name)} t WHERE t.${quoted(link)}::VARCHAR = ?`
  let where = ""
  let parameters: ReadonlyArray<string> = [id]
  let withoutId = 0
  if (entities !== undefined && types.length > 0) {
    const said = kind.idPaths
      .filter((path) => /^[\w.]+$/.test(path))
      .map((path) => `json_extract_string(try_cast(entity_data AS JSON), '$.${path}')`)
    const ofKind = `FROM ${quoted(entities.name)} WHERE ${quoted(link)}::VARCHAR = ? AND coalesce(entity_type::VARCHAR, 'unknown') IN (${types.map(() => "?").join(", ")})`
    where = ` AND coalesce(t.${quoted(own)}::VARCHAR NOT IN (SELECT i FROM (SELECT unnest([entity_id::VARCHAR, ${said.join(", ")}]) AS i ${ofKind}) WHERE i IS NOT NULL), true)`
    parameters = [id, id, ...types]
    const [found] = yield* client.unsafe<{ count: bigint }>(
      `SELECT count(*) AS count ${ofKind} AND coalesce(${said.join(", ")}) IS NULL`,
      [id, ...types]
    )
    withoutId = Number(found?.count ?? 0)
  }
  const [counted] = yield* client.unsafe<{ count: bigint; bytes: bigint | null }>(
    `SELECT count(*) AS count, sum(strlen(${row}))::BIGINT AS bytes ${from}${where}`,
    parameters
  )
  const count = Number(counted?.count ?? 0)
  if (count <= withoutId) return undefined
  const rows: Rows = {
    sql: `SELECT encode(${row}) ${from}${where} ORDER BY t.rowid`,
    parameters,
    count,
    bytes: Number(counted?.bytes ?? 0)
  }
  return rows
})

/** An expression for a row of `t` as a JSON object, NULLs left out. */
const rowJson = ({ columns }: Table): string =>
  `'{' || concat_ws(',', ${columns
    .map(
      ({ name, type }) => `'${JSON.stringify(name).replaceAll("'", "''")}:' || ${valueJson(`t.${quoted(name)}`, type)}`
    )
    .join(", ")}) || '}'`

/** An expression for a value as JSON: numbers as DuckDB writes them, times with a `T`. */
const valueJson = (column: string, type: string): string => {
  // Lists first: their types begin as those of their elements do.
  if (/\[|^(?:STRUCT|MAP|UNION)/.test(type)) return `to_json(${column})::VARCHAR`
  if (/^(?:U?(?:TINY|SMALL|BIG|HUGE)?INT(?:EGER)?|BOOLEAN|DECIMAL(?:\(.*\))?)$/.test(type)) return `${column}::VARCHAR`
  if (/^(?:FLOAT|DOUBLE|REAL)$/.test(type))
    return `CASE WHEN isnan(${column}) THEN 'NaN' WHEN isinf(${column}) THEN CASE WHEN ${column} > 0 THEN 'Infinity' ELSE '-Infinity' END ELSE ${column}::VARCHAR END`
  if (type === "JSON") return jsonOf(column)
  if (/^(?:TIMESTAMP)/.test(type)) return `to_json(replace(${column}::VARCHAR, ' ', 'T'))::VARCHAR`
  return `to_json(${column}::VARCHAR)::VARCHAR`
}

/** An expression for a column of JSON, or of text that may be none. */
const jsonOf = (column: string): string =>
  `CASE WHEN try_cast(${column} AS JSON) IS NULL THEN to_json(${column}::VARCHAR)::VARCHAR ELSE ${column}::VARCHAR END`

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

// ---- reading it

const COMMA = Buffer.from(",")

const textOf = (client: DuckDbSqlClient, pieces: ReadonlyArray<Piece>): Stream.Stream<Buffer, SqlError.SqlError> =>
  Stream.fromIterable(pieces).pipe(
    Stream.flatMap((piece) => {
      if ("text" in piece) return Stream.succeed(Buffer.from(piece.text))
      let first = true
      return Stream.map(client.streamChunks(piece.rows.sql, piece.rows.parameters), (chunk) => {
        const texts: Array<Uint8Array> = []
        for (const value of chunk.getColumnValues(0)) {
          if (!first) texts.push(COMMA)
          first = false
          texts.push(bytesOfBlob(value))
        }
        return Buffer.concat(texts)
      })
    })
  )

const bytesOfBlob = (value: unknown): Uint8Array => {
  if (typeof value === "object" && value !== null && "bytes" in value && value.bytes instanceof Uint8Array)
    return value.bytes
  throw new TypeError("a blob was expected")
}

/** Opens a cohort's text for reading: its bytes come from the database as they are asked for. */
const openText = (
  client: DuckDbSqlClient,
  path: string,
  pieces: ReadonlyArray<Piece>,
  bytes: number
): Effect.Effect<OpenText, SourceError, Scope.Scope> =>
  Effect.map(Stream.toPull(textOf(client, pieces)), (pull) => {
    let waiting: Array<Buffer> = []
    let ended = false
    const next = Effect.matchCauseEffect(pull, {
      onSuccess: (buffers) =>
        Effect.sync(() => {
          waiting = [...waiting, ...buffers]
        }),
      onFailure: (cause) =>
        Pull.isDoneCause(cause)
          ? Effect.sync(() => {
              ended = true
            })
          : Effect.fail(new SourceError({ reason: "io", path, cause: Cause.squash(cause) }))
    })
    const read = (into: Uint8Array): Effect.Effect<number, SourceError> =>
      Effect.gen(function* () {
        let filled = 0
        while (filled < into.length) {
          const [buffer] = waiting
          if (buffer === undefined) {
            if (ended) break
            yield* next
            continue
          }
          const part = buffer.subarray(0, into.length - filled)
          into.set(part, filled)
          filled += part.length
          if (part.length === buffer.length) waiting.shift()
          else waiting[0] = buffer.subarray(part.length)
        }
        return filled
      })
    // Nobody can write to a database that is open for reading.
    return { bytes, read, readMeanwhile: read, checkUnchanged: Effect.void }
  })
