/**
 * The ids of entities and members that a rehearsal has read and forgotten, of one transaction: they tell which members
 * have the id of another one, as a query over the rows would. Takes about 30 bytes an entity, however long its id is.
 */
import { hash } from "node:crypto"
import {
  AUX,
  type Collection,
  type EntityBatch,
  EntityIndex,
  type EntityRows,
  memberPointer
} from "@mallard/entity-serializers"
import { kinds } from "@mallard/schema"
import type { MemberPlace } from "./memberPlaces.ts"
import { storable, type WaitingDocuments, type WaitingMembers } from "./WaitingDocuments.ts"

/** Duplicate ids that are listed per kind and content: what else is in a batch changes nothing. */
export const MAX_DUPLICATES = 10_000

/** Where a member is whose id another member of its kind and content has had before. */
interface DuplicateMember {
  readonly content: number
  readonly part: number
  readonly collection: number
  readonly ordinal: number
}

export class MemberIds {
  /** By code of the kind. */
  private ofKind: Array<IdsOfKind | undefined> = []
  /** The collections of the documents, by content and part. */
  private readonly places = new Map<string, Array<Collection>>()

  /** Takes rows that are about to be forgotten, then the members, whose entities have all been taken. */
  take(batch: EntityBatch, text: Uint8Array, { collections, members }: WaitingDocuments): void {
    for (const part of collections) {
      const key = placeKey(part.content_id, part.part)
      const places = this.places.get(key) ?? []
      this.places.set(key, places)
      for (const { list, pointer } of part.collections) places.push({ pointer: storable(pointer), list })
    }
    for (const rows of batch.rows) {
      const column = idColumns[rows.code]
      if (column === undefined || rows.count === 0) continue
      const ids = (this.ofKind[rows.code] ??= new IdsOfKind())
      ids.takeRows(rows, column, text, batch.aux.bytes)
    }
    for (let i = 0; i < members.count; i++) {
      const ids = this.ofKind[members.kind.values[i]!]
      if (ids?.isRepeated(members.content.values[i]!, members.id.values[i]!) !== true) continue
      ids.found(members, i)
    }
  }

  /** All that were found, by kind, then in the order of their documents. */
  get duplicates(): ReadonlyArray<MemberPlace> {
    return this.ofKind
      .flatMap((ids) => ids?.duplicates ?? [])
      .map(({ collection, content, ordinal, part }) => {
        const place = this.places.get(placeKey(content, part))![collection]!
        return { content, part, pointer: memberPointer(place, ordinal) }
      })
  }

  /** Forgets everything: the transaction is over. */
  clear(): void {
    this.ofKind = []
    this.places.clear()
  }
}

const placeKey = (content: number, part: number): string => `${content}/${part}`

/** Place of the column with the id among those of a kind, by code. */
const idColumns: ReadonlyArray<number | undefined> = kinds.reduce<Array<number | undefined>>(
  (places, { code, columns, idColumn }) => {
    places[code] = columns.findIndex(({ name }) => name === idColumn)
    return places
  },
  []
)

class IdsOfKind {
  readonly duplicates: Array<DuplicateMember> = []
  /** How many there were in the content of the last one. */
  private inContent = 0
  private lastContent = 0
  /** Gives each id a number, from 1 on. */
  private readonly numbers = new EntityIndex()
  /** The number of its id, by entity; 0 where it has none. */
  private ofEntity = new Uint32Array(256)
  /** The last content in which a member had the id, by the id's number. */
  private lastSeen = new Float64Array(256)
  private readonly key = new IdKey()

  takeRows(rows: EntityRows, column: number, text: Uint8Array, aux: Uint8Array): void {
    const { high, low, used, valid } = rows.columns[column]!
    if (!used) return
    const end = rows.firstId + rows.count
    if (end > this.ofEntity.length) this.ofEntity = resized(Uint32Array, this.ofEntity, end)
    for (let row = 0; row < rows.count; row++) {
      if (valid[row] === 0) continue
      const offset = low[row]!
      const [heap, start] = offset >= AUX ? ([aux, offset - AUX] as const) : ([text, offset] as const)
      const number = this.numbers.idOf(this.key.of(heap, start, high[row]!))
      this.ofEntity[rows.firstId + row] = number
    }
    const { nextId } = this.numbers
    if (nextId > this.lastSeen.length) this.lastSeen = resized(Float64Array, this.lastSeen, nextId)
  }

  /** Whether a member of the content has had the id of the entity before; from now on one has. */
  isRepeated(content: number, entity: number): boolean {
    const number = this.ofEntity[entity] ?? 0
    if (number === 0) return false
    const isRepeated = this.lastSeen[number] === content
    this.lastSeen[number] = content
    return isRepeated
  }

  found({ collection, content, ordinal, part }: WaitingMembers, at: number): void {
    const own = content.values[at]!
    this.inContent = own === this.lastContent ? this.inContent + 1 : 1
    this.lastContent = own
    if (this.inContent > MAX_DUPLICATES) return
    this.duplicates.push({
      content: own,
      part: part.values[at]!,
      collection: collection.values[at]!,
      ordinal: ordinal.values[at]!
    })
  }
}

const KEY_BYTES = 16

/** Two ids have the same key if they are the same: a short one is in it as it is, of a longer one its SHA-256. */
class IdKey {
  private readonly words = new Int32Array(KEY_BYTES / 4)
  private readonly bytes = new Uint8Array(this.words.buffer)

  /** The words are overwritten by the next call. */
  of(heap: Uint8Array, start: number, length: number): Int32Array {
    const { bytes, words } = this
    if (length >= KEY_BYTES) {
      bytes.set(hash("sha256", heap.subarray(start, start + length), "buffer").subarray(0, KEY_BYTES))
      // No short id is as long as this says.
      bytes[KEY_BYTES - 1] = 0xff
    } else {
      bytes.fill(0)
      for (let i = 0; i < length; i++) bytes[i] = heap[start + i]!
      bytes[KEY_BYTES - 1] = length
    }
    // Ids that differ in their last letter alone must not lie together. Each step can be undone, so that keys stay apart.
    words[3] = mixed(words[3]!)
    words[2] = mixed(words[2]! ^ words[3]!)
    words[1] = mixed(words[1]! ^ words[2]!)
    words[0] = mixed(words[0]! ^ words[1]!)
    words[1] = mixed(words[1]! ^ words[0]!)
    return words
  }
}

/** Spreads every bit of a word over all of it; different words stay different. */
const mixed = (word: number): number => {
  let w = word ^ (word >>> 16)
  w = Math.imul(w, 0x85ebca6b)
  w ^= w >>> 13
  w = Math.imul(w, 0xc2b2ae35)
  return w ^ (w >>> 16)
}

const resized = <Values extends Uint32Array | Float64Array>(
  kind: new (length: number) => Values,
  values: Values,
  least: number
): Values => {
  const grown = new kind(Math.max(values.length * 2, least))
  grown.set(values)
  return grown
}
