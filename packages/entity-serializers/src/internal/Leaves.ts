/**
 * Decides, for an entity in which several paths compete for a column, which leaf gets which columns. Such entities are
 * rare; they are read once to be understood here, and a second time to be stored.
 */
import { eachMember, skipValue, stringValue } from "./Compact.ts"
import { type CompiledKind, isBranch, mergeNodes, type PathNode } from "./PathTree.ts"

/** The path of an element, how it was chosen (equal texts choose the same slot), and the `wheres` met so far. */
export interface ChosenElement {
  readonly path: PathNode
  readonly chosen: string
  readonly matched: number
}

/**
 * The path that reaches the element at `index`; undefined when none does. `element` gives the compact text of an object
 * element, undefined for other values.
 */
export const chooseElement = (
  path: PathNode,
  index: number,
  matched: number,
  element: (() => { readonly bytes: Uint8Array; readonly start: number }) | undefined
): ChosenElement | undefined => {
  const byIndex = path.indexes[index]
  const nodes: Array<PathNode> = byIndex === undefined ? [] : [byIndex]
  let chosen = byIndex === undefined ? "" : String(index)
  let met = matched
  if (element !== undefined && path.wheres.length > 0 && matched !== (1 << path.wheres.length) - 1) {
    const { bytes, start } = element()
    eachMember(bytes, start, (key, valueStart, valueEnd) => {
      path.wheres.forEach((where, at) => {
        if ((met & (1 << at)) !== 0 || key !== where.key || bytes[valueStart] !== 34) return
        if (stringValue(bytes, valueStart, valueEnd) !== where.value) return
        met |= 1 << at
        nodes.push(where.node)
        chosen += `w${at}`
      })
    })
  }
  const merged = mergeNodes(nodes)
  return merged === undefined ? undefined : { path: merged, chosen, matched: met }
}

/** Whether any element from `index` on can still be chosen. */
export const mayChoose = (path: PathNode, index: number, matched: number): boolean =>
  index < path.indexes.length || (path.wheres.length > 0 && matched !== (1 << path.wheres.length) - 1)

/**
 * For the values that may feed columns, numbered in document order, the columns that each takes, home first; values that
 * take none are left out. Of an entity with millions of values only the best for each column are remembered.
 */
export const decideColumns = (
  compiled: CompiledKind,
  root: PathNode,
  bytes: Uint8Array,
  start: number
): ReadonlyMap<number, ReadonlyArray<number>> => {
  const { codecs } = compiled
  const best = codecs.map(() => ({ value: -1, rank: Number.POSITIVE_INFINITY }))
  let values = 0

  const compete = (path: PathNode, c: number): void => {
    for (const { column, priority } of path.targets) {
      if ((c === 123 || c === 91) && codecs[column]!.class !== "json") continue
      // A null only counts when nothing else does.
      const rank = priority + (c === 110 ? 1e6 : 0)
      const winner = best[column]!
      if (rank > winner.rank) continue
      winner.rank = rank
      winner.value = values
    }
  }

  /** `superseded`: the value stands under a key that its object has again later; of duplicate keys the last counts. */
  const visit = (p: number, path: PathNode, superseded: boolean): void => {
    const c = bytes[p]!
    const container = c === 123 || c === 91
    // Nested entities choose for themselves; other values under such a key stay text.
    if (path.child !== undefined && container) return
    if (path.targets.length > 0) {
      if (!superseded) compete(path, c)
      values++
    }
    if (!container || !isBranch(path)) return
    if (c === 123) {
      if (path.keys.size > 0) visitMembers(p, path, superseded)
      return
    }
    if (path.indexes.length === 0 && path.wheres.length === 0) return
    let at = p + 1
    let matched = 0
    for (let index = 0; bytes[at] !== 93 && mayChoose(path, index, matched); index++) {
      if (bytes[at] === 44) at++
      const element = at
      const chosen = chooseElement(
        path,
        index,
        matched,
        bytes[at] === 123 ? () => ({ bytes, start: element }) : undefined
      )
      if (chosen !== undefined) {
        matched = chosen.matched
        visit(at, chosen.path, superseded)
      }
      at = skipValue(bytes, at)
    }
  }

  const visitMembers = (p: number, path: PathNode, superseded: boolean): void => {
    const last = new Map<string, number>()
    eachMember(bytes, p, (key, valueStart) => {
      if (path.keys.has(key)) last.set(key, valueStart)
    })
    eachMember(bytes, p, (key, valueStart) => {
      const next = path.keys.get(key)
      if (next !== undefined) visit(valueStart, next, superseded || last.get(key) !== valueStart)
    })
  }

  visitMembers(start, root, false)
  const decided = new Map<number, Array<number>>()
  best.forEach(({ value }, column) => {
    if (value < 0) return
    const columns = decided.get(value)
    if (columns === undefined) decided.set(value, [column])
    else columns.push(column)
  })
  return decided
}

/** Whether the object at `start` is a wrapper `{entity_id, entity_type, data: {…}}`; of several `data` the first decides. */
export const isWrapper = (bytes: Uint8Array, start: number): boolean => {
  let found = 0
  eachMember(bytes, start, (key, valueStart) => {
    if (key === "entity_id") found |= 1
    else if (key === "entity_type") found |= 2
    else if (key === "data" && bytes[valueStart] === 123) found |= 4
  })
  return found === 7
}
