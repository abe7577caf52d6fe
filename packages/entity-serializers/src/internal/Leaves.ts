/**
 * Decides, for an entity in which several paths compete for a column, which leaf gets which columns. Such entities are
 * rare; they are read once to be understood here, and a second time to be stored.
 */
import { members, skipValue, stringValue } from "./Compact.ts"
import { type CompiledKind, isBranch, mergeNodes, type PathNode } from "./PathTree.ts"

/** One value that may feed columns, in document order. */
interface Occurrence {
  readonly path: PathNode
  readonly isNull: boolean
  readonly container: boolean
  /** Whether it stands under a key that its object has again later: of duplicate keys the last counts. */
  readonly superseded: boolean
}

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
    for (const member of members(bytes, start)) {
      path.wheres.forEach((where, at) => {
        if ((met & (1 << at)) !== 0 || member.key !== where.key || bytes[member.start] !== 34) return
        if (stringValue(bytes, member.start, member.end) !== where.value) return
        met |= 1 << at
        nodes.push(where.node)
        chosen += `w${at}`
      })
    }
  }
  const merged = mergeNodes(nodes)
  return merged === undefined ? undefined : { path: merged, chosen, matched: met }
}

/** Whether any element from `index` on can still be chosen. */
export const mayChoose = (path: PathNode, index: number, matched: number): boolean =>
  index < path.indexes.length || (path.wheres.length > 0 && matched !== (1 << path.wheres.length) - 1)

const collect = (bytes: Uint8Array, p: number, path: PathNode, superseded: boolean, found: Array<Occurrence>): void => {
  const c = bytes[p]!
  const container = c === 123 || c === 91
  // Nested entities choose for themselves; other values under such a key stay text.
  if (path.child !== undefined && container) return
  if (path.targets.length > 0) found.push({ path, superseded, isNull: c === 110, container })
  if (!container || !isBranch(path)) return
  if (c === 123) {
    if (path.keys.size === 0) return
    collectMembers(bytes, p, path, superseded, found)
    return
  }
  if (path.indexes.length === 0 && path.wheres.length === 0) return
  let at = p + 1
  let matched = 0
  for (let index = 0; bytes[at] !== 93; index++) {
    if (bytes[at] === 44) at++
    const start = at
    const chosen = chooseElement(path, index, matched, bytes[at] === 123 ? () => ({ bytes, start }) : undefined)
    if (chosen !== undefined) {
      matched = chosen.matched
      collect(bytes, at, chosen.path, superseded, found)
    }
    at = skipValue(bytes, at)
  }
}

const collectMembers = (
  bytes: Uint8Array,
  p: number,
  path: PathNode,
  superseded: boolean,
  found: Array<Occurrence>
): void => {
  const all = members(bytes, p)
  const last = new Map(all.map(({ key }, at) => [key, at]))
  all.forEach(({ key, start }, at) => {
    const next = path.keys.get(key)
    if (next !== undefined) collect(bytes, start, next, superseded || last.get(key) !== at, found)
  })
}

/** For each value that may feed columns, in document order, the columns that it takes, home first. */
export const decideColumns = (
  compiled: CompiledKind,
  root: PathNode,
  bytes: Uint8Array,
  start: number
): ReadonlyArray<ReadonlyArray<number>> => {
  const found: Array<Occurrence> = []
  collectMembers(bytes, start, root, false, found)
  const decided: Array<Array<number>> = found.map(() => [])
  compiled.codecs.forEach((codec, column) => {
    let winner = -1
    let best = Number.POSITIVE_INFINITY
    found.forEach(({ path, superseded, isNull, container }, at) => {
      if (superseded || (container && codec.class !== "json")) return
      const target = path.targets.find((candidate) => candidate.column === column)
      if (target === undefined) return
      // A null only counts when nothing else does.
      const rank = target.priority + (isNull ? 1e6 : 0)
      if (rank <= best) {
        best = rank
        winner = at
      }
    })
    if (winner >= 0) decided[winner]!.push(column)
  })
  return decided
}

/** Whether the object at `start` is a wrapper `{entity_id, entity_type, data: {…}}`; of several `data` the first decides. */
export const isWrapper = (bytes: Uint8Array, start: number): boolean => {
  let found = 0
  for (const member of members(bytes, start)) {
    if (member.key === "entity_id") found |= 1
    else if (member.key === "entity_type") found |= 2
    else if (member.key === "data" && bytes[member.start] === 123) found |= 4
  }
  return found === 7
}
