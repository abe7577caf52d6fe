/** What the process that runs a query is told on its standard input, and what it answers on `ANSWER`. */
import type { Refusal } from "./query-tree.ts"

/** The descriptor for the answer: nothing that DuckDB prints can get into it. */
export const ANSWER = 3

/** How the process ends when it finds itself above its memory. */
export const MEMORY_EXIT = 86

/** One line of JSON. The input stays open; its end tells the process that nobody waits any more. */
export interface QueryRequest {
  readonly path: string
  readonly sql: string
  /** The published views: whether each has a column `cohort_id`. */
  readonly views: Readonly<Record<string, boolean>>
  /** The latest version of the tables that is known. */
  readonly version: number
  readonly cohort: string | undefined
  readonly limit: number
  readonly cursor: { readonly offset: number; readonly digest: string } | undefined
  readonly maxBytes: number
  /** What DuckDB may use, in bytes. */
  readonly engineMemory: number
  /** What the whole process may use, in bytes. */
  readonly memory: number
}

/** A value as JSON holds it. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | ReadonlyArray<JsonValue>
  | { readonly [name: string]: JsonValue }

export interface AnsweredPage {
  readonly columns: ReadonlyArray<{ readonly name: string; readonly type: string }>
  readonly rows: ReadonlyArray<ReadonlyArray<JsonValue>>
  readonly truncated: boolean
  readonly next: { readonly offset: number; readonly digest: string } | undefined
}

/** Why the database could not be opened. */
export type OpenProblem =
  | { readonly kind: "errno"; readonly code: string }
  | { readonly kind: "engine"; readonly text: string }
  | { readonly kind: "state"; readonly state: "not-a-database" | "missing" | "foreign" | "damaged" | "newer" }

/** DuckDB's own words about a query that it did not carry out; they quote values. */
export interface EngineProblem {
  readonly type: string
  readonly text: string
  readonly location: number | undefined
  /** Names of published columns much like the one that does not exist. */
  readonly candidates: ReadonlyArray<string>
}

export type QueryAnswer =
  | { readonly _tag: "page"; readonly page: AnsweredPage }
  | { readonly _tag: "refused"; readonly refusal: Refusal }
  | { readonly _tag: "open"; readonly problem: OpenProblem }
  | { readonly _tag: "engine"; readonly problem: EngineProblem }
  | { readonly _tag: "row-too-large" }
  | { readonly _tag: "unnamed-fields" }
  | { readonly _tag: "cursor" }
  | { readonly _tag: "cohort" }
