/**
 * The views, as SQL text derived from the kinds. What people query lies in `main`; the views in `mallard` are their
 * building blocks. Everything is worked out per shape, per collection or per part and then joined, never per row.
 *
 * A view of a kind has a row per member, and per child linked below a member, of the head revisions.
 */

import {
  type Column,
  type ContextPath,
  type EntityKind,
  formatPath,
  JSON_KIND,
  kindOfTypeKey,
  kinds,
  parseContextPath
} from "@mallard/schema"
import { storedKinds, tableColumns } from "./Tables.ts"
import { quoteName as q } from "./Quoting.ts"

/** A view: its schema, its name and the query behind it. */
export interface View {
  readonly schema: "mallard" | "main"
  readonly name: string
  readonly query: string
}

/** The kinds that enclose an entity of `kind`, nearest first, for every way it can be reached; `[]` is a member. */
export const enclosures = (
  kind: EntityKind | typeof JSON_KIND,
  all: ReadonlyArray<EntityKind> = kinds
): ReadonlyArray<ReadonlyArray<EntityKind>> => {
  const parents = all.filter(({ children }) =>
    kind.code === JSON_KIND.code ? children.length > 0 : children.some((child) => child.kind === kind.kind)
  )
  return [[], ...parents.flatMap((parent) => enclosures(parent, all).map((above) => [parent, ...above]))]
}

/** The columns of the view of a kind beyond its own, in order; a view of a kind starts with them. */
export const placeColumns = [
  "cohort_id",
  "cohort_name",
  "source_path",
  "pointer",
  "entity_id",
  "parent_kind",
  "parent_entity_id"
] as const

const label = (text: string): string => `chr(1) || '${text}' || chr(1)`

/** How a template spells the zone of a TIMESTAMP column. */
const zoneOf = (column: Column): string =>
  `CASE WHEN regexp_matches(template, ${label(`(?:c:${column.name}:[a-z0-9]*[zu]|x:${column.name}:z)`)}) THEN 'utc'` +
  ` WHEN contains(template, ${label(`x:${column.name}:o`)}) THEN 'offset' ELSE 'none' END`

/** Whether a template holds a value for the column that the column itself could not take. */
const isHeldElsewhere = (column: Column): string =>
  `(contains(template, ${label(`x:${column.name}`)}) OR contains(template, chr(1) || 'x:${column.name}:'))`

// Context: where a column without a value of its own gets one from.

/** A column of a kind found at the top of a document. */
interface DocumentSource {
  readonly key: string
  readonly kind: EntityKind
  readonly column: Column
}

const columnTaking = (kind: EntityKind, path: ContextPath): Column | undefined => {
  const text = formatPath(path.steps)
  return kind.columns.find(({ paths }) => paths.includes(text))
}

/** What a `$doc` path leads to: undefined when no entity stands at that key. */
const documentSource = (context: string): DocumentSource | undefined => {
  const { from, steps } = parseContextPath(context)
  const [first, ...rest] = steps
  if (from !== "document" || first?._tag !== "Key" || rest.length === 0) return undefined
  const kind = kindOfTypeKey(first.key)
  const column = kind && columnTaking(kind, { from, steps: rest })
  return kind && column && { key: first.key, kind, column }
}

const documentSources = (column: Column): ReadonlyArray<DocumentSource> =>
  column.context.map(documentSource).filter((source) => source !== undefined)

/** The columns of an enclosing kind that can stand for `column` of an entity inside it, best first. */
const parentColumns = (column: Column, parent: EntityKind): ReadonlyArray<Column> => {
  const found = column.context.flatMap((context) => {
    const path = parseContextPath(context)
    const source = path.from === "parent" ? columnTaking(parent, path) : documentSource(context)
    if (source === undefined) return []
    if ("kind" in source) return source.kind === parent ? [source.column] : []
    return [source]
  })
  const sameColumn = parent.columns.filter(
    ({ name, context }) => name === column.name && context.some((path) => column.context.includes(path))
  )
  return [...new Set([...found, ...sameColumn])]
}

const castTo = (type: string, from: Column, expression: string): string =>
  from.type === type ? expression : `TRY_CAST(${expression} AS ${type})`

const coalesce = (expressions: ReadonlyArray<string>): string | undefined =>
  expressions.length > 1 ? `coalesce(${expressions.join(", ")})` : expressions[0]

const contextName = ({ kind, column }: DocumentSource): string => `context_${kind.kind}_${column.name}`

const contextView = (source: DocumentSource): View => ({
  schema: "mallard",
  name: contextName(source),
  query: `WITH in_collection AS (
  SELECT content_id, part, collection, min(entity_id) AS first_id, max(entity_id) AS last_id
  FROM mallard.cohort_members WHERE kind = ${source.kind.code} GROUP BY content_id, part, collection
), in_part AS (
  SELECT m.content_id, m.part, min(m.first_id) AS first_id, max(m.last_id) AS last_id,
    min(CASE WHEN NOT c.list AND lower(c.pointer) = '/${source.key.toLowerCase()}' THEN m.first_id END) AS first_at_key,
    max(CASE WHEN NOT c.list AND lower(c.pointer) = '/${source.key.toLowerCase()}' THEN m.last_id END) AS last_at_key
  FROM in_collection m
  JOIN mallard.collections c ON c.content_id = m.content_id AND c.part = m.part AND c.collection = m.collection
  GROUP BY m.content_id, m.part
), in_content AS (
  SELECT content_id, min(first_id) AS first_id, max(last_id) AS last_id,
    min(first_at_key) AS first_at_key, max(last_at_key) AS last_at_key
  FROM in_part GROUP BY content_id
), chosen AS (
  SELECT p.content_id, p.part, CASE
    WHEN d.first_at_key = d.last_at_key THEN d.first_at_key
    WHEN a.first_at_key = a.last_at_key THEN a.first_at_key
    WHEN a.first_id = a.last_id THEN a.first_id
  END AS entity_id
  FROM mallard.parts p
  JOIN in_content a ON a.content_id = p.content_id
  LEFT JOIN in_part d ON d.content_id = p.content_id AND d.part = p.part
)
SELECT c.content_id, c.part, e.${q(source.column.name)} AS value
FROM chosen c JOIN mallard.${source.kind.table} e ON e.entity_id = c.entity_id`
})

/** The columns of a kind that some context can fill. */
interface ContextColumn {
  readonly column: Column
  /** Name of the column that carries the context's value to the view. */
  readonly carried: string
}

const contextColumns = (kind: EntityKind): ReadonlyArray<ContextColumn> =>
  kind.columns
    .filter(
      (column) =>
        documentSources(column).length > 0 ||
        enclosures(kind).some((above) => above.some((parent) => parentColumns(column, parent).length > 0))
    )
    .map((column) => ({ column, carried: `context_${column.name}` }))

// Placements: where entities of a kind stand.

/**
 * The places of a kind's entities that are reached through the kinds `above`, nearest first: members when there are
 * none, else children linked below a member of the last.
 */
const placement = (
  kind: EntityKind | typeof JSON_KIND,
  above: ReadonlyArray<EntityKind>,
  context: ReadonlyArray<ContextColumn>
): string => {
  const sources = distinctSources(context)
  const parentsUsed = new Set<number>()
  const carried = context.map(({ column, carried }) => {
    const values = [
      ...above.flatMap((parent, index) =>
        parentColumns(column, parent).map((source) => {
          parentsUsed.add(index)
          return castTo(column.type, source, `parent_${index}.${q(source.name)}`)
        })
      ),
      ...documentSources(column).map((source) => castTo(column.type, source.column, `c.${contextName(source)}`))
    ]
    return `${coalesce(values) ?? `CAST(NULL AS ${column.type})`} AS ${carried}`
  })
  // From the member down: each link hangs on the one above it.
  const links = above
    .map((parent, index) => {
      const from = index === above.length - 1 ? "m.entity_id" : `link_${index + 1}.child_entity_id`
      const child = above[index - 1] ?? kind
      return `JOIN mallard.links link_${index} ON link_${index}.parent_entity_id = ${from}
    AND link_${index}.parent_kind = ${parent.code} AND link_${index}.child_kind = ${child.code}`
    })
    .toReversed()
  const parents = above.flatMap((parent, index) =>
    parentsUsed.has(index)
      ? [`JOIN mallard.${parent.table} parent_${index} ON parent_${index}.entity_id = link_${index}.parent_entity_id`]
      : []
  )
  const nearest = above[0]
  const columns = [
    "c.cohort_id",
    "c.cohort_name",
    "c.source_path",
    `${[memberPointer, ...above.map((_, index) => `link_${index}.pointer`).toReversed()].join(" || ")} AS pointer`,
    nearest === undefined ? "m.entity_id" : "link_0.child_entity_id AS entity_id",
    nearest === undefined ? "CAST(NULL AS VARCHAR) AS parent_kind" : `'${nearest.kind}' AS parent_kind`,
    `${nearest === undefined ? "CAST(NULL AS BIGINT)" : "link_0.parent_entity_id"} AS parent_entity_id`,
    ...carried
  ]
  return `SELECT ${columns.join(",\n    ")}
  FROM mallard.cohort_members m
  JOIN ${collectionsWith(sources)} c
    ON c.content_id = m.content_id AND c.part = m.part AND c.collection = m.collection
  ${[...links, ...parents, `WHERE m.kind = ${(above.at(-1) ?? kind).code}`].join("\n  ")}`
}

const memberPointer = "c.pointer || CASE WHEN c.list THEN '/' || m.ordinal ELSE '' END"

const distinctSources = (context: ReadonlyArray<ContextColumn>): ReadonlyArray<DocumentSource> => [
  ...new Map(
    context.flatMap(({ column }) => documentSources(column)).map((source) => [contextName(source), source])
  ).values()
]

/** The collections of head revisions, with the values that each part offers as context. */
const collectionsWith = (sources: ReadonlyArray<DocumentSource>): string => {
  if (sources.length === 0) return "mallard.placed_collections"
  const names = sources.map(contextName)
  const joins = names.map(
    (name) => `LEFT JOIN mallard.${name} ${name} ON ${name}.content_id = p.content_id AND ${name}.part = p.part`
  )
  return `(
    SELECT p.*, ${names.map((name) => `${name}.value AS ${name}`).join(", ")}
    FROM mallard.placed_collections p
    ${joins.join("\n    ")}
  )`
}

/** The places of a kind's entities, one way of reaching them after the other, each completed by `finish`. */
const places = (
  kind: EntityKind | typeof JSON_KIND,
  context: ReadonlyArray<ContextColumn>,
  finish: (place: string) => string
): string =>
  enclosures(kind)
    .map((above) => finish(placement(kind, above, context)))
    .join("\nUNION ALL\n")

const kindView = (kind: EntityKind): View => ({
  schema: "main",
  name: kind.table,
  // Put together only where it is wanted: it is long, and most runs of the program create no views.
  get query() {
    return kindQuery(kind)
  }
})

const kindQuery = (kind: EntityKind): string => {
  const context = contextColumns(kind)
  const times = kind.columns.filter(({ type }) => type === "TIMESTAMP")
  const facts = [
    ...times.map((column) => `${zoneOf(column)} AS ${q(`${column.name}_zone`)}`),
    ...context.map(({ column }) => `${isHeldElsewhere(column)} AS ${q(`${column.name}_held`)}`)
  ]
  const columns = kind.columns.flatMap((column) => {
    const name = q(column.name)
    const filled = context.find((candidate) => candidate.column === column)
    return [
      filled === undefined
        ? `e.${name}`
        : `CASE WHEN e.${name} IS NOT NULL THEN e.${name}` +
          ` WHEN NOT coalesce(s.${q(`${column.name}_held`)}, false) THEN p.${filled.carried} END AS ${name}`,
      ...(column.type === "TIMESTAMP"
        ? [`CASE WHEN e.${name} IS NOT NULL THEN s.${q(`${column.name}_zone`)} END AS ${q(`${column.name}_zone`)}`]
        : [])
    ]
  })
  // Written out for each way: a common table expression that is used twice keeps DuckDB from leaving out the columns
  // that a query does not ask for.
  const join =
    facts.length === 0
      ? ""
      : `
LEFT JOIN (
  SELECT shape_id, row_id, ${facts.join(",\n    ")}
  FROM (
    SELECT shape_id, CAST(0 AS BIGINT) AS row_id, template FROM mallard.entity_shapes WHERE kind = ${kind.code}
    UNION ALL
    SELECT 0, entity_id, split_part(extra, chr(10), 1) FROM mallard.${kind.table} WHERE shape_id = 0
  )
) s ON s.shape_id = e.shape_id AND s.row_id = CASE WHEN e.shape_id = 0 THEN e.entity_id ELSE 0 END`
  // The entities are joined to each way of reaching them, not to all at once: estimates stay good, and ways that
  // nothing goes cost nothing.
  return places(
    kind,
    context,
    (place) => `SELECT ${[...placeColumns.map((name) => `p.${name}`), ...columns].join(",\n  ")}
FROM (
  ${place}
) p
JOIN mallard.${kind.table} e ON e.entity_id = p.entity_id${join}`
  )
}

const jsonView: View = {
  schema: "main",
  name: JSON_KIND.table,
  query: places(
    JSON_KIND,
    [],
    (place) => `SELECT ${placeColumns.map((name) => `p.${name}`).join(", ")}, e.extra AS text
FROM (
  ${place}
) p
JOIN mallard.${JSON_KIND.table} e ON e.entity_id = p.entity_id`
  )
}

// Cohorts.

const prefixed = (prefix: string, names: ReadonlyArray<string>): string =>
  names.map((name) => `${prefix}.${q(name)}`).join(", ")

const columnsWithoutDigest = (table: string): ReadonlyArray<string> =>
  tableColumns(table)
    .map(({ name }) => name)
    .filter((name) => name !== "row_digest")

/** Number of links on the longest way from a member down to an entity. */
const depth = Math.max(...storedKinds.flatMap((kind) => enclosures(kind)).map(({ length }) => length))

const levels = Array.from({ length: depth }, (_, index) => index + 1)

/** Joins the links of `level` levels below the members `m`: `link_1` hangs on the member. */
const linksDown = (level: number): string =>
  Array.from({ length: level }, (_, index) =>
    index === 0
      ? "JOIN mallard.links link_1 ON link_1.parent_kind = m.kind AND link_1.parent_entity_id = m.entity_id"
      : `JOIN mallard.links link_${index + 1} ON link_${index + 1}.parent_kind = link_${index}.child_kind` +
        ` AND link_${index + 1}.parent_entity_id = link_${index}.child_entity_id`
  ).join("\n  ")

const cohortViews: ReadonlyArray<View> = [
  {
    schema: "mallard",
    name: "recorded_revisions",
    query: `SELECT ${prefixed("r", columnsWithoutDigest("revisions"))}
FROM mallard.revisions r
ASOF JOIN (SELECT first_id, row_count FROM mallard.commits WHERE table_name = 'revisions') c
  ON r.revision_id >= c.first_id
WHERE r.revision_id < c.first_id + c.row_count`
  },
  {
    schema: "mallard",
    name: "heads",
    query: `SELECT * FROM (
  SELECT * FROM mallard.recorded_revisions QUALIFY row_number() OVER (PARTITION BY cohort_id ORDER BY seq DESC) = 1
) WHERE change <> 'deleted'`
  },
  {
    schema: "mallard",
    name: "placed_collections",
    query: `SELECT h.cohort_id, h.name AS cohort_name, h.content_id, c.part, c.collection, p.path AS source_path,
  c.pointer, c.list
FROM mallard.heads h
JOIN mallard.parts p ON p.content_id = h.content_id
JOIN mallard.collections c ON c.content_id = p.content_id AND c.part = p.part`
  },
  {
    schema: "mallard",
    name: "content_counts",
    query: [
      "SELECT content_id, kind, count(*) AS entities FROM mallard.cohort_members GROUP BY content_id, kind",
      ...levels.map(
        (level) => `SELECT m.content_id, link_${level}.child_kind, count(*)
  FROM mallard.cohort_members m
  ${linksDown(level)}
  GROUP BY m.content_id, link_${level}.child_kind`
      )
    ].join("\nUNION ALL\n")
  },
  {
    schema: "main",
    name: "cohorts",
    query: `SELECT h.cohort_id, h.name, h.seq, h.change, h.description, TRY_CAST(h.tags AS JSON) AS tags, h.product,
  h.legacy_id, h.created_at, h.updated_at, h.saved_at, h.digest,
  coalesce(n.entity_count, 0) AS entity_count, coalesce(n.entities, CAST('{}' AS JSON)) AS entities
FROM mallard.heads h
LEFT JOIN (
  SELECT content_id, CAST(sum(entities) AS BIGINT) AS entity_count,
    to_json(map(list(kind ORDER BY code), list(entities ORDER BY code))) AS entities
  FROM (
    SELECT c.content_id, k.code, k.kind, CAST(sum(c.entities) AS BIGINT) AS entities
    FROM mallard.content_counts c JOIN mallard.kinds k ON k.code = c.kind
    GROUP BY c.content_id, k.code, k.kind
  ) GROUP BY content_id
) n ON n.content_id = h.content_id`
  },
  {
    schema: "main",
    name: "cohort_tags",
    query: `SELECT DISTINCT cohort_id, cohort_name, tag FROM (
  SELECT cohort_id, name AS cohort_name, unnest(from_json(TRY_CAST(tags AS JSON), '["VARCHAR"]')) AS tag
  FROM mallard.heads
)`
  },
  {
    schema: "main",
    name: "cohort_entities",
    query: `WITH p AS (
  SELECT c.cohort_id, c.cohort_name, m.kind, m.entity_id, c.source_path, ${memberPointer} AS pointer,
    CAST(NULL AS UTINYINT) AS parent_kind, CAST(NULL AS BIGINT) AS parent_entity_id
  FROM mallard.cohort_members m
  JOIN mallard.placed_collections c
    ON c.content_id = m.content_id AND c.part = m.part AND c.collection = m.collection${levels
      .map(
        (level) => `
  UNION ALL
  SELECT c.cohort_id, c.cohort_name, link_${level}.child_kind, link_${level}.child_entity_id, c.source_path,
    ${[memberPointer, ...Array.from({ length: level }, (_, index) => `link_${index + 1}.pointer`)].join(" || ")},
    link_${level}.parent_kind, link_${level}.parent_entity_id
  FROM mallard.cohort_members m
  JOIN mallard.placed_collections c
    ON c.content_id = m.content_id AND c.part = m.part AND c.collection = m.collection
  ${linksDown(level)}`
      )
      .join("")}
)
SELECT p.cohort_id, p.cohort_name, k.kind, p.entity_id, p.source_path, p.pointer, above.kind AS parent_kind,
  p.parent_entity_id
FROM p
JOIN mallard.kinds k ON k.code = p.kind
LEFT JOIN mallard.kinds above ON above.code = p.parent_kind`
  },
  {
    schema: "main",
    name: "cohort_revisions",
    query: `SELECT cohort_id, seq, revision_id, predecessor, run_id, change, name, description,
  TRY_CAST(tags AS JSON) AS tags, product, legacy_id, created_at, updated_at, saved_at, digest, content_id
FROM mallard.recorded_revisions`
  }
]

// The ledger.

const ledgerView = (table: string): View => ({
  schema: "main",
  name: table,
  query: `SELECT ${prefixed("t", columnsWithoutDigest(table))} FROM mallard.${table} t`
})

const legacyMappings: View = {
  schema: "main",
  name: "legacy_mappings",
  query: `SELECT legacy_id, cohort_id, CAST(NULL AS VARCHAR) AS kind, CAST(NULL AS BIGINT) AS entity_id
FROM mallard.heads WHERE legacy_id IS NOT NULL
UNION ALL
SELECT DISTINCT i.legacy_id, p.cohort_id, p.kind, p.entity_id
FROM cohort_entities p
JOIN (
  ${kinds
    .map(
      ({ kind, table, idColumn }) =>
        `SELECT '${kind}' AS kind, entity_id, CAST(${q(idColumn)} AS VARCHAR) AS legacy_id` +
        ` FROM mallard.${table} WHERE ${q(idColumn)} IS NOT NULL`
    )
    .join("\n  UNION ALL\n  ")}
) i ON i.kind = p.kind AND i.entity_id = p.entity_id`
}

const contextViews: ReadonlyArray<View> = Array.from(
  new Map(
    kinds
      .flatMap(({ columns }) => columns.flatMap(documentSources))
      .map((source) => [contextName(source), contextView(source)])
  ).values()
)

/** Every view, each after those that it is made of. */
export const views: ReadonlyArray<View> = [
  ...cohortViews,
  ...contextViews,
  ...kinds.map(kindView),
  jsonView,
  ...["migration_runs", "migration_items", "data_integrity_checks", "migration_backups"].map(ledgerView),
  legacyMappings
]

/** The statements that create the views. */
export const createViewsSql = (): ReadonlyArray<string> =>
  views.map(({ schema, name, query }) => `CREATE VIEW ${schema}.${q(name)} AS\n${query}`)
