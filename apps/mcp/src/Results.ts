/** What the tools give as structured content. */
import { Schema } from "effect"

const Counts = Schema.Record(Schema.String, Schema.Int)

/** A cohort as lists show it. */
export const CohortInfo = Schema.Struct({
  cohort_id: Schema.String,
  name: Schema.String,
  description: Schema.optionalKey(Schema.String),
  tags: Schema.Array(Schema.String),
  entity_count: Schema.Int,
  saved_at: Schema.String
})

/** A page of cohorts. */
export const ListResult = Schema.Struct({
  cohorts: Schema.Array(CohortInfo),
  total: Schema.optionalKey(Schema.Int),
  next_cursor: Schema.optionalKey(Schema.String),
  data_note: Schema.String
})

/** An entity with its place; `json` where JavaScript would not keep its spelling, `characters` where it is too long. */
export const Entity = Schema.Struct({
  kind: Schema.String,
  pointer: Schema.String,
  entity: Schema.optionalKey(Schema.Record(Schema.String, Schema.Unknown)),
  json: Schema.optionalKey(Schema.String),
  characters: Schema.optionalKey(Schema.Int)
})

/** A cohort, and a page of its entities if they were asked for. */
export const LoadResult = Schema.Struct({
  ...CohortInfo.fields,
  product: Schema.optionalKey(Schema.String),
  created_at: Schema.optionalKey(Schema.String),
  updated_at: Schema.optionalKey(Schema.String),
  revision: Schema.Int,
  entity_counts: Counts,
  resource: Schema.String,
  entities: Schema.optionalKey(Schema.Array(Entity)),
  next_cursor: Schema.optionalKey(Schema.String),
  data_note: Schema.String
})

/** What came of saving. */
export const SaveResult = Schema.Struct({
  cohort_id: Schema.String,
  name: Schema.String,
  outcome: Schema.Literals(["created", "replaced", "unchanged", "added"]),
  revision: Schema.Int,
  entity_counts: Counts,
  entity_count: Schema.Int,
  added: Schema.optionalKey(Schema.Int),
  already_there: Schema.optionalKey(Schema.Int),
  batches_remaining: Schema.optionalKey(Schema.Int),
  remarks: Schema.Int
})

/** What came of deleting. */
export const DeleteResult = Schema.Struct({ cohort_id: Schema.String, name: Schema.String, revision: Schema.Int })

/** The files of an export; their texts where none was written. */
export const ExportResult = Schema.Struct({
  format: Schema.String,
  files: Schema.Array(Schema.Struct({ path: Schema.String, text: Schema.optionalKey(Schema.String) })),
  remarks: Schema.Array(Schema.Struct({ code: Schema.String, message: Schema.String, count: Schema.Int })),
  data_note: Schema.String
})

/** Counts, ranges and samples. */
export const SummaryResult = Schema.Struct({
  cohort_id: Schema.String,
  name: Schema.String,
  entity_count: Schema.Int,
  kinds: Schema.Array(
    Schema.Struct({
      kind: Schema.String,
      count: Schema.Int,
      columns: Schema.Array(
        Schema.Struct({
          column: Schema.String,
          count: Schema.Int,
          distinct: Schema.Int,
          least: Schema.optionalKey(Schema.String),
          median: Schema.optionalKey(Schema.String),
          greatest: Schema.optionalKey(Schema.String),
          values: Schema.optionalKey(Schema.Array(Schema.Struct({ value: Schema.String, count: Schema.Int })))
        })
      ),
      samples: Schema.Array(Schema.String)
    })
  ),
  data_note: Schema.String
})

const Cell = Schema.Union([
  Schema.String,
  Schema.Finite,
  Schema.Boolean,
  Schema.Null,
  Schema.Array(Schema.Unknown),
  Schema.Record(Schema.String, Schema.Unknown)
])

/** A page of rows. */
export const QueryResult = Schema.Struct({
  columns: Schema.Array(Schema.Struct({ name: Schema.String, type: Schema.String })),
  rows: Schema.Array(Schema.Array(Cell)),
  row_count: Schema.Int,
  next_cursor: Schema.optionalKey(Schema.String),
  data_note: Schema.String
})

/** Tables, or the columns of one. */
export const TablesResult = Schema.Struct({
  tables: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      comment: Schema.String,
      columns: Schema.optionalKey(
        Schema.Array(
          Schema.Struct({ name: Schema.String, type: Schema.String, comment: Schema.optionalKey(Schema.String) })
        )
      )
    })
  )
})
