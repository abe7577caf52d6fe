import { assert, describe, it } from "@effect/vitest"
import { SourceError } from "@mallard/legacy-json"
import { Effect } from "effect"
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
