/** What differs between two revisions: by entity, and inside entities and documents by JSON pointer. Pure. */

import { ownIdOf } from "./Identity.ts"
import { type StoredMember } from "./internal/content.ts"
import { leaves } from "./internal/jsonScan.ts"

/** A leaf that differs. Texts are JSON as spelt; of a key that is there several times all values, in order. */
export interface LeafChange {
  readonly pointer: string
  readonly before: string | undefined
  readonly after: string | undefined
}

/** An entity that only one side has. */
export interface EntityRef {
  readonly kind: string
  /** The id that it gives itself. */
  readonly id: string | undefined
  readonly path: string
  readonly pointer: string
}

/** An entity that both sides have, with other content; places are those of the later side. */
export interface EntityChange extends EntityRef {
  /** Empty when only the order of keys differs. Pointers start at the entity. */
  readonly changes: ReadonlyArray<LeafChange>
}

/** What differs in the text of a file around its entities. */
export interface DocumentChange {
  readonly path: string
  readonly outcome: "added" | "removed" | "changed"
  readonly changes: ReadonlyArray<LeafChange>
}

/** Something that a revision says of its cohort. */
export interface FactChange {
  readonly fact: "name" | "description" | "tags" | "product"
  readonly before: string | undefined
  readonly after: string | undefined
}

/** The difference of two revisions. */
export interface RevisionDiff {
  readonly isSame: boolean
  readonly facts: ReadonlyArray<FactChange>
  readonly added: ReadonlyArray<EntityRef>
  readonly removed: ReadonlyArray<EntityRef>
  readonly changed: ReadonlyArray<EntityChange>
  readonly unchanged: number
  readonly documents: ReadonlyArray<DocumentChange>
}

/** One side of a comparison. */
export interface DiffSide {
  readonly name: string
  readonly description: string | undefined
  readonly tags: ReadonlyArray<string>
  readonly product: string | undefined
  readonly members: ReadonlyArray<StoredMember>
  /** The literal text of each file, `[]` for its lists of entities and `{}` for single ones. */
  readonly skeletons: ReadonlyMap<string, string>
}

/**
 * Compares two sides. Entities are the same one when kind and own id agree (of several with one id in order); those
 * without an id when their texts agree, and what is then left over pairs up in order within its type.
 */
export const diffSides = (before: DiffSide, after: DiffSide): RevisionDiff => {
  const facts: ReadonlyArray<FactChange> = [
    { fact: "name" as const, before: before.name, after: after.name },
    { fact: "description" as const, before: before.description, after: after.description },
    { fact: "tags" as const, before: JSON.stringify(before.tags), after: JSON.stringify(after.tags) },
    { fact: "product" as const, before: before.product, after: after.product }
  ].filter((fact) => fact.before !== fact.after)
  const added: Array<EntityRef> = []
  const removed: Array<EntityRef> = []
  const changed: Array<EntityChange> = []
  let unchanged = 0
  const pair = (left: StoredMember, right: StoredMember, id: string | undefined): void => {
    if (left.text === right.text) unchanged++
    else changed.push({ ...refOf(right, id), changes: diffTexts(left.text, right.text) })
  }

  const withId = new Map<string, Array<StoredMember>>()
  const without = new Map<string, Array<StoredMember>>()
  for (const member of before.members) {
    const id = ownIdOf(member.kind, member.text)?.id
    if (id === undefined) push(without, `${member.kind} ${member.type}`, member)
    else push(withId, `${member.kind} ${id}`, member)
  }
  const left = new Map<string, Array<StoredMember>>()
  for (const member of after.members) {
    const id = ownIdOf(member.kind, member.text)?.id
    if (id === undefined) {
      push(left, `${member.kind} ${member.type}`, member)
      continue
    }
    const other = withId.get(`${member.kind} ${id}`)?.shift()
    if (other === undefined) added.push(refOf(member, id))
    else pair(other, member, id)
  }
  for (const members of withId.values()) {
    for (const member of members) removed.push(refOf(member, ownIdOf(member.kind, member.text)?.id))
  }
  for (const key of new Set([...without.keys(), ...left.keys()])) {
    const { onlyLeft, onlyRight, same } = matchTexts(without.get(key) ?? [], left.get(key) ?? [])
    unchanged += same
    const pairs = Math.min(onlyLeft.length, onlyRight.length)
    onlyLeft.slice(0, pairs).forEach((member, at) => {
      const other = onlyRight[at]
      if (other !== undefined) pair(member, other, undefined)
    })
    for (const member of onlyLeft.slice(pairs)) removed.push(refOf(member, undefined))
    for (const member of onlyRight.slice(pairs)) added.push(refOf(member, undefined))
  }

  const documents: Array<DocumentChange> = []
  for (const path of new Set([...before.skeletons.keys(), ...after.skeletons.keys()])) {
    const one = before.skeletons.get(path)
    const other = after.skeletons.get(path)
    if (one === undefined) documents.push({ path, outcome: "added", changes: [] })
    else if (other === undefined) documents.push({ path, outcome: "removed", changes: [] })
    else if (one !== other) documents.push({ path, outcome: "changed", changes: diffTexts(one, other) })
  }
  return {
    isSame: facts.length + added.length + removed.length + changed.length + documents.length === 0,
    facts,
    added,
    removed,
    changed,
    unchanged,
    documents
  }
}

/** The leaves in which two compact texts differ, those of the first in its order, then those that only the second has. */
export const diffTexts = (before: string, after: string): ReadonlyArray<LeafChange> => {
  const left = leafTexts(before)
  const right = leafTexts(after)
  const changes: Array<LeafChange> = []
  for (const [pointer, text] of left) {
    const other = right.get(pointer)
    if (text !== other) changes.push({ pointer, before: text, after: other })
  }
  for (const [pointer, text] of right) {
    if (!left.has(pointer)) changes.push({ pointer, before: undefined, after: text })
  }
  return changes
}

const leafTexts = (text: string): ReadonlyMap<string, string> => {
  const texts = new Map<string, string>()
  // Of several documents in one file each is on its line.
  const lines = text.split("\n")
  for (const [number, line] of lines.entries()) {
    const above = lines.length === 1 ? "" : `/${number}`
    for (const { end, pointer, start } of leaves(line)) {
      const value = line.slice(start, end)
      const place = above + pointer
      const other = texts.get(place)
      texts.set(place, other === undefined ? value : `${other}, ${value}`)
    }
  }
  return texts
}

const refOf = ({ kind, path, pointer }: StoredMember, id: string | undefined): EntityRef => ({
  kind,
  id,
  path,
  pointer
})

const push = (lists: Map<string, Array<StoredMember>>, key: string, member: StoredMember): void => {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [member])
  else list.push(member)
}

const matchTexts = (left: ReadonlyArray<StoredMember>, right: ReadonlyArray<StoredMember>) => {
  const waiting = new Map<string, Array<StoredMember>>()
  for (const member of left) push(waiting, member.text, member)
  const matched = new Set<StoredMember>()
  const onlyRight: Array<StoredMember> = []
  for (const member of right) {
    const other = waiting.get(member.text)?.shift()
    if (other === undefined) onlyRight.push(member)
    else matched.add(other)
  }
  return { same: matched.size, onlyLeft: left.filter((member) => !matched.has(member)), onlyRight }
}
