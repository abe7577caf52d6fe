/**
 * How a stored document gets more entities: they are put at the ends of its lists, or into new lists beside those, and
 * none of the entities that it has is parsed or written again. What is read is a small document: the text around the
 * entities with what is added, and a mark for each collection that stays as it is.
 */

import {
  type Collection,
  type DocumentRows,
  MAX_PIECE,
  MemberRows,
  type ValueRemark
} from "@mallard/entity-serializers"
import { kindOfTypeKey, normaliseTypeKey } from "@mallard/schema"
import { type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { partsOfContent, visitParts } from "../Assembly.ts"
import { makeRenderer } from "../Rendering.ts"
import { isList, isObject, membersOf } from "./jsonScan.ts"

/** Entities of one type to append. */
export interface Addition {
  readonly key: string
  readonly elements: ReadonlyArray<string>
}

/** A collection of the document as it was. */
interface Slot {
  readonly isList: boolean
  /** The texts of elements for the end of its list, joined by commas. */
  readonly added: string | undefined
}

/** A document that is to grow: the text around its collections, what is added there included, and its collections. */
export interface Growth {
  /** One more than there are slots. */
  readonly literals: ReadonlyArray<string>
  readonly slots: ReadonlyArray<Slot>
  /** JSON text that stands for a collection that stays as it is. */
  readonly mark: string
}

const LABEL = "\u0001"

/** Undefined when the document has no place for the additions. `mark` is JSON text that the document does not hold. */
export const growthOf = (
  pieces: ReadonlyArray<string>,
  additions: ReadonlyArray<Addition>,
  mark: string
): Growth | undefined => {
  const parts = pieces.join("").split(LABEL)
  const isListAt: Array<boolean> = []
  const starts: Array<number> = []
  let skeleton = ""
  for (const [at, part] of parts.entries()) {
    if (at % 2 === 0) skeleton += part
    else {
      starts.push(skeleton.length)
      isListAt.push(part === "list")
      skeleton += part === "list" ? "[]" : "{}"
    }
  }
  const inserts = insertsFor(skeleton, additions)
  if (inserts === undefined) return undefined
  const ends = [...starts, skeleton.length]
  return {
    literals: ends.map((end, at) => withInserts(skeleton, inserts, at === 0 ? 0 : (starts[at - 1] ?? 0) + 2, end)),
    slots: starts.map((start, at) => ({
      isList: isListAt[at] === true,
      added: inserts.get(start + 1)
    })),
    mark
  }
}

/** The small document that is to be read. */
export const smallText = ({ literals, mark, slots }: Growth): string =>
  literals
    .flatMap((literal, at) => {
      const slot = slots[at]
      return slot === undefined ? [literal] : [literal, slot.added === undefined ? mark : `[${slot.added}]`]
    })
    .join("")

/** What the document is once it has grown. */
export interface GrownText {
  readonly digest: string
  readonly bytes: number
  /** Where what lies in the small document from `small` bytes on lies in the grown one. In order. */
  readonly places: ReadonlyArray<{ readonly small: number; readonly grown: number }>
}

/** Hashes the only document of a content as it will be: the elements that it has pass through from the database, none is kept. */
export const grownText = Effect.fnUntraced(function* (
  sql: DuckDbSqlClient,
  contentId: number,
  { literals, mark, slots }: Growth
) {
  let stored = createHash("sha256")
  let grown = createHash("sha256")
  let bytes = 0
  let small = 0
  let places: Array<{ readonly small: number; readonly grown: number }> = []
  let inside = false
  let elements = 0
  let digest = ""
  const add = (text: string, isRead: boolean): void => {
    const length = Buffer.byteLength(text)
    if (isRead) {
      places.push({ small, grown: bytes })
      small += length
    }
    grown.update(text)
    bytes += length
  }
  yield* visitParts(sql, yield* makeRenderer(sql), partsOfContent(contentId), {
    start: (before) => {
      stored = createHash("sha256")
      grown = createHash("sha256")
      bytes = 0
      small = 0
      places = []
      digest = before.digest
    },
    opened: (collection) => {
      add(literals[collection] ?? "", true)
      if (slots[collection]?.isList === true) add("[", slots[collection].added !== undefined)
      inside = true
      elements = bytes
    },
    text: (buffer, start, end) => {
      const text = buffer.subarray(start, end)
      stored.update(text)
      if (!inside) return
      grown.update(text)
      bytes += text.length
    },
    closed: (collection) => {
      inside = false
      const slot = slots[collection]
      if (slot?.added === undefined) small += Buffer.byteLength(mark)
      else {
        if (bytes > elements) add(",", false)
        add(slot.added, true)
      }
      if (slot?.isList === true) add("]", slot.added !== undefined)
    },
    sound: () => {},
    changed: () => {},
    gap: () => {},
    isAsStored: () => stored.digest("hex") === digest,
    end: () => add(literals[slots.length] ?? "", true)
  })
  return { digest: grown.digest("hex"), bytes, places } satisfies GrownText
})

/** What a reading of the small document found. */
export interface SmallReading extends DocumentRows {
  readonly remarks: ReadonlyArray<ValueRemark>
}

/** Puts what was read of the small document together with what was stored before. */
export const grownPart = (
  { mark, slots }: Growth,
  { places }: GrownText,
  before: { readonly collections: ReadonlyArray<Collection>; readonly members: MemberRows },
  { collections: found, members: read, pieces, remarks }: SmallReading
) => {
  const kept = slots.flatMap(({ added }, slot) => (added === undefined ? [slot] : []))
  const collections: Array<Collection> = []
  /** The numbers that collections get: of those before by slot, of those that were read in order. */
  const ofSlots: Array<number> = []
  const ofRead: Array<number> = []
  let marks = 0
  const template = pieces
    .join("")
    .split(new RegExp(`(${LABEL}[a-z]+${LABEL}|${mark})`))
    .map((token, at) => {
      if (at % 2 === 0) return token
      const slot = token === mark ? present(kept[marks++]) : undefined
      const number = collections.push(present(slot === undefined ? found[ofRead.length] : before.collections[slot]))
      if (slot === undefined) ofRead.push(number - 1)
      else ofSlots[slot] = number - 1
      return slot === undefined ? token : `${LABEL}${slots[slot]?.isList === true ? "list" : "one"}${LABEL}`
    })
    .join("")
  /** How many elements stood in a list that was read before those that were. */
  const lengths = found.map(() => 0)
  const sizes = sizesOf(before.members, slots.length)
  for (const [slot, { added }] of slots.entries()) {
    if (added === undefined) continue
    const pointer = before.collections[slot]?.pointer
    // Of keys that occur twice the last one counts, here as where the place was looked for.
    const at = found.findLastIndex((place) => place.list && place.pointer === pointer)
    ofSlots[slot] = present(ofRead[at])
    lengths[at] = sizes[slot] ?? 0
  }
  const members = new MemberRows()
  const copy = (rows: MemberRows, numbers: ReadonlyArray<number>, offsets: ReadonlyArray<number>): void => {
    for (let i = 0; i < rows.count; i++) {
      const from = rows.collection[i] ?? 0
      members.push(
        present(numbers[from]),
        (rows.ordinal[i] ?? 0) + (offsets[from] ?? 0),
        rows.kind[i] ?? 0,
        rows.id[i] ?? 0
      )
    }
  }
  copy(before.members, ofSlots, [])
  copy(read, ofRead, lengths)
  return {
    pieces: piecesOf(template),
    collections,
    members,
    remarks: remarks.map((remark): ValueRemark => {
      const place = places.findLast(({ small }) => small <= remark.offset)
      return {
        ...remark,
        pointer: inGrown(remark.pointer, found, lengths),
        offset: remark.offset + (place === undefined ? 0 : place.grown - place.small)
      }
    })
  }
}

/** What must be there: the small document was made so that it is. */
const present = <A>(value: A | undefined): A => {
  if (value === undefined) throw new Error("a collection of a document that grows was not found again")
  return value
}

const sizesOf = (members: MemberRows, collections: number): ReadonlyArray<number> => {
  const sizes = Array.from({ length: collections }, () => 0)
  for (let i = 0; i < members.count; i++) {
    const collection = members.collection[i] ?? 0
    sizes[collection] = (sizes[collection] ?? 0) + 1
  }
  return sizes
}

/** A pointer into a list that was read, with the number of the element in the grown list. */
const inGrown = (pointer: string, collections: ReadonlyArray<Collection>, lengths: ReadonlyArray<number>): string => {
  const at = collections.findLastIndex((found) => found.list && pointer.startsWith(`${found.pointer}/`))
  const length = lengths[at] ?? 0
  if (length === 0) return pointer
  const place = collections[at]?.pointer ?? ""
  const [ordinal, ...rest] = pointer.slice(place.length + 1).split("/")
  return [place, Number(ordinal) + length, ...rest].join("/")
}

/** The template in pieces, none of which starts with what the client drops or with half a character. */
const piecesOf = (template: string): ReadonlyArray<string> => {
  const pieces: Array<string> = []
  let from = 0
  while (from < template.length) {
    let to = Math.min(from + MAX_PIECE, template.length)
    while (to < template.length && /^[\uFEFF\uDC00-\uDFFF]/.test(template.slice(to, to + 1))) to++
    pieces.push(template.slice(from, to))
    from = to
  }
  return pieces
}

/**
 * What goes into a text, by where: in the list of the same type, else in a new one beside the others. Undefined when the
 * text has no place for it.
 */
const insertsFor = (text: string, additions: ReadonlyArray<Addition>): ReadonlyMap<number, string> | undefined => {
  // Line feeds stand in compact text only between documents of one file.
  if (!isObject(text) || text.includes("\n")) return undefined
  const root = membersOf(text)
  const entities = root.findLast(({ key }) => key === "entities")
  const start = entities === undefined ? 0 : entities.start
  if (!isObject(text, start)) return undefined
  const members = entities === undefined ? root : membersOf(text, start)
  const end = entities === undefined ? text.length : entities.end
  const longer = new Map<number, Array<string>>()
  const fresh = new Map<string, Array<string>>()
  for (const { elements, key } of additions) {
    const target =
      members.findLast((member) => member.key === key) ??
      members.findLast((member) => isList(text, member.start) && sameType(member.key, key))
    if (target === undefined) fresh.set(key, [...(fresh.get(key) ?? []), ...elements])
    else if (!isList(text, target.start)) return undefined
    else longer.set(target.end - 1, [...(longer.get(target.end - 1) ?? []), ...elements])
  }
  const inserts = new Map<number, string>()
  for (const [at, texts] of longer) inserts.set(at, `${text[at - 1] === "[" ? "" : ","}${texts.join(",")}`)
  if (fresh.size > 0) {
    const lists = [...fresh].map(([key, texts]) => `${JSON.stringify(key)}:[${texts.join(",")}]`)
    inserts.set(end - 1, `${members.length === 0 ? "" : ","}${lists.join(",")}`)
  }
  return inserts
}

const sameType = (left: string, right: string): boolean => {
  const kind = kindOfTypeKey(left)
  return kind === undefined ? normaliseTypeKey(left) === normaliseTypeKey(right) : kind === kindOfTypeKey(right)
}

/** A stretch of a text with what goes into it. */
const withInserts = (text: string, inserts: ReadonlyMap<number, string>, start: number, end: number): string => {
  const parts: Array<string> = []
  let from = start
  for (const at of [...inserts.keys()].filter((at) => at >= start && at < end).sort((left, right) => left - right)) {
    parts.push(text.slice(from, at), inserts.get(at) ?? "")
    from = at
  }
  return [...parts, text.slice(from, end)].join("")
}
