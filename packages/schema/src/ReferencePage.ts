/** The reference page of kinds, as Markdown. */

import type { Column, EntityKind } from "./Kind.ts"

/** A page with one section per kind: its table, how it is recognised, its columns and where each looks. */
export const referencePage = (kinds: ReadonlyArray<EntityKind>): string =>
  [
    "# Entity kinds",
    "",
    "Paths are tried in order; the first whose value is not null (and, unless the column is JSON, is a scalar) counts.",
    "`a.b` is a key, `a[0]` an element, `a[k=v]` the first element whose `k` is `v`. All columns are nullable.",
    "Beside these columns each table has `entity_id`, `digest`, `shape_id` and `extra`.",
    "",
    "| Kind | Table | Code | Columns |",
    "|---|---|---|---|",
    ...kinds.map(
      ({ kind, table, code, columns }) => `| [${kind}](#${kind}) | ${table} | ${code} | ${columns.length} |`
    ),
    ...kinds.flatMap(section)
  ].join("\n") + "\n"

const section = (kind: EntityKind): ReadonlyArray<string> => [
  "",
  `## ${kind.kind}`,
  "",
  `- Table: \`${kind.table}\``,
  `- Id: column \`${kind.idColumn}\`, from ${codes(kind.idPaths)}`,
  `- Type keys: ${codes(kind.typeKeys)}`,
  ...(kind.containers.length > 0 ? [`- Containers: ${codes(kind.containers)}`] : []),
  ...(kind.children.length > 0
    ? [`- Children: ${kind.children.map(({ path, kind }) => `\`${path}\` → ${kind}`).join(", ")}`]
    : []),
  ...kind.requires.map(
    ({ typeKeys, oneOf }) => `- A single object under ${codes(typeKeys)} only with one of ${codes(oneOf)}`
  ),
  "",
  "| Column | Type | Paths | Canonical | Description |",
  "|---|---|---|---|---|",
  ...kind.columns.map(
    (column) =>
      `| \`${column.name}\` | ${column.type} | ${codes(column.paths)}${context(column)} | \`${column.canonical}\` | ${description(column)} |`
  )
]

const codes = (texts: ReadonlyArray<string>): string => texts.map((text) => `\`${text}\``).join(", ")

const context = ({ context }: Column): string => (context.length === 0 ? "" : `; else ${codes(context)}`)

const description = ({ decode, description }: Column): string =>
  [
    ...(description === undefined ? [] : [description]),
    ...(decode === undefined
      ? []
      : [
          `Words: ${Object.entries(decode)
            .map(([word, code]) => `${word} = ${code}`)
            .join(", ")}.`
        ])
  ].join(" ")
