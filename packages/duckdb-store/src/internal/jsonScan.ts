/**
 * Walks through compact JSON text without building values: where members and elements lie, what the scalars are. The text
 * must be compact text as the store renders it; nothing is checked. Depth is no limit.
 */
import { pointerToken } from "@mallard/entity-serializers"

const QUOTE = 0x22
const COMMA = 0x2c
const OPEN_LIST = 0x5b
const BACKSLASH = 0x5c
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/** The index after the string that starts at `at`. */
const stringEnd = (text: string, at: number): number => {
  for (let p = text.indexOf('"', at + 1); ; p = text.indexOf('"', p + 1)) {
    let slashes = 0
    while (text.charCodeAt(p - 1 - slashes) === BACKSLASH) slashes++
    if (slashes % 2 === 0) return p + 1
  }
}

/** The index after the value that starts at `at`. */
const valueEnd = (text: string, at: number): number => {
  let depth = 0
  for (let p = at; ;) {
    const c = text.charCodeAt(p)
    if (c === QUOTE) {
      p = stringEnd(text, p)
      if (depth === 0) return p
    } else if (c === OPEN_OBJECT || c === OPEN_LIST) {
      depth++
      p++
    } else if (c === CLOSE_OBJECT || c === CLOSE_LIST) {
      if (depth === 0) return p
      p++
      if (--depth === 0) return p
    } else if (depth === 0 && (c === COMMA || Number.isNaN(c))) return p
    else p++
  }
}

/** A member of an object: its key, and where its value lies. */
export interface Member {
  readonly key: string
  readonly start: number
  readonly end: number
}

/** The members of the object that starts at `at`, in order, duplicates included. */
export const membersOf = (text: string, at = 0): ReadonlyArray<Member> => {
  const members: Array<Member> = []
  for (let p = at + 1; text.charCodeAt(p) !== CLOSE_OBJECT;) {
    if (text.charCodeAt(p) === COMMA) p++
    const keyEnd = stringEnd(text, p)
    const end = valueEnd(text, keyEnd + 1)
    members.push({ key: unquoted(text.slice(p, keyEnd)), start: keyEnd + 1, end })
    p = end
  }
  return members
}

/** The texts of the elements of the list that starts at `at`. */
export const elementsOf = (text: string, at = 0): ReadonlyArray<string> =>
  numbered(text, at).map(({ end, start }) => text.slice(start, end))

export const isObject = (text: string, at = 0): boolean => text.charCodeAt(at) === OPEN_OBJECT
export const isList = (text: string, at = 0): boolean => text.charCodeAt(at) === OPEN_LIST

/** A scalar, or a container without anything in it. */
export interface Leaf {
  readonly pointer: string
  /** The nearest key above it. */
  readonly key: string
  readonly start: number
  readonly end: number
}

/** All leaves of a text, in order. */
export function* leaves(text: string): Generator<Leaf> {
  /** Containers around the value at hand; `index` is -1 in objects. */
  const open: Array<{ readonly pointer: string; readonly key: string; index: number }> = []
  let pointer = ""
  let key = ""
  for (let p = 0; ;) {
    const c = text.charCodeAt(p)
    const isContainer = c === OPEN_OBJECT || c === OPEN_LIST
    const next = text.charCodeAt(p + 1)
    if (isContainer && next !== CLOSE_OBJECT && next !== CLOSE_LIST) {
      open.push({ pointer, key, index: c === OPEN_LIST ? 0 : -1 })
      p++
    } else {
      const end = valueEnd(text, p)
      yield { pointer, key, start: p, end }
      p = end
      while (open.length > 0 && text.charCodeAt(p) !== COMMA) {
        open.pop()
        p++
      }
      if (open.length === 0) return
      p++
    }
    const around = open.at(-1)
    if (around === undefined) return
    if (around.index >= 0) {
      pointer = `${around.pointer}/${around.index++}`
      key = around.key
    } else {
      const keyEnd = stringEnd(text, p)
      key = unquoted(text.slice(p, keyEnd))
      pointer = around.pointer + pointerToken(key)
      p = keyEnd + 1
    }
  }
}

/** The text without the members whose key starts with `_`, at any depth. */
export const withoutPrivateKeys = (text: string): string => {
  const parts: Array<string> = []
  /** For each open container, whether something has been written into it. */
  const filled: Array<boolean> = []
  const isList: Array<boolean> = []
  for (let p = 0; ;) {
    const c = text.charCodeAt(p)
    if (c === OPEN_OBJECT || c === OPEN_LIST) {
      parts.push(c === OPEN_LIST ? "[" : "{")
      filled.push(false)
      isList.push(c === OPEN_LIST)
      p++
    } else {
      const end = valueEnd(text, p)
      parts.push(text.slice(p, end))
      p = end
    }
    // A member or element comes next, or the end of one or more containers.
    for (;;) {
      if (filled.length === 0) return parts.join("")
      const at = filled.length - 1
      if (text.charCodeAt(p) === COMMA) p++
      const close = text.charCodeAt(p)
      if (close === CLOSE_LIST || close === CLOSE_OBJECT) {
        parts.push(close === CLOSE_LIST ? "]" : "}")
        filled.pop()
        isList.pop()
        p++
        continue
      }
      if (isList[at] !== true) {
        const keyEnd = stringEnd(text, p)
        if (text[p + 1] === "_") {
          p = valueEnd(text, keyEnd + 1)
          continue
        }
        parts.push(filled[at] === true ? "," : "", text.slice(p, keyEnd + 1))
        p = keyEnd + 1
      } else if (filled[at] === true) parts.push(",")
      filled[at] = true
      break
    }
  }
}

/** Fields that are wanted, by key: true for all of the value, else the fields inside it. */
export interface Fields extends ReadonlyMap<string, true | Fields> {}

/** What paths of keys want, as `name.given`: a path goes through a list into the objects in it. */
export const fieldsOf = (paths: ReadonlyArray<string>): Fields => {
  const root = new Map<string, true | Fields>()
  const want = (fields: Map<string, true | Fields>, [key = "", ...rest]: ReadonlyArray<string>): void => {
    const inside = fields.get(key)
    if (inside === true) return
    const next = new Map(inside)
    if (rest.length > 0) want(next, rest)
    fields.set(key, rest.length === 0 ? true : next)
  }
  for (const path of paths) {
    want(root, path.split("."))
    // A key may have points of its own.
    root.set(path, true)
  }
  return root
}

/** The text with the wanted members only, as they are written; what is no object, nor a list of objects, stays whole. */
export const withFields = (text: string, fields: Fields, at = 0, end = text.length): string => {
  if (isList(text, at)) {
    const elements = numbered(text, at).map((element) =>
      isObject(text, element.start)
        ? withFields(text, fields, element.start, element.end)
        : text.slice(element.start, element.end)
    )
    return `[${elements.join(",")}]`
  }
  if (!isObject(text, at)) return text.slice(at, end)
  const kept = membersOf(text, at).flatMap(({ end: valueEnd, key, start }) => {
    const inside = fields.get(key)
    if (inside === undefined) return []
    const value = inside === true ? text.slice(start, valueEnd) : withFields(text, inside, start, valueEnd)
    return [`${JSON.stringify(key)}:${value}`]
  })
  return `{${kept.join(",")}}`
}

/** Gives entities with the wanted fields only; those of one in a wrapper `{entity_id, entity_type, data}` lie below `data` too. */
export const fieldPicker = (paths: ReadonlyArray<string>): ((entity: string) => string) => {
  const fields = fieldsOf(paths)
  const inside = fieldsOf(paths.flatMap((path) => [path, path.replace(/^data\./, "")]))
  const ofWrapper = new Map(fields).set("data", fields.get("data") === true || inside)
  return (entity) => withFields(entity, isWrapper(entity) ? ofWrapper : fields)
}

const isWrapper = (text: string): boolean => {
  if (!isObject(text)) return false
  const members = membersOf(text)
  const hasKey = (wanted: string): boolean => members.some(({ key }) => key === wanted)
  const data = members.find(({ key }) => key === "data")
  return hasKey("entity_id") && hasKey("entity_type") && data !== undefined && isObject(text, data.start)
}

/** How many containers lie within each other, at most. */
export const depthOf = (text: string): number => {
  let depth = 0
  let deepest = 0
  for (let p = 0; p < text.length;) {
    const c = text.charCodeAt(p)
    if (c === QUOTE) {
      p = stringEnd(text, p)
      continue
    }
    if (c === OPEN_OBJECT || c === OPEN_LIST) deepest = Math.max(deepest, ++depth)
    else if (c === CLOSE_OBJECT || c === CLOSE_LIST) depth--
    p++
  }
  return deepest
}

/** The pointer of a key that its object has twice; undefined when there is none. */
export const duplicateKeyAt = (text: string): string | undefined => {
  const waiting: Array<{ readonly start: number; readonly pointer: string }> = [{ start: 0, pointer: "" }]
  for (let container = waiting.pop(); container !== undefined; container = waiting.pop()) {
    const { pointer, start } = container
    const seen = new Set<string>()
    for (const { key, start: value } of isList(text, start) ? numbered(text, start) : membersOf(text, start)) {
      const place = pointer + pointerToken(key)
      if (seen.has(key)) return place
      seen.add(key)
      if (isObject(text, value) || isList(text, value)) waiting.push({ start: value, pointer: place })
    }
  }
  return undefined
}

/** The elements of a list as members whose keys are their numbers. */
const numbered = (text: string, at: number): ReadonlyArray<Member> => {
  const members: Array<Member> = []
  for (let p = at + 1; text.charCodeAt(p) !== CLOSE_LIST;) {
    if (text.charCodeAt(p) === COMMA) p++
    const end = valueEnd(text, p)
    members.push({ key: String(members.length), start: p, end })
    p = end
  }
  return members
}

const unquoted = (text: string): string => (text.includes("\\") ? String(JSON.parse(text)) : text.slice(1, -1))
