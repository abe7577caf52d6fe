/** The static types of a kind's rows. */

import type { ColumnDeclarations, DeclaredKind } from "./Declare.ts"
import type { SqlType } from "./Kind.ts"

/** Any kind whose columns are known to the type checker. */
export type AnyDeclaredKind = DeclaredKind<string, ColumnDeclarations>

/**
 * What a column holds in a row: DATE is `YYYY-MM-DD`, TIMESTAMP is `YYYY-MM-DDTHH:MM:SS[.ffffff]`, DECIMAL is its
 * digits as text or a number, BIGINT a number or a bigint, JSON is JSON text.
 */
export type Cell<Type extends SqlType> = Type extends "BOOLEAN"
  ? boolean
  : Type extends "INTEGER" | "DOUBLE"
    ? number
    : Type extends "BIGINT"
      ? number | bigint
      : Type extends `DECIMAL(${string})`
        ? string | number
        : string

/** A row of a kind by column name; every column is nullable. */
export type Row<Kind extends AnyDeclaredKind> = {
  readonly [Name in keyof Kind["declarations"]]: Cell<Kind["declarations"][Name]["type"]> | null
}
