import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient, type DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { CohortStore, makeRenderer, visitParts } from "../src/index.ts"
import { inNewStore, valuesOf } from "./support.ts"

describe.each([
  ["DuckDB", 1],
  ["the other renderer", 1000]
])("a visitor that knows the digest of a document, rendered by %s", (_, leastRows) => {
  it.effect("has it told again, each element hashed, when the first text is not the one stored", () =>
    inNewStore(
      Effect.gen(function* () {
        const client = yield* DuckDbClient
        const cohorts = yield* CohortStore
        // Escapes and numbers that DuckDB spells otherwise, an element without a text in SQL, and an entity inside another.
        yield* cohorts.save({
          name: "all sorts",
          entities: {
            patients: [{ id: "p\u0001\u001f" }, { id: "q", weight: 1e-7, nested: { list: [1.5, null] } }],
            claims: [{ id: "c", claim_lines: [{ id: "l1" }, { id: "l2", units: 2 }] }],
            oddities: [1, "two", [3], { id: "four" }]
          }
        })
        const heard: Array<{ text: string; sound: number; isEnded: boolean }> = []
        const last = () => heard.at(-1)!
        const visit = Effect.fnUntraced(function* (isAsStored: (() => boolean) | undefined) {
          heard.length = 0
          yield* visitParts(client, yield* makeRenderer(client, { leastRows }), "true", {
            start: () => heard.push({ text: "", sound: 0, isEnded: false }),
            text: (bytes, start, end) => {
              last().text += bytes.toString("utf8", start, end)
            },
            sound: (count) => {
              last().sound += count
            },
            changed: () => assert.fail("no element was changed"),
            gap: () => assert.fail("no element is missing"),
            ...(isAsStored === undefined ? {} : { isAsStored }),
            end: () => {
              last().isEnded = true
            }
          })
          return [...heard]
        })
        const [hashed] = yield* visit(undefined)
        assert.strictEqual(JSON.parse(hashed!.text).entities.patients[0].id, "p\u0001\u001f")
        assert.deepStrictEqual(yield* visit(() => true), [hashed!])
        // Said to be another text, though it is the same one: the second time it is told whatever it is.
        assert.deepStrictEqual(yield* visit(() => false), [{ ...hashed!, isEnded: false }, hashed!])
      }).pipe(Effect.provide(CohortStore.layerNoDeps))
    )
  )
})

/** The text that a visitor is told of the only document. */
const visited = Effect.flatMap(DuckDbClient, (client) => visitedBy(client))

const visitedBy = Effect.fnUntraced(function* (client: DuckDbSqlClient) {
  const texts: Array<string> = []
  yield* visitParts(client, yield* makeRenderer(client), "true", {
    start: () => {},
    text: (bytes, start, end) => texts.push(bytes.toString("utf8", start, end)),
    sound: () => {},
    changed: () => assert.fail("no element was changed"),
    gap: () => assert.fail("no element is missing"),
    end: () => {}
  })
  return texts.join("")
})

describe("a document of very many lists of entities", () => {
  it.effect("is read so many lists at a time, however few entities they have", () =>
    inNewStore(
      Effect.gen(function* () {
        const lists = Array.from({ length: 45_000 }, (_, at) => `"patients":[${at % 3 === 0 ? "" : `{"id":"${at}"}`}]`)
        const text = `{"name":"lists",${lists.join(",")}}`
        yield* (yield* CohortStore).save({ name: "lists", document: text })
        assert.deepStrictEqual(
          yield* valuesOf("SELECT count(*), max(collection), max(pointer) FROM mallard.collections WHERE list"),
          [[45_000n, 44_999, "/patients"]]
        )
        const fetched: Array<ReadonlyArray<number>> = []
        const client = yield* DuckDbClient
        const watched = new Proxy(client, {
          get: (target, name) =>
            name === "streamChunks"
              ? (sql: string, parameters?: ReadonlyArray<unknown>) => {
                  const range = /collection BETWEEN (\d+) AND (\d+)/.exec(sql)
                  if (range !== null) fetched.push([Number(range[1]), Number(range[2])])
                  return client.streamChunks(sql, parameters)
                }
              : Reflect.get(target, name)
        })
        assert.strictEqual(yield* visitedBy(watched), text)
        assert.deepStrictEqual(fetched, [
          [0, 19_999],
          [20_000, 39_999],
          [40_000, 44_999]
        ])
      }).pipe(Effect.provide(CohortStore.layerNoDeps))
    )
  )
})

describe("a document of much text without entities", () => {
  it.effect("is read with less memory than all of its text takes", () =>
    inNewStore(
      Effect.gen(function* () {
        const client = yield* DuckDbClient
        const words = Array.from({ length: 36 }, (_, at) => `"${`value ${at} that stays text `.repeat(40_000)}"`)
        const text = `{"stuff":[${words.join(",")}]}`
        yield* (yield* CohortStore).save({ name: "words", document: text })
        yield* client.unsafe("CHECKPOINT")
        yield* client.unsafe("SET memory_limit = '50MB'")
        assert.isTrue((yield* visited) === text)
      }).pipe(Effect.provide(CohortStore.layerNoDeps))
    )
  )

  it.effect("is read slice by slice where it is larger than what is fetched at once", () =>
    inNewStore(
      Effect.gen(function* () {
        const words = (from: number) => Array.from({ length: 5000 }, (_, at) => `"value ${from + at}"`).join(",")
        const text = `{"name":"slices","before":[${words(0)}],"patients":[{"id":"p"},{"id":"q"}],"between":[${words(5000)}],"claims":[{"claim_id":"c"}],"after":"\ufeff😀"}`
        // How many pieces a slice holds is worked out from the size of the source: here a single one.
        const source = { bytes: 2 ** 40, sha256: "0".repeat(64), encoding: "utf-8" }
        yield* (yield* CohortStore).save({ name: "slices", document: text, source })
        assert.isAbove(Number((yield* valuesOf("SELECT count(*) FROM mallard.part_texts"))[0]?.[0]), 3)
        assert.strictEqual(yield* visited, text)
      }).pipe(Effect.provide(CohortStore.layerNoDeps))
    )
  )
})
