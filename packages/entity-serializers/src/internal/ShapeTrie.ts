/**
 * The trie that turns the skeleton of an entity into a template while it is read. A node is a place between two members
 * (or elements); a slot is a place where a value is due. Everything that depends only on what has been read before (the
 * path, the columns still free, the template so far) is worked out once, when a node or slot is made.
 */
import { type ColumnCodec, styleName } from "../Codec.ts"
import { pointerToken } from "./Compact.ts"
import { type CompiledKind, isBranch, type PathNode } from "./PathTree.ts"
import { hashKey, KeySet } from "./KeySet.ts"

/** Marks labels in templates: compact JSON holds no control characters. */
export const LABEL = "\u0001"

/**
 * Past this many unmapped or repeated keys in one object, or characters of a template in all, the template goes into the
 * row: the entity is folded. Its keys may be data, and then no two entities have the same, so its nodes are not kept.
 */
const MAX_UNMAPPED_KEYS = 64
const MAX_TEMPLATE = 1 << 16
/**
 * Past this many nodes and slots (some 150 MB), the tries of a reader stop growing; entities of other skeletons walk on
 * nodes that are not kept, which is slower.
 */
const MAX_NODES = 150_000
/** Past this many keys at one place, they are found through a map. */
const LINEAR_KEYS = 8

/** Who has taken a column so far; the latest claims come first. */
interface Claims {
  readonly column: number
  readonly priority: number
  /** Whether the leaf was certainly not null; otherwise its home cell tells. */
  readonly definite: boolean
  readonly home: number
  readonly earlier: Claims | undefined
}

const claimOn = (claims: Claims | undefined, column: number): Claims | undefined => {
  let claim = claims
  while (claim !== undefined && claim.column !== column) claim = claim.earlier
  return claim
}

interface KeyList {
  readonly key: string
  readonly hash: number
  readonly next: KeyList | undefined
}

/** The keys that an object of a folded entity has so far. */
export interface OwnKeys {
  /** Those from before it was folded, and mapped ones; and their hashes. */
  readonly named: Set<string>
  readonly hashes: Set<number>
  /** The others, of which there may be millions. */
  readonly unmapped: KeySet
}

/** The keys that an object has so far: a list while nodes share it, sets once an entity is folded and on nodes of its own. */
type Keys = KeyList | OwnKeys | undefined

const isOwn = (keys: Keys): keys is OwnKeys => keys !== undefined && "named" in keys

const hasKey = (keys: Keys, key: string): boolean => {
  if (isOwn(keys)) return keys.named.has(key)
  for (let seen = keys; seen !== undefined; seen = seen.next) if (seen.key === key) return true
  return false
}

/** How many nodes and slots the tries of one reader may still keep. */
export interface Budget {
  left: number
}

/** What a reader has that is given no other. */
export const makeBudget = (): Budget => ({ left: MAX_NODES })

/** An open container. */
interface Frame {
  readonly array: boolean
  readonly path: PathNode | undefined
  readonly pointer: string
  /** The slot that the container fills; undefined for the entity itself. */
  readonly slot: Slot | undefined
  /** What was there before the container was opened, as the reader has put it. */
  readonly before: Before | undefined
}

/** The place before a member that may become part of a run of members, once it is known that no label stands in it. */
interface Before {
  readonly node: TrieNode
  /** Where the member starts in the output, where the last run ends, and how many fragments and labels there are. */
  readonly start: number
  readonly runEnd: number
  readonly fragments: number
  readonly labels: number
}

/** The columns that one leaf takes, home first, and what follows each label it may get. */
export class Takes {
  readonly columns: ReadonlyArray<number>
  readonly styles: Array<number> = []
  readonly exact: Array<TrieNode> = []
  /** By what the value told about its zone. */
  readonly inexact: Record<"" | "o" | "z", TrieNode | undefined> = { "": undefined, o: undefined, z: undefined }
  /** Inside a container that these JSON columns copy. */
  object: TrieNode | undefined
  array: TrieNode | undefined
  constructor(columns: ReadonlyArray<number>) {
    this.columns = columns
  }
}

export interface KeyEdge {
  /** The key in compact form with its quotes. */
  readonly bytes: Uint8Array
  readonly slot: Slot
}

/** A place where a value is due. */
export interface Slot {
  readonly path: PathNode | undefined
  readonly pointer: string
  readonly frame: Frame
  readonly template: string
  readonly claims: Claims | undefined
  readonly keys: Keys
  readonly unmapped: number
  readonly folded: boolean
  readonly collections: number
  readonly filled: ReadonlyArray<string>
  readonly index: number
  readonly matched: number
  /** Whether its object has had this key already. */
  readonly duplicate: boolean
  /** Whether the value may show that the entity is a wrapper. */
  readonly maybeWrapper: boolean
  /** Whether columns may be fed from here. */
  readonly mapped: boolean
  readonly branch: boolean
  readonly scalar: Takes
  readonly container: Takes
  /** Home columns of better paths: when one of these cells is NULL, its path does not count. */
  readonly scalarGuards: ReadonlyArray<number>
  readonly containerGuards: ReadonlyArray<number>
  /** Whether a non-null scalar (or container) here takes a column from a leaf already read. */
  readonly scalarContested: boolean
  readonly containerContested: boolean
  /** Whether what its object holds under the same key already does not count any more. */
  readonly supersedes: boolean
  forced: Map<string, Takes> | undefined
  opaque: TrieNode | undefined
  object: TrieNode | undefined
  array: TrieNode | undefined
  list: TrieNode | undefined
  one: TrieNode | undefined
}

export class TrieNode {
  readonly template: string
  readonly frame: Frame | undefined
  readonly claims: Claims | undefined
  keys: Keys
  readonly unmapped: number
  readonly folded: boolean
  readonly collections: number
  readonly filled: ReadonlyArray<string>
  /** Whether nothing stands before this place in its container. */
  readonly first: boolean
  /** Next element of an array, and which of its `wheres` have been met. */
  readonly index: number
  readonly matched: number
  edges: Array<KeyEdge> = []
  edgeMap: Map<string, KeyEdge> | undefined
  elements: Map<string, Slot> | undefined
  runs: Map<number, TrieNode> | undefined
  close: TrieNode | undefined
  shapeId = 0
  shapeEpoch = 0

  constructor(from: NodeState) {
    this.template = from.template
    this.frame = from.frame
    this.claims = from.claims
    this.keys = from.keys
    this.unmapped = from.unmapped
    this.folded = from.folded
    this.collections = from.collections
    this.filled = from.filled
    this.first = from.first
    this.index = from.index
    this.matched = from.matched
  }
}

interface NodeState {
  readonly template: string
  readonly frame: Frame | undefined
  readonly claims: Claims | undefined
  readonly keys: Keys
  readonly unmapped: number
  readonly folded: boolean
  readonly collections: number
  readonly filled: ReadonlyArray<string>
  readonly first: boolean
  readonly index: number
  readonly matched: number
}

const NOTHING = new Takes([])

/** The key of a wrapper under which its entity stands. */
const WRAPPED = "data"

export class ShapeTrie {
  readonly compiled: CompiledKind
  readonly root: TrieNode
  readonly wrapperRoot: TrieNode
  private readonly budget: Budget
  /** The keys of edges by their text: there are few, however many shapes they stand in. */
  private readonly spellings = new Map<string, Uint8Array>()
  private readonly reached = new Map<PathNode | undefined, ReadonlySet<number>>()

  constructor(compiled: CompiledKind, budget: Budget) {
    this.compiled = compiled
    this.budget = budget
    this.root = this.start(compiled.root)
    this.wrapperRoot = this.start(compiled.wrapperRoot)
  }

  private start(path: PathNode): TrieNode {
    return new TrieNode({
      template: "{",
      frame: { array: false, path, pointer: "", slot: undefined, before: undefined },
      claims: undefined,
      keys: undefined,
      unmapped: 0,
      folded: false,
      collections: 0,
      filled: [],
      first: true,
      index: 0,
      matched: 0
    })
  }

  /** Whether a new node may still be kept, with a text of that many characters that it alone has. */
  private keeps(folded: boolean, text = 0): boolean {
    if (folded || this.budget.left <= 0) return false
    this.budget.left -= 1 + (text >> 9)
    return true
  }

  /** The slot of a key at a node, made when it is new. `text` is the compact key with quotes, `key` its value. */
  slotOfKey(node: TrieNode, text: string, bytes: Uint8Array, key: string): Slot {
    const frame = node.frame!
    const path = frame.path?.keys.get(key)
    const duplicate = hasKey(node.keys, key)
    const unmapped = node.unmapped + (path === undefined || duplicate ? 1 : 0)
    const template = `${node.template}${node.first ? "" : ","}${text}:`
    const folded = node.folded || unmapped > MAX_UNMAPPED_KEYS || template.length > MAX_TEMPLATE
    let { keys } = node
    if (folded) {
      keys = this.ownKeys(node)
      keys.named.add(key)
      keys.hashes.add(hashKey(bytes))
    } else if (!duplicate && !isOwn(keys)) keys = { key, hash: hashKey(bytes), next: keys }
    // A key that a folded entity repeats is at the same node as long as its members are one run.
    const keeps = node.folded ? duplicate && path !== undefined : this.keeps(folded, text.length)
    const slot = this.makeSlot({
      ...node,
      frame,
      path,
      pointer: frame.pointer + pointerToken(key),
      template,
      keys,
      unmapped,
      folded,
      duplicate,
      maybeWrapper: !duplicate && path === undefined && this.reaches(node, key)
    })
    if (keeps) {
      let spelling = this.spellings.get(text)
      if (spelling === undefined) this.spellings.set(text, (spelling = bytes.slice()))
      const edge = { bytes: spelling, slot }
      node.edges.push(edge)
      if (node.edges.length > LINEAR_KEYS) {
        node.edgeMap ??= new Map(node.edges.map((other) => [Buffer.from(other.bytes).toString("latin1"), other]))
        node.edgeMap.set(Buffer.from(bytes).toString("latin1"), edge)
      }
    }
    return slot
  }

  /** Whether a path reaches what stands under a key, or the key may make a wrapper of the entity. */
  reaches({ frame }: TrieNode, key: string): boolean {
    return (
      frame!.path?.keys.has(key) === true ||
      (key === WRAPPED && frame!.slot === undefined && frame!.path === this.compiled.root)
    )
  }

  /** The hashes of all keys that are reached in the object of a node. */
  reachedHashes({ frame }: TrieNode): ReadonlySet<number> {
    const path = frame!.path
    let hashes = this.reached.get(path)
    if (hashes === undefined) {
      hashes = new Set([WRAPPED, ...(path?.keys.keys() ?? [])].map((key) => hashKey(Buffer.from(JSON.stringify(key)))))
      this.reached.set(path, hashes)
    }
    return hashes
  }

  /** The keys that an object of a folded entity has so far. Its nodes are shared with no other entity. */
  ownKeys(node: TrieNode): OwnKeys {
    if (isOwn(node.keys)) return node.keys
    const own = { named: new Set<string>(), hashes: new Set<number>(), unmapped: new KeySet() }
    for (let seen = node.keys; seen !== undefined; seen = seen.next) {
      own.named.add(seen.key)
      own.hashes.add(seen.hash)
    }
    if (node.folded) node.keys = own
    return own
  }

  /** After a run of members of a folded entity that take no column; they are one fragment. */
  afterMembers(node: TrieNode): TrieNode {
    return new TrieNode({
      ...node,
      template: `${node.template}${node.first ? "" : ","}${LABEL}x${LABEL}`,
      first: false
    })
  }

  /** The slot of an element that `path` reaches; `chosen` says how it was chosen. */
  slotOfElement(node: TrieNode, path: PathNode, chosen: string, matched: number): Slot {
    const known = node.elements?.get(chosen)
    if (known !== undefined) return known
    const frame = node.frame!
    const slot = this.makeSlot({
      ...node,
      frame,
      path,
      pointer: `${frame.pointer}/${node.index}`,
      template: node.first ? node.template : `${node.template},`,
      matched,
      duplicate: false,
      maybeWrapper: false
    })
    if (this.keeps(node.folded)) (node.elements ??= new Map()).set(chosen, slot)
    return slot
  }

  /** After a run of elements that no path reaches, up to `index`; they are one fragment. */
  afterRun(node: TrieNode, index: number): TrieNode {
    const known = node.runs?.get(index)
    if (known !== undefined) return known
    const next = new TrieNode({
      ...node,
      template: `${node.template}${node.first ? "" : ","}${LABEL}x${LABEL}`,
      first: false,
      index
    })
    if (this.keeps(node.folded)) (node.runs ??= new Map()).set(index, next)
    return next
  }

  /** After the closing byte of the container that `node` stands in; without a frame the entity is complete. */
  afterClose(node: TrieNode): TrieNode {
    if (node.close !== undefined) return node.close
    const frame = node.frame!
    const slot = frame.slot
    const template = node.template + (frame.array ? "]" : "}")
    const next =
      slot === undefined
        ? new TrieNode({ ...node, template, frame: undefined })
        : new TrieNode({
            template,
            frame: slot.frame,
            claims: node.claims,
            keys: slot.keys,
            unmapped: slot.unmapped,
            folded: node.folded,
            collections: node.collections,
            filled: node.filled,
            first: false,
            index: slot.index + 1,
            matched: slot.matched
          })
    if (this.keeps(node.folded, slot === undefined ? template.length : 0)) node.close = next
    return next
  }

  private afterLabel(
    slot: Slot,
    label: string,
    change: Partial<Pick<NodeState, "claims" | "collections" | "filled">> = {}
  ): TrieNode {
    return new TrieNode({
      template: `${slot.template}${LABEL}${label}${LABEL}`,
      frame: slot.frame,
      claims: change.claims ?? slot.claims,
      keys: slot.keys,
      unmapped: slot.unmapped,
      folded: slot.folded,
      collections: change.collections ?? slot.collections,
      filled: change.filled ?? slot.filled,
      first: false,
      index: slot.index + 1,
      matched: slot.matched
    })
  }

  /** After a value that goes to `extra` whole. */
  afterOpaque(slot: Slot): TrieNode {
    if (slot.opaque !== undefined) return slot.opaque
    const next = this.afterLabel(slot, "x")
    if (this.keeps(slot.folded)) slot.opaque = next
    return next
  }

  /** After an array of nested entities, or a single one. */
  afterCollection(slot: Slot, list: boolean): TrieNode {
    const known = list ? slot.list : slot.one
    if (known !== undefined) return known
    const next = this.afterLabel(slot, list ? "list" : "one", { collections: slot.collections + 1 })
    if (this.keeps(slot.folded)) {
      if (list) slot.list = next
      else slot.one = next
    }
    return next
  }

  /** After a leaf whose home column holds it exactly in `style`. */
  afterExact(slot: Slot, takes: Takes, style: number, known: number): TrieNode {
    if (known >= 0) return takes.exact[known]!
    const codec = this.codec(takes.columns[0]!)
    const name = styleName(codec, style)
    const next = this.afterLabel(slot, `c:${codec.name}${name === "" ? "" : `:${name}`}`, {
      claims: this.claim(slot, takes, false),
      filled: this.copies(slot, takes)
    })
    if (this.keeps(slot.folded)) {
      takes.styles.push(style)
      takes.exact.push(next)
    }
    return next
  }

  /**
   * After a leaf that goes to `extra` while its home column holds a best value or NULL. `zone` tells of a time that it had
   * an offset (`o`) or was in UTC (`z`).
   */
  afterInexact(slot: Slot, takes: Takes, zone: "" | "o" | "z"): TrieNode {
    const known = takes.inexact[zone]
    if (known !== undefined) return known
    const next = this.afterLabel(slot, `x:${this.codec(takes.columns[0]!).name}${zone === "" ? "" : `:${zone}`}`, {
      claims: this.claim(slot, takes, true),
      filled: this.fill(slot, takes.columns)
    })
    if (this.keeps(slot.folded)) takes.inexact[zone] = next
    return next
  }

  /** Inside a container whose members are walked. `takes` are JSON columns that get a copy of the whole container. */
  open(slot: Slot, array: boolean, takes: Takes, before?: Before): TrieNode {
    const home = takes.columns.length === 0 ? slot : takes
    const known = array ? home.array : home.object
    if (known !== undefined) return known
    const next = new TrieNode({
      template: slot.template + (array ? "[" : "{"),
      frame: { array, path: slot.path, pointer: slot.pointer, slot, before },
      claims: takes.columns.length === 0 ? slot.claims : this.claim(slot, takes, true),
      keys: undefined,
      unmapped: 0,
      folded: slot.folded,
      collections: slot.collections,
      filled: this.fill(slot, takes.columns),
      first: true,
      index: 0,
      matched: 0
    })
    if (this.keeps(slot.folded)) {
      if (array) home.array = next
      else home.object = next
    }
    return next
  }

  /** The takes of a leaf whose columns were decided by looking at the whole entity. */
  forcedTakes(slot: Slot, columns: ReadonlyArray<number>, container: boolean): Takes {
    if (columns.length === 0) return NOTHING
    const key = `${container ? "j" : "s"}${columns.join(",")}`
    slot.forced ??= new Map()
    let takes = slot.forced.get(key)
    if (takes === undefined) slot.forced.set(key, (takes = new Takes(columns)))
    return takes
  }

  private codec(column: number): ColumnCodec {
    return this.compiled.codecs[column]!
  }

  /** The copies of an exact leaf; `copy=home` where the two cells are the same value. */
  private copies(slot: Slot, takes: Takes): ReadonlyArray<string> {
    const [home, ...copies] = takes.columns.map((column) => this.codec(column))
    if (home === undefined || copies.length === 0) return slot.filled
    const isPlain = (codec: ColumnCodec): boolean => codec.type === home.type && codec.decode === home.decode
    return [...slot.filled, ...copies.map((copy) => (isPlain(copy) ? `${copy.name}=${home.name}` : copy.name))]
  }

  private fill(slot: Slot, columns: ReadonlyArray<number>): ReadonlyArray<string> {
    return columns.length === 0 ? slot.filled : [...slot.filled, ...columns.map((column) => this.codec(column).name)]
  }

  private claim(slot: Slot, takes: Takes, definite: boolean): Claims | undefined {
    let { claims } = slot
    const home = takes.columns[0]!
    for (const column of takes.columns) {
      const priority = slot.path!.targets.find((target) => target.column === column)?.priority ?? 0
      claims = { column, priority, definite, home, earlier: claims }
    }
    return claims
  }

  private makeSlot(
    from: Pick<
      Slot,
      | "frame"
      | "path"
      | "pointer"
      | "template"
      | "claims"
      | "keys"
      | "unmapped"
      | "folded"
      | "collections"
      | "filled"
      | "index"
      | "matched"
      | "duplicate"
      | "maybeWrapper"
    >
  ): Slot {
    const targets = from.path?.targets ?? []
    const json = targets.filter((target) => this.codec(target.column).class === "json")
    const scalar = this.contend(from.claims, targets)
    const container = this.contend(from.claims, json)
    return {
      frame: from.frame,
      path: from.path,
      pointer: from.pointer,
      template: from.template,
      claims: from.claims,
      keys: from.keys,
      unmapped: from.unmapped,
      folded: from.folded,
      collections: from.collections,
      filled: from.filled,
      index: from.index,
      matched: from.matched,
      duplicate: from.duplicate,
      maybeWrapper: from.maybeWrapper,
      mapped: targets.length > 0,
      branch: from.path !== undefined && isBranch(from.path),
      scalar: scalar.takes,
      container: container.takes,
      scalarGuards: scalar.guards,
      containerGuards: container.guards,
      scalarContested: scalar.contested,
      containerContested: container.contested,
      supersedes: from.duplicate && from.path !== undefined && (targets.length > 0 || isBranch(from.path)),
      forced: undefined,
      opaque: undefined,
      object: undefined,
      array: undefined,
      list: undefined,
      one: undefined
    }
  }

  /** Which of the target columns are free, which belong to better paths, and whether one would be taken from a worse. */
  private contend(
    claims: Claims | undefined,
    targets: PathNode["targets"]
  ): { takes: Takes; guards: Array<number>; contested: boolean } {
    if (targets.length === 0) return { takes: NOTHING, guards: [], contested: false }
    const free: Array<number> = []
    const guards: Array<number> = []
    let contested = false
    for (const { column, priority } of targets) {
      const claim = claimOn(claims, column)
      if (claim === undefined) free.push(column)
      else if (claim.priority >= priority) contested = true
      else if (!claim.definite) guards.push(claim.home)
    }
    return { takes: free.length === 0 ? NOTHING : new Takes(free), guards, contested }
  }
}
