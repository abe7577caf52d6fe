/** A cohort as texts, and as files that get their names when all of them are whole. */

import { type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { partsOfContent, partTexts } from "../Assembly.ts"
import { InvalidRequest } from "../CohortErrors.ts"
import type { ExportedFiles, ExportedTexts, TextExportOptions } from "../CohortStore.ts"
import { pathBelow } from "../Disk.ts"
import { copySql, documentText, exportFormats, type ExportOptions, ndjsonTexts, v1Text } from "../Export.ts"
import { fileNameOf } from "../Naming.ts"
import { makeRenderer } from "../Rendering.ts"
import { storedKinds } from "../Tables.ts"
import { countsOfContents, membersOfContent, type RevisionState, revisionsOf } from "./content.ts"
import { isFolder, OutputFiles } from "./outputs.ts"
import { query } from "./query.ts"

/** The documents of a content, in order, as compact texts. */
export const documentsOf = Effect.fnUntraced(function* (sql: DuckDbSqlClient, contentId: number) {
  const parts = yield* partTexts(sql, yield* makeRenderer(sql), partsOfContent(contentId))
  return parts.map(({ path, text }) => ({ path, text: text.toString("utf8") }))
})

/** What `CohortStore.exportTexts` gives of a cohort. */
export const exportTexts = Effect.fnUntraced(function* (
  sql: DuckDbSqlClient,
  head: RevisionState,
  options: TextExportOptions
) {
  const { contentId } = head
  if (options.format === "ndjson") {
    const files = ndjsonTexts(yield* membersOfContent(sql, contentId))
    return { files, remarks: [] } satisfies ExportedTexts
  }
  const documents = yield* documentsOf(sql, contentId)
  if (options.format === "v1") {
    const [first = head] = yield* revisionsOf(sql, head.cohortId)
    const { remarks, text } = v1Text(
      { ...head, createdAt: head.createdAt ?? first.savedAt },
      yield* membersOfContent(sql, contentId),
      documents
    )
    return { files: [{ path: fileNameOf(head.name), text }], remarks } satisfies ExportedTexts
  }
  const files = documents.map(({ path, text }) => ({ path, text: documentText(path, text, options) }))
  return { files, remarks: [] } satisfies ExportedTexts
})

/** Writes what `CohortStore.export` does. Nothing is left where it fails. */
export const exportFiles = (sql: DuckDbSqlClient, head: RevisionState, out: string, options: ExportOptions) =>
  Effect.suspend(() => {
    const { format } = options
    // Programs without types would get documents under another name.
    if (format !== undefined && !exportFormats.includes(format)) {
      return Effect.fail(new InvalidRequest({ reason: "unknown-format" }))
    }
    const output = new OutputFiles()
    return Effect.ensuring(
      format === "csv" || format === "parquet"
        ? writeTables(sql, head, format, out, output)
        : Effect.flatMap(exportTexts(sql, head, { ...options, format }), (texts) =>
            writeTexts(texts, format === "ndjson", out, output)
          ),
      Effect.sync(() => output.discard())
    )
  })

/** A file for each kind that the cohort has, which DuckDB writes. */
const writeTables = Effect.fnUntraced(function* (
  sql: DuckDbSqlClient,
  { cohortId, contentId }: RevisionState,
  format: "csv" | "parquet",
  out: string,
  output: OutputFiles
) {
  const entities = (yield* countsOfContents(sql, [contentId])).get(contentId) ?? {}
  const tables = storedKinds.filter(({ kind }) => Object.hasOwn(entities, kind)).map(({ table }) => table)
  const targets = yield* targetsOf(
    out,
    tables.map((table) => `${table}.${format}`),
    true
  )
  for (const [at, table] of tables.entries()) {
    const temporary = yield* attempt(() => output.temporary(targets[at] ?? ""))
    yield* query(sql, copySql(table, cohortId, format, temporary))
  }
  return { paths: yield* publish(output), remarks: [] } satisfies ExportedFiles
})

const writeTexts = Effect.fnUntraced(function* (
  { files, remarks }: ExportedTexts,
  needsFolder: boolean,
  out: string,
  output: OutputFiles
) {
  const targets = yield* targetsOf(
    out,
    files.map(({ path }) => path),
    needsFolder
  )
  yield* attempt(() => files.forEach(({ text }, at) => output.write(targets[at] ?? "", Buffer.from(text))))
  return { paths: yield* publish(output), remarks } satisfies ExportedFiles
})

/** Where the files of an export go. */
const targetsOf = Effect.fnUntraced(function* (out: string, paths: ReadonlyArray<string>, needsFolder: boolean) {
  const path = resolve(out)
  const isBelow = yield* attempt(() => needsFolder || isFolder(out))
  const [only, ...others] = paths
  if (!isBelow && others.length === 0 && only !== undefined) return [path]
  if (!isBelow && (yield* attempt(() => existsSync(path))))
    return yield* new InvalidRequest({ reason: "several-files" })
  const targets = paths.map((name) => pathBelow(path, name))
  const known = targets.filter((target) => target !== undefined)
  return known.length === targets.length ? known : yield* new InvalidRequest({ reason: "bad-file-name" })
})

const attempt = <A>(write: () => A): Effect.Effect<A, InvalidRequest> => Effect.try({ try: write, catch: notWritten })

const publish = (output: OutputFiles): Effect.Effect<ReadonlyArray<string>, InvalidRequest> =>
  Effect.tryPromise({ try: () => output.publish(), catch: notWritten })

const notWritten = (cause: unknown): InvalidRequest =>
  cause instanceof InvalidRequest ? cause : new InvalidRequest({ reason: "not-written", cause })
