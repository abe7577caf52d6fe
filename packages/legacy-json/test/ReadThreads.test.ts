import { assert, describe, it } from "@effect/vitest"
import { DocumentReader, EntityBatch, EntityIndex, EntityReader, ShapeDictionary } from "@mallard/entity-serializers"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import {
  findSources,
  ReadBuffers,
  readPart,
  ReadThreads,
  readThreads,
  type SourceFile,
  SourceRejected
} from "../src/index.ts"
import { tree } from "./support/tree.ts"

const limits = { maxDepth: 100, maxEntityBytes: 1 << 20 }
const cohort = (name: string): string => `{"name":"${name}","entities":{"patients":[{"mrn":"${name}","n":1.50}]}}`

const reader = (): DocumentReader => {
  const batch = new EntityBatch()
  return new DocumentReader(
    new EntityReader(
      batch,
      new ShapeDictionary(),
      batch.rows.map(() => new EntityIndex())
    )
  )
}

/** Files of a folder in the order of their names, a reader, and how a file is read into it with and without threads. */
const setUp = Effect.fnUntraced(function* (files: Readonly<Record<string, string>>, count = 2) {
  const folder = yield* tree(files)
  const found = yield* findSources([folder])
  const list = found.sources.flatMap((source) => source.files)
  const documents = reader()
  const threads = yield* ReadThreads.make({ ...limits, threads: count, least: 0, most: 1 << 20 })
  const options = { ...limits, onWindow: Effect.void }
  const readBy = (
    file: SourceFile,
    next: ReadonlyArray<SourceFile>,
    pool: ReadThreads | undefined,
    isKnown = false
  ) => {
    const mark = documents.entities.mark()
    const takeBack = Effect.sync(() => documents.entities.rollback(mark))
    return readPart(file, documents, new ReadBuffers(), {
      ...options,
      next,
      threads: pool,
      takeBack,
      isKnown: () => isKnown
    })
  }
  return { documents, list, readBy, threads }
})

describe("files that threads read ahead", () => {
  it.live("are told as if they had been read here", () =>
    Effect.gen(function* () {
      const names = Array.from({ length: 9 }, (_, at) => `${at}`)
      const { list, readBy, threads } = yield* setUp(
        Object.fromEntries(names.map((name) => [`${name}.json`, cohort(name)]))
      )
      assert.strictEqual(list.length, 9)
      for (const [at, file] of list.entries()) {
        const next = list.slice(at + 1)
        const part = yield* readBy(file, next, threads)
        const alone = yield* readBy(file, [], undefined)
        assert(part !== undefined && alone !== undefined)
        const { members, ...told } = part
        const { members: own, ...expected } = alone
        assert.deepStrictEqual(told, expected)
        // Read the second time, the entities are those of the first.
        assert.deepStrictEqual([...members.id.subarray(0, 1)], [...own.id.subarray(0, 1)])
        assert.strictEqual(members.count, 1)
      }
    })
  )

  it.live("are not read when their content is known, and read here when no thread can", () =>
    Effect.gen(function* () {
      const { documents, list, readBy, threads } = yield* setUp({
        "a.json": cohort("a"),
        "b.json": cohort("b"),
        "c.json": '{"name":'
      })
      const [a, b, c] = list
      assert(a !== undefined && b !== undefined && c !== undefined)
      const known = createHash("sha256").update(cohort("b")).digest("hex")
      threads.leaveOut((file) => (file === b ? [known] : []))
      threads.prepare([b, c])
      const take = (file: SourceFile, next: ReadonlyArray<SourceFile>) =>
        threads.take(file, next, documents, Effect.void)
      assert.isUndefined(yield* take(a, [b, c]))
      assert.deepStrictEqual(yield* take(b, [c]), { outcome: "known", sourceSha256: known })
      assert.isUndefined(yield* take(c, []))
      assert.strictEqual(documents.entities.batch.entityCount, 0)
      threads.prepare([c])
      const failure = yield* Effect.flip(readBy(c, [], threads))
      assert.instanceOf(failure, SourceRejected)
      assert.strictEqual(failure.message, (yield* Effect.flip(readBy(c, [], undefined))).message)
    })
  )

  it.live("are read here when the threads are gone", () =>
    Effect.gen(function* () {
      const { list, readBy, threads } = yield* setUp({ "a.json": cohort("a"), "b.json": cohort("b") })
      const [a, b] = list
      assert(a !== undefined && b !== undefined)
      threads.prepare([a])
      yield* threads.stop
      assert.strictEqual((yield* readBy(a, [b], threads))?.counts.length, 2)
      assert.strictEqual((yield* readBy(b, [], threads))?.counts.length, 2)
    })
  )
})

describe("how many threads read", () => {
  it("leaves a core to the one that writes, and is bounded", () => {
    assert.deepStrictEqual([1, 2, 3, 4, 64].map(readThreads), [0, 1, 2, 3, 3])
  })
})
