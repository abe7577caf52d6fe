import { assert, describe, it } from "@effect/vitest"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { CohortStore, makeRenderer, visitParts } from "../src/index.ts"
import { inNewStore } from "./support.ts"

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
