/**
 * Entities of every kind, messy on purpose: any of a column's paths, two that compete, clashing and repeated keys,
 * unknown members, children in every form, wrappers, elements that are no entity.
 */

import { kindByName, parsePath, type Column, type EntityKind, type Step } from "@mallard/schema"
import * as fc from "fast-check"
import { arbitraryKey, withDuplicateKey } from "../JsonText.ts"
import {
  jsonArray,
  jsonMember,
  jsonNull,
  jsonNumber,
  jsonObject,
  jsonString,
  jsonToken,
  stringValue,
  type JsonObject,
  type JsonTree,
  type Spelling
} from "../JsonTree.ts"
import { seldom } from "./Seldom.ts"
import { arbitraryId, arbitrarySubtree, objectOf, rareSpelling, timeTexts, valueOf } from "./Values.ts"

/** An element of a list of this kind: mostly an entity, sometimes a wrapper, `{}`, or no object at all. */
export const elementOf = (kind: EntityKind): fc.Arbitrary<JsonTree> =>
  memoised(elements, kind.kind, () =>
    fc.oneof(
      { weight: 20, arbitrary: entityOf(kind) },
      { weight: 2, arbitrary: wrapperOf(kind, wrappedIn(kind)) },
      { weight: 1, arbitrary: fc.constant(jsonObject([])) },
      { weight: 1, arbitrary: noEntity }
    )
  )

/** A list of this kind. */
export const listOf = (kind: EntityKind): fc.Arbitrary<JsonTree> =>
  memoised(lists, kind.kind, () => listOfElements(elementOf(kind), seriesOf(kind)))

/** An entity of this kind; its children have no children. */
export const entityOf = (kind: EntityKind, depth = 0): fc.Arbitrary<JsonObject> =>
  memoised(entities, `${kind.kind} ${depth}`, () =>
    fc
      .tuple(
        fc.array(partOf(kind, depth), { maxLength: 7 }),
        seldom(fc.tuple(fc.nat(6), rareSpelling, arbitrarySubtree), 24, undefined)
      )
      .map(([parts, duplicate]) => {
        const entity = parts.flat().reduce(putAll, jsonObject([]))
        return duplicate === undefined ? entity : withDuplicateKey(entity, ...duplicate)
      })
  )

/** What stands in a wrapper: an entity, seldom something else. */
const wrappedIn = (kind: EntityKind): fc.Arbitrary<JsonTree> =>
  fc.oneof({ weight: 9, arbitrary: entityOf(kind) }, { weight: 1, arbitrary: noEntity })

/** A list of wrappers, with an entity or a scalar among them now and then. */
export const wrapperListOf = (kind: EntityKind): fc.Arbitrary<JsonTree> =>
  fc
    .array(
      fc.oneof(
        { weight: 9, arbitrary: wrapperOf(kind, wrappedIn(kind)) },
        { weight: 1, arbitrary: entityOf(kind) },
        { weight: 1, arbitrary: noEntity }
      ),
      { maxLength: 3 }
    )
    .map(jsonArray)

/** A row as a program exports it: every column by its name, nulls included, decimals and JSON as strings. */
export const rowOf = (kind: EntityKind): fc.Arbitrary<JsonTree> =>
  memoised(rows, kind.kind, () =>
    fc
      .tuple(...kind.columns.map((column) => exported(column).map((value) => jsonMember(column.name, value))))
      .map((members) => jsonObject([...members, jsonMember("cohort_id", jsonString("c-1"))]))
  )

/** `{entity_id, entity_type, data, provenance}`, with or without the last. */
const wrapperOf = (kind: EntityKind, data: fc.Arbitrary<JsonTree>): fc.Arbitrary<JsonTree> =>
  fc
    .tuple(
      arbitraryId,
      fc.constantFrom(kind.kind, kind.table),
      data,
      fc.option(provenance, { nil: undefined, freq: 3 })
    )
    .map(([id, type, inner, source]) =>
      objectOf({ entity_id: id, entity_type: jsonString(type), data: inner, provenance: source })
    )

/** An object at these steps of another, or undefined where something else is in the way. */
export const put = (
  target: JsonTree | undefined,
  steps: ReadonlyArray<Step>,
  value: JsonTree,
  spelling: Spelling
): JsonTree | undefined => {
  const [step, ...rest] = steps
  if (step === undefined) return target === undefined ? value : undefined
  switch (step._tag) {
    case "Key": {
      if (target !== undefined && target._tag !== "Object") return undefined
      const members = target?.members ?? []
      const at = members.findIndex(({ key }) => stringValue(key) === step.key)
      const inner = put(members[at]?.value, rest, value, spelling)
      if (inner === undefined) return undefined
      return at < 0
        ? jsonObject([...members, jsonMember(jsonString(step.key, spelling), inner)])
        : jsonObject(members.map((member, position) => (position === at ? { ...member, value: inner } : member)))
    }
    case "Index": {
      if (target !== undefined && target._tag !== "Array") return undefined
      const present = target?.elements ?? []
      const inner = put(present[step.index], rest, value, spelling)
      if (inner === undefined) return undefined
      const missing = Array.from({ length: Math.max(0, step.index - present.length) }, () => jsonNull)
      return jsonArray([...present, ...missing].toSpliced(step.index, 1, inner))
    }
    case "Where": {
      if (target !== undefined && target._tag !== "Array") return undefined
      const present = target?.elements ?? []
      const fresh = jsonObject([jsonMember(step.key, jsonString(step.value))])
      const at = present.findIndex((element) => hasMember(element, step.key, step.value))
      const inner = put(at < 0 ? fresh : present[at], rest, value, spelling)
      if (inner === undefined) return undefined
      return jsonArray(at < 0 ? [...present, inner] : present.toSpliced(at, 1, inner))
    }
  }
}

/** A value at a place inside an entity. */
interface Placement {
  readonly steps: ReadonlyArray<Step>
  readonly value: JsonTree
  readonly spelling: Spelling
  /** Whether a key already there is repeated; otherwise what is there stays. */
  readonly repeat: boolean
}

const elements = new Map<string, fc.Arbitrary<JsonTree>>()
const lists = new Map<string, fc.Arbitrary<JsonTree>>()
const rows = new Map<string, fc.Arbitrary<JsonTree>>()
const entities = new Map<string, fc.Arbitrary<JsonObject>>()

const memoised = <A>(known: Map<string, A>, key: string, make: () => A): A => {
  const found = known.get(key) ?? make()
  known.set(key, found)
  return found
}

const putAll = (entity: JsonObject, { steps, value, spelling, repeat }: Placement): JsonObject => {
  const placed = put(entity, steps, value, spelling)
  if (placed?._tag === "Object") return placed
  const [first, ...rest] = steps
  const inner = put(undefined, rest, value, spelling)
  return repeat && first?._tag === "Key" && inner !== undefined
    ? jsonObject([...entity.members, jsonMember(jsonString(first.key, spelling), inner)])
    : entity
}

const hasMember = (tree: JsonTree, key: string, value: string): boolean =>
  tree._tag === "Object" &&
  tree.members.some(
    (member) => stringValue(member.key) === key && member.value._tag === "String" && stringValue(member.value) === value
  )

const rarely = fc.nat(5).map((n) => n === 5)

const placed = (
  steps: fc.Arbitrary<ReadonlyArray<Step>>,
  value: fc.Arbitrary<JsonTree>
): fc.Arbitrary<ReadonlyArray<Placement>> =>
  fc
    .tuple(steps, value, rareSpelling, rarely)
    .map(([steps, value, spelling, repeat]) => [{ steps, value, spelling, repeat }])

const pathsOf = (column: Column): fc.Arbitrary<ReadonlyArray<Step>> => fc.constantFrom(...column.paths.map(parsePath))

const partOf = (kind: EntityKind, depth: number): fc.Arbitrary<ReadonlyArray<Placement>> => {
  const columns = kind.columns.filter(({ paths }) => paths.length > 0)
  const rivals = columns.filter(({ paths }) => paths.length > 1)
  const children = depth < 2 ? kind.children : []
  const idPaths = kind.idPaths.flatMap((path) => path.split("+")).map(parsePath)
  return fc.oneof(
    { weight: 14, arbitrary: fc.oneof(...columns.map((column) => placed(pathsOf(column), valueOf(column)))) },
    { weight: 3, arbitrary: placed(fc.constantFrom(...idPaths), arbitraryId) },
    { weight: 2, arbitrary: fc.oneof(...rivals.map(competing)) },
    {
      weight: 3,
      arbitrary: placed(
        arbitraryKey.map((key) => [{ _tag: "Key" as const, key: stringValue(key) }]),
        arbitrarySubtree
      )
    },
    { weight: 1, arbitrary: similarKeys },
    ...(children.length === 0
      ? []
      : [
          {
            weight: 4,
            arbitrary: fc.oneof(
              ...children.map((child) => {
                const childKind = kindByName(child.kind)
                if (childKind === undefined) throw new Error(`No kind ${child.kind}`)
                return placed(fc.constant(parsePath(child.path)), childrenOf(childKind, depth + 1))
              })
            )
          }
        ])
  )
}

/** Two paths of one column, with equal or different values. */
const competing = (column: Column): fc.Arbitrary<ReadonlyArray<Placement>> =>
  fc
    .tuple(
      fc.shuffledSubarray([...column.paths], { minLength: 2, maxLength: 2 }),
      valueOf(column),
      fc.option(valueOf(column), { nil: undefined })
    )
    .map(([paths, first, second = first]) =>
      paths.map((path, at) => ({
        steps: parsePath(path),
        value: at === 0 ? first : second,
        spelling: "raw",
        repeat: false
      }))
    )

/** Two keys that a careless column name would merge. */
const similarKeys: fc.Arbitrary<ReadonlyArray<Placement>> = fc
  .tuple(
    fc.constantFrom(
      ["birthDate", "birth_date"],
      ["Name", "name"],
      ["memberId", "member_id"],
      ["a.b", "a_b"],
      ["clé", "cle\u0301"]
    ),
    fc.constantFrom(jsonString("A"), jsonNumber("1"), jsonNull)
  )
  .map(([keys, value]) =>
    keys.map((key, at) => ({
      steps: [{ _tag: "Key", key }],
      value: at === 0 ? value : jsonString("b"),
      spelling: "raw",
      repeat: false
    }))
  )

const provenance: fc.Arbitrary<JsonTree> = fc
  .tuple(fc.constantFrom(...timeTexts), fc.constantFrom("42", "99999999999", "-0", "1.0"), arbitrarySubtree)
  .map(([time, seed, extra]) =>
    objectOf({
      source_type: jsonString("generated"),
      source_system: jsonString("patientsim"),
      skill_used: jsonNull,
      derived_from: jsonArray([]),
      created_at: jsonString(time),
      generation_params: objectOf({ seed: jsonNumber(seed), extra })
    })
  )

const exported = (column: Column): fc.Arbitrary<JsonTree> => {
  const value = ((): fc.Arbitrary<JsonTree> => {
    switch (column.type) {
      case "DATE":
        return fc.constantFrom("1980-05-15", "2024-02-29").map((text) => jsonString(text))
      case "TIMESTAMP":
        return fc.constantFrom("2025-01-15T09:30:00", "2025-01-15T09:30:00.000001").map((text) => jsonString(text))
      case "JSON":
        return fc.constantFrom('["25"]', "{}", "null", "[]").map((text) => jsonString(text))
      case "BOOLEAN":
        return fc.constantFrom("true" as const, "false" as const).map(jsonToken)
      case "INTEGER":
      case "BIGINT":
        return fc.constantFrom("0", "42", "-1").map(jsonNumber)
      case "DOUBLE":
        return fc.constantFrom("22.5", "1e+22").map(jsonNumber)
      case "VARCHAR":
        return fc.constantFrom("x", "00123", "José", "").map((text) => jsonString(text))
      default:
        return fc.constantFrom("250.00", "12.5", "0").map((text) => jsonString(text))
    }
  })()
  return fc.oneof(
    { weight: 4, arbitrary: fc.constant(jsonNull) },
    { weight: 4, arbitrary: value },
    { weight: 1, arbitrary: valueOf(column) }
  )
}

const noEntity: fc.Arbitrary<JsonTree> = fc.oneof(
  fc.constantFrom(
    jsonNull,
    jsonToken("true"),
    jsonNumber("1.10"),
    jsonString("patient-1"),
    jsonString(""),
    jsonArray([])
  ),
  arbitrarySubtree
)

/** What stands at a place for children: a list, an empty one, one object, null, a scalar. */
const childrenOf = (kind: EntityKind, depth: number): fc.Arbitrary<JsonTree> => {
  const entity = fc.oneof({ weight: 10, arbitrary: entityOf(kind, depth) }, { weight: 1, arbitrary: noEntity })
  return fc.oneof(
    { weight: 6, arbitrary: fc.array(entity, { minLength: 1, maxLength: 3 }).map(jsonArray) },
    { weight: 2, arbitrary: fc.constant(jsonArray([])) },
    { weight: 3, arbitrary: entityOf(kind, depth) },
    { weight: 2, arbitrary: fc.constant(jsonNull) },
    { weight: 2, arbitrary: fc.constantFrom(jsonString("none"), jsonNumber("3"), jsonToken("false")) }
  )
}

const listOfElements = (
  element: fc.Arbitrary<JsonTree>,
  series: fc.Arbitrary<ReadonlyArray<JsonTree>>
): fc.Arbitrary<JsonTree> =>
  fc
    .tuple(fc.array(element, { maxLength: 3 }), seldom(series, 4, []), seldom(fc.nat(9), 8, undefined))
    .map(([first, rest, again]) => {
      const all = [...first, ...rest]
      const repeated = again === undefined ? undefined : all[again % Math.max(1, all.length)]
      return jsonArray(repeated === undefined ? all : [...all, repeated])
    })

/** What one key holds in elements that follow each other; undefined where the key is missing. */
const columnsOfTraps: ReadonlyArray<ReadonlyArray<JsonTree | undefined>> = [
  [jsonObject([]), undefined, jsonObject([jsonMember("x", jsonNumber("1"))]), jsonNull],
  [jsonString(""), jsonNull],
  [jsonArray([]), undefined, jsonNull],
  [jsonNumber("5"), jsonNumber("5.5")],
  [jsonNumber("5.6"), jsonString("positive"), jsonNumber("7")],
  [jsonString("007"), jsonNumber("7")],
  [jsonString("10:00"), jsonString("10:00:00")],
  [jsonString("2024-01-15T10:00:00"), jsonString("2024-01-16T10:00:00Z")],
  [jsonNumber("-0.0"), jsonNumber("-0"), jsonNumber("0")]
]

/** Elements that differ in one thing, such as the type of one key or the order of all. */
const seriesOf = (kind: EntityKind): fc.Arbitrary<ReadonlyArray<JsonTree>> => {
  const column = fc.oneof(
    ...kind.columns.map((one) =>
      fc.tuple(pathsOf(one), fc.array(fc.option(valueOf(one), { nil: undefined }), { minLength: 2, maxLength: 4 }))
    )
  )
  const unknown = fc.tuple(
    fc.oneof(
      fc.constantFrom("v", "a", "t", "value").map((key) => [{ _tag: "Key" as const, key }]),
      fc.oneof(...kind.columns.map(pathsOf))
    ),
    fc.constantFrom(...columnsOfTraps)
  )
  const sameKeys = fc.constantFrom(["z", "a", "m"], ["id", "name"], ["status", "id", "extra"])
  return fc.oneof(
    {
      weight: 4,
      arbitrary: fc.oneof({ weight: 1, arbitrary: column }, { weight: 3, arbitrary: unknown }).map(([steps, values]) =>
        values.map((value, at) => {
          const base = jsonObject([jsonMember("id", jsonString(String(at + 1)))])
          return (value === undefined ? undefined : put(base, steps, value, "raw")) ?? base
        })
      )
    },
    {
      weight: 1,
      arbitrary: sameKeys.map((keys) => [
        jsonObject(keys.map((key, at) => jsonMember(key, jsonNumber(String(at))))),
        jsonObject(keys.toReversed().map((key, at) => jsonMember(key, jsonNumber(String(at)))))
      ])
    }
  )
}
