/** Reports in files: which form goes with a name, and writing one so that it is there whole or not at all. */
import { renderHtml, renderJson, renderJUnit, renderMarkdown, type RunReport } from "@mallard/migrator"
import { extname } from "node:path"
import { hintsOf } from "./Hints.ts"
import { FileSet } from "./Outputs.ts"
import type { RunView } from "./RenderRun.ts"
import type { CommonOptions, Session } from "./Session.ts"
import type { Paint } from "./Terminal.ts"

export type ReportFormat = "text" | "json" | "html" | "md" | "junit"

const formats: Readonly<Record<string, ReportFormat>> = {
  ".json": "json",
  ".html": "html",
  ".htm": "html",
  ".md": "md",
  ".markdown": "md",
  ".xml": "junit",
  ".txt": "text"
}

/** The form of a report by the name of its file; undefined where the name does not tell. */
export const formatOf = (path: string): ReportFormat | undefined => formats[extname(path).toLowerCase()]

/** A report in a form; `text` says how it reads on a terminal without colours. */
export const renderReport = (report: RunReport, format: ReportFormat, text: (report: RunReport) => string): string => {
  switch (format) {
    case "json":
      return renderJson(report)
    case "html":
      return renderHtml(report)
    case "md":
      return renderMarkdown(report)
    case "junit":
      return renderJUnit(report)
    case "text":
      return text(report)
  }
}

/** What to do about a name that does not tell. */
export const KNOWN_FORMS = "Let its name end in .html, .json, .md, .xml or .txt."

/** How a report is shown to who asked for it. */
export const viewOf = (
  report: RunReport,
  session: Session,
  { quiet, verbose }: CommonOptions,
  paint: Paint
): RunView => ({
  paint,
  cwd: session.cwd,
  verbose,
  quiet,
  hint: hintsOf(session, report.database)
})

export const textOfLines = (lines: ReadonlyArray<string>): string => lines.map((line) => `${line}\n`).join("")

/** Writes a file beside its place and gives it its name when it is whole. Fails with what the file system says. */
export const writeReport = async (path: string, text: string): Promise<void> => {
  const files = new FileSet()
  try {
    files.open(path).write(Buffer.from(text))
    files.settle(true)
    await files.close()
  } finally {
    await files.discard()
  }
}
