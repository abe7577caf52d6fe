/** The physical tables of kinds, as SQL text. NOT NULL is the only constraint; all declared columns are nullable. */

import type { EntityKind } from "./Kind.ts"
import type { JSON_KIND } from "./Kinds.ts"

/** The statement that creates the table of a kind, or of the internal kind `json`, in the schema `mallard`. */
export const createTableSql = (kind: EntityKind | typeof JSON_KIND): string => {
  const columns =
    "columns" in kind
      ? ["shape_id INTEGER NOT NULL", ...kind.columns.map(({ name, type }) => `"${name}" ${type}`), "extra VARCHAR"]
      : ["extra VARCHAR NOT NULL"]
  return `CREATE TABLE mallard.${kind.table} (\n  ${["entity_id BIGINT NOT NULL", "digest UUID NOT NULL", ...columns].join(",\n  ")}\n)`
}
