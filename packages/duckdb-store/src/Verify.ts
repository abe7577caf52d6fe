/**
 * Proves that a database holds what it says: every document is rendered from its rows and hashed, every entity is hashed,
 * copies and best values are worked out again, and every row of the ledger is checked against its digest and the counts
 * that its commit wrote down. Works on a read-only connection; finds changes, losses, additions and swaps alike.
 */
import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect, Exit } from "effect"
import type { SqlError } from "effect/sql"
import { kinds } from "@mallard/schema"
import { LARGE_ELEMENT } from "./Assembly.ts"
import { checkChildren, type CheckedDocuments, checkDocuments } from "./internal/checkDocuments.ts"
import { checkKind, checkTemplates } from "./internal/checkColumns.ts"
import { checkLedger, checkMigrations, checkRevisions } from "./internal/checkLedger.ts"
import { checkReferences, denseTables } from "./internal/checkReferences.ts"
import { type Finding, Findings, MAX_FINDINGS } from "./internal/findings.ts"
import { quoteName } from "./Quoting.ts"
import { makeRenderer, queryRows } from "./Rendering.ts"
import { storedKinds, tableNames } from "./Tables.ts"

export { type Finding, MAX_FINDINGS }

/** The outcome of a verification. `checked` counts documents; findings beyond `MAX_FINDINGS` are only counted. */
export interface VerifyReport {
  readonly checked: number
  readonly matched: number
  readonly mismatched: number
  readonly entities: number
  readonly findings: ReadonlyArray<Finding>
  readonly findingCount: number
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
  const bytes = yield* sourceBytes(client)
  // No more than all of the sources: what is stored once may stand in many of them.
  const rowBytes = (table: string): number => bytes / Math.max(counts.get(table) ?? 0, 1)
  const entities = storedKinds.reduce((sum, { table }) => sum + (counts.get(table) ?? 0), 0)
  // There is too little memory for two statements about large entities.
  const concurrency = bytes / Math.max(entities, 1) > LARGE_ELEMENT ? 1 : 2
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
        (kind) => (own: Findings) =>
          checkKind(client, renderer, kind, shapesByKind.get(kind.code) ?? [], hasLinks, rowBytes(kind.table), own)
      ),
    (own) =>
      hasLinks
        ? Effect.map(checkChildren(client, renderer, rowBytes, own), (checked) => {
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
        { concurrency }
      ),
      // Hashing keeps this thread busy, the checks above the database.
      checkDocuments(client, renderer, "true", ofDocuments, options.onDocument)
    ],
    { concurrency }
  )
  for (const own of [...found, ofDocuments]) findings.append(own)
  yield* checkRevisions(client, documents.digests, findings)
  return reportOf(findings, { ...documents, entities: documents.entities + children })
})

/** How long all sources are together. */
const sourceBytes = (client: DuckDbSqlClient) =>
  Effect.map(queryRows(client, "SELECT coalesce(sum(bytes), 0) FROM mallard.parts"), ([row]) => Number(row?.[0] ?? 0))

/** How many rows each table has. Tables without any need no further statement, and each costs more than it reads. */
const rowCounts = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  const counts = tableNames.map((table) => `(SELECT count(*) FROM mallard.${quoteName(table)})`)
  const [row = []] = yield* queryRows(client, `SELECT ${counts.join(", ")}`)
  return new Map(tableNames.map((table, at) => [table, Number(row[at])]))
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

const reportOf = (findings: Findings, documents: CheckedDocuments): VerifyReport => ({
  checked: documents.checked,
  matched: documents.checked - documents.mismatched,
  // A change outside of documents spoils the proof too.
  mismatched: findings.count > 0 ? Math.max(documents.mismatched, 1) : 0,
  entities: documents.entities,
  findings: findings.list,
  findingCount: findings.count
})
