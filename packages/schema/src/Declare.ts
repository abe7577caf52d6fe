/**
 * The words in which kinds are declared: `kind(name, { … })` and one helper per SQL type, as in
 * `birth_date: date("birth_date", "dob").as("birthDate")`. A declaration gives the value that all else is derived from
 * and, at the same time, the static types of its rows and of its canonical form.
 */

import type { Column, EntityKind, SqlType } from "./Kind.ts"
import { normaliseTypeKey } from "./TypeKey.ts"

/** A column before it has its name. Each method gives a changed copy. */
export class ColumnDeclaration<T extends SqlType, Canonical extends string | undefined = undefined> {
  readonly type: T
  readonly paths: ReadonlyArray<string>
  readonly canonical: Canonical
  readonly contextPaths: ReadonlyArray<string>
  readonly words: Readonly<Record<string, string>> | undefined
  readonly description: string | undefined

  constructor(
    type: T,
    canonical: Canonical,
    paths: ReadonlyArray<string>,
    rest: Pick<ColumnDeclaration<SqlType, string | undefined>, "contextPaths" | "words" | "description">
  ) {
    this.type = type
    this.canonical = canonical
    this.paths = [...new Set(paths)]
    this.contextPaths = rest.contextPaths
    this.words = rest.words
    this.description = rest.description
  }

  /** Tries these paths after the ones declared so far. */
  or(...paths: ReadonlyArray<string>): ColumnDeclaration<T, Canonical> {
    return new ColumnDeclaration(this.type, this.canonical, [...this.paths, ...paths], this)
  }

  /** Tries these paths before the ones declared so far. */
  preferring(...paths: ReadonlyArray<string>): ColumnDeclaration<T, Canonical> {
    return new ColumnDeclaration(this.type, this.canonical, [...paths, ...this.paths], this)
  }

  /** Where a view looks when no path hits: `$parent.x` or `$doc.key.x`. */
  context(...paths: ReadonlyArray<string>): ColumnDeclaration<T, Canonical> {
    return new ColumnDeclaration(this.type, this.canonical, this.paths, { ...this, contextPaths: paths })
  }

  /** Words that stand for a code, in lower case. */
  decode(words: Readonly<Record<string, string>>): ColumnDeclaration<T, Canonical> {
    return new ColumnDeclaration(this.type, this.canonical, this.paths, { ...this, words })
  }

  /** One sentence for the reference page. */
  describe(description: string): ColumnDeclaration<T, Canonical> {
    return new ColumnDeclaration(this.type, this.canonical, this.paths, { ...this, description })
  }

  /** The column's place in the canonical form, `key` or `group.key`; without it: the name in camel case. */
  as<const Path extends string>(path: Path): ColumnDeclaration<T, Path> {
    return new ColumnDeclaration(this.type, path, this.paths, this)
  }
}

/** Columns by name, in declaration order. */
export type ColumnDeclarations = Readonly<Record<string, ColumnDeclaration<SqlType, string | undefined>>>

/** A column of the given type, tried at these paths in order. */
const column =
  <const T extends SqlType>(type: T) =>
  (...paths: ReadonlyArray<string>): ColumnDeclaration<T> =>
    new ColumnDeclaration(type, undefined, paths, {
      contextPaths: [],
      words: undefined,
      description: undefined
    })

export const text = column("VARCHAR")
export const date = column("DATE")
export const timestamp = column("TIMESTAMP")
export const integer = column("INTEGER")
export const bigint = column("BIGINT")
export const double = column("DOUBLE")
export const boolean = column("BOOLEAN")
export const json = column("JSON")

/** An exact number of `precision` digits, `scale` of them after the point. */
export const decimal = <const P extends number, const S extends number>(precision: P, scale: S) =>
  column<`DECIMAL(${P},${S})`>(`DECIMAL(${precision},${scale})`)

/** An amount of money. */
export const money = decimal(12, 2)

/** Where a row came from; these columns end every kind. */
export const provenance = {
  source_type: text("_provenance.source_type", "provenance.source_type", "source_type").as("provenance.sourceType"),
  source_system: text("_provenance.source_system", "provenance.source_system", "source_system").as(
    "provenance.sourceSystem"
  ),
  skill_used: text("_provenance.skill_used", "provenance.skill_used", "skill_used").as("provenance.skillUsed"),
  generation_seed: bigint(
    "_provenance.seed",
    "_provenance.generation_seed",
    "provenance.seed",
    "provenance.generation_seed",
    "_provenance.generation_params.seed",
    "provenance.generation_params.seed",
    "generation_seed"
  ).as("provenance.seed"),
  created_at: timestamp("created_at", "_provenance.created_at", "provenance.created_at").as("provenance.createdAt")
}

/** What is written down about a kind. */
export interface KindDeclaration<Columns extends ColumnDeclarations> {
  readonly code: number
  readonly table: string
  /** The column that holds the source's id, and where that id is looked for. */
  readonly id: { readonly column: string; readonly paths: ReadonlyArray<string> }
  /** Type keys beside the kind's name, the name with an `s`, and the table's name. */
  readonly alsoKnownAs?: ReadonlyArray<string>
  /** Path inside the entity to the kind found there. */
  readonly children?: Readonly<Record<string, string>>
  readonly containers?: ReadonlyArray<string>
  readonly requires?: EntityKind["requires"]
  readonly columns: Columns
}

/** A kind whose columns are known to the type checker. */
export interface DeclaredKind<Name extends string, Columns extends ColumnDeclarations> extends EntityKind {
  readonly kind: Name
  readonly declarations: Columns
}

/**
 * Declares a kind. Type keys are stored in snake case and lower case, without duplicates; the provenance columns are
 * added at the end.
 */
export const kind = <const Name extends string, Columns extends ColumnDeclarations>(
  name: Name,
  declaration: KindDeclaration<Columns>
): DeclaredKind<Name, Columns & typeof provenance> => {
  const declarations = { ...declaration.columns, ...provenance }
  const names = [name, name.endsWith("s") ? name : `${name}s`, declaration.table, ...(declaration.alsoKnownAs ?? [])]
  return {
    kind: name,
    code: declaration.code,
    table: declaration.table,
    idColumn: declaration.id.column,
    idPaths: declaration.id.paths,
    typeKeys: [...new Set(names.map(normaliseTypeKey))],
    columns: Object.entries(declarations).map(([columnName, declared]) => toColumn(columnName, declared)),
    children: Object.entries(declaration.children ?? {}).map(([path, child]) => ({ path, kind: child })),
    containers: declaration.containers ?? [],
    requires: declaration.requires ?? [],
    declarations
  }
}

const toColumn = (name: string, declared: ColumnDeclaration<SqlType, string | undefined>): Column => ({
  name,
  type: declared.type,
  paths: declared.paths,
  context: declared.contextPaths,
  decode: declared.words,
  description: declared.description,
  canonical: declared.canonical ?? camelCase(name)
})

const camelCase = (name: string): string => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
