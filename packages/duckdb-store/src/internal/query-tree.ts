/**
 * The decision whether a query may run, made on DuckDB's own syntax tree as `json_serialize_sql` gives it. Every node
 * must be of a known shape with nothing in it that the shape does not have, every table a published view or a common
 * table expression in scope, and every function, type and collation on the list.
 */
import {
  allowedCollations,
  allowedFunctions,
  allowedTableFunctions,
  allowedTypeNames,
  allowedTypes
} from "./query-rules.ts"

/** What was found in a query that may not be there. */
export type Construct =
  | "function"
  | "table"
  | "table-function"
  | "type"
  | "collation"
  | "parameter"
  | "number"
  | "clause"

/** Why a query may not run; `location` is an offset in bytes. */
export interface Refusal {
  readonly reason: "not-one-statement" | "not-a-query" | "not-allowed" | "syntax" | "too-complex"
  readonly construct?: Construct
  readonly name?: string
  readonly location?: number
}

/** The published views that an admitted query reads, in lower case. */
export interface Admission {
  readonly views: ReadonlySet<string>
}

/** Decides on the text that `json_serialize_sql` gave; `published` are names in lower case. */
export const judgeTree = (serialized: string, published: ReadonlySet<string>): Admission | Refusal => {
  let tree: unknown
  try {
    tree = JSON.parse(serialized)
  } catch {
    // A number beyond the range of DOUBLE: the tree has it as `Infinity`.
    return { reason: "not-allowed", construct: "number" }
  }
  if (!isTree(tree)) return { reason: "not-allowed", construct: "clause" }
  if (tree["error"] !== false) return refusalOfParser(tree)
  const statements = tree["statements"]
  if (!Array.isArray(statements) || statements.length !== 1) return { reason: "not-one-statement" }
  const judge = new Judge(published)
  try {
    judge.statement(statements[0], noTables, 0)
  } catch (cause) {
    if (cause instanceof Refused) return cause.refusal
    throw cause
  }
  return { views: judge.views }
}

type Tree = Readonly<Record<string, unknown>>

const isTree = (value: unknown): value is Tree => typeof value === "object" && value !== null && !Array.isArray(value)

const refusalOfParser = (tree: Tree): Refusal => {
  const location = Number(tree["position"] ?? NaN)
  const where = Number.isSafeInteger(location) ? { location } : {}
  switch (tree["error_type"]) {
    case "parser":
    case "syntax":
      return String(tree["error_message"]).includes("expression depth")
        ? { reason: "too-complex" }
        : { reason: "syntax", ...where }
    default:
      return { reason: "not-a-query" }
  }
}

/** Deeper trees take DuckDB long to plan: the time grows with a power of the depth. */
const MAX_DEPTH = 250
const MAX_NODES = 50_000

/**
 * What may stand under a key: nothing that matters (`plain`), nothing at all (`none`), or something to walk into. All but
 * `exprs`, `orders` and the like may be null.
 */
type Part =
  | "plain"
  | "none"
  | "expr"
  | "exprs"
  | "rows"
  | "replacements"
  | "cases"
  | "orders"
  | "modifier"
  | "statement"
  | "node"
  | "ref"
  | "type"
  | "value"
  | "sample"
  | "pivots"

type Shape = Readonly<Record<string, Part>>

const anyExpression: Shape = { class: "plain", type: "plain", alias: "plain", query_location: "plain" }

const expressions: Readonly<Record<string, Shape>> = {
  BETWEEN: { input: "expr", lower: "expr", upper: "expr" },
  CASE: { case_checks: "cases", else_expr: "expr" },
  CAST: { child: "expr", cast_type: "type", try_cast: "plain" },
  COLLATE: { child: "expr", collation: "plain" },
  COLUMN_REF: { column_names: "plain" },
  COMPARISON: { left: "expr", right: "expr" },
  CONJUNCTION: { children: "exprs" },
  CONSTANT: { value: "value" },
  FUNCTION: {
    function_name: "plain",
    schema: "plain",
    catalog: "none",
    children: "exprs",
    filter: "expr",
    order_bys: "modifier",
    distinct: "plain",
    is_operator: "plain",
    export_state: "none"
  },
  LAMBDA: { lhs: "expr", expr: "expr" },
  OPERATOR: { children: "exprs" },
  POSITIONAL_REFERENCE: { index: "plain" },
  STAR: {
    relation_name: "plain",
    exclude_list: "plain",
    replace_list: "replacements",
    columns: "plain",
    expr: "expr",
    qualified_exclude_list: "plain",
    rename_list: "plain"
  },
  SUBQUERY: { subquery_type: "plain", subquery: "statement", child: "expr", comparison_type: "plain" },
  WINDOW: {
    function_name: "plain",
    schema: "plain",
    catalog: "none",
    children: "exprs",
    partitions: "exprs",
    orders: "orders",
    start: "plain",
    end: "plain",
    start_expr: "expr",
    end_expr: "expr",
    offset_expr: "expr",
    default_expr: "expr",
    ignore_nulls: "plain",
    filter_expr: "expr",
    exclude_clause: "plain",
    distinct: "plain",
    arg_orders: "orders"
  }
}

const anyRef: Shape = { type: "plain", alias: "plain", sample: "sample", query_location: "plain" }

const refs: Readonly<Record<string, Shape>> = {
  BASE_TABLE: {
    schema_name: "plain",
    table_name: "plain",
    column_name_alias: "plain",
    catalog_name: "none",
    at_clause: "none"
  },
  EMPTY: {},
  EXPRESSION_LIST: { expected_names: "plain", expected_types: "none", values: "rows" },
  JOIN: {
    left: "ref",
    right: "ref",
    condition: "expr",
    join_type: "plain",
    ref_type: "plain",
    using_columns: "plain",
    delim_flipped: "none",
    duplicate_eliminated_columns: "none"
  },
  PIVOT: {
    source: "ref",
    aggregates: "exprs",
    unpivot_names: "plain",
    pivots: "pivots",
    groups: "plain",
    column_name_alias: "plain",
    include_nulls: "plain"
  },
  // DESCRIBE and SUMMARIZE of a query; without one it lists catalogs.
  SHOW_REF: { table_name: "none", query: "node", show_type: "plain", catalog_name: "none", schema_name: "none" },
  SUBQUERY: { subquery: "statement", column_name_alias: "plain" },
  TABLE_FUNCTION: { function: "expr", column_name_alias: "plain", with_ordinality: "plain" }
}

const anyNode: Shape = { type: "plain", modifiers: "plain", cte_map: "plain" }

const nodes: Readonly<Record<string, Shape>> = {
  SELECT_NODE: {
    select_list: "exprs",
    from_table: "ref",
    where_clause: "expr",
    group_expressions: "exprs",
    group_sets: "plain",
    aggregate_handling: "plain",
    having: "expr",
    sample: "sample",
    qualify: "expr"
  },
  SET_OPERATION_NODE: { setop_type: "plain", left: "node", right: "node", setop_all: "plain" },
  RECURSIVE_CTE_NODE: {
    cte_name: "plain",
    union_all: "plain",
    left: "node",
    right: "node",
    aliases: "plain",
    key_targets: "exprs"
  }
}

const modifiers: Readonly<Record<string, Shape>> = {
  LIMIT_MODIFIER: { limit: "expr", offset: "expr" },
  LIMIT_PERCENT_MODIFIER: { limit: "expr", offset: "expr" },
  ORDER_MODIFIER: { orders: "orders" },
  DISTINCT_MODIFIER: { distinct_on_targets: "exprs" }
}

const order: Shape = { type: "plain", null_order: "plain", expression: "expr" }
const caseCheck: Shape = { when_expr: "expr", then_expr: "expr" }
const replacement: Shape = { key: "plain", value: "expr" }
const pivot: Shape = { pivot_expressions: "exprs", unpivot_names: "plain", entries: "plain", pivot_enum: "none" }
const pivotEntry: Shape = { values: "plain", star_expr: "expr" }
const statementShape: Shape = { node: "node", named_param_map: "none" }
const cteShape: Shape = { aliases: "plain", query: "statement", materialized: "plain", key_targets: "exprs" }
const cteMapShape: Shape = { map: "plain" }
const cteEntryShape: Shape = { key: "plain", value: "plain" }
const valueShape: Shape = { type: "type", is_null: "plain", value: "plain" }
const sampleShape: Shape = { sample_size: "value", is_percentage: "plain", method: "plain", seed: "plain" }
const typeShape: Shape = { id: "plain", type_info: "plain" }

const typeInfos: Readonly<Record<string, Shape>> = {
  ARRAY_TYPE_INFO: { child_type: "type", size: "plain" },
  DECIMAL_TYPE_INFO: { width: "plain", scale: "plain" },
  LIST_TYPE_INFO: { child_type: "type" },
  STRING_TYPE_INFO: { collation: "none" },
  STRUCT_TYPE_INFO: { child_types: "plain" },
  UNBOUND_TYPE_INFO: { name: "plain", schema: "none", catalog: "none", user_type_modifiers: "none" }
}
const anyTypeInfo: Shape = { type: "plain", alias: "none", modifiers: "none", extension_info: "none" }
const fieldShape: Shape = { first: "plain", second: "type" }

/** Names of the common table expressions that a node sees, in lower case. */
type Scope = ReadonlySet<string>

const noTables: Scope = new Set()

class Refused extends Error {
  readonly refusal: Refusal
  constructor(refusal: Refusal) {
    super(refusal.reason)
    this.refusal = refusal
  }
}

class Judge {
  readonly views = new Set<string>()
  private readonly published: ReadonlySet<string>
  private count = 0
  private location: number | undefined

  constructor(published: ReadonlySet<string>) {
    this.published = published
  }

  statement(value: unknown, scope: Scope, depth: number): void {
    this.walk(this.tree(value), statementShape, scope, depth)
  }

  private node(value: unknown, scope: Scope, depth: number): void {
    const tree = this.tree(value)
    const shape = this.shapeOf(nodes, tree["type"])
    const inner = this.commonTables(tree["cte_map"], scope, depth)
    for (const modifier of this.list(tree["modifiers"])) this.modifier(modifier, inner, depth)
    if (tree["type"] !== "RECURSIVE_CTE_NODE") return this.walk(tree, { ...anyNode, ...shape }, inner, depth)
    // Only the step sees the table that it builds.
    this.walk(tree, { ...anyNode, ...shape, right: "plain" }, inner, depth)
    this.node(tree["right"], new Set([...inner, nameOf(tree["cte_name"])]), depth + 1)
  }

  private modifier(value: unknown, scope: Scope, depth: number): void {
    const tree = this.tree(value)
    this.walk(tree, { type: "plain", ...this.shapeOf(modifiers, tree["type"]) }, scope, depth)
  }

  /** Each common table expression sees those before it. */
  private commonTables(value: unknown, scope: Scope, depth: number): Scope {
    const map = this.tree(value)
    this.walk(map, cteMapShape, scope, depth)
    let inner = scope
    for (const item of this.list(map["map"])) {
      const entry = this.tree(item)
      this.walk(entry, cteEntryShape, inner, depth)
      this.walk(this.tree(entry["value"]), cteShape, inner, depth)
      inner = new Set([...inner, nameOf(entry["key"])])
    }
    return inner
  }

  private ref(value: unknown, scope: Scope, depth: number): void {
    const tree = this.tree(value)
    this.locate(tree)
    const shape = this.shapeOf(refs, tree["type"])
    switch (tree["type"]) {
      case "BASE_TABLE":
        this.table(tree, scope)
        break
      case "SHOW_REF":
        if (!isTree(tree["query"])) this.refuse("clause")
        break
      case "TABLE_FUNCTION":
        return this.tableFunction(tree, { ...anyRef, ...shape }, scope, depth)
    }
    this.walk(tree, { ...anyRef, ...shape }, scope, depth)
  }

  private table(tree: Tree, scope: Scope): void {
    const name = nameOf(tree["table_name"])
    const schema = nameOf(tree["schema_name"])
    if (schema === "" && scope.has(name)) return
    if ((schema !== "" && schema !== "main") || !this.published.has(name)) this.refuse("table")
    this.views.add(name)
  }

  private tableFunction(tree: Tree, shape: Shape, scope: Scope, depth: number): void {
    const call = this.tree(tree["function"])
    const name = nameOf(call["function_name"])
    if (call["class"] !== "FUNCTION" || !isOwnSchema(call) || !allowedTableFunctions.has(name)) {
      this.refuse("table-function", name)
    }
    this.walk(tree, { ...shape, function: "plain" }, scope, depth)
    this.walk(call, { ...anyExpression, ...expressions["FUNCTION"] }, scope, depth + 1)
  }

  private expression(value: unknown, scope: Scope, depth: number): void {
    const tree = this.tree(value)
    this.locate(tree)
    const kind = tree["class"]
    if (kind === "PARAMETER") this.refuse("parameter")
    const shape = this.shapeOf(expressions, kind)
    switch (kind) {
      case "FUNCTION":
      case "WINDOW": {
        const name = nameOf(tree["function_name"])
        if (!isOwnSchema(tree) || !allowedFunctions.has(name)) this.refuse("function", name)
        break
      }
      case "COLLATE":
        if (
          !nameOf(tree["collation"])
            .split(".")
            .every((name) => allowedCollations.has(name))
        )
          this.refuse("collation")
    }
    this.walk(tree, { ...anyExpression, ...shape }, scope, depth)
  }

  private type(value: unknown, scope: Scope, depth: number): void {
    const tree = this.tree(value)
    const id = tree["id"]
    const info = tree["type_info"]
    const isLookedUp = id === "UNBOUND" && isTree(info) && allowedTypeNames.has(nameOf(info["name"]))
    if (!isLookedUp && !(typeof id === "string" && allowedTypes.has(id))) this.refuse("type")
    this.walk(tree, typeShape, scope, depth)
    if (info === null || info === undefined) return
    const found = this.tree(info)
    this.walk(found, { ...anyTypeInfo, ...this.shapeOf(typeInfos, found["type"]) }, scope, depth)
    if (found["child_types"] === undefined) return
    for (const field of this.list(found["child_types"])) this.walk(this.tree(field), fieldShape, scope, depth)
  }

  private pivot(value: unknown, scope: Scope, depth: number): void {
    const tree = this.tree(value)
    this.walk(tree, pivot, scope, depth)
    for (const item of this.list(tree["entries"])) {
      const entry = this.tree(item)
      this.walk(entry, pivotEntry, scope, depth)
      for (const constant of this.list(entry["values"])) this.walk(this.tree(constant), valueShape, scope, depth)
    }
  }

  /** Looks at everything below a node; what its shape does not have is refused. */
  private walk(tree: Tree, shape: Shape, scope: Scope, depth: number): void {
    this.count++
    if (depth > MAX_DEPTH || this.count > MAX_NODES) throw new Refused({ reason: "too-complex" })
    for (const [key, value] of Object.entries(tree)) {
      const part = Object.hasOwn(shape, key) ? shape[key] : "none"
      if (part !== "plain") this.part(part ?? "none", value, scope, depth + 1)
    }
  }

  private part(part: Exclude<Part, "plain">, value: unknown, scope: Scope, depth: number): void {
    const each = (shape: Shape) => {
      for (const item of this.list(value)) this.walk(this.tree(item), shape, scope, depth)
    }
    switch (part) {
      case "none":
        if (!isNothing(value)) this.refuse("clause")
        return
      case "exprs":
        for (const item of this.list(value)) this.expression(item, scope, depth)
        return
      case "rows":
        for (const row of this.list(value)) for (const item of this.list(row)) this.expression(item, scope, depth)
        return
      case "replacements":
        return each(replacement)
      case "cases":
        return each(caseCheck)
      case "orders":
        return each(order)
      case "pivots":
        for (const item of this.list(value)) this.pivot(item, scope, depth)
        return
    }
    if (value === null || value === undefined) return
    switch (part) {
      case "expr":
        return this.expression(value, scope, depth)
      case "modifier":
        return this.modifier(value, scope, depth)
      case "statement":
        return this.statement(value, scope, depth)
      case "node":
        return this.node(value, scope, depth)
      case "ref":
        return this.ref(value, scope, depth)
      case "type":
        return this.type(value, scope, depth)
      case "value":
        return this.walk(this.tree(value), valueShape, scope, depth)
      case "sample":
        return this.walk(this.tree(value), sampleShape, scope, depth)
    }
  }

  private tree(value: unknown): Tree {
    return isTree(value) ? value : this.refuse("clause")
  }

  private list(value: unknown): ReadonlyArray<unknown> {
    return Array.isArray(value) ? value : this.refuse("clause")
  }

  private shapeOf(shapes: Readonly<Record<string, Shape>>, kind: unknown): Shape {
    const shape = typeof kind === "string" && Object.hasOwn(shapes, kind) ? shapes[kind] : undefined
    return shape ?? this.refuse("clause")
  }

  /** DuckDB marks what has no place in the text by the largest number of 64 bits. */
  private locate(tree: Tree): void {
    const location = tree["query_location"]
    if (typeof location === "number" && Number.isSafeInteger(location)) this.location = location
  }

  private refuse(construct: Construct, name?: string): never {
    throw new Refused({
      reason: "not-allowed",
      construct,
      ...(name === undefined ? {} : { name }),
      ...(this.location === undefined ? {} : { location: this.location })
    })
  }
}

/** Folded as DuckDB folds: with all of Unicode, a name that only looks alike would stand for another one. */
const nameOf = (value: unknown): string =>
  typeof value === "string" ? value.replace(/[A-Z]+/g, (letters) => letters.toLowerCase()) : ""

/** DuckDB itself writes `main` before some of its functions. */
const isOwnSchema = (call: Tree): boolean => ["", "main"].includes(nameOf(call["schema"]))

const isNothing = (value: unknown): boolean =>
  value === null ||
  value === undefined ||
  value === false ||
  value === "" ||
  value === "INVALID" ||
  (Array.isArray(value) && value.length === 0)
