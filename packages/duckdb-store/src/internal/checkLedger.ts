/** Verification of the ledger: rows against their digests, counts and ids against what commits wrote down, revisions against each other. */
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { contentDigest } from "../Revision.ts"
import { checkRowDigests } from "../Ledger.ts"
import { queryRows } from "../Rendering.ts"
import { digestedTableNames, idColumns, tableNames } from "../Tables.ts"
import type { CheckedDocuments } from "./checkDocuments.ts"
import type { Findings } from "./findings.ts"

export const checkLedger = Effect.fnUntraced(function* (
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
export const checkMigrations = Effect.fnUntraced(function* (client: DuckDbSqlClient, findings: Findings) {
  const versions = (yield* queryRows(client, "SELECT version FROM mallard.schema_migrations ORDER BY version")).map(
    ([version]) => Number(version)
  )
  if (versions.length === 0) findings.add("rows-missing", "mallard.schema_migrations", "all rows are gone")
  if (versions.some((version, at) => version !== at + 1)) {
    findings.add("ids-not-dense", "mallard.schema_migrations", "its versions are not the numbers from 1 on, each once")
  }
})

export const checkRevisions = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  parts: CheckedDocuments["digests"],
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
