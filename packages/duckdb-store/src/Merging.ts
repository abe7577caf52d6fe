/** Puts the entities of several cohorts together, by kind and id. Pure. */

import { kinds } from "@mallard/schema"
import { ownIdOf, withIds } from "./Identity.ts"
import { uniqueName as uniqueId } from "./Naming.ts"
import { type StoredMember } from "./internal/content.ts"

/**
 * What happens to an entity whose kind and id an entity of an earlier cohort has, with other content: the earlier stays,
 * the later takes its place, or the later gets another id, and what refers to it in its own cohort follows.
 */
export type ConflictRule = "skip" | "overwrite" | "rename"

/** What came together. */
export interface MergeReport {
  /** Entities that an earlier cohort had word for word, under the same id: they are there once. */
  readonly identical: number
  /** Entities with the kind and id of one of an earlier cohort, and other content. */
  readonly conflicts: ReadonlyArray<MergeConflict>
}

export interface MergeConflict {
  readonly kind: string
  readonly id: string
  readonly outcome: "skipped" | "overwritten" | "renamed" | "kept"
  /** The id that it got. */
  readonly renamedTo?: string
}

interface Merged extends MergeReport {
  /** Compact texts by type, in the order in which types first occur. */
  readonly entities: ReadonlyMap<string, ReadonlyArray<string>>
}

const tables: ReadonlyMap<string, string> = new Map(kinds.map(({ kind, table }) => [kind, table]))

/** Members keep their order, cohort after cohort. Entities without an id never conflict. */
export const mergeMembers = (cohorts: ReadonlyArray<ReadonlyArray<StoredMember>>, rule: ConflictRule): Merged => {
  const entities = new Map<string, Array<string>>()
  /** Where the entity with a kind and an id stands. */
  const places = new Map<string, { readonly type: string; readonly at: number; readonly text: string }>()
  const taken = new Set<string>()
  const conflicts: Array<MergeConflict> = []
  let identical = 0
  const keyOf = (kind: string, id: string): string => `${kind} ${id}`
  for (const members of cohorts) {
    for (const { kind, text } of members) {
      const own = ownIdOf(kind, text)
      if (own !== undefined) taken.add(keyOf(kind, own.id))
    }
  }
  for (const members of cohorts) {
    const before = new Map(places)
    const found = members.map((member) => {
      const own = ownIdOf(member.kind, member.text)
      return { member, own, earlier: own === undefined ? undefined : before.get(keyOf(member.kind, own.id)) }
    })
    const renamed = new Map<string, Map<string, string>>()
    // What refers to an entity with another id is another entity too, so this goes on until nothing more changes.
    for (let isChanged = rule === "rename"; isChanged;) {
      isChanged = false
      for (const { earlier, member, own } of found) {
        if (earlier === undefined || own?.leaf === undefined || renamed.get(member.kind)?.has(own.id) === true) continue
        if (withIds(member.kind, member.text, undefined, renamed) === earlier.text) continue
        const ofKind = renamed.get(member.kind) ?? new Map<string, string>()
        renamed.set(member.kind, ofKind)
        const id = uniqueId(own.id, (other) => taken.has(keyOf(member.kind, other)))
        taken.add(keyOf(member.kind, id))
        ofKind.set(own.id, id)
        isChanged = true
      }
    }
    const add = (member: StoredMember, text: string, id: string | undefined): void => {
      const type = tables.get(member.kind) ?? member.type
      const texts = entities.get(type) ?? []
      entities.set(type, texts)
      texts.push(text)
      const key = id === undefined ? undefined : keyOf(member.kind, id)
      if (key !== undefined && !places.has(key)) places.set(key, { type, at: texts.length - 1, text })
    }
    for (const { earlier, member, own } of found) {
      const id = own?.id
      const newId = id === undefined ? undefined : renamed.get(member.kind)?.get(id)
      const text = renamed.size === 0 ? member.text : withIds(member.kind, member.text, newId, renamed)
      if (earlier === undefined || id === undefined) {
        add(member, text, id)
        continue
      }
      if (earlier.text === text) {
        identical++
        continue
      }
      const conflict = { kind: member.kind, id }
      if (rule === "skip") conflicts.push({ ...conflict, outcome: "skipped" })
      else if (rule === "overwrite") {
        const texts = entities.get(earlier.type)
        if (texts !== undefined) texts[earlier.at] = text
        places.set(keyOf(member.kind, id), { ...earlier, text })
        conflicts.push({ ...conflict, outcome: "overwritten" })
      } else if (newId === undefined) {
        add(member, text, undefined)
        conflicts.push({ ...conflict, outcome: "kept" })
      } else {
        add(member, text, newId)
        conflicts.push({ ...conflict, outcome: "renamed", renamedTo: newId })
      }
    }
  }
  return { entities, identical, conflicts }
}
