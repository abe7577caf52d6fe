/**
 * The vocabulary in which an entity kind is declared. A kind is a plain value: everything else (DDL, row types, JSON
 * Schema, canonical form, generators, reference pages) is derived from it.
 */

/** The SQL types that columns may have; `DECIMAL(p,s)` has p digits, s of them after the point, p at most 18. */
export type SqlType =
  | "VARCHAR"
  | "DATE"
  | "TIMESTAMP"
  | "INTEGER"
  | "BIGINT"
  | "DOUBLE"
  | "BOOLEAN"
  | "JSON"
  | `DECIMAL(${number},${number})`

/**
 * One typed column of a kind.
 *
 * `paths` are tried in order against the entity; a path counts when its value is not null and, unless the column is
 * JSON, is a scalar. Path grammar: `a.b`, `a[0]` (element), `a[k=v]` (first element whose `k` is `v`).
 */
export interface Column {
  readonly name: string
  readonly type: SqlType
  readonly paths: ReadonlyArray<string>
  /** Where a view looks when no path hits: `$parent.x` (enclosing entity) or `$doc.key.x` (object at document level). */
  readonly context: ReadonlyArray<string>
  /** Words that stand for a code: lower-case source text to stored text. The stored code is a best value. */
  readonly decode: Readonly<Record<string, string>> | undefined
  /** One sentence for the reference page; undefined when the name says it all. */
  readonly description: string | undefined
  /** The place in the canonical form, `key` or `group.key`. */
  readonly canonical: string
}

/** One entity kind. */
export interface EntityKind {
  /** Singular name in snake case, as in `"claim_line"`. */
  readonly kind: string
  /** Number stored in link and member rows; never reused, never changed. 0 is the internal kind `json`. */
  readonly code: number
  /** Name of the table, and of the view that people query. */
  readonly table: string
  /** The column that holds the id the source gave. */
  readonly idColumn: string
  /** Where that id is looked for, in order; `a+b` joins two with `:`. */
  readonly idPaths: ReadonlyArray<string>
  /** Keys of a document that hold entities of this kind, in snake case and lower case. */
  readonly typeKeys: ReadonlyArray<string>
  /** In declaration order: the first column that takes a path is its home. */
  readonly columns: ReadonlyArray<Column>
  /** Paths inside the entity that hold entities of another kind (an array of them, or a single object). */
  readonly children: ReadonlyArray<{ readonly path: string; readonly kind: string }>
  /** Paths from the document's root, beside type keys, that hold entities of this kind, as in `labs.results`. */
  readonly containers: ReadonlyArray<string>
  /** Under these type keys an object is an entity only if it has one of the paths `oneOf`; other keys need nothing. */
  readonly requires: ReadonlyArray<{
    readonly typeKeys: ReadonlyArray<string>
    readonly oneOf: ReadonlyArray<string>
  }>
}
