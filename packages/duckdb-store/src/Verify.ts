/**
 * Proves that a database holds what it says: every document is rendered from its rows and hashed, every entity is hashed,
 * copies and best values are worked out again, and every row of the ledger is checked against its digest and the counts
 * that its commit wrote down. Works on a read-only connection; finds changes, losses, additions and swaps alike.
 */
import { createHash, hash, type Hash } from "node:crypto"
import {
  collectionPointers,
  type ColumnValue,
  DocumentReader,
  EntityBatch,
  EntityIndex,
  EntityReader,
  makeCodec,
  rowValues,
  ShapeDictionary,
  splitFolded
} from "@mallard/entity-serializers"
import { type EntityKind, JSON_KIND, kindByCode, kinds } from "@mallard/schema"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect, Exit } from "effect"
import type { SqlError } from "effect/sql"
import { otherElements, type StoredPart, visitParts } from "./Assembly.ts"
import { checkRowDigests } from "./Ledger.ts"
import {
  blobText,
  childCodes,
  makeRenderer,
  nativeSql,
  nativeValue,
  queryRows,
  type Renderer,
  type StoredShape
} from "./Rendering.ts"
import { digestedTableNames, idColumns, storedKinds, tableNames } from "./Tables.ts"
import { quoteName, quoteText } from "./Quoting.ts"

/** What a check found wrong. `where` names tables, ids and columns, never values. */
export interface Finding {
  readonly code:
    | "document-changed"
    | "entity-changed"
    | "members-out-of-order"
    | "value-without-source"
    | "copy-changed"
    | "link-changed"
    | "template-unreadable"
    | "row-changed"
    | "rows-missing"
    | "rows-added"
    | "ids-not-dense"
    | "reference-broken"
    | "entity-unused"
    | "revision-changed"
  readonly where: string
  readonly message: string
}

/** The outcome of a verification. `checked` counts documents; findings beyond `MAX_FINDINGS` are only counted. */
export interface VerifyReport {
  readonly checked: number
  readonly matched: number
  readonly mismatched: number
  readonly entities: number
  readonly findings: ReadonlyArray<Finding>
  readonly findingCount: number
}

/** Findings that a report lists. */
export const MAX_FINDINGS = 1000

class Findings {
  readonly list: Array<Finding> = []
  count = 0
  private readonly onFinding: ((finding: Finding) => void) | undefined
  constructor(onFinding?: (finding: Finding) => void) {
    this.onFinding = onFinding
  }
  add(code: Finding["code"], where: string, message: string): void {
    this.count++
    this.onFinding?.({ code, where, message })
    if (this.list.length < MAX_FINDINGS) this.list.push({ code, where, message })
  }
  append(others: Findings): void {
    this.count += others.count
    this.list.push(...others.list.slice(0, MAX_FINDINGS - this.list.length))
  }
}

/** Verifies the whole database: its ledger, every row, every document. */
export const verifyDatabase = Effect.fn("verifyDatabase")(function* (
  client: DuckDbSqlClient,
  options: {
    readonly onDocument?: ((done: number, documents: number) => void) | undefined
    /** Told every finding, also those that the report only counts. */
    readonly onFinding?: ((finding: Finding) => void) | undefined
  } = {}
) {
  const renderer = yield* makeRenderer(client)
  const findings = new Findings(options.onFinding)
  const counts = yield* rowCounts(client)
  const dense = yield* denseTables(client, counts)
  if (!checkTemplates(renderer, findings)) {
    yield* checkLedger(client, counts, dense, findings)
    return reportOf(findings, { checked: 0, mismatched: 0, entities: 0, digests: new Map() })
  }
  const hasLinks = counts.get("links") !== 0
  const shapesByKind = Map.groupBy(renderer.shapes.values(), ({ kind }) => kind)
  let children = 0
  // Small statements leave a core idle, so several run at once; findings come in the order of this list all the same.
  const checks: ReadonlyArray<(own: Findings) => Effect.Effect<void, SqlError.SqlError>> = [
    (own) => checkLedger(client, counts, dense, own),
    (own) => checkMigrations(client, own),
    (own) => checkReferences(client, counts, dense, own),
    ...kinds
      .filter(({ table }) => counts.get(table) !== 0)
      .map(
        (kind) => (own: Findings) => checkKind(client, renderer, kind, shapesByKind.get(kind.code) ?? [], hasLinks, own)
      ),
    (own) =>
      hasLinks
        ? Effect.map(checkChildren(client, renderer, own), (checked) => {
            children = checked
          })
        : Effect.void
  ]
  const ofDocuments = new Findings(options.onFinding)
  const [found, documents] = yield* Effect.all(
    [
      Effect.forEach(
        checks,
        (check) => {
          const own = new Findings(options.onFinding)
          return Effect.as(check(own), own)
        },
        { concurrency: 2 }
      ),
      // Hashing keeps this thread busy, the checks above the database.
      checkDocuments(client, renderer, "true", ofDocuments, options.onDocument)
    ],
    { concurrency: 2 }
  )
  for (const own of [...found, ofDocuments]) findings.append(own)
  yield* checkRevisions(client, documents.digests, findings)
  return reportOf(findings, { ...documents, entities: documents.entities + children })
})

/** How many rows each table has. Tables without any need no further statement, and each costs more than it reads. */
const rowCounts = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  const counts = tableNames.map((table) => `(SELECT count(*) FROM mallard.${quoteName(table)})`)
  const [row = []] = yield* queryRows(client, `SELECT ${counts.join(", ")}`)
  return new Map(tableNames.map((table, at) => [table, Number(row[at])]))
})

/**
 * How many different numbers from 1 to `most` the ids are. A bit for each, because a hash table of them takes five times
 * as long.
 */
const distinctIds = (id: string, most: number): string =>
  `coalesce(bit_count(bitstring_agg(CASE WHEN ${id} BETWEEN 1 AND ${most} THEN ${id} END, 1, ${most})), 0)`

/** The tables whose ids are the numbers from 1 to the count of their rows, each once. */
const denseTables = Effect.fnUntraced(function* (client: DuckDbSqlClient, counts: ReadonlyMap<string, number>) {
  const filled = [...idColumns].filter(([table]) => counts.get(table) !== 0)
  const statements = filled.map(
    ([table, id]) => `SELECT '${table}', ${distinctIds(id, counts.get(table)!)} FROM mallard.${quoteName(table)}`
  )
  if (statements.length === 0) return new Set<string>()
  const rows = yield* queryRows(client, statements.join(" UNION ALL "))
  return new Set(
    rows.flatMap(([table, distinct]) => (Number(distinct) === counts.get(String(table)) ? [String(table)] : []))
  )
})

/** Verifies the documents of the contents from `firstContent` on, and all that they are made of. */
export const verifyContents = Effect.fn("verifyContents")(function* (
  client: DuckDbSqlClient,
  firstContent: number,
  onDocument?: (done: number, documents: number) => void
) {
  if (firstContent <= 1) return yield* verifyDatabase(client, { onDocument })
  const findings = new Findings()
  const renderer = yield* makeRenderer(client)
  if (!checkTemplates(renderer, findings))
    return reportOf(findings, { checked: 0, mismatched: 0, entities: 0, digests: new Map() })
  const documents = yield* checkDocuments(client, renderer, `p.content_id >= ${firstContent}`, findings, onDocument)
  return reportOf(findings, documents)
})

/**
 * The contents, of those given, whose documents cannot be read to the end. Findings about the others are told as by
 * `verifyDatabase`.
 */
export const findUnreadable = Effect.fn("findUnreadable")(function* (
  client: DuckDbSqlClient,
  contents: ReadonlyArray<number>,
  onFinding: (finding: Finding) => void
) {
  const renderer = yield* makeRenderer(client)
  const unreadable: Array<number> = []
  // Halves what fails until single contents are left.
  const waiting = [contents]
  for (let some = waiting.pop(); some !== undefined; some = waiting.pop()) {
    if (some.length === 0) continue
    const heard: Array<Finding> = []
    const findings = new Findings((finding) => heard.push(finding))
    const where = `p.content_id IN (${some.join(", ")})`
    const exit = yield* Effect.exit(checkDocuments(client, renderer, where, findings, undefined))
    if (Exit.isSuccess(exit)) heard.forEach(onFinding)
    else if (some.length === 1) unreadable.push(...some)
    else {
      const middle = some.length >> 1
      waiting.push(some.slice(middle), some.slice(0, middle))
    }
  }
  return unreadable
})

interface CheckedDocuments {
  readonly checked: number
  readonly mismatched: number
  readonly entities: number
  /** Digests of parts by content. */
  readonly digests: ReadonlyMap<number, ReadonlyArray<{ readonly path: string; readonly digest: string }>>
}

const reportOf = (findings: Findings, documents: CheckedDocuments): VerifyReport => ({
  checked: documents.checked,
  matched: documents.checked - documents.mismatched,
  // A change outside of documents spoils the proof too.
  mismatched: findings.count > 0 ? Math.max(documents.mismatched, 1) : 0,
  entities: documents.entities,
  findings: findings.list,
  findingCount: findings.count
})

/** Bytes that are gathered before they are hashed. */
const HASH_BYTES = 65_536

/** Renders documents, hashes them and their entities. */
const checkDocuments = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  renderer: Renderer,
  where: string,
  findings: Findings,
  onDocument: ((done: number, documents: number) => void) | undefined
) {
  const [count] = yield* queryRows(client, `SELECT count(*) FROM mallard.parts p WHERE ${where}`)
  const documents = Number(count?.[0] ?? 0)
  const digests = new Map<number, Array<{ readonly path: string; readonly digest: string }>>()
  const gathered = Buffer.allocUnsafe(HASH_BYTES)
  let filled = 0
  let digest: Hash = createHash("sha256")
  let current: StoredPart = { contentId: 0, part: 0, path: "", digest: "" }
  let sound = true
  let entities = 0
  let checked = 0
  let mismatched = 0
  yield* visitParts(client, renderer, where, {
    start: (part) => {
      current = part
      digest = createHash("sha256")
      filled = 0
      sound = true
    },
    text: (bytes, start, end) => {
      if (filled + end - start > HASH_BYTES) {
        digest.update(gathered.subarray(0, filled))
        filled = 0
      }
      if (end - start > HASH_BYTES) digest.update(bytes.subarray(start, end))
      else {
        bytes.copy(gathered, filled, start, end)
        filled += end - start
      }
    },
    sound: (count) => {
      entities += count
    },
    changed: (element) => {
      entities++
      sound = false
      const kind = element.kind === 0 ? JSON_KIND : kindByCode(element.kind)
      findings.add(
        "entity-changed",
        kind === undefined
          ? `mallard.cohort_members kind ${element.kind}`
          : `mallard.${kind.table} entity_id ${element.id}`,
        "its row no longer gives the text that its digest stands for"
      )
    },
    gap: (collection) => {
      sound = false
      findings.add(
        "members-out-of-order",
        `mallard.cohort_members content_id ${current.contentId} part ${current.part} collection ${collection}`,
        "its elements are not numbered from 0 without gaps"
      )
    },
    end: () => {
      digest.update(gathered.subarray(0, filled))
      checked++
      const list = digests.get(current.contentId) ?? []
      digests.set(current.contentId, list)
      list.push({ path: current.path, digest: current.digest })
      if (digest.digest("hex") !== current.digest) {
        sound = false
        findings.add(
          "document-changed",
          `mallard.parts content_id ${current.contentId} part ${current.part}`,
          "rendering it does not give the text that its digest stands for"
        )
      }
      if (!sound) mismatched++
      onDocument?.(checked, documents)
    }
  })
  const result: CheckedDocuments = { checked, mismatched, entities, digests }
  return result
})

/** The digest of a revision of several parts: see `docs/data-model.md`. */
export const contentDigest = (parts: ReadonlyArray<{ readonly path: string; readonly digest: string }>): string =>
  parts.length === 1
    ? parts[0]!.digest
    : hash("sha256", parts.map(({ path, digest }) => `${path}\t${digest}\n`).join(""), "hex")

// ---- ledger

const checkLedger = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  counts: ReadonlyMap<string, number>,
  dense: ReadonlySet<string>,
  findings: Findings
) {
  for (const table of digestedTableNames) {
    if (counts.get(table) === 0) continue
    const { mismatches } = yield* Effect.provideService(checkRowDigests(table), DuckDbClient, client)
    for (const { row } of mismatches) {
      findings.add("row-changed", `mallard.${table} row ${row}`, "the row is not what it was when it was written")
    }
  }
  const expected = new Map<string, number>()
  const ranges = new Map<string, Array<{ first: number; count: number }>>()
  const lines = yield* queryRows(
    client,
    "SELECT commit_id, table_name, first_id, row_count FROM mallard.commits ORDER BY commit_id, table_name"
  )
  const perCommit = new Map<number, { rows: number; stated: number | undefined }>()
  for (const [commit, name, first, count] of lines) {
    const table = String(name)
    expected.set(table, (expected.get(table) ?? 0) + Number(count))
    const entry = perCommit.get(Number(commit)) ?? { rows: 0, stated: undefined }
    entry.rows++
    if (table === "commits") entry.stated = Number(count)
    perCommit.set(Number(commit), entry)
    if (idColumns.has(table)) {
      const list = ranges.get(table) ?? []
      ranges.set(table, list)
      list.push({ first: Number(first), count: Number(count) })
    }
  }
  if (lines.length === 0 && counts.get("migration_runs") !== 0) {
    findings.add("rows-missing", "mallard.commits", "all rows are gone")
  }
  let commitId = 1
  for (const [commit, { rows, stated }] of perCommit) {
    if (commit !== commitId++)
      findings.add(
        "ids-not-dense",
        `mallard.commits commit_id ${commit}`,
        "commits are not numbered from 1 without gaps"
      )
    if (rows !== stated)
      findings.add("rows-missing", `mallard.commits commit_id ${commit}`, "the commit has lost lines, or has too many")
  }
  for (const [table, list] of ranges) {
    let next = 1
    for (const { first, count } of list) {
      if (first !== next)
        findings.add(
          "ids-not-dense",
          `mallard.commits table_name ${table}`,
          "the ranges of ids that commits wrote leave gaps or overlap"
        )
      next = first + count
    }
  }
  // Written by commits; the others by the migrations of tables.
  const written = tableNames.filter((table) => table !== "kinds" && table !== "schema_migrations")
  for (const table of written) {
    const id = idColumns.get(table)
    const count = counts.get(table) ?? 0
    const wanted = expected.get(table) ?? 0
    if (count < wanted) findings.add("rows-missing", `mallard.${table}`, `${wanted - count} of ${wanted} rows are gone`)
    if (count > wanted)
      findings.add(
        "rows-added",
        `mallard.${table}`,
        `${count - wanted} rows were added by something else than a commit`
      )
    if (id !== undefined && count > 0 && !dense.has(table)) {
      findings.add("ids-not-dense", `mallard.${table}`, `its ${id} are not the numbers from 1 on, each once`)
    }
  }
})

/** Steps are numbered from 1, and there is at least one. */
const checkMigrations = Effect.fnUntraced(function* (client: DuckDbSqlClient, findings: Findings) {
  const versions = (yield* queryRows(client, "SELECT version FROM mallard.schema_migrations ORDER BY version")).map(
    ([version]) => Number(version)
  )
  if (versions.length === 0) findings.add("rows-missing", "mallard.schema_migrations", "all rows are gone")
  if (versions.some((version, at) => version !== at + 1)) {
    findings.add("ids-not-dense", "mallard.schema_migrations", "its versions are not the numbers from 1 on, each once")
  }
})

/** Members and links, as rows of kind and entity. */
const referencesSql =
  "(SELECT kind, entity_id FROM mallard.cohort_members UNION ALL SELECT child_kind, child_entity_id FROM mallard.links)"

/** The ids that rows of one kind point to; `distinct` counts those that the largest table of a kind can have. */
interface IdRange {
  readonly lowest: number
  readonly highest: number
  readonly distinct: number
}

const NO_IDS: IdRange = { lowest: 1, highest: 0, distinct: 0 }

const byKind = (rows: ReadonlyArray<ReadonlyArray<unknown>>): ReadonlyMap<number, IdRange> =>
  new Map(
    rows.map((row) => {
      const [code = 0, lowest = 0, highest = 0, distinct = 0] = row.map(Number)
      return [code, { lowest, highest, distinct }]
    })
  )

const checkReferences = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  counts: ReadonlyMap<string, number>,
  dense: ReadonlySet<string>,
  findings: Findings
) {
  const count = Effect.fnUntraced(function* (sql: string) {
    return Number((yield* queryRows(client, sql))[0]?.[0] ?? 0)
  })
  const most = Math.max(1, ...storedKinds.map(({ table }) => counts.get(table) ?? 0))
  const references = byKind(
    yield* queryRows(
      client,
      `SELECT kind, min(entity_id), max(entity_id), ${distinctIds("entity_id", most)} FROM ${referencesSql} GROUP BY kind`
    )
  )
  const parents = byKind(
    yield* queryRows(
      client,
      "SELECT parent_kind, min(parent_entity_id), max(parent_entity_id), 0 FROM mallard.links GROUP BY parent_kind"
    )
  )
  for (const { code, table } of storedKinds) {
    const rows = counts.get(table) ?? 0
    const isWithin = ({ highest, lowest }: IdRange): boolean => lowest >= 1 && highest <= rows
    const isSound = rows === 0 || dense.has(table)
    const pointedTo = references.get(code) ?? NO_IDS
    // Ids that are the numbers from 1 on need no look at the rows: their bounds and their number say it all.
    if (!(isSound && isWithin(pointedTo))) {
      const missing = yield* count(
        `SELECT count(*) FROM ${referencesSql} r ANTI JOIN mallard.${quoteName(table)} e ON e.entity_id = r.entity_id WHERE r.kind = ${code}`
      )
      if (missing > 0)
        findings.add(
          "reference-broken",
          `mallard.${table}`,
          `${missing} members or links point to rows that do not exist`
        )
    }
    if (!(isSound && isWithin(pointedTo) && pointedTo.distinct === rows)) {
      const unused = yield* count(
        `SELECT count(*) FROM mallard.${quoteName(table)} e ANTI JOIN (SELECT entity_id FROM ${referencesSql} WHERE kind = ${code}) r ON e.entity_id = r.entity_id`
      )
      if (unused > 0) findings.add("entity-unused", `mallard.${table}`, `${unused} rows belong to no document`)
    }
    if (!(isSound && isWithin(parents.get(code) ?? NO_IDS))) {
      const hanging = yield* count(
        `SELECT count(*) FROM mallard.links l ANTI JOIN mallard.${quoteName(table)} e ON e.entity_id = l.parent_entity_id WHERE l.parent_kind = ${code}`
      )
      if (hanging > 0)
        findings.add("reference-broken", "mallard.links", `${hanging} links hang on rows of ${table} that do not exist`)
    }
  }
  const codes = new Set(storedKinds.map(({ code }) => code))
  if ([...references.keys(), ...parents.keys()].some((code) => !codes.has(code)))
    findings.add("reference-broken", "mallard.kinds", "members or links are of a kind that does not exist")
  const kindsFound = yield* queryRows(client, "SELECT code, kind, table_name FROM mallard.kinds ORDER BY code")
  const same =
    kindsFound.length === storedKinds.length &&
    [...storedKinds]
      .sort((a, b) => a.code - b.code)
      .every(({ code, kind, table }, at) => {
        const row = kindsFound[at]!
        return Number(row[0]) === code && row[1] === kind && row[2] === table
      })
  if (!same) findings.add("row-changed", "mallard.kinds", "the list of kinds is not that of this program")
  const dangling = yield* count(
    `SELECT count(*) FROM (SELECT content_id, part FROM mallard.part_texts UNION ALL SELECT content_id, part FROM mallard.collections UNION ALL SELECT content_id, part FROM mallard.cohort_members) x ANTI JOIN mallard.parts p ON p.content_id = x.content_id AND p.part = x.part`
  )
  if (dangling > 0)
    findings.add("reference-broken", "mallard.parts", `${dangling} rows belong to parts that do not exist`)
  const pieces = yield* count(
    `SELECT count(*) FROM (SELECT content_id, part, count(*) AS n, max(piece) AS top, count(DISTINCT piece) AS distinct_pieces FROM mallard.part_texts GROUP BY content_id, part) WHERE n <> top + 1 OR n <> distinct_pieces`
  )
  if (pieces > 0)
    findings.add(
      "members-out-of-order",
      "mallard.part_texts",
      `${pieces} documents have pieces that are not numbered from 0 without gaps`
    )
  const contents = yield* count(
    `SELECT count(*) FROM mallard.revisions r ANTI JOIN mallard.parts p ON p.content_id = r.content_id`
  )
  if (contents > 0) findings.add("reference-broken", "mallard.revisions", `${contents} revisions have no parts`)
})

// ---- shapes and columns

const checkTemplates = (renderer: Renderer, findings: Findings): boolean => {
  let readable = true
  for (const shape of renderer.shapes.values()) {
    try {
      renderer.template(shape)
      collectionPointers(shape.template)
    } catch {
      readable = false
      findings.add("template-unreadable", `mallard.entity_shapes shape_id ${shape.id}`, "its template is no template")
    }
  }
  return readable
}

/** The columns that rows of a shape may fill. */
const filledBy = (renderer: Renderer, kind: EntityKind, shape: StoredShape): ReadonlySet<string> => {
  const columns = new Set(filledColumns(shape).map(({ name }) => name))
  for (const label of renderer.template(shape).labels) {
    if ((label.tag === "column" || label.tag === "extra") && label.column !== undefined)
      columns.add(kind.columns[label.column]!.name)
  }
  return columns
}

/** The columns of a shape that hold more than their own leaf; `copyOf` names the column that one is a plain copy of. */
const filledColumns = (
  shape: StoredShape
): ReadonlyArray<{ readonly name: string; readonly copyOf: string | undefined }> =>
  shape.filled === ""
    ? []
    : shape.filled.split(",").map((entry) => {
        const [name = "", copyOf] = entry.split("=")
        return { name, copyOf }
      })

/** NULL where a shape says nothing, and copies and best values as the reader makes them. */
const checkKind = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  renderer: Renderer,
  kind: EntityKind,
  shapes: ReadonlyArray<StoredShape>,
  hasLinks: boolean,
  findings: Findings
) {
  const table = `mallard.${kind.table}`
  const filled = new Map(shapes.map((shape) => [shape.id, filledBy(renderer, kind, shape)]))
  // A column that every shape fills has nothing to count.
  const counted = kind.columns.filter(({ name }) => [...filled.values()].some((columns) => !columns.has(name)))
  const again: Array<number> = []
  const copies: Array<{ readonly shapeId: number; readonly name: string; readonly copyOf: string }> = []
  let withoutShape = 0
  for (const [id, rows, ...found] of yield* queryRows(
    client,
    `SELECT ${["shape_id", "count(*)", ...counted.map(({ name }) => `count(${quoteName(name)})`)].join(", ")} FROM ${table} GROUP BY shape_id`
  )) {
    const shapeId = Number(id)
    if (shapeId === 0) {
      again.push(0)
      continue
    }
    const shape = renderer.shapes.get(shapeId)
    const columnsFilled = filled.get(shapeId)
    if (shape === undefined || columnsFilled === undefined) {
      withoutShape += Number(rows)
      continue
    }
    counted.forEach(({ name }, at) => {
      if (!columnsFilled.has(name) && Number(found[at]) > 0) {
        findings.add(
          "value-without-source",
          `${table} column ${name}`,
          `${Number(found[at])} rows of shape ${shapeId} have a value that no source gave`
        )
      }
    })
    const columns = filledColumns(shape)
    if (columns.some(({ copyOf }) => copyOf === undefined)) again.push(shapeId)
    for (const { name, copyOf } of columns) {
      if (copyOf !== undefined) copies.push({ shapeId, name, copyOf })
    }
  }
  if (withoutShape > 0) findings.add("reference-broken", table, `${withoutShape} rows have a shape that does not exist`)
  if (copies.length > 0) {
    for (const [id, name] of yield* queryRows(
      client,
      copies
        .map(
          ({ shapeId, name, copyOf }) =>
            `SELECT entity_id, '${name}' FROM ${table} WHERE shape_id = ${shapeId} AND ${quoteName(name)} IS DISTINCT FROM ${quoteName(copyOf)}`
        )
        .join(" UNION ALL ")
    )) {
      findings.add(
        "copy-changed",
        `${table} entity_id ${Number(id)} column ${String(name)}`,
        "it no longer holds what its entity's text gives"
      )
    }
  }
  if (again.length > 0) yield* readAgain(client, renderer, kind, again, findings)
  if (hasLinks) yield* checkPointers(client, kind, shapes, findings)
})

/** Rows read again at once. */
const READ_AGAIN = 20_000

/** Renders rows whose columns hold more than their own leaf, reads the text again, and compares every column. */
const readAgain = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  renderer: Renderer,
  kind: EntityKind,
  shapeIds: ReadonlyArray<number>,
  findings: Findings
) {
  const table = `mallard.${kind.table}`
  const names = new Set(
    shapeIds.flatMap((id) =>
      (id === 0 ? kind.columns : filledColumns(renderer.shapes.get(id)!)).map(({ name }) => name)
    )
  )
  const columns = kind.columns.filter(({ name }) => names.has(name))
  const codecs = columns.map(makeCodec)
  const { text, join } = renderer.expression(kind.code)
  const ofShapes = `e.shape_id IN (${shapeIds.join(",")}) AND e.entity_id`
  let from = yield* nextId(client, "e.entity_id", `${table} e WHERE ${ofShapes} >= 0`)
  while (from !== undefined) {
    const end: number = from + READ_AGAIN
    const where = `${ofShapes} BETWEEN ${from} AND ${end - 1}`
    const rows = yield* queryRows(
      client,
      `SELECT e.entity_id, encode(${text}), ${columns.map(nativeSql).join(", ")} FROM ${table} e${join(`SELECT e.entity_id FROM ${table} e WHERE ${where}`)} WHERE ${where}`
    )
    const missing = rows.filter(([, bytes]) => bytes === null).map(([id]) => Number(id))
    const rendered = yield* renderer.texts(kind.code, missing)
    const reader = freshReader()
    for (const [id, bytes, ...values] of rows) {
      const source = bytes === null ? rendered.get(Number(id)) : blobText(bytes)
      if (source === undefined) continue
      const worked = reader(kind.code, source)
      codecs.forEach((codec, at) => {
        const stored = nativeValue(values[at])
        const wanted = worked === undefined ? undefined : (worked.get(codec.name) ?? null)
        if (wanted !== undefined && !sameValue(stored, wanted)) {
          findings.add(
            "copy-changed",
            `${table} entity_id ${Number(id)} column ${codec.name}`,
            "it no longer holds what its entity's text gives"
          )
        }
      })
    }
    from = yield* nextId(client, "e.entity_id", `${table} e WHERE ${ofShapes} >= ${end}`)
  }
})

/** Whole numbers may come as `number` from one side and as `bigint` from the other. */
const sameValue = (a: ColumnValue, b: ColumnValue): boolean =>
  Object.is(a, b) ||
  (typeof a === "bigint" && typeof b === "number" && a === BigInt(Math.trunc(b)) && Number.isInteger(b)) ||
  (typeof b === "bigint" && typeof a === "number" && sameValue(b, a))

/** Reads texts of entities into a batch of its own and gives the columns of each. */
const freshReader = (): ((code: number, text: string) => ReadonlyMap<string, ColumnValue> | undefined) => {
  const batch = new EntityBatch()
  const reader = new EntityReader(
    batch,
    new ShapeDictionary(),
    batch.rows.map(() => new EntityIndex())
  )
  const documents = new DocumentReader(reader)
  return (code, text) => {
    const tokenizer = reader.tokenizer
    batch.clear()
    tokenizer.o = 0
    for (const index of reader.indexes) index.rollback(0)
    try {
      documents.readBytes(Buffer.from(text), { tag: "entity", kind: code })
    } catch {
      return undefined
    }
    return rowValues(batch, code, batch.rows[code]!.count - 1, tokenizer.output)
  }
}

/** Links say where in their parent they stand; the parent's template says it too. */
const checkPointers = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  kind: EntityKind,
  shapes: ReadonlyArray<StoredShape>,
  findings: Findings
) {
  if (kind.children.length === 0) return
  const expected: Array<string> = []
  for (const shape of shapes) {
    collectionPointers(shape.template).forEach(({ pointer, list }, at) => {
      expected.push(`(${shape.id}, ${at}, ${quoteText(pointer)}, ${list})`)
    })
  }
  const table = `mallard.${kind.table}`
  const folded = yield* queryRows(
    client,
    `SELECT entity_id, encode(extra) FROM ${table} WHERE shape_id = 0 AND entity_id IN (SELECT parent_entity_id FROM mallard.links WHERE parent_kind = ${kind.code})`
  )
  const foldedRows: Array<string> = []
  for (const [id, extra] of folded) {
    pointersOfFolded(blobText(extra)).forEach(({ pointer, list }, at) => {
      foldedRows.push(`(${Number(id)}, ${at}, ${quoteText(pointer)}, ${list})`)
    })
  }
  const values = (rows: ReadonlyArray<string>): string => (rows.length === 0 ? "(-1, 0, '', false)" : rows.join(", "))
  const [row] = yield* queryRows(
    client,
    `WITH x(shape_id, collection, pointer, list) AS (VALUES ${values(expected)}), f(entity_id, collection, pointer, list) AS (VALUES ${values(foldedRows)})
     SELECT count(*) FROM (
       SELECT l.pointer, l.ordinal, l.child_kind, coalesce(x.pointer, f.pointer) AS place, coalesce(x.list, f.list) AS list
       FROM mallard.links l JOIN ${table} e ON e.entity_id = l.parent_entity_id
       LEFT JOIN x ON x.shape_id = e.shape_id AND x.collection = l.collection
       LEFT JOIN f ON f.entity_id = e.entity_id AND f.collection = l.collection AND e.shape_id = 0
       WHERE l.parent_kind = ${kind.code})
     WHERE place IS NULL OR pointer <> CASE WHEN list THEN place || '/' || ordinal ELSE place END OR child_kind NOT IN (${childCodes(kind).join(",")})`
  )
  const wrong = Number(row?.[0] ?? 0)
  if (wrong > 0)
    findings.add(
      "link-changed",
      "mallard.links",
      `${wrong} links of ${kind.table} do not stand where their parent's template says`
    )
  const [gaps] = yield* queryRows(
    client,
    `SELECT count(*) FROM (SELECT count(*) AS n, max(ordinal) AS top, min(ordinal) AS low, count(DISTINCT ordinal) AS d FROM mallard.links WHERE parent_kind = ${kind.code} GROUP BY parent_entity_id, collection) WHERE n <> top + 1 OR low <> 0 OR d <> n`
  )
  if (Number(gaps?.[0] ?? 0) > 0)
    findings.add(
      "link-changed",
      "mallard.links",
      `${Number(gaps?.[0])} collections of ${kind.table} are not numbered from 0 without gaps`
    )
})

/** Where the collections of a row with a template of its own stand; a template that is none has none. */
const pointersOfFolded = (extra: string): ReturnType<typeof collectionPointers> => {
  try {
    return collectionPointers(splitFolded(extra).template)
  } catch {
    return []
  }
}

/** Entities inside others that are rendered at once, and whose texts come in one value. */
const CHILDREN_AT_ONCE = 100_000
const CHILDREN_IN_BLOCK = 1000

/** Hashes the entities that stand inside others; returns how many. */
const checkChildren = Effect.fnUntraced(function* (client: DuckDbSqlClient, renderer: Renderer, findings: Findings) {
  const codes = yield* queryRows(client, "SELECT DISTINCT child_kind FROM mallard.links")
  let checked = 0
  for (const [codeValue] of codes) {
    const code = Number(codeValue)
    const kind = code === 0 ? JSON_KIND : kindByCode(code)
    if (kind === undefined) continue
    const { text, join } = code === 0 ? { text: "e.extra", join: () => "" } : renderer.expression(code)
    const table = `mallard.${kind.table}`
    const links = `mallard.links WHERE child_kind = ${code} AND child_entity_id`
    let from = yield* nextId(client, "child_entity_id", `${links} >= 0`)
    while (from !== undefined) {
      const end: number = from + CHILDREN_AT_ONCE
      const range = `SELECT child_entity_id FROM ${links} BETWEEN ${from} AND ${end - 1}`
      const blocks = yield* queryRows(
        client,
        `SELECT count(*), string_agg(concat('0 ', entity_id, ' ', digest), chr(10)), encode(string_agg(coalesce(text, ''), chr(10)))
         FROM (SELECT e.entity_id, e.digest, ${text} AS text FROM ${table} e${join(range)} WHERE e.entity_id IN (${range}))
         GROUP BY entity_id // ${CHILDREN_IN_BLOCK}`
      )
      const doubtful = blocks.flatMap(([count, keys, texts]) => {
        checked += Number(count)
        return otherElements(code, Number(count), keys, texts)
      })
      const texts = yield* renderer.texts(
        code,
        doubtful.map(({ id }) => id)
      )
      for (const { digest, id } of doubtful) {
        const again = texts.get(id)
        if (again === undefined || !hash("sha256", again, "hex").startsWith(digest)) {
          findings.add(
            "entity-changed",
            `${table} entity_id ${id}`,
            "its row no longer gives the text that its digest stands for"
          )
        }
      }
      from = yield* nextId(client, "child_entity_id", `${links} >= ${end}`)
    }
  }
  return checked
})

/** The lowest id that a condition leaves: ids that were tampered with may lie far apart. */
const nextId = Effect.fnUntraced(function* (client: DuckDbSqlClient, id: string, from: string) {
  const [row] = yield* queryRows(client, `SELECT min(${id}) FROM ${from}`)
  const lowest = row?.[0] ?? undefined
  return lowest === undefined ? undefined : Number(lowest)
})

const checkRevisions = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  parts: ReadonlyMap<number, ReadonlyArray<{ readonly path: string; readonly digest: string }>>,
  findings: Findings
) {
  const seqs = new Map<string, { seq: number; id: number }>()
  for (const [id, cohort, seq, predecessor, digest, content] of yield* queryRows(
    client,
    "SELECT revision_id, cohort_id::VARCHAR, seq, predecessor, digest, content_id FROM mallard.revisions ORDER BY cohort_id, seq, revision_id"
  )) {
    const where = `mallard.revisions revision_id ${Number(id)}`
    const own = parts.get(Number(content))
    if (own !== undefined && contentDigest(own) !== digest)
      findings.add("revision-changed", where, "its digest is not that of its parts")
    const before = seqs.get(String(cohort))
    if (Number(seq) !== (before?.seq ?? 0) + 1)
      findings.add("ids-not-dense", where, "the revisions of its cohort are not numbered from 1 without gaps")
    if ((predecessor === null ? undefined : Number(predecessor)) !== before?.id)
      findings.add("revision-changed", where, "it does not follow the revision before it")
    seqs.set(String(cohort), { seq: Number(seq), id: Number(id) })
  }
})
