/** What has been read of documents and waits to be written: their members, their texts, and where their lists stand. */
import { type Collection, type MemberRows, NumberStack } from "@mallard/entity-serializers"
import { ledgerRow, type LedgerValue } from "../Ledger.ts"

/** A row of a table by column name. */
export type Row = Readonly<Record<string, LedgerValue>>

/** Rows of a document, of which there may be more before. */
export interface GivenRows {
  readonly members: MemberRows
  readonly pieces: ReadonlyArray<string>
  readonly collections: ReadonlyArray<Collection>
}

/** Consecutive collections of a document. Their rows are made only when they are written: there may be millions. */
interface CollectionsOfPart {
  readonly content_id: number
  readonly part: number
  /** The number of the first one. */
  readonly first: number
  readonly collections: ReadonlyArray<Collection>
}

export class WaitingDocuments {
  readonly members = new WaitingMembers()
  /** Rows of `part_texts`. */
  pieces: Array<Row> = []
  collections: Array<CollectionsOfPart> = []
  collectionCount = 0
  /** How many pieces and collections of the revision that is being added have been added already, by part. */
  private readonly added = new Map<number, { readonly pieces: number; readonly collections: number }>()

  /** Adds rows of a part of the revision that is being added: they come after those added before. */
  add(contentId: number, part: number, { collections, members, pieces }: GivenRows): void {
    const added = this.added.get(part) ?? { pieces: 0, collections: 0 }
    const place = { content_id: contentId, part }
    this.members.add(contentId, part, members)
    pieces.forEach((text, at) => this.pieces.push({ ...place, piece: added.pieces + at, text }))
    if (collections.length > 0) {
      // Of a document that is still being read the caller goes on with the array.
      this.collections.push({ ...place, first: added.collections, collections: [...collections] })
      this.collectionCount += collections.length
    }
    this.added.set(part, {
      pieces: added.pieces + pieces.length,
      collections: added.collections + collections.length
    })
  }

  /** The revision is whole, or given up: numbers begin anew. */
  endRevision(): void {
    this.added.clear()
  }

  /** Rows of `collections`. */
  *collectionRows(): Generator<Row> {
    for (const { collections, first, ...place } of this.collections) {
      for (const [at, { list, pointer }] of collections.entries()) {
        yield ledgerRow("collections", { ...place, collection: first + at, pointer: storable(pointer), list })
      }
    }
  }

  /** Forgets all rows: they are written. */
  clear(): void {
    this.members.clear()
    this.pieces = []
    this.collections = []
    this.collectionCount = 0
  }
}

/** Members of several documents: columns, of which the first `count` values count. */
export class WaitingMembers {
  readonly content = new NumberStack()
  readonly part = new NumberStack()
  readonly collection = new NumberStack()
  readonly ordinal = new NumberStack()
  readonly kind = new NumberStack()
  readonly id = new NumberStack()

  get count(): number {
    return this.content.length
  }

  add(contentId: number, part: number, members: MemberRows): void {
    for (let i = 0; i < members.count; i++) {
      this.content.push(contentId)
      this.part.push(part)
      this.collection.push(members.collection[i]!)
      this.ordinal.push(members.ordinal[i]!)
      this.kind.push(members.kind[i]!)
      this.id.push(members.id[i]!)
    }
  }

  clear(): void {
    for (const column of [this.content, this.part, this.collection, this.ordinal, this.kind, this.id]) column.length = 0
  }
}

/** Half a surrogate pair in a key has no UTF-8; the pointer shows it as JSON would. */
export const storable = (pointer: string): string =>
  pointer.isWellFormed()
    ? pointer
    : pointer.replace(/\p{Surrogate}/gu, (half) => `\\u${half.charCodeAt(0).toString(16)}`)
