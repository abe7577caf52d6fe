/** What stands in a source where a remark points. Shown on a terminal alone, and only where that is asked. */
import { mayHoldLines } from "@mallard/entity-serializers"
import { placesOf, toUtf8, WHOLE_FILE_BYTES } from "@mallard/legacy-json"
import type { Remark } from "@mallard/migrator/Report"
import { Effect, Result } from "effect"
import { readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { type CommandFailed, usage } from "./Failure.ts"
import type { Session } from "./Session.ts"
import { printable } from "./Text.ts"

/** Characters of a value that are shown. */
const SHOWN = 60

/** Says what stands at a remark about a source; undefined where nothing is found. */
export type ShownValue = (source: string, remark: Remark) => string | undefined

/** Refuses to show values where they would end in a file or a log. */
export const checkShown = (
  { terminal }: Session,
  { json, showValues = false }: { readonly json: boolean; readonly showValues?: boolean | undefined }
): Effect.Effect<void, CommandFailed> =>
  showValues && (json || !terminal.isOutTerminal)
    ? Effect.fail(usage("--show-values shows what stands in the sources on a terminal, and nowhere else."))
    : Effect.void

/** Looks values up in the sources as they are now; the last file is kept. */
export const valuesIn = (): ShownValue => {
  let last: { readonly path: string; readonly text: Uint8Array | undefined } | undefined
  return (source, { part, pointer }) => {
    if (pointer === null) return undefined
    const path = part === undefined ? source : join(source, part)
    if (last?.path !== path) last = { path, text: textOf(path) }
    if (last.text === undefined) return undefined
    const place = placesOf(last.text, [pointer], mayHoldLines(path)).get(pointer)
    return place === undefined ? undefined : shown(last.text.subarray(place.start, place.end))
  }
}

const shown = (bytes: Uint8Array): string => {
  const characters = [...Buffer.from(bytes.subarray(0, SHOWN * 4)).toString("utf8")]
  return `${printable(characters.slice(0, SHOWN).join(""))}${characters.length > SHOWN ? "…" : ""}`
}

const textOf = (path: string): Uint8Array | undefined => {
  try {
    if (statSync(path).size > WHOLE_FILE_BYTES) return undefined
    const text = toUtf8(readFileSync(path))
    return Result.isSuccess(text) ? text.success.bytes : undefined
  } catch {
    return undefined
  }
}
