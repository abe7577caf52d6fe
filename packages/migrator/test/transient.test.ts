import { assert, describe, it } from "@effect/vitest"
import { SourceError } from "@mallard/legacy-json"
import { Effect } from "effect"
import { MigrationFailed } from "@mallard/migrator"
import { lackOf } from "@mallard/duckdb-store/Disk"
import { retryTransient } from "../src/internal/transient.ts"

const failing = (times: number, code: string) => {
  let failures = 0
  return Effect.suspend(() => {
    if (failures === times) return Effect.succeed(failures)
    failures++
    const cause = Object.assign(new Error("no"), { code })
    return Effect.fail(new SourceError({ reason: "io", path: "/a", cause }))
  })
}

describe("a source that cannot be read", () => {
  it.live("because it is in use is tried again, and reported when that does not help", () =>
    Effect.gen(function* () {
      let cleared = 0
      const clear = Effect.sync(() => void cleared++)
      assert.strictEqual(yield* retryTransient(failing(2, "EBUSY"), clear, [1, 2]), 2)
      assert.strictEqual(cleared, 2)
      const error = yield* Effect.flip(retryTransient(failing(3, "EBUSY"), clear, [1, 2]))
      assert.strictEqual(error.reason, "io")
    })
  )

  it.live("for good is tried once", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(retryTransient(failing(1, "EIO"), Effect.void, [1, 2]))
      assert.strictEqual(error.reason, "io")
    })
  )
})

describe("a database that cannot be written", () => {
  it("is told by what it lacked, without a word of DuckDB's", () => {
    const within = (text: string) => new Error("outer", { cause: new Error(text) })
    const texts = [
      ["IO Error: secret: No space left on device", "space", "no space left"],
      ["IO Error: secret: File too large", "space", "no space left"],
      ["Out of Memory Error: failed to pin secret", "memory", "--memory"],
      ["TransactionContext Error: Failed to commit: could not allocate block of size 256.0 KiB", "memory", "--memory"],
      ["TransactionContext Error: Failed to commit: failed to pin block of size 256.0 KiB", "memory", "--memory"],
      ['IO Error: Cannot open file "secret.wal": Permission denied', "permission", "does not permit it"],
      ['FATAL Error: Failed to create directory "secret"', "memory", "--memory"],
      ["IO Error: secret", undefined, "mallard doctor"]
    ] as const
    for (const [text, lack, says] of texts) {
      assert.strictEqual(lackOf(within(text)), lack)
      const { message } = new MigrationFailed({ database: "/db", cause: within(text) })
      assert.include(message, says)
      assert.match(message, /^Writing to \/db failed/)
      assert.notInclude(message, "secret")
    }
  })

  it("is not said to have been written when it was read", () => {
    const { message } = new MigrationFailed({ database: "/db", cause: new Error("IO Error"), while: "reading" })
    assert.match(message, /^Reading \/db failed\./)
    assert.notInclude(message, "Writing")
  })
})
