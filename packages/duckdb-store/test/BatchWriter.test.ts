import { assert, describe, it } from "@effect/vitest"
import { type DocumentResult, MemberRows } from "@mallard/entity-serializers"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { BatchWriter, CohortStore, duplicateIds, openStore, queryRows, verifyDatabase } from "../src/index.ts"
import { beginEmpty, temporaryFolder } from "./support.ts"

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex")

/** A document whose root array holds patients. */
const rules = { tag: "keys", rules: () => undefined, array: 1 } as const

/** Reads a document and stages it as a cohort of one part. */
const stage = (writer: BatchWriter, name: string, text: string, seq = 1, predecessor?: number): DocumentResult => {
  const { documents } = writer
  const result = documents.readBytes(Buffer.from(text), rules)
  writer.save(
    {
      cohortId: `00000000-0000-4000-8000-${sha256(name).slice(0, 12)}`,
      seq,
      predecessor,
      change: "saved",
      name,
      description: undefined,
      tags: ["t"],
      product: undefined,
      legacyId: undefined,
      createdAt: undefined,
      updatedAt: undefined,
      savedAt: 0n,
      digest: result.digest
    },
    [
      {
        path: `${name}.json`,
        format: "V13",
        bytes: text.length,
        sourceSha256: sha256(text),
        digest: result.digest,
        encoding: "utf-8",
        ...documents.takeRows()
      }
    ],
    undefined
  )
  return result
}

/** The same, in a transaction of its own. */
const commit = (...given: Parameters<typeof stage>) =>
  given[0].transaction(
    undefined,
    Effect.sync(() => stage(...given))
  )

const withWriter = <A, E>(use: (client: DuckDbClient["Service"], path: string) => Effect.Effect<A, E>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "cohorts.duckdb")
      yield* beginEmpty(path)
      return yield* Effect.flatMap(openStore({ path }), (client) => use(client, path))
    })
  )

const first =
  '[{"id":"p1","given_name":"Ana","birth_date":"1980-01-15"},{"id":"p2","name":{"given":"\\ud800"}},"odd",{"id":"p1"}]'

describe("the batch writer", () => {
  it.effect("saves revisions that list, load and verify give back", () =>
    withWriter((client) =>
      Effect.gen(function* () {
        const writer = yield* BatchWriter.make(client)
        yield* commit(writer, "one", first)
        yield* commit(writer, "two", '[{"id":"p1"}]')
        const store = yield* Effect.provide(CohortStore, CohortStore.layerNoDeps)
        const list = yield* store.list
        assert.deepStrictEqual(
          list.map(({ digest, entities, name }) => [name, entities, digest]),
          [
            ["one", { patient: 3, json: 1 }, sha256(first)],
            ["two", { patient: 1 }, sha256('[{"id":"p1"}]')]
          ]
        )
        assert.deepStrictEqual((yield* store.load("one")).documents, [{ path: "one.json", text: first }])
        // The same entity in two cohorts is one row.
        assert.deepStrictEqual(yield* queryRows(client, "SELECT count(*)::INTEGER FROM mallard.patients"), [[3]])
        assert.deepStrictEqual((yield* verifyDatabase(client)).findings, [])
      }).pipe(Effect.provideService(DuckDbClient, client))
    )
  )

  it.effect("writes much straight into the file, and little into the log", () =>
    withWriter((client) =>
      Effect.gen(function* () {
        const writer = yield* BatchWriter.make(client)
        const logSize = Effect.map(
          queryRows(client, "SELECT wal_size FROM pragma_database_size()"),
          ([row]) => row?.[0]
        )
        // More rows than a row group has: DuckDB takes those for next to nothing.
        const patients = Array.from({ length: 130_000 }, (_, at) => ({ id: `p${at}`, note: `${at}`.repeat(60) }))
        yield* commit(writer, "much", JSON.stringify(patients))
        assert.strictEqual(yield* logSize, "0 bytes")
        yield* commit(writer, "little", first)
        assert.notStrictEqual(yield* logSize, "0 bytes")
      })
    )
  )

  it.effect("writes and lets go of a document's text, also of one without entities", () =>
    withWriter((client) =>
      Effect.gen(function* () {
        const writer = yield* BatchWriter.make(client)
        const text = `{"story":"${"word ".repeat(20_000)}"}`
        yield* writer.transaction(
          undefined,
          Effect.gen(function* () {
            stage(writer, "story", text)
            assert.strictEqual(writer.waitingBytes, text.length)
            yield* writer.flush
            assert.strictEqual(writer.waitingBytes, 0)
            stage(writer, "another", text)
          })
        )
        const store = yield* Effect.provide(CohortStore, CohortStore.layerNoDeps)
        for (const name of ["story", "another"])
          assert.deepStrictEqual((yield* store.load(name)).documents, [{ path: `${name}.json`, text }])
        assert.deepStrictEqual((yield* verifyDatabase(client)).findings, [])
      }).pipe(Effect.provideService(DuckDbClient, client))
    )
  )

  it.effect("writes pieces of a document that is still being read, and numbers them with those that come later", () =>
    withWriter((client) =>
      Effect.gen(function* () {
        const writer = yield* BatchWriter.make(client)
        const rows = queryRows(
          client,
          "SELECT part, piece, text FROM mallard.part_texts ORDER BY content_id, part, piece"
        )
        const rowsOf = (...pieces: Array<string>) => ({ members: new MemberRows(), pieces, collections: [] })
        const first = rowsOf("one", "two")
        const given = writer.transaction(
          undefined,
          Effect.gen(function* () {
            writer.saveRows(0, first)
            writer.saveRows(1, rowsOf("other"))
            yield* writer.publish
            assert.deepStrictEqual(first.pieces, [])
            assert.deepStrictEqual(yield* rows, [
              [0, 0, "one"],
              [0, 1, "two"],
              [1, 0, "other"]
            ])
            return yield* Effect.fail("given up")
          })
        )
        assert.strictEqual(yield* Effect.flip(given), "given up")
        assert.deepStrictEqual(yield* rows, [])
        yield* writer.transaction(
          undefined,
          Effect.gen(function* () {
            writer.saveRows(0, rowsOf('{"a":1', ","))
            yield* writer.flush
            stage(writer, "rest", '{"b":2}')
            stage(writer, "next", "{}")
          })
        )
        assert.deepStrictEqual(yield* rows, [
          [0, 0, '{"a":1'],
          [0, 1, ","],
          [0, 2, '{"b":2}'],
          [0, 0, "{}"]
        ])
        const [count] = yield* queryRows(
          client,
          "SELECT row_count FROM mallard.commits WHERE table_name = 'part_texts'"
        )
        assert.deepStrictEqual(count?.map(Number), [4])
      })
    )
  )

  it.effect("takes what digests need from DuckDB, if it shares memory", () =>
    withWriter((client) =>
      Effect.gen(function* () {
        const limit = Effect.map(queryRows(client, "SELECT current_setting('memory_limit')"), ([row]) =>
          Number.parseFloat(String(row?.[0]))
        )
        const before = yield* limit
        const patients = JSON.stringify(Array.from({ length: 400_000 }, (_, id) => ({ id })))
        for (const sharesMemory of [false, true]) {
          const writer = yield* BatchWriter.make(client, sharesMemory)
          yield* writer.loadDigests
          yield* commit(writer, `shares ${sharesMemory}`, patients)
          if (sharesMemory) assert.isBelow(yield* limit, before)
          else assert.strictEqual(yield* limit, before)
        }
      })
    )
  )

  it.effect("leaves nothing of a transaction that fails, and gives its ids again", () =>
    withWriter((client) =>
      Effect.gen(function* () {
        const writer = yield* BatchWriter.make(client)
        const failing = writer.transaction(
          undefined,
          Effect.gen(function* () {
            stage(writer, "one", first)
            yield* writer.flush
            return yield* Effect.fail("stop" as const)
          })
        )
        assert.strictEqual(yield* Effect.flip(failing), "stop")
        for (const table of ["patients", "json_values", "entity_shapes", "revisions", "cohort_members", "commits"]) {
          assert.deepStrictEqual(
            yield* queryRows(client, `SELECT count(*)::INTEGER FROM mallard.${table}`),
            [[0]],
            table
          )
        }
        yield* commit(writer, "one", first)
        assert.deepStrictEqual((yield* verifyDatabase(client)).findings, [])
      })
    )
  )

  it.effect("goes on where another writer stopped: ids, shapes and digests are known again", () =>
    withWriter((client) =>
      Effect.gen(function* () {
        const before = yield* BatchWriter.make(client)
        yield* commit(before, "one", first)
        const after = yield* BatchWriter.make(client)
        assert.strictEqual(after.nextRevision, 2)
        yield* after.loadDigests
        yield* commit(after, "one", `[${first.slice(1, -1)},{"id":"p3","given_name":"New"}]`, 2, 1)
        assert.deepStrictEqual(
          yield* queryRows(client, "SELECT count(*)::INTEGER, max(entity_id)::INTEGER FROM mallard.patients"),
          [[4, 4]]
        )
        assert.deepStrictEqual((yield* verifyDatabase(client)).findings, [])
      })
    )
  )

  it.effect("reads nothing before what is stored has been loaded, which would store it again", () =>
    withWriter((client) =>
      Effect.gen(function* () {
        const before = yield* BatchWriter.make(client)
        yield* commit(before, "one", first)
        const after = yield* BatchWriter.make(client)
        assert.throws(() => stage(after, "two", first), /has not been loaded/)
      })
    )
  )

  it.effect("tells which members repeat an id, before the commit", () =>
    withWriter((client) =>
      Effect.gen(function* () {
        const writer = yield* BatchWriter.make(client)
        const found = yield* writer.transaction(
          undefined,
          Effect.gen(function* () {
            stage(writer, "one", first)
            yield* writer.publish
            return yield* duplicateIds(writer, 1)
          })
        )
        assert.deepStrictEqual([...found], [[1, [{ content: 1, part: 0, pointer: "/3" }]]])
      })
    )
  )
})
