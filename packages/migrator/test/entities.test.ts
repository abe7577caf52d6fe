import { assert, describe, it } from "@effect/vitest"
import { openStore, queryRows } from "@mallard/duckdb-store"
import { type Column, type EntityKind, kinds, parsePath, type Step } from "@mallard/schema"
import { compactText, type JsonTree, parseText, stringValue, tempDirectory, toCompactText } from "@mallard/testkit"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { basename, join } from "node:path"
import { inject } from "vitest"
import { type ItemReport } from "@mallard/migrator"
import { savedFolders } from "./fixtures.ts"
import { entities, migrated, run } from "./support.ts"

/** An entity where an independent reader finds it. */
interface Found {
  readonly path: string
  readonly kind: EntityKind
  readonly pointer: string
  readonly tree: JsonTree
}

interface Located {
  readonly pointer: string
  readonly node: JsonTree
}

const member = (tree: JsonTree, key: string): JsonTree | undefined =>
  tree._tag === "Object" ? tree.members.findLast((one) => stringValue(one.key) === key)?.value : undefined

const step = (at: Located, one: Step): Located | undefined => {
  const { node, pointer } = at
  if (one._tag === "Key") {
    const value = member(node, one.key)
    return value && { pointer: `${pointer}/${one.key}`, node: value }
  }
  if (node._tag !== "Array") return undefined
  const index =
    one._tag === "Index"
      ? one.index
      : node.elements.findIndex((element) => {
          const value = member(element, one.key)
          return value?._tag === "String" && stringValue(value) === one.value
        })
  const element = node.elements[index]
  return element && { pointer: `${pointer}/${index}`, node: element }
}

const resolve = (tree: JsonTree, steps: ReadonlyArray<Step>): Located | undefined =>
  steps.reduce<Located | undefined>((at, one) => at && step(at, one), { pointer: "", node: tree })

const at = (tree: JsonTree, pointer: string): JsonTree => {
  let node = tree
  for (const token of pointer.split("/").slice(1)) {
    const next = node._tag === "Array" ? node.elements[Number(token)] : member(node, token)
    if (next === undefined) throw new Error(`Nothing at ${pointer}`)
    node = next
  }
  return node
}

const isScalar = (node: JsonTree): boolean => node._tag !== "Object" && node._tag !== "Array"

/**
 * Every leaf that some path of the kind leads to, with the columns that take it in order. Whole containers count where a
 * JSON column takes them first.
 */
const mappedLeaves = (kind: EntityKind, tree: JsonTree) => {
  const isWrapper = ["entity_id", "entity_type", "data"].every((key) => member(tree, key) !== undefined)
  const leaves = new Map<string, { readonly node: JsonTree; readonly columns: Array<Column> }>()
  for (const column of kind.columns) {
    const found = column.paths
      .flatMap((path) => (isWrapper ? [path, `data.${path}`] : [path]))
      .map((path) => resolve(tree, parsePath(path)))
      .filter((one) => one !== undefined)
      .filter(
        ({ node }) => !(node._tag === "Token" && node.text === "null") && (column.type === "JSON" || isScalar(node))
      )
    for (const [rank, { node, pointer }] of found.entries()) {
      if (rank > 0 && !isScalar(node)) continue
      const leaf = leaves.get(pointer) ?? { node, columns: [] }
      leaves.set(pointer, leaf)
      leaf.columns.push(column)
    }
  }
  return leaves
}

/** Whether a column's value, as text, is exactly what the leaf says. */
const holds = (type: string, node: JsonTree, value: string): boolean => {
  if (type === "JSON") return value === toCompactText(node)
  const text = node._tag === "String" ? stringValue(node) : toCompactText(node)
  if (type === "TIMESTAMP") {
    const full = text.replace("T", " ").replace(/Z$/, "")
    return value === (full.length === 10 ? `${full} 00:00:00` : full)
  }
  if (/^(?:INTEGER|BIGINT|DOUBLE|DECIMAL)/.test(type)) return Number(value) === Number(text)
  return value === text
}

/** Leaves that are in a column of their own, that are listed instead, and that are neither. */
const account = Effect.fnUntraced(function* (
  database: string,
  items: ReadonlyArray<ItemReport>,
  found: ReadonlyArray<Found>
) {
  const listed = new Set(
    items.flatMap(({ path, remarks }) =>
      remarks.map(({ part, pointer }) => `${part ?? basename(path)} ${String(pointer)}`)
    )
  )
  let inColumns = 0
  let remarked = 0
  const unlisted: Array<string> = []
  yield* Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openStore({ path: database, readonly: true })
      for (const kind of kinds) {
        const own = found.filter((one) => one.kind === kind)
        if (own.length === 0) continue
        const names = kind.columns.map(({ name }) => `e."${name}"::VARCHAR`).join(", ")
        const rows = new Map(
          (yield* queryRows(
            client,
            `SELECT c.source_path || ' ' || c.pointer, ${names} FROM cohort_entities c JOIN mallard.${kind.table} e ON e.entity_id = c.entity_id WHERE c.kind = '${kind.kind}'`
          )).map(([place, ...values]) => [String(place), values])
        )
        for (const { path, pointer, tree } of own) {
          const values = rows.get(`${path} ${pointer}`)
          assert(values !== undefined, `${path} ${pointer}`)
          for (const [inside, { columns, node }] of mappedLeaves(kind, tree)) {
            const place = `${path} ${pointer}${inside}`
            const isHeld = columns.some((column) => {
              const value = values[kind.columns.indexOf(column)]
              return typeof value === "string" && holds(column.type, node, value)
            })
            if (listed.has(place)) remarked++
            else if (isHeld) inColumns++
            else unlisted.push(place)
          }
        }
      }
    })
  )
  return { inColumns, remarked, unlisted }
})

/** Every text of every column of every table. */
const allTexts = (database: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openStore({ path: database, readonly: true })
      const texts: Array<{ readonly place: string; readonly text: string }> = []
      for (const [table, column] of yield* queryRows(
        client,
        "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'mallard' AND data_type IN ('VARCHAR', 'JSON') AND table_name IN (SELECT table_name FROM duckdb_tables())"
      )) {
        const values = yield* queryRows(
          client,
          `SELECT DISTINCT "${String(column)}"::VARCHAR FROM mallard."${String(table)}" WHERE "${String(column)}" IS NOT NULL`
        )
        for (const [text] of values) texts.push({ place: `${String(table)}.${String(column)}`, text: String(text) })
      }
      return texts
    })
  )

const occurrences = (text: string, part: string): number => text.split(part).length - 1

/** No column holds the text of an entity; text that also stands where it is no entity is left out. */
const assertNothingWhole = Effect.fnUntraced(function* (
  database: string,
  found: ReadonlyArray<Found>,
  sources: ReadonlyArray<string>
) {
  const texts = yield* allTexts(database)
  const compact = sources.map(compactText).join("\n")
  const wholes = found.map(({ tree }) => toCompactText(tree))
  let checked = 0
  for (const { pointer, tree } of found) {
    const whole = toCompactText(tree)
    if (occurrences(compact, whole) > wholes.filter((other) => other === whole).length) continue
    checked++
    assert.deepStrictEqual(
      texts.filter(({ text }) => text.includes(whole)).map(({ place }) => place),
      [],
      pointer
    )
  }
  assert.isAbove(checked, found.length / 2)
})

/** An entity with what the database says of it: its id, the values of its own, and what its kind's view shows. */
interface Placed extends Found {
  readonly entityId: unknown
  readonly own: ReadonlyArray<unknown>
  readonly parent: readonly [kind: unknown, entityId: unknown]
  readonly shown: ReadonlyArray<unknown>
}

/** Every entity is in the view of its kind once, and no other is; the answer is in the order of `found`. */
const inViews = Effect.fnUntraced(function* (database: string, found: ReadonlyArray<Found>) {
  const placed = new Map<string, Placed>()
  yield* Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openStore({ path: database, readonly: true })
      for (const kind of kinds) {
        const expected = new Map(
          found.filter((one) => one.kind === kind).map((one) => [`${one.path} ${one.pointer}`, one])
        )
        const texts = (prefix: string) => kind.columns.map(({ name }) => `${prefix}."${name}"::VARCHAR`).join(", ")
        const rows = yield* queryRows(
          client,
          `SELECT v.source_path || ' ' || v.pointer, v.entity_id, v.parent_kind, v.parent_entity_id, ${texts("v")}, ${texts("e")}
           FROM ${kind.table} v JOIN mallard.${kind.table} e ON e.entity_id = v.entity_id`
        )
        assert.deepStrictEqual(rows.map(([place]) => String(place)).sort(), [...expected.keys()].sort(), kind.table)
        for (const [place, entityId, parentKind, parentId, ...values] of rows) {
          const one = expected.get(String(place))
          if (one === undefined) continue
          placed.set(`${kind.kind} ${String(place)}`, {
            ...one,
            entityId,
            parent: [parentKind, parentId],
            shown: values.slice(0, kind.columns.length),
            own: values.slice(kind.columns.length)
          })
        }
      }
    })
  )
  return found.flatMap(({ kind, path, pointer }) => placed.get(`${kind.kind} ${path} ${pointer}`) ?? [])
})

const ownValue = ({ kind, own }: Placed, column: Column | undefined): unknown =>
  column && own[kind.columns.indexOf(column)]

const columnOf = (kind: EntityKind, path: string): Column | undefined =>
  kind.columns.find(({ paths }) => paths.includes(path))

/** What an entity around `column`'s offers for it: what the column's contexts name, else the column of that name. */
const offers = (around: Placed, column: Column): ReadonlyArray<unknown> => {
  const named = column.context.map((context) => {
    const [start = "", ...path] = context.split(".")
    return start === "$parent"
      ? columnOf(around.kind, path.join("."))
      : path[0] === around.kind.kind
        ? columnOf(around.kind, path.slice(1).join("."))
        : undefined
  })
  const same = around.kind.columns.find(
    ({ context, name }) => name === column.name && context.some((path) => column.context.includes(path))
  )
  return [...named, same].map((one) => ownValue(around, one))
}

/** The one entity among these, however often it stands there. */
const only = (all: ReadonlyArray<Placed>): ReadonlyArray<Placed> =>
  new Set(all.map(({ entityId }) => entityId)).size === 1 ? all.slice(0, 1) : []

/** Each shows its parent, and for each column with a context what the order of the contexts says. */
const assertContexts = (all: ReadonlyArray<Placed>) => {
  const around = ({ path, pointer }: Found) =>
    all
      .filter((other) => other.path === path && pointer.startsWith(`${other.pointer}/`))
      .sort((a, b) => b.pointer.length - a.pointer.length)
  const members = all.filter((one) => around(one).length === 0)
  let filled = 0
  for (const one of all) {
    const place = `${one.path} ${one.pointer}`
    const [nearest, ...further] = around(one)
    assert.deepStrictEqual(one.parent, nearest ? [nearest.kind.kind, nearest.entityId] : [null, null], place)
    const leaves = [...mappedLeaves(one.kind, one.tree).values()]
    for (const column of one.kind.columns) {
      const own = ownValue(one, column)
      const isHeldElsewhere = own === null && leaves.some(({ columns }) => columns[0] === column)
      const enclosing = nearest ? [nearest, ...further].flatMap((other) => offers(other, column)) : []
      const documents = column.context.flatMap((context) => {
        const [start, key = "", ...path] = context.split(".")
        if (start !== "$doc") return []
        const ofKind = members.filter(({ kind }) => kind.kind === key)
        const atKey = ofKind.filter(({ pointer }) => pointer.toLowerCase() === `/${key.toLowerCase()}`)
        const [chosen] = [...only(atKey.filter((other) => other.path === one.path)), ...only(atKey), ...only(ofKind)]
        return chosen ? [ownValue(chosen, columnOf(chosen.kind, path.join(".")))] : []
      })
      const value = isHeldElsewhere
        ? null
        : ([own, ...enclosing, ...documents].find((offered) => offered !== null && offered !== undefined) ?? null)
      if (own === null && value !== null) filled++
      assert.strictEqual(one.shown[one.kind.columns.indexOf(column)], value, `${place} ${column.name}`)
    }
  }
  return filled
}

const foundIn = (
  path: string,
  text: string,
  expected: Readonly<Record<string, ReadonlyArray<string>>>
): ReadonlyArray<Found> => {
  const tree = parseText(text)
  return Object.entries(expected).flatMap(([name, pointers]) => {
    const kind = kinds.find((one) => one.kind === name)
    if (kind === undefined) throw new Error(`No kind ${name}`)
    return pointers.map((pointer) => ({ path, kind, pointer, tree: at(tree, pointer) }))
  })
}

const places = (found: ReadonlyArray<Found>): ReadonlyArray<string> =>
  found.map(({ kind, path, pointer }) => `${path} ${kind.kind} ${pointer}`).sort()

const shared = inject("shared")

interface ExpectedEntities {
  readonly files: Readonly<Record<string, Readonly<Record<string, ReadonlyArray<string>>>>>
}

describe.skipIf(shared === undefined)("real saved cohorts and a workspace", () => {
  const folder = join(shared ?? "", "cases")
  const expected: ExpectedEntities =
    shared === undefined ? { files: {} } : JSON.parse(readFileSync(join(folder, "expected-entities.json"), "utf8"))
  const names = Object.keys(expected.files)
  const found = names.flatMap((name) =>
    foundIn(basename(name), readFileSync(join(folder, name), "utf8"), expected.files[name] ?? {}).map((one) => ({
      ...one,
      file: name
    }))
  )
  const cohorts = [
    ...new Set(names.map((name) => (name.startsWith("saved/") ? name.split("/").slice(0, 2).join("/") : name)))
  ]

  for (const cohort of cohorts) {
    it.effect(
      `${cohort} holds the entities that are expected, each once in its view, with its parent and context`,
      () =>
        Effect.gen(function* () {
          const directory = yield* tempDirectory
          const database = join(directory, "saved.duckdb")
          const report = yield* run(database, [join(folder, cohort)])
          assert.strictEqual(report.outcome, "done")
          const own = found.filter(({ file }) => file === cohort || file.startsWith(`${cohort}/`))
          assert.deepStrictEqual(yield* entities(database), places(own))
          assertContexts(yield* inViews(database, own))

          const { inColumns, remarked, unlisted } = yield* account(database, report.items, own)
          assert.deepStrictEqual(unlisted, [])
          assert.isAtLeast(inColumns / (inColumns + remarked), 0.95)

          yield* assertNothingWhole(
            database,
            own,
            names.filter((name) => name.startsWith(cohort)).map((name) => readFileSync(join(folder, name), "utf8"))
          )
        })
    )
  }
})

describe("made-up saved cohorts", () => {
  for (const [name, files] of Object.entries(savedFolders)) {
    it.effect(`${name} holds what its documents say, each entity once, with its parent and context`, () =>
      Effect.gen(function* () {
        const { database, report, source } = yield* migrated(
          Object.fromEntries(Object.entries(files).map(([file, { text }]) => [`${name}/${file}`, text]))
        )
        assert.strictEqual(report.outcome, "done", JSON.stringify(report.items))
        assert.lengthOf(report.items, 1)
        assert.strictEqual(report.items[0]?.path, join(source, name))
        assert.deepStrictEqual(
          report.items[0]?.parts?.map(({ path }) => path),
          Object.keys(files).sort()
        )
        const found = Object.entries(files).flatMap(([file, { entities, text }]) => foundIn(file, text, entities))
        assert.deepStrictEqual(yield* entities(database), places(found))
        assert.isAbove(assertContexts(yield* inViews(database, found)), 10)
        const { unlisted } = yield* account(database, report.items, found)
        assert.deepStrictEqual(unlisted, [])
        yield* assertNothingWhole(
          database,
          found,
          Object.values(files).map(({ text }) => text)
        )
      })
    )
  }
})
