/** What the ledger knows of the paths of sources. */
import { type LedgerRun, readLiveDigests, readSeenItems } from "@mallard/duckdb-store"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect, Option, Schema, Struct } from "effect"
import { basename, dirname } from "node:path"
import type { MovedOriginal, PathHistory } from "../Incremental.ts"
import { RunFacts, RunProof } from "./RunFacts.ts"

interface Growing {
  readonly contents: Map<string, boolean>
  last: string | undefined
  state: PathHistory["state"]
  stored: boolean
  moved: MovedOriginal | undefined
}

/** The history of every path that one of the runs, all there are, has seen. */
export const readHistory = Effect.fnUntraced(function* (runs: ReadonlyArray<LedgerRun>) {
  const client = yield* DuckDbClient
  const byRun = Map.groupBy(yield* readSeenItems(client), ({ runId }) => runId)
  const live = yield* readLiveDigests(client)
  const paths = new Map<string, Growing>()
  /** The sources in each file: itself, or what lies in a database. */
  const byFile = new Map<string, Array<Growing>>()
  const at = (path: string): Growing => {
    const known = paths.get(path)
    if (known !== undefined) return known
    const fresh: Growing = { contents: new Map(), last: undefined, state: "there", stored: false, moved: undefined }
    paths.set(path, fresh)
    for (const file of new Set([path, path.slice(0, Math.max(0, path.lastIndexOf("#"))) || path])) {
      const within = byFile.get(file)
      if (within === undefined) byFile.set(file, [fresh])
      else within.push(fresh)
    }
    return fresh
  }
  for (const { facts, proof, runId } of runs) {
    for (const { isHeld, outcome, path, sourceSha256 } of byRun.get(runId) ?? []) {
      // A source that the full disk kept from being read says nothing new of one that was read before.
      if (outcome === "failed" && sourceSha256 === undefined && paths.has(path)) continue
      const entry = at(path)
      const isDone = outcome === "migrated" ? isHeld : outcome === "skipped"
      if (sourceSha256 !== undefined) entry.contents.set(sourceSha256, isDone)
      entry.last = sourceSha256
      entry.moved = undefined
      if (isHeld) entry.stored = true
      entry.state = outcome === "rejected" || outcome === "failed" ? "rejected" : "there"
    }
    const noted = Option.getOrUndefined(readFacts(facts))
    for (const { digest, path, sha256 } of noted?.seen ?? []) {
      const entry = at(path)
      entry.contents.set(sha256, live.has(digest))
      entry.stored ||= live.has(digest)
      entry.last = sha256
      entry.state = "there"
      entry.moved = undefined
    }
    for (const path of [...(noted?.removed ?? []), ...(noted?.renamed ?? [])]) at(path).state = "gone"
    const moved = placesOf(Option.getOrUndefined(readMoved(proof ?? ""))?.moved ?? [])
    for (const [file, to] of moved) {
      for (const entry of byFile.get(file) ?? []) entry.moved = { to, run: runId }
    }
  }
  return [...paths].map(([path, entry]): PathHistory => ({ path, ...entry }))
})

/** Where files are after they were moved, and the folders that held them, which may be sources. */
const placesOf = (moved: NonNullable<typeof RunProof.Type.moved>): ReadonlyMap<string, string> => {
  const places = new Map<string, string>()
  for (const file of moved) {
    let { path, to } = file
    for (; path !== to && !places.has(path); path = dirname(path), to = dirname(to)) {
      places.set(path, to)
      if (basename(path) !== basename(to)) break
    }
  }
  return places
}

const readMoved = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ moved: RunProof.fields.moved })))

const readFacts = Schema.decodeUnknownOption(
  Schema.fromJsonString(RunFacts.mapFields(Struct.pick(["seen", "removed", "renamed"])))
)
