/** Pages of lists: how long they are, and the cursors that say where the next one starts. */

import { Effect, Schema } from "effect"
import { hash } from "node:crypto"
import { InvalidRequest } from "../CohortErrors.ts"

const MOST_ITEMS = 10_000
const ITEMS = 100

/** How many items a page holds at most. */
export const limitOf = (limit = ITEMS): Effect.Effect<number, InvalidRequest> =>
  Number.isInteger(limit) && limit >= 0 && limit <= MOST_ITEMS
    ? Effect.succeed(limit)
    : Effect.fail(new InvalidRequest({ reason: "bad-limit" }))

const CursorText = Schema.fromJsonString(Schema.Struct({ of: Schema.String, at: Schema.Array(Schema.Int) }))
const encodeCursor = Schema.encodeSync(CursorText)
const decodeCursor = Schema.decodeUnknownEffect(CursorText)

/** A cursor says of which list it is, by a hash, and where in it. */
export const writeCursor = (scope: string, at: ReadonlyArray<number>): string =>
  Buffer.from(encodeCursor({ of: hash("sha256", scope).slice(0, 16), at })).toString("base64url")

/** Where to go on in the list `scope`; undefined at its start. */
export const readCursor = (
  cursor: string | undefined,
  scope: string
): Effect.Effect<ReadonlyArray<number> | undefined, InvalidRequest> => {
  if (cursor === undefined) return Effect.succeed(undefined)
  const bad = new InvalidRequest({ reason: "bad-cursor" })
  return decodeCursor(Buffer.from(cursor, "base64url").toString("utf8")).pipe(
    Effect.mapError(() => bad),
    Effect.flatMap(({ at, of }) => (of === hash("sha256", scope).slice(0, 16) ? Effect.succeed(at) : Effect.fail(bad)))
  )
}
