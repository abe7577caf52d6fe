import { type Column, type EntityKind, kindByCode, parsePath, type Step } from "@mallard/schema"
import { type JsonTree, parseText, stringValue } from "@mallard/testkit"
import * as fc from "fast-check"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, inject, it } from "vitest"
import { rowValues, viewBatch } from "@mallard/entity-serializers"
import { arbitraryKindAndText, cohortRules, kindNamed, readEntity, type Setup, setUp } from "./support.ts"

/** A node of an entity with its place; walked by the paths of the schema alone, sharing nothing with the reader. */
interface Found {
  readonly tree: JsonTree
  readonly pointer: string
}

const memberOf = (tree: JsonTree, key: string): JsonTree | undefined =>
  tree._tag === "Object" ? tree.members.findLast((member) => stringValue(member.key) === key)?.value : undefined

const step = ({ tree, pointer }: Found, next: Step): Found | undefined => {
  switch (next._tag) {
    case "Key": {
      const value = memberOf(tree, next.key)
      return value === undefined ? undefined : { tree: value, pointer: `${pointer}/${next.key}` }
    }
    case "Index": {
      const value = tree._tag === "Array" ? tree.elements[next.index] : undefined
      return value === undefined ? undefined : { tree: value, pointer: `${pointer}/${next.index}` }
    }
    case "Where": {
      if (tree._tag !== "Array") return undefined
      const at = tree.elements.findIndex(
        (element) =>
          element._tag === "Object" &&
          element.members.some(
            ({ key, value }) =>
              stringValue(key) === next.key && value._tag === "String" && stringValue(value) === next.value
          )
      )
      return at < 0 ? undefined : { tree: tree.elements[at]!, pointer: `${pointer}/${at}` }
    }
  }
}

const isContainer = (tree: JsonTree): boolean => tree._tag === "Object" || tree._tag === "Array"
const isNull = (tree: JsonTree): boolean => tree._tag === "Token" && tree.text === "null"

/** Where a path leads inside an entity; nested entities are not entered. */
const follow = (kind: EntityKind, root: Found, path: string): Found | undefined => {
  const steps = parsePath(path)
  const children = new Set(kind.children.map((child) => JSON.stringify(parsePath(child.path))))
  let found: Found | undefined = root
  for (const [at, next] of steps.entries()) {
    found = step(found, next)
    if (found === undefined) return undefined
    if (isContainer(found.tree) && children.has(JSON.stringify(steps.slice(0, at + 1)))) return undefined
  }
  return found
}

const isWrapper = (tree: JsonTree): boolean => {
  const data = tree._tag === "Object" ? tree.members.find(({ key }) => stringValue(key) === "data") : undefined
  return (
    data?.value._tag === "Object" &&
    memberOf(tree, "entity_id") !== undefined &&
    memberOf(tree, "entity_type") !== undefined
  )
}

interface Leaf extends Found {
  /** Columns whose value this leaf is, in declaration order. */
  readonly columns: Array<Column>
}

/** Every mapped leaf of an entity that is not null, with the columns that its value feeds. */
const mappedLeaves = (kind: EntityKind, text: string): ReadonlyArray<Leaf> => {
  const tree = parseText(text)
  const outer: Found = { tree, pointer: "" }
  const data = isWrapper(tree) ? step(outer, { _tag: "Key", key: "data" }) : undefined
  const roots = data === undefined ? [outer] : [data, outer]
  const leaves = new Map<string, Leaf>()
  for (const column of kind.columns) {
    let fed = false
    for (const path of column.paths) {
      for (const root of roots) {
        const found = follow(kind, root, path)
        if (found === undefined || isNull(found.tree)) continue
        if (isContainer(found.tree)) {
          fed ||= column.type === "JSON"
          continue
        }
        const leaf = leaves.get(found.pointer) ?? { ...found, columns: [] }
        leaves.set(found.pointer, leaf)
        if (!fed) leaf.columns.push(column)
        fed = true
      }
    }
  }
  return [...leaves.values()]
}

const check = (setup: Setup, kind: EntityKind, text: string): { readonly mapped: number; readonly held: number } => {
  const entity = readEntity(setup, kind, text)
  const values = rowValues(
    setup.batch,
    kind.code,
    entity.id - setup.batch.rows[kind.code]!.firstId,
    setup.reader.tokenizer.output
  )
  const remarks = new Set(entity.remarks.filter(({ code }) => code !== "duplicate-key").map(({ pointer }) => pointer))
  const columns = entity.template.split("\u0001").filter((label, at) => at % 2 === 1 && label.startsWith("c:"))
  const leaves = mappedLeaves(kind, text)
  let held = 0
  for (const { tree, pointer, columns: fed } of leaves) {
    if (remarks.has(pointer)) continue
    held++
    const [home] = fed
    assert.isDefined(home, `${pointer} is in no column and has no remark`)
    const value = values.get(home.name)
    assert.isNotNull(value, pointer)
    assert.isTrue(
      columns.some((label) => label.split(":")[1] === home.name),
      pointer
    )
    if (home.type === "VARCHAR")
      assert.strictEqual(value, tree._tag === "String" ? stringValue(tree) : "text" in tree ? tree.text : "", pointer)
    // Copies hold the same value, if they can.
    for (const copy of fed.slice(1))
      if (copy.type === "VARCHAR" && copy.decode === undefined) assert.isNotNull(values.get(copy.name), pointer)
  }
  return { mapped: leaves.length, held }
}

describe("a mapped leaf", () => {
  it("is in its home column, or there is a remark about it", () => {
    let held = 0
    let mapped = 0
    const setup = setUp()
    fc.assert(
      fc.property(arbitraryKindAndText, ({ kind, text }) => {
        const counts = check(setup, kindNamed(kind), text)
        held += counts.held
        mapped += counts.mapped
      }),
      { numRuns: 1500 }
    )
    assert.isAbove(held, 500)
    assert.isAbove(mapped, held)
  })

  const shared = inject("shared")
  it.skipIf(shared === undefined || !existsSync(join(shared, "cases")))(
    "of real documents is in a column 95 times in 100, and the others are named",
    () => {
      const files = ["saved", "workspaces"].flatMap((folder) =>
        readdirSync(join(shared!, "cases", folder), { recursive: true, encoding: "utf8" })
          .filter((name) => name.endsWith(".json"))
          .map((name) => join(shared!, "cases", folder, name))
      )
      const setup = setUp()
      const scratch = setUp()
      let held = 0
      let mapped = 0
      let entities = 0
      for (const file of files) {
        setup.documents.readBytes(readFileSync(file), cohortRules)
        const view = viewBatch(setup.reader)
        const { members } = setup.documents.rows
        const seen = (code: number, id: number): void => {
          if (code === 0) return
          entities++
          const counts = check(scratch, kindByCode(code)!, view.text(code, id))
          held += counts.held
          mapped += counts.mapped
          for (const child of view.childrenOf(code, id).flat()) if (child !== undefined) seen(child.kind, child.id)
        }
        for (let at = 0; at < members.count; at++) seen(members.kind[at]!, members.id[at]!)
      }
      assert.isAbove(entities, 10)
      assert.isAtLeast(held / mapped, 0.95, `${held} of ${mapped}`)
    }
  )
})
