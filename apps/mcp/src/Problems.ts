/** What a failure of the store means to a model: what happened, and which call comes next. */
import type { CohortNotFound, InvalidRequest, NameTaken, QueryError, StoreError } from "@mallard/duckdb-store"
import { Effect } from "effect"
import type { SqlError } from "effect/sql"
import { asData, nameLine, quoted } from "./Marking.ts"
import { ToolError } from "./ToolServer.ts"

type Problem = CohortNotFound | InvalidRequest | NameTaken | QueryError | StoreError | SqlError.SqlError

/** The failures of the store as failures of a tool. */
export const explained = <A>(effect: Effect.Effect<A, Problem | ToolError>): Effect.Effect<A, ToolError> =>
  Effect.mapError(effect, (error) =>
    error._tag === "ToolError" ? error : new ToolError({ message: messageOf(error) })
  )

const messageOf = (error: Problem): string => {
  switch (error._tag) {
    case "CohortNotFound":
      if (error.isDeleted === true)
        return `The cohort ${quoted(error.wanted)} is deleted. Its revisions are kept: mallard undelete in a terminal brings it back.`
      return [
        `There is no cohort ${quoted(error.wanted)}. list_cohorts shows what there is.`,
        ...(error.suggestions.length === 0 ? [] : ["Names much alike:", asData(error.suggestions.map(nameLine))])
      ].join("\n")
    case "NameTaken":
      return [
        'A cohort of this name exists already. Choose another name, or call again with "overwrite": true to make this its next revision:',
        asData([nameLine(error.wanted)])
      ].join("\n")
    case "QueryError":
      return queryMessage(error)
    case "InvalidRequest":
      return error.message
    case "SqlError":
      return "The database could not carry this out. Nothing is half stored. If it happens again, ask the user to run `mallard verify`."
    case "StoreError":
      return storeMessage(error)
  }
}

/** What to do next is a call that the model can make; it has no say in the limits. */
const queryMessage = (error: QueryError): string => {
  switch (error.reason) {
    case "no-such-cohort":
      return "There is no cohort of that name or id. list_cohorts shows what there is."
    case "timeout":
      return "The query took too long. Make it simpler, or ask about one cohort with name_or_id."
    case "memory":
      return "The query needs too much memory. Filter or aggregate more."
    case "syntax":
    case "not-a-query":
    case "not-allowed":
    case "not-understood":
      return `${error.message} describe_tables shows the tables and their columns.`
    default:
      return error.message
  }
}

const storeMessage = (error: StoreError): string => {
  switch (error.reason) {
    case "missing":
      return "There is no database yet. save_cohort or import_cohort creates it; `mallard migrate` in a terminal brings in older files."
    case "locked":
      return `The database is locked by another process${
        error.holder === undefined ? "" : ` (process ${error.holder})`
      }, such as a migration. Nothing was changed. Try again in some seconds.`
    default:
      return `${error.message} Tell the user.`
  }
}
