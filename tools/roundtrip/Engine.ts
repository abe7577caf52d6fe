/**
 * The engine under test as the laws see it: it migrates paths into a database, verifies, and shows what the database
 * holds. `mallard` is the real one; an engine with a fault stands in its place to test the laws themselves.
 */
import { DuckDBBlobValue } from "@duckdb/node-api"
import {
  blobText,
  CohortStore,
  makeRenderer,
  nativeValue,
  openStore,
  partText,
  queryRows,
  storedKinds,
  tableNames,
  visitParts,
  quoteName
} from "@mallard/duckdb-store"
import { defaultLimits, type FullVerifyReport, migrate, type RunReport, verify } from "@mallard/migrator"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import assert from "node:assert/strict"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface Engine {
  readonly migrate: (paths: ReadonlyArray<string>, database: string) => Promise<RunReport>
  readonly verify: (paths: ReadonlyArray<string>, database: string) => Promise<FullVerifyReport>
  readonly read: (database: string) => Promise<Snapshot>
  /** Rows of each table of `mallard`. */
  readonly countRows: (database: string) => Promise<ReadonlyMap<string, number>>
}

/** All that a database holds, free of ids, times and everything else that may differ from one database to the next. */
export interface Snapshot {
  readonly cohorts: ReadonlyMap<string, StoredCohort>
  /** By kind and digest: columns and extra. */
  readonly entities: ReadonlyMap<string, string>
  /** Rows of one kind that have the same digest. */
  readonly repeated: ReadonlyArray<string>
  readonly links: ReadonlyArray<StoredLink>
}

interface StoredLink {
  /** Kind and digest. */
  readonly parent: string
  /** Where it stands in the parent, and its kind and digest. */
  readonly child: string
}

export interface StoredCohort {
  readonly digest: string
  /** Name, times, tags and the like, as text. */
  readonly description: string
  readonly entities: Readonly<Record<string, number>>
  readonly parts: ReadonlyArray<StoredPart>
}

export interface StoredPart {
  readonly path: string
  readonly format: string
  readonly digest: string
  readonly sourceSha256: string
  /** What comes back. */
  readonly text: Buffer
  /** The entities in it, by their pointers. */
  readonly places: ReadonlyMap<string, StoredPlace>
}

interface StoredPlace {
  readonly kind: string
  /** The stored digest of the row it leads to; undefined where it leads nowhere. */
  readonly digest: string | undefined
}

/** The engine as it is, on databases that begin as copies of an empty one: thousands of them are needed. */
export const mallard: Engine = {
  migrate: async (paths, database) => {
    if (!existsSync(database)) writeFileSync(database, await emptyDatabase())
    return Effect.runPromise(
      migrate({ paths, database, onConflict: "fail", dryRun: false, program: "roundtrip", ...defaultLimits })
    )
  },
  verify: (sources, database) => Effect.runPromise(verify({ database, sources })),
  read: (database) => reading(database, readSnapshot),
  countRows: (database) => reading(database, countRows)
}

/** The bytes of a database with the tables and nothing in them, closed and without a log. */
const makeEmptyDatabase = async (): Promise<Buffer> => {
  const folder = mkdtempSync(join(tmpdir(), "mallard-empty-"))
  try {
    const path = join(folder, "empty.duckdb")
    await Effect.runPromise(Effect.scoped(openStore({ path, program: "roundtrip" })))
    assert.deepEqual(readdirSync(folder), ["empty.duckdb"])
    return readFileSync(path)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

let madeDatabase: Promise<Buffer> | undefined

const emptyDatabase = (): Promise<Buffer> => (madeDatabase ??= makeEmptyDatabase())

const reading = <A, E>(database: string, read: (client: DuckDbSqlClient) => Effect.Effect<A, E>): Promise<A> =>
  Effect.runPromise(Effect.scoped(Effect.flatMap(openStore({ path: database, readonly: true }), read)))

const countRows = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  const counts = tableNames.map((name) => `SELECT '${name}', count(*) FROM mallard.${quoteName(name)}`)
  const rows = yield* queryRows(client, counts.join(" UNION ALL "))
  return new Map(rows.map(([name, count]) => [String(name), Number(count)]))
})

/** Parts that are exported one by one too. */
const singleExports = 3

const readSnapshot = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  const { entities, digests, repeated } = yield* readEntities(client)
  const texts = yield* readTexts(client)
  const places = yield* readPlaces(client, digests)
  const parts = new Map<number, Array<StoredPart & { readonly part: number }>>()
  for (const [content, part, path, format, digest, sourceSha256] of yield* queryRows(
    client,
    "SELECT content_id, part, path, format, digest, source_sha256 FROM mallard.parts ORDER BY content_id, part"
  )) {
    const contentId = Number(content)
    const list = parts.get(contentId) ?? []
    parts.set(contentId, list)
    list.push({
      part: Number(part),
      path: String(path),
      format: String(format),
      digest: String(digest),
      sourceSha256: String(sourceSha256),
      text: texts.get(`${contentId}/${String(part)}`) ?? Buffer.alloc(0),
      places: places.get(`${contentId}/${String(path)}`) ?? new Map()
    })
  }
  const cohorts = new Map<string, StoredCohort>()
  const list = yield* Effect.flatMap(CohortStore, (store) => store.list).pipe(
    Effect.provide(CohortStore.layerNoDeps),
    Effect.provideService(DuckDbClient, client)
  )
  for (const { name, digest, contentId, ...cohort } of list) {
    if (cohorts.has(name)) repeated.push(`cohort ${name}`)
    const { description, tags, product, legacyId, createdAt, updatedAt, seq, entityCount } = cohort
    cohorts.set(name, {
      digest,
      description: JSON.stringify({ description, tags, product, legacyId, createdAt, updatedAt, seq, entityCount }),
      entities: cohort.entities,
      parts: parts.get(contentId) ?? []
    })
  }
  const links = (yield* queryRows(
    client,
    "SELECT parent_kind, parent_entity_id, collection, ordinal, pointer, child_kind, child_entity_id FROM mallard.links"
  )).map(([parentKind, parent, collection, ordinal, pointer, childKind, child]) => ({
    parent: entityAt(digests, parentKind, parent),
    child: [collection, ordinal, pointer, entityAt(digests, childKind, child)].map(String).join(" ")
  }))
  const snapshot: Snapshot = { cohorts, entities, repeated, links }
  return snapshot
})

const entityAt = (digests: ReadonlyMap<string, string>, code: unknown, id: unknown): string => {
  const kind = storedKinds.find((one) => one.code === Number(code))?.kind ?? String(code)
  return `${kind} ${digests.get(`${Number(code)}/${Number(id)}`) ?? "nothing"}`
}

/** Every entity row as one text, and the digest of each by kind and id. */
const readEntities = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  const entities = new Map<string, string>()
  const digests = new Map<string, string>()
  const repeated: Array<string> = []
  const counts = yield* countRows(client)
  for (const kind of storedKinds) {
    if (counts.get(kind.table) === 0) continue
    const columns = "columns" in kind ? kind.columns : []
    const selected = columns.map(({ name, type }) =>
      type === "VARCHAR" || type === "JSON" ? `encode(e.${quoteName(name)}::VARCHAR)` : `e.${quoteName(name)}`
    )
    // Which of several fitting shapes a row has depends on those that were there before it.
    const extra =
      "columns" in kind
        ? `CASE WHEN e.shape_id = 0 THEN e.extra[strpos(e.extra, chr(10)) + 1:] ELSE e.extra END`
        : "e.extra"
    const rows = yield* queryRows(
      client,
      `SELECT ${["e.entity_id", "e.digest::VARCHAR", `encode(${extra})`, ...selected].join(", ")}
       FROM mallard.${quoteName(kind.table)} e`
    )
    for (const [id, uuid, rest, ...values] of rows) {
      const digest = String(uuid).replaceAll("-", "")
      const name = `${kind.kind} ${digest}`
      const cells = columns.flatMap((column, at) => (values[at] === null ? [] : [[column.name, cell(values[at])]]))
      if (entities.has(name)) repeated.push(name)
      entities.set(name, JSON.stringify([cell(rest), Object.fromEntries(cells)]))
      digests.set(`${kind.code}/${String(id)}`, digest)
    }
  }
  return { entities, digests, repeated }
})

const cell = (value: unknown): string =>
  value instanceof DuckDBBlobValue ? blobText(value) : String(nativeValue(value))

/** The text of every part by content and part. */
const readTexts = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  // What DuckDB renders and what the other renderer does: a verification of few rows asks the latter alone.
  const renderer = yield* makeRenderer(client, { leastRows: 1 })
  const texts = new Map<string, Buffer>()
  const keys: Array<readonly [number, number]> = []
  let chunks: Array<Buffer> = []
  let key = ""
  yield* visitParts(client, renderer, "true", {
    start: ({ contentId, part }) => {
      chunks = []
      key = `${contentId}/${part}`
      keys.push([contentId, part])
    },
    text: (bytes, start, end) => {
      // Copied, because a visitor does not own the bytes.
      if (end > start) chunks.push(Buffer.from(bytes.subarray(start, end)))
    },
    sound: () => {},
    changed: () => {},
    gap: () => {},
    end: () => {
      texts.set(key, Buffer.concat(chunks))
    }
  })
  for (const [contentId, part] of keys.slice(0, singleExports)) {
    const alone = yield* partText(client, renderer, contentId, part)
    if (!alone.equals(texts.get(`${contentId}/${part}`) ?? alone)) texts.set(`${contentId}/${part}`, alone)
  }
  return texts
})

/** The rows of the view `cohort_entities` by content and file. */
const readPlaces = Effect.fnUntraced(function* (client: DuckDbSqlClient, digests: ReadonlyMap<string, string>) {
  const codes = new Map<string, number>(storedKinds.map(({ kind, code }) => [kind, code]))
  const places = new Map<string, Map<string, StoredPlace>>()
  const rows = yield* queryRows(
    client,
    `SELECT h.content_id, e.source_path, e.pointer, e.kind, e.entity_id
     FROM main.cohort_entities e JOIN mallard.heads h ON h.cohort_id = e.cohort_id`
  )
  for (const [content, path, pointer, kindName, id] of rows) {
    const kind = String(kindName)
    const at = `${Number(content)}/${String(path)}`
    const found = places.get(at) ?? new Map<string, StoredPlace>()
    places.set(at, found)
    // Keys may repeat, and so may pointers.
    let free = String(pointer)
    while (found.has(free)) free += " again"
    found.set(free, { kind, digest: digests.get(`${String(codes.get(kind))}/${String(id)}`) })
  }
  return places
})
