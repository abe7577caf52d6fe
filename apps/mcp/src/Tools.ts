/** The tools: what they take, what they give, and what they tell the model. */
import { exportFormats } from "@mallard/duckdb-store"
import { Schema } from "effect"
import { type Actions, makeActions, type ToolOptions } from "./Actions.ts"
import {
  DeleteResult,
  ExportResult,
  ListResult,
  LoadResult,
  QueryResult,
  SaveResult,
  SummaryResult,
  TablesResult
} from "./Results.ts"
import { defineTool, type ToolEffects } from "./ToolServer.ts"

const text = (description: string) => Schema.optionalKey(Schema.String.annotate({ description }))
const flag = (description: string) => Schema.optionalKey(Schema.Boolean.annotate({ description }))
const count = (minimum: number, maximum: number, description: string) =>
  Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum, maximum })).annotate({ description }))

const nameOrId = Schema.String.annotate({ description: "Name or id of a cohort" })
const cursor = text("next_cursor of the page before")
const confirmFlag = flag("true only if the user has agreed to it")
const entitiesByType = Schema.Record(Schema.String, Schema.Unknown).annotate({
  description: 'Lists of entities by type, as {"patients": [{...}], "encounters": [{...}]}'
})

/** The tools, in the order in which they are listed. */
export const makeTools = (options: ToolOptions, actions: Actions = makeActions(options)) => {
  const { allowQuery, readOnly, roots } = options
  const reading: ToolEffects = { readOnly: true }
  const path = text(`File below ${roots?.folders.join(" or ") ?? ""}`)
  const exportFields = {
    name_or_id: nameOrId,
    format: Schema.optionalKey(Schema.Literals(exportFormats).annotate({ description: "documents if not given" })),
    compact: flag("Without white space")
  }
  const importFields = {
    document: text("The text of a JSON document"),
    name: text("Name of the cohort"),
    overwrite: flag("Whether a cohort of that name may be replaced"),
    confirm: confirmFlag
  }
  const writesFiles = roots !== undefined && !readOnly
  const tools = [
    defineTool({
      name: "list_cohorts",
      title: "List cohorts",
      description: "Lists the stored cohorts by page, without their entities.",
      parameters: Schema.Struct({
        search: text("Part of the name or description"),
        tag: text("Only cohorts with this tag"),
        product: text("Only cohorts of this product"),
        limit: count(1, 100, "Cohorts per page, 20 if not given"),
        cursor
      }),
      result: ListResult,
      effects: reading,
      handler: actions.list
    }),
    defineTool({
      name: "load_cohort",
      title: "Load a cohort",
      description:
        "Gives a cohort's description, tags and counts; its entities, exactly as stored, only on demand and by page. The resource cohort://{cohort_id}/{kind} has all of a kind.",
      parameters: Schema.Struct({
        name_or_id: nameOrId,
        include_entities: flag("Whether to give entities too; false if not given"),
        kind: text("Only entities of this kind, such as patient; implies include_entities"),
        fields: Schema.optionalKey(
          Schema.Array(Schema.String).annotate({
            description: "Only these keys of each entity, such as id or name.given; implies include_entities"
          })
        ),
        limit: count(1, 200, "Entities per page, 20 if not given"),
        cursor
      }),
      result: LoadResult,
      effects: reading,
      handler: actions.load
    }),
    defineTool({
      name: "get_cohort_summary",
      title: "Summarise a cohort",
      description: "Counts, ranges, commonest values and a few samples of a cohort, in few words.",
      parameters: Schema.Struct({ name_or_id: nameOrId, samples: count(0, 10, "Samples per kind, 3 if not given") }),
      result: SummaryResult,
      effects: reading,
      handler: actions.summary
    }),
    ...(allowQuery
      ? [
          defineTool({
            name: "query_cohort",
            title: "Query in SQL",
            description:
              "Runs one SELECT of DuckDB's SQL over the tables that describe_tables shows. Nothing can be changed by it. With name_or_id the tables have the rows of that cohort only.",
            parameters: Schema.Struct({
              sql: Schema.String.annotate({ description: "One SELECT" }),
              name_or_id: Schema.optionalKey(nameOrId),
              limit: count(1, 1000, "Rows per page, 100 if not given"),
              cursor
            }),
            result: QueryResult,
            effects: reading,
            handler: actions.query
          })
        ]
      : []),
    defineTool({
      name: "describe_tables",
      title: "Describe the tables",
      description: "Names the tables of the database, or the columns of one of them with what they mean.",
      parameters: Schema.Struct({ table: text("The table whose columns to show") }),
      result: TablesResult,
      effects: reading,
      handler: actions.tables
    }),
    defineTool({
      name: "export_cohort",
      title: "Export a cohort",
      description:
        "Gives a cohort as JSON text, exactly as it was stored" +
        (writesFiles ? ", or writes it to a file." : ".") +
        " Formats: documents (as stored), sharing (without private keys), v1 (HealthSim's cohort file), ndjson, csv, parquet.",
      parameters: writesFiles
        ? Schema.Struct({
            ...exportFields,
            path,
            overwrite: flag("Whether a file may be replaced"),
            confirm: confirmFlag
          })
        : Schema.Struct(exportFields),
      result: ExportResult,
      effects: writesFiles ? { readOnly: false, destructive: true, idempotent: true } : reading,
      handler: actions.exportCohort
    }),
    ...(readOnly
      ? []
      : [
          defineTool({
            name: "save_cohort",
            title: "Save a cohort",
            description:
              "Stores entities as a new cohort; without a name one is made up. With overwrite it becomes the next revision of the cohort of that name. For more than about 50 entities save some, then add_entities.",
            parameters: Schema.Struct({
              name: text("Name of the cohort"),
              entities: entitiesByType,
              description: text("What the cohort is for"),
              tags: Schema.optionalKey(Schema.Array(Schema.String)),
              overwrite: flag("Whether a cohort of that name may be replaced"),
              confirm: confirmFlag
            }),
            result: SaveResult,
            effects: { readOnly: false, destructive: true, idempotent: false },
            handler: actions.save
          }),
          defineTool({
            name: "add_entities",
            title: "Add entities to a cohort",
            description:
              "Adds entities to a cohort, in batches of about 50. Entities that it has word for word are not added again, so a call can be repeated.",
            parameters: Schema.Struct({
              name_or_id: nameOrId,
              entities: entitiesByType,
              create: flag("Whether to create the cohort when there is none of that name"),
              batch_number: count(1, 1_000_000, "Which batch this is"),
              total_batches: count(1, 1_000_000, "How many there will be")
            }),
            result: SaveResult,
            effects: { readOnly: false, destructive: false, idempotent: true },
            handler: actions.add
          }),
          defineTool({
            name: "import_cohort",
            title: "Import a cohort",
            description:
              "Stores a cohort's JSON document character for character" +
              (roots === undefined ? "." : ", given as text or as a file.") +
              " Its name is the one given, else the document's, else the file's.",
            parameters: roots === undefined ? Schema.Struct(importFields) : Schema.Struct({ path, ...importFields }),
            result: SaveResult,
            effects: { readOnly: false, destructive: true, idempotent: true },
            handler: actions.importCohort
          }),
          defineTool({
            name: "delete_cohort",
            title: "Delete a cohort",
            description:
              "Deletes a cohort after the user has agreed. Its revisions are kept: mallard undelete in a terminal brings it back.",
            parameters: Schema.Struct({ name_or_id: nameOrId, confirm: confirmFlag }),
            result: DeleteResult,
            effects: { readOnly: false, destructive: true, idempotent: true },
            handler: actions.remove
          })
        ])
  ]
  return tools
}
