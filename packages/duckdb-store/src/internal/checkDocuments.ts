/** Verification of documents, and of entities that stand inside others: each is rendered from its rows and hashed. */
import { createHash, type Hash, hash } from "node:crypto"
import { JSON_KIND, kindByCode } from "@mallard/schema"
import type { DuckDbSqlClient } from "@mallard/sql-duckdb"
import { Effect } from "effect"
import { otherElements, type StoredPart, visitParts } from "../Assembly.ts"
import { blobBytes, queryRows, type Renderer, streamRows } from "../Rendering.ts"
import type { Findings } from "./findings.ts"
import { nextId, Steps } from "./lowestId.ts"

export interface CheckedDocuments {
  readonly checked: number
  readonly mismatched: number
  readonly entities: number
  /** Digests of parts by content. */
  readonly digests: ReadonlyMap<number, ReadonlyArray<{ readonly path: string; readonly digest: string }>>
}

/** Bytes that are gathered before they are hashed. */
const HASH_BYTES = 65_536

/** Renders documents, hashes them and their entities. */
export const checkDocuments = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  renderer: Renderer,
  where: string,
  findings: Findings,
  onDocument: ((done: number, documents: number) => void) | undefined
) {
  const [count] = yield* queryRows(client, `SELECT count(*) FROM mallard.parts p WHERE ${where}`)
  const documents = Number(count?.[0] ?? 0)
  const digests = new Map<number, Array<{ readonly path: string; readonly digest: string }>>()
  const gathered = Buffer.allocUnsafe(HASH_BYTES)
  let filled = 0
  let digest: Hash = createHash("sha256")
  let current: StoredPart = { contentId: 0, part: 0, path: "", digest: "" }
  let sound = true
  let entities = 0
  let checked = 0
  let mismatched = 0
  yield* visitParts(client, renderer, where, {
    start: (part) => {
      current = part
      digest = createHash("sha256")
      filled = 0
      sound = true
    },
    text: (bytes, start, end) => {
      if (filled + end - start > HASH_BYTES) {
        digest.update(gathered.subarray(0, filled))
        filled = 0
      }
      if (end - start > HASH_BYTES) digest.update(bytes.subarray(start, end))
      else {
        bytes.copy(gathered, filled, start, end)
        filled += end - start
      }
    },
    sound: (count) => {
      entities += count
    },
    changed: (element) => {
      entities++
      sound = false
      const kind = element.kind === 0 ? JSON_KIND : kindByCode(element.kind)
      findings.add(
        "entity-changed",
        kind === undefined
          ? `mallard.cohort_members kind ${element.kind}`
          : `mallard.${kind.table} entity_id ${element.id}`,
        "its row no longer gives the text that its digest stands for"
      )
    },
    gap: (collection) => {
      sound = false
      findings.add(
        "members-out-of-order",
        `mallard.cohort_members content_id ${current.contentId} part ${current.part} collection ${collection}`,
        "its elements are not numbered from 0 without gaps"
      )
    },
    end: () => {
      digest.update(gathered.subarray(0, filled))
      checked++
      const list = digests.get(current.contentId) ?? []
      digests.set(current.contentId, list)
      list.push({ path: current.path, digest: current.digest })
      if (digest.digest("hex") !== current.digest) {
        sound = false
        findings.add(
          "document-changed",
          `mallard.parts content_id ${current.contentId} part ${current.part}`,
          "rendering it does not give the text that its digest stands for"
        )
      }
      if (!sound) mismatched++
      onDocument?.(checked, documents)
    }
  })
  const result: CheckedDocuments = { checked, mismatched, entities, digests }
  return result
})

/** Entities inside others that are rendered at once, at most, and whose texts come in one value. */
const CHILDREN_AT_ONCE = 100_000
const CHILDREN_IN_BLOCK = 1000

/** Hashes the entities that stand inside others; returns how many. `rowBytes`: how long their texts may be, by table. */
export const checkChildren = Effect.fnUntraced(function* (
  client: DuckDbSqlClient,
  renderer: Renderer,
  rowBytes: (table: string) => number,
  findings: Findings
) {
  const codes = yield* queryRows(client, "SELECT DISTINCT child_kind FROM mallard.links")
  let checked = 0
  for (const [codeValue] of codes) {
    const code = Number(codeValue)
    const kind = code === 0 ? JSON_KIND : kindByCode(code)
    if (kind === undefined) continue
    const { text, join } = renderer.expression(code)
    const table = `mallard.${kind.table}`
    const links = `mallard.links WHERE child_kind = ${code} AND child_entity_id`
    const steps = new Steps(CHILDREN_AT_ONCE, rowBytes(kind.table))
    let from = yield* nextId(client, "child_entity_id", `${links} >= 0`)
    while (from !== undefined) {
      const end: number = from + steps.ids
      const range = `SELECT child_entity_id FROM ${links} BETWEEN ${from} AND ${end - 1}`
      const blocks = yield* streamRows(
        client,
        `SELECT count(*), string_agg(concat('0 ', entity_id, ' ', digest), chr(10)), encode(string_agg(coalesce(text, ''), chr(10)))
         FROM (SELECT e.entity_id, e.digest, ${text} AS text FROM ${table} e${join(range)} WHERE e.entity_id IN (${range}))
         GROUP BY entity_id // ${CHILDREN_IN_BLOCK}`
      )
      let bytes = 0
      const doubtful = blocks.flatMap(([count, keys, texts]) => {
        checked += Number(count)
        bytes += blobBytes(texts).length
        return otherElements(code, Number(count), keys, texts)
      })
      const texts = yield* renderer.texts(
        code,
        doubtful.map(({ id }) => id)
      )
      for (const { digest, id } of doubtful) {
        const again = texts.get(id)
        bytes += again?.length ?? 0
        if (again === undefined || !hash("sha256", again, "hex").startsWith(digest)) {
          findings.add(
            "entity-changed",
            `${table} entity_id ${id}`,
            "its row no longer gives the text that its digest stands for"
          )
        }
      }
      steps.took(bytes)
      from = yield* nextId(client, "child_entity_id", `${links} >= ${end}`)
    }
  }
  return checked
})
