/** The report as JSON for programs, and the JSON Schema that it keeps to. */
import { Schema } from "effect"
import { RunReport } from "../Report.ts"

/** Raised when a field changes its meaning; new fields do not raise it. */
export const REPORT_VERSION = 1

/** Names the published schema, `report.schema.json` of this package. */
export const REPORT_SCHEMA_ID = `urn:mallard:report:${REPORT_VERSION}`

/** The report with the name and the version of its schema. */
export const reportDocument = (report: RunReport): RunReport => ({
  $schema: REPORT_SCHEMA_ID,
  schema_version: REPORT_VERSION,
  ...report
})

/** One JSON document that ends in a line feed. */
export const renderJson = (report: RunReport): string => `${JSON.stringify(reportDocument(report), null, 2)}\n`

/** The JSON Schema, draft 2020-12, of the report; unknown fields are allowed, for later versions add some. */
export const reportJsonSchema = (): object => {
  const { definitions, schema } = Schema.toJsonSchemaDocument(RunReport)
  return open({
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: REPORT_SCHEMA_ID,
    title: "Report of a run of Mallard",
    ...schema,
    ...(Object.keys(definitions).length === 0 ? {} : { $defs: definitions })
  })
}

/** Without `additionalProperties: false`. */
const open = (schema: object): object =>
  Object.fromEntries(
    Object.entries(schema)
      .filter(([key, value]) => !(key === "additionalProperties" && value === false))
      .map(([key, value]) => [key, opened(value)])
  )

const opened = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(opened)
  return typeof value === "object" && value !== null ? open(value) : value
}
