/**
 * The source paths of a kind as a tree, so that a reader walking an entity knows at every key which columns the value
 * may feed, and where nested entities stand.
 */
import { type EntityKind, kinds, parsePath } from "@mallard/schema"
import { codecsOf, type ColumnCodec } from "../Codec.ts"

/** A column that a path feeds; a lower `priority` wins. */
interface Target {
  readonly column: number
  readonly priority: number
}

/** An element of an array that is chosen by a member's value. */
interface Where {
  readonly key: string
  readonly value: string
  readonly node: PathNode
}

export interface PathNode {
  readonly keys: Map<string, PathNode>
  readonly indexes: Array<PathNode | undefined>
  readonly wheres: Array<Where>
  readonly targets: Array<Target>
  /** The kind of the entities that stand here. */
  child: CompiledKind | undefined
}

/** A kind with everything the readers and writers look up per value. */
export interface CompiledKind {
  readonly kind: EntityKind
  readonly codecs: ReadonlyArray<ColumnCodec>
  readonly columnIndex: ReadonlyMap<string, number>
  readonly root: PathNode
  /** Paths of a wrapper `{entity_id, entity_type, data}`: those of the entity, and all of them under `data` too. */
  readonly wrapperRoot: PathNode
}

const makePathNode = (): PathNode => ({
  keys: new Map(),
  indexes: [],
  wheres: [],
  targets: [],
  child: undefined
})

/** Whether a value here may hold mapped leaves or nested entities. */
export const isBranch = (node: PathNode): boolean =>
  node.keys.size > 0 || node.indexes.length > 0 || node.wheres.length > 0

const descend = (root: PathNode, path: string): PathNode => {
  let node = root
  for (const step of parsePath(path)) {
    let next: PathNode | undefined
    if (step._tag === "Key") {
      next = node.keys.get(step.key)
      if (next === undefined) node.keys.set(step.key, (next = makePathNode()))
    } else if (step._tag === "Index") {
      next = node.indexes[step.index]
      if (next === undefined) node.indexes[step.index] = next = makePathNode()
    } else {
      const { key, value } = step
      next = node.wheres.find((where) => where.key === key && where.value === value)?.node
      if (next === undefined) node.wheres.push({ key, value, node: (next = makePathNode()) })
    }
    node = next
  }
  return node
}

const compile = (kind: EntityKind): CompiledKind => {
  const root = makePathNode()
  kind.columns.forEach((column, index) => {
    column.paths.forEach((path, priority) => {
      const { targets } = descend(root, path)
      if (!targets.some((target) => target.column === index)) targets.push({ column: index, priority })
    })
  })
  return {
    kind,
    codecs: codecsOf(kind.code),
    columnIndex: new Map(kind.columns.map((column, index) => [column.name, index])),
    root,
    wrapperRoot: makePathNode()
  }
}

/** The same paths at the level of a wrapper: where both have a value, the entity inside counts. */
const outside = (node: PathNode): PathNode => ({
  keys: new Map([...node.keys].map(([key, next]) => [key, outside(next)])),
  indexes: node.indexes.map((next) => (next === undefined ? undefined : outside(next))),
  wheres: node.wheres.map((where) => ({ ...where, node: outside(where.node) })),
  targets: node.targets.map((target) => ({ ...target, priority: target.priority + 0.5 })),
  child: node.child
})

const compileAll = (): ReadonlyArray<CompiledKind | undefined> => {
  const all = new Map<string, CompiledKind>(kinds.map((kind) => [kind.kind, compile(kind)]))
  const byCode: Array<CompiledKind | undefined> = []
  // Children are known only once all kinds are.
  for (const compiledKind of all.values()) {
    const { kind, root, wrapperRoot } = compiledKind
    byCode[kind.code] = compiledKind
    for (const { path, kind: child } of kind.children) descend(root, path).child = all.get(child)
    for (const [key, node] of root.keys) wrapperRoot.keys.set(key, outside(node))
    wrapperRoot.keys.set("data", root)
  }
  return byCode
}

let compiled: ReadonlyArray<CompiledKind | undefined> | undefined

/** All kinds by code, compiled once; 0, the internal kind `json`, is undefined. */
export const compiledByCode = (): ReadonlyArray<CompiledKind | undefined> => (compiled ??= compileAll())

/** One node that stands for several at once: an element may be chosen by its index and by a member's value. */
export const mergeNodes = (nodes: ReadonlyArray<PathNode>): PathNode | undefined => {
  if (nodes.length < 2) return nodes[0]
  const merged = makePathNode()
  for (const node of nodes) {
    for (const [key, next] of node.keys) {
      const other = merged.keys.get(key)
      merged.keys.set(key, other === undefined ? next : mergeNodes([other, next])!)
    }
    node.indexes.forEach((next, index) => {
      const other = merged.indexes[index]
      if (next !== undefined) merged.indexes[index] = other === undefined ? next : mergeNodes([other, next])!
    })
    merged.wheres.push(...node.wheres)
    for (const target of node.targets) {
      const at = merged.targets.findIndex((other) => other.column === target.column)
      if (at < 0) merged.targets.push(target)
      else if (merged.targets[at]!.priority > target.priority) merged.targets[at] = target
    }
    merged.child ??= node.child
  }
  merged.targets.sort((a, b) => a.column - b.column)
  return merged
}
