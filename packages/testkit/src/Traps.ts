/**
 * The traps that generated documents must hold often enough, each with a predicate that finds it, and a count of how
 * often each one, and each variant, occurs. The first traps bear the names of the files of one trap each.
 */

import { kindOfTypeKey, parsePath, type EntityKind, type Step } from "@mallard/schema"
import * as fc from "fast-check"
import { arbitraryDocument, variants, type GeneratedDocument } from "./Documents.ts"
import { nodesOf, stringValue, toCompactText, type JsonObject, type JsonString, type JsonTree } from "./JsonTree.ts"

export interface Trap {
  readonly name: string
  readonly occurs: (document: GeneratedDocument) => boolean
}

export interface Frequencies {
  readonly runs: number
  /** Documents of each variant. */
  readonly variants: Readonly<Record<string, number>>
  /** Documents that hold each trap. */
  readonly traps: Readonly<Record<string, number>>
}

/** How often each variant and each trap occurs in so many documents, damaged files among them. */
export const countFrequencies = (runs: number, seed: number): Frequencies => {
  const documents = fc.sample(arbitraryDocument({ damaged: true }), { numRuns: runs, seed })
  const count = (holds: (document: GeneratedDocument) => boolean) => documents.filter(holds).length
  return {
    runs,
    variants: Object.fromEntries(variants.map((name) => [name, count(({ variant }) => variant === name)])),
    traps: Object.fromEntries(traps.map(({ name, occurs }) => [name, count(occurs)]))
  }
}

interface Entity {
  readonly kind: EntityKind
  readonly entity: JsonObject
  /** How many entities enclose it. */
  readonly depth: number
}

interface Facts {
  readonly nodes: ReadonlyArray<{ readonly node: JsonTree; readonly depth: number }>
  readonly objects: ReadonlyArray<JsonObject>
  readonly arrays: ReadonlyArray<ReadonlyArray<JsonTree>>
  /** Number tokens. */
  readonly numbers: ReadonlyArray<string>
  /** The strings that are values. */
  readonly strings: ReadonlyArray<JsonString>
  readonly texts: ReadonlyArray<string>
  readonly keys: ReadonlyArray<string>
  /** What stands under the keys of a document's root, `entities` or `data`. */
  readonly sections: ReadonlyArray<{
    readonly key: string
    readonly kind: EntityKind | undefined
    readonly value: JsonTree
  }>
  /** Objects under type keys, wrapped ones unwrapped, and the children in them. */
  readonly entities: ReadonlyArray<Entity>
  /** What stands at the places for children. */
  readonly children: ReadonlyArray<{ readonly kind: EntityKind; readonly depth: number; readonly value: JsonTree }>
}

type Holds = (facts: Facts, document: GeneratedDocument) => boolean

/** Every trap by name. */
export const traps: ReadonlyArray<Trap> = Object.entries({
  // One per file of the same name.
  arr_arr: ({ arrays }) => arrays.some((elements) => elements.some(({ _tag }) => _tag === "Array")),
  arr_nulls: ({ arrays }) =>
    arrays.some((elements) => elements.some(isNull) && elements.some((element) => !isNull(element))),
  bom: anyFile(({ encoding }) => encoding === "utf-8-bom"),
  camel: ({ objects }) =>
    objects.some((object) => hasTwins(object, (key) => key.replaceAll("_", "").toLowerCase(), "_")),
  datens: anyText(/T\d\d:\d\d:\d\d\.\d{7,}/),
  datesonly: series(isText(/T\d\d:\d\d:\d\d$/), isText(/T\d\d:\d\d:\d\dZ$/)),
  dec_long: anyNumber(/^-?\d+\.\d{18,}$/),
  deep: ({ nodes }) => nodes.some(({ depth }) => depth > 60),
  dltcol: anyKey(/^_dlt_/),
  dupkey: ({ objects }) =>
    objects.some(({ members }) => new Set(members.map(({ key }) => stringValue(key))).size < members.length),
  empty_obj: series(isEmptyObject, isMissing, isNull),
  emptystr: series(isText(/^$/), isNull),
  entity_nonlist: anySection(({ kind, value }) => kind !== undefined && value._tag === "Object"),
  escapes: ({ strings }) => strings.some(({ pieces }) => pieces.some(({ means, spelt }) => means !== spelt)),
  int200: anyNumber(/^-?\d{39,}$/),
  int63: ({ numbers }) => numbers.some((text) => /^-?\d{16,19}$/.test(text) && !Number.isSafeInteger(Number(text))),
  int_then_float: series(isNumber(/^-?\d+$/), isNumber(/^-?\d+\.\d+$/)),
  keycase: ({ objects }) => objects.some((object) => hasTwins(object, (key) => key.toLowerCase())),
  leadzero: anyText(/^0\d+$/),
  mixed_num_str: series(isNumber(/./), isText(/^[a-z]+$/)),
  negzero: anyNumber(/^-0(\.0*)?$/),
  nul: anyText(/\0/),
  order: ({ arrays }) => arrays.some(hasOrders),
  reserved: anyKey(/^(select|table|rowid|order|group)$/),
  str_then_int: series(isText(/^\d+$/), isNumber(/^\d+$/)),
  timestr: anyText(/^\d\d:\d\d(:\d\d)?$/),
  trunc: anyFile(({ cutTo }) => cutTo !== undefined && cutTo > 0),
  uuidcase: anyText(/^(?=.*[A-F])[\dA-F]{8}-[\dA-F]{4}-[\dA-F]{4}-[\dA-F]{4}-[\dA-F]{12}$/),
  zero: anyFile(({ cutTo }) => cutTo === 0),

  // Text.
  "duplicate key in another spelling": ({ objects }) => objects.some(hasRespeltKey),
  "escaped key": ({ objects }) =>
    objects.some(({ members }) => members.some(({ key }) => key.pieces.some(({ means, spelt }) => means !== spelt))),
  "lone surrogate": ({ texts }) => texts.some((text) => !text.isWellFormed()),
  "lone surrogate in a key": ({ keys }) => keys.some((key) => !key.isWellFormed()),
  "reversed surrogates": anyText(/[\udc00-\udfff][\ud800-\udbff]/),
  "surrogate pair as escapes": ({ strings }) =>
    strings.some(({ pieces }) => pieces.some(({ spelt }) => /^\\ud[89ab]..\\ud[c-f]/i.test(spelt))),
  "raw surrogate pair": ({ strings }) =>
    strings.some(({ pieces }) => pieces.some(({ spelt }) => /[\u{10000}-\u{10ffff}]/u.test(spelt))),
  "NaN or Infinity": ({ nodes }) => nodes.some(({ node }) => node._tag === "Token" && /[NI]/.test(node.text)),
  "byte order mark leading a string": anyText(/^\ufeff/),
  "line separator in a string": anyText(/[\u2028\u2029]/),
  "control in a string": ({ texts }) => texts.some(hasControl),
  "long string": ({ texts }) => texts.some((text) => text.length > 200),
  "combining mark": anyText(/\u0301/),
  "date that does not exist": anyText(/^(1980-02-30|2023-02-29)/),
  "offset in a time": anyText(/T\d\d:\d\d:\d\d[+-]\d/),
  "trailing zero": anyNumber(/\.\d*0(e|$)/i),
  exponent: anyNumber(/e/i),
  "exponent out of range": anyNumber(/e[+-]?\d{3}/i),
  "beyond the decimals of a column": anyNumber(/^-?\d+\.\d{3,}$/),
  "white space between tokens": ({ nodes }) => nodes.some(({ node }) => /[\t\r\n ]/.test(node.before + node.after)),
  "no white space at all": ({ nodes }) => nodes.every(({ node }) => node.before + node.after === ""),
  "UTF-16": anyFile(({ encoding }) => encoding.startsWith("utf-16")),
  "deeper than 100": ({ nodes }) => nodes.some(({ depth }) => depth > 100),

  // Keys.
  "key __proto__": anyKey(/^__proto__$/),
  "key of a built-in": anyKey(/^(constructor|prototype|toString|hasOwnProperty|toJSON|then|length)$/),
  "integer keys out of order": ({ objects }) => objects.some(hasIntegerKeysOutOfOrder),
  "empty key": anyKey(/^$/),
  "key with a path character": anyKey(/[.[\]]/),
  "key with a pointer character": anyKey(/[~/]/),
  "key beyond ASCII": anyKey(/[^\0-\u007f]/),
  "key with a control": ({ keys }) => keys.some(hasControl),
  "null, {}, [] and missing": series(isNull, isMissing, (value) => isEmptyObject(value) || isEmptyArray(value)),

  // Entities.
  "competing paths": ({ entities }) => entities.some(hasCompetingPaths),
  "object at a path of a scalar column": ({ entities }) => entities.some(hasObjectAtScalarColumn),
  wrapper: anySection(({ value }) => elementsOf(value).some(isWrapper)),
  "wrapper beside a bare entity": anySection(
    ({ value }) =>
      elementsOf(value).some(isWrapper) && elementsOf(value).some((one) => isObject(one) && !isWrapper(one))
  ),
  "wrapper without an object": anySection(({ value }) =>
    elementsOf(value).some((one) => isWrapper(one) && !isObject(valuesOf(one).get("data")))
  ),
  "element that is no object": anySection(
    ({ kind, value }) => kind !== undefined && elementsOf(value).some((one) => !isObject(one))
  ),
  "empty entity": anySection(({ kind, value }) => kind !== undefined && elementsOf(value).some(isEmptyObject)),
  "same entity twice in a list": anySection(({ value }) => {
    const texts = elementsOf(value).filter(isObject).map(toCompactText)
    return new Set(texts).size < texts.length
  }),
  "same entity in two kinds": ({ sections }) => {
    const owners = new Map<string, string>()
    return sections.some(({ kind, value }) =>
      elementsOf(value)
        .filter(isObject)
        .some((one) => {
          if (kind === undefined) return false
          const text = toCompactText(one)
          const owner = owners.get(text)
          owners.set(text, kind.kind)
          return owner !== undefined && owner !== kind.kind
        })
    )
  },
  "null under a type key": anySection(({ kind, value }) => kind !== undefined && isNull(value)),
  "scalar under a type key": anySection(
    ({ kind, value }) => kind !== undefined && !isNull(value) && !isObject(value) && value._tag !== "Array"
  ),
  "empty list under a type key": anySection(({ kind, value }) => kind !== undefined && isEmptyArray(value)),
  "object under a plural key": anySection(({ key, kind, value }) => kind?.table === key && value._tag === "Object"),
  "type key in camel case": anySection(({ key, kind }) => kind !== undefined && /[a-z][A-Z]/.test(key)),
  "type key in upper case": anySection(({ key, kind }) => kind !== undefined && /^[A-Z]/.test(key)),
  "malformed plural": anySection(({ key }) =>
    /^(allergys|facilitys|diagnosiss|pharmacys|studys|geographic_entitys)$/i.test(key)
  ),
  "unknown type": anySection(({ key, value }) => kindOfTypeKey(key) === undefined && value._tag === "Array"),
  "list of children": anyChild((value) => value._tag === "Array" && value.elements.length > 0),
  "empty list of children": anyChild(isEmptyArray),
  "single child": anyChild(isObject),
  "null for children": anyChild(isNull),
  "scalar for children": anyChild((value) => !isNull(value) && !isObject(value) && value._tag !== "Array"),
  "child that is no object": anyChild((value) => elementsOf(value).some((one) => !isObject(one))),
  "children in a child": ({ children }) => children.some(({ depth }) => depth > 1),

  // Documents.
  "no name": ({ sections }) => !sections.some(({ key }) => key === "name"),
  "name that is no text": anySection(({ key, value }) => key === "name" && value._tag !== "String"),
  "tags that are no list": anySection(({ key, value }) => key === "tags" && value._tag !== "Array"),
  "entities that are no object": anySection(({ key, value }) => key === "entities" && !isObject(value)),
  "root array": (_, { files }) => files.some(({ tree }) => tree._tag === "Array"),
  directory: (_, { directory }) => directory !== undefined
} satisfies Record<string, Holds>).map(([name, holds]: [string, Holds]) => ({
  name,
  occurs: (document) => holds(factsOf(document), document)
}))

function anyText(pattern: RegExp): Holds {
  return ({ texts }) => texts.some((text) => pattern.test(text))
}

function anyKey(pattern: RegExp): Holds {
  return ({ keys }) => keys.some((key) => pattern.test(key))
}

function anyNumber(pattern: RegExp): Holds {
  return ({ numbers }) => numbers.some((text) => pattern.test(text))
}

function anyChild(test: (value: JsonTree) => boolean): Holds {
  return ({ children }) => children.some(({ value }) => test(value))
}

function anySection(test: (section: Facts["sections"][number]) => boolean): Holds {
  return ({ sections }) => sections.some(test)
}

function anyFile(test: (file: GeneratedDocument["files"][number]) => boolean): Holds {
  return (_, { files }) => files.some(test)
}

/** Whether elements of one array hold, under one key, a value for each of the tests. */
function series(...tests: ReadonlyArray<(value: JsonTree | undefined) => boolean>): Holds {
  return ({ arrays }) =>
    arrays.some((elements) => {
      const objects = elements.filter(isObject).map(valuesOf)
      if (objects.length < 2) return false
      const keys = new Set(objects.flatMap((values) => [...values.keys()]))
      return [...keys].some((key) => tests.every((test) => objects.some((values) => test(values.get(key)))))
    })
}

const known = new WeakMap<GeneratedDocument, Facts>()

function factsOf(document: GeneratedDocument): Facts {
  const found = known.get(document) ?? gatherFacts(document)
  known.set(document, found)
  return found
}

function gatherFacts({ files }: GeneratedDocument): Facts {
  const nodes = files.flatMap(({ tree }) => [...nodesOf(tree)])
  const objects = nodes.map(({ node }) => node).filter(isObject)
  const strings = nodes.map(({ node }) => node).filter((node) => node._tag === "String")
  const sections = files.flatMap(({ tree }) => sectionsOf(tree))
  const entities = sections.flatMap(({ kind, value }) => (kind === undefined ? [] : entitiesIn(kind, value, 0)))
  const children: Array<Facts["children"][number]> = []
  // Grows while it is walked: children have children.
  for (const { kind, entity, depth } of entities) {
    for (const { path, kind: name } of kind.children) {
      const value = resolve(entity, parsed(path))
      const childKind = kindOfTypeKey(name)
      if (value === undefined || childKind === undefined) continue
      children.push({ kind: childKind, depth: depth + 1, value })
      entities.push(...entitiesIn(childKind, value, depth + 1))
    }
  }
  return {
    nodes,
    objects,
    arrays: nodes.flatMap(({ node }) => (node._tag === "Array" ? [node.elements] : [])),
    numbers: nodes.flatMap(({ node }) => (node._tag === "Number" ? [node.text] : [])),
    strings,
    texts: strings.map(stringValue),
    keys: objects.flatMap(({ members }) => members.map(({ key }) => stringValue(key))),
    sections,
    entities,
    children
  }
}

function sectionsOf(root: JsonTree): Facts["sections"] {
  if (root._tag !== "Object") return []
  return root.members.flatMap(({ key, value }) => {
    const name = stringValue(key)
    const section = { key: name, kind: kindOfTypeKey(name), value }
    return name === "entities" || name === "data" ? [section, ...sectionsOf(value)] : [section]
  })
}

function entitiesIn(kind: EntityKind, value: JsonTree, depth: number): Array<Entity> {
  return [value, ...elementsOf(value)].flatMap((element) => {
    const entity = isWrapper(element) ? valuesOf(element).get("data") : element
    return isObject(entity) ? [{ kind, entity, depth }] : []
  })
}

function elementsOf(tree: JsonTree): ReadonlyArray<JsonTree> {
  return tree._tag === "Array" ? tree.elements : []
}

/** The value of each key; of keys that repeat, the first. */
function valuesOf({ members }: JsonObject): ReadonlyMap<string, JsonTree> {
  return new Map(members.toReversed().map(({ key, value }) => [stringValue(key), value]))
}

function resolve(tree: JsonTree, steps: ReadonlyArray<Step>): JsonTree | undefined {
  let at: JsonTree | undefined = tree
  for (const step of steps) {
    if (at === undefined) return undefined
    switch (step._tag) {
      case "Key":
        at = isObject(at) ? valuesOf(at).get(step.key) : undefined
        break
      case "Index":
        at = elementsOf(at)[step.index]
        break
      case "Where":
        at = elementsOf(at).find((element) => {
          const value = isObject(element) ? valuesOf(element).get(step.key) : undefined
          return value?._tag === "String" && stringValue(value) === step.value
        })
    }
  }
  return at
}

const steps = new Map<string, ReadonlyArray<Step>>()

function parsed(path: string): ReadonlyArray<Step> {
  const found = steps.get(path) ?? parsePath(path)
  steps.set(path, found)
  return found
}

function isObject(tree: JsonTree | undefined): tree is JsonObject {
  return tree?._tag === "Object"
}

function isEmptyObject(tree: JsonTree | undefined): boolean {
  return tree?._tag === "Object" && tree.members.length === 0
}

function isEmptyArray(tree: JsonTree | undefined): boolean {
  return tree?._tag === "Array" && tree.elements.length === 0
}

function isNull(tree: JsonTree | undefined): boolean {
  return tree?._tag === "Token" && tree.text === "null"
}

function isMissing(tree: JsonTree | undefined): boolean {
  return tree === undefined
}

function isText(pattern: RegExp) {
  return (tree: JsonTree | undefined): boolean => tree?._tag === "String" && pattern.test(stringValue(tree))
}

function isNumber(pattern: RegExp) {
  return (tree: JsonTree | undefined): boolean => tree?._tag === "Number" && pattern.test(tree.text)
}

function hasControl(text: string): boolean {
  return Array.from(text).some((character) => character < " " || character === "\u007f")
}

function isScalar(tree: JsonTree): boolean {
  return !isObject(tree) && tree._tag !== "Array"
}

function isWrapper(tree: JsonTree): tree is JsonObject {
  if (!isObject(tree)) return false
  const values = valuesOf(tree)
  return values.has("entity_id") && values.has("entity_type") && values.has("data")
}

/** Whether two different keys are the same after `fold`; with `mark`, one of them holds it and the other does not. */
function hasTwins({ members }: JsonObject, fold: (key: string) => string, mark?: string): boolean {
  const keys = [...new Set(members.map(({ key }) => stringValue(key)))]
  return keys.some((one) =>
    keys.some(
      (other) =>
        one !== other &&
        fold(one) === fold(other) &&
        (mark === undefined || (one.includes(mark) && !other.includes(mark)))
    )
  )
}

function hasRespeltKey({ members }: JsonObject): boolean {
  return members.some(({ key }, at) =>
    members
      .slice(at + 1)
      .some((other) => stringValue(other.key) === stringValue(key) && spelt(other.key) !== spelt(key))
  )
}

function spelt({ pieces }: JsonString): string {
  return pieces.map((piece) => piece.spelt).join("")
}

function hasIntegerKeysOutOfOrder({ members }: JsonObject): boolean {
  const keys = members.map(({ key }) => stringValue(key))
  const isInteger = (key: string) => /^(0|[1-9]\d*)$/.test(key)
  return keys.some((key, at) => at > 0 && isInteger(key) && keys.slice(0, at).some((before) => !isInteger(before)))
}

/** Whether two objects have the same keys in different orders. */
function hasOrders(elements: ReadonlyArray<JsonTree>): boolean {
  const orders = new Map<string, string>()
  return elements.filter(isObject).some(({ members }) => {
    const keys = members.map(({ key }) => stringValue(key))
    const order = JSON.stringify(keys)
    const set = JSON.stringify(keys.toSorted())
    const first = orders.get(set)
    if (first === undefined) orders.set(set, order)
    return first !== undefined && first !== order
  })
}

function hasCompetingPaths({ kind, entity }: Entity): boolean {
  return kind.columns.some(({ paths }) => {
    const hits = paths.map((path) => resolve(entity, parsed(path)))
    return hits.filter((hit) => hit !== undefined && isScalar(hit) && !isNull(hit)).length > 1
  })
}

function hasObjectAtScalarColumn({ kind, entity }: Entity): boolean {
  return kind.columns.some(
    ({ type, paths }) =>
      type !== "JSON" &&
      paths.some((path) => {
        const hit = resolve(entity, parsed(path))
        return hit !== undefined && !isScalar(hit)
      })
  )
}
