/** Why a source could not be found, read or trusted. */

import { Predicate, Schema } from "effect"

/** The causes of a `SourceError`. */
export const SourceErrorReason = Schema.Literals([
  "missing",
  "permission",
  "not-regular",
  "not-utf8-name",
  "io",
  "changed",
  "too-large",
  "invalid-utf8",
  "invalid-utf16"
])
export type SourceErrorReason = typeof SourceErrorReason.Type

const messages: Record<SourceErrorReason, string> = {
  missing: "there is nothing at this path; check its spelling and the folder it is relative to",
  permission: "the operating system does not permit reading it; change its permissions or run as its owner",
  "not-regular":
    "it is no regular file and no folder, or a link has taken its place; copy its content into a plain file",
  "not-utf8-name": "its name is not valid UTF-8; rename it, then run again",
  io: "reading it failed; check the disk or the network folder, then run again",
  changed: "it changed while it was read; run again when nothing writes to it",
  "too-large": "it is larger than can be read at once",
  "invalid-utf8": "it is not valid UTF-8; save it as UTF-8, then run again",
  "invalid-utf16": "its byte order mark says UTF-16, and it is not valid UTF-16; save it as UTF-8, then run again"
}

/**
 * A source cannot be used; `reason` says why. Control characters of the path are escaped in the message, bytes of a name
 * that are not UTF-8 stand in `path` as `\xNN`.
 */
export class SourceError extends Schema.TaggedError<SourceError>()("SourceError", {
  reason: SourceErrorReason,
  path: Schema.String,
  /** Offset of the first byte that is not valid text, counted from the start of the file. */
  offset: Schema.optionalKey(Schema.Finite),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  /** What is the matter and what to do, where the path is said already. */
  get detail(): string {
    const where = this.offset === undefined ? "" : ` (at byte ${this.offset})`
    return `${messages[this.reason]}${where}`
  }
  override get message(): string {
    return `Cannot read ${printablePath(this.path)}: ${this.detail}`
  }
}

/** What the operating system can have against the reading of a source. */
export type UnreadableReason = "missing" | "permission" | "not-regular" | "io"

/** The reason of what the operating system threw when a source was opened or read; `io` for all that has none of its own. */
export const unreadableReasonOf = (cause: unknown): UnreadableReason =>
  (Predicate.hasProperty(cause, "code") ? unreadableReasons.get(cause.code) : undefined) ?? "io"

const unreadableReasons: ReadonlyMap<unknown, UnreadableReason> = new Map([
  ["ENOENT", "missing"],
  ["ENOTDIR", "missing"],
  ["ENAMETOOLONG", "missing"],
  // Node's answer to a NUL in a path.
  ["ERR_INVALID_ARG_VALUE", "missing"],
  ["EACCES", "permission"],
  ["EPERM", "permission"],
  // What opening without following links answers for a link, and opening a socket for a socket.
  ["ELOOP", "not-regular"],
  ["ENXIO", "not-regular"],
  ["EISDIR", "not-regular"]
])

/** A path on one line: control characters, line separators and marks that turn the direction of text are escaped. */
export const printablePath = (path: string): string =>
  path === ""
    ? '""'
    : path.replace(
        /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\p{Cs}]/gu,
        (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`
      )
