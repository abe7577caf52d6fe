/**
 * Puts stored documents together again: the literal pieces of a part and, between them, the texts of its collections'
 * entities in order. Works through any number of documents in windows of bounded size.
 */
import { createHash, hash } from "node:crypto"
import { kindByCode } from "@mallard/schema"
import { type DuckDbSqlClient, nativeColumn } from "@mallard/sql-duckdb"
import { Effect, Fiber, Stream } from "effect"
import type { SqlError } from "effect/sql"
import { NO_TEXT } from "./internal/shapeSql.ts"
import { blobBytes, queryRows, type Renderer, streamRows } from "./Rendering.ts"
import { quoteName } from "./Quoting.ts"

/** One element of a collection: the bytes `start` to `end` of `bytes` are its compact text. */
export interface Element {
  readonly ordinal: number
  readonly kind: number
  readonly id: number
  /** Stored digest: 32 hex digits of the first 128 bits; empty when there is no such entity. */
  readonly digest: string
  /** Whether the text hashes to the stored digest. */
  readonly matches: boolean
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
}

/** Elements in order. Those that are sound and follow each other are kept as one text, joined by commas. */
type Block =
  | {
      readonly sound: true
      readonly first: number
      readonly kind: number
      /** Lines of `ordinal id digest`; empty when the elements were not hashed. */
      readonly keys: string
      readonly text: Buffer
      readonly ends: Int32Array
    }
  | { readonly sound: false; readonly first: number; readonly elements: Array<Element> }

/** A part of a content as the store has it. */
export interface StoredPart {
  readonly contentId: number
  readonly part: number
  readonly path: string
  readonly digest: string
}

/** Members, and bytes of their sources, that are fetched at once. */
interface WindowSize {
  readonly members: number
  readonly bytes: number
}

const HASHED: WindowSize = { members: 100_000, bytes: 48 << 20 }
/** A verification follows an import in the same process: where that has left the most behind, less is held at once. */
const HASHED_OF_MUCH: WindowSize = { members: 30_000, bytes: 16 << 20 }
const MUCH_BYTES = 512 << 20
/** Half the statements to plan, where nothing else needs the memory. */
const NOT_HASHED: WindowSize = { members: 200_000, bytes: 96 << 20 }
/** Bytes of an average element from which on DuckDB takes many times as much for a window as for as many small ones. */
export const LARGE_ELEMENT = 4096
const BYTES_OF_LARGE = 8 << 20
const FIRST_WINDOW_MEMBERS = 20_000
/** Collections that are fetched at once: each has a block of its own, however small. */
const WINDOW_COLLECTIONS = 20_000
const MAX_PARTS = 1000
/** Bytes of a large document's pieces that are fetched at once. */
const PIECES_BYTES = 24 << 20
/** Elements whose texts come in one value. */
const BLOCK = 512
/** Blocks that are visited in one go. */
const BLOCKS_AT_ONCE = 4

const LABEL = 1
const NEWLINE = 10
const COMMA_BYTE = 44

/** The key under which a window holds a collection's elements. */
const key = (contentId: number, part: number, collection: number): string => `${contentId}/${part}/${collection}`

/**
 * What is fetched at once: the blocks of collections, and the pieces of documents by content and part; none of a document
 * larger than a window.
 */
interface Window {
  readonly blocks: Map<string, Array<Block>>
  readonly pieces: Map<string, Array<Buffer>>
}

const pieceKey = (contentId: number, part: number): string => `${contentId}/${part}`

/** Where documents are read from, and how closely. */
interface Origin {
  readonly client: DuckDbSqlClient
  readonly renderer: Renderer
  /** Each element is hashed; else those that DuckDB rendered are taken as they are, for a digest of the whole to prove. */
  readonly isHashing: boolean
  readonly windowSize: WindowSize
}

/** Fetches the elements of all members that a condition selects; `where` gets the name of the table it is about. */
const fetchWindow = Effect.fnUntraced(function* (origin: Origin, where: (alias: string) => string) {
  const { client, isHashing, renderer } = origin
  const blocks = new Map<string, Array<Block>>()
  const kinds = yield* queryRows(
    client,
    `SELECT kind, min(entity_id), max(entity_id) FROM mallard.cohort_members m WHERE ${where("m")} GROUP BY kind`
  )
  // One kind of one window is too little for DuckDB to share out among threads, so several are asked for at once.
  yield* Effect.forEach(
    kinds,
    ([code, lowest, highest]) =>
      Effect.map(
        streamRows(client, elementsSql(origin, Number(code), Number(lowest), Number(highest), where("m"))),
        (rows) => {
          for (const [contentId, part, collection, first, count, ordinals, keys, texts] of rows) {
            const at = key(Number(contentId), Number(part), Number(collection))
            const list = blocks.get(at)
            const lines = linesOf(Number(first), Number(count), ordinals, keys, blobBytes(texts))
            const block = isHashing ? readBlock(lines, Number(code)) : takeBlock(lines, Number(code))
            if (list === undefined) blocks.set(at, [block])
            else list.push(block)
          }
        }
      ),
    { concurrency: 2, discard: true }
  )
  yield* renderAgain(renderer, blocks)
  for (const [at, list] of blocks) blocks.set(at, inOrder(list))
  return blocks
})

/** Sound blocks that follow each other stay; anything else becomes single elements in the order of their ordinals. */
const inOrder = (blocks: Array<Block>): Array<Block> => {
  blocks.sort((a, b) => a.first - b.first)
  let next = blocks[0]?.first ?? 0
  for (const block of blocks) {
    if (!block.sound || block.first !== next)
      return [{ sound: false, first: 0, elements: blocks.flatMap(elementsOf).sort((a, b) => a.ordinal - b.ordinal) }]
    next += block.ends.length
  }
  return blocks
}

const elementsOf = (block: Block): ReadonlyArray<Element> => {
  if (!block.sound) return block.elements
  const { ends, first, keys, kind, text } = block
  if (keys !== "") return elementsOfLines(keys, text, ends, kind)
  return elementsTaken({ first, ordinals: undefined, keys, text, ends }, kind)
}

/**
 * Lines of elements, some hundred in one value: calls across the native boundary are what reading texts costs. Keys come
 * of all elements that are to be hashed.
 */
const elementsSql = (
  { isHashing, renderer }: Origin,
  kind: number,
  lowest: number,
  highest: number,
  where: string
): string => {
  const table = kindByCode(kind)?.table ?? "json_values"
  const ids = `SELECT m.entity_id FROM mallard.cohort_members m WHERE m.kind = ${kind} AND ${where}`
  const { text, join } = renderer.expression(kind)
  // Binding all columns of a wide table takes a noticeable part of a small statement.
  const columns = text === NO_TEXT ? "entity_id, digest" : "*"
  const keys = `string_agg(concat(ordinal, ' ', entity_id, ' ', digest), chr(10))${isHashing ? "" : " FILTER (WHERE text IS NULL)"}`
  // DuckDB joins from whichever side it likes, so rows come in any order. Sorting all of them costs more than looking.
  const ordinals = `CASE WHEN list(ordinal) <> range(min(ordinal), min(ordinal) + count(*)) THEN list(ordinal)::JSON::VARCHAR END`
  return `SELECT content_id, part, collection, min(ordinal), count(*), ${ordinals}, ${keys}, encode(string_agg(coalesce(text, ''), chr(10)))
    FROM (SELECT m.content_id, m.part, m.collection, m.ordinal, m.entity_id, e.digest, ${text} AS text
          FROM mallard.cohort_members m
          LEFT JOIN (SELECT ${columns} FROM mallard.${quoteName(table)} WHERE entity_id BETWEEN ${lowest} AND ${highest}) e ON e.entity_id = m.entity_id${join(ids)}
          WHERE m.kind = ${kind} AND ${where})
    GROUP BY content_id, part, collection, ordinal // ${BLOCK} ORDER BY content_id, part, collection, ordinal // ${BLOCK}`
}

/** The pieces of the documents that a condition selects, in order. */
const fetchPieces = Effect.fnUntraced(function* (client: DuckDbSqlClient, where: string) {
  const pieces = new Map<string, Array<Buffer>>()
  const rows = yield* streamRows(
    client,
    `SELECT content_id, part, piece, encode(text) FROM mallard.part_texts t WHERE ${where}`
  )
  // Rows come in any order; DuckDB would need memory for all of their texts to sort them.
  const inOrder = rows.toSorted(([, , left], [, , right]) => Number(left) - Number(right))
  for (const [contentId, part, , text] of inOrder) {
    const at = pieceKey(Number(contentId), Number(part))
    const list = pieces.get(at)
    if (list === undefined) pieces.set(at, [blobBytes(text)])
    else list.push(blobBytes(text))
  }
  return pieces
})

/** The same of one large document, a slice at a time: `visit` gets each in turn. */
const forEachSlice = Effect.fnUntraced(function* <E>(
  client: DuckDbSqlClient,
  part: CountedPart,
  visit: (pieces: ReadonlyArray<Buffer>) => Effect.Effect<void, E>
) {
  const where = `t.content_id = ${part.contentId} AND t.part = ${part.part}`
  const rows = yield* queryRows(
    client,
    `SELECT DISTINCT t.piece FROM mallard.part_texts t WHERE ${where} ORDER BY t.piece`
  )
  const numbers = rows.map(([piece]) => Number(piece))
  const size = Math.max(1, Math.floor((PIECES_BYTES * numbers.length) / Math.max(part.bytes, 1)))
  for (let from = 0; from < numbers.length; from += size) {
    const last = numbers[Math.min(from + size, numbers.length) - 1]
    const slice = yield* fetchPieces(client, `${where} AND t.piece BETWEEN ${numbers[from]} AND ${last}`)
    yield* visit(slice.get(pieceKey(part.contentId, part.part)) ?? [])
  }
})

/** The rows of a block, in the order of their ordinals. */
interface Lines {
  readonly first: number
  /** Undefined when they count up from `first`. */
  readonly ordinals: ReadonlyArray<number> | undefined
  /** Lines of `ordinal id digest`: of all elements, or of those without a text. */
  readonly keys: string
  readonly text: Buffer
  readonly ends: Int32Array
}

/** `ordinals`: as JSON when rows do not come in the order of theirs, or when those have gaps. */
const linesOf = (first: number, count: number, ordinals: unknown, keys: unknown, bytes: Buffer): Lines => {
  const text = withLowerEscapes(bytes)
  const ends = new Int32Array(count)
  let start = 0
  for (let i = 0; i < count; i++) {
    const newline = i === count - 1 ? text.length : text.indexOf(NEWLINE, start)
    ends[i] = newline < 0 ? text.length : newline
    start = ends[i]! + 1
  }
  const lines = { keys: keys === null ? "" : String(keys), text, ends }
  return typeof ordinals === "string"
    ? sortedLines(first, JSON.parse(ordinals), lines)
    : { first, ordinals: undefined, ...lines }
}

const sortedLines = (
  first: number,
  ordinals: ReadonlyArray<number>,
  { ends, keys, text }: Pick<Lines, "keys" | "text" | "ends">
): Lines => {
  const places = [...ordinals.keys()].sort((a, b) => ordinals[a]! - ordinals[b]!)
  const sorted = Buffer.allocUnsafe(text.length)
  let o = 0
  const sortedEnds = Int32Array.from(places, (place, at) => {
    if (at > 0) sorted[o++] = NEWLINE
    o += text.copy(sorted, o, place === 0 ? 0 : ends[place - 1]! + 1, ends[place])
    return o
  })
  const sortedKeys = keys
    .split("\n")
    .sort((a, b) => integerAt(a, 0) - integerAt(b, 0))
    .join("\n")
  const sortedOrdinals = places.map((place) => ordinals[place]!)
  const isDense = sortedOrdinals.every((ordinal, at) => ordinal === first + at)
  return {
    first,
    ordinals: isDense ? undefined : sortedOrdinals,
    keys: sortedKeys,
    text: sorted,
    ends: sortedEnds
  }
}

/** Hashes the text of each line. Nothing is allocated per line but its hash: all that is verified goes through here. */
const readBlock = ({ ends, first, keys: dashed, ordinals, text }: Lines, kind: number): Block => {
  const keys = dashed.replaceAll("-", "")
  let sound = ordinals === undefined
  let p = 0
  let start = 0
  for (let i = 0; i < ends.length; i++) {
    const end = ends[i]!
    const digest = keys.indexOf(" ", keys.indexOf(" ", p) + 1) + 1
    const line = i === ends.length - 1 ? keys.length : keys.indexOf("\n", digest)
    if (!matchesDigest(text, start, end, keys, digest, line)) sound = false
    p = line + 1
    start = end + 1
  }
  if (!sound) return { sound, first: 0, elements: elementsOfLines(keys, text, ends, kind) }
  separateBy(COMMA_BYTE, text, ends)
  return { sound, first, kind, keys, text, ends }
}

/** Of elements in a value, those whose text does not hash to their digest. */
export const otherElements = (kind: number, count: number, keys: unknown, texts: unknown): ReadonlyArray<Element> => {
  const block = readBlock(linesOf(0, count, undefined, keys, blobBytes(texts)), kind)
  return block.sound ? [] : block.elements.filter(({ matches }) => !matches)
}

/** The same without hashing; the keys are of elements that have no text. */
const takeBlock = (lines: Lines, kind: number): Block => {
  const { ends, first, keys, ordinals, text } = lines
  if (keys !== "" || ordinals !== undefined) return { sound: false, first: 0, elements: elementsTaken(lines, kind) }
  separateBy(COMMA_BYTE, text, ends)
  return { sound: true, first, kind, keys, text, ends }
}

const elementsTaken = ({ ends, first, keys, ordinals, text }: Lines, kind: number): Array<Element> => {
  const holes = keys.split("\n")
  let hole = 0
  return Array.from(ends, (end, at) => {
    const start = at === 0 ? 0 : ends[at - 1]! + 1
    const taken = {
      ordinal: ordinals?.[at] ?? first + at,
      kind,
      id: 0,
      digest: "",
      matches: true,
      bytes: text,
      start,
      end
    }
    if (start < end) return taken
    const [, id, digest = ""] = (holes[hole++] ?? "").split(" ")
    return { ...taken, id: Number(id), digest: digest.replaceAll("-", ""), matches: false }
  })
}

const separateBy = (separator: number, text: Buffer, ends: Int32Array): void => {
  for (let i = 0; i < ends.length - 1; i++) text[ends[i]!] = separator
}

const withLowerEscapes = (bytes: Buffer): Buffer =>
  bytes.includes("\\u00") ? Buffer.from(lowerEscapes(bytes.toString("utf8"))) : bytes

const integerAt = (text: string, at: number): number => {
  let value = 0
  for (let i = at; ; i++) {
    const c = text.charCodeAt(i)
    // NaN compares as false too.
    if (!(c >= 48 && c <= 57)) return value
    value = value * 10 + c - 48
  }
}

const DIGEST_DIGITS = 32

const matchesDigest = (text: Buffer, start: number, end: number, keys: string, digest: number, line: number): boolean =>
  line - digest === DIGEST_DIGITS &&
  keys.startsWith(hash("sha256", text.subarray(start, end), "hex").slice(0, DIGEST_DIGITS), digest)

const elementsOfLines = (keys: string, bytes: Buffer, ends: Int32Array, kind: number): Array<Element> =>
  keys.split("\n").map((line, at) => {
    const [ordinal, id, digest = ""] = line.split(" ")
    const start = at === 0 ? 0 : ends[at - 1]! + 1
    const end = ends[at]!
    const matches = matchesDigest(bytes, start, end, digest, 0, digest.length)
    return { ordinal: Number(ordinal), kind, id: Number(id), digest, matches, bytes, start, end }
  })

/** DuckDB writes control characters with upper-case digits, the compact text with lower-case ones. */
export const lowerEscapes = (text: string): string =>
  text.replace(/\\(?:u00([01][0-9A-F])|.)/gs, (match, digits: string | undefined) =>
    digits === undefined ? match : `\\u00${digits.toLowerCase()}`
  )

/** Renders elements that DuckDB could not render, or whose text was not the one expected, by the other renderer. */
const renderAgain = Effect.fnUntraced(function* (
  renderer: Renderer,
  blocks: ReadonlyMap<string, ReadonlyArray<Block>>
) {
  const wanted = new Map<number, Array<{ readonly elements: Array<Element>; readonly at: number }>>()
  for (const list of blocks.values()) {
    for (const block of list) {
      if (block.sound) continue
      block.elements.forEach(({ kind, matches }, at) => {
        if (matches) return
        const places = wanted.get(kind)
        if (places === undefined) wanted.set(kind, [{ elements: block.elements, at }])
        else places.push({ elements: block.elements, at })
      })
    }
  }
  for (const [kind, places] of wanted) {
    const texts = yield* renderer.texts(kind, [...new Set(places.map(({ elements, at }) => elements[at]!.id))])
    for (const { elements, at } of places) {
      const element = elements[at]!
      const text = texts.get(element.id)
      if (text === undefined) continue
      const bytes = Buffer.from(text)
      const matches = element.digest !== "" && hash("sha256", bytes, "hex").startsWith(element.digest)
      elements[at] = { ...element, matches, bytes, start: 0, end: bytes.length }
    }
  }
})

/** What a visitor of documents is told. All calls for one part come in order. */
export interface PartVisitor<E = never> {
  /** Run now and then: a visitor that hands texts on may have to wait. */
  readonly pause?: Effect.Effect<void, E>
  readonly start: (part: StoredPart) => void
  /** Compact text of the document. */
  readonly text: (bytes: Buffer, start: number, end: number) => void
  /** The elements of a collection come next, after the bracket of a list. */
  readonly opened?: (collection: number) => void
  /** All elements of the collection have come. */
  readonly closed?: (collection: number) => void
  /** So many elements are sound. */
  readonly sound: (count: number) => void
  /** An element whose row does not give the text of its digest. */
  readonly changed: (element: Element) => void
  /** A collection lacks elements, or has some twice, or in no order. */
  readonly gap: (collection: number) => void
  /**
   * Whether the text since `start` is the one stored, by the digest of the part. When a visitor tells, elements are hashed
   * only in parts that are not: such a part is started a second time, and what came before is void.
   */
  readonly isAsStored?: () => boolean
  readonly end: () => void
}

/** The condition on `p` that selects the parts of one content. */
export const partsOfContent = (contentId: number): string => `p.content_id = ${contentId}`

/** The condition on `p` that selects the parts of all cohorts that are not deleted. */
export const partsOfHeads = "p.content_id IN (SELECT content_id FROM mallard.heads)"

/** Visits the documents of all contents that a condition on `p` (parts) selects, by content and part. */
export const visitParts = Effect.fnUntraced(function* <E = never>(
  client: DuckDbSqlClient,
  renderer: Renderer,
  where: string,
  visitor: PartVisitor<E>
) {
  const counts = yield* queryRows(
    client,
    `SELECT p.content_id, p.part, p.path, p.digest, p.bytes, coalesce(m.members, 0), coalesce(m.collections, 0)
     FROM mallard.parts p LEFT JOIN (
       SELECT content_id, part, count(*) AS members, max(collection) + 1 AS collections FROM mallard.cohort_members GROUP BY content_id, part
     ) m ON m.content_id = p.content_id AND m.part = p.part
     WHERE ${where} ORDER BY p.content_id, p.part`
  )
  const parts = counts.map(([contentId, part, path, digest, bytes, members, collections]) => ({
    contentId: Number(contentId),
    part: Number(part),
    path: String(path),
    digest: String(digest),
    bytes: Number(bytes),
    members: Number(members),
    collections: Number(collections)
  }))
  const isHashing = visitor.isAsStored === undefined
  const origin: Origin = { client, renderer, isHashing, windowSize: windowSizeOf(parts, isHashing) }
  const windows = windowsOf(origin, parts)
  const fetch = (at: number): Effect.Effect<Window | undefined, SqlError.SqlError> =>
    windows[at] === undefined ? Effect.succeed(undefined) : fetchParts(origin, windows[at])
  let next = yield* Effect.forkChild(fetch(0))
  for (const [at, chosen] of windows.entries()) {
    const window = yield* Fiber.join(next)
    // The database works on the next window while this one is looked at.
    next = yield* Effect.forkChild(fetch(at + 1))
    for (const part of chosen) {
      yield* visitPart(origin, part, window!, visitor)
      if (visitor.isAsStored?.() === false) {
        // Hashes every element, and has those that do not match rendered by the other renderer.
        const closer: Origin = { ...origin, isHashing: true }
        yield* visitPart(closer, part, yield* fetchParts(closer, [part]), visitor)
      }
      visitor.end()
      if (visitor.pause !== undefined) yield* visitor.pause
    }
  }
})

/** Fetches consecutive parts. One larger than a window is fetched slice by slice when it is visited. */
const fetchParts = Effect.fnUntraced(function* (origin: Origin, parts: ReadonlyArray<CountedPart>) {
  const where = boundsOf(parts)
  const window: Window = {
    pieces: parts.some((part) => isSliced(origin, part)) ? new Map() : yield* fetchPieces(origin.client, where("t")),
    blocks: parts.some((part) => isLarge(origin, part)) ? new Map() : yield* fetchWindow(origin, where)
  }
  return window
})

interface CountedPart extends StoredPart {
  /** Size of its source. */
  readonly bytes: number
  readonly members: number
  /** Up to the last that has members. */
  readonly collections: number
}

const windowSizeOf = (parts: ReadonlyArray<CountedPart>, isHashing: boolean): WindowSize => {
  if (!isHashing) return NOT_HASHED
  return parts.reduce((sum, { bytes }) => sum + bytes, 0) > MUCH_BYTES ? HASHED_OF_MUCH : HASHED
}

/** Parts in groups that are fetched at once: whole parts, at most a window's members and bytes, large ones alone. */
const windowsOf = (
  { windowSize }: Origin,
  parts: ReadonlyArray<CountedPart>
): ReadonlyArray<ReadonlyArray<CountedPart>> => {
  const windows: Array<Array<CountedPart>> = []
  let members = 0
  let collections = 0
  let bytes = 0
  let mostBytes = 0
  for (const part of parts) {
    const last = windows.at(-1)
    const ofPart = bytesAtOnce(windowSize, part)
    // The first windows are small: nothing else can be done while they are fetched.
    const most = Math.min(FIRST_WINDOW_MEMBERS * 2 ** windows.length, windowSize.members)
    if (
      last === undefined ||
      last.length === MAX_PARTS ||
      members + part.members > most ||
      collections + part.collections > WINDOW_COLLECTIONS ||
      bytes + part.bytes > Math.min(mostBytes, ofPart)
    ) {
      windows.push([part])
      mostBytes = ofPart
      members = part.members
      collections = part.collections
      bytes = part.bytes
    } else {
      last.push(part)
      mostBytes = Math.min(mostBytes, ofPart)
      members += part.members
      collections += part.collections
      bytes += part.bytes
    }
  }
  return windows
}

/** A part that does not fit in a window, and so is alone in one. */
const isLarge = (origin: Origin, part: CountedPart): boolean =>
  membersAtOnce(origin, part) < part.members || part.collections > WINDOW_COLLECTIONS

/** A part whose text may be larger than a window, and so is alone in one. */
const isSliced = ({ windowSize }: Origin, { bytes }: CountedPart): boolean => bytes > windowSize.bytes

/** Members of a part that are fetched at once, by their average size. */
const membersAtOnce = ({ windowSize }: Origin, part: CountedPart): number =>
  Math.max(
    1,
    Math.min(windowSize.members, Math.floor((bytesAtOnce(windowSize, part) * part.members) / Math.max(part.bytes, 1)))
  )

/** Bytes of the members of a part that are fetched at once. */
const bytesAtOnce = (windowSize: WindowSize, { bytes, members }: CountedPart): number =>
  members > 0 && bytes / members > LARGE_ELEMENT ? Math.min(BYTES_OF_LARGE, windowSize.bytes) : windowSize.bytes

/** The condition that selects the rows of consecutive parts. */
const boundsOf = (parts: ReadonlyArray<CountedPart>): ((alias: string) => string) => {
  const first = parts[0]!
  const last = parts.at(-1)!
  return (alias) =>
    first.contentId === last.contentId
      ? `${alias}.content_id = ${first.contentId} AND ${alias}.part BETWEEN ${first.part} AND ${last.part}`
      : `${alias}.content_id BETWEEN ${first.contentId} AND ${last.contentId} AND (${alias}.content_id > ${first.contentId} OR ${alias}.part >= ${first.part}) AND (${alias}.content_id < ${last.contentId} OR ${alias}.part <= ${last.part})`
}

const visitPart = Effect.fnUntraced(function* <E>(
  origin: Origin,
  part: CountedPart,
  window: Window,
  visitor: PartVisitor<E>
) {
  visitor.start(part)
  const windowOf = isLarge(origin, part) ? yield* smallCollections(origin, part) : () => Effect.succeed(window)
  let collection = 0
  let label: Array<Buffer> | undefined
  const visit = Effect.fnUntraced(function* (pieces: ReadonlyArray<Buffer>) {
    for (const bytes of pieces) {
      let p = 0
      for (;;) {
        const mark = bytes.indexOf(LABEL, p)
        const end = mark < 0 ? bytes.length : mark
        if (label === undefined) visitor.text(bytes, p, end)
        else label.push(bytes.subarray(p, end))
        if (mark < 0) break
        p = mark + 1
        if (label === undefined) {
          label = []
          continue
        }
        const name = Buffer.concat(label).toString("utf8")
        label = undefined
        yield* visitCollection(origin, part, collection, name, yield* windowOf(collection), visitor)
        collection++
      }
    }
  })
  if (!isSliced(origin, part)) return yield* visit(window.pieces.get(pieceKey(part.contentId, part.part)) ?? [])
  yield* forEachSlice(origin.client, part, (pieces) => Effect.andThen(visit(pieces), visitor.pause ?? Effect.void))
})

/**
 * Fetches the collections of a large part, as many small ones at once as fit in a window; undefined for those that do not
 * fit in one. To be asked in order.
 */
const smallCollections = Effect.fnUntraced(function* (origin: Origin, part: CountedPart) {
  const of = (alias: string): string => `${alias}.content_id = ${part.contentId} AND ${alias}.part = ${part.part}`
  // There may be millions of collections, so that no row of each is kept, and nothing of those with one member.
  const sizes = new Map<number, number>()
  yield* origin.client
    .streamChunks(
      `SELECT collection, count(*) FROM mallard.cohort_members m WHERE ${of("m")} GROUP BY collection HAVING count(*) > 1`
    )
    .pipe(
      Stream.runForEach((chunk) =>
        Effect.sync(() => {
          const counts = nativeColumn(chunk, 1)
          nativeColumn(chunk, 0).forEach((collection, row) => {
            sizes.set(Number(collection), Number(counts[row]))
          })
        })
      )
    )
  const end = part.collections
  const size = membersAtOnce(origin, part)
  let next = 0
  let window: Window = { blocks: new Map(), pieces: new Map() }
  return Effect.fnUntraced(function* (collection: number): Effect.fn.Return<Window | undefined, SqlError.SqlError> {
    if ((sizes.get(collection) ?? 1) > size) return undefined
    if (collection < next || collection >= end) return window
    let members = 0
    // What has been visited is let go before more is fetched.
    window = { blocks: new Map(), pieces: new Map() }
    const last = Math.min(end, collection + WINDOW_COLLECTIONS)
    for (next = collection; next < last; next++) {
      members += sizes.get(next) ?? 1
      if (members > size) break
    }
    const blocks = yield* fetchWindow(
      origin,
      (alias) => `${of(alias)} AND ${alias}.collection BETWEEN ${collection} AND ${next - 1}`
    )
    window = { blocks, pieces: new Map() }
    return window
  })
})

const OPEN = Buffer.from("[")
const CLOSE = Buffer.from("]")
const COMMA = Buffer.from(",")
const LINE_FEED = Buffer.from("\n")

const visitCollection = Effect.fnUntraced(function* <E>(
  origin: Origin,
  part: CountedPart,
  collection: number,
  label: string,
  window: Window | undefined,
  visitor: PartVisitor<E>
) {
  const where = `content_id = ${part.contentId} AND part = ${part.part} AND collection = ${collection}`
  const highest = yield* window === undefined
    ? queryRows(origin.client, `SELECT max(ordinal) FROM mallard.cohort_members WHERE ${where}`)
    : Effect.succeed([[undefined]])
  const most = Number(highest[0]?.[0] ?? -1)
  let expected = 0
  const separator = label === "lines" ? LINE_FEED : COMMA
  const visit = Effect.fnUntraced(function* (blocks: ReadonlyArray<Block>) {
    for (const [at, block] of blocks.entries()) {
      // Statements that run meanwhile go on only when this thread lets go.
      if (at % BLOCKS_AT_ONCE === BLOCKS_AT_ONCE - 1) yield* Effect.yieldNow
      if (block.sound && block.first === expected) {
        if (expected > 0) visitor.text(separator, 0, 1)
        visitor.sound(block.ends.length)
        if (label === "lines") separateBy(NEWLINE, block.text, block.ends)
        visitor.text(block.text, 0, block.text.length)
        expected += block.ends.length
        continue
      }
      for (const element of elementsOf(block)) {
        if (element.ordinal !== expected) visitor.gap(collection)
        if (expected > 0) visitor.text(separator, 0, 1)
        if (element.matches) visitor.sound(1)
        else visitor.changed(element)
        visitor.text(element.bytes, element.start, element.end)
        expected++
      }
    }
  })
  if (label === "list") visitor.text(OPEN, 0, 1)
  visitor.opened?.(collection)
  const at = key(part.contentId, part.part, collection)
  if (window !== undefined) yield* visit(window.blocks.get(at) ?? [])
  else {
    const size = membersAtOnce(origin, part)
    const slice = (from: number) =>
      fetchWindow(
        origin,
        (m) =>
          `${m}.content_id = ${part.contentId} AND ${m}.part = ${part.part} AND ${m}.collection = ${collection} AND ${m}.ordinal BETWEEN ${from} AND ${from + size - 1}`
      )
    let next = yield* Effect.forkChild(slice(0))
    for (let from = 0; from <= most; from += size) {
      const blocks = yield* Fiber.join(next)
      next = yield* Effect.forkChild(slice(from + size))
      yield* visit(blocks.get(at) ?? [])
      if (visitor.pause !== undefined) yield* visitor.pause
    }
    yield* Fiber.join(next)
  }
  visitor.closed?.(collection)
  if (label === "list") visitor.text(CLOSE, 0, 1)
  else if (label === "one" && expected !== 1) visitor.gap(collection)
})

/** The compact texts of the parts that a condition on `p` selects, each as a whole: for documents that fit in memory. */
export const partTexts = Effect.fnUntraced(function* (client: DuckDbSqlClient, renderer: Renderer, where: string) {
  const texts: Array<{ readonly path: string; readonly text: Buffer }> = []
  let chunks: Array<Buffer> = []
  let current: StoredPart | undefined
  yield* visitParts(client, renderer, where, {
    start: (part) => {
      current = part
      chunks = []
    },
    text: (bytes, start, end) => {
      if (end > start) chunks.push(bytes.subarray(start, end))
    },
    sound: () => {},
    changed: () => {},
    gap: () => {},
    isAsStored: () => {
      const sha256 = createHash("sha256")
      for (const chunk of chunks) sha256.update(chunk)
      return sha256.digest("hex") === current?.digest
    },
    end: () => texts.push({ path: current?.path ?? "", text: Buffer.concat(chunks) })
  })
  return texts
})

/** The compact text of one part as a whole; empty when there is no such part. */
export const partText = (client: DuckDbSqlClient, renderer: Renderer, contentId: number, part: number) =>
  Effect.map(
    partTexts(client, renderer, `p.content_id = ${contentId} AND p.part = ${part}`),
    ([found]) => found?.text ?? Buffer.alloc(0)
  )
