/** Reports of runs: from the ledger, and in the forms in which they are handed on. */
export { REPORT_SCHEMA_ID, REPORT_VERSION, renderJson, reportDocument, reportJsonSchema } from "./report/Json.ts"
export { renderHtml } from "./report/Html.ts"
export { renderJUnit } from "./report/JUnit.ts"
export { renderMarkdown } from "./report/Markdown.ts"
export {
  backupOfRun,
  type LostBackup,
  listRuns,
  lostBackups,
  RunSummary,
  storedBackup,
  storedReport,
  withQuality
} from "./report/StoredReport.ts"
export { deedOf, lostToPurge, optionText, originOfContent, removedSources, undoneWord } from "./report/Summary.ts"
