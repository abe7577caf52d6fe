/** Readers with everything they need, rules for documents, and generators of entities, for the tests of this package. */
import { type EntityKind, kindOfTypeKey, kinds, parsePath, type SqlType, type Step } from "@mallard/schema"
import {
  arbitraryJsonTree,
  arbitraryKey,
  arbitraryLayout,
  arbitraryNumberText,
  arbitraryScalar,
  arbitraryString,
  jsonArray,
  jsonMember,
  jsonNull,
  jsonNumberOrToken,
  type JsonObject,
  jsonObject,
  jsonString,
  type JsonTree,
  jsonToken,
  stringValue,
  toText
} from "@mallard/testkit"
import * as fc from "fast-check"
import {
  DocumentReader,
  type DocumentResult,
  type DocumentRules,
  EntityBatch,
  EntityIndex,
  EntityReader,
  type Pause,
  renderDocument,
  rowDigest,
  rowValues,
  type Rules,
  ShapeDictionary,
  type ValueRemark,
  viewBatch
} from "@mallard/entity-serializers"

/** A reader with an empty batch. */
export interface Setup {
  readonly batch: EntityBatch
  readonly shapes: ShapeDictionary
  readonly indexes: ReadonlyArray<EntityIndex>
  readonly reader: EntityReader
  readonly documents: DocumentReader
}

export const setUp = (options: { readonly shapes?: ShapeDictionary; readonly nodes?: number } = {}): Setup => {
  const batch = new EntityBatch()
  const shapes = options.shapes ?? new ShapeDictionary()
  const indexes = batch.rows.map(() => new EntityIndex())
  const reader = new EntityReader(
    batch,
    shapes,
    indexes,
    ...(options.nodes === undefined ? [] : [{ left: options.nodes }])
  )
  return { batch, shapes, indexes, reader, documents: new DocumentReader(reader) }
}

/** Parent, collection, ordinal, pointer and child of each link. */
export const linksOf = ({ links }: EntityBatch) =>
  Array.from({ length: links.count }, (_, at) => [
    links.parentKind.values[at],
    links.parentId.values[at],
    links.collection.values[at],
    links.ordinal.values[at],
    links.pointer(at),
    links.childKind.values[at],
    links.childId.values[at]
  ])

/** Everything that can be seen of what was read. */
export const stateOf = ({ batch, indexes, reader, shapes }: Setup) => ({
  rows: batch.rows.map((rows, code) =>
    Array.from({ length: rows.count }, (_, row) => ({
      id: rows.firstId + row,
      digest: rowDigest(rows, row),
      shape: rows.shapes[row],
      values: rowValues(batch, code, row, reader.tokenizer.output),
      found: indexes[code]!.find(rows.digests, row * 4)
    }))
  ),
  links: linksOf(batch),
  aux: batch.aux.length,
  indexes: indexes.map(({ nextId, size }) => ({ nextId, size })),
  fresh: shapes.fresh.map((shape) => ({ ...shape, again: shapes.get(shape.id) })),
  nextShape: shapes.nextId
})

/** What stays the same whatever a reader has seen before: not the styles in labels, not the numbers of shapes. */
export const meaningOf = (setup: Setup) => {
  const { rows, links, indexes } = stateOf(setup)
  return {
    rows: rows.map((list) => list.map(({ id, digest, values, found }) => ({ id, digest, values, found }))),
    links,
    indexes
  }
}

/** Forgets everything that was read, so that the reader can be used again. */
export const reset = ({ batch, documents, indexes, reader, shapes }: Setup): void => {
  batch.clear()
  for (const index of indexes) index.rollback(0)
  shapes.rollback(0)
  reader.tokenizer.o = 0
  documents.rebase()
}

/** Keys of types at the root and under `entities` hold entities; the name is captured. */
const typeRules: Rules = (key) => {
  const kind = kindOfTypeKey(key)
  return kind === undefined ? undefined : { tag: "entities", kind: kind.code }
}

const rootRules: Rules = (key) => {
  if (key === "entities")
    return { tag: "object", rules: (type) => typeRules(type) ?? { tag: "entities", kind: 0, objects: false } }
  return key === "name" || key === "metadata" ? { tag: "capture" } : typeRules(key)
}

/** Rules that find entities in most documents of the test kit. */
export const cohortRules: DocumentRules = { tag: "keys", rules: rootRules, array: 1 }

/** Rules that find none. */
export const literalRules: DocumentRules = { tag: "keys", rules: () => undefined, array: undefined }

/** What a reading gave: the result, and the text rendered from the rows. */
export interface Reading {
  readonly result: DocumentResult
  readonly text: string
}

export const readDocument = (setup: Setup, text: string | Uint8Array, rules: DocumentRules = cohortRules): Reading => {
  const result = setup.documents.readBytes(typeof text === "string" ? Buffer.from(text) : text, rules)
  return { result, text: renderRead(setup) }
}

/** The document read last, rendered from rows. */
const renderRead = ({ documents, reader }: Setup): string =>
  renderDocument(documents.rows.pieces, documents.rows.members, viewBatch(reader).text)

/** Reads a document through windows that end at the given places. */
export const readInWindows = (
  setup: Setup,
  bytes: Uint8Array,
  cuts: ReadonlyArray<number>,
  rules: DocumentRules = cohortRules
): Reading => {
  const result = drive(setup, bytes, cuts, setup.documents.read(rules))
  return { result, text: renderRead(setup) }
}

const drive = (
  { reader }: Setup,
  bytes: Uint8Array,
  cuts: ReadonlyArray<number>,
  reading: Generator<Pause, DocumentResult>
): DocumentResult => {
  const t = reader.tokenizer
  const ends = [...cuts, bytes.length]
  let at = 0
  const fill = (from: number): void => {
    const to = ends[at++] ?? bytes.length
    // Behind the end stands one zero byte and then what no reader may look at.
    const window = new Uint8Array(to - from + 9).fill(0x22)
    window.set(bytes.subarray(from, to))
    window[to - from] = 0
    t.input = window
    t.base = from
    t.p = 0
    t.end = to - from
    t.last = to === bytes.length
  }
  fill(0)
  for (;;) {
    const step = reading.next()
    if (step.done === true) return step.value
    if (step.value === "input") fill(t.base + t.p)
  }
}

/** An entity read alone, with its row. */
export interface ReadEntity {
  readonly text: string
  readonly template: string
  readonly extra: string | null
  readonly id: number
  readonly remarks: ReadonlyArray<ValueRemark>
  readonly counts: ReadonlyArray<number>
}

/** Reads a document that is one entity as a whole. */
export const readEntity = (setup: Setup, kind: EntityKind, text: string): ReadEntity => {
  const { documents, reader } = setup
  const { remarks, counts } = documents.readBytes(Buffer.from(text), { tag: "entity", kind: kind.code })
  const id = documents.rows.members.id[0]!
  const view = viewBatch(reader)
  return { text: view.text(kind.code, id), ...view.templateOf(kind.code, id), id, remarks, counts }
}

// ---- generators

/** Values that a column of this type takes, nearly takes, or does not take. */
const valueOf = (type: SqlType): fc.Arbitrary<JsonTree> => {
  const texts = (...values: ReadonlyArray<string>) => fc.constantFrom(...values).map((value) => jsonString(value))
  const numbers = arbitraryNumberText.map(jsonNumberOrToken)
  switch (type) {
    case "DATE":
    case "TIMESTAMP":
      return texts(
        "1980-05-15",
        "2024-02-30",
        "19800515",
        "0999-01-01",
        "2024-01-15T10:00:00",
        "2024-01-15 10:00",
        "2024-01-15T10:00:00.120Z",
        "2024-01-15T10:00:00.1234567",
        "2024-01-15T10:00:00+00:00",
        "0001-01-01T00:00:00+05:00",
        "2024-12-02T23:00:00-08:00",
        "soon"
      )
    case "BOOLEAN":
      return fc.oneof(fc.constantFrom("true" as const, "false" as const).map(jsonToken), texts("true", "True", "no"))
    case "VARCHAR":
      return fc.oneof(arbitraryString, numbers, texts("spouse", "self", "18", "Grand Parent"))
    case "JSON":
      return arbitraryJsonTree({ maxDepth: 2, maxNesting: 0, maxLength: 3 })
    default:
      return fc.oneof(
        numbers,
        arbitraryNumberText.map((text) => jsonString(text)),
        texts("007", "+1", " 1", "")
      )
  }
}

/** The tree with a value put at a path; unchanged where something else is in the way. */
const put = (
  tree: JsonTree | undefined,
  steps: ReadonlyArray<Step>,
  value: JsonTree,
  again: boolean
): JsonTree | undefined => {
  const [step, ...rest] = steps
  if (step === undefined) return tree === undefined || again ? value : undefined
  if (step._tag === "Key") {
    if (tree !== undefined && tree._tag !== "Object") return undefined
    const members = tree?.members ?? []
    const at = again && rest.length === 0 ? -1 : members.findIndex(({ key }) => stringValue(key) === step.key)
    const inner = put(members[at]?.value, rest, value, again)
    if (inner === undefined) return undefined
    return jsonObject(
      at < 0 ? [...members, jsonMember(step.key, inner)] : members.with(at, jsonMember(step.key, inner))
    )
  }
  if (tree !== undefined && tree._tag !== "Array") return undefined
  const elements = tree?.elements ?? []
  if (step._tag === "Index") {
    const inner = put(elements[step.index], rest, value, again)
    if (inner === undefined) return undefined
    const filled = [
      ...elements,
      ...Array.from({ length: Math.max(0, step.index + 1 - elements.length) }, () => jsonNull)
    ]
    return jsonArray(filled.with(step.index, inner))
  }
  const selector = jsonMember(step.key, jsonString(step.value))
  const inner = put(undefined, rest, value, again)
  if (inner?._tag !== "Object") return undefined
  // The selector stands before or after the member that it selects.
  const members = again ? [selector, ...inner.members] : [...inner.members, selector]
  return jsonArray([...elements, jsonObject(members)])
}

const placement = (kind: EntityKind) => {
  const columns = kind.columns.map((column) =>
    fc.tuple(
      fc.constantFrom(...column.paths.map(parsePath)),
      fc.oneof(
        { weight: 8, arbitrary: valueOf(column.type) },
        { weight: 2, arbitrary: fc.constant<JsonTree>(jsonNull) },
        { weight: 1, arbitrary: arbitraryScalar }
      )
    )
  )
  const unknown = fc.tuple(
    arbitraryKey.map((key): ReadonlyArray<Step> => [{ _tag: "Key", key: stringValue(key) }]),
    arbitraryJsonTree({ maxDepth: 2, maxNesting: 0, maxLength: 3 })
  )
  return fc.oneof({ weight: 6, arbitrary: fc.oneof(...columns) }, { weight: 1, arbitrary: unknown })
}

/** The kind with this name, which there is. */
export const kindNamed = (name: string): EntityKind => {
  const kind = kinds.find((one) => one.kind === name)
  if (kind === undefined) throw new Error(`no kind ${name}`)
  return kind
}

const entityTree = (kind: EntityKind, depth: number): fc.Arbitrary<JsonObject> => {
  const children = kind.children.map(({ path, kind: child }) => {
    const element = fc.oneof(
      { weight: 4, arbitrary: lazyEntity(kindNamed(child), depth + 1) },
      { weight: 1, arbitrary: arbitraryScalar }
    )
    const value = fc.oneof(
      { weight: 3, arbitrary: fc.array(element, { maxLength: 2 }).map(jsonArray) },
      { weight: 2, arbitrary: lazyEntity(kindNamed(child), depth + 1) },
      { weight: 1, arbitrary: arbitraryScalar }
    )
    return fc.tuple(fc.constant(parsePath(path)), value)
  })
  const part =
    children.length === 0 || depth > 2
      ? placement(kind)
      : fc.oneof({ weight: 3, arbitrary: placement(kind) }, { weight: 1, arbitrary: fc.oneof(...children) })
  return fc
    .array(
      fc.tuple(
        part,
        fc.nat(5).map((n) => n === 5)
      ),
      { maxLength: 8 }
    )
    .map((parts) =>
      parts.reduce<JsonObject>((tree, [[steps, value], again]) => {
        const next = put(tree, steps, value, again)
        return next?._tag === "Object" ? next : tree
      }, jsonObject([]))
    )
}

const known = new Map<string, fc.Arbitrary<JsonObject>>()
const lazyEntity = (kind: EntityKind, depth: number): fc.Arbitrary<JsonObject> => {
  const key = `${kind.kind} ${depth}`
  const found = known.get(key) ?? entityTree(kind, depth)
  known.set(key, found)
  return found
}

/** Texts of entities of a kind, some in a wrapper, in every layout. */
export const arbitraryEntityText = (kind: EntityKind): fc.Arbitrary<string> => {
  const entity = lazyEntity(kind, 0)
  const wrapped = fc.tuple(entity, fc.boolean(), entity).map(([data, first, more]) => {
    const head = [jsonMember("entity_id", jsonString("e1")), jsonMember("entity_type", jsonString(kind.kind))]
    return jsonObject(
      first
        ? [...more.members, jsonMember("data", data), ...head]
        : [...head, jsonMember("data", data), ...more.members]
    )
  })
  return arbitraryLayout(fc.oneof({ weight: 5, arbitrary: entity }, { weight: 1, arbitrary: wrapped })).map(toText)
}

/** The name of any kind with a text of it. */
export const arbitraryKindAndText: fc.Arbitrary<{ readonly kind: string; readonly text: string }> = fc
  .constantFrom(...kinds)
  .chain((kind) => arbitraryEntityText(kind).map((text) => ({ kind: kind.kind, text })))
