/** The work behind the tool that exports a cohort, as text or into files. */
import type { ExportFormat } from "@mallard/duckdb-store"
import { Effect } from "effect"
import { type Cohorts, waiting } from "./Cohorts.ts"
import { asData, DATA_NOTE, quoted } from "./Marking.ts"
import { explained } from "./Problems.ts"
import type { ExportResult } from "./Results.ts"
import type { Roots } from "./Roots.ts"
import { type Answer, type Call, ToolError } from "./ToolServer.ts"
import { many } from "./Wording.ts"

/** A cohort given as text, not as a file. */
const EXPORT_CHARACTERS = 100_000

export interface ExportRequest {
  readonly name_or_id: string
  readonly format?: ExportFormat
  readonly compact?: boolean
  readonly path?: string
  readonly overwrite?: boolean
  readonly confirm?: boolean
}

export const makeExportAction = (cohorts: Cohorts, roots: Roots | undefined) =>
  Effect.fnUntraced(function* (request: ExportRequest, call: Call) {
    const { compact, format = "documents", name_or_id, path } = request
    const layout = { format, ...(compact === undefined ? {} : { compact }) }
    if (path === undefined) {
      if (format === "csv" || format === "parquet") {
        return yield* new ToolError({
          message: `${format} needs a path: ${roots === undefined ? "this server has no folder to write to. Use ndjson, or query_cohort." : "name a folder."}`
        })
      }
      const { files, remarks } = yield* explained(
        cohorts.read(waiting(call), (store) => store.exportTexts(name_or_id, { ...layout, format }))
      )
      const characters = files.reduce((total, file) => total + file.text.length, 0)
      if (characters > EXPORT_CHARACTERS) {
        return yield* new ToolError({
          message: `The cohort has ${characters} characters, too many to show. ${
            roots === undefined
              ? "Load it by pages with load_cohort, or ask the user to run `mallard export` in a terminal."
              : 'Give a "path" to write it to a file, or load it by pages with load_cohort.'
          }`
        })
      }
      return exported(
        format,
        files,
        remarks,
        files.flatMap((file) => [`--- ${file.path}`, file.text])
      )
    }
    if (roots === undefined)
      return yield* new ToolError({ message: "This server may not write files. Leave out the path." })
    const isFolder =
      format === "csv" ||
      format === "parquet" ||
      format === "ndjson" ||
      (format !== "v1" &&
        (yield* explained(
          cohorts.read(waiting(call), (store) =>
            Effect.flatMap(store.find(name_or_id), (found) => store.parts(found.contentId))
          )
        )).length > 1)
    const target = yield* roots.target(path, isFolder)
    if (target.exists) {
      if (request.overwrite !== true) {
        return yield* new ToolError({
          message: 'There is a file of that name. Choose another, or add "overwrite": true.'
        })
      }
      yield* call.confirm(`Replace the file ${quoted(target.path)}?`, request.confirm)
    }
    yield* call.progress("Writing", 1, 2)
    const { paths, remarks } = yield* explained(
      cohorts.read(waiting(call), (store) =>
        store.export(name_or_id, isFolder ? `${target.path}/` : target.path, layout)
      )
    )
    return exported(
      format,
      paths.map((file) => ({ path: file })),
      remarks,
      paths
    )
  })

const exported = (
  format: string,
  files: ReadonlyArray<{ readonly path: string; readonly text?: string }>,
  remarks: ReadonlyArray<{ readonly code: string; readonly message: string }>,
  lines: ReadonlyArray<string>
): Answer<typeof ExportResult.Type> => {
  const counts = new Map<string, { readonly code: string; readonly message: string; readonly count: number }>()
  for (const { code, message } of remarks)
    counts.set(code, { code, message, count: (counts.get(code)?.count ?? 0) + 1 })
  const isText = files.some((file) => file.text !== undefined)
  return {
    text: [
      isText
        ? `${files.length} ${files.length === 1 ? "document" : "documents"}:`
        : `Wrote ${many(files.length, "file", "files")}.`,
      asData(lines),
      ...[...counts.values()].map(({ count: times, message }) => `Remark, ${times} times: ${message}`)
    ].join("\n"),
    structured: { format, files, remarks: [...counts.values()], data_note: DATA_NOTE }
  }
}
