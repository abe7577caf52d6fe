/**
 * Reads a whole document: what rules recognise becomes entities, everything else becomes literal text of the document's
 * template. Reading is a generator that pauses when it wants more input, so that files of any size pass through one
 * window and the caller can write, report and stop in between.
 */
import { isUtf8 } from "node:buffer"
import { createHash, type Hash } from "node:crypto"
import { type Collection, memberPointer } from "./Collection.ts"
import { eachMember, pointerToken, slice, stringValue } from "./internal/Compact.ts"
import type { EntityReader } from "./internal/EntityReader.ts"
import { hashKey } from "./internal/KeySet.ts"
import { Remarks } from "./internal/Remarks.ts"
import { LABEL } from "./internal/ShapeTrie.ts"
import { NEED_INPUT } from "./internal/Tokenizer.ts"
import { invalidUtf8At, JsonProblem } from "./JsonProblem.ts"
import { type Look, lookAt } from "./Lookahead.ts"
import { MemberRows } from "./MemberRows.ts"
import { type ForeignShapes, type PackedBatch, unpackBatch } from "./PackedBatch.ts"
import type { ValueRemark } from "./Remark.ts"

/** The code of a kind (0: elements of no known kind), or how each object says its own, whatever the order of its keys. */
export type KindChoice = number | ((look: Look) => number)

/** What stands at a key of a document. */
export type Rule =
  /**
   * Entities of a kind: an array of them, or a single object. `objectHas`: a single object counts only when it has one of
   * these keys. `arrays` false: only a single object counts.
   */
  | {
      readonly tag: "entities"
      readonly kind: KindChoice
      readonly objectHas?: ReadonlyArray<string>
      readonly arrays?: boolean
      readonly objects?: boolean
    }
  /** An object whose own keys have rules. With `when`, only if it has one of these keys; else `otherwise` applies. */
  | { readonly tag: "object"; readonly rules: Rules; readonly when?: ReadonlyArray<string>; readonly otherwise?: Rule }
  /** An array whose elements each have the rule. */
  | { readonly tag: "each"; readonly rule: Rule }
  /** An object whose rule depends on what it says; an array holds entities if `elements` tells their kind. */
  | { readonly tag: "choose"; readonly rule: (look: Look) => Rule | undefined; readonly elements?: KindChoice }
  /** Text whose value the caller wants to know. */
  | { readonly tag: "capture" }

/** The rule for a key, undefined where everything is literal. */
export type Rules = (key: string) => Rule | undefined

/** How a document is to be read. */
export type DocumentRules =
  /** By the keys of the root object. */
  | { readonly tag: "keys"; readonly rules: Rules; readonly array: KindChoice | undefined }
  /** The root object as a whole is one entity. */
  | { readonly tag: "entity"; readonly kind: KindChoice }
  /**
   * NDJSON of entities: one value per line, each an entity. The compact text is that of the values, joined by line feeds;
   * pointers are as in an array of them.
   */
  | { readonly tag: "lines"; readonly kind: KindChoice }
  /**
   * NDJSON of documents, each read by the rule, their compact texts joined by line feeds. The pointers of several are as
   * in an array of them; those of a single one as without the file's being NDJSON.
   */
  | { readonly tag: "documents"; readonly rule: Rule }

/** What has been read of a document and waits to be written: it grows as the reading goes on. */
export interface DocumentRows {
  readonly members: MemberRows
  /** Pieces of the document's template. */
  readonly pieces: Array<string>
  readonly collections: Array<Collection>
}

/** What is known of a document once it is read. */
export interface DocumentResult {
  /** SHA-256 of the compact text, lower-case hex. */
  readonly digest: string
  /** Bytes of the compact text. */
  readonly bytes: number
  /** The first 65,536 of its collections: enough to tell what it is. */
  readonly collections: ReadonlyArray<Collection>
  /** How many entities of each kind code, members and nested ones. */
  readonly counts: ReadonlyArray<number>
  /** Compact texts at captured pointers; of duplicate keys the last. */
  readonly captures: ReadonlyMap<string, string>
  /** Keys of the root object in order, the first 131,072; undefined for an array and for several documents. */
  readonly rootKeys: ReadonlyArray<string> | undefined
  readonly remarks: ReadonlyArray<ValueRemark>
  /** How many remarks there were; more than `remarks` holds when there were very many. */
  readonly remarkCount: number
}

/**
 * Why a reading pauses. `input`: the window is used up; keep what lies from `p` on, append more, and move `base` along.
 * `progress`: a good deal has been read; only now may the caller write and empty the batch (`settle`, then `rebase`).
 */
export type Pause = "input" | "progress"

/**
 * Longest literal text of one piece, in UTF-16 units. DuckDB decompresses 2048 rows at once, however many of them are
 * asked for: those of longer pieces would not fit in its memory.
 */
export const MAX_PIECE = 1 << 14
const LF = 10
/** No byte: the window ends here. */
const ENDS = -1
/** Keys remembered per object: of the root for the caller, of all to find duplicates. */
const MAX_KEYS = 1 << 17
const PROGRESS_BYTES = 2 << 20
const MAX_CAPTURE = 1 << 16
/** Collections that are kept to tell what a document is. */
const MAX_KNOWN_COLLECTIONS = 1 << 16
/** Values larger than a window are read by nested generators down to this depth; deeper ones must fit in memory. */
const MAX_NESTED_READERS = 200

export class DocumentReader {
  readonly entities: EntityReader
  /** What has been read since the caller last took or emptied it. */
  rows: DocumentRows = emptyRows()
  private hash: Hash = createHash("sha256")
  private hashed = 0
  private bytes = 0
  private literalFrom = 0
  private literal = ""
  /** Whether what is being written belongs to a collection's entities, not to the template. */
  private inCollection = false
  /** The collections of the first of several documents, whose pointers are not known before there is a second. */
  private unsettled: Array<Collection> | undefined
  private last: Collection | undefined
  private knownCollections: Array<Collection> = []
  private collectionCount = 0
  private captures = new Map<string, string>()
  private rootKeys: Array<string> | undefined
  private capturing = true
  private remarks = new Remarks()
  private counts: Array<number> = []
  private reported = 0

  constructor(entities: EntityReader) {
    this.entities = entities
  }

  /**
   * Reads the document that the tokenizer's window starts with. Throws `JsonProblem` for what is no document; the batch
   * then holds whole entities at most and is to be taken back by the caller.
   */
  *read(rules: DocumentRules): Generator<Pause, DocumentResult> {
    const t = this.entities.tokenizer
    this.start()
    t.reserve()
    const c = yield* this.next()
    yield* this.checkDocument(c)
    this.literalFrom = t.o
    this.hashed = t.o
    if (rules.tag === "lines") yield* this.lines(rules.kind)
    else if (rules.tag === "documents") yield* this.documents(rules.rule)
    else if (c === 91) {
      if (rules.tag === "keys" && rules.array !== undefined) yield* this.list(rules.array, "")
      else yield* this.literalValue("")
    } else if (rules.tag === "entity") yield* this.one(rules.kind, "")
    else {
      this.rootKeys = []
      yield* this.object(rules.rules, "", true)
    }
    this.settleCollections((collection) => collection)
    while (t.peek() === 0 && t.p >= t.end && !t.last) yield "input"
    if (t.p < t.end) t.fail("trailing-content")
    this.endLiteral()
    this.flushPiece(true)
    this.settle()
    return {
      digest: this.hash.digest("hex"),
      bytes: this.bytes,
      collections: this.knownCollections,
      counts: this.counts,
      captures: this.captures,
      rootKeys: this.rootKeys,
      remarks: this.remarks.list,
      remarkCount: this.remarks.count
    }
  }

  /**
   * Reads a document that is in memory as a whole, UTF-8 without byte order mark. Throws `JsonProblem`; the batch is then
   * to be taken back to a mark.
   */
  readBytes(bytes: Uint8Array, rules: DocumentRules): DocumentResult {
    if (!isUtf8(bytes)) throw new JsonProblem("invalid-utf8", invalidUtf8At(bytes))
    const t = this.entities.tokenizer
    const window = new Uint8Array(bytes.length + 1)
    window.set(bytes)
    t.input = window
    t.p = 0
    t.end = bytes.length
    t.base = 0
    t.last = true
    const reading = this.read(rules)
    for (;;) {
      const step = reading.next()
      if (step.done === true) return step.value
    }
  }

  /** Gives the caller what has been read since the last time. */
  takeRows(): DocumentRows {
    const { rows } = this
    this.rows = emptyRows()
    return rows
  }

  /** Hashes what has been written and lets the caller reuse the heap: call before the tokenizer's output is emptied. */
  settle(): void {
    const t = this.entities.tokenizer
    if (t.o > this.hashed) {
      this.hash.update(t.output.subarray(this.hashed, t.o))
      this.bytes += t.o - this.hashed
    }
    this.endLiteral()
    this.hashed = t.o
  }

  /** After the tokenizer's output was emptied. */
  rebase(): void {
    this.hashed = this.entities.tokenizer.o
    this.literalFrom = this.entities.tokenizer.o
  }

  /**
   * Takes over what another reader has read, a document or a part of one, as if it had been read here, but adds its members
   * to those given. False when there are too many shapes: then take the batch back to a mark and read it here. Not to be
   * called while a document is being read.
   */
  take(packed: PackedBatch, foreign: ForeignShapes, members: MemberRows): boolean {
    const fits = unpackBatch(packed, this.entities, foreign, members)
    // Its text has been hashed there.
    this.rebase()
    return fits
  }

  private start(): void {
    const { members } = this.rows
    members.count = 0
    this.rows = { members, pieces: [], collections: [] }
    this.hash = createHash("sha256")
    this.bytes = 0
    this.literal = ""
    this.inCollection = false
    this.unsettled = undefined
    this.last = undefined
    this.knownCollections = []
    this.collectionCount = 0
    this.captures = new Map()
    this.rootKeys = undefined
    this.capturing = true
    this.remarks = new Remarks()
    this.counts = []
    this.reported = 0
    this.entities.remarks.truncate(0)
    this.entities.finished.length = 0
    this.entities.tokenizer.depth = 0
  }

  /** A file that holds one scalar is no document, but a broken one gets the more precise word. */
  private *checkDocument(c: number): Generator<Pause, void> {
    if (c === 123 || c === 91) return
    const t = this.entities.tokenizer
    const offset = t.base + t.p
    yield* this.retry(() => t.value())
    throw new JsonProblem("not-a-document", offset)
  }

  /** Asks the object that starts here; what it says may lie beyond the window. Objects too large say nothing. */
  private *asked<A>(ask: (look: Look) => A): Generator<Pause, A> {
    const t = this.entities.tokenizer
    for (;;) {
      let isCut = false
      const answer = ask(
        lookAt(t.input, t.p, t.end, () => {
          isCut = true
        })
      )
      if (!isCut || t.last || t.end - t.p > this.entities.maxEntityBytes) return answer
      yield "input"
      t.reserve()
    }
  }

  /** The kind of the value that starts with `c`. */
  private *kindOf(kind: KindChoice, c: number): Generator<Pause, number> {
    if (c !== 123) return 0
    return typeof kind === "number" ? kind : yield* this.asked(kind)
  }

  /** Passes the space after a document of several; says whether another follows, which must start on a new line. */
  private *another(): Generator<Pause, boolean> {
    const t = this.entities.tokenizer
    let newLine = false
    for (;;) {
      const from = t.p
      const c = t.peek()
      newLine ||= t.input.subarray(from, t.p).includes(LF)
      if (t.p < t.end) {
        if (!newLine) t.fail("trailing-content")
        yield* this.checkDocument(c)
        t.output[t.o++] = LF
        return true
      }
      if (t.last) return false
      yield "input"
      t.reserve()
    }
  }

  private *lines(kind: KindChoice): Generator<Pause, void> {
    this.label("lines")
    const collection = this.addCollection("", true)
    for (let ordinal = 0; ; ordinal++) {
      const code = yield* this.kindOf(kind, yield* this.next())
      yield* this.member(code, collection, ordinal, "", true)
      yield* this.progress()
      if (!(yield* this.another())) break
    }
    this.skipLiteral()
  }

  private *documents(rule: Rule): Generator<Pause, void> {
    this.unsettled = []
    for (let index = 0; ; index++) {
      if (index === 1) {
        // Until now it may have been the only one.
        this.settleCollections((collection) => ({ ...collection, pointer: `/0${collection.pointer}` }))
        this.remarks.prefix(0, "/0")
        this.captures.clear()
        this.rootKeys = undefined
        this.capturing = false
      }
      const c = yield* this.next()
      if (index === 0 && c === 123) this.rootKeys = []
      yield* this.ruled(rule, index === 0 ? "" : `/${index}`, c)
      yield* this.progress()
      if (!(yield* this.another())) return
    }
  }

  /** Runs a step that reads at least one token; when the window ends inside it, waits for input and runs it again. */
  private *retry<A>(step: () => A): Generator<Pause, A> {
    const t = this.entities.tokenizer
    for (;;) {
      const p = t.p
      const o = t.o
      const depth = t.depth
      const remarks = this.entities.remarks.count
      try {
        return step()
      } catch (problem) {
        if (problem !== NEED_INPUT) throw problem
        t.p = p
        t.o = o
        t.depth = depth
        this.entities.remarks.truncate(remarks)
        this.checkSize(p)
      }
      yield "input"
      t.reserve()
    }
  }

  /** What starts at `p` is not at its end where the window ends. */
  private checkSize(p: number): void {
    const t = this.entities.tokenizer
    if (t.end - p > this.entities.maxEntityBytes) throw new JsonProblem("too-large", t.base + p)
  }

  private *progress(): Generator<Pause, void> {
    const t = this.entities.tokenizer
    if (!this.isTimeToReport()) return
    this.reported = t.base + t.p
    yield "progress"
    t.reserve()
  }

  private isTimeToReport(): boolean {
    const t = this.entities.tokenizer
    return t.base + t.p - this.reported >= PROGRESS_BYTES
  }

  /** The next byte that is no white space, waiting for input at the end of the window. */
  private *next(): Generator<Pause, number> {
    for (;;) {
      const c = this.nextHere()
      if (c !== ENDS) return c
      yield "input"
      this.entities.tokenizer.reserve()
    }
  }

  /** The next byte that is no white space; `ENDS` at the end of the window. */
  private nextHere(): number {
    const t = this.entities.tokenizer
    const c = t.peek()
    return c !== 0 || t.p < t.end || t.last ? c : ENDS
  }

  private byte(c: number): void {
    const t = this.entities.tokenizer
    t.output[t.o++] = c
    t.p++
  }

  private *object(rules: Rules, pointer: string, root: boolean): Generator<Pause, void> {
    const t = this.entities.tokenizer
    const seen = new Set<string>()
    /** Their hashes: it takes far longer to look for a text among many. */
    const hashes = new Set<number>()
    if (t.depth >= t.maxDepth) t.fail("too-deep")
    t.depth++
    this.byte(123)
    let c = yield* this.next()
    if (c !== 125) {
      for (;;) {
        if (c !== 34) t.fail("unexpected-byte")
        const offset = t.base + t.p
        const start = t.o
        yield* this.retry(() => t.string())
        const key = stringValue(t.output, start, t.o)
        const here = pointer + pointerToken(key)
        const hash = hashKey(t.output, start, t.o)
        if (hashes.has(hash) && seen.has(key)) this.remarks.add("duplicate-key", here, offset)
        else if (seen.size < MAX_KEYS) {
          seen.add(key)
          hashes.add(hash)
        }
        if (root && this.rootKeys!.length < MAX_KEYS) this.rootKeys!.push(key)
        if ((yield* this.next()) !== 58) t.fail("unexpected-byte")
        this.byte(58)
        c = yield* this.next()
        yield* this.ruled(rules(key), here, c)
        yield* this.progress()
        c = yield* this.next()
        if (c !== 44) break
        this.byte(44)
        c = yield* this.next()
      }
      if (c !== 125) t.fail("unexpected-byte")
    }
    this.byte(125)
    t.depth--
  }

  private *ruled(rule: Rule | undefined, pointer: string, c: number): Generator<Pause, void> {
    const container = c === 123 || c === 91
    if (rule?.tag === "capture")
      return this.capturing ? yield* this.captured(pointer) : yield* this.literalValue(pointer)
    if (rule === undefined || !container) return yield* this.literalValue(pointer)
    if (rule.tag === "object") {
      if (c === 123 && (rule.when === undefined || (yield* this.has(rule.when))))
        return yield* this.object(rule.rules, pointer, pointer === "" && this.capturing)
      return yield* this.ruled(rule.otherwise, pointer, c)
    }
    if (rule.tag === "choose") {
      if (c === 123) return yield* this.ruled(yield* this.asked(rule.rule), pointer, c)
      return rule.elements === undefined ? yield* this.literalValue(pointer) : yield* this.list(rule.elements, pointer)
    }
    if (rule.tag === "each") return c === 91 ? yield* this.each(rule.rule, pointer) : yield* this.literalValue(pointer)
    if (c === 91) {
      if (rule.arrays === false) return yield* this.literalValue(pointer)
      return yield* this.list(rule.kind, pointer)
    }
    if (rule.objects === false || (rule.objectHas !== undefined && !(yield* this.has(rule.objectHas))))
      return yield* this.literalValue(pointer)
    return yield* this.one(rule.kind, pointer)
  }

  /** An array whose brackets and commas are text of the document. */
  private *each(rule: Rule | undefined, pointer: string): Generator<Pause, void> {
    const t = this.entities.tokenizer
    if (t.depth >= t.maxDepth) t.fail("too-deep")
    t.depth++
    this.byte(91)
    let c = yield* this.next()
    if (c !== 93) {
      for (let index = 0; ; index++) {
        yield* this.ruled(rule, `${pointer}/${index}`, c)
        yield* this.progress()
        c = yield* this.next()
        if (c !== 44) break
        this.byte(44)
        c = yield* this.next()
      }
      if (c !== 93) t.fail("unexpected-byte")
    }
    this.byte(93)
    t.depth--
  }

  /** Whether the object that starts here has one of the keys. Objects larger than an entity may be have none. */
  private *has(keys: ReadonlyArray<string>): Generator<Pause, boolean> {
    const e = this.entities
    const t = e.tokenizer
    for (;;) {
      const p = t.p
      const o = t.o
      try {
        t.value()
        if (t.p - p > e.maxEntityBytes) return false
        let found = false
        eachMember(t.output, o, (key) => {
          found ||= keys.includes(key)
        })
        return found
      } catch (problem) {
        if (problem !== NEED_INPUT) throw problem
        if (t.end - p > e.maxEntityBytes) return false
      } finally {
        t.p = p
        t.o = o
        e.remarks.truncate(0)
      }
      yield "input"
      t.reserve()
    }
  }

  private *captured(pointer: string): Generator<Pause, void> {
    const e = this.entities
    const t = e.tokenizer
    this.captures.delete(pointer)
    for (;;) {
      const p = t.p
      const o = t.o
      try {
        e.opaque(pointer)
        if (t.o - o <= MAX_CAPTURE) this.captures.set(pointer, slice(t.output, o, t.o))
        return this.remarks.take(e.remarks, "")
      } catch (problem) {
        if (problem !== NEED_INPUT) throw problem
        const tooLong = t.o - o > MAX_CAPTURE || t.end - p > e.maxEntityBytes
        t.p = p
        t.o = o
        e.remarks.truncate(0)
        if (tooLong) return yield* this.literalValue(pointer)
      }
      yield "input"
      t.reserve()
    }
  }

  /** A value that stays text. Values larger than a window are read token by token. */
  private *literalValue(pointer: string): Generator<Pause, void> {
    const e = this.entities
    const t = e.tokenizer
    const p = t.p
    const o = t.o
    try {
      e.opaque(pointer)
      return this.remarks.take(e.remarks, "")
    } catch (problem) {
      if (problem !== NEED_INPUT) throw problem
      t.p = p
      t.o = o
      e.remarks.truncate(0)
    }
    const c = yield* this.next()
    if (t.depth > MAX_NESTED_READERS || (c !== 123 && c !== 91)) {
      yield* this.retry(() => e.opaque(pointer))
      return this.remarks.take(e.remarks, "")
    }
    if (c === 123) return yield* this.object(() => undefined, pointer, false)
    // Generators nest here, one per level, but only for containers larger than a window.
    return yield* this.each(undefined, pointer)
  }

  private *list(kind: KindChoice, pointer: string): Generator<Pause, void> {
    const t = this.entities.tokenizer
    if (t.depth >= t.maxDepth) t.fail("too-deep")
    this.label("list")
    const collection = this.addCollection(pointer, true)
    this.byte(91)
    t.depth++
    let c = yield* this.next()
    if (c !== 93) {
      for (let ordinal = 0; ; ordinal++) {
        // No generator is made for an element that needs none: that would cost more than reading it.
        const code = typeof kind === "number" ? (c === 123 ? kind : 0) : yield* this.kindOf(kind, c)
        if (!this.memberHere(code, collection, ordinal, pointer, true))
          yield* this.member(code, collection, ordinal, pointer, true)
        if ((c = this.nextHere()) === ENDS) c = yield* this.next()
        if (c !== 44) break
        this.byte(44)
        if ((c = this.nextHere()) === ENDS) c = yield* this.next()
        if (this.isTimeToReport()) yield* this.progress()
      }
      if (c !== 93) t.fail("unexpected-byte")
    }
    this.byte(93)
    t.depth--
    this.skipLiteral()
  }

  /** Its number. */
  private addCollection(pointer: string, list: boolean): number {
    // That of a key which is repeated: one object for all of them.
    const { last } = this
    const collection = last?.pointer === pointer && last.list === list ? last : { pointer, list }
    this.last = collection
    ;(this.unsettled ?? this.rows.collections).push(collection)
    if (this.knownCollections.length < MAX_KNOWN_COLLECTIONS) this.knownCollections.push(collection)
    return this.collectionCount++
  }

  /** The pointers of the first of several documents are known now, as those of all that follow. */
  private settleCollections(settled: (collection: Collection) => Collection): void {
    if (this.unsettled === undefined) return
    for (const collection of this.unsettled) this.rows.collections.push(settled(collection))
    this.knownCollections = this.knownCollections.map(settled)
    this.unsettled = undefined
  }

  private *one(kind: KindChoice, pointer: string): Generator<Pause, void> {
    const code = yield* this.kindOf(kind, 123)
    this.label("one")
    const collection = this.addCollection(pointer, false)
    yield* this.member(code, collection, 0, pointer, false)
    this.skipLiteral()
  }

  private *member(
    kind: number,
    collection: number,
    ordinal: number,
    pointer: string,
    list: boolean
  ): Generator<Pause, void> {
    while (!this.memberHere(kind, collection, ordinal, pointer, list)) {
      yield "input"
      this.entities.tokenizer.reserve()
    }
  }

  /** Reads an element; false, and nothing is read, if the window ends inside it. */
  private memberHere(kind: number, collection: number, ordinal: number, pointer: string, list: boolean): boolean {
    const e = this.entities
    const t = e.tokenizer
    const p = t.p
    const o = t.o
    const depth = t.depth
    try {
      const id = kind === 0 ? e.json("") : e.entity(kind)
      this.rows.members.push(collection, ordinal, kind, id)
    } catch (problem) {
      if (problem !== NEED_INPUT) throw problem
      t.p = p
      t.o = o
      t.depth = depth
      e.remarks.truncate(0)
      e.finished.length = 0
      this.checkSize(p)
      return false
    }
    for (let i = 0; i < e.finished.length; i++) {
      const code = e.finished.values[i]!
      this.counts[code] = (this.counts[code] ?? 0) + 1
    }
    e.finished.length = 0
    if (e.remarks.count > 0) this.remarks.take(e.remarks, memberPointer({ list, pointer }, ordinal))
    return true
  }

  // ---- the document's template

  private label(name: "list" | "one" | "lines"): void {
    this.endLiteral()
    this.literal += LABEL + name + LABEL
    this.inCollection = true
  }

  /** What the collection wrote belongs to its entities, not to the template. */
  private skipLiteral(): void {
    this.inCollection = false
    this.literalFrom = this.entities.tokenizer.o
    this.flushPiece(false)
  }

  private endLiteral(): void {
    const t = this.entities.tokenizer
    if (t.o > this.literalFrom && !this.inCollection) this.literal += slice(t.output, this.literalFrom, t.o)
    this.literalFrom = t.o
    this.flushPiece(false)
  }

  private flushPiece(all: boolean): void {
    while (this.literal.length > MAX_PIECE) {
      const at = cut(this.literal, MAX_PIECE)
      if (at < 0) break
      this.rows.pieces.push(this.literal.slice(0, at))
      this.literal = this.literal.slice(at)
    }
    if (all && this.literal !== "") {
      this.rows.pieces.push(this.literal)
      this.literal = ""
    }
  }
}

const emptyRows = (): DocumentRows => ({ members: new MemberRows(), pieces: [], collections: [] })

/**
 * The place nearest to `limit` that cuts no surrogate pair and leaves no byte order mark at the start of the next piece;
 * -1 when there is none yet.
 */
const cut = (text: string, limit: number): number => {
  let at = limit
  while (at > 0 && !mayCut(text, at)) at--
  if (at > 0) return at
  for (at = limit + 1; at < text.length; at++) if (mayCut(text, at)) return at
  return -1
}

const mayCut = (text: string, at: number): boolean => {
  const unit = text.charCodeAt(at)
  return unit !== 0xfeff && (unit < 0xdc00 || unit > 0xdfff)
}
