/**
 * Saves what is whole of a damaged database: every revision whose documents verify is copied into a new file, with its
 * history, its runs and its items; the others are named. The damaged file is read and never changed.
 */

import { kindByCode } from "@mallard/schema"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { resolve } from "node:path"
import { causesOf } from "../Disk.ts"
import { InvalidRequest } from "../CohortErrors.ts"
import { attachFormer, copyKept, detachFormer, type Kept } from "./copying.ts"
import { bytesOf, hasName, nameDatabase, ownPath, removeDatabase, temporaryPath } from "./files.ts"
import { query } from "./query.ts"
import { checkRowDigests, nextIds } from "../Ledger.ts"
import { openStore, type StoreConfig } from "../Store.ts"
import { StoreError, systemReason, toStoreError } from "../StoreError.ts"
import { type DigestedTableName, digestedTableNames, storedKinds } from "../Tables.ts"
import { type Finding, findUnreadable, verifyDatabase, type VerifyReport } from "../Verify.ts"
import { quoteName, quoteText } from "../Quoting.ts"

/** A revision that was not copied. */
export interface LeftRevision {
  readonly cohortId: string
  readonly name: string
  readonly seq: number
  readonly change: string
  readonly reason: string
}

/** What a rebuild has copied, and what it has not. */
export interface RebuildReport {
  readonly out: string
  readonly cohorts: number
  readonly revisions: number
  readonly documents: number
  readonly entities: number
  readonly left: ReadonlyArray<LeftRevision>
  /** Rows of the ledger that changed since they were written, by table. */
  readonly leftRows: Readonly<Record<string, number>>
}

/**
 * Copies what verifies of the database into a new one at `out`, and verifies that. Neither may be open, and `out` must not
 * exist; when it fails, `out` does not exist. A cohort whose last revision is left behind shows the one before, unless it
 * was deleted: then all of it is left behind. So are tables and views of the owner.
 */
export const rebuildHere = Effect.fnUntraced(function* (config: StoreConfig, out: string) {
  const path = ownPath(config.path)
  const target = resolve(out)
  const attempt = <A>(at: string, act: () => A) => Effect.try({ try: act, catch: (cause) => toStoreError(at, cause) })
  if (yield* attempt(target, () => hasName(target))) {
    return yield* new InvalidRequest({ reason: "not-written", detail: "the new file exists already" })
  }
  const damage = yield* Effect.scoped(
    Effect.gen(function* () {
      const sql = yield* openStore({ ...config, path, readonly: true })
      return yield* Effect.provideService(assess(sql), DuckDbClient, sql)
    })
  ).pipe(Effect.catchTag("SqlError", (cause) => Effect.fail(notCopied(path, path, cause))))
  const building = rebuildingPath(target)
  const copy = Effect.gen(function* () {
    yield* attempt(target, () => removeDatabase(building))
    const report = yield* Effect.scoped(
      Effect.gen(function* () {
        const expectedBytes = yield* attempt(path, () => bytesOf(path))
        const sql = yield* openStore({ ...config, path: building, readonly: false, expectedBytes })
        yield* attachFormer(sql, path, "shared")
        yield* copyKept(sql, path, damage.kept)
        yield* detachFormer(sql)
        return yield* countsOf(sql)
      })
    ).pipe(
      Effect.catchTag("SqlError", (cause) => Effect.fail(notCopied(path, building, cause))),
      // Nobody knows the name that it has meanwhile.
      Effect.catchIf(
        (error): error is StoreError => error instanceof StoreError && error.path === building,
        ({ cause, reason }) => Effect.fail(new StoreError({ reason, path: target, cause }))
      )
    )
    if (!(yield* attempt(target, () => nameDatabase(building, target)))) {
      return yield* new InvalidRequest({ reason: "not-written", detail: "the new file exists already" })
    }
    return { out: target, ...report, left: damage.left, leftRows: damage.leftRows } satisfies RebuildReport
  })
  return yield* Effect.ensuring(copy, Effect.ignore(attempt(building, () => removeDatabase(building))))
})

/** What the operating system says is no damage of a database. It is said of the new file, unless DuckDB names the other. */
const notCopied = (path: string, building: string, cause: unknown): StoreError => {
  const reason = systemReason(cause)
  const isOfFormer = reason === undefined || [...causesOf(cause)].some(({ message }) => message.includes(path))
  return new StoreError({ reason: reason ?? "damaged", path: isOfFormer ? path : building, cause })
}

/** Where a process rebuilds what is to be named `target`. */
export const rebuildingPath = (target: string, pid = process.pid): string => temporaryPath(`${target}.rebuilt`, pid)

interface Damage {
  readonly kept: Kept
  readonly left: ReadonlyArray<LeftRevision>
  readonly leftRows: Readonly<Record<string, number>>
}

/** The statements of this module that do not depend on the damage. */
const rebuildStatements = {
  revisions: `SELECT revision_id, CAST(cohort_id AS VARCHAR) AS cohort_id, seq, change, name, content_id FROM mallard.revisions
WHERE revision_id < CAST(? AS BIGINT) ORDER BY cohort_id, seq, revision_id`,
  counts: `SELECT (SELECT count(DISTINCT cohort_id) FROM mallard.revisions) AS cohorts,
  (SELECT count(*) FROM mallard.revisions) AS revisions, (SELECT count(*) FROM mallard.parts) AS documents`
} as const

interface RevisionRow {
  readonly revision_id: bigint
  readonly cohort_id: string
  readonly seq: number
  readonly change: string
  readonly name: string
  readonly content_id: bigint
}

const reasons = {
  document: "what it holds does not verify",
  unreadable: "what it holds cannot be read",
  row: "its row changed since it was written",
  deleted: "the cohort was deleted, and the revision that says so does not verify"
} as const

const assess = Effect.fnUntraced(function* (sql: DuckDbSqlClient) {
  const next = yield* nextIds
  const revisions = yield* query<RevisionRow>(sql, rebuildStatements.revisions, [String(next.get("revisions") ?? 1)])
  const bad = new Suspects()
  const leftRows: Record<string, number> = {}
  const skipped = new Set<string>()
  for (const table of digestedTableNames) {
    const { mismatches } = yield* checkRowDigests(table)
    if (mismatches.length === 0) continue
    if (table !== "commits" && table !== "schema_migrations") leftRows[table] = mismatches.length
    for (const { found, key } of mismatches) {
      skipped.add(found)
      bad.row(table, Number(key[0]))
    }
  }
  // A defect means damage too: the engine gave what no table of ours holds.
  const verified = yield* Effect.exit(verifyDatabase(sql, { onFinding: bad.hear }))
  const contents = [...new Set(revisions.map((row) => Number(row.content_id)))]
  const unreadable = new Set(
    verified._tag === "Success" && isReadToTheEnd(verified.value) ? [] : yield* findUnreadable(sql, contents, bad.hear)
  )
  const broken = yield* contentsOf(sql, bad)
  const reasonOf = (row: RevisionRow): string | undefined => {
    const content = Number(row.content_id)
    if (unreadable.has(content)) return reasons.unreadable
    if (bad.contents.has(content) || broken.has(content)) return reasons.document
    return bad.revisions.has(Number(row.revision_id)) ? reasons.row : undefined
  }
  const left: Array<LeftRevision> = []
  const leftIds: Array<number> = []
  for (const [at, row] of revisions.entries()) {
    const reason = reasonOf(row) ?? (isGone(revisions, at, reasonOf) ? reasons.deleted : undefined)
    if (reason === undefined) continue
    leftIds.push(Number(row.revision_id))
    left.push({ cohortId: row.cohort_id, name: row.name, seq: row.seq, change: row.change, reason })
  }
  const recorded = `revision_id < ${next.get("revisions") ?? 1}`
  const kept: Kept = {
    revisions: leftIds.length === 0 ? recorded : `${recorded} AND revision_id NOT IN (${leftIds.join(", ")})`,
    rows: skipped.size === 0 ? undefined : `t.row_digest NOT IN (${[...skipped].map(quoteText).join(", ")})`,
    isDamaged: unreadable.size > 0,
    leavesOwnTables: true
  }
  const damage: Damage = { kept, left, leftRows }
  return damage
})

/** With a template that cannot be read, verifying stops before the documents. */
const isReadToTheEnd = (report: VerifyReport): boolean =>
  report.findings.every(({ code }) => code !== "template-unreadable")

/** Whether the last revision of the cohort of this one says that it is deleted, and is left behind. */
const isGone = (
  revisions: ReadonlyArray<RevisionRow>,
  at: number,
  reasonOf: (row: RevisionRow) => string | undefined
): boolean => {
  let last = at
  while (revisions[last + 1]?.cohort_id === revisions[at]?.cohort_id) last++
  const head = revisions[last]
  return head !== undefined && head.change === "deleted" && reasonOf(head) !== undefined
}

/** What findings point to. */
class Suspects {
  readonly contents = new Set<number>()
  readonly revisions = new Set<number>()
  /** By code of the kind; ids, or conditions on rows `e` of its table. */
  readonly entities = new Map<number, Set<string>>()

  row(table: DigestedTableName, id: number): void {
    if (table === "revisions") this.revisions.add(id)
    else if (table === "parts" || table === "collections") this.contents.add(id)
    else if (table === "entity_shapes")
      for (const { code } of storedKinds) if (code !== 0) this.rows(code, `e.shape_id = ${id}`)
  }

  readonly hear = ({ code, message, where }: Finding): void => {
    const content = / content_id (\d+)/.exec(where)?.[1]
    if (content !== undefined) this.contents.add(Number(content))
    const revision = / revision_id (\d+)/.exec(where)?.[1]
    if (revision !== undefined && code === "revision-changed" && message.includes("parts")) {
      this.revisions.add(Number(revision))
    }
    if (code === "link-changed") {
      const table = / of (\w+) /.exec(message)?.[1]
      const kind = storedKinds.find((one) => one.table === table)
      if (kind !== undefined)
        this.rows(
          kind.code,
          `e.entity_id IN (SELECT parent_entity_id FROM mallard.links WHERE parent_kind = ${kind.code})`
        )
      return
    }
    const shape = / shape_id (\d+)/.exec(where)?.[1]
    if (shape !== undefined) this.row("entity_shapes", Number(shape))
    const [, table, entity, column] = /^mallard\.(\w+)(?: entity_id (\d+))?(?: column (\w+))?/.exec(where) ?? []
    const kind = storedKinds.find((one) => one.table === table)
    if (kind === undefined) return
    if (entity !== undefined) this.rows(kind.code, `e.entity_id = ${entity}`)
    else if (column !== undefined) {
      const of = / shape (\d+) /.exec(message)?.[1]
      this.rows(kind.code, `e.${quoteName(column)} IS NOT NULL${of === undefined ? "" : ` AND e.shape_id = ${of}`}`)
    }
  }

  private rows(code: number, condition: string): void {
    const conditions = this.entities.get(code)
    if (conditions === undefined) this.entities.set(code, new Set([condition]))
    else conditions.add(condition)
  }
}

/** The contents that hold suspected entities, at any depth. */
const contentsOf = Effect.fnUntraced(function* (sql: DuckDbSqlClient, bad: Suspects) {
  const found = new Set<number>()
  for (const [code, conditions] of bad.entities) {
    const table = storedKinds.find((kind) => kind.code === code)?.table ?? kindByCode(code)?.table
    if (table === undefined) continue
    const all = [...conditions]
    for (let from = 0; from < all.length; from += CONDITIONS) {
      const some = all.slice(from, from + CONDITIONS).join(" OR ")
      const rows = yield* query<{ readonly content_id: bigint }>(
        sql,
        `WITH RECURSIVE bad AS (
  SELECT ${code} AS kind, e.entity_id FROM mallard.${quoteName(table)} e WHERE ${some}
  UNION
  SELECT l.parent_kind, l.parent_entity_id FROM bad b JOIN mallard.links l ON l.child_kind = b.kind AND l.child_entity_id = b.entity_id
) SELECT DISTINCT m.content_id FROM mallard.cohort_members m JOIN bad b ON b.kind = m.kind AND b.entity_id = m.entity_id`
      )
      for (const row of rows) found.add(Number(row.content_id))
    }
  }
  return found
})

/** Conditions of one statement. */
const CONDITIONS = 500

const countsOf = Effect.fnUntraced(function* (sql: DuckDbSqlClient) {
  const [row] = yield* query<{ readonly cohorts: bigint; readonly revisions: bigint; readonly documents: bigint }>(
    sql,
    rebuildStatements.counts
  )
  let entities = 0
  for (const { table } of storedKinds) {
    const [count] = yield* query<{ readonly count: bigint }>(
      sql,
      `SELECT count(*) AS count FROM mallard.${quoteName(table)}`
    )
    entities += Number(count?.count ?? 0)
  }
  return {
    cohorts: Number(row?.cohorts ?? 0),
    revisions: Number(row?.revisions ?? 0),
    documents: Number(row?.documents ?? 0),
    entities
  }
})
