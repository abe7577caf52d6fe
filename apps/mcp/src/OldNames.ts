/**
 * The names and parameters that HealthSim's servers gave these tools, for skills and prompts that still use them. As
 * there, the arguments may stand in one object `params`, and null means that an argument is not given.
 */
import { Effect, Predicate, Schema } from "effect"
import type { Actions, ToolOptions } from "./Actions.ts"
import {
  DeleteResult,
  ListResult,
  LoadResult,
  QueryResult,
  SaveResult,
  SummaryResult,
  TablesResult
} from "./Results.ts"
import { type Call, defineTool, type ToolEntry, ToolError } from "./ToolServer.ts"

const text = Schema.optionalKey(Schema.String)
const flag = Schema.optionalKey(Schema.Boolean)
const tags = Schema.optionalKey(Schema.Array(Schema.String))
const upTo = (maximum: number) => Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum })))
const entities = Schema.Record(Schema.String, Schema.Unknown)

const reading = { readOnly: true } as const
const LISTED = 50
const LOADED = 200

/** Has no meaning here: every kind of entity is stored. */
const MEANINGLESS = "allow_reference_entities"

/** Out of `params`, and without nulls. */
const unwrapped = (payload: unknown): unknown => {
  if (!Predicate.isObject(payload)) return payload
  const only = "params" in payload && Object.keys(payload).length === 1 ? payload.params : payload
  if (!Predicate.isObject(only)) return only
  return Object.fromEntries(Object.entries(only).filter(([key, value]) => value !== null && key !== MEANINGLESS))
}

const missing = (what: string) => new ToolError({ message: `Must provide ${what}.` })

/** The tools by their older names. */
export const makeOldTools = ({ allowQuery, readOnly }: ToolOptions, actions: Actions): ReadonlyArray<ToolEntry> => {
  const list = (name: string) =>
    defineTool({
      name,
      title: "List cohorts",
      description: "Older name of list_cohorts.",
      parameters: Schema.Struct({ tag: text, search: text, product: text, limit: upTo(200), cursor: text }),
      result: ListResult,
      effects: reading,
      prepare: unwrapped,
      handler: (request, call) => actions.list({ limit: LISTED, ...request }, call)
    })
  const load = (name: string) =>
    defineTool({
      name,
      title: "Load a cohort",
      description: "Older name of load_cohort. Entities are given unless include_entities is false, by page.",
      parameters: Schema.Struct({
        name_or_id: text,
        cohort_id: text,
        scenario_id: text,
        name: text,
        include_entities: flag,
        limit: upTo(LOADED),
        cursor: text
      }),
      result: LoadResult,
      effects: reading,
      prepare: unwrapped,
      handler: ({ cohort_id, name, name_or_id, scenario_id, ...request }, call) => {
        const wanted = name_or_id ?? cohort_id ?? scenario_id ?? name
        return wanted === undefined
          ? Effect.fail(missing("name_or_id"))
          : actions.load({ include_entities: true, limit: LOADED, ...request, name_or_id: wanted }, call)
      }
    })
  const save = (name: string) =>
    defineTool({
      name,
      title: "Save a cohort",
      description: "Older name of save_cohort. Replacing a cohort needs overwrite, and the user's consent.",
      parameters: Schema.Struct({
        name: Schema.String,
        entities,
        description: text,
        tags,
        overwrite: flag,
        confirm: flag,
        product: text,
        allow_reference_entities: flag
      }),
      result: SaveResult,
      effects: { readOnly: false, destructive: true },
      prepare: unwrapped,
      handler: actions.save
    })
  const remove = (name: string) =>
    defineTool({
      name,
      title: "Delete a cohort",
      description: "Older name of delete_cohort.",
      parameters: Schema.Struct({ name_or_id: text, cohort_id: text, scenario_id: text, name: text, confirm: flag }),
      result: DeleteResult,
      effects: { readOnly: false, destructive: true, idempotent: true },
      prepare: unwrapped,
      handler: ({ cohort_id, confirm, name, name_or_id, scenario_id }, call) => {
        const wanted = name_or_id ?? cohort_id ?? scenario_id ?? name
        return wanted === undefined
          ? Effect.fail(missing("name_or_id"))
          : actions.remove({ name_or_id: wanted, ...(confirm === undefined ? {} : { confirm }) }, call)
      }
    })
  const add = defineTool({
    name: "healthsim_add_entities",
    title: "Add entities to a cohort",
    description: "Older name of add_entities. A cohort_name that is not there yet is created.",
    parameters: Schema.Struct({
      cohort_id: text,
      cohort_name: text,
      entities,
      description: text,
      tags,
      batch_number: upTo(1_000_000),
      total_batches: upTo(1_000_000),
      allow_reference_entities: flag
    }),
    result: SaveResult,
    effects: { readOnly: false, destructive: false, idempotent: true },
    prepare: unwrapped,
    handler: ({ cohort_id, cohort_name, ...request }, call) => {
      const wanted = cohort_id ?? cohort_name
      return wanted === undefined
        ? Effect.fail(missing("cohort_id or cohort_name"))
        : actions.add({ ...request, name_or_id: wanted, create: cohort_id === undefined }, call)
    }
  })
  const summary = defineTool({
    name: "healthsim_get_cohort_summary",
    title: "Summarise a cohort",
    description: "Older name of get_cohort_summary.",
    parameters: Schema.Struct({ cohort_id_or_name: Schema.String, include_samples: flag, samples_per_type: upTo(10) }),
    result: SummaryResult,
    effects: reading,
    prepare: unwrapped,
    handler: ({ cohort_id_or_name, include_samples = true, samples_per_type = 3 }, call) =>
      actions.summary({ name_or_id: cohort_id_or_name, samples: include_samples ? samples_per_type : 0 }, call)
  })
  const query = defineTool({
    name: "healthsim_query",
    title: "Query in SQL",
    description: "Older name of query_cohort.",
    parameters: Schema.Struct({ sql: Schema.String, limit: upTo(1000), cursor: text }),
    result: QueryResult,
    effects: reading,
    prepare: unwrapped,
    handler: actions.query
  })
  const tables = defineTool({
    name: "healthsim_tables",
    title: "Describe the tables",
    description: "Older name of describe_tables.",
    parameters: Schema.Struct({ table: text }),
    result: TablesResult,
    effects: reading,
    prepare: unwrapped,
    handler: (request: { readonly table?: string }, call: Call) => actions.tables(request, call)
  })
  return [
    ...["healthsim_list_cohorts", "list_scenarios", "list_saved_cohorts"].map(list),
    ...["healthsim_load_cohort", "load_scenario"].map(load),
    summary,
    ...(allowQuery ? [query] : []),
    tables,
    ...(readOnly
      ? []
      : [
          ...["healthsim_save_cohort", "save_scenario"].map(save),
          add,
          ...["healthsim_delete_cohort", "delete_scenario"].map(remove)
        ])
  ]
}
