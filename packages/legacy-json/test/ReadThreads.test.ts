import { assert, describe, it } from "@effect/vitest"
import {
  DocumentReader,
  EntityBatch,
  EntityIndex,
  EntityReader,
  renderDocument,
  ShapeDictionary,
  viewBatch
} from "@mallard/entity-serializers"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import {
  findSources,
  ReadBuffers,
  readPart,
  ReadThreads,
  readThreads,
  type SourceFile,
  SourceRejected,
  ThreadLost
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
const setUp = Effect.fnUntraced(function* (files: Readonly<Record<string, string | Uint8Array>>, count = 2) {
  const folder = yield* tree(files)
  const found = yield* findSources([folder])
  const list = found.sources.flatMap((source) => source.files)
  const documents = reader()
  const threads = yield* ReadThreads.make({ ...limits, threads: count, ahead: { least: 0, most: 1 << 20 } })
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
        threads.take(file, next, documents, Effect.void, Effect.void)
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

describe("large files that a thread reads", () => {
  const entity = (at: number): string =>
    `{"mrn":"${at}","note":"${"n".repeat(200)}","n":${at}.50,"visits":[{"id":"v${at}"}],"x":{"k${at % 50}":[1]}}`
  const entities = Array.from({ length: 60_000 }, (_, at) => entity(at % 59_000)).join(",")
  /** Some 16 MB of compact text, with remarks, and with entities that come again in another part. */
  const text = `{"name":"large","patients":[${entities}],"other":[1,"é"],"encounters":[{"id":"e"},7],"end":1e400}`
  const large = { ...limits, wholeFileBytes: 1000 }

  const setUpLarge = Effect.fnUntraced(function* (files: Readonly<Record<string, string | Uint8Array>>) {
    const set = yield* setUp(files, 1)
    const read = (
      file: SourceFile,
      pool: ReadThreads | undefined,
      onWindow: Effect.Effect<void, string> = Effect.void
    ) =>
      readPart(file, set.documents, new ReadBuffers(), {
        ...large,
        threads: pool,
        takeBack: Effect.void,
        onWindow
      })
    return { ...set, read }
  })

  it.live("are told as if they had been read here, and so are files after them", () =>
    Effect.gen(function* () {
      const { documents, list, read, readBy, threads } = yield* setUpLarge({ "a.json": text, "b.json": cohort("b") })
      const [a, b] = list
      assert(a !== undefined && b !== undefined)
      let windows = 0
      const part = yield* read(
        a,
        threads,
        Effect.sync(() => {
          windows++
        })
      )
      assert(part !== undefined)
      assert.isAbove(windows, 2)
      const { members, ...told } = part
      assert.strictEqual(renderDocument(part.pieces, members, viewBatch(documents.entities).text), text)
      const { members: own, ...expected } = (yield* read(a, undefined))!
      assert.deepStrictEqual(told, expected)
      assert.strictEqual(members.count, own.count)
      for (const column of ["collection", "ordinal", "kind", "id"] as const) {
        assert.isTrue(Buffer.from(members[column].buffer).equals(Buffer.from(own[column].buffer)), column)
      }
      threads.prepare([b])
      assert.strictEqual((yield* readBy(b, [], threads))?.meta.name, "b")
    })
  )

  it.live("give their text piece by piece, as when they are read here", () =>
    Effect.gen(function* () {
      const words = Array.from({ length: 200_000 }, (_, at) => `"a value ${at} that no kind takes"`).join(",")
      const { documents, list, read, threads } = yield* setUpLarge({ "words.json": `{"words":[${words}]}` })
      const [file] = list
      assert(file !== undefined)
      for (const pool of [threads, undefined]) {
        const taken: Array<string> = []
        let windows = 0
        const take = Effect.sync(() => {
          windows++
          documents.settle()
          taken.push(...documents.rows.pieces.splice(0))
        })
        const part = yield* read(file, pool, take)
        assert.isAbove(windows, 2)
        assert.isAbove(taken.length, part!.pieces.length)
        assert.strictEqual([...taken, ...part!.pieces].join(""), `{"words":[${words}]}`)
      }
    })
  )

  it.live("are refused with the same words", () =>
    Effect.gen(function* () {
      const { list, read, threads } = yield* setUpLarge({
        "broken.json": text.replace('"end":1e400', '"end":01'),
        "bytes.json": Buffer.concat([Buffer.from(text.slice(0, -2)), Buffer.from([0xe9, 0x7d])])
      })
      for (const file of list) {
        const failure = yield* Effect.flip(read(file, threads))
        assert.instanceOf(failure, SourceRejected)
        assert.deepEqual(failure, yield* Effect.flip(read(file, undefined)))
      }
      assert.lengthOf(list, 2)
    })
  )

  it.live("can be given up in the middle, and the thread goes on with others", () =>
    Effect.gen(function* () {
      const { documents, list, read, readBy, threads } = yield* setUpLarge({ "a.json": text, "b.json": entityFile })
      const [a, b] = list
      assert(a !== undefined && b !== undefined)
      const before = documents.entities.mark()
      assert.strictEqual(yield* Effect.flip(read(a, threads, Effect.fail("enough"))), "enough")
      documents.entities.rollback(before)
      threads.prepare([b])
      const part = yield* readBy(b, [], threads)
      assert(part !== undefined)
      assert.strictEqual(renderDocument(part.pieces, part.members, viewBatch(documents.entities).text), entityFile)
    })
  )

  it.live("are read from their beginning when the thread is lost", () =>
    Effect.gen(function* () {
      const { documents, list, read, threads } = yield* setUpLarge({ "a.json": text })
      const [a] = list
      assert(a !== undefined)
      const before = documents.entities.mark()
      assert.instanceOf(yield* Effect.flip(read(a, threads, threads.stop)), ThreadLost)
      documents.entities.rollback(before)
      const part = yield* read(a, threads)
      assert(part !== undefined)
      assert.strictEqual(renderDocument(part.pieces, part.members, viewBatch(documents.entities).text), text)
    })
  )

  /** Of shapes that the thread has met in the large file. */
  const entityFile = `{"patients":[${entity(3)},${entity(58_999)}]}`
})

describe("how many threads read", () => {
  it("leaves a core to the one that writes, and is bounded", () => {
    assert.deepStrictEqual([1, 2, 3, 4, 64].map(readThreads), [0, 1, 2, 3, 3])
  })
})
