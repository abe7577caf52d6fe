/**
 * Reads one entity from the tokenizer's window into a batch: in a single pass it writes the compact text, walks the
 * kind's trie, fills column cells, hashes, and drops the row again when an equal entity exists. Nested entities are read
 * on the way and linked.
 *
 * On any error (or when the window ends inside the entity) the batch is as it was before, except that nested entities
 * may have been added whole; callers take the batch back to a mark.
 */
import { AUX, type Cells } from "../Cells.ts"
import { type ColumnCodec, reasonOf, rendersAlike } from "../Codec.ts"
import type { BatchMark, EntityBatch, EntityRows } from "../EntityBatch.ts"
import type { EntityIndex } from "../EntityIndex.ts"
import { JsonProblem } from "../JsonProblem.ts"
import { NumberStack } from "../NumberStack.ts"
import type { ShapeDictionary } from "../ShapeDictionary.ts"
import { pointerToken, slice } from "./Compact.ts"
import { putDigest } from "./digest.ts"
import { hashKey } from "./KeySet.ts"
import { LeafReader } from "./LeafReader.ts"
import { chooseElement, decideColumns, isWrapper, mayChoose } from "./Leaves.ts"
import { type CompiledKind, compiledByCode } from "./PathTree.ts"
import { Remarks } from "./Remarks.ts"
import { type Budget, type KeyEdge, makeBudget, ShapeTrie, type Slot, type Takes, type TrieNode } from "./ShapeTrie.ts"
import { LONE_SURROGATE, PYTHON_TOKEN, Tokenizer } from "./Tokenizer.ts"

/** Thrown when the walk meets a leaf that takes a column from one read before. */
const CONTESTED = Symbol("contested")
/** Thrown when the entity turns out to be a wrapper. */
const WRAPPER = Symbol("wrapper")

/** Nested entities under one key: each needs some hundred bytes until its parent is read. */
const MAX_CHILDREN = 1_000_000

/**
 * Places of nested entities in one entity, each a label of its template. So many can only be keys that are repeated: what
 * stands at further ones is text.
 */
const MAX_COLLECTIONS = 1 << 16

/** Shorter texts cost less to hash at once than to hand on for that, and repeat each other more often. */
const LEAST_UNDIGESTED = 128

/** The columns of mapped values by their number in document order; undefined on the fast path, where the trie decides. */
type Forced = ReadonlyMap<number, ReadonlyArray<number>> | undefined

const NO_COLUMNS: ReadonlyArray<number> = []

/** How far a reader had come. */
export interface ReaderMark {
  readonly batch: BatchMark
  readonly output: number
  readonly indexes: ReadonlyArray<number>
  readonly shapes: number
}

export class EntityReader {
  readonly tokenizer: Tokenizer
  readonly batch: EntityBatch
  readonly shapes: ShapeDictionary
  readonly indexes: ReadonlyArray<EntityIndex>
  /** Remarks of the entities read, pointers relative to the outermost entity. */
  readonly remarks = new Remarks()
  /** Kind codes of the entities read, nested ones too, since the caller last emptied it. */
  readonly finished = new NumberStack()
  /**
   * Whether the digests of all but short entities are left to whoever takes the rows over: such entities get a row each,
   * equal or not. Not to be changed while rows wait.
   */
  leavesDigests = false
  private readonly tries: ReadonlyArray<ShapeTrie | undefined>
  private readonly words = new Int32Array(4)
  private readonly fragmentStarts = new NumberStack()
  private readonly fragmentEnds = new NumberStack()
  /** Where the last run of members ends in the output. */
  private runEnd = -1
  /** Children read so far for the entities that are open: pending links. */
  private readonly pending = {
    collection: new NumberStack(),
    ordinal: new NumberStack(),
    place: new NumberStack(),
    kind: new NumberStack(),
    id: new NumberStack()
  }
  private readonly leaves: LeafReader
  /** Where the opaque value that is being read stands, for remarks about it. */
  private opaquePointer = ""

  /** `indexes` are by kind code, like the batch's rows. `budget` bounds the memory of the tries. */
  constructor(
    batch: EntityBatch,
    shapes: ShapeDictionary,
    indexes: ReadonlyArray<EntityIndex>,
    budget: Budget = makeBudget()
  ) {
    this.tokenizer = new Tokenizer()
    this.leaves = new LeafReader(this.tokenizer, batch.aux)
    this.batch = batch
    this.shapes = shapes
    this.indexes = indexes
    this.tries = compiledByCode().map((compiled) =>
      compiled === undefined ? undefined : new ShapeTrie(compiled, budget)
    )
    this.tokenizer.onDuplicateKey = (offset, level, key) => {
      const pointer = this.remarks.full ? "" : this.opaquePointer + this.tokenizer.pointerOfKey(level, key)
      this.remarks.add("duplicate-key", pointer, offset)
    }
  }

  mark(): ReaderMark {
    return {
      batch: this.batch.mark(),
      output: this.tokenizer.o,
      indexes: this.indexes.map((index) => index.mark()),
      shapes: this.shapes.mark()
    }
  }

  /** Takes back everything read since the mark. Valid only while all of it still waits in the batch. */
  rollback(mark: ReaderMark): void {
    this.batch.truncate(mark.batch)
    this.tokenizer.o = mark.output
    this.indexes.forEach((index, code) => index.rollback(mark.indexes[code]!))
    this.shapes.rollback(mark.shapes)
  }

  /** Largest entity, string or number in bytes of the source; 64 MiB unless set. */
  get maxEntityBytes(): number {
    return this.tokenizer.maxTokenBytes
  }

  set maxEntityBytes(bytes: number) {
    this.tokenizer.maxTokenBytes = bytes
  }

  /** Reads an opaque value at `pointer`, noting duplicate keys in it. */
  opaque(pointer: string): void {
    const t = this.tokenizer
    this.opaquePointer = pointer
    t.value()
  }

  /** Reads an element of the internal kind `json`; returns its entity id. */
  json(pointer: string): number {
    const t = this.tokenizer
    const from = t.p
    const start = t.o
    this.opaque(pointer)
    this.checkSize(from)
    const index = this.indexes[0]!
    this.finished.push(0)
    const rows = this.batch.rows[0]!
    const firstNew = index.nextId
    const id = this.idOf(index, rows, start)
    if (id < firstNew) return id
    rows.open()
    this.finishRow(rows, id)
    rows.extra.setText(rows.count - 1, start, t.o - start)
    return id
  }

  /** Reads the object at the tokenizer's position as an entity of the kind; returns its entity id. */
  entity(code: number): number {
    const t = this.tokenizer
    const trie = this.tries[code]!
    const from = t.p
    const to = t.o
    const remarks = this.remarks.count
    const pending = this.pending.id.length
    const fragments = this.fragmentStarts.length
    const finished = this.finished.length
    const retry = (): void => {
      t.p = from
      t.o = to
      this.remarks.truncate(remarks)
      this.truncatePending(pending)
      this.finished.length = finished
      this.fragmentStarts.length = fragments
      this.fragmentEnds.length = fragments
      this.batch.rows[code]!.wipe()
    }
    if (t.depth >= t.maxDepth) t.fail("too-deep")
    const depth = t.depth
    let root = trie.root
    let contested = false
    for (;;) {
      try {
        let forced: Forced
        if (contested) {
          this.opaque("")
          const path = root === trie.root ? trie.compiled.root : trie.compiled.wrapperRoot
          forced = decideColumns(trie.compiled, path, t.output, to)
          retry()
        }
        t.depth = depth + 1
        const id = this.walk(trie, root, forced, from, to)
        t.depth = depth
        return id
      } catch (problem) {
        retry()
        t.depth = depth
        if (problem === WRAPPER) {
          root = trie.wrapperRoot
          contested = false
        } else if (problem === CONTESTED) contested = true
        else throw problem
      }
    }
  }

  /** `from` is where the entity starts in the input, `start` where its text starts in the output. */
  private walk(trie: ShapeTrie, root: TrieNode, forced: Forced, from: number, start: number): number {
    const t = this.tokenizer
    const leaves = this.leaves
    const code = trie.compiled.kind.code
    const rows = this.batch.rows[code]!
    rows.open()
    const row = rows.count
    const columns = rows.columns
    const codecs = trie.compiled.codecs
    const firstPending = this.pending.id.length
    const firstFragment = this.fragmentStarts.length
    let collection = 0
    let sequence = 0
    /** Labels so far but those of fragments that may be part of a run. */
    let labels = 0
    let memberStart = 0
    this.runEnd = -1
    let node = root
    t.output[t.o++] = 123
    t.p++
    while (node.frame !== undefined) {
      let slot: Slot
      let c = t.peek()
      if (node.frame.array) {
        if (c === 93) {
          t.output[t.o++] = c
          t.p++
          t.depth--
          node = this.close(trie, node, labels)
          continue
        }
        if (!node.first) {
          if (c !== 44) t.fail("unexpected-byte")
          t.output[t.o++] = c
          t.p++
          c = t.peek()
        }
        const path = node.frame.path!
        const chosen = chooseElement(path, node.index, node.matched, c === 123 ? () => this.preview() : undefined)
        if (chosen === undefined) {
          node = this.run(trie, node)
          continue
        }
        slot = trie.slotOfElement(node, chosen.path, chosen.chosen, chosen.matched)
      } else {
        if (c === 125) {
          t.output[t.o++] = c
          t.p++
          node = this.close(trie, node, labels)
          if (node.frame !== undefined) t.depth--
          continue
        }
        if (!node.first) {
          if (c !== 44) t.fail("unexpected-byte")
          t.output[t.o++] = c
          t.p++
          c = t.peek()
        }
        if (c !== 34) t.fail("unexpected-byte")
        memberStart = t.o
        if (node.folded) {
          node = this.unmapped(trie, node)
          if (t.o > memberStart) continue
        }
        const keyAt = t.base + t.p
        slot = this.key(trie, node)
        if (slot.duplicate) this.remarks.add("duplicate-key", slot.pointer, keyAt)
        if (t.peek() !== 58) t.fail("unexpected-byte")
        t.output[t.o++] = 58
        t.p++
        c = t.peek()
      }

      // A value is due at `slot`; `c` is its first byte.
      const container = c === 123 || c === 91
      const child = slot.path?.child
      if (child !== undefined && container && collection < MAX_COLLECTIONS) {
        node = this.children(trie, slot, child, c, collection++)
        labels++
        continue
      }
      let takes: Takes
      if (forced !== undefined) {
        takes = slot.mapped ? trie.forcedTakes(slot, forced.get(sequence++) ?? NO_COLUMNS, container) : slot.scalar
      } else {
        if (slot.supersedes) throw CONTESTED
        takes = container ? slot.container : slot.scalar
        if (slot.mapped && c !== 110) {
          if (container ? slot.containerContested : slot.scalarContested) throw CONTESTED
          if (this.guarded(container ? slot.containerGuards : slot.scalarGuards, columns, row)) throw CONTESTED
        }
      }
      if (slot.maybeWrapper && c === 123 && this.isWrapper(start)) throw WRAPPER

      const at = t.o
      const offset = t.base + t.p
      const mayRun = node.folded && !slot.frame.array
      if (container && slot.branch) {
        if (t.depth >= t.maxDepth) t.fail("too-deep")
        const fragments = this.fragmentStarts.length
        const before = mayRun ? { node, start: memberStart, runEnd: this.runEnd, fragments, labels } : undefined
        if (takes.columns.length > 0) {
          this.copyContainer(slot, takes, columns, row)
          labels++
        }
        t.depth++
        t.output[t.o++] = c
        t.p++
        node = trie.open(slot, c === 91, takes, before)
        continue
      }
      if (takes.columns.length === 0) {
        this.opaque(slot.pointer)
        if (slot.mapped && !container && t.output[at] !== 110) this.remarks.add("path-superseded", slot.pointer, offset)
        if (mayRun) node = this.member(trie, node, memberStart)
        else {
          this.fragment(at, t.o)
          node = trie.afterOpaque(slot)
        }
        continue
      }
      labels++
      if (c === 110) {
        t.scalar()
        node = trie.afterExact(slot, takes, 0, takes.exact.length > 0 ? 0 : -1)
        continue
      }
      const home = takes.columns[0]!
      const codec = codecs[home]!
      t.flags = 0
      if (container) this.opaque(slot.pointer)
      else if (c === 34) t.string()
      else t.scalar()
      const cells = columns[home]!
      const verdict = leaves.read(codec, cells, row, at, t.o, c)
      for (let i = 1; i < takes.columns.length; i++) {
        const copy = takes.columns[i]!
        leaves.read(codecs[copy]!, columns[copy]!, row, at, t.o, c)
      }
      if (verdict >= 0) {
        const styles = takes.styles
        let known = -1
        if (styles.length > 0) {
          if (styles[0] === verdict) known = 0
          else known = this.alike(codec, styles, verdict, at)
        }
        node = known >= 0 ? takes.exact[known]! : trie.afterExact(slot, takes, verdict, -1)
      } else {
        const reason = reasonOf(verdict)
        this.fragment(at, t.o)
        this.remarks.add(reason, slot.pointer, offset)
        const isFine = reason === "time-too-fine"
        node = trie.afterInexact(
          slot,
          takes,
          reason === "time-with-offset" ? "o" : isFine && isUtc(t.output, t.o) ? "z" : ""
        )
      }
    }
    this.checkSize(from)
    return this.finish(node, rows, start, firstPending, firstFragment, code)
  }

  /** Takes the finished entity in: dedupes, links its children, closes its row. */
  private finish(
    node: TrieNode,
    rows: EntityRows,
    start: number,
    firstPending: number,
    firstFragment: number,
    code: number
  ): number {
    const index = this.indexes[code]!
    const firstNew = index.nextId
    const id = this.idOf(index, rows, start)
    if (id >= firstNew) {
      const shapeId = this.shapeOf(node, code)
      rows.shapes[rows.count] = shapeId
      this.setExtra(rows, firstFragment, shapeId === 0 ? node.template : undefined)
      this.finishRow(rows, id)
      const { collection, id: childId, kind, ordinal, place } = this.pending
      for (let i = firstPending; i < childId.length; i++) {
        this.batch.links.push(
          code,
          id,
          collection.values[i]!,
          ordinal.values[i]!,
          place.values[i]!,
          kind.values[i]!,
          childId.values[i]!
        )
      }
    } else rows.wipe()
    this.finished.push(code)
    this.truncatePending(firstPending)
    this.fragmentStarts.length = firstFragment
    this.fragmentEnds.length = firstFragment
    return id
  }

  private shapeOf(node: TrieNode, code: number): number {
    if (node.folded) return 0
    if (node.shapeId === 0 || node.shapeEpoch !== this.shapes.epoch) {
      node.shapeId = this.shapes.idOf(code, node.template, [...new Set(node.filled)].join(","))
      node.shapeEpoch = this.shapes.epoch
    }
    return node.shapeId
  }

  private finishRow(rows: EntityRows, id: number): void {
    rows.digests.set(this.words, rows.count * 4)
    if (rows.count === 0) rows.firstId = id
    rows.count++
  }

  private setExtra(rows: EntityRows, first: number, template: string | undefined): void {
    const count = this.fragmentStarts.length - first
    if (template === undefined && count === 0) return
    if (template === undefined && count === 1) {
      const at = this.fragmentStarts.values[first]!
      rows.extra.setText(rows.count, at, this.fragmentEnds.values[first]! - at)
      return
    }
    const aux = this.batch.aux
    const output = this.tokenizer.output
    const offset = aux.length
    if (template !== undefined) aux.text(template)
    for (let i = first; i < this.fragmentStarts.length; i++) {
      const from = this.fragmentStarts.values[i]!
      const to = this.fragmentEnds.values[i]!
      aux.reserve(to - from + 1)
      if (aux.length > offset) aux.bytes[aux.length++] = 10
      if (to - from > 48) {
        aux.bytes.set(output.subarray(from, to), aux.length)
        aux.length += to - from
      } else for (let j = from; j < to; j++) aux.bytes[aux.length++] = output[j]!
    }
    rows.extra.setText(rows.count, offset + AUX, aux.length - offset)
  }

  private fragment(start: number, end: number): void {
    this.fragmentStarts.push(start)
    this.fragmentEnds.push(end)
  }

  /** Members of a folded entity that no path reaches, from the key at `p` on, as one fragment; there may be none. */
  private unmapped(trie: ShapeTrie, node: TrieNode): TrieNode {
    const t = this.tokenizer
    const { pointer } = node.frame!
    const { hashes, named, unmapped } = trie.ownKeys(node)
    const reached = trie.reachedHashes(node)
    const start = t.o
    let { o, p } = t
    for (;;) {
      const offset = t.base + t.p
      const at = t.o
      if (t.peek() !== 34) t.fail("unexpected-byte")
      t.string()
      const { escaped } = t
      const hash = hashKey(t.output, at, t.o)
      // Of most keys the text is not needed, and to make one takes longer than all else.
      let isRepeated = false
      if (reached.has(hash) || hashes.has(hash)) {
        const { key } = this.keyText(at, t.o, escaped)
        if (trie.reaches(node, key)) break
        isRepeated = named.has(key)
      }
      isRepeated ||= unmapped.add(t.output, at, t.o, hash)
      const end = t.o
      if (isRepeated)
        this.remarks.add("duplicate-key", pointer + pointerToken(this.keyText(at, end, escaped).key), offset)
      if (t.peek() !== 58) t.fail("unexpected-byte")
      t.output[t.o++] = 58
      t.p++
      const c = t.peek()
      const isContainer = c === 123 || c === 91
      this.opaque(isContainer ? pointer + pointerToken(this.keyText(at, end, escaped).key) : "")
      ;({ o, p } = t)
      if (t.peek() !== 44) break
      t.output[t.o++] = 44
      t.p++
      t.peek()
    }
    t.p = p
    t.o = o
    return o === start ? node : this.member(trie, node, start)
  }

  /** A member of a folded entity, or several, written since `start`: they go on with the run before them or start one. */
  private member(trie: ShapeTrie, node: TrieNode, start: number): TrieNode {
    const { o } = this.tokenizer
    const goesOn = !node.first && this.runEnd === start - 1
    this.runEnd = o
    if (goesOn) {
      this.fragmentEnds.values[this.fragmentEnds.length - 1] = o
      return node
    }
    this.fragment(start, o)
    return trie.afterMembers(node)
  }

  /** After a container. One that turns out to hold no label is a member like others that take no column. */
  private close(trie: ShapeTrie, node: TrieNode, labels: number): TrieNode {
    const before = node.frame!.before
    if (before === undefined || before.labels !== labels) return trie.afterClose(node)
    this.fragmentStarts.length = before.fragments
    this.fragmentEnds.length = before.fragments
    this.runEnd = before.runEnd
    return this.member(trie, before.node, before.start)
  }

  /** Elements that no path reaches, as one fragment. */
  private run(trie: ShapeTrie, node: TrieNode): TrieNode {
    const t = this.tokenizer
    const path = node.frame!.path!
    const start = t.o
    let index = node.index
    let goesOn = false
    for (;;) {
      this.opaque(`${node.frame!.pointer}/${index}`)
      index++
      if (t.peek() !== 44) break
      if (mayChoose(path, index, node.matched)) {
        // Look at the next element before its comma is taken into the run.
        const comma = t.p
        t.p++
        const c = t.peek()
        const chosen = chooseElement(path, index, node.matched, c === 123 ? () => this.preview() : undefined)
        t.p = comma
        if (chosen !== undefined) {
          goesOn = true
          break
        }
      }
      t.output[t.o++] = 44
      t.p++
      t.peek()
    }
    this.fragment(start, t.o)
    // Where the array ends after the run, its length matters no more.
    return trie.afterRun(node, goesOn ? index : 0)
  }

  /** The compact text of the value at `p`, read ahead; position and output are as before. */
  private preview(): { readonly bytes: Uint8Array; readonly start: number } {
    const t = this.tokenizer
    const p = t.p
    const start = t.o
    const remarks = this.remarks.count
    this.opaque("")
    t.p = p
    t.o = start
    this.remarks.truncate(remarks)
    return { bytes: t.output, start }
  }

  private isWrapper(start: number): boolean {
    const t = this.tokenizer
    const p = t.p
    const o = t.o
    const remarks = this.remarks.count
    // The rest of the entity, from this value on, is read as text behind what is written already.
    this.opaque("")
    for (;;) {
      const c = t.peek()
      t.output[t.o++] = c
      t.p++
      if (c === 125) break
      if (c !== 44) t.fail("unexpected-byte", t.p - 1)
      if (t.peek() !== 34) t.fail("unexpected-byte")
      t.string()
      if (t.peek() !== 58) t.fail("unexpected-byte")
      t.output[t.o++] = 58
      t.p++
      t.peek()
      this.opaque("")
    }
    const wrapper = isWrapper(t.output, start)
    t.p = p
    t.o = o
    this.remarks.truncate(remarks)
    return wrapper
  }

  private guarded(guards: ReadonlyArray<number>, columns: ReadonlyArray<Cells>, row: number): boolean {
    for (const home of guards) if (columns[home]!.valid[row] === 0) return true
    return false
  }

  /** Reads the key at `p` and finds its slot. */
  private key(trie: ShapeTrie, node: TrieNode): Slot {
    const t = this.tokenizer
    if (node.edgeMap === undefined) {
      const edges = node.edges
      for (let e = 0; e < edges.length; e++) {
        const edge = edges[e]!
        if (this.matches(edge)) return edge.slot
      }
    }
    const start = t.o
    t.string()
    const bytes = t.output.subarray(start, t.o)
    if (node.edgeMap !== undefined) {
      const edge = node.edgeMap.get(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1"))
      if (edge !== undefined) return edge.slot
    } else if (t.escaped || node.edges.length > 0) {
      // A key may be spelt with escapes; its compact form decides.
      const found = node.edges.find((edge) => Buffer.compare(edge.bytes, bytes) === 0)
      if (found !== undefined) return found.slot
    }
    const { key, text } = this.keyText(start, t.o, t.escaped)
    return trie.slotOfKey(node, text, bytes, key)
  }

  /** The key that was written between `start` and `end`: its value, and its compact text. */
  private keyText(start: number, end: number, escaped: boolean): { readonly key: string; readonly text: string } {
    const text = slice(this.tokenizer.output, start, end)
    return { text, key: escaped ? String(JSON.parse(text)) : text.slice(1, -1) }
  }

  /** Compares the key at `p` with an edge's and takes it when they are the same bytes. */
  private matches(edge: KeyEdge): boolean {
    const t = this.tokenizer
    const { input, output, p, o } = t
    const bytes = edge.bytes
    const length = bytes.length
    // Keys that differ often do so at their ends alone.
    if (input[p + length - 2] !== bytes[length - 2]) return false
    for (let i = 0; i < length; i++) {
      const c = bytes[i]!
      if (input[p + i] !== c) return false
      output[o + i] = c
    }
    t.p = p + length
    t.o = o + length
    return true
  }

  private children(trie: ShapeTrie, slot: Slot, child: CompiledKind, c: number, collection: number): TrieNode {
    const t = this.tokenizer
    const code = child.kind.code
    if (c === 123) {
      const place = this.batch.links.placeOf(slot.pointer, false)
      this.child(code, slot.pointer, collection, 0, place)
      return trie.afterCollection(slot, false)
    }
    if (t.depth >= t.maxDepth) t.fail("too-deep")
    t.depth++
    t.output[t.o++] = 91
    t.p++
    if (t.peek() !== 93) {
      const place = this.batch.links.placeOf(slot.pointer, true)
      const first = t.p
      for (let ordinal = 0; ; ordinal++) {
        if (ordinal === MAX_CHILDREN) throw new JsonProblem("too-large", t.base + first)
        this.child(t.peek() === 123 ? code : 0, `${slot.pointer}/${ordinal}`, collection, ordinal, place)
        if (t.peek() !== 44) break
        t.output[t.o++] = 44
        t.p++
      }
      if (t.peek() !== 93) t.fail("unexpected-byte")
    }
    t.output[t.o++] = 93
    t.p++
    t.depth--
    return trie.afterCollection(slot, true)
  }

  private child(code: number, pointer: string, collection: number, ordinal: number, place: number): void {
    const remarks = this.remarks.count
    const id = code === 0 ? this.json("") : this.entity(code)
    this.remarks.prefix(remarks, pointer)
    this.pending.collection.push(collection)
    this.pending.ordinal.push(ordinal)
    this.pending.place.push(place)
    this.pending.kind.push(code)
    this.pending.id.push(id)
  }

  private truncatePending(count: number): void {
    const { collection, id, kind, ordinal, place } = this.pending
    collection.length = count
    ordinal.length = count
    place.length = count
    kind.length = count
    id.length = count
  }

  /** Copies a container into JSON columns whose path it is, though its leaves stand in columns of their own. */
  private copyContainer(slot: Slot, takes: Takes, columns: ReadonlyArray<Cells>, row: number): void {
    const t = this.tokenizer
    t.flags = 0
    const p = t.p
    const start = t.o
    const remarks = this.remarks.count
    this.opaque(slot.pointer)
    const length = t.o - start
    if ((t.flags & (LONE_SURROGATE | PYTHON_TOKEN)) === 0) {
      const aux = this.batch.aux
      aux.reserve(length)
      aux.bytes.set(t.output.subarray(start, t.o), aux.length)
      for (const column of takes.columns) columns[column]!.setText(row, aux.length + AUX, length)
      aux.length += length
    }
    t.p = p
    t.o = start
    this.remarks.truncate(remarks)
  }

  /** A style that this place has had before and that spells the number the same. */
  private alike(codec: ColumnCodec, styles: ReadonlyArray<number>, style: number, start: number): number {
    if (codec.class !== "number") return styles.indexOf(style)
    const { output, o } = this.tokenizer
    let fraction = 0
    for (let i = start; i < o; i++) {
      if (output[i] !== 46) continue
      fraction = o - i - 1 - (output[o - 1] === 34 ? 1 : 0)
      break
    }
    for (let i = 0; i < styles.length; i++) if (rendersAlike(style, styles[i]!, fraction)) return i
    return -1
  }

  /** The id of the entity whose text starts at `start` and has just been read: of one that is new, the next row's. */
  private idOf(index: EntityIndex, rows: EntityRows, start: number): number {
    const { o, output } = this.tokenizer
    if (this.leavesDigests && o - start >= LEAST_UNDIGESTED) {
      rows.undigested.push(rows.count)
      rows.undigested.push(start)
      rows.undigested.push(o - start)
      return index.skip()
    }
    putDigest(this.words, 0, output.subarray(start, o))
    return index.idOf(this.words)
  }

  private checkSize(from: number): void {
    if (this.tokenizer.p - from > this.maxEntityBytes) this.tokenizer.fail("too-large", from)
  }
}

/** Whether the quoted time that ends at `end` ends in `Z` or `+00:00`. */
const isUtc = (bytes: Uint8Array, end: number): boolean => bytes[end - 2] === 90 || bytes[end - 7] === 43
