/** The id that an entity gives itself, where it stands, and where others refer to it. Pure, on compact text. */

import { kinds, normaliseTypeKey } from "@mallard/schema"
import { type Leaf, leaves } from "./internal/jsonScan.ts"

/** An entity's own id: its text, and where it stands. */
export interface OwnId {
  readonly id: string
  /** Undefined when the id is made of several values. */
  readonly leaf: Leaf | undefined
}

const idPathsOf = (kind: string): ReadonlyArray<string> => {
  const declared = kinds.find((candidate) => candidate.kind === kind)
  // What a workspace wraps has its own keys below `data`; the wrapper's id comes last.
  return declared === undefined
    ? []
    : [
        ...declared.idPaths,
        ...declared.idPaths.map((path) =>
          path
            .split("+")
            .map((one) => `data.${one}`)
            .join("+")
        ),
        "entity_id"
      ]
}

const pointersOf = (path: string): ReadonlyArray<string> =>
  path.split("+").map((one) => `/${one.replace(/\[(\d+)\]/g, ".$1").replaceAll(".", "/")}`)

const pathsByKind: ReadonlyMap<string, ReadonlyArray<ReadonlyArray<string>>> = new Map(
  kinds.map(({ kind }) => [kind, idPathsOf(kind).map(pointersOf)])
)

/** The text of a scalar leaf; undefined for null and empty containers. */
const valueOf = (text: string, { end, start }: Leaf): string | undefined => {
  const raw = text.slice(start, end)
  if (raw.startsWith('"')) return String(JSON.parse(raw))
  return raw === "null" || raw.startsWith("{") || raw.startsWith("[") ? undefined : raw
}

/** The id of an entity of this kind; undefined when it has none. */
export const ownIdOf = (kind: string, text: string): OwnId | undefined => {
  const paths = pathsByKind.get(kind)
  if (paths === undefined) return undefined
  const found = new Map<string, Leaf>()
  for (const leaf of leaves(text)) found.set(leaf.pointer, leaf)
  for (const pointers of paths) {
    const parts = pointers.map((pointer) => {
      const leaf = found.get(pointer)
      return leaf === undefined ? undefined : valueOf(text, leaf)
    })
    if (parts.some((part) => part === undefined || part === "")) continue
    return { id: parts.join(":"), leaf: pointers.length === 1 ? found.get(pointers[0] ?? "") : undefined }
  }
  return undefined
}

/** The keys, in snake case, below which an entity of another kind refers to one of a kind. */
const referencesByKind: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  kinds.map(({ idColumn, kind }) => [kind, new Set([`${kind}_id`, ...(idColumn === "id" ? [] : [idColumn])])])
)

/** The text of an entity with other ids: its own, and those by which it refers to others, each by kind and former id. */
export const withIds = (
  kind: string,
  text: string,
  ownId: string | undefined,
  ids: ReadonlyMap<string, ReadonlyMap<string, string>>
): string => {
  const ownPointer = ownIdOf(kind, text)?.leaf?.pointer
  const parts: Array<string> = []
  let from = 0
  for (const leaf of leaves(text)) {
    const isOwn = leaf.pointer === ownPointer
    const id = isOwn ? ownId : referenceOf(text, leaf, ids)
    if (id === undefined) continue
    parts.push(text.slice(from, leaf.start), JSON.stringify(id))
    from = leaf.end
  }
  return [...parts, text.slice(from)].join("")
}

const referenceOf = (
  text: string,
  leaf: Leaf,
  ids: ReadonlyMap<string, ReadonlyMap<string, string>>
): string | undefined => {
  const key = normaliseTypeKey(leaf.key)
  for (const [kind, renamed] of ids) {
    if (referencesByKind.get(kind)?.has(key) !== true) continue
    const value = valueOf(text, leaf)
    const id = value === undefined ? undefined : renamed.get(value)
    if (id !== undefined) return id
  }
  return undefined
}
